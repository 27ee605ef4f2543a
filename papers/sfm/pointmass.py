"""A point mass in the plane, in pure JAX: the smallest continuous-control task of this room.

A mass of 1 kg is pushed by up to 2 N along each axis against a drag of 0.5 N s/m, between walls at
+-1 m that stop it. It starts at rest near the lower left corner; the reward of a step is 1 within
0.1 m of the target at the origin and falls off with the distance, to 0.1 at 0.6 m. An episode is
200 steps of 0.05 s and ends by time-out, never otherwise.

An exact expert needs no training: a critically damped spring, with the push cut off at its limits.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from papers.sfm.replay import Episode

Policy = Callable[[Array, Key[Array, ""]], Array]
"""(observation, key) -> action."""

DT, FORCE, DRAG = 0.05, 2.0, 0.5  # s, N, N s / m
WALL, START, SPREAD = 1.0, 0.7, 0.05  # m
NEAR, FAR, FAR_REWARD = 0.1, 0.5, 0.1  # m, m beyond that, reward there


class PointState(NamedTuple):
    """Position (m) and velocity (m/s)."""

    position: Float[Array, "2"]
    velocity: Float[Array, "2"]


@dataclass(frozen=True)
class PointMass:
    """The task; `length` is the steps of an episode."""

    length: int = 200
    obs_dim: int = 4
    act_dim: int = 2
    name: str = "point_mass_2d"

    def reset(self, key: Key[Array, ""]) -> PointState:
        """At rest, within 5 cm (each axis) of (-0.7, -0.7)."""
        offset = jax.random.uniform(key, (2,), jnp.float32, -SPREAD, SPREAD)
        return PointState(offset - START, jnp.zeros(2, jnp.float32))

    def observe(self, state: PointState) -> Float[Array, "4"]:
        """x, y, their velocities."""
        return jnp.concatenate(state)

    def step(
        self, state: PointState, action: Float[Array, "2"]
    ) -> tuple[PointState, Float[Array, ""]]:
        """One step of 0.05 s (semi-implicit Euler); the reward is that of the state reached."""
        push = FORCE * jnp.clip(action, -1, 1)
        velocity = state.velocity + DT * (push - DRAG * state.velocity)
        position = state.position + DT * velocity
        stopped = jnp.abs(position) > WALL
        state = PointState(jnp.clip(position, -WALL, WALL), jnp.where(stopped, 0, velocity))
        return state, self.reward(self.observe(state))

    def reward(self, obs: Float[Array, "*B 4"]) -> Float[Array, "*B"]:
        """1 near the target, a Gaussian of the distance beyond."""
        squared = jnp.sum(obs[..., :2] ** 2, axis=-1)
        beyond = jnp.maximum(jnp.sqrt(squared) - NEAR, 0)
        return jnp.exp(math.log(FAR_REWARD) * (beyond / FAR) ** 2)

    def expert(self, obs: Float[Array, "*B 4"]) -> Float[Array, "*B 2"]:
        """Push of a critically damped spring of 8 N/m towards the target."""
        stiffness = 8.0
        damping = 2 * math.sqrt(stiffness) - DRAG
        push = -stiffness * obs[..., :2] - damping * obs[..., 2:]
        return jnp.clip(push / FORCE, -1, 1)


def rollout(env: PointMass, policy: Policy, key: Key[Array, ""]) -> Episode:
    """One whole episode of a policy (obs, key) -> action."""
    k_reset, k_policy = jax.random.split(key)
    start = env.reset(k_reset)

    def step(state: PointState, key: Key[Array, ""]) -> tuple[PointState, tuple[Array, ...]]:
        action = policy(env.observe(state), key)
        state, reward = env.step(state, action)
        return state, (env.observe(state), action, reward)

    _, (obs, action, reward) = jax.lax.scan(step, start, jax.random.split(k_policy, env.length))
    return Episode(jnp.concatenate([env.observe(start)[None], obs]), action, reward)
