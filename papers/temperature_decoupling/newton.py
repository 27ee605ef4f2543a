"""Soft-optimal values of many small MDPs at once, by Newton steps: not of the paper, for speed.

The paper iterates B*_tau (`method.soft_vi`), which takes hundreds of sweeps; here a handful of
linear systems gives the same fixed point. Batch over MDPs and temperatures with `jax.vmap`.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from papers.temperature_decoupling import method


def soft_policy_iteration(
    mdp: method.TabularMDP, log_ref: Float[ArrayLike, "S A"], tau: method.Scalar, tol: float = 1e-10
) -> Float[Array, "S A"]:
    """q*_tau to sup-norm accuracy `tol`, by Newton's method on V = V_tau(r + gamma P V).

    A step evaluates pi = G_tau q exactly: V <- V + (I - gamma P_pi)^{-1} (V_tau q - V), one linear
    system. It converges quadratically, in a handful of steps at any discount. Needs a dense P.
    """
    method.check_temperature("tau", tau)
    method.check_precision(mdp, log_ref)
    if isinstance(mdp.P, method.Successors):
        raise ValueError("soft_policy_iteration needs a dense P; use soft_vi for a sparse one.")
    return _newton(mdp, jnp.asarray(log_ref), tau, tol)


@jax.jit
def _newton(mdp: method.TabularMDP, log_ref: Array, tau: Any, tol: Any) -> Array:
    P, r = jnp.asarray(mdp.P), jnp.asarray(mdp.r)
    eye = jnp.eye(r.shape[0], dtype=r.dtype)

    def residual(v: Array) -> tuple[Array, Array]:
        q = r + mdp.gamma * (P @ v)
        return q, method.soft_value(q, log_ref, tau) - v

    def go_on(state: tuple) -> Array:
        _, _, error, steps = state
        return (jnp.max(jnp.abs(error)) > tol * (1 - mdp.gamma)) & (steps < 100)

    def step(state: tuple) -> tuple:
        v, q, error, steps = state
        along = jnp.einsum("xa,xay->xy", method.gibbs(q, log_ref, tau), P)
        v = v + jnp.linalg.solve(eye - mdp.gamma * along, error)
        return (v, *residual(v), steps + 1)

    v = jnp.zeros(r.shape[0], r.dtype)
    return lax.while_loop(go_on, step, (v, *residual(v), jnp.int32(0)))[1]
