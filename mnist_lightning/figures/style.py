"""Shared by all figures: colours, fonts, the axis of accuracies, and writing as PNG."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

# Okabe and Ito's colours, safe for colour-blind readers: https://jfly.uni-koeln.de/color/
BLUE = "#0072B2"
VERMILION = "#D55E00"
GREEN = "#009E73"
INK = "#333333"
SHADE = "#DDDDDD"

WIDTH_INCHES = 6.4
DOTS_PER_INCH = 150  # 960 pixels wide: sharp on a page, and text of 10 points is readable on a phone

ACCURACY_TICKS = (0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999)
MOST_ACCURATE = ACCURACY_TICKS[-1]  # larger values are drawn here: 100 % would be at infinity

# A decorator. "default" comes first, so that a user's own matplotlibrc has no effect.
in_our_style = style.context(
    [
        "default",
        {
            "font.family": "DejaVu Sans",  # comes with matplotlib
            "font.size": 10,
            "axes.titlesize": 11,
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.axisbelow": True,
            "axes.grid": True,
            "grid.alpha": 0.25,
            "legend.frameon": False,
            "text.parse_math": False,  # names of data sets and classes may hold a $
            **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
        },
    ]
)


def new_figure(height_inches: float) -> Figure:
    """An empty figure of the common width; without pyplot, so nobody has to close it."""
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)  # inches
    return Figure(figsize=(WIDTH_INCHES, height_inches), layout=layout)


@in_our_style
def png_of(figure: Figure) -> bytes:
    """The figure as PNG; the same bytes for the same figure."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None}, pil_kwargs={"optimize": True})
    return content.getvalue()


def scale_accuracy(axes: Axes, accuracies: Sequence[float]) -> None:
    """Scales the y axis so that each halving of the error has the same height; all accuracies in [0, 1] are visible."""

    def height(values: Any) -> Any:
        return -np.log10(1 - np.minimum(values, MOST_ACCURATE))

    axes.set_yscale("function", functions=(height, lambda heights: 1 - 10.0**-heights))
    least, most = min(accuracies), min(max(accuracies), MOST_ACCURATE)
    low = max(tick for tick in ACCURACY_TICKS[:-1] if tick <= least)
    high = min(tick for tick in ACCURACY_TICKS if tick >= most and tick > low)
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(FixedLocator(ACCURACY_TICKS))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:g}%"))
    axes.yaxis.set_minor_locator(NullLocator())
