"""An exported file against the network that it was made from."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from mnist_lightning.batches import LabelledImages
from mnist_lightning.export.formats import Exported
from mnist_lightning.export.pixel_network import PixelNetwork

MAX_LOGIT_DIFFERENCE = 1e-4
MAX_INT8_ACCURACY_LOSS = 0.001
NUM_COMPARED = 1000
BATCH_SIZE = 500
NUM_ROUNDS = 5


@dataclass(frozen=True)
class Comparison:
    """What came out."""

    num_images: int
    num_other_classes: int  # images of another class than the network's
    max_logit_difference: float
    network_images_per_second: float  # the medians
    exported_images_per_second: float
    speed_ratios: list[float]  # of the exported file to the network, turn by turn


@torch.inference_mode()
def compare(network: PixelNetwork, exported: Exported, images: Tensor) -> Comparison:
    """Computes images (N, 1, 28, 28) float32 in [0, 1] with both; in five turns, one after the other."""
    seconds: tuple[list[float], list[float]] = ([], [])
    sides: tuple[Callable[[Tensor], Tensor], ...] = (network, exported.logits)
    outputs = [torch.empty(0)] * 2
    for _ in range(1 + NUM_ROUNDS):  # the first is for warm-up
        for which, logits_of in enumerate(sides):
            start = time.perf_counter()
            outputs[which] = torch.cat([logits_of(batch) for batch in images.split(BATCH_SIZE)])
            seconds[which].append(time.perf_counter() - start)
    wanted, found = outputs
    return Comparison(
        num_images=len(images),
        num_other_classes=int((wanted.argmax(dim=1) != found.argmax(dim=1)).sum()),
        max_logit_difference=float((wanted - found).abs().max()),
        network_images_per_second=len(images) / median(seconds[0][1:]),
        exported_images_per_second=len(images) / median(seconds[1][1:]),
        speed_ratios=[network / file for network, file in zip(seconds[0][1:], seconds[1][1:], strict=True)],
    )


@torch.inference_mode()
def accuracy(exported: Exported, test: LabelledImages) -> float:
    """Accuracy on test images, in [0, 1]."""
    num_right = 0
    for images, labels in zip(test.images.split(BATCH_SIZE), test.labels.split(BATCH_SIZE), strict=True):
        num_right += int((exported.logits(as_pixels(images)).argmax(dim=1) == labels).sum())
    return num_right / len(test.labels)


def as_pixels(images: Tensor) -> Tensor:
    """Stored images (N, 1, 28, 28) uint8 as an exported file takes them: float32 in [0, 1]."""
    return images.float() / 255
