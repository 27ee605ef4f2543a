"""Continuous control: MuJoCo's tasks by gymnasium's vector environment, with Gaussian policies.

They stand in for the paper's Isaac Gym, which is proprietary and no longer kept. Settings are those
of CleanRL's PPO for Isaac Gym as far as they carry over (`host.SUITE_DEFAULTS`). Observations and
rewards are taken as they are. A limit of steps is a truncation.

A policy is a normal law for each action, independent, with a deviation that does not depend on the
state; actions beyond a task's bounds are clipped by the environment, not in the law.
"""

from __future__ import annotations

import difflib
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from papers.ppo_scaling import host_learner, train
from papers.ppo_scaling.host_envs import Facts, HostEnvs, HostStep
from papers.ppo_scaling.host_networks import GaussianHeads
from papers.ppo_scaling.method import BatchSpec, PPOBatch, gae, normalise
from papers.ppo_scaling.networks import Net
from papers.ppo_scaling.train import Acted, Hyper, Learner, LearnState, Logs, Rollout
from shared.experiment.errors import BadInput

TASKS = ("Ant", "HalfCheetah", "Hopper", "Humanoid", "HumanoidStandup", "InvertedDoublePendulum",
         "InvertedPendulum", "Pusher", "Reacher", "Swimmer", "Walker2d")  # fmt: skip


def task_name(name: str) -> str:
    """gymnasium's id of a task: humanoid, Humanoid and Humanoid-v5 are one.

    Raises:
        BadInput: no such task (near matches are named).
    """
    tasks = {task.lower(): f"{task}-v5" for task in TASKS}
    plain = name.partition("-v")[0].lower().replace("_", "").replace("-", "")
    if plain in tasks:
        return tasks[plain]
    near = difflib.get_close_matches(plain, tasks, n=2)
    hint = f"did you mean {' or '.join(tasks[n] for n in near)}?" if near else f"{', '.join(TASKS)}"
    raise BadInput(f"{name!r} is no MuJoCo task here: {hint}")


class MujocoEnvs:
    """N copies of a task, stepped one after the other in this process (`HostEnvs`)."""

    def __init__(self, task: str, n_envs: int, seed: int) -> None:
        import gymnasium

        name = task_name(task)
        self._seed = seed
        self._envs = gymnasium.vector.SyncVectorEnv(
            [lambda: gymnasium.make(name) for _ in range(n_envs)],
            autoreset_mode=gymnasium.vector.AutoresetMode.SAME_STEP,
        )
        space: Any = self._envs.single_action_space
        self._low, self._high = space.low, space.high
        shape = self._envs.single_observation_space.shape
        assert shape is not None
        size = int(space.shape[0])
        self.facts = Facts(name, n_envs, shape, np.dtype(np.float32), 0, size)
        self._score = np.zeros(n_envs, np.float64)
        self._actions = np.zeros(self.facts.action_shape, np.float32)

    def reset(self) -> np.ndarray:
        """Start all episodes; environment i under `seed + i`."""
        obs, _ = self._envs.reset(seed=self._seed)
        self._score[:] = 0
        return obs.astype(np.float32)

    def send(self, actions: np.ndarray) -> None:
        """Remember the actions; the work is done in `recv`."""
        self._actions = np.clip(actions, self._low, self._high)

    def recv(self) -> HostStep:
        """One step of every environment."""
        obs, rewards, terminated, truncated, info = self._envs.step(self._actions)
        ended = terminated | truncated
        self._score += rewards
        scores = np.where(ended, self._score, 0.0)
        self._score[ended] = 0
        final = obs.astype(np.float32)
        shown = final.copy()
        for index in np.flatnonzero(ended):
            final[index] = info["final_obs"][index]
        cut = truncated & ~terminated
        return HostStep(shown, rewards.astype(np.float32), terminated, cut, final, ended, scores)

    def close(self) -> None:
        """Close the environments."""
        self._envs.close()


def make(game: str, n_envs: int, seed: int) -> HostEnvs:
    """`MujocoEnvs`, under the name that every suite has."""
    return MujocoEnvs(game, n_envs, seed)


# Gaussian PPO -------------------------------------------------------------------------------------


def log_probs(heads: GaussianHeads, actions: Float[Array, "B d"]) -> Float[Array, " B"]:
    """log density of the actions: sum over d of -z^2 / 2 - log sigma - log(2 pi) / 2."""
    z = (actions - heads.mean) * jnp.exp(-heads.log_std)
    constant = 0.5 * math.log(2 * math.pi)
    return jnp.sum(-0.5 * z**2 - heads.log_std - constant, axis=-1)


def entropy(heads: GaussianHeads) -> Float[Array, ""]:
    """Of the law, the same in every state: sum of log sigma + (1 + log 2 pi) / 2."""
    return jnp.sum(heads.log_std + 0.5 * (1 + math.log(2 * math.pi)), axis=-1).mean()


def gaussian_ppo_loss(
    heads: GaussianHeads, batch: PPOBatch, clip: Any, vf: Any, ent: Any
) -> tuple[Float[Array, ""], Logs]:
    """`method.ppo_loss` with a density in the place of a probability; advantages as they come."""
    log_ratio = log_probs(heads, batch.actions) - batch.log_probs
    ratio = jnp.exp(log_ratio)
    clipped = jnp.clip(ratio, 1 - clip, 1 + clip)
    policy = jnp.maximum(-batch.advantages * ratio, -batch.advantages * clipped).mean()
    near = batch.values + jnp.clip(heads.value - batch.values, -clip, clip)
    errors = jnp.maximum((heads.value - batch.returns) ** 2, (near - batch.returns) ** 2)
    value = 0.5 * errors.mean()
    spread = entropy(heads)
    logs = {
        "policy_loss": policy,
        "value_loss": value,
        "entropy": spread,
        "k1": -log_ratio.mean(),
        "k3": (ratio - 1 - log_ratio).mean(),
        "clip_fraction": (jnp.abs(ratio - 1) > clip).astype(jnp.float32).mean(),
    }
    return policy - ent * spread + vf * value, logs


def make_learner(net: Net, spec: BatchSpec) -> Learner:
    """PPO with a Gaussian policy."""
    plain = train.make_learner("ppo", net, spec)

    def act(state: LearnState, obs: Array, keys: Key[Array, " N"]) -> Acted:
        heads: Any = net.apply(state.params, obs)
        size = heads.mean.shape[1:]
        noise = jax.vmap(lambda key: jax.random.normal(key, size, jnp.float32))(keys)
        actions = heads.mean + jnp.exp(heads.log_std) * noise
        return Acted(actions, log_probs(heads, actions), heads.value)

    def problem(
        state: LearnState, rollout: Rollout, last_obs: Array, hp: Hyper
    ) -> tuple[host_learner.Objective, Any]:
        last_values = net.apply(state.params, last_obs).value

        def loss(params: Any, part: tuple[Array, PPOBatch]) -> tuple[Array, Logs]:
            obs, batch = part
            batch = batch._replace(advantages=normalise(batch.advantages))
            heads: Any = net.apply(params, obs)
            return gaussian_ppo_loss(heads, batch, hp.clip, hp.vf, hp.ent)

        done = rollout.terminated | rollout.truncated
        advantages, returns = gae(rollout.rewards, rollout.values, done, last_values, hp.gamma,
                                  hp.lam, rollout.truncated, rollout.final_values)  # fmt: skip
        batch = PPOBatch(rollout.actions, rollout.log_probs, rollout.values, advantages, returns)
        flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), (rollout.obs, batch))
        return loss, flat

    learn, gradient = host_learner.solvers(problem, spec)
    return plain._replace(act=act, learn=learn, gradient=gradient)
