"""Successor-feature matching as a learner: the official order of operations around `method`.

    each call, on one batch of uniform replay:
        TD7: one step on the encoder
        one step on the critics Psi, towards phi(s) + gamma (clipped) mean of the slow twins
        every 2nd call: one step on the actor, on the squared gap of the averaged sums
        one step on the base features phi, on their own loss
        the slow copies follow

The features that critic and actor see are therefore one step old, as in the official code. Calls
come in blocks of `policy_delay`, the last of which moves the actor: which one it is depends on no
seed, so that vmapped seeds do not compute an actor step that none of them needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Key

from papers.sfm import replay as memory
from papers.sfm.method import (
    Debias,
    FeatureBatch,
    Params,
    RandomFeatures,
    debias_count,
    ema_update,
    expert_sf,
    feature_gap,
    initial_sf,
    learner_sf,
    sf_td_target,
    sfm_actor_loss,
)
from papers.sfm.optimisers import TD3, Core, Metrics, adam_step
from papers.sfm.replay import Batch, Replay

Demos = Float[Array, "M T s"]
"""States of M demonstrations of one length: all that is ever known of the expert."""


class Matching(NamedTuple):
    """What SFM trains beside the actor-critic.

    Attributes:
        phi, adam: base features and their optimiser.
        expert, learner: moving averages of both sums, not de-biased.
    """

    phi: Params
    adam: optax.OptState
    expert: Float[Array, " d"]
    learner: Float[Array, " d"]


@dataclass(frozen=True)
class SFM:
    """The learner's settings; see `config.Config` for what the paper uses.

    Attributes:
        optimiser: TD3 or TD7 rules with critics of `features.dim` numbers.
        features: family of base features. feature_rate: Adam's step size for them.
        estimator: how the learner's sum is estimated, a name in `ESTIMATORS`.
        debias: which counter the expert's average is divided by, see `method.debias_count`.
        fix: whether the actor's loss uses two different estimates of the gap.
    """

    optimiser: TD3
    features: RandomFeatures
    gamma: float = 0.99
    batch: int = 1024
    feature_rate: float = 1e-4
    decay: float = 0.98
    estimator: str = "official"
    debias: Debias = "official"
    fix: bool = True

    def __post_init__(self) -> None:
        if self.estimator not in ESTIMATORS:
            known = ", ".join(ESTIMATORS)
            raise ValueError(f"The estimator must be one of {known}; got {self.estimator!r}.")

    def init(self, key: Key[Array, ""], obs_dim: int, act_dim: int) -> tuple[Core, Matching]:
        """A fresh learner."""
        k_core, k_phi = jax.random.split(key)
        phi = self.features.init(k_phi, obs_dim, act_dim)
        zero = jnp.zeros(self.features.dim, jnp.float32)
        own = Matching(phi, optax.adam(self.feature_rate).init(phi), zero, zero)
        return self.optimiser.init(k_core, obs_dim, act_dim), own

    def block(
        self, core: Core, own: Matching, replay: Replay, demos: Demos, key: Key[Array, ""]
    ) -> tuple[Core, Matching, Metrics]:
        """`policy_delay` calls; `key` is the run's, each call folds in its number."""
        delay = self.optimiser.rates.policy_delay

        def call(
            carry: tuple[Core, Matching], number: Array
        ) -> tuple[tuple[Core, Matching], Metrics]:
            core, own, metrics = self._call(
                *carry, replay, demos, key, with_actor=number == delay - 1
            )
            return (core, own), metrics

        (core, own), metrics = jax.lax.scan(call, (core, own), jnp.arange(delay))
        return core, own, jax.tree.map(lambda values: values[-1], metrics)

    def score(self, own: Matching, trajectory: Float[Array, "T s"]) -> Float[Array, ""]:
        """The gap that decides which policy is kept: no reward in it."""
        return feature_gap(own.expert, self.features.encode(own.phi, trajectory), self.gamma)

    def after_episode(
        self, own: Matching, replay: Replay, demos: Demos, key: Key[Array, ""]
    ) -> Matching:
        """Nothing is trained between blocks: there is no second player."""
        return own

    def _call(
        self,
        core: Core,
        own: Matching,
        replay: Replay,
        demos: Demos,
        key: Key[Array, ""],
        with_actor: Bool[Array, ""],
    ) -> tuple[Core, Matching, Metrics]:
        keys = jax.random.split(jax.random.fold_in(key, core.calls), 4)
        batch = memory.sample(replay, keys[0], self.batch)
        core = self.optimiser.encoder_step(core, batch)
        phi_s = self.features.encode(own.phi, batch.obs)
        core, critic_loss = self.optimiser.critic_step(
            core, batch, lambda psi, clip: sf_td_target(phi_s, psi, self.gamma, clip), keys[1]
        )
        core, own, metrics = jax.lax.cond(
            with_actor,
            lambda: self._actor_step(core, own, batch, replay, demos, keys[2]),
            lambda: (core, own, dict.fromkeys(_ACTOR_METRICS, jnp.float32(0))),
        )
        own, feature_loss = self._feature_step(own, batch, demos, keys[3])
        core = self.optimiser.follow(core, with_actor)
        return core, own, metrics | {"critic_loss": critic_loss, "feature_loss": feature_loss}

    def _actor_step(
        self,
        core: Core,
        own: Matching,
        batch: Batch,
        replay: Replay,
        demos: Demos,
        key: Key[Array, ""],
    ) -> tuple[Core, Matching, Metrics]:
        delay = self.optimiser.rates.policy_delay
        count = debias_count((core.calls + 1) // delay, delay, self.debias)
        now = jax.lax.stop_gradient(self.expert_sum(core, own.phi, demos))
        average, expert = ema_update(now, own.expert, self.decay, count)

        def loss(actor: Params) -> tuple[Array, tuple[Array, Array]]:
            psi_pi = ESTIMATORS[self.estimator](self, core, actor, batch, replay, key)
            ema, _ = ema_update(psi_pi, own.learner, self.decay, 1)
            return sfm_actor_loss(expert, psi_pi, ema, self.gamma, self.fix), (psi_pi, ema)

        core, value, (psi_pi, ema) = self.optimiser.actor_step(core, loss)
        own = own._replace(expert=average, learner=ema)
        scale = 1 - self.gamma
        gap = scale * jnp.linalg.norm(now - psi_pi)
        return core, own, {"actor_loss": value, "estimated_gap": gap}

    def expert_sum(self, core: Core, phi: Params, demos: Demos) -> Float[Array, " d"]:
        """Mean over demonstrations of the discounted sum, the tail by the learner's own critic."""
        first, at = _first_twin(core), demos[:, -2]
        action = self.optimiser.policy(core, core.nets.actor, at)
        tails = self.optimiser.evaluate(first, at, action)[0]
        features = self.features.encode(phi, demos)
        sums = jax.vmap(lambda f, tail: expert_sf(f, self.gamma, tail))(features, tails)
        return jnp.mean(sums, axis=0)

    def _feature_step(
        self, own: Matching, batch: Batch, demos: Demos, key: Key[Array, ""]
    ) -> tuple[Matching, Float[Array, ""]]:
        k_expert, k_loss = jax.random.split(key)
        states = demos.reshape(-1, demos.shape[-1])
        chosen = jax.random.randint(k_expert, batch.obs.shape[:1], 0, states.shape[0])
        seen = FeatureBatch(batch.obs, batch.action, batch.next_obs, batch.goal, states[chosen])
        value, grads = jax.value_and_grad(self.features.loss)(own.phi, seen, k_loss)
        phi, adam = adam_step(self.feature_rate, own.phi, own.adam, grads)
        return own._replace(phi=self.features.refresh(phi, seen), adam=adam), value


_ACTOR_METRICS = ("actor_loss", "estimated_gap")


# --- Three estimates of the learner's sum ---------------------------------------------------------


def _telescoped(sfm: SFM, core: Core, actor: Params, batch: Batch) -> Float[Array, " d"]:
    first, rules = _first_twin(core), sfm.optimiser
    psi = rules.evaluate(first, batch.obs, rules.policy(core, actor, batch.obs))[0]
    action = jax.lax.stop_gradient(rules.policy(core, actor, batch.next_obs))
    return learner_sf(psi, rules.evaluate_next(first, batch.next_obs, action)[0], sfm.gamma)


def _official(
    sfm: SFM, core: Core, actor: Params, batch: Batch, replay: Replay, key: Key[Array, ""]
) -> Float[Array, " d"]:
    return _telescoped(sfm, core, actor, batch)


def _discounted(
    sfm: SFM, core: Core, actor: Params, batch: Batch, replay: Replay, key: Key[Array, ""]
) -> Float[Array, " d"]:
    own = memory.sample_discounted(replay, key, sfm.batch, sfm.gamma)
    return _telescoped(sfm, core, actor, own)


def _initial(
    sfm: SFM, core: Core, actor: Params, batch: Batch, replay: Replay, key: Key[Array, ""]
) -> Float[Array, " d"]:
    states = memory.sample_initial(replay, key, sfm.batch)
    action = sfm.optimiser.policy(core, actor, states)
    return initial_sf(sfm.optimiser.evaluate(_first_twin(core), states, action)[0])


ESTIMATORS: dict[str, Callable[..., Float[Array, " d"]]] = {
    "official": _official,
    "discounted": _discounted,
    "initial": _initial,
}
"""`official`: telescoped under uniform replay. `discounted`: telescoped with steps drawn in
proportion to gamma^t, which targets what the expert's sum is. `initial`: critic at first states."""


def _first_twin(core: Core) -> Core:
    """Only the first of the twin critics, whose outputs the actor's loss uses."""

    def first(critic: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf[:1], critic)

    nets, slow = core.nets, core.slow
    return core._replace(
        nets=nets._replace(critic=first(nets.critic)),
        slow=slow._replace(critic=first(slow.critic)),
    )
