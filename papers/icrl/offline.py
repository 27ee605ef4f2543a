"""Offline constraint inference (ours: the paper claims that it extends to this, without a recipe).

Given expert demonstrations and unlabelled transitions of an agent that never heard of the wall,
both fixed. The inner learner is implicit Q-learning (Kostrikov et al., 2022) on the corrected
reward r - c. Where the online method asks which transitions the current policy makes, the offline
one weighs those of the data by how much the learner prefers them, w = min(exp(A / tau), 100), and
draws the cost's learner samples by these weights:

    V   <- expectile of min Q - V          Q <- r/std(r) - c + gamma (1 - terminated) V(s')
    pi  <- w-weighted regression on the data's actions
    c   <- one step of (3.4) on expert transitions and on data drawn with weights w

`IQL` is the same without a cost, `BC` regresses on the expert's actions alone.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from papers.icrl import method
from papers.icrl.envs import Task
from papers.icrl.method import Adam, CostParams, Mlp
from papers.icrl.train import Demos, Episodes, roll, unpack

GAMMA, TAU, EXPECTILE, TEMPERATURE, CEILING = 0.99, 0.005, 0.7, 1 / 3, 100.0
RATE, COST_RATE, BETA, BATCH, PERIOD = 1e-3, 1e-3, 0.1, 128, 20
"""`PERIOD` learner updates to a step of the cost."""


class Offline(NamedTuple):
    """One seed's state."""

    actor: Mlp
    critics: Mlp
    targets: Mlp
    value: Mlp
    cost: CostParams
    adams: tuple[Adam, Adam, Adam, Adam]
    key: Key[Array, ""]


def init(key: Key[Array, ""], world: Task, width: int) -> Offline:
    """Fresh networks; the cost starts at 0."""
    keys = jax.random.split(key, 5)
    o, a = world.obs_dim, world.act_dim
    actor = method.mlp_init(keys[0], (o, width, width, a))
    critics = jax.vmap(lambda k: method.mlp_init(k, (o + a, width, width, 1)))(
        jax.random.split(keys[1], 2)
    )
    value = method.mlp_init(keys[2], (o, width, width, 1))
    cost = method.cost_init(keys[3], o, a)
    start = method.adam_init
    adams = start(actor), start(critics), start(value), start(cost)
    return Offline(actor, critics, critics, value, cost, adams, keys[4])


def weights(advantage: Float[Array, " B"]) -> Float[Array, " B"]:
    """min(exp(A / tau), 100)."""
    return jnp.minimum(jnp.exp(advantage / TEMPERATURE), CEILING)


def expectile_loss(error: Float[Array, " B"]) -> Float[Array, ""]:
    """|EXPECTILE - 1[error < 0]| error^2, whose minimum over V is an upper expectile."""
    return jnp.mean(jnp.where(error < 0, 1 - EXPECTILE, EXPECTILE) * error**2)


def advantage_of(
    state: Offline, obs: Float[Array, "B o"], act: Float[Array, "B a"]
) -> Float[Array, " B"]:
    """min Q' - V."""
    q = jnp.min(method.q_values(state.targets, obs, act), axis=0)
    return q - method.mlp_apply(state.value, obs)[:, 0]


def update(
    state: Offline, data: Float[Array, "N row"], scale: Float[Array, ""], world: Task
) -> Offline:
    """One step of value, critics and policy."""
    key, draw, _ = jax.random.split(state.key, 3)
    rows = jax.random.randint(draw, (BATCH,), 0, data.shape[0], jnp.int32)
    b = unpack(data[rows], world.obs_dim, world.act_dim)
    adam_pi, adam_q, adam_v, adam_c = state.adams
    q = jnp.min(method.q_values(state.targets, b.obs, b.act), axis=0)
    gradient = jax.grad(lambda v: expectile_loss(q - method.mlp_apply(v, b.obs)[:, 0]))(state.value)
    value, adam_v = method.adam_step(state.value, gradient, adam_v, RATE)
    c = method.cost_apply(state.cost, b.obs, b.act)
    reward = method.corrected_reward(b.rew / scale, c, 1.0)
    target = reward + GAMMA * (1 - b.terminated) * method.mlp_apply(value, b.next_obs)[:, 0]
    gradient = jax.grad(
        lambda p: jnp.sum(jnp.mean((method.q_values(p, b.obs, b.act) - target) ** 2, axis=1))
    )(state.critics)
    critics, adam_q = method.adam_step(state.critics, gradient, adam_q, RATE)
    w = weights(advantage_of(state._replace(value=value), b.obs, b.act))
    actor, adam_pi = regress(state.actor, adam_pi, b.obs, b.act, w)
    targets = jax.tree.map(lambda t, p: t + TAU * (p - t), state.targets, critics)
    adams = adam_pi, adam_q, adam_v, adam_c
    return Offline(actor, critics, targets, value, state.cost, adams, key)


def regress(
    actor: Mlp, adam: Adam, obs: Float[Array, "B o"], act: Float[Array, "B a"],
    w: Float[Array, " B"],
) -> tuple[Mlp, Adam]:  # fmt: skip
    """One step of weighted regression on actions."""

    def loss(p: Mlp) -> Float[Array, ""]:
        error = jnp.sum((jnp.tanh(method.mlp_apply(p, obs)) - act) ** 2, axis=-1)
        return jnp.sum(w * error) / jnp.sum(w)

    return method.adam_step(actor, jax.grad(loss)(actor), adam, RATE)


def imitate(state: Offline, demos: Demos) -> Offline:
    """One step of behavioural cloning."""
    key, draw, _ = jax.random.split(state.key, 3)
    rows = jax.random.randint(draw, (BATCH,), 0, demos.obs.shape[0], jnp.int32)
    ones = jnp.ones(BATCH, jnp.float32)
    actor, adam = regress(state.actor, state.adams[0], demos.obs[rows], demos.act[rows], ones)
    return state._replace(actor=actor, adams=(adam, *state.adams[1:]), key=key)


def step_cost(state: Offline, data: Float[Array, "N row"], demos: Demos, world: Task) -> Offline:
    """One step of the cost: (3.4) with the data's preferred transitions as the learner's."""
    key, *draws = jax.random.split(state.key, 4)
    n = 4 * BATCH
    rows = jax.random.randint(draws[0], (4 * n,), 0, data.shape[0], jnp.int32)
    b = unpack(data[rows], world.obs_dim, world.act_dim)
    logits = jnp.log(weights(advantage_of(state, b.obs, b.act)))
    chosen = jax.random.categorical(draws[1], logits, shape=(n,))
    expert = jax.random.randint(draws[2], (n,), 0, demos.obs.shape[0], jnp.int32)
    gradient = jax.grad(lambda c: method.cost_loss(
        c, (demos.obs[expert], demos.act[expert]), (b.obs[chosen], b.act[chosen]), BETA)[0]
    )(state.cost)  # fmt: skip
    cost, adam = method.cost_step(state.cost, state.adams[3], gradient, COST_RATE)
    return state._replace(cost=cost, adams=(*state.adams[:3], adam), key=key)


@functools.partial(jax.jit, static_argnames=("world", "agent", "updates"))
def advance(
    states: Offline, data: Float[Array, "seeds N row"], demos: Demos, world: Task, agent: str,
    updates: int,
) -> Offline:  # fmt: skip
    """`updates` steps of every seed, each on its own data."""

    def one(state: Offline, data: Array) -> Offline:
        scale = jnp.std(data[:, -3]) + 1e-6  # the column of rewards, see train.pack

        def step(state: Offline, i: Array) -> tuple[Offline, None]:
            if agent == "BC":
                return imitate(state, demos), None
            state = update(state, data, scale, world)
            if agent == "offline IRL":
                due = i % PERIOD == PERIOD - 1
                state = jax.lax.cond(
                    due, lambda s: step_cost(s, data, demos, world), lambda s: s, state
                )
            return state, None

        return jax.lax.scan(step, state, jnp.arange(updates))[0]

    return jax.vmap(one)(states, data)


@functools.partial(jax.jit, static_argnames=("world", "episodes"))
def final_episodes(
    states: Offline, keys: Key[Array, " seeds"], world: Task, episodes: int
) -> Episodes:
    """Evaluation episodes of every seed's policy."""

    def one(actor: Mlp, key: Array) -> Episodes:
        return roll(world, lambda obs, _: jnp.tanh(method.mlp_apply(actor, obs)), key, episodes)

    return jax.vmap(one)(states.actor, keys)
