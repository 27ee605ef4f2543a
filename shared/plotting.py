"""The one house style for figures: legible on a slide, safe for the colour-blind, byte-stable.

    LOOKS = looks("QR-DQN", "DAU", "DSUP(1/2)")        # once per paper: a series keeps its look
    with style():
        fig, axes = figure(1, 2)
        band(axes[0, 0], x, intervals, "DAU", LOOKS["DAU"])
        legend_outside(fig)
    save(fig, Path("figures/returns"), svg=True)       # returns.png and returns.svg

Every series has a colour and a marker of its own, so that figures also work in grey. Intervals are
`shared.stats.Interval` or (value, low, high) triples; an unknown (infinite) bound is not drawn.
Figures are made without pyplot: there is no global figure list, nothing needs a display.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Real

from shared.experiment.store import write_bytes
from shared.stats import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
else:  # matplotlib is imported where it is used; the run-time type check takes what it is given
    Axes = Figure = Any

Array = np.ndarray
Intervals = Sequence[Interval] | Sequence[tuple[float, float, float]]

PNG_DPI = 150
WIDTH = 10.0  # inches, the width of a slide
PANEL_ASPECT = 0.72  # height of a panel over its width

# Okabe & Ito's palette (2008), safe for the common colour vision deficiencies, without its yellow,
# which is too faint for lines on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
NEUTRAL = "#666666"

_RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib, so every machine draws the same
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.labelsize": 11,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.fontsize": 10,
    "figure.titlesize": 13,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#333333",
    "axes.linewidth": 0.9,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.which": "major",
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.8,
    "lines.markersize": 5.5,
    "lines.markeredgewidth": 0,
    "axes.formatter.useoffset": False,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.fonttype": "path",
    "svg.hashsalt": "corroborate",
    "pdf.fonttype": 42,
}


@dataclass(frozen=True)
class Look:
    """How one series is drawn, everywhere."""

    colour: str
    marker: str


def looks(*names: str) -> dict[str, Look]:
    """A look for each series, by its place in this list; a paper calls it once, with all of them.

    Raises:
        ValueError: a name twice, or more names than there are colours to tell apart.
    """
    if len(set(names)) != len(names):
        raise ValueError(f"Every series needs a name of its own; got {list(names)}.")
    if len(names) > len(COLOURS):
        raise ValueError(
            f"At most {len(COLOURS)} series can be told apart by colour; got {len(names)}. "
            "Split the figure into panels."
        )
    return {n: Look(c, m) for n, c, m in zip(names, COLOURS, MARKERS, strict=False)}


@contextmanager
def style() -> Iterator[None]:
    """The house style while the block runs; nothing global stays changed."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_RC)
        yield


def figure(
    rows: int = 1,
    columns: int = 1,
    *,
    width: float = WIDTH,
    height: float | None = None,
    sharex: bool = False,
    sharey: bool = False,
) -> tuple[Figure, Array]:
    """A figure and its axes, always as an array of shape [rows, columns].

    Args:
        width, height: inches; the height defaults to panels of the house's aspect.
    """
    from matplotlib.figure import Figure

    panel = width / columns * PANEL_ASPECT
    size = (width, height if height is not None else rows * min(panel, 0.56 * width))
    with style():
        fig = Figure(figsize=size, layout="constrained")
        axes = fig.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey)
    return fig, axes


def band(
    ax: Axes,
    x: Real[Array, " n"] | Sequence[float],
    intervals: Intervals,
    label: str,
    look: Look,
) -> None:
    """A line through the values with its intervals as a band."""
    value, low, high = _columns(intervals)
    ax.fill_between(x, low, high, color=look.colour, alpha=0.18, linewidth=0)
    ax.plot(x, value, color=look.colour, marker=look.marker, label=label)


def interval_bars(
    ax: Axes,
    names: Sequence[str],
    intervals: Intervals,
    looks: Mapping[str, Look],
    *,
    reference: float | None = None,
) -> None:
    """One row per name, from top to bottom: a marker with its interval as a bar.

    `reference` draws a line at the value that would mean "no difference" (or the optimum).
    """
    value, low, high = _columns(intervals)
    if reference is not None:
        ax.axvline(reference, color=NEUTRAL, linewidth=1.2, linestyle="--", zorder=1)
    for row, name in enumerate(names):
        look = looks[name]
        if np.isfinite(low[row]) and np.isfinite(high[row]):
            ax.hlines(row, low[row], high[row], color=look.colour, linewidth=7, alpha=0.35)
        ax.plot(value[row], row, color=look.colour, marker=look.marker, markersize=8)
    ax.set_yticks(range(len(names)), list(names))
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(visible=False, axis="y")


def box_by_group(
    ax: Axes,
    groups: Sequence[str],
    series: Mapping[str, Sequence[Real[Array, " _"]]],
    looks: Mapping[str, Look],
) -> None:
    """Box plots side by side for each group, every run as a point over its box.

    Boxes span the quartiles with the median as a line, whiskers reach 1.5 box lengths.

    Args:
        groups: labels along the x axis.
        series: for each series its runs in each group, `series[name][group]` of shape [runs].

    Raises:
        ValueError: a series does not have one entry per group.
    """
    slot = 0.84 / len(series)
    for place, (name, runs) in enumerate(series.items()):
        if len(runs) != len(groups):
            raise ValueError(f"Series {name} has {len(runs)} groups; there are {len(groups)}.")
        centres = np.arange(len(groups)) + (place - (len(series) - 1) / 2) * slot
        _boxes(ax, centres, runs, 0.8 * slot, looks[name], name)
    for edge in range(1, len(groups)):
        ax.axvline(edge - 0.5, color="#DDDDDD", linewidth=0.7, zorder=0)
    ax.set_xticks(range(len(groups)), list(groups))
    ax.set_xlim(-0.5, len(groups) - 0.5)
    ax.tick_params(axis="x", length=0)
    ax.grid(visible=False, axis="x")


def _boxes(
    ax: Axes, centres: Array, runs: Sequence[Array], width: float, look: Look, label: str
) -> None:
    edge = {"color": look.colour, "linewidth": 1.3}
    ax.boxplot(
        [np.asarray(r) for r in runs],
        positions=list(centres),
        widths=width,
        showfliers=False,
        patch_artist=True,
        manage_ticks=False,
        boxprops={"facecolor": look.colour + "30", "edgecolor": look.colour, "linewidth": 1.3},
        medianprops={"color": look.colour, "linewidth": 2.2},
        whiskerprops=edge,
        capprops=edge,
    )
    # Golden-ratio steps spread the points evenly; no random number is needed.
    offsets = [(np.arange(len(r)) * 0.618034 % 1 - 0.5) * 0.6 * width for r in runs]
    x = np.concatenate([c + o for c, o in zip(centres, offsets, strict=True)])
    y = np.concatenate([np.asarray(r, dtype=float) for r in runs])
    ax.plot(
        x,
        y,
        linestyle="none",
        color=look.colour,
        marker=look.marker,
        markersize=3.8,
        markeredgecolor="white",
        markeredgewidth=0.4,
        label=label,
        zorder=3,
    )


def slope_guide(
    ax: Axes,
    slope: float,
    start: tuple[float, float],
    end_x: float,
    label: str = "",
) -> None:
    """A dashed line of the given slope on log-log axes, from the point `start` to x = `end_x`.

    The label (default `slope 0.5`) stands at its end.
    """
    x = np.array([start[0], end_x])
    y = start[1] * (x / start[0]) ** slope
    ax.plot(x, y, color=NEUTRAL, linestyle=(0, (4, 3)), linewidth=1.3, zorder=1)
    ax.annotate(
        label or f"slope {slope:g}",
        (float(x[1]), float(y[1])),
        xytext=(5, 0) if x[1] > x[0] else (-5, 0),
        textcoords="offset points",
        ha="left" if x[1] > x[0] else "right",
        va="center",
        color=NEUTRAL,
        fontsize=10,
    )


def legend_outside(fig: Figure, *, columns: int | None = None) -> None:
    """One legend below all panels, each label once, in the order of drawing."""
    entries: dict[str, Any] = {}
    for ax in fig.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries[label] = handle  # keeps the place of the first, draws like the last
    if entries:
        with style():
            fig.legend(
                list(entries.values()),
                list(entries),
                loc="outside lower center",
                ncols=columns or len(entries),
                markerscale=1.3,
            )


def save(fig: Figure, stem: Path, *, svg: bool = False) -> list[Path]:
    """Write `<stem>.png` (150 dpi), with `svg` also `<stem>.svg`, and close the figure.

    Files appear whole or not at all. Drawing is the longer half of a small run, so the second
    format is asked for.

    The same figure gives the same bytes: no date, version or random identifier goes in.

    Raises:
        ExperimentError: a file cannot be written.
    """
    formats = {"png": {"Software": None}, "svg": {"Date": None}}
    written = []
    with style():
        for suffix, metadata in list(formats.items())[: 1 + svg]:
            buffer = io.BytesIO()
            fig.savefig(buffer, format=suffix, dpi=PNG_DPI, metadata=metadata)
            fig.set_layout_engine("none")  # found once: the search is most of the time
            path = stem.with_name(f"{stem.name}.{suffix}")  # a stem may hold dots
            write_bytes(path, buffer.getvalue())
            written.append(path)
    close(fig)
    return written


def close(fig: Figure) -> None:
    """Free the figure's artists, also where a notebook made it through pyplot."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close(fig)
    fig.clear()


def _columns(intervals: Intervals) -> tuple[Array, Array, Array]:
    """values, lows, highs; an unknown bound becomes NaN, which is not drawn."""
    rows = [(i.value, i.low, i.high) if isinstance(i, Interval) else i for i in intervals]
    value, low, high = np.array(rows, dtype=np.float64).T
    known = np.isfinite(low) & np.isfinite(high)
    return value, np.where(known, low, np.nan), np.where(known, high, np.nan)
