"""Constraint inference as plain inverse reinforcement learning.

An expert maximises a reward that we know under a constraint that we do not. Inverse constrained RL
infers the constraint in a game of three levels: cost, Lagrange multiplier, policy. Hugessen,
Wiltzer and Berseth (NeurIPS 2024) observe that the multiplier is superfluous where costs may be
scaled freely: what is left is inverse RL over a correction of the known reward. IRL-Base is that;
IRL-Plus adds L2 regularisation, separate critics and policy resets.

`method.py` is the contribution; the names below are what a notebook usually wants.
"""

from __future__ import annotations

from shared.lazy import getter

_HOMES = {
    "SACConfig": "method",
    "corrected_reward": "method",
    "cost_apply": "method",
    "cost_init": "method",
    "cost_loss": "method",
    "feasible_return": "method",
    "sac_update": "method",
    "tabular_icrl": "method",
    "Corridor": "oracle",
    "TASKS": "envs",
    "Config": "config",
    "PRESETS": "config",
}
__all__ = list(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]
__getattr__ = getter(__name__, _HOMES)
