"""How fast networks are trained and looked at, each beside the usual way of doing it."""

from __future__ import annotations

import functools
import time
from typing import Any

from shared.bench import Contest, Entry
from shared.groups.yardstick import entry as training_entry

NEURONS, MODULUS = 256, 59
SECONDS = 1.0  # of work in one repeat


def analysis() -> Contest:
    """Frequency and R^2 of all neurons from the two additive parts, against the grid's DFT."""
    import numpy as np

    from papers.modular_crt import method
    from shared.groups.neurons import cyclic_neurons

    left, right = np.random.default_rng(0).normal(size=(2, MODULUS, NEURONS))
    found = cyclic_neurons((left, right))
    fit = method.fit_simple(left[:, None] + right)
    np.testing.assert_array_equal(found.label, fit.freq)
    np.testing.assert_allclose(found.first, fit.r2, atol=1e-10)

    def ours() -> None:
        cyclic_neurons((left, right))

    def yardstick() -> None:
        energy = method.spectrum(left[:, None] + right)
        (energy.first + energy.second).argmax(axis=0)

    return Contest(_sized(ours), _sized(yardstick))


def _sized(once: Any) -> Any:
    """Repeat `once` for about SECONDS; returns how many networks were looked at."""
    once()
    start = time.perf_counter()
    once()
    times = max(1, round(SECONDS / (time.perf_counter() - start)))

    def work(times: int) -> float:
        for _ in range(times):
            once()
        return float(times)

    return functools.partial(work, times)


ENTRIES = (
    training_entry(),
    training_entry(cores=2),
    Entry(
        f"frequency and R^2 of {NEURONS} neurons, n={MODULUS}, one core",
        "DFT of the pre-activations on all pairs",
        "networks",
        5.0,
        analysis,
    ),
)
