"""The Fourier transform on a finite group.

    transform    f^(rho) = sum_g f(g) rho(g)                                    [d, d]
    inversion    f(g) = (1/|G|) sum_rho w_rho tr(f^(rho) rho(g)^dagger)
    Plancherel   sum_g |f(g)|^2 = sum_rho E_rho, E_rho = (w_rho/|G|) ||f^(rho)||_F^2
    convolution  (f * h)(x) = sum_{a b = x} f(a) h(b), and (f * h)^ = f^ h^ in this order

w_rho = d_rho/c_rho (`Irrep.weight`) is d_rho over C. Over R it counts a complex rho together with
its conjugate, so that E_f on Z_n is the energy at the frequencies f and -f together. On Z_n over C
f^(f3) is `np.fft.fft(f)[-3]`: rho_f is e^{+2 pi i f m / n}.

Functions carry the group on their first axis, f [|G|, ...]: neurons or samples go behind it.
`irreps` defaults to the real ones, which suit the weights of a network; f may be complex.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Inexact, Shaped

from shared.experiment.errors import BadInput
from shared.groups.group import Group
from shared.groups.irreps import Irrep, real_irreps

Array = np.ndarray


def gft(
    group: Group, f: Shaped[Array, "..."], irreps: Sequence[Irrep] | None = None
) -> dict[str, Inexact[Array, "..."]]:
    """f^(rho) = sum_g f(g) rho(g) for every irrep by name; [d, d, ...] for f [|G|, ...]."""
    _check_functions(group, f, 1)
    return {rho.name: np.tensordot(rho.mats, f, (0, 0)) for rho in _given(group, irreps)}


def igft(
    group: Group,
    coefficients: Mapping[str, Inexact[Array, "..."]],
    irreps: Sequence[Irrep] | None = None,
) -> Inexact[Array, "..."]:
    """The function [|G|, ...] with these coefficients; an irrep that is left out counts as zero.

    Of a complex function over R, and of any over C, the result is complex.
    """
    known = {rho.name: rho for rho in _given(group, irreps)}
    total = None
    for name, coefficient in coefficients.items():
        if name not in known:
            raise BadInput(f"{group.name} has no irrep {name!r}; it has {', '.join(known)}.")
        rho = known[name]
        if coefficient.shape[:2] != rho.mats.shape[1:]:
            raise BadInput(
                f"The coefficient of {name} begins with [{rho.dim}, {rho.dim}]; "
                f"this one is {list(coefficient.shape)}."
            )
        part = np.tensordot(rho.mats.conj(), coefficient, ((1, 2), (0, 1)))
        part = part * (rho.weight / group.order)
        total = part if total is None else total + part
    if total is None:
        raise BadInput("There is no coefficient to transform back.")
    return total


def energy(
    group: Group, f: Shaped[Array, "..."], irreps: Sequence[Irrep] | None = None
) -> Float[Array, "..."]:
    """E_rho [irreps, ...] of f [|G|, ...]: squared norms of the isotypic parts, summing to |f|^2.

    The first, "triv", is |G| times the squared mean.
    """
    _check_functions(group, f, 1)
    shares = []
    for rho in _given(group, irreps):
        coefficient = np.tensordot(rho.mats, f, (0, 0))
        shares.append(rho.weight / group.order * (np.abs(coefficient) ** 2).sum(axis=(0, 1)))
    return np.stack(shares)


def energy2(
    group: Group, f: Shaped[Array, "..."], irreps: Sequence[Irrep] | None = None
) -> Float[Array, "..."]:
    """Energies [irreps, irreps, ...] of f [|G|, |G|, ...] on G x G, summing to |f|^2.

    Entry [rho, sigma] is the part that transforms by rho in the first and by sigma in the second
    input. What depends on one input alone lies on (rho, triv) or (triv, sigma); what depends on
    the product a b lies on the diagonal.
    """
    _check_functions(group, f, 2)
    given = _given(group, irreps)
    basis = np.concatenate(
        [np.sqrt(rho.weight / group.order) * rho.mats.reshape(group.order, -1) for rho in given],
        axis=1,
    )
    first = np.tensordot(basis, f, (0, 0))  # [entries, |G|, ...]
    squares = np.abs(np.tensordot(basis, first, (0, 1))) ** 2  # [entries of b, entries of a, ...]
    starts = np.cumsum([0, *(rho.dim**2 for rho in given[:-1])])
    return np.add.reduceat(np.add.reduceat(squares, starts, axis=0), starts, axis=1).swapaxes(0, 1)


def isotypic_projection(group: Group, f: Shaped[Array, "..."], rho: Irrep) -> Inexact[Array, "..."]:
    """The part of f [|G|, ...] in the isotypic component of rho.

    f_rho(x) = (w_rho/|G|) sum_y f(y) chi(y x^{-1}). For real irreps the parts of a real function
    are real; over all irreps they sum to f.
    """
    _check_functions(group, f, 1)
    kernel = rho.character[group.table[:, group.inverse]]  # [y, x]
    return rho.weight / group.order * np.tensordot(kernel, f, (0, 0))


def convolve(group: Group, f: Shaped[Array, " n"], h: Shaped[Array, " n"]) -> Shaped[Array, " n"]:
    """(f * h)(x) = sum over a b = x of f(a) h(b); not commutative unless the group is."""
    _check_functions(group, f, 1)
    return f @ h[group.table[group.inverse]]  # h(a^{-1} x)


def _given(group: Group, irreps: Sequence[Irrep] | None) -> Sequence[Irrep]:
    return real_irreps(group) if irreps is None else irreps


def _check_functions(group: Group, f: Array, axes: int) -> None:
    if f.shape[:axes] != (group.order,) * axes:
        what = "1 axis" if axes == 1 else f"{axes} axes"
        raise BadInput(
            f"A function on {group.name} begins with {what} of length {group.order}; "
            f"this array is {list(f.shape)}."
        )
