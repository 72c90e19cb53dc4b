"""The confusion matrix."""

from matplotlib.figure import Figure
from torch.utils.tensorboard import SummaryWriter
from torchmetrics.classification import MulticlassConfusionMatrix
from typing_extensions import override

from mnist_lightning.data.datasets import noun_of
from mnist_lightning.tensorboard.evaluation import EvaluationDashboard, EvaluationResult


class ConfusionMatrix(EvaluationDashboard):
    """Draws `confusion_matrix` after each epoch, with the count in each cell above 0."""

    @override
    def draw(self, writer: SummaryWriter, result: EvaluationResult, stage: str) -> None:
        # Its inputs already cover all processes, and only the first process calls it.
        metric = MulticlassConfusionMatrix(len(result.class_names), validate_args=False, sync_on_compute=False)
        matrix = metric(result.logits, result.labels)  # (num_classes, num_classes) int64, [true, predicted]
        # Not pyplot: this figure needs no display and is freed when it goes out of scope.
        figure = Figure(figsize=(5, 5), dpi=80)
        axes = figure.subplots()
        # Without text: zeros would take half the time.
        metric.plot(matrix, ax=axes, add_text=False, cmap="Blues", labels=list(result.class_names))
        if noun_of(result.class_names) != "digit":
            axes.set_xticks(axes.get_xticks(), result.class_names, rotation=90)
            figure.subplots_adjust(left=0.26, bottom=0.22, top=0.93)
        # The colour scale ends at a twentieth of a row; otherwise the diagonal would hide the errors.
        darkest = int(matrix.sum(dim=1).max()) / 20
        axes.images[0].set_clim(0, darkest)
        for true, predicted in matrix.nonzero().tolist():
            count = int(matrix[true, predicted])
            colour = "white" if count > darkest / 2 else "black"
            axes.text(predicted, true, str(count), ha="center", va="center", color=colour, fontsize=9)
        # A fixed position: automatic placement measures all texts, which is slow.
        axes.set_title(f"{stage}, epoch {result.epoch}: {len(result.labels):,} images", y=1.01)
        writer.add_figure(f"{stage}/confusion_matrix", figure, result.epoch)
