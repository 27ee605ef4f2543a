"""The figures: fractal laws, predicted against true returns, ranking, learning, ablations, atoms.

Draws results; of numbers it computes only means over seeds and their intervals.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from papers.distributional_sm.config import POLICIES
from shared import plotting, stats
from shared.experiment.spec import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MODEL_LOOKS = plotting.looks("delta-model", "ensemble of γ-models", "one-step model, rolled out")
MODELS = dict(zip(("delta", "ensemble", "one-step"), MODEL_LOOKS, strict=True))
TRUTH = "Monte Carlo"


def figures(results: Results) -> Iterator[tuple[str, Figure]]:
    """Every figure that these results have the data for."""
    for name, (draw, needs) in DRAWINGS.items():
        if all(key in results for key in needs):
            with plotting.style():
                figure = draw(results)
            yield name, figure


def _suptitle(fig: Figure, text: str) -> None:
    fig.suptitle(text, x=0.01, ha="left", fontsize="medium")


def _rewards(process: str) -> tuple[str, ...]:
    from papers.distributional_sm import env, mujoco_task

    return tuple(mujoco_task.REWARDS if process == "balance" else env.TASKS[process].rewards)


def _sources(process: str) -> list[str]:
    """The states that were asked about, in words."""
    from papers.distributional_sm import env, mujoco_task

    if process == "balance":
        return [f"x = {s[0]:g}, θ = {s[1]:g}" for s in mujoco_task.SOURCES]
    states = env.TASKS[process].sources
    if process == "pendulum":
        angles = [(np.degrees(np.arctan2(s[1], s[0])) % 360, s[2]) for s in states]
        return [f"θ = {angle:.0f}°, ω = {speed:g}" for angle, speed in angles]
    return [f"({s[0]:g}, {s[1]:g})" for s in states]


def fractal(results: Results) -> Figure:
    """Laws on the simplex: a Sierpinski triangle; and what an ensemble makes of a fair coin."""
    fig, axes = plotting.figure(1, 2, height=4.8)
    points = results["exact/fractal/triangle"].astype(float)
    corners = np.array([[0, 0], [1, 0], [0.5, np.sqrt(3) / 2]])
    ax = axes[0, 0]
    ax.scatter(*(points @ corners).T, s=1.5, color="#0072B2", linewidths=0)
    for corner, letter, place in zip(corners, "ABC", ("right", "left", "center"), strict=True):
        ax.text(*corner, f" {letter} ", ha=place, va="bottom" if letter == "C" else "top")
    ax.set_aspect("equal")
    ax.set_axis_off()
    dimension = float(results["exact/fractal/dimension"])
    ax.set_title(f"Three letters, γ = 1/2: dimension {dimension:.3f}")
    ax = axes[0, 1]
    for name, label in (("delta", "delta-model"), ("ensemble", "ensemble of γ-models")):
        look, spread = MODEL_LOOKS[label], results[f"exact/spreads/{name}"]
        sweeps = np.arange(1, len(spread) + 1)
        ax.semilogy(sweeps, spread, color=look.colour, marker=look.marker, label=label)
    ax.axhline(1 / 48, color=plotting.NEUTRAL, linestyle="--", linewidth=1.2, label="exact, 1/48")
    ax.set_xlabel("Bellman backups")
    ax.set_ylabel("variance of M({1}) over atoms")
    ax.set_title("Fair coin, γ = 1/2, exact backups")
    ax.legend()
    return fig


def _cdf(ax: Axes, values: np.ndarray, **kwargs: Any) -> None:
    ordered = np.sort(values)
    ax.step(
        np.concatenate([ordered[:1], ordered]),
        np.linspace(0, 1, len(ordered) + 1),
        where="post",
        **kwargs,
    )


def _returns(
    process: str, policy: str, sources: tuple[int, ...] | None
) -> Callable[[Results], Figure]:
    def draw(results: Results) -> Figure:
        truth = results[f"truth/{process}/{policy}/quantiles"]
        rows = tuple(range(len(truth))) if sources is None else sources
        rewards = _rewards(process)
        height = 1.2 + len(rows) * min(1.5, 9.0 / len(rows))
        fig, axes = plotting.figure(len(rows), len(rewards), height=height, sharey=True)
        for line, source in zip(axes, rows, strict=True):
            for column, (ax, reward) in enumerate(zip(line, rewards, strict=True)):
                _cdf(ax, truth[source, column], color="black", linewidth=2.2, label=TRUTH)
                for model, label in MODELS.items():
                    key = f"model/{process}/{policy}/{model}/returns"
                    if key not in results or (policy == "gamble" and model != "delta"):
                        continue
                    colour = MODEL_LOOKS[label].colour
                    for seed, returns in enumerate(results[key][:, source, column]):
                        name = {"label": label} if seed == 0 else {}
                        _cdf(ax, returns, color=colour, linewidth=1, alpha=0.75, **name)
                if source == rows[0]:
                    title = textwrap.fill(reward, 18 if len(rewards) > 5 else 30)
                    ax.set_title(title, fontsize="small")
                if source == rows[-1]:
                    ax.set_xlabel("return", fontsize="small")
                ax.tick_params(labelsize="x-small")
        for ax, source in zip(axes[:, 0], rows, strict=True):
            state = _sources(process)[source]
            label = state.replace(", ", "\n") if len(rows) > 5 else f"from {state}\nshare below"
            ax.set_ylabel(label, fontsize="x-small")
        updates = int(results["updates"][-1])
        _suptitle(
            fig,
            f"{process}, policy {policy}: returns under rewards never trained on "
            f"({updates:,} gradient steps, a line per seed)",
        )
        plotting.legend_outside(fig)
        return fig

    return draw


def learning(results: Results) -> Figure:
    """Mean error against gradient steps, of all models on their processes."""
    places = [key.split("/")[1:3] for key in results if key.startswith("model/") and
              key.endswith("/ensemble/curve")]  # fmt: skip
    fig, axes = plotting.figure(1, len(places), height=4.2)
    for ax, (process, policy) in zip(axes[0], places, strict=True):
        truth = f"truth/{process}/{policy}"
        for model, label in MODELS.items():
            key = f"model/{process}/{policy}/{model}/curve"
            if key in results:
                rows = [stats.bootstrap(column, stats.mean, seed=0) for column in results[key].T]
                plotting.band(ax, results["updates"], rows, label, MODEL_LOOKS[label])
        floor = (results[f"{truth}/floor"][0] / results[f"{truth}/range"]).mean()
        alone = (results[f"{truth}/mean_alone"] / results[f"{truth}/range"]).mean()
        m = int(results["atoms"][0])
        for value, line, label in (
            (floor, "--", f"{m} true returns"), (alone, ":", "true mean alone")
        ):  # fmt: skip
            ax.axhline(value, color=plotting.NEUTRAL, linestyle=line, linewidth=1.2, label=label)
        ax.set_title(f"{process}, {policy}")
        ax.set_xlabel("gradient steps")
        ax.set_ylim(bottom=0)
    axes[0, 0].set_ylabel("W$_1$ / range of returns")
    plotting.legend_outside(fig)
    return fig


def ablations(results: Results) -> Figure:
    """Final error with one setting changed, mean over seeds with its interval."""
    process = "windy"
    found = [key.split("/") for key in results if key.startswith(f"ablation/{process}/")]
    changes = [parts[2] for parts in found if parts[3] == "w1" and parts[2] != "unchanged"]
    truth = f"truth/{process}/{POLICIES[process][0]}"
    entries = {
        change.replace("=", " = ").replace("_", " "): f"ablation/{process}/{change}"
        for change in ("unchanged", *changes)
    }
    rows = [
        stats.bootstrap((results[f"{key}/w1"] / results[f"{truth}/range"]).mean((1, 2)),
                        stats.mean, seed=0)
        for key in entries.values()
    ]  # fmt: skip
    colour = plotting.looks("unchanged", "changed")
    looks = {name: colour["unchanged" if name == "unchanged" else "changed"] for name in entries}
    fig, axes = plotting.figure(1, 1, width=7.5, height=0.9 + 0.42 * len(entries))
    plotting.interval_bars(axes[0, 0], list(entries), rows, looks, reference=rows[0].value)
    axes[0, 0].set_xlabel(f"W$_1$ / range of returns, mean over sources and rewards ({process})")
    return fig


def ranking(results: Results) -> Figure:
    """Mean and CVaR of both policies from the origin: predicted against Monte Carlo."""
    from papers.distributional_sm.tabular import cvar

    levels = [1.0, *(float(tau) for tau in results["risk_levels"])]
    rewards = _rewards("windy")
    looks = plotting.looks("top", "gamble")
    fig, axes = plotting.figure(1, len(rewards), height=4.2)
    for column, (ax, reward) in enumerate(zip(axes[0], rewards, strict=True)):
        for shift, (policy, look) in zip((-0.12, 0.12), looks.items(), strict=True):
            returns = results[f"model/windy/{policy}/delta/returns"][:, 0, column].astype(float)
            truth = f"truth/windy/{policy}"
            true = [results[f"{truth}/mean"][0, column], *results[f"{truth}/cvar"][0, column]]
            place = np.arange(len(levels)) + shift
            ax.plot(place, true, "_", color=look.colour, markersize=15, markeredgewidth=3,
                    label=f"policy {policy}, {TRUTH}")  # fmt: skip
            for seed in range(len(returns)):
                said = [float(cvar(returns[seed], tau)) for tau in levels]
                name = {"label": f"policy {policy}, predicted"} if seed == 0 else {}
                ax.plot(place, said, look.marker, color=look.colour, markeredgecolor="black",
                        markeredgewidth=0.7, markersize=5.5, alpha=0.8, **name)  # fmt: skip
        ax.set_xticks(range(len(levels)), ["mean", *(f"{tau:g}" for tau in levels[1:])])
        ax.set_title(reward, fontsize="small")
        ax.set_xlabel("CVaR level τ", fontsize="small")
    axes[0, 0].set_ylabel("return from the origin")
    plotting.legend_outside(fig)
    return fig


def atoms(results: Results) -> Figure:
    """States of each atom: every panel a picture of one possible future from the first source."""
    snapshot = results["model/windy/top/delta/snapshot"]
    shown = snapshot[:12]
    columns = min(6, len(shown))
    lines = -(-len(shown) // columns)
    fig, axes = plotting.figure(lines, columns, height=0.9 + 2.1 * lines, sharex=True, sharey=True)
    for i, ax in enumerate(axes.reshape(-1)):
        if i >= len(shown):
            ax.set_axis_off()
            continue
        ax.scatter(*shown[i].T, s=9, color="#0072B2", alpha=0.7, linewidths=0)
        ax.plot(0, 0, "+", color="black")
        ax.set_xlim(-5.6, 5.6)
        ax.set_ylim(-5.6, 5.6)
        ax.set_aspect("equal")
        ax.set_title(f"atom {i + 1}", fontsize="small")
    for ax in axes[-1]:
        ax.set_xlabel("x")
    for ax in axes[:, 0]:
        ax.set_ylabel("y")
    _suptitle(fig, "windy, policy top: states drawn from each atom at the origin (+)")
    return fig


DRAWINGS: dict[str, tuple[Callable[[Results], Figure], tuple[str, ...]]] = {
    "fractal": (fractal, ("exact/fractal/triangle",)),
    "windy": (_returns("windy", "top", None), ("model/windy/top/delta/returns",)),
    "windy_gamble": (_returns("windy", "gamble", None), ("model/windy/gamble/delta/returns",)),
    "pendulum": (_returns("pendulum", "energy", None), ("model/pendulum/energy/delta/returns",)),
    "balance": (_returns("balance", "weak", None), ("model/balance/weak/delta/returns",)),
    "ranking": (
        ranking,
        ("model/windy/top/delta/returns", "model/windy/gamble/delta/returns"),
    ),
    "learning": (learning, ("model/windy/top/ensemble/curve",)),
    "ablations": (ablations, ("ablation/windy/unchanged/w1",)),
    "atoms": (atoms, ("model/windy/top/delta/snapshot",)),
}
