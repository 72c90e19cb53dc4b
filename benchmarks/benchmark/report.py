"""The benchmark's report: tables from its JSON files."""

import json
import math
import statistics
from pathlib import Path
from typing import Any

from benchmarks.benchmark.charts import draw_epochs, draw_scaling
from mnist_lightning.files import atomic_write, markdown_table
from mnist_lightning.runs.acceptance import first_accurate_epoch
from mnist_lightning.study.summary_text import mean_and_deviation, percent

Figures = dict[str, Any]


def read_part(directory: Path, part: str) -> Figures | None:
    """The figures of one part; None if it was not measured."""
    path = directory / f"{part}.json"
    figures: Figures | None = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    return figures


def report_text(directory: Path) -> str:
    """The page about what was measured into `directory`."""
    text = ["# Benchmark", "", "Written by `make benchmark`: each table comes from a JSON file in this folder."]
    scaling = read_part(directory, "scaling")
    if epochs := read_part(directory, "epochs"):
        text += ["", "## One epoch", "", epochs_table(epochs), *(["", precision_text(scaling)] if scaling else [])]
        text += ["", f"![Training time per epoch: median and range of {epochs['num_rounds']} epochs](epochs.png)"]
    if trainer := read_part(directory, "trainer"):
        text += ["", "## Cost of the Trainer", "", trainer_text(trainer)]
    if process := read_part(directory, "process"):
        text += ["", "## The whole process", "", process_table(process)]
    if contention := read_part(directory, "contention"):
        text += ["", "## Beside other work", "", contention_table(contention)]
    if changes := read_part(directory, "changes"):
        text += ["", "## Effect of each optimisation", "", changes_table(changes)]
    if scaling:
        text += [
            "",
            "## Scaling",
            "",
            scaling_tables(scaling),
            "",
            "![Images per second by batch size, with median and range; computing speed by width](scaling.png)",
        ]
    return "\n".join(text) + "\n"


def write_report(directory: Path) -> None:
    """Writes the report and its charts beside the JSON files."""
    atomic_write(directory / "README.md", report_text(directory))
    if epochs := read_part(directory, "epochs"):
        draw_epochs(epochs, directory / "epochs.png")
    if scaling := read_part(directory, "scaling"):
        draw_scaling(scaling, directory / "scaling.png")


def _ratios(numerators: list[float], denominators: list[float]) -> list[float]:
    """Round by round: a disturbance of the machine in one round hits both."""
    return [a / b for a, b in zip(numerators, denominators, strict=True)]


def _median_and_range(values: list[float], form: str = ".1f") -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}}–{max(values):{form}})"


def _reference(rows: dict[str, Figures]) -> Figures:
    """The plain script with the number of workers that is fastest on this machine."""
    plain = [row for name, row in rows.items() if name.startswith("plain")]
    return min(plain, key=lambda row: statistics.median(row["train_seconds"]))


def epochs_table(figures: Figures) -> str:
    """The table of epochs: `fit` and the bare loop relative to the plain script."""
    rows = {row["name"]: row for row in figures["contenders"]}
    reference, num_epochs = _reference(rows), figures["num_rounds"] + 1  # the first is warm-up
    lines = [
        "| what | seconds of training per epoch | speedup over the plain script | seconds with evaluation "
        f"| peak memory, MiB | test accuracy after {num_epochs} epochs |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['title']} | {_median_and_range(row['train_seconds'])} "
        f"| {_median_and_range(_ratios(reference['train_seconds'], row['train_seconds']), '.2f')} "
        f"| {_median_and_range(row['seconds'])} | {row['peak_memory_mib']:,.0f} | {percent(row['accuracies'][-1])} % |"
        for row in rows.values()
    ]
    if "gpu" not in rows:
        lines.append("| `optimized.yaml` + `gpu.yaml` | not measured: this machine has no GPU | – | – | – | – |")
    lines += [
        "",
        f"{_epochs_method(figures)} Speedup: the training seconds of the {reference['title']} divided by those of the "
        f"row, round by round; median (range). Accuracy: seed 0, on a one-cycle schedule of {num_epochs} epochs. "
        f"Memory: the training process, without its loader workers{_imports_text(figures)}. {provenance(figures)}",
    ]
    return "\n".join(lines)


def _imports_text(figures: Figures) -> str:
    imports = figures.get("import_memory_mib", {})
    return "".join(f"; `import {module}` alone takes {mib:,.0f} MiB" for module, mib in imports.items())


def precision_text(scaling: Figures) -> str:
    """The precision that `cpu.yaml` chose on the benchmark's machine."""
    if scaling["precision"] == "bf16-mixed":
        return "On this processor bfloat16 is faster, so `cpu.yaml` uses it."
    return "On this processor bfloat16 is slower, so `cpu.yaml` uses float32, as `optimized.yaml` does."


def trainer_text(figures: Figures) -> str:
    """The Trainer's cost relative to the bare loop, in a sentence."""
    rows = {row["name"]: row for row in figures["contenders"]}
    over_bare = _ratios(rows["cpu"]["train_seconds"], rows["bare"]["train_seconds"])
    lower, median, upper = statistics.quantiles(over_bare, n=4)
    return (
        f"Under the Trainer with all callbacks, a step takes {median:.2f} times as long as in the bare loop (median; "
        f"quartiles {lower:.2f} and {upper:.2f}): {figures['num_rounds']} turns of {figures['max_steps']} steps of 512 "
        "images, after one warm-up turn. The Trainer's work at the end of an epoch is only in the column `seconds with "
        f"evaluation`. {provenance(figures)}"
    )


def _epochs_method(figures: Figures) -> str:
    steps = 118 if figures["max_steps"] is None else f"{figures['max_steps']} (of 118)"
    return (
        f"Median (range) of {figures['num_rounds']} epochs of {steps} steps of 512 images, after one warm-up epoch; "
        "the rows take turns, epoch by epoch."
    )


def median_first_epoch(figures: Figures) -> float:
    """The epoch after which the plain script first reads 99.4 %, the median of its seeds."""
    return statistics.median(epoch or math.inf for epoch in first_plain_epochs(figures))


def first_plain_epochs(figures: Figures) -> list[int | None]:
    """The epoch in which each seed of the plain script first reads 99.4 %; None if it never does."""
    return [first_accurate_epoch(row["val_accuracy"] for row in seed["epochs"]) for seed in figures["plain_seeds"]]


def seconds_to_accuracy(figures: Figures) -> tuple[list[float], list[float]]:
    """Seconds of the plain script to 99.4 %, and of the whole process of `fast.yaml` with `cpu.yaml`, round by round.

    The plain script's are computed: the epochs that it needs, times the seconds of one epoch with evaluation.
    """
    rows = {row["name"]: row for row in figures["contenders"]}
    return [median_first_epoch(figures) * epoch for epoch in _reference(rows)["seconds"]], rows["fast"]["seconds"]


def process_table(figures: Figures) -> str:
    """The table of whole processes: time to 99.4 %."""
    (fast_row,) = (row for row in figures["contenders"] if row["name"] == "fast")
    plain, fast = seconds_to_accuracy(figures)
    first_epochs = first_plain_epochs(figures)
    last = [seed["epochs"][-1]["val_accuracy"] for seed in figures["plain_seeds"]]
    reference = _reference({row["name"]: row for row in figures["contenders"]})
    rest = [whole - training for whole, training in zip(fast, fast_row["train_seconds"], strict=True)]
    return "\n".join(
        [
            "| what | seconds | speedup |",
            "|---|---|---|",
            f"| {reference['title']}, to 99.4 % on the test images: {median_first_epoch(figures):g} times an epoch "
            f"with evaluation | {_median_and_range(plain, '.0f')} | 1 |",
            f"| {fast_row['title']}, the whole process | {_median_and_range(fast, '.0f')} "
            f"| {_median_and_range(_ratios(plain, fast))} |",
            "",
            f"Median (range) of {figures['num_rounds']} epochs of the plain script and as many processes of `fit`, "
            "each with another seed, in turns, after one round of warm-up. The plain script's seconds do not include "
            "its start. Speedup: median (range) of the ratios, round by round, not the ratio of the medians. The timed "
            f"runs of `fit` have {_accuracies_text(fast_row['accuracies'])}; they train for "
            f"{statistics.median(fast_row['train_seconds']):.1f} seconds, and start, test and end in "
            f"{statistics.median(rest):.1f} (medians). {provenance(figures)}",
            "",
            f"On a schedule of {len(figures['plain_seeds'][0]['epochs'])} epochs, seeds of the plain script first "
            f"reach 99.4 % in epoch {', '.join(str(epoch or 'never') for epoch in first_epochs)}; the ranges above "
            f"do not include this spread. After the last epoch they have {_accuracies_text(last)}. "
            f"{_seeds_provenance(figures)}",
        ]
    )


def _accuracies_text(accuracies: list[float]) -> str:
    deviation = statistics.stdev(accuracies) if len(accuracies) > 1 else None
    return f"{mean_and_deviation(statistics.mean(accuracies), deviation)} (n = {len(accuracies)})"


def _seeds_provenance(figures: Figures) -> str:
    seeds = figures["plain_seeds"]
    machines = {f"{seed['hardware']['processor']}; torch {seed['versions']['torch']}" for seed in seeds}
    return f"{'; '.join(sorted(machines))}; one thread per seed."


def contention_table(figures: Figures) -> str:
    """The table of runs side by side and beside other work."""
    rows = {row["name"]: row for row in figures["contenders"]}
    alone = [rows["alone_1_thread"], rows["alone_2_threads"]]
    fastest = min(alone, key=lambda row: statistics.median(row["train_seconds"]))
    lines = [
        "| `optimized.yaml` + `cpu.yaml` | seconds of training per epoch | relative to the fastest run alone |",
        "|---|---|---|",
    ]
    for row in rows.values():
        ratio = _median_and_range(_ratios(row["train_seconds"], fastest["train_seconds"]), ".2f")
        lines.append(f"| {row['title']} | {_median_and_range(row['train_seconds'])} | {ratio} |")
    gain = [2 * ratio for ratio in _ratios(fastest["train_seconds"], rows["side_by_side"]["train_seconds"])]
    lines += [
        "",
        f"{_epochs_method(figures)} Two seeds side by side with one thread each are "
        f"{_median_and_range(gain, '.2f')} times as fast as one after the other with "
        f"{_plural(fastest['num_threads'], 'thread')}. The busy process computes without pause. {provenance(figures)}",
    ]
    return "\n".join(lines)


def changes_table(figures: Figures) -> str:
    """The table of optimisations."""
    rows = figures["changes"]
    first = rows[0]["step_milliseconds"]
    num_steps = figures["num_turns"] * figures["num_steps"]
    lines = [
        "| change, on top of those above | milliseconds per step | speedup over the row above | speedup over the first "
        f"row | mean loss, steps {num_steps // 2 + 1}–{num_steps} | loss difference to the row above, step by step |",
        "|---|---|---|---|---|---|",
    ]
    before = first
    for number, row in enumerate(rows):
        loss_text = _loss_text(row) if number else "–"
        lines.append(
            f"| {row['title']} | {_median_and_range(row['step_milliseconds'], '.0f')} "
            f"| {statistics.median(_ratios(before, row['step_milliseconds'])):.2f} "
            f"| {statistics.median(_ratios(first, row['step_milliseconds'])):.2f} "
            f"| {row['mean_loss_of_last_half']:.4f} | {loss_text} |"
        )
        before = row["step_milliseconds"]
    lines += [
        "",
        f"{num_steps} steps of 512 images per setting, seed 0, in turns of {figures['num_steps']} steps; the first "
        "turn is warm-up. Milliseconds: median (range) over the turns; speedups: median of the ratios, turn by turn, "
        "not the ratio of the medians. Where two settings see the same batches and drop the same activations, their "
        "losses are compared step by step: they differ by rounding, which training amplifies. Where the random draws "
        "differ, compare the mean losses and the results over seeds. The first row is the plain script's computation.",
        "",
        provenance(figures),
    ]
    return "\n".join(lines)


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


def scaling_tables(figures: Figures) -> str:
    """The tables about batch size and threads, processes, width, the machine's limits, and the profile of a step."""
    points = figures["points"]
    threads = sorted({point["threads"] for point in points})
    rate = {(point["batch_size"], point["width"], point["threads"]): point["images_per_second"] for point in points}
    lines = [
        "| images per step | " + " | ".join(f"images per second, {_plural(each, 'thread')}" for each in threads) + " |",
        "|---" * (1 + len(threads)) + "|",
    ]
    for batch_size in sorted({point["batch_size"] for point in points}):
        cells = [_median_and_range(rate[batch_size, 1, each], ",.0f") for each in threads]
        lines.append(f"| {batch_size} | {' | '.join(cells)} |")
    lines += ["", "| processes, 512 images per step in total | images per second |", "|---|---|"]
    for row in figures["processes"]:
        title = f"{_plural(row['processes'], 'process', 'es')}, {_plural(row['threads_each'], 'thread')} each"
        lines.append(f"| {title} | {_median_and_range(row['images_per_second'], ',.0f')} |")
    limits = figures["limits"]
    best = limits[
        "bfloat16_gigaflop_per_second" if figures["precision"] == "bf16-mixed" else "float32_gigaflop_per_second"
    ]
    lines += [
        "",
        "| width | images per second | GFLOP per image, convolutions | GFLOP/s | share of the matrix products' speed |",
        "|---|---|---|---|---|",
    ]
    for width, gigaflop in figures["gigaflop_per_image"].items():
        rates = rate[512, int(width), threads[-1]]
        reached = statistics.median(rates) * gigaflop
        lines.append(
            f"| ×{width} | {_median_and_range(rates, ',.0f')} | {gigaflop:.4f} | {reached:.0f} | {reached / best:.0%} |"
        )
    total = sum(row["milliseconds_per_step"] for row in figures["profile"])
    lines += [
        "",
        f"The machine's speed with {_plural(threads[-1], 'thread')}: products of 2048 × 2048 matrices at "
        f"{limits['float32_gigaflop_per_second']:.0f} GFLOP/s in float32 and "
        f"{limits['bfloat16_gigaflop_per_second']:.0f} in bfloat16, copies at "
        f"{limits['copied_gigabytes_per_second']:.0f} GB/s, reads and writes together. The images per second include "
        "augmentation, batch norm, pooling and the optimizer, whose operations are not counted.",
        "",
        _convolutions_table(figures["convolutions"]),
        "",
        "| operation | milliseconds per step of 512 images | share |",
        "|---|---|---|",
        *[
            f"| {row['operation']} | {row['milliseconds_per_step']:.1f} | {row['milliseconds_per_step'] / total:.0%} |"
            for row in figures["profile"]
        ],
        "",
        f"Training steps without the Trainer, {figures['precision']}; processes: `fit` with `ddp`. Median (range) of "
        f"{len(points[0]['images_per_second'])}.",
        "",
        provenance(figures),
    ]
    return "\n".join(lines)


def _convolutions_table(speeds: dict[str, dict[str, list[float]]]) -> str:
    by_channels = next(iter(speeds.values()))
    header = ["instructions", *(f"GFLOP/s, {channels} channels" for channels in by_channels)]
    rows = [[name, *(_median_and_range(row[each], ".0f") for each in by_channels)] for name, row in speeds.items()]
    return (
        f"{markdown_table(header, rows)}\n\n"
        "3×3 convolutions of 512 images of 14 × 14 pixels in float32, forward and backward; median (range) of "
        f"{len(next(iter(by_channels.values())))}. The network has 18 and 28 channels. A vector holds 8 (AVX2) or 16 "
        "(AVX-512) of them."
    )


def _plural(number: int, noun: str, ending: str = "s") -> str:
    return f"{number} {noun}{'' if number == 1 else ending}"


def provenance(figures: Figures) -> str:
    """The machine, the versions and the date of a part."""
    hardware, versions = figures["hardware"], figures["versions"]
    return (
        f"{hardware['processor']}, {hardware['cores']} cores; torch {versions['torch']}, "
        f"lightning {versions['lightning']}, Python {versions['python']}; {figures['date']}."
    )
