"""The exact experiments: closed forms by hand, by quadrature, by an assignment solver, by paths."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm, wasserstein_distance

from papers.superiority import method
from papers.superiority.laws import (
    Gaussian,
    absolute_moment,
    cvar,
    degenerate_case,
    independent_difference,
    noisy_case,
    superiority,
    wasserstein,
)
from papers.superiority.rates import (
    collapse_rates,
    coupled_differences,
    fitted_slope,
    four_actions,
    minimality,
    ranking_errors,
    rescalings,
)
from papers.superiority.simulation import sampled_returns, simulated_rates


@pytest.mark.parametrize(
    ("h", "w2"), [(0.1, 0.08686282), (0.01, 0.02463519), (0.001, 0.00769500), (1e-4, 0.00243034)]
)
def test_degenerate_case(h, w2):
    zeta, eta = degenerate_case(h)
    assert wasserstein(zeta, eta, 2) == pytest.approx(w2, abs=5e-9)
    assert (eta.mean, eta.std) == (pytest.approx(0.81), 0.0)
    assert wasserstein(zeta, eta, 2) == pytest.approx(0.81 * math.sqrt((0.5 * h) ** 2 + 0.09 * h))
    psi = superiority(zeta, eta)
    assert psi.scaled(h**-0.5).std == pytest.approx(0.243)
    assert psi.scaled(1 / h).std == pytest.approx(0.243 / math.sqrt(h))


@pytest.mark.parametrize(("h", "rate"), [(0.1, 0.435244), (0.01, 0.441253), (0.001, 0.441873)])
def test_noisy_case(h, rate):
    psi = superiority(*noisy_case(h))
    assert psi.std / h == pytest.approx(rate, abs=5e-7)
    assert psi.mean == 0.0
    assert psi.std == pytest.approx(math.sqrt(2 + 1.25 * h) - math.sqrt(2))
    limit = (1.5**2 - 1) / (2 * math.sqrt(2))
    assert limit == pytest.approx(0.441942, abs=5e-7)
    assert abs(psi.std / h - limit) < 0.07 * h
    zeta, eta = noisy_case(h, drift=0.5, volatility=1.0, policy_volatility=2.0, horizon=3.0)
    assert (zeta.mean, eta.mean) == (0.5 * h, 0)
    assert eta.std == pytest.approx(math.sqrt(12))
    assert zeta.std == pytest.approx(math.sqrt(4 * (3 - h) + h))


gaussians = st.builds(Gaussian, st.floats(-3, 3), st.floats(0.1, 3))


@settings(max_examples=30, deadline=None)
@given(gaussians, st.floats(0.5, 5))
def test_absolute_moment_against_quadrature(law, p):
    def integrand(x):
        return abs(x) ** p * norm.pdf(x, law.mean, law.std)

    reach = 12 * law.std
    expected = sum(
        quad(integrand, *ends, limit=200)[0]
        for ends in ((law.mean - reach, 0), (0, law.mean + reach))
    )
    assert absolute_moment(law, p) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(gaussians, gaussians, gaussians, st.floats(1, 4))
def test_wasserstein_is_a_distance(one, two, three, p):
    assert wasserstein(one, one, p) == 0
    assert wasserstein(one, two, p) == pytest.approx(wasserstein(two, one, p))
    detour = wasserstein(one, three, p) + wasserstein(three, two, p)
    assert wasserstein(one, two, p) <= detour + 1e-9
    assert wasserstein(one, two, 1) <= wasserstein(one, two, p) + 1e-9
    wider = absolute_moment(independent_difference(one, two), p)
    assert absolute_moment(superiority(one, two), p) <= wider + 1e-9
    root = math.hypot(one.mean - two.mean, one.std - two.std)
    assert wasserstein(one, two, 2) == pytest.approx(root, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(gaussians, st.floats(0.01, 1))
def test_cvar_is_the_tail_mean(law, alpha):
    quantiles = law.quantiles(20_001)
    weights = np.clip(alpha * 20_001 - np.arange(20_001), 0, 1)
    assert cvar(law, alpha) == pytest.approx((quantiles @ weights) / weights.sum(), abs=3e-3)


def test_point_masses_and_refusals():
    assert absolute_moment(Gaussian(-2.0, 0.0), 3) == 8
    assert wasserstein(Gaussian(-2.0, 0.0), Gaussian(1.0, 0.0), 2) == 3
    with pytest.raises(ValueError, match="p >= 1"):
        wasserstein(Gaussian(0.0, 1.0), Gaussian(0.0, 1.0), 0.5)
    for alpha in (0.0, -1.0, 1.01):
        with pytest.raises(ValueError, match=r"alpha must be in \(0, 1\]"):
            cvar(Gaussian(0.0, 1.0), alpha)


def test_collapse_rates():
    rates = collapse_rates()
    for gap in ("w1", "w2", "w4"):
        assert rates[f"degenerate/{gap}/slope"] == pytest.approx(0.5, abs=0.005)
    assert rates["degenerate/cvar/slope"] == pytest.approx(0.5, abs=0.03)
    assert rates["degenerate/mean/slope"] == pytest.approx(1.0, abs=1e-9)
    for gap in ("w1", "w2", "w4", "mean", "cvar"):
        assert rates[f"noisy/{gap}/slope"] == pytest.approx(1.0, abs=0.005)
    limit = 0.81 * 0.3  # W_2 / sqrt(h): the exponent 1/2 is attained
    assert rates["degenerate/w2"][-1] / rates["h"][-1] ** 0.5 == pytest.approx(limit, rel=1e-4)
    assert fitted_slope(np.array([1.0, 2.0, 4.0]), np.array([3.0, 6.0, 12.0])) == pytest.approx(1)


def test_rescalings():
    r = rescalings()
    np.testing.assert_allclose(r["shifted/mean"], 0.405)
    np.testing.assert_allclose(r["shifted/std"], 0.243)
    np.testing.assert_allclose(r["advantage"], 0.405)
    np.testing.assert_allclose(r["std"][1], 0.243)
    np.testing.assert_allclose(r["std"][0], 0.243 * np.array([1, 0.1**0.5, 0.1, 0.001**0.5]))
    np.testing.assert_allclose(r["std"][2], 0.243 / np.array([1, 0.1**0.5, 0.1, 0.001**0.5]))
    np.testing.assert_allclose(r["mean"][1], 0.405 * r["frequencies"] ** -0.5)  # h^{1-q} A_h
    inside = np.trapezoid(r["density"][:, :2], r["x"], axis=-1)
    np.testing.assert_allclose(inside[:2], 1.0, atol=1e-4)
    np.testing.assert_allclose(np.trapezoid(r["shifted/density"], r["x"]), 1.0, atol=1e-6)


def test_rescalings_equal_the_method():
    """The same laws through method.py, as quantiles in float32."""
    m, h, q = 200, 0.01, 0.5
    zeta, eta = degenerate_case(h)
    laws = [jnp.asarray(law.quantiles(m), jnp.float32) for law in (zeta, eta)]
    psi = method.comonotone_difference(*laws)
    np.testing.assert_allclose(psi, superiority(zeta, eta).quantiles(m), atol=1e-6)
    scaled = method.rescale(psi, h, q)
    expected = superiority(zeta, eta).scaled(h**-q)
    np.testing.assert_allclose(scaled, expected.quantiles(m), atol=1e-5)
    shifted = method.advantage_shift(scaled, jnp.float32(0.405), h, q)
    np.testing.assert_allclose(shifted, Gaussian(0.405, 0.243).quantiles(m), atol=1e-5)
    assert float(jnp.mean(shifted)) == pytest.approx(0.405, abs=1e-5)
    for alpha in (0.1, 0.25, 1.0):
        tail = float(method.CVaR(alpha)(shifted))
        assert tail == pytest.approx(cvar(Gaussian(0.405, 0.243), alpha), abs=2e-3)


def test_coupled_differences():
    r = coupled_differences()
    np.testing.assert_allclose(r["moment/comonotone"], r["wasserstein"], rtol=1e-7)
    assert (r["moment/independent"] > 10 * r["wasserstein"]).all()
    assert r["self/comonotone"] == 0 and r["self/independent"] == pytest.approx(2.0)
    for name in ("zeta", "eta", "independent", "comonotone"):
        assert np.trapezoid(r[name], r["x"]) == pytest.approx(1.0, abs=1e-4)


def test_minimality():
    r = minimality(problems=8)
    np.testing.assert_allclose(r["comonotone"], r["optimal"], rtol=1e-12)
    assert (r["random"] >= r["comonotone"]).all()
    assert (r["random"] > r["comonotone"]).any()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_psi_attains_the_wasserstein_distance(seed, p):
    """50 sorted atoms: mean |psi|^p = W_p^p (scipy for p = 1), and no permutation does better."""
    rng = np.random.default_rng(seed)
    zeta, eta = np.sort(rng.normal(size=(2, 50)) * rng.uniform(0.1, 3, (2, 1)))
    cost = np.mean(np.abs(zeta - eta) ** p)
    assert np.mean(np.abs(zeta - rng.permutation(eta)) ** p) >= cost - 1e-12
    if p == 1:
        assert cost == pytest.approx(wasserstein_distance(zeta, eta), abs=1e-12)
    psi = method.comonotone_difference(
        jnp.asarray(zeta, jnp.float32), jnp.asarray(eta, jnp.float32)
    )
    assert float(jnp.mean(jnp.abs(psi) ** p)) == pytest.approx(cost, rel=1e-3, abs=1e-5)


def test_four_actions():
    r = four_actions()
    np.testing.assert_allclose(r["zeta"], [-1.208554, -1.330721, -1.276106, -1.238554], atol=5e-7)
    np.testing.assert_allclose(r["sorted"], [-0.062552, -0.059615, -0.005, -0.092552], atol=5e-7)
    expected = [0.062552, -0.059615, -0.005, 0.032552]
    np.testing.assert_allclose(r["comonotone"], expected, atol=5e-7)
    assert [int(np.argmax(r[k])) for k in ("zeta", "comonotone", "sorted")] == [0, 0, 2]
    for name in ("zeta", "sorted", "comonotone"):
        np.testing.assert_allclose(r[f"method/{name}"], r[name], atol=2e-4)


def test_ranking_errors():
    r = ranking_errors(problems=5_000)
    assert r["comonotone"] == 0 and r["regret/comonotone"] == 0
    assert 0.1 < r["sorted"] < 0.3 and 0 < r["regret/sorted"] < 0.2
    one, two = (ranking_errors(500, seed=s)["regret/sorted"] for s in (1, 2))
    assert one != two


def test_simulated_paths_have_the_known_mean():
    """E int gamma^s X_s ds + gamma^T E X_T of geometric Brownian motion, in closed form."""
    noise = np.random.default_rng(0).standard_normal((100_000, 9))
    returns = sampled_returns(0.1, (0.3, 0.4), (0.05, 0.5), noise)
    log_gamma, start = math.log(0.9), math.exp((0.3 + math.log(0.9)) * 0.1)
    first = (start - 1) / (0.3 + log_gamma)
    later = start * (math.exp((0.05 + log_gamma) * 0.9) - 1) / (0.05 + log_gamma)
    last = start * math.exp((0.05 + log_gamma) * 0.9)
    error = returns.std() / math.sqrt(len(returns))
    assert abs(returns.mean() - (first + later + last)) < 4 * error + 1e-4  # trapezoid rule


def test_simulated_rates():
    """Exponents of a non-Gaussian return: 1/2 without noise of the policy's own, 1 with it."""
    r = simulated_rates(batches=3, paths=20_000)
    for name in ("w1", "w2"):
        np.testing.assert_allclose(r[f"{name}/slope"][0], 0.5, atol=0.03)
        np.testing.assert_allclose(r[f"{name}/slope"][1], 1.0, atol=0.08)
    np.testing.assert_allclose(r["mean/slope"], 1.0, atol=0.06)
    assert (r["w1"][0] > r["mean"][0]).all()
    again = simulated_rates(batches=1, paths=1_000, seed=1)
    other = simulated_rates(batches=1, paths=1_000, seed=2)
    assert (again["w1"] != other["w1"]).all()
