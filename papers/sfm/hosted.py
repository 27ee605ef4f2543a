"""Learning on tasks that MuJoCo steps: episodes come from the host, updates are compiled.

After an episode (1000 steps, always) the program `train.learn` takes it in and does the updates
that are due, for all seeds at once, so MuJoCo's share of the time is small.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from papers.sfm import train
from papers.sfm.networks import Nets
from papers.sfm.replay import Episode
from papers.sfm.train import Kept, Learner, Plan, TrainState, Trial
from papers.sfm.worlds import Act, MujocoWorld, start_numbers
from shared.gpu.memory import over_seeds_fitted

Metrics = dict[str, Any]


class Pending(NamedTuple):
    """One seed's run, and an episode that is still to be taken in."""

    trial: Trial
    episode: Episode


class Hosted:
    """The programs of one learner on one task; calls take and return trials stacked over seeds."""

    def __init__(
        self, learner: Learner, plan: Plan, world: MujocoWorld, episodes: int, exploit: Act
    ) -> None:
        self.plan, self.world, self.episodes, self.exploit = plan, world, episodes, exploit

        def learn(pending: Pending) -> tuple[Pending, Metrics]:
            (state, demos), episode = pending
            state, metrics = train.learn(learner, plan, state, episode, demos)
            return Pending(Trial(state, demos), episode), metrics

        def explore(state: TrainState, obs: Float[Array, " s"], step: Array) -> Array:
            key = jax.random.fold_in(train.collection_key(state), step)
            return train.explore(learner, plan, state, obs, key)

        self._learn = over_seeds_fitted(learn)
        self._explore = jax.jit(jax.vmap(explore, (0, 0, None)))
        self._measure = jax.jit(jax.vmap(train.measures))

    def step(self, trial: Trial) -> tuple[Trial, Metrics]:
        """So many episodes with their updates, then an evaluation of both policies."""
        metrics: Metrics = {}
        for _ in range(self.episodes):
            pending, metrics = self._learn(Pending(trial, self._collect(trial.train)))
            trial = pending.trial
        found = self._evaluated(trial, trial.train.kept)
        newest = self._evaluated(trial, train.newest_policy(trial.train))
        return trial, metrics | found | {"newest": newest["curve"]}

    def _evaluated(self, trial: Trial, policy: Kept) -> Metrics:
        keys = jax.vmap(train.evaluation_key)(trial.train)
        number = self.plan.evaluations
        return self._measure(self.world.episodes(self.exploit, policy, keys, number), trial.demos)

    def _collect(self, state: TrainState) -> Episode:
        starts = start_numbers(jax.vmap(train.collection_key)(state))
        acting = _acting(state)

        def acts(obs: np.ndarray, step: int) -> np.ndarray:
            return np.asarray(self._explore(acting, obs, np.int32(step)))

        return jax.tree.map(jnp.asarray, self.world.roll(acts, starts))


def _acting(state: TrainState) -> TrainState:
    """Only what an action depends on: to pass all arrays of a run takes longer than a step."""
    core: Any = state.core
    nothing: Any = ()
    core = core._replace(
        nets=Nets(core.nets.actor, nothing, nothing),
        slow=Nets(nothing, nothing, core.slow.encoder),
        older=nothing, adam=nothing, range=nothing,
    )  # fmt: skip
    return state._replace(core=core, own=nothing, replay=nothing, kept=nothing, schedule=nothing)
