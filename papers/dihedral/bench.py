"""How fast a network's neurons find their irreps, beside the transform on pairs that defines them.

The yardstick is the definition, one irrep of each input at a time: the coefficient of f(a, b) at
(rho, sigma) is sum_{a, b} f(a, b) rho(a) (x) sigma(b), for all neurons at once. Ours uses that an
additive layer lies on the axes, so that two tables of the group are transformed instead of its
square; for any other layer, that the transform is a product of two matrices.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

from shared.bench import Contest, Entry

N, NEURONS = 18, 128
SECONDS = 1.0  # of work in one repeat


def _by_definition(pre: Any, reps: Any) -> Any:
    """Energy [irreps, irreps, neurons]: every pair of irreps by its own sum over pairs."""
    import numpy as np

    order = len(pre)
    found = np.empty((len(reps), len(reps), pre.shape[-1]))
    for i, rho in enumerate(reps):
        for j, sigma in enumerate(reps):
            both = np.einsum("abh,aij,bkl->ijklh", pre, rho.mats, sigma.mats, optimize=True)
            weight = rho.dim * sigma.dim / order**2
            found[i, j] = weight * (both**2).sum((0, 1, 2, 3))
    return found


def _contest(additive: bool) -> Contest:
    import numpy as np

    from papers.dihedral import method

    rng, reps = np.random.default_rng(0), method.irreps(N)
    left, right = rng.normal(size=(2, 2 * N, NEURONS))
    pre = left[:, None] + right
    slow = _by_definition(pre, reps)
    if additive:
        fast = method.table_energies(left, right, reps)
        np.testing.assert_allclose(fast.left[1:], slow[1:, 0], rtol=1e-8)
        np.testing.assert_allclose(fast.right[1:], slow[0, 1:], rtol=1e-8)
        ours = functools.partial(method.table_energies, left, right, reps)
    else:
        np.testing.assert_allclose(method.gft2(pre, reps), slow, rtol=1e-8, atol=1e-8)
        ours = functools.partial(method.gft2, pre, reps)
    return Contest(_sized(ours), _sized(functools.partial(_by_definition, pre, reps)))


def _sized(work: Callable[[], Any]) -> Callable[[], float]:
    """`work` as often as takes about SECONDS; returns how many neurons it labelled."""
    start, times = time.perf_counter(), 0
    while time.perf_counter() - start < SECONDS / 4:
        work()
        times += 1
    many = max(1, 4 * times)

    def run() -> float:
        for _ in range(many):
            work()
        return float(many * NEURONS)

    return run


_DEFINITION = "the transform on pairs by its definition, irrep by irrep, NumPy"
ENTRIES = (
    Entry(f"irreps of {NEURONS} neurons, additive layer, D_{N}", _DEFINITION, "neurons", 20.0,
          functools.partial(_contest, True)),
    Entry(f"irreps of {NEURONS} neurons, any layer, D_{N}", _DEFINITION, "neurons", 3.0,
          functools.partial(_contest, False)),
)  # fmt: skip
