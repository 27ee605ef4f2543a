"""Copies of a task stepped together on threads.

    batch = Batch("walker_walk", copies=32, seed=0)
    obs = batch.reset()                                    # [32, 24]
    for _ in range(1000):
        step = batch.step(policy(obs))
        replay.add(obs, step.reward, step.next_obs, step.terminated)
        obs = step.obs

Physics is `mujoco.batch.Batch`: one mjData per copy, the loop over copies in C++ on a pool of
threads without Python's lock. What a copy does depends neither on how many others there are nor on
the number of threads. An episode's start is drawn from a generator of its own, made from (seed,
copy, episode); dm_control's and gymnasium's starts have the same distribution and other numbers.
"""

from __future__ import annotations

import copy as copying
import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from shared.experiment.errors import BadInput, Diverged
from shared.mujoco.models import import_mujoco
from shared.mujoco.task import State, Task
from shared.mujoco.tasks import get

Array = np.ndarray
_UNSTABLE = ("mjWARN_BADQPOS", "mjWARN_BADQVEL", "mjWARN_BADQACC", "mjWARN_BADCTRL")


@dataclass(frozen=True)
class Step:
    """What a step gave, first axis the copy. The arrays are the caller's to keep.

    Attributes:
        obs: what to act on next: where an episode ended, the first observation of the next one.
        next_obs: where the action led, final observations included.
        reward: of the task.
        terminated: the task ended; nothing follows, so nothing is bootstrapped.
        truncated: the horizon was reached; what follows is not seen but has a value. Both may hold.
        extras: the task's further numbers.
    """

    obs: Array
    next_obs: Array
    reward: Array
    terminated: Array
    truncated: Array
    extras: dict[str, Array] = field(default_factory=dict)

    @property
    def done(self) -> Array:
        """[N] bool: the episode ended, either way."""
        return self.terminated | self.truncated


class Batch:
    """`copies` copies of a task.

    Args:
        task: its name or a `Task`.
        copies: how many, at least 1.
        seed: one number for all copies, of which each has a stream of its own (the first copies
            have the same streams in a larger batch), or one seed a copy.
        threads: at most so many; None for as many as there are cores for this process.

    Attributes:
        task, copies, threads: as above.
        state: all copies as arrays, live (`task.State`).
        observation_size, action_size: widths.
        action_low, action_high: the box of actions [actions].
        steps: steps of the running episodes [N]. episodes: how many were begun [N].

    Raises:
        BadInput: unknown task (near names are given), copies or threads below 1, bad seeds.
    """

    def __init__(
        self,
        task: str | Task,
        copies: int,
        seed: int | Sequence[int] = 0,
        threads: int | None = None,
    ) -> None:
        mujoco = import_mujoco()
        from mujoco.batch import Batch as Simulations

        self.task = get(task) if isinstance(task, str) else task
        self.copies = _at_least_one("copies", copies)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        wanted = cores or 1 if threads is None else _at_least_one("threads", threads)
        self.threads = min(wanted, self.copies)
        model = self.task.model()
        self._physics = Simulations(model, self.copies, self.threads, persistent=True)
        self._mujoco = mujoco
        self._own = threading.local()
        self.seed(seed)
        self.steps = np.zeros(self.copies, np.int64)
        self.state = State(self._physics, self.task)
        for name in self.task.varies:
            self._physics.expand(name)
        self._unstable = [int(getattr(mujoco.mjtWarning, name)) for name in _UNSTABLE]
        self._warned = self._warnings()
        limited = np.asarray(model.actuator_ctrllimited, bool)
        self.action_low, self.action_high = (
            np.where(limited, bound, side)
            for bound, side in zip(model.actuator_ctrlrange.T, (-np.inf, np.inf), strict=True)
        )
        self.action_size = int(model.nu)
        self._obs = np.zeros((self.copies, 0))
        self._kept: dict[str, Array] = {}

    @cached_property
    def observation_size(self) -> int:
        """Width of an observation."""
        return int(np.shape(self.task.observe(self.state))[1])

    def seed(self, seed: int | Sequence[int]) -> None:
        """Begin the streams of starts anew; takes effect at each copy's next reset."""
        seeds = np.asarray(seed)
        if seeds.dtype.kind not in "iu" or (seeds < 0).any():
            raise BadInput(f"seed must be one integer >= 0, or one a copy; got {seed!r}.")
        if seeds.ndim and seeds.shape != (self.copies,):
            raise BadInput(f"{self.copies} copies need {self.copies} seeds; got {seeds.shape}.")
        place = np.zeros(self.copies, np.int64) if seeds.ndim else np.arange(self.copies)
        self.seeds = np.stack([np.broadcast_to(seeds.astype(np.int64), place.shape), place], axis=1)
        self.episodes = np.zeros(self.copies, np.int64)

    def reset(self, mask: Array | None = None) -> Array:
        """Begin the next episode of all copies, or of those in `mask` [N] bool.

        Returns:
            Observations [N, width] of all copies.
        """
        if mask is None:
            mask = np.ones(self.copies, bool)
        self._begin(np.flatnonzero(mask))
        self._obs = self._observe()
        self._keep()
        return self._obs.copy()

    def step(self, actions: Any) -> Step:
        """One step of every copy; copies whose episode ends begin the next one.

        Args:
            actions: [N, actions], finite and inside the box. Actions outside are refused, not
                clipped: the suites clip the force and charge for the raw action, which hides a
                mistake in the scale.

        Raises:
            BadInput: actions of another shape, not finite or outside the box.
            Diverged: MuJoCo says that a copy's physics is unstable.
        """
        action = self._checked(actions)
        state, task = self.state, self.task
        state.previous = self._kept
        state.ctrl[:] = action
        self._physics.step(nstep=task.substeps, stage=self._stage)
        if task.contact_forces:
            self._fill_contact_forces()
        self.steps += 1
        self._check_stable()
        reward = np.array(task.reward(state, action), np.float64)
        terminated = np.array(task.terminated(state), bool)
        extras = {name: np.array(x) for name, x in task.extras(state, action).items()}
        next_obs = obs = self._observe()
        truncated = self.steps >= task.horizon
        done = terminated | truncated
        if done.any():
            self._begin(np.flatnonzero(done))
            obs = next_obs.copy()
            obs[done] = self._observe()[done]
        self._obs = obs
        self._keep()
        return Step(obs.copy(), next_obs, reward, terminated, truncated, extras)

    def from_unit(self, actions: Any) -> Array:
        """Actions in [-1, 1]^n, as learners have them, to the task's box; see `unit_to_box`."""
        return unit_to_box(actions, self.action_low, self.action_high)

    def get_state(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on, as a dict of arrays.

        `physics` holds MuJoCo's integration state of each copy (mjSTATE_INTEGRATION).
        """
        varies = {name: self._physics.expand(name).copy() for name in self.task.varies}
        return {
            "physics": self._physics.state.copy(),
            "seeds": self.seeds.copy(),
            "episodes": self.episodes.copy(),
            "steps": self.steps.copy(),
            "obs": self._obs.copy(),
            "kept": {name: values.copy() for name, values in self._kept.items()},
            "varies": varies,
        }

    def set_state(self, saved: Mapping[str, Any]) -> Array:
        """Go on from `get_state`, bit for bit; returns the observations [N, width] to act on.

        Raises:
            BadInput: it is the state of another task or of another number of copies.
        """
        want = self.get_state()
        for name in ("physics", "seeds", "episodes", "steps"):
            have = None if name not in saved else np.shape(saved[name])
            if have != want[name].shape:
                raise BadInput(
                    f"The saved state is not one of {self.copies} copies of {self.task.name}: "
                    f"{name} has shape {have}, not {want[name].shape}."
                )
        self._physics.state[:] = saved["physics"]
        for name in self.task.varies:
            self._physics.expand(name)[:] = saved["varies"][name]
        self._physics.forward(stage=int(self._mujoco.mjtStage.mjSTAGE_VEL))
        self.seeds, self.episodes, self.steps = (
            np.array(saved[name], np.int64) for name in ("seeds", "episodes", "steps")
        )
        self._obs = np.array(saved["obs"], np.float64)
        self._kept = {name: np.array(saved["kept"][name]) for name in self.task.keeps}
        return self._obs.copy()

    def data(self, copy: int, into: Any = None) -> Any:
        """One copy as a mujoco.MjData, to draw it or to hand it to any function of MuJoCo."""
        return self._physics.get_data(copy, into)

    def model(self, copy: int) -> Any:
        """The mujoco.MjModel of one copy."""
        return self._physics.get_model(copy)

    # Inside ------------------------------------------------------------------------------------

    @cached_property
    def _stage(self) -> int:
        """What is made current after a step; see `Task.suite`."""
        stage = self._mujoco.mjtStage
        return int(stage.mjSTAGE_VEL if self.task.suite == "dm_control" else stage.mjSTAGE_NONE)

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.threads, "mujoco-reset")

    def _observe(self) -> Array:
        return np.array(self.task.observe(self.state), np.float64)

    def _keep(self) -> None:
        self._kept = {name: getattr(self.state, name).copy() for name in self.task.keeps}

    def _begin(self, ids: Array) -> None:
        """Draw starts for some copies and bring their fields up to date."""
        draws = [(int(i), int(self.episodes[i])) for i in ids]
        starts = (
            list(self._pool.map(self._start, draws))
            if self.threads > 1 and len(draws) > 1
            else [self._start(draw) for draw in draws]
        )
        for i, (row, varied) in zip(ids, starts, strict=True):
            self._physics.state[i] = row
            for name, values in varied.items():
                self._physics.expand(name)[i] = values
        self.episodes[ids] += 1
        self.steps[ids] = 0
        self._forward(ids)
        if self.task.contact_forces:
            self.state.cfrc_ext[ids] = 0.0  # gymnasium's reset does not compute them

    def _start(self, draw: tuple[int, int]) -> tuple[Array, dict[str, Array]]:
        """The state row and the varied model fields with which an episode begins."""
        i, episode = draw
        seed, place = (int(x) for x in self.seeds[i])
        stream = np.random.SeedSequence(seed, spawn_key=(place, episode))
        row = np.empty(self._physics.nstate)
        model, data = self._scratch()
        draw_start(self.task, model, data, np.random.default_rng(stream), row)
        return row, {name: np.array(getattr(model, name)) for name in self.task.varies}

    def _scratch(self) -> tuple[Any, Any]:
        """A model and data of this thread's own, to draw starts in."""
        if not hasattr(self._own, "pair"):
            model = copying.copy(self._physics.model)
            self._own.pair = model, self._mujoco.MjData(model)
        return self._own.pair

    def _forward(self, ids: Array) -> None:
        if self.task.suite == "gymnasium":
            self._physics.forward(ids)
            return
        flags = self._physics.expand("opt.disableflags")
        flags[ids] |= int(self._mujoco.mjtDisableBit.mjDSBL_ACTUATION)
        self._physics.forward(ids)
        flags[ids] = self._physics.model.opt.disableflags

    def _fill_contact_forces(self) -> None:
        model, data = self._scratch()
        for i in range(self.copies):
            self._physics.get_data(i, data)
            self._mujoco.mj_rnePostConstraint(model, data)
            self.state.cfrc_ext[i] = data.cfrc_ext

    def _checked(self, actions: Any) -> Array:
        action = np.array(actions, np.float64)
        name = self.task.name
        if action.shape != (self.copies, self.action_size):
            raise BadInput(
                f"Actions of {self.copies} copies of {name} have shape "
                f"({self.copies}, {self.action_size}); got {action.shape}."
            )
        outside = ~((action >= self.action_low) & (action <= self.action_high))
        if outside.any():
            i, j = (int(x[0]) for x in np.nonzero(outside))
            value, low, high = action[i, j], self.action_low[j], self.action_high[j]
            what = "is not finite" if not np.isfinite(value) else f"is outside [{low:g}, {high:g}]"
            raise BadInput(
                f"Action {j} of copy {i} of {name} {what}: {value:g}; scale or clip actions first."
            )
        return action

    def _check_stable(self) -> None:
        warned = self._warnings()
        new = np.argwhere(warned > self._warned)
        self._warned = warned
        if len(new):
            i, which = (int(x) for x in new[0])
            raise Diverged(
                f"The physics of {self.task.name} became unstable in copy {i} at step "
                f"{int(self.steps[i])} of its episode ({_UNSTABLE[which]})."
            )

    def _warnings(self) -> Array:
        """How often each copy was found unstable, by kind."""
        return self._physics.warning[:, self._unstable, 1].copy()  # 0 is MuJoCo's last detail


def unit_to_box(actions: Any, low: Array, high: Array) -> Array:
    """[-1, 1] to [low, high], affinely, per coordinate of the last axis; exact at both ends.

    Nothing is clipped, and a box that is [-1, 1] changes no bit. Most tasks have that box; the
    quadruped's actuators and the inverted pendulum's have others.
    """
    a = np.asarray(actions, np.float64)
    scaled = np.where(a < 0, low + (1 + a) * (high - low) / 2, high - (1 - a) * (high - low) / 2)
    return np.where((low == -1) & (high == 1), a, scaled)


def draw_start(task: Task, model: Any, data: Any, rng: Any, row: Array) -> None:
    """Draw a start of `task` into `data` and its integration state into `row`.

    As the suites do: defaults, for dm_control followed by a forward pass without actuation, then
    the task's own `reset`. The forward pass that ends a reset is left to the caller.
    """
    mujoco = import_mujoco()

    mujoco.mj_resetData(model, data)
    if task.suite == "dm_control":
        forward_without_actuation(model, data)
    task.reset(model, data, rng)
    mujoco.mj_getState(model, data, row, mujoco.mjtState.mjSTATE_INTEGRATION)


def forward_without_actuation(model: Any, data: Any) -> None:
    """dm_control's forward pass at a reset. `model` must not be in use by another thread."""
    mujoco = import_mujoco()

    flags = model.opt.disableflags
    model.opt.disableflags = flags | int(mujoco.mjtDisableBit.mjDSBL_ACTUATION)
    mujoco.mj_forward(model, data)
    model.opt.disableflags = flags


def _at_least_one(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise BadInput(f"{name} must be an integer of at least 1; got {value!r}.")
    return int(value)
