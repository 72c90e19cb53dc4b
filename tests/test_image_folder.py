"""Images in folders: one for each class, in `train` and in `test`."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mnist_lightning.data.image_folder import find_classes, read_image_folder
from mnist_lightning.data.offline_digits import read_offline_digits
from mnist_lightning.errors import UserError
from mnist_lightning.main import main
from support.runs import Fit, read_report

NAMES = ("eight", "zero", "ünö")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """120 training and 30 test images of three digits."""
    for part, data in zip(("train", "test"), read_offline_digits(), strict=True):
        for name, label in zip(NAMES, (8, 0, 1), strict=True):
            (tmp_path / "my$digits" / part / name).mkdir(parents=True)
            for number, image in enumerate(data.images[data.labels == label][: 40 if part == "train" else 10]):
                Image.fromarray(image[0].numpy()).save(tmp_path / "my$digits" / part / name / f"{number:02}.png")
    return tmp_path / "my$digits"


def test_stored_images_are_read_unchanged(images: Path) -> None:
    (images / "train" / ".cache").mkdir()
    (images / "train" / "zero" / "notes.txt").write_text("not an image")
    (images / "train" / "zero" / "._00.png").write_text("not an image either: macOS writes such files")
    train, test = read_image_folder(str(images))
    assert find_classes(str(images)) == NAMES
    assert train.labels.bincount().tolist() == [40] * 3
    assert test.labels.bincount().tolist() == [10] * 3
    digits = read_offline_digits()[0]
    assert torch.equal(train.images[:40], digits.images[digits.labels == 8][:40])


def test_other_images_become_grey_and_fit_into_the_square(images: Path) -> None:
    colours = np.zeros((100, 50, 3), dtype=np.uint8)
    colours[..., 1] = 200  # green
    Image.fromarray(colours).save(images / "test" / "eight" / "tall.jpg", quality=95)
    image = read_image_folder(str(images))[1].images[10, 0]
    assert int((image > 0).any(dim=0).sum()) == 14  # 50 of 100 pixels
    assert int((image > 0).any(dim=1).sum()) == 28
    assert (image[:, :7] == 0).all()  # black on both sides
    assert (image[:, 21:] == 0).all()
    assert abs(int(image[14, 14]) - 200 * 0.587) < 3  # the weight of green in grey


def remove(folder: Path) -> None:
    for path in folder.rglob("*.png"):
        path.unlink()


MISTAKES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no train": (lambda images: (images / "train").rename(images / "elsewhere"), "train cannot be read .No such file"),
    "no test": (lambda images: (images / "test").rename(images / "elsewhere"), "test cannot be read .No such file"),
    "a class of test alone": (
        lambda images: (images / "test" / "new").mkdir(),
        "test/new has no class of this name in train",
    ),
    "no images of a class": (
        lambda images: remove(images / "train" / "zero"),
        "train/zero has no images",
    ),
    "no test images": (
        lambda images: remove(images / "test"),
        "test has no images",
    ),
    "not an image": (
        lambda images: (images / "test" / "zero" / "03.png").write_bytes(b"PNG"),
        "test/zero/03.png not an image in a supported format: BMP, GIF",
    ),
    "16 bits": (
        lambda images: Image.fromarray(np.zeros((28, 28), dtype=np.uint16)).save(images / "test" / "zero" / "03.png"),
        "test/zero/03.png cannot be read .it has more than 8 bits",
    ),
    "transparent": (
        lambda images: Image.new("RGBA", (28, 28), (0, 0, 0, 0)).save(images / "test" / "zero" / "03.png"),
        "test/zero/03.png is transparent: give it a background",
    ),
    "too narrow": (
        lambda images: Image.new("L", (2000, 5)).save(images / "test" / "zero" / "03.png"),
        "test/zero/03.png cannot be read .height and width must be > 0",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named(name: str, images: Path) -> None:
    change, message = MISTAKES[name]
    change(images)
    with pytest.raises(UserError, match=message):
        read_image_folder(str(images))


def test_fewer_than_two_classes(images: Path) -> None:
    for name in NAMES[1:]:
        (images / "train" / name).rename(images / name)
    with pytest.raises(UserError, match="needs a folder for each of at least two classes"):
        read_image_folder(str(images))


def test_a_folder_from_training_to_export(
    images: Path, tmp_path: Path, fit: Fit, capfd: pytest.CaptureFixture[str]
) -> None:
    data = ("--data.dataset", "folder", "--data.data_dir", str(images))
    run = fit(
        *data, "--data.validation", "holdout", "--data.num_holdout", "30", "--data.batch_size", "30", dashboards=True
    )
    assert read_report(run)["dataset"] == "mydigits (image folder)"  # without a sign of formulas
    events = EventAccumulator(str(run), {"images": 0, "tensors": 0})
    events.Reload()
    assert "validation/accuracy_per_class" in events.Tags()["images"]
    assert {f"validation_precision_recall/class_{name}" for name in NAMES} <= set(events.Tags()["tensors"])
    (metadata_file,) = run.glob("0*/features/metadata.tsv")
    labels = {row.split("\t")[0] for row in metadata_file.read_text(encoding="utf-8").splitlines()[1:]}
    assert labels == set(NAMES)
    checkpoint = str(run / "checkpoints" / "last.ckpt")
    capfd.readouterr()
    main(["test", "--ckpt_path", checkpoint, "--data.data_dir", str(images)])
    assert "mydigits (image folder), test images: accuracy" in capfd.readouterr().out
    main(["predict", "--ckpt_path", checkpoint, "--data.data_dir", str(images)])
    header, *rows = capfd.readouterr().out.splitlines()
    assert header == "dataset,index,class,probability"
    assert len(rows) == 30
    assert {row.split(",")[2] for row in rows} <= set(NAMES)
    main(["report", str(run), "--data_dir", str(images)])
    assert json.loads((run / "analysis.json").read_text(encoding="utf-8"))["class_names"] == list(NAMES)
    output = tmp_path / "mine.pt2"
    main(["export", "--ckpt_path", checkpoint, "--format", "torch", "--output", str(output), "--data_dir", str(images)])
    metadata = {"mnist_lightning.json": ""}
    torch.export.load(output, extra_files=metadata)
    assert json.loads(metadata["mnist_lightning.json"])["classes"] == list(NAMES)
    with pytest.raises(SystemExit, match="2"):
        main(["test", "--ckpt_path", checkpoint, "--data.data_dir", str(images / "train")])
    assert "--data.dataset folder reads DATA_DIR/train/CLASS" in capfd.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["test", "--ckpt_path", checkpoint, "--data.dataset", "offline_digits"])
    assert "trained on the classes eight, zero, ünö" in capfd.readouterr().err
