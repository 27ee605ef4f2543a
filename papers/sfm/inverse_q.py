"""IQ-Learn (Garg et al., 2021): a soft Q function from expert actions, whose reward is implicit.

    r(s, a) = Q(s, a) - gamma V'(s'),   V(s) = min Q(s, a) - temperature log pi(a|s), a ~ pi
    Q minimises   -mean r over the expert + mean [V(s) - gamma V'(s')] over both
                  + mean r^2 / (4 alpha) over both
    pi minimises  mean temperature log pi(a|s) - min Q(s, a)

Online, chi^2 regularised, alpha = 1/2, twin Q, on the replay and the loop that all learners here
share; data are collected with the policy's mode plus the same Gaussian noise. Needs the expert's
actions, which the run's state carries beside the networks (`with_actions`).
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from papers.sfm import replay as memory
from papers.sfm.matching import Demos
from papers.sfm.method import Params, mlp, mlp_init
from papers.sfm.networks import Nets, TD3Networks
from papers.sfm.optimisers import TD3, Core, Metrics, adam_step
from papers.sfm.replay import Batch, Replay
from papers.sfm.train import TrainState

LOG_STD = (-5.0, 2.0)  # range of the policy's log standard deviation


@dataclass(frozen=True)
class GaussianNetworks(TD3Networks):
    """TD3's networks with an actor that returns a mean and a log standard deviation."""

    out: int = 1

    def init(self, key: Key[Array, ""], obs_dim: int, act_dim: int) -> Nets:
        k_actor, k_rest = jax.random.split(key)
        sizes = (obs_dim, self.hidden, self.hidden, 2 * act_dim)
        return super().init(k_rest, obs_dim, act_dim)._replace(actor=mlp_init(k_actor, sizes))

    def act(self, actor: Params, encoder: Params, s: Float[Array, "*B s"]) -> Float[Array, "*B a"]:
        """The policy's mode."""
        return jnp.tanh(jnp.split(mlp(actor, s), 2, axis=-1)[0])

    def draw(
        self, actor: Params, s: Float[Array, "*B s"], key: Key[Array, ""]
    ) -> tuple[Float[Array, "*B a"], Float[Array, "*B"]]:
        """An action tanh(x), x normal, and its log density."""
        mean, raw = jnp.split(mlp(actor, s), 2, axis=-1)
        low, high = LOG_STD
        log_std = low + 0.5 * (high - low) * (jnp.tanh(raw) + 1)
        noise = jax.random.normal(key, mean.shape, mean.dtype)
        x = mean + jnp.exp(log_std) * noise
        normal = -0.5 * noise**2 - log_std - 0.5 * jnp.log(2 * jnp.float32(jnp.pi))
        squash = 2 * (jnp.log(jnp.float32(2)) - x - jax.nn.softplus(-2 * x))
        return jnp.tanh(x), jnp.sum(normal - squash, axis=-1)


@dataclass(frozen=True)
class IQLearn:
    """The learner's settings; `optimiser` is `TD3(GaussianNetworks(...))` with a delay of one.

    Attributes:
        temperature: weight of the entropy. alpha: of the chi^2 regulariser's inverse.
    """

    optimiser: TD3
    gamma: float = 0.99
    batch: int = 256
    temperature: float = 0.01
    alpha: float = 0.5

    def init(self, key: Key[Array, ""], obs_dim: int, act_dim: int) -> tuple[Core, Array]:
        """A fresh learner that still lacks the expert's actions."""
        return self.optimiser.init(key, obs_dim, act_dim), jnp.zeros((0, 0, act_dim), jnp.float32)

    def block(
        self,
        core: Core,
        own: Float[Array, "M L a"],
        replay: Replay,
        demos: Demos,
        key: Key[Array, ""],
    ) -> tuple[Core, Array, Metrics]:
        """One step on Q, one on the policy."""
        keys = jax.random.split(jax.random.fold_in(key, core.calls), 4)
        learner = memory.sample(replay, keys[0], self.batch)
        expert = _expert_batch(demos, own, keys[1], self.batch)
        core, critic_loss = self._critic_step(core, learner, expert, keys[2])
        states = jnp.concatenate([learner.obs, expert.obs])

        def actor_loss(actor: Params) -> tuple[Array, tuple[()]]:
            action, log_density = self.optimiser.networks.draw(actor, states, keys[3])
            q = jnp.min(self.optimiser.evaluate(core, states, action)[..., 0], axis=0)
            return jnp.mean(self.temperature * log_density - q), ()

        core, value, _ = self.optimiser.actor_step(core, actor_loss)
        core = self.optimiser.follow(core, actor_updated=True)
        return core, own, {"critic_loss": critic_loss, "actor_loss": value}

    def score(self, own: Array, trajectory: Float[Array, "T s"]) -> Float[Array, ""]:
        """No score: the newest policy counts."""
        return jnp.float32(0)

    def after_episode(self, own: Array, replay: Replay, demos: Demos, key: Key[Array, ""]) -> Array:
        """Nothing to do between blocks."""
        return own

    def _critic_step(
        self, core: Core, learner: Batch, expert: Batch, key: Key[Array, ""]
    ) -> tuple[Core, Float[Array, ""]]:
        k_now, k_next = jax.random.split(key)
        both = jax.tree.map(lambda x, y: jnp.concatenate([x, y]), learner, expert)
        rules, expert_rows = self.optimiser, slice(learner.obs.shape[0], None)

        def value(critic: Params, states: Array, key: Key[Array, ""]) -> Float[Array, " B"]:
            action, log_density = rules.networks.draw(core.nets.actor, states, key)
            q = rules.networks.evaluate(critic, {}, states, action)[..., 0]
            return jnp.min(q, axis=0) - self.temperature * log_density

        following = self.gamma * value(core.slow.critic, both.next_obs, k_next)

        def loss(critic: Params) -> Array:
            q = rules.networks.evaluate(critic, {}, both.obs, both.action)[..., 0]
            reward = q - following
            start = jnp.mean(value(critic, both.obs, k_now) - following)
            fit = -jnp.mean(reward[:, expert_rows]) + jnp.mean(reward**2) / (4 * self.alpha)
            return fit + start

        value_now, grads = jax.value_and_grad(loss)(core.nets.critic)
        critic, adam = adam_step(rules.rates.critic, core.nets.critic, core.adam.critic, grads)
        nets, adam = core.nets._replace(critic=critic), core.adam._replace(critic=adam)
        return core._replace(nets=nets, adam=adam), value_now


def with_actions(state: TrainState, actions: Float[Array, "*seeds M L a"]) -> TrainState:
    """The state of a run, or of stacked runs, with the expert's actions beside the networks."""
    return state._replace(own=actions)


def _expert_batch(
    demos: Demos, actions: Float[Array, "M L a"], key: Key[Array, ""], size: int
) -> Batch:
    k_demo, k_step = jax.random.split(key)
    demo = jax.random.randint(k_demo, (size,), 0, demos.shape[0])
    step = jax.random.randint(k_step, (size,), 0, actions.shape[1])
    obs, following = demos[demo, step], demos[demo, step + 1]
    return Batch(obs, actions[demo, step], following, jnp.zeros(size, jnp.float32), following)
