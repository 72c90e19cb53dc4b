"""The confusion matrix."""

from matplotlib.figure import Figure
from torch.utils.tensorboard import SummaryWriter
from torchmetrics.classification import MulticlassConfusionMatrix
from typing_extensions import override

from mnist_lightning.dashboards.evaluation import Evaluation, EvaluationDashboard, EvaluationResult
from mnist_lightning.network import NUM_CLASSES


class ConfusionMatrix(EvaluationDashboard):
    """Draws `confusion_matrix` after each epoch, with the count in each cell above 0."""

    def __init__(self, evaluation: Evaluation) -> None:
        super().__init__(evaluation)
        # Its inputs already cover all processes, and only the first process calls it.
        self._metric = MulticlassConfusionMatrix(NUM_CLASSES, validate_args=False, sync_on_compute=False)

    @override
    def draw(self, writer: SummaryWriter, result: EvaluationResult, stage: str) -> None:
        matrix = self._metric(result.logits, result.labels)  # (10, 10) int64, [true, predicted]
        # Not pyplot: this figure needs no display and is freed when it goes out of scope.
        figure = Figure(figsize=(5, 5), dpi=80)
        axes = figure.subplots()
        self._metric.plot(matrix, ax=axes, add_text=False, cmap="Blues")  # zeros would take half the time
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
