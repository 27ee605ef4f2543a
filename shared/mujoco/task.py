"""What a task is: a model, how it is reset, and a few functions on arrays [copies, ...].

def upright(state):                      # [N]
    return state.of("xmat", "pole")[:, 8]

task = Task(
    name="pendulum_upright", suite="dm_control",
    model=lambda: load(suite_file("pendulum.xml")), horizon=1000,
    reset=draw_limited_and_hinges,
    observe=lambda state: np.concatenate([state.qpos, state.qvel], axis=1),
    reward=lambda state, action: upright(state),
    reads=("xmat",),
)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from shared.mujoco.models import import_mujoco

Array = np.ndarray
Model = Any  # mujoco.MjModel
Data = Any  # mujoco.MjData
Generator = Any
"""numpy.random.Generator; numpy.random.RandomState, which dm_control draws from, will do as well.

Resets call only what both have: `uniform`, `standard_normal`, `random`.
"""

_OBJECTS = {"geom": "geom", "site": "site", "cam": "camera", "light": "light"}
_JOINT = {"qpos": ("jnt_qposadr", "nq"), "qvel": ("jnt_dofadr", "nv")}


class State:
    """All copies after a step (or a reset), as arrays whose first axis is the copy.

    A field of MjData is an attribute: `state.qpos` [N, nq], `state.time` [N], `state.xpos`
    [N, bodies, 3], `state.xmat` [N, bodies, 9]; derived fields (all but time, qpos, qvel, act,
    ctrl) only where the task's `reads` names them. The arrays are live views: read, never write
    or keep. `previous` holds copies of the fields named in `Task.keeps` from before the step.
    """

    def __init__(self, batch: Any, task: Task) -> None:
        self._batch, self._task = batch, task
        self.model: Model = batch.model
        self.dt: float = task.substeps * float(batch.model.opt.timestep)
        self.previous: dict[str, Array] = {}
        self._views: dict[tuple[str, str], Array] = {}
        self._found: dict[Callable[[Model], Any], Any] = {}
        for name in (*_STATE_FIELDS, *task.reads):  # bound before the first call fills them
            if name == "cfrc_ext" and task.contact_forces:
                shape = (batch.nsim, batch.model.nbody, 6)
                self.cfrc_ext = np.zeros(shape)
            else:
                setattr(self, name, batch.bind(name))

    def __getattr__(self, name: str) -> Array:  # only for what __init__ did not set
        raise AttributeError(
            f"Task {self._task.name!r} does not read {name!r}: add it to its `reads`."
        )

    def of(self, name: str, element: str) -> Array:
        """A field's part that belongs to one named body, joint, geom, site or actuator.

        `of("xpos", "torso")` [N, 3], `of("geom_xpos", "target")` [N, 3],
        `of("qpos", "slider")` [N, values of the joint].
        """
        key = (name, element)
        if key not in self._views:
            self._views[key] = self._find(name, element)
        return self._views[key]

    def sensor(self, name: str) -> Array:
        """Readings [N, values] of a sensor; needs "sensordata" in `reads`."""
        key = ("sensordata", name)
        if key not in self._views:
            sensor = self.model.sensor(name)
            start, size = int(sensor.adr[0]), int(sensor.dim[0])
            self._views[key] = self.sensordata[:, start : start + size]
        return self._views[key]

    def once(self, find: Callable[[Model], Any]) -> Any:
        """find(model), computed at the first call: ids and columns that a function needs."""
        if find not in self._found:
            self._found[find] = find(self.model)
        return self._found[find]

    def model_field(self, name: str) -> Array:
        """A model field with one value a copy [N, ...]; the task's `varies` names it."""
        return self._batch.expand(name)

    def _find(self, name: str, element: str) -> Array:
        array = getattr(self, name)
        if name in _JOINT:
            starts, total = _JOINT[name]
            joint = self.model.joint(element).id
            bounds = [*getattr(self.model, starts), getattr(self.model, total)]
            return array[:, int(bounds[joint]) : int(bounds[joint + 1])]
        if name == "ctrl":
            return array[:, self.model.actuator(element).id]
        kind = _OBJECTS.get(name.split("_")[0], "body")
        return array[:, getattr(self.model, kind)(element).id]


_STATE_FIELDS = ("time", "qpos", "qvel", "act", "ctrl")


def _never(state: State) -> Array:
    return np.zeros(len(state.qpos), bool)


def _nothing(state: State, action: Array) -> dict[str, Array]:
    return {}


@dataclass(frozen=True)
class Task:
    """A task for any number of copies.

    Attributes:
        name: unique, what the user types.
        suite: whose conventions hold. "dm_control": after a step positions, velocities and what
            follows from them describe the new state, and a reset ends with a forward pass without
            actuation. "gymnasium": derived fields are left as mj_step leaves them, that is, of the
            last sub-step.
        model: compiles the model, or returns one that nobody changes (`models.load`).
        horizon: steps after which an episode is truncated.
        substeps: physics steps for one action.
        reset: draws a start into (model, data), which stand at the model's defaults, from a
            generator; may change the model fields that `varies` names.
        observe: State -> [N, width].
        reward: (State, action [N, actions]) -> [N], after the step.
        terminated: State -> [N] bool; by default never.
        extras: (State, action) -> further numbers by name, each [N, ...]: a cost, say.
        reads: derived fields of MjData that the functions read.
        keeps: fields whose values before the step are in `State.previous`.
        varies: model fields with one value a copy.
        contact_forces: fill `cfrc_ext` after each step, as gymnasium does (mj_rnePostConstraint).
        metadata: anything that a paper wants to keep with its task.
    """

    name: str
    suite: Literal["dm_control", "gymnasium"]
    model: Callable[[], Model]
    horizon: int
    reset: Callable[[Model, Data, Generator], None]
    observe: Callable[[State], Array]
    reward: Callable[[State, Array], Array]
    substeps: int = 1
    terminated: Callable[[State], Array] = _never
    extras: Callable[[State, Array], dict[str, Array]] = _nothing
    reads: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()
    varies: tuple[str, ...] = ()
    contact_forces: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in (("horizon", self.horizon), ("substeps", self.substeps)):
            if value < 1:
                raise ValueError(f"{name} of task {self.name!r} must be at least 1; got {value}.")


def draw_limited_and_hinges(model: Model, data: Data, rng: Generator) -> None:
    """Every limited joint uniform in its range, every other hinge uniform in [-pi, pi).

    Other slides stay where they are. The draws of dm_control's
    `randomize_limited_and_rotational_joints`, for models of hinges and slides.

    Raises:
        ValueError: the model has a ball or a free joint.
    """
    mujoco = import_mujoco()

    hinge, slide = int(mujoco.mjtJoint.mjJNT_HINGE), int(mujoco.mjtJoint.mjJNT_SLIDE)
    for joint in range(model.njnt):
        kind, address = int(model.jnt_type[joint]), int(model.jnt_qposadr[joint])
        if kind not in (hinge, slide):
            raise ValueError(f"Joint {model.joint(joint).name!r} is neither a hinge nor a slide.")
        if model.jnt_limited[joint]:
            data.qpos[address] = rng.uniform(*model.jnt_range[joint])
        elif kind == hinge:
            data.qpos[address] = rng.uniform(-np.pi, np.pi)
