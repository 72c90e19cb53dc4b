"""Images before and after augmentation."""

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torchvision.utils import make_grid
from typing_extensions import override

from mnist_lightning.datamodule import DigitsDataModule
from mnist_lightning.tensorboard.writer import tensorboard_writer

NUM_IMAGES = 16
_ENLARGEMENT = 2  # screen pixels per image pixel


class AugmentedBatch(Callback):
    """Shows images of the first training batch, or of the first batch after resuming: stored above, augmented below."""

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        writer = tensorboard_writer(trainer)
        if writer is None:
            return
        data = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, DigitsDataModule)
        loader = trainer.train_dataloader
        assert loader is not None
        # The sampler has its own generators, so this does not change the training batches.
        batch = loader.dataset[next(iter(loader.sampler))]
        batch = batch._replace(images=batch.images.to(pl_module.device))
        rows = [data.prepare(batch, augment).images[:NUM_IMAGES].cpu() for augment in (False, True)]
        # (2 · 16, 1, 28, 28) in [0, 1]
        enlarged = torch.cat(rows).repeat_interleave(_ENLARGEMENT, -1).repeat_interleave(_ENLARGEMENT, -2).clamp(0, 1)
        grid = make_grid(enlarged, nrow=len(rows[0]), pad_value=0.5)
        writer.add_image("augmentation/stored_above_augmented_below", grid, trainer.current_epoch + 1)
