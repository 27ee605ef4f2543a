"""Return laws: projections, operators, the estimate, against enumeration and exact atoms."""

import functools
import math
import warnings
from typing import Any

import jax
import numpy as np
import pytest

from papers.temperature_decoupling import accuracy, mdps, method, oracle
from papers.temperature_decoupling.method import (
    erl_limit,
    estimate_reference_return_law,
    filtered_reference,
    gibbs,
    greedy_dist_optimality,
    iterate,
    log_policy,
    means,
    point_masses,
    project,
    projection_error,
    soft_dist_operator,
    soft_dist_optimality,
    soft_value,
    soft_vi,
    sparse,
    wasserstein,
)
from papers.temperature_decoupling.quantile import quantile_project, soft_quantile_operator

M1, M2, M4 = mdps.tri_state(), mdps.lottery(), mdps.tie_flip()
Z = np.linspace(-2, 8, 121)
Y = np.array([-1.9, 0.03, 3.3333, 7.99])
THIN2 = M2.mdp._replace(P=sparse(M2.mdp.P))
LOG2 = log_policy(M2.pi_ref)


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64():
        yield


def close(value, expected, tol=1e-9):
    np.testing.assert_allclose(np.asarray(value), expected, rtol=0, atol=tol)


def sup_w1(one, two, z, order=1.0):
    return float(wasserstein(one, two, z, order).max())


# --- Projections ----------------------------------------------------------------------------------


def test_cramer_projection():
    p = np.asarray(project(Y, Z))
    close(p.sum(1), np.ones(4), 1e-12)
    assert (p >= 0).all()
    close(p @ Z, Y, 1e-12)
    assert ((p > 0).sum(1) == 2).all()
    outside = project(np.array([-7.0, 9.0]), Z)
    close(outside[:, [0, -1]], [[1, 0], [0, 1]])
    close(project(Z, Z), np.eye(121), 1e-12)
    uneven = np.array([0.0, 1, 5])
    close(project(np.array([0.25, 4.0]), uneven), [[0.75, 0.25, 0], [0, 0.25, 0.75]])


def test_mmd_projection():
    p = np.asarray(project(Y, Z, "mmd", 1.5))
    close(p.sum(1), np.ones(4), 1e-9)
    close(project(Z, Z, "mmd", 1.5), np.eye(121), 1e-8)
    assert -5.5e-2 < p.min() < -4e-2  # near the edge of the grid
    close(p[:3] @ Z, Y[:3], 4e-6)
    assert 1e-4 < abs(p[3] @ Z - 7.99) < 1e-3
    close(project(Y, Z, "mmd", 1.0), project(Y, Z), 1e-8)
    # It is the minimiser: no direction that keeps the sum lowers the squared MMD.
    kernel = -(np.abs(Z[:, None] - Z) ** 1.5)
    for row, y in zip(p, Y, strict=True):
        slope = kernel @ row + np.abs(Z - y) ** 1.5
        close(slope, slope.mean(), 1e-6)


def test_mmd_projection_in_single_precision():
    """Near the grid, where fixed points live, the ill-conditioned system must not show."""
    single = np.array([2.0, 3.0, 3.00001, 3.0333, 7.9], np.float32)
    p = project(single.astype(np.float64), Z, "mmd")
    with jax.enable_x64(False):
        found = np.asarray(project(single, Z.astype(np.float32), "mmd"))
    assert found.dtype == np.float32
    close(found, p, 1e-4)
    close(found[:2], p[:2], 1e-6)
    close(found @ Z, p @ Z, 2e-6)


def test_projection_refusals():
    past_the_type_check: Any = getattr(project, "__wrapped__", project)
    with pytest.raises(ValueError, match="kind must be cramer or mmd"):
        past_the_type_check(Y, Z, "quantile")
    for alpha in (0.0, 2.0):
        with pytest.raises(ValueError, match="alpha must be in"):
            project(Y, Z, "mmd", alpha)


def test_quantile_projection():
    y, w = np.array([3.0, 1.0, 2.0]), np.array([0.5, 0.25, 0.25])
    close(quantile_project(y, w, 4), [1, 2, 3, 3])
    close(quantile_project(y, w, 1), [2])  # level 1/2 is reached at 2
    close(quantile_project(np.array([1.0, 9.0]), np.array([1.0, 0.0]), 2), [1, 1])


def test_wasserstein():
    z = np.array([0.0, 1, 3])
    p, q = np.array([0.5, 0.5, 0]), np.array([0, 0.5, 0.5])
    close(wasserstein(p, q, z), 1.5)  # one half moves by 1, the other by 2
    close(wasserstein(p, q, z, 2.0), math.sqrt(2.5))
    rng = np.random.default_rng(0)
    z = np.sort(rng.normal(size=7))
    p, q = rng.dirichlet(np.ones(7), (2, 3))
    for order in (1.0, 2.0, 3.5):
        naive = [oracle.wasserstein(z, a, z, b, order) for a, b in zip(p, q, strict=True)]
        close(wasserstein(p, q, z, order), naive, 1e-12)
    with pytest.raises(ValueError, match="order must be at least 1"):
        wasserstein(p, q, z, 0.5)


# --- Operators ------------------------------------------------------------------------------------


def random_laws(rng, shape, n, low, high):
    return oracle.Laws(rng.uniform(low, high, (*shape, n)), rng.dirichlet(np.ones(n), shape))


@functools.partial(jax.jit, static_argnames="kind")
def applied(mdp, log_ref, pi, tau, z, kind, zeta):
    return soft_dist_operator(mdp, log_ref, pi, tau, z, kind)(zeta)


@pytest.mark.parametrize(("kind", "thin"), [("cramer", True), ("cramer", False), ("mmd", True)])
def test_operator_equals_exact_atoms_projected(kind, thin):
    """On a random MDP, dense and sparse; the naive operator enumerates next states and actions."""
    one = mdps.planted(7)
    mdp = one.mdp._replace(P=sparse(one.mdp.P)) if thin else one.mdp
    rng = np.random.default_rng(1)
    z = np.linspace(-60, 60, 17)
    pi = rng.dirichlet(np.ones(3), 5)
    zeta = rng.dirichlet(np.ones(17), (5, 3))
    for tau in (0.0, 0.4):
        exact = oracle.apply(
            one.mdp, one.pi_ref, pi, tau, oracle.Laws(np.broadcast_to(z, zeta.shape), zeta)
        )
        table = np.asarray(project(exact.y.ravel(), z, kind)).reshape(*exact.y.shape, -1)
        expected = np.einsum("xan,xanm->xam", exact.w, table)
        found = applied(mdp, log_policy(one.pi_ref), pi, tau, z, kind, zeta)
        close(found, expected, 1e-10)


def test_means_commute_with_the_operator():
    """Lemma 4.4: exactly without a projection, and with cramer as long as nothing is cut off."""
    one = mdps.planted(2)
    log_ref, tau = log_policy(one.pi_ref), 0.2
    rng = np.random.default_rng(0)
    laws = random_laws(rng, (5, 3), 4, -3, 3)
    pi = np.asarray(gibbs(laws.means, log_ref, tau))
    backup = one.mdp.r + one.mdp.gamma * np.asarray(
        method.expect(one.mdp.P, soft_value(laws.means, log_ref, tau))
    )
    after = oracle.apply(one.mdp, one.pi_ref, pi, tau, laws)
    close(after.means, backup, 1e-12)
    z = np.linspace(-60, 60, 81)
    zeta = rng.dirichlet(np.ones(81), (5, 3))
    q = means(zeta, z)
    backup = one.mdp.r + one.mdp.gamma * np.asarray(
        method.expect(one.mdp.P, soft_value(q, log_ref, tau))
    )
    close(means(soft_dist_optimality(one.mdp, log_ref, tau, z)(zeta), z), backup, 1e-12)


@pytest.mark.parametrize("order", [1.0, 2.0])
@pytest.mark.parametrize("tau", [0.0, 0.5])
def test_contraction(order, tau):
    rng = np.random.default_rng(3)
    for seed in range(8):
        one = mdps.planted(seed)
        pi = rng.dirichlet(np.ones(3), 5)
        first, second = (random_laws(rng, (5, 3), 3, -5, 5) for _ in range(2))
        before = oracle.sup_wasserstein(first, second, order)
        image, other = (oracle.apply(one.mdp, one.pi_ref, pi, tau, law) for law in (first, second))
        assert oracle.sup_wasserstein(image, other, order) <= one.mdp.gamma * before + 1e-12


def test_cramer_projection_never_increases_w1():
    rng = np.random.default_rng(4)
    z = np.linspace(-1, 1, 9)
    for _ in range(50):
        y, y2 = rng.uniform(-1.5, 1.5, (2, 4))
        w, w2 = rng.dirichlet(np.ones(4), 2)
        p, q = (weights @ np.asarray(project(atoms, z)) for atoms, weights in ((y, w), (y2, w2)))
        assert wasserstein(p, q, z) <= oracle.wasserstein(y, w, y2, w2) + 1e-12


def test_iterates_of_the_soft_operator_on_the_lottery():
    """Mean and law errors halve in every step; from point masses at 0."""
    tau = 0.1
    operator: Any = jax.jit(soft_dist_optimality(THIN2, LOG2, tau, Z))
    start = point_masses(np.zeros((6, 2)), Z)
    limit = iterate(operator, start, 80)
    q = soft_vi(THIN2, LOG2, tau, 200)
    close(means(limit, Z), q, 1e-10)
    mean_error, law_error, zeta = [], [], start
    for _ in range(13):
        mean_error.append(float(np.abs(means(zeta, Z) - q).max()))
        law_error.append(sup_w1(zeta, limit, Z))
        zeta = operator(zeta)
    close(mean_error[0], 8)
    expected = [8 * 2.0**-n for n in range(2, 13)]
    close(mean_error[2:], expected, 1e-6)
    close(law_error[2:], expected, 1e-6)
    close(law_error[12], 1.9531e-3, 5e-8)


def test_greedy_iterates_of_the_tie_flip_never_settle():
    mdp, log_ref = M4.mdp._replace(P=sparse(M4.mdp.P)), log_policy(M4.pi_ref)
    z = np.linspace(-2, 10, 145)

    def steps(operator, n):
        zeta, found = point_masses(mdps.TIE_FLIP_START, z), []
        operator = jax.jit(operator)
        for _ in range(n):
            after = operator(zeta)
            found.append(float(wasserstein(after[0, 0], zeta[0, 0], z)))
            zeta = after
        return found

    greedy = steps(greedy_dist_optimality(mdp, log_ref, z), 40)
    close(greedy[:6], [0, 0.125, 0.958333, 0.96875, 0.96875, 0.992187], 1e-6)
    assert min(greedy[6:]) > 0.99
    soft = steps(soft_dist_optimality(mdp, log_ref, 0.3, z), 40)
    close(soft[:6], [0, 0.381728, 0.356379, 0.184597, 0.095979, 0.047267], 1e-6)
    assert soft[25] < 1e-5 and soft[-1] < 1e-9


def test_support_that_is_too_short_warns_with_the_range():
    with pytest.warns(UserWarning, match=r"covers \[0, 5\], but returns lie in \[0, 8\]"):
        soft_dist_operator(M2.mdp, LOG2, M2.pi_ref, 0.1, np.linspace(0, 5, 11))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        soft_dist_operator(M2.mdp, LOG2, M2.pi_ref, 0.1, np.linspace(0, 8, 11))


# --- Return laws of the lottery -------------------------------------------------------------------

LAWS = {  # from x0 on {0, 1, 2}, from x1 on {0, 2, 4}
    "reference": ((1 / 8, 3 / 4, 1 / 8), (1 / 4, 1 / 2, 1 / 4)),
    "erl": ((0.1547005384, 0.6905989232, 0.1547005384), (1 / 3, 1 / 3, 1 / 3)),
}


def limit_policy(name):
    if name == "reference":
        return np.asarray(filtered_reference(THIN2, LOG2))
    return np.asarray(erl_limit(THIN2, LOG2)[0])


@pytest.mark.parametrize("name", list(LAWS))
def test_enumerated_laws(name):
    pi = limit_policy(name)
    for state, atoms in ((0, (0.0, 1.0, 2.0)), (1, (0.0, 2.0, 4.0))):
        law = oracle.exact_law(M2.mdp, pi, state)
        close([law[atom] for atom in atoms], LAWS[name][state], 1e-10)
    dist = soft_dist_operator(THIN2, LOG2, pi, 0.0, Z)
    zeta = iterate(dist, point_masses(np.zeros((6, 2)), Z), 80)
    eta = np.einsum("xa,xam->xm", pi, zeta)
    for state in (0, 1):
        close(eta[state], oracle.on_grid(oracle.exact_law(M2.mdp, pi, state), Z), 1e-9)


def test_enumeration_refuses_what_never_ends():
    with pytest.raises(ValueError, match="stays random"):
        oracle.exact_law(M2.mdp, M2.pi_ref, 0)
    with pytest.raises(ValueError, match="not on the grid"):
        oracle.on_grid({0.01: 1.0}, Z)


def eta_x0(tau, sigma, kind: method.Kind = "cramer", n=100):
    zeta, pi = estimate_reference_return_law(THIN2, LOG2, tau, sigma, n, n, Z, kind)
    return np.asarray(pi)[0] @ np.asarray(zeta)[0]


def distances(eta):
    laws = [oracle.on_grid(oracle.exact_law(M2.mdp, limit_policy(name), 0), Z) for name in LAWS]
    return [float(wasserstein(eta, law, Z)) for law in laws]


@pytest.mark.parametrize(
    ("sigma", "standard", "decoupled", "mean_standard", "mean_decoupled"),
    [
        (1e-1, (0.065201, 0.006676), (0.044981, 0.055714), 0.993324, 0.975747),
        (1e-3, (0.059459, 0.000067), (0.004869, 0.055171), 0.999933, 0.997296),
        (1e-5, (0.059402, 0.000001), (0.000491, 0.058910), 0.999999, 0.999726),
        (1e-7, (0.059401, 0.0), (0.000049, 0.059352), 1, 0.999973),
        (1e-9, (0.059401, 0.0), (0.000005, 0.059396), 1, 0.999997),
    ],
)
def test_estimates_of_the_lottery(sigma, standard, decoupled, mean_standard, mean_decoupled):
    one, two = eta_x0(sigma, sigma), eta_x0(math.sqrt(sigma), sigma)
    close(distances(one), standard, 6e-7)
    close(distances(two), decoupled, 6e-7)
    close([one @ Z, two @ Z], [mean_standard, mean_decoupled], 6e-7)


@pytest.mark.parametrize(("sigma", "to_ref"), [(1e-1, 0.045157), (1e-5, 0.000518)])
def test_estimates_of_the_lottery_with_mmd(sigma, to_ref):
    close(distances(eta_x0(math.sqrt(sigma), sigma, "mmd", 45))[0], to_ref, 2e-6)


def test_single_precision_says_where_rounding_decides():
    """The paper's artefact: in float32 the standard estimate is of another optimal policy."""
    mdp, log_ref = THIN2.astype(np.float32), LOG2.astype(np.float32)
    cold, grid = np.float32(1e-7), Z.astype(np.float32)
    with pytest.warns(UserWarning, match="float32 rounds values of size 8 by more than the play"):
        zeta, pi = estimate_reference_return_law(mdp, log_ref, cold, cold, 40, 40, grid)
    assert zeta.dtype == pi.dtype == np.float32
    close(np.asarray(pi)[:2, 0], [0.5, 0.5], 1e-6)
    far = distances(np.asarray(pi)[0].astype(np.float64) @ np.asarray(zeta)[0])
    assert far[0] < 1e-5 and far[1] > 0.05  # the law of pi^{ref,*}, by accident
    with warnings.catch_warnings():  # nothing to say in float64, nor of a decoupled estimate
        warnings.simplefilter("error")
        close(eta_x0(1e-7, 1e-7) @ Z, 1, 1e-6)
        play = np.float32(1e-3)
        pi = estimate_reference_return_law(mdp, log_ref, play, cold, 40, 40, grid)[1]
    close(np.asarray(pi)[:2, 0], [0.5, 0.5], 1e-3)


def test_play_temperature_defaults_to_its_square():
    close(eta_x0(0.1, None), eta_x0(0.1, 0.01), 0)


def test_quantile_operator():
    """Its fixed point is within the projection's error of the enumerated law."""
    pi, m = limit_policy("reference"), 64
    operator = soft_quantile_operator(THIN2, LOG2, pi, 0.0)
    theta = iterate(operator, np.zeros((6, 2, m)), 60)
    eta = np.asarray(theta[0]).ravel()
    weights = np.repeat(pi[0], m) / m
    law = oracle.exact_law(M2.mdp, pi, 0)
    error = oracle.wasserstein(eta, weights, np.array(list(law)), np.array(list(law.values())))
    assert error <= 8 / (2 * m) / (1 - 0.5)
    # One step against the exact operator with every next atom.
    rng = np.random.default_rng(5)
    theta = np.sort(rng.uniform(0, 8, (6, 2, 4)))
    pi = rng.dirichlet(np.ones(2), 6)
    exact = oracle.apply(M2.mdp, M2.pi_ref, pi, 0.3, oracle.Laws(theta, np.full(theta.shape, 0.25)))
    found = np.asarray(soft_quantile_operator(M2.mdp, LOG2, pi, 0.3)(theta))
    for i in np.ndindex(6, 2):
        order = np.argsort(exact.y[i], kind="stable")
        below = np.cumsum(exact.w[i][order])
        naive = [exact.y[i][order][np.argmax(below >= (k + 0.5) / 4 - 1e-12)] for k in range(4)]
        close(found[i], naive, 1e-9)


# --- To an accuracy -------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [0.2, 0.05])
def test_estimate_to_an_accuracy(wanted):
    zeta, pi, chosen = accuracy.estimate_to(THIN2, LOG2, wanted)
    assert chosen.sigma < chosen.tau and chosen.bound == wanted
    truth = limit_policy("reference")
    for x, a in np.ndindex(6, 2):
        atoms, weights = oracle.as_arrays(oracle.exact_pair_law(M2.mdp, truth, x, a))
        assert oracle.wasserstein(chosen.z, zeta[x, a], atoms, weights) <= wanted
    assert oracle.tv(pi, truth).max() < 0.1


def test_accuracy_refusals():
    with pytest.raises(ValueError, match="accuracy must be above 0"):
        accuracy.settings(M2.mdp, LOG2, 0.0)
    with pytest.raises(ValueError, match="float64 cannot resolve"):
        accuracy.settings(M2.mdp, LOG2, 1e-9)


def test_projection_error_bounds_the_fixed_point():
    pi, coarse = limit_policy("erl"), np.linspace(0, 8, 12)
    operator = soft_dist_operator(THIN2, LOG2, pi, 0.0, coarse)
    found = np.asarray(iterate(operator, point_masses(np.zeros((6, 2)), coarse), 60))
    error = 0.0
    for x, a in np.ndindex(6, 2):
        atoms, weights = oracle.as_arrays(oracle.exact_pair_law(M2.mdp, pi, x, a))
        error = max(error, oracle.wasserstein(coarse, found[x, a], atoms, weights))
    assert 0.01 < error <= projection_error(coarse, 0.5)
