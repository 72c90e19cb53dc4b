"""A web page to draw on, one HTML file: the network's weights and the JavaScript in page/, which computes it."""

import base64
import copy
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mnist_lightning.classifier import SURE_PROBABILITY
from mnist_lightning.data.datasets import DIGITS
from mnist_lightning.errors import UserError
from mnist_lightning.export.pixel_network import Metadata, PixelNetwork
from mnist_lightning.network import LayeredNet

SOURCES = Path(__file__).parent / "page"
OTHER_FORMATS = "Use another checkpoint, or `export --format onnx`."
PARTS = ("drawing.css", "network.js", "preparation.js", "drawing.js")


def page_of(network: PixelNetwork, metadata: Metadata) -> bytes:
    """A page that reads what one draws on it, from any place, without a connection."""
    if network.class_names != DIGITS:
        raise UserError(
            "the page prepares a drawing as MNIST's digits were, but this network was trained on the classes "
            f"{', '.join(network.class_names)}. {OTHER_FORMATS}"
        )
    if not isinstance(network.net, LayeredNet):
        raise UserError(f"the page can only compute a network that is a LayeredNet. {OTHER_FORMATS}")
    # In float64, so that every machine writes the same file.
    layers = _fold_batch_norm(copy.deepcopy(network.net.layers).double())
    model = {
        "metadata": metadata,
        "sure_probability": SURE_PROBABILITY,
        "mean": network.mean,
        "std": network.std,
        "layers": [layer for layer in map(_describe, layers) if layer is not None],
    }
    page = (SOURCES / "drawing.html").read_text("utf-8")
    for name in PARTS:
        page = page.replace(f"/* {name} */", (SOURCES / name).read_text("utf-8").rstrip("\n"))
    text = json.dumps(model, ensure_ascii=False).replace("<", "\\u003c")  # no text can end the script
    return page.replace("/* model */", text).encode()


def _fold_batch_norm(layers: nn.Sequential) -> list[nn.Module]:
    """The layers, with each batch norm folded into the convolution before it."""
    folded: list[nn.Module] = []
    for layer in layers:
        if isinstance(layer, nn.BatchNorm2d) and folded and isinstance(folded[-1], nn.Conv2d):
            folded[-1] = fuse_conv_bn_eval(folded[-1], layer)
        else:
            folded.append(layer)
    return folded


def _describe(layer: nn.Module) -> dict[str, Any] | None:
    """The layer as JSON values, as page/network.js reads them; None if it changes nothing in evaluation mode."""
    match layer:
        case nn.Dropout() | nn.Dropout2d() | nn.Identity():
            return None
        case nn.ReLU():
            return {"kind": "relu"}
        case nn.Flatten(start_dim=1, end_dim=-1):
            return {"kind": "flatten"}
        case nn.AdaptiveAvgPool2d(output_size=1 | (1, 1)):
            return {"kind": "average_pooling"}
        case nn.MaxPool2d(kernel_size=int(size), padding=0, dilation=1, ceil_mode=False) if layer.stride == size:
            return {"kind": "max_pooling", "size": size}
        case nn.Linear():
            return {"kind": "linear", **_parameters(layer)}
        case nn.Conv2d(kernel_size=(3, 3), stride=(1, 1), dilation=(1, 1), groups=1, padding_mode="zeros"):
            if len(set(layer.padding)) == 1:
                return {"kind": "convolution", "padding": layer.padding[0], **_parameters(layer)}
    raise UserError(f"the page cannot compute the layer {layer}. {OTHER_FORMATS}")


def _parameters(layer: nn.Linear | nn.Conv2d) -> dict[str, Any]:
    bias = torch.zeros(len(layer.weight)) if layer.bias is None else layer.bias
    return {"shape": list(layer.weight.shape), "weight": _encode(layer.weight), "bias": _encode(bias)}


def _encode(values: Tensor) -> str:
    """Little-endian float32 in base64."""
    return base64.b64encode(values.detach().numpy().astype("<f4").tobytes()).decode()
