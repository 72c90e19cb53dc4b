"""What a classifier makes of the test images: as they are, rotated, and shifted."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from mnist_lightning.classifier import DigitClassifier, check_finite
from mnist_lightning.data.augmentation import AffineParameters, affine
from mnist_lightning.data.batches import LabelledImages
from mnist_lightning.data.mnist_files import normalised
from mnist_lightning.datamodule import DigitsDataModule
from mnist_lightning.network import IMAGE_SHAPE

ROTATIONS_DEGREES = tuple(range(-30, 31, 5))
SHIFTS_PIXELS = tuple(range(-4, 5))

# For each rotation and shift. MNIST's 10,000 test images take the optimized network 7e10: all are evaluated.
MAX_OPERATIONS = 150_000_000_000
MIN_IMAGES = 500  # of larger networks: an accuracy of 99 % is then known to ± 1 point, in a minute or two


class Curve(NamedTuple):
    """How many images are classified correctly, against how far they were moved."""

    movement: str  # a field of AffineParameters
    amounts: tuple[int, ...]  # in the unit that the field's name ends with
    num_correct: tuple[int, ...]
    num_images: int

    def accuracies(self) -> list[float]:
        """In [0, 1], in the order of the amounts."""
        return [num_correct / self.num_images for num_correct in self.num_correct]


def read_test_images(data: DigitsDataModule) -> LabelledImages:
    """The test images of the run's data set.

    Raises:
        DataFilesError: the files are missing or damaged, and could not be downloaded.
    """
    data.setup("test")
    return data.images("test")


def predict(classifier: DigitClassifier, data: DigitsDataModule, images: Tensor) -> Tensor:
    """Probabilities (N, 10) of images (N, 1, 28, 28) uint8, with test-time augmentation if the run's test has it."""
    with torch.inference_mode():
        parts = [classifier.probabilities(normalised(part)) for part in images.split(data.eval_batch_size)]
        return torch.cat(parts)


def movement_curves(classifier: DigitClassifier, data: DigitsDataModule, test: LabelledImages) -> list[Curve]:
    """Accuracy under rotations, shifts along x and shifts along y, of the network alone: nine views cost nine times.

    Of a large network not all images are evaluated, but evenly many from all of the set.
    """
    num_images = max(MIN_IMAGES, MAX_OPERATIONS // operations_per_image(classifier))
    step = max(1, len(test.labels) // num_images)
    images = LabelledImages(test.images[::step], test.labels[::step])
    unmoved = _num_correct(classifier, data, images)  # once for all curves, and not interpolated
    curves = []
    for movement, amounts in (
        ("rotation_degrees", ROTATIONS_DEGREES),
        ("translation_x_pixels", SHIFTS_PIXELS),
        ("translation_y_pixels", SHIFTS_PIXELS),
    ):
        num_correct = [
            _num_correct(classifier, data, images, {movement: amount}) if amount else unmoved for amount in amounts
        ]
        curves.append(Curve(movement, amounts, tuple(num_correct), len(images.labels)))
    return curves


def operations_per_image(classifier: DigitClassifier) -> int:
    """Floating-point operations of the network's convolutions and matrix products."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        classifier.net(torch.zeros(1, *IMAGE_SHAPE))
    return int(counter.get_total_flops())


def _num_correct(
    classifier: DigitClassifier, data: DigitsDataModule, images: LabelledImages, amounts: dict[str, int] | None = None
) -> int:
    num_correct = 0
    with torch.inference_mode():
        for part, labels in zip(
            images.images.split(data.eval_batch_size), images.labels.split(data.eval_batch_size), strict=True
        ):
            moved = part if amounts is None else _moved(part, amounts)
            logits = classifier(normalised(moved))
            check_finite(logits)
            num_correct += int((logits.argmax(dim=1) == labels).sum())
    return num_correct


def _moved(images: Tensor, amounts: dict[str, int]) -> Tensor:
    """Images (B, 1, 28, 28) uint8 as float32 in [0, 255], all moved alike, interpolated bilinearly."""
    neutral = {name: float(name == "scale") for name in AffineParameters._fields}
    values = {name: torch.full((len(images),), float(value)) for name, value in (neutral | amounts).items()}
    return affine(images.float(), AffineParameters(**values), "bilinear")
