"""The class of a picture, with its probability and the runner-up."""

from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from mnist_lightning.classifier import SURE_PROBABILITY, DigitClassifier
from mnist_lightning.data.batches import AffineParameters, affine
from mnist_lightning.data.datasets import DIGITS
from mnist_lightning.data.image_files import grey_square, read_image
from mnist_lightning.read.digit_mask import find_digit
from mnist_lightning.read.ink import extract_ink
from mnist_lightning.read.mnist_format import to_mnist_format

# The mean over rotations tells wrong answers and letters from right ones better than one view does (development set).
ROTATIONS_DEGREES = (-10, 0, 10)


class Answer(NamedTuple):
    """The two most likely classes of a picture."""

    name: str  # of the class
    probability: float
    runner_up: str
    runner_up_probability: float

    @property
    def problem(self) -> str | None:
        """Why the class is no answer; None if it is one."""
        if self.probability >= SURE_PROBABILITY:
            return None
        return f"not sure: {self.name} ({self.probability:.2%}) or {self.second}"

    @property
    def second(self) -> str:
        """The runner-up with its probability."""
        return f"{self.runner_up} ({self.runner_up_probability:.2%})"


def read_picture(classifier: DigitClassifier, picture: str | Path | bytes | Image.Image) -> Answer:
    """Classifies a picture: a file, its content, or an image of Pillow's.

    A network of digits finds the digit in it; another one sees the picture as its training images were made from files.

    Raises:
        UserError: the picture cannot be read, is too large, or does not show exactly one digit.
    """
    image = picture if isinstance(picture, Image.Image) else read_image(picture)
    if classifier.class_names == DIGITS:
        return recognise(classifier, prepare_digit(image))
    pixels = grey_square(image, padding=255 if classifier.inverts else 0).unsqueeze(0)  # (1, 1, 28, 28)
    with torch.inference_mode():
        return _answer(classifier, classifier.probabilities(255 - pixels if classifier.inverts else pixels)[0])


def prepare_digit(image: Image.Image) -> Tensor:
    """The one digit in a photo, scan or drawing, in MNIST's format: (28, 28) uint8, white on black."""
    return torch.from_numpy(to_mnist_format(*find_digit(extract_ink(image))))


def classify(classifier: DigitClassifier, images: Tensor) -> Tensor:
    """Probabilities (N, 10) of images (N, 28, 28) uint8 in MNIST's format: the mean over three rotations."""
    pixels = images.unsqueeze(1).to(classifier.device) / 255  # (N, 1, 28, 28)
    zero = torch.zeros(len(pixels), device=pixels.device)
    rotations = [AffineParameters(zero + degrees, zero, zero, zero + 1, zero) for degrees in ROTATIONS_DEGREES]
    with torch.inference_mode():
        views = [classifier.probabilities(affine(pixels, rotation, "bilinear")) for rotation in rotations]
        return torch.stack(views).mean(dim=0).cpu()


def recognise(classifier: DigitClassifier, prepared: Tensor) -> Answer:
    """Recognises the digit in an image (28, 28) uint8 in MNIST's format."""
    return _answer(classifier, classify(classifier, prepared.unsqueeze(0))[0])


def _answer(classifier: DigitClassifier, probabilities: Tensor) -> Answer:
    """The answer for probabilities (num_classes,) float."""
    highest, classes = probabilities.topk(2)
    first, second = (classifier.class_names[place] for place in classes.tolist())
    return Answer(first, float(highest[0]), second, float(highest[1]))
