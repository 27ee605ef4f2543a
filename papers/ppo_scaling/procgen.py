"""Procgen games by EnvPool; extra `procgen`, and the system's Qt5 libraries (Core, Gui).

Levels of the easy distribution, 64 x 64 x 3 pixels. Rewards are divided by the running deviation of
their discounted sum and cut at 10, as in CleanRL's ppo_procgen.py; scores are kept as they are.

EnvPool starts an episode anew on the step *after* its end, and takes that step for a transition.
`SameStep` keeps one EnvPool for each environment, so that one that ended can take that step alone,
at once, and its reward and action are nobody's. This works for every EnvPool task.
"""

from __future__ import annotations

import difflib
from typing import Any

import numpy as np

from papers.ppo_scaling.host_envs import Facts, HostEnvs, HostStep
from shared.experiment.errors import BadInput, MissingExtra

GAMES = ("bigfish", "bossfight", "caveflyer", "chaser", "climber", "coinrun", "dodgeball",
         "fruitbot", "heist", "jumper", "leaper", "maze", "miner", "ninja", "plunder",
         "starpilot")  # fmt: skip


def game_id(name: str) -> str:
    """EnvPool's id: BigFish, bigfish and BigfishEasy-v0 are one.

    Raises:
        BadInput: no such game (near matches are named).
    """
    plain = name.partition("-v")[0].lower().replace("_", "").removesuffix("easy")
    if plain in GAMES:
        return f"{plain.capitalize()}Easy-v0"
    near = difflib.get_close_matches(plain, GAMES, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(GAMES)}."
    raise BadInput(f"{name!r} is no Procgen game: {hint}")


def envpool_of_one(task: str, seed: int) -> Any:
    """One environment of EnvPool.

    Raises:
        MissingExtra: EnvPool, or a library of the system that the task needs, is not there.
    """
    try:
        import envpool
    except ImportError:
        raise MissingExtra("Procgen needs the library envpool: uv sync --extra procgen.") from None
    try:
        return envpool.make(task, env_type="gymnasium", num_envs=1, num_threads=1, seed=seed)
    except ImportError:
        raise MissingExtra(
            "Procgen needs the system's Qt5 libraries Core and Gui, which are not there "
            "(on Debian and Ubuntu: apt install libqt5core5a libqt5gui5)."
        ) from None


class SameStep:
    """N environments of EnvPool that start anew in the step that ends an episode (`HostEnvs`).

    Args:
        task: EnvPool's id. gamma: of the sums by whose deviation rewards are divided; None leaves
            rewards as they are.
    """

    def __init__(self, task: str, n_envs: int, seed: int, gamma: float | None = 0.999) -> None:
        self._envs = [envpool_of_one(task, seed + i) for i in range(n_envs)]
        first = self._envs[0]
        shape = first.observation_space.shape
        self._channels_first = shape[0] < shape[-1]
        if self._channels_first:
            shape = (*shape[1:], shape[0])
        actions = int(first.action_space.n)
        self.facts = Facts(task, n_envs, shape, np.dtype(np.uint8), actions)
        self._scale = RewardScale(n_envs, gamma) if gamma is not None else None
        self._score = np.zeros(n_envs, np.float64)

    def reset(self) -> np.ndarray:
        """Start all episodes."""
        self._score[:] = 0
        return self._pixels([env.reset()[0] for env in self._envs])

    def send(self, actions: np.ndarray) -> None:
        """Begin a step, each environment in a thread of its own."""
        for env, action in zip(self._envs, actions, strict=True):
            env.send(np.array([action], np.int32))

    def recv(self) -> HostStep:
        """End it, and start anew what ended."""
        found = [env.recv()[:4] for env in self._envs]
        final, rewards, terminated, cut = ([x[i] for x in found] for i in range(4))
        rewards, terminated, cut = (np.concatenate(x) for x in (rewards, terminated, cut))
        ended = terminated | cut
        shown = list(final)
        for index in np.flatnonzero(ended):
            env = self._envs[index]
            env.send(np.zeros(1, np.int32))  # the action is ignored
            shown[index] = env.recv()[0]
        self._score += rewards
        scores = np.where(ended, self._score, 0.0)
        self._score[ended] = 0
        learned = rewards if self._scale is None else self._scale(rewards, ended)
        return HostStep(self._pixels(shown), learned.astype(np.float32), terminated,
                        cut & ~terminated, self._pixels(final), ended, scores)  # fmt: skip

    def close(self) -> None:
        """Close the environments."""
        for env in self._envs:
            env.close()

    def _pixels(self, obs: list[np.ndarray]) -> np.ndarray:
        joined = np.concatenate(obs)
        return np.moveaxis(joined, 1, -1).copy() if self._channels_first else joined


class RewardScale:
    """Divides rewards by the running deviation of their discounted sum, and cuts them at +-10."""

    def __init__(self, n_envs: int, gamma: float) -> None:
        self._gamma = gamma
        self._sums = np.zeros(n_envs)
        self._mean, self._var, self._count = 0.0, 1.0, 1e-4

    def __call__(self, rewards: np.ndarray, ended: np.ndarray) -> np.ndarray:
        self._sums = self._gamma * self._sums + rewards
        n, gap = len(rewards), self._sums.mean() - self._mean
        total = self._count + n
        spread = self._var * self._count + self._sums.var() * n + gap**2 * self._count * n / total
        self._mean += gap * n / total
        self._var, self._count = spread / total, total
        self._sums[ended] = 0
        return np.clip(rewards / np.sqrt(self._var + 1e-8), -10, 10)


def make(game: str, n_envs: int, seed: int) -> HostEnvs:
    """Procgen's environments, under the name that every suite has."""
    return SameStep(game_id(game), n_envs, seed)
