"""What off-policy learners are made of: targets, losses, optimiser steps, lagging copies.

    symbol   here
    Q        critics: [members, batch, d], d = 1 for a return, more for successor features
    c        what a critic accumulates (`signal`): a reward, a cost, features [batch, d]
    y        target [batch, d]

A learner is a *cycle* of updates, each a sequence of *stages* (state, batch, key, hyper) ->
(state, metrics); `Learner` holds them, `scan.py` compiles them. TD3 with a delay of two, say, is
the cycle ((critic,), (critic, actor, targets)).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key

from shared.experiment.errors import BadInput
from shared.rl.networks import Params
from shared.rl.replay import Batch

Metrics = dict[str, Array]
Number = Any  # a float, or a traced scalar
Stage = Callable[[Any, Batch, Array, Any], tuple[Any, Metrics]]
Loss = Callable[[Params], tuple[Array, Any]]
CriticLoss = Callable[[Array, Array], Array]


@dataclass(frozen=True)
class Learner:
    """A learner as the loops see it. Static in compiled functions: build it once, then reuse it.

    Attributes:
        init: key -> state. A state is a pytree with an int32 scalar `step`, the updates done.
        cycle: updates, done in turn; each a tuple of stages.
        explore: (state, obs, key, hyper) -> actions to collect data with, in [-1, 1].
        act: (state, obs) -> actions to evaluate, in [-1, 1].
    """

    init: Callable[[Array], Any]
    cycle: tuple[tuple[Stage, ...], ...]
    explore: Callable[[Any, Array, Array, Any], Array]
    act: Callable[[Any, Array], Array]


class Trained(NamedTuple):
    """A network's parameters and their optimiser."""

    params: Params
    adam: optax.OptState


class Lagged(NamedTuple):
    """The same, with a copy that lags behind: the target network."""

    params: Params
    adam: optax.OptState
    target: Params


class TwiceLagged(NamedTuple):
    """The same, with two copies: `target` lags behind the parameters, `target2` behind `target`."""

    params: Params
    adam: optax.OptState
    target: Params
    target2: Params


Net = TypeVar("Net", Trained, Lagged, TwiceLagged)


def trained(params: Params) -> Trained:
    """A network whose training begins."""
    return Trained(params, _ADAM.init(params))


def lagged(params: Params) -> Lagged:
    """The same, with its copy equal at first."""
    return Lagged(params, _ADAM.init(params), _copy(params))


def twice_lagged(params: Params) -> TwiceLagged:
    """The same, with two copies, equal at first."""
    return TwiceLagged(params, _ADAM.init(params), _copy(params), _copy(params))


def _copy(params: Params) -> Params:
    """Arrays of their own, so that all can be donated."""
    return jax.tree.map(jnp.copy, params)


_ADAM = optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8)


def descend(net: Net, loss: Loss, lr: Number) -> tuple[Net, Float[Array, ""], Any]:
    """One step of Adam on loss(params) -> (scalar, whatever else is wanted).

    Returns:
        The network, its copy untouched; the loss and the rest, at the parameters before the step.
    """
    (value, rest), gradient = jax.value_and_grad(loss, has_aux=True)(net.params)
    with jax.numpy_dtype_promotion("standard"):
        step, adam = _ADAM.update(gradient, net.adam)
    params = jax.tree.map(lambda p, s: p - lr * s, net.params, step)
    return net._replace(params=params, adam=adam), value, rest


def follow(net: Lagged, tau: Number) -> Lagged:
    """The copy moves a share tau of the way to the parameters; all of it with tau = 1."""
    target = jax.tree.map(lambda t, p: t + tau * (p - t), net.target, net.params)
    return net._replace(target=target)


# Targets and losses -------------------------------------------------------------------------------


def td_target(
    signal: Float[Array, "*batch d"],
    next_value: Float[Array, "*batch d"],
    terminated: Float[Array, "*batch"],
    gamma: Number,
) -> Float[Array, "*batch d"]:
    """y = c + gamma (1 - terminated) V(s'), no gradient through it.

    An episode that is cut off by a time limit has not terminated: its last state has a future.
    """
    alive = jnp.expand_dims(1 - terminated, -1)
    return jax.lax.stop_gradient(signal + gamma * alive * next_value)


def reward_signal(batch: Batch) -> Float[Array, "batch 1"]:
    """The reward, as what a critic accumulates."""
    return batch.reward[:, None]


def least(q: Float[Array, "members *batch d"]) -> Float[Array, "*batch d"]:
    """The smallest member: clipped double Q (Fujimoto et al. 2018)."""
    return jnp.min(q, axis=0)


def average(q: Float[Array, "members *batch d"]) -> Float[Array, "*batch d"]:
    """The members' mean."""
    return jnp.mean(q, axis=0)


def square_loss(
    q: Float[Array, "members *batch d"], target: Float[Array, "*batch d"]
) -> Float[Array, ""]:
    """Squared errors: their mean over batch and d, summed over members."""
    return q.shape[0] * jnp.mean((q - target) ** 2)


def lap_huber_loss(
    q: Float[Array, "members *batch d"], target: Float[Array, "*batch d"]
) -> Float[Array, ""]:
    """The loss that goes with LAP's priorities: e^2 / 2 for |e| < 1, else |e|; means as above.

    It jumps from 1/2 to 1 at |e| = 1, which is how it is published; its gradient does not jump.
    """
    size = jnp.abs(q - target)
    return q.shape[0] * jnp.mean(jnp.where(size < 1, 0.5 * size**2, size))


def td_error(
    q: Float[Array, "members batch d"], target: Float[Array, "batch d"]
) -> Float[Array, " batch"]:
    """|TD| of each sample, the largest over members and d: what LAP weighs by."""
    return jnp.max(jnp.abs(q - target), axis=(0, 2))


def target_noise(
    key: Key[Array, ""], action: Float[Array, "*batch a"], sigma: Number, clip: Number
) -> Float[Array, "*batch a"]:
    """TD3's smoothed action: clip(a + clip(sigma N(0, 1), -clip, clip), -1, 1)."""
    noise = jnp.clip(sigma * jax.random.normal(key, action.shape, jnp.float32), -clip, clip)
    return jnp.clip(action + noise, -1, 1)


def gaussian_exploration(
    key: Key[Array, ""], action: Float[Array, "*batch a"], sigma: Number
) -> Float[Array, "*batch a"]:
    """clip(a + sigma N(0, 1), -1, 1)."""
    return jnp.clip(action + sigma * jax.random.normal(key, action.shape, jnp.float32), -1, 1)


# Putting stages together --------------------------------------------------------------------------


def run_stages(
    stages: tuple[Stage, ...], state: Any, batch: Batch, key: Key[Array, ""], hyper: Any
) -> tuple[Any, Metrics]:
    """One update: the stages in turn, each with a key of its own; their metrics together."""
    metrics: Metrics = {}
    keys = jax.random.split(key, len(stages)) if len(stages) > 1 else [key]
    for stage, k in zip(stages, keys, strict=True):
        state, more = stage(state, batch, k, hyper)
        if doubled := metrics.keys() & more.keys():
            raise BadInput(f"Two stages report {sorted(doubled)[0]!r}: give them two names.")
        metrics |= more
    return state, metrics


def counted(state: Any) -> Any:
    """The state with one more update done."""
    return state._replace(step=state.step + 1)


def zero_step() -> Int[Array, ""]:
    """No updates done yet."""
    return jnp.zeros((), jnp.int32)
