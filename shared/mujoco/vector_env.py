"""The faces that gymnasium knows: N copies as a vector environment, one copy as an environment.

    env = MujocoVectorEnv("cheetah_run", num_envs=8)
    env = MujocoEnv("cheetah_run")

Importing this imports gymnasium. Observations are float64, as the suites give them; actions float32
or float64 inside the box.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from shared.experiment.errors import BadInput
from shared.mujoco.batch import Batch
from shared.mujoco.task import Task

Array = np.ndarray


class MujocoVectorEnv(VectorEnv):
    """`Batch` as a gymnasium vector environment that resets in the step that ends an episode.

    After such a step the observation is the next episode's first one; the final one stands in
    `infos["final_obs"]` [N, width], for the copies marked in `infos["_final_obs"]`, and the task's
    further numbers of all copies under their names, marked in `infos["_<name>"]`.

    Args:
        task, seed, threads: as for `Batch`.
        num_envs: how many copies.
    """

    def __init__(
        self,
        task: str | Task,
        num_envs: int = 1,
        seed: int | Sequence[int] = 0,
        threads: int | None = None,
    ) -> None:
        self.batch = Batch(task, num_envs, seed, threads)
        self.num_envs = num_envs
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": []}
        self.single_observation_space, self.single_action_space = _spaces(self.batch)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(
        self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Begin episodes: of all copies, or of those in options["reset_mask"].

        Without a seed the streams of starts go on. A seed begins those of all copies anew.
        """
        _begin_streams(self, seed)
        mask = None if options is None else options.get("reset_mask")
        if mask is not None and np.shape(mask) != (self.num_envs,):
            raise BadInput(f"reset_mask needs shape ({self.num_envs},); got {np.shape(mask)}.")
        return self.batch.reset(None if mask is None else np.asarray(mask, bool)), {}

    def step(self, actions: Any) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """See `Batch.step`."""
        step = self.batch.step(actions)
        infos: dict[str, Any] = {}
        for name, values in step.extras.items():
            infos |= {name: values, f"_{name}": np.ones(self.num_envs, bool)}
        if step.done.any():
            infos |= {"final_obs": step.next_obs, "_final_obs": step.done}
        return step.obs, step.reward, step.terminated, step.truncated, infos


class MujocoEnv(gymnasium.Env):
    """One copy as a gymnasium environment; the caller resets.

    Unlike gymnasium's own environments it truncates by itself at the task's horizon.
    """

    def __init__(self, task: str | Task, seed: int = 0) -> None:
        self.batch = Batch(task, 1, seed, threads=1)
        self.observation_space, self.action_space = _spaces(self.batch)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Begin an episode; with a seed, the first of that seed's stream."""
        super().reset(seed=seed)
        _begin_streams(self, seed)
        return self.batch.reset()[0], {}

    def step(self, action: Any) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """See `Batch.step`."""
        step = self.batch.step(np.asarray(action)[None])
        extras = {name: values[0] for name, values in step.extras.items()}
        ends = bool(step.terminated[0]), bool(step.truncated[0])
        return step.next_obs[0], float(step.reward[0]), *ends, extras


def _begin_streams(env: MujocoVectorEnv | MujocoEnv, seed: Any) -> None:
    if seed is not None:
        env.batch.seed(seed)


def _spaces(batch: Batch) -> tuple[Box, Box]:
    batch.reset()
    low, high = (x.astype(np.float32) for x in (batch.action_low, batch.action_high))
    return (
        Box(-np.inf, np.inf, (batch.observation_size,), np.float64),
        Box(low, high, dtype=np.float32),
    )
