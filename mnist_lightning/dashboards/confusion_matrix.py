"""Which digit is taken for which."""

from matplotlib.figure import Figure
from torch.utils.tensorboard import SummaryWriter
from torchmetrics.classification import MulticlassConfusionMatrix
from typing_extensions import override

from mnist_lightning.dashboards.evaluation import Evaluated, Evaluation, EvaluationDashboard
from mnist_lightning.network import NUM_CLASSES


class ConfusionMatrix(EvaluationDashboard):
    """Draws `confusion_matrix` after each epoch, with a number in each cell that is not empty."""

    def __init__(self, evaluation: Evaluation) -> None:
        super().__init__(evaluation)
        # What it is given is of all processes, and only the first asks.
        self._metric = MulticlassConfusionMatrix(NUM_CLASSES, validate_args=False, sync_on_compute=False)

    @override
    def draw(self, writer: SummaryWriter, evaluated: Evaluated, stage: str) -> None:
        matrix = self._metric(evaluated.logits, evaluated.labels)  # (10, 10) int64, [true, predicted]
        # Not pyplot's: such a figure needs no screen, and is gone when nothing names it.
        figure = Figure(figsize=(5, 5), dpi=80)
        axes = figure.subplots()
        self._metric.plot(matrix, ax=axes, add_text=False, cmap="Blues")  # texts of empty cells take half the time
        # Colours up to a twentieth of a row: the diagonal would hide all else.
        shown_as_full = int(matrix.sum(dim=1).max()) / 20
        axes.images[0].set_clim(0, shown_as_full)
        for true, predicted in matrix.nonzero().tolist():
            count = int(matrix[true, predicted])
            colour = "white" if count > shown_as_full / 2 else "black"
            axes.text(predicted, true, str(count), ha="center", va="center", color=colour, fontsize=9)
        # With a place of its own: to find one measures all texts.
        axes.set_title(f"{stage}, epoch {evaluated.epoch}: {len(evaluated.labels):,} images", y=1.01)
        writer.add_figure(f"{stage}/confusion_matrix", figure, evaluated.epoch)
