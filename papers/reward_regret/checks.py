"""Each statement of the paper on random MDPs, as numbers that must have a sign or be zero.

A check is made for a block of seeds (`prepare`: the MDPs and what does not change) and then asked
for one value of its parameter (a regret L, an error eps, a penalty lambda ...): arrays over seeds.
Errors are in units of range R, returns in units of range J.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from papers.reward_regret import env, method, regularised
from papers.reward_regret.batched import safety_margins
from papers.reward_regret.method import PolicyTable, TabularMDP

Array = np.ndarray
Numbers = dict[str, Array]
Ask = Callable[[float], Numbers]
ATTACKS = 20  # random rewards that try to break each guarantee
RLHF_LEVEL, RLHF_ERROR = 0.5, 0.1
PENALISED_LEVEL, PENALISED_ERROR = 0.9, 0.05


class Cases(NamedTuple):
    """A block of random MDPs of one size, their policies, a data distribution for each."""

    seeds: Sequence[int]
    mdps: list[TabularMDP]
    tables: list[PolicyTable]
    D: Float[Array, "n S A"]


def cases(seeds: Sequence[int], states: int, actions: int) -> Cases:
    """The random MDPs of these seeds."""
    mdps = [env.random_mdp(seed, states, actions) for seed in seeds]
    D = np.stack([env.random_data(seed, states, actions) for seed in seeds])
    return Cases(seeds, mdps, [method.policy_table(mdp) for mdp in mdps], D)


def stacked(rows: Sequence[dict[str, float]]) -> Numbers:
    """One dictionary a seed -> arrays over seeds."""
    return {name: np.array([row[name] for row in rows], np.float64) for name in rows[0]}


def shortfall(mdp: TabularMDP, reward_hat: Array, pi: Array) -> float:
    """How far pi is from optimal for reward_hat, in units of its possible return; 0 if optimal."""
    best = mdp.mu0 @ method.optimal_policy(mdp, reward_hat)[1]
    scale = max(np.abs(reward_hat).max(), mdp.range_R) / (1 - mdp.gamma)
    return float(best - np.sum(method.occupancy(mdp, pi) * reward_hat)) / float(scale)


def disturbed(mdp: TabularMDP, D: Array, error: float, rng: np.random.Generator) -> Array:
    """A reward with exactly this error: Gaussian in some cells, often in one cell only."""
    while True:
        change = rng.standard_normal(D.shape) * (rng.random(D.shape) < rng.random())
        size = float(np.sum(D * np.abs(change)))
        if size > 0:
            return mdp.R + change * (error * mdp.range_R / size)


def hardest_attack(mdp: TabularMDP, D: Array, error: float, seed: int) -> float:
    """Largest regret that optimising random rewards of this error has led to."""
    rng = np.random.default_rng([seed, 2])
    rewards = [disturbed(mdp, D, error, rng) for _ in range(ATTACKS)]
    return max(method.regret(mdp, method.optimal_policy(mdp, r)[0]) for r in rewards)


# --- The statements -------------------------------------------------------------------------------


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
                    "over_occupancy": threshold / method.occupancy_bound(mdp, block.D[i], L),
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
    """C2 at error eps: a D that gives the worst policy's support the mass eps, else at random."""
    block = cases(seeds, 4, 2)

    def ask(eps: float) -> Numbers:
        D, rows = np.empty_like(block.D), []
        for i, table in enumerate(block.tables):
            on = table.support[-1]
            for part, mass in ((on, eps), (~on, 1 - eps)):
                D[i][part] = block.D[i][part] * (mass / block.D[i][part].sum())
        found, _ = safety_margins(block.mdps, D, 1.0, block.tables)
        for i, mdp in enumerate(block.mdps):
            at, reward_hat, pi = method.support_certificate(mdp, D[i], 1.0)
            error = np.sum(D[i] * np.abs(reward_hat - mdp.R)) / mdp.range_R
            rows.append(
                {
                    "margin_share": found.value[i] / (mdp.range_R * eps),
                    "certificate_share": at / eps,
                    "error_share": float(error) / eps,
                    "witness_shortfall": shortfall(mdp, reward_hat, pi),
                    "witness_regret": method.regret(mdp, pi),
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


def penalised(seeds: Sequence[int]) -> Ask:
    """C5 at penalty lambda: unsafe witnesses for two penalties, and safe error levels for KL."""
    block = cases(seeds, 4, 2)
    P, gamma = np.stack([m.P for m in block.mdps]), np.array([m.gamma for m in block.mdps])
    refs = np.stack([_reference(seed, 4, 2) for seed in seeds])

    def ask(lam: float) -> Numbers:
        numbers = {}
        for penalty in regularised.PENALTIES:
            numbers |= _unsafe_under(block, P, gamma, refs, lam, penalty)
        numbers |= _safe_under(block, P, gamma, refs, lam)
        return numbers | stacked([_one_prompt(seed, lam) for seed in block.seeds])

    return ask


def _reference(seed: int, states: int, actions: int) -> Array:
    rng = np.random.default_rng([seed, 5])
    return 0.9 * rng.dirichlet(np.ones(actions), states) + 0.1 / actions


def _unsafe_under(
    block: Cases, P: Array, gamma: Array, refs: Array, lam: float, penalty: regularised.Penalty
) -> Numbers:
    L, eps, witnesses, errors = PENALISED_LEVEL, PENALISED_ERROR, [], []
    for i, mdp in enumerate(block.mdps):
        worst = method.optimal_policy(mdp, -mdp.R)[0]
        omega = regularised.penalty_of(mdp, worst, refs[i], penalty)
        reward_hat, worst = regularised.unsafe_reward(mdp, L, lam, omega)
        mass, on = regularised.unsafe_mass(mdp, L, lam, omega, eps), method.support(mdp, worst)
        D = np.where(on, mass / on.sum(), (1 - mass) / (~on).sum())
        errors.append(np.sum(D * np.abs(reward_hat - mdp.R)) / (mdp.range_R * eps))
        witnesses.append(reward_hat)
    pi = regularised.optimise(P, np.stack(witnesses), gamma, refs, lam, penalty)
    excess = [method.regret(mdp, p) - L for mdp, p in zip(block.mdps, pi, strict=True)]
    return {
        f"{penalty}_excess": np.array(excess),
        f"{penalty}_error_share": np.array(errors),
    }


def _safe_under(block: Cases, P: Array, gamma: Array, refs: Array, lam: float) -> Numbers:
    """An eps > 0 that (17) declares safe for L half-way from the baseline to 1, and attacks."""
    R = np.stack([mdp.R for mdp in block.mdps])
    pi = regularised.optimise(P, R, gamma, refs, lam)
    rows = []
    for i, mdp in enumerate(block.mdps):
        baseline = method.regret(mdp, pi[i])
        level = (1 + baseline) / 2
        eps = _safe_error(mdp, block.D[i], lam, baseline, level)
        rng = np.random.default_rng([block.seeds[i], 6])
        rewards = np.stack([disturbed(mdp, block.D[i], eps, rng) for _ in range(ATTACKS)])
        many = [np.broadcast_to(x, (ATTACKS, *x.shape)) for x in (mdp.P, refs[i])]
        attacked = regularised.optimise(many[0], rewards, np.full(ATTACKS, mdp.gamma), many[1], lam)
        hardest = max(method.regret(mdp, p) for p in attacked)
        rows.append({"baseline": baseline, "safe_error": eps, "safe_excess": hardest - level})
    return stacked(rows)


def _safe_error(mdp: TabularMDP, D: Array, lam: float, baseline: float, level: float) -> float:
    """The eps at which `kl_regret_bound` reaches the level."""
    gain = regularised.kl_regret_bound(mdp, D, 1e9, lam, 0.0)  # tanh = 1
    factor = 4 if mdp.gamma == 0 else 2
    shift = factor * float(np.arctanh((level - baseline) / gain))
    return shift * float(D.min()) * lam * (1 - mdp.gamma) / mdp.range_R


def _one_prompt(seed: int, lam: float) -> dict[str, float]:
    """The exact margin (18) of a random prompt with four answers: attained, and not undercut."""
    rng, L = np.random.default_rng([seed, 7]), 0.9
    R, pi_ref, D = rng.random(4), rng.dirichlet(np.ones(4)), rng.dirichlet(np.ones(4))
    mdp, one = env.bandit(R), np.ones(1)
    margin, reward_hat = regularised.kl_bandit_margin(D, pi_ref, R, L, lam)

    def loss(reward: Array) -> float:
        policy = method.kl_policy(pi_ref[None], reward.reshape(1, -1), lam)
        return method.bandit_regret(one, R[None], policy)

    eps = 0.999 * margin / mdp.range_R
    tried = [loss(disturbed(mdp, D[None], eps, rng)) for _ in range(ATTACKS)] if margin > 0 else []
    bound = _safe_error(mdp, D[None], lam, loss(R), L) if loss(R) < L else 0.0
    return {
        "exact_margin": margin / mdp.range_R,
        "exact_gap": abs(loss(reward_hat) - L) if margin > 0 else 0.0,
        "exact_attack_excess": max(tried, default=loss(R)) - L if margin > 0 else -1.0,
        "exact_less_bound": margin / mdp.range_R - bound,
    }


def rlhf(seeds: Sequence[int]) -> Ask:
    """C6 at penalty lambda: every prompt's worst answer exactly at the threshold of (11)."""

    def one(seed: int, lam: float) -> dict[str, float]:
        rng, L, eps = np.random.default_rng([seed, 8]), RLHF_LEVEL, RLHF_ERROR
        R, mu0 = rng.random((3, 4)), rng.dirichlet(np.ones(3))
        rows, bad = np.arange(3), R.argmin(axis=1)
        mass = np.minimum(method.rlhf_threshold(R, L, lam, eps)[rows, bad], 0.5)
        pi_ref = rng.dirichlet(np.ones(4), 3)
        pi_ref[rows, bad] = 0
        pi_ref *= ((1 - mass) / pi_ref.sum(axis=1))[:, None]
        pi_ref[rows, bad] = mass
        reward_hat = method.rlhf_witness(mu0, pi_ref, R, L, lam, bad)
        regret = method.bandit_regret(mu0, R, method.kl_policy(pi_ref, reward_hat, lam))
        width = eps * float(np.ptp(R))
        error = float(np.sum(mu0[:, None] * pi_ref * np.abs(reward_hat - R)))
        return {
            "mass": float(mass.max()),
            "shortfall": L - regret,  # 0, or negative where R itself already loses as much
            "choice_share": method.choice_kl(mu0, pi_ref, R, reward_hat) / width,
            "error_share": error / width,
            "baseline": method.bandit_regret(mu0, R, method.kl_policy(pi_ref, R, lam)),
        }

    return lambda lam: stacked([one(seed, lam) for seed in seeds])


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


CHECKS = ("bounds", "milp", "support", "design", "matrix", "penalised", "rlhf", "errors", "expert")


def prepare(name: str, seeds: Sequence[int], fresh: int) -> Ask:
    """The check of this name for these seeds."""
    if name == "matrix":
        return matrix(seeds, fresh)
    makers = {"bounds": bounds, "milp": milp, "support": support, "design": design,
              "penalised": penalised, "rlhf": rlhf, "errors": errors, "expert": expert}  # fmt: skip
    return makers[name](seeds)
