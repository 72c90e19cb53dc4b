"""An exported file against the network that it was made from."""

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
NUM_TIMED = 1000  # images a turn
NUM_ROUNDS = 5


@dataclass(frozen=True)
class Comparison:
    """What came out."""

    num_images: int
    network_accuracy: float  # in [0, 1]
    exported_accuracy: float
    num_other_classes: int  # images of another class than the network's
    max_logit_difference: float  # not finite where a logit of the file is not
    network_images_per_second: float  # the medians
    exported_images_per_second: float
    speed_ratios: list[float]  # of the exported file to the network, turn by turn


def compare(network: PixelNetwork, wanted: Tensor, exported: Exported, images: Tensor, labels: Tensor) -> Comparison:
    """Compares on all images; the speed is measured on the first, in five turns, one after the other.

    Args:
        network: the network.
        wanted: its logits (N, 10) of the images.
        exported: the file.
        images: (N, 1, 28, 28) float32 in [0, 1].
        labels: (N,) int64 in 0..9.
    """
    found = logits_of(exported.logits, images)
    timed = images[:NUM_TIMED]
    seconds: tuple[list[float], list[float]] = ([], [])
    sides: tuple[Callable[[Tensor], Tensor], ...] = (network, exported.logits)
    for _ in range(1 + NUM_ROUNDS):  # the first is for warm-up
        for side, compute in zip(seconds, sides, strict=True):
            start = time.perf_counter()
            logits_of(compute, timed)
            side.append(time.perf_counter() - start)
    network_seconds, exported_seconds = seconds[0][1:], seconds[1][1:]
    return Comparison(
        num_images=len(images),
        network_accuracy=accuracy(wanted, labels),
        exported_accuracy=accuracy(found, labels),
        num_other_classes=int((wanted.argmax(dim=1) != found.argmax(dim=1)).sum()),
        max_logit_difference=float((wanted - found).abs().max()),
        network_images_per_second=len(timed) / median(network_seconds),
        exported_images_per_second=len(timed) / median(exported_seconds),
        speed_ratios=[network / file for network, file in zip(network_seconds, exported_seconds, strict=True)],
    )


@torch.inference_mode()
def logits_of(compute: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Logits (N, 10) of images (N, 1, 28, 28) float32 in [0, 1], batch by batch."""
    return torch.cat([compute(batch) for batch in images.split(BATCH_SIZE)])


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Share of the logits (N, 10) whose largest is that of the label (N,), in [0, 1]."""
    return int((logits.argmax(dim=1) == labels).sum()) / len(labels)


def as_pixels(images: Tensor) -> Tensor:
    """Stored images (N, 1, 28, 28) uint8 as an exported file takes them: float32 in [0, 1]."""
    return images.float() / 255
