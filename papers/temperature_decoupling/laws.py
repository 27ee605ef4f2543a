"""Return laws on the small MDPs: the paper's estimates, iterates, projections.

Everything is compared with the enumerated laws of `oracle.py`. Arrays are NumPy, float64 unless a
function says otherwise.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from papers.temperature_decoupling import accuracy, mdps, method, oracle

Array = np.ndarray
Numbers = dict[str, Any]
CHOICES = ("standard", "decoupled")


def limit_laws(z: Array) -> Array:
    """Laws of the return from x0 of M2 under pi^{ref,*} and pi^{ERL,*}, on the grid, [2, m].

    Raises:
        ValueError: 0, 1 and 2 are not on the grid; a projection stands in for them then.
    """
    example = mdps.lottery()
    found = []
    for pi in _limits(example):
        atoms, weights = oracle.as_arrays(oracle.exact_law(example.mdp, pi, 0))
        with jax.enable_x64():
            found.append(weights @ np.asarray(method.project(atoms, z)))
    return np.stack(found)


def _limits(example: mdps.Example) -> tuple[Array, Array]:
    """pi^{ref,*} and pi^{ERL,*}, float64."""
    log_ref = method.log_policy(example.pi_ref)
    with jax.enable_x64():
        filtered = np.asarray(method.filtered_reference(example.mdp, log_ref))
        return filtered, np.asarray(method.erl_limit(example.mdp, log_ref)[0])


def estimate(
    sigma: float, z: Array, kind: method.Kind, alpha: float, sweeps: int, precision: str
) -> Numbers:
    """Standard and decoupled estimates for x0 of M2, optimised at sigma (figures 4.3 and 4.4).

    Args:
        precision: float64, or float32 for everything from the MDP on.

    Returns:
        `eta` [2, m], laws from x0, standard and decoupled; `policy` [2, 2], the probability of
        action 0 at x0 and x1; `mean` [2]; `w1` [2, 2], distances to the laws of both limits.
    """
    kind_of = np.dtype(precision)
    example = mdps.lottery()
    thin = example.mdp._replace(P=method.sparse(example.mdp.P))
    mdp = thin.astype(kind_of)
    log_ref = method.log_policy(example.pi_ref.astype(kind_of))
    etas, policies = [], []
    with jax.enable_x64(precision == "float64"):
        for choice in CHOICES:
            play = kind_of.type(sigma if choice == "standard" else np.sqrt(sigma))
            cold, grid = kind_of.type(sigma), z.astype(kind_of)
            zeta, pi = method.estimate_reference_return_law(
                mdp, log_ref, play, cold, sweeps, sweeps, grid, kind, alpha
            )
            etas.append(np.einsum("a,am->m", np.asarray(pi)[0], np.asarray(zeta)[0]))
            policies.append(np.asarray(pi)[:2, 0])
    eta = np.stack(etas).astype(np.float64)
    w1 = [[_w1(law, limit, z) for limit in limit_laws(z)] for law in eta]
    return {"eta": eta, "policy": np.stack(policies).astype(np.float64), "mean": eta @ z,
            "w1": np.array(w1)}  # fmt: skip


def _w1(p: Array, q: Array, z: Array) -> float:
    return float((np.abs(np.cumsum(p - q))[:-1] * np.diff(z)).sum())


# --- Iterates -------------------------------------------------------------------------------------

FLIPS = 40  # float64 makes ties exact after about 50 steps, and the oscillation stops
FLIP_TAUS = (0.3, 0.1)
FLIP_GRID = np.linspace(-2, 10, 145)


def iterates() -> Numbers:
    """Laws from x0 of M4 along T* and T*_tau (figure 4.1), and errors on M2 along T*_tau.

    Returns:
        `laws` [1 + taus, FLIPS + 1, m]; `steps` [1 + taus, FLIPS], W_1 between consecutive ones;
        `halving/mean`, `halving/w1` [13]: sup errors on M2 at tau = 0.1 from point masses at 0.
    """
    example = mdps.tie_flip()
    mdp = example.mdp._replace(P=method.sparse(example.mdp.P))
    log_ref, z = method.log_policy(example.pi_ref), FLIP_GRID
    with jax.enable_x64():
        operators = [method.greedy_dist_optimality(mdp, log_ref, z)]
        operators += [method.soft_dist_optimality(mdp, log_ref, tau, z) for tau in FLIP_TAUS]
        start = method.point_masses(mdps.TIE_FLIP_START, z)
        laws = np.stack([_path(operator, start, FLIPS)[:, 0, 0] for operator in operators])
    steps = (np.abs(np.cumsum(np.diff(laws, axis=1), -1))[..., :-1] * np.diff(z)).sum(-1)
    return {"laws": laws, "steps": steps, **_halving()}


def _path(operator: method.Operator, start: Any, n: int) -> Array:
    def step(zeta: Any, _: Any) -> tuple[Any, Any]:
        return operator(zeta), zeta

    return np.asarray(jax.jit(lambda zeta: jax.lax.scan(step, zeta, length=n + 1)[1])(start))


def _halving() -> Numbers:
    example, tau, z = mdps.lottery(), 0.1, np.linspace(-2, 8, 121)
    mdp = example.mdp._replace(P=method.sparse(example.mdp.P))
    log_ref = method.log_policy(example.pi_ref)
    with jax.enable_x64():
        operator = method.soft_dist_optimality(mdp, log_ref, tau, z)
        path = _path(operator, method.point_masses(np.zeros((6, 2)), z), 80)
        q = np.asarray(method.soft_vi(mdp, log_ref, tau, 200))
    error = (np.abs(np.cumsum(path - path[-1], -1))[..., :-1] * np.diff(z)).sum(-1)
    mean = np.abs(path @ z - q)
    return {"halving/mean": mean.max((1, 2))[:13], "halving/w1": error.max((1, 2))[:13]}


# --- Projections ----------------------------------------------------------------------------------

COMPARED: tuple[Any, ...] = ("cramer", "mmd", "quantile")


def projection_errors(counts: Sequence[int], alpha: float) -> Numbers:
    """sup-W_1 between the return laws of pi^{ref,*} on M2, projected and enumerated.

    The grids are not aligned with the atoms of the truth, which would hide the error.

    Returns:
        `error` [counts, projections]; `bound` [counts, 2], those of cramer and quantile.
    """
    example = mdps.lottery()
    mdp = example.mdp._replace(P=method.sparse(example.mdp.P))
    log_ref, pi = method.log_policy(example.pi_ref), _limits(example)[0]
    truth = [
        oracle.as_arrays(oracle.exact_pair_law(example.mdp, pi, x, a)) for x, a in np.ndindex(6, 2)
    ]
    errors, bounds = [], []
    for m in counts:
        z = np.linspace(-0.137, 8.211, m)
        with jax.enable_x64():
            ready = [
                method.soft_dist_operator(mdp, log_ref, pi, 0.0, z, kind, alpha)
                for kind in COMPARED[:2]
            ]
            start = method.point_masses(np.zeros((6, 2)), z)
            laws = [np.asarray(_repeat(operator, start)) for operator in ready]
            quantile = method.soft_quantile_operator(mdp, log_ref, pi, 0.0)
            theta = np.asarray(_repeat(quantile, jnp.zeros((6, 2, m))))
        row = [_sup_error([(z, w) for w in law.reshape(12, m)], truth) for law in laws]
        equal = np.full(m, 1 / m)
        row.append(_sup_error([(y, equal) for y in theta.reshape(12, m)], truth))
        errors.append(row)
        bounds.append([method.projection_error(z, 0.5), 8 / (2 * m) / 0.5])
    return {"error": np.array(errors), "bound": np.array(bounds)}


def _repeat(operator: method.Operator, start: Any) -> Any:
    return jax.jit(functools.partial(method.iterate, operator, n=60))(start)


def _sup_error(laws: list[tuple[Array, Array]], truth: list[tuple[Array, Array]]) -> float:
    """sup W_1, from the difference of the distribution functions, so that weights may be signed."""
    worst = 0.0
    for (y, w), (y2, w2) in zip(laws, truth, strict=True):
        atoms, change = np.concatenate([y, y2]), np.concatenate([w, -w2])
        order = np.argsort(atoms)
        gaps = np.abs(np.cumsum(change[order]))[:-1] * np.diff(atoms[order])
        worst = max(worst, float(gaps.sum()))
    return worst


def accuracies(wanted: Sequence[float]) -> Numbers:
    """sup-W_1 errors of `accuracy.estimate_to` on M2, and the settings that it chose.

    Returns:
        `error` and `settings` [wanted, ...]: tau, sigma, n_opt, n_eval, number of atoms.
    """
    example = mdps.lottery()
    mdp = example.mdp._replace(P=method.sparse(example.mdp.P))
    log_ref, pi = method.log_policy(example.pi_ref), _limits(example)[0]
    truth = [
        oracle.as_arrays(oracle.exact_pair_law(example.mdp, pi, x, a)) for x, a in np.ndindex(6, 2)
    ]
    errors, chosen = [], []
    for eps in wanted:
        zeta, _, how = accuracy.estimate_to(mdp, log_ref, eps)
        laws = [(how.z, w) for w in zeta.reshape(12, -1)]
        errors.append(_sup_error(laws, truth))
        chosen.append([how.tau, how.sigma, how.n_opt, how.n_eval, len(how.z)])
    return {"error": np.array(errors), "settings": np.array(chosen)}
