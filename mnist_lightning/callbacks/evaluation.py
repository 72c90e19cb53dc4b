"""What `validate`, `test` and `predict` print or write."""

import sys
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor
from typing_extensions import override

from mnist_lightning.callbacks.progress import classifier_of
from mnist_lightning.data.image_files import files_of_test_images
from mnist_lightning.files import atomic_write, csv_text
from mnist_lightning.runs.record import part_of


class EvaluationOutput(Callback):
    """Prints accuracy and loss; writes a row per predicted image to `output`, or to standard output as CSV."""

    def __init__(self, output: str | None = None) -> None:
        self.output = output
        self._predictions: list[tuple[int, float]] = []  # label and probability

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._print(trainer, "val", trainer.limit_val_batches)

    @override
    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._print(trainer, "test", trainer.limit_test_batches)

    @rank_zero_only
    def _print(self, trainer: Trainer, stage: str, limit: float) -> None:
        data = trainer.datamodule  # type: ignore[attr-defined]
        figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
        images = data.validation_title if stage == "val" else "test images"
        line = f"{data.title}, {part_of(limit)}{images}: accuracy {figures[f'{stage}/accuracy']:.2%}"
        line += f", loss {figures[f'{stage}/loss']:.4f}"
        if (single := figures.get(f"{stage}/single_view_accuracy")) is not None:
            line += f"; {single:.2%} without test-time augmentation"
        print(line, flush=True)

    @override
    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: tuple[Tensor, Tensor], *args: Any
    ) -> None:
        labels, probabilities = outputs  # (B,) each
        self._predictions += zip(labels.tolist(), probabilities.tolist(), strict=True)

    @override
    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data, names = trainer.datamodule, classifier_of(pl_module).class_names  # type: ignore[attr-defined]
        answers = [(names[label], probability) for label, probability in self._predictions]
        files = files_of_test_images(data.data_dir) if data.dataset == "folder" else []
        rows: list[dict[str, Any]]
        if data.dataset == "csv":  # as Kaggle asks for it
            rows = [{"ImageId": place, "Label": name} for place, (name, _) in enumerate(answers, 1)]
        elif len(files) >= len(answers):
            paired = zip(files, answers, strict=False)
            rows = [{"file": str(path), "class": name, "probability": share} for path, (name, share) in paired]
        else:
            rows = [
                {"dataset": data.title, "index": index, "class": name, "probability": share}
                for index, (name, share) in enumerate(answers)
            ]
        if self.output is None:
            sys.stdout.write(csv_text(rows))
        else:
            atomic_write(Path(self.output), csv_text(rows))
