"""The statements on penalised optimisation and on RLHF (C5, C6), on random MDPs and bandits.

As in `checks.py`: made for a block of seeds, asked for one penalty lambda.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from papers.reward_regret import env, method, regularised
from papers.reward_regret.cases import (
    ATTACKS,
    Array,
    Ask,
    Cases,
    Numbers,
    cases,
    disturbed,
    stacked,
)
from papers.reward_regret.method import TabularMDP

RLHF_LEVEL, RLHF_ERROR = 0.5, 0.1
PENALISED_LEVEL, PENALISED_ERROR = 0.9, 0.05


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
