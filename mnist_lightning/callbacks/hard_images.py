"""The losses of the training images, for `--data.hard_fraction`."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.nn import functional as F  # noqa: N812  (PyTorch's usual name)
from typing_extensions import override

from mnist_lightning.data.batches import Batch, TrainingBatches


class HardImages(Callback):
    """Records the loss of each image in the first epoch, and hands it to the batches of the later ones."""

    def __init__(self) -> None:
        self.losses = torch.empty(0)  # (N,) float32; in the first epoch only those of this process, and 0

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"losses": self.losses}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.losses = state_dict["losses"]

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        batches = trainer.train_dataloader
        assert isinstance(batches, TrainingBatches)
        if len(self.losses) == 0:
            self.losses = torch.zeros(len(batches.data.labels), device=pl_module.device)
        batches.losses = self.losses

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        if trainer.current_epoch == 0:
            self.losses[batch.indices] = F.cross_entropy(outputs["logits"], batch.labels, reduction="none")  # (B,)

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch == 0:
            self.losses.copy_(trainer.strategy.reduce(self.losses.clone(), reduce_op="sum"))
