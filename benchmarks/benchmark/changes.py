"""The speed-up of each optimisation of a training step, and its effect on the loss."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from typing import Any

from benchmarks.benchmark.bare_loop import Loop, Setting
from benchmarks.benchmark.turns import Portion, Run, Turns, close_on_exit

NUM_WARM_UP_TURNS = 1


@dataclass(frozen=True)
class Change:
    """A change with the setting after it; the previous change has the setting before it."""

    title: str
    setting: Setting
    # Whether both settings see the same batches and drop the same activations, so that losses compare step by step.
    # "without dropout": only then, because PyTorch draws masks in memory order.
    has_same_draws: bool | str


def _ladder() -> Iterator[Change]:
    setting = Setting(
        whole_batches=False, channels_last=False, sparse_dropout=False, backend="layers", keeps_memory=False
    )
    yield Change("at first: images one by one, PyTorch's layers in float32", setting, False)
    setting = replace(setting, whole_batches=True)
    yield Change("whole batches by index, augmented at once", setting, False)
    setting = replace(setting, channels_last=True)
    yield Change("channels-last memory order", setting, "without dropout")
    setting = replace(setting, sparse_dropout=True)
    yield Change("dropout drawn sparsely", setting, False)
    setting = replace(setting, backend="fused")
    yield Change("convolution, batch norm, ReLU, dropout and pooling together", setting, True)
    setting = replace(setting, keeps_memory=True)
    yield Change("freed memory kept for the next step", setting, True)
    setting = replace(setting, is_bfloat16=True)
    yield Change("bfloat16 convolutions", setting, True)


CHANGES = tuple(_ladder())


def run_steps(turns: Turns, setting: Setting, num_steps: int, num_turns: int) -> None:
    """Runs `num_steps` steps per turn."""
    turns.take(_portions(setting, num_steps, num_turns))


def _portions(setting: Setting, num_steps: int, num_turns: int) -> Iterator[Portion]:
    steps = iter(Loop(setting, num_epochs=15))
    for _ in range(num_turns):
        start = time.perf_counter()
        losses = [float(loss) for loss in islice(steps, num_steps)]
        yield {"seconds": time.perf_counter() - start, "losses": losses}


def measure_changes(
    changes: Sequence[Change], num_turns: int, num_steps: int, log: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Runs `num_turns` × `num_steps` steps with each setting; the settings alternate after `num_steps` steps.

    Args:
        changes: cumulative changes.
        num_turns: turns of each setting; the first is warm-up.
        num_steps: steps per turn.
        log: receives a line of progress after each round.

    Returns:
        One row per change: milliseconds per step and losses.
    """
    settings = [change.setting for change in changes]
    for before, after in pairwise(changes):
        if after.has_same_draws == "without dropout":
            settings += [replace(change.setting, dropout=0.0) for change in (before, after)]
    runs = {setting: Run(str(setting), run_steps, (setting, num_steps, num_turns)) for setting in settings}
    portions: dict[Setting, list[Portion]] = {setting: [] for setting in settings}
    with close_on_exit(runs.values()):
        for number in range(num_turns):
            for setting, run in runs.items():
                portions[setting].append(run.take_turn())
            log(f"turn {number + 1} of {num_turns}: {num_steps} steps of each of {len(runs)} settings")
    losses = {setting: [loss for portion in taken for loss in portion["losses"]] for setting, taken in portions.items()}
    rows = []
    for number, after in enumerate(changes):
        row: dict[str, Any] = {
            "title": after.title,
            "step_milliseconds": [
                portion["seconds"] / num_steps * 1000 for portion in portions[after.setting][NUM_WARM_UP_TURNS:]
            ],
            "mean_loss_of_last_half": statistics.mean(losses[after.setting][num_turns * num_steps // 2 :]),
        }
        if after.has_same_draws:
            pair = [changes[number - 1].setting, after.setting]
            if after.has_same_draws == "without dropout":
                pair = [replace(setting, dropout=0.0) for setting in pair]
            differences = [abs(a - b) for a, b in zip(losses[pair[0]], losses[pair[1]], strict=True)]
            row |= {
                "same_draws": after.has_same_draws,
                "loss_difference_of_first_step": differences[0],
                "mean_loss_difference": statistics.mean(differences),
                "largest_loss_difference": max(differences),
            }
        rows.append(row)
    return rows
