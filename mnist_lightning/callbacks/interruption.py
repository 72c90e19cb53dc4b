"""Ctrl-C and SIGTERM end a run after the current step, with a checkpoint to resume from."""

import signal
import sys
import threading
from types import FrameType
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from typing_extensions import override

from mnist_lightning.callbacks.checkpoints import LastCheckpoint, epoch_ends_after_batch, has_stepped, is_last_epoch
from mnist_lightning.callbacks.progress_bar import print_above_bar


class Interrupted(SystemExit):
    """A signal ended the run; the exit status is 128 plus the signal's number, as a shell's."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(128 + signal_number)
        self.signal_name = signal.Signals(signal_number).name


class StopOnSignal(Checkpoint):
    """Ends training after the step in which a signal arrives, or after the validation.

    A `Checkpoint`, because the framework calls those after all other callbacks.

    Args:
        last_checkpoint: The callback whose file a resumed run starts from.
    """

    def __init__(self, last_checkpoint: LastCheckpoint) -> None:
        self.last_checkpoint = last_checkpoint
        self._received: int | None = None

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if threading.current_thread() is threading.main_thread():  # only this thread can set handlers
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self._receive)  # the Trainer restores the handlers at its end

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr)  # erases the bar, and the ^C that the terminal echoed
        if self._received is not None:
            raise Interrupted(number)
        self._received = number
        print_above_bar("stopping soon, with a checkpoint (a second signal stops at once)", to_stderr=True)

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if has_stepped(trainer, batch_idx) and not epoch_ends_after_batch(trainer):
            self._end_if_received(trainer)

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not is_last_epoch(trainer):
            self._end_if_received(trainer)

    def _end_if_received(self, trainer: Trainer) -> None:
        # All processes end after the same step, whichever received the signal. Asking each other takes time.
        interval = trainer.log_every_n_steps or 50  # type: ignore[attr-defined]  # 0: nothing is logged
        if trainer.world_size > 1 and trainer.global_step % interval != 0:
            return
        if not trainer.strategy.reduce_boolean_decision(self._received is not None, all=False):
            return
        trainer.save_checkpoint(self.last_checkpoint.path)
        print_above_bar(
            f"ended after step {trainer.global_step}. To resume, repeat the command with --ckpt_path "
            f"{self.last_checkpoint.path}"
        )
        raise Interrupted(self._received or signal.SIGTERM)
