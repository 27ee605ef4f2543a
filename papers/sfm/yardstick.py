"""How such code usually runs: one compiled call per stage, batches sampled in NumPy on the host.

The same mathematics as `matching.SFM` at the same sizes, cut where the official code cuts: sample;
encoder step; critic step; actor step (every second call); feature step; target update. Each stage
is jitted by itself, so parameters come back to Python between stages.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from papers.sfm import train
from papers.sfm.config import PRESETS, Config
from papers.sfm.matching import SFM
from papers.sfm.method import sf_td_target
from papers.sfm.replay import Batch
from papers.sfm.trial import learner_of

OBS, ACT, LENGTH, EPISODES = 17, 6, 1000, 20  # cheetah's widths


def settings(batch: int, feature_dim: int, feature_hidden: int) -> Config:
    """The paper's networks for actor, critics and encoder, and these sizes."""
    return dataclasses.replace(
        PRESETS["paper"], batch=batch, feature_dim=feature_dim, feature_hidden=feature_hidden
    )


def experience(learner: SFM) -> tuple[Any, jax.Array]:
    """A fresh run whose replay is full of random numbers, and a demonstration."""
    plan = train.Plan(LENGTH, 1, None, capacity=EPISODES)
    state = jax.jit(lambda key: train.init(learner, plan, OBS, ACT, key))(jax.random.key(0))
    rng = np.random.default_rng(0)
    shapes = jax.tree.map(lambda x: x.shape, state.replay.episodes)
    episodes = type(state.replay.episodes)(
        *(jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes)
    )
    replay = state.replay._replace(episodes=episodes, inserted=jnp.int32(EPISODES))
    demos = jnp.asarray(rng.normal(size=(1, LENGTH + 1, OBS)), jnp.float32)
    return state._replace(replay=replay), demos


class PerStageLoop:
    """The yardstick: see the module."""

    def __init__(self, learner: SFM) -> None:
        self.learner, rules = learner, learner.optimiser
        state, self.demos = experience(learner)
        self.core, self.own, self.replay = state.core, state.own, state.replay
        host = jax.tree.map(np.asarray, self.replay.episodes)
        self.obs, self.action = host.obs, host.action
        self.rng, self.key, self.calls = np.random.default_rng(1), jax.random.key(1), 0

        def critic(core: Any, phi: Any, batch: Batch, key: Any) -> Any:
            phi_s = learner.features.encode(phi, batch.obs)

            def target(psi: Any, clip: Any) -> Any:
                return sf_td_target(phi_s, psi, learner.gamma, clip)

            return rules.critic_step(core, batch, target, key)

        self._encoder = jax.jit(rules.encoder_step)
        self._critic = jax.jit(critic)
        self._actor = jax.jit(learner._actor_step)
        self._features = jax.jit(learner._feature_step)
        self._follow = jax.jit(rules.follow)

    def sample(self) -> Batch:
        """Uniform transitions, gathered in NumPy."""
        size = self.learner.batch
        episode = self.rng.integers(0, EPISODES, size)
        step = self.rng.integers(0, LENGTH, size)
        obs, following = self.obs[episode, step], self.obs[episode, step + 1]
        action, reward = self.action[episode, step], np.zeros(size, np.float32)
        return Batch(*(jnp.asarray(x) for x in (obs, action, following, reward, following)))

    def call(self, batch: Batch, keys: Any) -> dict[str, Any]:
        """One update on this batch."""
        core, own = self._encoder(self.core, batch), self.own
        core, critic_loss = self._critic(core, own.phi, batch, keys[1])
        metrics = {"critic_loss": critic_loss}
        moves = self.calls % self.learner.optimiser.rates.policy_delay == 1
        if moves:
            core, own, more = self._actor(core, own, batch, self.replay, self.demos, keys[2])
            metrics |= more
        own, metrics["feature_loss"] = self._features(own, batch, self.demos, keys[3])
        self.core, self.own = self._follow(core, jnp.bool_(moves)), own
        self.calls += 1
        return metrics

    def run(self, updates: int) -> float:
        """So many updates; returns how many."""
        metrics: dict[str, Any] = {}
        for _ in range(updates):
            keys = jax.random.split(jax.random.fold_in(self.key, self.calls), 4)
            metrics = self.call(self.sample(), keys)
        jax.block_until_ready(metrics)
        return float(updates)


def check_equal(learner: SFM) -> None:
    """Raise AssertionError unless a block gives the same losses and networks on both sides."""
    from papers.sfm import replay as memory

    state, demos = experience(learner)
    loop, key = PerStageLoop(learner), jax.random.key(2)
    core, own, metrics = jax.jit(learner.block)(state.core, state.own, state.replay, demos, key)
    found: dict[str, Any] = {}
    sample = jax.jit(memory.sample, static_argnums=2)
    for call in range(learner.optimiser.rates.policy_delay):
        keys = jax.random.split(jax.random.fold_in(key, call), 4)
        found = loop.call(sample(state.replay, keys[0], learner.batch), keys)
    for name, value in metrics.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, err_msg=name)
    ours, theirs = (
        jax.tree.leaves((c.nets, o.phi)) for c, o in ((core, own), (loop.core, loop.own))
    )
    for x, y in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(x, y, rtol=2e-3, atol=2e-4)


def sfm(rules: str, batch: int, feature_dim: int, feature_hidden: int) -> SFM:
    """The learner at these sizes."""
    learner = learner_of(settings(batch, feature_dim, feature_hidden), f"sfm-{rules}", LENGTH)
    assert isinstance(learner, SFM)
    return learner
