"""What training leaves behind: learned costs compared with the true wall, and scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from shared.experiment.spec import Estimate, Results

Array = np.ndarray
MAP_BINS = (41, 31)  # of the constrained coordinate, of its velocity
PROFILE_BINS = 24
MAP_RANGES = {
    "blocked_point": ((-4.0, 4.0), (-3.0, 3.0)),
    "biased_cartpole": ((-0.06, 0.04), (-0.3, 0.3)),
}


def grid(world: str) -> tuple[Float[Array, " x"], Float[Array, " v"]]:
    """Positions and velocities of the cost's map."""
    (low, high), (slow, fast) = MAP_RANGES[world]
    return np.linspace(low, high, MAP_BINS[0]), np.linspace(slow, fast, MAP_BINS[1])


def auc(scores: Float[Array, " n"], positive: Bool[Array, " n"]) -> float:
    """P(score of a positive > score of a negative), ties counting half; NaN without both."""
    from scipy.stats import rankdata

    pos, n = int(positive.sum()), len(scores)
    if pos in (0, n):
        return float("nan")
    ranks = rankdata(scores)
    return float((ranks[positive].sum() - pos * (pos + 1) / 2) / (pos * (n - pos)))


def profile(
    cost: Float[Array, " n"], x: Float[Array, " n"], edges: Float[Array, " bins_1"]
) -> Float[Array, " bins"]:
    """Mean cost in each bin of x; NaN where no sample is."""
    place = np.digitize(x, edges) - 1
    found = np.full(len(edges) - 1, np.nan)
    for i in range(len(found)):
        if np.any(place == i):
            found[i] = cost[place == i].mean()
    return found


def recovered_wall(
    means: Float[Array, " bins"], edges: Float[Array, " bins_1"], wall: float
) -> float:
    """Where the profile, followed from the allowed side, first exceeds half of its far level.

    The far level is its mean beyond the true wall. NaN where it never rises, or has no level.
    """
    centres = (edges[:-1] + edges[1:]) / 2
    seen = np.isfinite(means)
    beyond = seen & (centres < wall)
    if not beyond.any() or means[beyond].mean() <= 0:
        return float("nan")
    half = means[beyond].mean() / 2
    for i in np.flatnonzero(seen)[::-1]:
        if means[i] > half:
            return float(edges[i + 1])
    return float("nan")


# --- Scores ---------------------------------------------------------------------------------------


def scores(
    results: Results, name: str, metric: str = "feasible"
) -> Float[Array, "runs worlds"] | None:
    """[seeds, worlds] of a variant: reward normalised by the expert's mean return, or violation."""
    names = [str(v) for v in results["variants"]]
    if name not in names or f"main/{metric}" not in results:
        return None
    values = results[f"main/{metric}"][:, names.index(name)].T
    return values / results["expert"] if metric == "feasible" else values


def against(
    results: Results, ours: str, rival: str, metric: str = "feasible", seed: int = 0
) -> Estimate | None:
    """Difference of interquartile means, ours minus rival's."""
    from shared import stats

    x, y = scores(results, ours, metric), scores(results, rival, metric)
    if x is None or y is None:
        return None
    unit = "of the expert's return" if metric == "feasible" else "of episodes"
    found = stats.difference(x, y, stats.iqm, seed=seed)
    return found.to_estimate(f"{metric}: {ours} - {rival}", unit=unit)


def aggregate(results: Results, name: str, metric: str = "feasible") -> Estimate | None:
    """Interquartile mean of a variant."""
    from shared import stats

    x = scores(results, name, metric)
    if x is None:
        return None
    unit = "of the expert's return" if metric == "feasible" else "of episodes"
    return stats.bootstrap(x, seed=0).to_estimate(f"{metric}: {name}", unit=unit)


def rows(values: Float[Array, " seeds"], label: str, unit: str = "") -> Estimate:
    """Mean over seeds with its bootstrap interval."""
    from shared import stats

    return stats.bootstrap(values, stats.mean, seed=0).to_estimate(label, unit=unit)


def gap_of(
    x: Float[Array, " seeds"], y: Float[Array, " seeds"], label: str, unit: str = ""
) -> Estimate:
    """Difference of means with its bootstrap interval."""
    from shared import stats

    return stats.difference(x, y, seed=0).to_estimate(label, unit=unit)


def complete(found: Sequence[Estimate | None]) -> list[Estimate] | None:
    """The estimates, or None where one could not be measured."""
    return None if any(e is None for e in found) else [e for e in found if e is not None]
