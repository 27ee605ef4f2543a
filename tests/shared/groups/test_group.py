"""Tables by hand and by brute force; what is no group is refused by its failing row or triple."""

import dataclasses
import itertools
import math
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.experiment.errors import BadInput
from shared.groups import group as module
from shared.groups.group import (
    alternating,
    check_group,
    check_table,
    cyclic,
    dihedral,
    from_permutations,
    from_table,
    generators,
    parse,
    product,
    special_linear,
    symmetric,
)
from tests.shared.groups.known import SMALL, group, quaternion_table


def is_group(table: np.ndarray) -> bool:
    """All axioms by enumeration of all triples."""
    n = range(len(table))
    return (
        all(table[0, a] == a == table[a, 0] for a in n)
        and all(any(table[a, b] == 0 == table[b, a] for b in n) for a in n)
        and all(table[table[a, b], c] == table[a, table[b, c]]
                for a, b, c in itertools.product(n, n, n))
    )  # fmt: skip


# --- constructors ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*SMALL, "Z200", "D30", "S5", "SL(2,5)", "SL(3,2)"])
def test_every_named_group_passes_the_check(name: str) -> None:
    made = group(name)
    check_group(made)
    assert made.name == name
    assert len(set(made.elements)) == made.order == len(made.table)
    assert np.array_equal(made.table[np.arange(made.order), made.inverse], np.zeros(made.order))


@pytest.mark.parametrize("name", ["D3", "Z12", "S3", "A4", "Q8", "Z2xZ2xZ3", "SL(2,3)"])
def test_small_ones_are_groups_by_enumeration(name: str) -> None:
    assert is_group(group(name).table)


@pytest.mark.parametrize(
    ("made", "order"),
    [(symmetric(2), 2), (symmetric(5), 120), (alternating(3), 3), (alternating(5), 60),
     (special_linear(2, 2), 6), (special_linear(2, 7), 336), (special_linear(3, 2), 168)],
)  # fmt: skip
def test_orders(made: module.Group, order: int) -> None:
    assert made.order == order


@pytest.mark.parametrize("n", [3, 4, 7, 18])
def test_dihedral_product_in_the_stated_convention(n: int) -> None:
    made = dihedral(n)
    for e, k, f, m in itertools.product(range(2), range(n), range(2), range(n)):
        expected = n * (e ^ f) + ((-1) ** f * k + m) % n
        assert made.table[n * e + k, n * f + m] == expected
    r, s = 1, n
    assert made.table[made.table[s, r], s] == made.inverse[r] == n - 1  # s r s = r^{-1}
    assert made.table[s, 1] == n + 1  # index n+1 is s r, not r s
    assert made.elements[:3] + made.elements[n : n + 3] == ("e", "r", "r2", "s", "sr", "sr2")
    assert made.inverse[n + 2] == n + 2  # reflections undo themselves


def test_cyclic_adds() -> None:
    assert cyclic(59).table[40, 30] == 11
    assert cyclic(59).inverse[1] == 58


def test_product_multiplies_componentwise_the_last_factor_fastest() -> None:
    factors = [dihedral(3), cyclic(2), cyclic(5)]
    made = product(*factors)
    places = list(itertools.product(range(6), range(2), range(5)))
    rng = np.random.default_rng(0)
    for i, j in rng.integers(0, 60, (200, 2)):
        parts = [int(f.table[x, y]) for f, x, y in zip(factors, places[i], places[j], strict=True)]
        assert places[made.table[i, j]] == tuple(parts)
    assert made.elements[11] == "(r,0,1)"


def test_permutations_compose_right_to_left() -> None:
    made = symmetric(3)
    a, b = made.elements.index("(1 2)"), made.elements.index("(2 3)")
    assert made.elements[made.table[a, b]] == "(1 2 3)"  # 3 -> 2 -> 1, 1 -> 1 -> 2, 2 -> 3 -> 3
    assert made.elements[made.table[b, a]] == "(1 3 2)"


def test_alternating_is_the_even_half_of_symmetric() -> None:
    whole, half = symmetric(5), alternating(5)
    inside = [whole.elements.index(label) for label in half.elements]
    assert np.array_equal(whole.table[np.ix_(inside, inside)], np.array(inside)[half.table])


def test_special_linear_multiplies_matrices() -> None:
    made = special_linear(2, 3)
    matrices = [np.array([row.split() for row in label.strip("[]").split(";")], int)
                for label in made.elements]  # fmt: skip
    for a, b in itertools.product(range(24), repeat=2):
        assert np.array_equal(matrices[a] @ matrices[b] % 3, matrices[made.table[a, b]])
    assert sum(made.table[a, a] == 0 for a in range(1, 24)) == 1  # -1 is the only involution


def test_the_group_that_permutations_generate() -> None:
    square = from_permutations([(1, 2, 3, 0), (0, 3, 2, 1)], "symmetries of a square")
    assert square.order == 8
    check_group(square)
    assert from_permutations([(1, 2, 3, 4, 0), (1, 0, 2, 3, 4)]).order == math.factorial(5)
    with pytest.raises(BadInput, match=r"Generator 1 is no permutation of 0\.\.2: \(0, 0, 1\)"):
        from_permutations([(1, 2, 0), (0, 0, 1)])
    with pytest.raises(BadInput, match="at least one"):
        from_permutations([])


@pytest.mark.parametrize("name", SMALL)
def test_generators_generate_and_none_is_superfluous(name: str) -> None:
    made = group(name)
    found = generators(made)
    assert module.closure(made.table, found).all()
    assert len(found) <= math.log2(made.order)
    for i in range(len(found)):
        assert not module.closure(made.table, found[:i])[found[i]]


def test_arrays_cannot_be_changed_and_a_given_table_is_copied() -> None:
    given_table = quaternion_table()
    made = from_table(given_table)
    given_table[0, 0] = 5
    assert made.table[0, 0] == 0
    with pytest.raises(ValueError, match="read-only"):
        made.table[0, 0] = 1


# --- what is no group -----------------------------------------------------------------------

LOOP = [  # Latin, identity 0, every element its own inverse, and no group: 5 is odd
    [0, 1, 2, 3, 4],
    [1, 0, 3, 4, 2],
    [2, 4, 0, 1, 3],
    [3, 2, 4, 0, 1],
    [4, 3, 1, 2, 0],
]


def failing_triple(table: np.ndarray) -> tuple[int, int, int]:
    with pytest.raises(BadInput) as caught:
        check_table(table)
    found = re.search(r"\((\d+) \* (\d+)\) \* (\d+) is (\d+), but .* is (\d+)", str(caught.value))
    assert found, caught.value
    x, g, y, left, right = map(int, found.groups())
    assert table[table[x, g], y] == left != right == table[x, table[g, y]]
    return x, g, y


def test_a_loop_is_refused_with_a_triple_that_fails() -> None:
    assert not is_group(np.array(LOOP))
    failing_triple(np.array(LOOP))


@given(st.sampled_from(["Z2xZ4", "Z2xZ2xZ2", "D4", "Q8", "D6"]), st.data())
@settings(max_examples=60, deadline=None)
def test_check_agrees_with_all_triples(name: str, data: st.DataObject) -> None:
    # Exchanging the two entries of a 2 x 2 Latin subsquare keeps rows, columns and the identity.
    table = np.array(group(name).table, int)
    for _ in range(data.draw(st.integers(0, 3))):
        squares = [
            (a, b, c, d)
            for a, b in itertools.combinations(range(1, len(table)), 2)
            for c, d in itertools.combinations(range(1, len(table)), 2)
            if table[a, c] == table[b, d] and table[a, d] == table[b, c]
        ]
        if squares:
            a, b, c, d = data.draw(st.sampled_from(squares))
            table[[a, b, a, b], [c, c, d, d]] = table[[b, a, b, a], [c, c, d, d]]
    if is_group(table):
        check_table(table)
    else:
        failing_triple(table)


def test_associativity_is_seen_in_every_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 16)  # two rows of 8 at a time
    check_table(group("Q8").table)
    table = np.array(group("Z2xZ2xZ2").table)
    table[[6, 7, 6, 7], [6, 6, 7, 7]] = table[[7, 6, 7, 6], [6, 6, 7, 7]]
    failing_triple(table)


@pytest.mark.parametrize("name", ["Z59", "D7", "S3"])
def test_one_wrong_entry_is_named(name: str) -> None:
    table = np.array(group(name).table)
    table[2, 3] = table[2, 4]
    with pytest.raises(BadInput, match=rf"Row 2 of the table holds {table[2, 4]} twice \(columns"):
        from_table(table)


def test_a_bad_column_is_named() -> None:
    with pytest.raises(BadInput, match=r"Column 0 of the table holds 0 twice \(rows 0 and 1\)"):
        from_table([[0, 1], [0, 1]])


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (np.zeros((2, 3), int), r"square \[n, n\] with n >= 1; this one is \(2, 3\)"),
        (np.zeros((0, 0), int), "n >= 1"),
        (np.array([[0, 1], [1, 2]]), r"Entry \[1, 1\] is 2; a table of order 2 holds 0\.\.1"),
        (np.array([[0, 1], [1, -1]]), r"Entry \[1, 1\] is -1"),
        (np.array([[1, 0], [0, 1]]), r"Element 0 must be the identity, but 0 \* 0 is 1"),
        (np.array([[0, 1, 2], [2, 0, 1], [1, 2, 0]]), r"identity, but 1 \* 0 is 2"),
        (np.eye(2), "whole numbers; this one holds float64"),
        ([[0, 1], [1]], "differ in length"),
    ],
)
def test_bad_tables(table: np.ndarray, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        from_table(table)


def test_wrong_labels_and_inverses_are_named() -> None:
    with pytest.raises(BadInput, match="2 elements but 3 labels"):
        from_table([[0, 1], [1, 0]], "G", ["e", "a", "b"])
    z3 = cyclic(3)
    with pytest.raises(BadInput, match="1 is given as the inverse of 1"):
        check_group(dataclasses.replace(z3, inverse=np.arange(3, dtype=np.int32)))


# --- names ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Z59", "D7", "Z4xZ9", "S4", "A5", "SL(2,3)", "D3xSL(2,3)"])
def test_parse_says_the_name_back(name: str) -> None:
    assert parse(name).name == name


def test_parse_of_a_product_is_the_product() -> None:
    assert np.array_equal(parse("D3xZ4").table, product(dihedral(3), cyclic(4)).table)


@pytest.mark.parametrize(
    ("name", "meant"),
    [("z59", "Z59"), ("C12", "Z12"), ("D_7", "D7"), ("dihedral(7)", "D7"), ("SL2(3)", r"SL\(2,3\)"),
     ("sl(2, 3)", r"SL\(2,3\)"), ("Z4 × z9", "Z4xZ9"), ("Z/59Z", "Z59"), ("Sym(4)", "S4")],
)  # fmt: skip
def test_a_near_match_is_offered(name: str, meant: str) -> None:
    with pytest.raises(BadInput, match=rf"no group called .*; did you mean {meant}\?$"):
        parse(name)


@pytest.mark.parametrize("name", ["", "x", "Z4x", "M11", "Z", "7", "Z-", "Zx9", "9Z"])
def test_what_is_no_name_gets_the_list(name: str) -> None:
    with pytest.raises(BadInput, match="names are like Z59, D7"):
        parse(name)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Z1", "Z_n needs n >= 2, not 1"),
        ("Z0", "Z_n needs n >= 2, not 0"),
        ("D2", "D_n needs n >= 3, not 2"),
        ("A2", "A_k needs 3 <= k <= 7, not 2"),
        ("S1", "S_k needs 2 <= k <= 7, not 1"),
        ("SL(2,4)", r"not \(2,4\)"),
        ("SL(1,5)", r"not \(1,5\)"),
        ("Z6001", "more than 6000 elements"),
        ("D3001", "more than 6000"),
        ("S8", "more than 6000"),
        ("S5xS5", "more than 6000"),
        ("SL(2,5)xSL(2,5)", "more than 6000"),
        ("SL(2,999999999999)", "more than 6000"),
        ("Z999999999999", "more than 6000"),
    ],
)
def test_groups_that_do_not_exist_or_are_too_large(name: str, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        parse(name)


def test_a_product_needs_two_factors() -> None:
    with pytest.raises(BadInput, match="at least two factors, not 1"):
        product(cyclic(3))


def test_importing_the_package_is_cheap_and_every_name_has_a_home() -> None:
    code = (
        "import sys, shared.groups as g; assert 'numpy' not in sys.modules;"
        "trained = ('task', 'networks', 'optimiser', 'training');"
        "exact = [name for name in dir(g) if g._HOME[name] not in trained];"
        "[getattr(g, name) for name in exact]; assert 'scipy' not in sys.modules;"
        "assert 'jax' not in sys.modules, 'jax';"
        "[getattr(g, name) for name in dir(g)]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
