"""The settings of a run with what came out, so that the HParams tab compares runs."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from torch.utils.tensorboard.summary import hparams
from typing_extensions import override

from mnist_lightning.dashboards.writer import tensorboard_writer
from mnist_lightning.runs.settings import Settings

# Scalars that are logged anyway: the table has the last value of each, and a blank where a run has none. They are the
# same for all runs, because TensorBoard takes the columns from the first run it finds.
METRICS = [f"by_epoch/{stage}_{name}" for stage in ("val", "test", "train") for name in ("accuracy", "loss")]
# The table begins with five settings, and hides the others until they are ticked: those that are marked to differ.
SHOWN_FIRST = ("data.batch_size", "data.seed", "model.max_lr", "model.optimizer", "trainer.max_epochs")


class Hyperparameters(Callback):
    """Logs the settings before the first step, so that a run that is killed is there too; at the end its success.

    Every logger gets them; for TensorBoard's HParams tab they are written with what the tab is to compare.

    Args:
        settings: The run's, by group and name.
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
            # Not add_hparams: it makes a run of its own, and has to be told the final figures.
            writer._get_file_writer().add_summary(self._experiment)
            writer._get_file_writer().add_summary(self._start)

    @override
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if writer := tensorboard_writer(trainer):
            writer._get_file_writer().add_summary(self._end)


def flat_settings(settings: Settings) -> dict[str, float | str]:
    """The settings as `group.name`, in the types that TensorBoard knows.

    A setting has to be of one type in all runs, or filters fail: the groups that may hold null are texts throughout.
    """
    return {
        f"{group}.{name}": _text(value) if isinstance(value, bool) or group not in ("model", "data") else value
        for group, values in settings.items()
        for name, value in values.items()
    }


def _text(value: Any) -> str:
    return "none" if value in (None, []) else str(value)
