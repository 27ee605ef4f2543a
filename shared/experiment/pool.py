"""Local worker processes: persistent, one block at a time each, replaced when they die.

A worker is one Python process that imports the paper once, compiles once per task and takes many
blocks (worker.py). Closing its standard input tells it to leave, with its state saved if it is in
the middle of a block; that also happens by itself when this process dies.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from shared.experiment.cli import Options
from shared.experiment.errors import ExperimentError
from shared.experiment.spec import Task
from shared.experiment.store import RunFolder, explained

if TYPE_CHECKING:
    from shared.experiment.loop import StopFlag

_ROOT = Path(__file__).parents[2]
_POLL_SECONDS = 0.2
_LEAVE_SECONDS = 120.0  # how long workers may take to finish their chunk and save
_TRIES = 2


@dataclass
class _Worker:
    """A worker process and what it is doing."""

    process: subprocess.Popen[bytes]
    block: Task | None = None
    last_key: str = ""
    ready: bool = False
    heard: bytes = b""
    log_start: int = 0

    def send(self, block: Task) -> None:
        """Give it a block; a worker that is already dead is noticed when its output ends."""
        self.block, self.last_key = block, block.key
        with suppress(OSError):
            self.stdin.write(f"{block.path}\n".encode())
            self.stdin.flush()

    def dismiss(self) -> None:
        """Ask it to leave."""
        with suppress(OSError):
            self.stdin.close()

    @property
    def stdin(self) -> IO[bytes]:
        return cast("IO[bytes]", self.process.stdin)

    @property
    def stdout(self) -> IO[bytes]:
        return cast("IO[bytes]", self.process.stdout)

    def events(self) -> list[dict[str, Any]] | None:
        """What it has said since the last call; None once it has gone."""
        data = os.read(self.stdout.fileno(), 1 << 16)
        if not data:
            return None
        *lines, self.heard = (self.heard + data).split(b"\n")
        return [json.loads(line) for line in lines]


@dataclass
class _Pool:
    """The workers and the blocks that still wait, longest first."""

    folder: RunFolder
    start: Callable[[], _Worker]
    report: Callable[[dict[str, Any]], None]
    stopping: StopFlag
    queue: list[Task]
    workers: list[_Worker] = field(default_factory=list)
    tries: Counter[str] = field(default_factory=Counter)
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)

    def hire(self) -> None:
        """Start one more worker, with the longest block that waits."""
        worker = self.start()
        self.workers.append(worker)
        self.selector.register(worker.stdout, selectors.EVENT_READ, worker)
        self.feed(worker)

    def feed(self, worker: _Worker) -> None:
        """Give a block: of the task at hand, else of a task that nobody has, else the longest.

        The blocks of a task share their compiled program, so a second worker on the same task
        would compile it once more.
        """
        if not self.queue:
            worker.block = None
            worker.dismiss()
            return
        taken = {other.last_key for other in self.workers if other is not worker}
        at_hand = (b for b in self.queue if b.key == worker.last_key)
        untaken = (b for b in self.queue if b.key not in taken)
        block = next(at_hand, next(untaken, self.queue[0]))
        self.queue.remove(block)
        self.tries[block.path] += 1
        worker.send(block)

    def listen(self) -> None:
        """Take in what the workers say, for a moment."""
        for key, _ in self.selector.select(_POLL_SECONDS):
            worker = key.data
            events = worker.events()
            if events is None:
                self.part(worker)
            for event in events or ():
                self.hear(worker, event)

    def hear(self, worker: _Worker, event: dict[str, Any]) -> None:
        if event["event"] == "ready":
            worker.ready = True
            return
        self.report(event)
        if event["event"] in ("done", "failed"):  # after "stopped" it leaves, see `part`
            self.feed(worker)

    def part(self, worker: _Worker) -> None:
        """A worker has gone: as it should, or with a block that is tried once more."""
        self.selector.unregister(worker.stdout)
        self.workers.remove(worker)
        worker.dismiss()
        worker.stdout.close()
        code = worker.process.wait()
        block = worker.block
        if block is None or self.stopping.is_set():
            return
        if code > 0 and not worker.ready:
            raise ExperimentError(
                f"A worker process could not start: {_last_words(self.folder, worker)}"
            )
        how = _cause(code)
        if self.tries[block.path] < _TRIES:
            self.report({"event": "died", "task": block.path, "text": f"{how}; trying once more"})
            self.queue.insert(0, block)
        else:
            self.report({"event": "failed", "task": block.path, "text": how})

    def stop(self) -> None:
        """Ask every worker to save and leave; kill those that take too long."""
        self.queue.clear()
        for worker in self.workers:
            worker.dismiss()
        deadline = time.monotonic() + _LEAVE_SECONDS
        while self.workers and time.monotonic() < deadline:
            self.listen()

    def close(self) -> None:
        """Leave no process behind, however this ended."""
        for worker in self.workers:
            worker.process.kill()
            worker.dismiss()
            worker.stdout.close()
            worker.process.wait()
        self.selector.close()


def run_in_workers(
    folder: RunFolder,
    blocks: Sequence[Task],
    slots: int,
    report: Callable[[dict[str, Any]], None],
    stop: StopFlag,
    options: Options,
    on_gpu: bool,
    keep_open: Sequence[int] = (),
) -> None:
    """Run `blocks`, longest first, on `slots` worker processes.

    Failures are reported as events ("failed"), not raised; a block whose worker died is tried once
    more, from its checkpoint, by a fresh worker.

    Raises:
        ExperimentError: workers cannot start at all.
    """
    environment = {**os.environ, **worker_environment(os.environ, on_gpu)}

    def start() -> _Worker:
        with explained(folder.log), open(folder.log, "ab") as log:
            begin = log.tell()  # before the worker moves it: they share the file's position
            process = subprocess.Popen(
                [sys.executable, "-m", "shared.experiment.worker", str(folder.root)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                pass_fds=tuple(keep_open),
            )
            return _Worker(process, log_start=begin)

    pool = _Pool(folder, start, report, stop, list(blocks))
    try:
        while pool.queue or pool.workers:
            if stop.is_set():
                pool.stop()
                break
            while pool.queue and len(pool.workers) < slots:
                pool.hire()
            pool.listen()
    finally:
        pool.close()


def worker_environment(now: Mapping[str, str], on_gpu: bool) -> dict[str, str]:
    """Variables of a worker process: one thread each on a CPU, memory on demand on a GPU.

    One thread, whatever the number of workers, keeps results independent of that number.
    """
    path = os.pathsep.join(filter(None, (str(_ROOT), now.get("PYTHONPATH"))))
    if on_gpu:
        return {"PYTHONPATH": path, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    # XLA sizes its pool by NPROC alone; two threads pass small kernels back and forth, which nearly
    # doubles the time of small networks.
    threads = ("NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {
        "PYTHONPATH": path,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{now.get('XLA_FLAGS', '')} {flags}".strip(),
        **dict.fromkeys(threads, "1"),
    }


def _cause(code: int) -> str:
    if code >= 0:
        return f"its worker process ended unexpectedly with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    hint = ", out of memory?" if -code == signal.SIGKILL else ""
    return f"its worker process died with signal {-code} ({name}{hint})"


def _last_words(folder: RunFolder, worker: _Worker) -> str:
    """The last line that a worker which could not start wrote to the log."""
    with open(folder.log, "rb") as log:
        log.seek(worker.log_start)
        lines = log.read().decode(errors="replace").split("\n")
    said = [line.strip() for line in lines if line.strip()]
    return said[-1] if said else f"see {folder.log}."
