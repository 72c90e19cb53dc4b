"""Images in grids: the first layer's filters, and feature maps."""

from typing import Any

from torch import Tensor, nn
from torchvision.utils import make_grid

from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.network import executed_layers

NUM_COLUMNS = 10
FILTER_PIXELS = 48  # side of a filter on the screen
MAP_PIXELS = 56  # side of a feature map on the screen, twice the image's 28
MAX_MAPS = 40  # per layer, four rows; the baseline has up to 1,024


def _grid(images: Tensor, side_pixels: int, **settings: Any) -> Tensor:
    """Images (N, 1, H, W) in [0, 1] as one image (3, H, W), in which each is about `side_pixels` wide."""
    factor = max(1, side_pixels // images.shape[-1])
    images = images.nan_to_num().repeat_interleave(factor, -1).repeat_interleave(factor, -2)
    grid: Tensor = make_grid(images, NUM_COLUMNS, **settings)
    return grid


def filters_grid(conv: nn.Conv2d) -> Tensor:
    """The filters for the first input channel as an image (3, H, W); grey is 0, white the largest absolute weight."""
    weight = conv.weight.detach()[:, :1].float().cpu()  # (C, 1, h, w)
    shades = weight / (2 * weight.abs().max().clamp(min=1e-12)) + 0.5  # in [0, 1]
    return _grid(shades, FILTER_PIXELS, padding=4, pad_value=1)


def feature_map_grids(module: DigitClassifier, image: Tensor) -> list[Tensor]:
    """Feature maps of an image (1, 1, 28, 28) uint8 after each ReLU, as images (3, H, W); white: a layer's largest."""
    layers = executed_layers(module.net, module.normalised(image.to(module.device) / 255))
    maps = [layer.output for layer in layers if isinstance(layer.module, nn.ReLU)]
    images = [each[0, :MAX_MAPS].float().cpu().unsqueeze(1) for each in maps if each.ndim == 4]  # (C, 1, H, H) each
    shades = [each / each.max().clamp(min=1e-12) for each in images]
    return [_grid(each, MAP_PIXELS, pad_value=0.5) for each in shades]
