"""Rendered digits: their sources, and that this code reproduces the figures in results/."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.evidence.own_digits.evaluation import evaluate, figures_of, main
from mnist_lightning.evidence.own_digits.examples import FOLDER, pictures
from mnist_lightning.evidence.own_digits.pen_strokes import PENS, WAYS, draw_digit
from mnist_lightning.evidence.own_digits.rendered_digits import FONTS, PENS_OF, SEEDS, WAYS_OF_WRITING, rendered_digits
from support.runs import PROJECT

FIGURES = json.loads((PROJECT / "results" / "own_digits" / "own_digits.json").read_text(encoding="utf-8"))


def test_the_two_sets_share_no_sources() -> None:
    assert not FONTS["development"].keys() & FONTS["report"].keys()
    assert not set(PENS_OF["development"]) & set(PENS_OF["report"])
    assert not set(WAYS_OF_WRITING["development"]) & set(WAYS_OF_WRITING["report"])
    assert SEEDS["development"] != SEEDS["report"]


def test_every_digit_can_be_drawn_in_every_way() -> None:
    for digit in range(10):
        for way in range(len(WAYS[digit])):
            for pen in PENS.values():
                image = np.asarray(draw_digit(digit, way, pen, 100, np.random.default_rng(0)))
                assert image.max() == 255
                assert 90 <= image.shape[0] <= 150  # the points wobble
                assert image[0].any()
                assert image[:, 0].any()


def test_pictures_are_reproducible() -> None:
    first, again = (next(rendered_digits("report")) for _ in range(2))
    assert np.array_equal(np.asarray(first.image), np.asarray(again.image))
    assert (first.digit, first.style) == (0, "SourceSansPro-Light")


def test_the_figures_cover_enough_pictures_and_reach_the_target() -> None:
    assert FIGURES["set"] == "report"
    assert FIGURES["all"]["n"] >= 300
    assert FIGURES["num_faces"] >= 20
    assert FIGURES["all"]["accuracy"] >= 0.9
    assert FIGURES["all"]["accuracy"] >= FIGURES["all"]["plain_accuracy"] + 0.2
    for groups in ("by_kind", "by_polarity", "by_digit", "by_style"):
        assert sum(group["n"] for group in FIGURES[groups].values()) == FIGURES["all"]["n"]
    num_errors = round(FIGURES["all"]["n"] * (1 - FIGURES["all"]["accuracy"]))
    assert sum(FIGURES["errors"].values()) == num_errors


def test_some_pictures_reproduce_the_committed_figures(trained: DigitClassifier) -> None:
    style = "SourceSansPro-Light"
    some = [picture for picture, _ in zip(rendered_digits("report"), range(10), strict=False)]
    assert {picture.style for picture in some} == {style}
    assert figures_of(evaluate(trained, some))["by_style"][style] == FIGURES["by_style"][style]


@pytest.mark.slow
def test_all_pictures_reproduce_the_committed_figures(tmp_path: Path, trained: DigitClassifier) -> None:
    main(["--ckpt_path", str(PROJECT / "models" / "mnist.ckpt"), "--output", str(tmp_path)])
    repeated = json.loads((tmp_path / "own_digits.json").read_text(encoding="utf-8"))
    # Rounding depends on processor and release, and may change one or two predictions.
    assert repeated["all"]["accuracy"] == pytest.approx(FIGURES["all"]["accuracy"], abs=0.01)
    assert repeated["all"]["n"] == FIGURES["all"]["n"]
    assert (tmp_path / "own_digits.png").stat().st_size < 300_000


def test_a_missing_checkpoint_is_a_short_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--ckpt_path", str(tmp_path / "none.ckpt"), "--output", str(tmp_path)])
    assert ended.value.code == 2
    assert "no such file" in capsys.readouterr().err


def test_the_examples_match_their_source() -> None:
    assert {path.name for path in FOLDER.iterdir()} == pictures().keys()
    for name, picture in pictures().items():
        with Image.open(FOLDER / name) as committed:
            assert committed.mode == picture.mode
            found, wanted = (np.asarray(image, dtype=float) for image in (committed, picture))
        assert np.abs(found - wanted).mean() < 3  # of 255: JPEG, and rounding on another processor
