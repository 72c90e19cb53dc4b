"""Records the loss of each training image for `--data.hard_fraction`."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch.nn import functional as F  # noqa: N812  (PyTorch's usual name)
from typing_extensions import override

from mnist_lightning.datamodule import DigitsDataModule


class ImageLosses(Callback):
    """Passes the losses of the first epoch to the data module, whose later epochs depend on them."""

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        data: DigitsDataModule = trainer.datamodule  # type: ignore[attr-defined]
        if trainer.current_epoch == 0:
            losses = F.cross_entropy(outputs["logits"], batch.labels, reduction="none")  # (B,)
            data.record_losses(batch.indices, losses)

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data: DigitsDataModule = trainer.datamodule  # type: ignore[attr-defined]
        if trainer.current_epoch == 0:
            data.merge_losses()
