"""The content of a run's TensorBoard event files."""

import io
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from torch import Tensor
from torch.utils.tensorboard._utils import figure_to_image
from typing_extensions import override

from mnist_lightning.data.datasets import DIGITS
from mnist_lightning.datamodule import DigitsDataModule
from mnist_lightning.figures.mistakes import confusion_figure
from mnist_lightning.figures.style import in_our_style
from mnist_lightning.main import main
from mnist_lightning.runs.checkpoint import load_classifier
from mnist_lightning.tensorboard.dashboards import METRICS
from support.runs import Fit, read_report, run_ranks, weights

EACH_EPOCH = ["confusion_matrix", "confident_mistakes"]
FEATURE_MAPS = [f"feature_maps/after_layer_{number}" for number in range(1, 7)]


def read_events(folder: Path) -> EventAccumulator:
    everything = dict.fromkeys(["images", "tensors", "scalars", "histograms"], 0)
    return EventAccumulator(str(folder), size_guidance=everything).Reload()


def steps(events: EventAccumulator, kind: str, tag: str) -> list[int]:
    return [event.step for event in getattr(events, kind)(tag)]


def pixels(events: EventAccumulator, tag: str, place: int = -1) -> Any:
    """(H, W, 3) uint8: an image of the tag, by default the last."""
    return np.asarray(Image.open(io.BytesIO(events.Images(tag)[place].encoded_image_string)))


def confusion_of(folder: Path) -> Tensor:
    """The confusion matrix (10, 10) of the offline test images, computed from the run's checkpoint."""
    data = DigitsDataModule(dataset="offline_digits")
    data.setup("test")
    images, labels = data.images("test")
    with torch.no_grad():
        predictions = load_classifier(folder / "checkpoints" / "last.ckpt")(images / 255).argmax(dim=1)
    counts = torch.zeros(10, 10, dtype=torch.int64)
    for label, prediction in zip(labels, predictions, strict=True):
        counts[label, prediction] += 1
    return counts


def test_tags_and_their_steps(finished: Path) -> None:
    events = read_events(finished)
    tags = events.Tags()
    images = {*(f"validation/{name}" for name in EACH_EPOCH), "first_layer/filters", *FEATURE_MAPS}
    assert {tag: steps(events, "Images", tag) for tag in tags["images"]} == {tag: [1, 2] for tag in images}
    for group in ("weights", "gradients"):
        names = [tag for tag in tags["histograms"] if tag.startswith(f"{group}/")]
        assert len(names) == 18
        assert all(steps(events, "Histograms", name) == [1, 2] for name in names)
    assert len(list(finished.glob("events*"))) == 1
    assert plt.get_fignums() == []


def test_the_confusion_matrix_matches_the_checkpoint(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Tensor] = []

    def keep(counts: Tensor, *args: Any) -> Any:
        drawn.append(counts)
        return confusion_figure(counts, *args)

    monkeypatch.setattr("mnist_lightning.tensorboard.dashboards.confusion_figure", keep)
    folder = fit("--data.eval_batch_size", "100", dashboards=True)
    assert len(drawn) == 2
    assert torch.equal(drawn[-1], confusion_of(folder))
    assert drawn[-1].trace() / 360 == pytest.approx(read_report(folder)["epochs"][-1]["val_accuracy"])


def test_hyperparameters_and_their_metrics(fit: Fit) -> None:
    events = read_events(fit("--model.max_lr", "0.07", dashboards=True))
    start, columns = (
        HParamsPluginData.FromString(events.summary_metadata[f"_hparams_/{name}"].plugin_data.content)
        for name in ("session_start_info", "experiment")
    )
    values = start.session_start_info.hparams
    assert values["model.max_lr"].number_value == 0.07
    # Whatever may be null in another run is a string in all: TensorBoard's filters need one type.
    assert values["trainer.gradient_clip_val"].string_value == "None"
    assert [metric.name.tag for metric in columns.experiment.metric_infos] == METRICS
    assert {tag for tag in METRICS if "test" not in tag} <= set(events.Tags()["scalars"])


@pytest.mark.parametrize("options", [(), ("--model.backend", "layers", "--data.validation", "none")])
def test_dashboards_do_not_change_training(fit: Fit, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Includes the global random numbers: checkpoints contain their state too."""
    states: list[Tensor] = []

    class RandomState(Callback):
        @override
        def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            states.append(torch.get_rng_state())

    monkeypatch.setattr(sys.modules[__name__], "RandomState", RandomState, raising=False)
    added = f"--trainer.callbacks+={__name__}.RandomState"
    shown, plain = (weights(fit(*options, added, dashboards=dashboards)) for dashboards in (True, False))
    assert shown.keys() == plain.keys()
    assert all(torch.equal(shown[name], plain[name]) for name in shown)
    assert torch.equal(*states)


def test_without_validation_the_test_is_drawn(fit: Fit) -> None:
    folder = fit("--data.validation", "none", dashboards=True)
    events = read_events(folder)
    images = events.Tags()["images"]
    assert [tag for tag in images if tag.startswith("validation")] == []
    assert all(steps(events, "Images", f"test/{name}") == [2] for name in EACH_EPOCH)
    (accuracy,) = events.Scalars("by_epoch/test_accuracy")
    assert (accuracy.step, accuracy.value) == (2, pytest.approx(read_report(folder)["test"]["accuracy"]))


def test_a_run_in_bfloat16_is_shown(fit: Fit) -> None:
    options = ("--trainer.precision", "bf16-true", "--trainer.gradient_clip_val", "1", "--model.optimizer", "muon")
    folder = fit("--trainer.max_epochs", "1", "--trainer.limit_val_batches", "1", *options, dashboards=True)
    tags = read_events(folder).Tags()
    assert {"validation/confusion_matrix", "first_layer/filters", "feature_maps/after_layer_6"} <= set(tags["images"])
    assert [tag for tag in tags["histograms"] if tag.startswith("gradients/")]


def test_a_resumed_run_continues_in_its_folder(fit: Fit) -> None:
    folder = fit("--model.schedule", "constant", "--trainer.max_epochs", "1", dashboards=True)
    last = str(folder / "checkpoints" / "last.ckpt")
    main(["fit", "--config", str(folder / "config.yaml"), "--trainer.max_epochs", "2", "--ckpt_path", last])
    events = read_events(folder)
    assert steps(events, "Images", "validation/confusion_matrix") == [1, 2]


@pytest.mark.slow
def test_two_processes_draw_all_images(tmp_path: Path, in_project: None) -> None:
    """Each evaluates 180 of 360 images, in batches of 50; same result as one process with the same weights."""
    options = ["--data.eval_batch_size", "50", "--trainer.limit_train_batches", "3", "--trainer.max_epochs", "1"]
    run_ranks(2, tmp_path, "fit", "--config", "configs/offline.yaml", *options)
    (folder,) = tmp_path.glob("offline/version_*")
    events = read_events(folder)
    assert steps(events, "Images", "validation/confusion_matrix") == [1]
    figure = confusion_figure(confusion_of(folder), DIGITS, "validation, epoch 1: 360 images")
    expected = in_our_style(figure_to_image)(figure).transpose(1, 2, 0)  # type: ignore[no-untyped-call]  # (H, W, 3)
    assert np.array_equal(pixels(events, "validation/confusion_matrix"), expected)
