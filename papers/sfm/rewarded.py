"""Actor-critics for a reward, on the same optimisers: two adversarial baselines, and experts.

    TaskReward   the task's own reward: how experts are trained
    Discriminated, over states (MM: moment matching) or pairs of states (GAIfO)

The discriminator f is low on the expert and high on the learner; the reward is -f. It moves one
step each `every` episodes on samples of the newest ones; stored transitions are always rewarded by
the discriminator of the moment.

Deviation: the official code draws the learner's samples from four extra episodes, which cost 40 %
more interaction and are not counted; here they are the four newest of the run itself. And it
updates after every environment step; here, as for SFM, as many updates follow each episode.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Key

from papers.sfm import replay as memory
from papers.sfm.matching import Demos
from papers.sfm.method import Params, discriminator_loss, mlp, mlp_init
from papers.sfm.optimisers import TD3, Core, Metrics, adam_step
from papers.sfm.replay import Batch, Replay

NEWEST = 4  # episodes that the learner's samples for the discriminator come from


@dataclass(frozen=True)
class TaskReward:
    """TD3 or TD7 on the task's reward; the parent of those that make up their own.

    Attributes:
        optimiser: rules with critics of one number. gamma: discount a step. batch: transitions.
    """

    optimiser: TD3
    gamma: float = 0.99
    batch: int = 256

    def init(self, key: Key[Array, ""], obs_dim: int, act_dim: int) -> tuple[Core, Any]:
        """A fresh learner."""
        k_core, k_own = jax.random.split(key)
        return self.optimiser.init(k_core, obs_dim, act_dim), self._init_own(k_own, obs_dim)

    def block(
        self, core: Core, own: Any, replay: Replay, demos: Demos, key: Key[Array, ""]
    ) -> tuple[Core, Any, Metrics]:
        """`policy_delay` calls, the last of which moves the actor."""
        delay = self.optimiser.rates.policy_delay

        def call(core: Core, number: Array) -> tuple[Core, Metrics]:
            return self._call(core, own, replay, key, with_actor=number == delay - 1)

        core, metrics = jax.lax.scan(call, core, jnp.arange(delay))
        return core, own, jax.tree.map(lambda values: values[-1], metrics)

    def score(self, own: Any, trajectory: Float[Array, "T s"]) -> Float[Array, ""]:
        """No score: there is nothing to choose a policy by."""
        return jnp.float32(0)

    def after_episode(self, own: Any, replay: Replay, demos: Demos, key: Key[Array, ""]) -> Any:
        """Nothing to do for a given reward."""
        return own

    def reward(self, own: Any, batch: Batch) -> Float[Array, " B"]:
        """What the critic accumulates."""
        return batch.reward

    def _init_own(self, key: Key[Array, ""], obs_dim: int) -> Any:
        return ()

    def _call(
        self,
        core: Core,
        own: Any,
        replay: Replay,
        key: Key[Array, ""],
        with_actor: Bool[Array, ""],
    ) -> tuple[Core, Metrics]:
        k_batch, k_noise = jax.random.split(jax.random.fold_in(key, core.calls))
        batch = memory.sample(replay, k_batch, self.batch)
        core = self.optimiser.encoder_step(core, batch)
        reward = self.reward(own, batch)[:, None]

        def target(q: Array, clip: tuple[Array, Array] | None) -> Array:
            bootstrap = jnp.min(q, axis=0)
            if clip is not None:
                bootstrap = jnp.clip(bootstrap, *clip)
            return reward + self.gamma * bootstrap

        core, critic_loss = self.optimiser.critic_step(core, batch, target, k_noise)

        def actor_step() -> tuple[Core, Array]:
            moved, value, _ = self.optimiser.actor_step(
                core, lambda actor: (self._actor_loss(core, actor, batch), ())
            )
            return moved, value

        core, value = jax.lax.cond(with_actor, actor_step, lambda: (core, jnp.float32(0)))
        metrics = {"critic_loss": critic_loss, "actor_loss": value}
        return self.optimiser.follow(core, with_actor), metrics

    def _actor_loss(self, core: Core, actor: Params, batch: Batch) -> Float[Array, ""]:
        action = self.optimiser.policy(core, actor, batch.obs)
        return -jnp.mean(self.optimiser.evaluate(core, batch.obs, action)[0])


class Discriminator(NamedTuple):
    """Parameters, optimiser, and how many episodes have been seen."""

    params: Params
    adam: optax.OptState
    episodes: Array


@dataclass(frozen=True)
class Discriminated(TaskReward):
    """MM, or GAIfO with `pairs`.

    Attributes:
        pairs: f([s, s']) instead of f(s). every: episodes between two steps of the discriminator
            (paper: 10). steps: gradient steps each time (paper: 1). samples: of each side.
        rate: Adam's step size at first; it falls linearly to 1e-7 over `decay_steps` steps.
    """

    pairs: bool = False
    every: int = 10
    steps: int = 1
    samples: int = 4096
    rate: float = 8e-4
    decay_steps: int = 100
    hidden: int = 256

    def reward(self, own: Discriminator, batch: Batch) -> Float[Array, " B"]:
        return -self._f(own.params, self._inputs(batch.obs, batch.next_obs))

    def after_episode(
        self, own: Discriminator, replay: Replay, demos: Demos, key: Key[Array, ""]
    ) -> Discriminator:
        """A step of the second player, when it is due."""
        own = own._replace(episodes=own.episodes + 1)
        due = own.episodes % self.every == 0
        moved = self._moved(own, replay, demos, jax.random.fold_in(key, own.episodes))
        return jax.tree.map(lambda new, old: jnp.where(due, new, old), moved, own)

    def _moved(
        self, own: Discriminator, replay: Replay, demos: Demos, key: Key[Array, ""]
    ) -> Discriminator:
        def step(own: Discriminator, key: Key[Array, ""]) -> tuple[Discriminator, None]:
            k_learner, k_expert, k_mix = jax.random.split(key, 3)
            learner = memory.newest(replay, k_learner, self.samples, NEWEST)
            expert = self._expert(demos, k_expert)
            policy = self._inputs(learner.obs, learner.next_obs)

            def loss(params: Params) -> Array:
                return discriminator_loss(lambda x: self._f(params, x), expert, policy, k_mix)

            grads = jax.grad(loss)(own.params)
            params, adam = adam_step(self._rate(), own.params, own.adam, grads)
            return own._replace(params=params, adam=adam), None

        return jax.lax.scan(step, own, jax.random.split(key, self.steps))[0]

    def _init_own(self, key: Key[Array, ""], obs_dim: int) -> Discriminator:
        inputs = 2 * obs_dim if self.pairs else obs_dim
        params = mlp_init(key, (inputs, self.hidden, self.hidden, 1))
        return Discriminator(params, optax.adam(self._rate()).init(params), jnp.int32(0))

    def _rate(self) -> optax.Schedule:
        return optax.linear_schedule(self.rate, 1e-7, self.decay_steps)

    def _f(self, params: Params, x: Float[Array, "*B x"]) -> Float[Array, "*B"]:
        return mlp(params, x)[..., 0]

    def _inputs(self, obs: Array, next_obs: Array) -> Array:
        return jnp.concatenate([obs, next_obs], axis=-1) if self.pairs else obs

    def _expert(self, demos: Demos, key: Key[Array, ""]) -> Array:
        pairs = self._inputs(demos[:, :-1], demos[:, 1:])
        pairs = pairs.reshape(-1, pairs.shape[-1])
        return pairs[jax.random.randint(key, (self.samples,), 0, pairs.shape[0])]
