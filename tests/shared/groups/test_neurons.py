"""Neurons on Z_n: shares, phases and fits against least squares, the FFT, numbers by hand."""

from typing import Any

import numpy as np
import pytest

from shared.experiment.errors import BadInput
from shared.groups.neurons import (
    Neurons,
    Term,
    cyclic_neurons,
    dft2,
    first_order,
    fit_sinusoids,
    frequency_mask,
    half_integer_fit,
    is_harmonic,
    remap,
    remap_positions,
    sinusoids,
    spectral_lines,
)
from shared.groups.preactivations import main_effects
from shared.groups.subgroups import step_size

Array = np.ndarray
NUMBERS = ("first", "second", "variance", "first_shares", "second_shares", "left_shares",
           "right_shares")  # fmt: skip
WHICH = ("label", "left_label", "right_label", "alive")


def wave(n: int, frequency: float, amplitude: Any = 1.0, phase: Any = 0.0) -> Array:
    """amplitude cos(2 pi f x / n + phase), [n, m]."""
    angle = 2 * np.pi * frequency * np.arange(n)[:, None] / n
    return np.atleast_1d(amplitude) * np.cos(angle + np.atleast_1d(phase))


def noise(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


def grid(left: Array, right: Array) -> Array:
    return left[:, None] + right


def same(x: Neurons, y: Neurons) -> None:
    for name in NUMBERS:
        assert np.allclose(getattr(x, name), getattr(y, name), rtol=0, atol=1e-11), name
    for name in WHICH:
        assert np.array_equal(getattr(x, name), getattr(y, name)), name


def by_lstsq(pre: Array, columns: list[Array]) -> float:
    """R^2 of least squares of one neuron on the n^2 pairs."""
    design = np.stack([np.ones(pre.size), *(np.ravel(c) for c in columns)], 1)
    rest = pre.ravel() - design @ np.linalg.lstsq(design, pre.ravel(), rcond=None)[0]
    return 1 - float(rest @ rest) / float(((pre - pre.mean()) ** 2).sum())


def columns(n: int, frequency: float, terms: tuple[Term, ...]) -> list[Array]:
    a, b = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
    place = {"a": a, "b": b, "a+b": a + b, "a-b": a - b}
    angles = [2 * np.pi * frequency * place[term] / n for term in terms]
    return [f(angle) for angle in angles for f in (np.cos, np.sin)]


# --- the numbers of the papers' analysis ----------------------------------------------------


@pytest.mark.parametrize("phases", [(0.3, 1.9), (0.3, 0.3), (0.0, 0.0)])
def test_a_simple_neuron_and_its_relu(phases: tuple[float, float]) -> None:
    left, right = wave(59, 6, phase=phases[0]), wave(59, 6, phase=phases[1])
    simple = cyclic_neurons((left, right))
    assert simple.label.tolist() == [6]
    assert simple.first[0] == pytest.approx(1, abs=1e-12)
    rectified = cyclic_neurons(np.maximum(grid(left, right), 0))
    assert rectified.label.tolist() == [6]
    assert rectified.first[0] == pytest.approx(0.7446, abs=2e-4)
    rectified_grid = np.maximum(grid(left, right), 0)[..., 0]
    wanted = by_lstsq(rectified_grid, columns(59, 6, ("a", "b")))
    assert rectified.first[0] == pytest.approx(wanted, abs=1e-12)
    power = dft2(np.maximum(grid(left, right), 0))[..., 0]
    lines = 2 * power[6, 6] / power.sum(), 2 * power[6, -6] / power.sum()
    assert lines == pytest.approx((0.1088, 0.1087), abs=2e-4)
    assert rectified.second[0] == pytest.approx(sum(lines), abs=1e-12)


@pytest.mark.parametrize("n", [7, 8, 59])
def test_shares_are_lines_of_the_two_dimensional_fft(n: int) -> None:
    pre = noise(n, n, 5)
    found, power = cyclic_neurons(pre), dft2(pre)
    first, second = np.zeros((2, n // 2 + 1, 5))
    for f in range(1, n // 2 + 1):
        first[f] = power[f, 0] + power[0, f]
        second[f] = power[f, f]
        if 2 * f != n:
            first[f] *= 2
            second[f] = 2 * power[f, f] + 2 * power[f, -f]
    whole = power.sum(axis=(0, 1))
    assert np.allclose(found.first_shares, first / whole, rtol=0, atol=1e-12)
    assert np.allclose(found.second_shares, second / whole, rtol=0, atol=1e-12)
    assert np.array_equal(found.label, (first + second).argmax(axis=0))
    assert np.allclose(found.variance, whole / n**4, rtol=1e-12)
    assert found.first == pytest.approx((first / whole)[found.label, np.arange(5)])


@pytest.mark.parametrize("n", [9, 10])
def test_first_order_share_is_r2_of_least_squares(n: int) -> None:
    pre = noise(n, n, 3, seed=1)
    found = cyclic_neurons(pre)
    for j in range(3):
        f = int(found.label[j])
        assert found.first[j] == pytest.approx(by_lstsq(pre[..., j], columns(n, f, ("a", "b"))))
        both = by_lstsq(pre[..., j], columns(n, f, ("a", "b", "a+b", "a-b")))
        assert found.first[j] + found.second[j] == pytest.approx(both)


def test_the_nyquist_line_of_even_n_counts_once() -> None:
    found = cyclic_neurons((wave(10, 5, 1.3), wave(10, 5, -0.4)))
    assert found.label.tolist() == [5]
    assert found.first[0] == pytest.approx(1, abs=1e-12)
    signs = (-1.0) ** np.arange(10)
    product = cyclic_neurons((signs[:, None] * signs)[..., None])
    assert product.second[0] == pytest.approx(1, abs=1e-12)


def test_an_untrained_additive_network_has_the_share_of_chance() -> None:
    """Mean and 99 % quantile of the best share of Gaussian A, B at n = 59."""
    found = cyclic_neurons((noise(59, 20_000), noise(59, 20_000, seed=1)))
    assert found.first.mean() == pytest.approx(0.1016, abs=1e-3)
    assert np.quantile(found.first, 0.99) == pytest.approx(0.169, abs=2e-3)
    assert found.first.max() < 0.5


# --- additive parts -------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 12, 31])
def test_parts_and_grid_give_the_same(n: int) -> None:
    left, right = noise(n, 20), noise(n, 20, seed=1)
    left[:, 0] = 0.7  # depends on b alone
    left[:, 1], right[:, 1] = -3.0, 3.5  # constant
    left[:, 2] -= 9  # dead
    same(cyclic_neurons((left, right)), cyclic_neurons(grid(left, right)))
    for x, y in zip(main_effects((left, right)), main_effects(grid(left, right)), strict=True):
        assert np.allclose(x, y, rtol=0, atol=1e-12)
    label = cyclic_neurons((left, right)).label
    assert label[1] == 0
    x, y = sinusoids((left, right), label), sinusoids(grid(left, right), label)
    for name in ("amp_left", "phi_left", "amp_right", "phi_right", "mean"):
        assert np.allclose(getattr(x, name)[1:], getattr(y, name)[1:], rtol=0, atol=1e-9) or (
            n == 2 and name.startswith("phi")
        )
    frequencies = frequency_mask(n, label, 20)
    x, y = (fit_sinusoids(pre, frequencies) for pre in ((left, right), grid(left, right)))
    assert np.allclose(x.values, y.values, rtol=0, atol=1e-11)
    assert np.allclose(x.r2, y.r2, rtol=0, atol=1e-11)
    x, y = half_integer_fit((left, right)), half_integer_fit(grid(left, right))
    assert np.array_equal(x.frequency, y.frequency)
    assert np.allclose(x.r2, y.r2, rtol=0, atol=1e-11)


def test_the_additive_part_is_the_best_one_and_keeps_the_mean() -> None:
    pre = noise(6, 6, 4) + 2
    left, right = main_effects(pre)
    assert np.allclose(right.mean(axis=0), 0)
    residual = pre - grid(left, right)
    assert np.allclose(residual.mean(axis=0), 0) and np.allclose(residual.mean(axis=1), 0)


def test_float32_is_analysed_in_float64() -> None:
    left, right = noise(59, 8), noise(59, 8, seed=1)
    exact = cyclic_neurons((left, right))
    rounded = cyclic_neurons(grid(left, right).astype(np.float32))
    assert rounded.first.dtype == np.float64
    assert np.allclose(exact.first_shares, rounded.first_shares, rtol=0, atol=1e-5)


# --- who is alive, and which side says what -------------------------------------------------


def test_alive_needs_a_positive_value_and_a_variance() -> None:
    left = np.c_[wave(11, 2), wave(11, 2) - 2, np.full(11, 5.0), 5 + 1e-4 * wave(11, 2)]
    found = cyclic_neurons((left, np.zeros_like(left)))
    assert found.alive.tolist() == [True, False, False, False]
    assert cyclic_neurons((left, np.zeros_like(left)), alive=-4.0).alive.tolist() == [
        True, True, False, False]  # fmt: skip
    assert cyclic_neurons((left, 0 * left), least_variance=1e-9).alive.tolist() == [
        True, False, False, True]  # fmt: skip


def test_sides_that_differ_do_not_agree() -> None:
    n = 13
    left = np.c_[wave(n, 2), wave(n, 2), wave(n, 2), np.zeros((n, 1))]
    right = np.c_[wave(n, 2), wave(n, 3, 0.5), np.zeros((n, 1)), np.zeros((n, 1))]
    found = cyclic_neurons((left, right))
    assert found.label.tolist() == [2, 2, 2, 0]
    assert found.left_label.tolist() == [2, 2, 2, 0]
    assert found.right_label.tolist() == [2, 3, 0, 0]
    assert found.agree.tolist() == [True, False, False, False]
    assert found.first[1] == pytest.approx(0.8)
    assert np.allclose(found.left_shares.sum(axis=0), [1, 1, 1, 0])


def test_rounding_does_not_make_a_constant_neuron_vary() -> None:
    tenth = np.full((7, 7, 1), 0.1, np.float32)
    tenth[3, 4] = np.nextafter(np.float32(0.1), np.float32(1))
    found = cyclic_neurons(tenth)
    assert found.variance[0] == 0 and found.label[0] == 0 and found.first[0] == 0


# --- phases and fits ------------------------------------------------------------------------


def test_a_fit_recovers_amplitudes_phases_and_mean() -> None:
    pre = grid(wave(66, 9, 1.3, 0.4), wave(66, 9, 0.8, -1.1)) + 0.5
    label = cyclic_neurons(pre).label
    assert label.tolist() == [9]
    found = sinusoids(pre, label)
    got = [found.amp_left, found.phi_left, found.amp_right, found.phi_right, found.mean]
    assert np.allclose(np.ravel(got), [1.3, 0.4, 0.8, -1.1, 0.5], rtol=0, atol=1e-10)
    fit = fit_sinusoids(pre, label)
    assert fit.r2[0] == pytest.approx(1, abs=1e-12)
    assert np.allclose(fit.values, pre, rtol=0, atol=1e-12)


def test_phases_at_the_nyquist_frequency() -> None:
    found = sinusoids((wave(10, 5, 1.3), wave(10, 5, -0.4)), np.array([5]))
    assert found.amp_left[0] == pytest.approx(1.3)
    assert found.amp_right[0] == pytest.approx(0.4)
    assert found.phi_left[0] == pytest.approx(0, abs=1e-9)
    assert abs(found.phi_right[0]) == pytest.approx(np.pi)


@pytest.mark.parametrize("n", [9, 10])
def test_sinusoids_draw_the_first_order_fit(n: int) -> None:
    pre = noise(n, n, 6)
    label = np.array([1, 2, 3, 4, n // 2, 0])
    s = sinusoids(pre, label)
    drawn = s.mean + grid(
        np.hstack([wave(n, f, s.amp_left[j], s.phi_left[j]) for j, f in enumerate(label)]),
        np.hstack([wave(n, f, s.amp_right[j], s.phi_right[j]) for j, f in enumerate(label)]),
    )
    assert np.allclose(drawn, fit_sinusoids(pre, label).values, rtol=0, atol=1e-12)
    assert np.allclose(drawn, grid(*first_order(pre, label)), rtol=0, atol=1e-12)
    assert np.allclose(drawn[..., 5], pre[..., 5].mean())


@pytest.mark.parametrize("n", [9, 10])
@pytest.mark.parametrize("terms", [("a", "b"), ("a", "b", "a+b"), ("a+b", "a-b"), ("a-b",)])
def test_fits_are_least_squares_with_any_terms(n: int, terms: tuple[Term, ...]) -> None:
    pre = noise(n, n, 2)
    frequencies = (1, 3, n // 2)
    fit = fit_sinusoids(pre, frequency_mask(n, frequencies, 2), terms)
    design = [c for f in frequencies for c in columns(n, f, terms)]
    for j in range(2):
        wanted = by_lstsq(pre[..., j], design)
        assert fit.r2[j] == pytest.approx(wanted, abs=1e-12)
        rest = ((pre - fit.values)[..., j] ** 2).sum() / (
            (pre[..., j] - pre[..., j].mean()) ** 2
        ).sum()
        assert 1 - rest == pytest.approx(wanted, abs=1e-12)


def test_one_frequency_each_or_all_for_everyone() -> None:
    each = frequency_mask(9, np.array([2, 0, 4]), 3)
    assert np.argwhere(each).tolist() == [[2, 0], [4, 2]]
    everyone = frequency_mask(9, (2, 4), 3)
    assert np.argwhere(everyone).tolist() == [[f, j] for f in (2, 4) for j in range(3)]


# --- several lines --------------------------------------------------------------------------


def test_harmonics_are_counted() -> None:
    n = 91
    mixed = wave(n, 7) + wave(n, 14, 0.6) + wave(n, 21, 0.5)
    found = cyclic_neurons((np.c_[mixed, wave(n, 7)], np.c_[mixed, wave(n, 7)]))
    assert spectral_lines(found).tolist() == [3, 1]
    assert is_harmonic(found).tolist() == [True, False]
    assert spectral_lines(found, floor=0.2).tolist() == [2, 1]  # 1 : .36 : .25


def test_half_integer_frequencies_are_found_and_smeared_by_the_dft() -> None:
    n = 59
    pre = grid(wave(n, 3.5, 1.0, 0.2), wave(n, 3.5, 0.7, 1.4))[..., 0]
    both = np.stack([pre, grid(wave(n, 4), wave(n, 4))[..., 0]], 2)
    found = half_integer_fit(both)
    assert found.frequency.tolist() == [3.5, 4.0]
    assert found.r2 == pytest.approx([1, 1], abs=1e-12)
    assert found.gain[0] > 0.4 and found.gain[1] == 0
    assert cyclic_neurons(both).first[0] < 0.6
    assert is_harmonic(cyclic_neurons(both)).tolist() == [True, False]


@pytest.mark.parametrize("n", [8, 9])
def test_half_integer_fits_are_least_squares(n: int) -> None:
    pre = noise(n, n, 1)
    every = [
        by_lstsq(pre[..., 0], columns(n, q / 2, ("a", "b"))) for q in range(1, 2 * (n // 2) + 1)
    ]
    found = half_integer_fit(pre)
    assert found.r2[0] == pytest.approx(max(every))
    assert found.frequency[0] == (1 + int(np.argmax(every))) / 2
    assert found.gain[0] == pytest.approx(max(0, max(every) - max(every[1::2])))


# --- remapping ------------------------------------------------------------------------------


@pytest.mark.parametrize(("f", "n"), [(14, 59), (17, 59), (35, 91), (21, 91), (11, 66), (25, 91)])
def test_remapping_leads_to_frequency_one(f: int, n: int) -> None:
    period = step_size(f, n).period
    found = remap(wave(n, f, phase=0.7), f)
    assert found.shape == (period, 1)
    assert np.allclose(found, wave(period, 1, phase=0.7), rtol=0, atol=1e-12)


def test_the_formula_as_printed_leads_elsewhere() -> None:
    """g(x) = h(d^{-1} x), d^{-1} = f = 14, has its line at f^2 = 19 mod 59 and not at 1."""
    h = wave(59, 14)[:, 0]
    assert np.argmax(np.abs(np.fft.rfft(h[14 * np.arange(59) % 59]))) == 19


def test_remapping_along_another_axis_and_of_positions() -> None:
    h = noise(4, 59)
    assert np.array_equal(remap(h, 14, axis=1)[2], h[2][38 * np.arange(59) % 59])
    x = np.arange(59)
    assert np.array_equal(remap_positions(38 * x % 59, 14, 59), x)
    angle = 2 * np.pi * 21 * np.arange(91.0) / 91
    turned = 2 * np.pi * remap_positions(np.arange(91.0), 21, 91) / 91
    assert np.allclose(np.exp(1j * angle), np.exp(1j * turned))


# --- bad input ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pre", "says"),
    [
        (np.zeros((3, 4, 2)), r"\[n, n, m\]; this array is \[3, 4, 2\]"),
        (np.zeros((3, 3)), r"\[3, 3\]"),
        ((np.zeros((3, 2)), np.zeros((4, 2))), r"\[3, 2\] and \[4, 2\]"),
        (np.zeros((3, 3, 0)), "0 neurons"),
        (np.full((3, 3, 1), np.nan), "finite"),
    ],
)
def test_what_is_no_preactivation(pre: Any, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        cyclic_neurons(pre)


def test_what_is_no_frequency() -> None:
    pre = noise(7, 7, 2)
    with pytest.raises(BadInput, match=r"1\.\.3 \(0: none\); 4 is not"):
        sinusoids(pre, np.array([1, 4]))
    with pytest.raises(BadInput, match=r"one whole frequency per neuron, \[2\]"):
        first_order(pre, np.array([1.0, 2.0]))
    with pytest.raises(BadInput, match=r"mask \[4, 2\]"):
        fit_sinusoids(pre, np.zeros((3, 2), bool))
    with pytest.raises(BadInput, match="among 'a', 'b'"):
        fit_sinusoids(pre, np.array([1, 2]), ())
    with pytest.raises(BadInput, match="constant"):
        remap(np.zeros(7), 7)
