"""Successor-feature matching by hand, in PyTorch: run `python` or `pytest` on this file."""

import torch

from papers.sfm.method_torch import (
    avg_l1_norm,
    debias_count,
    ema_update,
    expert_sf,
    feature_gap,
    initial_sf,
    l2_sphere,
    learner_sf,
    sf_critic_loss,
    sf_td_target,
    sfm_actor_loss,
)


def close(value, expected, rtol=1e-5):
    """Equal to single precision."""
    expected = torch.as_tensor(expected, dtype=torch.float32)
    torch.testing.assert_close(torch.as_tensor(value).detach(), expected, rtol=rtol, atol=1e-6)


def test_td_target_and_critic_loss():
    phi, twins = torch.tensor([[1.0]]), torch.tensor([[[1.0]], [[3.0]]])
    close(sf_td_target(phi, twins, 0.9), [[2.8]])
    close(sf_td_target(phi, twins, 0.9, (0.0, 1.5)), [[2.35]])  # the mean is clipped
    close(sf_td_target(phi, twins, 0.9, (0.0, 0.0)), [[1.0]])
    close(sf_critic_loss(twins, torch.tensor([[2.5]])), 1.5**2 + 0.5**2)


def test_sums_of_both():
    phi = torch.tensor([[1.0], [2], [4], [8]])
    close(expert_sf(phi, 0.5), [4.0])
    close(expert_sf(phi, 0.5, torch.tensor([6.0])), [3.5])
    psi, following = torch.tensor([[3.0], [5]]), torch.tensor([[2.0], [4]])
    close(learner_sf(psi, following, 0.5), [5.0])
    close(initial_sf(psi), [4.0])
    close(feature_gap(torch.tensor([5.0, 0]), torch.tensor([[1.0, 2], [2, 2]]), 0.5), 9.0)


def test_moving_average():
    one, zero = torch.tensor(1.0), torch.tensor(0.0)
    ema, debiased = ema_update(one, zero, 0.98, debias_count(1, 2, "official"))
    close(ema, 0.02)
    close(debiased, 1 / 1.98)
    close(ema_update(one, zero, 0.98, debias_count(1, 2, "correct"))[1], 1.0)


def test_actor_loss():
    expert, old = torch.tensor([2.0, 1]), torch.tensor([0.5, -0.5])
    for fix, loss, slope in ((True, 2.98, -1.51), (False, 2.0, -2.0)):
        psi_pi = torch.tensor([1.0, 0], requires_grad=True)
        ema, _ = ema_update(psi_pi, old, 0.98, 1)
        value = 1e4 * sfm_actor_loss(expert, psi_pi, ema, 0.99, fix)
        close(value, loss, rtol=1e-4)
        close(torch.autograd.grad(value, psi_pi)[0], [slope, slope], rtol=1e-4)


def test_normalisations():
    close(avg_l1_norm(torch.tensor([1.0, -2, 3])), [0.5, -1, 1.5])
    close(avg_l1_norm(torch.zeros(3)), [0.0, 0, 0])
    close(l2_sphere(torch.ones(4)), [1.0] * 4)


if __name__ == "__main__":
    tests = [test for name, test in sorted(globals().items()) if name.startswith("test_")]
    for test in tests:
        test()
    print(f"{len(tests)} tests passed")
