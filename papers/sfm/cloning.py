"""Behavioural cloning: from the expert's actions, or from actions that are guessed.

    BC   regresses the expert's actions on its states. Needs the actions.
    BCO  (Torabi et al., 2018) has none: an inverse model, fitted to transitions of random actions,
         guesses the action between two states of the demonstration; BC regresses on the guesses.

Both are supervised: 20,000 steps on batches of 256 at the paper's sizes, networks of 256 units.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key

from papers.sfm.method import Params, mlp, mlp_init
from papers.sfm.optimisers import adam_step


def clone(
    key: Key[Array, ""],
    states: Float[Array, "N s"],
    actions: Float[Array, "N a"],
    *,
    steps: int = 20_000,
    batch: int = 256,
    rate: float = 3e-4,
    hidden: int = 256,
) -> tuple[Params, Float[Array, ""]]:
    """A tanh policy fitted to pairs of state and action by least squares; and its last loss.

    Also fits the inverse model, whose `states` are pairs of neighbours.
    """
    k_init, k_batches = jax.random.split(key)
    params = mlp_init(k_init, (states.shape[1], hidden, hidden, actions.shape[1]))

    def step(carry: Any, key: Key[Array, ""]) -> tuple[Any, Array]:
        params, moments = carry
        chosen = jax.random.randint(key, (batch,), 0, states.shape[0])

        def loss(params: Params) -> Array:
            return jnp.mean((tanh_policy(params, states[chosen]) - actions[chosen]) ** 2)

        value, grads = jax.value_and_grad(loss)(params)
        return adam_step(rate, params, moments, grads), value

    keys = jax.random.split(k_batches, steps)
    (params, _), losses = jax.lax.scan(step, (params, optax.adam(rate).init(params)), keys)
    return params, losses[-1]


def tanh_policy(params: Params, s: Float[Array, "*B s"]) -> Float[Array, "*B a"]:
    """The cloned policy."""
    return jnp.tanh(mlp(params, s))


def guessed_actions(
    key: Key[Array, ""],
    obs: Float[Array, "E L s"],
    action: Float[Array, "E T a"],
    demo: Float[Array, "M K s"],
    fit: Callable[..., tuple[Params, Array]] = clone,
) -> Float[Array, "N a"]:
    """The actions of demonstrations, guessed by an inverse model of these episodes.

    Args:
        obs, action: episodes of random actions.
        demo: states of demonstrations.
        fit: `clone`, with settings.

    Returns:
        One action for each state but the last of each demonstration, M (K - 1) in all.
    """
    pairs = _neighbours(obs)
    inverse, _ = fit(key, pairs, action.reshape(-1, action.shape[-1]))
    return tanh_policy(inverse, _neighbours(demo))


def _neighbours(obs: Float[Array, "E T s"]) -> Float[Array, "N 2*s"]:
    """[s_t, s_{t+1} - s_t] of all episodes: differences, which are small, as such."""
    both = jnp.concatenate([obs[:, :-1], obs[:, 1:] - obs[:, :-1]], axis=-1)
    return both.reshape(-1, both.shape[-1])
