"""What a run on the host measures at every point: `measure`'s metrics, under the same names.

Ranks, dormant units and `policy_variance` are of the fixed probe states; `ess`, `kl_k1`, `kl_k3`
and `coverage` of the newest rollout; the gradient is that of 256 of its transitions. Coverage of
pixels: the occupied share of a 50 x 50 grid over a fixed random projection to the plane, whose
bounds are those of the probe states and half as much again, the same for every configuration.
Networks are applied to a few states at a time, so that memory does not grow with what is measured.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from papers.ppo_scaling import method
from papers.ppo_scaling.measure import of_features
from papers.ppo_scaling.networks import Net
from papers.ppo_scaling.train import Hyper, Learner, Rollout

ROWS = 64
Measures = Callable[[Any, Rollout, Array, Array, Hyper, Array], dict[str, Array]]
"""(learner state, newest rollout, observations after it, key, hp, probe states) -> numbers."""


def categorical_log_probs(heads: Any, actions: Array) -> Float[Array, " B"]:
    """log pi(a|s) of the actions taken."""
    log_pi = jax.nn.log_softmax(heads.logits)
    return jnp.take_along_axis(log_pi, actions[:, None], axis=1)[:, 0]


def make_measures(
    net: Net, learner: Learner, log_probs: Callable[[Any, Array], Array] | None
) -> Measures:
    """The measurements of a learner, compiled.

    Args:
        log_probs: (heads, actions) -> log pi(a|s); None for algorithms without a policy.
    """

    @jax.jit
    def measure(
        state: Any, rollout: Rollout, last_obs: Array, key: Array, hp: Hyper, probe: Array
    ) -> dict[str, Array]:
        heads = in_rows(lambda obs: net.apply(state.params, obs), probe)
        grads = learner.gradient(state, rollout, last_obs, key, hp)
        kurtosis, zeros = method.grad_kurtosis(grads)
        obs = rollout.obs.reshape(-1, *rollout.obs.shape[2:])
        found = {
            **of_features(heads.features),
            "weight_norm": method.weight_norm(state.params),
            "grad_kurtosis_log": kurtosis,
            "grad_kurtosis_raw": method.grad_kurtosis(grads, log=False)[0],
            "grad_zeros": zeros,
            "coverage": covered(obs, probe),
        }
        if log_probs is categorical_log_probs:
            found["policy_variance"] = method.policy_variance(jax.nn.softmax(heads.logits))
        if (policy := log_probs) is not None:
            actions = rollout.actions.reshape(-1, *rollout.actions.shape[2:])
            new = in_rows(
                lambda both: policy(net.apply(state.params, both[0]), both[1]), (obs, actions)
            )
            log_ratio = new - rollout.log_probs.reshape(-1)
            found["ess"] = method.ess(log_ratio)
            found["kl_k1"] = -log_ratio.mean()
            found["kl_k3"] = (jnp.exp(log_ratio) - 1 - log_ratio).mean()
        return {name: jnp.asarray(x, jnp.float32) for name, x in found.items()}

    return measure


def in_rows(f: Callable[[Any], Any], x: Any, rows: int = ROWS) -> Any:
    """f(x) for a function of a batch that does not look across it, `rows` at a time."""
    states = jax.tree.leaves(x)[0].shape[0]
    size = rows if states % rows == 0 else states
    pieces = jax.tree.map(lambda leaf: leaf.reshape(-1, size, *leaf.shape[1:]), x)
    found = jax.lax.map(f, pieces)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), found)


def covered(obs: Array, probe: Array) -> Float[Array, ""]:
    """Coverage of a batch of pixels or vectors, see the top of this file."""
    points, box = projected(obs), projected(probe)
    low, high = box.min(axis=0), box.max(axis=0)
    margin = 0.25 * (high - low) + 1e-6
    return method.coverage(points, low - margin, high + margin)


def projected(obs: Array) -> Float[Array, "n 2"]:
    """A fixed random projection to the plane."""

    def plane(block: Array) -> Array:
        flat = block.reshape(len(block), -1).astype(jnp.float32)
        key = jax.random.key(0, impl="threefry2x32")
        axes = jax.random.normal(key, (flat.shape[1], 2), jnp.float32)
        return flat @ axes / jnp.sqrt(jnp.float32(flat.shape[1]))

    return in_rows(plane, obs)
