"""The exact experiments: rates of collapse, rescalings, couplings, ranking (claims C1 to C7).

Each function is one experiment and returns plain float64 arrays by name. Laws and closed forms are
in `laws.py`, the same rates from simulated paths in `simulation.py`; the ranking experiment
goes through `method.py` as well, the code that the agents use.
"""

from collections.abc import Sequence

import numpy as np

from papers.superiority.laws import (
    Floats,
    Gaussian,
    Real,
    absolute_moment,
    cvar,
    degenerate_case,
    independent_difference,
    noisy_case,
    superiority,
    wasserstein,
)

FREQUENCIES = tuple(np.logspace(4, 7, 13).tolist())
DRIFT = 0.5  # of the action, in both cases, so that the mean gap is not zero

# Four actions (drift, volatility) on dX = b dt + s dB, policy (0, 1), h = .1, T = 1, CVaR at .25.
FOUR_ACTIONS = ((0.0, 0.2), (0.0, 1.4), (-0.05, 1.0), (-0.3, 0.2))


def fitted_slope(h: Floats, gap: Floats) -> float:
    """Least-squares slope of log gap against log h: the exponent of the collapse."""
    return float(np.polyfit(np.log(h), np.log(gap), 1)[0])


def collapse_rates(
    frequencies: Sequence[Real] = FREQUENCIES, alpha: Real = 0.25
) -> dict[str, Floats]:
    """How fast zeta_h approaches eta as h -> 0: law, mean and CVaR (C1, C2, C3).

    Returns:
        `h` [n]; for the cases `degenerate` and `noisy` and the gaps `w1`, `w2`, `w4`, `mean`,
        `cvar`: `degenerate/w1` [n] and `degenerate/w1/slope` []. Expected slopes: 1/2 of every
        gap but the mean (1) in the degenerate case, 1 of all in the noisy one.
    """
    h = 1 / np.asarray(frequencies, np.float64)
    results: dict[str, Floats] = {"h": h}
    for case, law in (("degenerate", degenerate_case), ("noisy", noisy_case)):
        pairs = [law(float(step), drift=DRIFT) for step in h]
        gaps = {f"w{p}": [wasserstein(*pair, p) for pair in pairs] for p in (1, 2, 4)}
        gaps["mean"] = [abs(zeta.mean - eta.mean) for zeta, eta in pairs]
        gaps["cvar"] = [abs(cvar(zeta, alpha) - cvar(eta, alpha)) for zeta, eta in pairs]
        for name, gap in gaps.items():
            results[f"{case}/{name}"] = np.array(gap)
            results[f"{case}/{name}/slope"] = np.array(fitted_slope(h, np.array(gap)))
    return results


def rescalings(
    frequencies: Sequence[Real] = (1, 10, 100, 1000),
    exponents: Sequence[Real] = (0.0, 0.5, 1.0),
    nodes: int = 2001,
) -> dict[str, Floats]:
    """Laws of psi_{h;q} in the degenerate case, and of the shifted psi_{h;1/2} (C5, C6).

    Returns:
        `frequencies` [F], `exponents` [Q], `x` [nodes]; `density` [Q, F, nodes], `mean` and `std`
        [Q, F] of psi_{h;q} = h^{-q} psi_h; `shifted/density` [F, nodes], `shifted/mean` and
        `shifted/std` [F] of psi_{h;1/2} + (1 - h^{1/2}) A_h; `advantage` [F], A_h.
    """
    x = np.linspace(-1.5, 2.5, nodes)
    psi = [superiority(*degenerate_case(1 / omega)) for omega in frequencies]
    scaled = [
        [law.scaled(omega**q) for law, omega in zip(psi, frequencies, strict=True)]
        for q in exponents
    ]
    advantage = np.array([law.mean * omega for law, omega in zip(psi, frequencies, strict=True)])
    shifted = []
    for law, omega, adv in zip(psi, frequencies, advantage, strict=True):
        half = law.scaled(omega**0.5)
        shifted.append(Gaussian(half.mean + (1 - omega**-0.5) * float(adv), half.std))
    return {
        "frequencies": np.asarray(frequencies, np.float64),
        "exponents": np.asarray(exponents, np.float64),
        "x": x,
        "density": np.array([[law.density(x) for law in row] for row in scaled]),
        "mean": np.array([[law.mean for law in row] for row in scaled]),
        "std": np.array([[law.std for law in row] for row in scaled]),
        "shifted/density": np.array([law.density(x) for law in shifted]),
        "shifted/mean": np.array([law.mean for law in shifted]),
        "shifted/std": np.array([law.std for law in shifted]),
        "advantage": advantage,
    }


def coupled_differences(
    frequency: Real = 10, powers: Sequence[Real] = (1, 2, 4), nodes: int = 2001
) -> dict[str, Floats]:
    """Two coupled differences of the same zeta_h and eta in the noisy case (C4).

    Returns:
        `x` [nodes]; densities `zeta`, `eta`, `comonotone`, `independent` [nodes]; `powers` [P] and
        `moment/comonotone`, `moment/independent`, `wasserstein` [P]: E|psi|^p and W_p^p.
        `self/comonotone`, `self/independent` []: standard deviation of the difference of eta with
        itself, which a superiority of the policy's own action must have at zero.
    """
    zeta, eta = noisy_case(1 / frequency, drift=DRIFT)
    x = np.linspace(-8.0, 8.0, nodes)
    comonotone, independent = superiority(zeta, eta), independent_difference(zeta, eta)
    return {
        "x": x,
        "zeta": zeta.density(x),
        "eta": eta.density(x),
        "comonotone": comonotone.density(x),
        "independent": independent.density(x),
        "powers": np.asarray(powers, np.float64),
        "moment/comonotone": np.array([absolute_moment(comonotone, p) for p in powers]),
        "moment/independent": np.array([absolute_moment(independent, p) for p in powers]),
        "wasserstein": np.array([_wasserstein_by_quadrature(zeta, eta, p) for p in powers]),
        "self/comonotone": np.array(superiority(eta, eta).std),
        "self/independent": np.array(independent_difference(eta, eta).std),
    }


def _wasserstein_by_quadrature(zeta: Gaussian, eta: Gaussian, p: Real) -> float:
    """W_p^p as the integral over levels of |F_zeta^{-1} - F_eta^{-1}|^p, trapezoid in z."""
    z = np.linspace(-10, 10, 200_001)
    gap = np.abs((zeta.mean + zeta.std * z) - (eta.mean + eta.std * z)) ** p
    return float(np.trapezoid(gap * Gaussian(0.0, 1.0).density(z), z))


def minimality(
    m: int = 50, problems: int = 20, powers: Sequence[Real] = (1, 2, 4), seed: int = 0
) -> dict[str, Floats]:
    """E|psi|^p of the comonotone difference against all other couplings of m atoms (C4).

    Returns:
        `powers` [P]; per problem [problems, P]: `comonotone` E|psi|^p; `optimal` the least
        E|Z - W|^p over all couplings, from an assignment solver that knows no order; `random` the
        least over 100 random permutations.
    """
    from scipy.optimize import linear_sum_assignment

    rng = np.random.default_rng(seed)
    names = ("comonotone", "optimal", "random")
    results = {name: np.empty((problems, len(powers))) for name in names}
    for i in range(problems):
        zeta, eta = np.sort(rng.standard_exponential((2, m)) * rng.uniform(0.5, 2, (2, 1)))
        shuffles = np.array([rng.permutation(m) for _ in range(100)])
        for j, p in enumerate(powers):
            cost = np.abs(zeta[:, None] - eta[None, :]) ** p
            results["comonotone"][i, j] = np.mean(np.abs(zeta - eta) ** p)
            results["optimal"][i, j] = cost[linear_sum_assignment(cost)].mean()
            results["random"][i, j] = cost[np.arange(m), shuffles].mean(axis=1).min()
    return {"powers": np.asarray(powers, np.float64), **results}


def four_actions(h: Real = 0.1, alpha: Real = 0.25, m: int = 10_000) -> dict[str, Floats]:
    """CVaR of zeta_h and of the superiority read in two orders, for four actions (C7).

    Returns, [4] each: `zeta`, `sorted`, `comonotone` in closed form, and `method/zeta`,
    `method/sorted`, `method/comonotone` through `method.py` on m quantiles.
    """
    import jax.numpy as jnp

    from papers.superiority.method import CVaR, comonotone_difference

    laws = [noisy_case(h, drift=b, volatility=s, horizon=1.0) for b, s in FOUR_ACTIONS]
    quantiles = [
        jnp.asarray(np.array([pair[i].quantiles(m) for pair in laws]), jnp.float32) for i in (0, 1)
    ]
    psi = comonotone_difference(*quantiles)
    by_method = {
        "zeta": CVaR(alpha)(quantiles[0]),
        "sorted": CVaR(alpha)(psi),
        "comonotone": CVaR(alpha, order="comonotone")(psi),
    }
    return {
        "zeta": np.array([cvar(zeta, alpha) for zeta, _ in laws]),
        "sorted": np.array([cvar(superiority(zeta, eta), alpha) for zeta, eta in laws]),
        "comonotone": np.array([cvar(zeta, alpha) - cvar(eta, alpha) for zeta, eta in laws]),
        **{f"method/{name}": np.asarray(v, np.float64) for name, v in by_method.items()},
    }


def ranking_errors(
    problems: int = 20_000, actions: int = 4, h: Real = 0.1, seed: int = 0
) -> dict[str, Floats]:
    """How often the best action by CVaR of the superiority is not the best by CVaR of zeta_h (C7).

    Random problems on dX = b dt + s dB, policy (0, 1), T = 1: b ~ N(0, 1), s ~ U(0, 2) per action,
    alpha ~ U(0.01, 1) per problem.

    Returns:
        `sorted`, `comonotone` []: share of problems where the choice loses CVaR; `regret/sorted`,
        `regret/comonotone` []: mean loss, in units of the mean spread between best and worst.
    """
    from scipy.special import ndtri

    rng = np.random.default_rng(seed)
    drift = rng.standard_normal((problems, actions))
    volatility = rng.uniform(0, 2, (problems, actions))
    alpha = rng.uniform(0.01, 1, (problems, 1))
    tail = np.exp(-0.5 * ndtri(alpha) ** 2) / np.sqrt(2 * np.pi) / alpha
    mean, std = drift * h, np.sqrt((1 - h) + volatility**2 * h)
    zeta = mean - std * tail
    results = {}
    for order, psi_std in (("sorted", np.abs(std - 1)), ("comonotone", std - 1)):
        chosen = np.argmax(mean - psi_std * tail, axis=1)[:, None]
        loss = zeta.max(axis=1) - np.take_along_axis(zeta, chosen, axis=1)[:, 0]
        results[order] = np.array(np.mean(loss > 1e-12))
        spread = zeta.max(axis=1) - zeta.min(axis=1)
        results[f"regret/{order}"] = np.array(loss.mean() / spread.mean())
    return results
