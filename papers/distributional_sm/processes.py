"""All processes of the experiments behind one interface, whether JAX functions or MuJoCo."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from papers.distributional_sm.data import collect_transitions, rollouts
from papers.distributional_sm.env import TASKS, Reward, Task
from papers.distributional_sm.method import Transitions


@dataclass(frozen=True, eq=False)  # hashed by identity: a static argument of programs
class Process:
    """What training and evaluation ask of a process.

    Attributes:
        sources: states [k, d] whose return laws are asked for. policies: names, the default first.
        collect: (policy, seed, episodes, steps, horizon) -> data to train on.
        simulate: (policy, seed, runs, steps) -> states [source, run, step, d].
    """

    name: str
    obs_dim: int
    rewards: Mapping[str, Reward]
    sources: tuple[tuple[float, ...], ...]
    policies: tuple[str, ...]
    collect: Callable[[str, int, int, int, int], Transitions]
    simulate: Callable[[str, int, int, int], Float[np.ndarray, "sources runs steps d"]]


def process(name: str) -> Process:
    """A process by name, always the same object."""
    if name in TASKS:
        return _pure(name)
    if name == "balance":
        from papers.distributional_sm.mujoco_task import balance

        return balance()
    raise ValueError(f"No process {name!r}; there are {', '.join(TASKS)} and balance.")


@functools.cache
def _pure(name: str) -> Process:
    task: Task = TASKS[name]

    def collect(policy: str, seed: int, episodes: int, steps: int, horizon: int) -> Transitions:
        key = jax.random.fold_in(jax.random.key(seed), 7)
        return collect_transitions(key, task, policy, episodes, steps, horizon)

    def simulate(policy: str, seed: int, runs: int, steps: int) -> np.ndarray:
        starts = jnp.repeat(jnp.asarray(task.sources, jnp.float32), runs, axis=0)
        paths = rollouts(jax.random.key(seed), starts, task, policy, steps)
        return np.asarray(paths).reshape(len(task.sources), runs, steps, task.obs_dim)

    return Process(
        name, task.obs_dim, task.rewards, task.sources, tuple(task.policies), collect, simulate
    )
