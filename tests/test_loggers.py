"""Loggers added by --trainer.logger: they receive the same as TensorBoard, and write to the run's folder."""

import csv
from pathlib import Path
from typing import Any

import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mnist_lightning.main import main
from support.runs import Fit, read_report

SHORT = ("--trainer.max_epochs", "1")
CSV = ("--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", ".")  # a run's folder stands for the dot


def scalars(folder: Path) -> set[str]:
    tags: list[str] = EventAccumulator(str(folder)).Reload().Tags()["scalars"]
    return set(tags)


def rows_of(folder: Path) -> list[dict[str, str]]:
    (table,) = folder.rglob("metrics.csv")
    with table.open() as file:
        return list(csv.DictReader(file))


def test_a_logger_writes_into_the_runs_folder(fit: Fit) -> None:
    folder = fit(*CSV)
    rows, epochs = rows_of(folder), read_report(folder)["epochs"]
    for column in ("by_epoch/val_accuracy", "val/accuracy"):
        found = [float(row[column]) for row in rows if row[column]]
        assert found == pytest.approx([epoch["val_accuracy"] for epoch in epochs])
    assert {"by_step/learning_rate", "by_step/train_loss", "train/loss"} <= rows[0].keys()
    assert {"by_epoch/val_accuracy", "val/accuracy"} <= scalars(folder)


def test_loggers_of_a_config(fit: Fit, tmp_path: Path) -> None:
    """Two loggers, one with its own folder."""
    loggers: list[dict[str, Any]] = [
        {"class_path": "TensorBoardLogger", "init_args": {"save_dir": str(tmp_path / "mine"), "name": "here"}},
        {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": "."}},
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


def test_a_resumed_run_keeps_the_first_table(fit: Fit) -> None:
    folder = fit(*CSV, "--early_stopping.stopping_threshold", "0")
    (first,) = folder.rglob("metrics.csv")
    before = first.read_bytes()
    last = str(folder / "checkpoints" / "last.ckpt")
    main(["fit", "--ckpt_path", last, "--early_stopping.stopping_threshold", "null"])
    assert first.read_bytes() == before
    assert len(list(folder.rglob("metrics.csv"))) == 2


# MLflow and its packages warn of their own next releases.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
def test_mlflow(fit: Fit, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="needs the extra `loggers`")
    address = f"sqlite:///{tmp_path}/mlflow.db"
    folder = fit("--trainer.logger", "MLFlowLogger", "--trainer.logger.tracking_uri", address, "--model.max_lr", "0.07")
    (run,) = mlflow.MlflowClient(address).search_runs(["1"])
    assert run.info.status == "FINISHED"
    assert run.data.params["model/max_lr"] == "0.07"
    assert run.data.metrics["by_epoch/val_accuracy"] == pytest.approx(read_report(folder)["epochs"][-1]["val_accuracy"])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
def test_weights_and_biases(fit: Fit) -> None:
    wandb = pytest.importorskip("wandb", reason="needs the extra `loggers`")
    folder = fit("--trainer.logger", "WandbLogger", "--trainer.logger.offline", "true", "--model.max_lr", "0.07")
    wandb.finish()  # as at the end of a process
    (log,) = folder.glob("wandb/offline-run-*/*.wandb")
    content = log.read_bytes()
    accuracy = read_report(folder)["epochs"][-1]["val_accuracy"]
    for part in (b'"max_lr":0.07', b"by_epoch/val_accuracy", str(accuracy)[:10].encode()):
        assert part in content
