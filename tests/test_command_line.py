"""Mistakes on the command line and in configs: a nonzero exit status and a short message that says what to change."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import mnist_lightning
from mnist_lightning.data.idx_files import IdxFiles
from mnist_lightning.main import COMMANDS, main
from mnist_lightning.options.help_texts import TRAINER_COMMANDS
from support.runs import PROJECT

FIT = ["fit", "--config", "configs/offline.yaml"]


@pytest.fixture(autouse=True)
def _in_project(in_project: None) -> None:
    """Changes to the project's directory, because commands use relative paths of configs."""


def error_of(args: list[str], capfd: pytest.CaptureFixture[str]) -> list[str]:
    capfd.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(args)
    assert ended.value.code in (1, 2)
    lines = capfd.readouterr().err.splitlines()
    assert 1 <= len(lines) <= 10
    assert "Traceback" not in "".join(lines)
    assert all(len(line) <= 320 for line in lines)
    return lines


@pytest.mark.parametrize(
    ("mistake", "hint"),
    [
        (["--model.max_rl", "3"], "Did you mean --model.max_lr?"),
        (["--trainer.max_epoch", "3"], "Did you mean --trainer.max_epochs?"),
        (["--trainer.max_epoch=3"], "Did you mean --trainer.max_epochs?"),
        (["--data.batch", "9"], "Did you mean --data.batch_size?"),
        (["--seed", "5"], "Did you mean --seed_everything?"),
        (["--num_threads", "0"], "--num_threads"),
        (["--model.backend", "cuda"], "--model.backend"),
        (["--model.channels", "[10,18]"], "--model.channels"),
        (["--model.channels", "[10,18,18,28,0]"], "--model.channels"),
        (["--data.num_workers", "2", "--data.on_device", "true"], "--data.on_device false"),
        (["--nonsense", "5"], "--help"),
        (["--seed_everything", "true"], "a number from 0 to"),
        (["--seed_everything", "-1"], "a number from 0 to"),
        (["--seed_everything", "5000000000"], "a number from 0 to"),
        (["--trainer.accelerator", "gup"], "Change the --trainer options"),
        (["--trainer.strategy", "foo"], "Change the --trainer options"),
        (["--trainer.overfit_batches", "1"], "--trainer.limit_train_batches"),
        (["--config", "configs/cpu.yaml", "--trainer.precision", "32-true"], "Change the --trainer options"),
        (["--best_checkpoint.monitor", "val/acc"], "Change --best_checkpoint.monitor"),
        (["--trainer.default_root_dir", "/proc/x"], "Name a directory that can be written"),
        (["--model.max_lr", "abc"], "Change --model.max_lr"),
        (["--model.dropout", "1"], "Change --model.dropout"),
        (["--model.dropout", "1.5"], "Change --model.dropout"),
        (["--data.batch_size", "0"], "Change --data.batch_size"),
        (["--data.rotation_degrees", "-5"], "Change --data.rotation_degrees"),
        (["--data.interpolation", "cubic"], "Change --data.interpolation"),
        (["--trainer.max_epochs", "abc"], "Change --trainer.max_epochs"),
        (["--trainer.max_epochs", "-5"], "max_epochs"),
        (["--trainer.max_epochs", "0"], "--trainer.max_epochs"),
        (["--run_name", "../elsewhere"], "--run_name"),
    ],
)
def test_a_wrong_option(mistake: list[str], hint: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert hint in error_of([*FIT, *mistake], capfd)[-1]


@pytest.mark.parametrize("number", ["0", "-1", "2049"])
def test_a_number_of_channels_out_of_range_is_named(number: str, capfd: pytest.CaptureFixture[str]) -> None:
    (first, *_) = error_of([*FIT, "--model.channels", f"[10,18,18,28,{number}]"], capfd)
    assert first.startswith(f"error: --model.channels: {number} is out of range")


OUT_OF_RANGE = {
    "model.max_lr": ["0", "-1", "nan", "inf", "1e30"],
    "model.weight_decay": ["-1", "nan"],
    "model.pct_start": ["0", "1"],
    "model.momentum": ["1", "-0.1"],
    "model.channels": ["3"],
    "data.rotation_degrees": ["181", "nan"],
    "data.translation_percent": ["100", "-1"],
    "data.scale_percent": ["-1"],
    "data.shear_degrees": ["90"],
    "data.batch_size": ["-1", "1.5"],
    "data.eval_batch_size": ["0"],
    "data.num_holdout": ["0"],
    "data.num_workers": ["-1"],
    "data.split_seed": ["-1"],
    "early_stopping.stopping_threshold": ["1.5", "-1"],
    "weight_average.decay": ["1", "-1"],
    "last_checkpoint.every_n_epochs": ["-1"],
    "last_checkpoint.every_n_train_steps": ["0"],
    "progress_bar.refresh_rate": ["-1"],
    "num_threads": ["0", "1000000"],
    "trainer.max_epochs": ["0", "-2"],
    "trainer.max_steps": ["0"],
    "trainer.limit_train_batches": ["-0.5", "1.5", "-1", "0"],
    "trainer.limit_val_batches": ["-1", "nan"],
    "trainer.val_check_interval": ["0"],
    "trainer.accumulate_grad_batches": ["0"],
    "trainer.gradient_clip_val": ["-1"],
    "trainer.log_every_n_steps": ["-1"],
    "trainer.devices": ["0", "-3", "100000"],
}


@pytest.mark.parametrize(
    ("option", "value"), [(option, value) for option, values in OUT_OF_RANGE.items() for value in values]
)
def test_a_value_out_of_range_is_refused_before_any_work(
    option: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(IdxFiles, "read_verified", lambda *_: pytest.fail("the data were read"))
    root = tmp_path / "runs"
    fit = ["fit", "--config", "configs/optimized.yaml", "--data.validation", "holdout"]
    lines = error_of([*fit, "--trainer.default_root_dir", str(root), f"--{option}", value], capfd)
    assert f"--{option}" in " ".join(lines)
    assert value in " ".join(lines)
    assert not root.exists()


def test_a_holdout_of_all_images_is_refused_before_training(
    tmp_path: Path, mnist_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fit = ["fit", "--config", "configs/optimized.yaml", "--data.validation", "holdout", "--data.num_holdout", "60000"]
    data = ["--data.data_dir", str(mnist_dir), "--trainer.default_root_dir", str(tmp_path / "runs")]
    assert "Use at most 59999." in " ".join(error_of([*fit, *data], capfd))
    assert not (tmp_path / "runs").exists()


def test_an_option_that_a_later_config_overrides_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    later = tmp_path / "later.yaml"
    later.write_text("trainer: {max_epochs: 2, callbacks: [LearningRateMonitor]}\nmodel: {max_lr: 0.1}\n")
    before = [
        "--trainer.max_epochs",
        "5",
        "--model.max_lr=0.1",
        "--model.channels",
        "[1,2,3,4,5]",
        "--trainer.callbacks+=Timer",
    ]
    with pytest.raises(SystemExit):
        main([*FIT, *before, "--config", str(later), "--print_config"])
    out, err = capfd.readouterr()
    assert yaml.safe_load(out)["trainer"]["max_epochs"] == 2
    assert err.splitlines() == [
        "note: --trainer.max_epochs: a later config overrides it with 2. Put --config before other options.",
        "note: --trainer.callbacks: a later config overrides it with another value. Put --config before other options.",
    ]
    with pytest.raises(SystemExit):
        main([*FIT, "--config", str(later), *before, "--print_config"])
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("trainer:\n  max_epoch: 3\n", "Did you mean --trainer.max_epochs?"),
        ("modle:\n  max_lr: 3\n", "Did you mean --model.max_lr?"),
        ("model:\n  max_lr: abc\n", "Change --model.max_lr"),
        ("model: [1, 2", "configs/optimized.yaml"),
        ("trainer: null", "trainer: None in a config replaces"),
        ("trainer: false", "trainer: False in a config replaces"),
        ("model: null", "model: None in a config replaces"),
        ("trainer:\n  max_epochs: 3\ndata:\n", "data: None in a config replaces"),
        ("progress_bar: false", "progress_bar: False in a config replaces"),
        ("best_checkpoint: null", "best_checkpoint: None in a config replaces"),
        ("last_checkpoint: null", "last_checkpoint: None in a config replaces"),
        ("just a sentence", "configs/optimized.yaml"),
        ("&own\ntrainer: *own", "configs/optimized.yaml"),  # an alias that contains itself
        ("", "configs/optimized.yaml"),
        ("trainer:\n  callbacks:\n    - class_path: ModelCheckpont\n", "--trainer.callbacks"),
    ],
)
def test_a_wrong_config(text: str, hint: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text(text)
    assert hint in error_of(["fit", "--config", str(config)], capfd)[-1]


def test_a_config_that_is_no_text(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "mine.yaml"
    config.write_bytes(bytes(range(256)))
    assert "configs/optimized.yaml" in error_of(["fit", "--config", str(config)], capfd)[-1]


@pytest.mark.parametrize(
    ("args", "hint"),
    [
        ([], "fit --config configs/optimized.yaml"),
        (["train"], "fit --config configs/optimized.yaml"),
        (["fit", "configs/optimized.yaml"], "Write --config configs/optimized.yaml"),
        (["fit"], "fit --config configs/optimized.yaml"),
        (["fit", "--config", "configs/nope.yaml"], "configs/optimized.yaml"),
        (["--config", "configs/optimized.yaml", "fit"], "fit --config configs/optimized.yaml"),
        (["fit", "--config", "configs/cpu.yaml"], "configs/optimized.yaml"),
        (["test"], "--ckpt_path"),
        (["validate", "--config", "configs/optimized.yaml"], "--ckpt_path"),
        (["test", "--ckpt_path", "nope.ckpt"], "Use a checkpoint that exists"),
        (["test", "--ckpt_path", "configs"], "Use the checkpoint file in it"),
        (["predict", "--ckpt_path", "README.md"], "Use a .ckpt file"),
        (["fit", "--config", "configs/optimized.yaml", "--config", "configs/gpu.yaml"], "--trainer.accelerator cpu"),
        (["fit", "--config", "configs/offline.yaml", "--ckpt_path", "nope.ckpt"], "Use a checkpoint that exists"),
        ([*FIT, "--trainer.fast_dev_run", "true", "--ckpt_path", "last"], "Omit it, or --ckpt_path."),
        (["test", "--ckpt_path", "nope.ckpt", "--verbose", "false"], "for the list of options"),
        (
            [
                *("fit", "--config", "configs/offline.yaml", "--data.validation", "holdout", "--data.num_holdout"),
                "5000",
            ],
            "Use at most",
        ),
    ],
)
def test_a_wrong_command(
    args: list[str], hint: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert hint in error_of(args, capfd)[-1]


@pytest.mark.parametrize(("given", "kind"), [("1", int), ("1.0", float), ("0.5", float), ("7", int)])
def test_whole_numbers_of_batches_stay_whole(given: str, kind: type, capfd: pytest.CaptureFixture[str]) -> None:
    names = ["limit_train_batches", "limit_val_batches", "limit_test_batches", "limit_predict_batches"]
    with pytest.raises(SystemExit):
        main([*FIT, *[part for name in names for part in (f"--trainer.{name}", given)], "--print_config"])
    trainer = yaml.safe_load(capfd.readouterr().out)["trainer"]
    assert {type(trainer[name]) for name in names} == {kind}


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_help_documents_every_option_of_ours(command: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    out = capfd.readouterr().out
    entries = re.split(r"\n  (?=-)", out)[1:]  # an option, and its help up to the next option
    texts = {
        entry.split()[0]: " ".join(re.sub(r"\(type: .*", "", entry, flags=re.DOTALL).split()[2:]) for entry in entries
    }
    ours = {name: text for name, text in texts.items() if not name.startswith("--trainer.")}
    assert len(ours) > 40
    assert [name for name, text in ours.items() if len(text.split()) < 3] == []
    assert re.findall(r" at 0x\w+|registry:|Set to True|hpc", out) == []  # the framework's, of what is refused here
    assert TRAINER_COMMANDS[command] in out


def test_help_names_every_command(capfd: pytest.CaptureFixture[str]) -> None:
    assert len(COMMANDS) == 5
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    out = capfd.readouterr().out
    assert out.startswith("usage: python -m mnist_lightning")
    for command in ["fit", "validate", "test", "predict", *COMMANDS]:
        assert re.search(rf"^    {command}  ", out, re.MULTILINE), command


def test_version(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capfd.readouterr().out == f"mnist_lightning {mnist_lightning.__version__}\n"


@pytest.mark.parametrize("command", [*COMMANDS, "predict"])
def test_help_of_a_command_reads_well(command: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    out = capfd.readouterr().out
    assert re.search(rf"python -m mnist_lightning (\[options\] )?{command}\b", " ".join(out.split()))
    assert "%%" not in out


@pytest.mark.slow
def test_an_output_that_cannot_encode_every_character() -> None:
    command = [sys.executable, "-m", "mnist_lightning", *FIT, "--trainer.fast_dev_run", "true"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=True)
    assert "1\\u219210" in done.stdout  # 1→10, in the table of layers


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="OpenMP's other libraries print their settings in other words")
@pytest.mark.parametrize(
    ("asked", "spins"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, "30000000000")],
)
def test_threads_spin_briefly_unless_told_otherwise(asked: dict[str, str], spins: str) -> None:
    ours = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    environment = {name: value for name, value in os.environ.items() if name not in ours} | asked
    done = subprocess.run(
        [sys.executable, "-m", "mnist_lightning", "fit", "--nonsense", "1"],
        env=environment | {"OMP_DISPLAY_ENV": "verbose"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert f"GOMP_SPINCOUNT = '{spins}'" in done.stderr


@pytest.mark.parametrize(
    "args",
    [
        ["--help"],
        ["fitt"],
        [],
        *([command, "--help"] for command in COMMANDS),
        *([command, "--n", "1"] for command in COMMANDS),
    ],
)
def test_help_and_errors_of_our_commands_do_not_load_pytorch(args: list[str]) -> None:
    code = f"import sys; from mnist_lightning.main import main\ntry: main({args})\nexcept SystemExit: pass\n"
    code += "print({'torch', 'lightning', 'scipy', 'matplotlib'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("set()\n")


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("trainer.max_epochs", "three", "'three' is not a whole number\n  Given value: three"),
        ("trainer.logger", "csv", "no class has the name csv\n    - Expected true or false\n  Given value: csv"),
        ("model.max_lr", "abc", "'abc' is not a number"),
        ("model.dropout", "2", "2 is out of range: v>=0 and v<1"),
        ("model.nesterov", "3", "Expected true or false. Got value: 3"),
        (
            "model.schedule",
            "foo",
            "Expected one of ['one_cycle', 'constant']. Got value: foo",
        ),
    ],
)
def test_errors_of_values_are_plain(option: str, value: str, error: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*FIT, f"--{option}", value])
    hint = f"Change --{option}, on the command line or in the config; `--help` documents it."
    assert capfd.readouterr().err == f"error: --{option}: {error}\n{hint}\n"
