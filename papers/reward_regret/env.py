"""The MDPs of the experiments: small ones with answers by hand, random ones, gymnasium's tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from papers.reward_regret.batched import policy_margins
from papers.reward_regret.method import (
    TOLERANCE,
    TabularMDP,
    j_bounds,
    optimal_policy,
    support,
    visitation,
)

Array = np.ndarray


def chain(gamma: float = 0.9) -> TabularMDP:
    """Two states; action 0 stays, 1 switches; from state 0, reward 1 for staying in state 1."""
    P = np.zeros((2, 2, 2))
    P[[0, 1], 0, [0, 1]] = 1
    P[[0, 1], 1, [1, 0]] = 1
    return TabularMDP(P, np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([1.0, 0.0]), gamma)


def bandit(rewards: Sequence[float] | Float[Array, " arms"]) -> TabularMDP:
    """One state, gamma = 0, an arm a reward."""
    arms = len(rewards)
    return TabularMDP(np.ones((1, arms, 1)), np.array([rewards], float), np.ones(1), 0.0)


def contextual_bandit(R: Float[Array, "S A"], mu0: Float[Array, " S"]) -> TabularMDP:
    """A bandit a prompt: gamma = 0, prompts drawn from mu0."""
    prompts, answers = R.shape
    P = np.broadcast_to(mu0, (prompts, answers, prompts))
    return TabularMDP(P, R, mu0, 0.0)


def three_by_two() -> TabularMDP:
    """Three states and two actions, all transitions random: eight policies, all different."""
    P = np.array(
        [
            [[0.7, 0.3, 0.0], [0.1, 0.6, 0.3]],
            [[0.2, 0.5, 0.3], [0.0, 0.2, 0.8]],
            [[0.5, 0.4, 0.1], [0.05, 0.15, 0.8]],
        ]
    )
    R = np.array([[0.1, 0.0], [0.3, 0.2], [1.0, 0.4]])
    return TabularMDP(P, R, np.array([0.5, 0.3, 0.2]), 0.8)


def three_by_two_data() -> Float[Array, "3 2"]:
    """The data distribution that goes with `three_by_two`."""
    return np.array([[0.2, 0.1], [0.15, 0.25], [0.05, 0.25]])


def chatbot() -> tuple[Float[Array, "2 2"], Float[Array, " 2"]]:
    """Rewards and prompt probabilities of a toy chatbot: rows safe and unsafe prompts, columns
    comply and refuse. Our own illustration, not of the paper."""
    return np.array([[1.0, 0.2], [0.0, 0.8]]), np.array([0.8, 0.2])


def random_mdp(seed: int, states: int, actions: int, gamma: float | None = None) -> TabularMDP:
    """P, mu0 from Dirichlet(1), R uniform on [0, 1]; gamma uniform on [0.5, 0.95] if not given."""
    rng = np.random.default_rng([seed, states, actions])
    P = rng.dirichlet(np.ones(states), (states, actions))
    R, mu0 = rng.random((states, actions)), rng.dirichlet(np.ones(states))
    discount = rng.uniform(0.5, 0.95)
    return TabularMDP(P, R, mu0, discount if gamma is None else gamma)


def random_data(seed: int, states: int, actions: int) -> Float[Array, "S A"]:
    """A data distribution from Dirichlet(1), independent of `random_mdp` of the same seed."""
    rng = np.random.default_rng([seed, states, actions, 1])
    return rng.dirichlet(np.ones(states * actions)).reshape(states, actions)


def validate(mdp: TabularMDP, *, allow_unreachable: bool = False, allow_ties: bool = False) -> None:
    """Refuse what is usually a mistake in an MDP: dead states, or optimal actions that tie.

    The method needs neither; a table read from elsewhere is worth the check.

    Raises:
        ValueError: a state that no policy reaches, or one with two optimal actions, by index.
    """
    reached = support(mdp, np.full(mdp.R.shape, 1 / mdp.R.shape[1])).any(axis=1)
    if not allow_unreachable and not reached.all():
        state = int(np.argmin(reached))
        raise ValueError(f"State {state} cannot be reached; drop it or set allow_unreachable.")
    V = optimal_policy(mdp)[1]
    Q = mdp.R + mdp.gamma * mdp.P @ V
    behind = Q.max(axis=1, keepdims=True) - Q
    close = behind <= TOLERANCE * mdp.range_R / (1 - mdp.gamma)
    tied = reached & (close.sum(axis=1) > 1)
    if not allow_ties and tied.any():
        state = int(np.argmax(tied))
        first, second = np.flatnonzero(close[state])[:2]
        raise ValueError(
            f"Actions {first} and {second} of state {state} are both optimal; set allow_ties if "
            "that is meant."
        )


def uniform(mdp: TabularMDP) -> Float[Array, "S A"]:
    """The same probability for every (s, a)."""
    return np.full(mdp.R.shape, 1 / mdp.R.size)


def expert_mixture(mdp: TabularMDP, w: float) -> Float[Array, "S A"]:
    """(1 - w) (normalised occupancy of an optimal policy) + w (uniform)."""
    if not 0 <= w <= 1:
        raise ValueError(f"w is a mixture weight and must be in [0, 1]; got {w}.")
    return (1 - w) * visitation(mdp, optimal_policy(mdp)[0]) + w * uniform(mdp)


# --- Gymnasium ------------------------------------------------------------------------------------


class GymTable(NamedTuple):
    """An MDP read from a gymnasium environment.

    Attributes:
        states: the environment's number of each state; the last row of the MDP, where every
            episode ends, has none.
    """

    mdp: TabularMDP
    states: Int[Array, " S-1"]


def from_gymnasium(name: str, gamma: float, **options: Any) -> GymTable:
    """The transition table `env.unwrapped.P` of a gymnasium environment as an MDP.

    A name without a version means the newest one.

    A transition that ends the episode leads to one absorbing state without reward (which the tables
    themselves do not do alike); states that cannot be reached are left out. The time limit of the
    environment is not part of it: it would be a truncation.

    Raises:
        ValueError: there is no such environment, or it has no transition table.
    """
    import gymnasium

    if "-v" not in name:
        found = [key for key in gymnasium.registry if key.rpartition("-v")[0] == name]
        if not found:
            raise ValueError(f"Gymnasium has no environment {name}.")
        name = max(found, key=lambda key: int(key.rpartition("-v")[2]))
    env: Any = gymnasium.make(name, **options).unwrapped
    table, initial = getattr(env, "P", None), getattr(env, "initial_state_distrib", None)
    env.close()
    if table is None or initial is None:
        raise ValueError(f"{name} has no transition table P with an initial_state_distrib.")
    return from_table(table, np.asarray(initial, np.float64), gamma)


def from_table(
    table: dict[int, dict[int, list[tuple[Any, ...]]]], initial: Float[Array, " N"], gamma: float
) -> GymTable:
    """The same from table[s][a] = [(probability, next state, reward, ended), ...]."""
    reached, ahead = set(), [int(s) for s in np.flatnonzero(initial)]
    while ahead:
        state = ahead.pop()
        if state in reached:
            continue
        reached.add(state)
        outcomes = [move for moves in table[state].values() for move in moves]
        ahead += [int(s) for p, s, _, ended in outcomes if p > 0 and not ended]
    states = np.array(sorted(reached))
    place = {int(s): i for i, s in enumerate(states)}
    end, actions = len(states), len(table[int(states[0])])
    P, R = np.zeros((end + 1, actions, end + 1)), np.zeros((end + 1, actions))
    P[end, :, end] = 1
    for state, i in place.items():
        for a in range(actions):
            for p, following, reward, ended in table[state][a]:
                if p > 0:
                    P[i, a, end if ended else place[int(following)]] += p
                    R[i, a] += p * reward
    mu0 = np.append(initial[states], 0.0)
    return GymTable(TabularMDP(P, R, mu0 / mu0.sum(), gamma), states)


def descend(mdp: TabularMDP, D: Float[Array, "S A"], L: float) -> tuple[float, Float[Array, "S A"]]:
    """An upper bound of Delta_L(D) and its policy, by local search: no list of policies needed.

    From the worst policy, the best change of one action that leaves the regret at L or more.
    """
    states, actions = mdp.R.shape
    lowest, highest = j_bounds(mdp)
    here = optimal_policy(mdp, -mdp.R)[0].argmax(axis=1)
    value = float(policy_margins(mdp, D, here[None]).value[0])
    while True:
        near = np.repeat(here[None], states * actions, axis=0)
        near[np.arange(states * actions), np.repeat(np.arange(states), actions)] = np.tile(
            np.arange(actions), states
        )
        near = near[_returns(mdp, near) <= highest - L * (highest - lowest) + 1e-12]
        margins = policy_margins(mdp, D, near).value
        least = int(margins.argmin())
        if margins[least] >= value - 1e-12 * mdp.range_R:
            return value, np.eye(actions)[here]
        here, value = near[least], float(margins[least])


def _returns(mdp: TabularMDP, chosen: Int[Array, "n S"]) -> Float[Array, " n"]:
    every = np.arange(len(mdp.mu0))
    steps = np.eye(len(every)) - mdp.gamma * mdp.P[every, chosen]
    return np.linalg.solve(steps, mdp.R[every, chosen][..., None])[..., 0] @ mdp.mu0
