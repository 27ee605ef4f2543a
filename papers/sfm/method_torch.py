"""Successor-feature matching for PyTorch: target, critic loss, both sums, actor loss.

The same functions as `method.py`, under the same names and for the same shapes; symbols, equations
and caveats are explained there. Base features and the checkpoint schedule are in `method.py` only.
This file needs torch and nothing else of this repository.

Jain, Wiltzer, Farebrother, Rish, Berseth, Choudhury: Non-Adversarial Inverse Reinforcement Learning
via Successor Feature Matching, ICLR 2025, arXiv 2411.07007.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Debias = Literal["official", "correct"]


def sf_td_target(
    phi_s: Tensor, psi_next: Tensor, gamma: float, clip: tuple[float, float] | None = None
) -> Tensor:
    """phi(s) + gamma clip(mean over twins of Psi(s', a')), detached.

    Args:
        phi_s: [B, d], features of s. psi_next: [2, B, d], target networks at s'.
        clip: (low, high) for the bootstrapped mean, None for none.
    """
    _check_gamma(gamma)
    bootstrap = psi_next.mean(dim=0)
    if clip is not None:
        bootstrap = bootstrap.clamp(*clip)
    return (phi_s + gamma * bootstrap).detach()


def sf_critic_loss(psi: Tensor, target: Tensor) -> Tensor:
    """Mean over [B, d] of the sum of both twins' squared errors; psi is [2, B, d]."""
    return ((psi - target.detach()) ** 2).sum(dim=0).mean()


def expert_sf(phi_traj: Tensor, gamma: float, tail_psi: Tensor | None = None) -> Tensor:
    """Discounted sum of the features [T, d] of one demonstration -> [d].

    With a tail [d] = Psi(s_{T-2}, pi(s_{T-2})) it replaces the last two states.
    """
    _check_gamma(gamma)
    length, least = phi_traj.shape[0], 1 if tail_psi is None else 3
    if length < least:
        raise ValueError(f"A demonstration needs at least {least} states here; got {length}.")
    if tail_psi is None:
        return _discounts(length, gamma, phi_traj) @ phi_traj
    head = _discounts(length - 2, gamma, phi_traj) @ phi_traj[: length - 2]
    return head + gamma ** (length - 2) * tail_psi


def learner_sf(psi_sa: Tensor, psi_next: Tensor, gamma: float) -> Tensor:
    """mean over the batch of [Psi(s, pi(s)) - gamma detach(Psi(s', pi(s')))] / (1 - gamma)."""
    _check_gamma(gamma)
    return (psi_sa - gamma * psi_next.detach()).mean(dim=0) / (1 - gamma)


def initial_sf(psi_0: Tensor) -> Tensor:
    """mean over the batch of Psi(s_0, pi(s_0))."""
    return psi_0.mean(dim=0)


def ema_update(value: Tensor, ema: Tensor, decay: float, count: int) -> tuple[Tensor, Tensor]:
    """decay ema + (1 - decay) value, and the same over 1 - decay^count."""
    if not 0 <= decay < 1:
        raise ValueError(f"decay must be in [0, 1); got {decay}.")
    ema = decay * ema + (1 - decay) * value
    return ema, ema / (1 - decay**count)


def debias_count(updates: int, policy_delay: int, debias: str) -> int:
    """The `count` after so many actor updates: `correct` updates, `official` critic updates."""
    if debias not in ("official", "correct"):
        raise ValueError(f"debias must be official or correct; got {debias!r}.")
    return updates * (policy_delay if debias == "official" else 1)


def sfm_actor_loss(
    psi_E: Tensor, psi_pi: Tensor, psi_pi_ema: Tensor, gamma: float, fix: bool = True
) -> Tensor:
    """(1 - gamma)^2 sum_k (E_k - P_k)(E_k - Pbar_k); (E_k - P_k)^2 without the fix.

    psi_E is detached; psi_pi_ema, as `ema_update` returns it, is not.
    """
    _check_gamma(gamma)
    gap = psi_E.detach() - psi_pi
    second = psi_E.detach() - psi_pi_ema if fix else gap
    return (1 - gamma) ** 2 * (gap * second).sum()


def feature_gap(psi_E: Tensor, phi_traj: Tensor, gamma: float) -> Tensor:
    """Mean over dimensions of (psi_E - sum_t gamma^t phi(s_t))^2."""
    return ((psi_E - expert_sf(phi_traj, gamma)) ** 2).mean()


def avg_l1_norm(x: Tensor, eps: float = 1e-6) -> Tensor:
    """x / max(mean |x|, eps)."""
    return x / x.abs().mean(dim=-1, keepdim=True).clamp(min=eps)


def l2_sphere(x: Tensor) -> Tensor:
    """sqrt(d) x / (|x| + 1e-6)."""
    return x.shape[-1] ** 0.5 * x / (x.norm(dim=-1, keepdim=True) + 1e-6)


def _discounts(length: int, gamma: float, like: Tensor) -> Tensor:
    steps = torch.arange(length, dtype=torch.float64)
    return (gamma**steps).to(like)


def _check_gamma(gamma: float) -> None:
    if not 0 <= gamma < 1:
        raise ValueError(f"gamma must be in [0, 1); got {gamma}.")
