"""`python -m benchmarks.benchmark`: measures speed and writes JSON, Markdown and charts."""

import argparse
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.benchmark.changes import CHANGES, measure_changes
from benchmarks.benchmark.epochs import (
    CONTENDERS,
    CONTENTION,
    FAST,
    GPU,
    PLAIN,
    TRAINER,
    Contender,
    time_epochs,
)
from benchmarks.benchmark.report import report_text, write_report
from benchmarks.benchmark.scaling import measure_scaling
from benchmarks.benchmark.turns import log
from benchmarks.benchmark.whole_process import import_memory_mib, read_plain_script, train_plain_script
from mnist_lightning.data.datasets import MNIST
from mnist_lightning.data.idx_files import default_data_dir
from mnist_lightning.errors import UserError
from mnist_lightning.files import atomic_write
from mnist_lightning.runs.environment import hardware, versions

NUM_ROUNDS = 5
NUM_STEPS_IF_QUICK = 10
NUM_STEPS_IN_CONTENTION = 20
NUM_PLAIN_SEEDS, NUM_PLAIN_EPOCHS = 5, 15
NUM_ROUNDS_OF_TRAINER, NUM_STEPS_OF_TRAINER = 25, 12


def _epochs(contenders: Sequence[Contender], max_steps: int | None, num_rounds: int = NUM_ROUNDS) -> dict[str, Any]:
    figures = time_epochs(contenders, num_rounds, max_steps, log)
    return {"num_rounds": num_rounds, "max_steps": max_steps, "contenders": figures}


def _changes(num_turns: int = 10, num_steps: int = 20) -> dict[str, Any]:
    return {
        "num_turns": num_turns,
        "num_steps": num_steps,
        "changes": measure_changes(CHANGES, num_turns, num_steps, log),
    }


def _process(output: Path) -> dict[str, Any]:
    plain_seeds = output / "plain_script"
    train_plain_script(plain_seeds, NUM_PLAIN_SEEDS, NUM_PLAIN_EPOCHS, None, log)
    return {**_epochs((*PLAIN, FAST), None), "plain_seeds": read_plain_script(plain_seeds)}


Part = Callable[[Path], dict[str, Any]]  # from the output directory to the figures

PARTS: dict[str, Part] = {
    "epochs": lambda _: {
        **_epochs([*CONTENDERS, *([GPU] if torch.cuda.is_available() else [])], None),
        "import_memory_mib": {module: import_memory_mib(module) for module in ("torch", "lightning.pytorch")},
    },
    "trainer": lambda _: _epochs(TRAINER, NUM_STEPS_OF_TRAINER, NUM_ROUNDS_OF_TRAINER),
    "process": _process,
    "contention": lambda _: _epochs(CONTENTION, NUM_STEPS_IN_CONTENTION),
    "changes": lambda _: _changes(),
    "scaling": lambda _: measure_scaling(NUM_ROUNDS),
}
QUICK_PARTS: dict[str, Part] = {
    # Starting loader workers takes longer than ten steps.
    "epochs": lambda _: _epochs([each for each in CONTENDERS if each.name != "plain_2_workers"], NUM_STEPS_IF_QUICK),
}


def main() -> None:
    """Measures the selected parts and writes a report about all parts in the output directory."""
    parser = argparse.ArgumentParser(
        description="Measure training speed. Run nothing else on the machine meanwhile.",
    )
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--quick", action="store_true", help="only short epochs: minutes instead of two hours")
    chosen.add_argument("--parts", nargs="+", choices=PARTS, help="parts to measure; all by default")
    parser.add_argument("--output", type=Path, required=True, help="directory for the figures")
    args = parser.parse_args()
    try:
        MNIST.read(default_data_dir())
    except UserError as error:
        parser.error(str(error))
    args.output.mkdir(parents=True, exist_ok=True)
    parts = QUICK_PARTS if args.quick else {name: PARTS[name] for name in args.parts or PARTS}
    for part, measure in parts.items():
        figures = {
            "command": "python -m benchmarks.benchmark "
            f"{'--quick' if args.quick else f'--parts {part}'} --output {args.output}",
            "date": datetime.now(UTC).date().isoformat(),
            "hardware": hardware(),
            "versions": versions(),
            **measure(args.output),
        }
        atomic_write(args.output / f"{part}.json", json.dumps(figures, indent=2, ensure_ascii=False) + "\n")
    write_report(args.output)
    print(report_text(args.output))


if __name__ == "__main__":
    main()
