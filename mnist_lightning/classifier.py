"""The LightningModule: a network, its loss, its metrics and its recipe."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from math import prod
from typing import Any, Literal, NamedTuple

import torch
from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat, OpenUnitInterval, PositiveFloat, PositiveInt
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (the name that all of PyTorch uses)
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy
from typing_extensions import override

from mnist_lightning.data.batches import Batch, TrainingBatches, one_pixel_shifts, seed_dropout
from mnist_lightning.data.datasets import DIGITS, MNIST_PIXELS
from mnist_lightning.errors import DivergenceError, UserError, check_choices
from mnist_lightning.fast.fused_layers import fused_forward
from mnist_lightning.network import (
    CHANNELS,
    IMAGE_SHAPE,
    Head,
    LayeredNet,
    build_network,
    count_normed_convolutions,
    executed_layers,
)
from mnist_lightning.recipe import OptimizerName, Recipe, Schedule

Backend = Literal["fused", "layers"]
FiveChannels = tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt, PositiveInt]  # as in earlier checkpoints
# Below this probability, a drawing or photograph could be another digit, or none. Chosen for models/mnist.ckpt on the
# development set of benchmarks/own_digits: 0.6 % of the confident answers are wrong, 1.9 % of clean digits are "not
# sure", and 63 % of letters. The largest logit, the margin and the energy tell them apart no better.
SURE_PROBABILITY = 0.8
# A batch of the data module, or of any loader: images (B, 1, 28, 28), uint8 or float in [0, 1], and labels (B,) int64.
AnyBatch = Batch | tuple[Tensor, Tensor] | list[Tensor]


class Predictions(NamedTuple):
    """The likeliest class of each image."""

    classes: Tensor  # (B,) int64, indices into the classifier's class_names
    probabilities: Tensor  # (B,) float32, of that class


class DigitClassifier(LightningModule):
    """Trains a network on digits with cross-entropy and a one-cycle learning rate.

    Args:
        network: Which network: `optimized` has 18,962 parameters, `baseline` and `baseline_relu_on_logits` 6,379,786;
            or the path of a class, such as `my_package.MyNet`: it gets `num_classes`, `dropout`, `channels`,
            `batch_norm` and `head` if it has arguments of these names.
        dropout: Probability of dropping an activation, before each pooling of the optimized network.
        channels: Channels of the optimized network's convolutions, in blocks with a pooling between them, such as
            `[[10, 18], [18, 28], [28]]`; one convolution with a channel per class follows.
        batch_norm: Batch norm after each convolution of the optimized network; without it, convolutions have a bias.
        head: Last layer of the optimized network: global `average_pooling`, or a `fully_connected` layer.
        optimizer: `sgd`, or `muon`, which orthogonalises the convolutions' updates: it learns faster, needs batch norm
            after every convolution, and uses `muon_lr` and `muon_momentum` for the convolutions.
        max_lr: Peak of the one-cycle learning rate, or the constant rate.
        schedule: `one_cycle` rises to max_lr and falls to almost 0 at the run's last step; `constant` is always max_lr.
        pct_start: Fraction of the steps spent warming up.
        momentum: Momentum; with `sgd`, the one-cycle schedule replaces it with a cycle between 0.95 and 0.85.
        nesterov: Use Nesterov momentum with `sgd`; `muon` always does.
        weight_decay: L2 penalty on all parameters; with `muon`, on all but the convolutions.
        muon_lr: Peak learning rate of the convolutions with `muon`: the relative size of a step.
        muon_momentum: Momentum of the convolutions with `muon`.
        test_time_augmentation: Average the logits of each image and its eight shifts by one pixel: slightly more
            accurate, at nine times the cost. The test also reports the accuracy without it.
        channels_last: Use channels-last memory order, which is faster; the results are equal up to rounding.
        backend: How the network is computed: `fused` computes convolution, batch norm, ReLU, dropout and pooling
            together on a CPU, and falls back to `layers` on a GPU, or if your network is no `LayeredNet`; `layers`
            calls PyTorch's layers one by one. Both are equal up to rounding; dropout draws other activations.
        class_names: Names of the classes, in the order of the labels. The command `fit` takes this and the next two
            from the data; from Python, pass `**data.classifier_settings`.
        pixel_mean: Mean of the training images' pixels, in [0, 1], which is subtracted.
        pixel_std: Standard deviation of the training images' pixels, which divides.

    Raises:
        UserError: the arguments do not work together, or the network cannot be built.
    """

    def __init__(
        self,
        network: str = "optimized",
        dropout: ClosedUnitInterval = 0.05,
        channels: tuple[tuple[PositiveInt, ...], ...] | FiveChannels = CHANNELS,
        batch_norm: bool = True,
        head: Head = "average_pooling",
        optimizer: OptimizerName = "sgd",
        max_lr: PositiveFloat = 0.1,
        schedule: Schedule = "one_cycle",
        pct_start: OpenUnitInterval = 0.2,
        momentum: ClosedUnitInterval = 0.9,
        nesterov: bool = False,
        weight_decay: NonNegativeFloat = 1e-4,
        muon_lr: PositiveFloat = 0.1,
        muon_momentum: ClosedUnitInterval = 0.6,
        test_time_augmentation: bool = False,
        channels_last: bool = True,
        backend: Backend = "fused",
        class_names: tuple[str, ...] = DIGITS,
        pixel_mean: float = MNIST_PIXELS.mean,
        pixel_std: PositiveFloat = MNIST_PIXELS.std,
    ) -> None:
        super().__init__()
        check_choices(DigitClassifier, locals())
        if len(set(class_names)) < max(2, len(class_names)):
            raise UserError(f"class_names={class_names!r}: use at least two names, each once.")
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.net = build_network(
            network,
            self.memory_format,
            num_classes=len(class_names),
            dropout=dropout,
            channels=channels,
            batch_norm=batch_norm,
            head=head,
        )
        if optimizer == "muon":
            _check_convolutions(self.net)
        self.save_hyperparameters(ignore=["_instantiator"])  # added by the framework's command line
        self.test_time_augmentation = test_time_augmentation
        self.backend = backend
        self.class_names = tuple(class_names)
        self.pixel_mean = pixel_mean
        self.pixel_std = pixel_std
        self.inverts = False  # whether its training images were inverted; not a setting of the network
        metrics = MetricCollection(
            {
                "loss": MeanMetric(nan_strategy="disable"),
                "accuracy": MulticlassAccuracy(len(class_names), average="micro", validate_args=False),
            }
        )
        self.train_metrics = metrics.clone(prefix="train/")
        self.val_metrics = metrics.clone(prefix="val/")
        self.test_metrics = metrics.clone(prefix="test/")
        self.single_view_metrics = metrics.clone(prefix="test/single_view_")

    @property
    def recipe(self) -> Recipe:
        """The optimizer and its schedule; from `hparams`, which the framework's learning rate finder changes."""
        return Recipe(**{field.name: self.hparams[field.name] for field in fields(Recipe)})

    @override
    def forward(self, images: Tensor) -> Tensor:
        """Maps images (B, 1, 28, 28), uint8 or float in [0, 1], to logits (B, num_classes).

        Raises:
            UserError: the images have another shape or type.
        """
        # The check makes a GPU wait. In the Trainer, `_images_and_labels` checks the batches.
        is_in_trainer = self._trainer is not None and self._trainer.state.status == "running"
        if not (is_in_trainer or (self.training and images.device.type != "cpu")):
            check_range(images)
        # With --trainer.precision 16-true or bf16-true, the network is in half precision, and the images are float32.
        dtype = next(self.net.parameters()).dtype
        images = self.normalised(as_pixels(images)).to(dtype, memory_format=self.memory_format)
        is_fusible = images.device.type == "cpu" and images.dtype in (torch.float32, torch.float64)
        is_fusible = is_fusible and torch.get_autocast_dtype("cpu") != torch.float16
        if self.backend == "fused" and is_fusible and isinstance(self.net, LayeredNet):
            return fused_forward(self.net.layers, images)
        logits: Tensor = self.net(images)
        return logits

    def normalised(self, images: Tensor) -> Tensor:
        """Images of any shape, float in [0, 1], normalised by the training images' mean and standard deviation."""
        normalised: Tensor = (images - self.pixel_mean) / self.pixel_std
        return normalised

    def _images_and_labels(self, batch: AnyBatch, batch_idx: int) -> tuple[Tensor, Tensor]:
        """The images, float in [0, 1], and labels of a batch, checked where that does not make each step wait."""
        images, labels = batch[:2]
        # Of the data module's batches the first suffices; others are all checked, unless that makes a GPU wait.
        if batch_idx == 0 or (images.device.type == "cpu" and not isinstance(batch, Batch)):
            check_range(images)
            check_labels(labels, len(images), len(self.class_names))
        return as_pixels(images), labels.long()

    def _view_logits(self, images: Tensor) -> Tensor:
        """Logits (V, B, num_classes) that an evaluation averages: of the images (B, 1, 28, 28) and their shifts."""
        views = one_pixel_shifts(images) if self.test_time_augmentation else images.unsqueeze(0)
        logits: Tensor = self(views.flatten(0, 1))
        return logits.float().view(*views.shape[:2], logits.shape[-1])

    def probabilities(self, images: Tensor) -> Tensor:
        """Probabilities (B, num_classes) for images (B, 1, 28, 28), uint8 or float in [0, 1], as in an evaluation.

        Raises:
            UserError: the images have another shape, type or range.
            DivergenceError: the logits are not finite.
        """
        check_range(images)
        logits = self._view_logits(images).mean(dim=0)
        check_finite(logits)
        return logits.softmax(dim=1)

    def _loss(self, logits: Tensor, labels: Tensor, metrics: MetricCollection) -> Tensor:
        loss = F.cross_entropy(logits, labels)  # ()
        # One value per image, so that a smaller last batch counts for less: with nan_strategy="disable", MeanMetric
        # ignores its `weight`.
        metrics.update(value=loss.detach().expand(len(labels)), preds=logits.detach(), target=labels)
        return loss

    @override
    def training_step(self, batch: AnyBatch, batch_idx: int) -> dict[str, Tensor]:
        if isinstance(batch, Batch):
            seed_dropout(batch.dropout_seed, batch.images.device)
        images, labels = self._images_and_labels(batch, batch_idx)
        logits = self(images).float()  # (B, num_classes), float32 also under autocast
        return {"loss": self._loss(logits, labels, self.train_metrics), "logits": logits.detach()}

    @override
    def validation_step(self, batch: AnyBatch, batch_idx: int) -> Tensor:
        images, labels = self._images_and_labels(batch, batch_idx)
        logits = self._view_logits(images).mean(dim=0)  # (B, num_classes)
        self._loss(logits, labels, self.val_metrics)
        return logits  # for the callbacks

    @override
    def test_step(self, batch: AnyBatch, batch_idx: int) -> Tensor:
        images, labels = self._images_and_labels(batch, batch_idx)
        views = self._view_logits(images)
        logits = views.mean(dim=0)
        self._loss(logits, labels, self.test_metrics)
        if self.test_time_augmentation:
            self._loss(views[0], labels, self.single_view_metrics)
        return logits

    @override
    def predict_step(self, batch: AnyBatch | Tensor, batch_idx: int) -> Predictions:
        images = batch if isinstance(batch, Tensor) else batch[0]
        probabilities, classes = self.probabilities(images).max(dim=1)
        return Predictions(classes, probabilities)

    @override
    def setup(self, stage: str) -> None:
        _raise_stop_iteration(self.trainer)
        check_classes(self.class_names, self.trainer.datamodule)  # type: ignore[attr-defined]

    @override
    def on_train_start(self) -> None:
        batches = self.trainer.train_dataloader
        if isinstance(batches, TrainingBatches) and batches.last_batch_size == 1:
            _check_single_image(self.net, len(batches.data.labels))

    @override
    def on_train_epoch_start(self) -> None:
        self.train_metrics.reset()
        self.val_metrics.reset()  # so that an epoch without validation does not report an earlier one's

    @override
    def on_train_epoch_end(self) -> None:
        self.log_dict(self.train_metrics.compute())

    @override
    def on_validation_epoch_start(self) -> None:
        self.val_metrics.reset()

    @override
    def on_validation_epoch_end(self) -> None:
        self.log_dict(self.val_metrics.compute())

    @override
    def on_test_epoch_start(self) -> None:
        self.test_metrics.reset()
        self.single_view_metrics.reset()

    @override
    def on_test_epoch_end(self) -> None:
        self.log_dict(self.test_metrics.compute())
        if self.test_time_augmentation:
            self.log_dict(self.single_view_metrics.compute())

    @override
    def configure_optimizers(self) -> OptimizerLRScheduler:
        recipe = self.recipe
        callbacks = self.trainer.callbacks  # type: ignore[attr-defined]
        if recipe.schedule == "one_cycle" and any(
            isinstance(each, GradientAccumulationScheduler) for each in callbacks
        ):
            raise UserError(
                "--trainer.callbacks GradientAccumulationScheduler changes the number of steps, so a one-cycle "
                "schedule would not end. Use --trainer.accumulate_grad_batches, or --model.schedule constant."
            )
        optimizer, schedule = recipe.build(self.parameters(), self.trainer.estimated_stepping_batches)
        if schedule is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def as_pixels(images: Tensor) -> Tensor:
    """Images (B, 1, 28, 28), uint8 or float in [0, 1], as float in [0, 1]; raises a UserError for others."""
    if images.shape[1:] != IMAGE_SHAPE or not (images.is_floating_point() or images.dtype == torch.uint8):
        raise UserError(
            f"images with shape {tuple(images.shape)} and type {images.dtype}: use (B, 1, 28, 28), as uint8 or as "
            "float in [0, 1]."
        )
    return images if images.is_floating_point() else images / 255


def check_range(images: Tensor) -> None:
    """Raises a UserError if float images of any shape leave [0, 1], as after a `Normalize`. Waits for the device."""
    if images.is_floating_point() and images.numel():
        low, high = (float(end) for end in images.aminmax())
        if not -0.001 <= low <= high <= 1.001:  # bilinear interpolation rounds
            raise UserError(
                f"pixels from {low:.4g} to {high:.4g}: use uint8, or floats in [0, 1]. The classifier normalises them "
                "itself, so omit a `Normalize`."
            )


def check_labels(labels: Tensor, num_images: int, num_classes: int) -> None:
    """Raises a UserError if labels (B,) are not one class index per image, as integers. Waits for the device."""
    is_integer = not (labels.is_floating_point() or labels.is_complex())
    if (
        labels.shape != (num_images,)
        or not is_integer
        or not ((labels.long() >= 0) & (labels.long() < num_classes)).all()
    ):
        raise UserError(
            f"labels with shape {tuple(labels.shape)} and type {labels.dtype}: use ({num_images},) integers from 0 to "
            f"{num_classes - 1}, the index of each image's class."
        )


def check_classes(class_names: tuple[str, ...], data: object) -> None:
    """Raises a UserError if a data module has other classes than a network; other loaders have no names."""
    found = getattr(data, "class_names", class_names)
    if found and tuple(found) != class_names:
        raise UserError(
            f"the network has the classes {', '.join(class_names)}, but {getattr(data, 'title', 'the data')} has "
            f"{', '.join(found)}. From Python, use DigitClassifier(**data.classifier_settings) to train; for a trained "
            "network, name the images of its classes with --data.dataset and --data.data_dir, or --data_dir."
        )


def check_finite(outputs: Tensor) -> None:
    """Raises a DivergenceError if the output of a trained network, of any shape, is not all finite."""
    if not outputs.isfinite().all():
        raise DivergenceError(
            "the network's outputs are not finite: its weights are too large. Use another checkpoint."
        )


def _check_convolutions(net: nn.Module) -> None:
    """Checks what Muon needs: it fixes the norm of each convolution's weights, and knows them by their dimensions."""
    num_normed, num_convolutions = count_normed_convolutions(executed_layers(net))
    num_weights = sum(each.ndim == 4 for each in net.parameters())
    if not num_normed == num_convolutions == num_weights > 0:
        raise UserError(
            f"--model.optimizer muon needs batch norm after each convolution: the network has {num_weights} "
            f"weights with four dimensions, and batch norm after {num_normed} of {num_convolutions} convolutions. Use "
            "--model.optimizer sgd."
        )


def _check_single_image(net: nn.Module, num_images: int) -> None:
    """Refuses a last batch of one image if batch norm would have one value per channel, and no variance."""
    for layer in executed_layers(net):
        if isinstance(layer.module, nn.modules.batchnorm._BatchNorm) and prod(layer.input.shape[2:]) == 1:
            raise UserError(
                f"--data.batch_size leaves a last batch of one image, of {num_images:,}, which the network's "
                f"{type(layer.module).__name__} cannot normalise. Use another --data.batch_size."
            )


def _raise_stop_iteration(trainer: Trainer) -> None:
    """Makes a StopIteration from a step or hook an error: the framework would take it for the end of the data.

    The profiler is the one public place through which the framework calls every step and hook;
    tests/test_wrong_results.py fails if that changes.
    """
    profiler: Any = trainer.profiler  # type: ignore[attr-defined]
    profile = profiler.profile

    @contextmanager
    def checked(action: str) -> Iterator[str]:
        try:
            with profile(action) as name:
                yield name
        except StopIteration as error:
            # Not a RuntimeError, which `contextmanager` would take for Python's own, and raise StopIteration again.
            raise ValueError(f"StopIteration in {action}: give each `next()` a default value") from error

    if "profile" not in vars(profiler):
        profiler.profile = checked
