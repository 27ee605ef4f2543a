"""Environments outside the program: Atari, Procgen, MuJoCo, stepped by C++ or Python on the host.

One protocol for all, N environments at once:

    envs.facts              game, shapes and actions
    envs.reset()            -> obs [N, ...], all of them at the start
    envs.send(actions)      begins a step; envs.recv() -> HostStep ends it
    envs.close()

Environments start anew in the step that ends an episode, and given their seed and the actions they
do the same again, bit for bit: so a run that was killed finds them where it left them by replaying
its actions (`host`). Everything optional is imported when a suite is made.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from shared.experiment.errors import BadInput

SUITES = ("atari", "procgen", "continuous")


@dataclass(frozen=True)
class Facts:
    """What a learner must know of N environments.

    Attributes:
        obs_shape, obs_dtype: of one observation as `recv` gives it.
        n_actions: of a discrete choice; 0 where actions are vectors.
        action_size: length of such a vector; 0 where actions are choices.
    """

    game: str
    n_envs: int
    obs_shape: tuple[int, ...]
    obs_dtype: np.dtype
    n_actions: int = 0
    action_size: int = 0

    @property
    def action_shape(self) -> tuple[int, ...]:
        """Of the actions of one step, over all environments."""
        return (self.n_envs, self.action_size) if self.action_size else (self.n_envs,)

    @property
    def action_dtype(self) -> np.dtype:
        """In which actions are remembered for a replay."""
        return np.dtype(np.float32 if self.action_size else np.uint8)


class HostStep(NamedTuple):
    """One step of N environments.

    Attributes:
        obs: what to act on next; after an end, the first of the new episode.
        rewards: as they are learned from (clipped or normalised).
        terminated, truncated: how an episode ended, if it did; never both.
        final_obs: where `truncated`, the state that was cut off; anything elsewhere.
        over: whether a whole game ended (a lost life ends an episode, not the game).
        scores: its undiscounted, unclipped return; 0 elsewhere.
    """

    obs: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    final_obs: np.ndarray
    over: np.ndarray
    scores: np.ndarray


@runtime_checkable
class HostEnvs(Protocol):
    """N environments; see the top of this file."""

    @property
    def facts(self) -> Facts:
        """Game, shapes and actions."""
        ...

    def reset(self) -> np.ndarray:
        """All environments at their start; their observations."""
        ...

    def send(self, actions: np.ndarray) -> None:
        """Begin a step."""
        ...

    def recv(self) -> HostStep:
        """End it."""
        ...

    def close(self) -> None:
        """Give back what the environments hold."""
        ...


def check_suite(suite: str) -> str:
    """`suite`, or BadInput with what there is and the nearest match."""
    if suite in SUITES:
        return suite
    near = difflib.get_close_matches(suite.lower(), SUITES, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise BadInput(f"No suite {suite!r}; there are {', '.join(SUITES)}.{hint}")


def make(suite: str, game: str, n_envs: int, seed: int, **options: Any) -> HostEnvs:
    """N environments of a game; environment i is seeded by `seed + i`.

    Raises:
        BadInput: unknown suite or game, or fewer than one environment.
        MissingExtra: the library that the suite needs is not installed.
    """
    check_suite(suite)
    if n_envs < 1:
        raise BadInput(f"n-envs must be at least 1; got {n_envs}.")
    if suite == "atari":
        from papers.ppo_scaling import atari as module
    elif suite == "procgen":
        from papers.ppo_scaling import procgen as module
    else:
        from papers.ppo_scaling import continuous as module
    return module.make(game, n_envs, seed, **options)
