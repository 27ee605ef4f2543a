"""Neurons on any group: hand-built ones are found, cyclic ones are those of the DFT."""

import numpy as np
import pytest

from shared.experiment.errors import BadInput
from shared.groups.clusters import find_clusters
from shared.groups.fourier import energy2
from shared.groups.irreps import real_irreps
from shared.groups.isotypic import irrep_first_order, irrep_neurons, irrep_shares
from shared.groups.neurons import cyclic_neurons, first_order
from tests.shared.groups.built import by_irreps, features
from tests.shared.groups.known import from_its_table, group
from tests.shared.groups.test_neurons import grid, noise, same

NON_ABELIAN = ["D5", "D12", "S4", "SL(2,3)", "Q8", "A5"]


@pytest.mark.parametrize("n", [7, 12])
@pytest.mark.parametrize("additive", [True, False])
def test_on_a_cyclic_group_it_is_the_dft(n: int, additive: bool) -> None:
    left, right = noise(n, 15), noise(n, 15, seed=1)
    left[:, 0] = 0.3
    pre = (left, right) if additive else grid(left, right) + noise(n, n, 15, seed=2)
    same(irrep_neurons(group(f"Z{n}"), pre), cyclic_neurons(pre))
    label = cyclic_neurons(pre).label
    for x, y in zip(
        irrep_first_order(group(f"Z{n}"), pre, label), first_order(pre, label), strict=True
    ):
        assert np.allclose(x, y, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", NON_ABELIAN)
def test_every_irrep_is_found_under_noise(name: str) -> None:
    made = group(name)
    labels = np.tile(np.arange(1, len(real_irreps(made))), 6)
    found = irrep_neurons(made, features(made, labels.tolist(), 0.1, seed=3))
    assert np.array_equal(found.label, labels)
    assert found.agree.all() and found.alive.all()
    assert found.first.min() > 0.93
    exact = irrep_neurons(made, features(made, labels.tolist(), 0.0, seed=3))
    assert np.allclose(exact.first, 1, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["D5", "SL(2,3)"])
def test_parts_and_grid_give_the_same(name: str) -> None:
    made = group(name)
    left, right = noise(made.order, 9), noise(made.order, 9, seed=1)
    same(irrep_neurons(made, (left, right)), irrep_neurons(made, grid(left, right)))


def test_the_basis_of_a_numerical_irrep_does_not_matter() -> None:
    """D_7 from its table has other matrices and another order of irreps: the same shares."""
    pre = noise(14, 8), noise(14, 8, seed=1)
    known, table = (irrep_neurons(g, pre) for g in (group("D7"), from_its_table("D7")))
    sort = [np.sort(found.first_shares, axis=0) for found in (known, table)]
    assert np.allclose(*sort, rtol=0, atol=1e-9)
    assert np.allclose(known.first, table.first, rtol=0, atol=1e-9)


def test_first_order_shares_are_r2_of_least_squares() -> None:
    made = group("S4")
    pre = noise(24, 24, 3)
    found = irrep_neurons(made, pre)
    for j in range(3):
        rho = real_irreps(made)[found.label[j]].mats.reshape(24, -1)
        design = np.concatenate(
            [np.repeat(rho, 24, 0), np.tile(rho, (24, 1)), np.ones((576, 1))], 1
        )
        y = pre[..., j].ravel()
        rest = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
        assert found.first[j] == pytest.approx(1 - rest @ rest / (24**2 * y.var()))
        fit = grid(*irrep_first_order(made, pre, found.label))[..., j].ravel()
        assert np.allclose(fit, y - rest, rtol=0, atol=1e-10)


def test_second_order_shares_are_the_diagonal_of_the_energies_on_pairs() -> None:
    made = group("D5")
    pre = noise(10, 10, 4)
    found = irrep_neurons(made, pre)
    every = energy2(made, pre - pre.mean(axis=(0, 1))) / 100 / pre.var(axis=(0, 1))
    for i in range(1, 4):
        assert np.allclose(found.second_shares[i], every[i, i])
        assert np.allclose(found.first_shares[i], every[i, 0] + every[0, i])


@pytest.mark.parametrize("name", ["D7", "S4", "SL(2,3)"])
def test_a_function_of_the_product_has_second_order_only(name: str) -> None:
    made = group(name)
    label = len(real_irreps(made)) - 1
    left, _ = features(made, [label] * 3, 0.0, seed=0)
    found = irrep_neurons(made, left[made.table])
    assert found.label.tolist() == [label] * 3
    assert np.allclose(found.second, 1) and np.allclose(found.first, 0)
    assert not found.agree.any()


def test_sides_with_different_irreps_do_not_agree() -> None:
    made = group("D9")
    left, _ = features(made, [2, 3], 0.0, seed=0)
    _, right = features(made, [2, 4], 0.0, seed=1)
    found = irrep_neurons(made, (left, 0.5 * right))
    assert found.left_label.tolist() == [2, 3] and found.right_label.tolist() == [2, 4]
    assert found.agree.tolist() == [True, False]
    assert found.first[1] == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("name", "irreps"),
    [
        ("D18", ["2D_4", "2D_5", "2D_6", "rp"]),
        ("D17", ["2D_3", "2D_4", "2D_5"]),
        ("D24", ["2D_2", "2D_3", "2D_8", "rp", "srp"]),
    ],
)
def test_a_network_that_is_written_down_is_read_back(name: str, irreps: list[str]) -> None:
    made = group(name)
    left, right, out = by_irreps(made, irreps)
    found = irrep_neurons(made, (left, right))
    clusters = find_clusters(found, found.alive & found.agree)
    assert sorted(clusters.names(made)) == sorted(irreps)
    assert clusters.kept == len(out) and np.allclose(clusters.r2, 1)
    assert np.array_equal(irrep_shares(made, out.T).argmax(axis=0), found.label)


def test_relabelling_by_an_automorphism_moves_the_label() -> None:
    """r -> r^5 on D_18 turns 2D_k into 2D_{5k}, folded to 1..8; shares are unchanged."""
    made = group("D18")
    moved = np.r_[5 * np.arange(18) % 18, 18 + 5 * np.arange(18) % 18]
    left, right, _ = by_irreps(made, ["2D_4", "2D_5", "2D_6", "rp"])
    found = irrep_neurons(made, (left[moved], right[moved]))
    assert set(find_clusters(found).names(made)) == {"2D_2", "2D_7", "2D_6", "rp"}
    assert np.allclose(found.first, 1)


@pytest.mark.parametrize(("name", "pure"), [("D18", 0.5), ("S4", 0.9), ("SL(2,3)", 0.9)])
def test_nothing_is_found_in_random_neurons(name: str, pure: float) -> None:
    made = group(name)
    found = irrep_neurons(made, (noise(made.order, 400), noise(made.order, 400, seed=1)))
    assert len(find_clusters(found, found.alive & found.agree & (found.first >= pure))) == 0
    assert found.agree.mean() < 0.6


def test_shares_of_output_weights() -> None:
    made = group("S4")
    f = noise(24, 5) + 3
    f[:, 4] = 2.0
    found = irrep_shares(made, f)
    assert np.allclose(found.sum(axis=0), [1, 1, 1, 1, 0])
    assert np.all(found[0] == 0)


def test_bad_input() -> None:
    made = group("D5")
    with pytest.raises(BadInput, match="D5 has 10 elements; these neurons see 7"):
        irrep_neurons(made, noise(7, 7, 2))
    with pytest.raises(BadInput, match=r"among 0\.\.3"):
        irrep_first_order(made, noise(10, 10, 2), np.array([1, 4]))
    with pytest.raises(BadInput, match=r"are \[10, m\]; got \[3, 2\]"):
        irrep_shares(made, noise(3, 2))
