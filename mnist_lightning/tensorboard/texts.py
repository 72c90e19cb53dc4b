"""Texts about a run: the data set, the layer table and the report."""

from dataclasses import replace

from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from mnist_lightning.callbacks.record import RunRecord, status_at_end
from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.runs.layer_table import format_layer_table, layer_table
from mnist_lightning.runs.record_text import report_markdown
from mnist_lightning.tensorboard.writer import tensorboard_writer


class DataSetText(Callback):
    """Writes the data set's name once."""

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if writer := tensorboard_writer(trainer):
            writer.add_text("run/data_set", trainer.datamodule.title)  # type: ignore[attr-defined]


class LayerTableText(Callback):
    """Writes the layer table with receptive fields once."""

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if writer := tensorboard_writer(trainer):
            assert isinstance(pl_module, DigitClassifier)
            writer.add_text("run/layers", f"```\n{format_layer_table(layer_table(pl_module.net))}\n```")


class ReportText(Callback):
    """Writes the report at the end of the run, after the test if there is one.

    Args:
        run_report: Keeps the report; must come before this callback.
    """

    def __init__(self, run_report: RunRecord) -> None:
        self.run_report = run_report

    @override
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.datamodule.validation != "none":  # type: ignore[attr-defined]
            self._write(trainer)

    @override
    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(trainer)

    def _write(self, trainer: Trainer) -> None:
        writer = tensorboard_writer(trainer)
        if writer is not None and self.run_report.report.epochs:
            report = replace(self.run_report.report, status=status_at_end(trainer, self.run_report.report))
            writer.add_text("run/report", report_markdown(report), trainer.global_step)
