"""How fast training is, beside the loop that such code usually is.

The yardstick does the same mathematics at the same sizes, compiled too, but pair by pair as the
public code of Zhong et al. does: all training pairs gathered through both embeddings, attention and
MLP, gradients by automatic differentiation, optax's Adam, one call per step, and the test set
evaluated after each. Ours computes the first layer once per token and takes the training set by a
mask, so that test loss and accuracy come with the step.
"""

from __future__ import annotations

import functools
import time
from typing import Any

from shared.bench import Contest, Entry

MODULUS, EMBEDDING, WIDTH, HEADS = 59, 64, 256, 4
RATE, L2 = 5e-3, 1e-4
SECONDS = 1.5  # of work in one repeat
CHUNK = 20  # updates in one call of our program


def contest(arch: str, alpha: float) -> Contest:
    """One network on one core: ours against the loop, after both have made the same updates."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from shared.gpu.seeds import seed_keys
    from shared.groups.group import cyclic
    from shared.groups.networks import ModelSpec
    from shared.groups.task import CayleyTask
    from shared.groups.training import Hyper, TrainSpec, init_train, train_chunk

    task = CayleyTask(cyclic(MODULUS), 0.9)
    spec = ModelSpec(arch, MODULUS, d_embed=EMBEDDING, width=WIDTH, heads=HEADS)
    tspec = TrainSpec(10**6, warmup=0, schedule="constant")
    hyper = Hyper(lr=RATE, l2=L2, alpha=alpha)
    keys = seed_keys((0,), "bench")

    def fresh() -> Any:
        return init_train(keys, spec, tspec, task.train_mask[None], task.labels[None], hyper)

    loop = _Loop(spec, task, jnp.float32(alpha), jax.tree.map(lambda leaf: leaf[0], fresh().params))
    start = time.perf_counter()
    state, metrics = train_chunk(fresh(), spec, tspec, CHUNK)
    jax.block_until_ready(state.params)
    compiled = time.perf_counter() - start
    loop.train(CHUNK)
    loss = float(loop.losses()[0])
    ours = float(np.asarray(metrics["train_loss"])[0])
    assert abs(loss - ours) <= 1e-2 * abs(ours), f"after {CHUNK} updates: {loss} and {ours}"
    held = [state]

    def train(updates: int) -> float:
        for _ in range(updates // CHUNK):
            held[0], _ = train_chunk(held[0], spec, tspec, CHUNK)
        jax.block_until_ready(held[0].params)
        return float(updates)

    return Contest(_sized(train, CHUNK), _sized(loop.train, 1), compiled)


class _Loop:
    """Training as the public code does it: a compiled step over gathered pairs, from Python."""

    def __init__(self, spec: Any, task: Any, alpha: Any, params: Any) -> None:
        import jax
        import jax.numpy as jnp
        import numpy as np
        import optax

        from shared.groups.networks import forward_pairs

        mask = task.train_mask.reshape(-1)
        mix = alpha if spec.arch == "attn" else None
        sets = [(jnp.asarray(task.inputs[rows]), jnp.asarray(task.labels.reshape(-1)[rows]))
                for rows in (np.flatnonzero(mask), np.flatnonzero(~mask))]  # fmt: skip
        optimiser = optax.adam(RATE, b1=0.9, b2=0.98)

        def loss(params: Any, ab: Any, labels: Any) -> Any:
            logits = forward_pairs(params, spec, ab, mix)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        def penalised(params: Any) -> Any:
            squares = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))
            return loss(params, *sets[0]) + L2 * squares

        @jax.jit
        def step(params: Any, moments: Any) -> Any:
            change, moments = optimiser.update(jax.grad(penalised)(params), moments)
            return optax.apply_updates(params, change), moments

        self.step, self.test = step, jax.jit(lambda params: loss(params, *sets[1]))
        self.full = jax.jit(lambda params: loss(params, *sets[0]))
        self.state = (params, optimiser.init(params))

    def train(self, updates: int) -> float:
        for _ in range(updates):
            self.state = self.step(*self.state)
            self.test(self.state[0]).block_until_ready()
        return float(updates)

    def losses(self) -> tuple[Any, Any]:
        return self.full(self.state[0]), self.test(self.state[0])


def _sized(train: Any, multiple: int) -> Any:
    """`train` for about SECONDS, found by trying."""
    train(multiple)
    start = time.perf_counter()
    train(2 * multiple)
    wanted = 2 * multiple * SECONDS / (time.perf_counter() - start)
    return functools.partial(train, max(multiple, round(wanted / multiple) * multiple))


_LOOP = "compiled step over gathered pairs, called from Python, test set after each"
ENTRIES = tuple(
    Entry(f"training, {words}, n=59, one core", _LOOP, "updates", floor,
          functools.partial(contest, arch, alpha))
    for words, arch, alpha, floor in (
        ("MLP-Add", "embed_add", 0.0, 1.5),
        ("Attention 0.0", "attn_uniform", 0.0, 2.0),
        ("Attention 1.0", "attn", 1.0, 1.5),
    )
)  # fmt: skip
