"""The recipe: an optimizer, and the one-cycle schedule of its learning rate."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from lightning.pytorch import Trainer
from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import OneCycleLR
from typing_extensions import override

from mnist_lightning.errors import UserError
from mnist_lightning.fast.muon import Muon

OptimizerName = Literal["sgd", "muon"]
Schedule = Literal["one_cycle", "constant"]


@dataclass(frozen=True)
class Recipe:
    """How a network is optimized, by default as in `configs/optimized.yaml`; `DigitClassifier` explains each field."""

    optimizer: OptimizerName = "sgd"
    max_lr: float = 0.1
    schedule: Schedule = "one_cycle"
    pct_start: float = 0.2
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    muon_lr: float = 0.1
    muon_momentum: float = 0.6

    def build(self, parameters: Iterable[nn.Parameter], total_steps: float) -> tuple[Optimizer, OneCycleLR | None]:
        """The optimizer of these parameters, and its schedule for this number of steps; None for a constant rate."""
        optimizer = self._optimizer(list(parameters))
        if self.schedule == "constant":
            return optimizer, None
        if total_steps == float("inf"):
            raise UserError(
                "--model.schedule one_cycle needs a last step to end at, but --trainer.max_epochs -1 sets none. "
                "Set --trainer.max_epochs or --trainer.max_steps, or use --model.schedule constant."
            )
        pct_start = self.pct_start
        if abs(pct_start * total_steps - 1) < 1e-6:
            pct_start += 1e-6 / total_steps  # OneCycleLR divides by zero where the warm-up is exactly one step
        # Starts at max_lr / 25 and ends at max_lr / 250,000; momentum 0.95 to 0.85 and back: OneCycleLR's defaults.
        return optimizer, OneCycle(
            optimizer,
            [group["lr"] for group in optimizer.param_groups],
            total_steps=int(total_steps),
            pct_start=pct_start,
            cycle_momentum=self.optimizer == "sgd",
        )

    def _optimizer(self, parameters: list[nn.Parameter]) -> Optimizer:
        if self.optimizer == "sgd":
            return SGD(parameters, self.max_lr, self.momentum, weight_decay=self.weight_decay, nesterov=self.nesterov)
        return Muon(
            convs=[parameter for parameter in parameters if parameter.ndim == 4],
            others=[parameter for parameter in parameters if parameter.ndim != 4],
            lr=self.max_lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            conv_lr=self.muon_lr,
            conv_momentum=self.muon_momentum,
        )


class OneCycle(OneCycleLR):
    """OneCycleLR that ignores steps after its last one, where the rate would rise again."""

    @override
    def step(self, epoch: int | None = None) -> None:
        if self.last_epoch + 1 < self.total_steps:
            super().step(epoch)


def current_rates(trainer: Trainer) -> dict[str, float]:
    """Learning rate and momentum of the next step; under Muon those of batch norm, not of the convolutions."""
    group = trainer.optimizers[0].param_groups[0]
    return {"learning_rate": float(group["lr"]), "momentum": float(group["momentum"])}
