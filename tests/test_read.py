"""`read`: image files of all kinds, one line per file, and the exit status."""

import csv
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageDraw

from mnist_lightning.classifier import SURE_PROBABILITY, DigitClassifier
from mnist_lightning.data.image_files import grey_square, read_image
from mnist_lightning.datamodule import DigitsDataModule
from mnist_lightning.errors import UserError
from mnist_lightning.main import main
from mnist_lightning.read.reading import prepare_digit, read_picture
from mnist_lightning.runs.checkpoint import load_classifier
from support.runs import PROJECT

SHIPPED = str(PROJECT / "models" / "mnist.ckpt")
NO_PICTURE = "not an image in a supported format: BMP, GIF, JPEG, PNG, PPM, TIFF and WebP"


def one(width: int = 300, height: int = 300) -> Image.Image:
    """A dark 1 on light paper."""
    image = Image.new("RGB", (width, height), (240, 235, 220))
    line = (0.55 * width, 0.2 * height, 0.45 * width, 0.8 * height)
    ImageDraw.Draw(image).line(line, fill=(20, 30, 90), width=max(2, height // 20))
    return image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures of a 1, and a file that is not a picture."""
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    one().save(folder / "more" / "a.JPG")
    one().save(folder / "b.png")
    (folder / "notes.txt").write_text("no picture")
    return folder


# Files


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    seven = Image.new("L", (200, 300), 255)
    ImageDraw.Draw(seven).line([(50, 50), (150, 50), (80, 250)], fill=0, width=14)
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90° clockwise
    seven.rotate(90, expand=True).save(tmp_path / "seven.jpg", exif=exif)
    upright = prepare_digit(read_image(tmp_path / "seven.jpg"))
    assert (upright.float() - prepare_digit(seven).float()).abs().mean() < 4


def test_a_large_jpeg_is_decoded_at_reduced_size(tmp_path: Path) -> None:
    one(4000, 3000).save(tmp_path / "large.jpg")
    assert max(read_image(tmp_path / "large.jpg").size) <= 2000


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    Image.new("1", (1, 1)).save(tmp_path / "bomb.png")
    content = (tmp_path / "bomb.png").read_bytes()
    header = b"IHDR" + struct.pack(">II", 9_000, 8_000) + content[24:29]
    (tmp_path / "bomb.png").write_bytes(content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:])
    # The data contain a single pixel, so decoding would raise another error.
    with pytest.raises(UserError, match=r"too large: .* the limit is 70,000,000"):
        read_image(tmp_path / "bomb.png")


# The command


def untrained(path: Path, **settings: Any) -> str:
    """A checkpoint of an untrained network, which gives each class a similar probability."""
    content = {
        "state_dict": DigitClassifier(**settings).state_dict(),
        "hyper_parameters": settings,
        "datamodule_hyper_parameters": dict(DigitsDataModule().hparams),
    }
    torch.save(content, path)
    return str(path)


def status_of(*args: object) -> object:
    try:
        main(["read", *map(str, args)])
    except SystemExit as ended:
        return ended.code
    return 0


def test_one_line_per_file_and_status_1(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("L", (50, 50), 255).save(tmp_path / "blank.png")
    (tmp_path / "empty").mkdir()
    problems = {
        str(folder / "notes.txt"): NO_PICTURE,
        str(tmp_path / "blank.png"): "no digit found: nothing in the picture looks like a digit",
        str(tmp_path / "missing.png"): "cannot be read (No such file or directory)",
        str(tmp_path / "empty"): "a folder without image files",
    }
    assert status_of(folder, *problems, "--ckpt_path", SHIPPED) == 1
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["file", "digit", "probability", "runner-up"]
    column = header.index("digit") + len("digit") - 1
    shown = {line.split()[0]: line[column:] for line in lines}
    digits = [str(folder / name) for name in ("b.png", "more/a.JPG")]
    assert list(shown) == [*digits, *problems]
    for name in digits:
        digit, probability, runner_up, runner_up_probability = shown[name].split()
        assert digit == "1"
        assert runner_up in set("023456789")
        assert 100 >= float(probability.rstrip("%")) > float(runner_up_probability.strip("(%)"))
    assert [shown[name] for name in problems] == [f"–  {problem}" for problem in problems.values()]


def test_an_unsure_answer_names_the_two_likeliest_digits(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, unsure = tmp_path / "results.csv", untrained(tmp_path / "untrained.ckpt")
    assert status_of(folder / "b.png", "--ckpt_path", unsure, "--output", output) == 1
    (row,) = csv.DictReader(output.read_text().splitlines())
    first, second = float(row["probability"]), float(row["runner_up_probability"])
    assert second <= first < SURE_PROBABILITY
    assert row["problem"] == f"not sure: {row['name']} ({first:.2%}) or {row['runner_up']} ({second:.2%})"
    assert capsys.readouterr().out.splitlines()[1].split(maxsplit=2)[1:] == ["?", row["problem"]]


def test_pictures_of_other_classes(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Prepared as training images are, without a search for a digit."""
    ckpt_path = untrained(tmp_path / "flowers.ckpt", class_names=("rose", "tulip"))
    status_of(folder, "--ckpt_path", ckpt_path)
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["file", "class", "probability", "runner-up"]
    assert "rose" in lines[0]
    classifier = load_classifier(ckpt_path)
    answer = read_picture(classifier, folder / "b.png")
    assert answer == read_picture(classifier, (folder / "b.png").read_bytes()) == read_picture(classifier, one())
    probabilities = classifier.probabilities(grey_square(one()).unsqueeze(0))[0]
    assert answer.probability == probabilities.max()
    classifier.inverts = True
    assert read_picture(classifier, one()).probability != answer.probability


def test_results_are_written(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    one().save("digit.png")
    output = tmp_path / "results.csv"
    assert status_of("digit.png", "notes.txt", "--ckpt_path", SHIPPED, "--output", output) == 1
    with output.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == ["digit.png", "notes.txt"]
    assert list(rows[0]) == ["file", "name", "probability", "runner_up", "runner_up_probability", "problem"]
    assert rows[0]["name"] == "1"
    assert 0 < float(rows[0]["probability"]) <= 1
    assert not rows[-1]["name"]
    assert rows[-1]["problem"] == NO_PICTURE


def test_status_0_if_all_are_read(folder: Path) -> None:
    assert status_of("--ckpt_path", SHIPPED, folder) == 0
