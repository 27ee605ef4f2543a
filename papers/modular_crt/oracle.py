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

import functools
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
    return float(np.exp(m * _exponents(n, delta)).sum())


@functools.lru_cache(maxsize=64)
def _exponents(n: int, delta: float) -> Float[Array, " half"]:
    """min_t ln M_k(t) - t (1 - delta) for k = 1 ... floor(n/2); at most 0, which is t = 0.

    Any t gives a valid bound, so that a coarse grid of them costs nothing but a little slack.
    """
    waves = _waves(n)
    t = np.geomspace(0.02, 40.0, 100)
    tilted = np.stack([np.exp(x * (waves - 1)).mean(axis=0) for x in t])  # over f: [t, k]
    return np.minimum((np.log(tilted) + t[:, None] * delta).min(axis=0), 0.0)


def sufficient_frequencies(n: int, delta: float, rho: float) -> int:
    """Frequencies that certainly suffice for P(gap > delta m) >= rho.

    Raises:
        ValueError: delta or rho outside (0, 1), or no number suffices: for delta near 1, h(k) of
            some k is above (1 - delta) m on average.
    """
    for name, value in (("delta", delta), ("rho", rho)):
        if not 0 < value < 1:
            raise ValueError(f"{name} must lie in (0, 1); got {value:g}.")
    exponents = _exponents(n, delta)
    if exponents.max() > -1e-6:
        raise ValueError(f"No number of frequencies promises a gap of {delta:g} m at n = {n}.")
    low, high = 0, 1
    while np.exp(high * exponents).sum() > 1 - rho:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        fails = np.exp(middle * exponents).sum() > 1 - rho
        low, high = (middle, high) if fails else (low, middle)
    return high


def rate(x: float) -> float:
    """I(x) = max_t t x - ln I_0(t): how fast P(mean of m random cosines >= x) falls, e^{-m I(x)}.

    The maximum is where the tilted mean of the cosine, I_1(t) / I_0(t), is x; found by bisection.

    Raises:
        ValueError: x outside [0, 0.9999].
    """
    if not 0 <= x <= 0.9999:
        raise ValueError(f"x must lie in [0, 0.9999]; got {x:g}.")
    cos = np.cos(2 * np.pi * np.arange(8192) / 8192)  # the trapezoidal rule is exact enough here
    low, high = 0.0, 2.0 / (1 - x)
    for _ in range(80):
        t = (low + high) / 2
        weight = np.exp(t * (cos - 1))
        low, high = (t, high) if (weight @ cos) / weight.sum() < x else (low, t)
    return max(0.0, low * (x - 1) - float(np.log(np.exp(low * (cos - 1)).mean())))


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
