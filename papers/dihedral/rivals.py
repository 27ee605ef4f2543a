"""Other explanations of such networks, scored on the same weights.

    composition  irreps are composed and the logits linear in rho(a b) (Chughtai et al., 2023): the
                 share of the logits' variance that is a function of a b
    rank_one     rho-sets (Wu et al., 2025): a neuron reads x^T rho(a) y, one direction on each
                 side; median over neurons of the largest squared singular value over all of them
    coset        coset circuits (Stander et al., 2023): a neuron's left table is constant on the
                 cosets of some subgroup of two or more elements; median over neurons of the least
                 variance within cosets over the total. 0 fits, and 1 would be chance
    all_irreps   maximum margin (Morwani et al., 2024): every irrep is used; the share that is

They do not exclude each other, nor what the paper says.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from papers.dihedral import method
from papers.dihedral.circuit import View, first_labels, last_labels, placed
from papers.dihedral.subject import Subject

Array = np.ndarray


def scores(view: View, who: Subject) -> dict[str, Array]:
    """`rival_...` of the four above; NaN where one does not apply."""
    labels = first_labels(view, who)[1]
    known = np.flatnonzero(labels.irrep >= 0)
    used = np.unique(placed(last_labels(view, who), who))
    found = {
        "composition": method.class_means(view.logits, who.table)[1],
        "rank_one": np.nan,
        "coset": np.nan,
        "all_irreps": float((used > 0).sum()) / (len(who.reps) - 1),
    }
    if view.tables is not None and len(known):
        left = view.tables[0][:, known]
        found["rank_one"] = _rank_one(left, labels.irrep[known], who)
        if who.n is not None:
            found["coset"] = float(np.median(least_coset_score(left, who.n)))
    return {f"rival_{name}": np.asarray(value, float) for name, value in found.items()}


def _rank_one(left: Float[Array, "G H"], index: Array, who: Subject) -> float:
    shares = []
    for j, i in enumerate(index):
        if who.reps[i].dim > 1:
            values = np.linalg.svd(np.tensordot(who.reps[i].mats, left[:, j], (0, 0)))[1] ** 2
            shares.append(values[0] / values.sum())
    return float(np.median(shares)) if shares else float("nan")


def least_coset_score(values: Float[Array, "G H"], n: int) -> Float[Array, " H"]:
    """The least `method.coset_score` over proper subgroups of D_n and both sides."""
    total = np.maximum(values.var(0), 1e-300)
    least = np.full(values.shape[1], np.inf)
    for members in method.subgroups(n):
        if 1 < len(members) < 2 * n:
            for side in ("left", "right"):
                blocks = np.array(method.cosets(n, members, side))
                least = np.minimum(least, values[blocks].var(1).mean(0) / total)
    return least
