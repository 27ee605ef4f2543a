"""What the paper claims, how this code measures it, and the rules that judge the measurement.

The rules were fixed before the first whole run; trial runs on BlockedPoint with three seeds had
shown that the learner learns, and nothing of its rivals. Places are by content: the paper's own
numbering could not be checked. Its numbers are read off its figures.
"""

from __future__ import annotations

from collections.abc import Sequence

from shared.experiment.spec import Claim, Estimate, Results, Verdict

LEAST_SEEDS = 5  # with fewer, equal variants often look ordered, so nothing is decided
MARGIN = 0.1  # of the expert's return: a smaller difference counts as on par
STEPS = ("IRL-Base", "L2", "L2+SC", "L2+PR", "IRL-Plus")


def _decide(holds: bool, partly: bool = False) -> Verdict:
    if holds:
        return Verdict.REPRODUCED
    return Verdict.PARTLY if partly else Verdict.NOT_REPRODUCED


def _labelled(estimates: Sequence[Estimate], start: str) -> list[Estimate]:
    return [e for e in estimates if e.label.startswith(start)]


def _enough(results: Results, *names: str) -> bool:
    known = {str(v) for v in results["variants"]}
    return set(names) <= known and int(results["seeds"]) >= LEAST_SEEDS


# --- C1: the reduction ----------------------------------------------------------------------------


def _measure_reduction(results: Results) -> list[Estimate]:
    errors, games = results["exact/errors"], results["exact/games"]
    return [
        Estimate.exact(abs(errors).max(), "largest |tri-level - bi-level|"),
        Estimate.exact(abs(games).max(), "largest |game value|"),
        Estimate.exact(results["exact/gap"][-1], "occupancies apart after 1000 steps, free cost"),
        Estimate.exact(results["exact/capped_gap"][-1], "the same, cost in [0, 1], no multiplier"),
    ]


def _judge_reduction(estimates: Sequence[Estimate]) -> Verdict:
    error, size, free, capped = (e.value for e in estimates)
    equal = error < 1e-10 and size > 0.1
    return _decide(equal and free < 1e-3 and capped > 2 * free, equal)


# --- C2 to C6, C8: online -------------------------------------------------------------------------


def _measure_base(results: Results) -> list[Estimate] | None:
    if not _enough(results, "IRL-Base", "MECL", "GACL"):
        return None
    from papers.icrl.analysis import against, aggregate, complete

    rivals = ("MECL", "GACL")
    found = [against(results, "IRL-Base", r, m) for m in ("feasible", "violation") for r in rivals]
    means = [aggregate(results, name) for name in ("IRL-Base", *rivals)]
    return complete([*found, *means])


def _judge_base(estimates: Sequence[Estimate]) -> Verdict:
    reward = [e for e in _labelled(estimates, "feasible: IRL-Base -")]
    broken = [e for e in _labelled(estimates, "violation: IRL-Base -")]
    par = all(e.low > -MARGIN for e in reward)
    return _decide(par and all(e.high < 0 for e in broken), par)


def _measure_plus(results: Results) -> list[Estimate] | None:
    if not _enough(results, "IRL-Plus", "IRL-Base", "MECL", "GACL"):
        return None
    from papers.icrl.analysis import against, aggregate, complete

    rivals = ("IRL-Base", "MECL", "GACL")
    found = [against(results, "IRL-Plus", r) for r in rivals]
    ours = [aggregate(results, "IRL-Plus", m) for m in ("feasible", "violation")]
    return complete([*found, *ours])


def _judge_plus(estimates: Sequence[Estimate]) -> Verdict:
    gaps = _labelled(estimates, "feasible: IRL-Plus -")
    return _decide(all(e.low > 0 for e in gaps), all(e.value > 0 for e in gaps))


def _measure_steps(results: Results) -> list[Estimate] | None:
    if not _enough(results, *STEPS):
        return None
    from papers.icrl.analysis import against, aggregate, complete

    found = [against(results, "IRL-Plus", name) for name in STEPS[:-1]]
    means = [aggregate(results, name) for name in STEPS]
    broken = [aggregate(results, name, "violation") for name in STEPS]
    return complete([*found, *means, *broken])


def _judge_steps(estimates: Sequence[Estimate]) -> Verdict:
    gaps = _labelled(estimates, "feasible: IRL-Plus -")
    best, over_base = all(e.value > 0 for e in gaps), gaps[0].low > 0
    return _decide(best and over_base, over_base)


def _measure_mixed(results: Results) -> list[Estimate] | None:
    names = [str(v) for v in results["suboptimal_variants"]]
    few = int(results["seeds"]) < LEAST_SEEDS
    if not {"IRL-Plus", "MECL", "GACL"} <= set(names) or not len(results["suboptimal"]) or few:
        return None
    from papers.icrl.analysis import gap_of, rows

    found, score = [], results["suboptimal/feasible"] / results["expert"][0]
    for i, share in enumerate(results["suboptimal"]):
        ours = score[i, names.index("IRL-Plus")]
        for rival in ("MECL", "GACL"):
            label = f"feasible at {share:.0%}: IRL-Plus - {rival}"
            theirs = score[i, names.index(rival)]
            found.append(gap_of(ours, theirs, label, "of the expert's return"))
        broken = results["suboptimal/violation"][i, names.index("IRL-Plus")]
        found.append(rows(broken, f"violation at {share:.0%}: IRL-Plus", "of episodes"))
    return found


def _judge_mixed(estimates: Sequence[Estimate]) -> Verdict:
    gaps = _labelled(estimates, "feasible")
    ahead = all(e.low > 0 for e in gaps)
    safe = all(e.value <= 0.1 for e in _labelled(estimates, "violation"))
    return _decide(ahead and safe, any(e.low > 0 for e in gaps) and all(e.high > 0 for e in gaps))


def _measure_grid(results: Results) -> list[Estimate] | None:
    if not _enough(results, "IRL-Plus") or "grid/feasible" not in results:
        return None
    from papers.icrl.analysis import gap_of

    names = [str(v) for v in results["variants"]]
    scale = results["expert"][0]
    ours = results["main/feasible"][0, names.index("IRL-Plus")] / scale
    cells = results["grid/feasible"].reshape(-1, len(ours)) / scale
    order = cells.mean(axis=1).argsort()
    unit = "of the expert's return"
    return [
        gap_of(ours, cells[order[-1]], "IRL-Plus - best SAC-ICRL of the grid", unit),
        gap_of(ours, cells[order[len(order) // 2]], "IRL-Plus - its middle one", unit),
        gap_of(ours, cells[order[0]], "IRL-Plus - its worst", unit),
    ]


def _judge_grid(estimates: Sequence[Estimate]) -> Verdict:
    best, middle, _ = estimates
    return _decide(best.low > 0, middle.low > 0)


def _measure_batch_norm(results: Results) -> list[Estimate] | None:
    ablations = [str(v) for v in results["ablations"]]
    if not _enough(results, "IRL-Base") or "IRL-Base+BN" not in ablations:
        return None
    from papers.icrl.analysis import gap_of

    row = ablations.index("IRL-Base+BN")
    base = [str(v) for v in results["variants"]].index("IRL-Base")
    scale = results["expert"][0]
    reward = results["ablation/feasible"][row] / scale, results["main/feasible"][0, base] / scale
    broken = results["ablation/violation"][row], results["main/violation"][0, base]
    return [
        gap_of(*reward, "feasible: with BN - without", "of the expert's return"),
        gap_of(*broken, "violation: with BN - without", "of episodes"),
    ]


def _judge_batch_norm(estimates: Sequence[Estimate]) -> Verdict:
    reward, broken = estimates
    return _decide(reward.high < 0, broken.low > 0)


# --- C7: offline, C9: the cost itself -------------------------------------------------------------


def _measure_offline(results: Results) -> list[Estimate] | None:
    agents = [str(v) for v in results["offline"]]
    if not {"IQL", "BC", "offline IRL"} <= set(agents) or int(results["seeds"]) < LEAST_SEEDS:
        return None
    from papers.icrl.analysis import gap_of, rows

    score = results["offline/final_feasible"] / results["expert"][0]
    broken = results["offline/final_violation"]
    i = {name: agents.index(name) for name in agents}
    ours, unit = i["offline IRL"], "of the expert's return"
    return [
        gap_of(score[ours], score[i["IQL"]], "feasible: offline IRL - IQL without a cost", unit),
        gap_of(broken[ours], broken[i["IQL"]], "violation: the same", "of episodes"),
        gap_of(score[ours], score[i["BC"]], "feasible: offline IRL - cloning", unit),
        rows(score[ours], "feasible: offline IRL", unit),
    ]


def _judge_offline(estimates: Sequence[Estimate]) -> Verdict:
    reward, broken, cloning, _ = estimates
    works = reward.low > 0 and broken.high < 0
    return _decide(works and cloning.low > -MARGIN, works)


def _measure_wall(results: Results) -> list[Estimate] | None:
    if not _enough(results, "IRL-Plus"):
        return None
    from papers.icrl.analysis import rows

    row = [str(v) for v in results["variants"]].index("IRL-Plus")
    found = []
    for i, world in enumerate(results["worlds"]):
        name = str(world)
        found.append(rows(results["main/auc"][i, row], f"AUC, {name}"))
        walls = results["main/wall"][i, row]
        edges = results[f"edges/{name}"]
        width = float(edges[-1] - edges[0]) / 10
        near = abs(walls - results["walls"][i]) <= width
        found.append(rows(near.astype(float), f"walls within {width:.2g} m, {name}", "of runs"))
    return found


def _judge_wall(estimates: Sequence[Estimate]) -> Verdict:
    ranks = [e.low >= 0.9 for e in _labelled(estimates, "AUC")]
    walls = [e.value >= 0.5 for e in _labelled(estimates, "walls")]
    return _decide(all(ranks) and all(walls), any(ranks))


CLAIMS = (
    Claim(
        id="C1",
        statement="Where costs may be scaled freely, the three-level game of inverse constrained "
        "RL (cost, multiplier, policy) equals inverse RL over a correction of the known reward.",
        place="section on the reduction; an identity",
        paper_value="exact",
        measured_as="A corridor of seven states: both game values for 50 random costs and "
        "multipliers, and "
        "exact ascents with a free cost and with one in [0, 1], which is no cone.",
        rule="Equal to 1e-10, and the free ascent ends below 1e-3 and at less than half of the "
        "bounded one's distance; partly: equal.",
        measure=_measure_reduction,
        judge=_judge_reduction,
    ),
    Claim(
        id="C2",
        statement="IRL-Base, plain inverse RL with reward normalisation, does as well as MECL and "
        "GACL or better, with fewer violations.",
        place="overall figure, five MuJoCo tasks",
        paper_value="normalised feasible reward, IQM: Base 0.45, GACL 0.47, MECL 0.29; violations "
        "0.03, "
        "0.19, 0.37",
        measured_as="Differences of interquartile means over our small tasks and seeds; rewards "
        "over the "
        "expert's mean return. All learn by the same soft actor-critic.",
        rule="Both reward differences above -0.1 with their intervals, both violation differences "
        "below 0 with theirs; partly: the rewards alone.",
        measure=_measure_base,
        judge=_judge_base,
    ),
    Claim(
        id="C3",
        statement="IRL-Plus (L2, separate critics, policy resets) does best.",
        place="overall figure",
        paper_value="feasible reward, IQM 0.75 [0.58, 0.98]; violation IQM 0.06",
        measured_as="As C2, IRL-Plus minus IRL-Base, MECL and GACL.",
        rule="All three differences above 0 with their intervals; partly: above 0.",
        measure=_measure_plus,
        judge=_judge_plus,
    ),
    Claim(
        id="C4",
        statement="The extensions help together: L2 regularisation, separate critics and resets.",
        place="ablation figure",
        paper_value="feasible reward, IQM: Base 0.45, L2 0.72, L2+PR 0.55, L2+SC 0.49, all 0.75",
        measured_as="As C2, IRL-Plus minus each of the others.",
        rule="IRL-Plus has the highest mean, and exceeds IRL-Base with its interval; partly: the "
        "latter.",
        measure=_measure_steps,
        judge=_judge_steps,
    ),
    Claim(
        id="C5",
        statement="It stands sub-optimal experts: with 20, 50 or 80 % of the demonstrations from "
        "another agent, IRL-Plus stays ahead of MECL and GACL.",
        place="figure on HalfCheetah",
        paper_value="feasible reward 7100 / 7900 / 6050; MECL 4400 / 2950 / 2750; GACL about 200",
        measured_as="The first small task, demonstrations mixed with those of an unconstrained "
        "agent.",
        rule="All differences above 0 with their intervals, violations at most 0.1; partly: one "
        "such difference, none below 0 with its interval.",
        measure=_measure_mixed,
        judge=_judge_mixed,
    ),
    Claim(
        id="C6",
        statement="The three-level game on the same learner (SAC-ICRL) is hard to tune: a grid "
        "over its two rates does not rescue it.",
        place="appendix figures, 2 x 3 grid",
        paper_value="best feasible rewards: walker 443, pendulum 2.5, swimmer 50.5, cheetah -496",
        measured_as="The same grid on the first small task; IRL-Plus minus the best, middle and "
        "worst cell.",
        rule="Above the best cell with its interval; partly: above the middle one with its.",
        measure=_measure_grid,
        judge=_judge_grid,
    ),
    Claim(
        id="C7",
        statement="The simpler game extends to offline constraint inference.",
        place="abstract; no experiment known",
        paper_value="not known",
        measured_as="An experiment of ours, `offline.py`: implicit Q-learning on an unconstrained "
        "agent's "
        "replay buffer, the cost from expert demonstrations; against the same without a cost, and "
        "cloning.",
        rule="More feasible reward and fewer violations than without a cost, with intervals, and "
        "not more than 0.1 below cloning; partly: the former.",
        measure=_measure_offline,
        judge=_judge_offline,
    ),
    Claim(
        id="C8",
        statement="Batch normalisation in the cost network hurts (IRL-Base+BN).",
        place="learning curves",
        paper_value="HalfCheetah: violations stay at about 0.67; Swimmer: feasible reward below "
        "100",
        measured_as="IRL-Base with and without it on the first small task.",
        rule="Less feasible reward with its interval; partly: more violations with theirs.",
        measure=_measure_batch_norm,
        judge=_judge_batch_norm,
    ),
    Claim(
        id="C9",
        statement="(Ours.) The inferred cost marks the forbidden region: it is high beyond the "
        "wall and low where the expert goes.",
        place="no such figure known in the paper",
        paper_value="not known",
        measured_as="IRL-Plus: ranking of steps beyond the wall against all others, of the expert "
        "and of an "
        "unconstrained agent; and where the mean cost passes half of its level beyond the wall.",
        rule="AUC at least 0.9 with its interval on every task, and most runs place the wall "
        "within a tenth of the drawn range; partly: one such AUC.",
        measure=_measure_wall,
        judge=_judge_wall,
    ),
)
