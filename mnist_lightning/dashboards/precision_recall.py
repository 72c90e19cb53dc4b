"""Precision against recall, of each digit against all others."""

from torch.utils.tensorboard import SummaryWriter
from typing_extensions import override

from mnist_lightning.dashboards.evaluation import Evaluated, EvaluationDashboard
from mnist_lightning.network import NUM_CLASSES


class PrecisionRecall(EvaluationDashboard):
    """Writes a curve for each digit after each epoch."""

    @override
    def draw(self, writer: SummaryWriter, evaluated: Evaluated, stage: str) -> None:
        probabilities = evaluated.logits.softmax(dim=1)  # (N, 10)
        for digit in range(NUM_CLASSES):
            tag = f"{stage}_precision_recall/digit_{digit}"
            writer.add_pr_curve(tag, evaluated.labels == digit, probabilities[:, digit], evaluated.epoch)
