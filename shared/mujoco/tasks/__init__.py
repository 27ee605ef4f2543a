"""The tasks that are here by name.

dm_control's suite, equal to it from the same state and actions:
cheetah_run, walker_stand, walker_walk, walker_run, quadruped_walk, quadruped_run, pendulum_swingup,
point_mass_easy, reacher_easy, cartpole_swingup, cartpole_balance.

Rewards of our own on its bodies, as successor-feature matching (Jain et al., 2025) uses them:
cheetah_walk, walker_flip, quadruped_stand, quadruped_jump.

gymnasium's bodies with their version 5 rewards, starts and ends:
InvertedPendulum-v5, HalfCheetah-v5, Ant-v5, Walker2d-v5, Swimmer-v5.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module

from shared.experiment.errors import BadInput
from shared.mujoco.task import Task

_FAMILIES = ("cheetah", "walker", "quadruped", "small", "gymnasium")


@cache
def _makers() -> Mapping[str, Callable[[], Task]]:
    makers: dict[str, Callable[[], Task]] = {}
    for family in _FAMILIES:
        makers |= import_module(f"{__name__}.{family}").TASKS
    return makers


def names() -> list[str]:
    """All names, sorted."""
    return sorted(_makers())


@cache
def get(name: str) -> Task:
    """The task of that name.

    Raises:
        BadInput: there is none; near names are given.
    """
    if name not in _makers():
        near = difflib.get_close_matches(name, names(), n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(names())}."
        raise BadInput(f"There is no MuJoCo task {name!r}; {hint}")
    return _makers()[name]()
