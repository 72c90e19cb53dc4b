"""Writes a checkpoint's network to one file, unless the file does not compute what the network computes."""

import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from mnist_lightning.errors import UserError
from mnist_lightning.export.drawing_page import page_of
from mnist_lightning.export.onnx_model import int8_model, load_onnx, onnx_bytes, onnx_model
from mnist_lightning.export.pixel_network import PixelNetwork
from mnist_lightning.files import atomic_write, check_output
from mnist_lightning.runs.checkpoint import read_checkpoint

SUFFIXES = {"onnx": ".onnx", "onnx_int8": ".onnx", "html": ".html"}
MAX_LOGIT_DIFFERENCE = 1e-4
MAX_INT8_ACCURACY_LOSS = 0.001
BATCH_SIZE = 500
NUM_CALIBRATION_IMAGES = 1000
NOT_COMPARED = "Not compared: Python does not run the page's JavaScript. `make test-browser` compares page and network."


def export_checkpoint(ckpt_path: str, name: str, output: Path, data_dir: str | None, network_class: str | None) -> None:
    """Runs the command `export`; writes no file if the format cannot hold the network or reproduce its outputs."""
    check_output(output, SUFFIXES[name])
    checkpoint = read_checkpoint(ckpt_path, network_class)
    network, data = PixelNetwork(checkpoint.classifier()), checkpoint.datamodule(data_dir)
    data.setup("test")
    test, calibration = data.images("test"), data.images("train").images[:NUM_CALIBRATION_IMAGES]
    expected = compute_logits(network, test.images)  # (N, num_classes)
    measured_on = f"{len(test.labels):,} {data.title} test images"
    metadata = network.metadata() | {"accuracy": accuracy(expected, test.labels), "measured_on": measured_on}
    try:
        if name == "html":
            content, found = page_of(network, metadata), None
        else:
            model = onnx_model(network) if name == "onnx" else int8_model(network, calibration / 255)
            content = onnx_bytes(model, metadata)
            found = compute_logits(load_onnx(content), test.images)
    except ImportError as error:
        raise UserError(f"--format {name}: {error}. Run `pip install onnx onnxruntime onnxscript`.") from None
    compared, its_accuracy = NOT_COMPARED, ""
    if found is not None:
        same = compare(expected, found, test.labels, name, output)
        compared = f"Compared on {measured_on}, one view of each: {same}."
        its_accuracy = f"  accuracy {accuracy(found, test.labels):.2%}"
    atomic_write(output, content)
    width = max(len(output.name), len("the network"))
    kilobytes = 4 * metadata["num_parameters"] / 1000
    print(f"{'the network':{width}}  {kilobytes:6.1f} kB  accuracy {metadata['accuracy']:.2%}")
    print(f"{output.name:{width}}  {len(content) / 1000:6.1f} kB{its_accuracy}\n{compared}", flush=True)


def compare(expected: Tensor, found: Tensor, labels: Tensor, name: str, output: Path) -> str:
    """Says how a file's logits (N, num_classes) differ from those expected, for labels (N,); or raises a UserError."""
    difference = float((expected - found).abs().max())
    others = int((expected.argmax(dim=1) != found.argmax(dim=1)).sum())
    loss = round(accuracy(expected, labels) - accuracy(found, labels), 9)  # without float rounding
    if not math.isfinite(difference):
        reason = "would give logits that are not finite"
    elif name == "onnx_int8" and loss >= MAX_INT8_ACCURACY_LOSS:
        reason = f"would lose {loss:.2%} of accuracy; the limit is {MAX_INT8_ACCURACY_LOSS:.1%}"
    elif name != "onnx_int8" and (others > 0 or difference > MAX_LOGIT_DIFFERENCE):
        reason = (
            f"would not reproduce the network's outputs: {others:,} of {len(labels):,} predictions differ, and logits "
            f"differ by up to {difference:.1e}"
        )
    else:
        return f"logits within {difference:.1e}, {f'{others:,} of another class' if others else 'the same classes'}"
    raise UserError(f"{output} {reason}. It was not written; try another --format.")


@torch.inference_mode()
def compute_logits(compute: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Logits (N, num_classes) of stored images (N, 1, 28, 28) uint8, computed in batches of float32 in [0, 1]."""
    return torch.cat([compute(batch / 255) for batch in images.split(BATCH_SIZE)])


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Accuracy in [0, 1] of logits (N, num_classes) for labels (N,)."""
    return int((logits.argmax(dim=1) == labels).sum()) / len(labels)
