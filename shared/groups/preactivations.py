"""Pre-activations of one layer on all pairs of inputs, whole or as the sum of two parts.

`pre` is either the grid [n, n, m] of what m neurons receive for every pair (a, b), n = |G|, or a
pair `(left, right)` of [n, m] with pre(a, b) = left[a] + right[b] (a bias goes into either part).
One-hot and embedded inputs and uniform attention are of this second kind. The grid is then never
built: whatever takes `pre` works on the parts, n times less, and finds the same numbers.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Real

from shared.experiment.errors import BadInput

Array = np.ndarray
Pre = Real[Array, "..."] | tuple[Real[Array, "..."], Real[Array, "..."]]
"""[n, n, m], or (left, right) of [n, m] each."""

BLOCK = 2**20  # numbers held at once: 8 MiB


def shape_of(pre: Pre) -> tuple[int, int]:
    """(n, m); BadInput unless `pre` has one of the two shapes and is finite."""
    if isinstance(pre, tuple):
        left, right = pre
        if left.ndim != 2 or left.shape != right.shape:
            raise BadInput(
                "The two parts of additive pre-activations are [n, m] each; these are "
                f"{list(left.shape)} and {list(right.shape)}."
            )
        n, m = left.shape
    else:
        if pre.ndim != 3 or pre.shape[0] != pre.shape[1]:
            raise BadInput(
                f"Pre-activations on all pairs are [n, n, m]; this array is {list(pre.shape)}."
            )
        n, _, m = pre.shape
    if n < 2 or m < 1:
        raise BadInput(f"There is nothing to analyse in {m} neurons on {n} elements.")
    if not all(np.isfinite(part).all() for part in (pre if isinstance(pre, tuple) else (pre,))):
        raise BadInput("Pre-activations must be finite; these hold NaN or infinity.")
    return n, m


def blocks(pre: Pre) -> Iterator[tuple[slice, Float[Array, "rows n m"]]]:
    """The grid in float64, some rows a at a time, so that no copy of the whole is ever held."""
    n, m = shape_of(pre)
    step = max(1, BLOCK // (n * m))
    for start in range(0, n, step):
        rows = slice(start, min(start + step, n))
        if isinstance(pre, tuple):
            yield rows, pre[0][rows, None].astype(float) + pre[1].astype(float)
        else:
            yield rows, pre[rows].astype(float)


def select(pre: Pre, neurons: Array) -> Pre:
    """The same for some neurons, given by their indices or by a mask."""
    if isinstance(pre, tuple):
        return pre[0][:, neurons], pre[1][:, neurons]
    return pre[:, :, neurons]


def main_effects(pre: Pre) -> tuple[Float[Array, "n m"], Float[Array, "n m"]]:
    """The additive part of `pre`: the mean over b as `left`, the centred mean over a as `right`.

    The sum of the two is the best additive approximation in least squares; additive parts come
    back the same but for the mean, which is moved into `left`.
    """
    shape_of(pre)
    if isinstance(pre, tuple):
        left, right = (part.astype(float) for part in pre)
    else:
        left, right = pre.mean(axis=1, dtype=float), pre.mean(axis=0, dtype=float)
        right = right - right.mean(axis=0)
    mean = right.mean(axis=0)
    return left + mean, right - mean


class Moments(NamedTuple):
    """What the analysis needs to know of the values themselves.

    left, right: centred main effects. mean, variance, largest: over all pairs.
    """

    left: Float[Array, "n m"]
    right: Float[Array, "n m"]
    mean: Float[Array, " m"]
    variance: Float[Array, " m"]
    largest: Float[Array, " m"]


def moments(pre: Pre) -> Moments:
    """Main effects, mean, variance and maximum of every neuron over all pairs.

    A variance below what rounding alone could leave is zero.
    """
    left, right = main_effects(pre)
    mean = left.mean(axis=0)
    if isinstance(pre, tuple):
        variance = left.var(axis=0) + right.var(axis=0)
        largest, least = left.max(axis=0) + right.max(axis=0), left.min(axis=0) + right.min(axis=0)
        precision = np.result_type(*pre, np.float32)
    else:
        squares = sum(((block - mean) ** 2).sum(axis=(0, 1)) for _, block in blocks(pre))
        variance = squares / len(left) ** 2
        largest, least = pre.max(axis=(0, 1)).astype(float), pre.min(axis=(0, 1)).astype(float)
        precision = np.result_type(pre, np.float32)
    rounding = 4 * float(np.finfo(precision).eps) * np.maximum(np.abs(largest), np.abs(least))
    variance = np.where(variance > rounding**2, variance, 0.0)
    return Moments(left - mean, right, mean, variance, largest)
