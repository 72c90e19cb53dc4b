"""Batch norm, ReLU, dropout and 2×2 max pooling, compiled by Numba, so that each reads its tensors once.

A tensor (B, H, W, C) is an array (B, H, W·C): loops over whole rows are several times faster than over the channels of
one pixel. Names are those of fused_layers.py; `vectors` (3, W·C) hold one value per channel, repeated along the row.
Each image is computed by one thread, so results do not depend on the number of threads.
"""

from functools import cache
from typing import Any

import numpy as np
import torch
from numba import carray, cfunc, njit, types
from numba.extending import intrinsic, overload
from torch import Tensor

from mnist_lightning.fast.threads import run_on_team

# Sums may be reordered, but NaN stays NaN: without "nnan".
OPTIONS: Any = {"fastmath": {"reassoc", "contract", "arcp", "nsz"}}
DTYPES = {torch.float32: types.float32, torch.float64: types.float64, torch.bfloat16: types.uint16}
SUM, SUM_GRADIENTS, NORMALISE, POOL, BACKWARD = range(5)
ARRAYS = ("x", "y", "z", "grad_y", "grad_x", "choice", "vectors", "sums")
LOWEST, ZERO = np.float32(-3e38), np.float32(0)

compiled = njit(**OPTIONS)
team_member = types.ExternalFunction("team_member", types.int32())
team_size = types.ExternalFunction("team_size", types.int32())


@intrinsic
def _pointer(_: Any, address: Any) -> Any:
    """An address, or a pointer of another type, as a pointer."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        change = builder.inttoptr if isinstance(address, types.Integer) else builder.bitcast
        return change(arguments[0], context.get_value_type(types.voidptr))

    return types.voidptr(address), generate


def _real(values): ...  # the type to compute in
def _load(value): ...  # as that type
def _rounded(value, like): ...  # to the type of `like`


@overload(_real)
def _real_of(values):
    return (lambda values: np.float64) if values.dtype == types.float64 else (lambda values: np.float32)


@overload(_load)
def _load_value(value):
    if value != types.uint16:
        return lambda value: value
    return lambda value: np.uint32(np.uint32(value) << np.uint32(16)).view(np.float32)  # bfloat16


@overload(_rounded)
def _rounded_value(value, like):
    def bfloat16(value, like):  # to the nearest, or the even one of two
        bits = np.float32(value).view(np.uint32)
        return np.uint16((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16))

    return bfloat16 if like == types.uint16 else lambda value, like: value


@compiled
def _sum_products(left, right, mask, is_masked, sums, first, last):
    """Sums left, where the mask is positive, and left · right over each image: sums (B, 2, C) float64."""
    _, rows, values = left.shape
    channels = sums.shape[2]
    totals, products = np.zeros(values, _real(left)), np.zeros(values, _real(left))
    for image in range(first, last):
        totals[:] = 0
        products[:] = 0
        for row in range(rows):
            for i in range(values):
                value = _load(left[image, row, i])
                if is_masked:
                    value = value if _load(mask[image, row, i]) > 0 else ZERO
                totals[i] += value
                products[i] += value * _load(right[image, row, i])
        sums[image] = 0
        for start in range(0, values, channels):
            for channel in range(channels):
                sums[image, 0, channel] += totals[start + channel]
                sums[image, 1, channel] += products[start + channel]


@compiled
def _scaled_relu(value, gain, shift):
    result = value * gain + shift
    return ZERO if result <= 0 else result


@compiled
def _normalise(x, y, vectors, first, last):
    """Scales by vectors[0] and vectors[1], shifts by vectors[2], and applies ReLU."""
    _, rows, values = x.shape
    for image in range(first, last):
        for row in range(rows):
            for i in range(values):
                like = x[image, row, i]
                value = _scaled_relu(_load(like) * vectors[0, i], vectors[1, i], vectors[2, i])
                y[image, row, i] = _rounded(value, like)


@compiled
def _hash(position, seed):
    """32 random bits, by the finalizer of MurmurHash3 (https://github.com/aappleby/smhasher)."""
    bits = np.uint32(np.uint32(position) * np.uint32(0x9E3779B1) + np.uint32(seed))
    bits = np.uint32((bits ^ (bits >> np.uint32(16))) * np.uint32(0x85EBCA6B))
    bits = np.uint32((bits ^ (bits >> np.uint32(13))) * np.uint32(0xC2B2AE35))
    return bits ^ (bits >> np.uint32(16))


@compiled
def _pool(x, y, z, choice, vectors, channels, seed, threshold, first, last):
    """`_normalise` with dropout and pooling after the first scale; z are the maxima, choice their places in windows."""
    _, rows, values = y.shape
    width, real = 2 * values, _real(x)
    top, bottom = np.zeros(width, real), np.zeros(width, real)
    largest, pooled = np.zeros(width, real), np.zeros(values, real)
    place, left = np.zeros(width, np.int32), np.zeros(values, np.int32)
    for i in range(values):
        left[i] = i // channels * channels + i
    for image in range(first, last):
        for row in range(rows):
            start = np.uint32((image * rows + row) * width)
            for i in range(width):
                above = _load(x[image, 2 * row, i]) * vectors[0, i]
                below = _load(x[image, 2 * row + 1, i]) * vectors[0, i]
                if threshold > 0:
                    bits = _hash(start + np.uint32(i), seed)
                    above = LOWEST if bits & np.uint32(0xFFFF) < threshold else above
                    below = LOWEST if bits >> np.uint32(16) < threshold else below
                top[i] = above
                bottom[i] = below
            for i in range(width - channels):  # also for windows that start in odd columns, which nothing reads
                above, above_right, below, below_right = top[i], top[i + channels], bottom[i], bottom[i + channels]
                above_place = np.int32(0) if above_right <= above else np.int32(1)
                below_place = np.int32(2) if below_right <= below else np.int32(3)
                above = above if above_right <= above else above_right
                below = below if below_right <= below else below_right
                largest[i] = above if below <= above else below
                place[i] = above_place if below <= above else below_place
            for i in range(values):
                pooled[i] = largest[left[i]]
            for i in range(values):
                choice[image, row, i] = place[left[i]]
            for i in range(values):
                like = x[image, 2 * row, i]
                z[image, row, i] = _rounded(pooled[i], like)
                y[image, row, i] = _rounded(_scaled_relu(pooled[i], vectors[1, i], vectors[2, i]), like)


@compiled
def _backward(x, y, grad_y, grad_x, choice, vectors, channels, first, last):
    """The gradient of x: grad_y · vectors[0] at the maxima that ReLU passed, plus x · vectors[1] + vectors[2]."""
    _, rows, values = y.shape
    width, real = x.shape[2], _real(x)
    pooling = width // values
    grad, place, wide_place = np.zeros(values, real), np.zeros(values, np.int32), np.zeros(width, np.int32)
    source, side = np.zeros(width, np.int32), np.zeros(width, np.int32)
    wide_grad = np.zeros(width, real) if pooling == 2 else grad
    for i in range(width):
        source[i] = i // (pooling * channels) * channels + i % channels
        side[i] = i // channels % pooling
    for image in range(first, last):
        for row in range(rows):
            for i in range(values):
                value = _load(grad_y[image, row, i]) * vectors[0, i]
                grad[i] = value if _load(y[image, row, i]) > 0 else ZERO
            if pooling == 2:
                for i in range(values):
                    place[i] = choice[image, row, i]
                for i in range(width):
                    wide_place[i] = place[source[i]] - side[i]
                for i in range(width):
                    wide_grad[i] = grad[source[i]]
            for inner in range(pooling):
                wanted = np.int32(2 * inner)
                for i in range(width):
                    like = x[image, pooling * row + inner, i]
                    value = _load(like) * vectors[1, i] + vectors[2, i]
                    value += wide_grad[i] if wide_place[i] == wanted else ZERO
                    grad_x[image, pooling * row + inner, i] = _rounded(value, like)


def _run(job):
    """Runs a kernel on this thread's share of the images."""
    words = carray(_pointer(job), 16, np.int64)
    kernel, images, height, width, channels, pooling = words[0], words[1], words[2], words[3], words[4], words[5]
    first, last = images * team_member() // team_size(), images * (team_member() + 1) // team_size()
    inputs, outputs = (images, height, width * channels), (images, height // pooling, width // pooling * channels)
    dtype = carray(job, 1).dtype
    x, grad_x = carray(_pointer(words[8]), inputs, dtype), carray(_pointer(words[12]), inputs, dtype)
    y, z = carray(_pointer(words[9]), outputs, dtype), carray(_pointer(words[10]), outputs, dtype)
    grad_y, choice = carray(_pointer(words[11]), outputs, dtype), carray(_pointer(words[13]), outputs, np.uint8)
    vectors = carray(_pointer(words[14]), (3, width * channels), _real(x))
    sums = carray(_pointer(words[15]), (images, 2, channels), np.float64)
    if kernel == SUM:
        _sum_products(x, x, x, False, sums, first, last)
    elif kernel == SUM_GRADIENTS:
        _sum_products(grad_y, z, y, True, sums, first, last)
    elif kernel == NORMALISE:
        _normalise(x, y, vectors, first, last)
    elif kernel == POOL:
        _pool(x, y, z, choice, vectors, channels, np.uint32(words[6]), np.uint32(words[7]), first, last)
    else:
        _backward(x, y, grad_y, grad_x, choice, vectors, channels, first, last)


@cache
def _compile(dtype: torch.dtype) -> Any:
    """Compiles the kernels, for seconds; the result is kept beside this file or in the user's cache for Numba."""
    signature = types.void(types.CPointer(DTYPES[dtype]))
    try:
        return cfunc(signature, cache=True, **OPTIONS)(_run)
    except RuntimeError:  # neither can be written
        return cfunc(signature, **OPTIONS)(_run)


def launch(kernel: int, x: Tensor, pooling: int = 1, dropout: float = 0, **arrays: Any) -> None:
    """Runs a kernel on x (B, H, W, C) and the other `ARRAYS` that it needs, contiguous, on PyTorch's threads.

    Vectors are (3, C); the seed of dropout comes from PyTorch's global CPU generator.
    """
    if "vectors" in arrays:
        real = np.float64 if x.dtype == torch.float64 else np.float32
        arrays["vectors"] = np.tile(arrays["vectors"], x.shape[2]).astype(real)
    seed = int(torch.randint(2**31, ())) if dropout else 0
    found = map({"x": x, **arrays}.get, ARRAYS)
    addresses = [0 if array is None else torch.as_tensor(array).data_ptr() for array in found]
    job = np.array([kernel, *x.shape, pooling, seed, round(dropout * 2**16), *addresses], np.int64)
    run_on_team(_compile(x.dtype).address, job.ctypes.data, len(x))
