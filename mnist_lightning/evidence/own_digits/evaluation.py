"""`python -m mnist_lightning.evidence.own_digits.evaluation`: accuracy on digits that are not from MNIST.

Classifies every picture of a rendered set twice: prepared as by `read`, and only resized. Writes the figures to
`own_digits.json`, and a contact sheet with all errors and some correct predictions to `own_digits.png`.
"""

import argparse
import io
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL
import scipy
import torch
from PIL import Image
from torch import Tensor

from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.errors import NoDigitError, UserError
from mnist_lightning.evidence.own_digits.contact_sheet import Tile, contact_sheet
from mnist_lightning.evidence.own_digits.rendered_digits import (
    FONTS,
    PENS_OF,
    SEEDS,
    DrawnSet,
    RenderedDigit,
    empty_papers,
    rendered_digits,
)
from mnist_lightning.read.mnist_format import SIDE
from mnist_lightning.read.preparation import prepare_digit
from mnist_lightning.read.reading import classify
from mnist_lightning.runs.checkpoint import load_classifier
from mnist_lightning.runs.environment import versions
from mnist_lightning.runs.files import atomic_write

NUM_SHOWN = 60  # correct predictions on the contact sheet


class Result(NamedTuple):
    """A picture of a digit, and the predictions."""

    rendered: RenderedDigit
    prepared: Tensor | None  # (28, 28) uint8; None if no digit was found
    read: int | None  # prediction for the prepared image; None if no digit was found
    read_plainly: int  # prediction for the resized picture

    @property
    def is_right(self) -> bool:
        """Whether the prediction for the prepared image is correct."""
        return self.read == self.rendered.digit


def resized_plainly(image: Image.Image) -> Tensor:
    """The whole picture resized to (28, 28) uint8, grey, light on dark: the obvious preparation."""
    grey = np.array(image.convert("L").resize((SIDE, SIDE)))
    return torch.from_numpy(255 - grey if grey.mean() > 127 else grey)


def evaluate(classifier: DigitClassifier, pictures: Sequence[RenderedDigit]) -> list[Result]:
    """Classifies all pictures, prepared and resized."""
    prepared = [_prepared_or_none(picture.image) for picture in pictures]
    blank = torch.zeros(SIDE, SIDE, dtype=torch.uint8)
    images = torch.stack([blank if image is None else image for image in prepared])
    plain = torch.stack([resized_plainly(picture.image) for picture in pictures])
    digits, plain_digits = (classify(classifier, batch).argmax(dim=1).tolist() for batch in (images, plain))
    return [
        Result(picture, image, None if image is None else digit, plain_digit)
        for picture, image, digit, plain_digit in zip(pictures, prepared, digits, plain_digits, strict=True)
    ]


def _prepared_or_none(image: Image.Image) -> Tensor | None:
    try:
        return prepare_digit(image)
    except NoDigitError:
        return None


def figures_of(results: Sequence[Result]) -> dict[str, Any]:
    """Accuracies in [0, 1], overall and by group, and the number of each error."""
    groups: dict[str, Callable[[RenderedDigit], str]] = {
        "by_kind": lambda rendered: rendered.kind,
        "by_polarity": lambda rendered: "light on dark" if rendered.light_on_dark else "dark on light",
        "by_digit": lambda rendered: str(rendered.digit),
        "by_style": lambda rendered: rendered.style,
    }
    figures: dict[str, Any] = {"all": _accuracies(results)}
    for title, key in groups.items():
        names = sorted({key(result.rendered) for result in results})
        figures[title] = {
            name: _accuracies([result for result in results if key(result.rendered) == name]) for name in names
        }
    errors = Counter(
        f"{result.rendered.digit} read as {'nothing' if result.read is None else result.read}"
        for result in results
        if not result.is_right
    )
    return figures | {"errors": dict(sorted(errors.items()))}


def _accuracies(results: Sequence[Result]) -> dict[str, float]:
    return {
        "n": len(results),
        "accuracy": sum(result.is_right for result in results) / len(results),
        "plain_accuracy": sum(result.read_plainly == result.rendered.digit for result in results) / len(results),
    }


def num_refused(papers: Iterable[Image.Image]) -> int:
    """Number of pictures without a recognised digit."""
    return sum(_prepared_or_none(paper) is None for paper in papers)


def _tiles(results: Sequence[Result]) -> list[Tile]:
    """All errors, then some correct predictions."""
    right = [result for result in results if result.is_right]
    chosen = np.random.default_rng(0).choice(len(right), min(NUM_SHOWN, len(right)), replace=False)
    shown = [result for result in results if not result.is_right] + [right[index] for index in sorted(chosen)]
    return [
        Tile(
            result.rendered.image,
            result.prepared,
            f"{result.rendered.digit} read as {'nothing' if result.read is None else result.read}",
            result.is_right,
        )
        for result in shown
    ]


def main(args: Sequence[str] | None = None) -> None:
    """Evaluates and writes the figures and the contact sheet.

    Raises:
        SystemExit: status 2 after a user error.
    """
    parser = argparse.ArgumentParser(
        prog="python -m mnist_lightning.evidence.own_digits.evaluation", allow_abbrev=False
    )
    parser.add_argument("--ckpt_path", default="models/mnist.ckpt", help="checkpoint (default: %(default)s)")
    parser.add_argument(
        "--output", type=Path, default=Path("results/own_digits"), help="output folder (default: %(default)s)"
    )
    parser.add_argument(
        "--set",
        choices=list(SEEDS),
        default="report",
        help="set of pictures; use only the development set to change the preparation (default: %(default)s)",
    )
    options = parser.parse_args(args)
    which: DrawnSet = options.set
    try:
        classifier = load_classifier(options.ckpt_path)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    results = evaluate(classifier, list(rendered_digits(which)))
    papers = list(empty_papers(which))
    figures = {
        "set": which,
        "date": datetime.now(UTC).date().isoformat(),
        "versions": versions() | {"pillow": PIL.__version__, "scipy": scipy.__version__},
        "checkpoint": Path(options.ckpt_path).name,
        "seed": SEEDS[which],
        "num_faces": sum(map(len, FONTS[which].values())),
        "num_pens": len(PENS_OF[which]),
        **figures_of(results),
        "empty_papers": {"n": len(papers), "refused": num_refused(papers)},
    }
    options.output.mkdir(parents=True, exist_ok=True)
    atomic_write(options.output / "own_digits.json", json.dumps(figures, indent=1) + "\n")
    file = io.BytesIO()
    contact_sheet(_tiles(results)).save(file, "PNG", optimize=True)
    atomic_write(options.output / "own_digits.png", file.getvalue())
    total = figures["all"]
    print(f"{total['n']} pictures: accuracy {total['accuracy']:.1%}; only resized {total['plain_accuracy']:.1%}")


if __name__ == "__main__":
    main()
