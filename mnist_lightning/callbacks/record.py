"""Keeps the report of a run while it trains."""

import time
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.utilities import rank_zero_only
from typing_extensions import override

from mnist_lightning.callbacks.early_stopping import StopAtThreshold
from mnist_lightning.callbacks.interruption import Interrupted
from mnist_lightning.callbacks.progress_bar import print_above_bar
from mnist_lightning.callbacks.training_totals import epoch_metrics
from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.datamodule import DigitsDataModule
from mnist_lightning.errors import DivergenceError, UserError
from mnist_lightning.files import atomic_write, from_json, to_json
from mnist_lightning.network import num_trainable_parameters
from mnist_lightning.recipe import current_learning_rate
from mnist_lightning.runs.acceptance import check_requirements
from mnist_lightning.runs.environment import hardware, versions
from mnist_lightning.runs.layer_table import format_layer_table, layer_table
from mnist_lightning.runs.record import EpochRow, FinalTest, Record, ResumedPart
from mnist_lightning.runs.record_text import epoch_line, figures_section, report_markdown, summary
from mnist_lightning.runs.settings import Settings


class RunRecord(Callback):
    """Prints the layers, a line per epoch and a summary; keeps `report.json` and `report.md` up to date.

    Args:
        folder: The run's folder; None writes nothing.
        command: The command that started the run, for the report; no path outside the project.
        settings: The run's resolved settings, for the report.
    """

    def __init__(self, folder: Path | None, command: str, settings: Settings) -> None:
        self.folder = folder
        self.settings = settings
        self._command = command
        self._report: Record | None = None
        self._start_seconds = self._epoch_start_seconds = 0.0
        self._seconds_before: tuple[float, float] = (0.0, 0.0)  # of training and of the epoch, in a run that is resumed

    @property
    def report(self) -> Record:
        """The report so far, from the start of training or the resumed run."""
        assert self._report is not None
        return self._report

    @override
    def state_dict(self) -> dict[str, Any]:
        """The report, and the seconds since the starts of training and of the epoch."""
        now = time.perf_counter()
        seconds = (now - self._start_seconds, now - self._epoch_start_seconds)
        return {"report": to_json(self.report), "seconds": seconds}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._report = from_json(Record, state_dict["report"])
        self._seconds_before = state_dict["seconds"]

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data = _data(trainer)
        assert isinstance(pl_module, DigitClassifier)
        print_above_bar(f"{format_layer_table(layer_table(pl_module.net))}\n\nTraining on {data.title}.")
        environment: dict[str, Any] = {
            "date": datetime.now(UTC).date().isoformat(),
            "precision": trainer.precision,
            "num_processes": trainer.world_size,
            "hardware": hardware(),
            "versions": versions(),
        }
        if self._report is not None:  # of the run that is resumed
            if trainer.world_size != self.report.num_processes:
                raise UserError(
                    f"--ckpt_path: the run was started with {self.report.num_processes} processes and cannot continue "
                    f"with {trainer.world_size}. Use the --trainer.devices and --trainer.num_nodes of its start."
                )
            self._check_time(trainer)
            self.report.resumed.append(ResumedPart(**environment))
            return
        self._report = Record(
            command=self._command,
            status="running",
            settings=self.settings,
            epochs=[],
            dataset=data.title,
            validation=data.validation,
            validated_on=data.validation_title,
            seed=data.seed,
            num_parameters=num_trainable_parameters(pl_module.net),
            **environment,
        )

    def _check_time(self, trainer: Trainer) -> None:
        """Refuses to resume a run that has no time left to train in."""
        for timer in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(timer, Timer) and _is_up(timer) and len(self.report.epochs) != trainer.max_epochs:
                trained = timedelta(seconds=round(timer.time_elapsed()))
                raise UserError(
                    f"--trainer.max_time is used up: the run has trained for {trained}. Use a longer time, counted "
                    "from the run's start, or omit it."
                )

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # The middle of an epoch has no `on_train_epoch_start`.
        now = time.perf_counter()
        self._start_seconds, self._epoch_start_seconds = (now - seconds for seconds in self._seconds_before)
        if self.report.resumed:
            self.report.resumed[-1].after_steps = trainer.global_step
            print_above_bar(f"Resuming after step {trainer.global_step:,}.")

    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._epoch_start_seconds = time.perf_counter()

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, DigitClassifier)
        metrics = epoch_metrics(pl_module)  # waits for the device, so the clock is read after
        now = time.perf_counter()
        row = EpochRow(
            epoch=trainer.current_epoch + 1,
            steps=trainer.global_step,
            batches=trainer.fit_loop.batch_idx + 1,
            batches_per_epoch=int(trainer.num_training_batches),
            train_accuracy=metrics["train/accuracy"],
            train_loss=metrics["train/loss"],
            val_accuracy=metrics.get("val/accuracy"),
            val_loss=metrics.get("val/loss"),
            learning_rate=current_learning_rate(trainer),
            seconds=now - self._epoch_start_seconds,
        )
        self.report.epochs.append(row)
        self.report.wall_clock_seconds = now - self._start_seconds
        print_above_bar(epoch_line(row, trainer.max_epochs))
        self._judge(pl_module)
        self._write()

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if self._report is None:
            return
        if isinstance(exception, DivergenceError):
            self.report.status = f"ended: {exception}"
        else:
            name = exception.signal_name if isinstance(exception, Interrupted) else type(exception).__name__
            self.report.status = f"interrupted by {name}"
        if trainer.global_step > 0 and self._start_seconds:  # not if the run could not resume
            self._judge(pl_module)
            self._write()

    @override
    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Records the one test that ends a run without validation."""
        names = [each.name for each in fields(FinalTest) if f"test/{each.name}" in trainer.callback_metrics]
        self.report.test = FinalTest(**{name: float(trainer.callback_metrics[f"test/{name}"]) for name in names})
        self._judge(pl_module)

    def finish(self, trainer: Trainer, pl_module: DigitClassifier) -> None:
        """Prints the summary and writes the report for the last time."""
        self.report.status = status_at_end(trainer, self.report)
        self._judge(pl_module)
        self._write()
        print_above_bar(f"\n{summary(self.report)}")
        if self.folder is not None:
            print_above_bar(f"\n{_contents(self.folder)}: {self.folder}")

    def _judge(self, pl_module: LightningModule) -> None:
        report = self.report
        images = report.validated_on if report.test is None else "test images"
        measured_on = f"{report.part_text(report.last_stage)}{report.dataset} {images}"
        assert isinstance(pl_module, DigitClassifier)
        report.requirements = check_requirements(
            pl_module.net, report.epochs_trained, report.last_accuracy, measured_on
        )

    @rank_zero_only
    def _write(self) -> None:
        if self.folder is None:
            return
        atomic_write(self.folder / "report.json", to_json(self.report))
        markdown = self.folder / "report.md"
        section = figures_section(markdown)  # of the run that is resumed
        atomic_write(markdown, report_markdown(self.report).encode() + (b"\n" + section if section else b""))


def _data(trainer: Trainer) -> DigitsDataModule:
    data = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(data, DigitsDataModule)
    return data


def _contents(folder: Path) -> str:
    """What the run's folder holds, in words."""
    parts = ["Report"]
    if (folder / "checkpoints").is_dir():
        parts.append("checkpoints")
    if any(folder.glob("events.out.tfevents.*")):
        parts.append("TensorBoard events")
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


def status_at_end(trainer: Trainer, report: Record) -> str:
    """Why training has ended, if nothing interrupted it."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, StopAtThreshold) and callback.stopped_epoch is not None:
            reached = f"validation accuracy ≥ {callback.stopping_threshold}"
            if callback.stopped_epoch != len(report.epochs):  # --trainer.min_epochs asked for more
                reached += f" in epoch {callback.stopped_epoch}"
            return f"stopped after epoch {len(report.epochs)}: {reached}"
        if isinstance(callback, Timer) and trainer.should_stop and _is_up(callback):
            return f"ended by --trainer.max_time after step {trainer.global_step}"
    if trainer.should_stop and trainer.current_epoch != trainer.max_epochs and trainer.global_step != trainer.max_steps:
        return f"ended early by a callback, after step {trainer.global_step}"
    return "finished"


def _is_up(timer: Timer) -> bool:
    remaining_seconds = timer.time_remaining()
    return remaining_seconds is not None and remaining_seconds <= 0
