"""`pointmass.PointMass` as a gymnasium environment, registered as `corroborate/PointMass2D-v0`.

The same numbers, step for step, as the pure functions. An episode ends by truncation after 200
steps, never by termination.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from papers.sfm.pointmass import SPREAD, START, PointMass, PointState
from shared.experiment.errors import BadInput

ENV_ID = "corroborate/PointMass2D-v0"
Floats = NDArray[np.float32]


class PointMassEnv(gymnasium.Env[Floats, Floats]):
    """Observation: x, y (m), their velocities (m/s). Action: push along x, y as shares of 2 N."""

    metadata = {"render_modes": []}  # noqa: RUF012 - gymnasium's own convention

    def __init__(self) -> None:
        self.task = PointMass()
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (4,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
        self._advance = jax.jit(self.task.step)
        self.state: PointState | None = None
        self.steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Floats, dict[str, Any]]:
        """A new episode, at rest near the corner."""
        super().reset(seed=seed)
        offset = self.np_random.uniform(-SPREAD, SPREAD, 2)
        start = jnp.asarray(offset - START, jnp.float32)
        self.state, self.steps = PointState(start, jnp.zeros(2, jnp.float32)), 0
        return np.asarray(self.task.observe(self.state)), {}

    def step(self, action: Floats) -> tuple[Floats, float, bool, bool, dict[str, Any]]:
        """One push; raises gymnasium's ResetNeeded before a reset and after the end."""
        if self.state is None:
            raise gymnasium.error.ResetNeeded("Call reset() before step().")
        if not self.action_space.contains(action):
            raise BadInput(f"action must be two float32 numbers in [-1, 1], not {action!r}.")
        state, reward = self._advance(self.state, action)
        self.steps += 1
        over = self.steps >= self.task.length
        self.state = None if over else state
        return np.asarray(self.task.observe(state)), float(reward), False, over, {}


if ENV_ID not in gymnasium.registry:
    gymnasium.register(id=ENV_ID, entry_point="papers.sfm.gym_env:PointMassEnv")
