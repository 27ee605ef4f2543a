"""What the figures share: names, colours, headlines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shared import plotting
from shared.experiment.spec import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
else:
    Axes = Figure = Any

FOUR = ("MLP-Concat", "MLP-Add", "Attention 0.0", "Attention 1.0")
WORDS = {"Attention 0.0": "Attention 0.0 (uniform)", "Attention 1.0": "Attention 1.0 (learned)"}
LOOKS = plotting.looks(*FOUR)
DIMENSIONS = plotting.looks("components (H0)", "loops (H1)", "voids (H2)")
THRESHOLDS = (0.6, 0.6, 0.35)


def shown(results: Results) -> list[tuple[int, str]]:
    """Row and name of the paper's four architectures, as far as this run has them."""
    names = [str(name) for name in results["variants"]]
    return [(names.index(name), name) for name in FOUR if name in names]


def pictures(results: Results) -> list[tuple[int, int, str]]:
    """Place among the pictures, row among the variants, and name of the same."""
    placed = [str(name) for name in results["pictured"]]
    return [(placed.index(name), row, name) for row, name in shown(results)]


def title(name: str) -> str:
    """A variant's name with what its attention rate means."""
    return WORDS.get(name, name)


def steps_note(results: Results) -> str:
    """When and how many: the fixed late step at which everything is counted."""
    good, every = results["net/perfect"] == 1, np.isfinite(results["net/perfect"])
    return (
        f"{int(good.sum())} of {int(every.sum())} networks at 100 % test accuracy, "
        f"n = {int(results['modulus'])}, step {int(results['steps'])}"
    )


def perfect(results: Results, row: int) -> Any:
    """Which networks of a variant have 100 % test accuracy."""
    return results["net/perfect"][row] == 1


def colour(results: Results, row: int) -> Any:
    """The four of the paper have colours of their own, attention rates between lie between."""
    import matplotlib

    name = str(results["variants"][row])
    if name in FOUR:
        return LOOKS[name].colour
    return matplotlib.colormaps["viridis"](0.15 + 0.7 * float(results["alpha"][row]))


def interval_rows(ax: Axes, cells: list[Any], look: plotting.Look, label: str) -> None:
    """A marker with its interval per row, from top to bottom."""
    for place, (value, low, high) in enumerate(cells):
        if np.isfinite(low) and np.isfinite(high):
            ax.hlines(place, low, high, color=look.colour, linewidth=6, alpha=0.3)
        ax.plot(value, place, look.marker, color=look.colour, markersize=8, label=label or None)


def headline(fig: Figure, text: str) -> None:
    """A line above all panels."""
    with plotting.style():
        fig.suptitle(text, x=0.01, ha="left", fontsize=12)
