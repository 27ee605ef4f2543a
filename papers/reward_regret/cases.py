"""Random MDPs in blocks, what every check on them shares, and attacks on guarantees."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, SupportsFloat

import numpy as np
from jaxtyping import Float

from papers.reward_regret import env, method
from papers.reward_regret.method import PolicyTable, TabularMDP

Array = np.ndarray
Numbers = dict[str, Array]
Ask = Callable[[float], Numbers]
"""One value of a check's parameter -> numbers by name, one a seed."""

ATTACKS = 20  # random rewards that try to break each guarantee


class Cases(NamedTuple):
    """A block of random MDPs of one size, their policies, a data distribution for each."""

    seeds: Sequence[int]
    mdps: list[TabularMDP]
    tables: list[PolicyTable]
    D: Float[Array, "n S A"]


def cases(seeds: Sequence[int], states: int, actions: int) -> Cases:
    """The random MDPs of these seeds."""
    mdps = [env.random_mdp(seed, states, actions) for seed in seeds]
    D = np.stack([env.random_data(seed, states, actions) for seed in seeds])
    return Cases(seeds, mdps, [method.policy_table(mdp) for mdp in mdps], D)


def stacked(rows: Sequence[Mapping[str, SupportsFloat]]) -> Numbers:
    """One dictionary a seed -> arrays over seeds."""
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


def shortfall(mdp: TabularMDP, reward_hat: Array, pi: Array) -> float:
    """How far pi is from optimal for reward_hat, in units of its possible return; 0 if optimal."""
    best = mdp.mu0 @ method.optimal_policy(mdp, reward_hat)[1]
    scale = max(np.abs(reward_hat).max(), mdp.range_R) / (1 - mdp.gamma)
    return float(best - np.sum(method.occupancy(mdp, pi) * reward_hat)) / float(scale)


def disturbed(mdp: TabularMDP, D: Array, error: float, rng: np.random.Generator) -> Array:
    """A reward with exactly this error: Gaussian in some cells, often in one cell only."""
    while True:
        change = rng.standard_normal(D.shape) * (rng.random(D.shape) < rng.random())
        size = float(np.sum(D * np.abs(change)))
        if size > 0:
            return mdp.R + change * (error * mdp.range_R / size)


def hardest_attack(mdp: TabularMDP, D: Array, error: float, seed: int) -> float:
    """Largest regret that optimising random rewards of this error has led to."""
    rng = np.random.default_rng([seed, 2])
    rewards = [disturbed(mdp, D, error, rng) for _ in range(ATTACKS)]
    return max(method.regret(mdp, method.optimal_policy(mdp, r)[0]) for r in rewards)
