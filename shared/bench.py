"""Speed claims: our way of computing something beside its yardstick, in one run.

A paper lists its claims as `ENTRIES` in `papers/<name>/bench.py`, and `python -m tools.bench` runs
them. Listing must be cheap: heavy imports belong inside `prepare`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Work = Callable[[], float]
"""Does some work and returns how much, in an entry's unit; synchronous: done when it returns."""


@dataclass(frozen=True)
class Contest:
    """Both sides of an entry, compiled, warmed up and checked to compute the same.

    Attributes:
        ours, yardstick: do about a second of work each.
        compile_seconds: what compiling ours took.
    """

    ours: Work
    yardstick: Work
    compile_seconds: float = 0.0


@dataclass(frozen=True)
class Entry:
    """One speed claim.

    Attributes:
        name: what is measured. unit: of work done per second, "environment steps" say.
        yardstick: what it is compared with, in words.
        floor: the ratio that we promise.
        prepare: checks that both sides agree (else AssertionError), and returns them.
        cores: how many CPU cores the measuring process is pinned to.
    """

    name: str
    yardstick: str
    unit: str
    floor: float
    prepare: Callable[[], Contest]
    cores: int = 1


def measure(entry: Entry, repeats: int) -> dict[str, Any]:
    """Run an entry in this process: ours, yardstick, ours, yardstick, ... `repeats` times each.

    On one core seconds are those that the core worked for this process, so that other load on the
    machine counts as little as it can; on several they are seconds of the clock.

    Returns:
        `ratios`, one a repeat, of work per second, ours over the yardstick's; the medians
        `ours_rate` and `yardstick_rate`; `compile_seconds`.
    """
    import numpy as np

    contest = entry.prepare()
    for side in (contest.ours, contest.yardstick):
        side()  # the first call may still warm up
    clock = time.process_time if entry.cores == 1 else time.perf_counter
    rates = np.array([[_rate(side, clock) for side in (contest.ours, contest.yardstick)]
                      for _ in range(repeats)])  # fmt: skip
    ours, yardstick = np.median(rates, axis=0)
    return {
        "ratios": (rates[:, 0] / rates[:, 1]).tolist(),
        "ours_rate": float(ours),
        "yardstick_rate": float(yardstick),
        "compile_seconds": contest.compile_seconds,
    }


def _rate(side: Work, clock: Callable[[], float]) -> float:
    start = clock()
    work = side()
    return work / (clock() - start)
