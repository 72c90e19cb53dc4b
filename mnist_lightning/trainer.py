"""What a run gives its Trainer: callbacks, loggers and plugins."""

from pathlib import Path
from typing import Any

from lightning.fabric.plugins import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.loggers import Logger, TensorBoardLogger

from mnist_lightning.callbacks.added import check_added
from mnist_lightning.callbacks.checkpoints import BestCheckpoint, CheckpointFiles, LastCheckpoint
from mnist_lightning.callbacks.evaluation import EvaluationOutput
from mnist_lightning.callbacks.hard_images import HardImages
from mnist_lightning.callbacks.progress import EpochProgressBar, ScalarLogger
from mnist_lightning.callbacks.record import RunRecord
from mnist_lightning.callbacks.stop import FiniteLoss
from mnist_lightning.datamodule import DigitsDataModule
from mnist_lightning.runs.settings import is_one_process


def trainer_arguments(options: Any, data: DigitsDataModule, output: RunRecord | EvaluationOutput) -> dict[str, Any]:
    """The Trainer's callbacks, loggers and plugins: the user's and ours. LightningCLI itself adds StopAtThreshold."""
    callbacks, plugins = [*as_list(options.callbacks)], [*as_list(options.plugins), CheckpointFiles()]
    if options.enable_progress_bar is not False and not any(isinstance(each, ProgressBar) for each in callbacks):
        callbacks.append(EpochProgressBar(options.log_every_n_steps or 50))  # 50: the Trainer's default
    callbacks.append(FiniteLoss())  # before those that would report or save a bad loss
    loggers: list[Logger] = []
    if isinstance(output, RunRecord):
        check_added(as_list(options.callbacks), output.folder, has_validation=data.validation != "none")
        if options.logger is not False and not options.fast_dev_run:
            folder = Path(options.default_root_dir)
            tensorboard = TensorBoardLogger(folder.parent, name="", version=folder.name, default_hp_metric=False)
            loggers = [tensorboard, *(logger for logger in as_list(options.logger) if logger is not True)]
        callbacks += _callbacks_of_fit(options, data, output, has_logger=bool(loggers))
    else:
        callbacks.append(output)
    if is_one_process(options) and not any(isinstance(plugin, ClusterEnvironment) for plugin in plugins):
        plugins.append(LightningEnvironment())  # not that of a cluster's job which this shell is in
    return {"callbacks": callbacks, "logger": loggers or False, "plugins": plugins}


def _callbacks_of_fit(options: Any, data: DigitsDataModule, record: RunRecord, has_logger: bool) -> list[Callback]:
    callbacks = [*([HardImages()] if data.hard_fraction < 1 else []), ScalarLogger(), record]
    if has_logger:
        from mnist_lightning.tensorboard.dashboards import Dashboards

        callbacks.append(Dashboards(record))
    if options.enable_checkpointing is not False and not options.fast_dev_run:
        for checkpoint in (BestCheckpoint(), LastCheckpoint()):  # in this order: last.ckpt holds the best score
            checkpoint.dirpath = str(Path(options.default_root_dir, "checkpoints"))
            callbacks.append(checkpoint)
    return callbacks


def without_handlers(trainer: Trainer) -> Trainer:
    """The Trainer without two things of the framework's that cannot be turned off publicly."""
    # With --trainer.max_steps, it would end an epoch twice if a run resumes at its end. tests/test_resume.py, the run
    # that ends within an epoch, fails without this line.
    trainer.fit_loop._iteration_based_training = lambda: False  # type: ignore[method-assign]
    # main.py handles SIGTERM. The framework's handler waits for the other processes of a run, for ever if they did not
    # get the signal: tests/test_distributed.py, the ranks that are ended.
    trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
    return trainer


def as_list(value: Any) -> list[Any]:
    """The values of a Trainer's option that takes one or several, or None."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
