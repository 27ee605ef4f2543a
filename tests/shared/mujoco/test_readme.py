"""The page of shared/mujoco says what is so."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

import shared.mujoco
from shared.mujoco import tasks

PAGE = (Path(shared.mujoco.__file__).parent / "README.md").read_text()


def test_the_task_that_it_defines_runs() -> None:
    code = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[1]
    names: dict[str, object] = {}
    exec(code.replace("Batch(task", "batch = Batch(task"), names)
    batch = names["batch"]
    assert isinstance(batch, shared.mujoco.Batch)
    assert batch.reset().shape == (8, 3)
    step = batch.step(np.ones((8, 1)))
    assert step.extras["cost"].shape == step.reward.shape == (8,)


def test_every_file_has_its_line() -> None:
    folder = Path(shared.mujoco.__file__).parent
    for path in folder.glob("*.py"):
        assert path.stem == "__init__" or f"[{path.name}]({path.name})" in PAGE


def test_the_list_of_tasks_is_complete() -> None:
    """That of `tasks/__init__.py`, which is where people look for names."""
    listed = re.findall(r"[A-Za-z0-9]+_[a-z_]+|[A-Z][A-Za-z0-9]+-v5", str(tasks.__doc__))
    assert set(tasks.names()) == set(listed) - {"dm_control"}
