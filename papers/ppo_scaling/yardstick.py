"""PPO as it is usually written, in PyTorch: yardstick for speed and independent second opinion.

Written from the algorithm in the manner of CleanRL: one file of Python that steps N environments,
asks the network once a step, walks back through the rollout for the advantages, and takes E x M
gradient steps with `torch.optim.Adam`, observations kept as float32. One thread, because with more
this loop gets slower. Same sizes and settings as ours; extra `torch`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor, nn

from papers.ppo_scaling.host_envs import HostEnvs
from papers.ppo_scaling.method import BatchSpec


class Settings:
    """Numbers of PPO, CleanRL's."""

    lr, gamma, lam, vf, ent, max_grad_norm = 2.5e-4, 0.99, 0.95, 0.5, 0.01, 0.5

    def __init__(self, clip: float) -> None:
        self.clip = clip


def _layer(layer: Any, gain: float = 2**0.5) -> Any:
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer


class Vectors(nn.Module):
    """Two networks of tanh layers of 64, for actor and critic."""

    def __init__(self, inputs: int, n_actions: int) -> None:
        super().__init__()

        def body(outputs: int, gain: float) -> nn.Sequential:
            return nn.Sequential(
                _layer(nn.Linear(inputs, 64)), nn.Tanh(),
                _layer(nn.Linear(64, 64)), nn.Tanh(),
                _layer(nn.Linear(64, outputs), gain),
            )  # fmt: skip

        self.actor, self.critic = body(n_actions, 0.01), body(1, 1.0)

    def forward(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and values."""
        return self.actor(obs), self.critic(obs)[:, 0]


class Pixels(nn.Module):
    """The Nature network on [B, 4, 84, 84], shared by actor and critic."""

    def __init__(self, n_actions: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _layer(nn.Conv2d(4, 32, 8, 4)), nn.ReLU(),
            _layer(nn.Conv2d(32, 64, 4, 2)), nn.ReLU(),
            _layer(nn.Conv2d(64, 64, 3, 1)), nn.ReLU(),
            nn.Flatten(), _layer(nn.Linear(3136, 512)), nn.ReLU(),
        )  # fmt: skip
        self.actor = _layer(nn.Linear(512, n_actions), 0.01)
        self.critic = _layer(nn.Linear(512, 1), 1.0)

    def forward(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and values."""
        features = self.body(obs / 255.0)
        return self.actor(features), self.critic(features)[:, 0]


def gae(
    r: Tensor, v: Tensor, done: Tensor, last_v: Tensor, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    """Advantages and returns by a walk back through the rollout; `done` ends with its step."""
    advantages = torch.zeros_like(r)
    following, carried = last_v, torch.zeros_like(last_v)
    for t in reversed(range(len(r))):
        going = 1.0 - done[t]
        delta = r[t] + gamma * following * going - v[t]
        carried = delta + gamma * lam * going * carried
        advantages[t] = carried
        following = v[t]
    return advantages, advantages + v


def loss(agent: nn.Module, part: Sequence[Tensor], settings: Settings) -> Tensor:
    """PPO's loss of a minibatch (obs, actions, log-probabilities, values, advantages, returns)."""
    obs, actions, old, old_values, advantages, returns = part
    logits, values = agent(obs)
    law = torch.distributions.Categorical(logits=logits)
    ratio = (law.log_prob(actions) - old).exp()
    advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    clip = settings.clip
    policy = torch.max(-advantages * ratio, -advantages * ratio.clamp(1 - clip, 1 + clip)).mean()
    near = old_values + (values - old_values).clamp(-clip, clip)
    value = 0.5 * torch.max((values - returns) ** 2, (near - returns) ** 2).mean()
    return policy - settings.ent * law.entropy().mean() + settings.vf * value


class CartPoles:
    """gymnasium's CartPole-v1, N of them in this process, as CleanRL makes them."""

    def __init__(self, n_envs: int) -> None:
        self._envs = gymnasium.make_vec("CartPole-v1", n_envs, vectorization_mode="sync")
        self.shape, self.n_actions = (4,), 2

    def reset(self) -> np.ndarray:
        """First observations."""
        return self._envs.reset(seed=0)[0]

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Observations, rewards, ends."""
        obs, rewards, terminated, truncated, _ = self._envs.step(actions)
        return obs, rewards, terminated | truncated


class Host:
    """The same for any of our environments on the host."""

    def __init__(self, envs: HostEnvs) -> None:
        self._envs = envs
        self.shape, self.n_actions = envs.facts.obs_shape, envs.facts.n_actions

    def reset(self) -> np.ndarray:
        """First observations."""
        return self._envs.reset()

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Observations, rewards, ends."""
        self._envs.send(actions)
        step = self._envs.recv()
        return step.obs, step.rewards, step.terminated | step.truncated


class TorchLoop:
    """PPO on N environments, driven by Python."""

    def __init__(self, envs: Any, agent: nn.Module, spec: BatchSpec, settings: Settings) -> None:
        torch.set_num_threads(1)
        torch.manual_seed(0)
        self.envs, self.agent, self.spec, self.settings = envs, agent, spec, settings
        self.adam = torch.optim.Adam(agent.parameters(), lr=settings.lr, eps=1e-5)
        shape = (spec.n_ro, spec.n_envs)
        self.obs = torch.zeros((*shape, *envs.shape))
        self.actions = torch.zeros(shape, dtype=torch.int64)
        self.numbers = [torch.zeros(shape) for _ in range(4)]
        self.now = torch.as_tensor(envs.reset(), dtype=torch.float32)

    def train(self, iterations: int) -> float:
        """So many iterations; returns the number of environment steps."""
        for _ in range(iterations):
            self.learn(*self.collect())
        return float(iterations * self.spec.batch_size)

    def collect(self) -> tuple[Tensor, Tensor]:
        """A rollout; its advantages and returns."""
        log_probs, values, rewards, done = self.numbers
        for t in range(self.spec.n_ro):
            self.obs[t] = self.now
            with torch.no_grad():
                logits, values[t] = self.agent(self.now)
                law = torch.distributions.Categorical(logits=logits)
                action = law.sample()
                self.actions[t], log_probs[t] = action, law.log_prob(action)
            obs, reward, ended = self.envs.step(action.numpy())
            rewards[t] = torch.as_tensor(reward, dtype=torch.float32)
            done[t] = torch.as_tensor(ended, dtype=torch.float32)
            self.now = torch.as_tensor(obs, dtype=torch.float32)
        with torch.no_grad():
            last = self.agent(self.now)[1]
        return gae(rewards, values, done, last, self.settings.gamma, self.settings.lam)

    def learn(self, advantages: Tensor, returns: Tensor) -> None:
        """All epochs over the rollout."""
        log_probs, values = self.numbers[:2]
        whole = (self.obs, self.actions, log_probs, values, advantages, returns)
        flat = [x.reshape(-1, *x.shape[2:]) for x in whole]
        for _ in range(self.spec.epochs):
            order = torch.randperm(self.spec.batch_size)
            for index in order.split(self.spec.minibatch_size):
                value = loss(self.agent, [x[index] for x in flat], self.settings)
                self.adam.zero_grad()
                value.backward()
                nn.utils.clip_grad_norm_(self.agent.parameters(), self.settings.max_grad_norm)
                self.adam.step()


# The same numbers ---------------------------------------------------------------------------------


def check_equal(clip: float = 0.1) -> None:
    """Assert that advantages and loss are those of `method`, on frozen inputs."""
    import jax.numpy as jnp

    from papers.ppo_scaling import method

    rng = np.random.default_rng(0)
    r, v = rng.normal(size=(2, 16, 4)).astype(np.float32)
    last, done = rng.normal(size=4).astype(np.float32), rng.random((16, 4)) < 0.2
    a, b, c, d = map(torch.as_tensor, (r, v, done.astype(np.float32), last))
    theirs = gae(a, b, c, d, 0.99, 0.95)
    e, f, g, h = map(jnp.asarray, (r, v, done, last))
    ours = method.gae(e, f, g, h, 0.99, 0.95)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other.numpy(), rtol=1e-5, atol=1e-5)

    logits = rng.normal(size=(64, 3)).astype(np.float32)
    values, old, old_values, advantages, returns = rng.normal(size=(5, 64)).astype(np.float32)
    old = -np.abs(old)
    actions = rng.integers(3, size=64).astype(np.int32)

    class Frozen(nn.Module):
        def forward(self, obs: Tensor) -> tuple[Tensor, Tensor]:
            return torch.as_tensor(logits), torch.as_tensor(values)

    columns = (actions.astype(np.int64), old, old_values, advantages, returns)
    part = [torch.zeros(64), *map(torch.as_tensor, columns)]
    reference = float(loss(Frozen(), part, Settings(clip)))
    batch = method.PPOBatch(*map(jnp.asarray, (actions, old, old_values, advantages, returns)))
    found, _ = method.ppo_loss(jnp.asarray(logits), jnp.asarray(values), batch, clip)
    np.testing.assert_allclose(float(found), reference, rtol=1e-5)


def check_equal_pixels() -> None:
    """Assert that the Nature network on blocks of pixels is this file's, weight for weight."""
    import jax
    import jax.numpy as jnp

    from papers.ppo_scaling import atari
    from papers.ppo_scaling.host_networks import pixels

    net = pixels("nature", atari.OBS_SHAPE, 6)
    frames = np.random.default_rng(0).integers(0, 256, (4, 4, 84, 84)).astype(np.uint8)
    agent = Pixels(6)
    heads = net.apply(_as_ours(agent), atari.layout(jnp.asarray(frames)))
    with torch.no_grad():
        logits, values = agent(torch.as_tensor(frames, dtype=torch.float32))
    jax.block_until_ready(heads)
    np.testing.assert_allclose(heads.logits, logits.numpy(), atol=1e-4)
    np.testing.assert_allclose(heads.value, values.numpy(), atol=1e-4)


def _as_ours(agent: Pixels) -> Any:
    """Weights of `Pixels` in the order of `networks`, the first layer's over blocks of 4 x 4."""
    import jax.numpy as jnp

    body: Any = agent.body
    convs = [body[i] for i in (0, 2, 4)]
    found = []
    for index, conv in enumerate(convs):
        weights: Any = conv.weight.detach().numpy()  # out, in, y, x
        out, inputs, size, _ = weights.shape
        if index == 0:
            blocks = weights.reshape(out, inputs, 2, 4, 2, 4)  # out, frame, row, y, column, x
            weights = blocks.transpose(2, 4, 3, 5, 1, 0).reshape(-1, out)
        else:
            weights = weights.transpose(2, 3, 1, 0).reshape(size * size * inputs, out)
        found.append({"w": jnp.asarray(weights), "b": jnp.asarray(conv.bias.detach().numpy())})
    dense: Any = body[7].weight.detach().numpy()
    dense = dense.reshape(512, 64, 7, 7).transpose(2, 3, 1, 0).reshape(3136, 512)

    def linear(layer: Any, weights: np.ndarray | None = None) -> dict[str, Any]:
        w = layer.weight.detach().numpy().T if weights is None else weights
        return {"w": jnp.asarray(w), "b": jnp.asarray(layer.bias.detach().numpy())}

    return {
        "encoder": {"conv": found, "dense": linear(body[7], dense)},
        "actor": linear(agent.actor),
        "critic": linear(agent.critic),
    }
