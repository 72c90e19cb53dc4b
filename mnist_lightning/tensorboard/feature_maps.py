"""Feature maps of one image."""

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torchvision.utils import make_grid
from typing_extensions import override

from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.data.batches import Batch
from mnist_lightning.datamodule import DigitsDataModule
from mnist_lightning.tensorboard.network_copy import network_copy
from mnist_lightning.tensorboard.writer import tensorboard_writer

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
        for number, maps in enumerate(_maps_after_relu(pl_module, images), start=1):
            if not maps.isfinite().all():
                return  # FiniteLoss is about to end the run
            shades = maps / maps.max().clamp(min=1e-12)
            enlargement = max(1, _SIDE_PIXELS // maps.shape[-1])
            enlarged = shades.repeat_interleave(enlargement, -1).repeat_interleave(enlargement, -2)
            grid = make_grid(enlarged, _NUM_COLUMNS, pad_value=0.5)
            writer.add_image(f"feature_maps/after_layer_{number}", grid, trainer.current_epoch + 1)


def _maps_after_relu(module: DigitClassifier, images: Tensor) -> list[Tensor]:
    """The outputs of each ReLU for the first of images (B, 1, 28, 28) float in [0, 1]: (at most 40, 1, H, H) each."""
    network, outputs = network_copy(module), list[Tensor]()

    def keep(relu: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        if output.ndim == 4:
            outputs.append(output[0, :MAX_MAPS].float().cpu().unsqueeze(1))

    for layer in network.modules():
        if isinstance(layer, nn.ReLU):
            layer.register_forward_hook(keep)
    network(module.normalised(images).to(module.net_dtype))
    return outputs
