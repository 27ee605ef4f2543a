"""One figure for each theorem, the paper's own figures 3.1, 4.1, 4.3 and 4.4, and the grid.

Draws results, computes nothing. Bands are the 5 % to 95 % range of the random MDPs around their
median. matplotlib is imported by `shared.plotting`, inside its functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from papers.temperature_decoupling.drawing import (
    BOTH,
    LEAST,
    LOOKS,
    TEMPERATURE,
    curves,
    thin_ticks,
    triples,
)
from papers.temperature_decoupling.figures_laws import (
    accuracy,
    contraction,
    estimates,
    iterates,
    means_commute,
    precision,
    rates,
    return_laws,
)
from shared import plotting
from shared.experiment.spec import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POWER_LOOKS = plotting.looks(
    "$\\sigma=\\tau^{1.5}$ (slope 1/2)",
    "$\\sigma=\\tau^{2}$ (slope 1)",
    "$\\sigma=\\tau^{3}$ (slope 2)",
)


def figures(results: Results) -> Iterator[tuple[str, Figure]]:
    """Every figure."""
    for draw in DRAWINGS:
        with plotting.style():
            figure = draw(results)
            thin_ticks(figure)
        yield draw.__name__, figure


def values(results: Results) -> Figure:
    """C1, C2: values rise to their limit, with an error linear in the temperature."""
    fig, axes = plotting.figure(1, 2, height=4.4)
    taus = results["taus"]
    curves(axes[0, 0], taus, results, "distance")
    axes[0, 0].set_title("Values approach q*$_{ref}$ linearly")
    axes[0, 0].set_ylabel("$\\|q^*_{ref} - q^*_\\tau\\|$ (units of return)")
    plotting.slope_guide(axes[0, 0], 1.0, (1e-9, 1e-12), 1e-5, "slope 1")
    curves(axes[0, 1], taus, results, "linear/ratio")
    axes[0, 1].axhline(1, color=plotting.NEUTRAL, linestyle="--", linewidth=1.3)
    axes[0, 1].set_yscale("linear")
    axes[0, 1].set_ylim(0, 1.05)
    axes[0, 1].set_title("Error over the bound: M1, M2 attain it")
    axes[0, 1].set_ylabel("ratio (at most 1)")
    for ax in axes[0]:
        ax.set_xlabel(TEMPERATURE)
    plotting.legend_outside(fig)
    return fig


def total_variation(results: Results) -> Figure:
    """C3: the paper's bound, the sharp one, and how near random pairs come."""
    fig, axes = plotting.figure(1, 2, height=4.2)
    ax, d = axes[0, 0], results["curve/d"]
    ax.loglog(d, np.minimum(results["curve/paper"], 1), color=plotting.COLOURS[0],
              label="paper: min($\\sqrt{d}$, sinh(2d)/2)")  # fmt: skip
    ax.loglog(d, results["curve/sharp"], color=plotting.COLOURS[1], label="tanh(d/2)")
    ax.loglog(d, results["curve/attained"], color=plotting.COLOURS[6], linestyle="none",
              marker="o", markersize=4, label="attained by two actions")  # fmt: skip
    ax.set_xlabel("d = $\\|q-q'\\|/\\tau$ (no unit)")
    ax.set_ylabel("total variation (probability)")
    ax.set_title("Bounds on the distance of policies")
    ax.legend()
    ax = axes[0, 1]
    bins = np.linspace(0, 1, 41)
    for name, label, colour in (("tv", "paper's bound", 0), ("sharp", "tanh(d/2)", 1)):
        ax.hist(results[f"random/all/{name}/ratio"], bins, color=plotting.COLOURS[colour],
                alpha=0.75, label=label)  # fmt: skip
    ax.set_xlabel("largest TV over bound (at most 1)")
    ax.set_ylabel("random MDPs (number)")
    ax.set_title("How near random pairs come")
    ax.legend(title="relative to")
    return fig


def standard_limit(results: Results) -> Figure:
    """C4: annealing converges to the closed form, the cheapest optimal policy."""
    fig, axes = plotting.figure(1, 2, height=4.4)
    curves(axes[0, 0], results["taus"], results, "erl/tv")
    axes[0, 0].set_title("Annealed policies and their closed form")
    axes[0, 0].set_xlabel(TEMPERATURE)
    axes[0, 0].set_ylabel("TV to $\\pi^{ERL,*}$ (probability)")
    ax = axes[0, 1]
    ax.hist(results["random/all/erl/excess"], 30, color=LOOKS["random MDPs"].colour)
    ax.axvline(0, color=plotting.NEUTRAL, linestyle="--", linewidth=1.3)
    ax.set_title("No optimal policy is cheaper")
    ax.set_xlabel("least extra KL cost of 16 others (nats, discounted)")
    ax.set_ylabel("random MDPs (number)")
    plotting.legend_outside(fig)
    return fig


def decoupling(results: Results) -> Figure:
    """C5: decoupled policies approach the filtered reference at the rate sigma / tau."""
    fig, axes = plotting.figure(1, 2, height=4.6, sharey=True)
    taus = results["taus"]
    ax = axes[0, 0]
    for i, (label, look) in enumerate(POWER_LOOKS.items()):
        low, middle, high = np.maximum(results["random/band/decoupled/tv"][:, i], LEAST)
        plotting.band(ax, taus, triples(middle, low, high), label, look)
    ax.axhline(results["random/max/fixed/tv"], color=plotting.NEUTRAL, linestyle=":",
               label="control $\\sigma=\\tau/2$, largest")  # fmt: skip
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_ylim(1e-22, 2)
    ax.set_title("Random MDPs, three choices of $\\sigma$")
    ax.set_ylabel("TV to $\\pi^{ref,*}$ (probability)")
    ax.set_xlabel(TEMPERATURE)
    ax.legend(loc="lower right")
    curves(axes[0, 1], taus, results, "decoupled/tv", (1,))
    axes[0, 1].set_title("$\\sigma=\\tau^2$")
    axes[0, 1].set_xlabel(TEMPERATURE)
    axes[0, 1].legend(loc="lower right")
    return fig


def two_limits(results: Results) -> Figure:
    """C6, the paper's figure 3.1: policies on the tri-state MDP, exact and learned."""
    fig, axes = plotting.figure(1, 4, width=12.0, height=3.7)
    exact, plays = results["examples/policies"][0], results["q_taus"]
    learned = results["learning/m1/policy"]  # [seed, choice, tau, state]
    for state, ax in enumerate(axes[0, :3]):
        for i, (name, look) in enumerate(list(BOTH.items())[:2]):
            ax.semilogx(results["taus"][:5], exact[i, :5, state], color=look.colour,
                        label=f"{name}, exact")  # fmt: skip
            found = learned[:, i, :, state]
            label, bars = f"{name}, soft Q-learning", {"linestyle": "none", "capsize": 3}
            ax.errorbar(plays, found.mean(0), found.std(0), color=look.colour, marker=look.marker,
                        label=label, **bars)  # fmt: skip
        ax.set_ylim(0, 1.05)
        ax.set_title(f"state x{state}")
        ax.set_xlabel("temperature $\\tau$")
    axes[0, 0].set_ylabel("probability of action 0")
    ax = axes[0, 3]
    ax.hist(results["random/all/limits/tv"], 30, color=LOOKS["random MDPs"].colour)
    ax.set_title("random MDPs")
    ax.set_xlabel("TV between the limits")
    ax.set_ylabel("number")
    plotting.legend_outside(fig)
    return fig


def learning(results: Results) -> Figure:
    """C6: learned policies beside the exact ones; on M2 the lottery's noise stays in the values."""
    fig, axes = plotting.figure(1, 2, height=4.2, sharey=True)
    titles = ("M1: deterministic", "M2: a lottery at x1")
    for ax, name, title in zip(axes[0], ("m1", "m2"), titles, strict=True):
        found = np.maximum(results[f"learning/{name}/tv"], 1e-7)  # [seed, choice, tau]
        for i, (choice, look) in enumerate(list(BOTH.items())[:2]):
            low, high = found[:, i].min(0), found[:, i].max(0)
            rows = triples(np.median(found[:, i], axis=0), low, high)
            plotting.band(ax, results["q_taus"], rows, f"{choice}, median and range", look)
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_title(title)
        ax.set_xlabel("play temperature $\\tau$ (units of return)")
    axes[0, 0].set_ylabel("largest TV to the exact policy (probability)")
    plotting.legend_outside(fig)
    return fig


def near_optimal(results: Results) -> Figure:
    """C14: loss of value at the temperature that the theorem allows."""
    fig, axes = plotting.figure(1, 1, width=7.0, height=4.0)
    curves(axes[0, 0], results["near_eps"], results, "near/ratio")
    axes[0, 0].axhline(1, color=plotting.NEUTRAL, linestyle="--", linewidth=1.3)
    axes[0, 0].set_title("Value lost by $\\pi^{\\tau,*}$ at the temperature for $\\epsilon$")
    axes[0, 0].set_xlabel("$\\epsilon$ (units of return)")
    axes[0, 0].set_ylabel("loss over $\\epsilon$ (at most 1)")
    plotting.legend_outside(fig)
    return fig


def uniqueness(results: Results) -> Figure:
    """C13: every other policy has less soft value."""
    fig, axes = plotting.figure(1, 1, width=7.0, height=3.8)
    ax = axes[0, 0]
    ax.hist(results["random/all/unique/least"], 40, color=LOOKS["random MDPs"].colour)
    ax.axvline(0, color=plotting.NEUTRAL, linestyle="--", linewidth=1.3)
    ax.set_title("Least shortfall of 8 random policies, $\\tau=0.1$")
    ax.set_xlabel("V*$_\\tau$ - V$^\\pi_\\tau$, least over states and policies (units of return)")
    ax.set_ylabel("random MDPs (number)")
    return fig


def reference(results: Results) -> Figure:
    """C15: what is lost when the reference leaves out the optimal actions of one state."""
    fig, axes = plotting.figure(1, 1, width=7.0, height=3.8)
    ax = axes[0, 0]
    ax.hist(results["random/all/narrow/loss"], 40, color=LOOKS["random MDPs"].colour)
    ax.axvline(0, color=plotting.NEUTRAL, linestyle="--", linewidth=1.3)
    ax.set_title("q* - q*$_{ref}$ without one state's optimal actions")
    ax.set_xlabel("largest loss (units of return); nowhere a gain")
    ax.set_ylabel("random MDPs (number)")
    return fig


def grid(results: Results) -> Figure:
    """A network's policies on the grid with two goals, beside the exact ones."""
    found, exact = results["grid/measures"], results["grid/exact"]
    titles = ("episodes that end at the button", "entropy of the path to a goal",
              "value over the optimal one", "TV to $\\pi^{ref,*}$ on the way")  # fmt: skip
    units = ("share", "nats", "ratio", "probability")
    fig, axes = plotting.figure(2, 2, height=6.0)
    for k, ax in enumerate(axes.ravel()):
        for i, (name, look) in enumerate(BOTH.items()):
            runs = found[:, i, k]
            spread = np.linspace(-0.12, 0.12, len(runs)) + i
            ax.plot(spread, runs, color=look.colour, marker=look.marker, linestyle="none",
                    markersize=7, label=f"{name}: network, one point a seed")  # fmt: skip
            ax.hlines(exact[i, k], i - 0.3, i + 0.3, color=look.colour, linewidth=2.2)
        ax.axhline(exact[3, k], color=plotting.NEUTRAL, linestyle="--", linewidth=1.2)
        ax.set_title(titles[k])
        ax.set_ylabel(units[k])
        ax.set_xticks(range(3), ["standard", "decoupled", "acting at $\\sigma$"])
        ax.set_xlim(-0.5, 2.5)
    tau = float(results["grid_tau"])
    text = f"Two goals: $\\tau$ = {tau:g}, $\\sigma$ = $\\tau^2$. Points: networks; bars: exact; "
    text += "dashed: $\\pi^{ref,*}$"
    fig.suptitle(text, x=0.01, ha="left", fontsize="medium")
    return fig


DRAWINGS: tuple[Callable[[Results], Any], ...] = (
    values,
    total_variation,
    standard_limit,
    decoupling,
    two_limits,
    learning,
    return_laws,
    contraction,
    means_commute,
    iterates,
    rates,
    estimates,
    precision,
    accuracy,
    near_optimal,
    uniqueness,
    reference,
    grid,
)
