"""Windy Gridworld and Pendulum as pure functions, with policies and rewards to evaluate.

A task is (reset, step, policy): states are arrays, one at a time; `jax.vmap` makes batches. Both
processes go on for ever; a limit on episodes is the business of whoever collects data.

    WINDY      state (x, y) in [-5, 5]^2; actions 0 left, 1 right, 2 down, 3 up, each a step of 1;
               wind of up to 0.25 blows away from the origin in each coordinate, none on an axis
    PENDULUM   state (cos theta, sin theta, omega), theta = 0 upright; torque in [-2, 2]

Both follow the official code's dynamics (envs.py there, and gymnasium's Pendulum-v1), and the names
of its rewards. The paper's policies were not released: ours are described where they are defined.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

Reward = Callable[[Array], Array]
"""States [n, d] -> rewards [n]."""
Policy = Callable[[Array, Array], Array]
"""(key, state [d]) -> action."""


@dataclass(frozen=True, eq=False)  # hashed by identity: a static argument of programs
class Task:
    """A process with a fixed policy, rewards it was never trained on, and states to ask about.

    Attributes:
        reset: key -> a state to collect data from. step: (key, state, action) -> next state.
        policies: by name; the first is the default. rewards: by name, of states.
        sources: states [k, d] whose return laws are predicted.
    """

    name: str
    obs_dim: int
    reset: Callable[[Key[Array, ""]], Float[Array, " d"]]
    step: Callable[[Key[Array, ""], Float[Array, " d"], Array], Float[Array, " d"]]
    policies: Mapping[str, Policy]
    rewards: Mapping[str, Reward]
    sources: tuple[tuple[float, ...], ...]


# Windy Gridworld ----------------------------------------------------------------------------------

WINDY_BOUND, WIND = 5.0, 0.25
LEFT, RIGHT, DOWN, UP = range(4)
GAMBLE = 0.92
"""How likely the policy `gamble` goes up from the left axis."""


def windy_step(key: Key[Array, ""], state: Float[Array, " 2"], action: Array) -> Float[Array, " 2"]:
    """One step; the wind depends on the state before the move."""
    moves = jnp.array([[-1, 0], [1, 0], [0, -1], [0, 1]], jnp.float32)
    wind = WIND * jax.random.uniform(key, (2,), jnp.float32) * jnp.sign(state)
    return jnp.clip(state + moves[action] + wind, -WINDY_BOUND, WINDY_BOUND)


def windy_reset(key: Key[Array, ""]) -> Float[Array, " 2"]:
    """The origin, somewhere on an axis, or anywhere in the square, a third each: only on an axis do
    policies choose, so only there is the future uncertain."""
    k_which, k_axis, k_place = jax.random.split(key, 3)
    place = jax.random.uniform(k_place, (2,), jnp.float32, minval=-WINDY_BOUND, maxval=WINDY_BOUND)
    on_axis = jnp.where(jax.random.bernoulli(k_axis), place * jnp.array([1, 0], jnp.float32),
                        place * jnp.array([0, 1], jnp.float32))  # fmt: skip
    which = jax.random.randint(k_which, (), 0, 3)
    return jnp.stack([jnp.zeros(2, jnp.float32), on_axis, place])[which]


def windy_top(key: Key[Array, ""], state: Float[Array, " 2"]) -> Array:
    """From the axis x = 0 left or right, equally likely; elsewhere up."""
    sideways = jnp.where(jax.random.bernoulli(key), LEFT, RIGHT)
    return jnp.where(state[0] == 0, sideways, UP)


def windy_gamble(key: Key[Array, ""], state: Float[Array, " 2"]) -> Array:
    """From x = 0 left; from y = 0 up with probability GAMBLE, else down; then on in that direction.

    From the origin, reward `quadrants`: a higher mean than `windy_top` and a far worse tail.
    """
    chosen = jnp.where(jax.random.bernoulli(key, GAMBLE), UP, DOWN)
    onward = jnp.where(state[1] > 0, UP, DOWN)
    vertical = jnp.where(state[1] == 0, chosen, onward)
    return jnp.where(state[0] == 0, LEFT, vertical)


def quadrants(s: Float[Array, "n 2"]) -> Float[Array, " n"]:
    """(+, +) 1, (+, -) -2, (-, +) 2, (-, -) -1; on an axis 0: the official reward."""
    x, y = jnp.sign(s[:, 0]), jnp.sign(s[:, 1])
    value = jnp.where(x > 0, jnp.where(y > 0, 1.0, -2.0), jnp.where(y > 0, 2.0, -1.0))
    return jnp.where(x * y == 0, jnp.zeros_like(x), value.astype(s.dtype))


WINDY = Task(
    name="windy",
    obs_dim=2,
    reset=windy_reset,
    step=windy_step,
    policies={"top": windy_top, "gamble": windy_gamble},
    rewards={
        "quadrants": quadrants,
        "right": lambda s: s[:, 0] / WINDY_BOUND,
        "near the top": lambda s: jnp.where(s[:, 1] > 4, 1.0, 0.0).astype(s.dtype),
        "near the centre": lambda s: jnp.exp(-jnp.sum(s**2, axis=1) / 4),
        "height, left half": lambda s: jnp.where(s[:, 0] < 0, s[:, 1], 0 * s[:, 1]),
    },
    sources=((0.0, 0.0), (0.0, -3.0), (-1.0, 0.0), (-3.0, -3.0), (3.0, 3.0)),
)

# Pendulum -----------------------------------------------------------------------------------------

GRAVITY, MASS, LENGTH, TIME_STEP = 10.0, 1.0, 1.0, 0.05
MOST_TORQUE, MOST_SPEED = 2.0, 8.0
TORQUE_NOISE = 0.3


def pendulum_state(theta: Array | float, omega: Array | float) -> Float[Array, " 3"]:
    """(cos theta, sin theta, omega), as gymnasium observes it."""
    theta, omega = jnp.float32(theta), jnp.float32(omega)
    return jnp.stack([jnp.cos(theta), jnp.sin(theta), omega])


def pendulum_angle(s: Float[Array, "*n 3"]) -> Float[Array, "*n"]:
    """theta in [-pi, pi]; 0 is upright. Of generated states, too, whose radius may not be 1."""
    return jnp.arctan2(s[..., 1], s[..., 0])


def pendulum_step(
    key: Key[Array, ""], state: Float[Array, " 3"], action: Array
) -> Float[Array, " 3"]:
    """gymnasium's Pendulum-v1: angular speed first, then the angle by the new speed."""
    del key
    theta, omega = pendulum_angle(state), state[2]
    torque = jnp.clip(action, -MOST_TORQUE, MOST_TORQUE)
    pull = 1.5 * GRAVITY / LENGTH * jnp.sin(theta) + 3 / (MASS * LENGTH**2) * torque
    omega = jnp.clip(omega + pull * TIME_STEP, -MOST_SPEED, MOST_SPEED)
    return pendulum_state(theta + omega * TIME_STEP, omega)


def pendulum_reset(key: Key[Array, ""]) -> Float[Array, " 3"]:
    """Any angle and speed. Deviation: gymnasium starts at speeds of at most 1, and the states that
    the paper asks about, at speeds of 4, would hardly be seen."""
    k_theta, k_omega = jax.random.split(key)
    theta = jax.random.uniform(k_theta, (), jnp.float32, minval=-math.pi, maxval=math.pi)
    omega = jax.random.uniform(k_omega, (), jnp.float32, minval=-MOST_SPEED, maxval=MOST_SPEED)
    return pendulum_state(theta, omega)


def pendulum_energy(key: Key[Array, ""], state: Float[Array, " 3"]) -> Array:
    """Swing up by energy shaping, balance by a PD rule near the top; noisy torque.

    Deviation: in the paper's place of a SAC agent, whose data and weights were not released.
    """
    theta, omega = pendulum_angle(state), state[2]
    # Energy over that of resting upright, per unit of inertia m l^2 / 3.
    energy = 0.5 * omega**2 + 1.5 * GRAVITY / LENGTH * (jnp.cos(theta) - 1)
    swing = -jnp.sign(omega) * jnp.clip(energy, -MOST_TORQUE, MOST_TORQUE)
    balance = -8.0 * theta - 2.0 * omega
    near = (jnp.cos(theta) > 0.9) & (jnp.abs(omega) < 3)
    noise = TORQUE_NOISE * jax.random.normal(key, (), jnp.float32)
    return jnp.where(near, balance, swing) + noise


PENDULUM = Task(
    name="pendulum",
    obs_dim=3,
    reset=pendulum_reset,
    step=pendulum_step,
    policies={"energy": pendulum_energy},
    rewards={
        "no action penalty": lambda s: -(pendulum_angle(s) ** 2 + 0.1 * s[:, 2] ** 2),
        "above horizon": lambda s: jnp.where(s[:, 0] < 0, -1.0, 0.0).astype(s.dtype),
        "stay left": lambda s: jnp.minimum(s[:, 1], 0),
        "stay right": lambda s: jnp.maximum(s[:, 1], 0),
        "angular velocity penalty": lambda s: -jnp.abs(s[:, 2]),
        "counter-clockwise": lambda s: jnp.where(s[:, 2] > 0, 1.0, 0.0).astype(s.dtype),
    },
    sources=tuple(
        (math.cos(theta), math.sin(theta), omega)
        for theta in (math.pi / 2, math.pi, 1.5 * math.pi)
        for omega in (-4.0, 0.0, 4.0)
    ),
)

TASKS = {task.name: task for task in (WINDY, PENDULUM)}
