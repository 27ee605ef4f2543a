"""Pictures of a task without a display: frames and film strips.

    run = run_episodes("walker_walk", policy, episodes=1, keep_physics=True)
    strip = film_strip("walker_walk", run.physics[0, : run.lengths[0]])   # [height, width, 3]

Draws with EGL (Mesa's software renderer will do) or OSMesa, whichever this machine has.
"""

from __future__ import annotations

import copy as copying
import importlib
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from shared.experiment.errors import BadInput, ExperimentError
from shared.mujoco.models import import_mujoco
from shared.mujoco.task import Task
from shared.mujoco.tasks import get

Array = np.ndarray
_LIBRARIES = ("egl", "osmesa")


class NoRenderer(ExperimentError):
    """This machine cannot draw without a display; the message says what was tried."""


@cache
def renderer() -> str:
    """The library that draws here, "egl" or "osmesa".

    Raises:
        NoRenderer: neither works.
    """
    reasons = []
    for name in _LIBRARIES:
        try:
            _context(name, 16, 16).free()
        except Exception as error:  # a library that is not there fails in its own ways
            reasons.append(f"{name}: {type(error).__name__}: {error}".splitlines()[0])
        else:
            return name
    raise NoRenderer(
        f"Nothing here draws without a display ({'; '.join(reasons)}); "
        "install Mesa's EGL (Debian: libegl1 and libgl1-mesa-dri)."
    )


def frames(
    task: str | Task,
    physics: Array,
    height: int = 240,
    width: int = 320,
    camera: int = 0,
    varies: Mapping[str, Array] | None = None,
) -> Array:
    """Draw states.

    Args:
        task: whose model.
        physics: MuJoCo's integration states [frames, state] (`Episodes.physics`).
        height, width: pixels.
        camera: number of a camera of the model; one that follows the body where there is one.
        varies: model fields of this copy (`Episodes.varies`, one copy's): where a target is.

    Returns:
        uint8 [frames, height, width, 3].

    Raises:
        BadInput: states of another width. NoRenderer: this machine cannot draw.
    """
    mujoco = import_mujoco()

    task = get(task) if isinstance(task, str) else task
    model, sig = copying.copy(task.model()), mujoco.mjtState.mjSTATE_INTEGRATION
    states = np.ascontiguousarray(physics, np.float64)
    wanted = mujoco.mj_stateSize(model, sig)
    if states.ndim != 2 or states.shape[1] != wanted:
        raise BadInput(f"States of {task.name} have shape (frames, {wanted}); got {states.shape}.")
    for name, values in (varies or {}).items():
        getattr(model, name)[:] = values
    window = _context(renderer(), width, height)
    try:
        window.make_current()
        return _draw(model, states, height, width, camera)
    finally:
        window.free()


def film_strip(
    task: str | Task,
    physics: Array,
    count: int = 8,
    height: int = 240,
    width: int = 240,
    camera: int = 0,
    varies: Mapping[str, Array] | None = None,
) -> Array:
    """`count` moments, evenly spaced from first to last, side by side: uint8 [height, *, 3]."""
    if count < 1 or len(physics) < 1:
        raise BadInput(f"A film strip needs states and moments; got {len(physics)} and {count}.")
    moments = np.linspace(0, len(physics) - 1, count).round().astype(int)
    images = frames(task, physics[moments], height, width, camera, varies)
    return np.concatenate(list(images), axis=1)


def _context(name: str, width: int, height: int) -> Any:
    return importlib.import_module(f"mujoco.{name}").GLContext(width, height)


def _draw(model: Any, states: Array, height: int, width: int, camera: int) -> Array:
    mujoco = import_mujoco()

    model.vis.global_.offwidth, model.vis.global_.offheight = width, height
    data, scene = mujoco.MjData(model), mujoco.MjvScene(model, maxgeom=1000)
    view, options = mujoco.MjvCamera(), mujoco.MjvOption()
    if 0 <= camera < model.ncam:
        view.type, view.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, camera
    else:
        mujoco.mjv_defaultFreeCamera(model, view)
    context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
    mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, context)
    area = mujoco.MjrRect(0, 0, width, height)
    images = np.zeros((len(states), height, width, 3), np.uint8)
    for image, state in zip(images, states, strict=True):
        mujoco.mj_setState(model, data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
        mujoco.mj_forward(model, data)
        mujoco.mjv_updateScene(model, data, options, None, view, mujoco.mjtCatBit.mjCAT_ALL, scene)
        mujoco.mjr_render(area, scene, context)
        mujoco.mjr_readPixels(image, None, area, context)
    context.free()
    return images[:, ::-1].copy()  # OpenGL's rows go upwards
