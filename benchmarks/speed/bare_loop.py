"""The training loop without the Trainer, with every change that made it faster as a setting of its own."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (the name that all of PyTorch uses)
from torch.utils.data import DataLoader
from torchvision import transforms

from benchmarks.speed.plain_script import AUGMENT, PilDigits, evaluate
from mnist_lightning.classifier import Backend, DigitClassifier
from mnist_lightning.data.batches import seed_dropout
from mnist_lightning.data.datasets import MNIST, default_data_dir
from mnist_lightning.datamodule import DigitsDataModule
from mnist_lightning.network import CHANNELS
from mnist_lightning.recipe import Recipe

NUM_TRAIN_IMAGES = 60_000


@dataclass(frozen=True)
class Setting:
    """How the recipe is computed. The defaults are what `fit` does with `optimized.yaml`."""

    batch_size: int = 512
    width: int = 1  # times the channels
    dropout: float = 0.05
    whole_batches: bool = True  # else one image at a time, through torchvision's transforms of PIL images
    channels_last: bool = True
    backend: Backend = "fused"
    is_bfloat16: bool = False


class Loop:
    """Trains with the recipe; iterating takes the steps, `max_steps` or all of each epoch."""

    def __init__(self, setting: Setting, num_epochs: int, seed: int = 0, max_steps: int | None = None) -> None:
        self.setting = setting
        self.num_epochs = num_epochs  # of the schedule
        self.num_images = 0  # trained on so far
        all_steps = -(-NUM_TRAIN_IMAGES // setting.batch_size)
        self.steps_per_epoch = min(all_steps, max_steps or all_steps)
        torch.manual_seed(seed)
        self.module = DigitClassifier(
            dropout=setting.dropout,
            channels=tuple(tuple(setting.width * number for number in block) for block in CHANNELS),
            channels_last=setting.channels_last,
            backend=setting.backend,
        )
        self.data = DigitsDataModule(batch_size=setting.batch_size, seed=seed)
        self.data.setup("fit")

    def __iter__(self) -> Iterator[Tensor]:
        """Yields the loss, a scalar, after each step."""
        total_steps = self.num_epochs * self.steps_per_epoch
        optimizer, schedule = Recipe().build(self.module.parameters(), total_steps)
        assert schedule is not None
        for epoch in range(self.num_epochs):
            for images, labels in islice(self._batches(epoch), self.steps_per_epoch):
                self.module.train()
                with torch.autocast("cpu", torch.bfloat16, enabled=self.setting.is_bfloat16):
                    logits = self.module(images)
                loss = F.cross_entropy(logits.float(), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                self.num_images += len(labels)
                yield loss.detach()

    def _batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        if not self.setting.whole_batches:
            digits = PilDigits(MNIST.read(default_data_dir())[0], transforms.Compose([*AUGMENT, transforms.ToTensor()]))
            yield from DataLoader(digits, self.setting.batch_size, shuffle=True)
            return
        loader = self.data.train_dataloader()
        loader.set_epoch(epoch)
        for batch in loader:
            prepared = self.data.prepare(batch, augment=True)
            seed_dropout(prepared.dropout_seed, prepared.images.device)
            yield prepared.images, prepared.labels

    def evaluate(self) -> float:
        """Accuracy on the test images, in [0, 1]."""
        batches = (self.data.prepare(batch, augment=False)[:2] for batch in self.data.test_dataloader())
        with torch.autocast("cpu", torch.bfloat16, enabled=self.setting.is_bfloat16):
            return evaluate(self.module, batches)  # type: ignore[arg-type]  # any batches do
