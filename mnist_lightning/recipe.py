"""What the optimizer is at: its learning rate and momentum."""

from lightning.pytorch import Trainer


def current_learning_rate(trainer: Trainer) -> float:
    """The rate that the next optimizer step takes; under Muon that of batch norm, not of the convolutions."""
    return float(trainer.optimizers[0].param_groups[0]["lr"])


def current_momentum(trainer: Trainer) -> float:
    """The momentum that the next optimizer step takes."""
    return float(trainer.optimizers[0].param_groups[0]["momentum"])
