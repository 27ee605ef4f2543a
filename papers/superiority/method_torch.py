"""Distributional superiority for PyTorch: `method.py`, name for name and number for number.

Wiltzer, Bellemare, Meger, Shafto, Jhaveri: Action Gaps and Advantages in Continuous-Time
Distributional Reinforcement Learning, NeurIPS 2024, arXiv 2410.11022.

Symbols and equations stand in `method.py`; the tests hold both equal, gradients included. As there,
each function takes one state or one transition: batch with `torch.vmap`, actions as integer
tensors. This file needs torch and numpy, and nothing else of this repository.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Order = Literal["sorted", "comonotone"]
Risk = Callable[[Tensor], Tensor]
"""Ranks laws: quantiles [..., m] -> [...], the higher the better."""


def midpoints(m: int) -> Tensor:
    """Quantile levels tau_i = (i - 1/2)/m, f[m]. Raises ValueError unless m >= 1."""
    return torch.as_tensor(_midpoints(m), dtype=torch.get_default_dtype())


# --- The superiority and its rescalings -----------------------------------------------------------


def comonotone_difference(zeta_q: Tensor, eta_q: Tensor) -> Tensor:
    """psi_i = F_zeta^{-1}(tau_i) - F_eta^{-1}(tau_i) of quantiles [..., m] at the same levels."""
    return zeta_q - eta_q


def rescale(psi: Tensor, h: float, q: float) -> Tensor:
    """The q-rescaled superiority h^{-q} psi, [..., m]; q = 0 or h = 1 changes nothing."""
    _check_step(h, q)
    return psi * h ** (-q)


def advantage_shift(psi_q: Tensor, adv: Tensor, h: float, q: float) -> Tensor:
    """psi_{h;q} + (1 - h^{1-q}) A_h, of psi_q [..., m] and adv [...]; its mean is A_h."""
    _check_step(h, q)
    return psi_q + (1 - h ** (1 - q)) * adv[..., None]


# --- Risk measures --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mean:
    """The risk-neutral measure: the mean of the quantiles, [..., m] -> [...]."""

    def __call__(self, quantiles: Tensor) -> Tensor:
        return _floats(quantiles).mean(dim=-1)


@dataclass(frozen=True)
class CVaR:
    """Conditional value at risk: the mean of the worst fraction alpha; CVaR(1) is the mean.

    Attributes:
        alpha: level in (0, 1].
        exact: the quantile that straddles alpha counts by its share, so weights sum to one.
            Deviation: the official code's weights 1{tau_i < alpha}/(alpha m) need not;
            `exact=False` does that.
        order: "sorted" sorts the quantiles first; "comonotone" attaches the weights to the index,
            which on superiorities ranks actions as their return laws do.
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

    def __call__(self, quantiles: Tensor) -> Tensor:
        values = _ordered(quantiles, self.order)
        return values @ torch.as_tensor(self.weights(values.shape[-1])).to(values)


@dataclass(frozen=True)
class Distortion:
    """The distortion risk measure (1/m) sum_i beta(tau_i) F^{-1}(tau_i).

    Attributes:
        weight: beta, a torch function of the levels f[m]. order: as in `CVaR`.
    """

    weight: Callable[[Tensor], Tensor]
    order: Order = "sorted"

    def __post_init__(self) -> None:
        _check_order(self.order)

    def __call__(self, quantiles: Tensor) -> Tensor:
        values = _ordered(quantiles, self.order)
        return (values * self.weight(_levels(values))).mean(dim=-1)


# --- From a network's output to superiorities -----------------------------------------------------


def decision_quantiles(q_raw: Tensor, psi_raw: Tensor, h: float, q: float, shift: bool) -> Tensor:
    """What actions are ranked by: psi_{h;q}, or advantage-shifted with `shift` (DAU+DSUP)."""
    return advantage_shift(psi_raw, q_raw, h, q) if shift else psi_raw


def centre(
    q_raw: Tensor, psi_raw: Tensor, h: float, q: float, shift: bool, risk: Risk
) -> tuple[Tensor, Tensor, Tensor]:
    """Advantages [A] and superiorities [A, m] that vanish at the greedy action a*, and a*.

    The argmax is not differentiated; gradients do flow into what is subtracted.
    """
    _check_step(h, q)
    a_star = risk(decision_quantiles(q_raw, psi_raw, h, q, shift)).argmax()
    return q_raw - _row(q_raw, a_star), psi_raw - _row(psi_raw, a_star), a_star


# --- Losses on one transition ---------------------------------------------------------------------


def dsup_loss(
    q_raw_t: Tensor,
    psi_raw_t: Tensor,
    eta_t: Tensor,
    eta_tp1_target: Tensor,
    a_t: Tensor | int,
    r_t: Tensor | float,
    mask_tp1: Tensor | float,
    *,
    h: float,
    q: float,
    gamma: float,
    kappa: float,
    shift: bool,
    risk: Risk,
) -> tuple[Tensor, dict[str, Tensor]]:
    """DSUP(q), and DAU+DSUP(q) with `shift`.

        zeta_h = eta + h^q psi_{h;q}[a]   against   w r + gamma^h mask eta'     (quantile Huber)
        mean(eta) + h q[a]                against   w r + gamma^h mask mean(eta')  (half square)

    Shapes [A], [A, m], [m], [m]; w = h where the episode goes on and 1 at its end; eta' and the
    second line's mean(eta) are constants. Returns the sum, and `q_loss`, `quantile_loss`, `a_star`.
    """
    adv, psi, a_star = centre(q_raw_t, psi_raw_t, h, q, shift, risk)
    target = _bellman_target(eta_tp1_target, r_t, mask_tp1, h, gamma)
    quantile_loss = quantile_huber(eta_t + h**q * _row(psi, a_t), target, kappa)
    value = eta_t.detach().mean()
    q_loss = 0.5 * (value + h * _row(adv, a_t) - target.mean()) ** 2
    aux = {"q_loss": q_loss, "quantile_loss": quantile_loss, "a_star": a_star}
    return q_loss + quantile_loss, aux


def qrdqn_loss(
    zeta_t: Tensor,
    zeta_tp1_target: Tensor,
    a_t: Tensor | int,
    r_t: Tensor | float,
    mask_tp1: Tensor | float,
    *,
    h: float,
    gamma: float,
    kappa: float,
    risk: Risk,
) -> tuple[Tensor, dict[str, Tensor]]:
    """QR-DQN: zeta[a] against w r + gamma^h mask zeta'[a'], a' = argmax_a rho(zeta'[a])."""
    _check_step(h)
    zeta_tp1 = zeta_tp1_target.detach()
    a_star = risk(zeta_tp1).argmax()
    target = _bellman_target(_row(zeta_tp1, a_star), r_t, mask_tp1, h, gamma)
    loss = quantile_huber(_row(zeta_t, a_t), target, kappa)
    return loss, {"quantile_loss": loss, "a_star": a_star}


def dau_loss(
    adv_raw_t: Tensor,
    v_t: Tensor,
    v_tp1_target: Tensor,
    a_t: Tensor | int,
    r_t: Tensor | float,
    mask_tp1: Tensor | float,
    *,
    h: float,
    gamma: float,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Deep Advantage Updating (Tallec, Blier, Ollivier, ICML 2019).

    1/2 (V(x) + h A(x, a) - [w r + gamma^h mask V'(x')])^2,   A = raw A - max_b raw A[b]
    """
    _check_step(h)
    a_star = adv_raw_t.argmax()
    target = _bellman_target(v_tp1_target, r_t, mask_tp1, h, gamma)
    adv = _row(adv_raw_t, a_t) - _row(adv_raw_t, a_star)
    loss = 0.5 * (v_t + h * adv - target) ** 2
    return loss, {"q_loss": loss, "a_star": a_star}


def _bellman_target(
    next_quantiles: Tensor, r_t: Tensor | float, mask_tp1: Tensor | float, h: float, gamma: float
) -> Tensor:
    """w r + gamma^h mask Z', w = h mask + (1 - mask); Z' is constant."""
    if not 0 <= gamma <= 1:
        raise ValueError(f"gamma must be in [0, 1]; got {gamma}.")
    next_quantiles = _floats(next_quantiles)
    reward, mask = torch.as_tensor(r_t), torch.as_tensor(mask_tp1)
    reward, mask = reward.to(next_quantiles), mask.to(next_quantiles)
    return (1 + (h - 1) * mask) * reward + gamma**h * mask * next_quantiles.detach()


def quantile_huber(pred: Tensor, target: Tensor, kappa: float) -> Tensor:
    """Quantile Huber loss: sum over predictions [m] of the mean over targets [n].

        sum_i mean_j |tau_i - 1{u_ij < 0}| L_kappa(u_ij),   u_ij = target_j - pred_i
        L_kappa(u) = u^2/2 where |u| <= kappa, else kappa (|u| - kappa/2);   L_0(u) = |u|

    Not divided by kappa. kappa = 0 is quantile regression, with derivative
    mean_j 1{target_j < pred_i} - tau_i.
    """
    if kappa < 0:
        raise ValueError(f"kappa must be at least 0; got {kappa}.")
    pred, target = _floats(pred), _floats(target)
    error = target[None, :] - pred[:, None]
    levels = _levels(pred)[:, None]
    tilt = torch.where(error < 0, 1 - levels, levels)
    if kappa == 0:
        size = torch.where(error < 0, -error, error)  # at a tie its derivative is not 0, as abs' is
    else:
        clipped = error.clamp(-kappa, kappa).detach()  # d/du L_kappa(u) = clip(u), exactly
        size = clipped * error - 0.5 * clipped**2
    return (tilt * size).sum() / target.shape[0]


# --- Small print ----------------------------------------------------------------------------------


def _midpoints(m: int) -> np.ndarray:
    if m < 1:
        raise ValueError(f"A law needs m >= 1 quantiles; got {m}.")
    return (np.arange(m) + 0.5) / m


def _levels(values: Tensor) -> Tensor:
    return torch.as_tensor(_midpoints(values.shape[-1])).to(values)


def _floats(values: Tensor) -> Tensor:
    """As a floating-point tensor: whole numbers would cut off whatever is combined with them."""
    values = torch.as_tensor(values)
    return values if values.is_floating_point() else values.to(torch.get_default_dtype())


def _ordered(quantiles: Tensor, order: Order) -> Tensor:
    quantiles = _floats(quantiles)
    return quantiles.sort(dim=-1).values if order == "sorted" else quantiles


def _row(table: Tensor, index: Tensor | int) -> Tensor:
    """table[index], in a form that works under `torch.vmap`."""
    index = torch.as_tensor(index, device=table.device).to(torch.int64)
    return table.index_select(0, index[None]).squeeze(0)


def _check_order(order: str) -> None:
    if order not in ("sorted", "comonotone"):
        raise ValueError(f"order must be 'sorted' or 'comonotone'; got {order!r}.")


def _check_step(h: float, q: float = 0.5) -> None:
    if not 0 < h < math.inf:
        raise ValueError(f"h, the time between two decisions, must be positive; got {h}.")
    if not 0 <= q <= 1:
        warnings.warn(f"q is {q}; the theory speaks of exponents in [0, 1].", stacklevel=3)
