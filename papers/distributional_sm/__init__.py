"""The distributional successor measure: a generative model of whole futures, without a reward.

Wiltzer, Farebrother, Gretton, Tang, Barreto, Dabney, Bellemare and Rowland (ICML 2024): the
discounted occupancy of one trajectory is a random measure; its law, the distributional successor
measure, gives the return distribution of *any* reward. A delta-model learns it as m generators, by
an MMD between laws of measures whose kernel looks at MMDs.

`method.py` is the contribution; the names below are what a notebook usually wants.
"""

from __future__ import annotations

from shared.lazy import getter

_HOMES = {
    "TrainerSpec": "method",
    "block_mmd2": "method",
    "make_trainer": "method",
    "nstep_targets": "method",
    "return_atoms": "method",
    "transitions": "method",
    "two_level_mmd2": "method",
    "Model": "zero_shot",
    "evaluate": "zero_shot",
    "fit": "zero_shot",
    "load_model": "zero_shot",
    "rank": "zero_shot",
    "save_model": "zero_shot",
    "occupancy_moments": "tabular",
    "particle_law": "tabular",
    "return_moments": "tabular",
    "PENDULUM": "env",
    "WINDY": "env",
    "Config": "config",
    "PRESETS": "config",
}
__all__ = list(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]
__getattr__ = getter(__name__, _HOMES)
