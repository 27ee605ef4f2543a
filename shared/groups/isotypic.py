"""Neurons on any finite group: which irrep each one carries, on each of its inputs.

The part of a neuron in a alone and its part in b alone are functions on G; their energy per real
irrep (`fourier.energy`: a complex irrep together with its conjugate) sorts the neuron. The left
input transforms by translations from the left and the right one by translations from the right,
so the two sides are sorted apart, and `Neurons.agree` says where they agree.

    first order   energy on (rho, triv) and (triv, rho) of G x G
    second order  energy on (rho, rho): functions of a b in rho, and others of both inputs

On Z_n this is `neurons.cyclic_neurons`, label by label and share by share; that is faster.
"""

import numpy as np
from jaxtyping import Float, Int, Real, Shaped

from shared.experiment.errors import BadInput
from shared.groups.fourier import energy, energy2, isotypic_projection
from shared.groups.group import Group
from shared.groups.irreps import real_irreps
from shared.groups.neurons import ALIVE, LEAST_VARIANCE, Neurons, describe
from shared.groups.preactivations import Pre, main_effects, moments, shape_of

Array = np.ndarray
BLOCK = 2**22  # numbers held at once


def irrep_shares(group: Group, f: Real[Array, "..."]) -> Float[Array, "irreps m"]:
    """Share of the variance of each column of f [|G|, m] in every real irrep.

    The constant is left out: row 0 is zero, and columns sum to 1 (to 0 where f is constant). For
    the output weights [m, |G|] of a layer pass their transpose.
    """
    if f.ndim != 2 or len(f) != group.order:
        raise BadInput(f"Functions on {group.name} are [{group.order}, m]; got {list(f.shape)}.")
    f = f.astype(float)
    found = energy(group, f - f.mean(axis=0))
    found[0] = 0.0
    whole = found.sum(axis=0)
    rounding = (4 * np.finfo(float).eps * np.abs(f).max(axis=0)) ** 2 * len(f)
    return np.divide(found, whole, out=np.zeros_like(found), where=whole > rounding)


def irrep_neurons(
    group: Group, pre: Pre, *, alive: float = ALIVE, least_variance: float = LEAST_VARIANCE
) -> Neurons:
    """The irrep of every neuron, its first- and second-order shares, and both sides.

    Labels are places in `real_irreps(group)`. Arguments as in `neurons.cyclic_neurons`.
    """
    _on(group, pre)
    found = moments(pre)
    n = group.order
    left, right = energy(group, found.left) / n, energy(group, found.right) / n
    second = np.zeros_like(left)
    if not isinstance(pre, tuple):
        second = _both(group, pre) / n**2
    return describe(found, left, right, second, alive, least_variance)


def irrep_first_order(
    group: Group, pre: Pre, label: Int[Array, " m"]
) -> tuple[Float[Array, "n m"], Float[Array, "n m"]]:
    """The isotypic parts of both sides in each neuron's irrep, the constant in the first.

    Fed back as `pre`, they replace every neuron by its fit. Label 0 leaves the mean alone.
    """
    _on(group, pre)
    irreps = real_irreps(group)
    if label.shape != (shape_of(pre)[1],) or label.min() < 0 or label.max() >= len(irreps):
        raise BadInput(
            f"There is one label per neuron, [{shape_of(pre)[1]}], among 0..{len(irreps) - 1}."
        )
    left, right = main_effects(pre)
    mean = left.mean(axis=0)
    fits = np.zeros_like(left), np.zeros_like(right)
    for place in np.unique(label[label > 0]):
        of_it = label == place
        for fit, side in zip(fits, (left - mean, right), strict=True):
            fit[:, of_it] = isotypic_projection(group, side[:, of_it], irreps[place])
    return fits[0] + mean, fits[1]


def _both(group: Group, pre: Shaped[Array, "n n m"]) -> Float[Array, "irreps m"]:
    """Energy on (rho, rho) of G x G; [irreps, irreps] of all neurons would not fit in memory."""
    irreps = real_irreps(group)
    entries = sum(rho.dim**2 for rho in irreps)
    step = max(1, BLOCK // entries**2)
    found = np.zeros((len(irreps), pre.shape[2]))
    for start in range(0, pre.shape[2], step):
        some = slice(start, start + step)
        every = energy2(group, pre[:, :, some].astype(float), irreps)
        found[:, some] = np.diagonal(every).T
    return found


def _on(group: Group, pre: Pre) -> None:
    n, _ = shape_of(pre)
    if n != group.order:
        raise BadInput(f"{group.name} has {group.order} elements; these neurons see {n}.")
