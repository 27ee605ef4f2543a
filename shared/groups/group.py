"""Finite groups as Cayley tables: the cyclic, dihedral, symmetric, ... ones, and any other.

    symbol            here
    a b               table[a, b]; elements are indices 0 .. |G|-1 and the identity is 0
    a^{-1}            inverse[a]
    Z_n               index k is k
    D_n  (order 2n)   index k is r^k, index n+k is s r^k, with r^n = s^2 = e and s r s = r^{-1},
                      so that (s^e r^k)(s^f r^l) = s^{e+f} r^{(-1)^f k + l}
    G x H             index of (g, h) is g |H| + h; the last factor runs fastest
    S_k, A_k          permutations of 1..k in lexicographic order; (a b)(x) = a(b(x))
    SL(n, p)          matrices of determinant 1 over the field with p elements, row by row

Tables that the constructors make are groups by construction; a table from elsewhere goes through
`check_group`, which names the row or the triple at which it fails.
"""

import itertools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int, Int32, Shaped

from shared.experiment.errors import BadInput

Array = np.ndarray
Family = Literal["cyclic", "dihedral", "product", "table"]
MAX_ORDER = 6000  # of a group named by a string: its table takes 144 MB
BLOCK = 2**22  # table entries compared at once


@dataclass(frozen=True, eq=False, repr=False)
class Group:
    """A finite group; its arrays are read-only. Two groups are equal only if they are one object.

    Attributes:
        name: "Z59", "D7", "Z4xZ9", "S4", ...
        table: table[a, b] is the index of a b.
        inverse: inverse[a] is the index of a^{-1}.
        elements: printable labels in index order.
        family: whose closed-form irreps apply; "table" for none.
        factors: of a direct product.
    """

    name: str
    order: int
    table: Int32[Array, "order order"]
    inverse: Int32[Array, " order"]
    elements: tuple[str, ...]
    family: Family = "table"
    factors: tuple["Group", ...] = ()

    def __post_init__(self) -> None:
        self.table.setflags(write=False)
        self.inverse.setflags(write=False)

    def __repr__(self) -> str:
        return f"Group({self.name}, order {self.order})"

    @property
    def is_abelian(self) -> bool:
        return bool(np.array_equal(self.table, self.table.T))


# Checking -----------------------------------------------------------------------------------------


def check_group(group: Group) -> None:
    """Raise BadInput with the row, pair or triple at which `group` is no group with identity 0."""
    check_table(group.table)
    if len(group.elements) != group.order:
        raise BadInput(
            f"{group.name} has {group.order} elements but {len(group.elements)} labels for them."
        )
    for a in range(group.order):
        if group.table[a, group.inverse[a]] != 0 or group.table[group.inverse[a], a] != 0:
            raise BadInput(f"{group.inverse[a]} is given as the inverse of {a}, which it is not.")


def check_table(table: Int[Array, "..."]) -> None:
    """Raise BadInput unless `table` is the Cayley table of a group whose identity is 0.

    Associativity by Light's test: (x g) y = x (g y) for all x, y and every g of a generating set
    implies it for all triples, in O(n^2 log n).
    """
    if table.ndim != 2 or table.shape[0] != table.shape[1] or table.size == 0:
        raise BadInput(f"A Cayley table is a square [n, n] with n >= 1; this one is {table.shape}.")
    n = len(table)
    bad = np.argwhere((table < 0) | (table >= n))
    if len(bad):
        a, b = bad[0]
        raise BadInput(f"Entry [{a}, {b}] is {table[a, b]}; a table of order {n} holds 0..{n - 1}.")
    _check_latin(table, "row", "columns")
    _check_latin(table.T, "column", "rows")
    for products, what in ((table[0], "0 * {a}"), (table[:, 0], "{a} * 0")):
        moved = np.flatnonzero(products != np.arange(n))
        if len(moved):
            a = moved[0]
            raise BadInput(
                f"Element 0 must be the identity, but {what.format(a=a)} is {products[a]}."
            )
    for g in _generators(table):
        for rows in _blocks(n, n):
            bad = np.argwhere(table[table[rows, g]] != table[rows][:, table[g]])
            if len(bad):
                x, y = bad[0, 0] + rows.start, bad[0, 1]
                left, right = table[table[x, g], y], table[x, table[g, y]]
                raise BadInput(
                    f"The table is not associative: ({x} * {g}) * {y} is {left}, "
                    f"but {x} * ({g} * {y}) is {right}."
                )


def _check_latin(table: Int[Array, "n n"], line: str, places: str) -> None:
    ordered = np.sort(table, axis=1)
    twice = np.argwhere(ordered[:, 1:] == ordered[:, :-1])
    if len(twice):
        a, place = twice[0]
        entry = ordered[a, place]
        i, j = np.flatnonzero(table[a] == entry)[:2]
        raise BadInput(
            f"{line.capitalize()} {a} of the table holds {entry} twice ({places} {i} and {j}); "
            f"in a group every {line} is a permutation."
        )


def _blocks(rows: int, entries: int) -> Iterator[slice]:
    step = max(1, BLOCK // entries)
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def closure(table: Int[Array, "n n"], members: Sequence[int]) -> Bool[Array, " n"]:
    """Which elements are products of `members`, in any number and bracketing; never empty.

    In a finite group this is the generated subgroup: inverses are powers.
    """
    inside = np.zeros(len(table), bool)
    inside[[0, *members]] = True
    size = 0
    while size < (known := np.flatnonzero(inside)).size:
        size = known.size
        inside[table[np.ix_(known, known)]] = True
    return inside


def _generators(table: Int[Array, "n n"]) -> tuple[int, ...]:
    found: list[int] = []
    inside = closure(table, found)
    while not inside.all():
        found.append(int(np.argmin(inside)))
        inside = closure(table, found)
    return tuple(found)


def generators(group: Group) -> tuple[int, ...]:
    """A generating set of at most log2 |G| elements: each the smallest that was still missing."""
    return _generators(group.table)


# Constructors -------------------------------------------------------------------------------------


def from_table(
    table: Shaped[Array, "..."] | Sequence[Sequence[int]],
    name: str = "G",
    elements: Sequence[str] | None = None,
) -> Group:
    """The group with Cayley table `table` [n, n], identity at index 0; BadInput if it is none."""
    try:
        given = np.asarray(table)
    except ValueError:
        raise BadInput(
            "The rows of the Cayley table differ in length; it must be square."
        ) from None
    if not np.issubdtype(given.dtype, np.integer):
        raise BadInput(f"A Cayley table holds whole numbers; this one holds {given.dtype}.")
    check_table(given)
    labels = tuple(str(a) for a in range(len(given))) if elements is None else tuple(elements)
    group = _group(name, np.array(given, np.int32), labels)
    check_group(group)
    return group


def _group(
    name: str,
    table: Int32[Array, "n n"],
    elements: tuple[str, ...],
    family: Family = "table",
    factors: tuple[Group, ...] = (),
) -> Group:
    """A group from a table that is known to be one."""
    inverse = np.argmin(table, axis=1).astype(np.int32)  # where the row holds 0
    return Group(name, len(table), table, inverse, elements, family, factors)


def cyclic(n: int) -> Group:
    """Z_n, addition modulo n, n >= 2."""
    if n < 2:
        raise BadInput(f"Z_n needs n >= 2, not {n}.")
    k = np.arange(n, dtype=np.int32)
    return _group(f"Z{n}", (k[:, None] + k) % np.int32(n), tuple(map(str, k)), "cyclic")


def dihedral(n: int) -> Group:
    """D_n of order 2n, n >= 3: index k is r^k, index n+k is s r^k, and s r s = r^{-1}."""
    if n < 3:
        raise BadInput(f"D_n needs n >= 3, not {n}: D_1 is Z2 and D_2 is Z2xZ2.")
    flip, k = np.divmod(np.arange(2 * n, dtype=np.int32), np.int32(n))
    rotation = (np.where(flip, -k[:, None], k[:, None]) + k) % n
    table = (n * (flip[:, None] ^ flip) + rotation).astype(np.int32)
    powers = ("", "r", *(f"r{m}" for m in range(2, n)))
    labels = ("e", *powers[1:], *(f"s{power}" for power in powers))
    return _group(f"D{n}", table, labels, "dihedral")


def product(*factors: Group) -> Group:
    """The direct product, two factors or more; the last factor runs fastest."""
    if len(factors) < 2:
        raise BadInput(f"A direct product needs at least two factors, not {len(factors)}.")
    table = factors[0].table
    for factor in factors[1:]:
        m = np.int32(factor.order)
        table = np.kron(table, np.ones_like(factor.table)) * m + np.tile(factor.table, table.shape)
    labels = itertools.product(*(factor.elements for factor in factors))
    name = "x".join(factor.name for factor in factors)
    return _group(
        name, table, tuple(f"({','.join(label)})" for label in labels), "product", factors
    )


def symmetric(k: int) -> Group:
    """S_k, all permutations of k points, 2 <= k <= 7, in lexicographic order."""
    if not 2 <= k <= 7:
        raise BadInput(f"S_k needs 2 <= k <= 7, not {k} (S8 has 40320 elements).")
    return _permutations(f"S{k}", list(itertools.permutations(range(k))))


def alternating(k: int) -> Group:
    """A_k, the even permutations of k points, 3 <= k <= 7, in lexicographic order."""
    if not 3 <= k <= 7:
        raise BadInput(f"A_k needs 3 <= k <= 7, not {k} (A8 has 20160 elements).")
    even = [p for p in itertools.permutations(range(k)) if _sign(p) == 1]
    return _permutations(f"A{k}", even)


def from_permutations(generators: Sequence[Sequence[int]], name: str = "G") -> Group:
    """The group that permutations of 0..k-1 generate, `p[x]` being the image of x."""
    given = [tuple(int(x) for x in p) for p in generators]
    if not given:
        raise BadInput("A permutation group needs at least one generator.")
    for i, p in enumerate(given):
        if sorted(p) != list(range(len(given[0]))):
            raise BadInput(f"Generator {i} is no permutation of 0..{len(given[0]) - 1}: {p}.")
    found = {tuple(range(len(given[0])))}
    frontier = list(found)
    while frontier:
        new = {tuple(a[x] for x in g) for a in frontier for g in given} - found
        found |= new
        frontier = list(new)
        if len(found) > MAX_ORDER:
            raise BadInput(f"These permutations generate more than {MAX_ORDER} elements.")
    return _permutations(name, sorted(found))


def special_linear(n: int, p: int) -> Group:
    """SL(n, p): n x n matrices of determinant 1 over the field with p elements (a prime)."""
    if n < 2 or p < 2 or any(p % q == 0 for q in range(2, p)) or p ** (n * n) > 20_000:
        raise BadInput(
            f"SL(n,p) needs n = 2 with p = 2, 3, 5, 7, 11, or n = 3 with p = 2, 3; not ({n},{p})."
        )
    every = np.array(list(itertools.product(range(p), repeat=n * n))).reshape(-1, n, n)
    members = every[np.rint(np.linalg.det(every)).astype(int) % p == 1]
    code = p ** np.arange(n * n)[::-1]
    identity = np.flatnonzero((members == np.eye(n, dtype=int)).all((1, 2)))
    members = np.concatenate([members[identity], np.delete(members, identity, 0)])
    place = np.empty(p ** (n * n), np.int32)
    place[members.reshape(-1, n * n) @ code] = np.arange(len(members))
    table = np.empty((len(members), len(members)), np.int32)
    for rows in _blocks(len(members), members.size):
        products = members[rows, None] @ members % p
        table[rows] = place[products.reshape(*products.shape[:2], n * n) @ code]
    labels = tuple(f"[{'; '.join(' '.join(map(str, r)) for r in m)}]" for m in members.tolist())
    return _group(f"SL({n},{p})", table, labels)


def _permutations(name: str, members: list[tuple[int, ...]]) -> Group:
    """The group of the permutations `members`: closed, ordered lexicographically."""
    p = np.array(members)
    code = len(p[0]) ** np.arange(len(p[0]))[::-1]
    codes = p @ code  # ascending, because the order is lexicographic
    table = np.empty((len(p), len(p)), np.int32)
    for rows in _blocks(len(p), p.size):
        table[rows] = np.searchsorted(codes, p[rows][:, p] @ code)  # p[a][p[b][x]]
    return _group(name, table, tuple(_cycles(q) for q in members))


def _orbits(p: tuple[int, ...]) -> list[list[int]]:
    seen: set[int] = set()
    orbits = []
    for start in range(len(p)):
        orbit, x = [], start
        while x not in seen:
            seen.add(x)
            orbit.append(x)
            x = p[x]
        orbits += [orbit] if len(orbit) > 1 else []
    return orbits


def _sign(p: tuple[int, ...]) -> int:
    return (-1) ** sum(len(orbit) - 1 for orbit in _orbits(p))


def _cycles(p: tuple[int, ...]) -> str:
    return "".join(f"({' '.join(str(x + 1) for x in orbit)})" for orbit in _orbits(p)) or "e"


# Names --------------------------------------------------------------------------------------------

_FACTOR = re.compile(r"([ZDSA])([0-9]{1,18})|SL\(([0-9]{1,18}),([0-9]{1,18})\)")
_LOOSE = re.compile(r"sl\(?([0-9])[,;]?\(?([0-9]+)\)*|([a-z]+)[/(]?([0-9]+)[/a-z)]*")
_CALLED: dict[str, tuple[Callable[[int], Group], Callable[[int], int]]] = {
    "Z": (cyclic, lambda n: n),
    "D": (dihedral, lambda n: 2 * n),
    "S": (symmetric, lambda k: math.factorial(min(k, 9))),
    "A": (alternating, lambda k: math.factorial(min(k, 9)) // 2),
}
_LETTERS = {"c": "Z", "cyclic": "Z", "zmod": "Z", "dih": "D", "dihedral": "D", "sym": "S",
            "symmetric": "S", "alt": "A", "alternating": "A", "z": "Z", "d": "D", "s": "S",
            "a": "A"}  # fmt: skip


def parse(name: str) -> Group:
    """The group called `name`: Z59, D7, S4, A5, SL(2,3), or a product such as Z4xZ9.

    BadInput with what may have been meant if there is none, or if it is too large for a table.
    """
    matches = [_FACTOR.fullmatch(part) for part in name.split("x")]
    found = [match for match in matches if match]
    if len(found) < len(matches):
        raise BadInput(f"There is no group called {name!r}; {_hint(name)}")
    orders = [_CALLED[m[1]][1](int(m[2])) if m[1] else int(m[4]) for m in found]
    if math.prod(orders) > MAX_ORDER:
        raise BadInput(f"{name} has more than {MAX_ORDER} elements, too many for a Cayley table.")
    factors = [
        _CALLED[m[1]][0](int(m[2])) if m[1] else special_linear(int(m[3]), int(m[4])) for m in found
    ]
    if math.prod(factor.order for factor in factors) > MAX_ORDER:
        raise BadInput(f"{name} has more than {MAX_ORDER} elements, too many for a Cayley table.")
    return factors[0] if len(factors) == 1 else product(*factors)


def _hint(name: str) -> str:
    """What `name` may have been meant to say, else what can be said."""
    bare = re.sub(r"[\s_\-]", "", name.lower()).replace("×", "x").replace("*", "x")
    guesses = [_guess(part) for part in bare.split("x")]
    if all(guesses):
        return f"did you mean {'x'.join(guesses)}?"
    return (
        "names are like Z59, D7 (of order 14), S4, A5, SL(2,3) or Z4xZ9; "
        "any other group comes from its Cayley table (from_table)."
    )


def _guess(part: str) -> str:
    match = _LOOSE.fullmatch(part)
    if match is None:
        return ""
    if match[1]:
        return f"SL({match[1]},{match[2]})"
    return f"{_LETTERS[match[3]]}{match[4]}" if match[3] in _LETTERS else ""
