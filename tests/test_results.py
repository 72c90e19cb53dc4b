"""The figures in README.md and docs/ match the committed reports."""

import json
import re
from pathlib import Path

import pytest

from benchmarks.sizes import CLAIMS
from benchmarks.study_tables import SHOWN, read_results, sizes_text, study_rows
from benchmarks.tables import PAGES, README, RESULTS, TABLES, with_tables
from mnist_lightning.export.formats import METADATA
from mnist_lightning.main import main
from mnist_lightning.runs.checkpoint_file import load_checkpoint
from mnist_lightning.study.summary import MeasuredRow
from mnist_lightning.study.summary_text import mean_and_deviation
from support.runs import PUBLISHED_LEARNING_RATES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_matches_the_reports(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert with_tables(text) == text


def test_links_between_the_pages_lead_somewhere() -> None:
    for page in [*PAGES, RESULTS.parent / "docs" / "tutorial.ipynb"]:
        for path, anchor in re.findall(r"\]\(([^)#:]*)#?([^)#:]*)\)", page.read_text(encoding="utf-8")):
            target = page.parent / path if path else page
            assert target.exists(), (page, path)
            if anchor:
                headings = re.findall(r"^#+ (.+)", target.read_text(encoding="utf-8"), re.MULTILINE)
                assert anchor in [re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings]


@pytest.mark.parametrize("study", sorted({study for study, _, _ in SHOWN}))
def test_reports_are_of_mnist_and_of_their_seed(study: str) -> None:
    for variant in read_results(study).variants:
        for seed, report in read_results(study).reports(variant).items():
            assert report.seed == seed
            assert report.dataset == "MNIST"
            assert report.status.startswith(("finished", "stopped after epoch"))
            assert read_results(study).report_path(variant, seed).with_suffix(".md").exists()


def test_learning_rates_of_the_recipe_are_the_published_ones() -> None:
    reports = read_results("recipe").reports("all 15 epochs").values()
    assert reports
    for report in reports:
        assert [row.steps for row in report.epochs] == [118 * epoch for epoch in range(1, 16)]
        assert [round(row.learning_rate, 6) for row in report.epochs] == PUBLISHED_LEARNING_RATES


MODELS = README.parent / "models"
HELD_OUT = [("fast", "fast", 20), ("fast", "fast, bfloat16", 20), ("best", "best", 10)]
HEADERS = [
    *(("fast", "fast", "fast"), ("fast", "fast, bfloat16", "fast")),
    *(("best", "best", "best"), ("fashion", "fashion", "fashion")),
]
HEADERS += [
    ("sizes", name, f"sizes/{name.replace(' ', '_').replace(',', '')}") for name in read_results("sizes").variants
]


@pytest.mark.parametrize(("study", "variant", "num_seeds"), HELD_OUT)
def test_held_out_claims_did_not_use_the_test_images(study: str, variant: str, num_seeds: int) -> None:
    """The held-out protocol: nothing was chosen on the test images, which were used once, at the end."""
    reports = read_results(study).reports(variant).values()
    assert len(reports) == num_seeds
    for report in reports:
        assert report.precision == ("bf16-mixed" if "bfloat16" in variant else "32-true")
        assert report.validation == "none"
        assert report.settings["early_stopping"]["stopping_threshold"] is None
        assert all(row.val_accuracy is None for row in report.epochs)
        assert report.test is not None


@pytest.mark.parametrize(("study", "variant", "config"), HEADERS)
def test_the_configs_header_has_the_measured_figure(study: str, variant: str, config: str) -> None:
    row = study_rows(study)[variant]
    header = (README.parent / "configs" / f"{config}.yaml").read_text(encoding="utf-8")
    figure = mean_and_deviation(row.mean, row.standard_deviation)
    figure += f" (mean ± standard deviation of {row.num_seeds} seeds, results/{study})"
    assert figure in " ".join(header.replace("#", "").split())


@pytest.mark.parametrize("study", sorted(path.stem for path in (README.parent / "configs" / "studies").glob("*.yaml")))
def test_every_committed_seed_counts(study: str) -> None:
    described = read_results(study)
    for variant in described.variants:
        committed = {path.stem for path in described.report_path(variant, 0).parent.glob("seed_*.json")}
        assert committed == {f"seed_{seed}" for seed in range(described.seeds)}


def test_networks_are_listed_by_size_and_the_configs_keep_their_bounds() -> None:
    rows = [line.split("|") for line in sizes_text().splitlines() if line.startswith("| ")][1:]
    parameters = [int(row[2].replace(",", "")) for row in rows]
    assert parameters == sorted(parameters)
    assert len(parameters) > len(CLAIMS)
    for row in read_results("sizes").rows():
        assert isinstance(row, MeasuredRow)
        bound = int(row.variant.removeprefix("under ").replace(",", ""))
        assert row.num_parameters < bound


def test_committed_reports_contain_no_path_outside_the_project() -> None:
    files = [path for folder in (RESULTS, MODELS) for path in [*folder.rglob("*.json"), *folder.rglob("*.md")]]
    assert files
    for path in files:
        text = path.read_text()
        assert not re.search(r"(^|[\s\"'=`])[/~]\w", text)
        if path.suffix == ".json":
            json.loads(text)


def test_every_table_is_in_a_page() -> None:
    names = [name for page in PAGES for name in re.findall(r"<!-- (\w+) -->", page.read_text(encoding="utf-8"))]
    assert set(names) == set(TABLES)


@pytest.mark.slow
def test_the_shipped_model_matches_its_report(mnist_dir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It has weights only, is small, and has the accuracy in its report."""
    model = MODELS / "mnist.ckpt"
    assert model.stat().st_size < 150_000
    report = json.loads((MODELS / "mnist.json").read_text(encoding="utf-8"))
    main(["test", "--ckpt_path", str(model), "--data.data_dir", str(mnist_dir)])
    figures = report["test"]
    # Not the loss, which is a mean over batches in the report.
    assert f"accuracy {figures['accuracy']:.2%}, loss " in capfd.readouterr().out
    assert load_checkpoint(model)[METADATA]["accuracy"] == pytest.approx(figures["single_view_accuracy"])
