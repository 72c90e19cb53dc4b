"""Runs the tests' kills, damage and odd input many times, and writes the counts to `results/reliability.json`."""

import dataclasses
import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.tables import RELIABILITY
from mnist_lightning.files import atomic_write
from mnist_lightning.runs.environment import hardware, versions
from support.damage import damage_checkpoint
from support.kills import survive_kills
from support.odd_input import try_command_lines, try_configs, try_runs

NUM_KILLS = 50
NUM_DAMAGED = 3000
NUM_COMMAND_LINES = 500
NUM_CONFIGS = 250
NUM_RUNS = 80


def main() -> None:
    """Runs everything and writes the counts."""
    counts: dict[str, object] = {"date": datetime.now(UTC).date().isoformat()}
    counts |= {"hardware": hardware(), "versions": versions()}
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        kills = survive_kills(root, NUM_KILLS, kills_per_run=5, seed=1)
        counts["kills"] = dataclasses.asdict(kills)
        print(kills)
        (checkpoint,) = root.glob("whole_test/*/version_0/checkpoints/last.ckpt")
        damage = damage_checkpoint(checkpoint, NUM_DAMAGED, seed=1)
        counts["damaged_checkpoints"] = dataclasses.asdict(damage)
        print(damage)
    tried = {
        "num_command_lines": try_command_lines(NUM_COMMAND_LINES, seed=1),
        "num_configs": try_configs(NUM_CONFIGS, seed=1),
        "num_runs": try_runs(NUM_RUNS, seed=1),
    }
    counts["odd_input"] = tried
    print(tried)
    atomic_write(RELIABILITY, json.dumps(counts, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
