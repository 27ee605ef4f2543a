"""Planar cheetah of dm_control: 17 observations, 6 actions, 100 steps a second.

run is the suite's; walk asks for 2 m/s in place of 10.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from shared.mujoco.models import import_mujoco, load, suite_file
from shared.mujoco.rewards import linear
from shared.mujoco.task import Array, Data, Generator, Model, State, Task

SETTLING_STEPS = 200


def _reset(model: Model, data: Data, rng: Generator) -> None:
    """Limited joints uniform in their ranges, then 2 s of falling.

    The first of those steps ends with forces of the default pose (`mj_step2` before any `mj_step1`
    of the new one), as in the suite.
    """
    mujoco = import_mujoco()

    limited = model.jnt_limited == 1
    low, high = model.jnt_range[limited].T
    data.qpos[limited] = rng.uniform(low, high)
    mujoco.mj_step2(model, data)
    mujoco.mj_step(model, data, SETTLING_STEPS - 1)
    mujoco.mj_step1(model, data)
    data.time = 0


def _observe(state: State) -> Array:
    """Positions but the horizontal one, velocities."""
    return np.concatenate([state.qpos[:, 1:], state.qvel], axis=1)


def speed(state: State) -> Array:
    """Horizontal velocity [N] of the centre of mass in m/s."""
    return state.sensor("torso_subtreelinvel")[:, 0]


def _task(name: str, target: float) -> Task:
    def reward(state: State, action: Array) -> Array:
        return linear(speed(state), target, margin=target, at_margin=0.0)

    return Task(
        name=name,
        suite="dm_control",
        model=partial(load, suite_file("cheetah.xml")),
        horizon=1000,
        reset=_reset,
        observe=_observe,
        reward=reward,
        reads=("sensordata",),
    )


TASKS: Mapping[str, Callable[[], Task]] = {
    "cheetah_run": partial(_task, "cheetah_run", 10.0),
    "cheetah_walk": partial(_task, "cheetah_walk", 2.0),
}
