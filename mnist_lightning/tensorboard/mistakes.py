"""The most confident mistakes."""

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from typing_extensions import override

from mnist_lightning.data.datasets import noun_of
from mnist_lightning.runs.predictions import worst_mistakes
from mnist_lightning.tensorboard.evaluation import EvaluationDashboard, EvaluationResult

NUM_COLUMNS, NUM_ROWS = 5, 3
# In pixels; each digit has two lines of text below it.
_DIGIT_SIDE, _CELL_WIDTH, _CELL_HEIGHT, _TITLE_HEIGHT = 84, 116, 124, 30
_NAME_LENGTH = 12  # letters that fit into a cell


class Mistakes(NamedTuple):
    """Misclassified images, the most confident mistake first."""

    images: Tensor  # (M, 1, 28, 28) uint8
    labels: Tensor  # (M,) int64
    predictions: Tensor  # (M,) int64, never the label
    probabilities: Tensor  # (M,) float32, of the prediction


def most_confident_mistakes(result: EvaluationResult, num: int) -> Mistakes:
    """The `num` mistakes with the highest probabilities, or all if there are fewer."""
    probabilities = result.logits.softmax(dim=1)  # (N, num_classes)
    chosen = worst_mistakes(result.labels, probabilities)[:num]
    images = result.data.images[result.indices[chosen]]
    confidences, predictions = probabilities[chosen].max(dim=1)
    return Mistakes(images, result.labels[chosen], predictions, confidences)


class ConfidentMistakes(EvaluationDashboard):
    """Draws `confident_mistakes` after each epoch: images with prediction, probability and label."""

    @override
    def draw(self, writer: SummaryWriter, result: EvaluationResult, stage: str) -> None:
        mistakes = most_confident_mistakes(result, NUM_COLUMNS * NUM_ROWS)
        # Pillow draws these texts ten times as fast as matplotlib.
        picture = Image.new("L", (NUM_COLUMNS * _CELL_WIDTH, _TITLE_HEIGHT + NUM_ROWS * _CELL_HEIGHT), color=255)
        draw = ImageDraw.Draw(picture)
        font = ImageFont.load_default(size=12)
        title = f"{stage}, epoch {result.epoch}: " + (
            "most confident mistakes" if len(mistakes.labels) else "no mistakes"
        )
        draw.text((picture.width / 2, 6), title, anchor="ma", font=ImageFont.load_default(size=14))
        for number, (image, label, prediction, probability) in enumerate(zip(*mistakes, strict=True)):
            row, column = divmod(number, NUM_COLUMNS)
            left, top = column * _CELL_WIDTH, _TITLE_HEIGHT + row * _CELL_HEIGHT
            digit = Image.fromarray(255 - image[0].numpy()).resize((_DIGIT_SIDE, _DIGIT_SIDE))
            picture.paste(digit, (left + (_CELL_WIDTH - _DIGIT_SIDE) // 2, top))
            predicted, true = (result.class_names[place][:_NAME_LENGTH] for place in (prediction, label))
            text = f"predicted {predicted} ({probability:.1%})\ntrue {true}"
            if noun_of(result.class_names) != "digit":
                text = f"{predicted} ({probability:.0%})\ntrue {true}"
            draw.text((left + _CELL_WIDTH / 2, top + _DIGIT_SIDE), text, anchor="ma", align="center", font=font)
        writer.add_image(f"{stage}/confident_mistakes", np.asarray(picture), result.epoch, dataformats="HW")
