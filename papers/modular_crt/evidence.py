"""What the claims C1 to C9 are measured by, and the rules that judge them; see `claims`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from papers.modular_crt import analysis
from shared.experiment.spec import Estimate, Results, Verdict

PAPER_ARCHITECTURES = ("mlp", "pizza", "clock")
OTHER_COUNTS = {
    "count_any": "any neuron",
    "count_r2": "neurons with R^2 >= 0.5",
    "count_5pc": "clusters of 5 %",
    "count_half": "half-way",
}
"""Other thresholds, and an earlier update, that every count is given under as well."""

HANDFUL = 8.0  # a mean number of frequencies below this counts as a handful (the paper: 3 to 7)


def decide(holds: bool, partly: bool = False) -> Verdict:
    if holds:
        return Verdict.REPRODUCED
    return Verdict.PARTLY if partly else Verdict.NOT_REPRODUCED


def labelled(estimates: Iterable[Estimate], start: str) -> list[Estimate]:
    return [e for e in estimates if e.label.startswith(start)]


def present(results: Results, study: str, architectures: Sequence[str]) -> bool:
    """Whether a study has enough solved networks of each of these architectures."""
    samples = [
        analysis.column(results, "count", analysis.rows(results, study, architecture=name))
        for name in architectures
    ]
    return analysis.enough(*samples)


# --- C1: simple neurons ---------------------------------------------------------------------------


def measure_simple(results: Results) -> list[Estimate] | None:
    if not present(results, "main", PAPER_ARCHITECTURES):
        return None
    found = []
    for name in analysis.settings(results, "main", "architecture"):
        runs = analysis.rows(results, "main", architecture=name)
        values = analysis.column(results, "r2", runs)
        if analysis.enough(values):
            found.append(analysis.mean(values, f"R^2, {name}"))
    for name in PAPER_ARCHITECTURES:
        runs = analysis.rows(results, "main", architecture=name)
        found.append(
            analysis.mean(analysis.column(results, "second", runs), f"second order, {name}")
        )
    return [*found, analysis.missed(results, "main")]


def judge_simple(estimates: Sequence[Estimate]) -> Verdict:
    lows = [e.low for name in PAPER_ARCHITECTURES for e in labelled(estimates, f"R^2, {name}")]
    return decide(min(lows) >= 0.9, max(lows) >= 0.9)


# --- C2, C3: remapping, approximate cosets --------------------------------------------------------


def measure_remap(results: Results) -> list[Estimate]:
    cases = int(results["remap/cases"])
    return [
        Estimate.exact(results["remap/ours"], f"only line at 1, of {cases} pairs f, n"),
        Estimate.exact(results["remap/printed"], "the same by the printed formula"),
    ]


def judge_remap(estimates: Sequence[Estimate]) -> Verdict:
    return decide(estimates[0].value == 1)


def measure_cosets(results: Results) -> list[Estimate]:
    cases = int(results["cosets/cases"])
    found = [
        Estimate.exact(results["cosets/equal"], f"equal sets, of {cases} f, n, s"),
        Estimate.exact(results["cosets/paths"], "positive sets that are such paths"),
    ]
    examples = zip(results["cosets/examples"], results["cosets/sizes"], strict=True)
    return found + [Estimate.exact(size, f"elements for f={f}, n={n}") for (f, n), size in examples]


def judge_cosets(estimates: Sequence[Estimate]) -> Verdict:
    return decide(estimates[0].value == 1 and estimates[1].value == 1)


# --- C4, C5: the margin theorem and its corollary -------------------------------------------------


def measure_theorem(results: Results) -> list[Estimate]:
    probability, draws = results["theorem/probability"], int(results["theorem/draws"])
    found = []
    for j, delta in enumerate(results["theorem/deltas"]):
        for k, rho in enumerate(results["theorem/rhos"]):
            cell = probability[:, j, k]
            i = int(np.argmin(cell))
            n, m = int(results["theorem/moduli"][i]), int(results["theorem/m"][i, j, k])
            hits = np.arange(draws) < round(float(cell[i]) * draws)
            label = f"least P - rho, delta={delta:.3g}, rho={rho:g} (n={n}, m={m})"
            p = analysis.share(hits, label)
            found.append(Estimate(p.value - rho, p.low - rho, p.high - rho, label, n=draws))
    return found


def judge_theorem(estimates: Sequence[Estimate]) -> Verdict:
    own = [e for e in estimates if "delta=0.05," in e.label or "delta=0.1," in e.label
           or "delta=0.156," in e.label]  # fmt: skip
    return decide(all(e.low >= 0 for e in estimates), bool(own) and all(e.low >= 0 for e in own))


def measure_corollary(results: Results) -> list[Estimate]:
    ln_n = np.log(results["corollary/moduli"])
    found = []
    for i, constant in enumerate(results["corollary/constants"]):
        gap = analysis.slope(ln_n, results["corollary/gap"][i], "")
        mass = analysis.slope(ln_n, results["corollary/log_mass"][i], "")
        found += [
            Estimate.exact(gap.value, f"gap per ln n, {constant:g} ln n frequencies"),
            Estimate.exact(
                mass.value, f"exponent of the wrong mass, {constant:g} ln n frequencies"
            ),
        ]
    for name in PAPER_ARCHITECTURES:
        counts, margins = _margins(results, name)
        if len(counts) >= 6 and np.ptp(counts) > 0:
            label = f"trained, margin per frequency, {name}"
            found.append(analysis.slope(counts, margins, label, "logits"))
    return found


def _margins(results: Results, architecture: str) -> tuple[np.ndarray, np.ndarray]:
    """Number of frequencies and mean margin of the solved networks of the main study."""
    runs = analysis.rows(results, "main", architecture=architecture)
    return analysis.column(results, "count", runs), analysis.column(results, "margin", runs)


def judge_corollary(estimates: Sequence[Estimate]) -> Verdict:
    gaps = all(e.value > 0 for e in labelled(estimates, "gap"))
    power = any(e.value < 0 for e in labelled(estimates, "exponent"))
    trained = labelled(estimates, "trained")
    return decide(gaps and power and bool(trained) and all(e.low > 0 for e in trained),
                   gaps and power)  # fmt: skip


# --- C6: growth with n ----------------------------------------------------------------------------


def measure_growth(results: Results) -> list[Estimate] | None:
    moduli = analysis.settings(results, "scaling", "modulus")
    if len(moduli) < 5:
        return None
    found = []
    for name in analysis.settings(results, "scaling", "architecture"):
        if len(np.unique(analysis.growth(results, name)[0])) < 5:
            return None
        found += _growth(results, name)
    return [*found, analysis.missed(results, "scaling")]


def _growth(results: Results, name: str) -> list[Estimate]:
    """Slope, fits, and how primes differ, of one architecture."""
    n, counts = analysis.growth(results, name)
    fit = analysis.growth_fit(n, counts)
    found = [analysis.slope(np.log(n), counts, f"{name}: frequencies per ln n")]
    for part in ("log", "linear"):
        found.append(Estimate.exact(fit[f"r2_{part}"], f"{name}: R^2 of the {part} fit to means"))
    for other, filters in OTHER_COUNTS.items():
        values = analysis.growth(results, name, other)[1]
        change = analysis.slope(np.log(n), values, "").value
        found.append(Estimate.exact(change, f"{name}: slope, {filters}"))
    residual = counts - fit["alpha"] - fit["beta"] * np.log(n)
    prime = np.array([analysis.is_prime(int(x)) for x in n])
    if prime.sum() >= 2 and (~prime).sum() >= 2:
        label = f"{name}: prime minus composite"
        found.append(analysis.gap(residual[prime], residual[~prime], label))
    return found


def judge_growth(estimates: Sequence[Estimate]) -> Verdict:
    slopes = [e for e in estimates if e.label.endswith("per ln n")]
    log = [e.value for e in estimates if "log fit" in e.label]
    linear = [e.value for e in estimates if "linear fit" in e.label]
    alike = all(abs(e.value) <= 1 for e in estimates if "prime minus" in e.label)
    everywhere = all(labelled(slopes, name) for name in PAPER_ARCHITECTURES)
    grows = everywhere and all(e.low > 0 for e in slopes)
    better = all(a > b for a, b in zip(log, linear, strict=True))
    high = all(value >= 0.8 for value in log)
    return decide(grows and better and high and alike, any(e.low > 0 for e in slopes))


# --- C7, C8: one-hot, embedded, deeper ------------------------------------------------------------

CASES = {
    "one-hot": {"architecture": "one-hot", "depth": 1},
    "embedded": {"architecture": "mlp", "depth": 1, "decay": 0.0},
    "one-hot, 2 layers": {"architecture": "one-hot", "depth": 2},
}
"""What C7 compares, by the fields of its networks."""

COMPARED: dict[str, dict[str, str | int | float]] = {
    "embedded, AdamW": {"architecture": "mlp", "depth": 1, "l2": 0.0},
    "one-hot, squares": {"architecture": "quadratic"},
}
"""What is shown beside it: decoupled decay instead of a penalty, squares instead of ReLU."""


def measure_onehot(results: Results) -> list[Estimate] | None:
    found = []
    for n in analysis.settings(results, "onehot", "modulus"):
        for label, fields in CASES.items():
            runs = analysis.rows(results, "onehot", modulus=n, **fields)
            values = analysis.column(results, "count", runs)
            if not analysis.enough(values):
                return None
            if label == "one-hot":
                values = values / (n // 2)
            unit = "of floor(n/2)" if label == "one-hot" else "frequencies"
            found.append(analysis.mean(values, f"{label}, n={n}", unit))
            for name, filters in OTHER_COUNTS.items():
                other = analysis.column(results, name, runs)
                found.append(Estimate.exact(other.mean(), f"count {label}, n={n}: {filters}"))
        found += [
            analysis.mean(values, f"for comparison, {label}, n={n}", "frequencies")
            for label, fields in COMPARED.items()
            if analysis.enough(values := _counts(results, n, fields))
        ]
    return [*found, analysis.missed(results, "onehot")] if found else None


def _counts(results: Results, n: int, fields: Mapping[str, str | int | float]) -> np.ndarray:
    runs = analysis.rows(results, "onehot", modulus=n, **fields)
    return analysis.column(results, "count", runs)


def judge_onehot(estimates: Sequence[Estimate]) -> Verdict:
    all_of_them = all(e.low >= 0.9 for e in labelled(estimates, "one-hot, n"))
    embedded = all(e.high <= HANDFUL for e in labelled(estimates, "embedded"))
    deeper = all(e.high <= HANDFUL for e in labelled(estimates, "one-hot, 2"))
    fewer = all(e.high <= 20 for e in labelled(estimates, "one-hot, 2"))
    return decide(all_of_them and embedded and deeper, all_of_them and (embedded or fewer))


def measure_depth(results: Results) -> list[Estimate] | None:
    depths = analysis.settings(results, "depth", "depth")
    if len(depths) < 2:
        return None
    found = []
    for name in analysis.settings(results, "depth", "architecture"):
        first, last = (
            analysis.rows(results, "depth", architecture=name, depth=d)
            for d in (min(depths), max(depths))
        )
        for measure, label in (("count", "frequencies"), ("loss", "loss"), ("margin", "margin")):
            deep = analysis.column(results, measure, last)
            shallow = analysis.column(results, measure, first)
            if not analysis.enough(deep, shallow):
                return None
            text = f"{name}, depth {max(depths)} - {min(depths)}: {label}"
            found.append(analysis.gap(deep, shallow, text))
    return [*found, analysis.missed(results, "depth")]


def judge_depth(estimates: Sequence[Estimate]) -> Verdict:
    fewer = [e.high < 0 for e in estimates if e.label.endswith(": frequencies")]
    lower = [e.high < 0 for e in estimates if e.label.endswith(": loss")]
    larger = [e.low > 0 for e in estimates if e.label.endswith(": margin")]
    return decide(all(fewer + lower + larger), any(fewer) or (all(lower) and all(larger)))


# --- C9: width ------------------------------------------------------------------------------------


def measure_width(results: Results) -> list[Estimate] | None:
    widths = analysis.settings(results, "width", "width")
    samples = {
        m: analysis.column(results, "r2", analysis.rows(results, "width", width=m)) for m in widths
    }
    if len(widths) < 2 or not analysis.enough(*samples.values()):
        return None
    found = [analysis.mean(values, f"R^2, width {m}") for m, values in samples.items()]
    low, high = min(widths), max(widths)
    found.append(analysis.gap(samples[high], samples[low], f"width {high} - {low}"))
    return [*found, analysis.missed(results, "width")]


def judge_width(estimates: Sequence[Estimate]) -> Verdict:
    means, change = labelled(estimates, "R^2"), labelled(estimates, "width")[0]
    return decide(change.low > 0 and means[-1].low >= 0.95, change.low > 0)
