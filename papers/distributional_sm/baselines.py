"""What the delta-model is compared with, and the official code's other losses.

The ensemble of gamma-models has the delta-model's networks and data, and its loss compares each
atom with its own target only: so every atom learns the *mean* occupancy. The one-step model
generates the next state and is rolled out.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from papers.distributional_sm.method import (
    Kernel,
    Params,
    TrainerSpec,
    block_means,
    generate,
    imq,
    median_bandwidth,
    rbf,
    rq_kernel,
    squared_distances,
)


def ensemble_loss(
    x: Float[Array, "m N d"], y: Float[Array, "m N d"], inner: Kernel = rq_kernel
) -> Float[Array, ""]:
    """Mean over atoms of the unbiased MMD^2 between an atom and its own target.

    Not clipped at 0, which would leave atoms that are nearly right without a gradient; it is the
    two-level loss without its outer level.
    """
    return jax.vmap(functools.partial(_own_mmd2, inner=inner))(x, y).mean()


def _own_mmd2(x: Float[Array, "N d"], y: Float[Array, "N d"], inner: Kernel) -> Float[Array, ""]:
    n = len(x)
    at_zero = inner(jnp.zeros((), x.dtype))

    def within(z: Array) -> Array:
        return (n * block_means(z[None], z[None], inner)[0, 0] - at_zero) / (n - 1)

    return within(x) + within(y) - 2 * block_means(x[None], y[None], inner)[0, 0]


def one_step_spec(spec: TrainerSpec) -> TrainerSpec:
    """The same networks as one generator of the next state: gamma = 0, no bootstrap."""
    return replace(spec, gamma=0.0, horizon=1, atoms=1, include_source=False)


@functools.partial(jax.jit, static_argnames=("runs", "steps"))
def roll_out(
    params: Params,
    key: Key[Array, ""],
    x: Float[Array, " d"],
    runs: int,
    steps: int,
    low: Float[Array, " d"] | float = -jnp.inf,
    high: Float[Array, " d"] | float = jnp.inf,
) -> Float[Array, "runs steps d"]:
    """X_0 = x, X_1, ... by a one-step model (m = 1), each state kept within [low, high].

    Deviation: the official roll-outs begin at X_1, which shifts rewards by one step, and are not
    bounded; but a model fed with its own errors soon leaves all data, and then runs away.
    """
    latent = params[0]["w"].shape[1] - len(x)

    def body(states: Array, key: Array) -> tuple[Array, Array]:
        z = jax.random.normal(key, (runs * latent,), x.dtype).reshape(runs, 1, 1, latent)
        following = jax.vmap(lambda z, s: generate(params, z, s)[0, 0])(z, states)
        return jnp.clip(following, low, high), states

    _, states = jax.lax.scan(
        body, jnp.broadcast_to(x, (runs, len(x))), jax.random.split(key, steps)
    )
    return jnp.swapaxes(states, 0, 1)


def per_pair_median_loss(
    x: Float[Array, "m N d"], y: Float[Array, "m N d"], eps: float = 1e-6
) -> Float[Array, ""]:
    """The official `median` variant: Gaussian kernels, each pair of atoms with its own bandwidth.

    Pair by pair, as there; so it costs three times the kernel evaluations of `two_level_mmd2`, and
    K is no kernel: its inner one differs from pair to pair.
    """
    pairs = functools.partial(_all_pairs, distance=functools.partial(_median_mmd2, eps=eps))
    d_xx, d_yy, d_xy = pairs(x, x), pairs(y, y), pairs(x, y)
    b = median_bandwidth(d_xx, d_yy, d_xy, eps)
    return rbf(d_xx / b).mean() + rbf(d_yy / b).mean() - 2 * rbf(d_xy / b).mean()


def pairwise_two_level_mmd2(x: Float[Array, "m N d"], y: Float[Array, "m N d"]) -> Float[Array, ""]:
    """`two_level_mmd2` as usually written: one unbiased MMD^2 per pair, differentiated by JAX.

    9 m^2 N^2 kernel evaluations; the yardstick of the bench.
    """
    pairs = functools.partial(_all_pairs, distance=_pair_mmd2)
    d_xx, d_yy, d_xy = pairs(x, x), pairs(y, y), pairs(x, y)
    b = median_bandwidth(d_xx, d_yy, d_xy, 1e-6)
    return imq(d_xx / b).mean() + imq(d_yy / b).mean() - 2 * imq(d_xy / b).mean()


def _all_pairs(
    x: Array, y: Array, distance: Callable[[Array, Array], Array]
) -> Float[Array, "m m"]:
    return jax.vmap(lambda a: jax.vmap(lambda b: distance(a, b))(y))(x)


def _pair_mmd2(a: Float[Array, "N d"], b: Float[Array, "N d"]) -> Float[Array, ""]:
    return _unbiased(*(rq_kernel(squared_distances(*p)) for p in ((a, a), (b, b), (a, b))))


def _median_mmd2(a: Float[Array, "N d"], b: Float[Array, "N d"], eps: float) -> Float[Array, ""]:
    d2 = [squared_distances(*p) for p in ((a, a), (b, b), (a, b))]
    together = jnp.concatenate([d.reshape(-1) for d in (*d2, d2[2])])
    scale = jax.lax.stop_gradient(jnp.maximum(jnp.median(together), eps))
    return _unbiased(*(rbf(d / scale) for d in d2))


def _unbiased(aa: Array, bb: Array, ab: Array) -> Array:
    n = len(aa)
    within = [(k.sum() - jnp.trace(k)) / (n * (n - 1)) for k in (aa, bb)]
    return jnp.maximum(within[0] + within[1] - 2 * ab.mean(), 0)
