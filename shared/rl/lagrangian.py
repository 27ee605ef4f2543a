"""SAC under a constraint on cost: critics of their own for the cost, and a Lagrange multiplier.

    max_pi J_r(pi) + alpha entropy   subject to   J_c(pi) <= limit
    y_r = r + gamma (1 - terminated) [min_j Q'_rj(s', a') - alpha l']        as in SAC
    y_c = c + gamma (1 - terminated) min_j Q'_cj(s', a')                     no entropy; or with it
    actor:       V = min_j Q_rj - lambda min_j Q_cj
    multiplier:  lambda <- max(0, lambda + lr (J_c - limit)), after a batch of episodes

The cost of a transition is the argument `cost`, so it may be a network that is still learning; the
optimistic min over cost critics and an entropy in their target (`entropic_cost_target`) are what
one widely used library does, `pieces.least` and `cost_target` can be exchanged for others.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from shared.experiment.errors import BadInput
from shared.rl import pieces, sac
from shared.rl.networks import Critic, Params
from shared.rl.pieces import Lagged, Learner, Metrics, Number, Trained
from shared.rl.replay import Batch

Reduce = Callable[[Array], Array]
Cost = Callable[[Batch], Array]  # transitions -> [batch]


@dataclass(frozen=True)
class Spec:
    """SAC's networks and the critics of the cost; static."""

    sac: sac.Spec
    cost_critic: Critic

    @classmethod
    def of(cls, obs: int, action: int, hidden: tuple[int, ...] = (256, 256)) -> "Spec":
        """The usual networks for these widths."""
        return cls(sac.Spec.of(obs, action, hidden), Critic(obs, action, hidden=hidden))


class State(NamedTuple):
    """SAC's state, the cost's critics, and the multiplier, which no update changes."""

    sac: sac.State
    cost: Lagged
    multiplier: Float[Array, ""]

    @property
    def step(self) -> Int[Array, ""]:
        """Updates done."""
        return self.sac.step


CostTarget = Callable[[State, Batch, Array, sac.Hyper, Spec, Cost], Array]


def init(key: Key[Array, ""], spec: Spec, multiplier: float = 1.0) -> State:
    """Fresh networks."""
    if not multiplier >= 0:
        raise BadInput(f"A multiplier is at least 0, not {multiplier}.")
    k_sac, k_cost = jax.random.split(key)
    cost = pieces.lagged(spec.cost_critic.init(k_cost))
    return State(sac.init(k_sac, spec.sac), cost, jnp.float32(multiplier))


def recorded_cost(batch: Batch) -> Float[Array, " batch"]:
    """The cost that was stored, an extra of the replay."""
    return batch.extras["cost"]


def cost_target(
    state: State, batch: Batch, key: Key[Array, ""], hyper: sac.Hyper, spec: Spec, cost: Cost
) -> Float[Array, "batch 1"]:
    """y_c of the module's docstring."""
    action, _ = spec.sac.actor.sample(state.sac.actor.params, batch.next_obs, key)
    q_next = pieces.least(spec.cost_critic(state.cost.target, batch.next_obs, action))
    return pieces.td_target(cost(batch)[:, None], q_next, batch.terminated, hyper.gamma)


def entropic_cost_target(
    state: State, batch: Batch, key: Key[Array, ""], hyper: sac.Hyper, spec: Spec, cost: Cost
) -> Float[Array, "batch 1"]:
    """The same with - alpha log pi(a'|s') added to the future, as in the reward's target."""
    action, log_prob = spec.sac.actor.sample(state.sac.actor.params, batch.next_obs, key)
    q_next = pieces.least(spec.cost_critic(state.cost.target, batch.next_obs, action))
    value = sac.soft_value(q_next, log_prob, state.sac.alpha)
    return pieces.td_target(cost(batch)[:, None], value, batch.terminated, hyper.gamma)


def critic_stage(
    state: State,
    batch: Batch,
    key: Key[Array, ""],
    hyper: sac.Hyper,
    spec: Spec,
    cost: Cost = recorded_cost,
    cost_target: CostTarget = cost_target,
) -> tuple[State, Metrics]:
    """One step of all critics; both targets draw the same next actions.

    Metrics: SAC's, and `cost_critic_loss`, `cost_value`.
    """
    target = cost_target(state, batch, key, hyper, spec, cost)

    def loss(params: Params) -> tuple[Array, Array]:
        q = spec.cost_critic(params, batch.obs, batch.action)
        return pieces.square_loss(q, target), jnp.mean(q)

    critic, value, mean = pieces.descend(state.cost, loss, hyper.critic_lr)
    inner, metrics = sac.critic_stage(state.sac, batch, key, hyper, spec.sac)
    metrics |= {"cost_critic_loss": value, "cost_value": mean}
    return state._replace(sac=inner, cost=critic), metrics


def penalised_value(state: State, spec: Spec, reduce: Reduce = pieces.least) -> sac.Value:
    """V(s, a) = min_j Q_rj(s, a) - lambda reduce_j Q_cj(s, a)."""

    def value(obs: Array, action: Array) -> Array:
        reward = sac.least_value(spec.sac.critic, state.sac.critic.params)(obs, action)
        cost = reduce(spec.cost_critic(state.cost.params, obs, action))[..., 0]
        return reward - state.multiplier * cost

    return value


def actor_stage(
    state: State,
    batch: Batch,
    key: Key[Array, ""],
    hyper: sac.Hyper,
    spec: Spec,
    reduce: Reduce = pieces.least,
) -> tuple[State, Metrics]:
    """One step of the actor on the penalised value, and one of the temperature; SAC's metrics."""
    value = penalised_value(state, spec, reduce)

    def loss(params: Params, inner: sac.State, *_: object) -> tuple[Array, Metrics]:
        return sac.soft_actor_loss(params, spec.sac.actor, batch.obs, key, inner.alpha, value)

    inner, metrics = sac.actor_stage(state.sac, batch, key, hyper, spec.sac, loss)
    return state._replace(sac=inner), metrics | {"multiplier": state.multiplier}


def target_stage(
    state: State, batch: Batch, key: Key[Array, ""], hyper: sac.Hyper
) -> tuple[State, Metrics]:
    """Both copies move a little."""
    inner, _ = sac.target_stage(state.sac, batch, key, hyper)
    return state._replace(sac=inner, cost=pieces.follow(state.cost, hyper.tau)), {}


# The multiplier -----------------------------------------------------------------------------------


def ascend(
    multiplier: Float[Array, ""], cost: Number, limit: Number, lr: Number
) -> Float[Array, ""]:
    """lambda <- max(0, lambda + lr (J_c - limit))."""
    return jnp.maximum(multiplier + lr * (cost - limit), 0)


def ascend_adam(multiplier: Trained, cost: Number, limit: Number, lr: Number) -> Trained:
    """The same with Adam's step in place of the gradient; a step is about lr long at any scale."""
    after, _, _ = pieces.descend(multiplier, lambda x: (-x * (cost - limit), None), lr)
    return after._replace(params=jnp.maximum(after.params, 0))


@functools.cache
def learner(
    spec: Spec,
    cost: Cost = recorded_cost,
    cost_target: CostTarget = cost_target,
    reduce: Reduce = pieces.least,
    multiplier: float = 1.0,
) -> Learner:
    """SAC under a constraint for the loops; `state._replace(multiplier=ascend(...))` between."""
    critic = functools.partial(critic_stage, spec=spec, cost=cost, cost_target=cost_target)
    actor = functools.partial(actor_stage, spec=spec, reduce=reduce)
    inner = sac.learner(spec.sac)
    return Learner(
        init=functools.partial(init, spec=spec, multiplier=multiplier),
        cycle=((critic, actor, target_stage),),
        explore=lambda state, obs, key, hyper: inner.explore(state.sac, obs, key, hyper),
        act=lambda state, obs: inner.act(state.sac, obs),
    )


def update(
    state: State, batch: Batch, key: Key[Array, ""], hyper: sac.Hyper, spec: Spec
) -> tuple[State, Metrics]:
    """One update with the recorded cost: critics, actor, temperature, copies."""
    return pieces.run_stages(learner(spec).cycle[-1], state, batch, key, hyper)
