"""The engine that runs a paper: command line, tasks, checkpoints, claims.

A paper hands `main` an `Experiment`; everything else follows. Importing this is cheap: nothing
here imports JAX, NumPy or a plotting library before it is needed.
"""

from shared.experiment.errors import (
    BadInput,
    Damaged,
    Diverged,
    ExperimentError,
    Interrupted,
    MissingExtra,
    TaskFailed,
)
from shared.experiment.main import main
from shared.experiment.spec import Claim, Estimate, Experiment, Run, Task, Verdict

__all__ = [
    "BadInput",
    "Claim",
    "Damaged",
    "Diverged",
    "Estimate",
    "Experiment",
    "ExperimentError",
    "Interrupted",
    "MissingExtra",
    "Run",
    "Task",
    "TaskFailed",
    "Verdict",
    "main",
]
