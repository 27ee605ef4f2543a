"""Exact answers: a network for D_n written down by hand, and how many irreps one needs.

A linear combination of characters, sum_k w_k chi_k((a b)^{-1} x), is largest at x = a b alone if
and only if the kernels of the chosen irreps meet in {e}; `ideal_margin` says by how much. One
hidden layer of ReLUs can compute each summand: `construct`. Both are what the analysis of
`method.py` must find where nothing was trained.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from papers.dihedral.method import Irrep, Net, irreps, step_size

Array = np.ndarray


def named(reps: Sequence[Irrep], names: Sequence[str]) -> list[Irrep]:
    """The irreps with these names. Raises ValueError, with all names, for one that is not there."""
    known = {rho.name: rho for rho in reps}
    for name in names:
        if name not in known:
            raise ValueError(f"There is no irrep {name!r}; there are {', '.join(known)}.")
    return [known[name] for name in names]


# --- Characters -----------------------------------------------------------------------------------


def ideal_margin(n: int, names: Sequence[str]) -> float:
    """min over x != e of sum over rho in S of chi(e) - chi(x): 0 if S does not determine x."""
    if not names:
        return 0.0
    chi = np.sum([rho.character for rho in named(irreps(n), names)], axis=0)
    return float((chi[0] - chi[1:]).min())


def kind(name: str, n: int) -> str:
    """Which Cayley graph an irrep of D_n stands for: "approximate", "coset" or "line".

    2D_k with gcd(k, n) = 1 is faithful: its graph has all of D_n for vertices, and neurons are
    active on paths of it, approximate cosets. With gcd > 1 the vertices are cosets of the kernel.
    "line" are the 1-D irreps, whose quotient has two elements.
    """
    if not name.startswith("2D_"):
        return "line"
    return "approximate" if step_size(int(name[3:]), n)[0] == 1 else "coset"


# --- A network without training -------------------------------------------------------------------


def construct(
    n: int, names: Sequence[str], angles: tuple[int, int, int] = (4, 4, 4), turn: float = 1.0
) -> Net:
    """A network that multiplies in D_n through the irreps `names`.

    A 2-D irrep takes neurons indexed by unit vectors x, y, z at evenly spaced angles:
    U(a) = x^T rho(a) y, V(b) = y^T rho(b) z, W(c) = 16/(M_x M_y M_z) x^T rho(c) z.
    ReLU(u + v) = (u + v)/2 + |u + v|/2; over +-x, +-y, +-z only the part that is odd in u and in v
    stays, and the mean over y turns (x^T rho(a) y)(y^T rho(b) z) into x^T rho(a b) z / 2.
    A 1-D irrep takes two: ReLU(rho(a) + rho(b)) + ReLU(-rho(a) - rho(b)) = 1 + rho(a b).

    Args:
        angles: M_x, M_y, M_z. turn: the part of the circle over which x and z spread; less than 1
            breaks the cancellation, and the network.
    """
    parts: list[tuple[Array, Array, Array]] = []
    for rho in named(irreps(n), names):
        if rho.dim == 1:
            line = rho.mats[:, 0, 0]
            pair = np.stack([line, -line], axis=1)
            parts.append((pair, pair, np.stack([line, line])))
            continue
        x, y, z = (
            _units(m, shift, part)
            for m, shift, part in zip(angles, (0.0, 0.25, 0.0), (turn, 1.0, turn), strict=True)
        )
        index = np.indices(angles).reshape(3, -1)
        x, y, z = x[index[0]], y[index[1]], z[index[2]]
        left = np.einsum("ji,gik,jk->gj", x, rho.mats, y)
        right = np.einsum("ji,gik,jk->gj", y, rho.mats, z)
        out = 16 / np.prod(angles) * np.einsum("ji,gik,jk->jg", x, rho.mats, z)
        parts.append((left, right, out))
    if not parts:
        raise ValueError("A network needs at least one irrep.")
    lefts, rights, outs = zip(*parts, strict=True)
    out = np.concatenate(outs)
    return Net(np.hstack(lefts), np.hstack(rights), np.zeros(len(out)), out, np.zeros(2 * n))


def _units(m: int, shift: float, turn: float) -> Float[Array, "m 2"]:
    t = 2 * np.pi * turn * (np.arange(m) + shift) / m
    return np.stack([np.cos(t), np.sin(t)], axis=1)


# --- How many representations it takes ------------------------------------------------------------


def enough_representations(n: int, delta: float, prob: float) -> float:
    """m beyond which m random frequencies have margin > delta m with probability >= `prob`.

    m > (2 ln n - 2 ln(2 - 2 prob)) / (ln(pi/delta) - 1): the bound of the cyclic companion paper
    (arXiv 2505.18266, Theorem 4.7) for min over x of sum_i 1 - cos(2 pi k_i x/n). Half the margin
    of rho_{k_1} + ... on D_n is that sum at the rotations and m at the reflections, so that the
    bound carries over.

    Raises ValueError unless 0 < delta < pi/e and 0 < prob < 1.
    """
    if not 0 < delta < np.pi / np.e or not 0 < prob < 1:
        raise ValueError(
            f"The bound needs 0 < delta < pi/e and 0 < prob < 1; got {delta} and {prob}."
        )
    return float((2 * np.log(n) - 2 * np.log(2 - 2 * prob)) / (np.log(np.pi / delta) - 1))


def chance_of_margin(n: int, m: int, delta: float, draws: int, seed: int) -> float:
    """How often m random 2-D irreps of D_n (repeats allowed) have half-margin > delta m."""
    rng = np.random.default_rng([seed, n, m])
    k = rng.integers(1, (n - 1) // 2 + 1, size=(draws, m))
    good = 0
    for block in np.array_split(k, max(1, draws * n // 2**21)):
        gap = np.zeros((len(block), n - 1))
        for one in block.T:
            gap += 1 - np.cos(2 * np.pi * (one[:, None] * np.arange(1, n) % n) / n)
        good += int((np.minimum(gap.min(1), m) > delta * m).sum())
    return good / draws


def least_representations(n: int, delta: float, prob: float, draws: int, seed: int) -> int:
    """The smallest m that reaches probability `prob` by Monte Carlo."""
    m = 1
    while chance_of_margin(n, m, delta, draws, seed) < prob:
        m += 1
        if m > 200:
            raise ValueError(f"No m up to 200 reaches probability {prob} on D_{n}.")
    return m
