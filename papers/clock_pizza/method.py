"""Which manifold a network computes modular addition on: disc, torus or circle.

Moisescu-Pareja, McCracken, Wiltzer, Letourneau, Daniels, Precup, Love: On the Geometry and Topology
of Representations: the Manifolds of Modular Addition, ICLR 2026, arXiv 2512.25060.

A network is trained on (a, b) -> a + b mod n. Everything here is a pure function of what it
returned on all n x n pairs. This file needs numpy and jaxtyping; `gradient_symmetricity` also jax,
`betti_numbers` also ripser (or gudhi). Nothing else of this repository.

    symbol        here        meaning
    theta_a       theta       2 pi f a / n, the angle of input a at frequency f
    N_i(a, b)     pre[..., i] pre-activation of neuron i; a simple neuron is, up to size and offset,
                              cos(theta_a + phi_L) + cos(theta_b + phi_R)
    phi_L, phi_R  phi_l, phi_r  its two phases
    X             x           the pre-activations of one frequency's neurons, [n n, m]
    V_disc        reference   (cos theta_a + cos theta_b, sin theta_a + sin theta_b)
    V_torus       reference   (cos theta_a, sin theta_a, cos theta_b, sin theta_b)
    V_circ        reference   (cos(theta_a + theta_b), sin(theta_a + theta_b))
    rho           phase_coherence   |E exp(i (phi_L - phi_R))|: 1 on the disc, 0 on the torus
    PAD           pad_points  law of the pair (a*, b*) to which a random neuron responds most

Theorem 4.1: if phi_L = phi_R for every neuron of a cluster, X = V_disc W has rank 2; if they are
independent, X = V_torus W has rank 4 (from four neurons on). The disc is a linear image of the
torus, (x1 + x3, x2 + x4). Pairs (a, b) are ordered as a n + b wherever they are one axis.
"""

import itertools
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Real, Shaped

Array = np.ndarray
Circuit = Literal["disc", "torus"]
Kind = Literal[Circuit, "circle"]


# --- Clusters: which frequency a neuron has, and its phases ---------------------------------------


class Clusters(NamedTuple):
    """Neurons sorted by frequency.

    Attributes:
        freq: the frequency 1 ... n // 2 whose first and second order hold most energy.
        r2: share of a neuron's variance in the first order at `freq`, which is the R^2 of the best
            amp_L cos(theta_a + phi_L) + amp_R cos(theta_b + phi_R) + const.
        r2_order2: the same with the second order, cos(theta_a +- theta_b + phi), added. The
            second-order share is the difference.
        alive: whether the neuron ever exceeds the threshold and varies at all.
        members: alive neurons of each frequency that has any.
    """

    freq: Int[Array, " m"]
    r2: Float[Array, " m"]
    r2_order2: Float[Array, " m"]
    alive: Bool[Array, " m"]
    members: dict[int, Int[Array, " _"]]


def cluster_by_frequency(pre: Real[Array, "..."], thresh: float = 0.01) -> Clusters:
    """Clusters of neurons by their dominant frequency in the 2-D Fourier transform.

    By Parseval the energy in the bins (f, 0), (0, f) over all energy but the constant's is the R^2
    of a least-squares fit; the second order has the bins (f, f), (f, -f), and all their conjugates.

    Args:
        pre: [n, n, m] pre-activations on all pairs.
        thresh: a neuron that never exceeds it is dead (0.01, McCracken et al. 2025, appendix E.5).

    Raises:
        ValueError: pre is not [n, n, m] with n >= 3, or not finite.
    """
    n = _order(pre)
    power = np.abs(np.fft.fft2(pre, axes=(0, 1))) ** 2
    power[0, 0] = 0.0
    total = power.sum(axis=(0, 1))
    f = np.arange(1, n // 2 + 1)
    twice = np.where(2 * f == n, 1.0, 2.0)[:, None]  # the conjugate of n/2 is itself
    first = twice * (power[f, 0] + power[0, f])
    second = twice * power[f, f] + np.where(2 * f == n, 0.0, 2.0)[:, None] * power[f, n - f]
    best = np.argmax(first + second, axis=0)
    safe = np.where(total > 0, total, 1.0)
    pick = (best, np.arange(pre.shape[2]))
    alive = (pre.max(axis=(0, 1)) > thresh) & (total / n**4 > 1e-6)
    freq = f[best]
    members = {int(k): np.flatnonzero(alive & (freq == k)) for k in np.unique(freq[alive])}
    return Clusters(freq, first[pick] / safe, (first + second)[pick] / safe, alive, members)


class Phases(NamedTuple):
    """Of amp_L cos(theta_a + phi_L) + amp_R cos(theta_b + phi_R), in radians, one per neuron."""

    phi_l: Float[Array, " m"]
    phi_r: Float[Array, " m"]
    amp_l: Float[Array, " m"]
    amp_r: Float[Array, " m"]


def phases(pre: Real[Array, "..."], f: int) -> Phases:
    """Phases and amplitudes of the least-squares fit of a simple neuron of frequency f.

    Raises:
        ValueError: pre is not [n, n, m], or f is not in 1 ... n // 2.
    """
    n = _order(pre)
    _check_frequency(f, n)
    wave = np.exp(-2j * np.pi * f * np.arange(n) / n) * (1.0 if 2 * f == n else 2.0) / n
    left, right = wave @ pre.mean(axis=1), wave @ pre.mean(axis=0)
    return Phases(np.angle(left), np.angle(right), np.abs(left), np.abs(right))


def phase_coherence(phi_l: Real[Array, " m"], phi_r: Real[Array, " m"]) -> float:
    """rho = |mean exp(i (phi_L - phi_R))|: 1 where phases are equal, about 0 where independent.

    With uniform phases and equal amplitudes it fixes both similarities of the cluster:
    CKA(X, torus) = 1 / sqrt(1 + rho^2), CKA(X, disc) = (1 + rho) / sqrt(2 (1 + rho^2)).
    """
    if len(phi_l) == 0:
        raise ValueError("A cluster without neurons has no phase coherence.")
    return float(np.abs(np.mean(np.exp(1j * (np.asarray(phi_l) - np.asarray(phi_r))))))


def reference(n: int, f: int, kind: Kind) -> Float[Array, "pairs _"]:
    """V_disc [n n, 2], V_torus [n n, 4] or V_circ [n n, 2] at frequency f; row a n + b.

    Raises:
        ValueError: f is not in 1 ... n // 2, or another kind.
    """
    _check_frequency(f, n)
    theta = 2 * np.pi * f * np.arange(n) / n
    a, b = (t.ravel() for t in np.meshgrid(theta, theta, indexing="ij"))
    torus = np.stack([np.cos(a), np.sin(a), np.cos(b), np.sin(b)], axis=1)
    if kind == "torus":
        return torus
    if kind == "disc":
        return torus[:, :2] + torus[:, 2:]
    if kind == "circle":
        return np.stack([np.cos(a + b), np.sin(a + b)], axis=1)
    raise ValueError(f"kind must be disc, torus or circle; got {kind!r}.")


# --- Similarity of two representations of the same pairs ------------------------------------------


def linear_cka(x: Real[Array, "..."], y: Real[Array, "..."]) -> float:
    """||Yc^T Xc||_F^2 / (||Xc^T Xc||_F ||Yc^T Yc||_F), columns centred; NaN if one is constant.

    Unchanged by rotations, scaling and shifts. CKA(disc, torus) = 1 / sqrt(2), and of the circle
    with either 0, at every n and f prime to it.

    Raises:
        ValueError: x and y are not matrices with the same number of rows, or have no columns.
    """
    x, y = _centred(x, y)
    scale = np.linalg.norm(_gram(x)) * np.linalg.norm(_gram(y))
    return float(np.sum((y.T @ x) ** 2) / scale) if scale > 0 else math.nan


def rsm(x: Real[Array, "..."], y: Real[Array, "..."]) -> float:
    """Pearson correlation of all pairwise Euclidean distances in x with those in y.

    The definition is our choice (it gives 0.578 between disc and torus, as the paper's table does).
    NaN where all distances of one are equal. Memory: two matrices [rows, rows].

    Raises:
        ValueError: as `linear_cka`, or fewer than three rows.
    """
    x, y = _centred(x, y)
    if len(x) < 3:
        raise ValueError(f"Distances need at least three points to correlate; got {len(x)}.")
    return _correlation(_distances(x), _distances(y))


# --- Phase alignment distribution -----------------------------------------------------------------


def pad_points(
    pre: Real[Array, "..."],
    freq: Int[Array, " m"],
    estimator: Literal["argmax", "centroid"] = "argmax",
    remap: bool = True,
) -> Real[Array, "m 2"]:
    """Where on the n x n torus each neuron responds most, (a*, b*): the points of the PAD.

    `argmax` is the pair of the largest activation. `centroid` takes the circular mean of relu(pre)
    at the neuron's own frequency, arg(sum relu(pre) e^{i theta_a}) n / (2 pi), and the same for b.
    `remap` multiplies positions by f, so that neurons of all frequencies can be pooled: one period
    becomes one turn. The line a = b stays; a distance of one remapped step may be far in raw ones.

    Returns:
        positions in [0, n); integers but for remapped centroids. A raw centroid is the grid point
        whose remapped position is nearest.

    Raises:
        ValueError: shapes do not match, another estimator, or a raw centroid where f and n have a
            common factor (several grid points are then the same).
    """
    n = _order(pre)
    if len(freq) != pre.shape[2]:
        raise ValueError(f"Every neuron needs a frequency: {pre.shape[2]} and {len(freq)} given.")
    if estimator == "argmax":
        flat = np.argmax(pre.reshape(n * n, -1), axis=0)
        points = np.stack([flat // n, flat % n], axis=1)
        return points * freq[:, None] % n if remap else points
    if estimator != "centroid":
        raise ValueError(f"estimator must be argmax or centroid; got {estimator!r}.")
    post = np.maximum(pre, 0)
    wave = np.exp(2j * np.pi * np.outer(np.arange(n), freq) / n)  # [n, m]
    sums = [np.sum(wave * post.sum(axis=axis), axis=0) for axis in (1, 0)]
    points = np.angle(np.stack(sums, axis=1)) * n / (2 * np.pi) % n
    if remap:
        return points
    return np.rint(points).astype(int) * _inverses(freq, n)[:, None] % n


def torus_distance(points: Real[Array, "m 2"], n: int) -> Real[Array, " m"]:
    """Steps on the n x n torus grid from (a, b) to the line a = b: min(|a - b|, n - |a - b|).

    Its mean over independent uniform a and b is (n^2 - 1) / (4 n) for odd n.
    """
    gap = np.abs(points[:, 0] - points[:, 1]) % n
    return np.minimum(gap, n - gap)


def mmd2_unbiased(p: Real[Array, "..."], q: Real[Array, "..."], kappa: float = 1.0) -> float:
    """Unbiased estimate of MMD^2 between two samples of points on the torus, given as ANGLES.

    k(x, y) = exp(kappa (cos(x_1 - y_1) + cos(x_2 - y_2) - 2)). The kernel is our choice; values
    of different kernels cannot be compared. May be negative.

    Args:
        p, q: [points, 2] in radians; positions times 2 pi / n.

    Raises:
        ValueError: fewer than two points on a side.
    """
    sums, counts = kernel_sums([p, q], kappa)
    return float(mmd2_of_sides(sums, counts, np.array([[True, False]]))[0])


def mmd_permutation(
    groups_p: Sequence[Real[Array, "_ 2"]],
    groups_q: Sequence[Real[Array, "_ 2"]],
    n_perm: int = 1000,
    rng: np.random.Generator | None = None,
    kappa: float = 1.0,
) -> tuple[float, float]:
    """MMD^2 of two sets of networks, and its permutation p-value with networks as the units.

    Neurons of one network are not independent, so whole networks change sides. Where there are no
    more than `n_perm` ways to do so, all of them are tried and p is exact.

    Args:
        groups_p, groups_q: for each network its points [points, 2] in radians.

    Returns:
        (MMD^2, p). p is never below one over the number of ways: with few networks it is large.

    Raises:
        ValueError: no network on a side, fewer than two points on a side, or n_perm < 1.
    """
    sums, counts = kernel_sums([*groups_p, *groups_q], kappa)
    return permutation_test(sums, counts, len(groups_p), n_perm, rng)


def permutation_test(
    sums: Float[Array, "g g"],
    counts: Float[Array, " g"],
    first: int,
    n_perm: int = 1000,
    rng: np.random.Generator | None = None,
) -> tuple[float, float]:
    """`mmd_permutation` from the sums over pairs of networks; the `first` ones are one side."""
    if n_perm < 1:
        raise ValueError(f"n_perm must be at least 1; got {n_perm}.")
    every = len(counts)
    if not 0 < first < every:
        raise ValueError(f"Each side needs a network; got {first} and {every - first}.")
    observed = np.arange(every) < first
    value = float(mmd2_of_sides(sums, counts, observed[None])[0])
    if math.comb(every, first) <= n_perm:
        sides = np.zeros((math.comb(every, first), every), bool)
        for row, chosen in enumerate(itertools.combinations(range(every), first)):
            sides[row, list(chosen)] = True
    else:
        rng = np.random.default_rng(0) if rng is None else rng
        sides = np.stack([observed, *(rng.permutation(observed) for _ in range(n_perm))])
    as_far = mmd2_of_sides(sums, counts, sides) >= value - 1e-12
    return value, float(as_far.mean())


def kernel_sums(
    groups: Sequence[Real[Array, "_ 2"]], kappa: float = 1.0
) -> tuple[Float[Array, "g g"], Float[Array, " g"]]:
    """Sums of the kernel over all pairs of points of two networks, and each one's points.

    Equal points are counted, not repeated: positions on a grid are few, however many neurons.
    """
    counts = np.array([len(group) for group in groups], float)
    points = np.concatenate([np.asarray(g, np.float64).reshape(-1, 2) for g in groups])
    distinct, which = np.unique(points, axis=0, return_inverse=True)
    weight = np.zeros((len(groups), len(distinct)))
    owner = np.repeat(np.arange(len(groups)), counts.astype(int))
    np.add.at(weight, (owner, which.reshape(-1)), 1.0)
    sums = np.zeros((len(groups), len(groups)))
    for start in range(0, len(distinct), 1024):
        part = distinct[start : start + 1024]
        cosines = sum(np.cos(part[:, None, i] - distinct[None, :, i]) for i in (0, 1))
        sums += weight[:, start : start + 1024] @ np.exp(kappa * (cosines - 2)) @ weight.T
    return sums, counts


def mmd2_of_sides(
    sums: Float[Array, "g g"], counts: Float[Array, " g"], sides: Bool[Array, "r g"]
) -> Float[Array, " r"]:
    """Unbiased MMD^2 for each way (row) of putting networks on two sides; k(x, x) = 1.

    Raises:
        ValueError: fewer than two points on a side.
    """
    p = sides.astype(float)
    q = 1 - p
    m, k = p @ counts, q @ counts
    if min(m.min(), k.min()) < 2:
        raise ValueError(f"MMD needs at least two points on each side; got {m[0]:g} and {k[0]:g}.")
    within = [(np.sum((s @ sums) * s, axis=1) - size) / (size * (size - 1))
              for s, size in ((p, m), (q, k))]  # fmt: skip
    return within[0] + within[1] - 2 * np.sum((p @ sums) * q, axis=1) / (m * k)


# --- Topology -------------------------------------------------------------------------------------


def betti_numbers(
    x: Real[Array, "..."],
    max_dim: int = 2,
    landmarks: int = 120,
    h1: float = 0.6,
    h2: float = 0.35,
    var: float = 0.99,
    h0: float = 0.6,
) -> tuple[tuple[int, ...], list[Float[Array, "_ 2"]]]:
    """Betti numbers (b0, b1, b2) of the set of rows of x, by Vietoris-Rips persistence.

    Rows are centred, projected on the components that hold `var` of the variance (at most 8), made
    distinct, thinned to farthest-point landmarks and scaled to mean squared radius 1. A class
    counts if it lives longer than h0, h1 or h2. Circle (1, 1, 0), disc (1, 0, 0), torus (1, 2, 1).

    Returns:
        the numbers up to max_dim, and the persistence diagrams (birth, death) in scaled units.

    Raises:
        ValueError: x is no matrix, or has fewer than four distinct rows.
        ImportError: neither ripser nor gudhi is installed.
    """
    points = _landmarks(x, landmarks, var)
    diagrams = _persistence(_distances(points), max_dim)
    longer = [np.isfinite(d[:, 1]) & (d[:, 1] - d[:, 0] > least)
              for d, least in zip(diagrams, (h0, h1, h2), strict=False)]  # fmt: skip
    counts = [int(lives.sum()) for lives in longer]
    return (1 + counts[0], *counts[1:]), diagrams


# --- Zhong et al.'s two metrics (2023) ------------------------------------------------------------


def distance_irrelevance(logits: Real[Array, "..."]) -> float:
    """q: mean over d = a - b of std over the pairs at that d, over the std of all pairs.

    Of the CORRECT logit L(a, b) = logits[a, b, a + b]. 0 where it depends on a - b alone (pizza);
    near 1 where a - b is irrelevant (clock). Deviation: the training script of Zhong et al. logs
    a column of this name from the largest wrong logit; their notebook uses the correct one.

    Returns:
        q, or NaN with a warning where all correct logits are equal.

    Raises:
        ValueError: logits are not [n, n, n].
    """
    n = _order(logits)
    if logits.shape != (n, n, n):
        raise ValueError(f"logits must be [n, n, n]; got {list(logits.shape)}.")
    a, b = np.ogrid[:n, :n]
    correct = np.asarray(logits, np.float64)[a, b, (a + b) % n]
    spread = correct.std()
    if spread <= 1e-12 * np.abs(correct).max():
        warnings.warn("All correct logits are equal: distance irrelevance is 0/0.", stacklevel=2)
        return math.nan
    d = np.arange(n)
    return float(correct[(d[:, None] + d) % n, d].std(axis=1).mean() / spread)  # [d, b]


def gradient_symmetricity(
    logit_fn: Callable[[Any, Any], Any],
    embedding: Any,
    n_triples: int = 100,
    seed: int = 0,
) -> float:
    """s: mean over triples of cos(dQ_c / dE_a, dQ_c / dE_b); 1 where both inputs act alike.

    Args:
        logit_fn: (e_a [d], e_b [d]) -> logits [n], traceable by jax; gradients are taken with
            respect to the token embeddings, before positions are added.
        embedding: [n, d]. n_triples, seed: how many (a, b, c), drawn uniformly without repetition.

    Raises:
        ValueError: n_triples is not in 1 ... n^3.
    """
    import jax
    import jax.numpy as jnp

    n = len(embedding)
    if not 1 <= n_triples <= n**3:
        raise ValueError(f"n_triples must be in 1 ... {n**3}; got {n_triples}.")
    drawn = np.random.default_rng(seed).choice(n**3, n_triples, replace=False)
    a, b, c = np.unravel_index(drawn, (n, n, n))

    def cosine(e_a: Any, e_b: Any, c: Any) -> Any:
        left, right = jax.grad(lambda x, y: logit_fn(x, y)[c], argnums=(0, 1))(e_a, e_b)
        return left @ right / (jnp.linalg.norm(left) * jnp.linalg.norm(right))

    table = jnp.asarray(embedding)
    return float(np.nanmean(jax.jit(jax.vmap(cosine))(table[a], table[b], jnp.asarray(c))))


# --- Ideal networks -------------------------------------------------------------------------------


def handbuilt_net(n: int, freqs: Sequence[int], n_phases: int, kind: Circuit) -> dict[str, Array]:
    """A network of simple neurons that adds mod n: the ideal pizza (disc) or torus circuit.

    relu(A[a] + B[b]) U with A = cos(theta_a + phi_L), B = cos(theta_b + phi_R) and
    U = cos(theta_c + phi_L + phi_R) / phases. Phases are equally spaced, equal on both sides for
    the disc (n_phases neurons a frequency), on a grid for the torus (n_phases^2). In the limit the
    logits of one frequency are cos(theta_c - theta_a - theta_b) times (2 / (3 pi))
    |cos((theta_a - theta_b) / 2)| for the disc, times 4 / (3 pi^2) for the torus.

    Returns:
        `A`, `B` [n, m], `U` [m, n], `freq`, `phi_l`, `phi_r` [m].

    Raises:
        ValueError: a frequency outside 1 ... n // 2, none at all, n_phases < 1, another kind.
    """
    if kind not in ("disc", "torus"):
        raise ValueError(f"kind must be disc or torus; got {kind!r}.")
    if n_phases < 1 or len(freqs) == 0:
        raise ValueError("A hand-built network needs at least one phase and one frequency.")
    for f in freqs:
        _check_frequency(f, n)
    turn = 2 * np.pi * np.arange(n_phases) / n_phases
    left, right = (turn, turn) if kind == "disc" else map(np.ravel, np.meshgrid(turn, turn))
    freq = np.repeat(np.asarray(freqs), len(left))
    phi_l, phi_r = np.tile(left, len(freqs)), np.tile(right, len(freqs))
    theta = 2 * np.pi * np.outer(np.arange(n), freq) / n
    return {
        "A": np.cos(theta + phi_l),
        "B": np.cos(theta + phi_r),
        "U": np.cos(theta + phi_l + phi_r).T / len(left),
        "freq": freq,
        "phi_l": phi_l,
        "phi_r": phi_r,
    }


def forward(net: Mapping[str, Array]) -> tuple[Float[Array, "n n m"], Float[Array, "n n n"]]:
    """Pre-activations and logits of a hand-built network on all pairs."""
    pre = net["A"][:, None] + net["B"][None]
    return pre, np.maximum(pre, 0) @ net["U"]


def cluster_logits(
    post: Real[Array, "n n m"], u: Real[Array, "m n"], members: Int[Array, " _"]
) -> Real[Array, "n n n"]:
    """What one cluster adds to the logits: its activations times its output weights.

    Raises:
        ValueError: the cluster is empty.
    """
    if len(members) == 0:
        raise ValueError("An empty cluster adds nothing to the logits; give at least one neuron.")
    return post[..., members] @ u[members]


# --- Below: helpers -------------------------------------------------------------------------------


def _order(table: Shaped[Array, "..."]) -> int:
    """n of an array [n, n, m]; raises ValueError if it is none, or not finite."""
    if table.ndim != 3 or table.shape[0] != table.shape[1] or table.shape[0] < 3:
        shape = list(table.shape)
        raise ValueError(f"All pairs are needed, an array [n, n, m] with n >= 3; got {shape}.")
    if not np.isfinite(table).all():
        raise ValueError("Values on the pairs must be finite; this array holds NaN or infinity.")
    return table.shape[0]


def _check_frequency(f: int, n: int) -> None:
    if not 1 <= f <= n // 2:
        raise ValueError(f"A frequency mod {n} must be in 1 ... {n // 2}; got {f}.")


def _inverses(freq: Int[Array, " m"], n: int) -> Int[Array, " m"]:
    shared = [int(f) for f in freq if math.gcd(int(f), n) > 1]
    if shared:
        raise ValueError(f"{shared[0]} and {n} have a common factor: a raw position is undefined.")
    return np.array([pow(int(f), -1, n) for f in freq], dtype=int)


def _centred(x: Array, y: Array) -> tuple[Float[Array, "rows _"], Float[Array, "rows _"]]:
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
        shapes = f"{list(x.shape)} and {list(y.shape)}"
        raise ValueError(f"Two matrices with the same number of rows are needed; got {shapes}.")
    if 0 in (*x.shape, *y.shape):
        raise ValueError("An empty cluster has no geometry; give at least one neuron.")
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    return x - x.mean(axis=0), y - y.mean(axis=0)


def _gram(x: Float[Array, "rows d"]) -> Float[Array, "k k"]:
    return x @ x.T if x.shape[0] < x.shape[1] else x.T @ x


def _distances(x: Float[Array, "rows d"]) -> Float[Array, "rows rows"]:
    norms = np.sum(x**2, axis=1)
    squares = norms[:, None] + norms - 2 * (x @ x.T)
    np.fill_diagonal(squares, 0)
    return np.sqrt(np.maximum(squares, 0))


def _correlation(d: Float[Array, "rows rows"], e: Float[Array, "rows rows"]) -> float:
    """Pearson correlation over pairs of rows; diagonals are zero and do not count."""
    pairs = len(d) * (len(d) - 1)
    means = d.sum() / pairs, e.sum() / pairs
    both, dd, ee = (np.vdot(s, t) / pairs for s, t in ((d, e), (d, d), (e, e)))
    spread = (dd - means[0] ** 2) * (ee - means[1] ** 2)
    # Equal distances leave rounding errors of about 1e-16 of the squares.
    if spread <= 1e-24 * dd * ee:
        return math.nan
    return float((both - means[0] * means[1]) / math.sqrt(spread))


def _landmarks(x: Array, k: int, var: float) -> Float[Array, "k d"]:
    """Distinct, far apart, in the leading principal components, with mean squared radius 1."""
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(f"Topology needs a matrix of points; got shape {list(x.shape)}.")
    x = np.asarray(x, np.float64) - np.mean(x, axis=0)
    values, vectors = np.linalg.eigh(x.T @ x)
    values = np.maximum(values[::-1], 0)
    share = np.cumsum(values) / max(values.sum(), 1e-300)
    keep = min(int(np.searchsorted(share, var)) + 1, 8, x.shape[1])
    points = x @ vectors[:, ::-1][:, :keep]
    points = points / max(np.sqrt(np.mean(np.sum(points**2, axis=1))), 1e-300)
    # Repeated points cost time and nothing else: on the circle 59 of 3481 are distinct.
    _, first = np.unique(np.round(points, 6), axis=0, return_index=True)
    points = points[np.sort(first)]
    if len(points) < 4:
        raise ValueError(f"Topology needs at least four distinct points; got {len(points)}.")
    chosen = [int(np.argmax(np.sum(points**2, axis=1)))]
    nearest = np.full(len(points), np.inf)
    while len(chosen) < min(k, len(points)):
        nearest = np.minimum(nearest, np.sum((points - points[chosen[-1]]) ** 2, axis=1))
        chosen.append(int(np.argmax(nearest)))
    return points[chosen] / np.sqrt(np.mean(np.sum(points[chosen] ** 2, axis=1)))


def _persistence(distances: Float[Array, "k k"], max_dim: int) -> list[Float[Array, "_ 2"]]:
    try:
        from ripser import ripser
    except ImportError:
        return _persistence_gudhi(distances, max_dim)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of scikit-learn about itself
        return ripser(distances, maxdim=max_dim, distance_matrix=True)["dgms"]


def _persistence_gudhi(distances: Float[Array, "k k"], max_dim: int) -> list[Float[Array, "_ 2"]]:
    try:
        import gudhi
    except ImportError:
        raise ImportError(
            "Betti numbers need ripser or gudhi, the extra `topology` (pip install ripser)."
        ) from None
    # Beyond the smallest eccentricity the complex is a cone and has no homology.
    radius = float(distances.max(axis=1).min())
    tree: Any = gudhi.RipsComplex(distance_matrix=distances, max_edge_length=radius)
    tree = tree.create_simplex_tree(max_dimension=1)
    tree.collapse_edges()
    tree.expansion(max_dim + 1)
    tree.compute_persistence()
    found = [tree.persistence_intervals_in_dimension(dim) for dim in range(max_dim + 1)]
    return [np.asarray(bars, np.float64).reshape(-1, 2) for bars in found]
