"""Figures of the theorems on return laws, and the paper's figures 4.1, 4.3 and 4.4."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from papers.temperature_decoupling.drawing import (
    BOTH,
    EXAMPLES,
    LOOKS,
    TEMPERATURE,
    curves,
    triples,
)
from shared import plotting
from shared.experiment.spec import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KIND_LOOKS = plotting.looks("cramer", "mmd (signed)", "quantile")
FLIP_LOOKS = plotting.looks("T*", "T*$_\\tau$, $\\tau=0.3$", "T*$_\\tau$, $\\tau=0.1$")


def return_laws(results: Results) -> Figure:
    """C7: values and return laws of decoupled policies converge."""
    fig, axes = plotting.figure(1, 3, width=12.0, height=4.4)
    curves(axes[0, 0], results["taus"], results, "decoupled/lost")
    axes[0, 0].set_title("Value lost by $\\pi^{\\tau,\\tau^2}$")
    axes[0, 0].set_ylabel("max q*$_{ref}$ - q$^\\pi$ (units of return)")
    for ax, order, slope in zip(axes[0, 1:], (1, 2), (1.0, 0.5), strict=True):
        curves(ax, results["law_taus"], results, f"laws/w{order}")
        ax.set_title(f"Its return law to that of $\\pi^{{ref,*}}$, W$_{order}$")
        ax.set_ylabel(f"sup-W$_{order}$ (units of return)")
        start = (1e-7, 1e-11) if order == 1 else (1e-7, 1e-8)
        plotting.slope_guide(ax, slope, start, 1e-4, f"slope {slope:g}")
    for ax in axes[0]:
        ax.set_xlabel(TEMPERATURE)
    plotting.legend_outside(fig)
    return fig


def contraction(results: Results) -> Figure:
    """C8: how much the soft operator contracts, over gamma."""
    fig, axes = plotting.figure(1, 1, width=7.0, height=4.0)
    ax, found = axes[0, 0], results["random/all/contraction/ratio"]
    names = ("W$_1$, $\\tau=0$", "W$_1$, $\\tau=0.3$", "W$_2$, $\\tau=0$", "W$_2$, $\\tau=0.3$")
    for label, column, look in zip(names, found.T, plotting.looks(*names).values(), strict=True):
        line = "--" if "0.3" in label else "-"  # they nearly coincide
        share = np.linspace(0, 1, len(column))
        ax.plot(np.sort(column), share, line, color=look.colour, label=label)
    ax.axvline(1, color=plotting.NEUTRAL, linestyle="--", linewidth=1.3)
    ax.set_title("One application to two random laws")
    ax.set_xlabel("distance after, over $\\gamma$ times the distance before (at most 1)")
    ax.set_ylabel("share of random MDPs below")
    ax.legend()
    return fig


def means_commute(results: Results) -> Figure:
    """C9, C10 on M2: means follow soft value iteration, laws follow the means."""
    fig, axes = plotting.figure(1, 1, width=7.0, height=4.0)
    ax, mean = axes[0, 0], results["halving/mean"]
    n = np.arange(len(mean))
    ax.semilogy(n, mean, color=plotting.COLOURS[0], marker="o", markersize=9,
                label="means: $\\|Q\\zeta_n - q^*_\\tau\\|$")  # fmt: skip
    ax.semilogy(n, results["halving/w1"], color=plotting.COLOURS[1], marker="s",
                label="laws: sup-W$_1(\\zeta_n, \\zeta^*_\\tau)$")  # fmt: skip
    ax.set_title("M2 from point masses at 0, $\\tau=0.1$, $\\gamma=1/2$")
    ax.set_xlabel("applications n of T*$_\\tau$")
    ax.set_ylabel("error (units of return)")
    ax.legend()
    return fig


def iterates(results: Results) -> Figure:
    """C10, the paper's figure 4.1: iterates of T* never settle on M4, those of T*_tau do."""
    fig, axes = plotting.figure(1, 3, width=12.0, height=4.0)
    laws, steps = results["iterates/laws"], results["iterates/steps"]
    images = []
    for ax, law, title in zip(axes[0, :2], laws, list(FLIP_LOOKS), strict=False):
        half = 6 / (law.shape[1] - 1)  # of the spacing: pixels are centred on atoms
        where = (-2 - half, 10 + half, -0.5, law.shape[0] - 0.5)
        images.append(ax.imshow(np.sqrt(np.clip(law, 0, 1)), aspect="auto", origin="lower",
                                extent=where, cmap="magma_r", vmin=0, vmax=1))  # fmt: skip
        ax.set_title(f"law at x0 along {title}")
        ax.set_xlabel("return")
        ax.set_ylabel("iteration")
        ax.set_xlim(-0.5, 3)
        ax.grid(visible=False)
    bar = fig.colorbar(images[-1], ax=axes[0, :2], shrink=0.9)
    bar.set_label("square root of the probability")
    for (label, look), row in zip(FLIP_LOOKS.items(), steps, strict=True):
        axes[0, 2].semilogy(np.arange(1, len(row) + 1), np.maximum(row, 1e-12), color=look.colour,
                            label=label)  # fmt: skip
    axes[0, 2].set_title("Change in one step")
    axes[0, 2].set_xlabel("iteration")
    axes[0, 2].set_ylabel("W$_1$ of consecutive laws at x0 (return)")
    axes[0, 2].legend()
    return fig


def rates(results: Results) -> Figure:
    """C10 on random MDPs: errors of the iterates in W_1 and W_2."""
    fig, axes = plotting.figure(1, 2, height=4.2, sharey=True)
    for ax, name, order in zip(axes[0], ("iterates/w1", "iterates/w2"), (1, 2), strict=True):
        low, middle, high = np.maximum(results[f"random/band/{name}"], 1e-9)
        n = np.arange(len(middle))
        plotting.band(ax, n, triples(middle, low, high), "random MDPs",
                      LOOKS["random MDPs"])  # fmt: skip
        for label in EXAMPLES[:3]:
            row = results[f"examples/{name}"][EXAMPLES.index(label)]
            ax.plot(n, np.maximum(row, 1e-9), color=LOOKS[label].colour, label=label)
        ax.set_yscale("log")
        ax.set_title(f"W$_{order}$")
        ax.set_xlabel("applications n of T*$_\\tau$, $\\tau=0.3$")
    axes[0, 0].set_ylabel("sup error over the first one")
    plotting.legend_outside(fig)
    return fig


def estimates(results: Results) -> Figure:
    """C12, the paper's figures 4.3 and 4.4: estimated laws, with and without decoupling."""
    kind = str(results["projections"][0])
    z, limits = results["laws/z"], results["laws/limits"]
    fig, axes = plotting.figure(2, 2, height=6.4, sharex=True, sharey=True)
    shades = plotting.looks(*(f"$\\sigma$ = {tau:g}" for tau in results["opt_taus"]))
    names = ("standard ($\\tau=\\sigma$)", "decoupled ($\\tau=\\sqrt{\\sigma}$)")
    for row, precision in enumerate(("float64", "float32")):
        eta = results[f"laws/{precision}/{kind}/eta"]
        for column, (ax, name) in enumerate(zip(axes[row], names, strict=True)):
            below = np.cumsum(limits, -1)
            ax.step(z, below[0], where="post", color="#000000", linewidth=4.0, alpha=0.25,
                    label="law of $\\pi^{ref,*}$")  # fmt: skip
            ax.step(z, below[1], where="post", color="#000000", linestyle=":", linewidth=1.6,
                    label="law of $\\pi^{ERL,*}$")  # fmt: skip
            for (label, look), law in zip(shades.items(), eta[:, column], strict=True):
                ax.step(z, np.cumsum(law), where="post", color=look.colour, linewidth=1.2,
                        label=label)  # fmt: skip
            ax.set_title(f"{name}, {precision}")
            ax.set_xlim(-0.6, 2.6)
        axes[row, 0].set_ylabel("distribution function")
    for ax in axes[1]:
        ax.set_xlabel(f"return from x0 of M2 ({kind} projection)")
    plotting.legend_outside(fig, columns=4)
    return fig


def precision(results: Results) -> Figure:
    """C12 as distances: to the law of pi^{ref,*}, and between precisions."""
    kinds = [str(name) for name in results["projections"]]
    fig, axes = plotting.figure(1, 2, height=4.2)
    sigmas = results["opt_taus"]
    for kind, line in zip(kinds, ("-", "--"), strict=False):
        for i, (name, look) in enumerate(list(BOTH.items())[:2]):
            far = results[f"laws/float64/{kind}/w1"][:, i, 0]
            apart = np.maximum(results[f"laws/{kind}/apart"][:, i], 1e-9)
            for ax, row in zip(axes[0], (far, apart), strict=True):
                ax.loglog(sigmas, row, line, color=look.colour, marker=look.marker,
                          label=f"{name}, {kind}")  # fmt: skip
    axes[0, 0].set_title("To the law of $\\pi^{ref,*}$ (float64)")
    axes[0, 1].set_title("Between float64 and float32")
    for ax in axes[0]:
        ax.set_xlabel("optimisation temperature $\\sigma$ (units of return)")
        ax.set_ylabel("W$_1$ at x0 of M2 (units of return)")
    plotting.legend_outside(fig)
    return fig


def accuracy(results: Results) -> Figure:
    """C11: the algorithm's error along tau, at a requested accuracy, and by projection."""
    fig, axes = plotting.figure(1, 3, width=11.0, height=4.0)
    curves(axes[0, 0], results["law_taus"], results, "estimate/w1")
    axes[0, 0].set_title("Along the temperature")
    axes[0, 0].set_xlabel("play temperature $\\tau$, $\\sigma=\\tau^2$")
    axes[0, 0].set_ylabel("sup-W$_1$ to the law of $\\pi^{ref,*}$ (return)")
    axes[0, 0].legend(fontsize=8)
    ax, wanted = axes[0, 1], results["accuracies"]
    ax.loglog(wanted, wanted, color=plotting.NEUTRAL, linestyle="--", label="asked for")
    ax.loglog(wanted, results["accuracy/error"], color=plotting.COLOURS[0], marker="o",
              label="reached, M2")  # fmt: skip
    ax.set_xticks(wanted, [f"{x:g}" for x in wanted])
    ax.minorticks_off()
    ax.set_title("At an accuracy")
    ax.set_xlabel("accuracy asked for (sup-W$_1$, return)")
    ax.set_ylabel("error (sup-W$_1$, return)")
    ax.legend()
    ax, counts = axes[0, 2], results["projection_atoms"]
    for (label, look), row in zip(KIND_LOOKS.items(), results["projection/error"].T, strict=True):
        ax.loglog(counts, row, color=look.colour, marker=look.marker, label=label)
    for row, key in zip(results["projection/bound"].T, ("cramer", "quantile"), strict=True):
        colour = KIND_LOOKS[key].colour
        ax.loglog(counts, row, color=colour, linestyle=":", label=f"bound, {key}")
    ax.set_xticks(counts, [f"{m}" for m in counts])
    ax.minorticks_off()
    ax.set_title("By projection")
    ax.set_xlabel("atoms (number)")
    ax.set_ylabel("sup-W$_1$ error, M2 (return)")
    ax.legend(fontsize=8)
    return fig
