"""The stratified split."""

import torch

from mnist_lightning.data.batches import LabelledImages
from mnist_lightning.data.datasets import stratified_split


def test_every_class_keeps_its_share(mnist: tuple[LabelledImages, LabelledImages]) -> None:
    labels = mnist[0].labels
    kept, held_out = stratified_split(labels, 5000, seed=0)
    assert len(held_out) == 5000
    assert torch.cat([kept, held_out]).sort().values.equal(torch.arange(60_000))
    shares = labels[held_out].bincount(minlength=10) - labels.bincount(minlength=10) * (5000 / 60_000)
    assert shares.abs().max() <= 1


def test_only_the_seed_determines_the_split() -> None:
    labels = torch.arange(1000) % 10
    torch.manual_seed(1)
    first = stratified_split(labels, 100, seed=0)[1]
    torch.manual_seed(2)
    assert first.equal(stratified_split(labels, 100, seed=0)[1])
    assert not first.equal(stratified_split(labels, 100, seed=1)[1])
