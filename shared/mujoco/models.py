"""The models that dm_control and gymnasium ship, read from their files without importing either.

A model is mujoco's `MjModel`. MuJoCo is imported inside the functions.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

Model = Any
"""A mujoco.MjModel, whose type is not known before mujoco is imported."""


def import_mujoco() -> Any:
    """The module mujoco, whose names come from C++ and are unknown to type checkers."""
    return importlib.import_module("mujoco")


def suite_file(name: str) -> Path:
    """The XML file `name` ("walker.xml") of dm_control's suite."""
    return _inside("dm_control", "suite", name)


def gymnasium_file(name: str) -> Path:
    """The XML file `name` ("ant.xml") of gymnasium's MuJoCo environments."""
    return _inside("gymnasium", "envs", "mujoco", "assets", name)


@cache
def load(
    path: Path,
    without: tuple[tuple[str, str], ...] = (),
    sizes: tuple[tuple[str, tuple[float, ...]], ...] = (),
) -> Model:
    """Compile a model from its file, once: whoever wants to change it makes a copy (`copy.copy`).

    Args:
        path: the XML file.
        without: elements to leave out, as (kind, name) with MjSpec's kinds ("geom", "body", ...);
            ("rangefinder", "") leaves out every sensor of that kind.
        sizes: geoms whose sizes are others, as (name, sizes).
    """
    mujoco = import_mujoco()

    with _no_deprecations():
        spec = mujoco.MjSpec.from_file(str(path))
        for kind, name in without:
            for element in _elements(spec, kind, name):
                spec.delete(element)
        for name, size in sizes:
            spec.geom(name).size = size
        return spec.compile()


def _inside(package: str, *parts: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(f"{package} is not installed; `uv sync` adds it.")
    return Path(spec.submodule_search_locations[0], *parts)


def _elements(spec: Any, kind: str, name: str) -> list[Any]:
    mujoco = import_mujoco()

    if kind == "rangefinder":
        rays = mujoco.mjtSensor.mjSENS_RANGEFINDER
        return [sensor for sensor in spec.sensors if sensor.type == rays]
    return [getattr(spec, kind)(name)]


@contextmanager
def _no_deprecations() -> Iterator[None]:
    """MuJoCo warns that these files use deprecated attributes, which their owners know."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "compiler attribute", UserWarning)
        yield
