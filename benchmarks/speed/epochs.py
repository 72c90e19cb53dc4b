"""Times epochs of the plain script, `fit` and a bare loop in alternation, and `fit` beside other processes."""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from benchmarks.speed.bare_loop import Loop, Setting
from benchmarks.speed.plain_script import train_in_turns
from benchmarks.speed.turns import ENVIRONMENT_OF_FIT, Portion, Run, Turns, close_on_exit, log
from benchmarks.speed.whole_process import run_process
from mnist_lightning.fast.bfloat16 import BFloat16WhereFast
from mnist_lightning.main import main

NUM_WARM_UP_EPOCHS = 1


def fit_in_turns(turns: Turns, num_epochs: int, max_steps: int | None, *args: str) -> None:
    """Runs `fit` with a callback that waits for its turn before each epoch."""
    TakeTurns.turns = turns
    command = ["fit", "--config", "configs/optimized.yaml", *args, "--trainer.max_epochs", str(num_epochs)]
    command += ["--early_stopping.stopping_threshold", "null"]
    command += ["--trainer.callbacks+=benchmarks.speed.epochs.TakeTurns"]
    if max_steps is not None:
        command += ["--trainer.limit_train_batches", str(max_steps)]
    with tempfile.TemporaryDirectory() as directory:
        main([*command, "--trainer.default_root_dir", directory])
    # Only now, so that the other rows do not run beside the end of this one; and the process ends after all turns.
    turns.end(TakeTurns.portion)
    turns.wait()


class TakeTurns(Callback):
    """Makes each epoch of `fit` one turn."""

    # On the class, because a config cannot contain it, and the last portion is sent when the Trainer is gone.
    turns: Turns
    portion: Portion

    def __init__(self) -> None:
        TakeTurns.portion = {}
        self._start_seconds = self._trained_seconds = 0.0

    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.portion:
            self._measure_end()  # only now, to include the other callbacks' work at the end of the epoch
            self.turns.end(self.portion)
        self.turns.wait()
        self._start_seconds = time.perf_counter()

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize()
        self._trained_seconds = time.perf_counter()

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        TakeTurns.portion = {
            "train_seconds": self._trained_seconds - self._start_seconds,
            "accuracy": float(trainer.callback_metrics["val/accuracy"]),
        }

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._measure_end()

    def _measure_end(self) -> None:
        self.portion["seconds"] = time.perf_counter() - self._start_seconds


def run_bare_loop(turns: Turns, num_epochs: int, max_steps: int | None) -> None:
    """Runs the computations of `fit` with `cpu.yaml` without the Trainer."""
    loop = Loop(Setting(is_bfloat16=BFloat16WhereFast().is_active), num_epochs, max_steps=max_steps)
    losses = iter(loop)
    for _ in range(num_epochs):
        turns.wait()
        start = time.perf_counter()
        for _ in islice(losses, loop.steps_per_epoch):
            pass
        trained = time.perf_counter()
        accuracy = loop.evaluate()
        seconds = time.perf_counter() - start
        turns.end({"train_seconds": trained - start, "seconds": seconds, "accuracy": accuracy})
    turns.wait()


@dataclass(frozen=True)
class Contender:
    """One row of the benchmark: one process, or several that run side by side."""

    name: str
    title: str
    work: Callable[..., None]
    args: tuple[Any, ...] = ()
    num_threads: int | None = None
    args_of_each: tuple[tuple[str, ...], ...] = ((),)  # what each process has in addition
    is_beside_busy_process: bool = False

    def start(self, num_epochs: int, max_steps: int | None) -> list[Run]:
        """Starts the processes; the plain script keeps PyTorch's own way to wait for threads."""
        environment = {} if self.work is train_in_turns else dict(ENVIRONMENT_OF_FIT)
        if self.num_threads is not None:
            environment["OMP_NUM_THREADS"] = str(self.num_threads)
        arguments = (num_epochs, max_steps, *self.args)
        return [Run(self.work, (*arguments, *args), environment) for args in self.args_of_each]

    def take_turn(self, runs: Sequence[Run]) -> list[Portion]:
        """Runs one epoch of each process, side by side."""
        with busy_process() if self.is_beside_busy_process else nullcontext():
            for run in runs:
                run.start_turn()
            return [run.finish_turn() for run in runs]


CPU = ("--config", "configs/cpu.yaml")
TWO_SEEDS = (("--seed_everything", "0"), ("--seed_everything", "1"))
PLAIN = (
    Contender("plain", "plain script", train_in_turns, (0,)),
    Contender("plain_2_workers", "plain script, 2 loader workers", train_in_turns, (2,)),
)
CONTENDERS = (
    *PLAIN,
    Contender("optimized", "`optimized.yaml`", fit_in_turns),
    Contender("cpu", "`optimized.yaml` + `cpu.yaml`", fit_in_turns, CPU),
    Contender("bare", "bare loop: the same without the Trainer", run_bare_loop),
)
FAST_TITLE = "`fit --config configs/fast.yaml --config configs/cpu.yaml`"
FAST = Contender("fast", FAST_TITLE, run_process, ("--config", "configs/fast.yaml", *CPU))
GPU = Contender("gpu", "`optimized.yaml` + `gpu.yaml`", fit_in_turns, ("--config", "configs/gpu.yaml"))
# Timed in many short turns, because the Trainer's cost is smaller than the noise between two epochs.
TRAINER = CONTENDERS[-2:]
# `optimized.yaml` + `cpu.yaml` beside itself and beside another process.
CONTENTION = (
    Contender("alone_2_threads", "2 threads, alone", fit_in_turns, CPU, 2),
    Contender("alone_1_thread", "1 thread, alone", fit_in_turns, CPU, 1),
    Contender("side_by_side", "1 thread each, two seeds side by side", fit_in_turns, CPU, 1, TWO_SEEDS),
    Contender("busy_2_threads", "2 threads, beside a busy process", fit_in_turns, CPU, 2, is_beside_busy_process=True),
    Contender("busy_1_thread", "1 thread, beside a busy process", fit_in_turns, CPU, 1, is_beside_busy_process=True),
    Contender("two_runs", "2 threads each, two seeds side by side", fit_in_turns, CPU, 2, TWO_SEEDS),
)


@contextmanager
def busy_process() -> Iterator[subprocess.Popen[bytes]]:
    """A process that keeps one core busy until the block ends."""
    with subprocess.Popen([sys.executable, "-c", "while True: sum(range(1_000_000))"]) as process:
        time.sleep(0.5)  # until it has started
        try:
            yield process
        finally:
            process.kill()


def time_epochs(contenders: Sequence[Contender], num_rounds: int, max_steps: int | None) -> list[dict[str, Any]]:
    """Seconds and accuracy of one epoch of each contender per round, after a round of warm-up, and peak memory."""
    num_epochs = NUM_WARM_UP_EPOCHS + num_rounds
    runs = [contender.start(num_epochs, max_steps) for contender in contenders]
    turns: list[list[list[Portion]]] = [[] for _ in contenders]
    with close_on_exit([run for group in runs for run in group]):
        for number in range(num_epochs):
            for contender, group, taken in zip(contenders, runs, turns, strict=True):
                portions = contender.take_turn(group)
                seconds = max(portion["train_seconds"] for portion in portions)
                log(f"round {number} of {num_rounds}: {contender.title}: {seconds:.2f} s")
                if number >= NUM_WARM_UP_EPOCHS:
                    taken.append(portions)
    return [
        {
            "name": contender.name,
            "title": contender.title,
            "num_threads": contender.num_threads,
            "train_seconds": [max(portion["train_seconds"] for portion in turn) for turn in taken],
            "seconds": [max(portion["seconds"] for portion in turn) for turn in taken],
            "peak_memory_mib": max(portion["peak_memory_mib"] for portion in taken[-1]),
            "accuracies": [statistics.mean(portion["accuracy"] for portion in turn) for turn in taken],
        }
        for contender, taken in zip(contenders, turns, strict=True)
    ]
