"""How fast training is, beside the loop that such code usually is.

The yardstick does the same mathematics at the same sizes: a gymnasium environment stepped from
Python, one compiled call per environment step for the action and one per gradient step, a replay
buffer in numpy, the quantile Huber loss as a table of m x m errors, optax's Adam. Our program is
compiled with the options that a run sets (`shared.gpu.setup`), the loop with XLA's defaults.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from shared.bench import Contest, Entry

if TYPE_CHECKING:
    from papers.superiority.agents import AgentSpec

AGENT = "DSUP(1/2)"
SECONDS = 1.5  # of work in one repeat
DAYS = 250  # in one call of our compiled program


def _spec(omega: int) -> AgentSpec:
    from papers.superiority.agents import agent

    return agent(AGENT, frequency=omega, epsilon_updates=500)


def _ours(omega: int, seeds: int = 1) -> tuple[Any, float]:
    """A function that trains each seed in turn for so many days, warmed up; and compile time."""
    import jax
    import jax.numpy as jnp

    from papers.superiority.env import ASSETS, OptionEnv
    from papers.superiority.train import init_train, train_chunk
    from shared.gpu.devices import CPU_COMPILER_OPTIONS

    env = jax.tree.map(jnp.float32, OptionEnv(ASSETS[0].drift, ASSETS[0].volatility))
    spec = _spec(omega)
    states = [init_train(jax.random.key(seed), spec, env) for seed in range(seeds)]
    start = time.perf_counter()
    chunk = train_chunk.lower(states[0], spec, env, DAYS).compile(CPU_COMPILER_OPTIONS)
    compiled = time.perf_counter() - start

    def train(days: int) -> float:
        for i in range(seeds):
            for _ in range(days // DAYS):
                states[i], _ = chunk(states[i], env)
        jax.block_until_ready(states)
        return float(seeds * days * omega)

    train(1000)
    return train, compiled


def _sized(train: Any, days: int, multiple: int) -> Any:
    """`train` for about SECONDS, found by trying `days`."""
    start = time.perf_counter()
    train(days)
    wanted = days * SECONDS / (time.perf_counter() - start)
    return functools.partial(train, max(multiple, round(wanted / multiple) * multiple))


def single_seed(omega: int) -> Contest:
    """One seed on one core against the per-step loop."""
    from papers.superiority.yardstick import PerStepLoop, check_equal

    spec = _spec(omega)
    check_equal(spec)
    train, compiled = _ours(omega)
    loop = PerStepLoop(spec, seed=0)
    loop.train(600)
    return Contest(_sized(train, 1000, DAYS), _sized(loop.train, 40, 1), compiled)


def eight_seeds(omega: int) -> Contest:
    """Eight seeds in two processes on two cores, against the per-step loop of one seed on one."""
    from papers.superiority.yardstick import PerStepLoop, check_equal

    spec = _spec(omega)
    check_equal(spec)
    cores = sorted(os.sched_getaffinity(0))[-2:]
    workers = [_Worker(omega, core) for core in cores]
    compiled = max(worker.wait() for worker in workers)
    loop = PerStepLoop(spec, seed=0)
    loop.train(600)

    def ours(days: int) -> float:
        for worker in workers:
            worker.start(days)
        return sum(worker.wait() for worker in workers)

    def yardstick(days: int) -> float:
        os.sched_setaffinity(0, cores[-1:])
        work = loop.train(days)
        os.sched_setaffinity(0, cores)
        return work

    return Contest(_sized(ours, DAYS, DAYS), _sized(yardstick, 40, 1), compiled)


class _Worker:
    """A process on one core that trains four seeds in turn whenever it is told to."""

    def __init__(self, omega: int, core: int) -> None:
        command = [sys.executable, "-m", "papers.superiority.bench", str(omega), str(core)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def start(self, days: int) -> None:
        assert self.process.stdin is not None
        print(days, file=self.process.stdin, flush=True)

    def wait(self) -> float:
        assert self.process.stdout is not None
        return float(self.process.stdout.readline())


def _serve(omega: int, core: int) -> None:
    os.sched_setaffinity(0, {core})
    train, compiled = _ours(omega, seeds=4)
    print(compiled, flush=True)
    for line in sys.stdin:  # ends when the parent does
        print(train(int(line)), flush=True)


_LOOP = "per-step Python loop, one seed, one core"
ENTRIES = (
    *(
        Entry(f"training, omega={omega}, one seed, one core", _LOOP, "environment steps", floor,
              functools.partial(single_seed, omega))
        for omega, floor in ((1, 3.0), (10, 6.0), (35, 10.0))
    ),
    Entry("training, omega=10, eight seeds, two cores", _LOOP, "environment steps", 12.0,
          functools.partial(eight_seeds, 10), cores=2),
)  # fmt: skip

if __name__ == "__main__":
    _serve(int(sys.argv[1]), int(sys.argv[2]))
