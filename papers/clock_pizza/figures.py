"""Results -> figures. Draws, computes nothing; single circuits are in `portraits.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from papers.clock_pizza import portraits
from papers.clock_pizza.claims import PAPER_CKA, PAPER_LOGITS, PAPER_RSM
from papers.clock_pizza.portraits import FOUR, LOOKS, shown, steps_note, title
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


def _colour(results: Results, row: int) -> Any:
    """The four of the paper have colours of their own, attention rates between lie between."""
    import matplotlib

    name = str(results["variants"][row])
    if name in FOUR:
        return LOOKS[name].colour
    return matplotlib.colormaps["viridis"](0.15 + 0.7 * float(results["alpha"][row]))


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
        names = [title(name) for _, name in rows]
        plotting.interval_bars(ax, names, cells, {title(n): LOOKS[n] for _, n in rows})
        for place, (_, name) in enumerate(rows):
            if name in paper:
                ax.plot(paper[name], place, "|", color="black", markersize=18, markeredgewidth=1.6,
                        label="the paper")  # fmt: skip
        ax.set_xlim(0.5, 1.02)
        ax.set_title(words, fontsize=11)
        ax.set_xlabel("similarity, mean and 95 % interval")
    _headline(fig, steps_note(results))
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
    _headline(fig, f"From pizza to clock: {steps_note(results)}")
    plotting.legend_outside(fig)
    return fig


def _per_network(ax: Axes, results: Results, column: str, rows: list[int], x: Any) -> None:
    """Every perfect network as a point, means joined."""
    means = []
    for row, where in zip(rows, x, strict=True):
        values = results[f"net/{column}"][row][results["net/perfect"][row] == 1]
        means.append(values.mean() if len(values) else np.nan)
        shift = 0.02 * (np.arange(len(values)) * 0.618034 % 1 - 0.5)
        ax.plot(where + shift, values, "o", color=_colour(results, row), markersize=4, alpha=0.7)
    ax.plot(x, means, color=plotting.NEUTRAL, linewidth=1.3, zorder=1)


def discrepancy(results: Results) -> Figure:
    """Figure 6: maximum mean discrepancy between phase alignment distributions, with p."""
    rows = shown(results)
    places = [row for row, _ in rows]
    fig, axes = plotting.figure(1, 2, height=4.4)
    names = [title(name).replace(" (", "\n(") for _, name in rows]
    for ax, how in zip(axes[0], ("argmax", "centroid"), strict=True):
        value = results[f"mmd/{how}"][np.ix_(places, places)]
        p = results[f"mmd/p_{how}"][np.ix_(places, places)]
        ax.imshow(np.nan_to_num(value[..., 0]), cmap="cividis", vmin=0, vmax=0.32)
        for i in range(len(rows)):
            for j in range(len(rows)):
                bright = value[i, j, 0] > 0.18
                text = "-" if i == j else f"{value[i, j, 0]:.3f}\np = {p[i, j]:.2g}"
                ax.text(j, i, text, ha="center", va="center", fontsize=10,
                        color="black" if bright else "white")  # fmt: skip
        ax.set_xticks(range(len(rows)), names, fontsize=8.5)
        ax.set_yticks(range(len(rows)), names, fontsize=8.5)
        ax.grid(visible=False)
        ax.set_title(f"MMD of the {how} estimator")
    _headline(fig, "Kernel exp(cos + cos - 2); p by permuting networks")
    return fig


def betti(results: Results) -> Figure:
    """Figure 7: what topology says of each cluster, per architecture and layer."""
    fig, axes = plotting.figure(1, 2, height=4.6, sharey=True)
    names = [title(str(name)) for name in results["variants"]]
    for ax, where in zip(axes[0], ("pre", "logits"), strict=True):
        shares, counts = results[f"betti/{where}"], results[f"betti/{where}_clusters"]
        _stacked(ax, shares, [f"{n}: {int(c)}" for n, c in zip(names, counts, strict=True)])
        ax.set_title(LAYER_NAMES[where])
    axes[0, 1].set_yticks(range(len(names)))
    stable = np.nanmean(results["cluster/pre_stable"])
    _headline(fig, f"Betti numbers, clusters examined beside the name; {100 * stable:.0f} % of the "
              "numbers of layer 1 survive thresholds of 0.8 to 1.25 times")  # fmt: skip
    plotting.legend_outside(fig)
    return fig


def _stacked(ax: Axes, shares: Any, names: list[str]) -> None:
    for row in range(len(names)):
        left = 0.0
        for kind, (label, look) in enumerate(MANIFOLD_LOOKS.items()):
            numbers = {"disc": " (1,0,0)", "torus": " (1,2,1)", "circle": " (1,1,0)"}
            order = ("disc", "circle", "torus", "other").index(label)
            share, low, high = shares[row, order]
            if not np.isfinite(share):
                continue
            del low, high, kind
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
    fig, axes = plotting.figure(1, 2, height=4.2, width=11)
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
    _headline(fig, f"Deeper MLPs: {int(good)} of {int(every)} networks at 100 % test accuracy")
    plotting.legend_outside(fig)
    return fig


def zhong(results: Results) -> Figure:
    """Figure 8: the two metrics of Zhong et al., every network a point."""
    fig, axes = plotting.figure(1, 1, width=8, height=5)
    ax = axes[0, 0]
    for row, name in enumerate(map(str, results["variants"])):
        good = results["net/perfect"][row] == 1
        marker = LOOKS[name].marker if name in LOOKS else "D"
        ax.plot(results["net/symmetricity"][row][good], results["net/irrelevance"][row][good],
                marker, color=_colour(results, row), label=title(name), alpha=0.8,
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
    _headline(fig, "Disc or torus: one number, the coherence of phases (point size: neurons)")
    plotting.legend_outside(fig)
    return fig


def frequencies(results: Results) -> Figure:
    """How many frequencies a network uses, and which, with intervals."""
    rows = shown(results)
    fig, axes = plotting.figure(1, 2, height=4.0, width=12)
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
    _headline(fig, steps_note(results))
    plotting.legend_outside(fig)
    return fig


def sensitivity(results: Results) -> Figure:
    """The number of clusters at every threshold: what the count depends on."""
    rows = shown(results)
    fig, axes = plotting.figure(1, len(rows), height=3.4, width=12, sharey=True)
    shares = results["share_steps"]
    looks = plotting.looks(*(f"R² ≥ {r2:g}" for r2 in results["r2_steps"]))
    for ax, (row, name) in zip(axes[0], rows, strict=True):
        for line, (label, look) in enumerate(looks.items()):
            cells = [tuple(cell) for cell in results["counts"][row, line]]
            plotting.band(ax, np.arange(len(shares)), cells, label, look)
        ax.set_xticks(range(len(shares)), ["any\nneuron", *(f"{100 * s:g} %" for s in shares[1:])])
        ax.set_title(title(name), fontsize=11)
        ax.set_xlabel("least cluster size")
    axes[0, 0].set_ylabel("frequencies per network")
    _headline(fig, steps_note(results))
    plotting.legend_outside(fig)
    return fig


def movie(results: Results) -> Figure:
    """Training as a film: accuracy, clusters, energy shares and geometry against the step."""
    panels = (
        ("test_accuracy", "test accuracy"),
        ("clusters", "major clusters"),
        ("first", "first-order share of energy"),
        ("second", "second-order share of energy"),
        ("disc", "CKA with disc"),
        ("torus", "CKA with torus"),
    )
    steps = results["frame_steps"]
    fig, axes = plotting.figure(2, 3, height=6.2, sharex=True)
    for ax, (name, words) in zip(axes.flat, panels, strict=True):
        for row, variant in shown(results):
            cells = results[f"movie/{name}"][row]
            colour = LOOKS[variant].colour
            known = np.where(np.isfinite(cells), cells, np.nan)
            ax.fill_between(steps, known[:, 1], known[:, 2], color=colour, alpha=0.18, linewidth=0)
            ax.plot(steps, cells[:, 0], color=colour, label=title(variant), linewidth=1.6)
        ax.set_ylabel(words)
    for row in results["movie/failed"]:
        axes[0, 0].plot(steps, row[1:], color=_colour(results, int(row[0])), linestyle=":",
                        linewidth=1.0, label="missed 100 % (excluded)")  # fmt: skip
    axes[0, 1].set_ylim(bottom=0)
    for ax in axes[1]:
        ax.set_xlabel("gradient step")
    axes[0, 0].set_xscale("log")
    _headline(fig, f"Training: {steps_note(results)}")
    plotting.legend_outside(fig)
    return fig


def readout(results: Results) -> Figure:
    """The small second order: how much of a cluster the readout sees, and what it is needed for."""
    rows = list(enumerate(map(str, results["variants"])))
    names = [title(name) for _, name in rows]
    looks = plotting.looks("disc", "circle", "second order out", "all mixed terms out",
                           "first order out")  # fmt: skip
    fig, axes = plotting.figure(1, 3, height=4.0, width=13.0, sharey=True)
    for label in ("disc", "circle"):
        cells = [tuple(results[f"table/seen_{label}"][row]) for row, _ in rows]
        _rows(axes[0, 0], cells, looks[label], label)
    axes[0, 0].set_xlabel("CKA of the part that the readout sees")
    cells = [tuple(results["table/seen_share"][row]) for row, _ in rows]
    _rows(axes[0, 1], cells, looks["disc"], "")
    axes[0, 1].set_xlabel("share of the cluster's variance in that part")
    for label, column in (("second order out", "second"), ("all mixed terms out", "mixed"),
                          ("first order out", "first")):  # fmt: skip
        for place, (row, _) in enumerate(rows):
            values = results[f"net/accuracy_{column}"][row][results["net/perfect"][row] == 1]
            y = place + 0.25 * (np.arange(len(values)) * 0.618034 % 1 - 0.5)
            axes[0, 2].plot(values, y, looks[label].marker, color=looks[label].colour,
                            markersize=5, alpha=0.6, label=label)  # fmt: skip
    axes[0, 2].set_xlabel("accuracy on all pairs without that part")
    axes[0, 0].set_yticks(range(len(names)), names)
    axes[0, 0].set_ylim(len(names) - 0.5, -0.5)
    _headline(fig, "What the readout sees of layer 1, and what the network loses without it")
    plotting.legend_outside(fig)
    return fig


def _rows(ax: Axes, cells: list[Any], look: plotting.Look, label: str) -> None:
    for place, (value, low, high) in enumerate(cells):
        if np.isfinite(low) and np.isfinite(high):
            ax.hlines(place, low, high, color=look.colour, linewidth=6, alpha=0.3)
        ax.plot(value, place, look.marker, color=look.colour, markersize=8, label=label or None)


def controls(results: Results) -> Figure:
    """Controls of similarity: nothing but trained circuits reads as a disc."""
    rows = shown(results)
    fig, axes = plotting.figure(1, 2, height=4.2, sharey=True)
    looks = plotting.looks("trained", "phases dealt anew", "random neurons",
                           *(str(c) for c in results["controls"]))  # fmt: skip
    names = [title(name) for _, name in rows]
    for ax, kind in zip(axes[0], ("disc", "torus"), strict=True):
        sets = {
            "trained": [results[f"table/pre_cka_{kind}"][r] for r, _ in rows],
            "phases dealt anew": [results[f"table/shuffled_{kind}"][r] for r, _ in rows],
            "random neurons": [_mean(results, f"random_{kind}", r) for r, _ in rows],
        }
        places = {str(v): i for i, v in enumerate(results["control_variants"])}
        for control in map(str, results["controls"]):
            table = results[f"control/{control}/pre_cka_{kind}"]
            none = np.full(3, np.nan)
            sets[control] = [table[places[n]] if n in places else none for _, n in rows]
        for label, cells in sets.items():
            _rows(ax, [tuple(cell) for cell in cells], looks[label], label)
        ax.set_xlabel(f"CKA with the {kind}")
        ax.set_xlim(0, 1.02)
    axes[0, 0].set_yticks(range(len(names)), names)
    axes[0, 0].set_ylim(len(names) - 0.5, -0.5)
    _headline(fig, "Controls: untrained, trained on permuted labels, and clusters taken apart")
    plotting.legend_outside(fig)
    return fig


def _mean(results: Results, column: str, row: int) -> Any:
    values = results[f"net/{column}"][row][results["net/perfect"][row] == 1]
    return (np.mean(values) if len(values) else np.nan, np.nan, np.nan)


def _headline(fig: Figure, text: str) -> None:
    with plotting.style():
        fig.suptitle(text, x=0.01, ha="left", fontsize=12)


DRAWINGS: dict[str, tuple[Callable[[Results], Figure], tuple[str, ...]]] = {
    "ideal": (portraits.ideal, ()),
    "clusters": (portraits.clusters, ("example_pre",)),
    "activity": (portraits.activity, ("profile",)),
    "alignment": (portraits.alignment, ("pad/histogram",)),
    "persistence": (portraits.persistence, ("bars_pre",)),
    "similarity": (similarity, ("table/pre_cka_disc",)),
    "interpolation": (interpolation, ("table/hole",)),
    "discrepancy": (discrepancy, ("mmd/argmax",)),
    "betti": (betti, ("betti/pre",)),
    "depth": (depth, ("deep/cka_disc",)),
    "zhong": (zhong, ("net/symmetricity",)),
    "coherence": (coherence, ("cluster/rho",)),
    "frequencies": (frequencies, ("frequency/used",)),
    "sensitivity": (sensitivity, ("counts",)),
    "movie": (movie, ("movie/test_accuracy",)),
    "readout": (readout, ("table/seen_disc",)),
    "controls": (controls, ("table/shuffled_disc",)),
}
"""Every figure, and the arrays without which it is left out."""
