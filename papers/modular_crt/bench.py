"""How fast networks are trained to a settled circuit and looked at, beside the usual way."""

from __future__ import annotations

import functools
import time
from typing import Any

from shared.bench import Contest, Entry
from shared.groups import yardstick

NEURONS, MODULUS = yardstick.WIDTH, yardstick.ORDER
LEAST_R2 = 0.97  # median over alive neurons; below it a circuit is not settled
SECONDS = 1.0  # of work in one repeat


def circuits() -> Contest:
    """Two networks at once, a core each, against PyTorch with two threads.

    Both sides train 1500 updates first: 100 % of the test pairs, and settled circuits.
    """
    import numpy as np

    from shared.groups.neurons import cyclic_neurons

    contest = yardstick.two_cores()
    for layer in yardstick.check_quality():
        neurons = cyclic_neurons(layer)
        assert float(np.median(neurons.first[neurons.alive])) >= LEAST_R2
    return contest


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

    def usual() -> None:
        energy = method.spectrum(left[:, None] + right)
        (energy.first + energy.second).argmax(axis=0)

    return Contest(_sized(ours), _sized(usual))


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
    Entry(
        f"networks to a settled circuit ({yardstick.STEPS} updates each), embedded MLP, "
        f"n={MODULUS}, d={yardstick.EMBED}, m={NEURONS}, two cores",
        "PyTorch, one full-batch loop, 2 threads",
        "updates",
        6.0,
        circuits,
        cores=2,
    ),
    yardstick.entry(),
    Entry(
        f"frequency and R^2 of {NEURONS} neurons, n={MODULUS}, one core",
        "DFT of the pre-activations on all pairs",
        "networks",
        5.0,
        analysis,
    ),
)
