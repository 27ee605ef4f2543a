"""The update rule: Adam with two kinds of decay, a schedule, and numbers of each network's own.

    g <- g + 2 l2 p         L2 in the loss: l2 times the sum of squares of ALL parameters,
                            embeddings and biases included
    m <- b1 m + (1 - b1) g,     v <- b2 v + (1 - b2) g^2
    p <- p - lr f_t (m^ / (sqrt(v^) + eps) + wd p)

with g the gradient of the cross-entropy, m^ and v^ bias-corrected, f_t the schedule's factor and wd
AdamW's decoupled decay. `l2` and `wd` are two different things: Adam divides the first by the
gradient's size, and leaves the second alone.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from shared.experiment.errors import BadInput

Params = dict[str, Any]
SCHEDULES = ("cosine", "constant", "cooldown")


@dataclass(frozen=True)
class TrainSpec:
    """How networks are trained, but for the numbers in `Hyper`; hashable, a program for each.

    Attributes:
        steps: updates in all, which is where the schedule ends.
        warmup: updates over which the rate rises in a straight line, the first at 1 / warmup.
        schedule: then "cosine" to 0, "constant", or "cooldown": constant, and over the last
            `cooldown` share of all updates in a straight line to 0.
        b1, b2, eps: Adam's.
        batch: None for the whole training set; else pairs per update, each epoch in a new order and
            the rest that makes no whole batch left out of it.
    """

    steps: int
    warmup: int = 10
    schedule: str = "cosine"
    cooldown: float = 0.1
    b1: float = 0.9
    b2: float = 0.98
    eps: float = 1e-8
    batch: int | None = None

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise BadInput(f"steps is at least 1, not {self.steps}.")
        if not 0 <= self.warmup < max(self.steps, 1):
            raise BadInput(
                f"warmup is at least 0 and less than steps = {self.steps}, not {self.warmup}."
            )
        if self.schedule not in SCHEDULES:
            raise BadInput(
                f"schedule {self.schedule!r} is not known; allowed are {', '.join(SCHEDULES)}."
            )
        if not 0 < self.cooldown <= 1:
            raise BadInput(f"cooldown, a share of all steps, lies in (0, 1], not {self.cooldown}.")
        if not (0 <= self.b1 < 1 and 0 <= self.b2 < 1):
            raise BadInput(f"b1 and b2 lie in [0, 1), not {self.b1} and {self.b2}.")
        if not self.eps > 0:
            raise BadInput(f"eps is above 0, not {self.eps}.")
        if self.batch is not None and self.batch < 1:
            raise BadInput(f"batch is at least 1 pair, or None for all, not {self.batch}.")


class Hyper(NamedTuple):
    """Numbers that may differ from network to network: scalars, or arrays [networks].

    The defaults with `TrainSpec(1500)` are the recipe that settles n = 59 on a CPU.

    Attributes:
        lr: peak learning rate. wd: AdamW's decoupled weight decay. l2: coefficient of the sum of
            squares of all parameters in the loss. alpha: attention mix of "attn", in [0, 1].
    """

    lr: Any = 5e-3
    wd: Any = 0.0
    l2: Any = 1e-4
    alpha: Any = 0.0


class Adam(NamedTuple):
    """Running means of the gradient and of its square."""

    mean: Params
    square: Params


def checked_hyper(hyper: Hyper, count: int) -> Hyper:
    """Arrays [count] of valid numbers; BadInput names the first that is not."""
    top = {"lr": math.inf, "wd": math.inf, "l2": math.inf, "alpha": 1.0}
    out = {}
    for name, given in hyper._asdict().items():
        values = np.asarray(given, np.float32)
        if values.shape not in ((), (count,)):
            raise BadInput(
                f"{name} is one number, or one for each of {count} networks, not {values.shape}."
            )
        good = (values >= 0) & (values <= top[name]) & np.isfinite(values)
        if not good.all():
            bad = np.atleast_1d(values)[np.argmin(np.atleast_1d(good))]
            allowed = "in [0, 1]" if name == "alpha" else "at least 0 and finite"
            raise BadInput(f"{name} must be {allowed}, not {bad:g}.")
        out[name] = jnp.asarray(np.broadcast_to(values, (count,)))
    return Hyper(**out)


def adam_step(
    params: Params,
    gradient: Params,
    adam: Adam,
    step: Int[Array, ""],
    hyper: Hyper,
    tspec: TrainSpec,
) -> tuple[Params, Adam]:
    """One update of one network, the first being `step` 0.

    `gradient` is that of the cross-entropy alone; the penalty's is added here.

    The bias corrections are moved into two scalars: Adam's step is
    lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps sqrt(1 - b2^t)).
    """
    b1, b2 = tspec.b1, tspec.b2
    lr = hyper.lr * schedule(step, tspec)
    t = (step + 1).astype(jnp.float32)
    root = jnp.sqrt(-jnp.expm1(t * math.log(b2))) if b2 > 0 else jnp.float32(1)
    rate = lr * root / (-jnp.expm1(t * math.log(b1)) if b1 > 0 else jnp.float32(1))

    gradient = jax.tree.map(lambda g, p: g + 2 * hyper.l2 * p, gradient, params)
    mean = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, adam.mean, gradient)
    square = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, adam.square, gradient)
    params = jax.tree.map(
        lambda p, m, v: p - (rate * m / (jnp.sqrt(v) + tspec.eps * root) + lr * hyper.wd * p),
        params,
        mean,
        square,
    )
    return params, Adam(mean, square)


def schedule(step: Int[Array, ""], tspec: TrainSpec) -> Float[Array, ""]:
    """Factor of the learning rate at an update, the first being 0.

    Deviation: Zhong et al.'s warm-up begins at 0, so that their first update changes nothing; here
    it is the rate of update `warmup` - 1 that is the full one for the first time.
    """
    t = step.astype(jnp.float32)
    if tspec.schedule == "cosine":
        done = jnp.clip((t - tspec.warmup) / (tspec.steps - tspec.warmup), 0, 1)
        factor = 0.5 * (1 + jnp.cos(math.pi * done))
    elif tspec.schedule == "cooldown":
        factor = jnp.clip((tspec.steps - t) / (tspec.cooldown * tspec.steps), 0, 1)
    else:
        factor = jnp.float32(1)
    return factor * jnp.minimum((t + 1) / tspec.warmup, 1) if tspec.warmup else factor
