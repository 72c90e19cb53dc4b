"""Batches by index: images stay in memory as uint8, and one indexing operation fetches a whole batch."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from mnist_lightning.data.seeds import derive_seed


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
        return Batch(self.data.images[key.indices], self.data.labels[key.indices], *key[1:])


class ShuffledBatches(Sampler[BatchKey]):
    """Every image once an epoch, in an order that depends on (seed, epoch).

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
        """Sets the epoch of the next iteration."""
        if epoch != self.epoch:
            self.epoch, self.first_step = epoch, 0

    def __len__(self) -> int:
        """Steps of a whole epoch."""
        return -(-self.num_images // (self.batch_size * self.num_ranks))

    def __iter__(self) -> Iterator[BatchKey]:
        generator = torch.Generator().manual_seed(derive_seed(self.seed, self.epoch))
        order = torch.randperm(self.num_images, generator=generator).to(self.device)
        batches = list(order.split(self.batch_size * self.num_ranks))
        if len(batches[-1]) < self.num_ranks and len(batches) > 1:  # fewer images than ranks
            batches[-2:] = torch.cat(batches[-2:]).tensor_split(2)
        for step, indices in enumerate(batches):
            if step >= self.first_step:
                share = indices.tensor_split(self.num_ranks)[self.rank]
                seed = derive_seed(self.seed, self.epoch, step, self.rank)
                yield BatchKey(share, augmentation_seed=(seed + 1) % 2**64, dropout_seed=seed)


class OrderedBatches(Sampler[BatchKey]):
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
        self.batches = torch.arange(num_images, device=device).tensor_split(num_ranks)[rank].split(batch_size)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[BatchKey]:
        return (BatchKey(indices) for indices in self.batches)
