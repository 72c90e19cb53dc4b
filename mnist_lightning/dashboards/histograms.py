"""How weights and gradients are distributed."""

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from typing_extensions import override

from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.dashboards.writer import tensorboard_writer

_NUM_BINS = 64  # TensorBoard shows 30; the writer's own 1,500 take five times as long


class Histograms(Callback):
    """Writes `weights/*` after each epoch, and `gradients/*` as the epoch's last step saw them: summed and clipped."""

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        writer = tensorboard_writer(trainer)
        if writer is None:
            return
        assert isinstance(pl_module, DigitClassifier)
        for name, parameter in pl_module.net.named_parameters():
            module_name, _, kind = name.rpartition(".")
            module = pl_module.net.get_submodule(module_name)
            number = int(module_name.rpartition(".")[2])  # two digits: TensorBoard sorts by name
            title = f"{number:02d}_{type(module).__name__}_{kind}"
            _write(writer, f"weights/{title}", parameter, trainer.current_epoch + 1)
            if parameter.grad is not None:
                _write(writer, f"gradients/{title}", parameter.grad, trainer.current_epoch + 1)


def _write(writer: SummaryWriter, tag: str, values: Tensor, epoch: int) -> None:
    values = values.detach().float()
    values = values[values.isfinite()]  # float16's gradients may overflow; such a step is left out
    if values.numel():
        writer.add_histogram(tag, values, epoch, bins=_NUM_BINS)
