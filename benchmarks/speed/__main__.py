"""Measures training speed, and writes JSON and Markdown. Run nothing else on the machine meanwhile."""

import argparse
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.speed.changes import CHANGES, measure_changes
from benchmarks.speed.epochs import CONTENDERS, CONTENTION, FAST, GPU, PLAIN, TRAINER, Contender, time_epochs
from benchmarks.speed.report import report_text
from benchmarks.speed.scaling import measure_scaling
from benchmarks.speed.whole_process import train_plain_script
from mnist_lightning.data.datasets import MNIST, default_data_dir
from mnist_lightning.files import atomic_write
from mnist_lightning.runs.record import hardware, versions

NUM_ROUNDS = 5
NUM_STEPS_IF_QUICK = 10
NUM_STEPS_IN_CONTENTION = 20
NUM_PLAIN_SEEDS, NUM_PLAIN_EPOCHS = 5, 15
NUM_ROUNDS_OF_TRAINER, NUM_STEPS_OF_TRAINER = 25, 12
NUM_TURNS_OF_CHANGES, NUM_STEPS_OF_CHANGES = 10, 20

Part = Callable[[Path], dict[str, Any]]  # from the output directory to the figures


def _epochs(contenders: Sequence[Contender], max_steps: int | None, num_rounds: int = NUM_ROUNDS) -> dict[str, Any]:
    figures = time_epochs(contenders, num_rounds, max_steps)
    return {"num_rounds": num_rounds, "max_steps": max_steps, "contenders": figures}


def _process(output: Path) -> dict[str, Any]:
    seeds = train_plain_script(output / "plain_script", NUM_PLAIN_SEEDS, NUM_PLAIN_EPOCHS)
    return {**_epochs((*PLAIN, FAST), None), "plain_seeds": seeds}


PARTS: dict[str, Part] = {
    "epochs": lambda _: _epochs([*CONTENDERS, *([GPU] if torch.cuda.is_available() else [])], None),
    "trainer": lambda _: _epochs(TRAINER, NUM_STEPS_OF_TRAINER, NUM_ROUNDS_OF_TRAINER),
    "process": _process,
    "contention": lambda _: _epochs(CONTENTION, NUM_STEPS_IN_CONTENTION),
    "changes": lambda _: measure_changes(CHANGES, NUM_TURNS_OF_CHANGES, NUM_STEPS_OF_CHANGES),
    "scaling": lambda _: measure_scaling(NUM_ROUNDS),
}
# Without loader workers, whose start takes longer than ten steps.
QUICK_CONTENDERS = [contender for contender in CONTENDERS if contender.name != "plain_2_workers"]
QUICK_PARTS: dict[str, Part] = {"epochs": lambda _: _epochs(QUICK_CONTENDERS, NUM_STEPS_IF_QUICK)}


def main() -> None:
    """Measures the selected parts and writes a report about all parts in the output directory."""
    parser = argparse.ArgumentParser("python -m benchmarks.speed", description=__doc__)
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--quick", action="store_true", help="only short epochs: minutes instead of two hours")
    chosen.add_argument("--parts", nargs="+", choices=PARTS, help="parts to measure; all by default")
    parser.add_argument("--output", type=Path, required=True, help="directory for the figures")
    args = parser.parse_args()
    MNIST.read(default_data_dir())  # downloads it, or fails, before anything is measured
    args.output.mkdir(parents=True, exist_ok=True)
    parts = QUICK_PARTS if args.quick else {name: PARTS[name] for name in args.parts or PARTS}
    for part, measure in parts.items():
        choice = "--quick" if args.quick else f"--parts {part}"
        figures = {
            "command": f"python -m benchmarks.speed {choice} --output {args.output}",
            "date": datetime.now(UTC).date().isoformat(),
            "hardware": hardware(),
            "versions": versions(),
            **measure(args.output),
        }
        atomic_write(args.output / f"{part}.json", json.dumps(figures, indent=2, ensure_ascii=False) + "\n")
    text = report_text(args.output)
    atomic_write(args.output / "README.md", text)
    print(text)


if __name__ == "__main__":
    main()
