"""The LightningModule: a network, its loss and metrics, the optimizer and the one-cycle schedule."""

import copy
from typing import Any, Literal, NamedTuple

import torch
from jsonargparse.typing import OpenUnitInterval
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import LRSchedulerTypeUnion, OptimizerLRScheduler
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (the name that all of PyTorch uses)
from torch.optim.lr_scheduler import OneCycleLR
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy
from typing_extensions import override

from mnist_lightning.bounds import BelowOne, Rate, RateOrZero, Width
from mnist_lightning.data.augmentation import one_pixel_shifts
from mnist_lightning.data.batches import Batch
from mnist_lightning.data.mnist_files import BACKGROUND
from mnist_lightning.errors import DivergenceError, SettingError
from mnist_lightning.fast.fused_layers import fused_forward
from mnist_lightning.fast.muon import Muon
from mnist_lightning.network import IMAGE_SHAPE, NUM_CLASSES, BaselineNet, Head, OptimizedNet

NetworkName = Literal["optimized", "baseline", "baseline_relu_on_logits"]
Backend = Literal["fused", "layers"]
# A data module's batch, or what any loader of images (B, 1, 28, 28) float and labels (B,) int64 gives.
AnyBatch = Batch | tuple[Tensor, Tensor] | list[Tensor]


class Predictions(NamedTuple):
    """What the network says of each image."""

    digits: Tensor  # (B,) int64 in 0..9
    probabilities: Tensor  # (B,) float32, of that digit


Net = OptimizedNet | BaselineNet


def build_network(name: NetworkName, dropout: float, width: int, batch_norm: bool, head: Head) -> Net:
    """The network that a config names; all but the name belongs to the optimized one alone."""
    if name == "optimized":
        return OptimizedNet(dropout, width, batch_norm, head)
    return BaselineNet(relu_on_logits=name == "baseline_relu_on_logits")


def check_finite(figures: Tensor) -> None:
    """Checks what the network of a checkpoint gives.

    Args:
        figures: logits (..., 10), or a loss ().

    Raises:
        DivergenceError: they are not all finite.
    """
    if not figures.isfinite().all():
        raise DivergenceError(
            "the network of this checkpoint gives numbers that are not finite: its weights are too large. Name another "
            "with --ckpt_path (in `report`, with --checkpoint)."
        )


class DigitClassifier(LightningModule):
    """Trains a network on digits with cross-entropy and a one-cycle learning rate.

    Args:
        network: Which network: `optimized` has 18,962 parameters, `baseline` 6,379,786.
        dropout: Probability of dropping an activation, before each pooling of the optimized network.
        width: Multiplies the optimized network's channels, all but the last layer's.
        batch_norm: Normalise after each convolution of the optimized network; else the convolutions have a bias.
        head: What ends the optimized network: global `average_pooling`, or a `fully_connected` layer.
        optimizer: `sgd`, or `muon`, which makes the convolutions' updates orthogonal: it learns faster, and needs batch
            norm after every convolution. With `muon` the convolutions have a rate and a momentum of their own.
        max_lr: Peak of the one-cycle learning rate, or the constant rate.
        schedule: `one_cycle` warms up to max_lr and anneals to almost 0 at the run's last step, whatever the number
            of epochs; `constant` stays at max_lr.
        pct_start: Fraction of the steps that warm up.
        momentum: Momentum; under `sgd` the one-cycle schedule cycles it between 0.95 and 0.85 instead.
        nesterov: Use Nesterov's momentum under `sgd`; under `muon` it always is.
        weight_decay: L2 penalty on all parameters; under `muon` on all but the convolutions.
        muon_lr: What `max_lr` is, for the convolutions under `muon`: the relative size of a step.
        muon_momentum: Momentum of the convolutions under `muon`.
        test_time_augmentation: Evaluate each image together with its eight shifts by a pixel, and average the logits:
            a little more accurate, and nine times the cost. A test then says also what the image alone has.
        channels_last: Keep the network's tensors in channels-last memory order, which is faster; the same numbers up to
            rounding.
        backend: How the network is computed, with the same result up to rounding: `fused` takes convolution, batch
            norm, ReLU, dropout and pooling together, on a CPU, and is `layers` elsewhere; `layers` calls PyTorch's
            layers one after the other.
    """

    def __init__(
        self,
        network: NetworkName = "optimized",
        dropout: BelowOne = 0.05,
        width: Width = 1,
        batch_norm: bool = True,
        head: Head = "average_pooling",
        optimizer: Literal["sgd", "muon"] = "sgd",
        max_lr: Rate = 0.1,
        schedule: Literal["one_cycle", "constant"] = "one_cycle",
        pct_start: OpenUnitInterval = 0.2,
        momentum: BelowOne = 0.9,
        nesterov: bool = False,
        weight_decay: RateOrZero = 1e-4,
        muon_lr: Rate = 0.1,
        muon_momentum: BelowOne = 0.6,
        test_time_augmentation: bool = False,
        channels_last: bool = True,
        backend: Backend = "fused",
    ) -> None:
        super().__init__()
        if optimizer == "muon" and not (network == "optimized" and batch_norm):
            raise SettingError(
                "--model.optimizer muon fixes the scale of each convolution, and needs batch norm after it. "
                "Use --model.network optimized with --model.batch_norm true, or --model.optimizer sgd."
            )
        self.save_hyperparameters(ignore=["_instantiator"])  # which the framework's command line adds
        # Plain floats: the command line hands in subclasses, which a checkpoint must not hold.
        self.optimizer = optimizer
        self.max_lr = float(max_lr)
        self.schedule = schedule
        self.pct_start = float(pct_start)
        self.momentum = float(momentum)
        self.nesterov = nesterov
        self.weight_decay = float(weight_decay)
        self.muon_lr = float(muon_lr)
        self.muon_momentum = float(muon_momentum)
        self.test_time_augmentation = test_time_augmentation
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.backend = backend
        self.net = build_network(network, dropout, width, batch_norm, head).to(memory_format=self.memory_format)
        self.example_input_array = torch.zeros(1, *IMAGE_SHAPE)
        self._last_validated_epoch: int | None = None
        metrics = MetricCollection(
            {
                "loss": MeanMetric(nan_strategy="disable"),
                "accuracy": MulticlassAccuracy(NUM_CLASSES, average="micro", validate_args=False),
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
        """Maps normalised images (B, 1, 28, 28) to logits (B, 10)."""
        # The type differs from the images' float32 under a true half precision.
        images = images.to(self.net_dtype, memory_format=self.memory_format)
        if self.backend == "fused" and images.device.type == "cpu" and images.dtype in (torch.float32, torch.float64):
            return fused_forward(self.net.layers, images)
        logits: Tensor = self.net(images)
        return logits

    def _views(self, images: Tensor) -> Tensor:
        """Logits (V, B, 10) of what an evaluation averages: of the images (B, 1, 28, 28), then of their shifts."""
        views = one_pixel_shifts(images, BACKGROUND) if self.test_time_augmentation else images.unsqueeze(0)
        logits: Tensor = self(views.flatten(0, 1))
        return logits.float().view(*views.shape[:2], -1)

    def probabilities(self, images: Tensor) -> Tensor:
        """Probabilities (B, 10) of the digits, as an evaluation has them, for normalised images (B, 1, 28, 28).

        Raises:
            DivergenceError: the logits are not finite.
        """
        logits = self._views(images).mean(dim=0)
        check_finite(logits)
        return logits.softmax(dim=1)

    def _measure(self, logits: Tensor, labels: Tensor, metrics: MetricCollection) -> Tensor:
        loss = F.cross_entropy(logits, labels)  # (), the NLL of log_softmax(logits)
        # One value per image, so that a smaller last batch counts for less: with nan_strategy="disable", MeanMetric
        # ignores its `weight`.
        metrics.update(value=loss.detach().expand(len(labels)), preds=logits.detach(), target=labels)
        return loss

    @override
    def training_step(self, batch: AnyBatch, batch_idx: int) -> Tensor:
        if isinstance(batch, Batch):
            torch.manual_seed(batch.seed)  # the dropout masks then depend on (seed, epoch, step, rank) alone
        images, labels = batch[:2]
        logits = self(images).float()  # (B, 10), float32 also under autocast
        return self._measure(logits, labels, self.train_metrics)

    @override
    def validation_step(self, batch: AnyBatch, batch_idx: int) -> Tensor:
        images, labels = batch[:2]
        logits = self._views(images).mean(dim=0)  # (B, 10)
        self._measure(logits, labels, self.val_metrics)
        return logits  # for the callbacks

    @override
    def test_step(self, batch: AnyBatch, batch_idx: int) -> Tensor:
        images, labels = batch[:2]
        views = self._views(images)
        logits = views.mean(dim=0)
        self._measure(logits, labels, self.test_metrics)
        if self.test_time_augmentation:
            self._measure(views[0], labels, self.single_view_metrics)
        return logits

    @override
    def predict_step(self, batch: AnyBatch | Tensor, batch_idx: int) -> Predictions:
        images = batch if isinstance(batch, Tensor) else batch[0]
        probabilities, digits = self.probabilities(images).max(dim=1)
        return Predictions(digits, probabilities)

    @override
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the training metrics of the epoch so far, of all processes together."""
        checkpoint["train_metrics"] = {}
        for name, metric in self.train_metrics.items():
            with metric.sync_context():
                checkpoint["train_metrics"][name] = copy.deepcopy(metric.metric_state)

    @override
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Goes on with them."""
        for name, metric in self.train_metrics.items():
            saved = checkpoint.get("train_metrics", {}).get(name, {})
            for key, state in metric.metric_state.items():
                if key in saved:
                    setattr(metric, key, saved[key].to(state).view_as(state))

    @override
    def on_train_start(self) -> None:
        if self.global_rank > 0:
            self.train_metrics.reset()  # the first process has what all had

    def running_training_metrics(self) -> tuple[float, float]:
        """Mean loss and accuracy of this process since the epoch's start; waits for the device, so ask seldom."""
        # From the states: `compute()` would wait for the other processes, which may not be asking.
        loss_sum, num_images = (self._training_state("loss", name) for name in ("mean_value", "weight"))
        return loss_sum / num_images, self._training_state("accuracy", "tp") / num_images

    def _training_state(self, metric: str, name: str) -> float:
        state = self.train_metrics[metric].metric_state[name]
        assert isinstance(state, Tensor)
        return float(state)

    def epoch_metrics(self) -> dict[str, float]:
        """Loss and accuracy of the epoch that has just ended, in training and, where there was any, in validation.

        For callbacks' `on_train_epoch_end`, which comes before this module's own. All processes must ask.
        """
        # An epoch without validation (--trainer.check_val_every_n_epoch) finds the figures of an earlier one here.
        was_validated = self._last_validated_epoch == self.current_epoch
        figures = self.trainer.callback_metrics if was_validated else {}
        validation = {name: value for name, value in figures.items() if name.startswith("val/")}
        return {name: float(value) for name, value in {**self.train_metrics.compute(), **validation}.items()}

    def _log_and_reset(self, metrics: MetricCollection) -> None:
        self.log_dict(metrics.compute())
        metrics.reset()

    @override
    def on_train_epoch_end(self) -> None:
        self._log_and_reset(self.train_metrics)

    @override
    def on_validation_epoch_end(self) -> None:
        self._log_and_reset(self.val_metrics)
        self._last_validated_epoch = self.current_epoch

    @override
    def on_test_epoch_end(self) -> None:
        self._log_and_reset(self.test_metrics)
        if self.test_time_augmentation:
            self._log_and_reset(self.single_view_metrics)

    @override
    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimizer of all parameters, with the one-cycle rate over exactly the steps that the trainer will take.

        Raises:
            SettingError: the schedule is one-cycle and the run has no end to plan for.
        """
        optimizer = self._optimizer()
        if self.schedule == "constant":
            return optimizer
        total_steps = self.trainer.estimated_stepping_batches
        if total_steps == float("inf"):
            raise SettingError(
                "--model.schedule one_cycle needs a last step to end at, but --trainer.max_epochs -1 sets none. "
                "Set --trainer.max_epochs or --trainer.max_steps, or use --model.schedule constant."
            )
        pct_start = self.pct_start
        if abs(pct_start * total_steps - 1) < 1e-6:
            pct_start += 1e-6 / total_steps  # OneCycleLR divides by zero where the warm-up is exactly one step
        scheduler = OneCycleLR(
            optimizer,
            [group["lr"] for group in optimizer.param_groups],
            total_steps=int(total_steps),
            pct_start=pct_start,
            cycle_momentum=self.optimizer == "sgd",
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _optimizer(self) -> torch.optim.Optimizer:
        if self.optimizer == "sgd":
            return torch.optim.SGD(
                self.parameters(), self.max_lr, self.momentum, weight_decay=self.weight_decay, nesterov=self.nesterov
            )
        return Muon(
            convs=[parameter for parameter in self.parameters() if parameter.ndim == 4],
            others=[parameter for parameter in self.parameters() if parameter.ndim != 4],
            lr=self.max_lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            conv_lr=self.muon_lr,
            conv_momentum=self.muon_momentum,
        )

    @override
    def lr_scheduler_step(self, scheduler: LRSchedulerTypeUnion, metric: object | None) -> None:
        # One step beyond its last would turn the one-cycle rate upwards again.
        assert isinstance(scheduler, OneCycleLR)
        if scheduler.last_epoch + 1 < scheduler.total_steps:
            scheduler.step()
