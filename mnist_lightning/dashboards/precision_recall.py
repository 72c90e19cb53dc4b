"""Precision-recall curves of each digit against all others."""

from torch.utils.tensorboard import SummaryWriter
from typing_extensions import override

from mnist_lightning.dashboards.evaluation import EvaluationDashboard, EvaluationResult
from mnist_lightning.network import NUM_CLASSES


class PrecisionRecall(EvaluationDashboard):
    """Writes one curve per digit after each epoch."""

    @override
    def draw(self, writer: SummaryWriter, result: EvaluationResult, stage: str) -> None:
        probabilities = result.logits.softmax(dim=1)  # (N, 10)
        for digit in range(NUM_CLASSES):
            tag = f"{stage}_precision_recall/digit_{digit}"
            writer.add_pr_curve(tag, result.labels == digit, probabilities[:, digit], result.epoch)
