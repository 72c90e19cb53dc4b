"""A copy of the network for the dashboards' computations."""

import torch
from torch import nn

from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.network import build_network


def network_copy(module: DigitClassifier) -> nn.Module:
    """Copies the network, in evaluation mode and with PyTorch's layers.

    Not `copy.deepcopy`: the layers' hooks of --trainer.profiler pytorch cannot be copied.
    """
    settings = {name: module.hparams[name] for name in ("dropout", "channels", "batch_norm", "head")}
    with torch.random.fork_rng(devices=[]):  # initial weights draw from the random numbers that training uses
        net = build_network(module.hparams["network"], num_classes=len(module.class_names), **settings)
    net.load_state_dict(module.net.state_dict())
    return net.to(module.device, module.net_dtype).eval()
