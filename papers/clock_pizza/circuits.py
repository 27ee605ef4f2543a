"""What one trained network looks like inside: every number of the paper, for one network.

Input is what the network returned on all n x n pairs (float64 NumPy) and its linear readout; output
are plain numbers by name. Averages over networks are taken in `analysis.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from papers.clock_pizza import method
from papers.clock_pizza.config import Config
from papers.clock_pizza.exact import annulus
from papers.clock_pizza.method import Clusters

Array = np.ndarray
Row = dict[str, float]

MANIFOLDS: tuple[method.Kind, ...] = ("disc", "torus", "circle")
R2_STEPS = (0.0, 0.5, 0.9, 0.95)
SHARE_STEPS = (0.0, 0.01, 0.02, 0.05)
BETTI_FACTORS = (0.8, 0.9, 1.1, 1.25)
"""Thresholds at which counts are taken beside the headline's, to show what depends on them."""
RSM_ROWS = 1500
"""Pairs behind an RSM similarity where there are more: 1.1 million distances."""
READOUT_SHARE = 0.99
"""The readout sees the directions that hold this share of its squared weights."""
ALIGNMENTS: dict[str, tuple[Literal["argmax", "centroid"], bool]] = {
    "argmax": ("argmax", True),
    "raw": ("argmax", False),
    "centroid": ("centroid", True),
}
"""Estimators of where a neuron responds most, and whether positions are remapped."""
EXAMPLE_POINTS = 150
EXAMPLE_BARS = 30


@dataclass(frozen=True)
class Network:
    """A network on all pairs; `logits` are relu(pre) @ out plus what does not depend on pre."""

    pre: Float[Array, "n n m"]
    out: Float[Array, "m n"]
    logits: Float[Array, "n n n"]

    @property
    def order(self) -> int:
        """n."""
        return len(self.pre)

    @property
    def post(self) -> Float[Array, "n n m"]:
        """Activations."""
        return np.maximum(self.pre, 0)


def major(clusters: Clusters, share: float) -> list[int]:
    """Frequencies with at least 3 neurons and `share` of the alive ones, largest cluster first."""
    least = max(3, share * clusters.alive.sum())
    sizes = {f: len(members) for f, members in clusters.members.items() if len(members) >= least}
    return sorted(sizes, key=lambda f: (-sizes[f], f))


def count_table(clusters: Clusters) -> Float[Array, "r2 shares"]:
    """Number of frequencies, at every R^2 that a neuron must have and share a cluster must have.

    A share of 0 counts any neuron; the others ask for at least three.
    """
    alive = int(clusters.alive.sum())
    rows = []
    for r2 in R2_STEPS:
        kept = clusters.freq[clusters.alive & (clusters.r2 >= r2)]
        sizes = np.bincount(kept, minlength=1)
        rows.append([float(np.sum(sizes >= (max(3, share * alive) if share else 1)))
                     for share in SHARE_STEPS])  # fmt: skip
    return np.asarray(rows)


# --- One cluster ----------------------------------------------------------------------------------


def describe_cluster(net: Network, clusters: Clusters, f: int) -> Row:
    """Geometry of one cluster before the ReLU and of its logits."""
    n, members = net.order, clusters.members[f]
    x = net.pre[..., members].reshape(n * n, -1)
    own = method.cluster_logits(net.post, net.out, members)
    ideal = {kind: method.reference(n, f, kind) for kind in MANIFOLDS}
    phi = method.phases(net.pre[..., members], f)
    row: Row = {
        "f": float(f),
        "size": float(len(members)),
        "r2": float(clusters.r2[members].mean()),
        "second": float((clusters.r2_order2 - clusters.r2)[members].mean()),
        "rho": method.phase_coherence(phi.phi_l, phi.phi_r),
        "hole": annulus(own, f),
    }
    shares = variance_shares(x)
    row |= {"pc2": float(shares[:2].sum()), "pc4": float(shares[:4].sum())}
    row |= _similarities("pre", x, ideal)
    row |= _similarities("logits", own.reshape(n * n, n), ideal)
    row |= _seen_by_readout(x, net.out[members], ideal)
    return row | _shuffled(phi, n, f, ideal)


def _similarities(where: str, x: Float[Array, "pairs d"], ideal: dict[str, Array]) -> Row:
    rows = slice(None)
    if len(x) > RSM_ROWS:
        rows = np.random.default_rng(0).choice(len(x), RSM_ROWS, replace=False)
    found = {f"{where}_cka_{kind}": method.linear_cka(x, ref) for kind, ref in ideal.items()}
    for kind in ("disc", "torus") if where == "pre" else ("circle",):
        found[f"{where}_rsm_{kind}"] = method.rsm(x[rows], ideal[kind][rows])
    return found


def _seen_by_readout(
    x: Float[Array, "pairs m"], out: Float[Array, "m n"], ideal: dict[str, Array]
) -> Row:
    """The cluster in the directions of its output weights alone (a referee's objection).

    A small part of the variance might be all that the readout uses: its share, and its shape.
    """
    left, values, _ = np.linalg.svd(out - out.mean(axis=1, keepdims=True), full_matrices=False)
    energy = np.cumsum(values**2) / max(np.sum(values**2), 1e-300)
    keep = int(np.searchsorted(energy, READOUT_SHARE)) + 1
    seen = (x - x.mean(axis=0)) @ left[:, :keep]
    share = np.sum(seen**2) / np.sum((x - x.mean(axis=0)) ** 2)
    row: Row = {"seen_share": float(share), "seen_directions": float(keep)}
    return row | {
        f"seen_{kind}": method.linear_cka(seen, ideal[kind]) for kind in ("disc", "circle")
    }


def _shuffled(phi: method.Phases, n: int, f: int, ideal: dict[str, Array]) -> Row:
    """Control: the fitted sinusoids with right-hand phases dealt out anew. A disc turns torus."""
    order = np.random.default_rng(f).permutation(len(phi.phi_l))
    theta = (2 * np.pi * f * np.arange(n) / n)[:, None]
    left = phi.amp_l * np.cos(theta + phi.phi_l)
    right = (phi.amp_r * np.cos(theta + phi.phi_r))[:, order]
    x = (left[:, None] + right[None]).reshape(n * n, -1)
    return {f"shuffled_{kind}": method.linear_cka(x, ideal[kind]) for kind in ("disc", "torus")}


def variance_shares(x: Float[Array, "pairs d"]) -> Float[Array, " d"]:
    """Shares of the variance of the principal components, descending."""
    x = x - x.mean(axis=0)
    values = np.maximum(np.linalg.eigvalsh(x.T @ x)[::-1], 0)
    return values / max(values.sum(), 1e-300)


def topology(x: Float[Array, "pairs d"], config: Config) -> tuple[Row, list[Array]]:
    """Betti numbers, and the share of threshold changes (`BETTI_FACTORS`) that leave them alone."""
    betti, bars = method.betti_numbers(x, landmarks=config.landmarks)
    same = [recount(bars, factor) == betti for factor in BETTI_FACTORS]
    row: Row = {f"b{dim}": float(count) for dim, count in enumerate(betti)}
    return row | {"stable": float(np.mean(same))}, bars


def recount(bars: Sequence[Float[Array, "_ 2"]], factor: float) -> tuple[int, ...]:
    """Betti numbers of the same diagrams with all thresholds times `factor`."""
    lives = [d[np.isfinite(d[:, 1])] for d in bars]
    least = np.array([0.6, 0.6, 0.35]) * factor
    counts = [int(np.sum(d[:, 1] - d[:, 0] > t)) for d, t in zip(lives, least, strict=True)]
    return (1 + counts[0], *counts[1:])


def too_small(size: int, r2: float, config: Config) -> str:
    """Why a cluster is no matter for topology, in one sentence; empty where it is."""
    if size < config.topology_neurons:
        least = config.topology_neurons
        return f"{size} neurons are too few for topology, which needs at least {least}."
    if r2 < config.topology_r2:
        return f"A mean R^2 of {r2:.3f} is too rough for topology (at least {config.topology_r2})."
    return ""


# --- A whole network ------------------------------------------------------------------------------


def frame(pre: Float[Array, "n n m"], config: Config) -> Row:
    """One look at a circuit in training; all numbers finite, 0 where there is no cluster yet."""
    n, clusters = len(pre), method.cluster_by_frequency(pre, config.alive)
    alive = clusters.alive
    found = major(clusters, config.major_share)
    row: Row = {
        "clusters": float(len(found)),
        "alive": float(alive.mean()),
        "first": float(clusters.r2[alive].mean()) if alive.any() else 0.0,
        "second": float((clusters.r2_order2 - clusters.r2)[alive].mean()) if alive.any() else 0.0,
        "disc": 0.0,
        "torus": 0.0,
    }
    sizes = np.array([len(clusters.members[f]) for f in found], float)
    for kind in ("disc", "torus") if found else ():
        values = [
            method.linear_cka(
                pre[..., clusters.members[f]].reshape(n * n, -1), method.reference(n, f, kind)
            )
            for f in found
        ]
        row[kind] = float(np.average(values, weights=sizes))
    return row


def summary(net: Network, clusters: Clusters, config: Config) -> dict[str, Array]:
    """Numbers of the network as a whole, each an array of its own shape."""
    n, alive = net.order, clusters.alive
    pre = net.pre[..., alive]
    found: dict[str, object] = {
        "alive": alive.sum(),
        "clusters": len(major(clusters, config.major_share)),
        "counts": count_table(clusters),
        "irrelevance": method.distance_irrelevance(net.logits),
        "sum_share": _sum_share(net.logits),
    }
    if alive.any():
        second = (clusters.r2_order2 - clusters.r2)[alive]
        found |= {
            "r2": clusters.r2[alive].mean(),
            "r2_median": np.median(clusters.r2[alive]),
            "second": second.mean(),
            "mixed": np.mean(_mixed(pre).var(axis=(0, 1)) / pre.var(axis=(0, 1))),
        }
    found |= _alignment(pre, clusters.freq[alive], n)
    found |= _ablations(net, clusters)
    return {name: np.asarray(value, np.float64) for name, value in found.items()}


def _sum_share(logits: Float[Array, "n n n"]) -> float:
    """Share of the logits' variance over pairs that depends on a + b alone (1: ideal clock)."""
    n = len(logits)
    s, b = np.arange(n)[:, None], np.arange(n)
    means = logits[(s - b) % n, b].mean(axis=1)  # [s, c]
    total = np.var(logits.reshape(n * n, n), axis=0).sum()
    return float(np.var(means, axis=0).sum() / total) if total > 0 else np.nan


def _mixed(pre: Float[Array, "n n m"]) -> Float[Array, "n n m"]:
    """What is left of pre when its additive part (both main effects) is taken out."""
    return pre - pre.mean(axis=0) - pre.mean(axis=1, keepdims=True) + pre.mean(axis=(0, 1))


def _alignment(pre: Float[Array, "n n m"], freq: Int[Array, " m"], n: int) -> dict[str, object]:
    """PAD points of all alive neurons: histograms on the torus, distances to the line a = b."""
    half = n // 2 + 1
    found: dict[str, object] = {}
    coprime = np.gcd(freq, n) == 1
    for name, (estimator, remap) in ALIGNMENTS.items():
        points = method.pad_points(pre, freq, estimator, remap)
        distance = method.torus_distance(points, n) if len(points) else np.empty(0)
        cells = np.rint(points).astype(int) % n
        counts = np.zeros((n, n))
        np.add.at(counts, (cells[:, 0], cells[:, 1]), 1.0)
        found[f"pad_{name}"] = counts
        places = np.minimum(np.rint(distance).astype(int), half - 1)
        found[f"distances_{name}"] = np.bincount(places, minlength=half).astype(float)
        found[f"distance_{name}"] = distance.mean() if len(distance) else np.nan
        found[f"within2_{name}"] = np.mean(distance <= 2) if len(distance) else np.nan
    del found["pad_raw"]
    found["coprime"] = coprime.mean() if len(coprime) else np.nan
    return found


def _ablations(net: Network, clusters: Clusters) -> dict[str, object]:
    """Accuracy on all pairs when parts of the pre-activations are taken out, all else kept.

    `accuracy_second` loses the second order at each neuron's frequency, `accuracy_mixed` everything
    that is not additive, `accuracy_first` the first order at each neuron's frequency.
    """
    first, second = (_order_part(net.pre, clusters.freq, order) for order in (1, 2))
    found: dict[str, object] = {"accuracy": _accuracy(net.logits)}
    for name, part in (("second", second), ("mixed", _mixed(net.pre)), ("first", first)):
        change = np.maximum(net.pre - part, 0) - net.post
        found[f"accuracy_{name}"] = _accuracy(net.logits + change @ net.out)
    return found


def _order_part(
    pre: Float[Array, "n n m"], freq: Int[Array, " m"], order: int
) -> Float[Array, "n n m"]:
    """The part of each neuron in the Fourier bins of first or second order at its frequency."""
    n, neurons = len(pre), np.arange(len(freq))
    bins = np.fft.fft2(pre, axes=(0, 1))
    kept = np.zeros_like(bins)
    places = ((1, 0), (0, 1)) if order == 1 else ((1, 1), (1, -1))
    for u, v in places:
        for sign in (1, -1):
            at = (sign * u * freq % n, sign * v * freq % n, neurons)
            kept[at] = bins[at]
    return np.fft.ifft2(kept, axes=(0, 1)).real


def _accuracy(logits: Float[Array, "n n n"]) -> float:
    n = len(logits)
    return float(np.mean(logits.argmax(axis=2) == np.add.outer(np.arange(n), np.arange(n)) % n))


def activity(net: Network, clusters: Clusters, found: Sequence[int]) -> dict[str, Array]:
    """Activations summed over a cluster, in remapped positions: the paper's heat map.

    Returns:
        `heat` [n, n] of the largest cluster, largest value 1; `profile` [n // 2 + 1], the mean at
        each distance abs(a - b) over all of `found`, weighted by size, first value 1.
    """
    n, half = net.order, net.order // 2 + 1
    heat, profile, total = np.full((n, n), np.nan), np.zeros(half), 0
    gap = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    gap = np.minimum(gap, n - gap)
    counts = np.bincount(gap.ravel(), minlength=half)
    for rank, f in enumerate(found):
        members = clusters.members[f]
        places = f * np.arange(n) % n  # where the remap puts each residue
        summed = np.zeros((n, n))
        np.add.at(summed, np.ix_(places, places), net.post[..., members].sum(axis=2))
        near = np.bincount(gap.ravel(), summed.ravel(), half) / counts
        profile += len(members) * near / max(near[0], 1e-300)
        total += len(members)
        if rank == 0:
            heat = summed / max(summed.max(), 1e-300)
    return {"heat": heat, "profile": profile / total if total else np.full(half, np.nan)}


def random_cluster(net: Network, clusters: Clusters, found: Sequence[int]) -> Row:
    """Control: as many random alive neurons as the largest cluster has, taken for that cluster."""
    if not found:
        return {"random_disc": np.nan, "random_torus": np.nan}
    n, f = net.order, found[0]
    alive = np.flatnonzero(clusters.alive)
    size = min(len(clusters.members[f]), len(alive))
    chosen = np.random.default_rng(0).choice(alive, size, replace=False)
    x = net.pre[..., chosen].reshape(n * n, -1)
    return {f"random_{kind}": method.linear_cka(x, method.reference(n, f, kind))
            for kind in ("disc", "torus")}  # fmt: skip


def example(net: Network, clusters: Clusters, f: int) -> dict[str, Array]:
    """Three principal components of the largest cluster and its logits, at some of the pairs."""
    n, members = net.order, clusters.members[f]
    pairs = np.random.default_rng(0).choice(n * n, min(EXAMPLE_POINTS, n * n), replace=False)
    own = method.cluster_logits(net.post, net.out, members)
    found = {"example_sum": f * (pairs // n + pairs % n) % n * 1.0}
    for name, x in (("pre", net.pre[..., members]), ("logits", own)):
        x = x.reshape(n * n, -1) - x.reshape(n * n, -1).mean(axis=0)
        vectors = np.linalg.eigh(x.T @ x)[1][:, ::-1][:, :3]
        points = x @ vectors
        padded = np.zeros((n * n, 3))
        padded[:, : points.shape[1]] = points / max(points.std(axis=0)[0], 1e-300)
        found[f"example_{name}"] = padded[pairs]
    return found


def longest_bars(diagrams: Sequence[Float[Array, "_ 2"]]) -> Float[Array, "bars 3"]:
    """The longest bars of all dimensions as (dimension, birth, death), padded with NaN."""
    rows = [[dim, *bar] for dim, bars in enumerate(diagrams) for bar in bars if np.isfinite(bar[1])]
    table = np.array(sorted(rows, key=lambda bar: bar[1] - bar[2]) or np.empty((0, 3)), float)
    padded = np.full((EXAMPLE_BARS, 3), np.nan)
    padded[: len(table)] = table[:EXAMPLE_BARS]
    return padded
