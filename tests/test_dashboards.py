"""The content of a run's TensorBoard event files."""

import io
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from matplotlib.figure import Figure
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.util.tensor_util import make_ndarray
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from typing_extensions import override

from benchmarks.dashboards_cost import measure
from mnist_lightning.callbacks.record import RunRecord
from mnist_lightning.data.batches import Batch, LabelledImages
from mnist_lightning.data.datasets import DIGITS
from mnist_lightning.datamodule import DigitsDataModule
from mnist_lightning.main import main
from mnist_lightning.network import BaselineNet, OptimizedNet
from mnist_lightning.runs.checkpoint import load_classifier
from mnist_lightning.runs.settings import Settings
from mnist_lightning.tensorboard.all import tensorboard_callbacks
from mnist_lightning.tensorboard.embedding import last_features, principal_components
from mnist_lightning.tensorboard.evaluation import Evaluation, EvaluationResult
from mnist_lightning.tensorboard.hyperparameters import METRICS, SHOWN_FIRST, flat_settings
from mnist_lightning.tensorboard.mistakes import most_confident_mistakes
from support.runs import PROJECT, Fit, read_report, run_ranks, weights

EACH_EPOCH = ["confusion_matrix", "accuracy_per_digit", "confident_mistakes"]
FEATURE_MAPS = [f"feature_maps/after_layer_{number}" for number in range(1, 7)]


def read_events(folder: Path) -> EventAccumulator:
    everything = dict.fromkeys(["images", "tensors", "scalars", "histograms"], 0)
    return EventAccumulator(str(folder), size_guidance=everything).Reload()


def steps(events: EventAccumulator, kind: str, tag: str) -> list[int]:
    return [event.step for event in getattr(events, kind)(tag)]


def text(events: EventAccumulator, tag: str) -> str:
    event = events.Tensors(f"{tag}/text_summary")[-1]
    value: str = event.tensor_proto.string_val[0].decode()
    return value


def pixels(events: EventAccumulator, tag: str) -> Any:
    return np.asarray(Image.open(io.BytesIO(events.Images(tag)[-1].encoded_image_string)))


def curve(events: EventAccumulator, tag: str) -> Any:
    """(6, T): true positives, false positives, true negatives, false negatives, precision and recall per threshold."""
    return make_ndarray(events.Tensors(tag)[-1].tensor_proto)


def evaluated_again(folder: Path) -> tuple[Tensor, Tensor]:
    """Logits and labels of the offline test images, computed from the checkpoint."""
    data = DigitsDataModule(dataset="offline_digits")
    data.setup("test")
    batch: Batch = data.prepare(next(iter(data.test_dataloader())), augment=False)
    assert len(batch.labels) == 360
    with torch.no_grad():
        return load_classifier(folder / "checkpoints" / "last.ckpt")(batch.images), batch.labels


def hparams_of(events: EventAccumulator, name: str) -> plugin_data_pb2.HParamsPluginData:
    content = events.summary_metadata[f"_hparams_/{name}"].plugin_data.content
    return plugin_data_pb2.HParamsPluginData.FromString(content)


def test_scalars_against_step_and_epoch(finished: Path) -> None:
    events = read_events(finished)
    scalars = {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    rows = read_report(finished)["epochs"]
    for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "learning_rate"):
        values = scalars[f"by_epoch/{name}"]
        assert [step for step, _ in values] == [1, 2]
        assert [value for _, value in values] == pytest.approx([row[name] for row in rows])
    assert [step for step, _ in scalars["by_step/val_accuracy"]] == [3, 6]
    for name in ("train_loss", "learning_rate", "momentum", "images_per_second"):
        assert {step for step, _ in scalars[f"by_step/{name}"]} == {1, 2, 3, 4, 5, 6}
    assert all(math.isfinite(value) for values in scalars.values() for _, value in values)
    assert all(value > 0 for _, value in scalars["by_epoch/images_per_second"])


def test_tags_and_their_steps(finished: Path) -> None:
    events = read_events(finished)
    tags = events.Tags()
    assert set(tags["images"]) == {
        *(f"validation/{name}" for name in EACH_EPOCH),
        *("augmentation/stored_above_augmented_below", "first_layer/filters", *FEATURE_MAPS),
    }
    for tag in tags["images"]:
        assert steps(events, "Images", tag) == ([1] if tag.startswith("augmentation") else [1, 2])
    for group in ("weights", "gradients"):
        names = [tag for tag in tags["histograms"] if tag.startswith(f"{group}/")]
        assert len(names) == 18
        assert all(steps(events, "Histograms", name) == [1, 2] for name in names)
    for digit in range(10):
        assert steps(events, "Tensors", f"validation_precision_recall/digit_{digit}") == [1, 2]
    assert tags["graph"]
    assert "receptive field" in text(events, "run/layers")
    assert text(events, "run/data_set").startswith("NOT MNIST")
    assert (text(events, "run/report") + "\n").count("\n") > 20
    assert text(events, "run/report").strip() == (finished / "report.md").read_text().strip()
    assert len(list(finished.glob("events*"))) == 1
    assert plt.get_fignums() == []


def test_the_confusion_matrix_matches_the_checkpoint(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Tensor] = []

    def keep(self: SummaryWriter, tag: str, figure: Figure, epoch: int) -> None:
        if tag == "validation/confusion_matrix":
            drawn.append(torch.as_tensor(np.asarray(figure.axes[0].images[0].get_array()), dtype=torch.int64))
        add_figure(self, tag, figure, epoch)

    add_figure = SummaryWriter.add_figure
    monkeypatch.setattr(SummaryWriter, "add_figure", keep)
    folder = fit("--data.eval_batch_size", "100", dashboards=True)
    logits, labels = evaluated_again(folder)
    wanted = torch.zeros(10, 10, dtype=torch.int64)
    for label, prediction in zip(labels, logits.argmax(dim=1), strict=True):
        wanted[label, prediction] += 1
    assert len(drawn) == 2
    assert torch.equal(drawn[-1], wanted)
    assert drawn[-1].diag().sum() / 360 == pytest.approx(read_report(folder)["epochs"][-1]["val_accuracy"])


def test_precision_and_recall_match_the_checkpoint(finished: Path) -> None:
    events = read_events(finished)
    logits, labels = evaluated_again(finished)
    for digit in range(10):
        true_positives, false_positives, *_ = curve(events, f"validation_precision_recall/digit_{digit}")
        middle = true_positives.shape[0] // 2
        predicted = logits.softmax(dim=1)[:, digit] >= middle / (true_positives.shape[0] - 1)
        assert true_positives[middle] == (predicted & (labels == digit)).sum()
        assert false_positives[middle] == (predicted & (labels != digit)).sum()


def made_up(logits: Tensor, labels: Tensor) -> EvaluationResult:
    images = torch.arange(len(labels), dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 28, 28)
    order = torch.arange(len(labels)).flip(0)  # the images are told apart by their pixels
    return EvaluationResult(logits, labels, order, LabelledImages(images, labels.flip(0)), epoch=1, class_names=DIGITS)


def test_mistakes_are_wrong_and_the_most_confident_is_first() -> None:
    logits = torch.randn(100, 10, generator=torch.Generator().manual_seed(0))
    result = made_up(logits, torch.arange(100) % 10)
    mistakes = most_confident_mistakes(result, 12)
    probabilities, predictions = logits.softmax(dim=1).max(dim=1)
    wrong = predictions != result.labels
    assert (mistakes.predictions != mistakes.labels).all()
    assert torch.equal(mistakes.probabilities, probabilities[wrong].sort(descending=True).values[:12])
    positions = 99 - mistakes.images[:, 0, 0, 0].long()
    assert torch.equal(result.labels[positions], mistakes.labels)
    assert torch.equal(probabilities[positions], mistakes.probabilities)


def test_few_or_no_mistakes() -> None:
    labels = torch.arange(20) % 10
    logits = torch.nn.functional.one_hot(labels, 10).float()
    assert len(most_confident_mistakes(made_up(logits, labels), 12).labels) == 0
    logits[4] = logits[5]
    assert most_confident_mistakes(made_up(logits, labels), 12).predictions.tolist() == [5]


def test_the_augmented_batch_is_the_training_batch(finished: Path) -> None:
    picture = pixels(read_events(finished), "augmentation/stored_above_augmented_below")
    data = DigitsDataModule(dataset="offline_digits", batch_size=64)
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    for row, augment in enumerate((False, True)):
        prepared = data.prepare(batch, augment).images[5, 0]
        top, left = 2 + row * 58, 2 + 5 * 58  # 2 × 28 pixels each, and a line of 2
        found = picture[top : top + 56 : 2, left : left + 56 : 2, 0] / 255
        np.testing.assert_allclose(found, prepared.clamp(0, 1).numpy(), atol=1 / 255)


def test_filters_match_the_checkpoint(finished: Path) -> None:
    picture = pixels(read_events(finished), "first_layer/filters")[..., 0] / 255
    net = load_classifier(finished / "checkpoints" / "last.ckpt").net
    weight = net.get_parameter("layers.0.weight")[:, 0].detach()
    for number in range(10):
        left = 4 + number * 52  # 3 × 16 pixels each, and a gap of 4
        found = picture[4 : 4 + 48 : 16, left : left + 48 : 16]
        np.testing.assert_allclose(found, (weight[number] / (2 * weight.abs().max()) + 0.5).numpy(), atol=2 / 255)


def test_feature_maps_of_every_layer(finished: Path) -> None:
    """10, 18, 18, 28, 28 and 10 maps of 56 × 56 pixels, ten per row, separated by two pixels."""
    events = read_events(finished)
    sizes = [pixels(events, tag).shape[:2] for tag in FEATURE_MAPS]
    rows = [1, 2, 2, 3, 3, 1]
    assert sizes == [(58 * num + 2, 582) for num in rows]
    assert all(pixels(events, tag).max() == 255 for tag in FEATURE_MAPS)


def test_hyperparameters_and_their_metrics(fit: Fit) -> None:
    folder = fit("--model.max_lr", "0.07", "--early_stopping.stopping_threshold", "null", dashboards=True)
    events = read_events(folder)
    started = hparams_of(events, "session_start_info").session_start_info
    assert started.hparams["model.max_lr"].number_value == 0.07
    assert started.hparams["data.seed"].number_value == 0
    assert started.hparams["model.optimizer"].string_value == "sgd"
    assert started.hparams["early_stopping.stopping_threshold"].string_value == "none"
    assert not [name for name in started.hparams if "instantiator" in name or "data_dir" in name]
    experiment = hparams_of(events, "experiment").experiment
    assert [metric.name.tag for metric in experiment.metric_infos] == METRICS
    assert {info.name for info in experiment.hparam_infos if info.differs} == set(SHOWN_FIRST)
    assert {info.name for info in experiment.hparam_infos} == set(started.hparams)
    assert {tag for tag in METRICS if "test" not in tag} <= set(events.Tags()["scalars"])
    assert hparams_of(events, "session_end_info").session_end_info.status  # success
    assert "_instantiator" not in (folder / "hparams.yaml").read_text()


def test_a_setting_has_the_same_type_in_all_runs() -> None:
    settings: Settings = {
        "model": {"max_lr": 0.1, "nesterov": True},
        "trainer": {"max_epochs": 3, "gradient_clip_val": None, "plugins": []},
    }
    assert flat_settings(settings) == {
        "model.max_lr": 0.1,
        "model.nesterov": "True",
        "trainer.max_epochs": "3",
        "trainer.gradient_clip_val": "none",
        "trainer.plugins": "none",
    }


def test_the_histograms_of_an_epoch_that_max_steps_ends(fit: Fit) -> None:
    events = read_events(fit("--trainer.max_steps", "4", dashboards=True))
    names = events.Tags()["histograms"]
    assert len(names) == 36
    assert all(steps(events, "Histograms", name) == [1, 2] for name in names)


def test_the_embedding_shows_some_images_of_each_class(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mnist_lightning.tensorboard.embedding.MAX_IMAGES", 100)
    folder = fit(dashboards=True)
    (table,) = folder.glob("0*/features/metadata.tsv")
    _, *rows = table.read_text().splitlines()
    _, labels = evaluated_again(folder)
    assert [row.split("\t")[0] for row in rows] == [str(label) for label in labels[::4].tolist()]  # of 360


def test_the_embedding_shows_the_evaluated_images(finished: Path) -> None:
    (directory,) = finished.glob("0*/features")
    logits, labels = evaluated_again(finished)
    header, *rows = (directory / "metadata.tsv").read_text().splitlines()
    assert header == "digit\tprediction"
    predictions = logits.argmax(dim=1)
    assert rows == [f"{label}\t{prediction}" for label, prediction in zip(labels, predictions, strict=True)]
    vectors = np.loadtxt(directory / "tensors.tsv")
    assert vectors.shape == (360, 50)
    with Image.open(directory / "sprite.png") as sprite:
        assert sprite.size == (19 * 28, 19 * 28)  # 19² ≥ 360
    assert f"{directory.parent.name}/features/tensors.tsv" in (finished / "projector_config.pbtxt").read_text()


@pytest.mark.parametrize(
    ("net", "num_features"),
    [
        (OptimizedNet(), 10 * 7 * 7),  # input of the global average pooling
        (OptimizedNet(head="fully_connected"), 10 * 7 * 7),
        (BaselineNet(), 1024 * 3 * 3),
    ],
)
def test_features_are_the_input_of_the_head(net: torch.nn.Module, num_features: int) -> None:
    images = torch.randn(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features, logits = last_features(net.eval(), images)
        assert features is not None
        assert features.shape == (4, num_features)
        assert torch.equal(logits, net(images))


def test_principal_components_keep_distances() -> None:
    features = torch.randn(30, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    components = principal_components(features, 50)
    # Not by matrix products, whose rounding would give an image a distance to itself.
    found, wanted = (
        torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist") for points in (components, features)
    )
    torch.testing.assert_close(found, wanted)
    variances = components.var(dim=0)
    assert torch.equal(variances, variances.sort(descending=True).values)


@pytest.mark.parametrize("options", [(), ("--model.backend", "layers", "--data.validation", "none")])
def test_dashboards_do_not_change_training(fit: Fit, options: tuple[str, ...]) -> None:
    """Includes the global random numbers: checkpoints contain their state too."""
    states: list[Tensor] = []

    class RandomState(Callback):
        @override
        def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            states.append(torch.get_rng_state())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules[__name__], "RandomState", RandomState, raising=False)
        added = f"--trainer.callbacks+={__name__}.RandomState"
        shown, plain = (weights(fit(*options, added, dashboards=dashboards)) for dashboards in (True, False))
    assert shown.keys() == plain.keys()
    assert all(torch.equal(shown[name], plain[name]) for name in shown)
    assert torch.equal(*states)


def test_without_validation_the_test_is_drawn(fit: Fit) -> None:
    folder = fit("--data.validation", "none", dashboards=True)
    events = read_events(folder)
    images = events.Tags()["images"]
    assert {f"test/{name}" for name in EACH_EPOCH} <= set(images)
    assert not [tag for tag in images if tag.startswith("validation")]
    assert steps(events, "Images", "test/confusion_matrix") == [2]
    assert steps(events, "Tensors", "test_precision_recall/digit_0") == [2]
    report = read_report(folder)
    (accuracy,) = events.Scalars("by_epoch/test_accuracy")
    assert (accuracy.step, accuracy.value) == (2, pytest.approx(report["test"]["accuracy"]))
    assert len(list(folder.glob("0*/features"))) == 1
    assert text(events, "run/report").strip() == (folder / "report.md").read_text().strip()


def test_an_epoch_without_validation_is_not_drawn(fit: Fit) -> None:
    events = read_events(fit("--trainer.max_epochs", "3", "--trainer.check_val_every_n_epoch", "2", dashboards=True))
    assert steps(events, "Images", "validation/confusion_matrix") == [2]
    assert steps(events, "Images", "first_layer/filters") == [1, 2, 3]


@pytest.mark.parametrize(
    "options",
    [
        ("--model.network", "baseline_relu_on_logits", "--data.batch_size", "8", "--data.eval_batch_size", "20"),
        ("--model.head", "fully_connected", "--model.batch_norm", "false"),
        ("--model.optimizer", "muon", "--model.test_time_augmentation", "true", "--weight_average.decay", "0.9"),
        ("--trainer.precision", "bf16-true", "--trainer.gradient_clip_val", "1"),
        ("--trainer.num_sanity_val_steps", "1", "--trainer.max_steps", "2", "--trainer.accumulate_grad_batches", "2"),
        ("--data.validation", "holdout", "--data.num_holdout", "100", "--model.channels", "[50,90,90,140,140]"),
    ],
)
def test_every_kind_of_run_is_shown(fit: Fit, options: tuple[str, ...]) -> None:
    folder = fit(*options, "--trainer.max_epochs", "1", "--trainer.limit_val_batches", "1", dashboards=True)
    tags = read_events(folder).Tags()
    assert {"validation/confusion_matrix", "first_layer/filters", "feature_maps/after_layer_6"} <= set(tags["images"])
    assert [tag for tag in tags["histograms"] if tag.startswith("gradients/")]
    assert tags["graph"]
    assert list(folder.glob("0*/features/tensors.tsv"))


def test_a_resumed_run_continues_in_its_folder(fit: Fit) -> None:
    folder = fit("--model.schedule", "constant", "--trainer.max_epochs", "1", dashboards=True)
    last = str(folder / "checkpoints" / "last.ckpt")
    go_on = ["fit", "--config", str(folder / "config.yaml"), "--trainer.max_epochs", "2", "--ckpt_path", last]
    main(go_on)
    events = read_events(folder)
    assert steps(events, "Images", "validation/confusion_matrix") == [1, 2]
    assert steps(events, "Images", "augmentation/stored_above_augmented_below") == [1, 2]
    assert "| 2 |" in text(events, "run/report")
    before = sorted(folder.rglob("*.tsv"))
    assert len(before) == 2 * 2  # features at each end of a run
    main(go_on)  # finished already
    assert sorted(folder.rglob("*.tsv")) == before


@pytest.mark.slow
def test_two_processes_draw_all_images(fit: Fit, tmp_path: Path) -> None:
    """Each evaluates 180 of 360 images, in batches of 50; same result as one process with the same weights."""
    options = ["--data.eval_batch_size", "50", "--trainer.limit_train_batches", "3", "--trainer.max_epochs", "1"]
    run_ranks(2, tmp_path, "fit", "--config", "configs/offline.yaml", *options)
    (folder,) = tmp_path.glob("offline/version_*")
    events = read_events(folder)
    assert steps(events, "Images", "validation/confusion_matrix") == [1]
    (directory,) = folder.glob("0*/features")
    logits, labels = evaluated_again(folder)
    rows = (directory / "metadata.tsv").read_text().splitlines()[1:]
    predictions = logits.argmax(dim=1)
    assert rows == [f"{label}\t{prediction}" for label, prediction in zip(labels, predictions, strict=True)]
    true_positives, false_positives, *_ = curve(events, "validation_precision_recall/digit_3")
    assert true_positives[0] == (labels == 3).sum()
    assert false_positives[0] == (labels != 3).sum()


@pytest.mark.slow
def test_figures_need_no_display(fit: Fit) -> None:
    """The matplotlib backend of the user's environment is not started."""
    code = "import sys; from mnist_lightning.main import main; main(sys.argv[1:]); import matplotlib.pyplot as plt; "
    code += "assert plt.get_fignums() == []"
    folder = fit("--trainer.max_epochs", "1", dashboards=True)
    args = ["fit", "--config", str(folder / "config.yaml"), "--trainer.default_root_dir", str(folder)]
    environment = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    environment |= {"MPLBACKEND": "TkAgg", "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, "-c", code, *args], env=environment, cwd=PROJECT, check=True, stdout=subprocess.DEVNULL
    )


def test_an_evaluation_belongs_to_its_epoch() -> None:
    evaluation = Evaluation()
    assert evaluation.of_epoch(1) is None
    evaluation.last = made_up(torch.zeros(1, 10), torch.zeros(1, dtype=torch.int64))
    assert evaluation.of_epoch(1) is evaluation.last
    assert evaluation.of_epoch(2) is None


def test_the_cost_includes_every_dashboard(in_project: None) -> None:
    short = ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "2"]
    figures = measure("--data.dataset", "offline_digits", *short)
    run_report = RunRecord(None, "", {"model": {}})
    names = {type(callback).__name__ for callback in tensorboard_callbacks(run_report)}
    assert figures["hook_seconds_by_callback"].keys() == names | {"ScalarLogger", "Throughput"}
    assert sum(figures["hook_seconds_by_callback"].values()) == pytest.approx(figures["hook_seconds"])
    assert figures["share"] == figures["hook_seconds"] / figures["training_seconds"]
    assert figures["epochs"] == 1
