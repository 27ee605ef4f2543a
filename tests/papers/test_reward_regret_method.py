"""The error-regret toolkit: numbers by hand, naive re-derivations, invariances, bad inputs."""

import warnings
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from papers.reward_regret import env, method, oracle
from papers.reward_regret.analysis import occupancy_bound, regret_curve
from papers.reward_regret.env import validate
from papers.reward_regret.method import (
    TabularMDP,
    design_distribution,
    is_safe,
    j_bounds,
    occupancy,
    optimal_policy,
    paper_bound,
    policy_margin,
    policy_table,
    regret,
    returns,
    safe_matrix,
    safety_margin,
    support,
    support_certificate,
    tight_bound,
    visitation,
    worst_case_regret,
)

CHAIN = env.chain()
THREE = env.three_by_two()
DATA = env.three_by_two_data()
EYE = np.eye(2)
small = st.tuples(st.integers(0, 10_000), st.sampled_from([(2, 2), (3, 2), (2, 3)]))


def close(value, expected, tolerance=1e-6):
    np.testing.assert_allclose(value, expected, rtol=0, atol=tolerance)


def problem(case):
    seed, (states, actions) = case
    return env.random_mdp(seed, states, actions), env.random_data(seed, states, actions)


# --- Occupancies, returns, regret -----------------------------------------------------------------


def test_occupancies_of_the_chain_in_both_normalisations():
    uniform = np.full((2, 2), 0.5)
    close(occupancy(CHAIN, uniform), [[2.75, 2.75], [2.25, 2.25]])
    close(visitation(CHAIN, uniform).sum(), 1)
    close(j_bounds(CHAIN), (0, 9))
    close(regret(CHAIN, np.array([[0.0, 1.0], [1.0, 0.0]])), 0)
    close(regret(CHAIN, np.array([[1.0, 0.0], [1.0, 0.0]])), 1)


def test_occupancy_is_the_discounted_sum_over_time():
    mdp, pi = env.random_mdp(3, 4, 3), np.random.default_rng(0).dirichlet(np.ones(3), 4)
    d, total, earned = mdp.mu0, np.zeros((4, 3)), 0.0
    for t in range(2000):
        now = d[:, None] * pi
        total += mdp.gamma**t * now
        earned += mdp.gamma**t * float((now * mdp.R).sum())
        d = np.einsum("sa,sat->t", now, mdp.P)
    close(occupancy(mdp, pi), total, 1e-10)
    close(returns(mdp, pi), earned, 1e-10)


def test_policies_that_differ_where_they_never_come_are_one():
    table = policy_table(CHAIN)
    assert len(table.regret) == 3  # of four: staying in state 0, what happens in 1 is the same
    close(table.regret, [0, 1, 1])
    assert len(policy_table(THREE).regret) == 8
    for i in range(3):
        assert (support(CHAIN, table.policy(i)) == table.support[i]).all()
        close(table.occupancy[i], occupancy(CHAIN, table.policy(i)), 1e-12)


def test_bounds_of_returns_and_regrets_are_those_of_all_policies():
    for seed in range(5):
        mdp = env.random_mdp(seed, 3, 3)
        by_hand = oracle.regrets_by_hand(mdp)
        table = policy_table(mdp)
        close(table.regret, sorted(by_hand.values()), 1e-12)
        for actions, loss in zip(table.actions, table.regret, strict=True):
            close(by_hand[tuple(actions)], loss, 1e-12)


# --- Margins --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("D", "margin", "tight"),
    [
        ((0.25, 0.25, 0.25, 0.25), 0.225, 0.225),
        ((0.4, 0.1, 0.4, 0.1), 0.19, 0.09),
        ((0.1, 0.4, 0.1, 0.4), 0.09, 0.09),
        ((0.7, 0.1, 0.1, 0.1), 0.1, 0.09),
    ],
)
def test_margins_of_the_chain(D, margin, tight):
    D = np.reshape(D, (2, 2))
    for L in (0.01, 0.5, 1.0):
        close(safety_margin(CHAIN, D, L).value, margin)
    close(oracle.chain_margin(D), margin)
    close(tight_bound(CHAIN, D, 1.0), tight)
    close(paper_bound(CHAIN, D, 1.0), tight / np.sqrt(2))
    close(tight_bound(CHAIN, D, 0.5), tight / 2)


V4 = {
    (1, 1, 0): (0, 0), (1, 0, 0): (0.326114, 0.019183), (0, 1, 0): (0.471167, 0.031969),
    (0, 0, 0): (0.767967, 0.040556), (1, 1, 1): (0.780401, 0.019350),
    (1, 0, 1): (0.824064, 0.022812), (0, 1, 1): (0.913538, 0.033969), (0, 0, 1): (1, 0.040556),
}  # fmt: skip


@pytest.mark.parametrize("actions", V4, ids=str)
def test_margins_of_three_by_two(actions):
    loss, margin = V4[actions]
    found = policy_margin(THREE, DATA, EYE[list(actions)])
    close((found.regret, found.value), (loss, margin))


def test_safety_margins_and_worst_regrets_of_three_by_two():
    close(j_bounds(THREE), (1.2898550725, 2.2001003009))
    expected = {0.1: 0.019183, 0.25: 0.019183, 0.5: 0.019350, 0.9: 0.033969, 1.0: 0.040556}
    for L, margin in expected.items():
        close(safety_margin(THREE, DATA, L).value, margin)
        close(safety_margin(THREE, DATA, L, method="milp").value, margin)
    steps = {0.01: 0, 0.0193: 0.326114, 0.02: 0.780401, 0.03: 0.824064, 0.035: 0.913538, 0.045: 1}
    errors, regrets = regret_curve(THREE, DATA)
    for eps, worst in steps.items():
        close(worst_case_regret(THREE, DATA, eps)[0], worst)
        close(worst_case_regret(THREE, DATA, eps, method="milp")[0], worst)
        close(regrets[np.searchsorted(errors, eps, side="right") - 1], worst)
    close(tight_bound(THREE, DATA, 0.5), 0.004551)
    assert (np.diff(errors) > 0).all() and (np.diff(regrets) > 0).all() and errors[0] == 0


@settings(max_examples=25, deadline=None)
@given(small)
def test_three_derivations_of_a_margin_agree(case):
    """The dual, the primal with value functions, and the definition with all other policies."""
    mdp, D = problem(case)
    states, actions = mdp.R.shape
    for chosen in list(product(range(actions), repeat=states))[::3]:
        pi = np.eye(actions)[list(chosen)]
        found = policy_margin(mdp, D, pi)
        close(found.value, oracle.margin_by_values(mdp, D, pi), 1e-9)
        close(found.value, oracle.margin_by_policies(mdp, D, pi), 1e-9)


def test_margin_of_a_stochastic_policy_needs_every_action_that_it_takes():
    mdp, D = env.bandit([1.0, 0.6, 0.0]), np.array([[0.5, 0.3, 0.2]])
    mixed = np.array([[0.0, 0.5, 0.5]])
    # Both must be best at one level v: 0.5 (1 - v) + 0.3 |0.6 - v| + 0.2 v, least at v = 0.6.
    close(policy_margin(mdp, D, mixed).value, 0.2 + 0.12)
    close(oracle.margin_by_policies(mdp, D, mixed), 0.32)


def test_equality_holds_on_the_support_only():
    """A state that a policy avoids must not cost anything."""
    stay = EYE[[0, 0]]  # never leaves state 0
    D = np.array([[0.1, 0.1], [0.4, 0.4]])
    found = policy_margin(CHAIN, D, stay)
    close(found.value, oracle.margin_by_policies(CHAIN, D, stay))
    close(found.value, policy_margin(CHAIN, D, EYE[[0, 1]]).value)
    everywhere = TabularMDP(CHAIN.P, CHAIN.R, np.array([1 - 1e-9, 1e-9]), 0.9)
    assert policy_margin(everywhere, D, EYE[[0, 1]]).value > found.value + 0.02


@settings(max_examples=25, deadline=None)
@given(small, st.sampled_from([0.1, 0.5, 1.0]))
def test_a_margin_carries_its_own_proof(case, L):
    mdp, D = problem(case)
    found = safety_margin(mdp, D, L)
    # Attained: the policy is optimal for the witness, which costs the margin, and is bad.
    best = mdp.mu0 @ optimal_policy(mdp, found.reward_hat)[1]
    close(np.sum(occupancy(mdp, found.policy) * found.reward_hat), best, 1e-9)
    close(np.sum(D * np.abs(found.reward_hat - mdp.R)), found.value, 1e-12)
    assert regret(mdp, found.policy) >= L - 1e-12
    close(regret(mdp, found.policy), found.regret, 1e-12)
    # Not undercut: a balanced change of occupancy within the data gains as much.
    inflow = mdp.gamma * np.einsum("sa,sat->t", found.flow, mdp.P)
    close(found.flow.sum(axis=1), inflow, 1e-9)
    on = support(mdp, found.policy)
    assert (found.flow <= D + 1e-12).all() and (found.flow >= np.where(on, -D, 0) - 1e-12).all()
    close(np.sum(found.flow * mdp.R), found.value, 1e-9)


@settings(max_examples=20, deadline=None)
@given(small, st.sampled_from([0.25, 0.75]))
def test_skipping_policies_by_their_lower_bound_changes_nothing(case, L):
    mdp, D = problem(case)
    table = policy_table(mdp)
    bad = [i for i in range(len(table.regret)) if table.regret[i] >= L - 1e-12]
    values = [policy_margin(mdp, D, table.policy(i)).value for i in bad]
    close(safety_margin(mdp, D, L).value, min(values), 1e-12)
    assert (method._lower_bounds(mdp, D, table)[bad] <= np.array(values) + 1e-12).all()


@settings(max_examples=10, deadline=None)
@given(small, st.sampled_from([0.3, 0.8]))
def test_mixed_integer_programmes_agree_with_enumeration(case, L):
    mdp, D = problem(case)
    margin = safety_margin(mdp, D, L).value
    close(safety_margin(mdp, D, L, method="milp").value, margin, 1e-8)
    for factor in (0.5, 1.5):
        eps = factor * margin / mdp.range_R
        worst = worst_case_regret(mdp, D, eps)[0]
        close(worst_case_regret(mdp, D, eps, method="milp")[0], worst, 1e-8)


def test_milp_without_coverage_and_with_unreachable_states():
    D = np.array([[0.5, 0.0], [0.5, 0.0]])
    close(safety_margin(CHAIN, D, 0.5, method="milp").value, 0)
    close(worst_case_regret(CHAIN, D, 0.0, method="milp")[0], 1)
    D = np.array([[0.1, 0.4], [0.1, 0.4]])
    close(safety_margin(CHAIN, D, 0.5, method="milp").value, 0.09)


def test_a_box_for_the_learned_reward_only_helps():
    mdp, D = env.bandit([1.0, 0.6, 0.0]), np.array([[0.1, 0.3, 0.6]])
    free = safety_margin(mdp, D, 0.5).value
    close(free, 0.1 * 1 + 0.3 * 0.6)  # lower both others to 0
    close(safety_margin(mdp, D, 0.5, boxed=(0.0, 1.0)).value, free)
    close(safety_margin(mdp, D[:, ::-1], 0.5).value, 0.1)  # raise the worst to 1
    for L in (0.5, 0.9):
        inside = safety_margin(THREE, DATA, L, boxed=(0.0, 1.0))
        assert inside.value >= safety_margin(THREE, DATA, L).value - 1e-12
        assert inside.reward_hat.min() >= -1e-9 and inside.reward_hat.max() <= 1 + 1e-9
        best = THREE.mu0 @ optimal_policy(THREE, inside.reward_hat)[1]
        close(np.sum(occupancy(THREE, inside.policy) * inside.reward_hat), best, 1e-9)
    close(safety_margin(THREE, DATA, 0.9, boxed=(0.0, 1.0)).value, 0.037094)
    close(safety_margin(THREE, DATA, 0.9, boxed=(-100.0, 100.0)).value, 0.033969)


def test_margins_in_a_box_are_those_of_the_primal():
    matters = np.zeros(2)  # the lower side, the upper side
    for seed in range(12):
        mdp, D = problem((seed, (3, 2)))
        box = (0.0, 1.0) if seed % 2 else (-0.1, 1.2)
        for chosen in product(range(2), repeat=3):
            pi = EYE[list(chosen)]
            value = policy_margin(mdp, D, pi, boxed=box).value
            close(value, oracle.margin_by_values(mdp, D, pi, box), 1e-9)
            for side, part in enumerate(((None, box[1]), (box[0], None))):
                matters[side] += value > 1e-6 + oracle.margin_by_values(mdp, D, pi, part)
    assert (matters >= 2).all()


# --- The test, the matrix, the best distribution --------------------------------------------------


def test_ties_count_and_the_boundary_is_unsafe():
    D = env.uniform(CHAIN)
    assert is_safe(CHAIN, D, 0.2249, 0.5).kind == "safe"
    assert is_safe(CHAIN, D, 0.2251, 0.5).kind == "unsafe"
    assert is_safe(CHAIN, D, 0.225, 0.5).kind == "boundary"
    assert worst_case_regret(CHAIN, D, 0.225)[0] == pytest.approx(1)  # non-strict: a tie is enough
    loss, reward_hat, policy = worst_case_regret(CHAIN, D, 0.2249)
    assert loss == 0
    close(reward_hat, CHAIN.R)
    close(regret(CHAIN, policy), 0)


@pytest.mark.parametrize(
    ("D", "at_half", "at_four"),
    [((0.5, 0.3, 0.2), 0.2, 0.12), ((0.2, 0.2, 0.6), 0.32, 0.08), ((0.1, 0.6, 0.3), 0.22, 0.04)],
)
def test_matrix_of_the_bandit(D, at_half, at_four):
    mdp = env.bandit([1.0, 0.6, 0.0])
    half, four = safe_matrix(mdp, 0.5), safe_matrix(mdp, 0.4)
    close(half[np.lexsort(half.T)], [[1, 0.6, 0], [0.4, 0, 0.6], [0, 0, 1]])
    # (1, .6, 0) and (.4, 0, .6) are undercut by (.4, 0, 0).
    close(four[np.lexsort(four.T)], [[0.4, 0, 0], [0, 0.4, 0], [0, 0, 1]])
    for M, L, margin in ((half, 0.5, at_half), (four, 0.4, at_four)):
        close((M @ D).min(), margin)
        close(safety_margin(mdp, np.array([D]), L).value, margin)
        close(oracle.bandit_margin(np.array(D), mdp.R[0], L), margin)


def test_matrix_of_the_chain_is_its_closed_form():
    M = safe_matrix(CHAIN, 0.3)
    close(M[np.lexsort(M.T)], np.diag([0.9, 19 / 9, 1, 1.9]))


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.25, 0.75]))
def test_matrix_decides_fresh_distributions_also_those_with_gaps(seed, L):
    mdp, rng = env.random_mdp(seed, 2, 2), np.random.default_rng(seed)
    M = safe_matrix(mdp, L)
    assert (M >= 0).all()
    for D in [*rng.dirichlet(np.full(4, 0.5), 10), *np.eye(4), (0.5, 0, 0.5, 0)]:
        exact = safety_margin(mdp, np.reshape(D, (2, 2)), L).value
        close((M @ D).min(), exact, 1e-9)
    for j in range(len(M)):  # every row is needed
        if len(M) > 1:
            D, _ = _best_for(M, j)
            assert (M[j] @ D) < np.delete(M, j, axis=0).dot(D).min() - 1e-11


def _best_for(M, j):
    from scipy.optimize import linprog

    others = np.delete(M, j, axis=0)
    cells = M.shape[1]
    found = linprog(
        np.append(M[j], -1),
        A_ub=np.hstack([-others, np.ones((len(others), 1))]),
        b_ub=np.zeros(len(others)),
        A_eq=np.append(np.ones(cells), 0)[None],
        b_eq=[1],
        bounds=[(0, 1)] * cells + [(None, None)],
    )
    return found.x[:-1], found.fun


def test_matrix_and_cutting_planes_of_three_by_two():
    for L, best in ((0.25, 0.0340470), (0.9, 0.1135406)):
        D, margin = design_distribution(THREE, L)
        close(margin, best)
        close(safety_margin(THREE, D, L).value, margin, 1e-9)
        M = safe_matrix(THREE, L)
        close((M @ D.ravel()).min(), margin, 1e-9)


def test_best_distributions_in_closed_form():
    D, margin = design_distribution(CHAIN, 1.0)
    close(D.ravel(), [0.357143, 0.152256, 0.321429, 0.169173])
    close(margin, 9 / 28)
    close(margin, 1 / np.sum(1 / np.array([0.9, 19 / 9, 1, 1.9])))


@pytest.mark.parametrize("bad", [1, 4, 10])
def test_with_many_bad_arms_no_distribution_is_safe(bad):
    mdp = env.bandit([1.0] + [0.0] * bad)
    D, margin = design_distribution(mdp, 0.5)
    close(margin, 1 / (bad + 1))
    close(D, env.uniform(mdp), 1e-6)


def test_expert_data_is_unsafe_and_the_margin_grows_with_what_is_mixed_in():
    close(env.expert_mixture(THREE, 0.0).ravel(), [0, 0.268305, 0, 0.364594, 0.367101, 0])
    for w, margin in ((0.0, 0.0), (0.1, 0.00213139), (0.5, 0.01065697), (1.0, 0.02131394)):
        close(safety_margin(THREE, env.expert_mixture(THREE, w), 0.25).value, margin, 1e-8)


# --- Bounds and certificates ----------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(small, st.sampled_from([0.1, 0.5, 1.0]))
def test_bounds_are_in_order_and_below_the_threshold(case, L):
    mdp, D = problem(case)
    exact = safety_margin(mdp, D, L).value / mdp.range_R
    paper, tight, cells = (f(mdp, D, L) for f in (paper_bound, tight_bound, occupancy_bound))
    assert 0 < paper < tight <= cells + 1e-12 and cells <= exact + 1e-12
    at, reward_hat, policy = support_certificate(mdp, D, L)
    assert exact <= at + 1e-12
    assert np.sum(D * np.abs(reward_hat - mdp.R)) <= at * mdp.range_R + 1e-12
    assert regret(mdp, policy) >= L - 1e-12
    best = mdp.mu0 @ optimal_policy(mdp, reward_hat)[1]
    close(np.sum(occupancy(mdp, policy) * reward_hat), best, 1e-9)


def test_support_certificate_by_hand():
    mdp, D = env.bandit([1.0, 0.6, 0.0]), np.array([[0.7, 0.2, 0.1]])
    at, reward_hat, policy = support_certificate(mdp, D, 0.4)
    close(at, 0.1)
    close(reward_hat, [[1, 0.6, 1]])
    close(policy, [[0, 0, 1]])


# --- Invariances ----------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(small, st.sampled_from([0.25, 0.75]))
def test_invariances(case, L):
    mdp, D = problem(case)
    margin = safety_margin(mdp, D, L).value
    rng = np.random.default_rng(case[0])

    def changed(R):
        return safety_margin(TabularMDP(mdp.P, R, mdp.mu0, mdp.gamma), D, L).value

    close(changed(mdp.R + 3.0), margin, 1e-9)
    close(changed(7.0 * mdp.R), 7 * margin, 1e-8)
    phi = rng.standard_normal(len(mdp.mu0))
    shaped = mdp.R + mdp.gamma * mdp.P @ phi - phi[:, None]
    close(changed(shaped), margin, 1e-9)  # reward_hat is shaped alike
    other = np.random.default_rng(case[0] + 1).dirichlet(np.ones(D.size)).reshape(D.shape)
    middle = safety_margin(mdp, (D + other) / 2, L).value
    assert middle >= (margin + safety_margin(mdp, other, L).value) / 2 - 1e-10  # concave
    margins = [safety_margin(mdp, D, level).value for level in (0.1, 0.4, 0.7, 1.0)]
    assert (np.diff(margins) >= -1e-12).all()
    # Renaming states and actions changes nothing.
    s, a = rng.permutation(mdp.R.shape[0]), rng.permutation(mdp.R.shape[1])
    renamed = TabularMDP(mdp.P[s][:, a][:, :, s], mdp.R[s][:, a], mdp.mu0[s], mdp.gamma)
    close(safety_margin(renamed, D[s][:, a], L).value, margin, 1e-9)


def test_no_discount_is_a_bandit_in_each_prompt():
    R, mu0 = np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([0.25, 0.75])
    mdp = env.contextual_bandit(R, mu0)
    pi = np.full((2, 2), 0.5)
    close(occupancy(mdp, pi), mu0[:, None] * pi)
    close(regret(mdp, pi), method.bandit_regret(mu0, R, pi))
    D = np.array([[0.1, 0.2], [0.3, 0.4]])
    # Fooling prompt 0 costs min(D) * 1 there and a regret of 1/7; prompt 1: 0.3 * 2 and 6/7.
    close(safety_margin(mdp, D, 0.1).value, 0.1)
    close(safety_margin(mdp, D, 0.5).value, 0.6)
    close(safety_margin(mdp, D, 0.9).value, 0.7)
    never = env.contextual_bandit(R, np.array([1.0, 0.0]))  # a prompt that never comes
    close(safety_margin(never, D, 0.5).value, 0.1)


# --- Refusals -------------------------------------------------------------------------------------


def mdp_with(**changes):
    parts = {"P": THREE.P, "R": THREE.R, "mu0": THREE.mu0, "gamma": THREE.gamma} | changes
    return lambda: TabularMDP(**parts)


HALF = THREE.P * np.where(np.arange(3) == 1, 0.5, 1.0)[:, None, None]
UNEVEN = np.array([[0.5, -0.1], [0.2, 0.2], [0.1, 0.1]])


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (mdp_with(P=HALF), r"P\[1, 0\] must sum to one; it sums to 0.5"),
        (mdp_with(P=THREE.P[:2]), r"P must have shape \[3, 2, 3\]"),
        (mdp_with(mu0=np.ones(3)), "mu0 must sum to one"),
        (mdp_with(mu0=np.ones(2) / 2), r"mu0 must have shape \[3\]"),
        (mdp_with(gamma=1.0), r"gamma must be in \[0, 1\); got 1.0"),
        (mdp_with(gamma=np.nan), "gamma must be in"),
        (mdp_with(R=np.where(THREE.R == 1, np.nan, THREE.R)), r"R\[2, 0\] is not one"),
        (mdp_with(R=np.ones((3, 2))), "R is constant: .* regret is undefined"),
        (mdp_with(R=np.ones(3)), r"R must have shape \[states, actions\]"),
        (lambda: safety_margin(THREE, UNEVEN, 0.5), r"D must not be negative; D\[0, 1\] is"),
        (lambda: safety_margin(THREE, DATA / 2, 0.5), "D must sum to one; it sums to 0.5"),
        (lambda: safety_margin(THREE, DATA[:2], 0.5), r"D must have shape \[3, 2\]"),
        (lambda: safety_margin(THREE, DATA * np.nan, 0.5), "D must hold finite numbers"),
        (lambda: safety_margin(THREE, DATA, 1.5), r"L .* must be in \[0, 1\]; got 1.5"),
        (lambda: worst_case_regret(THREE, DATA, -0.1), "eps must be a number of at least 0"),
        (lambda: is_safe(THREE, DATA, np.nan, 0.5), "eps must be a number of at least 0; got nan"),
        (lambda: occupancy_bound(THREE, DATA, 2.0), r"L .* must be in \[0, 1\]; got 2.0"),
        (lambda: optimal_policy(THREE, THREE.R * np.nan), r"reward\[0, 0\] is not one"),
        (lambda: occupancy(THREE, np.ones((3, 2))), r"pi\[0\] must sum to one"),
        (lambda: occupancy(THREE, np.ones((2, 2)) / 2), r"A policy must have shape \[3, 2\]"),
        (lambda: safety_margin(THREE, DATA, 0.5, boxed=(0.5, 2.0)), "boxed must hold all of R"),
        (lambda: design_distribution(THREE, 0.0), "At L = 0 no distribution is safe"),
        (lambda: safe_matrix(env.random_mdp(0, 5, 2), 0.5), "takes at most 8 cells"),
        (lambda: policy_table(env.random_mdp(0, 18, 2)), 'use method="milp", or the bounds'),
    ],
)
def test_bad_input_is_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence) as error:
        call()
    assert "\n" not in str(error.value) and str(error.value).endswith(".")


def test_limits_name_the_way_out():
    wide = env.random_mdp(0, 41, 4)
    with pytest.raises(ValueError, match="tight_bound and the policy_margin"):
        safety_margin(wide, env.uniform(wide), 0.5, method="milp")
    many = env.contextual_bandit(np.random.default_rng(0).random((2, 5001)), np.array([0.5, 0.5]))
    with pytest.raises(ValueError, match="use tight_bound and support_certificate"):
        policy_margin(many, env.uniform(many), optimal_policy(many)[0])


def test_equal_returns_leave_regret_undefined():
    never = TabularMDP(CHAIN.P, np.diag([0.0, 1.0]), np.array([1.0, 0.0]), 0.0)
    with pytest.raises(ValueError, match="range J is 0"):
        j_bounds(never)


def test_level_zero_warns_that_everything_is_unsafe():
    with pytest.warns(UserWarning, match="every D unsafe"):
        close(safety_margin(THREE, DATA, 0.0).value, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert is_safe(THREE, DATA, 0.0, 0.0).kind == "boundary"


def test_validate_names_dead_states_and_ties():
    validate(THREE)
    dead = TabularMDP(np.eye(2)[:, None].repeat(2, 1), np.eye(2), np.array([1.0, 0.0]), 0.9)
    with pytest.raises(ValueError, match="State 1 cannot be reached"):
        validate(dead)
    validate(dead, allow_unreachable=True)
    tied = env.bandit([1.0, 0.0, 1.0])
    with pytest.raises(ValueError, match="Actions 0 and 2 of state 0 are both optimal"):
        validate(tied)
    validate(tied, allow_ties=True)


def test_an_mdp_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        THREE.R[0, 0] = 5.0
