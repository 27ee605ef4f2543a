"""The toy paper at walking pace: its chunks take their time while a file `slow` is beside run.json.

So a test can catch a job in the middle, and let it run on by removing the file.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from shared.experiment import Run, Task, main
from shared.experiment.spec import State
from tests.shared.experiment import toy


@dataclasses.dataclass(frozen=True)
class _Paced:
    """The engine's Run with a pause before each chunk."""

    run: Run

    @property
    def config(self) -> Any:
        return self.run.config

    @property
    def folder(self) -> Path:
        return self.run.folder

    def loop(
        self,
        state: State,
        step: Callable[[State], tuple[State, Mapping[str, Any]]],
        chunks: int,
        *,
        name: str = "train",
        unit: str = "steps",
        per_chunk: int = 1,
    ) -> tuple[State, dict[str, np.ndarray]]:
        brake = next(up for up in self.folder.parents if (up / "run.json").exists()) / "slow"

        def paced(before: State) -> tuple[State, Mapping[str, Any]]:
            if brake.exists():
                time.sleep(0.05)
            return step(before)

        return self.run.loop(state, paced, chunks, name=name, unit=unit, per_chunk=per_chunk)


def run_task(task: Task, run: Run) -> dict[str, np.ndarray]:
    """The toy's training, paced."""
    return toy.run_task(task, _Paced(run))


EXPERIMENT = dataclasses.replace(
    toy.EXPERIMENT, name="slow", entry="tests.shared.experiment.slow:EXPERIMENT", run_task=run_task
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
