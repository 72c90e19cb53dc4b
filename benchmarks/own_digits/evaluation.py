"""`python -m benchmarks.own_digits.evaluation`: what `read` makes of pictures that are not from MNIST.

Classifies every picture of a rendered set twice: as by `read`, and only resized. Writes the figures to
`own_digits.json`, and a contact sheet with errors and some correct predictions to `own_digits.png`.
"""

import argparse
import io
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL
import scipy
import torch
from PIL import Image, ImageDraw, ImageOps
from torch import Tensor

from benchmarks.own_digits import rendered_digits as sets
from benchmarks.own_digits.rendered_digits import RenderedDigit
from mnist_lightning.classifier import SURE_PROBABILITY, DigitClassifier
from mnist_lightning.data.datasets import MNIST, default_data_dir
from mnist_lightning.errors import UserError
from mnist_lightning.files import atomic_write
from mnist_lightning.read.reading import Answer, classify, prepare_digit, recognise
from mnist_lightning.runs.checkpoint import load_classifier
from mnist_lightning.runs.record import versions

OUTCOMES = ("right", "wrong", "not_sure", "no_digit_found")
NUM_SHOWN = 60  # of each, on the contact sheet: wrong, not read, right
NUM_COLUMNS, TILE_SIDE = 12, 64  # pixels, of a picture and of its prepared image


class Result(NamedTuple):
    """A picture and the predictions."""

    rendered: RenderedDigit
    prepared: Tensor | None  # (28, 28) uint8; None if no digit was found
    read: Answer | None  # None if no digit was found
    read_plainly: int  # prediction for the resized picture

    @property
    def outcome(self) -> str:
        """How `read` did, one of OUTCOMES; a confident answer to a picture without a digit is wrong."""
        if self.read is None:
            return "no_digit_found"
        if self.read.problem is not None:
            return "not_sure"
        return "right" if self.read.name == str(self.rendered.digit) else "wrong"

    @property
    def is_right(self) -> bool:
        """Whether `read` is confident and right, or refuses a picture without a digit."""
        return self.outcome in (("not_sure", "no_digit_found") if self.rendered.digit is None else ("right",))

    @property
    def caption(self) -> str:
        """The label, and what `read` says."""
        said = "no digit" if self.read is None else f"{self.read.name}{'?' if self.outcome == 'not_sure' else ''}"
        label = "none" if self.rendered.digit is None else self.rendered.digit
        return f"{label} read as {said}"


def resized_plainly(image: Image.Image) -> Tensor:
    """The whole picture resized to (28, 28) uint8, grey, light on dark: the obvious preparation."""
    grey = np.array(image.convert("L").resize((28, 28)))
    return torch.from_numpy(255 - grey if grey.mean() > 127 else grey)


def evaluate(classifier: DigitClassifier, pictures: Iterable[RenderedDigit]) -> list[Result]:
    """Classifies all pictures, prepared and resized; keeps a small copy of each."""
    results = []
    for picture in pictures:
        try:
            prepared = prepare_digit(picture.image)
        except UserError:  # no digit, or several
            prepared = None
        read = None if prepared is None else recognise(classifier, prepared)
        plain = classify(classifier, resized_plainly(picture.image).unsqueeze(0)).argmax()
        small = ImageOps.contain(picture.image, (TILE_SIDE, TILE_SIDE)).convert("RGB")
        results.append(Result(picture._replace(image=small), prepared, read, int(plain)))
    return results


def figures_of(results: Sequence[Result]) -> dict[str, Any]:
    """Number of each outcome, by kind and for all digits but MNIST's, and of each confident error."""
    kinds = list(dict.fromkeys(result.rendered.kind for result in results))
    digits = [result for result in results if result.rendered.digit is not None and result.rendered.kind != sets.MNIST]
    errors = Counter(result.caption for result in digits if result.outcome == "wrong")
    return {
        "digits": _counts(digits) | {"read_plainly": sum(r.read_plainly == r.rendered.digit for r in digits)},
        "by_kind": {kind: _counts([result for result in results if result.rendered.kind == kind]) for kind in kinds},
        "errors": dict(sorted(errors.items())),
    }


def _counts(results: Sequence[Result]) -> dict[str, int]:
    outcomes = Counter(result.outcome for result in results)
    return {"n": len(results)} | {outcome: outcomes[outcome] for outcome in OUTCOMES}


def contact_sheet(results: Sequence[Result]) -> Image.Image:
    """The wrong answers, then digits that were not read, then right ones: each picture beside its prepared image."""
    rng = np.random.default_rng(0)
    wrong = [result for result in results if result.outcome == "wrong"]
    lost = [result for result in results if result.outcome != "wrong" and not result.is_right]
    right = [result for result in results if result.is_right]
    shown = [
        some[index]
        for some in (wrong, lost, right)
        for index in sorted(rng.choice(len(some), min(NUM_SHOWN, len(some)), replace=False))
    ]
    width, height = 2 * TILE_SIDE + 6, TILE_SIDE + 18  # with the caption
    sheet = Image.new("RGB", (NUM_COLUMNS * width, -(-len(shown) // NUM_COLUMNS) * height), "#282828")
    draw = ImageDraw.Draw(sheet)
    for number, result in enumerate(shown):
        x, y = number % NUM_COLUMNS * width, number // NUM_COLUMNS * height
        draw.text((x + 2, y), result.caption, fill="#dcdcdc" if result.is_right else "#ff7864")
        sheet.paste(result.rendered.image, (x, y + 14))
        if result.prepared is not None:
            prepared = Image.fromarray(result.prepared.numpy()).resize((TILE_SIDE, TILE_SIDE), Image.Resampling.NEAREST)
            sheet.paste(prepared, (x + TILE_SIDE + 1, y + 14))
    return sheet.quantize(128)  # colours, for a small file


def main(args: Sequence[str] | None = None) -> None:
    """Evaluates and writes the figures and the contact sheet."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.own_digits.evaluation", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--ckpt_path", default="models/mnist.ckpt", help="checkpoint")
    parser.add_argument("--output", type=Path, default=Path("results/own_digits"), help="output folder")
    which_help = "set of pictures; use only the development set to change the preparation"
    parser.add_argument("--set", choices=list(sets.SEEDS), default="report", help=which_help)
    options = parser.parse_args(args)
    classifier = load_classifier(options.ckpt_path)
    mnist = MNIST.read(default_data_dir())[options.set == "report"]
    results = evaluate(classifier, chain(sets.rendered_digits(options.set), sets.mnist_pictures(mnist)))
    figures = {
        "set": options.set,
        "date": datetime.now(UTC).date().isoformat(),
        "versions": versions() | {"pillow": PIL.__version__, "scipy": scipy.__version__},
        "checkpoint": Path(options.ckpt_path).name,
        "sure_probability": SURE_PROBABILITY,
        "seed": sets.SEEDS[options.set],
        "num_faces": len(sets.faces_of(options.set)),
        "num_pens": len(sets.PENS_OF[options.set]),
        **figures_of(results),
    }
    options.output.mkdir(parents=True, exist_ok=True)
    atomic_write(options.output / "own_digits.json", json.dumps(figures, indent=1) + "\n")
    file = io.BytesIO()
    contact_sheet(results).save(file, "PNG", optimize=True)
    atomic_write(options.output / "own_digits.png", file.getvalue())
    print(json.dumps(figures["digits"]))


if __name__ == "__main__":
    main()
