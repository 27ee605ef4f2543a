"""Names that a package re-exports without importing their modules before one is asked for.

A room's `__init__.py` offers the few names that a notebook wants, and `--help` must stay fast: it
imports the package, never JAX.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def getter(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """A package's `__getattr__` (PEP 562) that imports a name's module when it is first asked for.

    `homes` maps each name to the submodule of `package` that defines it. Raises AttributeError for
    any other name.
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{homes[name]}"), name)

    return get
