"""Keeps the record of a run while it trains."""

import time
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from typing_extensions import override

from mnist_lightning.callbacks.progress import classifier_of, epoch_metrics, print_above_bar
from mnist_lightning.callbacks.stop import StopAtThreshold
from mnist_lightning.datamodule import DigitsDataModule
from mnist_lightning.errors import DivergenceError, UserError
from mnist_lightning.files import atomic_write, from_json, to_json
from mnist_lightning.network import num_trainable_parameters
from mnist_lightning.recipe import current_rates
from mnist_lightning.runs.acceptance import check_requirements
from mnist_lightning.runs.layer_table import format_layer_table, layer_table
from mnist_lightning.runs.record import EpochRow, FinalTest, Record, hardware, versions
from mnist_lightning.runs.record_text import epoch_line, record_markdown, summary
from mnist_lightning.runs.settings import Settings


class RunRecord(Callback):
    """Prints the layers, a line per epoch and a summary; keeps `report.json` and `report.md` in `folder` up to date."""

    def __init__(self, folder: Path | None, command: str, settings: Settings) -> None:
        self.folder = folder
        self.settings = settings
        self._command = command
        self._record: Record | None = None
        self._start_seconds = self._epoch_start_seconds = time.perf_counter()

    @property
    def record(self) -> Record:
        """The record so far; there is none before `on_fit_start`."""
        assert self._record is not None
        return self._record

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"record": to_json(self.record)}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._record = from_json(Record, state_dict["record"])

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, DigitsDataModule)
        net = classifier_of(pl_module).net
        print_above_bar(f"{format_layer_table(layer_table(net))}\n\nTraining on {data.title}.")
        if self._record is not None:  # of the run that is resumed
            if trainer.world_size != self.record.num_processes:
                raise UserError(
                    f"--ckpt_path: the run was started with {self.record.num_processes} processes and cannot continue "
                    f"with {trainer.world_size}. Use the --trainer.devices and --trainer.num_nodes of its start."
                )
            return
        self._record = Record(
            command=self._command,
            status="running",
            settings=self.settings,
            epochs=[],
            dataset=data.title,
            validation=data.validation,
            validated_on=data.validation_title,
            seed=data.seed,
            num_parameters=num_trainable_parameters(net),
            date=datetime.now(UTC).date().isoformat(),
            precision=str(trainer.precision),
            num_processes=trainer.world_size,
            hardware=hardware(),
            versions=versions(),
        )

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start_seconds = time.perf_counter() - self.record.wall_clock_seconds  # of the run that is resumed
        if trainer.global_step > 0:
            self.record.resumed_after.append(trainer.global_step)
            print_above_bar(f"Resuming after step {trainer.global_step:,}.")

    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._epoch_start_seconds = time.perf_counter()

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
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
            learning_rate=current_rates(trainer)["learning_rate"],
            seconds=now - self._epoch_start_seconds,
        )
        self.record.epochs.append(row)
        self.record.wall_clock_seconds = now - self._start_seconds
        print_above_bar(epoch_line(row, trainer.max_epochs))
        self._judge(pl_module)
        self._write()

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if self._record is not None and self.record.epochs:
            is_ours = isinstance(exception, DivergenceError)
            self.record.status = f"ended: {exception}" if is_ours else f"interrupted by {type(exception).__name__}"
            self._write()

    @override
    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        names = [each.name for each in fields(FinalTest) if f"test/{each.name}" in trainer.callback_metrics]
        self.record.test = FinalTest(**{name: float(trainer.callback_metrics[f"test/{name}"]) for name in names})
        self._judge(pl_module)

    def finish(self, trainer: Trainer) -> None:
        """Prints the summary and writes the record for the last time."""
        self.record.status = status_at_end(trainer, self.record)
        self._write()
        place = "" if self.folder is None else f"\n\nThe run's files: {self.folder}"
        print_above_bar(f"\n{summary(self.record)}{place}")

    def _judge(self, pl_module: LightningModule) -> None:
        record = self.record
        is_tested = record.test is not None
        is_part = record.part_text("test" if is_tested else "val") != ""
        is_mnists_test = record.dataset == "MNIST" and (is_tested or record.validation == "test") and not is_part
        record.requirements = check_requirements(
            classifier_of(pl_module).net, record.epochs_trained, record.last_accuracy, is_mnists_test
        )

    @rank_zero_only
    def _write(self) -> None:
        if self.folder is not None:
            atomic_write(self.folder / "report.json", to_json(self.record))
            atomic_write(self.folder / "report.md", record_markdown(self.record))


def status_at_end(trainer: Trainer, record: Record) -> str:
    """Why training has ended, if nothing interrupted it."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, StopAtThreshold) and callback.is_reached:
            return f"stopped after epoch {len(record.epochs)}: validation accuracy ≥ {callback.stopping_threshold}"
    if trainer.should_stop and trainer.current_epoch != trainer.max_epochs and trainer.global_step != trainer.max_steps:
        return f"ended early by a callback or --trainer.max_time, after step {trainer.global_step}"
    return "finished"
