"""The README's figures are those of the committed reports."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from test_training import PUBLISHED_LEARNING_RATES

from mnist_lightning.results import (
    EXPERIMENTS,
    PROJECT,
    README,
    RECIPE,
    RESULTS,
    Experiment,
    train_missing,
    with_tables,
)


def reports() -> list[tuple[str, dict[str, Any]]]:
    return [(str(path.relative_to(RESULTS)), json.loads(path.read_text())) for path in sorted(RESULTS.rglob("*.json"))]


def test_the_readme_is_what_the_reports_say() -> None:
    text = README.read_text(encoding="utf-8")
    assert with_tables(text) == text


def test_a_readme_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks the markers of results"):
        with_tables("# no markers")


def test_every_experiment_has_its_reports() -> None:
    for experiment in EXPERIMENTS:
        for seed, report in zip(experiment.seeds, experiment.reports(), strict=True):
            assert report["seed"] == seed
            assert report["dataset"] == "MNIST"
            assert experiment.report_path(seed).with_suffix(".md").exists()


def test_learning_rates_of_the_recipe_are_the_published_ones() -> None:
    for report in RECIPE.reports():
        assert [row["steps"] for row in report["epochs"]] == [118 * epoch for epoch in range(1, 16)]
        assert [round(row["learning_rate"], 6) for row in report["epochs"]] == PUBLISHED_LEARNING_RATES


def test_committed_reports_hold_no_path_outside_the_project() -> None:
    files = [*RESULTS.rglob("*.json"), *RESULTS.rglob("*.md")]
    assert files
    for path in files:
        text = path.read_text()
        assert not re.search(r"(^|[\s\"'=`])[/~]\w", text)


def test_a_report_that_is_there_is_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(subprocess, "run", refuse)
    train_missing([RECIPE])
    assert all(RECIPE.report_path(seed).exists() for seed in RECIPE.seeds)


def test_a_missing_seed_is_trained_and_its_report_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "configs").symlink_to(PROJECT / "configs")
    monkeypatch.setattr("mnist_lightning.results.PROJECT", tmp_path)
    monkeypatch.setattr("mnist_lightning.results.RESULTS", tmp_path / "results")
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    short = ("--trainer.max_epochs", "1", "--trainer.limit_train_batches", "2")
    experiment = Experiment("offline", "offline", ("--config", "configs/offline.yaml", *short), (3, 4))
    train_missing([experiment])
    assert [report["seed"] for report in experiment.reports()] == [3, 4]
    assert sorted(path.name for path in (tmp_path / "results" / "offline").iterdir()) == [
        *("seed_3.json", "seed_3.md", "seed_4.json", "seed_4.md")
    ]
