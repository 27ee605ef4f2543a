"""What Slurm says of its jobs: `squeue` and `sinfo` asked, their answers in words.

No accounting is needed. `squeue` knows a job for some minutes after its end; later `sacct` is asked
how it ended, where there is accounting, and else nobody knows.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from shared.experiment.errors import ExperimentError
from shared.experiment.execute import Report

_ENDED = re.compile(
    r"BOOT_FAIL|CANCELLED|COMPLETED|DEADLINE|FAILED|NODE_FAIL|OUT_OF_MEMORY|PREEMPTED|REVOKED|TIMEOUT"
)
_STATUS_SECONDS = 60.0


def ask(program: str, *arguments: str) -> str:
    """The output of a Slurm command.

    Raises:
        ExperimentError: it failed, with its reason.
    """
    try:
        done = subprocess.run(
            [program, *arguments], capture_output=True, text=True, timeout=60, check=True
        )
    except subprocess.CalledProcessError as error:
        raise ExperimentError(f"Slurm does not answer: {last_words(error.stderr)}.") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ExperimentError(f"Slurm does not answer: {error}.") from error
    return done.stdout


def last_words(text: str) -> str:
    """The last line that a Slurm command said, without the names of the command and the call."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    last = lines[-1] if lines else "it gives no reason"
    return re.sub(r"^(\w+: )?(error: )?(Batch job submission failed: )?", "", last).rstrip(".")


def states() -> dict[str, str]:
    """State and reason (`PENDING Priority`) of this user's jobs that Slurm still knows, by id.

    Raises:
        ExperimentError: Slurm does not answer.
    """
    asked = ("--noheader", "--array", "--states=all", f"--user={os.getuid()}", "--format=%i|%T|%r")
    rows = [line.strip().split("|", 2) for line in ask("squeue", *asked).splitlines()]
    return {row[0]: f"{row[1]} {row[2]}" for row in rows if len(row) == 3}


def ended(state: str) -> bool:
    """Whether a job in this state is over; one that Slurm does not know any more ("") is."""
    return not state or _ENDED.match(state) is not None


def cause(job: str, state: str) -> str:
    """How the job ended, from the accounting where there is one and Slurm itself forgot."""
    if not state and shutil.which("sacct"):
        with suppress(ExperimentError):
            wanted = ("--noheader", "--allocations", "--parsable2", "--format=State")
            state = ask("sacct", *wanted, f"--jobs={job}").strip()
    return state.split()[0] if state else "Slurm does not know any more how"


def ids(jobs: Iterable[str]) -> str:
    """Array jobs by their common number: 12_0, 12_1, 15 -> `12 15`."""
    return " ".join(sorted({job.split("_")[0] for job in jobs}, key=int))


def note(text: str) -> dict[str, str]:
    """An event that tells of the cluster rather than of one task."""
    return {"event": "note", "task": "slurm", "text": text}


@dataclass
class Status:
    """Says how many jobs run and why the others wait: at every new reason, else once a minute."""

    said: str = ""
    kinds: frozenset[str] = frozenset()
    when: float = 0.0

    def show(self, lines: Sequence[str], report: Report) -> None:
        """Report the jobs' `states()` if there is news."""
        counts = Counter(_in_words(line) for line in lines)
        text = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
        soon = time.monotonic() - self.when < _STATUS_SECONDS
        if not text or text == self.said or (soon and set(counts) <= self.kinds):
            return
        self.said, self.kinds, self.when = text, frozenset(counts), time.monotonic()
        report(note(text))


def _in_words(state: str) -> str:
    name, _, reason = state.partition(" ")
    if name == "PENDING":
        return f"waiting ({reason})"
    return "ended" if ended(state) else name.lower()
