"""The rates of collapse once more, from simulated paths of an SDE whose return law is not Gaussian.

    dX = X (b_a dt + sigma_a dB),  running reward r(x) = x, terminal reward f(x) = x,
    G = int_0^T gamma^s X_s ds + gamma^T X_T

Action 1 acts for a time h, then the policy (action 0) until T; eta has the policy throughout. Paths
are exact on their time grid, the integral is a trapezoid sum. The policy's own volatility is either
zero, where the worst-case exponent 1/2 shows, or positive, where W_p is of order h.
"""

import math
from collections.abc import Sequence

import numpy as np

from papers.superiority.laws import Floats, Real
from papers.superiority.rates import fitted_slope

DRIFT, VOLATILITY = 0.3, 0.4  # of action 1
POLICY_DRIFT = 0.05
GAMMA, HORIZON = 0.9, 1.0


def sampled_returns(
    h: Real, first: tuple[Real, Real], policy: tuple[Real, Real], noise: Floats
) -> Floats:
    """Returns of paths that follow (drift, volatility) `first` on [0, h], then `policy`.

    Args:
        noise: standard normal, f64[paths, 1 + n]: column 0 drives [0, h], the rest n equal steps
            of [h, T].
    """
    steps = np.full(noise.shape[1], (HORIZON - h) / (noise.shape[1] - 1))
    steps[0] = h
    drift, volatility = np.full((2, len(steps)), np.array(policy)[:, None])
    drift[0], volatility[0] = first
    moves = (drift - volatility**2 / 2) * steps + volatility * np.sqrt(steps) * noise
    log_price = np.cumsum(moves, axis=1)
    price = np.exp(np.concatenate([np.zeros((len(noise), 1)), log_price], axis=1))
    times = np.concatenate([[0.0], np.cumsum(steps)])
    running = np.trapezoid(GAMMA**times * price, times, axis=1)
    return running + GAMMA**HORIZON * price[:, -1]


def simulated_rates(
    steps: Sequence[Real] = (0.1, 0.03, 0.01, 0.003),
    policy_volatilities: Sequence[Real] = (0.0, 0.5),
    batches: int = 5,
    paths: int = 20_000,
    m: int = 100,
    seed: int = 0,
) -> dict[str, Floats]:
    """W_1, W_2 and mean gap between simulated zeta_h and eta, with slopes per batch (C1, C2, C3).

    Both laws are sampled with the same noise, which leaves them as they are and takes most of the
    sampling error out of their distance; the batches are independent of each other. Laws are taken
    in quantile coordinates, as means over each of m equal shares of the sorted returns: single
    order statistics in the tails would be noise of order h^{1/2} of their own.

    Args:
        paths: sampled returns per law, an even multiple of m.

    Returns:
        `h` [n], `policy_volatilities` [V]; `w1`, `w2`, `mean` [V, batches, n] and their slopes in h
        `w1/slope`, `w2/slope`, `mean/slope` [V, batches].
    """
    rng = np.random.default_rng(seed)
    shape = (len(policy_volatilities), batches, len(steps))
    gaps = {name: np.empty(shape) for name in ("w1", "w2", "mean")}
    for index in np.ndindex(*shape):
        policy = (POLICY_DRIFT, float(policy_volatilities[index[0]]))
        half = rng.standard_normal((paths // 2, 9))
        noise = np.concatenate([half, -half])  # antithetic: the noise has mean zero exactly
        h = float(steps[index[2]])
        zeta = sampled_returns(h, (DRIFT, VOLATILITY), policy, noise)
        eta = sampled_returns(h, policy, policy, noise)
        psi = (np.sort(zeta) - np.sort(eta)).reshape(m, -1).mean(axis=1)
        gaps["w1"][index] = np.abs(psi).mean()
        gaps["w2"][index] = math.sqrt((psi**2).mean())
        gaps["mean"][index] = abs(psi.mean())
    h = np.asarray(steps, np.float64)
    slopes = {
        f"{name}/slope": np.array([[fitted_slope(h, row) for row in case] for case in gap])
        for name, gap in gaps.items()
    }
    return {
        "h": h,
        "policy_volatilities": np.asarray(policy_volatilities, np.float64),
        **gaps,
        **slopes,
    }
