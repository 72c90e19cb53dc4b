"""The speed-up of each optimisation of a training step, and its effect on the loss."""

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from typing import Any

from benchmarks.speed.bare_loop import Loop, Setting
from benchmarks.speed.turns import Portion, Run, Turns, close_on_exit, log

NUM_WARM_UP_TURNS = 1


@dataclass(frozen=True)
class Change:
    """A change with the setting after it; the previous change has the setting before it."""

    title: str
    setting: Setting
    # Whether both settings see the same batches and drop the same activations, so that losses compare step by step.
    # "without dropout": only then, because PyTorch draws masks in memory order, and the fused layers draw positions.
    has_same_draws: bool | str

    def compared(self, before: "Change") -> list[Setting]:
        """The settings before and after, whose losses compare step by step."""
        settings = [before.setting, self.setting]
        if self.has_same_draws == "without dropout":
            settings = [replace(setting, dropout=0.0) for setting in settings]
        return settings


def _ladder() -> Iterator[Change]:
    setting = Setting(whole_batches=False, channels_last=False, backend="layers")
    yield Change("at first: images one by one, PyTorch's layers in float32", setting, False)
    setting = replace(setting, whole_batches=True)
    yield Change("whole batches by index, augmented at once", setting, False)
    setting = replace(setting, channels_last=True)
    yield Change("channels-last memory order", setting, "without dropout")
    setting = replace(setting, backend="fused")
    yield Change("convolution, batch norm, ReLU, dropout and pooling together", setting, "without dropout")
    setting = replace(setting, is_bfloat16=True)
    yield Change("bfloat16 convolutions", setting, True)


CHANGES = tuple(_ladder())


def run_steps(turns: Turns, setting: Setting, num_steps: int, num_turns: int) -> None:
    """Runs `num_steps` steps per turn."""
    steps = iter(Loop(setting, num_epochs=15))
    for _ in range(num_turns):
        turns.wait()
        start = time.perf_counter()
        losses = [float(loss) for loss in islice(steps, num_steps)]
        turns.end({"seconds": time.perf_counter() - start, "losses": losses})
    turns.wait()


def measure_changes(changes: Sequence[Change], num_turns: int, num_steps: int) -> dict[str, Any]:
    """Milliseconds per step and losses of each change; the settings take turns of `num_steps` steps."""
    settings = [change.setting for change in changes]
    settings += [setting for before, after in pairwise(changes) for setting in after.compared(before)]
    runs = {setting: Run(run_steps, (setting, num_steps, num_turns)) for setting in dict.fromkeys(settings)}
    portions: dict[Setting, list[Portion]] = {setting: [] for setting in runs}
    with close_on_exit(runs.values()):
        for number in range(num_turns):
            for setting, run in runs.items():
                portions[setting].append(run.take_turn())
            log(f"turn {number + 1} of {num_turns}: {num_steps} steps of each of {len(runs)} settings")
    losses = {setting: [loss for portion in taken for loss in portion["losses"]] for setting, taken in portions.items()}
    rows = []
    for number, change in enumerate(changes):
        counted = portions[change.setting][NUM_WARM_UP_TURNS:]
        row: dict[str, Any] = {
            "title": change.title,
            "step_milliseconds": [portion["seconds"] / num_steps * 1000 for portion in counted],
            "mean_loss_of_last_half": statistics.mean(losses[change.setting][num_turns * num_steps // 2 :]),
        }
        if change.has_same_draws:
            pairs = zip(*(losses[setting] for setting in change.compared(changes[number - 1])), strict=True)
            differences = [abs(a - b) for a, b in pairs]
            row |= {
                "same_draws": change.has_same_draws,
                "loss_difference_of_first_step": differences[0],
                "mean_loss_difference": statistics.mean(differences),
                "largest_loss_difference": max(differences),
            }
        rows.append(row)
    return {"num_turns": num_turns, "num_steps": num_steps, "changes": rows}
