"""The hand-made MDPs: every number and curve that needs neither seeds nor samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from papers.reward_regret import analysis, env, method, oracle, regularised
from papers.reward_regret.cases import shortfall

Array = np.ndarray
Numbers = dict[str, Array | np.floating[Any]]

SIMPLEX_ERRORS = (0.05, 0.1, 0.15)
SIMPLEX_LEVELS = (0.4, 0.5)
ARMS = (1.0, 0.6, 0.0)
PENALTIES = (0.03, 0.3, 1.0)
PENALTY_ERROR = 0.1
RLHF_REWARDS, RLHF_LEVEL = np.array([[1.0, 0.5, 0.0]]), 0.5
RLHF_ERRORS = (0.1, 0.01, 0.001)
GRID = 40  # steps along a side of the simplex


def everything() -> dict[str, Array]:
    """All parts, each under a name of its own."""
    parts: dict[str, Callable[[], Numbers]] = {
        "closed": closed_forms,
        "matrix": matrices,
        "simplex": safe_polygons,
        "curve": regret_curves,
        "support": support_masses,
        "arms": bad_arms,
        "penalty": penalty_margins,
        "rlhf": rlhf_thresholds,
        "choices": choice_shares,
        "expert": expert_mixtures,
    }
    return {f"{part}/{name}": np.asarray(x) for part, f in parts.items() for name, x in f().items()}


def hand_made() -> dict[str, method.TabularMDP]:
    """The MDPs with answers by hand."""
    return {"chain": env.chain(), "bandit": env.bandit(ARMS), "three_by_two": env.three_by_two()}


def closed_forms() -> Numbers:
    """C1: margins against closed forms at random D, both certificates, and the bounds below."""
    rng, chain, bandit = np.random.default_rng(0), env.chain(), env.bandit(ARMS)
    gaps, proofs, tight, paper, lost = [], [], [], [], []
    for _ in range(200):
        L = float(rng.choice([0.1, 0.4, 0.5, 0.9, 1.0]))
        for mdp, name in ((chain, "chain"), (bandit, "bandit"), (env.three_by_two(), "")):
            D = rng.dirichlet(np.full(mdp.R.size, 0.7)).reshape(mdp.R.shape)
            found = method.safety_margin(mdp, D, L)
            if name:
                exact = oracle.chain_margin(D) if name == "chain" else oracle.bandit_margin(
                    D[0], mdp.R[0], L
                )  # fmt: skip
                gaps.append(abs(found.value - exact))
            proofs.append(abs(found.value - float(np.sum(found.flow * mdp.R))))
            lost.append(abs(shortfall(mdp, found.reward_hat, found.policy)))
            threshold = found.value / mdp.range_R
            tight.append(threshold / method.tight_bound(mdp, D, L))
            paper.append(threshold / method.paper_bound(mdp, D, L))
    # The tight bound is attained: chain, L = 1, D = (.1, .4, .1, .4).
    D = np.array([[0.1, 0.4], [0.1, 0.4]])
    attained = method.safety_margin(chain, D, 1.0).value / method.tight_bound(chain, D, 1.0)
    return {
        "gap": np.max(gaps),
        "proof_gap": np.max(proofs),
        "witness_shortfall": np.max(lost),
        "least_over_tight": np.min(tight),
        "least_over_paper": np.min(paper),
        "attained": np.asarray(attained),
    }


def matrices() -> Numbers:
    """C4: M of each hand-made MDP, and its largest disagreement with linear programmes."""
    rng, rows, gaps, wrong = np.random.default_rng(1), [], [], 0
    for mdp in hand_made().values():
        for L in (0.25, 0.4, 0.5, 0.9):
            M = method.safe_matrix(mdp, L)
            rows.append(len(M))
            for D in rng.dirichlet(np.full(mdp.R.size, 0.5), 50):
                exact = method.safety_margin(mdp, D.reshape(mdp.R.shape), L).value
                least = float((M @ D).min())
                gaps.append(abs(least - exact) / mdp.range_R)
                budget = float(rng.uniform(0.5, 1.5)) * exact
                wrong += bool((M @ D - budget > 0).all()) != (exact > budget)
    return {"rows": np.array(rows), "gap": np.max(gaps), "wrong": np.asarray(wrong)}


def safe_polygons() -> Numbers:
    """C4: the safe part of the bandit's simplex, corners [level, error, corner, 3], NaN after."""
    mdp, most = env.bandit(ARMS), 12
    corners = np.full((len(SIMPLEX_LEVELS), len(SIMPLEX_ERRORS), most, 3), np.nan)
    best = []
    for i, L in enumerate(SIMPLEX_LEVELS):
        M = method.safe_matrix(mdp, L)
        best.append(np.append(*_flat(method.design_distribution(mdp, L))))
        for j, eps in enumerate(SIMPLEX_ERRORS):
            polygon = clip(np.eye(3), M - eps * mdp.range_R)
            corners[i, j, : len(polygon)] = polygon
    return {"corners": corners, "best": np.stack(best)}


def _flat(found: tuple[Array, float]) -> tuple[Array, Array]:
    return found[0].ravel(), np.array([found[1]])


def clip(polygon: Float[Array, "k 3"], sides: Float[Array, "m 3"]) -> Float[Array, "n 3"]:
    """The part of a polygon in the simplex where sides @ D >= 0 (Sutherland and Hodgman, 1974)."""
    for side in sides:
        kept = []
        for here, ahead in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
            a, b = float(side @ here), float(side @ ahead)
            if a >= 0:
                kept.append(here)
            if a * b < 0:
                kept.append(here + (ahead - here) * a / (a - b))
        if not kept:
            return np.empty((0, 3))
        polygon = np.stack(kept)
    return polygon


def regret_curves() -> Numbers:
    """W(eps) of three_by_two under its data, the uniform and the best distribution: steps."""
    mdp = env.three_by_two()
    best, _ = method.design_distribution(mdp, 0.25)
    found: Numbers = {}
    kinds = (("data", env.three_by_two_data()), ("uniform", env.uniform(mdp)), ("design", best))
    for name, D in kinds:
        errors, regrets = analysis.regret_curve(mdp, D)
        found |= {f"{name}/errors": errors, f"{name}/regrets": regrets}
        found[f"{name}/tight"] = np.array([method.tight_bound(mdp, D, L) for L in regrets])
        found[f"{name}/paper"] = np.array([method.paper_bound(mdp, D, L) for L in regrets])
    return found


def support_masses() -> Numbers:
    """C2: threshold and certificate as the worst policy's support loses mass, three_by_two."""
    mdp = env.three_by_two()
    table = method.policy_table(mdp)
    on, masses = table.support[-1], np.geomspace(1e-3, 0.9, 25)
    rows, shares, lost = [], [], []
    for mass in masses:
        D = np.where(on, mass / on.sum(), (1 - mass) / (~on).sum())
        at, reward_hat, policy = method.support_certificate(mdp, D, 1.0)
        rows.append((method.safety_margin(mdp, D, 1.0).value / mdp.range_R, at))
        shares.append(float(np.sum(D * np.abs(reward_hat - mdp.R))) / mdp.range_R / at)
        lost.append(abs(shortfall(mdp, reward_hat, policy)))
    threshold, certificate = np.array(rows).T
    return {
        "mass": masses,
        "threshold": threshold,
        "certificate": certificate,
        "error_share": np.max(shares),
        "witness_shortfall": np.max(lost),
    }


def bad_arms() -> Numbers:
    """C3: the best margin with n bad arms of reward 0 and one of reward 1."""
    counts = np.array([1, 2, 3, 4, 6, 8, 10, 15, 20])
    found = [method.design_distribution(env.bandit([1.0] + [0.0] * n), 0.5) for n in counts]
    even = [float(np.abs(D - D.mean()).max()) for D, _ in found]
    return {"n": counts, "margin": np.array([m for _, m in found]), "unevenness": np.max(even)}


def penalty_margins() -> Numbers:
    """C5: exact thresholds of the bandit under a KL penalty, over the simplex and over lambda."""
    R, ref, L = np.array(ARMS), np.full(3, 1 / 3), 0.5
    points = np.array(
        [(i, j, GRID - i - j) for i in range(GRID + 1) for j in range(GRID + 1 - i)], float
    )
    points /= GRID
    grid = [
        [regularised.kl_bandit_margin(D, ref, R, L, lam)[0] for D in points] for lam in PENALTIES
    ]
    lams = np.geomspace(0.01, 3, 40)
    D = np.full(3, 1 / 3)
    mdp, one = env.bandit(ARMS), np.ones(1)
    exact = [regularised.kl_bandit_margin(D, ref, R, L, lam)[0] for lam in lams]
    baseline = [
        method.bandit_regret(one, R[None], method.kl_policy(ref[None], R[None], lam))
        for lam in lams
    ]
    bound = [
        4 * lam * D.min() * np.arctanh(L - base) if base < L else 0.0
        for lam, base in zip(lams, baseline, strict=True)
    ]
    return {
        "grid": np.array(grid),
        "lams": lams,
        "exact": np.array(exact),
        "bound": np.array(bound),
        "baseline": np.array(baseline),
        "without": np.asarray(method.safety_margin(mdp, D[None], L).value),
    }


def rlhf_thresholds() -> Numbers:
    """C6: the theorem's threshold, and the pi_ref mass of the bad answer up to which its witness
    fits into eps; [eps, lambda]."""
    lams = np.geomspace(0.1, 10, 33)
    theorem, truth, held = (np.empty((len(RLHF_ERRORS), len(lams))) for _ in range(3))
    for i, eps in enumerate(RLHF_ERRORS):
        for j, lam in enumerate(lams):
            theorem[i, j] = method.rlhf_threshold(RLHF_REWARDS, RLHF_LEVEL, lam, eps)[0, 2]
            held[i, j] = fits(theorem[i, j], lam, eps)
            truth[i, j] = largest_mass(theorem[i, j], lam, eps)
    errors = np.array(RLHF_ERRORS)
    return {"lams": lams, "errors": errors, "theorem": theorem, "truth": truth, "held": held.mean()}


def fits(mass: float, lam: float, eps: float) -> bool:
    """Whether the witness of regret L predicts choices to eps, given that mass on the bad answer.

    The rest of pi_ref is 0.6 and 0.4 of what remains.
    """
    one, R = np.ones(1), RLHF_REWARDS
    pi_ref = np.array([[0.6 * (1 - mass), 0.4 * (1 - mass), mass]])
    reward_hat = method.rlhf_witness(one, pi_ref, R, RLHF_LEVEL, lam, np.array([2]))
    loss = method.bandit_regret(one, R, method.kl_policy(pi_ref, reward_hat, lam))
    near = method.choice_kl(one, pi_ref, R, reward_hat) <= eps * np.ptp(R)
    return bool(near and loss >= RLHF_LEVEL - 1e-9)


def largest_mass(low: float, lam: float, eps: float, high: float = 0.5) -> float:
    """The mass up to which `fits` holds (searched up to `high`).

    Far above it may hold again, where the true reward itself loses as much.
    """
    for mass in np.geomspace(low, high, 60)[1:]:
        if not fits(float(mass), lam, eps):
            high = float(mass)
            break
        low = float(mass)
    else:
        return high
    for _ in range(30):  # bisection in the logarithm
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if fits(middle, lam, eps) else (low, middle)
    return low


def choice_shares() -> Numbers:
    """C7: choice error over twice the reward error, for 10,000 random bandits of four arms."""
    rng, n = np.random.default_rng(2), 10_000
    scale = 10 ** rng.uniform(-2, 2, (n, 1, 1))
    R, R_hat = scale * rng.standard_normal((2, n, 1, 4))
    D = rng.dirichlet(np.full(4, 0.5), (n, 1))
    one = np.ones(1)
    shares = [
        method.choice_kl(one, d, r, other) / (2 * float(np.sum(d * np.abs(r - other))))
        for d, r, other in zip(D, R, R_hat, strict=True)
    ]
    edges = np.linspace(0, 1, 41)
    counts, _ = np.histogram(shares, edges)
    return {"most": np.asarray(max(shares)), "edges": edges, "counts": counts}


def expert_mixtures() -> Numbers:
    """C8: threshold over the weight of the uniform distribution, chain and three_by_two."""
    weights, found = np.append(0.0, np.geomspace(0.01, 1, 41)), {}
    for name, mdp in hand_made().items():
        found[name] = np.array(
            [
                method.safety_margin(mdp, env.expert_mixture(mdp, float(w)), 0.25).value
                / mdp.range_R
                for w in weights
            ]
        )
    return {"weights": weights, **found}
