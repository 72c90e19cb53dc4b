"""Times whole processes of `fit`, and trains the plain script to find the epoch in which it first reads 99.4 %."""

import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.speed.turns import Turns, log
from mnist_lightning.runs.record import num_cores


def fit_record(*args: str) -> dict[str, Any]:
    """The record of `fit` with these arguments, run to its end in a separate process, as a user does."""
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "mnist_lightning", "fit", *args, "--trainer.default_root_dir", directory]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        (path,) = Path(directory).glob("*/version_0/report.json")
        return dict(json.loads(path.read_text(encoding="utf-8")))


def run_process(turns: Turns, num_turns: int, max_steps: int | None, *args: str) -> None:
    """Runs `fit` once per turn, in a separate process, each with the next seed."""
    limit = () if max_steps is None else ("--trainer.limit_train_batches", str(max_steps))
    for seed in range(num_turns):
        turns.wait()
        start = time.perf_counter()
        record = fit_record(*args, *limit, "--seed_everything", str(seed))
        portion = {"train_seconds": record["wall_clock_seconds"], "seconds": time.perf_counter() - start}
        # This process is not the one that trains, so its memory says nothing.
        turns.end({**portion, "accuracy": record["test"]["accuracy"], "peak_memory_mib": None})
    turns.wait()


def train_plain_script(
    directory: Path, num_seeds: int, num_epochs: int, max_steps: int | None = None
) -> list[dict[str, Any]]:
    """The records of the plain script's seeds; trains those without a `seed_N.json` in the directory, one per core."""
    directory.mkdir(parents=True, exist_ok=True)
    limit = () if max_steps is None else ("--max_steps", str(max_steps))

    def train(seed: int) -> dict[str, Any]:
        path = directory / f"seed_{seed}.json"
        if not path.exists():
            command = [sys.executable, "-m", "benchmarks.speed.plain_script", *limit]
            command += ["--seed", str(seed), "--epochs", str(num_epochs), "--output", str(path)]
            environment = os.environ | {"OMP_NUM_THREADS": "1"}
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
            log(f"plain script, seed {seed}: finished")
        return dict(json.loads(path.read_text(encoding="utf-8")))

    with ThreadPoolExecutor(num_cores()) as pool:
        return list(pool.map(train, range(num_seeds)))
