"""The figures of the README: trains what is missing under `results/`, and writes the tables from the reports there.

`python -m mnist_lightning.results` goes on where it stopped: a report that is there is not made again.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnist_lightning.benchmark.report import epochs_table, read_part, trainer_text
from mnist_lightning.run_report import best_epoch

PROJECT = Path(__file__).parent.parent
RESULTS = PROJECT / "results"
README = PROJECT / "README.md"
NUM_RUNS_SIDE_BY_SIDE = 2  # of one thread each: faster on 2 cores than two threads for one run after the other


@dataclass(frozen=True)
class Experiment:
    """One row of the table: a config with overrides, over several seeds."""

    name: str  # the folder under results/
    title: str
    args: tuple[str, ...]
    seeds: tuple[int, ...]

    def report_path(self, seed: int) -> Path:
        """Where the report of one seed lies."""
        return RESULTS / self.name / f"seed_{seed}.json"

    def reports(self) -> list[dict[str, Any]]:
        """The reports of all seeds."""
        return [json.loads(self.report_path(seed).read_text(encoding="utf-8")) for seed in self.seeds]


OPTIMIZED = ("--config", "configs/optimized.yaml")
BASELINE = ("--config", "configs/baseline.yaml", "--config", "configs/cpu.yaml")
BASELINE_SEEDS = (0,)
RECIPE = Experiment(
    "optimized",
    "`optimized.yaml`, all 15 epochs",
    (*OPTIMIZED, "--early_stopping.stopping_threshold", "null"),
    (0, 1, 2),
)
RECIPE_WITH_STOP = Experiment("optimized_with_stop", "`optimized.yaml`, stopped at 99.4 %", OPTIMIZED, (0,))
PLAIN_BASELINE = Experiment("baseline", "`baseline.yaml`", BASELINE, BASELINE_SEEDS)
BASELINE_WITH_RELU = Experiment(
    "baseline_relu_on_logits",
    "`baseline.yaml`, ReLU on the logits",
    (*BASELINE, "--model.network", "baseline_relu_on_logits"),
    BASELINE_SEEDS,
)
EXPERIMENTS = (RECIPE, RECIPE_WITH_STOP, PLAIN_BASELINE, BASELINE_WITH_RELU)


def train(experiment: Experiment, seed: int) -> None:
    """Trains one seed with one thread, and keeps its report."""
    run_name = f"{experiment.name}_seed_{seed}"
    command = [sys.executable, "-m", "mnist_lightning", "fit", *experiment.args]
    command += ["--run_name", run_name, "--seed_everything", str(seed)]
    before = set((PROJECT / "runs" / run_name).glob("version_*"))
    print(f"{experiment.title}, seed {seed}", flush=True)
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, cwd=PROJECT, env=one_thread, stdout=subprocess.DEVNULL)
    (folder,) = set((PROJECT / "runs" / run_name).glob("version_*")) - before
    target = experiment.report_path(seed)
    target.parent.mkdir(parents=True, exist_ok=True)
    for suffix in (".md", ".json"):  # the JSON last: it marks the seed as done
        shutil.copy(folder / f"report{suffix}", target.with_suffix(suffix))


def train_missing(experiments: Sequence[Experiment]) -> None:
    """Trains the seeds that have no report yet, two at a time."""
    missing = [
        (experiment, seed)
        for experiment in experiments
        for seed in experiment.seeds
        if not experiment.report_path(seed).exists()
    ]
    with ThreadPoolExecutor(max_workers=NUM_RUNS_SIDE_BY_SIDE) as pool:
        list(pool.map(lambda run: train(*run), missing))


def _percent(values: list[float]) -> str:
    """Mean ± standard deviation of fractions, in percent, with the number of values."""
    spread = f" ± {statistics.stdev(values) * 100:.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values) * 100:.2f}{spread} % (n = {len(values)})"


def _last_accuracies(experiment: Experiment) -> list[float]:
    return [report["epochs"][-1]["val_accuracy"] for report in experiment.reports()]


def _best_accuracies(experiment: Experiment) -> list[float]:
    rows = [best_epoch(report) for report in experiment.reports()]
    return [row["val_accuracy"] for row in rows if row is not None]


def results_table() -> str:
    """The table of results, one row an experiment, with the hardware below."""
    lines = [
        "| config | precision | parameters | epochs | test accuracy at the last epoch "
        "| best epoch, chosen on the test set |",
        "|---|---|---|---|---|---|",
    ]
    for experiment in EXPERIMENTS:
        reports = experiment.reports()
        epochs = "/".join(sorted({str(len(report["epochs"])) for report in reports}))
        lines.append(
            f"| {experiment.title} | {reports[0]['precision']} | {reports[0]['num_parameters']:,} | {epochs} "
            f"| {_percent(_last_accuracies(experiment))} | {_percent(_best_accuracies(experiment))} |"
        )
    report = RECIPE.reports()[0]
    hardware, versions = report["hardware"], report["versions"]
    lines += [
        "",
        f"Mean ± standard deviation over seeds, on {hardware['processor']} (torch {versions['torch']}, "
        f"lightning {versions['lightning']}, {report['date']}). Each run's report lies under [results/](results); how "
        "long it takes is [below](#speed).",
    ]
    return "\n".join(lines)


def speed_table() -> str:
    """The table of the benchmark's epochs, and what the Trainer costs.

    Raises:
        FileNotFoundError: the benchmark was not run.
    """
    epochs, trainer = (read_part(RESULTS / "benchmark", part) for part in ("epochs", "trainer"))
    if epochs is None or trainer is None:
        raise FileNotFoundError("results/benchmark lacks epochs.json or trainer.json: run `make benchmark`")
    return f"{epochs_table(epochs)}\n\n{trainer_text(trainer)}"


def claims_table() -> str:
    """The original's claims beside what was measured."""
    (stopped,) = RECIPE_WITH_STOP.reports()
    parameters = PLAIN_BASELINE.reports()[0]["num_parameters"]
    stop_text = f"{_percent(_last_accuracies(RECIPE_WITH_STOP))} in {len(stopped['epochs'])} epochs"
    rows = [
        (
            "99.42 % in 12 epochs",
            f"{stop_text}. The test set chose when to stop, so this is a maximum, not an estimate: without the stop, "
            f"the last epoch has {_percent(_last_accuracies(RECIPE))}.",
        ),
        ("18,962 parameters", f"{RECIPE.reports()[0]['num_parameters']:,}: true."),
        ("the baseline has about 2.3 million parameters", f"{parameters:,} as its layers are listed."),
        (
            "the baseline reaches 28 % after one epoch",
            f"{_percent(_last_accuracies(PLAIN_BASELINE))}; with a ReLU on its logits "
            f"{_percent(_last_accuracies(BASELINE_WITH_RELU))}.",
        ),
        ("global average pooling is required, or optional", "Both are said. Here it is required."),
    ]
    return "\n".join(
        ["| claim | what we measured |", "|---|---|", *(f"| {claim} | {measured} |" for claim, measured in rows)]
    )


def with_tables(readme: str) -> str:
    """The README with its generated parts written anew, between `<!-- NAME -->` and `<!-- end of NAME -->`."""
    for name, table in (("results", results_table()), ("speed", speed_table()), ("claims", claims_table())):
        begin, end = f"<!-- {name} -->\n", f"\n<!-- end of {name} -->"
        before, found_begin, rest = readme.partition(begin)
        _, found_end, after = rest.partition(end)
        if not (found_begin and found_end):
            raise ValueError(f"README.md lacks the markers of {name}")
        readme = f"{before}{begin}{table}{end}{after}"
    return readme


def main() -> None:
    """Trains what is missing and rewrites the README's tables."""
    train_missing(EXPERIMENTS)
    README.write_text(with_tables(README.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
