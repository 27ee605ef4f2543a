"""True returns by simulation, and how far predictions are from them."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from papers.distributional_sm.config import Config
from papers.distributional_sm.processes import Process, process

TRUTH_SEED = 2**20  # far from those of training


class Truth(NamedTuple):
    """What simulation says of a process under a policy.

    Attributes:
        returns: sorted. widths: of the range of returns that each reward allows,
            (max - min) / (1 - gamma), over the states that were visited.
    """

    returns: Float[np.ndarray, "sources rewards runs"]
    widths: Float[np.ndarray, " rewards"]


def simulated(config: Config, name: str, policy: str, seed: int = TRUTH_SEED) -> Truth:
    """Returns from every source, for every reward, of `config.runs_of_truth` trajectories."""
    return _simulated(name, policy, config.gamma, config.runs_of_truth, config.truth_steps, seed)


@functools.lru_cache(maxsize=8)
def _simulated(name: str, policy: str, gamma: float, runs: int, steps: int, seed: int) -> Truth:
    place = process(name)
    paths = place.simulate(policy, seed, runs, steps)
    rewards = _rewards(place, paths)  # [reward, source, run, step]
    returns = np.sort(np.moveaxis(rewards @ gamma ** np.arange(steps), 0, 1), axis=-1)
    widths = np.maximum(np.ptp(rewards, axis=(1, 2, 3)), 1e-6) / (1 - gamma)
    truth = Truth(returns.astype(np.float32), widths.astype(np.float64))
    for array in truth:
        array.setflags(write=False)
    return truth


def _rewards(place: Process, paths: np.ndarray) -> np.ndarray:
    """All rewards of all states, in one program: one by one, each operation would be compiled."""
    states = jnp.asarray(paths.reshape(-1, paths.shape[-1]))
    found = jax.jit(lambda s: jnp.stack([reward(s) for reward in place.rewards.values()]))(states)
    return np.asarray(found).reshape(len(place.rewards), *paths.shape[:-1])


def w1_jax(
    predicted: Float[Array, "*batch m"], real: Float[Array, "*batch runs"]
) -> Float[Array, "*batch"]:
    """W1 between m and `runs` equally likely numbers, `real` sorted; m divides `runs`."""
    runs, m = real.shape[-1], predicted.shape[-1]
    each = jnp.repeat(jnp.sort(predicted, axis=-1), runs // m, axis=-1)
    return jnp.abs(each - real).mean(-1)


def w1(predicted: np.ndarray, real: np.ndarray) -> Float[np.ndarray, "sources rewards"]:
    """The same in float64 NumPy, both sorted."""
    each = np.repeat(predicted.astype(np.float64), real.shape[-1] // predicted.shape[-1], axis=-1)
    return np.abs(each - real).mean(-1)


def cdf_distances(
    predicted: np.ndarray, real: np.ndarray
) -> tuple[Float[np.ndarray, "sources rewards"], Float[np.ndarray, "sources rewards"]]:
    """(Kolmogorov-Smirnov, Cramer-von Mises) of two sorted samples: with F and G their cumulative
    distribution functions, the largest |F - G| and the mean of (F - G)^2 over all points of both.

    The latter is the two-sample statistic per observation, sum (F - G)^2 / (m + runs), so that it
    does not grow with the number of runs. Both are near 1 wherever returns hardly vary.
    """
    ks, cvm = np.empty(real.shape[:-1]), np.empty(real.shape[:-1])
    for place in np.ndindex(ks.shape):
        points = np.concatenate([predicted[place], real[place]])
        gap = _cdf(predicted[place], points) - _cdf(real[place], points)
        ks[place], cvm[place] = np.abs(gap).max(), np.mean(gap**2)
    return ks, cvm


def _cdf(ordered: np.ndarray, points: np.ndarray) -> np.ndarray:
    return np.searchsorted(ordered, points, side="right") / len(ordered)


def sampled_floor(real: np.ndarray, m: int) -> Float[np.ndarray, "sources rewards"]:
    """Mean W1 between m of the true returns, taken at random, and all of them."""
    real = real[..., : real.shape[-1] // m * m]
    picks = np.random.default_rng(0).permutation(real.shape[-1]).reshape(-1, m)[:50]
    return np.mean([w1(np.sort(real[..., pick], axis=-1), real) for pick in picks], axis=0)


def quantised_floor(real: np.ndarray, m: int) -> Float[np.ndarray, "sources rewards"]:
    """W1 between the true returns and the nearest m equally likely numbers: quantile midpoints."""
    real = real[..., : real.shape[-1] // m * m]
    return w1(np.median(real.reshape(*real.shape[:-1], m, -1), axis=-1), real)
