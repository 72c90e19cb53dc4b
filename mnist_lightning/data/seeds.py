"""Seeds of all random draws: functions of (seed, epoch, step, rank), so that runs repeat and resume exactly."""

import numpy as np
import torch


def derive_seed(seed: int, *counters: int) -> int:
    """Mixes a run's seed with counters (epoch, step, rank, ...) into a 64-bit seed.

    Neighbouring inputs give unrelated seeds: https://numpy.org/doc/stable/reference/random/parallel.html
    """
    return int(np.random.SeedSequence(seed, spawn_key=counters).generate_state(1, np.uint64)[0])


def seed_dropout(seed: int, device: torch.device) -> None:
    """Seeds the generator from which dropout on this device draws.

    torch.manual_seed seeds those of all devices. Where no GPU was used, it stores a stack trace for each kind of them,
    which would take about a hundredth of a small step.
    """
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)
