"""Quadruped of dm_control: 78 observations, 12 actions, 50 steps a second.

walk and run are the suite's; stand asks to be upright, jump for the height of the centre of mass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from shared.mujoco.models import import_mujoco, load, suite_file
from shared.mujoco.rewards import linear
from shared.mujoco.task import Array, Data, Generator, Model, State, Task

WALLS = ("wall_px", "wall_py", "wall_nx", "wall_ny")
RAISE = 0.01  # m
MOST_RAISES = 10_000
WALK, RUN = 0.5, 5.0  # m/s
JUMP = 1.0  # m


def _model(speed: float) -> Model:
    """The suite's file without walls, ball, target, terrain and rangefinders."""
    scenery = (("rangefinder", ""), ("body", "ball"), ("site", "target"), ("geom", "terrain"))
    floor = 20 * speed
    return load(
        suite_file("quadruped.xml"),
        without=(*(("geom", wall) for wall in WALLS), *scenery),
        sizes=(("floor", (floor, floor, 0.5)),),
    )


def _reset(model: Model, data: Data, rng: Generator) -> None:
    """A random orientation at the lowest height, in steps of 1 cm, that touches nothing."""
    mujoco = import_mujoco()

    from shared.mujoco.batch import forward_without_actuation

    orientation = rng.standard_normal(4)
    orientation /= np.linalg.norm(orientation)
    height = 0.0
    for _ in range(MOST_RAISES):
        mujoco.mj_resetData(model, data)
        forward_without_actuation(model, data)
        data.qpos[:3] = 0.0, 0.0, height
        data.qpos[3:7] = orientation
        forward_without_actuation(model, data)
        if data.ncon == 0:
            return
        height += RAISE
    raise RuntimeError("No height without contacts was found for the quadruped.")


def _columns(model: Model) -> tuple[Array, Array, Array, Array]:
    """Where the hinges stand in qpos and qvel; IMU and force-torque readings in sensordata."""
    mujoco = import_mujoco()

    kind = mujoco.mjtSensor
    hinges = np.flatnonzero(model.jnt_type == int(mujoco.mjtJoint.mjJNT_HINGE))

    def readings(*kinds: Any) -> Array:
        chosen = np.flatnonzero(np.isin(model.sensor_type, [int(kind) for kind in kinds]))
        return np.concatenate(
            [np.arange(model.sensor_adr[i], model.sensor_adr[i] + 3) for i in chosen]
        )

    return (
        model.jnt_qposadr[hinges],
        model.jnt_dofadr[hinges],
        readings(kind.mjSENS_GYRO, kind.mjSENS_ACCELEROMETER),
        readings(kind.mjSENS_FORCE, kind.mjSENS_TORQUE),
    )


def _observe(state: State) -> Array:
    """Hinges, their velocities, actuators; torso velocity; uprightness; IMU; asinh of the toes."""
    qpos, qvel, imu, toes = state.once(_columns)
    readings = state.sensordata
    return np.concatenate(
        [
            state.qpos[:, qpos],
            state.qvel[:, qvel],
            state.act,
            state.sensor("velocimeter"),
            state.of("xmat", "torso")[:, 8:],
            readings[:, imu],
            np.arcsinh(readings[:, toes]),
        ],
        axis=1,
    )


def _upright(state: State) -> Array:
    return linear(state.of("xmat", "torso")[:, 8], 1.0, margin=2.0, at_margin=0.0)


def _stand(state: State, action: Array) -> Array:
    return _upright(state)


def _move(speed: float, state: State, action: Array) -> Array:
    forward = state.sensor("velocimeter")[:, 0]
    return _upright(state) * linear(forward, speed, margin=speed, at_margin=0.5)


def _jump(state: State, action: Array) -> Array:
    height = state.sensor("center_of_mass")[:, 2]
    return _upright(state) * linear(height, JUMP, margin=JUMP, at_margin=0.5)


def _task(name: str, reward: Callable[[State, Array], Array], speed: float = WALK) -> Task:
    return Task(
        name=name,
        suite="dm_control",
        model=partial(_model, speed),
        horizon=1000,
        substeps=4,
        reset=_reset,
        observe=_observe,
        reward=reward,
        reads=("xmat", "sensordata"),
    )


TASKS: Mapping[str, Callable[[], Task]] = {
    "quadruped_walk": partial(_task, "quadruped_walk", partial(_move, WALK)),
    "quadruped_run": partial(_task, "quadruped_run", partial(_move, RUN), RUN),
    "quadruped_stand": partial(_task, "quadruped_stand", _stand),
    "quadruped_jump": partial(_task, "quadruped_jump", _jump),
}
