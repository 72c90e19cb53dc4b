"""Which images a step gets, and what randomness."""

import pytest
import torch

from mnist_lightning.data.batches import BatchDataset, BatchKey, LabelledImages, OrderedBatches, ShuffledBatches
from mnist_lightning.data.seeds import derive_seed


def test_every_image_once_an_epoch_and_the_last_batch_is_kept() -> None:
    keys = list(ShuffledBatches(60_000, 512, seed=0))
    assert len(keys) == len(ShuffledBatches(60_000, 512, seed=0)) == 118
    assert [len(key.indices) for key in keys[-2:]] == [512, 96]
    assert torch.cat([key.indices for key in keys]).sort().values.equal(torch.arange(60_000))


def test_seed_and_epoch_decide_the_order() -> None:
    def first(seed: int, epoch: int) -> list[int]:
        indices: list[int] = next(iter(ShuffledBatches(1000, 10, seed, epoch=epoch))).indices.tolist()
        return indices

    assert first(0, 0) == first(0, 0)
    assert len({tuple(first(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


def test_set_epoch_is_the_same_as_starting_there() -> None:
    sampler = ShuffledBatches(100, 10, seed=3)
    sampler.set_epoch(5)
    started = ShuffledBatches(100, 10, seed=3, epoch=5)
    assert [key.indices.tolist() for key in sampler] == [key.indices.tolist() for key in started]


def test_every_step_of_every_rank_has_two_seeds_of_its_own() -> None:
    seeds = {
        step_seed
        for seed in range(3)
        for epoch in range(3)
        for rank in range(2)
        for key in ShuffledBatches(1000, 10, seed, rank, 2, epoch)
        for step_seed in (key.augmentation_seed, key.dropout_seed)
    }
    assert len(seeds) == 2 * 3 * 3 * 2 * 50


@pytest.mark.parametrize("num_ranks", [2, 3])
def test_ranks_share_what_one_process_would_see(num_ranks: int) -> None:
    alone = [set(key.indices.tolist()) for key in ShuffledBatches(1000, 12 * num_ranks, seed=0)]
    shares = [list(ShuffledBatches(1000, 12, 0, rank, num_ranks)) for rank in range(num_ranks)]
    assert len({len(share) for share in shares}) == 1
    together = [[index for share in shares for index in share[step].indices.tolist()] for step in range(len(shares[0]))]
    assert [set(step) for step in together] == alone
    assert sum(map(len, together)) == 1000


@pytest.mark.parametrize("num_ranks", [1, 2, 3])
def test_evaluation_sees_every_image_once(num_ranks: int) -> None:
    seen = [key.indices for rank in range(num_ranks) for key in OrderedBatches(10_000, 1000, rank, num_ranks)]
    assert torch.cat(seen).equal(torch.arange(10_000))


def test_a_batch_is_the_images_asked_for() -> None:
    images = torch.arange(20, dtype=torch.uint8).view(5, 1, 2, 2)
    batch = BatchDataset(LabelledImages(images, torch.arange(5)))[BatchKey(torch.tensor([3, 0]), 8, 7)]
    assert batch.images.dtype == torch.uint8
    assert batch.images[:, 0, 0, 0].tolist() == [12, 0]
    assert batch.labels.tolist() == [3, 0]
    assert (batch.augmentation_seed, batch.dropout_seed) == (8, 7)


def test_seeds_of_epochs_steps_and_ranks_differ() -> None:
    """Zeros count too: an epoch's order, its first step and that step's first rank have seeds of their own."""
    counters = [(), (0,), (0, 0), (0, 0, 0), (1,), (1, 0), (0, 1), (0, 1, 0), (0, 0, 1)]
    assert len({derive_seed(0, *each) for each in counters}) == len(counters)
