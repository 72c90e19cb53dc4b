"""A run's settings and metrics for TensorBoard's HParams page, which compares runs."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from torch.utils.tensorboard.summary import hparams
from typing_extensions import override

from mnist_lightning.runs.settings import Settings
from mnist_lightning.tensorboard.writer import tensorboard_writer

# The table shows the last value of each of these scalars, or a blank. All runs name the same ones, because TensorBoard
# takes the columns from the first run it finds.
METRICS = [f"by_epoch/{stage}_{name}" for stage in ("val", "test", "train") for name in ("accuracy", "loss")]
# The settings that the table shows at first, because they are marked as `differs`; the user can tick the others.
SHOWN_FIRST = ("data.batch_size", "data.seed", "model.max_lr", "model.optimizer", "trainer.max_epochs")


class Hyperparameters(Callback):
    """Logs the settings to every logger before the first step, so that killed runs are included; success at the end.

    Args:
        settings: The run's settings, by group and name.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        values = flat_settings(settings)
        self._experiment, self._start, self._end = hparams(values, dict.fromkeys(METRICS, 0.0))
        stored = self._experiment.value[0].metadata.plugin_data
        content = HParamsPluginData.FromString(stored.content)
        for info in content.experiment.hparam_infos:
            info.differs = info.name in SHOWN_FIRST
        stored.content = content.SerializeToString()

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for logger in trainer.loggers:
            logger.log_hyperparams(self._settings)
        if writer := tensorboard_writer(trainer):
            # Not add_hparams, which creates an extra run and needs the final metrics.
            writer._get_file_writer().add_summary(self._experiment)
            writer._get_file_writer().add_summary(self._start)

    @override
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if writer := tensorboard_writer(trainer):
            writer._get_file_writer().add_summary(self._end)


def flat_settings(settings: Settings) -> dict[str, float | str]:
    """The settings as `group.name`, in types that TensorBoard supports.

    TensorBoard's filters need the same type in all runs, so all settings of groups that may hold null become strings.
    """
    return {
        f"{group}.{name}": _text(value) if isinstance(value, bool | list) or group not in ("model", "data") else value
        for group, values in settings.items()
        for name, value in values.items()
    }


def _text(value: Any) -> str:
    return "none" if value in (None, []) else str(value)
