"""When does a small error of a learned reward guarantee a small regret of its optimal policies?

Fluri, Lang, Abate, Forré, Krueger, Skalse: The Perils of Optimizing Learned Reward Functions: Low
Training Error Does Not Guarantee Low Regret, ICML 2025, arXiv 2406.15753.

Everything is exact: linear programmes (HiGHS), enumeration, closed forms, in float64. A number in
brackets names the equation that a docstring states. This file needs numpy, scipy and jaxtyping.

    symbol      here         meaning
    eta^pi      occupancy    discounted visits of (s, a); its sum is 1/(1 - gamma)
    (1-g)eta    visitation   the same as a distribution; its sum is 1
    J_R(pi)     returns      <eta^pi, R>
    Reg         regret       (max J - J(pi)) / range J, in [0, 1]
    D           D            data distribution over (s, a)
    R-hat       reward_hat   learned reward, any real numbers
    eps         eps          bound on the error E_D|R-hat - R| / range R
    L           L            regret from which a policy counts as bad
    Delta_pi    policy_margin  least E_D|R-hat - R| that makes pi optimal
    Delta_L     safety_margin  least E_D|R-hat - R| that makes some bad policy optimal
    M           safe_matrix  Delta_L(D) = min_j (M D)_j
    E           _flow        E[s', (s, a)] = 1[s = s'] - gamma P(s'|s, a)
    lambda      lam          weight of the KL penalty; pi_ref its reference policy

D is *unsafe* at (eps, L) when some R-hat with E_D|R-hat - R| <= eps range R has *any* optimal
policy (ties count) with regret at least L; otherwise safe: Delta_L(D) > eps range R, strictly.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.spatial import HalfspaceIntersection
from scipy.special import log_expit, softmax

Array = np.ndarray
Table = Float[Array, "S A"]
"""A number for each state and action: a policy, a reward, an occupancy, a data distribution."""

MAX_POLICIES = 200_000  # enumeration: about a minute and 1 GiB
MAX_CELLS_MILP = 160  # states x actions; without structure, 50 already take many seconds
MAX_NODES_MILP = 200_000  # of branch and bound; above, it gives up
MAX_CELLS_LP = 10_000  # states x actions in one linear programme; above, minutes and GiBs
MAX_CELLS_MATRIX = 8  # the vertices of the safe polytope grow exponentially
MAX_TRAJECTORIES = 2_000_000
TOLERANCE = 1e-9  # of range R, in comparing a margin with an error
REGRET_TOLERANCE = 1e-12


@dataclass(frozen=True, eq=False)
class TabularMDP:
    """A finite MDP, checked and immutable.

    Attributes:
        P: transition probabilities P[s, a, s'], [S, A, S]. R: rewards [S, A], not constant.
            mu0: initial distribution [S]. gamma: discount in [0, 1); 0 is a contextual bandit.

    Raises:
        ValueError: a shape, a row that does not sum to one, a bad number, with its index.
    """

    P: Array
    R: Array
    mu0: Array
    gamma: float

    def __post_init__(self) -> None:
        for name in ("P", "R", "mu0"):
            values = np.array(getattr(self, name), np.float64)
            values.flags.writeable = False
            object.__setattr__(self, name, values)
        object.__setattr__(self, "gamma", float(self.gamma))
        if self.R.ndim != 2 or 0 in self.R.shape:
            raise ValueError(f"R must have shape [states, actions]; got {list(self.R.shape)}.")
        states, actions = self.R.shape
        for name, shape in (("P", (states, actions, states)), ("mu0", (states,))):
            if getattr(self, name).shape != shape:
                got = list(getattr(self, name).shape)
                raise ValueError(f"{name} must have shape {list(shape)} to go with R; got {got}.")
        if not 0 <= self.gamma < 1:
            raise ValueError(f"gamma must be in [0, 1); got {self.gamma}.")
        _finite("R", self.R)
        _distributions("P", self.P)
        _distributions("mu0", self.mu0)
        if self.range_R == 0:
            raise ValueError("R is constant: every policy is optimal, so regret is undefined.")

    @property
    def range_R(self) -> float:
        """max R - min R, the unit of reward errors."""
        return float(np.ptp(self.R))


class Margin(NamedTuple):
    """How far a reward must be moved, and a reward that is.

    Attributes:
        value: sum D |reward_hat - R|, in units of reward; divide by range R for an error.
        reward_hat, V: the witness and the value function that shows `policy` optimal for it.
        flow: dual certificate y of (3): <y, R> is a lower bound of `value`, equal at the optimum.
        policy: probabilities. regret: of that policy under R.
    """

    value: float
    reward_hat: Table
    V: Float[Array, " S"]
    flow: Table
    policy: Table
    regret: float


class Verdict(NamedTuple):
    """Whether a distribution is safe; `boundary` (equal up to rounding) is unsafe by definition."""

    kind: Literal["safe", "unsafe", "boundary"]
    witness: Margin


class PolicyTable(NamedTuple):
    """All deterministic policies with different occupancies, from the least regret to the most."""

    actions: Int[Array, "n S"]
    occupancy: Float[Array, "n S A"]
    support: Bool[Array, "n S A"]
    regret: Float[Array, " n"]

    def policy(self, i: int | np.integer) -> Table:
        """Policy i as probabilities."""
        return np.eye(self.support.shape[2])[self.actions[i]]


# --- Occupancy, return, regret --------------------------------------------------------------------


def occupancy(mdp: TabularMDP, pi: Table) -> Table:
    """eta(s, a) = sum_t gamma^t P(s_t = s, a_t = a) = d(s) pi(a|s), d = (I - g P_pi^T)^-1 mu0. (1)

    Unnormalised: the sum is 1/(1 - gamma). `visitation` is the normalised one.
    """
    pi = check_policy(mdp, pi)
    P_pi = np.einsum("sa,sat->st", pi, mdp.P)
    d = np.linalg.solve(np.eye(len(pi)) - mdp.gamma * P_pi.T, mdp.mu0)
    return d[:, None] * pi


def visitation(mdp: TabularMDP, pi: Table) -> Table:
    """(1 - gamma) eta, the normalised occupancy: a distribution over (s, a), data of policy pi."""
    return (1 - mdp.gamma) * occupancy(mdp, pi)


def returns(mdp: TabularMDP, pi: Table) -> float:
    """J(pi) = <eta^pi, R>, the expected discounted return."""
    return float(np.sum(occupancy(mdp, pi) * mdp.R))


def optimal_policy(
    mdp: TabularMDP, reward: Table | None = None
) -> tuple[Table, Float[Array, " S"]]:
    """A deterministic policy that is optimal from every state, and its values (policy iteration).

    Args:
        reward: reward to optimise instead of the MDP's own.
    """
    R = mdp.R if reward is None else _reward(mdp, reward)
    states = np.arange(len(R))
    best, scale = R.argmax(axis=1), float(np.abs(R).max()) / (1 - mdp.gamma)
    while True:
        V = np.linalg.solve(np.eye(len(R)) - mdp.gamma * mdp.P[states, best], R[states, best])
        Q = R + mdp.gamma * mdp.P @ V
        better = Q.max(axis=1) > Q[states, best] + 1e-13 * scale  # ties and rounding must not cycle
        if not better.any():
            return np.eye(R.shape[1])[best], V
        best = np.where(better, Q.argmax(axis=1), best)


def j_bounds(mdp: TabularMDP) -> tuple[float, float]:
    """(min J, max J) over all policies.

    Raises:
        ValueError: both are equal (up to rounding), so that regret is undefined.
    """
    lowest = -float(mdp.mu0 @ optimal_policy(mdp, -mdp.R)[1])
    highest = float(mdp.mu0 @ optimal_policy(mdp)[1])
    if highest - lowest <= 1e-12 * mdp.range_R / (1 - mdp.gamma):
        raise ValueError("Every policy has the same return (range J is 0): regret is undefined.")
    return lowest, highest


def regret(mdp: TabularMDP, pi: Table) -> float:
    """Reg(pi) = (max J - J(pi)) / (max J - min J). (2)"""
    lowest, highest = j_bounds(mdp)
    return (highest - returns(mdp, pi)) / (highest - lowest)


def support(mdp: TabularMDP, pi: Table) -> Bool[Array, "S A"]:
    """Where eta^pi > 0, decided by reachability: tiny probabilities count, rounding does not."""
    moves = np.einsum("sa,sat->st", pi > 0, mdp.P > 0) > 0
    return _reach(mdp, moves[None])[0][:, None] & (pi > 0)


def policy_table(mdp: TabularMDP) -> PolicyTable:
    """Every deterministic policy; of those that differ only where they never come, one. (3.1)

    They are the vertices of the occupancy polytope. The optimal policies of a reward form a face of
    it, and a linear J takes its least value on a face in a vertex: bad policies may be looked for
    among these.

    Raises:
        ValueError: more than MAX_POLICIES, with the way out.
    """
    states, actions = mdp.R.shape
    if actions**states > MAX_POLICIES:
        raise ValueError(
            f"{actions}^{states} deterministic policies are more than {MAX_POLICIES}: use "
            'method="milp", or the bounds, which need no list of policies.'
        )
    grid = np.indices((actions,) * states).reshape(states, -1).T
    every, parts = np.arange(states), []
    for chosen in np.array_split(grid, max(1, len(grid) // 20_000)):
        P_pi = mdp.P[every, chosen]  # [n, S, S]
        visited = _reach(mdp, P_pi > 0)
        _, first = np.unique(np.where(visited, chosen, -1), axis=0, return_index=True)
        chosen, visited = chosen[first], visited[first]
        flows = np.eye(states) - mdp.gamma * np.swapaxes(P_pi[first], 1, 2)
        d = np.linalg.solve(flows, np.broadcast_to(mdp.mu0[:, None], (len(first), states, 1)))
        on = np.eye(actions, dtype=bool)[chosen]
        parts.append((chosen, d * on, visited[..., None] & on))
    chosen, eta, on = (np.concatenate(part) for part in zip(*parts, strict=True))
    _, first = np.unique(on.reshape(len(on), -1), axis=0, return_index=True)
    lowest, highest = j_bounds(mdp)
    loss = (highest - np.einsum("nsa,sa->n", eta[first], mdp.R)) / (highest - lowest)
    loss = np.where(np.abs(loss) <= REGRET_TOLERANCE, 0.0, loss)
    order = np.argsort(loss, kind="stable")
    return PolicyTable(chosen[first][order], eta[first][order], on[first][order], loss[order])


# --- The margin of a policy, and of a data distribution -------------------------------------------


def policy_margin(
    mdp: TabularMDP, D: Table, pi: Table, *, boxed: tuple[float, float] | None = None
) -> Margin:
    """Delta_pi(D), the least E_D|R-hat - R| for which pi is optimal.

    pi is optimal for R-hat exactly if some V has R-hat + g P V - V <= 0, with equality on the
    support of eta^pi (elsewhere equality would be wrong: it overstates the margin). Given V, the
    cheapest R-hat is V - g P V on the support and min(R, V - g P V) off it, so

        Delta_pi(D) = min_V  sum D [R + g P V - V]_+  +  sum_{on} D [R + g P V - V]_-         (3)
                    = max_y  <y, R>,   E y = 0,   y <= D,   y >= -D on the support, y >= 0 off it.

    The second line, the dual, is what is solved: y is a change of occupancy, and the margin is the
    most return that a change no larger than the data could gain.

    Args:
        boxed: (low, high), if R-hat is known to lie there; each bound adds columns to the dual.

    Raises:
        ValueError: D or pi is no distribution; the box leaves R out; more than MAX_CELLS_LP cells.
    """
    pi = check_policy(mdp, pi)
    return _margin(mdp, check_data(mdp, D), pi, support(mdp, pi), regret(mdp, pi), boxed)


def safety_margin(
    mdp: TabularMDP,
    D: Table,
    L: float,
    *,
    boxed: tuple[float, float] | None = None,
    method: Literal["enumerate", "milp"] = "enumerate",
) -> Margin:
    """Delta_L(D) = min { Delta_pi(D): Reg(pi) >= L }, with a bad policy and reward that attain it.

    D is safe exactly for eps < Delta_L(D) / range R. Policies whose lower bound
    <k (eta* - eta^pi), R>, k as large as (3) allows, exceeds the best found are skipped.

    Args:
        method: `milp` needs no list of policies; see `_mixed_integer`.

    Raises:
        ValueError: see `policy_margin` and `policy_table`; L outside [0, 1].
    """
    D = check_data(mdp, D)
    if check_level(L) == 0:
        warnings.warn("At L = 0 every policy is bad and every D unsafe.", stacklevel=2)
        best = optimal_policy(mdp)[0]
        return _margin(mdp, D, best, support(mdp, best), 0.0, boxed)
    if method == "milp":
        if boxed is not None:
            raise ValueError('boxed goes with method="enumerate" only.')
        return policy_margin(mdp, D, _mixed_integer(mdp, D, L=L))
    table = policy_table(mdp)
    bad, least = _bad(table, L), _lower_bounds(mdp, D, table)
    best = None
    for i in bad[np.argsort(least[bad], kind="stable")]:
        if best is not None and least[i] >= best.value:
            break
        found = _margin(mdp, D, table.policy(i), table.support[i], float(table.regret[i]), boxed)
        best = found if best is None or found.value < best.value else best
    assert best is not None
    return best


def is_safe(mdp: TabularMDP, D: Table, eps: float, L: float) -> Verdict:
    """The test Delta_L(D) > eps range R; unsafe verdicts carry an error-regret mismatch."""
    margin = safety_margin(mdp, D, L)
    slack, tolerance = margin.value - _error(eps) * mdp.range_R, TOLERANCE * mdp.range_R
    kind: Literal["safe", "unsafe", "boundary"]
    kind = "safe" if slack > tolerance else "unsafe" if slack < -tolerance else "boundary"
    return Verdict(kind, margin)


def worst_case_regret(
    mdp: TabularMDP, D: Table, eps: float, method: Literal["enumerate", "milp"] = "enumerate"
) -> tuple[float, Table, Table]:
    """W(eps) = max { Reg(pi): Delta_pi(D) <= eps range R }, with the reward and policy. (4)

    A step function of eps, continuous from the right (up to TOLERANCE).

    Returns:
        regret, reward_hat, policy.
    """
    D, budget = check_data(mdp, D), (_error(eps) + TOLERANCE) * mdp.range_R
    if method == "milp":
        found = policy_margin(mdp, D, _mixed_integer(mdp, D, eps=eps))
        if found.value > budget + 1e-6 * mdp.range_R:  # big constants against solver tolerances
            raise RuntimeError('The MILP was not accurate enough: use method="enumerate".')
        return found.regret, found.reward_hat, found.policy
    table = policy_table(mdp)
    least = _lower_bounds(mdp, D, table)
    for i in range(len(table.regret) - 1, -1, -1):  # the worst first
        if least[i] <= budget:
            loss, on = float(table.regret[i]), table.support[i]
            found = _margin(mdp, D, table.policy(i), on, loss, None)
            if found.value <= budget:
                return loss, found.reward_hat, found.policy
    best = optimal_policy(mdp)[0]  # R-hat = R
    return 0.0, mdp.R.copy(), best


# --- All safe distributions, and the best one -----------------------------------------------------


def safe_matrix(mdp: TabularMDP, L: float) -> Float[Array, "m SA"]:
    """M with Delta_L(D) = min_j (M D)_j for *every* D: D is safe iff M D > eps range R. (5)

    Each row is |R-hat - R| of one mismatch. Delta_L is concave, so a set of rows is complete once
    min_j (M D)_j is attained at every vertex of { (D, m): M D >= m, D a distribution }. Rows are
    added at vertices where it is not, until there is none; then those never needed are dropped.

    Raises:
        ValueError: more than MAX_CELLS_MATRIX cells.
    """
    cells = mdp.R.size
    if cells > MAX_CELLS_MATRIX:
        raise ValueError(
            f"safe_matrix enumerates vertices and takes at most {MAX_CELLS_MATRIX} cells (states x "
            f"actions); got {cells}. safety_margin and design_distribution go further."
        )
    if check_level(L) == 0:
        return np.zeros((1, cells))
    table = policy_table(mdp)
    rows, seen = _rows(mdp, np.full(cells, 1 / cells), table, L), set()
    while True:
        new = []
        for vertex in _vertices(rows):
            key = tuple(np.round(vertex, 9))
            if key in seen:
                continue
            seen.add(key)
            D = np.maximum(vertex[:-1], 0) / np.maximum(vertex[:-1], 0).sum()
            found = _rows(mdp, D, table, L)
            reached = (rows @ D).min()
            new += [row for row in found if row @ D < reached - TOLERANCE * mdp.range_R]
        if not new:
            return _irredundant(rows)
        rows = _undominated(np.vstack([rows, new]))
        seen = set()


def design_distribution(mdp: TabularMDP, L: float) -> tuple[Table, float]:
    """D* = argmax_D Delta_L(D) and its margin, by cutting planes. (6)

    At eps >= Delta_L(D*) / range R *no* distribution is safe.
    """
    if check_level(L) == 0:
        raise ValueError("At L = 0 no distribution is safe; L must be in (0, 1].")
    table, cells = policy_table(mdp), mdp.R.size
    rows = np.empty((0, cells))
    D, best, lower = np.full(cells, 1 / cells), np.full(cells, 1 / cells), -np.inf
    for _ in range(500):
        cuts = _rows(mdp, D, table, L)
        value = float((cuts @ D).min())
        if value > lower:
            best, lower = D, value
        rows = np.vstack([rows, cuts])
        # maximise m subject to rows D >= m, sum D = 1
        found = _solve(
            np.append(np.zeros(cells), -1.0),
            A_ub=np.hstack([-rows, np.ones((len(rows), 1))]),
            b_ub=np.zeros(len(rows)),
            A_eq=np.append(np.ones(cells), 0.0)[None],
            b_eq=[1.0],
            bounds=[(0, 1)] * cells + [(None, None)],
        )
        D = np.maximum(found.x[:-1], 0) / np.maximum(found.x[:-1], 0).sum()
        if -found.fun - lower < TOLERANCE * mdp.range_R:
            return best.reshape(mdp.R.shape), lower
    raise RuntimeError("The cutting planes did not converge in 500 rounds.")


# --- Bounds with their constants ------------------------------------------------------------------


def tight_bound(mdp: TabularMDP, D: Table, L: float) -> float:
    """eps below (1 - g) (range J / range R) min D L makes D safe. (7)

    Regret of R-hat's optimal policy is at most <eta* - eta, R - R-hat>, and Hoelder's inequality
    with |eta* - eta| <= 1/(1 - g) in every cell gives the constant.
    """
    lowest, highest = j_bounds(mdp)
    least = float(check_data(mdp, D).min())
    return (1 - mdp.gamma) * (highest - lowest) / mdp.range_R * least * check_level(L)


def paper_bound(mdp: TabularMDP, D: Table, L: float) -> float:
    """The same with the 2-norm, ||eta* - eta||_2 <= sqrt(2)/(1 - g): (7) divided by sqrt(2)."""
    return tight_bound(mdp, D, L) / np.sqrt(2)


def support_certificate(mdp: TabularMDP, D: Table, L: float) -> tuple[float, Table, Table]:
    """D is unsafe from eps = D(supp eta^pi) on, for every bad policy pi. (9)

    The reward that is max R on the support and R elsewhere makes pi optimal.

    Returns:
        The least such eps, reward_hat, policy.
    """
    D, table = check_data(mdp, D), policy_table(mdp)
    bad = _bad(table, L)
    mass = np.einsum("nsa,sa->n", table.support[bad], D)
    least = bad[int(np.argmin(mass))]
    reward_hat = np.where(table.support[least], mdp.R.max(), mdp.R)
    return float(mass.min()), reward_hat, table.policy(least)


# --- RLHF: contextual bandits with a KL penalty, trained on choices -------------------------------


def kl_policy(pi_ref: Table, R: Table, lam: float) -> Table:
    """argmax_pi E_pi R - lam KL(pi || pi_ref) = pi_ref exp(R / lam), normalised. (10)

    Any leading axes. pi_ref need not sum to one, and an answer that it excludes stays excluded.

    Raises:
        ValueError: lam is not positive, pi_ref negative, or a number not finite.
    """
    _finite("R", R)
    _finite("pi_ref", pi_ref)
    if (pi_ref < 0).any():
        place = ", ".join(map(str, np.argwhere(pi_ref < 0)[0]))
        raise ValueError(f"pi_ref must not be negative; pi_ref[{place}] is.")
    with np.errstate(divide="ignore"):
        return softmax(np.log(pi_ref) + R / _positive("lam", lam), axis=-1)


def rlhf_threshold(R: Table, L: float, lam: float, eps: float) -> Table:
    """D_ref is unsafe if each prompt has an answer of positive pi_ref(a|s) up to this threshold:

        (R_L - R) / L * range R exp(-range R / lam) * eps^2 / (4 lam^2),
        R_L(s) = (1 - L) max_a R(s, a) + L min_a R(s, a)                                      (11)

    even if choices are predicted to E KL <= eps range R. Zero for answers that are not bad.
    """
    _positive("lam", lam)
    _finite("R", R)
    gap = np.maximum(_reward_level(R, L)[:, None] - R, 0)
    width = float(np.ptp(R))
    return gap / L * width * np.exp(-width / lam) * _error(eps) ** 2 / (4 * lam**2)


def rlhf_witness(
    mu0: Float[Array, " S"], pi_ref: Table, R: Table, L: float, lam: float,
    bad_actions: Int[Array, " S"],
) -> Table:  # fmt: skip
    """The reward that overrates one bad answer a_s a prompt, so that `kl_policy` has regret L.

        R-hat(s, a_s) = max(R, lam log(N / ((R_L - R) pi_ref))) at a_s,
        N = sum_{a != a_s} (R - R_L) pi_ref exp(R / lam);  where N <= 0 nothing has to change. (12)

    Raises:
        ValueError: pi_ref is not positive; an answer is not bad, with its prompt.
    """
    _bandit(mu0, pi_ref=pi_ref, R=R)
    _positive("lam", lam)
    if not (pi_ref > 0).all():
        s, a = np.argwhere(pi_ref <= 0)[0]
        raise ValueError(f"pi_ref must be positive; pi_ref[{s}, {a}] is {pi_ref[s, a]}.")
    rows = np.arange(len(R))
    gap = _reward_level(R, L) - R[rows, bad_actions]
    if (gap <= 0).any():
        s = int(np.argmax(gap <= 0))
        raise ValueError(f"Answer {bad_actions[s]} of prompt {s} is not worse than R_L there.")
    shift = R.max(axis=1, keepdims=True)  # against overflow of exp(R / lam)
    terms = (R - _reward_level(R, L)[:, None]) * pi_ref * np.exp((R - shift) / lam)
    terms[rows, bad_actions] = 0
    excess = terms.sum(axis=1)
    with np.errstate(divide="ignore"):
        level = shift[:, 0] + lam * np.log(
            np.maximum(excess, 0) / (gap * pi_ref[rows, bad_actions])
        )
    reward_hat = R.copy()
    reward_hat[rows, bad_actions] = np.maximum(R[rows, bad_actions], level)
    return reward_hat


def bandit_regret(mu0: Float[Array, " S"], R: Table, pi: Table) -> float:
    """Reg(pi) in a contextual bandit: `regret` with gamma = 0."""
    _bandit(mu0, R=R, pi=pi)
    best, worst = mu0 @ R.max(axis=1), mu0 @ R.min(axis=1)
    if not best > worst:
        raise ValueError("Every policy has the same return (range J is 0): regret is undefined.")
    return float((best - mu0 @ (pi * R).sum(axis=1)) / (best - worst))


def choice_kl(mu0: Float[Array, " S"], pi_ref: Table, R: Table, R_hat: Table) -> float:
    """E_s E_{a, b ~ pi_ref} KL(p_R(a > b) || p_Rhat(a > b)), p = sigmoid(R(a) - R(b)). (13)

    At most 2 E|R - R_hat|: the KL divergence changes by at most one per unit of its logit.
    """
    _bandit(mu0, pi_ref=pi_ref, R=R, R_hat=R_hat)
    pairs = pi_ref[:, :, None] * pi_ref[:, None, :]
    logit, other = (r[:, :, None] - r[:, None, :] for r in (R, R_hat))
    return float(np.einsum("s,sab,sab->", mu0, pairs, _bernoulli_kl(logit, other)))


# --- Errors over trajectories ---------------------------------------------------------------------


def trajectory_returns(
    mdp: TabularMDP, pi: Table, rewards: Float[Array, "k S A"], horizon: int
) -> tuple[Float[Array, " n"], Float[Array, "k n"]]:
    """Probability and discounted returns, under k rewards, of every trajectory of pi.

    Raises:
        ValueError: there are more than MAX_TRAJECTORIES.
    """
    pi = check_policy(mdp, pi)
    probability, state = mdp.mu0[mdp.mu0 > 0], np.flatnonzero(mdp.mu0 > 0)
    total = np.zeros((len(rewards), len(state)))
    moves = [np.argwhere((pi[s][:, None] * mdp.P[s]) > 0) for s in range(len(pi))]
    for t in range(horizon):
        count = np.array([len(move) for move in moves])[state]
        if count.sum() > MAX_TRAJECTORIES:
            raise ValueError(
                f"More than {MAX_TRAJECTORIES} trajectories of {horizon} steps; shorten the "
                "horizon, or sample trajectories."
            )
        origin = np.repeat(np.arange(len(state)), count)
        steps = np.concatenate([moves[s] for s in state])
        here, action, following = state[origin], steps[:, 0], steps[:, 1]
        total = total[:, origin] + mdp.gamma**t * rewards[:, here, action]
        probability = probability[origin] * pi[here, action] * mdp.P[here, action, following]
        state = following
    return probability, total


def horizon_visitation(mdp: TabularMDP, pi: Table, horizon: int) -> Table:
    """Normalised discounted visits of (s, a) in the first `horizon` steps of pi; sums to one."""
    pi, d, total = check_policy(mdp, pi), mdp.mu0, np.zeros_like(mdp.R)
    for t in range(horizon):
        now = d[:, None] * pi
        total = total + mdp.gamma**t * now
        d = np.einsum("sa,sat->t", now, mdp.P)
    return total / total.sum()


def return_error(mdp: TabularMDP, pi: Table, reward_hat: Table, horizon: int) -> float:
    """E|G_R - G_Rhat| over trajectories of pi, exactly.

    At most (1 - g^T)/(1 - g) E_D|R - R_hat|, D the `horizon_visitation`. (14)
    """
    both = np.stack([mdp.R, _reward(mdp, reward_hat)])
    probability, total = trajectory_returns(mdp, pi, both, horizon)
    return float(probability @ np.abs(total[0] - total[1]))


def trajectory_choice_kl(mdp: TabularMDP, pi: Table, reward_hat: Table, horizon: int) -> float:
    """E KL(p_R || p_Rhat) for the choice between two independent trajectories; <= 2 (14). (15)"""
    both = np.stack([mdp.R, _reward(mdp, reward_hat)])
    probability, total = trajectory_returns(mdp, pi, both, horizon)
    rows = (
        p * float(probability @ _bernoulli_kl(x - total[0], y - total[1]))
        for p, x, y in zip(probability, *total, strict=True)
    )
    return float(sum(rows))


# --- Parts ----------------------------------------------------------------------------------------


def _flow(mdp: TabularMDP) -> Float[Array, "S SA"]:
    """E: what a unit of (s, a) takes from the balance of each state."""
    states, actions = mdp.R.shape
    return (np.eye(states)[:, None, :] - mdp.gamma * mdp.P).reshape(states * actions, states).T


def _margin(
    mdp: TabularMDP, D: Table, pi: Table, on: Bool[Array, "S A"], loss: float,
    boxed: tuple[float, float] | None,
) -> Margin:  # fmt: skip
    """(3) for a policy of known support and regret."""
    cells, R, E = mdp.R.size, mdp.R.ravel(), _flow(mdp)
    if cells > MAX_CELLS_LP:
        raise ValueError(
            f"A linear programme of {cells} cells (states x actions) is above the limit of "
            f"{MAX_CELLS_LP}: use tight_bound and support_certificate, which need none."
        )
    gain, columns = R, E
    low, high = np.where(on, -D, 0.0).ravel(), D.ravel()
    if boxed is not None:
        if boxed[0] > R.min() or boxed[1] < R.max():
            raise ValueError(f"boxed must hold all of R, [{R.min()}, {R.max()}]; got {boxed}.")
        gain = np.concatenate([R, np.full(cells, boxed[0]), np.full(cells, -boxed[1])])
        columns = np.hstack([E, E, -E])
        low = np.concatenate([low, np.zeros(2 * cells)])
        free = np.full(2 * cells, np.inf)
        free[cells:][~on.ravel()] = 0.0
        high = np.concatenate([high, free])
    bounds = np.stack([low, high], axis=1)
    found = _solve(-gain, A_eq=columns, b_eq=np.zeros(len(E)), bounds=bounds)
    V = -np.asarray(found.eqlin.marginals)
    needed = (E.T @ V).reshape(mdp.R.shape)  # V - g P V
    reward_hat = np.where(on, needed, np.minimum(mdp.R, needed))
    value = float(np.sum(D * np.abs(reward_hat - mdp.R)))
    return Margin(value, reward_hat, V, found.x[:cells].reshape(mdp.R.shape), pi, loss)


def _solve(cost: Array, **constraints: Any) -> Any:
    """A linear programme by HiGHS, to its tightest tolerances."""
    options = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
    found: Any = linprog(cost, method="highs", options=options, **constraints)
    if found.status != 0:
        raise RuntimeError(f"HiGHS could not solve a linear programme: {found.message}")
    return found


def _mixed_integer(
    mdp: TabularMDP, D: Table, *, eps: float | None = None, L: float | None = None
) -> Table:
    """The bad policy of `safety_margin` (given L), or the worst of `worst_case_regret` (given eps).

    Binaries x choose an action a state; t >= |R-hat - R|, with R-hat eliminated as in (3):

        t >= R + g P V - V,   t >= V - g P V - R - C (1 - x),   E eta = mu0,   eta <= x / (1 - g)

    and <eta, R> is least subject to <D, t> <= eps range R, or <D, t> is least subject to regret L.
    An optimal V of R-hat with a greedy x that agrees with pi where pi comes is feasible, and every
    feasible x is greedy: states that pi does not reach need no special case here.
    """
    states, actions = mdp.R.shape
    cells = mdp.R.size
    if cells > MAX_CELLS_MILP:
        raise ValueError(
            f"The MILP takes at most {MAX_CELLS_MILP} cells (states x actions); got {cells}: "
            "bracket the margin by tight_bound and the policy_margin of bad policies."
        )
    lowest, highest = j_bounds(mdp)
    worst = optimal_policy(mdp, -mdp.R)[0]
    if eps is not None:
        budget = (eps + TOLERANCE) * mdp.range_R
    else:
        budget = _margin(mdp, D, worst, support(mdp, worst), 1.0, None).value
        if budget <= TOLERANCE * mdp.range_R:
            return worst
    V_low, V_high, C = _room(mdp, D, budget)
    pay = np.concatenate([np.zeros(cells + states), D.ravel(), np.zeros(cells)])
    gain = np.concatenate([np.zeros(2 * cells + states), mdp.R.ravel()])
    if L is None:
        cost, limit = gain, _between(pay[None], -np.inf, budget)
    else:
        top = highest - (L - REGRET_TOLERANCE) * (highest - lowest)
        cost, limit = pay, _between(gain[None], -np.inf, top)
    low = np.concatenate([np.zeros(cells), V_low, np.zeros(2 * cells)])
    high = np.concatenate([np.ones(cells), V_high, np.full(2 * cells, np.inf)])
    box: Any = Bounds
    found: Any = milp(
        cost,
        constraints=[*_greedy_flows(mdp, C), limit],
        integrality=np.concatenate([np.ones(cells), np.zeros(states + 2 * cells)]),
        bounds=box(low, high),
        options={"mip_rel_gap": 1e-9, "node_limit": MAX_NODES_MILP},
    )
    if found.status != 0:
        raise RuntimeError(
            f"The MILP was not solved ({found.message.rstrip('.')}): bracket the margin by "
            "tight_bound and the policy_margin of bad policies."
        )
    return np.eye(actions)[found.x[:cells].reshape(states, actions).argmax(axis=1)]


def _room(
    mdp: TabularMDP, D: Table, budget: float
) -> tuple[Float[Array, " S"], Float[Array, " S"], Table]:
    """How low and high V can be within a budget of <D, |R-hat - R|>, and C >= V - g P V - R.

    |R-hat - R| <= budget / D where D > 0. Where D = 0 a reward is free; there it is kept within
    2 range R / (1 - g) of R, and the mixed-integer programme is exact up to that box.
    """
    reach = np.full(D.shape, 2 * mdp.range_R / (1 - mdp.gamma))
    np.divide(budget, D, out=reach, where=D > 0)
    high, low = (optimal_policy(mdp, mdp.R + sign * reach)[1] for sign in (1, -1))
    return low, high, high[:, None] - mdp.gamma * mdp.P @ low - mdp.R


def _greedy_flows(mdp: TabularMDP, C: Table) -> list[LinearConstraint]:
    """The rows of `_mixed_integer` that every choice of actions obeys; columns x, V, t, eta."""
    states, actions = mdp.R.shape
    cells, R, E = mdp.R.size, mdp.R.ravel(), _flow(mdp)
    eye, zero, none = np.eye(cells), np.zeros((cells, cells)), np.zeros((cells, states))
    choose, empty = np.kron(np.eye(states), np.ones(actions)), np.zeros((states, cells))
    balance, big = np.zeros((states, states)), C.ravel()
    return [
        _between(np.hstack([zero, E.T, eye, zero]), R, np.inf),
        _between(np.hstack([-np.diag(big), -E.T, eye, zero]), -R - big, np.inf),
        _between(np.hstack([eye / (1 - mdp.gamma), none, zero, -eye]), 0.0, np.inf),
        _between(np.hstack([choose, balance, empty, empty]), 1.0, 1.0),
        _between(np.hstack([empty, balance, empty, E]), mdp.mu0, mdp.mu0),
    ]


def _between(rows: Array, low: Array | float, high: Array | float) -> LinearConstraint:
    bounds: Any = (low, high)  # scipy types them as numbers, and takes arrays
    return LinearConstraint(rows, *bounds)


def _rows(mdp: TabularMDP, D: Array, table: PolicyTable, L: float) -> Float[Array, "n SA"]:
    """|R-hat - R| of the cheapest mismatch at D of every bad policy: each is a valid row of M."""
    D = D.reshape(mdp.R.shape)
    found = (_margin(mdp, D, table.policy(i), table.support[i], 0.0, None) for i in _bad(table, L))
    return np.stack([np.abs(margin.reward_hat - mdp.R).ravel() for margin in found])


def _vertices(rows: Float[Array, "m SA"]) -> Iterator[Array]:
    """Vertices (D, m) of { rows D >= m, D a distribution }, by Qhull; m <= -1 is cut off."""
    cells = rows.shape[1]
    # The last cell is one minus the others; a halfspace is A x + b <= 0 in x = (D[:-1], m).
    sides = np.zeros((cells + 1, cells + 1))
    sides[: cells - 1, : cells - 1] = -np.eye(cells - 1)
    sides[cells - 1, : cells - 1], sides[cells - 1, -1] = 1, -1
    sides[cells, cells - 1], sides[cells, -1] = -1, -1
    ones = np.ones((len(rows), 1))
    planes = np.hstack([rows[:, -1:] - rows[:, :-1], ones, -rows[:, -1:]])
    inside = np.append(np.full(cells - 1, 1 / cells), -0.5)
    for x in HalfspaceIntersection(np.vstack([sides, planes]), inside).intersections:
        if np.isfinite(x).all() and x[-1] > -0.5:
            yield np.concatenate([x[:-1], [1 - x[:-1].sum()], x[-1:]])


def _undominated(rows: Float[Array, "m SA"]) -> Float[Array, "k SA"]:
    """Rows without those that another one undercuts in every cell."""
    rows = np.unique(np.round(rows, 12), axis=0)
    kept = [
        row for i, row in enumerate(rows)
        if not any((other <= row + 1e-11).all() for j, other in enumerate(rows) if j != i)
    ]  # fmt: skip
    return np.stack(kept) if kept else rows[:1]


def _irredundant(rows: Float[Array, "m SA"]) -> Float[Array, "k SA"]:
    """Rows without those that are nowhere the least, decided by one linear programme each."""
    kept = list(_undominated(rows))
    for row in list(kept):
        others = np.stack([r for r in kept if r is not row] or [row + 1])
        cells = len(row)
        found = _solve(  # least row D - min(others D)
            np.append(row, -1.0),
            A_ub=np.hstack([-others, np.ones((len(others), 1))]),
            b_ub=np.zeros(len(others)),
            A_eq=np.append(np.ones(cells), 0.0)[None],
            b_eq=[1.0],
            bounds=[(0, 1)] * cells + [(None, None)],
        )
        if found.fun >= -1e-10:
            kept = [r for r in kept if r is not row]
    return np.stack(kept)


def _bad(table: PolicyTable, L: float) -> Int[Array, " bad"]:
    """Indices of the policies with regret at least L; the worst one is always there."""
    return np.flatnonzero(table.regret >= min(check_level(L), table.regret[-1]) - REGRET_TOLERANCE)


def _lower_bounds(mdp: TabularMDP, D: Table, table: PolicyTable) -> Float[Array, " n"]:
    """<k (eta* - eta), R> <= Delta_pi(D) for the largest k with k |eta* - eta| <= D."""
    change = table.occupancy[0] - table.occupancy
    room = np.full(change.shape, np.inf)
    np.divide(np.broadcast_to(D, change.shape), np.abs(change), out=room, where=change != 0)
    k = room.min(axis=(1, 2))
    gain = np.maximum(np.einsum("nsa,sa->n", change, mdp.R), 0)
    return np.multiply(k, gain, out=np.zeros_like(k), where=np.isfinite(k)) * (1 - TOLERANCE)


def _reach(mdp: TabularMDP, moves: Bool[Array, "n S S"]) -> Bool[Array, "n S"]:
    """States that are visited, given the possible moves; at gamma = 0 only the first counts."""
    visited = np.broadcast_to(mdp.mu0 > 0, moves.shape[:2]).copy()
    possible = moves.astype(np.float32)
    for _ in range(len(mdp.mu0) if mdp.gamma > 0 else 0):
        further = visited | (np.einsum("ns,nst->nt", visited.astype(np.float32), possible) > 0)
        if (further == visited).all():
            break
        visited = further
    return visited


def _bernoulli_kl(logit: Array, other: Array) -> Array:
    """KL(sigmoid(logit) || sigmoid(other)), without cancellation far out."""
    p = np.exp(log_expit(logit))
    ahead = log_expit(logit) - log_expit(other)
    return np.maximum(p * ahead + (1 - p) * (log_expit(-logit) - log_expit(-other)), 0)


def _reward_level(R: Table, L: float) -> Float[Array, " S"]:
    """R_L(s) = (1 - L) max_a R(s, a) + L min_a R(s, a)."""
    if not 0 < L < 1:
        raise ValueError(f"L must lie strictly between 0 and 1 here; got {L}.")
    return (1 - L) * R.max(axis=1) + L * R.min(axis=1)


# --- Checks of what comes in ----------------------------------------------------------------------


def _finite(name: str, values: Array) -> None:
    if not np.isfinite(values).all():
        place = ", ".join(map(str, np.argwhere(~np.isfinite(values))[0]))
        raise ValueError(f"{name} must hold finite numbers; {name}[{place}] is not one.")


def _distributions(name: str, values: Array) -> None:
    """The last axis must hold probabilities."""
    _finite(name, values)
    if (values < 0).any():
        place = ", ".join(map(str, np.argwhere(values < 0)[0]))
        raise ValueError(f"{name} must not be negative; {name}[{place}] is.")
    total = np.asarray(values.sum(axis=-1))
    if (np.abs(total - 1) > 1e-8).any():
        place = ", ".join(map(str, np.argwhere(np.abs(total - 1) > 1e-8)[0]))
        row = f"{name}[{place}]" if place else name
        raise ValueError(f"{row} must sum to one; it sums to {total[np.abs(total - 1) > 1e-8][0]}.")


def check_data(mdp: TabularMDP, D: Table) -> Table:
    """D as an array, if it is a distribution over (s, a); else a ValueError."""
    D = np.asarray(D, np.float64)
    if D.shape != mdp.R.shape:
        raise ValueError(f"D must have shape {list(mdp.R.shape)}; got {list(D.shape)}.")
    _distributions("D", D.reshape(-1) if (D >= 0).all() else D)
    return D


def check_policy(mdp: TabularMDP, pi: Table) -> Table:
    """pi as an array, if it is a policy of this MDP; else a ValueError."""
    pi = np.asarray(pi, np.float64)
    if pi.shape != mdp.R.shape:
        raise ValueError(f"A policy must have shape {list(mdp.R.shape)}; got {list(pi.shape)}.")
    _distributions("pi", pi)
    return pi


def _reward(mdp: TabularMDP, reward: Table) -> Table:
    reward = np.asarray(reward, np.float64)
    if reward.shape != mdp.R.shape:
        raise ValueError(f"A reward must have shape {list(mdp.R.shape)}; got {list(reward.shape)}.")
    _finite("reward", reward)
    return reward


def _bandit(mu0: Array, **tables: Array) -> None:
    """mu0, pi and pi_ref must be distributions, rewards finite, and shapes must agree."""
    _distributions("mu0", mu0)
    for name, table in tables.items():
        if table.ndim != 2 or len(table) != len(mu0):
            raise ValueError(
                f"{name} must have shape [{len(mu0)} prompts, answers]; got {list(table.shape)}."
            )
        if table.shape != next(iter(tables.values())).shape:
            first = next(iter(tables))
            raise ValueError(f"{name} and {first} must have the same shape.")
        _distributions(name, table) if name.startswith("pi") else _finite(name, table)


def check_level(L: float) -> float:
    """L, if it is a normalised regret; else a ValueError."""
    if not 0 <= L <= 1:
        raise ValueError(f"L is a normalised regret and must be in [0, 1]; got {L}.")
    return float(L)


def _error(eps: float) -> float:
    if not (np.isfinite(eps) and eps >= 0):
        raise ValueError(f"eps must be a number of at least 0; got {eps}.")
    return float(eps)


def _positive(name: str, value: float) -> float:
    if not (np.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be positive and finite; got {value}.")
    return float(value)
