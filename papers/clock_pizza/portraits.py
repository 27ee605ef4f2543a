"""Figures that show single circuits: point clouds, heat maps, persistence diagrams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from papers.clock_pizza import method
from papers.clock_pizza.drawing import (
    DIMENSIONS,
    LOOKS,
    THRESHOLDS,
    headline,
    perfect,
    pictures,
    title,
)
from shared import plotting
from shared.experiment.spec import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure
else:
    Figure = Any


def cyclic() -> Any:
    """Colours that come back to where they began, as the residues do; about equally bright."""
    from matplotlib.colors import ListedColormap

    turn = 2 * np.pi * (np.arange(256)[:, None] / 256 + np.array([0, 1, 2]) / 3)
    return ListedColormap(0.46 + 0.40 * np.cos(turn))


def ideal(results: Results) -> Figure:
    """Figure 1: the three manifolds of ideal clusters, coloured by the sum."""
    n = int(results["modulus"])
    fig, axes = plotting.figure(1, 3, height=3.4)
    a, b = np.divmod(np.arange(n * n), n)
    disc, torus, circle = (method.reference(n, 1, kind) for kind in ("disc", "torus", "circle"))
    # The torus lies in four dimensions; drawn bent into space and seen from above at a slant.
    ring = 2.1 + torus[:, 2]
    seen = np.stack([ring * torus[:, 0], 0.55 * ring * torus[:, 1] + 0.8 * torus[:, 3]], axis=1)
    panels = (
        (disc, "disc: inputs of the pizza", "cos θ$_a$ + cos θ$_b$", "sin θ$_a$ + sin θ$_b$"),
        (seen, "torus: inputs of MLP-Concat", "bent into space", ""),
        (circle, "circle: logits", "cos(θ$_a$ + θ$_b$)", "sin(θ$_a$ + θ$_b$)"),
    )
    mark: Any = None
    for ax, (x, words, across, up) in zip(axes[0], panels, strict=True):
        mark = ax.scatter(*x.T, c=(a + b) % n, cmap=cyclic(), s=6, linewidth=0)
        ax.set_title(words, fontsize=11)
        ax.set_xlabel(across)
        ax.set_ylabel(up)
        ax.set_aspect("equal")
    axes[0, 1].set_xticks([])
    axes[0, 1].set_yticks([])
    fig.colorbar(mark, ax=list(axes[0]), label="(a + b) mod n", shrink=0.8)
    return fig


def clusters(results: Results) -> Figure:
    """Figure 2: the largest cluster of one network of each kind, before the ReLU and in logits."""
    rows = pictures(results)
    fig, axes = plotting.figure(2, len(rows), width=9.0, height=5.0)
    n = int(results["modulus"])
    mark: Any = None
    for column, (row, _, name) in enumerate(rows):
        colour = results["example_sum"][row]
        for line, where in enumerate(("pre", "logits")):
            ax, points = axes[line, column], results[f"example_{where}"][row]
            depth = points[:, 2]
            size = 5 + 9 * (depth - depth.min()) / max(float(np.ptp(depth)), 1e-9)
            mark = ax.scatter(points[:, 0], points[:, 1], c=colour, cmap=cyclic(), vmin=0, vmax=n,
                              s=size, linewidth=0)  # fmt: skip
            ax.set_aspect("equal", adjustable="datalim")
            ax.set_xlabel("component 1")
        axes[0, column].set_title(title(name), fontsize=11)
    axes[0, 0].set_ylabel("layer 1, component 2")
    axes[1, 0].set_ylabel("logits, component 2")
    fig.colorbar(mark, ax=axes.ravel().tolist(), label="f (a + b) mod n", shrink=0.7)
    headline(fig, "Largest cluster of one network each (point size: component 3)")
    return fig


def activity(results: Results) -> Figure:
    """Figure 3: activations after the ReLU summed over a cluster, and against the distance."""
    rows = pictures(results)
    fig, axes = plotting.figure(1, len(rows) + 1, width=13.0, height=3.5)
    mark: Any = None
    for ax, (row, _, name) in zip(axes[0], rows, strict=False):
        mark = ax.imshow(results["heat"][row] / 100, origin="lower", cmap="magma", vmin=0, vmax=1)
        ax.set_title(title(name), fontsize=10)
        ax.set_xlabel("b, remapped")
        ax.grid(visible=False)
    axes[0, 0].set_ylabel("a, remapped")
    fig.colorbar(mark, ax=list(axes[0, :-1]), label="summed activity / largest", shrink=0.8)
    ax = axes[0, -1]
    for _, row, name in rows:
        cells = results["profile"][row]
        x = np.arange(len(cells))
        ax.fill_between(x, cells[:, 1], cells[:, 2], color=LOOKS[name].colour, alpha=0.18, lw=0)
        ax.plot(x, cells[:, 0], color=LOOKS[name].colour, label=title(name))
    half = np.arange(results["profile"].shape[1])
    law = np.abs(np.cos(np.pi * half / int(results["modulus"])))
    ax.plot(half, law, color=plotting.NEUTRAL, linestyle="--", linewidth=1.2, label="ideal pizza")
    ax.set_xlabel("remapped |a - b| (steps)")
    ax.set_ylabel("activity / activity at a = b")
    ax.set_ylim(bottom=0)
    plotting.legend_outside(fig)
    return fig


def alignment(results: Results) -> Figure:
    """Figures 4 and 5: where neurons respond most, and how far from a = b that is."""
    rows = pictures(results)
    fig, axes = plotting.figure(2, len(rows) + 1, width=13.0, height=6.4)
    for line, how in enumerate(("argmax", "centroid")):
        for column, (place, row, name) in enumerate(rows):
            _cells(axes[line, column], results[f"pad/{how}"][place], LOOKS[name])
            axes[line, column].set_xlabel("b*, remapped")
            if line == 0:
                neurons, good = int(results["pad/argmax"][place].sum()), perfect(results, row).sum()
                words = f"{title(name)}\n{neurons} neurons, {int(good)} networks"
                axes[0, column].set_title(words, fontsize=9.5)
        axes[line, 0].set_ylabel(f"{how}: a*, remapped")
    _distances(axes[0, -1], results, "argmax", "remapped argmax")
    _distances(axes[1, -1], results, "raw", "argmax, not remapped")
    plotting.legend_outside(fig)
    return fig


def _cells(ax: Any, counts: Any, look: plotting.Look) -> None:
    """Neurons at each place of the torus as a heat map in the look's colour, empty cells left."""
    from matplotlib.colors import LinearSegmentedColormap, PowerNorm

    shades = LinearSegmentedColormap.from_list("shades", ["#DDDDDD", look.colour, "#111111"])
    n, most = len(counts), max(int(counts.max()), 1)
    seen = np.ma.masked_equal(counts, 0)
    ax.plot([0, n - 1], [0, n - 1], color="#BBBBBB", linewidth=1, zorder=0)
    ax.imshow(seen, origin="lower", cmap=shades, norm=PowerNorm(0.4, 0, most),
              interpolation="nearest", zorder=2)  # fmt: skip
    ax.grid(visible=False)


def _distances(ax: Any, results: Results, how: str, words: str) -> None:
    """Shares of neurons at each distance to the line a = b, and what a uniform law has."""
    for _, row, name in pictures(results):
        cells = results[f"pad/distances_{how}"][row]
        x = np.arange(len(cells))
        ax.fill_between(x, cells[:, 1], cells[:, 2], color=LOOKS[name].colour, alpha=0.18, lw=0)
        ax.plot(x, cells[:, 0], color=LOOKS[name].colour, label=title(name))
    ax.axhline(2 / int(results["modulus"]), color=plotting.NEUTRAL, linestyle="--", linewidth=1.2,
               label="uniform")  # fmt: skip
    ax.set_yscale("symlog", linthresh=0.01)
    ax.set_ylim(0, 1)
    ax.set_title(words, fontsize=9.5)
    ax.set_xlabel("distance to a = b (steps)")
    ax.set_ylabel("share of neurons")


def persistence(results: Results) -> Figure:
    """Persistence diagrams of the largest cluster of one network of each kind."""
    rows = pictures(results)
    fig, axes = plotting.figure(2, len(rows), height=5.6, sharex=True, sharey=True)
    bars = np.stack([results["bars_pre"], results["bars_logits"]])
    top = float(np.nanmax(bars[..., 2], initial=1.0)) * 1.05
    for line, where in enumerate(("layer 1", "logits")):
        for column, (row, _, name) in enumerate(rows):
            ax, table = axes[line, column], bars[line, row]
            ax.plot([0, top], [0, top], color="#999999", linewidth=1)
            for dim, (label, look) in enumerate(DIMENSIONS.items()):
                least = THRESHOLDS[dim]
                ax.plot([0, top - least], [least, top], color=look.colour, linestyle=":",
                        linewidth=0.9)  # fmt: skip
                some = table[table[:, 0] == dim]
                ax.plot(some[:, 1], some[:, 2], look.marker, color=look.colour, label=label,
                        alpha=0.8, markersize=6)  # fmt: skip
            if line == 0:
                ax.set_title(title(name), fontsize=11)
            else:
                ax.set_xlabel("birth (scaled distance)")
        axes[line, 0].set_ylabel(f"{where}: death")
    headline(fig, "Persistence of one cluster each; what lies above its dotted line counts")
    plotting.legend_outside(fig)
    return fig
