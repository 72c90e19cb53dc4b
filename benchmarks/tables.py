"""`python -m benchmarks.tables`: writes the generated parts of the pages from the files under `results/`."""

import hashlib
import json
import re
from collections.abc import Callable
from functools import partial
from statistics import median

from benchmarks import studies
from benchmarks.record_fields import fields_table
from benchmarks.sizes import draw_sizes, sizes_text
from benchmarks.speed import report
from benchmarks.studies import PROJECT, accuracy_text, study_rows
from mnist_lightning.files import atomic_write, from_json, markdown_table
from mnist_lightning.report.analysis import Analysis
from mnist_lightning.runs.acceptance import is_accurate
from mnist_lightning.runs.record import Record
from mnist_lightning.study.table import Row, first_epochs_text, percent

RESULTS = PROJECT / "results"
BENCHMARK = RESULTS / "benchmark"
OUTPUTS = RESULTS / "outputs"  # which `make readme` writes
MODELS = PROJECT / "models"
PAGES = (PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md")), MODELS / "README.md")


read_part = partial(report.read_part, BENCHMARK)


def headline() -> str:
    """The README's first sentence."""
    is_bfloat16 = read_part("scaling")["precision"] == "bf16-mixed"  # what cpu.yaml chose there
    fast = study_rows("fast")["fast, bfloat16" if is_bfloat16 else "fast"]
    process = read_part("process")
    plain, fit = report.seconds_to_accuracy(process)
    ratio = median(a / b for a, b in zip(plain, fit, strict=True))
    first_epochs = report.first_plain_epochs(process)
    return (
        f"**{percent(fast.mean)} % on MNIST with {fast.num_parameters:,} parameters in {median(fit):.0f} seconds** "
        f"on {process['hardware']['cores']} CPU cores ({process['hardware']['processor']}"
        f"{', bfloat16' if is_bfloat16 else ''}), start-up and final test included: a PyTorch Lightning project with "
        f"YAML configs. The accuracy is the mean of {fast.num_seeds} seeds, "
        f"{sum(map(is_accurate, fast.accuracies))} of which reach 99.4 %; the time is the median of {len(fit)} runs. A "
        "plain PyTorch script of the recipe that this project started from first reaches 99.4 % in epoch "
        f"{first_epochs_text(first_epochs)}, the median and range of {len(first_epochs)} seeds; "
        f"{report.median_first_epoch(process):g} of its epochs take {median(plain):.0f} seconds on the same machine, "
        f"{ratio:.1f} times as long (the median over {len(fit)} rounds: [Speed](docs/speed.md)). "
        "Our numbers come from files in `results/`, which commands write ([Development](docs/development.md))."
    )


def speed_table() -> str:
    """The tables of the benchmark's epochs and whole processes, the precision, and what the Trainer costs."""
    epochs, scaling, trainer, process = (read_part(part) for part in ("epochs", "scaling", "trainer", "process"))
    costs = f"{report.precision_text(scaling)} {report.trainer_text(trainer)}"
    return f"{report.epochs_table(epochs)}\n\n{costs}\n\n{report.process_table(process)}"


def own_digits_table() -> str:
    """How `read` does on pictures from outside MNIST's training set, by kind."""
    figures = json.loads((RESULTS / "own_digits" / "own_digits.json").read_text(encoding="utf-8"))
    digits, versions = figures["digits"], figures["versions"]
    header = ["pictures", "n", "right", "wrong", "not sure", "no digit found"]
    names = ("n", "right", "wrong", "not_sure", "no_digit_found")
    kinds = {**figures["by_kind"], "all digits but MNIST's": digits}
    cells = [[kind, *(str(counts[name]) for name in names)] for kind, counts in kinds.items()]
    confident = digits["right"] + digits["wrong"]
    return (
        f"{markdown_table(header, cells)}\n\n"
        f"Of {confident:,} confident answers to pictures of digits, {digits['wrong'] / confident:.1%} are wrong. The "
        f"network recognises {digits['read_plainly'] / digits['n']:.1%} of the digits if the pictures are only resized "
        "to 28 × 28. A confident answer to a letter, a symbol or empty paper is wrong. All pictures but MNIST's are "
        "synthetic: a program writes in fonts or with pen strokes, and photographs. The preparation was chosen on "
        f"pictures with other faces, strokes and seeds; these have {figures['num_faces']} faces and "
        f"{figures['num_pens']} pens. The set was measured for several versions of `read` and of the network, "
        f"the last ones with the same seed. torch {versions['torch']}, pillow {versions['pillow']}, "
        f"scipy {versions['scipy']}; {figures['date']}."
    )


def model_text() -> str:
    """The accuracy of the shipped model and of other seeds, and the file's checksum."""
    record = from_json(Record, (MODELS / "mnist.json").read_text(encoding="utf-8"))
    checkpoint = (MODELS / "mnist.ckpt").read_bytes()
    assert record.test is not None
    return (
        f"Accuracy on the 10,000 MNIST test images, which were read once, after training: "
        f"**{record.test.accuracy:.2%}** with test-time augmentation, {record.test.single_view_accuracy:.2%} without. "
        f"Over seeds: {accuracy_text(study_rows('best')['best'])}, mean ± standard deviation; the shipped seed was not "
        f"chosen by its accuracy. Trained on {record.date} with torch {record.versions['torch']}.\n\n"
        f"{len(checkpoint) / 1000:.0f} kB, SHA-256 `{hashlib.sha256(checkpoint).hexdigest()}`"
    )


def output_of(command: str) -> str:
    """The output of a command that `make readme` ran."""
    return f"```\n{(OUTPUTS / f'{command}.txt').read_text(encoding='utf-8').strip()}\n```"


TABLES: dict[str, Callable[[], str]] = {
    "headline": headline,
    "summary": studies.summary_table,
    "results": studies.results_table,
    "sizes": sizes_text,
    "fashion": studies.fashion_table,
    "ablations": studies.ablations_table,
    "speed": speed_table,
    "claims": studies.claims_table,
    "own_digits": own_digits_table,
    "model": model_text,
    "report_output": partial(output_of, "report"),
    "read_output": partial(output_of, "read"),
    "export_output": partial(output_of, "export"),
    "kaggle": partial(studies.study_text, "kaggle"),
    "start": partial(studies.study_text, "start"),
    "report_fields": partial(fields_table, Record),
    "study_fields": partial(fields_table, Row),
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
    atomic_write(BENCHMARK / "README.md", report.report_text(BENCHMARK))
    draw_sizes(RESULTS / "sizes" / "parameters.png")
