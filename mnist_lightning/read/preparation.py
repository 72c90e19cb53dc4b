"""From a picture of a digit to an image as MNIST has it."""

import torch
from PIL import Image
from torch import Tensor

from mnist_lightning.read.digit_mask import find_digit
from mnist_lightning.read.ink import ink_of
from mnist_lightning.read.mnist_form import mnist_form


def prepare_digit(image: Image.Image) -> Tensor:
    """Finds the digit and brings it to MNIST's form: (28, 28) uint8, white on black.

    Args:
        image: a photo, scan or drawing of one digit, of any mode and size, dark on light or light on dark.

    Raises:
        NoDigitError: the picture is blank, or nothing in it stands out as a digit.
    """
    return torch.from_numpy(mnist_form(*find_digit(ink_of(image))))
