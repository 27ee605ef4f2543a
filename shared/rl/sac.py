"""SAC (Haarnoja et al. 2018): a stochastic policy that also earns its entropy, twin critics.

    a', l' ~ pi(s')   an action and the logarithm of its density
    y   = c + gamma (1 - terminated) [min_j Q'_j(s', a') - alpha l']
    critics minimise   sum_j mean (Q_j(s, a) - y)^2
    actor minimises    mean [alpha l - V(s, a)],  a, l ~ pi(s),  V = min_j Q_j
    temperature        minimises  -log(alpha) mean (l + H),  H = -dim(A) unless told otherwise
    Q' <- Q' + tau (Q - Q')

in this order, as in the code that most papers build on. `value` in `actor_loss` is any V, so a
Lagrangian (`lagrangian.py`) needs nothing new here.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from shared.experiment.errors import BadInput
from shared.rl import pieces
from shared.rl.networks import Critic, GaussianActor, Params
from shared.rl.pieces import CriticLoss, Lagged, Learner, Metrics, Number, Trained
from shared.rl.replay import Batch
from shared.rl.td3 import check_spec


@dataclass(frozen=True)
class Spec:
    """Networks and the entropy to hold; static.

    Attributes:
        target_entropy: H; None for minus the number of action dimensions.
        alpha: temperature at first.
    """

    actor: GaussianActor
    critic: Critic
    target_entropy: float | None = None
    alpha: float = 1.0

    def __post_init__(self) -> None:
        check_spec(self)
        if not self.alpha > 0:
            raise BadInput(f"alpha, the temperature at first, is above 0, not {self.alpha}.")

    @classmethod
    def of(cls, obs: int, action: int, hidden: tuple[int, ...] = (256, 256)) -> "Spec":
        """The usual networks for these widths."""
        return cls(GaussianActor(obs, action, hidden), Critic(obs, action, hidden=hidden))

    @property
    def entropy(self) -> float:
        """H."""
        return -float(self.actor.action) if self.target_entropy is None else self.target_entropy


class Hyper(NamedTuple):
    """Numbers that may be traced: discount, rates of Adam, share by which the copy moves.

    With alpha_lr = 0 the temperature stays what it was at first.
    """

    gamma: Number = 0.99
    actor_lr: Number = 3e-4
    critic_lr: Number = 3e-4
    alpha_lr: Number = 3e-4
    tau: Number = 0.005


class State(NamedTuple):
    """All that the rest of training depends on, but for replay and keys."""

    actor: Trained
    critic: Lagged
    log_alpha: Trained
    step: Int[Array, ""]

    @property
    def alpha(self) -> Float[Array, ""]:
        """The temperature."""
        return jnp.exp(self.log_alpha.params)


Value = Callable[[Array, Array], Array]  # (obs, action) -> [batch]
CriticTarget = Callable[[State, Batch, Array, Hyper, Spec], Array]
ActorLoss = Callable[[Params, State, Batch, Array, Hyper, Spec], tuple[Array, Metrics]]


def init(key: Key[Array, ""], spec: Spec) -> State:
    """Fresh networks, the critics' copy equal to them."""
    k_actor, k_critic = jax.random.split(key)
    return State(
        actor=pieces.trained(spec.actor.init(k_actor)),
        critic=pieces.lagged(spec.critic.init(k_critic)),
        log_alpha=pieces.trained(jnp.log(jnp.float32(spec.alpha))),
        step=pieces.zero_step(),
    )


def soft_value(
    q: Float[Array, "*batch d"], log_prob: Float[Array, "*batch"], alpha: Number
) -> Float[Array, "*batch d"]:
    """V = Q - alpha log pi."""
    return q - alpha * jnp.expand_dims(log_prob, -1)


def critic_target(
    state: State, batch: Batch, key: Key[Array, ""], hyper: Hyper, spec: Spec
) -> Float[Array, "batch 1"]:
    """y of the module's docstring, for the reward."""
    action, log_prob = spec.actor.sample(state.actor.params, batch.next_obs, key)
    q_next = pieces.least(spec.critic(state.critic.target, batch.next_obs, action))
    return pieces.td_target(
        pieces.reward_signal(batch),
        soft_value(q_next, log_prob, state.alpha),
        batch.terminated,
        hyper.gamma,
    )


def least_value(critic: Critic, params: Params) -> Value:
    """V(s, a) = min_j Q_j(s, a) of critics of one output."""
    return lambda obs, action: pieces.least(critic(params, obs, action))[..., 0]


def soft_actor_loss(
    params: Params,
    actor: GaussianActor,
    obs: Float[Array, "batch o"],
    key: Key[Array, ""],
    alpha: Number,
    value: Value,
) -> tuple[Float[Array, ""], Metrics]:
    """mean [alpha log pi(a|s) - V(s, a)], a ~ pi(s), any V. Metrics: `log_prob`, their mean."""
    action, log_prob = actor.sample(params, obs, key)
    loss = jnp.mean(jax.lax.stop_gradient(alpha) * log_prob - value(obs, action))
    return loss, {"log_prob": jnp.mean(log_prob)}


def actor_loss(
    params: Params, state: State, batch: Batch, key: Key[Array, ""], hyper: Hyper, spec: Spec
) -> tuple[Float[Array, ""], Metrics]:
    """The actor's loss of the module's docstring."""
    value = least_value(spec.critic, state.critic.params)
    return soft_actor_loss(params, spec.actor, batch.obs, key, state.alpha, value)


def critic_stage(
    state: State,
    batch: Batch,
    key: Key[Array, ""],
    hyper: Hyper,
    spec: Spec,
    critic_target: CriticTarget = critic_target,
    critic_loss: CriticLoss = pieces.square_loss,
) -> tuple[State, Metrics]:
    """One step of the critics. Metrics: `critic_loss`; `value`, their mean; `td` (`td_error`)."""
    target = critic_target(state, batch, key, hyper, spec)

    def loss(params: Params) -> tuple[Array, Array]:
        q = spec.critic(params, batch.obs, batch.action)
        return critic_loss(q, target), q

    critic, value, q = pieces.descend(state.critic, loss, hyper.critic_lr)
    metrics = {"critic_loss": value, "value": jnp.mean(q), "td": pieces.td_error(q, target)}
    return pieces.counted(state._replace(critic=critic)), metrics


def actor_stage(
    state: State,
    batch: Batch,
    key: Key[Array, ""],
    hyper: Hyper,
    spec: Spec,
    actor_loss: ActorLoss = actor_loss,
) -> tuple[State, Metrics]:
    """One step of the actor, then one of the temperature.

    The loss reports `log_prob`, which the temperature goes by. Metrics: `actor_loss`, `alpha`
    (before the step), and those of the loss.
    """
    actor, value, metrics = pieces.descend(
        state.actor, lambda params: actor_loss(params, state, batch, key, hyper, spec),
        hyper.actor_lr,
    )  # fmt: skip
    gap = jax.lax.stop_gradient(metrics["log_prob"]) + spec.entropy
    log_alpha, _, _ = pieces.descend(
        state.log_alpha, lambda log_alpha: (-log_alpha * gap, None), hyper.alpha_lr
    )
    metrics = {"actor_loss": value, "alpha": state.alpha} | metrics
    return state._replace(actor=actor, log_alpha=log_alpha), metrics


def target_stage(
    state: State, batch: Batch, key: Key[Array, ""], hyper: Hyper
) -> tuple[State, Metrics]:
    """The critics' copy moves a little."""
    return state._replace(critic=pieces.follow(state.critic, hyper.tau)), {}


def explore(
    state: State, obs: Float[Array, "*batch o"], key: Key[Array, ""], hyper: Hyper, spec: Spec
) -> Float[Array, "*batch a"]:
    """Actions drawn from the policy."""
    return spec.actor.sample(state.actor.params, obs, key)[0]


def act(state: State, obs: Float[Array, "*batch o"], spec: Spec) -> Float[Array, "*batch a"]:
    """The policy's actions without noise."""
    return spec.actor.mode(state.actor.params, obs)


@functools.cache
def learner(
    spec: Spec,
    critic_target: CriticTarget = critic_target,
    critic_loss: CriticLoss = pieces.square_loss,
    actor_loss: ActorLoss = actor_loss,
) -> Learner:
    """SAC for the loops; the same object for the same arguments."""
    critic = functools.partial(
        critic_stage, spec=spec, critic_target=critic_target, critic_loss=critic_loss
    )
    actor = functools.partial(actor_stage, spec=spec, actor_loss=actor_loss)
    return Learner(
        init=functools.partial(init, spec=spec),
        cycle=((critic, actor, target_stage),),
        explore=functools.partial(explore, spec=spec),
        act=functools.partial(act, spec=spec),
    )


def update(
    state: State, batch: Batch, key: Key[Array, ""], hyper: Hyper, spec: Spec
) -> tuple[State, Metrics]:
    """One update: critics, actor, temperature, copy."""
    return pieces.run_stages(learner(spec).cycle[-1], state, batch, key, hyper)
