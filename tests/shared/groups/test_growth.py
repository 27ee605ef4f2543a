"""Counts against ln n and n: exact lines, textbook intervals, degenerate input."""

import numpy as np
import pytest
from scipy.stats import t

from shared.experiment.errors import BadInput
from shared.groups.growth import fit_growth

NS = np.array([7, 13, 17, 31, 59, 97, 113])


def test_counts_on_a_logarithm() -> None:
    found = fit_growth(NS, 1 + np.log(NS))
    assert found.log.r2 == pytest.approx(1) and found.linear.r2 < 0.95
    assert (found.log.intercept.value, found.log.slope.value) == pytest.approx((1, 1))
    assert found.log.slope.high - found.log.slope.low < 1e-6
    assert found.aic_difference > 100


def test_counts_on_a_line() -> None:
    found = fit_growth(NS, NS // 2)
    assert found.linear.r2 > 0.999 and found.aic_difference < 0
    assert found.linear.slope.value == pytest.approx(0.5, abs=0.01)


def test_intervals_and_aic_are_the_textbooks() -> None:
    n = np.repeat(NS, 3)
    y = 1 + 0.8 * np.log(n) + np.random.default_rng(0).normal(size=len(n))
    found = fit_growth(n, y, level=0.9)
    x = np.log(n)
    design = np.stack([np.ones(len(n)), x], 1)
    beta = np.linalg.lstsq(design, y, rcond=None)[0]
    sse = ((y - design @ beta) ** 2).sum()
    error = np.sqrt(np.diag(np.linalg.inv(design.T @ design)) * sse / (len(n) - 2))
    half = t.ppf(0.95, len(n) - 2) * error
    for interval, value, h in zip((found.log.intercept, found.log.slope), beta, half, strict=True):
        assert (interval.low, interval.value, interval.high) == pytest.approx(
            (value - h, value, value + h)
        )
        assert interval.n == 21 and interval.level == 0.9
    assert found.log.aic == pytest.approx(21 * np.log(sse / 21) + 4)
    assert found.log.r2 == pytest.approx(np.corrcoef(x, y)[0, 1] ** 2)
    assert found.aic_difference == pytest.approx(found.linear.aic - found.log.aic)


def test_intervals_cover_the_truth() -> None:
    rng = np.random.default_rng(1)
    n = np.repeat(NS, 2)
    hits = 0
    for _ in range(200):
        slope = fit_growth(n, 2 + 0.5 * np.log(n) + rng.normal(size=len(n))).log.slope
        hits += slope.low <= 0.5 <= slope.high
    assert hits / 200 == pytest.approx(0.95, abs=0.05)


def test_equal_counts_have_no_r2() -> None:
    found = fit_growth(NS, np.full(7, 4))
    assert np.isnan(found.log.r2) and found.log.slope.value == pytest.approx(0, abs=1e-12)
    assert np.isfinite(found.aic_difference)
    assert np.isfinite(fit_growth(NS, np.zeros(7)).aic_difference)


def test_bad_input() -> None:
    with pytest.raises(BadInput, match="got 2 at 2"):
        fit_growth(NS[:2], NS[:2])
    with pytest.raises(BadInput, match="got 4 at 1"):
        fit_growth(np.full(4, 7), np.arange(4))
    with pytest.raises(BadInput, match="n is 1 or more"):
        fit_growth(np.array([0, 1, 2]), np.arange(3))
    with pytest.raises(BadInput, match="level"):
        fit_growth(NS, NS, level=1.0)
