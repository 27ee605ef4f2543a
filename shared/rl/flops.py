"""How much arithmetic a function is, and what this machine does: the floor of any speed claim."""

import math
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.extend
import jax.numpy as jnp

from shared.experiment.errors import BadInput


def matmul_flops(function: Callable[..., Any], *args: Any) -> int:
    """Floating-point operations in the matrix products of function(*args), 2 m k n each.

    Loops count as often as they run, of the branches of a `cond` the costliest counts. It is the
    program as written: a compiler may merge products that appear twice. Nothing is computed.
    """
    return _count(jax.make_jaxpr(function)(*args).jaxpr)


def _count(jaxpr: Any) -> int:
    total = 0
    for eqn in jaxpr.eqns:
        inner = [_count(sub) for sub in _subprograms(eqn.params)]
        if eqn.primitive.name == "dot_general":
            total += _product(eqn)
        elif eqn.primitive.name == "scan":
            total += eqn.params["length"] * sum(inner)
        elif eqn.primitive.name == "cond":
            total += max(inner, default=0)
        elif eqn.primitive.name == "while" and any(inner):
            raise BadInput("Products in a while loop cannot be counted: how often it runs is open.")
        else:
            total += sum(inner)
    return total


def _subprograms(params: dict[str, Any]) -> list[Any]:
    found = []
    for value in params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            if isinstance(item, jax.extend.core.ClosedJaxpr):
                found.append(item.jaxpr)
            elif isinstance(item, jax.extend.core.Jaxpr):
                found.append(item)
    return found


def _product(eqn: Any) -> int:
    (contracted, _), _ = eqn.params["dimension_numbers"]
    depth = math.prod(eqn.invars[0].aval.shape[i] for i in contracted)
    return 2 * depth * math.prod(eqn.outvars[0].aval.shape)


def matmul_rate(rows: int = 256, width: int = 256, products: int = 400) -> float:
    """Operations per second in float32 products [rows, width] @ [width, width], on this device.

    The best of five times `products` in one compiled loop. On a CPU, seconds are those that a core
    worked for this process, so that other load counts little; else those of the clock.
    """
    key = jax.random.key(0)
    x = jax.random.normal(key, (rows, width), jnp.float32)
    w = jax.random.normal(key, (width, width), jnp.float32) / math.sqrt(width)

    @jax.jit
    def chain(x: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda x, _: (x @ w, None), x, length=products)[0]

    jax.block_until_ready(chain(x))
    clock = time.process_time if jax.default_backend() == "cpu" else time.perf_counter
    best = math.inf
    for _ in range(5):
        start = clock()
        jax.block_until_ready(chain(x))
        best = min(best, clock() - start)
    return 2 * rows * width * width * products / best
