"""What all figures share: names, colours, and the curve of a theorem over many MDPs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shared import plotting
from shared.experiment.spec import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EXAMPLES = ("M1 tri-state", "M2 lottery", "M3 scary action", "M4 tie-flip")
LOOKS = plotting.looks(*EXAMPLES, "random MDPs")
BOTH = plotting.looks("standard", "decoupled", "decoupled, acting at $\\sigma$")
LEAST = 1e-17
"""What is smaller is drawn at this height on logarithmic axes."""
TEMPERATURE = "temperature $\\tau$ (units of return)"


def curves(ax: Axes, x: np.ndarray, results: Results, name: str, which: Any = ()) -> None:
    """The four examples as lines and the random MDPs as a band, log-log."""
    pick = (slice(None), *which)
    for label, row in zip(EXAMPLES, results[f"examples/{name}"][pick], strict=True):
        if row.max() > LEAST:
            look = LOOKS[label]
            ax.loglog(x, np.maximum(row, LEAST), color=look.colour, marker=look.marker, label=label)
    low, middle, high = np.maximum(results[f"random/band/{name}"][pick], LEAST)
    rows = list(zip(middle, low, high, strict=True))
    plotting.band(ax, x, rows, "random MDPs", LOOKS["random MDPs"])
    ax.set_xscale("log")
    ax.set_yscale("log")
