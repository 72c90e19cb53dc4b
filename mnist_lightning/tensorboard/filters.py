"""The first layer's filters."""

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn
from torchvision.utils import make_grid
from typing_extensions import override

from mnist_lightning.tensorboard.writer import tensorboard_writer

_ENLARGEMENT = 16  # screen pixels per pixel of a 3×3 filter
_NUM_COLUMNS = 10


class FirstLayerFilters(Callback):
    """Draws the first convolution's filters after each epoch; grey is 0, white the largest absolute weight."""

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        writer = tensorboard_writer(trainer)
        if writer is None:
            return
        conv = next((module for module in pl_module.modules() if isinstance(module, nn.Conv2d)), None)
        if conv is None:
            return  # a user's network
        weight = conv.weight.detach()[:, :1].float().cpu()  # (C, 1, 3, 3)
        if not weight.isfinite().all():
            return  # FiniteLoss is about to end the run
        shades = weight / (2 * weight.abs().max().clamp(min=1e-12)) + 0.5  # in [0, 1]
        enlarged = shades.repeat_interleave(_ENLARGEMENT, -1).repeat_interleave(_ENLARGEMENT, -2)
        grid = make_grid(enlarged, _NUM_COLUMNS, padding=4, pad_value=1)
        writer.add_image("first_layer/filters", grid, trainer.current_epoch + 1)
