"""bfloat16 on a CPU, where the processor computes in it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.utilities import rank_zero_only
from typing_extensions import override


def has_bfloat16_instructions() -> bool:
    """Whether this processor multiplies in bfloat16 (AVX-512 BF16, AMX or Arm BF16) rather than emulating it."""
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "arm_bf16", "bf16"))


class BFloat16WhereFast(MixedPrecision):
    """Autocasts to bfloat16 on a processor that has the instructions, else says so and stays in float32."""

    def __init__(self) -> None:
        super().__init__("bf16-mixed", "cpu")
        self.is_active = has_bfloat16_instructions()
        if not self.is_active:
            self.precision: Any = "32-true"
            _tell("This processor has no bfloat16 instructions: computing in float32.")

    @override
    @contextmanager
    def forward_context(self) -> Iterator[None]:
        with super().forward_context() if self.is_active else nullcontext():
            yield


@rank_zero_only
def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # standard output may be a table of predictions
