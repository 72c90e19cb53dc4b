"""The parser of `fit`, `validate`, `test` and `predict`: how it instantiates the classes that options name."""

from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.pytorch import Callback
from lightning.pytorch.accelerators import Accelerator
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins import CheckpointIO, LayerSync, Precision
from lightning.pytorch.profilers import Profiler
from lightning.pytorch.strategies import Strategy
from typing_extensions import override

from mnist_lightning.errors import UserError
from mnist_lightning.options.parser import ShortErrorParser

RUN_FOLDER = "RUN_FOLDER"  # a placeholder in the arguments of these classes, until the run has its folder
_NAMED_BY_OPTIONS = (
    *(Accelerator, Callback, CheckpointIO, ClusterEnvironment, LayerSync, Logger, Precision, Profiler, Strategy),
)


class RunParser(ShortErrorParser, LightningArgumentParser):
    """Sends loggers to the run's folder; `make` instantiates the classes that options name, once the folder exists."""

    @override
    def add_class_arguments(self, class_type: type, *args: Any, **kwargs: Any) -> list[str]:
        # jsonargparse reads the arguments of a class that an option names with a parser of this type.
        added: list[str] = super().add_class_arguments(class_type, *args, **kwargs)
        for name, default in vars(self.get_defaults()).items():
            if isinstance(default, Enum) and isinstance(default, str):  # which YAML cannot represent
                self.set_defaults({name: default.value})
        if isinstance(class_type, type) and issubclass(class_type, Logger) and "save_dir" in added:
            own = self.get_defaults()["save_dir"]  # None, the working directory, or a folder in it
            self.set_defaults(save_dir=str(Path(RUN_FOLDER, own or "")))
        return added

    @override
    def instantiate(self, namespace: Namespace, *args: Any, **kwargs: Any) -> Namespace:
        deferred = [(_defer, class_type, True) for class_type in _NAMED_BY_OPTIONS]
        instantiated: Namespace = super().instantiate(namespace, *args, **(kwargs | {"instantiators": deferred}))
        return instantiated


def _defer(class_type: type, *args: Any, **kwargs: Any) -> partial[Any]:
    return partial(class_type, *args, **kwargs)


def make(option: str, value: Any, run_folder: Path) -> Any:
    """Instantiates the classes that an option names, with the run's folder in place of RUN_FOLDER.

    Args:
        option: The option's name, for errors.
        value: What `RunParser.instantiate` returned for it.
        run_folder: The run's folder.

    Raises:
        UserError: a class cannot be instantiated, perhaps because it needs a package that is not installed.
    """
    if isinstance(value, str):
        return value.replace(RUN_FOLDER, str(run_folder))
    if isinstance(value, list):
        return [make(option, part, run_folder) for part in value]
    if not isinstance(value, partial):
        return value
    arguments = {name: make(option, part, run_folder) for name, part in value.keywords.items()}
    try:
        made = value.func(*value.args, **arguments)
        if isinstance(made, Logger):
            _ = getattr(made, "experiment", None)  # connects here, where a missing login or server can be reported
    except Exception as error:  # classes of other packages may raise any type
        package = f" Run `pip install {error.name}`." if isinstance(error, ImportError) and error.name else ""
        raise UserError(f"{option} {value.func.__name__}: {str(error)[:600]}{package}") from None
    return made
