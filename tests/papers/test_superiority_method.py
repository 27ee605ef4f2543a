"""The superiority method against hand-computed numbers, naive re-derivations and its identities."""

import ast
import functools
import itertools
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from papers.superiority import method
from papers.superiority.method import (
    CVaR,
    Distortion,
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

# The hand-computed transition: h = 1/4, two actions, two levels, a = 0 taken, a* = 1.
HAND = dict(
    q_raw_t=np.array([1.0, 3.0], np.float32),
    psi_raw_t=np.array([[0.0, 2.0], [1.0, 5.0]], np.float32),
    eta_t=np.array([10.0, 20.0], np.float32),
    eta_tp1_target=np.array([11.0, 19.0], np.float32),
    a_t=np.int32(0),
    r_t=np.float32(4.0),
)
SETTING = dict(h=0.25, q=0.5, gamma=0.9, kappa=1.0, risk=Mean())


def loss_by_hand(**changes):
    return dsup_loss(**(HAND | SETTING | dict(mask_tp1=np.float32(1), shift=False) | changes))


# --- Naive re-derivations: plain loops from the definitions, float64 ------------------------------


def naive_quantile_huber(pred, target, kappa):
    total = 0.0
    for i, p in enumerate(pred):
        tau = (i + 0.5) / len(pred)
        for t in target:
            u = t - p
            size = u * u / 2 if abs(u) <= kappa else kappa * (abs(u) - kappa / 2)
            size = abs(u) if kappa == 0 else size
            total += (1 - tau if u < 0 else tau) * size / len(target)
    return total


def naive_cvar(values, alpha):
    """The integral of the empirical quantile function over (0, alpha), divided by alpha."""
    ascending, left, total = sorted(values), alpha * len(values), 0.0
    for value in ascending:
        total += min(max(left, 0.0), 1.0) * value
        left -= 1
    return total / (alpha * len(values))


def naive_dsup(q_raw, psi_raw, eta, eta_next, a, r, mask, *, h, q, gamma, kappa, shift, risk):
    decision = [psi + (1 - h ** (1 - q)) * q_raw[b] * shift for b, psi in enumerate(psi_raw)]
    best = max(range(len(decision)), key=lambda b: risk(decision[b]))
    bootstrap = gamma**h * eta_next if mask else 0 * eta_next
    target = (h * r if mask else r) + bootstrap
    zeta = eta + h**q * (psi_raw[a] - psi_raw[best])
    q_error = eta.mean() + h * (q_raw[a] - q_raw[best]) - target.mean()
    return naive_quantile_huber(zeta, target, kappa), q_error**2 / 2, best


def random_transition(seed, actions=3, m=7, scale=1.0):
    rng = np.random.default_rng(seed)
    draw = lambda *shape: (scale * rng.normal(size=shape)).astype(np.float32)  # noqa: E731
    return (draw(actions), draw(actions, m), draw(m), draw(m), np.int32(rng.integers(actions)),
            np.float32(rng.normal()), np.float32(rng.integers(2)))  # fmt: skip


# --- The superiority itself -----------------------------------------------------------------------


def test_midpoints():
    assert midpoints(4).tolist() == [0.125, 0.375, 0.625, 0.875]
    assert midpoints(1).tolist() == [0.5]


@pytest.mark.parametrize("p", [1, 2, 3.5])
def test_superiority_attains_the_wasserstein_distance(p):
    rng = np.random.default_rng(0)
    zeta, eta = np.sort(rng.normal(size=50)), np.sort(rng.exponential(size=50))
    with jax.enable_x64(True):
        psi = np.asarray(comonotone_difference(zeta, eta))
    cost = np.mean(np.abs(psi) ** p)
    if p == 1:  # scipy has no other order
        assert cost == pytest.approx(stats.wasserstein_distance(zeta, eta), abs=1e-12)
    few_z, few_e = zeta[::10], eta[::10]
    couplings = [
        np.mean(np.abs(few_z[list(s)] - few_e) ** p) for s in itertools.permutations(range(5))
    ]
    assert np.mean(np.abs(few_z - few_e) ** p) == pytest.approx(min(couplings), abs=1e-12)
    for _ in range(20):
        assert np.mean(np.abs(rng.permutation(zeta) - eta) ** p) >= cost


def test_policy_has_no_superiority_over_itself():
    eta = jnp.linspace(-1, 2, 9)
    assert not comonotone_difference(eta, eta).any()


@pytest.mark.parametrize("h", [0.1, 0.01, 1e-4])
def test_degenerate_policy_keeps_gaps_at_the_exponent_one_half(h):
    """zeta = N(g(x + mu h), g^2 s^2 h), eta = a point mass: W_2 ~ sqrt(h), mean gap ~ h."""
    mu, s, g, m = 0.5, 0.3, 0.81, 20_000
    with jax.enable_x64(True):
        levels = np.asarray(midpoints(m))
        zeta = g * (1 + mu * h) + g * s * np.sqrt(h) * stats.norm.ppf(levels)
        psi = comonotone_difference(zeta, np.full(m, g))
        assert np.sqrt(np.mean(psi**2)) == pytest.approx(
            g * np.hypot(mu * h, s * np.sqrt(h)), rel=1e-4
        )
        assert np.std(rescale(psi, h, 1.0)) == pytest.approx(0.243 / np.sqrt(h), rel=1e-4)
        half = rescale(psi, h, 0.5)
        assert np.std(half) == pytest.approx(0.243, rel=1e-4)
        assert np.mean(half) == pytest.approx(np.sqrt(h) * 0.405, rel=1e-6)
        shifted = advantage_shift(half, np.float64(0.405), h, 0.5)
        assert (np.mean(shifted), np.std(shifted)) == pytest.approx((0.405, 0.243), rel=1e-4)


def test_rescale_and_shift_reduce_to_the_identity():
    psi, adv = jnp.array([[1.0, -2.0], [0.5, 4.0]]), jnp.array([3.0, -1.0])
    assert jnp.array_equal(rescale(psi, 0.25, 0.0), psi)
    assert jnp.array_equal(rescale(psi, 1.0, 0.5), psi)
    assert jnp.array_equal(rescale(psi, 0.25, 0.5), 2 * psi)
    assert jnp.array_equal(advantage_shift(psi, adv, 1.0, 0.5), psi)
    assert jnp.array_equal(advantage_shift(psi, adv, 0.25, 1.0), psi)
    assert jnp.array_equal(advantage_shift(psi, adv, 0.25, 0.5), psi + 0.5 * adv[:, None])


# --- Risk measures --------------------------------------------------------------------------------


def test_cvar_at_one_is_the_mean():
    values = jnp.array([3.0, -1.0, 0.5, 2.0])
    for order in ("sorted", "comonotone"):
        for exact in (True, False):
            assert CVaR(1.0, exact, order)(values) == pytest.approx(float(Mean()(values)))
    assert Distortion(jnp.ones_like)(values) == pytest.approx(float(Mean()(values)))


def test_cvar_by_hand():
    values = jnp.array([4.0, 1.0, 3.0, 2.0])
    assert CVaR(0.5)(values) == pytest.approx(1.5)
    assert CVaR(0.5, order="comonotone")(values) == pytest.approx(2.5)
    assert CVaR(0.375)(values) == pytest.approx((1 + 0.5 * 2) / 1.5)
    payoffs = np.concatenate([np.zeros(30), np.ones(70)]).astype(np.float32)
    assert CVaR(0.29)(payoffs) == 0
    assert CVaR(0.5)(payoffs) == pytest.approx(0.4)
    halves = Distortion(lambda tau: 2 * (tau < 0.5).astype(tau.dtype), order="comonotone")
    assert halves(values) == pytest.approx(2.5)


def test_cvar_weights_exact_and_official():
    for alpha in (0.015, 0.001, 0.29, 0.3, 2 / 3, 1.0):
        assert CVaR(alpha).weights(100).sum() == pytest.approx(1.0, abs=1e-12)
    assert CVaR(0.015, exact=False).weights(100).sum() == pytest.approx(2 / 3)
    assert CVaR(0.5, exact=False).weights(100).sum() == pytest.approx(1.0)


@given(st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=12), st.floats(0.01, 1))
@settings(max_examples=30, deadline=None)
def test_cvar_is_the_tail_integral(values, alpha):
    assert CVaR(alpha)(np.array(values, np.float32)) == pytest.approx(
        naive_cvar(values, alpha), abs=1e-4
    )


def test_sorting_a_superiority_breaks_the_ranking_and_comonotone_keeps_it():
    """Four actions (drift, volatility) after which the policy is a Brownian motion; T = 1."""
    h, m = 0.1, 400_000
    with jax.enable_x64(True):
        z = stats.norm.ppf(np.asarray(midpoints(m)))
        zeta = np.stack([b * h + np.sqrt(1 - h + s * s * h) * z
                         for b, s in ((0, 0.2), (0, 1.4), (-0.05, 1), (-0.3, 0.2))])  # fmt: skip
        psi = comonotone_difference(zeta, np.broadcast_to(z, zeta.shape))
        of_zeta = np.asarray(CVaR(0.25)(zeta))
        of_sorted = np.asarray(CVaR(0.25)(psi))
        of_index = np.asarray(CVaR(0.25, order="comonotone")(psi))
        base = float(CVaR(0.25)(z))
    assert of_zeta == pytest.approx([-1.208554, -1.330721, -1.276106, -1.238554], abs=2e-6)
    assert of_sorted == pytest.approx([-0.062552, -0.059615, -0.005, -0.092552], abs=2e-6)
    assert of_index == pytest.approx([0.062552, -0.059615, -0.005, 0.032552], abs=2e-6)
    assert of_index == pytest.approx(of_zeta - base, abs=1e-9)
    assert np.argsort(of_index).tolist() == np.argsort(of_zeta).tolist()
    assert np.argmax(of_sorted) != np.argmax(of_zeta)


def test_risks_are_hashable_and_batched():
    batch = jnp.arange(24.0).reshape(2, 3, 4)
    for risk in (Mean(), CVaR(0.3), Distortion(jnp.ones_like)):
        assert hash(risk) == hash(risk) and risk(batch).shape == (2, 3)
    assert CVaR(0.3) == CVaR(0.3) != CVaR(0.3, exact=False)


# --- Centring -------------------------------------------------------------------------------------


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.5, 1.0]), st.booleans(),
       st.sampled_from([Mean(), CVaR(0.3), CVaR(0.3, order="comonotone")]))  # fmt: skip
@settings(max_examples=25, deadline=None)
def test_greedy_action_has_no_superiority(seed, q, shift, risk):
    q_raw, psi_raw, *_ = random_transition(seed, scale=3.0)
    adv, psi, a_star = centre(q_raw, psi_raw, 0.1, q, shift, risk)
    decision = psi_raw + (1 - 0.1 ** (1 - q)) * q_raw[:, None] * shift
    assert a_star == np.argmax(np.asarray(risk(decision.astype(np.float32))))
    assert adv[a_star] == 0 and not psi[a_star].any()
    np.testing.assert_array_equal(psi, psi_raw - psi_raw[int(a_star)])
    np.testing.assert_array_equal(adv, q_raw - q_raw[int(a_star)])


def test_greedy_superiority_is_zero_bitwise_inside_a_fused_program():
    def centred(x, w):
        return centre(x[0] * w[0], x * w, 0.1, 0.5, True, Mean())

    x = jax.random.normal(jax.random.key(0), (500, 3, 3), jnp.float32)
    adv, psi, a_star = jax.jit(jax.vmap(centred))(x, x[::-1])
    rows = jnp.arange(500)
    assert not adv[rows, a_star].any() and not psi[rows, a_star].any()


# --- Quantile Huber -------------------------------------------------------------------------------


def test_quantile_huber_by_hand():
    assert quantile_huber(np.float32([0, 1]), np.float32([0.5, 2]), 1.0) == 0.40625


@pytest.mark.parametrize("kappa", [0.0, 0.3, 1.0, 100.0])
@pytest.mark.parametrize(("m", "n"), [(1, 1), (5, 5), (7, 3), (2, 9)])
def test_quantile_huber_equals_the_double_sum(kappa, m, n):
    rng = np.random.default_rng(m + n)
    pred, target = rng.normal(size=m).round(1), rng.normal(size=n).round(1)
    pred[0] = target[0]  # a tie
    with jax.enable_x64(True):
        loss = quantile_huber(pred, target, kappa)
    assert loss == pytest.approx(naive_quantile_huber(pred, target, kappa), abs=1e-12)


@pytest.mark.parametrize("kappa", [0.0, 0.3, 1.0, 100.0])
def test_quantile_huber_gradients_equal_finite_differences(kappa):
    rng = np.random.default_rng(3)
    pred, target, step = rng.normal(size=6), rng.normal(size=8), 1e-6
    with jax.enable_x64(True):
        exact = jax.grad(quantile_huber, (0, 1))(pred, target, kappa)
    for argument, gradient in enumerate(exact):
        for i in range(gradient.shape[0]):
            moved = [[pred.copy(), target.copy()] for _ in range(2)]
            moved[0][argument][i] += step
            moved[1][argument][i] -= step
            up, down = (naive_quantile_huber(*pair, kappa) for pair in moved)
            assert gradient[i] == pytest.approx((up - down) / (2 * step), abs=1e-7)


def test_quantile_regression_gradient_counts_targets_below():
    rng = np.random.default_rng(5)
    pred, target = rng.normal(size=9).round(1), rng.normal(size=20).round(1)
    pred[:3] = target[:3]  # ties: 1{target < pred} is 0
    with jax.enable_x64(True):
        gradient = jax.grad(quantile_huber)(pred, target, 0.0)
    below = (target[None, :] < pred[:, None]).mean(axis=1)
    np.testing.assert_allclose(gradient, below - (np.arange(9) + 0.5) / 9, atol=1e-12)


def test_large_kappa_is_the_asymmetric_square():
    rng = np.random.default_rng(6)
    pred, target = rng.normal(size=5), rng.normal(size=5)
    error = target[None, :] - pred[:, None]
    tau = ((np.arange(5) + 0.5) / 5)[:, None]
    expected = (0.5 * np.abs(tau - (error < 0)) * error**2).mean(axis=1).sum()
    with jax.enable_x64(True):
        assert quantile_huber(pred, target, 1e6) == pytest.approx(expected, abs=1e-12)


def test_quantile_huber_twice_in_one_program_batched():
    """Gradients add up over two uses, under jit and vmap, whatever the cotangents."""
    rng = np.random.default_rng(7)
    pred, target = (rng.normal(size=(4, 6)).astype(np.float32) for _ in range(2))

    def both(p, t):
        return 2 * quantile_huber(p, t, 1.0) - 3 * quantile_huber(t, p, 0.2)

    batched = jax.jit(jax.vmap(jax.grad(both)))(pred, target)
    single = [2 * jax.grad(quantile_huber)(p, t, 1.0) - 3 * jax.grad(quantile_huber, 1)(t, p, 0.2)
              for p, t in zip(pred, target, strict=True)]  # fmt: skip
    np.testing.assert_allclose(batched, np.stack(single), atol=1e-5)


# --- DSUP -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [False, True])
@pytest.mark.parametrize(
    ("mask", "q_loss", "quantile_loss"), [(1.0, 0.61611238, 2.37803559), (0.0, 55.125, 7.25)]
)
def test_dsup_loss_by_hand(shift, mask, q_loss, quantile_loss):
    loss, aux = dsup_loss(**HAND, mask_tp1=np.float32(mask), shift=shift, **SETTING)
    assert aux["a_star"] == 1
    assert aux["q_loss"] == pytest.approx(q_loss, rel=2e-6)
    assert aux["quantile_loss"] == pytest.approx(quantile_loss, rel=1e-6)
    assert loss == pytest.approx(q_loss + quantile_loss, rel=1e-6)


def test_shifted_decision_means_by_hand():
    laws = method.decision_quantiles(HAND["q_raw_t"], HAND["psi_raw_t"], 0.25, 0.5, True)
    assert Mean()(laws).tolist() == [1.5, 4.5]


@pytest.mark.parametrize("risk", [Mean(), CVaR(0.3), CVaR(0.3, order="comonotone")])
@pytest.mark.parametrize("shift", [False, True])
@pytest.mark.parametrize("kappa", [0.0, 0.5])
def test_dsup_loss_equals_its_definition(risk, shift, kappa):
    setting = dict(h=0.2, q=0.4, gamma=0.8, kappa=kappa, shift=shift)
    compiled = jax.jit(functools.partial(dsup_loss, risk=risk, **setting))

    def by_hand(values):
        if risk == Mean():
            return values.mean()
        if risk.order == "sorted":
            return naive_cvar(values, 0.3)
        return values[:2].sum() / 2.1 + values[2] * 0.1 / 2.1  # 0.3 of 7 levels are 2.1

    for seed in range(8):
        transition = random_transition(seed)
        loss, aux = compiled(*transition)
        exact = [np.float64(x) if np.ndim(x) else x.item() for x in transition]
        quantile_loss, q_loss, best = naive_dsup(*exact, risk=by_hand, **setting)
        assert aux["a_star"] == best
        assert aux["quantile_loss"] == pytest.approx(quantile_loss, rel=1e-5)
        assert aux["q_loss"] == pytest.approx(q_loss, rel=1e-4)
        assert loss == pytest.approx(quantile_loss + q_loss, rel=1e-5)


def test_dsup_gradients_equal_finite_differences():
    """Of the naive loss, with the value in the advantage loss held fixed for eta."""
    setting = dict(h=0.2, q=0.5, gamma=0.8, kappa=0.5, shift=True)
    transition = [np.float64(x) if np.ndim(x) else x.item() for x in random_transition(11)]
    transition[4], transition[6] = 0, 1.0  # not the greedy action; the episode goes on
    with jax.enable_x64(True):
        loss = functools.partial(dsup_loss, risk=Mean(), **setting)
        gradients = jax.jit(jax.grad(lambda *x: loss(*x)[0], (0, 1, 2, 3)))(*transition)
    gradients = [np.asarray(gradient).ravel() for gradient in gradients]

    def naive(index, i, step):
        moved = [x.copy() if isinstance(x, np.ndarray) else x for x in transition]
        moved[index].flat[i] += step
        quantile_loss, q_loss, _ = naive_dsup(*moved, risk=np.mean, **setting)
        return quantile_loss if index == 2 else quantile_loss + q_loss

    for index in (0, 1, 2):
        for i in range(transition[index].size):
            slope = (naive(index, i, 1e-6) - naive(index, i, -1e-6)) / 2e-6
            assert gradients[index][i] == pytest.approx(slope, abs=1e-7), (index, i)
    assert gradients[0].any() and not gradients[3].any()  # the target network learns nothing


def test_gradient_routing():
    transition = (*random_transition(2)[:5], np.float32(0.7), np.float32(1.0))

    def part(name, shift):
        def loss(*heads):
            _, aux = dsup_loss(*heads, *transition[4:], **(SETTING | dict(shift=shift)))
            return aux[name]

        return jax.jit(jax.grad(loss, (0, 1, 2, 3)))(*transition[:4])

    q, psi, eta, target = part("q_loss", False)
    assert q.any() and not psi.any() and not eta.any() and not target.any()
    q, psi, eta, target = part("quantile_loss", False)
    assert not q.any() and psi.any() and eta.any() and not target.any()


def test_gradient_flows_into_what_centring_subtracts():
    gradient = jax.grad(lambda q, psi: loss_by_hand(q_raw_t=q, psi_raw_t=psi)[0], (0, 1))
    q_grad, psi_grad = jax.jit(gradient)(HAND["q_raw_t"], HAND["psi_raw_t"])
    assert q_grad[0] == -q_grad[1] != 0
    np.testing.assert_allclose(psi_grad[0], -psi_grad[1])
    assert psi_grad.any()


def test_one_decision_per_unit_of_time_makes_all_variants_equal():
    transition = random_transition(4)
    losses = [dsup_loss(*transition, **(SETTING | dict(h=1.0, q=q, shift=shift)))
              for q in (0.0, 0.5, 1.0) for shift in (False, True)]  # fmt: skip
    assert len({float(loss) for loss, _ in losses}) == 1
    assert len({int(aux["a_star"]) for _, aux in losses}) == 1


def test_shift_is_irrelevant_at_exponent_one():
    transition = random_transition(5)
    with_shift, without = (
        dsup_loss(*transition, **(SETTING | dict(q=1.0, shift=shift)))[0] for shift in (True, False)
    )
    assert with_shift == without


# --- Baselines ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [0.0, 1.0])
def test_qrdqn_loss_equals_its_definition(mask):
    rng = np.random.default_rng(8)
    zeta, zeta_next = rng.normal(size=(2, 3, 5)).astype(np.float32)
    loss, aux = qrdqn_loss(
        zeta, zeta_next, 2, 1.5, mask, h=0.2, gamma=0.8, kappa=1.0, risk=CVaR(0.4)
    )
    best = np.argmax([naive_cvar(row, 0.4) for row in zeta_next])
    target = 0.2 * 1.5 + 0.8**0.2 * zeta_next[best] if mask else np.full(5, 1.5)
    assert aux["a_star"] == best
    assert loss == pytest.approx(naive_quantile_huber(zeta[2], target, 1.0), rel=1e-5)
    to_target = jax.grad(lambda z: qrdqn_loss(zeta, z, 2, 1.5, mask, h=0.2, gamma=0.8, kappa=1.0,
                                              risk=Mean())[0])(zeta_next)  # fmt: skip
    assert not to_target.any()


def test_dau_loss_by_hand():
    raw = np.float32([1.0, 3.0, 2.0])
    loss, aux = dau_loss(raw, np.float32(5), np.float32(4), 0, 2.0, 1.0, h=0.5, gamma=0.25)
    assert aux["a_star"] == 1
    assert loss == pytest.approx(0.5 * (5 + 0.5 * (1 - 3) - (0.5 * 2 + 0.5 * 4)) ** 2)
    last, _ = dau_loss(raw, np.float32(5), np.float32(4), 1, 2.0, 0.0, h=0.5, gamma=0.25)
    assert last == pytest.approx(0.5 * (5 - 2) ** 2)
    gradient = jax.grad(lambda *x: dau_loss(*x, 0, 2.0, 1.0, h=0.5, gamma=0.25)[0], (0, 1, 2))(
        raw, np.float32(5), np.float32(4)
    )
    assert gradient[0].tolist() == [0.5, -0.5, 0.0] and gradient[1] == 1 and gradient[2] == 0


# --- Bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: midpoints(0), "m >= 1"),
        (lambda: midpoints(2.5), "m >= 1|Actual value: 2.5"),  # the latter under type checks
        (lambda: quantile_huber(np.ones(2, np.float32), np.ones(0, np.float32), 1.0), "one target"),
        (lambda: quantile_huber(np.ones(2, np.float32), np.ones(2, np.float32), -0.1), "kappa"),
        (lambda: CVaR(0.0), r"alpha must be in \(0, 1\]"),
        (lambda: CVaR(1.1), "alpha"),
        (lambda: CVaR(float("nan")), "alpha"),
        (lambda: CVaR(0.5, order="backwards"), "order"),
        (lambda: rescale(np.ones(2, np.float32), 0.0, 0.5), "must be positive"),
        (lambda: rescale(np.ones(2, np.float32), -1.0, 0.5), "must be positive"),
        (lambda: loss_by_hand(h=0.0), "h, the time between two decisions"),
        (lambda: loss_by_hand(gamma=1.5), "gamma"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_one_sentence(call, says):
    with pytest.raises((ValueError, TypeError), match=says):
        call()


def test_whole_numbers_are_not_cut_off(monkeypatch):
    """Lists and integers, as a user types them: weights and rewards keep their fractions."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as outside of the tests
    for order, expected in (("sorted", 4 / 3), ("comonotone", 13 / 3)):  # of 3/2 levels
        assert CVaR(3 / 8, order=order)([5, 3, 2, 1]) == pytest.approx(expected)
    assert CVaR(0.5)(np.array([5, 3, 2, 1])) == pytest.approx(1.5)
    assert Distortion(lambda tau: 2 * tau)([1, 2]) == pytest.approx(0.5 * (0.5 + 3))
    assert dau_loss([1, 3], 5, 0, 1, 0.75, 1, h=0.5, gamma=0.25)[0] == 0.5 * (5 - 0.375) ** 2
    rows = {name: HAND[name].astype(int).tolist() for name in list(HAND)[:4]}
    whole, aux = loss_by_hand(**rows, a_t=0, r_t=4, mask_tp1=1, risk=CVaR(0.6))
    fractional, aux_fractional = loss_by_hand(risk=CVaR(0.6))
    assert whole == fractional and aux["a_star"] == aux_fractional["a_star"]
    zeta = [[0, 2], [1, 5]]
    setting = dict(h=0.5, gamma=0.25, kappa=1.0, risk=Mean())
    assert qrdqn_loss(zeta, zeta, 0, 0.75, 1, **setting)[0] == pytest.approx(
        naive_quantile_huber([0, 2], [0.375 + 0.5, 0.375 + 2.5], 1.0)
    )


def test_exponent_outside_the_theory_warns():
    with pytest.warns(UserWarning, match=r"\[0, 1\]"):
        rescale(np.ones(2, np.float32), 0.5, 1.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rescale(np.ones(2, np.float32), 0.5, 1.0)


def test_method_stands_alone():
    tree = ast.parse(Path(method.__file__).read_text())
    imported = {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    imported |= {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    assert not any(name.split(".")[0] in ("papers", "shared", "tools") for name in imported)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("alpha", [0.001, 0.015, 0.1, 0.29, 0.5, 0.56, 0.999, 1.0])
@pytest.mark.parametrize("m", [1, 7, 100])
def test_cvar_is_the_weighted_sum_of_the_sorted_quantiles(
    alpha: float, exact: bool, m: int
) -> None:
    risk = CVaR(alpha, exact=exact)
    quantiles = np.random.default_rng(m).standard_normal((3, m)).round(1)  # with ties
    expected = np.sort(quantiles, axis=-1) @ risk.weights(m)
    np.testing.assert_allclose(risk(jnp.asarray(quantiles, jnp.float32)), expected, atol=2e-6)
    gradient = jax.grad(lambda x: risk(x).sum())(jnp.asarray(quantiles, jnp.float32))
    np.testing.assert_allclose(gradient.sum(-1), np.full(3, risk.weights(m).sum()), atol=1e-5)
