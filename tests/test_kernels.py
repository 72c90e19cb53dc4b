"""The compiled kernels, alone: dropout's draws, threads, and what happens without them."""

import multiprocessing
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (PyTorch's usual name)

from mnist_lightning.fast import kernels
from mnist_lightning.fast.fused_layers import fused_forward
from support.dropped import kept


def step(num_images: int, channels: int, size: int, dropout: float, dtype: torch.dtype) -> list[Tensor]:
    """Output, gradients and statistics of a block with pooling and a block without, on random images."""
    torch.manual_seed(0)
    layers = nn.Sequential(
        *(nn.Conv2d(2, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()),
        *(nn.Dropout(dropout), nn.MaxPool2d(2)),
        *(nn.Conv2d(channels, 3, 3, padding=1, bias=False), nn.BatchNorm2d(3), nn.ReLU()),
    )
    images = torch.rand(num_images, 2, size, size + 2).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        outputs = fused_forward(layers, images)
    outputs.float().square().sum().backward()
    assert images.grad is not None
    return [outputs.detach(), images.grad, *(each.grad for each in layers.parameters()), *layers.buffers()]  # type: ignore[list-item]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_results_do_not_depend_on_the_number_of_threads(dtype: torch.dtype) -> None:
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results.append(step(5, 7, 12, 0.3, dtype)[0])
    torch.set_num_threads(1)
    assert torch.equal(*results)


def test_an_overflow_stays_visible_and_prints_no_warning() -> None:
    layers = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, bias=False), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2))
    outputs = fused_forward(layers, torch.full((2, 1, 4, 4), float("inf")))
    outputs.sum().backward()
    assert outputs.isnan().any()
    assert layers[0].weight.grad.isnan().any()  # type: ignore[union-attr, operator]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize(("num_images", "channels", "size"), [(1, 1, 2), (3, 40, 6), (130, 18, 14), (2, 5, 10)])
@pytest.mark.parametrize("dropout", [0, 0.5])
def test_pooling_is_that_of_pytorch(
    dtype: torch.dtype, num_images: int, channels: int, size: int, dropout: float
) -> None:
    x = torch.randn(num_images, size, size + 2, channels).to(dtype)
    gain, shift = np.random.default_rng(0).uniform(0.5, 2, (2, channels))
    vectors = np.stack([np.where(np.arange(channels) % 2, 1, -1), gain, shift])
    torch.manual_seed(0)
    mask = kept(x.shape, dropout)
    torch.manual_seed(0)
    y = torch.empty(num_images, size // 2, size // 2 + 1, channels, dtype=dtype)
    z, choice = torch.empty_like(y), torch.empty_like(y, dtype=torch.uint8)
    kernels.launch(kernels.POOL, x, 2, dropout, y=y, z=z, choice=choice, vectors=vectors)
    signed = (x.double() * torch.from_numpy(vectors[0])).where(mask, float("-inf")).permute(0, 3, 1, 2)
    expected = F.max_pool2d(signed, 2).permute(0, 2, 3, 1)
    torch.testing.assert_close(z.double().clamp(min=-100), expected.clamp(min=-100))
    expected = (expected * torch.from_numpy(gain) + torch.from_numpy(shift)).relu().to(dtype)
    torch.testing.assert_close(y, expected)


@pytest.mark.parametrize("probability", [0.001, 0.05, 0.5, 0.95])
def test_activations_are_dropped_independently_with_the_probability(probability: float) -> None:
    torch.manual_seed(0)
    dropped = (~kept(torch.Size((64, 28, 28, 20)), probability)).float().flatten()
    num = len(dropped)
    std = (probability * (1 - probability)) ** 0.5
    assert dropped.mean().item() == pytest.approx(probability, abs=5 * std / num**0.5 + 2**-17)
    for distance in (1, 2, 20, 40, 28 * 20, 28 * 28 * 20):  # channels, columns, rows and images
        both = (dropped[:-distance] * dropped[distance:]).mean().item()
        spread = probability * (1 - probability**2) ** 0.5 / num**0.5
        assert both == pytest.approx(probability**2, abs=8 * spread + probability * 2**-15)


def test_the_global_seed_determines_the_draws() -> None:
    torch.manual_seed(1)
    first, other = (kept(torch.Size((2, 8, 8, 3)), 0.5) for _ in range(2))
    torch.manual_seed(1)
    assert torch.equal(first, kept(torch.Size((2, 8, 8, 3)), 0.5))
    assert not torch.equal(first, other)


def _step_in_fork(queue: "multiprocessing.Queue[list[list[float]]]") -> None:
    torch.set_num_threads(1)  # as in a worker of PyTorch's loaders: its own threads do not survive a fork
    queue.put(step(3, 4, 8, 0.3, torch.float32)[0].tolist())


def test_a_forked_process_computes_the_same() -> None:
    expected = step(3, 4, 8, 0.3, torch.float32)[0]
    context = multiprocessing.get_context("fork")
    queue: multiprocessing.Queue[list[list[float]]] = context.Queue()
    process = context.Process(target=_step_in_fork, args=(queue,))
    process.start()
    assert torch.equal(torch.tensor(queue.get(timeout=60)), expected)
    process.join()


WITHOUT = """
import ctypes, sys, torch
from torch import nn
real, without = ctypes.CDLL, sys.argv[1]
if without == "OpenMP":
    ctypes.CDLL = lambda name, *args, **options: object() if name is None else real(name, *args, **options)
if without == "Numba":
    sys.modules["numba"] = None
from mnist_lightning.fast.fused_layers import fused_forward
torch.manual_seed(0)
layers = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2))
layers.double()
images = torch.rand(3, 1, 8, 8).double()
torch.testing.assert_close(fused_forward(layers, images), layers(images))
"""


@pytest.mark.parametrize(
    ("without", "message"), [("OpenMP", "No GNU OpenMP runtime"), ("Numba", "pip install numba"), ("nothing", "")]
)
def test_without_openmp_or_numba_the_results_are_the_same(without: str, message: str) -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT, without], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == bool(message)
