"""What is not in the paper but follows from it: W(eps) as a whole, and a sharper closed bound."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from papers.reward_regret.batched import table_margins
from papers.reward_regret.method import (
    TOLERANCE,
    TabularMDP,
    check_data,
    check_level,
    j_bounds,
    occupancy,
    optimal_policy,
    policy_table,
)

Array = np.ndarray
Table = Float[Array, "S A"]


def regret_curve(mdp: TabularMDP, D: Table) -> tuple[Float[Array, " k"], Float[Array, " k"]]:
    """The steps of `method.worst_case_regret` over eps, from the margins of all policies.

    Returns:
        errors, regrets: W(eps) = regrets[i] for errors[i] <= eps < errors[i + 1]; errors[0] = 0.
    """
    table = policy_table(mdp)
    errors = np.maximum(table_margins(mdp, check_data(mdp, D), table).value, 0.0) / mdp.range_R
    errors[errors < TOLERANCE] = 0.0
    order = np.lexsort((-table.regret, errors))
    errors, worst = errors[order], np.maximum.accumulate(table.regret[order])
    rises = np.flatnonzero(np.diff(worst, prepend=-1.0) > 0)
    last = np.append(np.diff(errors[rises]) > 0, True)  # of several rises at one error
    return errors[rises[last]], worst[rises[last]]


def occupancy_bound(mdp: TabularMDP, D: Table, L: float) -> float:
    """(7) with each cell's own largest |eta* - eta|, one planning problem a cell; never smaller.

    eps below L (range J / range R) min_{s,a} D(s, a) / c(s, a) makes D safe, where
    c = max(eta*, max_pi eta^pi - eta*); cells that no policy visits do not count. (8)
    """
    D, star = check_data(mdp, D), occupancy(mdp, optimal_policy(mdp)[0])
    most = np.empty_like(star)
    for s, a in np.ndindex(star.shape):
        unit = np.zeros_like(star)
        unit[s, a] = 1.0
        most[s, a] = mdp.mu0 @ optimal_policy(mdp, unit)[1]
    change = np.maximum(star, most - star)
    ratio = np.divide(D, change, out=np.full_like(D, np.inf), where=change > 1e-15)
    lowest, highest = j_bounds(mdp)
    return check_level(L) * (highest - lowest) / mdp.range_R * float(ratio.min())
