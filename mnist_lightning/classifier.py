"""The LightningModule: a network, its loss, its metrics and its recipe."""

from typing import Literal, NamedTuple

import torch
from jsonargparse.typing import OpenUnitInterval, PositiveFloat
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (the name that all of PyTorch uses)
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy
from typing_extensions import override

from mnist_lightning.bounds import BelowOne, Channels, Rate, RateOrZero, check_arguments
from mnist_lightning.data.augmentation import one_pixel_shifts
from mnist_lightning.data.batches import Batch
from mnist_lightning.data.datasets import DIGITS, MNIST_PIXELS
from mnist_lightning.data.seeds import seed_dropout
from mnist_lightning.errors import DivergenceError, UserError
from mnist_lightning.fast.fused_layers import fused_forward
from mnist_lightning.network import CHANNELS, IMAGE_SHAPE, Head, LayeredNet, build_network, count_normed_convolutions
from mnist_lightning.recipe import OptimizerName, Recipe, Schedule

Backend = Literal["fused", "layers"]
# A batch of the data module, or of any loader of images (B, 1, 28, 28) float in [0, 1] and labels (B,) int64.
AnyBatch = Batch | tuple[Tensor, Tensor] | list[Tensor]


class Predictions(NamedTuple):
    """The likeliest class of each image."""

    classes: Tensor  # (B,) int64, indices into the classifier's class_names
    probabilities: Tensor  # (B,) float32, of that class


def check_finite(outputs: Tensor) -> None:
    """Checks the output of a checkpoint's network.

    Args:
        outputs: logits (..., num_classes), or a loss ().

    Raises:
        DivergenceError: they are not all finite.
    """
    if not outputs.isfinite().all():
        raise DivergenceError(
            "the outputs of this checkpoint's network are not finite: its weights are too large. Name another "
            "checkpoint with --ckpt_path (in `report`, with --checkpoint)."
        )


class DigitClassifier(LightningModule):
    """Trains a network on digits with cross-entropy and a one-cycle learning rate.

    Args:
        network: Which network: `optimized` has 18,962 parameters, `baseline` and `baseline_relu_on_logits` 6,379,786;
            or the path of a class, such as `my_package.MyNet`: it gets `num_classes`, `dropout`, `channels`,
            `batch_norm` and `head` if it has arguments of these names.
        dropout: Probability of dropping an activation, before each pooling of the optimized network.
        channels: Channels of the optimized network's first five convolutions, such as `[10, 18, 18, 28, 28]`.
        batch_norm: Batch norm after each convolution of the optimized network; without it, convolutions have a bias.
        head: Last layer of the optimized network: global `average_pooling`, or a `fully_connected` layer.
        optimizer: `sgd`, or `muon`, which orthogonalises the convolutions' updates: it learns faster, needs batch norm
            after every convolution, and uses `muon_lr` and `muon_momentum` for the convolutions.
        max_lr: Peak of the one-cycle learning rate, or the constant rate.
        schedule: `one_cycle` warms up to max_lr and anneals to almost 0 at the run's last step; `constant` stays at
            max_lr.
        pct_start: Fraction of the steps spent warming up.
        momentum: Momentum; with `sgd`, the one-cycle schedule replaces it with a cycle between 0.95 and 0.85.
        nesterov: Use Nesterov momentum with `sgd`; `muon` always does.
        weight_decay: L2 penalty on all parameters; with `muon`, on all but the convolutions.
        muon_lr: Peak learning rate of the convolutions with `muon`: the relative size of a step.
        muon_momentum: Momentum of the convolutions with `muon`.
        test_time_augmentation: Average the logits of each image and its eight shifts by one pixel: slightly more
            accurate, at nine times the cost. The test also reports the accuracy without it.
        channels_last: Use channels-last memory order, which is faster; the results are equal up to rounding.
        backend: How the network is computed, with equal results up to rounding: `fused` computes convolution, batch
            norm, ReLU, dropout and pooling together on a CPU, and is `layers` elsewhere, and with a network of yours
            unless it is a `LayeredNet`; `layers` calls PyTorch's layers one by one.
        class_names: Names of the classes, in the order of the labels. The command `fit` takes this and the next two
            from the data; from Python, pass `**data.classifier_settings`.
        pixel_mean: Mean of the training images' pixels, in [0, 1], which is subtracted.
        pixel_std: Standard deviation of the training images' pixels, which divides.
    """

    def __init__(
        self,
        network: str = "optimized",
        dropout: BelowOne = 0.05,
        channels: Channels = CHANNELS,
        batch_norm: bool = True,
        head: Head = "average_pooling",
        optimizer: OptimizerName = "sgd",
        max_lr: Rate = 0.1,
        schedule: Schedule = "one_cycle",
        pct_start: OpenUnitInterval = 0.2,
        momentum: BelowOne = 0.9,
        nesterov: bool = False,
        weight_decay: RateOrZero = 1e-4,
        muon_lr: Rate = 0.1,
        muon_momentum: BelowOne = 0.6,
        test_time_augmentation: bool = False,
        channels_last: bool = True,
        backend: Backend = "fused",
        class_names: tuple[str, ...] = DIGITS,
        pixel_mean: float = MNIST_PIXELS.mean,
        pixel_std: PositiveFloat = MNIST_PIXELS.std,
    ) -> None:
        super().__init__()
        check_arguments(DigitClassifier.__init__, locals())
        channels = tuple(channels)  # a checkpoint may hold a list
        is_printable = all(name.isprintable() and "$" not in name for name in class_names)  # matplotlib's formulas
        if len(set(class_names)) < max(2, len(class_names)) or not is_printable:
            raise UserError(
                f"class_names={class_names!r}: use at least two different names of printable characters, without $."
            )
        if optimizer == "sgd" and nesterov and momentum == 0:
            raise UserError(
                "--model.nesterov true needs momentum, but --model.momentum is 0. Use --model.momentum 0.9, or "
                "--model.nesterov false."
            )
        self.save_hyperparameters(ignore=["_instantiator"])  # added by the framework's command line
        # Plain floats: the command line passes subclasses, which a checkpoint must not hold.
        self.recipe = Recipe(
            optimizer=optimizer,
            max_lr=float(max_lr),
            schedule=schedule,
            pct_start=float(pct_start),
            momentum=float(momentum),
            nesterov=nesterov,
            weight_decay=float(weight_decay),
            muon_lr=float(muon_lr),
            muon_momentum=float(muon_momentum),
        )
        self.test_time_augmentation = test_time_augmentation
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.backend = backend
        self.class_names = tuple(class_names)
        self.pixel_mean = pixel_mean
        self.pixel_std = pixel_std
        self.net = build_network(
            network,
            self.memory_format,
            num_classes=len(class_names),
            dropout=dropout,
            channels=channels,
            batch_norm=batch_norm,
            head=head,
        )
        num_normed, num_convolutions = count_normed_convolutions(self.net)
        if optimizer == "muon" and not num_normed == num_convolutions > 0:
            raise UserError(
                "--model.optimizer muon fixes the norm of each convolution's weights and needs batch norm after each: "
                f"{network} has it after {num_normed} of {num_convolutions}. Use --model.network optimized with "
                "--model.batch_norm true, or --model.optimizer sgd."
            )
        if optimizer == "muon" and sum(each.ndim == 4 for each in self.net.parameters()) > num_convolutions:
            raise UserError(
                "--model.optimizer muon takes parameters with four dimensions for weights of convolutions, but "
                f"{network} has others. Use --model.optimizer sgd."
            )
        self.example_input_array = torch.zeros(1, *IMAGE_SHAPE)
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
    def net_dtype(self) -> torch.dtype:
        """The type of the network's parameters."""
        return next(self.net.parameters()).dtype

    @override
    def forward(self, images: Tensor) -> Tensor:
        """Maps images (B, 1, 28, 28) float in [0, 1] to logits (B, num_classes)."""
        # With --trainer.precision 16-true or bf16-true, the network is in half precision, and the images are float32.
        images = self.normalised(images).to(self.net_dtype, memory_format=self.memory_format)
        is_fusible = images.device.type == "cpu" and images.dtype in (torch.float32, torch.float64)
        if self.backend == "fused" and is_fusible and isinstance(self.net, LayeredNet):
            return fused_forward(self.net.layers, images)
        logits: Tensor = self.net(images)
        return logits

    def normalised(self, images: Tensor) -> Tensor:
        """Images of any shape, float in [0, 1], normalised by the training images' mean and standard deviation."""
        normalised: Tensor = (images - self.pixel_mean) / self.pixel_std
        return normalised

    def _view_logits(self, images: Tensor) -> Tensor:
        """Logits (V, B, num_classes) that an evaluation averages: of the images (B, 1, 28, 28) and their shifts."""
        views = one_pixel_shifts(images, background=0) if self.test_time_augmentation else images.unsqueeze(0)
        logits: Tensor = self(views.flatten(0, 1))
        return logits.float().view(*views.shape[:2], -1)

    def probabilities(self, images: Tensor) -> Tensor:
        """Probabilities (B, num_classes) for images (B, 1, 28, 28) float in [0, 1], as in an evaluation.

        Raises:
            DivergenceError: the logits are not finite.
        """
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
        images, labels = batch[:2]
        logits = self(images).float()  # (B, num_classes), float32 also under autocast
        return {"loss": self._loss(logits, labels, self.train_metrics), "logits": logits}

    @override
    def validation_step(self, batch: AnyBatch, batch_idx: int) -> Tensor:
        images, labels = batch[:2]
        logits = self._view_logits(images).mean(dim=0)  # (B, num_classes)
        self._loss(logits, labels, self.val_metrics)
        return logits  # for the callbacks

    @override
    def test_step(self, batch: AnyBatch, batch_idx: int) -> Tensor:
        images, labels = batch[:2]
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
        optimizer, schedule = self.recipe.build(self.parameters(), self.trainer.estimated_stepping_batches)
        if schedule is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
