"""Readable checkpoints with content that no run writes: every command refuses them with one clear error."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mnist_lightning.callbacks.record import RunRecord
from mnist_lightning.errors import CheckpointError
from mnist_lightning.main import main
from mnist_lightning.runs.checkpoint import read_checkpoint
from mnist_lightning.runs.checkpoint_file import load_checkpoint
from support.runs import PROJECT

Content = dict[str, Any]
WEIGHT, COUNT = "net.layers.0.weight", "net.layers.1.num_batches_tracked"


def model(**settings: Any) -> Callable[[Content], Any]:
    return lambda content: content["hyper_parameters"].update(settings)


def data(**settings: Any) -> Callable[[Content], Any]:
    return lambda content: content["datamodule_hyper_parameters"].update(settings)


def weights(name: str, value: Any) -> Callable[[Content], Any]:
    return lambda content: content["state_dict"].update({name: value})


def replaced(name: str, value: Any) -> Callable[[Content], Any]:
    return lambda content: content.update({name: value})


def report(change: Callable[[Content], Any]) -> Callable[[Content], Any]:
    def change_content(content: Content) -> None:
        state = content["callbacks"]["RunRecord"]
        changed = json.loads(state["report"])
        change(changed)
        state["report"] = json.dumps(changed)

    return change_content


def report_settings(group: str, **settings: Any) -> Callable[[Content], Any]:
    return report(lambda changed: changed["settings"][group].update(settings))


def endless(content: Content) -> None:
    content["state_dict"][WEIGHT][0, 0, 0, 0] = torch.inf


# The change, and a pattern of the error.
ODD_FOR_ALL: dict[str, tuple[Callable[[Content], Any], str]] = {
    "settings that are a list": (replaced("hyper_parameters", [1]), "lacks hyper_parameters"),
    "data settings that are a list": (replaced("datamodule_hyper_parameters", []), "lacks datamodule_hyper"),
    "a batch size below 1": (data(batch_size=-3), "data.batch_size is -3"),
    "a batch size that is null": (data(batch_size=None), "data.batch_size is null"),
    "a huge batch size": (data(eval_batch_size=2**31 - 1), "data.eval_batch_size is 2147483647"),
    "a learning rate that is not a number": (model(max_lr="abc"), "model.max_lr is 'abc'"),
    "a learning rate that is not finite": (model(max_lr=float("nan")), "model.max_lr is nan"),
    "a tensor in the settings": (model(dropout=torch.zeros(3)), "model.dropout is tensor"),
    "an unknown data set": (data(dataset="foo"), "data.dataset is 'foo'"),
    "a terminal command in a setting": (data(dataset="\x1b[2Jfoo\n"), r"data.dataset is '\\x1b\[2Jfoo\\n'"),
    "a seed that is a string": (data(seed="x"), "data.seed is 'x'"),
    "loader processes for images on the device": (
        data(on_device=True, num_workers=1),
        "cannot be used: --data.num_workers",
    ),
    "a setting's name that is a number": (
        lambda content: content["hyper_parameters"].update({3: 4}),
        "model.3 is unknown",
    ),
    "an unknown setting": (model(depth=3), "model.depth is unknown"),
    "a setting of the parser": (data(__path__="x"), "data.__path__ is unknown"),
    "settings that exclude each other": (
        model(optimizer="muon", batch_norm=False),
        "cannot be used: --model.opt",
    ),
    "a much wider network": (
        model(channels=5 * [640]),
        rf"{WEIGHT} has shape \(10, 1, 3, 3\) instead of \(640, 1, 3, 3\)",
    ),
    "a weight that is a number": (weights(WEIGHT, 3), "'net.layers.0.weight' in its state_dict is not a tensor"),
    "a weight whose name is a number": (lambda content: content["state_dict"].update({3: torch.zeros(1)}), "3 in its"),
    "an unknown weight": (weights("net.more", torch.zeros(3)), "'net.more' is unknown"),
    "a missing weight": (lambda content: content["state_dict"].pop(WEIGHT), f"'{WEIGHT}' is missing"),
    "integer weights": (
        weights(WEIGHT, torch.zeros(10, 1, 3, 3, dtype=torch.int64)),
        "has dtype torch.int64 instead of",
    ),
    "complex weights": (weights(WEIGHT, torch.zeros(10, 1, 3, 3, dtype=torch.complex64)), "has dtype torch.complex64"),
    "a count that is a float": (weights(COUNT, torch.zeros(())), "has dtype torch.float32 instead of torch.int64"),
    "a weight that is not finite": (endless, rf"{WEIGHT} are not finite"),
}
ODD_FOR_FIT: dict[str, tuple[Callable[[Content], Any], str]] = {
    "a report that is not JSON": (
        lambda content: content["callbacks"]["RunRecord"].update(report="{"),
        "its report is incomplete",
    ),
    "an endless report": (
        lambda content: content["callbacks"]["RunRecord"].update(report="[" * 10**5),
        "its report is incomplete",
    ),
    "a report that is a number": (
        lambda content: content["callbacks"]["RunRecord"].update(report=3),
        "not what a run needs",
    ),
    "a report without epochs": (report(lambda changed: changed.update(epochs=None)), "its report is incomplete"),
    "a report without a field": (report(lambda changed: changed.pop("hardware")), "its report is incomplete"),
    "a report with a lone surrogate": (
        report(lambda changed: changed.update(command="\ud800")),
        "report is incomplete",
    ),
    "no settings": (report(lambda changed: changed.update(settings={})), "its report is incomplete"),
    "no schedule": (
        report(lambda changed: changed["settings"]["model"].pop("schedule")),
        "its report has no settings",
    ),
    "two seeds": (report_settings("data", seed=3), "data.seed is 0, but 3 in its report"),
    "epochs that are a string": (report_settings("trainer", max_epochs="abc"), "trainer.max_epochs is 'abc'"),
    "a fraction of batches above 1": (report_settings("trainer", limit_train_batches=7.5), "limit_train_batches 7.5"),
    "gradients of zero batches": (
        report_settings("trainer", accumulate_grad_batches=0),
        "accumulate_grad_batches is 0",
    ),
    "a weight average that diverges": (report_settings("weight_average", decay=2), "weight_average.decay is 2"),
    "seconds that are strings": (
        lambda content: content["callbacks"]["RunRecord"].update(seconds=("a", "b")),
        "not what a run needs",
    ),
    "no position in the data": (
        replaced("DigitsDataModule", {"epoch": None, "step": 0}),
        "does not state at which step",
    ),
    "no number of steps": (replaced("global_step", "abc"), "does not state at which step"),
    "a negative number of steps": (replaced("global_step", -5), "does not state at which step"),
    "no optimizer": (replaced("optimizer_states", [{}]), "a run cannot resume from it"),
    "an optimizer of another network": (replaced("optimizer_states", 3), "a run cannot resume from it"),
    "no callbacks": (replaced("callbacks", 3), "not what a run needs to resume"),
    "empty loops": (replaced("loops", {"fit_loop": {"state_dict": {}}}), "a run cannot resume from it"),
    "another framework": (replaced("pytorch-lightning_version", "abc"), "a run cannot resume from it"),
    "metrics that are numbers": (replaced("train_metrics", {"train/loss": 3}), "a run cannot resume from it"),
    "metrics of another shape": (
        lambda content: content["train_metrics"]["train/loss"].update(weight=torch.zeros(3)),
        "a run cannot resume from it",
    ),
}


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(PROJECT)
        main(["fit", *SHORT, "--trainer.logger", "false", "--trainer.default_root_dir", str(root)])
    return root / "offline" / "version_0"


SHORT = ("--config", "configs/offline.yaml", "--trainer.max_epochs", "1", "--trainer.limit_train_batches", "2")


def commands(checkpoint: Path, root: Path) -> dict[str, list[str]]:
    path = ("--ckpt_path", str(checkpoint))
    return {
        "fit": ["fit", *SHORT, *path, "--trainer.default_root_dir", str(root / "runs")],
        "validate": ["validate", *path],
        "test": ["test", *path],
        "predict": ["predict", *path],
        "read": ["read", "examples/seven.jpg", *path],
        "export": ["export", *path, "--format", "torch", "--output", str(root / "exported.pt2")],
        "report": ["report", str(checkpoint.parent.parent)],
        "demo": ["demo", *path],
    }


def refusal(args: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit, match="2"):
        main(args)
    (error,) = capfd.readouterr().err.splitlines()
    assert error.startswith("error: --checkpoint last: " if args[0] == "report" else "error: --ckpt_path ")
    return error


def odd_copy(run_folder: Path, root: Path, change: Callable[[Content], Any]) -> Path:
    shutil.copytree(run_folder, root / "odd")
    path = root / "odd" / "checkpoints" / "last.ckpt"
    content = load_checkpoint(path)
    change(content)
    torch.save(content, path)
    return path


def cases(odd: dict[str, tuple[Callable[[Content], Any], str]], fast: set[str]) -> list[Any]:
    """The table as test parameters; cases outside `fast` are marked as slow."""
    return [pytest.param(*case, id=name, marks=() if name in fast else pytest.mark.slow) for name, case in odd.items()]


@pytest.mark.parametrize(("change", "match"), ODD_FOR_ALL.values(), ids=ODD_FOR_ALL.keys())
def test_reading_it_is_refused(change: Callable[[Content], Any], match: str, run_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=match):
        read_checkpoint(odd_copy(run_folder, tmp_path, change))


@pytest.mark.parametrize(
    ("change", "match"),
    cases(ODD_FOR_ALL, fast={"a batch size below 1"}),
)
def test_every_command_refuses_it(
    change: Callable[[Content], Any],
    match: str,
    run_folder: Path,
    tmp_path: Path,
    in_project: None,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = odd_copy(run_folder, tmp_path, change)
    for args in commands(path, tmp_path).values():
        error = refusal(args, capfd)
        assert str(path) in error
        assert re.search(match, error), error
    assert sorted(tmp_path.iterdir()) == [tmp_path / "odd"]


@pytest.mark.parametrize(
    ("change", "match"),
    cases(ODD_FOR_FIT, fast={"two seeds", "no optimizer", "no schedule"}),
)
def test_a_run_does_not_resume_from_it(
    change: Callable[[Content], Any],
    match: str,
    run_folder: Path,
    tmp_path: Path,
    in_project: None,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = odd_copy(run_folder, tmp_path, change)
    error = refusal(commands(path, tmp_path)["fit"], capfd)
    assert error.startswith(f"error: --ckpt_path {path}")
    assert re.search(match, error), error


def test_a_run_resumes_from_its_own_checkpoint(
    run_folder: Path, tmp_path: Path, in_project: None, capfd: pytest.CaptureFixture[str]
) -> None:
    path = odd_copy(run_folder, tmp_path, lambda content: None)
    main(commands(path, tmp_path)["fit"])
    assert "nothing is left to train" in capfd.readouterr().err


def test_an_error_outside_of_restoring_keeps_its_traceback(
    run_folder: Path, tmp_path: Path, in_project: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such an error is not the checkpoint's fault."""
    path = odd_copy(run_folder, tmp_path, lambda content: None)

    def fail(*args: object) -> None:
        raise LookupError("elsewhere")

    monkeypatch.setattr(RunRecord, "on_fit_start", fail)
    with pytest.raises(LookupError, match="elsewhere"):
        main(commands(path, tmp_path)["fit"])
