"""What a run on the host consists of: a suite's game, the shape of the batch, all numbers.

Light on purpose: the configuration reads it before anything heavy is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from papers.ppo_scaling.host_envs import check_suite
from shared.experiment.errors import BadInput

if TYPE_CHECKING:
    from papers.ppo_scaling.method import BatchSpec

REPLAY_STEPS = 2_000_000


@dataclass(frozen=True)
class HostSpec:
    """A run on the host, as `Task.params` give it; what they leave out is the suite's default.

    Attributes:
        suite: atari, procgen, continuous. steps: decisions of all environments together.
        network: nature or small (atari), impala (procgen), mlp (continuous).
        algorithm: ppo, pqn, or rnd (PPO with random network distillation; atari).
        anneal: the step size falls linearly to 0. points: measurements during the run.
        groups: environments are stepped in so many groups: while one acts, the others play.
        warmup: rollouts of rnd that are not learned from. autoreset: see `atari.AtariEnvs`.
    """

    suite: str
    game: str
    n_envs: int
    n_ro: int
    steps: int
    epochs: int = 4
    num_minibatches: int = 4
    hold: Literal["num_minibatches", "minibatch_size"] = "num_minibatches"
    algorithm: Literal["ppo", "pqn", "rnd"] = "ppo"
    encoder: Literal["shared", "separate"] = "shared"
    network: str = "nature"
    lr: float = 2.5e-4
    anneal: bool = True
    gamma: float = 0.99
    lam: float = 0.95
    clip: float = 0.1
    vf: float = 0.5
    ent: float = 0.01
    max_grad_norm: float = 0.5
    points: int = 25
    groups: int = 0
    warmup: int = 50
    autoreset: str = "same_step"

    def __post_init__(self) -> None:
        check_suite(self.suite)
        for name in ("n_envs", "n_ro", "steps", "points"):
            if getattr(self, name) < 1:
                raise BadInput(
                    f"{name.replace('_', '-')} must be at least 1; got {getattr(self, name)}."
                )
        if self.algorithm == "rnd" and self.suite != "atari":
            raise BadInput(f"rnd is for suite atari; got {self.suite}.")
        if self.algorithm == "pqn" and self.suite == "continuous":
            raise BadInput("pqn takes a maximum over actions: suite continuous has none to take.")
        self.batch.iterations(self.steps)

    @property
    def batch(self) -> BatchSpec:
        """Shape of an iteration's data."""
        from papers.ppo_scaling.method import BatchSpec

        return BatchSpec(self.n_envs, self.n_ro, self.epochs, self.num_minibatches, self.hold)

    @property
    def iterations(self) -> int:
        """Rollouts of the run."""
        return self.batch.iterations(self.steps)

    @property
    def chunks(self) -> tuple[int, ...]:
        """Iterations done after each measurement; every one at least one more."""
        points = min(self.points, self.iterations)
        return tuple(round(self.iterations * (i + 1) / points) for i in range(points))

    @property
    def iterations_a_game(self) -> int:
        """After how many iterations the games are started anew."""
        return min(self.iterations, max(1, REPLAY_STEPS // self.batch.batch_size))

    @property
    def env_groups(self) -> int:
        """`groups`, or by default two where each then has at least eight environments."""
        wanted = self.groups or (2 if self.n_envs >= 16 else 1)
        if self.n_envs % wanted:
            raise BadInput(f"{wanted} groups must divide {self.n_envs} environments.")
        return wanted


# Brief names of sources: cleanrl/ppo_atari_envpool.py (the defaults above), ppo_procgen.py,
# ppo_continuous_action_isaacgym.py, pqn_atari_envpool.py, ppo_rnd_envpool.py.
SUITE_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "atari": {},
    "procgen": {"network": "impala", "lr": 5e-4, "anneal": False, "gamma": 0.999, "clip": 0.2,
                "epochs": 3, "num_minibatches": 8},
    "continuous": {"network": "mlp", "encoder": "separate", "lr": 2.6e-3, "anneal": False,
                   "clip": 0.2, "vf": 2.0, "ent": 0.0, "max_grad_norm": 1.0, "num_minibatches": 2},
}  # fmt: skip
ALGORITHM_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "ppo": {},
    "pqn": {"lam": 0.65, "max_grad_norm": 10.0},
    "rnd": {"lr": 1e-4, "gamma": 0.999, "ent": 0.001},
}


def host_spec(params: Mapping[str, Any]) -> HostSpec:
    """The run that a task's parameters describe; parameters of other names are not read.

    `network` may be auto, the suite's own; `dummy` stands for autoreset="legacy_envpool_dummy".

    Raises:
        BadInput: an unknown suite, or a value that cannot be.
    """
    suite = check_suite(str(params["suite"]))
    algorithm = ALGORITHM_DEFAULTS.get(str(params.get("algorithm", "ppo")))
    if algorithm is None:
        raise BadInput(
            f"algorithm must be {', '.join(ALGORITHM_DEFAULTS)}; got {params['algorithm']!r}."
        )
    known = {field.name for field in fields(HostSpec)}
    given = {name: value for name, value in params.items() if name in known}
    if given.get("network") == "auto":
        del given["network"]
    if params.get("dummy"):
        given["autoreset"] = "legacy_envpool_dummy"
    return HostSpec(**{**SUITE_DEFAULTS[suite], **algorithm, **given})


def cpu_seconds(params: Mapping[str, Any]) -> float:
    """About how long one seed takes on one core: acting, and epochs of learning."""
    spec = host_spec(params)
    rate = {"nature": 1500.0, "small": 4000.0, "impala": 500.0, "mlp": 60_000.0}[spec.network]
    act = {"atari": 2000.0, "procgen": 3000.0, "continuous": 5000.0}[spec.suite]
    return spec.steps * (1 / act + spec.epochs / rate) + 30


# One curve that shows that all of this learns, within half an hour of one core: the small network
# and twice the step size that the literature takes for 10 M steps.
SANITY: Mapping[str, Any] = {
    "suite": "atari",
    "game": "pong",
    "n_envs": 8,
    "n_ro": 128,
    "steps": 1_000_000,
    "network": "small",
    "num_minibatches": 4,
    "lr": 5e-4,
    "points": 20,
}
