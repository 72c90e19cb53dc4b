"""Finds the digit in a picture, and recognises it, with its probability and the runner-up."""

from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from mnist_lightning.classifier import SURE_PROBABILITY, DigitClassifier
from mnist_lightning.data.batches import AffineParameters, affine
from mnist_lightning.data.image_files import read_image
from mnist_lightning.errors import UserError
from mnist_lightning.files import Row
from mnist_lightning.read.digit_mask import find_digit
from mnist_lightning.read.ink import extract_ink
from mnist_lightning.read.mnist_format import to_mnist_format

# The mean over rotations tells wrong answers and letters from right ones better than one view does (development set).
ROTATIONS_DEGREES = (-10, 0, 10)


class ReadDigit(NamedTuple):
    """The two most likely digits in a picture."""

    digit: int  # 0..9
    probability: float
    runner_up: int  # 0..9
    runner_up_probability: float

    @property
    def problem(self) -> str | None:
        """Why the digit is no answer; None if it is one."""
        if self.probability >= SURE_PROBABILITY:
            return None
        return f"not sure: {self.digit} ({self.probability:.2%}) or {self.second}"

    @property
    def second(self) -> str:
        """The runner-up with its probability."""
        return f"{self.runner_up} ({self.runner_up_probability:.2%})"


def prepare_digit(image: Image.Image) -> Tensor:
    """The digit in a photo, scan or drawing, in MNIST's format: (28, 28) uint8, white on black.

    Raises:
        UserError: the picture does not show exactly one digit.
    """
    return torch.from_numpy(to_mnist_format(*find_digit(extract_ink(image))))


def classify(classifier: DigitClassifier, images: Tensor) -> Tensor:
    """Probabilities (N, 10) of images (N, 28, 28) uint8 in MNIST's format: the mean over three rotations."""
    pixels = images.unsqueeze(1).to(classifier.device) / 255  # (N, 1, 28, 28)
    zero = torch.zeros(len(pixels), device=pixels.device)
    rotations = [AffineParameters(zero + degrees, zero, zero, zero + 1, zero) for degrees in ROTATIONS_DEGREES]
    with torch.inference_mode():
        views = [classifier.probabilities(affine(pixels, rotation, "bilinear")) for rotation in rotations]
        return torch.stack(views).mean(dim=0).cpu()


def recognise(classifier: DigitClassifier, prepared: Tensor) -> ReadDigit:
    """Recognises the digit in an image (28, 28) uint8 in MNIST's format."""
    probabilities, digits = classify(classifier, prepared.unsqueeze(0))[0].topk(2)
    return ReadDigit(int(digits[0]), float(probabilities[0]), int(digits[1]), float(probabilities[1]))


def read_picture(classifier: DigitClassifier, path: Path) -> tuple[Row, str]:
    """Recognises the digit in an image file: a row of `--output`, and the printed line after the file's name."""
    try:
        found = recognise(classifier, prepare_digit(read_image(path)))
    except UserError as error:
        nothing = dict.fromkeys(ReadDigit._fields)
        return {**nothing, "problem": str(error)}, f"{'–':>5}  {error}"
    row = {**found._asdict(), "problem": found.problem}
    if found.problem is not None:
        return row, f"{'?':>5}  {found.problem}"
    return row, f"{found.digit:5}  {found.probability:>11.2%}  {found.second}"
