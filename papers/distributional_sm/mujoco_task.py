"""One process more than the paper has: MuJoCo's InvertedPendulum-v5 under a weak, noisy controller.

A cart (x) carries a pole (angle theta) that falls for good once |theta| > 0.2: the controller keeps
it up for a while only, so returns vary with the time of the fall. The fallen pole is a terminal
state, in which the process stays: the occupancy counts it from then on. Many poles are stepped at
once by MuJoCo's batched roll-outs.
"""

from __future__ import annotations

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from papers.distributional_sm.method import Transitions, transitions
from papers.distributional_sm.processes import Process

Array = np.ndarray

FALLEN = 0.2  # radians, as in gymnasium
FRAME_SKIP = 2
GAINS = np.array([0.0, 3.0, 0.0, 0.3])  # of (x, theta, dx, dtheta): too weak to last
NOISE = 0.5  # standard deviation of the control, which MuJoCo clips to [-3, 3]
START = 0.05  # half-width of random starts

REWARDS = {
    "upright": lambda s: jnp.where(jnp.abs(s[:, 1]) <= FALLEN, 1.0, 0.0).astype(s.dtype),
    "right": lambda s: jnp.where(s[:, 0] > 0, 1.0, 0.0).astype(s.dtype),
    "centre": lambda s: -jnp.abs(s[:, 0]),
    "steady": lambda s: -jnp.abs(s[:, 1]),
}
SOURCES = ((0.0, 0.0, 0.0, 0.0), (0.0, 0.1, 0.0, 0.0), (0.3, -0.05, 0.0, 0.3))


@functools.cache
def balance() -> Process:
    """The process for training and evaluation."""
    return Process("balance", 4, REWARDS, SOURCES, ("weak",), _collect, _simulate)


def _collect(policy: str, seed: int, episodes: int, steps: int, horizon: int) -> Transitions:
    key = np.random.default_rng([seed, 7])
    starts = key.uniform(-START, START, size=(episodes, 4))
    starts[:, 1] *= 2
    paths = roll_out(key, starts, steps)
    fallen = is_fallen(paths)
    # States after the first fallen one repeat it: each episode ends there.
    ended = np.cumsum(fallen, axis=1)
    kept = ended - fallen == 0
    truncated = np.zeros_like(fallen)
    truncated[:, -1] = ~fallen[:, -1]
    return transitions(
        jnp.asarray(paths[kept], jnp.float32),
        jnp.asarray(fallen[kept]),
        jnp.asarray(truncated[kept]),
        horizon,
    )


def _simulate(policy: str, seed: int, runs: int, steps: int) -> Array:
    key = np.random.default_rng([seed, 11])
    paths = roll_out(key, np.repeat(np.array(SOURCES), runs, axis=0), steps)
    return paths.reshape(len(SOURCES), runs, steps, 4).astype(np.float32)


def is_fallen(states: Float[Array, "*batch 4"]) -> np.ndarray:
    """Whether the pole is down: gymnasium's termination."""
    return np.abs(states[..., 1]) > FALLEN


def roll_out(
    key: np.random.Generator, starts: Float[Array, "runs 4"], steps: int
) -> Float[Array, "runs steps 4"]:
    """States (x, theta, dx, dtheta) under the weak controller; fallen ones stay where they are."""
    from mujoco import rollout

    model, data = _model()
    paths = np.empty((len(starts), steps, 4))
    paths[:, 0] = starts
    for t in range(1, steps):
        now = paths[:, t - 1]
        control = now @ GAINS + NOISE * key.normal(size=len(now))
        up = np.flatnonzero(~is_fallen(now))
        paths[:, t] = now
        if len(up):
            full = np.concatenate([np.zeros((len(up), 1)), now[up]], axis=1)
            push = np.repeat(np.clip(control[up], -3, 3)[:, None, None], FRAME_SKIP, axis=1)
            reached, _ = rollout.rollout(model, data, full, push, nstep=FRAME_SKIP)
            paths[up, t] = np.asarray(reached)[:, -1, 1:5]
    return paths


@functools.cache
def _model():
    from pathlib import Path

    import gymnasium
    import mujoco

    assets = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets"
    bindings: Any = mujoco  # compiled, without type stubs
    model = bindings.MjModel.from_xml_path(str(assets / "inverted_pendulum.xml"))
    return model, bindings.MjData(model)
