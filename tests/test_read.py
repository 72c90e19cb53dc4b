"""`read`: one line per file, and the exit status."""

import contextlib
import csv
import json
import os
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.data.idx_files import IdxFiles
from mnist_lightning.data.image_files import find_images, read_image
from mnist_lightning.datamodule import DigitsDataModule
from mnist_lightning.errors import UserError
from mnist_lightning.main import main
from mnist_lightning.read.preparation import prepare_digit
from mnist_lightning.runs.predictions import SURE_PROBABILITY
from support.runs import PROJECT


def one(width: int = 300, height: int = 300) -> Image.Image:
    """A dark 1 on light paper."""
    image = Image.new("RGB", (width, height), (240, 235, 220))
    line = (0.55 * width, 0.2 * height, 0.45 * width, 0.8 * height)
    ImageDraw.Draw(image).line(line, fill=(20, 30, 90), width=max(2, height // 20))
    return image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures of a 1, and files that are not pictures."""
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    one().save(folder / "b.png")
    one().save(folder / "more" / "a.JPG")
    one().save(folder / ".hidden" / "c.png")
    (folder / "notes.txt").write_text("no picture")
    return folder


# Files


def test_a_folder_means_the_images_below_it(folder: Path) -> None:
    assert find_images([str(folder)]) == [folder / "b.png", folder / "more" / "a.JPG"]
    assert find_images([str(folder / "notes.txt"), str(folder / "b.png")]) == [folder / "notes.txt", folder / "b.png"]


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    seven = Image.new("L", (200, 300), 255)
    ImageDraw.Draw(seven).line([(50, 50), (150, 50), (80, 250)], fill=0, width=14)
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90° clockwise
    for suffix in ("jpg", "png", "tif", "webp"):
        seven.rotate(90, expand=True).save(tmp_path / f"seven.{suffix}", exif=exif)
        upright = prepare_digit(read_image(tmp_path / f"seven.{suffix}"))
        assert (upright.float() - prepare_digit(seven).float()).abs().mean() < 4


def test_broken_exif_is_ignored(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    one().save(tmp_path / "one.webp", lossless=True)
    whole = prepare_digit(read_image(tmp_path / "one.webp"))
    one().save(tmp_path / "one.webp", lossless=True, exif=exif)
    content = (tmp_path / "one.webp").read_bytes()
    assert b"MM\0*" in content
    (tmp_path / "one.webp").write_bytes(content.replace(b"MM\0*", b"MM??"))
    assert torch.equal(prepare_digit(read_image(tmp_path / "one.webp")), whole)


def test_the_first_frame_of_an_animation(tmp_path: Path) -> None:
    one().save(tmp_path / "one.gif", save_all=True, append_images=[Image.new("RGB", (300, 300), "white")])
    assert prepare_digit(read_image(tmp_path / "one.gif")).any()


def test_a_large_jpeg_is_decoded_at_reduced_size(tmp_path: Path) -> None:
    one(4000, 3000).save(tmp_path / "large.jpg")
    assert max(read_image(tmp_path / "large.jpg").size) <= 2000
    assert prepare_digit(read_image(tmp_path / "large.jpg")).any()


@pytest.mark.parametrize(
    ("size", "text"),
    [
        ((1, 21_000), "1 × 21,000 pixels"),
        ((21_000, 1), "21,000 × 1 pixels"),
        ((9_000, 8_000), "9,000 × 8,000 pixels"),
        ((14_000, 14_000), "196,000,000 pixels"),
    ],
)
def test_too_many_pixels_are_refused_before_they_are_decoded(size: tuple[int, int], text: str, tmp_path: Path) -> None:
    Image.new("1", (1, 1)).save(tmp_path / "bomb.png")
    content = (tmp_path / "bomb.png").read_bytes()
    header = b"IHDR" + struct.pack(">II", *size) + content[24:29]
    (tmp_path / "bomb.png").write_bytes(content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:])
    # The data contain a single pixel, so decoding would raise another error.
    with pytest.raises(UserError, match=f"too large: {text}; the limits are 70,000,000 pixels and 20,000 per side"):
        read_image(tmp_path / "bomb.png")


EPS = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 100 100
%%EndComments
%%EOF
"""


@pytest.mark.parametrize("name", ["digit.eps", "digit.png"])
def test_no_code_in_a_picture_is_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ghostscript = tmp_path / "bin" / "gs"
    ghostscript.parent.mkdir()
    ghostscript.write_text(f"#!/bin/sh\ntouch {tmp_path}/trace\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ghostscript.parent}:{os.environ['PATH']}")
    (tmp_path / name).write_bytes(EPS)
    with pytest.raises(UserError, match="not an image in a supported format: BMP, GIF, JPEG, "):
        read_image(tmp_path / name)
    assert not (tmp_path / "trace").exists()
    with Image.open(tmp_path / name) as image, contextlib.suppress(OSError):
        image.load()
    assert (tmp_path / "trace").exists(), "it would have been run"


def test_a_damaged_file_is_refused_whatever_its_format(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    num_refused = 0
    for suffix in ("png", "jpg", "gif", "bmp", "tif", "webp", "ppm"):
        path = tmp_path / f"one.{suffix}"
        one(64, 64).save(path)
        content = bytearray(path.read_bytes())
        damaged = [bytes(content[: len(content) // 3]), bytes(content[:20]), b""]
        for _ in range(15):
            changed = bytearray(content)
            for place in rng.integers(0, len(content), 6):
                changed[place] = rng.integers(256)
            damaged.append(bytes(changed))
        for content_now in damaged:
            path.write_bytes(content_now)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                try:
                    read_image(path)
                except UserError:
                    num_refused += 1
    assert num_refused >= 7 * 3


# The command


@pytest.fixture
def checkpoint(monkeypatch: pytest.MonkeyPatch) -> str:
    """The model that ships with the project; reading MNIST fails the test."""
    monkeypatch.setattr(IdxFiles, "read_verified", lambda *_: pytest.fail("the data were read"))
    return str(PROJECT / "models" / "mnist.ckpt")


def untrained(path: Path, **settings: Any) -> str:
    content = {
        "state_dict": DigitClassifier(**settings).state_dict(),
        "hyper_parameters": settings,
        "datamodule_hyper_parameters": dict(DigitsDataModule().hparams),
    }
    torch.save(content, path)
    return str(path)


@pytest.fixture
def unsure(tmp_path: Path) -> str:
    """A checkpoint of an untrained network, which gives each digit a similar probability."""
    return untrained(tmp_path / "untrained.ckpt")


def status_of(args: list[str], command: str = "read") -> object:
    try:
        main([command, *args])
    except SystemExit as ended:
        return ended.code
    return 0


NO_PICTURE = "not an image in a supported format: BMP, GIF, JPEG, PNG, PPM, TIFF and WebP"
NOT_READ = {
    "blank.png": "no digit found: nothing in the picture looks like a digit",
    "missing.png": "no such file",
    "empty": "a folder without image files",
    "x" * 300: "cannot be read (File name too long)",
}


def test_one_line_per_file_and_status_1(
    folder: Path, checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("L", (50, 50), 255).save(tmp_path / "blank.png")
    (tmp_path / "empty").mkdir()
    names = [str(folder), str(folder / "notes.txt"), *(str(tmp_path / name) for name in NOT_READ)]
    assert status_of([*names, "--ckpt_path", checkpoint, "--num_threads", "1"]) == 1
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["file", "digit", "probability", "runner-up"]
    column = header.index("digit") + len("digit") - 1
    shown = {line.split()[0]: line[column:] for line in lines}
    assert list(shown) == [str(folder / "b.png"), str(folder / "more" / "a.JPG"), *names[1:]]
    for line in list(shown.values())[:2]:
        digit, probability, runner_up, runner_up_probability = line.split()
        assert digit == "1"
        assert runner_up in set("023456789")
        assert 100 >= float(probability.rstrip("%")) > float(runner_up_probability.strip("(%)"))
    assert [shown[name] for name in names[1:]] == [f"–  {problem}" for problem in (NO_PICTURE, *NOT_READ.values())]


def test_an_unsure_answer_names_the_two_likeliest_digits(
    folder: Path, unsure: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "results.json"
    assert status_of([str(folder / "b.png"), "--ckpt_path", unsure, "--output", str(output)]) == 1
    (row,) = json.loads(output.read_text())
    assert row["runner_up_probability"] <= row["probability"] < SURE_PROBABILITY
    runner_up = f"{row['runner_up']} ({row['runner_up_probability']:.2%})"
    assert row["problem"] == f"not sure: {row['digit']} ({row['probability']:.2%}) or {runner_up}"
    assert capsys.readouterr().out.splitlines()[1].split(maxsplit=2)[1:] == ["?", row["problem"]]


def test_a_network_of_other_classes_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ckpt_path = untrained(tmp_path / "flowers.ckpt", class_names=("rose", "tulip"))
    assert status_of([str(folder), "--ckpt_path", ckpt_path]) == 2
    assert (
        "`read` recognises digits, but this network was trained on the classes rose, tulip" in capsys.readouterr().err
    )


@pytest.mark.parametrize("suffix", ["csv", "json"])
def test_results_and_prepared_images_are_written(suffix: str, folder: Path, checkpoint: str, tmp_path: Path) -> None:
    one().save(folder / "more" / "b.png")
    output, prepared = tmp_path / f"results.{suffix}", tmp_path / "prepared"
    files = [str(folder), str(folder / "notes.txt")]
    options = ["--ckpt_path", checkpoint, "--output", str(output), "--prepared", str(prepared)]
    assert status_of([*files, *options]) == 1
    with output.open(encoding="utf-8") as file:
        rows = json.load(file) if suffix == "json" else list(csv.DictReader(file))
    expected = [folder / "b.png", folder / "more" / "a.JPG", folder / "more" / "b.png", folder / "notes.txt"]
    assert [row["file"] for row in rows] == list(map(str, expected))
    assert list(rows[0]) == ["file", "digit", "probability", "runner_up", "runner_up_probability", "problem"]
    assert 0 <= int(rows[0]["digit"]) <= 9
    assert 0 < float(rows[0]["probability"]) <= 1
    assert not rows[-1]["digit"]
    assert rows[-1]["problem"] == NO_PICTURE
    below = prepared / folder.relative_to("/")
    assert files_below(prepared) == [below / "b.png", below / "more" / "a.png", below / "more" / "b.png"]
    with Image.open(below / "b.png") as image:
        assert (image.size, image.mode) == ((28, 28), "L")
        assert np.array_equal(np.asarray(image), prepare_digit(one()).numpy())


def files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_prepared_images_keep_their_paths_within_the_folder(
    checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    pictures = ["a/1.png", "b/1.png", "b/1.jpg", "B/1.png", "../1.png", "../../1.png", "b/../../c/1.png", "1.png"]
    for name in ["a", "b", "B", "../c"]:
        (here / name).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(here)
    for name in pictures:
        one().save(name)
    before = set(files_below(tmp_path.parent))
    names = ["a", *pictures[1:], f"{here}/a/1.png"]
    assert status_of([*names, "--ckpt_path", checkpoint, "--prepared", "prepared"]) == 0
    prepared = [str(path.relative_to(here / "prepared")) for path in files_below(here / "prepared")]
    expected = ["a/1.png", "b/1.png", "b/1.jpg.png", "B/1.png.png", "1.png", "1.png.png", "b/c/1.png", "1.png-2.png"]
    assert prepared == sorted([*expected, f"{here}/a/1.png".lstrip("/")], key=lambda name: Path(name).parts)
    assert set(files_below(tmp_path.parent)) - before == set(files_below(here / "prepared"))


def test_an_unwritable_prepared_image_does_not_stop_the_others(
    checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = tmp_path / "here"
    (here / "b.png").mkdir(parents=True)
    monkeypatch.chdir(here)
    longest = ["x" * 251, "é" * 125, "字" * 83, "🤷" * 62]
    names = [f"{stem}.png" for stem in longest]
    names += ["../b.png", "b.png/1.png", "a.png"]  # the first blocks the second's folder
    for name in names:
        one().save(name)
    command = ["--ckpt_path", checkpoint, "--prepared", "prepared", "--output", "results.json"]
    assert status_of([*command, *names]) == 1
    rows = json.loads(Path("results.json").read_text())
    problem = "--prepared: b.png/1.png cannot be written (File exists)"
    assert [row["problem"] for row in rows] == [problem if row["file"] == "b.png/1.png" else None for row in rows]
    assert all(row["digit"] is not None for row in rows)
    assert {path.stem for path in files_below(here / "prepared")} == {*longest, "a", "b"}
    assert problem in capsys.readouterr().out


def test_a_file_name_is_not_a_spreadsheet_formula(
    checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["=1+2.png", "+1.png", "-1.png", "@SUM(A1).png", "1-2.png"]
    for name in names:
        one().save(name)
    arguments = ["--ckpt_path", checkpoint]
    assert status_of([*names[:2], *names[3:], "--ckpt_path", checkpoint, "--output", "results.csv"]) == 0
    assert status_of([*arguments, "--output", "dash.csv", "--", names[2]]) == 0
    rows = [row for name in ("results.csv", "dash.csv") for row in csv.DictReader(Path(name).read_text().splitlines())]
    assert [row["file"] for row in rows] == ["'=1+2.png", "'+1.png", "'@SUM(A1).png", "1-2.png", "'-1.png"]
    assert all(float(row["probability"]) > 0 for row in rows)


def test_status_0_if_all_are_read(folder: Path, checkpoint: str) -> None:
    assert status_of(["--ckpt_path", checkpoint, str(folder)]) == 0


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        (["--output", "results.txt"], "ends in .csv or .json"),
        (["--output", "there.csv"], "exists already. Name another file"),
        (["--output", "no/results.csv"], "there is no folder no"),
        (["--prepared", "full"], "Use a new folder"),
        (["--prepared", "there.csv"], "Use another path"),
        (["--prepare", "x"], "Did you mean --prepared?"),
        (["--config", "nope.yaml"], "Give --config the path of a YAML file that exists."),
    ],
)
def test_a_mistake_ends_with_status_2_before_any_picture_is_read(
    options: list[str],
    hint: str,
    folder: Path,
    checkpoint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.csv").write_text("kept")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "old.png").write_text("kept")
    assert status_of(["--ckpt_path", checkpoint, str(folder), *options]) == 2
    output = capsys.readouterr()
    assert hint in output.err
    assert not output.out
    assert (tmp_path / "there.csv").read_text() == "kept"


def test_unprintable_file_names(folder: Path, checkpoint: str, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "b.png").rename(folder / "two\nlines \udcff.png")
    assert status_of(["--ckpt_path", checkpoint, str(folder)]) == 0
    assert "two?lines ?.png" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", ["csv", "json"])
def test_predictions_of_the_test_images_go_to_output_too(
    suffix: str, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best = str(finished / "checkpoints" / "best.ckpt")
    output = tmp_path / f"predictions.{suffix}"
    assert status_of(["--ckpt_path", best, "--output", str(output)], "predict") == 0
    assert not capsys.readouterr().out
    assert status_of(["--ckpt_path", best], "predict") == 0
    printed = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    text = output.read_text(encoding="utf-8")
    rows = json.loads(text) if suffix == "json" else list(csv.DictReader(text.splitlines()))
    assert len(rows) == len(printed) > 0
    for row, line in zip(rows, printed, strict=True):
        assert {name: str(row[name]) for name in ("dataset", "index", "digit")} == {
            name: line[name] for name in ("dataset", "index", "digit")
        }
        assert float(row["probability"]) == pytest.approx(float(line["probability"]), abs=1e-6)
