"""Running on accelerators: devices, seeds side by side, memory, precision, compile cache, traces.

Names load when they are first used, so that importing this package costs nothing.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "as_text": "devices",
    "setup": "devices",
    "torch_setup": "devices",
    "publish_cache": "devices",
    "over_seeds": "seeds",
    "seed_keys": "seeds",
    "stack": "seeds",
    "unstack": "seeds",
    "over_seeds_fitted": "memory",
    "profile": "profiling",
    "time_compiled": "profiling",
    "compile_torch": "torch_helpers",
    "torch_device": "torch_helpers",
}


def __dir__() -> list[str]:
    return sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
