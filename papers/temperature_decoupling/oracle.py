"""Exact answers in NumPy, written independently of `method.py`: loops and linear systems.

    soft_q                q*_tau by plain loops over states and actions
    soft_value, gibbs     V_tau q and G_tau q
    policy_value          soft value of any policy, one linear system
    kl_cost               discounted KL cost of a policy: -W for pi^{ERL,*}
    exact_law             return law by enumeration, where a policy's randomness ends
    Laws, apply           T^pi_tau on weighted atoms, without a projection
    wasserstein           W_p between weighted atoms
    tv, *_bound           total variation, and the bounds that the theorems state

A policy is an array [S, A] of probabilities. P is dense.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float

from papers.temperature_decoupling.method import TabularMDP

Array = np.ndarray
Policy = Float[Array, "S A"]


def soft_q(mdp: TabularMDP, pi_ref: Policy, tau: float, n: int) -> Float[Array, "S A"]:
    """q after n soft Bellman backups from 0, written out from the definition."""
    P, r = np.asarray(mdp.P), np.asarray(mdp.r)
    S, A = r.shape
    q = np.zeros((S, A))
    for _ in range(n):
        value = []
        for x in range(S):
            top = max(q[x, a] for a in range(A) if pi_ref[x, a] > 0)
            total = sum(pi_ref[x, a] * math.exp((q[x, a] - top) / tau) for a in range(A))
            value.append(top + tau * math.log(total))
        for x in range(S):
            for a in range(A):
                q[x, a] = r[x, a] + mdp.gamma * sum(P[x, a, y] * value[y] for y in range(S))
    return q


def soft_value(q: Policy, pi_ref: Policy, tau: float) -> Float[Array, " S"]:
    """V_tau q."""
    top = q.max(1, where=pi_ref > 0, initial=-np.inf)
    held = np.where(pi_ref > 0, q - top[:, None], 0)
    return top + tau * np.log((pi_ref * np.exp(held / tau)).sum(1))


def gibbs(q: Policy, pi_ref: Policy, tau: float) -> Policy:
    """G_tau q."""
    value = soft_value(q, pi_ref, tau)[:, None]
    return np.where(pi_ref > 0, pi_ref * np.exp(np.where(pi_ref > 0, q - value, 0) / tau), 0)


def kl(pi: Policy, pi_ref: Policy) -> Float[Array, " S"]:
    """KL(pi_x || pi_ref_x) with 0 log 0 = 0; pi must stay inside the support."""
    held = pi > 0
    ratio = np.where(held, pi, 1) / np.where(held, pi_ref, 1)
    return (pi * np.log(ratio)).sum(1)


def _discounted(mdp: TabularMDP, pi: Policy, per_state: Float[Array, " S"]) -> Float[Array, " S"]:
    """Expected discounted sum of a function of the state along pi, from each state."""
    along = np.einsum("xa,xay->xy", pi, np.asarray(mdp.P))
    return np.linalg.solve(np.eye(len(pi)) - mdp.gamma * along, per_state)


def policy_value(
    mdp: TabularMDP, pi_ref: Policy, pi: Policy, tau: float = 0.0
) -> Float[Array, " S"]:
    """V^pi_tau(x), the penalty tau KL at x itself included; tau = 0: the plain value."""
    reward = (pi * np.asarray(mdp.r)).sum(1)
    penalty = tau * kl(pi, pi_ref) if tau > 0 else 0.0
    return _discounted(mdp, pi, reward - penalty)


def policy_q(mdp: TabularMDP, pi: Policy) -> Float[Array, "S A"]:
    """q^pi without penalty."""
    value = policy_value(mdp, pi, pi)
    return np.asarray(mdp.r) + mdp.gamma * (np.asarray(mdp.P) @ value)


def kl_cost(mdp: TabularMDP, pi_ref: Policy, pi: Policy) -> Float[Array, " S"]:
    """Expected discounted KL to the reference along pi, from each state."""
    return _discounted(mdp, pi, kl(pi, pi_ref))


def shortfall(mdp: TabularMDP, pi_ref: Policy, pi: Policy, best: Policy, tau: float) -> Array:
    """V*_tau - V^pi_tau by the performance difference: discounted tau KL(pi || best) along pi."""
    return _discounted(mdp, pi, tau * kl(pi, best))


def tv(
    p: Float[ArrayLike, "*#batch A"], q: Float[ArrayLike, "*#batch A"]
) -> Float[Array, "*#batch"]:
    """Total variation between laws on actions, in [0, 1]."""
    return np.asarray(0.5 * np.abs(np.asarray(p) - np.asarray(q)).sum(-1))


# --- Bounds ---------------------------------------------------------------------------------------


def least_mass(pi_ref: Policy) -> float:
    """p_ref: the smallest positive probability of the reference (Assumption 3.4)."""
    return float(pi_ref[pi_ref > 0].min())


def value_bound(gamma: float, tau: Array | float, p_ref: float) -> Array | float:
    """Lemma B.10: ||q*_ref - q*_tau|| <= gamma / (1 - gamma) tau log(1 / p_ref)."""
    return gamma / (1 - gamma) * tau * math.log(1 / p_ref)


def tv_bound(d: Array | float) -> Array:
    """Theorem 3.6: TV(G_tau q, G_tau q') <= min(sqrt d, sinh(2 d) / 2), d = ||q - q'|| / tau."""
    return np.asarray(np.minimum(np.sqrt(d), np.sinh(np.minimum(2 * np.asarray(d), 50.0)) / 2))


def sharp_tv_bound(d: Array | float) -> Array:
    """tanh(d / 2), which two actions attain; not in the paper."""
    return np.asarray(np.tanh(np.asarray(d) / 2))


# --- Return laws ----------------------------------------------------------------------------------


def exact_law(mdp: TabularMDP, pi: Policy, state: int, depth: int = 30) -> dict[float, float]:
    """Atoms and probabilities of the return from a state, where randomness ends.

    Raises:
        ValueError: after `depth` steps some path has not come to a state that it never leaves and
            in which nothing is random any more.
    """
    P, r, gamma = np.asarray(mdp.P), np.asarray(mdp.r), mdp.gamma
    held = np.flatnonzero(pi[state])
    rests = all(P[state, a, state] == 1 and r[state, a] == r[state, held[0]] for a in held)
    if rests:
        return {float(r[state, held[0]] / (1 - gamma)): 1.0}
    if depth == 0:
        raise ValueError(f"The return from state {state} stays random; enumeration does not end.")
    law: dict[float, float] = {}
    for a in held:
        for y in np.flatnonzero(P[state, a]):
            for atom, p in exact_law(mdp, pi, int(y), depth - 1).items():
                value = float(r[state, a] + gamma * atom)
                law[value] = law.get(value, 0.0) + float(pi[state, a] * P[state, a, y] * p)
    return law


def on_grid(law: dict[float, float], z: Float[Array, " m"]) -> Float[Array, " m"]:
    """A law whose atoms lie on the grid, as probabilities. Raises ValueError for any other."""
    found = np.zeros(len(z))
    for atom, p in law.items():
        place = int(np.abs(z - atom).argmin())
        if abs(z[place] - atom) > 1e-9 * max(1.0, abs(atom)):
            raise ValueError(f"The atom {atom} is not on the grid.")
        found[place] += p
    return found


def exact_pair_law(mdp: TabularMDP, pi: Policy, state: int, action: int) -> dict[float, float]:
    """The same from a state and an action."""
    law: dict[float, float] = {}
    for y in np.flatnonzero(np.asarray(mdp.P)[state, action]):
        for atom, p in exact_law(mdp, pi, int(y)).items():
            value = float(np.asarray(mdp.r)[state, action] + mdp.gamma * atom)
            law[value] = law.get(value, 0.0) + float(p * np.asarray(mdp.P)[state, action, y])
    return law


def as_arrays(law: dict[float, float]) -> tuple[Array, Array]:
    """Atoms and probabilities as arrays."""
    return np.array(list(law)), np.array(list(law.values()))


class Laws(NamedTuple):
    """Return laws of all pairs: atoms y and weights w, both [S, A, n]."""

    y: Float[Array, "S A n"]
    w: Float[Array, "S A n"]

    @property
    def means(self) -> Float[Array, "S A"]:
        """Their means."""
        return (self.y * self.w).sum(-1)


def apply(mdp: TabularMDP, pi_ref: Policy, pi: Policy, tau: float, laws: Laws) -> Laws:
    """T^pi_tau without a projection: n atoms become S A n, one for each (x', a', atom)."""
    P, r, gamma = np.asarray(mdp.P), np.asarray(mdp.r), mdp.gamma
    S, A, _ = laws.y.shape
    penalty = tau * kl(pi, pi_ref) if tau > 0 else np.zeros(S)
    y, w = [], []
    for x in range(S):
        for a in range(A):
            shifted = r[x, a] + gamma * (laws.y - penalty[:, None, None])
            y.append(shifted.ravel())
            w.append((P[x, a][:, None, None] * pi[:, :, None] * laws.w).ravel())
    return Laws(np.array(y).reshape(S, A, -1), np.array(w).reshape(S, A, -1))


def wasserstein(y: Array, w: Array, y2: Array, w2: Array, order: float = 1.0) -> float:
    """W_order between two laws given by atoms and weights, by matching quantiles."""
    first, second = np.argsort(y, kind="stable"), np.argsort(y2, kind="stable")
    up, down = np.cumsum(w[first]), np.cumsum(w2[second])
    levels = np.union1d(up, down)
    width = np.diff(levels, prepend=0.0)
    middle = levels - width / 2
    a = y[first][np.minimum(np.searchsorted(up, middle), len(y) - 1)]
    b = y2[second][np.minimum(np.searchsorted(down, middle), len(y2) - 1)]
    return float((width * np.abs(a - b) ** order).sum() ** (1 / order))


def sup_wasserstein(one: Laws, two: Laws, order: float = 1.0) -> float:
    """sup over pairs (x, a) of W_order."""
    S, A, _ = one.y.shape
    pairs = ((x, a) for x in range(S) for a in range(A))
    return max(wasserstein(one.y[i], one.w[i], two.y[i], two.w[i], order) for i in pairs)
