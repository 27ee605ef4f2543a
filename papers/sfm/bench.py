"""How fast updates are, beside one compiled call per stage; and how fast MuJoCo is stepped.

`yardstick.PerStageLoop` is the structure of the official code: batches sampled on the host, a
jitted function for each stage. At the paper's sizes (batch 1024, features of 1024 units) nearly all
of the time is matrix products on either side, and a ratio says little; so that entry stands beside
the machine's own speed at such products.
"""

from __future__ import annotations

import functools
import time
from typing import Any

from shared.bench import Contest, Entry
from shared.mujoco import yardstick as stepping

SECONDS = 1.5  # of work in one repeat
REDUCED = {"batch": 256, "feature_dim": 64, "feature_hidden": 256}
PAPER = {"batch": 1024, "feature_dim": 128, "feature_hidden": 1024}


def _ours(learner: Any) -> tuple[Any, float]:
    """A function that does so many updates in one compiled loop, and its compile time."""
    import jax
    import jax.numpy as jnp

    from papers.sfm.yardstick import experience
    from shared.gpu.devices import CPU_COMPILER_OPTIONS

    state, demos = experience(learner)
    calls = learner.optimiser.rates.policy_delay

    def many(core: Any, own: Any, blocks: Any) -> Any:
        def body(_: Any, carry: Any) -> Any:
            core, own = carry
            return learner.block(core, own, state.replay, demos, state.key)[:2]

        return jax.lax.fori_loop(0, blocks, body, (core, own))

    start = time.perf_counter()
    program = jax.jit(many).lower(state.core, state.own, jnp.int32(1))
    program = program.compile(CPU_COMPILER_OPTIONS)
    compiled = time.perf_counter() - start

    def run(updates: int) -> float:
        blocks = max(1, updates // calls)
        jax.block_until_ready(program(state.core, state.own, jnp.int32(blocks)))
        return float(blocks * calls)

    return run, compiled


def _sized(run: Any, first: int) -> Any:
    """`run` for about SECONDS, found by trying `first` updates."""
    run(first)
    start = time.perf_counter()
    run(first)
    wanted = first * SECONDS / (time.perf_counter() - start)
    return functools.partial(run, max(2, 2 * round(wanted / 2)))


def updates(rules: str, sizes: dict[str, int]) -> Contest:
    """Updates of SFM against a compiled call per stage."""
    from papers.sfm.yardstick import PerStageLoop, check_equal, sfm

    learner = sfm(rules, **sizes)
    check_equal(learner)
    ours, compiled = _ours(learner)
    first = 4 if sizes is PAPER else 20
    return Contest(_sized(ours, first), _sized(PerStageLoop(learner).run, first), compiled)


def products(rules: str) -> Contest:
    """Operations a second of whole updates at the paper's sizes, against bare matrix products."""
    import jax
    import jax.numpy as jnp

    from papers.sfm.checks import gigaflops
    from papers.sfm.yardstick import sfm

    learner = sfm(rules, **PAPER)
    ours, compiled = _ours(learner)
    each = gigaflops(learner)
    x = jnp.ones((1024, 1024), jnp.float32)
    chain = jax.jit(lambda x: jax.lax.fori_loop(0, 20, lambda _, y: (y @ x) * 1e-3, x))

    def bare(times: int) -> float:
        for _ in range(times):
            jax.block_until_ready(chain(x))
        return times * 20 * 2 * 1024**3 / 1e9

    run = _sized(ours, 4)
    return Contest(lambda: run() * each, _sized(bare, 1), compiled)


_STAGES = "one compiled call per stage, batches from the host"
ENTRIES = (
    *(
        Entry(f"SFM-{rules.upper()} updates, batch 256, 64 features", _STAGES, "updates", floor,
              functools.partial(updates, rules, REDUCED))
        for rules, floor in (("td7", 1.0), ("td3", 1.0))
    ),
    Entry("SFM-TD7 updates, batch 1024, 128 features (paper)", _STAGES, "updates", 0.9,
          functools.partial(updates, "td7", PAPER)),
    Entry("SFM-TD7 updates at the paper's sizes, all included", "matrix products of 1024 x 1024",
          "GFLOP", 0.3, functools.partial(products, "td7")),
    stepping.against_dm_control(),
    stepping.two_threads(),
)  # fmt: skip
