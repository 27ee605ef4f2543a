"""What needs no training: the network written down by hand, and how many irreps are enough."""

from __future__ import annotations

import math

import numpy as np

from papers.dihedral import circuit, method, oracle
from papers.dihedral.subject import subject

Array = np.ndarray

SETS = (
    (18, ("rp", "2D_4", "2D_5", "2D_6")),
    (17, ("2D_3", "2D_4", "2D_5")),
    (24, ("rp", "srp", "2D_2", "2D_3", "2D_8")),
    (9, ("sign", "2D_1", "2D_3")),
)
"""n and the irreps of the networks written down by hand."""
THEOREM_N = (17, 59, 127, 509, 18, 24)
"""Primes, for which the theorem is meant, and two composite n."""
DELTA, PROB = 0.1, 0.9


def by_hand() -> dict[str, Array]:
    """The explicit networks, handed to the analysis as if they had been trained.

    Per set: `n`, `neurons`, `accuracy`, `margin`, `ideal` margin of the characters, `recovered`
    (whether the analysis finds exactly the irreps put in) and `others` (neurons in no cluster).
    `half` is the accuracy when the phases cover half of the circle only.
    """
    rows = []
    for n, names in SETS:
        who, net = subject(f"D{n}"), oracle.construct(n, names)
        view = circuit.view_of(net)
        labels = circuit.last_labels(view, who)
        found = method.clusters(labels, who.reps)
        logits = method.logits(net)
        rows.append({
            "n": n,
            "neurons": net.out.shape[0],
            "accuracy": method.accuracy(logits, who.table),
            "margin": method.margin(logits, who.table),
            "ideal": oracle.ideal_margin(n, names),
            "recovered": set(found) == set(names),
            "others": net.out.shape[0] - sum(len(neurons) for neurons in found.values()),
        })  # fmt: skip
    n, names = SETS[0]
    half = oracle.construct(n, names, turn=0.5)
    columns = {f"hand/{key}": np.array([row[key] for row in rows], float) for key in rows[0]}
    accuracy = method.accuracy(method.logits(half), method.mult_table(n))
    return columns | {"hand/half": np.asarray(accuracy)}


def theorem(draws: int, seed: int = 0) -> dict[str, Array]:
    """The bound on the number of random irreps against Monte Carlo, for each n."""
    bound = [oracle.enough_representations(n, DELTA, PROB) for n in THEOREM_N]
    enough = [math.floor(b) + 1 for b in bound]
    chance = [
        oracle.chance_of_margin(n, m, DELTA, draws, seed)
        for n, m in zip(THEOREM_N, enough, strict=True)
    ]
    least = [oracle.least_representations(n, DELTA, PROB, draws, seed) for n in THEOREM_N]
    prime = [all(n % p for p in range(2, n)) for n in THEOREM_N]
    columns = {"n": THEOREM_N, "bound": bound, "enough": enough, "chance": chance,
               "least": least, "prime": prime, "draws": draws}  # fmt: skip
    return {f"theorem/{name}": np.asarray(column, float) for name, column in columns.items()}
