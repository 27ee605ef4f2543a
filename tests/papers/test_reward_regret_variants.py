"""Penalties, choices, trajectories, many policies at once, samples, gymnasium's tables."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from papers.reward_regret import (
    analysis,
    batched,
    cases,
    env,
    method,
    oracle,
    regularised,
    sampling,
)
from papers.reward_regret.method import (
    bandit_regret,
    choice_kl,
    kl_policy,
    rlhf_threshold,
    rlhf_witness,
    safety_margin,
)

ONE = np.ones(1)
R3 = np.array([[1.0, 0.5, 0.0]])
THREE = env.three_by_two()
DATA = env.three_by_two_data()


def close(value, expected, tolerance=1e-6):
    np.testing.assert_allclose(value, expected, rtol=0, atol=tolerance)


# --- RLHF -----------------------------------------------------------------------------------------


def test_threshold_and_witness_of_the_worked_example():
    pi_ref = np.array([[0.6, 0.3995, 0.0005]])
    close(rlhf_threshold(R3, 0.5, 1.0, 0.1), [[0, 0, 9.196986e-4]], 1e-10)
    reward_hat = rlhf_witness(ONE, pi_ref, R3, 0.5, 1.0, np.array([2]))
    close(reward_hat, [[1, 0.5, 8.09007684]])
    pi = kl_policy(pi_ref, reward_hat, 1.0)
    close(pi, [[0.41599962, 0.16800075, 0.41599962]])
    close(bandit_regret(ONE, R3, pi), 0.5, 1e-12)
    close(np.sum(pi_ref * np.abs(reward_hat - R3)), 0.00404504)
    close(choice_kl(ONE, pi_ref, R3, reward_hat), 0.00438397)


def test_at_the_threshold_itself():
    t = float(rlhf_threshold(R3, 0.5, 1.0, 0.1)[0, 2])
    pi_ref = np.array([[0.6, 0.4 - t, t]])
    reward_hat = rlhf_witness(ONE, pi_ref, R3, 0.5, 1.0, np.array([2]))
    close(reward_hat[0, 2], 7.48063892)
    close(np.sum(pi_ref * np.abs(reward_hat - R3)), 0.00687993)
    close(choice_kl(ONE, pi_ref, R3, reward_hat), 0.00729164)
    close(bandit_regret(ONE, R3, kl_policy(pi_ref, R3, 1.0)), 0.14407241)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.05, 0.3, 1.0, 5.0]), st.floats(0.1, 0.9))
def test_witness_reaches_the_regret_in_every_prompt(seed, lam, L):
    rng = np.random.default_rng(seed)
    R, mu0 = rng.random((3, 4)), rng.dirichlet(np.ones(3))
    pi_ref = rng.dirichlet(np.ones(4), 3) + 1e-3
    pi_ref /= pi_ref.sum(axis=1, keepdims=True)
    bad = R.argmin(axis=1)
    reward_hat = rlhf_witness(mu0, pi_ref, R, L, lam, bad)
    earned = (kl_policy(pi_ref, reward_hat, lam) * R).sum(axis=1)
    level = (1 - L) * R.max(axis=1) + L * R.min(axis=1)
    raised = reward_hat != R
    assert (raised.sum(axis=1) <= 1).all() and (earned <= level + 1e-9).all()
    close(earned[raised.any(axis=1)], level[raised.any(axis=1)], 1e-9)


def test_the_chatbot_of_the_page():
    (R, mu0), lam, wrong = env.chatbot(), 0.3, np.array([1, 0])
    pi_ref = np.array([[0.999, 0.001], [0.001, 0.999]])
    learned = rlhf_witness(mu0, pi_ref, R, 0.5, lam, wrong)
    close(choice_kl(mu0, pi_ref, R, learned), 0.0018564)
    close(bandit_regret(mu0, R, kl_policy(pi_ref, R, lam)), 0.0000695)
    close(bandit_regret(mu0, R, kl_policy(pi_ref, learned, lam)), 0.5)


def test_a_tiny_penalty_does_not_overflow():
    pi_ref = np.array([[0.5, 0.3, 0.2]])
    reward_hat = rlhf_witness(ONE, pi_ref, R3, 0.5, 1e-3, np.array([2]))
    close(bandit_regret(ONE, R3, kl_policy(pi_ref, reward_hat, 1e-3)), 0.5, 1e-9)
    assert rlhf_threshold(R3, 0.5, 1e-3, 0.1).max() == 0


def test_choice_divergence_by_hand_and_by_its_bound():
    pi_ref, R = np.array([[0.5, 0.5]]), np.array([[np.log(3.0), 0.0]])
    # p = 3/4 against 1/2: both orders of the two answers count, equal answers do not.
    expected = 0.5 * (0.75 * np.log(1.5) + 0.25 * np.log(0.5))
    close(choice_kl(ONE, pi_ref, R, np.zeros((1, 2))), expected, 1e-12)
    rng = np.random.default_rng(0)
    for _ in range(10_000 // 4):
        mu0, D = rng.dirichlet(np.ones(2)), rng.dirichlet(np.ones(3), 2)
        for scale in (0.1, 1.0, 10.0, 100.0):
            true, learned = scale * rng.standard_normal((2, 2, 3))
            bound = 2 * float(np.sum(mu0[:, None] * D * np.abs(true - learned)))
            assert 0 <= choice_kl(mu0, D, true, learned) <= bound + 1e-12


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: rlhf_witness(ONE, np.array([[0.5, 0.5, 0.0]]), R3, 0.5, 1.0, np.array([2])),
         r"pi_ref must be positive; pi_ref\[0, 2\] is 0.0"),
        (lambda: rlhf_witness(ONE, np.full((1, 3), 1 / 3), R3, 0.5, 1.0, np.array([0])),
         "Answer 0 of prompt 0 is not worse than R_L"),
        (lambda: rlhf_threshold(R3, 0.0, 1.0, 0.1), "L must lie strictly between 0 and 1"),
        (lambda: rlhf_threshold(R3, 0.5, 0.0, 0.1), "lam must be positive"),
        (lambda: kl_policy(np.ones((1, 3)) / 3, R3, -1.0), "lam must be positive"),
        (lambda: kl_policy(-R3, R3, 1.0), r"pi_ref must not be negative; pi_ref\[0, 0\] is"),
        (lambda: kl_policy(R3, np.full((1, 3), np.inf), 1.0), r"R must .* finite .* R\[0, 0\]"),
        (lambda: method._bandit(ONE, pi_ref=np.ones((1, 3)) / 3, R=R3[:, :2]), "R and pi_ref must"),
        (lambda: method._bandit(np.ones(2) / 2, pi_ref=np.ones((1, 3)) / 3),
         r"pi_ref must have shape \[2 prompts, answers\]; got \[1, 3\]"),
        (lambda: bandit_regret(ONE, R3, R3), r"pi\[0\] must sum to one; it sums to 1.5"),
        (lambda: bandit_regret(ONE, 0 * R3, np.ones((1, 3)) / 3), "range J is 0"),
        (lambda: method.optimal_policy(THREE, R3),
         r"A reward must have shape \[3, 2\]; got \[1, 3\]"),
        (lambda: batched.policy_margins(THREE, DATA / 2, np.zeros((1, 3), int)),
         "D must sum to one"),
        (lambda: regularised.unsafe_reward(THREE, 1.0, 1.0, 1.0), r"L must be in \[0, 1\)"),
        (lambda: regularised.kl_bandit_margin(np.ones(3) / 3, np.ones(3) / 3, R3[0], 1.0, 1.0),
         "L must lie strictly between 0 and 1"),
        (lambda: regularised.kl_bandit_margin(np.ones(2), np.ones(2) / 2, R3[0, :2], 0.5, 1.0),
         "D must be a distribution over the answers"),
        (lambda: regularised.kl_bandit_margin(np.ones(2) / 2, np.ones(2) / 2, np.ones(2), 0.5, 1.0),
         "R must be finite and not constant"),
        (lambda: env.expert_mixture(THREE, 1.1), "w is a mixture weight"),
        (lambda: method.return_error(THREE, np.full((3, 2), 0.5), THREE.R, 12),
         "More than 2000000 trajectories"),
        (lambda: batched.policy_margins(THREE, DATA, np.array([[0, 1, 2]])),
         "Policy 0 takes action 2 in state 2"),
        (lambda: sampling.count_bounds(np.zeros((2, 2), int), 0.1), "at least one sample"),
        (lambda: sampling.count_bounds(np.ones((2, 2), int), 1.5), "delta must lie strictly"),
        (lambda: env.from_gymnasium("CartPole-v1", 0.9), "has no transition table"),
        (lambda: env.from_gymnasium("NoSuchPlace", 0.9), "no environment NoSuchPlace"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence) as error:
        call()
    assert "\n" not in str(error.value)


# --- Penalties ------------------------------------------------------------------------------------


def test_projection_is_the_nearest_distribution():
    rng = np.random.default_rng(0)
    points = 3 * rng.standard_normal((50, 4))
    nearest = regularised.project(points)
    close(nearest.sum(axis=1), 1, 1e-12)
    assert (nearest >= 0).all()
    others = rng.dirichlet(np.ones(4), 500)
    distance = np.sum((points - nearest) ** 2, axis=1)
    assert (distance[:, None] <= np.sum((points[:, None] - others) ** 2, axis=2) + 1e-12).all()
    close(regularised.project(np.array([2.0, 0.0, 0.0])), [1, 0, 0])


@pytest.mark.parametrize("penalty", regularised.PENALTIES)
@pytest.mark.parametrize("lam", [0.05, 1.0])
def test_penalised_optimum_is_not_beaten_by_other_policies(penalty, lam):
    mdp, rng = env.random_mdp(1, 4, 3), np.random.default_rng(0)
    ref = rng.dirichlet(np.full(3, 5.0), 4)

    def objective(pi):
        return method.returns(mdp, pi) - lam * regularised.penalty_of(mdp, pi, ref, penalty)

    best = regularised.optimise(mdp.P, mdp.R, np.array(mdp.gamma), ref, lam, penalty)
    top = objective(best)
    for other in rng.dirichlet(np.ones(3), (300, 4)):
        for share in (1e-3, 1.0):
            assert objective((1 - share) * best + share * other) <= top + 1e-9


def test_penalised_optimum_without_discount_is_the_kl_policy():
    rng = np.random.default_rng(2)
    R, ref, mu0 = rng.random((3, 4)), rng.dirichlet(np.ones(4), 3), rng.dirichlet(np.ones(3))
    mdp = env.contextual_bandit(R, mu0)
    pi = regularised.optimise(mdp.P, R, np.array(0.0), ref, 0.7)
    close(pi, kl_policy(ref, R, 0.7), 1e-12)


@pytest.mark.parametrize("penalty", regularised.PENALTIES)
@pytest.mark.parametrize("lam", [0.01, 1.0, 100.0])
def test_no_penalty_saves_a_distribution_that_misses_the_worst_policy(penalty, lam):
    for seed in range(10):
        mdp, L = env.random_mdp(seed, 3, 2), 0.8
        ref = np.random.default_rng(seed).dirichlet(np.full(2, 3.0), 3)
        worst = method.optimal_policy(mdp, -mdp.R)[0]
        omega = regularised.penalty_of(mdp, worst, ref, penalty)
        reward_hat, same = regularised.unsafe_reward(mdp, L, lam, omega)
        close(same, worst)
        pi = regularised.optimise(mdp.P, reward_hat, np.array(mdp.gamma), ref, lam, penalty)
        assert method.regret(mdp, pi) >= L
        mass, on = regularised.unsafe_mass(mdp, L, lam, omega, 0.1), method.support(mdp, worst)
        D = np.where(on, mass / on.sum(), (1 - mass) / (~on).sum())
        close(np.sum(D * np.abs(reward_hat - mdp.R)) / mdp.range_R, 0.1, 1e-12)


def test_kl_certificate_is_never_wrong_and_attained_by_two_answers():
    rng = np.random.default_rng(0)
    for _ in range(300):
        R, mu0 = rng.random((2, 3)), rng.dirichlet(np.ones(2))
        ref, lam = rng.dirichlet(np.ones(3), 2) + 1e-6, float(rng.choice([0.1, 1.0, 5.0]))
        mdp, D = env.contextual_bandit(R, mu0), rng.dirichlet(np.ones(6)).reshape(2, 3)
        baseline = bandit_regret(mu0, R, kl_policy(ref, R, lam))
        eps = float(rng.exponential(0.1))
        bound = regularised.kl_regret_bound(mdp, D, eps, lam, baseline)
        for _ in range(5):
            learned = cases.disturbed(mdp, D, eps, rng)
            assert bandit_regret(mu0, R, kl_policy(ref, learned, lam)) <= bound + 1e-12
    # Two answers, D = 1/2: moving one reward by x shifts the log odds by x / lam.
    lam, x = 0.5, 0.8
    odds = np.exp(-x / (2 * lam))
    R, ref = np.array([[1.0, 0.0]]), np.array([[1.0, odds * np.exp(1 / lam)]])
    ref /= ref.sum()
    mdp, D = env.bandit(R[0]), np.full((1, 2), 0.5)
    baseline = bandit_regret(ONE, R, kl_policy(ref, R, lam))
    learned = R + np.array([[0.0, x]])
    bound = regularised.kl_regret_bound(mdp, D, x / 2, lam, baseline)
    close(bandit_regret(ONE, R, kl_policy(ref, learned, lam)), bound, 1e-12)


def test_kl_certificate_of_an_mdp_is_never_wrong():
    for seed in range(10):
        mdp, rng = env.random_mdp(seed, 3, 2, gamma=0.5), np.random.default_rng(seed)
        D, ref = env.random_data(seed, 3, 2), rng.dirichlet(np.full(2, 3.0), 3)
        discount = np.array(mdp.gamma)
        lam = 5.0
        pi = regularised.optimise(mdp.P, mdp.R, discount, ref, lam)
        eps = 0.3 * float(D.min())
        bound = regularised.kl_regret_bound(mdp, D, eps, lam, method.regret(mdp, pi))
        for _ in range(10):
            learned = cases.disturbed(mdp, D, eps, rng)
            attacked = regularised.optimise(mdp.P, learned, discount, ref, lam)
            assert method.regret(mdp, attacked) <= bound + 1e-12


def test_exact_kl_margin_against_general_search():
    for seed in range(12):
        rng = np.random.default_rng(seed)
        answers = int(rng.integers(2, 5))
        R, D, ref = rng.random(answers), *rng.dirichlet(np.ones(answers), 2)
        lam, L = (0.05, 0.3, 1.0, 3.0)[seed % 4], float(rng.uniform(0.2, 0.8))
        margin, reward_hat = regularised.kl_bandit_margin(D, ref, R, L, lam)
        searched = oracle.kl_bandit_margin_search(D, ref, R, L, lam, rng, starts=8)
        assert margin - 1e-7 <= searched <= margin + 1e-3
        close(np.sum(D * np.abs(reward_hat - R)), margin, 1e-12)
        if margin > 0:
            loss = bandit_regret(ONE, R[None], kl_policy(ref[None], reward_hat[None], lam))
            close(loss, L, 1e-9)


def test_exact_kl_margin_is_not_above_its_two_simplest_rivals():
    """Raising one bad answer only, to where the good ones need not be lowered; or all by search."""
    for seed in range(300):
        rng, lam = np.random.default_rng(seed), (0.1, 1.0, 10.0)[seed % 3]
        R, ref, D = rng.random(4), rng.dirichlet(np.ones(4)), rng.dirichlet(np.ones(4))
        margin, _ = regularised.kl_bandit_margin(D, ref, R, 0.9, lam)
        raised = rlhf_witness(ONE, ref[None], R[None], 0.9, lam, np.array([R.argmin()]))
        if (0.1 * R.max() + 0.9 * R.min() > R).sum() == 1:
            assert margin <= np.sum(D * (raised[0] - R)) + 1e-9
        for _ in range(20):
            reward = R + rng.standard_normal(4) * (rng.random(4) < 0.5) * 2
            if bandit_regret(ONE, R[None], kl_policy(ref[None], reward[None], lam)) >= 0.9:
                assert margin <= np.sum(D * np.abs(reward - R)) + 1e-9


def test_exact_kl_margin_without_penalty_is_the_margin_of_the_bandit():
    R, D = np.array([1.0, 0.6, 0.0]), np.array([0.2, 0.2, 0.6])
    exact = safety_margin(env.bandit(R), D[None], 0.5).value
    for lam, tolerance in ((1e-2, 1e-1), (1e-4, 1e-3), (1e-6, 1e-5)):
        close(regularised.kl_bandit_margin(D, np.ones(3) / 3, R, 0.5, lam)[0], exact, tolerance)
    # An answer without data is raised for nothing.
    assert regularised.kl_bandit_margin(np.array([0.5, 0.5, 0.0]), np.ones(3) / 3, R, 0.5, 1.0)[
        0
    ] == pytest.approx(0)


# --- Trajectories ---------------------------------------------------------------------------------


def test_trajectories_are_a_law_with_the_right_mean():
    mdp, pi = env.random_mdp(0, 3, 2), np.random.default_rng(0).dirichlet(np.ones(2), 3)
    probability, (total,) = method.trajectory_returns(mdp, pi, mdp.R[None], 4)
    close(probability.sum(), 1, 1e-12)
    D = method.horizon_visitation(mdp, pi, 4)
    steps = (1 - mdp.gamma**4) / (1 - mdp.gamma)
    close(probability @ total, steps * np.sum(D * mdp.R), 1e-12)
    long = method.horizon_visitation(mdp, pi, 3000)
    close(long, method.visitation(mdp, pi), 1e-10)


def test_return_error_by_hand():
    mdp = env.chain()
    stay = np.array([[1.0, 0.0], [1.0, 0.0]])
    learned = mdp.R + np.array([[2.0, 5.0], [0.0, 0.0]])
    close(method.return_error(mdp, stay, learned, 3), 2 * (1 + 0.9 + 0.81))
    mixed = np.array([[0.5, 0.5], [1.0, 0.0]])
    # The first action decides: 2 and then again half of each, or 5 and nothing more.
    close(method.return_error(mdp, mixed, learned, 2), 0.5 * (2 + 0.9 * 3.5) + 0.5 * 5)


def test_choices_between_one_step_trajectories_are_choices_between_answers():
    rng = np.random.default_rng(1)
    R, learned, ref = rng.random((1, 4)), rng.random((1, 4)), rng.dirichlet(np.ones(4), 1)
    mdp = env.bandit(R[0])
    close(method.trajectory_choice_kl(mdp, ref, learned, 1), choice_kl(ONE, ref, R, learned), 1e-12)


# --- Many at once ---------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.5, 0.99]), st.booleans())
def test_batched_margins_are_those_of_highs(seed, gamma, gaps):
    mdp, rng = env.random_mdp(seed, 4, 3, gamma=gamma), np.random.default_rng(seed)
    D = env.random_data(seed, 4, 3)
    if gaps:
        D = D * (rng.random(D.shape) < 0.5)
        D = D / D.sum() if D.sum() > 0 else env.uniform(mdp)
    actions = rng.integers(0, 3, (12, 4))
    found = batched.policy_margins(mdp, D, actions)
    single = [method.policy_margin(mdp, D, np.eye(3)[row]) for row in actions]
    close(found.value, [m.value for m in single], 1e-9)
    close(found.lower, found.value, 1e-9)
    cost = np.sum(D * np.abs(found.reward_hat - mdp.R), axis=(1, 2))
    close(cost, found.value, 1e-12)


def test_batched_margins_of_many_mdps_and_with_unreachable_states():
    mdps = [env.random_mdp(seed, 3, 2) for seed in range(6)]
    D = np.stack([env.random_data(seed, 3, 2) for seed in range(6)])
    for L in (0.25, 1.0):
        found, index = batched.safety_margins(mdps, D, L)
        for i, mdp in enumerate(mdps):
            single = safety_margin(mdp, D[i], L)
            close((found.value[i], found.lower[i]), single.value, 1e-9)
            close(method.policy_table(mdp).policy(int(index[i])), single.policy)
    chain = env.chain()
    D = np.array([[0.1, 0.4], [0.3, 0.2]])
    found, _ = batched.safety_margins([chain, chain], np.stack([D, D[::-1]]), 0.5)
    close(found.value, [oracle.chain_margin(D), oracle.chain_margin(D[::-1])])


def test_programmes_that_do_not_close_go_to_highs(monkeypatch):
    """A simplex method that gives up at once still ends with the right answer."""
    zeros = lambda E, R, low, high, start: (  # noqa: E731
        np.zeros((len(R), E.shape[1])),
        np.zeros(R.shape),
    )
    monkeypatch.setattr(batched, "_simplex", zeros)
    actions = np.array([[0, 0, 1], [1, 1, 1]])
    found = batched.policy_margins(THREE, DATA, actions)
    close(found.value, [0.040556, 0.019350])
    close(found.lower, found.value, 1e-9)


# --- Samples --------------------------------------------------------------------------------------


def test_count_bounds_by_hand():
    low, high = sampling.count_bounds(np.array([[0, 10]]), 0.1)
    tail = 0.1 / 4
    close(low, [[0, tail ** (1 / 10)]], 1e-12)  # all of ten: p^10 = tail
    close(high, [[1 - tail ** (1 / 10), 1]], 1e-12)


def test_margin_intervals_cover_and_shrink():
    exact = safety_margin(THREE, DATA, 0.5).value
    rng, widths = np.random.default_rng(0), []
    for n in (100, 1000, 10_000):
        sets = rng.multinomial(n, DATA.ravel(), 10).reshape(10, *DATA.shape)
        found = np.array([sampling.margin_interval(THREE, counts, 0.5) for counts in sets])
        assert (found[:, 0] <= exact).all() and (exact <= found[:, 1]).all()
        widths.append(np.diff(found, axis=1).mean())
    assert widths[0] > 2 * widths[1] > 4 * widths[2]


def test_mean_bound():
    losses = np.full(100, 0.25)
    close(sampling.mean_bound(losses, 1.0, 0.05), 0.25 + 7 * np.log(40) / (3 * 99), 1e-12)
    assert sampling.mean_bound(np.array([0.1]), 2.0, 0.05) == 2.0
    with pytest.raises(ValueError, match=r"Losses must lie in \[0, 1.0\]"):
        sampling.mean_bound(np.array([0.5, 1.5]), 1.0, 0.05)


def test_learning_stays_below_the_worst_case_and_its_certificate():
    table = method.policy_table(THREE)
    for seed, n in ((0, 20), (1, 200), (2, 20_000)):
        rng = np.random.default_rng(seed)
        found = sampling.learn(THREE, DATA, table, n, rng, noise=0.3, L=0.5)
        assert found.regret <= found.worst + 1e-12 <= found.certified + 2e-12
        exact = safety_margin(THREE, DATA, 0.5).value
        assert found.margin_low <= exact <= found.margin_high
        worst = method.worst_case_regret(THREE, DATA, found.error)[0]
        close(found.worst, worst, 1e-12)


# --- Gymnasium ------------------------------------------------------------------------------------


def test_frozen_lake_as_an_mdp():
    table = env.from_gymnasium("FrozenLake", 0.9)
    mdp = table.mdp
    assert mdp.R.shape == (12, 4)  # eleven places on the ice, and the end
    assert list(table.states) == [0, 1, 2, 3, 4, 6, 8, 9, 10, 13, 14]
    close(mdp.R.max(), 1 / 3)
    assert mdp.R[-1].max() == 0 and mdp.P[-1, :, -1].min() == 1
    env.validate(mdp, allow_ties=True)
    # By value iteration on gymnasium's own table, stopping where it says that an episode ends.
    import gymnasium

    lake: Any = gymnasium.make("FrozenLake-v1").unwrapped
    P = lake.P
    V = np.zeros(16)
    for _ in range(500):
        V = np.array([
            max(sum(p * (r + 0.9 * (0 if end else V[t])) for p, t, r, end in P[s][a])
                for a in range(4))
            for s in range(16)
        ])  # fmt: skip
    close(method.j_bounds(mdp)[1], V[0], 1e-9)


def test_every_environment_is_bracketed():
    for name, cells in (("FrozenLake", 48), ("CliffWalking", 152)):
        mdp = env.from_gymnasium(name, 0.95).mdp
        assert mdp.R.size == cells
        D = env.uniform(mdp)
        lower = analysis.occupancy_bound(mdp, D, 0.5)
        upper, pi = env.descend(mdp, D, 0.5)
        assert method.regret(mdp, pi) >= 0.5 - 1e-9
        assert 0 < lower <= upper / mdp.range_R + 1e-12
        close(method.policy_margin(mdp, D, pi).value, upper, 1e-9)
        assert method.tight_bound(mdp, D, 0.5) <= lower + 1e-12
