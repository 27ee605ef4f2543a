"""Optimal stopping: the reference table, closed forms, an independent tree, Monte Carlo."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import norm

from papers.superiority.assets import ASSETS
from papers.superiority.oracle import (
    follow_boundary,
    hold_to_end,
    horizon_days,
    horizon_moves,
    optimal_stopping,
    policy_value,
)
from shared.experiment.errors import BadInput

# asset, days of price motion, omega, optimum discounted at .999 and not, hold-to-end likewise
TABLE = [
    (0, 50, 1, 0.026035, 0.026617, 0.020464, 0.021514),
    (0, 50, 5, 0.026127, 0.026702, 0.020464, 0.021514),
    (0, 100, 1, 0.030646, 0.031772, 0.019885, 0.021978),
    (3, 50, 1, 0.034881, 0.035959, 0.032796, 0.034478),
    (3, 100, 1, 0.045059, 0.047619, 0.040252, 0.044488),
]


def law(index):
    return ASSETS[index].drift, ASSETS[index].volatility


@pytest.mark.parametrize(("index", "days", "omega", "best", "best_1", "hold", "hold_1"), TABLE)
def test_reference_table(index, days, omega, best, best_1, hold, hold_1):
    for gamma, value, held in ((0.999, best, hold), (1.0, best_1, hold_1)):
        options = {"horizon": days, "gamma": gamma}
        found, _ = optimal_stopping(*law(index), frequency=omega, **options, n_grid=2000)
        assert found == pytest.approx(value, abs=1e-5)
        assert hold_to_end(*law(index), **options) == pytest.approx(held, abs=1e-6)


def test_reference_boundary():
    _, boundary = optimal_stopping(*law(0), horizon=50, frequency=1, gamma=0.999)
    assert boundary.shape == (50,)
    np.testing.assert_allclose(
        boundary[[0, 10, 25, 40, 49]], [0.9307, 0.9340, 0.9408, 0.9546, 0.9821], atol=1e-3
    )
    assert (np.diff(boundary) > 0).all()


def test_last_boundary_is_where_one_day_of_waiting_stops_paying():
    """b_{N-1} solves 1 - x = gamma E[(1 - x e^Y)^+], a closed form."""
    (mu, sigma), gamma = law(0), 0.999

    def gain(x):
        d = (-math.log(x) - mu) / sigma
        wait = norm.cdf(d) - x * math.exp(mu + sigma**2 / 2) * norm.cdf(d - sigma)
        return 1 - x - gamma * wait

    _, boundary = optimal_stopping(mu, sigma, horizon=50, frequency=1, gamma=gamma)
    assert boundary[-1] == pytest.approx(brentq(gain, 0.95, 0.999), abs=1e-6)


def test_two_moves_by_direct_integration():
    """One early chance and one forced exercise: V_0(1) by quadrature of max(payoff, wait)."""
    mu, sigma, gamma = 0.01, 0.2, 0.95

    def wait(x):
        d = (-math.log(x) - mu) / sigma
        return gamma * (norm.cdf(d) - x * math.exp(mu + sigma**2 / 2) * norm.cdf(d - sigma))

    def integrand(z):
        x = math.exp(mu + sigma * z)
        return max(1 - x, wait(x)) * norm.pdf(z)

    corner = (math.log(brentq(lambda x: 1 - x - wait(x), 0.3, 0.999)) - mu) / sigma
    expected = gamma * (quad(integrand, -9, corner)[0] + quad(integrand, corner, 9)[0])
    value, _ = optimal_stopping(mu, sigma, horizon=2, frequency=1, gamma=gamma)
    assert value == pytest.approx(expected, abs=1e-7)


def tree(drift, volatility, days, omega, gamma, substeps):
    """Binomial tree of the log price, `substeps` to a decision; exercise only at decisions."""
    n, dt = days * omega * substeps, 1 / (omega * substeps)
    up = 0.5 * (1 + drift / volatility * math.sqrt(dt))
    price = np.exp(volatility * math.sqrt(dt) * np.arange(-n, n + 1))
    values = np.maximum(1 - price[::2], 0)
    for level in reversed(range(n)):
        values = gamma**dt * (up * values[1:] + (1 - up) * values[:-1])
        if level % substeps == 0:
            values = np.maximum(values, 1 - price[n - level : n + level + 1 : 2])
    return values[0]


@pytest.mark.parametrize(("index", "days", "omega"), [(0, 50, 1), (3, 50, 2), (6, 30, 5)])
def test_independent_tree(index, days, omega):
    """Errors of n and 2n tree steps differ by a half: extrapolate, then agree to 2e-5."""
    for gamma in (0.999, 1.0):
        coarse, fine = (tree(*law(index), days, omega, gamma, s) for s in (8, 16))
        value, _ = optimal_stopping(*law(index), horizon=days, frequency=omega, gamma=gamma)
        assert value == pytest.approx(2 * fine - coarse, abs=2e-5)


def test_value_does_not_depend_on_the_grid():
    options = {"horizon": 50, "frequency": 35, "gamma": 0.999}
    coarse, boundary = optimal_stopping(*law(0), **options, n_grid=3)
    fine, fine_boundary = optimal_stopping(*law(0), **options, n_grid=3000)
    assert coarse == pytest.approx(fine, abs=1e-7)
    np.testing.assert_allclose(boundary, fine_boundary, atol=1e-4)


def test_monte_carlo_of_the_boundary():
    options = {"horizon": 50, "frequency": 2, "gamma": 0.999}
    value, boundary = optimal_stopping(*law(3), **options)
    payoffs = follow_boundary(boundary, *law(3), **options, episodes=100_000, seed=0)
    assert abs(payoffs.mean() - value) < 4 * payoffs.std() / math.sqrt(len(payoffs))
    again = follow_boundary(boundary, *law(3), **options, episodes=100_000, seed=0)
    other = follow_boundary(boundary, *law(3), **options, episodes=100_000, seed=1)
    assert (payoffs == again).all() and payoffs.mean() != other.mean()


def test_optimum_is_monotone_and_above_fixed_rules():
    for index in (0, 8):
        by_horizon, by_omega = [], []
        for days in (10, 50, 100):
            value, _ = optimal_stopping(*law(index), horizon=days, frequency=1, gamma=1.0)
            assert value >= hold_to_end(*law(index), horizon=days, gamma=1.0) - 1e-9
            by_horizon.append(value)
        for omega in (1, 5, 35):
            value, _ = optimal_stopping(*law(index), horizon=50, frequency=omega, gamma=0.999)
            by_omega.append(value)
        assert by_horizon == sorted(by_horizon) and by_omega == sorted(by_omega)


def test_policy_values():
    options = {"horizon": 50, "frequency": 3, "gamma": 0.999}
    value, boundary = optimal_stopping(*law(4), **options)
    assert policy_value(boundary, *law(4), **options) == pytest.approx(value, abs=1e-8)
    held = hold_to_end(*law(4), horizon=50, gamma=0.999)
    assert policy_value(0.0, *law(4), **options) == pytest.approx(held, abs=1e-11)
    assert policy_value(math.inf, *law(4), **options) == 0.0  # exercise now, at the money
    rule = policy_value(lambda x, k: x <= boundary[k], *law(4), **options)
    assert rule == pytest.approx(value, abs=1e-8)


def test_a_rule_with_several_switches_against_direct_integration():
    """Two moves: exercise on a band of prices, hold elsewhere; V_0(1) by quadrature."""
    mu, sigma, gamma = 0.01, 0.2, 0.95
    edges = [0.7, 0.8, 0.95, 1.0, 1.05]  # stops inside (0.7, 0.8) and (0.95, 1.05)

    def band(x, k):
        return (k == 1) & (((x > 0.7) & (x < 0.8)) | ((x > 0.95) & (x < 1.05)))

    def wait(x):
        d = (-math.log(x) - mu) / sigma
        return gamma * (norm.cdf(d) - x * math.exp(mu + sigma**2 / 2) * norm.cdf(d - sigma))

    def integrand(z):
        x = math.exp(mu + sigma * z)
        return (max(1 - x, 0) if band(x, 1) else wait(x)) * norm.pdf(z)

    cuts = [-9.0, *((math.log(e) - mu) / sigma for e in edges), 9.0]
    expected = gamma * sum(quad(integrand, *ends)[0] for ends in pairwise(cuts))
    for n_grid in (1000, 2000):
        found = policy_value(band, mu, sigma, horizon=2, frequency=1, gamma=gamma, n_grid=n_grid)
        assert found == pytest.approx(expected, abs=2e-7)


def test_value_of_a_threshold_does_not_depend_on_the_grid():
    options = {"horizon": 20, "frequency": 1, "gamma": 0.99}
    for threshold in (0.913, 0.97):
        coarse, fine = (
            policy_value(threshold, 0.0, 0.03, **options, n_grid=n) for n in (2000, 6001)
        )
        assert coarse == pytest.approx(fine, abs=3e-8)


@settings(max_examples=15, deadline=None)
@given(st.floats(0.7, 1.2), st.floats(-0.004, 0.004), st.floats(0.005, 0.05), st.integers(1, 3))
def test_no_threshold_beats_the_optimum(threshold, drift, volatility, frequency):
    options = {"horizon": 10, "frequency": frequency, "gamma": 0.99, "n_grid": 401}
    value, boundary = optimal_stopping(drift, volatility, **options)
    assert policy_value(threshold, drift, volatility, **options) <= value + 2e-5
    best = policy_value(boundary, drift, volatility, **options)
    assert best == pytest.approx(value, abs=2e-6)


def test_a_threshold_policy_against_monte_carlo():
    options = {"horizon": 20, "frequency": 1, "gamma": 0.99}
    exact = policy_value(0.97, 0.0, 0.03, **options)
    payoffs = follow_boundary(0.97, 0.0, 0.03, **options, episodes=200_000, seed=3)
    assert abs(payoffs.mean() - exact) < 4 * payoffs.std() / math.sqrt(len(payoffs))


def test_waiting_costs_nothing_when_the_price_only_falls():
    """mu + sigma²/2 < 0 and no discount: never exercise early."""
    value, boundary = optimal_stopping(-0.001, 0.02, horizon=50, frequency=2, gamma=1.0)
    assert (boundary == 0).all()
    held = hold_to_end(-0.001, 0.02, horizon=50, gamma=1.0)
    assert value == pytest.approx(held, abs=1e-7)


def test_moves_of_the_clocks():
    assert [horizon_moves("official", w) for w in (1, 5, 35)] == [50, 250, 1750]
    assert [horizon_moves("calendar", w) for w in (1, 5, 35)] == [99, 499, 3499]
    for clock in ("official", "calendar"):
        for omega in range(1, 61):
            days = horizon_days(clock, omega)
            assert round(days * omega) == horizon_moves(clock, omega)
    _, boundary = optimal_stopping(
        *law(0), horizon=horizon_days("calendar", 3), frequency=3, gamma=1.0, n_grid=300
    )
    assert boundary.shape == (299,)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"frequency": 0}, "frequency must be a positive integer, not 0"),
        ({"horizon": 0.5}, "horizon must be a positive multiple of 1/frequency"),
        ({"horizon": math.inf}, "horizon must be a positive multiple"),
        ({"gamma": 1.1}, "gamma must be above 0 and at most 1, not 1.1"),
        ({"gamma": 0.0}, "gamma must be above 0"),
        ({"volatility": 0.0}, "volatility must be positive"),
        ({"drift": math.nan}, "drift must be finite"),
        ({"n_grid": 2}, "n_grid must be at least 3"),
    ],
)
def test_bad_arguments(change, sentence):
    arguments = {
        "drift": 0.0, "volatility": 0.1, "horizon": 5.0, "frequency": 1, "gamma": 1.0,
        "n_grid": 50,
    }  # fmt: skip
    with pytest.raises(BadInput, match=sentence):
        optimal_stopping(**{**arguments, **change})


def test_bad_boundaries_and_clocks():
    options = {"horizon": 5, "frequency": 1, "gamma": 1.0}
    for boundary in (np.ones(4), -1.0, np.nan):
        with pytest.raises(BadInput, match=r"one price, or 5 prices \(one per move\)"):
            policy_value(boundary, 0.0, 0.1, **options)
    with pytest.raises(BadInput, match="clock must be 'official' or 'calendar'"):
        horizon_moves("sundial", 1)
    with pytest.raises(BadInput, match="frequency must be a positive integer"):
        horizon_moves("official", 0)
    with pytest.raises(BadInput, match="horizon must be a positive number of days"):
        hold_to_end(0.0, 0.1, horizon=0.0, gamma=1.0)
