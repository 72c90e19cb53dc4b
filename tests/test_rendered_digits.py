"""Rendered digits: their sources, and that this code reproduces the figures in results/."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.own_digits.evaluation import OUTCOMES, evaluate, figures_of, main
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
from support.runs import PROJECT

FIGURES = json.loads((PROJECT / "results" / "own_digits" / "own_digits.json").read_text(encoding="utf-8"))


def test_the_two_sets_share_no_sources() -> None:
    assert not FONTS["development"].keys() & FONTS["report"].keys()
    assert not set(PENS_OF["development"]) & set(PENS_OF["report"])
    assert not set(WAYS_OF_WRITING["development"]) & set(WAYS_OF_WRITING["report"])
    assert SEEDS["development"] != SEEDS["report"]


def test_pictures_are_reproducible_and_labelled() -> None:
    for kind in (*KINDS, NO_DIGIT, EMPTY):
        first, again = (next(rendered_digits("report", [kind])) for _ in range(2))
        assert np.array_equal(np.asarray(first.image), np.asarray(again.image))
        assert first.kind == kind
        assert first.digit == (None if kind in (NO_DIGIT, EMPTY) else 0)


def test_the_figures_cover_enough_pictures() -> None:
    assert FIGURES["set"] == "report"
    assert list(FIGURES["by_kind"]) == [*KINDS, NO_DIGIT, EMPTY, MNIST]
    for counts in FIGURES["by_kind"].values():
        assert counts["n"] == sum(counts[outcome] for outcome in OUTCOMES) >= 60
    assert sum(FIGURES["errors"].values()) == FIGURES["digits"]["wrong"]


def test_some_pictures_reproduce_the_committed_figures(trained: DigitClassifier) -> None:
    figures = figures_of(evaluate(trained, rendered_digits("report", ["circled"])))
    assert figures["by_kind"]["circled"] == FIGURES["by_kind"]["circled"]


@pytest.mark.slow
def test_all_pictures_reproduce_the_committed_figures(tmp_path: Path, mnist: object) -> None:
    main(["--ckpt_path", str(PROJECT / "models" / "mnist.ckpt"), "--output", str(tmp_path)])
    repeated = json.loads((tmp_path / "own_digits.json").read_text(encoding="utf-8"))
    assert repeated["digits"]["n"] == FIGURES["digits"]["n"]
    # Rounding depends on processor and release, and may change a few predictions.
    assert repeated["digits"]["right"] == pytest.approx(FIGURES["digits"]["right"], rel=0.01)
    assert (tmp_path / "own_digits.png").stat().st_size < 300_000
