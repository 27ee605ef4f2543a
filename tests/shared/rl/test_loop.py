"""Collecting in pure-JAX environments: what is stored, counted and continued; the Lagrangian."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from shared.experiment.errors import BadInput
from shared.gpu.seeds import over_seeds, seed_keys, unstack
from shared.rl import lagrangian, loop, td3
from shared.rl.networks import Critic, GaussianActor, TanhActor
from shared.rl.replay import Layout, Uniform
from shared.rl.sac import Hyper as SacHyper
from shared.rl.sac import Spec as SacSpec

LAYOUT = Layout(obs=2, action=1, capacity=64, extras=(("time", 1),))
LEARNER = td3.learner(td3.Spec(TanhActor(2, 1, (8,)), Critic(2, 1, hidden=(8,)), delay=1))


class Clock(NamedTuple):
    """Counts its steps; truncated after `limit`, terminated when the action exceeds 0.9.

    The observation is (steps, number of the episode's random tag), the reward the steps before.
    """

    limit: int | jax.Array = 3

    def reset(self, key):
        tag = jax.random.uniform(key, (), jnp.float32)
        state = (jnp.int32(0), tag)
        return state, self._seen(state)

    def step(self, state, action, key):
        return loop.auto_reset(self.reset, self._advance)(state, action, key)

    def _advance(self, state, action, key):
        steps, tag = state
        after = (steps + 1, tag)
        terminated = action[0] > 0.9
        truncated = (steps + 1 >= self.limit) & ~terminated
        return after, self._seen(after), steps.astype(jnp.float32), terminated, truncated

    def _seen(self, state):
        return jnp.stack([state[0].astype(jnp.float32), state[1]])


def setup(plan=loop.Plan(envs=2, steps=7, updates=2, batch=8), layout=LAYOUT):  # noqa: B008
    return loop.Setup(LEARNER, Uniform(layout), plan)


def still(obs, key):
    return jnp.zeros((obs.shape[0], 1), jnp.float32)


def test_what_is_stored_at_the_end_of_an_episode():
    what = setup()
    state = loop.init(jax.random.key(0), Clock(), what)
    state, counts = jax.jit(lambda s: loop.collect(s, Clock(), still, what, 7))(state)
    batch = LAYOUT.unpack(state.buffer.rows[:14])
    obs, after = (np.asarray(x).reshape(7, 2, 2) for x in (batch.obs, batch.next_obs))
    assert obs[:, 0, 0].tolist() == [0, 1, 2, 0, 1, 2, 0]
    # the true next observation, with the tag of the same episode
    assert after[:, 0, 0].tolist() == [1, 2, 3, 1, 2, 3, 1]
    np.testing.assert_array_equal(obs[:, :, 1], after[:, :, 1])
    assert len(np.unique(obs[:, :, 1])) == 6  # two copies, three episodes each
    assert batch.extras["time"].reshape(7, 2)[:, 1].tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert not batch.terminated.any()  # a time limit is no death
    assert float(counts["episodes"]) == 4 and float(counts["return_sum"]) == 4 * (0 + 1 + 2)
    assert state.time.tolist() == [1, 1] and state.returns.tolist() == [0, 0]


def test_death_is_stored_as_such():
    what = setup()
    state = loop.init(jax.random.key(0), Clock(), what)
    state, counts = loop.collect(
        state, Clock(), lambda obs, key: jnp.ones((2, 1), jnp.float32), what, 3
    )
    batch = LAYOUT.unpack(state.buffer.rows[:6])
    assert batch.terminated.all() and batch.next_obs[:, 0].tolist() == [1] * 6
    assert float(counts["episodes"]) == 6


def test_random_actions_fill_the_box():
    action = loop.random_policy(3)(jnp.zeros((2000, 1), jnp.float32), jax.random.key(0))
    assert action.shape == (2000, 3)
    np.testing.assert_allclose(action.mean(0), 0, atol=0.07)
    np.testing.assert_allclose(action.std(0), 1 / np.sqrt(3), rtol=0.05)


def test_split_anywhere_it_is_the_same_run_and_seeds_are_apart():
    what, hyper = setup(), td3.Hyper()

    def chunk(state):
        return loop.train(state, Clock(), hyper, what, 2)

    def begin(key):
        return loop.warm_up(loop.init(key, Clock(), what), Clock(), what, 4)

    state = jax.jit(jax.vmap(begin))(seed_keys([0, 1], "train"))
    second = unstack(state)[1]
    step = over_seeds(chunk)
    state, metrics = step(state)
    state, _ = step(state)
    assert {"critic_loss", "actor_loss", "episodes", "episode_return"} <= metrics.keys()
    assert metrics["episodes"].shape == (2,)
    whole, _ = jax.jit(lambda s: loop.train(s, Clock(), hyper, what, 4))(second)
    for name in ("learner", "buffer", "obs", "time", "returns", "steps"):
        jax.tree.map(
            lambda x, y: np.testing.assert_allclose(x, y[1], rtol=1e-4, atol=1e-5),
            getattr(whole, name),
            getattr(state, name),
        )
    first = state.learner.actor.params[0].w
    assert np.abs(first[0] - first[1]).max() > 1e-3
    assert int(whole.learner.step) == 8 and int(whole.steps) == 4 + 4 * 7


def test_collecting_only():
    what = setup(loop.Plan(envs=2, steps=3, updates=0))
    state = loop.init(jax.random.key(0), Clock(), what)
    after, metrics = loop.train(state, Clock(), td3.Hyper(), what, 2)
    assert metrics.keys() == {"episodes", "episode_return"} and int(after.learner.step) == 0
    assert what.plan.update_ratio == 0 and loop.Plan(4, 5, 10).update_ratio == 0.5


class Bandit(NamedTuple):
    """One step an episode, reward -(a - 0.8)^2, and an action that costs what it is."""

    goal: float | jax.Array = 0.8

    def reset(self, key):
        return jnp.int32(0), jnp.zeros(1, jnp.float32)

    def step(self, state, action, key):
        def advance(state, action, key):
            reward = -((action[0] - self.goal) ** 2)
            return state, jnp.zeros(1, jnp.float32), reward, jnp.bool_(True), jnp.bool_(False)

        return loop.auto_reset(self.reset, advance)(state, action, key)


def action_cost(batch):
    return batch.action[:, 0]


def test_the_multiplier_finds_its_price():
    """max -(a - 0.8)^2 subject to a <= 0.3: a = 0.3 at the price 2 (0.8 - 0.3) = 1."""
    spec = lagrangian.Spec(
        SacSpec(GaussianActor(1, 1, (16,)), Critic(1, 1, hidden=(16,)), alpha=0.002),
        Critic(1, 1, hidden=(16,)),
    )
    learner = lagrangian.learner(spec, action_cost, multiplier=0.0)
    hyper = SacHyper(actor_lr=3e-3, critic_lr=1e-2, alpha_lr=0.0, tau=0.1)
    what = loop.Setup(learner, Uniform(Layout(1, 1, 1024)), loop.Plan(4, 1, 4, 32))
    env = Bandit()

    def iteration(state, _):
        state, _ = loop.train(state, env, hyper, what, 5)
        action = learner.act(state.learner, state.obs[:1])[0, 0]
        price = lagrangian.ascend(state.learner.multiplier, action, 0.3, 0.1)
        return state._replace(learner=state.learner._replace(multiplier=price)), (action, price)

    @functools.partial(jax.jit)
    @jax.vmap
    def run(key):
        state = loop.warm_up(loop.init(key, env, what), env, what, 32)
        return jax.lax.scan(iteration, state, length=300)[1]

    actions, prices = run(seed_keys([0, 1], "train"))
    np.testing.assert_allclose(actions[:, -50:].mean(1), 0.3, atol=0.05)
    np.testing.assert_allclose(prices[:, -50:].mean(1), 1, atol=0.15)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: loop.Plan(envs=0), "envs of a plan is at least 1"),
        (lambda: loop.Plan(updates=-1), "updates of a plan are at least 0"),
        (lambda: loop.known_extras(Layout(1, 1, 1, (("cost", 1),)), 0), "'time' only, not 'cost'"),
        (
            lambda: loop.train(
                loop.init(jax.random.key(0), Clock(), setup()), Clock(), td3.Hyper(), setup(), 0
            ),
            "iterations are at least 1",
        ),
    ],
)
def test_bad_input(make, words):
    with pytest.raises(BadInput, match=words):
        make()
