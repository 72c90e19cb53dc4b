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
from mnist_lightning.network import LayeredNet, OptimizedNet, build_network
from mnist_lightning.runs.checkpoint import load_checkpoint, load_classifier, read_checkpoint
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

'''


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a module with networks, which can be imported."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "networks_of_mine.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path / "code")
    yield "networks_of_mine"
    sys.modules.pop("networks_of_mine", None)


def test_a_network_in_the_commands(mine: str, fit: Fit, capfd: pytest.CaptureFixture[str]) -> None:
    network = f"{mine}.Residual"
    run = fit("--model.network", network, "--model.dropout", "0.25")
    output = capfd.readouterr().out
    assert re.search(r"Conv 3×3, 1→8 · BN · ReLU +8×13×13 +– +80 \+ 16", output)
    assert re.search(r"parameters outside of layers +– +3\n", output)
    report = read_report(run)
    assert report["num_parameters"] == 80 + 16 + 584 + 16 + 90 + 3
    values = {each["name"].partition(",")[0]: each["value"] for each in report["requirements"]}
    assert values["batch norm after every convolution"] == "2 of 2 convolutions"
    assert values["dropout"] == "0.25"
    path = run / "checkpoints" / "last.ckpt"
    assert read_checkpoint(path, network).model["network"] == network
    own = ["--ckpt_path", str(path), "--model.network", network]
    main(["test", *own])
    accuracy = capfd.readouterr().out.split("accuracy ")[1].split("%")[0]
    assert float(accuracy) == pytest.approx(100 * report["epochs"][-1]["val_accuracy"], abs=0.01)
    with pytest.raises(SystemExit, match="2"):
        main(["test", *own[:2]])
    assert f"add --model.network {network}" in capfd.readouterr().err
    assert load_classifier(path, network).probabilities(torch.rand(2, 1, 28, 28)).shape == (2, 10)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet", "no network has this name. Use optimized, baseline"),
        ("nowhere.Net", "No module named 'nowhere'. .*can be imported from the current directory"),
        ("networks_of_mine.SevenClasses", r"it gives \(2, 7\) instead of \(2, 10\)"),
        ("networks_of_mine.Viewed", "view size is not compatible.*add --model.channels_last false"),
        ("os.system", "it is not a subclass of torch.nn.Module"),
    ],
)
def test_a_mistake_is_named(name: str, message: str, mine: str) -> None:
    with pytest.raises(UserError, match=f"--model.network {name}.*{message}"):
        DigitClassifier(network=name)


def test_a_checkpoint_alone_imports_nothing(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "planted.py").write_text("from pathlib import Path; Path(__file__).with_name('trace').touch()")
    monkeypatch.syspath_prepend(tmp_path)
    content = load_checkpoint(finished / "checkpoints" / "last.ckpt")
    content["hyper_parameters"]["network"] = "planted.Net"
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(
        CheckpointError, match=r"its network is the class planted\.Net, which is imported only if the command names it"
    ):
        read_checkpoint(tmp_path / "other.ckpt")
    assert not (tmp_path / "trace").exists()
    with pytest.raises(CheckpointError, match="has no attribute 'Net'"):
        read_checkpoint(tmp_path / "other.ckpt", network="planted.Net")
    assert (tmp_path / "trace").exists(), "it would have been imported"


def test_muon_looks_at_the_network(mine: str) -> None:
    DigitClassifier(network=f"{mine}.Residual", optimizer="muon")
    for network, found in (
        ("baseline", "batch norm after 0 of 7"),
        (f"{mine}.Scaled", "3 weights with four dimensions"),
    ):
        with pytest.raises(UserError, match=found):
            DigitClassifier(network=network, optimizer="muon")


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
    name = f"{__name__}.{kind.__name__}"
    fused, layers = DigitClassifier(name), DigitClassifier(name, backend="layers")  # on a CPU, the first by default
    layers.load_state_dict(fused.state_dict())
    images = torch.rand(4, 1, 28, 28)
    torch.testing.assert_close(fused(images), layers(images), rtol=0, atol=1e-4)
    assert spy.call_count == num_calls


def test_a_network_is_built_with_its_own_arguments_only(mine: str) -> None:
    net = build_network(f"{mine}.Residual", num_classes=4, dropout=0.125, head="x", batch_norm=True)
    assert net.training
    assert next(module.p for module in net.modules() if isinstance(module, nn.Dropout)) == 0.125
    assert format_layer_table(layer_table(net)).endswith(f"{80 + 16 + 584 + 16 + 36 + 3:,}")
