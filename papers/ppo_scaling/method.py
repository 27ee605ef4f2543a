"""PPO and PQN as functions of their batch: N environments times T steps.

Mayor, Obando-Ceron, Courville and Castro (ICML 2025, arXiv:2506.03404) change nothing in PPO but
the shape of its batch, |B| = N_envs x N_RO, and watch returns and the networks. So what counts is
bookkeeping that does not deceive, the two algorithms' losses, and metrics with their definitions.

    symbol        here             meaning
    N_envs, N_RO  n_envs, n_ro     parallel environments, rollout length
    |B|           batch_size       transitions of an iteration
    E, M          epochs, num_minibatches
    d             done             the transition ended its episode
                  truncated        it did so by a limit of steps, not by the game: the value of the
                                   state that it led to (`final_v`) counts; after a termination none

Arrays are time first, [T, N]. Losses are those of CleanRL's PPO and PQN (ppo_atari_envpool.py,
pqn_atari_envpool.py), on which the paper builds; its own code was not released.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

# The batch ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BatchSpec:
    """The shape of an iteration's data, and how it is used.

    Attributes:
        n_envs, n_ro: N_envs and N_RO. epochs: passes over the batch, E.
        num_minibatches: M at |B| = `reference`.
        hold: what stays as the batch grows: "num_minibatches", so that minibatches grow and updates
            get fewer (what changing CleanRL's --num-envs does, the default), or "minibatch_size".
        reference: the batch size at which both agree, with "minibatch_size".
        norm_adv: advantages are normalised in each minibatch, which therefore needs two
            transitions at least.
    """

    n_envs: int
    n_ro: int
    epochs: int = 4
    num_minibatches: int = 4
    hold: Literal["num_minibatches", "minibatch_size"] = "num_minibatches"
    reference: int = 1024
    norm_adv: bool = True

    def __post_init__(self) -> None:
        for name in ("n_envs", "n_ro", "epochs", "num_minibatches", "reference"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if self.hold not in ("num_minibatches", "minibatch_size"):
            raise ValueError(f"hold must be num_minibatches or minibatch_size, got {self.hold!r}.")
        if self.hold == "minibatch_size" and self.reference % self.num_minibatches:
            raise ValueError(
                f"num_minibatches = {self.num_minibatches} must divide the reference batch of "
                f"{self.reference}."
            )
        if self.batch_size % self.minibatches:
            raise ValueError(
                f"{self.minibatches} minibatches must divide the batch of {self.n_envs} x "
                f"{self.n_ro} = {self.batch_size} transitions."
            )
        if self.norm_adv and self.minibatch_size < 2:
            raise ValueError(
                f"A minibatch of {self.minibatch_size} transition has no standard deviation to "
                "normalise advantages by: take fewer minibatches, or norm_adv = False."
            )

    @property
    def batch_size(self) -> int:
        """|B| = N_envs N_RO."""
        return self.n_envs * self.n_ro

    @property
    def minibatches(self) -> int:
        """Minibatches an epoch, after `hold`."""
        if self.hold == "num_minibatches":
            return self.num_minibatches
        return max(1, self.batch_size * self.num_minibatches // self.reference)

    @property
    def minibatch_size(self) -> int:
        """Transitions of a gradient step."""
        return self.batch_size // self.minibatches

    def iterations(self, total_steps: int) -> int:
        """Whole iterations in so many environment steps."""
        if self.batch_size > total_steps:
            raise ValueError(
                f"A batch of {self.batch_size} transitions is more than the {total_steps} steps of "
                "the whole run."
            )
        return total_steps // self.batch_size

    def gradient_steps(self, total_steps: int) -> int:
        """Updates of the whole run, I E M."""
        return self.iterations(total_steps) * self.epochs * self.minibatches

    def card(self, total_steps: int, episode_steps: float | None = None, rho: float = 0.99) -> str:
        """What this batch means for a run, in a line."""
        lag = 1 + 2 * sum((1 - k / self.n_ro) * rho**k for k in range(1, self.n_ro))
        parts = [
            f"{self.n_envs} x {self.n_ro} = {self.batch_size} transitions",
            f"{self.minibatches} minibatches of {self.minibatch_size}",
            f"{self.iterations(total_steps):,} iterations",
            f"{self.gradient_steps(total_steps):,} gradient steps",
            f"worth {self.batch_size / lag:.0f} independent transitions at autocorrelation {rho:g}",
        ]
        if episode_steps is not None:
            parts.insert(4, f"{self.batch_size / episode_steps:.1f} resets a batch")
        return ", ".join(parts)


# Targets ------------------------------------------------------------------------------------------


def gae(
    r: Float[Array, "T N"],
    v: Float[Array, "T N"],
    done: Bool[Array, "T N"],
    last_v: Float[Array, " N"],
    gamma: Float[Array, ""] | float,
    lam: Float[Array, ""] | float,
    truncated: Bool[Array, "T N"] | None = None,
    final_v: Float[Array, "T N"] | None = None,
) -> tuple[Float[Array, "T N"], Float[Array, "T N"]]:
    """Generalised advantages and returns A + V (section 3.2; Schulman et al. 2016).

        delta_t = r_t + gamma V(next state) - V_t
        A_t = delta_t + gamma lam (1 - d_t) A_{t+1}

    V(next state) is V_{t+1} (last_v at the end of the rollout); after a termination 0; after a
    truncation `final_v`, because V_{t+1} is of the *next* episode's first state.

    Args:
        done: the transition ended its episode, in either way.
        truncated: which of these ends were cuts; None for none, which is what CleanRL assumes.
        final_v: value of the state that each truncated transition led to, ignored elsewhere.
    """
    going = 1 - done.astype(r.dtype)
    v_next = going * jnp.concatenate([v[1:], last_v[None]])
    if truncated is not None and final_v is not None:
        v_next = jnp.where(done & truncated, final_v, v_next)
    delta = r + gamma * v_next - v

    def back(advantage: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        delta_t, going_t = now
        advantage = delta_t + gamma * lam * going_t * advantage
        return advantage, advantage

    _, advantages = jax.lax.scan(back, jnp.zeros_like(r[0]), (delta, going), reverse=True)
    return advantages, advantages + v


def q_lambda(
    r: Float[Array, "T N"],
    vmax: Float[Array, "T N"],
    done: Bool[Array, "T N"],
    last_vmax: Float[Array, " N"],
    gamma: Float[Array, ""] | float,
    lam: Float[Array, ""] | float,
) -> Float[Array, "T N"]:
    """PQN's targets (section 3.4), with vmax_t = max_a Q(s_t, a) recorded when acting.

        G_{T-1} = r + gamma (1 - d) max_a Q(s_T)
        G_t = r_t + gamma (1 - d_t) (lam G_{t+1} + (1 - lam) max_a Q(s_{t+1}))

    A truncated transition is told by adding gamma max_a Q(final state) to its reward.
    """
    going = 1 - done.astype(r.dtype)
    following = jnp.concatenate([vmax[1:], last_vmax[None]])

    def back(target: Array, now: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        r_t, going_t, vmax_tp1 = now
        target = r_t + gamma * going_t * (lam * target + (1 - lam) * vmax_tp1)
        return target, target

    _, targets = jax.lax.scan(back, last_vmax, (r, going, following), reverse=True)
    return targets


# Losses -------------------------------------------------------------------------------------------


class PPOBatch(NamedTuple):
    """A minibatch of B transitions, as they were when acting."""

    actions: Int[Array, " B"]
    log_probs: Float[Array, " B"]
    values: Float[Array, " B"]
    advantages: Float[Array, " B"]
    returns: Float[Array, " B"]


class PPOAux(NamedTuple):
    """Parts of the loss and what to watch: KL estimates k1, k3, and the share of clipped ratios."""

    policy_loss: Array
    value_loss: Array
    entropy: Array
    k1: Array
    k3: Array
    clip_fraction: Array


def normalise(advantages: Float[Array, " B"]) -> Float[Array, " B"]:
    """Zero mean, unit (unbiased) standard deviation, as CleanRL does for each minibatch."""
    return (advantages - advantages.mean()) / (advantages.std(ddof=1) + 1e-8)


def ppo_loss(
    logits: Float[Array, "B A"],
    v: Float[Array, " B"],
    batch: PPOBatch,
    clip: Float[Array, ""] | float = 0.1,
    vf: Float[Array, ""] | float = 0.5,
    ent: Float[Array, ""] | float = 0.01,
    norm_adv: bool = True,
) -> tuple[Float[Array, ""], PPOAux]:
    """PPO's clipped loss with clipped values (section 3.3).

    L_pi = mean max(-A rho, -A clip(rho, 1 - c, 1 + c))
    L_V  = 1/2 mean max((v - R)^2, (v_old + clip(v - v_old, -c, c) - R)^2)
    L    = L_pi - ent H + vf L_V
    """
    log_pi = jax.nn.log_softmax(logits)
    taken = jnp.take_along_axis(log_pi, batch.actions[:, None], axis=1)[:, 0]
    log_ratio = taken - batch.log_probs
    ratio = jnp.exp(log_ratio)
    advantages = normalise(batch.advantages) if norm_adv else batch.advantages
    clipped = jnp.clip(ratio, 1 - clip, 1 + clip)
    policy_loss = jnp.maximum(-advantages * ratio, -advantages * clipped).mean()
    near = batch.values + jnp.clip(v - batch.values, -clip, clip)
    errors = jnp.maximum((v - batch.returns) ** 2, (near - batch.returns) ** 2)
    value_loss = 0.5 * errors.mean()
    entropy = -jnp.sum(jnp.exp(log_pi) * log_pi, axis=1).mean()
    outside = (jnp.abs(ratio - 1) > clip).astype(ratio.dtype).mean()
    aux = PPOAux(
        policy_loss, value_loss, entropy, -log_ratio.mean(), (ratio - 1 - log_ratio).mean(), outside
    )
    return policy_loss - ent * entropy + vf * value_loss, aux


def pqn_loss(
    q: Float[Array, "B A"], actions: Int[Array, " B"], targets: Float[Array, " B"]
) -> Float[Array, ""]:
    """mean (Q(s, a) - G)^2."""
    taken = jnp.take_along_axis(q, actions[:, None], axis=1)[:, 0]
    return jnp.mean((taken - targets) ** 2)


# Metrics of learning dynamics ---------------------------------------------------------------------


class Ranks(NamedTuple):
    """Five ranks of one feature matrix; see the functions of these names."""

    feature_rank: Array
    effective_rank: Array
    srank: Array
    count_rank: Array
    numeric_rank: Array


def singular_values(features: Float[Array, "n d"]) -> Float[Array, " d"]:
    """Of a feature matrix (penultimate layer, after its activation); it needs n >= d states."""
    n, d = features.shape
    if n < d:
        raise ValueError(f"Ranks of {d} features need at least as many states, not {n}.")
    return jnp.linalg.svd(features, compute_uv=False)


def ranks(features: Float[Array, "n d"]) -> Ranks:
    """All five at their usual thresholds, from one decomposition."""
    n, d = features.shape
    sigma = singular_values(features)
    return Ranks(
        _least_k(sigma**2, 0.99),
        _entropy_rank(sigma),
        _least_k(sigma, 0.99),
        _count(sigma / math.sqrt(n), 0.01),
        _count(sigma, sigma[0] * max(n, d) * jnp.finfo(sigma.dtype).eps),
    )


def feature_rank(features: Float[Array, "n d"], thr: float = 0.99) -> Int[Array, ""]:
    """Smallest k whose first k squared singular values make up `thr` of all; 0 for zeros.

    The paper's appendix B, as far as it is known; also called approximate (PCA) rank.
    """
    return _least_k(singular_values(features) ** 2, thr)


def effective_rank(features: Float[Array, "n d"]) -> Float[Array, ""]:
    """exp of the entropy of sigma / sum sigma (Roy and Vetterli 2007); 0 for zeros."""
    return _entropy_rank(singular_values(features))


def srank(features: Float[Array, "n d"], thr: float = 0.99) -> Int[Array, ""]:
    """Smallest k whose first k singular values, not squared, make up `thr` (Kumar et al. 2021)."""
    return _least_k(singular_values(features), thr)


def count_rank(features: Float[Array, "n d"], thr: float = 0.01) -> Int[Array, ""]:
    """How many sigma_i / sqrt(n) exceed `thr` (Lyle et al. 2022); not scale-free."""
    return _count(singular_values(features) / math.sqrt(len(features)), thr)


def numeric_rank(features: Float[Array, "n d"]) -> Int[Array, ""]:
    """How many sigma_i exceed sigma_1 max(n, d) eps, as numerical libraries count ranks."""
    return ranks(features).numeric_rank


def _count(weights: Array, threshold: Array | float) -> Array:
    return jnp.sum((weights > threshold).astype(jnp.int32))


def _least_k(weights: Array, threshold: float) -> Array:
    total = weights.sum()
    share = jnp.cumsum(weights) / jnp.where(total > 0, total, jnp.ones_like(total))
    # A share that reaches the threshold up to rounding has reached it.
    short = jnp.sum((share < threshold - 1e-6).astype(jnp.int32))
    return jnp.where(total > 0, short + 1, 0)


def _entropy_rank(sigma: Array) -> Array:
    total = sigma.sum()
    p = sigma / jnp.where(total > 0, total, jnp.ones_like(total))
    logs = jnp.log(jnp.where(p > 0, p, jnp.ones_like(p)))
    return jnp.where(total > 0, jnp.exp(-jnp.sum(p * logs)), jnp.zeros_like(total))


def dormant(
    features: Float[Array, "n d"], eps: float | None = None, tau: float | None = None
) -> Float[Array, ""]:
    """Share of dormant units by one of two rules: `eps` (1e-5 in the paper, as reported) or `tau`.

    With eps: mean |activation| < eps. With tau (0.025): mean |activation| <= tau times the layer's
    mean (ReDo, Sokar et al. 2023), so that in a layer without any activation all are.
    """
    means = jnp.abs(features).mean(axis=0)
    if eps is not None and tau is None:
        quiet = means < eps
    elif tau is not None and eps is None:
        quiet = means <= tau * means.mean()
    else:
        raise ValueError("dormant needs one of eps and tau.")
    return quiet.astype(features.dtype).mean()


def dead(features: Float[Array, "n d"]) -> Float[Array, ""]:
    """Share of units that are 0 in every state."""
    return jnp.all(features == 0, axis=0).astype(features.dtype).mean()


def weight_norm(params: object) -> Float[Array, ""]:
    """Global L2 norm of all parameters."""
    return jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params)))


def kurtosis(x: Float[Array, " n"]) -> Float[Array, ""]:
    """E (x - mean)^4 / Var(x)^2 (3 for a normal law); NaN where all numbers are equal."""
    centred = x - x.mean()
    variance = (centred**2).mean()
    return jnp.where(variance > 0, (centred**4).mean() / variance**2, jnp.nan)


def grad_kurtosis(grads: object, log: bool = True) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """(kurtosis of all coordinates of a gradient, share of exact zeros).

    With `log`, of log(|g| + 1e-8), as the paper is reported to: 7 for normal coordinates, 3 for
    log-normal ones, so heavy tails do *not* raise it. Without, the plain one (normal 3, Laplace 6).
    """
    g = jnp.concatenate([leaf.reshape(-1) for leaf in jax.tree.leaves(grads)])
    zeros = (g == 0).astype(g.dtype).mean()
    return kurtosis(jnp.log(jnp.abs(g) + 1e-8) if log else g), zeros


def policy_variance(probs: Float[Array, "n A"]) -> Float[Array, ""]:
    """Variance over states of pi(a|s), mean over actions; 0 if the policy ignores the state."""
    return probs.var(axis=0).mean()


def ess(log_weights: Float[Array, " n"]) -> Float[Array, ""]:
    """(sum w)^2 / sum w^2 over n, in (0, 1], of w = pi_new / pi_old."""
    w = jnp.exp(log_weights - log_weights.max())
    return w.sum() ** 2 / (w**2).sum() / len(w)


def categorical_kl(
    old_logits: Float[Array, "n A"], new_logits: Float[Array, "n A"]
) -> Float[Array, ""]:
    """KL(old, new) of two policies, exactly, mean over states (k1 and k3 of a loss estimate it)."""
    old, new = jax.nn.log_softmax(old_logits), jax.nn.log_softmax(new_logits)
    return jnp.sum(jnp.exp(old) * (old - new), axis=1).mean()


def coverage(
    points: Float[Array, "n 2"], low: Float[Array, " 2"], high: Float[Array, " 2"], cells: int = 50
) -> Float[Array, ""]:
    """Share of the cells of a grid on [low, high] that hold a point."""
    place = ((points - low) / (high - low) * cells).astype(jnp.int32)
    place = jnp.clip(place, 0, cells - 1)
    grid = jnp.zeros((cells, cells), jnp.float32).at[place[:, 0], place[:, 1]].set(1.0)
    return grid.mean()


def unique_share(states: Bool[Array, "n ..."] | Float[Array, "n ..."]) -> Float[Array, ""]:
    """Share of distinct states among n (1: no state twice), for states that can be equal.

    States are told apart by two sums of their entries with fixed pseudo-random 32-bit weights, so
    that two of n different ones are taken for equal with probability n^2 2^-64.
    """
    flat = states.reshape(len(states), -1).astype(jnp.uint32)
    index = jnp.arange(1, flat.shape[1] + 1, dtype=jnp.uint32)
    hashes = [jnp.sum(flat * _mixed(index, salt), axis=1, dtype=jnp.uint32) for salt in (1, 2)]
    first, second = jax.lax.sort(hashes, num_keys=2)
    new = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    return (1 + new.astype(jnp.float32).sum()) / len(states)


def _mixed(index: Array, salt: int) -> Array:
    """Odd weights without pattern (the finaliser of MurmurHash3)."""
    h = index * jnp.uint32(0x9E3779B9) + jnp.uint32(0x7F4A7C15 * salt % 2**32)
    h = (h ^ (h >> jnp.uint32(16))) * jnp.uint32(0x85EBCA6B)
    h = (h ^ (h >> jnp.uint32(13))) * jnp.uint32(0xC2B2AE35)
    return (h ^ (h >> jnp.uint32(16))) | jnp.uint32(1)
