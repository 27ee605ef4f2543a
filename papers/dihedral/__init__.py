"""How networks learn to multiply in dihedral groups.

A network that has learned the table of D_n divides and conquers: clusters of neurons, each on one
irreducible representation, compute the answer modulo a kernel, laid out as a Cayley graph of the
quotient, and the sum of their logits intersects these cosets. "Deep neural networks divide and
conquer dihedral multiplication" (ICML 2026) finds few of them, about log n, in MLPs and
transformers.

`method.py` is the contribution; the names below are what a notebook usually wants.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Net": "method",
    "Training": "method",
    "ablate": "method",
    "cayley_test": "method",
    "class_means": "method",
    "clusters": "method",
    "contributions": "method",
    "irreps": "method",
    "is_cayley": "method",
    "label_neurons": "method",
    "mult_table": "method",
    "summary": "method",
    "table_energies": "method",
    "tables": "method",
    "train": "method",
    "construct": "oracle",
    "subject": "subject",
    "Config": "config",
    "PRESETS": "config",
}
__all__ = list(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """Import a name's module when it is first asked for, so that the package itself is cheap."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
