"""The commands of README.md and docs/: those of Python run, shortened; of make's, what they would run is looked at.

tests/test_make_it_yours.py runs the commands of its page.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.tables import OUTPUTS, PAGES, RESULTS
from mnist_lightning.main import main
from support.demo_page import COMMAND as DEMO
from support.processes import free_port
from support.runs import PROJECT

TEXT = "\n".join(path.read_text(encoding="utf-8") for path in PAGES if path.name != "make_it_yours.md")
COMMANDS = list(
    dict.fromkeys(
        line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines() if line.strip()
    )
)
PYTHON_COMMANDS = [command for command in COMMANDS if command.startswith("python -m mnist_lightning ")]
COMMANDS_APART = [command for command in PYTHON_COMMANDS if ">" in command or "ddp" in command]
# Tested separately: the README shows their output, and `demo` runs until it is stopped.
SHIPPED_MODEL_COMMANDS = [command for command in PYTHON_COMMANDS if re.search(r" (read|demo|export)\b", command)]
REPORT_COMMANDS = [command for command in PYTHON_COMMANDS if " report " in command]
STUDY_COMMANDS = [command for command in PYTHON_COMMANDS if " study " in command]
COMMANDS_HERE = [
    command
    for command in PYTHON_COMMANDS
    if command not in [*COMMANDS_APART, *SHIPPED_MODEL_COMMANDS, *REPORT_COMMANDS, *STUDY_COMMANDS]
]
MAKE_COMMANDS = sorted(
    {command for command in COMMANDS if command.startswith("make ")} | set(re.findall(r"`(make [a-z-]+)`", TEXT))
)
INSTALL_COMMANDS = [command for command in COMMANDS if " -m venv " in command]
PROGRAM_WORDS = 3  # python -m mnist_lightning


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory, mnist_dir: Path) -> Iterator[Path]:
    """A directory with the configs, MNIST, and a run with the checkpoints of the README's commands."""
    directory = tmp_path_factory.mktemp("readme")
    for name in ("configs", "models", "examples"):
        (directory / name).symlink_to(PROJECT / name)
    previous = Path.cwd()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MNIST_DATA_DIR", str(mnist_dir))
        os.chdir(directory)
        try:
            first = "python -m mnist_lightning fit --config configs/optimized.yaml"
            main([*shortened(first), "--trainer.logger", "true"])
            (directory / "runs" / "best").symlink_to("optimized")  # the run in the command of `report`
            yield directory
        finally:
            os.chdir(previous)


def shortened(command: str) -> list[str]:
    """The command's arguments, with overrides that shorten it."""
    args = shlex.split(command)[PROGRAM_WORDS:]
    if "--help" in args or "--print_config" in args:
        return args
    if args[0] in ("report", "export"):
        return args
    if args[0] == "study":
        short = "--trainer.max_epochs 1 --trainer.limit_train_batches 2 --data.validation none"
        return [*args, "--seeds", "1", "--fit", f"{short} --trainer.limit_test_batches 2"]
    limits = ["--data.eval_batch_size", "50"]
    for stage in {"fit": ["train", "val", "test"], "validate": ["val"]}.get(args[0], [args[0]]):
        limits += [f"--trainer.limit_{stage}_batches", "2"]
    # Without dashboards, which double the time and are drawn in the fixture's run.
    fit = ["--trainer.max_epochs", "1", "--trainer.logger", "false"] if args[0] == "fit" else []
    return [*args, *limits, *fit]


def test_every_command_is_tested() -> None:
    assert set(COMMANDS) <= set(PYTHON_COMMANDS) | set(MAKE_COMMANDS) | set(INSTALL_COMMANDS)
    assert len(PYTHON_COMMANDS) > 10
    assert {"make quickstart", "make test", "make dashboards-cost"} <= set(MAKE_COMMANDS)


@pytest.mark.parametrize(
    "command", [*COMMANDS_HERE, *(pytest.param(command, marks=pytest.mark.slow) for command in STUDY_COMMANDS)]
)
def test_command(
    command: str, workplace: Path, capfd: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    args = shortened(command)
    if "fashion" in command:
        args += ["--data.data_dir", str(request.getfixturevalue("fashion_dir"))]
    if "--help" in args or "--print_config" in args:
        with pytest.raises(SystemExit) as ended:
            main(args)
        assert ended.value.code == 0
        assert "max_lr" in capfd.readouterr().out
        return
    main(args)
    assert "accuracy" in capfd.readouterr().out


def test_digits_are_read_as_shown(workplace: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (command,) = [command for command in SHIPPED_MODEL_COMMANDS if " read " in command]
    with pytest.raises(SystemExit, match="1"):  # one of the examples has no digit
        main(shlex.split(command)[PROGRAM_WORDS:])
    shown = (OUTPUTS / "read.txt").read_text(encoding="utf-8")
    assert without_figures(capfd.readouterr().out) == without_figures(shown)


@pytest.mark.slow
def test_the_model_is_exported_as_shown(workplace: Path, capfd: pytest.CaptureFixture[str]) -> None:
    *commands, page = [command for command in SHIPPED_MODEL_COMMANDS if " export " in command]
    assert (len(commands), "--format html" in page) == (3, True)
    main(shortened(page))  # its output is not shown
    capfd.readouterr()
    for command in commands:
        main(shortened(command))
        assert Path(shlex.split(command)[-1]).stat().st_size > 10_000
    shown = (OUTPUTS / "export.txt").read_text(encoding="utf-8")
    assert without_figures(capfd.readouterr().out) == without_figures(shown)


@pytest.mark.slow
@pytest.mark.parametrize("command", REPORT_COMMANDS)
def test_a_report_has_the_lines_shown(
    command: str, workplace: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mnist_lightning.report.evaluation.MAX_OPERATIONS", 0)  # as for a large network
    main(shortened(command))
    shown = (OUTPUTS / "report.txt").read_text(encoding="utf-8")
    assert labels(capfd.readouterr().out) == labels(shown)


def labels(text: str) -> list[str]:
    """The labels of a report's indented lines."""
    return re.findall(r"^  (\w+(?: \w+)*)  ", text, re.MULTILINE)


def test_the_demo_is_tested_in_a_browser() -> None:
    (command,) = [command for command in SHIPPED_MODEL_COMMANDS if command.endswith(" demo")]
    assert command == f"python -m mnist_lightning {shlex.join(DEMO)}"


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS_APART)
def test_command_in_a_process_of_its_own(command: str, workplace: Path) -> None:
    """Commands that write to a file, or start other processes."""
    (args, redirects, target) = command.partition(" > ")
    line = shlex.join([sys.executable, *shlex.split(args)[1:PROGRAM_WORDS], *shortened(args)])
    target = target if redirects else "output.txt"
    path = f"{PROJECT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    done = subprocess.run(
        ["bash", "-c", f"{line} > {target}"], cwd=workplace, env=os.environ | {"PYTHONPATH": path}, check=False
    )
    assert done.returncode == 0
    output = (workplace / target).read_text()
    if args.split()[PROGRAM_WORDS] == "predict":
        assert output.splitlines()[0] == "dataset,index,digit,probability"
        assert len(output.splitlines()) == 1 + 100
    else:
        assert "accuracy" in output


def test_pytorch_without_cuda_is_installed_where_make_looks_for_it(tmp_path: Path) -> None:
    (command,) = INSTALL_COMMANDS
    (tmp_path / "bin").mkdir()
    for program in ("bin/python3", ".venv/bin/pip"):
        path = tmp_path / program
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('#!/bin/sh\necho "$0 $*" >> said.txt\n')
        path.chmod(0o755)
    subprocess.run(["bash", "-c", f"PATH=bin:$PATH; {command}"], cwd=tmp_path, check=True)
    made, installed = (tmp_path / "said.txt").read_text().splitlines()
    assert made.endswith("python3 -m venv .venv")
    assert installed.startswith(".venv/bin/pip install torch torchvision --index-url https://")
    assert any(".venv/bin/python " in line for line in make("--dry-run", "quickstart"))


@pytest.mark.parametrize(("status", "config"), [(0, "optimized"), (2, "offline")])
def test_quickstart_trains_on_mnist_if_it_is_there(status: int, config: str, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "$*"\ntest "$*" != "-m mnist_lightning.data.datasets" || exit {status}\n')
    python.chmod(0o755)
    *_, command = make("--assume-old=.venv/.installed", f"BIN={tmp_path}", "quickstart")
    assert command == f"-m mnist_lightning fit --config configs/{config}.yaml"


@pytest.mark.parametrize("command", MAKE_COMMANDS)
def test_make_target(command: str) -> None:
    assert make("--dry-run", *command.split()[1:])


def test_the_code_that_the_pages_name_is_there() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in PAGES)
    names = set(re.findall(r"`([\w/]+\.py)`", text)) - {"my_nets.py", "write_images.py", "train.py"}
    assert len(names) > 10
    folders = [PROJECT, PROJECT / "mnist_lightning", PROJECT / "mnist_lightning" / "fast"]
    assert [name for name in names if not any((folder / name).exists() for folder in folders)] == []


def test_one_line_about_the_machine_holds_for_the_epochs_and_the_trainer() -> None:
    parts = [json.loads((RESULTS / "benchmark" / f"{name}.json").read_text()) for name in ("epochs", "trainer")]
    epochs, trainer = ((part["hardware"], part["versions"]) for part in parts)
    assert epochs == trainer


def test_bare_make_lists_every_target() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    listed = {line.split()[1] for line in make() if line.startswith("make ")}
    assert listed == targets


def test_tensorboard_serves(workplace: Path) -> None:
    line = make("--dry-run", "tensorboard")[-1]
    port = free_port()
    args = [str(Path(sys.executable).parent / "tensorboard"), *shlex.split(line)[1:], "--port", str(port)]
    with subprocess.Popen(args, cwd=workplace, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            runs = ask(f"http://localhost:{port}/data/runs", server)
        finally:
            server.terminate()
    assert "optimized/version_0" in runs


def without_figures(text: str) -> str:
    """The text without numbers that have a decimal point or a thousands separator, which depend on the machine."""
    return re.sub(r" *\d[\d,]*[.,]\d+(e-\d+)?", " …", text)


def make(*args: str) -> list[str]:
    """The lines that `make` prints."""
    # Under `make test`, a nested make would print its directories.
    done = subprocess.run(
        ["make", "--no-print-directory", *args], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def ask(url: str, server: subprocess.Popen[bytes]) -> str:
    """The response, once the server has found the runs."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                text: str = answer.read().decode()
            if text != "[]":
                return text
        except (urllib.error.URLError, ConnectionError):
            pass
        time.sleep(0.2)
    raise AssertionError(f"no answer from {url}; the server's status is {server.poll()}")
