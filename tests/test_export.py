"""`export`: files that reproduce the network's outputs without this project, and contain metadata."""

import json
import re
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import onnx
import pytest
import torch
from onnx import ModelProto
from torch import Tensor, nn
from typing_extensions import override

from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.errors import UserError
from mnist_lightning.export import writing
from mnist_lightning.export.comparison import Comparison
from mnist_lightning.export.drawing_page import PageFormat
from mnist_lightning.export.formats import METADATA, Exported, ExportFormat, describe
from mnist_lightning.export.onnx_model import Int8OnnxFormat
from mnist_lightning.export.pixel_network import PixelNetwork
from mnist_lightning.export.torch_program import TorchFormat
from mnist_lightning.export.writing import write_and_compare
from mnist_lightning.main import main
from mnist_lightning.network import OptimizedNet
from mnist_lightning.runs.checkpoint import load_classifier, read_checkpoint
from mnist_lightning.runs.checkpoint_file import load_checkpoint
from support.runs import PROJECT, Fit

SHIPPED = PROJECT / "models" / "mnist.ckpt"
SUFFIXES = {"onnx": ".onnx", "onnx_int8": ".onnx", "torch": ".pt2", "weights": ".ckpt", "html": ".html"}


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a short training on the offline digits; tests must not change it."""
    root = tmp_path_factory.mktemp("learned")
    config = str(PROJECT / "configs" / "offline.yaml")
    options = ["--trainer.max_epochs", "2", "--trainer.logger", "false", "--trainer.default_root_dir", str(root)]
    main(["fit", "--config", config, *options])
    return root / "offline" / "version_0" / "checkpoints" / "last.ckpt"


def logits_by_others(path: Path, images: Tensor) -> tuple[Tensor, dict[str, Any]]:
    """Logits and metadata of an exported file, read without this project."""
    if path.suffix == ".pt2":
        extra_files = {METADATA: ""}
        program = torch.export.load(path, extra_files=extra_files)
        return program.module()(images), json.loads(extra_files[METADATA])
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"images": images.numpy()})
    return torch.from_numpy(logits), json.loads(session.get_modelmeta().custom_metadata_map[METADATA])


@pytest.mark.parametrize("name", ["onnx", "torch"])
def test_a_file_reproduces_the_networks_outputs(
    name: str, checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / f"digits{SUFFIXES[name]}"
    capfd.readouterr()
    main(["export", "--ckpt_path", str(checkpoint), "--format", name, "--output", str(output)])
    network, file, compared = capfd.readouterr().out.splitlines()
    assert re.fullmatch(r"the network +75\.8 kB  accuracy \d+\.\d\d%  +[\d,]+ images/s", network)
    assert re.fullmatch(
        rf"digits\{output.suffix} +[\d.]+ kB  accuracy \d+\.\d\d%  +[\d,]+ images/s, [\d.]+ times.*", file
    )
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
    main(["export", "--ckpt_path", str(checkpoint), "--format", "html", "--output", str(output)])
    network, file, compared = capfd.readouterr().out.splitlines()
    assert re.fullmatch(r"the network +75\.8 kB  accuracy \d+\.\d\d%", network)
    assert re.fullmatch(r"digits\.html +1\d\d\.\d kB  accuracy \d+\.\d\d%", file)
    assert re.search(r"logits within \d\.\de[-+]\d\d, the same classes\. PyTorch computed the file's weights", compared)
    metadata = PageFormat().load(output).metadata
    assert f"accuracy {metadata['accuracy']:.2%}" in file
    assert metadata["classes"] == list("0123456789")


def trained_a_little(net: nn.Module) -> None:
    """Gives a network statistics and affine maps in its batch norms, and biases, that are not their defaults."""
    for name, values in net.state_dict().items():
        if values.is_floating_point() and values.ndim == 1:
            values.copy_(torch.rand_like(values) + (0.5 if "var" in name or "weight" in name else 0))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"batch_norm": False},
        {"head": "fully_connected", "pixel_mean": 0.4, "pixel_std": 0.2},
        pytest.param({"network": "baseline"}, marks=pytest.mark.slow),  # 34 MB
    ],
)
def test_a_page_holds_the_layers_of_each_network(settings: dict[str, Any], tmp_path: Path) -> None:
    classifier = DigitClassifier(**settings)
    trained_a_little(classifier.net)
    network, page = PixelNetwork(classifier), PageFormat()
    images = torch.rand(20, 1, 28, 28)
    path = tmp_path / "digits.html"
    path.write_bytes(page.content(page.build(network, images), describe(network)))
    with torch.no_grad():
        torch.testing.assert_close(page.load(path).logits(images), network(images), rtol=1e-5, atol=1e-5)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


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
    with pytest.raises(
        UserError, match=rf"the layer {re.escape(str(layer))}\. Use another checkpoint, or `export --format onnx`"
    ):
        PageFormat().build(PixelNetwork(classifier), torch.rand(1, 1, 28, 28))


def test_a_page_reads_digits_only() -> None:
    network = PixelNetwork(DigitClassifier(class_names=("rose", "tulip")))
    with pytest.raises(UserError, match="trained on the classes rose, tulip"):
        PageFormat().build(network, torch.rand(1, 1, 28, 28))


def test_no_text_in_a_page_is_markup() -> None:
    metadata = {"classes": ["</script><script>alert(1)</script>"]}
    assert b"alert(1)</script>" not in PageFormat().content({}, metadata)


def test_the_committed_page_is_what_export_writes() -> None:
    path = PROJECT / "docs" / "digits.html"
    network, page = PixelNetwork(load_classifier(SHIPPED)), PageFormat()
    metadata = page.load(path).metadata
    assert path.read_bytes() == page.content(page.build(network, torch.rand(1, 1, 28, 28)), metadata)
    assert metadata.items() >= {**describe(network), "torch": metadata["torch"]}.items()
    assert metadata["accuracy"] > 0.99
    assert path.stat().st_size < 300_000


def comparison(**figures: float) -> Comparison:
    """A comparison of equal outputs, except for these figures."""
    as_the_network = Comparison(
        num_images=1000,
        network_accuracy=0.99,
        exported_accuracy=0.99,
        num_other_classes=0,
        max_logit_difference=0.0,
        network_images_per_second=1.0,
        exported_images_per_second=1.0,
        speed_ratios=[1.0],
    )
    return replace(as_the_network, **figures)  # type: ignore[arg-type]


@pytest.mark.parametrize(("loss", "is_refused"), [(0.001, True), (0.0009, False), (-0.002, False)])
def test_int8_must_lose_less_than_a_tenth_of_a_percent_of_accuracy(loss: float, is_refused: bool) -> None:
    found = comparison(num_other_classes=1, max_logit_difference=0.2, exported_accuracy=0.99 - loss)
    with pytest.raises(UserError, match=r"would lose 0\.10%") if is_refused else nullcontext():
        writing._check(found, Int8OnnxFormat(), Path("a.onnx"))


@pytest.mark.parametrize("export_format", [TorchFormat(), Int8OnnxFormat()])
@pytest.mark.parametrize("difference", [float("nan"), float("inf")])
def test_a_file_with_logits_that_are_not_finite_is_refused(export_format: ExportFormat[Any], difference: float) -> None:
    with pytest.raises(
        UserError, match=r"a\.x would give logits that are not finite\. It was not written; try another"
    ):
        writing._check(comparison(max_logit_difference=difference), export_format, Path("a.x"))


@pytest.fixture(scope="session")
def int8_model() -> ModelProto:
    """The shipped model in int8, calibrated on noise, because activations do not matter here."""
    return Int8OnnxFormat().build(PixelNetwork(load_classifier(SHIPPED)), torch.rand(100, 1, 28, 28))


def test_int8_cannot_saturate_on_any_processor(int8_model: ModelProto) -> None:
    """Kernels without VNNI add two products of uint8 and int8 in 16 bits; no such sum may saturate."""
    weights = {each.name: each for each in int8_model.graph.initializer}
    dequantized = {
        node.output[0]: node.input[0] for node in int8_model.graph.node if node.op_type == "DequantizeLinear"
    }
    convolutions = [node for node in int8_model.graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 6
    for node in convolutions:
        values = torch.from_numpy(onnx.numpy_helper.to_array(weights[dequantized[node.input[1]]]).copy())
        assert values.dtype == torch.int8
        ascending = values.flatten(1).int().sort(dim=1).values  # (out channels, 9 · in channels)
        # For any two weights that a kernel combines.
        largest, smallest = 255 * ascending[:, -2:].sum(dim=1), 255 * ascending[:, :2].sum(dim=1)
        assert largest.max() <= torch.iinfo(torch.int16).max
        assert smallest.min() >= torch.iinfo(torch.int16).min


@pytest.mark.slow
def test_int8_is_smaller_and_refused_if_it_loses_accuracy(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, data = PixelNetwork(load_classifier(checkpoint)), read_checkpoint(checkpoint).datamodule(None)
    data.setup("test")
    monkeypatch.setattr(writing, "MAX_INT8_ACCURACY_LOSS", 1.0)
    output = tmp_path / "digits.onnx"
    write_and_compare(network, Int8OnnxFormat(), data, output)
    assert output.stat().st_size < 4 * 18_962
    _, metadata = logits_by_others(output, torch.rand(5, 1, 28, 28))
    assert 0 <= metadata["accuracy"] <= 1
    monkeypatch.setattr(writing, "MAX_INT8_ACCURACY_LOSS", -1.0)
    with pytest.raises(UserError, match=r"would lose .* It was not written; use --format onnx"):
        write_and_compare(network, Int8OnnxFormat(), data, tmp_path / "other.onnx")
    assert not (tmp_path / "other.onnx").exists()


def test_a_file_with_other_outputs_is_not_written(checkpoint: Path, tmp_path: Path) -> None:
    class Wrong(TorchFormat):
        @override
        def load(self, path: Path) -> Exported:
            exported = super().load(path)
            return Exported(lambda images: exported.logits(images) + 2e-4, exported.metadata)

    data = read_checkpoint(checkpoint).datamodule(None)
    data.setup("test")
    with pytest.raises(UserError, match=r"wrong\.pt2 would not reproduce the network's outputs.* up to 2\.0e-04"):
        write_and_compare(PixelNetwork(load_classifier(checkpoint)), Wrong(), data, tmp_path / "wrong.pt2")
    assert not list(tmp_path.glob("*.pt2"))


def test_every_test_image_is_compared(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = read_checkpoint(checkpoint).datamodule(None)
    data.setup("test")
    images = data.images("train")
    assert len(images.labels) > 1400
    monkeypatch.setattr(data, "images", lambda stage: images)
    last = images.images[-1] / 255

    class WrongOnTheLast(TorchFormat):
        @override
        def load(self, path: Path) -> Exported:
            exported = super().load(path)
            return Exported(
                lambda images: exported.logits(images) + 2e-4 * (images == last).all(dim=3).all(dim=2),
                exported.metadata,
            )

    with pytest.raises(UserError, match=r"up to 2\.0e-04"):
        write_and_compare(PixelNetwork(load_classifier(checkpoint)), WrongOnTheLast(), data, tmp_path / "wrong.pt2")


@pytest.mark.parametrize(("others", "words"), [(0, "the same classes"), (3, "3 of another class")])
def test_the_text_matches_the_figures(others: int, words: str) -> None:
    metadata = {"num_parameters": 10, "measured_on": "1,000 test images"}
    found = comparison(num_other_classes=others, max_logit_difference=0.5)
    assert writing._lines(Path("a.onnx"), 1000, metadata, found)[-1] == (
        f"Compared on 1,000 test images, one view of each: logits within 5.0e-01, {words}."
    )


def test_weights_work_with_every_command_except_resuming(
    fit: Fit, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    last = fit("--weight_average.decay", "0.9") / "checkpoints" / "last.ckpt"
    output = str(tmp_path / "weights.ckpt")
    main(["export", "--ckpt_path", str(last), "--format", "weights", "--output", output])
    assert Path(output).stat().st_size < 150_000
    whole, weights = load_checkpoint(last), load_checkpoint(output)
    torch.testing.assert_close(weights["state_dict"], whole["state_dict"], rtol=0, atol=0)
    assert "optimizer_states" not in weights
    first = "net.layers.0.weight"
    assert not torch.equal(
        weights["state_dict"][first], whole["current_model_state"][first]
    )  # the file has the averaged weights
    for subcommand in ("validate", "test", "predict"):
        outputs = []
        for path in (str(last), output):
            capfd.readouterr()
            main([subcommand, "--ckpt_path", path])
            outputs.append(capfd.readouterr().out)
        assert outputs[0] == outputs[1] != ""
    with pytest.raises(SystemExit, match="2"):
        main(["fit", "--config", "configs/offline.yaml", "--ckpt_path", output])
    assert "holds weights, but not what a run needs to resume" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--format", "onnx", "--output", "a.pt2"], ["--output a.pt2", "ends in .onnx"]),
        (["--format", "torch", "--output", "there.pt2"], ["--output there.pt2", "exists already", "delete"]),
        (["--format", "torch", "--output", "none/a.pt2"], ["none/a.pt2", "no folder none"]),
        (["--format", "onxx", "--output", "a.onnx"], ["format", "onxx"]),
        (["--format", "torch"], ["output"]),
        (["--format", "torch", "--output", "a.pt2", "--ckpt_path", "none.ckpt"], ["none.ckpt", "no such file"]),
    ],
)
def test_mistakes(
    options: list[str],
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.pt2").write_text("mine")
    with pytest.raises(SystemExit, match="2"):
        main(["export", "--ckpt_path", str(SHIPPED), *options])
    error = capfd.readouterr().err
    assert all(word in error for word in words), error
    assert [path.name for path in tmp_path.iterdir()] == ["there.pt2"]
    assert Path("there.pt2").read_text() == "mine"


def test_a_missing_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(SystemExit, match="2"):
        main(["export", "--ckpt_path", str(SHIPPED), "--format", "onnx", "--output", str(tmp_path / "a.onnx")])
    assert "pip install onnx onnxruntime onnxscript" in capfd.readouterr().err


def test_the_network_is_copied() -> None:
    classifier = DigitClassifier().double().train()
    PixelNetwork(classifier)
    assert classifier.net.training
    assert classifier.net_dtype == torch.float64


@pytest.mark.slow
@pytest.mark.parametrize("name", SUFFIXES)
def test_the_shipped_model_in_every_format(
    name: str, mnist_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / f"mnist{SUFFIXES[name]}"
    args = ["export", "--ckpt_path", str(SHIPPED), "--format", name, "--output", str(output)]
    main([*args, "--data_dir", str(mnist_dir)])
    compared = capfd.readouterr().out.splitlines()[-1]
    assert compared.startswith("Compared on 10,000 MNIST test images, one view of each: logits within ")
    assert re.search(
        r"(\d of another class|the same classes)\.$" if name == "onnx_int8" else r"the same classes\.( PyTorch.*)?$",
        compared,
    )
