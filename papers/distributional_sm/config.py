"""The configuration of the distributional_sm experiments, and its four presets.

Light on purpose: the command line reads it before anything heavy is imported.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from shared.experiment.errors import require

POLICIES = {"windy": ("top", "gamble"), "pendulum": ("energy",), "balance": ("weak",)}
"""Policies of each task; the first is the one that baselines and ablations use."""
BASELINES = ("ensemble", "one-step")
KERNELS = ("learned", "fixed", "scales", "median")
ABLATIONS = (
    "horizon=1",
    "horizon=3",
    "atoms=5",
    "atoms=21",
    "kernel=fixed",
    "kernel=learned",
    "kernel=median",
    "bandwidth=1",
    "adam_eps=1.5e-4",
)
_ABLATED: dict[str, type] = {
    "horizon": int,
    "atoms": int,
    "samples": int,
    "kernel": str,
    "bandwidth": float,
    "ema": float,
    "adam_eps": float,
}


@dataclass(frozen=True)
class Config:
    """One run of the paper: exact chains, then delta-models of processes, asked for new rewards.

    `paper` is the value of the official code, whose text was not at hand.
    """

    seeds: int = 5
    """Independent runs of each model (paper: not known; 5 recommended)."""
    first_seed: int = 0
    """The seeds are first_seed, first_seed + 1, ..."""
    chains: int = 200
    """Random finite chains on which C1 to C3 are decided exactly."""
    tasks: tuple[str, ...] = ("windy", "pendulum", "balance")
    """Processes that models are trained on: windy, pendulum, and MuJoCo's balance (ours)."""
    baselines: tuple[str, ...] = BASELINES
    """Compared on the first policy of each task: ensemble of gamma-models, one-step model."""
    ablations: tuple[str, ...] = ABLATIONS
    """Settings changed one at a time, as `field=value`; compared with `unchanged`."""
    ablation_tasks: tuple[str, ...] = ("windy",)
    """Processes that the ablations are run on."""
    ablation_updates: int = 2_500_000
    """Gradient steps of each ablation, and of the model that they are compared with."""
    gamma: float = 0.95
    """Discount factor (paper: 0.95)."""
    horizon: int = 6
    """Steps n of the n-step targets (paper: 6)."""
    atoms: int = 51
    """Model atoms m (paper: 51)."""
    samples: int = 32
    """States N drawn from each atom for a loss (paper: 32)."""
    batch_size: int = 64
    """Windows in a gradient step (paper: 64)."""
    updates: int = 2_500_000
    """Gradient steps (paper: 2500000)."""
    evaluations: int = 25
    """Evaluations during training, evenly spaced, the last one at its end."""
    kernel: Literal["learned", "fixed", "scales", "median"] = "learned"
    """State kernel: learned features; on states as they are: rational quadratic (fixed), inverse
    multiquadrics of three scales, or Gaussian of median width (paper: learned)."""
    bandwidth: float = 0.0
    """Width of the kernel on measures; 0 for the median of all distances (paper: 0)."""
    width: int = 256
    """Hidden width of generators, three layers, and of the learned kernel (paper: 256)."""
    learning_rate: float = 6.25e-5
    """Adam's step size (paper: 6.25e-5)."""
    decay: bool = False
    """Let the step size fall to nothing over the run, as a cosine (paper: constant)."""
    adam_eps: float = 1.5e-4
    """Adam's epsilon (paper: 1.5e-4, larger than most gradients of an atom)."""
    ema: float = 0.01
    """Share of new parameters in the target after each step (paper: 0.01)."""
    episodes: int = 2500
    """Episodes of data (paper: 500000 transitions)."""
    episode_steps: int = 200
    """States of an episode of data (paper: 200)."""
    eval_samples: int = 4096
    """States drawn from each atom for a predicted return (official code: 1024, see the page)."""
    truth_runs: int = 5000
    """Monte-Carlo runs per source state, at least (paper: 5000)."""
    truth_steps: int = 200
    """Steps of a Monte-Carlo run (paper: 200)."""
    risk_levels: tuple[float, ...] = (0.1, 0.25, 0.4)
    """CVaR levels tau at which policies are ranked."""

    def __post_init__(self) -> None:
        for name in ("seeds", "chains", "horizon", "atoms", "batch_size", "evaluations"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("width", "episodes", "eval_samples", "truth_runs", "truth_steps"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require(self.first_seed >= 0, "first-seed", self.first_seed, "at least 0")
        require(self.samples >= 2, "samples", self.samples, "at least 2")
        require(0 <= self.gamma < 1, "gamma", self.gamma, "in [0, 1)")
        require(0 < self.ema <= 1, "ema", self.ema, "in (0, 1]")
        require(self.learning_rate > 0, "learning-rate", self.learning_rate, "positive")
        require(self.adam_eps > 0, "adam-eps", self.adam_eps, "positive")
        require(self.bandwidth >= 0, "bandwidth", self.bandwidth, "at least 0")
        allowed = f"more than the horizon of {self.horizon} steps"
        require(self.episode_steps > self.horizon, "episode-steps", self.episode_steps, allowed)
        for task in (*self.tasks, *self.ablation_tasks):
            require(task in POLICIES, "tasks", task, f"one of {', '.join(POLICIES)}")
        for name in self.baselines:
            require(name in BASELINES, "baselines", name, f"one of {', '.join(BASELINES)}")
        for tau in self.risk_levels:
            require(0 < tau <= 1, "risk-levels", tau, "in (0, 1]")
        for name in ("updates", "ablation_updates"):
            steps, whole = getattr(self, name), f"a multiple of {self.evaluations} evaluations"
            require(steps >= 1 and steps % self.evaluations == 0, name, steps, whole)
        for text in self.ablations:
            self.ablated(text)

    def ablated(self, change: str) -> Config:
        """That of an ablation: one field changed, given as `field=value`, or `unchanged`."""
        plain = replace(self, ablations=(), updates=self.ablation_updates)
        if change == "unchanged":
            return plain
        name, _, value = change.partition("=")
        if name not in _ABLATED:
            raise ValueError(f"ablations must change one of {', '.join(_ABLATED)}; got {change!r}.")
        try:
            parsed: Any = _ABLATED[name](value)
        except ValueError:
            raise ValueError(f"ablations: {value!r} is no value for {name}.") from None
        if name == "kernel" and parsed not in KERNELS:
            allowed = ", ".join(KERNELS)
            raise ValueError(f"ablations: kernel must be one of {allowed}; got {value!r}.")
        return replace(plain, **{name: parsed})

    @property
    def updates_per_evaluation(self) -> int:
        """Gradient steps between two evaluations."""
        return self.updates // self.evaluations

    @property
    def atom_counts(self) -> tuple[int, ...]:
        """Numbers of atoms that are trained: the setting itself, then those of ablations."""
        changed = [self.ablated(text).atoms for text in self.ablations]
        return tuple(dict.fromkeys([self.atoms, *changed]))

    @property
    def runs_of_truth(self) -> int:
        """Monte-Carlo runs: the least multiple of the atoms' number that is enough."""
        return -(-self.truth_runs // self.atoms) * self.atoms


_SMALL = Config(
    atoms=11,
    samples=12,
    batch_size=16,
    kernel="scales",
    width=64,
    learning_rate=5e-3,
    decay=True,
    adam_eps=1e-8,
    episodes=400,
    episode_steps=30,
    eval_samples=1024,
    truth_runs=2000,
)

PRESETS = {
    # Seconds: every code path, no conclusions.
    "smoke": replace(
        _SMALL,
        seeds=2,
        chains=4,
        tasks=("windy",),
        baselines=(),
        ablations=("bandwidth=1",),
        atoms=3,
        samples=4,
        batch_size=4,
        width=8,
        horizon=2,
        updates=20,
        ablation_updates=20,
        evaluations=2,
        episodes=20,
        episode_steps=10,
        eval_samples=32,
        truth_runs=30,
        truth_steps=40,
    ),
    # Two minutes: the exact part, and one process with its unseen rewards.
    "quick": replace(
        _SMALL,
        seeds=2,
        tasks=("windy",),
        baselines=("ensemble",),
        ablations=(),
        updates=5000,
        evaluations=5,
    ),
    # A quarter of an hour on two cores, the evidence kept in git.
    "cpu": replace(_SMALL, seeds=3, updates=6000, ablation_updates=1200, evaluations=6),
    # The official code's own scale, for a GPU.
    "paper": Config(),
}
