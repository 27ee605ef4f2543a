"""Where neurons peak, and MMD: closed form, double sums, unbiasedness, p-values under the null."""

import itertools

import numpy as np
import pytest
from scipy.special import i0

from shared.experiment.errors import BadInput
from shared.groups.pad import Estimator, mmd2_unbiased, mmd_permutation, pad_points, torus_distance
from tests.shared.groups.test_neurons import grid, noise, wave

Array = np.ndarray


def uniform(m: int, n: float, seed: int) -> Array:
    return np.random.default_rng(seed).uniform(0, n, (m, 2))


def kernel(x: Array, y: Array, n: int, kappa: float) -> Array:
    apart = 2 * np.pi * (x[:, None] - y) / n
    return np.exp(kappa * (np.cos(apart).sum(axis=2) - 2))


# --- points ---------------------------------------------------------------------------------


@pytest.mark.parametrize("frequency", [1, 6, 29])
def test_a_neuron_peaks_where_its_phases_say(frequency: int) -> None:
    """phi = -2 pi 10 / 59 puts the peak at (10, 10) of frequency 1, whatever f."""
    side = wave(59, frequency, phase=-2 * np.pi * 10 / 59)
    label = np.array([frequency])
    for pre in ((side, side), grid(side, side)):
        assert pad_points(pre, label).tolist() == [[10, 10]]
        centroid = pad_points(pre, label, "centroid")
        assert np.allclose(centroid, [[10, 10]], rtol=0, atol=1e-6)
    raw = pad_points((side, side), label, remap=False)[0, 0]
    assert frequency * raw % 59 == 10
    assert (raw == 10) == (frequency == 1)


@pytest.mark.parametrize("estimator", ["argmax", "centroid"])
@pytest.mark.parametrize("remap", [True, False])
def test_parts_and_grid_give_the_same_points(estimator: Estimator, remap: bool) -> None:
    left, right = noise(12, 9), noise(12, 9, seed=1)
    label = np.arange(9) % 6 + 1
    found = pad_points((left, right), label, estimator, remap)
    assert np.allclose(found, pad_points(grid(left, right), label, estimator, remap))
    assert found.min() >= 0 and found.max() < 12
    if estimator == "argmax":
        a, b = pad_points((left, right), label, remap=False).astype(int).T
        assert np.array_equal(grid(left, right)[a, b, np.arange(9)], (left.max(0) + right.max(0)))


def test_the_centroid_by_its_definition() -> None:
    pre = noise(7, 7, 3)
    label = np.array([1, 2, 3])
    found = pad_points(pre, label, "centroid")
    active = np.maximum(pre, 0)
    for j, f in enumerate(label):
        total_a = sum(active[a, b, j] * np.exp(2j * np.pi * f * a / 7)
                      for a in range(7) for b in range(7))  # fmt: skip
        total_b = sum(active[a, b, j] * np.exp(2j * np.pi * f * b / 7)
                      for a in range(7) for b in range(7))  # fmt: skip
        wanted = np.angle([total_a, total_b]) * 7 / (2 * np.pi) % 7
        assert found[j] == pytest.approx(wanted)
    assert np.isnan(pad_points(-np.abs(pre), label, "centroid")).all()


def test_distances_to_the_diagonal() -> None:
    pairs = np.array([[0, 58], [3, 3], [0, 29], [0, 30], [58.5, 0.5]])
    assert torus_distance(pairs, 59) == pytest.approx([1, 0, 29, 29, 1])
    every = np.array(list(itertools.product(range(59), repeat=2)))
    assert torus_distance(every, 59).mean() == pytest.approx(14.7458, abs=5e-5)


# --- MMD ------------------------------------------------------------------------------------


def test_mmd_of_the_diagonal_and_the_uniform_law() -> None:
    """e^{-2} I_0(2) - (e^{-1} I_0(1))^2 for kappa = 1."""
    wanted = np.exp(-2) * i0(2) - (np.exp(-1) * i0(1)) ** 2
    assert wanted == pytest.approx(0.0915763, abs=1e-7)
    diagonal = np.repeat(uniform(2000, 59, 0)[:, :1], 2, axis=1)
    assert mmd2_unbiased(diagonal, uniform(2000, 59, 1), 59) == pytest.approx(wanted, abs=3e-3)


@pytest.mark.parametrize("kappa", [0.25, 1.0, 4.0, 50.0])
def test_mmd_is_its_double_sum(kappa: float) -> None:
    x, y = uniform(30, 13, 0), uniform(20, 6, 1)
    xx, yy, xy = (kernel(*pair, 13, kappa) for pair in ((x, x), (y, y), (x, y)))
    within = (xx.sum() - 30) / (30 * 29) + (yy.sum() - 20) / (20 * 19)
    wanted = within - 2 * xy.mean()
    assert mmd2_unbiased(x, y, 13, kappa) == pytest.approx(wanted, abs=1e-13)
    assert mmd2_unbiased(y, x, 13, kappa) == pytest.approx(wanted, abs=1e-13)
    assert mmd2_unbiased(x + 5, (y + 5) % 13, 13, kappa) == pytest.approx(wanted, abs=1e-13)


def test_mmd_is_unbiased() -> None:
    """Of two halves of one law it is 0 on average, and negative about as often as not."""
    values = np.array([mmd2_unbiased(uniform(20, 59, i), uniform(15, 59, 10_000 + i), 59)
                       for i in range(400)])  # fmt: skip
    assert abs(values.mean()) < 3 * values.std() / 20
    assert 0.4 < (values < 0).mean() < 0.8


def test_networks_of_one_neuron_are_a_sample_of_points() -> None:
    x, y = uniform(9, 20, 0), uniform(7, 40, 1)
    found = mmd_permutation([p[None] for p in x], [p[None] for p in y], 59, seed=0)
    assert found.value == pytest.approx(mmd2_unbiased(x, y, 59), abs=1e-13)


def networks(count: int, seed: int, spread: float = 2.0, diagonal: bool = False) -> list[Array]:
    """Each network's neurons lie around a place of its own, so they are far from independent."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        centre = rng.uniform(0, 59, 2)
        if diagonal:
            centre[1] = centre[0]
        found.append((centre + spread * rng.normal(size=(rng.integers(5, 15), 2))) % 59)
    return found


def test_the_law_of_networks_is_unbiased_though_neurons_depend_on_each_other() -> None:
    by_network, by_neuron = [], []
    for i in range(300):
        p, q = networks(4, i), networks(5, 10_000 + i)
        by_network.append(mmd_permutation(p, q, 59, permutations=1, seed=0).value)
        by_neuron.append(mmd2_unbiased(np.concatenate(p), np.concatenate(q), 59))
    error = np.std(by_network) / np.sqrt(300)
    assert abs(np.mean(by_network)) < 3 * error
    assert np.mean(by_neuron) > 10 * error  # taking neurons for independent is biased


def test_p_values_are_uniform_under_the_null() -> None:
    """Exact (4 + 4 networks, 70 splits) and by random splits; level 0.2 and the mean."""
    for most, size in ((1000, 4), (99, 5)):
        p = np.array(
            [
                mmd_permutation(p, q, 59, permutations=most, seed=i).p
                for i in range(200)
                for p, q in [(networks(size, i), networks(size, 10_000 + i))]
            ]
        )
        assert p.min() > 0 and p.max() <= 1
        assert (p <= 0.2).mean() == pytest.approx(0.2, abs=3.3 * np.sqrt(0.2 * 0.8 / 200))
        assert p.mean() == pytest.approx(0.5, abs=0.07)


def test_laws_that_differ_are_told_apart() -> None:
    found = mmd_permutation(networks(6, 0, diagonal=True), networks(6, 1), 59, seed=0)
    assert found.value > 0.03 and found.p < 0.05 and found.permutations == 924
    again = mmd_permutation(networks(6, 0, diagonal=True), networks(6, 1), 59, seed=5)
    assert again == found  # all splits: nothing is random
    p, q = networks(9, 0, diagonal=True), networks(9, 1)
    sampled = [mmd_permutation(p, q, 59, permutations=200, seed=s).p for s in (0, 0, 1)]
    assert sampled[0] == sampled[1] != sampled[2]
    assert max(sampled) < 0.1


def test_bad_input() -> None:
    pre = noise(7, 7, 2)
    with pytest.raises(BadInput, match=r"a frequency in 1\.\.3; got 0"):
        pad_points(pre, np.array([0, 1]))
    with pytest.raises(BadInput, match=r"Every one of the 2 neurons .* got \[1\]"):
        pad_points(pre, np.array([1]))
    with pytest.raises(BadInput, match=r"two points or more on each side; got 1"):
        mmd2_unbiased(noise(1, 2), noise(5, 2), 7)
    with pytest.raises(BadInput, match="kappa"):
        mmd2_unbiased(noise(5, 2), noise(5, 2), 7, 0.0)
    with pytest.raises(BadInput, match="each side; got 1 and 2"):
        mmd_permutation([noise(3, 2)], [noise(3, 2)] * 2, 7, seed=0)
    with pytest.raises(BadInput, match="one permutation or more, not 0"):
        mmd_permutation([noise(3, 2)] * 2, [noise(3, 2)] * 2, 7, seed=0, permutations=0)
    with pytest.raises(BadInput, match=r"\[m, 2\] with m >= 1; got \[0, 2\]"):
        mmd_permutation([noise(3, 2)] * 2, [noise(0, 2)] * 2, 7, seed=0)
    with pytest.raises(BadInput, match="finite"):
        mmd2_unbiased(np.full((3, 2), np.nan), noise(5, 2), 7)
    with pytest.raises(BadInput, match=r"\[\.\.\., 2\]"):
        torus_distance(noise(5, 3), 7)
