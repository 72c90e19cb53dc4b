"""The network's last features of evaluated images, for TensorBoard's projector."""

import math
from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from typing_extensions import override

from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.data.batches import Batch
from mnist_lightning.data.datasets import noun_of
from mnist_lightning.datamodule import DigitsDataModule
from mnist_lightning.tensorboard.evaluation import Evaluation
from mnist_lightning.tensorboard.network_copy import network_copy
from mnist_lightning.tensorboard.writer import tensorboard_writer

MAX_IMAGES = 1000  # a browser rotates this many smoothly
# As scikit-learn recommends before t-SNE: https://scikit-learn.org/stable/modules/generated/sklearn.manifold.TSNE.html
NUM_DIMENSIONS = 50
_TAG = "features"


class Embedding(Callback):
    """Writes the features of up to 1,000 evaluated images, with class and prediction, at the end of the run.

    Args:
        evaluation: Provides the evaluated images; must come before this callback.
    """

    def __init__(self, evaluation: Evaluation) -> None:
        self.evaluation = evaluation

    @override
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(trainer, pl_module)

    @override
    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(trainer, pl_module)

    @torch.no_grad()
    def _write(self, trainer: Trainer, pl_module: LightningModule) -> None:
        writer, result = tensorboard_writer(trainer), self.evaluation.last
        if writer is None or result is None:
            return
        step = trainer.global_step
        if Path(writer.get_logdir(), f"{step:05d}", _TAG).exists():
            return  # written before: a finished run was resumed
        assert isinstance(pl_module, DigitClassifier)
        data = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, DigitsDataModule)
        # From all over the set: an image folder is sorted by class.
        chosen = result.indices[:: math.ceil(len(result.indices) / MAX_IMAGES)]
        images, labels = (part[chosen] for part in result.data)
        network = network_copy(pl_module).float().cpu()
        prepared = data.prepare(Batch(images, labels), augment=False).images
        features, logits = last_features(network, pl_module.normalised(prepared))
        if features is None or not features.isfinite().all():
            return
        names = pl_module.class_names
        writer.add_embedding(
            principal_components(features, NUM_DIMENSIONS),
            metadata=[
                [names[label], names[prediction]]
                for label, prediction in zip(labels.tolist(), logits.argmax(dim=1).tolist(), strict=True)
            ],
            metadata_header=[noun_of(names), "prediction"],
            label_img=images / 255,
            global_step=step,
            tag=_TAG,
        )


def last_features(network: nn.Module, images: Tensor) -> tuple[Tensor | None, Tensor]:
    """The input of the global average pooling, or else of the last layer with weights; and the logits.

    Args:
        network: in evaluation mode.
        images: (B, 1, 28, 28), normalised.

    Returns:
        Features (B, D), None if the network has no such layer, and logits (B, num_classes).
    """
    features: list[Tensor] = []
    layers = [layer for layer in network.modules() if isinstance(layer, nn.AdaptiveAvgPool2d | nn.Linear | nn.Conv2d)]
    hooks = [layer.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0])) for layer in layers]
    logits: Tensor = network(images)
    for hook in hooks:
        hook.remove()
    return (features[-1].flatten(1) if features else None), logits


def principal_components(features: Tensor, num: int) -> Tensor:
    """The first `num` principal components, or all if there are fewer, of features (B, D): (B, at most num).

    Not torch.pca_lowrank, which would draw from the random numbers that training uses.
    """
    left, sizes, _ = torch.linalg.svd(features - features.mean(dim=0), full_matrices=False)
    components: Tensor = left[:, :num] * sizes[:num]
    return components
