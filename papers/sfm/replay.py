"""Replay of whole episodes on the device, and the batches that are drawn from it.

Every episode here has the same length and ends by time-out, so states are stored once (an episode
of T steps has T + 1 of them), a transition is a pair of neighbours, and no terminal flag exists.
Float32, preallocated; `replay_bytes` says how much before a run starts.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from papers.sfm.method import discounted_steps


class Episode(NamedTuple):
    """One episode of T steps, from reset to time-out. `reward` is the task's: never imitated."""

    obs: Float[Array, "*n T+1 s"]
    action: Float[Array, "*n T a"]
    reward: Float[Array, "*n T"]


class Replay(NamedTuple):
    """The last C episodes; `inserted` counts all that ever came in."""

    episodes: Episode
    inserted: Int[Array, ""]


class Batch(NamedTuple):
    """Transitions, and for each a later state of its episode (`goal`)."""

    obs: Float[Array, "B s"]
    action: Float[Array, "B a"]
    next_obs: Float[Array, "B s"]
    reward: Float[Array, " B"]
    goal: Float[Array, "B s"]


GOAL_RATE = 0.02  # success probability of the geometric law of the steps to a goal


def empty(capacity: int, length: int, obs_dim: int, act_dim: int) -> Replay:
    """Room for `capacity` episodes of `length` steps."""
    return Replay(
        Episode(
            obs=jnp.zeros((capacity, length + 1, obs_dim), jnp.float32),
            action=jnp.zeros((capacity, length, act_dim), jnp.float32),
            reward=jnp.zeros((capacity, length), jnp.float32),
        ),
        jnp.int32(0),
    )


def replay_bytes(capacity: int, length: int, obs_dim: int, act_dim: int) -> int:
    """Bytes of an `empty` replay for one seed."""
    return 4 * capacity * ((length + 1) * obs_dim + length * (act_dim + 1))


def insert(replay: Replay, episode: Episode) -> Replay:
    """With the episode in place of the oldest."""
    slot = replay.inserted % replay.episodes.obs.shape[0]
    stored = jax.tree.map(lambda all_, one: all_.at[slot].set(one), replay.episodes, episode)
    return Replay(stored, replay.inserted + 1)


def stored(replay: Replay) -> Int[Array, ""]:
    """How many episodes there are."""
    return jnp.minimum(replay.inserted, replay.episodes.obs.shape[0])


def sample(replay: Replay, key: Key[Array, ""], size: int) -> Batch:
    """Transitions drawn uniformly with replacement."""
    k_episode, k_step, k_goal = jax.random.split(key, 3)
    length = replay.episodes.action.shape[1]
    episode = jax.random.randint(k_episode, (size,), 0, stored(replay))
    step = jax.random.randint(k_step, (size,), 0, length)
    return _batch(replay, episode, step, k_goal)


def sample_discounted(replay: Replay, key: Key[Array, ""], size: int, gamma: float) -> Batch:
    """Transitions whose step t within the episode has a probability proportional to gamma^t."""
    k_episode, k_step, k_goal = jax.random.split(key, 3)
    length = replay.episodes.action.shape[1]
    episode = jax.random.randint(k_episode, (size,), 0, stored(replay))
    return _batch(replay, episode, discounted_steps(k_step, (size,), length, gamma), k_goal)


def sample_initial(replay: Replay, key: Key[Array, ""], size: int) -> Float[Array, "B s"]:
    """First states of episodes."""
    episode = jax.random.randint(key, (size,), 0, stored(replay))
    return replay.episodes.obs[episode, 0]


def newest(replay: Replay, key: Key[Array, ""], size: int, last: int) -> Batch:
    """Transitions drawn uniformly from the `last` newest episodes."""
    k_episode, k_step, k_goal = jax.random.split(key, 3)
    capacity, length = replay.episodes.action.shape[:2]
    back = jax.random.randint(k_episode, (size,), 0, jnp.minimum(stored(replay), last))
    step = jax.random.randint(k_step, (size,), 0, length)
    return _batch(replay, (replay.inserted - 1 - back) % capacity, step, k_goal)


def _batch(
    replay: Replay, episode: Int[Array, " B"], step: Int[Array, " B"], key: Key[Array, ""]
) -> Batch:
    episodes, length = replay.episodes, replay.episodes.action.shape[1]
    # A geometric number of steps ahead, at least one, at most to the episode's end.
    u = jax.random.uniform(key, step.shape, jnp.float32)
    ahead = 1 + jnp.floor(jnp.log1p(-u) / math.log1p(-GOAL_RATE)).astype(jnp.int32)
    return Batch(
        obs=episodes.obs[episode, step],
        action=episodes.action[episode, step],
        next_obs=episodes.obs[episode, step + 1],
        reward=episodes.reward[episode, step],
        goal=episodes.obs[episode, jnp.minimum(step + ahead, length)],
    )
