"""Precision-recall curves of each class against all others."""

from torch.utils.tensorboard import SummaryWriter
from typing_extensions import override

from mnist_lightning.data.datasets import noun_of
from mnist_lightning.tensorboard.evaluation import EvaluationDashboard, EvaluationResult


class PrecisionRecall(EvaluationDashboard):
    """Writes one curve per class after each epoch."""

    @override
    def draw(self, writer: SummaryWriter, result: EvaluationResult, stage: str) -> None:
        probabilities = result.logits.softmax(dim=1)  # (N, num_classes)
        for label, name in enumerate(result.class_names):
            tag = f"{stage}_precision_recall/{noun_of(result.class_names)}_{name}"
            writer.add_pr_curve(tag, result.labels == label, probabilities[:, label], result.epoch)
