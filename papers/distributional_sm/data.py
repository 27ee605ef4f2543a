"""States visited under a policy, and data to train on."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from papers.distributional_sm.env import Task
from papers.distributional_sm.method import Transitions, transitions


def rollouts(
    key: Key[Array, ""], starts: Float[Array, "runs d"], task: Task, policy: str, steps: int
) -> Float[Array, "runs steps d"]:
    """The states X_0 ... X_{steps-1} from each start, under a policy of the task by name."""
    if policy not in task.policies:
        raise ValueError(
            f"{task.name} has no policy {policy!r}; it has {', '.join(task.policies)}."
        )
    return _rollouts(key, starts, task, policy, steps)


@functools.partial(jax.jit, static_argnames=("task", "policy", "steps"))
def _rollouts(key: Array, starts: Array, task: Task, policy: str, steps: int) -> Array:
    act = task.policies[policy]

    def one(key: Array, start: Array) -> Array:
        def body(state: Array, key: Array) -> tuple[Array, Array]:
            k_act, k_step = jax.random.split(key)
            return task.step(k_step, state, act(k_act, state)), state

        return jax.lax.scan(body, start, jax.random.split(key, steps))[1]

    return jax.vmap(one)(jax.random.split(key, len(starts)), starts)


def collect_transitions(
    key: Key[Array, ""], task: Task, policy: str, episodes: int, steps: int, horizon: int
) -> Transitions:
    """`episodes` of `steps` states each, laid end to end; windows that cross a cut are left out."""
    k_reset, k_run = jax.random.split(key)
    states = rollouts(k_run, _starts(k_reset, task, episodes), task, policy, steps)
    cut = np.tile(np.arange(steps) == steps - 1, episodes)
    obs = states.reshape(episodes * steps, task.obs_dim)
    return transitions(obs, jnp.zeros(len(cut), bool), jnp.asarray(cut), horizon)


@functools.partial(jax.jit, static_argnames=("task", "episodes"))
def _starts(key: Array, task: Task, episodes: int) -> Array:
    return jax.vmap(task.reset)(jax.random.split(key, episodes))
