"""States collected with a policy, and Monte-Carlo returns with their own error."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from papers.distributional_sm.env import Reward, Task
from papers.distributional_sm.method import Transitions, transitions


@functools.partial(jax.jit, static_argnames=("task", "policy", "steps"))
def _rollouts(
    key: Key[Array, ""], starts: Float[Array, "runs d"], task: Task, policy: str, steps: int
) -> Float[Array, "runs steps d"]:
    act = task.policies[policy]

    def one(key: Array, start: Array) -> Array:
        def body(state: Array, key: Array) -> tuple[Array, Array]:
            k_act, k_step = jax.random.split(key)
            return task.step(k_step, state, act(k_act, state)), state

        return jax.lax.scan(body, start, jax.random.split(key, steps))[1]

    return jax.vmap(one)(jax.random.split(key, len(starts)), starts)


def rollouts(
    key: Key[Array, ""], starts: Float[Array, "runs d"], task: Task, policy: str, steps: int
) -> Float[Array, "runs steps d"]:
    """The states X_0 ... X_{steps-1} from each start, under a policy of the task by name."""
    if policy not in task.policies:
        raise ValueError(
            f"{task.name} has no policy {policy!r}; it has {', '.join(task.policies)}."
        )
    return _rollouts(key, starts, task, policy, steps)


def collect_transitions(
    key: Key[Array, ""], task: Task, policy: str, episodes: int, steps: int, horizon: int
) -> Transitions:
    """`episodes` of `steps` states each, laid end to end; windows that cross a cut are left out."""
    k_reset, k_run = jax.random.split(key)
    starts = jax.vmap(task.reset)(jax.random.split(k_reset, episodes))
    states = rollouts(k_run, starts, task, policy, steps)
    cut = jnp.tile(jnp.arange(steps) == steps - 1, episodes)
    obs = states.reshape(episodes * steps, task.obs_dim)
    return transitions(obs, jnp.zeros_like(cut), cut, horizon)


class MonteCarlo(NamedTuple):
    """Simulated returns [sources, rewards, runs], without discounting beyond `steps`."""

    returns: np.ndarray
    tail: float


def monte_carlo(
    key: Key[Array, ""],
    task: Task,
    policy: str,
    gamma: float,
    runs: int,
    steps: int = 200,
    sources: tuple[tuple[float, ...], ...] | None = None,
) -> MonteCarlo:
    """Returns sum_t gamma^t r(X_t) of `runs` trajectories from every source, for every reward.

    `tail` = gamma^steps bounds what the cut leaves out, as a share of max |r| / (1 - gamma).
    """
    points = jnp.asarray(task.sources if sources is None else sources, jnp.float32)
    starts = jnp.repeat(points, runs, axis=0)
    states = rollouts(key, starts, task, policy, steps)
    weights = jnp.asarray(gamma ** np.arange(steps), jnp.float32)
    returns = [_discounted(reward, states, weights) for reward in task.rewards.values()]
    shaped = np.stack([np.asarray(g).reshape(len(points), runs) for g in returns], axis=1)
    return MonteCarlo(shaped, float(gamma**steps))


@functools.partial(jax.jit, static_argnames=("reward",))
def _discounted(reward: Reward, states: Array, weights: Array) -> Array:
    return jax.vmap(reward)(states) @ weights
