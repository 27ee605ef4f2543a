"""The theorems on return laws, as measurements on one MDP: see `theorems.py`.

Laws live on grids with the cramer projection, under which W_1 never grows (it is monotone and keeps
means), so that what the theorems say in W_1 holds for the projected operators without slack; or on
exact atoms, without a projection.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from papers.temperature_decoupling import mdps, method, oracle
from papers.temperature_decoupling.method import TabularMDP

Array = np.ndarray
Numbers = dict[str, Any]

LAW_TAUS = (1e-1, 1e-2, 1e-4, 1e-8)
"""Play temperatures of the return laws, sigma = tau ** 2."""
ATOMS = 41
LAW_SWEEPS = 180  # 0.9 ** 180 = 6e-9
ITERATES = 40
ITERATE_TAU = 0.3
SOON = 12
"""Errors over n gamma^n (W_1) or gamma^(n/2) (W_2) may not be larger after so many iterates."""

# --- Without a projection: exact atoms ------------------------------------------------------------


def on_atoms(one: mdps.Planted, rng: Any) -> Numbers:
    """Theorem 4.2 and Lemma 4.4 on random laws of three atoms each."""
    mdp, pi_ref, shape = one.mdp, one.pi_ref, one.pi_ref.shape

    def laws() -> oracle.Laws:
        return oracle.Laws(rng.uniform(-5, 5, (*shape, 3)), rng.dirichlet(np.ones(3), shape))

    first, second = laws(), laws()
    pi = np.where(pi_ref > 0, rng.exponential(size=shape), 0)
    pi /= pi.sum(1, keepdims=True)
    ratio = []
    for order in (1.0, 2.0):
        before = oracle.sup_wasserstein(first, second, order)
        for tau in (0.0, ITERATE_TAU):
            one_after, two_after = (
                oracle.apply(mdp, pi_ref, pi, tau, law) for law in (first, second)
            )
            after = oracle.sup_wasserstein(one_after, two_after, order)
            ratio.append(after / before / mdp.gamma)
    tau = ITERATE_TAU
    soft = oracle.gibbs(first.means, pi_ref, tau)
    image = oracle.apply(mdp, pi_ref, soft, tau, first)
    value = oracle.soft_value(first.means, pi_ref, tau)
    backup = np.asarray(mdp.r) + mdp.gamma * (np.asarray(mdp.P) @ value)
    scale = max(1.0, np.abs(backup).max())
    return {
        "contraction/ratio": np.array(ratio),
        "mean/error": np.abs(image.means - backup).max() / scale,
    }


# --- Compiled: return laws on a grid --------------------------------------------------------------


def grid(one: mdps.Planted) -> Array:
    """ATOMS atoms over all returns, soft penalties at ITERATE_TAU and more included."""
    r, gamma = np.asarray(one.mdp.r), one.mdp.gamma
    cost = -np.log(oracle.least_mass(one.pi_ref))
    low = min(0.0, r.min() / (1 - gamma)) - ITERATE_TAU * gamma / (1 - gamma) * cost
    return np.linspace(low, max(0.0, r.max() / (1 - gamma)), ATOMS)


@jax.jit
def return_laws(mdp: TabularMDP, log_ref: Any, z: Any, limits: Any) -> dict[str, Any]:
    """Return laws of policies, estimates of the algorithm, and distances along iterates."""
    plays = jnp.asarray(LAW_TAUS)

    def one(mdp: TabularMDP, log_ref: Any, z: Any, limits: Any) -> dict[str, Any]:
        start = method.point_masses(jnp.zeros_like(mdp.r), z)
        decoupled = jax.vmap(lambda tau: method.decoupled_policy(mdp, log_ref, tau))(plays)
        policies = jnp.concatenate([limits, decoupled])

        def law(pi: Any) -> Any:
            operator = method.soft_dist_operator(mdp, log_ref, pi, 0.0, z)
            return method.iterate(operator, start, LAW_SWEEPS)

        def estimate(tau: Any, sigma: Any) -> Any:
            sweeps = (LAW_SWEEPS, LAW_SWEEPS)
            return method.estimate_reference_return_law(mdp, log_ref, tau, sigma, *sweeps, z)[0]

        sigmas = jnp.concatenate([plays**2, plays[-2:-1]])  # the last: standard annealing
        return {
            "policies": policies,
            **_both_orders(jax.vmap(law)(policies), z),
            "estimates": jax.vmap(estimate)(jnp.concatenate([plays, plays[-2:-1]]), sigmas),
            **_iterates(mdp, log_ref, z, start),
        }

    return jax.vmap(one)(mdp, jnp.asarray(log_ref), jnp.asarray(z), jnp.asarray(limits))


def _both_orders(laws: Any, z: Any) -> dict[str, Any]:
    """The laws of `policies`, and sup-W_2 of those after the limits to the first."""
    others = laws[2:]
    far = method.wasserstein(others, jnp.broadcast_to(laws[0], others.shape), z, 2.0)
    return {"laws": laws, "laws_w2": far.max((1, 2))}


def _iterates(mdp: TabularMDP, log_ref: Any, z: Any, start: Any) -> dict[str, Any]:
    """Iterates of T*_tau at ITERATE_TAU, their means, and the fixed point."""
    operator = method.soft_dist_optimality(mdp, log_ref, ITERATE_TAU, z)

    def step(zeta: Any, _: Any) -> tuple[Any, Any]:
        return operator(zeta), zeta

    limit, path = jax.lax.scan(step, start, length=ITERATES + LAW_SWEEPS)
    path = path[: ITERATES + 1]
    fixed = jnp.broadcast_to(limit, path.shape)
    w1 = method.wasserstein(path, fixed, z).max((1, 2))
    w2 = method.wasserstein(path, fixed, z, 2.0).max((1, 2))
    return {"w1": w1, "w2": w2, "path_means": path @ jnp.asarray(z), "limit": limit}


def on_grid(one: mdps.Planted, found: Mapping[str, Array], q: Array, z: Array) -> Numbers:
    """Theorems 3.10, 4.7 and 4.5; q is q*_tau at ITERATE_TAU by plain soft value iteration."""
    gamma = one.mdp.gamma
    laws, policies = found["laws"], found["policies"]
    reference, erl, decoupled = laws[0], laws[1], laws[2:]
    to_ref = np.array([_sup_w1(law, reference, z) for law in decoupled])
    moved = oracle.tv(policies[2:], policies[0]).max(-1)
    bound = gamma / (1 - gamma) * moved * _width(reference, z)
    estimates = found["estimates"]
    numbers = {
        "laws/w1": to_ref,  # Theorem 3.10
        "laws/w2": found["laws_w2"],
        "laws/ratio": (to_ref / np.maximum(bound, 1e-12)).max(),
        "estimate/w1": np.array([_sup_w1(e, reference, z) for e in estimates[:-1]]),  # Theorem 4.7
        "estimate/standard": np.array(
            [_sup_w1(estimates[-1], reference, z), _sup_w1(estimates[-1], erl, z)]
        ),
        "estimate/apart": _sup_w1(reference, erl, z),
        "range": z[-1] - z[0],
    }
    return numbers | _rates(one, found, q, z)


def _rates(one: mdps.Planted, found: Mapping[str, Array], q: Array, z: Array) -> Numbers:
    """Theorem 4.5: iterates of T*_tau against the bound that its proof gives.

    a_{n+1} <= gamma a_n + gamma (tau |kl difference| + TV D), each in terms of the error of the
    means, which is at most gamma^n times the first.
    """
    gamma, tau = one.mdp.gamma, ITERATE_TAU
    mean_error = np.abs(found["path_means"] - q).max((1, 2))
    held = one.pi_ref > 0
    spread = (q.max(1, where=held, initial=-np.inf) - q.min(1, where=held, initial=np.inf)).max()
    width = _width(found["limit"], z)
    bound = [found["w1"][0]]
    for n in range(ITERATES):
        d = gamma**n * mean_error[0] / tau
        moved = np.tanh(d / 2)
        penalty = tau * 2 * d + moved * spread  # tau |kl - kl'|, kl = (E q - V) / tau
        bound.append(gamma * bound[-1] + gamma * (penalty + moved * width))
    n = np.arange(ITERATES + 1)
    noise = 1e-12 * (z[-1] - z[0])  # rounding, which W_2 sees as its square root
    w1 = np.maximum(found["w1"] - noise, 0) / ((n + 1) * gamma**n)
    w2 = np.maximum(found["w2"] - noise**0.5, 0) / gamma ** (n / 2)
    powers = mean_error[0] * gamma**n + noise
    return {
        "iterates/mean/ratio": (mean_error / powers).max(),
        "iterates/ratio": (found["w1"] / (np.array(bound) + noise)).max(),
        "iterates/late/ratio": np.array([w[SOON:].max() / w[:SOON].max() for w in (w1, w2)]),
        "iterates/w1": found["w1"] / found["w1"][0],
        "iterates/w2": found["w2"] / found["w2"][0],
    }


def _sup_w1(one: Array, two: Array, z: Array) -> float:
    """sup over pairs of W_1 on the grid z, in NumPy."""
    return float((np.abs(np.cumsum(one - two, -1))[..., :-1] * np.diff(z)).sum(-1).max())


def _width(laws: Array, z: Array) -> float:
    """D: the largest W_1 between the laws of two actions of one state."""
    A = laws.shape[1]
    return max(_sup_w1(laws[:, a], laws[:, b], z) for a in range(A) for b in range(A))
