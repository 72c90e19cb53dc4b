"""Ends runs at a chosen place, and compares a resumed run with one that nothing interrupted."""

import os
import signal
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback

from mnist_lightning.runs.checkpoint import load_checkpoint
from support.runs import read_report


class SignalAt(Callback):
    """Sends this process a signal.

    Args:
        hook: Name of a hook; or of a file of the run, to send it when its new content is written but not in place.
        occurrence: The call of the hook at which to send it, from 1.
        signal_number: Which signal.
    """

    def __init__(self, hook: str, occurrence: int = 1, signal_number: int = int(signal.SIGKILL)) -> None:
        self.num_left = occurrence
        self.signal_number = signal_number
        if "." in hook:
            replace = os.replace

            def send_or_replace(source: Any, target: Any, **options: Any) -> None:
                if Path(target).name == hook:
                    self._count()
                replace(source, target, **options)

            os.replace = send_or_replace  # type: ignore[assignment]
        else:
            setattr(self, hook, self._count)

    def _count(self, *args: Any) -> None:
        self.num_left -= 1
        if self.num_left == 0:
            os.kill(os.getpid(), self.signal_number)


def signal_at(hook: str, occurrence: int, number: signal.Signals) -> list[str]:
    """The options that add a SignalAt to a run."""
    values = {"hook": hook, "occurrence": occurrence, "signal_number": int(number)}
    options = [word for name, value in values.items() for word in (f"--trainer.callbacks.{name}", str(value))]
    return ["--trainer.callbacks+=support.kills.SignalAt", *options]


def assert_same_run(folder: Path, wanted: Path) -> None:
    """Compares the checkpoints and the records of two runs: all figures but those of the clock, bit for bit."""
    assert without_clock(read_report(folder)) == without_clock(read_report(wanted))
    names = sorted(path.name for path in (wanted / "checkpoints").iterdir())
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == names
    for name in names:
        found, expected = (load_checkpoint(each / "checkpoints" / name) for each in (folder, wanted))
        for key in ("state_dict", "optimizer_states", "current_model_state"):
            torch.testing.assert_close(found.get(key), expected.get(key), rtol=0, atol=0, msg=f"{name}: {key}")
        for key in ("lr_schedulers", "global_step", "epoch"):
            assert found[key] == expected[key], f"{name}: {key}"


def without_clock(report: dict[str, Any]) -> dict[str, Any]:
    """A record without the fields that differ after resuming: seconds, command, and `resumed_after`."""
    epochs = [{name: value for name, value in row.items() if name != "seconds"} for row in report["epochs"]]
    rest = {
        key: value for key, value in report.items() if key not in ("wall_clock_seconds", "resumed_after", "command")
    }
    return rest | {"epochs": epochs}
