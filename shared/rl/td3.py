"""TD3 (Fujimoto et al. 2018): twin critics, a smoothed target policy, delayed policy updates.

    y   = c + gamma (1 - terminated) min_j Q'_j(s', clip(pi'(s') + clip(sigma N, -k, k), -1, 1))
    critics minimise   sum_j mean (Q_j(s, a) - y)^2
    the actor, every `delay`-th update, minimises   -mean Q_1(s, pi(s))
    then both copies move:   Q' <- Q' + tau (Q - Q'),   pi' <- pi' + tau (pi - pi')

`critic_target`, `critic_loss` and `actor_loss` are arguments, so other objectives keep the rest:
successor features, say, by `Critic(out=d)` and a target of phi(s) + gamma psi.
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
from shared.rl.networks import Critic, Params, TanhActor
from shared.rl.pieces import CriticLoss, Lagged, Learner, Metrics, Number
from shared.rl.replay import Batch


@dataclass(frozen=True)
class Spec:
    """Networks, and how many critic updates come to one of the actor; static."""

    actor: TanhActor
    critic: Critic
    delay: int = 2

    def __post_init__(self) -> None:
        check_spec(self)

    @classmethod
    def of(cls, obs: int, action: int, hidden: tuple[int, ...] = (256, 256)) -> "Spec":
        """The usual networks for these widths."""
        return cls(TanhActor(obs, action, hidden), Critic(obs, action, hidden=hidden))


class Hyper(NamedTuple):
    """Numbers that may be traced.

    Attributes:
        gamma: discount. actor_lr, critic_lr: Adam's rates. tau: share by which copies move.
        smoothing, smoothing_clip: of the target action's noise. exploration: deviation of the noise
            in `explore`.
    """

    gamma: Number = 0.99
    actor_lr: Number = 3e-4
    critic_lr: Number = 3e-4
    tau: Number = 0.005
    smoothing: Number = 0.2
    smoothing_clip: Number = 0.5
    exploration: Number = 0.1


class State(NamedTuple):
    """All that the rest of training depends on, but for replay and keys."""

    actor: Lagged
    critic: Lagged
    step: Int[Array, ""]


CriticTarget = Callable[[State, Batch, Array, Hyper, Spec], Array]
ActorLoss = Callable[[Params, State, Batch, Array, Hyper, Spec], tuple[Array, Metrics]]


def init(key: Key[Array, ""], spec: Spec) -> State:
    """Fresh networks, their copies equal to them."""
    k_actor, k_critic = jax.random.split(key)
    return State(
        actor=pieces.lagged(spec.actor.init(k_actor)),
        critic=pieces.lagged(spec.critic.init(k_critic)),
        step=pieces.zero_step(),
    )


def critic_target(
    state: State, batch: Batch, key: Key[Array, ""], hyper: Hyper, spec: Spec
) -> Float[Array, "batch 1"]:
    """y of the module's docstring, for the reward."""
    action = spec.actor(state.actor.target, batch.next_obs)
    action = pieces.target_noise(key, action, hyper.smoothing, hyper.smoothing_clip)
    q_next = spec.critic(state.critic.target, batch.next_obs, action)
    return pieces.td_target(
        pieces.reward_signal(batch), pieces.least(q_next), batch.terminated, hyper.gamma
    )


def actor_loss(
    params: Params, state: State, batch: Batch, key: Key[Array, ""], hyper: Hyper, spec: Spec
) -> tuple[Float[Array, ""], Metrics]:
    """-mean Q_1(s, pi(s)): its gradient is the deterministic policy gradient."""
    q = spec.critic(state.critic.params, batch.obs, spec.actor(params, batch.obs))
    return -jnp.mean(q[0]), {}


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
    """One step of the actor. Metrics: `actor_loss`, and those of the loss."""
    actor, value, metrics = pieces.descend(
        state.actor, lambda params: actor_loss(params, state, batch, key, hyper, spec),
        hyper.actor_lr,
    )  # fmt: skip
    return state._replace(actor=actor), {"actor_loss": value} | metrics


def target_stage(
    state: State, batch: Batch, key: Key[Array, ""], hyper: Hyper
) -> tuple[State, Metrics]:
    """Both copies move a little."""
    actor, critic = (pieces.follow(net, hyper.tau) for net in (state.actor, state.critic))
    return state._replace(actor=actor, critic=critic), {}


def explore(
    state: State, obs: Float[Array, "*batch o"], key: Key[Array, ""], hyper: Hyper, spec: Spec
) -> Float[Array, "*batch a"]:
    """The policy's actions with noise."""
    return pieces.gaussian_exploration(key, act(state, obs, spec), hyper.exploration)


def act(state: State, obs: Float[Array, "*batch o"], spec: Spec) -> Float[Array, "*batch a"]:
    """The policy's actions."""
    return spec.actor(state.actor.params, obs)


@functools.cache
def learner(
    spec: Spec,
    critic_target: CriticTarget = critic_target,
    critic_loss: CriticLoss = pieces.square_loss,
    actor_loss: ActorLoss = actor_loss,
) -> Learner:
    """TD3 for the loops; the same object for the same arguments."""
    critic = functools.partial(
        critic_stage, spec=spec, critic_target=critic_target, critic_loss=critic_loss
    )
    actor = functools.partial(actor_stage, spec=spec, actor_loss=actor_loss)
    return Learner(
        init=functools.partial(init, spec=spec),
        cycle=((critic,),) * (spec.delay - 1) + ((critic, actor, target_stage),),
        explore=functools.partial(explore, spec=spec),
        act=functools.partial(act, spec=spec),
    )


def update(
    state: State, batch: Batch, key: Key[Array, ""], hyper: Hyper, spec: Spec
) -> tuple[State, Metrics]:
    """The update that ends a cycle: critics, actor and copies."""
    return pieces.run_stages(learner(spec).cycle[-1], state, batch, key, hyper)


def check_spec(spec: "Spec | object") -> None:
    """Refuse networks that do not fit together, and a delay below 1."""
    actor, critic = spec.actor, spec.critic  # pyright: ignore[reportAttributeAccessIssue]
    for name in ("obs", "action"):
        if getattr(actor, name) != getattr(critic, name):
            raise BadInput(
                f"Actor and critic have the same {name}; these have "
                f"{getattr(actor, name)} and {getattr(critic, name)}."
            )
    delay = getattr(spec, "delay", 1)
    if delay < 1:
        raise BadInput(f"delay, the updates per actor update, is at least 1, not {delay}.")
