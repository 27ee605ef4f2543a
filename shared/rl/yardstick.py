"""The usual way to run such learners, as a yardstick of speed: Python drives every update.

A replay in NumPy is sampled on the host, and each stage of an update (critics, actor, copies, ...)
is one compiled call, as in the code published with many papers. Mathematics, networks and sizes are
those of the learner. Rooms put `contest` into their `bench.py`:

    Entry("SAC updates", YARDSTICK, "updates", 1.2, partial(contest, learner, layout, sac.Hyper()))
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from shared.bench import Contest
from shared.gpu.devices import CPU_COMPILER_OPTIONS
from shared.rl.pieces import Learner, run_stages
from shared.rl.replay import Batch, Layout, Prioritised, Store, Uniform
from shared.rl.scan import updates

YARDSTICK = "one compiled call per stage, batches sampled in NumPy"


def random_batch(layout: Layout, n: int, seed: int = 0) -> Batch:
    """Transitions of standard normal observations, for timing."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    columns: Any = (
        normal(n, layout.obs),
        np.tanh(normal(n, layout.action)),
        normal(n, layout.obs),
        normal(n),
        (rng.uniform(size=n) < 0.01).astype(np.float32),
    )
    extras = {
        name: np.abs(normal(n) if width == 1 else normal(n, width)) for name, width in layout.extras
    }
    return Batch(*columns, extras=extras)


class StagedLoop:
    """A learner driven from Python, without and (LAP) with priorities."""

    def __init__(self, learner: Learner, layout: Layout, hyper: Any, seed: int = 0) -> None:
        self.learner, self.hyper, self.capacity = learner, hyper, layout.capacity
        self.rng, self.key = np.random.default_rng(seed), jax.random.key(seed)
        self.state = jax.jit(learner.init)(self.key)
        stages = {stage for update in learner.cycle for stage in update}
        self.compiled: dict[Any, Callable] = {stage: jax.jit(stage) for stage in stages}
        self.columns = [np.zeros((layout.capacity, *np.shape(x)[1:]), np.float32)
                        for x in jax.tree.leaves(random_batch(layout, 1))]  # fmt: skip
        self.tree = jax.tree.structure(random_batch(layout, 1))
        self.weights = np.zeros(layout.capacity)
        self.size = self.done = 0

    def insert(self, batch: Batch) -> None:
        """Fill the replay, up to its end."""
        n = len(batch.reward)
        for column, values in zip(self.columns, jax.tree.leaves(batch), strict=True):
            column[self.size : self.size + n] = values
        self.weights[self.size : self.size + n] = 1
        self.size += n

    def train(self, n: int, batch: int, store: Store) -> float:
        """`n` updates; returns n."""
        lap = store if isinstance(store, Prioritised) else None
        for _ in range(n):
            index = self._draw(batch, lap)
            drawn = jax.tree.unflatten(self.tree, [column[index] for column in self.columns])
            for stage in self.learner.cycle[self.done % len(self.learner.cycle)]:
                self.key, k = jax.random.split(self.key)
                self.state, metrics = self.compiled[stage](self.state, drawn, k, self.hyper)
                if lap is not None and "td" in metrics:
                    td = np.abs(np.asarray(metrics["td"]))
                    self.weights[index] = np.maximum(td, lap.least) ** lap.alpha
            self.done += 1
        jax.block_until_ready(self.state)
        return float(n)

    def _draw(self, batch: int, lap: Prioritised | None) -> np.ndarray:
        if lap is None:
            return self.rng.integers(self.size, size=batch)
        sums = np.cumsum(self.weights[: self.size])
        return np.searchsorted(sums, self.rng.uniform(0, sums[-1], batch), side="right")


def check_equal(learner: Learner, layout: Layout, hyper: Any, batch: int) -> None:
    """Assert that a cycle compiled whole gives what its stages give one by one."""
    drawn = jax.tree.map(jnp.asarray, random_batch(layout, batch, seed=1))
    whole = apart = jax.jit(learner.init)(jax.random.key(0))
    for i, stages in enumerate(learner.cycle):
        key = jax.random.key(i)
        whole, found = jax.jit(run_stages, static_argnums=0)(stages, whole, drawn, key, hyper)
        seen: dict[str, Any] = {}
        keys = jax.random.split(key, len(stages)) if len(stages) > 1 else [key]
        for stage, k in zip(stages, keys, strict=True):
            apart, metrics = jax.jit(stage)(apart, drawn, k, hyper)
            seen |= metrics
        for name, value in found.items():
            np.testing.assert_allclose(value, seen[name], rtol=1e-3, atol=1e-5, err_msg=name)


def contest(
    learner: Learner,
    layout: Layout,
    hyper: Any,
    batch: int = 256,
    n: int = 200,
    store: Store | None = None,
) -> Contest:
    """`n` updates compiled as one block, and as many by `StagedLoop`; equal results first.

    layout: its replay is filled. store: None for `Uniform(layout)`.
    """
    store = Uniform(layout) if store is None else store
    check_equal(learner, layout, hyper, batch)
    data = random_batch(layout, layout.capacity)
    loop = StagedLoop(learner, layout, hyper)
    loop.insert(data)
    start = time.perf_counter()
    static = {"learner": learner, "store": store, "n": n, "batch": batch}
    state = jax.jit(learner.init)(jax.random.key(0))
    buffer = jax.jit(store.insert)(store.make(), data)
    key = jax.random.key(1)
    block = (
        jax.jit(updates, static_argnames=tuple(static), donate_argnums=(0, 1))
        .lower(state, buffer, key, hyper, **static)
        .compile(CPU_COMPILER_OPTIONS if jax.default_backend() == "cpu" else None)
    )
    compiled = time.perf_counter() - start
    held = [state, buffer]

    def ours() -> float:
        held[0], held[1], metrics = block(held[0], held[1], key, hyper)
        jax.block_until_ready(metrics)
        return float(n)

    return Contest(ours, lambda: loop.train(n, batch, store), compiled)
