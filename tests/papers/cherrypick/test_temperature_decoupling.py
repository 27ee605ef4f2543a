"""Temperature decoupling by hand: run `python` or `pytest` on this file."""

import math

import jax
import numpy as np

from papers.temperature_decoupling.method import (
    TabularMDP,
    decoupled_policy,
    erl_limit,
    estimate_reference_return_law,
    filtered_reference,
    gibbs,
    log_policy,
    optimal_policy,
    project,
    ref_optimal_q,
    soft_vi,
    sparse,
    wasserstein,
)

# x0 leads to x1, where both actions earn 1 for ever, or to x2, where only action 0 does.
P = np.zeros((3, 2, 3))
P[0, 0, 1] = P[0, 1, 2] = P[1, :, 1] = P[2, :, 2] = 1
MDP = TabularMDP(P, np.array([[0, 0], [1, 1], [1, 0.0]]), 0.9)
UNIFORM = log_policy(np.full((3, 2), 0.5))


def close(value, expected, tol=1e-9):
    """Equal up to `tol`."""
    np.testing.assert_allclose(np.asarray(value), expected, rtol=0, atol=tol)


def test_limits():
    with jax.enable_x64():
        MDP.validate(start=(0,))
        close(ref_optimal_q(MDP, UNIFORM), [[9, 9], [10, 10], [10, 9]])
        pi, W, u = erl_limit(MDP, UNIFORM)
        close(pi[0], [512 / 513, 1 / 513])
        close(W, [math.log(0.5 * (1 + 2**-9)), 0, -10 * math.log(2)])
        close(u[0], [0, -9 * math.log(2)])
        close(filtered_reference(MDP, UNIFORM), [[0.5, 0.5], [0.5, 0.5], [1, 0]])


def test_policies_at_a_temperature():
    with jax.enable_x64():
        close(optimal_policy(MDP, UNIFORM, 0.1)[0, 0], 0.9980498872)
        close(decoupled_policy(MDP, UNIFORM, 0.1)[0, 0], 0.6510896798)
        # The same from the definitions: optimise at 0.01, act at 0.1.
        close(gibbs(soft_vi(MDP, UNIFORM, 0.01, 400), UNIFORM, 0.1)[0, 0], 0.6510896798)
        close(decoupled_policy(MDP, UNIFORM, 1e-12)[0], [0.5, 0.5])


def test_return_law():
    """x0 with a fair lottery of 0 and 2 behind one action, 1 for sure behind the other."""
    chain = np.zeros((4, 2, 4))
    chain[0, 0, 1] = 1
    chain[0, 1, 2:] = 0.5
    chain[[1, 2, 3], :, [1, 2, 3]] = 1
    rewards = np.array([[0, 0], [1, 1], [2, 2], [0, 0.0]])
    mdp, log_ref = TabularMDP(sparse(chain), rewards, 0.5), log_policy(np.full((4, 2), 0.5))
    z = np.linspace(0, 4, 9)
    with jax.enable_x64():
        zeta, pi = estimate_reference_return_law(mdp, log_ref, 1e-6, None, 60, 60, z)
        close(pi[0], [0.5, 0.5], 1e-6)
        eta = np.einsum("a,am->m", pi[0], zeta[0])
        close(eta[[0, 2, 4]], [0.25, 0.5, 0.25], 1e-5)
        close(wasserstein(eta, np.eye(9)[2], z), 0.5, 1e-5)


def test_projections():
    with jax.enable_x64():
        z = np.linspace(0, 2, 5)
        close(project(np.array([0.6, 9.0]), z), [[0, 0.8, 0.2, 0, 0], [0, 0, 0, 0, 1]])
        close(project(np.array([0.6]), z, "mmd", 1.0), [[0, 0.8, 0.2, 0, 0]])


def test_single_precision_is_asked_for():
    try:
        soft_vi(MDP, UNIFORM, 0.1, 3)
    except ValueError as error:
        assert "enable_x64" in str(error)
    else:
        raise AssertionError("float64 was rounded without a word")
    q = soft_vi(MDP.astype(np.float32), UNIFORM.astype(np.float32), 0.1, 400)
    assert q.dtype == np.float32
    close(q[1], [10, 10], 1e-4)


if __name__ == "__main__":
    tests = [test for name, test in sorted(globals().items()) if name.startswith("test_")]
    for test in tests:
        test()
    print(f"{len(tests)} tests passed")
