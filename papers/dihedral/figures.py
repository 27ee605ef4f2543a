"""The paper's figures and a few of our own. Draws results, computes nothing.

`drawings.py` draws single networks (Cayley graphs, neurons), `comparisons.py` one case beside
another; this file what is said of the headline networks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from papers.dihedral import comparisons, drawings
from papers.dihedral.comparisons import head_title, trio
from papers.dihedral.measure import learned, proportion, tested, wilson
from shared import plotting
from shared.experiment.spec import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray
KINDS = plotting.looks("approximate cosets", "cosets", "1-D", "other")
LINES = plotting.looks("1 hidden layer", "one-hot inputs", "all irreps", "2 layers", "transformer")
CURVES = (("sweep", "1 hidden layer", 0.97), ("onehot", "one-hot inputs", 1.03),
          ("mlp2", "2 layers", 1.0), ("transformer", "transformer", 1.06))  # fmt: skip
SETS = plotting.looks("networks", "controls", "cycles of cosets")
KIND_OF = {"approximate": "approximate cosets", "coset": "cosets", "line": "1-D"}


def figures(results: Results) -> Iterator[tuple[str, Figure]]:
    """Every figure that these results have the data for."""
    for name, (draw, needs) in DRAWINGS.items():
        if needs in results:
            with plotting.style():
                figure = draw(results)
            if figure is not None:
                yield name, figure


def histogram(results: Results) -> Figure:
    """How often each irrep is learned, by the kind of its Cayley graph; neurons beside it."""
    names = [str(name) for name in results["head/irreps"]][1:]
    kinds = [KIND_OF.get(str(kind), "other") for kind in results["head/kinds"]][1:]
    good = learned(results, str(results["headline"]))
    size = np.asarray(results["head/size"])[good][:, 1:]
    half = np.nan_to_num(np.asarray(results["head/half"])[good][:, 1:])
    fig, axes = plotting.figure(1, 2, height=4.8)
    ax = axes[0, 0]
    x = np.arange(len(names))
    trios = [wilson(float((column > 0).sum()), float(len(column)), "") for column in size.T]
    for label, look in KINDS.items():
        mine = [i for i, kind in enumerate(kinds) if kind == label]
        if not mine:
            continue
        heights = np.array([trios[i].value for i in mine])
        spread = np.array([[trios[i].value - trios[i].low, trios[i].high - trios[i].value]
                           for i in mine]).T  # fmt: skip
        ax.bar(x[mine], heights, color=look.colour, label=label, width=0.75)
        ax.errorbar(x[mine], heights, spread, fmt="none", color="#333333", linewidth=1.2)
        neurons = [size[:, i][size[:, i] > 0] for i in mine]
        for i, column in zip(mine, neurons, strict=True):
            offsets = (np.arange(len(column)) * 0.618034 % 1 - 0.5) * 0.6
            axes[0, 1].plot(i + offsets, column, linestyle="none", marker=look.marker,
                            color=look.colour, markersize=4)  # fmt: skip
    halves = half.sum(0) / max(len(size), 1)
    ax.bar(x, halves, width=0.75, fill=False, hatch="////", edgecolor="#333333", linewidth=0,
           label="of these, cycles of cosets")  # fmt: skip
    for panel in axes[0]:
        panel.set_xticks(x, [drawings.pretty(name) for name in names], rotation=60)
        panel.set_xlabel("irrep")
    ax.set_ylabel("share of networks that learn it\n(95 % intervals)")
    axes[0, 1].set_ylabel("neurons in its cluster")
    ax.set_title(head_title(results))
    axes[0, 1].set_title("A point a network")
    plotting.legend_outside(fig)
    return fig


def growth(results: Results) -> Figure | None:
    """Number of representations against n, with its logarithmic fit and the number of irreps."""
    ns, counts = np.asarray(results["sweep/n"], float), np.asarray(results["sweep/count"])
    known = np.isfinite(counts)
    if known.sum() < 3 or len(set(ns)) < 2:
        return None
    fig, axes = plotting.figure(1, 2, height=4.6)
    ax = axes[0, 0]
    grid = np.linspace(ns.min(), ns.max(), 100)
    irreps = np.array([(n - 1) // 2 + (1 if n % 2 else 3) for n in ns.astype(int)])
    ax.plot(ns, irreps, color=LINES["all irreps"].colour, marker="^", linestyle=":",
            label="all non-trivial irreps")  # fmt: skip
    _counts(ax, results)
    from shared.groups.growth import fit_growth

    points = np.array([(n, c) for n, row in zip(ns, counts, strict=True)
                       for c in row if np.isfinite(c)])  # fmt: skip
    fit = fit_growth(points[:, 0], points[:, 1]).log
    base, slope = fit.intercept.value, fit.slope.value
    fitted = base + slope * np.log(grid)
    ax.plot(grid, fitted, color="#333333", linestyle="--", label=f"{base:.2f} + {slope:.2f} ln n")
    ax.set_xscale("log", base=2)
    near = [any(0 < np.log(n / m) < 0.1 for m in ns) for n in ns]
    ax.set_xticks(ns, ["" if close else f"{int(n)}" for n, close in zip(ns, near, strict=True)])
    ax.set_xlabel("n of D$_n$ (log scale)")
    ax.set_ylabel("number of representations\n(mean ± s.d., a point a network)")
    low, high = fit.slope.low, fit.slope.high
    ax.set_title(f"R² = {fit.r2:.2f}, slope {fit.slope.value:.2f} [{low:.2f}, {high:.2f}]")
    _sensitivity(axes[0, 1], results)
    plotting.legend_outside(fig, columns=4)
    return fig


def _counts(ax: Any, results: Results) -> None:
    """Every network a point, beside the mean and standard deviation at its n."""
    for name, label, shift in CURVES:
        if f"{name}/count" not in results:
            continue
        look, rows = LINES[label], np.asarray(results[f"{name}/count"])
        for n, row in zip(np.asarray(results[f"{name}/n"]), rows, strict=True):
            row = row[np.isfinite(row)]
            spread = 1 + (np.arange(len(row)) * 0.618034 % 1 - 0.5) * 0.03
            ax.plot(n * shift * spread, row, linestyle="none", marker=look.marker, alpha=0.45,
                    color=look.colour, markersize=4)  # fmt: skip
            if len(row):
                ax.errorbar(n * shift, row.mean(), row.std(), color=look.colour, capsize=3,
                            marker=look.marker, markersize=7, label=label)  # fmt: skip


def _sensitivity(ax: Any, results: Results) -> None:
    """The same counts under other thresholds, as a table; the first row is what is counted."""
    ns = np.asarray(results["sweep/n"]).astype(int)
    if "sweep/sensitivity" not in results:
        ax.set_axis_off()
        return
    table = np.asarray(results["sweep/sensitivity"])
    rows = [("counted: live > 2 %, any size", table[:, 1, 0, 0])]
    for i, live in enumerate((1, 2, 5)):
        rows += [(f"live > {live} %, share ≥ {share:g}, size ≥ 3", table[:, i, j, 1])
                 for j, share in enumerate((0, 0.5, 0.9))]  # fmt: skip
    values = np.array([row for _, row in rows])
    ax.imshow(values, cmap="Blues", aspect="auto", vmin=0, vmax=1.6 * np.nanmax(values))
    for (y, x), value in np.ndenumerate(values):
        ax.text(x, y, f"{value:.1f}", ha="center", va="center", fontsize=8.5)
    ax.set_xticks(range(len(ns)), [str(n) for n in ns])
    ax.set_yticks(range(len(rows)), [name for name, _ in rows], fontsize=8.5)
    ax.grid(visible=False)
    ax.set_xlabel("n of D$_n$")
    ax.set_title("Mean count by threshold", fontsize=12)


def movie(results: Results) -> Figure:
    """Training: accuracy, number of representations and share of energy against the step."""
    every = int(results["head/log_every"])
    mass = np.asarray(results["head/history/mass"])
    steps = (np.arange(mass.shape[0]) + 1) * every
    names = [drawings.pretty(str(name)) for name in results["head/irreps"]]
    fig, axes = plotting.figure(2, 1, height=6.6, sharex=True)
    ax, good = axes[0, 0], learned(results, str(results["headline"]))
    curves = (("test_accuracy", "test accuracy", 1.0), ("share", "energy on one irrep", 1.0),
              ("count", "representations / all irreps", len(names) - 1.0))  # fmt: skip
    for (name, label, scale), (colour, marker) in zip(
        curves, zip(plotting.COLOURS, plotting.MARKERS, strict=True), strict=False
    ):
        rows = np.asarray(results[f"head/history/{name}"])[good] / scale
        if len(rows) == 0:
            continue
        middle, low, high = np.median(rows, 0), rows.min(0), rows.max(0)
        plotting.band(ax, steps.astype(float), list(zip(middle, low, high, strict=True)), label,
                      plotting.Look(colour, marker))  # fmt: skip
    ax.set_ylabel("share")
    ax.set_title(f"{head_title(results)}: median and range over networks")
    if good.any():
        ax.legend(loc="lower right")
    shown = mass[:, 1:]
    image = axes[1, 0].imshow(
        shown.T, aspect="auto", origin="lower", cmap="magma_r", interpolation="nearest",
        extent=(every / 2, steps[-1] + every / 2, -0.5, shown.shape[1] - 0.5),
    )  # fmt: skip
    axes[1, 0].set_yticks(range(shown.shape[1]), names[1:])
    axes[1, 0].grid(visible=False)
    axes[1, 0].set_xlabel("gradient steps")
    axes[1, 0].set_ylabel("irrep")
    axes[1, 0].set_title("One network: which irrep its neurons belong to")
    fig.colorbar(image, ax=axes[1, 0], label="share of live neurons")
    return fig


def ablation(results: Results) -> Figure | None:
    """Accuracy with a subset of the clusters against what their kernels predict."""
    rows = np.asarray(results["head/ablation"])
    if len(rows) == 0:
        return None
    fig, axes = plotting.figure(1, 2, height=4.8)
    ax = axes[0, 0]
    most = int(rows[:, 3].max())
    looks = plotting.looks("one cluster", "two", "three", "four or more")
    for i, (label, look) in enumerate(looks.items()):
        mine = rows[(rows[:, 3] == i + 1) if i < 3 else (rows[:, 3] >= 4)]
        if len(mine):
            jitter = 1 + (np.arange(len(mine)) * 0.618034 % 1 - 0.5) * 0.12
            ax.plot(mine[:, 0] * jitter, mine[:, 1], linestyle="none", marker=look.marker,
                    color=look.colour, markersize=4.5, alpha=0.6, label=label)  # fmt: skip
    ends = np.array([rows[:, 0].min() * 0.8, 1.0])
    ax.plot(ends, ends, color=plotting.NEUTRAL, linestyle="--", label="1 / |∩ kernels|")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("predicted: 1 / |intersection of the kernels|")
    ax.set_ylabel("accuracy with these clusters only")
    ax.set_title(head_title(results))
    panel = axes[0, 1]
    for kept in range(1, most + 1):
        mine = rows[rows[:, 3] == kept][:, 2]
        offsets = (np.arange(len(mine)) * 0.618034 % 1 - 0.5) * 0.6
        panel.plot(kept + offsets, mine, linestyle="none", marker="o", markersize=4, alpha=0.4,
                   color=plotting.COLOURS[0])  # fmt: skip
        panel.plot(kept, mine.mean(), marker="D", markersize=9, color=plotting.COLOURS[1])
    panel.set_xticks(range(1, most + 1))
    panel.set_xlabel("clusters kept")
    panel.set_ylabel("accuracy modulo the intersection\nof their kernels (mean: diamond)")
    panel.set_title("Of what a subset can know, what it does")
    plotting.legend_outside(fig)
    return fig


def controls(results: Results) -> Figure:
    """The Cayley test on trained clusters and on three kinds of clusters that must fail it."""
    case = str(results["headline"])
    rows = [("trained", "passed", case, "networks"), ("untrained", "untrained", case, "controls"),
            ("random clusters", "random", case, "controls")]  # fmt: skip
    names, trios, looks = [], [], {}
    for name, key, of, look in rows:
        names.append(name)
        trios.append(trio(tested(results, of, key, name)))
        looks[name] = SETS[look]
    shuffled = results.get(f"case/{case} permuted/passed")
    if shuffled is not None:
        names.append("permuted labels")
        counts = np.asarray(shuffled)
        trios.append(trio(proportion(counts[:, 0], counts[:, 2], "")))
        looks["permuted labels"] = SETS["controls"]
    names.insert(1, "trained: cycles of cosets")
    trios.insert(1, trio(tested(results, case, "passed", "", half=True)))
    looks["trained: cycles of cosets"] = SETS["cycles of cosets"]
    fig, axes = plotting.figure(1, 1, height=3.4)
    plotting.interval_bars(axes[0, 0], names, trios, looks)
    axes[0, 0].set_xlim(-0.02, 1.02)
    axes[0, 0].set_xlabel("share of 2-D clusters that are Cayley graphs of a quotient (95 %)")
    axes[0, 0].set_ylabel("clusters of")
    axes[0, 0].set_title(f"Cayley test on {head_title(results)}")
    return fig


DRAWINGS: dict[str, tuple[Callable[[Results], Any], str]] = {
    "cayley": (drawings.cayley, "show/head/points"),
    "neurons": (drawings.neurons, "show/head/neuron"),
    "pairs": (drawings.pairs, "show/head/pca"),
    "other_group": (drawings.other_group, "show/other/points"),
    "histogram": (histogram, "head/half"),
    "growth": (growth, "sweep/count"),
    "movie": (movie, "head/history/mass"),
    "ablation": (ablation, "head/ablation"),
    "controls": (controls, "head/half"),
    "comparison": (comparisons.comparison, "cases"),
    "topology": (comparisons.topology, "head/betti"),
    "grid": (comparisons.grid, "grid/count"),
    "explanations": (comparisons.explanations, "head/half"),
    "margins": (comparisons.margins, "head/margin"),
    "theorem": (comparisons.theorem, "theorem/n"),
}
"""Every figure, and the array without which it is left out."""
