"""How fast training is, beside the loop that such code usually is: see `yardstick.py`.

Both train IRL-Plus on BlockedPoint: an environment step and an update in turn, one core.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import replace

from shared.bench import Contest, Entry, Work

SECONDS = 1.5  # of work in one repeat
EPOCH = 5  # blocks of a hundred steps and updates in one call of ours


def blocked_point(width: int, seeds: int) -> Contest:
    """Seeds of ours, vmapped in one compiled program, against one in the Python loop."""
    import jax
    import jax.numpy as jnp

    from papers.icrl import demos, train, variants
    from papers.icrl.config import PRESETS
    from papers.icrl.envs import task
    from papers.icrl.gym_env import ConstrainedEnv
    from papers.icrl.yardstick import Loop, check_equal

    check_equal()
    config, world = PRESETS["cpu"], task("blocked_point")
    config = replace(config, width=width, blocks=EPOCH, warm_epochs=0, cost_steps=1)
    plan, numbers = (
        variants.compiled("IRL-Plus", config, world),
        variants.numbers("IRL-Plus", config),
    )
    shipped = demos.shipped(world)
    arrays = train.Demos(jnp.asarray(shipped.obs), jnp.asarray(shipped.act))
    state = [train.start(jax.random.split(jax.random.key(0), seeds), plan, numbers.lam)]
    begin = time.perf_counter()
    epoch = train.advance.lower(state[0], numbers, arrays, plan, 1).compile()
    compiled = time.perf_counter() - begin

    def ours(calls: int) -> float:
        for _ in range(calls):
            state[0], _ = epoch(state[0], numbers, arrays)
        jax.block_until_ready(state)
        return float(calls * EPOCH * world.horizon * seeds)

    loop = Loop(ConstrainedEnv(world.name), width, config.batch_size)

    def theirs(steps: int) -> float:
        for _ in range(steps):
            loop.step()
        return float(steps)

    return Contest(_sized(ours, 1), _sized(theirs, 100), compiled)


def _sized(work: Callable[[int], float], amount: int) -> Work:
    """`work` for about SECONDS, found by trying `amount`."""
    work(amount)
    start = time.perf_counter()
    work(amount)
    wanted = amount * SECONDS / (time.perf_counter() - start)
    return functools.partial(work, max(1, round(wanted)))


_LOOP = "PyTorch eager, one gymnasium environment, one core"
ENTRIES = (
    Entry("IRL-Plus on BlockedPoint, 64 units, one seed, one core", _LOOP,
          "environment steps with their updates", 5.0, functools.partial(blocked_point, 64, 1)),
    Entry("IRL-Plus on BlockedPoint, 64 units, five seeds, one core", _LOOP,
          "environment steps with their updates", 10.0, functools.partial(blocked_point, 64, 5)),
)  # fmt: skip
