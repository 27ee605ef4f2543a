"""Modular addition by approximate cosets: simple neurons, margins, fits, hand-built networks.

McCracken, Moisescu-Pareja, Letourneau, Precup, Love: Uncovering a Universal Abstract Algorithm for
Modular Addition in Neural Networks, NeurIPS 2025, arXiv 2505.18266.

The task is c = a + b mod n on all n^2 pairs. Arrays over pairs are indexed [a, b, ...]. All
functions are exact or in double precision. This file needs numpy and jaxtyping, and nothing else of
this repository.

    symbol      here            meaning
    n           n               modulus; Z_n is the group
    f           f               frequency 1 ... floor(n/2) of a sinusoid cos(2 pi f x / n)
    g, n'       gcd, period     gcd(f, n) and n / g: the sinusoid repeats every n' elements
    d           step            step size: d steps onwards the sinusoid has turned by 2 pi / n'
    s_A, s_B    shift           where a neuron's sinusoids in a and in b peak
    h(k)        ideal_logits    sum over frequencies of cos(2 pi f k / n), k the distance from a + b
    m           len(freqs)      number of frequencies (and, in shapes, number of neurons)
    delta       delta           promised margin per frequency
    rho         rho             probability with which random frequencies keep the promise
    theta_a     -               2 pi f a / n

A simple neuron (section 3) is ReLU(cos(theta_a - 2 pi f s_A / n) + cos(theta_b - 2 pi f s_B / n)),
read out by alpha cos(2 pi f (k - s_A - s_B) / n): the output phase is the sum of the input phases.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

Array = np.ndarray


def _split(f: int, n: int) -> tuple[int, int]:
    """g = gcd(f, n) and n' = n / g of a frequency that is not constant on Z_n."""
    if n < 3:
        raise ValueError(f"The modulus n must be at least 3; got {n}.")
    if f % n == 0:
        raise ValueError(f"A frequency must not be a multiple of n = {n}; got {f}.")
    g = math.gcd(f, n)
    return g, n // g


def _frequencies(freqs: Iterable[int], n: int) -> list[int]:
    found = [int(f) for f in freqs]
    if not found:
        raise ValueError("At least one frequency is needed; got none.")
    for f in found:
        _split(f, n)
    return found


# --- Step size, remapping, approximate cosets (section 4.1) ---------------------------------------


def step_size(f: int, n: int) -> int:
    """The step size d = (f/g)^{-1} mod n', g = gcd(f, n), n' = n/g (Definition 4.1).

    From x to x + d the sinusoid of frequency f turns by 2 pi / n', the least that it can.

    Raises:
        ValueError: f is a multiple of n (a constant has no step), or n < 3.
    """
    g, period = _split(f, n)
    return pow(f // g, -1, period)


def remap(values: Shaped[Array, ...], f: int, n: int, axis: int = 0) -> Shaped[Array, ...]:
    """Read every d-th value: r(y) = values(d y), y in Z_{n'} (Definition 4.2).

    A sinusoid of frequency f becomes one of frequency 1 on Z_{n'}, whatever its phase.

    Deviation: the printed formula, g(d x) = h(x), is the inverse map and gives frequency f^2 with
    the d of Definition 4.1; this is the map that the figures show.

    Raises:
        ValueError: `values` does not have n entries along `axis`, or f as in `step_size`.
    """
    if values.shape[axis] != n:
        raise ValueError(f"Axis {axis} must have n = {n} entries; it has {values.shape[axis]}.")
    _, period = _split(f, n)
    return np.take(values, step_size(f, n) * np.arange(period) % n, axis=axis)


def approximate_coset(c: int, f: int, n: int, k1: int, k2: int) -> list[int]:
    """{c - k1 d, ..., c, ..., c + k2 d} + n'Z, ascending (Definition 4.3).

    A path around c on the Cayley graph of Z_n with generator d; where g > 1, each vertex of the
    path is a coset of the subgroup n'Z, so k1 = k2 = 0 is an exact coset.

    Raises:
        ValueError: k1 or k2 is outside 0 ... n, or f as in `step_size`.
    """
    g, period = _split(f, n)
    for k in (k1, k2):
        if not 0 <= k <= n:
            raise ValueError(f"k1 and k2 must lie in 0 ... n = {n}; got {k1} and {k2}.")
    d = step_size(f, n)
    return sorted({(c + j * d + t * period) % n for j in range(-k1, k2 + 1) for t in range(g)})


def positive_set(f: int, n: int, s: float | int, bias: float | int = 0.0) -> set[int]:
    """{x : cos(2 pi f (x - s) / n) + bias > 0}, where a sinusoid's ReLU is on.

    For whole s this is the approximate coset around s of all |j| < n' arccos(-bias) / (2 pi)
    (Theorem 4.4; a quarter of n' without bias). Values within 1e-12 of zero count as zero.
    """
    _split(f, n)
    wave = np.cos(2 * np.pi * (f * (np.arange(n) - s) % n) / n) + bias
    return {int(x) for x in np.flatnonzero(wave > 1e-12)}


def is_approximate_coset(S: Iterable[int], f: int, n: int) -> bool:
    """Whether S is an approximate coset of frequency f: a path of whole cosets of n'Z, step d.

    Single cosets (paths of one vertex) and all of Z_n count; the empty set does not.
    """
    g, period = _split(f, n)
    members = {int(x) % n for x in S}
    if not members:
        return False
    vertices = {f // g * x % period for x in members}  # x = d y + n' t lies at y
    if len(members) != g * len(vertices):
        return False  # a vertex that is only partly there
    ends = sum((y + 1) % period not in vertices for y in vertices)
    return ends <= 1


def cayley_distance(x: int, y: int, f: int, n: int) -> int:
    """Steps of +-d from x to y on the Cayley graph; 0 within a coset of n'Z."""
    g, period = _split(f, n)
    ahead = f // g * (x - y) % period
    return min(ahead, period - ahead)


# --- The margin of random frequencies (section 4.3) -----------------------------------------------


def ideal_logits(n: int, freqs: Sequence[int]) -> Float[Array, " n"]:
    """h(k) = sum_l cos(2 pi f_l k / n): the logits of k = 0 ... n-1 steps from the answer."""
    waves = np.outer(np.arange(n), _frequencies(freqs, n)) % n
    return np.cos(2 * np.pi * waves / n).sum(axis=1)


def ideal_gap(n: int, freqs: Sequence[int]) -> tuple[float, int]:
    """The margin m - max_{k != 0} h(k) of an ideal readout, and the (smallest) worst k.

    With all floor(n/2) frequencies and n odd it is n / 2. A frequency may occur repeatedly.

    Raises:
        ValueError: no frequency, or one that is a multiple of n.
    """
    h = ideal_logits(n, freqs)
    wrong = h[1:]
    worst = int(np.flatnonzero(wrong > wrong.max() - 1e-12)[0]) + 1
    return float(h[0] - wrong.max()), worst


def wrong_mass(n: int, freqs: Sequence[int]) -> float:
    """Softmax mass of all wrong classes under the ideal logits h (Corollary 4.8)."""
    h = ideal_logits(n, freqs)
    weights = np.exp(h - h[0])
    return float(weights[1:].sum() / weights.sum())


def min_frequencies(n: int, delta: float, rho: float) -> float:
    """The bound of Theorem 4.7: more than this many random frequencies have gap > delta m w.p. rho.

        m > (2 ln n - 2 ln(2 - 2 rho)) / (ln(pi / delta) - 1)

    Its proof is a volume argument with a second-order cosine, so a heuristic; `gap_probability`
    checks it. delta = pi / e^3 and rho = 1/2 give ln n.

    Raises:
        ValueError: delta or rho outside (0, 1), or n < 3.
    """
    if n < 3:
        raise ValueError(f"The modulus n must be at least 3; got {n}.")
    if not 0 < delta < 1:
        raise ValueError(f"delta must lie in (0, 1); got {delta:g}.")
    if not 0 < rho < 1:
        raise ValueError(f"rho must lie in (0, 1); got {rho:g}.")
    return (2 * math.log(n) - 2 * math.log(2 - 2 * rho)) / (math.log(math.pi / delta) - 1)


def random_logits(
    n: int, m: int, draws: int, rng: np.random.Generator
) -> Float[Array, "draws wrong"]:
    """h(k), k = 1 ... n-1, of m frequencies drawn uniformly, with replacement, from 1 ... n/2."""
    if n < 3:
        raise ValueError(f"The modulus n must be at least 3; got {n}.")
    if m < 1 or draws < 1:
        raise ValueError(f"m and draws must be at least 1; got {m} and {draws}.")
    waves = np.cos(2 * np.pi * (np.outer(np.arange(1, n // 2 + 1), np.arange(1, n)) % n) / n)
    drawn = rng.integers(0, n // 2, size=(m, draws))
    h = np.zeros((draws, n - 1))
    for row in drawn:
        h += waves[row]
    return h


def random_gaps(n: int, m: int, draws: int, rng: np.random.Generator) -> Float[Array, " draws"]:
    """Gaps m - max_{k != 0} h(k) of `random_logits`: the random variable of Theorem 4.7."""
    return m - random_logits(n, m, draws, rng).max(axis=1)


def gap_probability(n: int, m: int, delta: float, draws: int, rng: np.random.Generator) -> float:
    """Monte-Carlo estimate of P(gap > delta m) over `random_gaps`, which Theorem 4.7 bounds."""
    return float(np.mean(random_gaps(n, m, draws, rng) > delta * m))


# --- Simple neurons in trained networks: fits and their substitution (section 5) ------------------


class Spectrum(NamedTuple):
    """Energy (variance) of each neuron over the n^2 pairs, by frequency f = 1 ... floor(n/2).

    first: of sinusoids in a and in b. second: of sinusoids in a + b and in a - b. total: all of it.
    """

    first: Float[Array, "F m"]
    second: Float[Array, "F m"]
    total: Float[Array, " m"]


def spectrum(pre: Float[Array, "n n m"]) -> Spectrum:
    """Energies of pre-activations, from their two-dimensional DFT. By Parseval, they are exact.

    At f = n/2 (n even) the cosine is +-1, the sine is 0, and a + b and a - b are the same wave.
    """
    n = pre.shape[0]
    dft = np.fft.fft2(pre, axes=(0, 1)) / n**2
    power = dft.real**2 + dft.imag**2
    f = np.arange(1, n // 2 + 1)
    middle = (2 * f == n)[:, None]
    first = power[f, 0] + power[0, f]
    second = power[f, f] + np.where(middle, 0.0, power[f, -f])
    weight = np.where(middle, 1.0, 2.0)
    total = power.sum(axis=(0, 1)) - power[0, 0]
    return Spectrum(weight * first, weight * second, total)


@dataclass(frozen=True)
class Fit:
    """Least-squares fits of m neurons by sinusoids.

    Attributes:
        freq: each neuron's frequency, of several the one that explains most.
        freqs: the frequencies of the columns; where each neuron has its own, empty.
        coef: a constant, then for every frequency f the coefficients of cos, sin of theta_a and of
            theta_b, at order 2 also of theta_a + theta_b and of theta_a - theta_b.
        r2: 1 - residual / variance over all pairs; 1 for a constant neuron.
        pred: the fitted pre-activations.
    """

    freq: Int[Array, " m"]
    freqs: tuple[int, ...]
    coef: Float[Array, "m columns"]
    r2: Float[Array, " m"]
    pred: Float[Array, "n n m"]

    @property
    def amplitudes(self) -> Float[Array, "m waves"]:
        """Amplitude alpha >= 0 of every wave alpha cos(theta + phi), in the order of `coef`."""
        return np.hypot(self.coef[:, 1::2], self.coef[:, 2::2])

    @property
    def phases(self) -> Float[Array, "m waves"]:
        """Phase phi of every wave alpha cos(theta + phi), in radians; the wave peaks at -phi."""
        return np.arctan2(-self.coef[:, 2::2], self.coef[:, 1::2])


def fit_simple(
    pre: Float[Array, "n n_ m"], order: Literal[1, 2] = 1, freqs: Sequence[int] | None = None
) -> Fit:
    """Fit each neuron's pre-activation by sinusoids; least squares over all pairs (section 5.2).

    First order: const + alpha_L cos(theta_a + phi_L) + alpha_R cos(theta_b + phi_R).
    Second order adds sinusoids in a + b and in a - b. Waves of integer frequency are orthogonal on
    the grid, so their coefficients are those of the DFT.

    Args:
        freqs: fit all neurons by the waves of all these frequencies together (later layers);
            None: each neuron by its own best frequency (first layer).

    Raises:
        ValueError: the first two axes differ, the order is not 1 or 2, or a frequency twice (up
            to sign) or out of range.
    """
    n = pre.shape[0]
    if pre.shape[1] != n or n < 3:
        raise ValueError(f"pre must be n x n x m with n at least 3; its shape is {pre.shape}.")
    if order not in (1, 2):
        raise ValueError(f"order must be 1 or 2; got {order}.")
    energy = spectrum(pre)
    explained = energy.first + energy.second if order == 2 else energy.first  # [F, m]
    if freqs is None:
        own = explained.argmax(axis=0) + 1
        coef, pred = _project(pre, order, own[None])
        return Fit(own, (), coef, _r2(explained.max(axis=0), energy.total), pred)
    chosen = tuple(min(f % n, -f % n) for f in _frequencies(freqs, n))
    if len(set(chosen)) < len(chosen):
        raise ValueError(f"Each frequency may be given once (f and n - f are one); got {freqs}.")
    rows = np.array(chosen)
    coef, pred = _project(pre, order, np.repeat(rows[:, None], pre.shape[2], axis=1))
    best = explained[rows - 1]
    return Fit(rows[best.argmax(axis=0)], chosen, coef, _r2(best.sum(axis=0), energy.total), pred)


def _r2(explained: Float[Array, " m"], total: Float[Array, " m"]) -> Float[Array, " m"]:
    return np.where(total > 0, explained / np.where(total > 0, total, 1.0), 1.0)


def _project(
    pre: Float[Array, "n n m"], order: int, freq: Int[Array, "count m"]
) -> tuple[Float[Array, "m columns"], Float[Array, "n n m"]]:
    """Coefficients of the waves of `freq`, several for each neuron, and their sum over the grid."""
    n, m = pre.shape[0], pre.shape[2]
    dft = np.fft.fft2(pre, axes=(0, 1)) / n**2
    x, neuron = np.arange(n), np.arange(m)
    columns = [dft[0, 0].real]
    in_a, in_b = np.zeros((n, m)), np.zeros((n, m))
    in_sum, in_difference = np.zeros((n, m)), np.zeros((n, m))
    places = [(in_a, 1, 0), (in_b, 0, 1), (in_sum, 1, 1), (in_difference, 1, -1)]
    for f in freq:
        angle = 2 * np.pi * (np.outer(x, f) % n) / n
        middle = 2 * f == n
        for wave, i, j in places[: 2 * order]:
            line = dft[i * f, j * f, neuron]
            # At n/2 the line is its own mirror image, and a - b is the wave a + b over again.
            weight = np.where(middle, 0.0 if j < 0 else 1.0, 2.0)
            cos, sin = weight * line.real, -weight * np.where(middle, 0.0, line.imag)
            wave += np.cos(angle) * cos + np.sin(angle) * sin
            columns += [cos, sin]
    pred = columns[0] + in_a[:, None] + in_b[None]
    if order == 2:
        pred = pred + in_sum[(x[:, None] + x) % n] + in_difference[(x[:, None] - x) % n]
    return np.stack(columns, axis=1), pred


def is_fine_tuning(
    power: Float[Array, "n n m"], share: float = 0.05, lines: int = 3, harmonics: int = 4
) -> Bool[Array, " m"]:
    """Which neurons mix harmonics of one base frequency ("fine-tuning" neurons, appendix G).

    A neuron is one if at least `lines` frequencies hold more than `share` of its energy each (in
    first-order waves), and all of them are, up to sign, h f_0 mod n with h = 1 ... `harmonics` for
    one base frequency f_0. Without a bound on h every frequency is a multiple of every other when n
    is prime.

    Deviation: the paper screens by the absolute size of DFT lines, which depends on the scale of
    its weights.

    Args:
        power: |DFT|^2 of the pre-activations over (a, b); its entry [0, 0] is not used.
    """
    n = power.shape[0]
    f = np.arange(1, n // 2 + 1)
    weight = np.where(2 * f == n, 1.0, 2.0)[:, None]
    total = power.sum(axis=(0, 1)) - power[0, 0]
    first = weight * (power[f, 0] + power[0, f])
    strong = first > share * np.where(total > 0, total, np.inf)  # [F, m]
    multiple = np.outer(f, np.arange(1, harmonics + 1)) % n
    multiple = np.minimum(multiple, n - multiple)  # [base, harmonic]
    member = np.zeros((len(f), n // 2 + 1), bool)
    np.put_along_axis(member, multiple, True, axis=1)  # [base, frequency]
    outside = (~member[:, 1:]).astype(int) @ strong.astype(int)  # strong lines that no base has
    return (strong.sum(axis=0) >= lines) & (outside == 0).any(axis=0)


Forward = Callable[[Any, Any, Float[Array, "n n m"]], Float[Array, "n n n"]]
"""(params, spec, pre-activations of layer 1) -> logits: the rest of a network."""


def substitute(
    params: Any, spec: Any, fits: Fit, forward: Forward | None = None
) -> tuple[float, float]:
    """Accuracy and cross-entropy when every first-layer neuron is replaced by its fit (figure 6).

    Args:
        params, spec: a network. fits: of its first layer; everything after it is computed anew.
        forward: the rest of the network; None for `Weights` (spec is not used then).

    Returns:
        (accuracy, mean loss) over all n^2 pairs.
    """
    return score((forward or _readout)(params, spec, fits.pred))


def score(logits: Float[Array, "n n n"]) -> tuple[float, float]:
    """Accuracy and mean cross-entropy of a + b mod n over all pairs; a tie is wrong."""
    margin, loss = margins(logits), _losses(logits)
    return float((margin > 0).mean()), float(loss.mean())


def margins(logits: Float[Array, "n n n"]) -> Float[Array, "n n"]:
    """Logit of a + b mod n minus the largest other, of every pair."""
    answer = _answers(logits.shape[0])
    right = np.take_along_axis(logits, answer, axis=2)
    others = logits.copy()
    np.put_along_axis(others, answer, -np.inf, axis=2)
    return right[..., 0] - others.max(axis=2)


def _losses(logits: Float[Array, "n n n"]) -> Float[Array, "n n"]:
    shifted = logits - np.take_along_axis(logits, _answers(logits.shape[0]), axis=2)
    top = shifted.max(axis=2)
    return top + np.log(np.exp(shifted - top[..., None]).sum(axis=2))


def _answers(n: int) -> Int[Array, "n n 1"]:
    x = np.arange(n)
    return ((x[:, None] + x) % n)[..., None]


def equivariance_error(cluster_logits: Float[Array, "n n n"]) -> float:
    """Mean over shifts (s, t) of |l(a+s, b+t, k+s+t) - l(a, b, k)|^2 / Var(l), 0 if equivariant.

    Averaging over all shifts is projecting on the functions of k - a - b, so the mean is
    2 (1 - |projection|^2 / |l|^2) for centred l; 2 is what unrelated logits have.

    Raises:
        ValueError: the logits are constant.
    """
    n = cluster_logits.shape[0]
    l = cluster_logits - cluster_logits.mean()  # noqa: E741 - the paper's letter
    energy = float((l**2).sum())
    if energy == 0:
        raise ValueError("The logits are constant: their equivariance error is not defined.")
    x = np.arange(n)
    k = (x[:, None, None] + x[:, None] + x) % n  # [a, b, distance]
    along = np.take_along_axis(l, k, axis=2).mean(axis=(0, 1))
    return 2 * (1 - float(n**2 * (along**2).sum()) / energy)


# --- Networks by hand: the template of Algorithm 4.6 and the exact CRT (Remark 4.5) ---------------


class Weights(NamedTuple):
    """A hand-built network: logits = relu(left[a] + right[b] + both[a + b] - bias) @ readout."""

    left: Float[Array, "n m"]
    right: Float[Array, "n m"]
    both: Float[Array, "n m"]
    bias: Float[Array, " m"]
    readout: Float[Array, "m n"]
    freq: Int[Array, " m"]


Phases = Callable[[int], Float[Array, "2 neurons"]]
"""How many phases a frequency has -> phases (in turns) in a and in b of its neurons."""


def torus_phases(count: int) -> Float[Array, "2 neurons"]:
    """All pairs of `count` evenly spaced phases, as a trained concatenating MLP has them."""
    grid = np.arange(count) / count
    return np.stack([np.repeat(grid, count), np.tile(grid, count)])


def disc_phases(count: int) -> Float[Array, "2 neurons"]:
    """Equal phases in a and b, as a network that adds embeddings must have them ("pizza")."""
    grid = np.arange(count) / count
    return np.stack([grid, grid])


def acrt_network(
    n: int, freqs: Sequence[int], n_phases: int, phases: Phases = torus_phases
) -> Weights:
    """Simple neurons that add modulo n: the template of Algorithm 4.6 with weights put in by hand.

    For each frequency, neurons cos(theta_a - phi_A) + cos(theta_b - phi_B) for the phases that
    `phases(n_phases)` lists, read out by cos(theta_k - phi_A - phi_B), normalised so that a
    frequency's logits have about unit amplitude.

    Raises:
        ValueError: no frequency, one that is a multiple of n, or fewer than one phase.
    """
    found = _frequencies(freqs, n)
    if n_phases < 1:
        raise ValueError(f"n_phases must be at least 1; got {n_phases}.")
    turns = phases(n_phases)
    x = np.arange(n)[:, None, None]
    theta = 2 * np.pi * (x * np.array(found)[:, None] % n) / n  # [n, frequency, 1]
    angle = 2 * np.pi * turns

    def wave(phi: Float[Array, " neurons"]) -> Float[Array, "n m"]:
        return np.cos(theta - phi).reshape(n, -1)

    m = len(found) * turns.shape[1]
    # The mean over independent phases of relu(.) e^{i (phi_A + phi_B)} is 4 / (3 pi^2) e^{...}.
    scale = 3 * np.pi**2 / (4 * turns.shape[1])
    return Weights(
        wave(angle[0]),
        wave(angle[1]),
        np.zeros((n, m)),
        np.zeros(m),
        scale * wave(angle[0] + angle[1]).T,
        np.repeat(found, turns.shape[1]),
    )


def sinusoidal_crt(n: int, factors: Sequence[int]) -> Weights:
    """The Chinese remainder theorem by sinusoids, exact for composite n (Remark 4.5).

    For each factor q, q neurons relu(cos(2 pi (n/q) (c - s) / n) - cos(2 pi / q)) of c = a + b,
    each positive on one coset c = s mod q only, read out with weight 1 on that coset. The least
    margin is min over q of 1 - cos(2 pi / q). Such neurons see the sum: they are second-order
    waves, which simple neurons cannot be.

    Raises:
        ValueError: the factors are not coprime, below 3, or their product is not n.
    """
    qs = [int(q) for q in factors]
    coprime = all(math.gcd(p, q) == 1 for i, p in enumerate(qs) for q in qs[i + 1 :])
    if math.prod(qs) != n or not coprime or min(qs, default=0) < 3:
        raise ValueError(
            f"factors must be coprime, at least 3, and multiply to n = {n}; got {tuple(qs)}."
        )
    c = np.arange(n)[:, None]
    blocks = [(q, np.arange(q)) for q in qs]
    both = np.concatenate([np.cos(2 * np.pi * ((c - s) % q) / q) for q, s in blocks], axis=1)
    readout = np.concatenate([(c % q == s).T for q, s in blocks]).astype(float)
    sizes = np.array(qs)
    bias = np.repeat(np.cos(2 * np.pi / sizes), sizes)
    zero = np.zeros_like(both)
    return Weights(zero, zero, both, bias, readout, np.repeat(n // sizes, sizes))


def preactivations(weights: Weights) -> Float[Array, "n n m"]:
    """The hidden pre-activations of a hand-built network on all pairs."""
    x = np.arange(weights.left.shape[0])
    total = weights.both[(x[:, None] + x) % len(x)] - weights.bias
    return weights.left[:, None] + weights.right[None] + total


def logits(weights: Weights) -> Float[Array, "n n n"]:
    """The logits of a hand-built network on all pairs."""
    return _readout(weights, None, preactivations(weights))


def _readout(weights: Weights, spec: object, pre: Float[Array, "n n m"]) -> Float[Array, "n n n"]:
    del spec
    return np.maximum(pre, 0.0) @ weights.readout


# --- How the number of frequencies grows (figure 3) -----------------------------------------------


def log_fit(
    ns: Sequence[int] | Shaped[Array, " N"], counts: Sequence[float] | Float[Array, " N"]
) -> Mapping[str, float]:
    """Least squares of counts = alpha + beta ln n, and of counts = alpha + beta n.

    Returns:
        `alpha`, `beta`, `r2_log`, `aic_log` of the first, `alpha_linear`, `beta_linear`,
        `r2_linear`, `aic_linear` of the second. AIC = N ln(SSE / N) + 4; the smaller is better.

    Raises:
        ValueError: fewer than three points, different lengths, n not all positive or all equal, or
            counts that do not vary (R^2 is not defined then).
    """
    x, y = np.asarray(ns, float), np.asarray(counts, float)
    if x.shape != y.shape or x.ndim != 1 or len(x) < 3:
        raise ValueError(
            f"Three or more n with one count each are needed; got {x.shape}, {y.shape}."
        )
    if (x <= 0).any() or np.ptp(x) == 0:
        raise ValueError("The n must be positive and not all the same.")
    if np.ptp(y) == 0:
        raise ValueError("The counts are all equal: nothing grows, and R^2 is not defined.")
    found: dict[str, float] = {}
    for name, suffix, column in (("log", "", np.log(x)), ("linear", "_linear", x)):
        beta, alpha = np.polyfit(column, y, 1)
        residual = float(((y - alpha - beta * column) ** 2).sum())
        found["alpha" + suffix], found["beta" + suffix] = float(alpha), float(beta)
        found["r2_" + name] = 1 - residual / float(((y - y.mean()) ** 2).sum())
        found["aic_" + name] = len(x) * math.log(max(residual, 1e-300) / len(x)) + 4
    return found
