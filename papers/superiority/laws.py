"""Two processes whose return laws are known: what an action of length h does to a Gaussian return.

Linear terminal reward f(x) = x, no running reward, dX = b dt + sigma dB with coefficients chosen by
the action; then eta (the policy from t = 0) and zeta_h (one action for a time h, then the policy)
are Gaussian, and so is the superiority, their comonotone difference

    psi_h = law of (m_zeta - m_eta) + (s_zeta - s_eta) Z,   Z ~ N(0, 1),

    case          policy's noise   W_p(zeta_h, eta)            so the exponent is
    degenerate    0                ~ h^{1/2} (sharp)           1/2, the worst case
    noisy         > 0              ~ h                         1

W_p(N, N')^p = E|psi|^p in closed form for every p > 0. NumPy, float64.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Real = float | int


@dataclass(frozen=True)
class Gaussian:
    """N(mean, std²); a point mass where std = 0."""

    mean: Real
    std: Real

    def density(self, x: Floats) -> Floats:
        """Density at x; std must be positive."""
        return np.exp(-0.5 * ((x - self.mean) / self.std) ** 2) / (
            self.std * math.sqrt(2 * math.pi)
        )

    def quantiles(self, m: int) -> Floats:
        """F^{-1} at the levels (i - 1/2)/m, f64[m]."""
        from scipy.special import ndtri

        return self.mean + self.std * ndtri((np.arange(m) + 0.5) / m)

    def scaled(self, factor: Real) -> "Gaussian":
        """Law of factor times the variable."""
        return Gaussian(factor * self.mean, abs(factor) * self.std)


def degenerate_case(
    h: Real,
    *,
    drift: Real = 0.5,
    volatility: Real = 0.3,
    gamma: Real = 0.9,
    horizon: Real = 2.0,
    x: Real = 1.0,
) -> tuple[Gaussian, Gaussian]:
    """(zeta_h, eta) where the policy stands still (b = sigma = 0) and the action moves.

    eta = point mass at gamma^T x, zeta_h = N(gamma^T (x + b h), gamma^{2T} sigma² h).
    """
    discount = gamma**horizon
    eta = Gaussian(discount * x, 0.0)
    return Gaussian(discount * (x + drift * h), discount * volatility * math.sqrt(h)), eta


def noisy_case(
    h: Real,
    *,
    drift: Real = 0.0,
    volatility: Real = 1.5,
    policy_volatility: Real = 1.0,
    horizon: Real = 2.0,
) -> tuple[Gaussian, Gaussian]:
    """(zeta_h, eta) where the policy has noise of its own, x = 0, no discount.

    eta = N(0, sigma_0² T), zeta_h = N(b h, sigma_0² (T - h) + sigma² h), 0 <= h <= T.
    """
    base = policy_volatility**2
    eta = Gaussian(0.0, math.sqrt(base * horizon))
    return Gaussian(drift * h, math.sqrt(base * (horizon - h) + volatility**2 * h)), eta


def superiority(zeta: Gaussian, eta: Gaussian) -> Gaussian:
    """Law of the comonotone difference F_zeta^{-1}(U) - F_eta^{-1}(U)."""
    return Gaussian(zeta.mean - eta.mean, abs(zeta.std - eta.std))


def independent_difference(zeta: Gaussian, eta: Gaussian) -> Gaussian:
    """Law of Z - W for independent Z ~ zeta and W ~ eta: also a coupled difference."""
    return Gaussian(zeta.mean - eta.mean, math.hypot(zeta.std, eta.std))


def absolute_moment(law: Gaussian, p: Real) -> float:
    """E|X|^p for X ~ law and p > 0.

    = (2 s²)^{p/2} Gamma((1 + p)/2) / sqrt(pi) 1F1(-p/2; 1/2; -m²/(2 s²)).
    """
    from scipy.special import gamma, hyp1f1

    if law.std == 0:
        return abs(law.mean) ** p
    shape = hyp1f1(-p / 2, 0.5, -0.5 * (law.mean / law.std) ** 2)
    return float((2 * law.std**2) ** (p / 2) * gamma((1 + p) / 2) / math.sqrt(math.pi) * shape)


def wasserstein(zeta: Gaussian, eta: Gaussian, p: Real) -> float:
    """W_p between two Gaussians: (E|psi|^p)^{1/p}, p >= 1."""
    if p < 1:
        raise ValueError(f"W_p is a distance for p >= 1; got {p}.")
    return absolute_moment(superiority(zeta, eta), p) ** (1 / p)


def cvar(law: Gaussian, alpha: Real) -> float:
    """Mean of the worst fraction alpha: m - s phi(Phi^{-1}(alpha)) / alpha."""
    from scipy.special import ndtri

    if not 0 < alpha <= 1:
        raise ValueError(f"alpha must be in (0, 1]; got {alpha}.")
    if alpha == 1:
        return law.mean
    tail = math.exp(-0.5 * float(ndtri(alpha)) ** 2) / math.sqrt(2 * math.pi) / alpha
    return law.mean - law.std * tail
