"""The tasks as experiments see them: whole episodes of the policies of all seeds at once.

Policies are functions act(params, obs, key) for one seed; parameters and keys come stacked over
seeds, episodes go out as [seed, episode, ...]. `PointMassWorld` steps in a compiled program,
`MujocoWorld` on CPU threads, where each step asks the policies of all seeds at once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from papers.sfm import train
from papers.sfm.config import POINT_MASS, Config
from papers.sfm.demos import Demo, load_demo, shipped
from papers.sfm.pointmass import PointMass, rollout
from papers.sfm.replay import Episode
from shared.experiment.errors import BadInput
from shared.gpu.seeds import seed_keys

MOMENTS = (0, 25, 50, 100, 200, 400, 999)  # steps of an episode that film strips show
Act = Callable[[Any, Any, Any], Any]
"""(parameters, observation [*B, s], key) -> action [*B, a] in [-1, 1], for one seed."""


class World(Protocol):
    """A task."""

    name: str
    length: int
    obs_dim: int
    act_dim: int

    def episodes(self, act: Act, params: Any, keys: Key[Array, " seeds"], number: int) -> Episode:
        """`number` whole episodes of each seed's policy."""
        ...

    def recorded(self, seed: int, index: int) -> Demo:
        """The demonstration `index` that this seed sees."""
        ...


class PointMassWorld:
    """`pointmass.PointMass`, with demonstrations of its exact expert."""

    name = POINT_MASS

    def __init__(self, env: PointMass | None = None) -> None:
        self.env = env or PointMass()
        self.length, self.obs_dim, self.act_dim = self.env.length, 4, 2

    def episodes(self, act: Act, params: Any, keys: Key[Array, " seeds"], number: int) -> Episode:
        """One compiled program for all seeds and episodes."""

        @jax.jit
        @jax.vmap
        def run(params: Any, key: Key[Array, ""]) -> Episode:
            return train.episodes_of(self.env, lambda obs, k: act(params, obs, k), key, number)

        return run(params, keys)

    def recorded(self, seed: int, index: int) -> Demo:
        """An episode of the exact expert, from a start of the seed's own."""
        key = jax.random.fold_in(seed_keys((seed,), "sfm/demonstrations")[0], index)
        obs, act, reward = (np.asarray(x) for x in _expert_episode(key))
        total = float(reward.sum())
        return Demo(obs, act, reward, self.name, "exact expert", recorded_return=total)


@jax.jit
def _expert_episode(key: Key[Array, ""]) -> Episode:
    env = PointMass()
    return rollout(env, lambda obs, _: env.expert(obs), key)


class MujocoWorld:
    """A task of DeepMind Control, with the demonstrations that lie here.

    Starts are drawn from the keys, so where an episode begins depends on the seed and its number.
    """

    length = 1000  # of every task here

    def __init__(self, name: str, obs_dim: int, act_dim: int) -> None:
        self.name, self.obs_dim, self.act_dim = name, obs_dim, act_dim

    def episodes(self, act: Act, params: Any, keys: Key[Array, " seeds"], number: int) -> Episode:
        """All copies of all seeds are stepped together."""
        seeds = len(keys)
        split = jax.vmap(lambda key: jax.random.split(key, number))(keys)
        policy = _stepwise(act)

        def acts(obs: np.ndarray, step: int) -> np.ndarray:
            mine = jnp.asarray(obs.reshape(seeds, number, -1))
            return np.asarray(policy(params, mine, split, step)).reshape(seeds * number, -1)

        found = self.roll(acts, start_numbers(split))
        return jax.tree.map(lambda x: jnp.asarray(x.reshape(seeds, number, *x.shape[1:])), found)

    def roll(self, acts: Callable[[np.ndarray, int], np.ndarray], starts: np.ndarray) -> Any:
        """One episode of each copy, as NumPy arrays; its start is drawn from `starts` [N]."""
        return self.filmed(acts, starts, film=False)[0]

    def filmed(
        self, acts: Callable[[np.ndarray, int], np.ndarray], starts: np.ndarray, film: bool = True
    ) -> tuple[Any, np.ndarray]:
        """`roll`, and MuJoCo's states at `MOMENTS` of each episode [N, moments, n]."""
        from shared.mujoco import run_episodes

        steps = iter(range(self.length + 1))

        def policy(obs: np.ndarray) -> np.ndarray:
            return np.asarray(acts(np.asarray(obs, np.float32), next(steps)), np.float64)

        found = run_episodes(
            self.name, policy, len(starts), [int(s) for s in starts], threads=1, keep_physics=film
        )
        arrays = (found.obs, found.actions, found.rewards)
        single: Any = [np.asarray(x, np.float32) for x in arrays]
        return Episode(*single), found.physics[:, MOMENTS]

    def film(self, act: Act, params: Any, keys: Key[Array, " seeds"]) -> np.ndarray:
        """MuJoCo's states at `MOMENTS` of one episode of each seed's policy."""
        policy, split = _stepwise(act), keys[:, None]

        def acts(obs: np.ndarray, step: int) -> np.ndarray:
            return np.asarray(policy(params, jnp.asarray(obs[:, None]), split, step))[:, 0]

        return self.filmed(acts, start_numbers(keys))[1]

    def recorded(self, seed: int, index: int) -> Demo:
        """Demonstration seed + index of those shipped, beginning again after the last."""
        files = shipped(self.name)
        if not files:
            raise BadInput(
                f"No demonstration of {self.name} lies here: bring one with --demo, or train an "
                f"expert with `python -m papers.sfm.experts {self.name}`."
            )
        return load_demo(files[(seed + index) % len(files)], self.obs_dim, self.act_dim)


@functools.lru_cache(maxsize=8)
def _stepwise(act: Act) -> Callable[..., Array]:
    """`act` over seeds and episodes at a step whose number folds into each episode's key."""

    def one(params: Any, obs: Array, key: Key[Array, ""], step: Array) -> Array:
        return act(params, obs, jax.random.fold_in(key, step))

    episodes = jax.vmap(one, (None, 0, 0, None))
    return jax.jit(jax.vmap(episodes, (0, 0, 0, None)))


def start_numbers(keys: Key[Array, "*n"]) -> np.ndarray:
    """Seeds for MuJoCo's starts, one a key."""
    bits = jax.vmap(lambda key: jax.random.bits(key, (), jnp.uint32))(keys.ravel())
    return np.asarray(bits, np.int64)


def world(name: str) -> PointMassWorld | MujocoWorld:
    """The task of this name."""
    from papers.sfm.experiment import WIDTHS

    return PointMassWorld() if name == POINT_MASS else MujocoWorld(name, *WIDTHS[name])


def demonstrations(config: Config, task: str, seeds: tuple[int, ...]) -> list[list[Demo]]:
    """For each seed the demonstrations that it sees: seed k begins with demonstration k."""
    here = world(task)
    if config.demo is not None:
        demo = load_demo(config.demo, here.obs_dim, here.act_dim)
        return [[demo] * config.demos for _ in seeds]
    return [[here.recorded(seed, i) for i in range(config.demos)] for seed in seeds]


def uniform(act_dim: int) -> Act:
    """Uniform actions in [-1, 1]; parameters are not read."""
    return _uniform[act_dim]


def _uniform_of(act_dim: int) -> Act:
    def act(params: Any, obs: Array, key: Key[Array, ""]) -> Array:
        shape = (*obs.shape[:-1], act_dim)
        return jax.random.uniform(key, shape, jnp.float32, -1, 1)

    return act


_uniform = {n: _uniform_of(n) for n in (1, 2, 6, 12)}
