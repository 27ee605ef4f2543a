"""Scores, their intervals, and the differences that the claims judge.

A run's score is its return between a random policy's (0) and a reference (1), so that games can be
pooled; scores of a cell are [game, seed]. Aggregates are interquartile means (IQM) over all runs of
all games, intervals stratified bootstrap intervals (Agarwal et al. 2021); of metrics, means.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from shared import stats
from shared.experiment.spec import Estimate, Results

Array = np.ndarray
SEED = 0
NORMALISERS: dict[str, tuple[float, float]] = {
    "cartpole": (22.0, 500.0),
    "breakout": (0.4, 4.0),
    "asterix": (0.4, 1.2),
    "space_invaders": (4.0, 16.0),
    "freeway": (0.0, 50.0),
    "seaquest": (0.1, 5.0),
}
"""Return of a random policy, and the reference: about what 8 x 128 reaches in 262,144 steps."""
PANELS = ("feature_rank", "dormant_eps1e-5", "weight_norm", "grad_kurtosis_log", "policy_variance",
          "ess", "coverage")  # fmt: skip
"""Metrics of which curves are kept."""
WORTH = 0.1
"""The difference that an experiment should be able to find, as a share of the default's score."""


def derived(results: Results) -> dict[str, Array]:
    """Scores, IQMs and metric curves with intervals, by cell.

    `iqm/<cell>` and `iqm_curve/<cell>` are over all games of a cell; `common/<cell>` and the
    metrics over the games that all cells have (`common_games`), so that a figure can compare them.
    """
    names = [key.removeprefix("final/") for key in results if key.startswith("final/")]
    own = [name for name in names if not name.endswith("-rnd")]
    common = min(len(results[f"final/{name}"]) for name in own)
    found: dict[str, Array] = {"common_games": results["games"][:common]}
    for name in names:
        scores = normalised(results, results[f"final/{name}"])
        if f"hns/{name}" in results and np.isfinite(results[f"hns/{name}"]).all():
            scores = results[f"hns/{name}"]
        found[f"score/{name}"] = np.round(scores, 5)
        found[f"iqm/{name}"] = _triple(stats.bootstrap(scores.T, seed=SEED))
        found[f"common/{name}"] = _triple(stats.bootstrap(scores[:common].T, seed=SEED))
        curve = normalised(results, results[f"curve/{name}"])
        if np.isfinite(curve).all():
            points = [stats.bootstrap(curve[..., i].T, seed=SEED, replicates=500)
                      for i in range(curve.shape[-1])]  # fmt: skip
            found[f"iqm_curve/{name}"] = np.stack([_triple(p) for p in points])
    return found | _metric_panels(results, common)


def _metric_panels(results: Results, common: int) -> dict[str, Array]:
    """Mean of each metric at each measurement; t interval from the spread of seeds in a game."""
    from scipy.stats import t

    found = {}
    for key in results:
        if key.startswith("metric_curve/") and key.split("/")[1] in PANELS:
            values = results[key][:common]
            games, seeds, _ = values.shape
            mean = values.mean(axis=(0, 1))
            half = np.full_like(mean, np.inf)
            if seeds > 1:
                error = np.sqrt(values.var(axis=1, ddof=1).mean(axis=0) / (games * seeds))
                half = t.ppf(0.975, games * (seeds - 1)) * error
            found[key.replace("metric_curve/", "panel/")] = np.round(
                np.stack([mean, mean - half, mean + half], axis=1), 6
            )
    return found


def normalised(results: Results, returns: Float[Array, "game ..."]) -> Float[Array, "game ..."]:
    """Returns as scores, game by game; as they are where no reference is known."""
    games = [str(game) for game in results["games"]][: len(returns)]
    rows = [NORMALISERS.get(game, (0.0, 1.0)) for game in games]
    low, high = (
        np.asarray(x).reshape(-1, *[1] * (returns.ndim - 1)) for x in zip(*rows, strict=True)
    )
    return (returns - low) / (high - low)


def _triple(interval: stats.Interval) -> Array:
    return np.round([interval.value, interval.low, interval.high], 5)


# Differences --------------------------------------------------------------------------------------


def scores(results: Results, name: str, games: int | None = None) -> list[Array]:
    """A cell's scores, a list over its first `games` games."""
    return list(results[f"score/{name}"][:games])


def common_games(results: Results, *names: str) -> int:
    """How many games all of these cells were trained on (always the first ones)."""
    return min(len(results[f"score/{name}"]) for name in names)


def iqm_of(results: Results, name: str, label: str = "", games: int | None = None) -> Estimate:
    """IQM of a cell's scores."""
    return stats.bootstrap(scores(results, name, games), seed=SEED).to_estimate(
        label or f"IQM, {name}"
    )


def gap(
    results: Results, more: str, less: str, label: str = "", games: int | None = None
) -> Estimate:
    """IQM of `more` minus IQM of `less` on the games that both have, with what it could detect.

    Args:
        games: only the first so many, where it stands beside cells that have no more.
    """
    games = min(common_games(results, more, less), games or sys.maxsize)
    x, y = scores(results, more, games), scores(results, less, games)
    found = stats.difference(x, y, stats.iqm, seed=SEED)
    n = min(sum(map(len, x)), sum(map(len, y)))
    detectable = stats.detectable_difference(pooled_sd(x, y), n) if n > 1 else None
    return found.to_estimate(label or f"{more} - {less}", n=n, detectable=detectable)


def gap_of_gaps(results: Results, first: Sequence[str], second: Sequence[str], label: str
                ) -> Estimate:  # fmt: skip
    """(first[0] - first[1]) - (second[0] - second[1]) of IQMs, by the bootstrap."""
    games = common_games(results, *first, *second)
    groups = [scores(results, name, games) for name in (*first, *second)]
    rng = np.random.default_rng(SEED)

    def contrast(draw: bool, replicates: int) -> Array:
        parts = []
        for group in groups:
            picked = [g[rng.integers(len(g), size=(replicates, len(g)))] if draw else g[None]
                      for g in group]  # fmt: skip
            parts.append(stats.iqm(np.concatenate(picked, axis=-1).T, axis=0))
        return (parts[0] - parts[1]) - (parts[2] - parts[3])

    value = float(contrast(False, 1)[0])
    low, high = np.quantile(contrast(True, 2000), [0.025, 0.975])
    n = min(sum(map(len, group)) for group in groups)
    return Estimate(value, float(low), float(high), label, n=n)


def pooled_sd(x: Sequence[Array], y: Sequence[Array]) -> float:
    """Standard deviation of a run within its cell and game."""
    groups = [g for g in (*x, *y) if len(g) > 1]
    if not groups:
        return float("nan")
    squares = sum(((g - g.mean()) ** 2).sum() for g in groups)
    return float(np.sqrt(squares / sum(len(g) - 1 for g in groups)))


def wins(results: Results, more: str, less: str) -> Estimate:
    """P(a run of `more` beats a run of `less` on the same game)."""
    games = common_games(results, more, less)
    x, y = scores(results, more, games), scores(results, less, games)
    found = stats.probability_of_improvement(x, y, seed=SEED)
    return found.to_estimate(f"P({more} > {less})", n=min(sum(map(len, x)), sum(map(len, y))))


def runs_for(results: Results, more: str, less: str) -> Estimate:
    """Runs a side that would find a difference of a tenth of `less`'s score, with 80 % power."""
    games = common_games(results, more, less)
    sd = pooled_sd(scores(results, more, games), scores(results, less, games))
    effect = WORTH * abs(float(stats.iqm(np.concatenate(scores(results, less, games)))))
    needed = stats.runs_needed(effect, sd) if np.isfinite(sd) and sd > 0 < effect else 2
    return Estimate.exact(needed, "runs a side that would find a tenth more")


def slope(results: Results, names: Sequence[str], of: str, label: str) -> Estimate:
    """Least-squares slope of a quantity in log2 N_envs along cells, by the bootstrap over seeds.

    Args:
        of: `score`, or `metric/<name>`.
    """
    groups = [results[f"{of}/{name}"] for name in names]
    games = min(len(group) for group in groups)
    x = np.log2([int(name.partition("x")[0]) for name in names])
    weights = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    rng = np.random.default_rng(SEED)
    means = np.zeros((2001, len(names)))
    for i, group in enumerate(groups):
        rows = group[:games]
        draws = rng.integers(rows.shape[1], size=(2000, *rows.shape))
        resampled = np.take_along_axis(rows[None], draws, axis=2).mean(axis=(1, 2))
        means[:, i] = np.concatenate([[rows.mean()], resampled])
    value, *replicates = means @ weights
    low, high = np.quantile(replicates, [0.025, 0.975])
    n = sum(group[:games].size for group in groups)
    return Estimate(float(value), float(low), float(high), label, n=n)


def metric_gap(results: Results, metric: str, more: str, less: str, label: str) -> Estimate:
    """Mean of a metric in `more` minus in `less`, over games and seeds."""
    x, y = (list(results[f"metric/{metric}/{name}"]) for name in (more, less))
    found = stats.difference(x, y, stats.mean, seed=SEED)
    return found.to_estimate(label, n=min(sum(map(len, x)), sum(map(len, y))))
