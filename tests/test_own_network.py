"""A network of the user's, named by its class path: in all commands, or refused with a helpful error."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor, nn
from typing_extensions import override

from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.errors import CheckpointError, UserError
from mnist_lightning.fast.fused_layers import fused_forward
from mnist_lightning.main import main
from mnist_lightning.network import BaselineNet, LayeredNet, OptimizedNet, build_network
from mnist_lightning.runs.checkpoint import load_classifier, read_checkpoint
from mnist_lightning.runs.layer_table import format_layer_table, layer_table
from support.runs import Fit, read_report

MODULE = '''
import torch
from torch import nn
from torch.nn import functional as F


class Residual(nn.Module):
    """No `layers`, a shortcut, a parameter of its own, and a buffer that is not saved."""

    def __init__(self, num_classes, dropout=0.5, filters=8):
        super().__init__()
        self.first = nn.Conv2d(1, filters, 3, stride=2)
        self.first_norm = nn.BatchNorm2d(filters)
        self.second = nn.Conv2d(filters, filters, 3, padding=1)
        self.second_norm = nn.BatchNorm2d(filters)
        self.relu = nn.ReLU()
        self.dropout = nn.Dropout(dropout)
        self.scale = nn.Parameter(torch.ones(3))
        self.register_buffer("ones", torch.ones(1), persistent=False)
        self.head = nn.Linear(filters, num_classes)

    def forward(self, images):
        features = self.relu(self.first_norm(self.first(images)))
        features = features + self.relu(self.second_norm(self.second(features)))
        return self.head(self.dropout(features).mean(dim=(2, 3))) * self.scale.mean() * self.ones


class Scaled(Residual):
    """A parameter with four dimensions that is no convolution's weight."""

    def __init__(self, num_classes):
        super().__init__(num_classes)
        self.layer_scale = nn.Parameter(torch.zeros(1, 8, 1, 1))


class Branches(Residual):
    """Cannot be traced."""

    def forward(self, images):
        return super().forward(images if float(images.sum()) > -1e9 else images * 2)


class SevenClasses(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(784, 7))

    def forward(self, images):
        return self.layers(images)


class Viewed(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 2, 3), nn.Linear(2 * 26 * 26, num_classes)

    def forward(self, images):
        return self.head(self.conv(images).view(len(images), -1))


class Deep(nn.Module):
    def __init__(self, depth):
        super().__init__()


number = 3
'''


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a module with networks, which can be imported."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "networks_of_mine.py").write_text(MODULE)
    (tmp_path / "code" / "broken_of_mine.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path / "code")
    yield "networks_of_mine"
    sys.modules.pop("networks_of_mine", None)


def test_a_network_from_training_to_export(
    mine: str, tmp_path: Path, fit: Fit, capfd: pytest.CaptureFixture[str]
) -> None:
    network = f"{mine}.Residual"
    run = fit("--model.network", network, "--model.dropout", "0.25", dashboards=True)
    output = capfd.readouterr().out
    assert re.search(r"Conv 3×3, 1→8 · BN · ReLU +8×13×13 +– +80 \+ 16", output)
    assert re.search(r"parameters outside of layers +– +3\n", output)
    report = read_report(run)
    assert report["num_parameters"] == 80 + 16 + 584 + 16 + 90 + 3
    values = {each["name"].partition(",")[0]: each["value"] for each in report["requirements"]}
    assert values["batch norm after every convolution"] == "2 of 2 convolutions"
    assert values["dropout"] == "0.25"
    path = run / "checkpoints" / "last.ckpt"
    assert read_checkpoint(path).model["network"] == network
    main(["fit", "--config", "configs/offline.yaml", "--run_name", "offline", "--ckpt_path", str(path),
          "--trainer.default_root_dir", str(run.parents[1])])  # fmt: skip
    assert "nothing is left to train" in capfd.readouterr().err
    main(["test", "--ckpt_path", str(path)])
    accuracy = capfd.readouterr().out.split("accuracy ")[1].split("%")[0]
    assert float(accuracy) == pytest.approx(100 * report["epochs"][-1]["val_accuracy"], abs=0.01)
    main(["report", str(run)])
    assert f"accuracy           {accuracy}%" in capfd.readouterr().out
    for name, suffix in (("onnx", ".onnx"), ("weights", ".ckpt")):
        exported = tmp_path / f"mine{suffix}"
        main(["export", "--ckpt_path", str(path), "--format", name, "--output", str(exported)])
        assert "the same classes" in capfd.readouterr().out
    assert isinstance(load_classifier(exported).net, nn.Module)


def test_resuming_is_exact(mine: str, tmp_path: Path, fit: Fit) -> None:
    network = ("--model.network", f"{mine}.Residual")
    whole = fit(*network, "--run_name", "whole")
    with pytest.raises(SystemExit):
        fit(
            *network, "--run_name", "part", "--trainer.callbacks+=test_resume.SignalAt", "--trainer.callbacks.step", "4"
        )
    part = tmp_path / "runs" / "part" / "version_0" / "checkpoints" / "last.ckpt"
    main(["fit", "--config", "configs/offline.yaml", *network, "--ckpt_path", str(part),
          "--trainer.logger", "false", "--trainer.default_root_dir", str(tmp_path / "runs")])  # fmt: skip
    weights = load_classifier(part).state_dict()
    wanted = load_classifier(whole / "checkpoints" / "last.ckpt").state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in wanted.items())


def test_a_network_that_cannot_be_traced_trains_without_a_graph(
    mine: str, tmp_path: Path, fit: Fit, capfd: pytest.CaptureFixture[str]
) -> None:
    run = fit("--model.network", f"{mine}.Branches", dashboards=True)
    path, output = run / "checkpoints" / "last.ckpt", tmp_path / "mine.onnx"
    with pytest.raises(SystemExit, match="2"):
        main(["export", "--ckpt_path", str(path), "--format", "onnx", "--output", str(output)])
    assert "the network cannot be exported" in capfd.readouterr().err
    assert not output.exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet", "no network has this name. Use optimized, baseline"),
        ("nowhere.Net", "No module named 'nowhere'. .*can be imported from the current directory"),
        ("broken_of_mine.Net", "ZeroDivisionError"),
        ("networks_of_mine.Net", "has no attribute 'Net'"),
        ("networks_of_mine.number", "it is not a subclass of torch.nn.Module"),
        ("networks_of_mine.SevenClasses", r"it gives \(2, 7\) instead of \(2, 10\)"),
        ("networks_of_mine.Viewed", "view size is not compatible.*add --model.channels_last false"),
        ("networks_of_mine.Deep", "missing 1 required positional argument: 'depth'"),
        ("torch.nn.Identity", "it has no parameters"),
        ("os.system", "it is not a subclass of torch.nn.Module"),
    ],
)
def test_a_mistake_is_named(name: str, message: str, mine: str, finished: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"--model.network {name}.*{message}"):
        DigitClassifier(network=name)
    checkpoint = torch.load(finished / "checkpoints" / "last.ckpt", weights_only=True)
    checkpoint["hyper_parameters"]["network"] = name
    torch.save(checkpoint, tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match=f"its settings cannot be used: --model.network {name}.*{message}"):
        read_checkpoint(tmp_path / "other.ckpt")


def test_muon_looks_at_the_network(mine: str) -> None:
    DigitClassifier(network=f"{mine}.Residual", optimizer="muon")
    with pytest.raises(UserError, match="needs batch norm after each: baseline has it after 0 of 7"):
        DigitClassifier(network="baseline", optimizer="muon")
    with pytest.raises(UserError, match=r"Scaled has others\. Use --model\.optimizer sgd"):
        DigitClassifier(network=f"{mine}.Scaled", optimizer="muon")


class Doubled(LayeredNet):
    """A network whose layers are computed together."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = OptimizedNet(dropout=0).layers


class Plain(nn.Module):
    """The same layers, and something after them, which must not be left out."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = OptimizedNet(dropout=0).layers

    @override
    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layers(images) * 2
        return logits


@pytest.mark.parametrize(("kind", "num_calls"), [(Doubled, 1), (Plain, 0)])
def test_backends_agree(kind: type[nn.Module], num_calls: int, monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Mock(side_effect=fused_forward)
    monkeypatch.setattr("mnist_lightning.classifier.fused_forward", spy)
    fused, layers = (DigitClassifier(f"{__name__}.{kind.__name__}", backend=name) for name in ("fused", "layers"))
    layers.load_state_dict(fused.state_dict())
    images = torch.rand(4, 1, 28, 28)
    torch.testing.assert_close(fused(images), layers(images), rtol=0, atol=1e-4)
    assert spy.call_count == num_calls


@pytest.mark.parametrize("network", [OptimizedNet(num_classes=3), BaselineNet(num_classes=3)])
def test_another_number_of_classes(network: nn.Module) -> None:
    assert network.eval()(torch.zeros(2, 1, 28, 28)).shape == (2, 3)
    classifier = DigitClassifier(class_names=("a", "b", "c"))
    assert classifier.probabilities(torch.rand(2, 1, 28, 28)).shape == (2, 3)


@pytest.mark.parametrize("names", [("a",), ("a", "a"), ("a", "b\n"), ("a", "$b$")])
def test_class_names_are_checked(names: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="at least two different names"):
        DigitClassifier(class_names=names)


def test_a_network_is_built_with_its_own_arguments_only(mine: str) -> None:
    net = build_network(f"{mine}.Residual", num_classes=4, dropout=0.125, head="x", batch_norm=True)
    assert net.training
    assert next(module.p for module in net.modules() if isinstance(module, nn.Dropout)) == 0.125
    assert format_layer_table(layer_table(net)).endswith(f"{80 + 16 + 584 + 16 + 36 + 3:,}")
