"""Each statement of the paper on random MDPs, as numbers that must have a sign or be zero.

A check is made for a block of seeds (`prepare`: the MDPs and what does not change) and then asked
for one value of its parameter (a regret L, an error eps, a horizon ...): arrays over seeds.
Errors are in units of range R, returns in units of range J. Penalties: `penalised_checks.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from papers.reward_regret import analysis, env, method, penalised_checks
from papers.reward_regret.batched import safety_margins
from papers.reward_regret.cases import (
    ATTACKS,
    Array,
    Ask,
    Numbers,
    cases,
    hardest_attack,
    shortfall,
    stacked,
)
from papers.reward_regret.method import PolicyTable

SUPPORT_LEVEL = 0.5


def bounds(seeds: Sequence[int]) -> Ask:
    """C1 at regret L: the exact threshold eps*, its certificates, and the closed-form bounds."""
    block = cases(seeds, 4, 2)

    def ask(L: float) -> Numbers:
        found, index = safety_margins(block.mdps, block.D, L, block.tables)
        rows = []
        for i, (mdp, table) in enumerate(zip(block.mdps, block.tables, strict=True)):
            threshold, pi = found.value[i] / mdp.range_R, table.policy(int(index[i]))
            rows.append(
                {
                    "threshold": threshold,
                    "gap": (found.value[i] - found.lower[i]) / mdp.range_R,
                    "over_paper": threshold / method.paper_bound(mdp, block.D[i], L),
                    "over_tight": threshold / method.tight_bound(mdp, block.D[i], L),
                    "over_occupancy": threshold / analysis.occupancy_bound(mdp, block.D[i], L),
                    "witness_shortfall": shortfall(mdp, found.reward_hat[i], pi),
                    "witness_excess": method.regret(mdp, pi) - L,
                    "attack_excess": hardest_attack(
                        mdp, block.D[i], 0.999 * threshold, block.seeds[i]
                    )
                    - L,
                }
            )
        return stacked(rows)

    return ask


def milp(seeds: Sequence[int]) -> Ask:
    """C1 at regret L: the mixed-integer programmes against enumeration."""
    block = cases(seeds, 4, 2)

    def ask(L: float) -> Numbers:
        found, _ = safety_margins(block.mdps, block.D, L, block.tables)
        rows = []
        for i, mdp in enumerate(block.mdps):
            other = method.safety_margin(mdp, block.D[i], L, method="milp").value
            eps = 1.5 * found.value[i] / mdp.range_R
            worst, same = (
                method.worst_case_regret(mdp, block.D[i], eps, way)[0]
                for way in ("enumerate", "milp")
            )
            rows.append(
                {
                    "margin_gap": abs(other - found.value[i]) / mdp.range_R,
                    "regret_gap": abs(worst - same),
                    "worst": worst,
                }
            )
        return stacked(rows)

    return ask


def support(seeds: Sequence[int]) -> Ask:
    """C2 at error eps: a D that gives eps to the support of a bad policy, drawn at random."""
    block, L = cases(seeds, 4, 2), SUPPORT_LEVEL

    def ask(eps: float) -> Numbers:
        D, rows = np.empty_like(block.D), []
        for i, table in enumerate(block.tables):
            bad = np.flatnonzero(table.regret >= L - 1e-12)
            on = table.support[np.random.default_rng([block.seeds[i], 11]).choice(bad)]
            for part, mass in ((on, eps), (~on, 1 - eps)):
                D[i][part] = block.D[i][part] * (mass / block.D[i][part].sum())
        found, _ = safety_margins(block.mdps, D, L, block.tables)
        for i, mdp in enumerate(block.mdps):
            at, reward_hat, pi = method.support_certificate(mdp, D[i], L)
            error = np.sum(D[i] * np.abs(reward_hat - mdp.R)) / mdp.range_R
            rows.append(
                {
                    "margin_share": found.value[i] / (mdp.range_R * eps),
                    "certificate_share": at / eps,
                    "error_share": float(error) / eps,
                    "witness_shortfall": shortfall(mdp, reward_hat, pi),
                    "witness_excess": method.regret(mdp, pi) - L,
                }
            )
        return stacked(rows)

    return ask


def design(seeds: Sequence[int]) -> Ask:
    """C3 at regret L: the best D against 1/n for n bad policies with disjoint supports."""
    block = cases(seeds, 3, 3)

    def ask(L: float) -> Numbers:
        best = [method.design_distribution(mdp, L) for mdp in block.mdps]
        D = np.stack([distribution for distribution, _ in best])
        even = np.full_like(D, 1 / D[0].size)
        again, plain = (safety_margins(block.mdps, x, L, block.tables)[0].value for x in (D, even))
        rows = []
        for i, (mdp, table) in enumerate(zip(block.mdps, block.tables, strict=True)):
            n, margin = disjoint(table, L), best[i][1] / mdp.range_R
            rng = np.random.default_rng([block.seeds[i], 3])
            others = rng.dirichlet(np.full(D[i].size, 2.0), ATTACKS).reshape(-1, *D[i].shape)
            rivals, _ = safety_margins([mdp] * ATTACKS, others, L, [table] * ATTACKS)
            rows.append(
                {
                    "threshold": margin,
                    "disjoint": n,
                    "bound_share": margin * n,
                    "recomputed_gap": abs(again[i] / mdp.range_R - margin),
                    "over_uniform": best[i][1] / plain[i],
                    "rival_excess": rivals.value.max() / mdp.range_R - margin,
                }
            )
        return stacked(rows)

    return ask


def disjoint(table: PolicyTable, L: float) -> int:
    """The most bad policies with pairwise disjoint supports, by search."""
    supports = table.support[table.regret >= min(L, table.regret[-1]) - 1e-12]
    flat = supports.reshape(len(supports), -1)

    def most(allowed: Array) -> int:
        best = 0
        for k, i in enumerate(allowed):
            rest = allowed[k + 1 :]
            best = max(best, 1 + most(rest[~(flat[rest] & flat[i]).any(axis=1)]))
        return best

    return most(np.arange(len(flat)))


def matrix(seeds: Sequence[int], fresh: int) -> Ask:
    """C4 at regret L: min_j (M D)_j against linear programmes at fresh D, and the test itself."""
    block = cases(seeds, 2, 2)

    def ask(L: float) -> Numbers:
        rows = []
        for i, (mdp, table) in enumerate(zip(block.mdps, block.tables, strict=True)):
            M = method.safe_matrix(mdp, L)
            rng = np.random.default_rng([block.seeds[i], 4])
            D = rng.dirichlet(np.full(mdp.R.size, 0.5), fresh)
            exact, _ = safety_margins([mdp] * fresh, D.reshape(fresh, *mdp.R.shape), L,
                                      [table] * fresh)  # fmt: skip
            by_matrix = (D @ M.T).min(axis=1)
            eps = by_matrix / mdp.range_R * rng.uniform(0.5, 1.5, fresh)
            budget = eps * mdp.range_R
            safe = ((M @ D.T) - budget > 0).all(axis=0)
            verdicts = safe != (exact.value - budget > 0)
            rows.append(
                {
                    "rows": len(M),
                    "disagreement": np.abs(by_matrix - exact.value).max() / mdp.range_R,
                    "wrong_verdicts": verdicts.sum(),
                }
            )
        return stacked(rows)

    return ask


def errors(seeds: Sequence[int]) -> Ask:
    """C7 at horizon T: errors of returns and of choices against that of rewards, enumerated."""
    block = cases(seeds, 2, 2)

    def ask(value: float) -> Numbers:
        horizon, rows = int(value), []
        for i, mdp in enumerate(block.mdps):
            rng = np.random.default_rng([block.seeds[i], 9])
            pi = rng.dirichlet(np.ones(2), 2)
            D = method.horizon_visitation(mdp, pi, horizon)
            steps = (1 - mdp.gamma**horizon) / (1 - mdp.gamma)
            noisy = mdp.R + rng.standard_normal(mdp.R.shape)
            mismatch = method.safety_margin(mdp, D, 0.5)
            row = {}
            for name, reward_hat in (("random", noisy), ("mismatch", mismatch.reward_hat)):
                error = steps * float(np.sum(D * np.abs(reward_hat - mdp.R)))
                of_returns = method.return_error(mdp, pi, reward_hat, horizon)
                of_choices = method.trajectory_choice_kl(mdp, pi, reward_hat, horizon)
                row[f"{name}_return_share"] = of_returns / error
                row[f"{name}_choice_share"] = of_choices / (2 * of_returns)
            row["mismatch_shortfall"] = shortfall(mdp, mismatch.reward_hat, mismatch.policy)
            row["mismatch_excess"] = mismatch.regret - 0.5
            rows.append(row)
        return stacked(rows)

    return ask


def expert(seeds: Sequence[int]) -> Ask:
    """C8 at weight w of the uniform distribution: the margin of data of an optimal policy."""
    block = cases(seeds, 4, 2)
    mix = {w: np.stack([env.expert_mixture(mdp, w) for mdp in block.mdps]) for w in (0.0, 1.0)}
    width = np.array([mdp.range_R for mdp in block.mdps])
    uniform = safety_margins(block.mdps, mix[1.0], 0.5, block.tables)[0].value / width

    def ask(w: float) -> Numbers:
        D = (1 - w) * mix[0.0] + w * mix[1.0]
        threshold = safety_margins(block.mdps, D, 0.5, block.tables)[0].value / width
        return {"threshold": threshold, "share_of_uniform": threshold / uniform}

    return ask


def boxed(seeds: Sequence[int]) -> Ask:
    """At regret L: what it is worth to know that a learned reward stays in the range of R."""
    block = cases(seeds, 4, 2)

    def ask(L: float) -> Numbers:
        free, _ = safety_margins(block.mdps, block.D, L, block.tables)
        rows = []
        for i, mdp in enumerate(block.mdps):
            box = (float(mdp.R.min()), float(mdp.R.max()))
            inside = method.safety_margin(mdp, block.D[i], L, boxed=box).value
            rows.append({"over_free": inside / free.value[i]})
        return stacked(rows)

    return ask


def prepare(name: str, seeds: Sequence[int], fresh: int) -> Ask:
    """The check of this name for these seeds."""
    if name == "matrix":
        return matrix(seeds, fresh)
    makers = {"bounds": bounds, "milp": milp, "support": support, "design": design,
              "penalised": penalised_checks.penalised, "rlhf": penalised_checks.rlhf,
              "errors": errors, "expert": expert, "boxed": boxed}  # fmt: skip
    return makers[name](seeds)
