"""A web page to draw on, one HTML file: the network's weights and JavaScript that computes it, from page/."""

import base64
import copy
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from typing_extensions import override

from mnist_lightning.classifier import DigitClassifier, check_finite
from mnist_lightning.data.datasets import DIGITS
from mnist_lightning.errors import UserError
from mnist_lightning.export.formats import Exported, ExportFormat, Metadata, describe
from mnist_lightning.export.pixel_network import PixelNetwork
from mnist_lightning.network import IMAGE_SHAPE, LayeredNet
from mnist_lightning.runs.predictions import SURE_PROBABILITY

FLOATS = "<f4"  # little-endian float32
SOURCES = Path(__file__).parent / "page"
OTHER_FORMATS = "Use another checkpoint, or `export --format onnx` or `torch`."
PARTS = ("drawing.css", "network.js", "preparation.js", "drawing.js")
MODEL = '<script type="application/json" id="model">{}</script>'

Layer = dict[str, Any]  # JSON values, as page/network.js reads them


class PageFormat(ExportFormat[dict[str, Any]]):
    """A page that reads what one draws on it, from any place, without a connection."""

    suffix = ".html"
    note = " PyTorch computed the file's weights: Python cannot run its JavaScript, which `make test-browser` compares."

    @override
    def build(self, network: PixelNetwork, calibration: Tensor) -> dict[str, Any]:
        if network.class_names != DIGITS:
            raise UserError(
                "the page prepares a drawing as MNIST's digits were, but this network was trained on the classes "
                f"{', '.join(network.class_names)}. {OTHER_FORMATS}"
            )
        if not isinstance(network.net, LayeredNet):
            raise UserError(f"the page can only compute a network that is a LayeredNet. {OTHER_FORMATS}")
        # In float64, so that every machine writes the same file.
        described = [_describe(layer) for layer in _fold_batch_norm(copy.deepcopy(network.net.layers).double())]
        kept = [layer for layer in described if layer is not None]
        return {"mean": network.mean, "std": network.std, "layers": kept}

    @override
    def content(self, model: dict[str, Any], metadata: Metadata) -> bytes:
        page = (SOURCES / "drawing.html").read_text("utf-8")
        for name in PARTS:
            page = page.replace(f"/* {name} */", (SOURCES / name).read_text("utf-8").rstrip("\n"))
        values = {"metadata": metadata, "sure_probability": SURE_PROBABILITY, **model}
        text = json.dumps(values, ensure_ascii=False).replace("<", "\\u003c")  # no text can end the script
        return page.replace(MODEL.format("/* model */"), MODEL.format(text)).encode()

    @override
    def load(self, path: Path) -> Exported:
        """Computes the layers and weights in the file with PyTorch."""
        found = re.search(MODEL.format("(.*)"), path.read_text("utf-8"))
        assert found is not None
        model = json.loads(found[1])
        layers = nn.Sequential(*map(_module, model["layers"])).requires_grad_(False)
        return Exported(lambda images: layers((images - model["mean"]) / model["std"]), model["metadata"])


def write_page(classifier: DigitClassifier) -> bytes:
    """The page of a trained network, without its accuracy, which would need the data set.

    Raises:
        DivergenceError: the network's logits are not finite.
        UserError: the page cannot compute one of its layers.
    """
    network, export_format, blank = PixelNetwork(classifier), PageFormat(), torch.zeros(1, *IMAGE_SHAPE)
    with torch.no_grad():
        check_finite(network(blank))
    return export_format.content(export_format.build(network, blank), describe(network))


def _fold_batch_norm(layers: nn.Sequential) -> list[nn.Module]:
    """The layers, with each batch norm folded into the convolution before it."""
    folded: list[nn.Module] = []
    for layer in layers:
        if isinstance(layer, nn.BatchNorm2d) and folded and isinstance(folded[-1], nn.Conv2d):
            folded[-1] = fuse_conv_bn_eval(folded[-1], layer)
        else:
            folded.append(layer)
    return folded


def _describe(layer: nn.Module) -> Layer | None:
    """The layer as JSON values; None if it changes nothing in evaluation mode.

    Raises:
        UserError: the page cannot compute the layer.
    """
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
            match layer.padding:
                case (int(rows), columns) if rows == columns:
                    return {"kind": "convolution", "padding": rows, **_parameters(layer)}
    raise UserError(f"the page cannot compute the layer {layer}. {OTHER_FORMATS}")


def _parameters(layer: nn.Linear | nn.Conv2d) -> Layer:
    bias = torch.zeros(len(layer.weight)) if layer.bias is None else layer.bias
    return {"shape": list(layer.weight.shape), "weight": _encode(layer.weight), "bias": _encode(bias)}


def _encode(values: Tensor) -> str:
    return base64.b64encode(values.detach().numpy().astype(FLOATS).tobytes()).decode()


def _decode(text: str) -> Tensor:
    return torch.from_numpy(np.frombuffer(base64.b64decode(text), FLOATS).copy())


def _module(layer: Layer) -> nn.Module:
    """The PyTorch layer of a description."""
    match layer["kind"]:
        case "relu":
            return nn.ReLU()
        case "flatten":
            return nn.Flatten()
        case "average_pooling":
            return nn.AdaptiveAvgPool2d(1)
        case "max_pooling":
            return nn.MaxPool2d(layer["size"])
    outputs, inputs, *kernel = layer["shape"]
    module = nn.Conv2d(inputs, outputs, 3, padding=layer["padding"]) if kernel else nn.Linear(inputs, outputs)
    module.load_state_dict({"weight": _decode(layer["weight"]).view(layer["shape"]), "bias": _decode(layer["bias"])})
    return module
