"""The images that the network is most sure of, and wrong."""

from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from torchvision.utils import make_grid
from typing_extensions import override

from mnist_lightning.dashboards.evaluation import Evaluated, EvaluationDashboard

NUM_COLUMNS, NUM_ROWS = 5, 3
_GAP_PIXELS = 10  # between images, where the text stands


class Mistakes(NamedTuple):
    """Images that were taken for another digit, the surest mistake first."""

    images: Tensor  # (M, 1, 28, 28) uint8
    labels: Tensor  # (M,) int64
    predictions: Tensor  # (M,) int64, never the label
    probabilities: Tensor  # (M,) float32, of the prediction


def most_confident_mistakes(evaluated: Evaluated, num: int) -> Mistakes:
    """The `num` mistakes with the greatest probability, or as many as there are."""
    probabilities, predictions = evaluated.logits.softmax(dim=1).max(dim=1)
    wrong = (predictions != evaluated.labels).nonzero().squeeze(1)
    chosen = wrong[probabilities[wrong].argsort(descending=True, stable=True)[:num]]
    images = evaluated.data.images[evaluated.indices[chosen]]
    return Mistakes(images, evaluated.labels[chosen], predictions[chosen], probabilities[chosen])


class ConfidentMistakes(EvaluationDashboard):
    """Draws `confident_mistakes` after each epoch: images with what the network says, how surely, and what is true."""

    @override
    def draw(self, writer: SummaryWriter, evaluated: Evaluated, stage: str) -> None:
        mistakes = most_confident_mistakes(evaluated, NUM_COLUMNS * NUM_ROWS)
        figure = Figure(figsize=(7.5, 5), dpi=80)
        # One picture in one pair of axes: a pair for each image takes five times as long.
        axes = figure.add_axes((0, 0, 1, 0.92))
        axes.set_axis_off()
        axes.set_title(f"{stage}, epoch {evaluated.epoch}: the mistakes it is surest of", fontsize=10)
        size = mistakes.images.shape[-1]
        blank = torch.zeros(NUM_COLUMNS * NUM_ROWS - len(mistakes.images), 1, size, size, dtype=torch.uint8)
        pictures = torch.cat([255 - mistakes.images, 255 - blank])
        grid = make_grid(pictures, NUM_COLUMNS, padding=_GAP_PIXELS, pad_value=255)  # (3, H, W), dark on white
        axes.imshow(grid[0], cmap="gray", vmin=0, vmax=255)
        for number, (label, prediction, probability) in enumerate(zip(*mistakes[1:], strict=True)):
            row, column = divmod(number, NUM_COLUMNS)
            axes.text(
                _GAP_PIXELS + column * (size + _GAP_PIXELS) + size / 2,
                (row + 1) * (size + _GAP_PIXELS) + 1,
                f"says {prediction} ({probability:.1%})\nis {label}",
                ha="center",
                va="top",
                fontsize=8,
            )
        writer.add_figure(f"{stage}/confident_mistakes", figure, evaluated.epoch)
