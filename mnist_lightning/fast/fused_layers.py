"""Computes the optimized network's layers in fewer passes over memory, which take most of the time on a CPU.

The modules of network.py keep their weights and statistics; only the order of the arithmetic differs:

- Batch norm scales and shifts each channel. It only needs sums of its input, which are fast, forward and backward,
  when the batch dimension is reduced first.
- Max pooling commutes with ReLU, with batch norm if the scale is positive, and with dropout if dropped activations
  count as the smallest. So pooling runs first, and batch norm and ReLU process a quarter of the values. A negative
  scale becomes positive by changing the sign of the convolution's weights.
- Each output of the first convolution has nine inputs. Their mean and covariance give the mean and variance of the
  outputs before the convolution runs, so convolution and batch norm become one convolution.
- Dropout draws the dropped positions instead of one number per activation.
- In evaluation mode, batch norm is constant and is merged into its convolution.

tests/test_fused_layers.py compares each of these with PyTorch's layers.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812  (PyTorch's usual name)
from typing_extensions import override


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
    outputs = images
    remaining = list(layers)
    while remaining:
        block, length = _leading_block(remaining, outputs)
        if block is None:
            outputs = remaining[0](outputs)
        elif not block.conv.training:
            outputs = _evaluate(block, outputs)
        elif block.conv.in_channels == 1 and not block.pools and not outputs.requires_grad:
            outputs = _train_first(block, outputs)
        else:
            outputs = _train(block, outputs)
        remaining = remaining[length:]
    return outputs


def _leading_block(layers: list[nn.Module], inputs: Tensor) -> tuple[_Block | None, int]:
    """The block at the start of `layers` and its number of layers; None if the first layer is not part of a block."""
    match layers:
        case [nn.Conv2d() as conv, nn.BatchNorm2d() as batch_norm, nn.ReLU(), *rest] if _can_fuse(conv, batch_norm):
            pass
        case _:
            return None, 1
    if any(layer.training != conv.training for layer in layers[:5]):
        return None, 1  # some layers are frozen
    has_even_sides = inputs.shape[2] % 2 == inputs.shape[3] % 2 == 0
    match rest:
        case [nn.MaxPool2d() as pool, *_] if has_even_sides and _is_two_by_two(pool):
            return _Block(conv, batch_norm, 0.0, True), 4
        case [nn.Dropout() as dropout, nn.MaxPool2d() as pool, *_] if has_even_sides and _is_two_by_two(pool):
            return _Block(conv, batch_norm, dropout.p, True), 5
        case _:
            return _Block(conv, batch_norm, 0.0, False), 3


def _can_fuse(conv: nn.Conv2d, batch_norm: nn.BatchNorm2d) -> bool:
    is_plain = conv.kernel_size == (3, 3) and conv.padding == (1, 1) and conv.padding_mode == "zeros"
    is_dense = conv.stride == (1, 1) and conv.dilation == (1, 1) and conv.groups == 1 and conv.bias is None
    has_statistics = batch_norm.track_running_stats and batch_norm.momentum is not None
    return is_plain and is_dense and batch_norm.affine and has_statistics


def _is_two_by_two(pool: nn.MaxPool2d) -> bool:
    return pool.kernel_size in (2, (2, 2)) and pool.stride in (2, (2, 2)) and pool.padding == 0 and pool.dilation == 1


def _compute_dtype(inputs: Tensor) -> torch.dtype:
    """The dtype of convolutions: autocast's if it is enabled."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else inputs.dtype


def _evaluate(block: _Block, inputs: Tensor) -> Tensor:
    norm: Any = block.batch_norm  # whose statistics may be None, but are not: see _can_fuse
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()  # (C,)
    outputs = _conv(inputs, block.conv.weight, scale, norm.bias - norm.running_mean * scale, _compute_dtype(inputs))
    if block.pools:
        outputs = _channels_last(_pool(_pixels(outputs)))
    return outputs.relu_()


def _conv(inputs: Tensor, weight: Tensor, scale: Tensor, shift: Tensor, dtype: torch.dtype) -> Tensor:
    """A convolution with scale and shift (C,) merged into its weight and bias."""
    with torch.autocast("cpu", enabled=False):
        scaled = (weight * scale.view(-1, 1, 1, 1)).to(dtype, memory_format=torch.channels_last)
        return F.conv2d(inputs.to(dtype, memory_format=torch.channels_last), scaled, shift.to(dtype), padding=1)


def _train_first(block: _Block, images: Tensor) -> Tensor:
    """A block whose input has one channel and needs no gradient: batch norm is merged into the convolution."""
    conv, norm = block.conv, block.batch_norm
    num_pixels = images[:, 0].numel()
    with torch.no_grad():
        patches = _patches(images.detach())  # (B, 9, H·W)
        patch_mean = patches.sum(dim=2).double().sum(dim=0) / num_pixels  # (9,)
        products = torch.bmm(patches, patches.transpose(1, 2)).double().sum(dim=0)  # (9, 9)
        covariance = products / num_pixels - patch_mean.outer(patch_mean)
    weight = conv.weight.flatten(1).double()  # (C, 9)
    mean = weight @ patch_mean  # (C,)
    variance = ((weight @ covariance) * weight).sum(dim=1)
    _update_statistics(norm, mean.detach(), variance.detach(), num_pixels)
    scale = norm.weight * (variance + norm.eps).rsqrt()
    shift = norm.bias - mean * scale
    # Not in bfloat16, because the statistics would not include its rounding; this is the cheapest convolution.
    outputs = _conv(images, conv.weight, scale.to(images.dtype), shift.to(images.dtype), images.dtype)
    return outputs.relu_().to(_compute_dtype(images))


def _patches(images: Tensor) -> Tensor:
    """The inputs (B, 9, H·W) of each output of a 3×3 convolution on (B, 1, H, W); F.unfold is several times slower."""
    height, width = images.shape[2:]
    windows = F.pad(images[:, 0], (1, 1, 1, 1)).unfold(1, height, 1).unfold(2, width, 1)  # (B, 3, 3, H, W)
    return windows.reshape(len(images), 9, height * width)


def _train(block: _Block, inputs: Tensor) -> Tensor:
    conv, norm = block.conv, block.batch_norm
    inputs = inputs.to(_compute_dtype(inputs), memory_format=torch.channels_last)
    with torch.autocast("cpu", enabled=False):
        outputs, mean, variance = _ConvBatchNormReLU.apply(
            inputs, conv.weight, norm.weight, norm.bias, norm.eps, block.dropout, block.pools
        )
    _update_statistics(norm, mean, variance, inputs[:, 0].numel())
    return outputs  # type: ignore[no-any-return]


@torch.no_grad()
def _update_statistics(norm: Any, mean: Tensor, variance: Tensor, num_values: int) -> None:
    unbiased = variance * (num_values / (num_values - 1))
    norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), norm.momentum)
    norm.running_var.lerp_(unbiased.to(norm.running_var.dtype), norm.momentum)
    norm.num_batches_tracked.add_(1)


def _pixels(tensor: Tensor) -> Tensor:
    """A contiguous view (B, H, W, C) of (B, C, H, W) in channels-last memory format."""
    return tensor.permute(0, 2, 3, 1)


def _channels_last(pixels: Tensor) -> Tensor:
    """The inverse of `_pixels`."""
    return pixels.permute(0, 3, 1, 2)


def _sum_per_channel(pixels: Tensor) -> Tensor:
    """Sums (B, H, W, C) to (C,) float64; the batch first, because that sum vectorises."""
    dtype = torch.promote_types(pixels.dtype, torch.float32)
    return pixels.flatten(1).sum(dim=0, dtype=dtype).view(-1, pixels.shape[3]).double().sum(dim=0)


def _pool(pixels: Tensor) -> Tensor:
    """2×2 max pooling: (B, H, W, C) to (B, H/2, W/2, C)."""
    taller = torch.maximum(pixels[:, 0::2], pixels[:, 1::2])
    return torch.maximum(taller[:, :, 0::2], taller[:, :, 1::2])


def draw_dropped(num_activations: int, probability: float) -> Tensor:
    """Draws the positions (D,) int64, ascending, of the dropped activations, from PyTorch's global CPU generator.

    Each activation is dropped independently with a probability in (0, 1). The gaps between dropped positions have a
    geometric distribution, so each dropped activation needs one draw (inversion: Devroye, Non-Uniform Random Variate
    Generation, 1986, chapter X.2).
    """
    expected = num_activations * probability
    num_draws = int(expected + 8 * math.sqrt(expected)) + 8  # rarely too few; the loop then draws more
    parts: list[Tensor] = []
    last = -1
    while last < num_activations:
        gaps = torch.rand(num_draws).neg_().log1p_().div_(math.log1p(-probability)).long().add_(1)
        parts.append(gaps.cumsum_(0).add_(last))
        last = int(parts[-1][-1])
    positions = torch.cat(parts) if len(parts) > 1 else parts[0]
    return positions[: int(torch.searchsorted(positions, num_activations))]


def _drop_and_pool(x: Tensor, dropout: float) -> tuple[Tensor, Tensor]:
    """Dropout and 2×2 max pooling of x (B, H, W, C): the unscaled maxima (B, H/2, W/2, C) and their indices."""
    if dropout:
        flat = x.view(-1)
        positions = draw_dropped(flat.numel(), dropout)
        values = flat[positions]
        flat.index_fill_(0, positions, torch.finfo(x.dtype).min)
    z, indices = torch.ops.aten.max_pool2d_with_indices(_channels_last(x), [2, 2], [2, 2])
    if dropout:
        flat.index_copy_(0, positions, values)  # the gradient needs them
    return _pixels(z), indices


def _unpool(grad_z: Tensor, indices: Tensor, x: Tensor) -> Tensor:
    """The gradient (B, H/2, W/2, C) of max pooling, placed at the maxima in zeros of x's shape."""
    pooling = ([2, 2], [2, 2], [0, 0], [1, 1], False)  # kernel size, stride, padding, dilation, ceil_mode
    like_x = _channels_last(torch.empty_like(x, dtype=grad_z.dtype))  # only its shape is used
    return _pixels(torch.ops.aten.max_pool2d_with_indices_backward(_channels_last(grad_z), like_x, *pooling, indices))


class _ConvBatchNormReLU(torch.autograd.Function):
    """Convolution, batch norm and ReLU, optionally with dropout and 2×2 max pooling.

    Names: x is the convolution's output, z is x after dropout and pooling (or x itself), y is the output.
    """

    @staticmethod
    @override
    def forward(
        ctx: Any,
        inputs: Tensor,
        weight: Tensor,
        norm_weight: Tensor,
        norm_bias: Tensor,
        eps: float,
        dropout: float,
        pools: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the output (B, C, H, W), and the mean and variance (C,) of the convolution's output."""
        sign = torch.where(norm_weight < 0, -1.0, 1.0).to(weight.dtype)  # (C,)
        signed_weight = weight * sign.view(-1, 1, 1, 1)
        signed_weight = signed_weight.to(inputs.dtype, memory_format=torch.channels_last)
        x = _pixels(F.conv2d(inputs, signed_weight, padding=1))  # (B, H, W, C)
        num_values = x[..., 0].numel()
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        mean = _sum_per_channel(wide) / num_values  # (C,) float64
        variance = (_sum_per_channel(wide.square()) / num_values - mean.square()).clamp_(min=0)
        inverse_std = (variance + eps).rsqrt()
        scale = norm_weight.abs() * inverse_std / (1 - dropout)  # (C,) float64
        shift = norm_bias / (1 - dropout) - mean * scale
        z, indices = x, None
        if pools:
            z, indices = _drop_and_pool(x, dropout)
        y = torch.addcmul(shift.to(weight.dtype), z, scale.to(weight.dtype)).relu_().to(x.dtype)
        ctx.save_for_backward(inputs, signed_weight, sign, norm_weight, mean, inverse_std, scale, x, z, indices, y)
        ctx.keep = 1 - dropout
        mean_of_unsigned = mean * sign
        ctx.mark_non_differentiable(mean_of_unsigned, variance)
        return _channels_last(y), mean_of_unsigned, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        inputs, signed_weight, sign, norm_weight, mean, inverse_std, scale, x, z, indices, y = ctx.saved_tensors
        dtype = sign.dtype
        grad_y = _pixels(grad_outputs[0].contiguous(memory_format=torch.channels_last))
        # The gradient of batch norm's output, at the pooled positions only: it is 0 elsewhere.
        grad_norm = torch.ops.aten.threshold_backward(grad_y, y, 0)  # like y
        num_values = x[..., 0].numel()
        grad_bias = _sum_per_channel(grad_norm) / ctx.keep  # (C,) float64
        sum_with_x = _sum_per_channel(grad_norm * z) / ctx.keep
        grad_norm_weight = (sum_with_x - mean * grad_bias) * inverse_std  # of |norm_weight|
        # Batch norm's gradient with respect to x: scale · grad_norm, unpooled, plus slope · x + offset from the mean
        # and the variance (Ioffe and Szegedy, https://arxiv.org/abs/1502.03167, section 3).
        gain = norm_weight.abs() * inverse_std
        slope = -gain * inverse_std * grad_norm_weight / num_values
        offset = -gain * grad_bias / num_values - slope * mean
        slope, offset = slope.to(dtype), offset.to(dtype)
        grad_x = grad_norm * scale.to(dtype)
        if indices is not None:
            grad_x = _unpool(grad_x, indices, x)
        grad_x.addcmul_(x, slope).add_(offset)
        # stride, padding, dilation, transposed, output_padding, groups
        convolution = ([1, 1], [1, 1], [1, 1], False, [0, 0], 1)
        wanted = [ctx.needs_input_grad[0], True, False]  # for the inputs, the weight, the bias
        grad_inputs, grad_weight, _ = torch.ops.aten.convolution_backward(
            _channels_last(grad_x.to(x.dtype)), inputs, signed_weight, None, *convolution, wanted
        )
        grad_weight = grad_weight.to(dtype) * sign.view(-1, 1, 1, 1)
        return grad_inputs, grad_weight, (grad_norm_weight * sign).to(dtype), grad_bias.to(dtype), None, None, None
