"""Figures: curves, interquartile means, ablations, the learned cost, mixed experts, the corridor.

Draws results, computes nothing but means and intervals. Rewards are over the mean return of the
demonstrations. matplotlib is imported by `shared.plotting`, inside its functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from papers.icrl.config import MAIN, OFFLINE
from shared import plotting
from shared.experiment.spec import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOOKS = plotting.looks(*MAIN)
STEP_LOOKS = plotting.looks("IRL-Base", "L2", "L2+SC", "L2+PR", "IRL-Plus")
OFFLINE_LOOKS = plotting.looks(*OFFLINE)
METRICS = {
    "feasible": "feasible reward\n(expert's return = 1)",
    "violation": "violation rate\n(share of episodes)",
}
TITLES = {"blocked_point": "BlockedPoint", "biased_cartpole": "BiasedCartpole"}


def figures(results: Results) -> Iterator[tuple[str, Figure]]:
    """Every figure that these results have the data for."""
    for name, (draw, needs) in DRAWINGS.items():
        if all(n in results for n in needs):
            with plotting.style():
                figure = draw(results)
            if figure is not None:
                yield name, figure


def _names(results: Results, key: str) -> list[str]:
    return [str(name) for name in results[key]]


def _title(world: str) -> str:
    return TITLES.get(world, world)


def _interval(values: Any) -> tuple[float, float, float]:
    """Interquartile mean over runs with its bootstrap interval."""
    from shared import stats

    found = stats.bootstrap(np.asarray(values), seed=0, replicates=500)
    return found.value, found.low, found.high


def _smooth(curve: np.ndarray, width: int = 3) -> np.ndarray:
    """Mean over `width` evaluations, the last of them at the place, [seeds, evaluations]."""
    padded = np.concatenate([np.repeat(curve[:, :1], width - 1, axis=1), curve], axis=1)
    return np.mean([padded[:, i : i + curve.shape[1]] for i in range(width)], axis=0)


def curves(results: Results) -> Figure:
    """F4: feasible reward and violation rate as training goes on."""
    worlds, variants = _names(results, "worlds"), _names(results, "variants")
    fig, axes = plotting.figure(2, len(worlds), height=6.4)
    steps = results["steps"] / 1000
    places = np.unique(np.linspace(0, len(steps) - 1, 16).round().astype(int))
    for column, world in enumerate(worlds):
        for name in (v for v in variants if v in LOOKS):
            for row, metric in enumerate(METRICS):
                curve = results[f"main/curve_{metric}"][column, variants.index(name)]
                scale = results["expert"][column] if metric == "feasible" else 1.0
                curve = _smooth(curve) / scale
                found = [_interval(curve[:, i]) for i in places]
                plotting.band(axes[row, column], list(steps[places]), found, name, LOOKS[name])
        axes[0, column].set_title(_title(world))
        axes[1, column].set_xlabel("environment steps (thousands)")
    for row, label in enumerate(METRICS.values()):
        axes[row, 0].set_ylabel(label)
    plotting.legend_outside(fig, columns=4)
    return fig


def _bars(results: Results, chosen: dict[str, plotting.Look], title: str) -> Figure:
    """Interquartile means of both metrics over all tasks, and per task."""
    worlds, variants = _names(results, "worlds"), _names(results, "variants")
    names = [name for name in chosen if name in variants]
    columns = [(None, "all tasks"), *enumerate(map(_title, worlds))]
    columns = columns[1:] if len(worlds) == 1 else columns
    fig, axes = plotting.figure(2, len(columns), height=1.2 + 0.55 * len(names) * 2)
    for column, (place, label) in enumerate(columns):
        for row, (metric, words) in enumerate(METRICS.items()):
            found = []
            for name in names:
                values = results[f"main/{metric}"][:, variants.index(name)]
                values = values / results["expert"][:, None] if row == 0 else values
                found.append(_interval(values.T if place is None else values[place]))
            ax = axes[row, column]
            plotting.interval_bars(ax, names, found, chosen, reference=1.0 if row == 0 else 0.0)
            ax.set_xlabel(words.replace("\n", " "))
            if row == 0:
                ax.set_title(label)
            if column:
                ax.set_yticklabels([])
    fig.suptitle(title, x=0.01, ha="left", fontsize="medium")
    return fig


def overall(results: Results) -> Figure:
    """F1 and F3: all variants of the comparison."""
    return _bars(results, LOOKS, "Interquartile means with 95 % intervals, last evaluations")


def ablation(results: Results) -> Figure | None:
    """F2: the extensions one by one."""
    if not {"L2", "IRL-Plus"} <= set(_names(results, "variants")):
        return None
    return _bars(results, STEP_LOOKS, "What each extension adds")


def cost_map(results: Results) -> Figure | None:
    """F7: the learned cost over the constrained coordinate and its velocity, with the true wall."""
    keys = [k.split("/")[1:] for k in results if k.startswith("map/")]
    if not keys:
        return None
    worlds = list(dict.fromkeys(world for world, _ in keys))
    names = list(dict.fromkeys(name for _, name in keys))
    fig, axes = plotting.figure(len(worlds), len(names), height=0.6 + 3.2 * len(worlds))
    for row, world in enumerate(worlds):
        place, speed = results[f"place/{world}"], results[f"speed/{world}"]
        wall = results["walls"][_names(results, "worlds").index(world)]
        for column, name in enumerate(names):
            ax, cost = axes[row, column], results[f"map/{world}/{name}"]
            top = max(float(np.quantile(cost, 0.98)), 1e-3)
            mesh = ax.pcolormesh(place, speed, cost, cmap="magma_r", vmin=0, vmax=top,
                                 shading="nearest", rasterized=True)  # fmt: skip
            fig.colorbar(mesh, ax=ax, label="learned cost (units of reward)")
            ax.axvline(wall, color="#0072B2", linewidth=2.2, label="true wall")
            if world == "blocked_point":
                v = speed[speed <= 0]
                ax.plot(wall + v**2 / 2, v, color="#0072B2", linestyle="--",
                        label="beyond it, no braking helps")  # fmt: skip
            ax.set_xlim(place[0], place[-1])
            ax.set_title(f"{_title(world)}: {name}")
            ax.locator_params(axis="x", nbins=3)
            ax.set_xlabel("x (m)")
            ax.set_ylabel("v$_x$ (m/s)")
            ax.grid(visible=False)
    plotting.legend_outside(fig)
    return fig


def profiles(results: Results) -> Figure | None:
    """F7: mean learned cost along the constrained coordinate."""
    worlds, variants = _names(results, "worlds"), _names(results, "variants")
    names = [n for n in ("IRL-Plus", "IRL-Base", "MECL", "GACL") if n in variants]
    names = [n for n in names if (results["main/profile"][0, variants.index(n)] > -900).any()]
    fig, axes = plotting.figure(1, len(worlds), height=4.2)
    for column, world in enumerate(worlds):
        ax, edges = axes[0, column], results[f"edges/{world}"]
        centres = (edges[:-1] + edges[1:]) / 2
        for name in names:
            profile = results["main/profile"][column, variants.index(name)]
            seen = (profile > -900).all(axis=0)
            level = np.maximum(profile[:, seen].max(axis=1, keepdims=True), 1e-6)
            found = [_interval(v) for v in (profile[:, seen] / level).T]
            plotting.band(ax, list(centres[seen]), found, name, LOOKS[name])
        ax.axvline(results["walls"][column], color=plotting.NEUTRAL, linestyle="--",
                   label="true wall")  # fmt: skip
        ax.set_title(_title(world))
        ax.set_xlabel("x after the step (m)")
    axes[0, 0].set_ylabel("mean learned cost\n(its own maximum = 1)")
    plotting.legend_outside(fig)
    return fig


def suboptimal(results: Results) -> Figure:
    """F5: demonstrations mixed with an unconstrained agent's."""
    names, shares = _names(results, "suboptimal_variants"), results["suboptimal"]
    fig, axes = plotting.figure(1, 2, height=4.2)
    for ax, (metric, words) in zip(axes[0], METRICS.items(), strict=True):
        scale = results["expert"][0] if metric == "feasible" else 1.0
        for i, name in enumerate(n for n in names if n in LOOKS):
            values = results[f"suboptimal/{metric}"][:, i] / scale
            plotting.band(ax, list(100 * shares), [_interval(v) for v in values], name, LOOKS[name])
        ax.set_xlabel("share of unconstrained demonstrations (%)")
        ax.set_ylabel(words)
    plotting.legend_outside(fig)
    return fig


def tuning(results: Results) -> Figure:
    """F6: SAC-ICRL over the rates of cost and multiplier."""
    fig, axes = plotting.figure(1, 2, height=3.8)
    for ax, (metric, words) in zip(axes[0], METRICS.items(), strict=True):
        scale = results["expert"][0] if metric == "feasible" else 1.0
        cells = results[f"grid/{metric}"].mean(axis=-1) / scale
        mesh = ax.imshow(cells, cmap="viridis" if metric == "feasible" else "magma_r",
                         vmin=0, vmax=1, aspect="auto")  # fmt: skip
        fig.colorbar(mesh, ax=ax)
        for (i, j), value in np.ndenumerate(cells):
            ax.text(j, i, f"{value:.2f}", ha="center", va="center", color="white",
                    bbox={"facecolor": "#333333", "edgecolor": "none", "pad": 2})  # fmt: skip
        ax.set_xticks(range(cells.shape[1]), [f"{x:g}" for x in results["grid_multiplier_lrs"]])
        ax.set_yticks(range(cells.shape[0]), [f"{x:g}" for x in results["grid_cost_lrs"]])
        ax.set_xlabel("multiplier's rate")
        ax.set_ylabel("cost's rate")
        ax.set_title(words.split("\n")[0])
        ax.grid(visible=False)
    return fig


def quirks(results: Results) -> Figure | None:
    """Further variants on the first task."""
    names = _names(results, "ablations")
    if not names:
        return None
    looks = plotting.looks(*names)
    fig, axes = plotting.figure(1, 2, height=1.4 + 0.5 * len(names), sharey=True)
    for ax, (metric, words) in zip(axes[0], METRICS.items(), strict=True):
        scale = results["expert"][0] if metric == "feasible" else 1.0
        found = [_interval(v / scale) for v in results[f"ablation/{metric}"]]
        plotting.interval_bars(ax, names, found, looks)
        ax.set_xlabel(words.replace("\n", " "))
    return fig


def offline(results: Results) -> Figure | None:
    """C7: offline agents on an unconstrained agent's data."""
    names = _names(results, "offline")
    if len(names) < 2:
        return None
    fig, axes = plotting.figure(1, 2, height=1.6 + 0.5 * len(names), sharey=True)
    for ax, (metric, words) in zip(axes[0], METRICS.items(), strict=True):
        scale = results["expert"][0] if metric == "feasible" else 1.0
        found = [_interval(v / scale) for v in results[f"offline/final_{metric}"]]
        plotting.interval_bars(ax, names, found, OFFLINE_LOOKS)
        ax.set_xlabel(words.replace("\n", " "))
    return fig


def corridor(results: Results) -> Figure:
    """C1: exact ascent on the corridor: costs, and where the learner is."""
    fig, axes = plotting.figure(1, 2, height=4.2)
    cells = np.arange(results["exact/cost"].shape[1])
    shades = plotting.looks("without a cost", "10 steps", "100 steps", "1000 steps", "expert")
    for label, cost in zip(list(shades)[1:4], results["exact/cost"], strict=True):
        axes[0, 0].plot(cells, cost, color=shades[label].colour, marker=shades[label].marker,
                        label=label)  # fmt: skip
    rows = [results["exact/nominal"], *results["exact/occupancy"], results["exact/expert"]]
    for (label, look), row in zip(shades.items(), rows, strict=True):
        axes[0, 1].plot(cells, np.maximum(row, 1e-6), color=look.colour, marker=look.marker,
                        linestyle="--" if label == "expert" else "-", label=label)  # fmt: skip
    axes[0, 1].set_yscale("log")
    for ax, title, words in zip(
        axes[0],
        ("Inferred cost", "Where the learner is"),
        ("cost (units of reward)", "occupancy (cut off at 1e-6)"),
        strict=True,
    ):
        ax.axvspan(-0.4, 0.4, color="#D55E00", alpha=0.15, linewidth=0, label="forbidden")
        ax.set_title(title)
        ax.set_xlabel("cell")
        ax.set_ylabel(words)
    plotting.legend_outside(fig)
    return fig


DRAWINGS: dict[str, tuple[Callable[[Results], Any], tuple[str, ...]]] = {
    "corridor": (corridor, ("exact/cost",)),
    "curves": (curves, ("main/curve_feasible",)),
    "overall": (overall, ("main/feasible",)),
    "ablation": (ablation, ("main/feasible",)),
    "cost_map": (cost_map, ()),
    "profiles": (profiles, ("main/profile",)),
    "suboptimal": (suboptimal, ("suboptimal/feasible",)),
    "tuning": (tuning, ("grid/feasible",)),
    "quirks": (quirks, ("ablation/feasible",)),
    "offline": (offline, ("offline/final_feasible",)),
}
