"""Figures that set one case beside another: architectures, groups, settings, explanations.

Draws results, computes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from papers.dihedral.measure import average, is_other, learned, tested
from shared import plotting
from shared.experiment.spec import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray


def head_title(results: Results) -> str:
    """Group of the headline case and how many of its networks learned."""
    case = str(results["headline"])
    good = learned(results, case)
    group = case.split()[0]
    name = f"D$_{{{group[1:]}}}$" if group[0] == "D" and group[1:].isdigit() else group
    return f"{name}, {int(good.sum())} of {len(good)} networks learned"


def trio(estimate: Any) -> tuple[float, float, float]:
    return estimate.value, estimate.low, estimate.high


def _measured(results: Results, case: str, key: str) -> tuple[float, float, float]:
    """Of the networks that learned; nothing to draw where none did."""
    good = learned(results, case)
    if not good.any():
        return np.nan, np.nan, np.nan
    if key == "passed":
        return trio(tested(results, case, key, ""))
    return trio(average(np.asarray(results[f"case/{case}/{key}"])[good], ""))


def comparison(results: Results) -> Figure | None:
    """Architectures on the headline group, and other groups, by the same measures."""
    head = str(results["headline"]).split()[0]
    cases = [str(name) for name in results["cases"]]
    mine = [name for name in cases if name.startswith(f"{head} ") and "permuted" not in name]
    mine += [name for name in cases if is_other(name) and name not in mine]
    mine = [name for name in mine if f"case/{name}/passed" in results]
    if len(mine) < 2:
        return None
    panels = (("clusters_only", "accuracy of the clusters alone"),
              ("first_share", "input energy on one irrep"),
              ("passed", "clusters that are Cayley graphs"))  # fmt: skip
    fig, axes = plotting.figure(1, 3, height=1.2 + 0.42 * len(mine))
    names = [name.replace(" ", ", ") for name in mine]
    looks = {label: plotting.looks("own", "other")["other" if is_other(case) else "own"]
             for label, case in zip(names, mine, strict=True)}  # fmt: skip
    for ax, (key, title) in zip(axes[0], panels, strict=True):
        trios = [_measured(results, case, key) for case in mine]
        plotting.interval_bars(ax, names, trios, looks)
        ax.set_xlim(-0.03, 1.05)
        ax.set_xlabel(title)
        if ax is not axes[0, 0]:
            ax.set_yticklabels([])
    good = [f"{int(learned(results, case).sum())}/{len(learned(results, case))}" for case in mine]
    axes[0, 0].set_yticks(
        range(len(mine)), [f"{n}  ({g})" for n, g in zip(names, good, strict=True)]
    )
    axes[0, 0].set_ylabel("group, network\n(networks that learned)")
    return fig


def explanations(results: Results) -> Figure | None:
    """What other accounts of such networks would predict, on the same networks."""
    head = str(results["headline"]).split()[0]
    cases = [str(case) for case in results["cases"] if str(case).startswith(f"{head} ")]
    cases = [case for case in cases if "permuted" not in case]
    cases = [case for case in cases if f"case/{case}/rival_coset" in results]
    cases = [case for case in cases if learned(results, case).any()]
    if not cases:
        return None
    panels = (("composition", "logits: share that is\na function of a b"),
              ("rank_one", "neurons: rank one\n(largest σ² / Σσ²)"),
              ("coset", "neurons: variance within\nthe best cosets (0 fits)"),
              ("all_irreps", "share of all irreps\nthat are used"))  # fmt: skip
    fig, axes = plotting.figure(1, len(panels), height=1.6 + 0.35 * len(cases))
    looks = plotting.looks(*[case.split()[1] for case in cases])
    for ax, (key, title) in zip(axes[0], panels, strict=True):
        trios = []
        for case in cases:
            values = np.asarray(results[f"case/{case}/rival_{key}"])[learned(results, case)]
            values = values[np.isfinite(values)]
            trios.append(trio(average(values, "")) if len(values) else (np.nan,) * 3)
        plotting.interval_bars(ax, list(looks), trios, looks)
        ax.set_xlim(-0.03, 1.05)
        ax.set_xlabel(title)
        if ax is not axes[0, 0]:
            ax.set_yticklabels([])
    axes[0, 0].set_ylabel(f"network on {head}")
    return fig


def topology(results: Results) -> Figure | None:
    """Betti numbers of the clusters of the headline networks, Cayley graphs and cycles apart."""
    panels = (("betti", "class means (one point an answer)"),
              ("betti_pairs", "contributions (one point a pair)"))  # fmt: skip
    if len(np.asarray(results["head/betti"])) == 0:
        return None
    looks = plotting.looks("Cayley graphs", "cycles of cosets")
    fig, axes = plotting.figure(1, 2, height=4.0)
    for ax, (key, title) in zip(axes[0], panels, strict=True):
        half, numbers = np.split(np.asarray(results[f"head/{key}"]), [1], axis=1)
        triples = sorted({tuple(row) for row in numbers.tolist()})
        for shift, (label, look) in zip((-0.19, 0.19), looks.items(), strict=True):
            mine = numbers[half[:, 0] == (label == "cycles of cosets")].tolist()
            share = [sum(tuple(row) == one for row in mine) / max(len(mine), 1) for one in triples]
            ax.barh(np.arange(len(triples)) + shift, share, height=0.36, color=look.colour,
                    label=f"{label}" if ax is axes[0, 0] else None)  # fmt: skip
            for y, x in enumerate(share if mine else []):
                ax.text(x + 0.01, y + shift, f"{round(x * len(mine))}/{len(mine)}", va="center",
                        fontsize=8)  # fmt: skip
        ax.set_yticks(range(len(triples)), [str(one) for one in triples])
        ax.set_xlim(0, 1.15)
        ax.set_xlabel("share of clusters with n' ≥ 8")
        ax.set_title(title)
    axes[0, 0].set_ylabel("Betti numbers (b₀, b₁, b₂)")
    plotting.legend_outside(fig)
    return fig


def grid(results: Results) -> Figure:
    """Number of representations by learning rate and L2."""
    count, perfect = np.asarray(results["grid/count"]), np.asarray(results["grid/perfect"]) == 1
    known = perfect.sum(-1)
    mean = np.where(perfect, count, 0).sum(-1) / np.maximum(known, 1)
    fig, axes = plotting.figure(1, 1, height=4.4, width=8.0)
    ax = axes[0, 0]
    image = ax.imshow(np.where(known > 0, mean, np.nan), cmap="viridis", aspect="auto")
    for i in range(mean.shape[0]):
        for j in range(mean.shape[1]):
            text = f"{mean[i, j]:.1f}" if known[i, j] else "–"
            dark = known[i, j] and mean[i, j] < mean[known > 0].mean()
            ax.text(j, i, f"{text}\n{known[i, j]}/{perfect.shape[-1]}", ha="center", va="center",
                    color="white" if dark else "black", fontsize=9)  # fmt: skip
    ax.set_yticks(range(mean.shape[0]), [f"{rate:g}" for rate in results["grid/rates"]])
    ax.set_xticks(range(mean.shape[1]), [f"{l2:g}" for l2 in results["grid/l2"]])
    ax.grid(visible=False)
    ax.set_xlabel("L2 coefficient")
    ax.set_ylabel("learning rate")
    ax.set_title(f"Representations on D$_{{{int(results['grid/n'])}}}$ (and networks that learned)")
    fig.colorbar(image, ax=ax, label="mean number of representations")
    return fig


def theorem(results: Results) -> Figure:
    """How many random irreps are enough: the bound, and Monte Carlo."""
    ns, bound = np.asarray(results["theorem/n"]), np.asarray(results["theorem/bound"])
    prime = np.asarray(results["theorem/prime"]) == 1
    fig, axes = plotting.figure(1, 2, height=4.2)
    order = np.argsort(ns)
    looks = plotting.looks("bound", "prime n", "composite n")
    left, right = axes[0]
    left.plot(ns[order], bound[order], color=looks["bound"].colour, label="bound")
    for label, mine in (("prime n", prime), ("composite n", ~prime)):
        look = looks[label]
        left.plot(ns[mine], np.asarray(results["theorem/least"])[mine], linestyle="none",
                  marker=look.marker, color=look.colour, markersize=8, label=label)  # fmt: skip
        right.plot(ns[mine], np.asarray(results["theorem/chance"])[mine], linestyle="none",
                   marker=look.marker, color=look.colour, markersize=8, label=label)  # fmt: skip
    right.axhline(0.9, color=plotting.NEUTRAL, linestyle="--", label="promised")
    for ax in (left, right):
        ax.set_xscale("log")
        near = [any(0 < np.log(n / m) < 0.15 for m in ns) for n in ns]
        ax.set_xticks(ns, ["" if close else f"{int(n)}" for n, close in zip(ns, near, strict=True)])
        ax.minorticks_off()
        ax.set_xlabel("n of D$_n$ (log scale)")
    left.set_ylabel("random 2-D irreps for P ≥ 0.9\n(Monte Carlo, and the bound)")
    right.set_ylabel("P(margin > 0.1 m) at the bound's m")
    plotting.legend_outside(fig)
    return fig


def margins(results: Results) -> Figure:
    """Smallest logit margin against the number of representations, a point a network."""
    good = learned(results, str(results["headline"]))
    count = np.asarray(results[f"case/{results['headline']!s}/count"])
    margin = np.asarray(results["head/margin"])
    fig, axes = plotting.figure(1, 1, height=4.0, width=7.0)
    looks = plotting.looks("learned", "missed 100 % test accuracy")
    for label, mine in (("learned", good), ("missed 100 % test accuracy", ~good)):
        look, offsets = looks[label], (np.arange(int(mine.sum())) * 0.618034 % 1 - 0.5) * 0.3
        axes[0, 0].plot(count[mine] + offsets, margin[mine], linestyle="none", markersize=7,
                        marker=look.marker, color=look.colour, label=label)  # fmt: skip
    values = sorted({int(value) for value in count})
    axes[0, 0].set_xticks(values, [str(value) for value in values])
    axes[0, 0].set_xlabel("number of representations (spread sideways to be told apart)")
    axes[0, 0].set_ylabel("smallest margin over all pairs (logits)")
    axes[0, 0].set_title(head_title(results))
    plotting.legend_outside(fig)
    return fig
