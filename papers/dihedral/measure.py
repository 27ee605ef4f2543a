"""Results -> estimates with intervals, one function a claim.

Networks are the independent units. Those that miss 100 % test accuracy are left out of what is
said about circuits; every estimate says how many networks are behind it, and `learned` how many
there were.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shared import stats
from shared.experiment.spec import Estimate, Results

Array = np.ndarray
LEAST = 5  # networks; with fewer, nothing is said about a case
LEAST_CLUSTERS = 40  # with fewer, no share could have a lower end above .9


def learned(results: Results, case: str) -> Array:
    """Which networks of a case have perfect training and test accuracy."""
    return np.asarray(results[f"case/{case}/perfect"]) == 1


def enough(results: Results, case: str, least: int = LEAST) -> bool:
    """Whether the case was run in full with at least so many networks that learned."""
    known = f"case/{case}/passed" in results
    return known and int(learned(results, case).sum()) >= least


def headline(results: Results) -> str | None:
    """The case looked at most closely, if it is a dihedral one with enough networks."""
    case = str(results["headline"])
    return case if int(results["head/n"]) and enough(results, case) else None


def average(values: Array, label: str, unit: str = "") -> Estimate:
    """Mean over networks with a bootstrap interval."""
    return stats.bootstrap(np.asarray(values, float), stats.mean, seed=0).to_estimate(
        label, unit=unit
    )


def of_case(results: Results, case: str, name: str, label: str) -> Estimate:
    """Mean of a measure over the networks of a case that learned."""
    return average(results[f"case/{case}/{name}"][learned(results, case)], label)


def wilson(hits: float, of: float, label: str, n: int | None = None) -> Estimate:
    """A proportion with its 95 % score interval."""
    if of == 0:
        return Estimate(0.0, 0.0, 1.0, label, n=0)
    z, p = 1.959964, hits / of
    middle = (p + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * np.sqrt(p * (1 - p) / of + z * z / (4 * of * of))
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return Estimate(
        p, float(min(low, p)), float(max(high, p)), label, n=int(of if n is None else n)
    )


def proportion(hits: Array, of: Array, label: str) -> Estimate:
    """Clusters that pass, over all networks: the wider of a bootstrap over networks and Wilson."""
    total = float(np.sum(of))
    plain = wilson(float(np.sum(hits)), total, label, len(hits))
    if total == 0 or len(hits) < 2:
        return plain
    rng = np.random.default_rng(0)
    rows = rng.integers(0, len(hits), (2000, len(hits)))
    tested = of[rows].sum(1)
    ratio = hits[rows].sum(1)[tested > 0] / tested[tested > 0]
    low, high = np.quantile(ratio, (0.025, 0.975))
    return Estimate(plain.value, min(plain.low, float(low)), max(plain.high, float(high)), label,
                    n=len(hits))  # fmt: skip


def tested(results: Results, case: str, name: str, label: str, half: bool = False) -> Estimate:
    """Share of clusters that are Cayley graphs (or, with `half`, cycles of cosets)."""
    counts = np.asarray(results[f"case/{case}/{name}"])
    if name == "passed":
        counts = counts[learned(results, case)]
    return proportion(counts[:, 1 if half else 0], counts[:, 2], label)


# --- The claims -----------------------------------------------------------------------------------


def arcs(results: Results) -> list[Estimate] | None:
    """C1."""
    if (case := headline(results)) is None:
        return None
    return [
        of_case(results, case, "arcs", "active sets that are (approximate) cosets"),
        of_case(results, case, "arcs_all", "the same, with empty and full sets"),
        average(results[f"case/{case}/untrained_arcs"], "control: untrained networks"),
    ]


def specialised(results: Results) -> list[Estimate] | None:
    """C2."""
    if (case := headline(results)) is None:
        return None
    return [
        of_case(results, case, "first_agree", "neurons with one irrep for both inputs"),
        of_case(results, case, "last_out_agree", "neurons that also write it"),
        of_case(results, case, "first_share", "median share of input energy"),
        of_case(results, case, "last_out_share", "median share of output energy"),
        average(results[f"case/{case}/untrained_agree"], "control: one irrep, untrained"),
    ]


def graphs(results: Results) -> list[Estimate] | None:
    """C3."""
    case = headline(results)
    permuted = f"{case} permuted"
    if case is None or f"case/{permuted}/passed" not in results:
        return None
    shuffled = np.asarray(results[f"case/{permuted}/passed"])
    either = np.asarray(results[f"case/{case}/passed"])[learned(results, case)]
    if either[:, 2].sum() < LEAST_CLUSTERS:
        return None
    return [
        tested(results, case, "passed", "clusters that are Cayley graphs of a quotient"),
        proportion(either[:, :2].sum(1), either[:, 2], "Cayley graphs or cycles of cosets"),
        of_case(results, case, "correlation", "correlation of distances"),
        tested(results, case, "untrained", "control: untrained networks"),
        proportion(shuffled[:, 0], shuffled[:, 2], "control: permuted labels"),
        tested(results, case, "random", "control: random clusters"),
    ]


def classes(results: Results) -> list[Estimate] | None:
    """C4."""
    if (case := headline(results)) is None:
        return None
    size = np.asarray(results["head/size"])[learned(results, case)]
    seen = np.asarray((size > 0).any(0))[1:]
    return [
        of_case(results, case, "last_others", "live neurons in no class"),
        of_case(results, case, "rest", "share of the logits' variance in no cluster"),
        Estimate.exact(float(seen.sum()), "non-trivial irreps learned by some network"),
        Estimate.exact(float(len(seen)), "non-trivial irreps"),
    ]


def conquer(results: Results) -> list[Estimate] | None:
    """C5."""
    if (case := headline(results)) is None:
        return None
    rows = np.asarray(results["head/ablation"])
    correlation = float(np.corrcoef(rows[:, 0], rows[:, 1])[0, 1])
    above = rows[:, 1] > rows[:, 0] + 0.05
    return [
        Estimate.exact(np.max(results[f"case/{case}/identity"]), "error of the sum of clusters"),
        of_case(results, case, "clusters_only", "accuracy of the clusters alone"),
        of_case(results, case, "ideal", "accuracy of the fitted sum of characters"),
        of_case(results, case, "explained", "share of the logits' variance it explains"),
        of_case(results, case, "ablation_error", "error of accuracy predicted from kernels"),
        of_case(results, case, "lone", "a lone cluster's accuracy modulo its kernel"),
        Estimate(correlation, correlation, correlation, "correlation, all subsets", n=len(rows)),
        wilson(float(above.sum()), float(len(rows)), "subsets better than their kernels allow"),
        Estimate.exact(float(np.min(results["hand/recovered"])), "by hand: irreps recovered"),
        Estimate.exact(float(np.min(results["hand/accuracy"])), "by hand: least accuracy"),
    ]


def growth(results: Results) -> list[Estimate] | None:
    """C6."""
    if "sweep/count" not in results:
        return None
    ns = np.asarray(results["sweep/n"], float)
    counts = np.asarray(results["sweep/count"], float)
    rows = [(n, c) for n, row in zip(ns, counts, strict=True) for c in row if np.isfinite(c)]
    points = np.array(rows).reshape(-1, 2)
    if len(set(points[:, 0])) < 4 or len(points) < 12:
        return None
    from shared.groups.growth import fit_growth

    fit = fit_growth(points[:, 0], points[:, 1])
    power = stats.loglog_slope(points[:, 0], points[:, 1])
    largest = counts[int(ns.argmax())]
    n = int(ns.max())
    irreps = (n - 1) // 2 + (1 if n % 2 else 3)
    return [
        fit.log.slope.to_estimate("slope on ln n"),
        Estimate.exact(fit.log.r2, "R^2 of the logarithmic fit"),
        Estimate.exact(fit.linear.r2, "R^2 of a straight line in n"),
        power.to_estimate("exponent of a power law"),
        average(largest[np.isfinite(largest)] / irreps, f"share of the irreps used at n = {n}"),
        wilson(float(np.sum(results["sweep/perfect"])), float(np.size(results["sweep/perfect"])),
               "networks that learned"),
        *_deep_growth(results),
    ]  # fmt: skip


def _deep_growth(results: Results) -> list[Estimate]:
    """Slopes of the architectures beside mlp1, where they were trained on three n or more."""
    from shared.groups.growth import fit_growth

    found = []
    for arch in ("mlp2", "transformer"):
        if f"{arch}/count" not in results:
            continue
        counts = np.asarray(results[f"{arch}/count"], float)
        known = np.isfinite(counts)
        ns = np.broadcast_to(np.asarray(results[f"{arch}/n"], float)[:, None], counts.shape)
        if (known.any(1)).sum() >= 3 and known.sum() >= LEAST:
            fit = fit_growth(ns[known], counts[known])
            found.append(fit.log.slope.to_estimate(f"{arch}: slope on ln n"))
    return found


def universal(results: Results) -> list[Estimate] | None:
    """C7."""
    case = headline(results)
    if case is None:
        return None
    group = case.split()[0]
    others = [str(name) for name in results["cases"]
              if str(name).startswith(f"{group} ") and str(name).split()[1:] not in (
                  ["onehot"], ["mlp1", "permuted"])]  # fmt: skip
    others = [name for name in others if enough(results, name)]
    kinds = {name.split()[1] for name in others}
    if not {"mlp1", "mlp2", "transformer"} <= kinds:
        return None
    found = []
    for name in others:
        arch = name.split()[1]
        both = np.asarray(results[f"case/{name}/passed"])[learned(results, name)]
        found += [
            of_case(results, name, "clusters_only", f"{arch}: accuracy of the clusters alone"),
            of_case(results, name, "first_share", f"{arch}: median share of input energy"),
            tested(results, name, "passed", f"{arch}: Cayley graphs"),
            proportion(both[:, 1], both[:, 2], f"{arch}: cycles of cosets"),
            wilson(float(learned(results, name).sum()), float(len(learned(results, name))),
                   f"{arch}: networks that learned"),
        ]  # fmt: skip
    return found


def histogram(results: Results) -> list[Estimate] | None:
    """C8."""
    if (case := headline(results)) is None:
        return None
    size = np.asarray(results["head/size"])[learned(results, case)] > 0
    kinds = np.asarray(results["head/kinds"]).astype(str)
    groups = {"approximate": "2-D, approximate cosets", "coset": "2-D, exact cosets",
              "line": "1-D"}  # fmt: skip
    inside = {key: kinds == key for key in groups}
    inside["line"] = inside["line"] & (np.arange(len(kinds)) > 0)
    found = [
        average(size[:, inside[key]].mean(1), f"{label}: share of networks that learn an irrep")
        for key, label in groups.items()
        if inside[key].any()
    ]
    if inside["coset"].any() and inside["approximate"].any():
        gap = size[:, inside["coset"]].mean(1) - size[:, inside["approximate"]].mean(1)
        found.append(average(gap, "exact minus approximate"))
    return found


def theorem(results: Results) -> list[Estimate]:
    """C9."""
    ns, chance = results["theorem/n"], results["theorem/chance"]
    draws = float(results["theorem/draws"])
    found = []
    for n, m, c, prime in zip(ns, results["theorem/enough"], chance, results["theorem/prime"],
                              strict=True):  # fmt: skip
        label = f"P(margin > .1 m), n={int(n)}, m={int(m)}{'' if prime else ' (composite)'}"
        found.append(wilson(float(c) * draws, draws, label))
    return [Estimate.exact(results["theorem/bound"][1], "bound at n = 59"), *found]


def any_group(results: Results) -> list[Estimate] | None:
    """C10."""
    names = [str(name) for name in results["cases"] if is_other(str(name))]
    names = [name for name in names if enough(results, name, 3)]
    found = []
    for name in names:
        group = name.split()[0]
        found += [
            of_case(results, name, "clusters_only", f"{group}: accuracy of the clusters alone"),
            of_case(results, name, "first_share", f"{group}: median share of input energy"),
            average(results[f"case/{name}/untrained_share"], f"{group}: the same, untrained"),
            of_case(results, name, "first_pure", f"{group}: live neurons with a share of .9"),
            tested(results, name, "passed", f"{group}: Cayley graphs"),
            of_case(results, name, "ablation_error", f"{group}: error of predicted accuracy"),
            of_case(results, name, "count", f"{group}: representations, of "
                    f"{int(results[f'case/{name}/irreps'])}"),
        ]  # fmt: skip
    return found or None


def is_other(case: str) -> bool:
    """Whether a case is a one-layer network on a group that is not dihedral."""
    group, arch, *permuted = case.split()
    dihedral = group[0] == "D" and group[1:].isdigit()
    return not dihedral and arch == "mlp1" and not permuted


def embeddings(results: Results) -> list[Estimate] | None:
    """C11."""
    if "onehot/count" not in results or "sweep/count" not in results:
        return None
    ns = [int(n) for n in results["onehot/n"] if n in results["sweep/n"]]
    shares: dict[str, list[float]] = {"onehot": [], "sweep": []}
    for n in ns:
        irreps = (n - 1) // 2 + (1 if n % 2 else 3)
        for name, kept in shares.items():
            row = np.asarray(results[f"{name}/count"])[list(results[f"{name}/n"]).index(n)]
            kept += (row[np.isfinite(row)] / irreps).tolist()
    if min(len(kept) for kept in shares.values()) < LEAST:
        return None
    return [
        average(np.array(shares["onehot"]), "share of the irreps used, no embedding"),
        average(np.array(shares["sweep"]), "share of the irreps used, embeddings"),
    ]


def labelled(estimates: Sequence[Estimate], part: str) -> list[Estimate]:
    """Those whose label contains `part`."""
    return [e for e in estimates if part in e.label]
