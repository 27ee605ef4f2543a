"""The configuration of the temperature-decoupling experiments, and its four presets.

Light on purpose: the command line reads it before anything heavy is imported.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from shared.experiment.errors import require

OPT_TAUS = (1e-1, 1e-3, 1e-5, 1e-7, 1e-9)
PROJECTIONS = ("cramer", "mmd")
PRECISIONS = ("float64", "float32")


@dataclass(frozen=True)
class Config:
    """One run of the paper: theorems on small and random MDPs, estimates, learning, a network.

    `paper` is the paper's value. Its results are deterministic; seeds are those of what we add.
    """

    seeds: int = 5
    """Runs of soft Q-learning and of the network on the grid (paper: not given)."""
    first_seed: int = 0
    """The seeds are first_seed, first_seed + 1, ..."""
    random_mdps: int = 200
    """Random MDPs on which every theorem is decided, numbers 4, 5, ... (paper: none)."""
    opt_taus: tuple[float, ...] = OPT_TAUS
    """Optimisation temperatures of the estimates; played at the same and at the root (paper)."""
    sweeps: int = 1000
    """Applications of each operator in an estimate, n_opt = n_eval (paper: 1000)."""
    atoms: int = 121
    """Atoms of the grid on which return laws are estimated (paper: 121)."""
    support: tuple[float, float] = (-2.0, 8.0)
    """Ends of that grid, in units of return (paper: -2 and 8)."""
    projections: tuple[str, ...] = PROJECTIONS
    """Projections of the estimates: mmd (paper, signed weights assumed), cramer."""
    mmd_alpha: float = 1.5
    """Exponent of the MMD kernel -|u - v|^alpha (paper: 3/2)."""
    projection_atoms: tuple[int, ...] = (11, 21, 41, 81)
    """Numbers of atoms at which projections are compared (paper: none)."""
    accuracies: tuple[float, ...] = (0.5, 0.2, 0.1, 0.05)
    """Accuracies in W_1 that the estimate is asked for (paper: none)."""
    q_taus: tuple[float, ...] = (0.3, 0.1, 0.03, 0.01)
    """Play temperatures of soft Q-learning, sigma = tau^2 (paper: not given)."""
    q_steps: int = 600_000
    """Samples of soft Q-learning (paper: not given)."""
    q_power: float = 0.6
    """Its step size is N(x, a)^(-q_power) (paper: not given)."""
    grid_tau: float = 0.1
    """Play temperature on the grid, sigma = tau^2 (paper: no such experiment)."""
    grid_copies: int = 120
    """Copies to the target network, one a fitted soft Bellman backup."""
    grid_steps: int = 100
    """Gradient steps between two copies."""
    grid_width: int = 64
    """Units in each of the network's two hidden layers."""
    grid_learning_rate: float = 2e-3
    """Adam's step size at the start; it falls to zero along a cosine."""

    def __post_init__(self) -> None:
        for name in ("seeds", "random_mdps", "sweeps", "q_steps", "grid_copies", "grid_steps",
                     "grid_width"):  # fmt: skip
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require(self.first_seed >= 0, "first_seed", self.first_seed, "at least 0")
        require(self.atoms >= 2, "atoms", self.atoms, "at least 2")
        for name in ("opt_taus", "q_taus", "accuracies", "projection_atoms", "projections"):
            require(len(getattr(self, name)) > 0, name, "none", "at least one value")
        for tau in (*self.opt_taus, *self.q_taus, self.grid_tau):
            require(0 < tau < 1, "temperatures", tau, "above 0 and below 1, so that tau^2 < tau")
        for wanted in self.accuracies:
            ok = math.isfinite(wanted) and wanted > 0
            require(ok, "accuracies", wanted, "finite and above 0")
        for count in self.projection_atoms:
            require(count >= 2, "projection_atoms", count, "at least 2")
        for kind in self.projections:
            require(kind in PROJECTIONS, "projections", repr(kind), "cramer or mmd")
        low, high = self.support
        covers = math.isfinite(low) and math.isfinite(high) and low <= 0 and high >= 8
        require(covers, "support", self.support, "finite and cover the returns of M2, 0 to 8")
        require(0 < self.mmd_alpha < 2, "mmd_alpha", self.mmd_alpha, "above 0 and below 2")
        require(0.5 < self.q_power <= 1, "q_power", self.q_power, "above 1/2 and at most 1")
        rate = self.grid_learning_rate
        require(math.isfinite(rate) and rate > 0, "grid_learning_rate", rate, "above 0")


PRESETS = {
    # Seconds: every code path, no conclusions.
    "smoke": Config(
        seeds=2,
        random_mdps=2,
        opt_taus=(1e-1, 1e-7),
        sweeps=12,
        atoms=31,
        projections=("mmd",),  # `projections` and `random` use cramer anyhow
        projection_atoms=(11,),
        accuracies=(0.5,),
        q_taus=(0.3,),
        q_steps=2_000,
        grid_copies=4,
        grid_steps=5,
        grid_width=8,
    ),
    # Under three minutes: every theorem on 200 random MDPs; fewer sweeps (2^-60 is exact enough).
    "quick": Config(
        seeds=3,
        sweeps=60,
        q_steps=200_000,
        grid_copies=80,
    ),
    # The evidence kept in git.
    "cpu": Config(seeds=10, random_mdps=400, sweeps=200),
    # The paper's own numbers of sweeps; nothing here needs a GPU.
    "paper": Config(seeds=10, random_mdps=400),
}
