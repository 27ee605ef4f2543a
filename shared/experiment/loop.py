"""The loop that survives: progress, metrics, checkpoints, resume, and a clean stop.

`TaskRun` is the `Run` that the engine hands to a paper's `run_task`. Its loop applies a compiled
chunk of work again and again. Killed at any instant and started anew, it continues from the last
checkpoint and ends with the same state, the same history and the same metrics.jsonl, bit for bit.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.experiment import checkpoint
from shared.experiment.errors import Damaged, Diverged, Interrupted
from shared.experiment.spec import State, Task
from shared.experiment.store import RunFolder, explained, plain_numbers, write_bytes

if TYPE_CHECKING:
    import numpy as np

_NAME = re.compile(r"[a-z0-9][A-Za-z0-9._-]*")
_CHECKPOINT_SHARE = 0.05  # of the time, at most, whatever `checkpoint_seconds` says


# Stopping -----------------------------------------------------------------------------------------


@dataclass
class StopFlag:
    """Set once the run is asked to stop; loops look at it after every chunk."""

    _set: bool = False

    def set(self) -> None:
        """Ask every loop that shares this flag to save and leave."""
        self._set = True

    def is_set(self) -> bool:
        """Whether the run was asked to stop."""
        return self._set


def install_signal_handlers(stop: StopFlag, echo_seconds: float = 1.0) -> Callable[[], None]:
    """Set `stop` on SIGINT, SIGTERM and SIGUSR1; a second SIGINT ends the process at once (130).

    One Ctrl-C can arrive twice, from the terminal and again from a launcher such as `uv run` that
    passes it on; within `echo_seconds` of the first, a SIGINT therefore counts as its echo.
    Python runs its handlers only between byte codes, so not while a chunk computes. The second
    Ctrl-C is therefore seen by a thread, which the system wakes the moment that it arrives.
    Call from the main thread. Returns a function that puts the former handlers back.
    """
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    former = {number: signal.signal(number, lambda *_: stop.set()) for number in signals}
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    former_descriptor = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)

    def watch() -> None:
        first: float | None = None
        # Empty once the sender is closed; until then this thread must hold it, or it is collected.
        while sender.fileno() >= 0 and (numbers := receiver.recv(64)):
            stop.set()
            if signal.SIGINT not in numbers:
                continue
            now = time.monotonic()
            first = now if first is None else first
            together = numbers.count(signal.SIGINT) > 1  # two that were read at once
            if now - first > echo_seconds or (echo_seconds == 0 and together):
                if sys.stderr.isatty():
                    os.write(2, b"\x1b[?25h\n")  # a live display may have hidden the cursor
                os._exit(130)
        receiver.close()

    threading.Thread(target=watch, name="second Ctrl-C", daemon=True).start()

    def uninstall() -> None:
        signal.set_wakeup_fd(former_descriptor)
        for number, handler in former.items():
            signal.signal(number, handler)
        sender.close()

    return uninstall


# The run of one task ------------------------------------------------------------------------------


class TaskRun:
    """One block of one task as its `run_task` sees it (implements `spec.Run`).

    Args:
        config: the paper's Config.
        task: the block.
        folder: the whole run's folder.
        report: receives events (README): progress after every chunk, and notes.
        stop: when set, the loop saves its state and raises Interrupted after the current chunk.
        checkpoint_seconds: shortest time between two checkpoints.
        checkpoint_chunks: checkpoint every so many chunks instead, whatever the time.
    """

    def __init__(
        self,
        config: Any,
        task: Task,
        folder: RunFolder,
        report: Callable[[dict[str, Any]], None],
        stop: StopFlag,
        checkpoint_seconds: float = 60.0,
        checkpoint_chunks: int | None = None,
    ) -> None:
        self._config = config
        self._task = task
        self._folder = folder.task(task)
        self._report = report
        self._stop = stop
        self._seconds = checkpoint_seconds
        self._chunks = checkpoint_chunks
        self._loops: list[str] = []

    @property
    def config(self) -> Any:
        """The paper's Config."""
        return self._config

    @property
    def folder(self) -> Path:
        """This task's own folder."""
        return self._folder

    @property
    def metrics_path(self) -> Path:
        """One JSON row per chunk."""
        return self._folder / "metrics.jsonl"

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
        """Apply `step` `chunks` times; see `spec.Run.loop` for the contract.

        Raises:
            Diverged: a metric is NaN or infinite; the last good checkpoint stays.
            Interrupted: the stop flag was set; the state is saved.
            Damaged: a checkpoint belongs to another state or loop than this one.
            ExperimentError: disk full, folder not writable.
            ValueError: a name or a metric that this loop cannot take.
        """
        loop = self._declare(_Loop(name, unit, per_chunk, chunks))
        state, done, history = self._restore(loop, state)
        saved, saved_at, saving = done, time.monotonic(), 0.0
        while done < chunks and not self._stop.is_set():
            state, metrics = step(state)
            row = _on_host(metrics)  # the chunk's only wait for the device
            _store(history, done, row, loop)
            self._refuse_divergence(loop, done + 1, row, saved)
            done += 1
            self._append(loop.row(done, row))
            self._announce(loop, done, row)
            due = self._due(done - saved, time.monotonic() - saved_at, saving)
            if due or done == chunks or self._stop.is_set():
                start = time.monotonic()
                past = {metric: values[:done] for metric, values in history.items()}
                checkpoint.save(self._folder / name, done, state, {"loop": name}, past)
                saved, saved_at = done, time.monotonic()
                saving = saved_at - start
        if self._stop.is_set():
            raise Interrupted(
                f"Stopped as asked: {self._task.path} is saved at {loop.count(done)} {unit} of "
                f"{loop.count(chunks)} ({name})."
            )
        return state, history

    def _declare(self, loop: _Loop) -> _Loop:
        if not _NAME.fullmatch(loop.name) or loop.name in self._loops:
            raise ValueError(
                f"Loop name {loop.name!r} must be a plain word that no other loop of "
                f"{self._task.path} has; taken: {', '.join(self._loops) or 'none'}."
            )
        self._loops.append(loop.name)
        return loop

    def _restore(self, loop: _Loop, state: State) -> tuple[State, int, dict[str, np.ndarray]]:
        """State, chunks done and history of the newest good checkpoint, or of the beginning.

        metrics.jsonl is written anew from the histories of the checkpoints, which cuts it back
        to them without a gap or a double, whatever a kill left in it.
        """
        import numpy as np

        saved = checkpoint.restore(self._folder / loop.name, state)
        done = saved.step if saved else 0
        for text in saved.damaged if saved else ():
            self._note(f"{text} Going on from {loop.count(done)} {loop.unit}.")
        if saved and done > loop.chunks:
            raise Damaged(
                f"{self._folder / loop.name} holds a checkpoint after {done} chunks, but this "
                f"loop has {loop.chunks}: it was saved by a run with another configuration."
            )
        past = saved.arrays if saved else {}
        rows = [{name: values[i] for name, values in past.items()} for i in range(done)]
        text = b"".join(loop.row(i + 1, row) for i, row in enumerate(rows))
        if len(self._loops) == 1:
            write_bytes(self.metrics_path, text)
        else:
            self._append(text)
        history = {name: np.empty((loop.chunks, *v.shape[1:]), v.dtype) for name, v in past.items()}
        for name, values in past.items():
            history[name][:done] = values
        if rows:
            self._announce(loop, done, rows[-1])
        return (saved.state if saved else state), done, history

    def _due(self, chunks: int, seconds: float, cost: float) -> bool:
        """Whether a checkpoint is due; `cost` is what the last one took, in seconds."""
        if self._chunks is not None:
            return chunks >= self._chunks
        return seconds >= max(self._seconds, cost / _CHECKPOINT_SHARE)

    def _refuse_divergence(
        self, loop: _Loop, chunk: int, row: Mapping[str, np.ndarray], saved: int
    ) -> None:
        """Raise Diverged, naming metric, place and seed, unless every number is finite."""
        import numpy as np

        for name, values in row.items():
            bad = np.argwhere(~np.isfinite(values))
            if not len(bad):
                continue
            first = tuple(bad[0])
            seeds = self._task.seeds
            by_seed = values.ndim > 0 and len(values) == len(seeds)
            raise Diverged(
                f"Training of {self._task.path} diverged: {name} became "
                f"{'NaN' if np.isnan(values[first]) else 'infinite'} at {loop.count(chunk)} "
                f"{loop.unit}{f' (seed {seeds[first[0]]})' if by_seed else ''}; "
                + (f"the last good checkpoint is at {loop.count(saved)}" if saved else "nothing")
                + (", " if saved else " was saved before, ")
                + "try a smaller step size."
            )

    def _append(self, row: bytes) -> None:
        with explained(self.metrics_path), open(self.metrics_path, "ab") as file:
            file.write(row)

    def _announce(self, loop: _Loop, done: int, row: Mapping[str, np.ndarray]) -> None:
        import numpy as np

        self._report(
            {
                "event": "progress",
                "task": self._task.path,
                "fraction": done / loop.chunks,
                "loop": loop.name,
                "unit": loop.unit,
                "done": loop.count(done),
                "total": loop.count(loop.chunks),
                "metrics": {
                    name: float(np.mean(values, dtype=np.float64))
                    for name, values in row.items()
                    if values.ndim <= 1 and values.size
                },
            }
        )

    def _note(self, text: str) -> None:
        self._report({"event": "note", "task": self._task.path, "text": text})


# Metrics ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Loop:
    """What one loop is called and how its chunks are counted."""

    name: str
    unit: str
    per_chunk: int
    chunks: int

    def count(self, chunks: int) -> int:
        """`chunks` in the loop's unit."""
        return chunks * self.per_chunk

    def row(self, chunk: int, metrics: Mapping[str, Any]) -> bytes:
        """One line of metrics.jsonl; equal numbers give equal bytes."""
        counted = {"loop": self.name, "chunk": chunk, self.unit: self.count(chunk)}
        numbers = {name: plain_numbers(values) for name, values in metrics.items()}
        return json.dumps(counted | numbers, allow_nan=False).encode() + b"\n"


def _on_host(metrics: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The metrics as NumPy arrays, fetched in one go."""
    import jax
    import numpy as np

    return {name: np.asarray(value) for name, value in jax.device_get(dict(metrics)).items()}


def _store(
    history: dict[str, np.ndarray], chunk: int, row: Mapping[str, np.ndarray], loop: _Loop
) -> None:
    """Put `row` at place `chunk` of the history, which the first row lays out."""
    import jax.numpy as jnp
    import numpy as np

    if chunk == 0:
        for name, values in row.items():
            real = jnp.issubdtype(values.dtype, jnp.floating) or values.dtype.kind in "biu"
            if not real or name in ("loop", "chunk", loop.unit):
                raise ValueError(
                    f"Metric {name!r} of loop {loop.name} must be real numbers under a name other "
                    f"than loop, chunk and {loop.unit}; its dtype is {values.dtype}."
                )
            history[name] = np.empty((loop.chunks, *values.shape), values.dtype)
    layout = {name: (values.shape, values.dtype) for name, values in row.items()}
    expected = {name: (values.shape[1:], values.dtype) for name, values in history.items()}
    if layout != expected:
        raise ValueError(
            f"Loop {loop.name} returned metrics {_described(layout)} where it first returned "
            f"{_described(expected)}; every chunk must return the same."
        )
    for name, values in row.items():
        history[name][chunk] = values


def _described(layout: Mapping[str, tuple[Sequence[int], np.dtype]]) -> str:
    return ", ".join(f"{name} {dtype}{list(shape)}" for name, (shape, dtype) in layout.items())
