"""Statistics for a handful of training runs: aggregates, their intervals, and what n runs can show.

Scores are arrays of shape [runs, tasks] (a task is an asset, a game, a frequency ...), or a list
with one array of runs per task where tasks have different numbers of runs, or [runs] for one task.
Intervals are bootstrap intervals that resample the runs within each task independently, because
runs are random and tasks are not (Agarwal et al., 2021, "Deep Reinforcement Learning at the Edge
of the Statistical Precipice", sections 4.1 and 4.3). Every random number comes from the `seed`
argument; the global generators are neither read nor changed.

    iqm, optimality_gap              aggregates of pooled scores, usable as `statistic`
    bootstrap, difference            interval of an aggregate, and of x minus y
    paired_difference                x minus y run by run (common seeds), with p-values
    probability_of_improvement       P(X > Y) + P(X = Y) / 2, averaged over tasks
    performance_profile              fraction of runs above each threshold
    detectable_difference, runs_needed, power    what a number of runs can show (t-test)
    loglog_slope                     exponent of a power law

Units are those of the scores. One run has no spread that one could estimate: an interval from a
task with a single run is (-inf, inf), never the point itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Real

from shared.experiment.spec import Estimate

Array = np.ndarray
Scores = Real[Array, "..."] | Sequence[Real[Array, " _"]] | Sequence[Sequence[float]]
"""[runs, tasks], [runs], or one sequence of runs per task."""

Statistic = Callable[..., Any]
"""`statistic(x, axis=-1)` -> the aggregate along that axis, for any number of leading axes."""

Method = Literal["percentile", "bca"]
BATCH_ELEMENTS = 2**22  # resampled numbers held at once: 32 MiB


@dataclass(frozen=True)
class Interval:
    """A point estimate with its interval at `level`; n independent runs are behind it."""

    value: float
    low: float
    high: float
    level: float = 0.95
    n: int | None = None

    def to_estimate(
        self,
        label: str = "",
        n: int | None = None,
        unit: str = "",
        detectable: float | None = None,
    ) -> Estimate:
        """This interval as a line of the claims ledger; `n` replaces the counted runs."""
        runs = self.n if n is None else n
        return Estimate(self.value, self.low, self.high, label, unit, runs, self.level, detectable)


@dataclass(frozen=True)
class PairedDifference:
    """x minus y, run by run.

    Attributes:
        interval: the aggregate of the differences with its bootstrap interval.
        p_permutation: two-sided sign-flip permutation test of a mean difference of zero.
        p_sign: two-sided sign test (ties left out); needs no symmetry, has less power.
        detectable: true difference that this many pairs find with 80 % power.
    """

    interval: Interval
    p_permutation: float
    p_sign: float
    detectable: float


def mean(x: Real[Array, "..."], axis: int | None = None) -> Any:
    """Arithmetic mean; here so that an aggregate can be passed by name beside `iqm`."""
    return np.mean(_numbers(x), axis=axis)


def iqm(x: Real[Array, "..."], axis: int | None = None) -> Any:
    """Interquartile mean: the mean of what is left when floor(n/4) runs are cut off at each end.

    Less noisy than the median, less moved by outliers than the mean. With fewer than four runs it
    is the mean. `axis=None` pools everything.
    """
    from scipy.stats import trim_mean

    x = _numbers(x)
    return trim_mean(x.ravel() if axis is None else x, 0.25, axis=axis or 0)


def optimality_gap(x: Real[Array, "..."], axis: int | None = None, *, target: float = 1.0) -> Any:
    """Mean shortfall from `target`, `mean(max(target - x, 0))`; exceeding it earns nothing."""
    return np.mean(np.maximum(target - _numbers(x), 0.0), axis=axis)


def bootstrap(
    values: Scores,
    statistic: Statistic = iqm,
    *,
    seed: int,
    level: float = 0.95,
    replicates: int = 2000,
    method: Method = "percentile",
    shared_seeds: bool = False,
) -> Interval:
    """Stratified bootstrap interval of `statistic` over all runs of all tasks, pooled.

    Args:
        values: [runs, tasks], [runs], or a list of [runs_t]; every run counts the same.
        statistic: called as `statistic(pooled, axis=-1)` with leading axes.
        method: `percentile`, or `bca` (bias-corrected, accelerated: better for skewed statistics).
        shared_seeds: run i of every task drew the same random numbers, so that runs of different
            tasks are not independent: resample i for all tasks together. Otherwise each task's runs
            are resampled by themselves.

    Raises:
        ValueError: no scores, NaN or infinite scores, level outside (0, 1), too few replicates.
    """
    strata = _strata(values)
    return _interval(
        strata, _pooled(statistic), seed, level, replicates, method, joint=shared_seeds
    )


def difference(
    x: Scores,
    y: Scores,
    statistic: Statistic = mean,
    *,
    seed: int,
    level: float = 0.95,
    replicates: int = 2000,
) -> Interval:
    """statistic(x) - statistic(y) for independent runs, with a stratified bootstrap interval."""
    xs, ys = _strata(x), _strata(y)
    aggregate = _pooled(statistic)

    def gap(*samples: Array, axis: int = -1) -> Any:
        return aggregate(*samples[: len(xs)], axis=axis) - aggregate(*samples[len(xs) :], axis=axis)

    return _interval([*xs, *ys], gap, seed, level, replicates, "percentile")


def paired_difference(
    x: Scores,
    y: Scores,
    statistic: Statistic = mean,
    *,
    seed: int,
    level: float = 0.95,
    replicates: int = 2000,
    shared_seeds: bool = False,
) -> PairedDifference:
    """x - y where run i of both used the same seed (or the same data): pairs must match.

    The interval resamples pairs within each task; both tests and the detectable difference treat
    all pairs as independent. With `shared_seeds` (see `bootstrap`) the interval resamples seeds,
    and the others see one number per seed, its mean over tasks.

    Raises:
        ValueError: shapes differ, or the scores cannot be used (see `bootstrap`).
    """
    xs, ys = _strata(x), _strata(y)
    if [len(task) for task in xs] != [len(task) for task in ys]:
        raise ValueError(
            "Paired scores need the same runs of the same tasks on both sides; got "
            f"{[len(task) for task in xs]} and {[len(task) for task in ys]} runs per task."
        )
    gaps = [a - b for a, b in zip(xs, ys, strict=True)]
    interval = _interval(
        gaps, _pooled(statistic), seed, level, replicates, "percentile", joint=shared_seeds
    )
    pooled = np.mean(gaps, axis=0) if shared_seeds else np.concatenate(gaps)
    permutation, sign = _p_values(pooled, seed, max(replicates, 9999))
    if len(pooled) < 2:
        return PairedDifference(interval, permutation, sign, np.inf)
    sd = float(np.std(pooled, ddof=1))
    detectable = detectable_difference(sd, len(pooled), paired=True)
    return PairedDifference(interval, permutation, sign, detectable)


def probability_of_improvement(
    x: Scores,
    y: Scores,
    *,
    seed: int,
    level: float = 0.95,
    replicates: int = 2000,
    shared_seeds: bool = False,
) -> Interval:
    """P(X > Y) + P(X = Y) / 2 for a run of x and a run of y on one task, averaged over tasks.

    One half means no difference. It is the Mann-Whitney statistic divided by the number of pairs;
    it says how often x wins, not by how much. (Agarwal et al., 2021, section 4.3.) With
    `shared_seeds` run i of x and run i of y, in every task, are resampled together.
    """
    xs, ys = _strata(x), _strata(y)
    if len(xs) != len(ys):
        raise ValueError(f"Both sides need the same tasks; got {len(xs)} and {len(ys)} tasks.")

    def chance(*samples: Array, axis: int = -1) -> Any:
        pairs = zip(samples[: len(xs)], samples[len(xs) :], strict=True)
        wins = [_wins(np.moveaxis(a, axis, -1), np.moveaxis(b, axis, -1)) for a, b in pairs]
        return np.mean(wins, axis=0)

    # _wins holds runs_x * runs_y comparisons per replicate.
    weight = max(len(b) for b in ys)
    strata = [*xs, *ys]
    return _interval(
        strata, chance, seed, level, replicates, "percentile", weight, joint=shared_seeds
    )


def performance_profile(
    values: Scores,
    thresholds: Real[Array, " thresholds"],
    *,
    seed: int,
    level: float = 0.95,
    replicates: int = 2000,
) -> tuple[Interval, ...]:
    """Fraction of runs that score above each threshold, with pointwise intervals."""
    strata = _strata(values)

    def above(threshold: float) -> Statistic:
        return _pooled(lambda x, axis: np.mean(x > threshold, axis=axis))

    return tuple(
        _interval(strata, above(float(tau)), seed, level, replicates, "percentile")
        for tau in _numbers(thresholds)
    )


def power(effect: float, sd: float, n: int, *, paired: bool = False, level: float = 0.95) -> float:
    """Chance that a two-sided t-test at 1 - level finds a true difference `effect`.

    Args:
        effect: the true difference. sd: standard deviation of one run (of one pair's difference
            where `paired`), in the same units.
        n: runs on each side, or pairs.
    """
    _positive(sd=sd)
    _two_runs(n)
    noncentrality = abs(effect) / sd * np.sqrt(n if paired else n / 2)
    return _t_power(noncentrality, n - 1 if paired else 2 * n - 2, level)


def detectable_difference(
    sd: float, n: int, *, paired: bool = False, power: float = 0.8, level: float = 0.95
) -> float:
    """Smallest true difference that n runs a side (or n pairs) find with the given power.

    Arguments as in `power`; exact for normal scores through the noncentral t distribution.
    """
    from scipy.optimize import brentq

    if sd == 0:
        return 0.0
    _positive(sd=sd)
    _two_runs(n)
    _fraction(power=power)
    dof = n - 1 if paired else 2 * n - 2
    if power <= 1 - level:
        return 0.0
    upper = 4.0
    while _t_power(upper, dof, level) < power:
        upper *= 2
    found: Any = brentq(lambda delta: _t_power(delta, dof, level) - power, 0.0, upper, xtol=1e-10)
    return float(found) * sd / float(np.sqrt(n if paired else n / 2))


def runs_needed(
    effect: float, sd: float, *, paired: bool = False, power: float = 0.8, level: float = 0.95
) -> int:
    """Runs on each side (or pairs) that find a true difference `effect` with the given power."""
    _positive(effect=effect, sd=sd)
    _fraction(power=power)
    enough = 2
    while detectable_difference(sd, enough, paired=paired, power=power, level=level) > effect:
        enough *= 2
    too_few = enough // 2
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        finds = detectable_difference(sd, middle, paired=paired, power=power, level=level) <= effect
        too_few, enough = (too_few, middle) if finds else (middle, enough)
    return enough


def loglog_slope(x: Real[Array, " n"], y: Real[Array, " n"], *, level: float = 0.95) -> Interval:
    """Exponent b of y = a x^b by least squares of log y on log x, with its t interval.

    Raises:
        ValueError: fewer than three points, a value that is not positive, or all x equal.
    """
    from scipy.stats import linregress, t

    x, y = _numbers(x), _numbers(y)
    _fraction(level=level)
    if len(x) < 3:
        raise ValueError(f"A slope with an interval needs three or more points; got {len(x)}.")
    if np.any(x <= 0) or np.any(y <= 0) or np.all(x == x[0]):
        raise ValueError("A log-log slope needs positive values and at least two different x.")
    fit: Any = linregress(np.log(x), np.log(y))
    half = float(t.ppf(0.5 + level / 2, len(x) - 2) * fit.stderr)
    slope = float(fit.slope)
    return Interval(slope, slope - half, slope + half, level, len(x))


def _interval(
    strata: Sequence[Array],
    statistic: Statistic,
    seed: int,
    level: float,
    replicates: int,
    method: Method,
    weight: int = 1,
    joint: bool = False,
) -> Interval:
    """Bootstrap `statistic(*strata, axis=-1)`; strata are resampled independently or jointly."""
    from scipy import stats

    _fraction(level=level)
    if replicates < 100:
        raise ValueError(f"An interval needs at least 100 bootstrap replicates; got {replicates}.")
    sizes = [len(stratum) for stratum in strata]
    if joint and len(set(sizes)) > 1:
        raise ValueError(f"Shared seeds need the same runs of every task; got {sizes} runs.")
    n = sum(sizes)
    value = float(statistic(*strata, axis=-1))
    if min(sizes) < 2:
        return Interval(value, -np.inf, np.inf, level, n)
    if all(np.all(stratum == stratum[0]) for stratum in strata):
        return Interval(value, value, value, level, n)
    result: Any = stats.bootstrap(
        strata,
        statistic,
        n_resamples=replicates,
        batch=max(1, BATCH_ELEMENTS // (n * weight)),
        vectorized=True,
        paired=joint and len(strata) > 1,
        axis=-1,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    # BCa is undefined (and warns) where all replicates agree.
    if method == "bca" and np.ptp(result.bootstrap_distribution) > 0:
        result = stats.bootstrap(
            strata,
            statistic,
            n_resamples=0,
            bootstrap_result=result,
            vectorized=True,
            paired=joint and len(strata) > 1,
            axis=-1,
            confidence_level=level,
            method="BCa",
        )
    limits = result.confidence_interval
    return Interval(value, float(limits.low), float(limits.high), level, n)


def _pooled(statistic: Statistic) -> Statistic:
    """The statistic of all strata joined into one sample."""
    return lambda *samples, axis=-1: statistic(np.concatenate(samples, axis=axis), axis=axis)


def _wins(x: Real[Array, "*b n"], y: Real[Array, "*b m"]) -> Any:
    """Fraction of pairs in which x is above y, ties counting half."""
    above = x[..., :, None] > y[..., None, :]
    equal = x[..., :, None] == y[..., None, :]
    return np.mean(above + 0.5 * equal, axis=(-2, -1))


def _p_values(gaps: Real[Array, " pairs"], seed: int, resamples: int) -> tuple[float, float]:
    """Two-sided sign-flip permutation test (exact up to 13 pairs) and sign test of gaps at 0."""
    from scipy.stats import binomtest, permutation_test

    if len(gaps) < 2 or not np.any(gaps):
        return 1.0, 1.0
    flips: Any = permutation_test(
        (gaps,),
        lambda d, axis: np.mean(d, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        rng=np.random.default_rng(seed),
        axis=-1,
    )
    signs = binomtest(int(np.sum(gaps > 0)), int(np.sum(gaps != 0)))
    return float(flips.pvalue), float(signs.pvalue)


def _t_power(noncentrality: float, dof: int, level: float) -> float:
    """P(|T| > critical value) for a noncentral t, whose square is a noncentral F(1, dof).

    scipy's noncentral t returns NaN in its far tail, and its noncentral F is wrong at zero only.
    """
    from scipy.stats import ncf, t

    _fraction(level=level)
    if noncentrality == 0:
        return 1 - level
    critical = t.ppf(0.5 + level / 2, dof)
    return float(ncf.sf(critical**2, 1, dof, noncentrality**2))


def _strata(values: Scores) -> list[Array]:
    """One float64 vector of runs per task, checked."""
    if isinstance(values, Array):
        if values.ndim not in (1, 2):
            raise ValueError(f"Scores have shape [runs] or [runs, tasks]; got {values.shape}.")
        tasks = [values] if values.ndim == 1 else list(values.T)
    else:
        tasks = [np.asarray(task) for task in values]
    if not tasks:
        raise ValueError("There are no scores: no task.")
    for index, task in enumerate(tasks):
        if task.ndim != 1 or task.size == 0:
            raise ValueError(
                f"Task {index} needs a vector with at least one run; got shape {task.shape}."
            )
    return [_numbers(task) for task in tasks]


def _numbers(x: Array) -> Array:
    """As float64, refusing what no statistic is defined for."""
    x = np.asarray(x, dtype=np.float64)
    if x.size == 0:
        raise ValueError("There are no scores: the array is empty.")
    if not np.all(np.isfinite(x)):
        bad = int(np.sum(~np.isfinite(x)))
        raise ValueError(f"Scores must be finite; {bad} of {x.size} are NaN or infinite.")
    return x


def _two_runs(n: int) -> None:
    if n < 2:
        raise ValueError(f"A t-test needs at least two runs; got {n}.")


def _positive(**numbers: float) -> None:
    for name, number in numbers.items():
        if not (np.isfinite(number) and number > 0):
            raise ValueError(f"{name} must be positive and finite; got {number}.")


def _fraction(**numbers: float) -> None:
    for name, number in numbers.items():
        if not 0 < number < 1:
            raise ValueError(f"{name} must lie strictly between 0 and 1; got {number}.")
