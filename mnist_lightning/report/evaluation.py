"""Predictions on the test images: unchanged, rotated and shifted."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from mnist_lightning.classifier import DigitClassifier, check_finite
from mnist_lightning.data.augmentation import AffineParameters, affine
from mnist_lightning.data.batches import LabelledImages
from mnist_lightning.datamodule import DigitsDataModule
from mnist_lightning.files import Count, Share
from mnist_lightning.network import IMAGE_SHAPE

ROTATIONS_DEGREES = tuple(range(-30, 31, 5))
SHIFTS_PIXELS = tuple(range(-4, 5))

# Of each rotation and shift. The optimized network needs 7e10 for MNIST's 10,000 test images, so it evaluates all.
MAX_OPERATIONS = 150_000_000_000
MIN_IMAGES = 500  # for larger networks: the 95 % interval of an accuracy of 99 % is then ± 1 point, in a minute or two


@dataclass(frozen=True)
class Point:
    """The images, all moved alike.

    Args:
        amount: How far: in degrees counter-clockwise, or in pixels to the right or downwards.
        num_correct: Number of images that are classified correctly.
        accuracy: num_correct / num_images.
    """

    amount: int
    num_correct: Count
    accuracy: Share


@dataclass(frozen=True)
class Robustness:
    """Accuracy on moved images.

    Args:
        test_time_augmentation: Whether the network used test-time augmentation.
        num_images: Number of images of each point.
        rotation_degrees: Accuracy after rotations.
        translation_x_pixels: Accuracy after shifts along x.
        translation_y_pixels: Accuracy after shifts along y.
    """

    test_time_augmentation: bool
    num_images: Count
    rotation_degrees: list[Point]
    translation_x_pixels: list[Point]
    translation_y_pixels: list[Point]


def read_test_images(data: DigitsDataModule) -> LabelledImages:
    """The test images of the run's data set.

    Raises:
        UserError: the files are missing or damaged, and could not be downloaded.
    """
    data.setup("test")
    return data.images("test")


def predict(classifier: DigitClassifier, data: DigitsDataModule, images: Tensor) -> Tensor:
    """Probabilities (N, num_classes) of images (N, 1, 28, 28) uint8, with test-time augmentation if the run has it."""
    with torch.inference_mode():
        parts = [classifier.probabilities(part / 255) for part in images.split(data.eval_batch_size)]
        return torch.cat(parts)


def robustness_of(classifier: DigitClassifier, data: DigitsDataModule, test: LabelledImages) -> Robustness:
    """Accuracy under rotations and shifts, without test-time augmentation, whose nine views take nine times as long.

    A large network is evaluated on every n-th image.
    """
    num_images = max(MIN_IMAGES, MAX_OPERATIONS // max(1, operations_per_image(classifier)))
    step = max(1, len(test.labels) // num_images)
    images = LabelledImages(test.images[::step], test.labels[::step])
    unmoved = _num_correct(classifier, data, images)  # once for all curves, and not interpolated

    def curve(movement: str, amounts: Sequence[int]) -> list[Point]:
        counts = [
            _num_correct(classifier, data, images, {movement: amount}) if amount else unmoved for amount in amounts
        ]
        return [Point(amount, count, count / len(images.labels)) for amount, count in zip(amounts, counts, strict=True)]

    return Robustness(
        test_time_augmentation=False,
        num_images=len(images.labels),
        rotation_degrees=curve("rotation_degrees", ROTATIONS_DEGREES),
        translation_x_pixels=curve("translation_x_pixels", SHIFTS_PIXELS),
        translation_y_pixels=curve("translation_y_pixels", SHIFTS_PIXELS),
    )


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
            logits = classifier(moved / 255)
            check_finite(logits)
            num_correct += int((logits.argmax(dim=1) == labels).sum())
    return num_correct


def _moved(images: Tensor, amounts: dict[str, int]) -> Tensor:
    """Images (B, 1, 28, 28) uint8 as float32 in [0, 255], all moved alike, interpolated bilinearly."""
    neutral = {name: float(name == "scale") for name in AffineParameters._fields}
    values = {name: torch.full((len(images),), float(value)) for name, value in (neutral | amounts).items()}
    return affine(images.float(), AffineParameters(**values), "bilinear")
