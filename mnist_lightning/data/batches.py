"""Batches by index, from images that stay in memory as uint8; the seeds of all random draws; augmentation."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (PyTorch's usual name)

from mnist_lightning.errors import UserError

Interpolation = Literal["nearest", "bilinear"]

# Of the images that `hard_images_first` puts first. Half of them at random was less accurate, on three seeds.
RANDOM_SHARE = 0.2
NUM_STEPS_OF_MEAN = 25
UNKNOWN = -1  # label of the images whose class is to be predicted


class LabelledImages(NamedTuple):
    """A set of images in memory."""

    images: Tensor  # (N, 1, 28, 28) uint8
    labels: Tensor  # (N,) int64, below the number of classes; or all UNKNOWN

    def subset(self, indices: Tensor) -> "LabelledImages":
        """The images at these indices (M,) int64."""
        return LabelledImages(self.images[indices], self.labels[indices])


class Batch(NamedTuple):
    """What a step works on; its two seeds are the only randomness that the step uses."""

    images: Tensor  # (B, 1, 28, 28), uint8 from the loader, float32 in [0, 1] in a step
    labels: Tensor  # (B,) int64
    augmentation_seed: int = 0
    dropout_seed: int = 0
    indices: Tensor | None = None  # (B,) int64, indices into the data set


def derive_seed(seed: int, *counters: int) -> int:
    """Mixes a run's seed with counters (epoch, step, rank) into 64 bits, so that runs repeat and resume exactly.

    Neighbouring inputs give unrelated seeds: https://numpy.org/doc/stable/reference/random/parallel.html
    """
    return int(np.random.SeedSequence(seed, spawn_key=counters).generate_state(1, np.uint64)[0])


def seed_dropout(seed: int, device: torch.device) -> None:
    """Seeds dropout's generator on a device; on a CPU, torch.manual_seed would take a hundredth of a small step."""
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def hard_images_first(
    losses: Tensor, order: Tensor, batch_size: int, fraction: float, generator: torch.Generator
) -> Tensor:
    """An order (N,) int64 that starts with a fraction of the images: hard ones and some at random, shuffled.

    The loss falls quickly in the first epoch, so an image counts as hard if its loss is large in comparison with the
    mean loss of the steps around its own. `losses` (N,), `order` (N,) int64 and `batch_size` are of that epoch; the
    loss of an image that it did not reach is 0.
    """
    ordered = losses[order]
    step_means = torch.stack([part.mean() for part in ordered.split(batch_size)])  # (steps,)
    means = F.avg_pool1d(step_means.view(1, 1, -1), NUM_STEPS_OF_MEAN, 1, NUM_STEPS_OF_MEAN // 2, False, False)
    relative = ordered / means.flatten().repeat_interleave(batch_size)[: len(ordered)]
    relative = relative.nan_to_num(0)  # a step that the first epoch did not reach has a mean of 0
    ranked = order[relative.argsort(descending=True, stable=True)]
    num_first = round(fraction * len(ranked))
    num_random = int(RANDOM_SHARE * num_first)
    others = ranked[num_first - num_random :]
    others = others[torch.randperm(len(others), generator=generator)]
    first = torch.cat([ranked[: num_first - num_random], others[:num_random]])
    return torch.cat([first[torch.randperm(num_first, generator=generator)], others[num_random:]])


@dataclass(eq=False, repr=False)
class TrainingBatches:
    """Every image once an epoch, in an order that depends on (seed, epoch), and on losses if they are given.

    Not a DataLoader: one indexing operation per batch needs no loader processes, and the framework leaves another
    iterable as it is, in several processes too. The ranks share the `batch_size × num_ranks` images of each step
    evenly, also in the last step: all ranks take the same number of steps, and no image is seen twice.
    """

    data: LabelledImages  # on the device that holds them
    batch_size: int  # images per batch and rank
    seed: int
    rank: int = 0
    num_ranks: int = 1
    hard_fraction: float = 1  # from the second epoch on, how many images come first, chosen by `hard_images_first`
    losses: Tensor | None = field(default=None, init=False)  # (N,) of each image in the first epoch
    epoch: int = field(default=0, init=False)  # of the next iteration, counted from 0

    @property
    def sampler(self) -> "TrainingBatches":
        """Where the framework looks for `set_epoch`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Called by the framework before each epoch."""
        self.epoch = epoch

    @property
    def step_size(self) -> int:
        """Images per step of all ranks."""
        return self.batch_size * self.num_ranks

    def __len__(self) -> int:
        """Steps per epoch."""
        return -(-len(self.data.labels) // self.step_size)

    @property
    def last_batch_size(self) -> int:
        """Images of this process in the epoch's last step."""
        return ((len(self.data.labels) - 1) % self.step_size + 1) // self.num_ranks

    def _order(self) -> Tensor:
        """The images in this epoch's order, on the CPU."""
        num_images = len(self.data.labels)
        generator = torch.Generator().manual_seed(derive_seed(self.seed, self.epoch))
        if self.epoch == 0 or self.hard_fraction == 1:
            return torch.randperm(num_images, generator=generator)
        if self.losses is None:
            raise UserError(
                "hard_fraction below 1 needs the losses of the first epoch: add the callback "
                "mnist_lightning.callbacks.hard_images.HardImages to the Trainer."
            )
        first = torch.randperm(num_images, generator=torch.Generator().manual_seed(derive_seed(self.seed, 0)))
        return hard_images_first(self.losses.cpu(), first, self.step_size, self.hard_fraction, generator)

    def __iter__(self) -> Iterator[Batch]:
        batches = list(self._order().to(self.data.labels.device).split(self.step_size))
        if len(batches[-1]) < self.num_ranks and len(batches) > 1:  # fewer images than ranks
            batches[-2:] = torch.cat(batches[-2:]).tensor_split(2)
        for step, indices in enumerate(batches):
            share = indices.tensor_split(self.num_ranks)[self.rank]
            seed = derive_seed(self.seed, self.epoch, step, self.rank)
            seeds = ((seed + 1) % 2**64, seed)  # of augmentation and dropout: neighbours are unrelated
            yield Batch(self.data.images[share], self.data.labels[share], *seeds, share)


class EvaluationBatches:
    """Every image once, in order; with several ranks, each takes a share, without padding."""

    def __init__(self, data: LabelledImages, batch_size: int, rank: int = 0, num_ranks: int = 1) -> None:
        self.data = data
        indices = torch.arange(len(data.labels), device=data.labels.device)
        self.indices = indices.tensor_split(num_ranks)[rank].split(batch_size)

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[Batch]:
        return (Batch(self.data.images[some], self.data.labels[some], indices=some) for some in self.indices)


class AffineParameters(NamedTuple):
    """One affine map per image; each field has shape (B,) and dtype float32.

    Same order as torchvision: scale and shear, then rotation, both about the image's centre, then translation.
    """

    rotation_degrees: Tensor  # counter-clockwise, as torchvision's `rotate`
    translation_x_pixels: Tensor  # to the right
    translation_y_pixels: Tensor  # downwards
    scale: Tensor  # above 1 enlarges
    shear_degrees: Tensor  # along x, as torchvision's `affine`


def affine(images: Tensor, parameters: AffineParameters, interpolation: Interpolation) -> Tensor:
    """Applies one affine map per image to images (B, C, H, H) float, with 0 from outside.

    Matches torchvision's `rotate` and `affine` on PIL images (tests/test_augmentation.py).
    """
    size = images.shape[-1]
    angle = -torch.deg2rad(parameters.rotation_degrees)  # clockwise: the y axis points down
    cos, sin = angle.cos(), angle.sin()
    shear = torch.deg2rad(parameters.shear_degrees).tan()
    # The inverse of rotation · shear · scale: grid_sample needs the source of each output pixel.
    a, b = (cos - sin * shear) / parameters.scale, (sin + cos * shear) / parameters.scale
    c, d = -sin / parameters.scale, cos / parameters.scale
    # grid_sample's coordinates run from -1 to 1.
    x, y = parameters.translation_x_pixels * (2 / size), parameters.translation_y_pixels * (2 / size)
    rows = [a, b, -(a * x + b * y), c, d, -(c * x + d * y)]
    matrices = torch.stack(rows, dim=1).view(-1, 2, 3).to(images.dtype)
    grid = F.affine_grid(matrices, list(images.shape), align_corners=False)  # (B, H, H, 2)
    return F.grid_sample(images, grid, mode=interpolation, padding_mode="zeros", align_corners=False)


def one_pixel_shifts(images: Tensor) -> Tensor:
    """Images (B, C, H, H) and their shifts by a pixel in the eight directions: (9, B, C, H, H), the unshifted first."""
    size = images.shape[-1]
    padded = F.pad(images, (1, 1, 1, 1))
    shifts = [(0, 0), *(shift for shift in itertools.product((-1, 0, 1), repeat=2) if shift != (0, 0))]
    return torch.stack([padded[..., 1 - y : 1 - y + size, 1 - x : 1 - x + size] for y, x in shifts])


@dataclass(frozen=True)
class RandomAffine:
    """Applies to each image an affine map with its own, uniformly drawn parameters.

    As in torchvision's RandomAffine, `nearest` translates by whole pixels.
    """

    rotation_degrees: float  # the largest, in either direction
    translation_percent: float  # the largest along x and along y, of the image's side
    scale_percent: float = 0  # the largest change of size
    shear_degrees: float = 0  # the largest, along x
    interpolation: Interpolation = "nearest"

    def draw(self, num_images: int, image_size: int, generator: torch.Generator) -> AffineParameters:
        """Draws `num_images` maps on the generator's device, for square images with a side of `image_size` pixels."""
        uniform = torch.rand(5, num_images, generator=generator, device=generator.device) * 2 - 1
        translation = uniform[1:3] * (self.translation_percent / 100 * image_size)
        if self.interpolation == "nearest":
            translation = translation.round()
        return AffineParameters(
            rotation_degrees=uniform[0] * self.rotation_degrees,
            translation_x_pixels=translation[0],
            translation_y_pixels=translation[1],
            scale=1 + uniform[3] * (self.scale_percent / 100),
            shear_degrees=uniform[4] * self.shear_degrees,
        )

    def __call__(self, images: Tensor, seed: int) -> Tensor:
        """Augments images (B, C, H, H) float with background 0; the same `seed` draws the same maps."""
        if not any([self.rotation_degrees, self.translation_percent, self.scale_percent, self.shear_degrees]):
            return images
        generator = torch.Generator(images.device).manual_seed(seed)
        return affine(images, self.draw(len(images), images.shape[-1], generator), self.interpolation)
