"""What would give a wrong result without a word: a run cut short, pixels misread, settings without effect."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.tuner.tuning import Tuner
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torch.utils.data import DataLoader, TensorDataset
from typing_extensions import override

from mnist_lightning import DigitClassifier, DigitsDataModule, load_classifier
from mnist_lightning.data.batches import LabelledImages
from mnist_lightning.data.datasets import DataSet
from mnist_lightning.errors import UserError
from mnist_lightning.main import main
from mnist_lightning.runs.acceptance import check_requirements
from support.runs import PROJECT, Fit, quiet_trainer, read_report, weights

Sets = tuple[LabelledImages, LabelledImages]
EIGHT = ("--trainer.max_epochs", "2", "--trainer.limit_train_batches", "8", "--trainer.logger", "false")
HOOKS = (
    "on_train_start",
    "on_train_epoch_start",
    "on_train_batch_start",
    "on_before_optimizer_step",
    "on_train_batch_end",
    "on_validation_start",
    "on_validation_batch_end",
    "on_validation_epoch_end",
    "on_train_epoch_end",
)


def error_of(args: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    """The one error of a command that ends with status 2."""
    capfd.readouterr()
    with pytest.raises(SystemExit, match="2"):
        main(args)
    err = capfd.readouterr().err
    assert "Traceback" not in err
    assert err.startswith("error: "), err
    return err


def refused(fit: Fit, *args: str, capfd: pytest.CaptureFixture[str]) -> str:
    capfd.readouterr()
    with pytest.raises(SystemExit, match="2"):
        fit(*args)
    err = capfd.readouterr().err
    assert "Traceback" not in err
    return err


# Epochs that are cut


class SaveAt(Callback):
    """Saves a checkpoint of its own in one hook, in every third call."""

    def __init__(self, hook: str = "on_train_batch_end", folder: str = "") -> None:
        self.calls = 0
        self.folder = folder
        setattr(self, hook, self._save)

    def _save(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        self.calls += 1
        if self.calls % 3 == 0 or trainer.fit_loop.epoch_loop.batch_idx < 1:
            trainer.save_checkpoint(Path(self.folder, f"{self.calls}.ckpt"))


def test_a_callback_that_saves_cuts_no_epoch(fit: Fit, tmp_path: Path) -> None:
    saves = ("--trainer.callbacks", "test_wrong_results.SaveAt", "--trainer.callbacks.folder", str(tmp_path))
    plain, saving = (read_report(fit(*EIGHT, *more))["epochs"] for more in ((), saves))
    assert [row["batches"] for row in saving] == [8, 8]
    for name in ("train_loss", "val_accuracy"):
        assert [row[name] for row in saving] == [row[name] for row in plain]


@pytest.mark.slow
@pytest.mark.parametrize("hook", HOOKS)
def test_saving_in_any_hook_changes_nothing(hook: str, fit: Fit, tmp_path: Path) -> None:
    saves = ("--trainer.callbacks", "test_wrong_results.SaveAt", "--trainer.callbacks.folder", str(tmp_path))
    plain, saving = fit(*EIGHT), fit(*EIGHT, *saves, "--trainer.callbacks.hook", hook)
    assert all(torch.equal(a, b) for a, b in zip(weights(plain).values(), weights(saving).values(), strict=True))
    losses = [[row["train_loss"] for row in read_report(each)["epochs"]] for each in (plain, saving)]
    assert losses[0] == losses[1]


class Stops(Callback):
    """Calls `next()` on an empty iterator in one hook."""

    def __init__(self, hook: str) -> None:
        setattr(self, hook, lambda *args, **kwargs: next(iter(())))


class StopsInStep(DigitClassifier):
    """Calls `next()` on an empty iterator in its third step."""

    @override
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return next(iter(())) if batch_idx == 2 else super().training_step(batch, batch_idx)


@pytest.mark.parametrize("hook", HOOKS)
def test_stop_iteration_in_a_hook_is_an_error(hook: str) -> None:
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, limit_train_batches=2, limit_val_batches=1, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, callbacks=[Stops(hook)],
    )  # fmt: skip
    with pytest.raises(ValueError, match=f"StopIteration in .*{hook}"):
        trainer.fit(DigitClassifier(), DigitsDataModule(dataset="offline_digits", batch_size=16))


def test_stop_iteration_in_a_step_is_an_error() -> None:
    data = DigitsDataModule(dataset="offline_digits", batch_size=16)
    with pytest.raises(ValueError, match=r"StopIteration in .*training_step"):
        quiet_trainer(max_epochs=1).fit(StopsInStep(), data)


# Pixels in the wrong range


def loader(images: Tensor, labels: Tensor) -> DataLoader[Any]:
    return DataLoader(TensorDataset(images, labels), batch_size=500)


def accuracy_of(classifier: DigitClassifier, batches: Any) -> float:
    (figures,) = quiet_trainer().test(classifier, batches, verbose=False)
    return figures["test/accuracy"]


def test_uint8_images_of_any_loader_are_read_right(mnist: Sets, mnist_dir: Path) -> None:
    images, labels = (part[:1000] for part in mnist[1])
    classifier = load_classifier(PROJECT / "models" / "mnist.ckpt")
    right = accuracy_of(classifier, loader(images / 255, labels))
    assert right > 0.99
    assert accuracy_of(classifier, loader(images, labels.int())) == right
    data = DigitsDataModule(str(mnist_dir))
    data.setup("test")
    assert accuracy_of(classifier, data.test_dataloader()) > 0.99
    classifier = load_classifier(PROJECT / "models" / "mnist.ckpt")
    assert torch.equal(classifier(images[:9]), classifier(images[:9] / 255))


@pytest.mark.parametrize(
    "change",
    [
        lambda images: (images / 255 - 0.1307) / 0.3081,  # torchvision's usual Normalize
        lambda images: images.float(),
        lambda images: images / 127.5 - 1,
        lambda images: images / torch.zeros(()),
        lambda images: images.long(),
        lambda images: images.int(),
        lambda images: images[:, 0] / 255,
        lambda images: (images / 255).expand(-1, 3, -1, -1),
        lambda images: images[..., 4:24, 4:24] / 255,
    ],
)
def test_other_pixels_are_refused(change: Callable[[Tensor], Tensor], mnist: Sets) -> None:
    images, labels = (part[:100] for part in mnist[1])
    classifier = load_classifier(PROJECT / "models" / "mnist.ckpt")
    use = r"use (\(B, 1, 28, 28\), as )?uint8"
    with pytest.raises(UserError, match=use):
        accuracy_of(classifier, loader(change(images), labels))
    batches = loader(change(images), labels)
    with pytest.raises(UserError, match=use):
        quiet_trainer(max_epochs=1).fit(DigitClassifier(), batches, batches)
    with pytest.raises(UserError, match=use):
        load_classifier(PROJECT / "models" / "mnist.ckpt").probabilities(change(images))
    with pytest.raises(UserError, match=use):
        load_classifier(PROJECT / "models" / "mnist.ckpt")(change(images))


# A network of other classes


class FiveClasses(DigitsDataModule):
    """Random images of five classes."""

    data_set = DataSet(
        "five",
        tuple("abcde"),
        lambda _: tuple(  # type: ignore[arg-type,return-value]
            LabelledImages(torch.randint(256, (50, 1, 28, 28), dtype=torch.uint8), torch.arange(50) % 5)
            for _ in range(2)
        ),
    )


def test_a_network_of_other_classes_does_not_train() -> None:
    with pytest.raises(UserError, match=r"has the classes 0, 1, .* but five has a, b, c, d, e"):
        quiet_trainer(max_epochs=1).fit(DigitClassifier(), FiveClasses())
    quiet_trainer(max_epochs=1).fit(DigitClassifier(class_names=tuple("abcde")), FiveClasses())


# Verdicts on the requirements


class Attention(nn.Module):
    """Attention of each image's features to themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(10, 1)

    @override
    def forward(self, features: Tensor) -> Tensor:
        outputs: Tensor = self.attention(features, features, features)[0]
        return outputs


def network(*end: nn.Module) -> nn.Sequential:
    conv = nn.Conv2d(1, 10, 3, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(10), nn.ReLU(), *end)


@pytest.mark.parametrize("dropout", [nn.Dropout(0.1), nn.Dropout2d(0.1), nn.AlphaDropout(0.1)])
def test_every_kind_of_dropout_counts(dropout: nn.Module) -> None:
    net = network(dropout, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert check_requirements(net, 1, None, True)[4].is_met is True


@pytest.mark.parametrize(
    ("end", "is_met", "value"),
    [
        ((nn.AdaptiveAvgPool2d(1), nn.Flatten()), True, "present"),
        ((nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten()), True, "present"),
        ((nn.AvgPool2d(28), nn.Flatten()), True, "present"),
        ((nn.AvgPool2d(14), nn.AvgPool2d(2), nn.Flatten()), True, "present"),
        ((nn.AvgPool2d(2), nn.Flatten(), nn.Linear(1960, 10)), False, "absent, 1 linear layer"),
        ((nn.AdaptiveAvgPool2d(1), nn.Flatten(), weight_norm(nn.Linear(10, 10))), False, "present, 1 linear layer"),
        ((nn.MaxPool2d(28), nn.Flatten()), False, "absent"),
        ((nn.AdaptiveAvgPool2d(1), nn.Conv2d(10, 10, 1), nn.Flatten()), False, "present, 1 linear layer"),
        ((nn.AdaptiveAvgPool2d(1), nn.Flatten(), Attention()), False, "present, 1 linear layer"),
    ],
)
def test_pooling_is_judged_by_what_it_does(end: tuple[nn.Module, ...], is_met: bool, value: str) -> None:
    requirement = check_requirements(network(*end), 1, None, True)[5]
    assert (requirement.is_met, requirement.value) == (is_met, value)


def test_batch_norm_is_found_in_the_order_of_execution() -> None:
    class Reversed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(10)
            self.conv = weight_norm(nn.Conv2d(1, 10, 3))

        @override
        def forward(self, images: Tensor) -> Tensor:
            norm: Tensor = self.norm(input=self.conv(images))
            return norm

    assert check_requirements(Reversed(), 1, None, True)[3].value == "1 of 1 convolutions"

    class Beside(Reversed):
        @override
        def forward(self, images: Tensor) -> Tensor:
            beside: Tensor = self.norm(images.expand(-1, 10, -1, -1))[:, :, 1:-1, 1:-1]
            return beside.add(self.conv(images))

    assert check_requirements(Beside(), 1, None, True)[3].value == "0 of 1 convolutions"


# Settings without effect


@pytest.mark.parametrize(
    ("option", "value", "more"),
    [
        ("model.dropout", "0.5", ("--model.network", "baseline")),
        ("model.channels", "[1,2,3,4,5]", ("--model.network", "baseline")),
        ("model.head", "fully_connected", ("--model.network", "baseline")),
        ("model.muon_lr", "0.5", ()),
        ("model.nesterov", "true", ("--model.optimizer", "muon")),
        ("model.momentum", "0.5", ()),
        ("model.pct_start", "0.5", ("--model.schedule", "constant")),
        ("data.num_holdout", "100", ()),
        ("data.split_seed", "1", ("--data.validation", "none")),
        ("data.interpolation", "bilinear", ("--data.rotation_degrees", "0", "--data.translation_percent", "0")),
        ("early_stopping.stopping_threshold", "0.5", ("--data.validation", "none")),
        ("early_stopping.stopping_threshold", "0.5", ("--trainer.limit_val_batches", "0")),
        ("trainer.gradient_clip_algorithm", "value", ()),
    ],
)
def test_a_setting_without_effect_is_refused(
    option: str, value: str, more: tuple[str, ...], fit: Fit, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    err = refused(fit, *more, f"--{option}", value, capfd=capfd)
    assert err.startswith(f"error: --{option} ")
    assert "has no effect" in err
    assert not list(tmp_path.glob("runs/*/*"))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("model:\n  max_lr: 0.2\nmodel:\n  pct_start: 0.3\n", "the key model stands twice"),
        ("trainer:\n  max_epochs: 1\n  max_epochs: 2\n", "the key max_epochs stands twice"),
    ],
)
def test_a_key_that_stands_twice_is_refused(
    text: str, error: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "twice.yaml").write_text(text)
    assert error in error_of(["fit", "--config", str(tmp_path / "twice.yaml")], capfd)


def test_aliases_are_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Nested ones need little text and much memory."""
    (tmp_path / "alias.yaml").write_text("a: &a [x, x]\nb: [*a, *a]")
    assert "an alias (*) in line 2" in error_of(["fit", "--config", str(tmp_path / "alias.yaml")], capfd)


def test_the_learning_rate_finder_changes_the_rate() -> None:
    classifier = DigitClassifier(max_lr=0.1)
    data = DigitsDataModule(dataset="offline_digits", batch_size=16)
    trainer = quiet_trainer(max_epochs=1, limit_val_batches=0)
    found = Tuner(trainer).lr_find(classifier, data, attr_name="max_lr", num_training=20)
    assert found is not None
    trainer.fit(classifier, data)
    schedule: Any = trainer.lr_scheduler_configs[0].scheduler
    assert schedule.optimizer.param_groups[0]["max_lr"] == found.suggestion() != 0.1


def test_a_changing_accumulation_does_not_cut_the_schedule(fit: Fit, capfd: pytest.CaptureFixture[str]) -> None:
    scheduler = ("--trainer.callbacks", "GradientAccumulationScheduler", "--trainer.callbacks.scheduling", "{0: 2}")
    assert "--trainer.callbacks GradientAccumulationScheduler" in refused(fit, *scheduler, capfd=capfd)
    fit(*scheduler, "--model.schedule", "constant")


# Ranks without ranks


@pytest.mark.parametrize(
    "variables",
    [
        {"SLURM_PROCID": "3", "LOCAL_RANK": "1", "RANK": "2"},
        {"SLURM_PROCID": "3", "SLURM_NTASKS": "4", "SLURM_JOB_NAME": "train"},
    ],
)
def test_a_single_process_is_the_first(variables: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mnist_lightning", "fit", "--config", "configs/offline.yaml", *EIGHT]
    command += ["--trainer.max_epochs", "1", "--trainer.default_root_dir", str(tmp_path)]
    done = subprocess.run(command, cwd=PROJECT, env=os.environ | variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "epoch  1/1" in done.stdout
    assert len(read_report(tmp_path / "offline" / "version_0")["epochs"]) == 1


# A user's callbacks


@pytest.mark.parametrize(
    "options", [("--trainer.callbacks.filename", "best"), ("--trainer.callbacks.save_last", "true")]
)
def test_a_users_checkpoints_are_kept_apart(options: tuple[str, ...], fit: Fit) -> None:
    plain = fit(*EIGHT)
    more = ("--trainer.callbacks", "ModelCheckpoint", *options, "--trainer.callbacks.save_weights_only", "true")
    folder = fit(*EIGHT, *more)
    assert all(torch.equal(a, b) for a, b in zip(weights(plain).values(), weights(folder).values(), strict=True))
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]
    best = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)
    assert "optimizer_states" in best
    assert list((folder / "callbacks").glob("*.ckpt"))


def test_a_users_checkpoints_stay_out_of_the_runs_own_folder(fit: Fit, capfd: pytest.CaptureFixture[str]) -> None:
    folder = fit(*EIGHT).parent / "version_1" / "checkpoints"
    more = ("--trainer.callbacks", "ModelCheckpoint", "--trainer.callbacks.dirpath", str(folder))
    assert "--trainer.callbacks.dirpath" in refused(fit, *EIGHT, *more, capfd=capfd)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (
            ("OnExceptionCheckpoint", "--trainer.callbacks.dirpath", "there"),
            "--trainer.callbacks OnExceptionCheckpoint",
        ),
        (("BackboneFinetuning",), "--trainer.callbacks BackboneFinetuning"),
        (("ModelPruning", "--trainer.callbacks.pruning_fn", "l1_unstructured"), "--trainer.callbacks ModelPruning"),
        (
            ("EarlyStopping", "--trainer.callbacks.monitor", "val/los"),
            "monitor val/los: nothing logs it",
        ),
        (("EarlyStopping",), "required: monitor"),
    ],
)
def test_a_callback_that_cannot_work_is_refused(
    options: tuple[str, ...], error: str, fit: Fit, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    err = refused(fit, "--trainer.callbacks", *options, capfd=capfd)
    assert error in err
    assert "__main__" not in err
    assert not list(tmp_path.glob("runs/*/*"))


# Errors of the machine


def test_a_report_that_cannot_be_written(fit: Fit, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    occupy = ("--trainer.callbacks", "test_wrong_results.Occupies")
    err = refused(fit, *EIGHT, *occupy, capfd=capfd)
    (folder,) = tmp_path.glob("runs/offline/version_*")
    assert err.splitlines()[-1].startswith(f"error: {folder / 'report.json'}: Is a directory.")


class Occupies(Callback):
    """Puts a folder where the report will be."""

    @override
    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        report = Path(trainer.default_root_dir, "report.json")
        if report.is_file():
            report.unlink()
            report.mkdir()


class Fails(Callback):
    """Raises an error as PyTorch does."""

    def __init__(self, text: str) -> None:
        self.text = text

    @override
    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        raise MemoryError if self.text == "memory" else RuntimeError(self.text)


@pytest.mark.parametrize(
    "text",
    [
        "memory",
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes",
    ],
)
def test_errors_of_the_machine_take_one_line(text: str, fit: Fit, capfd: pytest.CaptureFixture[str]) -> None:
    fails = ("--trainer.callbacks", "test_wrong_results.Fails", "--trainer.callbacks.text", text)
    err = refused(fit, *EIGHT, *fails, capfd=capfd)
    assert "memory" in err.splitlines()[-1]


def test_no_error_steers_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    err = error_of(["test", "--ckpt_path", "a\x1b[2Jb\r.ckpt"], capfd)
    assert "\x1b" not in err
    assert "\r" not in err


def test_sigterm_ends_a_run_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mnist_lightning", "fit", "--config", "configs/offline.yaml", *EIGHT]
    command += ["--trainer.max_epochs", "500", "--trainer.default_root_dir", str(tmp_path / "runs")]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if "epoch  2/500" in line)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=100)
    assert process.returncode == 143
    last = tmp_path / "runs" / "offline" / "version_0" / "checkpoints" / "last.ckpt"
    assert err.strip() == f"ended by SIGTERM. To resume, repeat the command with --ckpt_path {last}"
    assert not list(tmp_path.rglob("*.partial"))


# Smaller


class FlatNorm(nn.Module):
    """Normalises single values, which needs two images."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(784, num_classes), nn.BatchNorm1d(num_classes))

    @override
    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layers(images)
        return logits


def test_a_last_batch_of_one_image_is_refused_before_training(fit: Fit, capfd: pytest.CaptureFixture[str]) -> None:
    flat = ("--model.network", "test_wrong_results.FlatNorm", "--data.batch_size", "359")  # 1,437 images
    err = refused(fit, *flat, capfd=capfd)
    assert "error: --data.batch_size leaves a last batch of one image, of 1,437" in err


@pytest.mark.parametrize("network", [FlatNorm, FlatNorm(10)])
def test_a_network_that_is_no_name_is_refused(network: Any) -> None:
    with pytest.raises(UserError, match="use the path of the class"):
        DigitClassifier(network=network)


def test_images_are_there_before_setup() -> None:
    assert len(DigitsDataModule(dataset="offline_digits").images("test").labels) == 360


def test_the_home_directory_is_expanded(
    tmp_path: Path, in_project: None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    main(["fit", "--config", "configs/offline.yaml", *EIGHT, "--trainer.default_root_dir", "~/runs"])
    last = "~/runs/offline/version_0/checkpoints/last.ckpt"
    main(["predict", "--ckpt_path", last, "--output", "~/predictions.csv"])
    assert len((tmp_path / "predictions.csv").read_text().splitlines()) == 361
    assert not (PROJECT / "~").exists()


def test_every_batch_of_another_loader_is_checked(mnist: Sets) -> None:
    images, labels = mnist[1].images[:128] / 255, mnist[1].labels[:128]
    images[100] *= 255
    with pytest.raises(UserError, match="pixels from 0 to 255"):
        quiet_trainer().test(DigitClassifier(), DataLoader(TensorDataset(images, labels), 64), verbose=False)


@pytest.mark.parametrize(
    "change",
    [
        lambda labels: labels.where(labels < 9, -100),  # cross-entropy ignores -100
        lambda labels: nn.functional.one_hot(labels, 10).float(),
        lambda labels: labels.float(),
        lambda labels: labels + 1,
    ],
)
def test_other_labels_are_refused(change: Callable[[Tensor], Tensor], mnist: Sets) -> None:
    images, labels = mnist[1].images[:64], mnist[1].labels[:64]
    batches = loader(images, change(labels))
    with pytest.raises(UserError, match=r"use \(64,\) integers from 0 to 9"):
        quiet_trainer().test(DigitClassifier(), batches, verbose=False)
    with pytest.raises(UserError, match=r"use \(64,\) integers from 0 to 9"):
        quiet_trainer(max_epochs=1).fit(DigitClassifier(), batches, batches)


def test_images_passed_by_hand_are_checked_in_training_too(mnist: Sets) -> None:
    images = mnist[1].images[:8]
    with pytest.raises(UserError, match="pixels from 0 to 255"):
        DigitClassifier().train()(images.float())
    assert DigitClassifier().probabilities(images[:0]).shape == (0, 10)
