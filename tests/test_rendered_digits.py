"""Rendered digits: their sources, and that this code reproduces the figures in results/."""

import json
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from benchmarks.own_digits.evaluation import Outcome, evaluate, figures_of, main
from benchmarks.own_digits.examples import FOLDER, pictures
from benchmarks.own_digits.pen_strokes import PENS, WAYS, draw_digit
from benchmarks.own_digits.rendered_digits import (
    EMPTY,
    FONTS,
    KINDS,
    MNIST,
    NO_DIGIT,
    PENS_OF,
    SEEDS,
    WAYS_OF_WRITING,
    rendered_digits,
)
from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.runs.predictions import SURE_PROBABILITY
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


def test_pictures_are_reproducible_and_labelled() -> None:
    for kind in (*KINDS, NO_DIGIT, EMPTY):
        first, again = (next(rendered_digits("report", [kind])) for _ in range(2))
        assert np.array_equal(np.asarray(first.image), np.asarray(again.image))
        assert first.kind == kind
        assert first.digit == (None if kind in (NO_DIGIT, EMPTY) else 0)


def test_the_figures_cover_enough_pictures_and_are_good_enough() -> None:
    assert FIGURES["set"] == "report"
    assert FIGURES["sure_probability"] == SURE_PROBABILITY
    assert list(FIGURES["by_kind"]) == [*KINDS, NO_DIGIT, EMPTY, MNIST]
    counts = FIGURES["by_kind"].values()
    assert all(kind["n"] >= 60 for kind in counts)
    assert all(kind["n"] == sum(kind[outcome] for outcome in get_args(Outcome)) for kind in counts)
    digits, letters = FIGURES["digits"], FIGURES["by_kind"][NO_DIGIT]
    assert digits["wrong"] <= 0.03 * (digits["right"] + digits["wrong"])
    assert letters["not_sure"] + letters["no_digit_found"] >= 0.6 * letters["n"]
    assert digits["right"] >= 0.9 * digits["n"] > digits["read_plainly"]
    assert sum(FIGURES["errors"].values()) == digits["wrong"]


def test_some_pictures_reproduce_the_committed_figures(trained: DigitClassifier) -> None:
    kind = "circled"
    figures = figures_of(evaluate(trained, rendered_digits("report", [kind])))
    assert figures["by_kind"][kind] == FIGURES["by_kind"][kind]


@pytest.mark.slow
def test_all_pictures_reproduce_the_committed_figures(tmp_path: Path, trained: DigitClassifier, mnist: object) -> None:
    main(["--ckpt_path", str(PROJECT / "models" / "mnist.ckpt"), "--output", str(tmp_path)])
    repeated = json.loads((tmp_path / "own_digits.json").read_text(encoding="utf-8"))
    assert repeated["digits"]["n"] == FIGURES["digits"]["n"]
    # Rounding depends on processor and release, and may change a few predictions.
    assert repeated["digits"]["right"] == pytest.approx(FIGURES["digits"]["right"], rel=0.01)
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
