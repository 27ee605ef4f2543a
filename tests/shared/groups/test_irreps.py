"""Irreps: character tables by hand, all pairs by brute force, closed forms against the numbers."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.experiment.errors import BadInput
from shared.groups.group import Group, product, symmetric
from shared.groups.irreps import (
    Irrep,
    character_table,
    check_irreps,
    common_kernel,
    complex_irreps,
    conjugacy_classes,
    frobenius_schur,
    real_irreps,
    squared_distances,
)
from tests.shared.groups.known import SMALL, from_its_table, group

Complete = Callable[[Group], tuple[Irrep, ...]]


def named(made: Group, name: str) -> Irrep:
    return next(rho for rho in real_irreps(made) if rho.name == name)


def same_rows(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two sets of characters over all elements are the same up to order."""
    products = np.abs(a @ b.conj().T) / a.shape[1]
    return bool(np.isin(np.round(products, 9), [0, 1]).all() and np.allclose(products.sum(0), 1))


# --- the defining properties ----------------------------------------------------------------


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("irreps_of", [complex_irreps, real_irreps])
def test_homomorphism_and_unitarity_for_all_pairs(name: str, irreps_of: Complete) -> None:
    made = group(name)
    for rho in irreps_of(made):
        products = np.einsum("aij,bjk->abik", rho.mats, rho.mats)
        assert np.abs(rho.mats[made.table] - products).max() < 1e-12
        gram = np.einsum("aij,akj->aik", rho.mats, rho.mats.conj())
        assert np.abs(gram - np.eye(rho.dim)).max() < 1e-12


@pytest.mark.parametrize("name", [*SMALL, "SL(2,5)", "S5"])
def test_dimensions_orthogonality_and_number(name: str) -> None:
    made = group(name)
    over_c, over_r = complex_irreps(made), real_irreps(made)
    assert sum(rho.dim**2 for rho in over_c) == made.order
    assert sum(rho.dim * rho.weight for rho in over_r) == made.order
    assert len(over_c) == len(conjugacy_classes(made)[1])
    assert over_c[0].name == over_r[0].name == "triv"
    assert np.array_equal(over_c[0].mats, np.ones((made.order, 1, 1)))
    assert len({rho.name for rho in over_c}) == len(over_c)
    check_irreps(made, over_c)
    check_irreps(made, over_r)


@pytest.mark.parametrize("name", ["D5", "D4", "Q8", "A4", "SL(2,3)"])
def test_schur_orthogonality_of_matrix_entries(name: str) -> None:
    made = group(name)
    over_c = complex_irreps(made)
    entries = np.concatenate(
        [rho.mats.reshape(made.order, -1) * np.sqrt(rho.dim / made.order) for rho in over_c], axis=1
    )
    assert entries.shape == (made.order, made.order)
    assert np.abs(entries.conj().T @ entries - np.eye(made.order)).max() < 1e-12


# --- from the table alone -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Z7", "Z12", "D7", "D12", "Z4xZ9", "Z2xZ2xZ3", "D3xZ4"])
def test_closed_forms_and_numbers_from_the_table_agree(name: str) -> None:
    closed, numerical = group(name), from_its_table(name)
    check_irreps(numerical, complex_irreps(numerical))
    check_irreps(numerical, real_irreps(numerical))
    assert same_rows(*(np.array([rho.character for rho in complex_irreps(made)])
                       for made in (closed, numerical)))  # fmt: skip
    kinds = sorted(rho.kind for rho in complex_irreps(closed))
    assert kinds == sorted(rho.kind for rho in complex_irreps(numerical))


def test_a_seed_gives_the_same_bits_and_another_seed_only_another_basis() -> None:
    made = from_its_table("S4")
    same = dataclasses.replace(made)  # another object: nothing is remembered
    for rho, again, other in zip(
        complex_irreps(made, 3), complex_irreps(same, 3), complex_irreps(made, 4), strict=True
    ):
        assert np.array_equal(rho.mats, again.mats)
        assert rho.name == other.name
        assert np.allclose(rho.character, other.character, rtol=0, atol=1e-12)
        assert rho.dim == 1 or np.abs(rho.mats - other.mats).max() > 1e-3


@given(st.permutations(range(1, 12)), st.sampled_from(["A4", "D6", "Z2xZ6"]))
@settings(max_examples=15, deadline=None)
def test_renaming_the_elements_renames_the_characters(order: list[int], name: str) -> None:
    made = group(name)
    new = np.array([0, *order])  # new[x] is the new index of x
    table = np.empty_like(made.table)
    table[np.ix_(new, new)] = new[made.table]
    inverse = np.empty_like(made.inverse)
    inverse[new] = new[made.inverse]
    renamed = Group("renamed", 12, table, inverse, made.elements)
    check_irreps(renamed, complex_irreps(renamed))
    back = np.array([rho.character[new] for rho in complex_irreps(renamed)])
    known = np.array([rho.character for rho in complex_irreps(made)])
    assert same_rows(back, known)


# --- by hand --------------------------------------------------------------------------------


def test_character_table_of_s3() -> None:
    made = group("S3")
    _, representatives = conjugacy_classes(made)
    assert [made.elements[g] for g in representatives] == ["e", "(2 3)", "(1 2 3)"]
    assert np.allclose(character_table(made), [[1, 1, 1], [1, -1, 1], [2, 0, -1]])


def test_character_table_of_d4() -> None:
    made = group("D4")
    _, representatives = conjugacy_classes(made)
    assert [made.elements[g] for g in representatives] == ["e", "r", "r2", "s", "sr"]
    assert [rho.name for rho in complex_irreps(made)] == ["triv", "sign", "rp", "srp", "2D_1"]
    assert np.allclose(
        character_table(made),
        [
            [1, 1, 1, 1, 1],
            [1, 1, 1, -1, -1],
            [1, -1, 1, 1, -1],
            [1, -1, 1, -1, 1],
            [2, 0, -2, 0, 0],
        ],
    )


def test_q8_has_the_characters_of_d4_and_another_kind() -> None:
    made = group("Q8")
    _, representatives = conjugacy_classes(made)
    assert [made.elements[g] for g in representatives] == ["1", "-1", "i", "j", "k"]
    expected = [[1, 1, 1, 1, 1], [1, 1, 1, -1, -1], [1, 1, -1, 1, -1], [1, 1, -1, -1, 1],
                [2, -2, 0, 0, 0]]  # fmt: skip
    assert np.allclose(character_table(made), expected)
    assert [rho.kind for rho in complex_irreps(made)] == ["real"] * 4 + ["quaternionic"]
    assert frobenius_schur(made, complex_irreps(made)[-1].character) == -1
    quaternions = real_irreps(made)[-1]
    assert (quaternions.dim, quaternions.commutant, quaternions.weight) == (4, 4, 1)
    i, j, k = (quaternions.mats[made.elements.index(unit)] for unit in "ijk")
    assert np.allclose(i @ j, k)
    assert np.allclose(j @ i, -k)
    assert np.allclose(i @ i, -np.eye(4))


def test_characters_of_a4_have_cube_roots_of_unity() -> None:
    w = np.exp(2j * np.pi / 3)
    made = group("A4")  # classes: e, (2 3 4), (2 4 3), (1 2)(3 4)
    expected = [[1, 1, 1, 1], [1, w, w**2, 1], [1, w**2, w, 1], [3, 0, 0, -1]]
    assert np.allclose(character_table(made), expected)
    assert [rho.name for rho in complex_irreps(made)] == ["triv", "1D_1", "1D_1'", "3D_1"]
    assert [(rho.name, rho.dim, rho.kind) for rho in real_irreps(made)] == [
        ("triv", 1, "real"), ("1D_1", 2, "complex"), ("3D_1", 3, "real")]  # fmt: skip


def test_characters_of_a5_have_the_golden_ratio() -> None:
    phi = (1 + np.sqrt(5)) / 2
    table = character_table(group("A5"))
    # classes: e, 3-cycles, double transpositions, and the 5-cycles in two halves
    assert np.allclose(
        table,
        [[1, 1, 1, 1, 1], [3, 0, -1, phi, 1 - phi], [3, 0, -1, 1 - phi, phi],
         [4, 1, 0, -1, -1], [5, -1, 1, 0, 0]],
    )  # fmt: skip


def test_kinds_of_sl23() -> None:
    found = [(rho.dim, rho.kind) for rho in complex_irreps(group("SL(2,3)"))]
    assert found == [(1, "real"), (1, "complex"), (1, "complex"), (2, "quaternionic"),
                     (2, "complex"), (2, "complex"), (3, "real")]  # fmt: skip
    assert [rho.dim for rho in real_irreps(group("SL(2,3)"))] == [1, 2, 4, 4, 3]
    for name, sign in [("1D_1", 1), ("1D_1'", -1), ("2D_2", 1), ("2D_2'", -1)]:
        rho = next(rho for rho in complex_irreps(group("SL(2,3)")) if rho.name == name)
        imaginary = np.imag(rho.character)
        assert np.sign(imaginary[np.abs(imaginary) > 1e-9][0]) == sign


def test_dihedral_matrices_are_the_stated_ones() -> None:
    n, k = 7, 3
    rho = named(group("D7"), f"2D_{k}")
    for m in range(n):
        t = 2 * np.pi * k * m / n
        rotation = np.array([[np.cos(t), -np.sin(t)], [np.sin(t), np.cos(t)]])
        assert np.allclose(rho.mats[m], rotation, rtol=0, atol=1e-14)
        assert np.allclose(rho.mats[n + m], np.diag([1, -1]) @ rotation, rtol=0, atol=1e-14)
    assert rho.frequency == 3


@pytest.mark.parametrize(
    ("n", "count"), [(5, 4), (6, 6), (12, 9), (17, 10), (18, 12), (24, 15), (30, 18)]
)
def test_numbers_of_dihedral_irreps(n: int, count: int) -> None:
    made = group(f"D{n}")
    assert len(complex_irreps(made)) == len(real_irreps(made)) == count
    check_irreps(made, real_irreps(made))


def test_sign_types_of_d6() -> None:
    made = group("D6")
    r, s = np.arange(6), np.arange(6, 12)
    for name, on_r, on_s in [("sign", r * 0 + 1, r * 0 - 1), ("rp", (-1) ** r, (-1) ** r),
                             ("srp", (-1) ** r, -((-1) ** r))]:  # fmt: skip
        mats = named(made, name).mats[:, 0, 0]
        assert np.array_equal(mats[r], on_r)
        assert np.array_equal(mats[s], on_s)


@pytest.mark.parametrize("n", [2, 7, 12])
def test_frequencies_of_a_cyclic_group(n: int) -> None:
    made = group(f"Z{n}")
    over_c, over_r = complex_irreps(made), real_irreps(made)
    assert [rho.frequency for rho in over_c] == list(range(n))
    assert [rho.frequency for rho in over_r] == list(range(n // 2 + 1))
    m = np.arange(n)
    assert np.allclose(over_c[-1].mats[:, 0, 0], np.exp(-2j * np.pi * m / n))
    for rho in over_r[1:]:
        assert rho.frequency is not None
        angle = 2 * np.pi * rho.frequency * m / n
        if 2 * rho.frequency == n:
            assert np.array_equal(rho.mats[:, 0, 0], (-1.0) ** m)
        else:
            rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            assert np.allclose(rho.mats, rotation.transpose(2, 0, 1))
            assert (rho.dim, rho.commutant, rho.weight) == (2, 2, 1)


def test_irreps_are_computed_once() -> None:
    made = group("S4")
    assert complex_irreps(made) is complex_irreps(made, seed=0) is complex_irreps(made, 0)
    assert real_irreps(made) is real_irreps(made, seed=0)


# --- kinds ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALL)
def test_frobenius_schur_counts_square_roots_of_the_identity(name: str) -> None:
    made = group(name)
    signs = {"real": 1, "complex": 0, "quaternionic": -1}
    total = sum(signs[rho.kind] * rho.dim for rho in complex_irreps(made))
    assert total == np.sum(np.diagonal(made.table) == 0)


@pytest.mark.parametrize("name", ["Z7", "D4", "A4", "Q8", "SL(2,3)", "D3xZ4"])
def test_the_commutant_of_a_real_irrep_has_the_stated_dimension(name: str) -> None:
    made = group(name)
    for rho in real_irreps(made):
        assert rho.mats.dtype == np.float64
        one = np.eye(rho.dim)
        equations = np.concatenate([np.kron(m, one) - np.kron(one, m.T) for m in rho.mats])
        nullity = rho.dim**2 - np.linalg.matrix_rank(equations, tol=1e-9)
        assert nullity == rho.commutant


def test_the_product_of_two_quaternionic_irreps_is_real() -> None:
    made = product(group("Q8"), group("Q8"))
    check_irreps(made, complex_irreps(made))
    check_irreps(made, real_irreps(made))
    both = complex_irreps(made)[-1]
    assert (both.dim, both.kind, both.mats.dtype) == (4, "real", np.dtype(float))
    assert frobenius_schur(made, both.character) == 1
    assert complex_irreps(made)[4].kind == "quaternionic"  # triv with the quaternions


def test_real_kinds_come_in_real_matrices() -> None:
    for name in ["S4", "A5", "SL(2,3)"]:
        for rho in complex_irreps(group(name)):
            assert np.iscomplexobj(rho.mats) == (rho.kind != "real")


# --- kernels and distances ------------------------------------------------------------------


def test_kernels_in_d18() -> None:
    made = group("D18")
    rotations = np.arange(18)
    assert np.array_equal(named(made, "2D_6").kernel, [0, 3, 6, 9, 12, 15])
    assert np.array_equal(named(made, "2D_5").kernel, [0])
    assert np.array_equal(named(made, "sign").kernel, rotations)
    assert np.array_equal(named(made, "rp").kernel, np.r_[rotations[::2], 18 + rotations[::2]])
    assert np.array_equal(named(made, "srp").kernel, np.r_[rotations[::2], 19 + rotations[::2]])


@pytest.mark.parametrize("name", SMALL)
def test_kernels_by_their_matrices(name: str) -> None:
    for rho in real_irreps(group(name)):
        fixed = np.abs(rho.mats - np.eye(rho.dim)).max(axis=(1, 2)) < 1e-9
        assert np.array_equal(rho.kernel, np.flatnonzero(fixed))


def test_common_kernels_tell_what_a_set_of_irreps_cannot_tell_apart() -> None:
    made = group("D24")
    some = [named(made, name) for name in ["2D_2", "2D_8", "rp", "srp"]]
    assert np.array_equal(common_kernel(made, some), [0, 12])
    assert np.array_equal(common_kernel(made, [*some, named(made, "2D_3")]), [0])
    assert np.array_equal(common_kernel(made, []), np.arange(48))


def test_squared_distances() -> None:
    made, k, n = group("D9"), 2, 9
    rho = named(made, f"2D_{k}")
    distances = squared_distances(made, rho)
    flat = rho.mats.reshape(made.order, -1)
    assert np.allclose(distances, ((flat[:, None] - flat) ** 2).sum(-1))
    assert np.allclose(distances[0, 1:9], 4 - 4 * np.cos(2 * np.pi * k * np.arange(1, 9) / n))
    assert np.allclose(distances[:9, 9:], 4)
    rho = complex_irreps(group("SL(2,3)"))[4]
    flat = rho.mats.reshape(24, -1)
    assert np.allclose(
        squared_distances(group("SL(2,3)"), rho), (np.abs(flat[:, None] - flat) ** 2).sum(-1)
    )


# --- what is refused ------------------------------------------------------------------------


def spoiled(rho: Irrep, mats: np.ndarray) -> Irrep:
    return dataclasses.replace(rho, mats=np.array(mats))


def test_check_irreps_names_what_is_wrong() -> None:
    made = symmetric(4)
    good = list(real_irreps(made))
    two = good[2]
    wrong = np.array(two.mats)
    wrong[5] = -wrong[5]
    with pytest.raises(BadInput, match=r"2D_1 is no homomorphism: rho\(\d+ \* \d+\) is not rho"):
        check_irreps(made, [*good[:2], spoiled(two, wrong), *good[3:]])
    skewed = np.array([[1.0, 1.0], [0.0, 1.0]]) @ two.mats @ np.array([[1.0, -1.0], [0.0, 1.0]])
    with pytest.raises(BadInput, match=r"2D_1 is not unitary at element \d+"):
        check_irreps(made, [*good[:2], spoiled(two, skewed), *good[3:]])
    with pytest.raises(BadInput, match="3D_1 is not orthogonal to 3D_1"):
        check_irreps(made, [*good, good[3]])
    with pytest.raises(BadInput, match=r"squared dimensions sum to 15, not to \|G\| = 24"):
        check_irreps(made, good[:-1])
    doubled = np.einsum("ij,gkl->gikjl", np.eye(2), two.mats).reshape(-1, 4, 4)
    with pytest.raises(BadInput, match="2D_1 is not irreducible"):
        check_irreps(made, [*good[:2], spoiled(two, doubled), *good[3:]])
    with pytest.raises(BadInput, match="triv does not map the identity to 1"):
        check_irreps(made, [spoiled(good[0], 0 * good[0].mats), *good[1:]])


def test_a_complex_pair_is_not_irreducible_over_c() -> None:
    made = group("Z7")
    over_r = real_irreps(made)
    with pytest.raises(BadInput, match="f1 is not irreducible"):
        check_irreps(made, [dataclasses.replace(rho, field="C") for rho in over_r])
