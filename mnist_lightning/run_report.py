"""The report of a run: what was done and measured, and whether that meets the requirements."""

import json
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from typing_extensions import override

from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.datamodule import DigitsDataModule
from mnist_lightning.early_stopping import StopAtThreshold
from mnist_lightning.environment import hardware, versions
from mnist_lightning.errors import DivergenceError, SettingError
from mnist_lightning.interruption import Interrupted
from mnist_lightning.layer_table import format_layer_table, layer_table
from mnist_lightning.learning_rate import current_learning_rate
from mnist_lightning.networks import num_trainable_parameters
from mnist_lightning.progress_bar import epoch_title, print_above_bar
from mnist_lightning.report_section import figures_section
from mnist_lightning.requirements import check_requirements
from mnist_lightning.whole_files import replace_file


class RunReport(Callback):
    """Prints what is to be trained, a line per epoch and a summary; keeps `report.json` and `report.md` up to date.

    Args:
        folder: The run's folder; None writes nothing.
        command: The command that started the run, for the report; no path outside the project.
        settings: The run's resolved settings, for the report.
    """

    def __init__(self, folder: Path | None, command: str, settings: dict[str, Any]) -> None:
        self.folder = folder
        self.report: dict[str, Any] = {"command": command, "status": "running", "settings": settings, "epochs": []}
        self._start_seconds = self._epoch_start_seconds = 0.0
        self._seconds_before: tuple[float, float] = (0.0, 0.0)  # of training and of the epoch, in a run that is resumed

    @override
    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to go on with this report; seconds since the starts of training and of the epoch."""
        now = time.perf_counter()
        seconds = (now - self._start_seconds, now - self._epoch_start_seconds)
        return {"report": json.dumps(self.report), "seconds": seconds}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on with the report of the run that is resumed."""
        self.report = json.loads(state_dict["report"])
        self._seconds_before = state_dict["seconds"]

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data = _data(trainer)
        assert isinstance(pl_module, DigitClassifier)
        print_above_bar(f"{format_layer_table(layer_table(pl_module.net))}\n\nTraining on {data.title}.")
        part = {
            "date": datetime.now(UTC).date().isoformat(),
            "precision": trainer.precision,
            "num_processes": trainer.world_size,
            "hardware": hardware(),
            "versions": versions(),
        }
        if "date" in self.report:  # of the run that is resumed
            if trainer.world_size != self.report["num_processes"]:
                raise SettingError(
                    f"--ckpt_path: the run was started with {self.report['num_processes']} processes, and cannot go "
                    f"on with {trainer.world_size}. Give --trainer.devices and --trainer.num_nodes as at its start."
                )
            self.report.setdefault("resumed", []).append(part)
            return
        self.report |= part | {
            "dataset": data.title,
            "validation": data.validation,
            "validated_on": data.validation_title,
            "seed": data.seed,
            "num_parameters": num_trainable_parameters(pl_module.net),
        }

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # The middle of an epoch has no `on_train_epoch_start`.
        now = time.perf_counter()
        self._start_seconds, self._epoch_start_seconds = (now - seconds for seconds in self._seconds_before)
        if "resumed" in self.report:
            self.report["resumed"][-1]["after_steps"] = trainer.global_step

    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._epoch_start_seconds = time.perf_counter()

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, DigitClassifier)
        metrics = pl_module.epoch_metrics()  # waits for the device, so the clock is read after
        now = time.perf_counter()
        row = {
            "epoch": trainer.current_epoch + 1,
            "steps": trainer.global_step,
            **{name.replace("/", "_"): value for name, value in metrics.items()},
            "learning_rate": current_learning_rate(trainer),
            "seconds": now - self._epoch_start_seconds,
        }
        self.report["epochs"].append(row)
        self.report["wall_clock_seconds"] = now - self._start_seconds
        print_above_bar(_epoch_line(row, trainer.max_epochs))
        self._judge(trainer, pl_module)
        self._write()

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if isinstance(exception, DivergenceError):
            self.report["status"] = f"ended: {exception}"
        else:
            name = exception.signal_name if isinstance(exception, Interrupted) else type(exception).__name__
            self.report["status"] = f"interrupted by {name}"
        if trainer.global_step > 0:
            assert isinstance(pl_module, DigitClassifier)
            self._judge(trainer, pl_module)
            self._write()

    @override
    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes up the one test that ends a run without validation."""
        figures = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("test/")}
        self.report["test"] = {name.removeprefix("test/"): value for name, value in figures.items()}
        assert isinstance(pl_module, DigitClassifier)
        self._judge(trainer, pl_module)

    def finish(self, trainer: Trainer, pl_module: DigitClassifier) -> None:
        """Prints the summary and writes the report for the last time."""
        self.report["status"] = status_at_end(trainer)
        self._judge(trainer, pl_module)
        self._write()
        print_above_bar(f"\n{summary(self.report)}")
        if self.folder is not None:
            print_above_bar(f"\nReport, checkpoints and TensorBoard events: {self.folder}")

    def _judge(self, trainer: Trainer, pl_module: DigitClassifier) -> None:
        data = _data(trainer)
        accuracy, measured_on = None, data.validation_title
        if "test" in self.report:
            accuracy, measured_on = self.report["test"]["accuracy"], "test images"
        elif self.report["epochs"]:
            accuracy = self.report["epochs"][-1].get("val_accuracy")
        measured_on = f"{data.title} {measured_on}"
        if is_part(trainer.limit_test_batches if "test" in self.report else trainer.limit_val_batches):
            measured_on = f"part of the {measured_on}"
        requirements = check_requirements(pl_module.net, len(self.report["epochs"]), accuracy, measured_on)
        self.report["requirements"] = [asdict(requirement) for requirement in requirements]

    @rank_zero_only
    def _write(self) -> None:
        if self.folder is None:
            return
        replace_file(self.folder / "report.json", json.dumps(self.report, indent=2, ensure_ascii=False) + "\n")
        markdown = self.folder / "report.md"
        section = figures_section(markdown)  # of the run that is resumed
        replace_file(markdown, report_markdown(self.report).encode() + (b"\n" + section if section else b""))


def _data(trainer: Trainer) -> DigitsDataModule:
    data = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(data, DigitsDataModule)
    return data


def is_part(limit: float) -> bool:
    """Whether a trainer's limit leaves batches out: the float 1.0 is all of them, the integer 1 is one."""
    return not (isinstance(limit, float) and limit == 1)


def status_at_end(trainer: Trainer) -> str:
    """Why training has ended, where nothing interrupted it."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, StopAtThreshold) and callback.stopped_epoch is not None:
            return f"stopped after epoch {callback.stopped_epoch}: validation accuracy ≥ {callback.stopping_threshold}"
    return "finished"


def _epoch_line(row: dict[str, Any], max_epochs: int | None) -> str:
    validation = f"  validation {row['val_accuracy']:7.2%} {row['val_loss']:.4f}" if "val_accuracy" in row else ""
    training = f"training {row['train_accuracy']:7.2%} {row['train_loss']:.4f}"
    rate = f"lr {row['learning_rate']:.6f}"
    return f"{epoch_title(row['epoch'], max_epochs)}  {training}{validation}  {rate}  {row['seconds']:.1f} s"


def best_epoch(report: dict[str, Any]) -> dict[str, Any] | None:
    """The row of the epoch with the best validation accuracy, the first of equals; None without validation."""
    rows = [row for row in report["epochs"] if "val_accuracy" in row]
    return max(rows, key=lambda row: row["val_accuracy"], default=None)


def summary(report: dict[str, Any]) -> str:
    """The end of a run in plain text: epochs, accuracies, and each requirement with its value."""
    marks = {True: "met", False: "NOT MET", None: "not judged"}
    num_epochs = len(report["epochs"])
    epochs = "1 epoch" if num_epochs == 1 else f"{num_epochs} epochs"
    lines = [f"{report['dataset']}: {epochs} in {report.get('wall_clock_seconds', 0):.0f} s, {report['status']}"]
    if best := best_epoch(report):
        chosen = "; chosen on the test set" if report["validation"] == "test" else ""
        last = report["epochs"][-1]
        last_text = (
            f"{last['val_accuracy']:.2%} of the {report['validated_on']}" if "val_accuracy" in last else "not validated"
        )
        lines += [
            f"  last epoch   {last_text}",
            f"  best epoch   {best['val_accuracy']:.2%} (epoch {best['epoch']}{chosen})",
        ]
    if "test" in report:
        lines.append(f"  test images  {report['test']['accuracy']:.2%}, read once, after training")
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
        validation = f"{row['val_accuracy']:.2%} | {row['val_loss']:.4f}" if "val_accuracy" in row else "– | –"
        rows.append(
            f"| {row['epoch']} | {row['train_accuracy']:.2%} | {row['train_loss']:.4f} | {validation} "
            f"| {row['learning_rate']:.6f} | {row['seconds']:.1f} |"
        )
    return "\n".join(
        [
            f"# {report['dataset']}: report of a run",
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
            "The learning rate is read after the epoch's last step; seconds include validation.",
            "",
            f"- command: `{report['command']}`",
            f"- validated on: {report['validated_on']}",
            f"- seed: {report['seed']}",
            f"- parameters: {report['num_parameters']:,}",
            f"- precision: {report['precision']}, processes: {report['num_processes']}",
            f"- hardware: {hardware_text}",
            f"- versions: {versions_text}",
            f"- date: {report['date']}",
            "",
        ]
    )
