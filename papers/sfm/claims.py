"""What the paper claims, how this code measures it, and the rules that judge the measurement.

The rules were fixed before the first run of a preset. Places are by content: the numbering of the
paper's statements could not be checked.
"""

from __future__ import annotations

from collections.abc import Sequence

from papers.sfm.config import FAMILIES, NEEDS_ACTIONS
from shared.experiment.spec import Claim, Estimate, Results, Verdict

STATE_ONLY = ("mm", "gaifo", "bco")
ADVERSARIAL = ("mm", "gaifo")
KEPT = -0.05  # a loss of score smaller than this, with the weaker optimiser, counts as kept


def _decide(holds: bool, partly: bool = False) -> Verdict:
    if holds:
        return Verdict.REPRODUCED
    return Verdict.PARTLY if partly else Verdict.NOT_REPRODUCED


def _starting(estimates: Sequence[Estimate], start: str) -> list[Estimate]:
    return [e for e in estimates if e.label.startswith(start)]


# --- C1, C2, C8: exact statements -----------------------------------------------------------------


def _measure_identity(results: Results) -> list[Estimate]:
    return [
        Estimate.exact(results["exact/identity/loss"], "against differences of the loss"),
        Estimate.exact(results["exact/identity/reward"], "against differences of -J for phi^T w"),
        Estimate.exact(results["exact/fixed_point"], "largest entry at the expert itself"),
    ]


def _judge_identity(estimates: Sequence[Estimate]) -> Verdict:
    loss, reward, fixed = (e.value for e in estimates)
    return _decide(max(loss, reward) < 1e-5 and fixed < 1e-10, max(loss, reward) < 1e-3)


def _measure_estimator(results: Results) -> list[Estimate]:
    return [
        Estimate.exact(results["exact/estimator/discounted"], "discounted occupancy, largest"),
        Estimate.exact(results["exact/estimator/uniform"], "time average, median"),
    ]


def _judge_estimator(estimates: Sequence[Estimate]) -> Verdict:
    return _decide(estimates[0].value < 1e-10)


def _measure_bound(results: Results) -> list[Estimate]:
    return [
        Estimate.exact(results["exact/bound/random"].max(), "largest ratio, random rewards"),
        Estimate.exact(results["exact/bound/worst"].min(), "smallest ratio, reward along the gap"),
    ]


def _judge_bound(estimates: Sequence[Estimate]) -> Verdict:
    random, worst = (e.value for e in estimates)
    return _decide(random <= 1 + 1e-9 and abs(worst - 1) < 1e-9, random <= 1 + 1e-9)


# --- C4, C7: what is read, what it costs ----------------------------------------------------------


def _measure_state_only(results: Results) -> list[Estimate]:
    part = "state_only/"
    return [
        Estimate.exact(results[part + "difference"], "largest difference of the final states"),
        Estimate.exact(results[part + "numbers"], "numbers compared"),
        Estimate.exact(results[part + "refused"], "cloning refuses the file without actions"),
    ]


def _judge_state_only(estimates: Sequence[Estimate]) -> Verdict:
    gap, numbers, refused = (e.value for e in estimates)
    return _decide(gap == 0 and numbers > 1000 and refused == 1)


def _measure_compute(results: Results) -> list[Estimate]:
    found = []
    for rules in ("td7", "td3"):
        cost = {
            name: float(results[f"compute/{rules}/{name}"])
            for name in ("sfm", "sfm_random", "mm", "actor_critic")
        }
        found += [
            Estimate.exact(cost["sfm"] / cost["mm"], f"SFM / MM, {rules.upper()}"),
            Estimate.exact(
                cost["sfm"] / cost["actor_critic"], f"SFM / actor-critic, {rules.upper()}"
            ),
            Estimate.exact(
                cost["sfm_random"] / cost["mm"], f"SFM without learning phi / MM, {rules.upper()}"
            ),
        ]
    return found


def _judge_compute(estimates: Sequence[Estimate]) -> Verdict:
    full = [e.value for e in estimates if not e.label.startswith("SFM without")]
    frozen = [e.value for e in _starting(estimates, "SFM without")]
    return _decide(max(full) <= 1.5, max(frozen) <= 1.5)


# --- C3, C5, C6: imitation ------------------------------------------------------------------------


def _measure_imitation(results: Results) -> list[Estimate] | None:
    from papers.sfm import analysis

    learners = analysis.names(results, "learners")
    rules = "td7" if "sfm-td7" in learners else "td3"  # TD7, the paper's, where it was run
    if not analysis.present(results, "imitate", [f"sfm-{rules}", "bco"]):
        return None
    wanted = {"bc": "bc", "iq": "iq", "mm": f"mm-{rules}", "gaifo": f"gaifo-{rules}", "bco": "bco"}
    wanted = {short: name for short, name in wanted.items() if name in learners}
    ours = analysis.scores(results, f"sfm-{rules}")
    random = results["reference/random/score"].T
    rows = [
        interval.to_estimate(f"SFM ({rules.upper()}), {name}")
        for name, interval in analysis.aggregates(ours).items()
    ]
    rivals = {short: analysis.scores(results, name) for short, name in wanted.items()}
    rows += [analysis.mean(x, f"{name}, mean") for name, x in rivals.items()]
    rows += [analysis.paired(ours, x, f"SFM - {name}") for name, x in rivals.items()]
    rows += [analysis.paired(ours, random, "SFM - random policy")]
    return [*rows, analysis.mean(results["reference/expert/score"].T, "expert, mean")]


def _judge_imitation(estimates: Sequence[Estimate]) -> Verdict:
    over = {e.label[6:]: e.low > 0 for e in _starting(estimates, "SFM - ")}
    states = all(over.get(name, False) for name in (*STATE_ONLY, "random policy"))
    everything = states and all(over.get(name, False) for name in NEEDS_ACTIONS)
    return _decide(everything, over.get("random policy", False) and sum(over.values()) > 1)


def _measure_optimisers(results: Results) -> list[Estimate] | None:
    from papers.sfm import analysis

    learners = [f"{kind}-{rules}" for kind in ("sfm", *ADVERSARIAL) for rules in ("td7", "td3")]
    if not analysis.present(results, "imitate", learners):
        return None
    change = {}
    for kind in ("sfm", *ADVERSARIAL):
        td7, td3 = (analysis.scores(results, f"{kind}-{rules}") for rules in ("td7", "td3"))
        change[kind] = td3 - td7
    zero = 0 * change["sfm"]
    rows = [analysis.paired(x, zero, f"TD3 - TD7, {kind}") for kind, x in change.items()]
    rows += [
        analysis.paired(change["sfm"], change[kind], f"SFM's change - {kind}'s")
        for kind in ADVERSARIAL
    ]
    return rows


def _judge_optimisers(estimates: Sequence[Estimate]) -> Verdict:
    kept = all(e.value > KEPT for e in _starting(estimates, "TD3 - TD7, sfm"))
    drop = [e.high < 0 for kind in ADVERSARIAL for e in _starting(estimates, f"TD3 - TD7, {kind}")]
    less = [e.low > 0 for e in _starting(estimates, "SFM's change")]
    return _decide(kept and all(drop) and all(less), kept and any(drop))


def _measure_families(results: Results) -> list[Estimate] | None:
    from papers.sfm import analysis

    if not analysis.present(results, "family", FAMILIES):
        return None
    values = {name: analysis.scores(results, name, "family") for name in FAMILIES}
    rows = [analysis.mean(x, name) for name, x in values.items()]
    rows += [
        analysis.paired(values["fdm"], x, f"fdm - {name}")
        for name, x in values.items()
        if name != "fdm"
    ]
    return rows


def _judge_families(estimates: Sequence[Estimate]) -> Verdict:
    gaps = _starting(estimates, "fdm - ")
    return _decide(all(e.low > 0 for e in gaps), all(e.high > 0 for e in gaps))


CLAIMS = (
    Claim(
        id="C1",
        statement="The gradient of half the squared gap between the expert's and the learner's "
        "expected successor features is minus the ordinary policy gradient for the reward "
        "phi(s)^T w with w = psi_E - psi_pi held fixed; no reward has to be learned.",
        place="proposition on the policy gradient of the feature gap",
        paper_value="exact identity",
        measured_as="relative error of the analytic gradient on random finite processes against "
        "central differences of the loss, and of minus the return for that reward",
        rule="reproduced if both are below 1e-5 and the gradient vanishes at the expert (1e-10); "
        "partly if both are below 1e-3",
        measure=_measure_identity,
        judge=_judge_identity,
    ),
    Claim(
        id="C2",
        statement="The successor features at the initial states can be estimated from off-policy "
        "transitions by E[psi(s, a) - gamma psi(s', a')] / (1 - gamma), for states from the "
        "discounted occupancy of any behaviour policy.",
        place="proposition on the telescoped estimator",
        paper_value="0",
        measured_as="largest relative error on random finite processes, three behaviour policies; "
        "and, to know, the median error for states from their time average, which is what uniform "
        "replay, and with it the official code, draws",
        rule="reproduced if the first error is below 1e-10",
        measure=_measure_estimator,
        judge=_judge_estimator,
    ),
    Claim(
        id="C3",
        statement="With one state-only demonstration SFM on TD7 imitates better than behavioural "
        "cloning, IQ-Learn, moment matching and GAIfO.",
        place="experiments, aggregates over ten tasks",
        paper_value="mean 0.844 [0.822, 0.866], GAIfO 0.688, MM 0.622, BC and IQ-Learn about 0.05 "
        "(read off the figure; ten tasks, ten seeds, 1M steps)",
        measured_as="mean reward a step at the end, SFM minus each rival, paired by seed, on TD7 "
        "(TD3 where no run used TD7); BCO is cloning from guessed actions, the rival that sees "
        "what SFM sees",
        rule="reproduced if SFM is above every rival and a random policy (lower ends above 0); "
        "partly if above a random policy and at least one rival",
        measure=_measure_imitation,
        judge=_judge_imitation,
    ),
    Claim(
        id="C4",
        statement="SFM never reads an expert action; behavioural cloning and IQ-Learn do.",
        place="abstract",
        measured_as="difference of all numbers of two training runs, whose demonstration files "
        "hold the actions and NaN instead; whether cloning refuses the second file",
        rule="reproduced if the difference is exactly zero and cloning refuses",
        measure=_measure_state_only,
        judge=_judge_state_only,
    ),
    Claim(
        id="C5",
        statement="SFM keeps its performance with a weaker policy optimiser (TD3 instead of TD7), "
        "while the adversarial baselines drop.",
        place="figure on policy optimisers",
        paper_value="by figure only",
        measured_as="score with TD3 minus score with TD7, paired by seed, and SFM's change minus "
        "the others'",
        rule="reproduced if SFM loses less than 0.05, both adversarial ones lose (upper ends below "
        "0) and SFM's change is better than theirs (lower ends); partly if SFM keeps and one loses",
        measure=_measure_optimisers,
        judge=_judge_optimisers,
    ),
    Claim(
        id="C6",
        statement="Base features that are learned by predicting the next state do best, among "
        "random, inverse dynamics, Hilbert, autoencoder and adversarial ones.",
        place="figure on base features",
        paper_value="by figure only",
        measured_as="score of SFM with each family, on TD7 (on TD3 at `cpu`, for its cost), and "
        "forward dynamics minus the others, paired by seed",
        rule="reproduced if forward dynamics is above every other (lower ends above 0); partly if "
        "none is above it (upper ends above 0)",
        measure=_measure_families,
        judge=_judge_families,
    ),
    Claim(
        id="C7",
        statement="There is no game between two players: one loop, no discriminator, at about the "
        "compute of an ordinary actor-critic.",
        place="text on computation",
        measured_as="operations of the matrix products of an update at the paper's sizes on "
        "cheetah, over those of moment matching and of an actor-critic with a given reward",
        rule="reproduced if all ratios are at most 1.5; partly if they are without the training "
        "of the base features",
        measure=_measure_compute,
        judge=_judge_compute,
    ),
    Claim(
        id="C8",
        statement="If the true reward is linear in phi with weights of norm at most B, the "
        "learner's return falls short of the expert's by at most B |psi_E - psi_pi|.",
        place="preliminaries",
        paper_value="inequality",
        measured_as="ratio of the shortfall to its bound on random finite processes, for random "
        "rewards and for the reward along the gap",
        rule="reproduced if no ratio exceeds 1 and the second ones are 1; partly if only the first",
        measure=_measure_bound,
        judge=_judge_bound,
    ),
)
