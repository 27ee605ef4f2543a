"""Distributional superiority: the difference that an action makes to the law of the return.

Wiltzer, Bellemare, Meger, Shafto, Jhaveri: Action Gaps and Advantages in Continuous-Time
Distributional Reinforcement Learning, NeurIPS 2024, arXiv 2410.11022.

A return law is given by its m quantiles at the levels tau_i = (i - 1/2)/m. Everything is a pure
function of one state or one transition, given what the network returned for it; batch with
`jax.vmap`. This file needs jax, numpy and jaxtyping, and nothing else of this repository.

    symbol      here        meaning
    omega       1 / h       decisions per unit of time; h is the time between two of them
    gamma       gamma       discount per unit of time; gamma**h per decision
    eta         eta         law of the return of the policy from x
    zeta_h      zeta        law of the return of: action a for a time h, then the policy
    psi_h       psi         superiority: law of F_zeta^{-1}(U) - F_eta^{-1}(U), U uniform on (0, 1)
    psi_{h;q}   psi_q       h**(-q) psi_h, the q-rescaled superiority
    A_h         adv, q_t    advantage rate (E zeta_h - E eta) / h (the paper's "little q")
    rho_beta    risk        distortion risk measure, the integral of F^{-1}(tau) beta(tau)
    kappa       kappa       where the quantile Huber loss turns from square to linear
    r, w r      r_t         reward: a rate where the episode goes on (so times h), a lump at its end

In a network's output the row psi_raw[a] is psi_{h;q} up to its value at the greedy action, which
`centre` subtracts: the superiority of the policy's own action is a point mass at 0.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, Shaped

Order = Literal["sorted", "comonotone"]
Scalar = Shaped[ArrayLike, ""]
Risk = Callable[[Float[Array, "*batch m"]], Float[Array, "*batch"]]
"""Ranks laws: quantiles [..., m] -> [...], the higher the better."""


def midpoints(m: int) -> Float[Array, " m"]:
    """Quantile levels tau_i = (i - 1/2)/m, i = 1 ... m. Raises ValueError unless m >= 1."""
    return jnp.asarray(_midpoints(m), jnp.result_type(float))


# --- The superiority and its rescalings -----------------------------------------------------------


def comonotone_difference(
    zeta_q: Float[ArrayLike, "*batch m"], eta_q: Float[ArrayLike, "*batch m"]
) -> Float[Array, "*batch m"]:
    """The superiority psi in quantile coordinates: psi_i = F_zeta^{-1}(tau_i) - F_eta^{-1}(tau_i).

    Of all couplings this one has the smallest E|psi|^p, for every p >= 1: it is W_p(zeta, eta)^p.

    Args:
        zeta_q, eta_q: quantiles at the same m levels, ascending for the statement above to hold.

    Returns:
        psi; index i belongs to level tau_i of both laws, and psi need not be ascending in i.
    """
    return _floats(zeta_q) - _floats(eta_q)


def rescale(psi: Float[ArrayLike, "*batch m"], h: ArrayLike, q: float) -> Float[Array, "*batch m"]:
    """The q-rescaled superiority psi_{h;q} = h^{-q} psi_h; q = 0 or h = 1 changes nothing."""
    _check_step(h, q)
    return _floats(psi) * h ** (-q)


def advantage_shift(
    psi_q: Float[ArrayLike, "*batch m"], adv: Float[ArrayLike, "*batch"], h: ArrayLike, q: float
) -> Float[Array, "*batch m"]:
    """The advantage-shifted psi_{h;q} + (1 - h^{1-q}) A_h, whose mean is A_h whatever h is.

    Reduces to psi_{h;q} at h = 1 and at q = 1.
    """
    _check_step(h, q)
    return _floats(psi_q) + (1 - h ** (1 - q)) * _floats(adv)[..., None]


# --- Risk measures --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mean:
    """The risk-neutral measure: the mean of the quantiles."""

    def __call__(self, quantiles: Float[ArrayLike, "*batch m"]) -> Float[Array, "*batch"]:
        return jnp.mean(jnp.asarray(quantiles), axis=-1)


@dataclass(frozen=True)
class CVaR:
    """Conditional value at risk: the mean of the worst fraction alpha; CVaR(1) is the mean.

    Attributes:
        alpha: level in (0, 1].
        exact: the quantile that straddles alpha counts by its share, so weights sum to one.
            Deviation: the official code gives each level tau_i < alpha the weight 1/(alpha m), and
            the sum differs from one where alpha m is no whole number; `exact=False` does that.
        order: "sorted" sorts the quantiles first, as the official code does: right for a return
            law zeta. "comonotone" attaches the weights to the index, i.e. to the level tau_i of
            zeta and eta: on a superiority it gives CVaR(zeta) - CVaR(eta), so it ranks actions as
            zeta does, which sorting a superiority does not.
    """

    alpha: float
    exact: bool = True
    order: Order = "sorted"

    def __post_init__(self) -> None:
        if not 0 < self.alpha <= 1:
            raise ValueError(f"alpha must be in (0, 1]; got {self.alpha}.")
        _check_order(self.order)

    def weights(self, m: int) -> np.ndarray:
        """The weight of each of m quantiles, f64[m], ascending levels."""
        share = self.alpha * m
        if self.exact:
            return np.clip(share - np.arange(m), 0, 1) / share
        return (_midpoints(m) < self.alpha) / share

    def __call__(self, quantiles: Float[ArrayLike, "*batch m"]) -> Float[Array, "*batch"]:
        values = _floats(quantiles)
        weights = self.weights(values.shape[-1])
        if self.order == "comonotone":
            return values @ jnp.asarray(weights, values.dtype)
        # Only the quantiles on the shorter side of alpha need an order, and selecting them takes a
        # fraction of the time of a sort.
        full = 1 / (self.alpha * len(weights))
        low, high = int((weights > 0).sum()), int((weights < full).sum())
        if low <= high:
            lowest = -jax.lax.top_k(-values, low)[0]
            return lowest @ jnp.asarray(weights[:low], values.dtype)
        highest = jax.lax.top_k(values, high)[0]
        excess = jnp.asarray((full - weights)[::-1][:high], values.dtype)
        return jnp.sum(values, axis=-1) * full - highest @ excess


@dataclass(frozen=True)
class Distortion:
    """The distortion risk measure (1/m) sum_i beta(tau_i) F^{-1}(tau_i).

    Attributes:
        weight: beta, a jax function of the levels f[m]; beta = 1 gives the mean. It is not
            normalised here.
        order: as in `CVaR`.
    """

    weight: Callable[[Array], Array]
    order: Order = "sorted"

    def __post_init__(self) -> None:
        _check_order(self.order)

    def __call__(self, quantiles: Float[ArrayLike, "*batch m"]) -> Float[Array, "*batch"]:
        values = _ordered(quantiles, self.order)
        levels = jnp.asarray(_midpoints(values.shape[-1]), values.dtype)
        return jnp.mean(values * self.weight(levels), axis=-1)


# --- From a network's output to superiorities -----------------------------------------------------


def decision_quantiles(
    q_raw: Float[ArrayLike, " A"], psi_raw: Float[ArrayLike, "A m"], h: ArrayLike, q: float,
    shift: bool,
) -> Float[Array, "A m"]:  # fmt: skip
    """What actions are ranked by: psi_{h;q}, or advantage-shifted with `shift` (DAU+DSUP)."""
    psi_raw = _floats(psi_raw)
    return advantage_shift(psi_raw, q_raw, h, q) if shift else psi_raw


def centre(
    q_raw: Float[ArrayLike, " A"], psi_raw: Float[ArrayLike, "A m"], h: ArrayLike, q: float,
    shift: bool, risk: Risk,
) -> tuple[Float[Array, " A"], Float[Array, "A m"], Int[Array, ""]]:  # fmt: skip
    """Advantages and superiorities that vanish at the greedy action a*.

        a* = argmax_a rho(psi~[a] + shift (1 - h^{1-q}) q~[a])
        q[a] = q~[a] - q~[a*],   psi[a] = psi~[a] - psi~[a*]   level by level

    The argmax is not differentiated; gradients do flow into what is subtracted.

    Returns:
        q [A] and psi [A, m], exactly zero at a*, and a*.
    """
    _check_step(h, q)
    q_raw, psi_raw = _floats(q_raw), _floats(psi_raw)
    a_star = jnp.argmax(risk(decision_quantiles(q_raw, psi_raw, h, q, shift)))
    is_greedy = jnp.arange(q_raw.shape[0]) == a_star
    # A compiler may fuse a product into one of two equal terms only; so the zeros are put in.
    adv = jnp.where(is_greedy, 0, q_raw - _row(q_raw, a_star))
    psi = jnp.where(is_greedy[:, None], 0, psi_raw - _row(psi_raw, a_star))
    return adv, psi, a_star


# --- Losses on one transition ---------------------------------------------------------------------


def dsup_loss(
    q_raw_t: Float[ArrayLike, " A"],
    psi_raw_t: Float[ArrayLike, "A m"],
    eta_t: Float[ArrayLike, " m"],
    eta_tp1_target: Float[ArrayLike, " m"],
    a_t: Shaped[ArrayLike, ""],
    r_t: Shaped[ArrayLike, ""],
    mask_tp1: Shaped[ArrayLike, ""],
    *,
    h: float,
    q: float,
    gamma: float,
    kappa: float,
    shift: bool,
    risk: Risk,
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """DSUP(q), and DAU+DSUP(q) with `shift`.

        zeta_h = eta + h^q psi_{h;q}[a]   against   w r + gamma^h mask eta'     (quantile Huber)
        mean(eta) + h q[a]                against   w r + gamma^h mask mean(eta')  (half square)

    with w = h where the episode goes on and 1 at its end, and stop-gradient on the second line's
    mean(eta): the advantage head learns from it, eta does not. The bootstrap is eta' alone, since
    zeta_h(x', a*) = eta(x').

    Args:
        q_raw_t, psi_raw_t, eta_t: the network's output at x_t.
        eta_tp1_target: the target network's eta at x_{t+1}; treated as a constant.
        a_t, r_t: action and reward. mask_tp1: 0 where x_{t+1} is terminal, else 1.
        h, q, shift, risk: as in `centre`. gamma: per unit of time. kappa: see `quantile_huber`.

    Returns:
        The sum of both losses, and `q_loss`, `quantile_loss`, `a_star`.
    """
    adv, psi, a_star = centre(q_raw_t, psi_raw_t, h, q, shift, risk)
    eta_t = _floats(eta_t)
    target = _bellman_target(eta_tp1_target, r_t, mask_tp1, h, gamma)
    quantile_loss = quantile_huber(eta_t + h**q * _row(psi, a_t), target, kappa)
    value = jax.lax.stop_gradient(jnp.mean(eta_t))
    q_loss = 0.5 * (value + h * _row(adv, a_t) - jnp.mean(target)) ** 2
    aux = {"q_loss": q_loss, "quantile_loss": quantile_loss, "a_star": a_star}
    return q_loss + quantile_loss, aux


def qrdqn_loss(
    zeta_t: Float[ArrayLike, "A m"],
    zeta_tp1_target: Float[ArrayLike, "A m"],
    a_t: Shaped[ArrayLike, ""],
    r_t: Shaped[ArrayLike, ""],
    mask_tp1: Shaped[ArrayLike, ""],
    *,
    h: float,
    gamma: float,
    kappa: float,
    risk: Risk,
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """QR-DQN: zeta[a] against w r + gamma^h mask zeta'[a'], a' = argmax_a rho(zeta'[a]).

    The target network (second argument, a constant) also chooses a'. `w`, `mask_tp1` and `gamma`
    as in `dsup_loss`. Returns the loss, and `quantile_loss`, `a_star` (which is a').
    """
    _check_step(h)
    zeta_tp1 = jax.lax.stop_gradient(_floats(zeta_tp1_target))
    a_star = jnp.argmax(risk(zeta_tp1))
    target = _bellman_target(_row(zeta_tp1, a_star), r_t, mask_tp1, h, gamma)
    loss = quantile_huber(_row(_floats(zeta_t), a_t), target, kappa)
    return loss, {"quantile_loss": loss, "a_star": a_star}


def dau_loss(
    adv_raw_t: Float[ArrayLike, " A"],
    v_t: Float[ArrayLike, ""],
    v_tp1_target: Float[ArrayLike, ""],
    a_t: Shaped[ArrayLike, ""],
    r_t: Shaped[ArrayLike, ""],
    mask_tp1: Shaped[ArrayLike, ""],
    *,
    h: float,
    gamma: float,
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Deep Advantage Updating (Tallec, Blier, Ollivier, ICML 2019).

        1/2 (V(x) + h A(x, a) - [w r + gamma^h mask V'(x')])^2,   A = raw A - max_b raw A[b]

    Arguments as in `dsup_loss`. Returns the loss, and `q_loss`, `a_star` (the greedy action).
    """
    _check_step(h)
    adv_raw_t = _floats(adv_raw_t)
    a_star = jnp.argmax(adv_raw_t)
    target = _bellman_target(v_tp1_target, r_t, mask_tp1, h, gamma)
    adv = _row(adv_raw_t, a_t) - _row(adv_raw_t, a_star)
    loss = 0.5 * (_floats(v_t) + h * adv - target) ** 2
    return loss, {"q_loss": loss, "a_star": a_star}


def _bellman_target(
    next_quantiles: Float[ArrayLike, "*m"], r_t: Scalar, mask_tp1: Scalar, h: float, gamma: float
) -> Float[Array, "*m"]:
    """w r + gamma^h mask Z', w = h mask + (1 - mask); Z' is constant."""
    if isinstance(gamma, int | float) and not 0 <= gamma <= 1:
        raise ValueError(f"gamma must be in [0, 1]; got {gamma}.")
    next_quantiles = jax.lax.stop_gradient(_floats(next_quantiles))
    mask = jnp.asarray(mask_tp1, next_quantiles.dtype)
    reward = jnp.asarray(r_t, next_quantiles.dtype)
    return (1 + (h - 1) * mask) * reward + gamma**h * mask * next_quantiles


def quantile_huber(
    pred: Float[ArrayLike, " m"], target: Float[ArrayLike, " n"], kappa: float
) -> Float[Array, ""]:
    """Quantile Huber loss: sum over predictions of the mean over targets.

        sum_i mean_j |tau_i - 1{u_ij < 0}| L_kappa(u_ij),   u_ij = target_j - pred_i
        L_kappa(u) = u^2/2 where |u| <= kappa, else kappa (|u| - kappa/2);   L_0(u) = |u|

    Not divided by kappa. kappa = 0 is quantile regression, with derivative
    mean_j 1{target_j < pred_i} - tau_i; with errors all below kappa the fixed points are
    *expectiles*. Reverse-mode differentiable in both arguments (first order).

    Raises:
        ValueError: kappa < 0, m < 1 or no target. kappa is a number, not a traced array.
    """
    if kappa < 0:
        raise ValueError(f"kappa must be at least 0; got {kappa}.")
    pred, target = _floats(pred), _floats(target)
    if not target.size:
        raise ValueError("The quantile Huber loss needs at least one target.")
    return _quantile_huber(pred, target, float(kappa))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _quantile_huber(pred: Array, target: Array, kappa: float) -> Array:
    levels = _levels(pred)

    def loss(t_j: Array) -> Array:
        error = t_j - pred
        if kappa == 0:
            return _tilt(error, levels) * jnp.abs(error)
        clipped = jnp.clip(error, -kappa, kappa)
        return _tilt(error, levels) * clipped * (error - 0.5 * clipped)

    return jnp.sum(_sum_over(loss, target)) / target.shape[0]


def _quantile_huber_fwd(pred: Array, target: Array, kappa: float) -> tuple[Array, Any]:
    return _quantile_huber(pred, target, kappa), (pred, target)


def _quantile_huber_bwd(kappa: float, residual: Any, cotangent: Array) -> tuple[Array, Array]:
    """Derivatives in both arguments; a compiler drops the one that is not used."""
    pred, target = residual
    levels = _levels(pred)

    def pull(error: Array, level: Array) -> Array:
        slope = jnp.where(error < 0, -1.0, 1.0) if kappa == 0 else jnp.clip(error, -kappa, kappa)
        return _tilt(error, level) * slope

    to_pred = -_sum_over(lambda t_j: pull(t_j - pred, levels), target)
    to_target = _sum_over(lambda p_i: pull(target - p_i[0], p_i[1]), (pred, levels))
    scale = cotangent / target.shape[0]
    return to_pred * scale, to_target * scale


_quantile_huber.defvjp(_quantile_huber_fwd, _quantile_huber_bwd)


def _levels(pred: Array) -> Array:
    return jnp.asarray(_midpoints(pred.shape[0]), pred.dtype)


def _tilt(error: Array, level: Array) -> Array:
    """|tau - 1{u < 0}|"""
    return jnp.where(error < 0, 1 - level, level)


def _sum_over(term: Callable[[Any], Array], xs: Any) -> Array:
    """sum_j term(x_j), ten terms at a time in one fused kernel, so that no m x n table is written.

    At m = n = 100 and a batch of 32 on a CPU this takes a third of the time of the table, a
    fifteenth of automatic differentiation through it, and a fifth of the O(m log m) form by
    sorting and prefix sums.
    """
    first = jax.tree.map(lambda x: x[0], xs)
    zero = jnp.zeros_like(jax.eval_shape(term, first))
    total, _ = jax.lax.scan(lambda total, x: (total + term(x), None), zero, xs, unroll=10)
    return total


# --- Small print ----------------------------------------------------------------------------------


def _midpoints(m: int) -> np.ndarray:
    if m < 1 or m != int(m):
        raise ValueError(f"A law needs a whole number m >= 1 of quantiles; got {m}.")
    return (np.arange(m) + 0.5) / m


def _floats(values: ArrayLike) -> Array:
    """As a floating-point array: whole numbers would cut off whatever is combined with them."""
    values = jnp.asarray(values)
    floating = jnp.issubdtype(values.dtype, jnp.floating)
    return values if floating else values.astype(jnp.result_type(float))


def _ordered(quantiles: ArrayLike, order: Order) -> Array:
    quantiles = _floats(quantiles)
    return jnp.sort(quantiles, axis=-1) if order == "sorted" else quantiles


def _row(table: Array, index: ArrayLike) -> Array:
    """table[index], selected: actions are few, and the derivative of an index is a slow scatter."""
    rows = [row.reshape(table.shape[1:]) for row in jnp.split(table, table.shape[0])]
    return jax.lax.select_n(jnp.asarray(index).astype(jnp.int32), *rows)


def _check_order(order: str) -> None:
    if order not in ("sorted", "comonotone"):
        raise ValueError(f"order must be 'sorted' or 'comonotone'; got {order!r}.")


def _check_step(h: ArrayLike, q: float = 0.5) -> None:
    if isinstance(h, int | float) and not 0 < h < math.inf:
        raise ValueError(f"h, the time between two decisions, must be positive; got {h}.")
    if isinstance(q, int | float) and not 0 <= q <= 1:
        warnings.warn(f"q is {q}; the theory speaks of exponents in [0, 1].", stacklevel=3)
