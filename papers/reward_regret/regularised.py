"""Penalised policy optimisation: what guarantees and what breaks it, with explicit constants.

A policy maximises J_Rhat(pi) - lam omega(pi) with omega(pi) = sum_s d^pi(s) h(pi, pi_ref)(s), h the
Kullback-Leibler divergence ("kl") or half the squared distance ("square") of pi(.|s) from
pi_ref(.|s). Leading axes of arrays are batches. gamma = 0 is a contextual bandit.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy.special import logsumexp, softmax

from papers.reward_regret.method import (
    TabularMDP,
    j_bounds,
    occupancy,
    optimal_policy,
    support,
)

Array = np.ndarray
Table = Float[Array, "S A"]
Penalty = Literal["kl", "square"]
PENALTIES: tuple[Penalty, ...] = ("kl", "square")


def project(point: Float[Array, "*batch A"]) -> Float[Array, "*batch A"]:
    """The nearest distribution (Euclidean projection onto the simplex)."""
    ordered = -np.sort(-point, axis=-1)
    excess = np.cumsum(ordered, axis=-1) - 1
    rank = np.arange(1, point.shape[-1] + 1)
    count = (ordered - excess / rank > 0).sum(axis=-1, keepdims=True)
    shift = np.take_along_axis(excess, count - 1, -1) / count
    return np.maximum(point - shift, 0)


def divergence(pi: Array, pi_ref: Array, penalty: Penalty) -> Float[Array, "*batch"]:
    """h(pi, pi_ref) along the last axis."""
    if penalty == "square":
        return 0.5 * np.sum((pi - pi_ref) ** 2, axis=-1)
    ratio = np.divide(pi, pi_ref, out=np.ones_like(pi), where=pi > 0)
    return np.sum(pi * np.log(ratio), axis=-1)


def greedy(Q: Array, pi_ref: Array, lam: float, penalty: Penalty) -> tuple[Array, Array]:
    """argmax_p <p, Q> - lam h(p, pi_ref) in each state, and its value."""
    if penalty == "kl":
        logits = np.log(pi_ref) + Q / lam
        return softmax(logits, axis=-1), lam * logsumexp(logits, axis=-1)
    pi = project(pi_ref + (Q - Q.max(axis=-1, keepdims=True)) / lam)
    return pi, np.sum(pi * Q, axis=-1) - lam * divergence(pi, pi_ref, penalty)


def optimise(
    P: Float[Array, "*batch S A S"],
    R: Float[Array, "*batch S A"],
    gamma: Float[Array, "*batch"],
    pi_ref: Float[Array, "*batch S A"],
    lam: float,
    penalty: Penalty = "kl",
) -> Float[Array, "*batch S A"]:
    """The optimal penalised policy, by policy iteration: greedy, then exact evaluation.

    Raises:
        ValueError: lam is not positive, or pi_ref is not.
        RuntimeError: no convergence.
    """
    if not lam > 0:
        raise ValueError(f"lam must be positive; got {lam}.")
    if not (pi_ref > 0).all():
        raise ValueError("pi_ref must be positive everywhere.")
    scale = np.abs(R).max() + lam
    discount, eye = gamma[..., None, None], np.eye(R.shape[-2])
    V = np.zeros(R.shape[:-1])
    for _ in range(1000):
        Q = R + discount * np.einsum("...sat,...t->...sa", P, V)
        pi, top = greedy(Q, pi_ref, lam, penalty)
        if np.abs(top - V).max() <= 1e-13 * scale / (1 - float(np.max(gamma))):
            return pi
        reward = np.sum(pi * R, axis=-1) - lam * divergence(pi, pi_ref, penalty)
        P_pi = np.einsum("...sa,...sat->...st", pi, P)
        V = np.linalg.solve(eye - discount * P_pi, reward[..., None])[..., 0]
    raise RuntimeError("Regularised policy iteration did not converge.")


def penalty_of(mdp: TabularMDP, pi: Table, pi_ref: Table, penalty: Penalty) -> float:
    """omega(pi)."""
    return float(occupancy(mdp, pi).sum(axis=1) @ divergence(pi, pi_ref, penalty))


def unsafe_mass(mdp: TabularMDP, L: float, lam: float, omega: float, eps: float) -> float:
    """D is unsafe if it gives the support of the worst policy at most this mass, for L < 1:

        eps (1 - g) (1 - L) range J / (range J + lam omega(pi_worst)).                          (16)

    For *every* continuous penalty omega >= 0: the reward of `unsafe_reward` leaves any optimum so
    little discounted mass off the support that its return is near min J.
    """
    lowest, highest = j_bounds(mdp)
    width = highest - lowest
    return eps * (1 - mdp.gamma) * (1 - L) * width / (width + lam * omega)


def unsafe_reward(mdp: TabularMDP, L: float, lam: float, omega: float) -> tuple[Table, Table]:
    """The witness of (16), and pi_worst: R + c on its support,

    c = range R (range J + lam omega) / ((1 - g) (1 - L) range J).

    Raises:
        ValueError: L is not in [0, 1).
    """
    if not 0 <= L < 1:
        raise ValueError(f"L must be in [0, 1) under a penalty; got {L}.")
    worst = optimal_policy(mdp, -mdp.R)[0]
    lowest, highest = j_bounds(mdp)
    width = highest - lowest
    c = mdp.range_R * (width + lam * omega) / ((1 - mdp.gamma) * (1 - L) * width)
    return mdp.R + c * support(mdp, worst), worst


def kl_regret_bound(mdp: TabularMDP, D: Table, eps: float, lam: float, baseline: float) -> float:
    """Regret of the KL-optimal policy of any R-hat with error eps, given that of R itself:

        Reg <= baseline + range R / ((1 - g)^2 range J) tanh(eps range R / (2 (1 - g) lam min D)).

    gamma = 0: |R-hat - R| <= d = eps range R / min D in l1, so within a prompt the two log policies
    differ by an oscillation of at most d / lam, and TV <= tanh(osc / 4): the argument is then
    d / (4 lam), half of the above, and attained (two answers, symmetric about 1/2). For gamma > 0
    soft action values differ by d / (1 - g) in the maximum norm, hence the factor 2.           (17)
    """
    lowest, highest = j_bounds(mdp)
    factor = 4 if mdp.gamma == 0 else 2
    shift = eps * mdp.range_R / (float(np.min(D)) * lam * (1 - mdp.gamma))
    gain = mdp.range_R / ((1 - mdp.gamma) ** 2 * (highest - lowest))
    return baseline + gain * float(np.tanh(shift / factor))


def kl_bandit_margin(
    D: Float[Array, " A"], pi_ref: Float[Array, " A"], R: Float[Array, " A"], L: float, lam: float
) -> tuple[float, Float[Array, " A"]]:
    """Least E_D|R-hat - R| at which the KL-optimal policy of one prompt has regret L, and R-hat.

    With weights g = pi_ref exp(R / lam) |R - R_L|, regret at least L reads
    sum_good g exp(-v / lam) <= sum_bad g exp(u / lam) for rewards of good answers (R > R_L) lowered
    by v and of bad ones raised by u. The right side is convex in u, so one bad answer is raised;
    given it, v is a water-filling, min(g, theta D) = g exp(-v / lam); stationary points of the rest
    are known in closed form on each piece. The boundary in D is curved: there is no matrix M. (18)

    Raises:
        ValueError: L is not strictly between 0 and 1, pi_ref is not positive, D is no
            distribution, or R is constant.
    """
    if not 0 < L < 1:
        raise ValueError(f"L must lie strictly between 0 and 1 under a penalty; got {L}.")
    if not ((pi_ref > 0).all() and lam > 0):
        raise ValueError("pi_ref and lam must be positive.")
    if not (D >= 0).all() or abs(float(D.sum()) - 1) > 1e-8:
        raise ValueError(f"D must be a distribution over the answers; got {D}.")
    if not np.isfinite(R).all() or np.ptp(R) == 0:
        raise ValueError(f"R must be finite and not constant; got {R}.")
    level = (1 - L) * R.max() + L * R.min()
    logs = np.log(pi_ref) + R / lam
    with np.errstate(divide="ignore"):
        log_g = logs - logs.max() + np.log(np.abs(R - level))  # logs: g may be smaller than floats
    good, bad = np.flatnonzero(R - level > 0), np.flatnonzero(R - level < 0)
    best, reward_hat = np.inf, R
    for b in bad:
        rest = _log_sum(log_g[bad[bad != b]]) if len(bad) > 1 else -np.inf
        for log_z in _candidates(log_g, D, good, int(b), rest):
            raised = lam * (log_z - log_g[b])
            lowered = lam * _fill(log_g[good], D[good], float(np.logaddexp(rest, log_z)))
            cost = D[b] * raised + D[good] @ lowered
            if cost < best:
                best, reward_hat = float(cost), R.copy()
                reward_hat[b] += raised
                reward_hat[good] -= lowered
    return best, reward_hat


def _log_sum(values: Array) -> float:
    return float(np.asarray(logsumexp(values)))


def _candidates(log_g: Array, D: Array, good: Array, b: int, rest: float) -> list[float]:
    """Log weights z = g_b exp(u / lam) of the raised answer among which the best one is."""
    g, others = np.exp(log_g), float(np.exp(rest))
    with np.errstate(divide="ignore", invalid="ignore"):
        order = good[np.argsort(-(log_g[good] - np.log(D[good])), kind="stable")]
        # All weight of the good answers; no more is needed, and never less than there is.
        found = [float(log_g[b]), float(np.log(g[good].sum() - others))]
        for k in range(1, len(order) + 1):
            active, idle = order[:k], order[k:]
            share = D[b] / (D[active].sum() - D[b])
            if len(idle):
                found.append(float(np.log(share * (others - g[idle].sum()))))
            else:
                found.append(float(np.log(share)) + rest)
            corner = g[order[k - 1]] / D[order[k - 1]]
            found.append(float(np.log(np.minimum(g[good], corner * D[good]).sum() - others)))
    least, most = found[0], max(found[:2])
    return [z for z in found if least <= z <= most]


def _fill(log_g: Array, D: Array, total: float) -> Array:
    """v >= 0 of least <D, v> with sum g exp(-v) <= exp(total): g exp(-v) = min(g, theta D)."""
    if _log_sum(log_g) <= total:
        return np.zeros_like(log_g)
    with np.errstate(divide="ignore", over="ignore"):
        log_D = np.log(D)
        order = np.argsort(log_g - log_D, kind="stable")  # those that stay, with small g / D, first
        stay = np.concatenate([[0.0], np.exp(log_g[order] - total).cumsum()[:-1]])
        weight = D[order][::-1].cumsum()[::-1]
        log_theta = total + np.log(np.maximum(1 - stay, 0)) - np.log(np.maximum(weight, 1e-300))
        # From i on they are lowered: right for the first i whose theta does not exceed its g / D.
        # Where rounding leaves none, the total is that of all g, and nothing has to be lowered.
        lowered = log_theta <= (log_g - log_D)[order]
        if not lowered.any():
            return np.zeros_like(log_g)
        i = int(np.argmax(lowered))
        kept = np.minimum(log_g, log_theta[i] + log_D)
    return log_g - np.maximum(kept, -1e6)  # an answer without data is lowered for nothing, and far
