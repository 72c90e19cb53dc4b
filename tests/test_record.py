"""The record of a run: what is written is read again, old ones too, and nothing damaged is."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mnist_lightning.files import from_json, to_json
from mnist_lightning.runs.record import Record
from mnist_lightning.runs.record_text import record_markdown
from support.runs import PROJECT

COMMITTED = sorted(
    path
    for folder in ("results", "models")
    for path in (PROJECT / folder).rglob("*.json")
    if "settings" in json.loads(path.read_text(encoding="utf-8"))
)


def test_there_are_committed_reports() -> None:
    assert len(COMMITTED) > 40


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: f"{path.parent.name}_{path.stem}")
def test_a_committed_report_is_written_as_it_was_read(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert json.loads(to_json(from_json(Record, text))) == json.loads(text)


DAMAGED: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no hardware": lambda report: report.pop("hardware"),
    "an accuracy above 1": lambda report: report["epochs"][0].update(train_accuracy=1.5),
    "a loss that is NaN": lambda report: report["epochs"][0].update(train_loss=float("nan")),
}


@pytest.mark.parametrize("change", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_record_is_refused(change: Callable[[dict[str, Any]], Any]) -> None:
    report = json.loads((PROJECT / "results/ablations/the_recipe/seed_0.json").read_text(encoding="utf-8"))
    change(report)
    with pytest.raises(ValueError, match=r"."):
        from_json(Record, json.dumps(report))


def test_a_report_of_a_run_in_its_first_epoch_has_a_text() -> None:
    report = json.loads((PROJECT / "results/ablations/the_recipe/seed_0.json").read_text(encoding="utf-8"))
    del report["requirements"], report["wall_clock_seconds"]
    first = from_json(Record, json.dumps(report | {"epochs": [], "status": "running"}))
    assert "MNIST: 0 epochs in 0 s, running" in record_markdown(first)
