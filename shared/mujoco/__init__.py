"""N copies of a MuJoCo task stepped as one batch, equal to dm_control and gymnasium step for step.

Names load when they are first used, so that importing this package costs nothing.

    tasks       the tasks that are here by name: `names()`, `get(name)`
    task        `Task`: a model and a few functions on arrays [copies, ...]; `State`, what they read
    batch       `Batch`: copies of a task, stepped together on threads
    episodes    `run_episodes`: whole episodes of a policy, one a copy
    vector_env  the faces that gymnasium knows: `MujocoVectorEnv`, `MujocoEnv`
    rewards     dm_control's soft indicator `tolerance`
    models      the models of dm_control and gymnasium, by file name
    render      pictures without a display
    yardstick   speed claims for a paper's bench.py
"""

from importlib import import_module
from typing import Any

_HOME = {
    "Task": "task",
    "State": "task",
    "Batch": "batch",
    "Step": "batch",
    "Episodes": "episodes",
    "run_episodes": "episodes",
    "MujocoVectorEnv": "vector_env",
    "MujocoEnv": "vector_env",
    "frames": "render",
    "film_strip": "render",
}


def __dir__() -> list[str]:
    return sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
