"""Networks written down, not trained: what the analysis has to find in them is known."""

from collections.abc import Sequence

import numpy as np

from shared.groups.group import Group
from shared.groups.irreps import real_irreps

Array = np.ndarray
Network = tuple[Array, Array, Array]  # A [n, m], B [n, m], out [m, n]


def pizza(n: int, frequencies: Sequence[int], phases: int) -> Network:
    """Equal phases: relu(cos(ta + phi) + cos(tb + phi)), read out by cos(tc + 2 phi) / phases."""
    phi = 2 * np.pi * np.arange(phases) / phases
    return _sinusoids(n, frequencies, phi, phi)


def torus(n: int, frequencies: Sequence[int], phases: int) -> Network:
    """Independent phases on a grid, read out by cos(tc + phi_L + phi_R) / phases^2."""
    phi = 2 * np.pi * np.arange(phases) / phases
    return _sinusoids(n, frequencies, np.repeat(phi, phases), np.tile(phi, phases))


def _sinusoids(n: int, frequencies: Sequence[int], phi_l: Array, phi_r: Array) -> Network:
    parts = []
    for f in frequencies:
        turn = 2 * np.pi * f * np.arange(n)[:, None] / n
        out = np.cos(turn + phi_l + phi_r).T / len(phi_l)
        parts.append((np.cos(turn + phi_l), np.cos(turn + phi_r), out))
    return _joined(parts)


def by_irreps(group: Group, names: Sequence[str], vectors: int = 4) -> Network:
    """Logits that grow with the sum of the characters chi(a b c^{-1}), for irreps of D_n.

    Two dimensions: u = x^T rho(a) y, v = y^T rho(b) z, out = x^T rho(c) z with unit vectors all
    around the circle. One dimension: relu(+-(rho(a) + rho(b))) with out = rho(c).
    """
    known = {rho.name: rho.mats for rho in real_irreps(group)}
    angle = 2 * np.pi * np.arange(vectors) / vectors
    x = np.stack([np.cos(angle), np.sin(angle)])
    y = np.stack([np.cos(angle + angle[1] / 4), np.sin(angle + angle[1] / 4)])
    parts = []
    for name in names:
        rho = known[name]
        if rho.shape[1] == 1:
            line = rho[:, 0]
            signs = np.array([1.0, -1.0])
            parts.append((line * signs, line * signs, np.tile(line.T, (2, 1))))
            continue
        u = np.einsum("ix,gij,jy->gxy", x, rho, y)
        v = np.einsum("iy,gij,jz->gyz", y, rho, x)
        w = 16 / vectors**3 * np.einsum("ix,gij,jz->xzg", x, rho, x)
        shape = (group.order, vectors, vectors, vectors)
        left = np.broadcast_to(u[..., None], shape).reshape(group.order, -1)
        right = np.broadcast_to(v[:, None], shape).reshape(group.order, -1)
        out = np.broadcast_to(w[:, None], (vectors, *shape[1:3], group.order))
        parts.append((left, right, out.reshape(-1, group.order)))
    return _joined(parts)


def features(group: Group, labels: Sequence[int], noise: float, seed: int) -> tuple[Array, Array]:
    """One neuron per label: tr(X rho(a)) + tr(Y rho(b)) with random X, Y, of unit variance each.

    Gaussian noise of standard deviation `noise` on both sides.
    """
    rng = np.random.default_rng(seed)
    irreps = real_irreps(group)
    sides = []
    for _ in range(2):
        columns = []
        for label in labels:
            rho = irreps[label]
            value = np.tensordot(rho.mats, rng.normal(size=(rho.dim, rho.dim)), 2)
            columns.append(value / value.std())
        sides.append(np.stack(columns, 1) + noise * rng.normal(size=(group.order, len(labels))))
    return sides[0], sides[1]


def _joined(parts: Sequence[Network]) -> Network:
    left, right, out = zip(*parts, strict=True)
    return np.concatenate(left, 1), np.concatenate(right, 1), np.concatenate(out, 0)
