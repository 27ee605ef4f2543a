"""The error-regret toolkit by hand: run `python` or `pytest` on this file."""

import numpy as np

from papers.reward_regret.method import (
    TabularMDP,
    choice_kl,
    design_distribution,
    is_safe,
    j_bounds,
    kl_policy,
    occupancy,
    paper_bound,
    policy_margin,
    regret,
    return_error,
    rlhf_threshold,
    rlhf_witness,
    safe_matrix,
    safety_margin,
    support_certificate,
    tight_bound,
    visitation,
    worst_case_regret,
)

STAY, SWITCH = 0, 1
P = np.zeros((2, 2, 2))
P[[0, 1], STAY, [0, 1]] = 1
P[[0, 1], SWITCH, [1, 0]] = 1
CHAIN = TabularMDP(P, np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([1.0, 0.0]), 0.9)
BANDIT = TabularMDP(np.ones((1, 3, 1)), np.array([[1.0, 0.6, 0.0]]), np.ones(1), 0.0)
UNIFORM = np.full((2, 2), 0.25)


def close(value, expected):
    np.testing.assert_allclose(value, expected, rtol=0, atol=1e-6)


def test_occupancy_and_regret():
    pi = np.full((2, 2), 0.5)
    close(occupancy(CHAIN, pi), [[2.75, 2.75], [2.25, 2.25]])
    close(visitation(CHAIN, pi), [[0.275, 0.275], [0.225, 0.225]])
    close(j_bounds(CHAIN), (0, 9))
    close(regret(CHAIN, np.array([[0.0, 1.0], [1.0, 0.0]])), 0)


def test_margins():
    close(safety_margin(CHAIN, UNIFORM, 0.5).value, 0.225)
    D = np.array([[0.4, 0.1], [0.4, 0.1]])
    for method in ("enumerate", "milp"):
        found = safety_margin(CHAIN, D, 0.5, method=method)
        close(found.value, 0.19)
        close(np.sum(D * np.abs(found.reward_hat - CHAIN.R)), 0.19)
        close(np.sum(found.flow * CHAIN.R), 0.19)  # the dual certificate
    # Staying in state 0, what is done in state 1 costs nothing.
    for a in (STAY, SWITCH):
        close(policy_margin(CHAIN, D, np.eye(2)[[STAY, a]]).value, 0.36)


def test_safe_and_unsafe():
    assert is_safe(CHAIN, UNIFORM, 0.22, 0.5).kind == "safe"
    assert is_safe(CHAIN, UNIFORM, 0.225, 0.5).kind == "boundary"
    assert is_safe(CHAIN, UNIFORM, 0.23, 0.5).kind == "unsafe"
    for method in ("enumerate", "milp"):
        close(worst_case_regret(CHAIN, UNIFORM, 0.22, method)[0], 0)
        close(worst_case_regret(CHAIN, UNIFORM, 0.23, method)[0], 1)


def test_bounds():
    close(tight_bound(CHAIN, UNIFORM, 1.0), 0.225)
    close(paper_bound(CHAIN, UNIFORM, 1.0), 0.159099)
    D = np.array([[0.7, 0.2, 0.1]])
    eps, reward_hat, policy = support_certificate(BANDIT, D, 0.5)
    close(eps, 0.1)
    close(reward_hat, [[1, 0.6, 1]])
    close(policy, [[0, 0, 1]])


def test_matrix_and_best_distribution():
    M = safe_matrix(BANDIT, 0.5)
    close(M[np.lexsort(M.T)], [[1, 0.6, 0], [0.4, 0, 0.6], [0, 0, 1]])
    D, margin = design_distribution(CHAIN, 0.5)
    close(D, [[0.357143, 0.152256], [0.321429, 0.169173]])
    close(margin, 9 / 28)


def test_rlhf():
    mu0, R, pi_ref = np.ones(1), np.array([[1.0, 0.5, 0.0]]), np.array([[0.6, 0.3995, 0.0005]])
    close(rlhf_threshold(R, 0.5, 1.0, 0.1), [[0, 0, 9.196986e-4]])
    reward_hat = rlhf_witness(mu0, pi_ref, R, 0.5, 1.0, np.array([2]))
    close(reward_hat, [[1, 0.5, 8.09007684]])
    close(kl_policy(pi_ref, reward_hat, 1.0), [[0.41599962, 0.16800075, 0.41599962]])
    close(choice_kl(mu0, pi_ref, R, reward_hat), 0.00438397)


def test_return_error():
    stay = np.array([[1.0, 0.0], [1.0, 0.0]])
    learned = CHAIN.R + np.array([[2.0, 5.0], [0.0, 0.0]])
    close(return_error(CHAIN, stay, learned, 3), 2 * (1 + 0.9 + 0.81))


if __name__ == "__main__":
    tests = [test for name, test in sorted(globals().items()) if name.startswith("test_")]
    for test in tests:
        test()
    print(f"{len(tests)} tests passed")
