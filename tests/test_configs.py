"""Every file in configs/ runs fit, test and predict through the command line; the GPU overlay is only parsed."""

from pathlib import Path

import pytest
import yaml

from mnist_lightning.main import main
from support.runs import PROJECT, Fit, read_report

OVERLAYS = {"cpu", "gpu"}
FIXTURES = {"fashion": "fashion_dir", "kaggle": "kaggle_dir"}  # of the configs with other images than MNIST's
CONFIGS = sorted(path.stem for path in PROJECT.glob("configs/*.yaml"))
SIZES = sorted(f"sizes/{path.stem}" for path in PROJECT.glob("configs/sizes/*.yaml"))
ABLATIONS = sorted(path.stem for path in PROJECT.glob("configs/ablations/*.yaml"))


# New configs are tested automatically; an overlay needs its own test below.
@pytest.mark.parametrize("name", [*(name for name in CONFIGS if name not in OVERLAYS), *SIZES])
def test_config(name: str, fit: Fit, capfd: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> None:
    data_dir = request.getfixturevalue(FIXTURES.get(name, "mnist_dir"))
    shortened = [
        *("--data.data_dir", str(data_dir), "--trainer.max_epochs", "2", "--trainer.limit_train_batches", "1"),
        *("--trainer.limit_val_batches", "1", "--trainer.limit_test_batches", "1", "--data.eval_batch_size", "50"),
        *("--data.batch_size", "64"),
    ]
    folder = fit(*shortened, config=f"configs/{name}.yaml")
    assert folder.parent.name == Path(name).name
    assert len(read_report(folder)["epochs"]) == 2
    last = ["--ckpt_path", str(folder / "checkpoints" / "last.ckpt"), "--data.data_dir", str(data_dir)]
    capfd.readouterr()
    if name != "kaggle":  # its test images have no labels
        main(["test", *last, "--trainer.limit_test_batches", "1"])
        assert "accuracy" in capfd.readouterr().out
    main(["predict", *last, "--trainer.limit_predict_batches", "1"])
    assert len(capfd.readouterr().out.splitlines()) == 1 + 50


def settings_of(args: list[str], capfd: pytest.CaptureFixture[str]) -> dict[str, dict[str, object]]:
    with pytest.raises(SystemExit, match="0"):
        main(["fit", "--config", "configs/optimized.yaml", *args, "--print_config"])
    settings: dict[str, dict[str, object]] = yaml.safe_load(capfd.readouterr().out)
    return settings


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_changes_only_its_settings(name: str, in_project: None, capfd: pytest.CaptureFixture[str]) -> None:
    overlay = f"configs/ablations/{name}.yaml"
    before, after = settings_of([], capfd), settings_of(["--config", overlay], capfd)
    changed = {
        group: {key: value for key, value in after[group].items() if value != before[group][key]}
        for group in after
        if isinstance(after[group], dict)
    }
    assert {group: values for group, values in changed.items() if values} == yaml.safe_load(Path(overlay).read_text())


@pytest.mark.parametrize(
    ("name", "requirement"), [("no_batch_norm", "batch norm"), ("no_average_pooling", "global average")]
)
def test_an_ablated_network_trains_and_misses_a_requirement(name: str, requirement: str, fit: Fit) -> None:
    report = read_report(fit("--config", f"configs/ablations/{name}.yaml"))
    missed = [each["name"] for each in report["requirements"] if each["is_met"] is False]
    assert any(each.startswith(requirement) for each in missed)


def test_the_gpu_overlay_combines_with_a_config(in_project: None, capfd: pytest.CaptureFixture[str]) -> None:
    trainer = settings_of(["--config", "configs/gpu.yaml"], capfd)["trainer"]
    assert (trainer["accelerator"], trainer["max_epochs"]) == ("gpu", 15)


@pytest.mark.parametrize(("speedup", "precision"), [(1.5, "bf16-mixed"), (0.7, "32-true")])
def test_cpu_overlay_uses_bfloat16_if_it_is_faster(
    speedup: float, precision: str, fit: Fit, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mnist_lightning.fast.bfloat16.bfloat16_speedup", lambda: speedup)
    assert read_report(fit("--config", "configs/cpu.yaml"))["precision"] == precision
    said = "is not faster in bfloat16 (0.70 times the speed of float32): computing in float32" in capfd.readouterr().err
    assert said == (speedup < 1)
