"""Constraint inference for PyTorch: the cost side of `method.py`, number for number.

Hugessen, Wiltzer, Berseth: Simplifying Constraint Inference with Inverse Reinforcement Learning,
NeurIPS 2024. Symbols and equation numbers are those of `method.py`; the tests hold both equal,
gradients included. To use it, subtract `corrected_reward`'s cost from the reward in your learner's
update and step `cost_loss` once per epoch. This file needs torch, and nothing else of this
repository.
"""

from __future__ import annotations

import itertools
from typing import Literal

import torch
from torch import Tensor, nn

Output = Literal["leaky_relu", "linear_clip", "sigmoid", "neg_log_sigmoid"]
Regulariser = Literal["l2_expert", "l2", "l1", "prior_learner", "none"]
Pairs = tuple[Tensor, Tensor]
"""A batch of (observations [B, o], actions [B, a]); actions in the learner's box [-1, 1]."""

EPS = 1e-5


class CostNet(nn.Module):
    """The cost network on [obs, act]; with `zero_last` its cost is 0 until the first step.

    Train it with `torch.optim.Adam(net.parameters(), lr, weight_decay=1e-3)`.
    """

    def __init__(
        self,
        obs_dim: int,
        act_dim: int,
        hidden: tuple[int, ...] = (64, 64),
        zero_last: bool = True,
    ) -> None:
        super().__init__()
        sizes = (obs_dim + act_dim, *hidden, 1)
        self.layers = nn.ModuleList(nn.Linear(m, n) for m, n in itertools.pairwise(sizes))
        if zero_last:
            for parameter in self.layers[-1].parameters():
                nn.init.zeros_(parameter)

    def forward(self, obs: Tensor, act: Tensor) -> Tensor:
        """The last layer z of a batch, [B]."""
        x = torch.cat([obs, act], dim=-1)
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        return self.layers[-1](x)[:, 0]


def cost_output(z: Tensor, out: Output, clip: tuple[float, float] | None = None) -> Tensor:
    """From the last layer to a cost; see `method.cost_output`."""
    if out == "leaky_relu":
        return nn.functional.leaky_relu(z, 0.01)
    if out == "linear_clip":
        if clip is None or not clip[0] < clip[1]:
            raise ValueError(f"out='linear_clip' needs clip=(low, high), low < high; got {clip}.")
        return torch.clamp(z, *clip)
    if out == "sigmoid":
        return torch.sigmoid(-z)
    if out == "neg_log_sigmoid":
        return nn.functional.softplus(-z)
    raise ValueError(
        f"out must be leaky_relu, linear_clip, sigmoid or neg_log_sigmoid; got {out!r}."
    )


def cost_apply(
    net: nn.Module,
    obs: Tensor,
    act: Tensor,
    out: Output = "leaky_relu",
    clip: tuple[float, float] | None = None,
) -> Tensor:
    """c_theta(s, a) of a batch, [B]."""
    return cost_output(net(obs, act), out, clip)


def cost_loss(
    net: nn.Module,
    expert: Pairs,
    learner: Pairs,
    beta: float = 0.1,
    reg: Regulariser = "l2_expert",
    *,
    out: Output = "leaky_relu",
    clip: tuple[float, float] | None = None,
    prior: Pairs | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """(3.4)  mean_E c - mean_L c + beta Reg; see `method.cost_loss`."""
    if beta < 0:
        raise ValueError(f"beta must not be negative; got {beta}.")
    c_e, c_l = cost_apply(net, *expert, out, clip), cost_apply(net, *learner, out, clip)
    both = torch.cat([c_e, c_l])
    if reg == "l2_expert":
        penalty = (c_e**2).mean()
    elif reg == "l2":
        penalty = (both**2).mean()
    elif reg == "l1":
        penalty = both.abs().mean()
    elif reg == "prior_learner":
        if prior is None:
            raise ValueError("reg='prior_learner' needs prior=(obs, act), past learner samples.")
        penalty = -cost_apply(net, *prior, out, clip).mean()
    elif reg == "none":
        penalty = torch.zeros(())
    else:
        raise ValueError(f"reg must be l2_expert, l2, l1, prior_learner or none; got {reg!r}.")
    aux = {"gap": c_l.mean() - c_e.mean(), "c_E": c_e.mean(), "c_L": c_l.mean()}
    return c_e.mean() - c_l.mean() + beta * penalty, aux


def mecl_loss(
    net: nn.Module, expert: Pairs, learner: Pairs, w: Tensor, delta: float, eps: float = EPS
) -> tuple[Tensor, dict[str, Tensor]]:
    """(3.8), maximum-causal-entropy ICRL; see `method.mecl_loss`."""
    z_e, z_l = torch.sigmoid(net(*expert)), torch.sigmoid(net(*learner))
    fit = (w.detach() * torch.log(z_l + eps)).mean() - torch.log(z_e + eps).mean()
    c_e, c_l = (1 - z_e).mean(), (1 - z_l).mean()
    return fit + delta * (c_e + c_l), {"gap": c_l - c_e, "c_E": c_e, "c_L": c_l}


def corrected_reward(
    r: Tensor, c: Tensor, lam: float, norm_state: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    """(3.6)  N(r) - lambda c; `norm_state` is (mean, variance), its result cut off at +-10."""
    if lam < 0:
        raise ValueError(f"lambda must not be negative; got {lam}.")
    if norm_state is not None:
        mean, var = norm_state
        r = torch.clamp((r - mean) * torch.rsqrt(var + 1e-8), -10, 10)
    return r - lam * c


def feasible_return(rew: Tensor, cost: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of rewards [T, N] strictly before the first violation, and whether there was one, [N]."""
    broken = (cost > 0) & mask
    before = torch.cumsum(broken.int(), dim=0) == 0
    return torch.where(before & mask, rew, torch.zeros_like(rew)).sum(dim=0), broken.any(dim=0)
