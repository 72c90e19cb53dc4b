"""`python -m mnist_lightning.evidence.tables`: the tables of README.md and docs/, from the files under `results/`."""

import dataclasses
import json
import re
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from statistics import median

from mnist_lightning.evidence.benchmark.report import (
    Figures,
    epochs_table,
    precision_text,
    process_table,
    read_part,
    seconds_to_accuracy,
    trainer_text,
)
from mnist_lightning.evidence.dashboards_cost import cost_text
from mnist_lightning.evidence.report_files import fields_table
from mnist_lightning.export.comparison import BATCH_SIZE, NUM_ROUNDS
from mnist_lightning.network import OptimizedNet, num_trainable_parameters
from mnist_lightning.report.analysis import Analysis
from mnist_lightning.runs.acceptance import is_accurate
from mnist_lightning.runs.files import atomic_write
from mnist_lightning.runs.markdown import markdown_table
from mnist_lightning.runs.report import Report
from mnist_lightning.study.study import Study, read_study
from mnist_lightning.study.summary import (
    MeasuredRow,
    StudyTable,
    differs,
    first_epochs_text,
    interval_text,
    mean_and_deviation,
    percent,
    range_text,
    single_view_text,
)

PROJECT = Path(__file__).parents[2]
RESULTS = PROJECT / "results"
OUTPUTS = RESULTS / "outputs"  # which `make readme` writes
RELIABILITY = RESULTS / "reliability.json"  # which `make soak` writes
README = PROJECT / "README.md"
PAGES = (README, *sorted((PROJECT / "docs").glob("*.md")))
# The rows of the first tables: the study, its variant, and the config as a reader calls it.
SHOWN = (
    ("recipe", "all 15 epochs", "`optimized.yaml`, all 15 epochs"),
    ("fast", "fast", "`fast.yaml`"),
    ("best", "best", "`best.yaml`"),
    ("baseline", "as listed", "`baseline.yaml` + `cpu.yaml`"),
)


def read_results(name: str) -> Study:
    """The study of `configs/studies/NAME.yaml`, wherever this was started."""
    study = read_study(PROJECT / "configs" / "studies" / f"{name}.yaml")
    return dataclasses.replace(study, output=str(PROJECT / study.output))


@cache
def _rows(study: str) -> dict[str, MeasuredRow]:
    return {row.variant: row for row in read_results(study).rows() if isinstance(row, MeasuredRow)}


def _accuracy(row: MeasuredRow) -> str:
    """Mean ± standard deviation in percent, with the number of seeds."""
    return f"{mean_and_deviation(row.mean, row.standard_deviation)} (n = {row.num_seeds})"


def headline() -> str:
    """The README's first sentence."""
    fast = _rows("fast")["fast"]
    process = _benchmark("process")
    plain, fit = seconds_to_accuracy(process)
    ratio = median(a / b for a, b in zip(plain, fit, strict=True))
    return (
        f"**{percent(fast.mean)} % on MNIST with {fast.num_parameters:,} parameters** (mean of "
        f"{fast.num_seeds} seeds), **in {median(fit):.0f} seconds from the command to its end** on "
        f"{process['hardware']['cores']} CPU cores ({process['hardware']['processor']}): a PyTorch Lightning project "
        f"with YAML configs. A plain PyTorch script of the recipe takes {median(plain):.0f} seconds to 99.4 % on the "
        f"same machine, {ratio:.1f} times as long ([Speed](docs/speed.md)). Every number here is measured, and one "
        "command makes it again."
    )


def summary_table() -> str:
    """The accuracy and speed of each config, at a glance."""
    header = ["config", "test accuracy", "epochs", "seconds of training", "parameters", "the six requirements"]
    rows = []
    for study, variant, title in SHOWN:
        row = _rows(study)[variant]
        report = next(iter(read_results(study).reports(variant).values()))
        rows.append(
            [
                *(title.split(",")[0], _accuracy(row), range_text(row.epochs), f"{row.median_seconds:.0f}"),
                *(f"{row.num_parameters:,}", _requirements_text(report, row.mean)),
            ]
        )
    machines = sorted({read_results(study).provenance() for study, _, _ in SHOWN})
    return (
        f"{markdown_table(header, rows)}\n\n"
        "Mean ± standard deviation over n seeds, after the last epoch. The requirements: at least 99.4 %, fewer than "
        "20,000 parameters, fewer than 20 epochs, batch norm, dropout, global average pooling. Seconds: the median of "
        f"the seeds, on one thread each, two side by side. {' '.join(machines)} Intervals and each seed: "
        "[Results](docs/results.md)."
    )


def _requirements_text(report: Report, mean_accuracy: float) -> str:
    """Which of the original's requirements a config meets; its accuracy is judged by the mean over seeds."""
    names = ("99.4 %", "parameters", "epochs", "batch norm", "dropout", "global average pooling")
    met = [is_accurate(mean_accuracy), *(requirement.is_met for requirement in report.requirements[1:])]
    missed = [name for name, is_met in zip(names, met, strict=True) if not is_met]
    if len(missed) > 2:
        return f"{len(names) - len(missed)} of {len(names)}"
    return f"all but {' and '.join(missed)}" if missed else "all"


def results_table() -> str:
    """The accuracy of each config, with its intervals."""
    header = [
        *("config", "precision", "parameters", "epochs", "test accuracy at the last epoch"),
        *("95 % interval of the mean", "min–max", "test images are read"),
    ]
    rows = []
    for study, variant, title in SHOWN:
        row = _rows(study)[variant]
        read = "once, at the end" if row.measured_on.endswith("once") else "after each epoch"
        rows.append(
            [
                *(title, ", ".join(row.precisions), f"{row.num_parameters:,}", range_text(row.epochs)),
                *(f"{_accuracy(row)}{single_view_text(row)}", interval_text(row)),
                *(f"{percent(row.min)}–{percent(row.max)}", read),
            ]
        )
    return (
        f"{markdown_table(header, rows)}\n\n"
        "Mean ± standard deviation over seeds; interval by Student's t. Each seed's report lies under "
        "[results/](../results); [Speed](speed.md) compares training times. "
        + " ".join(sorted({read_results(study).provenance() for study, _, _ in SHOWN}))
    )


def ablations_table() -> str:
    """The effect of each ingredient of the recipe: the recipe's accuracy minus that without it."""
    recipe, *others = _rows("ablations").values()
    baseline = _rows("baseline")["as listed"]
    header = ["", "parameters", "test accuracy at the last epoch"]
    header += ["what was taken away brings, in points (95 % interval)", ""]
    rows = [[f"{recipe.variant}, 5 epochs", f"{recipe.num_parameters:,}", _accuracy(recipe), "", ""]]
    for row in others:
        ends = (row.difference, row.difference_high_95, row.difference_low_95)
        brings, low, high = (percent(None if end is None else -end, "+.2f") for end in ends)
        cells = [row.variant, f"{row.num_parameters:,}", _accuracy(row), f"{brings} ({low} to {high})", _effect(row)]
        rows.append(cells)
    rows.append(["the baseline as published, 1 epoch", f"{baseline.num_parameters:,}", _accuracy(baseline), "", ""])
    return (
        f"{markdown_table(header, rows)}\n\n"
        "Each is trained for five epochs with the recipe's other settings as they are; what it would reach with "
        "settings of its own, such as a smaller rate without batch norm, was not looked for. Differences by Welch's "
        "t-test, one by one: among so many, one interval in twenty misses by chance. "
        + read_results("ablations").provenance()
    )


def _effect(row: MeasuredRow) -> str:
    """The effect of the ingredient that was taken away: `helps`, `costs` or `within the noise`."""
    if not differs(row):
        return "within the noise"
    return "helps" if (row.difference or 0) < 0 else "costs"


def _ingredients(effect: str) -> str:
    names = [
        name.removeprefix("no ")
        for name, row in _rows("ablations").items()
        if name.startswith("no ") and _effect(row) == effect
    ]
    return ", ".join(names) or "none"


def _benchmark(part: str) -> Figures:
    """The figures of a part of the benchmark.

    Raises:
        FileNotFoundError: it was not run.
    """
    figures = read_part(RESULTS / "benchmark", part)
    if figures is None:
        raise FileNotFoundError("results/benchmark is not complete: run `make benchmark`")
    return figures


def speed_table() -> str:
    """The tables of the benchmark's epochs and whole processes, the precision, and what the Trainer costs.

    Raises:
        FileNotFoundError: the benchmark was not run.
    """
    epochs, scaling, trainer, process = (_benchmark(part) for part in ("epochs", "scaling", "trainer", "process"))
    return f"{epochs_table(epochs)}\n\n{precision_text(scaling)} {trainer_text(trainer)}\n\n{process_table(process)}"


def claims_table() -> str:
    """The original's claims beside what was measured."""
    recipe = _rows("recipe")["all 15 epochs"]
    baseline, with_relu = (_rows("baseline")[variant] for variant in ("as listed", "with a ReLU on the logits"))
    fully_connected = num_trainable_parameters(OptimizedNet(head="fully_connected"))
    claims = [
        (
            "99.42 % in 12 epochs",
            f"First 99.4 % after {first_epochs_text(recipe)} epochs of the 15. To stop there lets the test set choose, "
            f"and gives a maximum, not an estimate: the last epoch has {_accuracy(recipe)}.",
        ),
        ("18,962 parameters", f"{recipe.num_parameters:,}: true."),
        ("the baseline has about 2.3 million parameters", f"{baseline.num_parameters:,} as its layers are listed."),
        (
            "the baseline reaches 28 % after one epoch",
            f"{_accuracy(baseline)}; with a ReLU on its logits {_accuracy(with_relu)}.",
        ),
        (
            "batch norm, dropout, global average pooling, augmentation and OneCycleLR make the difference",
            "Taken away one at a time from a training of five epochs ([Ablations](ablations.md)): these "
            f"help: {_ingredients('helps')}; these cost accuracy: {_ingredients('costs')}; of these no benefit could "
            f"be measured: {_ingredients('within the noise')}.",
        ),
        (
            "global average pooling is required, or optional",
            f"Both are said. Here it is required: with a fully connected layer in its place there are "
            f"{fully_connected:,} parameters.",
        ),
    ]
    return markdown_table(["claim", "what we measured"], claims)


def reliability_text() -> str:
    """The counts of `make soak`."""
    counts = json.loads(RELIABILITY.read_text(encoding="utf-8"))
    kills, damage, odd = counts["kills"], counts["damaged_checkpoints"], counts["odd_input"]
    return (
        f"`make soak`, {counts['date']}: runs were killed {kills['num_kills']} times with SIGKILL, "
        f"{kills['num_kills_inside_a_write']} of them inside the write of a checkpoint. `last.ckpt` was whole each "
        f"time, the runs went on, {kills['num_resumed_in_the_middle_of_an_epoch']} times in the middle of an epoch, "
        f"and {kills['num_runs_that_ended_the_same']} of {kills['num_runs']} runs ended with the "
        f"{kills.get('compared', 'weights, averages, optimizer state and schedule')} of one that was never killed, bit "
        f"for bit. Of {damage['num_damaged']:,} "
        f"checkpoints that were cut short, had a bit flipped or noise written over a part, {damage['num_refused']:,} "
        f"were refused; the other {damage['num_unchanged']} held what they had held. No traceback came of "
        f"{odd['num_command_lines']} odd command lines, {odd['num_configs']} odd configs and {odd['num_runs']} runs "
        "with an odd setting."
    )


def own_digits_table() -> str:
    """How well digits are read that are not MNIST's, and how they were made."""
    figures = json.loads((RESULTS / "own_digits" / "own_digits.json").read_text(encoding="utf-8"))
    fonts, pens = figures["by_kind"]["font"], figures["by_kind"]["pen"]
    rows = {
        f"rendered in {figures['num_faces']} faces": fonts,
        f"drawn with {figures['num_pens']} pens": pens,
        **figures["by_polarity"],
        "all": figures["all"],
    }
    header = ["pictures", "n", "read right", "resized to 28 × 28 without preparation"]
    cells = [
        [title, str(row["n"]), f"{row['accuracy']:.1%}", f"{row['plain_accuracy']:.1%}"] for title, row in rows.items()
    ]
    empty, versions = figures["empty_papers"], figures["versions"]
    return (
        f"{markdown_table(header, cells)}\n\n"
        f"On {empty['refused']} of {empty['n']} pictures of empty paper it says that there is no digit. "
        "Fonts, ways of writing, pens and seeds are others than those that the preparation was chosen on. "
        f"torch {versions['torch']}, pillow {versions['pillow']}, scipy {versions['scipy']}; {figures['date']}."
    )


def dashboards_text() -> str:
    """What TensorBoard's dashboards cost.

    Raises:
        FileNotFoundError: it was not measured.
    """
    return cost_text(json.loads((RESULTS / "dashboards.json").read_text(encoding="utf-8")))


def _output(command: str) -> str:
    """What a command has printed, when `make readme` ran it."""
    return f"```\n{(OUTPUTS / f'{command}.txt').read_text(encoding='utf-8').strip()}\n```"


def export_output() -> str:
    """What `export` has printed, and on which machine."""
    machine = json.loads((OUTPUTS / "environment.json").read_text(encoding="utf-8"))
    hardware, versions = machine["hardware"], machine["versions"]
    return (
        f"{_output('export')}\n\nImages a second in batches of {BATCH_SIZE}, and the median (range) of how many times "
        f"as many, in {NUM_ROUNDS} turns. {hardware['processor']}, {hardware['cores']} cores; "
        f"torch {versions['torch']}; {machine['date']}."
    )


TABLES: dict[str, Callable[[], str]] = {
    "headline": headline,
    "summary": summary_table,
    "results": results_table,
    "ablations": ablations_table,
    "speed": speed_table,
    "claims": claims_table,
    "reliability": reliability_text,
    "own_digits": own_digits_table,
    "dashboards": dashboards_text,
    **{f"{command}_output": partial(_output, command) for command in ("report", "read")},
    "export_output": export_output,
    "report_fields": partial(fields_table, Report),
    "study_fields": partial(fields_table, StudyTable),
    "analysis_fields": partial(fields_table, Analysis),
}


def with_tables(page: str) -> str:
    """A page with its generated parts written anew, between `<!-- NAME -->` and `<!-- end of NAME -->`."""
    return re.sub(
        r"(<!-- (\w+) -->\n).*?(<!-- end of \2 -->)",
        lambda part: f"{part[1]}{TABLES[part[2]]()}\n{part[3]}",
        page,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    for path in PAGES:
        atomic_write(path, with_tables(path.read_text(encoding="utf-8")))
