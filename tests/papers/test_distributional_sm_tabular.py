"""Random occupancy measures: three routes to the same law, and chains where it is known."""

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from papers.distributional_sm import tabular
from papers.distributional_sm.tabular import (
    CHAIN,
    Law,
    absorbing,
    box_counting_dimension,
    coin_flip,
    cvar,
    cycle,
    exact_backup,
    letters,
    mean_backup,
    moment_residual,
    occupancy_moments,
    particle_backup,
    particle_law,
    quantile_backup_2state,
    random_chain,
    return_moments,
    simulate_occupancy,
    wasserstein,
)

REWARD = np.array([1.0, -2.0, 3.0])


def test_moments_of_three_states():
    Psi, cov = occupancy_moments(CHAIN, 0.9)
    rows = [(0.676682, 0.217505, 0.105813), (0.317440, 0.459177, 0.223383)]
    np.testing.assert_allclose(Psi, [*rows, (0.493795, 0.158720, 0.347485)], atol=1e-6)
    np.testing.assert_allclose(cov[0, 0], [0.043288, -0.030998, -0.012290], atol=1e-6)
    np.testing.assert_allclose(cov.sum(-1), 0, atol=1e-12)
    np.testing.assert_allclose(cov, cov.transpose(0, 2, 1), atol=1e-15)


@pytest.mark.parametrize(
    ("gamma", "mean", "variance"),
    [
        (0.9, (5.591117, 0.692358, 12.188112), (25.303648, 63.059829, 31.296993)),
        (0.5, (1.590643, -2.502924, 4.982456), (0.578457, 2.850589, 0.784685)),
    ],
)
def test_returns_are_integrals_of_the_occupancy(gamma, mean, variance):
    V, var = return_moments(CHAIN, REWARD, gamma)
    np.testing.assert_allclose(V, mean, atol=1e-6)
    np.testing.assert_allclose(var, variance, atol=1e-6)
    Psi, cov = occupancy_moments(CHAIN, gamma)
    np.testing.assert_allclose(Psi @ REWARD / (1 - gamma), V, rtol=1e-12)
    np.testing.assert_allclose(REWARD @ cov @ REWARD / (1 - gamma) ** 2, var, rtol=1e-10)


@pytest.mark.parametrize("seed", range(20))
def test_moments_solve_the_bellman_equation(seed):
    P = random_chain(seed, 2 + seed % 4, sparse=seed % 2 == 0)
    for steps in (1, 2, 3):
        assert moment_residual(P, 0.3 + 0.03 * seed, steps) < 1e-12


@pytest.mark.parametrize(("gamma", "p"), [(0.5, 0.5), (0.9, 0.3)])
def test_coin_flip_by_hand(gamma, p):
    Psi, cov = occupancy_moments(coin_flip(p), gamma)
    np.testing.assert_allclose(Psi[:, 1], [gamma * p, 1 - gamma + gamma * p], rtol=1e-12)
    variance = p * (1 - p) * (1 - gamma) * gamma**2 / (1 + gamma)
    np.testing.assert_allclose(cov[:, 1, 1], variance, rtol=1e-10)


def test_a_fair_coin_is_uniform_by_all_routes():
    """M({1}) from 0 is uniform on [0, 1/2] for gamma = p = 1/2, and from 1 on [1/2, 1]."""
    P, m = coin_flip(), 500
    even = (np.arange(m) + 0.5) / (2 * m)
    q = np.zeros((2, m))
    for _ in range(40):
        q = quantile_backup_2state(q, P, 0.5)
    np.testing.assert_allclose(q, [even, even + 0.5], atol=1e-9)
    np.testing.assert_allclose(np.sort(particle_law(P, 0.5, m)[..., 1]), q, atol=2 / m)
    runs = simulate_occupancy(np.random.default_rng(0), P, 0.5, 20_000)[..., 1]
    for simulated, exact in zip(runs, q, strict=True):
        assert wasserstein_distance(simulated, exact) < 0.004


def test_routes_agree_on_three_states():
    Psi, cov = occupancy_moments(CHAIN, 0.9)
    V, var = return_moments(CHAIN, REWARD, 0.9)
    runs = simulate_occupancy(np.random.default_rng(1), CHAIN, 0.9, 20_000)
    particles = particle_law(CHAIN, 0.9, 2000, seed=2)
    for found in (runs, particles):
        np.testing.assert_allclose(found.mean(1), Psi, atol=0.01)
        centred = found - found.mean(1, keepdims=True)
        second = np.einsum("xmi,xmj->xij", centred, centred) / found.shape[1]
        np.testing.assert_allclose(second, cov, atol=0.004)
        returns = found @ REWARD / 0.1
        np.testing.assert_allclose(returns.mean(1), V, atol=0.25)
        np.testing.assert_allclose(returns.var(1), var, rtol=0.05)
    for x in range(3):
        gap = wasserstein_distance(runs[x] @ REWARD, particles[x] @ REWARD) / 0.1
        assert gap < 0.05 * np.sqrt(var[x])


def test_absorbing_chain_by_hand():
    Psi, cov = occupancy_moments(absorbing(0.8), 0.9)
    assert Psi[0, 0] == pytest.approx(0.1 / (1 - 0.9 * 0.8), rel=1e-12)
    assert cov[0, 0, 0] == pytest.approx(0.046962, abs=1e-6)
    in_a = simulate_occupancy(np.random.default_rng(0), absorbing(0.8), 0.9, 50_000)[0, :, 0]
    assert (np.abs(in_a - 0.1) < 1e-6).mean() == pytest.approx(0.2, abs=0.01)
    assert cvar(in_a / 0.1, 0.25) == pytest.approx(1.18, abs=0.02)
    # 1 - gamma^K has atoms at geometric chances: 0.2 at a return of 1, 0.16 at 1.9.
    exact = np.array([1.0] * 20 + [1.9] * 16 + [2.71] * 64)
    assert cvar(exact, 0.25) == pytest.approx((0.2 * 1 + 0.05 * 1.9) / 0.25)


def test_limits():
    np.testing.assert_array_equal(particle_law(CHAIN, 0.0, 4), np.eye(3)[:, None].repeat(4, 1))
    runs = simulate_occupancy(np.random.default_rng(0), cycle(4), 0.7, 3)
    weights = 0.3 * 0.7 ** np.arange(4) / (1 - 0.7**4)
    np.testing.assert_allclose(runs[0], np.tile(weights, (3, 1)), atol=1e-7)
    np.testing.assert_allclose(occupancy_moments(cycle(4), 0.7)[1], 0, atol=1e-12)


def test_the_operator_contracts_by_gamma():
    """sup_x W1 after k exact backups is at most gamma^k times that of the start."""
    ones = np.ones(1)
    for seed in range(3):
        P = random_chain(seed, 3)
        p = [Law(np.eye(3)[[x]], ones) for x in range(3)]
        q = [Law(np.full((1, 3), 1 / 3), ones) for _ in range(3)]
        start = max(wasserstein(a, b) for a, b in zip(p, q, strict=True))
        assert start == pytest.approx(2 / 3)
        for k in range(1, 4):
            p, q = exact_backup(p, P, 0.8), exact_backup(q, P, 0.8)
            apart = max(wasserstein(a, b) for a, b in zip(p, q, strict=True))
            assert 0 < apart <= 0.8**k * start + 1e-9


def test_transport_by_hand():
    points = np.array([[1.0, 0.0], [0.0, 1.0]])
    p, q = Law(points, np.array([0.5, 0.5])), Law(points, np.array([0.9, 0.1]))
    assert wasserstein(p, q) == pytest.approx(0.4)
    assert wasserstein(p, p) == pytest.approx(0, abs=1e-12)


def test_three_letters_are_a_sierpinski_triangle():
    particles = particle_law(letters(), 0.5, 3**7, tolerance=1e-10)
    rescaled = 2 * (particles[0] - np.eye(3)[0] / 2)
    assert not (rescaled < 0.5 - 1e-6).all(1).any()
    even = np.random.default_rng(0).dirichlet(np.ones(3), 2000)
    assert (even < 0.5).all(1).mean() == pytest.approx(0.25, abs=0.03)
    dimension, counts = box_counting_dimension(rescaled, (1, 2, 3, 4, 5))
    assert dimension == pytest.approx(np.log2(3), abs=1e-9)
    np.testing.assert_array_equal(counts, 3 ** np.arange(1, 6))


def test_ensembles_lose_their_spread():
    """Exactly gamma^2 of an ensemble's variance is left by each sweep; a delta-model keeps it."""
    key, P, gamma = np.random.default_rng(0), coin_flip(), 0.5
    ensemble = delta = key.dirichlet(np.ones(2), size=(2, 400))
    before = np.zeros(2)
    for sweep in range(12):
        ensemble, delta = mean_backup(ensemble, P, gamma), particle_backup(key, delta, P, gamma)
        spread = ensemble[..., 1].var(1)
        if sweep > 0:
            np.testing.assert_allclose(spread, gamma**2 * before, rtol=1e-6)
        before = spread
    np.testing.assert_allclose(ensemble[..., 1].mean(1), [0.25, 0.75], atol=1e-5)
    np.testing.assert_allclose(delta[..., 1].var(1), 1 / 48, rtol=0.02)


def test_systematic_draws_are_even():
    """m P_xy particles come from y, up to one; slots of y are taken evenly."""
    marked = np.zeros((3, 100, 3))
    marked[:, :, 0] = np.arange(100) / 100  # slot
    marked[:, :, 1] = np.arange(3)[:, None]  # state
    new = particle_backup(np.random.default_rng(0), marked, CHAIN, 0.5)
    new[0, :, 0] -= 0.5
    drawn = new[0] / 0.5
    assert abs((drawn[:, 1] == 1).sum() - 10) <= 1
    slots = np.sort(drawn[drawn[:, 1] == 0, 0])
    assert np.diff(slots).max() < 0.03


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: occupancy_moments(CHAIN, 1.0), r"gamma must lie in \[0, 1\), got 1."),
        (lambda: return_moments(CHAIN * 0.9, REWARD, 0.5), "Row 0 of P must be nonnegative and"),
        (lambda: tabular.check_chain(np.ones((2, 3)) / 3, 0.5), "P must be a square matrix"),
        (lambda: cvar(REWARD, 0.0), r"tau must lie in \(0, 1\], got 0."),
        (lambda: particle_law(np.array([[1.5, -0.5], [0, 1]]), 0.5, 2), "Row 0 of P"),
    ],
)
def test_bad_input(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
