"""The paper's variants, their rivals and our ablations, each as settings of one learner.

    IRL-Base   random cost network, costs clipped to [0, 20], rewards normalised, no regulariser
    L2         zero-initialised cost network, LeakyReLU, `l2_expert` with beta = 0.1
    L2+SC      and separate critics, after a warm start without the cost
    L2+PR      and policy resets, after a warm start
    IRL-Plus   all of them
    SAC-ICRL   the tri-level game (3.9) with this learner: bounded cost, multiplier
    MECL       the tri-level game with maximum-causal-entropy costs (3.8)
    GACL       a discriminator's log D added to the reward
    unconstrained, oracle    cost weight 0; minus 10 for each step beyond the true wall

Deviation: the paper's MECL and GACL learn by PPO on normalised observations, from another code
base, with up to four times the steps. Here all share the soft actor-critic and the budget, so that
what differs is the game. Multipliers move by 0.1 an episode, the larger of the rates published for
MECL, because our runs have hundreds of episodes, not tens of thousands.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from papers.icrl.config import Config
from papers.icrl.envs import Task
from papers.icrl.method import SACConfig
from papers.icrl.train import Knobs, Plan, knobs


@dataclass(frozen=True)
class Variant:
    """Differences from the plain learner: of the learner, of the plan, of the numbers."""

    sac: dict[str, Any]
    plan: dict[str, Any]
    numbers: dict[str, Any]
    warm: bool = False


SIGMOID = {"cost_out": "sigmoid", "separate_critics": True}
L2: dict[str, Any] = {}
SC = {"separate_critics": True}
PR = {"reset": True}
BASE = Variant(
    {"cost_out": "linear_clip", "cost_clip": (0.0, 20.0), "normalise_reward": True},
    {"zero_last": False},
    {"beta": 0.0},
)
PLUS = Variant(SC, {}, PR, warm=True)
RIVAL = {"objective": "trilevel", "zero_last": False}
VARIANTS = {
    "IRL-Base": BASE,
    "L2": Variant({}, {}, {}),
    "L2+SC": Variant(SC, {}, {}, warm=True),
    "L2+PR": Variant({}, {}, PR, warm=True),
    "IRL-Plus": PLUS,
    "SAC-ICRL": Variant(SIGMOID, RIVAL, {"beta": 0.5, "lam": 0.0, "multiplier_lr": 0.1}),
    "MECL": Variant(
        SIGMOID,
        {"objective": "mecl", "zero_last": False},
        {"delta": 0.6, "lam": 1.0, "multiplier_lr": 0.1},
    ),
    "GACL": Variant(
        {"cost_out": "neg_log_sigmoid"}, {"objective": "gacl", "zero_last": False}, {"beta": 0.0}
    ),
    "unconstrained": Variant({"twin_init": "independent"}, {"objective": "known"}, {"lam": 0.0}),
    "oracle": Variant({"twin_init": "independent"}, {"objective": "known"}, {"lam": 10.0}),
    # Ablations of ours.
    "IRL-Base+BN": replace(BASE, plan={"zero_last": False, "batch_norm": True}),
    "L2, twins proper": Variant({"twin_init": "independent"}, {}, {}),
    "IRL-Plus, no warm start": replace(PLUS, warm=False),
    "IRL-Plus, no cost entropy": replace(PLUS, sac={**SC, "cost_entropy": False}),
    "IRL-Plus, replay samples": replace(PLUS, plan={"samples": "replay"}),
    "IRL-Base, no reward norm": replace(BASE, sac={**BASE.sac, "normalise_reward": False}),
}
MAIN = ("IRL-Plus", "IRL-Base", "MECL", "GACL")
STEPS_OF_ABLATION = ("IRL-Base", "L2", "L2+PR", "L2+SC", "IRL-Plus")


def compiled(name: str, config: Config, world: Task) -> Plan:
    """What a variant compiles on a task."""
    variant = VARIANTS[name]
    sac = SACConfig(
        hidden=(config.width, config.width),
        actor_lr=config.learning_rate,
        critic_lr=config.learning_rate,
        **variant.sac,
    )
    settings = {
        "blocks": config.blocks,
        "streams": config.streams,
        "updates": config.updates,
        "batch_size": config.batch_size,
        "capacity": config.replay_capacity,
        "evaluations": config.evaluations,
        "cost_hidden": (config.cost_width, config.cost_width),
        "cost_batch": config.cost_batch,
        "cost_steps": config.cost_steps,
    }
    return Plan(world, sac, **{**settings, **variant.plan})


def numbers(name: str, config: Config, **changes: float) -> Knobs:
    """A variant's numbers, with changes by name (`cost_lr`, `multiplier_lr`, ...)."""
    variant = VARIANTS[name]
    found: dict[str, Any] = {"cost_lr": config.cost_lr, "beta": config.beta, **variant.numbers}
    return knobs(**{**found, "warm": config.warm_epochs if variant.warm else 0, **changes})
