"""Images per second by batch size, threads, processes and width, and the machine's limits."""

import statistics
import time
from collections.abc import Callable, Iterator
from itertools import islice, repeat
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.benchmark.bare_loop import Loop, Setting
from benchmarks.benchmark.fit_process import fit_report
from benchmarks.benchmark.turns import ENVIRONMENT_OF_FIT, Run, Turns, close_on_exit, log
from mnist_lightning.fast.bfloat16 import BFloat16WhereFast

BATCH_SIZES = (32, 64, 128, 256, 512, 1024, 2048, 4096)
WIDTHS = (1, 2, 4)
CONVOLUTION_CHANNELS = (16, 18, 28, 32)  # those of the network's middle layers, and multiples of a vector's length
PROCESSES_AND_THREADS = ((1, 1), (1, 2), (2, 1))
MIN_IMAGES = 4096  # per timing, and at least two steps
NUM_EPOCHS_OF_FIT, NUM_STEPS_OF_FIT = 6, 24  # the first epoch is warm-up


def measure_scaling(num_repeats: int) -> dict[str, Any]:
    """Measures in one process, except what needs several.

    Args:
        num_repeats: timings of each point, in alternation, each after one step of warm-up.
    """
    run = Run("scaling", _scaling_in_a_turn, (num_repeats,))
    with close_on_exit([run]):
        figures = run.take_turn()
    del figures["peak_memory_mib"]
    log("scaling: convolutions")
    return figures | {"convolutions": measure_convolutions(num_repeats)}


def _scaling_in_a_turn(turns: Turns, num_repeats: int) -> None:
    turns.take(_scaling(num_repeats) for _ in range(1))


def _scaling(num_repeats: int) -> dict[str, Any]:
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
    log("scaling: processes, limits, profile")
    return {
        "precision": "bf16-mixed" if is_bfloat16 else "32-true",
        "points": [
            {
                "batch_size": batch,
                "width": width,
                "threads": threads,
                "images_per_second": timings[batch, width, threads],
            }
            for batch, width, threads in points
        ],
        "processes": [_images_per_second_of_fit(*each) for each in PROCESSES_AND_THREADS],
        "gigaflop_per_image": {str(width): _flop_per_image(width) / 1e9 for width in WIDTHS},
        "limits": machine_limits(),
        "profile": profile_step(is_bfloat16),
    }


def _images_per_second(loop: Loop, steps: Iterator[Tensor]) -> float:
    next(steps)  # warm-up
    num_images = loop.num_images
    start = time.perf_counter()
    for _ in islice(steps, max(2, MIN_IMAGES // loop.setting.batch_size)):
        pass
    return (loop.num_images - num_images) / (time.perf_counter() - start)


def _images_per_second_of_fit(num_processes: int, num_threads: int) -> dict[str, Any]:
    """Runs `fit` with 512 images per step, divided among processes (`ddp`)."""
    report = fit_report(
        *("--config", "configs/optimized.yaml", "--config", "configs/cpu.yaml"),
        *("--trainer.max_epochs", str(NUM_EPOCHS_OF_FIT)),
        *("--trainer.limit_train_batches", str(NUM_STEPS_OF_FIT), "--trainer.limit_val_batches", "0"),
        *("--data.batch_size", str(512 // num_processes), "--num_threads", str(num_threads)),
        *("--trainer.devices", str(num_processes)),
        *(("--trainer.strategy", "ddp") if num_processes > 1 else ()),
        environment={"OMP_NUM_THREADS": str(num_threads)},
    )
    rates = [NUM_STEPS_OF_FIT * 512 / epoch["seconds"] for epoch in report["epochs"][1:]]
    return {"processes": num_processes, "threads_each": num_threads, "images_per_second": rates}


def _flop_per_image(width: int) -> int:
    """Floating-point operations of a training step's convolutions per image; a multiply-add counts as two."""
    loop = Loop(Setting(width=width, backend="layers"), num_epochs=1)
    counter = FlopCounterMode(display=False)
    with counter:
        loop.module(torch.rand(8, 1, 28, 28)).sum().backward()
    return int(counter.get_total_flops() // 8)


def machine_limits(num_repeats: int = 7) -> dict[str, float]:
    """The machine's speed with all its threads at multiplying large matrices and at copying 128 MiB."""
    limits = {}
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        matrix = torch.rand(2048, 2048).to(dtype)
        seconds = _median_seconds(lambda matrix=matrix: matrix @ matrix, num_repeats)  # type: ignore[misc]
        limits[f"{name}_gigaflop_per_second"] = 2 * 2048**3 / seconds / 1e9
    source = torch.rand(2**25)
    target = torch.empty_like(source)
    seconds = _median_seconds(lambda: target.copy_(source), num_repeats)
    limits["copied_gigabytes_per_second"] = 2 * source.nbytes / seconds / 1e9  # read and written
    return limits


def measure_convolutions(num_turns: int) -> dict[str, dict[str, list[float]]]:
    """The figures of `convolution_speeds` by instruction set: the processor's, and AVX2 if it has AVX-512."""
    processor = torch.backends.cpu.get_cpu_capability()
    environments: dict[str, dict[str, str]] = {processor: {}}
    if processor == "AVX512":
        environments["AVX2"] = {"ONEDNN_MAX_CPU_ISA": "AVX2"}  # PyTorch's convolutions are oneDNN's
    runs = {
        name: Run(f"convolutions with {name}", _convolutions_in_turns, environment=ENVIRONMENT_OF_FIT | environment)
        for name, environment in environments.items()
    }
    with close_on_exit(runs.values()):
        portions = [{name: run.take_turn() for name, run in runs.items()} for _ in range(num_turns)]
    return {
        name: {
            str(channels): [portion[name][str(channels)] for portion in portions] for channels in CONVOLUTION_CHANNELS
        }
        for name in runs
    }


def _convolutions_in_turns(turns: Turns) -> None:
    turns.take(convolution_speeds() for _ in repeat(None))


def convolution_speeds(num_repeats: int = 15) -> dict[str, float]:
    """GFLOP/s of a 3×3 convolution in float32, by number of channels: 512 images of 14 × 14 pixels, with gradients."""
    speeds = {}
    for channels in CONVOLUTION_CHANNELS:
        convolution = nn.Conv2d(channels, channels, 3, padding=1, bias=False).to(memory_format=torch.channels_last)
        images = torch.rand(512, channels, 14, 14).to(memory_format=torch.channels_last).requires_grad_()
        grad_outputs = torch.rand_like(images)
        inputs = (images, convolution.weight)
        seconds = _median_seconds(
            lambda convolution=convolution, inputs=inputs, grad_outputs=grad_outputs: (  # type: ignore[misc]
                torch.autograd.grad(convolution(inputs[0]), inputs, grad_outputs)
            ),
            num_repeats,
        )
        # The output, and the gradients of the input and of the weight; a multiply-add counts as two.
        speeds[str(channels)] = 3 * 2 * 9 * channels**2 * images[:, 0].numel() / seconds / 1e9
    return speeds


def _median_seconds(function: Callable[[], object], num_repeats: int) -> float:
    seconds = []
    for _ in range(num_repeats + 2):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[2:])


def profile_step(is_bfloat16: bool, num_steps: int = 10, num_rows: int = 12) -> list[dict[str, Any]]:
    """The slowest operations of a step of 512 images, and the sum of all others."""
    losses = iter(Loop(Setting(is_bfloat16=is_bfloat16), num_epochs=1))
    for _ in islice(losses, 3):  # warm-up
        pass
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in islice(losses, num_steps):
            pass
    events = sorted(profiler.key_averages(), key=lambda event: -event.self_cpu_time_total)
    rows = [
        {"operation": event.key, "milliseconds_per_step": event.self_cpu_time_total / 1000 / num_steps}
        for event in events
    ]
    others = sum(row["milliseconds_per_step"] for row in rows[num_rows:])
    return [*rows[:num_rows], {"operation": "all others", "milliseconds_per_step": others}]
