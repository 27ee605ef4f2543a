"""How networks learn to multiply in dihedral groups.

A network that has learned the table of D_n divides and conquers: clusters of neurons, each on one
irreducible representation, compute the answer modulo a kernel, laid out as a Cayley graph of the
quotient, and the sum of their logits intersects these cosets. "Deep neural networks divide and
conquer dihedral multiplication" (ICML 2026) finds few of them, about log n, in MLPs and
transformers.

`method.py` is the contribution; the names below are what a notebook usually wants.
"""

from __future__ import annotations

from shared.lazy import getter

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
__getattr__ = getter(__name__, _HOMES)
