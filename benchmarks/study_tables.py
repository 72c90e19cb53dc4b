"""The tables of what studies measured: accuracies, sizes, ingredients and claims."""

import dataclasses
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from benchmarks.sizes import sizes_table
from mnist_lightning.files import markdown_table
from mnist_lightning.network import OptimizedNet, num_trainable_parameters
from mnist_lightning.runs.acceptance import is_accurate
from mnist_lightning.runs.record import Record
from mnist_lightning.study.command import read_study
from mnist_lightning.study.study import Study, provenance
from mnist_lightning.study.summary import MeasuredRow, differs
from mnist_lightning.study.summary_text import (
    HOLM_TEXT,
    first_epochs_text,
    interval_text,
    mean_and_deviation,
    p_text,
    percent,
    range_text,
    single_view_text,
)

PROJECT = Path(__file__).parents[1]
NUM_TEST_IMAGES = 10_000

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
# The networks of docs/sizes.md, from small to large: the study, its variant, and the config as a reader calls it.
SIZES = (
    ("sizes", "under 2,500", "`sizes/under_2500.yaml`"),
    ("sizes", "under 5,000", "`sizes/under_5000.yaml`"),
    ("sizes", "under 8,000", "`sizes/under_8000.yaml`"),
    ("best", "best", "`best.yaml`"),
    ("double_channels", "double channels", "`best.yaml` with double channels"),
)
# The rows of the first tables: the study, its variant, and the config as a reader calls it.
SHOWN = (
    ("recipe", "all 15 epochs", "`optimized.yaml`, all 15 epochs"),
    ("fast", "fast", "`fast.yaml`"),
    ("fast", "fast, bfloat16", "`fast.yaml` + `cpu.yaml`"),
    ("best", "best", "`best.yaml`"),
    ("baseline", "as listed", "`baseline.yaml`"),
)


def read_results(name: str) -> Study:
    """The study of `configs/studies/NAME.yaml`, wherever this was started."""
    study = read_study(PROJECT / "configs" / "studies" / f"{name}.yaml")
    return dataclasses.replace(study, output=str(PROJECT / study.output))


@cache
def study_rows(study: str) -> dict[str, MeasuredRow]:
    """The rows of a study, by variant."""
    return {row.variant: row for row in read_results(study).rows() if isinstance(row, MeasuredRow)}


def accuracy_text(row: MeasuredRow) -> str:
    """Mean ± standard deviation in percent, with the number of seeds."""
    return f"{mean_and_deviation(row.mean, row.standard_deviation)} (n = {row.num_seeds})"


def summary_table() -> str:
    """The accuracy of each config, at a glance."""
    header = ["config", "test accuracy", "epochs", "parameters", "requirements met"]
    rows = []
    for study, variant, title in SHOWN:
        row = study_rows(study)[variant]
        report = next(iter(read_results(study).reports(variant).values()))
        rows.append(
            [
                *(title, accuracy_text(row), range_text(row.epochs), f"{row.num_parameters:,}"),
                _requirements_text(report, row.mean),
            ]
        )
    return (
        f"{markdown_table(header, rows)}\n\n"
        "Mean ± standard deviation over n seeds, after the last epoch; `best.yaml` averages nine views of each test "
        f"image; with one view it has {percent(study_rows('best')['best'].single_view_mean)} %. The requirements: at "
        "least 99.4 % on average over the seeds, fewer than 20,000 parameters, fewer than 20 epochs, batch norm, "
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
    header = [
        *("config", "precision", "parameters", "epochs", "test accuracy, % ± standard deviation"),
        *("95 % interval of the mean, points", "binomial deviation, points", "min–max", "test images are read"),
    ]
    rows = []
    for study, variant, title in SHOWN:
        row = study_rows(study)[variant]
        read = "once, at the end" if row.measured_on.endswith("once") else "after each epoch"
        rows.append(
            [
                *(title, ", ".join(row.precisions), f"{row.num_parameters:,}", range_text(row.epochs)),
                *(
                    f"{accuracy_text(row)}{single_view_text(row)}",
                    interval_text(row),
                    percent(_binomial_deviation(row)),
                ),
                *(f"{percent(row.min)}–{percent(row.max)}", read),
            ]
        )
    return (
        f"{markdown_table(header, rows)}\n\n"
        "Mean ± standard deviation over seeds; 95 % confidence interval (Student's t) of the expected accuracy over "
        "seeds, on these 10,000 test images. Binomial: the standard deviation of one accuracy over test sets of 10,000 "
        "new images, √(p (1 − p) / 10,000); more seeds do not reduce it. It is not the error of the "
        "difference of two configs: they are tested on the same images, so that error depends on the images that only "
        "one of them gets right. Each seed's report is in [results/](../results); [Speed](speed.md) compares "
        f"training times. {_provenance(SHOWN)}"
    )


def _provenance(shown: Iterable[tuple[str, str, str]]) -> str:
    return provenance(report for study, variant, _ in shown for report in read_results(study).reports(variant).values())


def _binomial_deviation(row: MeasuredRow) -> float:
    return float((row.mean * (1 - row.mean) / NUM_TEST_IMAGES) ** 0.5)


def sizes_shown() -> dict[str, MeasuredRow]:
    """The rows of SIZES, by what a reader calls them."""
    return {title: study_rows(study)[variant] for study, variant, title in SIZES}


def sizes_text() -> str:
    """Accuracy by number of parameters, beside published runs."""
    gains = [row.mean - (row.single_view_mean or row.mean) for row in sizes_shown().values()]
    return (
        f"{sizes_table(sizes_shown())}\n\n"
        "Ours: mean ± standard deviation over n seeds after the last epoch, with test-time augmentation: the average "
        f"over nine views of each image, which adds {percent(min(gains))} to {percent(max(gains))} points; interval by "
        "Student's t. Their settings were chosen on held-out training images (the idea of `best.yaml` came from trials "
        "that used the test images; double channels have its settings, without a choice of their own), and the test "
        "images are read once. "
        "Published: one run each, read on 2026-11-28 in the file named, and not repeated by us; the files do not "
        "mention such an average. Their authors name the best epoch on the test images, the last one, or none. "
        f"Parameters: trainable ones. {_provenance(SIZES)}"
    )


def fashion_table() -> str:
    """The accuracy on Fashion-MNIST beside published figures."""
    header, row = ["network", "parameters", "test accuracy, %", "source"], study_rows("fashion")["fashion"]
    accuracy = f"{accuracy_text(row)}{single_view_text(row)}"
    ours = ("`fashion.yaml`", f"{row.num_parameters:,}", accuracy, "[results](../results/fashion)")
    return (
        f"{markdown_table(header, [ours, *PUBLISHED_ON_FASHION])}\n\n"
        f"Ours: mean ± standard deviation over seeds. {read_results('fashion').provenance()}"
    )


def ablations_table() -> str:
    """The effect of each ingredient of the recipe: the recipe's accuracy minus that without it."""
    recipe, *others = study_rows("ablations").values()
    baseline = study_rows("baseline")["as listed"]
    header = ["variant", "parameters", "test accuracy"]
    header += [
        "effect of the ingredient, percentage points (95 % interval)",
        "p (Holm)",
        "detectable effect",
        "verdict",
    ]
    rows = [[recipe.variant, f"{recipe.num_parameters:,}", accuracy_text(recipe), *4 * [""]]]
    for row in others:
        ends = (row.difference, row.difference_high_95, row.difference_low_95)
        brings, low, high = (percent(None if end is None else -end, "+.2f") for end in ends)
        rows.append(
            [
                *(row.variant, f"{row.num_parameters:,}", accuracy_text(row), f"{brings} ({low} to {high})"),
                *(p_text(row), f"± {percent(row.detectable_difference)}", _effect(row)),
            ]
        )
    rows.append(
        ["the baseline as published, 1 epoch", f"{baseline.num_parameters:,}", accuracy_text(baseline), *4 * [""]]
    )
    return (
        f"{markdown_table(header, rows)}\n\n"
        "A positive effect means that the recipe's choice is better. Test images, read after each epoch; the last "
        "epoch counts. Each variant keeps the recipe's other settings; none was tuned, for example with a lower "
        "learning rate without batch norm. Batches of 128 images mean four times as many steps. "
        f"{HOLM_TEXT} {read_results('ablations').provenance()}"
    )


def _effect(row: MeasuredRow) -> str:
    """Whether the recipe or the variant is better."""
    if row.p_value is None:
        return "not tested"
    if not differs(row):
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
    baseline, with_relu = (study_rows("baseline")[variant] for variant in ("as listed", "with a ReLU on the logits"))
    fully_connected = num_trainable_parameters(OptimizedNet(head="fully_connected"))
    claims = [
        (
            "99.42 % in 12 epochs",
            f"The first epoch with 99.4 % is epoch {first_epochs_text(recipe.first_accurate_epochs)} of 15: median and "
            f"range of {recipe.num_seeds} seeds. Stopping there uses the test images to choose the epoch, so its "
            f"accuracy is biased upwards. The last epoch has {accuracy_text(recipe)}.",
        ),
        ("18,962 parameters", f"{recipe.num_parameters:,}: true."),
        ("the baseline has about 2.3 million parameters", f"{baseline.num_parameters:,} as its layers are listed."),
        (
            "the baseline reaches 28 % after one epoch",
            f"{accuracy_text(baseline)}; with a ReLU on its logits {accuracy_text(with_relu)}.",
        ),
        (
            "batch norm, dropout, global average pooling, augmentation and OneCycleLR make the difference",
            "Removed one at a time, in runs of five epochs, with all else as it was (see below). Improves accuracy: "
            f"{_ingredients('recipe better')}. Reduces it: {_ingredients('variant better')}. "
            f"No significant effect: {_ingredients('not significant')}.",
        ),
        (
            "global average pooling is required, or optional",
            "The original says both. Within its limit of 20,000 parameters it is required: with a fully connected "
            f"layer instead, the network has {fully_connected:,}.",
        ),
    ]
    return markdown_table(["claim", "what we measured"], claims)
