"""Training and evaluation, each one compiled program.

Per day: omega environment steps with the parameters of the morning, about one of which is kept for
replay, then one gradient step. In the words of the usual loop:

    for each day:
        for omega environment steps:
            a = random action with probability eps, else greedy     (DAU: greedy on values + noise)
            step; reset the episode where it ended
            keep the transition if it is terminal, or else with probability 1/omega
        if the buffer is not empty: one Adam step on 32 transitions, drawn with replacement
        every 1000 gradient steps: target network <- network

Two things are done differently without changing a result. The random numbers of all days of a
chunk are drawn at once, each day's from a key of its own. And the greedy actions of a day, which
all come from the same parameters, are found by fixed-point iteration: see `act`.

Everything here is for one seed and one asset; `jax.vmap` over keys, drifts and volatilities.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, UInt

from papers.superiority.agents import (
    ACTIONS,
    OBSERVATION,
    AgentSpec,
    Params,
    TargetParams,
    Transition,
    acting_network,
    batch_loss,
    greedy_actions,
    init_params,
    target_params,
)
from papers.superiority.env import EXERCISE, TRAIN_SPAN, EnvState, OptionEnv

Metrics = dict[str, Float[Array, ""]]


class Replay(NamedTuple):
    """The last C kept transitions, a row each; `inserted` counts all that were ever kept."""

    rows: Float[Array, "C row"]
    inserted: Int[Array, ""]


class Adam(NamedTuple):
    """Running means of the gradient and of its square."""

    mean: Params
    square: Params


class TrainState(NamedTuple):
    """All that the rest of a training run depends on.

    Attributes:
        params, target, adam: network, target network (the part that is used), optimiser.
        replay, env: buffer and the running episode. noise: DAU's exploration noise.
        key: the run's key, never changed. day: days done, which with the key determines all draws.
        updates: gradient steps done; fewer than days where the buffer was empty at first.
    """

    params: Params
    target: TargetParams
    adam: Adam
    replay: Replay
    env: EnvState
    noise: Float[Array, " A"]
    key: Key[Array, ""]
    day: Int[Array, ""]
    updates: Int[Array, ""]


class Draws(NamedTuple):
    """The random numbers of one day.

    Attributes:
        price: standard normal moves of the log price. start: uniform, clock of a reset.
        explore, action: uniform below eps means this random action. keep: uniform, for thinning.
        batch: random words that choose the batch. noise: standard normal, drives DAU's noise.
    """

    price: Float[Array, " omega"]
    start: Float[Array, " omega"]
    explore: Float[Array, " omega"]
    action: Int[Array, " omega"]
    keep: Float[Array, " omega"]
    batch: UInt[Array, " batch"]
    noise: Float[Array, " A"]


def init_train(key: Key[Array, ""], agent: AgentSpec, env: OptionEnv) -> TrainState:
    """A run at its beginning: fresh network, empty buffer, an episode started at random."""
    k_params, k_env, k_run = jax.random.split(key, 3)
    params = init_params(k_params, agent)
    rows = jnp.zeros((agent.replay_capacity, 2 * OBSERVATION + 3), jnp.float32)
    return TrainState(
        params=params,
        target=target_params(params, agent),
        adam=Adam(jnp.zeros_like(params), jnp.zeros_like(params)),
        replay=Replay(rows, jnp.int32(0)),
        env=env.reset(k_env, train=True),
        noise=jnp.zeros(ACTIONS, jnp.float32),
        key=k_run,
        day=jnp.int32(0),
        updates=jnp.int32(0),
    )


@functools.partial(jax.jit, static_argnames=("agent", "days"))
def train_chunk(
    state: TrainState, agent: AgentSpec, env: OptionEnv, days: int
) -> tuple[TrainState, Metrics]:
    """Train for `days` gradient steps of omega environment steps each.

    Split into chunks in any way, a run gives the same states.

    Returns:
        The new state, and of the chunk, all finite (0 where there was nothing to average):
        `episode_return`, the mean undiscounted return of the `episodes` that ended;
        `exercise_rate`, the share of greedy decisions that exercise; and of its end: `epsilon`, and
        the losses `q_loss` and `quantile_loss` on the batches of up to 32 last days.
    """
    draws = draw(state.key, state.day + jnp.arange(days), agent)
    state, sums = jax.lax.scan(lambda s, d: train_day(s, d, agent, env), state, draws)
    sums = jax.tree.map(jnp.sum, sums)
    metrics = {
        "episode_return": sums["payoff"] / jnp.maximum(sums["episodes"], 1),
        "episodes": sums["episodes"],
        "exercise_rate": sums["exercised"] / jnp.maximum(sums["greedy"], 1),
        "epsilon": epsilon(state.updates, agent),
    }
    # The values of all losses would take a tenth of the time, and the gradients do not need them.
    batches = sample(state.replay, draws.batch[-32:].reshape(-1))
    _, losses = batch_loss(state.params, state.target, batches, agent)
    return state, metrics | losses


def train_day(
    state: TrainState, draws: Draws, agent: AgentSpec, env: OptionEnv
) -> tuple[TrainState, Metrics]:
    """One day: omega environment steps, then one gradient step. Returns counts for the metrics."""
    env_state, steps, greedy = act(state, draws, agent, env)
    terminal = steps.mask == 0
    chosen = draws.explore >= _exploration(state.updates, agent)
    replay = insert(state.replay, steps, terminal | (draws.keep < agent.h))
    counts = {
        "payoff": jnp.sum(steps.reward),
        "episodes": _count(terminal),
        "greedy": _count(chosen),
        "exercised": _count(chosen & (greedy == EXERCISE)),
    }
    state = state._replace(env=env_state, replay=replay, day=state.day + 1)
    return learn(state, draws, agent), counts


def _count(events: Bool[Array, " n"]) -> Float[Array, ""]:
    return jnp.sum(events.astype(jnp.float32))


def draw(key: Key[Array, ""], days: Int[Array, " days"], agent: AgentSpec) -> Draws:
    """The draws of each of these days, all arrays with a first axis `days`."""
    omega = agent.frequency
    sizes = [omega] * 5 + [agent.batch_size, ACTIONS]
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, days)
    words = jax.vmap(lambda k: jax.random.bits(k, (sum(sizes),), jnp.uint32))(keys)
    words = Draws(*jnp.split(words, np.cumsum(sizes)[:-1], axis=1))
    return Draws(
        price=_normal(words.price),
        start=_uniform(words.start),
        explore=_uniform(words.explore),
        action=(words.action % ACTIONS).astype(jnp.int32),
        keep=_uniform(words.keep),
        batch=words.batch,
        noise=_normal(words.noise),
    )


def _uniform(words: Array) -> Array:
    """Uniform in (0, 1), both ends out: the upper 23 bits and a half."""
    return (words >> 9).astype(jnp.float32) * 2.0**-23 + 2.0**-24


def _normal(words: Array) -> Array:
    return math.sqrt(2) * jax.lax.erf_inv(2 * _uniform(words) - 1)


# --- Acting ---------------------------------------------------------------------------------------


def act(
    state: TrainState, draws: Draws, agent: AgentSpec, env: OptionEnv
) -> tuple[EnvState, Transition, Int[Array, " omega"]]:
    """One day of environment steps with fixed parameters.

    The greedy action at a step depends on the price and clock there, which depend on the actions
    before. So guess all omega greedy actions, roll the prices out under them, and ask the network
    for the greedy actions at all these states in one batch; repeat until guess and answer agree.
    After n rounds the first n actions at least are those of the step-by-step process, and a guess
    that agrees is that process. Starting from "hold", one or two rounds do mostly, instead of
    omega calls of the network.

    Returns:
        The state after the day, its transitions [omega], and the greedy actions there.
    """
    explore = draws.explore < _exploration(state.updates, agent)
    noise = state.noise if agent.kind == "dau" else None
    net = acting_network(state.params, agent)
    # Nothing of the day follows from its last action, nor from greedy actions that are not taken.
    matters = ~explore & (jnp.arange(agent.frequency) < agent.frequency - 1)

    def behaviour(greedy: Array) -> Array:
        return jnp.where(explore, draws.action, greedy)

    def ask(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        guess, _ = carry
        _, steps = roll_out(state.env, behaviour(guess), draws, agent.h, env)
        greedy = greedy_actions(net, steps.obs, agent, noise)
        return greedy, jnp.any(matters & (guess != greedy))

    hold = jnp.zeros(agent.frequency, jnp.int32)
    greedy, _ = jax.lax.while_loop(lambda carry: carry[1], ask, (hold, jnp.bool_(True)))
    after, steps = roll_out(state.env, behaviour(greedy), draws, agent.h, env)
    return after, steps, greedy


def roll_out(
    state: EnvState, actions: Int[Array, " omega"], draws: Draws, h: float, env: OptionEnv
) -> tuple[EnvState, Transition]:
    """Environment steps with given actions; an episode that ends is followed by the next one."""

    def step(state: EnvState, inputs: tuple[Array, Array, Array]) -> tuple[EnvState, tuple]:
        action, noise, start = inputs
        after, reward, terminated = env.step(state, action, noise, h)
        fresh = env.start_at(start * (TRAIN_SPAN * env.horizon))
        following = jax.tree.map(lambda a, b: jnp.where(terminated, a, b), fresh, after)
        return following, (state, after, reward, terminated)

    last, (before, after, reward, terminated) = jax.lax.scan(
        step, state, (actions, draws.price, draws.start)
    )
    observe = jax.vmap(env.observe)
    mask = 1 - terminated.astype(jnp.float32)
    return last, Transition(observe(before), actions, reward, mask, observe(after))


def epsilon(updates: Int[Array, ""], agent: AgentSpec) -> Float[Array, ""]:
    """Exploration rate: linear from 1 to `epsilon_final` over `epsilon_updates` gradient steps."""
    done = jnp.minimum(updates.astype(jnp.float32) / agent.epsilon_updates, 1)
    return 1 + (agent.epsilon_final - 1) * done


def _exploration(updates: Int[Array, ""], agent: AgentSpec) -> Float[Array, ""]:
    """DAU explores by its noise alone."""
    return jnp.float32(0) if agent.kind == "dau" else epsilon(updates, agent)


# --- Replay ---------------------------------------------------------------------------------------


def insert(replay: Replay, steps: Transition, keep: Bool[Array, " n"]) -> Replay:
    """Append the transitions marked `keep`, in order, over the oldest ones."""
    capacity = replay.rows.shape[0]
    rank = jnp.cumsum(keep.astype(jnp.int32))
    slots = (replay.inserted + rank - 1) % capacity
    rows = replay.rows.at[jnp.where(keep, slots, capacity)].set(_pack(steps), mode="drop")
    return Replay(rows, replay.inserted + rank[-1])


def sample(replay: Replay, words: UInt[Array, " batch"]) -> Transition:
    """Transitions drawn uniformly, with replacement, by random words; the buffer is not empty."""
    size = jnp.clip(replay.inserted, 1, replay.rows.shape[0]).astype(jnp.uint32)
    return _unpack(replay.rows[words % size])


def _pack(steps: Transition) -> Float[Array, "n row"]:
    columns = (steps.action.astype(jnp.float32), steps.reward, steps.mask)
    return jnp.concatenate([steps.obs, jnp.stack(columns, axis=1), steps.next_obs], axis=1)


def _unpack(rows: Float[Array, "n row"]) -> Transition:
    action, reward, mask = (rows[:, OBSERVATION + i] for i in range(3))
    obs, next_obs = rows[:, :OBSERVATION], rows[:, OBSERVATION + 3 :]
    return Transition(obs, action.astype(jnp.int32), reward, mask, next_obs)


# --- Learning -------------------------------------------------------------------------------------


def learn(state: TrainState, draws: Draws, agent: AgentSpec) -> TrainState:
    """One gradient step and, when due, the target network's copy.

    While the buffer is empty the gradient is taken as zero, which leaves Adam and so the
    parameters at rest, and does not count.
    """
    ready = state.replay.inserted > 0
    batch = sample(state.replay, draws.batch)
    gradient, _ = jax.grad(batch_loss, has_aux=True)(state.params, state.target, batch, agent)
    gradient = jnp.where(ready, gradient, 0)
    updates = state.updates + ready.astype(jnp.int32)
    params, adam = adam_step(state.params, gradient, state.adam, updates, agent.learning_rate)
    due = ready & (updates % agent.target_period == 0)
    noise = state.noise * (1 - agent.noise_stiffness * agent.h)
    noise = noise + agent.noise_scale * agent.h**0.5 * draws.noise
    return state._replace(
        params=params,
        target=jnp.where(due, target_params(params, agent), state.target),
        adam=adam,
        noise=jnp.where(ready, noise, state.noise),
        updates=updates,
    )


def adam_step(
    params: Params, gradient: Params, adam: Adam, updates: Int[Array, ""], rate: float
) -> tuple[Params, Adam]:
    """Adam with decays 0.9 and 0.999 and epsilon 1e-8; `updates` counts this step.

    The bias corrections are moved into two scalars, which saves half of the time.
    """
    count = jnp.maximum(updates, 1).astype(jnp.float32)
    mean = 0.9 * adam.mean + 0.1 * gradient
    square = 0.999 * adam.square + 0.001 * gradient**2
    root = jnp.sqrt(1 - 0.999**count)
    step = (rate * root / (1 - 0.9**count)) * mean / (jnp.sqrt(square) + 1e-8 * root)
    return params - step, Adam(mean, square)


# --- Evaluation -----------------------------------------------------------------------------------


@functools.partial(jax.jit, static_argnames=("agent", "episodes"))
def evaluate(
    params: Params, key: Key[Array, ""], agent: AgentSpec, env: OptionEnv, episodes: int
) -> tuple[Float[Array, " episodes"], Float[Array, " episodes"]]:
    """Returns of greedy episodes from price x0 at t = 0: undiscounted, and discounted by gamma**t.

    Up to the exercise that ends it, an episode's price does not depend on the agent. So prices
    are rolled out a few steps ahead and the network is asked about all of them in one batch.
    """
    h, net = agent.h, acting_network(params, agent)
    window = max(1, min(64, 4096 // episodes))

    def ahead(state: EnvState, noise: Array) -> tuple[EnvState, tuple[Array, Array, Array]]:
        after, payoff, _ = env.step(state, EXERCISE, noise, h)
        return after, (env.observe(state), payoff, env.forced(state, h))

    def advance(carry: tuple) -> tuple:
        block, state, total, discounted, done = carry
        noise = jax.random.normal(jax.random.fold_in(key, block), (episodes, window), jnp.float32)
        state, (obs, payoff, forced) = jax.vmap(lambda s, n: jax.lax.scan(ahead, s, n))(
            state, noise
        )
        actions = greedy_actions(net, obs.reshape(-1, OBSERVATION), agent)
        stops = forced | (actions.reshape(episodes, window) == EXERCISE)
        first = jnp.argmax(stops, axis=1)
        paid = jnp.take_along_axis(payoff, first[:, None], axis=1)[:, 0]
        paid = jnp.where(stops.any(axis=1) & ~done, paid, 0)
        moves = (block * window + first).astype(jnp.float32)
        discounted = discounted + paid * agent.discount ** (h * moves)
        return block + 1, state, total + paid, discounted, done | stops.any(axis=1)

    start = jax.tree.map(lambda x: jnp.broadcast_to(x, (episodes,)), env.start_at(0.0))
    zeros = jnp.zeros(episodes, jnp.float32)
    carry = (jnp.int32(0), start, zeros, zeros, zeros > 0)
    _, _, total, discounted, _ = jax.lax.while_loop(lambda c: ~c[-1].all(), advance, carry)
    return total, discounted
