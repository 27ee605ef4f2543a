"""One figure a claim, and two of use: learning from samples, gymnasium's environments.

Draws results, computes nothing. matplotlib is imported by `shared.plotting`, inside its functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from shared import plotting
from shared.experiment.spec import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
else:
    Axes = Figure = Any

DATA_LOOKS = plotting.looks("data D$_0$", "uniform", "best for L = 0.25")
BOUND_LOOKS = plotting.looks(
    "exact ε*", "our bound", "paper's bound", "bound by cells", "a bad policy's level"
)
SHADES = plotting.looks("ε = 0.05", "ε = 0.1", "ε = 0.15")
LAMBDA_LOOKS = plotting.looks("λ = 0.03", "λ = 0.3", "λ = 1", "no penalty")
MDP_LOOKS = plotting.looks("chain", "bandit", "three by two", "random MDPs")
SAMPLE_LOOKS = plotting.looks("uniform", "expert", "design")
ERROR_LOOKS = plotting.looks("random rewards", "mismatches")
LOW, MIDDLE, HIGH = 1, 10, 19  # of 21 quantiles: 5 %, 50 %, 95 %
EPS = "error level ε (of range R)"
CORNERS = np.array([[0.5, np.sqrt(0.75)], [1.0, 0.0], [0.0, 0.0]])


def figures(results: Results) -> Iterator[tuple[str, Figure]]:
    """Every figure that these results have the data for."""
    for name, (draw, needs) in DRAWINGS.items():
        if needs in results:
            with plotting.style():
                figure = draw(results)
            yield name, figure


def _spread(results: Results, name: str) -> list[tuple[float, float, float]]:
    """Median, 5 % and 95 % quantile over random MDPs, at each value of the check's parameter."""
    return [(float(q[MIDDLE]), float(q[LOW]), float(q[HIGH])) for q in results[f"random/{name}"]]


def _distribution(
    ax: Axes, results: Results, name: str, row: int, label: str, look: plotting.Look
) -> None:
    """The cumulative distribution over random MDPs, from the quantiles kept of it."""
    ax.plot(results[f"random/{name}"][row], results["quantiles"], color=look.colour,
            marker=look.marker, markersize=4, label=label)  # fmt: skip


def _note(results: Results) -> str:
    return f"{int(results['seeds'])} random MDPs: median, 5 % to 95 %"


def coverage(results: Results) -> Figure:
    """C1: the worst regret at each error, and how far closed-form bounds are from the truth."""
    fig, axes = plotting.figure(1, 2, height=4.6)
    ax = axes[0, 0]
    kinds = {"data D$_0$": "data", "uniform": "uniform", "best for L = 0.25": "design"}
    for label, kind in kinds.items():
        part, look = f"exact/curve/{kind}/", DATA_LOOKS[label]
        errors, regrets = results[part + "errors"], results[part + "regrets"]
        x, y = np.append(errors, 0.13), np.append(regrets, regrets[-1])
        ax.step(x, y, where="post", color=look.colour, label=f"worst regret, {label}")
        tight = results[part + "tight"]
        ax.plot(tight, regrets, color=look.colour, linestyle=":", linewidth=1.4,
                label=f"our bound, {label}")  # fmt: skip
    ax.set_xlim(0, 0.13)
    ax.set_xlabel(EPS)
    ax.set_ylabel("normalised regret")
    ax.set_title("What an error may cost, three by two")
    ax.legend(fontsize=8, loc="lower right")
    ax, levels = axes[0, 1], results["random/bounds/values"]
    middle = len(levels) // 2
    rows = (("paper's bound", "over_paper"), ("our bound", "over_tight"),
            ("bound by cells", "over_occupancy"))  # fmt: skip
    for label, name in rows:
        _distribution(ax, results, f"bounds/{name}", middle, f"ε* / {label}", BOUND_LOOKS[label])
    ax.axvline(1, color=plotting.NEUTRAL, linestyle="--", linewidth=1.2)
    ax.set_xscale("log")
    ax.set_xlabel("exact threshold ε* / bound")
    ax.set_ylabel("share of MDPs below")
    ax.set_title(f"{int(results['seeds'])} random MDPs, L = {levels[middle]:g}")
    ax.legend(fontsize=8, loc="lower right")
    return fig


def support(results: Results) -> Figure:
    """C2: the less data on a bad policy's actions, the smaller the error that hides it."""
    fig, axes = plotting.figure(1, 1, height=4.6)
    ax, part = axes[0, 0], "exact/support/"
    mass = results[part + "mass"]
    ax.fill_between(mass, results[part + "threshold"], 1, color=BOUND_LOOKS["exact ε*"].colour,
                    alpha=0.12, linewidth=0)  # fmt: skip
    look = BOUND_LOOKS["exact ε*"]
    ax.loglog(mass, results[part + "threshold"], color=look.colour, marker=look.marker,
              label="exact threshold ε*")  # fmt: skip
    look = BOUND_LOOKS["our bound"]
    ax.loglog(mass, results[part + "certificate"], color=look.colour, linestyle="--",
              label="certificate: ε = D(support)")  # fmt: skip
    ax.text(2e-3, 0.25, "unsafe", color=BOUND_LOOKS["exact ε*"].colour)
    ax.text(0.25, 2e-3, "safe", color=plotting.NEUTRAL)
    ax.set_xlabel("D(support of the worst policy)")
    ax.set_ylabel(EPS)
    ax.set_ylim(float(results[part + "threshold"].min()) / 2, 1)
    ax.set_title("Data that hardly show what the worst policy does (three by two, L = 1)")
    ax.legend(loc="lower right")
    return fig


def arms(results: Results) -> Figure:
    """C3: the more ways to be bad, the smaller the best possible threshold."""
    fig, axes = plotting.figure(1, 2, height=4.4)
    ax, n = axes[0, 0], results["exact/arms/n"]
    look = BOUND_LOOKS["exact ε*"]
    ax.loglog(n, results["exact/arms/margin"], color=look.colour, marker=look.marker,
              linestyle="none", label="best D*, exact")  # fmt: skip
    ax.loglog(n, 1 / (n + 1), color=look.colour, linewidth=1.2, label="1 / (n + 1)")
    ax.loglog(n, 1 / n, color=plotting.NEUTRAL, linestyle="--", linewidth=1.2,
              label="paper: unsafe from 1 / n on")  # fmt: skip
    ax.set_xlabel("bad arms n (reward 0; one good arm of reward 1)")
    ax.set_ylabel("largest safe error level of any D")
    ax.set_title("Bandits")
    ax.legend(fontsize=9)
    ax = axes[0, 1]
    shades = plotting.looks(*(f"L = {level:g}" for level in results["random/design/values"]))
    for row, (label, look) in enumerate(shades.items()):
        _distribution(ax, results, "design/bound_share", row, label, look)
    ax.axvline(1, color=plotting.NEUTRAL, linestyle="--", linewidth=1.2)
    ax.set_xlim(0, 1.05)
    ax.set_xlabel("n × (best threshold), n disjoint bad policies")
    ax.set_ylabel("share of MDPs below")
    ax.set_title(f"{int(results['seeds'])} random MDPs, 3 states, 3 actions")
    ax.legend(fontsize=9)
    return fig


def _simplex(ax: Axes, names: tuple[str, str, str]) -> None:
    """The triangle of distributions over three arms, corners named."""
    ax.fill(*CORNERS.T, facecolor="none", edgecolor="#333333", linewidth=1.2, zorder=4)
    for corner, name, (dx, dy) in zip(
        CORNERS, names, ((0, 0.03), (0.02, -0.05), (-0.02, -0.05)), strict=True
    ):
        side = "bottom" if dy > 0 else "top"
        ax.annotate(name, corner + np.array([dx, dy]), ha="center", va=side, fontsize=9,
                    annotation_clip=False)  # fmt: skip
    ax.set_aspect("equal")
    ax.set_xlim(-0.16, 1.16)
    ax.set_ylim(-0.16, 1.0)
    ax.axis("off")


ARM_NAMES = ("arm of reward 1", "0.6", "0")


def polytope(results: Results) -> Figure:
    """C4: the safe distributions of a bandit with three arms."""
    fig, axes = plotting.figure(1, 2, height=4.6)
    corners, best = results["exact/simplex/corners"], results["exact/simplex/best"]
    for i, (ax, L) in enumerate(zip(axes[0], (0.4, 0.5), strict=True)):
        for (label, look), polygon in zip(SHADES.items(), corners[i], strict=True):
            known = polygon[np.isfinite(polygon[:, 0])]
            if len(known):
                ax.fill(*(known @ CORNERS).T, facecolor=look.colour + "40",
                        edgecolor=look.colour, linewidth=1.8, label=f"safe at {label}")  # fmt: skip
        ax.plot(*(best[i, :3] @ CORNERS), marker="*", markersize=12, color="black",
                linestyle="none", label="best distribution D*", zorder=5)  # fmt: skip
        _simplex(ax, ARM_NAMES)
        bad = "both other arms are bad" if L == 0.4 else "one arm is bad"
        ax.set_title(f"L = {L:g}: {bad}; ε* of D* is {best[i, 3]:.3g}")
    plotting.legend_outside(fig)
    return fig


def penalty(results: Results) -> Figure:
    """C5: a KL penalty bends the boundary and moves it, but does not remove it."""
    fig, axes = plotting.figure(1, 2, height=4.8)
    ax, part = axes[0, 0], "exact/penalty/"
    grid = results[part + "grid"]
    steps = round((np.sqrt(8 * grid.shape[1] + 1) - 3) / 2)
    points = [(i, j, steps - i - j) for i in range(steps + 1) for j in range(steps + 1 - i)]
    x, y = (np.array(points) / steps @ CORNERS).T
    for row, (label, look) in zip(grid, list(LAMBDA_LOOKS.items())[:3], strict=True):
        ax.tricontour(x, y, row, levels=[0.1], colors=[look.colour], linewidths=2)
        ax.plot([], [], color=look.colour, label=label)
    polygon = results["exact/simplex/corners"][1, 1]
    known = polygon[np.isfinite(polygon[:, 0])]
    look = LAMBDA_LOOKS["no penalty"]
    ax.fill(*(known @ CORNERS).T, facecolor=look.colour + "30", edgecolor=look.colour,
            linewidth=1.2, linestyle="--", label="no penalty (polytope)")  # fmt: skip
    _simplex(ax, ARM_NAMES)
    ax.set_title("Inside: safe at ε = 0.1, L = 0.5")
    ax.legend(fontsize=9, loc="upper left", bbox_to_anchor=(-0.12, 1.0))
    ax = axes[0, 1]
    lams = results[part + "lams"]
    look = BOUND_LOOKS["exact ε*"]
    ax.loglog(lams, results[part + "exact"], color=look.colour, label="exact ε*")
    known = results[part + "bound"] > 0
    look = BOUND_LOOKS["our bound"]
    ax.loglog(lams[known], results[part + "bound"][known], color=look.colour, linestyle="-.",
              label="certified safe (tanh bound)")  # fmt: skip
    ax.axhline(float(results[part + "without"]), color="black", linestyle="--", linewidth=1.2,
               label="ε* without penalty")  # fmt: skip
    ax.set_xlabel("weight λ of the KL penalty (units of reward)")
    ax.set_ylabel(EPS)
    ax.set_title("Uniform data, uniform reference")
    ax.legend(fontsize=9)
    return fig


def rlhf(results: Results) -> Figure:
    """C6: how rare a bad answer must be for learned preferences to fail."""
    fig, axes = plotting.figure(1, 2, height=4.4)
    ax, part = axes[0, 0], "exact/rlhf/"
    lams = results[part + "lams"]
    names = [f"ε = {eps:g}" for eps in results[part + "errors"]]
    for i, (label, look) in enumerate(plotting.looks(*names).items()):
        ax.loglog(lams, results[part + "truth"][i], color=look.colour, label=label)
        ax.loglog(lams, results[part + "theorem"][i], color=look.colour, linestyle="--")
    ax.plot([], [], color="black", label="its witness holds up to here")
    ax.plot([], [], color="black", linestyle="--", label="the theorem's threshold")
    ax.set_ylim(1e-10, 2)
    ax.set_xlabel("weight λ of the KL penalty (units of reward)")
    ax.set_ylabel("π$_{ref}$ of the bad answer")
    ax.set_title("Rewards 1, 0.5, 0; L = 0.5; searched up to 0.5")
    ax.legend(fontsize=8, loc="lower center", ncols=2)
    ax = axes[0, 1]
    values = list(results["random/rlhf/values"])
    look = BOUND_LOOKS["exact ε*"]
    plotting.band(ax, values, _spread(results, "rlhf/choice_share"), "choice error", look)
    plotting.band(ax, values, _spread(results, "rlhf/error_share"), "reward error",
                  BOUND_LOOKS["our bound"])  # fmt: skip
    ax.axhline(1, color=plotting.NEUTRAL, linestyle="--", linewidth=1.2, label="allowed")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("weight λ of the KL penalty (units of reward)")
    ax.set_ylabel("error of the witness / ε allowed")
    ax.set_title(f"At the theorem's threshold\n{_note(results).replace('MDPs', 'bandits')}")
    ax.legend(fontsize=9)
    return fig


def errors(results: Results) -> Figure:
    """C7: errors of returns and of choices never exceed what the reward error allows."""
    fig, axes = plotting.figure(1, 3, height=4.2)
    ax = axes[0, 0]
    edges, counts = results["exact/choices/edges"], results["exact/choices/counts"]
    ax.bar(edges[:-1], counts, width=np.diff(edges), align="edge",
           color=DATA_LOOKS["uniform"].colour)  # fmt: skip
    ax.set_yscale("log")
    ax.axvline(1, color=plotting.NEUTRAL, linestyle="--", linewidth=1.2)
    ax.set_xlabel("choice error / (2 reward error)")
    ax.set_ylabel("random bandits")
    ax.set_title("10,000 bandits")
    horizons = list(results["random/errors/values"])
    panels = (
        ("return_share", "return error / (c reward error)", "Returns of trajectories"),
        ("choice_share", "choice error / (2 return error)", "Choices between two"),
    )
    for ax, (name, ylabel, title) in zip(axes[0, 1:], panels, strict=True):
        for (label, look), kind in zip(ERROR_LOOKS.items(), ("random", "mismatch"), strict=True):
            plotting.band(ax, horizons, _spread(results, f"errors/{kind}_{name}"), label, look)
        ax.axhline(1, color=plotting.NEUTRAL, linestyle="--", linewidth=1.2)
        ax.set_ylim(0, 1.08)
        ax.set_xticks(horizons)
        ax.set_xlabel("steps T of a trajectory")
        ax.set_ylabel(ylabel)
        ax.set_title(title)
    plotting.legend_outside(fig)
    fig.suptitle(_note(results), x=0.01, ha="left", fontsize="medium")
    return fig


def expert(results: Results) -> Figure:
    """C8: expert data are never safe, and other data help in proportion to their share."""
    fig, axes = plotting.figure(1, 2, height=4.6)
    ax, weights = axes[0, 0], results["exact/expert/weights"]
    known = weights > 0
    for label, key in (("chain", "chain"), ("bandit", "bandit"), ("three by two", "three_by_two")):
        margin, look = results[f"exact/expert/{key}"], MDP_LOOKS[label]
        ax.loglog(weights[known], margin[known], color=look.colour, label=label)
    look, w = MDP_LOOKS["random MDPs"], results["random/expert/values"]
    rows = [i for i, weight in enumerate(w) if weight > 0]
    spread = _spread(results, "expert/threshold")
    plotting.band(ax, list(w[rows]), [spread[i] for i in rows], "random MDPs, 5 % to 95 %", look)
    ax.set_xlabel("weight w of uniform data in expert data")
    ax.set_ylabel("largest safe error level ε*")
    ax.set_title("At w = 0, no error level is safe")
    ax.legend(fontsize=9, loc="lower right")
    ax = axes[0, 1]
    spread = _spread(results, "expert/share_of_uniform")
    ratio = [tuple(x / w[i] for x in spread[i]) for i in rows]
    plotting.band(ax, list(w[rows]), ratio, f"{int(results['seeds'])} random MDPs, L = 0.5", look)
    ax.axhline(1, color=plotting.NEUTRAL, linestyle="--", linewidth=1.2,
               label="in proportion (concavity: never below)")  # fmt: skip
    ax.set_xscale("log")
    ax.set_ylim(0, max(2.0, 1.1 * max(high for _, _, high in ratio)))
    ax.set_xlabel("weight w of uniform data in expert data")
    ax.set_ylabel("ε* / (w ε* of uniform data)")
    ax.set_title("A little of everything helps only a little")
    ax.legend(fontsize=9, loc="lower right")
    return fig


def sampled(results: Results) -> Figure:
    """Learned rewards stay below the worst case; certificates from samples hold."""
    kinds = [str(kind) for kind in results["data"]]
    sizes = results["sizes"]
    fig, axes = plotting.figure(2, len(kinds), height=5.8)
    for column, kind in enumerate(kinds):
        part, look = f"sampled/{kind}/", SAMPLE_LOOKS[kind]
        ax = axes[0, column]
        error, regret = results[part + "error"].ravel(), results[part + "regret"].ravel()
        worst = results[part + "worst"].ravel()
        order = np.argsort(error, kind="stable")
        ax.step(error[order], worst[order], where="post", color="black", linewidth=1.4,
                label="worst case W(error)")  # fmt: skip
        ax.plot(error, regret, linestyle="none", color=look.colour, marker=look.marker,
                markersize=3, label="learned rewards")  # fmt: skip
        ax.set_xscale("log")
        ax.set_ylim(-0.05, 1.08)
        ax.set_xlabel("error of the learned reward")
        ax.set_ylabel("normalised regret")
        ax.set_title({"uniform": "Uniform data", "expert": "Expert + 10 % uniform",
                      "design": "Best distribution D*"}[kind])  # fmt: skip
        ax = axes[1, column]
        exact = float(results[part + "exact"][0])
        low, high = (results[part + f"margin_{side}"] for side in ("low", "high"))
        for rows, line in ((low, "-"), (high, "--")):
            middle = np.median(rows, axis=0)
            ax.fill_between(sizes, rows.min(axis=0), rows.max(axis=0), color=look.colour,
                            alpha=0.15, linewidth=0)  # fmt: skip
            ax.plot(sizes, middle, color=look.colour, linestyle=line,
                    label=f"{'lower' if line == '-' else 'upper'} confidence bound")  # fmt: skip
        ax.axhline(exact, color="black", linewidth=1.4, label="exact ε*")
        ax.set_xscale("log")
        ax.set_ylim(0, 3.2 * exact)
        ax.set_xlabel("samples")
        ax.set_ylabel("threshold ε* at L = 0.25")
    axes[0, 0].legend(fontsize=8, loc="upper left")
    axes[1, 0].legend(fontsize=8, loc="upper right")
    seeds = results[f"sampled/{kinds[0]}/error"].shape[0]
    level = 100 * float(results["confidence"])
    title = f"Three by two, {seeds} data sets of each size (bands: all of them)"
    fig.suptitle(f"{title}, {level:g} % confidence; errors as shares of range R",
                 x=0.01, ha="left", fontsize="medium")  # fmt: skip
    return fig


def gym(results: Results) -> Figure:
    """Safe error levels of gymnasium's tables: bounds, exact values, a policy that fails."""
    names = [str(name) for name in results["environments"]]
    fig, axes = plotting.figure(1, len(names), height=3.9)
    rows = [str(data) for data in results["gym_data"]]
    marks = (("paper", "paper's bound"), ("tight", "our bound"), ("cells", "bound by cells"),
             ("exact", "exact ε*"), ("upper", "a bad policy's level"))  # fmt: skip
    for ax, name in zip(axes[0], names, strict=True):
        part = f"gym/{name.lower()}/"
        for row in range(len(rows)):
            low, high = results[part + "tight"][row], results[part + "upper"][row]
            ax.hlines(row, max(low, 1e-9), max(high, 1e-9), color="#BBBBBB", linewidth=5, zorder=1)
        for key, label in marks:
            look, values = BOUND_LOOKS[label], results[part + key]
            known = np.isfinite(values) & (values > 1e-9)
            ax.plot(values[known], np.arange(len(rows))[known], linestyle="none", markersize=8,
                    color=look.colour, marker=look.marker, label=label)  # fmt: skip
        ax.set_xscale("log")
        ax.set_yticks(range(len(rows)), rows if ax is axes[0, 0] else [""] * len(rows))
        ax.set_ylim(len(rows) - 0.5, -0.5)
        ax.set_xlabel(EPS)
        states, actions = (int(n) for n in results[part + "shape"])
        ax.set_title(f"{name}: {states} × {actions}")
    plotting.legend_outside(fig)
    gamma, level = float(results["gym_gamma"]), float(results["gym_level"])
    fig.suptitle(f"γ = {gamma:g}, L = {level:g}; states × actions, the end of an episode included",
                 x=0.01, ha="left", fontsize="medium")  # fmt: skip
    return fig


def gains(results: Results) -> Figure:
    """What raises the threshold: the best data instead of uniform ones, a bounded reward."""
    fig, axes = plotting.figure(1, 2, height=4.4)
    panels = (
        ("design", "over_uniform", "ε* of the best D / ε* of uniform D", "Designed data"),
        ("boxed", "over_free", "ε* within the range of R / ε* without bounds", "A bounded reward"),
    )
    for ax, (check, name, xlabel, title) in zip(axes[0], panels, strict=True):
        levels = results[f"random/{check}/values"]
        shades = plotting.looks(*(f"L = {level:g}" for level in levels))
        for row, (label, look) in enumerate(shades.items()):
            _distribution(ax, results, f"{check}/{name}", row, label, look)
        ax.axvline(1, color=plotting.NEUTRAL, linestyle="--", linewidth=1.2)
        ax.set_xscale("log")
        ax.set_xlabel(xlabel)
        ax.set_ylabel("share of MDPs below")
        ax.set_title(f"{title}, {int(results['seeds'])} random MDPs")
        ax.legend(fontsize=9, loc="lower right")
    return fig


DRAWINGS: dict[str, tuple[Callable[[Results], Figure], str]] = {
    "coverage": (coverage, "exact/curve/data/errors"),
    "support": (support, "exact/support/mass"),
    "arms": (arms, "exact/arms/n"),
    "polytope": (polytope, "exact/simplex/corners"),
    "penalty": (penalty, "exact/penalty/grid"),
    "rlhf": (rlhf, "exact/rlhf/lams"),
    "errors": (errors, "exact/choices/counts"),
    "expert": (expert, "exact/expert/weights"),
    "sampled": (sampled, "data"),
    "gym": (gym, "environments"),
    "gains": (gains, "random/boxed/over_free"),
}
"""Every figure, and an array that it needs."""
