"""What a paper hands to the engine: its tasks, what they return, and the claims judged on it.

    Config -> tasks(config) -> run_task(task, run) for each -> collect(config, outcomes) -> Results
           -> claims and figures

Nothing here imports anything heavy: `--help` reads these types.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, SupportsFloat, TypeVar, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

State = TypeVar("State")
Outcome = Mapping[str, "np.ndarray"]
"""What one task returns: arrays by name; with seeds, each first axis is the task's seeds."""

Results = Mapping[str, "np.ndarray"]
"""What a whole run returns: plain arrays by name, small enough to keep in git."""

PRESET_NAMES = ("smoke", "quick", "cpu", "paper")
DEFAULT_PRESET = "quick"
_KEY = re.compile(r"[a-z0-9][A-Za-z0-9._=-]*(/[a-z0-9][A-Za-z0-9._=-]*)*")


@dataclass(frozen=True)
class Task:
    """One independent piece of an experiment, with a block of its seeds inside.

    A task is the unit of progress, of resuming and of distribution. The paper lists a task with
    *all* its seeds; the engine splits it into blocks of seeds and joins the outcomes again, so a
    result never depends on how the seeds were grouped.

    Attributes:
        key: stable name, lower-case path-like: `risk_neutral/asset=0/omega=35/agent=dsup`.
        params: what distinguishes this task, as JSON values; handed back to `run_task`.
        seeds: the seeds of this task or block, consecutive; empty for a deterministic task.
        cpu_seconds: predicted seconds of one CPU core for one seed (for the time left).
        gpu_seconds: predicted seconds on one GPU for all seeds together, if known.
        memory_mb: predicted peak MiB for one seed, if known.
    """

    key: str
    params: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    cpu_seconds: float = 1.0
    gpu_seconds: float | None = None
    memory_mb: float | None = None

    def __post_init__(self) -> None:
        if not _KEY.fullmatch(self.key):
            raise ValueError(f"Task key {self.key!r} must look like part=value/part=value.")
        if self.seeds != tuple(range(self.first_seed, self.first_seed + len(self.seeds))):
            raise ValueError(f"Seeds of task {self.key} must be consecutive; got {self.seeds}.")

    @property
    def first_seed(self) -> int:
        """The smallest seed, 0 for a deterministic task."""
        return self.seeds[0] if self.seeds else 0

    @property
    def path(self) -> str:
        """Folder of this block below `tasks/`: the key, and the seeds where there are any."""
        return f"{self.key}/seeds-{self.seeds[0]}-{self.seeds[-1]}" if self.seeds else self.key

    def blocks(self, seeds_per_block: int | None) -> list[Task]:
        """This task as blocks of at most `seeds_per_block` seeds (None: all in one block)."""
        if not self.seeds or seeds_per_block is None:
            return [self]
        starts = range(0, len(self.seeds), seeds_per_block)
        return [replace(self, seeds=self.seeds[i : i + seeds_per_block]) for i in starts]


@runtime_checkable
class Run(Protocol):
    """What `run_task` may use of the engine: its configuration and a loop that survives."""

    @property
    def config(self) -> Any:
        """The paper's Config."""
        ...

    @property
    def folder(self) -> Path:
        """This task's own folder."""
        ...

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
        """Apply `step` `chunks` times, with progress, metrics, checkpoints and resume.

        Args:
            state: initial pytree (arrays, typed PRNG keys, numbers); it must determine the rest
                of the loop. On resume it only serves as the template of the saved state.
            step: one chunk of work, usually a compiled scan; returns the new state and metrics
                (numbers or arrays by name, seeds first). Metrics must be finite.
            chunks: how many calls make the whole loop.
            name: distinguishes several loops of one task.
            unit, per_chunk: what one chunk counts as, for progress and `metrics.jsonl`.

        Returns:
            The final state and the metrics of every chunk, stacked on a new first axis. Bit for
            bit the same whether or not the run was killed and resumed in between.

        Raises:
            Diverged: a metric is NaN or infinite; the last good checkpoint stays.
            Interrupted: the run was asked to stop; state is saved.
        """
        ...


@dataclass(frozen=True)
class Estimate:
    """A measured number with its interval.

    Attributes:
        value: the point estimate. low, high: its interval at `level`; equal to `value` when exact.
        label: which number this is, where a claim measures several.
        n: how many independent runs (seeds x assets, say) are behind it; None when exact.
        detectable: smallest difference that this many runs could have detected (80 % power), where
            the estimate is a difference.
    """

    value: float
    low: float
    high: float
    label: str = ""
    unit: str = ""
    n: int | None = None
    level: float = 0.95
    detectable: float | None = None

    @classmethod
    def exact(cls, value: SupportsFloat, label: str = "", unit: str = "") -> Estimate:
        """A number without sampling error."""
        return cls(float(value), float(value), float(value), label, unit)


class Verdict(StrEnum):
    """What the evidence says of a claim."""

    REPRODUCED = "reproduced"
    PARTLY = "partly"
    NOT_REPRODUCED = "not reproduced"
    NOT_RUN = "not run at this preset"
    NOT_ATTEMPTED = "not attempted"


@dataclass(frozen=True)
class Claim:
    """One statement of the paper and the rule, fixed beforehand, that judges our evidence on it.

    Attributes:
        id: C1, C2, ...
        statement: the claim in our words.
        place: where the paper says it (section, theorem, figure).
        paper_value: the paper's number as text; empty when it is not known.
        measured_as: what we measure, in words.
        rule: the verdict rule in words, exactly what `judge` does.
        measure: results -> estimates; None when this preset did not run what it takes.
        judge: estimates -> verdict.
        finding: why it did not (fully) reproduce, once we know; shown beside such a verdict.
        not_attempted: the reason, for a claim that this code does not try.
    """

    id: str
    statement: str
    place: str
    measured_as: str
    rule: str
    measure: Callable[[Results], Sequence[Estimate] | None] = lambda _: None
    judge: Callable[[Sequence[Estimate]], Verdict] = lambda _: Verdict.NOT_RUN
    paper_value: str = ""
    finding: str = ""
    not_attempted: str = ""


@dataclass(frozen=True)
class Experiment:
    """A paper as the engine sees it: plain functions over its frozen Config dataclass.

    Attributes:
        name: the subpackage, `superiority` for papers/superiority.
        title: the publication's title.
        entry: where worker processes find this object: `papers.superiority.run:EXPERIMENT`.
        presets: Config by preset name; all of smoke, quick, cpu and paper. A Config has an integer
            field `seeds`, documents each field, and refuses bad values in `__post_init__` with a
            `ValueError` whose message is one sentence.
        tasks: config -> tasks, each with all its seeds.
        run_task: (task, run) -> outcome. Pure but for `run`.
        collect: (config, outcomes by task key, seeds joined) -> results.
        claims: every claim of the paper.
        figures: results -> (file stem, figure) pairs; draws, computes nothing.
        seeds_per_task: how many seeds a CPU worker takes at once (on a GPU: all of them).
    """

    name: str
    title: str
    entry: str
    presets: Mapping[str, Any]
    tasks: Callable[[Any], Sequence[Task]]
    run_task: Callable[[Task, Run], Outcome]
    collect: Callable[[Any, Mapping[str, Outcome]], Results]
    claims: Sequence[Claim]
    figures: Callable[[Results], Iterable[tuple[str, Figure]]]
    seeds_per_task: int = 1
