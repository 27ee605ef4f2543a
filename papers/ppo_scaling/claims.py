"""What the paper claims, how this code measures it, and the rules that judge the measurement.

The rules were settled on short trial runs and fixed before the runs that they judge. The paper
gives curves only, no numbers; which of its figures shows what is known from summaries, not from
the paper itself. C11 and C12 are ours.

Scores lie between a random policy's return (0) and a reference (1); differences are of IQMs over
all games and seeds, with stratified bootstrap intervals.
"""

from __future__ import annotations

from collections.abc import Sequence

from shared.experiment.spec import Claim, Estimate, Results, Verdict

LEAST_RUNS = 5  # of a cell, over games and seeds; with fewer, nothing is decided
HARDLY = 0.15  # a change of score within this, up or down, counts as hardly any
FURTHER_SUITES = ("procgen", "continuous")
EXPECTED = {
    "feature_rank": +1,
    "dormant_eps1e-5": -1,
    "weight_norm": -1,
    "grad_kurtosis_log": -1,
    "policy_variance": -1,
    "ess": +1,
}
"""The signs that C4 states, of many environments minus few."""


def _decide(holds: bool, partly: bool = False) -> Verdict:
    if holds:
        return Verdict.REPRODUCED
    return Verdict.PARTLY if partly else Verdict.NOT_REPRODUCED


def _above(estimate: Estimate, line: float = 0.0) -> bool:
    return estimate.low > line


def _names(results: Results, role: str) -> list[str]:
    return [str(name) for name in results[f"cells/{role}"]]


def _enough(results: Results, *names: str) -> bool:
    return all(
        f"score/{name}" in results and results[f"score/{name}"].size >= LEAST_RUNS for name in names
    )


def _find(estimates: Sequence[Estimate], label: str) -> Estimate:
    return next(e for e in estimates if e.label == label)


# --- C1: the same batch, split differently --------------------------------------------------------


def _measure_iso_batch(results: Results) -> list[Estimate] | None:
    from papers.ppo_scaling import analysis

    few, many = _names(results, "base")
    if not _enough(results, few, many) or str(results["suite"]) == "cartpole":
        return None
    found = [
        analysis.gap(results, many, few, "IQM, many - few environments"),
        analysis.iqm_of(results, few),
        analysis.iqm_of(results, many),
        analysis.wins(results, many, few),
        analysis.runs_for(results, many, few),
    ]
    diagonal = _names(results, "diagonal")
    between = diagonal[diagonal.index(few) : diagonal.index(many) + 1]
    if len(between) > 2:
        label = "score per doubling of N_envs, from few to many"
        found.append(analysis.slope(results, between, "score", label))
    return found


def _judge_iso_batch(estimates: Sequence[Estimate]) -> Verdict:
    slopes = [e for e in estimates if e.label.startswith("score per doubling")]
    return _decide(_above(estimates[0]), any(map(_above, slopes)))


# --- C2: growing the batch ------------------------------------------------------------------------


def _measure_growth(results: Results) -> list[Estimate] | None:
    from papers.ppo_scaling import analysis

    few, _ = _names(results, "base")
    found = []
    for hold in ("num_minibatches", "minibatch_size"):
        if f"cells/more/{hold}" not in results or not _enough(results, few):
            continue
        more, longer = _names(results, f"more/{hold}")[-1], _names(results, f"longer/{hold}")[-1]
        if not _enough(results, more, longer):
            continue
        words = hold.replace("_", " ")
        found += [
            analysis.gap(results, more, few, f"grown by environments, {words} held"),
            analysis.gap(results, longer, few, f"grown by rollout length, {words} held"),
            analysis.gap(results, more, longer, f"environments - rollout length, {words} held"),
        ]
    return found or None


def _judge_growth(estimates: Sequence[Estimate]) -> Verdict:
    held = [e for e in estimates if e.label.endswith("num minibatches held")]
    better = [e for e in estimates if e.label.startswith("environments - rollout length")]
    both = len(held) == 3 and _above(held[0]) and _above(held[2])
    return _decide(both, any(map(_above, better)))


# --- C3: more epochs ------------------------------------------------------------------------------


def _measure_epochs(results: Results) -> list[Estimate] | None:
    if "cells/epochs" not in results:
        return None
    from papers.ppo_scaling import analysis

    rows = [[str(name) for name in row] for row in results["cells/epochs"]]
    usual, most = rows[0], rows[-1]
    if not _enough(results, *usual, *most):
        return None
    first, last = int(results["epochs"][0]), int(results["epochs"][-1])
    found = [
        analysis.gap(results, hard, easy, f"{easy}: {last} epochs - {first}")
        for easy, hard in zip(usual, most, strict=True)
    ]
    for easy, hard in list(zip(usual, most, strict=True))[1:]:
        label = f"softer in {easy} than in {usual[0]}"
        found.append(analysis.gap_of_gaps(results, (hard, easy), (most[0], usual[0]), label))
    return found


def _judge_epochs(estimates: Sequence[Estimate]) -> Verdict:
    collapse = estimates[0].high < 0
    softer = [e for e in estimates if e.label.startswith("softer")]
    return _decide(collapse and _above(softer[0]), collapse)


# --- C4: the networks -----------------------------------------------------------------------------


def _measure_metrics(results: Results) -> list[Estimate] | None:
    from papers.ppo_scaling import analysis

    few, many = _names(results, "base")
    if not _enough(results, few, many) or str(results["suite"]) == "cartpole":
        return None
    return [
        analysis.metric_gap(results, name, many, few, f"{name} ({'+' if sign > 0 else '-'})")
        for name, sign in EXPECTED.items()
        if f"metric/{name}/{few}" in results
    ]


def _judge_metrics(estimates: Sequence[Estimate]) -> Verdict:
    signs = [1 if e.label.endswith("(+)") else -1 for e in estimates]
    pairs = list(zip(estimates, signs, strict=True))
    right = sum(e.low > 0 if sign > 0 else e.high < 0 for e, sign in pairs)
    wrong = sum(e.high < 0 if sign > 0 else e.low > 0 for e, sign in pairs)
    return _decide(right == len(EXPECTED), right > wrong)


# --- C5, C6: separate encoders, PQN ---------------------------------------------------------------


def _measure_separate(results: Results) -> list[Estimate] | None:
    if "cells/separate" not in results:
        return None
    from papers.ppo_scaling import analysis

    (few, many), (few_apart, many_apart) = _names(results, "base"), _names(results, "separate")
    if not _enough(results, few, many, few_apart, many_apart):
        return None
    label = "gain of separate - gain of shared"
    games = analysis.common_games(results, many_apart, few_apart, many, few)
    return [
        analysis.gap_of_gaps(results, (many_apart, few_apart), (many, few), label),
        analysis.gap(results, many_apart, few_apart, "gain from environments, separate", games),
        analysis.gap(results, many, few, "gain from environments, shared", games),
    ]


def _judge_separate(estimates: Sequence[Estimate]) -> Verdict:
    more, apart, shared = estimates
    return _decide(_above(more), _above(apart) and not _above(shared))


def _measure_pqn(results: Results) -> list[Estimate] | None:
    if "cells/pqn" not in results:
        return None
    from papers.ppo_scaling import analysis

    (few, many), (few_q, many_q) = _names(results, "base"), _names(results, "pqn")
    if not _enough(results, few, many, few_q, many_q):
        return None
    metrics = [
        analysis.metric_gap(results, name, many_q, few_q, f"{name} of PQN")
        for name in ("feature_rank", "dormant_eps1e-5", "weight_norm", "grad_kurtosis_log")
    ]
    return [
        analysis.gap(results, many_q, few_q, "gain from environments, PQN"),
        analysis.gap(
            results,
            many,
            few,
            "gain from environments, PPO",
            analysis.common_games(results, many_q, few_q),
        ),
        *metrics,
    ]


def _judge_pqn(estimates: Sequence[Estimate]) -> Verdict:
    gain = estimates[0]
    hardly = gain.low > -HARDLY and gain.high < HARDLY
    return _decide(hardly, gain.low <= 0 <= gain.high)


# --- C7, C10: further suites ----------------------------------------------------------------------


def _measure_further(results: Results) -> list[Estimate] | None:
    return _measure_iso_batch(results) if str(results["suite"]) in FURTHER_SUITES else None


def _measure_exploration(results: Results) -> list[Estimate] | None:
    if "cells/rnd" not in results:
        return None
    from papers.ppo_scaling import analysis

    few, many = _names(results, "rnd")
    if not _enough(results, few, many):
        return None
    return [analysis.gap(results, many, few, "gain from environments, PPO with RND")]


def _judge_gain(estimates: Sequence[Estimate]) -> Verdict:
    return _decide(_above(estimates[0]))


# --- C8: step sizes and discounts -----------------------------------------------------------------


def _measure_robust(results: Results) -> list[Estimate] | None:
    from papers.ppo_scaling import analysis

    compared = []
    for role in ("lr", "gamma"):
        if f"cells/{role}" not in results or len(results[f"cells/{role}"]) < 2:
            continue
        pairs = zip(results[f"cells/{role}"], results[role], strict=True)
        for (few, many), value in pairs:
            if _enough(results, str(few), str(many)):
                label = f"many - few environments, {role} = {float(value):g}"
                compared.append((str(many), str(few), label))
    if len(compared) <= 2:
        return None
    games = analysis.common_games(results, *(cell for pair in compared for cell in pair[:2]))
    return [analysis.gap(results, *pair, games) for pair in compared]


def _judge_robust(estimates: Sequence[Estimate]) -> Verdict:
    up, down = all(e.low > 0 for e in estimates), all(e.high < 0 for e in estimates)
    sign = 1 if estimates[0].value > 0 else -1
    against = any(e.high < 0 if sign > 0 else e.low > 0 for e in estimates)
    return _decide(up or down, not against)


# --- C9: coverage ---------------------------------------------------------------------------------


def _measure_coverage(results: Results) -> list[Estimate] | None:
    from papers.ppo_scaling import analysis

    few, many = _names(results, "base")
    if not _enough(results, few, many) or f"metric/coverage/{few}" not in results:
        return None
    found = [
        analysis.metric_gap(results, "coverage", many, few, "distinct states, many - few"),
    ]
    diagonal = _names(results, "diagonal")
    if len(diagonal) > 2:
        label = "distinct states per doubling of N_envs"
        found.append(analysis.slope(results, diagonal, "metric/coverage", label))
    return found


# --- C11, C12: the exact part ---------------------------------------------------------------------


def _measure_ess(results: Results) -> list[Estimate]:
    import numpy as np

    theory, simulated = results["exact/ess/theory"], results["exact/ess/simulated"]
    n_envs = list(results["exact/ess/n_envs"])
    columns = [n_envs.index(n) for n in results["exact/ess/simulated_n_envs"]]
    error = np.abs(simulated / theory[:, columns] - 1).max()
    found = [
        Estimate.exact(error, "largest relative error of the closed form"),
        Estimate.exact(np.diff(theory, axis=1).min(), "smallest gain per doubling of N_envs"),
    ]
    variance = results["exact/gradient/variance"]
    found.append(Estimate.exact(variance[0] / variance[-1], "gradient variance, 1 x 256 / 256 x 1"))
    for rho, row in zip(results["exact/ess/rho"], theory, strict=True):
        few, many = row[n_envs.index(8)], row[n_envs.index(128)]
        found.append(Estimate.exact(many / few, f"ESS of 128x8 / 8x128, rho = {rho:g}"))
    return found


def _judge_ess(estimates: Sequence[Estimate]) -> Verdict:
    error, gain, variance, *_ = (e.value for e in estimates)
    return _decide(error < 0.06 and gain > 0 and variance > 1, gain > 0)


def _measure_bias(results: Results) -> list[Estimate]:
    import numpy as np

    theory, numeric = results["exact/bias/theory"], results["exact/bias/numeric"]
    lengths = list(results["exact/bias/n_ro"])
    short, long = lengths.index(8), lengths.index(128)
    found = [Estimate.exact(np.abs(theory - numeric).max(), "largest error of the closed form")]
    for lam, row in zip(results["exact/bias/lam"], theory, strict=True):
        found.append(Estimate.exact(row[short], f"share left, T = 8, lambda = {lam:g}"))
        found.append(Estimate.exact(row[long], f"share left, T = 128, lambda = {lam:g}"))
    return found


def _judge_bias(estimates: Sequence[Estimate]) -> Verdict:
    error, *shares = (e.value for e in estimates)
    return _decide(error < 1e-9 and shares[0] > shares[1] and shares[2] > shares[3])


CLAIMS = (
    Claim(
        id="C1",
        statement="With equal batches of 1,024 transitions, many environments with short rollouts "
        "(128 x 8) beat few with long ones (8 x 128).",
        place="Figure 1a",
        paper_value="curves only",
        measured_as="difference of the IQM of final scores, and the slope of scores in log2 N_envs "
        "over all splits from 8 x 128 to 128 x 8",
        rule="reproduced if the difference is positive (lower end); partly if only the slope is",
        finding="What decides it is in the difference's row: what so many runs could have found.",
        measure=_measure_iso_batch,
        judge=_judge_iso_batch,
    ),
    Claim(
        id="C2",
        statement="Growing the batch helps, and growing it by environments helps more than by "
        "longer rollouts.",
        place="Figure 1b",
        paper_value="curves only",
        measured_as="difference of IQMs at the largest factor, for either axis, with the number of "
        "minibatches held (which of the two the authors held is not known) and with their size",
        rule="reproduced if, minibatches' number held, growing by environments is better than the "
        "default and than growing by rollout length (lower ends); partly if environments beat "
        "rollout length with either held",
        finding="At this many steps a larger batch with as many minibatches means too few updates.",
        measure=_measure_growth,
        judge=_judge_growth,
    ),
    Claim(
        id="C3",
        statement="More epochs hurt the default; more data, above all more environments, softens "
        "the collapse.",
        place="Figure 1c",
        paper_value="curves only",
        measured_as="difference of IQMs between the most epochs and 4, for the default and for the "
        "largest grown cells; by how much less the grown cells lose",
        rule="reproduced if the default loses (upper end below 0) and more environments lose less "
        "(lower end above 0); partly if only the first",
        measure=_measure_epochs,
        judge=_judge_epochs,
    ),
    Claim(
        id="C4",
        statement="More environments: higher feature rank, fewer dormant units, lower weight norm, "
        "gradient kurtosis and policy variance, higher effective sample size.",
        place="Figures 3, 10, 13",
        paper_value="curves only",
        measured_as="mean of each metric over the second half of training, 128 x 8 minus 8 x 128; "
        "the sign that the paper states in brackets",
        rule="reproduced if all six go the stated way (intervals exclude 0); partly if more of "
        "them clearly go it than clearly go the other",
        measure=_measure_metrics,
        judge=_judge_metrics,
    ),
    Claim(
        id="C5",
        statement="Separate actor and critic networks profit more from parallel data than a shared "
        "encoder.",
        place="Figure 5",
        paper_value="curves only",
        measured_as="gain of 128 x 8 over 8 x 128 with separate networks minus the same with a "
        "shared encoder",
        rule="reproduced if it is positive (lower end); partly if separate networks gain and "
        "shared ones do not (lower ends)",
        measure=_measure_separate,
        judge=_judge_separate,
    ),
    Claim(
        id="C6",
        statement="PQN profits only a little from more environments: metrics improve mildly, the "
        "return hardly.",
        place="Figures 6, 14",
        paper_value="curves only",
        measured_as="gain of 128 x 8 over 8 x 128 with PQN, and differences of its metrics",
        rule=f"reproduced if the gain's interval lies within {HARDLY:g} of 0; partly if it holds 0",
        measure=_measure_pqn,
        judge=_judge_pqn,
    ),
    Claim(
        id="C7",
        statement="The trend of C1 holds on Procgen and in continuous control.",
        place="Figures 7, 8",
        paper_value="curves only",
        measured_as="as C1, with `--suite procgen` or `--suite continuous`",
        rule="as C1",
        measure=_measure_further,
        judge=_judge_iso_batch,
    ),
    Claim(
        id="C8",
        statement="The gains do not come from tuning step sizes or discounts: PPO is robust "
        "to both as data scale.",
        place="Figures 11, 12",
        paper_value="curves only",
        measured_as="gain of 128 x 8 over 8 x 128 at each step size and each discount",
        rule="reproduced if all gains have one sign (intervals exclude 0); partly if none clearly "
        "has the sign opposite to that of the default setting",
        measure=_measure_robust,
        judge=_judge_robust,
    ),
    Claim(
        id="C9",
        statement="More environments cover more of the state space.",
        place="figure with UMAP projections and coverage scores",
        paper_value="picture; the score's formula is not known",
        measured_as="share of distinct states in a batch in the second half, 128 x 8 minus "
        "8 x 128, and per doubling along the diagonal",
        rule="reproduced if the difference is positive (lower end)",
        measure=_measure_coverage,
        judge=_judge_gain,
    ),
    Claim(
        id="C10",
        statement="The trend holds on games of hard exploration with PPO and RND.",
        place="Figures 15, 16",
        paper_value="curves only",
        measured_as="as C1, with `--suite atari --rnd-games Freeway Gravitar MontezumaRevenge "
        "Venture`",
        rule="reproduced if the gain is positive (lower end)",
        measure=_measure_exploration,
        judge=_judge_gain,
    ),
    Claim(
        id="C11",
        statement="Ours (O1): a batch from N correlated chains of T steps is worth N T / VIF(T, "
        "rho) independent samples, so splitting it over more chains always adds to it.",
        place="ours, in closed form",
        measured_as="closed form against simulated AR(1) chains along the diagonal of 1,024; "
        "variance of the policy gradient of a tabular policy on a grid with an exact critic",
        rule="reproduced if simulations agree within 6 % (three standard errors), every doubling "
        "gains and the gradient varies less with many environments; partly without the simulations",
        measure=_measure_ess,
        judge=_judge_ess,
    ),
    Claim(
        id="C12",
        statement="Ours (O2): short rollouts leave a computable share of the critic's error in "
        "their targets.",
        place="ours, in closed form",
        paper_value="",
        measured_as="closed form against GAE's recursion on a critic that is off by a constant",
        rule="reproduced if both agree to 1e-9 and T = 8 leaves more than T = 128",
        measure=_measure_bias,
        judge=_judge_bias,
    ),
)
