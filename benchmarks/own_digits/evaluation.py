"""`python -m benchmarks.own_digits.evaluation`: what `read` makes of pictures that are not from MNIST.

Classifies every picture of a rendered set twice: as by `read`, and only resized. Writes the figures to
`own_digits.json`, and a contact sheet with errors and some correct predictions to `own_digits.png`.
"""

import argparse
import io
import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import PIL
import scipy
import torch
from PIL import Image, ImageOps
from torch import Tensor

from benchmarks.own_digits.contact_sheet import TILE_SIDE, Tile, contact_sheet
from benchmarks.own_digits.rendered_digits import (
    FONTS,
    PENS_OF,
    SEEDS,
    DrawnSet,
    RenderedDigit,
    mnist_pictures,
    rendered_digits,
)
from benchmarks.own_digits.rendered_digits import MNIST as MNIST_KIND
from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.data.datasets import MNIST
from mnist_lightning.data.idx_files import default_data_dir
from mnist_lightning.errors import UserError
from mnist_lightning.files import atomic_write
from mnist_lightning.read.mnist_format import SIDE
from mnist_lightning.read.preparation import prepare_digit
from mnist_lightning.read.reading import ReadDigit, classify, recognise
from mnist_lightning.runs.checkpoint import load_classifier
from mnist_lightning.runs.environment import versions
from mnist_lightning.runs.predictions import SURE_PROBABILITY

NUM_SHOWN = 60  # of each, on the contact sheet: wrong, not read, right
Outcome = Literal["right", "wrong", "not_sure", "no_digit_found"]


class Result(NamedTuple):
    """A picture and the predictions."""

    rendered: RenderedDigit
    prepared: Tensor | None  # (28, 28) uint8; None if no digit was found
    read: ReadDigit | None  # None if no digit was found
    read_plainly: int  # prediction for the resized picture

    @property
    def outcome(self) -> Outcome:
        """How `read` did; a confident answer to a picture without a digit is wrong."""
        if self.read is None:
            return "no_digit_found"
        if self.read.problem is not None:
            return "not_sure"
        return "right" if self.read.digit == self.rendered.digit else "wrong"

    @property
    def is_right(self) -> bool:
        """Whether `read` is confident and right, or refuses a picture without a digit."""
        refused = self.outcome in ("not_sure", "no_digit_found")
        return refused if self.rendered.digit is None else self.outcome == "right"

    @property
    def caption(self) -> str:
        """Label, and what `read` says."""
        said = "no digit" if self.read is None else f"{self.read.digit}{'?' if self.outcome == 'not_sure' else ''}"
        return f"{'none' if self.rendered.digit is None else self.rendered.digit} read as {said}"


def resized_plainly(image: Image.Image) -> Tensor:
    """The whole picture resized to (28, 28) uint8, grey, light on dark: the obvious preparation."""
    grey = np.array(image.convert("L").resize((SIDE, SIDE)))
    return torch.from_numpy(255 - grey if grey.mean() > 127 else grey)


def evaluate(classifier: DigitClassifier, pictures: Iterable[RenderedDigit]) -> list[Result]:
    """Classifies all pictures, prepared and resized; keeps a small copy of each."""
    results = []
    for picture in pictures:
        prepared = _prepared_or_none(picture.image)
        read = None if prepared is None else recognise(classifier, prepared)
        plain = classify(classifier, resized_plainly(picture.image).unsqueeze(0)).argmax()
        small = picture._replace(image=ImageOps.contain(picture.image, (TILE_SIDE, TILE_SIDE)))
        results.append(Result(small, prepared, read, int(plain)))
    return results


def _prepared_or_none(image: Image.Image) -> Tensor | None:
    try:
        return prepare_digit(image)
    except UserError:
        return None


def figures_of(results: Sequence[Result]) -> dict[str, Any]:
    """Number of each outcome, by kind and for all digits but MNIST's, and of each confident error."""
    kinds = list(dict.fromkeys(result.rendered.kind for result in results))
    digits = [result for result in results if result.rendered.digit is not None and result.rendered.kind != MNIST_KIND]
    errors = Counter(result.caption for result in digits if result.outcome == "wrong")
    return {
        "digits": _counts(digits) | {"read_plainly": sum(r.read_plainly == r.rendered.digit for r in digits)},
        "by_kind": {kind: _counts([result for result in results if result.rendered.kind == kind]) for kind in kinds},
        "errors": dict(sorted(errors.items())),
    }


def _counts(results: Sequence[Result]) -> dict[str, int]:
    outcomes = Counter(result.outcome for result in results)
    return {"n": len(results)} | {outcome: outcomes[outcome] for outcome in get_args(Outcome)}


def _tiles(results: Sequence[Result]) -> list[Tile]:
    """The most serious errors, then some others and some correct predictions."""
    rng = np.random.default_rng(0)
    wrong = [result for result in results if result.outcome == "wrong"]
    lost = [result for result in results if result.outcome != "wrong" and not result.is_right]
    right = [result for result in results if result.is_right]
    shown = [
        some[index]
        for some in (wrong, lost, right)
        for index in sorted(rng.choice(len(some), min(NUM_SHOWN, len(some)), replace=False))
    ]
    return [Tile(result.rendered.image, result.prepared, result.caption, result.is_right) for result in shown]


def main(args: Sequence[str] | None = None) -> None:
    """Evaluates and writes the figures and the contact sheet.

    Raises:
        SystemExit: status 2 after a user error.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.own_digits.evaluation", allow_abbrev=False)
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
        mnist = MNIST.read(default_data_dir())[which == "report"]
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    results = evaluate(classifier, chain(rendered_digits(which), mnist_pictures(mnist)))
    figures = {
        "set": which,
        "date": datetime.now(UTC).date().isoformat(),
        "versions": versions() | {"pillow": PIL.__version__, "scipy": scipy.__version__},
        "checkpoint": Path(options.ckpt_path).name,
        "sure_probability": SURE_PROBABILITY,
        "seed": SEEDS[which],
        "num_faces": sum(map(len, FONTS[which].values())),
        "num_pens": len(PENS_OF[which]),
        **figures_of(results),
    }
    options.output.mkdir(parents=True, exist_ok=True)
    atomic_write(options.output / "own_digits.json", json.dumps(figures, indent=1) + "\n")
    file = io.BytesIO()
    contact_sheet(_tiles(results)).save(file, "PNG", optimize=True)
    atomic_write(options.output / "own_digits.png", file.getvalue())
    print(json.dumps(figures["digits"]))


if __name__ == "__main__":
    main()
