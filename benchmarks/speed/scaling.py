"""Images per second by batch size, threads and width, and the machine's limit."""

import statistics
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.speed.bare_loop import Loop, Setting
from benchmarks.speed.turns import Run, Turns, close_on_exit, log
from mnist_lightning.fast.bfloat16 import BFloat16WhereFast

BATCH_SIZES = (32, 64, 128, 256, 512, 1024, 2048, 4096)
WIDTHS = (1, 2, 4)
MIN_IMAGES = 4096  # per timing, and at least two steps


def measure_scaling(num_repeats: int) -> dict[str, Any]:
    """Times each point `num_repeats` times, in alternation, each after one step of warm-up, in a process of its own."""
    run = Run(_scaling, (num_repeats,))
    with close_on_exit([run]):
        return run.take_turn()


def _scaling(turns: Turns, num_repeats: int) -> None:
    turns.wait()
    max_threads = torch.get_num_threads()
    is_bfloat16 = BFloat16WhereFast().is_active
    points = [(512, width, max_threads) for width in WIDTHS[1:]]
    points += [(batch_size, 1, threads) for threads in sorted({1, max_threads}) for batch_size in BATCH_SIZES]
    settings = {(batch, width): Setting(batch, width, is_bfloat16=is_bfloat16) for batch, width, _ in points}
    loops = {key: Loop(setting, num_epochs=1000) for key, setting in settings.items()}
    steps = {key: iter(loop) for key, loop in loops.items()}
    timings: dict[tuple[int, int, int], list[float]] = {point: [] for point in points}
    for number in range(num_repeats):
        for point in points:
            batch_size, width, threads = point
            torch.set_num_threads(threads)
            timings[point].append(_images_per_second(loops[batch_size, width], steps[batch_size, width]))
        log(f"scaling: repeat {number + 1} of {num_repeats}")
    torch.set_num_threads(max_threads)
    log("scaling: limits")
    figures = {
        "precision": "bf16-mixed" if is_bfloat16 else "32-true",
        "points": [
            {"batch_size": batch, "width": width, "threads": threads, "images_per_second": rates}
            for (batch, width, threads), rates in timings.items()
        ],
        "gigaflop_per_image": {str(width): _flop_per_image(width) / 1e9 for width in WIDTHS},
        "limits": machine_limits(),
    }
    turns.end(figures)


def _images_per_second(loop: Loop, steps: Iterator[Tensor]) -> float:
    next(steps)  # warm-up
    num_images = loop.num_images
    start = time.perf_counter()
    for _ in islice(steps, max(2, MIN_IMAGES // loop.setting.batch_size)):
        pass
    return (loop.num_images - num_images) / (time.perf_counter() - start)


def _flop_per_image(width: int) -> int:
    """Floating-point operations of a training step's convolutions per image; a multiply-add counts as two."""
    loop = Loop(Setting(width=width, backend="layers"), num_epochs=1)
    counter = FlopCounterMode(display=False)
    with counter:
        loop.module(torch.rand(8, 1, 28, 28)).sum().backward()
    return int(counter.get_total_flops() // 8)


def machine_limits(num_repeats: int = 7) -> dict[str, float]:
    """The machine's speed at multiplying large matrices, with all its threads."""
    limits = {}
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        matrix = torch.rand(2048, 2048).to(dtype)
        seconds = []
        for _ in range(num_repeats + 2):
            start = time.perf_counter()
            matrix @ matrix
            seconds.append(time.perf_counter() - start)
        limits[f"{name}_gigaflop_per_second"] = 2 * 2048**3 / statistics.median(seconds[2:]) / 1e9  # after warm-up
    return limits
