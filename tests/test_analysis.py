"""`report RUN`: the figures of a run, its page and its numbers."""

import base64
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (the name that all of PyTorch uses)

from mnist_lightning.data.batches import LabelledImages
from mnist_lightning.data.datasets import DIGITS
from mnist_lightning.datamodule import DigitsDataModule
from mnist_lightning.figures import mistakes, style
from mnist_lightning.figures.mistakes import confusion_figure, mistakes_figure, worst_mistakes
from mnist_lightning.figures.style import png_of
from mnist_lightning.files import from_json, to_json
from mnist_lightning.main import main
from mnist_lightning.report.analysis import Analysis, calibration_of, predict, read_run
from mnist_lightning.report.curves import learning_curves_figure, wilson_interval
from mnist_lightning.runs.record import Record
from support.runs import Fit, contents, read_report

NUM_TEST_IMAGES = 360  # of the offline digits
FIGURES = {"learning_curves", "confusion", "mistakes", "calibration"}


@pytest.fixture(scope="module")
def reported(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with its figures, not to be changed."""
    folder = tmp_path_factory.mktemp("reported") / "version_0"
    shutil.copytree(finished, folder)
    main(["report", str(folder)])
    return folder


@pytest.fixture
def run_folder(finished: Path, tmp_path: Path) -> Path:
    """A copy of the run's folder, without figures."""
    return Path(shutil.copytree(finished, tmp_path / "version_0"))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Coarse figures of few mistakes, where the point is another."""
    monkeypatch.setattr(style, "DOTS_PER_INCH", 20)
    monkeypatch.setattr(mistakes, "MAX_SHOWN", 2)


def numbers_of(folder: Path) -> Analysis:
    return from_json(Analysis, (folder / "analysis.json").read_text())


def record_of(folder: Path) -> Record:
    return from_json(Record, (folder / "report.json").read_text())


def offline_test_images() -> LabelledImages:
    data = DigitsDataModule(dataset="offline_digits")
    data.setup("test")
    return data.images("test")


def page_of(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def pictures_in(page: str) -> list[tuple[str, str]]:
    """The source and the alternative text of each picture."""
    return re.findall(r'<img src="data:image/png;base64,([^"]*)" alt="([^"]*)">', page)


def test_the_files(finished: Path, reported: Path) -> None:
    before, after = contents(finished), contents(reported)  # with the run's own report.md
    added = {f"figures/{name}.png" for name in FIGURES} | {"analysis.json", "report.html"}
    assert after.keys() - before.keys() == added
    assert {name: after[name] for name in before} == before
    assert all(len(after[f"figures/{name}.png"]) < 150_000 for name in FIGURES)


def test_the_page_needs_nothing_but_itself(reported: Path) -> None:
    page = page_of(reported)
    pictures = pictures_in(page)
    inlined = {base64.b64decode(source) for source, _ in pictures}
    assert inlined == {(reported / "figures" / f"{name}.png").read_bytes() for name in FIGURES}
    assert len(pictures) == page.count("<img") == len(FIGURES)
    assert all(len(alt) > 20 for _, alt in pictures)
    assert not re.search(r"https?:|url\(|<script|<iframe|<form|<object|<embed", page)
    assert "The test images were looked at after each epoch, but chose neither" in page


def test_the_numbers(reported: Path) -> None:
    numbers = numbers_of(reported)
    assert to_json(numbers) == (reported / "analysis.json").read_text()
    last = read_report(reported)["epochs"][-1]
    confusion = torch.tensor(numbers.confusion)
    assert confusion.sum() == numbers.num_images == NUM_TEST_IMAGES
    assert confusion.trace() == sum(numbers.calibration.num_correct) == NUM_TEST_IMAGES - len(numbers.mistakes)
    assert numbers.accuracy == pytest.approx(last["val_accuracy"], abs=1e-6)
    assert sum(numbers.calibration.num_images) == NUM_TEST_IMAGES


def some_predictions() -> tuple[Tensor, Tensor]:
    """Labels (500,) and probabilities (500, 10) of all certainties, the last two on the edges of bins."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(10, (500,), generator=generator)
    sharpness = torch.rand(500, 1, generator=generator) * 8
    probabilities = (torch.randn(500, 10, generator=generator) * sharpness).softmax(dim=1)
    probabilities[-1] = F.one_hot(torch.tensor(3), 10)
    probabilities[-2] = torch.tensor([0.4, 0.6, *[0] * 8])
    return labels, probabilities


def test_the_calibration_error_by_hand() -> None:
    labels, probabilities = some_predictions()
    sums = [[0, 0.0, 0.0] for _ in range(15)]  # images, right ones, probabilities
    for label, row in zip(labels.tolist(), probabilities.tolist(), strict=True):
        certainty = max(row)
        each = sums[min(14, int(certainty * 15 + 1e-6))]  # float32's 0.6 is on the edge of the tenth bin
        each[0] += 1
        each[1] += row.index(certainty) == label
        each[2] += certainty
    found = calibration_of(labels, probabilities)
    expected = sum(abs(right - certainty) for _, right, certainty in sums) / len(labels)
    assert found.expected_calibration_error == pytest.approx(expected, abs=1e-5)
    assert list(zip(found.num_images, found.num_correct, strict=True)) == [(count, right) for count, right, _ in sums]
    assert found.mean_probabilities == pytest.approx([total / max(1, count) for count, _, total in sums], abs=1e-5)


def test_wilsons_interval() -> None:
    assert wilson_interval(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)  # worked out by hand
    assert wilson_interval(10, 10) == pytest.approx((0.7225, 1), abs=1e-4)


def test_mistakes_of_equal_certainty_stay_in_order() -> None:
    probabilities = torch.zeros(4, 10)
    probabilities[:, 1] = torch.tensor([0.5, 1, 0.5, 0.9])
    assert worst_mistakes(torch.tensor([0, 1, 0, 2]), probabilities).tolist() == [3, 0, 2]


def test_the_mistakes_figure_shows_the_worst_in_their_order(reported: Path) -> None:
    test, found = offline_test_images(), numbers_of(reported).mistakes
    probabilities = predict(read_run(reported), test.images)
    (axes,) = mistakes_figure(test.images, test.labels, probabilities, DIGITS, "360 images").axes
    texts = [text.get_text() for text in axes.texts]
    certainties, classes = probabilities.max(dim=1)
    assert len(found) == int((classes != test.labels).sum()) > len(axes.images) == 25
    assert [each.probability for each in found] == sorted((each.probability for each in found), reverse=True)
    for each, image, title, below in zip(found, axes.images, texts[::2], texts[1::2], strict=False):
        assert (each.label, each.prediction) == (int(test.labels[each.index]), int(classes[each.index]))
        assert np.array_equal(np.asarray(image.get_array()), test.images[each.index, 0])
        assert (title, below) == (f"{each.label}, not {each.prediction}", f"{each.probability:.1%}, no. {each.index}")
        assert each.probability == pytest.approx(float(certainties[each.index]), abs=1e-6)


def test_figures_without_a_mistake_or_a_class_or_a_formula(finished: Path) -> None:
    labels = torch.zeros(3, dtype=torch.long)
    probabilities, counts = F.one_hot(labels, 10).float(), torch.zeros(10, 10, dtype=torch.long)
    for figure in (
        mistakes_figure(torch.zeros(3, 1, 28, 28, dtype=torch.uint8), labels, probabilities, DIGITS, "3 images"),
        confusion_figure(counts.index_put((labels, labels), torch.tensor(1), accumulate=True), DIGITS, "3 images"),
        learning_curves_figure(replace(record_of(finished), dataset="$\\frac{", validated_on="$x")),  # no formulas
    ):
        assert png_of(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("validation", "status", "part"),
    [
        ("none", "finished", "chose nothing: the run was not validated"),
        ("holdout", "finished", "chose nothing: 5 held-out images were validated on"),
        ("test", "finished", "chose neither when this run ended nor which of its weights"),
        ("test", "stopped after epoch 2: validation accuracy ≥ 0.994", "chose when the run stopped"),
    ],
)
def test_what_the_test_images_chose(
    validation: Literal["test", "holdout", "none"], status: str, part: str, finished: Path
) -> None:
    run = read_run(finished)
    record = replace(run.record, validation=validation, status=status, validated_on="5 held-out images")
    assert part in replace(run, record=record).part_of_the_test_images


@pytest.mark.usefixtures("quick")
def test_test_time_augmentation(fit: Fit) -> None:
    folder = fit("--data.validation", "none", "--model.test_time_augmentation", "true")
    main(["report", str(folder)])
    test, numbers = read_report(folder)["test"], numbers_of(folder)
    assert numbers.accuracy == pytest.approx(test["accuracy"], abs=1e-6)


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (shutil.rmtree, "holds no report.json. Name a folder such as runs"),
        (lambda folder: (folder / "checkpoints" / "last.ckpt").unlink(), "last.ckpt"),
        (lambda folder: (folder / "report.json").write_text('{"epochs": []}'), "report.json is damaged"),
    ],
)
def test_faults(
    damage: Callable[[Path], Any], match: str, run_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    damage(run_folder)
    before = contents(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        main(["report", str(run_folder)])
    error = capfd.readouterr().err
    assert error.startswith("error: ")
    assert match in error
    assert contents(tmp_path) == before
