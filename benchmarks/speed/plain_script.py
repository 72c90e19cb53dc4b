"""The original recipe as a plain PyTorch script: the reference of the benchmark's epochs and whole processes.

It applies torchvision's transforms to one PIL image at a time and computes in float32 with PyTorch's layers. It uses
this project only to read the data files and to take turns.

    python -m benchmarks.speed.plain_script --epochs 15 --workers 2
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (PyTorch's usual name)
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from typing_extensions import override

from benchmarks.speed.turns import Turns
from mnist_lightning.data.batches import LabelledImages
from mnist_lightning.data.datasets import MNIST, default_data_dir
from mnist_lightning.runs.record import hardware, versions

BATCH_SIZE = 512
TO_NORMALISED_TENSOR = [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
AUGMENT = [transforms.RandomRotation(7), transforms.RandomAffine(degrees=0, translate=(0.1, 0.1))]


class Net(nn.Module):
    """The network with 18,962 parameters; maps normalised images (B, 1, 28, 28) to log-probabilities (B, 10)."""

    def __init__(self) -> None:
        super().__init__()

        def conv(in_channels: int, out_channels: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False), nn.BatchNorm2d(out_channels), nn.ReLU()
            )

        self.layers = nn.Sequential(
            *(conv(1, 10), conv(10, 18), nn.Dropout(0.05), nn.MaxPool2d(2)),
            *(conv(18, 18), conv(18, 28), nn.Dropout(0.05), nn.MaxPool2d(2)),
            *(conv(28, 28), conv(28, 10), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        )

    @override
    def forward(self, images: Tensor) -> Tensor:
        return F.log_softmax(self.layers(images), dim=1)


class PilDigits(Dataset[tuple[Tensor, int]]):
    """Like torchvision's MNIST: converts each image to PIL and applies the transforms.

    Args:
        data: Images (N, 1, 28, 28) uint8 and labels (N,).
        transform: Maps a PIL image to a tensor (1, 28, 28).
    """

    def __init__(self, data: LabelledImages, transform: transforms.Compose) -> None:
        self.images, self.labels = data
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    @override
    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = Image.fromarray(self.images[index, 0].numpy())
        return self.transform(image), int(self.labels[index])


@dataclass(frozen=True)
class Epoch:
    """Time, loss and accuracy of one epoch."""

    train_seconds: float
    eval_seconds: float
    train_loss: float
    val_accuracy: float  # on the test images, as in the original


def train(
    data_dir: str | Path, num_epochs: int, num_workers: int, seed: int, max_steps: int | None = None
) -> Iterator[Epoch]:
    """Trains and yields after each epoch.

    Args:
        data_dir: directory that holds MNIST/raw.
        num_epochs: length of the schedule.
        num_workers: number of loader processes.
        seed: for initial weights, order, augmentation and dropout.
        max_steps: steps per epoch, for a quick measurement; None runs all 118.
    """
    torch.manual_seed(seed)
    train_data, test_data = MNIST.read(data_dir)
    train_set = PilDigits(train_data, transforms.Compose([*AUGMENT, *TO_NORMALISED_TENSOR]))
    test_set = PilDigits(test_data, transforms.Compose(TO_NORMALISED_TENSOR))
    train_loader = DataLoader(train_set, BATCH_SIZE, shuffle=True, num_workers=num_workers)
    test_loader = DataLoader(test_set, BATCH_SIZE, num_workers=num_workers)
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    num_steps = min(len(train_loader), max_steps or len(train_loader))
    scheduler = OneCycleLR(optimizer, max_lr=0.1, epochs=num_epochs, steps_per_epoch=num_steps, pct_start=0.2)
    for _ in range(num_epochs):
        start = time.perf_counter()
        net.train()
        loss_sum = 0.0
        for step, (images, labels) in enumerate(train_loader, start=1):
            optimizer.zero_grad()
            loss = F.nll_loss(net(images), labels)
            loss.backward()
            optimizer.step()
            scheduler.step()
            loss_sum += loss.item()
            if step == num_steps:
                break
        trained = time.perf_counter()
        accuracy = evaluate(net, test_loader)
        yield Epoch(trained - start, time.perf_counter() - trained, loss_sum / num_steps, accuracy)


@torch.no_grad()
def evaluate(net: nn.Module, loader: DataLoader[tuple[Tensor, int]]) -> float:
    """Accuracy in [0, 1] of `net` on all images of `loader`."""
    net.eval()
    num_correct = num_images = 0
    for images, labels in loader:
        num_correct += int((net(images).argmax(dim=1) == labels).sum())
        num_images += len(labels)
    return num_correct / num_images


def train_in_turns(turns: Turns, num_epochs: int, max_steps: int | None, num_workers: int) -> None:
    """Trains one epoch per turn."""
    turns.take(
        {
            "train_seconds": epoch.train_seconds,
            "seconds": epoch.train_seconds + epoch.eval_seconds,
            "accuracy": epoch.val_accuracy,
        }
        for epoch in train(default_data_dir(), num_epochs, num_workers, seed=0, max_steps=max_steps)
    )


def main() -> None:
    """Trains, prints a line per epoch and optionally writes all epochs to a file."""
    parser = argparse.ArgumentParser(description="Train the original recipe with a plain PyTorch script.")
    parser.add_argument("--data_dir", default=default_data_dir(), help="directory that holds MNIST/raw")
    parser.add_argument("--epochs", type=int, default=15, help="length of the schedule")
    parser.add_argument("--workers", type=int, default=0, help="number of loader processes")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, order, augmentation and dropout")
    parser.add_argument("--max_steps", type=int, help="steps per epoch; all by default")
    parser.add_argument("--output", type=Path, help="JSON file for the epochs")
    args = parser.parse_args()
    epochs = []
    for number, epoch in enumerate(train(args.data_dir, args.epochs, args.workers, args.seed, args.max_steps), start=1):
        epochs.append({"epoch": number, **asdict(epoch)})
        print(
            f"epoch {number:2}  training {epoch.train_loss:.4f} {epoch.train_seconds:.1f} s"
            f"  test {epoch.val_accuracy:.2%} {epoch.eval_seconds:.1f} s",
            flush=True,
        )
    if args.output:
        report = {"seed": args.seed, "workers": args.workers, "epochs": epochs}
        report |= {"hardware": hardware(), "versions": versions()}
        args.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
