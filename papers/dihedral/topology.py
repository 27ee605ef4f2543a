"""Betti numbers of clusters: how many circles there are in what a cluster writes.

The class means of a Cayley graph of D_n' are two circles, rotations and reflections, in planes at
right angles: (b0, b1, b2) = (2, 2, 0). Those of a cycle of cosets are one circle, (1, 1, 0). Single
contributions C_k(a, b), which the official code looks at, depend on more than the answer, and fill
these circles.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from papers.dihedral import method
from papers.dihedral.circuit import View, last_labels, placed
from papers.dihedral.subject import Subject
from shared.experiment.errors import MissingExtra

Array = np.ndarray
LEAST_PERIOD = 8  # n' below which the edges are so long that a circle leaves no long bar


def scores(view: View, who: Subject, pairs: bool) -> dict[str, Array]:
    """`betti` [irreps, 3] of the class means of each 2-D cluster, `betti_pairs` of contributions.

    NaN where there is no such cluster, n' is small, the engine is not installed, or, for the
    contributions, `pairs` is off: they take a second each.
    """
    from shared.groups.topology import Recipe

    found = {name: np.full((len(who.reps), 3), np.nan) for name in ("betti", "betti_pairs")}
    irrep = placed(last_labels(view, who), who)
    for i, rho in enumerate(who.reps):
        neurons = np.flatnonzero(irrep == i)
        if who.n is None or rho.freq is None or len(neurons) == 0:
            continue
        _, period, _ = method.step_size(rho.freq, who.n)
        if period < LEAST_PERIOD:
            continue
        part = view.post[..., neurons] @ view.out[neurons]
        means, _ = method.class_means(part, who.table)
        # Vertices of a short cycle are far apart: a component is what stays alone longer than that.
        found["betti"][i] = _numbers(means, Recipe(h0=1.0, least_points=LEAST_PERIOD))
        if pairs:
            rows = part.reshape(-1, part.shape[-1])
            found["betti_pairs"][i] = _numbers(rows - rows.mean(1, keepdims=True), Recipe())
    return found


def _numbers(points: Float[Array, "p d"], recipe: object) -> Float[Array, " 3"]:
    from shared.groups.topology import Recipe, betti

    assert isinstance(recipe, Recipe)
    try:
        return np.array(betti(points, recipe).numbers, float)
    except MissingExtra:
        return np.full(3, np.nan)
