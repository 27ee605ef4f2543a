"""TD7 (Fujimoto et al. 2023): TD3 on learned embeddings, with LAP and clipped, hard-copied targets.

    symbol         here
    zs, zsa        the encoder (`encoders.py`); its copies lag: e' = target, e'' = target2
    a'             clip(pi'(s', zs''(s')) + clip(sigma N, -k, k), -1, 1)

    encoder  minimises   mean (zsa(zs(s), a) - sg zs(s'))^2
    y        = c + gamma (1 - terminated) clip(min_j Q'_j(s', a', zsa'', zs''), low, high)
    critics  minimise    lap_huber(Q(s, a, zsa', zs') - y)
    actor, every `delay`-th update, minimises   -mean_j Q_j(s, pi(s, zs'), zsa', zs')
    every `copy_every` updates   e'' <- e' <- e,  Q' <- Q,  pi' <- pi,  [low, high] <- range of y

so what actor and critics see stays fixed between copies. [low, high] is [0, 0] until the first
copy, which makes the first targets one-step rewards, as published.

Replay is `Prioritised`; which policy to evaluate, `checkpoint.py`. As in `td3`, the target, the
critics' loss and the actor's are arguments.
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
from shared.rl.encoders import EncodedActor, EncodedCritic, Encoder
from shared.rl.networks import Params
from shared.rl.pieces import CriticLoss, Lagged, Learner, Metrics, Number, TwiceLagged
from shared.rl.replay import Batch
from shared.rl.td3 import check_spec


@dataclass(frozen=True)
class Spec:
    """Networks, and how many critic updates come to one of the actor; static."""

    encoder: Encoder
    actor: EncodedActor
    critic: EncodedCritic
    delay: int = 2

    def __post_init__(self) -> None:
        check_spec(self)
        widths = {net.embedding for net in (self.encoder, self.actor, self.critic)}
        if len(widths) > 1:
            raise BadInput(
                f"Encoder, actor and critic have one width of embeddings, not {sorted(widths)}."
            )

    @classmethod
    def of(cls, obs: int, action: int, width: int = 256) -> "Spec":
        """The usual networks for these widths; `width` of all hidden layers and embeddings."""
        return cls(
            Encoder(obs, action, width, width),
            EncodedActor(obs, action, width, width),
            EncodedCritic(obs, action, 1, width, width),
        )


class Hyper(NamedTuple):
    """Numbers that may be traced; those of TD3, and `copy_every` updates between copies."""

    gamma: Number = 0.99
    actor_lr: Number = 3e-4
    critic_lr: Number = 3e-4
    encoder_lr: Number = 3e-4
    copy_every: Number = 250
    smoothing: Number = 0.2
    smoothing_clip: Number = 0.5
    exploration: Number = 0.1


class Range(NamedTuple):
    """Smallest and largest target."""

    low: Float[Array, ""]
    high: Float[Array, ""]


class State(NamedTuple):
    """All that the rest of training depends on, but for replay and keys.

    Attributes:
        clip: range that clips the future; seen: range of all targets so far.
    """

    encoder: TwiceLagged
    actor: Lagged
    critic: Lagged
    clip: Range
    seen: Range
    step: Int[Array, ""]


CriticTarget = Callable[[State, Batch, Array, Hyper, Spec], Array]
ActorLoss = Callable[[Params, State, Batch, Array, Hyper, Spec], tuple[Array, Metrics]]


def init(key: Key[Array, ""], spec: Spec) -> State:
    """Fresh networks, their copies equal to them."""
    k_encoder, k_actor, k_critic = jax.random.split(key, 3)
    return State(
        encoder=pieces.twice_lagged(spec.encoder.init(k_encoder)),
        actor=pieces.lagged(spec.actor.init(k_actor)),
        critic=pieces.lagged(spec.critic.init(k_critic)),
        clip=Range(jnp.float32(0), jnp.float32(0)),
        seen=Range(jnp.float32(jnp.inf), jnp.float32(-jnp.inf)),
        step=pieces.zero_step(),
    )


# Forward passes -----------------------------------------------------------------------------------


def policy(
    spec: Spec, actor: Params, encoder: Params, obs: Float[Array, "*batch o"]
) -> Float[Array, "*batch a"]:
    """pi(s, zs(s)) by the given parameters."""
    return spec.actor(actor, obs, spec.encoder.state(encoder, obs))


def critics(
    spec: Spec,
    critic: Params,
    encoder: Params,
    obs: Float[Array, "*batch o"],
    action: Float[Array, "*batch a"],
) -> Float[Array, "members *batch d"]:
    """Q(s, a, zsa(s, a), zs(s)) by the given parameters."""
    zs = spec.encoder.state(encoder, obs)
    return spec.critic(critic, obs, action, spec.encoder.pair(encoder, zs, action), zs)


def next_critics(
    state: State, batch: Batch, key: Key[Array, ""], hyper: Hyper, spec: Spec
) -> Float[Array, "members batch d"]:
    """Q' at (s', a'), all from the lagging copies."""
    encoder, obs = state.encoder.target2, batch.next_obs
    action = policy(spec, state.actor.target, encoder, obs)
    action = pieces.target_noise(key, action, hyper.smoothing, hyper.smoothing_clip)
    return critics(spec, state.critic.target, encoder, obs, action)


def critic_target(
    state: State, batch: Batch, key: Key[Array, ""], hyper: Hyper, spec: Spec
) -> Float[Array, "batch 1"]:
    """y of the module's docstring, for the reward."""
    future = pieces.least(next_critics(state, batch, key, hyper, spec))
    future = jnp.clip(future, state.clip.low, state.clip.high)
    return pieces.td_target(pieces.reward_signal(batch), future, batch.terminated, hyper.gamma)


def actor_loss(
    params: Params, state: State, batch: Batch, key: Key[Array, ""], hyper: Hyper, spec: Spec
) -> tuple[Float[Array, ""], Metrics]:
    """-mean of Q over members and batch, at the policy's actions."""
    encoder = state.encoder.target
    action = policy(spec, params, encoder, batch.obs)
    return -jnp.mean(critics(spec, state.critic.params, encoder, batch.obs, action)), {}


def encoder_loss(params: Params, batch: Batch, encoder: Encoder) -> Float[Array, ""]:
    """How badly zsa(s, a) predicts zs(s'), which is taken as given."""
    ahead = jax.lax.stop_gradient(encoder.state(params, batch.next_obs))
    guess = encoder.pair(params, encoder.state(params, batch.obs), batch.action)
    return jnp.mean((guess - ahead) ** 2)


# Stages -------------------------------------------------------------------------------------------


def encoder_stage(
    state: State, batch: Batch, key: Key[Array, ""], hyper: Hyper, spec: Spec
) -> tuple[State, Metrics]:
    """One step of the encoder. Metrics: `encoder_loss`."""
    encoder, value, _ = pieces.descend(
        state.encoder, lambda p: (encoder_loss(p, batch, spec.encoder), None), hyper.encoder_lr
    )
    return state._replace(encoder=encoder), {"encoder_loss": value}


def critic_stage(
    state: State,
    batch: Batch,
    key: Key[Array, ""],
    hyper: Hyper,
    spec: Spec,
    critic_target: CriticTarget = critic_target,
    critic_loss: CriticLoss = pieces.lap_huber_loss,
) -> tuple[State, Metrics]:
    """One step of the critics. Metrics: `critic_loss`; `value`, their mean; `td` (`td_error`)."""
    target = critic_target(state, batch, key, hyper, spec)
    encoder = state.encoder.target
    zs = spec.encoder.state(encoder, batch.obs)
    zsa = spec.encoder.pair(encoder, zs, batch.action)

    def loss(params: Params) -> tuple[Array, Array]:
        q = spec.critic(params, batch.obs, batch.action, zsa, zs)
        return critic_loss(q, target), q

    critic, value, q = pieces.descend(state.critic, loss, hyper.critic_lr)
    seen = Range(
        jnp.minimum(state.seen.low, jnp.min(target)), jnp.maximum(state.seen.high, jnp.max(target))
    )
    metrics = {"critic_loss": value, "value": jnp.mean(q), "td": pieces.td_error(q, target)}
    return pieces.counted(state._replace(critic=critic, seen=seen)), metrics


def actor_stage(
    state: State,
    batch: Batch,
    key: Key[Array, ""],
    hyper: Hyper,
    spec: Spec,
    actor_loss: ActorLoss = actor_loss,
) -> tuple[State, Metrics]:
    """One step of the actor. Metrics: `actor_loss`, and those of the loss."""
    actor, value, metrics = pieces.descend(
        state.actor, lambda params: actor_loss(params, state, batch, key, hyper, spec),
        hyper.actor_lr,
    )  # fmt: skip
    return state._replace(actor=actor), {"actor_loss": value} | metrics


def copy_stage(
    state: State, batch: Batch, key: Key[Array, ""], hyper: Hyper
) -> tuple[State, Metrics]:
    """Every `copy_every` updates all copies catch up by one lag."""
    due = state.step % hyper.copy_every == 0
    return jax.lax.cond(due, copied, lambda state: state, state), {}


def copied(state: State) -> State:
    """The state with all copies brought up by one lag, and the clip range renewed."""
    encoder = state.encoder
    return state._replace(
        encoder=encoder._replace(target=encoder.params, target2=encoder.target),
        actor=state.actor._replace(target=state.actor.params),
        critic=state.critic._replace(target=state.critic.params),
        clip=state.seen,
    )


def explore(
    state: State, obs: Float[Array, "*batch o"], key: Key[Array, ""], hyper: Hyper, spec: Spec
) -> Float[Array, "*batch a"]:
    """The policy's actions with noise."""
    return pieces.gaussian_exploration(key, act(state, obs, spec), hyper.exploration)


def act(state: State, obs: Float[Array, "*batch o"], spec: Spec) -> Float[Array, "*batch a"]:
    """The policy's actions: newest actor, encoder of one lag."""
    return policy(spec, state.actor.params, state.encoder.target, obs)


@functools.cache
def learner(
    spec: Spec,
    critic_target: CriticTarget = critic_target,
    critic_loss: CriticLoss = pieces.lap_huber_loss,
    actor_loss: ActorLoss = actor_loss,
) -> Learner:
    """TD7 for the loops; the same object for the same arguments."""
    encoder = functools.partial(encoder_stage, spec=spec)
    critic = functools.partial(
        critic_stage, spec=spec, critic_target=critic_target, critic_loss=critic_loss
    )
    actor = functools.partial(actor_stage, spec=spec, actor_loss=actor_loss)
    return Learner(
        init=functools.partial(init, spec=spec),
        cycle=((encoder, critic, copy_stage),) * (spec.delay - 1)
        + ((encoder, critic, actor, copy_stage),),
        explore=functools.partial(explore, spec=spec),
        act=functools.partial(act, spec=spec),
    )


def update(
    state: State, batch: Batch, key: Key[Array, ""], hyper: Hyper, spec: Spec
) -> tuple[State, Metrics]:
    """The update that ends a cycle: encoder, critics, actor, and copies where due."""
    return pieces.run_stages(learner(spec).cycle[-1], state, batch, key, hyper)
