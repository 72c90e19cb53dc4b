"""The commands of README.md and docs/: those of Python run, shortened; make's are looked up.

tests/test_make_it_yours.py runs the commands of its page.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.tables import OUTPUTS, PAGES
from mnist_lightning.main import main
from support.runs import PROJECT

TEXT = "\n".join(
    path.read_text(encoding="utf-8") for path in PAGES if path.name not in ("make_it_yours.md", "your_images.md")
)
BLOCKS = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = list(dict.fromkeys(line for block in BLOCKS for line in block.splitlines() if line.strip()))
PROGRAM = "python -m mnist_lightning "
PYTHON_COMMANDS = [command for command in COMMANDS if command.startswith(PROGRAM)]
MAKE_COMMANDS = sorted(
    {command for command in COMMANDS if command.startswith("make ")} | set(re.findall(r"`(make [a-z-]+)`", TEXT))
)
OTHER_COMMANDS = [command for command in COMMANDS if command not in (*PYTHON_COMMANDS, *MAKE_COMMANDS)]
LIMITS = {"fit": ["train", "val", "test"], "validate": ["val"], "test": ["test"], "predict": ["predict"]}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory, mnist_dir: Path) -> Iterator[Path]:
    """A directory with the configs, MNIST, and a run with the checkpoints of the README's commands."""
    directory = tmp_path_factory.mktemp("readme")
    for name in ("configs", "models", "examples"):
        (directory / name).symlink_to(PROJECT / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MNIST_DATA_DIR", str(mnist_dir))
        patch.chdir(directory)
        main(shortened(f"{PROGRAM}fit --config configs/optimized.yaml"))
        (directory / "runs" / "best").symlink_to("optimized")  # the run in the command of `report`
        yield directory


def shortened(command: str) -> list[str]:
    """The command's arguments, with options that shorten it."""
    args = shlex.split(command.removeprefix(PROGRAM))
    if args[0] == "study":
        short = "--trainer.max_epochs 1 --trainer.limit_train_batches 2 --data.validation none"
        return [*args, "--seeds", "1", "--fit", f"{short} --trainer.limit_test_batches 2"]
    if args[0] not in LIMITS or "--help" in args or "--print_config" in args:
        return args
    args += ["--data.eval_batch_size", "50"]
    for stage in LIMITS[args[0]]:
        args += [f"--trainer.limit_{stage}_batches", "2"]
    return [*args, "--trainer.max_epochs", "1", "--trainer.logger", "false"] if args[0] == "fit" else args


def is_slow(command: str) -> bool:
    return bool(re.search(r" (study|report|export)\b|>|ddp", command))


def test_every_command_is_tested() -> None:
    assert len(PYTHON_COMMANDS) > 10
    assert all(" -m venv " in command for command in OTHER_COMMANDS)


@pytest.mark.parametrize(
    "command", [pytest.param(each, marks=[pytest.mark.slow] if is_slow(each) else []) for each in PYTHON_COMMANDS]
)
def test_command(
    command: str, workplace: Path, capfd: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    if command.endswith(" demo"):
        pytest.skip("opens a browser: see tests/test_demo.py")
    if ">" in command or "ddp" in command:  # writes to a file, or starts other processes
        command, _, target = command.partition(" > ")
        line = shlex.join([sys.executable, "-m", "mnist_lightning", *shortened(command)])
        path = f"{PROJECT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
        subprocess.run(
            ["bash", "-c", f"{line} > {target or 'output.txt'}"], env=os.environ | {"PYTHONPATH": path}, check=True
        )
        assert (workplace / (target or "output.txt")).read_text()
        return
    args = shortened(command)
    if "fashion" in command:
        args += ["--data.data_dir", str(request.getfixturevalue("fashion_dir"))]
    status = 0
    try:
        main(args)
    except SystemExit as ended:
        status = int(ended.code or 0)
    assert status == (1 if args[0] == "read" else 0)  # one of the examples has no digit
    output = capfd.readouterr().out
    assert output
    if args[0] == "read":
        assert without_figures(output) == without_figures((OUTPUTS / "read.txt").read_text(encoding="utf-8"))


def without_figures(text: str) -> str:
    """The text without numbers that have a decimal point, which depend on the machine."""
    return re.sub(r" *\d+\.\d+", " …", text)


@pytest.mark.parametrize(("status", "config"), [(0, "optimized"), (2, "offline")])
def test_quickstart_trains_on_mnist_if_it_is_there(status: int, config: str, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "$*"\ncase "$*" in *optimized.yaml) exit {status};; esac\n')
    python.chmod(0o755)
    *_, command = make("--assume-old=.venv/.installed", f"BIN={tmp_path}", "quickstart")
    assert command == f"-m mnist_lightning fit --config configs/{config}.yaml"


@pytest.mark.parametrize("command", MAKE_COMMANDS)
def test_make_target(command: str) -> None:
    assert make("--dry-run", *command.split()[1:])


def test_bare_make_lists_every_target() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    assert {line.split()[1] for line in make() if line.startswith("make ")} == targets


def make(*args: str) -> list[str]:
    """The lines that `make` prints."""
    # Under `make test`, a nested make would print its directories.
    command = ["make", "--no-print-directory", *args]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.splitlines()
