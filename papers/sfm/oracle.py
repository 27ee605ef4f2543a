"""Exact successor features of a finite decision process, and all that the method estimates.

NumPy in double precision, linear solves, no sampling: what `method` estimates, `tabular` tabulates
and the tests compare with. Policies are matrices pi[s, a]; SF stands for successor features.

    Psi(s, a) = phi(s) + gamma sum_s' P(s'|s, a) V(s'),   V(s) = sum_a pi(a|s) Psi(s, a)
    psi_pi    = sum_s mu(s) V(s),                         L    = 1/2 |psi_E - psi_pi|^2
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Array = np.ndarray
Policy = Float[Array, "S A"]


@dataclass(frozen=True)
class FiniteMDP:
    """A decision process without reward.

    Attributes:
        transitions: P[s, a, s'], rows sum to one. features: phi[s, k].
        initial: mu[s]. gamma: discount a step, in [0, 1).
    """

    transitions: Float[Array, "S A S"]
    features: Float[Array, "S d"]
    initial: Float[Array, " S"]
    gamma: float

    def __post_init__(self) -> None:
        if not 0 <= self.gamma < 1:
            raise ValueError(f"gamma must be in [0, 1); got {self.gamma}.")
        for name, law in (("transitions", self.transitions), ("initial", self.initial)):
            if np.any(law < 0) or not np.allclose(law.sum(axis=-1), 1):
                raise ValueError(f"The rows of {name} must be probabilities that sum to one.")


def softmax_policy(logits: Float[Array, "S A"]) -> Policy:
    """pi(a|s) proportional to exp(logits[s, a])."""
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def chain(mdp: FiniteMDP, policy: Policy) -> Float[Array, "S S"]:
    """Transition matrix of the states under the policy."""
    return np.einsum("sa,sat->st", policy, mdp.transitions)


def state_sf(mdp: FiniteMDP, policy: Policy) -> Float[Array, "S d"]:
    """V(s), the SF of each state: (I - gamma P_pi)^{-1} phi."""
    identity = np.eye(len(mdp.initial))
    return np.linalg.solve(identity - mdp.gamma * chain(mdp, policy), mdp.features)


def successor_features(mdp: FiniteMDP, policy: Policy) -> Float[Array, "S A d"]:
    """Psi(s, a)."""
    following = np.einsum("sat,td->sad", mdp.transitions, state_sf(mdp, policy))
    return mdp.features[:, None] + mdp.gamma * following


def expected_sf(mdp: FiniteMDP, policy: Policy) -> Float[Array, " d"]:
    """psi_pi, from the initial states."""
    return mdp.initial @ state_sf(mdp, policy)


def occupancy(mdp: FiniteMDP, policy: Policy) -> Float[Array, " S"]:
    """sum_t gamma^t P(s_t = s), which sums to 1/(1 - gamma)."""
    identity = np.eye(len(mdp.initial))
    return np.linalg.solve(identity - mdp.gamma * chain(mdp, policy).T, mdp.initial)


def stationary(mdp: FiniteMDP, policy: Policy) -> Float[Array, " S"]:
    """The time average of the states under the policy, where it is unique."""
    size = len(mdp.initial)
    balance = np.vstack([chain(mdp, policy).T - np.eye(size), np.ones(size)])
    return np.linalg.lstsq(balance, np.append(np.zeros(size), 1.0), rcond=None)[0]


def gap_loss(mdp: FiniteMDP, policy: Policy, psi_E: Float[Array, " d"]) -> float:
    """L = 1/2 |psi_E - psi_pi|^2."""
    return 0.5 * float(np.sum((psi_E - expected_sf(mdp, policy)) ** 2))


def gap_gradient(
    mdp: FiniteMDP, logits: Float[Array, "S A"], psi_E: Float[Array, " d"]
) -> Float[Array, "S A"]:
    """Gradient of L in the logits of a softmax policy, by the identity that the method rests on.

    -sum_s d(s) sum_a pi(a|s) (Psi(s, a) - V(s))^T w grad log pi(a|s), with w = psi_E - psi_pi:
    minus the policy gradient for the reward phi(s)^T w, w held fixed.
    """
    policy = softmax_policy(logits)
    w = psi_E - expected_sf(mdp, policy)
    advantage = (successor_features(mdp, policy) - state_sf(mdp, policy)[:, None]) @ w
    return -occupancy(mdp, policy)[:, None] * policy * advantage


def telescoped(
    mdp: FiniteMDP,
    policy: Policy,
    states: Float[Array, " S"],
    behaviour: Policy,
) -> Float[Array, " d"]:
    """E[V(s) - gamma V(s')] / (1 - gamma) for s from `states`, s' by the behaviour policy.

    psi_pi exactly where `states` is the behaviour's normalised discounted occupancy; the mean of
    V over `states` where that is the behaviour's stationary law, as under uniform replay.
    """
    values = state_sf(mdp, policy)
    following = chain(mdp, behaviour) @ values
    return states @ (values - mdp.gamma * following) / (1 - mdp.gamma)


def performance_gap(
    mdp: FiniteMDP, expert: Policy, policy: Policy, weights: Float[Array, " d"]
) -> tuple[float, float]:
    """J(expert) - J(policy) for the reward phi^T w*, and its bound |w*| |psi_E - psi_pi|."""
    gap = expected_sf(mdp, expert) - expected_sf(mdp, policy)
    return float(weights @ gap), float(np.linalg.norm(weights) * np.linalg.norm(gap))
