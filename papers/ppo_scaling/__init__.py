"""What parallel data collection does to PPO.

Mayor, Obando-Ceron, Courville and Castro (ICML 2025) change nothing in PPO but the shape of its
batch, environments x rollout length, and watch returns and networks: many environments with short
rollouts beat few with long ones at the same batch size, and growing a batch by environments beats
growing it by rollout length.

`method.py` has the batches, targets, losses and metrics, `theory.py` what a batch's shape does in
closed form, `train.py` the algorithm on environments inside one compiled program.
"""

from __future__ import annotations

from shared.lazy import getter

_HOMES = {
    "BatchSpec": "method",
    "gae": "method",
    "q_lambda": "method",
    "ppo_loss": "method",
    "pqn_loss": "method",
    "ranks": "method",
    "batch_ess": "theory",
    "vif": "theory",
    "value_error_left": "theory",
    "make": "envs",
    "make_learner": "train",
    "make_ppo": "train",
    "hyper": "train",
    "Config": "config",
    "PRESETS": "config",
}
__all__ = list(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]
__getattr__ = getter(__name__, _HOMES)
