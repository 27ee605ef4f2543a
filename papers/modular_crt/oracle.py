"""Exact answers to the margin theorem: by enumeration, and by a bound that holds at every n.

Theorem 4.7 of the paper expands cosines to second order, which makes it a heuristic. For a random
frequency and a fixed k != 0 the chance that h(k) comes within delta m of m has the exact Chernoff
bound

    P(h(k) >= (1 - delta) m) <= min_t ( M_k(t) e^{-t (1 - delta)} )^m
    M_k(t) = mean over f of e^{t cos(2 pi f k / n)}

and a union over k gives a number of frequencies that is enough with certainty
(`sufficient_frequencies`). As n grows M_k tends to the Bessel function I_0, so that the number
needed per ln n is 1 / I(1 - delta), I the large-deviation rate of the cosine of a uniform angle
(`rate`). As delta goes to 0, I(1 - delta) tends to (ln(pi / delta) - 1) / 2: exactly the theorem's
denominator. So the theorem is the small-delta limit of the truth, and asks for too few frequencies
at large delta.
"""

from __future__ import annotations

import math
from itertools import combinations_with_replacement, islice

import numpy as np
from jaxtyping import Float

Array = np.ndarray


def exact_gap_probability(n: int, m: int, delta: float) -> float:
    """P(gap > delta m) of m frequencies uniform, with replacement, in 1 ... floor(n/2), exactly.

    Enumerates all multisets, each with its multinomial weight; meant for up to a few million.
    """
    waves = _waves(n)
    count = len(waves)
    sets = combinations_with_replacement(range(count), m)
    found = 0.0
    while chunk := list(islice(sets, 50_000)):
        rows = np.array(chunk)
        gap = m - waves[rows].sum(axis=1).max(axis=1)
        found += float(_orderings(rows)[gap > delta * m].sum())
    return found / count**m


def _orderings(rows: Array) -> Float[Array, " sets"]:
    """How many ordered draws give each sorted row: m! over the factorials of the multiplicities."""
    m = rows.shape[1]
    weight = np.full(len(rows), float(math.factorial(m)))
    run = np.ones(len(rows))
    for i in range(1, m):
        run = np.where(rows[:, i] == rows[:, i - 1], run + 1, 1.0)
        weight /= run
    return weight


def _waves(n: int) -> Float[Array, "F half"]:
    """cos(2 pi f k / n) for f and k in 1 ... floor(n/2); the other k are mirror images."""
    half = np.arange(1, n // 2 + 1)
    return np.cos(2 * np.pi * (np.outer(half, half) % n) / n)


def failure_bound(n: int, m: int, delta: float) -> float:
    """An upper bound of P(gap <= delta m): Chernoff for every k, summed over k. May exceed 1."""
    waves = _waves(n)
    t = np.geomspace(1e-3, 50.0, 400)
    # log M_k(t) - t (1 - delta), the least over t; t = 0 gives the trivial 0.
    tilted = np.exp(t[:, None, None] * (waves - 1)).mean(axis=1)  # [t, k]
    exponent = (np.log(tilted) + t[:, None] * delta).min(axis=0)
    return float(np.exp(m * np.minimum(exponent, 0.0)).sum())


def sufficient_frequencies(n: int, delta: float, rho: float) -> int:
    """Frequencies that certainly suffice for P(gap > delta m) >= rho.

    Raises:
        ValueError: delta or rho outside (0, 1).
    """
    for name, value in (("delta", delta), ("rho", rho)):
        if not 0 < value < 1:
            raise ValueError(f"{name} must lie in (0, 1); got {value:g}.")
    low, high = 0, 1
    while failure_bound(n, high, delta) > 1 - rho:
        low, high = high, 2 * high
        if high > 10**6:
            raise ValueError(
                f"No number of frequencies can promise a gap of {delta:g} m at n = {n}: with all "
                "of them it is at most n / (n - 1) m, and some k has too large a mean."
            )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if failure_bound(n, middle, delta) > 1 - rho else (low, middle)
    return high


def rate(x: float) -> float:
    """I(x) = max_t t x - ln I_0(t): how fast P(mean of m random cosines >= x) falls, e^{-m "
    "I(x)}."""
    from scipy.optimize import minimize_scalar
    from scipy.special import ive

    if not 0 <= x < 1:
        raise ValueError(f"x must lie in [0, 1); got {x:g}.")

    def value(t: float) -> float:
        return -(t * x - float(np.log(ive(0, t))) - t)

    top = 2.0 / (1 - x) + 10
    found = minimize_scalar(value, bounds=(0.0, top), method="bounded", options={"xatol": 1e-10})
    return max(0.0, -float(found.fun))


def brute_equivariance_error(cluster_logits: Float[Array, "n n n"]) -> float:
    """`method.equivariance_error` by its definition: every shift (s, t) in turn."""
    n = len(cluster_logits)
    centred = cluster_logits - cluster_logits.mean()
    total = 0.0
    for s in range(n):
        for t in range(n):
            moved = np.roll(centred, (-s, -t, -(s + t)), axis=(0, 1, 2))
            total += float(((moved - centred) ** 2).mean())
    return total / n**2 / float((centred**2).mean())
