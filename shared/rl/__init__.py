"""Off-policy continuous control: replay on the device, learners as pure functions, loops.

Names load when they are first used, so that importing this package costs nothing.

    replay     transitions on the device: Uniform, Prioritised (LAP), Geometric (weights gamma^t)
    networks   MLPs, ensembles of critics, tanh and tanh-Gaussian actors;  encoders: TD7's
    pieces     targets, losses, optimiser steps, lagging copies; what a `Learner` is
    td3, td7, sac, lagrangian    learners: init, stages, update, explore, act
    scan       a block of updates as one compiled program
    loop       training in pure-JAX environments, compiled;  host: in MuJoCo, stepped in NumPy
    probe      environments with known answers, which every learner must solve
    checkpoint which policy TD7 evaluates, and when it learns
    flops, yardstick    floor and yardstick of speed claims
"""

from importlib import import_module
from typing import Any

_NAMES = {
    "replay": "Batch Geometric Layout Prioritised Uniform",
    "networks": "MLP Critic GaussianActor TanhActor parameter_count squashed_log_prob",
    "encoders": "EncodedActor EncodedCritic Encoder avg_l1_norm",
    "pieces": "Lagged Learner Trained descend follow run_stages td_target",
    "scan": "update_many updates",
    "loop": "LoopState Plan Setup auto_reset",
    "host": "HostState",
    "flops": "matmul_flops matmul_rate",
}
_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}


def __dir__() -> list[str]:
    return sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
