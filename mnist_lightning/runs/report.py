"""The report of a run, as text: a line per epoch, the summary, `report.md`; and how `report.json` is read."""

import json
from typing import Any, Literal

from mnist_lightning.runs.markdown import as_code, as_text, one_line


def epoch_title(epoch: int, max_epochs: int | None) -> str:
    """`epoch  3/15`, or `epoch  3` where steps or time end the run."""
    return f"epoch {epoch:2}" + (f"/{max_epochs}" if max_epochs is not None and max_epochs > 0 else "")


def is_whole(row: dict[str, Any]) -> bool:
    """Whether an epoch of a report had all of its batches."""
    return bool(row.get("batches") == row.get("batches_per_epoch"))  # both are absent from reports of early versions


def num_whole_epochs(report: dict[str, Any]) -> int:
    """How many epochs had all of their batches."""
    return sum(is_whole(row) for row in report["epochs"])


def part_text(report: dict[str, Any], stage: Literal["val", "test"]) -> str:
    """What to put before the name of the images that a run evaluated."""
    return part_of(report["settings"]["trainer"].get(f"limit_{stage}_batches"))


def part_of(limit: float | None) -> str:
    """`part of the ` where a trainer's limit leaves batches out: the float 1.0 is all of them, the integer 1 is one."""
    return "" if limit is None or (isinstance(limit, float) and limit == 1) else "part of the "


def epoch_line(row: dict[str, Any], max_epochs: int | None) -> str:
    """An epoch of a report as the line that is printed at its end."""
    validation = f"  validation {row['val_accuracy']:6.2%} loss {row['val_loss']:.4f}" if "val_accuracy" in row else ""
    training = f"training {row['train_accuracy']:6.2%} loss {row['train_loss']:.4f}"
    rate = f"lr {row['learning_rate']:.6f}"
    title = epoch_title(row["epoch"], max_epochs)
    return f"{title}{_part_text(row)}  {training}{validation}  {rate}  {row['seconds']:.1f} s"


def _part_text(row: dict[str, Any]) -> str:
    return "" if is_whole(row) else f" ({row['batches']} of {row['batches_per_epoch']} batches)"


def _notes(report: dict[str, Any]) -> str:
    """What else to know of the table of epochs."""
    notes = ""
    if report["settings"]["model"].get("optimizer") == "muon":
        notes += " The rate is that of batch norm's parameters; the convolutions have their own under Muon."
    if any("batches" not in row for row in report["epochs"]):  # of the first versions
        notes += " Losses are means over batches, of which the last is smaller: not quite the means over images."
    return notes


def best_epoch(report: dict[str, Any]) -> dict[str, Any] | None:
    """The row of the epoch with the best validation accuracy, the first of equals; None without validation."""
    rows = [row for row in report["epochs"] if "val_accuracy" in row]
    return max(rows, key=lambda row: row["val_accuracy"], default=None)


def _epochs_text(report: dict[str, Any]) -> str:
    """`3 epochs`, or `3 epochs and 2 of 23 batches` where the run ended inside one."""
    num_epochs = num_whole_epochs(report)
    parts = [f"{num_epochs} epoch{'' if num_epochs == 1 else 's'}"]
    if num_epochs != len(report["epochs"]):
        last = report["epochs"][-1]
        parts = [*(parts if num_epochs else []), f"{last['batches']} of {last['batches_per_epoch']} batches"]
    return " and ".join(parts)


def summary(report: dict[str, Any]) -> str:
    """The end of a run in plain text: epochs, accuracies, and each requirement with its value."""
    report = one_line(report)
    marks = {True: "met", False: "NOT MET", None: "not judged"}
    lines = [
        f"{report['dataset']}: {_epochs_text(report)} in {report.get('wall_clock_seconds', 0):.0f} s, "
        f"{report['status']}"
    ]
    if best := best_epoch(report):
        chosen = "; chosen on the test set" if report["validation"] == "test" else ""
        last = report["epochs"][-1]
        last_text = (
            f"{last['val_accuracy']:.2%} of {part_text(report, 'val') or 'the '}{report['validated_on']}"
            if "val_accuracy" in last
            else "not validated"
        )
        lines += [
            f"  last epoch   {last_text}",
            f"  best epoch   {best['val_accuracy']:.2%} (epoch {best['epoch']}{chosen})",
        ]
    if "test" in report:
        part = f" on {part}test images" if (part := part_text(report, "test")) else ""
        lines.append(f"  test images  {report['test']['accuracy']:.2%}{part}, read once, after training")
        if "single_view_accuracy" in report["test"]:
            lines.append(f"               {report['test']['single_view_accuracy']:.2%} without test-time augmentation")
    width = max(len(requirement["name"]) for requirement in report["requirements"])
    lines += [
        f"  {requirement['name']:<{width}}  {marks[requirement['is_met']]:<12}  {requirement['value']}"
        for requirement in report["requirements"]
    ]
    return "\n".join(lines)


def report_markdown(report: dict[str, Any]) -> str:
    """The report as Markdown: the summary, the table of epochs, and what it was measured with."""
    hardware_text = ", ".join(f"{name} {value}" for name, value in report["hardware"].items())
    versions_text = ", ".join(f"{name} {value}" for name, value in report["versions"].items())
    rows = []
    for row in report["epochs"]:
        part = as_text(_part_text(row))
        validation = f"{row['val_accuracy']:.2%} | {row['val_loss']:.4f}" if "val_accuracy" in row else "– | –"
        rows.append(
            f"| {row['epoch']}{part} | {row['train_accuracy']:.2%} | {row['train_loss']:.4f} | {validation} "
            f"| {row['learning_rate']:.6f} | {row['seconds']:.1f} |"
        )
    return "\n".join(
        [
            f"# {as_text(report['dataset'])}: report of a run",
            "",
            "```",
            summary(report),
            "```",
            "",
            "| epoch | training accuracy | training loss | validation accuracy | validation loss | learning rate "
            "| seconds |",
            "|---|---|---|---|---|---|---|",
            *rows,
            "",
            f"The learning rate is read after the epoch's last step; seconds include validation.{_notes(report)}",
            "",
            f"- command: {as_code(report['command'])}",
            f"- validated on: {part_text(report, 'val')}{as_text(report['validated_on'])}",
            f"- seed: {as_text(report['seed'])}",
            f"- parameters: {report['num_parameters']:,}",
            f"- precision: {as_text(report['precision'])}, processes: {as_text(report['num_processes'])}",
            f"- hardware: {as_text(hardware_text)}",
            f"- versions: {as_text(versions_text)}",
            f"- date: {as_text(report['date'])}",
            "",
        ]
    )


def read_report(text: str) -> dict[str, Any] | None:
    """The report that a `report.json` or a checkpoint holds; None if it is no whole one."""
    try:
        report = json.loads(text)
        if not _is_report(report):
            return None
        in_its_first_epoch = {"requirements": [{"name": "", "is_met": None, "value": ""}]}
        report_markdown(in_its_first_epoch | report).encode()  # asks for everything else
        json.dumps(report, ensure_ascii=False).encode()
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError):
        return None
    whole: dict[str, Any] = report
    return whole


def _is_report(report: Any) -> bool:
    match report:
        case {"status": str(), "validation": "test" | "holdout" | "none", "settings": dict(), "epochs": list(rows)}:
            return isinstance(report.get("resumed", []), list) and all(_is_row(row) for row in rows)
    return False


def _is_row(row: Any) -> bool:
    match row:
        case {
            "epoch": int(epoch),
            "steps": int(steps),
            "train_accuracy": float(accuracy),
            "train_loss": float(),
            "learning_rate": float(),
            "seconds": float(),
        }:
            validation = row.get("val_accuracy", 0.0), row.get("val_loss", 0.0)
            is_validation = all(isinstance(value, float) for value in validation)
            return epoch > 0 and steps > 0 and 0 <= accuracy <= 1 and is_validation and 0 <= validation[0] <= 1
    return False
