"""What the figures show of one network: three clusters as points, three neurons as heat maps.

Slots, on D_n: the largest cluster on approximate cosets, the largest on cosets, the largest of a
1-D irrep. On any other group: the three largest. NaN where there is none.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from papers.dihedral import circuit, method
from papers.dihedral.circuit import View
from papers.dihedral.oracle import kind
from papers.dihedral.subject import Subject

Array = np.ndarray
SLOTS = ("approximate", "coset", "line")
CLOUD = 180  # pairs whose contributions are drawn behind the class means


def shown(view: View, who: Subject) -> dict[str, Array]:
    """`show_irrep` [3], `show_points` [3, G, 3], `show_cloud` [3, pairs, 3], `show_spread` [3],
    `show_neuron` [3, G, G], `show_power` [3, irreps, irreps]; of the first slot `show_pca`
    [pairs, 3], the principal components of all contributions, `show_ratio` [3], their shares of
    the variance, and `show_pairs` [pairs, 2], which a and b."""
    order, many = who.group.order, len(who.reps)
    cloud = min(CLOUD, order * order)
    found = {
        "show_irrep": np.full(3, -1.0),
        "show_points": np.full((3, order, 3), np.nan),
        "show_cloud": np.full((3, cloud, 3), np.nan),
        "show_spread": np.full(3, np.nan),
        "show_neuron": np.full((3, order, order), np.nan),
        "show_power": np.full((3, many, many), np.nan),
        "show_pca": np.full((cloud, 3), np.nan),
        "show_ratio": np.full(3, np.nan),
        "show_pairs": np.stack(np.divmod(_picked(order), order), 1).astype(float),
    }
    labels = circuit.last_labels(view, who)
    irrep = circuit.placed(labels, who)
    for slot, i in enumerate(_chosen(irrep, who)):
        if i < 0:
            continue
        neurons = np.flatnonzero(irrep == i)
        part = view.post[..., neurons] @ view.out[neurons]
        found["show_irrep"][slot] = i
        points, raw, spread = coordinates(part, i, who)
        found["show_points"][slot], found["show_cloud"][slot] = points, raw[_picked(order)]
        found["show_spread"][slot] = spread
        best = neurons[int(labels.share[neurons].argmax())]
        pre = view.last[..., best]
        found["show_neuron"][slot] = pre / np.abs(pre).max()
        power = method.gft2(pre[..., None], who.reps)[..., 0]
        power[0, 0] = 0
        found["show_power"][slot] = power / power.sum()
        if slot == 0:
            found["show_pca"], found["show_ratio"] = principal(part)
    return found


def _picked(order: int) -> Int[Array, " pairs"]:
    """Which pairs are drawn: evenly spread over all, a and b both."""
    every = order * order
    return np.sort(np.arange(min(CLOUD, every)) * 7919 % every)


def principal(part: Float[Array, "G G G"]) -> tuple[Float[Array, "pairs 3"], Float[Array, " 3"]]:
    """Three principal components of a cluster's contributions at the drawn pairs; their shares."""
    flat = part.reshape(-1, part.shape[-1])
    flat = flat - flat.mean(0)
    flat = flat - flat.mean(1, keepdims=True)
    values, axes = np.linalg.eigh(flat.T @ flat)
    best = axes[:, ::-1][:, :3]
    ratio = values[::-1][:3] / max(float(values.sum()), 1e-300)
    return (flat @ best)[_picked(len(part))], ratio


def _chosen(irrep: Int[Array, " H"], who: Subject) -> list[int]:
    size = np.bincount(irrep[irrep >= 0], minlength=len(who.reps))
    if who.n is None:
        largest = np.argsort(-size, kind="stable")[:3]
        return [int(i) if size[i] else -1 for i in largest]
    kinds = np.array([kind(name, who.n) for name in who.names])
    found = []
    for slot in SLOTS:
        inside = np.where((kinds == slot) & (np.arange(len(size)) > 0), size, 0)
        found.append(int(inside.argmax()) if inside.max() else -1)
    return found


def coordinates(
    part: Float[Array, "G G G"], i: int, who: Subject
) -> tuple[Float[Array, "G 3"], Float[Array, "pairs 3"], float]:
    """Class means of a cluster in few coordinates, the contributions of all pairs in the same ones,
    and the share of the class means' variance that these show.

    2-D on D_n: the two principal components of the rotations, and those of the reflections; the
    third coordinate is 0. An irrep of three dimensions: y(c) = sum_x M(c)[x] rho(x) w, which is
    rho(c) w if M(c)[x] is chi(c^{-1} x); w is the point that its orbit leaves most room. Else three
    principal components.
    """
    centred = part - part.mean((0, 1))
    centred = centred - centred.mean(-1, keepdims=True)
    means, _ = method.class_means(part, who.table)
    order = who.group.order
    raw = centred.reshape(-1, order)
    total = max(float((means**2).sum()), 1e-300)
    rho = who.reps[i]
    if who.n is not None and rho.dim == 2:
        points, cloud, seen = np.zeros((order, 3)), np.zeros((order * order, 3)), 0.0
        answer = who.table.reshape(-1)
        for half in (np.arange(who.n), np.arange(who.n, order)):
            middle = means[half].mean(0)
            axes = np.linalg.svd(means[half] - middle, full_matrices=False)[2][:2]
            points[half, :2] = (means[half] - middle) @ axes.T
            mine = answer >= who.n if half[0] else answer < who.n
            cloud[mine, :2] = (raw[mine] - middle) @ axes.T
            seen += float((points[half] ** 2).sum()) + len(half) * float((middle**2).sum())
        return points, cloud, seen / total
    if rho.dim == 3 and rho.commutant == 1:
        axes = (rho.mats @ roomy_point(rho)).T
        axes = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    else:
        axes = np.linalg.svd(means, full_matrices=False)[2][:3]
        axes = np.concatenate([axes, np.zeros((3 - len(axes), order))])
    points = means @ axes.T
    return points, raw @ axes.T, float((points**2).sum()) / total


def roomy_point(rho: method.Irrep) -> Float[Array, " 3"]:
    """The unit vector, of 4000 random ones, whose images under rho lie farthest apart."""
    tries = np.random.default_rng(0).normal(size=(4000, rho.dim))
    tries /= np.linalg.norm(tries, axis=1, keepdims=True)
    moved = np.einsum("gij,tj->tgi", rho.mats, tries) - tries[:, None]
    outside = np.ones(len(rho.mats), bool)
    outside[rho.kernel] = False
    return tries[int((moved**2).sum(-1)[:, outside].min(1).argmax())]


def edges_of(i: int, who: Subject) -> Int[Array, "edges 2"]:
    """Edges of the Cayley graph of an irrep's cluster, between least elements of kernel cosets.

    x to the x s that rho moves least (on D_n, among those of the same type; for a 1-D irrep, all).
    """
    rho, table = who.reps[i], who.table
    blocks = table[:, rho.kernel].min(1)
    chi = rho.character.copy()
    chi[rho.kernel] = -np.inf
    if who.rotations is not None and rho.dim > 1:
        chi[~who.rotations] = -np.inf
    steps = np.flatnonzero(chi > chi.max() - 1e-6)
    pairs = np.stack([np.repeat(blocks, len(steps)), blocks[table[:, steps]].ravel()], 1)
    return np.unique(np.sort(pairs, axis=1), axis=0)
