"""What a person sees while a run goes on: a live display on a terminal, plain lines elsewhere.

Both displays take the same events (README.md of this folder) and share the same bookkeeping: the
part of the predicted work that is done, and from it the time left.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

LINE_SECONDS = 10.0


@dataclass(frozen=True)
class Header:
    """What is said before anything runs.

    Attributes:
        runs: seeds summed over tasks (a deterministic task counts once).
        work: predicted seconds by block path; `finished`: those that are done already.
        workers: worker processes, 0 for none. seconds, memory_mb: predictions; None: unknown.
    """

    title: str
    paper: str
    preset: str
    device: str
    precision: str
    tasks: int
    runs: int
    workers: int
    folder: str
    seconds: float
    memory_mb: float | None
    work: Mapping[str, float]
    finished: frozenset[str] = frozenset()
    where: str = ""

    def lines(self) -> list[str]:
        """The header as text."""
        where = self.where or (
            plural(self.workers, "worker") if self.workers else "in this process"
        )
        memory = f", memory about {amount(self.memory_mb)}" if self.memory_mb else ""
        done = f" ({len(self.finished)} finished before)" if self.finished else ""
        return [
            self.title,
            f"  paper {self.paper}, preset {self.preset}, device {self.device}, "
            f"precision {self.precision}",
            f"  {plural(self.tasks, 'task')}, {plural(self.runs, 'seeded run')} in "
            f"{plural(len(self.work), 'block')}{done}, {where}",
            f"  expected: {duration(self.seconds)}{memory}",
            f"  folder {self.folder}",
        ]


# Bookkeeping --------------------------------------------------------------------------------------


@dataclass
class Tally:
    """How much of the predicted work is done.

    Attributes:
        work: predicted seconds by block path. fractions: the part of each block that is done.
    """

    work: Mapping[str, float]
    predicted: float
    began: float
    fractions: dict[str, float] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    before: float = 0.0

    @classmethod
    def of(cls, header: Header, now: float) -> Tally:
        """The state at the start of a run."""
        tally = cls(header.work, header.seconds, now)
        tally.fractions = dict.fromkeys(header.finished, 1.0)
        tally.ended = set(header.finished)
        tally.before = tally.fraction()
        return tally

    def take(self, event: Mapping[str, Any]) -> None:
        """Count one event."""
        task = event.get("task", "")
        match event["event"]:
            case "progress":
                self.fractions[task] = event["fraction"]
            case "done" | "failed":
                self.fractions[task] = 1.0
                self.ended.add(task)

    def fraction(self) -> float:
        """The part of all predicted work that is done, 0 to 1."""
        total = sum(self.work.values())
        done = sum(self.work.get(task, 0.0) * part for task, part in self.fractions.items())
        return min(1.0, done / total) if total > 0 else 0.0

    def seconds_left(self, now: float) -> float:
        """The prediction at first, then more and more the pace that was measured."""
        done, elapsed = self.fraction(), now - self.began
        here = (done - self.before) / (1 - self.before) if self.before < 1 else 1.0
        predicted = max(0.0, self.predicted - elapsed)
        if here <= 0:
            return predicted
        measured = elapsed * (1 - here) / here
        trust = min(1.0, 5 * here)  # fully from a fifth of the work on
        return trust * measured + (1 - trust) * predicted


def duration(seconds: float) -> str:
    """`40 s`, `3 min`, `2 h 05 min`: as exact as a prediction deserves."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def amount(mebibytes: float) -> str:
    """`300 MiB` or `2.5 GiB`."""
    return f"{mebibytes:.0f} MiB" if mebibytes < 1000 else f"{mebibytes / 1024:.1f} GiB"


def plural(count: int, noun: str) -> str:
    """`1 task`, `2 tasks`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _metrics(event: Mapping[str, Any]) -> str:
    """The first two metrics of a progress event."""
    return "  ".join(f"{name} {value:.4g}" for name, value in list(event["metrics"].items())[:2])


# Displays -----------------------------------------------------------------------------------------


def choose(quiet: bool, stream: Any = None) -> Lines | Live:
    """The display for `stream` (default: standard output): live on a terminal, else lines."""
    out = sys.stdout if stream is None else stream
    if not quiet and out.isatty():
        from rich.console import Console

        return Live(Console(file=out))
    return Lines(out, quiet)


class Lines:
    """Plain lines: each task's end, and the state of the whole at most every ten seconds.

    Args:
        stream: any text stream.
        quiet: only what went wrong.
    """

    def __init__(
        self,
        stream: Any,
        quiet: bool = False,
        seconds: float = LINE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream, self._quiet, self._seconds, self._clock = stream, quiet, seconds, clock
        self._last = 0.0
        self._tally: Tally | None = None

    def start(self, header: Header) -> None:
        """Print the header."""
        self._last = self._clock()
        self._tally = Tally.of(header, self._last)
        if not self._quiet:
            for line in header.lines():
                self._print(line)

    def event(self, event: Mapping[str, Any]) -> None:
        """Print what matters of the event."""
        tally = self._tally
        if tally is None:
            return
        tally.take(event)
        kind, task = event["event"], event.get("task", "")
        text = event.get("text", "")
        if kind in ("failed", "note", "died"):
            self._print(f"{_SAID[kind]}{task}: {text}")
        elif self._quiet:
            return
        elif kind in ("start", "stopped"):
            self._print(f"{_SAID[kind]}{task}")
        elif kind == "done":
            self._print(f"{self._state()}  done {task} ({duration(event['seconds'])})")
        elif kind == "progress" and self._clock() - self._last >= self._seconds:
            here = f"{task} {event['done']}/{event['total']} {event['unit']}"
            self._print(f"{self._state()}  {here}  {_metrics(event)}".rstrip())

    def finish(self) -> None:
        """Nothing to tidy up."""

    def _state(self) -> str:
        assert self._tally is not None
        self._last = self._clock()
        left = duration(self._tally.seconds_left(self._last))
        total = len(self._tally.work)
        return (
            f"[{self._tally.fraction():4.0%}] {len(self._tally.ended)}/{total} blocks, {left} left"
        )

    def _print(self, line: str) -> None:
        print(line, file=self._stream, flush=True)


_SAID = {
    "start": "start ",
    "failed": "FAILED ",
    "note": "note ",
    "died": "retry ",
    "stopped": "saved ",
}


class Live:
    """A bar for the whole run and one for each block that runs now."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        self._console, self._clock = console, clock
        self._bars: dict[str, Any] = {}
        self._tally: Tally | None = None
        self._overall: Any = None
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:3.0f}%"),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
            transient=True,
            refresh_per_second=4,
        )

    def start(self, header: Header) -> None:
        """Print the header and open the display."""
        self._tally = Tally.of(header, self._clock())
        for line in header.lines():
            self._say(line)
        self._overall = self._progress.add_task("all", total=1.0, note="")
        self._progress.start()
        self._refresh()

    def event(self, event: Mapping[str, Any]) -> None:
        """Move the bars; say what must not be missed above them."""
        if self._tally is None:
            return
        self._tally.take(event)
        kind, task = event["event"], event.get("task", "")
        if kind in ("start", "progress") and task not in self._bars:
            self._bars[task] = self._progress.add_task(task, total=1.0, note="")
        if kind == "progress":
            self._progress.update(
                self._bars[task], completed=event["fraction"], note=_metrics(event)
            )
        elif kind in ("done", "failed", "stopped", "died") and task in self._bars:
            self._progress.remove_task(self._bars.pop(task))
        if kind in ("failed", "note", "died"):
            self._say(f"{_SAID[kind]}{task}: {event['text']}")
        self._refresh()

    def finish(self) -> None:
        """Remove the bars."""
        self._progress.stop()

    def _refresh(self) -> None:
        assert self._tally is not None
        done, total = len(self._tally.ended), len(self._tally.work)
        left = duration(self._tally.seconds_left(self._clock()))
        self._progress.update(
            self._overall,
            completed=self._tally.fraction(),
            note=f"{done}/{total} blocks, {left} left",
        )

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)
