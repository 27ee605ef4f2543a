"""Distributional superiority by hand: run `python` or `pytest` on this file."""

import jax
import numpy as np

from papers.superiority.method import (
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

Q_RAW = np.float32([1, 3])
PSI_RAW = np.float32([[0, 2], [1, 5]])


def close(value, expected):
    """Equal to single precision."""
    np.testing.assert_allclose(np.asarray(value), expected, rtol=1e-5, atol=1e-6)


def test_quantile_huber():
    pred, target = np.float32([0, 1]), np.float32([0.5, 2])
    close(midpoints(2), [0.25, 0.75])
    close(quantile_huber(pred, target, 1.0), 0.40625)
    # kappa = 0 is quantile regression: the slope is P(target < pred_i) - tau_i.
    close(jax.grad(quantile_huber)(pred, target, 0.0), [0 - 0.25, 0.5 - 0.75])


def test_superiority_and_its_rescalings():
    psi = comonotone_difference(np.float32([3, 5]), np.float32([2, 3]))
    close(psi, [1, 2])
    psi_q = rescale(psi, 0.25, 0.5)
    close(psi_q, [2, 4])
    # The mean of the shifted one is the advantage rate, (4 - 2.5) / 0.25.
    shifted = advantage_shift(psi_q, np.float32(6), 0.25, 0.5)
    close(shifted, [5, 7])


def test_risk_measures():
    close(Mean()(np.float32([3, 0])), 1.5)
    close(CVaR(0.75)(np.float32([3, 0])), 1.0)  # weights 2/3 and 1/3, sorted first
    close(CVaR(0.75, order="comonotone")(np.float32([3, 0])), 2.0)
    ones = np.ones(100, np.float32)
    close(CVaR(0.015)(ones), 1.0)
    close(CVaR(0.015, exact=False)(ones), 2 / 3)  # the official weights do not sum to one


def test_centre_makes_the_greedy_action_zero():
    q, psi, a_star = centre(Q_RAW, PSI_RAW, 0.25, 0.5, False, Mean())
    assert int(a_star) == 1
    close(q, [-2, 0])
    close(psi, [[-1, -3], [0, 0]])
    # CVaR(1/2) of the rows (1, 3) and (0, 5) prefers the first, their means the second.
    rows = np.float32([[1, 3], [0, 5]])
    assert int(centre(Q_RAW, rows, 0.25, 0.5, False, CVaR(0.5))[2]) == 0
    assert int(centre(Q_RAW, rows, 0.25, 0.5, False, Mean())[2]) == 1


def dsup(q_raw, psi_raw, eta_t, eta_tp1, mask=1.0, shift=False):
    """The loss of one transition with a = 0, r = 4, h = 1/4, q = 1/2, gamma = 0.9."""
    settings = {"h": 0.25, "q": 0.5, "gamma": 0.9, "kappa": 1.0, "shift": shift, "risk": Mean()}
    reward, mask = np.float32(4), np.float32(mask)
    return dsup_loss(q_raw, psi_raw, eta_t, eta_tp1, 0, reward, mask, **settings)


def test_dsup_loss():
    eta_t, eta_tp1 = np.float32([10, 20]), np.float32([11, 19])
    for shift in (False, True):  # decision means are 1, 3 or 1.5, 4.5: the same greedy action
        loss, aux = dsup(Q_RAW, PSI_RAW, eta_t, eta_tp1, shift=shift)
        assert int(aux["a_star"]) == 1
        close(aux["q_loss"], 0.61611238)
        close(aux["quantile_loss"], 2.37803559)
        close(loss, 0.61611238 + 2.37803559)
    _, aux = dsup(Q_RAW, PSI_RAW, eta_t, eta_tp1, mask=0.0)  # terminal: the target is r itself
    close(aux["q_loss"], 55.125)
    close(aux["quantile_loss"], 7.25)


def test_dsup_gradients():
    eta_t, eta_tp1 = np.float32([10, 20]), np.float32([11, 19])
    part = {
        name: jax.grad(lambda *args, name=name: dsup(*args)[1][name], argnums=(0, 1, 2, 3))
        for name in ("q_loss", "quantile_loss")
    }
    q_raw, psi_raw, eta, target = part["q_loss"](Q_RAW, PSI_RAW, eta_t, eta_tp1)
    # h (Q - target mean) on the action taken, its opposite on the greedy action.
    slope = 0.25 * (14.5 - 15.61005619)
    close(q_raw, [slope, -slope])
    assert not np.any(psi_raw) and not np.any(eta) and not np.any(target)
    q_raw, psi_raw, eta, target = part["quantile_loss"](Q_RAW, PSI_RAW, eta_t, eta_tp1)
    # pred = (9.5, 18.5): both targets lie above the first; of the second, one below, one above.
    slopes = np.array([-0.25, 0.5 * (0.25 * 1 - 0.75 * 1)])
    close(eta, slopes)
    close(psi_raw, [0.5 * slopes, -0.5 * slopes])
    assert not np.any(q_raw) and not np.any(target)


def test_baseline_losses():
    zeta_t, zeta_tp1 = np.float32([[0, 1], [9, 9]]), np.float32([[0, 0], [0.5, 2]])
    zero, one = np.float32(0), np.float32(1)
    settings = {"h": 1.0, "gamma": 1.0, "kappa": 1.0, "risk": Mean()}
    loss, aux = qrdqn_loss(zeta_t, zeta_tp1, 0, zero, one, **settings)
    assert int(aux["a_star"]) == 1
    close(loss, 0.40625)
    # gamma^h = 1/2: V + h A = 2 - 0.5 against 0.25 * 4 + 0.5 * 4, and against 4 at the end.
    v_t, v_tp1, reward = np.float32(2), np.float32(4), np.float32(4)
    close(dau_loss(Q_RAW, v_t, v_tp1, 0, reward, one, h=0.25, gamma=0.0625)[0], 1.125)
    close(dau_loss(Q_RAW, v_t, v_tp1, 0, reward, zero, h=0.25, gamma=0.0625)[0], 3.125)


if __name__ == "__main__":
    tests = [test for name, test in sorted(globals().items()) if name.startswith("test_")]
    for test in tests:
        test()
    print(f"{len(tests)} tests passed")
