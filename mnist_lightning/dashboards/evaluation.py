"""What a validation or test has found, of all processes together, for the dashboards that draw it."""

from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter
from torchmetrics.utilities.distributed import gather_all_tensors
from typing_extensions import override

from mnist_lightning.dashboards.writer import tensorboard_writer
from mnist_lightning.data.batches import Batch, BatchDataset, LabelledImages


class Evaluated(NamedTuple):
    """What the network says of the images that were evaluated, all on the CPU."""

    logits: Tensor  # (N, 10) float32
    labels: Tensor  # (N,) int64 in 0..9
    indices: Tensor  # (N,) int64, which images of `data`
    data: LabelledImages  # the whole set that the images were taken from
    epoch: int  # counts from 1


class Evaluation(Callback):
    """Collects an evaluation's logits and labels on the device, and brings them to the first process at its end."""

    def __init__(self) -> None:
        self.last: Evaluated | None = None  # of the first process; None in the others
        self._logits: list[Tensor] = []
        self._labels: list[Tensor] = []

    def of_epoch(self, epoch: int) -> Evaluated | None:
        """What was found after this epoch; None if nothing was evaluated then."""
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
        self._gather(trainer, trainer.val_dataloaders, trainer.current_epoch + 1)

    @override
    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._gather(trainer, trainer.test_dataloaders, trainer.current_epoch)

    def _gather(self, trainer: Trainer, loader: DataLoader[Batch] | None, epoch: int) -> None:
        if not self._logits:
            return
        logits, labels = [torch.cat(self._logits)], [torch.cat(self._labels)]
        self._logits, self._labels = [], []
        if trainer.sanity_checking:
            return
        if trainer.world_size > 1:  # all processes are here
            logits, labels = gather_all_tensors(logits[0]), gather_all_tensors(labels[0])
        if not trainer.is_global_zero:
            return
        assert loader is not None
        assert isinstance(loader.dataset, BatchDataset)
        data = LabelledImages(*(part.cpu() for part in loader.dataset.data))
        # Each process's share begins where OrderedBatches lets it; --trainer.limit_val_batches ends it early.
        shares = torch.arange(len(data.labels)).tensor_split(trainer.world_size)
        indices = torch.cat([share[: len(part)] for share, part in zip(shares, labels, strict=True)])
        self.last = Evaluated(torch.cat(logits).float().cpu(), torch.cat(labels).cpu(), indices, data, epoch)


class EvaluationDashboard(Callback):
    """Draws something of an evaluation: of the last validation in each epoch, or of the test that ends a run without.

    Args:
        evaluation: Collects what is drawn; comes before this one among the callbacks.
    """

    def __init__(self, evaluation: Evaluation) -> None:
        self.evaluation = evaluation

    def draw(self, writer: SummaryWriter, evaluated: Evaluated, stage: str) -> None:
        """Writes what there is to see.

        Args:
            writer: of the run's events.
            evaluated: what was found; its logits are finite.
            stage: `validation` or `test`, the group to draw in.
        """
        raise NotImplementedError

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._draw(trainer, "validation", trainer.current_epoch + 1)

    @override
    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._draw(trainer, "test", trainer.current_epoch)

    def _draw(self, trainer: Trainer, stage: str, epoch: int) -> None:
        writer, evaluated = tensorboard_writer(trainer), self.evaluation.of_epoch(epoch)
        if writer is not None and evaluated is not None and evaluated.logits.isfinite().all():
            self.draw(writer, evaluated, stage)
