"""Studies: several configs over several seeds, which go on where they stopped and end in one table."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from mnist_lightning.cli import resolved_settings
from mnist_lightning.files import csv_text, json_data, to_json
from mnist_lightning.main import main
from mnist_lightning.runs.record import EpochRow, FinalTest, Record
from mnist_lightning.study.chart import off_axis, study_figure
from mnist_lightning.study.command import read_study
from mnist_lightning.study.seed_runs import Outcome, SeedRun, run_on_ray
from mnist_lightning.study.summary import (
    MeasuredRow,
    StudyTable,
    add_differences,
    detectable_difference,
    differs,
    half_width,
    holm,
)
from mnist_lightning.study.summary import summarise as summarise_seeds
from mnist_lightning.study.summary_text import single_view_text, study_table
from support.processes import wait_until
from support.runs import PROJECT

SHORT = "--config configs/optimized.yaml --trainer.max_epochs 1 --trainer.limit_train_batches 4"
SHORT_OFFLINE = "--config configs/offline.yaml --trainer.max_epochs 1 --trainer.limit_train_batches 2"


def report(accuracy: float, **others: Any) -> Record:
    fields: dict[str, Any] = {
        "command": "",
        "status": "finished",
        "settings": {"model": {}, "trainer": {}},
        "epochs": [
            EpochRow(1, 2, 0.8, 1.0, learning_rate=0.1, seconds=1.0, val_accuracy=accuracy, val_loss=1.0),
        ],
        "date": "2026-11-23",
        "dataset": "MNIST",
        "validation": "test",
        "validated_on": "test images",
        "seed": 0,
        "num_parameters": 18_962,
        "precision": "32-true",
        "num_processes": 1,
        "hardware": {"processor": "a processor", "cores": 2, "threads": 1},
        "versions": {"torch": "2", "lightning": "2"},
        "wall_clock_seconds": 10.0,
    }
    return Record(**fields | others)


def summarise(variant: str, reports: list[Record]) -> MeasuredRow:
    row = summarise_seeds(variant, dict(enumerate(reports)), [])
    assert isinstance(row, MeasuredRow)
    return row


def study_args(output: Path, **variants: str) -> list[str]:
    return [
        *("study", "--output", str(output), "--seeds", "2"),
        *(word for name, args in variants.items() for word in (f"--variants.{name}", args)),
    ]


def start(args: list[str]) -> subprocess.Popen[str]:
    path = f"{PROJECT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    command = [sys.executable, "-m", "mnist_lightning", *args]
    environment = os.environ | {"PYTHONPATH": path}
    return subprocess.Popen(command, cwd=PROJECT, env=environment, text=True, stdout=subprocess.PIPE)


def seeds_of(parent: int) -> list[int]:
    """The processes of a study's seeds: those that it spawned to run Python code."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            state, its_parent = (path / "stat").read_text().rpartition(")")[2].split()[:2]
            is_seed = b"spawn_main" in (path / "cmdline").read_bytes()
        except OSError:
            continue
        if int(its_parent) == parent and state != "Z" and is_seed:
            found.append(int(path.name))
    return found


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def is_in_its_second_seed(directory: Path) -> bool:
    """Whether a run of seed 1 has begun: the first seed's folder is still there for a moment after its report."""
    for config in directory.glob("mnist_lightning_study_*/seed/version_0/config.yaml"):
        with suppress(FileNotFoundError):
            if "seed_everything: 1\n" in config.read_text():
                return True
    return False


def without_seconds(output: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The table's rows, from JSON and from CSV."""
    rows = json.loads((output / "study.json").read_text())["rows"]
    with (output / "study.csv").open() as file:
        csv_rows: list[dict[str, Any]] = list(csv.DictReader(file))
    for row in [*rows, *csv_rows]:
        del row["median_seconds"]
    return rows, csv_rows


@pytest.mark.slow
def test_a_killed_study_ends_with_the_table_of_one_that_was_not(
    tmp_path: Path, mnist_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MNIST_DATA_DIR", str(mnist_dir))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    args = [*study_args(tmp_path / "killed", plain=SHORT), "--num_processes", "1"]
    with start(args) as study:
        try:
            wait_until(lambda: is_in_its_second_seed(tmp_path))
            (seed,) = seeds_of(study.pid)
        finally:
            study.send_signal(signal.SIGKILL)
    wait_until(lambda: not is_alive(seed))
    assert not list(tmp_path.glob("mnist_lightning_study_*"))
    finished = (tmp_path / "killed" / "plain" / "seed_0.json").stat()
    assert not (tmp_path / "killed" / "plain" / "seed_1.json").exists()

    with start(study_args(tmp_path / "whole", plain=SHORT)) as whole, start(args) as again:
        printed = again.communicate()[0]
        whole.communicate()
    assert (again.returncode, whole.returncode) == (0, 0)
    assert "seeds finished: 1, to run: 1" in printed
    assert (tmp_path / "killed" / "plain" / "seed_0.json").stat().st_mtime_ns == finished.st_mtime_ns
    assert without_seconds(tmp_path / "killed") == without_seconds(tmp_path / "whole")
    (row,) = without_seconds(tmp_path / "whole")[0]
    assert row["num_seeds"] == 2
    assert row["min"] < row["max"]
    assert (tmp_path / "whole" / "study.png").stat().st_size > 5000
    command = json.loads((tmp_path / "whole" / "plain" / "seed_1.json").read_text())["command"]
    assert command.endswith("--trainer.limit_train_batches 4 --seed_everything 1 --num_threads 1")


@pytest.mark.slow
def test_a_seed_that_fails_does_not_end_the_others(
    tmp_path: Path, in_project: None, capfd: pytest.CaptureFixture[str]
) -> None:
    """As for a person who corrects what failed: the second time, only that is run."""
    broken = f"{SHORT_OFFLINE} --data.dataset mnist --data.data_dir {tmp_path / 'file' / 'data'}"
    (tmp_path / "file").touch()
    args = [*study_args(tmp_path / "study", good=SHORT_OFFLINE, broken=broken), "--seeds", "1"]
    with pytest.raises(SystemExit) as ended:
        main(args)
    assert ended.value.code == 1
    printed = capfd.readouterr().out
    assert re.search(r"^2 of 2: broken, seed 0 failed, see .*seed_0\.error\.txt$", printed, re.MULTILINE)
    assert re.search(r"^1 of 2: good, seed 0 ends with [\d.]+% after \d+ s of training$", printed, re.MULTILINE)
    assert "| broken | – " in printed
    assert "error: " in (tmp_path / "study" / "README.md").read_text()
    good, bad = json.loads((tmp_path / "study" / "study.json").read_text())["rows"]
    assert (good["num_seeds"], bad["num_seeds"], bad["failed_seeds"]) == (1, 0, [0])

    main([*args, "--variants.broken", SHORT_OFFLINE])
    assert "seeds finished: 1, to run: 1" in capfd.readouterr().out
    assert not list((tmp_path / "study").rglob("*.error.txt"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--variants.wrong", "--config configs/offline.yaml --model.max_lrr 1"], ["--variants.wrong", "max_lr"]),
        (["--variants.wrong", "--config configs/offline.yaml 'open"], ["--variants.wrong", "quotation"]),
        (["--variants.wrong", "--trainer.max_epochs 1"], ["fit needs a config"]),
        (["--variants.+", SHORT_OFFLINE], ["--variants.+", "Use another name"]),
        (["--variants.wrong", SHORT_OFFLINE, "--variants.WRONG", SHORT_OFFLINE], ["WRONG", "Use another name"]),
        (["--variants.wrong", SHORT_OFFLINE, "--seeds", "0"], ["seeds"]),
        (["--config", "configs/studies/none.yaml"], ["none.yaml"]),
        (["--variants.wrong", f"{SHORT_OFFLINE} --seed_everything 3"], ["--seed_everything", "Use --seeds"]),
        (["--variants.wrong", SHORT_OFFLINE, "--output", "README.md"], ["--output README.md is not a folder"]),
    ],
)
def test_mistakes_are_told_before_any_work(
    options: list[str], words: list[str], tmp_path: Path, in_project: None, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["study", "--output", str(tmp_path / "study"), *options])
    assert ended.value.code == 2
    error = capfd.readouterr().err
    assert all(word in error for word in words), error
    assert "Traceback" not in error
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("group", "name", "then", "now"),
    [
        ("model", "max_lr", 0.3, "0.1"),
        ("trainer", "limit_train_batches", None, "2"),
        ("trainer", "precision", "16", "None"),
    ],
)
def test_a_seed_made_with_other_settings_is_not_counted(
    group: str, name: str, then: object, now: str, tmp_path: Path, in_project: None, capfd: pytest.CaptureFixture[str]
) -> None:
    args = [*study_args(tmp_path, plain=SHORT_OFFLINE), "--seeds", "1"]
    path = tmp_path / "plain" / "seed_0.json"
    path.parent.mkdir()
    settings = resolved_settings(["fit", *SHORT_OFFLINE.split()])
    settings[group][name] = then
    path.write_text(to_json(report(0.9, settings=settings)))
    with pytest.raises(SystemExit) as ended:
        main(args)
    assert ended.value.code == 2
    error = capfd.readouterr().err
    assert f"was made with --{group}.{name} {then}; the study now asks for {now}" in error
    assert "delete the file" in error


def test_ctrl_c_leaves_the_table_of_what_is_finished(
    tmp_path: Path, in_project: None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def interrupted(runs: list[SeedRun], num_processes: int) -> Generator[Outcome]:
        yield Outcome(runs[0], report(0.9, settings=resolved_settings(["fit", *runs[0].args])), "")
        raise KeyboardInterrupt

    monkeypatch.setattr("mnist_lightning.study.seed_runs.run_here", interrupted)
    with pytest.raises(SystemExit) as ended:
        main(study_args(tmp_path, plain=SHORT_OFFLINE))
    assert ended.value.code == 130
    assert "run the same command to continue" in capfd.readouterr().err
    assert "| plain | 1 | 90.00 |" in (tmp_path / "README.md").read_text()
    assert [path.name for path in tmp_path.glob("*/seed_*.json")] == ["seed_0.json"]


@pytest.mark.slow
def test_a_seed_without_an_accuracy_has_failed(
    tmp_path: Path, in_project: None, capfd: pytest.CaptureFixture[str]
) -> None:
    blind = f"{SHORT_OFFLINE} --trainer.limit_val_batches 0"
    with pytest.raises(SystemExit) as ended:
        main([*study_args(tmp_path, blind=blind), "--seeds", "1"])
    assert ended.value.code == 1
    first, started, *others = capfd.readouterr().out.splitlines()
    assert first == "Study: seeds finished: 0, to run: 1"
    assert re.fullmatch(r"1 of 1: blind, seed 0 starts; its output is in /.*/output\.txt", started)
    assert "nothing was evaluated" in "".join(others)
    assert not (tmp_path / "blind" / "seed_0.json").exists()


@pytest.mark.slow
def test_runs_on_a_ray_cluster(in_project: None) -> None:
    good = SeedRun("good", tuple(SHORT_OFFLINE.split()), 4, 1)
    broken = SeedRun("broken", ("--config", "configs/none.yaml"), 0, 1)
    outcomes = {outcome.run: outcome for outcome in run_on_ray([good, broken], num_processes=2, address="local")}
    assert "none.yaml" in outcomes[broken].error
    assert outcomes[broken].report is None
    report = outcomes[good].report
    assert report is not None
    assert report.seed == 4
    assert len(report.epochs) == 1


@pytest.mark.parametrize("path", sorted((PROJECT / "configs" / "studies").glob("*.yaml")), ids=lambda path: path.stem)
def test_committed_studies_are_what_their_configs_ask_for(path: Path, in_project: None) -> None:
    """Each seed was made with the settings that the config has now, and is in the table."""
    study = read_study(path)
    study.check()
    assert study.missing(num_threads=1) == []
    folder = Path(study.output)
    assert (folder / "README.md").read_text(encoding="utf-8") == study.text()
    assert (folder / "study.csv").read_text(encoding="utf-8") == csv_text(
        [json_data(row) for row in study.rows()], float_format=""
    )
    assert (folder / "study.json").read_text(encoding="utf-8") == to_json(StudyTable(study.title, study.rows()))


def test_statistics_by_hand() -> None:
    row = summarise("three", [report(value) for value in (0.99, 0.992, 0.997)])
    assert row.mean == pytest.approx(0.993)
    assert row.standard_deviation == pytest.approx(0.0036056, abs=1e-6)
    # Student's t of two degrees of freedom at 0.975 is 4.3027.
    assert row.half_width_95 == pytest.approx(4.3027 * 0.0036056 / 3**0.5, rel=1e-4)
    assert (row.min, row.max, row.num_seeds) == (0.99, 0.997, 3)
    assert row.first_accurate_epochs == [None, None, 1]
    assert "99.30 | ± 0.90 | 0.36 | 99.00–99.70 | 3 | never (1–never) | 10 |" in study_table([row])


def test_one_seed_has_no_spread() -> None:
    assert half_width([0.99]) is None
    assert "| 99.00 | – | – | 99.00–99.00 | 1 |" in study_table([summarise("one", [report(0.99)])])


def test_differences_are_paired_by_seed() -> None:
    rows = rows_of((0.3, 0.4, 0.6), (0.1, 0.3, 0.4))
    add_differences(rows)
    # Differences -0.2, -0.1, -0.2: mean -1/6, deviation 0.057735; Student's t of two degrees of freedom is 4.3027.
    assert rows[1].difference == pytest.approx(-1 / 6)
    assert rows[1].difference_low_95 == pytest.approx(-1 / 6 - 4.3027 * 0.057735 / 3**0.5, rel=1e-4)
    assert rows[1].p_value == pytest.approx(stats.ttest_rel((0.1, 0.3, 0.4), (0.3, 0.4, 0.6)).pvalue)
    assert differs(rows[1])
    assert rows[0].difference is None


def test_only_common_seeds_are_compared() -> None:
    rows = rows_of((0.3, 0.4, 0.6), (0.1, 0.3, 0.4))
    rows[1].seeds = [0, 2, 7]
    add_differences(rows)
    assert rows[1].difference == pytest.approx((0.1 - 0.3 + 0.3 - 0.6) / 2)


def test_without_spread_nothing_is_tested() -> None:
    rows = rows_of((0.99, 0.9902), (0.9893, 0.9895))  # equal differences, but not to the last bit
    add_differences(rows)
    assert rows[1].difference == pytest.approx(-0.0007)
    assert rows[1].p_value is None
    assert not differs(rows[1])
    assert "-0.07, not tested" in study_table(rows)


def test_holms_correction_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.6]) == [1, 1]
    assert holm([]) == []


def test_the_detectable_difference_is_found_in_four_of_five_studies() -> None:
    generator = np.random.default_rng(0)
    noise = stats.zscore(generator.normal(size=10), ddof=1) * 0.001
    true = detectable_difference(list(noise), num_tests=7)
    samples = generator.normal(true, 0.001, (4000, 10))
    found = (stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05 / 7).mean()
    assert found == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize(
    ("limits", "others", "title"),
    [
        ({"limit_val_batches": 5}, {}, "part of the test images, read after each epoch"),
        ({"limit_val_batches": 1.0, "limit_test_batches": 1}, {}, "test images, read after each epoch"),
        ({"limit_test_batches": 0.5}, {"test": FinalTest(0.95, 1.0)}, "part of the test images, read once"),
        (
            {"limit_val_batches": 1},
            {"validation": "holdout", "validated_on": "5,000 held-out training images"},
            "part of the 5,000 held-out training images",
        ),
    ],
)
def test_part_of_the_images_is_said(limits: dict[str, float], others: dict[str, Any], title: str) -> None:
    settings = {"model": {}, "trainer": limits}
    assert summarise("part", [report(0.9, settings=settings, **others)]).measured_on == title


def test_the_test_images_read_once_go_before_the_validation() -> None:
    row = summarise("once", [report(0.9, validation="holdout", test=FinalTest(0.95, 1.0))])
    assert row.mean == 0.95
    assert row.measured_on == "test images, read once"
    assert row.first_accurate_epochs is None


def test_what_test_time_augmentation_brings_is_told() -> None:
    tests = [FinalTest(0.9971, 1.0, accuracy, 1.0) for accuracy in (0.9962, 0.9964)]
    row = summarise("best", [report(0.9, validation="none", test=test) for test in tests])
    assert single_view_text(row) == "; 99.63 ± 0.01 % without test-time augmentation"
    assert single_view_text(summarise("other", [report(0.9)])) == ""


def test_the_half_width_of_equal_values_is_zero() -> None:
    assert half_width([0.99, 0.99]) == 0


def rows_of(*accuracies: tuple[float, ...]) -> list[MeasuredRow]:
    return [summarise(str(place), [report(value) for value in each]) for place, each in enumerate(accuracies)]


def test_the_chart_is_cut_where_one_variant_would_flatten_the_others() -> None:
    rows = rows_of((0.993, 0.9932), (0.1, 0.37), (0.992, 0.9935), (0.98, 0.999))
    assert off_axis(rows) == [rows[1]]
    (axes,) = study_figure(rows).axes
    low, high = axes.get_xlim()
    assert 37 < low < 98
    assert high == 100  # the last interval would end above
    assert [text.get_text() for text in axes.texts] == ["◀ 23.50 % (10.00–37.00), off the axis"]
    assert off_axis(rows_of((0.99, 0.992), (0.5, 0.6))) == []
    assert off_axis(rows_of((0.99,), (0.98,), (0.97,), (0.96,))) == []


def test_a_damaged_report_is_told_before_any_work(
    tmp_path: Path, in_project: None, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "plain" / "seed_0.json"
    path.parent.mkdir()
    path.write_text(to_json(report(0.9))[:100])
    with pytest.raises(SystemExit, match="2"):
        main(study_args(tmp_path, plain=SHORT_OFFLINE))
    assert f"error: {path} is damaged" in capfd.readouterr().err


def test_a_part_of_an_epoch_counts_as_a_fraction() -> None:
    rows = [
        EpochRow(epoch, steps, 0.9, 0.1, 0.1, 1.0, batches=batches, batches_per_epoch=469)
        for epoch, steps, batches in ((1, 469, 469), (2, 704, 235))
    ]
    row = summarise("half", [report(0.9, epochs=rows, validation="none", test=FinalTest(0.95, 1.0))])
    assert row.epochs == [1.5]
    assert "| half | 1.5 | 95.00 |" in study_table([row])
