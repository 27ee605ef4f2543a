"""The figures of the paper's experiments, and the exact ones. Draws results, computes nothing.

matplotlib is imported by `shared.plotting`, inside its functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from shared import plotting
from shared.experiment.spec import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOOKS = plotting.looks("few", "many", "more", "longer", "third", "fourth", "fifth")
PANELS = (
    ("feature_rank", "feature rank (99 % of σ²)"),
    ("dormant_eps1e-5", "dormant units (share, mean |a| < 1e-5)"),
    ("weight_norm", "weight norm"),
    ("grad_kurtosis_log", "kurtosis of log |gradient|"),
    ("policy_variance", "policy variance"),
    ("ess", "ESS / n after an update"),
)
SCORE = "score (0 random, 1 reference)"


def figures(results: Results) -> Iterator[tuple[str, Figure]]:
    """Every figure that these results have the data for."""
    few = _names(results, "base")[0]
    for name, (draw, needs) in DRAWINGS.items():
        if not needs or needs.format(few=few) in results:
            with plotting.style():
                figure = draw(results)
            yield name, figure


def _names(results: Results, role: str) -> list[str]:
    return [str(name) for name in results[f"cells/{role}"]]


def _steps(results: Results, points: int) -> np.ndarray:
    return (np.arange(points) + 1) / points * int(results["steps"]) / 1000


def _where(results: Results, games: str = "common_games") -> str:
    """Suite, games and length; most figures show the games that all cells were trained on."""
    games = ", ".join(str(g).replace("_", " ") for g in results[games])
    return f"{results['suite']}: {games}; {int(results['steps']):,} steps"


def _runs(results: Results, name: str) -> str:
    return f"{results[f'score/{name}'].size} runs"


def _shape(name: str) -> str:
    return name.replace("x", " × ", 1)


def _triples(results: Results, names: Sequence[str]) -> list[tuple[float, float, float]]:
    return [tuple(results[f"common/{name}"]) for name in names]


def _doublings(ax: Axes, numbers: Sequence[int] | np.ndarray, label: str) -> None:
    ax.set_xscale("log", base=2)
    ax.set_xticks(list(numbers), [str(n) for n in numbers])
    ax.minorticks_off()
    ax.set_xlabel(label)


def diagonal(results: Results) -> Figure:
    """F1: one batch size, split in all ways."""
    names = _names(results, "diagonal")
    few, many = _names(results, "base")
    fig, axes = plotting.figure(1, 2, height=4.6)
    others = [n for n in (names[0], names[len(names) // 2], names[-1]) if n not in (few, many)]
    games = len(results[f"score/{few}"])
    shown = [few, many, *[n for n in others if len(results[f"score/{n}"]) == games]]
    for name, look in zip(dict.fromkeys(shown), LOOKS.values(), strict=False):
        curve = results[f"iqm_curve/{name}"]
        plotting.band(axes[0, 0], list(_steps(results, len(curve))), [tuple(c) for c in curve],
                      f"{_shape(name)}, {_runs(results, name)}", look)  # fmt: skip
    axes[0, 0].set_xlabel("environment steps (thousands)")
    axes[0, 0].set_ylabel(f"IQM of the {SCORE}")
    axes[0, 0].set_title("Learning curves")
    numbers = [int(name.partition("x")[0]) for name in names]
    plotting.band(axes[0, 1], np.asarray(numbers), _triples(results, names), "", LOOKS["few"])
    for name, x in zip(names, numbers, strict=True):
        runs = results[f"score/{name}"][: len(results["common_games"])].ravel()
        axes[0, 1].plot(np.full(len(runs), x), runs, color=LOOKS["few"].colour, marker=".",
                        linestyle="none", alpha=0.5)  # fmt: skip
    _doublings(axes[0, 1], numbers, "environments (rollout length is 1,024 / environments)")
    axes[0, 1].tick_params(axis="x", labelsize=8)
    axes[0, 1].set_ylabel("final score")
    axes[0, 1].set_title("Final score: IQM, every run a point")
    some = ", ".join(str(g).replace("_", " ") for g in results["common_games"])
    text = f"{_where(results, 'games')}; right: {some}"
    fig.suptitle(text, x=0.01, ha="left", fontsize="medium")
    plotting.legend_outside(fig, columns=4)
    return fig


def growth(results: Results) -> Figure:
    """F2: a growing batch, along either axis."""
    holds = [h for h in ("num_minibatches", "minibatch_size") if f"cells/more/{h}" in results]
    few, _ = _names(results, "base")
    base = int(few.partition("x")[0]) * int(few.partition("x")[2])
    sizes = [base, *(base * int(f) for f in results["growth"])]
    fig, axes = plotting.figure(1, len(holds), height=4.4, sharey=True)
    for ax, hold in zip(axes[0], holds, strict=True):
        for role, label in (("more", "more environments"), ("longer", "longer rollouts")):
            names = [few, *_names(results, f"{role}/{hold}")]
            plotting.band(ax, np.asarray(sizes), _triples(results, names), label, LOOKS[role])
        _doublings(ax, sizes, "batch (transitions)")
        ax.set_title(f"{hold.replace('_', ' ').replace('num', 'number of')} held")
    axes[0, 0].set_ylabel(f"IQM of the final {SCORE}")
    fig.suptitle(_where(results), x=0.01, ha="left", fontsize="medium")
    plotting.legend_outside(fig)
    return fig


def shapes(results: Results) -> Figure:
    """Final IQM over (environments, rollout length): the diagonal and what grows from it."""
    names = _names(results, "diagonal")
    for role in ("more/num_minibatches", "longer/num_minibatches"):
        if f"cells/{role}" in results:
            names += _names(results, role)
    pairs = [tuple(int(x) for x in name.split("x")) for name in dict.fromkeys(names)]
    columns, rows = sorted({n for n, _ in pairs}), sorted({t for _, t in pairs})
    table = np.full((len(rows), len(columns)), np.nan)
    for n, t in pairs:
        table[rows.index(t), columns.index(n)] = results[f"common/{n}x{t}"][0]
    fig, axes = plotting.figure(1, 1, height=5.0)
    _heat(fig, axes[0, 0], table, [str(t) for t in rows], [str(n) for n in columns])
    axes[0, 0].set_xlabel("environments")
    axes[0, 0].set_ylabel("rollout length (steps)")
    axes[0, 0].set_title(f"IQM of the final {SCORE}\n{_where(results)}")
    return fig


def _heat(
    fig: Figure, ax: Axes, table: np.ndarray, rows: Sequence[str], columns: Sequence[str],
    cmap: str = "viridis", limit: float | None = None,
) -> None:  # fmt: skip
    image = ax.imshow(table, origin="lower", aspect="auto", cmap=cmap,
                      vmin=None if limit is None else -limit, vmax=limit)  # fmt: skip
    ax.set_xticks(range(len(columns)), list(columns))
    ax.set_yticks(range(len(rows)), list(rows))
    ax.grid(visible=False)
    for i, j in zip(*np.nonzero(np.isfinite(table)), strict=True):
        red, green, blue, _ = image.cmap(image.norm(table[i, j]))
        dark = 0.3 * red + 0.6 * green + 0.1 * blue < 0.5
        ax.text(j, i, f"{table[i, j]:.2f}", ha="center", va="center", fontsize=9,
                color="white" if dark else "black")  # fmt: skip
    fig.colorbar(image, ax=ax)


def epochs(results: Results) -> Figure:
    """F3: more epochs, for the default batch and for larger ones."""
    rows = [[str(name) for name in row] for row in results["cells/epochs"]]
    fig, axes = plotting.figure(1, 1, height=4.4)
    ax = axes[0, 0]
    width = 0.8 / len(rows)
    for i, (names, count) in enumerate(zip(rows, results["epochs"], strict=True)):
        values = np.array(_triples(results, names))
        places = np.arange(len(names)) + (i - (len(rows) - 1) / 2) * width
        look = list(LOOKS.values())[i]
        ax.bar(places, values[:, 0], 0.9 * width, color=look.colour, alpha=0.75,
               label=f"{int(count)} epochs")  # fmt: skip
        ax.vlines(places, values[:, 1], values[:, 2], color="black", linewidth=1.5)
    ax.set_xticks(range(len(rows[0])), [_shape(name) for name in rows[0]])
    ax.set_xlabel("environments × rollout length")
    ax.set_ylabel(f"IQM of the final {SCORE}")
    ax.set_title(f"Epochs: IQM with 95 % intervals\n{_where(results)}")
    ax.grid(visible=False, axis="x")
    plotting.legend_outside(fig)
    return fig


def metrics(results: Results) -> Figure:
    """F4: the networks while they learn."""
    few, many = _names(results, "base")
    cells = {few: LOOKS["few"], many: LOOKS["many"]}
    for role in ("more", "longer"):
        if f"cells/{role}/num_minibatches" in results:
            cells[_names(results, f"{role}/num_minibatches")[0]] = LOOKS[role]
    fig, axes = plotting.figure(2, 3, width=8.6, height=5.2)
    for ax, (name, label) in zip(axes.flat, PANELS, strict=True):
        for cell, look in cells.items():
            panel = results[f"panel/{name}/{cell}"]
            x = list(_steps(results, len(panel)))
            plotting.band(ax, x, [tuple(p) for p in panel], _shape(cell), look)
        ax.set_title(label, fontsize=9)
    for ax in axes[1]:
        ax.set_xlabel("environment steps (thousands)")
    fig.suptitle(f"{_where(results)}: mean and 95 % t interval over games and seeds", x=0.01,
                 ha="left", fontsize="medium")  # fmt: skip
    plotting.legend_outside(fig)
    return fig


def variants(results: Results) -> Figure:
    """F5, F6 and the controls: the same two splits, other networks and algorithms."""
    few, many = _names(results, "base")
    rows: dict[str, tuple[str, ...]] = {"PPO, shared": (few, many)}
    for role, label in (("separate", "PPO, separate"), ("pqn", "PQN"), ("rnd", "PPO with RND"),
                        ("dummy", "EnvPool's extra step")):  # fmt: skip
        if f"cells/{role}" in results:
            rows[label] = tuple(_names(results, role))
    controls = _names(results, "controls") if "cells/controls" in results else []
    rows |= {f"control: {_shape(name)}": (name,) for name in controls}
    fig, axes = plotting.figure(1, 1, height=1.6 + 0.62 * len(rows))
    ax = axes[0, 0]
    for row, names in enumerate(rows.values()):
        for name in names:
            kind = "few" if name.startswith(few) else "many"
            value, low, high = results[f"common/{name}"]
            place, look = row + (-0.14 if kind == "few" else 0.14), LOOKS[kind]
            ax.hlines(place, low, high, color=look.colour, linewidth=7, alpha=0.35)
            ax.plot(value, place, color=look.colour, marker=look.marker, markersize=8,
                    linestyle="none", label=_shape(few if kind == "few" else many))  # fmt: skip
    ax.set_yticks(range(len(rows)), list(rows))
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.grid(visible=False, axis="y")
    ax.set_xlabel(f"IQM of the final {SCORE}, 95 % interval")
    ax.set_title(_where(results))
    plotting.legend_outside(fig)
    return fig


def sensitivity(results: Results) -> Figure:
    """F7: the same comparison at other step sizes and discounts."""
    roles = [role for role in ("lr", "gamma") if f"cells/{role}" in results]
    fig, axes = plotting.figure(1, len(roles), height=3.6)
    words = {"lr": "first step size of Adam", "gamma": "discount"}
    for ax, role in zip(axes[0], roles, strict=True):
        order = np.argsort(results[role])
        pairs = [[str(name) for name in results[f"cells/{role}"][i]] for i in order]
        table = np.array([[results[f"common/{name}"][0] for name in pair] for pair in pairs]).T
        labels = [_shape(name) for name in _names(results, "base")]
        _heat(fig, ax, table, labels, [f"{results[role][i]:g}" for i in order])
        ax.set_xlabel(words[role])
    fig.suptitle(f"IQM of the final {SCORE}; {_where(results)}", x=0.01, ha="left",
                 fontsize="medium")  # fmt: skip
    return fig


def coverage(results: Results) -> Figure:
    """F8: which states a batch holds."""
    few, many = _names(results, "base")
    names = _names(results, "diagonal")
    fig, axes = plotting.figure(1, 3, height=4.2)
    for ax, name, kind in zip(axes[0], (few, many), ("few", "many"), strict=False):
        x, y = results[f"points/{name}"].T
        ax.plot(x, y, linestyle="none", marker=".", markersize=4, alpha=0.6,
                color=LOOKS[kind].colour)  # fmt: skip
        ax.set_title(f"{_shape(name)}: 512 states of a batch", fontsize=10)
        ax.set_xlabel("random projection 1")
    both = np.concatenate([results[f"points/{name}"] for name in (few, many)])
    low, high = both.min(axis=0), both.max(axis=0)
    for ax in axes[0, :2]:
        ax.set_xlim(low[0] - 0.1, high[0] + 0.1)
        ax.set_ylim(low[1] - 0.1, high[1] + 0.1)
    axes[0, 0].set_ylabel("random projection 2")
    numbers = [int(name.partition("x")[0]) for name in names]
    panels = [tuple(results[f"panel/coverage/{name}"][-1]) for name in names]
    plotting.band(axes[0, 2], np.asarray(numbers), panels, "", LOOKS["few"])
    _doublings(axes[0, 2], numbers, "environments")
    axes[0, 2].tick_params(axis="x", labelsize=7)
    axes[0, 2].set_ylabel("distinct states / batch")
    axes[0, 2].set_title("mean and 95 % t interval", fontsize=10)
    fig.suptitle(_where(results), x=0.01, ha="left", fontsize="medium")
    return fig


def exact(results: Results) -> Figure:
    """F9: what the split of a batch does, without any training."""
    fig, axes = plotting.figure(1, 3, height=4.2)
    part = "exact/"
    n_envs = results[part + "ess/n_envs"].astype(int)
    looks = list(LOOKS.values())
    for row, rho in enumerate(results[part + "ess/rho"]):
        axes[0, 0].plot(n_envs, results[part + "ess/theory"][row], color=looks[row].colour,
                        label=f"closed form, ρ = {rho:g}")  # fmt: skip
        simulated = results[part + "ess/simulated_n_envs"], results[part + "ess/simulated"][row]
        axes[0, 0].plot(*simulated, color=looks[row].colour, marker=looks[row].marker,
                        linestyle="none", label=f"simulated, ρ = {rho:g}")  # fmt: skip
    axes[0, 0].set_yscale("log", base=2)
    axes[0, 0].set_ylabel("independent samples in 1,024")
    axes[0, 0].set_title("Variance of a batch's mean", fontsize=10)
    splits = results[part + "gradient/n_envs"].astype(int)
    axes[0, 1].plot(splits, results[part + "gradient/variance"], color=looks[4].colour,
                    marker=looks[4].marker, label="policy gradient on a grid")  # fmt: skip
    axes[0, 1].set_yscale("log")
    axes[0, 1].set_ylabel("trace of the gradient's covariance")
    axes[0, 1].set_title("256 transitions, exact critic", fontsize=10)
    lengths = results[part + "bias/n_ro"].astype(int)
    for row, lam in enumerate(results[part + "bias/lam"]):
        look = looks[row + 2]
        axes[0, 2].plot(lengths, results[part + "bias/theory"][row], color=look.colour,
                        label=f"closed form, λ = {lam:g}")  # fmt: skip
        axes[0, 2].plot(lengths, results[part + "bias/numeric"][row], color=look.colour,
                        marker=look.marker, linestyle="none",
                        label=f"by recursion, λ = {lam:g}")  # fmt: skip
    axes[0, 2].set_ylabel("share of the critic's error left")
    axes[0, 2].set_title("Bias of the targets", fontsize=10)
    words = ("environments (of 1,024)", "environments (of 256)", "rollout length (steps)")
    for ax, numbers, label in zip(axes[0], (n_envs, splits, lengths), words, strict=True):
        _doublings(ax, np.sort(numbers)[::2], label)
        ax.tick_params(axis="x", labelsize=8)
    plotting.legend_outside(fig, columns=3)
    return fig


def films(results: Results) -> Figure:
    """An episode of each of two agents after training, every eighth frame; colours are objects."""
    few, many = _names(results, "base")
    frames = [results[f"film/{name}"] for name in (few, many)]
    fig, axes = plotting.figure(2, frames[0].shape[0], height=4.2)
    top = max(float(f.max()) for f in frames)
    for row, (name, film) in enumerate(zip((few, many), frames, strict=True)):
        for column, frame in enumerate(film):
            ax = axes[row, column]
            ax.imshow(frame, cmap="magma", vmin=0, vmax=top, interpolation="nearest")
            ax.set_xticks([])
            ax.set_yticks([])
            ax.grid(visible=False)
            if not row:
                ax.set_title(f"t = {8 * column}", fontsize=10)
        axes[row, 0].set_ylabel(_shape(name))
    fig.suptitle(str(results["games"][0]).replace("_", " "), x=0.01, ha="left", fontsize="medium")
    return fig


def atari(results: Results) -> Figure:
    """The one run on Atari: scores of whole games as they were learned from."""
    fig, axes = plotting.figure(1, 1, height=4.0)
    ax = axes[0, 0]
    mean, games = results["atari/curve"], results["atari/games"]
    half = 1.96 * results["atari/spread"] / np.sqrt(np.maximum(games, 1))
    shown = np.flatnonzero(games > 0)
    band = [(mean[i], mean[i] - half[i], mean[i] + half[i]) for i in shown]
    label = f"one run, {int(games.sum())} games (95 % over the games of a point)"
    plotting.band(ax, list(results["atari/steps"][shown] / 1000), band, label, LOOKS["few"])
    for level, name, line in zip(results["atari/reference"], ("random", "human"), (":", "--"),
                                 strict=True):  # fmt: skip
        ax.axhline(float(level), color=plotting.NEUTRAL, linestyle=line, label=f"{name} play")
    ax.set_xlabel("decisions (thousands; 4 frames each)")
    ax.set_ylabel("score of a game")
    ax.set_title(f"Atari: {results['atari/game']}")
    plotting.legend_outside(fig, columns=3)
    return fig


def atari_film(results: Results) -> Figure:
    """What that agent sees after training, every eighth decision."""
    frames = results["atari/film"]
    fig, axes = plotting.figure(1, len(frames), height=2.4)
    for column, frame in enumerate(frames):
        ax = axes[0, column]
        ax.imshow(frame, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        ax.set_xticks([])
        ax.set_yticks([])
        ax.grid(visible=False)
        ax.set_title(f"t = {8 * column}", fontsize=10)
    fig.suptitle(f"Atari: {results['atari/game']}", x=0.01, ha="left", fontsize="medium")
    return fig


DRAWINGS: dict[str, tuple[Callable[[Results], Figure], str]] = {
    "exact": (exact, ""),
    "diagonal": (diagonal, "iqm_curve/{few}"),
    "shapes": (shapes, "cells/more/num_minibatches"),
    "growth": (growth, "cells/more/num_minibatches"),
    "epochs": (epochs, "cells/epochs"),
    "metrics": (metrics, "panel/ess/{few}"),
    "variants": (variants, "cells/separate"),
    "sensitivity": (sensitivity, "cells/lr"),
    "coverage": (coverage, "points/{few}"),
    "films": (films, "film/{few}"),
    "atari": (atari, "atari/curve"),
    "atari_film": (atari_film, "atari/film"),
}
"""Every figure, and the array without which it is left out."""
