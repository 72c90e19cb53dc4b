"""The Python API, with Lightning's Trainer and PyTorch's loaders."""

import re
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F  # noqa: N812  (PyTorch's usual name)
from torch.utils.data import DataLoader, TensorDataset

from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.datamodule import DigitsDataModule
from mnist_lightning.errors import UserError
from mnist_lightning.runs.checkpoint import load_classifier
from support.runs import quiet_trainer


def loader(num_images: int, batch_size: int) -> DataLoader[tuple[torch.Tensor, ...]]:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(num_images, 1, 28, 28, generator=generator)
    labels = torch.randint(0, 10, (num_images,), generator=generator)
    return DataLoader(TensorDataset(images, labels), batch_size=batch_size)


def test_a_loader_of_images_and_labels() -> None:
    torch.manual_seed(0)
    module, data = DigitClassifier(max_lr=0.01), loader(40, batch_size=16)
    before = {name: value.clone() for name, value in module.net.state_dict().items()}
    trainer = quiet_trainer(max_epochs=1)
    trainer.fit(module, data, val_dataloaders=data)
    assert any(not torch.equal(value, before[name]) for name, value in module.net.state_dict().items())
    (figures,) = trainer.test(module, data, verbose=False)
    module.eval()
    with torch.inference_mode():
        batches = [(module(images), labels) for images, labels in data]
    logits, labels = torch.cat([batch[0] for batch in batches]), torch.cat([batch[1] for batch in batches])
    assert figures["test/loss"] == pytest.approx(float(F.cross_entropy(logits, labels)), abs=1e-6)
    assert figures["test/accuracy"] == pytest.approx(float((logits.argmax(dim=1) == labels).float().mean()), abs=1e-6)
    predictions = trainer.predict(module, DataLoader(TensorDataset(data.dataset.tensors[0]), batch_size=16))  # type: ignore[attr-defined]
    assert predictions is not None
    assert torch.equal(torch.cat([batch.classes for batch in predictions]), logits.argmax(dim=1))  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (DigitClassifier, "optimizer", "adam"),
        (DigitClassifier, "class_names", ("a", "a")),
        (DigitsDataModule, "dataset", "x"),
        (DigitsDataModule, "validation", "x"),
    ],
)
def test_arguments_are_checked(kind: type, name: str, value: object) -> None:
    with pytest.raises(UserError, match=re.escape(f"{name}={value!r}: ")):
        kind(**{name: value})


def test_a_checkpoint_of_lightnings_trainer(tmp_path: Path) -> None:
    """Trained with a loader, without a data module."""
    module, data = DigitClassifier(), loader(40, batch_size=16)
    trainer = quiet_trainer(max_epochs=1)
    trainer.fit(module, data, val_dataloaders=data)
    trainer.save_checkpoint(tmp_path / "mine.ckpt")
    images = torch.rand(3, 1, 28, 28)
    expected = module.eval().probabilities(images)
    torch.testing.assert_close(load_classifier(tmp_path / "mine.ckpt").probabilities(images), expected)
