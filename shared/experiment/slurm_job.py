"""Inside a Slurm job: run one block, and when told to leave, save it and requeue this job.

Slurm says that a job must leave by a signal: SIGUSR1 some time before its limit (slurm.py asks for
it), SIGTERM when it is pre-empted or cancelled. Which of these it was does not matter here. What
matters is what Slurm thinks of the job once the state is saved: a job that it calls running would
end for good by leaving, so it is requeued; one that it has cancelled or requeued already is not.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shared.experiment.errors import Interrupted, TaskFailed
from shared.experiment.execute import Report
from shared.experiment.loop import StopFlag, install_signal_handlers
from shared.experiment.store import explained
from shared.experiment.worker import run_paths

PROGRESS_SECONDS = 2.0


def run_job(run_dir: str, path: str) -> None:
    """Run the block `path` of the run in `run_dir`; submitit calls this on the compute node.

    Events go to `events_path`. Whoever waits needs nothing else: failures are events too.

    Raises:
        SystemExit: code 1, the block is not finished (so that Slurm calls the job failed).
    """
    stop = StopFlag()
    install_signal_handlers(stop)
    # submitit's own handler would leave at once, without saving; and SIGCONT asks for nothing.
    signal.signal(signal.SIGUSR2, signal.getsignal(signal.SIGUSR1))
    signal.signal(signal.SIGCONT, signal.SIG_DFL)
    with _events(events_path(Path(run_dir), path)) as report:
        try:
            run_paths(run_dir, [path], report, stop)
        except Interrupted:
            requeue()
            raise SystemExit(1) from None
        except TaskFailed:
            raise SystemExit(1) from None
        except Exception as error:  # before the block began: a damaged run.json, no GPU, ...
            trace = traceback.format_exc()
            report({"event": "failed", "task": path, "text": str(error), "traceback": trace})
            raise SystemExit(1) from error


def events_path(root: Path, path: str) -> Path:
    """Where the job of block `path` writes its events, as JSON lines."""
    return root / "slurm" / "events" / f"{path}.jsonl"


def job_id(variables: Mapping[str, str]) -> str:
    """This job as squeue and scontrol name it: `12`, in an array `12_3`."""
    array = variables.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{variables['SLURM_ARRAY_TASK_ID']}" if array else variables["SLURM_JOB_ID"]


def requeue() -> None:
    """Put this job back into the queue if Slurm still calls it running."""
    job = job_id(os.environ)
    ask = ["squeue", "--noheader", "--format=%T", f"--jobs={job}"]
    state = subprocess.run(ask, capture_output=True, text=True, check=False).stdout.strip()
    if state == "RUNNING":
        print(f"Saved; requeueing job {job}.", flush=True)
        subprocess.run(["scontrol", "requeue", job], check=False)
    else:
        print(f"Saved; job {job} is {state or 'ending'} and not requeued from here.", flush=True)


@contextmanager
def _events(path: Path, clock: Callable[[], float] = time.monotonic) -> Iterator[Report]:
    """Append events to `path` as they come, progress at most every PROGRESS_SECONDS."""
    last = clock() - PROGRESS_SECONDS
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - closed below

    def report(event: dict[str, Any]) -> None:
        nonlocal last
        if event["event"] == "progress":
            if clock() - last < PROGRESS_SECONDS and event["fraction"] < 1:
                return
            last = clock()
        if trace := event.get("traceback"):
            print(trace, file=sys.stderr, flush=True)
        with explained(path):
            file.write(json.dumps(event) + "\n")
            file.flush()

    with file:
        yield report
