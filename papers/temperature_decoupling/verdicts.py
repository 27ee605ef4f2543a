"""How each claim is measured from the results of a run, and the rule that judges it.

A theorem counts as reproduced where it holds, up to rounding, on M1 to M4 and on at least 200
random MDPs. The rules were fixed before the first run; `claims.py` states them in words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from shared.experiment.spec import Estimate, Results, Verdict

if TYPE_CHECKING:
    import numpy as np

LEAST_MDPS = 200
LEAST_SEEDS = 3
ROUNDING = 1e-12  # of quantities of order one
SMALL = 1e-9  # after a linear system or a limit

Measure = Callable[[Results], Sequence[Estimate] | None]


def _decide(holds: bool, partly: bool = False) -> Verdict:
    if holds:
        return Verdict.REPRODUCED
    return Verdict.PARTLY if partly else Verdict.NOT_REPRODUCED


def _on_both(results: Results, name: str, what: str, least: bool = False) -> list[Estimate]:
    """The worst value on M1 to M4 and on the random MDPs, with the number of the worst one.

    Args:
        name: of the measurement; its last entry where it is one of several (the coldest).
        least: the smallest is the worst.
    """
    return [*_on_examples(results, name, what, least), *_on_random(results, name, what, least)]


def _on_examples(results: Results, name: str, what: str, least: bool = False) -> list[Estimate]:
    values = _coldest(results[f"examples/{name}"], 1)
    return [Estimate.exact(values.min() if least else values.max(), f"{what}, M1 to M4")]


def _on_random(results: Results, name: str, what: str, least: bool = False) -> list[Estimate]:
    values = _coldest(results[f"random/{'min' if least else 'max'}/{name}"], 0)
    count = int(results["random/count"])
    where = f"{count} random MDPs"
    if not least:
        where += f" (worst: number {int(_coldest(results[f'random/worst/{name}'], 0))})"
    return [Estimate.exact(values, f"{what}, {where}")]


def _coldest(values: np.ndarray, lead: int) -> np.ndarray:
    """The last entry along all axes but the first `lead`."""
    return values[(..., *[-1] * (values.ndim - lead))]


def _flat(results: Results, name: str) -> Results:
    """`name` reduced to its largest entry, so that no entry is passed over."""
    import numpy as np

    found = dict(results)
    value = results[f"examples/{name}"]
    found[f"examples/{name}"] = value.reshape(len(value), -1).max(1)
    top = results[f"random/max/{name}"]
    found[f"random/max/{name}"] = np.asarray(top.max())
    found[f"random/worst/{name}"] = results[f"random/worst/{name}"].ravel()[top.argmax()]
    return found


def enough(measure: Measure) -> Measure:
    """None where too few random MDPs were tried."""
    return lambda results: measure(results) if results["random/count"] >= LEAST_MDPS else None


def all_below(limits: Sequence[float]) -> Callable[[Sequence[Estimate]], Verdict]:
    """Reproduced if each pair of estimates (examples, random) is at most its limit."""

    def judge(estimates: Sequence[Estimate]) -> Verdict:
        wide = [limit for limit in limits for _ in range(2)]
        return _decide(all(e.value <= top for e, top in zip(estimates, wide, strict=True)))

    return judge


# --- Values and policies --------------------------------------------------------------------------


def measure_monotone(results: Results) -> list[Estimate]:
    return [
        *_on_both(results, "monotone/error", "largest rise of q*_tau with tau, over max |q|"),
        *_on_both(results, "cold/error", "distance to q*_ref at tau = 1e-12"),
    ]


def measure_linear(results: Results) -> list[Estimate]:
    found = _flat(results, "linear/ratio")
    tight = results["examples/linear/ratio"][0, -1]
    return [
        *_on_both(found, "linear/ratio", "largest error over bound"),
        Estimate.exact(tight, "the same on M1 at tau = 1e-12"),
    ]


def judge_linear(estimates: Sequence[Estimate]) -> Verdict:
    *ratios, tight = estimates
    holds = all(e.value <= 1 + ROUNDING for e in ratios)
    return _decide(holds and tight.value >= 1 - SMALL, holds)


def measure_tv(results: Results) -> list[Estimate]:
    return [
        *_on_both(results, "tv/ratio", "largest TV over the paper's bound"),
        *_on_both(results, "slope/ratio", "largest TV / d for d < 1/2"),
        *_on_both(results, "sharp/ratio", "largest TV over tanh(d/2)"),
    ]


def judge_tv(estimates: Sequence[Estimate]) -> Verdict:
    return _decide(all(e.value <= 1 + SMALL for e in estimates))


def measure_standard(results: Results) -> list[Estimate]:
    return [
        *_on_both(results, "erl/tv", "TV to the closed form at tau = 1e-12"),
        *_on_both(results, "erl/cost/error", "its KL cost against -W"),
        *_on_both(results, "erl/optimal/error", "its value below the optimum"),
        *_on_both(results, "erl/excess", "least extra cost of another optimal policy", least=True),
    ]


def judge_standard(estimates: Sequence[Estimate]) -> Verdict:
    *errors, one, two = estimates
    cheapest = min(one.value, two.value) >= -SMALL
    return _decide(cheapest and all(e.value <= SMALL for e in errors))


def measure_decoupled(results: Results) -> list[Estimate]:
    import numpy as np

    both = dict(results)
    for part in ("examples/", "random/max/", "random/worst/"):
        both[f"{part}decoupled/tv"] = results[f"{part}decoupled/tv"][..., 1, :]
    worst = results["random/max/decoupled/tv"]
    slopes = np.log10(worst[:, 4] / worst[:, 5]) / 3
    fixed = results["random/max/fixed/tv"]
    return [
        *_on_both(both, "decoupled/tv", "TV to pi^{ref,*} at tau = 1e-12, sigma = tau^2"),
        *_on_both(results, "decoupled/ratio", "largest TV to G_tau q*_ref over its bound"),
        *(
            Estimate.exact(s, f"exponent of TV in tau, sigma = tau^{k:g}")
            for k, s in zip((1.5, 2.0, 3.0), slopes, strict=True)
        ),
        *_on_both(results, "fixed/error", "control sigma = tau/2: TV to its own limit"),
        Estimate.exact(fixed, "control: largest TV to pi^{ref,*}"),
    ]


def judge_decoupled(estimates: Sequence[Estimate]) -> Verdict:
    tv, ratio, slopes, control = estimates[:2], estimates[2:4], estimates[4:7], estimates[7:]
    close = all(e.value <= SMALL for e in tv) and all(e.value <= 1 + SMALL for e in ratio)
    rate = all(abs(e.value - k) <= 0.02 for e, k in zip(slopes, (0.5, 1.0, 2.0), strict=True))
    fixed = all(e.value <= SMALL for e in control[:2]) and control[2].value >= 0.01
    return _decide(close and rate and fixed, close)


def measure_two_limits(results: Results) -> list[Estimate] | None:
    policy = results["learning/m1/policy"]  # [seed, 2, tau, state]
    if len(policy) < LEAST_SEEDS:
        return None
    from shared.stats import bootstrap, mean

    found = [
        Estimate.exact(results[f"examples/two/{name}"][0], label)
        for name, label in (
            ("standard", "standard at x0, tau = 1e-12: probability of a0"),
            ("decoupled", "decoupled at x0, tau = 1e-12: probability of a0"),
            ("elsewhere", "TV between both at x1 and x2"),
        )
    ]
    last = results["learning/m1/tv"][..., -1]
    for i, name in enumerate(("standard", "decoupled")):
        interval = bootstrap(last[:, i].astype(float), mean, seed=0)
        found.append(interval.to_estimate(f"soft Q-learning, {name}: TV to exact, coldest"))
    apart = results["random/max/limits/tv"]
    return [*found, Estimate.exact(apart, "largest TV between both limits, random MDPs")]


def judge_two_limits(estimates: Sequence[Estimate]) -> Verdict:
    standard, decoupled, elsewhere, *learned, _ = (e.value for e in estimates)
    differ = standard >= 0.99 and abs(decoupled - 0.5) <= 1e-6
    same = elsewhere <= SMALL
    return _decide(differ and same and all(v <= 0.02 for v in learned), differ and same)


# --- Return laws ----------------------------------------------------------------------------------


def measure_laws(results: Results) -> list[Estimate]:
    return [
        *_on_both(results, "laws/w1", "sup-W_1 at tau = 1e-8, sigma = tau^2"),
        *_on_both(results, "laws/w2", "sup-W_2 at tau = 1e-8"),
        *_on_both(results, "decoupled/lost", "largest value lost at tau = 1e-12"),
        *_on_both(results, "laws/ratio", "largest sup-W_1 over gamma/(1-gamma) TV D"),
    ]


def judge_laws(estimates: Sequence[Estimate]) -> Verdict:
    limits = (1e-6, 1e-6, 1e-3, 1e-3, SMALL, SMALL)
    close = all(e.value <= top for e, top in zip(estimates, limits, strict=False))
    return _decide(close and all(e.value <= 1 + SMALL for e in estimates[6:]), close)


def measure_contraction(results: Results) -> list[Estimate]:
    found = _flat(results, "contraction/ratio")
    return _on_both(found, "contraction/ratio", "largest ratio of sup-W_p over gamma, p = 1, 2")


def measure_means(results: Results) -> list[Estimate]:
    return _on_both(results, "mean/error", "largest difference, over max |q|")


def measure_iterates(results: Results) -> list[Estimate]:
    steps = results["iterates/steps"]
    found = _flat(results, "iterates/late/ratio")
    return [
        *_on_both(results, "iterates/ratio", "sup-W_1 error over the bound of the proof"),
        *_on_both(results, "iterates/mean/ratio", "error of the means over gamma^n"),
        *_on_both(found, "iterates/late/ratio", "growth of W_1/(n gamma^n), W_2/gamma^(n/2)"),
        Estimate.exact(steps[0, -8:].min(), "M4, T*: least step among the last 8 of 40 (W_1)"),
        Estimate.exact(steps[1:, -8:].max(), "M4, T*_tau: largest step among the last 8"),
    ]


def judge_iterates(estimates: Sequence[Estimate]) -> Verdict:
    *ratios, greedy, soft = estimates
    converge = all(e.value <= 1 + 1e-6 for e in ratios) and soft.value <= 1e-6
    return _decide(converge and greedy.value >= 0.5, converge)


def measure_estimate(results: Results) -> list[Estimate]:
    error = results["accuracy/error"] / results["accuracies"]
    part = f"laws/float64/{_projection(results)}/"
    coldest = int(results["opt_taus"].argmin())
    return [
        *_on_both(results, "estimate/w1", "sup-W_1 to the law of pi^{ref,*}, tau = 1e-8"),
        Estimate.exact(results[part + "w1"][coldest, 1, 0], "the same at x0 of M2, coldest"),
        Estimate.exact(error.max(), "error over the accuracy asked for, M2"),
    ]


def _projection(results: Results) -> str:
    names = [str(name) for name in results["projections"]]
    return "cramer" if "cramer" in names else names[0]


def judge_estimate(estimates: Sequence[Estimate]) -> Verdict:
    one, two, lottery, asked = (e.value for e in estimates)
    close = one <= 1e-6 and two <= 1e-6 and lottery <= 1e-4
    return _decide(close and asked <= 1, close)


def measure_precision(results: Results) -> list[Estimate] | None:
    if results["opt_taus"].min() > 1e-8:
        return None
    cold, found = int(results["opt_taus"].argmin()), []
    for name in map(str, results["projections"]):
        w1 = results[f"laws/float64/{name}/w1"][cold]  # [choice, limit]
        apart = results[f"laws/{name}/apart"].max(0)
        single = results[f"laws/float32/{name}/w1"][cold, 1, 0]
        numbers = (
            (w1[0, 1], "standard, float64: W_1 to the law of pi^{ERL,*}"),
            (w1[0, 0], "standard, float64: W_1 to the law of pi^{ref,*}"),
            (apart[0], "standard: largest W_1 between float64 and float32"),
            (apart[1], "decoupled: largest W_1 between float64 and float32"),
            (max(w1[1, 0], single), "decoupled, either precision: W_1 to the law of pi^{ref,*}"),
        )
        found += [Estimate.exact(value, f"{name}, {label}") for value, label in numbers]
    return found


def judge_precision(estimates: Sequence[Estimate]) -> Verdict:
    groups = [estimates[i : i + 5] for i in range(0, len(estimates), 5)]
    limit = all(g[0].value <= 1e-3 and g[1].value >= 0.05 and g[4].value <= 1e-3 for g in groups)
    precision = all(g[2].value >= 0.05 and g[3].value <= 0.1 * g[2].value for g in groups)
    return _decide(limit and precision, limit)


# --- Theorems beside these ------------------------------------------------------------------------


def measure_unique(results: Results) -> list[Estimate]:
    return [
        *_on_both(results, "unique/own/error", "value of G_tau q*_tau against V_tau q*_tau"),
        *_on_both(results, "unique/identity/error", "shortfall against discounted tau KL to it"),
        *_on_both(results, "unique/least", "least shortfall of another policy", least=True),
    ]


def judge_unique(estimates: Sequence[Estimate]) -> Verdict:
    *errors, one, two = estimates
    best = all(e.value <= SMALL for e in errors)
    return _decide(best and min(one.value, two.value) > 0, best)


def measure_near(results: Results) -> list[Estimate]:
    return _on_both(_flat(results, "near/ratio"), "near/ratio", "largest loss of value over eps")


def measure_narrow(results: Results) -> list[Estimate]:
    return [
        *_on_both(results, "limit/error", "full support: |q*_ref - q*|, over max |q|"),
        *_on_both(results, "narrow/above", "optimal actions removed: largest q*_ref - q*"),
        *_on_both(results, "narrow/outside", "mass of the limit policy off the support"),
        *_on_random(results, "narrow/loss", "optimal actions removed: largest q* - q*_ref"),
    ]


def judge_narrow(estimates: Sequence[Estimate]) -> Verdict:
    *errors, loss = estimates
    return _decide(all(e.value <= SMALL for e in errors) and loss.value > 0.01)
