"""Recognises the digit in an image file, with its probability and the runner-up."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.data.augmentation import AffineParameters, affine
from mnist_lightning.data.image_files import read_image
from mnist_lightning.errors import UserError
from mnist_lightning.files import Row
from mnist_lightning.read.preparation import prepare_digit
from mnist_lightning.runs.predictions import SURE_PROBABILITY

# The mean over rotations tells wrong answers and letters from right ones better than one view does (development set).
ROTATIONS_DEGREES = (-10, 0, 10)


class ReadDigit(NamedTuple):
    """The two most likely digits in an image file."""

    prepared: Tensor  # (28, 28) uint8, in MNIST's format
    digit: int  # 0..9
    probability: float
    runner_up: int  # 0..9
    runner_up_probability: float

    @property
    def problem(self) -> str | None:
        """Why the digit is no answer; None if it is one."""
        if self.probability >= SURE_PROBABILITY:
            return None
        runner_up = f"{self.runner_up} ({self.runner_up_probability:.2%})"
        return f"not sure: {self.digit} ({self.probability:.2%}) or {runner_up}"


class Problem(NamedTuple):
    """The reason why no digit was recognised."""

    problem: str


def classify(classifier: DigitClassifier, images: Tensor) -> Tensor:
    """Class probabilities (N, 10): the mean over three rotations, with the classifier's test-time augmentation.

    Args:
        classifier: in evaluation mode.
        images: (N, 28, 28) uint8, in MNIST's format.
    """
    pixels = images.unsqueeze(1).to(classifier.device) / 255  # (N, 1, 28, 28)
    with torch.inference_mode():
        views = [classifier.probabilities(_rotated(pixels, degrees)) for degrees in ROTATIONS_DEGREES]
        return torch.stack(views).mean(dim=0).cpu()


def _rotated(pixels: Tensor, degrees: float) -> Tensor:
    zero = torch.zeros(len(pixels), device=pixels.device)
    return affine(pixels, AffineParameters(zero + degrees, zero, zero, zero + 1, zero), "bilinear")


def read_digit(classifier: DigitClassifier, path: Path) -> ReadDigit | Problem:
    """Recognises the digit in an image file."""
    try:
        image = read_image(path)
    except UserError as error:
        return Problem(str(error))
    try:
        prepared = prepare_digit(image)
    except UserError as error:
        return Problem(f"no digit found: {error}")
    return recognise(classifier, prepared)


def recognise(classifier: DigitClassifier, prepared: Tensor) -> ReadDigit:
    """Recognises the digit in an image (28, 28) uint8 in MNIST's format."""
    probabilities, digits = classify(classifier, prepared.unsqueeze(0))[0].topk(2)
    return ReadDigit(prepared, int(digits[0]), float(probabilities[0]), int(digits[1]), float(probabilities[1]))


def result_row(file: str, result: ReadDigit | Problem) -> Row:
    """The result as a row of `--output`."""
    values = result._asdict() if isinstance(result, ReadDigit) else {}
    return {"file": file, **{name: values.get(name) for name in ReadDigit._fields[1:]}, "problem": result.problem}
