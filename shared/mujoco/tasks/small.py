"""Small bodies of dm_control's suite: pendulum, point mass, reacher, cart-pole."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from shared.mujoco.models import load, suite_file
from shared.mujoco.rewards import gaussian, inside, quadratic
from shared.mujoco.task import Array, Data, Generator, Model, State, Task, draw_limited_and_hinges

# Pendulum ----------------------------------------------------------------------------------------

UPRIGHT = float(np.cos(np.deg2rad(8)))  # cosine of the largest angle that is rewarded


def _pendulum_reset(model: Model, data: Data, rng: Generator) -> None:
    """Any angle."""
    data.qpos[0] = rng.uniform(-np.pi, np.pi)


def _pendulum_observe(state: State) -> Array:
    """Cosine and sine of the angle from upright, velocity."""
    return np.concatenate([state.of("xmat", "pole")[:, [8, 2]], state.qvel], axis=1)


def _pendulum_reward(state: State, action: Array) -> Array:
    return inside(state.of("xmat", "pole")[:, 8], UPRIGHT, 1.0)


# Point mass --------------------------------------------------------------------------------------


def _point_observe(state: State) -> Array:
    return np.concatenate([state.qpos, state.qvel], axis=1)


def _point_reward(state: State, action: Array) -> Array:
    gap = state.of("geom_xpos", "target") - state.of("geom_xpos", "pointmass")
    size = float(state.model.geom("target").size[0])
    near = gaussian(np.linalg.norm(gap, axis=1), 0.0, size, margin=size)
    return near * (quadratic(action, margin=1.0).mean(axis=1) + 4) / 5


# Reacher -----------------------------------------------------------------------------------------


def _reacher_reset(model: Model, data: Data, rng: Generator) -> None:
    """Any pose; the target anywhere in a ring of 5 to 20 cm."""
    draw_limited_and_hinges(model, data, rng)
    angle, radius = rng.uniform(0, 2 * np.pi), rng.uniform(0.05, 0.20)
    target = model.geom("target").id
    model.geom_pos[target, :2] = radius * np.sin(angle), radius * np.cos(angle)


def _to_target(state: State) -> Array:
    return (state.of("geom_xpos", "target") - state.of("geom_xpos", "finger"))[:, :2]


def _reacher_observe(state: State) -> Array:
    return np.concatenate([state.qpos, _to_target(state), state.qvel], axis=1)


def _reacher_reward(state: State, action: Array) -> Array:
    radii = sum(float(state.model.geom(name).size[0]) for name in ("target", "finger"))
    return inside(np.linalg.norm(_to_target(state), axis=1), 0.0, radii)


# Cart-pole ---------------------------------------------------------------------------------------


def _cartpole_reset(swing_up: bool, model: Model, data: Data, rng: Generator) -> None:
    """Hanging down in the middle, or nearly upright; small velocities."""
    if swing_up:
        data.qpos[0] = 0.01 * rng.standard_normal()
        data.qpos[1] = np.pi + 0.01 * rng.standard_normal()
    else:
        data.qpos[0] = rng.uniform(-0.1, 0.1)
        data.qpos[1] = rng.uniform(-0.034, 0.034)
    data.qvel[:] = 0.01 * rng.standard_normal(model.nv)


def _cartpole_observe(state: State) -> Array:
    """Position of the cart, cosine and sine of the pole's angle from upright, velocities."""
    pole = state.of("xmat", "pole_1")[:, [8, 2]]
    return np.concatenate([state.qpos[:, :1], pole, state.qvel], axis=1)


def _cartpole_reward(state: State, action: Array) -> Array:
    upright = (state.of("xmat", "pole_1")[:, 8] + 1) / 2
    centred = (1 + gaussian(state.qpos[:, 0], 0.0, 0.0, margin=2.0)) / 2
    small_control = (4 + quadratic(action, margin=1.0)[:, 0]) / 5
    small_velocity = (1 + gaussian(state.qvel[:, 1], 0.0, 0.0, margin=5.0)) / 2
    return upright * small_control * small_velocity * centred


def _task(name: str, file: str, **functions: object) -> Task:
    return Task(
        name=name,
        suite="dm_control",
        model=partial(load, suite_file(file)),
        horizon=1000,
        **functions,  # pyright: ignore[reportArgumentType]
    )


_cartpole = partial(
    _task, file="cartpole.xml", observe=_cartpole_observe, reward=_cartpole_reward, reads=("xmat",)
)

TASKS: Mapping[str, Callable[[], Task]] = {
    "pendulum_swingup": partial(
        _task, "pendulum_swingup", "pendulum.xml",
        reset=_pendulum_reset, observe=_pendulum_observe, reward=_pendulum_reward, reads=("xmat",),
    ),
    "point_mass_easy": partial(
        _task, "point_mass_easy", "point_mass.xml",
        reset=draw_limited_and_hinges, observe=_point_observe, reward=_point_reward,
        reads=("geom_xpos",),
    ),
    "reacher_easy": partial(
        _task, "reacher_easy", "reacher.xml",
        reset=_reacher_reset, observe=_reacher_observe, reward=_reacher_reward,
        reads=("geom_xpos",), varies=("geom_pos",),
    ),
    "cartpole_swingup": partial(
        _cartpole, "cartpole_swingup", reset=partial(_cartpole_reset, True)
    ),
    "cartpole_balance": partial(
        _cartpole, "cartpole_balance", reset=partial(_cartpole_reset, False)
    ),
}  # fmt: skip
