"""One abstract algorithm for modular addition in MLPs and transformers: approximate cosets.

McCracken, Moisescu-Pareja, Letourneau, Precup and Love (NeurIPS 2025) find that networks trained on
a + b mod n have simple neurons, one sinusoid in a plus one in b; that remapped by a step size all
of them look alike; that where such a neuron fires is an approximate coset; and that O(log n) random
frequencies intersect these cosets with a margin, an approximate Chinese remainder theorem.

`method.py` is the contribution; the names below are what a notebook usually wants.
"""

from __future__ import annotations

from shared.lazy import getter

_HOMES = {
    "acrt_network": "method",
    "approximate_coset": "method",
    "cayley_distance": "method",
    "equivariance_error": "method",
    "fit_simple": "method",
    "gap_probability": "method",
    "ideal_gap": "method",
    "is_approximate_coset": "method",
    "is_fine_tuning": "method",
    "log_fit": "method",
    "min_frequencies": "method",
    "positive_set": "method",
    "remap": "method",
    "sinusoidal_crt": "method",
    "step_size": "method",
    "substitute": "method",
    "sufficient_frequencies": "oracle",
    "Config": "config",
    "PRESETS": "config",
}
__all__ = list(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]
__getattr__ = getter(__name__, _HOMES)
