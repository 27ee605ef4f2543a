"""Tasks of DeepMind Control: episodes are stepped by MuJoCo on CPU threads, updates are compiled.

Every seed has a copy of the task; all copies are stepped together, and each step asks the policies
of all seeds at once. After an episode (1000 steps, always) the compiled program `train.learn` takes
it in and does the updates that are due, so MuJoCo's share of the time is small.

Starts are drawn from the run's own key: where an episode begins depends on the seed and on the
number of the episode alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from papers.sfm import train
from papers.sfm.matching import Demos
from papers.sfm.replay import Episode
from papers.sfm.train import Kept, Learner, Plan, TrainState
from shared.gpu.memory import over_seeds_fitted

Metrics = dict[str, Any]
Act = Callable[[np.ndarray, int], Any]
"""(observations f32[N, s], step) -> actions [N, a] in [-1, 1]."""
LENGTH = 1000  # steps of an episode of every task here


class Pending(NamedTuple):
    """One seed's run, its demonstrations, and an episode that is still to be taken in."""

    train: TrainState
    demos: Demos
    episode: Episode


def roll(task: str, act: Act, starts: np.ndarray) -> Episode:
    """One whole episode of each copy, the copy's start drawn from its number in `starts` [N]."""
    from shared.mujoco import run_episodes

    steps = iter(range(LENGTH))

    def policy(obs: np.ndarray) -> np.ndarray:
        return np.asarray(act(np.asarray(obs, np.float32), next(steps)), np.float64)

    found = run_episodes(task, policy, len(starts), seed=[int(s) for s in starts], threads=1)
    arrays = (found.obs, found.actions, found.rewards)
    obs, action, reward = (np.asarray(x, np.float32) for x in arrays)
    return Episode(obs=obs, action=action, reward=reward)  # pyright: ignore[reportArgumentType]


def start_numbers(keys: Key[Array, "*n"]) -> np.ndarray:
    """Seeds for MuJoCo's starts, one a key."""
    bits = jax.vmap(lambda key: jax.random.bits(key, (), jnp.uint32))(keys.ravel())
    return np.asarray(bits, np.int64)


class Hosted:
    """The programs of one learner on one task; calls take and return states stacked over seeds."""

    def __init__(self, learner: Learner, plan: Plan, task: str, episodes: int) -> None:
        self.task, self.plan, self.episodes = task, plan, episodes

        def learn(pending: Pending) -> tuple[Pending, Metrics]:
            state, demos, episode = pending
            state, metrics = train.learn(learner, plan, state, episode, demos)
            return Pending(state, demos, episode), metrics

        def explore(state: TrainState, obs: Float[Array, " s"], step: Array) -> Array:
            key = jax.random.fold_in(train.collection_key(state), step)
            return train.explore(learner, plan, state, obs, key)

        self._learn = over_seeds_fitted(learn)
        self._explore = jax.jit(jax.vmap(explore, (0, 0, None)))
        self._exploit = jax.jit(jax.vmap(functools.partial(train.exploit, learner)))
        self._measure = jax.jit(jax.vmap(train.measures))

    def step(self, state: TrainState, demos: Demos) -> tuple[TrainState, Metrics]:
        """So many episodes with their updates, then an evaluation of both policies."""
        metrics: Metrics = {}
        for _ in range(self.episodes):
            pending = Pending(state, demos, self._collect(state))
            (state, demos, _), metrics = self._learn(pending)
        newest = Kept(state.core.nets.actor, state.core.slow.encoder)
        found = self._measure(self.evaluate(state, state.kept), demos)
        more = self._measure(self.evaluate(state, newest), demos)
        return state, metrics | found | {"newest": more["curve"]}

    def evaluate(self, state: TrainState, kept: Kept) -> Episode:
        """Episodes without noise of each seed's policy, [seed, episode, ...]."""
        keys = jax.vmap(train.evaluation_key)(state)
        number = self.plan.evaluations
        split = jax.vmap(lambda key: jax.random.split(key, number))(keys)

        def act(obs: np.ndarray, step: int) -> Any:
            mine = obs.reshape(len(keys), number, -1)
            return np.asarray(self._exploit(kept, mine)).reshape(len(obs), -1)

        episodes = roll(self.task, act, start_numbers(split))
        return jax.tree.map(lambda x: x.reshape(len(keys), number, *x.shape[1:]), episodes)

    def _collect(self, state: TrainState) -> Episode:
        starts = start_numbers(jax.vmap(train.collection_key)(state))
        act = lambda obs, step: self._explore(state, obs, jnp.int32(step))  # noqa: E731
        return jax.tree.map(jnp.asarray, roll(self.task, act, starts))
