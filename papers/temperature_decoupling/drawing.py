"""What all figures share: names, colours, and the curve of a theorem over many MDPs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shared import plotting
from shared.experiment.spec import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EXAMPLES = ("M1 tri-state", "M2 lottery", "M3 scary action", "M4 tie-flip")
LOOKS = plotting.looks(*EXAMPLES, "random MDPs")
BOTH = plotting.looks("standard", "decoupled", "decoupled, acting at $\\sigma$")
LEAST = 1e-17
"""What is smaller is drawn at this height on logarithmic axes."""
TEMPERATURE = "temperature $\\tau$ (units of return)"


def curves(ax: Axes, x: np.ndarray, results: Results, name: str, which: Any = ()) -> None:
    """The four examples as lines and the random MDPs as a band, log-log."""
    pick = (slice(None), *which)
    band = results[f"random/band/{name}"][pick]
    shown = [row for row in results[f"examples/{name}"][pick] if row.max() > LEAST]
    for label, row in zip(EXAMPLES, results[f"examples/{name}"][pick], strict=True):
        if row.max() > LEAST:
            look = LOOKS[label]
            ax.loglog(x, np.maximum(row, LEAST), color=look.colour, marker=look.marker, label=label)
    low, middle, high = np.maximum(band, LEAST)
    plotting.band(ax, x, triples(middle, low, high), "random MDPs", LOOKS["random MDPs"])
    ax.set_xscale("log")
    ax.set_yscale("log")
    if min(row.min() for row in (band, *shown)) < LEAST:
        ax.text(0.03, 0.9, "zeros are drawn at $10^{-17}$", transform=ax.transAxes, fontsize=8)


def triples(
    middle: np.ndarray, low: np.ndarray, high: np.ndarray
) -> list[tuple[float, float, float]]:
    """Rows for `plotting.band`."""
    return list(zip(middle.tolist(), low.tolist(), high.tolist(), strict=True))


def thin_ticks(fig: Figure) -> None:
    """At most six ticks on an axis over many decades, none between: legible, and sooner drawn."""
    from matplotlib.ticker import LogLocator

    for ax in fig.axes:
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            if axis.get_scale() == "log" and high > 1e3 * low:
                axis.set_major_locator(LogLocator(numticks=6))
                axis.minorticks_off()
