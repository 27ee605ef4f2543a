"""Irreducible unitary representations of any finite group, over C and over R.

    symbol        here
    rho(g)        irrep.mats[g], rho(g h) = rho(g) rho(h), unitary (orthogonal where real)
    d_rho         irrep.dim
    chi(g)        irrep.character[g] = tr rho(g)
    nu(rho)       Frobenius-Schur indicator, (1/|G|) sum_g chi(g^2): 1 real, 0 complex, -1
                  quaternionic
    c_rho         irrep.commutant: real dimension of what commutes with a real irrep: 1, 2 or 4;
                  1 over C

Cyclic and dihedral groups and products have closed forms. For every other group:

  characters  are, weighted by the class sizes, the orthonormal common eigenvectors of all
              convolutions by class functions; one random Hermitian combination separates them.
              Each value is then made exact: it is a sum of d roots of unity whose multiplicities
              are whole numbers.
  matrices    the functions x -> rho(x)_{ij} of one rho span V_rho = rho (x) C^d in the regular
              representation; a random Hermitian right translation acts on it as 1 (x) h, so each
              of its eigenspaces is one copy of rho.

Names: "triv"; "sign", "rp", "srp" and "2D_k" for D_n (rp is (-1)^k on r^k and s r^k, srp is rp
times sign); "f3" for frequency 3 of Z_n; "a*b" in a product; "3D_1", "3D_2", ... in a table, "'"
marking the conjugate. Irreps of a table are ordered by dimension, then by character.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, reduce
from typing import Literal

import numpy as np
from jaxtyping import Complex, Float, Inexact, Int

from shared.experiment.errors import BadInput
from shared.groups.group import Group, generators

Array = np.ndarray
Kind = Literal["real", "complex", "quaternionic"]
COMMUTANT = {"real": 1, "complex": 2, "quaternionic": 4}
TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False, repr=False)
class Irrep:
    """An irreducible unitary representation.

    Attributes:
        mats: rho(g) for every g; float64 wherever the matrices are real.
        kind: "real" if it can be written in real matrices, "complex" if it differs from its
            conjugate, "quaternionic" if it equals its conjugate and cannot be written in real
            matrices. Of a real irrep: the kind of what it is made of over C.
        field: over which it is irreducible.
        frequency: f of Z_n, k of D_n's 2D_k; else None.
    """

    name: str
    mats: Inexact[Array, "order dim dim"]
    kind: Kind
    field: Literal["C", "R"] = "C"
    frequency: int | None = None

    def __post_init__(self) -> None:
        self.mats.setflags(write=False)

    def __repr__(self) -> str:
        return f"Irrep({self.name}, dim {self.dim}, {self.kind}, over {self.field})"

    @property
    def dim(self) -> int:
        return self.mats.shape[1]

    @property
    def commutant(self) -> int:
        return 1 if self.field == "C" else COMMUTANT[self.kind]

    @property
    def weight(self) -> float:
        """d / c: its factor in the inversion formula and in Plancherel's; sum of d * d/c is |G|."""
        return self.dim / self.commutant

    @cached_property
    def character(self) -> Inexact[Array, " order"]:
        return np.trace(self.mats, axis1=1, axis2=2)

    @cached_property
    def kernel(self) -> Int[Array, " members"]:
        """The normal subgroup {g: rho(g) = 1}, ascending."""
        return np.flatnonzero(np.abs(self.character - self.dim) < 1e-6)


# The two complete sets ----------------------------------------------------------------------------


def complex_irreps(group: Group, seed: int = 0) -> tuple[Irrep, ...]:
    """All irreps over C up to isomorphism, the trivial one first; sum of d^2 is |G|.

    `seed` chooses the basis in which a numerical irrep is written, never which irreps come out
    nor their order. Real kinds come in real matrices. A second call costs nothing.
    """
    return _complex_irreps(group, seed)


@lru_cache(maxsize=128)
def _complex_irreps(group: Group, seed: int) -> tuple[Irrep, ...]:
    if group.family == "cyclic":
        return _cyclic(group)
    if group.family == "dihedral":
        return _dihedral(group)
    if group.family == "product":
        found = (_complex_irreps(factor, seed) for factor in group.factors)
        return tuple(reduce(lambda left, right: _pairs(left, right, seed), found))
    return _from_table(group, seed)


def real_irreps(group: Group, seed: int = 0) -> tuple[Irrep, ...]:
    """All irreps over R up to isomorphism, orthogonal matrices; sum of d^2/c is |G|.

    A complex rho and its conjugate become one irrep of twice the dimension, named after the first
    of the two, and so does a quaternionic rho: X + iY is written [[X, -Y], [Y, X]]. For Z_n these
    are the frequencies 0..n/2, rho_f(m) the rotation by 2 pi f m / n.
    """
    return _real_irreps(group, seed)


@lru_cache(maxsize=128)
def _real_irreps(group: Group, seed: int) -> tuple[Irrep, ...]:
    over_c = _complex_irreps(group, seed)
    chi = np.array([rho.character for rho in over_c])
    is_conjugate = np.abs(chi @ chi.T) > group.order / 2  # <chi, conj chi'> = 1
    found = []
    for i, rho in enumerate(over_c):
        if is_conjugate[i, :i].any():
            continue
        mats = rho.mats
        if rho.kind != "real":
            x, y = np.real(mats), np.imag(mats)
            mats = np.block([[x, -y], [y, x]])
        found.append(replace(rho, mats=np.array(np.real(mats)), field="R"))
    return tuple(found)


# Closed forms -------------------------------------------------------------------------------------


def _angles(n: int, k: int) -> Float[Array, " n"]:
    """2 pi k m / n for m = 0..n-1, reduced first, so that large k m costs no accuracy."""
    return 2 * np.pi * (k * np.arange(n) % n) / n


def _cyclic(group: Group) -> tuple[Irrep, ...]:
    """rho_f(m) = e^{2 pi i f m / n}, f = 0..n-1."""
    n = group.order
    found = []
    for f in range(n):
        kind: Kind = "real" if 2 * f % n == 0 else "complex"
        values = np.exp(1j * _angles(n, f))[:, None, None]
        mats = np.rint(np.real(values)) if kind == "real" else values
        found.append(Irrep(f"f{f}" if f else "triv", mats, kind, frequency=f))
    return tuple(found)


def _dihedral(group: Group) -> tuple[Irrep, ...]:
    """triv, sign, for even n rp and srp, then rho_k: R(2 pi k m / n), and diag(1, -1) for s."""
    n = group.order // 2
    one, parity = np.ones(n), 1.0 - 2 * (np.arange(n) % 2)
    lines = [("triv", one, one), ("sign", one, -one)]
    if n % 2 == 0:
        lines += [("rp", parity, parity), ("srp", parity, -parity)]
    found = [Irrep(name, np.r_[r, s][:, None, None], "real") for name, r, s in lines]
    for k in range(1, (n - 1) // 2 + 1):
        c, s = np.cos(_angles(n, k)), np.sin(_angles(n, k))
        rotation = np.array([[c, -s], [s, c]]).transpose(2, 0, 1)
        mats = np.concatenate([rotation, np.diag([1.0, -1.0]) @ rotation])
        found.append(Irrep(f"2D_{k}", mats, "real", frequency=k))
    return tuple(found)


def _pairs(left: Sequence[Irrep], right: Sequence[Irrep], seed: int) -> list[Irrep]:
    """Irreps of G x H: the tensor products rho (x) sigma."""
    found = []
    for rho in left:
        for sigma in right:
            d = rho.dim * sigma.dim
            mats = np.einsum("gij,hkl->ghikjl", rho.mats, sigma.mats).reshape(-1, d, d)
            kinds = {rho.kind, sigma.kind}
            kind: Kind = "complex" if "complex" in kinds else "real"
            if kinds == {"real", "quaternionic"}:
                kind = "quaternionic"
            elif kinds == {"quaternionic"}:  # real, though neither factor is
                mats = _real_form(mats, seed)
            name = "triv" if {rho.name, sigma.name} == {"triv"} else f"{rho.name}*{sigma.name}"
            found.append(Irrep(name, mats, kind))
    return found


def _real_form(mats: Complex[Array, "n d d"], seed: int) -> Float[Array, "n d d"]:
    """A representation of real kind in real matrices.

    S = sum_g rho(g) X rho(g)^T with X symmetric is a symmetric unitary (times a number) with
    rho(g) S = S conj(rho(g)); writing it as W W^T with W unitary makes W^dagger rho(g) W real.
    The real and imaginary part of S commute, so one real orthogonal O diagonalises S = O D O^T,
    and W = O sqrt(D).
    """
    d = mats.shape[1]
    x = np.random.default_rng(seed).normal(size=(d, d))
    s = np.einsum("gij,jk,glk->il", mats, x + x.T, mats, optimize=True)
    s *= np.sqrt(d) / np.linalg.norm(s)
    _, o = np.linalg.eigh(s.real + np.sqrt(2) * s.imag)
    w = o * np.sqrt(np.einsum("ji,jk,ki->i", o, s, o).astype(complex))
    return np.array(np.real(w.conj().T @ mats @ w))


# Any group, from its table ------------------------------------------------------------------------


def conjugacy_classes(group: Group) -> tuple[Int[Array, " n"], Int[Array, " classes"]]:
    """(class_of, representatives): the class of every element and the least element of each.

    Classes are numbered in the order of their representatives, so class 0 is the identity's.
    """
    everything = np.arange(group.order)
    moved = group.table[group.table, group.inverse[:, None]]  # [x, g] = x g x^{-1}
    least = moved.min(axis=0)
    representatives = np.flatnonzero(least == everything)
    return np.searchsorted(representatives, least), representatives


def character_table(group: Group) -> Inexact[Array, "irreps classes"]:
    """chi_rho on the representatives of `conjugacy_classes`; rows as in `complex_irreps`."""
    _, representatives = conjugacy_classes(group)
    table = np.array([rho.character[representatives] for rho in complex_irreps(group)])
    return np.real(table).copy() if np.abs(np.imag(table)).max() < TOLERANCE else table


def frobenius_schur(group: Group, character: Inexact[Array, " n"]) -> int:
    """(1/|G|) sum_g chi(g^2) of an irreducible character over C: 1, 0 or -1."""
    squares = np.diagonal(group.table)
    return round(float(np.mean(np.real(character[squares]))))


def _from_table(group: Group, seed: int) -> tuple[Irrep, ...]:
    found: list[Irrep] = []
    counts: dict[int, int] = {}
    for chi in _characters(group):
        d = round(float(np.real(chi[0])))
        kind: Kind = ("complex", "real", "quaternionic")[frobenius_schur(group, chi)]
        mats = _matrices(group, np.real(chi) if kind == "real" else chi, seed)
        if found and kind == "complex" and np.allclose(found[-1].character, chi.conj()):
            name = f"{d}D_{counts[d]}'"
        else:
            counts[d] = counts.get(d, 0) + bool(found)
            name = f"{d}D_{counts[d]}" if found else "triv"
        found.append(Irrep(name, mats, kind))
    return tuple(found)


def _characters(group: Group) -> list[Complex[Array, " n"]]:
    """All irreducible characters: by dimension, then by value, a conjugate after its partner."""
    n = group.order
    class_of, representatives = conjugacy_classes(group)
    sizes = np.bincount(class_of)
    member = np.eye(len(sizes))[class_of]  # [z, class]
    quotients = class_of[group.table[representatives][:, group.inverse]]  # class of x_j z^{-1}
    inverse_class = class_of[group.inverse[representatives]]
    rng = np.random.default_rng(0)
    vectors, gap = np.empty(0), -1.0
    for _ in range(8):  # keep the draw that tells the characters apart best
        c = rng.normal(size=(len(sizes), 2)) @ (1, 1j)
        c = (c + c[inverse_class].conj()) / np.sqrt(sizes)
        operator = c[quotients] @ member * np.sqrt(sizes[:, None] / sizes)
        values, candidates = np.linalg.eigh((operator + operator.conj().T) / 2)
        if (least := np.diff(values, prepend=-np.inf).min()) > gap:
            vectors, gap = candidates, least
    phases = np.abs(vectors[0]) / vectors[0]  # chi(e) > 0
    rough = (vectors * phases / np.sqrt(sizes / n)[:, None]).T
    exact = _made_exact(group, rough, class_of, representatives)
    return sorted(exact[:, class_of], key=_order)


def _made_exact(
    group: Group,
    rough: Complex[Array, "irreps classes"],
    class_of: Int[Array, " n"],
    representatives: Int[Array, " classes"],
) -> Complex[Array, "irreps classes"]:
    """Round the multiplicities of the eigenvalues of every rho(g), roots of unity of g's order."""
    exact = np.empty_like(rough)
    for j, g in enumerate(representatives):
        powers = [0]
        while (following := int(group.table[powers[-1], g])) != 0:
            powers.append(following)
        multiplicities = np.fft.fft(rough[:, class_of[powers]], axis=1) / len(powers)
        whole = np.rint(multiplicities.real)
        if np.abs(multiplicities - whole).max() > 0.01 or whole.min() < 0:
            raise RuntimeError(f"the characters of {group.name} did not separate at element {g}")
        exact[:, j] = whole @ np.exp(1j * _angles(len(powers), 1))
    return np.round(exact, 15) + 0  # + 0: no negative zeros


def _order(chi: Complex[Array, " n"]) -> tuple[float, ...]:
    """Ascending dimension, the trivial one first, of a conjugate pair the one with Im > 0 first."""
    rounded = np.round(np.r_[np.real(chi), np.imag(chi)], 6)
    return (rounded[0], *(-rounded).tolist())


def _matrices(group: Group, chi: Inexact[Array, " n"], seed: int) -> Inexact[Array, "n d d"]:
    """rho(g) with character chi, from one copy of rho inside the regular representation.

    The left translations (L(g) f)(x) = f(g^{-1} x) keep the span of x -> conj(rho(x)_{ij}) and act
    on it as d copies of rho; a convolution from the right commutes with them.
    """
    d, n = round(float(chi[0].real)), group.order
    if d == 1:
        return np.array(chi)[:, None, None]
    real = not np.iscomplexobj(chi)
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> Array:
        return rng.normal(size=shape) if real else rng.normal(size=(*shape, 2)) @ (1, 1j)

    project = (d / n) * chi.conj()[group.table[:, group.inverse]]  # chi(x y^{-1})
    span = np.linalg.qr(project @ normal(n, d * d))[0]
    span = np.linalg.qr(project @ span)[0]  # again: the first basis may be ill-conditioned
    best, gap = np.empty(0), -1.0
    for _ in range(4):  # keep the eigenspace that stands apart best
        a = normal(n)
        a = a + a[group.inverse].conj()
        values, vectors = np.linalg.eigh(span.conj().T @ (a[group.table[group.inverse]] @ span))
        level = values.reshape(d, d).mean(axis=1)
        apart = np.diff(np.r_[-np.inf, level, np.inf])
        apart = np.minimum(apart[:-1], apart[1:]) / (level[-1] - level[0])
        if apart.max() > gap:
            i, gap = int(np.argmax(apart)), float(apart.max())
            best = span @ vectors[:, i * d : (i + 1) * d]
    return np.stack([best.conj().T @ best[group.table[g]] for g in group.inverse])


# What one asks of irreps --------------------------------------------------------------------------


def common_kernel(group: Group, irreps: Sequence[Irrep]) -> Int[Array, " members"]:
    """The elements that every irrep of the set maps to 1; the whole group for an empty set.

    A function of a b that is made of these irreps knows a b up to this normal subgroup.
    """
    inside = np.ones(group.order, bool)
    for rho in irreps:
        inside &= np.isin(np.arange(group.order), rho.kernel)
    return np.flatnonzero(inside)


def squared_distances(group: Group, rho: Irrep) -> Float[Array, "n n"]:
    """||rho(x) - rho(y)||_F^2 = 2 d - 2 Re chi(x^{-1} y)."""
    return 2 * rho.dim - 2 * np.real(rho.character)[group.table[group.inverse]]


def check_irreps(group: Group, irreps: Sequence[Irrep]) -> None:
    """Raise BadInput unless `irreps` is a complete set of irreps, all over the same field.

    Homomorphism on a generating set (which implies it everywhere), unitarity, orthogonality of
    the characters, sum of d^2/c equal to |G|.
    """
    for rho in irreps:
        if not np.allclose(rho.mats[0], np.eye(rho.dim), rtol=0, atol=TOLERANCE):
            raise BadInput(f"{rho.name} does not map the identity to 1.")
        for g in generators(group):
            error = np.abs(rho.mats[group.table[:, g]] - rho.mats @ rho.mats[g]).max((1, 2))
            if error.max() > TOLERANCE:
                h = int(np.argmax(error))
                raise BadInput(
                    f"{rho.name} is no homomorphism: rho({h} * {g}) is not rho({h}) rho({g})."
                )
        gram = rho.mats @ rho.mats.conj().transpose(0, 2, 1)
        error = np.abs(gram - np.eye(rho.dim)).max((1, 2))
        if error.max() > TOLERANCE:
            raise BadInput(f"{rho.name} is not unitary at element {int(np.argmax(error))}.")
    chi = np.array([rho.character for rho in irreps])
    wanted = np.diag([float(rho.commutant) for rho in irreps])
    wrong = np.argwhere(np.abs(chi @ chi.conj().T / group.order - wanted) > TOLERANCE)
    if len(wrong):
        i, j = wrong[0]
        what = "is not irreducible" if i == j else f"is not orthogonal to {irreps[j].name}"
        raise BadInput(f"{irreps[i].name} {what}.")
    total = sum(rho.dim * rho.weight for rho in irreps)
    if round(total) != group.order:
        raise BadInput(f"The squared dimensions sum to {total:g}, not to |G| = {group.order}.")
