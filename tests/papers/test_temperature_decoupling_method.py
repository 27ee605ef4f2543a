"""The method against numbers computed by hand, naive loops, and its identities."""

import ast
import itertools
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from papers.temperature_decoupling import mdps, method, oracle
from papers.temperature_decoupling.method import (
    TabularMDP,
    decoupled_policy,
    erl_limit,
    filtered_reference,
    gibbs,
    log_policy,
    optimal_actions,
    optimal_policy,
    ref_optimal_q,
    soft_q_learning,
    soft_value,
    soft_vi,
    sparse,
    tilt,
)
from papers.temperature_decoupling.newton import soft_policy_iteration

M1, M2, M3 = mdps.tri_state(), mdps.lottery(), mdps.scary_action()
TAUS = np.array([0.3, 0.1, 0.03, 0.01, 1e-3, 1e-6, 1e-9, 1e-12])


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64():
        yield


def close(value, expected, tol=1e-9):
    np.testing.assert_allclose(np.asarray(value), expected, rtol=0, atol=tol)


def both(example):
    return example.mdp, log_policy(example.pi_ref)


# --- Numbers of the small MDPs --------------------------------------------------------------------


def test_tri_state():
    mdp, log_ref = both(M1)
    close(ref_optimal_q(mdp, log_ref), [[9, 9], [10, 10], [10, 9]])
    pi, W, u = erl_limit(mdp, log_ref)
    close(W, [-0.6911959604, 0, -10 * math.log(2)])
    close(u[0], [0, -6.2383246250])
    close(pi, [[512 / 513, 1 / 513], [0.5, 0.5], [1, 0]])
    close(filtered_reference(mdp, log_ref), [[0.5, 0.5], [0.5, 0.5], [1, 0]])


TRI_STATE_ROWS = [
    (0.3, 0.9973295996, 0.8666267786),
    (0.1, 0.9980498872, 0.6510896798),
    (0.03, 0.9980506823, 0.5466513504),
    (0.01, 0.9980506823, 0.5155907557),
]


@pytest.mark.parametrize(("tau", "standard", "decoupled"), TRI_STATE_ROWS)
def test_policies_of_the_tri_state(tau, standard, decoupled):
    """By the split and, independently, by plain soft value iteration."""
    mdp, log_ref = both(M1)
    close(optimal_policy(mdp, log_ref, tau)[0, 0], standard, 6e-11)
    close(decoupled_policy(mdp, log_ref, tau)[0, 0], decoupled, 6e-11)
    close(gibbs(soft_vi(mdp, log_ref, tau, 400), log_ref, tau)[0, 0], standard, 1e-10)
    close(gibbs(soft_vi(mdp, log_ref, tau**2, 400), log_ref, tau)[0, 0], decoupled, 1e-10)
    if tau <= 0.03:
        close(decoupled_policy(mdp, log_ref, tau)[0, 0], 1 / (1 + math.exp(-6.238324625 * tau)))


@pytest.mark.parametrize(
    ("tau", "gap"), [(0.5, 2.5479862628), (0.1, 0.6237916035), (0.02, 0.1247664925)]
)
def test_distance_to_the_limit_values(tau, gap):
    mdp, log_ref = both(M1)
    distance = np.abs(ref_optimal_q(mdp, log_ref) - soft_vi(mdp, log_ref, tau, 400)).max()
    close(distance, gap, 6e-11)
    bound = oracle.value_bound(0.9, tau, 0.5)
    assert distance <= bound
    if tau == 0.02:
        close(distance, bound, 1e-12)  # the bound is attained


@pytest.mark.parametrize(("tau", "slope"), [(0.3, -5.922853), (0.1, -6.237916), (0.03, -6.238325)])
def test_first_order_term_of_the_values(tau, slope):
    mdp, log_ref = both(M1)
    found = (soft_vi(mdp, log_ref, tau, 400) - ref_optimal_q(mdp, log_ref))[0] / tau
    close(found, [0, slope], 6e-7)


def test_lottery():
    mdp, log_ref = both(M2)
    best = ref_optimal_q(mdp, log_ref)
    close(best, [[1, 1], [2, 2], [4, 2], [8, 8], [0, 0], [2, 2]])
    pi, W, _ = erl_limit(mdp, log_ref)
    close(W, [-0.0693364642, math.log(3 / 4), -2 * math.log(2), 0, 0, 0])
    root = math.sqrt(3)
    close(pi[0], [root / (2 + root), 2 / (2 + root)])
    close(pi[1], [1 / 3, 2 / 3])
    close(filtered_reference(mdp, log_ref)[:3], [[0.5, 0.5], [0.5, 0.5], [1, 0]])


def test_scary_action():
    mdp, log_ref = both(M3)
    pi, W, _ = erl_limit(mdp, log_ref)
    close(W, [-4.605044, 0, -13.862944], 5e-7)
    close(pi[0], [0.999874, 0.000126, 0, 0], 5e-7)
    close(filtered_reference(mdp, log_ref)[0], [1 / 34, 33 / 34, 0, 0])
    close(decoupled_policy(mdp, log_ref, 0.2)[0], [0.266088, 0.724154, 0.004879, 0.004879], 6e-7)
    close(decoupled_policy(mdp, log_ref, 0.05)[0], [0.053521, 0.946479, 0, 0], 6e-7)


@pytest.mark.parametrize(("ratio", "limit"), [(0.5, 0.957676), (1.0, 0.998051), (0.1, 0.651090)])
def test_a_fixed_ratio_of_temperatures_leads_elsewhere(ratio, limit):
    mdp, log_ref = both(M1)
    tau = 1e-4
    pi = (
        optimal_policy(mdp, log_ref, tau)
        if ratio == 1
        else decoupled_policy(mdp, log_ref, tau, ratio * tau)
    )
    close(pi[0, 0], limit, 6e-7)
    close(pi[0, 0], 1 / (1 + math.exp(-6.238324625 * ratio)), 1e-8)


def test_both_limits_agree_where_all_that_follows_is_equal():
    rewards = M1.mdp.r.copy()
    rewards[2, 1] = 1  # now both actions are optimal at x2
    mdp, log_ref = M1.mdp._replace(r=rewards), log_policy(M1.pi_ref)
    pi, W, _ = erl_limit(mdp, log_ref)
    close(W, np.zeros(3))
    close(pi, filtered_reference(mdp, log_ref), 1e-12)


def test_reference_without_the_only_optimal_action():
    pi_ref = M1.pi_ref.copy()
    pi_ref[2] = (0, 1)
    mdp, log_ref = M1.mdp, log_policy(pi_ref)
    close(ref_optimal_q(mdp, log_ref), [[9, 0], [10, 10], [1, 0]])
    filtered = filtered_reference(mdp, log_ref)
    close(filtered[0], [1, 0])
    close(filtered[2], [0, 1])
    for tau in TAUS:
        for pi in (optimal_policy(mdp, log_ref, tau), decoupled_policy(mdp, log_ref, tau)):
            assert np.isfinite(pi).all() and pi[2, 0] == 0
        q = soft_vi(mdp, log_ref, tau, 400)
        assert np.isfinite(q).all()
        close(q[2, 1], 0)
        assert np.isfinite(soft_policy_iteration(mdp, log_ref, tau)).all()


# --- Every temperature ----------------------------------------------------------------------------


def test_every_temperature_down_to_1e_12():
    """Against closed forms: the decoupled log-odds are tau times the difference of u."""
    mdp, log_ref = both(M1)
    for tau in TAUS[2:]:
        _, u = tilt(mdp, log_ref, tau)
        close(u[0], [0, -6.238324625], 1e-8)
        close(optimal_policy(mdp, log_ref, tau)[0, 0], 512 / 513, 1e-10)
        pi = decoupled_policy(mdp, log_ref, tau)
        close(pi[0, 0] - 0.5, 0.5 * math.tanh(0.5 * 6.238324625 * tau), 1e-12)
        assert pi[2, 1] == pytest.approx(math.exp(-1 / tau) / (1 + math.exp(-1 / tau)), abs=1e-15)


def test_split_equals_plain_iteration_over_many_mdps_and_temperatures_at_once():
    """vmap over MDPs and temperatures; the naive loops agree on one of them."""
    batch = mdps.planted_batch(tuple(range(12)))
    log_ref = np.log(batch.pi_ref)
    taus = TAUS[:4]

    def values(mdp, log_ref, tau):
        q = ref_optimal_q(mdp, log_ref)
        return q + tau * tilt(mdp, log_ref, tau)[1], soft_vi(mdp, log_ref, tau, 400), q

    over = jax.vmap(jax.vmap(values, (None, None, 0)), (0, 0, None))
    split, plain, best = over(batch.mdp, log_ref, taus)
    close(split, plain, 1e-12)
    close(best[:, 0], batch.q, 1e-12)
    newton = jax.vmap(soft_policy_iteration, (0, 0, None, None))
    close(newton(batch.mdp, log_ref, 0.1, 1e-12), plain[:, 1], 2e-12)
    one = mdps.planted(3)
    close(oracle.soft_q(one.mdp, one.pi_ref, 0.1, 400), plain[3, 1], 1e-12)
    # Monotone in the temperature (Lemma B.1) and below the limit.
    assert (plain[:, :-1] <= plain[:, 1:] + 1e-12).all()
    assert (plain[:, -1] <= best[:, -1] + 1e-12).all()
    assert (jax.vmap(optimal_actions)(best[:, 0], log_ref) == batch.optimal).all()


def test_sparse_and_dense_transitions_agree():
    mdp, log_ref = both(M2)
    thin = mdp._replace(P=sparse(mdp.P))
    assert thin.P.state.shape == (6, 2, 2)
    close(soft_vi(thin, log_ref, 0.1, 100), soft_vi(mdp, log_ref, 0.1, 100), 1e-14)
    close(ref_optimal_q(thin, log_ref), ref_optimal_q(mdp, log_ref), 1e-14)
    close(thin.validate().r, mdp.r)


@pytest.mark.parametrize("gamma", [0.0, 0.999])
def test_extreme_discounts(gamma):
    mdp, log_ref = M1.mdp._replace(gamma=gamma), log_policy(M1.pi_ref)
    best = ref_optimal_q(mdp, log_ref)
    close(best[1], [1 / (1 - gamma)] * 2, 1e-9)
    close(decoupled_policy(mdp, log_ref, 1e-9)[0], [0.5, 0.5], 1e-5)
    _, W, u = erl_limit(mdp, log_ref)
    close(W[2], -math.log(2) / (1 - gamma), 1e-8)
    close(u[0, 1], gamma * W[2], 1e-9)


# --- Soft values and policies ---------------------------------------------------------------------

value_of, policy_of = jax.jit(soft_value), jax.jit(gibbs)
tables = st.lists(st.floats(-50, 50), min_size=6, max_size=6).map(lambda x: np.reshape(x, (2, 3)))


@settings(max_examples=40, deadline=None)
@given(tables, tables, st.sampled_from(TAUS.tolist()), st.floats(-20, 20))
def test_soft_value_identities(q, other, tau, shift):
    log_ref = np.log([[0.2, 0.3, 0.5], [0.1, 0.6, 0.3]])
    value, pi = np.asarray(value_of(q, log_ref, tau)), np.asarray(policy_of(q, log_ref, tau))
    assert (value <= q.max(1) + 1e-12).all()
    assert (value >= q.max(1) + tau * np.log(0.1) - 1e-12).all()
    close(pi.sum(1), [1, 1], 1e-12)
    # The variational formula: V = E q - tau KL at the maximiser.
    close((pi * q).sum(1) - tau * oracle.kl(pi, np.exp(log_ref)), value, 1e-9)
    # Shifts pass through; 1-Lipschitz.
    close(value_of(q + shift, log_ref, tau), value + shift, 1e-9)
    lipschitz = np.abs(value_of(other, log_ref, tau) - value).max()
    assert lipschitz <= np.abs(other - q).max() + 1e-9


def test_gibbs_is_the_gradient_of_the_soft_value():
    rng = np.random.default_rng(0)
    q, log_ref, tau = rng.normal(size=(3, 4)), np.log(rng.dirichlet(np.ones(4), 3)), 0.7
    slope = jax.grad(lambda q: soft_value(q, log_ref, tau).sum())(q)
    close(slope, gibbs(q, log_ref, tau), 1e-12)
    numeric, h = np.zeros_like(q), 1e-6
    for i in np.ndindex(q.shape):
        up, down = q.copy(), q.copy()
        up[i] += h
        down[i] -= h
        numeric[i] = (soft_value(up, log_ref, tau) - soft_value(down, log_ref, tau)).sum() / (2 * h)
    close(slope, numeric, 1e-8)


@pytest.mark.parametrize(
    ("d", "sharp", "paper", "root"),
    [
        (0.05, 0.0249948, 0.0500834, 0.2236),
        (0.2, 0.0996680, 0.2053762, 0.4472),
        (0.5, 0.2449187, 0.5876006, 0.7071),
        (1.0, 0.4621172, 1.8134302, 1.0),
    ],
)
def test_total_variation_of_the_extreme_pair(d, sharp, paper, root):
    tau = 0.3
    q = np.array([[d * tau / 2, -d * tau / 2]])
    uniform = np.log([[0.5, 0.5]])
    found = oracle.tv(gibbs(q, uniform, tau), gibbs(-q, uniform, tau))
    close(found, [sharp], 6e-8)
    close(found, oracle.sharp_tv_bound(np.array([d])), 1e-14)
    close(oracle.tv_bound(d), min(paper, root), 6e-5)


@settings(max_examples=60, deadline=None)
@given(tables, tables, st.floats(0.05, 50))
def test_total_variation_bound(q, other, tau):
    log_ref = np.log([[0.2, 0.3, 0.5], [0.1, 0.6, 0.3]])
    d = np.abs(q - other).max(1) / tau
    found = oracle.tv(policy_of(q, log_ref, tau), policy_of(other, log_ref, tau))
    assert (found <= oracle.sharp_tv_bound(d) + 1e-12).all()
    assert (oracle.sharp_tv_bound(d) <= oracle.tv_bound(d) + 1e-12).all()


def test_optimal_soft_policy_beats_every_other():
    """Theorem 2.3, by the performance difference."""
    mdp, log_ref = both(M3)
    tau = 0.2
    best = np.asarray(optimal_policy(mdp, log_ref, tau))
    top = oracle.policy_value(mdp, M3.pi_ref, best, tau)
    close(top, soft_value(soft_vi(mdp, log_ref, tau, 400), log_ref, tau), 1e-10)
    rng = np.random.default_rng(1)
    for _ in range(10):
        pi = rng.dirichlet(np.ones(4), 3)
        gap = top - oracle.policy_value(mdp, M3.pi_ref, pi, tau)
        assert (gap > 0).all()
        close(gap, oracle.shortfall(mdp, M3.pi_ref, pi, best, tau), 1e-10)


def test_limit_policy_has_the_least_kl_among_optimal_ones():
    """Theorem 2.5: -W is its cost, and no optimal policy on a fine grid of M2 costs less."""
    mdp, log_ref = both(M2)
    pi, W, _ = erl_limit(mdp, log_ref)
    pi = np.asarray(pi)
    close(oracle.kl_cost(mdp, M2.pi_ref, pi), -np.asarray(W), 1e-12)
    least = math.inf
    for a, b in itertools.product(np.linspace(0, 1, 41), repeat=2):
        other = pi.copy()
        other[0], other[1] = (a, 1 - a), (b, 1 - b)
        least = min(least, oracle.kl_cost(mdp, M2.pi_ref, other)[0])
    assert -W[0] <= least <= -W[0] + 1e-3


def test_smaller_sigma_is_closer():
    mdp, log_ref = both(M1)
    taus = np.array([1e-2, 1e-4])
    for power in (1.5, 2, 3):
        error = [
            float(oracle.tv(decoupled_policy(mdp, log_ref, t, t**power), np.full((3, 2), 0.5))[0])
            for t in taus
        ]
        assert np.log(error[0] / error[1]) / np.log(100) == pytest.approx(power - 1, abs=0.01)


# --- Learning from samples ------------------------------------------------------------------------


def test_soft_q_learning_finds_the_soft_values():
    mdp, log_ref = both(M2)
    thin = mdp._replace(P=sparse(mdp.P))
    key, other = jax.random.split(jax.random.key(0))
    found = soft_q_learning(key, mdp, log_ref, 0.5, 60_000, 0.8)
    assert np.abs(found - soft_vi(mdp, log_ref, 0.5, 200)).max() < 0.15
    close(soft_q_learning(key, thin, log_ref, 0.5, 60_000, 0.8), found, 1e-12)  # the same draws
    assert (soft_q_learning(other, thin, log_ref, 0.5, 60_000, 0.8) != found).any()


def test_soft_q_learning_goes_on_where_it_stopped():
    mdp, log_ref = both(M1)
    zeros = np.zeros((3, 2))
    state = method.QLearning(zeros, zeros, jax.random.key(5))
    twice = method.soft_q_steps(state, mdp, log_ref, 0.3, 500, 1.0)
    twice = method.soft_q_steps(twice, mdp, log_ref, 0.3, 500, 1.0)
    assert twice.visits.sum() == 1000
    assert (np.asarray(twice.q)[1] < 10).all() and (np.asarray(twice.q)[1] > 1).all()


# --- Precision ------------------------------------------------------------------------------------


def test_float32_loses_ties_at_small_temperatures():
    mdp, log_ref = M2.mdp.astype(np.float32), log_policy(M2.pi_ref.astype(np.float32))
    assert mdp.astype(np.float64).P.dtype == np.float64
    first = {}
    for tau in (1e-1, 1e-5, 1e-7, 1e-9):
        tau = np.float32(tau)
        first[float(tau)] = np.asarray(gibbs(soft_vi(mdp, log_ref, tau, 100), log_ref, tau))
        assert first[float(tau)].dtype == np.float32
    close(next(iter(first.values()))[:2, 0], [0.4641, 0.3333], 1e-4)
    close(list(first.values())[-1][:2, 0], [0.5, 0.5], 1e-6)  # another optimal policy
    split = optimal_policy(mdp, log_ref, np.float32(1e-9))
    close(np.asarray(split)[:2, 0], [0.4641016, 1 / 3], 1e-5)  # the split does not lose them


# --- What is refused ------------------------------------------------------------------------------


def refused(call):
    with pytest.raises(ValueError) as error:
        call()
    return str(error.value)


def test_bad_temperatures():
    mdp, log_ref = both(M1)
    for call in (
        lambda: soft_vi(mdp, log_ref, 0.0, 3),
        lambda: gibbs(mdp.r, log_ref, -0.1),
        lambda: soft_policy_iteration(mdp, log_ref, math.nan),
        lambda: decoupled_policy(mdp, log_ref, math.inf),
    ):
        assert "must be finite and above 0" in refused(call)
    message = refused(lambda: decoupled_policy(mdp, log_ref, 0.1, 0.2))
    assert "sigma << tau" in message and "sigma = 0.2" in message and "tau = 0.1" in message
    assert "sigma << tau" in refused(lambda: decoupled_policy(mdp, log_ref, 1.5))  # sigma = 2.25


def change(array, place, value):
    array = np.array(array)
    array[place] = value
    return array


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda m: m._replace(gamma=1.0), "gamma must be in [0, 1); got 1.0."),
        (lambda m: m._replace(gamma=math.nan), "gamma must be in [0, 1); got nan."),
        (lambda m: m._replace(r=change(m.r, (1, 0), np.nan)), "r[1, 0] is not finite"),
        (lambda m: m._replace(r=m.r[0]), "r must have shape [S, A]"),
        (lambda m: m._replace(P=m.P[:2]), "P must have shape [S, A, S] = [3, 2, 3] like r; got"),
        (lambda m: m._replace(P=change(m.P, (2, 1, 0), 0.1)), "The row P[2, 1] does not sum to 1."),
        (lambda m: m._replace(P=change(m.P, (0, 1, 0), -1)), "P[0, 1, 0] is negative"),
        (lambda m: m._replace(P=sparse(m.P)._replace(state=np.full((3, 2, 1), 3, np.int32))),
         "index[0, 0, 0] is not a state 0 ... 2."),
        (lambda m: m._replace(P=sparse(m.P)._replace(prob=np.ones((3, 1, 1)))),
         "Successors must have two arrays"),
    ],
)  # fmt: skip
def test_bad_mdps(make, sentence):
    assert refused(lambda: make(M1.mdp).validate()).startswith(sentence)


def test_unreachable_states():
    assert M1.mdp.validate(start=(0,)) is M1.mdp
    message = refused(lambda: M1.mdp.validate(start=(1,)))
    assert message == "State [0] cannot be reached from the start states [1]."
    assert "start must name states 0 ... 2" in refused(lambda: M1.mdp.validate(start=(7,)))


def test_bad_policies():
    assert refused(lambda: log_policy(change(M1.pi_ref, (2, 0), 0.6))).startswith(
        "The policy's row [2] does not sum to 1."
    )
    assert refused(lambda: log_policy(change(M1.pi_ref, (1, 0), -0.5))).startswith(
        "The policy is negative or not a number at [1, 0]."
    )
    assert "shape [S, A]" in refused(lambda: log_policy(np.array([0.5, 0.5])))


def test_newton_needs_dense_transitions():
    thin = M1.mdp._replace(P=sparse(M1.mdp.P))
    message = refused(lambda: soft_policy_iteration(thin, log_policy(M1.pi_ref), 0.1))
    assert message.startswith("soft_policy_iteration needs a dense P")


def test_float64_outside_its_context_is_refused():
    with jax.enable_x64(False):
        mdp, log_ref = both(M1)
        assert "jax.enable_x64()" in refused(lambda: soft_vi(mdp, log_ref, 0.1, 3))
        assert "jax.enable_x64()" in refused(lambda: ref_optimal_q(mdp, log_ref))


def test_the_method_imports_third_party_packages_only():
    source = Path(method.__file__).read_text()
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
    assert found <= {"__future__", "collections", "functools", "typing", "warnings",
                     "jax", "jaxtyping", "numpy", "math"}  # fmt: skip


def test_types_of_a_batch():
    batch = mdps.planted_batch((0, 1))
    assert isinstance(batch.mdp, TabularMDP)
    assert batch.mdp.P.shape == (2, 5, 3, 5) and batch.mdp.gamma.shape == (2,)
    pi = jax.vmap(filtered_reference)(batch.mdp, np.log(batch.pi_ref))
    close(jnp.where(batch.optimal, 0, pi), np.zeros((2, 5, 3)))
