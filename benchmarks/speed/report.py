"""The benchmark's report: a table or two for each of its JSON files."""

import json
import math
import statistics
from pathlib import Path
from typing import Any

from mnist_lightning.files import markdown_table
from mnist_lightning.runs.acceptance import first_accurate_epoch
from mnist_lightning.study.table import mean_and_deviation, percent

Figures = dict[str, Any]


def read_part(directory: Path, part: str) -> Figures:
    """The figures of one part; raises FileNotFoundError if it was not measured."""
    return dict(json.loads((directory / f"{part}.json").read_text(encoding="utf-8")))


def report_text(directory: Path) -> str:
    """The page about what was measured into `directory`."""
    text = "# Benchmark\n\nWritten by `make benchmark`: each table comes from a JSON file in this folder.\n"
    for part, (title, section) in SECTIONS.items():
        if (directory / f"{part}.json").exists():
            text += f"\n## {title}\n\n{section(read_part(directory, part))}\n"
    return text


def _ratios(numerators: list[float], denominators: list[float]) -> list[float]:
    """Round by round: a disturbance of the machine in one round hits both."""
    return [a / b for a, b in zip(numerators, denominators, strict=True)]


def _median_and_range(values: list[float], form: str = ".1f") -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}}–{max(values):{form}})"


def _by_name(figures: Figures) -> dict[str, Figures]:
    return {row["name"]: row for row in figures["contenders"]}


def _reference(figures: Figures) -> Figures:
    """The plain script with the number of workers that is fastest on this machine."""
    plain = [row for name, row in _by_name(figures).items() if name.startswith("plain")]
    return min(plain, key=lambda row: statistics.median(row["train_seconds"]))


def epochs_table(figures: Figures) -> str:
    """The table of epochs: `fit` and the bare loop relative to the plain script."""
    reference, num_epochs = _reference(figures), figures["num_rounds"] + 1  # the first is warm-up
    header = ["what", "seconds of training per epoch", "speedup over the plain script", "seconds with evaluation"]
    header += ["peak memory, MiB", f"test accuracy after {num_epochs} epochs"]
    rows = []
    for row in figures["contenders"]:
        speedup = _median_and_range(_ratios(reference["train_seconds"], row["train_seconds"]), ".2f")
        cells = [row["title"], _median_and_range(row["train_seconds"]), speedup, _median_and_range(row["seconds"])]
        rows.append([*cells, f"{row['peak_memory_mib']:,.0f}", f"{percent(row['accuracies'][-1])} %"])
    if "gpu" not in _by_name(figures):
        rows.append(["`optimized.yaml` + `gpu.yaml`", "not measured: this machine has no GPU", *"––––"])
    return (
        f"{markdown_table(header, rows)}\n\n"
        f"{_epochs_method(figures)} Speedup: the training seconds of the {reference['title']} divided by those of the "
        f"row, round by round; median (range). Accuracy: seed 0, on a one-cycle schedule of {num_epochs} epochs. "
        f"Memory: the training process, without its loader workers. {provenance(figures)}"
    )


def _epochs_method(figures: Figures) -> str:
    steps = 118 if figures["max_steps"] is None else f"{figures['max_steps']} (of 118)"
    return (
        f"Median (range) of {figures['num_rounds']} epochs of {steps} steps of 512 images, after one warm-up epoch; "
        "the rows take turns, epoch by epoch."
    )


def trainer_text(figures: Figures) -> str:
    """The Trainer's cost relative to the bare loop, in a sentence."""
    rows = _by_name(figures)
    over_bare = _ratios(rows["cpu"]["train_seconds"], rows["bare"]["train_seconds"])
    lower, median, upper = statistics.quantiles(over_bare, n=4)
    return (
        f"Under the Trainer with all callbacks, a step takes {median:.2f} times as long as in the bare loop (median; "
        f"quartiles {lower:.2f} and {upper:.2f}): {figures['num_rounds']} turns of {figures['max_steps']} steps of 512 "
        "images, after one warm-up turn. The Trainer's work at the end of an epoch is only in the column `seconds with "
        f"evaluation`. {provenance(figures)}"
    )


def first_plain_epochs(figures: Figures) -> list[int | None]:
    """The epoch in which each seed of the plain script first reads 99.4 %; None if it never does."""
    return [first_accurate_epoch(row["val_accuracy"] for row in seed["epochs"]) for seed in figures["plain_seeds"]]


def median_first_epoch(figures: Figures) -> float:
    """The epoch after which the plain script first reads 99.4 %, the median of its seeds."""
    return statistics.median(epoch or math.inf for epoch in first_plain_epochs(figures))


def seconds_to_accuracy(figures: Figures) -> tuple[list[float], list[float]]:
    """Seconds of the plain script to 99.4 %, and of the whole process of `fast.yaml` with `cpu.yaml`, round by round.

    The plain script's are computed: the epochs that it needs, times the seconds of one epoch with evaluation.
    """
    plain = [median_first_epoch(figures) * seconds for seconds in _reference(figures)["seconds"]]
    return plain, _by_name(figures)["fast"]["seconds"]


def process_table(figures: Figures) -> str:
    """The table of whole processes: time to 99.4 %."""
    fast_row, seeds = _by_name(figures)["fast"], figures["plain_seeds"]
    plain, fast = seconds_to_accuracy(figures)
    plain_title = (
        f"{_reference(figures)['title']}, to 99.4 % on the test images: {median_first_epoch(figures):g} times an epoch "
        "with evaluation"
    )
    fast_title, ratios = f"{fast_row['title']}, the whole process", _median_and_range(_ratios(plain, fast))
    rows = [[plain_title, _median_and_range(plain, ".0f"), "1"], [fast_title, _median_and_range(fast, ".0f"), ratios]]
    rest = [whole - training for whole, training in zip(fast, fast_row["train_seconds"], strict=True)]
    first_epochs = ", ".join(str(epoch or "never") for epoch in first_plain_epochs(figures))
    last = [seed["epochs"][-1]["val_accuracy"] for seed in seeds]
    machines = {f"{seed['hardware']['processor']}; torch {seed['versions']['torch']}" for seed in seeds}
    return (
        f"{markdown_table(['what', 'seconds', 'speedup'], rows)}\n\n"
        f"Median (range) of {figures['num_rounds']} epochs of the plain script and as many processes of `fit`, "
        "each with another seed, in turns, after one round of warm-up. The plain script's seconds do not include "
        "its start. Speedup: median (range) of the ratios, round by round, not the ratio of the medians. The timed "
        f"runs of `fit` have {_accuracies_text(fast_row['accuracies'])}; they train for "
        f"{statistics.median(fast_row['train_seconds']):.1f} seconds, and start, test and end in "
        f"{statistics.median(rest):.1f} (medians). {provenance(figures)}\n\n"
        f"On a schedule of {len(seeds[0]['epochs'])} epochs, seeds of the plain script first reach 99.4 % in epoch "
        f"{first_epochs}; the ranges above do not include this spread. After the last epoch they have "
        f"{_accuracies_text(last)}. {'; '.join(sorted(machines))}; one thread per seed."
    )


def _accuracies_text(accuracies: list[float]) -> str:
    return f"{mean_and_deviation(statistics.mean(accuracies), statistics.stdev(accuracies))} (n = {len(accuracies)})"


def contention_table(figures: Figures) -> str:
    """The table of runs side by side and beside other work."""
    rows = _by_name(figures)
    alone = [rows["alone_1_thread"], rows["alone_2_threads"]]
    fastest = min(alone, key=lambda row: statistics.median(row["train_seconds"]))
    header = ["`optimized.yaml` + `cpu.yaml`", "seconds of training per epoch", "relative to the fastest run alone"]
    cells = []
    for row in rows.values():
        ratio = _median_and_range(_ratios(row["train_seconds"], fastest["train_seconds"]), ".2f")
        cells.append([row["title"], _median_and_range(row["train_seconds"]), ratio])
    gain = [2 * ratio for ratio in _ratios(fastest["train_seconds"], rows["side_by_side"]["train_seconds"])]
    return (
        f"{markdown_table(header, cells)}\n\n"
        f"{_epochs_method(figures)} Two seeds side by side with one thread each are {_median_and_range(gain, '.2f')} "
        f"times as fast as one after the other with {_threads(fastest['num_threads'])}. The busy process "
        f"computes without pause. {provenance(figures)}"
    )


def changes_table(figures: Figures) -> str:
    """The table of optimisations."""
    changes, num_steps = figures["changes"], figures["num_turns"] * figures["num_steps"]
    header = ["change, on top of those above", "milliseconds per step", "speedup over the row above"]
    header += ["speedup over the first row", f"mean loss, steps {num_steps // 2 + 1}–{num_steps}"]
    header += ["loss difference to the row above, step by step"]
    rows = []
    for before, row in zip([changes[0], *changes], changes, strict=False):
        speedups = [
            statistics.median(_ratios(slower["step_milliseconds"], row["step_milliseconds"]))
            for slower in (before, changes[0])
        ]
        times = _median_and_range(row["step_milliseconds"], ".0f")
        cells = [row["title"], times, *(f"{speedup:.2f}" for speedup in speedups)]
        loss_text = "–" if row is changes[0] else _loss_text(row)
        rows.append([*cells, f"{row['mean_loss_of_last_half']:.4f}", loss_text])
    return (
        f"{markdown_table(header, rows)}\n\n"
        f"{num_steps} steps of 512 images per setting, seed 0, in turns of {figures['num_steps']} steps; the first "
        "turn is warm-up. Milliseconds: median (range) over the turns; speedups: median of the ratios, turn by turn, "
        "not the ratio of the medians. Where two settings see the same batches and drop the same activations, their "
        "losses are compared step by step: they differ by rounding, which training amplifies. Where the random draws "
        "differ, compare the mean losses and the results over seeds. The first row is the plain script's computation."
        f"\n\n{provenance(figures)}"
    )


def _loss_text(row: Figures) -> str:
    if "same_draws" not in row:
        return "different random draws"
    if row["largest_loss_difference"] == 0:
        return "identical"
    where = " (without dropout)" if row["same_draws"] == "without dropout" else ""
    return (
        f"{row['loss_difference_of_first_step']:.1e} at the first step, {row['mean_loss_difference']:.1e} on average, "
        f"{row['largest_loss_difference']:.1e} at most{where}"
    )


def precision_text(scaling: Figures) -> str:
    """The precision that `cpu.yaml` chose on the benchmark's machine."""
    if scaling["precision"] == "bf16-mixed":
        return "On this processor bfloat16 is faster, so `cpu.yaml` uses it."
    return "On this processor bfloat16 is slower, so `cpu.yaml` uses float32, as `optimized.yaml` does."


def scaling_tables(figures: Figures) -> str:
    """The tables about batch size and threads, and about width and the machine's limit."""
    points, limits = figures["points"], figures["limits"]
    threads = sorted({point["threads"] for point in points})
    rates = {(point["batch_size"], point["width"], point["threads"]): point["images_per_second"] for point in points}
    by_batch = [
        [str(size), *(_median_and_range(rates[size, 1, each], ",.0f") for each in threads)]
        for size in sorted({point["batch_size"] for point in points})
    ]
    limit = limits[f"{'bfloat16' if figures['precision'] == 'bf16-mixed' else 'float32'}_gigaflop_per_second"]
    by_width = []
    for width, gigaflop in figures["gigaflop_per_image"].items():
        rate = rates[512, int(width), threads[-1]]
        reached = statistics.median(rate) * gigaflop
        cells = [f"×{width}", _median_and_range(rate, ",.0f"), f"{gigaflop:.4f}"]
        by_width.append([*cells, f"{reached:.0f}", f"{reached / limit:.0%}"])
    by_threads = [f"images per second, {_threads(each)}" for each in threads]
    of_width = ["images per second", "GFLOP per image, convolutions", "GFLOP/s", "share of the matrix products' speed"]
    return (
        f"{markdown_table(['images per step', *by_threads], by_batch)}\n\n"
        f"{markdown_table(['width', *of_width], by_width)}\n\n"
        f"The machine's speed with {_threads(threads[-1])}: products of 2048 × 2048 matrices at "
        f"{limits['float32_gigaflop_per_second']:.0f} GFLOP/s in float32 and "
        f"{limits['bfloat16_gigaflop_per_second']:.0f} in bfloat16. The images per second include augmentation, batch "
        "norm, pooling and the optimizer, whose operations are not counted. Training steps without the Trainer, "
        f"{figures['precision']}. Median (range) of {len(points[0]['images_per_second'])}. {provenance(figures)}"
    )


def _threads(number: int) -> str:
    return "1 thread" if number == 1 else f"{number} threads"


def provenance(figures: Figures) -> str:
    """The machine, the versions and the date of a part."""
    hardware, versions = figures["hardware"], figures["versions"]
    return (
        f"{hardware['processor']}, {hardware['cores']} cores; torch {versions['torch']}, "
        f"lightning {versions['lightning']}, Python {versions['python']}; {figures['date']}."
    )


SECTIONS = {
    "epochs": ("One epoch", epochs_table),
    "trainer": ("Cost of the Trainer", trainer_text),
    "process": ("The whole process", process_table),
    "contention": ("Beside other work", contention_table),
    "changes": ("Effect of each optimisation", changes_table),
    "scaling": ("Scaling", scaling_tables),
}
