"""The callback that writes TensorBoard's figures, images, histograms, settings and texts."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams
from torchmetrics.functional.classification import multiclass_confusion_matrix
from torchmetrics.utilities.distributed import gather_all_tensors
from typing_extensions import override

from mnist_lightning.callbacks.progress import classifier_of
from mnist_lightning.callbacks.record import RunRecord
from mnist_lightning.data.batches import Batch
from mnist_lightning.figures.mistakes import confusion_figure, mistakes_figure
from mnist_lightning.figures.style import in_our_style
from mnist_lightning.runs.settings import Settings
from mnist_lightning.tensorboard.grids import feature_map_grids, filters_grid

NUM_BINS = 64  # of a histogram: TensorBoard shows 30, and the writer's default of 1,500 takes five times as long

# The HParams page, which compares runs. Its columns of accuracies: the last value of each of these scalars, or a blank.
# All runs name the same ones, because TensorBoard takes the columns from the first run it finds.
METRICS = [f"by_epoch/{stage}_{name}" for stage in ("val", "test", "train") for name in ("accuracy", "loss")]


class Dashboards(Callback):
    """Writes to the run's first TensorBoardLogger, if it has one; other loggers get the settings.

    Of each epoch: the confusion matrix and the most confident mistakes of its last validation, the first layer's
    filters, the feature maps of one image, and histograms of weights and gradients. Of a run without validation, the
    test at its end is shown.
    """

    def __init__(self, record: RunRecord) -> None:
        self._record = record  # of the same run; must come before this callback
        # Logits (B, num_classes), labels (B,) and indices (B,) of each batch, on the device.
        self._evaluated: list[tuple[Tensor, Tensor, Tensor]] = []

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for logger in trainer.loggers:
            logger.log_hyperparams(self._record.settings)
        if writer := _writer(trainer):
            for event in hparams_events(self._record.settings):  # before the first step, for runs that are killed
                writer._get_file_writer().add_summary(event)

    @override
    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        # Not at the epoch's end: Lightning frees the gradients before validation.
        if (trainer.is_last_batch or trainer.global_step == trainer.max_steps) and (writer := _writer(trainer)):
            for name, parameter in classifier_of(pl_module).net.named_parameters():
                for group, values in (("weights", parameter.detach()), ("gradients", parameter.grad)):
                    if values is not None and values.isfinite().all():
                        writer.add_histogram(f"{group}/{name}", values.float(), trainer.current_epoch + 1, NUM_BINS)

    @override
    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int, *args: Any
    ) -> None:
        if batch_idx == 0:
            self._evaluated.clear()  # of an earlier validation in the same epoch
        if not trainer.sanity_checking:
            assert batch.indices is not None
            self._evaluated.append((outputs, batch.labels, batch.indices.to(batch.labels.device)))

    on_test_batch_end = on_validation_batch_end  # type: ignore[assignment]

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        self._write_evaluation(trainer, pl_module, "validation", epoch)
        if writer := _writer(trainer):
            classifier = classifier_of(pl_module)
            if conv := next((layer for layer in classifier.net.modules() if isinstance(layer, nn.Conv2d)), None):
                writer.add_image("first_layer/filters", filters_grid(conv), epoch)
            image = trainer.datamodule.images("train").images[:1]  # type: ignore[attr-defined]
            for number, grid in enumerate(feature_map_grids(classifier, image), start=1):
                writer.add_image(f"feature_maps/after_layer_{number}", grid, epoch)

    @override
    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write_evaluation(trainer, pl_module, "test", trainer.current_epoch)

    @in_our_style
    def _write_evaluation(self, trainer: Trainer, pl_module: LightningModule, stage: str, epoch: int) -> None:
        if not self._evaluated:
            return
        parts = [torch.cat(part) for part in zip(*self._evaluated, strict=True)]
        self._evaluated.clear()
        if trainer.world_size > 1:  # a collective call: every process reaches it
            parts = [torch.cat(gather_all_tensors(part)) for part in parts]
        logits, labels, indices = parts
        writer = _writer(trainer)
        if writer is None or not logits.isfinite().all():
            return
        names = classifier_of(pl_module).class_names
        data = trainer.datamodule.images("val" if stage == "validation" else "test")  # type: ignore[attr-defined]
        images, labels = data.images.cpu()[indices.cpu()], labels.cpu()
        probabilities = logits.float().softmax(dim=1).cpu()  # (N, num_classes)
        counts = multiclass_confusion_matrix(probabilities, labels, len(names))
        title = f"{stage}, epoch {epoch}: {len(labels):,} images"
        writer.add_figure(f"{stage}/confusion_matrix", confusion_figure(counts, names, title), epoch)
        figure = mistakes_figure(images, labels, probabilities, names, title)
        writer.add_figure(f"{stage}/confident_mistakes", figure, epoch)


def hparams_events(settings: Settings) -> list[Any]:
    """The two events of the HParams page: its columns, and the settings of this run.

    Not by the logger's `log_hyperparams`: it would add a value to each of the metrics before the first epoch.
    """
    # The page's filters need the same type in all runs, so settings of groups that may hold null become strings.
    values = {
        f"{group}.{name}": value if group in ("model", "data") and not isinstance(value, bool | list) else str(value)
        for group, each in settings.items()
        for name, value in each.items()
    }
    columns, session, _ = hparams(values, dict.fromkeys(METRICS, 0.0))
    return [columns, session]


def _writer(trainer: Trainer) -> SummaryWriter | None:
    """The first TensorBoardLogger's writer; None without such a logger, and in all processes except the first."""
    if not trainer.is_global_zero:
        return None
    return next((logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)), None)
