"""Modular addition by approximate cosets, by hand: run `python` or `pytest` on this file."""

import math

import numpy as np

from papers.modular_crt.method import (
    acrt_network,
    approximate_coset,
    cayley_distance,
    disc_phases,
    equivariance_error,
    fit_simple,
    gap_probability,
    ideal_gap,
    is_approximate_coset,
    is_fine_tuning,
    log_fit,
    logits,
    margins,
    min_frequencies,
    positive_set,
    preactivations,
    remap,
    score,
    sinusoidal_crt,
    step_size,
    substitute,
)


def test_step_sizes_and_remapping():
    pairs = {(14, 59): 38, (17, 59): 7, (11, 66): 1, (11, 67): 61, (21, 91): 9, (35, 91): 8}
    assert {pair: step_size(*pair) for pair in pairs} == pairs
    wave = np.cos(2 * np.pi * 35 * np.arange(91) / 91 + 0.3)
    power = np.abs(np.fft.rfft(remap(wave, 35, 91))) ** 2
    assert len(power) == 7 and power.argmax() == 1
    assert power[1] > (1 - 1e-12) * power.sum()


def test_approximate_cosets():
    for (f, n), size in {(14, 59): 29, (11, 67): 33, (11, 66): 33, (15, 59): 29}.items():
        on = positive_set(f, n, 3)
        assert len(on) == size and is_approximate_coset(on, f, n)
        period = n // math.gcd(f, n)
        reach = (period - 1) // 4
        assert sorted(on) == approximate_coset(3, f, n, reach, reach)
        assert not is_approximate_coset(on - {3}, f, n) or reach == 0
    assert cayley_distance(0, 38, 14, 59) == 1
    assert cayley_distance(0, 6, 11, 66) == 0


def test_margin_theorem():
    np.testing.assert_allclose(min_frequencies(59, math.pi / math.e**3, 0.5), math.log(59))
    np.testing.assert_allclose(ideal_gap(59, (5, 8, 14, 20, 27))[0], 2.3922420, atol=1e-6)
    np.testing.assert_allclose(ideal_gap(59, range(1, 30))[0], 29.5)
    p = gap_probability(59, 5, 0.1564, 4000, np.random.default_rng(0))
    assert abs(p - 0.964) < 0.012


def test_fits_and_their_substitution():
    x = 2 * np.pi * 9 * np.arange(66) / 66
    pre = (1.3 * np.cos(x + 0.4)[:, None] + 0.8 * np.cos(x - 1.1) + 0.5)[..., None]
    fit = fit_simple(pre)
    assert fit.freq[0] == 9
    np.testing.assert_allclose(fit.r2, 1, atol=1e-12)
    np.testing.assert_allclose(fit.amplitudes[0], [1.3, 0.8], atol=1e-10)
    np.testing.assert_allclose(fit.phases[0], [0.4, -1.1], atol=1e-10)
    net = acrt_network(13, (2, 3), 5)
    fit = fit_simple(preactivations(net))
    np.testing.assert_array_equal(fit.freq, net.freq)
    accuracy, loss = substitute(net, None, fit)
    np.testing.assert_allclose((accuracy, loss), score(logits(net)), atol=1e-10)
    assert accuracy == 1
    assert substitute(net, None, fit_simple(preactivations(net), freqs=(5,)))[0] < 0.5


def test_hand_built_networks():
    crt = sinusoidal_crt(91, (7, 13))
    assert len(crt.freq) == 20 and set(crt.freq) == {13, 7}
    answers = logits(crt)
    assert score(answers)[0] == 1
    np.testing.assert_allclose(margins(answers).min(), 0.11454, atol=1e-5)
    assert answers[3, 7].argmax() == 10  # 3 mod 7 and 10 mod 13
    for phases, error in ((5, 0.006156), (8, 0.000769)):
        found = equivariance_error(logits(acrt_network(59, (1,), phases)))
        np.testing.assert_allclose(found, error, atol=1e-6)
    disc = equivariance_error(logits(acrt_network(59, (1,), 8, disc_phases)))
    np.testing.assert_allclose(disc, 0.39246, atol=1e-5)


def test_fine_tuning_and_growth():
    x = 2 * np.pi * np.arange(31) / 31
    tuned = sum(np.cos(k * 4 * x) for k in (1, 2, 3))
    pure = np.cos(4 * x)
    unrelated = np.cos(4 * x) + np.cos(5 * x) + np.cos(14 * x)
    pre = np.stack([tuned, pure, unrelated], axis=-1)[:, None] + np.zeros((31, 31, 1))
    power = np.abs(np.fft.fft2(pre, axes=(0, 1))) ** 2
    np.testing.assert_array_equal(is_fine_tuning(power), [True, False, False])
    fit = log_fit([7, 13, 59, 91], 1 + np.log([7, 13, 59, 91]))
    np.testing.assert_allclose([fit["alpha"], fit["beta"], fit["r2_log"]], 1, atol=1e-12)
    assert fit["r2_linear"] < 1


if __name__ == "__main__":
    tests = [test for name, test in sorted(globals().items()) if name.startswith("test_")]
    for test in tests:
        test()
    print(f"{len(tests)} tests passed")
