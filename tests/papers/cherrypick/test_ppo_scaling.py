"""Batches, targets, losses and metrics by hand: run `python` or `pytest` on this file."""

import jax
import jax.numpy as jnp
import numpy as np

from papers.ppo_scaling.method import (
    BatchSpec,
    PPOBatch,
    dormant,
    ess,
    gae,
    grad_kurtosis,
    policy_variance,
    ppo_loss,
    pqn_loss,
    q_lambda,
    ranks,
    unique_share,
)


def close(value, expected):
    """Equal to single precision."""
    np.testing.assert_allclose(np.asarray(value), expected, rtol=1e-4, atol=1e-6)


def f32(values):
    """Single precision."""
    return jnp.asarray(values, jnp.float32)


def column(*values):
    """One environment, time first."""
    return f32(values)[:, None]


def test_batches():
    spec = BatchSpec(8, 128)
    assert spec.minibatch_size == 256 and spec.iterations(100_000_000) == 97_656
    assert "8 x 128 = 1024" in spec.card(1_000_000)


def test_targets():
    done = jnp.array([0, 0, 1, 0, 0], bool)[:, None]
    r, v = column(1, 0, 2, 0, 1), column(0.5, 0.4, 0.3, 0.2, 0.1)
    advantages, returns = gae(r, v, done, f32([0.6]), 0.99, 0.95)
    close(advantages[:, 0], [2.30284692, 1.49585, 1.7, 1.304107, 1.494])
    close(returns, advantages + v)
    cut, _ = gae(r, v, done, f32([0.6]), 0.99, 0.95, done, jnp.full_like(v, 7))
    close(cut[2, 0], 2 + 0.99 * 7 - 0.3)
    targets = q_lambda(r[:4], v[:4], done[:4], f32([0.6]), 0.99, 0.65)
    close(targets[:, 0], [2.03367633, 1.39095, 2, 0.594])


def test_losses():
    logits = jnp.zeros((2, 2), jnp.float32)
    old = jnp.log(f32([0.5, 0.25]))
    batch = PPOBatch(jnp.array([0, 1]), old, f32([0, 0]), f32([1, -1]),
                     f32([1, 0.05]))  # fmt: skip
    loss, aux = ppo_loss(logits, f32([0.5, 0.05]), batch, 0.1, 0.5, 0.0, norm_adv=False)
    close(aux.policy_loss, (-1 + 2) / 2)  # the ratio 2 of a bad action is not clipped
    close(aux.value_loss, 0.5 * (0.9**2 + 0) / 2)
    close(loss, 0.5 + 0.5 * 0.2025)
    assert float(aux.clip_fraction) == 0.5
    q = f32([[1, 2], [3, 4]])
    close(pqn_loss(q, jnp.array([1, 0]), f32([0, 2])), (4 + 1) / 2)


def test_metrics():
    found = ranks(jnp.eye(16))
    assert [int(x) for x in (found.feature_rank, found.srank, found.count_rank)] == [16] * 3
    features = f32([[0, 1e-6, 1, 2], [0, 2e-6, 3, 0], [0, 0, 2, 1]])
    assert dormant(features, eps=1e-5) == 0.5 and dormant(features, tau=0.025) == 0.5
    close(ess(jnp.log(f32([1, 2, 0.5, 1]))), 0.81)
    close(policy_variance(f32([[0.9, 0.1], [0.5, 0.5], [0.1, 0.9]])), 0.1066667)
    close(unique_share(f32([[0, 1], [1, 0], [0, 1], [1, 1]])), 0.75)
    draws = jax.random.normal(jax.random.key(0), (200_000,))
    assert abs(float(grad_kurtosis(draws)[0]) - 7) < 0.3


if __name__ == "__main__":
    tests = [test for name, test in sorted(globals().items()) if name.startswith("test_")]
    for test in tests:
        test()
    print(f"{len(tests)} tests passed")
