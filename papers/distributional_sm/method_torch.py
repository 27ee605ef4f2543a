"""The two-level MMD of delta-models and its targets for PyTorch, equal to `method.py`.

Wiltzer et al. (ICML 2024, arXiv:2402.08530); see method.py for the mathematics and symbols. Losses
are of one source state: `torch.func.vmap`, or a loop, makes batches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

Kernel = Callable[[Tensor], Tensor]
"""A kernel as a function of squared distances, element by element."""


def rq_kernel(d2: Tensor, alphas: Sequence[float] = (0.2, 0.5, 1.0, 2.0, 5.0)) -> Tensor:
    """Rational quadratic mixture sum_a (1 + d2 / (2 a))^-a."""
    return torch.stack([(1 + d2 * (0.5 / a)) ** -a for a in alphas]).sum(0)


def imq(u: Tensor) -> Tensor:
    """Inverse multiquadric (1 + u)^(-1/2)."""
    return torch.rsqrt(1 + u)


def rbf(u: Tensor) -> Tensor:
    """Gaussian exp(-u)."""
    return torch.exp(-u)


def block_means(x: Tensor, y: Tensor, kernel: Kernel) -> Tensor:
    """mean_{a, b} kappa(||x_ia - y_jb||^2) of all pairs: x [p, n, d], y [q, k, d] -> [p, q]."""
    (p, n, d), (q, k, _) = x.shape, y.shape
    gaps = x.reshape(p * n, 1, d) - y.reshape(1, q * k, d)
    return kernel((gaps**2).sum(-1)).reshape(p, n, q, k).mean((1, 3))


def block_mmd2(x: Tensor, y: Tensor, kernel: Kernel = rq_kernel) -> Tensor:
    """max(0, unbiased MMD^2) of all pairs (i, j): x [p, n, d], y [q, k, d] -> [p, q]."""
    _check_samples(x, y)
    return _mmd2(_self_means(x, kernel)[1], _self_means(y, kernel)[1], block_means(x, y, kernel))


def two_level_mmd2(
    x: Tensor,
    y: Tensor,
    inner: Kernel = rq_kernel,
    outer: Kernel = imq,
    bandwidth: Literal["median"] | float = "median",
    eps: float = 1e-6,
) -> Tensor:
    """MMD^2 between two uniform laws on m measures, from samples x, y [m, n, d].

    The kernel on measures is h(MMD_kappa^2 / b), b the median of all squared MMDs or a number.
    """
    _check_samples(x, y)
    (xx, u_x), (yy, u_y) = _self_means(x, inner), _self_means(y, inner)
    xy = block_means(x, y, inner)
    d_xx, d_yy, d_xy = _mmd2(u_x, u_x, xx), _mmd2(u_y, u_y, yy), _mmd2(u_x, u_y, xy)
    b = _median_bandwidth(d_xx, d_yy, d_xy, eps) if bandwidth == "median" else bandwidth
    return outer(d_xx / b).mean() + outer(d_yy / b).mean() - 2 * outer(d_xy / b).mean()


def targets_of(
    uniform: Tensor,
    obs: Tensor,
    last: Tensor,
    boot: Tensor,
    gamma: float,
    include_source: bool = True,
) -> Tensor:
    """Samples of the n-step Bellman target, given uniform draws from (0, 1).

    Args:
        uniform: [m, N]. obs: states s_0 ... s_n [n + 1, d]. last: whether each ends its episode.
        boot: samples of the target's atoms at s_n [m, N, d].
    """
    if not 0 <= gamma < 1:
        raise ValueError(f"gamma must lie in [0, 1), got {gamma:g}.")
    n = len(obs) - 1
    draws = torch.log(uniform) / math.log(gamma) if gamma > 0 else torch.zeros_like(uniform)
    k = draws.clamp(max=n + 1).long() + (0 if include_source else 1)
    ends = bool(last.any())
    if ends:
        k = k.clamp(max=int(last.int().argmax()))
    emitted = (k < (n if include_source else n + 1)) | ends
    return torch.where(emitted[..., None], obs[k.clamp(max=n)], boot)


def _self_means(x: Tensor, kernel: Kernel) -> tuple[Tensor, Tensor]:
    n = x.shape[1]
    means = block_means(x, x, kernel)
    at_zero = kernel(torch.zeros((), dtype=x.dtype, device=x.device))
    return means, (n * means.diagonal() - at_zero) / (n - 1)


def _mmd2(within_x: Tensor, within_y: Tensor, between: Tensor) -> Tensor:
    return torch.relu(within_x[:, None] + within_y - 2 * between)


def _median_bandwidth(d_xx: Tensor, d_yy: Tensor, d_xy: Tensor, eps: float) -> Tensor:
    off = ~torch.eye(len(d_xx), dtype=torch.bool, device=d_xx.device)
    together = torch.cat([d_xx[off], d_yy[off], d_xy.reshape(-1)]).detach()
    # torch.median takes the lower of two middle values; the median is their mean.
    return torch.quantile(together, 0.5).clamp(min=eps)


def _check_samples(x: Tensor, y: Tensor) -> None:
    fewest = min(x.shape[1], y.shape[1])
    if fewest < 2:
        raise ValueError(f"An unbiased MMD needs at least 2 samples of each atom, not {fewest}.")
