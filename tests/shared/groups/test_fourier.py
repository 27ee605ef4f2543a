"""The group Fourier transform against numpy's, hand-computed values, and brute force."""

import itertools

import numpy as np
import pytest

from shared.experiment.errors import BadInput
from shared.groups.fourier import convolve, energy, energy2, gft, igft, isotypic_projection
from shared.groups.group import Group
from shared.groups.irreps import complex_irreps, real_irreps
from tests.shared.groups.known import SMALL, from_its_table, group

K = np.arange(5.0)
ON_D5 = np.r_[K, K**2]  # f(r^k) = k, f(s r^k) = k^2


def noise(made: Group, *batch: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(made.order, *batch))


# --- by hand --------------------------------------------------------------------------------


def test_a_function_on_d5_by_hand() -> None:
    made = group("D5")
    found = gft(made, ON_D5)
    assert list(found) == ["triv", "sign", "2D_1", "2D_2"]
    assert found["triv"] == pytest.approx(40)
    assert found["sign"] == pytest.approx(-20)
    expected = [[-7.763932, 20.645729], [13.763819, 2.763932]]
    assert np.allclose(found["2D_1"], expected, rtol=0, atol=1e-6)
    expected = [[-12.236068, 4.873795], [3.249197, 7.236068]]
    assert np.allclose(found["2D_2"], expected, rtol=0, atol=1e-6)
    assert energy(made, ON_D5).sum() == pytest.approx(384)


def test_a_convolution_on_d5_by_hand_and_its_order() -> None:
    made = group("D5")
    h = np.cos(np.arange(10.0))
    found = convolve(made, ON_D5, h)
    expected = [-13.632665, -8.431527, 10.745065, 21.97737]
    assert np.allclose(found[:4], expected, rtol=0, atol=1e-5)
    f_hat, h_hat, both = gft(made, ON_D5), gft(made, h), gft(made, found)
    for name in both:
        assert np.allclose(both[name], f_hat[name] @ h_hat[name], rtol=0, atol=1e-10)
        reversed_too = np.allclose(both[name], h_hat[name] @ f_hat[name], atol=1e-3)
        assert reversed_too == (not name.startswith("2D"))


# --- cyclic groups are numpy's FFT ----------------------------------------------------------


@pytest.mark.parametrize("n", [2, 7, 12])
def test_on_a_cyclic_group_it_is_the_fft(n: int) -> None:
    made = group(f"Z{n}")
    f = noise(made) + 1j * noise(made, seed=1)
    found = gft(made, f, complex_irreps(made))
    fft = np.fft.fft(f)
    for frequency, rho in enumerate(complex_irreps(made)):
        assert np.allclose(found[rho.name][0, 0], fft[-frequency], rtol=0, atol=1e-12)


@pytest.mark.parametrize("n", [7, 12])
def test_real_energies_are_those_of_f_and_minus_f_together(n: int) -> None:
    made = group(f"Z{n}")
    f = noise(made)
    power = np.abs(np.fft.rfft(f)) ** 2 / n
    power[1 : (n + 1) // 2] *= 2
    assert np.allclose(energy(made, f), power, rtol=0, atol=1e-12)


def test_energies_on_pairs_are_the_two_dimensional_fft() -> None:
    made = group("Z6")
    f = np.random.default_rng(0).normal(size=(6, 6))
    power = np.abs(np.fft.fft2(f)) ** 2 / 36
    assert np.allclose(
        energy2(made, f, complex_irreps(made)), power[np.ix_(-np.arange(6), -np.arange(6))]
    )
    fold = np.array(
        [[1, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 1], [0, 0, 1, 0, 1, 0], [0, 0, 0, 1, 0, 0]]
    )
    assert np.allclose(energy2(made, f), fold @ power @ fold.T)


# --- any group ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("irreps_of", [complex_irreps, real_irreps])
def test_inversion_and_plancherel(name: str, irreps_of) -> None:
    made = group(name)
    irreps = irreps_of(made)
    f = noise(made, 2, 3) + 1j * noise(made, 2, 3, seed=1)
    back = igft(made, gft(made, f, irreps), irreps)
    assert back.shape == f.shape
    assert np.abs(back - f).max() < 1e-11
    energies = energy(made, f, irreps)
    assert energies.shape == (len(irreps), 2, 3)
    assert np.allclose(energies.sum(0), (np.abs(f) ** 2).sum(0), rtol=1e-10)
    assert np.allclose(energies[0], made.order * np.abs(f.mean(0)) ** 2)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("irreps_of", [complex_irreps, real_irreps])
def test_isotypic_parts(name: str, irreps_of) -> None:
    made = group(name)
    irreps = irreps_of(made)
    f = noise(made, 2)
    coefficients, energies = gft(made, f, irreps), energy(made, f, irreps)
    parts = [isotypic_projection(made, f, rho) for rho in irreps]
    assert np.allclose(sum(parts), f)
    for i, (rho, part) in enumerate(zip(irreps, parts, strict=True)):
        assert np.allclose(part, igft(made, {rho.name: coefficients[rho.name]}, irreps))
        assert np.allclose((np.abs(part) ** 2).sum(0), energies[i])  # energies are squared norms
        assert np.allclose(isotypic_projection(made, part, rho), part)
        others = np.delete(energy(made, part, irreps), i, axis=0)
        assert np.abs(others).max() < 1e-20


@pytest.mark.parametrize("name", ["D7", "S4", "Q8", "SL(2,3)", "A4"])
def test_energies_ignore_translations_from_either_side_and_the_basis(name: str) -> None:
    made = from_its_table(name)
    f = noise(made)
    known = energy(made, f)
    for g in range(0, made.order, 3):
        assert np.allclose(energy(made, f[made.table[g]]), known)
        assert np.allclose(energy(made, f[made.table[:, g]]), known)
    assert np.allclose(energy(made, f, real_irreps(made, 5)), known)


@pytest.mark.parametrize("name", ["Z7", "D4", "Q8", "A4"])
def test_convolution_by_brute_force_and_its_theorem(name: str) -> None:
    made = group(name)
    f, h = noise(made), noise(made, seed=1)
    expected = np.zeros(made.order)
    for a, b in itertools.product(range(made.order), repeat=2):
        expected[made.table[a, b]] += f[a] * h[b]
    found = convolve(made, f, h)
    assert np.allclose(found, expected)
    for irreps in (complex_irreps(made), real_irreps(made)):
        f_hat, h_hat = gft(made, f, irreps), gft(made, h, irreps)
        for key, value in gft(made, found, irreps).items():
            assert np.allclose(value, f_hat[key] @ h_hat[key])


# --- functions of two inputs ----------------------------------------------------------------


@pytest.mark.parametrize("name", ["D5", "Z6", "Q8", "A4"])
def test_energies_of_pairs_are_norms_of_projections_along_both_axes(name: str) -> None:
    made = group(name)
    irreps = real_irreps(made)
    f = np.random.default_rng(0).normal(size=(made.order, made.order, 2))
    found = energy2(made, f)
    assert found.shape == (len(irreps), len(irreps), 2)
    assert np.allclose(found.sum((0, 1)), (f**2).sum((0, 1)))
    for (i, rho), (j, sigma) in itertools.product(enumerate(irreps), repeat=2):
        part = isotypic_projection(made, f, rho)
        part = isotypic_projection(made, part.swapaxes(0, 1), sigma)
        assert np.allclose(found[i, j], (part**2).sum((0, 1)))


@pytest.mark.parametrize("irreps_of", [complex_irreps, real_irreps])
@pytest.mark.parametrize("name", ["D5", "Z6", "A4", "Q8"])
def test_sums_lie_on_the_axes_and_products_on_the_diagonal(name: str, irreps_of) -> None:
    made = group(name)
    irreps = irreps_of(made)
    left, right = noise(made), noise(made, seed=1)
    additive = energy2(made, left[:, None] + right, irreps)
    assert np.abs(additive[1:, 1:]).max() < 1e-20
    assert np.allclose(additive[1:, 0], made.order * energy(made, left, irreps)[1:])
    assert np.allclose(additive[0, 1:], made.order * energy(made, right, irreps)[1:])
    of_product = energy2(made, left[made.table], irreps)
    assert np.allclose(np.diag(of_product), made.order * energy(made, left, irreps))
    assert np.abs(of_product - np.diag(np.diag(of_product))).max() < 1e-20


# --- what is refused ------------------------------------------------------------------------


def test_wrong_shapes_and_names() -> None:
    made = group("D5")
    with pytest.raises(BadInput, match=r"D5 begins with 1 axis of length 10; this array is \[9\]"):
        gft(made, np.zeros(9))
    with pytest.raises(BadInput, match=r"2 axes of length 10; this array is \[10, 9\]"):
        energy2(made, np.zeros((10, 9)))
    with pytest.raises(BadInput, match="D5 has no irrep '2D_3'; it has triv, sign, 2D_1, 2D_2"):
        igft(made, {"2D_3": np.zeros((2, 2))})
    with pytest.raises(BadInput, match=r"2D_1 begins with \[2, 2\]; this one is \[1, 1\]"):
        igft(made, {"2D_1": np.zeros((1, 1))})
    with pytest.raises(BadInput, match="no coefficient"):
        igft(made, {})
