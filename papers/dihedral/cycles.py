"""Half of a Cayley graph: clusters that read their irrep along one direction only.

rho_k of D_n has two dimensions. A cluster that looks at rho_k(a b) along both has class means
chi_k(c^{-1} x), the prism that the Cayley graph of the quotient is. One that looks along a single
direction z does not see the reflection that fixes z, and is left with one cycle of cosets. Not in
the paper's abstract; found in trained networks, and told apart here from what it does say.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from papers.dihedral.method import (
    CORRELATION,
    WITHIN,
    Irrep,
    correlated,
    coset_list,
    mult_table,
    nearest,
    step_size,
)

Array = np.ndarray


class CosetCycle(NamedTuple):
    """How far the class means of a 2D_k cluster are a cycle of cosets of a *non-normal* subgroup.

    rho_k(x) z for one direction z does not see the reflection that fixes z: such a cluster knows
    the coset x H (or H x) of H = <ker, s r^j>, and its graph is one cycle of n' vertices, half of
    the prism that a Cayley graph of the quotient is.

    Attributes:
        side: "left" for x H, "right" for H x. reflection: j. within, neighbours, correlation: as in
        `Cayley`, for the cosets of H.
    """

    side: Literal["left", "right"]
    reflection: int
    within: float
    neighbours: float
    correlation: float

    def passes(self, correlation: float = CORRELATION, within: float = WITHIN) -> bool:
        """Cosets, neighbours and distances."""
        fits = self.neighbours == 1.0 and self.correlation >= correlation
        return fits and self.within < within


def is_coset_cycle(means: Float[Array, "2*{n} 2*{n}"], k: int, n: int) -> CosetCycle:
    """The class means of a 2D_k cluster against the cycle of cosets of the best <ker, s r^j>."""
    g, period, _ = step_size(k, n)
    centred = means - means.mean(0)
    total = max(float((centred**2).sum()), 1e-300)
    table, turns = mult_table(n), np.arange(0, n, period)
    best: tuple[float, Literal["left", "right"], int, Array] | None = None
    for side in ("left", "right"):
        for j in range(period):
            h = np.concatenate([turns, n + (j + turns) % n])
            blocks = np.array(coset_list(table[:, h] if side == "left" else table[h].T))
            of_vertices = centred[blocks].mean(1)
            within = 1 - 2 * g * float((of_vertices**2).sum()) / total
            if best is None or within < best[0]:
                best = within, side, j, blocks
    assert best is not None
    within, side, j, blocks = best
    of_vertices = centred[blocks].mean(1)
    distances = ((of_vertices[:, None] - of_vertices) ** 2).sum(-1)
    turn = blocks.min(1)  # the least rotation of each coset
    ideal = 2 - 2 * np.cos(2 * np.pi * k * (turn[:, None] - turn) / n)
    everywhere = np.ones_like(ideal, bool)
    wanted, found = (nearest(d, ideal, everywhere) for d in (ideal, distances))
    same = float((wanted == found).all(1).mean())
    return CosetCycle(side, j, max(within, 0.0), same, correlated(distances, ideal))


def evenness(means: Float[Array, "G G"], rho: Irrep) -> tuple[float, float]:
    """How evenly a cluster uses the d directions of rho, to the right and to the left of rho(c).

    M(c)[x] = tr(rho(c) P rho(x)^T) is what a readout makes that looks at rho(c) along the
    directions P only, M(c)[x] = tr(rho(c)^T Q rho(x)) one that looks from the left; P = Q = 1 is
    chi(c^{-1} x). Smallest over largest eigenvalue of P and of Q: 1 is even, 0 leaves some out.
    """
    p = np.einsum("cik,cx,xil->kl", rho.mats, means, rho.mats)
    q = np.einsum("cki,cx,xli->kl", rho.mats, means, rho.mats)
    values = [np.abs(np.linalg.eigvalsh((a + a.T) / 2)) for a in (p, q)]
    return values[0].min() / values[0].max(), values[1].min() / values[1].max()
