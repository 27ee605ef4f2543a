"""Choosing runs out of the results, and numbers with intervals from them.

Circuit statistics are over *solved* networks, those that answer all n^2 pairs correctly; how many
there are, of how many, goes with every number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Real, Shaped

from papers.modular_crt import method
from shared import stats
from shared.experiment.spec import Estimate, Results

Array = np.ndarray
SEED = 20250518  # of bootstrap resampling; any number does
FEWEST = 3  # solved networks below which a mean has no useful interval and nothing is decided


def rows(results: Results, study: str, **fields: Any) -> Int[Array, " runs"]:
    """Runs of a study whose network has these fields: `rows(r, "main", architecture="mlp")`."""
    wanted = results[f"study/{study}"]
    network, seed = results["run/network"], results["run/seed"]
    found = np.zeros(len(network), bool)
    first = int(seed.min()) if len(seed) else 0
    for index, seeds in wanted:
        if all(_same(results[f"network/{name}"][index], v) for name, v in fields.items()):
            found |= (network == index) & (seed < first + seeds)
    return np.flatnonzero(found)


def _same(value: Any, wanted: Any) -> bool:
    return bool(np.isclose(value, wanted)) if isinstance(wanted, float) else bool(value == wanted)


def solved(results: Results, runs: Int[Array, " runs"]) -> Bool[Array, " runs"]:
    """Which runs answer every pair correctly."""
    return results["run/accuracy"][runs] == 1.0


def settings(results: Results, study: str, field: str) -> list[Any]:
    """The values of one field among a study's networks, in order, each once."""
    values = results[f"network/{field}"][results[f"study/{study}"][:, 0]]
    return list(dict.fromkeys(values.tolist()))


def column(
    results: Results, name: str, runs: Int[Array, " runs"], *, unsolved: bool = False
) -> Float[Array, " kept"]:
    """`run/<name>` of the solved runs among these (or of all), without those that have none."""
    kept = runs if unsolved else runs[solved(results, runs)]
    values = np.asarray(results[f"run/{name}"][kept], np.float64)
    return values[np.isfinite(values)]


def probe(results: Results, name: str, runs: Int[Array, " runs"]) -> Float[Array, "kept ..."]:
    """`probe/<name>` of the solved runs among these."""
    kept = set(runs[solved(results, runs)].tolist())
    at = [i for i, run in enumerate(results["probe/run"]) if int(run) in kept]
    return np.asarray(results[f"probe/{name}"], np.float64)[at]


def mean(values: Real[Array, " runs"], label: str, unit: str = "") -> Estimate:
    """Mean with its bootstrap interval over networks."""
    return stats.bootstrap(values, stats.mean, seed=SEED).to_estimate(label, unit=unit)


def gap(x: Real[Array, " x"], y: Real[Array, " y"], label: str, unit: str = "") -> Estimate:
    """Mean of x minus mean of y over independent networks."""
    found = stats.difference(x, y, stats.mean, seed=SEED)
    return found.to_estimate(label, n=min(len(x), len(y)), unit=unit)


def slope(x: Real[Array, " runs"], y: Real[Array, " runs"], label: str, unit: str = "") -> Estimate:
    """Least-squares slope of y on x with its bootstrap interval over runs."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    rng = np.random.default_rng(SEED)
    pick = rng.integers(0, len(x), size=(2000, len(x)))
    slopes = _slope(x[pick], y[pick])
    value = float(_slope(x[None], y[None])[0])
    low, high = np.nanquantile(slopes, [0.025, 0.975])
    return Estimate(value, float(low), float(high), label, unit, len(x))


def _slope(x: Float[Array, "r runs"], y: Float[Array, "r runs"]) -> Float[Array, " r"]:
    centred = x - x.mean(axis=1, keepdims=True)
    square = (centred**2).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(square > 0, (centred * y).sum(axis=1) / square, np.nan)


def share(hits: Bool[Array, " runs"], label: str) -> Estimate:
    """A proportion of independent networks with its Wilson interval."""
    n, p = len(hits), float(np.mean(hits))
    z = 1.959964
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    low, high = float(middle - half), float(middle + half)
    return Estimate(p, max(0.0, low), min(1.0, high), label, n=n)


def missed(results: Results, study: str) -> Estimate:
    """How many networks of a study miss 100 % and are left out of its statistics."""
    runs = rows(results, study)
    total = len(runs)
    lost = int(total - solved(results, runs).sum())
    return Estimate.exact(lost, f"networks of {total} below 100 %, left out")


def enough(*samples: Sequence[float] | Array) -> bool:
    """Whether every sample has the fewest networks that a claim is decided on."""
    return all(len(sample) >= FEWEST for sample in samples)


# Counts of frequencies and their thresholds -------------------------------------------------------


def growth(
    results: Results, architecture: str, name: str = "count"
) -> tuple[Int[Array, " runs"], Float[Array, " runs"]]:
    """n and the number of frequencies of every solved run of the growth study."""
    runs = rows(results, "scaling", architecture=architecture)
    kept = runs[solved(results, runs)]
    n = results["network/modulus"][results["run/network"][kept]]
    return n, np.asarray(results[f"run/{name}"][kept], np.float64)


def growth_fit(n: Int[Array, " runs"], counts: Float[Array, " runs"]) -> Mapping[str, float]:
    """`method.log_fit` of the means at each n; of means that do not vary, a flat line of R^2 0."""
    each = np.unique(n)
    means = np.array([counts[n == value].mean() for value in each])
    if np.ptp(means) == 0:
        flat = {"alpha": float(means[0]), "alpha_linear": float(means[0])}
        return flat | dict.fromkeys(("beta", "beta_linear", "r2_log", "r2_linear"), 0.0)
    return method.log_fit(each, means)


def is_prime(n: int) -> bool:
    """Whether n is a prime number."""
    return n > 1 and all(n % p for p in range(2, int(n**0.5) + 1))


def interval_of(
    statistic: Callable[[Array], float], values: Shaped[Array, "runs ..."], label: str
) -> Estimate:
    """Any statistic of rows of `values` (networks first) with its bootstrap interval."""
    rng = np.random.default_rng(SEED)
    picks = rng.integers(0, len(values), size=(1000, len(values)))
    draws = np.array([statistic(values[pick]) for pick in picks])
    draws = draws[np.isfinite(draws)]
    low, high = np.quantile(draws, [0.025, 0.975]) if len(draws) else (np.nan, np.nan)
    return Estimate(float(statistic(values)), float(low), float(high), label, n=len(values))


# Which frequencies are learned --------------------------------------------------------------------


def learned(
    results: Results, n: int, depth: int, least: int = 3
) -> tuple[Int[Array, "runs F"], Float[Array, "runs F"]]:
    """Cluster sizes and mean R^2 by frequency, of solved runs; clusters below 1 % or 3 are 0."""
    runs = rows(results, "frequencies", modulus=n, depth=depth)
    kept = set(runs[solved(results, runs)].tolist())
    at = [i for i, run in enumerate(results["spectrum/run"]) if int(run) in kept]
    sizes = results["spectrum/sizes"][at][:, : n // 2]
    alive = sizes.sum(axis=1, keepdims=True)
    major = sizes >= np.maximum(least, 0.01 * alive)
    return np.where(major, sizes, 0), np.asarray(results["spectrum/r2"], float)[at][:, : n // 2]


def uniformity(chosen: Bool[Array, "runs F"], seed: int = SEED) -> tuple[float, float]:
    """Chi-square of how often each frequency is learned, and its p-value.

    Under the null every network draws its number of frequencies uniformly without replacement.
    """
    rng = np.random.default_rng(seed)
    counts = chosen.sum(axis=1)
    expected = counts.sum() / chosen.shape[1]

    def statistic(sample: Bool[Array, "... runs F"]) -> Float[Array, ...]:
        return ((sample.sum(axis=-2) - expected) ** 2 / expected).sum(axis=-1)

    ranks = rng.random((2000, *chosen.shape)).argsort(axis=-1).argsort(axis=-1)
    null = statistic(ranks < counts[:, None])
    observed = float(statistic(chosen))
    return observed, float((1 + (null >= observed - 1e-9).sum()) / (1 + len(null)))


def ratio_shares(chosen: Bool[Array, "runs F"], n: int) -> Float[Array, "runs F"]:
    """For prime n: of each run's ordered pairs of frequencies, how many have each ratio f'/f.

    Ratios are taken modulo n and up to sign, 1 ... floor(n/2); column r - 1 counts ratio r.
    """
    counts = np.zeros(chosen.shape)
    for run, row in enumerate(chosen):
        freqs = np.flatnonzero(row) + 1
        for f in freqs:
            inverse = pow(int(f), -1, n)
            for other in freqs[freqs != f]:
                ratio = int(other) * inverse % n
                counts[run, min(ratio, n - ratio) - 1] += 1
    return counts
