"""Loggers added by --trainer.logger: they receive the same as TensorBoard, and write to the run's folder."""

import csv
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightning.pytorch import Callback, LightningModule, Trainer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from typing_extensions import override

from mnist_lightning.main import main
from support.runs import Fit, read_report

SHORT = ("--trainer.max_epochs", "1")


class ReadCsvInSecondEpoch(Callback):
    """Keeps the header of a CSVLogger's file at the start of the second epoch."""

    header: list[str]

    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch == 1:
            folder = trainer.loggers[1].log_dir
            assert folder is not None
            ReadCsvInSecondEpoch.header = Path(folder, "metrics.csv").read_text().splitlines()[0].split(",")


def scalars(folder: Path) -> set[str]:
    tags: list[str] = EventAccumulator(str(folder)).Reload().Tags()["scalars"]
    return set(tags)


def rows_of(folder: Path) -> list[dict[str, str]]:
    (table,) = folder.rglob("metrics.csv")
    with table.open() as file:
        return list(csv.DictReader(file))


def test_a_logger_writes_into_the_runs_folder(fit: Fit) -> None:
    folder = fit("--trainer.logger", "CSVLogger", f"--trainer.callbacks={__name__}.ReadCsvInSecondEpoch")
    rows, epochs = rows_of(folder), read_report(folder)["epochs"]
    for column in ("by_epoch/val_accuracy", "val/accuracy"):
        found = [float(row[column]) for row in rows if row[column]]
        assert found == pytest.approx([epoch["val_accuracy"] for epoch in epochs])
    assert {"by_step/learning_rate", "by_epoch/images_per_second", "train/loss"} <= rows[0].keys()
    assert {"by_epoch/val_accuracy", "val/accuracy"} <= scalars(folder)
    assert set(ReadCsvInSecondEpoch.header) == rows[0].keys()


def test_a_logger_gets_all_settings(fit: Fit) -> None:
    settings = ("--early_stopping.stopping_threshold", "0.9", "--weight_average.decay", "0.5")
    folder = fit("--trainer.logger", "CSVLogger", *settings, *SHORT)
    (logged,) = folder.glob("lightning_logs/*/hparams.yaml")
    assert yaml.safe_load(logged.read_text()) == read_report(folder)["settings"]


def test_loggers_of_a_config(fit: Fit, tmp_path: Path) -> None:
    """Two loggers, one with its own folder; the run's config gives another run the same loggers."""
    loggers: list[dict[str, Any]] = [
        {"class_path": "TensorBoardLogger", "init_args": {"save_dir": str(tmp_path / "mine"), "name": "here"}},
        {"class_path": "lightning.pytorch.loggers.CSVLogger"},
    ]
    config = tmp_path / "loggers.yaml"
    config.write_text(yaml.safe_dump({"trainer": {"logger": loggers}}))
    folder = fit("--config", str(config), *SHORT, dashboards=True)
    assert folder.parent.name == "offline-loggers"
    assert rows_of(folder)
    (mine,) = (tmp_path / "mine" / "here").iterdir()
    assert scalars(mine) == scalars(folder) | {"hp_metric"}
    assert EventAccumulator(str(folder)).Reload().Tags()["images"]
    assert EventAccumulator(str(mine)).Reload().Tags()["images"] == []

    again = fit(config=str(folder / "config.yaml"), dashboards=True)
    assert again != folder
    assert rows_of(again)
    assert len(list((tmp_path / "mine" / "here").iterdir())) == 2


def test_loggers_on_the_command_line(fit: Fit, tmp_path: Path) -> None:
    csv_logger = ("--trainer.logger+=CSVLogger", "--trainer.logger.save_dir", str(tmp_path / "csv"))
    folder = fit(
        *csv_logger, "--trainer.logger+=TensorBoardLogger", "--trainer.logger.name", "more", *SHORT, dashboards=True
    )
    assert rows_of(tmp_path / "csv")
    assert scalars(folder / "more" / "version_0") == scalars(folder) | {"hp_metric"}


def test_a_run_that_is_resumed_keeps_the_first_table(fit: Fit) -> None:
    folder = fit("--trainer.logger", "CSVLogger", "--early_stopping.stopping_threshold", "0")
    (first,) = folder.rglob("metrics.csv")
    before = first.read_bytes()
    options = ["--trainer.max_epochs", "2", "--trainer.limit_train_batches", "3", "--trainer.logger", "CSVLogger"]
    last = str(folder / "checkpoints" / "last.ckpt")
    main(["fit", "--config", "configs/offline.yaml", *options, "--ckpt_path", last])
    assert first.read_bytes() == before
    assert len(list(folder.rglob("metrics.csv"))) == 2


@pytest.mark.parametrize(("logger", "package"), [("MLFlowLogger", "mlflow"), ("WandbLogger", "wandb")])
def test_a_logger_with_a_missing_package(
    logger: str, package: str, tmp_path: Path, in_project: None, capfd: pytest.CaptureFixture[str]
) -> None:
    if find_spec(package) is not None:
        pytest.skip(f"{package} is installed")
    root = ["--trainer.default_root_dir", str(tmp_path)]
    with pytest.raises(SystemExit, match="2"):
        main(["fit", "--config", "configs/offline.yaml", "--trainer.logger", logger, *root])
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"error: --trainer.logger {logger}: ")
    assert f"pip install -U '{package}" in line
    assert list(tmp_path.glob("*/version_*")) == []


class NameBar(Callback):
    """Notes the class of the Trainer's progress bar."""

    name = ""

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        type(self).name = type(trainer.progress_bar_callback).__name__


@pytest.mark.parametrize("bar", ["RichProgressBar", "TQDMProgressBar"])
def test_a_users_progress_bar_replaces_the_projects(fit: Fit, bar: str) -> None:
    fit(f"--trainer.callbacks+={bar}", f"--trainer.callbacks+={__name__}.NameBar", *SHORT)
    assert NameBar.name == bar


def test_a_progress_bar_with_a_missing_package(
    tmp_path: Path, in_project: None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lightning.pytorch.callbacks.progress.rich_progress._RICH_AVAILABLE", False)
    root = ["--trainer.default_root_dir", str(tmp_path)]
    with pytest.raises(SystemExit, match="2"):
        main(["fit", "--config", "configs/offline.yaml", "--trainer.callbacks", "RichProgressBar", *root])
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("error: --trainer.callbacks RichProgressBar: ")
    assert "pip install" in line
    assert list(tmp_path.glob("*/version_*")) == []
