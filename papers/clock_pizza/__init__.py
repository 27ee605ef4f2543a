"""The manifolds on which neural networks compute modular addition.

Networks that add mod n hold their inputs on a disc (MLP-Add, and attention from uniform, the
"pizza", to learned, the "clock") or on a torus (MLP-Concat), and their logits on a circle:
Moisescu-Pareja, McCracken, Wiltzer, Letourneau, Daniels, Precup and Love (ICLR 2026) show it by the
similarity of representations, by the distribution of the phases and by persistent homology.

`method.py` is the contribution; the names below are what a notebook usually wants.
"""

from __future__ import annotations

from shared.lazy import getter

_HOMES = {
    "betti_numbers": "method",
    "cluster_by_frequency": "method",
    "cluster_logits": "method",
    "distance_irrelevance": "method",
    "gradient_symmetricity": "method",
    "handbuilt_net": "method",
    "linear_cka": "method",
    "mmd_permutation": "method",
    "pad_points": "method",
    "phase_coherence": "method",
    "phases": "method",
    "reference": "method",
    "rsm": "method",
    "similarity_from_coherence": "oracle",
    "Config": "config",
    "PRESETS": "config",
}
__all__ = list(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]
__getattr__ = getter(__name__, _HOMES)
