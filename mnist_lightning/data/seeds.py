"""Seeds of all random draws: functions of (seed, epoch, step, rank), so that runs repeat and resume exactly."""

import numpy as np


def derive_seed(seed: int, *counters: int) -> int:
    """Mixes a run's seed with counters (epoch, step, rank, ...) into a 64-bit seed.

    Neighbouring inputs give unrelated seeds: https://numpy.org/doc/stable/reference/random/parallel.html
    """
    return int(np.random.SeedSequence(seed, spawn_key=counters).generate_state(1, np.uint64)[0])
