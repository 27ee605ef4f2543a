"""Training and evaluation, each one compiled program.

Per gradient step (one day): act for omega environment steps, keep about one of them in the replay
buffer, take one Adam step. In the words of the usual loop:

    for each day:
        for omega environment steps:
            a = random action with probability eps, else greedy     (DAU: greedy on values + noise)
            step; reset the episode where it ended
            keep the transition if it is terminal, or else with probability 1/omega
        if the buffer is not empty: one Adam step on 32 transitions, drawn with replacement
        every 1000 gradient steps: target network <- network

Two things are done differently without changing a result. All random numbers of a chunk are drawn
at once, each day's from a key of its own. And the greedy actions of a day, which all come from the
same parameters, are found by fixed-point iteration: see `act`.

Everything here is for one seed and one asset; `jax.vmap` over keys, drifts and volatilities.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, Key, PyTree, UInt

from papers.superiority.agents import (
    ACTIONS,
    OBSERVATION,
    AgentSpec,
    Params,
    Transition,
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


class TrainState(NamedTuple):
    """All that the rest of a training run depends on.

    Attributes:
        params, target, optimiser: network, target network (the part that is used), Adam's moments.
        replay, env: buffer and the running episode. noise: DAU's exploration noise.
        key: the run's key, never changed. day: days done, which with the key determines all draws.
        updates: gradient steps done; fewer than days where the buffer was empty at first.
    """

    params: Params
    target: Params
    optimiser: PyTree
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
    width = 2 * OBSERVATION + 3
    rows = jnp.zeros((agent.replay_capacity, width), jnp.float32)
    return TrainState(
        params=params,
        target=target_params(params, agent),
        optimiser=_adam(agent).init(params),
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
        The new state and means over the chunk, all finite (0 where there was nothing to average):
        the losses `q_loss`, `quantile_loss`; `episode_return`, undiscounted, of the `episodes` that
        ended; `exercise_rate`, the share of greedy decisions that exercise; `epsilon` at the end.
    """
    keys = jax.vmap(jax.random.fold_in, (None, 0))(state.key, state.day + jnp.arange(days))
    draws = jax.vmap(_draw, (0, None))(keys, agent)
    state, sums = jax.lax.scan(lambda s, d: train_day(s, d, agent, env), state, draws)
    sums = jax.tree.map(jnp.sum, sums)
    updates, episodes, greedy = (sums.pop(name) for name in ("updates", "episodes", "greedy"))
    metrics = {
        "episode_return": sums.pop("payoff") / jnp.maximum(episodes, 1),
        "episodes": episodes,
        "exercise_rate": sums.pop("exercised") / jnp.maximum(greedy, 1),
        "epsilon": epsilon(state.updates, agent),
    }
    return state, metrics | {name: loss / jnp.maximum(updates, 1) for name, loss in sums.items()}


def train_day(
    state: TrainState, draws: Draws, agent: AgentSpec, env: OptionEnv
) -> tuple[TrainState, Metrics]:
    """One day: omega environment steps, then one gradient step. Returns sums for the metrics."""
    env_state, steps, greedy = act(state, draws, agent, env)
    terminal = steps.mask == 0
    replay = insert(state.replay, steps, terminal | (draws.keep < agent.h))
    state = state._replace(env=env_state, replay=replay, day=state.day + 1)
    chosen = draws.explore >= _exploration(state.updates, agent)
    state, losses = learn(state, draws, agent)
    sums = {
        "payoff": jnp.sum(steps.reward),
        "episodes": jnp.sum(terminal.astype(jnp.float32)),
        "greedy": jnp.sum(chosen.astype(jnp.float32)),
        "exercised": jnp.sum((chosen & (greedy == EXERCISE)).astype(jnp.float32)),
    }
    return state, sums | losses


# --- Acting ---------------------------------------------------------------------------------------


def act(
    state: TrainState, draws: Draws, agent: AgentSpec, env: OptionEnv
) -> tuple[EnvState, Transition, Int[Array, " omega"]]:
    """One day of environment steps with fixed parameters.

    The greedy action at a step depends on the price and clock there, which depend on the actions
    before. So guess all omega greedy actions, roll the prices out under them, and ask the network
    for the greedy actions at all these states in one batch; repeat until guess and answer agree.
    After n rounds at least the first n actions are those of the step-by-step process, and a guess
    that agrees is that process. Holding is the rule, so two rounds mostly do, not omega.

    Returns:
        The state after the day, its transitions [omega], and the greedy actions there.
    """
    omega = agent.frequency
    explore = draws.explore < _exploration(state.updates, agent)
    noise = state.noise if agent.kind == "dau" else None
    inner = jnp.arange(omega) < omega - 1  # nothing follows from the last action of the day

    def answer(guess: Array) -> tuple[EnvState, Transition, Array]:
        actions = jnp.where(explore, draws.action, guess)
        last, steps = roll_out(state.env, actions, draws, agent.h, env)
        return last, steps, greedy_actions(state.params, steps.obs, agent, noise)

    def surprised(carry: tuple[Array, Array]) -> Bool[Array, ""]:
        guess, greedy = carry
        return jnp.any(inner & ~explore & (guess != greedy))

    def ask_again(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        return carry[1], answer(carry[1])[2]

    hold = jnp.zeros(omega, jnp.int32)
    _, greedy = jax.lax.while_loop(surprised, ask_again, (hold, answer(hold)[2]))
    last, steps = roll_out(state.env, jnp.where(explore, draws.action, greedy), draws, agent.h, env)
    return last, steps, greedy


def roll_out(
    state: EnvState, actions: Int[Array, " omega"], draws: Draws, h: float, env: OptionEnv
) -> tuple[EnvState, Transition]:
    """Environment steps with given actions; an episode that ends is followed by the next one."""

    def step(state: EnvState, inputs: tuple[Array, Array, Array]) -> tuple[EnvState, Any]:
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


def learn(state: TrainState, draws: Draws, agent: AgentSpec) -> tuple[TrainState, Metrics]:
    """One Adam step and, when due, the target network's copy; nothing while the buffer is empty."""
    batch = sample(state.replay, draws.batch)
    grads, parts = jax.grad(batch_loss, has_aux=True)(state.params, state.target, batch, agent)
    with jax.numpy_dtype_promotion("standard"):  # optax raises a float to an integer array
        step, optimiser = _adam(agent).update(grads, state.optimiser)
    params = optax.apply_updates(state.params, step)
    updates = state.updates + 1
    target = _where(updates % agent.target_period == 0, target_params(params, agent), state.target)
    noise = state.noise * (1 - agent.noise_stiffness * agent.h)
    noise = noise + agent.noise_scale * agent.h**0.5 * draws.noise
    learned = state._replace(
        params=params, target=target, optimiser=optimiser, noise=noise, updates=updates
    )
    ready = state.replay.inserted > 0
    state = _where(ready, learned, state._replace(replay=learned.replay))
    counted = ready.astype(jnp.float32)
    return state, {name: counted * part for name, part in parts.items()} | {"updates": counted}


def _where(condition: Bool[Array, ""], new: Any, old: Any) -> Any:
    return jax.tree.map(lambda n, o: n if n is o else jnp.where(condition, n, o), new, old)


def _adam(agent: AgentSpec) -> optax.GradientTransformation:
    return optax.adam(agent.learning_rate)


def _draw(key: Key[Array, ""], agent: AgentSpec) -> Draws:
    names = jax.random.split(key, len(Draws._fields))
    k = Draws(*names)
    shape = (agent.frequency,)
    return Draws(
        price=jax.random.normal(k.price, shape, jnp.float32),
        start=jax.random.uniform(k.start, shape, jnp.float32),
        explore=jax.random.uniform(k.explore, shape, jnp.float32),
        action=jax.random.randint(k.action, shape, 0, ACTIONS, jnp.int32),
        keep=jax.random.uniform(k.keep, shape, jnp.float32),
        batch=jax.random.bits(k.batch, (agent.batch_size,), jnp.uint32),
        noise=jax.random.normal(k.noise, (ACTIONS,), jnp.float32),
    )


# --- Evaluation -----------------------------------------------------------------------------------


@functools.partial(jax.jit, static_argnames=("agent", "episodes"))
def evaluate(
    params: Params, key: Key[Array, ""], agent: AgentSpec, env: OptionEnv, episodes: int
) -> tuple[Float[Array, " episodes"], Float[Array, " episodes"]]:
    """Returns of greedy episodes from price x0 at t = 0: undiscounted, and discounted by gamma**t.

    Up to the exercise that ends it, an episode's price does not depend on the agent. So prices
    are rolled out a few steps ahead and the network is asked about all of them in one batch.
    """
    h, window = agent.h, 16

    def ahead(state: EnvState, noise: Array) -> tuple[EnvState, tuple[Array, Array, Array]]:
        after, payoff, _ = env.step(state, EXERCISE, noise, h)
        return after, (env.observe(state), payoff, env.forced(state, h))

    def advance(carry: tuple) -> tuple:
        block, state, total, discounted, done = carry
        noise = jax.random.normal(jax.random.fold_in(key, block), (episodes, window), jnp.float32)
        state, (obs, payoff, forced) = jax.vmap(lambda s, n: jax.lax.scan(ahead, s, n))(
            state, noise
        )
        actions = greedy_actions(params, obs.reshape(-1, OBSERVATION), agent)
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
