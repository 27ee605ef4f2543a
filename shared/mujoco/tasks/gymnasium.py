"""gymnasium's MuJoCo bodies with their version 5 rewards, starts and ends.

The pieces are public, so that a paper can put other rewards on the same bodies: `body`, the starts,
`x_velocity`, `effort`, `contact_forces`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from shared.mujoco.models import gymnasium_file, load
from shared.mujoco.task import Array, Data, Generator, Model, State, Task

# Pieces ------------------------------------------------------------------------------------------


def body(file: str) -> Callable[[], Model]:
    """Compiles a model of gymnasium's: "ant.xml", "walker2d_v5.xml", ..."""
    return partial(load, gymnasium_file(file))


def uniform_start(noise: float, model: Model, data: Data, rng: Generator) -> None:
    """The default pose plus U(-noise, noise) on positions and velocities."""
    data.qpos[:] += rng.uniform(-noise, noise, model.nq)
    data.qvel[:] += rng.uniform(-noise, noise, model.nv)


def normal_start(noise: float, model: Model, data: Data, rng: Generator) -> None:
    """The default pose plus U(-noise, noise) on positions and N(0, noise^2) on velocities."""
    data.qpos[:] += rng.uniform(-noise, noise, model.nq)
    data.qvel[:] += noise * rng.standard_normal(model.nv)


def x_velocity(state: State) -> Array:
    """Mean velocity [N] of the first coordinate over the step; needs "qpos" in `keeps`."""
    return (state.qpos[:, 0] - state.previous["qpos"][:, 0]) / state.dt


def effort(action: Array) -> Array:
    """Sum of squares of the action [N]."""
    return np.square(action).sum(axis=1)


def contact_forces(state: State) -> Array:
    """External forces on all bodies [N, bodies * 6], the world first, clipped to [-1, 1].

    Needs "cfrc_ext" in `reads` and `contact_forces=True`.
    """
    return np.clip(state.cfrc_ext, -1.0, 1.0).reshape(len(state.cfrc_ext), -1)


def pole_fell(state: State) -> Array:
    """The inverted pendulum is more than 0.2 rad from upright, or its state is not finite."""
    finite = np.isfinite(state.qpos).all(axis=1) & np.isfinite(state.qvel).all(axis=1)
    return ~finite | (np.abs(state.qpos[:, 1]) > 0.2)


def walker_fell(state: State) -> Array:
    """The walker's height is not in (0.8, 2) m or its torso leans 1 rad or more."""
    height, angle = state.qpos[:, 1], state.qpos[:, 2]
    return ~((height > 0.8) & (height < 2.0) & (angle > -1.0) & (angle < 1.0))


def positions_and_velocities(skip: int, state: State) -> Array:
    """qpos without its first `skip` entries, qvel."""
    return np.concatenate([state.qpos[:, skip:], state.qvel], axis=1)


def clipped_velocities(skip: int, state: State) -> Array:
    """The same with velocities clipped to [-10, 10], as the walker's observation."""
    return np.concatenate([state.qpos[:, skip:], np.clip(state.qvel, -10, 10)], axis=1)


# Version 5 ---------------------------------------------------------------------------------------


def _pendulum_reward(state: State, action: Array) -> Array:
    return np.where(pole_fell(state), 0.0, 1.0)


def _run_reward(cost: float, state: State, action: Array) -> Array:
    return x_velocity(state) - cost * effort(action)


def _walker_reward(state: State, action: Array) -> Array:
    return x_velocity(state) + np.where(walker_fell(state), 0.0, 1.0) - 1e-3 * effort(action)


def _ant_fell(state: State) -> Array:
    finite = np.isfinite(state.qpos).all(axis=1) & np.isfinite(state.qvel).all(axis=1)
    return ~(finite & (state.qpos[:, 2] >= 0.2) & (state.qpos[:, 2] <= 1.0))


def _ant_reward(state: State, action: Array) -> Array:
    """Gymnasium reads the torso's xpos, one integration stage behind qpos."""
    torso = state.model.body("torso").id
    moved = state.xpos[:, torso, 0] - state.previous["xpos"][:, torso, 0]
    contact = np.square(contact_forces(state)).sum(axis=1)
    cost = 0.5 * effort(action) + 5e-4 * contact
    return moved / state.dt + np.where(_ant_fell(state), 0.0, 1.0) - cost


def _ant_observe(state: State) -> Array:
    return np.concatenate(
        [positions_and_velocities(2, state), contact_forces(state)[:, 6:]], axis=1
    )


def _inverted_pendulum() -> Task:
    return Task(
        name="InvertedPendulum-v5", suite="gymnasium", model=body("inverted_pendulum.xml"),
        horizon=1000, substeps=2, reset=partial(uniform_start, 0.01),
        observe=partial(positions_and_velocities, 0), reward=_pendulum_reward,
        terminated=pole_fell,
    )  # fmt: skip


def _half_cheetah() -> Task:
    return Task(
        name="HalfCheetah-v5", suite="gymnasium", model=body("half_cheetah.xml"),
        horizon=1000, substeps=5, reset=partial(normal_start, 0.1),
        observe=partial(positions_and_velocities, 1), reward=partial(_run_reward, 0.1),
        keeps=("qpos",),
    )  # fmt: skip


def _ant() -> Task:
    return Task(
        name="Ant-v5", suite="gymnasium", model=body("ant.xml"),
        horizon=1000, substeps=5, reset=partial(normal_start, 0.1),
        observe=_ant_observe, reward=_ant_reward, terminated=_ant_fell,
        reads=("xpos", "cfrc_ext"), keeps=("xpos",), contact_forces=True,
    )  # fmt: skip


def _walker2d() -> Task:
    return Task(
        name="Walker2d-v5", suite="gymnasium", model=body("walker2d_v5.xml"),
        horizon=1000, substeps=4, reset=partial(uniform_start, 5e-3),
        observe=partial(clipped_velocities, 1), reward=_walker_reward, terminated=walker_fell,
        keeps=("qpos",),
    )  # fmt: skip


def _swimmer() -> Task:
    return Task(
        name="Swimmer-v5", suite="gymnasium", model=body("swimmer.xml"),
        horizon=1000, substeps=4, reset=partial(uniform_start, 0.1),
        observe=partial(positions_and_velocities, 2), reward=partial(_run_reward, 1e-4),
        keeps=("qpos",),
    )  # fmt: skip


TASKS: Mapping[str, Callable[[], Task]] = {
    "InvertedPendulum-v5": _inverted_pendulum,
    "HalfCheetah-v5": _half_cheetah,
    "Ant-v5": _ant,
    "Walker2d-v5": _walker2d,
    "Swimmer-v5": _swimmer,
}
