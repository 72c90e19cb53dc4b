"""Histograms of weights and gradients."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter
from typing_extensions import override

from mnist_lightning.callbacks.checkpoints import epoch_ends_after_batch
from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.network import LayeredNet
from mnist_lightning.tensorboard.writer import tensorboard_writer

_NUM_BINS = 64  # TensorBoard shows 30; the writer's default of 1,500 takes five times as long


class Histograms(Callback):
    """Writes `weights/*` and `gradients/*` after each epoch's last step; gradients as the optimizer used them."""

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # Not at the epoch's end: Lightning frees the gradients before validation.
        writer = tensorboard_writer(trainer) if epoch_ends_after_batch(trainer) else None
        if writer is None:
            return
        assert isinstance(pl_module, DigitClassifier)
        for name, parameter in pl_module.net.named_parameters():
            title = _title(pl_module.net, name)
            _write(writer, f"weights/{title}", parameter, trainer.current_epoch + 1)
            if parameter.grad is not None:
                _write(writer, f"gradients/{title}", parameter.grad, trainer.current_epoch + 1)


def _title(net: nn.Module, name: str) -> str:
    """`layers.0.weight` as `00_Conv2d_weight`: two digits, because TensorBoard sorts by name; other names unchanged."""
    module_name, _, kind = name.rpartition(".")
    if not isinstance(net, LayeredNet) or not module_name.removeprefix("layers.").isdecimal():
        return name
    return f"{int(module_name[7:]):02d}_{type(net.get_submodule(module_name)).__name__}_{kind}"


def _write(writer: SummaryWriter, tag: str, values: Tensor, epoch: int) -> None:
    values = values.detach().float()
    values = values[values.isfinite()]  # float16 gradients may overflow; the optimizer skips such a step
    if values.numel():
        writer.add_histogram(tag, values, epoch, bins=_NUM_BINS)
