"""Feature maps of one image."""

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn
from torchvision.utils import make_grid
from typing_extensions import override

from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.dashboards.network_copy import network_copy
from mnist_lightning.dashboards.writer import tensorboard_writer
from mnist_lightning.data.batches import Batch
from mnist_lightning.datamodule import DigitsDataModule

_SIDE_PIXELS = 56  # of a map on the screen, twice the image's 28
_NUM_COLUMNS = 10
MAX_MAPS = 40  # per layer, four rows; the baseline has up to 1,024


class FeatureMaps(Callback):
    """Draws the feature maps of the first training image, without augmentation, after each ReLU and each epoch.

    Black is 0, white the layer's largest value. Uses the current weights, not their average.
    """

    @override
    @torch.no_grad()
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        writer = tensorboard_writer(trainer)
        if writer is None:
            return
        assert isinstance(pl_module, DigitClassifier)
        data = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, DigitsDataModule)
        assert trainer.train_dataloader is not None
        images, labels = (part[:1] for part in trainer.train_dataloader.dataset.data)
        images = data.prepare(Batch(images.to(pl_module.device), labels), augment=False).images
        layers = network_copy(pl_module).layers
        outputs = images.to(pl_module.net_dtype)
        number = 0
        for layer in layers:
            outputs = layer(outputs)
            if not isinstance(layer, nn.ReLU) or outputs.ndim != 4:
                continue
            number += 1
            maps = outputs[0, :MAX_MAPS].float().cpu().unsqueeze(1)  # (C, 1, H, H)
            if not maps.isfinite().all():
                return  # FiniteLoss is about to end the run
            shades = maps / maps.max().clamp(min=1e-12)
            enlargement = max(1, _SIDE_PIXELS // maps.shape[-1])
            enlarged = shades.repeat_interleave(enlargement, -1).repeat_interleave(enlargement, -2)
            grid = make_grid(enlarged, _NUM_COLUMNS, pad_value=0.5)
            writer.add_image(f"feature_maps/after_layer_{number}", grid, trainer.current_epoch + 1)
