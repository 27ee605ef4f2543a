"""Distributional reinforcement learning when decisions are frequent.

As the time h between decisions shrinks, the return laws zeta_h of all actions collapse to the
policy's own law eta, and agents that learn zeta_h can no longer tell actions apart. Wiltzer,
Bellemare, Meger, Shafto and Jhaveri (NeurIPS 2024) show that the laws collapse like h^(1/2), slower
than their means, define the superiority psi_h, a probabilistic advantage, and learn its rescaling
h^(-q) psi_h: the agents DSUP(q) and DAU+DSUP(q), tried on option trading at up to 35 Hz.

`method.py` is the contribution; the names below are what a notebook usually wants.
"""

from __future__ import annotations

from shared.lazy import getter

_HOMES = {
    "CVaR": "method",
    "Mean": "method",
    "centre": "method",
    "comonotone_difference": "method",
    "dsup_loss": "method",
    "quantile_huber": "method",
    "rescale": "method",
    "agent": "agents",
    "ASSETS": "assets",
    "OptionEnv": "env",
    "hold_to_end": "oracle",
    "optimal_stopping": "oracle",
    "Config": "config",
    "PRESETS": "config",
}
__all__ = list(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]
__getattr__ = getter(__name__, _HOMES)
