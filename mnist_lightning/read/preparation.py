"""Converts a picture of a digit to MNIST's format."""

import torch
from PIL import Image
from torch import Tensor

from mnist_lightning.read.digit_mask import find_digit
from mnist_lightning.read.ink import extract_ink
from mnist_lightning.read.mnist_format import to_mnist_format


def prepare_digit(image: Image.Image) -> Tensor:
    """Finds the digit and converts it to MNIST's format: (28, 28) uint8, white on black.

    Args:
        image: a photo, scan or drawing of one digit, any mode and size, dark on light or light on dark.

    Raises:
        UserError: the picture does not show exactly one digit.
    """
    return torch.from_numpy(to_mnist_format(*find_digit(extract_ink(image))))
