"""How fast the two-level loss and a training step are, beside the loss written pair by pair.

The yardstick is the same loss as it is usually coded, and as the official code computes it: the
unbiased MMD of every pair of atoms by itself, 9 m^2 N^2 kernel evaluations instead of 3 m^2 N^2,
differentiated by JAX. Both sides are compiled with the same options.
"""

from __future__ import annotations

import functools
import time
from typing import Any

from shared.bench import Contest, Entry

ATOMS, SAMPLES, BATCH, WIDTH = 11, 32, 32, 64


def _compiled(function: Any, *arguments: Any) -> tuple[Any, float]:
    import jax

    from shared.gpu.devices import CPU_COMPILER_OPTIONS

    start = time.perf_counter()
    program = jax.jit(function).lower(*arguments).compile(CPU_COMPILER_OPTIONS)
    return program, time.perf_counter() - start


def _work(program: Any, arguments: tuple[Any, ...], calls: int) -> Any:
    import jax

    def run() -> float:
        for _ in range(calls):
            jax.block_until_ready(program(*arguments))
        return float(calls)

    return run


def _samples() -> tuple[Any, Any]:
    import jax.numpy as jnp
    import numpy as np

    rng = np.random.default_rng(0)
    shape = (BATCH, ATOMS, SAMPLES, 3)
    places = np.arange(ATOMS)[:, None, None] / 4
    x, y = (jnp.asarray(rng.normal(size=shape) + places, jnp.float32) for _ in range(2))
    return x, y


def loss_and_gradient() -> Contest:
    """The loss of a batch and its gradient in the model's samples."""
    import jax
    import numpy as np

    from papers.distributional_sm.baselines import pairwise_two_level_mmd2
    from papers.distributional_sm.method import two_level_mmd2

    def of(loss: Any) -> Any:
        return jax.value_and_grad(lambda x, y: jax.vmap(loss)(x, y).mean())

    arguments = _samples()
    ours, seconds = _compiled(of(two_level_mmd2), *arguments)
    theirs, _ = _compiled(of(pairwise_two_level_mmd2), *arguments)
    for a, b in zip(ours(*arguments), theirs(*arguments), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    return Contest(_work(ours, arguments, 20), _work(theirs, arguments, 2), seconds)


def memory(atoms: int = ATOMS, samples: int = SAMPLES, batch: int = BATCH) -> tuple[int, int]:
    """Bytes of temporaries that XLA plans for the loss and its gradient: ours, and pair by pair."""
    import jax
    import jax.numpy as jnp

    from papers.distributional_sm.baselines import pairwise_two_level_mmd2
    from papers.distributional_sm.method import two_level_mmd2

    x = jax.ShapeDtypeStruct((batch, atoms, samples, 3), jnp.float32)
    programs = (
        _compiled(jax.grad(lambda x, y, f=f: jax.vmap(f)(x, y).mean(), (0, 1)), x, x)[0]
        for f in (two_level_mmd2, pairwise_two_level_mmd2)
    )
    ours, theirs = (program.memory_analysis().temp_size_in_bytes for program in programs)
    return ours, theirs


def training_step(learned: bool) -> Contest:
    """Whole training steps: data, generators, loss, Adam; with or without the learned kernel."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from papers.distributional_sm.baselines import pairwise_two_level_mmd2
    from papers.distributional_sm.method import (
        TrainerSpec,
        make_trainer,
        transitions,
        two_level_mmd2,
    )

    spec = TrainerSpec(
        3, atoms=ATOMS, samples=SAMPLES, batch=BATCH, hidden=(WIDTH,) * 3, phi_width=WIDTH,
        learned_kernel=learned,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    never = jnp.zeros(5000, bool)
    data = transitions(jnp.asarray(rng.normal(size=(5000, 3)), jnp.float32), never, never, 6)
    sides, state, seconds = [], None, 0.0
    for loss in (two_level_mmd2, pairwise_two_level_mmd2):
        init, step = make_trainer(spec, loss)
        state = jax.jit(init)(jax.random.key(0)) if state is None else state
        program, taken = _compiled(step, state, data)
        sides.append(program)
        seconds = seconds or taken
    (first, ours), (second, theirs) = (side(state, data) for side in sides)
    np.testing.assert_allclose(ours["loss"], theirs["loss"], atol=1e-5)
    for a, b in zip(
        jax.tree.leaves(first.adam_atoms), jax.tree.leaves(second.adam_atoms), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=2e-2, atol=1e-6)
    return Contest(_work(sides[0], (state, data), 10), _work(sides[1], (state, data), 1), seconds)


_PAIRWISE = "one unbiased MMD per pair of atoms, differentiated by JAX"
_SIZES = f"m={ATOMS}, N={SAMPLES}, batch {BATCH}, one core"
ENTRIES = (
    Entry(f"two-level MMD and its gradient, {_SIZES}", _PAIRWISE, "losses", 2.5, loss_and_gradient),
    Entry(
        f"training step, fixed kernel, {_SIZES}", _PAIRWISE, "gradient steps", 2.5,
        functools.partial(training_step, learned=False),
    ),
    Entry(
        f"training step, learned kernel, {_SIZES}", _PAIRWISE, "gradient steps", 2.5,
        functools.partial(training_step, learned=True),
    ),
)  # fmt: skip
