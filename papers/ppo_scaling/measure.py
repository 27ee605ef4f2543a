"""What is measured of a training agent, outside of the hot loop: every metric of the paper.

Where a metric is of *states*, they are the same for every configuration: `probe`, reached by random
actions before training. Where it is of *data*, it is the newest rollout. The gradient is that of a
minibatch of 256 of its transitions, whatever the configuration's own, after the update.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from papers.ppo_scaling import method
from papers.ppo_scaling.envs import Env
from papers.ppo_scaling.networks import Net
from papers.ppo_scaling.train import Algorithm, Hyper, one_gradient, start_envs

PROBE_STATES = 2048


def probe_states(env: Env, key: Key[Array, ""], n: int = PROBE_STATES) -> Array:
    """`n` states along random episodes: 64 environments, every fourth step."""
    n_envs = 64
    now = start_envs(env, key, n_envs)

    def step(carry: tuple[Any, Array], t: Array) -> tuple[tuple[Any, Array], Array]:
        state, obs = carry
        keys = jax.vmap(jax.random.fold_in, (0, None))(now.keys, t)
        pairs = jax.vmap(jax.random.split)(keys)
        actions = jax.vmap(lambda k: jax.random.randint(k, (), 0, env.n_actions))(pairs[:, 0])
        new = jax.vmap(env.step)(state, actions, pairs[:, 1])
        return (new.state, new.obs), obs

    times = jnp.arange(4 * -(-n // n_envs), dtype=jnp.uint32)
    _, seen = jax.lax.scan(step, (now.state, now.obs), times)
    return seen[::4].reshape(-1, *seen.shape[2:])[:n]


def measure(
    env: Env,
    net: Net,
    algorithm: Algorithm,
    params: Any,
    data: Any,
    key: Key[Array, ""],
    hp: Hyper,
    probe: Array,
) -> dict[str, Float[Array, ""]]:
    """Every metric of one agent at one moment.

    `data` are the transitions of the newest rollout as the loss learns from them (`make_batch`), so
    that the shape of the rollout does not matter here. Names hold thresholds. Those with a policy's
    probabilities are left out for PQN, whose policy is a maximum; `policy_variance` then is that of
    the greedy action.
    """
    heads = net.apply(params, probe)
    grads = one_gradient(algorithm, net, params, data, key, hp)
    kurtosis, zeros = method.grad_kurtosis(grads)
    probs = jax.nn.softmax(heads.logits)
    if algorithm == "pqn":
        probs = jax.nn.one_hot(heads.logits.argmax(axis=1), env.n_actions, dtype=jnp.float32)
    found = {
        **of_features(heads.features),
        "critic_feature_rank": method.feature_rank(heads.critic_features),
        "critic_dormant_eps1e-5": method.dormant(heads.critic_features, eps=1e-5),
        "weight_norm": method.weight_norm(params),
        "grad_kurtosis_log": kurtosis,
        "grad_kurtosis_raw": method.grad_kurtosis(grads, log=False)[0],
        "grad_zeros": zeros,
        "policy_variance": method.policy_variance(probs),
        "coverage": visited(env, data[0]),
    }
    if algorithm == "ppo":
        found |= drift(net, params, *data)
    return {name: jnp.asarray(x, jnp.float32) for name, x in found.items()}


def of_features(features: Float[Array, "n d"]) -> dict[str, Array]:
    """Ranks and dormant units of a feature matrix."""
    return {
        **method.ranks(features)._asdict(),
        "dormant_eps1e-5": method.dormant(features, eps=1e-5),
        "dormant_tau0.025": method.dormant(features, tau=0.025),
        "dead": method.dead(features),
    }


def drift(net: Net, params: Any, obs: Array, batch: method.PPOBatch) -> dict[str, Array]:
    """How far an update went from the policy that made its batch."""
    log_pi = jax.nn.log_softmax(net.apply(params, obs).logits)
    new = jnp.take_along_axis(log_pi, batch.actions[:, None], axis=1)[:, 0]
    log_ratio = new - batch.log_probs
    return {
        "ess": method.ess(log_ratio),
        "kl_k1": -log_ratio.mean(),
        "kl_k3": (jnp.exp(log_ratio) - 1 - log_ratio).mean(),
    }


def visited(env: Env, flat: Array) -> Float[Array, ""]:
    """Coverage of n states: share of distinct ones; of a grid's cells where they are continuous."""
    if flat.dtype == jnp.bool_ or env.name in ("ring", "grid"):
        return method.unique_share(flat)
    box = jnp.array([2.4, 0.2095], jnp.float32)
    return method.coverage(flat[:, ::2], -box, box)


def projected(obs: Array, n: int = 512) -> Float[Array, "n 2"]:
    """Fixed random projections of `n` states of a rollout to the plane, for a picture."""
    flat = obs.reshape(-1, *obs.shape[2:])
    flat = flat.reshape(len(flat), -1).astype(jnp.float32)
    axes = jax.random.normal(jax.random.key(0, impl="threefry2x32"), (flat.shape[1], 2))
    return flat[:: max(1, len(flat) // n)][:n] @ axes / jnp.sqrt(jnp.float32(flat.shape[1]))
