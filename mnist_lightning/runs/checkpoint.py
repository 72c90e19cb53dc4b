"""Reads checkpoints: without running code from the file, nor taking more memory than its size suggests."""

import inspect
import json
import pickle
import pickletools
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import torch

from mnist_lightning.classifier import DigitClassifier, check_classes
from mnist_lightning.data.datasets import DIGITS
from mnist_lightning.datamodule import DigitsDataModule
from mnist_lightning.errors import CheckpointError, UserError
from mnist_lightning.files import find_file, one_line
from mnist_lightning.network import NETWORKS

KEPT = {  # the settings that determine the network and its images; not paths, nor what only changes the speed
    "model": "network dropout channels batch_norm head channels_last test_time_augmentation class_names pixel_mean "
    "pixel_std",
    # The size of batches counts with --trainer.limit_test_batches.
    "data": "dataset validation num_holdout split_seed invert eval_batch_size",
}


class LoadedCheckpoint(NamedTuple):
    """A checkpoint whose settings and weights fit together."""

    content: dict[str, Any]  # everything in the file
    model: dict[str, Any]  # arguments of DigitClassifier
    data: dict[str, Any]  # arguments of DigitsDataModule

    def classifier(self) -> DigitClassifier:
        """The classifier, on the CPU, in float32 and evaluation mode."""
        classifier = DigitClassifier(**self.model)
        classifier.load_state_dict(self.content["state_dict"])
        classifier.inverts = self.data.get("invert", False)
        return classifier.float().eval()

    def datamodule(self, data_dir: str | None) -> DigitsDataModule:
        """The data module, before `setup`; its images must have the classifier's classes."""
        data = DigitsDataModule(**{**self.data, "data_dir": data_dir})
        check_classes(tuple(self.model["class_names"]), data)
        return data


def settings_config(checkpoint: LoadedCheckpoint) -> str:
    """The settings of a checkpoint that the other commands take, as the text of a config."""
    groups = {"model": checkpoint.model, "data": checkpoint.data}
    return json.dumps({group: {k: v for k, v in groups[group].items() if k in KEPT[group].split()} for group in KEPT})


def load_classifier(ckpt_path: str | Path, network: str | None = None) -> DigitClassifier:
    """The trained classifier, on the CPU, in float32 and evaluation mode.

    Args:
        ckpt_path: the checkpoint.
        network: class path of its network, if that is your own; it is imported.

    Raises:
        CheckpointError: the file is missing, damaged, or not from this project.
    """
    return read_checkpoint(ckpt_path, network).classifier()


def read_checkpoint(ckpt_path: str | Path, network: str | None = None) -> LoadedCheckpoint:
    """Reads a checkpoint, and checks that its settings describe a network with its weights.

    A file alone imports nothing: `network` is the class path of its network, if that is the user's own.
    """
    content = load_checkpoint(ckpt_path)
    try:
        model = _known(DigitClassifier, content["hyper_parameters"])
        model.setdefault("class_names", DIGITS)  # the first versions knew no others
        data = _known(DigitsDataModule, content.get("datamodule_hyper_parameters", {}))
        DigitsDataModule(**data)
        name = model.get("network", "optimized")
        if name not in NETWORKS and name != network:
            raise UserError(
                f"its network is the class {name}, which is imported only if the command names it: add --model.network "
                f"{name}, or --network {name}"
            )
        # The meta device allocates nothing: the settings may describe a far larger network than the file. A network of
        # the user's own may not work there, and is built without a change to the random numbers.
        with torch.device("meta") if name in NETWORKS else torch.random.fork_rng(devices=[]):
            expected = DigitClassifier(**model).state_dict()
        found, needed = (
            {f"{name} {tuple(tensor.shape)}" for name, tensor in weights.items()}
            for weights in (content["state_dict"], expected)
        )
        if found != needed:
            raise UserError(f"its weights do not fit the network in its settings: {min(found ^ needed)}")
    except Exception as error:  # wrong settings can raise anything
        raise _refused(f"--ckpt_path {ckpt_path}", error) from None
    return LoadedCheckpoint(content, model, data)


def _known(cls: type, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that are arguments of the class: earlier versions had others."""
    parameters = inspect.signature(cls).parameters
    return {name: value for name, value in settings.items() if name in parameters}


def start_from(classifier: DigitClassifier, ckpt_path: str) -> str:
    """Copies the tensors of a checkpoint that have the same name and shape here; says which ones are new."""
    own, found = classifier.state_dict(), load_checkpoint(ckpt_path, "--init_from")["state_dict"]
    taken = {name: each for name, each in found.items() if name in own and own[name].shape == each.shape}
    if not any(each.ndim > 1 for each in taken.values()):  # vectors and counters alone are no start
        raise CheckpointError(
            f"--init_from {ckpt_path}: no layer has the weights of this network. Use the --model.network and "
            "--model.channels that it was trained with."
        )
    classifier.load_state_dict(taken, strict=False)
    new = ", ".join(sorted(name.removeprefix("net.") for name in own.keys() - taken.keys()))
    return f"Starting from {ckpt_path}: {len(taken)} of {len(own)} tensors. New: {new or 'none'}."


def load_checkpoint(ckpt_path: str | Path, option: str = "--ckpt_path") -> dict[str, Any]:
    """Reads a checkpoint file with finite weights onto the CPU: tensors and plain values only."""
    path = Path(find_file(str(ckpt_path)))
    if not path.is_file():  # reading a pipe or /dev/zero would never end
        what = "is not a file" if path.exists() else "does not exist"
        raise CheckpointError(
            f"{option} {ckpt_path} {what}. Name one such as runs/optimized/version_0/checkpoints/best.ckpt."
        )
    try:
        _check_archive(path)
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        weights = content["state_dict"].values()
        if sum(each.numel() * each.element_size() for each in weights) > path.stat().st_size:  # a stride of 0 repeats
            raise ValueError("its weights are larger than the file")
        if not all(each.isfinite().all() for each in weights):
            raise ValueError("its weights are not finite")
    except OSError:
        raise
    except pickle.UnpicklingError:  # whose text advises `weights_only=False`, which could run code in the file
        raise _refused(f"{option} {ckpt_path}", ValueError("it holds more than tensors and plain values")) from None
    except Exception as error:  # on a damaged file, zipfile and pickle can raise anything
        raise _refused(f"{option} {ckpt_path}", error) from None
    return content


def _check_archive(path: Path) -> None:
    """Checks what `torch.load` does not: checksums, and that no member is larger than it looks."""
    with zipfile.ZipFile(path) as archive:
        # One megabyte of deflated zeros expands to a gigabyte.
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise ValueError("it is compressed")
        if (damaged := archive.testzip()) is not None:
            raise ValueError(f"it is damaged, in {damaged}")
        pickles = [archive.read(name) for name in archive.namelist() if name.lower().endswith(".pkl")]
        if any("bytearray" in str(argument) for each in pickles for _, argument, _ in pickletools.genops(each)):
            raise ValueError("it holds bytearrays, which can have any size")


def _refused(what: str, error: Exception) -> CheckpointError:
    kind = "" if isinstance(error, UserError | ValueError) else f"{type(error).__name__}: "
    reason = f"{kind}{one_line(str(error))[:300]}".rstrip(".")
    return CheckpointError(f"{what} cannot be used: {reason}. Use a .ckpt file that `fit` wrote.")
