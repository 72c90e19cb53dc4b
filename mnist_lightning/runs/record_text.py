"""The record of a run as text: a line per epoch, the summary, and `report.md`."""

from mnist_lightning.files import markdown_table, one_line
from mnist_lightning.runs.record import EpochRow, Record


def epoch_title(epoch: float, max_epochs: int | None) -> str:
    """`epoch  3/15`, or `epoch  3` if steps or time end the run; `epoch 1.75/2` of one that ended within it."""
    text = f"{epoch:2.0f}" if epoch == int(epoch) else f"{epoch:.2f}"
    return f"epoch {text}" + (f"/{max_epochs}" if max_epochs is not None and max_epochs > 0 else "")


def epoch_line(row: EpochRow, max_epochs: int | None) -> str:
    """The line that is printed at the end of an epoch; it fits 80 columns."""
    line = f"{epoch_title(_end_of(row), max_epochs)}  train {row.train_accuracy:6.2%} loss {row.train_loss:.4f}"
    if row.val_accuracy is not None:
        line += f"  val {row.val_accuracy:6.2%} loss {row.val_loss:.4f}"
    return f"{line}  lr {row.learning_rate:.2g}  {row.seconds:.0f} s"


def _end_of(row: EpochRow) -> float:
    return row.epoch if row.is_whole else row.epoch - 1 + row.trained_part


def optional_text(value: float | None, form: str) -> str:
    """A number in this format; a dash for None."""
    return "–" if value is None else format(value, form)


def summary(record: Record) -> str:
    """The end of a run in plain text: epochs, accuracies, and each requirement with its value."""
    lines = [f"{record.dataset}: {epochs_text(record)} in {record.wall_clock_seconds:.0f} s, {record.status}"]
    validated = [(row.val_accuracy, row.epoch) for row in record.epochs if row.val_accuracy is not None]
    if validated:
        best_accuracy, best_epoch = max(validated, key=lambda pair: pair[0])  # the first of equals
        chosen = "; chosen on the test set" if record.validation == "test" else ""
        last, images = record.epochs[-1].val_accuracy, f"{record.part_text('val') or 'the '}{record.validated_on}"
        lines += [
            f"  last epoch   {'not validated' if last is None else f'{last:.2%} of {images}'}",
            f"  best epoch   {best_accuracy:.2%} (epoch {best_epoch}{chosen})",
        ]
    if record.test is not None:
        part = f" on {part}test images" if (part := record.part_text("test")) else ""
        lines.append(f"  test images  {record.test.accuracy:.2%}{part}, read once, after training")
        if record.test.single_view_accuracy is not None:
            lines.append(f"               {record.test.single_view_accuracy:.2%} without test-time augmentation")
    marks = {True: "met", False: "NOT MET", None: "not judged"}
    width = max((len(each.name) for each in record.requirements), default=0)
    lines += [f"  {each.name:<{width}}  {marks[each.is_met]:<10}  {each.value}" for each in record.requirements]
    return "\n".join(map(one_line, lines))


def epochs_text(record: Record) -> str:
    """`3 epochs`, or `1.75 epochs` if the run ended inside one."""
    return f"{record.epochs_trained:g} epoch{'' if record.epochs_trained == 1 else 's'}"


def record_markdown(record: Record) -> str:
    """The record as Markdown: the summary, the table of epochs, and what it was measured with."""
    hardware_text, versions_text = (
        one_line(", ".join(f"{name} {value}" for name, value in each.items()))
        for each in (record.hardware, record.versions)
    )
    columns = {
        "epoch": [f"{_end_of(row):g}" for row in record.epochs],
        "training accuracy": [f"{row.train_accuracy:.2%}" for row in record.epochs],
        "training loss": [f"{row.train_loss:.4f}" for row in record.epochs],
        "validation accuracy": [optional_text(row.val_accuracy, ".2%") for row in record.epochs],
        "validation loss": [optional_text(row.val_loss, ".4f") for row in record.epochs],
        "learning rate": [f"{row.learning_rate:.3g}" for row in record.epochs],
        "seconds": [f"{row.seconds:.1f}" for row in record.epochs],
    }
    return f"""\
# {one_line(record.dataset)}: report of a run

```
{summary(record)}
```

{markdown_table(list(columns), zip(*columns.values(), strict=True))}

The learning rate is read after the epoch's last step; seconds include validation.{rate_note(record)}

- command: `{one_line(record.command)}`
- validated on: {record.part_text("val")}{one_line(record.validated_on)}
- seed: {record.seed}
- parameters: {record.num_parameters:,}
- precision: {one_line(record.precision)}, processes: {record.num_processes}
- hardware: {hardware_text}
- versions: {versions_text}
- date: {one_line(record.date)}
"""


def rate_note(record: Record) -> str:
    """A sentence that says whose learning rate the record has, after a space; empty if it is that of all parameters."""
    note = " The rate is that of all parameters but the convolutions, which have their own under Muon."
    return note if record.settings["model"].get("optimizer") == "muon" else ""
