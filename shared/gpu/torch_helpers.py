"""PyTorch's device and compiler, for those who use the `method_torch.py` files. Loaded lazily."""

from collections.abc import Callable
from typing import Any, TypeVar

from shared.experiment.errors import BadInput, MissingExtra

Compilable = TypeVar("Compilable", bound=Callable[..., Any])


def import_torch() -> Any:
    """The torch module, or MissingExtra with the command that installs it."""
    try:
        import torch
    except ImportError:
        raise MissingExtra(
            "PyTorch is not installed: add it with `uv sync --extra torch`."
        ) from None
    return torch


def torch_device(device: str = "auto") -> Any:
    """torch.device for `auto` (a GPU where there is one), `cpu` or `gpu`.

    Raises BadInput on an unknown value or a missing GPU, MissingExtra without PyTorch.
    """
    if device not in ("auto", "cpu", "gpu"):
        raise BadInput(f"Unknown device {device!r}: allowed are auto, cpu and gpu.")
    torch = import_torch()
    found = torch.cuda.is_available()  # true for CUDA and ROCm
    if device == "gpu" and not found:
        raise BadInput("PyTorch finds no GPU: install its CUDA build, or choose the device cpu.")
    return torch.device("cuda" if found and device != "cpu" else "cpu")


def compile_torch(function: Compilable, device: Any) -> Compilable:
    """`function` (or module) through torch.compile on a GPU, unchanged on a CPU.

    On a CPU torch.compile would need a C++ compiler on the user's machine.
    """
    return import_torch().compile(function) if device.type == "cuda" else function
