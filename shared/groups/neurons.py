"""Neurons on Z_n: which frequency each one carries, how purely, with what phases.

    symbol        here
    N(a, b)       pre-activation of one neuron; `pre` as in `preactivations`
    f             label[j], 1 .. n//2: argmax of first- plus second-order energy; 0 for none
    theta_a       2 pi f a / n
    alpha, phi    amplitude and phase, alpha cos(theta + phi) (`Sinusoids`)
    g, n', d      subgroups.step_size(f, n); d steps turn theta by 2 pi / n'

A simple neuron is alpha_L cos(theta_a + phi_L) + alpha_R cos(theta_b + phi_R) + const (McCracken
et al., 2025, arXiv 2505.18266). By Parseval, the share of the variance on the lines (f, 0) and
(0, f) of the two-dimensional DFT is R^2 of that fit by least squares (`first`); the lines (f, f)
and (f, -f) are the terms in a + b and a - b (`second`). None of it needs the DFT of the grid: the
lines are those of the means over b, over a, and along the two diagonals.

`isotypic` does the same for any finite group and returns the same `Neurons`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Real, Shaped

from shared.experiment.errors import BadInput
from shared.groups.preactivations import Moments, Pre, blocks, main_effects, moments, shape_of
from shared.groups.subgroups import step_size

Array = np.ndarray
Term = Literal["a", "b", "a+b", "a-b"]
ALIVE = 0.01  # largest pre-activation of a neuron that counts as alive (2505.18266, App. E.5)
LEAST_VARIANCE = 1e-6  # and its variance over all pairs
TIE = 1e-9  # difference of R^2 that is rounding
ONE_SIDED = 1e-9  # share of the variance below which a neuron does not depend on an input


@dataclass(frozen=True, eq=False, repr=False)
class Neurons:
    """What m neurons compute, in terms of the real irreps of the group.

    Attributes:
        order: n = |G|.
        label: place of the dominant irrep in `real_irreps(group)`, on Z_n the frequency; 0: none.
        first: share of the variance in the first-order terms of `label`: R^2 of the simple fit.
        second: share in its second-order terms, which depend on both inputs.
        left_label, right_label: the dominant irrep of the part in a and of the part in b alone.
        alive: whether the neuron ever exceeds the threshold, and varies.
        variance: over all pairs.
        first_shares, second_shares: of every irrep; row 0 is zero.
        left_shares, right_shares: of each side's own variance; columns sum to 1, or to 0 where
            the neuron does not depend on that input.
    """

    order: int
    label: Int[Array, " m"]
    first: Float[Array, " m"]
    second: Float[Array, " m"]
    left_label: Int[Array, " m"]
    right_label: Int[Array, " m"]
    alive: Bool[Array, " m"]
    variance: Float[Array, " m"]
    first_shares: Float[Array, "irreps m"]
    second_shares: Float[Array, "irreps m"]
    left_shares: Float[Array, "irreps m"]
    right_shares: Float[Array, "irreps m"]

    def __repr__(self) -> str:
        return f"Neurons({len(self.label)} on {self.order} elements, {self.alive.sum()} alive)"

    @property
    def agree(self) -> Bool[Array, " m"]:
        """Whether both inputs carry the same irrep, and the neuron as a whole too."""
        return (self.left_label == self.label) & (self.right_label == self.label) & (self.label > 0)


def dft2(pre: Pre) -> Float[Array, "n n m"]:
    """Power |fft2|^2 of every neuron over (a, b), the constant removed."""
    n, m = shape_of(pre)
    grid = np.empty((n, n, m))
    for rows, block in blocks(pre):
        grid[rows] = block
    power = np.abs(np.fft.fft2(grid, axes=(0, 1))) ** 2
    power[0, 0] = 0.0
    return power


def cyclic_neurons(
    pre: Pre, *, alive: float = ALIVE, least_variance: float = LEAST_VARIANCE
) -> Neurons:
    """The frequency of every neuron on Z_n, its first- and second-order shares, and both sides.

    Args:
        alive: a neuron is alive if it exceeds this for some pair ...
        least_variance: ... and its variance over all pairs exceeds this.
    """
    found = moments(pre)
    left, right = _power(found.left), _power(found.right)
    second = np.zeros_like(left)
    if not isinstance(pre, tuple):
        total, apart = _diagonal_means(pre, found.mean)
        second = _power(total) + _opposed(_power(apart), len(total))
    return describe(found, left, right, second, alive, least_variance)


def describe(
    found: Moments,
    left: Float[Array, "irreps m"],
    right: Float[Array, "irreps m"],
    second: Float[Array, "irreps m"],
    alive: float,
    least_variance: float,
) -> Neurons:
    """`Neurons` from the variance that each irrep explains: of a, of b, of both together."""
    first_shares = _shares(left + right, found.variance)
    second_shares = _shares(second, found.variance)
    label = (first_shares + second_shares).argmax(axis=0)
    at_label = label[None]
    sides = []
    for energy in (left, right):
        own = energy.sum(axis=0)
        own = np.where(own > ONE_SIDED * found.variance, own, 0.0)
        shares = _shares(energy, own)
        sides.append((shares, shares.argmax(axis=0)))
    return Neurons(
        order=len(found.left),
        label=label,
        first=np.take_along_axis(first_shares, at_label, 0)[0],
        second=np.take_along_axis(second_shares, at_label, 0)[0],
        left_label=sides[0][1],
        right_label=sides[1][1],
        alive=(found.largest > alive) & (found.variance > least_variance),
        variance=found.variance,
        first_shares=first_shares,
        second_shares=second_shares,
        left_shares=sides[0][0],
        right_shares=sides[1][0],
    )


def _shares(energy: Float[Array, "irreps m"], whole: Float[Array, " m"]) -> Array:
    """energy / whole with the constant (row 0) left out; zero where there is nothing to share."""
    shares = np.divide(energy, whole, out=np.zeros_like(energy), where=whole > 0)
    shares[0] = 0.0
    return shares


def _power(values: Float[Array, "n m"]) -> Float[Array, "f m"]:
    """Variance at each frequency 0 .. n//2; f and -f together, the Nyquist line of even n once."""
    n = len(values)
    power = np.abs(np.fft.rfft(values, axis=0)) ** 2 / n**2
    power[1 : (n + 1) // 2] *= 2
    return power


def _opposed(power: Float[Array, "f m"], n: int) -> Float[Array, "f m"]:
    """Power in a - b without the Nyquist line of even n, which is the same line as in a + b."""
    if n % 2 == 0:
        power[n // 2] = 0.0
    return power


def _diagonal_means(
    pre: Real[Array, "n n m"], mean: Float[Array, " m"]
) -> tuple[Float[Array, "n m"], Float[Array, "n m"]]:
    """Centred means over all pairs with a + b = c, and over all with a - b = c."""
    n = len(pre)
    total, apart = np.zeros((n, len(mean))), np.zeros((n, len(mean)))
    c = np.arange(n)
    for rows, block in blocks(pre):
        for a, row in zip(range(rows.start, rows.stop), block, strict=True):
            total += row[(c - a) % n]
            apart += row[(a - c) % n]
    return total / n - mean, apart / n - mean


# Phases and fits ----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Sinusoids:
    """amp_left cos(theta_a + phi_left) + amp_right cos(theta_b + phi_right) + mean, per neuron.

    Phases in (-pi, pi]; at the Nyquist frequency they are 0 or pi. For label 0 all are zero.
    """

    amp_left: Float[Array, " m"]
    phi_left: Float[Array, " m"]
    amp_right: Float[Array, " m"]
    phi_right: Float[Array, " m"]
    mean: Float[Array, " m"]


def sinusoids(pre: Pre, label: Shaped[Array, "..."]) -> Sinusoids:
    """Amplitudes and phases of the least-squares simple neuron at each neuron's frequency."""
    left, right = main_effects(pre)
    n, m = left.shape
    label = _labels(label, n, m)
    found: list[Array] = []
    for side in (left, right):
        line = np.take_along_axis(np.fft.rfft(side, axis=0), label[None], 0)[0]
        line = np.where(label > 0, line * (np.where(2 * label == n, 1, 2) / n), 0)
        found += [np.abs(line), np.where(label > 0, np.angle(line), 0.0)]
    return Sinusoids(*found, mean=left.mean(axis=0))


def first_order(
    pre: Pre, label: Shaped[Array, "..."]
) -> tuple[Float[Array, "n m"], Float[Array, "n m"]]:
    """The simple neurons of `sinusoids` as additive parts, the constant in the first.

    Fed back as `pre`, they replace every neuron by its fit. Label 0 leaves the mean alone.
    """
    left, right = main_effects(pre)
    keep = frequency_mask(len(left), _labels(label, *left.shape), left.shape[1])
    keep[0] = True
    return _filtered(left, keep), _filtered(right, keep)


class Fit(NamedTuple):
    """Least-squares fit of every neuron. values: on all pairs. r2: share of the variance."""

    values: Float[Array, "n n m"]
    r2: Float[Array, " m"]


def fit_sinusoids(
    pre: Pre,
    frequencies: Shaped[Array, "..."],
    terms: Sequence[Term] = ("a", "b"),
) -> Fit:
    """Least squares of every neuron on cos and sin of f a, f b, f (a + b), f (a - b), and 1.

    Args:
        frequencies: one per neuron [m], or a mask [n//2 + 1, m] from `frequency_mask`.
        terms: which of the four; ("a", "b") is first order.
    """
    found = moments(pre)
    n, m = found.left.shape
    keep = frequencies
    if keep.ndim == 1:
        keep = frequency_mask(n, _labels(keep, n, m), m)
    if keep.shape != (n // 2 + 1, m) or keep.dtype != bool:
        raise BadInput(
            f"Frequencies are [{m}] whole numbers or a mask [{n // 2 + 1}, {m}]; "
            f"got {keep.dtype} {list(keep.shape)}."
        )
    unknown = [term for term in terms if term not in ("a", "b", "a+b", "a-b")]
    if unknown or not terms:
        raise BadInput(f"Terms are among 'a', 'b', 'a+b', 'a-b'; got {list(terms)}.")
    parts = {"a": found.left, "b": found.right}
    if not isinstance(pre, tuple):
        parts["a+b"], parts["a-b"] = _diagonal_means(pre, found.mean)
    x = np.arange(n)
    place = {"a": x[:, None], "b": x[None], "a+b": x[:, None] + x, "a-b": x[:, None] - x}
    values = np.broadcast_to(found.mean, (n, n, m)).copy()
    explained = np.zeros(m)
    for term in dict.fromkeys(terms):
        if term not in parts:  # additive: nothing there
            continue
        kept = keep.copy()
        kept[0] = False
        if term == "a-b" and "a+b" in terms and n % 2 == 0:
            kept[n // 2] = False  # the same line as in a + b
        part = _filtered(parts[term], kept)
        values += part[place[term] % n]
        explained += part.var(axis=0)
    r2 = np.divide(explained, found.variance, out=np.zeros(m), where=found.variance > 0)
    return Fit(values, r2)


def frequency_mask(
    n: int, frequencies: Sequence[int] | Int[Array, " m"], m: int
) -> Bool[Array, "f m"]:
    """[n//2 + 1, m], True where a neuron may use a frequency.

    An array of length m gives each neuron its own frequency; any other sequence gives every
    neuron all of them (in deep layers: the frequencies of the first).
    """
    mask = np.zeros((n // 2 + 1, m), bool)
    if isinstance(frequencies, np.ndarray):
        mask[_labels(frequencies, n, m), np.arange(m)] = True
    else:
        mask[_labels(np.array(frequencies, int), n, len(frequencies))] = True
    mask[0] = False
    return mask


def _filtered(values: Float[Array, "n m"], keep: Bool[Array, "f m"]) -> Float[Array, "n m"]:
    return np.fft.irfft(np.fft.rfft(values, axis=0) * keep, n=len(values), axis=0)


def _labels(label: Shaped[Array, "..."], n: int, m: int) -> Int[Array, " m"]:
    if label.shape != (m,) or not np.issubdtype(label.dtype, np.integer):
        raise BadInput(
            f"There is one whole frequency per neuron, [{m}]; got {label.dtype} "
            f"{list(label.shape)}."
        )
    outside = label[(label < 0) | (label > n // 2)]
    if len(outside):
        raise BadInput(f"Frequencies on Z_{n} are 1..{n // 2} (0: none); {outside[0]} is not.")
    return label.astype(int)


# Neurons with more than one line ------------------------------------------------------------------


def spectral_lines(neurons: Neurons, floor: float = 0.05) -> Int[Array, " m"]:
    """How many frequencies carry more than `floor` of the variance each."""
    return ((neurons.first_shares + neurons.second_shares) > floor).sum(axis=0)


def is_harmonic(neurons: Neurons, floor: float = 0.05, lines: int = 3) -> Bool[Array, " m"]:
    """Neurons that mix `lines` frequencies or more, such as harmonics or half-integer ones."""
    return spectral_lines(neurons, floor) >= lines


@dataclass(frozen=True, eq=False)
class HalfFit:
    """The best single sinusoid when frequencies go in steps of one half.

    Attributes:
        frequency: 1/2, 1, 3/2, ..., n//2; 0 for a constant neuron.
        r2: share of the variance of the neuron that it explains.
        gain: by how much a half-integer frequency beats the best integer one; 0 if none does.
    """

    frequency: Float[Array, " m"]
    r2: Float[Array, " m"]
    gain: Float[Array, " m"]


def half_integer_fit(pre: Pre) -> HalfFit:
    """Least squares of both inputs at one frequency out of 1/2, 1, 3/2, ...

    A half-integer frequency is not periodic on Z_n (it changes sign once around), and the DFT
    smears it over many lines. It is taken with the jump between n - 1 and 0.
    """
    found = moments(pre)
    n, m = found.left.shape
    frequency = np.arange(1, 2 * (n // 2) + 1) / 2
    r2 = np.zeros((len(frequency), m))
    for i, q in enumerate(frequency):
        angle = 2 * np.pi * q * np.arange(n) / n
        waves = np.stack([np.cos(angle), np.sin(angle)], 1)
        basis, size, _ = np.linalg.svd(waves - waves.mean(axis=0), full_matrices=False)
        basis = basis[:, size > 1e-6]  # the sine vanishes at the Nyquist frequency
        explained = ((basis.T @ np.stack([found.left, found.right])) ** 2).sum(axis=(0, 1))
        np.divide(explained / n, found.variance, out=r2[i], where=found.variance > 0)
    half, whole = r2[0::2].max(axis=0), r2[1::2].max(axis=0)
    is_half = half > whole + TIE  # where both fit equally well, as on three points: the integer
    best = np.where(is_half, r2[0::2].argmax(axis=0) + 0.5, r2[1::2].argmax(axis=0) + 1.0)
    best[found.variance == 0] = 0.0
    return HalfFit(best, np.where(is_half, half, whole), np.where(is_half, half - whole, 0.0))


# Remapping ----------------------------------------------------------------------------------------


def remap(values: Shaped[Array, "..."], frequency: int, axis: int = 0) -> Shaped[Array, "..."]:
    """r(y) = h(d y) for y in Z_{n'}: what has frequency f on Z_n has frequency 1 on Z_{n'}.

    Definition 4.2 of 2505.18266. Where g = gcd(f, n) > 1, h has to be constant on the cosets of
    n' Z, and one element of each is kept. Deviation: the formula printed there, g(d x) = h(x), is
    the inverse map and leads to frequency f^2; the text asks for this one.
    """
    n = values.shape[axis]
    step = step_size(frequency, n)
    return np.take(values, step.step * np.arange(step.period) % n, axis=axis)


def remap_positions(
    x: Real[Array, "..."], frequency: int | Int[Array, "..."], n: int
) -> Real[Array, "..."]:
    """Where position x of Z_n lies after `remap`: f x mod n, on the circle of length n.

    Under it the phase 2 pi f x / n becomes 2 pi y / n, whichever f. For g > 1 these are the
    multiples of g: g times the position in Z_{n'}.
    """
    return (x * frequency) % n
