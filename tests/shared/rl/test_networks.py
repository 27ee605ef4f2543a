"""Networks: sizes of the published ones, densities against numerical integration, initial laws."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from shared.experiment.errors import BadInput
from shared.rl.encoders import EncodedActor, EncodedCritic, Encoder, avg_l1_norm
from shared.rl.networks import (
    MLP,
    Critic,
    Dense,
    Gaussian,
    GaussianActor,
    TanhActor,
    draw_layers,
    parameter_count,
    squashed_log_prob,
)

KEY = jax.random.key(0)


# Sizes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "net, count",
    [
        # cheetah, 17 observations and 6 actions; successor features of 128 dimensions
        (Encoder(17, 6), 335_104),
        (EncodedActor(17, 6), 203_270),
        (EncodedCritic(17, 6, out=128), 603_392),
        (TanhActor(17, 6), 71_942),
        (Critic(17, 6, out=128), 209_664),
        (GaussianActor(3, 2, (4,)), 3 * 4 + 4 + 4 * 4 + 4),
    ],
)
def test_parameter_counts(net, count):
    assert parameter_count(net) == count


# Forward ------------------------------------------------------------------------------------------


def test_mlp_by_hand():
    params = (
        Dense(jnp.array([[1.0, -1.0]], jnp.float32), jnp.array([0.5, 0.0], jnp.float32)),
        Dense(jnp.array([[2.0], [3.0]], jnp.float32), jnp.array([-1.0], jnp.float32)),
    )
    net = MLP((1, 2, 1))
    x = jnp.array([[2.0], [-2.0]], jnp.float32)
    # relu(2.5, -2) = (2.5, 0) -> 4;  relu(-1.5, 2) = (0, 2) -> 5
    np.testing.assert_allclose(net(params, x), [[4.0], [5.0]])
    elu = MLP((1, 2, 1), "elu")(params, x)
    np.testing.assert_allclose(elu[0, 0], 2 * 2.5 + 3 * (math.exp(-2) - 1) - 1, rtol=1e-6)


def test_critic_is_its_members_apart():
    net = Critic(2, 1, out=3, hidden=(5,), members=2)
    params = net.init(KEY)
    obs, action = jnp.ones((4, 2), jnp.float32), jnp.full((4, 1), 0.5, jnp.float32)
    together = net(params, obs, action)
    assert together.shape == (2, 4, 3)
    x = jnp.concatenate([obs, action], axis=1)
    for i in range(2):
        one = jax.tree.map(lambda leaf, i=i: leaf[i], params)
        np.testing.assert_allclose(together[i], net.mlp(one, x), rtol=1e-6)
    assert np.abs(together[0] - together[1]).max() > 1e-3


def test_avg_l1_norm():
    x = jnp.array([[1.0, -2.0, 3.0], [0.0, 0.0, 0.0]], jnp.float32)
    np.testing.assert_allclose(avg_l1_norm(x), [[0.5, -1.0, 1.5], [0, 0, 0]])
    gradient = jax.grad(lambda x: jnp.sum(avg_l1_norm(x)[1]))(x)
    assert np.isfinite(gradient).all()


def elu(x):
    return np.where(x > 0, x, np.expm1(x))


def affine(layer, x):
    return x @ np.asarray(layer.w, np.float64) + np.asarray(layer.b, np.float64)


def l1(x):
    return x / np.abs(x).mean(-1, keepdims=True)


def test_encoded_networks_written_out():
    encoder, actor, critic = (
        Encoder(3, 2, 6, 5),
        EncodedActor(3, 2, 6, 5),
        EncodedCritic(3, 2, 4, 6, 5),
    )
    pe, pa, pq = (
        jax.jit(net.init)(jax.random.key(i)) for i, net in enumerate((encoder, actor, critic))
    )
    rng = np.random.default_rng(0)
    obs, action = rng.normal(size=(7, 3)), rng.uniform(-1, 1, (7, 2))

    zs = obs
    for i, layer in enumerate(pe.state):
        zs = affine(layer, zs) if i == 2 else elu(affine(layer, zs))
    zs = l1(zs)
    zsa = np.concatenate([zs, action], 1)
    for i, layer in enumerate(pe.pair):
        zsa = affine(layer, zsa) if i == 2 else elu(affine(layer, zsa))
    x = np.concatenate([l1(affine(pa.first, obs)), zs], 1)
    for i, layer in enumerate(pa.rest):
        x = affine(layer, x) if i == 2 else np.maximum(affine(layer, x), 0)
    policy = np.tanh(x)
    one = jax.tree.map(lambda leaf: leaf[1], pq)
    q = np.concatenate([l1(affine(one.first, np.concatenate([obs, action], 1))), zsa, zs], 1)
    for i, layer in enumerate(one.rest):
        q = affine(layer, q) if i == 2 else elu(affine(layer, q))

    o, a = jnp.asarray(obs, jnp.float32), jnp.asarray(action, jnp.float32)
    found_zs = jax.jit(encoder.state)(pe, o)
    found_zsa = jax.jit(encoder.pair)(pe, found_zs, a)
    close = {"rtol": 2e-4, "atol": 1e-5}
    np.testing.assert_allclose(found_zs, zs, **close)
    np.testing.assert_allclose(found_zsa, zsa, **close)
    np.testing.assert_allclose(jax.jit(actor)(pa, o, found_zs), policy, **close)
    np.testing.assert_allclose(jax.jit(critic)(pq, o, a, found_zsa, found_zs)[1], q, **close)


# The squashed Gaussian ----------------------------------------------------------------------------


@pytest.mark.parametrize("mean, log_std", [(0.3, -0.5), (-1.0, 0.2), (2.0, -1.5)])
def test_density_integrates_to_one(mean, log_std):
    law = Gaussian(*(jnp.full((20_001, 1), x, jnp.float32) for x in (mean, log_std)))
    action = np.linspace(-1, 1, 20_003)[1:-1]
    u = jnp.asarray(np.arctanh(action)[:, None], jnp.float32)
    density = np.exp(np.asarray(squashed_log_prob(law, u), np.float64))
    width = action[1] - action[0]
    np.testing.assert_allclose(density.sum() * width, 1, atol=2e-3)


def test_density_against_the_plain_formula_and_far_out():
    law = Gaussian(jnp.array([0.1, -0.2], jnp.float32), jnp.array([0.0, -1.0], jnp.float32))
    u = np.array([0.7, -0.4])
    mean, std = np.array([0.1, -0.2]), np.exp([0.0, -1.0])
    normal = -0.5 * ((u - mean) / std) ** 2 - np.log(std) - 0.5 * np.log(2 * np.pi)
    expected = (normal - np.log(1 - np.tanh(u) ** 2)).sum()
    found = squashed_log_prob(law, jnp.asarray(u, jnp.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    # tanh is 1 in float32, its density still known: log(1 - tanh(u)^2) ~ log 4 - 2u
    far = jnp.array([30.0, 0.0], jnp.float32)
    wide = Gaussian(jnp.array([30.0, 0.0], jnp.float32), jnp.zeros(2, jnp.float32))
    np.testing.assert_allclose(
        squashed_log_prob(wide, far), -math.log(2 * math.pi) - (math.log(4) - 60), rtol=1e-5
    )


def test_samples_follow_the_law_they_report():
    actor = GaussianActor(2, 2, (8,))
    params = actor.init(KEY)
    obs = jnp.broadcast_to(jnp.array([0.5, -1.0], jnp.float32), (20_000, 2))
    action, log_prob = jax.jit(actor.sample)(params, obs, jax.random.key(1))
    law = actor(params, obs[0])
    u = np.arctanh(np.clip(np.asarray(action, np.float64), -1 + 1e-7, 1 - 1e-7))
    np.testing.assert_allclose(u.mean(0), law.mean, atol=0.04)
    np.testing.assert_allclose(np.log(u.std(0)), law.log_std, atol=0.03)
    assert np.isfinite(log_prob).all()
    np.testing.assert_allclose(actor.mode(params, obs[:1])[0], np.tanh(law.mean), rtol=1e-5)
    other = actor.sample(params, obs[:5], jax.random.key(2))[0]
    assert np.abs(other - action[:5]).max() > 0.01


def test_log_std_is_clipped():
    actor = GaussianActor(1, 1, (), low=-3.0, high=0.5)
    params = (Dense(jnp.array([[0.0, 10.0]], jnp.float32), jnp.zeros(2, jnp.float32)),)
    law = actor(params, jnp.array([[1.0], [-1.0]], jnp.float32))
    np.testing.assert_allclose(law.log_std[:, 0], [0.5, -3.0])


# Initial weights ----------------------------------------------------------------------------------


def test_orthogonal_weights():
    wide, tall = draw_layers(KEY, [(8, 20), (20, 8)], "orthogonal")
    np.testing.assert_allclose(wide.w @ wide.w.T, np.eye(8), atol=1e-5)
    np.testing.assert_allclose(tall.w.T @ tall.w, np.eye(8), atol=1e-5)
    assert not wide.b.any() and not tall.b.any()


def test_lecun_and_torch_weights():
    (lecun,) = draw_layers(KEY, [(64, 512)], "lecun")
    np.testing.assert_allclose(np.std(lecun.w), 1 / 8, rtol=0.02)
    assert np.abs(lecun.w).max() <= 2 / 8 / 0.87962566 + 1e-6
    assert not lecun.b.any()
    (torch,) = draw_layers(KEY, [(64, 512)], "torch")
    assert 0.12 < np.abs(torch.w).max() <= 1 / 8 and 0.12 < np.abs(torch.b).max() <= 1 / 8
    np.testing.assert_allclose(np.std(torch.w), 1 / 8 / math.sqrt(3), rtol=0.02)


def test_layers_are_drawn_independently():
    first, second = draw_layers(KEY, [(6, 6), (6, 6)], "lecun")
    assert np.abs(first.w - second.w).max() > 0.1
    params = Critic(2, 1, hidden=(4,)).init(KEY)
    assert np.abs(params[0].w[0] - params[0].w[1]).max() > 0.1


# Bad input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: MLP((3,)), "two or more widths"),
        (lambda: MLP((3, 0)), "two or more widths"),
        (lambda: Critic(0, 1), "obs of a Critic is at least 1, not 0"),
        (lambda: Critic(1, 1, members=0), "members of a Critic is at least 1"),
        (lambda: TanhActor(1, 1, (0,)), "hidden layer 1 of a TanhActor"),
        (lambda: TanhActor(1, 1, activation="gelu"), "allowed are relu, elu, tanh"),
        (lambda: Encoder(1, 1, scheme="he"), "allowed are lecun, orthogonal, torch"),
        (lambda: GaussianActor(1, 1, low=2.0, high=2.0), "is below high"),
    ],
)
def test_bad_sizes(make, words):
    with pytest.raises(BadInput, match=words):
        make()
