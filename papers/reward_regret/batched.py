"""Margins of many policies, of one MDP or of many, in one vectorised simplex method.

`method.policy_margin` hands HiGHS one linear programme a policy; most of that time is set-up. The
dual (3) of a deterministic policy has S equations, simple bounds and a feasible basis for free: the
policy's own cells at y = 0, where the multipliers V are the policy's value function. So all of
them can pivot together. Every answer carries both its bounds; where they do not meet (never seen)
HiGHS decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import linprog

from papers.reward_regret.method import (
    PolicyTable,
    TabularMDP,
    check_data,
    policy_table,
    support,
)

Array = np.ndarray
CHUNK = 4096  # programmes that pivot together
_REFRESH = 40  # pivots after which inverses are computed anew
_STEP = 1e-11  # smallest slope and pivot that count


class Margins(NamedTuple):
    """Margins of n policies, as `method.Margin`; `lower` is the dual's certified lower bound."""

    value: Float[Array, " n"]
    lower: Float[Array, " n"]
    reward_hat: Float[Array, "n S A"]


class Programmes(NamedTuple):
    """n of the programmes (3); a first axis of length 1 is shared by all."""

    P: Float[Array, "_ S A S"]
    R: Float[Array, "_ S A"]
    gamma: Float[Array, " _"]
    D: Float[Array, "n S A"]
    actions: Int[Array, "n S"]
    on: Bool[Array, "n S A"]


def policy_margins(mdp: TabularMDP, D: Float[Array, "S A"], actions: Int[Array, "n S"]) -> Margins:
    """`method.policy_margin` of n deterministic policies of one MDP.

    Raises:
        ValueError: D is no distribution; an action does not exist, with its policy and state.
    """
    D, count = check_data(mdp, D), mdp.R.shape[1]
    wrong = np.argwhere((actions < 0) | (actions >= count))
    if len(wrong):
        i, s = wrong[0]
        raise ValueError(
            f"Policy {i} takes action {actions[i, s]} in state {s} of {count} actions."
        )
    on = np.stack([support(mdp, np.eye(count)[row]) for row in actions])
    return _table_margins(mdp, D, actions, on)


def table_margins(mdp: TabularMDP, D: Float[Array, "S A"], table: PolicyTable) -> Margins:
    """The same for a policy table, whose supports are known."""
    return _table_margins(mdp, D, table.actions, table.support)


def _table_margins(mdp: TabularMDP, D: Array, actions: Array, on: Array) -> Margins:
    parts = []
    for i in range(0, len(actions), CHUNK):
        part = slice(i, i + CHUNK)
        every = np.broadcast_to(D, (len(actions[part]), *D.shape))
        one = np.array([mdp.gamma])
        problem = Programmes(mdp.P[None], mdp.R[None], one, every, actions[part], on[part])
        parts.append(solve(problem))
    return Margins(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def safety_margins(
    mdps: Sequence[TabularMDP],
    D: Float[Array, "n S A"],
    L: float,
    tables: Sequence[PolicyTable] | None = None,
) -> tuple[Margins, Int[Array, " n"]]:
    """`method.safety_margin` of n MDPs of one size, each with its own D, and the policies' indices.

    Args:
        tables: their policy tables, if at hand.
    """
    tables = [policy_table(mdp) for mdp in mdps] if tables is None else tables
    bad = [np.flatnonzero(t.regret >= min(L, t.regret[-1]) - 1e-12) for t in tables]
    which = np.repeat(np.arange(len(mdps)), [len(b) for b in bad])
    found = solve(
        Programmes(
            np.stack([mdp.P for mdp in mdps])[which],
            np.stack([mdp.R for mdp in mdps])[which],
            np.array([mdp.gamma for mdp in mdps])[which],
            D[which],
            np.concatenate([t.actions[b] for t, b in zip(tables, bad, strict=True)]),
            np.concatenate([t.support[b] for t, b in zip(tables, bad, strict=True)]),
        )
    )
    starts = np.cumsum([0, *(len(b) for b in bad)])
    least = [int(np.argmin(found.value[i:j])) for i, j in pairwise(starts)]
    pick = starts[:-1] + np.array(least)
    # The certificate of a minimum is the least of the lower bounds.
    lower = np.minimum.reduceat(found.lower, starts[:-1])
    index = np.array([b[i] for b, i in zip(bad, least, strict=True)])
    return Margins(found.value[pick], lower, found.reward_hat[pick]), index


def solve(problem: Programmes) -> Margins:
    """Solve all, check both bounds of each, and let HiGHS decide where they are apart."""
    n, states, actions = problem.on.shape
    E = np.eye(states)[:, None, :] - problem.gamma[:, None, None, None] * problem.P
    E = np.swapaxes(E.reshape(len(E), states * actions, states), 1, 2)  # [1 or n, S, SA]
    R = problem.R.reshape(len(problem.R), -1)
    flat = problem.D.reshape(n, -1)
    low, high = np.where(problem.on.reshape(n, -1), -flat, 0.0), flat
    start = np.arange(states) * actions + problem.actions
    V, y = _simplex(E, np.broadcast_to(R, flat.shape), low, high, start)
    found = _bounds(problem, E, R, V, y)
    width = np.ptp(R, axis=1) + np.zeros(n)
    apart = ~(np.abs(found.value - found.lower) <= 1e-9 * np.maximum(width, 1e-300))
    for i in np.flatnonzero(apart):
        shared = 0 if len(E) == 1 else i
        options = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
        exact = linprog(-R[shared], A_eq=E[shared], b_eq=np.zeros(states), options=options,
                        bounds=np.stack([low[i], high[i]], axis=1))  # fmt: skip
        V[i], y[i] = -exact.eqlin.marginals, exact.x
    return _bounds(problem, E, R, V, y) if apart.any() else found


def _bounds(problem: Programmes, E: Array, R: Array, V: Array, y: Array) -> Margins:
    """The cost of the reward that V makes, and <y, R> less what y fails to balance."""
    shape, R = problem.on.shape, np.broadcast_to(R, y.shape)
    needed = np.matmul(V[:, None, :], E)[:, 0]
    on = problem.on.reshape(y.shape)
    reward_hat = np.where(on, needed, np.minimum(R, needed))
    value = np.sum(problem.D.reshape(y.shape) * np.abs(reward_hat - R), axis=1)
    residual = np.abs(np.matmul(E, y[:, :, None])[:, :, 0])
    lower = np.sum(y * R, axis=1) - np.sum(residual * np.abs(V), axis=1)
    return Margins(value, lower, reward_hat.reshape(shape))


class _State(NamedTuple):
    """Simplex tableaus: inverse basis, basic columns and their values, columns at upper bounds."""

    inverse: Array
    basis: Array
    x: Array
    at_upper: Array


def _simplex(E: Array, R: Array, low: Array, high: Array, start: Array) -> tuple[Array, Array]:
    """Bounded primal simplex from the basis `start` at y = 0; V [n, S] and y [n, SA]."""
    n, cells = R.shape
    states = E.shape[1]
    state = _State(
        np.linalg.inv(_columns(E, start)), start.copy(), np.zeros(start.shape),
        np.zeros((n, cells), dtype=bool),
    )  # fmt: skip
    V, y = np.zeros((n, states)), np.zeros((n, cells))
    alive = np.arange(n)
    limit = 60 * (cells + states)
    for step in range(limit + 1):
        V_now, score = _prices(E, R, low, high, state)
        stop = score.max(axis=1) <= _STEP if step < limit else np.ones(len(alive), dtype=bool)
        if stop.any():
            V[alive[stop]] = V_now[stop]
            y[alive[stop]] = _whole(low, high, state)[stop]
            keep = ~stop
            if not keep.any():
                break
            E = E if len(E) == 1 else E[keep]
            R, low, high, alive, score = R[keep], low[keep], high[keep], alive[keep], score[keep]
            state = _State(*(part[keep] for part in state))
        # Largest slope first; after long stalls the first one, which cannot cycle (Bland, 1977).
        bland = step > limit // 2
        enter = (score > _STEP).argmax(axis=1) if bland else score.argmax(axis=1)
        state = _pivot(E, low, high, state, enter, bland)
        if step % _REFRESH == _REFRESH - 1:
            state = _refreshed(E, low, high, state)
    return V, y


def _prices(E: Array, R: Array, low: Array, high: Array, state: _State) -> tuple[Array, Array]:
    """V, and how much the objective gains per unit that each column may move."""
    basic = np.take_along_axis(R, state.basis, 1)
    V = np.matmul(basic[:, None, :], state.inverse)[:, 0]
    slope = R - np.matmul(V[:, None, :], E)[:, 0]
    score = np.where(state.at_upper, -slope, slope)
    score[high <= low] = 0  # fixed columns do not move
    np.put_along_axis(score, state.basis, 0.0, 1)
    return V, score


def _pivot(E: Array, low: Array, high: Array, state: _State, enter: Array, bland: bool) -> _State:
    """Move one column in every programme until it or a basic column meets a bound."""
    inverse, basis, x, at_upper = state
    rows = np.arange(len(enter))
    sign = np.where(at_upper[rows, enter], -1.0, 1.0)
    w = np.matmul(inverse, _columns(E, enter[:, None]))[:, :, 0]
    change = -sign[:, None] * w  # of the basic values, per unit of the entering column
    bound = np.where(change > 0, np.take_along_axis(high, basis, 1),
                     np.take_along_axis(low, basis, 1))  # fmt: skip
    room = np.full_like(x, np.inf)
    np.divide(bound - x, change, out=room, where=np.abs(change) > _STEP)
    room = np.maximum(room, 0)
    least = room.min(axis=1)
    tie = room <= least[:, None] + 1e-14  # the largest pivot of a tie is the most accurate
    order = np.where(tie, -basis, -np.inf) if bland else np.where(tie, np.abs(change), -1.0)
    leave = order.argmax(axis=1)
    own = high[rows, enter] - low[rows, enter]
    flip = own <= least
    x = x + np.minimum(own, least)[:, None] * change
    at_upper = at_upper.copy()
    at_upper[rows[flip], enter[flip]] ^= True
    p, out = rows[~flip], leave[~flip]
    moved = np.where(at_upper[p, enter[p]], high[p, enter[p]], low[p, enter[p]])
    moved = moved + sign[p] * least[p]
    at_upper[p, basis[p, out]] = change[p, out] > 0
    at_upper[p, enter[p]] = False
    x[p, out], basis = moved, basis.copy()
    basis[p, out] = enter[p]
    pivot_row = inverse[p, out] / w[p, out][:, None]
    update = w[p][:, :, None] * pivot_row[:, None, :]
    inverse = inverse.copy()
    inverse[p] -= update
    inverse[p, out] = pivot_row
    return _State(inverse, basis, x, at_upper)


def _refreshed(E: Array, low: Array, high: Array, state: _State) -> _State:
    """The same state without the rounding errors of its pivots."""
    inverse = np.linalg.inv(_columns(E, state.basis))
    y = _nonbasic(low, high, state)
    x = -np.matmul(inverse, np.matmul(E, y[:, :, None]))[:, :, 0]
    return state._replace(inverse=inverse, x=x)


def _nonbasic(low: Array, high: Array, state: _State) -> Array:
    """y with the basic columns at 0 and the others at their bounds."""
    y = np.where(state.at_upper, high, low)
    np.put_along_axis(y, state.basis, 0.0, 1)
    return y


def _whole(low: Array, high: Array, state: _State) -> Array:
    y = _nonbasic(low, high, state)
    np.put_along_axis(y, state.basis, state.x, 1)
    return y


def _columns(E: Array, index: Array) -> Array:
    """Columns index [n, k] of each E, as [n, S, k]."""
    if len(E) == 1:
        return np.moveaxis(E[0][:, index], 0, 1)
    return np.take_along_axis(E, index[:, None, :], 2)
