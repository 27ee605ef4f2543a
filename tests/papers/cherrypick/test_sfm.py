"""Successor-feature matching by hand: run `python` or `pytest` on this file."""

import jax
import jax.numpy as jnp
import numpy as np

from papers.sfm.method import (
    FAMILIES,
    CheckpointSchedule,
    FeatureBatch,
    avg_l1_norm,
    base_features,
    debias_count,
    ema_update,
    expert_sf,
    feature_gap,
    initial_sf,
    l2_sphere,
    learner_sf,
    sf_critic_loss,
    sf_td_target,
    sfm_actor_loss,
)


def f32(values):
    """As an array in single precision."""
    return np.asarray(values, np.float32)


def close(value, expected, rtol=1e-5):
    """Equal to single precision."""
    np.testing.assert_allclose(np.asarray(value), expected, rtol=rtol, atol=1e-6)


def test_td_target_and_critic_loss():
    phi, twins = f32([[1]]), f32([[[1]], [[3]]])
    close(sf_td_target(phi, twins, 0.9), [[2.8]])
    close(sf_td_target(phi, twins, 0.9, (0.0, 1.5)), [[2.35]])  # the mean is clipped
    close(sf_td_target(phi, twins, 0.9, (0.0, 0.0)), [[1.0]])
    close(sf_critic_loss(twins, f32([[2.5]])), 1.5**2 + 0.5**2)  # summed over twins
    psi = f32([[[1, 2], [3, 4]], [[0, 0], [0, 0]]])
    close(sf_critic_loss(psi, np.zeros((2, 2), np.float32)), 30 / 4)  # mean of batch, dimensions


def test_sums_of_both():
    phi = f32([[1], [2], [4], [8]])
    close(expert_sf(phi, 0.5), [4])
    close(expert_sf(phi, 0.5, f32([6])), [3.5])  # 1 + 1 + 6/4
    close(learner_sf(f32([[3], [5]]), f32([[2], [4]]), 0.5), [(4 - 1.5) / 0.5])
    close(initial_sf(f32([[3], [5]])), [4])
    close(feature_gap(f32([5, 0]), f32([[1, 2], [2, 2]]), 0.5), (9 + 9) / 2)


def test_moving_average():
    for debias, expected in (("official", {1: 0.5050505, 10: 0.55034}), ("correct", {1: 1, 10: 1})):
        ema = f32(0)
        for n in range(1, 11):
            ema, value = ema_update(f32(1), ema, 0.98, debias_count(n, 2, debias))
            if n in expected:
                close(value, expected[n], rtol=2e-5)


def test_actor_loss():
    expert, old = f32([2, 1]), f32([0.5, -0.5])

    def loss(psi_pi, fix=True):
        ema, _ = ema_update(psi_pi, old, 0.98, 1)
        return sfm_actor_loss(expert, psi_pi, ema, 0.99, fix)

    psi_pi = jnp.asarray(f32([1, 0]))
    close(loss(psi_pi) * 1e4, 2.98, rtol=1e-4)
    close(jax.grad(loss)(psi_pi) * 1e4, [-1.51, -1.51], rtol=1e-4)
    close(loss(psi_pi, fix=False) * 1e4, 2, rtol=1e-4)
    close(jax.grad(loss)(psi_pi, fix=False) * 1e4, [-2, -2], rtol=1e-4)


def test_normalisations():
    close(avg_l1_norm(f32([1, -2, 3])), [0.5, -1, 1.5])
    close(avg_l1_norm(np.zeros(3, np.float32)), [0, 0, 0])
    x = np.random.default_rng(0).normal(size=128).astype(np.float32)
    close(np.linalg.norm(l2_sphere(x)), 11.313708)


def test_schedule():
    schedule = CheckpointSchedule(random_steps=2000, relax_at=5000)
    gaps = [9, 8, 7, 6, 5, 4, 3, 5.2, 4, 3, 3.5, 6, 2, 2, 2]
    events = []
    for episode, gap in enumerate(gaps):
        updates, keep = schedule.on_episode(gap, 1000 * episode + 999)
        if updates:
            events.append((episode, updates, keep, round(float(schedule.state.best), 4)))
    assert events == [
        (2, 1000, True, -7), (3, 1000, True, -6), (4, 1000, True, -5), (7, 3000, True, -5.2),
        (10, 3000, True, -4), (11, 1000, False, -4), (14, 3000, True, -2),
    ]  # fmt: skip


def test_every_feature_family_learns():
    keys = jax.random.split(jax.random.key(0), 6)
    obs, following, goal, expert = (jax.random.normal(k, (16, 3)) for k in keys[:4])
    batch = FeatureBatch(obs, jax.random.normal(keys[4], (16, 2)), following, goal, expert)
    for name in FAMILIES:
        features = base_features(name, 4, 8)

        @jax.jit
        def before_and_after(key, features=features):
            params = features.init(key, 3, 2)
            value, slope = jax.value_and_grad(features.loss)(params, batch, key)
            smaller = jax.tree.map(lambda p, g: p - 1e-3 * g, params, slope)
            return features.encode(params, obs), value, features.loss(smaller, batch, key)

        phi, before, after = before_and_after(keys[5])
        assert phi.shape == (16, 4)
        assert (after < before) == (name != "random")


if __name__ == "__main__":
    tests = [test for name, test in sorted(globals().items()) if name.startswith("test_")]
    for test in tests:
        test()
    print(f"{len(tests)} tests passed")
