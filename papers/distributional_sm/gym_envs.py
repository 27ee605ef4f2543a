"""Both tasks as gymnasium environments, for those who bring agents of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np

from papers.distributional_sm.env import (
    MOST_SPEED,
    MOST_TORQUE,
    PENDULUM,
    WINDY,
    WINDY_BOUND,
    Reward,
    Task,
    pendulum_state,
    quadrants,
)

EPISODE_STEPS = 200


class TaskEnv(gym.Env[np.ndarray, Any]):
    """A task of this paper. The reward is that of the state *before* the move, as in the paper.

    Nothing terminates; after 200 steps an episode is truncated. Wind comes from the environment's
    own generator (Deviation: the official one draws from NumPy's global generator).

    Args:
        task, reward: what moves, and what it earns. actions: their space.
        start: generator -> first state, unless `reset(options={"state": ...})` gives it.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - gymnasium's interface

    def __init__(
        self,
        task: Task,
        reward: Reward,
        actions: gym.Space[Any],
        low: np.ndarray,
        start: Callable[[np.random.Generator], np.ndarray],
    ) -> None:
        self.action_space = actions
        self.observation_space = gym.spaces.Box(low, -low, dtype=np.float32)
        self._low = low
        self._start, self._steps = start, 0
        self._state = np.zeros(task.obs_dim, np.float32)
        self._step = jax.jit(lambda seed, s, a: task.step(jax.random.key(seed), s, a))
        self._reward = jax.jit(lambda s: reward(s[None])[0])

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        given = (options or {}).get("state")
        state = self._start(self.np_random) if given is None else given
        self._state, self._steps = np.asarray(state, np.float32), 0
        if self._state not in self.observation_space:
            raise ValueError(f"The state {given} lies outside of {self.observation_space}.")
        return self._state.copy(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        reward = float(self._reward(self._state))
        move = jnp.asarray(action).reshape(())
        seed = int(self.np_random.integers(2**31))
        following = np.asarray(self._step(seed, self._state, move))
        # cos and sin may leave [-1, 1] by a rounding error.
        self._state = np.clip(following, self._low, -self._low)
        self._steps += 1
        return self._state.copy(), reward, False, self._steps >= EPISODE_STEPS, {}


def windy_gridworld(reward: Reward = quadrants) -> TaskEnv:
    """Windy Gridworld from its origin."""
    low = np.full(2, -WINDY_BOUND, np.float32)
    actions = gym.spaces.Discrete(4)
    return TaskEnv(WINDY, reward, actions, low, lambda rng: np.zeros(2, np.float32))


def pendulum(reward: Reward = PENDULUM.rewards["no action penalty"]) -> TaskEnv:
    """Pendulum from gymnasium's starts: any angle, speeds of at most 1."""
    low = np.array([-1, -1, -MOST_SPEED], np.float32)
    actions = gym.spaces.Box(-MOST_TORQUE, MOST_TORQUE, (1,), np.float32)

    def start(rng: np.random.Generator) -> np.ndarray:
        return np.asarray(pendulum_state(rng.uniform(-np.pi, np.pi), rng.uniform(-1, 1)))

    return TaskEnv(PENDULUM, reward, actions, low, start)
