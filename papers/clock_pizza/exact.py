"""The paper's statements about ideal clusters, and every metric on ideal networks.

No training: these are Theorem 4.1, the projection from torus to disc, Remark 4.2, and the positive
controls of similarity, phase alignment and topology.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from papers.clock_pizza import method, oracle

Array = np.ndarray


def theorem(n: int, neurons: int = 20, draws: int = 20) -> dict[str, Array]:
    """Theorem 4.1 and Remark 4.2 on random clusters of simple neurons, `draws` at each phase law.

    Returns:
        for `disc` (equal phases) and `torus` (independent ones) [draws]: `rank`, `residual` (norm
        of what the reference does not explain, relative), `circle` (CKA with the circle);
        `fewest/rank` [4], the ranks of 2, 3, 4 and 5 neurons with independent phases;
        `projection`, the largest entry of V_disc - V_torus P.
    """
    rng = np.random.default_rng(0)
    found: dict[str, list[float]] = {}
    kinds: tuple[method.Circuit, ...] = ("disc", "torus")
    for _ in range(draws):
        f = int(rng.integers(1, n // 2 + 1))
        left, right = rng.uniform(0, 2 * np.pi, (2, neurons))
        circle = method.reference(n, f, "circle")
        for kind, other in zip(kinds, (left, right), strict=True):
            x = _cluster(n, f, left, other)
            ideal = method.reference(n, f, kind)
            weights = np.linalg.lstsq(ideal, x, rcond=None)[0]
            residual = np.linalg.norm(x - ideal @ weights) / np.linalg.norm(x)
            rank = np.linalg.matrix_rank(x, tol=1e-9 * np.linalg.norm(x))
            row = {"rank": rank, "residual": residual, "circle": method.linear_cka(x, circle)}
            for name, value in row.items():
                found.setdefault(f"{kind}/{name}", []).append(float(value))
    few = [_cluster(n, 1, *rng.uniform(0, 2 * np.pi, (2, m))) for m in (2, 3, 4, 5)]
    projection = np.array([[1, 0, 1, 0], [0, 1, 0, 1]]).T
    gap = method.reference(n, 1, "disc") - method.reference(n, 1, "torus") @ projection
    return {name: np.asarray(values) for name, values in found.items()} | {
        "fewest/rank": np.array([float(np.linalg.matrix_rank(x)) for x in few]),
        "projection": np.asarray(np.abs(gap).max()),
    }


def coherence(n: int, neurons: int = 400) -> dict[str, Array]:
    """CKA with disc and torus against phase coherence: simulated clusters, and the closed form."""
    rng = np.random.default_rng(1)
    left, noise = rng.uniform(0, 2 * np.pi, neurons), rng.normal(size=neurons)
    sigmas = np.array([0.0, 0.3, 0.6, 0.9, 1.2, 1.6, 2.0, 3.0])
    refs = [method.reference(n, 1, kind) for kind in ("disc", "torus")]
    rows = [[method.linear_cka(_cluster(n, 1, left, left + s * noise), ref) for ref in refs]
            for s in sigmas]  # fmt: skip
    rho = [method.phase_coherence(left, left + s * noise) for s in sigmas]
    grid = np.linspace(0, 1, 41)
    return {
        "rho": np.asarray(rho),
        "cka": np.asarray(rows).T,
        "grid": grid,
        "closed": np.round([np.asarray(x) for x in oracle.similarity_from_coherence(grid)], 5),
    }


IDEAL: tuple[tuple[method.Circuit, int], ...] = (("disc", 16), ("torus", 5))
"""Hand-built networks, kind and phases: the ideal pizza, and the ideal MLP-Concat."""


def ideal_networks(n: int, topology: bool, landmarks: int) -> dict[str, Array]:
    """Every metric on hand-built networks with three frequencies: what a perfect circuit gives.

    Returns:
        by name [kind]: accuracy, least_margin, irrelevance, hole, cka/<where>_<manifold>; with
        `topology` also betti/pre, betti/logits [kind, 3] and betti/<manifold> [3] of references.
    """
    freqs = sorted({1 + n // 12, n // 5, n // 3})
    found: dict[str, list[object]] = {}
    for kind, phases in IDEAL:
        net = method.handbuilt_net(n, freqs, phases, kind)
        pre, logits = method.forward(net)
        f = freqs[0]
        members = np.flatnonzero(net["freq"] == f)
        x = pre[..., members].reshape(n * n, -1)
        own = method.cluster_logits(np.maximum(pre, 0), net["U"], members).reshape(n * n, n)
        row: dict[str, object] = ideal_scores(logits)
        row |= {
            "irrelevance": method.distance_irrelevance(logits),
            "hole": annulus(own.reshape(n, n, n), f),
        }
        for manifold in ("disc", "torus", "circle"):
            ideal = method.reference(n, f, manifold)
            row[f"cka/pre_{manifold}"] = method.linear_cka(x, ideal)
            row[f"cka/logits_{manifold}"] = method.linear_cka(own, ideal)
        if topology:
            row["betti/pre"] = method.betti_numbers(x, landmarks=landmarks)[0]
            row["betti/logits"] = method.betti_numbers(own, landmarks=landmarks)[0]
        for name, value in row.items():
            found.setdefault(name, []).append(value)
    arrays = {name: np.asarray(values, np.float64) for name, values in found.items()}
    if topology:
        for manifold in ("disc", "torus", "circle"):
            betti, _ = method.betti_numbers(
                method.reference(n, 1, manifold), landmarks=max(landmarks, 80)
            )
            arrays[f"betti/{manifold}"] = np.asarray(betti, np.float64)
    return arrays


def ideal_scores(logits: Float[Array, "n n n"]) -> dict[str, object]:
    """Share of right answers, and the least lead of the right logit over the best wrong one."""
    n = len(logits)
    a, b = np.ogrid[:n, :n]
    others = logits.copy()
    others[a, b, (a + b) % n] = -np.inf
    lead = logits[a, b, (a + b) % n] - others.max(axis=-1)
    return {"accuracy": np.mean(lead > 0), "least_margin": lead.min()}


def annulus(logits: Float[Array, "n n n"], f: int) -> float:
    """Hole of a cluster's logits: the least radius of their component at f over the largest.

    z(a, b) = sum_c logits[a, b, c] e^{-i theta_c}: its angle is theta_a + theta_b and its size the
    radius of the annulus at (a, b), averaged here over the pairs with equal a - b.
    """
    n = len(logits)
    z = logits @ np.exp(-2j * np.pi * f * np.arange(n) / n)
    turn = np.exp(-2j * np.pi * f * np.add.outer(np.arange(n), np.arange(n)) / n)
    d, b = np.arange(n)[:, None], np.arange(n)
    radius = np.abs(np.mean((z * np.conj(turn))[(d + b) % n, b], axis=1))
    top = radius.max()
    return float(radius.min() / top) if top > 0 else np.nan


def _cluster(
    n: int, f: int, phi_l: Float[Array, " m"], phi_r: Float[Array, " m"]
) -> Float[Array, "pairs m"]:
    theta = (2 * np.pi * f * np.arange(n) / n)[:, None]
    pre = np.cos(theta + phi_l)[:, None] + np.cos(theta + phi_r)[None]
    return pre.reshape(n * n, -1)
