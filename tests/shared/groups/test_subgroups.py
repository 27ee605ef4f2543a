"""Subgroups, cosets and quotients: counted by hand and by formula, checked by brute force."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.experiment.errors import BadInput
from shared.groups import subgroups as module
from shared.groups.group import check_group, cyclic, dihedral
from shared.groups.irreps import common_kernel, complex_irreps
from shared.groups.subgroups import (
    all_subgroups,
    approximate_coset,
    coset_score,
    cosets,
    cyclic_subgroups,
    double_cosets,
    generated,
    is_normal,
    is_subgroup,
    normal_subgroups,
    quotient,
    step_size,
)
from tests.shared.groups.known import SMALL, group


def sets(arrays) -> set[frozenset[int]]:
    return {frozenset(members.tolist()) for members in arrays}


# --- subgroups ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Z7", "Z2xZ2xZ2", "D4", "Q8", "S3"])
def test_all_subgroups_by_trying_every_subset(name: str) -> None:
    made = group(name)
    expected = set()
    for rest in itertools.product([0, 1], repeat=made.order - 1):
        members = np.flatnonzero([1, *rest])
        if np.isin(made.table[np.ix_(members, members)], members).all():
            expected.add(frozenset(members.tolist()))
    found = all_subgroups(made)
    assert sets(found) == expected
    assert len(found) == len(expected)
    assert [len(members) for members in found] == sorted(len(members) for members in found)


@pytest.mark.parametrize(
    ("name", "count"),
    [("D12", 34), ("D17", 20), ("D18", 45), ("D24", 68), ("D30", 80),  # tau(n) + sigma(n)
     ("S4", 30), ("A4", 10), ("A5", 59), ("SL(2,3)", 15), ("Q8", 6), ("Z12", 6)],
)  # fmt: skip
def test_numbers_of_subgroups(name: str, count: int) -> None:
    found = all_subgroups(group(name))
    assert len(found) == count
    assert all(group(name).order % len(members) == 0 for members in found)


@pytest.mark.parametrize(("n", "count"), [(18, 533), (24, 970), (17, 326)])
def test_numbers_of_left_cosets_of_dihedral_groups(n: int, count: int) -> None:
    # 2 sigma(n) + sigma_2(n)
    made = group(f"D{n}")
    assert sum(2 * n // len(members) for members in all_subgroups(made)) == count


@pytest.mark.parametrize("name", SMALL)
def test_cyclic_and_normal_subgroups_are_those_among_all(name: str) -> None:
    made = group(name)
    everything = sets(all_subgroups(made))
    assert sets(cyclic_subgroups(made)) == sets([generated(made, [x]) for x in range(made.order)])
    assert sets(cyclic_subgroups(made)) <= everything
    normal = {members for members in everything if is_normal(made, sorted(members))}
    assert sets(normal_subgroups(made)) == normal


@pytest.mark.parametrize("name", ["D6", "Q8", "S4", "SL(2,3)", "D3xZ4"])
def test_normal_subgroups_are_the_common_kernels_of_irreps(name: str) -> None:
    made = group(name)
    kernels = {frozenset(range(made.order))}
    for rho in complex_irreps(made):
        kernels |= {found & frozenset(rho.kernel.tolist()) for found in kernels}
    assert sets(normal_subgroups(made)) == kernels
    some = complex_irreps(made)[1:3]
    assert is_normal(made, common_kernel(made, some))


@given(st.sampled_from(["D6", "A4", "Q8", "Z12"]), st.lists(st.integers(0, 7), max_size=3))
@settings(max_examples=40, deadline=None)
def test_generated_is_the_least_subgroup_that_contains_them(name: str, given_: list[int]) -> None:
    made = group(name)
    found = generated(made, given_)
    containing = [s for s in sets(all_subgroups(made)) if s.issuperset(given_)]
    assert frozenset(found.tolist()) == frozenset.intersection(*containing)


def test_too_many_subgroups_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_SUBGROUPS", 15)
    with pytest.raises(BadInput, match="Z2xZ2xZ2 has more than 15 subgroups"):
        all_subgroups(group("Z2xZ2xZ2"))  # has 16
    monkeypatch.setattr(module, "MOST_SUBGROUPS", 16)
    assert len(all_subgroups(group("Z2xZ2xZ2"))) == 16


# --- cosets ---------------------------------------------------------------------------------


def test_cosets_of_a_reflection_in_d3_by_hand() -> None:
    made = group("D3")  # e r r2 s sr sr2; r s = s r^{-1} = s r2
    assert [c.tolist() for c in cosets(made, [0, 3])] == [[0, 3], [1, 5], [2, 4]]
    assert [c.tolist() for c in cosets(made, [0, 3], "right")] == [[0, 3], [1, 4], [2, 5]]
    assert [c.tolist() for c in double_cosets(made, [0, 3], [0, 3])] == [[0, 3], [1, 2, 4, 5]]


@pytest.mark.parametrize("name", ["D6", "S4", "Q8", "A4", "Z12"])
def test_cosets_partition_the_group(name: str) -> None:
    made = group(name)
    for members in all_subgroups(made):
        for side in ("left", "right"):
            found = cosets(made, members, side)
            assert {len(c) for c in found} == {len(members)}
            assert sorted(np.concatenate(found).tolist()) == list(range(made.order))
            assert sorted(c[0] for c in found) == [c[0] for c in found]
            for c in found:
                row = made.table[c[0], members] if side == "left" else made.table[members, c[0]]
                assert sorted(row.tolist()) == c.tolist()
        both_sides = sets(cosets(made, members)) == sets(cosets(made, members, "right"))
        assert both_sides == is_normal(made, members)


def test_double_cosets_by_brute_force() -> None:
    made = group("S4")
    some = all_subgroups(made)
    for h, k in itertools.product(some[1::6], some[2::7]):
        expected = {
            frozenset(int(made.table[made.table[a, x], b]) for a in h for b in k)
            for x in range(made.order)
        }
        found = double_cosets(made, h, k)
        assert sets(found) == expected
        assert sum(len(c) for c in found) == made.order


def test_what_is_no_subgroup_is_refused_with_the_missing_product() -> None:
    made = dihedral(6)
    assert not is_subgroup(made, [0, 2, 6])
    assert is_subgroup(made, [4, 0, 2])
    assert not is_subgroup(made, [])
    with pytest.raises(BadInput, match=r"3 elements are no subgroup of D6: 2 \* 2 = 4 is missing"):
        cosets(made, [0, 2, 6])
    with pytest.raises(BadInput, match="no subgroup of D6: the identity, 0, is missing"):
        cosets(made, [3])
    for refuses in (is_normal, quotient, lambda g, h: double_cosets(g, [0], h)):
        with pytest.raises(BadInput, match=r"1 \* 1 = 2 is missing"):
            refuses(made, [0, 1])
    with pytest.raises(BadInput, match=r"D6 has the elements 0\.\.11; 12 is none of them"):
        generated(made, [1, 12])
    with pytest.raises(BadInput, match="-1 is none of them"):
        is_subgroup(made, [0, -1])


# --- quotients ------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "period"), [(12, 3), (12, 4), (18, 9), (12, 12)])
def test_rotations_divide_out_to_a_smaller_dihedral_group(n: int, period: int) -> None:
    found = quotient(dihedral(n), np.arange(0, n, period))
    assert np.array_equal(found.group.table, dihedral(period).table)
    assert np.array_equal(found.projection[:n], np.arange(n) % period)
    assert np.array_equal(found.projection[n:], period + np.arange(n) % period)


def test_a_cyclic_quotient_and_its_labels() -> None:
    found = quotient(cyclic(12), [0, 4, 8])
    assert np.array_equal(found.group.table, cyclic(4).table)
    assert found.group.elements == ("N", "1N", "2N", "3N")
    assert found.group.name == "Z12/N3"
    assert [c.tolist() for c in found.cosets][1] == [1, 5, 9]


@pytest.mark.parametrize("name", ["S4", "SL(2,3)", "Q8", "D6", "A5"])
def test_the_projection_is_a_homomorphism_with_kernel_n(name: str) -> None:
    made = group(name)
    for members in normal_subgroups(made):
        found = quotient(made, members)
        check_group(found.group)
        assert found.group.order * len(members) == made.order
        p = found.projection
        assert np.array_equal(p[made.table], found.group.table[p[:, None], p])
        assert np.array_equal(np.flatnonzero(p == 0), members)


def test_what_is_not_normal_is_refused_with_a_conjugation_that_leaves_it() -> None:
    made = group("D3")
    assert not is_normal(made, [0, 3])
    with pytest.raises(BadInput, match=r"not normal in D3: 1 \* 3 \* 1\^-1 = 4 lies outside it"):
        quotient(made, [0, 3])  # r s r^{-1} = s r^{-2} = s r


# --- how well cosets explain a function -----------------------------------------------------


def test_coset_scores_of_a_neuron_on_d18() -> None:
    made, m = group("D18"), np.arange(18)
    values = np.r_[np.cos(2 * np.pi * 6 * m / 18), np.cos(2 * np.pi * 6 * m / 18 + 1)]
    for size, score in [(2, 0), (3, 0), (6, 0), (9, 1), (18, 1)]:
        rotations = np.arange(0, 18, 18 // size)
        assert coset_score(made, values, rotations) == pytest.approx(score, abs=1e-12)
    assert coset_score(made, values, [0, 18]) == pytest.approx(0.229849, abs=1e-6)
    assert coset_score(made, values, [0, 19]) == pytest.approx(0.999443, abs=1e-6)
    assert coset_score(made, values, [0]) == 0
    assert coset_score(made, values, np.arange(36)) == pytest.approx(1)
    right = np.repeat(np.arange(18), 2)[np.argsort(np.concatenate(cosets(made, [0, 20], "right")))]
    assert coset_score(made, right, [0, 20], "right") == 0
    assert coset_score(made, right, [0, 20], "left") > 0.1
    with pytest.raises(BadInput, match="all equal"):
        coset_score(made, np.ones(36), [0])


# --- approximate cosets ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "k", "expected"),
    [(18, 5, (1, 18, 11)), (18, 7, (1, 18, 13)), (18, 8, (2, 9, 7)), (18, 4, (2, 9, 5)),
     (18, 6, (6, 3, 1)), (17, 3, (1, 17, 6)), (24, 10, (2, 12, 5)), (30, 7, (1, 30, 13)),
     (66, 11, (11, 6, 1)), (59, 14, (1, 59, 38)), (59, 17, (1, 59, 7)), (67, 11, (1, 67, 61)),
     (91, 21, (7, 13, 9)), (91, 35, (7, 13, 8)), (91, 8, (1, 91, 57)), (91, 25, (1, 91, 51))],
)  # fmt: skip
def test_step_sizes(n: int, k: int, expected: tuple[int, int, int]) -> None:
    assert step_size(k, n) == expected


@given(st.integers(2, 200), st.integers(-300, 300))
@settings(max_examples=60, deadline=None)
def test_one_step_turns_the_phase_by_one_period(n: int, k: int) -> None:
    if k % n == 0:
        with pytest.raises(BadInput, match=f"Frequency {k} is constant on Z_{n}"):
            step_size(k, n)
        return
    g, period, step = step_size(k, n)
    assert g * period == n
    assert k * step % n == g  # a phase of 2 pi g / n = 2 pi / n'


@pytest.mark.parametrize(
    ("n", "f", "size"), [(59, 14, 29), (67, 11, 33), (66, 11, 33), (59, 15, 29)]
)
def test_the_positive_set_of_a_cosine_is_an_approximate_coset(n: int, f: int, size: int) -> None:
    made, s = cyclic(n), 4
    _, period, step = step_size(f, n)
    reach = (period - 1) // 4  # the largest |j| < n'/4
    found = approximate_coset(made, s, step, reach, reach, np.arange(0, n, period))
    positive = np.flatnonzero(np.cos(2 * np.pi * f * (np.arange(n) - s) / n) > 1e-9)
    assert np.array_equal(found, positive)
    assert len(found) == size


def test_paths_in_d18() -> None:
    made = group("D18")
    step = step_size(5, 18).step  # 11
    active = approximate_coset(made, 0, step, 4, 4)
    assert active.tolist() == [0, 3, 4, 7, 8, 10, 11, 14, 15]
    assert np.array_equal(np.flatnonzero(np.cos(2 * np.pi * 5 * np.arange(18) / 18) > 0.01), active)
    among_reflections = approximate_coset(made, 18, step, 4, 4)
    assert np.array_equal(among_reflections, active + 18)
    kernel = np.arange(0, 18, 3)
    assert approximate_coset(made, 1, 1, 0, 0, kernel).tolist() == [1, 4, 7, 10, 13, 16]  # exact
    assert approximate_coset(made, 20, 1, 1, 0).tolist() == [19, 20]  # before: c d^{-1}
    assert approximate_coset(made, 20, 1, 0, 2).tolist() == [20, 21, 22]


def test_bad_paths() -> None:
    made = group("D18")
    with pytest.raises(BadInput, match="0 steps or more either way, not -1 and 2"):
        approximate_coset(made, 0, 1, -1, 2)
    with pytest.raises(BadInput, match="no subgroup"):
        approximate_coset(made, 0, 1, 1, 1, [0, 5])
    with pytest.raises(BadInput, match="36 is none"):
        approximate_coset(made, 36, 1, 1, 1)
