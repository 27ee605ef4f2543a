"""The paper's figures of studies: growth, one-hot, width, depth, substitution, frequencies."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool

from papers.modular_crt import analysis, evidence
from papers.modular_crt.looks import LOOKS, legend_note, suptitle
from shared import plotting
from shared.experiment.spec import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray
CASES = {**evidence.CASES, **evidence.COMPARED}
CASE_LOOKS = plotting.looks(*CASES)
FACTOR_LOOKS = plotting.looks("gcd(f, n) = 1", "gcd(f, n) > 1")


def growth(results: Results) -> Figure:
    """Figure 3: the number of frequencies against n, on a logarithmic and on a linear axis."""
    fig, axes = plotting.figure(1, 2, height=4.6, sharey=True)
    names = analysis.settings(results, "scaling", "architecture")
    for place, name in enumerate(names):
        n, counts = analysis.growth(results, name)
        if not len(n):
            continue
        each = np.unique(n)
        mean = np.array([counts[n == value].mean() for value in each])
        spread = np.array([counts[n == value].std() for value in each])
        shift = 1 + 0.02 * (place - (len(names) - 1) / 2)
        prime = np.array([analysis.is_prime(int(value)) for value in each])
        for ax in axes[0]:
            look = LOOKS[name]
            ax.errorbar(each * shift, mean, yerr=spread, linestyle="none", color=look.colour,
                        elinewidth=1)  # fmt: skip
            for kind, face in ((prime, look.colour), (~prime, "white")):
                ax.plot(each[kind] * shift, mean[kind], linestyle="none", marker=look.marker,
                        markerfacecolor=face, markeredgecolor=look.colour, markeredgewidth=1.4,
                        markersize=7)  # fmt: skip
        if len(each) >= 3:
            fit = analysis.growth_fit(n, counts)
            x = np.linspace(each.min(), each.max(), 200)
            label = f"{name}: {fit['alpha']:.1f} + {fit['beta']:.2f} ln n (R² {fit['r2_log']:.2f})"
            for ax in axes[0]:
                ax.plot(x, fit["alpha"] + fit["beta"] * np.log(x), color=LOOKS[name].colour,
                        label=label)  # fmt: skip
    for ax in axes[0]:
        ax.plot([89, 91], [4.5, 4.5], linestyle="none", marker="*", markersize=11,
                color=plotting.NEUTRAL, label="the paper: about 4.5 at n = 89, 91")  # fmt: skip
    axes[0, 0].set_xscale("log")
    largest = max(91, *analysis.settings(results, "scaling", "modulus"))
    ticks = [t for t in (3, 5, 7, 10, 15, 23, 40, 66, 90, 128, 256, 512, 1024) if t <= largest]
    axes[0, 0].set_xticks(ticks, [str(t) for t in ticks])
    axes[0, 0].minorticks_off()
    for ax in axes[0]:
        ax.set_xlabel("modulus n (full: prime, hollow: composite)")
        ax.set_ylim(0)
    axes[0, 0].set_ylabel("number of frequencies\n(mean, 1 standard deviation)")
    suptitle(fig, legend_note(results, "scaling"))
    plotting.legend_outside(fig, columns=2)
    return fig


def onehot(results: Results) -> Figure:
    """Figure 4: one-hot, deeper and embedded."""
    moduli = analysis.settings(results, "onehot", "modulus")
    fig, axes = plotting.figure(1, 1, height=4.2)
    ax = axes[0, 0]
    width = 0.8 / len(CASES)
    for i, (label, fields) in enumerate(CASES.items()):
        for place, n in enumerate(moduli):
            runs = analysis.rows(results, "onehot", modulus=n, **fields)
            counts = analysis.column(results, "count", runs)
            if not len(counts):
                continue
            x, look = place + (i - (len(CASES) - 1) / 2) * width, CASE_LOOKS[label]
            ax.bar(x, counts.mean(), 0.9 * width, color=look.colour, alpha=0.75,
                   label=label if place == 0 else None)  # fmt: skip
            spread = (np.arange(len(counts)) * 0.618 % 1 - 0.5) * 0.4 * width
            ax.plot(x + spread, counts, linestyle="none", color="black", marker=".", markersize=5)
            ax.text(x, counts.max() + 0.5, f"{counts.mean():.1f}", ha="center", fontsize=10)
    for place, n in enumerate(moduli):
        ax.hlines(n // 2, place - 0.42, place + 0.42, color=plotting.NEUTRAL, linestyle="--",
                  label="all of them, floor(n/2)" if place == 0 else None)  # fmt: skip
    ax.set_xticks(range(len(moduli)), [f"n = {n}" for n in moduli])
    ax.set_xlabel("modulus")
    ax.set_ylabel("number of frequencies in layer 1")
    ax.grid(visible=False, axis="x")
    ax.set_ylim(0, max(n // 2 for n in moduli) * 1.15)
    suptitle(fig, legend_note(results, "onehot"))
    plotting.legend_outside(fig, columns=3)
    return fig


def depth(results: Results) -> Figure:
    """Figures 40 to 42: frequencies, loss and margin against depth."""
    depths = analysis.settings(results, "depth", "depth")
    fig, axes = plotting.figure(1, 3, height=4.2)
    panels = (("count", "frequencies in layer 1"), ("loss", "loss on all pairs (nats)"),
              ("margin", "mean margin (logits)"))  # fmt: skip
    for name in analysis.settings(results, "depth", "architecture"):
        for ax, (column, label) in zip(axes[0], panels, strict=True):
            triples, at = [], []
            for d in depths:
                runs = analysis.rows(results, "depth", architecture=name, depth=d)
                values = analysis.column(results, column, runs)
                if len(values):
                    e = analysis.mean(values, "")
                    triples.append((e.value, e.low, e.high))
                    at.append(d)
            if triples:
                shown = "embedded" if name == "mlp" else str(name)
                plotting.band(ax, np.array(at), triples, shown, LOOKS[name])
            ax.set_xticks(depths)
            ax.set_xlabel("hidden layers")
            ax.set_ylabel(label)
    n = analysis.settings(results, "depth", "modulus")[0]
    suptitle(fig, f"n = {n}: means, 95 % intervals. {legend_note(results, 'depth')}")
    plotting.legend_outside(fig)
    return fig


def width(results: Results) -> Figure:
    """Figure 5: how simple neurons are, and how many frequencies there are, against width."""
    widths = analysis.settings(results, "width", "width")
    fig, axes = plotting.figure(1, 2, height=4.2)
    for ax, (column, label) in zip(
        axes[0],
        (("r2", "mean R² of one sine per input"), ("count", "number of frequencies")),
        strict=True,
    ):
        triples, at = [], []
        for m in widths:
            runs = analysis.rows(results, "width", width=m)
            values = analysis.column(results, column, runs)
            if len(values):
                e = analysis.mean(values, "")
                triples.append((e.value, e.low, e.high))
                at.append(m)
                ax.plot(np.full(len(values), m), values, linestyle="none", marker=".",
                        color=LOOKS["mlp"].colour, alpha=0.6)  # fmt: skip
        if triples:
            plotting.band(ax, np.array(at), triples, "mlp", LOOKS["mlp"])
        ax.set_xscale("log", base=2)
        ax.set_xticks(widths, [str(m) for m in widths])
        ax.set_xlabel("hidden neurons")
        ax.set_ylabel(label)
    n = analysis.settings(results, "width", "modulus")[0]
    suptitle(
        fig, f"n = {n}: mean, 95 % interval, a point a network. {legend_note(results, 'width')}"
    )
    return fig


def substitution(results: Results) -> Figure:
    """Figures 6 and 7: which share of networks keeps 100 % when all neurons become their fits."""
    panels: list[tuple[str, int, str, str]] = []
    for name in analysis.settings(results, "grid", "architecture"):
        for d in analysis.settings(results, "grid", "depth"):
            panels.append((name, d, "simple", "1st order"))
            if d > 1:
                panels.append((name, d, "both", "1st, then 2nd order"))
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    fig, axes = plotting.figure(rows, columns, height=0.6 + 2.9 * rows)
    for ax in axes.flat[len(panels) :]:
        ax.remove()
    for ax, (name, d, column, label) in zip(axes.flat, panels, strict=False):
        plural = "layer" if d == 1 else "layers"
        _cells(results, ax, name, d, lambda r, c=column: analysis.column(results, c, r) == 1)
        ax.set_title(f"{name}, {d} {plural}: {label}", fontsize=10)
    suptitle(fig, "Networks that keep 100 % / that had it (of all). Dark: all of them keep it")
    return fig


def later_layers(results: Results) -> Figure:
    """Figure 8: share of layer-2 neurons that first-order terms fit best."""
    names = [n for n in analysis.settings(results, "grid", "architecture")]
    deep = [d for d in analysis.settings(results, "grid", "depth") if d > 1]
    fig, axes = plotting.figure(len(deep), len(names), height=0.6 + 3.2 * len(deep))
    for i, d in enumerate(deep):
        for j, name in enumerate(names):
            ax = axes[i, j]
            _cells(results, ax, name, d, lambda r: analysis.column(results, "first_share", r),
                   percent=True)  # fmt: skip
            ax.set_title(f"{name}, {d} layers", fontsize=11)
    suptitle(fig, "Layer-2 neurons fitted best by first-order terms (mean over solved networks)")
    return fig


def _cells(
    results: Results,
    ax: Any,
    name: str,
    depth: int,
    of: Callable[[Array], Array],
    percent: bool = False,
) -> None:
    """A heat map over learning rates and L2 of the mean of `of(runs)`, a number in each cell."""
    rates = analysis.settings(results, "grid", "learning_rate")
    l2s = analysis.settings(results, "grid", "l2")
    table = np.full((len(l2s), len(rates)), np.nan)
    for i, l2 in enumerate(l2s):
        for j, rate in enumerate(rates):
            runs = analysis.rows(
                results, "grid", architecture=name, depth=depth, learning_rate=rate, l2=l2
            )
            values = np.asarray(of(runs), float)
            good = int(analysis.solved(results, runs).sum())
            if len(values):
                table[i, j] = values.mean()
            text = f"{int(values.sum())}/{good}\n({len(runs)})" if not percent else (
                f"{100 * values.mean():.0f} %" if len(values) else "none")  # fmt: skip
            dark = len(values) > 0 and values.mean() > 0.6
            ax.text(j, i, text, ha="center", va="center", fontsize=9,
                    color="white" if dark else "black")  # fmt: skip
    ax.imshow(table, cmap="Greens", vmin=0, vmax=1.1, aspect="auto")
    ax.set_xticks(range(len(rates)), [f"{rate:g}" for rate in rates])
    ax.set_yticks(range(len(l2s)), [f"{l2:g}" for l2 in l2s])
    ax.grid(visible=False)
    ax.set_xlabel("learning rate")
    ax.set_ylabel("L2 coefficient")


def frequencies(results: Results) -> Figure:
    """Figures 9 and 31: how often each frequency is learned, with 95 % intervals."""
    index = results["study/frequencies"][:, 0]
    panels = list(zip(results["network/modulus"][index].tolist(),
                      results["network/depth"][index].tolist(), strict=True))  # fmt: skip
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    fig, axes = plotting.figure(rows, columns, height=0.6 + 2.9 * rows)
    for ax in axes.flat[len(panels) :]:
        ax.remove()
    for ax, (n, depth) in zip(axes.flat, panels, strict=False):
        _histogram(ax, n, analysis.learned(results, n, depth)[0] > 0)
        layers = "1 layer" if depth == 1 else f"{depth} layers"
        kept = len(analysis.learned(results, n, depth)[0])
        ax.set_title(f"n = {n}, {layers}, {kept} networks")
        ax.set_xlabel("frequency f")
        ax.set_ylabel("share of networks")
    suptitle(fig, "Frequencies learned, 95 % intervals. Dashed: all alike")
    plotting.legend_outside(fig)
    return fig


def _histogram(ax: Any, n: int, chosen: Bool[Array, "runs F"]) -> None:
    """Of each frequency the share of networks that have it."""
    f = np.arange(1, n // 2 + 1)
    shared = np.gcd(f, n) > 1
    ax.grid(visible=False, axis="x")
    if not len(chosen):
        return
    estimates = [analysis.share(column, "") for column in chosen.T]
    value = np.array([e.value for e in estimates])
    bars = np.array([[max(0.0, e.value - e.low), max(0.0, e.high - e.value)] for e in estimates]).T
    for label, kind in (("gcd(f, n) = 1", ~shared), ("gcd(f, n) > 1", shared)):
        if kind.any():
            ax.bar(f[kind], value[kind], yerr=bars[:, kind], color=FACTOR_LOOKS[label].colour,
                   alpha=0.8, label=label, error_kw={"elinewidth": 0.9})  # fmt: skip
    ax.axhline(value.mean(), color=plotting.NEUTRAL, linestyle="--", linewidth=1)
    ax.set_xticks(f[:: 1 if n < 35 else 4])


def conditional(results: Results) -> Figure:
    """Figure 31, conditional: ratios of two frequencies that a network has (prime n)."""
    moduli = [
        n for n in analysis.settings(results, "frequencies", "modulus") if analysis.is_prime(n)
    ]
    fig, axes = plotting.figure(1, len(moduli), height=4.2)
    for ax, n in zip(axes[0], moduli, strict=True):
        counts = analysis.ratio_shares(analysis.learned(results, n, 1)[0] > 0, n)[:, 1:]
        if not counts.sum():
            continue
        chance = 1 / counts.shape[1]
        half = pow(2, -1, n)
        special = {2, min(half, n - half)}
        for r in range(2, n // 2 + 1):
            e = analysis.interval_of(
                lambda c, r=r, p=chance: float(c[:, r - 2].sum() / max(1, c.sum()) / p), counts, ""
            )
            colour = LOOKS["pizza"].colour if r in special else LOOKS["mlp"].colour
            ax.bar(r, e.value, color=colour, alpha=0.8)
            ax.vlines(r, e.low, e.high, color="black", linewidth=1)
        ax.axhline(1, color=plotting.NEUTRAL, linestyle="--", linewidth=1)
        ax.set_title(f"n = {n}: pairs of frequencies in one network (pink: half or double)")
        ax.set_xlabel("ratio of the two, modulo n and up to sign")
        ax.set_ylabel("how often, as a multiple of chance")
        ax.grid(visible=False, axis="x")
    return fig


def solved(results: Results) -> Figure:
    """Which networks miss 100 %: counted, shown, and left out of everything about circuits."""
    studies = [key.removeprefix("study/") for key in results if key.startswith("study/")]
    studies = [name for name in studies if len(results[f"study/{name}"])]
    fig, axes = plotting.figure(1, 2, height=4.0)
    for place, name in enumerate(studies):
        runs = analysis.rows(results, name)
        good = int(analysis.solved(results, runs).sum())
        axes[0, 0].barh(place, good, color=LOOKS["mlp"].colour, label="100 % of all pairs")
        axes[0, 0].barh(place, len(runs) - good, left=good, color=LOOKS["pizza"].colour,
                        label="below 100 %, left out")  # fmt: skip
        axes[0, 0].text(len(runs), place, f" {good}/{len(runs)}", va="center", fontsize=10)
        bad = runs[~analysis.solved(results, runs)]
        accuracy = results["run/accuracy"][bad]
        axes[0, 1].plot(accuracy, np.full(len(bad), place), linestyle="none", marker="o",
                        color=LOOKS["pizza"].colour, alpha=0.6)  # fmt: skip
    for ax in axes[0]:
        ax.set_yticks(range(len(studies)), studies)
        ax.set_ylim(len(studies) - 0.5, -0.5)
        ax.grid(visible=False, axis="y")
    axes[0, 0].margins(x=0.15)
    axes[0, 0].set_xlabel("networks")
    axes[0, 0].set_ylabel("study")
    axes[0, 1].set_xlabel("accuracy of those below 100 %")
    worst = float(results["run/accuracy"].min())
    axes[0, 1].set_xlim(min(0.9, worst - 0.05), 1.0 + 0.1 * (1.05 - min(0.9, worst)))
    plotting.legend_outside(fig)
    return fig


def _has(study: str) -> Callable[[Results], bool]:
    """Whether any network of a study is solved."""

    def has(results: Results) -> bool:
        return bool(analysis.solved(results, analysis.rows(results, study)).any())

    return has


def _has_deep(results: Results) -> bool:
    deep = [d for d in analysis.settings(results, "grid", "depth") if d > 1]
    return bool(deep) and _has("grid")(results)


def _has_prime(results: Results) -> bool:
    moduli = analysis.settings(results, "frequencies", "modulus")
    return any(analysis.is_prime(n) for n in moduli) and _has("frequencies")(results)


DRAWINGS: dict[str, tuple[Callable[[Results], Figure], Callable[[Results], bool]]] = {
    "growth": (growth, _has("scaling")),
    "onehot": (onehot, _has("onehot")),
    "depth": (depth, _has("depth")),
    "width": (width, _has("width")),
    "substitution": (substitution, _has("grid")),
    "later_layers": (later_layers, _has_deep),
    "frequencies": (frequencies, _has("frequencies")),
    "conditional": (conditional, _has_prime),
    "solved": (solved, lambda results: len(results["run/network"]) > 0),
}
"""Every figure, and whether these results have what it shows."""
