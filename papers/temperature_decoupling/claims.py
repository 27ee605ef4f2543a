"""What the paper claims, how this code measures it, and the rules that judge the measurement.

C1 to C12 are the paper's statements in the order in which this room explains them; C13 to C15 are
theorems that these leave out. A theorem counts as reproduced where it holds, up to rounding, on M1
to M4 and on at least 200 random MDPs. The rules were fixed before the first run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from shared.experiment.spec import Claim, Estimate, Results, Verdict

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


def _enough(measure: Measure) -> Measure:
    """None where too few random MDPs were tried."""
    return lambda results: measure(results) if results["random/count"] >= LEAST_MDPS else None


def _all_below(limits: Sequence[float]) -> Callable[[Sequence[Estimate]], Verdict]:
    """Reproduced if each pair of estimates (examples, random) is at most its limit."""

    def judge(estimates: Sequence[Estimate]) -> Verdict:
        wide = [limit for limit in limits for _ in range(2)]
        return _decide(all(e.value <= top for e, top in zip(estimates, wide, strict=True)))

    return judge


# --- Values and policies --------------------------------------------------------------------------


def _measure_monotone(results: Results) -> list[Estimate]:
    return [
        *_on_both(results, "monotone/error", "largest rise of q*_tau with tau, over max |q|"),
        *_on_both(results, "cold/error", "distance to q*_ref at tau = 1e-12"),
    ]


def _measure_linear(results: Results) -> list[Estimate]:
    found = _flat(results, "linear/ratio")
    tight = results["examples/linear/ratio"][0, -1]
    return [
        *_on_both(found, "linear/ratio", "largest error over bound"),
        Estimate.exact(tight, "the same on M1 at tau = 1e-12"),
    ]


def _judge_linear(estimates: Sequence[Estimate]) -> Verdict:
    *ratios, tight = estimates
    holds = all(e.value <= 1 + ROUNDING for e in ratios)
    return _decide(holds and tight.value >= 1 - SMALL, holds)


def _measure_tv(results: Results) -> list[Estimate]:
    return [
        *_on_both(results, "tv/ratio", "largest TV over the paper's bound"),
        *_on_both(results, "slope/ratio", "largest TV / d for d < 1/2"),
        *_on_both(results, "sharp/ratio", "largest TV over tanh(d/2)"),
    ]


def _judge_tv(estimates: Sequence[Estimate]) -> Verdict:
    return _decide(all(e.value <= 1 + SMALL for e in estimates))


def _measure_standard(results: Results) -> list[Estimate]:
    return [
        *_on_both(results, "erl/tv", "TV to the closed form at tau = 1e-12"),
        *_on_both(results, "erl/cost/error", "its KL cost against -W"),
        *_on_both(results, "erl/optimal/error", "its value below the optimum"),
        *_on_both(results, "erl/excess", "least extra cost of another optimal policy", least=True),
    ]


def _judge_standard(estimates: Sequence[Estimate]) -> Verdict:
    *errors, one, two = estimates
    cheapest = min(one.value, two.value) >= -SMALL
    return _decide(cheapest and all(e.value <= SMALL for e in errors))


def _measure_decoupled(results: Results) -> list[Estimate]:
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


def _judge_decoupled(estimates: Sequence[Estimate]) -> Verdict:
    tv, ratio, slopes, control = estimates[:2], estimates[2:4], estimates[4:7], estimates[7:]
    close = all(e.value <= SMALL for e in tv) and all(e.value <= 1 + SMALL for e in ratio)
    rate = all(abs(e.value - k) <= 0.02 for e, k in zip(slopes, (0.5, 1.0, 2.0), strict=True))
    fixed = all(e.value <= SMALL for e in control[:2]) and control[2].value >= 0.01
    return _decide(close and rate and fixed, close)


def _measure_two_limits(results: Results) -> list[Estimate] | None:
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


def _judge_two_limits(estimates: Sequence[Estimate]) -> Verdict:
    standard, decoupled, elsewhere, *learned, _ = (e.value for e in estimates)
    differ = standard >= 0.99 and abs(decoupled - 0.5) <= 1e-6
    same = elsewhere <= SMALL
    return _decide(differ and same and all(v <= 0.02 for v in learned), differ and same)


# --- Return laws ----------------------------------------------------------------------------------


def _measure_laws(results: Results) -> list[Estimate]:
    return [
        *_on_both(results, "laws/w1", "sup-W_1 at tau = 1e-8, sigma = tau^2"),
        *_on_both(results, "laws/ratio", "largest sup-W_1 over gamma/(1-gamma) TV D"),
    ]


def _judge_laws(estimates: Sequence[Estimate]) -> Verdict:
    close = all(e.value <= 1e-6 for e in estimates[:2])
    return _decide(close and all(e.value <= 1 + SMALL for e in estimates[2:]), close)


def _measure_contraction(results: Results) -> list[Estimate]:
    found = _flat(results, "contraction/ratio")
    return _on_both(found, "contraction/ratio", "largest ratio of sup-W_p over gamma, p = 1, 2")


def _measure_means(results: Results) -> list[Estimate]:
    return _on_both(results, "mean/error", "largest difference, over max |q|")


def _measure_iterates(results: Results) -> list[Estimate]:
    steps = results["iterates/steps"]
    found = _flat(results, "iterates/late/ratio")
    return [
        *_on_both(results, "iterates/ratio", "sup-W_1 error over the bound of the proof"),
        *_on_both(results, "iterates/mean/ratio", "error of the means over gamma^n"),
        *_on_both(found, "iterates/late/ratio", "growth of W_1/(n gamma^n), W_2/gamma^(n/2)"),
        Estimate.exact(steps[0, -8:].min(), "M4, T*: least step among the last 8 of 40 (W_1)"),
        Estimate.exact(steps[1:, -8:].max(), "M4, T*_tau: largest step among the last 8"),
    ]


def _judge_iterates(estimates: Sequence[Estimate]) -> Verdict:
    *ratios, greedy, soft = estimates
    converge = all(e.value <= 1 + 1e-6 for e in ratios) and soft.value <= 1e-6
    return _decide(converge and greedy.value >= 0.5, converge)


def _measure_estimate(results: Results) -> list[Estimate]:
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


def _judge_estimate(estimates: Sequence[Estimate]) -> Verdict:
    one, two, lottery, asked = (e.value for e in estimates)
    close = one <= 1e-6 and two <= 1e-6 and lottery <= 1e-4
    return _decide(close and asked <= 1, close)


def _measure_precision(results: Results) -> list[Estimate] | None:
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


def _judge_precision(estimates: Sequence[Estimate]) -> Verdict:
    groups = [estimates[i : i + 5] for i in range(0, len(estimates), 5)]
    limit = all(g[0].value <= 1e-3 and g[1].value >= 0.05 and g[4].value <= 1e-3 for g in groups)
    precision = all(g[2].value >= 0.05 and g[3].value <= 0.1 * g[2].value for g in groups)
    return _decide(limit and precision, limit)


# --- Theorems beside these ------------------------------------------------------------------------


def _measure_unique(results: Results) -> list[Estimate]:
    return [
        *_on_both(results, "unique/own/error", "value of G_tau q*_tau against V_tau q*_tau"),
        *_on_both(results, "unique/identity/error", "shortfall against discounted tau KL to it"),
        *_on_both(results, "unique/least", "least shortfall of another policy", least=True),
    ]


def _judge_unique(estimates: Sequence[Estimate]) -> Verdict:
    *errors, one, two = estimates
    best = all(e.value <= SMALL for e in errors)
    return _decide(best and min(one.value, two.value) > 0, best)


def _measure_near(results: Results) -> list[Estimate]:
    return _on_both(_flat(results, "near/ratio"), "near/ratio", "largest loss of value over eps")


def _measure_narrow(results: Results) -> list[Estimate]:
    return [
        *_on_both(results, "limit/error", "full support: |q*_ref - q*|, over max |q|"),
        *_on_both(results, "narrow/above", "optimal actions removed: largest q*_ref - q*"),
        *_on_both(results, "narrow/outside", "mass of the limit policy off the support"),
        *_on_random(results, "narrow/loss", "optimal actions removed: largest q* - q*_ref"),
    ]


def _judge_narrow(estimates: Sequence[Estimate]) -> Verdict:
    *errors, loss = estimates
    return _decide(all(e.value <= SMALL for e in errors) and loss.value > 0.01)


CLAIMS = (
    Claim(
        id="C1",
        statement="The optimal soft values q*_tau increase to q*_ref as the temperature falls.",
        place="Lemma B.1, Theorem 3.2",
        paper_value="monotone; limit q*_ref",
        measured_as="q*_tau at eight temperatures from 0.3 to 1e-12 against each other and q*_ref",
        rule="reproduced if no value rises with tau by more than 1e-12 of the largest |q|, and at "
        "tau = 1e-12 the distance to q*_ref is at most 1e-10",
        measure=_enough(_measure_monotone),
        judge=_all_below((ROUNDING, 1e-10)),
    ),
    Claim(
        id="C2",
        statement="The error of the values is linear in the temperature: "
        "||q*_ref - q*_tau|| <= gamma/(1-gamma) tau log(1/p_ref).",
        place="Lemma B.10 (under Assumption 3.4)",
        paper_value="ratio at most 1",
        measured_as="the error over the bound at eight temperatures from 0.3 to 1e-12",
        rule="reproduced if no ratio exceeds 1 by more than rounding, and M1 attains it to 1e-9; "
        "partly if only the former",
        measure=_enough(_measure_linear),
        judge=_judge_linear,
    ),
    Claim(
        id="C3",
        statement="Boltzmann-Gibbs policies of q and q' differ by "
        "TV <= min(sqrt d, sinh(2d)/2), d = ||q - q'|| / tau: linear in d for d < 1/2.",
        place="Theorem 3.6",
        paper_value="ratio at most 1",
        measured_as="TV over the bound for random values 1e-3 to 10 temperatures apart and for "
        "soft values at neighbouring temperatures; TV / d; and TV over the sharp bound tanh(d/2), "
        "which is ours",
        rule="reproduced if no ratio exceeds 1 by more than rounding",
        measure=_enough(_measure_tv),
        judge=_judge_tv,
    ),
    Claim(
        id="C4",
        statement="The tau-optimal policies converge: their limit is the optimal policy of least "
        "discounted KL to the reference.",
        place="Theorem 2.5",
        paper_value="convergence",
        measured_as="TV between pi^{tau,*} and the closed form of the limit; the KL cost of the "
        "latter against -W and against 16 random optimal policies for each MDP",
        rule="reproduced if TV at tau = 1e-12 and both errors are at most 1e-9 and no optimal "
        "policy is cheaper by more than 1e-9",
        measure=_enough(_measure_standard),
        judge=_judge_standard,
    ),
    Claim(
        id="C5",
        statement="Decoupled policies converge to the reference restricted to optimal actions "
        "as sigma/tau -> 0.",
        place="Theorem 3.9",
        paper_value="convergence",
        measured_as="TV at eight temperatures for sigma = tau^1.5, tau^2, tau^3; the bound of the "
        "proof; exponents of the worst TV between tau = 1e-3 and 1e-6; the control sigma = tau/2",
        rule="reproduced if at tau = 1e-12 (sigma = tau^2) TV is at most 1e-9, the bound holds, "
        "exponents are within 0.02 of k - 1, and the control goes to its own limit instead; partly "
        "if only TV and bound",
        measure=_enough(_measure_decoupled),
        judge=_judge_decoupled,
    ),
    Claim(
        id="C6",
        statement="The two limits differ: on the tri-state MDP annealing all but commits to one of "
        "two optimal actions at x0, decoupling plays them evenly; elsewhere they agree.",
        place="section 3.1, figure 3.1; appendix D",
        paper_value="by figure only; the text speaks of a point mass",
        measured_as="exact policies on M1 (a stand-in for the figure's MDP) at tau = 1e-12; soft "
        "Q-learning at the coldest temperature, largest TV to the exact policy, mean over seeds",
        rule="reproduced if standard >= 0.99, |decoupled - 1/2| <= 1e-6, agreement to 1e-9 "
        "elsewhere, and learned policies within 0.02; partly if only the exact ones",
        measure=_enough(_measure_two_limits),
        judge=_judge_two_limits,
    ),
    Claim(
        id="C7",
        statement="The return laws of decoupled policies converge to that of the filtered "
        "reference.",
        place="Theorem 3.10",
        paper_value="convergence in W_p",
        measured_as="sup-W_1 between return laws on a grid (cramer projection, under which W_1 "
        "never grows) for tau = 0.1 to 1e-8; and over gamma/(1-gamma) TV D, D the largest W_1 "
        "between two actions' laws",
        rule="reproduced if sup-W_1 at tau = 1e-8 is at most 1e-6 and the bound holds; partly if "
        "only the former",
        measure=_enough(_measure_laws),
        judge=_judge_laws,
    ),
    Claim(
        id="C8",
        statement="The soft distributional operator T^pi_tau contracts sup-W_p by gamma.",
        place="Theorem 4.2",
        paper_value="ratio at most gamma",
        measured_as="sup-W_p of the images over that of the arguments, over gamma: random laws and "
        "policies, without a projection, p = 1, 2, tau = 0, 0.3",
        rule="reproduced if no ratio exceeds 1 by more than 1e-12",
        measure=_enough(_measure_contraction),
        judge=_all_below((1 + ROUNDING,)),
    ),
    Claim(
        id="C9",
        statement="Means commute with the soft optimality operator: Q T*_tau = B*_tau Q.",
        place="Lemma 4.4",
        paper_value="equality",
        measured_as="largest difference of both sides on random laws, without a projection",
        rule="reproduced if it is at most 1e-12 of the largest |q|",
        measure=_enough(_measure_means),
        judge=_all_below((ROUNDING,)),
    ),
    Claim(
        id="C10",
        statement="Iterates of T*_tau converge, with W_1 error of order n gamma^n and W_p error of "
        "order gamma^(n/p); iterates of T* need not.",
        place="Theorem 4.5, figure 4.1",
        paper_value="convergence; by figure only",
        measured_as="40 iterates at tau = 0.3 from point masses at 0: sup-W_1 error over the bound "
        "of the proof with its constants, error of the means over gamma^n, largest W_1/(n gamma^n) "
        "and W_2/gamma^(n/2) after 12 iterates over those before; W_1 between consecutive iterates "
        "of T* and T*_tau at x0 of M4",
        rule="reproduced if no ratio exceeds 1, T* still moves by at least 0.5 on M4 and T*_tau by "
        "at most 1e-6; partly if only convergence",
        measure=_enough(_measure_iterates),
        judge=_judge_iterates,
    ),
    Claim(
        id="C11",
        statement="Control at sigma = tau^2, then evaluation at tau, estimates the return law of "
        "the filtered reference to any accuracy.",
        place="Theorem 4.7",
        paper_value="convergence",
        measured_as="sup-W_1 between the algorithm's output and the law of pi^{ref,*}: on the same "
        "grid for random MDPs, enumerated for M2; and the error of estimates that were asked for "
        "given accuracies",
        rule="reproduced if sup-W_1 is at most 1e-6 at tau = 1e-8, 1e-4 at x0 of M2 at the coldest "
        "of the paper's temperatures, and no estimate misses its accuracy; partly without the last",
        measure=_enough(_measure_estimate),
        judge=_judge_estimate,
    ),
    Claim(
        id="C12",
        statement="Without decoupling the estimate tends to another optimal return law, and in "
        "32-bit arithmetic it depends on the precision; with decoupling it hardly does.",
        place="figures 4.3 and 4.4",
        paper_value="by figure only",
        measured_as="estimates for x0 of M2 (a stand-in for the figure's MDP) at the paper's "
        "temperatures, in float64 and float32, W_1 to both limits and between precisions",
        rule="reproduced if, for every projection, standard tends to the ERL law (at most 1e-3) "
        "away from the reference's (at least 0.05), decoupled to the latter in both precisions "
        "(at most 1e-3), standard changes with precision by at least 0.05 and decoupled by at most "
        "a tenth of that; partly if only the limits",
        measure=_measure_precision,
        judge=_judge_precision,
    ),
    Claim(
        id="C13",
        statement="(Theorem 2.3) G_tau q*_tau is the one tau-optimal policy, from every start.",
        place="Theorem 2.3",
        paper_value="uniqueness",
        measured_as="its soft value against V_tau q*_tau; the shortfall of 8 random policies for "
        "each MDP against the discounted tau KL to it along them, which is positive",
        rule="reproduced if both agree to 1e-9 and every shortfall is positive; partly if only the "
        "former",
        measure=_enough(_measure_unique),
        judge=_judge_unique,
    ),
    Claim(
        id="C14",
        statement="(Theorem 4.6, its part on values) pi^{tau,*} is eps-reference-optimal as soon "
        "as tau <= eps (1-gamma) / (2 gamma log(1/p_ref)).",
        place="Theorem 4.6",
        paper_value="loss at most eps",
        measured_as="max(q*_ref - q^pi) / eps at that temperature, eps = 1, 0.1, 0.01",
        rule="reproduced if no ratio exceeds 1",
        measure=_enough(_measure_near),
        judge=_all_below((1.0,)),
    ),
    Claim(
        id="C15",
        statement="(Lemma 3.1, Theorem 3.2) q*_ref <= q*, with equality where the reference has "
        "full support; elsewhere the limits stay inside the support.",
        place="Lemma 3.1, Theorem 3.2, Definition 3.3",
        paper_value="inequality; equality under full support",
        measured_as="q*_ref against the known q*, with the reference as it is and without the "
        "optimal actions of one state; mass of the filtered reference outside the support",
        rule="reproduced if with full support both agree, without it q*_ref is nowhere above, "
        "somewhere below by 0.01, and no mass is outside (all to 1e-9)",
        measure=_enough(_measure_narrow),
        judge=_judge_narrow,
    ),
)
