"""The soft distributional Bellman operator with the quantile projection.

The paper projects onto a fixed grid; with quantiles the atoms move and the weights are fixed. Laws
are m atoms of equal weight, theta [S, A, m], instead of probabilities on a grid.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from papers.temperature_decoupling import method


def quantile_project(
    y: Float[ArrayLike, " k"], weight: Float[ArrayLike, " k"], m: int
) -> Float[Array, " m"]:
    """The m quantiles at levels (i - 1/2) / m of the law with these atoms and weights.

    Of all laws with m equal atoms it is nearest in W_1, at most (max y - min y) / (2 m) away.
    """
    y, weight = jnp.asarray(y), jnp.asarray(weight)
    order = jnp.argsort(y)
    levels = (jnp.arange(m, dtype=y.dtype) + 0.5) / m
    place = jnp.searchsorted(jnp.cumsum(weight[order]), levels)
    return y[order][jnp.clip(place, 0, y.shape[0] - 1)]


def soft_quantile_operator(
    mdp: method.TabularMDP,
    log_ref: Float[ArrayLike, "S A"],
    pi: Float[ArrayLike, "S A"],
    tau: method.Scalar,
) -> method.Operator:
    """T^pi_tau with the quantile projection, on laws given by m equal atoms theta [S, A, m]."""
    method.check_temperature("tau", tau, "at least 0")
    method.check_precision(mdp, log_ref, pi)
    pi, r = jnp.asarray(pi), jnp.asarray(mdp.r)
    penalty = tau * jnp.where(jnp.asarray(tau) > 0, method.kl(pi, log_ref), 0)
    index, prob = (jnp.moveaxis(part, 0, -1) for part in method.by_successor(mdp.P, r.shape))

    def operator(theta: Float[ArrayLike, "S A m"]) -> Array:
        theta = jnp.asarray(theta)
        m = theta.shape[-1]

        def pair(r: Array, index: Array, prob: Array) -> Array:
            y = r + mdp.gamma * (theta[index] - penalty[index][:, None, None])
            weight = (prob[:, None] * pi[index])[..., None] / m
            return quantile_project(y.ravel(), jnp.broadcast_to(weight, y.shape).ravel(), m)

        return jax.vmap(jax.vmap(pair))(r, index, prob)

    return operator
