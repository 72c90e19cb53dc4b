"""How many images training gets through in a second, for TensorBoard or another logger."""

import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from mnist_lightning.dashboards.scalars import log_scalars, logs_after
from mnist_lightning.data.batches import Batch


class Throughput(Callback):
    """Logs `images_per_second` of all processes together, by step since the last one logged, and by epoch.

    Training alone counts, with its callbacks; validation and what is done at an epoch's end do not. It comes after
    ScalarLogger, whose reading of the metrics waits for the device: the clock is read when the work is done.
    """

    def __init__(self) -> None:
        self._start_seconds = 0.0
        self._num_images = 0  # of this process, since the clock was started
        self._epoch_seconds = 0.0
        self._epoch_images = 0

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # A run that goes on in the middle of an epoch has no `on_train_epoch_start`.
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
            # Ranks share each batch out evenly.
            num_images = self._num_images * trainer.world_size
            seconds = self._stop()
            log_scalars(trainer, "by_step", {"images_per_second": num_images / seconds}, trainer.global_step)

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self._wait_and_stop(pl_module)

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start_seconds = time.perf_counter()

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._num_images:  # nothing was validated since
            self._wait_and_stop(pl_module)
        if self._epoch_images:
            images_per_second = self._epoch_images * trainer.world_size / self._epoch_seconds
            log_scalars(trainer, "by_epoch", {"images_per_second": images_per_second}, trainer.current_epoch + 1)

    def _wait_and_stop(self, pl_module: LightningModule) -> None:
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)
        self._stop()

    def _stop(self) -> float:
        """Adds what the clock shows to the epoch, and starts it anew; returns that."""
        now = time.perf_counter()
        seconds = now - self._start_seconds
        self._epoch_seconds += seconds
        self._epoch_images += self._num_images
        self._num_images = 0
        self._start_seconds = now
        return seconds
