"""The network as a graph."""

import warnings

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from mnist_lightning.callbacks.progress_bar import print_above_bar
from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.files import one_line
from mnist_lightning.network import IMAGE_SHAPE
from mnist_lightning.tensorboard.network_copy import network_copy
from mnist_lightning.tensorboard.writer import tensorboard_writer


class Graph(Callback):
    """Writes the network's graph once, in evaluation mode and with PyTorch's layers, whatever `--model.backend` is."""

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        writer = tensorboard_writer(trainer)
        if writer is None:
            return
        assert isinstance(pl_module, DigitClassifier)
        # In evaluation mode, because tracing dropout would draw from the random numbers that training uses.
        network = network_copy(pl_module).float().cpu()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the writer uses torch.jit, which is deprecated
            try:
                writer.add_graph(network, torch.zeros(1, *IMAGE_SHAPE))
            except Exception as error:  # not every user's network can be traced
                print_above_bar(f"TensorBoard will show no graph: {one_line(str(error))[:200]}")
