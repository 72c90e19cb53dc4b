"""Times whole processes of `fit`, and trains the plain script to find the epoch in which it first reads 99.4 %."""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.benchmark.fit_process import fit_report
from benchmarks.benchmark.turns import Portion, Turns, peak_memory_mib, to_mib
from mnist_lightning.runs.environment import num_cores


def run_process(turns: Turns, num_turns: int, max_steps: int | None, *args: str) -> None:
    """Runs `fit` once per turn, in a separate process, each with the next seed."""
    turns.take(_processes(num_turns, max_steps, args))


def _processes(num_turns: int, max_steps: int | None, args: tuple[str, ...]) -> Iterator[Portion]:
    limit = () if max_steps is None else ("--trainer.limit_train_batches", str(max_steps))
    for seed in range(num_turns):
        start = time.perf_counter()
        report = fit_report(*args, *limit, "--seed_everything", str(seed))
        seconds = time.perf_counter() - start
        yield {
            "train_seconds": report["wall_clock_seconds"],
            "seconds": seconds,
            "accuracy": report["test"]["accuracy"],
            "peak_memory_mib": to_mib(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss),
        }


def import_memory_mib(module: str) -> float:
    """Peak memory of a process that imports a module and nothing else."""
    program = f"import {module}; from {peak_memory_mib.__module__} import peak_memory_mib; print(peak_memory_mib())"
    return float(subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.PIPE).stdout)


def train_plain_script(
    directory: Path, num_seeds: int, num_epochs: int, max_steps: int | None, log: Callable[[str], None]
) -> None:
    """Trains the plain script with several seeds, one per core; skips seeds whose file exists.

    Args:
        directory: output directory of the files `seed_N.json`.
        num_seeds: number of seeds, from 0.
        num_epochs: length of the schedule.
        max_steps: steps per epoch; None runs all.
        log: receives a line of progress for each seed.
    """
    directory.mkdir(parents=True, exist_ok=True)
    paths = {seed: directory / f"seed_{seed}.json" for seed in range(num_seeds)}
    limit = () if max_steps is None else ("--max_steps", str(max_steps))

    def train(seed: int) -> None:
        command = [sys.executable, "-m", "benchmarks.benchmark.plain_script", *limit]
        command += ["--seed", str(seed), "--epochs", str(num_epochs), "--output", str(paths[seed])]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
        log(f"plain script, seed {seed}: finished")

    with ThreadPoolExecutor(num_cores()) as pool:
        list(pool.map(train, [seed for seed, path in paths.items() if not path.exists()]))


def read_plain_script(directory: Path) -> list[dict[str, Any]]:
    """Reads the files of `train_plain_script`."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(directory.glob("seed_*.json"))]
