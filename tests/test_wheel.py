"""The wheel, built from the source distribution, installed, and used where there is no clone."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from mnist_lightning.files import find_file
from support.runs import PROJECT, read_report

SOURCES = ("pyproject.toml", "README.md", "LICENSE", "mnist_lightning", "configs", "models")


def run(folder: Path, *command: str | Path) -> str:
    """Runs a command that finds no clone; returns what it prints."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the source distribution of this tree."""
    clone, dist = tmp_path_factory.mktemp("clone"), tmp_path_factory.mktemp("dist")
    for name in SOURCES:
        if (PROJECT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(PROJECT / name, clone / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(PROJECT / name, clone)
    backend = "from sys import argv; from hatchling import build"
    run(clone, sys.executable, "-c", f"{backend}; build.build_sdist(argv[1])", dist)
    (archive,) = dist.glob("*.tar.gz")
    shutil.unpack_archive(archive, dist, filter="data")
    (unpacked,) = (path for path in dist.iterdir() if path.is_dir())
    run(unpacked, sys.executable, "-c", f"{backend}; build.build_wheel(argv[1])", dist)
    (built,) = dist.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def command(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installed command, in an environment that shares this one's other packages."""
    environment = tmp_path_factory.mktemp("environment")
    run(environment, sys.executable, "-m", "venv", environment)
    python = environment / "bin" / "python"
    run(environment, python, "-m", "pip", "install", "--no-deps", "--no-index", wheel)
    packages = Path(run(environment, python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    (packages / "shared.pth").write_text(sysconfig.get_path("purelib"))
    return environment / "bin" / "mnist_lightning"


@pytest.mark.slow
def test_the_wheel_holds_the_configs_and_the_model_and_all_modules(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    ours = [*(PROJECT / "configs").rglob("*.yaml"), PROJECT / "models" / "mnist.ckpt"]
    assert {f"mnist_lightning/{path.relative_to(PROJECT)}" for path in ours} <= names
    pages = [path for path in (PROJECT / "mnist_lightning").rglob("page*/*") if path.suffix != ".py"]
    assert len(pages) == 5
    assert {str(path.relative_to(PROJECT)) for path in pages} <= names
    modules = {str(path.relative_to(PROJECT)) for path in (PROJECT / "mnist_lightning").rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == modules


@pytest.mark.slow
def test_fit_finds_its_config(command: Path, tmp_path: Path) -> None:
    batches = ("--trainer.max_epochs", "1", "--trainer.limit_train_batches", "2", "--trainer.logger", "false")
    run(tmp_path, command, "fit", "--config", "configs/offline.yaml", *batches)
    report = read_report(tmp_path / "runs" / "offline" / "version_0")
    assert report["command"].startswith("python -m mnist_lightning fit --config configs/offline.yaml ")
    assert len(report["epochs"]) == 1


@pytest.mark.slow
def test_read_finds_the_model(command: Path, tmp_path: Path) -> None:
    assert "  7  " in run(tmp_path, command, "read", PROJECT / "examples" / "seven.jpg").splitlines()[1]


def test_the_working_directory_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = "configs/studies/recipe.yaml"
    found = Path(find_file(name))
    assert found.is_absolute()
    assert found.samefile(PROJECT / name)
    (tmp_path / "configs" / "studies").mkdir(parents=True)
    (tmp_path / name).touch()
    assert find_file(name) == name
