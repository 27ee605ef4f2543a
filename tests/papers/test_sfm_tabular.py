"""Exact successor features: printed numbers, finite differences, estimators, the bound."""

import numpy as np
import pytest

from papers.sfm import oracle, tabular
from papers.sfm.oracle import FiniteMDP
from papers.sfm.tabular import EXAMPLE, EXAMPLE_EXPERT, EXAMPLE_LOGITS

POLICY = oracle.softmax_policy(EXAMPLE_LOGITS)
PSI_E = oracle.expected_sf(EXAMPLE, EXAMPLE_EXPERT)
GRADIENT = [[-0.03207684, 0.03207684], [-0.43654397, 0.43654397], [-0.41326761, 0.41326761]]


def close(value, expected, atol=5e-9):
    np.testing.assert_allclose(value, expected, rtol=0, atol=atol)


def test_gradient_identity_has_the_printed_numbers():
    close(PSI_E, [7.06455141, -1.62003855])
    close(oracle.expected_sf(EXAMPLE, POLICY), [7.58287564, -1.88427961])
    close(oracle.gap_loss(EXAMPLE, POLICY, PSI_E), 0.16924166928)
    close(oracle.gap_gradient(EXAMPLE, EXAMPLE_LOGITS, PSI_E), GRADIENT)
    loss, reward = tabular.numerical_gradients(EXAMPLE, EXAMPLE_LOGITS, PSI_E)
    close(loss, GRADIENT, atol=1e-8)
    close(reward, GRADIENT, atol=1e-8)


def test_telescoping_under_both_sampling_laws():
    uniform = np.full((3, 2), 0.5)
    discounted = 0.1 * oracle.occupancy(EXAMPLE, uniform)
    close(discounted.sum(), 1)
    estimate = oracle.telescoped(EXAMPLE, POLICY, discounted, uniform)
    close(estimate, [7.58287564, -1.88427961])
    average = oracle.stationary(EXAMPLE, uniform)
    estimate = oracle.telescoped(EXAMPLE, POLICY, average, uniform)
    close(estimate, [7.49837365, -2.8873541])
    close(estimate, average @ oracle.state_sf(EXAMPLE, POLICY))  # what uniform replay estimates


def test_gradient_descent_reaches_the_expert():
    logits, losses = tabular.solve(EXAMPLE, EXAMPLE_LOGITS, PSI_E, 20_000)
    close(losses[0], 0.16924166928)
    close(losses[[10, 100, 1000]], [0.0722210576, 0.0127953507, 0.000321371230], atol=1e-10)
    assert losses[-1] < 1e-12
    close(oracle.expected_sf(EXAMPLE, oracle.softmax_policy(logits)), PSI_E, atol=2e-6)


def test_bound_on_the_performance_gap():
    difference, bound = oracle.performance_gap(EXAMPLE, EXAMPLE_EXPERT, POLICY, np.ones(2))
    close(difference, -0.25408317)
    close(bound, 0.82277985)
    ratios = tabular.bound_ratios(range(20))
    assert np.all(ratios <= 1 + 1e-12)
    close(ratios[:, 1], 1, atol=1e-12)  # attained where the reward points along the gap


def test_fixed_points():
    assert tabular.fixed_point_gradient() < 1e-10
    short = FiniteMDP(EXAMPLE.transitions, EXAMPLE.features, EXAMPLE.initial, 0.0)
    for policy in (POLICY, EXAMPLE_EXPERT):
        close(oracle.expected_sf(short, policy), EXAMPLE.initial @ EXAMPLE.features)
    gradient = oracle.gap_gradient(short, EXAMPLE_LOGITS, np.array([3.0, 1.0]))
    close(gradient, np.zeros((3, 2)), atol=1e-12)


def test_successor_features_by_simulated_sums():
    """A naive second derivation: add up gamma^t phi over powers of the transition matrix."""
    mdp, logits, _ = tabular.random_problem(5)
    policy = oracle.softmax_policy(logits)
    law, total, visits = mdp.initial, 0.0, 0.0
    for t in range(2000):
        total = total + mdp.gamma**t * (law @ mdp.features)
        visits = visits + mdp.gamma**t * law
        law = np.einsum("s,sa,sat->t", law, policy, mdp.transitions)
    close(oracle.expected_sf(mdp, policy), total, atol=1e-9)
    close(oracle.occupancy(mdp, policy), visits, atol=1e-9)
    psi = oracle.successor_features(mdp, policy)
    close(np.einsum("sa,sad->sd", policy, psi), oracle.state_sf(mdp, policy), atol=1e-9)


def test_identity_and_estimator_on_random_processes():
    errors = tabular.identity_errors(range(8))
    assert errors["loss"].shape == errors["reward"].shape == (8,)
    assert max(errors["loss"].max(), errors["reward"].max()) < 1e-5
    found = tabular.estimator_errors(range(8))
    assert found["discounted"].shape == (8, 3)
    assert found["discounted"].max() < 1e-12
    assert np.median(found["uniform"]) > 0.01


def test_bad_processes_are_refused():
    with pytest.raises(ValueError, match=r"gamma must be in \[0, 1\); got 1"):
        FiniteMDP(EXAMPLE.transitions, EXAMPLE.features, EXAMPLE.initial, 1.0)
    with pytest.raises(ValueError, match="rows of transitions must be probabilities"):
        FiniteMDP(2 * EXAMPLE.transitions, EXAMPLE.features, EXAMPLE.initial, 0.9)
