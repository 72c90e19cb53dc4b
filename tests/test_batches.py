"""Which images a step gets, and what randomness."""

import pytest
import torch

from mnist_lightning.data.batches import (
    EvaluationBatches,
    LabelledImages,
    TrainingBatches,
    derive_seed,
    hard_images_first,
)
from mnist_lightning.errors import UserError


def images(num: int) -> LabelledImages:
    """Images of one pixel."""
    return LabelledImages((torch.arange(num) % 251).byte().view(num, 1, 1, 1), torch.arange(num))


def indices(batches: TrainingBatches | EvaluationBatches) -> list[list[int]]:
    """The images of each batch."""
    return [batch.labels.tolist() for batch in batches]


def flat(batches: list[list[int]]) -> list[int]:
    return [index for batch in batches for index in batch]


def test_every_image_once_an_epoch_and_the_last_batch_is_kept() -> None:
    batches = TrainingBatches(images(60_000), 512, seed=0)
    found = indices(batches)
    assert len(found) == len(batches) == 118
    assert [len(batch) for batch in found[-2:]] == [512, 96]
    assert sorted(flat(found)) == list(range(60_000))


def test_seed_and_epoch_decide_the_order() -> None:
    def first(seed: int, epoch: int) -> tuple[int, ...]:
        batches = TrainingBatches(images(1000), 10, seed)
        batches.set_epoch(epoch)
        return tuple(indices(batches)[0])

    assert first(0, 0) == first(0, 0)
    assert len({first(seed, epoch) for seed in range(3) for epoch in range(3)}) == 9


def test_every_step_of_every_rank_has_two_seeds_of_its_own() -> None:
    seeds = set()
    for seed in range(3):
        for rank in range(2):
            batches = TrainingBatches(images(1000), 10, seed, rank, 2)
            for epoch in range(3):
                batches.set_epoch(epoch)
                for batch in batches:
                    seeds |= {batch.augmentation_seed, batch.dropout_seed}
    assert len(seeds) == 2 * 3 * 3 * 2 * 50


@pytest.mark.parametrize("num_images", [1000, 73])  # of 73, one is left for the last step of three ranks
@pytest.mark.parametrize("num_ranks", [2, 3])
def test_ranks_share_what_one_process_would_see(num_ranks: int, num_images: int) -> None:
    shares = [indices(TrainingBatches(images(num_images), 12, 0, rank, num_ranks)) for rank in range(num_ranks)]
    assert len({len(share) for share in shares}) == 1
    assert all(len(batch) > 0 for share in shares for batch in share)
    together = [index for step in zip(*shares, strict=True) for batch in step for index in batch]
    assert together == flat(indices(TrainingBatches(images(num_images), num_images, 0)))


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
    plain, hard = (TrainingBatches(images(1000), 10, 0, hard_fraction=fraction) for fraction in (1, 0.5))
    assert indices(hard) == indices(plain)
    for batches in (plain, hard):
        batches.set_epoch(1)
    with pytest.raises(UserError, match=r"add the callback mnist_lightning\.callbacks\.hard_images\.HardImages"):
        next(iter(hard))
    hard.losses = torch.rand(1000)
    assert indices(hard) != indices(plain)
    assert [batch.dropout_seed for batch in hard] == [batch.dropout_seed for batch in plain]
    seen = torch.tensor(flat(indices(hard)))
    assert seen.sort().values.equal(torch.arange(1000))
    assert hard.losses[seen[:500]].mean() > hard.losses[seen[500:]].mean() + 0.2


@pytest.mark.parametrize("num_ranks", [1, 2, 3])
def test_evaluation_sees_every_image_once(num_ranks: int) -> None:
    seen = [indices(EvaluationBatches(images(10_000), 1000, rank, num_ranks)) for rank in range(num_ranks)]
    assert [index for each in seen for index in flat(each)] == list(range(10_000))


def test_a_batch_is_the_images_asked_for() -> None:
    for batches in (TrainingBatches(images(20), 5, seed=0), EvaluationBatches(images(20), 5)):
        for batch in batches:
            assert batch.images.dtype == torch.uint8
            assert batch.images.flatten().tolist() == batch.labels.tolist()
            assert batch.indices is not None
            assert batch.indices.equal(batch.labels)


def test_seeds_of_epochs_steps_and_ranks_differ() -> None:
    """Zeros count too: an epoch's order, its first step and that step's first rank have seeds of their own."""
    counters = [(), (0,), (0, 0), (0, 0, 0), (1,), (1, 0), (0, 1), (0, 1, 0), (0, 0, 1)]
    assert len({derive_seed(0, *each) for each in counters}) == len(counters)
