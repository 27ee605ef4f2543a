"""How alike two sets of points are: representations against disc, torus and circle, and others.

Points are rows. A representation of a layer is [n^2, neurons], row a n + b for the pair (a, b):
`grid.reshape(n * n, -1)`. Reference sets with theta_x = 2 pi f x / n:

    disc      (cos theta_a + cos theta_b, sin theta_a + sin theta_b)          vector addition
    torus     (cos theta_a, sin theta_a, cos theta_b, sin theta_b)
    circle    (cos(theta_a + theta_b), sin(theta_a + theta_b))
    annulus   |cos((theta_a - theta_b)/2)| times the circle: logits that a disc leads to

For f coprime to n: CKA(disc, torus) = 1/sqrt(2), and CKA of either with the circle is 0. So
0.707 beside 1 is no evidence of its own.

Undefined similarities (a set that is a single point) are NaN.
"""

import warnings
from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float, Int, Real

from shared.experiment.errors import BadInput

Array = np.ndarray
Points = Real[Array, "..."]
Kind = Literal["disc", "torus", "circle", "annulus"]
KINDS = ("disc", "torus", "circle", "annulus")
BLOCK = 2**18  # distances held at once; more would not fit into the cache


def reference(n: int, frequency: int, kind: Kind) -> Float[Array, "pairs d"]:
    """A reference set on all n^2 pairs; 4 columns for the torus, 2 for the others."""
    if kind not in KINDS:
        raise BadInput(f"Reference sets are {', '.join(KINDS)}; {kind!r} is none.")
    if not 1 <= frequency <= n // 2:
        raise BadInput(f"Frequencies on Z_{n} are 1..{n // 2}; {frequency} is not.")
    turn = 2 * np.pi * (frequency * np.arange(n) % n) / n
    a, b = np.repeat(turn, n), np.tile(turn, n)
    if kind == "torus":
        return np.stack([np.cos(a), np.sin(a), np.cos(b), np.sin(b)], 1)
    if kind == "disc":
        return np.stack([np.cos(a) + np.cos(b), np.sin(a) + np.sin(b)], 1)
    circle = np.stack([np.cos(a + b), np.sin(a + b)], 1)
    return circle if kind == "circle" else np.abs(np.cos((a - b) / 2))[:, None] * circle


# Alignment of coordinates -------------------------------------------------------------------------


def linear_cka(x: Points, y: Points) -> float:
    """||Y^T X||_F^2 / (||X^T X||_F ||Y^T Y||_F) with centred columns.

    Linear centred kernel alignment (Kornblith et al., 2019): 0 to 1, unchanged by rotating,
    scaling and shifting either set. `cka_gram` is the same number.
    """
    a, b = _pair(x, y)
    if a is None or b is None:
        return float("nan")
    cross = np.linalg.norm(b.T @ a) ** 2
    return float(cross / (_gram_norm(a) * _gram_norm(b)))


def cka_gram(x: Points, y: Points) -> float:
    """`linear_cka` by the points' Gram matrices: cheaper for few points in many dimensions."""
    a, b = _pair(x, y)
    if a is None or b is None:
        return float("nan")
    k, l = a @ a.T, b @ b.T  # noqa: E741 - the field's names
    return float((k * l).sum() / (np.linalg.norm(k) * np.linalg.norm(l)))


def pc_variance(x: Points) -> Float[Array, " components"]:
    """Shares of the variance along the principal components, descending; they sum to 1."""
    x = _points(x)
    centred = _centred(x)
    size = min(x.shape)
    if centred is None:
        return np.full(size, np.nan)
    gram = centred.T @ centred if x.shape[1] <= x.shape[0] else centred @ centred.T
    values = np.maximum(np.linalg.eigvalsh(gram)[::-1], 0.0)
    return values / values.sum()


def _gram_norm(x: Float[Array, "p d"]) -> float:
    """||X^T X||_F = ||X X^T||_F, by the smaller of the two."""
    return float(np.linalg.norm(x.T @ x if x.shape[1] <= x.shape[0] else x @ x.T))


def _pair(x: Points, y: Points) -> tuple[Array | None, Array | None]:
    x, y = _points(x), _points(y)
    if len(x) != len(y):
        raise BadInput(f"Both sets need the same points, row by row; got {len(x)} and {len(y)}.")
    return _centred(x), _centred(y)


def _points(x: Points) -> Float[Array, "p d"]:
    if x.ndim != 2 or x.shape[0] < 2 or x.shape[1] < 1:
        raise BadInput(f"Points are the rows of [points, dimensions]; got {list(x.shape)}.")
    if not np.isfinite(x).all():
        raise BadInput("Points must be finite; these hold NaN or infinity.")
    return x.astype(float)


def _centred(x: Float[Array, "p d"]) -> Float[Array, "p d"] | None:
    """None where all points are the same up to rounding."""
    centred = x - x.mean(axis=0)
    rounding = 8 * np.finfo(float).eps * np.abs(x).max()
    return centred if np.abs(centred).max() > rounding else None


# Alignment of distances ---------------------------------------------------------------------------


def rsm(x: Points, y: Points, points: int | None = None, seed: int = 0) -> float:
    """Pearson correlation of the Euclidean distances between all pairs of points, in x and in y.

    Args:
        points: take so many rows at random (by `seed`) instead of all, which costs their square.
    """
    return float(rsm_table([x, y], points, seed)[0, 1])


def rsm_table(
    sets: Sequence[Points], points: int | None = None, seed: int = 0
) -> Float[Array, "k k"]:
    """`rsm` of every set with every other; each distance is computed once, none is stored."""
    given = [_points(x) for x in sets]
    rows = {len(x) for x in given}
    if len(rows) != 1:
        raise BadInput(f"The sets need the same points, row by row; got {sorted(rows)} of them.")
    size = rows.pop()
    if points is not None and points < size:
        if points < 3:
            raise BadInput(f"A correlation of distances needs 3 points or more, not {points}.")
        some = np.sort(np.random.default_rng(seed).choice(size, points, replace=False))
        given = [x[some] for x in given]
    return _correlations(given)


def _correlations(sets: Sequence[Float[Array, "p _"]]) -> Float[Array, "k k"]:
    """From running sums; distances are taken less their mean in the first block of rows."""
    from scipy.spatial.distance import cdist, pdist

    size, k = len(sets[0]), len(sets)
    step = max(2, BLOCK // (size * k))
    shift, sums, products, count = None, np.zeros(k), np.zeros((k, k)), 0
    for start in range(0, size, step):
        stop = min(start + step, size)
        among = np.stack([pdist(x[start:stop]) for x in sets])
        across = np.stack([cdist(x[start:stop], x[stop:]).ravel() for x in sets])
        distances = np.concatenate([among, across], axis=1)
        shift = distances.mean(axis=1, keepdims=True) if shift is None else shift
        distances -= shift
        sums += distances.sum(axis=1)
        products += distances @ distances.T
        count += distances.shape[1]
    assert shift is not None
    covariance = products / count - np.outer(sums, sums) / count**2
    scale = np.array([8 * np.finfo(float).eps * np.abs(x).max() for x in sets])
    spread = np.sqrt(np.maximum(np.diagonal(covariance), 0))
    spread = np.where(spread > scale, spread, np.nan)
    return covariance / np.outer(spread, spread)


# Two measures of Zhong et al. (2023) --------------------------------------------------------------


def distance_irrelevance(logits: Real[Array, "..."], table: Int[Array, "n n"]) -> float:
    """How little the logit of the correct class says about a b^{-1} (on Z_n: about a - b).

    Mean over d of the standard deviation of the correct logit among the pairs with a b^{-1} = d,
    divided by its standard deviation over all pairs: 0 if it is a function of a - b alone (a
    pizza), 1 if a - b says nothing. NaN, with a warning, if the correct logit is constant (an
    ideal clock). Zhong et al., 2023, arXiv 2306.17844, their evaluation notebook; population
    standard deviations.

    Args:
        logits: [n, n, n], or the correct logits [n, n].
    """
    n = len(table)
    if logits.shape not in ((n, n), (n, n, n)):
        raise BadInput(f"Logits on all pairs are [{n}, {n}, {n}]; these are {list(logits.shape)}.")
    correct = logits.astype(float)
    if logits.ndim == 3:
        correct = np.take_along_axis(correct, table[..., None], 2)[..., 0]
    inverse = table.argmin(axis=1)
    apart = np.empty((n, n))
    for a in range(n):
        apart[table[a, inverse], a] = correct[a]  # row d holds the pairs with a b^{-1} = d
    whole = float(correct.std())
    if whole <= 8 * np.finfo(float).eps * np.abs(correct).max():
        warnings.warn(
            "The correct logit is constant: its distance irrelevance is 0/0.",
            RuntimeWarning,
            stacklevel=2,
        )
        return float("nan")
    return float(apart.std(axis=1).mean()) / whole


def gradient_symmetricity(of_a: Real[Array, "triples d"], of_b: Real[Array, "triples d"]) -> float:
    """Mean cosine between the gradients of a logit Q_c in the embeddings of a and of b.

    One row per triple (a, b, c); the embeddings are those before positions are added. 1 means
    that the two inputs are treated alike. A triple with a zero gradient has no cosine: NaN.
    """
    dot = (of_a.astype(float) * of_b.astype(float)).sum(axis=1)
    length = np.linalg.norm(of_a.astype(float), axis=1) * np.linalg.norm(of_b.astype(float), axis=1)
    if len(dot) == 0:
        raise BadInput("There are no gradients to compare.")
    return float(np.divide(dot, length, out=np.full(len(dot), np.nan), where=length > 0).mean())
