"""Recognises the digit in an image file, with its probability and the runner-up."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.errors import ImageFileError, NoDigitError
from mnist_lightning.read.image_files import read_image
from mnist_lightning.read.preparation import prepare_digit
from mnist_lightning.runs.outputs import Row


class ReadDigit(NamedTuple):
    """The two most likely digits in an image file."""

    prepared: Tensor  # (28, 28) uint8, in MNIST's format
    digit: int  # 0..9
    probability: float
    runner_up: int  # 0..9
    runner_up_probability: float


class Problem(NamedTuple):
    """The reason why no digit was recognised."""

    text: str


def classify(classifier: DigitClassifier, images: Tensor) -> Tensor:
    """Class probabilities (N, 10), with the classifier's test-time augmentation if it has one.

    Args:
        classifier: in evaluation mode.
        images: (N, 28, 28) uint8, in MNIST's format.
    """
    with torch.inference_mode():
        return classifier.probabilities(images.unsqueeze(1).to(classifier.device) / 255).cpu()


def read_digit(classifier: DigitClassifier, path: Path) -> ReadDigit | Problem:
    """Recognises the digit in an image file."""
    try:
        prepared = prepare_digit(read_image(path))
    except ImageFileError as error:
        return Problem(str(error))
    except NoDigitError as error:
        return Problem(f"no digit found: {error}")
    probabilities, digits = classify(classifier, prepared.unsqueeze(0))[0].topk(2)
    digit, runner_up = digits.tolist()
    probability, runner_up_probability = probabilities.tolist()
    return ReadDigit(prepared, digit, probability, runner_up, runner_up_probability)


def result_row(file: str, result: ReadDigit | Problem) -> Row:
    """The result as a row of `--output`."""
    digit = probability = runner_up = runner_up_probability = problem = None
    if isinstance(result, ReadDigit):
        _, digit, probability, runner_up, runner_up_probability = result
    else:
        problem = result.text
    return {
        "file": file,
        "digit": digit,
        "probability": probability,
        "runner_up": runner_up,
        "runner_up_probability": runner_up_probability,
        "problem": problem,
    }
