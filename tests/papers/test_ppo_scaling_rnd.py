"""Random network distillation: statistics, intrinsic rewards and returns, losses, the learner."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from papers.ppo_scaling import networks, rnd, train
from papers.ppo_scaling.method import BatchSpec, PPOBatch
from papers.ppo_scaling.networks import Heads, Net


def test_moments_are_those_of_everything_seen() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.normal(3, 2, (n, 2)).astype(np.float32) for n in (5, 1, 40)]
    moments = functools.reduce(rnd.seen, map(jnp.asarray, parts), rnd.no_moments((2,)))
    whole = np.concatenate(parts)
    np.testing.assert_allclose(moments.mean, whole.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(moments.var, whole.var(axis=0), rtol=1e-3)
    assert float(moments.weight) == pytest.approx(46, abs=1e-3)


def test_frames_are_standardised_and_cut() -> None:
    moments = rnd.Moments(jnp.full((1, 1, 2), 2.0), jnp.full((1, 1, 2), 4.0), jnp.float32(9))
    frames = jnp.array([[[[4.0, -100.0]]], [[[2.0, 100.0]]]])
    np.testing.assert_allclose(
        rnd.standardised(frames, moments).reshape(2, 2), [[1, -5], [0, 5]], rtol=1e-6
    )


def test_discounted_sums_run_along_time() -> None:
    rewards = jnp.array([[1.0, 0.0], [2.0, 4.0], [0.0, 8.0]])
    sums, last = rnd.discounted_sums(rewards, jnp.array([10.0, 0.0]), 0.5)
    np.testing.assert_allclose(sums, [[6, 0], [5, 4], [2.5, 10]])
    np.testing.assert_allclose(last, [2.5, 10])


def test_the_intrinsic_reward_is_half_the_squared_distance() -> None:
    predicted, target = jnp.array([[1.0, 2.0], [0.0, 0.0]]), jnp.array([[1.0, 5.0], [3.0, 4.0]])
    np.testing.assert_allclose(rnd.novelty(predicted, target), [4.5, 12.5])
    slope = jax.grad(lambda g: rnd.novelty(g, target).sum())(predicted)
    np.testing.assert_array_equal(slope, jnp.zeros_like(predicted))


def test_the_predictor_learns_and_the_target_does_not() -> None:
    predicted, target = jnp.array([[1.0, 2.0], [0.0, 0.0]]), jnp.array([[1.0, 5.0], [3.0, 4.0]])
    weights = jnp.array([2.0, 0.0])
    assert float(rnd.predictor_loss(predicted, target, weights)) == pytest.approx(9 / 2)
    both = jax.grad(rnd.predictor_loss, (0, 1))(predicted, target, weights)
    np.testing.assert_allclose(both[0], [[0, -3], [0, 0]])
    np.testing.assert_array_equal(both[1], jnp.zeros_like(target))


def test_a_quarter_of_the_states_trains_the_predictor() -> None:
    uniform = jnp.array([0.1, 0.3, 0.2, 0.9, 0.5, 0.6, 0.7, 0.8])
    weights = rnd.quarter(uniform)
    np.testing.assert_allclose(weights, [4, 0, 4, 0, 0, 0, 0, 0])
    assert float(weights.mean()) == 1
    np.testing.assert_array_equal(rnd.quarter(uniform + 1), jnp.zeros(8))


def test_two_streams_of_advantages() -> None:
    ends = jnp.array([[True], [False]])
    nothing = jnp.zeros((2, 1), jnp.float32)
    rollout = train.Rollout(
        obs=jnp.zeros((2, 1, 1)),
        actions=jnp.zeros((2, 1), jnp.int32),
        log_probs=nothing,
        values=jnp.array([[[1.0, 10.0]], [[2.0, 20.0]]]),
        rewards=jnp.array([[5.0], [0.0]]),
        terminated=ends,
        truncated=jnp.zeros_like(ends),
        final_values=jnp.zeros((2, 1, 2)),
    )
    curious, last = jnp.array([[0.5], [1.0]]), jnp.array([[3.0, 30.0]])
    batch, own = rnd.advantages(rollout, curious, last, train.hyper(1.0, gamma=0.999, lam=0.95))
    ext_1 = 0.999 * 3 - 2
    ext_0 = 5.0 - 1  # the game ended: no value after it
    own_1 = 1 + 0.99 * 30 - 20
    own_0 = 0.5 + 0.99 * 20 - 10 + 0.99 * 0.95 * own_1  # what there is to see goes on
    np.testing.assert_allclose(batch.returns[:, 0], [ext_0 + 1, ext_1 + 2], rtol=1e-5)
    np.testing.assert_allclose(own[:, 0], [own_0 + 10, own_1 + 20], rtol=1e-5)
    expected = [2 * ext_0 + own_0, 2 * ext_1 + own_1]
    np.testing.assert_allclose(batch.advantages[:, 0], expected, rtol=1e-5)
    np.testing.assert_array_equal(batch.values, rollout.values[..., 0])


def test_the_newest_frame_is_the_last_of_each_block() -> None:
    from papers.ppo_scaling.atari import layout

    frames = np.random.default_rng(0).integers(0, 256, (2, 4, 84, 84)).astype(np.uint8)
    found = rnd.newest(layout(jnp.asarray(frames)))
    blocks = frames[:, 3].reshape(2, 21, 4, 21, 4).transpose(0, 1, 3, 2, 4).reshape(2, 21, 21, 16)
    np.testing.assert_array_equal(found, blocks.astype(np.float32))


# The learner, with linear networks in the place of convolutions -----------------------------------


@pytest.fixture
def linear(monkeypatch: pytest.MonkeyPatch) -> Net:
    """An agent, a target and a predictor that are one matrix each."""

    def see(params: Any, x: Any) -> Any:
        return x.reshape(len(x), -1)[:, ::401].astype(jnp.float32) @ params["w"]

    def matrix(key: Any, inputs: int, outputs: int) -> Any:
        return {"w": 0.1 * jax.random.normal(key, (inputs, outputs))}

    n = -(-21 * 21 * 16 // 401)
    monkeypatch.setattr(rnd, "target_features", see)
    monkeypatch.setattr(rnd, "predicted_features", see)
    monkeypatch.setattr(rnd, "init_target", lambda key: matrix(key, n, 5))

    def init(key: Any) -> Any:
        one, two = jax.random.split(key)
        return {"agent": matrix(one, 71, 4), "predictor": matrix(two, n, 5)}

    def apply(params: Any, obs: Any) -> Any:
        features = obs.reshape(len(obs), -1)[:, ::401].astype(jnp.float32) / 255
        out = features @ params["agent"]["w"]
        values: Any = out[:, 2:]
        return Heads(out[:, :2], values, features, features)

    assert networks.Net is Net
    return Net(init, apply)


def rollout_of(key: Any, shape: tuple[int, int] = (8, 4)) -> tuple[train.Rollout, Any]:
    keys = jax.random.split(key, 6)
    pixels = jax.random.randint(keys[0], (shape[0] + 1, shape[1], 21, 21, 64), 0, 256)
    pixels = pixels.astype(jnp.uint8)
    flags = jax.random.bernoulli(keys[1], 0.1, shape)
    rollout = train.Rollout(
        pixels[:-1],
        jax.random.randint(keys[2], shape, 0, 2),
        jnp.full(shape, -0.7, jnp.float32),
        jax.random.normal(keys[3], (*shape, 2)),
        jax.random.normal(keys[4], shape),
        flags,
        jnp.zeros_like(flags),
        jnp.zeros((*shape, 2), jnp.float32),
    )
    return rollout, pixels[-1]


def test_the_first_rollouts_only_set_the_scales(linear: Net) -> None:
    learner = rnd.make_learner(linear, BatchSpec(4, 8, 1, 2), rows=None, warmup=1)
    before: Any = learner.init(jax.random.key(0))
    rollout, last = rollout_of(jax.random.key(1))
    learn = jax.jit(learner.learn)
    hp = train.hyper(10.0, lr=1e-2)
    watched, logs = learn(before, rollout, last, jax.random.key(2), hp)
    np.testing.assert_array_equal(watched.params["agent"]["w"], before.params["agent"]["w"])
    np.testing.assert_array_equal(watched.params["predictor"]["w"], before.params["predictor"]["w"])
    assert int(watched.iteration) == 1 and float(logs["predictor_loss"]) == 0
    frames = np.asarray(rnd.newest(rollout.obs)).reshape(-1, 21, 21, 16)
    np.testing.assert_allclose(watched.frames.mean, frames.mean(axis=0), rtol=1e-3)
    assert float(watched.sums.weight) < 1

    trained, logs = learn(watched, rollout, last, jax.random.key(2), hp)
    for name in ("agent", "predictor"):
        assert (trained.params[name]["w"] != watched.params[name]["w"]).any()
    np.testing.assert_array_equal(trained.target["w"], before.target["w"])
    assert float(trained.sums.weight) == pytest.approx(32, abs=0.1)
    assert float(logs["intrinsic_reward"]) > 0


def test_a_known_place_is_not_interesting(linear: Net) -> None:
    learner = rnd.make_learner(linear, BatchSpec(4, 8, 1, 2), rows=None, warmup=0)
    state: Any = learner.init(jax.random.key(0))
    rollout, last = rollout_of(jax.random.key(1))
    assert float(rnd.intrinsic_rewards(state, rollout, last).min()) > 0
    params = {**state.params, "predictor": state.target}
    known = state._replace(learner=state.learner._replace(params=params))
    np.testing.assert_array_equal(rnd.intrinsic_rewards(known, rollout, last), jnp.zeros((8, 4)))


def test_the_loss_has_the_gradient_of_its_parts(linear: Net) -> None:
    """Central differences along random directions."""
    state: Any = rnd.make_learner(linear, BatchSpec(4, 8, 1, 2), rows=None).init(jax.random.key(0))
    rollout, _ = rollout_of(jax.random.key(1))
    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), rollout)
    batch = PPOBatch(flat.actions, flat.log_probs, flat.values[:, 0], flat.rewards, flat.rewards)
    own, uniform = flat.values[:, 1], jax.random.uniform(jax.random.key(5), (32,))
    part, hp = (flat.obs, batch, own, uniform), train.hyper(1.0)

    @functools.partial(jax.jit, static_argnames="rows")
    def loss(params: Any, rows: int | None = None) -> Any:
        return rnd.objective(linear, params, state.target, state.frames, part, hp, rows)[0]

    slope, blocks = jax.grad(loss)(state.params), jax.grad(lambda p: loss(p, 8))(state.params)
    for a, b in zip(jax.tree.leaves(slope), jax.tree.leaves(blocks), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    for name in ("agent", "predictor"):
        w = state.params[name]["w"]
        way = jax.random.normal(jax.random.key(7), w.shape)

        def at(step: float, name: str = name, w: Any = w, way: Any = way) -> float:
            return float(loss({**state.params, name: {"w": w + step * way}}))

        h = 3e-3
        finite = (at(h) - at(-h)) / (2 * h)
        assert float(jnp.sum(slope[name]["w"] * way)) == pytest.approx(finite, rel=2e-2, abs=1e-3)


def test_real_sizes() -> None:
    net = rnd.network("small", 6)
    params = jax.eval_shape(net.init, jax.random.key(0))
    heads = jax.eval_shape(net.apply, params, jnp.zeros((2, 21, 21, 64), jnp.uint8))
    assert heads.logits.shape == (2, 6) and heads.value.shape == (2, 2)
    frames = jnp.zeros((2, 21, 21, 16), jnp.float32)
    target = jax.eval_shape(rnd.init_target, jax.random.key(0))
    assert jax.eval_shape(rnd.target_features, target, frames).shape == (2, 512)
    found = jax.eval_shape(rnd.predicted_features, params["predictor"], frames)
    assert found.shape == (2, 512)
