"""Constraint inference as inverse reinforcement learning with a reward correction.

Hugessen, Wiltzer, Berseth: Simplifying Constraint Inference with Inverse Reinforcement Learning,
NeurIPS 2024. An expert maximises a known reward r and never enters a forbidden set that we do not
know; from its demonstrations we infer a cost c that keeps a learner out of it. Inverse constrained
RL plays a game of three levels (3.2) for that: cost, Lagrange multiplier, policy. Where costs may
be scaled freely the multiplier is part of the cost, and what is left (3.3) is plain inverse RL over
a correction of the known reward. Everything is a pure function; this file needs jax, numpy and
jaxtyping, and nothing else of this repository.

    symbol    here            meaning
    r         rew             the known reward, (B,)
    c_theta   cost_apply      the inferred cost of (s, a), (B,); the reward correction is f = -c
    lambda    lam             its weight; 1 in IRL, a multiplier that is trained in the old game
    pi        actor           a Gaussian squashed by tanh; actions lie in [-1, 1]
    alpha     exp(log_alpha)  temperature of the entropy bonus, trained (soft actor-critic)
    Q_r, Q_c  critics         twin action values of reward and cost; without separate critics
                              there are only those of the corrected reward
    zeta      feasibility     MECL's network in (0, 1): 1 means allowed, its cost is 1 - zeta
    D         feasibility     GACL's discriminator: 1 means expert

    (3.2)  max_c max_{lambda >= 0} min_pi  J_{r - lambda c}(expert) - J_{r - lambda c}(pi)
    (3.3)  max_c min_pi  J_{r - c}(expert) - J_{r - c}(pi),   equal to (3.2) if costs are a cone

Equation numbers are those of this file. What the official code does and the paper leaves out is
here by name: `twin_init="copy"`, `cost_entropy=True`, `cost_twin="min"` and the torch slope of
LeakyReLU at zero are its behaviour, the other values what one would expect.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int, Key

Output = Literal["leaky_relu", "linear_clip", "sigmoid", "neg_log_sigmoid"]
Regulariser = Literal["l2_expert", "l2", "l1", "prior_learner", "none"]
Twin = Literal["min", "max", "mean"]
Scalar = Float[ArrayLike, ""]

SLOPE = 0.01  # of LeakyReLU below and, as in torch, at zero
EPS = 1e-5  # inside the logarithms of MECL and the tri-level game
NORM_MOMENTUM = 0.1  # of batch normalisation's running statistics


# --- Networks -------------------------------------------------------------------------------------


class Layer(NamedTuple):
    """Weights and bias of x w + b; a leading axis k makes k layers of them."""

    w: Float[Array, "*k n_in n_out"]
    b: Float[Array, "*k n_out"]


Mlp = tuple[Layer, ...]


def linear_init(key: Key[Array, ""], n_in: int, n_out: int) -> Layer:
    """Uniform in +-1/sqrt(n_in), weights and biases: torch's default, as in the official code."""
    return mlp_init(key, (n_in, n_out))[0]


def mlp_init(key: Key[Array, ""], sizes: tuple[int, ...]) -> Mlp:
    """A layer between each two sizes, see `linear_init`; one draw for all of them compiles fast."""
    shapes = list(itertools.pairwise(sizes))
    draw = jax.random.uniform(key, (sum((m + 1) * n for m, n in shapes),), jnp.float32, -1, 1)
    layers, start = [], 0
    for n_in, n_out in shapes:
        both = n_in**-0.5 * draw[start : start + (n_in + 1) * n_out].reshape(n_in + 1, n_out)
        layers.append(Layer(both[:-1], both[-1]))
        start += (n_in + 1) * n_out
    return tuple(layers)


def mlp_apply(params: Mlp, x: Float[Array, "*batch n_in"]) -> Float[Array, "*batch n_out"]:
    """ReLU between the layers, none after the last."""
    for layer in params[:-1]:
        x = jax.nn.relu(x @ layer.w + layer.b)
    return x @ params[-1].w + params[-1].b


class Adam(NamedTuple):
    """Moments of Adam (Kingma and Ba, 2015) and the number of steps."""

    mean: Any
    square: Any
    steps: Int[Array, ""]


def adam_init(params: Any) -> Adam:
    """Moments of zero, of the same shapes as the parameters."""
    return Adam(jax.tree.map(jnp.zeros_like, params), jax.tree.map(jnp.zeros_like, params),
                jnp.int32(0))  # fmt: skip


def adam_step(params: Any, gradient: Any, adam: Adam, lr: Scalar) -> tuple[Any, Adam]:
    """Adam with decays 0.9 and 0.999 and epsilon 1e-8; the rate may be traced."""
    steps = adam.steps + 1
    t = steps.astype(jnp.float32)
    first, second = 1 - 0.9**t, 1 - 0.999**t
    mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, adam.mean, gradient)
    square = jax.tree.map(lambda s, g: 0.999 * s + 0.001 * g**2, adam.square, gradient)

    def move(p: Array, m: Array, s: Array) -> Array:
        step = (m / first.astype(m.dtype)) / (jnp.sqrt(s / second.astype(s.dtype)) + 1e-8)
        return p - jnp.asarray(lr, p.dtype) * step

    return jax.tree.map(move, params, mean, square), Adam(mean, square, steps)


# --- The cost network -----------------------------------------------------------------------------


class BatchNorm(NamedTuple):
    """Batch normalisation of a hidden layer; `mean` and `var` are its running statistics."""

    scale: Float[Array, " h"]
    shift: Float[Array, " h"]
    mean: Float[Array, " h"]
    var: Float[Array, " h"]


class CostParams(NamedTuple):
    """The cost network: an MLP on [obs, act]; `norms` is empty but in the ablation with BN."""

    layers: Mlp
    norms: tuple[BatchNorm, ...] = ()


Pairs = tuple[Float[Array, "_ o"], Float[Array, "_ a"]]
"""A batch of (observations, actions); actions in the learner's box [-1, 1]."""


def cost_init(
    key: Key[Array, ""],
    obs_dim: int,
    act_dim: int,
    hidden: tuple[int, ...] = (64, 64),
    zero_last: bool = True,
    batch_norm: bool = False,
) -> CostParams:
    """A cost network; with `zero_last` its cost is 0 everywhere until the first step.

    A zero last layer also keeps the gradient from the hidden layers in that first step.
    """
    layers = mlp_init(key, (obs_dim + act_dim, *hidden, 1))
    if zero_last:
        layers = (*layers[:-1], Layer(*(jnp.zeros_like(x) for x in layers[-1])))
    one = [jnp.ones(h, jnp.float32) for h in hidden] if batch_norm else []
    norms = tuple(BatchNorm(x, jnp.zeros_like(x), jnp.zeros_like(x), x) for x in one)
    return CostParams(layers, norms)


def cost_logits(
    params: CostParams, obs: Float[Array, "B o"], act: Float[Array, "B a"], train: bool = False
) -> Float[Array, " B"]:
    """The network's last layer, before the output function.

    With batch normalisation, `train` normalises by this batch's statistics, else by the running
    ones.
    """
    x = jnp.concatenate([obs, act], axis=-1)
    for i, layer in enumerate(params.layers[:-1]):
        x = x @ layer.w + layer.b
        if params.norms:
            x = _normalised(params.norms[i], x, train)
        x = jax.nn.relu(x)
    return (x @ params.layers[-1].w + params.layers[-1].b)[:, 0]


def _normalised(norm: BatchNorm, x: Float[Array, "B h"], train: bool) -> Float[Array, "B h"]:
    mean, var = (x.mean(axis=0), x.var(axis=0)) if train else (norm.mean, norm.var)
    return norm.scale * (x - mean) * jax.lax.rsqrt(var + 1e-5) + norm.shift


def cost_output(
    z: Float[Array, "*batch"], out: Output, clip: tuple[float, float] | None = None
) -> Float[Array, "*batch"]:
    """From the last layer z to a cost.

    leaky_relu        z, or z/100 where z <= 0: a cone, as (3.3) needs; IRL with L2
    linear_clip       z cut off to `clip`, without gradient outside; IRL-Base, clip (0, 20)
    sigmoid           1 - sigmoid(z) in (0, 1): no cone, so a multiplier is needed; MECL, SAC-ICRL
    neg_log_sigmoid   -log sigmoid(z): the correction of GACL, + log D

    Raises:
        ValueError: another name, or `linear_clip` without bounds.
    """
    if out == "leaky_relu":
        # Not jax.nn.leaky_relu, whose slope at zero is 1: a zero-initialised network stands there.
        return jnp.where(z > 0, z, SLOPE * z)
    if out == "linear_clip":
        if clip is None or not clip[0] < clip[1]:
            raise ValueError(
                f"out='linear_clip' needs clip=(low, high) with low < high; got {clip}."
            )
        return jnp.where(
            (z >= clip[0]) & (z <= clip[1]), z, jnp.clip(jax.lax.stop_gradient(z), *clip)
        )
    if out == "sigmoid":
        return jax.nn.sigmoid(-z)
    if out == "neg_log_sigmoid":
        return jax.nn.softplus(-z)
    raise ValueError(
        f"out must be leaky_relu, linear_clip, sigmoid or neg_log_sigmoid; got {out!r}."
    )


def cost_apply(
    params: CostParams,
    obs: Float[Array, "B o"],
    act: Float[Array, "B a"],
    out: Output = "leaky_relu",
    clip: tuple[float, float] | None = None,
    train: bool = False,
) -> Float[Array, " B"]:
    """c_theta(s, a) of a batch; see `cost_output` for `out` and `clip`."""
    return cost_output(cost_logits(params, obs, act, train), out, clip)


def feasibility(
    params: CostParams, obs: Float[Array, "B o"], act: Float[Array, "B a"]
) -> Float[Array, " B"]:
    """zeta = sigmoid(z) of MECL, or D of GACL: the chance that (s, a) is allowed."""
    return jax.nn.sigmoid(cost_logits(params, obs, act))


# --- Losses of the cost ---------------------------------------------------------------------------


def cost_loss(
    params: CostParams,
    expert: Pairs,
    learner: Pairs,
    beta: float = 0.1,
    reg: Regulariser = "l2_expert",
    *,
    out: Output = "leaky_relu",
    clip: tuple[float, float] | None = None,
    prior: Pairs | None = None,
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """The outer step of (3.3): dear where the learner goes, cheap where the expert does.

    (3.4)  L(theta) = mean_E c - mean_L c + beta Reg

    Reg is mean_E c^2 for `l2_expert` (the paper's), the mean of c^2 or of |c| over both batches for
    `l2` and `l1`, and -mean c over `prior`, past learner samples, for `prior_learner`. For a table
    of costs with visitation weights w_E, w_L, `l2_expert` has its optimum at

    (3.5)  c* = (w_L / w_E - 1) / (2 beta):

    0 where expert and learner agree, unbounded where only the learner goes.

    Args:
        expert, learner: transitions, uniform over time: there is no discounting.

    Returns:
        The loss; `c_E` and `c_L`, the mean costs, and `gap` = c_L - c_E.

    Raises:
        ValueError: beta < 0, an unknown regulariser, or `prior_learner` without `prior`.
    """
    if beta < 0:
        raise ValueError(f"beta must not be negative; got {beta}.")
    c_e = cost_apply(params, *expert, out, clip, True)
    c_l = cost_apply(params, *learner, out, clip, True)
    both = jnp.concatenate([c_e, c_l])
    if reg == "l2_expert":
        penalty = jnp.mean(c_e**2)
    elif reg == "l2":
        penalty = jnp.mean(both**2)
    elif reg == "l1":
        penalty = jnp.mean(jnp.abs(both))
    elif reg == "prior_learner":
        if prior is None:
            raise ValueError("reg='prior_learner' needs prior=(obs, act), past learner samples.")
        # The official code adds the mean of its network, which is f = -c in the IRL variants.
        penalty = -jnp.mean(cost_apply(params, *prior, out, clip, True))
    elif reg == "none":
        penalty = jnp.zeros((), c_e.dtype)
    else:
        raise ValueError(f"reg must be l2_expert, l2, l1, prior_learner or none; got {reg!r}.")
    aux = {"gap": c_l.mean() - c_e.mean(), "c_E": c_e.mean(), "c_L": c_l.mean()}
    return c_e.mean() - c_l.mean() + beta * penalty, aux


def mecl_loss(
    params: CostParams,
    expert: Pairs,
    learner: Pairs,
    w: Float[Array, " B"],
    delta: float,
    eps: float = EPS,
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Maximum-causal-entropy ICRL (Malik et al., 2021), the tri-level game's cost step.

    (3.8)  -mean_E log(zeta + eps) + mean_L w log(zeta + eps)
           + delta [mean_E (1 - zeta) + mean_L (1 - zeta)]

    Args:
        w: importance weights of the learner's steps, see `is_weights`; not differentiated.
        delta: weight of the regulariser that keeps costs small everywhere.
    """
    z_e, z_l = feasibility(params, *expert), feasibility(params, *learner)
    fit = jnp.mean(jax.lax.stop_gradient(w) * jnp.log(z_l + eps)) - jnp.mean(jnp.log(z_e + eps))
    c_e, c_l = jnp.mean(1 - z_e), jnp.mean(1 - z_l)
    return fit + delta * (c_e + c_l), {"gap": c_l - c_e, "c_E": c_e, "c_L": c_l}


def is_weights(
    z_old: Float[Array, " B"],
    z_new: Float[Array, " B"],
    lengths: Int[Array, " episodes"],
    eps: float = EPS,
) -> tuple[Float[Array, " B"], Float[Array, ""], Float[Array, ""]]:
    """MECL reuses the learner's episodes for several steps of zeta, weighted by how zeta changed.

    w = (zeta_new + eps) / (zeta_old + eps), divided by its mean. With omega the product of these
    ratios over an episode, the episodes' laws p_new ~ p_old omega are KL(old, new) =
    log mean omega - mean log omega apart; MECL stops when it exceeds 10, or KL(new, old) 2.5.

    Args:
        z_old, z_new: feasibility of the episodes' steps, one episode after the other.
        lengths: steps of each episode; they sum to B.

    Returns:
        w, KL(old, new) and KL(new, old), the latter two estimated with self-normalised weights.
    """
    log_ratio = jnp.log(z_new + eps) - jnp.log(z_old + eps)
    ratio = jnp.exp(log_ratio)
    episode = jnp.repeat(
        jnp.arange(lengths.shape[0]), lengths, total_repeat_length=log_ratio.shape[0]
    )
    log_omega = jax.ops.segment_sum(log_ratio, episode, lengths.shape[0])
    n = jnp.asarray(lengths.shape[0], log_omega.dtype)
    log_mean = jax.nn.logsumexp(log_omega) - jnp.log(n)
    shares = jax.nn.softmax(log_omega)
    kl_old_new = log_mean - jnp.mean(log_omega)
    kl_new_old = jnp.sum(shares * log_omega) - log_mean
    return ratio / jnp.mean(ratio), kl_old_new, kl_new_old


def gacl_loss(
    params: CostParams, expert: Pairs, learner: Pairs
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """GACL: a discriminator between expert (D = 1) and learner; the learner gets r + log D.

    -mean_E log D - mean_L log(1 - D), the binary cross-entropy of generative imitation.
    """
    z_e, z_l = cost_logits(params, *expert), cost_logits(params, *learner)
    c_e, c_l = jnp.mean(jax.nn.softplus(-z_e)), jnp.mean(jax.nn.softplus(-z_l))
    loss = c_e + jnp.mean(jax.nn.softplus(z_l))
    return loss, {"gap": c_l - c_e, "c_E": c_e, "c_L": c_l}


def trilevel_loss(
    params: CostParams, expert: Pairs, learner: Pairs, beta: float = 0.5, eps: float = EPS
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """The cost step of SAC-ICRL, the tri-level game on this paper's learner.

    (3.9)  mean_L log(1 - c + eps) - mean_E log(1 - c + eps) + beta mean_{E,L} c^2,  c = 1 - zeta
    """
    if beta < 0:
        raise ValueError(f"beta must not be negative; got {beta}.")
    z_e, z_l = feasibility(params, *expert), feasibility(params, *learner)
    penalty = jnp.mean(jnp.concatenate([1 - z_e, 1 - z_l]) ** 2)
    loss = jnp.mean(jnp.log(z_l + eps)) - jnp.mean(jnp.log(z_e + eps)) + beta * penalty
    c_e, c_l = jnp.mean(1 - z_e), jnp.mean(1 - z_l)
    return loss, {"gap": c_l - c_e, "c_E": c_e, "c_L": c_l}


def cost_step(
    params: CostParams,
    adam: Adam,
    gradient: CostParams,
    lr: Scalar,
    batches: tuple[Pairs, ...] = (),
    weight_decay: float = 1e-3,
) -> tuple[CostParams, Adam]:
    """One Adam step on the cost; `batches` move the running statistics of batch normalisation.

    The decay is part of the gradient, as torch's `Adam(weight_decay=...)` has it, not AdamW's.
    """
    gradient = jax.tree.map(lambda g, p: g + weight_decay * p, gradient, params)
    moved, adam = adam_step(params, gradient, adam, lr)
    norms = params.norms
    for obs, act in batches if norms else ():
        norms = _running_statistics(params._replace(norms=norms), obs, act)
    kept = [
        new._replace(mean=old.mean, var=old.var)
        for new, old in zip(moved.norms, norms, strict=True)
    ]
    return moved._replace(norms=tuple(kept)), adam


def _running_statistics(
    params: CostParams, obs: Float[Array, "B o"], act: Float[Array, "B a"]
) -> tuple[BatchNorm, ...]:
    x, found = jnp.concatenate([obs, act], axis=-1), []
    for layer, norm in zip(params.layers[:-1], params.norms, strict=True):
        x = x @ layer.w + layer.b
        unbiased = x.var(axis=0) * (x.shape[0] / max(x.shape[0] - 1, 1))
        mean = (1 - NORM_MOMENTUM) * norm.mean + NORM_MOMENTUM * x.mean(axis=0)
        var = (1 - NORM_MOMENTUM) * norm.var + NORM_MOMENTUM * unbiased
        found.append(norm._replace(mean=mean, var=var))
        x = jax.nn.relu(_normalised(norm, x, True))
    return tuple(found)


# --- The corrected reward -------------------------------------------------------------------------


class RunningNorm(NamedTuple):
    """Mean, population variance and count of all rewards seen."""

    mean: Float[Array, ""]
    var: Float[Array, ""]
    seen: Float[Array, ""]


def norm_init() -> RunningNorm:
    """Nothing seen: mean 0, variance 1, count 0."""
    return RunningNorm(jnp.float32(0), jnp.float32(1), jnp.float32(0))


def norm_update(norm: RunningNorm, x: Float[Array, " B"]) -> RunningNorm:
    """The statistics of what was seen before together with x (Chan et al., 1979)."""
    n = jnp.asarray(x.shape[0], norm.mean.dtype)
    total = norm.seen + n
    delta = x.mean() - norm.mean
    squares = norm.var * norm.seen + x.var() * n + delta**2 * norm.seen * n / total
    return RunningNorm(norm.mean + delta * n / total, squares / total, total)


def norm_apply(
    norm: RunningNorm, x: Float[Array, "*batch"], clip: float = 10.0
) -> Float[Array, "*batch"]:
    """(x - mean) / std, cut off at +-clip."""
    return jnp.clip((x - norm.mean) * jax.lax.rsqrt(norm.var + 1e-8), -clip, clip)


def corrected_reward(
    r: Float[Array, " B"],
    c: Float[Array, " B"],
    lam: Scalar,
    norm_state: RunningNorm | None = None,
) -> Float[Array, " B"]:
    """What the learner maximises: (3.6)  N(r) - lambda c, N the running normalisation or nothing.

    The replay buffer keeps r: c is computed anew at every update, from the current network.

    Raises:
        ValueError: a negative lambda (where its value is known).
    """
    check_weight(lam)
    reward = r if norm_state is None else norm_apply(norm_state, r)
    return reward - jnp.asarray(lam, r.dtype) * c


def check_weight(lam: Scalar) -> None:
    """Refuse a negative lambda with a ValueError; a traced one is let through."""
    if not isinstance(lam, Tracer) and bool(np.asarray(lam) < 0):
        raise ValueError(f"lambda must not be negative; got {lam}.")


def feasible_return(
    rew: Float[Array, "T N"], cost: Float[Array, "T N"], mask: Bool[Array, "T N"]
) -> tuple[Float[Array, " N"], Bool[Array, " N"]]:
    """The paper's two metrics of N evaluation episodes.

    Args:
        rew: raw rewards. cost: above 0 where the constraint is broken after that step.
        mask: False beyond an episode's end.

    Returns:
        The sum of rewards strictly before the first violation, and whether there was one.
    """
    broken = (cost > 0) & mask
    before = jnp.cumsum(broken, axis=0) == 0
    return jnp.sum(jnp.where(before & mask, rew, 0), axis=0), broken.any(axis=0)


# --- The learner: soft actor-critic with twin critics of reward and cost --------------------------


class Batch(NamedTuple):
    """Transitions; `terminated` masks the bootstrap (a time limit does not); `cost` is the true."""

    obs: Float[Array, "B o"]
    act: Float[Array, "B a"]
    rew: Float[Array, " B"]
    next_obs: Float[Array, "B o"]
    terminated: Float[Array, " B"]
    cost: Float[Array, " B"]


@dataclass(frozen=True)
class SACConfig:
    """Soft actor-critic (Haarnoja et al., 2018) with a learned cost.

    Attributes:
        target_entropy: None is -dim(A).
        separate_critics: Q_r and Q_c apart (SC, 3.7), else one twin pair of r - lambda c.
        twin_init: "copy" starts the pair of the corrected reward equal, and as its targets are
            equal too it stays so until a reset: the official code. "independent" is a twin proper.
            Separate critics are always independent, as they are there.
        cost_entropy: whether Q_c's target has the entropy bonus too, as in the official code. With
            lambda = 1 that of Q_r is cancelled in the actor's loss.
        cost_twin: how Q_c's pair becomes one; "min" (official) is optimistic about costs.
        cost_out, cost_clip: of the cost network, see `cost_output`.
        normalise_reward: N in (3.6).
    """

    hidden: tuple[int, ...] = (256, 256)
    actor_lr: float = 1e-3
    critic_lr: float = 1e-3
    alpha_lr: float = 3e-4
    gamma: float = 0.99
    tau: float = 0.005
    target_entropy: float | None = None
    separate_critics: bool = False
    twin_init: Literal["copy", "independent"] = "copy"
    cost_entropy: bool = True
    cost_twin: Twin = "min"
    cost_out: Output = "leaky_relu"
    cost_clip: tuple[float, float] | None = None
    normalise_reward: bool = False


class SACState(NamedTuple):
    """Everything that `sac_update` changes.

    Attributes:
        critics, targets: twins stacked on a first axis of 2, or of 4 with separate critics: two of
            the reward, then two of the cost.
        adam_*: optimiser states. norm: running statistics of the reward.
    """

    actor: Mlp
    critics: Mlp
    targets: Mlp
    log_alpha: Float[Array, ""]
    adam_actor: Adam
    adam_critics: Adam
    adam_alpha: Adam
    norm: RunningNorm
    key: Key[Array, ""]


def sac_init(key: Key[Array, ""], obs_dim: int, act_dim: int, cfg: SACConfig) -> SACState:
    """A fresh learner: log alpha = 0, targets equal to the critics."""
    actor_key, critic_key, key = jax.random.split(key, 3)
    actor = mlp_init(actor_key, (obs_dim, *cfg.hidden, 2 * act_dim))
    heads = 4 if cfg.separate_critics else 2
    keys = jax.random.split(critic_key, heads)
    if cfg.twin_init == "copy" and not cfg.separate_critics:
        keys = keys[jnp.zeros(heads, jnp.int32)]
    critics = jax.vmap(lambda k: mlp_init(k, (obs_dim + act_dim, *cfg.hidden, 1)))(keys)
    log_alpha = jnp.float32(0)
    return SACState(
        actor, critics, critics, log_alpha,
        adam_init(actor), adam_init(critics), adam_init(log_alpha), norm_init(), key,
    )  # fmt: skip


def policy(
    actor: Mlp, obs: Float[Array, "B o"], noise: Float[Array, "B a"] | None = None
) -> tuple[Float[Array, "B a"], Float[Array, " B"]]:
    """Actions tanh(mean + std noise) in (-1, 1), their log-densities; without noise the mode."""
    mean, log_std = jnp.split(mlp_apply(actor, obs), 2, axis=-1)
    log_std = jnp.clip(log_std, -20, 2)
    noise = jnp.zeros_like(mean) if noise is None else noise
    u = mean + jnp.exp(log_std) * noise
    gaussian = -0.5 * noise**2 - log_std - 0.5 * math.log(2 * math.pi)
    squash = 2 * (math.log(2) - u - jax.nn.softplus(-2 * u))  # log of tanh's derivative, stable
    return jnp.tanh(u), jnp.sum(gaussian - squash, axis=-1)


def q_values(
    critics: Mlp, obs: Float[Array, "B o"], act: Float[Array, "B a"]
) -> Float[Array, "heads B"]:
    """All heads' action values."""
    x = jnp.concatenate([obs, act], axis=-1)
    return jax.vmap(lambda head: mlp_apply(head, x)[:, 0])(critics)


def pair_values(
    q: Float[Array, "heads B"], cfg: SACConfig
) -> tuple[Float[Array, " B"], Float[Array, " B"]]:
    """The pairs as one value each, (reward, cost); the cost's is 0 without separate critics."""
    q_r = jnp.min(q[:2], axis=0)
    if not cfg.separate_critics:
        return q_r, jnp.zeros_like(q_r)
    return q_r, {"min": jnp.min, "max": jnp.max, "mean": jnp.mean}[cfg.cost_twin](q[2:], axis=0)


def actor_loss(
    actor: Mlp,
    critics: Mlp,
    obs: Float[Array, "B o"],
    noise: Float[Array, "B a"],
    alpha: Scalar,
    lam: Scalar,
    cfg: SACConfig,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """(3.7)  mean[alpha log pi - min Q_r + lambda Q_c], and the mean of log pi."""
    act, log_pi = policy(actor, obs, noise)
    q_r, q_c = pair_values(q_values(critics, obs, act), cfg)
    return jnp.mean(alpha * log_pi - q_r + jnp.asarray(lam, q_r.dtype) * q_c), jnp.mean(log_pi)


def critic_targets(
    state: SACState,
    batch: Batch,
    cost: Float[Array, " B"],
    lam: Scalar,
    noise: Float[Array, "B a"],
    cfg: SACConfig,
) -> Float[Array, "heads B"]:
    """What each head regresses on: reward + gamma (1 - terminated) [pair - alpha log pi'].

    With separate critics the cost's pair gets c in place of r, and the entropy only with
    `cost_entropy`.
    """
    act, log_pi = policy(state.actor, batch.next_obs, noise)
    q_r, q_c = pair_values(q_values(state.targets, batch.next_obs, act), cfg)
    entropy = -jnp.exp(state.log_alpha) * log_pi
    go_on = cfg.gamma * (1 - batch.terminated)
    norm = state.norm if cfg.normalise_reward else None
    if not cfg.separate_critics:
        target = corrected_reward(batch.rew, cost, lam, norm) + go_on * (q_r + entropy)
        return jnp.stack([target, target])
    reward = corrected_reward(batch.rew, cost, 0.0, norm)
    target_r = reward + go_on * (q_r + entropy)
    target_c = cost + go_on * (q_c + entropy if cfg.cost_entropy else q_c)
    return jnp.stack([target_r, target_r, target_c, target_c])


def sac_update(
    state: SACState, batch: Batch, cost_params: CostParams | None, lam: Scalar, cfg: SACConfig
) -> tuple[SACState, dict[str, Float[Array, ""]]]:
    """One step of critics, actor, temperature and target networks, in this order.

    Args:
        cost_params: the inferred cost, which is not trained here; None takes `batch.cost`, the true
            one (experts and oracles).
        lam: weight of the cost, at least 0.

    Raises:
        ValueError: a negative lam (where its value is known).
    """
    check_weight(lam)
    key, target_key, actor_key = jax.random.split(state.key, 3)
    shape = batch.act.shape
    cost = batch.cost
    if cost_params is not None:
        cost = cost_apply(cost_params, batch.obs, batch.act, cfg.cost_out, cfg.cost_clip)
    if cfg.normalise_reward:
        state = state._replace(norm=norm_update(state.norm, batch.rew))
    noise = jax.random.normal(target_key, shape, jnp.float32)
    target = jax.lax.stop_gradient(critic_targets(state, batch, cost, lam, noise, cfg))

    def critic_loss(critics: Mlp) -> Float[Array, ""]:
        return jnp.sum(jnp.mean((q_values(critics, batch.obs, batch.act) - target) ** 2, axis=1))

    loss_q, gradient = jax.value_and_grad(critic_loss)(state.critics)
    critics, adam_critics = adam_step(state.critics, gradient, state.adam_critics, cfg.critic_lr)
    noise = jax.random.normal(actor_key, shape, jnp.float32)
    alpha = jnp.exp(state.log_alpha)
    (loss_pi, log_pi), gradient = jax.value_and_grad(actor_loss, has_aux=True)(
        state.actor, critics, batch.obs, noise, alpha, lam, cfg
    )
    actor, adam_actor = adam_step(state.actor, gradient, state.adam_actor, cfg.actor_lr)
    target_entropy = -float(shape[1]) if cfg.target_entropy is None else cfg.target_entropy
    # The gradient of -log_alpha (log pi + target entropy).
    log_alpha, adam_alpha = adam_step(
        state.log_alpha, -(log_pi + target_entropy), state.adam_alpha, cfg.alpha_lr
    )
    targets = jax.tree.map(lambda t, c: t + cfg.tau * (c - t), state.targets, critics)
    metrics = {"critic_loss": loss_q, "actor_loss": loss_pi, "entropy": -log_pi,
               "alpha": alpha, "cost": jnp.mean(cost)}  # fmt: skip
    new = SACState(
        actor, critics, targets, log_alpha, adam_actor, adam_critics, adam_alpha, state.norm, key
    )
    return new, metrics


RESETS = ("actor", "cost_critics", "reward_critics", "first_critic")


def reset_last_layers(
    key: Key[Array, ""], state: SACState, which: tuple[str, ...] = ("actor", "cost_critics")
) -> SACState:
    """Policy reset (PR): fresh last layers, so that an old cost does not bind the policy.

    The official code resets the actor and, with separate critics, the cost's pair, else the first
    critic only: ("actor", "first_critic"). Target networks and optimiser states stay.

    Raises:
        ValueError: an unknown part, or cost critics where there are none.
    """
    unknown = set(which) - set(RESETS)
    if unknown:
        raise ValueError(f"which must name {', '.join(RESETS)}; got {sorted(unknown)}.")
    actor_key, critic_key = jax.random.split(key)
    actor, critics = state.actor, state.critics
    if "actor" in which:
        actor = (*actor[:-1], linear_init(actor_key, *actor[-1].w.shape))
    heads, n_in, n_out = critics[-1].w.shape
    if "cost_critics" in which and heads != 4:
        raise ValueError("There are no cost critics to reset: separate_critics is off.")
    chosen = {"cost_critics": (2, 3), "reward_critics": (0, 1), "first_critic": (0,)}
    rows = {i for name in which if name in chosen for i in chosen[name]}
    fresh = jax.vmap(lambda k: linear_init(k, n_in, n_out))(jax.random.split(critic_key, heads))
    take = jnp.asarray([i in rows for i in range(heads)])
    last = Layer(
        jnp.where(take[:, None, None], fresh.w, critics[-1].w),
        jnp.where(take[:, None], fresh.b, critics[-1].b),
    )
    return state._replace(actor=actor, critics=(*critics[:-1], last))


# --- The multiplier of the tri-level game ---------------------------------------------------------


def multiplier_step(
    lam: Float[Array, ""], adam: Adam, episode_cost: Float[Array, ""], lr: Scalar
) -> tuple[Float[Array, ""], Adam]:
    """Adam on -lambda (cost of an episode - 0), kept at or above 0; IRL has no such step."""
    lam, adam = adam_step(lam, -episode_cost, adam, lr)
    return jnp.maximum(lam, 0), adam


# --- The game on a table, solved exactly ----------------------------------------------------------


class TabularMDP(NamedTuple):
    """A finite MDP: P(s' | s, a), R(s, a), start law and discount."""

    transition: Float[Array, "S A S"]
    reward: Float[Array, "S A"]
    start: Float[Array, " S"]
    gamma: float


def soft_policy(mdp: TabularMDP, reward: Float[Array, "S A"], alpha: float) -> Float[Array, "S A"]:
    """The policy that maximises discounted reward + alpha entropy, by soft value iteration."""
    # Contraction by gamma: that many sweeps leave 1e-14 of the first error.
    sweeps = math.ceil(math.log(1e-14) / math.log(mdp.gamma)) if mdp.gamma > 0 else 1

    def q_of(v: Float[Array, " S"]) -> Float[Array, "S A"]:
        return reward + mdp.gamma * mdp.transition @ v

    def sweep(v: Float[Array, " S"], _: None) -> tuple[Float[Array, " S"], None]:
        return alpha * jax.nn.logsumexp(q_of(v) / alpha, axis=1), None

    v, _ = jax.lax.scan(sweep, jnp.zeros_like(mdp.start), None, length=sweeps)
    return jax.nn.softmax(q_of(v) / alpha, axis=1)


def occupancy(mdp: TabularMDP, pi: Float[Array, "S A"]) -> Float[Array, "S A"]:
    """Normalised discounted occupancy (1 - gamma) sum_t gamma^t P(s_t = s, a_t = a); sums to 1."""
    flow = jnp.einsum("sa,sat->st", pi, mdp.transition)
    eye = jnp.eye(len(mdp.start), dtype=flow.dtype)
    states = jnp.linalg.solve(eye - mdp.gamma * flow.T, (1 - mdp.gamma) * mdp.start)
    return states[:, None] * pi


def tabular_icrl(
    mdp: TabularMDP,
    expert_occ: Float[Array, " S *A"],
    alpha: float,
    lr: float,
    steps: int,
    nonneg: bool = True,
) -> tuple[Float[Array, " S *A"], Float[Array, "S A"], dict[str, Float[Array, " steps *_"]]]:
    """(3.3) on a table by exact projected ascent: c <- max(0, c + lr (occ_L - occ_E)).

    Args:
        expert_occ: the expert's normalised occupancy, of states (then so is the cost) or of pairs.
        alpha: temperature of the learner's entropy.
        nonneg: keep the cost at or above 0; without it the cost is any reward correction.

    Returns:
        The cost, the policy that is optimal for it, and a trace of each step's `cost`, learner's
        `occupancy` and `l1`, the distance between the occupancies, before the step.
    """
    by_state = expert_occ.ndim == 1

    def learner(c: Float[Array, " S *A"]) -> tuple[Float[Array, "S A"], Float[Array, " S *A"]]:
        pi = soft_policy(mdp, mdp.reward - (c[:, None] if by_state else c), alpha)
        occ = occupancy(mdp, pi)
        return pi, occ.sum(axis=1) if by_state else occ

    def step(c: Float[Array, " S *A"], _: None) -> tuple[Float[Array, " S *A"], dict[str, Array]]:
        occ = learner(c)[1]
        moved = c + lr * (occ - expert_occ)
        trace = {"cost": c, "occupancy": occ, "l1": jnp.sum(jnp.abs(occ - expert_occ))}
        return jnp.maximum(moved, 0) if nonneg else moved, trace

    cost, trace = jax.lax.scan(step, jnp.zeros_like(expert_occ), None, length=steps)
    return cost, learner(cost)[0], trace
