"""Which images a step gets, and what randomness."""

import pytest
import torch

from mnist_lightning.data.batches import (
    BatchDataset,
    BatchKey,
    LabelledImages,
    OrderedBatches,
    ShuffledBatches,
    hard_images_first,
)
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


def decaying_losses(order: torch.Tensor, hard: torch.Tensor) -> torch.Tensor:
    """Losses that halve every 1,000 images of an epoch; those of hard images are ten times as large."""
    losses = torch.empty(len(order))
    losses[order] = 0.5 ** (torch.arange(len(order)) / 1000)
    losses[hard] *= 10
    return losses


def test_hard_images_come_first_and_some_others() -> None:
    order = torch.randperm(8000, generator=torch.Generator().manual_seed(1))
    hard = torch.arange(0, 8000, 5)  # a fifth: late ones have smaller losses than early easy ones
    losses = decaying_losses(order, hard)
    found = hard_images_first(losses, order, 100, 0.25, torch.Generator().manual_seed(2))
    assert found.sort().values.equal(torch.arange(8000))
    first = found[:2000]
    assert torch.isin(hard, first).all()
    assert float(torch.isin(first[:1000], hard).float().mean()) == pytest.approx(0.8, abs=0.03)  # shuffled
    assert not found.equal(hard_images_first(losses, order, 100, 0.25, torch.Generator().manual_seed(3)))


def test_images_that_the_first_epoch_did_not_reach_come_last() -> None:
    order = torch.randperm(8000, generator=torch.Generator().manual_seed(1))
    losses = decaying_losses(order, torch.arange(0, 8000, 5))
    losses[order[4000:]] = 0
    found = hard_images_first(losses, order, 100, 0.5, torch.Generator().manual_seed(2))
    assert torch.isin(found[:4000], order[:4000]).float().mean() > 0.8


def test_the_first_epoch_does_not_depend_on_losses() -> None:
    plain, losses = ShuffledBatches(1000, 10, seed=0), torch.rand(1000)
    hard = ShuffledBatches(1000, 10, seed=0, hard_fraction=0.5, losses=losses)
    assert [key.indices.tolist() for key in hard] == [key.indices.tolist() for key in plain]
    for sampler in (plain, hard):
        sampler.set_epoch(1)
    keys = list(hard)
    assert [key.indices.tolist() for key in keys] != [key.indices.tolist() for key in plain]
    assert [key.dropout_seed for key in keys] == [key.dropout_seed for key in plain]
    seen = torch.cat([key.indices for key in keys])
    assert seen.sort().values.equal(torch.arange(1000))
    assert losses[seen[:500]].mean() > losses[seen[500:]].mean() + 0.2


def test_ranks_share_the_hard_images() -> None:
    losses = torch.rand(1000)
    alone, *shares = (
        list(ShuffledBatches(1000, 20 // num_ranks, 0, rank, num_ranks, 1, hard_fraction=0.5, losses=losses))
        for rank, num_ranks in ((0, 1), (0, 2), (1, 2))
    )
    for whole, *parts in zip(alone, *shares, strict=True):
        assert torch.cat([part.indices for part in parts]).equal(whole.indices)


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
