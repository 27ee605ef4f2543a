"""What parallel data collection does to a batch, in closed form (ours: claims O1 and O2).

Two effects pull in opposite directions when |B| = N T transitions are split over more chains N:

    variance   transitions of one chain are correlated, those of different chains are not, so the
               batch is worth more independent samples the more chains it has (`batch_ess`)
    bias       a rollout of T steps bootstraps from the critic after at most T steps, so a share of
               the critic's error stays in the targets (`value_error_left`)

Everything in float64 NumPy; N = environments, T = rollout length.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

Array = np.ndarray


def vif(T: int, rho: float) -> float:
    """Variance inflation of the mean of T stationary samples with autocorrelation rho^k.

    VIF = 1 + 2 sum_{k=1}^{T-1} (1 - k/T) rho^k; 1 without correlation, T with rho = 1.
    """
    if T < 1:
        raise ValueError(f"T must be at least 1, got {T}.")
    if not -1 < rho <= 1:
        raise ValueError(f"rho must lie in (-1, 1], got {rho:g}.")
    k = np.arange(1, T)
    return float(1 + 2 * np.sum((1 - k / T) * float(rho) ** k))


def batch_ess(N: int, T: int, rho: float) -> float:
    """Independent samples that N chains of T correlated ones are worth: N T / VIF(T, rho).

    Tends to N T as rho -> 0 and to N as rho -> 1, so at equal N T more chains are never worse.
    """
    if N < 1:
        raise ValueError(f"N must be at least 1, got {N}.")
    return N * T / vif(T, rho)


def value_error_left(gamma: float, lam: float, n: int) -> float:
    """Share of a constant error of the critic that is left in a GAE target with n steps to go.

        1 - (1 - gamma) (1 - (gamma lam)^n) / (1 - gamma lam)

    gamma for n = 1 (one-step targets), gamma^n for lam = 1.
    """
    for name, value in (("gamma", gamma), ("lam", lam)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must lie in [0, 1], got {value:g}.")
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}.")
    decay = gamma * lam
    terms = n if decay == 1 else (1 - decay**n) / (1 - decay)
    return 1 - (1 - gamma) * terms


def mean_value_error_left(gamma: float, lam: float, T: int) -> float:
    """The same, averaged over the T steps of a rollout."""
    return float(np.mean([value_error_left(gamma, lam, n) for n in range(1, T + 1)]))


def simulated_batch_means(
    key: np.random.Generator, N: int, T: int, rho: float, batches: int
) -> Float[Array, " batches"]:
    """Means of batches of N stationary AR(1) chains of T steps with unit variance."""
    state = key.normal(size=(batches, N))
    total = state.sum(1)
    for _ in range(T - 1):
        state = rho * state + np.sqrt(1 - rho**2) * key.normal(size=state.shape)
        total += state.sum(1)
    return total / (N * T)


def iso_batch(size: int) -> list[tuple[int, int]]:
    """All (N, T) with N T = size and N a power of two: the diagonal 1 x size ... size x 1."""
    if size < 1 or size & (size - 1):
        raise ValueError(f"size must be a power of two, got {size}.")
    return [(2**k, size // 2**k) for k in range(size.bit_length())]
