"""The layout of the Custom Scalars page: training and validation in the same chart."""

from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from mnist_lightning.tensorboard.writer import tensorboard_writer

_STAGES = ("train", "val", "test")
_LINES = {
    "accuracy": [f"{stage}_accuracy" for stage in _STAGES],
    "loss": [f"{stage}_loss" for stage in _STAGES],
    "learning rate": ["learning_rate"],
    "momentum": ["momentum"],
    "images per second": ["images_per_second"],
}
LAYOUT = {
    title: {chart: ["Multiline", [f"^{group}/{name}$" for name in names]] for chart, names in _LINES.items()}
    for title, group in (("against epochs", "by_epoch"), ("against steps", "by_step"))
}


class ChartLayout(Callback):
    """Writes the layout of the Custom Scalars page once."""

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if writer := tensorboard_writer(trainer):
            writer.add_custom_scalars(LAYOUT)
