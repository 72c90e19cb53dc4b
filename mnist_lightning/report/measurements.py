"""What was measured, as numbers: nothing exists as a picture alone."""

from typing import Any

from torch import Tensor

from mnist_lightning.data.batches import LabelledImages
from mnist_lightning.report.calibration import NUM_BINS, expected_calibration_error, reliability_bins
from mnist_lightning.report.confusion import confusion_counts
from mnist_lightning.report.evaluation import Curve
from mnist_lightning.report.finished_run import FinishedRun
from mnist_lightning.runs.predictions import worst_mistakes

Numbers = dict[str, Any]  # as in analysis.json


def measured_numbers(run: FinishedRun, test: LabelledImages, probabilities: Tensor, curves: list[Curve]) -> Numbers:
    """All figures of a run on its N test images, with probabilities (N, 10); shares are in [0, 1]."""
    counts = confusion_counts(test.labels, probabilities)
    certainties, digits = probabilities.max(dim=1)
    num_images, num_correct = len(test.labels), int((digits == test.labels).sum())
    return {
        "dataset": run.data.title,
        "checkpoint": run.checkpoint,
        "steps": run.num_steps,
        "num_images": num_images,
        "num_correct": num_correct,
        "accuracy": num_correct / num_images,
        "test_time_augmentation": run.classifier.test_time_augmentation,
        "per_class": [
            {
                "digit": digit,
                "num_images": sum(row),
                "num_correct": row[digit],
                "accuracy": _share(row[digit], sum(row)),
            }
            for digit, row in enumerate(counts.tolist())
        ],
        "confusion": counts.tolist(),
        "mistakes": [
            {
                "index": index,
                "label": int(test.labels[index]),
                "prediction": int(digits[index]),
                "probability": float(certainties[index]),
            }
            for index in worst_mistakes(test.labels, probabilities).tolist()
        ],
        "calibration": {
            "expected_calibration_error": expected_calibration_error(test.labels, probabilities),
            "num_bins": NUM_BINS,
            "mean_probability": float(certainties.double().mean()),
            "bins": [
                {**each._asdict(), "accuracy": _share(each.num_correct, each.num_images)}
                for each in reliability_bins(test.labels, probabilities)
            ],
        },
        "robustness": {
            "test_time_augmentation": False,
            "num_images": curves[0].num_images,
            **{
                curve.movement: [
                    {"amount": amount, "num_correct": correct, "accuracy": correct / curve.num_images}
                    for amount, correct in zip(curve.amounts, curve.num_correct, strict=True)
                ]
                for curve in curves
            },
        },
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
