"""Cayley graphs by their spectra, graphs of cosets by quotients, isomorphism by brute force."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.experiment.errors import BadInput
from shared.groups.cayley import (
    cayley_graph,
    coset_graph,
    is_coset_graph,
    isomorphism,
    spectrum,
)
from shared.groups.subgroups import normal_subgroups, quotient, step_size
from tests.shared.groups.known import group

GOLDEN = (1 + np.sqrt(5)) / 2


def graph(n: int, edges: list[tuple[int, int]]) -> np.ndarray:
    joined = np.zeros((n, n), bool)
    for i, j in edges:
        joined[i, j] = joined[j, i] = True
    return joined


def shuffled(adjacency: np.ndarray, seed: int) -> np.ndarray:
    order = np.random.default_rng(seed).permutation(len(adjacency))
    return adjacency[np.ix_(order, order)]


def cycle(n: int) -> np.ndarray:
    return graph(n, [(i, (i + 1) % n) for i in range(n)])


# --- Cayley graphs --------------------------------------------------------------------------


def test_arcs_and_edges_by_hand() -> None:
    made = cayley_graph(group("D3"), [1, 3])  # r and s
    # x r: e->r->r2->e, s->sr->sr2->s; x s: e->s, r -> r s = s r2, r2 -> r2 s = s r
    arcs = {tuple(arc) for arc in made.arcs.tolist()}
    assert {(0, 1, 0), (2, 0, 0), (3, 4, 0), (0, 3, 1), (1, 5, 1), (2, 4, 1), (4, 2, 1)} <= arcs
    assert len(arcs) == 12
    expected = [[0, 1], [0, 2], [0, 3], [1, 2], [1, 5], [2, 4], [3, 4], [3, 5], [4, 5]]
    assert made.edges.tolist() == expected


@pytest.mark.parametrize(
    ("n", "expected"), [(3, [-2, -2, 0, 0, 1, 3]), (4, [-3, -1, -1, -1, 1, 1, 1, 3])]
)
def test_spectra_of_small_prisms(n: int, expected: list[float]) -> None:
    assert np.allclose(spectrum(cayley_graph(group(f"D{n}"), [1, n]).adjacency), expected)


@pytest.mark.parametrize("n", [5, 9])
def test_spectra_of_prisms(n: int) -> None:
    rotations = 2 * np.cos(2 * np.pi * np.arange(n) / n)
    found = spectrum(cayley_graph(group(f"D{n}"), [1, n - 1, n]).adjacency)
    assert np.allclose(found, np.sort(np.r_[rotations - 1, rotations + 1]))
    if n == 9:
        assert found[0] == pytest.approx(-2.879385, abs=1e-6)


def test_two_reflections_make_a_cycle() -> None:
    adjacency = cayley_graph(group("D5"), [5, 6]).adjacency
    expected = np.sort([2, -2, *[GOLDEN, -GOLDEN, 1 / GOLDEN, -1 / GOLDEN] * 2])
    assert np.allclose(spectrum(adjacency), expected)
    assert isomorphism(adjacency, cycle(10)) is not None


def test_left_multiplication_is_a_symmetry() -> None:
    made = group("S4")
    adjacency = cayley_graph(made, [1, 9]).adjacency
    for g in range(24):
        assert np.array_equal(adjacency[np.ix_(made.table[g], made.table[g])], adjacency)


def test_a_graph_without_generators_has_no_edges() -> None:
    assert cayley_graph(group("D3"), []).edges.shape == (0, 2)


def test_bad_generators() -> None:
    with pytest.raises(BadInput, match="The identity, 0, joins every vertex to itself"):
        cayley_graph(group("D3"), [1, 0])
    with pytest.raises(BadInput, match=r"D3 has the elements 0\.\.5; 6 is none"):
        cayley_graph(group("D3"), [6])


# --- graphs of cosets -----------------------------------------------------------------------


@pytest.mark.parametrize(("n", "k"), [(18, 5), (18, 4), (18, 6), (24, 3), (24, 10), (12, 3)])
def test_kernel_cosets_of_a_dihedral_irrep_form_a_prism(n: int, k: int) -> None:
    _, period, step = step_size(k, n)
    made, kernel = group(f"D{n}"), np.arange(0, n, period)
    found = coset_graph(made, kernel, [step, n - step, n + 3 % n])
    rotations = 2 * np.cos(2 * np.pi * np.arange(period) / period)
    assert np.allclose(spectrum(found.adjacency), np.sort(np.r_[rotations - 1, rotations + 1]))
    smaller = group(f"D{period}")
    for seed in range(3):
        moved = shuffled(cayley_graph(smaller, [1, period]).adjacency, seed)
        assert is_coset_graph(moved, made, kernel, [step, n])


@pytest.mark.parametrize("name", ["S4", "SL(2,3)", "D6", "Q8", "Z12"])
def test_the_graph_of_cosets_is_the_cayley_graph_of_the_quotient(name: str) -> None:
    made, some = group(name), [1, 2, 5]
    for members in normal_subgroups(made):
        of_cosets = quotient(made, members)
        collapsed = coset_graph(made, members, some)
        images = [g for g in of_cosets.projection[some].tolist() if g]
        expected = cayley_graph(of_cosets.group, images)
        assert np.array_equal(collapsed.adjacency, expected.adjacency)
        assert is_coset_graph(shuffled(collapsed.adjacency, 0), made, members, some)
        inside = of_cosets.projection[some] == 0
        assert not np.isin(collapsed.arcs[:, 2], np.flatnonzero(inside)).any()


def test_other_graphs_are_no_coset_graphs() -> None:
    made, kernel = group("D12"), np.arange(0, 12, 6)  # D12/N is D6, its prism has 12 vertices
    prism = cayley_graph(group("D6"), [1, 6]).adjacency
    assert is_coset_graph(prism, made, kernel, [1, 12])
    triangles = np.kron(np.eye(2, dtype=int), cayley_graph(group("D3"), [1, 3]).adjacency)
    moebius = cycle(12) | graph(12, [(i, i + 6) for i in range(6)])
    for other in (triangles, moebius, cycle(12), cycle(6)):  # the first two: also cubic
        assert not is_coset_graph(other, made, kernel, [1, 12])
    missing = prism.copy()
    missing[0, 1] = missing[1, 0] = False
    assert not is_coset_graph(missing, made, kernel, [1, 12])
    with pytest.raises(BadInput, match="not normal in D12"):
        is_coset_graph(prism, made, [0, 12], [1])


# --- isomorphism ----------------------------------------------------------------------------


@given(st.integers(0, 2**10 - 1), st.integers(0, 2**10 - 1), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_isomorphism_by_trying_all_permutations(one: int, two: int, seed: int) -> None:
    pairs = list(itertools.combinations(range(5), 2))
    a, b = (graph(5, [p for i, p in enumerate(pairs) if bits >> i & 1]) for bits in (one, two))
    same = any(np.array_equal(a, b[np.ix_(p, p)]) for p in itertools.permutations(range(5)))
    assert (isomorphism(a, b) is not None) == same
    moved = shuffled(a, seed)
    found = isomorphism(a, moved)
    assert found is not None
    assert np.array_equal(a, moved[np.ix_(found, found)])


@given(st.integers(0, 10_000))
@settings(max_examples=80, deadline=None)
def test_exchanging_two_edges_of_a_graph_is_noticed(seed: int) -> None:
    # Degrees stay, and these graphs rarely have symmetries: only settled colours tell them apart.
    rng = np.random.default_rng(seed)
    a = np.triu(rng.random((10, 10)) < 0.3, 1)
    a = b = a | a.T
    for i, j, k, m in rng.integers(0, 10, (40, 4)):
        if len({i, j, k, m}) == 4 and b[i, j] and b[k, m] and not b[i, m] and not b[k, j]:
            b = b ^ graph(10, [(i, j), (k, m), (i, m), (k, j)])
            break
    found = isomorphism(a, b)
    assert found is None or np.array_equal(a, b[np.ix_(found, found)])


def test_equal_spectra_or_degrees_are_not_enough() -> None:
    star, square = (
        graph(5, [(0, i) for i in range(1, 5)]),
        graph(5, [(0, 1), (1, 2), (2, 3), (3, 0)]),
    )
    assert np.allclose(spectrum(star), spectrum(square))
    assert isomorphism(star, square) is None
    assert isomorphism(cycle(6), np.kron(np.eye(2, dtype=int), cycle(3))) is None
    # both strongly regular (16, 6, 2, 2): the rook's graph and Shrikhande's
    z4 = group("Z4xZ4")
    rook = cayley_graph(z4, [1, 2, 4, 8]).adjacency
    shrikhande = cayley_graph(z4, [1, 4, 5]).adjacency
    assert np.allclose(spectrum(rook), spectrum(shrikhande))
    assert isomorphism(rook, shrikhande) is None
    assert isomorphism(shrikhande, shuffled(shrikhande, 1)) is not None


def test_a_large_prism_is_recognised() -> None:
    prism = cayley_graph(group("D60"), [1, 60]).adjacency
    assert isomorphism(prism, shuffled(prism, 0)) is not None


def test_directed_graphs_are_refused() -> None:
    arrow = np.array([[0, 1], [0, 0]])
    with pytest.raises(BadInput, match="directed: only one of 0 -> 1 and 1 -> 0 is an edge"):
        isomorphism(arrow, arrow)
