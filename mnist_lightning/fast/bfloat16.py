"""bfloat16 on CPUs that are faster in it."""

import sys
import time
from functools import cache
from typing import Any

import torch
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.utilities import rank_zero_only
from torch.nn import functional as F  # noqa: N812  (PyTorch's usual name)
from typing_extensions import override

MIN_SPEEDUP = 1.1  # below this, bfloat16's rounding errors are not worth it


@cache
def bfloat16_speedup() -> float:
    """Measures the speed of a convolution and its gradients in bfloat16 relative to float32, in this process.

    Many processors emulate it, and some are slower with its instructions. Compares the fastest of several repeats of
    one of the optimized network's convolutions on 128 images: other work on the machine slows the others.
    """
    seconds: dict[torch.dtype, list[float]] = {torch.float32: [], torch.bfloat16: []}
    for _ in range(11):
        for dtype, timings in seconds.items():
            images, weight = (
                torch.full(shape, 0.5, dtype=dtype).to(memory_format=torch.channels_last).requires_grad_()
                for shape in ((128, 18, 14, 14), (28, 18, 3, 3))
            )
            start = time.perf_counter()
            F.conv2d(images, weight, padding=1).sum().backward()
            timings.append(time.perf_counter() - start)
    return min(seconds[torch.float32]) / min(seconds[torch.bfloat16])


class BFloat16WhereFast(MixedPrecision):
    """Autocasts to bfloat16 on CPUs that are faster with it; elsewhere computes in float32 and prints the reason."""

    def __init__(self) -> None:
        super().__init__("bf16-mixed", "cpu")
        speedup = bfloat16_speedup()
        self.is_active = speedup >= MIN_SPEEDUP
        if not self.is_active:
            self.precision: Any = "32-true"
            reason = f"is not faster in bfloat16 ({speedup:.2f} times the speed of float32)"
            rank_zero_only(print)(f"This processor {reason}: computing in float32.", file=sys.stderr, flush=True)

    @override
    def autocast_context_manager(self) -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16, self.is_active, cache_enabled=False)
