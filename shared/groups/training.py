"""Training on a group's table: many networks, each with its own split, rates and attention mix.

The update rule is that of optimiser.py. The batch is the whole training set, taken by a mask from
the whole table: that costs a tenth more than the training pairs alone, and test accuracy comes with
it at every update. Minibatches are possible (`TrainSpec.batch`), pair by pair.
"""

import functools
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Key

from shared.experiment.errors import BadInput
from shared.gpu.seeds import seed_keys
from shared.groups.loss import Sums, grid_loss, grid_sums, pairs_gradient, test_mask
from shared.groups.networks import Given, ModelSpec, Params, init
from shared.groups.optimiser import Adam, Hyper, TrainSpec, adam_step, checked_hyper, schedule
from shared.groups.task import CayleyTask, stacked_labels, train_masks

Metrics = dict[str, Array]


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
    masks: Bool[Given, "networks n n"],
    labels: Int[Given, "networks n n"],
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
    return _updated(_noted(state, sums), gradient, tspec)


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
    return _updated(state._replace(order=order), gradient, tspec)


def _updated(state: TrainState, gradient: Params, tspec: TrainSpec) -> TrainState:
    params, adam = adam_step(state.params, gradient, state.adam, state.step, state.hyper, tspec)
    return state._replace(params=params, adam=adam, step=state.step + 1)


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


def evaluate(
    params: Params,
    spec: ModelSpec,
    labels: Int[Given, "n n"],
    mask: Bool[Given, "n n"],
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
            [networks, chunks], `steps` [chunks] saying when.
        first_perfect: updates after which test accuracy was first 1, -1 for never.
        spikes: how often training accuracy fell from 1.
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
