"""What ideal circuits give, in closed form: the numbers that tests and readers compare with.

Simple neurons cos(theta_a + phi_L) + cos(theta_b + phi_R), uniform phases, equal amplitudes. The
formulas are derived here and checked numerically by the tests; the paper does not state them.
"""

import math

import numpy as np
from jaxtyping import Float
from scipy.special import i0e

Array = np.ndarray

ANNULUS_CIRCLE_CKA = 8 / math.pi**2
"""CKA of an ideal pizza's annulus |cos((theta_a - theta_b) / 2)| V_circ with the circle."""
TORUS_AMPLITUDE = 4 / (3 * math.pi**2)
"""Size of cos(theta_c - theta_a - theta_b) in the logits of independent phases, for any (a, b)."""
RELU_FIRST_ORDER = 0.7446
"""R^2 of first-order terms in relu(cos + cos), n = 59 and f = 6: a simple neuron's activation."""


def similarity_from_coherence(
    rho: float | Float[Array, "..."],
) -> tuple[float | Float[Array, "..."], float | Float[Array, "..."]]:
    """CKA of a cluster of phase coherence rho with (the disc, the torus), many neurons.

    (1 + rho) / sqrt(2 (1 + rho^2)) and 1 / sqrt(1 + rho^2): rho = 1 is the disc, rho = 0 the torus.
    """
    norm = np.sqrt(1 + np.square(rho))
    return (1 + rho) / (math.sqrt(2) * norm), 1 / norm


def coherence_of_noise(sigma: float) -> float:
    """rho of Gaussian phase differences of standard deviation sigma: exp(-sigma^2 / 2)."""
    return math.exp(-(sigma**2) / 2)


def disc_amplitude(gap: float | Float[Array, "..."]) -> float | Float[Array, "..."]:
    """Size of cos(theta_c - theta_a - theta_b) in the logits of equal phases: (2 / (3 pi))
    |cos(gap / 2)| with gap = theta_a - theta_b (radians)."""
    return 2 / (3 * math.pi) * np.abs(np.cos(np.asarray(gap) / 2))


def annulus_hole(n: int) -> float:
    """Inner over outer radius of an ideal pizza's logits, n odd: sin(pi / (2 n)), 0.0266 at 59.

    So thin a hole is no hole to persistent homology: the annulus counts as a disc, (1, 0, 0).
    """
    return math.sin(math.pi / (2 * n))


def uniform_distance(n: int) -> float:
    """Mean torus distance to a = b of uniform a and b: (n^2 - 1) / (4 n), or n / 4 if even."""
    return (n * n - n % 2) / (4 * n)


def mmd2_diagonal_uniform(kappa: float = 1.0) -> float:
    """MMD^2 between points uniform on the line a = b and points uniform on the torus.

    e^{-2 kappa} I_0(2 kappa) - (e^{-kappa} I_0(kappa))^2; 0.0915763 at kappa = 1.
    """
    return float(i0e(2 * kappa) - i0e(kappa) ** 2)


def summed_activity(n: int) -> Float[Array, " half"]:
    """Sum over an ideal pizza cluster of relu(pre), by remapped distance 0 ... n // 2, first is 1.

    sum over phi of relu(2 cos(theta_bar + phi) cos(gap / 2)) is proportional to |cos(gap / 2)|.
    """
    return np.abs(np.cos(np.pi * np.arange(n // 2 + 1) / n))
