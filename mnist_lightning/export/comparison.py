"""Compares an exported file with its network."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from mnist_lightning.export.formats import Exported
from mnist_lightning.export.pixel_network import PixelNetwork

MAX_LOGIT_DIFFERENCE = 1e-4
MAX_INT8_ACCURACY_LOSS = 0.001
BATCH_SIZE = 500
NUM_TIMED = 1000  # images per round
NUM_ROUNDS = 5


@dataclass(frozen=True)
class Comparison:
    """Accuracy, agreement and speed of a network and its exported file."""

    num_images: int
    network_accuracy: float  # in [0, 1]
    exported_accuracy: float  # in [0, 1]
    num_other_classes: int  # images for which the predictions differ
    max_logit_difference: float  # not finite if one of the file's logits is not
    network_images_per_second: float  # median
    exported_images_per_second: float  # median
    speed_ratios: list[float]  # exported file to network, round by round


def compare(network: PixelNetwork, expected: Tensor, exported: Exported, images: Tensor, labels: Tensor) -> Comparison:
    """Compares outputs on all images, and speed on the first 1,000, in five rounds that alternate between the two.

    Args:
        network: the network.
        expected: its logits (N, num_classes) for the images.
        exported: the loaded file.
        images: (N, 1, 28, 28) float32 in [0, 1].
        labels: (N,) int64.
    """
    found = compute_logits(exported.logits, images)
    timed = images[:NUM_TIMED]
    seconds: tuple[list[float], list[float]] = ([], [])
    sides: tuple[Callable[[Tensor], Tensor], ...] = (network, exported.logits)
    for _ in range(1 + NUM_ROUNDS):  # the first round is warm-up
        for side, compute in zip(seconds, sides, strict=True):
            start = time.perf_counter()
            compute_logits(compute, timed)
            side.append(time.perf_counter() - start)
    network_seconds, exported_seconds = seconds[0][1:], seconds[1][1:]
    return Comparison(
        num_images=len(images),
        network_accuracy=accuracy(expected, labels),
        exported_accuracy=accuracy(found, labels),
        num_other_classes=int((expected.argmax(dim=1) != found.argmax(dim=1)).sum()),
        max_logit_difference=float((expected - found).abs().max()),
        network_images_per_second=len(timed) / median(network_seconds),
        exported_images_per_second=len(timed) / median(exported_seconds),
        speed_ratios=[network / file for network, file in zip(network_seconds, exported_seconds, strict=True)],
    )


@torch.inference_mode()
def compute_logits(compute: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Logits (N, num_classes) for images (N, 1, 28, 28) float32 in [0, 1], computed in batches."""
    return torch.cat([compute(batch) for batch in images.split(BATCH_SIZE)])


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Accuracy in [0, 1] of logits (N, num_classes) for labels (N,)."""
    return int((logits.argmax(dim=1) == labels).sum()) / len(labels)


def as_pixels(images: Tensor) -> Tensor:
    """Converts stored images (N, 1, 28, 28) uint8 to an exported file's input: float32 in [0, 1]."""
    return images.float() / 255
