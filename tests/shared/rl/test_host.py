"""The host driver on a fake environment: what is stored, and a run that is stopped and resumed."""

import functools

import jax
import numpy as np
import pytest

from shared.experiment.errors import BadInput
from shared.rl import host, td3
from shared.rl.loop import Plan, Setup
from shared.rl.networks import Critic, TanhActor
from shared.rl.replay import Layout, Uniform

LAYOUT = Layout(obs=2, action=1, capacity=64, extras=(("time", 1),))
LEARNER, HYPER = (
    td3.learner(td3.Spec(TanhActor(2, 1, (8,)), Critic(2, 1, hidden=(8,)), delay=1)),
    td3.Hyper(),
)
SETUP = Setup(LEARNER, Uniform(LAYOUT), Plan(envs=2, steps=5, updates=4, batch=8))
SEEDS = (3, 4)


class Walk:
    """N random walks pushed by the action; truncated after 4 steps, terminated beyond +-3."""

    def __init__(self, limit=4):
        self.limit = limit
        self.calls = 0

    def reset(self, seeds):
        self.rngs = [np.random.default_rng(seed) for seed in seeds]
        self.x = np.array([rng.normal() for rng in self.rngs])
        self.t = np.zeros(len(seeds), int)
        return self._seen()

    def step(self, actions):
        self.calls += 1
        assert actions.dtype == np.float32 and np.abs(actions).max() <= 1
        self.x = self.x + actions[:, 0] + [0.3 * rng.normal() for rng in self.rngs]
        self.t = self.t + 1
        final, reward = self._seen(), -np.abs(self.x)
        terminated = np.abs(self.x) > 3
        truncated = (self.t >= self.limit) & ~terminated
        for i in np.flatnonzero(terminated | truncated):
            self.x[i], self.t[i] = self.rngs[i].normal(), 0
        return self._seen(), reward, terminated, truncated, final

    def _seen(self):
        return np.stack([self.x, self.t], 1).astype(np.float64)

    def get_state(self):
        words = [rng.bit_generator.state["state"] for rng in self.rngs]
        rng = np.array([[w["state"] >> 64, w["state"] % 2**64, w["inc"] >> 64, w["inc"] % 2**64]
                        for w in words], np.uint64)  # fmt: skip
        return {"x": self.x.copy(), "t": self.t.copy(), "rng": rng}

    def set_state(self, state):
        self.x, self.t = state["x"].copy(), state["t"].copy()
        self.rngs = []
        for row in state["rng"].tolist():
            rng = np.random.default_rng(0)
            whole = {"state": row[0] << 64 | row[1], "inc": row[2] << 64 | row[3]}
            rng.bit_generator.state = rng.bit_generator.state | {"state": whole}
            self.rngs.append(rng)


def begin(seed=0):
    env = Walk()
    state = host.init(jax.random.key(seed), SEEDS, env, SETUP)
    return host.warm_up(state, env, SETUP, 6), env


def on_disk(state):
    """What a checkpoint would bring back: new arrays, nothing shared."""
    return jax.tree.map(
        lambda leaf: leaf if isinstance(leaf, int) else
        jax.random.wrap_key_data(np.asarray(jax.random.key_data(leaf)))
        if isinstance(leaf, jax.Array) and jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        else type(leaf)(leaf) if isinstance(leaf, np.generic)
        else jax.numpy.asarray(np.asarray(leaf).copy()) if isinstance(leaf, jax.Array)
        else leaf.copy(),
        state,
    )  # fmt: skip


@functools.cache
def whole_run():
    state, env = begin()
    for _ in range(4):
        state, metrics = host.block(state, env, HYPER, SETUP)
    return state, metrics


def assert_same(x, y):
    def data(leaf):
        is_key = jax.numpy.issubdtype(getattr(leaf, "dtype", float), jax.dtypes.prng_key)
        return jax.random.key_data(leaf) if is_key else leaf

    jax.tree.map(lambda a, b: np.testing.assert_array_equal(data(a), data(b)), x, y)


def test_resumed_run_ends_bit_for_bit_the_same():
    state, env = begin()
    for _ in range(2):
        state, _ = host.block(state, env, HYPER, SETUP)
    saved = on_disk(state)
    host.block(state, env, HYPER, SETUP)  # work that is lost with the process
    fresh = Walk()
    state = saved
    for _ in range(2):
        state, _ = host.block(state, fresh, HYPER, SETUP)
    assert_same(state, whole_run()[0])


def test_another_seed_is_another_run():
    state, env = begin(seed=1)
    state, _ = host.block(state, env, HYPER, SETUP)
    assert np.abs(state.obs - whole_run()[0].obs).max() > 1e-3


def test_counts_and_metrics():
    state, metrics = whole_run()
    assert state.steps == 6 + 4 * 5 and int(state.learner.step) == 16
    assert int(state.buffer.inserted) == 2 * state.steps
    assert {"critic_loss", "actor_loss", "episodes", "episode_return"} <= metrics.keys()
    assert metrics["episodes"] >= 2 and metrics["episode_return"] < 0


def test_what_is_stored():
    env = Walk()
    state = host.init(jax.random.key(0), SEEDS, env, SETUP)
    still = lambda obs, t: np.zeros((2, 1), np.float32)  # noqa: E731
    after, batch, counts = host.collect(state, env, still, SETUP, 9)
    clock = batch.obs[:, 1].reshape(9, 2)
    time = batch.extras["time"].reshape(9, 2)
    np.testing.assert_array_equal(clock, time)
    assert time[:, 0].tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0]
    assert (batch.next_obs[:, 1].reshape(9, 2) == clock + 1).all()  # never the next episode's
    assert not batch.terminated.any() and batch.reward.dtype == np.float32
    np.testing.assert_allclose(batch.reward, -np.abs(batch.next_obs[:, 0]), rtol=1e-6)
    assert counts["episodes"] == 4
    returns = batch.reward.reshape(9, 2)[:8].reshape(2, 4, 2).sum(1)
    np.testing.assert_allclose(counts["episode_return"], returns.mean(), rtol=1e-6)
    np.testing.assert_allclose(after.returns, batch.reward.reshape(9, 2)[8], rtol=1e-6)
    _, batch, _ = host.collect(after, env, lambda obs, t: 1 + 0 * still(obs, t), SETUP, 8)
    assert batch.terminated.any()


def test_bursts_of_any_length():
    state, _ = begin()
    state, means, left = host.learn_about(state, HYPER, SETUP, 11, unit=4)
    assert int(state.learner.step) == 8 and left == 3 and "critic_loss" in means
    state, means, left = host.learn_about(state, HYPER, SETUP, 3, unit=4)
    assert means == {} and left == 3


def test_evaluation_is_one_episode_of_each_copy():
    state, _ = begin()
    env = Walk()
    returns = host.evaluate(state.learner, env, (7, 8), LEARNER, horizon=50)
    assert env.calls == 4 and returns.shape == (2,) and (returns < 0).all()
    twice = host.evaluate(state.learner, Walk(), (7, 8), LEARNER, horizon=50)
    np.testing.assert_array_equal(returns, twice)
    short = host.evaluate(state.learner, Walk(), (7, 8), LEARNER, horizon=1)
    assert (short > returns).all()


def test_bad_input():
    with pytest.raises(BadInput, match="2 environments need as many seeds, not 1"):
        host.init(jax.random.key(0), (1,), Walk(), SETUP)
    wide = Setup(LEARNER, Uniform(Layout(3, 1, 8)), SETUP.plan)
    with pytest.raises(
        BadInput, match=r"expects observations \(2, 3\), the environment gives \(2, 2\)"
    ):
        host.init(jax.random.key(0), SEEDS, Walk(), wide)
    state, env = begin()
    with pytest.raises(BadInput, match="at least 1 step"):
        host.collect(state, env, host.random_actions(state, 1), SETUP, 0)
    slow = Setup(td3.learner(td3.Spec.of(2, 1, hidden=(8,))), SETUP.store, SETUP.plan)
    odd = state._replace(learner=state.learner._replace(step=jax.numpy.int32(3)))
    with pytest.raises(BadInput, match="Blocks begin where a cycle of 2"):
        host.learn(odd, HYPER, slow, 2)
