"""From samples: margins with confidence, and reward learning on a known MDP.

Who has data instead of D still gets guarantees: Delta_L(D) does not fall when a cell gets more
mass, and it is homogeneous, so simultaneous confidence bounds of the cells bound the margin.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.special import betaincinv

from papers.reward_regret.batched import table_margins
from papers.reward_regret.method import (
    PolicyTable,
    TabularMDP,
    optimal_policy,
    policy_table,
    regret,
)

Array = np.ndarray
Table = Float[Array, "S A"]


def count_bounds(counts: Int[Array, "S A"], delta: float) -> tuple[Table, Table]:
    """Bounds that hold for the probabilities of all cells at once with confidence 1 - delta.

    Clopper and Pearson's exact interval for each cell, at delta / cells (Bonferroni).

    Raises:
        ValueError: no samples, a negative count, delta outside (0, 1).
    """
    n = int(counts.sum())
    if n < 1 or (counts < 0).any():
        raise ValueError("counts must be non-negative, with at least one sample.")
    if not 0 < delta < 1:
        raise ValueError(f"delta must lie strictly between 0 and 1; got {delta}.")
    tail = delta / (2 * counts.size)
    low = np.where(counts > 0, betaincinv(np.maximum(counts, 1), n - counts + 1, tail), 0.0)
    high = np.where(counts < n, betaincinv(counts + 1, np.maximum(n - counts, 1), 1 - tail), 1.0)
    return low, high


def margin_interval(
    mdp: TabularMDP, counts: Int[Array, "S A"], L: float, delta: float = 0.05
) -> tuple[float, float]:
    """Delta_L(D) lies in this interval with confidence 1 - delta, D known by samples only."""
    table = policy_table(mdp)
    bad = table.regret >= min(L, table.regret[-1]) - 1e-12
    chosen = PolicyTable(*(part[bad] for part in table))
    low, high = (_scaled(mdp, bound, chosen).min() for bound in count_bounds(counts, delta))
    return float(low), float(high)


def _scaled(mdp: TabularMDP, weights: Table, table: PolicyTable) -> Float[Array, " n"]:
    """Margins for weights that need not sum to one."""
    total = float(weights.sum())
    if total == 0:
        return np.zeros(len(table.regret))
    return total * table_margins(mdp, weights / total, table).value


def mean_bound(losses: Float[Array, " n"], most: float, delta: float) -> float:
    """Upper bound of the mean of losses in [0, most], with confidence 1 - delta.

    The empirical Bernstein inequality (Maurer and Pontil, 2009, theorem 4).
    """
    n = len(losses)
    if n < 2:
        return most
    if losses.min() < 0 or losses.max() > most * (1 + 1e-12):
        raise ValueError(f"Losses must lie in [0, {most}].")
    log = float(np.log(2 / delta))
    spread = float(np.sqrt(2 * losses.var(ddof=1) * log / n))
    return min(most, float(losses.mean()) + spread + 7 * most * log / (3 * (n - 1)))


class Learned(NamedTuple):
    """One reward learned from n samples, and what can be said of it.

    Attributes:
        error: err_D(R-hat), exact. regret: of R-hat's optimal policy. worst: W(error), the largest
            regret that any reward of this error may have. certified: the same from samples alone,
            with confidence. margin_low, margin_high: interval of eps* = Delta_L / range R.
    """

    error: float
    regret: float
    worst: float
    certified: float
    margin_low: float
    margin_high: float


def learn(
    mdp: TabularMDP, D: Table, table: PolicyTable, n: int, rng: np.random.Generator, *,
    noise: float, L: float, delta: float = 0.05,
) -> Learned:  # fmt: skip
    """Draw n cells from D with noisy rewards, fit a tabular reward, optimise it, and certify.

    Half of the samples train R-hat (cell means, clipped to R's range; unseen cells its middle); the
    other half are labelled without noise and bound the error. The certificate spends delta / 2 on
    the error and delta / 2 on D.
    """
    cells = rng.choice(D.size, n, p=D.ravel())
    train, held = cells[: n // 2], cells[n // 2 :]
    labels = mdp.R.ravel()[train] + noise * rng.standard_normal(len(train))
    seen = np.bincount(train, minlength=D.size)
    total = np.bincount(train, labels, minlength=D.size)
    middle = 0.5 * (mdp.R.min() + mdp.R.max())
    fitted = np.divide(total, seen, out=np.full(D.size, middle), where=seen > 0)
    reward_hat = np.clip(fitted, mdp.R.min(), mdp.R.max()).reshape(D.shape)
    gap = np.abs(reward_hat - mdp.R)
    error = float(np.sum(D * gap)) / mdp.range_R
    counts = np.bincount(cells, minlength=D.size).reshape(D.shape)
    low, high = count_bounds(counts, delta / 2)
    budget = mean_bound(gap.ravel()[held], mdp.range_R, delta / 2)
    lower, upper = (_scaled(mdp, bound, table) for bound in (low, high))
    exact = table_margins(mdp, D, table).value
    bad = table.regret >= min(L, table.regret[-1]) - 1e-12
    slack = 1e-9 * mdp.range_R
    return Learned(
        error,
        regret(mdp, optimal_policy(mdp, reward_hat)[0]),
        float(table.regret[exact <= error * mdp.range_R + slack].max()),
        float(table.regret[lower <= budget + slack].max()),
        float(lower[bad].min()) / mdp.range_R,
        float(upper[bad].min()) / mdp.range_R,
    )
