"""Results -> figures. Draws, computes nothing.

Single circuits are in `portraits.py`, what stands behind the numbers in `checks.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from papers.clock_pizza import checks, portraits
from papers.clock_pizza.drawing import (
    FOUR,
    LOOKS,
    colour,
    headline,
    perfect,
    shown,
    steps_note,
    title,
)
from papers.clock_pizza.measures import PAPER_CKA, PAPER_LOGITS, PAPER_RSM
from shared import plotting
from shared.experiment.spec import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
else:
    Axes = Figure = Any

MANIFOLD_LOOKS = plotting.looks("disc", "torus", "circle", "other")
LAYER_NAMES = {"pre": "layer 1", "logits": "logits"}


def figures(results: Results) -> Iterator[tuple[str, Figure]]:
    """Every figure that this run has the data for."""
    for name, (draw, needed) in DRAWINGS.items():
        if all(key in results and np.isfinite(results[key]).any() for key in needed):
            yield name, draw(results)


def similarity(results: Results) -> Figure:
    """Tables 1 and 2: similarity with the manifolds, every network, beside the paper's numbers."""
    rows = shown(results)
    panels = (
        ("layer 1: CKA with disc", "table/pre_cka_disc", {**PAPER_CKA, "MLP-Concat": 0.707}),
        ("layer 1: CKA with torus", "table/pre_cka_torus",
         {"MLP-Concat": 0.994, "MLP-Add": 0.706, "Attention 0.0": 0.699, "Attention 1.0": 0.689}),
        ("layer 1: RSM with disc", "table/pre_rsm_disc", PAPER_RSM),
        ("logits: CKA with circle", "table/logits_cka_circle", PAPER_LOGITS),
    )  # fmt: skip
    fig, axes = plotting.figure(1, 4, width=13.0, height=3.2, sharey=True)
    for ax, (words, table, paper) in zip(axes[0], panels, strict=True):
        cells = [tuple(results[table][row]) for row, _ in rows]
        names = [f"{title(name)}\n{int(perfect(results, row).sum())} networks, "
                 f"{int(np.sum(results['cluster/variant'] == row))} clusters"
                 for row, name in rows]  # fmt: skip
        plotting.interval_bars(
            ax, names, cells, dict(zip(names, (LOOKS[n] for _, n in rows), strict=True))
        )
        for place, (_, name) in enumerate(rows):
            if name in paper:
                ax.plot(paper[name], place, "|", color="black", markersize=18, markeredgewidth=1.6,
                        label="the paper")  # fmt: skip
        ax.set_xlim(0.5, 1.02)
        ax.set_title(words, fontsize=11)
        ax.set_xlabel("similarity, mean and 95 % interval")
    headline(fig, steps_note(results))
    plotting.legend_outside(fig)
    return fig


def interpolation(results: Results) -> Figure:
    """The whole attention axis: what changes between uniform and learned attention."""
    rows = [i for i, arch in enumerate(results["arch"]) if str(arch) == "attention"]
    alpha = results["alpha"][rows]
    looks = plotting.looks(
        "disc, layer 1", "torus, layer 1", "circle, logits", "hole of the annulus"
    )
    fig, axes = plotting.figure(2, 3, height=6.2, sharex=True)
    for label, table in (("disc, layer 1", "table/pre_cka_disc"),
                         ("torus, layer 1", "table/pre_cka_torus"),
                         ("circle, logits", "table/logits_cka_circle"),
                         ("hole of the annulus", "table/hole")):  # fmt: skip
        ax = axes[0, 0] if "hole" not in label else axes[0, 1]
        plotting.band(ax, alpha, [tuple(c) for c in results[table][rows]], label, looks[label])
    panels = (
        (axes[0, 2], "second", "second-order share"),
        (axes[1, 0], "symmetricity", "gradient symmetricity s"),
        (axes[1, 1], "irrelevance", "distance irrelevance q"),
        (axes[1, 2], "distance_argmax", "mean distance to a = b (steps)"),
    )
    for ax, column, words in panels:
        _per_network(ax, results, column, rows, alpha)
        ax.set_ylabel(words)
    axes[0, 0].set_ylabel("CKA")
    axes[0, 1].set_ylabel("smallest radius / largest")
    for ax in axes[1]:
        ax.set_xlabel("attention rate α")
    headline(fig, f"From pizza to clock: {steps_note(results)}")
    plotting.legend_outside(fig)
    return fig


def _per_network(ax: Axes, results: Results, column: str, rows: list[int], x: Any) -> None:
    """Every perfect network as a point, means joined."""
    means = []
    for row, where in zip(rows, x, strict=True):
        values = results[f"net/{column}"][row][perfect(results, row)]
        means.append(values.mean() if len(values) else np.nan)
        shift = 0.02 * (np.arange(len(values)) * 0.618034 % 1 - 0.5)
        ax.plot(where + shift, values, "o", color=colour(results, row), markersize=4, alpha=0.7)
    ax.plot(x, means, color=plotting.NEUTRAL, linewidth=1.3, zorder=1)


def discrepancy(results: Results) -> Figure:
    """Figure 6: maximum mean discrepancy between phase alignment distributions, with p."""
    rows = shown(results)
    places = [row for row, _ in rows]
    fig, axes = plotting.figure(1, 3, width=12.5, height=4.0)
    names = [title(name).replace(" (", "\n(") for _, name in rows]
    for ax, how in zip(axes[0], ("argmax", "centroid"), strict=False):
        value = results[f"mmd/{how}"][np.ix_(places, places)]
        p = results[f"mmd/p_{how}"][np.ix_(places, places)]
        ax.imshow(np.nan_to_num(value[..., 0]), cmap="cividis", vmin=0, vmax=0.32)
        for i in range(len(rows)):
            for j in range(len(rows)):
                bright = value[i, j, 0] > 0.18
                text = "-" if i == j else f"{value[i, j, 0]:.3f}\np = {p[i, j]:.2g}"
                ax.text(j, i, text, ha="center", va="center", fontsize=10,
                        color="black" if bright else "white")  # fmt: skip
        ax.set_xticks(range(len(rows)), names, fontsize=8)
        ax.set_yticks(range(len(rows)), names, fontsize=8)
        ax.grid(visible=False)
        ax.set_title(f"MMD of the {how} estimator")
    _kernels(axes[0, 2], results)
    headline(fig, f"Phase alignment, kernel exp(κ (cos + cos - 2)), κ = {results['kappa']:g}; "
             "p by permuting networks")  # fmt: skip
    plotting.legend_outside(fig)
    return fig


def _kernels(ax: Axes, results: Results) -> None:
    """The same distances under wider and narrower kernels."""
    kappas = results["mmd/kappas"]
    pairs = [(i, j) for i in range(len(FOUR)) for j in range(i + 1, len(FOUR))]
    for mark, (i, j) in zip("os^vDP", pairs, strict=True):
        line = "-" if FOUR[i] == "MLP-Concat" else "--"
        label = f"{FOUR[i]} / {FOUR[j]}".replace("Attention", "Att").replace("MLP-", "")
        hue = LOOKS[FOUR[j]].colour
        ax.plot(kappas, results["mmd/kappa"][:, i, j], line, marker=mark, color=hue, label=label)
    ax.set_xscale("log")
    ax.set_xticks(kappas, [f"{kappa:g}" for kappa in kappas])
    ax.set_xticks([], minor=True)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("concentration κ of the kernel")
    ax.set_ylabel("MMD, argmax estimator")


def betti(results: Results) -> Figure:
    """Figure 7: what topology says of each cluster, per architecture and layer."""
    fig, axes = plotting.figure(1, 2, height=4.6, sharey=True)
    names = [title(str(name)) for name in results["variants"]]
    skipped = [int(np.nansum(results["net/skipped"][row][perfect(results, row)]))
               for row in range(len(names))]  # fmt: skip
    for ax, where in zip(axes[0], ("pre", "logits"), strict=True):
        counts = results[f"betti/{where}_clusters"]
        labels = [f"{name}: {int(count)} (+{less})"
                  for name, count, less in zip(names, counts, skipped, strict=True)]  # fmt: skip
        _stacked(ax, results[f"betti/{where}"], labels)
        ax.set_title(LAYER_NAMES[where])
    axes[0, 1].set_yticks(range(len(names)))
    stable = 100 * np.nanmean(results["cluster/pre_stable"])
    headline(fig, f"Betti numbers: clusters examined (+ too small or rough). At thresholds of 0.8 "
             f"to 1.25 times, {stable:.0f} % of layer 1's stay")  # fmt: skip
    plotting.legend_outside(fig)
    return fig


def _stacked(ax: Axes, shares: Any, names: list[str]) -> None:
    for row in range(len(names)):
        left = 0.0
        for label, look in MANIFOLD_LOOKS.items():
            numbers = {"disc": " (1,0,0)", "torus": " (1,2,1)", "circle": " (1,1,0)"}
            order = ("disc", "circle", "torus", "other").index(label)
            share = shares[row, order, 0]
            if not np.isfinite(share):
                continue
            ax.barh(row, share, left=left, color=look.colour, label=label + numbers.get(label, ""),
                    height=0.7, alpha=0.85)  # fmt: skip
            left += share
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlabel("share of clusters, mean over networks")
    ax.grid(visible=False, axis="y")


def depth(results: Results) -> Figure:
    """Figure 7, deeper networks: similarity and topology layer by layer."""
    names = [str(name) for name in results["deep_variants"]]
    fig, axes = plotting.figure(1, 2, height=4.2, width=11.0)
    layers = results["deep/cka_disc"].shape[1]
    labels, cells = [], []
    for row, name in enumerate(names):
        for layer in range(layers):
            if np.isfinite(results["deep/cka_disc"][row, layer, 0]):
                labels.append(f"{name}, layer {layer + 1}")
                cells.append((row, layer))
    for kind in ("disc", "torus", "circle"):
        look = MANIFOLD_LOOKS[kind]
        for place, cell in enumerate(cells):
            value, low, high = results[f"deep/cka_{kind}"][cell]
            axes[0, 0].hlines(place, low, high, color=look.colour, linewidth=6, alpha=0.3)
            axes[0, 0].plot(value, place, look.marker, color=look.colour, markersize=8, label=kind)
    axes[0, 0].set_yticks(range(len(labels)), labels)
    axes[0, 0].set_ylim(len(labels) - 0.5, -0.5)
    axes[0, 0].set_xlabel("CKA of clusters, mean and 95 % interval")
    if np.isfinite(results["deep/betti"]).any():
        _stacked(axes[0, 1], np.array([results["deep/betti"][cell] for cell in cells]), labels)
        axes[0, 1].set_yticklabels([])
    else:
        axes[0, 1].remove()
    good, every = results["deep/perfect"].sum(axis=0)
    headline(fig, f"Deeper MLPs: {int(good)} of {int(every)} networks at 100 % test accuracy")
    plotting.legend_outside(fig)
    return fig


def zhong(results: Results) -> Figure:
    """Figure 8: the two metrics of Zhong et al., every network a point."""
    fig, axes = plotting.figure(1, 1, width=8.0, height=5.0)
    ax = axes[0, 0]
    for row, name in enumerate(map(str, results["variants"])):
        good = perfect(results, row)
        marker = LOOKS[name].marker if name in LOOKS else "D"
        ax.plot(results["net/symmetricity"][row][good], results["net/irrelevance"][row][good],
                marker, color=colour(results, row), label=title(name), alpha=0.8,
                markersize=7)  # fmt: skip
    ax.set_xlabel("gradient symmetricity s")
    ax.set_ylabel("distance irrelevance q")
    ax.set_title(f"The metrics of Zhong et al.\n{steps_note(results)}")
    ax.set_ylim(0, 1.02)
    plotting.legend_outside(fig, columns=4)
    return fig


def coherence(results: Results) -> Figure:
    """Every cluster of every network on the curve that phase coherence fixes."""
    fig, axes = plotting.figure(1, 2, height=4.4)
    grid, closed = results["exact/coherence/grid"], results["exact/coherence/closed"]
    for ax, kind, line in zip(axes[0], ("disc", "torus"), closed, strict=True):
        ax.plot(grid, line, color="black", linewidth=1.4, label="closed form, many neurons")
        for row, name in shown(results):
            mine = results["cluster/variant"] == row
            size = results["cluster/size"][mine]
            ax.scatter(results["cluster/rho"][mine], results[f"cluster/pre_cka_{kind}"][mine],
                       s=6 + size / 2, color=LOOKS[name].colour, alpha=0.6, linewidth=0,
                       label=title(name))  # fmt: skip
        ax.set_xlabel("phase coherence ρ of the cluster")
        ax.set_ylabel(f"CKA with the {kind}")
    headline(fig, "Disc or torus: one number, the coherence of phases (point size: neurons)")
    plotting.legend_outside(fig)
    return fig


def frequencies(results: Results) -> Figure:
    """How many frequencies a network uses, and which, with intervals."""
    rows = shown(results)
    fig, axes = plotting.figure(1, 2, height=4.0, width=12.0)
    number, used = results["frequency/number"], results["frequency/used"]
    top = int(np.max(np.nonzero(number[[r for r, _ in rows]].sum(axis=0))[0], initial=1)) + 1
    for place, (row, name) in enumerate(rows):
        x = np.arange(top + 1) + 0.2 * (place - 1.5)
        axes[0, 0].bar(x, number[row][: top + 1], width=0.19, color=LOOKS[name].colour,
                       label=title(name))  # fmt: skip
        f = np.arange(used.shape[1]) + 1
        values = used[row]
        x = f + 0.18 * (place - 1.5)
        axes[0, 1].vlines(x, values[:, 1], values[:, 2], color=LOOKS[name].colour, linewidth=1.6,
                          alpha=0.35)  # fmt: skip
        axes[0, 1].plot(x, values[:, 0], LOOKS[name].marker, color=LOOKS[name].colour, markersize=4)
    axes[0, 0].set_xlabel(f"major clusters (3 neurons, {100 * float(results['major_share']):g} %)")
    axes[0, 0].set_ylabel("networks")
    axes[0, 0].set_xticks(range(top + 1))
    axes[0, 1].set_xlabel("frequency f")
    axes[0, 1].set_ylabel("share of networks (95 % Wilson)")
    axes[0, 1].set_ylim(0, 1)
    headline(fig, steps_note(results))
    plotting.legend_outside(fig)
    return fig


DRAWINGS: dict[str, tuple[Callable[[Results], Figure], tuple[str, ...]]] = {
    "ideal": (portraits.ideal, ()),
    "clusters": (portraits.clusters, ("example_pre",)),
    "activity": (portraits.activity, ("profile",)),
    "alignment": (portraits.alignment, ("pad/argmax",)),
    "persistence": (portraits.persistence, ("bars_pre",)),
    "similarity": (similarity, ("table/pre_cka_disc",)),
    "interpolation": (interpolation, ("table/hole",)),
    "discrepancy": (discrepancy, ("mmd/argmax",)),
    "betti": (betti, ("betti/pre",)),
    "depth": (depth, ("deep/cka_disc",)),
    "zhong": (zhong, ("net/symmetricity",)),
    "coherence": (coherence, ("cluster/rho",)),
    "frequencies": (frequencies, ("frequency/used",)),
    "sensitivity": (checks.sensitivity, ("counts",)),
    "movie": (checks.movie, ("movie/test_accuracy",)),
    "readout": (checks.readout, ("table/seen_disc",)),
    "controls": (checks.controls, ("table/shuffled_disc",)),
    "ablations": (checks.ablations, ("ablation/pre_cka_disc",)),
}
"""Every figure, and the arrays without which it is left out."""
