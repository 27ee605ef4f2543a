"""The MDPs: four small ones with known answers, random ones with planted ties, a grid.

The paper's own examples are drawn in figures that could not be read; M1 to M4 are stand-ins that
satisfy everything its text says about them. Actions and states count from 0; "self" means that the
state is never left.

    M1  tri-state     standard annealing and decoupling disagree at one state (its figure 3.1)
    M2  lottery       equal means, different laws (its figures 4.2 to 4.4)
    M3  scary action  annealing all but commits to an action of reference mass 0.01 (appendix D)
    M4  tie-flip      iterates of T* that never settle (its figure 4.1)

All arrays are NumPy, float64; nothing here imports jax.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from papers.temperature_decoupling.method import Successors, TabularMDP

Array = np.ndarray


class Example(NamedTuple):
    """An MDP with its reference policy [S, A]."""

    mdp: TabularMDP
    pi_ref: Float[Array, "*batch S A"]


def _example(
    gamma: float,
    rows: Sequence[Sequence[tuple[Any, Mapping[int, Any]]]],
    pi_ref: Array | None = None,
) -> Example:
    """From (reward, {next state: probability}) for each state and action; uniform reference."""
    S, A = len(rows), len(rows[0])
    P, r = np.zeros((S, A, S)), np.zeros((S, A))
    for x, actions in enumerate(rows):
        for a, (reward, after) in enumerate(actions):
            r[x, a] = reward
            for y, p in after.items():
                P[x, a, y] = p
    uniform = np.full((S, A), 1 / A)
    return Example(TabularMDP(P, r, gamma), uniform if pi_ref is None else pi_ref)


def tri_state() -> Example:
    """M1: x0 leads to x1, where both actions are optimal for ever, or to x2, where one is."""
    return _example(
        0.9,
        [
            [(0, {1: 1}), (0, {2: 1})],
            [(1, {1: 1}), (1, {1: 1})],
            [(1, {2: 1}), (0, {2: 1})],
        ],
    )


LOTTERY_STATES = ("x0", "x1", "S", "Win", "Lose", "U")


def lottery() -> Example:
    """M2: at x1 a sure return (action 0, blue) and a lottery (action 1, green) of the same mean."""
    return _example(
        0.5,
        [
            [(0, {1: 1}), (0, {5: 1})],
            [(0, {2: 1}), (0, {3: 0.5, 4: 0.5})],
            [(2, {2: 1}), (0, {2: 1})],
            [(4, {3: 1}), (4, {3: 1})],
            [(0, {4: 1}), (0, {4: 1})],
            [(1, {5: 1}), (1, {5: 1})],
        ],
    )


def scary_action() -> Example:
    """M3: at x0 the reference plays action 0 once in a hundred times; behind it all is optimal."""
    pi_ref = np.full((3, 4), 0.25)
    pi_ref[0] = (0.01, 0.33, 0.33, 0.33)
    good = [(1, {1: 1})] * 4
    return _example(
        0.9,
        [
            [(0, {1: 1}), (0, {2: 1}), (-1, {2: 1}), (-1, {2: 1})],
            good,
            [(1, {2: 1}), (0, {2: 1}), (0, {2: 1}), (0, {2: 1})],
        ],
        pi_ref,
    )


TIE_FLIP_START = np.array([[1, 1], [2, 2], [4.5, 4.5], [3.5, 3.5], [8, 8], [0, 0.0]])
"""Means of point masses from which the greedy choice at x1 alternates, [S, A]."""


def tie_flip() -> Example:
    """M4: the error of c0 flips its sign in every step, and with it the greedy choice at x1."""
    return _example(
        0.5,
        [
            [(0, {1: 1}), (0, {1: 1})],
            [(0, {2: 1}), (0, {4: 0.5, 5: 0.5})],
            [(2, {3: 1}), (2, {3: 1})],
            [(2, {2: 1}), (2, {2: 1})],
            [(4, {4: 1}), (4, {4: 1})],
            [(0, {5: 1}), (0, {5: 1})],
        ],
    )


# --- Random MDPs ----------------------------------------------------------------------------------


class Planted(NamedTuple):
    """A random MDP whose optimal actions and values are known by construction.

    Attributes:
        mdp, pi_ref: as in `Example`. optimal: N(x), bool [S, A]. q: q*, [S, A].
    """

    mdp: TabularMDP
    pi_ref: Float[Array, "*batch S A"]
    optimal: Bool[Array, "*batch S A"]
    q: Float[Array, "*batch S A"]


LEAST_GAP = 0.25
"""Smallest distance of a planted suboptimal action from the best."""


def planted(seed: int, states: int = 5, actions: int = 3, successors: int = 3) -> Planted:
    """Random MDP number `seed`: sparse P, skewed reference, discount in [0.3, 0.9], planted ties.

    Values and gaps come first, rewards follow: r = V - gap - gamma P V, gap = 0 on N(x). Each
    state has one optimal action at least, each other one is optimal with probability 1/2.
    Numbers are dyadic where that keeps ties exact; transitions are multiples of 1/16.
    """
    rng = np.random.default_rng([seed, 2510_08526])
    gamma = rng.integers(5, 15) / 16
    P = np.zeros((states, actions, states))
    for x in range(states):
        for a in range(actions):
            after = rng.choice(states, successors, replace=False)
            cuts = np.sort(rng.choice(np.arange(1, 16), successors - 1, replace=False))
            P[x, a, after] = np.diff(np.concatenate([[0], cuts, [16]])) / 16
    value = rng.integers(-32, 33, states) / 16
    optimal = rng.random((states, actions)) < 0.5
    optimal[np.arange(states), rng.integers(actions, size=states)] = True
    gap = np.where(optimal, 0, LEAST_GAP + rng.integers(0, 17, (states, actions)) / 16)
    q = value[:, None] - gap
    pi_ref = rng.integers(1, 9, (states, actions)).astype(float)
    pi_ref /= pi_ref.sum(1, keepdims=True)
    return Planted(TabularMDP(P, q - gamma * (P @ value), gamma), pi_ref, optimal, q)


def planted_batch(seeds: tuple[int, ...], **sizes: int) -> Planted:
    """Random MDPs of these numbers, stacked on a first axis."""
    found = [planted(seed, **sizes) for seed in seeds]
    mdp = TabularMDP(*(np.stack(field) for field in zip(*(one.mdp for one in found), strict=True)))
    rest = (np.stack(field) for field in zip(*(one[1:] for one in found), strict=True))
    return Planted(mdp, *rest)


def random_dense(seed: int, count: int, states: int = 50, actions: int = 4) -> TabularMDP:
    """`count` dense random MDPs at discount 0.9 without structure, stacked; for speed only."""
    rng = np.random.default_rng(seed)
    P = rng.random((count, states, actions, states))
    P /= P.sum(-1, keepdims=True)
    return TabularMDP(P, rng.random((count, states, actions)), np.full(count, 0.9))


def random_sparse(
    seed: int, states: int = 10_000, actions: int = 8, successors: int = 4
) -> Example:
    """A large random MDP, `successors` next states for each pair; uniform reference."""
    rng = np.random.default_rng(seed)
    shape = (states, actions, successors)
    prob = rng.random(shape)
    prob /= prob.sum(-1, keepdims=True)
    after = Successors(rng.integers(0, states, shape, dtype=np.int32), prob)
    rewards = rng.random((states, actions))
    uniform = np.full((states, actions), 1 / actions)
    return Example(TabularMDP(after, rewards, 0.9), uniform)


# --- The grid -------------------------------------------------------------------------------------

GRID = 5
"""Cells on a side."""
MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1))  # up, down, left, right
GRID_START = (GRID - 1) * GRID + GRID // 2
PARK, BUTTON = 0, GRID - 1
"""The goals: top left, where every action earns 1, and top right, where only `up` does."""


def two_goals(gamma: float = 0.9) -> Example:
    """A grid with two goals, equally far from the start and equally good, and never left again.

    From the bottom's middle, 15 shortest paths lead to each. At the park every action earns 1 a
    step, at the button only one of four does: optimal play is equally rewarded, but at the button
    it deviates from the reference for ever, and standard annealing avoids that goal.
    """
    rows = []
    for cell in range(GRID * GRID):
        i, j = divmod(cell, GRID)
        if cell in (PARK, BUTTON):
            rows.append([(float(cell == PARK or a == 0), {cell: 1.0}) for a in range(4)])
            continue
        places = [(i + di, j + dj) for di, dj in MOVES]
        inside = [(min(max(y, 0), GRID - 1), min(max(x, 0), GRID - 1)) for y, x in places]
        rows.append([(0.0, {y * GRID + x: 1.0}) for y, x in inside])
    return _example(gamma, rows)
