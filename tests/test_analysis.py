"""`report RUN`: the figures of a run, its page and its numbers."""

import base64
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (the name that all of PyTorch uses)
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import rotate
from typing_extensions import override

from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.data.batches import LabelledImages
from mnist_lightning.data.datasets import DIGITS
from mnist_lightning.datamodule import DigitsDataModule
from mnist_lightning.figures import style
from mnist_lightning.figures.style import png_of
from mnist_lightning.files import from_json, to_json
from mnist_lightning.main import main
from mnist_lightning.report import CheckpointName, evaluation, mistakes
from mnist_lightning.report.analysis import Analysis
from mnist_lightning.report.calibration import expected_calibration_error, reliability_bins
from mnist_lightning.report.confusion import confusion_counts, confusion_figure
from mnist_lightning.report.evaluation import predict, read_test_images, robustness_of
from mnist_lightning.report.finished_run import read_run
from mnist_lightning.report.learning_curves import learning_curves_figure, learning_rates
from mnist_lightning.report.mistakes import mistakes_figure
from mnist_lightning.report.page import report_page
from mnist_lightning.report.pictures import Picture
from mnist_lightning.runs.predictions import worst_mistakes
from mnist_lightning.runs.record import Record
from mnist_lightning.runs.record_text import report_markdown, with_figures_section
from support.runs import Fit, contents, read_report

NUM_TEST_IMAGES = 360  # of the offline digits
FIGURES = {"learning_curves", "confusion", "mistakes", "calibration", "robustness"}


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
    """Coarse figures of few mistakes and movements, where the point is another."""
    monkeypatch.setattr(style, "DOTS_PER_INCH", 20)
    monkeypatch.setattr(mistakes, "NUM_SHOWN", 2)
    monkeypatch.setattr(evaluation, "ROTATIONS_DEGREES", (-30, 0, 30))
    monkeypatch.setattr(evaluation, "SHIFTS_PIXELS", (-4, 0, 4))


def read_numbers(folder: Path) -> dict[str, Any]:
    numbers: dict[str, Any] = json.loads((folder / "analysis.json").read_text())
    return numbers


def typed_report(folder: Path) -> Record:
    return from_json(Record, (folder / "report.json").read_text())


class Page(HTMLParser):
    """A page's elements; fails where one is not closed."""

    VOID = ("meta", "link", "img", "br")

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words = ""
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self.open == []

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    @override
    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    @override
    def handle_data(self, data: str) -> None:
        self.words += data


def test_the_files(finished: Path, reported: Path) -> None:
    before, after = contents(finished), contents(reported)
    added = {f"figures/{name}.png" for name in FIGURES} | {"analysis.json", "report.html"}
    assert after.keys() - before.keys() == added
    assert {name for name in before if after[name] != before[name]} == {"report.md"}
    for name in FIGURES:
        content = after[f"figures/{name}.png"]
        assert content.startswith(b"\x89PNG")
        assert len(content) < 150_000


def test_markdown_keeps_what_it_was_and_shows_each_figure(finished: Path, reported: Path) -> None:
    before, after = ((folder / "report.md").read_text() for folder in (finished, reported))
    assert after.startswith(before)
    section = after.removeprefix(before)
    assert "360 test images, NOT MNIST" in section
    assert "looked at after each epoch" in section
    for name in FIGURES:
        assert section.count(f"](figures/{name}.png)") == 1


def test_the_page_needs_nothing_but_itself(reported: Path) -> None:
    page = Page(reported / "report.html")
    pictures = [attributes for tag, attributes in page.elements if tag == "img"]
    inlined = {base64.b64decode(str(each["src"]).removeprefix("data:image/png;base64,")) for each in pictures}
    assert inlined == {(reported / "figures" / f"{name}.png").read_bytes() for name in FIGURES}
    assert all(len(str(each["alt"])) > 20 for each in pictures)
    text = (reported / "report.html").read_text()
    assert "http:" not in text
    assert "https:" not in text
    assert "url(" not in text
    assert not {tag for tag, _ in page.elements} & {"script", "iframe", "object", "embed", "form"}
    targets = [str(attributes["href"]) for _, attributes in page.elements if "href" in attributes]
    places = {attributes.get("id") for _, attributes in page.elements}
    assert len(targets) > len(FIGURES)
    assert all(target == "data:," or target.removeprefix("#") in places for target in targets)


def test_the_numbers(reported: Path) -> None:
    numbers = read_numbers(reported)
    confusion = torch.tensor(numbers["confusion"])
    assert confusion.sum() == numbers["num_images"] == NUM_TEST_IMAGES
    assert confusion.trace() == numbers["num_correct"]
    assert numbers["accuracy"] == pytest.approx(read_report(reported)["epochs"][-1]["val_accuracy"], abs=1e-6)
    assert [each["num_images"] for each in numbers["per_class"]] == confusion.sum(dim=1).tolist()
    assert [each["num_correct"] for each in numbers["per_class"]] == confusion.diag().tolist()
    assert sum(each["num_images"] for each in numbers["calibration"]["bins"]) == NUM_TEST_IMAGES
    assert len(numbers["mistakes"]) == NUM_TEST_IMAGES - numbers["num_correct"]
    assert numbers["robustness"]["num_images"] == NUM_TEST_IMAGES


def test_the_numbers_are_read_as_they_were_written(reported: Path) -> None:
    text = (reported / "analysis.json").read_text()
    assert to_json(from_json(Analysis, text)) == text


def test_unmoved_images_have_the_plain_accuracy(reported: Path) -> None:
    numbers = read_numbers(reported)
    curves = {name: points for name, points in numbers["robustness"].items() if isinstance(points, list)}
    assert [point["amount"] for point in curves["rotation_degrees"]] == list(range(-30, 31, 5))
    for name in ("translation_x_pixels", "translation_y_pixels"):
        assert [point["amount"] for point in curves[name]] == list(range(-4, 5))
    for points in curves.values():
        (unmoved,) = (point for point in points if point["amount"] == 0)
        assert unmoved["num_correct"] == numbers["num_correct"]


def test_the_mistakes_are_mistakes_and_the_worst_come_first(reported: Path) -> None:
    run = read_run(reported, "last", None)
    test = read_test_images(run.data)
    probabilities = predict(run.classifier, run.data, test.images)
    mistakes = read_numbers(reported)["mistakes"]
    assert mistakes
    for each in mistakes:
        assert each["prediction"] == int(probabilities[each["index"]].argmax())
        assert each["label"] == int(test.labels[each["index"]]) != each["prediction"]
    certainties = [each["probability"] for each in mistakes]
    assert certainties == sorted(certainties, reverse=True)


@pytest.mark.usefixtures("quick")
def test_shifts_are_to_the_right_and_downwards_and_rotations_counter_clockwise(
    trained: DigitClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trained, "test_time_augmentation", False)
    data = DigitsDataModule(dataset="offline_digits")
    test = read_test_images(data)
    robustness = robustness_of(trained, data, test)
    assert abs(robustness.rotation_degrees[0].num_correct - robustness.rotation_degrees[-1].num_correct) > 20
    right, down = robustness.translation_x_pixels, robustness.translation_y_pixels
    padded = F.pad(test.images, (4, 4, 4, 4))
    for x, y, num_correct in (
        (4, 0, right[-1].num_correct),
        (-4, 0, right[0].num_correct),
        (0, 4, down[-1].num_correct),
    ):
        shifted = padded[..., 4 - y : 32 - y, 4 - x : 32 - x]
        expected = int((predict(trained, data, shifted).argmax(dim=1) == test.labels).sum())
        # Interpolated at whole pixels: the same up to rounding, which can decide about an image on the edge.
        assert abs(num_correct - expected) <= 1
    for point in (robustness.rotation_degrees[0], robustness.rotation_degrees[-1]):
        rotated = rotate(test.images / 255, point.amount, InterpolationMode.BILINEAR)
        predicted = predict(trained, data, (rotated * 255).round().to(torch.uint8)).argmax(dim=1)
        assert abs(point.num_correct - int((predicted == test.labels).sum())) <= 3  # interpolated at other weights


@pytest.mark.usefixtures("quick")
def test_of_a_large_network_fewer_images_are_moved(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = read_run(finished, "last", None)
    monkeypatch.setattr(evaluation, "MAX_OPERATIONS", 0)
    monkeypatch.setattr(evaluation, "MIN_IMAGES", 100)
    test = read_test_images(run.data)
    robustness = robustness_of(run.classifier, run.data, test)
    assert robustness.num_images == NUM_TEST_IMAGES // 3
    part = LabelledImages(test.images[::3], test.labels[::3])
    predicted = predict(run.classifier, run.data, part.images).argmax(dim=1)
    assert robustness.rotation_degrees[1].num_correct == int((predicted == part.labels).sum())


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
    expected = sum(abs(right - certainty) for _, right, certainty in sums) / len(labels)
    bins = reliability_bins(labels, probabilities)
    assert expected_calibration_error(bins) == pytest.approx(expected, abs=1e-5)
    assert [(each.num_images, each.num_correct) for each in bins] == [(count, right) for count, right, _ in sums]


def test_mistakes_of_equal_certainty_stay_in_order() -> None:
    probabilities = torch.zeros(4, 10)
    probabilities[:, 1] = torch.tensor([0.5, 1, 0.5, 0.9])
    assert worst_mistakes(torch.tensor([0, 1, 0, 2]), probabilities).tolist() == [3, 0, 2]


def test_figures_without_a_mistake_or_a_class_or_an_epoch(finished: Path) -> None:
    labels = torch.zeros(3, dtype=torch.long)
    probabilities = F.one_hot(labels, 10).float()
    figures = [
        mistakes_figure(torch.zeros(3, 1, 28, 28, dtype=torch.uint8), labels, probabilities, DIGITS),
        confusion_figure(confusion_counts(labels, probabilities), DIGITS, "3 images"),
        learning_curves_figure(replace(typed_report(finished), epochs=[])),
    ]
    titles = [text.get_text() for text in figures[0].texts]
    assert titles == ["None of 3 images is classified wrongly"]
    for figure in figures:
        assert png_of(figure).startswith(b"\x89PNG")


def test_a_figure_is_the_same_under_any_settings_of_the_reader() -> None:
    labels, probabilities = some_predictions()
    counts = confusion_counts(labels, probabilities)
    expected = png_of(confusion_figure(counts, DIGITS, "500 images"))
    with mpl.rc_context({"font.size": 30, "font.family": "monospace", "figure.facecolor": "black", "savefig.dpi": 9}):
        assert png_of(confusion_figure(counts, DIGITS, "500 images")) == expected


@pytest.mark.parametrize("args", [[], ["--model.schedule", "constant"], ["--model.optimizer", "muon"]])
def test_learning_rates_are_those_of_the_run(args: list[str], fit: Fit) -> None:
    report = typed_report(fit(*args))
    rates = learning_rates(report)
    assert rates is not None
    assert len(rates) == report.epochs[-1].steps == 6
    assert rates[3] == pytest.approx(report.epochs[0].learning_rate)
    report.epochs[0].learning_rate *= 1.01
    assert learning_rates(report) is None, "the settings do not lead there"


@pytest.mark.usefixtures("quick")
def test_a_run_that_ends_within_an_epoch(fit: Fit) -> None:
    folder = fit("--trainer.max_steps", "4", "--model.optimizer", "muon")
    curve, ends = learning_curves_figure(typed_report(folder)).axes[-1].lines  # of the learning rate
    assert curve.get_xdata() == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert ends.get_xdata() == pytest.approx([1, 4 / 3])
    main(["report", str(folder)])
    page = (folder / "report.html").read_text("utf-8")
    assert page.count("1 epoch and 1 of 3 batches") == 2  # in a line, and in the words for the picture
    assert page.count("the convolutions have their own under Muon.") == 1


@pytest.mark.usefixtures("quick")
def test_a_second_time_and_elsewhere_the_same_comes_out(run_folder: Path, tmp_path: Path) -> None:
    notes = run_folder / "figures" / "notes.txt"
    notes.parent.mkdir()
    notes.write_text("mine")
    markdown = run_folder / "report.md"
    markdown.write_text(f"{markdown.read_text()}\nA remark.\n")
    main(["report", str(run_folder)])
    once = contents(run_folder)
    assert once["figures/notes.txt"] == b"mine"
    assert b"A remark." in once["report.md"]
    moved = run_folder.rename(tmp_path / "moved")
    main(["report", str(moved)])
    assert contents(moved) == once


def test_the_section_replaces_itself_alone() -> None:
    once = with_figures_section(b"# Record\n", "one")
    assert once == b"# Record\n\n<!-- figures -->\none\n<!-- end of figures -->\n"
    assert with_figures_section(once + b"After.\n", "two") == once.replace(b"one", b"two") + b"After.\n"
    assert with_figures_section(b"", "one") == once.removeprefix(b"# Record\n\n")


@pytest.mark.usefixtures("quick")
def test_a_run_that_goes_on_leaves_its_figures_be(fit: Fit) -> None:
    folder = fit("--model.schedule", "constant")
    main(["report", str(folder)])
    before = (folder / "report.md").read_text()
    section = before[before.index("<!-- figures -->") :]
    last = str(folder / "checkpoints" / "last.ckpt")
    main(["fit", "--config", str(folder / "config.yaml"), "--trainer.max_epochs", "3", "--ckpt_path", last])
    after = (folder / "report.md").read_text()
    assert after.endswith(section)
    assert "| 3 |" in after
    assert "after epoch 2 (step 6)" in section


@pytest.mark.parametrize(
    ("validation", "status", "checkpoint", "part"),
    [
        ("none", "finished", "last", "chose nothing: the run was not validated"),
        ("holdout", "finished", "last", "chose nothing: 5 held-out images were validated on"),
        ("holdout", "finished", "best", "chose nothing: 5 held-out images chose these weights"),
        ("test", "finished", "last", "chose neither when this run ended nor which of its weights"),
        ("test", "stopped after epoch 2: validation accuracy ≥ 0.994", "last", "chose when the run stopped"),
        ("test", "finished", "best", "chose these weights as the best"),
    ],
)
def test_what_the_test_images_chose(
    validation: Literal["test", "holdout", "none"], status: str, checkpoint: CheckpointName, part: str, finished: Path
) -> None:
    run = read_run(finished, "last", None)
    report = replace(run.report, validation=validation, status=status, validated_on="5 held-out images")
    assert part in replace(run, report=report, checkpoint=checkpoint).part_of_the_test_images


KINDS = {
    "none": ["--data.validation", "none", "--model.test_time_augmentation", "true", "--weight_average.decay", "0.9"],
    "stopped": [
        "--data.validation",
        "holdout",
        "--data.num_holdout",
        "200",
        "--early_stopping.stopping_threshold",
        "0",
    ],
}


@pytest.mark.parametrize("kind", [*KINDS, pytest.param("baseline", marks=pytest.mark.slow)])
@pytest.mark.usefixtures("quick")
def test_runs_of_all_kinds(kind: str, fit: Fit) -> None:
    baseline = ["--model.network", "baseline", "--model.max_lr", "0.01"]
    folder = fit(*KINDS.get(kind, baseline))
    main(["report", str(folder)])
    words = Page(folder / "report.html").words
    report, numbers = read_report(folder), read_numbers(folder)
    if kind == "none":
        assert numbers["accuracy"] == pytest.approx(report["test"]["accuracy"], abs=1e-6)
        unmoved = numbers["robustness"]["rotation_degrees"][1]["accuracy"]
        assert unmoved == pytest.approx(report["test"]["single_view_accuracy"], abs=1e-6)
        assert "network alone" in words
    else:
        assert "network alone" not in words
    if kind == "baseline":
        assert numbers["accuracy"] == pytest.approx(report["epochs"][-1]["val_accuracy"], abs=1e-6)
    if kind == "stopped":
        assert "1 epoch, stopped after epoch 1" in words


@pytest.mark.usefixtures("quick")
def test_the_best_checkpoint(run_folder: Path) -> None:
    main(["report", str(run_folder), "--checkpoint", "best"])
    best = max(read_report(run_folder)["epochs"], key=lambda row: row["val_accuracy"])
    numbers = read_numbers(run_folder)
    assert (numbers["checkpoint"], numbers["steps"]) == ("best", best["steps"])
    assert numbers["accuracy"] == pytest.approx(best["val_accuracy"], abs=1e-6)
    assert f"best.ckpt, after epoch {best['epoch']}" in (run_folder / "report.md").read_text()


@pytest.mark.usefixtures("quick")
def test_a_run_that_ended_in_its_first_epoch(run_folder: Path) -> None:
    report = replace(typed_report(run_folder), epochs=[], status="interrupted by SIGINT")
    (run_folder / "report.json").write_text(to_json(report))
    (run_folder / "report.md").unlink()
    main(["report", str(run_folder)])
    words = Page(run_folder / "report.html").words
    assert "0 epochs, interrupted by SIGINT" in words
    assert "last.ckpt, after step 6" in words
    assert (run_folder / "report.md").read_text().startswith(report_markdown(report))


def test_what_a_report_holds_is_shown_as_text(reported: Path, tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>\"><img src='http://example.org/'>"
    run = read_run(reported, "last", None)
    report = replace(run.report, command=hostile, dataset=hostile, versions={hostile: hostile})
    run = replace(run, report=report)
    png = (reported / "figures" / "confusion.png").read_bytes()
    picture = Picture("confusion", hostile, hostile, hostile, png, [hostile], [[hostile]])
    path = tmp_path / "report.html"
    analysis = from_json(Analysis, (reported / "analysis.json").read_text())
    path.write_text(report_page(run, analysis, [picture], hostile))
    page = Page(path)
    assert not {tag for tag, _ in page.elements} & {"script"}
    (image,) = (attributes for tag, attributes in page.elements if tag == "img")
    assert image["alt"] == hostile
    assert page.words.count(hostile) >= 8


@pytest.mark.usefixtures("quick")
def test_a_reports_texts_are_no_formulas(run_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    report = read_report(run_folder) | {"dataset": "$\\frac{ \x1b[2J", "validated_on": "$x", "validation": "holdout"}
    (run_folder / "report.json").write_text(json.dumps(report))
    (run_folder / "report.md").unlink()
    main(["report", str(run_folder)])
    assert "The test images chose nothing: $x were validated on." in (run_folder / "report.md").read_text()
    assert "\x1b" not in capfd.readouterr().out


def no_such_run(folder: Path) -> None:
    shutil.rmtree(folder)


def nothing_in_it(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def runs_in_it(folder: Path) -> None:
    shutil.copytree(folder, folder.with_name("copy"))
    nothing_in_it(folder)
    shutil.move(folder.with_name("copy"), folder / "version_7")


def a_file_in_its_place(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("")


def no_checkpoint(folder: Path) -> None:
    (folder / "checkpoints" / "last.ckpt").unlink()


def a_damaged_checkpoint(folder: Path) -> None:
    path = folder / "checkpoints" / "last.ckpt"
    path.write_bytes(path.read_bytes()[:1000])


def half_a_report(folder: Path) -> None:
    path = folder / "report.json"
    path.write_bytes(path.read_bytes()[:1000])


def a_report_of_something_else(folder: Path) -> None:
    (folder / "report.json").write_text('{"epochs": []}')


def a_report_that_is_no_text(folder: Path) -> None:
    (folder / "report.json").write_bytes(b"\xff\xfe\x00")


def an_epoch_that_is_none(folder: Path) -> None:
    report = read_report(folder)
    report["epochs"][0]["train_accuracy"] = "99%"
    (folder / "report.json").write_text(json.dumps(report))


def a_file_where_figures_go(folder: Path) -> None:
    (folder / "figures").write_text("")


FAULTS = {
    no_such_run: "does not exist. Name a run's folder",
    nothing_in_it: "is no run's folder",
    runs_in_it: "is a folder of runs. .*the newest: .*version_7",
    a_file_in_its_place: "is a file. Name a run's folder",
    no_checkpoint: "--checkpoint last: the run has no .*last.ckpt. Try --checkpoint best",
    a_damaged_checkpoint: "--checkpoint last: .*last.ckpt is not a valid checkpoint: .* Try --checkpoint best",
    half_a_report: "report.json is damaged",
    a_report_of_something_else: "report.json is damaged, or was not written by `fit`",
    a_report_that_is_no_text: "report.json is damaged",
    an_epoch_that_is_none: "report.json is damaged",
    a_file_where_figures_go: "figures cannot be written",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
@pytest.mark.usefixtures("quick")
def test_faults(fault: Any, run_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fault(run_folder)
    before = contents(tmp_path)
    assert_refused(["report", str(run_folder)], FAULTS[fault], capfd)
    assert contents(tmp_path) == before


def assert_refused(args: list[str], match: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(args)
    error = capfd.readouterr().err
    assert error.startswith("error: ")
    assert re.search(match, error)


def test_no_best_without_validation(fit: Fit, capfd: pytest.CaptureFixture[str]) -> None:
    folder = fit("--data.validation", "none")
    match = r"--checkpoint best: the run has no .*without validation there is no best\). Try --checkpoint last"
    assert_refused(["report", str(folder), "--checkpoint", "best"], match, capfd)


@pytest.mark.parametrize(
    ("args", "match"),
    [
        ([], "required: run"),
        (["a", "b"], "unrecognized arguments: b"),
        (["a", "--checkpoint", "middle"], "checkpoint.*"),
        (["a", "--num_threads", "0"], "num_threads"),
        (["a", "--chekpoint", "last"], "Did you mean --checkpoint"),
        (["a\0b"], "run"),
        (["a" * 5000], "cannot be read"),
    ],
)
def test_odd_command_lines(args: list[str], match: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert_refused(["report", *args], match, capfd)


@pytest.mark.usefixtures("no_mirror", "quick")
def test_without_mnist(fit: Fit, mnist_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    limits = ("--trainer.limit_train_batches", "1", "--trainer.limit_val_batches", "1")
    folder = fit("--data.dataset", "mnist", "--data.data_dir", str(mnist_dir), *limits)
    before = contents(folder)
    args = ["report", str(folder), "--data_dir", str(tmp_path / "empty")]
    with pytest.raises(SystemExit, match="2"):
        main(args)
    assert "error: MNIST was not found" in capfd.readouterr().err
    assert contents(folder) == before
