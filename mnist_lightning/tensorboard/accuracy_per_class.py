"""Accuracy on each class."""

import math

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from torch.utils.tensorboard import SummaryWriter
from torchmetrics.classification import MulticlassAccuracy
from typing_extensions import override

from mnist_lightning.data.datasets import noun_of
from mnist_lightning.tensorboard.evaluation import EvaluationDashboard, EvaluationResult


class AccuracyPerClass(EvaluationDashboard):
    """Draws `accuracy_per_digit`, or `accuracy_per_class` of other classes, after each epoch."""

    @override
    def draw(self, writer: SummaryWriter, result: EvaluationResult, stage: str) -> None:
        names, noun = result.class_names, noun_of(result.class_names)
        # Its inputs already cover all processes, and only the first process calls it.
        metric = MulticlassAccuracy(len(names), average=None, validate_args=False, sync_on_compute=False)
        accuracies = metric(result.logits, result.labels)  # (num_classes,)
        num_images = result.labels.bincount(minlength=len(names))
        accuracies = accuracies.masked_fill(num_images.to(accuracies.device) == 0, math.nan)  # draws nothing
        figure = Figure(figsize=(5, 4), dpi=80)
        # Room for names below the axis. A fixed position: automatic placement measures all texts, which is slow.
        axes = figure.add_axes((0.16, 0.13, 0.8, 0.77) if noun == "digit" else (0.16, 0.3, 0.8, 0.6))
        metric.plot(accuracies, ax=axes)
        for redundant in (axes.get_legend(), *axes.texts):  # the axes have labels
            if redundant is not None:
                redundant.remove()
        axes.get_xaxis().set_visible(True)
        axes.set_xticks(range(len(names)), names, rotation=0 if noun == "digit" else 90)
        # In torchmetrics' range, 0 to 1, all classes would soon be at the top.
        bottom = math.floor(20 * float(accuracies[~accuracies.isnan()].min())) / 20
        axes.set(xlim=(-0.5, len(names) - 0.5), ylim=(bottom - 0.002, 1.002), xlabel=noun, ylabel="accuracy")
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))
        axes.set_title(f"{stage}, epoch {result.epoch}", y=1.01)
        writer.add_figure(f"{stage}/accuracy_per_{noun}", figure, result.epoch)
