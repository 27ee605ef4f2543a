"""The usual way to train DSUP, as a yardstick for speed and an independent second opinion.

Python drives everything: a gymnasium environment, one compiled call for each action and one for
each update, a numpy replay buffer, a table of m x m errors for the quantile Huber loss, and optax.
Same mathematics, sizes and settings as `train.py`.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from papers.superiority import method
from papers.superiority.agents import (
    ACTIONS,
    AgentSpec,
    Network,
    Transition,
    acting_network,
    batch_loss,
    dsup_eta,
    dsup_network,
    greedy_actions,
    init_params,
    network,
    target_params,
)
from papers.superiority.env import ASSETS, TRAIN_SPAN, OptionEnv
from papers.superiority.train import Adam, adam_step


class PutOption(gymnasium.Env[np.ndarray, np.int64]):
    """`env.OptionEnv` of asset 0 on the official clock, in numpy."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(ACTIONS)

    def __init__(self, h: float) -> None:
        self.h = h
        self.price = self.clock = 0.0

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple:
        super().reset(seed=seed)
        self.price, self.clock = 1.0, self.np_random.uniform(0, TRAIN_SPAN * 100)
        return self._observation(), {}

    def step(self, action: Any) -> tuple:
        done = action == 1 or self.clock >= 100 - 1e-4 - self.h
        reward = max(1.0 - self.price, 0.0) if done else 0.0
        law, noise = ASSETS[0], self.np_random.standard_normal()
        self.price *= math.exp(law.drift * self.h + law.volatility * math.sqrt(self.h) * noise)
        self.clock += 2 * self.h
        return self._observation(), reward, done, False, {"noise": noise}

    def _observation(self) -> np.ndarray:
        return np.array([self.price, (100 - self.clock) / 100], np.float32)


def loss(net: Network, target: Network, batch: Transition, spec: AgentSpec) -> Float[Array, ""]:
    """DSUP's loss with every error of the quantile Huber loss written out."""
    h, scale = spec.h, spec.discount**spec.h
    levels = method.midpoints(spec.atoms)
    q_raw, psi_raw, eta = dsup_network(net, batch.obs)
    centre = functools.partial(method.centre, h=h, q=spec.q, shift=spec.shift, risk=spec.risk)
    q, psi, _ = jax.vmap(centre)(q_raw, psi_raw)
    rows = jnp.arange(batch.action.shape[0])
    reward = jnp.where(batch.mask == 1, h, 1.0) * batch.reward
    goal = reward[:, None] + scale * batch.mask[:, None] * dsup_eta(target, batch.next_obs)
    prediction = eta + h**spec.q * psi[rows, batch.action]
    error = goal[:, None, :] - prediction[:, :, None]
    size = jnp.abs(error)
    kappa = spec.kappa
    huber = jnp.where(size <= kappa, 0.5 * error**2, kappa * (size - 0.5 * kappa))
    tilt = jnp.abs(levels[:, None] - (error < 0).astype(jnp.float32))
    quantile_loss = (tilt * huber).mean(axis=2).sum(axis=1)
    value = jax.lax.stop_gradient(eta.mean(axis=1)) + h * q[rows, batch.action]
    return jnp.mean(quantile_loss + 0.5 * (value - goal.mean(axis=1)) ** 2)


@functools.partial(jax.jit, static_argnames="spec")
def choose(net: Network, obs: Any, key: Array, epsilon: Any, spec: AgentSpec) -> tuple:
    """An eps-greedy action, and the next key."""
    key, k_explore, k_action = jax.random.split(key, 3)
    features = dsup_network(net, obs)
    _, psi, _ = method.centre(*features[:2], spec.h, spec.q, spec.shift, spec.risk)
    greedy = jnp.argmax(spec.risk(psi))
    random = jax.random.randint(k_action, (), 0, ACTIONS)
    return jnp.where(jax.random.uniform(k_explore) < epsilon, random, greedy), key


@functools.partial(jax.jit, static_argnames="spec")
def update(net: Network, target: Network, adam: Any, batch: Transition, spec: AgentSpec) -> tuple:
    """One step of optax's Adam."""
    gradient = jax.grad(loss)(net, target, batch, spec)
    with jax.numpy_dtype_promotion("standard"):
        step, adam = optax.adam(spec.learning_rate).update(gradient, adam)
    return optax.apply_updates(net, step), adam


class PerStepLoop:
    """Training of DSUP(q) by a loop in Python."""

    def __init__(self, spec: AgentSpec, seed: int) -> None:
        self.spec, self.rng = spec, np.random.default_rng(seed)
        self.key = jax.random.key(seed)
        self.net = network(init_params(self.key, spec), spec)
        self.target = self.net
        self.adam = optax.adam(spec.learning_rate).init(self.net)
        self.env = PutOption(spec.h)
        self.obs, _ = self.env.reset(seed=seed)
        size = spec.replay_capacity
        pair, one = np.zeros((size, 2), np.float32), np.zeros(size, np.float32)
        columns: Any = (pair, np.zeros(size, np.int32), one, one.copy(), pair.copy())
        self.replay = Transition(*columns)
        self.inserted = self.updates = 0

    def train(self, days: int) -> float:
        """Train for so many gradient steps; returns the number of environment steps."""
        spec, omega = self.spec, self.spec.frequency
        for step in range(days * omega):
            done = min(1.0, self.updates / spec.epsilon_updates)
            epsilon = 1 + (spec.epsilon_final - 1) * done
            action, self.key = choose(self.net, self.obs, self.key, epsilon, spec)
            action = int(action)
            obs, reward, terminated, _, _ = self.env.step(action)
            if terminated or self.rng.random() > 1 - spec.h:
                slot = self.inserted % spec.replay_capacity
                for column, value in zip(
                    self.replay, (self.obs, action, reward, not terminated, obs), strict=True
                ):
                    column[slot] = value
                self.inserted += 1
            self.obs = self.env.reset()[0] if terminated else obs
            if (step + 1) % omega == 0 and self.inserted > 0:
                self._learn()
        jax.block_until_ready(self.net)
        return float(days * omega)

    def _learn(self) -> None:
        size = min(self.inserted, self.spec.replay_capacity)
        rows = self.rng.integers(size, size=self.spec.batch_size)
        batch = Transition(*(column[rows] for column in self.replay))
        self.net, self.adam = update(self.net, self.target, self.adam, batch, self.spec)
        self.updates += 1
        if self.updates % self.spec.target_period == 0:
            self.target = self.net


def check_equal(spec: AgentSpec) -> None:
    """Assert that one step of each piece gives what `train.py` gives, on the same numbers."""
    params = init_params(jax.random.key(7), spec)
    net, rng = network(params, spec), np.random.default_rng(0)
    obs = rng.uniform(0.5, 1.5, (2, spec.batch_size, 2)).astype(np.float32)
    action = rng.integers(ACTIONS, size=spec.batch_size).astype(np.int32)
    reward, mask = rng.uniform(size=(2, spec.batch_size)).astype(np.float32)
    columns = (obs[0], action, reward, (mask > 0.3).astype(np.float32), obs[1])
    batch = Transition(*map(jnp.asarray, columns))

    theirs, _ = update(net, net, optax.adam(spec.learning_rate).init(net), batch, spec)
    gradient, _ = jax.grad(batch_loss, has_aux=True)(
        params, target_params(params, spec), batch, spec
    )
    still = Adam(0 * params, 0 * params)
    ours, _ = adam_step(params, gradient, still, jnp.int32(1), spec.learning_rate)
    for a, b in zip(*map(jax.tree.leaves, (network(ours, spec), theirs)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)

    greedy = greedy_actions(acting_network(params, spec), batch.obs, spec)
    chosen = [choose(net, o, jax.random.key(0), 0.0, spec)[0] for o in batch.obs]
    np.testing.assert_array_equal(greedy, np.array(chosen))

    env = PutOption(spec.h)
    law = jax.tree.map(jnp.float32, OptionEnv(ASSETS[0].drift, ASSETS[0].volatility))
    env.reset(seed=0)
    state = law.start_at(env.clock)
    for step in range(20):
        obs, paid, done, _, info = env.step(int(step == 19))
        state, reward_t, terminated = law.step(state, int(step == 19), info["noise"], spec.h)
        np.testing.assert_allclose(obs, law.observe(state), rtol=1e-5)
        np.testing.assert_allclose(paid, reward_t, atol=1e-6)
        assert done == bool(terminated)
        if done:
            break
