"""What the paper claims, how this code measures it, and the rules that judge the measurement.

The rules were fixed before the networks were trained. Places are by content: the numbering of the
paper's statements and tables could not be checked, but for Theorem 4.1 and Remark 4.2.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from shared.experiment.spec import Claim, Estimate, Results, Verdict

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


def _measure_theorem(results: Results, kind: str) -> list[Estimate]:
    part = f"exact/theorem/{kind}"
    return [
        Estimate.exact(results[f"{part}/rank"].min(), "smallest rank"),
        Estimate.exact(results[f"{part}/rank"].max(), "largest rank"),
        Estimate.exact(results[f"{part}/residual"].max(), "largest relative residual"),
    ]


def _judge_theorem(estimates: Sequence[Estimate], rank: int) -> Verdict:
    least, most, residual = (e.value for e in estimates)
    return _decide(least == rank == most and residual < 1e-12, residual < 1e-12)


def _measure_projection(results: Results) -> list[Estimate]:
    return [Estimate.exact(results["exact/theorem/projection"], "largest |V_disc - V_torus P|")]


def _judge_projection(estimates: Sequence[Estimate]) -> Verdict:
    return _decide(estimates[0].value < 1e-12)


def _measure_circle(results: Results) -> list[Estimate] | None:
    ideal = max(results[f"exact/theorem/{kind}/circle"].max() for kind in ("disc", "torus"))
    found = [Estimate.exact(ideal, "largest CKA of ideal clusters")]
    if not _enough(results):
        return None
    return found + _table(results, "pre_cka_circle", "CKA", FOUR)


def _judge_circle(estimates: Sequence[Estimate]) -> Verdict:
    ideal, *trained = estimates
    return _decide(
        ideal.value < 1e-12 and all(e.high <= 0.05 for e in trained), ideal.value < 1e-12
    )


# --- C5 to C7: similarity -------------------------------------------------------------------------


def _measure_cka(results: Results) -> list[Estimate] | None:
    if not _enough(results):
        return None
    on = _table(results, "pre_cka_torus", "own", FOUR[:1])
    off = _table(results, "pre_cka_disc", "other", FOUR[:1])
    on += _table(results, "pre_cka_disc", "own", DISC)
    return on + off + _table(results, "pre_cka_torus", "other", DISC)


def _judge_cka(estimates: Sequence[Estimate]) -> Verdict:
    own, other = _named(estimates, "own"), _named(estimates, "other")
    ordered = all(a.low > b.high for a, b in zip(own, other, strict=True))
    near = all(abs(e.value - PAPER_CKA[e.label.split(", ")[1]]) <= NEAR for e in own)
    return _decide(ordered and near, ordered)


def _measure_rsm(results: Results) -> list[Estimate] | None:
    return _table(results, "pre_rsm_disc", "disc", FOUR) if _enough(results) else None


def _judge_rsm(estimates: Sequence[Estimate]) -> Verdict:
    concat, *others = estimates
    known = [e for e in estimates if e.label.split(", ")[1] in PAPER_RSM]
    near = all(abs(e.value - PAPER_RSM[e.label.split(", ")[1]]) <= NEAR for e in known)
    ordered = all(e.low > concat.high for e in others)
    return _decide(ordered and near, ordered)


def _measure_logits(results: Results) -> list[Estimate] | None:
    return _table(results, "logits_cka_circle", "circle", FOUR) if _enough(results) else None


def _judge_logits(estimates: Sequence[Estimate]) -> Verdict:
    from papers.clock_pizza.oracle import ANNULUS_CIRCLE_CKA

    near = all(abs(e.value - PAPER_LOGITS[e.label.split(", ")[1]]) <= NEAR for e in estimates)
    above = all(e.low > ANNULUS_CIRCLE_CKA for e in estimates)
    return _decide(near and above, near or above)


# --- C8 and C9: phase alignment -------------------------------------------------------------------


def _measure_alignment(results: Results) -> list[Estimate] | None:
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


def _judge_alignment(estimates: Sequence[Estimate]) -> Verdict:
    concat, *others = _named(estimates, "distance")
    close = all(e.high < 0.5 for e in others)
    return _decide(close and concat.low > 0.75, close or all(e.high < concat.low for e in others))


def _measure_mmd(results: Results) -> list[Estimate] | None:
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


def _judge_mmd(estimates: Sequence[Estimate]) -> Verdict:
    concat = _named(estimates, "MLP-Concat")
    others = [e for e in estimates if e not in concat]
    ends = next(e for e in others if e.label.startswith("Attention 0.0 / Attention 1.0"))
    apart = min(e.low for e in concat) > max(e.high for e in others)
    threefold = min(e.value for e in concat) > 3 * max(e.value for e in others)
    told_apart = float(ends.label.split("p=")[1]) < 0.05
    return _decide(apart and threefold and told_apart, apart)


# --- C10 to C14: topology, activity, variance, Zhong's metrics ------------------------------------


def _measure_betti(results: Results) -> list[Estimate] | None:
    if not int(results["topology"]) or not _enough(results):
        return None
    from papers.clock_pizza.analysis import place

    found = []
    for where, kind, names in (("pre", "torus", FOUR[:1]), ("pre", "disc", DISC),
                               ("logits", "circle", FOUR)):  # fmt: skip
        column = ("disc", "circle", "torus", "other").index(kind)
        for name in names:
            row = place(results, name)
            value, low, high = (float(x) for x in results[f"betti/{where}"][row][column])
            n = int(results[f"betti/{where}_clusters"][row])
            what = "layer 1" if where == "pre" else where
            found.append(Estimate(value, low, high, f"{what}: {kind}, {name}", "of clusters", n))
    return found


def _judge_betti(estimates: Sequence[Estimate]) -> Verdict:
    layer, logits = _named(estimates, "layer 1"), _named(estimates, "logits")
    first = all(e.low > 0.5 for e in layer)
    return _decide(first and all(e.low > 0.5 for e in logits), first)


def _measure_activity(results: Results) -> list[Estimate] | None:
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


def _judge_activity(estimates: Sequence[Estimate]) -> Verdict:
    concat, *others = _named(estimates, "far over near")
    falling = _named(estimates, "falling steps")[1:]
    decays = all(e.high <= 0.5 for e in others) and all(e.value >= 0.9 for e in falling)
    return _decide(decays and concat.low >= 0.8, decays)


def _measure_variance(results: Results) -> list[Estimate] | None:
    return _table(results, "pc2", "top two", DISC) if _enough(results) else None


def _judge_variance(estimates: Sequence[Estimate]) -> Verdict:
    return _decide(all(e.value >= 0.95 for e in estimates), all(e.value >= 0.90 for e in estimates))


def _measure_order(results: Results) -> list[Estimate] | None:
    if not _enough(results, FOUR[2:]):
        return None
    from papers.clock_pizza.analysis import over_networks

    return [
        over_networks(results, column, name, f"{what}, {name}")
        for column, what in (("r2", "first order"), ("second", "second order"))
        for name in FOUR[2:]
    ]


def _judge_order(estimates: Sequence[Estimate]) -> Verdict:
    first = all(e.value >= 0.95 for e in _named(estimates, "first order"))
    second = all(e.value <= 0.035 for e in _named(estimates, "second order"))
    return _decide(first and second, first or second)


def _measure_zhong(results: Results) -> list[Estimate] | None:
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


def _judge_zhong(estimates: Sequence[Estimate]) -> Verdict:
    same = []
    for what in ("s", "q"):
        (uniform,), (learned,) = (
            _named(estimates, f"{what}, Attention {a}") for a in ("0.0", "1.0")
        )
        same.append(uniform.low <= learned.high and learned.low <= uniform.high)
    gradual = all(e.value <= 0.6 for e in _named(estimates, "largest step"))
    return _decide(all(same), gradual)


CLAIMS = (
    Claim(
        id="C1",
        statement="If both phases of every neuron of a cluster agree, its pre-activations factor "
        "through the vector-addition disc: X = V_disc W of rank 2.",
        place="Theorem 4.1 (i)",
        paper_value="rank 2, exact",
        measured_as="numerical rank, and what V_disc leaves unexplained, of 20 random clusters of "
        "20 simple neurons with equal phases",
        rule="reproduced if every rank is 2 and no residual exceeds 1e-12; partly if only that",
        measure=functools.partial(_measure_theorem, kind="disc"),
        judge=functools.partial(_judge_theorem, rank=2),
    ),
    Claim(
        id="C2",
        statement="If the two phases are independent, they factor through the torus: X = V_torus W "
        "of rank 4.",
        place="Theorem 4.1 (ii)",
        paper_value="rank 4, exact",
        measured_as="the same with independent phases and V_torus",
        rule="reproduced if every rank is 4 and no residual exceeds 1e-12; partly if only that",
        measure=functools.partial(_measure_theorem, kind="torus"),
        judge=functools.partial(_judge_theorem, rank=4),
    ),
    Claim(
        id="C3",
        statement="The disc is a linear projection of the torus: (x1, x2, x3, x4) -> "
        "(x1 + x3, x2 + x4).",
        place="text on the two manifolds",
        paper_value="exact",
        measured_as="largest entry of V_disc - V_torus P over all pairs",
        rule="reproduced below 1e-12",
        measure=_measure_projection,
        judge=_judge_projection,
    ),
    Claim(
        id="C4",
        statement="The clock's second-order form cannot appear in the first layer: no "
        "architecture's first layer resembles the circle cos(theta_a + theta_b).",
        place="Remark 4.2 and the table of CKA",
        paper_value="about 0 for all four",
        measured_as="CKA with the circle: ideal clusters, and clusters of trained networks",
        rule="reproduced if below 1e-12 for ideal clusters and at most 0.05 (upper end) for each "
        "architecture; partly if only for ideal ones",
        measure=_measure_circle,
        judge=_judge_circle,
    ),
    Claim(
        id="C5",
        statement="MLP-Add, Attention 0.0 and Attention 1.0 hold their inputs on a disc, "
        "MLP-Concat on a torus.",
        place="table of CKA in layer 1",
        paper_value="own manifold: Concat .994, Add .998, Att 0.0 .988, Att 1.0 .974; "
        "the other: .707, .706, .699, .689",
        measured_as="CKA of clusters with their own manifold and with the other, weighted by "
        "cluster size",
        rule="reproduced if own exceeds other in all four (intervals apart) and own lies within "
        "0.05 of the paper's number; partly if only the former",
        measure=_measure_cka,
        judge=_judge_cka,
    ),
    Claim(
        id="C6",
        statement="The same by the similarity of distance matrices (RSM).",
        place="table of RSM",
        paper_value="disc: Concat .578, Add .998, Att 0.0 .986",
        measured_as="RSM of clusters with the disc (Pearson correlation of Euclidean distances), "
        "weighted by cluster size",
        rule="reproduced if the three others exceed Concat (intervals apart) and the three known "
        "numbers are met within 0.05; partly if only the former",
        measure=_measure_rsm,
        judge=_judge_rsm,
    ),
    Claim(
        id="C7",
        statement="The logits of all four architectures lie on the circle (an annulus).",
        place="table of logits",
        paper_value="Concat .986, Add .926, Att 0.0 .940, Att 1.0 .941",
        measured_as="CKA of a cluster's logits with the circle, weighted by cluster size",
        rule="reproduced if all are within 0.05 of the paper's number and above 8 / pi^2, what an "
        "ideal pizza has (lower end); partly if one of the two",
        measure=_measure_logits,
        judge=_judge_logits,
    ),
    Claim(
        id="C8",
        statement="Phases of MLP-Add, Attention 0.0 and Attention 1.0 concentrate on a = b; those "
        "of MLP-Concat spread over the torus.",
        place="figure of phase alignment distributions",
        paper_value="by figure only",
        measured_as="mean distance of a neuron's argmax to a = b on the remapped torus, over that "
        "of a uniform law; share of neurons within two steps",
        rule="reproduced if the mean is below half of the uniform one in the three (upper end) and "
        "above three quarters in Concat (lower end); partly if one of the two",
        measure=_measure_alignment,
        judge=_judge_alignment,
    ),
    Claim(
        id="C9",
        statement="The distance between the phase alignment distributions of Attention 0.0 and 1.0 "
        "is tiny, though not zero; MLP-Add is near both; MLP-Concat is far from all.",
        place="figure of maximum mean discrepancies",
        paper_value="Att 0.0 / Att 1.0: 0.0237 and 0.0181 (two estimators), p about 0; kernel not "
        "known",
        measured_as="MMD of remapped argmax points, kernel exp(cos + cos - 2), jackknife intervals "
        "and permutation p over networks; n counts the networks of the rarer side",
        rule="reproduced if every MMD to Concat exceeds three times every other one, intervals "
        "apart, and the two attentions differ with p < 0.05; partly if intervals are apart",
        measure=_measure_mmd,
        judge=_judge_mmd,
    ),
    Claim(
        id="C10",
        statement="Betti numbers: a disc in layer 1 of MLP-Add, Attention 0.0 and Attention 1.0, a "
        "torus in that of MLP-Concat, a circle in the logits of all.",
        place="figure of Betti numbers",
        paper_value="(1,0,0), (1,2,1), (1,1,0) prevail",
        measured_as="share of examined clusters with those numbers, averaged over networks "
        "(needs the extra `topology`); n counts clusters",
        rule="reproduced if each share exceeds one half (lower end); partly if those of layer 1 do",
        measure=_measure_betti,
        judge=_judge_betti,
    ),
    Claim(
        id="C11",
        statement="Activity after the ReLU, summed over a cluster, is largest on a = b and decays "
        "with the distance from it in MLP-Add and Attention 1.0 as in Attention 0.0.",
        place="figure of summed activations",
        paper_value="by figure only",
        measured_as="mean activity at the largest remapped distance over that at distance 0, and "
        "the share of steps in between at which the mean profile falls",
        rule="reproduced if the ratio is at most one half (upper end) and nine steps in ten fall "
        "in the three, and the ratio is at least 0.8 in Concat (lower end); partly without Concat",
        measure=_measure_activity,
        judge=_judge_activity,
    ),
    Claim(
        id="C12",
        statement="Two principal components hold at least 95 % of the variance of a first-layer "
        "cluster of MLP-Add, Attention 0.0 and Attention 1.0.",
        place="authors' reply to referees",
        paper_value="at least .95",
        measured_as="share of variance of the first two components, weighted by cluster size",
        rule="reproduced if at least .95 in the three; partly if at least .90",
        measure=_measure_variance,
        judge=_judge_variance,
    ),
    Claim(
        id="C13",
        statement="First-order sinusoids suffice for the first layer of attention networks; second "
        "order adds little.",
        place="table of fits to the released models of Nanda et al. and Zhong et al.",
        paper_value="R^2 .964 to .998, second order at most .035",
        measured_as="mean R^2 of alive neurons, and what the second order adds, in OUR attention "
        "networks: the released checkpoints are not part of this repository",
        rule="reproduced if both kinds of attention have at least .95 and at most .035; partly if "
        "one of the two bounds holds",
        measure=_measure_order,
        judge=_judge_order,
    ),
    Claim(
        id="C14",
        statement="The metrics of Zhong et al. do not show two classes of circuit between "
        "Attention 0.0 and 1.0; only MLP-Concat is another manifold.",
        place="discussion",
        paper_value="by figure only",
        measured_as="gradient symmetricity s and distance irrelevance q of the four architectures; "
        "largest step of the mean between neighbouring attention rates over the whole change",
        rule="reproduced if neither metric tells Attention 0.0 from 1.0 (intervals overlap); "
        "partly if the ends differ but the sweep has no step above 0.6 of the change",
        measure=_measure_zhong,
        judge=_judge_zhong,
        finding="The metrics do tell the two ends apart, networks never overlap. Between them they "
        "change with the attention rate step by step, while the manifold stays the disc: a "
        "continuum within one class, not two classes.",
    ),
)
