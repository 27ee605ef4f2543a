"""Distributional superiority by hand, in PyTorch: run `python` or `pytest` on this file."""

import torch

from papers.superiority.method_torch import (
    CVaR,
    Mean,
    advantage_shift,
    centre,
    comonotone_difference,
    dau_loss,
    dsup_loss,
    midpoints,
    qrdqn_loss,
    quantile_huber,
    rescale,
)

Q_RAW = torch.tensor([1.0, 3.0])
PSI_RAW = torch.tensor([[0.0, 2.0], [1.0, 5.0]])
ETA_T, ETA_TP1 = torch.tensor([10.0, 20.0]), torch.tensor([11.0, 19.0])


def close(value, expected):
    """Equal to single precision."""
    expected = torch.as_tensor(expected, dtype=torch.float32)
    torch.testing.assert_close(torch.as_tensor(value), expected, rtol=1e-5, atol=1e-6)


def test_quantile_huber():
    pred, target = torch.tensor([0.0, 1.0], requires_grad=True), torch.tensor([0.5, 2.0])
    close(midpoints(2).float(), [0.25, 0.75])
    close(quantile_huber(pred, target, 1.0).detach(), 0.40625)
    # kappa = 0 is quantile regression: the slope is P(target < pred_i) - tau_i.
    (slope,) = torch.autograd.grad(quantile_huber(pred, target, 0.0), pred)
    close(slope, [0 - 0.25, 0.5 - 0.75])


def test_superiority_and_its_rescalings():
    psi = comonotone_difference(torch.tensor([3.0, 5.0]), torch.tensor([2.0, 3.0]))
    close(psi, [1, 2])
    psi_q = rescale(psi, 0.25, 0.5)
    close(psi_q, [2, 4])
    # The mean of the shifted one is the advantage rate, (4 - 2.5) / 0.25.
    close(advantage_shift(psi_q, torch.tensor(6.0), 0.25, 0.5), [5, 7])


def test_risk_measures():
    close(Mean()(torch.tensor([3.0, 0.0])), 1.5)
    close(CVaR(0.75)(torch.tensor([3.0, 0.0])), 1.0)  # weights 2/3 and 1/3, sorted first
    close(CVaR(0.75, order="comonotone")(torch.tensor([3.0, 0.0])), 2.0)
    close(CVaR(0.015)(torch.ones(100)), 1.0)
    close(CVaR(0.015, exact=False)(torch.ones(100)), 2 / 3)  # do not sum to one


def test_centre_makes_the_greedy_action_zero():
    q, psi, a_star = centre(Q_RAW, PSI_RAW, 0.25, 0.5, False, Mean())
    assert int(a_star) == 1
    close(q, [-2, 0])
    close(psi, [[-1, -3], [0, 0]])
    # CVaR(1/2) of the rows (1, 3) and (0, 5) prefers the first, their means the second.
    rows = torch.tensor([[1.0, 3.0], [0.0, 5.0]])
    assert int(centre(Q_RAW, rows, 0.25, 0.5, False, CVaR(0.5))[2]) == 0
    assert int(centre(Q_RAW, rows, 0.25, 0.5, False, Mean())[2]) == 1


def dsup(q_raw, psi_raw, eta_t, eta_tp1, mask=1.0, shift=False):
    """The loss of one transition with a = 0, r = 4, h = 1/4, q = 1/2, gamma = 0.9."""
    settings = {"h": 0.25, "q": 0.5, "gamma": 0.9, "kappa": 1.0, "shift": shift, "risk": Mean()}
    action, reward, mask = torch.tensor(0), torch.tensor(4.0), torch.tensor(mask)
    return dsup_loss(q_raw, psi_raw, eta_t, eta_tp1, action, reward, mask, **settings)


def test_dsup_loss():
    for shift in (False, True):  # decision means are 1, 3 or 1.5, 4.5: the same greedy action
        loss, aux = dsup(Q_RAW, PSI_RAW, ETA_T, ETA_TP1, shift=shift)
        assert int(aux["a_star"]) == 1
        close(aux["q_loss"], 0.61611238)
        close(aux["quantile_loss"], 2.37803559)
        close(loss, 0.61611238 + 2.37803559)
    _, aux = dsup(Q_RAW, PSI_RAW, ETA_T, ETA_TP1, mask=0.0)  # terminal: the target is r itself
    close(aux["q_loss"], 55.125)
    close(aux["quantile_loss"], 7.25)


def test_dsup_gradients():
    inputs = [x.clone().requires_grad_() for x in (Q_RAW, PSI_RAW, ETA_T, ETA_TP1)]
    loss, _ = dsup(*inputs)
    q_raw, psi_raw, eta, target = torch.autograd.grad(loss, inputs, allow_unused=True)
    # From the advantage's loss alone: h (Q - target mean) on the action taken, and its opposite
    # on the greedy one.
    slope = 0.25 * (14.5 - 15.61005619)
    close(q_raw, [slope, -slope])
    # From the quantile loss alone; pred = (9.5, 18.5): both targets lie above the first; of the
    # second, one lies below and one above. eta gets nothing from the advantage's loss.
    slopes = torch.tensor([-0.25, 0.5 * (0.25 * 1 - 0.75 * 1)])
    close(eta, slopes)
    close(psi_raw, torch.stack([0.5 * slopes, -0.5 * slopes]))
    assert target is None or not torch.any(target)


def test_baseline_losses():
    zeta_t, zeta_tp1 = torch.tensor([[0.0, 1], [9, 9]]), torch.tensor([[0.0, 0], [0.5, 2]])
    action, zero, one = torch.tensor(0), torch.tensor(0.0), torch.tensor(1.0)
    settings = {"h": 1.0, "gamma": 1.0, "kappa": 1.0, "risk": Mean()}
    loss, aux = qrdqn_loss(zeta_t, zeta_tp1, action, zero, one, **settings)
    assert int(aux["a_star"]) == 1
    close(loss, 0.40625)
    # gamma^h = 1/2: V + h A = 2 - 0.5 against 0.25 * 4 + 0.5 * 4, and against 4 at the end.
    v_t, v_tp1, reward = torch.tensor(2.0), torch.tensor(4.0), torch.tensor(4.0)
    close(dau_loss(Q_RAW, v_t, v_tp1, action, reward, one, h=0.25, gamma=0.0625)[0], 1.125)
    close(dau_loss(Q_RAW, v_t, v_tp1, action, reward, zero, h=0.25, gamma=0.0625)[0], 3.125)


if __name__ == "__main__":
    tests = [test for name, test in sorted(globals().items()) if name.startswith("test_")]
    for test in tests:
        test()
    print(f"{len(tests)} tests passed")
