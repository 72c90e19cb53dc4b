"""Learning curves, and the learning rate beneath, from a run's report alone."""

import math
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from mnist_lightning.figures.style import BLUE, GREEN, VERMILION, in_our_style, new_figure, scale_accuracy
from mnist_lightning.files import one_line
from mnist_lightning.recipe import Recipe
from mnist_lightning.runs.record import EpochRow, Record


@in_our_style
def learning_curves_figure(report: Record) -> Figure:
    """Loss and accuracy of each epoch, in training and in validation if there was any, and the learning rate."""
    rows = report.epochs
    figure = new_figure(7.6)
    loss, accuracy, rate = figure.subplots(3, 1, sharex=True, height_ratios=[2, 2, 1.2])
    loss.set_title(f"Learning curves: {_plain(report.dataset)}, seed {report.seed}")
    rate.set_xlabel("epoch")
    rate.xaxis.set_major_locator(MaxNLocator(integer=True))
    loss.set_ylabel("loss (cross-entropy)")
    accuracy.set_ylabel("accuracy")
    rate.set_ylabel("learning rate")
    if not rows:
        loss.set_title("Learning curves: the run ended in its first epoch")
        return figure
    training = [(_end(row), row.train_loss, row.train_accuracy) for row in rows]
    validation = [(_end(row), row.val_loss, row.val_accuracy) for row in rows if row.val_accuracy is not None]
    for points, label, colour, marker in (
        (training, "training, during each epoch", BLUE, "o"),
        (validation, f"validation: {_plain(report.validated_on)}", VERMILION, "s"),
    ):
        if points:
            epochs, losses, accuracies = zip(*points, strict=True)
            style: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 4, "label": label}
            loss.plot(epochs, losses, **style)
            accuracy.plot(epochs, accuracies, **style)
    loss.set_yscale("log")
    loss.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    loss.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    loss.yaxis.set_minor_locator(NullLocator())
    scale_accuracy(
        accuracy, [point[-1] for point in training] + [row.val_accuracy for row in rows if row.val_accuracy is not None]
    )
    loss.legend()
    _draw_rate(rate, report)
    rate.set_xlim(0, _end(rows[-1]) + 0.3)
    return figure


def _plain(text: str) -> str:
    """The text for matplotlib, which reads text between dollars as a formula."""
    return one_line(text).replace("$", r"\$")


def _end(row: EpochRow) -> float:
    """Where the epoch ends on the axis: the run may have ended within it."""
    return row.epoch - 1 + row.trained_part


def _draw_rate(axes: Axes, report: Record) -> None:
    rows = report.epochs
    ends = [_end(row) for row in rows]
    rates = learning_rates(report)
    if rates is not None:
        steps = [0, *(row.steps for row in rows)]
        axes.plot(np.interp(range(len(rates)), steps, [0, *ends]), rates, color=GREEN)
    axes.plot(
        ends,
        [row.learning_rate for row in rows],
        color=GREEN,
        marker="o",
        markersize=4,
        linestyle="none" if rates else ":",
    )
    axes.set_ylim(0, None)


def learning_rates(report: Record) -> list[float] | None:
    """The learning rate of each optimizer step of the finished epochs, from the run's settings.

    None if these disagree with the report's rates after each epoch, as with a custom schedule, or without an epoch.
    """
    rows = report.epochs
    try:
        model, trainer = report.settings["model"], report.settings["trainer"]
        num_steps = rows[-1].steps
        if model["schedule"] == "constant":
            rates = [model["max_lr"]] * (num_steps + 1)
        else:
            ends = [trainer["max_steps"]] if trainer["max_steps"] > 0 else []
            ends += [trainer["max_epochs"] * rows[0].steps] if (trainer["max_epochs"] or 0) > 0 else []
            rates = _one_cycle_rates(model["max_lr"], model["pct_start"], min(ends), num_steps + 1)
        # A report holds the rate of the step after the epoch; there is none after the last.
        pairs = [(rates[min(row.steps, len(rates) - 1)], row.learning_rate) for row in rows]
    except (KeyError, IndexError, TypeError, ValueError, ZeroDivisionError):
        return None
    return rates[:num_steps] if all(math.isclose(*pair, rel_tol=1e-4) for pair in pairs) else None


def _one_cycle_rates(max_lr: float, pct_start: float, total_steps: int, num_steps: int) -> list[float]:
    """The learning rates of the first steps of the one-cycle schedule."""
    recipe = Recipe(max_lr=max_lr, pct_start=pct_start)
    optimizer, schedule = recipe.build([torch.nn.Parameter(torch.zeros(1))], total_steps)
    assert schedule is not None
    rates = [float(schedule.get_last_lr()[0])]
    for _ in range(min(num_steps, total_steps) - 1):
        optimizer.step()
        schedule.step()
        rates.append(float(schedule.get_last_lr()[0]))
    return rates
