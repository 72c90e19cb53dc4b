"""Batches by index: images stay in memory as uint8, and one indexing operation fetches a whole batch."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from mnist_lightning.data.seeds import derive_seed


class LabelledImages(NamedTuple):
    """A set of images in memory."""

    images: Tensor  # (N, 1, 28, 28) uint8
    labels: Tensor  # (N,) int64 in 0..9


class Batch(NamedTuple):
    """What a step works on; its two seeds are the only randomness that the step uses."""

    images: Tensor  # (B, 1, 28, 28), uint8 from the loader, normalised float32 in a step
    labels: Tensor  # (B,) int64 in 0..9
    augmentation_seed: int = 0
    dropout_seed: int = 0


class BatchKey(NamedTuple):
    """What a sampler asks a dataset for."""

    indices: Tensor  # (B,) int64
    augmentation_seed: int = 0
    dropout_seed: int = 0


class BatchDataset(Dataset[Batch]):
    """A map from a batch's key to the batch: with `batch_size=None` a DataLoader hands keys through as they are.

    Args:
        data: The images and labels.
    """

    def __init__(self, data: LabelledImages) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data.labels)

    def __getitem__(self, key: BatchKey) -> Batch:
        return Batch(self.data.images[key.indices], self.data.labels[key.indices], *key[1:])


class ShuffledBatches(Sampler[BatchKey]):
    """Every image once an epoch, in an order that (seed, epoch) decides.

    With several ranks each batch of `batch_size × num_ranks` images is shared out evenly, the last one too, so the
    ranks take equally many steps and no image is seen twice.

    Args:
        num_images: Number of images in the data set.
        batch_size: Images per batch and rank.
        seed: The run's seed.
        rank: Which share of each batch this process gets.
        num_ranks: Number of processes.
        epoch: The first epoch to run; Lightning counts on with `set_epoch`.
        first_step: Steps of the first epoch that were taken before, in a run that is resumed.
        device: Where the data set lies, and the indices with it.
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
    ) -> None:
        self.num_images = num_images
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.num_ranks = num_ranks
        self.epoch = epoch
        self.first_step = first_step
        self.device = device

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose order the next iteration takes."""
        if epoch != self.epoch:
            self.epoch, self.first_step = epoch, 0

    def __len__(self) -> int:
        """Steps of a whole epoch."""
        return -(-self.num_images // (self.batch_size * self.num_ranks))

    def __iter__(self) -> Iterator[BatchKey]:
        generator = torch.Generator().manual_seed(derive_seed(self.seed, self.epoch))
        order = torch.randperm(self.num_images, generator=generator).to(self.device)
        batches = list(order.split(self.batch_size * self.num_ranks))
        if len(batches[-1]) < self.num_ranks and len(batches) > 1:  # too few to go round
            batches[-2:] = torch.cat(batches[-2:]).tensor_split(2)
        for step, indices in enumerate(batches):
            if step >= self.first_step:
                share = indices.tensor_split(self.num_ranks)[self.rank]
                seed = derive_seed(self.seed, self.epoch, step, self.rank)
                yield BatchKey(share, augmentation_seed=(seed + 1) % 2**64, dropout_seed=seed)


class OrderedBatches(Sampler[BatchKey]):
    """Every image once, in order; with several ranks, each rank its own share, without padding.

    Args:
        num_images: Number of images in the data set.
        batch_size: Images per batch.
        rank: Which share this process gets.
        num_ranks: Number of processes.
        device: Where the data set lies, and the indices with it.
    """

    def __init__(
        self, num_images: int, batch_size: int, rank: int = 0, num_ranks: int = 1, device: torch.device | None = None
    ) -> None:
        self.batches = torch.arange(num_images, device=device).tensor_split(num_ranks)[rank].split(batch_size)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[BatchKey]:
        return (BatchKey(indices) for indices in self.batches)
