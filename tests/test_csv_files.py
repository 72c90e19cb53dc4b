"""Images in CSV files: `train.csv` and `test.csv`, as on Kaggle."""

import csv
from pathlib import Path

import pytest
import torch

from mnist_lightning.data.csv_files import read_csv_files
from mnist_lightning.data.datasets import read_offline_digits
from mnist_lightning.errors import UserError
from mnist_lightning.main import main
from support.runs import Fit, read_report

PIXELS = ["0"] * 784


def write(path: Path, rows: list[list[str]], header: bool = True) -> None:
    names = ["label", *(f"pixel{place}" for place in range(784))][-len(rows[0]) :]
    path.write_text("\n".join(",".join(row) for row in [*([names] if header else []), *rows]) + "\n")


def test_images_and_labels_are_read_unchanged(kaggle_dir: Path) -> None:
    images, labels = read_offline_digits()[0]
    classes, train, test = read_csv_files(str(kaggle_dir))
    assert classes == tuple("0123456789")
    assert torch.equal(train.images, images[:400])
    assert torch.equal(train.labels, labels[:400])
    assert torch.equal(test.images, images[400:500])
    assert set(test.labels.tolist()) == {-1}


def test_names_quotes_and_a_missing_header(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", [["'b c'", *PIXELS], ['"10"', *PIXELS], ["9", *PIXELS]], header=False)
    write(tmp_path / "test.csv", [["10", *PIXELS]], header=False)
    classes, train, test = read_csv_files(str(tmp_path))
    assert classes == ("'b c'", "9", "10")
    assert train.labels.tolist() == [0, 2, 1]
    assert test.labels.tolist() == [2]


@pytest.mark.parametrize(
    ("row", "error"),
    [
        (["1", *PIXELS[1:]], "train.csv, row 4 is not an image. A row holds 784 whole numbers"),
        (["1", *PIXELS[1:], "256"], "train.csv, row 4 is not an image"),
        (["1", *PIXELS[1:], "-1"], "train.csv, row 4 is not an image"),
        (["1", *PIXELS[1:], "x"], "train.csv, row 4 is not an image"),
        (["1", *PIXELS[1:], ""], "train.csv, row 4 is not an image"),
    ],
)
def test_a_damaged_row_is_named(row: list[str], error: str, tmp_path: Path) -> None:
    write(tmp_path / "train.csv", [["0", *PIXELS], ["1", *PIXELS], row])
    write(tmp_path / "test.csv", [["0", *PIXELS]])
    with pytest.raises(UserError, match=error):
        read_csv_files(str(tmp_path))


def test_other_labels_in_the_test_file_are_an_error(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", [["a", *PIXELS], ["b", *PIXELS]])
    write(tmp_path / "test.csv", [["c", *PIXELS]])
    with pytest.raises(UserError, match=r"test.csv holds the label 'c', which .*train.csv lacks"):
        read_csv_files(str(tmp_path))


def test_from_training_to_a_submission(
    kaggle_dir: Path, fit: Fit, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = ("--data.dataset", "csv", "--data.data_dir", str(kaggle_dir))
    with pytest.raises(SystemExit, match="2"):
        fit(*data)
    assert "the test images have no labels to compare with. Use `predict`" in capfd.readouterr().err
    folder = fit(*data, "--data.validation", "none")
    assert "test" not in read_report(folder)
    folder = fit(*data, "--data.validation", "holdout", "--data.num_holdout", "100")
    last = ("--ckpt_path", str(folder / "checkpoints" / "last.ckpt"), "--data.data_dir", str(kaggle_dir))
    with pytest.raises(SystemExit, match="2"):
        main(["test", *last])
    main(["predict", *last, "--output", str(tmp_path / "submission.csv")])
    with (tmp_path / "submission.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["ImageId"] for row in rows] == [str(place) for place in range(1, 101)]
    assert {row["Label"] for row in rows} <= set("0123456789")
