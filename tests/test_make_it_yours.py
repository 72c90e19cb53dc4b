"""docs/make_it_yours.md, followed word for word in a copy of the repository."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from support.runs import PROJECT, read_report

PAGE = PROJECT / "docs" / "make_it_yours.md"
SHORT = "--trainer.max_epochs 1 --trainer.limit_train_batches 2 --trainer.limit_val_batches 1"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository after the steps of the page."""
    folder = tmp_path_factory.mktemp("copy") / "project"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(PROJECT / name, folder / name, follow_symlinks=False)
    blocks = re.findall(r"([^\n]+)\n\n```(\w+)\n(.*?)```\n", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert [language for _, language, _ in blocks] == ["sh", "python", "sh", "python", "sh", "python", "sh"]
    for line_before, language, text in blocks:
        if language == "sh":
            run(folder, re.sub(r"^python -m .*", rf"\g<0> {SHORT}", text, flags=re.MULTILINE))
            continue
        (name,) = re.findall(r"`([\w/]+\.py)`", line_before)[:1]
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def run(folder: Path, commands: str) -> str:
    """Runs commands in the folder with this environment's programs; returns their output."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        ["bash", "-euc", commands], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_network_and_the_data_are_trained(project: Path) -> None:
    runs = [*(f"offline/version_{number}" for number in range(2)), "mine/version_0"]
    reports = [read_report(project / "runs" / run) for run in runs]
    folder, digits = "my_images (image folder)", "NOT MNIST (scikit-learn's offline digits)"
    assert [report["dataset"] for report in reports] == [digits, folder, folder]
    assert [report["num_parameters"] for report in reports] == [
        9 * 16 + 2 * 16 + 9 * 16 * 10 + 2 * 10,
        18_962 - 8 * (9 * 28 + 2),  # two classes instead of ten
        9 * 16 + 2 * 16 + 9 * 16 * 2 + 2 * 2,
    ]
    (checkpoint,) = project.glob("lightning_logs/version_0/checkpoints/*.ckpt")  # of train.py
    assert "epoch=1" in checkpoint.name


def test_the_commands_kept_are_listed(project: Path) -> None:
    commands = re.findall(r"^    (\w+)  ", run(project, "python -m my_project --help"), re.MULTILINE)
    assert commands == ["fit", "validate", "test", "predict"]
    targets = re.findall(r"^make (\S+)", run(project, "make help"), re.MULTILINE)
    assert {"quickstart", "train", "test", "check"} <= set(targets)
    assert not {"study-fast", "results", "demo", "readme", "model", "benchmark", "own-digits", "test-browser"} & set(
        targets
    )
    extras = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert set(extras) == {"test", "dev"}
    assert not any(package.startswith("font-") for package in extras["test"])


def test_the_tests_left_pass(project: Path) -> None:
    pytest_command = "python -m pytest -n 0 -q"
    run(project, f"{pytest_command} --collect-only -m ''")
    run(project, "ruff check . && ruff format --check . && mypy")
    # All of them pass, in minutes: here those that know other files of the repository, or the package's parts.
    names = ("configs", "layers", "networks", "python_api", "runs")
    run(project, f"{pytest_command} {' '.join(f'tests/test_{name}.py' for name in names)}")
