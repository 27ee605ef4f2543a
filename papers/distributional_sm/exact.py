"""The claims that need no network: identities, contraction, fractals, the fate of ensembles."""

from __future__ import annotations

import numpy as np
from scipy.stats import wasserstein_distance

from papers.distributional_sm.tabular import (
    Law,
    box_counting_dimension,
    coin_flip,
    exact_backup,
    letters,
    mean_backup,
    moment_residual,
    occupancy_moments,
    particle_backup,
    particle_law,
    quantile_backup_2state,
    random_chain,
    return_moments,
    simulate_occupancy,
    step_chain,
    wasserstein,
)

Arrays = dict[str, np.ndarray]
GAMMAS = (0.5, 0.8, 0.95)


def identities(chains: int) -> Arrays:
    """C1 and C2 on random chains, one row each: what the two ways to each number differ by.

    `variance`: of returns, from Cov(M) and from their own recursion, relative. `residual`: of the
    moments in the Bellman equation over 1, 2 and 3 steps, the largest.
    """
    variance, residual = [], []
    for seed in range(chains):
        P = random_chain(seed, 2 + seed % 5, sparse=seed % 2 == 0)
        gamma = GAMMAS[seed % 3]
        r = np.random.default_rng(seed).normal(size=len(P))
        _, cov = occupancy_moments(P, gamma)
        _, var = return_moments(P, r, gamma)
        from_occupancy = r @ cov @ r / (1 - gamma) ** 2
        variance.append(np.abs(from_occupancy - var).max() / max(var.max(), 1e-12))
        residual.append(max(moment_residual(P, gamma, steps) for steps in (1, 2, 3)))
    return {"variance": np.array(variance), "residual": np.array(residual)}


def return_laws(chains: int, runs: int) -> Arrays:
    """C1 as laws: returns of rollouts against integrals over independently simulated occupancies.

    Per chain, in standard deviations of the return: `w1` between the two, the largest over states;
    `noise` between two sets of as many rollouts; `particles` between particles and rollouts.
    """
    rows: dict[str, list[float]] = {"w1": [], "noise": [], "particles": []}
    for seed in range(chains):
        P, gamma = random_chain(seed, 4), GAMMAS[seed % 3]
        key = np.random.default_rng(1000 + seed)
        r = key.normal(size=len(P))
        spread = np.sqrt(return_moments(P, r, gamma)[1])
        first, second = (_rollout_returns(key, P, r, gamma, runs) for _ in range(2))
        scale = 1 / (1 - gamma)
        occupancy = simulate_occupancy(key, P, gamma, runs) @ r * scale
        particles = particle_law(P, gamma, runs // 4, seed) @ r * scale
        for name, found in (("w1", occupancy), ("noise", second), ("particles", particles)):
            apart = [wasserstein_distance(a, b) for a, b in zip(first, found, strict=True)]
            rows[name].append(float((np.array(apart) / spread).max()))
    return {name: np.array(values) for name, values in rows.items()}


def _rollout_returns(
    key: np.random.Generator, P: np.ndarray, r: np.ndarray, gamma: float, runs: int
) -> np.ndarray:
    """sum_t gamma^t r(X_t), [state, run]; no occupancy anywhere."""
    state = np.repeat(np.arange(len(P))[:, None], runs, axis=1)
    returns, edges = np.zeros(state.shape), np.cumsum(P, axis=1)
    for t in range(int(np.ceil(np.log(1e-8) / np.log(gamma)))):
        returns += gamma**t * r[state]
        state = step_chain(key, edges, state)
    return returns


def contraction(chains: int, backups: int = 3) -> Arrays:
    """C3: sup_x W1 after k exact backups over gamma^k times that of the start, [chain, k]."""
    ratios = np.zeros((chains, backups))
    for seed in range(chains):
        P, gamma = random_chain(seed, 3, sparse=seed % 2 == 0), GAMMAS[seed % 3]
        key = np.random.default_rng(seed)
        p, q = ([_two_atoms(key) for _ in range(3)] for _ in range(2))
        start = _furthest(p, q)
        for k in range(1, backups + 1):
            p, q = exact_backup(p, P, gamma), exact_backup(q, P, gamma)
            ratios[seed, k - 1] = _furthest(p, q) / (gamma**k * start)
    return {"ratio": ratios}


def _two_atoms(key: np.random.Generator) -> Law:
    return Law(key.dirichlet(np.ones(3), size=2), np.full(2, 0.5))


def _furthest(p: list[Law], q: list[Law]) -> float:
    return max(wasserstein(a, b) for a, b in zip(p, q, strict=True))


def fractal(depth: int = 8) -> Arrays:
    """C10: the coin flip is uniform, three letters fill a Sierpinski triangle (gamma = 1/2).

    `coin`: W1 of the quantile fixed point from the uniform law. `triangle`: points of the rescaled
    law [k, 3]; `inside`: their share with all coordinates below 1/2, which the triangle lacks and
    an even density has a quarter of; `dimension`, `boxes`: by box counting, and `even_dimension` of
    an even density.
    """
    m = 200
    even = (np.arange(m) + 0.5) / (2 * m)
    q = np.zeros((2, m))
    for _ in range(40):
        q = quantile_backup_2state(q, coin_flip(), 0.5)
    particles = particle_law(letters(), 0.5, 3**depth, tolerance=1e-12)
    points = 2 * (particles[0] - np.eye(3)[0] / 2)
    dimension, boxes = box_counting_dimension(points)
    spread = np.random.default_rng(0).dirichlet(np.ones(3), size=200_000)
    return {
        "coin": np.array(max(wasserstein_distance(q[i], even + i / 2) for i in (0, 1))),
        "triangle": points[:: max(1, len(points) // 3**7)].astype(np.float32),
        "inside": np.array((points < 0.5 - 1e-9).all(1).mean()),
        "even_inside": np.array((spread < 0.5).all(1).mean()),
        "dimension": np.array(dimension),
        "boxes": boxes,
        "even_dimension": np.array(box_counting_dimension(spread)[0]),
    }


def spreads(sweeps: int = 12, m: int = 400) -> Arrays:
    """Variance over atoms of M({1}) after each sweep on a fair coin flip, true value 1/48: of an
    ensemble of gamma-models, and of particles that back up whole laws."""
    key, P, gamma = np.random.default_rng(0), coin_flip(), 0.5
    ensemble = delta = key.dirichlet(np.ones(2), size=(2, m))
    found = {"ensemble": [], "delta": []}
    for _ in range(sweeps):
        ensemble, delta = mean_backup(ensemble, P, gamma), particle_backup(key, delta, P, gamma)
        found["ensemble"].append(ensemble[0, :, 1].var())
        found["delta"].append(delta[0, :, 1].var())
    return {name: np.array(values) for name, values in found.items()}


def run_exact(chains: int) -> Arrays:
    """All of the above, as `part/name`."""
    parts = {
        "identities": identities(chains),
        "laws": return_laws(min(chains, 20), 4000),
        "contraction": contraction(chains),
        "fractal": fractal(),
        "spreads": spreads(),
    }
    return {
        f"{part}/{name}": value for part, arrays in parts.items() for name, value in arrays.items()
    }
