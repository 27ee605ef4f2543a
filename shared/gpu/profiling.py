"""Where the time goes: trace files for a profiler, and compile time told apart from run time."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any


@contextmanager
def profile(folder: Path | str | None) -> Iterator[None]:
    """Write a trace of the block to `folder`; with None, do nothing.

    The files (`plugins/profile/<time>/*.xplane.pb` and `*.trace.json.gz`) open in XProf, the latter
    also in https://ui.perfetto.dev.
    """
    if folder is None:
        yield
        return
    import jax

    Path(folder).mkdir(parents=True, exist_ok=True)
    with jax.profiler.trace(str(folder)):
        yield


@dataclass(frozen=True)
class Timing:
    """Seconds that one function took, and what it returned.

    Attributes:
        compile_seconds: tracing, lowering and compiling; little where the persistent compile cache
            already held the program.
        run_seconds: of each run, until its results were ready.
        result: what the last run returned.
    """

    compile_seconds: float
    run_seconds: tuple[float, ...]
    result: Any

    @property
    def median_seconds(self) -> float:
        """The median run."""
        return median(self.run_seconds)


def time_compiled(fn: Callable[..., Any], args: tuple[Any, ...], repeats: int = 1) -> Timing:
    """Compile `fn` (jitted already, or not) for `args`, then run it `repeats` times.

    Each run gets its own copies of the arrays, made outside the time, so a function that donates
    its arguments can be timed and `args` stay valid.
    """
    import jax

    if repeats < 1:
        raise ValueError(f"repeats must be at least 1; got {repeats}.")
    jitted: Any = fn if hasattr(fn, "lower") else jax.jit(fn)
    start = time.perf_counter()
    compiled = jitted.lower(*args).compile()
    compile_seconds = time.perf_counter() - start
    run_seconds, result = [], None
    for _ in range(repeats):
        own = jax.tree.map(lambda x: x.copy() if isinstance(x, jax.Array) else x, args)
        jax.block_until_ready(own)
        start = time.perf_counter()
        result = jax.block_until_ready(compiled(*own))
        run_seconds.append(time.perf_counter() - start)
    return Timing(compile_seconds, tuple(run_seconds), result)
