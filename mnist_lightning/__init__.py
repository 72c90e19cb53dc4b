"""MNIST to 99.4 % with 18,962 parameters: a PyTorch Lightning project with YAML configs."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnist_lightning.classifier import DigitClassifier
    from mnist_lightning.datamodule import DigitsDataModule
    from mnist_lightning.network import OptimizedNet
    from mnist_lightning.runs.checkpoint import load_classifier

__all__ = ["DigitClassifier", "DigitsDataModule", "OptimizedNet", "__version__", "load_classifier"]
__version__ = "0.1.0"

_MODULES = {
    "DigitClassifier": "classifier",
    "DigitsDataModule": "datamodule",
    "OptimizedNet": "network",
    "load_classifier": "runs.checkpoint",
}


def __getattr__(name: str) -> Any:
    # Imports on first use, because PyTorch and Lightning take seconds.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
