"""The paper's figures, and three of our own: `ranking` (C7), `curves` (training), `why` (causes).

Draws results, computes nothing. Figures of trained agents say which clock they traded on.
matplotlib is imported by `shared.plotting`, inside its functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from papers.superiority.config import AGENTS
from papers.superiority.rates import FOUR_ACTIONS
from shared import plotting
from shared.experiment.spec import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOOKS = plotting.looks(*AGENTS)
GAP_LOOKS = plotting.looks("W$_1$", "W$_2$", "mean", "CVaR$_{1/4}$")
COUPLING_LOOKS = plotting.looks("comonotone (superiority)", "independent", "ζ$_h$", "η")
ACTION_LOOKS = plotting.looks("hold", "exercise")


def figures(results: Results) -> Iterator[tuple[str, Figure]]:
    """Every figure that these results have the data for."""
    for name, (draw, needs) in DRAWINGS.items():
        if not needs or needs in results:
            with plotting.style():
                figure = draw(results)
            yield name, figure


def _clock(results: Results) -> str:
    days = {"official": "50 days of prices", "calendar": "100 days of prices"}
    clock = str(results["clock"])
    return f"{clock} clock, {days[clock]}, {int(results['updates']):,} gradient steps"


def _suptitle(fig: Figure, text: str) -> None:
    fig.suptitle(text, x=0.01, ha="left", fontsize="medium")


def _names(results: Results, key: str) -> list[str]:
    return [str(name) for name in results[key]]


def _look(name: str) -> plotting.Look:
    """A DSUP(q) of the user's own is drawn like DSUP(1)."""
    return LOOKS.get(name, LOOKS["DSUP(1)"])


def rates(results: Results) -> Figure:
    """Figure 1: how fast laws, CVaR and means of the returns collapse as h shrinks."""
    fig, axes = plotting.figure(1, 2, height=4.6, sharey=True)
    h = results["exact/rates/h"]
    titles = {"degenerate": "Policy without noise of its own", "noisy": "Policy with noise"}
    keys = dict(zip(GAP_LOOKS, ("w1", "w2", "mean", "cvar"), strict=True))
    for ax, (case, title) in zip(axes[0], titles.items(), strict=True):
        for label, key in keys.items():
            gap, look = results[f"exact/rates/{case}/{key}"], GAP_LOOKS[label]
            ax.loglog(h, gap, color=look.colour, marker=look.marker, label=label)
        slopes = ((1.0, "mean"), (0.5, "w1")) if case == "degenerate" else ((1.0, "mean"),)
        for slope, key in slopes:
            start = float(results[f"exact/rates/{case}/{key}"][-1]) * 0.4
            plotting.slope_guide(ax, slope, (float(h[-1]), start), float(h[0]))
        ax.set_title(title)
        ax.set_xlabel("time between decisions h (units of time)")
        ax.margins(x=0.14)
    axes[0, 0].set_ylabel("gap between ζ$_h$ and η\n(units of return)")
    plotting.legend_outside(fig)
    return fig


def rescaling(results: Results) -> Figure:
    """Figure 2: the law of the rescaled superiority at four frequencies, for each exponent."""
    part = "exact/rescaling/"
    x, omegas = results[part + "x"], results[part + "frequencies"]
    panels = [
        (f"q = {q:g}", density)
        for q, density in zip(results[part + "exponents"], results[part + "density"], strict=True)
    ]
    panels.append(("q = 0.5, shifted by A$_h$", results[part + "shifted/density"]))
    fig, axes = plotting.figure(1, len(panels), height=3.9, sharey=True)
    shades = plotting.looks(*(f"ω = {omega:g}" for omega in omegas))
    for ax, (title, densities) in zip(axes[0], panels, strict=True):
        widths = np.linspace(3.6, 1.2, len(shades))  # lines that coincide all show
        for (label, look), width, density in zip(shades.items(), widths, densities, strict=True):
            ax.plot(x, density, color=look.colour, linewidth=width, label=label)
        ax.set_ylim(0, 4)
        ax.set_title(title)
        ax.set_xlabel("h$^{-q}$ψ$_h$ (units of return)")
    axes[0, 0].set_ylabel("density (cut off at 4)")
    plotting.legend_outside(fig)
    return fig


def coupling(results: Results) -> Figure:
    """Figure 3: two return laws, and the difference that two couplings make of them."""
    part = "exact/cdr/"
    fig, axes = plotting.figure(1, 2, height=4.2)
    x = results[part + "x"]
    left, right = tuple(COUPLING_LOOKS)[2:], tuple(COUPLING_LOOKS)[:2]
    for ax, labels, keys in (
        (axes[0, 0], left, ("zeta", "eta")),
        (axes[0, 1], right, ("comonotone", "independent")),
    ):
        for label, key in zip(labels, keys, strict=True):
            ax.plot(x, results[part + key], color=COUPLING_LOOKS[label].colour, label=label)
        ax.set_xlabel("return (units of return)")
        ax.set_ylabel("density")
    axes[0, 0].set_title("Returns: action first, and policy (ω = 10)")
    axes[0, 1].set_title("Their differences, coupled in two ways")
    axes[0, 1].set_xlabel("difference of returns (units of return)")
    axes[0, 1].set_yscale("log")
    axes[0, 1].set_ylabel("density (log scale)")
    axes[0, 1].set_ylim(1e-3, 20)
    plotting.legend_outside(fig)
    return fig


def ranking(results: Results) -> Figure:
    """Four actions ranked by CVaR of the return and of the superiority, read in two orders."""
    part = "exact/four_actions/"
    orders = {
        "zeta": "By the return ζ$_h$",
        "comonotone": "By ψ$_h$, comonotone",
        "sorted": "By ψ$_h$, sorted",
    }
    fig, axes = plotting.figure(1, 3, height=3.8, sharey=True)
    for ax, (key, title) in zip(axes[0], orders.items(), strict=True):
        values = results[part + key]
        best = int(np.argmax(values))
        colours = [LOOKS["DSUP(1/2)"].colour if i == best else "#BBBBBB" for i in range(4)]
        ax.bar(range(4), values - values.min(), color=colours, width=0.6)
        ax.set_xticks(range(4), [f"{b:g}, {vol:g}" for b, vol in FOUR_ACTIONS])
        ax.set_title(title)
        ax.grid(visible=False, axis="x")
        ax.set_xlabel("action: drift, volatility (best in colour)")
    axes[0, 0].set_ylabel("CVaR$_{1/4}$ above the worst action's\n(units of return)")
    return fig


def risk_neutral(results: Results) -> Figure:
    """Figure 4: what each agent earns at each decision frequency, every run a point."""
    share, names = results["share/neutral"], _names(results, "agents")
    frequencies = [str(omega) for omega in results["frequencies"]]
    fig, axes = plotting.figure(1, 1, height=5.2)
    ax = axes[0, 0]
    series = {
        name: [share[:, column, row].ravel() for column in range(len(frequencies))]
        for row, name in enumerate(names)
    }
    plotting.box_by_group(ax, frequencies, series, {name: _look(name) for name in names})
    held = float(np.mean(results["share/hold"]))
    for level, line, label in ((1.0, "-", "optimal stopping"), (held, "--", "hold to the end")):
        ax.axhline(level, color=plotting.NEUTRAL, linewidth=1.2, linestyle=line, label=label)
    regret = ax.secondary_yaxis("right", functions=(lambda y: 1 - y, lambda y: 1 - y))
    regret.set_ylabel("regret / optimal return")
    ax.set_xlabel("decision frequency ω (decisions per day)")
    ax.set_ylabel("mean return / optimal return")
    runs = share.shape[0] * share.shape[3]
    ax.set_title(f"Risk-neutral trading: {runs} runs a box\n{_clock(results)}")
    plotting.legend_outside(fig)
    return fig


def curves(results: Results) -> Figure:
    """Learning curves: the median run's share of the optimum at each evaluation, four a row."""
    curve, names = results["share/curve"], _names(results, "agents")
    frequencies = results["frequencies"]
    columns = min(4, len(frequencies))
    rows = -(-len(frequencies) // columns)
    fig, axes = plotting.figure(rows, columns, height=1.0 + 3.1 * rows, sharey=True)
    steps = (np.arange(curve.shape[-1]) + 1) / curve.shape[-1] * int(results["updates"]) / 1000
    for ax in axes.flat[len(frequencies) :]:
        ax.remove()
    for column, (ax, omega) in enumerate(zip(axes.flat, frequencies, strict=False)):
        for row, name in enumerate(names):
            look = _look(name)
            ax.plot(steps, curve[column, row], color=look.colour, marker=look.marker,
                    markersize=4, label=name)  # fmt: skip
        ax.axhline(1.0, color=plotting.NEUTRAL, linewidth=1.0)
        ax.set_title(f"ω = {omega}")
        ax.set_xlabel("gradient steps (thousands)")
    for ax in axes[:, 0]:
        ax.set_ylabel("mean return / optimal return\n(median run)")
    _suptitle(fig, _clock(results))
    plotting.legend_outside(fig)
    return fig


def learned_laws(results: Results) -> Figure:
    """Figure 5: the laws by which DSUP(1/2) and QR-DQN rank their actions at the start."""
    laws, names = results["laws"], _names(results, "law_agents")
    omega = int(np.max(results["frequencies"]))
    fig, axes = plotting.figure(1, len(names), height=4.2)
    labels = tuple(ACTION_LOOKS)
    xs = ("rescaled superiority h$^{-1/2}$ψ (price units)", "return ζ (price units)")
    for ax, rows, name, xlabel in zip(axes[0], laws, names, xs, strict=True):
        levels = (np.arange(rows.shape[-1]) + 0.5) / rows.shape[-1]
        for action, label in enumerate(labels):
            look = ACTION_LOOKS[label]
            for seed in range(rows.shape[0]):
                ax.step(np.sort(rows[seed, action]), levels, color=look.colour, linewidth=1.2,
                        alpha=0.8, label=label)  # fmt: skip
        ax.set_title(f"{name}, ω = {omega}")
        ax.set_xlabel(xlabel)
        ax.set_ylim(0, 1)
        ax.margins(x=0.08)  # a point mass at 0 would hide behind the frame
    axes[0, 0].set_ylabel("level of the learned atom")
    _suptitle(fig, f"Learned laws at price 1, t = 0, a line a seed: {_clock(results)}")
    plotting.legend_outside(fig)
    return fig


def cvar(results: Results) -> Figure:
    """Figure 6: CVaR of the returns of agents that were trained for it, against its level."""
    levels, names = results["risk_levels"], _names(results, "risk_agents")
    fig, axes = plotting.figure(1, 1, height=4.6)
    ax = axes[0, 0]
    for row, name in enumerate(names):
        intervals = [tuple(cell) for cell in results["iqm/risk"][:, row]]
        plotting.band(ax, list(levels), intervals, name, _look(name))
    ax.set_xlabel("level α of the CVaR (1 is the mean, small is risk-averse)")
    ax.set_ylabel("α-CVaR of the return (price units)")
    runs = results["risk/cvar"].shape[0] * results["risk/cvar"].shape[3]
    title = f"Risk-sensitive trading at ω = {int(results['risk_frequency'])}"
    ax.set_title(f"{title}: IQM of {runs} runs, 95 % intervals\n{_clock(results)}")
    plotting.legend_outside(fig)
    return fig


def why(results: Results) -> Figure:
    """One setting changed at a time, at the highest frequency: what the return depends on."""
    agents, changes = _names(results, "ablation_agents"), _names(results, "ablations")
    fig, axes = plotting.figure(1, len(agents), height=3.6, sharex=True)
    for row, (ax, agent) in enumerate(zip(axes[0], agents, strict=True)):
        cells = [results["iqm/ablation"][column, row] for column in range(len(changes))]
        labels = list(changes)
        if "iqm/published" in results:
            cells.insert(0, results["iqm/published"][row])
            labels.insert(0, "none")
        looks = {label: _look(agent) for label in labels}
        plotting.interval_bars(ax, labels, [tuple(c) for c in cells], looks, reference=1.0)
        ax.set_title(agent)
        if row:
            ax.set_yticklabels([])
        ax.set_xlabel("return / optimal return")
    axes[0, 0].set_ylabel("what is changed")
    omega, clock = int(np.max(results["frequencies"])), _clock(results)
    runs = results["ablation/score"].shape[0] * results["ablation/score"].shape[3]
    _suptitle(fig, f"ω = {omega}, {clock}: IQM of {runs} runs, 95 % intervals")
    return fig


DRAWINGS: dict[str, tuple[Callable[[Results], Figure], str]] = {
    "rates": (rates, ""),
    "rescaling": (rescaling, ""),
    "coupling": (coupling, ""),
    "ranking": (ranking, ""),
    "risk_neutral": (risk_neutral, "neutral/score"),
    "curves": (curves, "neutral/score"),
    "learned_laws": (learned_laws, "laws"),
    "cvar": (cvar, "risk/cvar"),
    "why": (why, "ablation/score"),
}
"""Every figure, and the array without which it is left out."""
