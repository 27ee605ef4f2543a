"""The part without training: claims O1 and O2, closed forms beside simulations (figure F9)."""

from __future__ import annotations

import numpy as np

from papers.ppo_scaling import oracle, theory

BATCH = 1024
RHOS = (0.9, 0.99)
LAMBDAS = (0.95, 1.0)
GAMMA = 0.99
SIMULATED = (1, 8, 128, 1024)
GRADIENT_BATCH = 256


def exact(batches: int = 8000) -> dict[str, np.ndarray]:
    """Effective sample sizes, errors left and gradient variances, each with its simulation."""
    rng = np.random.default_rng(0)
    shapes = theory.iso_batch(BATCH)
    ess = [[theory.batch_ess(n, t, rho) for n, t in shapes] for rho in RHOS]
    simulated = [
        [1 / theory.simulated_batch_means(rng, n, BATCH // n, rho, batches).var()
         for n in SIMULATED]
        for rho in RHOS
    ]  # fmt: skip
    lengths = [t for _, t in shapes]
    left = [[theory.mean_value_error_left(GAMMA, lam, t) for t in lengths] for lam in LAMBDAS]
    numeric = [
        [oracle.error_left_by_recursion(GAMMA, lam, t).mean() for t in lengths] for lam in LAMBDAS
    ]
    splits = theory.iso_batch(GRADIENT_BATCH)
    variance = [oracle.gradient_variance(rng, n, t, batches // 20) for n, t in splits]
    found = {
        "ess/n_envs": [n for n, _ in shapes],
        "ess/rho": RHOS,
        "ess/theory": ess,
        "ess/simulated_n_envs": SIMULATED,
        "ess/simulated": simulated,
        "bias/n_ro": lengths,
        "bias/lam": LAMBDAS,
        "bias/theory": left,
        "bias/numeric": numeric,
        "gradient/n_envs": [n for n, _ in splits],
        "gradient/variance": variance,
    }
    return {name: np.asarray(values, np.float64) for name, values in found.items()}
