"""`export`: files that reproduce the network's outputs without this project, and contain metadata."""

import json
import re
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import onnx
import pytest
import torch
from torch import Tensor, nn

from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.errors import UserError
from mnist_lightning.export import comparison
from mnist_lightning.export.comparison import SUFFIXES, compare
from mnist_lightning.export.drawing_page import page_of
from mnist_lightning.export.onnx_model import int8_model
from mnist_lightning.export.pixel_network import METADATA, PixelNetwork
from mnist_lightning.main import main
from mnist_lightning.network import OptimizedNet
from mnist_lightning.runs.checkpoint import load_classifier
from support.runs import PROJECT

SHIPPED = PROJECT / "models" / "mnist.ckpt"


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a short training on the offline digits; tests must not change it."""
    root = tmp_path_factory.mktemp("learned")
    config = str(PROJECT / "configs" / "offline.yaml")
    options = ["--trainer.max_epochs", "2", "--trainer.logger", "false", "--trainer.default_root_dir", str(root)]
    main(["fit", "--config", config, *options])
    return root / "offline" / "version_0" / "checkpoints" / "last.ckpt"


def export(ckpt_path: Path, name: str, output: Path, *options: str) -> None:
    main(["export", "--ckpt_path", str(ckpt_path), "--format", name, "--output", str(output), *options])


def logits_by_others(path: Path, images: Tensor) -> tuple[Tensor, dict[str, Any]]:
    """Logits and metadata of an ONNX file, read without this project."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"images": images.numpy()})
    return torch.from_numpy(logits), json.loads(session.get_modelmeta().custom_metadata_map[METADATA])


def metadata_of_page(path: Path) -> dict[str, Any]:
    found = re.search('id="model">(.*)</script>', path.read_text("utf-8"))
    assert found is not None
    metadata: dict[str, Any] = json.loads(found[1])["metadata"]
    return metadata


def test_a_file_reproduces_the_networks_outputs(
    checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "digits.onnx"
    capfd.readouterr()
    export(checkpoint, "onnx", output)
    network, file, compared = capfd.readouterr().out.splitlines()
    assert re.fullmatch(r"the network +75\.8 kB  accuracy \d+\.\d\d%", network)
    assert re.fullmatch(r"digits\.onnx +[\d.]+ kB  accuracy \d+\.\d\d%", file)
    assert re.fullmatch(
        r"Compared on 360 NOT MNIST \(scikit-learn's offline digits\) test images, one view of each: "
        r"logits within \d\.\de[-+]\d\d, the same classes\.",
        compared,
    )
    classifier = load_classifier(checkpoint)
    for num_images in (1, 3, 64):
        images = torch.rand(num_images, 1, 28, 28)
        logits, metadata = logits_by_others(output, images)
        torch.testing.assert_close(logits, classifier(images), rtol=0, atol=1e-4)
    assert metadata["classes"] == list("0123456789")
    assert metadata["num_parameters"] == 18_962
    assert f"accuracy {metadata['accuracy']:.2%}" in file
    assert [path.name for path in tmp_path.iterdir()] == [output.name]


def test_a_page_says_that_its_javascript_did_not_run(
    checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "digits.html"
    capfd.readouterr()
    export(checkpoint, "html", output)
    network, file, compared = capfd.readouterr().out.splitlines()
    assert re.fullmatch(r"digits\.html +1\d\d\.\d kB", file)
    assert compared.startswith("Not compared: Python does not run the page's JavaScript. `make test-browser` ")
    assert f"accuracy {metadata_of_page(output)['accuracy']:.2%}" in network


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(10, 10, 5, padding=2),
        nn.Conv2d(10, 10, 3, stride=2),
        nn.Conv2d(10, 10, 3, padding=1, groups=2),
        nn.Conv2d(10, 10, 3, padding=(1, 0)),
        nn.Conv2d(10, 10, 3, padding=1, padding_mode="reflect"),
        nn.BatchNorm2d(10),
        nn.MaxPool2d(3, stride=1),
        nn.AdaptiveAvgPool2d(2),
        nn.LeakyReLU(),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_a_page_names_the_layer_that_it_cannot_compute(layer: nn.Module) -> None:
    classifier = DigitClassifier()
    cast(OptimizedNet, classifier.net).layers.insert(-2, layer)
    with pytest.raises(UserError, match=rf"the layer {re.escape(str(layer))}\. Use another checkpoint, or `export"):
        page_of(PixelNetwork(classifier), {})


def test_a_page_reads_digits_only_and_no_text_in_it_is_markup() -> None:
    with pytest.raises(UserError, match="trained on the classes rose, tulip"):
        page_of(PixelNetwork(DigitClassifier(class_names=("rose", "tulip"))), {})
    metadata = {"measured_on": "</script><script>alert(1)</script>"}
    assert b"alert(1)</script>" not in page_of(PixelNetwork(DigitClassifier()), metadata)


def test_the_committed_page_is_what_export_writes() -> None:
    path, network = PROJECT / "docs" / "digits.html", PixelNetwork(load_classifier(SHIPPED))
    metadata = metadata_of_page(path)
    assert path.read_bytes() == page_of(network, metadata)
    assert metadata.items() >= {**network.metadata(), "torch": metadata["torch"]}.items()
    assert metadata["accuracy"] > 0.99


# The comparison


def one_hot(classes: Tensor) -> Tensor:
    """Logits (N, 10) float32 for classes (N,)."""
    return nn.functional.one_hot(classes, 10).float()


@pytest.mark.parametrize(("num_wrong", "is_refused"), [(10, True), (9, False)])
def test_int8_must_lose_less_than_a_tenth_of_a_percent_of_accuracy(num_wrong: int, is_refused: bool) -> None:
    labels = torch.arange(10_000) % 10
    found = one_hot(torch.where(torch.arange(10_000) < num_wrong, (labels + 1) % 10, labels))
    with pytest.raises(UserError, match=r"would lose 0\.10%") if is_refused else nullcontext():
        text = compare(one_hot(labels), found, labels, "onnx_int8", Path("a.onnx"))
        assert text == f"logits within 1.0e+00, {num_wrong} of another class"


@pytest.mark.parametrize("name", ["onnx", "onnx_int8"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_file_with_logits_that_are_not_finite_is_refused(name: str, value: float) -> None:
    labels = torch.arange(10)
    with pytest.raises(UserError, match=r"a\.x would give logits that are not finite"):
        compare(one_hot(labels), one_hot(labels) + value, labels, name, Path("a.x"))


def test_a_file_that_is_wrong_on_the_last_image_is_not_written(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    network = PixelNetwork(load_classifier(checkpoint))

    def wrong(images: Tensor) -> Tensor:
        logits: Tensor = network(images)
        return logits + 2e-4 * (torch.arange(len(images)) == 359).unsqueeze(1)

    monkeypatch.setattr(comparison, "load_onnx", lambda content: wrong)
    with pytest.raises(SystemExit, match="2"):
        export(checkpoint, "onnx", tmp_path / "wrong.onnx")
    error = capfd.readouterr().err
    assert "wrong.onnx would not reproduce the network's outputs: 0 of 360 predictions differ" in error
    assert "up to 2.0e-04" in error
    assert not list(tmp_path.iterdir())


def test_int8_cannot_saturate_on_any_processor() -> None:
    """Kernels without VNNI add two products of uint8 and int8 in 16 bits; no such sum may saturate."""
    noise = torch.rand(100, 1, 28, 28)  # activations do not matter here
    model = int8_model(PixelNetwork(load_classifier(SHIPPED)), noise)
    weights = {each.name: each for each in model.graph.initializer}
    dequantized = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 6
    for node in convolutions:
        values = torch.from_numpy(onnx.numpy_helper.to_array(weights[dequantized[node.input[1]]]).copy())
        assert values.dtype == torch.int8
        ascending = values.flatten(1).int().sort(dim=1).values  # (out channels, 9 · in channels)
        # For any two weights that a kernel combines.
        largest, smallest = 255 * ascending[:, -2:].sum(dim=1), 255 * ascending[:, :2].sum(dim=1)
        assert largest.max() <= torch.iinfo(torch.int16).max
        assert smallest.min() >= torch.iinfo(torch.int16).min


# The command


def test_a_missing_package_is_named(
    mnist_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(SystemExit, match="2"):
        export(SHIPPED, "onnx", tmp_path / "a.onnx")
    assert "pip install onnx onnxruntime onnxscript" in capfd.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", SUFFIXES)
def test_the_shipped_model_in_every_format(
    name: str, mnist_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    export(SHIPPED, name, tmp_path / f"mnist{SUFFIXES[name]}", "--data_dir", str(mnist_dir))
    compared = capfd.readouterr().out.splitlines()[-1]
    if name != "html":
        assert compared.startswith("Compared on 10,000 MNIST test images, one view of each: logits within ")
        assert re.search(r"(\d of another|the same) class" if name == "onnx_int8" else "the same classes", compared)
