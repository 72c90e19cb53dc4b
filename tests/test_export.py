"""`export`: files that compute what the network does, without this project, and say what they are."""

import json
import re
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import PROJECT, Fit
from torch import Tensor
from typing_extensions import override

from mnist_lightning.checkpoints import load_checkpoint
from mnist_lightning.cli import main
from mnist_lightning.errors import ExportError
from mnist_lightning.export import command
from mnist_lightning.export.command import export
from mnist_lightning.export.comparison import Comparison
from mnist_lightning.export.formats import METADATA, Exported
from mnist_lightning.export.onnx_model import Int8OnnxFormat
from mnist_lightning.export.pixel_network import PixelNetwork, pixel_network
from mnist_lightning.export.torch_program import TorchFormat
from mnist_lightning.mnist_files import PIXEL_MEAN, PIXEL_STD
from mnist_lightning.networks import OptimizedNet
from mnist_lightning.trained import load_classifier, load_datamodule

SHIPPED = PROJECT / "models" / "mnist.ckpt"
SUFFIXES = {"onnx": ".onnx", "onnx_int8": ".onnx", "torch": ".pt2", "weights": ".ckpt"}


@pytest.fixture
def checkpoint(fit: Fit) -> Path:
    """Of a network that has learned a little of the offline digits."""
    return fit("--trainer.limit_train_batches", "23") / "checkpoints" / "last.ckpt"


def logits_by_others(path: Path, images: Tensor) -> tuple[Tensor, dict[str, Any]]:
    """What a program without this project gets of an exported file: logits and metadata."""
    if path.suffix == ".pt2":
        extra_files = {METADATA: ""}
        program = torch.export.load(path, extra_files=extra_files)
        return program.module()(images), json.loads(extra_files[METADATA])
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"images": images.numpy()})
    return torch.from_numpy(logits), json.loads(session.get_modelmeta().custom_metadata_map[METADATA])


@pytest.mark.parametrize("name", ["onnx", "torch"])
def test_a_file_computes_what_the_network_does(
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
    assert compared.startswith("Compared on 360 test images: logits within ")
    assert "the same classes" in compared
    assert "360 NOT MNIST (scikit-learn's offline digits) test images" in compared
    net = load_classifier(checkpoint).net
    for num_images in (1, 3, 64):
        images = torch.rand(num_images, 1, 28, 28)
        logits, metadata = logits_by_others(output, images)
        torch.testing.assert_close(logits, net((images - PIXEL_MEAN) / PIXEL_STD), rtol=0, atol=1e-4)
    assert metadata["classes"] == list("0123456789")
    assert metadata["num_parameters"] == 18_962
    assert f"accuracy {metadata['accuracy']:.2%}" in file
    assert [path.name for path in tmp_path.iterdir() if path.name != "runs"] == [output.name]


@pytest.mark.parametrize(("loss", "is_refused"), [(0.001, True), (0.0009, False), (-0.002, False)])
def test_int8_may_lose_less_than_a_thousandth_of_accuracy(loss: float, is_refused: bool) -> None:
    comparison = Comparison(1000, 1, 0.2, 1.0, 1.0, [1.0])
    with pytest.raises(ExportError, match=r"would lose 0\.10%") if is_refused else nullcontext():
        command._check(comparison, Int8OnnxFormat(), network_accuracy=0.99, measured=0.99 - loss, output=Path("a.onnx"))


@pytest.mark.slow
def test_int8_is_smaller_and_refused_where_it_loses_accuracy(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, data = pixel_network(load_classifier(checkpoint)), load_datamodule(checkpoint)
    data.setup("test")
    monkeypatch.setattr(command, "MAX_INT8_ACCURACY_LOSS", 1.0)
    output = tmp_path / "digits.onnx"
    export(network, Int8OnnxFormat(), data, output)
    assert output.stat().st_size < 4 * 18_962
    _, metadata = logits_by_others(output, torch.rand(5, 1, 28, 28))
    assert 0 <= metadata["accuracy"] <= 1
    monkeypatch.setattr(command, "MAX_INT8_ACCURACY_LOSS", -1.0)
    with pytest.raises(ExportError, match=r"would lose .* It is not written; use --format onnx"):
        export(network, Int8OnnxFormat(), data, tmp_path / "other.onnx")
    assert not (tmp_path / "other.onnx").exists()


def test_a_file_that_computes_something_else_is_not_written(checkpoint: Path, tmp_path: Path) -> None:
    class Wrong(TorchFormat):
        @override
        def load(self, path: Path) -> Exported:
            exported = super().load(path)
            return Exported(lambda images: exported.logits(images) + 2e-4, exported.metadata)

    data = load_datamodule(checkpoint)
    data.setup("test")
    with pytest.raises(ExportError, match=r"wrong\.pt2 does not compute what the network does.* logits up to 2\.0e-04"):
        export(pixel_network(load_classifier(checkpoint)), Wrong(), data, tmp_path / "wrong.pt2")
    assert not list(tmp_path.glob("*.pt2"))


def test_weights_alone_are_for_every_command_but_to_train(
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
    assert not torch.equal(weights["state_dict"][first], whole["current_model_state"][first])  # the average is kept
    for subcommand in ("validate", "test", "predict"):
        outputs = []
        for path in (str(last), output):
            capfd.readouterr()
            main([subcommand, "--ckpt_path", path])
            outputs.append(capfd.readouterr().out)
        assert outputs[0] == outputs[1] != ""
    with pytest.raises(SystemExit, match="2"):
        main(["fit", "--config", "configs/offline.yaml", "--ckpt_path", output])
    assert "holds weights, but not what a run needs to go on" in capfd.readouterr().err


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
    assert "pip install '.[onnx]'" in capfd.readouterr().err


def test_the_network_is_copied() -> None:
    net = OptimizedNet().double().train()
    PixelNetwork(net)
    assert net.training
    assert next(net.parameters()).dtype == torch.float64


@pytest.mark.slow
@pytest.mark.parametrize("name", SUFFIXES)
def test_the_shipped_model_in_every_format(
    name: str, mnist_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / f"mnist{SUFFIXES[name]}"
    args = ["export", "--ckpt_path", str(SHIPPED), "--format", name, "--output", str(output)]
    main([*args, "--data_dir", str(mnist_dir)])
    compared = capfd.readouterr().out.splitlines()[-1]
    assert compared.startswith("Compared on 1,000 test images: ")
    assert "10,000 MNIST test images" in compared
