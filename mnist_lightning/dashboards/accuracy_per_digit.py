"""Accuracy on each digit."""

import math

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from torch.utils.tensorboard import SummaryWriter
from torchmetrics.classification import MulticlassAccuracy
from typing_extensions import override

from mnist_lightning.dashboards.evaluation import Evaluation, EvaluationDashboard, EvaluationResult
from mnist_lightning.network import NUM_CLASSES


class AccuracyPerDigit(EvaluationDashboard):
    """Draws `accuracy_per_digit` after each epoch."""

    def __init__(self, evaluation: Evaluation) -> None:
        super().__init__(evaluation)
        # Its inputs already cover all processes, and only the first process calls it.
        self._metric = MulticlassAccuracy(NUM_CLASSES, average=None, validate_args=False, sync_on_compute=False)

    @override
    def draw(self, writer: SummaryWriter, result: EvaluationResult, stage: str) -> None:
        accuracies = self._metric(result.logits, result.labels)  # (10,)
        figure = Figure(figsize=(5, 4), dpi=80)
        axes = figure.add_axes((0.16, 0.13, 0.8, 0.77))
        self._metric.plot(accuracies, ax=axes)
        for redundant in (axes.get_legend(), *axes.texts):  # the axes have labels
            if redundant is not None:
                redundant.remove()
        axes.get_xaxis().set_visible(True)
        axes.set_xticks(range(NUM_CLASSES))
        # In torchmetrics' range, 0 to 1, all digits would soon be at the top.
        bottom = math.floor(20 * float(accuracies.min())) / 20
        axes.set(xlim=(-0.5, NUM_CLASSES - 0.5), ylim=(bottom - 0.002, 1.002), xlabel="digit", ylabel="accuracy")
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))
        # A fixed position: automatic placement measures all texts, which is slow.
        axes.set_title(f"{stage}, epoch {result.epoch}", y=1.01)
        writer.add_figure(f"{stage}/accuracy_per_digit", figure, result.epoch)
