"""Studies: several configs over several seeds, which go on where they stopped and end in one table."""

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from benchmarks.studies import read_csv, read_results
from mnist_lightning.files import csv_text, from_json, json_data, to_json
from mnist_lightning.main import main
from mnist_lightning.runs.record import EpochRow, FinalTest, Record
from mnist_lightning.study import study, table
from mnist_lightning.study.chart import off_axis, study_figure
from mnist_lightning.study.table import Row, add_differences, single_view_text, study_table
from support.runs import PROJECT

SHORT = "--config configs/offline.yaml --trainer.max_epochs 1 --trainer.limit_train_batches 2"


RECORD = from_json(Record, (PROJECT / "results" / "recipe" / "all_15_epochs" / "seed_0.json").read_text())


def report(accuracy: float, **others: Any) -> Record:
    """A record of one epoch that was tested on MNIST's test images."""
    row = EpochRow(1, 2, 0.8, 1.0, learning_rate=0.1, seconds=1.0, val_accuracy=accuracy, val_loss=1.0)
    command = f"python -m mnist_lightning fit {SHORT} --seed_everything 0 --num_threads 1"
    settings: dict[str, Any] = {"model": {}, "trainer": {}}
    fields: dict[str, Any] = {
        "command": command,
        "settings": settings,
        "epochs": [row],
        "wall_clock_seconds": 10.0,
    } | others
    return dataclasses.replace(RECORD, **fields)


def summarise(variant: str, reports: list[Record]) -> Row:
    return table.summarise(variant, dict(enumerate(reports)), len(reports))


def rows_of(*accuracies: tuple[float, ...]) -> list[Row]:
    return [summarise(str(place), [report(value) for value in each]) for place, each in enumerate(accuracies)]


def run(output: Path, *options: str) -> None:
    """Runs a study of the variant `plain` with two seeds, one at a time."""
    args = ["--output", str(output), "--variants.plain", SHORT, "--seeds", "2", "--num_processes", "1", *options]
    main(["study", *args])


@pytest.mark.slow
def test_a_study_trains_what_is_missing(tmp_path: Path, in_project: None, capfd: pytest.CaptureFixture[str]) -> None:
    """A variant that fails does not end the others; corrected, only that is trained."""
    wrong = ["--variants.wrong", f"{SHORT} --model.max_lrr 1"]
    with pytest.raises(SystemExit, match="1"):
        run(tmp_path, *wrong)
    printed = capfd.readouterr().out
    assert "plain, seed 1 ends with" in printed
    assert "wrong, seed 0 failed with status 2:" in printed
    assert "Did you mean --model.max_lr?" in printed
    (row,) = read_csv(tmp_path / "study.csv")
    assert (row["variant"], row["seeds"]) == ("plain", "0 1")
    assert row["min"] < row["max"]

    run(tmp_path, *wrong, "--variants.wrong", SHORT)
    assert "seeds finished: 2, to run: 2" in capfd.readouterr().out
    plain, corrected = read_csv(tmp_path / "study.csv")
    assert corrected["accuracies"] == plain["accuracies"] == row["accuracies"]
    assert (tmp_path / "study.png").stat().st_size > 5000
    command = json.loads((tmp_path / "plain" / "seed_1.json").read_text())["command"]
    assert command == f"python -m mnist_lightning fit {SHORT} --seed_everything 1 --num_threads 1"


@pytest.mark.slow
def test_runs_on_a_ray_cluster(tmp_path: Path, in_project: None, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="1"):
        run(tmp_path, "--ray_address", "local", "--variants.wrong", "--config configs/none.yaml")
    assert read_csv(tmp_path / "study.csv")[0]["seeds"] == "0 1"
    assert re.search("wrong, seed 0 failed .*none.yaml", capfd.readouterr().out, re.DOTALL)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--variants.wrong", "--config 'open"], ["--variants.wrong", "quotation"]),
        (["--variants.+", SHORT], ["--variants", "no letter or digit"]),
        (["--variants.PLAIN", SHORT], ["--variants", "share the name"]),
        (["--seeds", "0"], ["seeds"]),
        (["--config", "configs/studies/none.yaml"], ["none.yaml"]),
    ],
)
def test_mistakes_are_told_before_any_work(
    options: list[str], words: list[str], tmp_path: Path, in_project: None, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(tmp_path / "study", *options)
    error = capfd.readouterr().err
    assert all(word in error for word in words), error
    assert not (tmp_path / "study").exists()


def test_a_seed_of_another_command_is_told_before_any_work(
    tmp_path: Path, in_project: None, capfd: pytest.CaptureFixture[str]
) -> None:
    # The run's name and the number of threads do not change its result.
    options = ["--run_name mine --seed_everything 0", "--seed_everything 1 --num_threads 2"]
    options += ["--model.max_lr 1 --seed_everything 2"]
    (tmp_path / "plain").mkdir()
    for seed, option in enumerate(options):
        record = report(0.9, command=f"python -m mnist_lightning fit {SHORT} {option}")
        (tmp_path / "plain" / f"seed_{seed}.json").write_text(to_json(record))
    with pytest.raises(SystemExit, match="2"):
        run(tmp_path, "--seeds", "4")
    assert f"{tmp_path / 'plain' / 'seed_2.json'} was made by another command" in capfd.readouterr().err


def test_a_damaged_seed_and_a_page_of_the_users_are_told(
    tmp_path: Path, in_project: None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(SystemExit, match="2"):
        run(tmp_path)
    assert f"--output {tmp_path} holds a README.md that is not this study's" in capfd.readouterr().err
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "seed_0.json").write_text('{"command": ')
    with pytest.raises(SystemExit, match="2"):
        run(tmp_path)
    assert f"{tmp_path / 'plain' / 'seed_0.json'} is damaged" in capfd.readouterr().err
    assert (tmp_path / "README.md").read_text() == "mine"
    (tmp_path / "README.md").write_text(
        f"# Study\n\n{study.CHART}\n"
    )  # after all seeds were deleted, to run them again
    (tmp_path / "plain" / "seed_0.json").unlink()
    monkeypatch.setattr(study, "run_seed", lambda args: report(0.9))
    run(tmp_path, "--seeds", "1")
    assert "| plain |" in (tmp_path / "README.md").read_text()


def test_ctrl_c_leaves_the_table_of_what_has_ended(
    tmp_path: Path, in_project: None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    outcomes = iter([report(0.9), report(0.9, epochs=[])])  # the second seed was not evaluated

    def run_seed(args: list[str]) -> Record:
        if (outcome := next(outcomes, None)) is None:
            raise KeyboardInterrupt
        return outcome

    monkeypatch.setattr(study, "run_seed", run_seed)
    with pytest.raises(SystemExit, match="130"):
        run(tmp_path, "--seeds", "4")
    printed = capfd.readouterr().out
    assert "run the same command to continue" in printed
    assert "nothing was evaluated" in printed
    page = (tmp_path / "README.md").read_text()
    assert "| plain | 1 | 90.00 | – | – | 90.00–90.00 | 1 (3 left) |" in page
    assert [path.name for path in tmp_path.glob("*/seed_*")] == ["seed_0.json"]


def test_a_folder_that_cannot_be_written_is_told_before_the_training(
    tmp_path: Path, in_project: None, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "plain").touch()  # a file in its way
    with pytest.raises(SystemExit, match="2"):
        run(tmp_path)
    output = capfd.readouterr()
    assert f"error: {tmp_path / 'plain'}: File exists" in output.err
    assert "to run" not in output.out


def test_a_second_study_on_the_same_output_is_refused(
    tmp_path: Path, in_project: None, capfd: pytest.CaptureFixture[str]
) -> None:
    code = f"import fcntl; file = open({str(tmp_path / '.lock')!r}, 'a'); fcntl.lockf(file, fcntl.LOCK_EX); "
    code += "print('locked', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        first.stdout.readline()
        with pytest.raises(SystemExit, match="2"):
            run(tmp_path)
        first.communicate(b"\n")
    assert capfd.readouterr().err.startswith(f"error: another process is training in {tmp_path}. Wait until it ends")


@pytest.mark.parametrize("path", sorted((PROJECT / "configs" / "studies").glob("*.yaml")), ids=lambda path: path.stem)
def test_committed_studies_are_what_their_configs_ask_for(path: Path, in_project: None) -> None:
    """Each seed was made with the command that the config asks for now, and is in the table."""
    committed = read_results(path.stem)
    assert committed.missing() == []
    folder, rows = Path(committed.output), committed.rows()
    assert (folder / "README.md").read_text(encoding="utf-8") == committed.text()
    csv = csv_text([json_data(row) for row in rows], float_format="")
    assert (folder / "study.csv").read_text(encoding="utf-8") == csv


def test_statistics_by_hand() -> None:
    row = summarise("three", [report(value) for value in (0.99, 0.992, 0.997)])
    assert row.mean == pytest.approx(0.993)
    assert row.standard_deviation == pytest.approx(0.0036056, abs=1e-6)
    # Student's t of two degrees of freedom at 0.975 is 4.3027.
    assert row.half_width_95 == pytest.approx(4.3027 * 0.0036056 / 3**0.5, rel=1e-4)
    assert (row.min, row.max, row.num_seeds) == (0.99, 0.997, 3)
    assert row.first_accurate_epochs == [None, None, 1]
    assert "99.30 | ± 0.90 | 0.36 | 99.00–99.70 | 3 | never (1–never) | 10 |" in study_table([row])


def test_without_spread_nothing_is_tested() -> None:
    rows = rows_of((0.99, 0.9902), (0.9893, 0.9895))  # equal differences, but not to the last bit
    add_differences(rows)
    assert rows[1].difference == pytest.approx(-0.0007)
    assert not rows[1].differs
    assert "-0.07, not tested" in study_table(rows)
    assert table.half_width([0.99]) is None
    assert table.half_width([0.99, 0.99]) == 0
    assert "| 99.00 | – | – | 99.00–99.00 | 1 |" in study_table([summarise("one", [report(0.99)])])


def test_differences_are_paired_by_seed() -> None:
    rows = rows_of((0.3, 0.4, 0.6), (0.1, 0.3, 0.4))
    add_differences(rows)
    # Differences -0.2, -0.1, -0.2: mean -1/6, deviation 0.057735; Student's t of two degrees of freedom is 4.3027.
    assert rows[1].difference == pytest.approx(-1 / 6)
    assert rows[1].difference_low_95 == pytest.approx(-1 / 6 - 4.3027 * 0.057735 / 3**0.5, rel=1e-4)
    assert rows[1].p_value == pytest.approx(stats.ttest_rel((0.1, 0.3, 0.4), (0.3, 0.4, 0.6)).pvalue)
    assert rows[1].differs
    assert rows[0].difference is None
    rows[1].seeds = [0, 2, 7]  # only common seeds are compared
    add_differences(rows)
    assert rows[1].difference == pytest.approx((0.1 - 0.3 + 0.3 - 0.6) / 2)


def test_holms_correction_by_hand() -> None:
    assert table.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert table.holm([0.9, 0.6]) == [1, 1]
    assert table.holm([]) == []


def test_the_detectable_difference_is_found_in_four_of_five_studies() -> None:
    generator = np.random.default_rng(0)
    noise = stats.zscore(generator.normal(size=10), ddof=1) * 0.001
    true = table.detectable_difference(list(noise), num_tests=7)
    samples = generator.normal(true, 0.001, (4000, 10))
    found = (stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05 / 7).mean()
    assert found == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize(
    ("limits", "others", "title"),
    [
        ({"limit_val_batches": 5}, {}, "part of the test images, read after each epoch"),
        ({"limit_val_batches": 1.0, "limit_test_batches": 1}, {}, "test images, read after each epoch"),
        ({"limit_test_batches": 0.5}, {"test": FinalTest(0.95, 1.0)}, "part of the test images, read once"),
        ({}, {"validation": "holdout", "validated_on": "held-out images"}, "held-out images"),
    ],
)
def test_the_images_of_the_accuracy_are_named(limits: dict[str, float], others: dict[str, Any], title: str) -> None:
    settings = {"model": {}, "trainer": limits}
    assert summarise("part", [report(0.9, settings=settings, **others)]).measured_on == title


def test_the_test_images_read_once_go_before_the_validation() -> None:
    tests = [FinalTest(0.9971, 1.0, accuracy, 1.0) for accuracy in (0.9962, 0.9964)]
    row = summarise("best", [report(0.9, validation="holdout", test=test) for test in tests])
    assert row.mean == 0.9971
    assert row.first_accurate_epochs is None
    assert single_view_text(row) == "; 99.63 ± 0.01 % without test-time augmentation"


def test_the_chart_is_cut_where_one_variant_would_flatten_the_others() -> None:
    rows = rows_of((0.993, 0.9932), (0.1, 0.37), (0.992, 0.9935), (0.98, 0.999))
    assert off_axis(rows) == [rows[1]]
    (axes,) = study_figure(rows).axes
    low, high = axes.get_xlim()
    assert 37 < low < 98
    assert high == 100  # the last interval would end above
    assert [text.get_text() for text in axes.texts] == ["◀ 23.50 % (10.00–37.00), off the axis"]
    assert off_axis(rows_of((0.99, 0.992), (0.5, 0.6))) == []
