"""What all figures have in common: colours, type, intervals, and how they become PNG."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from scipy.stats import binomtest

# Okabe and Ito's colours, which colour-blind people tell apart: https://jfly.uni-koeln.de/color/
BLUE = "#0072B2"
VERMILION = "#D55E00"
GREEN = "#009E73"
INK = "#333333"
SHADE = "#DDDDDD"

WIDTH_INCHES = 6.4
DOTS_PER_INCH = 150  # 960 pixels across: sharp on a page, and type of 10 points can still be read on a phone

ACCURACY_TICKS = (0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999)
MOST_ACCURATE = ACCURACY_TICKS[-1]  # what is drawn for more: 100 % would lie at infinity

# A decorator. "default" first: a reader's own matplotlibrc, with fonts that others lack, decides nothing.
in_our_style = style.context(
    [
        "default",
        {
            "font.family": "DejaVu Sans",  # which matplotlib brings along
            "font.size": 10,
            "axes.titlesize": 11,
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.axisbelow": True,
            "axes.grid": True,
            "grid.alpha": 0.25,
            "legend.frameon": False,
            **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
        },
    ]
)


def new_figure(height_inches: float) -> Figure:
    """An empty figure of the width that all have; it is nobody's to close, as pyplot knows nothing of it."""
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)  # inches
    return Figure(figsize=(WIDTH_INCHES, height_inches), layout=layout)


@in_our_style
def png_of(figure: Figure) -> bytes:
    """The figure as PNG; the same bytes for the same figure."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None}, pil_kwargs={"optimize": True})
    return content.getvalue()


def wilson_interval(num_correct: int, num_images: int) -> tuple[float, float]:
    """The 95 % interval of a share, by Wilson: it does not collapse where all or none are correct."""
    interval = binomtest(num_correct, num_images).proportion_ci(confidence_level=0.95, method="wilson")
    return float(interval.low), float(interval.high)


def scale_accuracy(axes: Axes, accuracies: Sequence[float]) -> None:
    """Gives each halving of the mistakes the same height: there is as much between 99 and 99.5 % as below 50 %.

    Args:
        axes: whose y axis it is.
        accuracies: what is to be seen, in [0, 1].
    """

    def height(values: Any) -> Any:
        return -np.log10(1 - np.minimum(values, MOST_ACCURATE))

    axes.set_yscale("function", functions=(height, lambda heights: 1 - 10.0**-heights))
    least, most = min(accuracies), min(max(accuracies), MOST_ACCURATE)
    low = max((tick for tick in ACCURACY_TICKS if tick <= least), default=0)
    high = min(tick for tick in ACCURACY_TICKS if tick >= most)
    if low >= high:  # all are the same
        low = ACCURACY_TICKS[max(0, ACCURACY_TICKS.index(high) - 1)]
    axes.set_ylim(low, high if high > low else ACCURACY_TICKS[1])
    axes.yaxis.set_major_locator(FixedLocator(ACCURACY_TICKS))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:g}%"))
    axes.yaxis.set_minor_locator(NullLocator())
