"""The tables of what studies measured: accuracies, ingredients and claims."""

import csv
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from mnist_lightning.files import markdown_table
from mnist_lightning.network import OptimizedNet, num_trainable_parameters
from mnist_lightning.options import command_parser
from mnist_lightning.runs.acceptance import is_accurate
from mnist_lightning.runs.record import Record
from mnist_lightning.study import command
from mnist_lightning.study import table as texts
from mnist_lightning.study.study import Study, provenance
from mnist_lightning.study.table import Row

PROJECT = Path(__file__).parents[1]
NUM_TEST_IMAGES = 10_000

# The rows of the first tables: the study, its variant, and the config as a reader calls it.
SHOWN = (
    ("recipe", "all 15 epochs", "`optimized.yaml`, all 15 epochs"),
    ("fast", "fast", "`fast.yaml`"),
    ("fast", "fast, bfloat16", "`fast.yaml` + `cpu.yaml`"),
    ("best", "best", "`best.yaml`"),
    ("baseline", "as listed", "`baseline.yaml`"),
)


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read_results(name: str) -> Study:
    """The study of `configs/studies/NAME.yaml`, wherever this was started."""
    config = PROJECT / "configs" / "studies" / f"{name}.yaml"
    options = command_parser(command.study).parse_args(["--config", str(config)]).as_dict()
    del options["config"]
    return Study(**options | {"output": str(PROJECT / options["output"])})


@cache
def study_rows(study: str) -> dict[str, Row]:
    """The rows of a study, by variant."""
    return {row.variant: row for row in read_results(study).rows()}


def accuracy_text(row: Row) -> str:
    """Mean ± standard deviation in percent, with the number of seeds."""
    return f"{texts.mean_and_deviation(row.mean, row.standard_deviation)} (n = {row.num_seeds})"


def provenance_of(shown: Iterable[tuple[str, str, str]]) -> str:
    """The machines, versions and dates of all seeds of some variants."""
    by_variant = [read_results(study).records()[variant] for study, variant, _ in shown]
    return provenance([record for by_seed in by_variant for record in by_seed.values()])


def summary_table() -> str:
    """The accuracy of each config, at a glance."""
    rows, best = [], study_rows("best")["best"]
    for study, variant, title in SHOWN:
        row = study_rows(study)[variant]
        record = next(iter(read_results(study).records()[variant].values()))
        met = _requirements_text(record, row.mean)
        rows.append([title, accuracy_text(row), texts.range_text(row.epochs), f"{row.num_parameters:,}", met])
    return (
        f"{markdown_table(['config', 'test accuracy', 'epochs', 'parameters', 'requirements met'], rows)}\n\n"
        "Mean ± standard deviation over n seeds, after the last epoch; `best.yaml` averages nine views of each test "
        f"image; with one view it has {texts.percent(best.single_view_mean)} %. The requirements: at least "
        "99.4 % on average over the seeds, fewer than 20,000 parameters, fewer than 20 epochs, batch norm, "
        "dropout and global average pooling, as in the student project behind this one. Intervals, machines and each "
        "seed: [Results](docs/results.md); seconds: [Speed](docs/speed.md)."
    )


def _requirements_text(report: Record, mean_accuracy: float) -> str:
    """Which of the original's requirements a config meets; the accuracy is the mean over seeds."""
    names = ("accuracy", "parameters", "epochs", "batch norm", "dropout", "global average pooling")
    met = [is_accurate(mean_accuracy), *(requirement.is_met for requirement in report.requirements[1:])]
    missed = [name for name, is_met in zip(names, met, strict=True) if not is_met]
    text = f"{len(names) - len(missed)} of {len(names)}"
    return f"{text} (missing: {', '.join(missed)})" if missed else text


def results_table() -> str:
    """The accuracy of each config, with its intervals."""
    header = ["config", "precision", "parameters", "epochs", "test accuracy, % ± standard deviation"]
    header += ["95 % interval of the mean, points", "binomial deviation, points", "min–max", "test images are read"]
    rows = []
    for study, variant, title in SHOWN:
        row = study_rows(study)[variant]
        binomial_deviation = (row.mean * (1 - row.mean) / NUM_TEST_IMAGES) ** 0.5
        read = "once, at the end" if row.measured_on.endswith("once") else "after each epoch"
        cells = [title, ", ".join(row.precisions), f"{row.num_parameters:,}", texts.range_text(row.epochs)]
        cells += [f"{accuracy_text(row)}{texts.single_view_text(row)}", texts.interval_text(row)]
        cells += [texts.percent(binomial_deviation), f"{texts.percent(row.min)}–{texts.percent(row.max)}"]
        rows.append([*cells, read])
    return (
        f"{markdown_table(header, rows)}\n\n"
        "Mean ± standard deviation over seeds; 95 % confidence interval (Student's t) of the expected accuracy over "
        "seeds, on these 10,000 test images. Binomial: the standard deviation of one accuracy over test sets of 10,000 "
        "new images, √(p (1 − p) / 10,000); more seeds do not reduce it. It is not the error of the "
        "difference of two configs: they are tested on the same images, so that error depends on the images that only "
        "one of them gets right. Each seed's report is in [results/](../results); [Speed](speed.md) compares "
        f"training times. {provenance_of(SHOWN)}"
    )


def study_text(name: str) -> str:
    """The table of a study, and how it was made."""
    study = read_results(name)
    records = [record for by_seed in study.records().values() for record in by_seed.values()]
    return f"{texts.study_table(study.rows())}\n\n{study.note} {provenance(records)} [Seeds](../results/{name})."


def fashion_table() -> str:
    """The accuracy on Fashion-MNIST beside published figures."""
    header, row = ["network", "parameters", "test accuracy, %", "source"], study_rows("fashion")["fashion"]
    accuracy = f"{accuracy_text(row)}{texts.single_view_text(row)}"
    ours = ["`fashion.yaml`", f"{row.num_parameters:,}", accuracy, "[results](../results/fashion)"]
    published = [list(claim.values()) for claim in read_csv(PROJECT / "results" / "fashion" / "published.csv")]
    return (
        f"{markdown_table(header, [ours, *published])}\n\n"
        f"Ours: mean ± standard deviation over seeds. {provenance_of([('fashion', 'fashion', '')])}"
    )


def ablations_table() -> str:
    """The effect of each ingredient of the recipe: the recipe's accuracy minus that without it."""
    recipe, *others = study_rows("ablations").values()
    baseline = study_rows("baseline")["as listed"]
    header = ["variant", "parameters", "test accuracy"]
    header += ["effect of the ingredient, percentage points (95 % interval)"]
    header += ["p (Holm)", "detectable effect", "verdict"]
    rows = [[recipe.variant, f"{recipe.num_parameters:,}", accuracy_text(recipe), *4 * [""]]]
    for row in others:
        ends = (row.difference, row.difference_high_95, row.difference_low_95)
        brings, low, high = (texts.percent(None if end is None else -end, "+.2f") for end in ends)
        cells = [row.variant, f"{row.num_parameters:,}", accuracy_text(row), f"{brings} ({low} to {high})"]
        rows.append([*cells, texts.p_text(row), f"± {texts.percent(row.detectable_difference)}", _effect(row)])
    title = "the baseline as published, 1 epoch"
    rows.append([title, f"{baseline.num_parameters:,}", accuracy_text(baseline), *4 * [""]])
    return (
        f"{markdown_table(header, rows)}\n\n"
        "A positive effect means that the recipe's choice is better. Test images, read after each epoch; the last "
        "epoch counts. Each variant keeps the recipe's other settings; none was tuned, for example with a lower "
        "learning rate without batch norm. Batches of 128 images mean four times as many steps. "
        f"{texts.HOLM_TEXT} {provenance_of(('ablations', variant, '') for variant in study_rows('ablations'))}"
    )


def _effect(row: Row) -> str:
    """Whether the recipe or the variant is better."""
    if row.p_value is None:
        return "not tested"
    if not row.differs:
        return "not significant"
    return "recipe better" if (row.difference or 0) < 0 else "variant better"


def _ingredients(effect: str) -> str:
    """Those of the claim's five ingredients that have this effect."""
    names = ("batch norm", "dropout", "global average pooling", "augmentation", "OneCycleLR")
    rows = study_rows("ablations")
    return ", ".join(name for name in names if _effect(rows[f"no {name}"]) == effect) or "none"


def claims_table() -> str:
    """The original's claims beside what was measured."""
    recipe = study_rows("recipe")["all 15 epochs"]
    first_epochs = texts.first_epochs_text(recipe.first_accurate_epochs)
    baseline, with_relu = (study_rows("baseline")[variant] for variant in ("as listed", "with a ReLU on the logits"))
    fully_connected = num_trainable_parameters(OptimizedNet(head="fully_connected"))
    claims = {
        "99.42 % in 12 epochs": (
            f"The first epoch with 99.4 % is epoch {first_epochs} of 15: median "
            f"and range of {recipe.num_seeds} seeds. Stopping there uses the test images to choose the epoch, so its "
            f"accuracy is biased upwards. The last epoch has {accuracy_text(recipe)}."
        ),
        "18,962 parameters": f"{recipe.num_parameters:,}: true.",
        "the baseline has about 2.3 million parameters": f"{baseline.num_parameters:,} as its layers are listed.",
        "the baseline reaches 28 % after one epoch": (
            f"{accuracy_text(baseline)}; with a ReLU on its logits {accuracy_text(with_relu)}."
        ),
        "batch norm, dropout, global average pooling, augmentation and OneCycleLR make the difference": (
            "Removed one at a time, in runs of five epochs, with all else as it was (see below). Improves accuracy: "
            f"{_ingredients('recipe better')}. Reduces it: {_ingredients('variant better')}. "
            f"No significant effect: {_ingredients('not significant')}."
        ),
        "global average pooling is required, or optional": (
            "The original says both. Within its limit of 20,000 parameters it is required: with a fully connected "
            f"layer instead, the network has {fully_connected:,}."
        ),
    }
    return markdown_table(["claim", "what we measured"], claims.items())
