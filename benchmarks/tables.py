"""`python -m benchmarks.tables`: the tables of README.md and docs/, from the files under `results/`."""

import hashlib
import json
import re
from collections.abc import Callable
from functools import partial
from statistics import median

from benchmarks.benchmark.report import (
    Figures,
    epochs_table,
    first_plain_epochs,
    median_first_epoch,
    precision_text,
    process_table,
    read_part,
    seconds_to_accuracy,
    trainer_text,
)
from benchmarks.dashboards_cost import cost_text
from benchmarks.report_files import fields_table
from benchmarks.sizes import draw_sizes
from benchmarks.study_tables import (
    PROJECT,
    ablations_table,
    accuracy_text,
    claims_table,
    fashion_table,
    results_table,
    sizes_shown,
    sizes_text,
    study_rows,
    summary_table,
)
from mnist_lightning.export.comparison import BATCH_SIZE, NUM_ROUNDS
from mnist_lightning.files import atomic_write, from_json, markdown_table
from mnist_lightning.report.analysis import Analysis
from mnist_lightning.runs.acceptance import is_accurate
from mnist_lightning.runs.record import Record
from mnist_lightning.study.summary import StudyTable
from mnist_lightning.study.summary_text import first_epochs_text, percent

RESULTS = PROJECT / "results"
OUTPUTS = RESULTS / "outputs"  # which `make readme` writes
RELIABILITY = RESULTS / "reliability.json"  # which `make soak` writes
README = PROJECT / "README.md"
MODELS = PROJECT / "models"
PAGES = (README, *sorted((PROJECT / "docs").glob("*.md")), MODELS / "README.md")


def headline() -> str:
    """The README's first sentence."""
    is_bfloat16 = _benchmark("scaling")["precision"] == "bf16-mixed"  # what cpu.yaml chose on the benchmark's machine
    fast = study_rows("fast")["fast, bfloat16" if is_bfloat16 else "fast"]
    process = _benchmark("process")
    plain, fit = seconds_to_accuracy(process)
    ratio = median(a / b for a, b in zip(plain, fit, strict=True))
    first_epochs = first_plain_epochs(process)
    return (
        f"**{percent(fast.mean)} % on MNIST with {fast.num_parameters:,} parameters in {median(fit):.0f} seconds** "
        f"on {process['hardware']['cores']} CPU cores ({process['hardware']['processor']}"
        f"{', bfloat16' if is_bfloat16 else ''}), start-up and final test included: a PyTorch Lightning project with "
        f"YAML configs. The accuracy is the mean of {fast.num_seeds} seeds, "
        f"{sum(map(is_accurate, fast.accuracies))} of which reach 99.4 %; the time is the median of {len(fit)} runs. A "
        "plain PyTorch script of the recipe that this project started from first reaches 99.4 % in epoch "
        f"{first_epochs_text(first_epochs)}, the median and range of {len(first_epochs)} seeds; "
        f"{median_first_epoch(process):g} of its epochs take {median(plain):.0f} seconds on the same machine, "
        f"{ratio:.1f} times as long (the median over {len(fit)} rounds: [Speed](docs/speed.md)). "
        "Our numbers come from files in `results/`, which commands write ([Development](docs/development.md))."
    )


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


def reliability_text() -> str:
    """The counts of `make soak`."""
    counts = json.loads(RELIABILITY.read_text(encoding="utf-8"))
    kills, damage, odd = counts["kills"], counts["damaged_checkpoints"], counts["odd_input"]
    return (
        f"`make soak`, {counts['date']}: runs that write a checkpoint after each step were killed "
        f"{kills['num_kills']} times with SIGKILL, {kills['num_kills_inside_a_write']} of them inside the write of a "
        "checkpoint. `last.ckpt` was intact each "
        f"time, the runs resumed, {kills['num_resumed_in_the_middle_of_an_epoch']} times in the middle of an epoch, "
        f"and {kills['num_runs_that_ended_the_same']} of {kills['num_runs']} runs ended like an "
        f"uninterrupted one, bit for bit: {kills['compared'].rstrip(',')}. Of {damage['num_damaged']:,} checkpoints "
        f"that were cut short, had a bit flipped or were partly overwritten with noise, {damage['num_refused']:,} were "
        f"rejected; the other {damage['num_unchanged']} were unchanged. {odd['num_command_lines']} command lines and "
        f"{odd['num_configs']} configs with random mistakes, and {odd['num_runs']} runs with a random setting, "
        "produced no traceback."
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
        "to 28 × 28. A confident answer to a letter, a symbol or empty paper is wrong. All pictures but MNIST's are "
        "synthetic: a program writes in fonts or with pen strokes, and photographs. The preparation was chosen on "
        f"pictures with other faces, strokes and seeds; these have {figures['num_faces']} faces and "
        f"{figures['num_pens']} pens. The set was measured for several versions of `read` and of the network, "
        "the last ones with the same seed. "
        f"torch {versions['torch']}, pillow {versions['pillow']}, scipy {versions['scipy']}; "
        f"{figures['date']}."
    )


def model_text() -> str:
    """The accuracy of the shipped model and of other seeds, and the file's checksum."""
    report = from_json(Record, (MODELS / "mnist.json").read_text(encoding="utf-8"))
    checkpoint = (MODELS / "mnist.ckpt").read_bytes()
    assert report.test is not None
    return (
        f"Accuracy on the 10,000 MNIST test images, which were read once, after training: "
        f"**{report.test.accuracy:.2%}** with test-time augmentation, {report.test.single_view_accuracy:.2%} without. "
        f"Over seeds: {accuracy_text(study_rows('best')['best'])}, mean ± standard deviation; the shipped seed was not "
        f"chosen by its accuracy. Trained on {report.date} with torch {report.versions['torch']}.\n\n"
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
    "report_fields": partial(fields_table, Record),
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
    draw_sizes(sizes_shown(), RESULTS / "sizes" / "parameters.png")
