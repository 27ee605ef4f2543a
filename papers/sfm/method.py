"""Successor-feature matching: imitation from states, by one ordinary actor-critic.

Jain, Wiltzer, Farebrother, Rish, Berseth, Choudhury: Non-Adversarial Inverse Reinforcement Learning
via Successor Feature Matching, ICLR 2025, arXiv 2411.07007.

An expert shows states s_0 ... s_{T-1}, no action and no reward. Base features phi(s) are learned on
the side; a critic learns their discounted sum under the learner's policy; the policy descends the
squared gap between the expert's sum and its own. No reward and no discriminator is trained. Pure
functions; this file needs jax, numpy and jaxtyping, and nothing else of this repository.

    symbol            here          meaning
    phi(s)            phi           base features, d numbers, a function of the state alone
    Psi(s, a)         psi           successor features: E sum_t gamma^t phi(s_t) from s, a on
    psi_E, psi_pi     psi_E, psi_pi the same from the initial states, of expert and of learner
    L                               1/2 |psi_E - psi_pi|^2, the objective
    w                               psi_E - psi_pi held fixed: the reward of the moment is phi^T w
    E, P              psi_E, psi_pi estimates of both sums from one batch
    Pbar, Ebar        ema           exponential moving averages of P and E
    gamma             gamma         discount a step, in [0, 1)

The gradient of L is minus the policy gradient for the reward phi(s)^T w (claim C1), so a step on
L is a step of actor-critic learning for a reward that follows the gap.

Psi starts at phi(s), not at phi(s'). Twin critics are stacked first: psi has the shape [2, B, d].
Episodes end by time-out only, so no terminal state is masked: every next state bootstraps.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, Key, Shaped

Params = Any
"""A pytree of float arrays."""
Scalar = Shaped[ArrayLike, ""]
Debias = Literal["official", "correct"]


# --- The critic: successor features by temporal differences ---------------------------------------


def sf_td_target(
    phi_s: Float[ArrayLike, "*B d"],
    psi_next: Float[ArrayLike, "2 *B d"],
    gamma: float,
    clip: tuple[Scalar, Scalar] | None = None,
) -> Float[Array, "*B d"]:
    """phi(s) + gamma clip(mean of both twins' Psi(s', a')), a constant.

    Args:
        phi_s: base features of s (not of s').
        psi_next: both target networks at s' and the target policy's action.
        clip: (low, high) for the bootstrapped mean, None for none. The official TD7 variant clips
            to the range of targets seen before the last copy of the target networks, which is
            (0, 0) until the first copy.

    Raises:
        ValueError: gamma outside [0, 1).
    """
    _check_gamma(gamma)
    bootstrap = jnp.mean(_floats(psi_next), axis=0)
    if clip is not None:
        bootstrap = jnp.clip(bootstrap, *(jnp.asarray(c, bootstrap.dtype) for c in clip))
    return jax.lax.stop_gradient(_floats(phi_s) + gamma * bootstrap)


def sf_critic_loss(
    psi: Float[ArrayLike, "2 *B d"], target: Float[ArrayLike, "*B d"]
) -> Float[Array, ""]:
    """Mean over batch and dimensions of the *sum* of both twins' squared errors."""
    error = _floats(psi) - jax.lax.stop_gradient(_floats(target))
    return jnp.mean(jnp.sum(error**2, axis=0))


# --- The two sums that are matched ----------------------------------------------------------------


def expert_sf(
    phi_traj: Float[ArrayLike, "T d"],
    gamma: float,
    tail_psi: Float[ArrayLike, " d"] | None = None,
) -> Float[Array, " d"]:
    """The expert's discounted sum of features along one demonstration.

        without tail   sum_{t=0}^{T-1} gamma^t phi(s_t)
        with tail      sum_{t=0}^{T-3} gamma^t phi(s_t) + gamma^{T-2} Psi(s_{T-2}, pi(s_{T-2}))

    The tail continues beyond the demonstration as the learner would; it replaces the last *two*
    states.

    Raises:
        ValueError: gamma outside [0, 1); fewer than three states with a tail, or none at all.
    """
    _check_gamma(gamma)
    phi_traj = _floats(phi_traj)
    length = phi_traj.shape[0]
    least = 1 if tail_psi is None else 3
    if length < least:
        raise ValueError(f"A demonstration needs at least {least} states here; got {length}.")
    if tail_psi is None:
        return discounts(length, gamma, phi_traj.dtype) @ phi_traj
    head = discounts(length - 2, gamma, phi_traj.dtype) @ phi_traj[: length - 2]
    return head + gamma ** (length - 2) * _floats(tail_psi)


def discounts(length: int, gamma: float, dtype: Any = jnp.float32) -> Float[Array, " T"]:
    """gamma^t for t = 0 ... length - 1."""
    return jnp.asarray(np.power(float(gamma), np.arange(length)), dtype)


def learner_sf(
    psi_sa: Float[ArrayLike, "B d"], psi_next: Float[ArrayLike, "B d"], gamma: float
) -> Float[Array, " d"]:
    """The learner's sum from off-policy transitions, telescoped: P.

        P = mean over the batch of [Psi(s, pi(s)) - gamma sg(Psi(s', pi(s')))] / (1 - gamma)

    Exact for psi_pi when s follows the discounted occupancy of ANY behaviour policy from the
    initial states and s' its dynamics (the estimator `discounted`: draw the step of s with
    `discounted_steps`). Under uniform replay (`official`) s follows the time average, and the
    formula gives the mean of V(s) over the replayed states instead: another target.

    Raises:
        ValueError: gamma outside [0, 1).
    """
    _check_gamma(gamma)
    following = jax.lax.stop_gradient(_floats(psi_next))
    return jnp.mean(_floats(psi_sa) - gamma * following, axis=0) / (1 - gamma)


def initial_sf(psi_0: Float[ArrayLike, "B d"]) -> Float[Array, " d"]:
    """The learner's sum by its definition (the estimator `initial`): mean of Psi(s_0, pi(s_0))."""
    return jnp.mean(_floats(psi_0), axis=0)


def discounted_steps(
    key: Key[Array, ""], shape: tuple[int, ...], length: int, gamma: float
) -> Int[Array, "*shape"]:
    """Steps t in 0 ... length - 1 with probability proportional to gamma^t.

    Beyond a finite length the law is cut off: `learner_sf` on such steps of whole episodes gives
    (V(s_0) - gamma^length V(s_length)) / (1 - gamma^length) in expectation.
    """
    _check_gamma(gamma)
    u = jax.random.uniform(key, shape, jnp.float32)
    if gamma == 0:
        return jnp.zeros(shape, jnp.int32)
    steps = jnp.floor(jnp.log1p(-u * (1 - gamma**length)) / math.log(gamma))
    return jnp.clip(steps.astype(jnp.int32), 0, length - 1)


# --- The actor ------------------------------------------------------------------------------------


def ema_update(
    value: Float[ArrayLike, "*d"], ema: Float[ArrayLike, "*d"], decay: float, count: Scalar
) -> tuple[Float[Array, "*d"], Float[Array, "*d"]]:
    """decay ema + (1 - decay) value, and the same divided by 1 - decay^count.

    With `count` = number of updates so far, this one included, the second is unbiased for an
    average that started at zero; see `debias_count` for what the official code divides by.
    Gradients flow into `value`.
    """
    if not 0 <= decay < 1:
        raise ValueError(f"decay must be in [0, 1); got {decay}.")
    value = _floats(value)
    ema = decay * _floats(ema) + (1 - decay) * value
    return ema, ema / (1 - decay ** jnp.asarray(count, ema.dtype))


def debias_count(updates: Scalar, policy_delay: int, debias: str) -> Array:
    """The `count` for `ema_update` after so many actor updates.

    `correct`: the number of updates n. `official`: the number of critic updates, n policy_delay, so
    that the average of a constant 1 comes out as 1/(1 + decay^n) at a delay of two: half the true
    expert sum at first, 98 % of it after 200 updates.
    """
    if debias not in ("official", "correct"):
        raise ValueError(f"debias must be official or correct; got {debias!r}.")
    return jnp.asarray(updates) * (policy_delay if debias == "official" else 1)


def sfm_actor_loss(
    psi_E: Float[ArrayLike, " d"],
    psi_pi: Float[ArrayLike, " d"],
    psi_pi_ema: Float[ArrayLike, " d"],
    gamma: float,
    fix: bool = True,
) -> Float[Array, ""]:
    """(1 - gamma)^2 sum_k (E_k - P_k)(E_k - Pbar_k), the squared gap of the normalised sums.

    Args:
        psi_E: Ebar, a constant here. psi_pi: P, through which the policy is trained.
        psi_pi_ema: Pbar with this P already in it, as `ema_update` returns it first: its small
            share of P carries a gradient too, as in the official code.
        fix: without it (E_k - P_k)^2, which uses one batch twice and is biased upwards by P's
            variance; the official code before its last change.

    Raises:
        ValueError: gamma outside [0, 1).
    """
    _check_gamma(gamma)
    psi_E, psi_pi = jax.lax.stop_gradient(_floats(psi_E)), _floats(psi_pi)
    second = _floats(psi_pi_ema) if fix else psi_pi
    return (1 - gamma) ** 2 * jnp.sum((psi_E - psi_pi) * (psi_E - second))


def feature_gap(
    psi_E: Float[ArrayLike, " d"], phi_traj: Float[ArrayLike, "T d"], gamma: float
) -> Float[Array, ""]:
    """Mean over dimensions of (psi_E - sum_t gamma^t phi(s_t))^2 along a trajectory of the learner.

    The reward-free score that checkpoints are chosen by: the lower the better.
    """
    return jnp.mean((_floats(psi_E) - expert_sf(phi_traj, gamma)) ** 2)


# --- When to train, which policy to keep ----------------------------------------------------------


class ScheduleState(NamedTuple):
    """best: score of the kept policy; worst, episodes, steps: since the last burst of updates;
    relaxed: whether the bar has been lowered."""

    best: Float[Array, ""]
    worst: Float[Array, ""]
    episodes: Int[Array, ""]
    steps: Int[Array, ""]
    relaxed: Shaped[Array, ""]


@dataclass
class CheckpointSchedule:
    """TD7's checkpoints (Fujimoto et al., 2023) as the official code of this paper has them.

    A policy is tried for up to `max_episodes` episodes; its score is minus the largest
    `feature_gap` among them. If it falls below the best so far the trial is cut short, else the
    policy is kept. Then as many updates follow as steps were taken. Before step `relax_at` a policy
    is tried for one episode and always kept, even a worse one (unlike TD7); at `relax_at` the best
    score, which is negative, is multiplied by 1.1, which lowers the bar.

    `advance` is the pure function for compiled loops, `on_episode` the same as a method that keeps
    the state in `state`.

    Attributes:
        episode_length: steps in an episode. random_steps: no updates before this step.
        relax_at: see above. max_episodes: episodes of a trial from then on.
    """

    episode_length: int = 1000
    random_steps: int = 10_000
    relax_at: int = 75_000
    max_episodes: int = 3
    state: ScheduleState = field(default_factory=lambda: _fresh_schedule())

    def on_episode(self, gap: Scalar, step: int) -> tuple[int, bool]:
        """After an episode: how many updates to do now, and whether to keep the policy.

        Args:
            gap: the episode's `feature_gap`. step: index of its last step, the first one being 0.
        """
        self.state, updates, keep = self.advance(self.state, gap, step)
        return int(updates), bool(keep)

    def advance(
        self, state: ScheduleState, gap: Scalar, step: Scalar
    ) -> tuple[ScheduleState, Int[Array, ""], Shaped[Array, ""]]:
        """`on_episode` as a pure function: the new state, the updates, whether to keep."""
        step = jnp.asarray(step)
        late = step >= self.relax_at
        best = jnp.where(late & ~state.relaxed, 1.1 * state.best, state.best)
        episodes, steps = state.episodes + 1, state.steps + self.episode_length
        worst = jnp.minimum(state.worst, -jnp.asarray(gap, jnp.float32))
        below = worst < best
        full = episodes == jnp.where(late, self.max_episodes, 1)
        learning = step >= self.random_steps
        train = learning & (below | full)
        keep = train & ((~below & full) | ~late)
        reset = train | ~learning
        state = ScheduleState(
            best=jnp.where(keep, worst, best),
            worst=jnp.where(reset, jnp.float32(1e8), worst),
            episodes=jnp.where(reset, 0, episodes),
            steps=jnp.where(reset, 0, steps),
            relaxed=late,
        )
        return state, jnp.where(train, steps, 0), keep


def _fresh_schedule() -> ScheduleState:
    zero = jnp.int32(0)
    return ScheduleState(jnp.float32(-1e3), jnp.float32(1e8), zero, zero, jnp.bool_(False))


# --- Normalisations -------------------------------------------------------------------------------


def avg_l1_norm(x: Float[ArrayLike, "*B d"], eps: float = 1e-6) -> Float[Array, "*B d"]:
    """x / max(mean |x|, eps): TD7's normalisation; zeros stay zeros."""
    x = _floats(x)
    return x / jnp.maximum(jnp.mean(jnp.abs(x), axis=-1, keepdims=True), eps)


def l2_sphere(x: Float[ArrayLike, "*B d"]) -> Float[Array, "*B d"]:
    """sqrt(d) x / (|x| + 1e-6): features of one length, so that |Psi| <= sqrt(d) / (1 - gamma)."""
    x = _floats(x)
    return math.sqrt(x.shape[-1]) * x / (_norm(x)[..., None] + 1e-6)


# --- Base features --------------------------------------------------------------------------------


class FeatureBatch(NamedTuple):
    """What the losses of base features may read; each family says which of these it needs."""

    obs: Float[Array, "B s"]
    action: Float[Array, "B a"] | None = None
    next_obs: Float[Array, "B s"] | None = None
    goal: Float[Array, "B s"] | None = None
    expert: Float[Array, "B s"] | None = None


@runtime_checkable
class BaseFeatures(Protocol):
    """A family of base features phi: R^s -> R^d.

    `init` draws parameters; `encode` is phi on one state or a batch; `loss` is what phi is trained
    by, beside and independently of the critic; `refresh` follows each gradient step.
    """

    def init(self, key: Key[Array, ""], obs_dim: int, act_dim: int) -> Params: ...
    def encode(self, params: Params, s: Float[ArrayLike, "*B s"]) -> Float[Array, "*B d"]: ...
    def loss(
        self, params: Params, batch: FeatureBatch, key: Key[Array, ""]
    ) -> Float[Array, ""]: ...
    def refresh(self, params: Params, batch: FeatureBatch) -> Params: ...


@dataclass(frozen=True)
class RandomFeatures:
    """phi frozen as drawn; the parent of those that train the same network by a loss.

    phi = L2(D_d relu(D relu(D tanh(LayerNorm(D s))))), D layers of `hidden` units with orthogonal
    kernels; L2 is `l2_sphere`.

    Attributes:
        dim: d, the number of features (paper: 128). hidden: width (paper: 1024).
    """

    dim: int = 128
    hidden: int = 1024

    def __post_init__(self) -> None:
        if self.dim < 1 or self.hidden < 1:
            raise ValueError(
                f"Base features need at least one dimension and one hidden unit; got {self.dim} "
                f"and {self.hidden}."
            )

    def init(self, key: Key[Array, ""], obs_dim: int, act_dim: int) -> Params:
        k_phi, k_head = jax.random.split(key)
        return {"phi": self._init_phi(k_phi, obs_dim), **self._init_head(k_head, obs_dim, act_dim)}

    def encode(self, params: Params, s: Float[ArrayLike, "*B s"]) -> Float[Array, "*B d"]:
        return l2_sphere(phi_net(params["phi"], s))

    def loss(self, params: Params, batch: FeatureBatch, key: Key[Array, ""]) -> Float[Array, ""]:
        return jnp.float32(0.0)

    def refresh(self, params: Params, batch: FeatureBatch) -> Params:
        return params

    def _init_phi(self, key: Key[Array, ""], obs_dim: int) -> Params:
        layers = mlp_init(key, (obs_dim, *[self.hidden] * 3, self.dim))
        scale, bias = jnp.ones(self.hidden, jnp.float32), jnp.zeros(self.hidden, jnp.float32)
        return {"layers": layers, "scale": scale, "bias": bias}

    def _init_head(self, key: Key[Array, ""], obs_dim: int, act_dim: int) -> dict[str, Params]:
        return {}

    def _head(self, key: Key[Array, ""], inputs: int, outputs: int) -> dict[str, Params]:
        return {"head": mlp_init(key, (inputs, self.hidden, self.hidden, outputs))}


@dataclass(frozen=True)
class ForwardDynamics(RandomFeatures):
    """`fdm`, the paper's choice: [phi(s), a] predicts s' (not s' - s), mean squared error."""

    def _init_head(self, key: Key[Array, ""], obs_dim: int, act_dim: int) -> dict[str, Params]:
        return self._head(key, self.dim + act_dim, obs_dim)

    def loss(self, params: Params, batch: FeatureBatch, key: Key[Array, ""]) -> Float[Array, ""]:
        inputs = jnp.concatenate([self.encode(params, batch.obs), _need(batch, "action")], axis=-1)
        return jnp.mean((mlp(params["head"], inputs) - _need(batch, "next_obs")) ** 2)


@dataclass(frozen=True)
class InverseDynamics(RandomFeatures):
    """`idm`: [phi(s), phi(s')] predicts the action between them, mean squared error."""

    def _init_head(self, key: Key[Array, ""], obs_dim: int, act_dim: int) -> dict[str, Params]:
        return self._head(key, 2 * self.dim, act_dim)

    def loss(self, params: Params, batch: FeatureBatch, key: Key[Array, ""]) -> Float[Array, ""]:
        both = (self.encode(params, batch.obs), self.encode(params, _need(batch, "next_obs")))
        predicted = mlp(params["head"], jnp.concatenate(both, axis=-1))
        return jnp.mean((predicted - _need(batch, "action")) ** 2)


@dataclass(frozen=True)
class Autoencoder(RandomFeatures):
    """`ae`: phi(s) predicts s, mean squared error."""

    def _init_head(self, key: Key[Array, ""], obs_dim: int, act_dim: int) -> dict[str, Params]:
        return self._head(key, self.dim, obs_dim)

    def loss(self, params: Params, batch: FeatureBatch, key: Key[Array, ""]) -> Float[Array, ""]:
        return jnp.mean((mlp(params["head"], self.encode(params, batch.obs)) - batch.obs) ** 2)


@dataclass(frozen=True)
class Adversarial(RandomFeatures):
    """`adv`: the features under a discriminator f = w^T phi that tells expert from learner states.

        mean f(expert) - mean f(learner) + 10 mean (|grad f(x)| - 0.4)^2

    at random mixtures x of both. f is low on the expert, so that -f would be a reward.
    """

    penalty: float = 10.0
    slope: float = 0.4

    def _init_head(self, key: Key[Array, ""], obs_dim: int, act_dim: int) -> dict[str, Params]:
        return {"head": mlp_init(key, (self.dim, 1))}

    def loss(self, params: Params, batch: FeatureBatch, key: Key[Array, ""]) -> Float[Array, ""]:
        def f(s: Array) -> Array:
            return mlp(params["head"], self.encode(params, s))[..., 0]

        return discriminator_loss(
            f, _need(batch, "expert"), batch.obs, key, penalty=self.penalty, slope=self.slope
        )


@dataclass(frozen=True)
class Hilbert(RandomFeatures):
    """`hilp` (Park et al., 2024): |phi(s) - phi(g)| is the number of steps from s to a goal g.

    Twin networks without `l2_sphere`; V(s, g) = -|phi(s) - phi(g)| is trained towards
    r + 0.98 V'(s', g), r = -1 unless s is g, with V' from slowly following networks. Features are
    those of the first twin minus their running mean.
    """

    discount: float = 0.98
    momentum: float = 0.995
    same: float = 1e-6

    def init(self, key: Key[Array, ""], obs_dim: int, act_dim: int) -> Params:
        twins = jax.vmap(lambda k: self._init_phi(k, obs_dim))(jax.random.split(key))
        copy = jax.tree.map(jnp.copy, twins)
        return {"phi": twins, "target": copy, "mean": jnp.zeros(self.dim, jnp.float32)}

    def encode(self, params: Params, s: Float[ArrayLike, "*B s"]) -> Float[Array, "*B d"]:
        return phi_net(_first(params["phi"]), s) - jax.lax.stop_gradient(params["mean"])

    def loss(self, params: Params, batch: FeatureBatch, key: Key[Array, ""]) -> Float[Array, ""]:
        goal, next_obs = _need(batch, "goal"), _need(batch, "next_obs")
        apart = (_norm(batch.obs - goal) >= self.same).astype(jnp.float32)
        following = self._value(jax.lax.stop_gradient(params["target"]), next_obs, goal)
        target = -apart + self.discount * apart * following
        error = target - self._value(params["phi"], batch.obs, goal)
        return 0.5 * jnp.mean(jnp.sum(error**2, axis=0))

    def refresh(self, params: Params, batch: FeatureBatch) -> Params:
        """Targets and the mean follow by Polyak averaging."""

        def follow(slow: Array, fast: Array) -> Array:
            return self.momentum * slow + (1 - self.momentum) * fast

        mean = jnp.mean(phi_net(_first(params["phi"]), batch.obs), axis=0)
        return {
            "phi": params["phi"],
            "target": jax.tree.map(follow, params["target"], params["phi"]),
            "mean": follow(params["mean"], mean),
        }

    def _value(self, twins: Params, s: Array, goal: Array) -> Float[Array, "2 B"]:
        at = jax.vmap(phi_net, (0, None))
        squared = jnp.sum((at(twins, s) - at(twins, goal)) ** 2, axis=-1)
        return -jnp.sqrt(jnp.maximum(squared, 1e-6))  # the root of 0 has no slope


FAMILIES: dict[str, Callable[..., RandomFeatures]] = {
    "fdm": ForwardDynamics,
    "idm": InverseDynamics,
    "hilp": Hilbert,
    "ae": Autoencoder,
    "random": RandomFeatures,
    "adv": Adversarial,
}


def base_features(name: str, dim: int = 128, hidden: int = 1024) -> RandomFeatures:
    """The family of this name; raises KeyError, listing the names, for any other."""
    if name not in FAMILIES:
        raise KeyError(f"There is no feature family {name!r}; there are {', '.join(FAMILIES)}.")
    return FAMILIES[name](dim, hidden)


def discriminator_loss(
    f: Callable[[Array], Array],
    expert: Float[Array, "B x"],
    learner: Float[Array, "B x"],
    key: Key[Array, ""],
    *,
    penalty: float = 10.0,
    slope: float = 0.4,
) -> Float[Array, ""]:
    """mean f(expert) - mean f(learner) + penalty mean (|grad f| - slope)^2 at random mixtures."""
    mix = jax.random.uniform(key, (expert.shape[0], 1), expert.dtype)
    between = mix * expert + (1 - mix) * learner
    steepness = _norm(jax.vmap(jax.grad(f))(between))
    return jnp.mean(f(expert)) - jnp.mean(f(learner)) + penalty * jnp.mean((steepness - slope) ** 2)


# --- Networks of the base features ----------------------------------------------------------------


def phi_net(params: Params, s: Float[ArrayLike, "*B s"]) -> Float[Array, "*B d"]:
    """Dense, LayerNorm, tanh, dense, relu, dense, relu, dense."""
    first, *rest = params["layers"]
    x = _floats(s) @ first["w"] + first["b"]
    mean = jnp.mean(x, axis=-1, keepdims=True)
    spread = jnp.sqrt(jnp.mean((x - mean) ** 2, axis=-1, keepdims=True) + 1e-6)
    x = (x - mean) / spread * params["scale"] + params["bias"]
    return mlp(rest, jnp.tanh(x))


def mlp(
    layers: Params, x: Float[Array, "*B i"], activation: Callable[[Array], Array] = jax.nn.relu
) -> Float[Array, "*B o"]:
    """Dense layers with an activation between them."""
    for layer in layers[:-1]:
        x = activation(x @ layer["w"] + layer["b"])
    return x @ layers[-1]["w"] + layers[-1]["b"]


def mlp_init(
    key: Key[Array, ""],
    sizes: tuple[int, ...],
    kernel: Literal["orthogonal", "lecun"] = "orthogonal",
) -> list[dict[str, Array]]:
    """Dense layers of these sizes, biases zero.

    `orthogonal`: orthonormal rows or columns, whichever are fewer. `lecun`: normal, cut off at two
    standard deviations, of variance 1 / inputs. All layers come from one draw, which compiles
    several times faster than a draw each.
    """
    shapes = list(itertools.pairwise(sizes))
    ends = np.cumsum([i * o for i, o in shapes])
    if kernel == "lecun":
        numbers = jax.random.truncated_normal(key, -2.0, 2.0, (ends[-1],), jnp.float32) / 0.87962566
    else:
        numbers = jax.random.normal(key, (ends[-1],), jnp.float32)
    layers = []
    for part, (i, o) in zip(jnp.split(numbers, ends[:-1]), shapes, strict=True):
        w = part.reshape(i, o)
        w = w / math.sqrt(i) if kernel == "lecun" else _orthogonal(w)
        layers.append({"w": w, "b": jnp.zeros(o, jnp.float32)})
    return layers


def _orthogonal(normal: Float[Array, "i o"]) -> Float[Array, "i o"]:
    tall = normal.shape[0] >= normal.shape[1]
    q, r = jnp.linalg.qr(normal if tall else normal.T)
    q = q * jnp.sign(jnp.diagonal(r))  # else the law would not be uniform
    return q if tall else q.T


def _first(twins: Params) -> Params:
    return jax.tree.map(lambda leaf: leaf[0], twins)


def _need(batch: FeatureBatch, name: str) -> Array:
    value = getattr(batch, name)
    if value is None:
        raise ValueError(f"This feature family needs {name} in the batch.")
    return value


def _norm(x: Float[Array, "*B d"]) -> Float[Array, "*B"]:
    """Euclidean norm with the gradient 0 at 0 (not NaN)."""
    squared = jnp.sum(x**2, axis=-1)
    zero = squared == 0
    return jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, squared)))


def _floats(x: Any) -> Array:
    """As an array of floats, integers included."""
    x = jnp.asarray(x)
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.float32)


def _check_gamma(gamma: float) -> None:
    if not 0 <= gamma < 1:
        raise ValueError(f"gamma must be in [0, 1); got {gamma}.")
