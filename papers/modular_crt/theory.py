"""The claims that need no training: remapping, cosets, the margin of random frequencies.

Every function returns plain arrays by name.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from papers.modular_crt import method, oracle

Array = np.ndarray
LARGEST_MODULUS = 67  # remapping and cosets are checked for every n up to here
DELTAS = (0.05, 0.1, float(np.pi / np.e**3), 0.25, 0.5, 0.75)
RHOS = (0.5, 0.9)
CONSTANTS = (1.0, 2.0, 4.0)  # frequencies per ln n in the corollary's check
COSET_EXAMPLES = ((14, 59), (11, 67), (11, 66), (15, 59))


def remapping() -> dict[str, Array]:
    """For every n and f: is the remapped sinusoid's only line at 1? And by the printed formula?"""
    ours, printed, total = 0, 0, 0
    for n in range(5, LARGEST_MODULUS + 1):
        for f in range(1, n // 2 + 1):
            wave = np.cos(2 * np.pi * (f * np.arange(n) % n) / n + 0.7)
            total += 1
            ours += _only_line_is_one(method.remap(wave, f, n))
            d, period = method.step_size(f, n), n // math.gcd(f, n)
            inverse = pow(d, -1, period) if period > 1 else 0
            printed += _only_line_is_one(wave[inverse * np.arange(period) % n])
    return {
        "remap/ours": np.asarray(ours / total),
        "remap/printed": np.asarray(printed / total),
        "remap/cases": np.asarray(total),
    }


def _only_line_is_one(values: Float[Array, " p"]) -> bool:
    power = np.abs(np.fft.fft(values)) ** 2
    p = len(values)
    return bool(power[1 % p] + (power[-1] if p > 2 else 0) > (1 - 1e-9) * power.sum())


def cosets() -> dict[str, Array]:
    """For every n, f and s: is the positive set the approximate coset of Theorem 4.4?"""
    equal, paths, total = 0, 0, 0
    for n in range(5, LARGEST_MODULUS + 1):
        for f in range(1, n // 2 + 1):
            period = n // math.gcd(f, n)
            reach = (period - 1) // 4  # the largest |j| < n'/4
            for s in {0, 1, n // 3}:
                found = method.positive_set(f, n, s)
                total += 1
                equal += found == set(method.approximate_coset(s, f, n, reach, reach))
                paths += method.is_approximate_coset(found, f, n)
    sizes = [len(method.positive_set(f, n, 0)) for f, n in COSET_EXAMPLES]
    return {
        "cosets/equal": np.asarray(equal / total),
        "cosets/paths": np.asarray(paths / total),
        "cosets/cases": np.asarray(total),
        "cosets/examples": np.asarray(COSET_EXAMPLES),
        "cosets/sizes": np.asarray(sizes),
    }


def margin_theorem(moduli: Sequence[int], draws: int) -> dict[str, Array]:
    """P(gap > delta m) one frequency above the bound, for every n, delta, rho.

    Arrays [n, delta, rho]: `m`, `probability` by Monte Carlo, and `enough`, the number of
    frequencies that certainly suffices.
    """
    shape = (len(moduli), len(DELTAS), len(RHOS))
    m, probability = np.zeros(shape, int), np.zeros(shape)
    enough = np.zeros(shape, int)
    for i, n in enumerate(moduli):
        for j, delta in enumerate(DELTAS):
            for k, rho in enumerate(RHOS):
                m[i, j, k] = int(np.floor(method.min_frequencies(n, delta, rho))) + 1
                rng = np.random.default_rng([n, j, k])
                probability[i, j, k] = method.gap_probability(n, int(m[i, j, k]), delta, draws, rng)
                if n <= 251:  # the bound takes n^2 cosines
                    enough[i, j, k] = oracle.sufficient_frequencies(n, delta, rho)
    return {
        "theorem/moduli": np.asarray(moduli),
        "theorem/deltas": np.asarray(DELTAS),
        "theorem/rhos": np.asarray(RHOS),
        "theorem/m": m,
        "theorem/probability": probability,
        "theorem/enough": enough,
        "theorem/draws": np.asarray(draws),
        "theorem/rate": np.asarray([oracle.rate(1 - delta) for delta in DELTAS]),
    }


def margin_against_frequencies(n: int, most: int, draws: int) -> dict[str, Array]:
    """Gap of 1 ... `most` random frequencies (mean, 5 % and 95 % quantiles), [m, 3]."""
    rng = np.random.default_rng(n)
    rows = []
    for m in range(1, most + 1):
        gaps = method.random_gaps(n, m, draws, rng)
        rows.append([gaps.mean(), *np.quantile(gaps, [0.05, 0.95])])
    return {"ideal/gaps": np.asarray(rows), "ideal/modulus": np.asarray(n)}


def corollary(moduli: Sequence[int], draws: int) -> dict[str, Array]:
    """With C ln n random frequencies: mean gap, and the softmax mass of all wrong classes.

    Arrays [C, n] of means; Corollary 4.8 has the gap of order ln n and the mass a power of n. The
    mass is at unit amplitude, as the ideal logits are; a network can scale its logits up. C ln n is
    no whole number: means are interpolated between the two beside it, since rounding it would
    change C with n by up to a fifth.
    """
    gap = np.zeros((len(CONSTANTS), len(moduli)))
    log_mass = np.zeros_like(gap)
    for i, constant in enumerate(CONSTANTS):
        for j, n in enumerate(moduli):
            low, part = divmod(constant * math.log(n), 1.0)
            for m, weight in ((int(low), 1 - part), (int(low) + 1, part)):
                rng = np.random.default_rng([n, i, m])
                h = method.random_logits(n, m, max(1, draws // 4), rng)
                top = h.max(axis=1)
                gap[i, j] += weight * (m - top).mean()
                wrong = np.exp(h - top[:, None]).sum(axis=1)
                log_odds = np.log(wrong) + top - m  # wrong classes against the right one
                log_mass[i, j] += weight * (log_odds - np.logaddexp(0.0, log_odds)).mean()
    return {
        "corollary/moduli": np.asarray(moduli),
        "corollary/constants": np.asarray(CONSTANTS),
        "corollary/gap": gap,
        "corollary/log_mass": log_mass,
    }


def hand_built(n: int) -> dict[str, Array]:
    """Networks without training: accuracy and equivariance error against phases per frequency.

    Arrays [phases]: tori have phases^2 neurons a frequency, discs have `phases`. One frequency, 1.
    """
    counts = np.arange(3, 10)
    rows: dict[str, list[float]] = {}
    for name, layout in (("torus", method.torus_phases), ("disc", method.disc_phases)):
        for count in counts:
            logits = method.logits(method.acrt_network(n, (1,), int(count), layout))
            rows.setdefault(f"hand/{name}_accuracy", []).append(method.score(logits)[0])
            error = method.equivariance_error(logits)
            rows.setdefault(f"hand/{name}_equivariance", []).append(error)
    weights = method.sinusoidal_crt(91, (7, 13))
    logits = method.logits(weights)
    return {name: np.asarray(values) for name, values in rows.items()} | {
        "hand/phases": counts,
        "hand/crt_accuracy": np.asarray(method.score(logits)[0]),
        "hand/crt_margin": np.asarray(method.margins(logits).min()),
        "hand/crt_neurons": np.asarray(len(weights.freq)),
    }
