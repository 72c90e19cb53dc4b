"""`python -m benchmarks.dashboards_cost`: the dashboards' share of the training time."""

import argparse
import json
import shlex
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.hook_timer import HookTimer
from mnist_lightning.files import atomic_write
from mnist_lightning.main import main as command_line
from mnist_lightning.runs.environment import hardware, versions

CONFIG = "configs/optimized.yaml"
COMMAND = ("python", "-m", "benchmarks.dashboards_cost")


def measure(*args: str) -> dict[str, Any]:
    """Runs `fit` in a temporary folder.

    Args:
        args: additional options of `fit`.

    Returns:
        Seconds of training, from its start to the end of the last epoch, and of all hooks, including those outside it.
    """
    with tempfile.TemporaryDirectory() as directory:
        timer = f"--trainer.callbacks+={HookTimer.__module__}.HookTimer"
        command_line(["fit", "--config", CONFIG, *args, timer, "--trainer.default_root_dir", directory])
        (path,) = Path(directory).glob("*/version_0/report.json")
        report = json.loads(path.read_text(encoding="utf-8"))
    hook_seconds = {name: sum(hooks.values()) for name, hooks in HookTimer.seconds.items()}
    total = sum(hook_seconds.values())
    return {
        "config": CONFIG,
        "epochs": len(report["epochs"]),
        "training_seconds": report["wall_clock_seconds"],
        "hook_seconds": total,
        "share": total / report["wall_clock_seconds"],
        "hook_seconds_by_callback": dict(sorted(hook_seconds.items(), key=lambda item: -item[1])),
    }


def cost_text(figures: dict[str, Any]) -> str:
    """A paragraph with the figures."""
    versions_used, machine = figures["versions"], figures["hardware"]
    shares = [
        f"{name} {seconds / figures['hook_seconds']:.0%}"
        for name, seconds in list(figures["hook_seconds_by_callback"].items())[:3]
    ]
    threads = "1 thread" if machine["threads"] == 1 else f"{machine['threads']} threads"
    return (
        f"In one run, the dashboards' hooks took {figures['hook_seconds']:.1f} s, {figures['share']:.1%} of the "
        f"{figures['training_seconds']:.0f} s in which `{Path(figures['config']).name}` trained {figures['epochs']} "
        "epochs; hooks after training are included, the thread that writes the events is not. The largest shares: "
        f"{', '.join(shares)}. {machine['processor']}, "
        f"{machine['cores']} cores, {threads}; torch {versions_used['torch']}, lightning {versions_used['lightning']}, "
        f"Python {versions_used['python']}; {figures['date']}."
    )


def main() -> None:
    """Measures, prints and writes the figures."""
    parser = argparse.ArgumentParser(
        description="Measure the dashboards' share of the training time. Run nothing else on the machine meanwhile."
    )
    parser.add_argument("--output", type=Path, required=True, help="JSON file for the figures")
    parser.add_argument("fit", nargs="*", metavar="OPTION", help="options of fit, after --")
    args = parser.parse_args()
    figures = {
        "command": shlex.join([*COMMAND, "--output", args.output.name, *(["--", *args.fit] if args.fit else [])]),
        "date": datetime.now(UTC).date().isoformat(),
        **measure(*args.fit),
        "hardware": hardware(),
        "versions": versions(),
    }
    atomic_write(args.output, json.dumps(figures, indent=2, ensure_ascii=False) + "\n")
    print(cost_text(figures))


if __name__ == "__main__":
    main()
