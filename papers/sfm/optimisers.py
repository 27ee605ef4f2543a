"""TD3 and TD7 as update rules for actors and critics of d outputs, shared by all algorithms here.

What the critic bootstraps to and what the actor descends is the algorithm's business; the rules say
which copies of the networks are used where, and how the copies follow:

                        TD3                             TD7
    next action         online actor (no target actor)  slow actor on the older encoder
    bootstrap clipped   no                              to the range of targets seen so far
    slow copies         critic, Polyak, with the actor  all of them, whole, every `copy_every` calls
    encoder             none                            trained first; inputs use its slow copy

TD7's clip range is refreshed at the copies and starts at [0, 0]: until the first copy nothing is
bootstrapped. Both follow the paper's official code, which differs from the original TD3 (a target
actor) and TD7 (prioritised replay, 0.9 for 1.1 in the checkpoint rule).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, Key

from papers.sfm.method import Params, sf_critic_loss
from papers.sfm.networks import Nets, TD3Networks, TD7Networks
from papers.sfm.replay import Batch

Aux = TypeVar("Aux")
Metrics = dict[str, Float[Array, ""]]
Target = Callable[[Array, tuple[Array, Array] | None], Array]
"""(both critics at s' and the next action, clip range) -> the critic's target [B, d]."""


@dataclass(frozen=True)
class Rates:
    """Step sizes of Adam, and what both optimisers share (paper's values as defaults for TD7)."""

    actor: float = 5e-4
    critic: float = 5e-4
    encoder: float = 1e-4
    smoothing: float = 0.2
    smoothing_clip: float = 0.5
    policy_delay: int = 2
    polyak: float = 0.995
    copy_every: int = 250


class Range(NamedTuple):
    """Bounds for the bootstrap: those in force, and those seen since the run's beginning."""

    low: Float[Array, ""]
    high: Float[Array, ""]
    seen_low: Float[Array, ""]
    seen_high: Float[Array, ""]


class Core(NamedTuple):
    """An actor-critic in training.

    Attributes:
        nets, slow: parameters and their slow copies. older: TD7's encoder two copies ago.
        adam: optimiser states of actor, critic, encoder. range: see `Range`. calls: updates done.
    """

    nets: Nets
    slow: Nets
    older: Params
    adam: Nets
    range: Range
    calls: Int[Array, ""]


def adam_step(
    rate: float | optax.Schedule, params: Params, adam: optax.OptState, grads: Params
) -> tuple[Params, optax.OptState]:
    """One step of Adam with its usual constants."""
    with jax.numpy_dtype_promotion("standard"):  # optax raises a float to an integer power
        updates, adam = optax.adam(rate).update(grads, adam, params)
    return optax.apply_updates(params, updates), adam


@dataclass(frozen=True)
class TD3:
    """TD3's rules; the parent of TD7's, which replaces what differs."""

    networks: Any
    rates: Rates = Rates()

    def init(self, key: Key[Array, ""], obs_dim: int, act_dim: int) -> Core:
        """Fresh networks; slow copies start equal."""
        nets = self.networks.init(key, obs_dim, act_dim)
        rates = (self.rates.actor, self.rates.critic, self.rates.encoder)
        adam = Nets(*(optax.adam(r).init(p) for r, p in zip(rates, nets, strict=True)))
        copy = jax.tree.map(jnp.copy, nets)
        zero, far = jnp.float32(0), jnp.float32(1e8)
        older = jax.tree.map(jnp.copy, nets.encoder)
        return Core(nets, copy, older, adam, Range(zero, zero, far, -far), jnp.int32(0))

    # --- Acting and evaluating ---

    def act(self, core: Core, s: Float[Array, "*B s"]) -> Float[Array, "*B a"]:
        """The action that is taken in the environment."""
        return self.networks.act(core.nets.actor, core.slow.encoder, s)

    def policy(self, core: Core, actor: Params, s: Float[Array, "*B s"]) -> Float[Array, "*B a"]:
        """The action of these actor parameters, for training."""
        return self.networks.act(actor, core.slow.encoder, s)

    def evaluate(
        self, core: Core, s: Float[Array, "*B s"], a: Float[Array, "*B a"]
    ) -> Float[Array, "twins *B d"]:
        """Both online critics."""
        return self.networks.evaluate(core.nets.critic, core.slow.encoder, s, a)

    def evaluate_next(
        self, core: Core, s: Float[Array, "*B s"], a: Float[Array, "*B a"]
    ) -> Float[Array, "twins *B d"]:
        """Both critics that the actor's loss uses at next states: the slow ones."""
        return self.networks.evaluate(core.slow.critic, core.slow.encoder, s, a)

    # --- Updates ---

    def encoder_step(self, core: Core, batch: Batch) -> Core:
        """Nothing to train."""
        return core

    def critic_step(
        self, core: Core, batch: Batch, target_of: Target, key: Key[Array, ""]
    ) -> tuple[Core, Float[Array, ""]]:
        """One gradient step on the critics; returns the loss too."""
        target = target_of(*self._bootstrap(core, batch.next_obs, key))

        def loss(critic: Params) -> Array:
            psi = self.networks.evaluate(critic, core.slow.encoder, batch.obs, batch.action)
            return sf_critic_loss(psi, target)

        value, grads = jax.value_and_grad(loss)(core.nets.critic)
        critic, adam = adam_step(self.rates.critic, core.nets.critic, core.adam.critic, grads)
        nets, adam = core.nets._replace(critic=critic), core.adam._replace(critic=adam)
        core = core._replace(nets=nets, adam=adam, range=self._observe(core.range, target))
        return core, value

    def actor_step(
        self, core: Core, loss: Callable[[Params], tuple[Array, Aux]]
    ) -> tuple[Core, Float[Array, ""], Aux]:
        """One gradient step on the actor for a loss of its parameters."""
        (value, aux), grads = jax.value_and_grad(loss, has_aux=True)(core.nets.actor)
        actor, adam = adam_step(self.rates.actor, core.nets.actor, core.adam.actor, grads)
        nets, adam = core.nets._replace(actor=actor), core.adam._replace(actor=adam)
        return core._replace(nets=nets, adam=adam), value, aux

    def follow(self, core: Core, actor_updated: bool | Bool[Array, ""]) -> Core:
        """At the end of an update: the slow critics follow, with the actor only."""
        keep = jnp.where(actor_updated, jnp.float32(self.rates.polyak), jnp.float32(1))
        critic = jax.tree.map(
            lambda slow, fast: keep * slow + (1 - keep) * fast, core.slow.critic, core.nets.critic
        )
        return core._replace(slow=core.slow._replace(critic=critic), calls=core.calls + 1)

    # --- What TD7 replaces ---

    def _bootstrap(
        self, core: Core, s_next: Array, key: Key[Array, ""]
    ) -> tuple[Array, tuple[Array, Array] | None]:
        action = self._smooth(self.networks.act(core.nets.actor, core.slow.encoder, s_next), key)
        return self.networks.evaluate(core.slow.critic, core.slow.encoder, s_next, action), None

    def _observe(self, seen: Range, target: Array) -> Range:
        return seen

    def _smooth(self, action: Array, key: Key[Array, ""]) -> Array:
        noise = self.rates.smoothing * jax.random.normal(key, action.shape, action.dtype)
        bound = self.rates.smoothing_clip
        return jnp.clip(action + jnp.clip(noise, -bound, bound), -1, 1)


@dataclass(frozen=True)
class TD7(TD3):
    """TD7's rules, on `TD7Networks`."""

    def evaluate_next(
        self, core: Core, s: Float[Array, "*B s"], a: Float[Array, "*B a"]
    ) -> Float[Array, "twins *B d"]:
        """Both critics that the actor's loss uses at next states: the online ones."""
        return self.evaluate(core, s, a)

    def encoder_step(self, core: Core, batch: Batch) -> Core:
        """One gradient step on the encoder."""
        grads = jax.grad(self.networks.encoder_loss)(
            core.nets.encoder, batch.obs, batch.action, batch.next_obs
        )
        encoder, adam = adam_step(self.rates.encoder, core.nets.encoder, core.adam.encoder, grads)
        nets, adam = core.nets._replace(encoder=encoder), core.adam._replace(encoder=adam)
        return core._replace(nets=nets, adam=adam)

    def follow(self, core: Core, actor_updated: bool | Bool[Array, ""]) -> Core:
        """At the end of an update: every `copy_every` calls the slow copies are renewed."""
        calls = core.calls + 1
        due = calls % self.rates.copy_every == 0

        def choose(new: Any, old: Any) -> Any:
            return jax.tree.map(lambda n, o: jnp.where(due, n, o), new, old)

        seen = core.range
        renewed = seen._replace(low=seen.seen_low, high=seen.seen_high)
        return core._replace(
            older=choose(core.slow.encoder, core.older),
            slow=choose(core.nets, core.slow),
            range=choose(renewed, seen),
            calls=calls,
        )

    def _bootstrap(
        self, core: Core, s_next: Array, key: Key[Array, ""]
    ) -> tuple[Array, tuple[Array, Array] | None]:
        action = self._smooth(self.networks.act(core.slow.actor, core.older, s_next), key)
        psi = self.networks.evaluate(core.slow.critic, core.older, s_next, action)
        return psi, (core.range.low, core.range.high)

    def _observe(self, seen: Range, target: Array) -> Range:
        return seen._replace(
            seen_low=jnp.minimum(seen.seen_low, jnp.min(target)),
            seen_high=jnp.maximum(seen.seen_high, jnp.max(target)),
        )


OPTIMISERS = {"td3": (TD3, TD3Networks), "td7": (TD7, TD7Networks)}


def optimiser(name: str, out: int, hidden: int, rates: Rates) -> TD3:
    """TD3 or TD7 with critics of `out` numbers."""
    if name not in OPTIMISERS:
        raise ValueError(f"The optimiser must be one of {', '.join(OPTIMISERS)}; got {name!r}.")
    rules, networks = OPTIMISERS[name]
    return rules(networks(out, hidden), rates)
