"""Computes the optimized network's layers in fewer passes over memory, which take most of the time on a CPU.

The modules of network.py keep their weights and statistics; only the order of the arithmetic differs, which
tests/test_fused_layers.py compares with PyTorch's layers:

- Batch norm, ReLU, dropout and pooling after a convolution are computed together (kernels.py), forward and backward.
- Max pooling commutes with ReLU, with batch norm if its scale is positive, and with dropout if dropped activations
  count as the smallest. So pooling runs first, on activations with the sign of their scale, and batch norm and ReLU
  process a quarter of the values.
- Dropout needs no mask: whether an activation is dropped is a hash of its position and the step's seed.
- In evaluation mode, batch norm is constant and is merged into its convolution.
"""

import sys
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812  (PyTorch's usual name)
from typing_extensions import override

PLAIN = {"kernel_size": (3, 3), "padding": (1, 1), "stride": (1, 1), "dilation": (1, 1), "groups": 1, "bias": None}


class _Block(NamedTuple):
    """Layers that are computed together; dropout is included only before max pooling."""

    conv: nn.Conv2d
    batch_norm: nn.BatchNorm2d
    dropout: float  # probability
    pools: bool


def fused_forward(layers: nn.Sequential, images: Tensor) -> Tensor:
    """Computes `layers(images)`, up to rounding: the same output, gradients and batch norm statistics.

    Fuses each convolution with the batch norm and ReLU after it; other layers run unchanged. The images (B, C, H, W)
    are float and on a CPU; the layers are in training or evaluation mode.
    """
    outputs, remaining = images, list(layers)
    while remaining:
        block, length = _leading_block(remaining, outputs)
        if block is None:
            outputs = remaining[0](outputs)
        else:
            forward = _forward_in_training if block.conv.training else _forward_in_evaluation
            outputs = forward(block, outputs)
        remaining = remaining[length:]
    return outputs


@cache
def _kernels() -> ModuleType | None:
    """The compiled kernels, imported when training starts, because the import takes 0.3 s; None without Numba."""
    try:
        from mnist_lightning.fast import kernels
    except ImportError:
        rank_zero_only(print)("Numba is missing: training is slower. Run `pip install numba`.", file=sys.stderr)
        return None
    return kernels


def _leading_block(layers: list[nn.Module], inputs: Tensor) -> tuple[_Block | None, int]:
    """The block at the start of `layers` and its number of layers; None if the first layer is not part of a block."""
    match layers:
        case [nn.Conv2d(padding_mode="zeros") as conv, nn.BatchNorm2d(affine=True) as norm, nn.ReLU(), *rest]:
            is_plain = all(getattr(conv, name) == value for name, value in PLAIN.items())
        case _:
            return None, 1
    has_statistics = norm.track_running_stats and norm.momentum is not None
    is_frozen = any(layer.training != conv.training for layer in layers[:5])
    if not (is_plain and has_statistics) or is_frozen or (conv.training and _kernels() is None):
        return None, 1
    is_even = inputs.shape[2] % 2 == inputs.shape[3] % 2 == 0
    match rest:
        case [nn.MaxPool2d() as pool, *_] if is_even and _is_two_by_two(pool):
            return _Block(conv, norm, 0.0, True), 4
        case [nn.Dropout(p=p), nn.MaxPool2d() as pool, *_] if p < 1 and is_even and _is_two_by_two(pool):
            return _Block(conv, norm, p, True), 5
        case _:
            return _Block(conv, norm, 0.0, False), 3


def _is_two_by_two(pool: nn.MaxPool2d) -> bool:
    return pool.kernel_size in (2, (2, 2)) and pool.stride in (2, (2, 2)) and pool.padding == 0 and pool.dilation == 1


def _to_compute(tensor: Tensor) -> Tensor:
    """Converts to the dtype of convolutions, which is autocast's if it is enabled, in channels-last memory format."""
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else tensor.dtype
    return tensor.to(dtype, memory_format=torch.channels_last)


def _forward_in_evaluation(block: _Block, inputs: Tensor) -> Tensor:
    norm: Any = block.batch_norm  # whose statistics may be None, but are not: see _leading_block
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()  # (C,)
    shift = norm.bias - norm.running_mean * scale
    inputs, weight = _to_compute(inputs), _to_compute(block.conv.weight * scale.view(-1, 1, 1, 1))
    with torch.autocast("cpu", enabled=False):
        outputs = F.conv2d(inputs, weight, shift.to(weight.dtype), padding=1)
    if block.pools:
        outputs = F.max_pool2d(outputs, 2)
    return outputs.relu_()


def _forward_in_training(block: _Block, inputs: Tensor) -> Tensor:
    norm: Any = block.batch_norm
    inputs, weight = _to_compute(inputs), _to_compute(block.conv.weight)
    with torch.autocast("cpu", enabled=False):
        outputs, mean, variance = _ConvBatchNormReLU.apply(inputs, weight, norm.weight, norm.bias, block)
    num_values = inputs[:, 0].numel()
    with torch.no_grad():
        norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), norm.momentum)
        unbiased = variance * (num_values / (num_values - 1))
        norm.running_var.lerp_(unbiased.to(norm.running_var.dtype), norm.momentum)
        norm.num_batches_tracked.add_(1)
    return outputs  # type: ignore[no-any-return]


class _ConvBatchNormReLU(torch.autograd.Function):
    """Convolution, batch norm and ReLU, optionally with dropout and 2×2 max pooling.

    x is the convolution's output and y the output. With pooling, z is x, scaled to variance 1 with the sign of batch
    norm's scale, after dropout and pooling; without, z is x. Arithmetic per channel (C,) is in NumPy in float64.
    """

    @staticmethod
    @override
    @np.errstate(all="ignore")  # a run that diverges ends with an error of its own
    def forward(
        ctx: Any, inputs: Tensor, weight: Tensor, norm_weight: Tensor, norm_bias: Tensor, block: _Block
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the output (B, C, H, W), and the mean and variance (C,) of the convolution's output."""
        kernels: Any = _kernels()
        keep = 1 - block.dropout
        x = F.conv2d(inputs, weight, padding=1).permute(0, 2, 3, 1).contiguous()  # (B, H, W, C), by default a view
        sums = np.empty((len(x), 2, x.shape[3]))
        kernels.launch(kernels.SUM, x, sums=sums)
        mean, mean_square = sums.sum(axis=0) / max(1, x[..., 0].numel())
        variance = np.maximum(mean_square - mean**2, 0)
        inverse_std = 1 / np.sqrt(variance + block.batch_norm.eps)
        scale, bias = norm_weight.detach().double().numpy(), norm_bias.detach().double().numpy()
        unit = np.where(scale < 0, -inverse_std, inverse_std)
        vectors = np.stack([unit, np.abs(scale) / keep, (bias - mean * inverse_std * scale) / keep])
        if block.pools:
            y = x.new_empty(len(x), x.shape[1] // 2, x.shape[2] // 2, x.shape[3])
            z, choice = torch.empty_like(y), torch.empty_like(y, dtype=torch.uint8)
            kernels.launch(kernels.POOL, x, 2, block.dropout, y=y, z=z, choice=choice, vectors=vectors)
        else:
            y, z, choice = torch.empty_like(x), x, None
            kernels.launch(kernels.NORMALISE, x, y=y, vectors=vectors)
        ctx.save_for_backward(inputs, weight, x, z, choice, y)
        ctx.channels = mean, inverse_std, scale, unit if block.pools else 1, keep
        statistics = torch.from_numpy(mean), torch.from_numpy(variance)
        ctx.mark_non_differentiable(*statistics)
        return y.permute(0, 3, 1, 2), *statistics

    @staticmethod
    @once_differentiable
    @np.errstate(all="ignore")
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        kernels: Any = _kernels()
        inputs, weight, x, z, choice, y = ctx.saved_tensors
        mean, inverse_std, scale, unit, keep = ctx.channels
        pooling = 1 if choice is None else 2
        grad_y = grad_outputs[0].permute(0, 2, 3, 1).contiguous()
        sums = np.empty((len(x), 2, x.shape[3]))
        kernels.launch(kernels.SUM_GRADIENTS, x, pooling, grad_y=grad_y, y=y, z=z, sums=sums)
        grad_bias, sum_with_z = sums.sum(axis=0) / keep
        grad_scale = (sum_with_z / unit - mean * grad_bias) * inverse_std
        # Batch norm's gradient with respect to x: that of the output, scaled, plus slope · x + offset from the mean and
        # the variance (Ioffe and Szegedy, https://arxiv.org/abs/1502.03167, section 3).
        gain = scale * inverse_std
        num_values = max(1, x[..., 0].numel())
        slope = -gain * inverse_std * grad_scale / num_values
        offset = -gain * grad_bias / num_values - slope * mean
        grad_x, vectors = torch.empty_like(x), np.stack([gain / keep, slope, offset])
        kernels.launch(kernels.BACKWARD, x, pooling, grad_y=grad_y, y=y, choice=choice, grad_x=grad_x, vectors=vectors)
        # stride, padding, dilation, transposed, output_padding, groups
        convolution = ([1, 1], [1, 1], [1, 1], False, [0, 0], 1)
        wanted = [ctx.needs_input_grad[0], True, False]  # for the inputs, the weight, the bias
        grad_inputs, grad_weight, _ = torch.ops.aten.convolution_backward(
            grad_x.permute(0, 3, 1, 2), inputs, weight, None, *convolution, wanted
        )
        dtype = torch.promote_types(y.dtype, torch.float32)
        grad_norm = (torch.from_numpy(grad).to(dtype) for grad in (grad_scale, grad_bias))
        return grad_inputs, grad_weight, *grad_norm, None
