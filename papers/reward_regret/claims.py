"""What the paper claims, how this code measures it, and the rules that judge the measurement.

The paper is theory: a claim is decided on hand-made MDPs and on random ones, one a seed, by numbers
that must be zero or have a sign. The rules are the statements themselves, and EXACT is what
rounding may add. Places are by content; the numbering of the paper's statements could not be
checked, and its bounds are derived anew (README).
"""

from __future__ import annotations

from collections.abc import Sequence

from shared.experiment.spec import Claim, Estimate, Results, Verdict

EXACT = 1e-9


def _decide(holds: bool, partly: bool = False) -> Verdict:
    if holds:
        return Verdict.REPRODUCED
    return Verdict.PARTLY if partly else Verdict.NOT_REPRODUCED


def _most(results: Results, check: str, name: str, label: str, unit: str = "") -> Estimate:
    """The largest over all seeds and values of the check's parameter."""
    return Estimate.exact(results[f"random/{check}/{name}"].max(), label, unit)


def _least(results: Results, check: str, name: str, label: str, unit: str = "") -> Estimate:
    return Estimate.exact(results[f"random/{check}/{name}"].min(), label, unit)


def _exactly(results: Results, name: str, label: str, unit: str = "") -> Estimate:
    return Estimate.exact(results[f"exact/{name}"], label, unit)


def _seeds(results: Results, what: str = "MDPs") -> str:
    first = int(results["first_seed"])
    return f"random {what} {first} to {first + int(results['seeds']) - 1}"


# --- The measurements and the rules ---------------------------------------------------------------


def _measure_coverage(results: Results) -> list[Estimate]:
    where = _seeds(results)
    proof = abs(results["random/bounds/gap"]).max()
    lost = abs(results["random/bounds/witness_shortfall"]).max()
    found = [
        _exactly(results, "closed/gap", "largest distance from closed forms"),
        _exactly(results, "closed/proof_gap", "gap between certificates, hand-made MDPs"),
        Estimate.exact(proof, f"the same, {where}"),
        _exactly(results, "closed/witness_shortfall", "witness short of optimal, hand-made MDPs"),
        Estimate.exact(lost, f"the same, {where}"),
        _least(results, "bounds", "witness_excess", "least regret of a witness - L"),
        _exactly(results, "closed/least_over_tight", "least eps* / bound, hand-made MDPs"),
        _least(results, "bounds", "over_tight", f"the same, {where}"),
        _exactly(results, "closed/attained", "eps* / bound where it is attained"),
        _least(results, "bounds", "over_paper", f"least eps* / paper's bound, {where}"),
        _most(results, "bounds", "attack_excess", "largest regret - L of attacks below eps*"),
        _most(results, "milp", "margin_gap", "MILP against enumeration, margins"),
        _most(results, "milp", "regret_gap", "MILP against enumeration, worst regrets"),
    ]
    return found


def _judge_coverage(estimates: Sequence[Estimate]) -> Verdict:
    (closed, proof, proofs, lost, all_lost, excess, hand, tight, attained, paper, attack,
     margins, regrets) = (e.value for e in estimates)  # fmt: skip
    bounded = min(hand, tight) >= 1 - EXACT and paper >= 2**0.5 * (1 - EXACT)
    exact = max(closed, proof, proofs, lost, all_lost) <= EXACT and excess >= -EXACT
    checked = attack < 0 and abs(attained - 1) <= EXACT and max(margins, regrets) <= 1e-6
    return _decide(bounded and exact and checked, bounded)


def _measure_support(results: Results) -> list[Estimate]:
    threshold, at = results["exact/support/threshold"], results["exact/support/certificate"]
    lost = abs(results["random/support/witness_shortfall"]).max()
    where = _seeds(results)
    return [
        Estimate.exact((threshold / at).max(), "largest eps* / D(support), hand-made MDP"),
        _most(results, "support", "margin_share", f"the same, {where}"),
        _exactly(results, "support/error_share", "largest witness error / D(support), hand-made"),
        _most(results, "support", "error_share", f"the same, {where}"),
        _exactly(results, "support/witness_shortfall", "witness short of optimal, hand-made"),
        Estimate.exact(lost, f"the same, {where}"),
        _least(results, "support", "witness_excess", "least regret of a witness - L"),
    ]


def _judge_support(estimates: Sequence[Estimate]) -> Verdict:
    *shares, lost, all_lost, loss = (e.value for e in estimates)
    return _decide(max(shares) <= 1 + EXACT and max(lost, all_lost) <= EXACT and loss >= -EXACT)


def _measure_disjoint(results: Results) -> list[Estimate]:
    n, margin = results["exact/arms/n"], results["exact/arms/margin"]
    ten = int(abs(n - 10).argmin())
    return [
        Estimate.exact(abs(margin * (n + 1) - 1).max(), "bandits: largest |(n + 1) eps* - 1|"),
        Estimate.exact(margin[ten], f"bandit with {n[ten]} bad arms: best eps*"),
        _most(results, "design", "bound_share", f"largest n eps*, {_seeds(results)}"),
        _most(results, "design", "disjoint", "largest n among them", "disjoint bad policies"),
        _most(results, "design", "recomputed_gap", "best D recomputed, largest gap"),
        _most(results, "design", "rival_excess", "largest eps* of other D - best"),
    ]


def _judge_disjoint(estimates: Sequence[Estimate]) -> Verdict:
    arms, _, share, _, gap, rivals = (e.value for e in estimates)
    holds = share <= 1 + EXACT and arms <= 1e-6
    return _decide(holds and gap <= EXACT and rivals <= EXACT, holds)


def _measure_matrix(results: Results) -> list[Estimate]:
    where = _seeds(results)
    return [
        _exactly(results, "matrix/gap", "|min M D - margin| at 600 D, hand-made MDPs"),
        _exactly(results, "matrix/wrong", "wrong verdicts, hand-made MDPs"),
        _most(results, "matrix", "disagreement", f"|min M D - margin|, {where}"),
        _most(results, "matrix", "wrong_verdicts", f"wrong verdicts, {where}"),
        Estimate.exact(results["exact/matrix/rows"].max(), "rows of M, hand-made MDPs, at most"),
        _most(results, "matrix", "rows", f"rows of M, {where}, at most"),
    ]


def _judge_matrix(estimates: Sequence[Estimate]) -> Verdict:
    hand, hand_wrong, gap, wrong, *_ = (e.value for e in estimates)
    return _decide(max(hand, gap) <= EXACT and hand_wrong == wrong == 0)


def _measure_penalty(results: Results) -> list[Estimate]:
    where = _seeds(results)
    error = max(
        float(results[f"random/penalised/{name}_error_share"].max()) for name in ("kl", "square")
    )
    exact, bound = results["exact/penalty/exact"], results["exact/penalty/bound"]
    return [
        _least(results, "penalised", "kl_excess", f"regret - L under KL, least, {where}"),
        _least(results, "penalised", "square_excess", "the same, squared distance"),
        Estimate.exact(error, "largest witness error / eps"),
        _least(results, "penalised", "safe_error", "least eps certified safe"),
        _most(results, "penalised", "safe_excess", "largest regret - L of attacks on it"),
        _most(results, "penalised", "exact_gap", "one prompt: |regret - L| at the exact eps*"),
        _most(results, "penalised", "exact_attack_excess", "regret - L of attacks below it"),
        _least(results, "penalised", "exact_less_bound", "exact eps* - certified, least"),
        Estimate.exact((exact - bound).min(), "the same over lambda, hand-made bandit"),
    ]


def _judge_penalty(estimates: Sequence[Estimate]) -> Verdict:
    kl, square, error, eps, attack, gap, below, slack, hand = (e.value for e in estimates)
    unsafe = min(kl, square) >= -EXACT and error <= 1 + EXACT
    safe = eps > 0 and attack < 0 and below < 0 and min(slack, hand) >= -EXACT
    return _decide(unsafe and safe and gap <= EXACT, unsafe)


def _measure_rlhf(results: Results) -> list[Estimate]:
    theorem, truth = results["exact/rlhf/theorem"], results["exact/rlhf/truth"]
    return [
        _most(results, "rlhf", "shortfall", f"L - regret, largest, {_seeds(results, 'bandits')}"),
        _most(results, "rlhf", "choice_share", "choice error / eps, largest"),
        _exactly(results, "rlhf/held", "share of eps, lambda at which the worked example is one"),
        Estimate.exact(
            (truth / theorem).min(), "mass up to which it is one / the theorem's, least"
        ),
    ]


def _judge_rlhf(estimates: Sequence[Estimate]) -> Verdict:
    shortfall, share, held, ratio = (e.value for e in estimates)
    return _decide(shortfall <= EXACT and share <= 1 + EXACT and held == 1 and ratio >= 1)


def _measure_errors(results: Results) -> list[Estimate]:
    found = [_exactly(results, "choices/most", "choice / (2 reward error), 10,000 bandits")]
    for kind in ("random", "mismatch"):
        of = "of random rewards" if kind == "random" else "of mismatches"
        found += [
            _most(results, "errors", f"{kind}_return_share", f"return / (c reward error), {of}"),
            _most(results, "errors", f"{kind}_choice_share", f"choice / (2 return error), {of}"),
        ]
    lost = abs(results["random/errors/mismatch_shortfall"]).max()
    return [
        *found,
        Estimate.exact(lost, "mismatch short of optimal"),
        _least(results, "errors", "mismatch_excess", "least regret of a mismatch - L"),
    ]


def _judge_errors(estimates: Sequence[Estimate]) -> Verdict:
    *shares, lost, excess = (e.value for e in estimates)
    return _decide(max(shares) <= 1 + EXACT and lost <= EXACT and excess >= -EXACT)


def _measure_expert(results: Results) -> list[Estimate]:
    weights = results["exact/expert/weights"]
    small = weights <= 0.1
    slopes = []
    for name in ("chain", "bandit", "three_by_two"):
        margin = results[f"exact/expert/{name}"][small]
        slopes.append(abs(margin - weights[small] * margin[-1] / weights[small][-1]).max())
    thresholds = results["random/expert/threshold"]
    shares = results["random/expert/share_of_uniform"]
    w = results["random/expert/values"]
    positive = w > 0
    none = max(float(results[f"exact/expert/{n}"][0]) for n in ("chain", "bandit", "three_by_two"))
    floor = (shares[positive] / w[positive][:, None]).min()
    lowest = int(positive.argmax())
    return [
        Estimate.exact(none, "eps* of pure expert data, hand-made MDPs"),
        Estimate.exact(thresholds[0].max(), f"the same, largest, {_seeds(results)}"),
        Estimate.exact(max(slopes), "distance from a line below w = 0.1, hand-made MDPs"),
        Estimate.exact(floor, "least eps*(w) / (w eps*(uniform))"),
        Estimate.exact(
            shares[lowest, shares.shape[1] // 2] / w[lowest],
            f"the same at w = {w[lowest]:g}, median",
        ),
    ]


def _judge_expert(estimates: Sequence[Estimate]) -> Verdict:
    hand, none, line, floor, median = (e.value for e in estimates)
    zero = max(hand, none) <= EXACT
    # Concavity alone gives the floor; a small margin is one that is not far above the line.
    return _decide(zero and line <= EXACT and floor >= 1 - 1e-6 and median <= 2, zero)


CLAIMS = (
    Claim(
        id="C1",
        statement="If the data cover every state and action, a small enough expected reward error "
        "guarantees a small regret of every optimal policy of the learned reward.",
        place="propositions on full coverage (3.1, 3.2; numbers not checked)",
        paper_value="eps < (1 - g) / sqrt(2) (range J / range R) min D L suffices",
        measured_as="exact threshold eps* = Delta_L(D) / range R, between a witness that attains "
        "it and a dual certificate; its ratio to the bound with and without sqrt(2); attacks "
        "below it",
        rule="reproduced if eps* is never below either bound, agrees with closed forms, both "
        "certificates meet and every witness is optimal and bad to 1e-9, no attack below eps* "
        "succeeds, the bound is attained where it should be, and MILP agrees to 1e-6; partly if "
        "only the bounds hold",
        measure=_measure_coverage,
        judge=_judge_coverage,
    ),
    Claim(
        id="C2",
        statement="For any fixed error there are unsafe distributions: every one that gives at "
        "most that mass to the state-action pairs of some bad policy.",
        place="proposition on unsafe distributions (3.3; number not checked)",
        paper_value="D(supp) <= eps is unsafe",
        measured_as="exact eps* and the error of the explicit witness (max R on the support) over "
        "D(support of a bad policy), for distributions built with a given mass there: the worst "
        "policy of a hand-made MDP (L = 1), a random bad one of each random MDP (L = 0.5)",
        rule="reproduced if no ratio exceeds 1 and every witness makes a policy of regret at least "
        "L optimal, to 1e-9",
        measure=_measure_support,
        judge=_judge_support,
    ),
    Claim(
        id="C3",
        statement="With 1/eps or more bad deterministic policies of pairwise disjoint supports, "
        "every distribution is unsafe.",
        place="corollary on many bad policies (3.4; number not checked)",
        paper_value="max over D of eps* at most 1/n",
        measured_as="the best distribution and its eps* by cutting planes; n by exhaustive search; "
        "20 other distributions an MDP",
        rule="reproduced if n eps* never exceeds 1, equals n/(n + 1) for n bad arms to 1e-6, and "
        "no other distribution is better; partly if only the inequality",
        measure=_measure_disjoint,
        judge=_judge_disjoint,
    ),
    Claim(
        id="C4",
        statement="The safe distributions form an open polytope: there is a finite matrix M, which "
        "does not depend on eps or D, with D safe if and only if M D > eps range R in every row.",
        place="theorem on safe distributions (3.5)",
        paper_value="existence",
        measured_as="M by vertex enumeration, complete by construction; min_j (M D)_j against "
        "linear programmes at fresh D; the strict test against Delta_L(D) > eps range R",
        rule="reproduced if they agree to 1e-9 and no verdict differs",
        measure=_measure_matrix,
        judge=_judge_matrix,
    ),
    Claim(
        id="C5",
        statement="Regularisation does not remove the problem: for every weight lambda and every "
        "penalty, data with little mass on the worst policy's support are unsafe; data that cover "
        "everything are safe for small eps if the penalised optimum of the true reward has "
        "regret below L.",
        place="results on regularised optimisation (4.1, 4.2; numbers not checked)",
        paper_value="threshold eps / (1 + C); the paper's C is not known",
        measured_as="explicit witnesses (our constant) under KL and squared-distance penalties, "
        "optimised exactly; a certified eps > 0 under KL, attacked; the exact eps* of one prompt",
        rule="reproduced if every witness has error at most eps and regret at least L, the "
        "certified eps is positive and withstands attacks, and the exact eps* of one prompt is "
        "attained, not undercut and above the certificate; partly if only the unsafe half",
        measure=_measure_penalty,
        judge=_judge_penalty,
    ),
    Claim(
        id="C6",
        statement="RLHF: if every prompt has a bad answer to which the reference policy gives a "
        "probability below an explicit threshold, then even preferences learned to error eps allow "
        "a KL-regularised policy of regret L.",
        place="theorem on RLHF (6.1; number not checked)",
        paper_value="threshold (R_L - R)/L range R exp(-range R/lam) eps^2 / (4 lam^2)",
        measured_as="the witness with every worst answer exactly at the threshold: regret and "
        "choice error; the mass up to which the witness of the worked example is a mismatch, "
        "by bisection, over eps and lambda",
        rule="reproduced if every witness has regret at least L (to 1e-9) and choice error at most "
        "eps, also in the worked example, and its mass is nowhere below the theorem's",
        measure=_measure_rlhf,
        judge=_judge_rlhf,
    ),
    Claim(
        id="C7",
        statement="The negative results carry over from the mean reward error to errors of "
        "trajectory returns and of choice probabilities.",
        place="section on other error measures (5; number not checked)",
        paper_value="inequalities",
        measured_as="return error over (1 - g^T)/(1 - g) times the reward error, and choice error "
        "over twice the return error, all trajectories enumerated, for random rewards and for "
        "error-regret mismatches",
        rule="reproduced if no ratio exceeds 1 (to 1e-9) and every mismatch stays one",
        measure=_measure_errors,
        judge=_judge_errors,
    ),
    Claim(
        id="C8",
        statement="Data of an expert are the typical unsafe distribution: with no mass on what bad "
        "policies do, no error level is safe, and a little other data helps only a little.",
        place="discussion",
        measured_as="exact eps* of expert data mixed with a weight w of uniform data",
        rule="reproduced if eps* is 0 at w = 0 and linear up to w = 0.1 on hand-made MDPs (to "
        "1e-9), never below w times the uniform one, and in the median at the least w at most "
        "twice that; partly if only 0 at w = 0",
        measure=_measure_expert,
        judge=_judge_expert,
    ),
)
