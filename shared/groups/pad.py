"""Where neurons peak: the phase alignment distribution (PAD) and distances between such laws.

    symbol        here
    (a*, b*)      pad_points: the pair at which a neuron is largest, on the torus Z_n x Z_n
    d(a, b)       torus_distance to the line a = b: min(|a - b|, n - |a - b|)
    k(x, y)       exp(kappa (cos da + cos db - 2)), da = 2 pi (x_a - y_a) / n
    MMD^2         E k(P, P') + E k(Q, Q') - 2 E k(P, Q)

Neurons of different frequencies are pooled after their positions are multiplied by f, which leaves
the line a = b where it is and makes distances comparable (`neurons.remap_positions`).

The kernel's Fourier coefficients are e^{-kappa} I_k(kappa) and fall faster than exponentially, so a
sum over all pairs of points is a product of two short Fourier sums, exact to rounding: its cost
grows with the number of neurons, not with its square.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import Literal

import numpy as np
from jaxtyping import Bool, Complex, Float, Real, Shaped

from shared.experiment.errors import BadInput
from shared.groups.neurons import remap_positions
from shared.groups.preactivations import Pre, blocks, shape_of

Array = np.ndarray
Estimator = Literal["argmax", "centroid"]


def pad_points(
    pre: Pre,
    label: Shaped[Array, " m"],
    estimator: Estimator = "argmax",
    remap: bool = True,
) -> Float[Array, "m 2"]:
    """(a*, b*) of every neuron, in [0, n).

    argmax: the pair with the largest pre-activation, the first of several. centroid: the circular
    means of a and of b weighted by relu(pre); a neuron that is never positive has none, NaN.

    Args:
        label: frequency of every neuron, 1 .. n//2.
        remap: give positions on the circle of frequency 1, f a mod n; else as they are.
    """
    n, m = shape_of(pre)
    bad = label[(label < 1) | (label > n // 2)]
    if label.shape != (m,) or len(bad):
        raise BadInput(
            f"Every one of the {m} neurons needs a frequency in 1..{n // 2}; "
            f"got {bad[0] if len(bad) else list(label.shape)}."
        )
    if estimator == "argmax":
        points = _argmax(pre, n)
        return remap_positions(points, label[:, None], n) if remap else points
    if estimator == "centroid":
        return _centroid(pre, label if remap else np.ones_like(label))
    raise BadInput(f"Estimators are argmax and centroid; {estimator!r} is none.")


def _argmax(pre: Pre, n: int) -> Float[Array, "m 2"]:
    if isinstance(pre, tuple):
        return np.stack([part.argmax(axis=0) for part in pre], 1).astype(float)
    flat = pre.reshape(n * n, -1).argmax(axis=0)
    return np.stack(np.divmod(flat, n), 1).astype(float)


def _centroid(pre: Pre, frequency: Shaped[Array, " m"]) -> Float[Array, "m 2"]:
    n, m = shape_of(pre)
    over_b, over_a = np.empty((n, m)), np.zeros((n, m))
    for rows, block in blocks(pre):
        active = np.maximum(block, 0.0)
        over_b[rows] = active.sum(axis=1)
        over_a += active.sum(axis=0)
    turn = np.exp(2j * np.pi * (np.arange(n)[:, None] * frequency % n) / n)
    found = np.stack([(turn * side).sum(axis=0) for side in (over_b, over_a)], 1)
    position = np.angle(found) * n / (2 * np.pi) % n
    return np.where(over_a.sum(axis=0)[:, None] > 0, position, np.nan)


def torus_distance(points: Real[Array, "..."], n: int) -> Float[Array, "..."]:
    """Steps on the n x n torus grid from each (a, b) [..., 2] to the line a = b."""
    if points.ndim < 1 or points.shape[-1] != 2:
        raise BadInput(f"Points on the torus are [..., 2]; got {list(points.shape)}.")
    apart = (points[..., 0] - points[..., 1]).astype(float) % n
    return np.minimum(apart, n - apart)


# Maximum mean discrepancy -------------------------------------------------------------------------


@dataclass(frozen=True)
class MMD:
    """Distance between two laws of networks.

    Attributes:
        value: unbiased estimate of MMD^2; may be negative.
        p: share of the splits of the networks with a value as large.
        permutations: number of splits; all there are, if they are few.
    """

    value: float
    p: float
    permutations: int


def mmd2_unbiased(
    p: Real[Array, "..."], q: Real[Array, "..."], n: int, kappa: float = 1.0
) -> float:
    """Unbiased estimate of MMD^2 between two samples of points [., 2] on the torus of length n.

    The points of each sample count as independent; for neurons of trained networks they are not,
    see `mmd_permutation`.
    """
    weights = _weights(kappa)
    samples = [_sample(x) for x in (p, q)]
    for x in samples:
        if len(x) < 2:
            raise BadInput(f"MMD needs two points or more on each side; got {len(x)}.")
    x, y = (_embedding(sample, n, weights) for sample in samples)
    within = [(len(s) * _dot(e, e) - 1) / (len(s) - 1)
              for s, e in zip(samples, (x, y), strict=True)]  # fmt: skip
    return float(sum(within) - 2 * _dot(x, y))


def mmd_permutation(
    p: Sequence[Real[Array, "..."]],
    q: Sequence[Real[Array, "..."]],
    n: int,
    *,
    kappa: float = 1.0,
    permutations: int = 1000,
    seed: int,
) -> MMD:
    """MMD^2 between two populations of networks, with a permutation p-value.

    The law of a population is: draw a network, then one of its neurons. So networks weigh the
    same, only pairs of different networks enter the estimate (which makes it unbiased), and
    whole networks are permuted: neurons of one network are not independent.

    Args:
        p, q: points [m_i, 2] of every network, two networks or more on each side.
        permutations: random splits; where there are no more splits than this, all are taken.
    """
    if len(p) < 2 or len(q) < 2:
        raise BadInput(f"Two networks or more are needed on each side; got {len(p)} and {len(q)}.")
    if permutations < 1:
        raise BadInput(f"A p-value needs one permutation or more, not {permutations}.")
    weights = _weights(kappa)
    means = np.stack([_embedding(_sample(x), n, weights).ravel() for x in (*p, *q)])
    kernel = np.real(means @ means.conj().T)
    np.fill_diagonal(kernel, 0.0)
    observed = np.arange(len(kernel)) < len(p)
    splits, everything = _splits(len(p), len(kernel), permutations, seed)
    value = float(_between(kernel, observed[None])[0])
    as_large = int((_between(kernel, splits) >= value - 1e-12).sum())
    if everything:
        return MMD(value, as_large / len(splits), len(splits))
    return MMD(value, (as_large + 1) / (len(splits) + 1), len(splits))


def _between(kernel: Float[Array, "k k"], splits: Bool[Array, "r k"]) -> Float[Array, " r"]:
    x, y = splits.astype(float), (~splits).astype(float)
    i, j = x.sum(axis=1), y.sum(axis=1)
    to_x, to_y = x @ kernel, y @ kernel
    within = (to_x * x).sum(axis=1) / (i * (i - 1)) + (to_y * y).sum(axis=1) / (j * (j - 1))
    return within - 2 * (to_x * y).sum(axis=1) / (i * j)


def _splits(chosen: int, size: int, most: int, seed: int) -> tuple[Bool[Array, "r k"], bool]:
    """Ways to choose networks, and whether these are all."""
    if comb(size, chosen) <= most:
        every = list(itertools.combinations(range(size), chosen))
        splits = np.zeros((len(every), size), bool)
        np.put_along_axis(splits, np.array(every), True, 1)
        return splits, True
    first = np.tile(np.arange(size) < chosen, (most, 1))
    return np.random.default_rng(seed).permuted(first, axis=1), False


def _weights(kappa: float) -> Float[Array, " k"]:
    """Fourier coefficients of e^{kappa (cos d - 1)} at -K..K, up to the last that counts."""
    from scipy.special import ive

    if not 0 < kappa <= 1000:
        raise BadInput(f"The kernel's kappa lies in (0, 1000]; got {kappa}.")
    coefficients = ive(np.arange(400), kappa)
    last = int(np.flatnonzero(coefficients > 1e-17)[-1])
    return coefficients[np.abs(np.arange(-last, last + 1))]


def _embedding(
    points: Float[Array, "m 2"], n: int, weights: Float[Array, " k"]
) -> Complex[Array, "k k"]:
    """Coordinates of the mean of k(x, .) in which kernel means are plain inner products."""
    order = np.arange(len(weights)) - len(weights) // 2
    waves = np.exp(2j * np.pi / n * points.T[:, :, None] * order)
    scale = np.sqrt(np.outer(weights, weights))
    return scale * (waves[0].T @ waves[1]) / len(points)


def _dot(x: Complex[Array, "k k"], y: Complex[Array, "k k"]) -> float:
    return float(np.real(np.vdot(y, x)))


def _sample(points: Real[Array, "..."]) -> Float[Array, "m 2"]:
    if points.ndim != 2 or points.shape[1] != 2 or len(points) == 0:
        raise BadInput(f"Points on the torus are [m, 2] with m >= 1; got {list(points.shape)}.")
    if not np.isfinite(points).all():
        raise BadInput("Points on the torus must be finite; these hold NaN or infinity.")
    return points.astype(float)
