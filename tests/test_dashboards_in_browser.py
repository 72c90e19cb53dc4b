"""TensorBoard's pages in a browser, with two finished runs."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page

from mnist_lightning.main import main
from mnist_lightning.tensorboard.hyperparameters import METRICS, SHOWN_FIRST
from support.browser import open_page
from support.runs import PROJECT, read_report
from support.tensorboard_pages import (
    TIMEOUT_MS,
    filter_tags,
    open_dashboard,
    projector_frame,
    server,
    wait_for_text,
    wait_until,
)

pytestmark = pytest.mark.browser
RUNS = ["offline/version_0", "offline/version_1"]


class Shown(NamedTuple):
    """A server, a browser page and the reports of the served runs."""

    url: str
    page: Page
    reports: list[dict[str, Any]]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    root = tmp_path_factory.mktemp("runs")
    for rate in ("0.03", "0.1"):
        short = ["--trainer.max_epochs", "3", "--trainer.limit_train_batches", "12", "--model.max_lr", rate]
        config = str(PROJECT / "configs" / "offline.yaml")
        main(["fit", "--config", config, *short, "--trainer.default_root_dir", str(root)])
    reports = [read_report(Path(root, run)) for run in RUNS]
    with server(root) as url, open_page(1400, 900, allow_outside_requests=True) as page:
        page.set_default_timeout(TIMEOUT_MS)
        yield Shown(url, page, reports)


def test_time_series(shown: Shown) -> None:
    open_dashboard(shown.page, shown.url, "timeseries")
    wait_for_text(shown.page, [*RUNS, "by_epoch", "/learning_rate", "/images_per_second"])


def test_scalars(shown: Shown) -> None:
    open_dashboard(shown.page, shown.url, "scalars")
    names = ["train_loss", "train_accuracy", "val_loss", "val_accuracy", "learning_rate", "momentum"]
    for group in ("by_epoch", "by_step"):
        filter_tags(shown.page, group)
        wait_for_text(shown.page, [*RUNS, *(f"{group}/{name}" for name in [*names, "images_per_second"])])


def test_custom_scalars_show_training_and_validation_in_one_chart(shown: Shown) -> None:
    open_dashboard(shown.page, shown.url, "custom_scalars")
    names = ["train_loss", "val_loss", "train_accuracy", "val_accuracy", "learning_rate", "momentum"]
    groups = ["by_epoch", "by_step"]
    lines = [f"{group}/{name} ({run})" for group in groups for name in names for run in RUNS]
    text = wait_for_text(shown.page, ["against epochs", "against steps", *lines])
    assert text.count("Matches (4)") == 4  # loss and accuracy, by step and by epoch: two lines per run


def loaded_images(page: Page) -> set[tuple[str, str]]:
    """Run and tag of each image on the page that has loaded."""
    images = page.locator("img").evaluate_all("images => images.map(image => [image.src, image.naturalWidth])")
    keys = [parse_qs(urlsplit(source).query)["blob_key"][0] for source, width in images if width > 100]
    decoded = [json.loads(base64.urlsafe_b64decode(key + "=" * (-len(key) % 4))) for key in keys]
    return {(run, tag) for _, run, tag, *_ in decoded}


@pytest.mark.parametrize(
    "tags",
    [
        ["validation/confusion_matrix", "validation/accuracy_per_digit", "validation/confident_mistakes"],
        ["augmentation/stored_above_augmented_below", "first_layer/filters"],
        [f"feature_maps/after_layer_{number}" for number in range(1, 7)],
    ],
)
def test_images_are_not_empty(shown: Shown, tags: list[str]) -> None:
    open_dashboard(shown.page, shown.url, "images")
    filter_tags(shown.page, "|".join(tags))
    wait_for_text(shown.page, [*RUNS, *tags])
    wanted = {(run, tag) for run in RUNS for tag in tags}
    wait_until(shown.page, lambda: wanted <= loaded_images(shown.page), f"not all of {wanted} are there")


def test_the_graph(shown: Shown) -> None:
    open_dashboard(shown.page, shown.url, "graphs")
    wait_for_text(shown.page, [*RUNS, "Main Graph", "OptimizedN", "input", "output"])


@pytest.mark.parametrize("name", ["distributions", "histograms"])
def test_weights_and_gradients(shown: Shown, name: str) -> None:
    open_dashboard(shown.page, shown.url, name)
    for tag in ("gradients/00_Conv2d_weight", "weights/20_BatchNorm2d_bias"):
        filter_tags(shown.page, tag)
        wait_for_text(shown.page, [*RUNS, tag])
    assert shown.page.locator("svg path:visible").count() > len(RUNS)


def test_texts(shown: Shown) -> None:
    open_dashboard(shown.page, shown.url, "text")
    last = [f"{report['epochs'][-1]['val_accuracy']:.2%}" for report in shown.reports]
    wait_for_text(
        shown.page,
        [
            *RUNS,
            "receptive field",
            "offline digits): report of a run",
            *last,
        ],
    )


def test_precision_and_recall(shown: Shown) -> None:
    open_dashboard(shown.page, shown.url, "pr_curves")
    text = wait_for_text(shown.page, [*RUNS, "validation_precision_recall/digit_0", "step 3"])
    assert "10" in text.split("validation_precision_recall")[1]


def test_hyperparameters_beside_the_metrics(shown: Shown) -> None:
    open_dashboard(shown.page, shown.url, "hparams")
    accuracies = [f"{report['epochs'][-1]['val_accuracy']:#.5g}" for report in shown.reports]
    text = wait_for_text(shown.page, [*RUNS, "model.max_lr", *accuracies])
    assert "_instantiator" not in text
    cells = shown.page.locator("tf-hparams-table-view vaadin-grid-cell-content").all_text_contents()
    table = [cell.strip() for cell in cells]
    # The columns that are shown by default, and the differing values in two rows.
    assert {*RUNS, *SHOWN_FIRST, *METRICS[:5], "0.030000", "0.10000", *accuracies} <= set(table)
    assert accuracies[0] != accuracies[1]


def test_the_projector(shown: Shown) -> None:
    open_dashboard(shown.page, shown.url, "projector")
    wanted = ["Points:", "360", "50", "features:00036", "2 runs found", "digit"]
    text = wait_for_text(shown.page, wanted, projector_frame(shown.page))
    assert "Error" not in text
