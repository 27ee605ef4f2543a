"""Return laws on the small MDPs: the paper's estimates, iterates, projections.

Everything is compared with the enumerated laws of `oracle.py`. Arrays are NumPy, float64 unless a
function says otherwise.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from papers.temperature_decoupling import accuracy, mdps, method, oracle
from papers.temperature_decoupling.quantile import soft_quantile_operator

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
            found.append(weights @ np.asarray(_projected(atoms, z)))
    return np.stack(found)


def _limits(example: mdps.Example) -> tuple[Array, Array]:
    """pi^{ref,*} and pi^{ERL,*}, float64."""
    with jax.enable_x64():
        found = _compiled_limits(example.mdp, method.log_policy(example.pi_ref))
        return np.asarray(found[0]), np.asarray(found[1])


@jax.jit
def _compiled_limits(mdp: method.TabularMDP, log_ref: Any) -> tuple[Any, Any]:
    return method.filtered_reference(mdp, log_ref), method.erl_limit(mdp, log_ref)[0]


_projected = jax.jit(method.project, static_argnames=("kind", "alpha"))
_points = jax.jit(method.point_masses, static_argnames="kind")


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
    with jax.enable_x64(precision == "float64"), warnings.catch_warnings():
        if precision == "float32":  # that rounding decides is what this shows
            warnings.filterwarnings("ignore", ".*an artefact of rounding.*")
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
PATH = 80
"""Iterates that are computed; the last one stands for the limit."""
PATH_GRID = np.linspace(-2, 10, 145)


def iterates() -> Numbers:
    """Laws from x0 of M4 along T* and T*_tau (figure 4.1), and errors on M2 along T*_tau.

    Returns:
        `iterates/laws` [1 + taus, FLIPS + 1, m]; `iterates/steps` [1 + taus, FLIPS], W_1 between
        consecutive ones; `halving/mean`, `halving/w1` [13]: sup errors on M2 at tau = 0.1 from
        point masses at 0.
    """
    example, z = mdps.tie_flip(), PATH_GRID
    mdp = example.mdp._replace(P=method.sparse(example.mdp.P))
    log_ref = method.log_policy(example.pi_ref)
    with jax.enable_x64():
        start = _points(mdps.TIE_FLIP_START, z)
        paths = [_greedy_path(mdp, log_ref, z, start)]
        paths += [_soft_path(mdp, log_ref, tau, z, start) for tau in FLIP_TAUS]
        laws = np.stack([np.asarray(path)[: FLIPS + 1, 0, 0] for path in paths])
    steps = (np.abs(np.cumsum(np.diff(laws, axis=1), -1))[..., :-1] * np.diff(z)).sum(-1)
    return {"iterates/laws": laws, "iterates/steps": steps, **_halving()}


@jax.jit
def _greedy_path(mdp: method.TabularMDP, log_ref: Any, z: Any, start: Any) -> Any:
    return _path(method.greedy_dist_optimality(mdp, log_ref, z), start)


@jax.jit
def _soft_path(mdp: method.TabularMDP, log_ref: Any, tau: Any, z: Any, start: Any) -> Any:
    return _path(method.soft_dist_optimality(mdp, log_ref, tau, z), start)


def _path(operator: method.Operator, start: Any) -> Any:
    return jax.lax.scan(lambda zeta, _: (operator(zeta), zeta), start, length=PATH + 1)[1]


def _halving() -> Numbers:
    example, tau, z = mdps.lottery(), 0.1, PATH_GRID
    mdp = example.mdp._replace(P=method.sparse(example.mdp.P))
    log_ref = method.log_policy(example.pi_ref)
    with jax.enable_x64():
        path = np.asarray(_soft_path(mdp, log_ref, tau, z, _points(np.zeros((6, 2)), z)))
    error = (np.abs(np.cumsum(path - path[-1], -1))[..., :-1] * np.diff(z)).sum(-1)
    mean = np.abs(path @ z - oracle.soft_q(example.mdp, example.pi_ref, tau, 120))
    return {"halving/mean": mean.max((1, 2))[:13], "halving/w1": error.max((1, 2))[:13]}


# --- Projections ----------------------------------------------------------------------------------


def projection_errors(counts: Sequence[int], alpha: float) -> Numbers:
    """sup-W_1 between the return laws of pi^{ref,*} on M2, projected and enumerated.

    The grids are not aligned with the atoms of the truth, which would hide the error.

    Returns:
        `error` [counts, 3], cramer, mmd, quantile; `bound` [counts, 2], cramer and quantile.
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
            laws = [np.asarray(law) for law in _three_laws(mdp, log_ref, pi, z, alpha)]
        row = [_sup_error([(z, w) for w in law.reshape(12, m)], truth) for law in laws[:2]]
        equal = np.full(m, 1 / m)
        row.append(_sup_error([(y, equal) for y in laws[2].reshape(12, m)], truth))
        errors.append(row)
        bounds.append([method.projection_error(z, 0.5), 8 / (2 * m) / 0.5])
    return {"error": np.array(errors), "bound": np.array(bounds)}


@functools.partial(jax.jit, static_argnames="alpha")
def _three_laws(
    mdp: method.TabularMDP, log_ref: Any, pi: Any, z: Any, alpha: float
) -> tuple[Any, Any, Any]:
    """Return laws of pi by each projection: probabilities on z twice, and quantiles."""
    start = method.point_masses(jnp.zeros_like(mdp.r), z)
    cramer = method.soft_dist_operator(mdp, log_ref, pi, 0.0, z)
    mmd = method.soft_dist_operator(mdp, log_ref, pi, 0.0, z, "mmd", alpha)
    quantile = soft_quantile_operator(mdp, log_ref, pi, 0.0)
    theta = jnp.zeros((*start.shape[:2], z.shape[0]))
    return (method.iterate(cramer, start, 60), method.iterate(mmd, start, 60),
            method.iterate(quantile, theta, 60))  # fmt: skip


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
