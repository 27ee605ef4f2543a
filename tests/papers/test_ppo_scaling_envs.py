"""Environments against independent ones, their resets and streams; networks and their shapes."""

import functools
import sys
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from papers.ppo_scaling import envs, networks, oracle, train
from shared.experiment.errors import BadInput, MissingExtra

HAS_PGX = True
try:
    import pgx_minatar  # noqa: F401
except ImportError:
    HAS_PGX = False
needs_pgx = pytest.mark.skipif(not HAS_PGX, reason="pgx-minatar is not installed (extra minatar)")


def played(env, actions, key=0):
    """One environment stepped through a list of actions; everything it said, stacked."""
    reset, step = jax.jit(env.reset), jax.jit(env.step)
    keys = jax.random.split(jax.random.key(key), len(actions) + 1)
    state, obs = reset(keys[0])
    rows = []
    for action, k in zip(actions, keys[1:], strict=True):
        new = step(state, jnp.int32(action), k)
        rows.append((obs, *new[1:]))
        state, obs = new.state, new.obs
    return [np.stack([np.asarray(row[i]) for row in rows]) for i in range(6)]


# CartPole -----------------------------------------------------------------------------------------


def test_cartpole_is_gymnasiums_transition_by_transition():
    reference: Any = gymnasium.make("CartPole-v1").unwrapped
    rng = np.random.default_rng(0)
    step = jax.jit(jax.vmap(envs.cartpole_physics))
    states = rng.uniform(-1, 1, (400, 4)) * [2.6, 2.0, 0.25, 2.0]
    actions = rng.integers(2, size=400)
    moved, fallen = step(jnp.asarray(states, jnp.float32), jnp.asarray(actions, jnp.int32))
    for i in range(400):
        reference.state, reference.steps_beyond_terminated = states[i].copy(), None
        obs, reward, terminated, truncated, _ = reference.step(int(actions[i]))
        np.testing.assert_allclose(moved[i], obs, rtol=2e-5, atol=2e-6)
        assert bool(fallen[i]) == terminated and reward == 1 and not truncated
    assert 0.1 < np.mean(fallen) < 0.9


def test_cartpole_resets_by_itself_and_keeps_the_last_observation():
    obs, following, reward, terminated, truncated, final = played(envs.cartpole(), [1] * 40)
    ends = np.flatnonzero(terminated)
    assert len(ends) >= 3 and not truncated.any() and (reward == 1).all()
    for t in range(40):
        if t in ends:
            assert (np.abs(following[t]) <= 0.05).all() and not np.allclose(final[t], following[t])
            assert abs(final[t, 2]) > 0.2 or abs(final[t, 0]) > 2.4
        else:
            np.testing.assert_array_equal(final[t], following[t])
    np.testing.assert_array_equal(obs[1:], following[:-1])
    firsts = following[ends]
    assert len(np.unique(firsts, axis=0)) == len(firsts)  # another start each time


def test_cartpoles_limit_is_a_truncation():
    """A pole that is held up by a hand reaches 500 steps."""
    env = envs.cartpole()
    start, step = envs.with_auto_reset(
        lambda key: (jnp.zeros(4), jnp.zeros(4)),
        lambda s, a, k: (s, s, jnp.ones(()), jnp.zeros((), bool)),
        env.max_steps,
    )
    state, _ = start(jax.random.key(0))

    def one(state, key):
        new = step(state, jnp.int32(0), key)
        return new.state, (new.terminated, new.truncated)

    keys = jax.random.split(jax.random.key(1), 1001)
    _, (terminated, truncated) = jax.lax.scan(one, state, keys)
    assert np.flatnonzero(truncated).tolist() == [499, 999] and not terminated.any()


# Exact chains -------------------------------------------------------------------------------------


def test_ring_by_hand():
    obs, _following, reward, terminated, truncated, _ = played(envs.ring(), [1, 1, 0, 1, 1, 1, 1])
    places = obs.argmax(axis=1)
    steps = np.array([1, 1, 0, 1, 1, 1])
    np.testing.assert_array_equal(places[1:], (places[0] + np.cumsum(steps)) % 5)
    moved = np.array([1, 1, 0, 1, 1, 1, 1], bool)
    np.testing.assert_array_equal(reward, (places == 0) & moved)
    assert not terminated.any() and not truncated.any()


def test_grid_is_the_oracles():
    env, world = envs.grid(), oracle.grid()
    for cell in range(24):
        for action in range(4):
            place = jnp.array([cell // 5, cell % 5], jnp.int32)
            state = env.reset(jax.random.key(0))[0]._replace(inner=place)
            new = env.step(state, jnp.int32(action), jax.random.key(1))
            target = world.target[cell, action]
            assert int(new.final_obs.argmax()) == target
            assert bool(new.terminated) == (target == 24) == (float(new.reward) == 1)


def test_oracle_of_the_grid_by_simulation():
    world = oracle.grid(gamma=0.9)
    rng = np.random.default_rng(0)
    state, paid, discount = np.zeros(20_000, int), 0.0, 1.0
    alive = np.ones(20_000, bool)
    for _ in range(200):
        state = np.where(
            alive, world.target[np.minimum(state, 23), rng.integers(4, size=20_000)], state
        )
        paid += discount * np.mean(alive & (state == 24))
        alive &= state != 24
        discount *= 0.9
    assert world.values[0] == pytest.approx(paid, rel=0.05)
    assert world.visits.sum() == pytest.approx(1) and (world.visits > 0).all()


def test_gradients_of_split_batches_vary_less():
    found = [oracle.gradient_variance(np.random.default_rng(0), n, 64 // n, 300) for n in (1, 64)]
    assert found[0] > 1.3 * found[1] > 0


# Names --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: envs.make("cartpol"), "No environment 'cartpol'.*Did you mean cartpole?"),
        (lambda: envs.minatar("breakot"), "No MinAtar game 'breakot'.*Did you mean breakout?"),
    ],
)
def test_unknown_names(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


def test_a_missing_extra_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "pgx", None)
    with pytest.raises(MissingExtra, match="uv sync --extra minatar"):
        envs.minatar("breakout")
    assert issubclass(BadInput, ValueError)


# MinAtar ------------------------------------------------------------------------------------------


@functools.cache
def breakout():
    """150 random moves; an episode is cut after 15 of them."""
    moves = np.random.default_rng(1).integers(3, size=150).tolist()
    return played(envs.minatar("breakout", max_steps=15), moves)


@needs_pgx
def test_breakout_by_hand():
    """A paddle that wanders loses the ball now and then: bricks, rewards and ends agree."""
    obs, following, reward, terminated, truncated, final = breakout()
    ended = terminated | truncated
    assert obs.dtype == bool and obs.shape == (150, 10, 10, 4)
    assert terminated.sum() >= 2
    assert set(np.unique(reward)) <= {0.0, 1.0} and reward.sum() >= 1
    for t in np.flatnonzero(ended):
        assert following[t][1:4, :, 3].sum() == 30  # a new wall
        assert not np.array_equal(following[t], final[t])
    bricks = obs[..., 3].sum(axis=(1, 2))
    for t in np.flatnonzero(~ended[:-1]):  # every hit takes a brick, nothing else does
        assert bricks[t] - bricks[t + 1] == reward[t]


@needs_pgx
def test_minatar_is_cut_off_as_a_truncation():
    *_, terminated, truncated, _ = breakout()
    starts = np.flatnonzero(terminated | truncated)
    lengths = np.diff(np.concatenate([[-1], starts]))
    assert truncated.any() and not (terminated & truncated).any()
    assert (lengths[truncated[starts]] == 15).all() and lengths.max() == 15


def test_streams_of_the_first_environments_stay():
    few, many = (jax.random.key_data(envs.stream(jax.random.key(3), n)) for n in (3, 8))
    np.testing.assert_array_equal(few, many[:3])
    assert len(np.unique(np.asarray(many), axis=0)) == 8


def test_more_environments_change_nothing_for_the_first():
    env = envs.cartpole()
    net = networks.make("mlp", env.obs_shape, env.n_actions, hidden=(8,))
    seen = []
    for n in (2, 5):
        spec = train.BatchSpec(n, 4, num_minibatches=1)
        learner = train.make_learner("ppo", net, spec)
        state = learner.init(jax.random.key(0))
        now = train.start_envs(env, jax.random.key(1), n)
        seen.append(
            jax.jit(lambda s, w, lr=learner: train.collect(env, lr, s, w, 12))(state, now)[1]
        )
    np.testing.assert_allclose(seen[0].obs, seen[1].obs[:, :2], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(seen[0].actions, seen[1].actions[:, :2])


def test_staggered_environments_are_out_of_phase():
    env = envs.cartpole()
    together = train.start_envs(env, jax.random.key(0), 8)
    apart = jax.jit(lambda k: train.start_envs(env, k, 8, stagger=16))(jax.random.key(0))
    np.testing.assert_array_equal(together.obs[0], apart.obs[0])
    assert (np.asarray(together.state.steps) == 0).all()
    moved = np.asarray(apart.state.steps)
    assert moved[0] == 0 and (moved[1:] > 0).all() and len(np.unique(moved)) > 4


def test_envpools_dummy_transition():
    env = train.legacy_envpool_dummy(envs.cartpole())
    _obs, following, reward, terminated, truncated, final = played(env, [1] * 40)
    ends = np.flatnonzero(terminated)
    assert len(ends) >= 3
    for t in ends[:-1]:
        np.testing.assert_array_equal(following[t], final[t])  # the terminal state is acted on
        assert reward[t + 1] == 0 and not terminated[t + 1] and not truncated[t + 1]
        assert (np.abs(following[t + 1]) <= 0.05).all()
    assert reward.sum() == 40 - len(ends) + (ends[-1] == 39)


# Networks -----------------------------------------------------------------------------------------


def test_convolutions_are_matrix_products():
    layers = ((3, 4, 2), (5, 2, 1))
    plain, product = (
        networks.conv_encoder((8, 8, 2), layers, 6, convolution=how) for how in ("conv", "im2col")
    )
    params = jax.jit(plain.init)(jax.random.key(0))
    obs = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 8, 2)), jnp.float32)

    def loss(encoder, params):
        features = encoder.apply(params, obs)
        return (features * jnp.arange(12, dtype=jnp.float32).reshape(2, 6)).sum(), features

    found = [
        jax.jit(jax.grad(functools.partial(loss, encoder), has_aux=True))(params)
        for encoder in (plain, product)
    ]
    for a, b in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
        assert float(jnp.abs(a).sum()) > 0


@pytest.mark.parametrize(("kind", "side"), [("minatar", 10), ("nature", 84)])
def test_features_of_the_literatures_networks(kind, side):
    net = networks.make(kind, (side, side, 4), 3)
    params = jax.eval_shape(net.init, jax.random.key(0))
    obs = jax.ShapeDtypeStruct((2, side, side, 4), jnp.uint8)
    heads = jax.eval_shape(net.apply, params, obs)
    assert heads.features.shape == (2, 128 if kind == "minatar" else 512)
    flat = {"minatar": 8 * 8 * 16, "nature": 7 * 7 * 64}[kind]
    assert params["encoder"]["dense"]["w"].shape[0] == flat


def test_separate_networks_share_nothing():
    make = functools.partial(networks.make, "mlp", (6,), 3, hidden=(8, 5))
    obs = jnp.ones((2, 6))
    for encoder, touched in (("shared", True), ("separate", False)):
        net = make(encoder=encoder)
        params = net.init(jax.random.key(0))
        grads = jax.grad(lambda p, n=net: n.apply(p, obs).value.sum())(params)
        moved = any(float(jnp.abs(g).sum()) > 0 for g in jax.tree.leaves(grads["encoder"]))
        assert moved == touched
        assert net.apply(params, obs).features.shape == (2, 5)
    assert train.parameters(params) > 1.9 * (6 * 8 + 8 * 5)


def test_initial_weights_are_orthogonal():
    params = networks.make("mlp", (20,), 3, hidden=(8,)).init(jax.random.key(0))
    for layer, gain in (
        (params["encoder"][0], 2**0.5),
        (params["actor"], 0.01),
        (params["critic"], 1),
    ):
        w = np.asarray(layer["w"], np.float64)
        np.testing.assert_allclose(w.T @ w, gain**2 * np.eye(w.shape[1]), atol=1e-5)
        assert not np.asarray(layer["b"]).any()


def test_pqns_layers_are_normalised():
    net = networks.make("mlp", (6,), 3, algorithm="pqn", hidden=(16,))
    params = net.init(jax.random.key(0))
    obs = jnp.asarray(np.random.default_rng(0).normal(size=(4, 6)), jnp.float32)
    heads = net.apply(params, obs)
    np.testing.assert_allclose(heads.value, heads.logits.max(axis=1))
    scaled = net.apply(params, 100 * obs)  # LayerNorm does not see the scale (biases are 0)
    np.testing.assert_allclose(heads.logits, scaled.logits, rtol=1e-3, atol=1e-3)
