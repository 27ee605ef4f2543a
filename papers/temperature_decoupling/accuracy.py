"""The return law of pi^{ref,*} to an accuracy that one asks for (Theorem 4.7 with its constants).

The theorem says that the estimate converges as tau -> 0 with sigma = o(tau). Its error in sup-W_1
has five sources, each bounded here, and every setting is chosen so that each takes a fifth:

    soft penalty           gamma / (1 - gamma) tau log(1 / p)
    suboptimal actions     gamma / (1 - gamma) D (1 / p) exp(-gap / tau)
    decoupling             gamma / (1 - gamma) D tanh(d / 2),
                           d = [gamma / (1 - gamma) sigma log(1 / p) + gamma^n_opt 2 L] / tau
    stopping               gamma^n_eval 2 L
    projection             spacing / 2 / (1 - gamma)

p is the least positive mass of the reference, gap the least distance of a suboptimal action from
the best, D the width of the range of returns, L a bound on their size with penalty. The tanh is the
sharp form of the paper's bound on total variation (Theorem 3.6).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from papers.temperature_decoupling import method
from papers.temperature_decoupling.method import TabularMDP

Array = np.ndarray


class Settings(NamedTuple):
    """What `method.estimate_reference_return_law` needs, and the error bound that it then keeps."""

    tau: float
    sigma: float
    n_opt: int
    n_eval: int
    z: Float[Array, " m"]
    bound: float


def settings(mdp: TabularMDP, log_ref: Float[Array, "S A"], accuracy: float) -> Settings:
    """Temperatures, sweeps and grid for sup-W_1 error `accuracy` at most.

    Raises:
        ValueError: accuracy not above 0; float64 is too coarse for it (sigma below 1e-14 times the
            largest return).
    """
    if not accuracy > 0:
        raise ValueError(f"accuracy must be above 0; got {accuracy}.")
    log_ref, r, gamma = np.asarray(log_ref), np.asarray(mdp.r, np.float64), float(mdp.gamma)
    share, ahead = accuracy / 5, gamma / (1 - gamma)
    cost = float(-log_ref[np.isfinite(log_ref)].min())  # log(1 / p)
    low, high = float(r.min()) / (1 - gamma), float(r.max()) / (1 - gamma)
    width = max(high - low, 1e-12)
    with jax.enable_x64():
        best, optimal = (np.asarray(found) for found in _optimum(mdp, log_ref))
    top = best.max(axis=1, where=np.isfinite(log_ref), initial=-np.inf)
    gaps = (top[:, None] - best)[np.isfinite(log_ref) & ~optimal]
    tau = share / max(ahead * cost, 1e-12)
    if gaps.size and ahead > 0:
        worst = math.log(max(ahead * width * math.exp(cost) / share, math.e))
        tau = min(tau, float(gaps.min()) / worst)
    tau = min(tau, 1.0)
    size = max(abs(low), abs(high)) + ahead * tau * cost + 1e-12
    d = 2 * math.atanh(min(share / max(ahead * width, 1e-12), 0.9))
    sigma = min(d * tau / 2 / max(ahead * cost, 1e-12), tau / 2)
    if sigma < 1e-14 * size:
        raise ValueError(
            f"float64 cannot resolve the temperature {sigma:.1e} that an accuracy of {accuracy:g} "
            "takes; ask for a larger one."
        )
    n_opt = _sweeps(d * tau / 2 / (2 * size), gamma)
    n_eval = _sweeps(share / (2 * size), gamma)
    spacing = 2 * (1 - gamma) * share
    low -= ahead * tau * cost
    z = np.linspace(low, high, max(2, math.ceil((high - low) / spacing) + 1))
    return Settings(tau, sigma, n_opt, n_eval, z, accuracy)


@jax.jit
def _optimum(mdp: TabularMDP, log_ref: Any) -> tuple[Any, Any]:
    best = method.ref_optimal_q(mdp, log_ref)
    return best, method.optimal_actions(best, log_ref)


def _sweeps(factor: float, gamma: float) -> int:
    """Least n with gamma^n <= factor."""
    return 1 if gamma == 0 or factor >= 1 else math.ceil(math.log(factor) / math.log(gamma))


def estimate_to(
    mdp: TabularMDP, log_ref: Float[Array, "S A"], accuracy: float
) -> tuple[Float[Array, "S A m"], Float[Array, "S A"], Settings]:
    """The return laws of pi^{ref,*} on a grid, each within W_1 distance `accuracy` of the truth.

    Returns:
        zeta [S, A, m], the policy that was evaluated [S, A], and the settings, with the grid.
    """
    chosen = settings(mdp, log_ref, accuracy)
    with jax.enable_x64():
        zeta, pi = method.estimate_reference_return_law(mdp, log_ref, *chosen[:5])
        return np.asarray(zeta), np.asarray(pi), chosen
