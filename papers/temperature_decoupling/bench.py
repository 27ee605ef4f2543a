"""How fast many MDPs are solved at once, beside a NumPy loop for each.

The yardstick is soft value iteration as one would write it: for each MDP a loop of matrix product
and log-sum-exp in NumPy, until the values are within 1e-10 of the fixed point.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from typing import Any

from shared.bench import Contest, Entry

TAU = 0.1
ACCURACY = 1e-10
MDPS = 1000
LOOPED = 40  # of them by the yardstick in one repeat; its time per MDP does not depend on it


def numpy_loop(P: Any, r: Any, gamma: float, log_ref: Any, tau: float) -> Any:
    """q*_tau within ACCURACY, for one MDP."""
    import numpy as np

    S, A, _ = P.shape
    flat, q = P.reshape(S * A, S), np.zeros((S, A))
    while True:
        top = q.max(axis=1)
        weight = np.exp((q - top[:, None]) / tau + log_ref)
        after = r + gamma * (flat @ (top + tau * np.log(weight.sum(axis=1)))).reshape(S, A)
        change, q = np.abs(after - q).max(), after
        if change * gamma <= ACCURACY * (1 - gamma):
            return q


def _contest(solve: Callable[[Any, Any], Any]) -> Contest:
    """`solve` over MDPS random MDPs at once, against the loop over some of them."""
    import jax
    import numpy as np

    from papers.temperature_decoupling import mdps

    with jax.enable_x64():
        batch = jax.device_put(mdps.random_dense(0, MDPS))
        log_ref = np.full(batch.r.shape[1:], -math.log(batch.r.shape[2]))
        start = time.perf_counter()
        compiled = jax.jit(solve).lower(batch, log_ref).compile()
        seconds = time.perf_counter() - start
        q = np.asarray(compiled(batch, log_ref))
    P, r, gamma = (np.asarray(part) for part in batch)
    looped = [numpy_loop(P[i], r[i], gamma[i], log_ref, TAU) for i in range(LOOPED)]
    np.testing.assert_allclose(q[:LOOPED], np.stack(looped), rtol=0, atol=2 * ACCURACY)

    def ours() -> float:
        with jax.enable_x64():
            jax.block_until_ready(compiled(batch, log_ref))
        return float(MDPS)

    def yardstick() -> float:
        for i in range(LOOPED):
            numpy_loop(P[i], r[i], gamma[i], log_ref, TAU)
        return float(LOOPED)

    return Contest(ours, yardstick, seconds)


def newton() -> Contest:
    """Newton steps, all MDPs at once."""
    import jax

    from papers.temperature_decoupling.newton import soft_policy_iteration

    def solve(batch: Any, log_ref: Any) -> Any:
        one = functools.partial(soft_policy_iteration, tau=TAU, tol=ACCURACY)
        return jax.vmap(one, (0, None))(batch, log_ref)

    return _contest(solve)


def same_iteration() -> Contest:
    """The yardstick's own iteration, compiled, one MDP after another so that P stays in cache."""
    import jax

    from papers.temperature_decoupling import method

    # Values are at most 1 / (1 - gamma) = 10, and gamma^n of that is the accuracy.
    n = math.ceil(math.log(ACCURACY / 10) / math.log(0.9))

    def solve(batch: Any, log_ref: Any) -> Any:
        return jax.lax.map(lambda mdp: method.soft_vi(mdp, log_ref, TAU, n), batch)

    return _contest(solve)


_LOOP = "soft value iteration in NumPy, one MDP after another"
_SIZE = f"{MDPS} MDPs of 50 states and 4 actions to 1e-10"
ENTRIES = (
    Entry(f"{_SIZE}, Newton steps", _LOOP, "MDPs", 20.0, newton),
    Entry(f"{_SIZE}, the same iteration", _LOOP, "MDPs", 5.0, same_iteration),
)
