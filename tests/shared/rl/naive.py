"""Learners' losses once more, in float64 NumPy and written out; and their gradients by differences.

Noise is taken from the same keys, nothing else from the code under test.
"""

import functools

import jax
import numpy as np

from shared.rl.replay import Batch


def compiled(stage, *args, **static):
    """stage(*args, **static) as one program, compiled once in all tests."""
    return _program(stage, tuple(static.items()))(*args)


@functools.cache
def _program(stage, static):
    return jax.jit(functools.partial(stage, **dict(static)))


def as64(tree):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)


def relu(x):
    return np.maximum(x, 0)


def elu(x):
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def mlp(params, x, act=relu):
    for layer in params[:-1]:
        x = act(x @ layer.w + layer.b)
    return x @ params[-1].w + params[-1].b


def member(params, i):
    return jax.tree.map(lambda leaf: leaf[i], params)


def critics(params, obs, action, members=2):
    x = np.concatenate([obs, action], 1)
    return [mlp(member(params, i), x) for i in range(members)]


def l1(x):
    return x / np.abs(x).mean(-1, keepdims=True)


def zs(params, obs):
    return l1(mlp(params.state, obs, elu))


def zsa(params, z, action):
    return mlp(params.pair, np.concatenate([z, action], 1), elu)


def encoded_actor(params, encoder, obs):
    x = np.concatenate([l1(obs @ params.first.w + params.first.b), zs(encoder, obs)], 1)
    return np.tanh(mlp(params.rest, x))


def encoded_critics(params, encoder, obs, action):
    z, both = zs(encoder, obs), np.concatenate([obs, action], 1)
    za = zsa(encoder, z, action)
    out = []
    for i in range(2):
        one = member(params, i)
        x = np.concatenate([l1(both @ one.first.w + one.first.b), za, z], 1)
        out.append(mlp(one.rest, x, elu))
    return out


def normal(key, shape):
    return np.asarray(jax.random.normal(key, shape), np.float64)


def gaussian_sample(params, obs, noise):
    """Action and log density, one sample at a time."""
    actions, logs = [], []
    for row, e in zip(mlp(params, obs), noise, strict=True):
        mean, log_std = np.split(row, 2)
        std = np.exp(np.clip(log_std, -20, 2))
        u = mean + std * e
        density = np.exp(-0.5 * ((u - mean) / std) ** 2) / (std * np.sqrt(2 * np.pi))
        actions.append(np.tanh(u))
        logs.append(np.sum(np.log(density / (1 - np.tanh(u) ** 2))))
    return np.array(actions), np.array(logs)


def smoothed(action, noise, sigma, clip):
    return np.clip(action + np.clip(sigma * noise, -clip, clip), -1, 1)


def backup(batch, future, gamma):
    """Targets, one transition at a time."""
    rows = zip(batch.reward, batch.terminated, future, strict=True)
    return np.array([r if dead else r + gamma * v for r, dead, v in rows])


def batch(n=16, obs=3, action=2, extras=(), seed=0):
    rng = np.random.default_rng(seed)
    columns = [
        rng.normal(size=(n, obs)),
        rng.uniform(-1, 1, (n, action)),
        rng.normal(size=(n, obs)),
        rng.normal(size=n),
        (rng.uniform(size=n) < 0.3).astype(float),
    ]
    named = {name: rng.uniform(size=n) for name in extras}
    return Batch(*jax.tree.map(lambda x: jax.numpy.asarray(x, "float32"), (*columns, named)))


def check_gradient(gradient, loss, params, rtol=2e-3):
    """`gradient` of the float64 function `loss` at `params`, along a few directions."""
    params, gradient = as64(params), as64(gradient)
    leaves, tree = jax.tree.flatten(params)
    rng = np.random.default_rng(1)
    for _ in range(4):
        direction = [rng.normal(size=leaf.shape) for leaf in leaves]
        eps = 1e-5
        up, down = (
            loss(tree.unflatten([x + s * eps * d for x, d in zip(leaves, direction, strict=True)]))
            for s in (1, -1)
        )
        along = sum(
            np.sum(g * d) for g, d in zip(jax.tree.leaves(gradient), direction, strict=True)
        )
        size = np.sqrt(sum(np.sum(g**2) for g in jax.tree.leaves(gradient)))
        np.testing.assert_allclose(along, (up - down) / (2 * eps), rtol=rtol, atol=2e-3 * size)
    assert size > 1e-3


def first_gradient(net):
    """The gradient of the first step, which Adam's running mean holds a tenth of."""
    return jax.tree.map(lambda mean: mean / np.float32(0.1), net.adam.mu)
