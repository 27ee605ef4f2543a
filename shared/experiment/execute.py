"""Running the tasks: in this process or in worker processes, each block of seeds exactly once.

A block is finished when its result.npz is there, so whatever happens (a crash, a kill, Ctrl-C, a
lost machine) running again does only what is missing. Results do not depend on how the seeds were
grouped nor on how many workers there were.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.experiment.cli import Options
from shared.experiment.errors import BadInput, ExperimentError, Interrupted, TaskFailed
from shared.experiment.spec import Experiment, Outcome, Task
from shared.experiment.store import RunFolder, explained

if TYPE_CHECKING:
    import numpy as np

    from shared.experiment.loop import StopFlag

Report = Callable[[dict[str, Any]], None]


# What there is to do ------------------------------------------------------------------------------


def plan(tasks: Sequence[Task], default: int, options: Options, on_gpu: bool) -> list[Task]:
    """The tasks as blocks of seeds: --seeds-per-task, else all on a GPU and `default` on a CPU.

    Raises:
        BadInput: two tasks would share a folder.
    """
    keys: set[str] = set()
    for key in sorted(task.key for task in tasks):
        if key in keys:
            raise BadInput(f"Two tasks are called {key}; was a value of an option given twice?")
        keys.add(key)
    seeds_per_block = options.seeds_per_task or (None if on_gpu else default)
    return [block for task in tasks for block in task.blocks(seeds_per_block)]


def missing(blocks: Sequence[Task], folder: RunFolder) -> list[Task]:
    """The blocks that are not finished, longest predicted first."""
    return sorted((b for b in blocks if not folder.has_outcome(b)), key=lambda b: -cost(b))


def cost(block: Task) -> float:
    """Predicted seconds of the block on one core."""
    return block.cpu_seconds * max(1, len(block.seeds))


def cores() -> int:
    """Cores that this process may use (fewer than the machine has, under a scheduler)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def workers(options: Options, blocks: int, on_gpu: bool) -> int:
    """How many worker processes; 0: none, all in this process.

    A single block gets a worker too: the last one of a resumed run computes as the others did.
    """
    if options.workers is None:
        return 0 if on_gpu else min(cores(), blocks)
    return min(options.workers, blocks) if options.workers > 1 else 0


def predicted_seconds(blocks: Sequence[Task], slots: int, on_gpu: bool) -> float:
    """Seconds until all blocks are done, longest first, on `slots` workers.

    On a GPU the tasks' own GPU predictions where they exist (they are for all seeds together).
    """
    if on_gpu and all(b.gpu_seconds is not None for b in blocks):
        return sum(b.gpu_seconds or 0.0 for b in blocks)
    busy = [0.0] * max(1, slots)
    for block in sorted(blocks, key=lambda b: -cost(b)):
        busy[busy.index(min(busy))] += cost(block)
    return max(busy)


def predicted_memory(blocks: Sequence[Task], slots: int) -> float | None:
    """Peak MiB when the largest blocks meet, beside what the Python processes themselves take."""
    sizes = sorted(b.memory_mb * max(1, len(b.seeds)) for b in blocks if b.memory_mb is not None)
    return sum(sizes[-max(1, slots) :]) if sizes else None


def set_up_device(options: Options) -> dict[str, Any]:
    """Choose device and precision, and report them; the compile cache is set up as well."""
    from shared.gpu.devices import setup

    return setup(options.device, options.precision)


# One block ----------------------------------------------------------------------------------------


def run_block(
    experiment: Experiment,
    config: Any,
    task: Task,
    folder: RunFolder,
    report: Report,
    stop: StopFlag,
    options: Options,
) -> None:
    """Run one block, from its checkpoint if it has one, and keep its outcome.

    Raises:
        Interrupted: the run was asked to stop; the state is saved.
        ExperimentError: diverged training, full disk and the like.
    """
    from shared.experiment.loop import TaskRun

    if folder.has_outcome(task):
        report({"event": "done", "task": task.path, "seconds": 0.0})
        return
    report({"event": "start", "task": task.path})
    began = time.monotonic()
    with explained(folder.task(task)):
        folder.task(task).mkdir(parents=True, exist_ok=True)
    run = TaskRun(config, task, folder, report, stop, options.checkpoint_seconds)
    outcome = _checked(task, experiment.run_task(task, run))
    folder.save_outcome(task, outcome)
    report({"event": "done", "task": task.path, "seconds": round(time.monotonic() - began, 3)})


def try_block(
    experiment: Experiment,
    config: Any,
    task: Task,
    folder: RunFolder,
    report: Report,
    stop: StopFlag,
    options: Options,
) -> None:
    """`run_block`, with every way to fail reported as an event instead of raised."""
    try:
        run_block(experiment, config, task, folder, report, stop, options)
    except Interrupted as error:
        report({"event": "stopped", "task": task.path, "text": str(error)})
    except ExperimentError as error:
        report(_failure(task, str(error)))
    except Exception as error:
        report(_failure(task, f"internal error: {type(error).__name__}: {error}"))


def _failure(task: Task, text: str) -> dict[str, Any]:
    return {
        "event": "failed",
        "task": task.path,
        "text": text,
        "traceback": traceback.format_exc(),
    }


def _checked(task: Task, outcome: Outcome) -> dict[str, np.ndarray]:
    """The outcome as NumPy arrays, its first axes being the task's seeds."""
    import numpy as np

    arrays = {name: np.asarray(value) for name, value in outcome.items()}
    for name, array in arrays.items():
        if task.seeds and (array.ndim == 0 or len(array) != len(task.seeds)):
            raise ValueError(
                f"outcome {name!r} of {task.path} has shape {array.shape}, "
                f"but its first axis must be the {len(task.seeds)} seeds"
            )
    return arrays


def join_outcomes(blocks: Sequence[Task], folder: RunFolder) -> dict[str, Mapping[str, np.ndarray]]:
    """The outcomes by task key, with the seeds of all its blocks joined in order."""
    import numpy as np

    by_key: dict[str, list[Task]] = {}
    for block in blocks:
        by_key.setdefault(block.key, []).append(block)
    joined: dict[str, Mapping[str, np.ndarray]] = {}
    for key, parts in by_key.items():
        outcomes = [folder.load_outcome(b) for b in sorted(parts, key=lambda b: b.first_seed)]
        joined[key] = {
            name: np.concatenate([o[name] for o in outcomes]) if len(outcomes) > 1 else first
            for name, first in outcomes[0].items()
        }
    return joined


# All blocks ---------------------------------------------------------------------------------------


def execute(
    experiment: Experiment,
    config: Any,
    folder: RunFolder,
    options: Options,
    report: Report,
    stop: StopFlag,
    blocks: Sequence[Task],
    on_gpu: bool = False,
    keep_open: Sequence[int] = (),
) -> None:
    """Run every block that is not finished.

    Args:
        report: receives each event (README.md of this folder lists them).
        keep_open: file descriptors that worker processes inherit (the lock on the run folder).

    Raises:
        TaskFailed: some blocks failed, each named with its sentence; all others are kept.
        Interrupted: `stop` was set; everything is saved.
    """
    todo = missing(blocks, folder)
    failures: dict[str, str] = {}

    def watch(event: dict[str, Any]) -> None:
        if event["event"] == "failed":
            failures[event["task"]] = event["text"]
            _log(folder.log, f"{event['task']}\n{event.get('traceback', event['text'])}")
        report(event)

    if slots := workers(options, len(todo), on_gpu):
        from shared.experiment.pool import run_in_workers

        run_in_workers(folder, todo, slots, watch, stop, options, on_gpu, keep_open)
    else:
        for task in todo:
            if stop.is_set():
                break
            try_block(experiment, config, task, folder, watch, stop, options)
    if stop.is_set() and missing(blocks, folder):
        raise Interrupted("Interrupted; the state of every task is saved.")
    if failures:
        raise TaskFailed(failure_sentence(failures, len(blocks)))


def failure_sentence(failures: Mapping[str, str], total: int) -> str:
    """What went wrong, by block path, as one message."""
    shown = [f"{task}: {text.rstrip('.')}" for task, text in list(failures.items())[:5]]
    more = f"; and {len(failures) - 5} more" if len(failures) > 5 else ""
    return (
        f"{len(failures)} of {total} tasks failed, the others are kept. "
        + "; ".join(shown)
        + more
        + "."
    )


def _log(path: Path, text: str) -> None:
    """Add to the run's log; a full disk must not hide the failure that is being logged."""
    try:
        with open(path, "a", encoding="utf-8") as log:
            log.write(text.rstrip() + "\n")
    except OSError:
        pass
