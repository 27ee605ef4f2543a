"""Planar walker of dm_control: 24 observations, 6 actions, 40 steps a second.

stand, walk and run are the suite's; flip asks for angular momentum while upright.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from shared.mujoco.models import load, suite_file
from shared.mujoco.rewards import INF, gaussian, linear
from shared.mujoco.task import Array, State, Task, draw_limited_and_hinges

STAND_HEIGHT = 1.2  # m
SPIN = 5.0  # kg m^2/s


def _observe(state: State) -> Array:
    """The x axes of all bodies in the plane (xx, xz), height of the torso, velocities."""
    axes = state.xmat[:, 1:][:, :, [0, 2]].reshape(len(state.qpos), -1)
    return np.concatenate([axes, state.of("xpos", "torso")[:, 2:], state.qvel], axis=1)


def _standing(state: State) -> Array:
    height, upright = state.of("xpos", "torso")[:, 2], state.of("xmat", "torso")[:, 8]
    standing = gaussian(height, STAND_HEIGHT, INF, margin=STAND_HEIGHT / 2)
    return (3 * standing + (1 + upright) / 2) / 4


def _stand(state: State, action: Array) -> Array:
    return _standing(state)


def _move(speed: float, state: State, action: Array) -> Array:
    velocity = state.sensor("torso_subtreelinvel")[:, 0]
    move = linear(velocity, speed, margin=speed / 2, at_margin=0.5)
    return _standing(state) * (5 * move + 1) / 6


def _flip(state: State, action: Array) -> Array:
    momentum = state.of("subtree_angmom", "torso")[:, 1]
    return _standing(state) * (5 * linear(momentum, SPIN, margin=SPIN, at_margin=0.0) + 1) / 6


def _task(name: str, reward: Callable[[State, Array], Array]) -> Task:
    return Task(
        name=name,
        suite="dm_control",
        model=partial(load, suite_file("walker.xml")),
        horizon=1000,
        substeps=10,
        reset=draw_limited_and_hinges,
        observe=_observe,
        reward=reward,
        reads=("xpos", "xmat", "sensordata", "subtree_angmom"),
    )


TASKS: Mapping[str, Callable[[], Task]] = {
    "walker_stand": partial(_task, "walker_stand", _stand),
    "walker_walk": partial(_task, "walker_walk", partial(_move, 1.0)),
    "walker_run": partial(_task, "walker_run", partial(_move, 8.0)),
    "walker_flip": partial(_task, "walker_flip", _flip),
}
