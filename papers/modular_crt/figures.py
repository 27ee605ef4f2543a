"""The paper's figures of theory and of single networks; `figures_studies` has those of studies.

Draws results, computes nothing but where to put it. matplotlib is imported by `shared.plotting`,
inside its functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from papers.modular_crt import analysis, figures_studies, method
from papers.modular_crt.looks import LOOKS, legend_note, steps_of, suptitle
from shared import plotting
from shared.experiment.spec import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray
POSITIVE, NEGATIVE = "#D55E00", "#BBBBBB"


def figures(results: Results) -> Iterator[tuple[str, Figure]]:
    """Every figure that these results have the data for."""
    for name, (draw, has) in {**DRAWINGS, **figures_studies.DRAWINGS}.items():
        if has(results):
            with plotting.style():
                figure = draw(results)
            yield name, figure


def neurons(results: Results) -> Figure:
    """Figure 1: one neuron of each architecture on all pairs, as it is and remapped."""
    names = [name for name in LOOKS if f"example/{name}" in results]
    fig, axes = plotting.figure(2, len(names), height=6.6)
    for column, name in enumerate(names):
        f = int(results[f"example/{name}/frequency"])
        picture = results[f"example/{name}"] / 100
        n = len(picture)
        moved = method.remap(method.remap(picture, f, n, 0), f, n, 1)
        d = method.step_size(f, n)
        titles = (f"{name}: a neuron of f = {f}", f"remapped, step d = {d}")
        for row, (values, title) in enumerate(zip((picture, moved), titles, strict=True)):
            ax = axes[row, column]
            ax.imshow(values, cmap="RdBu_r", vmin=-1, vmax=1, origin="lower",
                      interpolation="nearest")  # fmt: skip
            ax.grid(visible=False)
            ax.set_title(title)
            ax.set_xlabel("b" if row == 0 else f"b = {d} y mod {n}: y")
            ax.set_ylabel("a" if row == 0 else f"a = {d} x mod {n}: x")
    fig.colorbar(
        axes[0, 0].images[0],
        ax=list(axes.ravel()),
        label="pre-activation / its largest",
        shrink=0.7,
    )
    return fig


def cayley(results: Results) -> Figure:
    """Figure 2: where cos(2 pi 11 x / n) > 0, in the order of Z_n and along steps of size d."""
    fig, axes = plotting.figure(1, 4, height=3.3)
    for i, n in enumerate((67, 66)):
        f = 11
        d, g = method.step_size(f, n), int(np.gcd(f, n))
        period = n // g
        on = method.positive_set(f, n, 0)
        _ring(axes[0, 2 * i], list(range(n)), on)
        axes[0, 2 * i].set_title(f"n = {n}, f = {f}: by x")
        axes[0, 2 * i].set_xlabel(f"{len(on)} of {n} elements")
        _ring(axes[0, 2 * i + 1], [d * y % n for y in range(period)], on)
        axes[0, 2 * i + 1].set_title(f"by steps of d = {d}")
        axes[0, 2 * i + 1].set_xlabel(
            "a vertex: one element" if g == 1 else f"a vertex: {g} elements"
        )
    suptitle(fig, "Where a simple neuron is positive (orange): along its own steps, one path")
    del results
    return fig


def _ring(ax: Any, order: list[int], on: set[int]) -> None:
    """The elements `order` around a circle, joined in this order."""
    turn = 2 * np.pi * np.arange(len(order) + 1) / len(order)
    x, y = np.sin(turn), np.cos(turn)
    ax.plot(x, y, color="#999999", linewidth=0.8, zorder=1)
    colours = [POSITIVE if e in on else NEGATIVE for e in order]
    size = 60 if len(order) > 20 else 420
    ax.scatter(x[:-1], y[:-1], s=size, c=colours, zorder=2)
    every = 1 if len(order) <= 20 else 6
    for i in range(0, len(order) - every // 2, every):
        scale = 1.0 if every == 1 else 1.17
        ax.text(scale * x[i], scale * y[i], str(order[i]), ha="center", va="center", fontsize=9)
    ax.set_xlim(-1.35, 1.35)
    ax.set_ylim(-1.35, 1.35)
    ax.set_aspect("equal")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.grid(visible=False)
    for spine in ax.spines.values():
        spine.set_visible(False)


def theorem(results: Results) -> Figure:
    """Theorem 4.7: is the promise kept, and does it ask for enough frequencies?"""
    fig, axes = plotting.figure(1, 2, height=4.4)
    deltas, moduli = results["theorem/deltas"], results["theorem/moduli"]
    looks = plotting.looks(*(f"δ = {d:.3g}" for d in deltas))
    markers = {0: "o", 1: "s"}
    for j, (label, look) in enumerate(looks.items()):
        for k, rho in enumerate(results["theorem/rhos"]):
            p = results["theorem/probability"][:, j, k]
            axes[0, 0].semilogx(moduli, p, color=look.colour, marker=markers[k], markersize=4,
                                linestyle="-" if k == 0 else "--",
                                label=label if k == 0 else None)  # fmt: skip
            if j == 0:
                axes[0, 0].axhline(rho, color=plotting.NEUTRAL, linewidth=1,
                                   linestyle="-" if k == 0 else "--")  # fmt: skip
    axes[0, 0].set_title("Is the promise kept?")
    axes[0, 0].set_xlabel("modulus n (full: ρ = 0.5, dashed: ρ = 0.9)")
    axes[0, 0].set_ylabel("P(gap > δm), m just above the bound")
    rate = results["theorem/rate"]
    asked = 2 / (np.log(np.pi / deltas) - 1)
    axes[0, 1].loglog(deltas, asked, color=LOOKS["mlp"].colour, marker="o", label="theorem 4.7")
    axes[0, 1].loglog(deltas, 1 / rate, color=LOOKS["pizza"].colour, marker="s",
                      label="truth, n → ∞ (large deviations)")  # fmt: skip
    axes[0, 1].set_title("Does it ask for enough?")
    axes[0, 1].set_xlabel("promised margin per frequency, δ")
    axes[0, 1].set_ylabel("frequencies / ln n")
    axes[0, 1].set_xticks(deltas, [f"{d:.2g}" for d in deltas])
    axes[0, 1].set_yticks([0.5, 1, 2, 5, 10], ["0.5", "1", "2", "5", "10"])
    axes[0, 0].set_xticks(moduli, [str(n) for n in moduli])
    for ax in axes[0]:
        ax.minorticks_off()
    plotting.legend_outside(fig, columns=4)
    return fig


def margins(results: Results) -> Figure:
    """Figure 12: margin against the number of frequencies, ideal and trained."""
    fig, axes = plotting.figure(1, 2, height=4.4)
    gaps, n = results["ideal/gaps"], int(results["ideal/modulus"])
    m = np.arange(1, len(gaps) + 1)
    ax = axes[0, 0]
    plotting.band(
        ax,
        m,
        [(float(v), float(lo), float(hi)) for v, lo, hi in gaps],
        "random frequencies, 5-95 %",
        LOOKS["mlp"],
    )
    ax.plot(m, np.pi / np.e**3 * m, color=plotting.NEUTRAL, linestyle="--",
            label="δm, δ = π/e³ (theorem 4.7)")  # fmt: skip
    ax.axvline(np.log(n), color=plotting.NEUTRAL, linewidth=1, linestyle=":")
    ax.annotate(f"ln {n}", (np.log(n), ax.get_ylim()[1]), ha="center", va="bottom",
                color=plotting.NEUTRAL)  # fmt: skip
    ax.set_title(f"Ideal logits of unit amplitude, n = {n}", pad=16)
    ax.set_xlabel("number of frequencies m")
    ax.set_ylabel("margin (units of one frequency's logit)")
    ax.legend()
    ax = axes[0, 1]
    for name in analysis.settings(results, "main", "architecture"):
        runs = analysis.rows(results, "main", architecture=name)
        if name == "one-hot" or not analysis.solved(results, runs).any():
            continue
        counts = analysis.column(results, "count", runs)
        ax.plot(counts + 0.08 * (list(LOOKS).index(name) - 2),
                analysis.column(results, "margin", runs), linestyle="none",
                color=LOOKS[name].colour, marker=LOOKS[name].marker, label=name)  # fmt: skip
    ax.set_title("Trained networks, mean over pairs", pad=16)
    ax.set_xlabel("number of frequencies (major clusters)")
    ax.set_ylabel("margin (logits)")
    ax.set_xticks(
        range(1, 1 + int(max((x for line in ax.lines for x in line.get_xdata()), default=1)))
    )
    ax.margins(x=0.15, y=0.1)
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return fig


def training(results: Results) -> Figure:
    """The training-time movie: accuracy, clusters and the energy in simple neurons by update."""
    from papers.modular_crt.trial_names import CURVES

    fig, axes = plotting.figure(1, 3, height=4.4)
    panels = (
        ("test_accuracy", "accuracy on held-out pairs"),
        ("count", "number of frequencies (major clusters)"),
        ("energy_share", "share of energy in simple neurons"),
    )
    for name in analysis.settings(results, "main", "architecture"):
        runs = analysis.rows(results, "main", architecture=name)
        at = np.isin(results["probe/run"], runs)
        curves = results["probe/curves"][at]  # [run, snapshot, curve]
        steps = steps_of(results, runs, curves.shape[1])
        for ax, (curve, label) in zip(axes[0], panels, strict=True):
            values = curves[..., CURVES.index(curve)]
            triples = [(float(v.mean()), float(v.min()), float(v.max())) for v in values.T]
            plotting.band(ax, steps, triples, name, LOOKS[name])
            ax.set_ylabel(label)
            ax.set_xlabel("update")
    axes[0, 1].set_yscale("log")
    axes[0, 1].set_yticks([2, 3, 5, 10, 20, 30], ["2", "3", "5", "10", "20", "30"])
    axes[0, 1].minorticks_off()
    n = int(analysis.settings(results, "main", "modulus")[0])
    suptitle(fig, f"n = {n}: mean and range over seeds. 100 % comes long before clean sinusoids")
    plotting.legend_outside(fig)
    return fig


def simple(results: Results) -> Figure:
    """Figure 5, across architectures: how simple first-layer neurons are, a point a network."""
    names = analysis.settings(results, "main", "architecture")
    fig, axes = plotting.figure(1, 2, height=4.2)
    for ax, (column, label) in zip(
        axes[0],
        (("r2", "mean R² of a simple neuron's fit"), ("second", "share of second-order terms")),
        strict=True,
    ):
        for place, name in enumerate(names):
            runs = analysis.rows(results, "main", architecture=name)
            values = analysis.column(results, column, runs)
            offset = (np.arange(len(values)) * 0.618 % 1 - 0.5) * 0.4
            ax.plot(place + offset, values, linestyle="none", color=LOOKS[name].colour,
                    marker=LOOKS[name].marker)  # fmt: skip
        ax.set_xticks(range(len(names)), names)
        ax.set_xlabel("architecture")
        ax.set_ylabel(label)
        ax.grid(visible=False, axis="x")
    axes[0, 0].axhline(0.9, color=plotting.NEUTRAL, linewidth=1, linestyle="--")
    suptitle(fig, legend_note(results, "main"))
    return fig


def equivariance(results: Results) -> Figure:
    """Figure 43 in numbers: equivariance of clusters, by hand and trained."""
    fig, axes = plotting.figure(1, 2, height=4.2)
    phases = results["hand/phases"]
    ax = axes[0, 0]
    for kind, name in (("torus", "mlp"), ("disc", "pizza")):
        look = LOOKS[name]
        label = f"{kind} (phases of a and b {'independent' if kind == 'torus' else 'equal'})"
        error = results[f"hand/{kind}_equivariance"]
        ax.semilogy(phases, error, color=look.colour, marker=look.marker, label=label)
    ax.set_title("By hand, one frequency")
    ax.set_xlabel("phases per frequency")
    ax.set_ylabel("equivariance error")
    ax.legend()
    ax = axes[0, 1]
    names = analysis.settings(results, "main", "architecture")
    for place, name in enumerate(names):
        values = analysis.probe(results, "equivariance",
                                analysis.rows(results, "main", architecture=name))  # fmt: skip
        values = values[np.isfinite(values)]
        offset = (np.arange(len(values)) * 0.618 % 1 - 0.5) * 0.4
        ax.semilogy(place + offset, values, linestyle="none", color=LOOKS[name].colour,
                    marker=LOOKS[name].marker)  # fmt: skip
    ax.axhline(2, color=plotting.NEUTRAL, linewidth=1)
    ax.text(-0.35, 1.9, "unrelated logits", color=plotting.NEUTRAL, va="top", fontsize=9)
    ax.axhline(0.379, color=plotting.NEUTRAL, linewidth=1, linestyle="--")
    ax.text(-0.35, 0.36, "ideal disc", color=plotting.NEUTRAL, va="top", fontsize=9)
    ax.set_xticks(range(len(names)), names)
    ax.set_xlim(-0.5, len(names) - 0.5)
    ax.set_title("Trained: mean over clusters")
    ax.set_xlabel("architecture (a point is a network)")
    ax.set_ylabel("equivariance error")
    return fig


def shifts(results: Results) -> Figure:
    """Figure 43: a cluster's logits at three pairs, each moved back by its a + b."""
    from papers.modular_crt.trial_names import PAIRS

    names = [name for name in LOOKS if f"example/{name}/logits" in results]
    fig, axes = plotting.figure(1, len(names), height=3.8, sharey=True)
    for ax, name in zip(axes[0], names, strict=True):
        f = int(results[f"example/{name}/frequency"])
        parts = results[f"example/{name}/logits"]
        n = parts.shape[1]
        d = method.step_size(f, n)
        period = n // int(np.gcd(f, n))
        for i, ((a, b), part) in enumerate(zip(PAIRS, parts, strict=True)):
            back = method.remap(np.roll(part, -(a + b)), f, n)
            ax.plot(np.arange(period), back, ("-", "--", ":")[i], color=plotting.COLOURS[i],
                    linewidth=2.4 - 0.4 * i, label=f"a = {a}, b = {b}")  # fmt: skip
        ax.set_title(f"{name}: cluster of f = {f}")
        ax.set_xlabel(f"y: class k = a + b + {d} y mod {n}")
    axes[0, 0].set_ylabel("logits from the cluster / largest")
    suptitle(fig, "A cluster's logits at three pairs, moved back by a + b: alike if equivariant")
    plotting.legend_outside(fig)
    return fig


def noise(results: Results) -> Figure:
    """Figure 37: loss and accuracy under multiplicative weight noise, and with neurons removed."""
    from papers.modular_crt.trial_names import SHIFTS

    fig, axes = plotting.figure(1, 3, height=4.2)
    sigma = results["config/noise"]
    for name in analysis.settings(results, "main", "architecture"):
        runs, look = analysis.rows(results, "main", architecture=name), LOOKS[name]
        loss = analysis.probe(results, "noise_loss", runs)
        if not len(loss):
            continue
        axes[0, 0].semilogy(sigma, loss.mean(axis=0), color=look.colour, marker=look.marker,
                            label=name)  # fmt: skip
        accuracy = analysis.probe(results, "noise_accuracy", runs)
        axes[0, 1].plot(sigma, accuracy.mean(axis=0), color=look.colour, marker=look.marker)
        removal = analysis.probe(results, "removal", runs).mean(axis=0)
        axes[0, 2].plot(SHIFTS, removal, color=look.colour, marker=look.marker)
    for ax in axes[0, :2]:
        ax.axvline(0.225, color=plotting.NEUTRAL, linewidth=1, linestyle="--")
        ax.set_xlabel("σ of the noise exp(N(0, σ)) on weights")
    axes[0, 0].set_ylabel("loss on all pairs (nats)")
    axes[0, 1].set_ylabel("accuracy on all pairs")
    axes[0, 2].set_xlabel("share of largest cluster removed")
    axes[0, 2].set_ylabel("accuracy on all pairs")
    suptitle(fig, "Weight noise (dashed: the paper's 0.225), and removed neurons; means over seeds")
    plotting.legend_outside(fig)
    return fig


def sensitivity(results: Results) -> Figure:
    """How the number of frequencies depends on the two thresholds that define it."""
    from papers.modular_crt.trial_names import R2_FILTERS, SHARE_FILTERS

    names = analysis.settings(results, "main", "architecture")
    fig, axes = plotting.figure(1, len(names), height=1.4 + 7 / len(names), sharey=False)
    for ax, name in zip(axes[0], names, strict=True):
        runs = analysis.rows(results, "main", architecture=name)
        counts = analysis.probe(results, "counts", runs)
        if len(counts):
            table = counts.mean(axis=0)
            ax.imshow(table, cmap="Blues", vmin=0, vmax=max(1.0, table.max() * 1.4))
            for i in range(table.shape[0]):
                for j in range(table.shape[1]):
                    ax.text(j, i, f"{table[i, j]:.1f}", ha="center", va="center", fontsize=9)
        ax.set_xticks(range(len(SHARE_FILTERS)), ["any", *(f"{s:.0%}" for s in SHARE_FILTERS[1:])])
        ax.set_yticks(range(len(R2_FILTERS)), [f"{r:g}" for r in R2_FILTERS])
        ax.grid(visible=False)
        ax.set_title(name)
        ax.set_xlabel("least cluster size")
    axes[0, 0].set_ylabel("least R² of a neuron")
    suptitle(
        fig, f"Mean number of frequencies under other thresholds. {legend_note(results, 'main')}"
    )
    return fig


def _always(results: Results) -> bool:
    del results
    return True


def _main(results: Results) -> bool:
    """Whether any network of the main study is solved."""
    return bool(analysis.solved(results, analysis.rows(results, "main")).any())


DRAWINGS: dict[str, tuple[Callable[[Results], Figure], Callable[[Results], bool]]] = {
    "neurons": (neurons, lambda r: any(f"example/{name}" in r for name in LOOKS)),
    "cayley": (cayley, _always),
    "theorem": (theorem, _always),
    "margins": (margins, _main),
    "training": (training, _always),
    "simple": (simple, _main),
    "equivariance": (equivariance, _main),
    "shifts": (shifts, lambda r: any(f"example/{name}/logits" in r for name in LOOKS)),
    "noise": (noise, _main),
    "sensitivity": (sensitivity, _main),
}
"""Every figure, and whether these results have what it shows."""
