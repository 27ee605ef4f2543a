"""How each claim is measured, and the rule that judges the measurement.

The rules were fixed before the networks were trained; `claims.py` says them in words.
"""

from __future__ import annotations

from collections.abc import Sequence

from shared.experiment.spec import Estimate, Results, Verdict

FOUR = ("MLP-Concat", "MLP-Add", "Attention 0.0", "Attention 1.0")
DISC = FOUR[1:]
LEAST = 3  # perfect networks of each kind; with fewer nothing is decided
LEAST_RATES = 5  # attention rates; a coarser sweep cannot tell a slope from a step
NEAR = 0.05  # how far from the paper's number a similarity may lie: its networks were others
PAPER_CKA = {"MLP-Concat": 0.994, "MLP-Add": 0.998, "Attention 0.0": 0.988, "Attention 1.0": 0.974}
PAPER_RSM = {"MLP-Concat": 0.578, "MLP-Add": 0.998, "Attention 0.0": 0.986}
PAPER_LOGITS = {"MLP-Concat": 0.986, "MLP-Add": 0.926, "Attention 0.0": 0.940,
                "Attention 1.0": 0.941}  # fmt: skip


def _decide(holds: bool, partly: bool = False) -> Verdict:
    if holds:
        return Verdict.REPRODUCED
    return Verdict.PARTLY if partly else Verdict.NOT_REPRODUCED


def _named(estimates: Sequence[Estimate], start: str) -> list[Estimate]:
    return [e for e in estimates if e.label.startswith(start)]


def _enough(results: Results, names: Sequence[str] = FOUR) -> bool:
    """Whether each kind of network has at least `LEAST` perfect ones."""
    import numpy as np

    from papers.clock_pizza.analysis import place

    rows = [place(results, name) for name in names]
    return all(r is not None and np.nansum(results["net/perfect"][r]) >= LEAST for r in rows)


def _table(results: Results, column: str, what: str, names: Sequence[str]) -> list[Estimate]:
    from papers.clock_pizza.analysis import estimate

    return [estimate(results, f"table/{column}", name, f"{what}, {name}") for name in names]


# --- C1 to C4: ideal clusters ---------------------------------------------------------------------


def measure_theorem(results: Results, kind: str) -> list[Estimate]:
    """Ranks and residuals of ideal clusters of one phase law."""
    part = f"exact/theorem/{kind}"
    return [
        Estimate.exact(results[f"{part}/rank"].min(), "smallest rank"),
        Estimate.exact(results[f"{part}/rank"].max(), "largest rank"),
        Estimate.exact(results[f"{part}/residual"].max(), "largest relative residual"),
    ]


def judge_theorem(estimates: Sequence[Estimate], rank: int) -> Verdict:
    """C1, C2."""
    least, most, residual = (e.value for e in estimates)
    return _decide(least == rank == most and residual < 1e-12, residual < 1e-12)


def measure_projection(results: Results) -> list[Estimate]:
    """How far the projected torus is from the disc."""
    return [Estimate.exact(results["exact/theorem/projection"], "largest |V_disc - V_torus P|")]


def judge_projection(estimates: Sequence[Estimate]) -> Verdict:
    """C3."""
    return _decide(estimates[0].value < 1e-12)


def measure_circle(results: Results) -> list[Estimate] | None:
    """CKA of first layers with the circle, ideal and trained."""
    ideal = max(results[f"exact/theorem/{kind}/circle"].max() for kind in ("disc", "torus"))
    found = [Estimate.exact(ideal, "largest CKA of ideal clusters")]
    if not _enough(results):
        return None
    return found + _table(results, "pre_cka_circle", "CKA", FOUR)


def judge_circle(estimates: Sequence[Estimate]) -> Verdict:
    """C4."""
    ideal, *trained = estimates
    return _decide(
        ideal.value < 1e-12 and all(e.high <= 0.05 for e in trained), ideal.value < 1e-12
    )


# --- C5 to C7: similarity -------------------------------------------------------------------------


def measure_cka(results: Results) -> list[Estimate] | None:
    """CKA of first layers with their own manifold and with the other."""
    if not _enough(results):
        return None
    on = _table(results, "pre_cka_torus", "own", FOUR[:1])
    off = _table(results, "pre_cka_disc", "other", FOUR[:1])
    on += _table(results, "pre_cka_disc", "own", DISC)
    return on + off + _table(results, "pre_cka_torus", "other", DISC)


def judge_cka(estimates: Sequence[Estimate]) -> Verdict:
    """C5."""
    own, other = _named(estimates, "own"), _named(estimates, "other")
    ordered = all(a.low > b.high for a, b in zip(own, other, strict=True))
    near = all(abs(e.value - PAPER_CKA[e.label.split(", ")[1]]) <= NEAR for e in own)
    return _decide(ordered and near, ordered)


def measure_rsm(results: Results) -> list[Estimate] | None:
    """RSM of first layers with the disc."""
    return _table(results, "pre_rsm_disc", "disc", FOUR) if _enough(results) else None


def judge_rsm(estimates: Sequence[Estimate]) -> Verdict:
    """C6."""
    concat, *others = estimates
    known = [e for e in estimates if e.label.split(", ")[1] in PAPER_RSM]
    near = all(abs(e.value - PAPER_RSM[e.label.split(", ")[1]]) <= NEAR for e in known)
    ordered = all(e.low > concat.high for e in others)
    return _decide(ordered and near, ordered)


def measure_logits(results: Results) -> list[Estimate] | None:
    """CKA of clusters' logits with the circle."""
    return _table(results, "logits_cka_circle", "circle", FOUR) if _enough(results) else None


def judge_logits(estimates: Sequence[Estimate]) -> Verdict:
    """C7."""
    from papers.clock_pizza.oracle import ANNULUS_CIRCLE_CKA

    near = all(abs(e.value - PAPER_LOGITS[e.label.split(", ")[1]]) <= NEAR for e in estimates)
    above = all(e.low > ANNULUS_CIRCLE_CKA for e in estimates)
    return _decide(near and above, near or above)


# --- C8 and C9: phase alignment -------------------------------------------------------------------


def measure_alignment(results: Results) -> list[Estimate] | None:
    """Mean distance of neurons to a = b, and share within two steps."""
    if not _enough(results):
        return None
    from papers.clock_pizza.analysis import over_networks
    from papers.clock_pizza.oracle import uniform_distance

    scale = 1 / uniform_distance(int(results["modulus"]))
    unit = "of a uniform law's mean"
    means = [over_networks(results, "distance_argmax", name, f"distance, {name}", scale, unit)
             for name in FOUR]  # fmt: skip
    return means + [
        over_networks(results, "within2_argmax", name, f"within 2, {name}", unit="of neurons")
        for name in FOUR
    ]


def judge_alignment(estimates: Sequence[Estimate]) -> Verdict:
    """C8."""
    concat, *others = _named(estimates, "distance")
    close = all(e.high < 0.5 for e in others)
    return _decide(close and concat.low > 0.75, close or all(e.high < concat.low for e in others))


def measure_mmd(results: Results) -> list[Estimate] | None:
    """MMD of phase alignment distributions, every two architectures."""
    if not _enough(results):
        return None
    from papers.clock_pizza.analysis import place

    found = []
    for i, first in enumerate(FOUR):
        for second in FOUR[i + 1 :]:
            where = place(results, first), place(results, second)
            value, low, high = (float(x) for x in results["mmd/argmax"][where])
            n = min(int((results["net/perfect"][w] == 1).sum()) for w in where if w is not None)
            p = float(results["mmd/p_argmax"][where])
            found.append(Estimate(value, low, high, f"{first} / {second}, p={p:.3g}", n=n))
    return found


def judge_mmd(estimates: Sequence[Estimate]) -> Verdict:
    """C9."""
    concat = _named(estimates, "MLP-Concat")
    others = [e for e in estimates if e not in concat]
    ends = next(e for e in others if e.label.startswith("Attention 0.0 / Attention 1.0"))
    apart = min(e.low for e in concat) > max(e.high for e in others)
    threefold = min(e.value for e in concat) > 3 * max(e.value for e in others)
    told_apart = float(ends.label.split("p=")[1]) < 0.05
    return _decide(apart and threefold and told_apart, apart)


# --- C10 to C14: topology, activity, variance, Zhong's metrics ------------------------------------


def measure_betti(results: Results) -> list[Estimate] | None:
    """Shares of clusters with the Betti numbers that the paper names."""
    if not int(results["topology"]) or not _enough(results):
        return None
    from papers.clock_pizza.analysis import place

    found = []
    for where, kind, names in (("pre", "torus", FOUR[:1]), ("pre", "disc", DISC),
                               ("logits", "circle", FOUR)):  # fmt: skip
        column = ("disc", "circle", "torus", "other").index(kind)
        for name in names:
            row = place(results, name)
            n = int(results[f"betti/{where}_clusters"][row])
            if n == 0:  # all clusters too small or too rough for topology
                return None
            value, low, high = (float(x) for x in results[f"betti/{where}"][row][column])
            what = "layer 1" if where == "pre" else where
            found.append(Estimate(value, low, high, f"{what}: {kind}, {name}", "of clusters", n))
    return found


def judge_betti(estimates: Sequence[Estimate]) -> Verdict:
    """C10."""
    layer, logits = _named(estimates, "layer 1"), _named(estimates, "logits")
    first = all(e.low > 0.5 for e in layer)
    return _decide(first and all(e.low > 0.5 for e in logits), first)


def measure_activity(results: Results) -> list[Estimate] | None:
    """How summed activity falls with the distance to a = b."""
    if not _enough(results):
        return None
    from papers.clock_pizza.analysis import place

    found = []
    for name in FOUR:
        row = place(results, name)
        n = int((results["net/perfect"][row] == 1).sum())
        value, low, high = (float(x) for x in results["profile"][row][-1])
        found.append(Estimate(value, low, high, f"far over near, {name}", n=n))
        means = results["profile"][row][:, 0]
        falls = float((means[1:] <= means[:-1] + 1e-3).mean())
        found.append(Estimate.exact(falls, f"falling steps, {name}"))
    return found


def judge_activity(estimates: Sequence[Estimate]) -> Verdict:
    """C11."""
    concat, *others = _named(estimates, "far over near")
    falling = _named(estimates, "falling steps")[1:]
    decays = all(e.high <= 0.5 for e in others) and all(e.value >= 0.9 for e in falling)
    return _decide(decays and concat.low >= 0.8, decays)


def measure_variance(results: Results) -> list[Estimate] | None:
    """Variance in two principal components."""
    return _table(results, "pc2", "top two", DISC) if _enough(results) else None


def judge_variance(estimates: Sequence[Estimate]) -> Verdict:
    """C12."""
    return _decide(all(e.value >= 0.95 for e in estimates), all(e.value >= 0.90 for e in estimates))


def measure_order(results: Results) -> list[Estimate] | None:
    """Shares of first and second order in attention networks."""
    if not _enough(results, FOUR[2:]):
        return None
    from papers.clock_pizza.analysis import over_networks

    return [
        over_networks(results, column, name, f"{what}, {name}")
        for column, what in (("r2", "first order"), ("second", "second order"))
        for name in FOUR[2:]
    ]


def judge_order(estimates: Sequence[Estimate]) -> Verdict:
    """C13."""
    first = all(e.value >= 0.95 for e in _named(estimates, "first order"))
    second = all(e.value <= 0.035 for e in _named(estimates, "second order"))
    return _decide(first and second, first or second)


def measure_zhong(results: Results) -> list[Estimate] | None:
    """Zhong et al.'s metrics, and their largest step along the attention rate."""
    import numpy as np

    rates = np.asarray(results["alpha"])[np.asarray(results["arch"]) == "attention"]
    names = [str(name) for name in results["variants"] if str(name).startswith("Attention")]
    if len(rates) < LEAST_RATES or not _enough(results) or not _enough(results, names):
        return None
    from papers.clock_pizza.analysis import network_values, over_networks

    found = []
    for column, what in (("symmetricity", "s"), ("irrelevance", "q")):
        found += [over_networks(results, column, name, f"{what}, {name}") for name in FOUR]
        means = [float(network_values(results, column, name).mean()) for name in names]
        jump = np.abs(np.diff(means)).max() / max(abs(means[-1] - means[0]), 1e-12)
        found.append(Estimate.exact(jump, f"largest step of {what} in the sweep", "of its range"))
    return found


def judge_zhong(estimates: Sequence[Estimate]) -> Verdict:
    """C14."""
    same = []
    for what in ("s", "q"):
        (uniform,), (learned,) = (
            _named(estimates, f"{what}, Attention {a}") for a in ("0.0", "1.0")
        )
        same.append(uniform.low <= learned.high and learned.low <= uniform.high)
    gradual = all(e.value <= 0.6 for e in _named(estimates, "largest step"))
    return _decide(all(same), gradual)
