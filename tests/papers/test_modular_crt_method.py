"""Definitions and theorem of modular_crt against numbers by hand, oracles and brute force."""

import math
from collections import Counter
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from papers.modular_crt import method, oracle
from shared.groups import subgroups
from shared.groups.neurons import cyclic_neurons, fit_sinusoids
from shared.groups.neurons import remap as core_remap

STEPS = {(14, 59): 38, (17, 59): 7, (11, 66): 1, (11, 67): 61, (21, 91): 9, (35, 91): 8,
         (8, 91): 57, (25, 91): 51, (2, 6): 1, (33, 66): 1}  # fmt: skip


def wave(f: int, n: int, phase: float = 0.0) -> np.ndarray:
    return np.cos(2 * np.pi * f * np.arange(n) / n + phase)


# --- Step size, remapping, cosets -----------------------------------------------------------------


def test_step_sizes() -> None:
    assert {pair: method.step_size(*pair) for pair in STEPS} == STEPS
    for (f, n), d in STEPS.items():
        assert subgroups.step_size(f, n).step == d


def test_step_turns_the_sinusoid_by_one_vertex() -> None:
    for f, n in STEPS:
        d, period = method.step_size(f, n), n // math.gcd(f, n)
        turned = (f * d / n) % 1
        assert turned == pytest.approx((1 / period) % 1), "d steps turn by 2 pi / n'"


@pytest.mark.parametrize(("f", "n", "points"), [(14, 59, 59), (35, 91, 13), (33, 66, 2)])
def test_remap_moves_the_only_line_to_one(f: int, n: int, points: int) -> None:
    for phase in (0.0, 0.7, -2.0):
        moved = method.remap(wave(f, n, phase), f, n)
        assert len(moved) == points
        power = np.abs(np.fft.fft(moved)) ** 2
        line = power[1] + (power[-1] if points > 2 else 0)
        assert line == pytest.approx(power.sum())
        np.testing.assert_array_equal(moved, core_remap(wave(f, n, phase), f))


def test_the_printed_formula_gives_the_square() -> None:
    """g(d x) = h(x), read literally, moves f = 14 at n = 59 to 19, not to 1."""
    d = method.step_size(14, 59)
    printed = np.zeros(59)
    printed[d * np.arange(59) % 59] = wave(14, 59)
    assert np.abs(np.fft.rfft(printed)).argmax() == 19
    assert 14 * 14 % 59 in (19, 40)


def test_remap_along_another_axis() -> None:
    values = np.random.default_rng(0).normal(size=(2, 13, 3))
    moved = method.remap(values, 5, 13, axis=1)
    for y in range(13):
        np.testing.assert_array_equal(moved[:, y], values[:, method.step_size(5, 13) * y % 13])


@given(st.integers(3, 80), st.data())
def test_positive_sets_are_approximate_cosets(n: int, data: st.DataObject) -> None:
    f, s = data.draw(st.integers(1, n - 1)), data.draw(st.integers(0, n - 1))
    period = n // math.gcd(f, n)
    reach = (period - 1) // 4
    on = method.positive_set(f, n, s)
    assert on == set(method.approximate_coset(s, f, n, reach, reach))
    assert method.is_approximate_coset(on, f, n)


def test_positive_sets_with_a_bias() -> None:
    for f, n in ((14, 59), (11, 66)):
        period, g = n // math.gcd(f, n), math.gcd(f, n)
        for bias in (-0.9, -0.3, 0.4, 0.8):
            reach = period * math.acos(-bias) / (2 * math.pi)
            size = g * (2 * (math.ceil(reach) - 1) + 1)
            on = method.positive_set(f, n, 2, bias)
            assert len(on) == size and method.is_approximate_coset(on, f, n)
    assert method.positive_set(14, 59, 0, 1.5) == set(range(59))
    assert method.positive_set(14, 59, 0, -1.5) == set()


def test_approximate_cosets_by_hand() -> None:
    assert method.approximate_coset(0, 15, 59, 1, 1) == [0, 4, 55], "neighbours at +-4"
    assert method.approximate_coset(1, 11, 66, 0, 0) == list(range(1, 66, 6)), "an exact coset"
    assert len(method.approximate_coset(0, 14, 59, 59, 59)) == 59


def test_what_is_no_approximate_coset() -> None:
    on = method.positive_set(14, 59, 0)
    assert not method.is_approximate_coset(on - {0}, 14, 59), "a hole"
    assert not method.is_approximate_coset(on, 15, 59), "another step"
    assert not method.is_approximate_coset([0, 6, 12], 11, 66), "part of a coset"
    assert not method.is_approximate_coset([], 14, 59)
    assert method.is_approximate_coset([7], 14, 59)


def test_cayley_distance_is_a_shortest_path() -> None:
    for f, n in ((11, 66), (14, 59), (6, 15)):
        d, g = method.step_size(f, n), math.gcd(f, n)
        period = n // g
        reached, frontier = {}, {0 + t * period for t in range(g)}
        steps = 0
        while frontier:
            reached |= dict.fromkeys(frontier, steps)
            near = {(x + sign * d) % n for x in frontier for sign in (1, -1)}
            frontier, steps = near - set(reached), steps + 1
        assert {x: method.cayley_distance(x, 0, f, n) for x in range(n)} == reached


# --- The margin theorem ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "delta", "rho", "value"),
    [
        (59, math.pi / math.e**3, 0.5, 4.077537),
        (91, math.pi / math.e**3, 0.5, 4.510860),
        (113, 0.1, 0.9, 5.178594),
        (59, 0.25, 0.5, 5.326548),
        (4999, 0.1564, 0.5, 8.5167),
        (67, 0.2, 0.8, 5.838647),
    ],
)
def test_min_frequencies(n: int, delta: float, rho: float, value: float) -> None:
    assert method.min_frequencies(n, delta, rho) == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize(
    ("freqs", "gap", "worst"),
    [
        ((1,), 0.0056652, 1),
        ((6, 7, 17), 0.8820669, 10),  # 49 is the same distance from 0
        ((4, 9, 10, 13), 1.3236877, 13),
        ((5, 8, 14, 20, 27), 2.3922420, 9),
    ],
)
def test_ideal_gap(freqs: tuple[int, ...], gap: float, worst: int) -> None:
    found, k = method.ideal_gap(59, freqs)
    assert found == pytest.approx(gap, abs=1e-7) and k == worst
    naive = {k: sum(math.cos(2 * math.pi * f * k / 59) for f in freqs) for k in range(59)}
    assert found == pytest.approx(naive[0] - max(naive[k] for k in range(1, 59)))


def test_all_frequencies_have_half_of_n() -> None:
    gap, _ = method.ideal_gap(59, range(1, 30))
    assert gap == pytest.approx(29.5)
    np.testing.assert_allclose(method.ideal_logits(59, range(1, 30))[1:], -0.5)


def test_gap_probability_against_the_exact_enumeration() -> None:
    exact = oracle.exact_gap_probability(59, 5, 0.1564)
    assert exact == pytest.approx(0.964, abs=0.005)
    rng = np.random.default_rng(1)
    assert method.gap_probability(59, 5, 0.1564, 20_000, rng) == pytest.approx(exact, abs=0.005)
    assert method.random_gaps(59, 5, 20_000, rng).mean() == pytest.approx(1.886, abs=0.02)


@pytest.mark.parametrize(("n", "m", "delta", "rho", "p"), [
    (113, 6, 0.1, 0.9, 0.992), (113, 7, 0.25, 0.5, 0.937), (499, 9, 0.25, 0.5, 0.927)])  # fmt: skip
def test_monte_carlo_of_other_cells(n: int, m: int, delta: float, rho: float, p: float) -> None:
    assert m == math.floor(method.min_frequencies(n, delta, rho)) + 1
    found = method.gap_probability(n, m, delta, 4000, np.random.default_rng(0))
    assert found == pytest.approx(p, abs=0.015)


def test_every_frequency_is_drawn() -> None:
    """n = 4: f = 1 has gap 1, f = 2 has gap 0 (k = 2 looks like 0), both half of the time."""
    gaps = method.random_gaps(4, 1, 2000, np.random.default_rng(0))
    assert set(np.round(gaps, 9).tolist()) == {0.0, 1.0}
    assert gaps.mean() == pytest.approx(0.5, abs=0.05)


def test_exact_enumeration_by_hand() -> None:
    """n = 5, two draws of f in {1, 2}: (1, 1), (2, 2) have gap 2 (1 - cos 72), (1, 2) has 2.5."""
    single = 2 * (1 - math.cos(2 * math.pi / 5))
    assert single == pytest.approx(1.381966)
    assert oracle.exact_gap_probability(5, 2, 0.69) == 1.0
    assert oracle.exact_gap_probability(5, 2, 0.70) == 0.5
    assert oracle.exact_gap_probability(5, 2, 1.24) == 0.5
    assert oracle.exact_gap_probability(5, 2, 1.26) == 0.0


def test_sufficient_frequencies_suffice() -> None:
    rng = np.random.default_rng(0)
    for delta in (0.1, 0.5):
        m = oracle.sufficient_frequencies(59, delta, 0.9)
        assert method.gap_probability(59, m, delta, 4000, rng) >= 0.9
        bound, exact = (
            oracle.failure_bound(13, 4, delta),
            oracle.exact_gap_probability(13, 4, delta),
        )
        assert 1 - exact <= bound + 1e-12
        assert oracle.failure_bound(59, m - 1, delta) > 0.1 >= oracle.failure_bound(59, m, delta)


def test_theorem_is_the_small_delta_limit_of_the_rate() -> None:
    for delta, tolerance in ((1e-3, 1e-3), (1e-2, 1e-2)):
        theorem = (math.log(math.pi / delta) - 1) / 2
        assert oracle.rate(1 - delta) == pytest.approx(theorem, rel=tolerance)
    assert oracle.rate(0.5) < 0.9 * (math.log(math.pi / 0.5) - 1) / 2, "too few at delta = 1/2"
    assert oracle.rate(0.0) == pytest.approx(0, abs=1e-9)


def test_wrong_mass_by_hand() -> None:
    """n = 3, f = 1: logits 1, -1/2, -1/2."""
    expected = 2 * math.exp(-1.5) / (1 + 2 * math.exp(-1.5))
    assert method.wrong_mass(3, (1,)) == pytest.approx(expected)


# --- Fits -----------------------------------------------------------------------------------------


def design(n: int, freqs: tuple[int, ...], order: int) -> np.ndarray:
    """The columns of a fit, one by one, on all pairs."""
    a, b = (x.ravel() for x in np.meshgrid(np.arange(n), np.arange(n), indexing="ij"))
    columns = [np.ones(n * n)]
    for f in freqs:
        for place in (a, b, a + b, a - b)[: 2 * order]:
            angle = 2 * np.pi * f * place / n
            columns += [np.cos(angle), np.sin(angle)]
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("n", [11, 12])
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("freqs", [(1, 4), (5, 6)])
def test_fit_is_least_squares(n: int, order: Literal[1, 2], freqs: tuple[int, ...]) -> None:
    freqs = tuple(f for f in freqs if f <= n // 2)
    pre = np.random.default_rng(n + order).normal(size=(n, n, 3))
    fit = method.fit_simple(pre, order, freqs)
    x, y = design(n, freqs, order), pre.reshape(n * n, 3)
    pred = x @ np.linalg.lstsq(x, y, rcond=None)[0]
    np.testing.assert_allclose(fit.pred.reshape(n * n, 3), pred, atol=1e-10)
    r2 = 1 - ((y - pred) ** 2).sum(0) / ((y - y.mean(0)) ** 2).sum(0)
    np.testing.assert_allclose(fit.r2, r2, atol=1e-10)
    rebuilt = x @ fit.coef.T
    np.testing.assert_allclose(rebuilt, pred, atol=1e-10)


@pytest.mark.parametrize("order", [1, 2])
def test_own_frequency_is_the_best_one(order: Literal[1, 2]) -> None:
    pre = np.random.default_rng(3).normal(size=(11, 11, 4))
    fit = method.fit_simple(pre, order)
    each = np.stack([method.fit_simple(pre, order, (f,)).r2 for f in range(1, 6)])
    np.testing.assert_array_equal(fit.freq, each.argmax(axis=0) + 1)
    np.testing.assert_allclose(fit.r2, each.max(axis=0))


def test_fit_agrees_with_the_shared_core() -> None:
    left, right = np.random.default_rng(5).normal(size=(2, 59, 400))
    pre = left[:, None] + right
    core, own = cyclic_neurons((left, right)), method.fit_simple(pre)
    np.testing.assert_array_equal(own.freq, core.label)
    np.testing.assert_allclose(own.r2, core.first, atol=1e-10)
    np.testing.assert_allclose(own.pred, fit_sinusoids((left, right), core.label).values, atol=1e-9)


def test_amplitudes_and_phases_are_read_back() -> None:
    x = 2 * np.pi * 9 * np.arange(66) / 66
    pre = (1.3 * np.cos(x + 0.4)[:, None] + 0.8 * np.cos(x - 1.1) + 0.5)[..., None]
    fit = method.fit_simple(pre)
    assert fit.freq[0] == 9 and fit.coef[0, 0] == pytest.approx(0.5)
    assert fit.r2[0] == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(fit.amplitudes[0], [1.3, 0.8], atol=1e-10)
    np.testing.assert_allclose(fit.phases[0], [0.4, -1.1], atol=1e-10)
    second = (np.cos(x + 0.4)[:, None] * np.cos(x - 1.1))[..., None]  # (a+b, -0.7), (a-b, 1.5)
    fit = method.fit_simple(second, 2)
    np.testing.assert_allclose(fit.amplitudes[0], [0, 0, 0.5, 0.5], atol=1e-10)
    np.testing.assert_allclose(fit.phases[0, 2:], [-0.7, 1.5], atol=1e-9)


def test_untrained_neurons_are_not_simple() -> None:
    left, right = np.random.default_rng(1).normal(size=(2, 59, 2000))
    r2 = method.fit_simple(left[:, None] + right).r2
    assert r2.mean() == pytest.approx(0.1016, abs=0.002)
    assert np.quantile(r2, 0.99) == pytest.approx(0.169, abs=0.01)
    assert (r2 < 0.5).all()


def test_relu_of_a_simple_neuron_has_second_order_terms() -> None:
    """Of relu(cos + cos), 74.46 % is first order, 10.9 % each at (f, f) and (f, -f)."""
    pre = np.maximum(wave(6, 59, 0.3)[:, None] + wave(6, 59, 1.9), 0)[..., None]
    energy = method.spectrum(pre)
    assert energy.first[5, 0] / energy.total[0] == pytest.approx(0.7446, abs=1e-4)
    assert energy.second[5, 0] / energy.total[0] == pytest.approx(0.1088 + 0.1087, abs=2e-4)


@pytest.mark.parametrize("n", [6, 10])
def test_half_of_n_is_one_line(n: int) -> None:
    pre = (wave(n // 2, n)[:, None] + 0.5 * wave(n // 2, n))[..., None]
    for order in (1, 2):
        fit = method.fit_simple(pre, order)
        assert fit.freq[0] == n // 2 and fit.r2[0] == pytest.approx(1)
    product = (wave(n // 2, n)[:, None] * wave(n // 2, n))[..., None]
    fit = method.fit_simple(product, 2)
    assert fit.r2[0] == pytest.approx(1), "a + b and a - b are one wave there: 1, never 2"
    np.testing.assert_allclose(fit.pred, product, atol=1e-12)


def test_constant_neuron() -> None:
    fit = method.fit_simple(np.full((7, 7, 1), 2.5))
    assert fit.r2[0] == 1 and np.allclose(fit.pred, 2.5)


# --- Fine-tuning neurons --------------------------------------------------------------------------


def lines(n: int, freqs: tuple[int, ...], sizes: tuple[float, ...] | None = None) -> np.ndarray:
    sizes = sizes or (1.0,) * len(freqs)
    values = sum(s * wave(f, n, 0.1 * f) for f, s in zip(freqs, sizes, strict=True))
    pre = np.asarray(values)[:, None, None] + np.zeros((n, n, 1))
    return np.abs(np.fft.fft2(pre, axes=(0, 1))) ** 2


def test_harmonics_of_one_base() -> None:
    assert method.is_fine_tuning(lines(91, (7, 14, 21)))[0]
    assert method.is_fine_tuning(lines(59, (20, 19, 1)))[0], "20, 40 = -19, 60 = 1"
    assert not method.is_fine_tuning(lines(91, (7, 14)))[0], "two lines"
    assert not method.is_fine_tuning(lines(59, (4, 5, 14)))[0], "no common base"
    assert method.is_fine_tuning(lines(59, (4, 5, 14)), harmonics=29)[0], "any multiple"
    weak = lines(91, (7, 14, 21), (1.0, 1.0, 0.2))
    assert not method.is_fine_tuning(weak)[0] and method.is_fine_tuning(weak, share=0.01)[0]


def test_scale_of_the_weights_does_not_matter() -> None:
    power = lines(91, (7, 14, 21))
    assert method.is_fine_tuning(1e-8 * power)[0] and method.is_fine_tuning(1e8 * power)[0]


# --- Substitution, equivariance -------------------------------------------------------------------


def test_substitution_by_exact_fits_changes_nothing() -> None:
    net = method.acrt_network(31, (3, 7, 11), 5)
    pre = method.preactivations(net)
    for order in (1, 2):
        fit = method.fit_simple(pre, order)
        np.testing.assert_allclose(fit.pred, pre, atol=1e-6)
        found = method.substitute(net, None, fit)
        np.testing.assert_allclose(found, method.score(method.logits(net)), atol=1e-6)
        assert found[0] == 1
    assert method.substitute(net, None, method.fit_simple(pre, 1, (5,)))[0] < 0.2


def test_substitute_uses_the_given_rest_of_the_network() -> None:
    net = method.acrt_network(13, (1,), 5)
    seen = []

    def forward(params: object, spec: object, pre: np.ndarray) -> np.ndarray:
        seen.append((params, spec))
        return np.zeros((13, 13, 13))

    fit = method.fit_simple(method.preactivations(net))
    accuracy, loss = method.substitute(net, "a spec", fit, forward)
    assert seen == [(net, "a spec")]
    assert accuracy == 0 and loss == pytest.approx(math.log(13)), "a tie is wrong"


def test_score_by_hand() -> None:
    logits = np.zeros((3, 3, 3))
    for a in range(3):
        for b in range(3):
            logits[a, b, (a + b) % 3] = 2.0
    logits[1, 1, 0] = 3.0  # beats the right one, 2
    accuracy, loss = method.score(logits)
    assert accuracy == pytest.approx(8 / 9)
    right = math.log(math.exp(2) + 2) - 2
    wrong = math.log(math.exp(2) + math.exp(3) + 1) - 2
    assert loss == pytest.approx((8 * right + wrong) / 9)
    assert method.margins(logits)[1, 1] == pytest.approx(-1)
    np.testing.assert_allclose(method.margins(logits - 100), method.margins(logits))


@pytest.mark.parametrize(
    ("phases", "layout", "error"),
    [
        (5, method.torus_phases, 0.006156),
        (8, method.torus_phases, 0.000769),
        (16, method.torus_phases, 4.3e-5),
        (8, method.disc_phases, 0.39246),
        (400, method.disc_phases, 2 * (1 - 0.81076)),
    ],
)
def test_equivariance_of_ideal_clusters(phases: int, layout: method.Phases, error: float) -> None:
    found = method.equivariance_error(method.logits(method.acrt_network(59, (1,), phases, layout)))
    assert found == pytest.approx(error, rel=3e-3)


def test_equivariance_error_is_the_mean_over_all_shifts() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(7, 7, 7)) + method.logits(method.acrt_network(7, (2,), 3))
    brute = oracle.brute_equivariance_error(values)
    assert method.equivariance_error(values) == pytest.approx(brute)
    moved = np.roll(values, (2, 3, 5), axis=(0, 1, 2))
    assert method.equivariance_error(moved) == pytest.approx(brute), "invariant under shifts"


def test_a_few_neurons_of_random_phases_are_not_equivariant() -> None:
    """Four of them have an error of about 1.7, of at most 2."""
    rng = np.random.default_rng(0)

    def drawn(count: int) -> np.ndarray:
        return rng.random((2, count))

    nets = [method.acrt_network(59, (1,), 4, drawn) for _ in range(10)]
    errors = [method.equivariance_error(method.logits(net)) for net in nets]
    assert 1.4 < np.mean(errors) < 1.9 and max(errors) < 2


def test_moving_both_inputs_by_two_moves_the_logits_by_four() -> None:
    logits = method.logits(method.acrt_network(59, (7,), 9))
    moved = np.roll(logits, (-2, -2, -4), axis=(0, 1, 2))
    error = ((moved - logits) ** 2).mean() / logits.var()
    assert error < 1e-3
    wrong = np.roll(logits, (-2, -2, -3), axis=(0, 1, 2))
    assert ((wrong - logits) ** 2).mean() / logits.var() > 0.1


# --- Networks by hand -----------------------------------------------------------------------------


def test_sinusoidal_crt() -> None:
    net = method.sinusoidal_crt(91, (7, 13))
    logits = method.logits(net)
    assert method.score(logits)[0] == 1
    assert method.margins(logits).min() == pytest.approx(0.11454, abs=1e-5)
    assert Counter(net.freq.tolist()) == {13: 7, 7: 13}
    assert (logits[3, 7].argmax(), 10 % 7, 10 % 13) == (10, 3, 10)
    on = method.preactivations(net)[0] > 1e-12  # [c, neuron]
    assert (on.sum(axis=1) == 2).all(), "one coset of each factor"
    three = method.sinusoidal_crt(105, (3, 5, 7))
    assert method.score(method.logits(three))[0] == 1


def test_five_phases_of_one_frequency_solve_59_and_four_do_not() -> None:
    assert method.score(method.logits(method.acrt_network(59, (1,), 5)))[0] == 1
    assert method.score(method.logits(method.acrt_network(59, (1,), 4)))[0] < 1


def test_hand_built_logits_are_the_ideal_ones() -> None:
    freqs = (4, 9, 10, 13)
    logits = method.logits(method.acrt_network(59, freqs, 12))
    gap, _ = method.ideal_gap(59, freqs)
    np.testing.assert_allclose(method.margins(logits), gap, rtol=0.1)


def test_with_squares_for_relu_the_network_by_hand_is_ideal() -> None:
    """Gromov's solution: every frequency, logits exactly n/2 on the answer and -1/2 elsewhere."""
    net = method.acrt_network(13, range(1, 7), 3)
    logits = method.preactivations(net) ** 2 @ net.readout
    x = np.arange(13)
    ideal = method.ideal_logits(13, range(1, 7))[(x - x[:, None, None] - x[:, None]) % 13]
    scale = logits[0, 0, 0] / 6
    np.testing.assert_allclose(logits, scale * ideal, atol=1e-9 * abs(scale) * 6)
    assert scale > 0


def test_output_phase_is_the_sum_of_the_input_phases() -> None:
    net = method.acrt_network(13, (1,), 13)
    for j in (0, 5, 40, 100):
        s_a, s_b = net.left[:, j].argmax(), net.right[:, j].argmax()
        assert net.readout[j].argmax() == (s_a + s_b) % 13


# --- Growth ---------------------------------------------------------------------------------------


def test_log_fit() -> None:
    ns = [3, 7, 13, 59, 113, 499]
    fit = method.log_fit(ns, 1 + np.log(ns))
    assert (fit["alpha"], fit["beta"], fit["r2_log"]) == pytest.approx((1, 1, 1))
    assert fit["r2_linear"] < 0.9 and fit["aic_log"] < fit["aic_linear"]
    line = method.log_fit(ns, 2 + 0.1 * np.array(ns))
    assert (line["alpha_linear"], line["beta_linear"], line["r2_linear"]) == pytest.approx(
        (2, 0.1, 1)
    )
    noisy = method.log_fit([1, 2, 4], [1.0, 2.0, 2.0])
    # By hand: x = 0, ln 2, 2 ln 2 has slope 1 / (2 ln 2) and residuals -1/6, 1/3, -1/6.
    assert noisy["beta"] == pytest.approx(0.5 / math.log(2))
    assert noisy["r2_log"] == pytest.approx(1 - (1 / 6) / (2 / 3))
    assert noisy["aic_log"] == pytest.approx(3 * math.log(1 / 18) + 4)


# --- Bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: method.step_size(0, 59), "A frequency must not be a multiple of n = 59; got 0."),
        (lambda: method.step_size(59, 59), "A frequency must not be a multiple of n = 59; got 59."),
        (lambda: method.step_size(1, 2), "The modulus n must be at least 3; got 2."),
        (lambda: method.remap(np.zeros(5), 1, 7), "Axis 0 must have n = 7 entries; it has 5."),
        (lambda: method.approximate_coset(0, 1, 7, -1, 1), "k1 and k2 must lie in 0 ... n = 7"),
        (lambda: method.min_frequencies(59, 0.1, 1.0), "rho must lie in (0, 1); got 1."),
        (lambda: method.min_frequencies(59, 1.0, 0.5), "delta must lie in (0, 1); got 1."),
        (lambda: method.min_frequencies(2, 0.1, 0.5), "The modulus n must be at least 3; got 2."),
        (lambda: method.ideal_gap(59, ()), "At least one frequency is needed; got none."),
        (lambda: method.ideal_gap(59, (118,)), "A frequency must not be a multiple of n = 59"),
        (lambda: method.random_gaps(59, 0, 5, np.random.default_rng(0)), "m and draws must be at"),
        (lambda: method.fit_simple(np.zeros((5, 4, 1))), "pre must be n x n x m with n at least 3"),
        (lambda: method.fit_simple(np.ones((5, 5, 1)), 1, (1, 4)), "Each frequency may be given"),
        (lambda: method.acrt_network(13, (1,), 0), "n_phases must be at least 1; got 0."),
        (lambda: method.sinusoidal_crt(91, (7, 12)), "factors must be coprime, at least 3"),
        (lambda: method.sinusoidal_crt(36, (6, 6)), "factors must be coprime, at least 3"),
        (lambda: method.sinusoidal_crt(14, (2, 7)), "factors must be coprime, at least 3"),
        (lambda: method.equivariance_error(np.ones((3, 3, 3))), "The logits are constant"),
        (lambda: method.log_fit([3, 5], [1.0, 2.0]), "Three or more n with one count each"),
        (lambda: method.log_fit([3, 5, 7], [2.0, 2.0, 2.0]), "The counts are all equal"),
        (lambda: method.log_fit([3, 3, 3], [1.0, 2.0, 2.0]), "The n must be positive and not all"),
        (lambda: oracle.sufficient_frequencies(59, 0.0, 0.5), "delta must lie in (0, 1); got 0."),
        (lambda: oracle.rate(1.0), "x must lie in [0, 0.9999]; got 1."),
    ],
)
def test_bad_input_is_one_sentence(call: object, sentence: str) -> None:
    with pytest.raises(ValueError) as error:
        call()  # pyright: ignore[reportCallIssue]
    message = str(error.value)
    assert message.startswith(sentence) and message.endswith(".") and "\n" not in message
