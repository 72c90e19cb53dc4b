"""The report of a run as text: a line per epoch, the summary, and `report.md` with its section of figures."""

from pathlib import Path

from mnist_lightning.files import markdown_table, one_line
from mnist_lightning.runs.record import EpochRow, Record

BEGIN, END = b"<!-- figures -->\n", b"\n<!-- end of figures -->\n"


def epoch_title(epoch: int, max_epochs: int | None) -> str:
    """`epoch  3/15`, or `epoch  3` if steps or time end the run."""
    return f"epoch {epoch:2}" + (f"/{max_epochs}" if max_epochs is not None and max_epochs > 0 else "")


def epoch_line(row: EpochRow, max_epochs: int | None) -> str:
    """The line that is printed at the end of an epoch."""
    validation = ""
    if row.val_accuracy is not None:
        validation = f"  validation {row.val_accuracy:6.2%} loss {row.val_loss:.4f}"
    training = f"training {row.train_accuracy:6.2%} loss {row.train_loss:.4f}"
    title = f"{epoch_title(row.epoch, max_epochs)}{_incomplete_text(row)}"
    return f"{title}  {training}{validation}  lr {rate_text(row.learning_rate)}  {row.seconds:.1f} s"


def rate_text(learning_rate: float) -> str:
    """A learning rate with three digits, so that the last ones of a schedule are not 0."""
    return f"{learning_rate:.3g}"


def _incomplete_text(row: EpochRow) -> str:
    return "" if row.is_whole else f" ({row.batches} of {row.batches_per_epoch} batches)"


def optional_text(value: float | None, form: str) -> str:
    """A number in this format; a dash for None."""
    return "–" if value is None else format(value, form)


def summary(report: Record) -> str:
    """The end of a run in plain text: epochs, accuracies, and each requirement with its value."""
    lines = [f"{report.dataset}: {epochs_text(report)} in {report.wall_clock_seconds:.0f} s, {report.status}"]
    validated = [(row.val_accuracy, row.epoch) for row in report.epochs if row.val_accuracy is not None]
    if validated:
        best_accuracy, best_epoch = max(validated, key=lambda pair: pair[0])  # the first of equals
        chosen = "; chosen on the test set" if report.validation == "test" else ""
        last, images = report.epochs[-1].val_accuracy, f"{report.part_text('val') or 'the '}{report.validated_on}"
        lines += [
            f"  last epoch   {'not validated' if last is None else f'{last:.2%} of {images}'}",
            f"  best epoch   {best_accuracy:.2%} (epoch {best_epoch}{chosen})",
        ]
    if report.test is not None:
        part = f" on {part}test images" if (part := report.part_text("test")) else ""
        lines.append(f"  test images  {report.test.accuracy:.2%}{part}, read once, after training")
        if report.test.single_view_accuracy is not None:
            lines.append(f"               {report.test.single_view_accuracy:.2%} without test-time augmentation")
    marks = {True: "met", False: "NOT MET", None: "not judged"}
    width = max((len(each.name) for each in report.requirements), default=0)
    lines += [f"  {each.name:<{width}}  {marks[each.is_met]:<12}  {each.value}" for each in report.requirements]
    return "\n".join(map(one_line, lines))


def epochs_text(report: Record) -> str:
    """`3 epochs`, or `3 epochs and 2 of 23 batches` if the run ended inside one."""
    num_epochs = report.num_whole_epochs
    parts = [f"{num_epochs} epoch{'' if num_epochs == 1 else 's'}"]
    if num_epochs != len(report.epochs):
        last = report.epochs[-1]
        parts = [*(parts if num_epochs else []), f"{last.batches} of {last.batches_per_epoch} batches"]
    return " and ".join(parts)


def report_markdown(report: Record) -> str:
    """The report as Markdown: the summary, the table of epochs, and what it was measured with."""
    hardware_text, versions_text = (
        one_line(", ".join(f"{name} {value}" for name, value in each.items()))
        for each in (report.hardware, report.versions)
    )
    header = "epoch|training accuracy|training loss|validation accuracy|validation loss|learning rate|seconds"
    rows = [
        [
            f"{row.epoch}{_incomplete_text(row)}",
            f"{row.train_accuracy:.2%}",
            f"{row.train_loss:.4f}",
            optional_text(row.val_accuracy, ".2%"),
            optional_text(row.val_loss, ".4f"),
            rate_text(row.learning_rate),
            f"{row.seconds:.1f}",
        ]
        for row in report.epochs
    ]
    return f"""\
# {one_line(report.dataset)}: report of a run

```
{summary(report)}
```

{markdown_table(header.split("|"), rows)}

The learning rate is read after the epoch's last step; seconds include validation.{_notes(report)}

- command: `{one_line(report.command)}`
- validated on: {report.part_text("val")}{one_line(report.validated_on)}
- seed: {report.seed}
- parameters: {report.num_parameters:,}
- precision: {one_line(report.precision)}, processes: {report.num_processes}
- hardware: {hardware_text}
- versions: {versions_text}
- date: {one_line(report.date)}
"""


def rate_note(report: Record) -> str:
    """A sentence that says whose learning rate the report has, after a space; empty if it is that of all parameters."""
    if report.settings["model"].get("optimizer") != "muon":
        return ""
    return " The rate is that of batch norm's parameters; the convolutions have their own under Muon."


def _notes(report: Record) -> str:
    """Notes below the table of epochs."""
    notes = rate_note(report)
    if any(row.batches is None for row in report.epochs):  # of the first versions
        notes += " Losses are means over batches, of which the last is smaller: not quite the means over images."
    return notes


def figures_section(path: Path) -> bytes:
    """The section of figures in this `report.md`, marks included; empty if it has none."""
    _, section, _ = _parts(path.read_bytes() if path.is_file() else b"")
    return section


def with_figures_section(markdown: bytes, text: str) -> bytes:
    """The Markdown with this section of figures in place of its own, or at the end; the rest is unchanged."""
    before, section, after = _parts(markdown)
    if not section and before:
        before = before.rstrip(b"\n") + b"\n\n"
    return before + BEGIN + text.encode() + END + after


def _parts(markdown: bytes) -> tuple[bytes, bytes, bytes]:
    """What comes before the section, the section, and what comes after; all is before if there is no whole section."""
    before, begin, rest = markdown.partition(BEGIN)
    text, end, after = rest.partition(END)
    return (before, begin + text + end, after) if begin and end else (markdown, b"", b"")
