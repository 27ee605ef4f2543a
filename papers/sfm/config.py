"""The configuration of the successor-feature matching experiments, and its four presets.

Light on purpose: the command line reads it before anything heavy is imported.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from shared.experiment.errors import require

POINT_MASS = "point_mass_2d"
LEARNERS = (
    "sfm-td7", "sfm-td3", "mm-td7", "mm-td3", "gaifo-td7", "gaifo-td3", "iq", "bc", "bco",
)  # fmt: skip
"""What imitates: successor-feature matching, moment matching and GAIfO on both optimisers, IQ-Learn
and behavioural cloning, which need actions, and cloning from guessed actions (BCO)."""
NEEDS_ACTIONS = ("iq", "bc")
FAMILIES = ("fdm", "idm", "hilp", "ae", "random", "adv")
VARIANTS = ("estimator=discounted", "estimator=initial", "debias=correct", "fix=false")
SMALL_TASKS = ("pendulum_swingup", "point_mass_easy", "reacher_easy", "cartpole_swingup")
PAPER_TASKS = (
    "cheetah_run", "cheetah_walk", "quadruped_jump", "quadruped_run", "quadruped_stand",
    "quadruped_walk", "walker_flip", "walker_run", "walker_stand", "walker_walk",
)  # fmt: skip


@dataclass(frozen=True)
class Config:
    """One run of the paper: exact experiments, then imitation on control tasks.

    A step is one action in the environment. `paper` is the paper's (or its official code's) value.
    """

    seeds: int = 10
    """Independent runs per task and learner (paper: 10, not verified)."""
    first_seed: int = 0
    """The seeds are first_seed, first_seed + 1, ..."""
    tasks: tuple[str, ...] = PAPER_TASKS
    """point_mass_2d, or tasks of DeepMind Control (paper: these ten)."""
    learners: tuple[str, ...] = LEARNERS
    """Who imitates, see `LEARNERS`."""
    demo: Path | None = None
    """Your own demonstration (.npz with `obs`), for a single task; replaces ours."""
    demos: int = 1
    """Demonstrations that a run sees (paper: 1)."""
    steps: int = 1_000_000
    """Environment steps of a run (paper: 1e6), as many as updates."""
    random_steps: int = 10_000
    """Steps of uniform actions before the first update (paper: 1e4)."""
    relax_steps: int = 75_000
    """SFM: from this step on a policy is tried for up to three episodes (paper: 75e3)."""
    evaluations: int = 40
    """Evaluations of a run, evenly spaced, the last one at its end (paper: every 25e3 steps)."""
    evaluation_episodes: int = 10
    """Episodes without noise that an evaluation takes (paper: 10)."""
    average_last: int = 1
    """A run's score is the mean over this many last evaluations (paper: 1)."""
    replay_steps: int = 1_000_000
    """Steps that the replay holds (paper: 1e6)."""
    batch: int = 1024
    """Transitions of an update (paper: 1024)."""
    hidden: int = 256
    """Units of a layer of actor, critics and encoder (paper: 256)."""
    feature_dim: int = 128
    """d, the number of base features (paper: 128)."""
    feature_hidden: int = 1024
    """Units of a layer of the base features (paper: 1024)."""
    features: str = "fdm"
    """Family of base features (paper: fdm, forward dynamics)."""
    gamma_td7: float = 0.99
    """Discount a step with TD7 (paper: 0.99)."""
    gamma_td3: float = 0.995
    """SFM's discount with TD3 (paper: 0.995; the baselines' is gamma_td7's, 0.99)."""
    rate_td7: float = 5e-4
    """Adam's step size of actor and critics with TD7 (paper: 5e-4; GAIfO 3e-4)."""
    rate_td3: float = 3e-4
    """The same with TD3 (paper: 3e-4)."""
    encoder_rate: float = 1e-4
    """Adam's step size of TD7's encoder (paper: 1e-4)."""
    feature_rate_td7: float = 1e-4
    """Adam's step size of the base features with TD7 (paper: 1e-4)."""
    feature_rate_td3: float = 3e-4
    """The same with TD3 (paper: 3e-4)."""
    noise: float = 0.1
    """Standard deviation of the exploration noise (paper: 0.1)."""
    estimator: Literal["official", "discounted", "initial"] = "official"
    """How the learner's sum is estimated, see `matching.ESTIMATORS` (official code: official)."""
    debias: Literal["official", "correct"] = "official"
    """What the expert's moving average is divided by; `official` halves it at first."""
    fix: bool = True
    """Two different estimates of the gap in the actor's loss, as in the official code's last state;
    which of the two states the published figures come from is not known."""
    discriminator_every: int = 10
    """MM, GAIfO: episodes between updates of the discriminator (paper: 1e4 steps, 10 episodes)."""
    discriminator_steps: int = 1
    """MM, GAIfO: gradient steps of such an update (paper: 1)."""
    discriminator_samples: int = 4096
    """MM, GAIfO: states of either side in a gradient step (paper: 4096)."""
    clone_steps: int = 20_000
    """BC, BCO: gradient steps on batches of 256 (paper: 20e3)."""
    families: tuple[str, ...] = FAMILIES
    """Families of base features that are compared."""
    variants: tuple[str, ...] = VARIANTS
    """Settings of SFM changed one at a time, as `field=value`."""
    ablation_learner: Literal["sfm-td7", "sfm-td3"] = "sfm-td7"
    """Learner of the comparisons of families and variants (paper: TD7, not verified)."""
    ablation_tasks: tuple[str, ...] = PAPER_TASKS
    """Tasks of the comparisons of families and variants."""
    problems: int = 200
    """Random finite processes on which the paper's identities are checked."""

    def __post_init__(self) -> None:
        for name in (
            "seeds", "demos", "steps", "evaluations", "evaluation_episodes", "average_last",
            "replay_steps", "batch", "hidden", "feature_dim", "feature_hidden", "problems",
            "discriminator_every", "discriminator_steps", "discriminator_samples", "clone_steps",
        ):  # fmt: skip
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("random_steps", "relax_steps", "first_seed"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "at least 0")
        for name in ("gamma_td7", "gamma_td3"):
            require(0 <= getattr(self, name) < 1, name, getattr(self, name), "in [0, 1)")
        for name in ("rate_td7", "rate_td3", "encoder_rate", "feature_rate_td7",
                     "feature_rate_td3", "noise"):  # fmt: skip
            require(getattr(self, name) > 0, name, getattr(self, name), "positive")
        _known("learners", self.learners, LEARNERS)
        _known("families", self.families, FAMILIES)
        _known("features", (self.features,), FAMILIES)
        require(len(self.tasks) > 0, "tasks", "none", "at least one")
        for name in (*self.tasks, *self.ablation_tasks):
            check_task(name)
        allowed = f"at most the number of evaluations, {self.evaluations}"
        require(self.average_last <= self.evaluations, "average-last", self.average_last, allowed)
        if self.demo is not None:
            require(len(self.tasks) == 1, "tasks", len(self.tasks), "a single one beside --demo")
        for text in self.variants:
            self.changed(text)

    def changed(self, change: str) -> Config:
        """This configuration with one of SFM's settings changed, given as `field=value`."""
        name, _, value = change.partition("=")
        allowed = {
            "estimator": ("official", "discounted", "initial"),
            "debias": ("official", "correct"),
            "fix": ("true", "false"),
        }
        if name not in allowed:
            raise ValueError(f"variants must change {', '.join(allowed)}; got {change!r}.")
        if value not in allowed[name]:
            raise ValueError(
                f"variants: {name} is one of {', '.join(allowed[name])}; got {value!r}."
            )
        new = value == "true" if name == "fix" else value
        return replace(self, variants=(), **{name: new})

    @property
    def seed_range(self) -> tuple[int, ...]:
        """All seeds."""
        return tuple(range(self.first_seed, self.first_seed + self.seeds))


def check_task(name: str) -> None:
    """Raise ValueError, with near names, unless `name` is a task of this room."""
    known = (POINT_MASS, *SMALL_TASKS, *PAPER_TASKS)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known)}."
        raise ValueError(f"tasks: there is no task {name!r}; {hint}")


def _known(name: str, values: tuple[str, ...], allowed: tuple[str, ...]) -> None:
    for value in values:
        require(value in allowed, name, repr(value), f"one of {', '.join(allowed)}")


_SMALL = Config(
    tasks=(POINT_MASS,),
    ablation_tasks=(POINT_MASS,),
    steps=50_000,
    random_steps=2_000,
    relax_steps=25_000,
    replay_steps=50_000,
    batch=128,
    hidden=64,
    feature_dim=16,
    feature_hidden=64,
    gamma_td7=0.98,
    gamma_td3=0.98,
    rate_td7=3e-4,
    encoder_rate=3e-4,
    feature_rate_td7=3e-4,
    discriminator_every=1,
    discriminator_steps=4,
    discriminator_samples=256,
    clone_steps=3_000,
)
"""Networks and budgets for the point mass, whose 200 steps of 0.05 s need no longer horizon."""

PRESETS = {
    # Seconds: every code path, no conclusions.
    "smoke": replace(
        _SMALL,
        seeds=2,
        learners=("sfm-td7", "bco"),
        steps=2_000,
        random_steps=600,
        relax_steps=1_400,
        replay_steps=2_000,
        evaluations=2,
        evaluation_episodes=3,
        batch=32,
        hidden=16,
        feature_dim=8,
        feature_hidden=16,
        clone_steps=100,
        families=(),
        variants=(),
        problems=10,
    ),
    # Three minutes: the exact experiments whole, and imitation on TD3.
    "quick": replace(
        _SMALL,
        seeds=3,
        learners=("sfm-td3", "mm-td3", "gaifo-td3", "bc", "bco"),
        steps=40_000,
        relax_steps=25_000,
        replay_steps=40_000,
        evaluations=10,
        average_last=3,
        families=(),
        variants=(),
    ),
    # Minutes on two cores: all learners, families and variants.
    "cpu": replace(_SMALL, seeds=5, evaluations=20, average_last=4, ablation_learner="sfm-td3"),
    # The paper's own scale, for a GPU.
    "paper": Config(),
}
