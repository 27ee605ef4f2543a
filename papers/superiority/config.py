"""The configuration of the superiority experiments, and its four presets.

Light on purpose: the command line reads it before anything heavy is imported.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from shared.experiment.errors import require

AGENTS = ("DSUP(1/2)", "DAU+DSUP(1/2)", "DSUP(1)", "DAU", "QR-DQN")
ABLATIONS = ("kappa=0.001", "clock=calendar", "target_period=100")


@dataclass(frozen=True)
class Config:
    """One run of the paper: exact experiments, then option trading at several frequencies.

    A time unit is a day. `paper` is the paper's (or its official code's) value.
    """

    seeds: int = 10
    """Independent runs per agent, asset and frequency (paper: 10)."""
    first_seed: int = 0
    """The seeds are first_seed, first_seed + 1, ..."""
    assets: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9)
    """Assets by index 0 ... 10 in `env.ASSETS` (paper: several, which is not known)."""
    agents: tuple[str, ...] = AGENTS
    """Agents of the risk-neutral comparison: DSUP(q) and DAU+DSUP(q) for any q, DAU, QR-DQN."""
    frequencies: tuple[int, ...] = (1, 5, 10, 15, 20, 25, 30, 35)
    """Decisions per day, omega = 1/h (paper: these)."""
    updates: int = 200_000
    """Gradient steps, one a day of experience; omega environment steps each (paper: 200000)."""
    evaluations: int = 20
    """Evaluations during training, evenly spaced, the last one at its end (official code: 20)."""
    average_last: int = 5
    """A run's score is the mean over this many last evaluations (paper: 1; single ones swing)."""
    evaluation_episodes: int = 1000
    """Episodes an evaluation takes (official code: 200, and 1000 at the end)."""
    learning_rate: float = 1e-4
    """Adam's step size (paper: 1e-4)."""
    batch_size: int = 32
    """Transitions in a gradient step (paper: 32)."""
    replay_capacity: int = 20_000
    """Transitions kept (paper: 20000)."""
    target_period: int = 1000
    """Gradient steps between hard copies to the target network (paper: 1000)."""
    epsilon_final: float = 0.02
    """Exploration rate at the end of its linear decay from 1 (paper: 0.02)."""
    epsilon_updates: int = 20_000
    """Gradient steps of that decay (paper: 20000)."""
    discount: float = 0.999
    """Discount factor gamma per day; gamma**h per decision (paper: 0.999)."""
    atoms: int = 100
    """Quantile levels m of a return distribution (paper: 100)."""
    kappa: float = 1.0
    """Threshold of the quantile Huber loss; 0 is quantile regression (official code: 1)."""
    clock: Literal["official", "calendar"] = "official"
    """`official` advances twice a step, as the official code does: 50 days of prices, not 100."""
    risk_levels: tuple[float, ...] = (0.01, 0.12, 0.23, 0.34, 0.45, 0.56, 0.67, 0.78, 0.89, 1.0)
    """CVaR levels alpha of the risk-sensitive comparison (official code: these)."""
    risk_agents: tuple[str, ...] = ("DSUP(1/2)", "QR-DQN")
    """Agents of the risk-sensitive comparison (paper: these; DAU learns no laws)."""
    risk_assets: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9)
    """Assets of the risk-sensitive comparison."""
    risk_frequency: int = 35
    """Decisions per day in the risk-sensitive comparison (paper: high; 35 assumed)."""
    risk_order: Literal["sorted", "comonotone"] = "sorted"
    """CVaR of a superiority: `sorted` as the official code, or `comonotone`, which ranks right."""
    risk_weights: Literal["official", "exact"] = "official"
    """CVaR's weights on quantile levels; the official ones do not always sum to one."""
    ablations: tuple[str, ...] = ABLATIONS
    """Settings changed one at a time at the highest frequency, as `field=value`."""
    ablation_agents: tuple[str, ...] = ("DSUP(1/2)", "DAU+DSUP(1/2)", "DAU", "QR-DQN")
    """Agents of the ablations."""
    ablation_assets: tuple[int, ...] = (0,)
    """Assets of the ablations."""
    prices: Path | None = None
    """Price file (.npy or .csv) to estimate one asset from; replaces all of the assets above."""
    price_asset: int = 0
    """Which asset of the price file, where it holds several."""
    price_column: str | None = None
    """Which column of the price file, by name or index."""

    def __post_init__(self) -> None:
        for name in ("seeds", "updates", "evaluations", "evaluation_episodes", "atoms"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("average_last", "batch_size", "replay_capacity", "target_period"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require(self.first_seed >= 0, "first-seed", self.first_seed, "at least 0")
        require(self.epsilon_updates >= 1, "epsilon-updates", self.epsilon_updates, "at least 1")
        require(self.learning_rate > 0, "learning-rate", self.learning_rate, "positive")
        require(self.kappa >= 0, "kappa", self.kappa, "at least 0")
        require(0 < self.discount <= 1, "discount", self.discount, "in (0, 1]")
        require(0 <= self.epsilon_final <= 1, "epsilon-final", self.epsilon_final, "in [0, 1]")
        for name in ("assets", "agents", "frequencies"):
            require(len(getattr(self, name)) > 0, name, "none", "at least one value")
        for omega in (*self.frequencies, self.risk_frequency):
            require(omega >= 1, "frequencies", omega, "whole numbers of at least 1")
        for alpha in self.risk_levels:
            require(0 < alpha <= 1, "risk-levels", alpha, "in (0, 1]")
        for asset in (*self.assets, *self.risk_assets, *self.ablation_assets):
            require(0 <= asset <= 10, "assets", asset, "one of 0 ... 10")
        for agent in (*self.agents, *self.ablation_agents, *self.risk_agents):
            check_agent(agent)
        if "DAU" in self.risk_agents:
            raise ValueError("risk-agents cannot hold DAU: it learns means, and a CVaR needs laws.")
        for text in self.ablations:
            self.ablated(text)
        divisible = self.updates % self.evaluations == 0
        require(divisible, "updates", self.updates, f"a multiple of {self.evaluations} evaluations")
        allowed = f"at most the number of evaluations, {self.evaluations}"
        require(self.average_last <= self.evaluations, "average-last", self.average_last, allowed)

    def ablated(self, change: str) -> Config:
        """This configuration with one field changed, given as `field=value`."""
        name, _, value = change.partition("=")
        kinds = {"kappa": float, "clock": str, "target_period": int, "learning_rate": float,
                 "epsilon_final": float, "discount": float, "batch_size": int}  # fmt: skip
        if name not in kinds:
            raise ValueError(f"ablations must change one of {', '.join(kinds)}; got {change!r}.")
        try:
            parsed = kinds[name](value)
        except ValueError:
            raise ValueError(f"ablations: {value!r} is no value for {name}.") from None
        if name == "clock" and parsed not in ("official", "calendar"):
            raise ValueError(f"ablations: clock must be official or calendar; got {value!r}.")
        return replace(self, ablations=(), **{name: parsed})

    @property
    def updates_per_evaluation(self) -> int:
        """Gradient steps between two evaluations."""
        return self.updates // self.evaluations


def check_agent(name: str) -> None:
    """Raise ValueError, with the allowed names, unless `name` is an agent of this paper."""
    if name in ("DAU", "QR-DQN") or _DSUP.fullmatch(name):
        return
    raise ValueError(
        f"agents must be QR-DQN, DAU, DSUP(q) or DAU+DSUP(q) with q such as 1/2; got {name!r}."
    )


_DSUP = re.compile(r"(DAU\+)?DSUP\((\d+(\.\d+)?|\d+/[1-9]\d*)\)")


PRESETS = {
    # Seconds: every code path, no conclusions.
    "smoke": Config(
        seeds=2,
        assets=(0,),
        agents=("DSUP(1/2)", "QR-DQN"),
        frequencies=(2,),
        updates=300,
        evaluations=3,
        average_last=2,
        evaluation_episodes=100,
        target_period=50,
        epsilon_updates=100,
        atoms=8,
        risk_levels=(0.25,),
        risk_agents=("DSUP(1/2)",),
        risk_assets=(0,),
        risk_frequency=2,
        ablations=(),
    ),
    # Three minutes: the exact experiments whole, and a first look at trading.
    "quick": Config(
        seeds=2,
        assets=(0,),
        frequencies=(1, 35),
        updates=10_000,
        evaluations=5,
        average_last=2,
        evaluation_episodes=300,
        epsilon_updates=2_000,
        target_period=100,
        risk_levels=(0.89,),
        risk_assets=(0,),
        ablations=(),
    ),
    # Up to an hour on two cores, the evidence kept in git: the paper's settings with fewer gradient
    # steps, frequencies and assets.
    "cpu": Config(
        seeds=10,
        assets=(0, 3),
        frequencies=(1, 10, 35),
        updates=30_000,
        evaluations=6,
        average_last=3,
        evaluation_episodes=500,
        risk_levels=(0.56, 0.89),
        risk_assets=(0,),
        ablation_agents=("DSUP(1/2)", "QR-DQN"),
    ),
    # The paper's own scale, for a GPU.
    "paper": Config(),
}
