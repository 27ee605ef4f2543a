"""A block of updates as one compiled program, drawing its batches from the replay on the device.

    state, buffer, metrics = update_many(
        state, buffer, key, hyper, learner=learner, store=store, n=1000, batch=256
    )

Update i draws its batch and its noise from a key that depends on `key`, which is the run's and
never changes, and on the updates done before: a run split into blocks in any way is the same run.
For many seeds `jax.vmap(updates)` inside one's own program (`shared.gpu.over_seeds`).
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from shared.experiment.errors import BadInput
from shared.rl.pieces import Learner, Metrics, run_stages
from shared.rl.replay import Store


def update_keys(key: Key[Array, ""], step: Array | int) -> tuple[Array, Array]:
    """Keys of the batch and of the noise of the update after `step` others."""
    k_sample, k_update = jax.random.split(jax.random.fold_in(key, step))
    return k_sample, k_update


def one_update(
    state: Any,
    buffer: Any,
    key: Key[Array, ""],
    hyper: Any,
    *,
    learner: Learner,
    store: Store,
    phase: int,
    batch: int,
) -> tuple[Any, Any, Metrics]:
    """One update, the `phase`-th of the cycle, on a batch that it draws."""
    k_sample, k_update = update_keys(key, state.step)
    drawn, index = store.sample(buffer, k_sample, batch)
    state, metrics = run_stages(learner.cycle[phase], state, drawn, k_update, hyper)
    buffer = store.feedback(buffer, index, metrics.pop("td", None))
    return state, buffer, metrics


def updates(
    state: Any,
    buffer: Any,
    key: Key[Array, ""],
    hyper: Any,
    *,
    learner: Learner,
    store: Store,
    n: int,
    batch: int,
) -> tuple[Any, Any, Metrics]:
    """`n` updates, one after another; not compiled by itself.

    Args:
        state, buffer: of the learner and of the store; the buffer holds a transition at least. The
            updates done before, `state.step`, are a whole number of cycles.
        key: of the run. n: a multiple of the cycle's length. batch: transitions per update.

    Returns:
        State, buffer, and each metric's mean over the updates that report it.
    """
    length = len(learner.cycle)
    if n < length or n % length:
        raise BadInput(
            f"A block has a whole number of cycles of {length} updates, at least one, not {n}."
        )
    if batch < 1:
        raise BadInput(f"batch is at least 1 transition, not {batch}.")

    def cycle(carry: tuple[Any, Any], _: None) -> tuple[tuple[Any, Any], list[Metrics]]:
        state, buffer = carry
        found = []
        for phase in range(length):
            state, buffer, metrics = one_update(
                state, buffer, key, hyper, learner=learner, store=store, phase=phase, batch=batch
            )
            found.append(metrics)
        return (state, buffer), found

    (state, buffer), found = jax.lax.scan(cycle, (state, buffer), length=n // length)
    return state, buffer, _means(found)


def _means(found: list[Metrics]) -> Metrics:
    names = sorted({name for metrics in found for name in metrics})
    return {
        name: jnp.mean(jnp.stack([jnp.mean(m[name]) for m in found if name in m])) for name in names
    }


update_many = jax.jit(
    updates,
    static_argnames=("learner", "store", "n", "batch"),
    donate_argnames=("state", "buffer"),
)
"""`updates`, compiled; state and buffer are donated, so use the returned ones."""
