"""Each option of Lightning's Trainer works or is refused; one test per option, with its name."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.callbacks import EarlyStopping
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor
from typing_extensions import override

from mnist_lightning.callbacks.early_stopping import StopAtThreshold
from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.main import main
from support.runs import SHORT_RUN, Fit, read_report, run_ranks

pytestmark = pytest.mark.slow


class Watch(Callback):
    """Records what a run's files do not show."""

    trainer: Trainer
    calls: list[str]  # names of hooks
    settings: dict[str, bool]  # PyTorch's settings in a training step and in a test step
    dtype: torch.dtype  # the network's
    gradients: list[Tensor]  # of each step, after clipping
    weights: list[Tensor]  # before the first step, and after each step

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            Watch.trainer, Watch.calls, Watch.settings, Watch.gradients, Watch.weights = trainer, [], {}, [], []

    @override
    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.calls.append("sanity check")

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.weights.append(_flat(pl_module.parameters()))

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.calls.append("training batch")
        self.settings["anomaly"] = torch.is_anomaly_enabled()
        self.settings["deterministic"] = torch.are_deterministic_algorithms_enabled()
        self.settings["only warns"] = torch.is_deterministic_algorithms_warn_only_enabled()
        self.settings["benchmark"] = torch.backends.cudnn.benchmark

    @override
    def on_before_zero_grad(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        if any(parameter.grad is not None for parameter in pl_module.parameters()):
            self.gradients.append(_flat(parameter.grad for parameter in pl_module.parameters()))

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.weights.append(_flat(pl_module.parameters()))

    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.calls.append(f"loader {id(trainer.train_dataloader)}")

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.calls.append("validation")

    @override
    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        assert isinstance(pl_module, DigitClassifier)
        self.calls.append("validation batch")
        Watch.dtype = pl_module.net_dtype

    @override
    def on_test_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self.calls.append("test batch")
        self.settings["inference mode"] = torch.is_inference_mode_enabled()


def _flat(tensors: Any) -> Tensor:
    return torch.cat([tensor.detach().flatten().clone() for tensor in tensors])


class EndsEarly(EarlyStopping):
    """Ends the run after the second epoch and prints a message."""

    def __init__(self) -> None:
        super().__init__("val/loss", min_delta=1e9, patience=1, verbose=True)


class PrintStrategy(Callback):
    """Prints the strategy's name."""

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        print(type(trainer.strategy).__name__, flush=True)


Rows = list[dict[str, Any]]
Run = Callable[..., Rows]


@pytest.fixture
def run(fit: Fit) -> Run:
    """Runs a short `fit` with `Watch`; returns the report's epochs."""

    def watched(*options: str) -> Rows:
        small = ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "2"]
        rows: Rows = read_report(fit(*small, f"--trainer.callbacks+={__name__}.Watch", *options))["epochs"]
        return rows

    return watched


@pytest.fixture
def refused(in_project: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The error of a refused run; checks that it left no files."""

    def error(*options: str) -> str:
        root = tmp_path / "refused"
        with pytest.raises(SystemExit, match="2"):
            main(["fit", "--config", "configs/offline.yaml", *options, "--trainer.default_root_dir", str(root)])
        assert list(root.glob("*/version_*")) == []
        text = capfd.readouterr().err
        assert "Traceback" not in text
        return text

    return error


def test_every_option_has_a_test() -> None:
    tried = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert sorted(inspect.signature(Trainer).parameters.keys() - tried) == []


def test_accelerator(run: Run, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    run("--trainer.accelerator", "auto")
    assert isinstance(Watch.trainer.accelerator, CPUAccelerator)
    assert "--trainer.accelerator gpu: PyTorch finds no CUDA GPU on this machine" in refused(
        "--trainer.accelerator", "gpu"
    )


def test_strategy(refused: Callable[..., str]) -> None:
    for strategy in ("ddp_spawn", "ddp_fork", "ddp_notebook"):
        assert "Use --trainer.strategy ddp." in refused("--trainer.strategy", strategy)


@pytest.mark.slow
def test_devices(tmp_path: Path, in_project: None) -> None:
    """Also --trainer.strategy ddp, which starts two processes."""
    output = run_ranks(2, tmp_path, *SHORT_RUN, "--trainer.callbacks", f"{__name__}.PrintStrategy")
    (folder,) = tmp_path.glob("*/version_*")
    assert read_report(folder)["num_processes"] == 2
    assert output[0].startswith("DDPStrategy\n")


def test_num_nodes(refused: Callable[..., str]) -> None:
    """For `torchrun`, see test_distributed.py."""
    assert "torchrun" in refused("--trainer.num_nodes", "2")


@pytest.mark.parametrize(
    ("precision", "dtype"), [("bf16-true", torch.bfloat16), ("64-true", torch.float64), ("32-true", torch.float32)]
)
def test_precision(precision: str, dtype: torch.dtype, run: Run) -> None:
    run("--trainer.precision", precision)
    assert Watch.dtype == dtype
    assert Watch.trainer.precision == precision


def test_logger(fit: Fit) -> None:
    """For other loggers, see test_loggers.py."""
    folder = fit("--trainer.logger", "false", "--trainer.max_epochs", "1")
    assert {path.name for path in folder.iterdir() if path.is_file()} - {".lock"} == {
        *("config.yaml", "report.json", "report.md")
    }


@pytest.mark.filterwarnings(r"ignore:\s*Unable to serialize instance cpu")  # a default of the last callback
def test_callbacks(fit: Fit, refused: Callable[..., str], capfd: pytest.CaptureFixture[str]) -> None:
    report = read_report(fit("--trainer.max_epochs", "4", "--trainer.callbacks", f"{__name__}.EndsEarly"))
    assert len(report["epochs"]) == 2
    assert report["status"] == "ended early by a callback, after step 6"
    err = capfd.readouterr().err
    assert "Metric val/loss improved" in err
    assert "GPU available" not in err
    for name in ("BatchSizeFinder", "LearningRateFinder"):
        assert f"--trainer.callbacks {name}: it " in refused("--trainer.callbacks", name)
    averaging = ("--trainer.callbacks", "StochasticWeightAveraging", "--trainer.callbacks.swa_lrs", "0.01")
    assert "Use --weight_average.decay" in refused(*averaging)


def test_a_callback_with_an_enum_among_its_defaults(fit: Fit) -> None:
    folder = fit("--trainer.callbacks", "Timer", "--trainer.max_epochs", "1")
    assert "interval: step\n" in (folder / "config.yaml").read_text()


@pytest.mark.parametrize(("value", "num_batches"), [("true", 1), ("3", 3)])
def test_fast_dev_run(value: str, num_batches: int, in_project: None, tmp_path: Path) -> None:
    args = ["--trainer.fast_dev_run", value, "--trainer.callbacks", f"{__name__}.Watch"]
    args += ["--last_checkpoint.every_n_train_steps", "1"]
    main(["fit", "--config", "configs/offline.yaml", *args, "--trainer.default_root_dir", str(tmp_path)])
    assert Watch.calls.count("training batch") == num_batches
    assert list(tmp_path.iterdir()) == []


def test_max_epochs(run: Run) -> None:
    assert [row["epoch"] for row in run("--trainer.max_epochs", "3")] == [1, 2, 3]


STOPPED_AT_ONCE = ("--early_stopping.stopping_threshold", "0", "--trainer.max_epochs", "4")


def test_min_epochs(run: Run, refused: Callable[..., str]) -> None:
    assert len(run(*STOPPED_AT_ONCE)) == 1
    assert len(run(*STOPPED_AT_ONCE, "--trainer.min_epochs", "3")) == 3
    assert "--trainer.min_epochs 3: more" in refused("--trainer.min_epochs", "3", "--trainer.max_epochs", "2")


class StoppedInTheFirstEpoch(Callback):
    """Raises the threshold after the first epoch, so that no later one reaches it."""

    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, StopAtThreshold) and trainer.current_epoch == 1:
                callback.stopping_threshold = 1.0


def test_the_status_names_the_epoch_that_reached_the_threshold(fit: Fit) -> None:
    added = ("--trainer.callbacks", f"{__name__}.StoppedInTheFirstEpoch")
    status = read_report(fit(*STOPPED_AT_ONCE, "--trainer.min_epochs", "3", *added))["status"]
    assert status.startswith("stopped after epoch 3: validation accuracy")
    assert status.endswith("in epoch 1")


def test_max_steps(run: Run) -> None:
    assert run("--trainer.max_epochs", "5", "--trainer.max_steps", "3")[-1]["steps"] == 3


def test_min_steps(run: Run) -> None:
    assert len(run(*STOPPED_AT_ONCE, "--trainer.min_steps", "5")) == 3


def test_max_time(run: Run, fit: Fit, capfd: pytest.CaptureFixture[str]) -> None:
    limit = ("--trainer.max_time", "00:00:00:01", "--trainer.max_epochs", "1000")
    report = read_report(fit(*limit, "--trainer.limit_train_batches", "1.0"))
    assert "ended by --trainer.max_time" in report["status"]
    assert len(report["epochs"]) < 1000
    assert "Time limit reached" in capfd.readouterr().err


def test_limit_train_batches(run: Run) -> None:
    run("--trainer.limit_train_batches", "3")
    assert Watch.calls.count("training batch") == 3


def test_limit_val_batches(run: Run) -> None:
    run("--trainer.limit_val_batches", "2", "--data.eval_batch_size", "100")
    assert Watch.calls.count("validation batch") == 2


def test_limit_test_batches(run: Run) -> None:
    run("--trainer.limit_test_batches", "2", "--data.eval_batch_size", "100", "--data.validation", "none")
    assert Watch.calls.count("test batch") == 2


def test_limit_predict_batches(fit: Fit, capfd: pytest.CaptureFixture[str]) -> None:
    last = fit("--trainer.max_epochs", "1") / "checkpoints" / "last.ckpt"
    capfd.readouterr()
    limit = ("--trainer.limit_predict_batches", "1", "--data.eval_batch_size", "30")
    main(["predict", "--ckpt_path", str(last), *limit])
    assert len(capfd.readouterr().out.splitlines()) == 1 + 30


def test_overfit_batches(refused: Callable[..., str]) -> None:
    assert "Use --trainer.limit_train_batches" in refused("--trainer.overfit_batches", "1")


@pytest.mark.parametrize("value", ["1", "2", "0.25"])
def test_val_check_interval(refused: Callable[..., str], value: str) -> None:
    """An accuracy within an epoch would be reported as that of the epoch's last weights."""
    assert "one validation per epoch" in refused("--trainer.val_check_interval", value)


def test_check_val_every_n_epoch(run: Run) -> None:
    rows = run("--trainer.max_epochs", "3", "--trainer.check_val_every_n_epoch", "2")
    assert ["val_accuracy" in row for row in rows] == [False, True, False]


def test_num_sanity_val_steps(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    run("--trainer.num_sanity_val_steps", "2", "--data.eval_batch_size", "100")
    assert [call for call in Watch.calls if not call.startswith("loader")][:4] == [
        *("sanity check", "validation", "validation batch", "validation batch")
    ]
    out, err = capfd.readouterr()
    assert "Sanity Checking" not in out + err  # no progress bar without a terminal


def test_log_every_n_steps(fit: Fit) -> None:
    for interval, steps in (("2", [2]), ("0", [])):
        folder = fit("--trainer.log_every_n_steps", interval, "--trainer.max_epochs", "1", dashboards=True)
        events = EventAccumulator(str(folder)).Reload()
        tags = [tag for tag in events.Tags()["scalars"] if tag == "by_step/learning_rate"]
        assert [event.step for tag in tags for event in events.Scalars(tag)] == steps


def test_enable_checkpointing(fit: Fit) -> None:
    folder = fit("--trainer.enable_checkpointing", "false")
    assert not (folder / "checkpoints").exists()


def test_enable_progress_bar(run: Run) -> None:
    run("--trainer.enable_progress_bar", "false")
    assert Watch.trainer.progress_bar_callback is None


def test_enable_model_summary(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    for value, is_there in (("true", True), ("false", False)):
        run("--trainer.enable_model_summary", value)
        out, err = capfd.readouterr()
        assert ("Total params" in out + err) is is_there


def test_the_model_summary_without_rich(
    run: Run, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lightning.pytorch.trainer.connectors.callback_connector._RICH_AVAILABLE", False)
    run("--trainer.enable_model_summary", "true")
    assert "Total params" in capfd.readouterr().err


def test_accumulate_grad_batches(run: Run) -> None:
    (row,) = run("--trainer.accumulate_grad_batches", "2", "--trainer.limit_train_batches", "5")
    assert row["steps"] == 3


def test_gradient_clip_val(run: Run) -> None:
    run("--trainer.gradient_clip_val", "0.01")
    assert Watch.gradients[0].norm() == pytest.approx(0.01, rel=1e-3)
    run()
    assert Watch.gradients[0].norm() > 0.02


def test_gradient_clip_algorithm(run: Run, refused: Callable[..., str]) -> None:
    run("--trainer.gradient_clip_val", "0.01", "--trainer.gradient_clip_algorithm", "value")
    assert Watch.gradients[0].abs().max() == pytest.approx(0.01)
    assert Watch.gradients[0].norm() > 0.02
    assert "Add --trainer.gradient_clip_val" in refused("--trainer.gradient_clip_algorithm", "value")


def test_deterministic(run: Run) -> None:
    for value, deterministic, only_warns in (("true", True, False), ("warn", True, True), ("false", False, False)):
        run("--trainer.deterministic", value)
        assert (Watch.settings["deterministic"], Watch.settings["only warns"]) == (deterministic, only_warns)


def test_benchmark(run: Run) -> None:
    for value in (True, False):
        run("--trainer.benchmark", str(value).lower())
        assert Watch.settings["benchmark"] is value


def test_inference_mode(run: Run) -> None:
    """In the test at the end of a run; Lightning validates without it during training."""
    for value in (True, False):
        run("--trainer.inference_mode", str(value).lower(), "--data.validation", "none")
        assert Watch.settings["inference mode"] is value


@pytest.mark.slow
def test_use_distributed_sampler(in_project: None, tmp_path: Path) -> None:
    """Without it, two processes train on the same images: the project's samplers distribute them."""
    for value in ("true", "false"):
        run_ranks(2, tmp_path / value, *SHORT_RUN, "--trainer.use_distributed_sampler", value)
    folders = [next((tmp_path / value).glob("*/version_*")) for value in ("true", "false")]
    first, second = (read_report(folder)["epochs"] for folder in folders)
    assert [row["train_loss"] for row in first] == [row["train_loss"] for row in second]


@pytest.mark.parametrize(
    ("profiler", "text"),
    [
        ("simple", "run_training_epoch"),
        pytest.param("advanced", "cumulative time", marks=pytest.mark.slow),
        pytest.param("pytorch", "aten::convolution", marks=pytest.mark.slow),
    ],
)
@pytest.mark.filterwarnings("ignore:The PyTorch Profiler default schedule")
def test_profiler(
    profiler: str, text: str, fit: Fit, refused: Callable[..., str], capfd: pytest.CaptureFixture[str]
) -> None:
    """With all dashboards, which must not interfere."""
    fit("--trainer.profiler", profiler, "--trainer.max_epochs", "1", dashboards=True)
    err = capfd.readouterr().err
    assert "FIT Profiler Record" in err
    assert text in err
    assert "Use simple, advanced or pytorch" in refused("--trainer.profiler", "xla")


def test_a_profilers_file_is_in_the_runs_folder(fit: Fit) -> None:
    folder = fit("--trainer.profiler", "SimpleProfiler", "--trainer.profiler.filename", "times")
    assert "run_training_epoch" in (folder / "fit-times.txt").read_text()


def test_detect_anomaly(run: Run) -> None:
    for value in (True, False):
        run("--trainer.detect_anomaly", str(value).lower())
        assert Watch.settings["anomaly"] is value


def test_barebones(refused: Callable[..., str]) -> None:
    assert "--trainer.barebones true: it disables the metrics" in refused("--trainer.barebones", "true")


def test_plugins(run: Run, refused: Callable[..., str]) -> None:
    run("--trainer.plugins", "DoublePrecision")
    assert Watch.dtype == torch.float64
    error = refused("--trainer.plugins", "lightning.pytorch.plugins.io.TorchCheckpointIO")
    assert "--trainer.plugins TorchCheckpointIO: the project writes checkpoints atomically" in error


def test_sync_batchnorm(refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert "needs GPUs" in refused("--trainer.sync_batchnorm", "true")


def test_reload_dataloaders_every_n_epochs(run: Run) -> None:
    """With a new loader in each epoch, each epoch still has its own augmentation and order."""
    ends = []
    for value, num_loaders in (("0", 1), ("1", 3)):
        run("--trainer.reload_dataloaders_every_n_epochs", value, "--trainer.max_epochs", "3")
        assert len({call for call in Watch.calls if call.startswith("loader")}) == num_loaders
        ends.append(Watch.weights[-1])
    assert torch.equal(*ends)


def test_default_root_dir(in_project: None, tmp_path: Path) -> None:
    args = ["--trainer.logger", "false", "--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1"]
    main(["fit", "--config", "configs/offline.yaml", *args, "--trainer.default_root_dir", str(tmp_path / "there")])
    assert (tmp_path / "there" / "offline" / "version_0" / "report.json").exists()


def test_enable_autolog_hparams(fit: Fit) -> None:
    for value in (True, False):
        options = ("--trainer.enable_autolog_hparams", str(value).lower(), "--trainer.max_epochs", "1")
        folder = fit(*options, dashboards=True)
        assert ("max_lr" in (folder / "hparams.yaml").read_text()) is value
        events = EventAccumulator(str(folder)).Reload()
        assert ("_hparams_/experiment" in events.summary_metadata) is value


def test_model_registry(refused: Callable[..., str]) -> None:
    assert "--trainer.model_registry mine: checkpoints" in refused("--trainer.model_registry", "mine")
