"""A run from the outside: its folder, its report, what is validated, and what the other subcommands make of it."""

import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.data.batches import Batch
from mnist_lightning.main import main
from mnist_lightning.runs.folder import claim_run_folder
from support.runs import Fit, contents, read_report


@pytest.fixture
def best(finished: Path) -> str:
    """The best checkpoint of a finished run."""
    return str(finished / "checkpoints" / "best.ckpt")


def test_a_runs_folder(finished: Path) -> None:
    assert finished.parent.name == "offline"
    files = contents(finished).keys()
    assert {"config.yaml", "report.json", "report.md", "checkpoints/best.ckpt", "checkpoints/last.ckpt"} <= files
    assert any(name.startswith("events.out.tfevents") for name in files)


def test_a_run_is_named_after_all_of_its_configs(fit: Fit, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    overlay = tmp_path / "mine.yaml"
    overlay.write_text("model:\n  schedule: constant\n")
    folder = fit("--config", str(overlay))
    assert folder.parent.name == "offline-mine"
    assert fit("--config", str(overlay), "--run_name", "other").parent.name == "other"
    newer = fit("--model.schedule", "constant", "--trainer.max_epochs", "1")
    assert newer.parent.name == "offline"
    args = ["fit", "--config", "configs/offline.yaml", "--config", str(overlay), "--trainer.limit_train_batches", "3"]
    args += ["--trainer.default_root_dir", str(tmp_path / "runs"), "--ckpt_path", "last", "--trainer.max_epochs", "3"]
    main(args)
    assert len(read_report(folder)["epochs"]) == 3
    assert len(read_report(newer)["epochs"]) == 1
    capfd.readouterr()
    main(["test", *args[1:5], *args[7:11]])
    assert f"accuracy {read_report(folder)['epochs'][-1]['val_accuracy']:.2%}" in capfd.readouterr().out


def test_an_earlier_runs_files_are_never_overwritten(finished: Path, fit: Fit, tmp_path: Path) -> None:
    first = shutil.copytree(finished, tmp_path / "runs" / "offline" / "version_0")
    second = fit(dashboards=True)
    assert second.name == "version_1"
    assert contents(first) == contents(finished)


def test_a_folder_is_claimed_above_all_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "a" / "version_7").mkdir(parents=True)
    (tmp_path / "a" / "version_x").mkdir()
    assert claim_run_folder(tmp_path, "a") == tmp_path / "a" / "version_8"
    assert claim_run_folder(tmp_path, "b") == tmp_path / "b" / "version_0"


def test_the_report(fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for function in ("socket.gethostname", "platform.node"):
        monkeypatch.setattr(function, lambda: "unmistakable-host")
    folder = fit("--trainer.max_epochs", "3", "--seed_everything", "3")
    report = read_report(folder)
    assert report["status"] == "finished"
    assert report["seed"] == 3
    assert report["num_parameters"] == 18_962
    assert [row["epoch"] for row in report["epochs"]] == [1, 2, 3]
    assert set(report["epochs"][0]) == {
        *(
            "epoch",
            "steps",
            "batches",
            "batches_per_epoch",
            "train_loss",
            "train_accuracy",
            "val_loss",
            "val_accuracy",
            "learning_rate",
            "seconds",
        )
    }
    assert report["versions"]["torch"] == torch.__version__
    assert report["hardware"]["threads"] == torch.get_num_threads()
    met = {requirement["name"]: requirement["is_met"] for requirement in report["requirements"]}
    assert len(met) == 6
    assert met.pop("test accuracy ≥ 99.4 % at the last epoch") is None  # it is not MNIST
    assert all(met.values())

    markdown = (folder / "report.md").read_text()
    assert "NOT MNIST" in markdown
    assert f"| 3 | {report['epochs'][2]['train_accuracy']:.2%} |" in markdown
    for text in (markdown, (folder / "report.json").read_text()):
        assert "unmistakable-host" not in text
        assert str(tmp_path) not in text
        assert str(Path.home()) not in text


def test_the_console(fit: Fit, capfd: pytest.CaptureFixture[str]) -> None:
    fit(dashboards=True)
    out, err = capfd.readouterr()
    assert "trainable parameters" in out
    assert "Training on NOT MNIST" in out
    assert (
        len(
            re.findall(
                r"^epoch  \d/2  training .*% loss \d\.\d{4}  validation .*% loss \d\.\d{4}  lr [\d.e-]+  [\d.]+ s$",
                out,
                re.MULTILINE,
            )
        )
        == 2
    )
    assert "chosen on the test set" in out
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
    folder = fit("--data.validation", "none", "--early_stopping.stopping_threshold", "0.01")
    report = read_report(folder)
    assert len(report["epochs"]) == 2  # nothing to stop on
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


def test_evaluation_leaves_nothing_behind(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = shutil.copytree(finished.parent.parent, tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    best = root / "offline" / "version_0" / "checkpoints" / "best.ckpt"
    main(["test", "--ckpt_path", str(best), "--trainer.default_root_dir", str(root)])
    assert sorted(tmp_path.rglob("*")) == before


def test_a_checkpoint_of_the_offline_digits_on_mnist_if_asked(
    best: str, mnist_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    mnist = ["--data.dataset", "mnist", "--data.data_dir", str(mnist_dir), "--trainer.limit_test_batches", "1"]
    main(["test", "--ckpt_path", best, *mnist])
    assert capfd.readouterr().out.startswith("MNIST, part of the test images: accuracy")


def test_predict_runs_in_one_process(best: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["predict", "--ckpt_path", best, "--trainer.accelerator", "cpu", "--trainer.devices", "2"])
    assert ended.value.code == 2
    assert "predict runs in one process, but the --trainer options give 2" in capfd.readouterr().err


def test_predict_gives_a_digit_and_a_probability_per_image(best: str, capfd: pytest.CaptureFixture[str]) -> None:
    main(["predict", "--ckpt_path", best])
    out, err = capfd.readouterr()
    header, *lines = out.splitlines()
    assert header == "dataset,index,digit,probability"
    assert err == ""
    rows = [line.rsplit(",", 3) for line in lines]
    assert {row[0] for row in rows} == {"NOT MNIST (scikit-learn's offline digits)"}
    assert [int(row[1]) for row in rows] == list(range(360))
    assert {int(row[2]) for row in rows} <= set(range(10))
    assert all(0.1 <= float(row[3]) <= 1 for row in rows)


def test_print_config_runs_again(fit: Fit, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(
            [
                *("fit", "--config", "configs/offline.yaml", "--model.max_lr", "0.05", "--print_config"),
                *("--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1"),
            ]
        )
    printed = tmp_path / "printed.yaml"
    printed.write_text(capfd.readouterr().out)
    folder = fit(config=str(printed))
    assert folder.parent.name == "printed"
    assert yaml.safe_load((folder / "config.yaml").read_text())["model"]["max_lr"] == 0.05


def test_nothing_to_validate_on_is_refused(fit: Fit, capfd: pytest.CaptureFixture[str]) -> None:
    last = str(fit("--data.validation", "none", "--trainer.max_epochs", "1") / "checkpoints" / "last.ckpt")
    with pytest.raises(SystemExit) as ended:
        main(["validate", "--ckpt_path", last])
    assert ended.value.code == 2
    assert "--data.validation test or holdout" in capfd.readouterr().err


@pytest.mark.parametrize("switch", ["--trainer.enable_progress_bar", "--trainer.enable_checkpointing"])
def test_bar_and_checkpoints_can_be_switched_off(fit: Fit, switch: str) -> None:
    folder = fit(switch, "false", "--trainer.max_epochs", "1")
    assert (folder / "report.md").exists()
    assert (folder / "checkpoints").exists() is ("checkpointing" not in switch)


def test_an_epoch_without_validation_has_no_figures(fit: Fit) -> None:
    report = read_report(fit("--trainer.max_epochs", "3", "--trainer.check_val_every_n_epoch", "2"))
    assert ["val_accuracy" in row for row in report["epochs"]] == [False, True, False]
    assert report["requirements"][0]["value"] == "not measured"


def test_best_by_loss_is_the_lowest(fit: Fit) -> None:
    folder = fit("--best_checkpoint.monitor", "val/loss", "--trainer.max_epochs", "4", "--model.schedule", "constant")
    losses = [row["val_loss"] for row in read_report(folder)["epochs"]]
    best = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["epoch"] == losses.index(min(losses))


def test_print_config_of_a_checkpoint_keeps_its_data(best: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["test", "--ckpt_path", best, "--print_config"])
    assert yaml.safe_load(capfd.readouterr().out)["data"]["dataset"] == "offline_digits"


def test_part_of_the_images_is_said(best: str, capfd: pytest.CaptureFixture[str]) -> None:
    main(["test", "--ckpt_path", best, "--trainer.limit_test_batches", "1"])
    assert "part of the test images" in capfd.readouterr().out


def test_paths_outside_the_project_stay_out_of_the_report(fit: Fit, tmp_path: Path) -> None:
    directory = tmp_path / "Jane Doe"
    command = read_report(fit(f"--data.data_dir={directory}/data", "--trainer.max_epochs", "1"))["command"]
    assert str(tmp_path.parent) not in command
    assert "Doe" not in command
    assert "--data.data_dir=data" in command


def test_a_failed_start_leaves_no_folder(in_project: None, tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(
            [
                *("fit", "--config", "configs/offline.yaml", "--trainer.accelerator", "gup"),
                *("--trainer.default_root_dir", str(tmp_path)),
            ]
        )
    assert list(tmp_path.glob("*/version_*")) == []


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
    module = DigitClassifier.load_from_checkpoint(folder / "checkpoints" / "last.ckpt", weights_only=True).eval()
    images = torch.rand(4, 1, 28, 28)
    images[..., [0, -1], :] = images[..., :, [0, -1]] = 0  # black
    batch = Batch(images, torch.zeros(4, dtype=torch.int64))
    logits = [module(images.roll((y, x), (2, 3))) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    probabilities = torch.stack(logits).mean(dim=0).softmax(dim=1)
    torch.testing.assert_close(module.predict_step(batch, 0).probabilities, probabilities.max(dim=1).values)
