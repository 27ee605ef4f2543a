"""The small tasks of `envs.py` as gymnasium environments.

    import gymnasium, papers.icrl.gym_env
    env = gymnasium.make("corroborate/BlockedPoint-v0")     # BiasedCartpole-v0, Corridor7-v0

The same numbers as the pure functions. `info["cost"]` is 1 where the step ended beyond the wall:
for metrics, an agent that infers constraints must not look. The horizon truncates.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from papers.icrl import envs
from shared.experiment.errors import BadInput

Observation = NDArray[np.float32]


class ConstrainedEnv(gymnasium.Env[Observation, NDArray[np.float32]]):
    """One stream of a task; actions f32[a] in [-1, 1]. BadInput for an unknown task."""

    metadata = {"render_modes": []}  # noqa: RUF012 - gymnasium's own convention

    def __init__(self, task: str) -> None:
        self.task = envs.task(task)
        inf = np.full(self.task.obs_dim, np.inf, np.float32)
        self.observation_space = gymnasium.spaces.Box(-inf, inf, dtype=np.float32)
        one = np.ones(self.task.act_dim, np.float32)
        self.action_space = gymnasium.spaces.Box(-one, one, dtype=np.float32)
        self._step = jax.jit(self.task.step)
        self._reset = jax.jit(self.task.reset)
        self._state: jax.Array | None = None
        self._time = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """A new episode; `options={"state": ...}` starts it in a given state."""
        super().reset(seed=seed)
        key = jax.random.key(int(self.np_random.integers(2**31)))
        given = (options or {}).get("state")
        self._state = self._reset(key) if given is None else jnp.asarray(given, jnp.float32)
        self._time = 0
        return np.asarray(self._state), {"cost": 0.0}

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """One decision; ResetNeeded before a reset and after the end."""
        if self._state is None:
            raise gymnasium.error.ResetNeeded("Call reset() before step().")
        action = np.asarray(action, np.float32)
        if action.shape != (self.task.act_dim,) or not np.all(np.abs(action) <= 1):
            raise BadInput(
                f"action must hold {self.task.act_dim} numbers in [-1, 1]; got {action}."
            )
        state, reward, terminated = self._step(self._state, jnp.asarray(action))
        self._state, self._time = state, self._time + 1
        observation, cost = np.asarray(state), float(self.task.violated(state))
        truncated = self._time >= self.task.horizon
        result = observation, float(reward), bool(terminated), truncated, {"cost": cost}
        if bool(terminated) or truncated:
            self._state = None
        return result


class CorridorEnv(gymnasium.Env[np.int64, np.int64]):
    """Corridor-7: cells 0 ... 6, actions 0 left and 1 right."""

    metadata = {"render_modes": []}  # noqa: RUF012 - gymnasium's own convention

    def __init__(self) -> None:
        self.observation_space = gymnasium.spaces.Discrete(envs.CELLS)
        self.action_space = gymnasium.spaces.Discrete(2)
        self._cell: int | None = None
        self._time = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.int64, dict[str, Any]]:
        """The middle cell."""
        super().reset(seed=seed)
        self._cell, self._time = envs.CORRIDOR_START, 0
        return np.int64(self._cell), {"cost": 0.0}

    def step(self, action: int | np.integer) -> tuple[np.int64, float, bool, bool, dict[str, Any]]:
        """One decision; ResetNeeded before a reset and after the end."""
        if self._cell is None:
            raise gymnasium.error.ResetNeeded("Call reset() before step().")
        if not self.action_space.contains(action):
            raise BadInput(f"action must be 0 (left) or 1 (right); got {action!r}.")
        cell, reward, broken = envs.corridor_step(jnp.int32(self._cell), jnp.int32(action))
        self._cell, self._time = int(cell), self._time + 1
        truncated = self._time >= envs.CORRIDOR_HORIZON
        result = np.int64(self._cell), float(reward), False, truncated, {"cost": float(broken)}
        if truncated:
            self._cell = None
        return result


IDS = {
    "corroborate/BlockedPoint-v0": ("ConstrainedEnv", {"task": "blocked_point"}),
    "corroborate/BiasedCartpole-v0": ("ConstrainedEnv", {"task": "biased_cartpole"}),
    "corroborate/Corridor7-v0": ("CorridorEnv", {}),
}
for _id, (_name, _kwargs) in IDS.items():
    if _id not in gymnasium.registry:
        gymnasium.register(_id, entry_point=f"papers.icrl.gym_env:{_name}", kwargs=_kwargs)
