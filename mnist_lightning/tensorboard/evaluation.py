"""Logits and labels of a validation or test, gathered from all processes, for the dashboards."""

from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter
from torchmetrics.utilities.distributed import gather_all_tensors
from typing_extensions import override

from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.data.batches import Batch, BatchDataset, LabelledImages
from mnist_lightning.tensorboard.writer import tensorboard_writer


class EvaluationResult(NamedTuple):
    """Logits and labels of the evaluated images, on the CPU."""

    logits: Tensor  # (N, num_classes) float32
    labels: Tensor  # (N,) int64
    indices: Tensor  # (N,) int64, positions in `data`
    data: LabelledImages  # the whole data set
    epoch: int  # from 1
    class_names: tuple[str, ...]


class Evaluation(Callback):
    """Collects an evaluation's logits and labels on the device, and gathers them in the first process at the end."""

    def __init__(self) -> None:
        self.last: EvaluationResult | None = None  # always None except in the first process
        self._logits: list[Tensor] = []
        self._labels: list[Tensor] = []

    def of_epoch(self, epoch: int) -> EvaluationResult | None:
        """The result after this epoch; None without an evaluation."""
        return self.last if self.last is not None and self.last.epoch == epoch else None

    @override
    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._logits.append(outputs)
        self._labels.append(batch.labels)

    on_test_batch_end = on_validation_batch_end

    @override
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._gather(trainer, pl_module, trainer.val_dataloaders, trainer.current_epoch + 1)

    @override
    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._gather(trainer, pl_module, trainer.test_dataloaders, trainer.current_epoch)

    def _gather(
        self, trainer: Trainer, pl_module: LightningModule, loader: DataLoader[Batch] | None, epoch: int
    ) -> None:
        if not self._logits:
            return
        logits, labels = [torch.cat(self._logits)], [torch.cat(self._labels)]
        self._logits, self._labels = [], []
        if trainer.sanity_checking:
            return
        if trainer.world_size > 1:  # a collective call: every process reaches it
            logits, labels = gather_all_tensors(logits[0]), gather_all_tensors(labels[0])
        if not trainer.is_global_zero:
            return
        assert loader is not None
        assert isinstance(loader.dataset, BatchDataset)
        data = LabelledImages(*(part.cpu() for part in loader.dataset.data))
        # Each process evaluates one slice, as in OrderedBatches; --trainer.limit_val_batches may cut it short.
        shares = torch.arange(len(data.labels)).tensor_split(trainer.world_size)
        indices = torch.cat([share[: len(part)] for share, part in zip(shares, labels, strict=True)])
        assert isinstance(pl_module, DigitClassifier)
        self.last = EvaluationResult(
            torch.cat(logits).float().cpu(), torch.cat(labels).cpu(), indices, data, epoch, pl_module.class_names
        )


class EvaluationDashboard(Callback):
    """Draws one aspect of an evaluation: each epoch's last validation, or the final test of a run without validation.

    Args:
        evaluation: Collects the logits and labels; must come before this callback.
    """

    def __init__(self, evaluation: Evaluation) -> None:
        self.evaluation = evaluation

    def draw(self, writer: SummaryWriter, result: EvaluationResult, stage: str) -> None:
        """Draws the result.

        Args:
            writer: the run's writer.
            result: the evaluation; its logits are finite.
            stage: `validation` or `test`, the group of the tag.
        """
        raise NotImplementedError

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._draw(trainer, "validation", trainer.current_epoch + 1)

    @override
    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._draw(trainer, "test", trainer.current_epoch)

    def _draw(self, trainer: Trainer, stage: str, epoch: int) -> None:
        writer, result = tensorboard_writer(trainer), self.evaluation.of_epoch(epoch)
        if writer is not None and result is not None and result.logits.isfinite().all():
            self.draw(writer, result, stage)
