"""The configuration of the experiments, and its four presets.

The publication is theory and has no experiments or hyper-parameters: every value here is ours.
Light on purpose: the command line reads it before anything heavy is imported.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.experiment.errors import require

DATA = ("uniform", "expert", "design")
ENVIRONMENTS = ("FrozenLake", "CliffWalking", "Taxi")


@dataclass(frozen=True)
class Config:
    """Exact checks on hand-made MDPs, on `seeds` random MDPs, on gymnasium's, and from samples.

    Levels L and errors eps are normalised (of range J and of range R); lam is in units of reward.
    """

    seeds: int = 200
    """Random MDPs for each statement; seed k is MDP k (paper: none, it is theory)."""
    first_seed: int = 0
    """The seeds are first_seed, first_seed + 1, ..."""
    levels: tuple[float, ...] = (0.1, 0.25, 0.5, 0.75, 1.0)
    """Regrets L from which a policy is bad."""
    matrix_levels: tuple[float, ...] = (0.25, 0.75)
    """The same for the matrix M, which takes longer, and for rewards in a box."""
    design_levels: tuple[float, ...] = (0.5, 0.9)
    """The same for the best distribution D*."""
    errors: tuple[float, ...] = (0.01, 0.05, 0.2)
    """Error levels eps at which unsafe distributions are built."""
    lams: tuple[float, ...] = (0.1, 1.0, 10.0)
    """Weights lambda of the penalty."""
    horizons: tuple[int, ...] = (1, 2, 4)
    """Lengths of trajectories, all of which are enumerated."""
    weights: tuple[float, ...] = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
    """Weights of the uniform distribution mixed into expert data; the first must be 0."""
    fresh: int = 50
    """New distributions on which each matrix M is compared with the linear programmes."""
    sampling_seeds: int = 20
    """Independent data sets for each kind of data and size."""
    sizes: tuple[int, ...] = (20, 60, 200, 600, 2000, 6000, 20000)
    """Numbers of samples; half train the reward, half bound its error."""
    data: tuple[str, ...] = DATA
    """Where samples come from: uniform, expert (with a tenth uniform), or the designed D*."""
    noise: float = 0.3
    """Standard deviation of the reward labels, in units of reward."""
    delta: float = 0.05
    """Certificates from samples hold with confidence 1 - delta."""
    environments: tuple[str, ...] = ENVIRONMENTS
    """Gymnasium environments with a transition table; the newest version is taken."""
    gym_gamma: float = 0.95
    """Discount of the gymnasium environments."""
    gym_level: float = 0.5
    """Regret L in the gymnasium environments."""
    gym_exact_cells: int = 60
    """Environments of at most so many cells (states x actions) get their margin by MILP."""

    def __post_init__(self) -> None:
        for name in ("seeds", "sampling_seeds", "fresh"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require(self.first_seed >= 0, "first_seed", self.first_seed, "at least 0")
        for name in ("levels", "matrix_levels", "design_levels", "errors", "lams", "horizons",
                     "weights", "sizes"):  # fmt: skip
            require(len(getattr(self, name)) > 0, name, "none", "at least one value")
        for name in ("levels", "matrix_levels", "design_levels"):
            for level in getattr(self, name):
                require(0 < level <= 1, name, level, "in (0, 1]")
        for error in self.errors:
            require(0 < error < 1, "errors", error, "strictly between 0 and 1")
        for lam in self.lams:
            require(0 < lam < float("inf"), "lams", lam, "positive")
        for horizon in self.horizons:
            require(1 <= horizon <= 5, "horizons", horizon, "1 ... 5, to be enumerated")
        require(self.weights[0] == 0, "weights", self.weights[0], "0 at first")
        for weight in self.weights:
            require(0 <= weight <= 1, "weights", weight, "in [0, 1]")
        for size in self.sizes:
            require(size >= 4, "sizes", size, "at least 4 samples")
        for kind in self.data:
            require(kind in DATA, "data", kind, f"one of {', '.join(DATA)}")
        for name in self.environments:
            require(name in ENVIRONMENTS, "environments", name, f"one of {', '.join(ENVIRONMENTS)}")
        require(self.noise >= 0, "noise", self.noise, "at least 0")
        require(0 < self.delta < 1, "delta", self.delta, "strictly between 0 and 1")
        require(0 <= self.gym_gamma < 1, "gym_gamma", self.gym_gamma, "in [0, 1)")
        require(0 < self.gym_level <= 1, "gym_level", self.gym_level, "in (0, 1]")
        require(self.gym_exact_cells >= 0, "gym_exact_cells", self.gym_exact_cells, "at least 0")


PRESETS = {
    # Seconds: every code path.
    "smoke": Config(
        seeds=2,
        levels=(0.5, 1.0),
        matrix_levels=(0.5,),
        design_levels=(0.5,),
        errors=(0.05,),
        lams=(1.0,),
        horizons=(2,),
        weights=(0.0, 0.1),
        fresh=5,
        sampling_seeds=2,
        sizes=(20, 200),
        data=("uniform",),
        environments=("FrozenLake",),
        gym_exact_cells=0,
    ),
    # All claims, on 200 random MDPs.
    "quick": Config(),
    # The evidence kept in git: more levels, more random MDPs, and cliff walking by MILP.
    "cpu": Config(
        seeds=400,
        levels=(0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0),
        matrix_levels=(0.25, 0.5, 0.75),
        lams=(0.1, 0.3, 1.0, 3.0, 10.0),
        horizons=(1, 2, 3, 4),
        sampling_seeds=30,
        gym_exact_cells=160,
    ),
    # The publication has no scale of its own: the same on 2,000 random MDPs.
    "paper": Config(
        seeds=2000,
        levels=(0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0),
        matrix_levels=(0.25, 0.5, 0.75),
        lams=(0.1, 0.3, 1.0, 3.0, 10.0),
        horizons=(1, 2, 3, 4, 5),
        sampling_seeds=200,
        gym_exact_cells=160,
    ),
}
