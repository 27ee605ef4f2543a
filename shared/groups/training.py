"""Training on a group's table: many networks, each with its own split, rates and attention mix.

Per update, of one network, with g the gradient of the mean cross-entropy over its training pairs:

    g <- g + 2 l2 p                                 L2 in the loss: l2 times the sum of squares of ALL
                                                    parameters, embeddings and biases included
    m <- b1 m + (1 - b1) g,  v <- b2 v + (1 - b2) g^2
    p <- p - lr f_t (m^ / (sqrt(v^) + eps) + wd p)   bias-corrected; wd is AdamW's decoupled decay

f_t is the schedule's factor. `l2` and `wd` are two different things: Adam divides the first by the
gradient's size, and leaves the second alone.

The batch is the whole training set, taken by a mask from the whole table: that costs a tenth more
than the training pairs alone, and test loss and accuracy come with it at every update.
"""

import functools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, Shaped

from shared.experiment.errors import BadInput
from shared.groups.loss import Sums, grid_loss, grid_sums, pairs_gradient, test_mask
from shared.groups.networks import ModelSpec, Params, init
from shared.groups.task import CayleyTask, stacked_labels, train_masks
from shared.gpu.seeds import seed_keys

Metrics = dict[str, Array]
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


class TrainState(NamedTuple):
    """All that the rest of a run depends on; every leaf has the networks as its first axis.

    Attributes:
        params, adam, step: network, optimiser, updates done.
        key: of the run, never changed; with `step` it determines the order of minibatches.
        order: the running epoch's order of pairs, training pairs first; empty for full batches.
        mask, labels: training pairs, and the answers.
        hyper: rates. first_perfect: updates after which test accuracy was first 1, or -1.
        perfect: whether training accuracy was 1 when last looked at. spikes: how often it fell from
            1. These three look at every update; with minibatches, at the end of every chunk.
    """

    params: Params
    adam: Adam
    step: Int[Array, "*networks"]
    key: Key[Array, "*networks"]
    order: Int[Array, "*networks pairs"]
    mask: Bool[Array, "*networks n n"]
    labels: Int[Array, "*networks n n"]
    hyper: Hyper
    first_perfect: Int[Array, "*networks"]
    perfect: Bool[Array, "*networks"]
    spikes: Int[Array, "*networks"]


def init_train(
    keys: Key[Array, " networks"],
    spec: ModelSpec,
    tspec: TrainSpec,
    masks: Bool[Shaped, "networks n n"],
    labels: Int[Shaped, "networks n n"],
    hyper: Hyper = Hyper(),  # noqa: B008 - immutable
) -> TrainState:
    """Networks at their beginning.

    Args:
        keys: one per network, of its initial weights and its minibatches.
        masks: training pairs of each. labels: answers of each, `stacked_labels(task, networks)`.
        hyper: scalars, or one number per network.
    """
    count, n = len(keys), spec.order
    for name, given in (("masks", masks), ("labels", labels)):
        if given.shape != (count, n, n):
            raise BadInput(
                f"{name} of {count} networks on a group of order {n} have the shape "
                f"{(count, n, n)}, not {given.shape}."
            )
    fewest = int(np.asarray(masks).sum((1, 2)).min())
    if fewest < max(1, tspec.batch or 1):
        raise BadInput(
            f"Each update needs {tspec.batch or 1} training pairs, and a mask has {fewest}."
        )
    if np.min(labels) < 0 or np.max(labels) >= n:
        raise BadInput(f"Labels lie in 0..{n - 1}, not {np.min(labels)}..{np.max(labels)}.")
    return _fresh(
        keys,
        jnp.asarray(np.asarray(masks, bool)),
        jnp.asarray(np.asarray(labels, np.int32)),
        checked_hyper(hyper, count),
        spec,
        tspec,
    )


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


@functools.partial(jax.jit, static_argnames=("spec", "tspec"))
def _fresh(
    keys: Array, masks: Array, labels: Array, hyper: Hyper, spec: ModelSpec, tspec: TrainSpec
) -> TrainState:
    def one(key: Array, mask: Array, labels: Array, hyper: Hyper) -> TrainState:
        k_params, k_run = jax.random.split(key)
        params = init(k_params, spec)
        zeros = jax.tree.map(jnp.zeros_like, params)
        return TrainState(
            params=params,
            adam=Adam(zeros, zeros),
            step=jnp.int32(0),
            key=k_run,
            order=jnp.zeros(spec.order**2 if tspec.batch else 0, jnp.int32),
            mask=mask,
            labels=labels,
            hyper=hyper,
            first_perfect=jnp.int32(-1),
            perfect=jnp.bool_(False),
            spikes=jnp.int32(0),
        )

    return jax.vmap(one)(keys, masks, labels, hyper)


# One network --------------------------------------------------------------------------------------


def train_one(
    state: TrainState, spec: ModelSpec, tspec: TrainSpec, steps: int
) -> tuple[TrainState, Metrics]:
    """`steps` updates of one network (a state without the networks' axis), then its metrics.

    Split into chunks in any way, a run of full batches ends in the same state.
    """
    update = _full_batch if tspec.batch is None else _minibatch

    def body(state: TrainState, _: None) -> tuple[TrainState, None]:
        return update(state, spec, tspec), None

    state, _ = jax.lax.scan(body, state, length=steps)
    sums = grid_sums(state.params, spec, state.labels, state.mask, state.hyper.alpha)
    state = _noted(state, sums)
    squares = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(state.params))
    return state, _metrics(sums, state.mask) | {
        "weight_norm": jnp.sqrt(squares),
        "lr_factor": schedule(state.step, tspec),
        "first_perfect": state.first_perfect,
        "spikes": state.spikes,
    }


def _full_batch(state: TrainState, spec: ModelSpec, tspec: TrainSpec) -> TrainState:
    gradient, sums = grid_loss(state.params, spec, state.labels, state.mask, state.hyper.alpha)
    return adam_step(_noted(state, sums), gradient, tspec)


def _minibatch(state: TrainState, spec: ModelSpec, tspec: TrainSpec) -> TrainState:
    assert tspec.batch is not None
    n = spec.order
    per_epoch = jnp.sum(state.mask.astype(jnp.int32)) // tspec.batch
    epoch, place = jnp.divmod(state.step, per_epoch)

    def new_order() -> Array:
        key = jax.random.fold_in(state.key, epoch)
        draws = jax.random.uniform(key, (n * n,), jnp.float32)
        last = (~state.mask).reshape(-1).astype(jnp.float32)
        return jnp.argsort(draws + last).astype(jnp.int32)

    order = jax.lax.cond(place == 0, new_order, lambda: state.order)
    pairs = jax.lax.dynamic_slice(order, (place * tspec.batch,), (tspec.batch,))
    ab = jnp.stack(jnp.divmod(pairs, n), axis=1)
    gradient = pairs_gradient(
        state.params, spec, ab, state.labels[ab[:, 0], ab[:, 1]], state.hyper.alpha
    )
    return adam_step(state._replace(order=order), gradient, tspec)


def _noted(state: TrainState, sums: Sums) -> TrainState:
    """The state with what it remembers of accuracies, given those of its present parameters."""
    test, train = (
        jnp.sum(test_mask(state.mask).astype(jnp.int32)),
        jnp.sum(state.mask.astype(jnp.int32)),
    )
    first = (sums.test_right == test) & (state.first_perfect < 0)
    perfect = sums.train_right == train
    fell = state.perfect & ~perfect
    return state._replace(
        first_perfect=jnp.where(first, state.step, state.first_perfect),
        perfect=perfect,
        spikes=state.spikes + fell.astype(jnp.int32),
    )


def adam_step(state: TrainState, gradient: Params, tspec: TrainSpec) -> TrainState:
    """One update of parameters and optimiser; `gradient` is that of the cross-entropy alone.

    The bias corrections are moved into two scalars: Adam's step is
    lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps sqrt(1 - b2^t)).
    """
    hyper, b1, b2 = state.hyper, tspec.b1, tspec.b2
    lr = hyper.lr * schedule(state.step, tspec)
    t = (state.step + 1).astype(jnp.float32)
    root = jnp.sqrt(-jnp.expm1(t * math.log(b2))) if b2 > 0 else jnp.float32(1)
    rate = lr * root / (-jnp.expm1(t * math.log(b1)) if b1 > 0 else jnp.float32(1))

    gradient = jax.tree.map(lambda g, p: g + 2 * hyper.l2 * p, gradient, state.params)
    mean = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state.adam.mean, gradient)
    square = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, state.adam.square, gradient)
    params = jax.tree.map(
        lambda p, m, v: p - (rate * m / (jnp.sqrt(v) + tspec.eps * root) + lr * hyper.wd * p),
        state.params,
        mean,
        square,
    )
    return state._replace(params=params, adam=Adam(mean, square), step=state.step + 1)


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


def evaluate(
    params: Params,
    spec: ModelSpec,
    labels: Int[Shaped, "n n"],
    mask: Bool[Shaped, "n n"],
    alpha: Any = None,
) -> Metrics:
    """Losses, accuracies and margins of one network, see `train_chunk`."""
    mix = None if alpha is None else jnp.asarray(alpha, jnp.float32)
    mask = jnp.asarray(mask)
    return _metrics(grid_sums(params, spec, jnp.asarray(labels), mask, mix), mask)


def _metrics(sums: Sums, mask: Array) -> Metrics:
    train = jnp.sum(mask.astype(jnp.float32))
    test = jnp.sum(test_mask(mask).astype(jnp.float32))
    return {
        "train_loss": sums.train_loss,
        "test_loss": sums.test_loss,
        "train_accuracy": sums.train_right.astype(jnp.float32) / train,
        "test_accuracy": sums.test_right.astype(jnp.float32) / test,
        "margin_mean": sums.margin / jnp.float32(mask.size),
        "margin_min": sums.least_margin,
    }


# Many networks ------------------------------------------------------------------------------------


def train_chunk(
    state: TrainState,
    spec: ModelSpec,
    tspec: TrainSpec,
    steps: int,
    side_by_side: bool | None = None,
) -> tuple[TrainState, Metrics]:
    """`steps` updates of every network, in one compiled program.

    Args:
        state: from `init_train` or the last chunk; donated, so use the returned one.
        side_by_side: whether networks are vmapped. None: on an accelerator, not on a CPU, where one
            after another is as fast, its memory that of one, whatever their number.

    Returns:
        The new state, and of its parameters, [networks] each and finite: `train_loss`, `test_loss`
        (mean cross-entropy, no penalty), `train_accuracy`, `test_accuracy`, `margin_mean` and
        `margin_min` (right logit less the largest wrong one, over all pairs; an answer is right if
        this is above 0), `weight_norm`, `lr_factor` (of the next update), `first_perfect` and
        `spikes` as in the state. Where nothing is kept back, the test set is all pairs.
    """
    if steps < 1:
        raise BadInput(f"steps of a chunk is at least 1, not {steps}.")
    if side_by_side is None:
        side_by_side = jax.default_backend() != "cpu"
    return _chunk(state, spec, tspec, steps, side_by_side)


@functools.partial(
    jax.jit, static_argnames=("spec", "tspec", "steps", "side_by_side"), donate_argnames="state"
)
def _chunk(
    state: TrainState, spec: ModelSpec, tspec: TrainSpec, steps: int, side_by_side: bool
) -> tuple[TrainState, Metrics]:
    one = functools.partial(train_one, spec=spec, tspec=tspec, steps=steps)
    return jax.vmap(one)(state) if side_by_side else jax.lax.map(one, state)


class TrainResult(NamedTuple):
    """Trained networks.

    Attributes:
        params: leaves [networks, ...], NumPy. metrics: those of `train_chunk` by name
            [networks, chunks], `steps` [chunks] saying when. first_perfect: updates after which test
            accuracy was first 1, -1 for never. spikes: how often training accuracy fell from 1.
        masks: training pairs [networks, n, n]. wall_s: seconds, compiling included.
    """

    params: Params
    metrics: dict[str, np.ndarray]
    first_perfect: np.ndarray
    spikes: np.ndarray
    masks: np.ndarray
    wall_s: float


def train_many(
    spec: ModelSpec,
    tspec: TrainSpec,
    task: CayleyTask,
    seeds: Sequence[int],
    hyper: Hyper = Hyper(),  # noqa: B008 - immutable
    log_every: int = 100,
    labels: Int[np.ndarray, "networks n n"] | None = None,
) -> TrainResult:
    """Train one network per seed; a seed draws initial weights and split anew.

    Args:
        log_every: updates between metrics. labels: other answers than the table's.
    """
    if spec.order != task.order:
        raise BadInput(
            f"The networks are for order {spec.order}, {task.group.name} has order {task.order}."
        )
    if log_every < 1:
        raise BadInput(f"log_every is at least 1, not {log_every}.")
    start = time.perf_counter()
    masks = train_masks(task, seeds)
    answers = stacked_labels(task, len(seeds)) if labels is None else labels
    state = init_train(seed_keys(seeds, "network"), spec, tspec, masks, answers, hyper)
    history = []
    for done in range(0, tspec.steps, log_every):
        state, metrics = train_chunk(state, spec, tspec, min(log_every, tspec.steps - done))
        history.append(jax.device_get(metrics))
    ends = np.minimum(np.arange(1, len(history) + 1) * log_every, tspec.steps)
    return TrainResult(
        params=jax.device_get(state.params),
        metrics={"steps": ends}
        | {name: np.stack([row[name] for row in history], axis=1) for name in history[0]},
        first_perfect=np.asarray(state.first_perfect),
        spikes=np.asarray(state.spikes),
        masks=masks,
        wall_s=time.perf_counter() - start,
    )


def network_params(params: Params, i: int) -> Params:
    """The parameters of network `i` of many, as NumPy arrays."""
    return jax.tree.map(lambda leaf: np.asarray(leaf[i]), params)
