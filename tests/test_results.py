"""The figures in README.md and docs/ come from the committed records, which hold what the pages claim."""

import json
import re
from pathlib import Path

import pytest

from benchmarks.speed.report import report_text
from benchmarks.studies import SHOWN, read_results
from benchmarks.tables import BENCHMARK, MODELS, PAGES, RESULTS, TABLES, with_tables
from mnist_lightning.main import main
from support.runs import PUBLISHED_LEARNING_RATES

HELD_OUT = [("fast", "fast", 20), ("fast", "fast, bfloat16", 20), ("best", "best", 10)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_matches_the_records(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert with_tables(text) == text


def test_every_table_is_in_a_page() -> None:
    names = [name for page in PAGES for name in re.findall(r"<!-- (\w+) -->", page.read_text(encoding="utf-8"))]
    assert set(names) == set(TABLES)
    assert (BENCHMARK / "README.md").read_text(encoding="utf-8") == report_text(BENCHMARK)


def test_links_between_the_pages_lead_somewhere() -> None:
    for page in [*PAGES, RESULTS.parent / "docs" / "tutorial.ipynb"]:
        for path, anchor in re.findall(r"\]\(([^)#:]*)#?([^)#:]*)\)", page.read_text(encoding="utf-8")):
            target = page.parent / path if path else page
            assert target.exists(), (page, path)
            if anchor:
                headings = re.findall(r"^#+ (.+)", target.read_text(encoding="utf-8"), re.MULTILINE)
                assert anchor in [re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings]


@pytest.mark.parametrize("study", sorted({study for study, _, _ in SHOWN}))
def test_records_are_of_mnist_and_of_their_seed(study: str) -> None:
    results = read_results(study)
    for variant in results.variants:
        records = results.records()[variant]
        assert list(records) == list(range(results.seeds))
        for seed, record in records.items():
            assert (record.seed, record.dataset) == (seed, "MNIST")
            assert record.status.startswith(("finished", "stopped after epoch"))


def test_learning_rates_of_the_recipe_are_the_published_ones() -> None:
    for record in read_results("recipe").records()["all 15 epochs"].values():
        assert [row.steps for row in record.epochs] == [118 * epoch for epoch in range(1, 16)]
        assert [round(row.learning_rate, 6) for row in record.epochs] == PUBLISHED_LEARNING_RATES


@pytest.mark.parametrize(("study", "variant", "num_seeds"), HELD_OUT)
def test_held_out_claims_did_not_use_the_test_images(study: str, variant: str, num_seeds: int) -> None:
    """The held-out protocol: nothing was chosen on the test images, which were used once, at the end."""
    records = read_results(study).records()[variant].values()
    assert len(records) == num_seeds
    for record in records:
        assert record.precision == ("bf16-mixed" if "bfloat16" in variant else "32-true")
        assert record.validation == "none"
        assert record.settings["early_stopping"]["stopping_threshold"] is None
        assert all(row.val_accuracy is None for row in record.epochs)
        assert record.test is not None


def test_the_small_networks_keep_their_bounds() -> None:
    for row in read_results("sizes").rows():
        assert row.num_parameters < int(row.variant.removeprefix("under ").replace(",", ""))


@pytest.mark.slow
def test_the_shipped_model_matches_its_record(mnist_dir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It has weights only, is small, and has the accuracy in its record."""
    model = MODELS / "mnist.ckpt"
    assert model.stat().st_size < 150_000
    record = json.loads((MODELS / "mnist.json").read_text(encoding="utf-8"))
    main(["test", "--ckpt_path", str(model), "--data.data_dir", str(mnist_dir)])
    # Not the loss, which is a mean over batches in the record.
    assert f"accuracy {record['test']['accuracy']:.2%}, loss " in capfd.readouterr().out
