"""Mistakes on the command line and in configs, and what --help says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import mnist_lightning
from mnist_lightning.datamodule import DigitsDataModule
from mnist_lightning.main import COMMANDS, main
from mnist_lightning.options import TRAINER_COMMANDS

FIT = ["fit", "--config", "configs/offline.yaml"]


@pytest.fixture(autouse=True)
def _in_project(in_project: None) -> None:
    """Changes to the project's directory, because commands use relative paths of configs."""


def error_of(args: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    """The one or two short lines of a command that ends with status 2."""
    with pytest.raises(SystemExit, match="2"):
        main(args)
    lines = capfd.readouterr().err.splitlines()
    assert 1 <= len(lines) <= 2
    assert lines[0].startswith("error: ")
    assert all(len(line) <= 420 for line in lines)
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("mistake", "hint"),
    [
        # The closest name of an option.
        (["--model.max_rl", "3"], "Did you mean --model.max_lr?"),
        (["--trainer.max_epoch", "3"], "Did you mean --trainer.max_epochs?"),
        (["--nonsense", "5"], "Run `python -m mnist_lightning fit --help` for the list of options."),
        (["configs/cpu.yaml"], "Write --config configs/cpu.yaml."),
        # The option and the value.
        (["--model.max_lr", "abc"], r"--model.max_lr.*abc"),
        (["--data.batch_size", "0"], r"--data.batch_size.*0"),
        (["--trainer.callbacks", "ModelCheckpont"], r"--trainer.callbacks.*ModelCheckpont"),
        (["--config", "configs/nope.yaml"], r"configs/nope.yaml"),
    ],
)
def test_a_wrong_option_is_refused_before_any_work(
    mistake: list[str], hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(DigitsDataModule, "prepare_data", lambda _: pytest.fail("the data were read"))
    root = ["--trainer.default_root_dir", str(tmp_path / "runs"), "--trainer.logger", "false"]
    error = error_of([*FIT, *root, *mistake], capfd)
    assert re.search(hint, error), error
    assert list(tmp_path.glob("runs/*/version_*")) == []


@pytest.mark.parametrize(
    ("args", "hint"),
    [
        ([], "Start with `python -m mnist_lightning fit --config configs/optimized.yaml`"),
        (["trian"], "'trian' is not a command. Start with"),
        (["fitt"], "Did you mean fit?"),
        (["fit"], "fit needs a config"),
        (["fit", "--config", "configs/cpu.yaml"], "Put configs/optimized.yaml before an overlay"),
        (["test"], "test needs trained weights: add --ckpt_path"),
        (["test", "--ckpt_path", "nope.ckpt"], "--ckpt_path nope.ckpt does not exist"),
        ([*FIT, "--data.validation", "holdout", "--data.num_holdout", "5000"], "Use at most 1436"),
    ],
)
def test_a_wrong_command(args: list[str], hint: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root = ["--trainer.default_root_dir", str(tmp_path), "--trainer.logger", "false"] if args[:1] == ["fit"] else []
    assert hint in error_of([*args, *root], capfd)
    assert list(tmp_path.glob("*/version_*")) == []


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (b"trainer:\n  max_epoch: 3\n", "Did you mean --trainer.max_epochs?"),
        (b"model:\n  max_lr: abc\n", r"--model.max_lr.*abc"),
        (b"model: [1, 2", "mine.yaml"),
    ],
)
def test_a_wrong_config(text: bytes, hint: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "mine.yaml"
    config.write_bytes(text)
    error = error_of(["fit", "--config", str(config)], capfd)
    assert re.search(hint, error), error


def printed_config(args: list[str], capfd: pytest.CaptureFixture[str]) -> dict[str, dict[str, object]]:
    with pytest.raises(SystemExit, match="0"):
        main([*args, "--print_config"])
    config: dict[str, dict[str, object]] = yaml.safe_load(capfd.readouterr().out)
    return config


def test_options_win_over_configs_wherever_they_stand(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    later = tmp_path / "later.yaml"
    later.write_text("trainer: {max_epochs: 2}\nmodel: {max_lr: 0.3}\n")
    for args in (["--model.max_lr", "0.2", f"--config={later}"], ["-c", str(later), "--model.max_lr=0.2"]):
        config = printed_config([*FIT, *args], capfd)
        assert (config["trainer"]["max_epochs"], config["model"]["max_lr"]) == (2, 0.2)


@pytest.mark.parametrize(("given", "kind"), [("1", int), ("1.0", float), ("0.5", float), ("7", int)])
def test_whole_numbers_of_batches_stay_whole(given: str, kind: type, capfd: pytest.CaptureFixture[str]) -> None:
    names = ["limit_train_batches", "limit_val_batches", "limit_test_batches", "limit_predict_batches"]
    options = [part for name in names for part in (f"--trainer.{name}", given)]
    assert {type(printed_config([*FIT, *options], capfd)["trainer"][name]) for name in names} == {kind}


@pytest.mark.parametrize("command", TRAINER_COMMANDS)
def test_help_documents_every_option_of_ours(command: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    out = capfd.readouterr().out
    assert f"python -m mnist_lightning [options] {command} " in " ".join(out.split())
    entries = re.split(r"\n  (?=-)", out)[1:]  # an option, and its help up to the next option
    texts = {each.split()[0]: re.sub(r"\(type: .*", "", each, flags=re.DOTALL).split()[2:] for each in entries}
    ours = {name: words for name, words in texts.items() if not name.startswith("--trainer.")}
    assert len(ours) > 40
    assert [name for name, words in ours.items() if len(words) < 3] == []


def test_help_names_every_command(capfd: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    out = capfd.readouterr().out
    assert out.startswith("usage: python -m mnist_lightning")
    assert all(re.search(rf"^    {command}  ", out, re.MULTILINE) for command in [*TRAINER_COMMANDS, *COMMANDS])
    main(["--version"])
    assert capfd.readouterr().out == f"mnist_lightning {mnist_lightning.__version__}\n"


@pytest.mark.parametrize(
    "args", [["--help"], ["fitt"], *([command, "--help"] for command in COMMANDS), ["study", "--n", "1"]]
)
def test_help_and_errors_of_our_commands_do_not_load_pytorch(args: list[str]) -> None:
    code = f"import sys; from mnist_lightning.main import main\ntry: main({args})\nexcept SystemExit: pass\n"
    code += "print({'torch', 'lightning', 'scipy', 'matplotlib'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("set()\n")
