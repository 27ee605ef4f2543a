"""Environments as pure functions, one protocol for all that run inside a compiled scan.

    reset(key)               -> (state, obs)
    step(state, action, key) -> (state, obs, reward, terminated, truncated, final_obs)

`step` resets by itself, in the same step: where `terminated | truncated`, `obs` is the first of the
next episode and `final_obs` the last of the one that ended; elsewhere both are the same. What
stopped it is kept apart: `terminated` by the game, `truncated` by a limit of steps. One environment
here; many by `vmap`, each with keys of its own (`stream`), so that adding environments
changes nothing for those that were there.

    ring, grid        exact chains: their values are known (`theory`)
    cartpole          gymnasium's CartPole-v1, transition by transition; 500 steps are a truncation
    minatar           Young and Tian's (2019) games as the library pgx implements them (GPLv3 rules,
                      own code there); extra `minatar`

Games that do not run inside a scan (Atari, Procgen, MuJoCo) have host loops of their own.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from shared.experiment.errors import BadInput, MissingExtra

State = Any
Obs = Array


class Transition(NamedTuple):
    """What `step` returns."""

    state: State
    obs: Obs
    reward: Float[Array, ""]
    terminated: Bool[Array, ""]
    truncated: Bool[Array, ""]
    final_obs: Obs


class Env(NamedTuple):
    """An environment: two pure functions and what a network must know of it.

    Attributes:
        obs_shape: of one observation; features [d], or images [height, width, channels].
        max_steps: decisions after which an episode is truncated.
    """

    name: str
    obs_shape: tuple[int, ...]
    n_actions: int
    max_steps: int
    reset: Callable[[Key[Array, ""]], tuple[State, Obs]]
    step: Callable[[State, Int[Array, ""], Key[Array, ""]], Transition]


MINATAR_GAMES = ("asterix", "breakout", "freeway", "seaquest", "space_invaders")
MINATAR_LIMIT = 1000
FREEWAY_STEPS = 2500


def make(name: str) -> Env:
    """An environment by name: cartpole, ring, grid, or a MinAtar game.

    Raises:
        BadInput: no such environment (near matches are named).
    """
    plain = name.lower().replace("-", "_").removeprefix("minatar_")
    if plain in MINATAR_GAMES:
        return minatar(plain)
    made = {"cartpole": cartpole, "ring": ring, "grid": grid}.get(plain)
    if made is None:
        names = ("cartpole", "ring", "grid", *MINATAR_GAMES)
        near = difflib.get_close_matches(plain, names, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise BadInput(f"No environment {name!r}; there are {', '.join(names)}.{hint}")
    return made()


# Streams of randomness ----------------------------------------------------------------------------


def stream(key: Key[Array, ""], n_envs: int) -> Key[Array, " N"]:
    """A key for each environment, by its index: those of the first do not depend on `n_envs`."""
    return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(n_envs, dtype=jnp.uint32))


class _Timed(NamedTuple):
    """A state with the decisions its episode has taken."""

    inner: State
    steps: Int[Array, ""]


def with_auto_reset(
    reset: Callable[[Key[Array, ""]], tuple[State, Obs]],
    advance: Callable[[State, Array, Array], tuple[State, Obs, Array, Array]],
    max_steps: int,
) -> tuple[Callable[..., tuple[State, Obs]], Callable[..., Transition]]:
    """Give a bare game its clock and its resets.

    Args:
        reset: key -> (state, obs).
        advance: (state, action, key) -> (state, obs, reward, terminated), never resets.
        max_steps: decisions after which an episode that has not ended is truncated.
    """

    def start(key: Key[Array, ""]) -> tuple[State, Obs]:
        inner, obs = reset(key)
        return _Timed(inner, jnp.zeros((), jnp.int32)), obs

    def step(state: State, action: Int[Array, ""], key: Key[Array, ""]) -> Transition:
        step_key, reset_key = jax.random.split(key)
        inner, final_obs, reward, terminated = advance(state.inner, action, step_key)
        steps = state.steps + 1
        truncated = (steps >= max_steps) & ~terminated
        ended = terminated | truncated
        fresh, first_obs = reset(reset_key)
        inner = jax.tree.map(lambda new, old: jnp.where(ended, new, old), fresh, inner)
        obs = jnp.where(ended, first_obs, final_obs)
        clock = jnp.where(ended, 0, steps).astype(jnp.int32)
        return Transition(_Timed(inner, clock), obs, reward, terminated, truncated, final_obs)

    return start, step


# Exact chains -------------------------------------------------------------------------------------


def ring(size: int = 5, max_steps: int = 2**30) -> Env:
    """A walk around a ring that never ends: action 1 goes on, 0 stays; leaving state 0 pays 1."""

    def observe(place: Array) -> Array:
        return jax.nn.one_hot(place, size, dtype=jnp.float32)

    def reset(key: Key[Array, ""]) -> tuple[State, Obs]:
        place = jax.random.randint(key, (), 0, size)
        return place, observe(place)

    def advance(place: Array, action: Array, key: Array) -> tuple[State, Obs, Array, Array]:
        moved = action == 1
        reward = (moved & (place == 0)).astype(jnp.float32)
        place = jnp.where(moved, (place + 1) % size, place)
        return place, observe(place), reward, jnp.zeros((), bool)

    return Env("ring", (size,), 2, max_steps, *with_auto_reset(reset, advance, max_steps))


def grid(side: int = 5, max_steps: int = 2**30) -> Env:
    """A square grid, start anywhere, four moves (walls hold); the last corner pays 1 and ends."""
    moves = jnp.array([[-1, 0], [1, 0], [0, -1], [0, 1]], jnp.int32)

    def observe(place: Array) -> Array:
        return jax.nn.one_hot(place[0] * side + place[1], side * side, dtype=jnp.float32)

    def reset(key: Key[Array, ""]) -> tuple[State, Obs]:
        cell = jax.random.randint(key, (), 0, side * side - 1)  # anywhere but in the goal
        place = jnp.stack([cell // side, cell % side])
        return place, observe(place)

    def advance(place: Array, action: Array, key: Array) -> tuple[State, Obs, Array, Array]:
        place = jnp.clip(place + moves[action], 0, side - 1)
        terminated = jnp.all(place == side - 1)
        return place, observe(place), terminated.astype(jnp.float32), terminated

    return Env("grid", (side * side,), 4, max_steps, *with_auto_reset(reset, advance, max_steps))


# CartPole -----------------------------------------------------------------------------------------


def cartpole_physics(
    state: Float[Array, " 4"], action: Int[Array, ""]
) -> tuple[Float[Array, " 4"], Bool[Array, ""]]:
    """CartPole-v1's Euler step of 0.02 s (Barto, Sutton and Anderson 1983); (state, has fallen)."""
    gravity, pole_mass, total_mass, half_length, force, tau = 9.8, 0.1, 1.1, 0.5, 10.0, 0.02
    x, x_dot, theta, theta_dot = state
    push = jnp.where(action == 1, force, -force).astype(state.dtype)
    sin, cos = jnp.sin(theta), jnp.cos(theta)
    temp = (push + pole_mass * half_length * theta_dot**2 * sin) / total_mass
    theta_acc = (gravity * sin - cos * temp) / (
        half_length * (4.0 / 3.0 - pole_mass * cos**2 / total_mass)
    )
    x_acc = temp - pole_mass * half_length * theta_acc * cos / total_mass
    moved = [x + tau * x_dot, x_dot + tau * x_acc, theta + tau * theta_dot,
             theta_dot + tau * theta_acc]  # fmt: skip
    fallen = (jnp.abs(moved[0]) > 2.4) | (jnp.abs(moved[2]) > 12 * 2 * jnp.pi / 360)
    return jnp.stack(moved), fallen


def cartpole() -> Env:
    """CartPole-v1: a reward of 1 a step, the fall terminates, 500 steps truncate."""

    def reset(key: Key[Array, ""]) -> tuple[State, Obs]:
        state = jax.random.uniform(key, (4,), jnp.float32, -0.05, 0.05)
        return state, state

    def advance(state: Array, action: Array, key: Array) -> tuple[State, Obs, Array, Array]:
        state, fallen = cartpole_physics(state, action)
        return state, state, jnp.ones((), jnp.float32), fallen

    return Env("cartpole", (4,), 2, 500, *with_auto_reset(reset, advance, 500))


# MinAtar ------------------------------------------------------------------------------------------


def minatar(game: str, max_steps: int | None = None) -> Env:
    """A MinAtar game by pgx: sticky actions of 0.1, no difficulty ramping, minimal actions.

    Deviation: MinAtar has no limit of steps; an episode is truncated here after 1,000 decisions,
    as gymnax does it (Freeway, which ends by its own clock after 2,500, after as many).

    Raises:
        BadInput: no such game. MissingExtra: the extra `minatar` is not installed.
    """
    if game not in MINATAR_GAMES:
        near = difflib.get_close_matches(game, MINATAR_GAMES, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise BadInput(f"No MinAtar game {game!r}; there are {', '.join(MINATAR_GAMES)}.{hint}")
    limit = max_steps or (FREEWAY_STEPS + 2 if game == "freeway" else MINATAR_LIMIT)
    bare = _pgx(f"minatar-{game}")

    def reset(key: Key[Array, ""]) -> tuple[State, Obs]:
        with jax.numpy_dtype_promotion("standard"):
            state = bare.init(key)
        return state, state.observation

    def advance(state: Any, action: Array, key: Array) -> tuple[State, Obs, Array, Array]:
        with jax.numpy_dtype_promotion("standard"):
            state = bare.step(state, action, key)
        return state, state.observation, state.rewards[0], state.terminated

    shape = tuple(bare.observation_shape)
    return Env(game, shape, bare.num_actions, limit, *with_auto_reset(reset, advance, limit))


def _pgx(name: Any) -> Any:
    import warnings

    try:
        with warnings.catch_warnings(), jax.numpy_dtype_promotion("standard"):
            warnings.simplefilter("ignore")
            import pgx

            return pgx.make(name)
    except ImportError:
        raise MissingExtra(
            "MinAtar needs the libraries pgx and pgx-minatar: uv sync --extra minatar."
        ) from None
