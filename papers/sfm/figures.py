"""The paper's figures, and three of our own: `exact`, `gap`, `paths`.

Draws results; intervals come from `analysis`. matplotlib is imported by `shared.plotting`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from papers.sfm import analysis
from papers.sfm.config import LEARNERS, POINT_MASS
from shared import plotting, stats
from shared.experiment.spec import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = {
    "sfm-td7": "SFM (TD7)", "sfm-td3": "SFM (TD3)", "mm-td7": "MM (TD7)", "mm-td3": "MM (TD3)",
    "gaifo-td7": "GAIfO (TD7)", "gaifo-td3": "GAIfO (TD3)", "iq": "IQ-Learn", "bc": "BC",
    "bco": "BCO",
}  # fmt: skip
"""Labels of the learners."""
_KINDS = plotting.looks("sfm", "mm", "gaifo", "iq", "bc", "bco")
log = logging.getLogger(__name__)
LOOKS = {SHOWN[name]: _KINDS[name.partition("-")[0]] for name in LEARNERS}
KINDS = ("sfm", "mm", "gaifo", "iq", "bc", "bco")
AGGREGATES = ("median", "IQM", "mean", "optimality gap")
SCORE = "mean reward a step"


def figures(results: Results) -> Iterator[tuple[str, Figure]]:
    """Every figure that these results have the data for."""
    drawings = {
        "exact": (exact, "exact/descent"),
        "curves": (curves, "imitate/curve"),
        "aggregates": (aggregates, "imitate/score"),
        "optimisers": (optimisers, "imitate/score"),
        "families": (families, "family/score"),
        "variants": (variants, "variant/score"),
        "gap": (gap, "imitate/gap"),
        "paths": (paths, "imitate/path"),
        "compute": (compute, "compute/td7/sfm"),
    }
    films = [name for name in results if name.startswith("film/")]
    if films:
        drawings["film"] = (film, films[0])
    for name, (draw, needs) in drawings.items():
        if needs in results:
            with plotting.style():
                figure = draw(results)
            if figure is not None:
                yield name, figure


def _one_of_each(results: Results) -> list[str]:
    """The learners that were run, TD7's where both optimisers were."""
    learners = analysis.names(results, "learners")
    order = [name for kind in KINDS for name in (f"{kind}-td7", f"{kind}-td3", kind)]
    kinds: dict[str, str] = {}
    for name in (n for n in order if n in learners):
        kinds.setdefault(name.partition("-")[0], name)
    return list(kinds.values())


def exact(results: Results) -> Figure:
    """Exact gradient descent on the gap, and the error of the estimator under uniform replay."""
    fig, axes = plotting.figure(1, 2, height=4.0)
    losses = results["exact/descent"]
    iterations = np.arange(len(losses)) * int(results["exact/descent_every"])
    left, right = axes[0]
    left.semilogy(iterations, losses, color=plotting.COLOURS[0])
    left.set_title("Exact descent on the feature gap")
    left.set_xlabel("iterations (step size 0.1)")
    left.set_ylabel("½ |ψ$_E$ − ψ$_π$|²")
    errors = np.maximum(results["exact/estimator/errors"], 1e-4)
    bins = np.logspace(-4, max(0.5, float(np.log10(errors.max()))), 30)
    right.hist(errors, bins=list(bins), color=plotting.COLOURS[1])
    right.set_xscale("log")
    right.set_title("Telescoped estimator, uniform replay")
    right.set_xlabel("relative error (0 under the discounted occupancy)")
    right.set_ylabel("random processes × behaviours")
    return fig


def curves(results: Results) -> Figure:
    """Score while learning, one panel per task, with the expert and a random policy."""
    tasks, learners = analysis.names(results, "tasks"), analysis.names(results, "learners")
    columns = min(len(tasks), 3)
    fig, axes = plotting.figure(-(-len(tasks) // columns), columns, width=max(6.5, 3.6 * columns))
    for ax in axes.ravel()[len(tasks) :]:
        ax.set_axis_off()
    for index, (ax, task) in enumerate(zip(axes.ravel(), tasks, strict=False)):
        values = results["imitate/curve"][index]  # [learner, seed, evaluation]
        steps = np.linspace(0, float(results["steps"]), values.shape[-1] + 1)[1:] / 1000
        for name in _one_of_each(results):
            rows = values[learners.index(name)]
            bands = [stats.bootstrap(column, stats.mean, seed=0) for column in rows.T]
            plotting.band(ax, list(steps), bands, SHOWN[name], LOOKS[SHOWN[name]])
        for kind, dash in (("expert", "--"), ("random", ":")):
            level = float(results[f"reference/{kind}/score"][index].mean())
            ax.axhline(level, color=plotting.NEUTRAL, linestyle=dash, linewidth=1.4, label=kind)
        ax.set_title(task)
        ax.set_xlabel("environment steps (thousands)")
        ax.set_ylim(0, 1.02)
    axes[0, 0].set_ylabel(SCORE)
    plotting.legend_outside(fig, columns=4)
    return fig


def aggregates(results: Results) -> Figure:
    """Median, IQM, mean and optimality gap over tasks and seeds, as in the paper's main figure."""
    learners = analysis.names(results, "learners")
    fig, axes = plotting.figure(1, 4, width=11.5, height=0.9 + 0.36 * len(learners), sharey=True)
    found = {name: analysis.aggregates(analysis.scores(results, name)) for name in learners}
    for ax, kind in zip(axes[0], AGGREGATES, strict=True):
        rows = [found[name][kind] for name in learners]
        plotting.interval_bars(ax, [SHOWN[n] for n in learners], rows, LOOKS)
        ax.set_title(kind)
        ax.set_xlabel(SCORE if kind != "optimality gap" else "1 − reward (lower is better)")
    return fig


def optimisers(results: Results) -> Figure | None:
    """Each algorithm with TD7 and with TD3."""
    learners = analysis.names(results, "learners")
    kinds = [k for k in ("sfm", "mm", "gaifo") if {f"{k}-td7", f"{k}-td3"} <= set(learners)]
    if not kinds:
        return None
    looks = plotting.looks("TD7", "TD3")
    fig, axes = plotting.figure(1, 1, width=7.5, height=4.2)
    series = {
        rules: [analysis.scores(results, f"{kind}-{rules.lower()}").ravel() for kind in kinds]
        for rules in looks
    }
    plotting.box_by_group(axes[0, 0], [SHOWN[f"{k}-td7"][:-6] for k in kinds], series, looks)
    axes[0, 0].set_ylabel(SCORE)
    axes[0, 0].set_title("The policy optimiser, all tasks and seeds")
    plotting.legend_outside(fig)
    return fig


def families(results: Results) -> Figure:
    """Score with each family of base features."""
    return _compared(results, "family", "families", "Base features")


def variants(results: Results) -> Figure:
    """Score with one setting changed, below the official settings."""
    return _compared(results, "variant", "variants", "Settings, changed one at a time")


def _compared(results: Results, kind: str, key: str, title: str) -> Figure:
    rows = {name: analysis.scores(results, name, kind) for name in analysis.names(results, key)}
    reference = None
    learner = str(results["ablation_learner"])
    if learner in analysis.names(results, "learners") and kind == "variant":
        rows = {"official": _on_ablation_tasks(results, learner), **rows}
    if "reference/expert/score" in results:
        reference = float(results["reference/expert/score"].mean())
    fig, axes = plotting.figure(1, 1, width=7.5, height=1.2 + 0.42 * len(rows))
    intervals = [stats.bootstrap(values, stats.mean, seed=0) for values in rows.values()]
    plotting.interval_bars(
        axes[0, 0], list(rows), intervals, plotting.looks(*rows), reference=reference
    )
    axes[0, 0].set_title(f"{title}: {SHOWN[learner]}")
    axes[0, 0].set_xlabel(f"{SCORE} (dashed: expert)")
    return fig


def _on_ablation_tasks(results: Results, learner: str) -> np.ndarray:
    tasks = analysis.names(results, "tasks")
    columns = [tasks.index(t) for t in analysis.names(results, "ablation_tasks") if t in tasks]
    return analysis.scores(results, learner)[:, columns]


def gap(results: Results) -> Figure:
    """Distance of occupancies against the score, each run a point."""
    learners = analysis.names(results, "learners")
    fig, axes = plotting.figure(1, 1, width=7.5, height=4.6)
    for name in _one_of_each(results):
        column = learners.index(name)
        x = results["imitate/gap"][:, column, :, -1].ravel()
        y = results["imitate/curve"][:, column, :, -1].ravel()
        look = LOOKS[SHOWN[name]]
        axes[0, 0].plot(
            x, y, linestyle="none", color=look.colour, marker=look.marker, label=SHOWN[name]
        )
    for kind, marker in (("random", "x"), ("expert", "+")):
        x, y = (results[f"reference/{kind}/{part}"].ravel() for part in ("gap", "score"))
        axes[0, 0].plot(
            x, y, linestyle="none", color=plotting.NEUTRAL, marker=marker, markersize=8,
            markeredgewidth=1.6, label=kind,
        )  # fmt: skip
    axes[0, 0].set_xlabel("distance of discounted occupancies to the demonstration (MMD)")
    axes[0, 0].set_ylabel(SCORE)
    plotting.legend_outside(fig, columns=4)
    return fig


def paths(results: Results) -> Figure | None:
    """Where the point mass goes: the expert, and each learner's final policy of the first seed."""
    tasks = analysis.names(results, "tasks")
    if POINT_MASS not in tasks:
        return None
    index, learners = tasks.index(POINT_MASS), analysis.names(results, "learners")
    shown = _one_of_each(results)
    fig, axes = plotting.figure(
        1, len(shown), width=2.4 * len(shown) + 0.6, height=3.0, sharey=True
    )
    expert = results["reference/expert/path"][index]
    for ax, name in zip(axes[0], shown, strict=True):
        ours = results["imitate/path"][index, learners.index(name)]
        ax.plot(*expert.T, color=plotting.NEUTRAL, linestyle="--", label="expert")
        ax.plot(*ours.T, color=LOOKS[SHOWN[name]].colour, label="learner")
        ax.plot(0, 0, color="black", marker="+", markersize=9, linestyle="none")
        ax.set_title(SHOWN[name])
        ax.set_xlim(-1.05, 1.05)
        ax.set_ylim(-1.05, 1.05)
        ax.set_aspect("equal")
        ax.set_xlabel("x (m)")
    axes[0, 0].set_ylabel("y (m)")
    return fig


def film(results: Results) -> Figure | None:
    """The expert above the learner at the same moments, drawn by MuJoCo where it can draw."""
    from papers.sfm.worlds import MOMENTS
    from shared.mujoco.render import NoRenderer, frames

    shown = [t for t in analysis.names(results, "tasks") if f"film/{t}/imitate" in results]
    shown = [t for t in shown if f"film/{t}/reference" in results][:3]
    if not shown:
        return None
    rows = [(task, kind) for task in shown for kind in ("reference", "imitate")]
    fig, axes = plotting.figure(len(rows), len(MOMENTS), width=11.0, height=1.6 * len(rows) + 0.4)
    for line, (task, kind) in zip(axes, rows, strict=True):
        try:
            images = frames(task, results[f"film/{task}/{kind}"], height=150, width=150)
        except NoRenderer as reason:
            log.warning("The film strip is left out: %s", reason)
            return None
        for ax, image, moment in zip(line, images, MOMENTS, strict=True):
            ax.imshow(image)
            ax.set_xticks([])
            ax.set_yticks([])
            ax.set_title(f"step {moment}", fontsize=9, fontweight="normal")
        who = "expert" if kind == "reference" else SHOWN[_one_of_each(results)[0]]
        line[0].set_ylabel(f"{task}\n{who}", fontsize=9)
    return fig


def compute(results: Results) -> Figure:
    """Floating-point operations of an update at the paper's sizes."""
    labels = {
        "sfm": "SFM", "sfm_random": "SFM, φ not learned", "mm": "MM", "actor_critic": "actor-critic"
    }  # fmt: skip
    looks = plotting.looks("TD7", "TD3")
    fig, axes = plotting.figure(1, 1, width=7.5, height=3.8)
    for place, (rules, look) in enumerate(looks.items()):
        values = [float(results[f"compute/{rules.lower()}/{name}"]) for name in labels]
        rows = np.arange(len(labels)) + 0.38 * (place - 0.5)
        axes[0, 0].barh(rows, values, height=0.36, color=look.colour, label=rules)
        for row, value in zip(rows, values, strict=True):
            axes[0, 0].annotate(
                f" {value:.1f}", (value, row), va="center", fontsize=10, color=look.colour
            )
    axes[0, 0].set_yticks(range(len(labels)), list(labels.values()))
    axes[0, 0].invert_yaxis()
    axes[0, 0].set_xlabel("GFLOP an update (batch 1024, cheetah)")
    axes[0, 0].grid(visible=False, axis="y")
    plotting.legend_outside(fig)
    return fig
