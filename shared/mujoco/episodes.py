"""Whole episodes of a policy, one a copy: what an evaluation or a set of demonstrations needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from shared.mujoco.batch import Batch
from shared.mujoco.task import Task

Array = np.ndarray
Policy = Callable[[Array], Any]
"""Observations [N, width] -> actions [N, actions] inside the box."""


@dataclass(frozen=True)
class Episodes:
    """N episodes padded with zeros to the longest, T steps.

    Attributes:
        obs: [N, T + 1, width], the final observation included.
        actions: [N, T, actions]. rewards: [N, T].
        lengths: steps of each episode [N].
        terminated: [N]; an episode that did not terminate was truncated by the horizon.
        physics: MuJoCo's integration state before each step [N, T, state]; width 0 unless it was
            asked for.
        varies: model fields that the starts drew, [N, ...] each.
        extras: the task's further numbers [N, T, ...].
    """

    obs: Array
    actions: Array
    rewards: Array
    lengths: Array
    terminated: Array
    physics: Array
    varies: dict[str, Array] = field(default_factory=dict)
    extras: dict[str, Array] = field(default_factory=dict)

    @property
    def mask(self) -> Array:
        """[N, T] bool: the step is part of its episode."""
        return np.arange(self.rewards.shape[1]) < self.lengths[:, None]

    @property
    def returns(self) -> Array:
        """Sum of rewards [N]."""
        return self.rewards.sum(axis=1)


def run_episodes(
    task: str | Task,
    policy: Policy,
    episodes: int,
    seed: int | Sequence[int] = 0,
    threads: int | None = None,
    keep_physics: bool = False,
) -> Episodes:
    """Run one episode of each of `episodes` copies, from first observation to its end.

    Args:
        task, seed, threads: as for `Batch`; the same seed gives the same starts.
        policy: called once a step with the observations of all copies, ended ones included.
        keep_physics: record the physics, from which `render` can draw.

    Raises:
        BadInput, Diverged: as `Batch`.
    """
    batch = Batch(task, episodes, seed, threads)
    obs, horizon = batch.reset(), batch.task.horizon
    kept: dict[str, Array] = {}
    lengths = np.zeros(episodes, np.int64)
    terminated = np.zeros(episodes, bool)
    running = np.ones(episodes, bool)
    varies = batch.get_state()["varies"]

    def keep(name: str, time: int, values: Array, slots: int = horizon) -> None:
        if name not in kept:
            kept[name] = np.zeros((episodes, slots, *values.shape[1:]), values.dtype)
        kept[name][running, time] = values[running]

    keep("obs", 0, obs, horizon + 1)
    for time in range(horizon):
        physics = batch.get_state()["physics"] if keep_physics else np.zeros((episodes, 0))
        actions = np.array(policy(obs), np.float64)
        step = batch.step(actions)
        keep("physics", time, physics)
        keep("actions", time, actions)
        keep("rewards", time, step.reward)
        for name, values in step.extras.items():
            keep(f"extras/{name}", time, values)
        keep("obs", time + 1, step.next_obs, horizon + 1)
        lengths[running] += 1
        terminated |= running & step.terminated
        running &= ~step.done
        if not running.any():
            break
        obs = step.obs
    longest = int(lengths.max())
    extras = {k.split("/", 1)[1]: x[:, :longest] for k, x in kept.items() if "/" in k}
    return Episodes(
        obs=kept["obs"][:, : longest + 1],
        actions=kept["actions"][:, :longest],
        rewards=kept["rewards"][:, :longest],
        lengths=lengths,
        terminated=terminated,
        physics=kept["physics"][:, :longest],
        varies=varies,
        extras=extras,
    )
