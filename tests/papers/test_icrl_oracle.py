"""icrl: the corridor solved exactly, twice; the reduction identity; V1 to V3 of the game."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from papers.icrl import method, oracle
from papers.icrl.oracle import Corridor

WORLD = Corridor()
EXPERT = [0, 0.126439, 0.308892, 0.350032, 0.154292, 0.049194, 0.011151]


def mdp():
    """The corridor for `method`; call it with 64-bit types on."""
    numbers = (WORLD.transition, WORLD.reward, WORLD.first)
    return method.TabularMDP(*map(jnp.asarray, numbers), WORLD.gamma)


def expert_occupancy():
    return oracle.occupancies(WORLD, oracle.expert(WORLD)).sum(axis=1)


def test_the_corridor_without_a_constraint():  # V1
    pi, _ = oracle.soft_optimal(WORLD, WORLD.reward)
    occ = oracle.occupancies(WORLD, pi).sum(axis=1)
    assert occ[0] == pytest.approx(0.643285, abs=1e-6)
    assert occ.sum() == pytest.approx(1)
    assert oracle.value(WORLD, pi, WORLD.reward) == pytest.approx(9.620709, abs=1e-6)


def test_the_expert_of_the_corridor():  # V1
    occ = expert_occupancy()
    np.testing.assert_allclose(occ, EXPERT, atol=1e-6)
    assert occ[0] == pytest.approx(2.1e-21, rel=0.05)
    reward = oracle.value(WORLD, oracle.expert(WORLD), WORLD.reward)
    assert reward == pytest.approx(7.573131, abs=1e-6)


@pytest.mark.parametrize(
    ("steps", "cost", "occupancy", "reward", "gap"),
    [
        (10, 0.685670, 0.0040835, 7.576712, 0.008382),
        (100, 0.891255, 0.0014160, 7.574124, None),
        (1000, 1.304924, 2.0514e-4, 7.573251, None),
    ],
)
def test_exact_ascent(steps, cost, occupancy, reward, gap):  # V1
    with jax.enable_x64():
        c, pi, trace = method.tabular_icrl(mdp(), jnp.asarray(expert_occupancy()), 0.2, 1.0, steps)
        occ = method.occupancy(mdp(), pi)
        found = float(c[0]), float(occ[0].sum()), float((occ * WORLD.reward).sum() / 0.1)
    assert found[0] == pytest.approx(cost, abs=1e-6)
    assert found[1] == pytest.approx(occupancy, rel=1e-4)
    assert found[2] == pytest.approx(reward, abs=1e-6)
    assert float(trace["occupancy"][0][0]) == pytest.approx(0.643285, abs=1e-6)  # first gradient
    assert np.all(np.asarray(c) >= 0)
    if steps == 10:
        ours = oracle.ascend(WORLD, steps)
        np.testing.assert_allclose(np.asarray(c), ours.cost, atol=1e-10)
        assert ours.gap == pytest.approx(gap, abs=1e-6)


def test_a_correction_of_either_sign_and_of_pairs():
    target = oracle.occupancies(WORLD, oracle.expert(WORLD))
    with jax.enable_x64():
        c, pi, trace = method.tabular_icrl(mdp(), jnp.asarray(target), 0.2, 1.0, 300, nonneg=False)
        gap = float(jnp.abs(method.occupancy(mdp(), pi) - target).sum())
        first, lowest = float(trace["l1"][0]), float(c.min())
    assert c.shape == (7, 2)
    assert lowest < 0
    assert gap < 0.1 * first


def test_the_two_games_are_one_where_costs_are_a_cone():  # V2
    rng = np.random.default_rng(0)
    for _ in range(20):
        c, lam = rng.uniform(0, 2, 7), rng.uniform(0, 5)
        assert oracle.trilevel(WORLD, c, lam) == pytest.approx(
            oracle.bilevel(WORLD, lam * c), abs=1e-10
        )
        assert oracle.bilevel(WORLD, c) <= 1e-12 or np.any(c)


def test_a_bounded_class_needs_the_multiplier():  # V2
    capped, free = oracle.ascend(WORLD, 1000, ceiling=1.0), oracle.ascend(WORLD, 1000)
    assert capped.cost[0] == 1
    assert np.all(capped.cost <= 1)
    assert free.cost[0] == pytest.approx(1.304924, abs=1e-5)
    assert free.gap < capped.gap / 3
    assert oracle.trilevel(WORLD, capped.cost, 1.3) > oracle.trilevel(WORLD, capped.cost, 1.0)


def test_values_agree_with_rollouts_and_with_the_soft_value():
    pi, v = oracle.soft_optimal(WORLD, WORLD.reward)
    total = oracle.value(WORLD, pi, WORLD.reward) + WORLD.alpha * oracle.entropy(WORLD, pi)
    assert total == pytest.approx(float(v[WORLD.start]), abs=1e-10)
    rng, states, discount, returns = np.random.default_rng(1), np.full(4000, 3), 1.0, 0.0
    for _ in range(120):
        act = (rng.random(4000) > pi[states, 0]).astype(int)
        returns = returns + discount * WORLD.reward[states, act]
        states, discount = np.clip(states + 2 * act - 1, 0, 6), discount * WORLD.gamma
    expected = oracle.value(WORLD, pi, WORLD.reward)
    assert float(np.mean(returns)) == pytest.approx(expected, abs=0.05)


def test_soft_policies_agree_with_the_oracles():
    rng = np.random.default_rng(2)
    reward = rng.normal(size=(7, 2))
    with jax.enable_x64():
        pi = method.soft_policy(mdp(), jnp.asarray(reward), 0.2)
        occ = method.occupancy(mdp(), pi)
    ours, _ = oracle.soft_optimal(WORLD, reward)
    np.testing.assert_allclose(np.asarray(pi), ours, atol=1e-10)
    np.testing.assert_allclose(np.asarray(occ), oracle.occupancies(WORLD, ours), atol=1e-10)


def test_the_l2_optimum():  # V3
    found = oracle.l2_optimum(np.array([0.4, 0.1, 0.5]), np.array([0.6, 0.9, 0.5]), 0.1)
    np.testing.assert_allclose(found, [2.5, 40, 0])
    with pytest.raises(ValueError, match="beta must be positive"):
        oracle.l2_optimum(np.ones(1), np.ones(1), 0.0)
