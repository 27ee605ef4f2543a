"""Each theorem, decided on one MDP after another: what it says is zero, or bounded, is measured.

Here those on values and policies; `theorems_laws.py` has those on return laws. The compiled part
(`_values`, `theorems_laws.return_laws`) is `method.py` over a batch of MDPs and all temperatures;
what it is compared with comes from `oracle.py`. All MDPs have one shape, [STATES, ACTIONS], so that
the small examples and the random ones share two compiled programs. Numbers that a theorem says are
at most one are named `.../ratio`, those that should vanish `.../error`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from papers.temperature_decoupling import mdps, method, oracle, theorems_laws
from papers.temperature_decoupling.method import Successors, TabularMDP

Array = np.ndarray
Numbers = dict[str, Any]

STATES, ACTIONS, SUCCESSORS = 6, 4, 3
CHUNK = 4
"""MDPs that are computed at once."""
TAUS = (0.3, 0.1, 0.03, 0.01, 1e-3, 1e-6, 1e-9, 1e-12)
PLAIN = 4
"""The first so many temperatures are computed by plain soft value iteration, too."""
POWERS = (1.5, 2.0, 3.0)
"""sigma = tau ** power."""
RATIO = 0.5
"""sigma = RATIO tau, the control that must not converge to the filtered reference."""
ACCURACIES = (1.0, 0.1, 0.01)
"""eps of Theorem 4.6."""
SWEEPS = 360  # 0.9 ** 360 = 3e-17
PAIRS = 48
"""Random pairs of values for the bound on total variation."""


def fitted(example: mdps.Example) -> mdps.Planted:
    """A small MDP in the common shape, by copies of action 0 that the reference never plays.

    Further states are absorbing and nobody comes there. q* and N come from the oracle.
    """
    mdp, pi_ref = example
    S, A = pi_ref.shape
    P, r = np.zeros((STATES, ACTIONS, STATES)), np.full((STATES, ACTIONS), mdp.r.max())
    P[np.arange(STATES), :, np.arange(STATES)] = 1
    P[:S] = 0
    P[:S, :, :S] = mdp.P[:, [*range(A), *[0] * (ACTIONS - A)]]
    r[:S] = mdp.r[:, [*range(A), *[0] * (ACTIONS - A)]]
    wide = np.zeros((STATES, ACTIONS))
    wide[:, :A] = 1 / A
    wide[:S, :A] = pi_ref
    padded = TabularMDP(P, r, np.float64(mdp.gamma))
    q = _limit_q(padded, wide)
    best = q.max(1, keepdims=True, where=wide > 0, initial=-np.inf)
    return mdps.Planted(padded, wide, (wide > 0) & (best - q < 1e-9), q)


def _limit_q(mdp: TabularMDP, pi_ref: Array) -> Array:
    """q*_ref by plain value iteration over the support of the reference."""
    q = np.zeros_like(pi_ref)
    for _ in range(SWEEPS):
        best = q.max(1, where=pi_ref > 0, initial=-np.inf)
        q = np.asarray(mdp.r) + mdp.gamma * (np.asarray(mdp.P) @ best)
    return q


EXAMPLES = (mdps.tri_state, mdps.lottery, mdps.scary_action, mdps.tie_flip)


def numbered(number: int) -> mdps.Planted:
    """The MDP of this number: 0 to 3 are M1 to M4 in the common shape, the others are random."""
    if number < len(EXAMPLES):
        return fitted(EXAMPLES[number]())
    return mdps.planted(number, STATES, ACTIONS, SUCCESSORS)


def decide(numbers: Sequence[int]) -> dict[str, Array]:
    """All measurements for the MDPs of these numbers, at most CHUNK; each array has them first.

    The number is also the seed of the random policies, values and laws that an MDP is tried with.
    """
    wide = [numbers[min(i, len(numbers) - 1)] for i in range(CHUNK)]  # always one compiled shape
    batch = [numbered(number) for number in wide]
    qs, taus = (np.stack(part) for part in zip(*map(_random_pairs, wide), strict=True))
    log_ref = np.stack([method.log_policy(one.pi_ref) for one in batch])
    with jax.enable_x64():
        values = jax.tree.map(np.asarray, _values(_stacked(batch, False), log_ref, qs, taus))
        grids = np.stack([theorems_laws.grid(one) for one in batch])
        limits = np.stack([values["filtered"], values["erl"]], axis=1)
        found = theorems_laws.return_laws(_stacked(batch, True), log_ref, grids, limits)
        laws = jax.tree.map(np.asarray, found)
    rows = []
    for i, number in enumerate(numbers):
        one, mine = batch[i], {name: value[i] for name, value in values.items()}
        rng = np.random.default_rng([number, 46])
        found = _value_theorems(one, mine, rng) | theorems_laws.on_atoms(one, rng)
        its = {name: value[i] for name, value in laws.items()}
        q = mine["plain"][TAUS.index(theorems_laws.ITERATE_TAU)]
        rows.append(found | theorems_laws.on_grid(one, its, q, grids[i]))
    return {name: np.stack([np.asarray(row[name]) for row in rows]) for name in rows[0]}


def bound_curves() -> dict[str, Array]:
    """Theorem 3.6 as curves over d, and the pair of two-action values that attains tanh(d / 2)."""
    d = 10 ** np.linspace(-2, 1, 31)
    q, uniform = np.stack([d, -d], axis=-1) / 2, np.full((31, 2), 0.5)
    attained = oracle.tv(oracle.gibbs(q, uniform, 1.0), oracle.gibbs(-q, uniform, 1.0))
    return {
        "curve/d": d,
        "curve/paper": oracle.tv_bound(d),
        "curve/sharp": oracle.sharp_tv_bound(d),
        "curve/attained": attained,
    }


def _stacked(batch: Sequence[mdps.Planted], thin: bool) -> TabularMDP:
    def transitions(P: Any) -> Any:
        if not thin:
            return P
        found = method.sparse(P)
        lack = SUCCESSORS - np.asarray(found.state).shape[-1]
        widen = [(0, 0), (0, 0), (0, lack)]
        return Successors(np.pad(found.state, widen), np.pad(found.prob, widen))

    parts = [one.mdp._replace(P=transitions(one.mdp.P)) for one in batch]

    return jax.tree.map(lambda *leaves: np.stack(leaves), *parts)


def _random_pairs(seed: int) -> tuple[Array, Array]:
    """Pairs of values [PAIRS, 2, S, A] at distances from 1e-3 to 10 temperatures, and these."""
    rng = np.random.default_rng([seed, 36])
    tau = 10 ** rng.uniform(-2, 1, PAIRS)
    apart = 10 ** rng.uniform(-3, 1, (PAIRS, 1, 1)) * tau[:, None, None]
    q = rng.normal(size=(PAIRS, STATES, ACTIONS)) * tau[:, None, None]
    return np.stack([q, q + apart * rng.uniform(-1, 1, q.shape)], axis=1), tau


# --- Compiled: values and policies ----------------------------------------------------------------


@jax.jit
def _values(mdp: TabularMDP, log_ref: Any, pairs: Any, pair_taus: Any) -> dict[str, Any]:
    """Values and policies at every temperature, over a batch of MDPs."""
    taus = jnp.asarray(TAUS)

    def one(mdp: TabularMDP, log_ref: Any, pairs: Any, pair_taus: Any) -> dict[str, Any]:
        best = method.ref_optimal_q(mdp, log_ref)
        erl, W, u = method.erl_limit(mdp, log_ref)
        at = functools.partial(jax.vmap, in_axes=0)
        gap, _ = method.tilt(mdp, log_ref, 1.0)
        near = (1 - mdp.gamma) / (2 * mdp.gamma * -_least(log_ref)) * jnp.asarray(ACCURACIES)
        apart = pairs[:, 0] - pairs[:, 1]
        both = jax.vmap(jax.vmap(method.gibbs, (0, None, None)), (0, None, 0))
        return {
            "best": best,
            "filtered": method.filtered_reference(mdp, log_ref),
            "erl": erl,
            "W": W,
            "u": u,
            "tilts": at(lambda tau: method.tilt(mdp, log_ref, tau)[1])(taus),
            "plain": at(lambda tau: method.soft_vi(mdp, log_ref, tau, SWEEPS))(taus[:PLAIN]),
            "greedy": at(lambda tau: jax.nn.softmax(log_ref + gap / tau, axis=-1))(taus),
            "standard": at(lambda tau: method.optimal_policy(mdp, log_ref, tau))(taus),
            "decoupled": jnp.stack([
                at(lambda tau, k=k: method.decoupled_policy(mdp, log_ref, tau, tau**k))(taus)
                for k in POWERS
            ]),
            "fixed": method.decoupled_policy(mdp, log_ref, taus[4], RATIO * taus[4]),
            "near": at(lambda tau: method.optimal_policy(mdp, log_ref, tau))(near),
            "near_taus": near,
            "pairs": both(pairs, log_ref, pair_taus),
            "pair_gap": jnp.max(jnp.where(log_ref > -jnp.inf, jnp.abs(apart), 0), -1)
            / pair_taus[:, None],
        }  # fmt: skip

    return jax.vmap(one)(mdp, log_ref, jnp.asarray(pairs), jnp.asarray(pair_taus))


def _least(log_ref: Any) -> Any:
    """log p_ref."""
    return jnp.min(jnp.where(log_ref > -jnp.inf, log_ref, jnp.inf))


def _value_theorems(one: mdps.Planted, found: Mapping[str, Array], rng: Any) -> Numbers:
    mdp, pi_ref = one.mdp, one.pi_ref
    taus = np.array(TAUS)
    shift = taus[:, None, None] * found["tilts"]  # q*_tau - q*_ref
    cost = -np.log(oracle.least_mass(pi_ref)) * mdp.gamma / (1 - mdp.gamma)
    scale = max(1.0, np.abs(one.q).max())
    numbers = {
        # Theorem 3.2, Lemma B.1
        "limit/error": np.abs(found["best"] - one.q).max() / scale,
        "split/error": np.abs(found["plain"] - found["best"] - shift[:PLAIN]).max() / scale,
        "monotone/error": max(0.0, (shift[:-1] - shift[1:]).max(), shift.max()) / scale,
        "cold/error": np.abs(shift[-1]).max(),
        "distance": np.abs(shift).max((1, 2)),
        # Lemma B.10
        "linear/ratio": np.abs(found["tilts"]).max((1, 2)) / cost,
    }
    standard, decoupled = found["standard"][-1], found["decoupled"][1, -1]
    numbers |= {
        # Figure 3.1 is about M1, states x0 to x2.
        "two/standard": standard[0, 0],
        "two/decoupled": decoupled[0, 0],
        "two/elsewhere": oracle.tv(standard, decoupled)[1:3].max(),
        "policies": np.stack([found["standard"], found["decoupled"][1]])[:, :, :3, 0],
    }
    numbers |= _total_variation(one, found)
    numbers |= _standard_limit(one, found, rng)
    numbers |= _decoupled_limit(one, found, cost)
    return numbers | _optimality(one, found, rng) | _narrower(one, rng)


def _total_variation(one: mdps.Planted, found: Mapping[str, Array]) -> Numbers:
    """Theorem 3.6 on random pairs, and on the pair of MDP values at neighbouring temperatures."""
    q, pairs = found["plain"], found["pairs"]
    d, got = [found["pair_gap"].ravel()], [oracle.tv(pairs[:, 0], pairs[:, 1]).ravel()]
    for i, tau in enumerate(TAUS[: PLAIN - 1]):
        near, far = (oracle.gibbs(q[k], one.pi_ref, tau) for k in (i, i + 1))
        gap = np.where(one.pi_ref > 0, np.abs(q[i] - q[i + 1]), 0)
        d.append(gap.max(1) / tau)
        got.append(oracle.tv(near, far))
    d, got = np.concatenate(d), np.concatenate(got)
    d, got = d[d > 1e-9], got[d > 1e-9]
    return {
        "tv/ratio": (got / oracle.tv_bound(d)).max(),
        "sharp/ratio": (got / oracle.sharp_tv_bound(d)).max(),
        "slope/ratio": (got / d)[d < 0.5].max(),
    }


def _standard_limit(one: mdps.Planted, found: Mapping[str, Array], rng: Any) -> Numbers:
    """Theorem 2.5: the closed form is the limit, and the cheapest of the optimal policies."""
    erl, W = found["erl"], found["W"]
    excess = np.inf
    for _ in range(16):
        pi = np.where(one.optimal, rng.exponential(size=one.optimal.shape), 0)
        pi /= pi.sum(1, keepdims=True)
        excess = min(excess, (oracle.kl_cost(one.mdp, one.pi_ref, pi) + W).min())
    best = one.q.max(1, where=one.pi_ref > 0, initial=-np.inf)
    shortfall = best - oracle.policy_value(one.mdp, one.pi_ref, erl)
    return {
        "erl/tv": oracle.tv(found["standard"], erl).max(1),
        "erl/cost/error": np.abs(oracle.kl_cost(one.mdp, one.pi_ref, erl) + W).max(),
        "erl/optimal/error": np.abs(shortfall).max(),
        "erl/excess": excess,
    }


def _decoupled_limit(one: mdps.Planted, found: Mapping[str, Array], cost: float) -> Numbers:
    """Theorem 3.9: distance to the filtered reference, its bound, the control of fixed ratio."""
    filtered = np.where(one.optimal, one.pi_ref, 0)
    filtered /= filtered.sum(1, keepdims=True)
    square = found["decoupled"][POWERS.index(2.0)]
    lost = [(found["best"] - oracle.policy_q(one.mdp, pi)).max() for pi in square]
    moved = oracle.tv(square, found["greedy"]).max(1)
    bound = oracle.tv_bound(np.array(TAUS) * cost)  # sigma / tau = tau
    tilted = filtered * np.exp(RATIO * (found["u"] - found["u"].max(1, keepdims=True)))
    tilted /= tilted.sum(1, keepdims=True)
    return {
        "filtered/error": oracle.tv(found["filtered"], filtered).max(),
        "decoupled/tv": oracle.tv(found["decoupled"], filtered).max(-1),
        "decoupled/lost": np.array(lost),
        "decoupled/ratio": (moved / bound).max(),
        "fixed/error": oracle.tv(found["fixed"], tilted).max(),
        "fixed/tv": oracle.tv(found["fixed"], filtered).max(),
        "limits/tv": oracle.tv(found["erl"], filtered).max(),
    }


def _optimality(one: mdps.Planted, found: Mapping[str, Array], rng: Any) -> Numbers:
    """Theorems 2.3 (pi^{tau,*} is the only soft-optimal policy) and 4.6 (how good without it)."""
    mdp, pi_ref, k = one.mdp, one.pi_ref, 1  # tau = 0.1
    tau, best = TAUS[k], found["standard"][k]
    top = oracle.soft_value(found["plain"][k], pi_ref, tau)
    own = np.abs(oracle.policy_value(mdp, pi_ref, best, tau) - top).max()
    identity, least = 0.0, np.inf
    for _ in range(8):
        pi = np.where(pi_ref > 0, rng.exponential(size=pi_ref.shape), 0)
        pi = 0.9 * pi / pi.sum(1, keepdims=True) + 0.1 * best
        gap = top - oracle.policy_value(mdp, pi_ref, pi, tau)
        identity = max(identity, np.abs(gap - oracle.shortfall(mdp, pi_ref, pi, best, tau)).max())
        least = min(least, gap.min())
    lost = [
        (found["best"] - oracle.policy_q(mdp, pi)).max() / eps
        for pi, eps in zip(found["near"], ACCURACIES, strict=True)
    ]
    return {
        "unique/own/error": own,
        "unique/identity/error": identity,
        "unique/least": least,
        "near/ratio": np.array(lost),
    }


def _narrower(one: mdps.Planted, rng: Any) -> Numbers:
    """Lemma 3.1: take the optimal actions of one state out of the reference's support."""
    spare = ((one.pi_ref > 0) & ~one.optimal).any(1)
    pi_ref = one.pi_ref.copy()
    if spare.any():
        x = rng.choice(np.flatnonzero(spare))
        pi_ref[x] = np.where(one.optimal[x], 0, pi_ref[x])
        pi_ref[x] /= pi_ref[x].sum()
    log_ref = method.log_policy(pi_ref)
    with jax.enable_x64():
        q, pi = (np.asarray(found) for found in _narrow(one.mdp, log_ref))
    return {
        "narrow/above": (q - one.q).max(),
        "narrow/error": np.abs(q - _limit_q(one.mdp, pi_ref)).max(),
        "narrow/loss": (one.q - q).max(),
        "narrow/outside": np.where(pi_ref > 0, 0, pi).max() + float(~np.isfinite(pi).all()),
        "narrow/some": float(spare.any()),
    }


@jax.jit
def _narrow(mdp: TabularMDP, log_ref: Any) -> tuple[Any, Any]:
    return method.ref_optimal_q(mdp, log_ref), method.filtered_reference(mdp, log_ref)
