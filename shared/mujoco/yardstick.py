"""Speed claims of batched stepping, for a paper's bench.py.

    from shared.mujoco import yardstick
    ENTRIES = (yardstick.against_dm_control(), yardstick.two_threads(), ...)

Both sides take the same actions from the same starts, and are first checked to see the same.
"""

from __future__ import annotations

import functools
import os
import time
from typing import Any

import numpy as np

from shared.bench import Contest, Entry
from shared.mujoco.models import import_mujoco

COPIES = 32
SECONDS = 1.0  # of work in one repeat


class SuiteLoop:
    """dm_control's own way: one environment stepped from Python.

    Args:
        task: a name of ours that the suite has too ("cheetah_run").
    """

    def __init__(self, task: str) -> None:
        os.environ.setdefault("MUJOCO_GL", "disable")  # dm_control looks for a display otherwise
        from dm_control import suite

        domain, name = task.rsplit("_", 1)
        self.env = suite.load(domain, name, task_kwargs={"random": 0})
        self.env.reset()

    def go_to(self, physics: np.ndarray) -> None:
        """Take over an integration state."""
        mujoco = import_mujoco()

        inner = self.env.physics
        mujoco.mj_setState(
            inner.model.ptr, inner.data.ptr, physics, mujoco.mjtState.mjSTATE_INTEGRATION
        )
        mujoco.mj_step1(inner.model.ptr, inner.data.ptr)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float]:
        """The flat observation and the reward; resets where an episode ends."""
        result = self.env.step(action)
        obs = np.concatenate([np.ravel(part) for part in result.observation.values()])
        return obs, float(result.reward or 0.0)

    def run(self, actions: np.ndarray) -> float:
        """Step through actions [steps, actions]; returns how many."""
        for action in actions:
            self.step(action)
        return float(len(actions))


def check_equal(task: str, copies: int = 2, steps: int = 50) -> None:
    """Raise AssertionError unless a batch and dm_control's loop see the same."""
    from shared.mujoco.batch import Batch

    batch = Batch(task, copies, seed=0)
    batch.reset()
    starts = batch.get_state()["physics"]
    actions = _actions(batch, steps)
    seen = [batch.step(action) for action in actions]
    loop = SuiteLoop(task)
    for copy in range(copies):
        loop.env.reset()
        loop.go_to(starts[copy])
        for step, action in zip(seen, actions, strict=True):
            obs, reward = loop.step(action[copy])
            np.testing.assert_allclose(obs, step.next_obs[copy], rtol=0, atol=1e-12)
            np.testing.assert_allclose(reward, step.reward[copy], rtol=0, atol=1e-12)


def _actions(batch: Any, steps: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    shape = (steps, batch.copies, batch.action_size)
    return rng.uniform(batch.action_low, batch.action_high, shape)


def _stepper(task: str, threads: int) -> Any:
    """A function that steps a batch so many times and returns the steps of all copies."""
    from shared.mujoco.batch import Batch

    batch = Batch(task, COPIES, seed=0, threads=threads)
    batch.reset()
    actions = _actions(batch, 200)

    def run(steps: int) -> float:
        for i in range(steps):
            batch.step(actions[i % len(actions)])
        return float(steps * COPIES)

    return run


def _sized(run: Any, first: int) -> Any:
    """`run` for about SECONDS, found by trying `first` steps."""
    run(first)
    start = time.perf_counter()
    run(first)
    took = time.perf_counter() - start
    return functools.partial(run, max(1, round(first * SECONDS / took)))


def _prepare_dm_control(task: str) -> Contest:
    check_equal(task)
    loop, batch = SuiteLoop(task), _stepper(task, threads=1)
    rng = np.random.default_rng(0)
    spec = loop.env.action_spec()
    actions = rng.uniform(spec.minimum, spec.maximum, (1000, *spec.shape))

    def theirs(steps: int) -> float:
        return sum(loop.run(actions[: min(1000, steps - k)]) for k in range(0, steps, 1000))

    return Contest(_sized(batch, 50), _sized(theirs, 500))


def _prepare_threads(task: str) -> Contest:
    check_equal(task)
    return Contest(_sized(_stepper(task, threads=2), 10), _sized(_stepper(task, threads=1), 10))


def against_dm_control(task: str = "cheetah_run", floor: float = 3.0) -> Entry:
    """32 copies on one core against dm_control's Python loop on that core."""
    return Entry(
        f"stepping {task}, {COPIES} copies, one core",
        "dm_control's environment stepped from Python",
        "environment steps",
        floor,
        functools.partial(_prepare_dm_control, task),
    )


def two_threads(task: str = "walker_walk", floor: float = 1.8) -> Entry:
    """32 copies on two threads against the same on one thread; needs two free cores."""
    return Entry(
        f"stepping {task}, {COPIES} copies, two threads",
        "the same on one thread",
        "environment steps",
        floor,
        functools.partial(_prepare_threads, task),
        cores=2,
    )
