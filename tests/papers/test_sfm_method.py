"""The method against exact answers, hand-computed losses, gradients and bad input.

Its hand-computed numbers (targets, sums, averages, schedule) are in `cherrypick/test_sfm.py`.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from papers.sfm import oracle
from papers.sfm.method import (
    FAMILIES,
    CheckpointSchedule,
    FeatureBatch,
    avg_l1_norm,
    base_features,
    debias_count,
    discounted_steps,
    discounts,
    discriminator_loss,
    ema_update,
    expert_sf,
    l2_sphere,
    learner_sf,
    mlp,
    sf_critic_loss,
    sf_td_target,
    sfm_actor_loss,
)
from papers.sfm.tabular import EXAMPLE, EXAMPLE_EXPERT, EXAMPLE_LOGITS

KEY = jax.random.key(3)


def close(value, expected, rtol=1e-5, atol=1e-6):
    np.testing.assert_allclose(np.asarray(value), expected, rtol=rtol, atol=atol)


def exact_actor_gradient(logits, psi_E, gamma=0.9):
    """The gradient that the actor loss gives with exact critics and exact sampling, in float64."""
    policy = oracle.softmax_policy(logits)
    states = (1 - gamma) * oracle.occupancy(EXAMPLE, policy) * len(policy)
    psi = oracle.successor_features(EXAMPLE, policy)
    following = oracle.chain(EXAMPLE, policy) @ oracle.state_sf(EXAMPLE, policy)
    with jax.enable_x64():

        def loss(logits):
            values = jnp.einsum("sa,sad->sd", jax.nn.softmax(logits), psi)
            psi_pi = learner_sf(states[:, None] * values, states[:, None] * following, gamma)
            return sfm_actor_loss(psi_E, psi_pi, psi_pi, gamma, fix=False), psi_pi

        grad, psi_pi = jax.grad(loss, has_aux=True)(jnp.asarray(logits))
        return np.asarray(grad) / (2 * (1 - gamma) ** 2), np.asarray(psi_pi)


def test_with_exact_critics_the_actor_descends_the_exact_gradient():
    psi_E = oracle.expected_sf(EXAMPLE, EXAMPLE_EXPERT)
    grad, psi_pi = exact_actor_gradient(EXAMPLE_LOGITS, psi_E)
    close(psi_pi, [7.58287564, -1.88427961], rtol=1e-8)
    close(grad, oracle.gap_gradient(EXAMPLE, EXAMPLE_LOGITS, psi_E), rtol=1e-9)


def test_at_the_expert_the_actor_gradient_vanishes():
    psi_E = oracle.expected_sf(EXAMPLE, oracle.softmax_policy(EXAMPLE_LOGITS))
    grad, _ = exact_actor_gradient(EXAMPLE_LOGITS, psi_E)
    assert np.abs(grad).max() < 1e-10


def test_without_a_future_all_policies_have_the_same_sum():
    phi, tail = jnp.float32([[1, 2], [3, 4], [5, 6]]), jnp.float32([7, 8])
    close(expert_sf(phi, 0.0), [1, 2])
    close(expert_sf(phi, 0.0, tail), [1, 2])
    close(learner_sf(phi, 9 * phi, 0.0), [3, 4])
    close(sf_td_target(phi, jnp.ones((2, 3, 2)), 0.0), phi)


def test_what_carries_a_gradient():
    x = jnp.float32([[0.3, -0.2], [0.1, 0.4]])
    twins = jnp.stack([x, 2 * x])

    def zero(slope):
        assert not np.any(np.asarray(slope))

    zero(jax.grad(lambda p: sf_td_target(p, twins, 0.9).sum())(x))
    zero(jax.grad(lambda p: sf_td_target(x, p, 0.9).sum())(twins))
    zero(jax.grad(lambda t: sf_critic_loss(twins, t))(x))
    close(jax.grad(lambda p: sf_critic_loss(p, x))(twins)[1], 2 * x / 4)
    zero(jax.grad(lambda n: learner_sf(x, n, 0.9).sum())(x))
    close(jax.grad(lambda p: learner_sf(p, x, 0.9).sum())(x), np.full((2, 2), 1 / (2 * 0.1)))
    vectors = x[0], x[1], 2 * x[1]
    slopes = jax.grad(lambda e, p, q: sfm_actor_loss(e, p, q, 0.9), (0, 1, 2))(*vectors)
    zero(slopes[0])
    close(slopes[1], -0.01 * (x[0] - 2 * x[1]))
    close(slopes[2], -0.01 * (x[0] - x[1]))
    # A tail carries one; the learner's code stops it (`matching`).
    phi = jnp.concatenate([x, x])
    close(jax.grad(lambda t: expert_sf(phi, 0.5, t).sum())(x[0]), [0.25, 0.25])


def test_gradient_of_the_actor_loss_by_differences():
    rng = np.random.default_rng(0)
    psi_E, psi_pi, old = (jnp.asarray(x, jnp.float32) for x in rng.normal(size=(3, 4)))

    def loss(p):
        return 100 * sfm_actor_loss(psi_E, p, ema_update(p, old, 0.98, 1)[0], 0.9)

    grad = jax.grad(loss)(psi_pi)
    for k, unit in enumerate(np.eye(4, dtype=np.float32)):
        step = 0.05
        slope = (loss(psi_pi + step * unit) - loss(psi_pi - step * unit)) / (2 * step)
        close(slope, grad[k], rtol=1e-3, atol=1e-4)


def test_the_official_debias_halves_the_expert_at_first():
    ema, found = jnp.float32(0), []
    for n in range(1, 201):
        ema, value = ema_update(1.0, ema, 0.98, debias_count(n, 2, "official"))
        found.append(float(value))
    close([found[n - 1] for n in (1, 10, 50, 200)], [0.50505, 0.55034, 0.73305, 0.98272], 2e-5)
    close(found, 1 / (1 + 0.98 ** np.arange(1, 201)), rtol=2e-4)


def test_discounted_steps_follow_their_law():
    steps = np.asarray(discounted_steps(KEY, (20_000,), 30, 0.9))
    weights = np.asarray(discounts(30, 0.9)) / np.sum(discounts(30, 0.9))
    found = np.bincount(steps, minlength=30) / len(steps)
    assert steps.min() == 0 and len(found) == 30
    np.testing.assert_allclose(found, weights, atol=4 * math.sqrt(0.1 / 20_000))
    assert not np.any(discounted_steps(KEY, (5,), 30, 0.0))


def test_normalisations_keep_zeros_and_their_gradients_finite():
    zeros = jnp.zeros((2, 3), jnp.float32)
    for norm in (avg_l1_norm, l2_sphere):
        assert not np.any(norm(zeros))
        assert np.all(np.isfinite(jax.grad(lambda x, norm=norm: norm(x).sum())(zeros)))
    x = jax.random.normal(KEY, (5, 128), jnp.float32)
    close(np.linalg.norm(l2_sphere(x), axis=1), np.full(5, 11.3137), atol=1e-4)


def test_a_late_policy_is_not_kept_when_its_trial_fails():
    """Beyond the printed sequence: a trial that fails in its second, then in its last episode."""
    for gaps, ending in (
        ([4, 3, 1, 3.5], [(0, False), (200, False)]),
        ([4, 3, 1, 1, 3.5], [(0, False), (0, False), (300, False)]),
    ):
        schedule = CheckpointSchedule(100, random_steps=0, relax_at=200)
        events = [schedule.on_episode(gap, 100 * i + 99) for i, gap in enumerate(gaps)]
        assert events == [(100, True), (100, True), *ending]
        close(schedule.state.best, -3.3)


# --- Base features --------------------------------------------------------------------------------


def batch_of(size=6) -> Any:
    keys = jax.random.split(KEY, 5)
    obs, following, goal, expert = (jax.random.normal(k, (size, 3), jnp.float32) for k in keys[:4])
    return FeatureBatch(
        obs, jax.random.normal(keys[4], (size, 2), jnp.float32), following, goal, expert
    )


def naive_phi(params, s):
    """The feature network again, in NumPy and one state at a time."""
    first, second, third, last = (
        (np.asarray(p["w"], float), np.asarray(p["b"], float)) for p in params["layers"]
    )
    rows = []
    for x in np.asarray(s, float):
        x = x @ first[0] + first[1]
        x = (x - x.mean()) / np.sqrt(x.var() + 1e-6)
        x = np.tanh(x * np.asarray(params["scale"]) + np.asarray(params["bias"]))
        for w, b in (second, third):
            x = np.maximum(x @ w + b, 0)
        rows.append(x @ last[0] + last[1])
    return np.array(rows)


def on_sphere(x):
    return np.sqrt(x.shape[-1]) * x / np.linalg.norm(x, axis=-1, keepdims=True)


@pytest.mark.parametrize("name", ["fdm", "idm", "ae"])
def test_losses_that_predict(name):
    features, batch = base_features(name, 4, 8), batch_of()
    params = features.init(KEY, 3, 2)
    now, following = (on_sphere(naive_phi(params["phi"], s)) for s in (batch.obs, batch.next_obs))
    close(features.encode(params, batch.obs), now, rtol=1e-4, atol=1e-5)
    inputs, wanted = {
        "fdm": (np.concatenate([now, batch.action], 1), batch.next_obs),
        "idm": (np.concatenate([now, following], 1), batch.action),
        "ae": (now, batch.obs),
    }[name]
    predicted = mlp(params["head"], jnp.asarray(inputs, jnp.float32))
    close(features.loss(params, batch, KEY), np.mean((predicted - wanted) ** 2), rtol=1e-4)


def test_hilbert_features_are_steps_to_a_goal():
    features, batch = base_features("hilp", 4, 8), batch_of()
    batch = batch._replace(goal=batch.goal.at[0].set(batch.obs[0]))  # one is at its goal already
    params = features.init(KEY, 3, 2)
    params["mean"] = jnp.float32([1, 2, 3, 4])
    params["target"] = jax.tree.map(lambda x: 1.1 * x, params["phi"])
    total, mean = 0.0, np.zeros(4)
    for twin in range(2):
        online, slow = (
            jax.tree.map(lambda x, twin=twin: x[twin], params[part]) for part in ("phi", "target")
        )

        def distance(net, s, g):
            return np.linalg.norm(naive_phi(net, s) - naive_phi(net, g), axis=1)

        ahead = -1 - 0.98 * distance(slow, batch.next_obs, batch.goal)
        ahead[0] = 0.0
        value = -np.maximum(distance(online, batch.obs, batch.goal), 1e-3)
        total += 0.5 * np.mean((ahead - value) ** 2)
        if twin == 0:
            close(
                features.encode(params, batch.obs),
                naive_phi(online, batch.obs) - [1, 2, 3, 4], rtol=1e-4, atol=1e-4,
            )  # fmt: skip
            mean = naive_phi(online, batch.obs).mean(axis=0)
    close(features.loss(params, batch, KEY), total, rtol=1e-3)
    moved = features.refresh(params, batch)
    close(moved["mean"], 0.995 * np.array([1, 2, 3, 4]) + 0.005 * mean, rtol=1e-4)
    first = params["phi"]["layers"][0]["w"]
    close(moved["target"]["layers"][0]["w"], (0.995 * 1.1 + 0.005) * first, rtol=1e-5)


def test_the_discriminator_is_pushed_apart_and_kept_flat():
    weights = jnp.float32([3, 4])
    expert, learner = jnp.float32([[1, 0], [0, 1]]), jnp.float32([[0, 0], [0, 0]])
    loss = discriminator_loss(lambda x: x @ weights, expert, learner, KEY)
    close(loss, 3.5 - 0 + 10 * (5 - 0.4) ** 2)


def test_bad_input():
    with pytest.raises(KeyError, match="no feature family 'fmd'; there are fdm, idm, hilp, ae"):
        base_features("fmd")
    with pytest.raises(ValueError, match="at least one dimension"):
        base_features("fdm", 0)
    batch = FeatureBatch(jnp.zeros((2, 3), jnp.float32))
    needs = {"fdm": "action", "idm": "next_obs", "hilp": "goal", "adv": "expert"}
    for name, field in needs.items():
        features = FAMILIES[name](2, 3)
        with pytest.raises(ValueError, match=f"needs {field} in the batch"):
            features.loss(features.init(KEY, 3, 2), batch, KEY)
    for gamma in (-0.1, 1.0):
        with pytest.raises(ValueError, match=r"gamma must be in \[0, 1\)"):
            sf_td_target(batch.obs, jnp.zeros((2, 2, 3), jnp.float32), gamma)
        with pytest.raises(ValueError, match=r"gamma must be in \[0, 1\)"):
            discounted_steps(KEY, (2,), 5, gamma)
