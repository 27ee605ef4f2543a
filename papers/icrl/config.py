"""The configuration of the constraint-inference experiments, and its four presets.

Light on purpose: the command line reads it before anything heavy is imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shared.experiment.errors import require

WORLDS = ("blocked_point", "biased_cartpole")
MAIN = ("unconstrained", "oracle", "IRL-Plus", "IRL-Base", "MECL", "GACL", "SAC-ICRL")
STEPS = ("L2", "L2+SC", "L2+PR")
ABLATIONS = (
    "IRL-Base+BN",
    "IRL-Base, no reward norm",
    "L2, twins proper",
    "IRL-Plus, no warm start",
    "IRL-Plus, no cost entropy",
    "IRL-Plus, replay samples",
)
OFFLINE = ("IQL", "BC", "offline IRL")


@dataclass(frozen=True)
class Config:
    """One run: the exact corridor, online constraint inference, mixed experts, offline inference.

    `paper` is the paper's (or its official code's) value on MuJoCo.
    """

    seeds: int = 5
    """Independent runs of each variant on each task (paper: 5)."""
    first_seed: int = 0
    """The seeds are first_seed, first_seed + 1, ..."""
    worlds: tuple[str, ...] = WORLDS
    """Tasks, by name (paper: five of MuJoCo)."""
    variants: tuple[str, ...] = (*MAIN, *STEPS)
    """Variants of the comparison, see `variants.py`."""
    ablations: tuple[str, ...] = ABLATIONS
    """Further variants, on the first task only."""
    epochs: int = 1000
    """Epochs of training, each ending in an evaluation and a cost step (paper: 1000)."""
    warm_epochs: int = 50
    """Epochs without a cost, for the variants that start warm (paper: 50)."""
    blocks: int = 50
    """Rounds of an episode and its updates in an epoch (paper: 5000 steps)."""
    streams: int = 1
    """Environments that are stepped side by side (paper: 1)."""
    updates: int = 100
    """Gradient steps in a round (paper: one a step, so as many as an episode is long)."""
    batch_size: int = 128
    """Transitions in a gradient step (paper: 128)."""
    replay_capacity: int = 1_000_000
    """Transitions kept (paper: 1000000)."""
    learning_rate: float = 1e-3
    """Adam's step size for actor and critics (paper: 1e-3)."""
    width: int = 256
    """Units in each of the two hidden layers of actor and critics (paper: 256)."""
    cost_width: int = 64
    """Units in each of the two hidden layers of the cost network (paper: 64)."""
    cost_lr: float = 1e-3
    """Adam's step size for the cost (paper: 1e-3 on pendulum and swimmer, 1e-4 elsewhere)."""
    cost_batch: int = 5000
    """Transitions of expert and of learner in a cost step (paper: 5000)."""
    cost_steps: int = 1
    """Cost steps in an epoch (paper: 1)."""
    beta: float = 0.1
    """Weight of the regulariser `l2_expert` (paper: 0.1)."""
    evaluations: int = 5
    """Episodes in an evaluation (paper: 5)."""
    final_episodes: int = 50
    """Episodes of the last evaluation (paper: 50)."""
    average_last: int = 10
    """A run's score is the mean over this many last evaluations (paper: 10)."""
    grid_cost_lrs: tuple[float, ...] = (1e-4, 1e-3)
    """Cost rates of the SAC-ICRL grid, on the first task (paper: these)."""
    grid_multiplier_lrs: tuple[float, ...] = (1e-4, 1e-3, 1e-2)
    """Multiplier rates of the SAC-ICRL grid (paper: these)."""
    suboptimal: tuple[float, ...] = (0.2, 0.5, 0.8)
    """Shares of the demonstrations that come from an unconstrained agent (paper: these)."""
    suboptimal_variants: tuple[str, ...] = ("IRL-Plus", "MECL", "GACL")
    """Variants that are tried on mixed demonstrations (paper: these)."""
    offline: tuple[str, ...] = OFFLINE
    """Agents of offline constraint inference, on the first task (paper: not known)."""
    offline_updates: int = 20_000
    """Gradient steps of an offline agent."""
    demos: Path | None = None
    """Demonstrations of your own for the first task (.npz, .hdf5, folder); else those that ship."""
    rescale_demos: bool = False
    """Divide the actions of --demos by the task's action scale."""

    def __post_init__(self) -> None:
        for name in ("seeds", "epochs", "blocks", "streams", "updates", "batch_size", "width",
                     "cost_width", "cost_batch", "cost_steps", "evaluations", "final_episodes",
                     "replay_capacity", "average_last", "offline_updates"):  # fmt: skip
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("first_seed", "warm_epochs", "beta"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "at least 0")
        for name in ("learning_rate", "cost_lr"):
            require(getattr(self, name) > 0, name, getattr(self, name), "positive")
        for rate in (*self.grid_cost_lrs, *self.grid_multiplier_lrs):
            require(rate > 0, "grid rates", rate, "positive")
        allowed = f"at most the number of epochs, {self.epochs}"
        require(self.average_last <= self.epochs, "average-last", self.average_last, allowed)
        require(self.warm_epochs < self.epochs, "warm-epochs", self.warm_epochs, "below epochs")
        require(len(self.worlds) > 0, "worlds", "none", "at least one task")
        self._check_names()
        for share in self.suboptimal:
            require(0 <= share <= 1, "suboptimal", share, "a share in [0, 1]")

    def _check_names(self) -> None:
        known = (*MAIN, *STEPS, *ABLATIONS)
        for field, names, allowed in (
            ("worlds", self.worlds, WORLDS),
            ("variants", self.variants, known),
            ("ablations", self.ablations, known),
            ("suboptimal-variants", self.suboptimal_variants, known),
            ("offline", self.offline, OFFLINE),
        ):
            for name in names:
                require(name in allowed, field, name, "among " + ", ".join(allowed))

    @property
    def steps_per_epoch(self) -> int:
        """Environment steps of an epoch; the tasks' horizon is 100."""
        return self.blocks * self.streams * 100


PRESETS = {
    # Seconds: every code path, no conclusions.
    "smoke": Config(
        seeds=2,
        worlds=("blocked_point",),
        variants=("IRL-Plus",),
        ablations=(),
        epochs=4,
        warm_epochs=1,
        blocks=2,
        updates=50,
        batch_size=32,
        replay_capacity=2000,
        width=16,
        cost_width=16,
        cost_batch=100,
        evaluations=2,
        final_episodes=5,
        average_last=2,
        grid_cost_lrs=(),
        grid_multiplier_lrs=(),
        suboptimal=(),
        offline=("offline IRL",),
        offline_updates=50,
    ),
    # Three minutes: the corridor exactly, and the wall of BlockedPoint recovered.
    "quick": Config(
        worlds=("blocked_point",),
        variants=("unconstrained", "IRL-Plus", "IRL-Base", "MECL"),
        ablations=(),
        epochs=40,
        warm_epochs=8,
        blocks=4,
        width=64,
        cost_batch=500,
        cost_steps=10,
        replay_capacity=20_000,
        average_last=5,
        grid_cost_lrs=(),
        grid_multiplier_lrs=(),
        suboptimal=(),
        offline=(),
    ),
    # The evidence kept in git: both small tasks, all variants.
    "cpu": Config(
        epochs=40,
        warm_epochs=8,
        blocks=5,
        width=64,
        cost_batch=500,
        cost_steps=10,
        replay_capacity=50_000,
        grid_multiplier_lrs=(1e-2, 1e-1, 1.0),  # a hundredth of the paper's episodes
    ),
    # The paper's hyper-parameters, for a GPU.
    "paper": Config(),
}
