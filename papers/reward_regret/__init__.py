"""When does a small error of a learned reward guarantee a small regret of its optimal policies?

Fluri, Lang, Abate, Forré, Krueger and Skalse (ICML 2025) ask, for a fixed MDP, which data
distributions D are safe: no reward within error eps of the true one, in expectation under D, has an
optimal policy of large regret. Full coverage is safe for small enough eps; for any fixed eps there
are unsafe D, also under KL penalties and when preferences are learned instead of rewards. The safe
distributions form a polytope M D > eps range R.

`method.py` is the contribution, exact and with certificates; the names below are what a notebook
usually wants.
"""

from __future__ import annotations

from shared.lazy import getter

_HOMES = {
    "TabularMDP": "method",
    "design_distribution": "method",
    "is_safe": "method",
    "occupancy": "method",
    "policy_margin": "method",
    "regret": "method",
    "rlhf_threshold": "method",
    "rlhf_witness": "method",
    "safe_matrix": "method",
    "safety_margin": "method",
    "tight_bound": "method",
    "visitation": "method",
    "worst_case_regret": "method",
    "policy_margins": "batched",
    "regret_curve": "analysis",
    "from_gymnasium": "env",
    "random_mdp": "env",
    "validate": "env",
    "kl_bandit_margin": "regularised",
    "margin_interval": "sampling",
    "Config": "config",
    "PRESETS": "config",
}
__all__ = list(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]
__getattr__ = getter(__name__, _HOMES)
