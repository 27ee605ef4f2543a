"""Aggregates by hand and against scipy, intervals by their coverage, power by simulation."""

import itertools
import random
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as sps

from shared import stats

RNG = np.random.default_rng
SCORES = RNG(7).normal(size=(10, 3)) + np.array([0.0, 5.0, 50.0])


def within_binomial(successes: int, trials: int, probability: float, sigmas: float = 4.0) -> bool:
    """Whether a count is within `sigmas` standard errors of what the probability predicts."""
    error = np.sqrt(probability * (1 - probability) / trials)
    return abs(successes / trials - probability) < sigmas * error


# --- aggregates -----------------------------------------------------------------------------


def test_iqm_by_hand() -> None:
    # Sorted 1..8: two are cut at each end, mean(3, 4, 5, 6) is left; the outlier does not matter.
    assert stats.iqm(np.array([4, 1, 8, 2, 7, 3, 1000, 5])) == 4.75
    assert stats.iqm(np.array([1.0, 2.0, 9.0])) == 4.0  # fewer than four runs: the mean


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30))
@settings(max_examples=50, deadline=None)
def test_iqm_is_the_trimmed_mean(values: list[float]) -> None:
    x = np.array(values)
    kept = sorted(values)[len(x) // 4 : len(x) - len(x) // 4]
    assert stats.iqm(x) == pytest.approx(np.mean(kept), abs=1e-9)
    assert stats.iqm(x) == sps.trim_mean(x, 0.25)
    assert x.min() - 1e-9 <= stats.iqm(x) <= x.max() + 1e-9


def test_aggregates_along_an_axis() -> None:
    x = RNG(0).normal(size=(9, 4))
    for statistic in (stats.iqm, stats.mean, stats.optimality_gap):
        columns = [statistic(x[:, i]) for i in range(4)]
        np.testing.assert_allclose(statistic(x, axis=0), columns, rtol=1e-14)
        rows = [statistic(row) for row in x]
        np.testing.assert_allclose(statistic(x, axis=-1), rows, rtol=1e-14)
        assert statistic(x) == pytest.approx(statistic(x.ravel()), abs=1e-15)


def test_optimality_gap_by_hand() -> None:
    # Shortfalls from 1: 1, 0.5, 0 (the excess of 2 earns nothing).
    assert stats.optimality_gap(np.array([0.0, 0.5, 3.0])) == 0.5
    assert stats.optimality_gap(np.array([0.0, 0.5, 3.0]), target=2.0) == pytest.approx(3.5 / 3)


# --- bootstrap ------------------------------------------------------------------------------


def test_bootstrap_point_estimate_pools_all_runs() -> None:
    assert stats.bootstrap(SCORES, seed=0).value == pytest.approx(stats.iqm(SCORES), abs=1e-14)
    ragged = stats.bootstrap([[1.0, 2.0], [3.0, 4.0, 10.0]], stats.mean, seed=0)
    assert ragged.value == 4.0 and ragged.n == 5


def test_bootstrap_resamples_within_tasks_only() -> None:
    # Tasks differ by 50, runs by 1: resampling across tasks would give a width of about 16.
    interval = stats.bootstrap(SCORES, stats.mean, seed=0)
    within = np.sqrt(np.mean(np.var(SCORES, axis=0)) / SCORES.size)
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * within, rel=0.1)


def test_every_resample_of_two_runs() -> None:
    # One task, two runs {0, 1}: the mean is 0, 1/2, 1 with chances 1/4, 1/2, 1/4.
    assert stats.bootstrap(np.array([0.0, 1.0]), stats.mean, seed=0, level=0.4) == stats.Interval(
        0.5, 0.5, 0.5, 0.4, 2
    )
    wide = stats.bootstrap(np.array([0.0, 1.0]), stats.mean, seed=0, level=0.6)
    assert (wide.low, wide.high) == (0.0, 1.0)


def test_tasks_as_columns_or_as_a_list_are_the_same() -> None:
    as_list = stats.bootstrap(list(SCORES.T), seed=3)
    assert as_list == stats.bootstrap(SCORES, seed=3)
    assert stats.bootstrap(SCORES[:, 0], seed=3) == stats.bootstrap(SCORES[:, :1], seed=3)


@pytest.mark.parametrize("tasks", [1, 4])
def test_coverage_of_the_percentile_interval(tasks: int) -> None:
    # For normal scores the percentile interval of the mean is mean +- z s / sqrt(n) with the
    # plug-in s, so its coverage is known: P(|t| < z sqrt((n - 1) / n)), n - 1 degrees a task.
    runs, trials, level = 12, 400, 0.9
    dof = tasks * (runs - 1)
    z = sps.norm.ppf(0.5 + level / 2)
    expected = 1 - 2 * sps.t.sf(z * np.sqrt((runs - 1) / runs), dof)
    hits = 0
    for trial in range(trials):
        scores = RNG(trial).normal(size=(runs, tasks)) + 10 * np.arange(tasks)
        found = stats.bootstrap(scores, stats.mean, seed=trial, level=level, replicates=400)
        hits += found.low <= 5.0 * (tasks - 1) <= found.high
    assert within_binomial(hits, trials, float(expected))


def test_shared_seeds_are_resampled_together() -> None:
    # Three tasks that repeat the same six runs hold no more than one task does.
    runs = RNG(3).normal(size=6)
    copies = np.stack([runs, runs + 10, runs - 10], axis=1)
    one = stats.bootstrap(runs, stats.mean, seed=0, replicates=20_000)
    joint = stats.bootstrap(copies, stats.mean, seed=0, replicates=20_000, shared_seeds=True)
    apart = stats.bootstrap(copies, stats.mean, seed=0, replicates=20_000)
    width, alone = joint.high - joint.low, one.high - one.low
    assert width == pytest.approx(alone, rel=0.03)
    assert apart.high - apart.low == pytest.approx(alone / np.sqrt(3), rel=0.05)
    assert stats.bootstrap(runs, seed=1, shared_seeds=True) == stats.bootstrap(runs, seed=1)
    with pytest.raises(ValueError, match=r"same runs of every task; got \[2, 3\]"):
        stats.bootstrap([[1.0, 2.0], [3.0, 4.0, 5.0]], seed=0, shared_seeds=True)


def test_pairs_with_shared_seeds_count_once_per_seed() -> None:
    gaps = RNG(4).normal(0.3, 1.0, size=8)
    x = np.stack([gaps, gaps], axis=1)
    joint = stats.paired_difference(x, np.zeros_like(x), seed=0, shared_seeds=True)
    alone = stats.paired_difference(gaps, np.zeros(8), seed=0)
    assert joint.detectable == pytest.approx(alone.detectable)
    assert (joint.p_permutation, joint.p_sign) == (alone.p_permutation, alone.p_sign)
    width, single = (d.interval.high - d.interval.low for d in (joint, alone))
    assert width == pytest.approx(single, rel=0.1)


def test_equal_agents_are_told_apart_no_more_often_than_stated() -> None:
    """Tasks that share their noise: only joint resampling keeps the error rate."""
    trials, wrong = 300, {True: 0, False: 0}
    for trial in range(trials):
        noise = RNG(trial).normal(size=(2, 10, 1)) + 0.1 * RNG(trial + 999).normal(size=(2, 10, 6))
        for joint in wrong:
            found = stats.probability_of_improvement(
                *noise, seed=trial, replicates=200, level=0.9, shared_seeds=joint
            )
            wrong[joint] += not found.low <= 0.5 <= found.high
    assert wrong[True] / trials < 0.2 < wrong[False] / trials


def test_bca_is_scipys_and_corrects_skew() -> None:
    x = RNG(1).exponential(size=40)
    ours = stats.bootstrap(x, stats.mean, seed=5, method="bca")
    theirs = sps.bootstrap((x,), np.mean, n_resamples=2000, method="BCa", rng=RNG(5))
    assert (ours.low, ours.high) == tuple(theirs.confidence_interval)
    plain = stats.bootstrap(x, stats.mean, seed=5)
    assert ours.low > plain.low and ours.high > plain.high  # a right-skewed sample moves up
    assert ours.value == plain.value


def test_bca_of_a_statistic_that_never_moves() -> None:
    capped = stats.bootstrap(
        np.array([3.0, 4.0, 5.0]), lambda x, axis: np.mean(x > 1, axis=axis), seed=0, method="bca"
    )
    assert (capped.low, capped.value, capped.high) == (1.0, 1.0, 1.0)


def test_the_seed_is_the_only_randomness() -> None:
    def everything() -> list[object]:
        x, y = SCORES, SCORES + RNG(2).normal(size=SCORES.shape)
        return [
            stats.bootstrap(x, seed=4),
            stats.bootstrap(x, seed=4, method="bca"),
            stats.difference(x, y, seed=4),
            stats.paired_difference(x, y, seed=4, replicates=200),
            stats.probability_of_improvement(x, y, seed=4),
            stats.performance_profile(x, np.array([0.0, 5.0]), seed=4),
        ]

    before = everything()
    random.seed(99)
    np.random.seed(99)  # noqa: NPY002 - the global state is what this test disturbs
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    assert everything() == before
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    assert stats.bootstrap(SCORES, seed=5) != before[0]


def test_batches_bound_memory_without_changing_the_estimate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = stats.bootstrap(SCORES, stats.mean, seed=0)
    monkeypatch.setattr(stats, "BATCH_ELEMENTS", 64)
    pieces = stats.bootstrap(SCORES, stats.mean, seed=0)
    assert pieces.value == whole.value
    assert pieces.low == pytest.approx(whole.low, abs=0.05)


# --- comparisons ----------------------------------------------------------------------------


def test_probability_of_improvement_by_hand() -> None:
    # Pairs of task 0: 2>1, 2=2, 3>1, 3>2 -> 3.5/4; of task 1: 0<1, 0<1, 1=1, 1=1 -> 1/4.
    x, y = [[2.0, 3.0], [0.0, 1.0]], [[1.0, 2.0], [1.0, 1.0]]
    assert stats.probability_of_improvement(x, y, seed=0).value == (3.5 / 4 + 1 / 4) / 2


@given(st.integers(0, 10_000), st.integers(2, 8), st.integers(2, 8))
@settings(max_examples=20, deadline=None)
def test_probability_of_improvement_is_mann_whitney(seed: int, n: int, m: int) -> None:
    x, y = RNG(seed).integers(0, 4, n) * 1.0, RNG(seed + 1).integers(0, 4, m) * 1.0
    forth = stats.probability_of_improvement(x, y, seed=0, replicates=100)
    back = stats.probability_of_improvement(y, x, seed=0, replicates=100)
    assert forth.value == pytest.approx(sps.mannwhitneyu(x, y).statistic / (n * m), abs=1e-12)
    assert forth.value + back.value == pytest.approx(1.0, abs=1e-12)
    assert 0 <= forth.low <= forth.high <= 1


def test_probability_of_improvement_of_a_certain_winner() -> None:
    sure = stats.probability_of_improvement(SCORES + 100, SCORES, seed=0)
    assert (sure.low, sure.value, sure.high) == (1.0, 1.0, 1.0)


def test_difference_of_unequal_groups() -> None:
    found = stats.difference(SCORES[:6] + 2, SCORES, seed=0)
    assert found.value == pytest.approx(np.mean(SCORES[:6]) + 2 - np.mean(SCORES), abs=1e-12)
    assert found.low < found.value < found.high and found.n == 48


def test_paired_difference_by_hand() -> None:
    # Differences 1, 2, 3, 4, all positive: both exact tests give 2 / 2^4.
    found = stats.paired_difference(np.array([2.0, 4, 6, 8]), np.array([1.0, 2, 3, 4]), seed=0)
    assert found.interval.value == 2.5
    assert found.p_permutation == 0.125 and found.p_sign == 0.125
    sd = np.std([1, 2, 3, 4], ddof=1)
    assert found.detectable == stats.detectable_difference(float(sd), 4, paired=True)


def test_permutation_p_against_full_enumeration() -> None:
    d = np.array([0.3, -0.1, 0.8, 0.5, -0.2, 0.4])
    signs = np.array(list(itertools.product([-1, 1], repeat=6)))
    extreme = np.mean(np.abs(signs @ d) >= abs(d.sum()) - 1e-12)
    found = stats.paired_difference(d, np.zeros(6), seed=0)
    assert found.p_permutation == pytest.approx(extreme, abs=1e-12)
    assert found.p_sign == pytest.approx(sps.binomtest(4, 6).pvalue)


def test_pairing_removes_what_pairs_share() -> None:
    shared_noise = RNG(3).normal(size=(10, 3)) * 10
    x, y = shared_noise + 1, shared_noise + 0.1 * RNG(4).normal(size=(10, 3))
    assert stats.paired_difference(x, y, seed=0).interval.low > 0.9
    assert stats.difference(x, y, seed=0).low < 0


def test_paired_difference_of_equal_runs() -> None:
    found = stats.paired_difference(SCORES, SCORES.copy(), seed=0)
    assert (found.interval.low, found.interval.high) == (0.0, 0.0)
    assert (found.p_permutation, found.p_sign, found.detectable) == (1.0, 1.0, 0.0)


# --- what n runs can show -------------------------------------------------------------------


def test_detectable_difference_frozen_values() -> None:
    # Two-sample, level .95, power .8: the tabulated d for 10 and 64 runs a group; paired n = 34.
    assert stats.detectable_difference(1.0, 10) == pytest.approx(1.3249, abs=5e-5)
    assert stats.runs_needed(0.5, 1.0) == 64
    assert stats.runs_needed(1.0, 1.0) == 17
    assert stats.runs_needed(0.5, 1.0, paired=True) == 34
    assert stats.detectable_difference(2.0, 10) == 2 * stats.detectable_difference(1.0, 10)


@pytest.mark.parametrize("paired", [False, True])
def test_power_by_simulation(paired: bool) -> None:
    n, trials = 6, 4000
    effect = stats.detectable_difference(1.0, n, paired=paired)
    x, y = RNG(0).normal(size=(2, trials, n))
    p = sps.ttest_1samp(x + effect, 0, axis=1) if paired else sps.ttest_ind(x + effect, y, axis=1)
    assert within_binomial(int(np.sum(p.pvalue < 0.05)), trials, 0.8)
    assert stats.power(effect, 1.0, n, paired=paired) == pytest.approx(0.8, abs=1e-9)


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("effect", [0.02, 0.3, 1.0, 5.0, 1e3])
def test_runs_needed_is_the_smallest_that_suffices(effect: float, paired: bool) -> None:
    n = stats.runs_needed(effect, 1.0, paired=paired)
    assert stats.power(effect, 1.0, n, paired=paired) >= 0.8 - 1e-9
    assert n == 2 or stats.power(effect, 1.0, n - 1, paired=paired) < 0.8


def test_power_of_no_effect_is_the_false_alarm_rate() -> None:
    assert stats.power(0.0, 1.0, 5) == pytest.approx(0.05)
    assert stats.power(1e-6, 1.0, 5) == pytest.approx(0.05, abs=1e-6)
    assert stats.power(-1.0, 1.0, 5) == stats.power(1.0, 1.0, 5)
    assert stats.detectable_difference(1.0, 5, power=0.04) == 0.0
    assert stats.detectable_difference(0.0, 5) == 0.0


# --- profiles and slopes --------------------------------------------------------------------


def test_performance_profile_falls_from_one_to_zero() -> None:
    thresholds = np.linspace(-10, 60, 15)
    profile = stats.performance_profile(SCORES, thresholds, seed=0, replicates=200)
    values = [point.value for point in profile]
    assert values == [np.mean(tau < SCORES) for tau in thresholds]
    assert values[0] == 1 and values[-1] == 0 and values == sorted(values, reverse=True)
    assert all(point.low <= point.value <= point.high for point in profile)


def test_slope_of_an_exact_power_law() -> None:
    x = np.array([1.0, 0.1, 0.01, 0.001])
    found = stats.loglog_slope(x, 3 * x**0.5)
    assert found.value == pytest.approx(0.5, abs=1e-12)
    assert found.high - found.low < 1e-7


def test_slope_interval_by_hand() -> None:
    # log x = 0, 1, 2 and log y = 0, 1.5, 2: slope 1, residuals -1/6, 1/3, -1/6 with one degree of
    # freedom, so the standard error is sqrt((1/6) / 2) and t_.975 = 12.7062.
    found = stats.loglog_slope(np.exp([0.0, 1.0, 2.0]), np.exp([0.0, 1.5, 2.0]))
    assert found.value == pytest.approx(1.0, abs=1e-12)
    assert found.high - 1 == pytest.approx(12.7062 / np.sqrt(12), abs=1e-4)
    assert 1 - found.low == pytest.approx(found.high - 1, abs=1e-12)


def test_slope_interval_covers() -> None:
    x, trials = np.geomspace(1, 100, 8), 400
    noise = np.exp(0.2 * RNG(0).normal(size=(trials, 8)))
    found = [stats.loglog_slope(x, x**1.5 * row) for row in noise]
    hits = sum(f.low <= 1.5 <= f.high for f in found)
    assert within_binomial(hits, trials, 0.95)


# --- results and bad input ------------------------------------------------------------------


def test_estimate_carries_the_interval() -> None:
    estimate = stats.Interval(1.0, 0.5, 1.5, 0.9, 10).to_estimate("gap", 20, unit="days")
    assert (estimate.value, estimate.low, estimate.high, estimate.level) == (1.0, 0.5, 1.5, 0.9)
    assert (estimate.label, estimate.n, estimate.unit) == ("gap", 20, "days")
    assert stats.Interval(1.0, 0.5, 1.5, n=10).to_estimate().n == 10


def test_constant_scores_have_an_interval_of_no_width() -> None:
    flat = stats.bootstrap(np.full((5, 2), 0.25), seed=0, method="bca")
    assert (flat.low, flat.value, flat.high) == (0.25, 0.25, 0.25)


def test_one_run_says_nothing_of_the_spread() -> None:
    for scores in (np.array([3.0]), np.ones((1, 4)), [[1.0, 2.0], [3.0]]):
        alone = stats.bootstrap(scores, stats.mean, seed=0)
        assert (alone.low, alone.high) == (-np.inf, np.inf) and np.isfinite(alone.value)
    pair = stats.paired_difference(np.array([3.0]), np.array([1.0]), seed=0)
    assert pair.interval.value == 2.0 and pair.p_permutation == 1.0
    assert pair.detectable == np.inf


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: stats.bootstrap(np.array([1.0, np.nan, 2.0]), seed=0), "1 of 3 are NaN"),
        (lambda: stats.bootstrap(np.array([1.0, np.inf]), seed=0), "must be finite"),
        (lambda: stats.bootstrap(np.empty((0, 3)), seed=0), "at least one run"),
        (lambda: stats.bootstrap(np.empty((3, 0)), seed=0), "no task"),
        (lambda: stats.bootstrap([], seed=0), "no task"),
        (lambda: stats.bootstrap(np.ones((2, 2, 2)), seed=0), r"\[runs, tasks\]"),
        (lambda: stats.bootstrap(SCORES, seed=0, level=95.0), "strictly between 0 and 1"),
        (lambda: stats.bootstrap(SCORES, seed=0, replicates=10), "at least 100"),
        (lambda: stats.iqm(np.array([])), "empty"),
        (lambda: stats.paired_difference(SCORES, SCORES[:5], seed=0), "same runs"),
        (lambda: stats.probability_of_improvement(SCORES, SCORES[:, 0], seed=0), "same tasks"),
        (lambda: stats.detectable_difference(1.0, 1), "at least two runs"),
        (lambda: stats.detectable_difference(-1.0, 5), "sd must be positive"),
        (lambda: stats.detectable_difference(1.0, 5, power=1.0), "power must lie"),
        (lambda: stats.runs_needed(0.0, 1.0), "effect must be positive"),
        (lambda: stats.loglog_slope(np.ones(2), np.ones(2)), "three or more points"),
        (lambda: stats.loglog_slope(np.ones(3), np.ones(3)), "two different x"),
        (lambda: stats.loglog_slope(np.arange(3.0), np.ones(3)), "positive values"),
    ],
)
def test_bad_input_is_one_sentence(call: object, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        call()  # pyright: ignore[reportCallIssue]


def test_import_is_cheap() -> None:
    code = "import shared.stats, sys; print({'scipy', 'jax', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
