"""Entropy-regularised reinforcement learning at vanishing temperature.

Annealing the temperature leads to one particular optimal policy, chosen by what lies ahead of each
action, and in the limit perhaps not stably. Jhaveri, Wiltzer, Shafto, Bellemare and Meger (NeurIPS
2025) decouple two temperatures, optimising at the smaller and acting at the larger one: policies
then converge to the reference policy restricted to optimal actions, and so do values and whole
return distributions, which a distributional dynamic programme estimates.

`method.py` is the contribution; the names below are what a notebook usually wants.
"""

from __future__ import annotations

from shared.lazy import getter

_HOMES = {
    "Successors": "method",
    "TabularMDP": "method",
    "decoupled_policy": "method",
    "erl_limit": "method",
    "estimate_reference_return_law": "method",
    "filtered_reference": "method",
    "gibbs": "method",
    "log_policy": "method",
    "optimal_policy": "method",
    "ref_optimal_q": "method",
    "soft_policy_iteration": "newton",
    "soft_vi": "method",
    "sparse": "method",
    "wasserstein": "method",
    "estimate_to": "accuracy",
    "lottery": "mdps",
    "tri_state": "mdps",
    "Config": "config",
    "PRESETS": "config",
}
__all__ = list(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]
__getattr__ = getter(__name__, _HOMES)
