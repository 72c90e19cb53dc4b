"""`python -m mnist_lightning.evidence.tables`: the tables of README.md and docs/, from the files under `results/`."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from statistics import median

from mnist_lightning.evidence.benchmark.report import (
    Figures,
    epochs_table,
    median_first_epoch,
    precision_text,
    process_table,
    read_part,
    seconds_to_accuracy,
    trainer_text,
)
from mnist_lightning.evidence.dashboards_cost import cost_text
from mnist_lightning.evidence.report_files import fields_table
from mnist_lightning.evidence.sizes import draw_sizes, sizes_table
from mnist_lightning.export.comparison import BATCH_SIZE, NUM_ROUNDS
from mnist_lightning.network import OptimizedNet, num_trainable_parameters
from mnist_lightning.report.analysis import Analysis
from mnist_lightning.runs.acceptance import is_accurate
from mnist_lightning.runs.files import atomic_write
from mnist_lightning.runs.json_records import from_json
from mnist_lightning.runs.markdown import markdown_table
from mnist_lightning.runs.report import Report
from mnist_lightning.study.command import read_study
from mnist_lightning.study.study import Study
from mnist_lightning.study.summary import (
    HOLM_TEXT,
    MeasuredRow,
    StudyTable,
    differs,
    first_epochs_text,
    interval_text,
    mean_and_deviation,
    p_text,
    percent,
    range_text,
    single_view_text,
)

PROJECT = Path(__file__).parents[2]
RESULTS = PROJECT / "results"
OUTPUTS = RESULTS / "outputs"  # which `make readme` writes
RELIABILITY = RESULTS / "reliability.json"  # which `make soak` writes
README = PROJECT / "README.md"
MODELS = PROJECT / "models"
NUM_TEST_IMAGES = 10_000
PAGES = (README, *sorted((PROJECT / "docs").glob("*.md")), MODELS / "README.md")
# Published accuracies on Fashion-MNIST: the network, its parameters, the test accuracy in percent, and the source.
_FASHION = "https://github.com/zalandoresearch/fashion-mnist"
PUBLISHED_ON_FASHION = (
    ("two convolutions", "fewer than 100,000", "92.5", f"[README]({_FASHION}#benchmark)"),
    ("two convolutions", "113,000", "92.2", f"[README]({_FASHION}#benchmark)"),
    ("DenseNet-BC, with crops and horizontal flips", "174,000", "93.9", f"[issue 153]({_FASHION}/issues/153)"),
    ("convolutions, with crops, flips and random erasing", "295,968", "94.7", f"[issue 93]({_FASHION}/issues/93)"),
    ("DenseNet-BC, with crops and horizontal flips", "768,000", "95.4", f"[README]({_FASHION}#benchmark)"),
    ("wide ResNet 40-4, with crops and horizontal flips", "8,900,000", "96.7", f"[README]({_FASHION}#benchmark)"),
    ("people without knowledge of fashion, 1,000 images", "–", "83.5", f"[README]({_FASHION}#benchmark)"),
)
# Networks of other sizes than the original's, from small to large: the study, its variant, and its name for a reader.
SIZES = (
    ("sizes", "under 8,000", "`sizes/under_8000.yaml`"),
    ("best", "best", "`best.yaml`"),
)
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
        f"**{percent(fast.mean)} % on MNIST with {fast.num_parameters:,} parameters in {median(fit):.0f} seconds** "
        f"on {process['hardware']['cores']} CPU cores ({process['hardware']['processor']}), start-up and final test "
        f"included: a PyTorch Lightning project with YAML configs. The accuracy is the mean of {fast.num_seeds} seeds, "
        f"{sum(map(is_accurate, fast.accuracies))} of which reach 99.4 %. A plain PyTorch script of the original "
        f"recipe needs {median(plain):.0f} seconds to 99.4 % on the same machine, {ratio:.1f} times as long: "
        f"{median_first_epoch(process):g} epochs instead of {range_text(fast.epochs)}, each slower "
        "([Speed](docs/speed.md)). Every number here comes from a file in `results/`, which a command writes "
        "([Development](docs/development.md))."
    )


def summary_table() -> str:
    """The accuracy of each config, at a glance."""
    header = ["config", "test accuracy", "epochs", "parameters", "requirements met"]
    rows = []
    for study, variant, title in SHOWN:
        row = _rows(study)[variant]
        report = next(iter(read_results(study).reports(variant).values()))
        rows.append(
            [
                *(title, _accuracy(row), range_text(row.epochs), f"{row.num_parameters:,}"),
                _requirements_text(report, row.mean),
            ]
        )
    return (
        f"{markdown_table(header, rows)}\n\n"
        "Mean ± standard deviation over n seeds, after the last epoch. The requirements: at least 99.4 %, fewer than "
        "20,000 parameters, fewer than 20 epochs, batch norm, dropout, global average pooling; they are those of the "
        "student project behind this one. Intervals, machines and each seed: [Results](docs/results.md); seconds: "
        "[Speed](docs/speed.md)."
    )


def _requirements_text(report: Report, mean_accuracy: float) -> str:
    """Which of the original's requirements a config meets; its accuracy is judged by the mean over seeds."""
    names = ("99.4 %", "parameters", "epochs", "batch norm", "dropout", "global average pooling")
    met = [is_accurate(mean_accuracy), *(requirement.is_met for requirement in report.requirements[1:])]
    missed = [name for name, is_met in zip(names, met, strict=True) if not is_met]
    text = f"{len(names) - len(missed)} of {len(names)}"
    return f"{text}: no {missed[0]}" if len(missed) == 1 else text


def results_table() -> str:
    """The accuracy of each config, with its intervals."""
    header = [
        *("config", "precision", "parameters", "epochs", "test accuracy, % ± standard deviation"),
        *("95 % interval of the mean, points", "binomial deviation, points", "min–max", "test images are read"),
    ]
    rows = []
    for study, variant, title in SHOWN:
        row = _rows(study)[variant]
        read = "once, at the end" if row.measured_on.endswith("once") else "after each epoch"
        rows.append(
            [
                *(title, ", ".join(row.precisions), f"{row.num_parameters:,}", range_text(row.epochs)),
                *(f"{_accuracy(row)}{single_view_text(row)}", interval_text(row), percent(_binomial_deviation(row))),
                *(f"{percent(row.min)}–{percent(row.max)}", read),
            ]
        )
    return (
        f"{markdown_table(header, rows)}\n\n"
        "Mean ± standard deviation over seeds; interval by Student's t, for other seeds on these 10,000 test images. "
        "Binomial: the standard deviation of an accuracy over test sets of 10,000 other images, √(p (1 − p) / 10,000). "
        "More seeds do not reduce it: configs that differ by less may change places on other images. Each seed's "
        "report is in [results/](../results); [Speed](speed.md) compares training times. "
        + " ".join(sorted({read_results(study).provenance() for study, _, _ in SHOWN}))
    )


def _binomial_deviation(row: MeasuredRow) -> float:
    return float((row.mean * (1 - row.mean) / NUM_TEST_IMAGES) ** 0.5)


def _sizes() -> dict[str, MeasuredRow]:
    return {title: _rows(study)[variant] for study, variant, title in SIZES}


def sizes_text() -> str:
    """Accuracy by number of parameters, beside published runs."""
    return (
        f"{sizes_table(_sizes())}\n\n"
        "Ours: mean ± standard deviation over n seeds after the last epoch, interval by Student's t. They were chosen "
        "on held-out training images, and the test images are read once. Published: one run each, read on 2026-11-28 "
        "in the file named, and not repeated by us. Their authors name the best epoch on the test images, the last "
        "one, or none. Parameters: those that are trained. "
        + " ".join(sorted({read_results(study).provenance() for study, _, _ in SIZES}))
    )


def fashion_table() -> str:
    """The accuracy on Fashion-MNIST beside published figures."""
    header, row = ["network", "parameters", "test accuracy, %", "source"], _rows("fashion")["fashion"]
    accuracy = f"{_accuracy(row)}{single_view_text(row)}"
    ours = ("`fashion.yaml`", f"{row.num_parameters:,}", accuracy, "[results](../results/fashion)")
    return (
        f"{markdown_table(header, [ours, *PUBLISHED_ON_FASHION])}\n\n"
        f"Ours: mean ± standard deviation over seeds. {read_results('fashion').provenance()}"
    )


def ablations_table() -> str:
    """The effect of each ingredient of the recipe: the recipe's accuracy minus that without it."""
    recipe, *others = _rows("ablations").values()
    baseline = _rows("baseline")["as listed"]
    header = ["variant", "parameters", "test accuracy"]
    header += ["effect of the ingredient, percentage points (95 % interval)", "p", "detectable effect", "verdict"]
    rows = [[recipe.variant, f"{recipe.num_parameters:,}", _accuracy(recipe), *4 * [""]]]
    for row in others:
        ends = (row.difference, row.difference_high_95, row.difference_low_95)
        brings, low, high = (percent(None if end is None else -end, "+.2f") for end in ends)
        rows.append(
            [
                *(row.variant, f"{row.num_parameters:,}", _accuracy(row), f"{brings} ({low} to {high})"),
                *(p_text(row), f"± {percent(row.detectable_difference)}", _effect(row)),
            ]
        )
    rows.append(["the baseline as published, 1 epoch", f"{baseline.num_parameters:,}", _accuracy(baseline), *4 * [""]])
    return (
        f"{markdown_table(header, rows)}\n\n"
        "A positive effect means that the recipe's choice is better. Test images, read after each epoch; the last "
        "epoch counts. Each variant keeps the recipe's other settings; none was tuned, for example with a lower "
        f"learning rate without batch norm. {HOLM_TEXT} " + read_results("ablations").provenance()
    )


def _effect(row: MeasuredRow) -> str:
    """The effect of the removed ingredient: `helps`, `costs` or `within the noise`."""
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
            f"The first epoch with 99.4 % is epoch {first_epochs_text(recipe)} of 15. Stopping there lets the test set "
            f"choose, which gives a maximum, not an estimate. The last epoch has {_accuracy(recipe)}.",
        ),
        ("18,962 parameters", f"{recipe.num_parameters:,}: true."),
        ("the baseline has about 2.3 million parameters", f"{baseline.num_parameters:,} as its layers are listed."),
        (
            "the baseline reaches 28 % after one epoch",
            f"{_accuracy(baseline)}; with a ReLU on its logits {_accuracy(with_relu)}.",
        ),
        (
            "batch norm, dropout, global average pooling, augmentation and OneCycleLR make the difference",
            "Removed one at a time in trainings of five epochs (below). Helps: "
            f"{_ingredients('helps')}. Costs accuracy: {_ingredients('costs')}. Within the noise: "
            f"{_ingredients('within the noise')}.",
        ),
        (
            "global average pooling is required, or optional",
            f"The original says both. Here it is required: with a fully connected layer instead, the network has "
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
        f"{kills['num_kills_inside_a_write']} of them inside the write of a checkpoint. `last.ckpt` was intact each "
        f"time, the runs resumed, {kills['num_resumed_in_the_middle_of_an_epoch']} times in the middle of an epoch, "
        f"and {kills['num_runs_that_ended_the_same']} of {kills['num_runs']} runs ended like an "
        f"uninterrupted one, bit for bit: {kills['compared'].rstrip(',')}. Of {damage['num_damaged']:,} checkpoints "
        f"that were cut short, had a bit flipped or were partly overwritten with noise, {damage['num_refused']:,} were "
        f"rejected; the other {damage['num_unchanged']} were unchanged. {odd['num_command_lines']} odd command lines, "
        f"{odd['num_configs']} odd configs and {odd['num_runs']} runs with an odd setting produced no traceback."
    )


def own_digits_table() -> str:
    """How `read` does on pictures from outside MNIST's training set, by kind."""
    figures = json.loads((RESULTS / "own_digits" / "own_digits.json").read_text(encoding="utf-8"))
    header = ["pictures", "n", "right", "wrong", "not sure", "no digit found"]
    kinds = {**figures["by_kind"], "all digits but MNIST's": figures["digits"]}
    names = ("n", "right", "wrong", "not_sure", "no_digit_found")
    cells = [[kind, *(str(counts[name]) for name in names)] for kind, counts in kinds.items()]
    digits, versions = figures["digits"], figures["versions"]
    confident = digits["right"] + digits["wrong"]
    return (
        f"{markdown_table(header, cells)}\n\n"
        f"Of {confident:,} confident answers to pictures of digits, {digits['wrong'] / confident:.1%} are wrong. The "
        f"network recognises {digits['read_plainly'] / digits['n']:.1%} of the digits if the pictures are only resized "
        "to 28 × 28. A confident answer to a letter, a symbol or empty paper is wrong. The pictures were made after "
        f"the code, with {figures['num_faces']} faces, {figures['num_pens']} pens, handwriting and a seed that it was "
        f"not developed on. torch {versions['torch']}, pillow {versions['pillow']}, scipy {versions['scipy']}; "
        f"{figures['date']}."
    )


def model_text() -> str:
    """The accuracy of the shipped model and of other seeds, and the file's checksum."""
    report = from_json(Report, (MODELS / "mnist.json").read_text(encoding="utf-8"))
    checkpoint = (MODELS / "mnist.ckpt").read_bytes()
    assert report.test is not None
    return (
        f"Accuracy on the 10,000 MNIST test images, which were read once, after training: "
        f"**{report.test.accuracy:.2%}** with test-time augmentation, {report.test.single_view_accuracy:.2%} without. "
        f"Over seeds: {_accuracy(_rows('best')['best'])}, mean ± standard deviation; the shipped seed was not chosen "
        f"by its accuracy. Trained on {report.date} with torch {report.versions['torch']}.\n\n"
        f"{len(checkpoint) / 1000:.0f} kB, SHA-256 `{hashlib.sha256(checkpoint).hexdigest()}`"
    )


def dashboards_text() -> str:
    """What TensorBoard's dashboards cost.

    Raises:
        FileNotFoundError: it was not measured.
    """
    return cost_text(json.loads((RESULTS / "dashboards.json").read_text(encoding="utf-8")))


def _output(command: str) -> str:
    """The output of a command that `make readme` ran."""
    return f"```\n{(OUTPUTS / f'{command}.txt').read_text(encoding='utf-8').strip()}\n```"


def export_output() -> str:
    """The output of `export`, and its machine."""
    machine = json.loads((OUTPUTS / "environment.json").read_text(encoding="utf-8"))
    hardware, versions = machine["hardware"], machine["versions"]
    return (
        f"{_output('export')}\n\nImages per second in batches of {BATCH_SIZE}; speedup: median (range) of "
        f"{NUM_ROUNDS} turns. {hardware['processor']}, {hardware['cores']} cores; "
        f"torch {versions['torch']}; {machine['date']}."
    )


TABLES: dict[str, Callable[[], str]] = {
    "headline": headline,
    "summary": summary_table,
    "results": results_table,
    "sizes": sizes_text,
    "fashion": fashion_table,
    "ablations": ablations_table,
    "speed": speed_table,
    "claims": claims_table,
    "reliability": reliability_text,
    "own_digits": own_digits_table,
    "model": model_text,
    "dashboards": dashboards_text,
    **{f"{command}_output": partial(_output, command) for command in ("report", "read")},
    "export_output": export_output,
    "report_fields": partial(fields_table, Report),
    "study_fields": partial(fields_table, StudyTable),
    "analysis_fields": partial(fields_table, Analysis),
}


def with_tables(page: str) -> str:
    """A page with its generated parts written again, between `<!-- NAME -->` and `<!-- end of NAME -->`."""
    return re.sub(
        r"(<!-- (\w+) -->\n).*?(<!-- end of \2 -->)",
        lambda part: f"{part[1]}{TABLES[part[2]]()}\n{part[3]}",
        page,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    for path in PAGES:
        atomic_write(path, with_tables(path.read_text(encoding="utf-8")))
    draw_sizes(_sizes(), RESULTS / "sizes" / "parameters.png")
