"""The game on a corridor of seven states, solved exactly in double precision.

Independent of `method.py`: plain NumPy, used by the tests to check it and by claim C1. A state is a
cell 0 ... 6; left and right move by one and reflect at the ends; left earns 1, right 1/2; cell 0 is
forbidden. The expert is optimal for the reward minus 10 in cell 0.

    (3.2)  g(c, lambda) = J_{r - lambda c}(E) + alpha H(E) - max_pi [J_{r - lambda c}(pi) + alpha H(pi)]
    (3.3)  g(c) = the same with lambda = 1

J are discounted sums from the start state, H discounted entropies.
"""  # noqa: E501

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Array = np.ndarray
PENALTY = 10.0


@dataclass(frozen=True)
class Corridor:
    """A chain whose first state is forbidden; rewards depend on the action alone."""

    states: int = 7
    start: int = 3
    gamma: float = 0.9
    left: float = 1.0
    right: float = 0.5
    alpha: float = 0.2

    @property
    def transition(self) -> Float[Array, "S 2 S"]:
        """P(s' | s, a), action 0 left and 1 right."""
        eye, s = np.eye(self.states), np.arange(self.states)
        return np.stack([eye[np.maximum(s - 1, 0)], eye[np.minimum(s + 1, self.states - 1)]], 1)

    @property
    def reward(self) -> Float[Array, "S 2"]:
        """R(s, a)."""
        return np.tile([self.left, self.right], (self.states, 1))

    @property
    def first(self) -> Float[Array, " S"]:
        """The start law, a point mass."""
        return np.eye(self.states)[self.start]

    @property
    def forbidden(self) -> Float[Array, " S"]:
        """1 in the forbidden state."""
        return np.eye(self.states)[0]


def soft_optimal(
    world: Corridor, reward: Float[Array, "S 2"], tolerance: float = 1e-13
) -> tuple[Float[Array, "S 2"], Float[Array, " S"]]:
    """Policy and values that maximise reward + alpha entropy, by soft policy iteration (Newton)."""
    v, move, eye = np.zeros(world.states), world.transition, np.eye(world.states)
    while True:
        q = reward + world.gamma * move @ v
        top = q.max(axis=1)
        soft = top + world.alpha * np.log(np.exp((q - top[:, None]) / world.alpha).sum(axis=1))
        pi = np.exp((q - soft[:, None]) / world.alpha)
        if np.abs(soft - v).max() <= tolerance * max(1.0, np.abs(soft).max()):
            return pi, soft
        # Its reward with the entropy bonus: alpha (-log pi) = soft - q, written without the log.
        earned = (pi * (reward + soft[:, None] - q)).sum(axis=1)
        v = np.linalg.solve(eye - world.gamma * np.einsum("sa,sat->st", pi, move), earned)


def occupancies(world: Corridor, pi: Float[Array, "S 2"]) -> Float[Array, "S 2"]:
    """Normalised discounted occupancy of pairs: (1 - gamma) times the sum of (gamma P)^t.

    The sum is doubled nine times, to 512 terms; what is left out is below 1e-23.
    """
    flow = world.gamma * np.einsum("sa,sat->st", pi, world.transition)
    total = np.eye(world.states)
    for _ in range(9):
        total, flow = total + flow @ total, flow @ flow
    return ((1 - world.gamma) * world.first @ total)[:, None] * pi


def value(world: Corridor, pi: Float[Array, "S 2"], reward: Float[Array, "S 2"]) -> float:
    """J: the discounted sum of `reward` from the start."""
    return float((occupancies(world, pi) * reward).sum() / (1 - world.gamma))


def entropy(world: Corridor, pi: Float[Array, "S 2"]) -> float:
    """H: the discounted sum of the policy's entropies."""
    return value(world, pi, -np.log(np.maximum(pi, 1e-300)))


def expert(world: Corridor) -> Float[Array, "S 2"]:
    """The expert's policy."""
    return soft_optimal(world, world.reward - PENALTY * world.forbidden[:, None])[0]


def trilevel(world: Corridor, c: Float[Array, " S"], lam: float) -> float:
    """(3.2) inside its maxima, summed up from returns, costs and entropies of two policies."""
    ours, theirs = soft_optimal(world, world.reward - lam * c[:, None])[0], expert(world)
    price = np.repeat(c[:, None], 2, axis=1)

    def score(pi: Float[Array, "S 2"]) -> float:
        reward, cost = value(world, pi, world.reward), value(world, pi, price)
        return reward - lam * cost + world.alpha * entropy(world, pi)

    return score(theirs) - score(ours)


def bilevel(world: Corridor, c: Float[Array, " S"]) -> float:
    """(3.3) inside its maximum, from the learner's optimal soft value."""
    corrected = world.reward - c[:, None]
    pi, (_, best) = expert(world), soft_optimal(world, corrected)
    own = value(world, pi, corrected) + world.alpha * entropy(world, pi)
    return own - float(world.first @ best)


@dataclass(frozen=True)
class Ascent:
    """Exact ascent on the game: cost and learner's state occupancy after some steps.

    Attributes:
        gap: L1 distance between the occupancies of learner and expert. reward: the learner's J_r.
    """

    cost: Float[Array, " S"]
    occupancy: Float[Array, " S"]
    gap: float
    reward: float


def ascend(world: Corridor, steps: int, lr: float = 1.0, ceiling: float = np.inf) -> Ascent:
    """c <- clip(c + lr (occ_L - occ_E), 0, ceiling) from 0; a finite ceiling is no cone."""
    target, c = occupancies(world, expert(world)).sum(axis=1), np.zeros(world.states)

    def answer(c: Float[Array, " S"]) -> tuple[Float[Array, "S 2"], Float[Array, " S"]]:
        pi = soft_optimal(world, world.reward - c[:, None])[0]
        return pi, occupancies(world, pi).sum(axis=1)

    for _ in range(steps):
        c = np.clip(c + lr * (answer(c)[1] - target), 0, ceiling)
    pi, occ = answer(c)
    gap = float(np.abs(occ - target).sum())
    return Ascent(c, occ, gap, value(world, pi, world.reward))


def l2_optimum(
    expert_weights: Float[Array, " n"], learner_weights: Float[Array, " n"], beta: float
) -> Float[Array, " n"]:
    """(3.5): the table of costs that minimises (3.4) with `l2_expert`, (w_L/w_E - 1)/(2 beta)."""
    if beta <= 0:
        raise ValueError(f"Without regularisation there is no optimum: beta must be positive, not {beta}.")  # noqa: E501  # fmt: skip
    return (learner_weights / expert_weights - 1) / (2 * beta)
