"""What the Slurm tests share: a prepared run, and programs that answer as Slurm's would."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.experiment import execute, record
from shared.experiment.cli import Options
from shared.experiment.spec import Experiment, Task
from shared.experiment.store import RunFolder
from tests.shared.experiment import toy

ON_SLURM = Options(launch="slurm", workers=0, checkpoint_seconds=0.0)


def prepare(
    root: Path, experiment: Experiment, config: toy.Config, options: Options = ON_SLURM
) -> tuple[RunFolder, list[Task]]:
    """A run folder with its run.json, as the command line leaves it before anything runs."""
    folder = RunFolder.create(experiment.name, root)
    blocks = execute.plan(experiment.tasks(config), 1, options, on_gpu=False)
    saved = record.Record("quick", config, options, tuple(blocks))
    record.write(folder, experiment, saved, {}, {})
    return folder, blocks


def until(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Wait for `condition` to hold; what it returned."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "the condition never held"
        time.sleep(0.05)
    return value


def text(path: Path) -> str:
    """What is in `path`; empty while there is none."""
    return path.read_text() if path.exists() else ""


PROGRAMS = {
    "sbatch": """
        [ ! -e refuse ] || { cat refuse >&2; exit 1; }
        echo >> submitted; number=$(wc -l < submitted); cp "$1" "script-$number"
        echo "Submitted batch job $number" """,
    "squeue": "[ ! -e down ] || { cat down >&2; exit 1; }; cat queue 2>/dev/null || true",
    "sinfo": '[ ! -e down ] || { cat down >&2; exit 1; }; printf "cpu\\ngpu\\n"',
    "scontrol": 'echo "$*" >> asked',
    "srun": "exit 0",
    "sacct": "echo Slurm accounting storage is disabled >&2; exit 1",
}


def fake_slurm(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Programs with Slurm's names, first on PATH; what they say is in files of their folder.

    queue: what squeue prints. refuse, down: what sbatch, and squeue and sinfo, complain of.
    submitted: a line for each sbatch; script-N: the file it was given. asked: scontrol's arguments.
    """
    folder.mkdir()
    for name, body in PROGRAMS.items():
        (folder / name).write_text(f"#!/bin/bash\ncd {folder}\n{body}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder
