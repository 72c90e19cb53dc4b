"""A run from the outside: its folder, its record, what is validated, and what the other commands make of it."""

import csv
import re
from pathlib import Path

import pytest
import torch
import yaml

from mnist_lightning.data.batches import Batch
from mnist_lightning.main import main
from mnist_lightning.runs.checkpoint import load_classifier
from support.runs import Fit, read_report


@pytest.fixture
def best(finished: Path) -> str:
    """The best checkpoint of a finished run."""
    return str(finished / "checkpoints" / "best.ckpt")


def test_a_run_is_named_after_all_of_its_configs(fit: Fit, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    overlay = tmp_path / "mine.yaml"
    overlay.write_text("model:\n  schedule: constant\n")
    configs = ["--config", "configs/offline.yaml", "--config", str(overlay)]
    folder = fit("--config", str(overlay))
    assert folder.parent.name == "offline-mine"
    assert fit("--config", str(overlay), "--run_name", "other").parent.name == "other"
    assert fit("--trainer.max_epochs", "1").parent.name == "offline"
    capfd.readouterr()
    main(["test", *configs, "--ckpt_path", "last", "--trainer.default_root_dir", str(tmp_path / "runs")])
    assert f"accuracy {read_report(folder)['epochs'][-1]['val_accuracy']:.2%}" in capfd.readouterr().out


def test_the_report(fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for function in ("socket.gethostname", "platform.node"):
        monkeypatch.setattr(function, lambda: "unmistakable-host")
    folder = fit("--trainer.max_epochs", "3", "--seed_everything", "3")
    report = read_report(folder)
    assert report["status"] == "finished"
    assert report["seed"] == 3
    assert report["num_parameters"] == 18_962
    assert [row["epoch"] for row in report["epochs"]] == [1, 2, 3]
    assert report["versions"]["torch"] == torch.__version__
    assert report["hardware"]["threads"] == torch.get_num_threads()
    met = {requirement["name"]: requirement["is_met"] for requirement in report["requirements"]}
    assert len(met) == 6
    assert met.pop("MNIST test accuracy ≥ 99.4 %") is None  # it is another data set
    assert all(met.values())

    markdown = (folder / "report.md").read_text()
    assert "NOT MNIST" in markdown
    assert f"| 3 | {report['epochs'][2]['train_accuracy']:.2%} |" in markdown
    for text in (markdown, (folder / "report.json").read_text()):
        assert "unmistakable-host" not in text
        assert str(tmp_path) not in text
        assert str(Path.home()) not in text


def test_the_console(fit: Fit, capfd: pytest.CaptureFixture[str]) -> None:
    fit()
    out, err = capfd.readouterr()
    assert "trainable parameters" in out
    assert "Training on NOT MNIST" in out
    line = r"^epoch  \d/2  train +[\d.]+% loss \d\.\d{4}  val +[\d.]+% loss \d\.\d{4}  lr [\d.e-]+  \d+ s$"
    assert len(re.findall(line, out, re.MULTILINE)) == 2
    assert "chosen on the test set" in out
    assert [text for text in out.splitlines() if len(text) > 80 and "The run's files" not in text] == []
    assert err == ""


def test_stops_at_the_threshold_and_not_before(fit: Fit) -> None:
    length = ["--trainer.max_epochs", "4", "--trainer.limit_train_batches", "8"]
    every_epoch = read_report(fit(*length))["epochs"]
    accuracies = [row["val_accuracy"] for row in every_epoch]
    threshold = accuracies[2]  # exactly: "at least" is enough
    first = next(i for i, accuracy in enumerate(accuracies) if accuracy >= threshold)
    report = read_report(fit(*length, "--early_stopping.stopping_threshold", str(threshold)))
    assert len(report["epochs"]) == first + 1
    assert report["status"].startswith(f"stopped after epoch {first + 1}")


def test_validation_on_a_holdout(fit: Fit) -> None:
    report = read_report(fit("--data.validation", "holdout", "--data.num_holdout", "100"))
    assert report["validated_on"] == "100 held-out training images"
    accuracy = report["epochs"][-1]["val_accuracy"]
    assert accuracy * 100 == pytest.approx(round(accuracy * 100), abs=1e-4)
    assert "test" not in report


def test_validation_none_tests_once_at_the_end(fit: Fit, capfd: pytest.CaptureFixture[str]) -> None:
    folder = fit("--data.validation", "none")
    report = read_report(folder)
    assert "val_accuracy" not in report["epochs"][0]
    assert 0 <= report["test"]["accuracy"] <= 1
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["last.ckpt"]
    capfd.readouterr()
    main(["test", "--ckpt_path", str(folder / "checkpoints" / "last.ckpt")])
    assert f"accuracy {report['test']['accuracy']:.2%}" in capfd.readouterr().out


def test_evaluation_takes_the_data_settings_from_the_checkpoint(fit: Fit, capfd: pytest.CaptureFixture[str]) -> None:
    folder = fit("--data.validation", "holdout", "--data.num_holdout", "100")
    report = read_report(folder)
    last = str(folder / "checkpoints" / "last.ckpt")
    capfd.readouterr()
    main(["validate", "--ckpt_path", last])
    figures = report["epochs"][-1]
    line = f"100 held-out training images: accuracy {figures['val_accuracy']:.2%}, loss {figures['val_loss']:.4f}"
    assert line in capfd.readouterr().out
    main(["test", "--ckpt_path", last])
    assert "NOT MNIST (scikit-learn's offline digits), test images: accuracy" in capfd.readouterr().out


def test_evaluation_leaves_nothing_behind(best: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    main(["test", "--ckpt_path", best, "--trainer.default_root_dir", str(tmp_path / "runs")])
    assert list(tmp_path.iterdir()) == []


def test_predict_runs_in_one_process(best: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["predict", "--ckpt_path", best, "--trainer.accelerator", "cpu", "--trainer.devices", "2"])
    assert "predict runs in one process. Add --trainer.devices 1." in capfd.readouterr().err


@pytest.mark.parametrize("is_written", [False, True])
def test_predict_gives_a_class_and_a_probability_per_image(
    is_written: bool, best: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = ["--output", str(tmp_path / "predictions.csv")] if is_written else []
    main(["predict", "--ckpt_path", best, *output])
    printed = capfd.readouterr()
    assert printed.err == ""
    text = (tmp_path / "predictions.csv").read_text() if is_written else printed.out
    rows = list(csv.DictReader(text.splitlines()))
    assert set(rows[0]) == {"dataset", "index", "class", "probability"}
    assert {row["dataset"] for row in rows} == {"NOT MNIST (scikit-learn's offline digits)"}
    assert [int(row["index"]) for row in rows] == list(range(360))
    assert {str(row["class"]) for row in rows} <= set("0123456789")
    assert all(0.1 <= float(row["probability"]) <= 1 for row in rows)


def test_an_output_that_exists_is_kept(best: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.csv").write_text("kept")
    with pytest.raises(SystemExit, match="2"):
        main(["predict", "--ckpt_path", best, "--output", str(tmp_path / "mine.csv")])
    assert "exists already. Name another file" in capfd.readouterr().err
    assert (tmp_path / "mine.csv").read_text() == "kept"


def test_options_win_over_a_checkpoints_settings(best: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["test", "--ckpt_path", best, "--data.eval_batch_size", "30", "--print_config"])
    data = yaml.safe_load(capfd.readouterr().out)["data"]
    assert (data["dataset"], data["eval_batch_size"]) == ("offline_digits", 30)
    main(["test", "--ckpt_path", best, "--data.eval_batch_size", "30", "--trainer.limit_test_batches", "1"])
    assert "part of the test images" in capfd.readouterr().out


def test_settings_of_another_network_are_refused(best: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["test", "--ckpt_path", best, "--model.pixel_mean", "0.5"])
    error = f"error: --model.pixel_mean 0.5 with --ckpt_path {best}: the run was started with 0.1557."
    assert capfd.readouterr().err.startswith(error)


def test_test_time_augmentation(fit: Fit, capfd: pytest.CaptureFixture[str]) -> None:
    """Training stays as it is; a test averages the logits of nine views, and remembers to from the checkpoint."""
    once = ("--data.validation", "none")
    plain, folder = fit(*once), fit(*once, "--model.test_time_augmentation", "true")
    plain_report, report = read_report(plain), read_report(folder)
    assert [row["train_loss"] for row in report["epochs"]] == [row["train_loss"] for row in plain_report["epochs"]]
    assert report["test"]["single_view_loss"] == pytest.approx(plain_report["test"]["loss"])
    assert report["test"]["loss"] != report["test"]["single_view_loss"]
    capfd.readouterr()
    main(["test", "--ckpt_path", str(folder / "checkpoints" / "last.ckpt")])
    accuracies = f"accuracy {report['test']['accuracy']:.2%}.*; {plain_report['test']['accuracy']:.2%} without"
    assert re.search(accuracies, capfd.readouterr().out)
    module = load_classifier(folder / "checkpoints" / "last.ckpt")
    images = torch.rand(4, 1, 28, 28)
    images[..., [0, -1], :] = images[..., :, [0, -1]] = 0  # black
    batch = Batch(images, torch.zeros(4, dtype=torch.int64))
    logits = [module(images.roll((y, x), (2, 3))) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    probabilities = torch.stack(logits).mean(dim=0).softmax(dim=1)
    torch.testing.assert_close(module.predict_step(batch, 0).probabilities, probabilities.max(dim=1).values)
