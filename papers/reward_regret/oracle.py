"""Exact answers by other means: closed forms, and the programmes as the paper's text has them."""

from __future__ import annotations

from itertools import product

import numpy as np
from jaxtyping import Float
from scipy.optimize import linprog

from papers.reward_regret.method import TabularMDP, occupancy, returns, support

Array = np.ndarray
Table = Float[Array, "S A"]


def chain_margin(D: Float[Array, "2 2"]) -> float:
    """Delta_L of `env.chain(0.9)` for every 0 < L <= 1, by hand."""
    return float(min(0.9 * D[0, 0], 19 / 9 * D[0, 1], D[1, 0], 1.9 * D[1, 1]))


def bandit_margin(D: Float[Array, " A"], R: Float[Array, " A"], L: float) -> float:
    """Delta_L of a bandit: a bad arm is best at a level v if it is raised to v and better ones are
    lowered to v; the cost is piecewise linear in v with corners at the rewards."""
    level = (1 - L) * R.max() + L * R.min()
    bad = np.flatnonzero(level + 1e-12 >= R)
    costs = [
        D[b] * abs(v - R[b]) + D @ np.maximum(np.where(np.arange(len(R)) == b, v, R) - v, 0)
        for b in bad
        for v in R
    ]
    return float(min(costs))


def margin_by_policies(mdp: TabularMDP, D: Table, pi: Table) -> float:
    """Delta_pi(D) from the definition: no deterministic policy has a larger <eta, R-hat>.

    Exponentially many rows, and nothing in common with value functions.
    """
    states, actions = mdp.R.shape
    eye = np.eye(actions)
    every = [eye[list(a)] for a in product(range(actions), repeat=states)]
    rows = np.stack([(occupancy(mdp, other) - occupancy(mdp, pi)).ravel() for other in every])
    cells = mdp.R.size
    none = np.zeros((len(rows), cells))
    eye = np.eye(cells)
    found = linprog(  # columns R-hat, t
        np.concatenate([np.zeros(cells), D.ravel()]),
        A_ub=np.vstack([np.hstack([rows, none]), np.hstack([eye, -eye]), np.hstack([-eye, -eye])]),
        b_ub=np.concatenate([np.zeros(len(rows)), mdp.R.ravel(), -mdp.R.ravel()]),
        bounds=[(None, None)] * cells + [(0, None)] * cells,
    )
    return float(found.fun)


def margin_by_values(
    mdp: TabularMDP, D: Table, pi: Table, boxed: tuple[float | None, float | None] = (None, None)
) -> float:
    """Delta_pi(D) as the primal: variables R-hat, V, t; Bellman rows, equalities on the support."""
    states, actions = mdp.R.shape
    cells, on = mdp.R.size, support(mdp, pi).ravel()
    bellman = np.zeros((cells, states))
    for s in range(states):
        for a in range(actions):
            bellman[s * actions + a] = mdp.gamma * mdp.P[s, a]
            bellman[s * actions + a, s] -= 1
    eye, flat, zero = np.eye(cells), np.zeros((cells, states)), np.zeros((cells, cells))
    R = mdp.R.ravel()
    rows = np.hstack([eye, bellman, zero])
    found = linprog(
        np.concatenate([np.zeros(cells + states), D.ravel()]),
        A_ub=np.vstack([np.hstack([eye, flat, -eye]), np.hstack([-eye, flat, -eye]), rows]),
        b_ub=np.concatenate([R, -R, np.zeros(cells)]),
        A_eq=rows[on],
        b_eq=np.zeros(int(on.sum())),
        bounds=[boxed] * cells + [(None, None)] * states + [(0, None)] * cells,
    )
    return float(found.fun)


def regrets_by_hand(mdp: TabularMDP) -> dict[tuple[int, ...], float]:
    """Normalised regret of every deterministic policy, by its actions."""
    states, actions = mdp.R.shape
    J = {
        chosen: returns(mdp, np.eye(actions)[list(chosen)])
        for chosen in product(range(actions), repeat=states)
    }
    highest, lowest = max(J.values()), min(J.values())
    return {chosen: (highest - value) / (highest - lowest) for chosen, value in J.items()}


def kl_bandit_margin_search(
    D: Float[Array, " A"], pi_ref: Float[Array, " A"], R: Float[Array, " A"], L: float, lam: float,
    rng: np.random.Generator, starts: int = 20,
) -> float:  # fmt: skip
    """`regularised.kl_bandit_margin` by search (SLSQP from random starts): an upper bound."""
    from scipy.optimize import minimize

    level = (1 - L) * R.max() + L * R.min()

    def slack(change: Array) -> float:
        logits = np.log(pi_ref) + (R + change[: len(R)] - change[len(R) :]) / lam
        weights = np.exp(logits - logits.max())
        return float(level - weights @ R / weights.sum())

    best = np.inf
    cost = np.concatenate([D, D])
    for _ in range(starts):
        found = minimize(
            lambda change: cost @ change,
            rng.exponential(2.0, 2 * len(R)) * (rng.random(2 * len(R)) < 0.5),
            jac=lambda change: cost,
            method="SLSQP",
            bounds=[(0, 50)] * (2 * len(R)),
            constraints={"type": "ineq", "fun": slack},
            options={"maxiter": 400, "ftol": 1e-13},
        )
        if slack(found.x) >= -1e-9:
            best = min(best, float(found.fun))
    return best
