"""Exact answers on a 5 x 5 grid: values, where environments are, how much a gradient varies.

The grid is that of `envs.grid`, as matrices: 24 cells, four moves under a uniform policy, a reward
of 1 for reaching the last corner, which ends the episode; the next one starts anywhere. NumPy in
float64, independent of the training code, which the tests compare with it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

Array = np.ndarray
MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1))


class Grid(NamedTuple):
    """Where each move leads (the goal is number S), and what follows from it.

    Attributes:
        target: [S, A], S = side^2 - 1 cells that are not the goal.
        values: [S], expected discounted return of the uniform policy.
        visits: [S], share of time that environments which reset by themselves spend in each cell.
    """

    target: Int[Array, "S A"]
    values: Float[Array, " S"]
    visits: Float[Array, " S"]


def grid(side: int = 5, gamma: float = 0.99) -> Grid:
    """The grid's matrices, by two linear systems."""
    S = side * side - 1
    target = np.empty((S, len(MOVES)), np.int64)
    for cell in range(S):
        for a, (down, right) in enumerate(MOVES):
            row = min(max(cell // side + down, 0), side - 1)
            column = min(max(cell % side + right, 0), side - 1)
            target[cell, a] = row * side + column
    moves = np.zeros((S, S + 1))
    for a in range(len(MOVES)):
        np.add.at(moves, (np.arange(S), target[:, a]), 1 / len(MOVES))
    stays, ends = moves[:, :S], moves[:, S]
    values = np.linalg.solve(np.eye(S) - gamma * stays, ends)
    chain = stays + ends[:, None] / S  # an end is followed by a start anywhere
    system = np.vstack([chain.T - np.eye(S), np.ones(S)])
    visits = np.linalg.lstsq(system, np.append(np.zeros(S), 1.0), rcond=None)[0]
    return Grid(target, values, visits)


def gradient_variance(
    rng: np.random.Generator, N: int, T: int, batches: int, gamma: float = 0.99, lam: float = 0.95
) -> float:
    """Trace of the covariance of a batch's policy gradient, tabular softmax policy, exact critic.

    N environments that have run for long take T steps each; advantages are GAE's with the true
    values, so the gradient's mean is the same for all splits of a batch and only its spread is not.
    """
    world = grid(gamma=gamma)
    S, A = world.target.shape
    state = rng.choice(S, size=(batches, N), p=world.visits)
    states, actions, deltas, ends = [], [], [], []
    values = np.append(world.values, 0.0)
    for _ in range(T):
        action = rng.integers(A, size=state.shape)
        following = world.target[state, action]
        end = following == S
        states.append(state)
        actions.append(action)
        deltas.append(end + gamma * values[following] - values[state])
        ends.append(end)
        state = np.where(end, rng.integers(S, size=state.shape), following)
    gradient = np.zeros((batches, S, A))
    advantage = np.zeros(state.shape)
    batch = np.broadcast_to(np.arange(batches)[:, None], state.shape)
    for s, a, delta, end in zip(*(x[::-1] for x in (states, actions, deltas, ends)), strict=True):
        advantage = delta + gamma * lam * ~end * advantage
        np.add.at(gradient, (batch, s, a), advantage)  # d log pi / d logits = one-hot(a) - pi
        np.add.at(gradient, (batch, s), -advantage[..., None] / A)
    return float((gradient / (N * T)).var(axis=0, ddof=1).sum())


def error_left_by_recursion(gamma: float, lam: float, T: int) -> Float[Array, " T"]:
    """Share of a constant error of the critic in each target of a rollout, by GAE's recursion.

    Rewards do not matter, so they are 0, the true values as well, and the critic says 1.
    """
    advantage, left = 0.0, np.empty(T)
    for t in reversed(range(T)):
        advantage = gamma * 1.0 - 1.0 + gamma * lam * advantage
        left[t] = advantage + 1.0
    return left
