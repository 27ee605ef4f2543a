"""IRL-Plus as such code usually is: PyTorch eager, one gymnasium environment stepped from Python.

The same mathematics at the same sizes as `method.sac_update` with separate critics: what the bench
compares speeds with, after `check_equal` has seen one update give the same networks in both.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from papers.icrl.method_torch import CostNet, cost_apply


def mlp(sizes: tuple[int, ...]) -> nn.Sequential:
    """ReLU between the layers."""
    parts: list[nn.Module] = []
    for m, n in zip(sizes[:-1], sizes[1:], strict=True):  # noqa: RUF007 - reads like its twin
        parts += [nn.Linear(m, n), nn.ReLU()]
    return nn.Sequential(*parts[:-1])


class Learner:
    """Soft actor-critic with separate twin critics of reward and learned cost."""

    def __init__(self, obs_dim: int, act_dim: int, width: int, rate: float = 1e-3) -> None:
        self.act_dim = act_dim
        self.actor = mlp((obs_dim, width, width, 2 * act_dim))
        sizes = (obs_dim + act_dim, width, width, 1)
        self.critics = nn.ModuleList([mlp(sizes) for _ in range(4)])
        self.targets = nn.ModuleList([mlp(sizes) for _ in range(4)])
        self.targets.load_state_dict(self.critics.state_dict())
        self.cost = CostNet(obs_dim, act_dim)
        self.log_alpha = torch.zeros((), requires_grad=True)
        self.adams = [
            torch.optim.Adam(self.critics.parameters(), lr=rate),
            torch.optim.Adam(self.actor.parameters(), lr=rate),
            torch.optim.Adam([self.log_alpha], lr=3e-4),
        ]

    def act(self, obs: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Squashed Gaussian actions and their log-densities."""
        mean, log_std = self.actor(obs).chunk(2, dim=-1)
        log_std = log_std.clamp(-20, 2)
        u = mean + log_std.exp() * noise
        gaussian = -0.5 * noise**2 - log_std - 0.5 * np.log(2 * np.pi)
        squash = 2 * (np.log(2) - u - functional.softplus(-2 * u))
        return torch.tanh(u), (gaussian - squash).sum(dim=-1)

    def update(self, batch: tuple[Tensor, ...], noises: tuple[Tensor, Tensor]) -> None:
        """One step of critics, actor, temperature and targets."""
        obs, act, rew, next_obs, terminated = batch
        alpha = self.log_alpha.detach().exp()
        with torch.no_grad():
            cost = cost_apply(self.cost, obs, act)
            next_act, log_pi = self.act(next_obs, noises[0])
            q = self._values(self.targets, next_obs, next_act)
            go_on = 0.99 * (1 - terminated)
            reward = rew + go_on * (q[:2].min(dim=0).values - alpha * log_pi)
            price = cost + go_on * (q[2:].min(dim=0).values - alpha * log_pi)
            target = torch.stack([reward, reward, price, price])
        loss = ((self._values(self.critics, obs, act) - target) ** 2).mean(dim=1).sum()
        self._step(0, loss)
        new_act, log_pi = self.act(obs, noises[1])
        q = self._values(self.critics, obs, new_act)
        loss = (alpha * log_pi - q[:2].min(dim=0).values + q[2:].min(dim=0).values).mean()
        self._step(1, loss)
        self._step(2, -self.log_alpha * (log_pi.detach().mean() - self.act_dim))
        with torch.no_grad():
            for t, p in zip(self.targets.parameters(), self.critics.parameters(), strict=True):
                t += 0.005 * (p - t)

    @staticmethod
    def _values(nets: nn.ModuleList, obs: Tensor, act: Tensor) -> Tensor:
        x = torch.cat([obs, act], dim=-1)
        return torch.stack([net(x)[:, 0] for net in nets])

    def _step(self, which: int, loss: Tensor) -> None:
        self.adams[which].zero_grad()
        loss.backward()
        self.adams[which].step()


class Loop:
    """One environment step, one update, in Python."""

    def __init__(self, env: Any, width: int, batch: int, capacity: int = 20_000) -> None:
        torch.set_num_threads(1)
        o, a = env.observation_space.shape[0], env.action_space.shape[0]
        self.env, self.batch = env, batch
        self.learner = Learner(o, a, width)
        self.columns = [np.zeros((capacity, *s), np.float32) for s in ((o,), (a,), (), (o,), ())]
        self.count, self.rng = 0, np.random.default_rng(0)
        self.obs, _ = env.reset(seed=0)

    def step(self) -> None:
        """Act, store, update."""
        with torch.no_grad():
            obs = torch.from_numpy(self.obs)[None]
            act, _ = self.learner.act(obs, torch.randn(1, self.learner.act_dim))
        action = act[0].numpy().clip(-1, 1)
        after, reward, terminated, truncated, _ = self.env.step(action)
        place = self.count % len(self.columns[0])
        row = (self.obs, action, reward, after, float(terminated))
        for column, value in zip(self.columns, row, strict=True):
            column[place] = value
        self.count += 1
        self.obs = self.env.reset()[0] if terminated or truncated else after
        chosen = self.rng.integers(0, min(self.count, len(self.columns[0])), self.batch)
        batch = tuple(torch.from_numpy(column[chosen]) for column in self.columns)
        shape = (self.batch, self.learner.act_dim)
        self.learner.update(batch, (torch.randn(shape), torch.randn(shape)))


def check_equal(width: int = 16, updates: int = 3) -> None:
    """The same networks, batches and noises through both updates give the same actor."""
    import jax
    import jax.numpy as jnp

    from papers.icrl import method

    cfg = method.SACConfig(hidden=(width, width), separate_critics=True)
    state = method.sac_init(jax.random.key(0), 4, 2, cfg)
    cost = method.cost_init(jax.random.key(1), 4, 2, zero_last=False)
    learner, rng = Learner(4, 2, width), np.random.default_rng(0)
    _copy(learner.actor, state.actor)
    for i, (net, target) in enumerate(zip(learner.critics, learner.targets, strict=True)):
        for one in (net, target):
            _copy(one, jax.tree.map(lambda x, i=i: x[i], state.critics))
    _copy(learner.cost.layers, cost.layers)
    for _ in range(updates):
        shapes = ((32, 4), (32, 2), (32,), (32, 4))
        columns = [rng.uniform(-1, 1, s).astype(np.float32) for s in shapes]
        columns.append((rng.random(32) < 0.2).astype(np.float32))
        _, first, second = jax.random.split(state.key, 3)
        noises = [jax.random.normal(k, (32, 2), jnp.float32) for k in (first, second)]
        learner.update(
            tuple(map(torch.from_numpy, columns)),
            tuple(torch.from_numpy(np.array(n)) for n in noises),  # pyright: ignore[reportArgumentType]
        )
        obs, act, rew, next_obs, ended = map(jnp.asarray, columns)
        batch = method.Batch(obs, act, rew, next_obs, ended, jnp.zeros(32, jnp.float32))
        state, _ = method.sac_update(state, batch, cost, 1.0, cfg)
    linear = [m for m in learner.actor if isinstance(m, nn.Linear)]
    for ours, theirs in zip(state.actor, linear, strict=True):
        theirs_w = theirs.weight.detach().numpy().T
        if not np.allclose(np.asarray(ours.w), theirs_w, rtol=1e-3, atol=2e-4):
            raise AssertionError("The yardstick's update differs from method.sac_update.")


def _copy(net: Any, layers: Any) -> None:
    linear = [m for m in net if isinstance(m, nn.Linear)]
    with torch.no_grad():
        for module, layer in zip(linear, layers, strict=True):
            module.weight.copy_(torch.from_numpy(np.array(layer.w).T))
            module.bias.copy_(torch.from_numpy(np.array(layer.b)))
