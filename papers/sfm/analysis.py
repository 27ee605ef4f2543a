"""Statistics of the imitation runs: aggregates over tasks and seeds, and comparisons.

Scores are mean rewards a step, in [0, 1]: returns over the episode's length, as the paper
normalises (return / 1000). `scores` gives them as [seed, task].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from shared import stats
from shared.experiment.spec import Estimate, Results

Array = np.ndarray
Scores = Float[Array, "seeds tasks"]
LEAST_SEEDS = 3  # with fewer, equal learners often look ordered, so nothing is decided
_AXES = {"imitate": "learners", "family": "families", "variant": "variants"}


def names(results: Results, key: str) -> list[str]:
    """An array of names as a list."""
    return [str(name) for name in results[key]]


def present(results: Results, kind: str, wanted: Sequence[str]) -> bool:
    """Whether all of these were run, with enough seeds."""
    enough = len(results["seeds"]) >= LEAST_SEEDS and f"{kind}/score" in results
    return enough and set(wanted) <= set(names(results, _AXES[kind]))


def scores(results: Results, name: str, kind: str = "imitate") -> Scores:
    """Scores of a learner (kind imitate), a family or a variant."""
    return results[f"{kind}/score"][:, names(results, _AXES[kind]).index(name)].T


def median_of_tasks(values: Scores) -> stats.Interval:
    """Median over tasks of each task's mean, resampled within tasks (as rliable has it)."""
    runs, tasks = values.shape
    rows = np.random.default_rng(0).integers(0, runs, (2000, runs, tasks))
    means = np.take_along_axis(values[None], rows, axis=1).mean(axis=1)
    low, high = np.quantile(np.median(means, axis=1), [0.025, 0.975])
    value = float(np.median(values.mean(axis=0)))
    return stats.Interval(value, float(low), float(high), 0.95, values.size)


def aggregates(values: Scores) -> dict[str, stats.Interval]:
    """Median, IQM, mean and optimality gap with stratified bootstrap intervals."""
    return {
        "median": median_of_tasks(values),
        "IQM": stats.bootstrap(values, stats.iqm, seed=0),
        "mean": stats.bootstrap(values, stats.mean, seed=0),
        "optimality gap": stats.bootstrap(values, stats.optimality_gap, seed=0),
    }


def paired(x: Scores, y: Scores, label: str) -> Estimate:
    """Mean of x - y, seed by seed; seeds share their demonstration."""
    found = stats.paired_difference(x, y, stats.mean, seed=0)
    return found.interval.to_estimate(label, detectable=found.detectable)


def mean(values: Scores, label: str) -> Estimate:
    """The mean score with its interval."""
    return stats.bootstrap(values, stats.mean, seed=0).to_estimate(label)
