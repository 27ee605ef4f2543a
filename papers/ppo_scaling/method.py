"""PPO and PQN as functions of their batch: N environments times T steps.

Mayor, Obando-Ceron, Courville and Castro (ICML 2025, arXiv:2506.03404) change nothing in PPO but
the shape of its batch, |B| = N_envs x N_RO, and watch returns and the networks. So what counts is
bookkeeping that does not deceive, the two algorithms' losses, and metrics with their definitions.

    symbol        here             meaning
    N_envs, N_RO  n_envs, n_ro     parallel environments, rollout length
    |B|           batch_size       transitions of an iteration
    E, M          epochs, num_minibatches
    d             terminated       the transition ended its episode: no value after it
                  truncated        it was cut off: its value is that of `final_obs`

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
    """

    n_envs: int
    n_ro: int
    epochs: int = 4
    num_minibatches: int = 4
    hold: Literal["num_minibatches", "minibatch_size"] = "num_minibatches"
    reference: int = 1024

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
        if self.minibatch_size < 2:
            raise ValueError(
                f"A minibatch of {self.minibatch_size} transition has no standard deviation to "
                "normalise advantages by: take fewer minibatches."
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
    v_next: Float[Array, "T N"],
    terminated: Bool[Array, "T N"],
    truncated: Bool[Array, "T N"],
    gamma: Float[Array, ""] | float,
    lam: Float[Array, ""] | float,
) -> tuple[Float[Array, "T N"], Float[Array, "T N"]]:
    """Generalised advantages and returns A + V (section 3.2).

        delta_t = r_t + gamma (1 - terminated_t) V(next state) - V_t
        A_t = delta_t + gamma lam (1 - terminated_t) (1 - truncated_t) A_{t+1}

    Args:
        v_next: value of the state that each transition led to, `final_obs` where the episode ended;
            so truncation bootstraps, termination does not. `next_values` builds it.
    """
    going = 1 - (terminated | truncated).astype(r.dtype)
    alive = 1 - terminated.astype(r.dtype)
    delta = r + gamma * alive * v_next - v

    def back(advantage: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        delta_t, going_t = now
        advantage = delta_t + gamma * lam * going_t * advantage
        return advantage, advantage

    _, advantages = jax.lax.scan(back, jnp.zeros_like(r[0]), (delta, going), reverse=True)
    return advantages, advantages + v


def next_values(
    v: Float[Array, "T N"],
    last_v: Float[Array, " N"],
    ended: Bool[Array, "T N"],
    final_v: Float[Array, "T N"],
) -> Float[Array, "T N"]:
    """V of the state each transition led to: V_{t+1}, and where it ended, that of `final_obs`.

    After an end V_{t+1} is of the *next* episode's first state and must not be bootstrapped from.
    """
    following = jnp.concatenate([v[1:], last_v[None]])
    return jnp.where(ended, final_v, following)


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


def singular_values(features: Float[Array, "n d"]) -> Float[Array, " d"]:
    """Of a feature matrix (penultimate layer, after its activation); it needs n >= d states."""
    n, d = features.shape
    if n < d:
        raise ValueError(f"Ranks of {d} features need at least as many states, not {n}.")
    return jnp.linalg.svd(features, compute_uv=False)


def feature_rank(sigma: Float[Array, " d"], threshold: float = 0.99) -> Int[Array, ""]:
    """Smallest k whose first k squared singular values make up `threshold` of all; 0 for zeros.

    The paper's appendix B, as far as it is known; also called approximate (PCA) rank.
    """
    return _least_k(sigma**2, threshold)


def srank(sigma: Float[Array, " d"], threshold: float = 0.99) -> Int[Array, ""]:
    """The same without squares (Kumar et al. 2021)."""
    return _least_k(sigma, threshold)


def _least_k(weights: Array, threshold: float) -> Array:
    total = weights.sum()
    share = jnp.cumsum(weights) / jnp.where(total > 0, total, jnp.ones_like(total))
    # A share that reaches the threshold up to rounding has reached it.
    short = jnp.sum((share < threshold - 1e-6).astype(jnp.int32))
    return jnp.where(total > 0, short + 1, 0)


def effective_rank(sigma: Float[Array, " d"]) -> Float[Array, ""]:
    """exp of the entropy of sigma / sum sigma (Roy and Vetterli 2007); 0 for zeros."""
    total = sigma.sum()
    p = sigma / jnp.where(total > 0, total, jnp.ones_like(total))
    logs = jnp.log(jnp.where(p > 0, p, jnp.ones_like(p)))
    return jnp.where(total > 0, jnp.exp(-jnp.sum(p * logs)), jnp.zeros_like(total))


def count_rank(sigma: Float[Array, " d"], n: int, threshold: float = 0.01) -> Int[Array, ""]:
    """How many sigma_i / sqrt(n) exceed `threshold` (Lyle et al. 2022); not scale-free."""
    return jnp.sum((sigma / math.sqrt(n) > threshold).astype(jnp.int32))


def dormant_share(features: Float[Array, "n d"], eps: float = 1e-5) -> Float[Array, ""]:
    """Share of units whose mean |activation| is below eps (1e-5 in the paper, as reported)."""
    quiet = jnp.abs(features).mean(axis=0) < eps
    return quiet.astype(features.dtype).mean()


def redo_share(features: Float[Array, "n d"], tau: float = 0.025) -> Float[Array, ""]:
    """Share of units with mean |activation| at most tau times the layer's mean (Sokar et al. 2023).

    In a layer without any activation all units are dormant.
    """
    means = jnp.abs(features).mean(axis=0)
    return (means <= tau * means.mean()).astype(features.dtype).mean()


def dead_share(features: Float[Array, "n d"]) -> Float[Array, ""]:
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


def coverage(
    points: Float[Array, "n 2"], low: Float[Array, " 2"], high: Float[Array, " 2"], cells: int = 50
) -> Float[Array, ""]:
    """Share of the cells of a grid on [low, high] that hold a point."""
    place = ((points - low) / (high - low) * cells).astype(jnp.int32)
    place = jnp.clip(place, 0, cells - 1)
    grid = jnp.zeros((cells, cells), jnp.float32).at[place[:, 0], place[:, 1]].set(1.0)
    return grid.mean()
