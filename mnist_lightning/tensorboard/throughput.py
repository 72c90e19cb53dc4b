"""Training images per second, for TensorBoard or another logger."""

import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from mnist_lightning.data.batches import Batch
from mnist_lightning.tensorboard.scalars import log_scalars, logs_after


class Throughput(Callback):
    """Logs `images_per_second` of all processes together: by step, since the last logged step, and by epoch.

    Counts training with its callbacks, but not validation and the work at the end of an epoch. Must come after
    ScalarLogger: that waits for the device, so the clock is read after the work is done.
    """

    def __init__(self) -> None:
        self._start_seconds = 0.0
        self._num_images = 0  # of this process, since the clock started
        self._epoch_seconds = 0.0
        self._epoch_images = 0

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # A run that resumes in the middle of an epoch has no `on_train_epoch_start`.
        self._start_seconds = time.perf_counter()

    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._num_images = self._epoch_images = 0
        self._epoch_seconds = 0.0
        self._start_seconds = time.perf_counter()

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        self._num_images += len(batch.labels)
        if logs_after(trainer, batch_idx):
            num_images = self._num_images * trainer.world_size  # each batch is split evenly
            seconds = self._lap()
            log_scalars(trainer, "by_step", {"images_per_second": num_images / seconds}, trainer.global_step)

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self._wait_and_lap(pl_module)

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start_seconds = time.perf_counter()

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._num_images:  # no validation since the last step
            self._wait_and_lap(pl_module)
        if self._epoch_images:
            images_per_second = self._epoch_images * trainer.world_size / self._epoch_seconds
            log_scalars(trainer, "by_epoch", {"images_per_second": images_per_second}, trainer.current_epoch + 1)

    def _wait_and_lap(self, pl_module: LightningModule) -> None:
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)
        self._lap()

    def _lap(self) -> float:
        """Adds the time since the clock started to the epoch, restarts the clock, and returns that time in seconds."""
        now = time.perf_counter()
        seconds = now - self._start_seconds
        self._epoch_seconds += seconds
        self._epoch_images += self._num_images
        self._num_images = 0
        self._start_seconds = now
        return seconds
