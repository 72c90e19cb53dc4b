"""Batches by index: images stay in memory as uint8, and one indexing operation fetches a whole batch."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (PyTorch's usual name)
from torch.utils.data import Dataset, DistributedSampler

from mnist_lightning.data.seeds import derive_seed
from mnist_lightning.errors import UserError

# Of the images that `hard_images_first` puts first. Half of them at random was less accurate, on three seeds.
RANDOM_SHARE = 0.2
NUM_STEPS_OF_MEAN = 25


class LabelledImages(NamedTuple):
    """A set of labelled images in memory."""

    images: Tensor  # (N, 1, 28, 28) uint8
    labels: Tensor  # (N,) int64, below the number of classes


class Batch(NamedTuple):
    """What a step works on; its two seeds are the only randomness that the step uses."""

    images: Tensor  # (B, 1, 28, 28), uint8 from the loader, float32 in [0, 1] in a step
    labels: Tensor  # (B,) int64
    augmentation_seed: int = 0
    dropout_seed: int = 0
    indices: Tensor | None = None  # (B,) int64, indices into the data set


class BatchKey(NamedTuple):
    """What a sampler requests from a dataset."""

    indices: Tensor  # (B,) int64
    augmentation_seed: int = 0
    dropout_seed: int = 0


class BatchDataset(Dataset[Batch]):
    """Maps a batch's key to the batch; with `batch_size=None`, a DataLoader passes keys on unchanged.

    Args:
        data: The images and labels.
    """

    def __init__(self, data: LabelledImages) -> None:
        self.data = data

    def __len__(self) -> int:
        """Number of images; the sampler determines the number of batches."""
        return len(self.data.labels)

    def __getitem__(self, key: BatchKey) -> Batch:
        return Batch(self.data.images[key.indices], self.data.labels[key.indices], *key[1:], key.indices)


def hard_images_first(
    losses: Tensor, order: Tensor, batch_size: int, fraction: float, generator: torch.Generator
) -> Tensor:
    """An order of all images that starts with a fraction of them: the hard ones, and some at random, shuffled.

    The loss falls quickly in the first epoch, so an image counts as hard if its loss is large in comparison with the
    mean loss of the steps around its own.

    Args:
        losses: (N,) the loss of each image in the first epoch; 0 if it did not reach the image.
        order: (N,) int64, the order of the first epoch.
        batch_size: images per step of the first epoch.
        fraction: how many images come first, in (0, 1].
        generator: of the random draws, on the CPU.

    Returns:
        (N,) int64: the shuffled first images, then the others, shuffled.
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


class _SharedBatches(DistributedSampler[BatchKey]):
    """Batches that the processes have divided among themselves: Lightning divides other samplers' batches again.

    Args:
        num_images: Number of images in the data set.
        rank: Which share this process takes.
        num_ranks: Number of processes.
    """

    def __init__(self, num_images: int, rank: int, num_ranks: int) -> None:
        super().__init__(range(num_images), num_ranks, rank)  # type: ignore[arg-type]  # any sequence will do


class ShuffledBatches(_SharedBatches):
    """Every image once an epoch, in an order that depends on (seed, epoch), and on losses if they are given.

    The ranks share the `batch_size × num_ranks` images of each step evenly, also in the last step: all ranks take
    the same number of steps, and no image is seen twice.

    Args:
        num_images: Number of images in the data set.
        batch_size: Images per batch and rank.
        seed: The run's seed.
        rank: Which share of each batch this process takes.
        num_ranks: Number of processes.
        epoch: The first epoch; Lightning sets later ones with `set_epoch`.
        first_step: Steps of the first epoch that a resumed run took before.
        device: The device of the data set, and of the indices.
        hard_fraction: From the second epoch on, how many images come first, chosen by `hard_images_first`.
        losses: (num_images,) the loss of each image in the first epoch, complete when the second one starts; only
            with a `hard_fraction` below 1.
    """

    def __init__(
        self,
        num_images: int,
        batch_size: int,
        seed: int,
        rank: int = 0,
        num_ranks: int = 1,
        epoch: int = 0,
        first_step: int = 0,
        device: torch.device | None = None,
        hard_fraction: float = 1,
        losses: Tensor | None = None,
    ) -> None:
        super().__init__(num_images, rank, num_ranks)
        self.num_images = num_images
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = epoch
        self.first_step = first_step
        self.device = device
        self.hard_fraction = hard_fraction
        self.losses = losses

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch of the next iteration."""
        if epoch != self.epoch:
            self.epoch, self.first_step = epoch, 0

    def __len__(self) -> int:
        """Steps of a whole epoch."""
        return -(-self.num_images // (self.batch_size * self.num_replicas))

    def _order(self) -> Tensor:
        """The images in this epoch's order, on the CPU."""
        generator = torch.Generator().manual_seed(derive_seed(self.seed, self.epoch))
        if self.epoch == 0 or self.losses is None:
            return torch.randperm(self.num_images, generator=generator)
        if not self.losses.any():
            raise UserError(
                "hard_fraction below 1 needs the losses of the first epoch. Add the callback "
                "mnist_lightning.callbacks.image_losses.ImageLosses to the Trainer."
            )
        first = torch.randperm(self.num_images, generator=torch.Generator().manual_seed(derive_seed(self.seed, 0)))
        step_size = self.batch_size * self.num_replicas
        return hard_images_first(self.losses.cpu(), first, step_size, self.hard_fraction, generator)

    def __iter__(self) -> Iterator[BatchKey]:
        batches = list(self._order().to(self.device).split(self.batch_size * self.num_replicas))
        if len(batches[-1]) < self.num_replicas and len(batches) > 1:  # fewer images than ranks
            batches[-2:] = torch.cat(batches[-2:]).tensor_split(2)
        for step, indices in enumerate(batches):
            if step >= self.first_step:
                share = indices.tensor_split(self.num_replicas)[self.rank]
                seed = derive_seed(self.seed, self.epoch, step, self.rank)
                yield BatchKey(share, augmentation_seed=(seed + 1) % 2**64, dropout_seed=seed)


class OrderedBatches(_SharedBatches):
    """Every image once, in order; with several ranks, each takes a share, without padding.

    Args:
        num_images: Number of images in the data set.
        batch_size: Images per batch.
        rank: Which share this process takes.
        num_ranks: Number of processes.
        device: The device of the data set, and of the indices.
    """

    def __init__(
        self, num_images: int, batch_size: int, rank: int = 0, num_ranks: int = 1, device: torch.device | None = None
    ) -> None:
        super().__init__(num_images, rank, num_ranks)
        self.batches = torch.arange(num_images, device=device).tensor_split(num_ranks)[rank].split(batch_size)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[BatchKey]:
        return (BatchKey(indices) for indices in self.batches)
