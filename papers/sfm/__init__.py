"""Imitation learning from states alone, without an adversary.

The expected discounted sum of base features along a trajectory, the successor features, is a
vector; an expert and a learner each have one. Jain, Wiltzer, Farebrother, Rish, Berseth and
Choudhury (ICLR 2025) descend the squared distance between the two by the policy gradient of an
ordinary actor-critic whose critic predicts the vector, with base features that are learned on the
side. One demonstration without actions is enough on tasks of the DeepMind Control suite.

`method.py` is the contribution; the names below are what a notebook usually wants.
"""

from __future__ import annotations

from shared.lazy import getter

_HOMES = {
    "CheckpointSchedule": "method",
    "base_features": "method",
    "expert_sf": "method",
    "learner_sf": "method",
    "sf_critic_loss": "method",
    "sf_td_target": "method",
    "sfm_actor_loss": "method",
    "FiniteMDP": "oracle",
}
__all__ = list(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]
__getattr__ = getter(__name__, _HOMES)
