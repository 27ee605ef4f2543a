"""What the paper claims, how this code measures it, and the rules that judge the measurement.

The rules were fixed before the first run. Places are by content: the numbering of the paper's
statements could not be checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from shared.experiment.spec import Claim, Estimate, Results, Verdict

SUPERIORITY_AGENTS = ("DSUP(1/2)", "DAU+DSUP(1/2)")
RIVALS = ("QR-DQN", "DAU", "DSUP(1)")
LEAST_SEEDS = 5  # with fewer, equal agents often look ordered, so nothing is decided
KEPT = -0.1  # a change of return with frequency smaller than a tenth of the optimum counts as kept


def _decide(holds: bool, partly: bool = False) -> Verdict:
    if holds:
        return Verdict.REPRODUCED
    return Verdict.PARTLY if partly else Verdict.NOT_REPRODUCED


def _labelled(estimates: Iterable[Estimate], start: str, end: str = "") -> list[Estimate]:
    return [e for e in estimates if e.label.startswith(start) and e.label.endswith(end)]


# --- C1 to C3: rates of collapse ------------------------------------------------------------------


def _exponents(results: Results, gaps: Sequence[str], cases: Sequence[str]) -> list[Estimate]:
    """Fitted exponents in closed form, then from simulated paths with an interval over batches."""
    found = [
        Estimate.exact(results[f"exact/rates/{case}/{gap}/slope"], f"{gap}, {case} policy")
        for case in cases
        for gap in gaps
    ]
    for gap in ("w1", "w2", "mean"):
        if gap in gaps:
            slopes = results[f"exact/simulated/{gap}/slope"]
            found += [
                _over_batches(slopes[row], f"{gap}, {case} policy, simulated")
                for row, case in enumerate(("degenerate", "noisy"))
                if case in cases
            ]
    return found


def _over_batches(values: object, label: str) -> Estimate:
    """Mean with its t interval over independent batches."""
    import numpy as np
    from scipy.stats import t

    batches = np.asarray(values, np.float64)
    n = len(batches)
    half = float(t.ppf(0.975, n - 1) * batches.std(ddof=1) / np.sqrt(n))
    mean = float(batches.mean())
    return Estimate(mean, mean - half, mean + half, label, n=n)


def _measure_collapse(results: Results) -> list[Estimate]:
    return _exponents(results, ("w1", "w2", "w4"), ("degenerate", "noisy"))


def _judge_collapse(estimates: Sequence[Estimate]) -> Verdict:
    exact = [e for e in estimates if e.n is None]
    simulated = [e for e in estimates if e.n is not None]
    closed = all(e.value >= 0.49 for e in exact)
    return _decide(closed and all(e.high >= 0.49 for e in simulated), closed)


def _measure_sharpness(results: Results) -> list[Estimate]:
    h, w2 = results["exact/rates/h"], results["exact/rates/degenerate/w2"]
    constant = Estimate.exact((w2 / h**0.5)[h.argmin()], "limit of W_2 / h^(1/2)")
    return [*_exponents(results, ("w1", "w2", "w4"), ("degenerate",)), constant]


def _judge_sharpness(estimates: Sequence[Estimate]) -> Verdict:
    *exponents, constant = estimates
    exact = all(abs(e.value - 0.5) <= 0.01 for e in exponents if e.n is None)
    simulated = all(abs(e.value - 0.5) <= 0.05 for e in exponents if e.n is not None)
    return _decide(exact and simulated and constant.value > 0, exact)


def _measure_statistics(results: Results) -> list[Estimate]:
    return _exponents(results, ("mean", "w1", "cvar"), ("degenerate",))


def _judge_statistics(estimates: Sequence[Estimate]) -> Verdict:
    def near(e: Estimate) -> bool:
        expected = 1.0 if e.label.startswith("mean") else 0.5
        return abs(e.value - expected) <= (0.01 if e.n is None else 0.05)

    exact = all(near(e) for e in estimates if e.n is None)
    return _decide(exact and all(map(near, estimates)), exact)


# --- C4 to C7: the superiority --------------------------------------------------------------------


def _measure_minimality(results: Results) -> list[Estimate]:
    ours, best = (results[f"exact/minimality/{name}"] for name in ("comonotone", "optimal"))
    return [
        Estimate.exact(abs(ours / best - 1).max(), "largest relative excess over W_p^p"),
        Estimate.exact(results["exact/cdr/self/comonotone"], "own superiority, standard deviation"),
        Estimate.exact(results["exact/cdr/self/independent"], "the same, independent coupling"),
    ]


def _judge_minimality(estimates: Sequence[Estimate]) -> Verdict:
    excess, own, independent = (e.value for e in estimates)
    return _decide(excess <= 1e-10 and own == 0 and independent > 0, excess <= 1e-10)


def _measure_rescaling(results: Results) -> list[Estimate]:
    std, exponents = results["exact/rescaling/std"], results["exact/rescaling/exponents"]
    return [
        Estimate.exact(row[-1] / row[0], f"spread at 1000 Hz / at 1 Hz, q={q:g}")
        for q, row in zip(exponents, std, strict=True)
    ]


def _judge_rescaling(estimates: Sequence[Estimate]) -> Verdict:
    none, half, one = (e.value for e in estimates)
    return _decide(none < 0.1 and abs(half - 1) < 0.01 and one > 10)


def _measure_shift(results: Results) -> list[Estimate]:
    mean, advantage = results["exact/rescaling/shifted/mean"], results["exact/rescaling/advantage"]
    std = results["exact/rescaling/shifted/std"]
    return [
        Estimate.exact(abs(mean - advantage).max(), "largest |mean - A_h| over frequencies"),
        Estimate.exact(abs(mean).min(), "smallest |mean| over frequencies"),
        Estimate.exact(std[-1] / std[0], "spread at 1000 Hz / at 1 Hz"),
    ]


def _judge_shift(estimates: Sequence[Estimate]) -> Verdict:
    error, size, ratio = (e.value for e in estimates)
    return _decide(error < 1e-9 and size > 0.1 and abs(ratio - 1) < 0.01)


def _measure_ranking(results: Results) -> list[Estimate]:
    return [
        Estimate.exact(
            results[f"exact/ranking/{order}"], f"share of wrong choices, {order}", "of problems"
        )
        for order in ("comonotone", "sorted")
    ]


def _judge_ranking(estimates: Sequence[Estimate]) -> Verdict:
    comonotone, sorted_ = (e.value for e in estimates)
    return _decide(comonotone == 0 and sorted_ == 0, comonotone == 0)


# --- C8 to C10: option trading --------------------------------------------------------------------


def _measure_frequency(results: Results) -> list[Estimate] | None:
    agents = {str(name) for name in results["agents"]}
    needed = {*SUPERIORITY_AGENTS, *RIVALS}
    seeds = results["neutral/score"].shape[3] if "neutral/score" in results else 0
    if not needed <= agents or len(results["frequencies"]) < 2 or seeds < LEAST_SEEDS:
        return None
    from papers.superiority.analysis import change_with_frequency, duel

    top = int(results["frequencies"].argmax())
    duels = [
        duel(results, top, ours, rival).better for ours in SUPERIORITY_AGENTS for rival in RIVALS
    ]
    kept = [change_with_frequency(results, name) for name in (*SUPERIORITY_AGENTS, *RIVALS)]
    gaps = [duel(results, top, ours, "QR-DQN").gap for ours in SUPERIORITY_AGENTS]
    return [*duels, *kept, *gaps]


def _judge_frequency(estimates: Sequence[Estimate]) -> Verdict:
    wins = [e.low > 0.5 for e in _labelled(estimates, "P(")]
    over_qrdqn = any(e.low > 0.5 for e in _labelled(estimates, "P(", "> QR-DQN)"))
    kept = [
        e.low > KEPT
        for name in SUPERIORITY_AGENTS
        for e in _labelled(estimates, f"kept by {name},")
    ]
    return _decide(all(wins) and all(kept), over_qrdqn)


def _measure_gap(results: Results) -> list[Estimate] | None:
    agents = [str(name) for name in results["agents"]]
    if not {"DSUP(1/2)", "QR-DQN"} <= set(agents) or results["neutral/gap"].shape[3] < LEAST_SEEDS:
        return None
    from papers.superiority.analysis import gap_between_actions

    return gap_between_actions(results)


def _judge_gap(estimates: Sequence[Estimate]) -> Verdict:
    _, rival, difference, *_ = estimates
    return _decide(difference.low > 0 and rival.high < 0.1, difference.low > 0)


def _measure_risk(results: Results) -> list[Estimate] | None:
    agents = {str(name) for name in results["risk_agents"]}
    enough = "risk/cvar" in results and results["risk/cvar"].shape[3] >= LEAST_SEEDS
    if not (enough and {"DSUP(1/2)", "QR-DQN"} <= agents):
        return None
    from papers.superiority.analysis import risk_duels

    return risk_duels(results)


def _judge_risk(estimates: Sequence[Estimate]) -> Verdict:
    overall, *levels = _labelled(estimates, "P(")
    better = overall.low > 0.5
    return _decide(better and all(e.value >= 0.5 for e in levels), better)


CLAIMS = (
    Claim(
        id="C1",
        statement="As the time h between decisions shrinks, the return law of every action "
        "collapses to the policy's own: W_p(zeta_h, eta) <= C h^(1/2) for every p.",
        place="theorem on the collapse of action-conditioned return laws",
        paper_value="exponent at least 1/2",
        measured_as="fitted exponent of W_p in h, p = 1, 2, 4, in closed form for a policy without "
        "and with noise of its own; p = 1, 2 from simulated paths of a geometric Brownian motion",
        rule="reproduced if every closed-form exponent and the upper end of every simulated one is "
        "at least 0.49; partly if only the closed forms are",
        measure=_measure_collapse,
        judge=_judge_collapse,
    ),
    Claim(
        id="C2",
        statement="The exponent 1/2 cannot be improved: some process attains it.",
        place="theorem on the sharpness of the rate",
        paper_value="exponent 1/2",
        measured_as="the same exponents where the policy stands still and the action moves, and "
        "the limit of W_2 / h^(1/2)",
        rule="reproduced if closed-form exponents are within 0.01 and simulated ones within 0.05 "
        "of 1/2 and the limit is positive; partly if only the closed forms are",
        measure=_measure_sharpness,
        judge=_judge_sharpness,
    ),
    Claim(
        id="C3",
        statement="Statistics collapse at different rates: the mean gap Q_h - V is of order h, "
        "the laws only of order h^(1/2).",
        place="discussion of the collapse of statistics",
        paper_value="exponents 1 and 1/2",
        measured_as="fitted exponents of the mean gap, W_1 and the CVaR gap in the same process",
        rule="reproduced if closed-form exponents are within 0.01 and simulated ones within 0.05 "
        "of 1 (mean) and 1/2 (laws, CVaR); partly if only the closed forms are",
        measure=_measure_statistics,
        judge=_judge_statistics,
    ),
    Claim(
        id="C4",
        statement="The superiority is the coupled difference of zeta_h and eta of least W_p cost; "
        "a deterministic policy's own action has superiority zero, which the independent coupling "
        "violates.",
        place="definition of the superiority and its axioms",
        measured_as="E|psi|^p against the optimum of an assignment solver on random laws of 50 "
        "atoms, p = 1, 2, 4; spread of eta's difference with itself under both couplings",
        rule="reproduced if the excess is below 1e-10, the own superiority is exactly zero and the "
        "independent one is not; partly if only the first",
        measure=_measure_minimality,
        judge=_judge_minimality,
    ),
    Claim(
        id="C5",
        statement="Of the rescalings h^(-q) psi_h, q = 1/2 keeps gaps of order one; smaller q "
        "collapses, larger q (in particular q = 1) blows up.",
        place="section on rescaled superiorities, and its figure",
        paper_value="by figure only",
        measured_as="spread of psi_{h;q} at 1000 decisions per unit of time over that at 1, for "
        "q = 0, 1/2, 1, in the process of C2",
        rule="reproduced if the ratios are below 0.1, within 1 % of one, and above 10",
        measure=_measure_rescaling,
        judge=_judge_rescaling,
    ),
    Claim(
        id="C6",
        statement="Shifted by the advantage, the 1/2-rescaled superiority keeps both its law and "
        "its mean of order one: its mean is A_h at every h.",
        place="section on the advantage-shifted superiority",
        paper_value="mean A_h",
        measured_as="mean and spread over frequencies 1 ... 1000, in the process of C2",
        rule="reproduced if the mean equals A_h to 1e-9 and exceeds 0.1, and the spread changes by "
        "less than 1 %",
        measure=_measure_shift,
        judge=_judge_shift,
    ),
    Claim(
        id="C7",
        statement="Ranking actions by a distortion risk measure of psi_{h;q} ranks them as the "
        "measure of zeta_h does.",
        place="statement on greedy actions under distortion risk measures",
        measured_as="share of 20,000 random problems (4 actions, CVaR at random levels) in which "
        "the action that is best by psi loses CVaR, for CVaR read at the levels of zeta and eta "
        "(comonotone) and after sorting psi, as the official code does",
        rule="reproduced if no choice is wrong in either reading; partly if none is in the "
        "comonotone one",
        finding="The statement holds for the comonotone reading. It fails once psi is sorted "
        "before CVaR is taken, which is what the official code computes: psi need not be "
        "increasing in the level.",
        measure=_measure_ranking,
        judge=_judge_ranking,
    ),
    Claim(
        id="C8",
        statement="Trading options risk-neutrally, DSUP(1/2) and DAU+DSUP(1/2) keep their return "
        "as decisions become more frequent; QR-DQN, DAU and DSUP(1) do worse or are erratic.",
        place="experiments, box plots of the return against frequency",
        paper_value="by figure only",
        measured_as="share of the optimal return, at the highest frequency: probability that a "
        "run of ours beats a run of each rival; and its change from the lowest frequency",
        rule="reproduced if both agents beat all three rivals (lower end above 1/2) and lose less "
        "than a tenth of the optimum with frequency (lower end); partly if one beats QR-DQN",
        measure=_measure_frequency,
        judge=_judge_frequency,
    ),
    Claim(
        id="C9",
        statement="At 35 decisions a day DSUP(1/2) tells the two actions apart at the start of an "
        "episode; QR-DQN does not.",
        place="experiments, learned distributions at 35 Hz",
        paper_value="by figure only",
        measured_as="W_1 between the learned laws of the two actions (psi_{h;1/2} for DSUP, zeta "
        "for QR-DQN) in units of the spread of their mixture: 0 the same, 2 two points; and, as a "
        "control, by how much training has changed it",
        rule="reproduced if DSUP's gap is larger (lower end of the paired difference above 0) and "
        "QR-DQN's is below 0.1 (upper end); partly if only larger",
        finding="A larger gap proves little: untrained networks already have 1.1 (DSUP, whose "
        "greedy law is a point mass by construction) and 0.2 (QR-DQN). And QR-DQN does tell the "
        "actions apart, because exercising ends the episode at every frequency.",
        measure=_measure_gap,
        judge=_judge_gap,
    ),
    Claim(
        id="C10",
        statement="Trading for CVaR at high frequency, DSUP(1/2) beats QR-DQN across levels.",
        place="experiments, CVaR of the return against its level",
        paper_value="by figure only",
        measured_as="probability that a run of DSUP(1/2) has the higher CVaR of returns than a run "
        "of QR-DQN, over all levels and at each",
        rule="reproduced if it is above 1/2 over all levels (lower end) and nowhere below 1/2; "
        "partly if only over all levels",
        measure=_measure_risk,
        judge=_judge_risk,
    ),
)
