"""`report.json`: what is written is read again, old reports too, and nothing damaged is."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mnist_lightning.runs.json_records import from_json, to_json
from mnist_lightning.runs.report import Report
from mnist_lightning.runs.report_text import report_markdown
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
    assert json.loads(to_json(from_json(Report, text))) == json.loads(text)


Change = Callable[[dict[str, Any]], Any]
DAMAGED: dict[str, tuple[Change, str]] = {
    "no hardware": (lambda report: report.pop("hardware"), "hardware is missing"),
    "no model in the settings": (lambda report: report["settings"].pop("model"), "settings lack model or trainer"),
    "settings that are a list": (lambda report: report.update(settings=[]), r"settings cannot be \[\]"),
    "an unknown validation": (lambda report: report.update(validation="tests"), "validation cannot be 'tests'"),
    "a list as a validation": (lambda report: report.update(validation=["test"]), "validation cannot be"),
    "a count that is true": (lambda report: report.update(num_processes=True), "num_processes cannot be True"),
    "no end": (lambda report: report.update(num_parameters=2**63), "num_parameters cannot be"),
    "an epoch 0": (lambda report: report["epochs"][0].update(epoch=0), r"epochs\[0\]\.epoch cannot be 0"),
    "an accuracy above 1": (
        lambda report: report["epochs"][0].update(train_accuracy=1.5),
        "train_accuracy cannot be 1.5",
    ),
    "an accuracy in words": (
        lambda report: report["epochs"][0].update(train_accuracy="1"),
        "train_accuracy cannot be '1'",
    ),
    "a loss that is none": (
        lambda report: report["epochs"][0].update(train_loss=float("nan")),
        "train_loss cannot be nan",
    ),
    "a loss without end": (lambda report: report["epochs"][1].update(val_loss=float("inf")), "val_loss cannot be inf"),
    "an accuracy without a loss": (
        lambda report: report["epochs"][0].pop("val_loss"),
        "epoch 1 lacks one of val_accuracy and val_loss",
    ),
    "seconds below 0": (lambda report: report["epochs"][0].update(seconds=-1.0), "seconds cannot be -1.0"),
    "a test without a loss": (lambda report: report.update(test={"accuracy": 0.5}), "test cannot be {'accuracy': 0.5}"),
    "a requirement that is a text": (
        lambda report: report.update(requirements=["met"]),
        r"requirements\[0\] cannot be 'met'",
    ),
    "a version that is a number": (lambda report: report["versions"].update(torch=2), "versions.torch cannot be 2"),
    "half a surrogate pair": (lambda report: report.update(command="\ud800"), "surrogates not allowed"),
}


@pytest.mark.parametrize(("change", "match"), DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_report_is_refused(change: Change, match: str) -> None:
    report = json.loads((PROJECT / "results/ablations/the_recipe/seed_0.json").read_text(encoding="utf-8"))
    change(report)
    with pytest.raises(ValueError, match=match):
        from_json(Report, json.dumps(report))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 10**5, '{"a": ' * 10**5, "9" * 5000])
def test_what_is_no_report_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_json(Report, text)


def test_a_report_of_a_run_in_its_first_epoch_has_a_text() -> None:
    report = json.loads((PROJECT / "results/ablations/the_recipe/seed_0.json").read_text(encoding="utf-8"))
    del report["requirements"], report["wall_clock_seconds"]
    first = from_json(Report, json.dumps(report | {"epochs": [], "status": "running"}))
    assert "MNIST: 0 epochs in 0 s, running" in report_markdown(first)
