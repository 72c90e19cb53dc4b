"""A copy of the network for the dashboards' computations."""

import torch

from mnist_lightning.classifier import DigitClassifier, Net, build_network


def network_copy(module: DigitClassifier) -> Net:
    """Copies the network, in evaluation mode and with PyTorch's layers.

    Not `copy.deepcopy`: the layers' hooks of --trainer.profiler pytorch cannot be copied.
    """
    settings = module.hparams
    with torch.device("meta"):  # draws no random numbers
        net = build_network(
            settings["network"], settings["dropout"], settings["width"], settings["batch_norm"], settings["head"]
        )
    net.load_state_dict({name: value.clone() for name, value in module.net.state_dict().items()}, assign=True)
    return net.eval()
