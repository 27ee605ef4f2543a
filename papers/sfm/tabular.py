"""The paper's mathematics on finite decision processes, exactly (claims C1, C2, C8).

One small process with printed numbers, and many random ones. Nothing here samples an estimate:
every number is exact up to rounding, finite differences aside.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from papers.sfm import oracle
from papers.sfm.oracle import Array, FiniteMDP, Policy

EXAMPLE = FiniteMDP(
    transitions=np.array(
        [
            [[0.8, 0.2, 0.0], [0.1, 0.6, 0.3]],
            [[0.5, 0.5, 0.0], [0.0, 0.2, 0.8]],
            [[0.3, 0.3, 0.4], [0.0, 0.1, 0.9]],
        ]
    ),
    features=np.array([[1.0, 0.0], [0.0, 1.0], [1.0, -1.0]]),
    initial=np.array([1.0, 0.0, 0.0]),
    gamma=0.9,
)
EXAMPLE_LOGITS = np.array([[0.2, -0.1], [0.0, 0.3], [-0.4, 0.5]])
EXAMPLE_EXPERT = np.array([[0.1, 0.9], [0.2, 0.8], [0.7, 0.3]])
DIFFERENCE = 1e-5  # step of central differences: error ~1e-10 in double precision


def random_problem(seed: int) -> tuple[FiniteMDP, Float[Array, "S A"], Policy]:
    """A random process, the learner's logits and an expert's policy."""
    rng = np.random.default_rng(seed)
    states, actions, dim = rng.integers(3, 9), rng.integers(2, 5), rng.integers(1, 6)
    mdp = FiniteMDP(
        transitions=rng.dirichlet(np.full(states, 0.5), (states, actions)),
        features=rng.normal(size=(states, dim)),
        initial=rng.dirichlet(np.ones(states)),
        gamma=float(rng.uniform(0.5, 0.98)),
    )
    return mdp, rng.normal(size=(states, actions)), rng.dirichlet(np.ones(actions), states)


def solve(
    mdp: FiniteMDP,
    logits: Float[Array, "S A"],
    psi_E: Float[Array, " d"],
    iterations: int,
    step: float = 0.1,
) -> tuple[Float[Array, "S A"], Float[Array, " k"]]:
    """Gradient descent on L: the last logits, and L before each iteration and after the last."""
    losses = np.empty(iterations + 1)
    for i in range(iterations):
        losses[i] = oracle.gap_loss(mdp, oracle.softmax_policy(logits), psi_E)
        logits = logits - step * oracle.gap_gradient(mdp, logits, psi_E)
    losses[iterations] = oracle.gap_loss(mdp, oracle.softmax_policy(logits), psi_E)
    return logits, losses


def numerical_gradients(
    mdp: FiniteMDP, logits: Float[Array, "S A"], psi_E: Float[Array, " d"]
) -> tuple[Float[Array, "S A"], Float[Array, "S A"]]:
    """Central differences of L, and of -J for the reward phi^T w with w held at the start."""
    w = psi_E - oracle.expected_sf(mdp, oracle.softmax_policy(logits))
    loss, reward = np.empty_like(logits), np.empty_like(logits)
    for index in np.ndindex(*logits.shape):
        losses, returns = [], []
        for sign in (1, -1):
            moved = logits.copy()
            moved[index] += sign * DIFFERENCE
            policy = oracle.softmax_policy(moved)
            losses.append(oracle.gap_loss(mdp, policy, psi_E))
            returns.append(oracle.expected_sf(mdp, policy) @ w)
        loss[index] = (losses[0] - losses[1]) / (2 * DIFFERENCE)
        reward[index] = -(returns[0] - returns[1]) / (2 * DIFFERENCE)
    return loss, reward


def identity_errors(problems: Sequence[int]) -> dict[str, Array]:
    """Relative errors of the analytic gradient against both numerical ones, per problem (C1)."""
    rows = []
    for seed in problems:
        mdp, logits, expert = random_problem(seed)
        psi_E = oracle.expected_sf(mdp, expert)
        exact = oracle.gap_gradient(mdp, logits, psi_E)
        scale = np.linalg.norm(exact)
        numerical = numerical_gradients(mdp, logits, psi_E)
        rows.append([np.linalg.norm(exact - other) / scale for other in numerical])
    loss, reward = np.array(rows).T
    return {"loss": loss, "reward": reward}


def estimator_errors(problems: Sequence[int]) -> dict[str, Array]:
    """Relative error of the telescoped estimator for three behaviour policies (C2).

    `discounted` [problem, behaviour]: s from the behaviour's discounted occupancy. `uniform`: s
    from its time average, which is what uniform replay draws.
    """
    found: dict[str, list[list[float]]] = {"discounted": [], "uniform": []}
    for seed in problems:
        mdp, logits, expert = random_problem(seed)
        policy = oracle.softmax_policy(logits)
        psi = oracle.expected_sf(mdp, policy)
        even = np.full_like(policy, 1 / policy.shape[1])
        rows: dict[str, list[float]] = {"discounted": [], "uniform": []}
        for behaviour in (policy, even, expert):
            laws = {
                "discounted": (1 - mdp.gamma) * oracle.occupancy(mdp, behaviour),
                "uniform": oracle.stationary(mdp, behaviour),
            }
            for name, states in laws.items():
                error = oracle.telescoped(mdp, policy, states, behaviour) - psi
                rows[name].append(float(np.linalg.norm(error) / np.linalg.norm(psi)))
        for name, row in rows.items():
            found[name].append(row)
    return {name: np.array(row) for name, row in found.items()}


def bound_ratios(problems: Sequence[int]) -> Float[Array, "problems 2"]:
    """(J(E) - J(pi)) over its bound, for rewards drawn at random and for the worst one (C8).

    [problem, 2]: at most one; the second, whose reward points along the gap, is exactly one.
    """
    ratios = []
    for seed in problems:
        mdp, logits, expert = random_problem(seed)
        policy = oracle.softmax_policy(logits)
        weights = np.random.default_rng((seed, 1)).normal(size=mdp.features.shape[1])
        gap = oracle.expected_sf(mdp, expert) - oracle.expected_sf(mdp, policy)
        pairs = (oracle.performance_gap(mdp, expert, policy, w) for w in (weights, gap))
        ratios.append([difference / bound for difference, bound in pairs])
    return np.array(ratios)


def fixed_point_gradient() -> float:
    """Largest entry of the gradient where the learner already is the expert: zero."""
    psi_E = oracle.expected_sf(EXAMPLE, oracle.softmax_policy(EXAMPLE_LOGITS))
    return float(np.abs(oracle.gap_gradient(EXAMPLE, EXAMPLE_LOGITS, psi_E)).max())
