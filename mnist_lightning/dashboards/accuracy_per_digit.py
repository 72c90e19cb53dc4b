"""How accurate the network is on each digit."""

import math

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from torch.utils.tensorboard import SummaryWriter
from torchmetrics.classification import MulticlassAccuracy
from typing_extensions import override

from mnist_lightning.dashboards.evaluation import Evaluated, Evaluation, EvaluationDashboard
from mnist_lightning.network import NUM_CLASSES


class AccuracyPerDigit(EvaluationDashboard):
    """Draws `accuracy_per_digit` after each epoch."""

    def __init__(self, evaluation: Evaluation) -> None:
        super().__init__(evaluation)
        # What it is given is of all processes, and only the first asks.
        self._metric = MulticlassAccuracy(NUM_CLASSES, average=None, validate_args=False, sync_on_compute=False)

    @override
    def draw(self, writer: SummaryWriter, evaluated: Evaluated, stage: str) -> None:
        accuracies = self._metric(evaluated.logits, evaluated.labels)  # (10,)
        figure = Figure(figsize=(5, 4), dpi=80)
        axes = figure.add_axes((0.16, 0.13, 0.8, 0.77))
        self._metric.plot(accuracies, ax=axes)
        for spare in (axes.get_legend(), *axes.texts):  # the axes say it
            if spare is not None:
                spare.remove()
        axes.get_xaxis().set_visible(True)
        axes.set_xticks(range(NUM_CLASSES))
        # The plot's own range is 0 to 1, where all digits are soon at the top.
        bottom = math.floor(20 * float(accuracies.min())) / 20
        axes.set(xlim=(-0.5, NUM_CLASSES - 0.5), ylim=(bottom - 0.002, 1.002), xlabel="digit", ylabel="accuracy")
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))
        # With a place of its own: to find one measures all texts.
        axes.set_title(f"{stage}, epoch {evaluated.epoch}", y=1.01)
        writer.add_figure(f"{stage}/accuracy_per_digit", figure, evaluated.epoch)
