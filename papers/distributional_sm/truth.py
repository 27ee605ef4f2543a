"""True returns by simulation, and how far predictions are from them."""

from __future__ import annotations

import functools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from papers.distributional_sm.config import Config
from papers.distributional_sm.processes import Process, process

TRUTH_SEED = 2**20  # far from those of training


def returns(
    config: Config, name: str, policy: str, seed: int = TRUTH_SEED
) -> Float[np.ndarray, "sources rewards runs"]:
    """Simulated returns from every source, for every reward, sorted."""
    return _returns(name, policy, config.gamma, config.runs_of_truth, config.truth_steps, seed)


@functools.lru_cache(maxsize=8)
def _returns(name: str, policy: str, gamma: float, runs: int, steps: int, seed: int) -> np.ndarray:
    place = process(name)
    paths = place.simulate(policy, seed, runs, steps)
    weights = gamma ** np.arange(steps)
    found = np.stack(
        [_rewards(reward, paths) @ weights for reward in place.rewards.values()], axis=1
    )
    found = np.sort(found, axis=-1).astype(np.float32)
    found.setflags(write=False)
    return found


def _rewards(reward, paths: np.ndarray) -> np.ndarray:
    flat = jnp.asarray(paths.reshape(-1, paths.shape[-1]))
    return np.asarray(reward(flat), np.float64).reshape(paths.shape[:-1])


def reward_ranges(config: Config, place: Process) -> tuple[float, ...]:
    """For each reward, the width of the range of returns that it allows, (max - min) / (1 - gamma),
    over states that simulation visits."""
    paths = place.simulate(place.policies[0], TRUTH_SEED, 64, config.truth_steps)
    widths = [np.ptp(_rewards(reward, paths)) for reward in place.rewards.values()]
    return tuple(max(float(width), 1e-6) / (1 - config.gamma) for width in widths)


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


def sampled_floor(real: np.ndarray, m: int) -> Float[np.ndarray, "sources rewards"]:
    """Mean W1 between m of the true returns, taken at random, and all of them."""
    real = real[..., : real.shape[-1] // m * m]
    picks = np.random.default_rng(0).permutation(real.shape[-1]).reshape(-1, m)[:50]
    return np.mean([w1(np.sort(real[..., pick], axis=-1), real) for pick in picks], axis=0)


def quantised_floor(real: np.ndarray, m: int) -> Float[np.ndarray, "sources rewards"]:
    """W1 between the true returns and the nearest m equally likely numbers: quantile midpoints."""
    real = real[..., : real.shape[-1] // m * m]
    return w1(np.median(real.reshape(*real.shape[:-1], m, -1), axis=-1), real)
