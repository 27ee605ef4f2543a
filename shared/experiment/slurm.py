"""The tasks as jobs of a Slurm cluster: a job array, one block of seeds a job, through submitit.

A job runs its block as a local worker would and leaves the same files. Told to leave, it saves its
state, puts itself back into the queue and goes on from there when it starts again. That happens

- shortly before its time limit: Slurm sends it SIGUSR1,
- when it is pre-empted with a grace time: SIGTERM while Slurm still calls it running.

A job that Slurm itself requeues (pre-emption without grace, a lost node, `scontrol requeue`) goes
on from its last checkpoint, at most `--checkpoint-seconds` old. One that ended without a result
(time limit in mid-chunk, out of memory) is submitted once more, and again as long as it gets
further.

Whether a block is finished its result.npz tells, and whether its job still lives `squeue`; no
accounting (`sacct`) is needed. Ctrl-C while waiting leaves the jobs alone; `--resume` finds them,
collects what is done and submits what is missing.

On a real cluster:

- This repository and the run folder must lie on a file system that the compute nodes share with the
  machine you launch from, under the same path. A node's own /tmp will not do.
- Jobs use the very Python that launched them, so there is one environment for both. It needs
  `uv sync --extra slurm`, and for `--gpus-per-task` a CUDA build of jax too (`--group cuda12`).
- A job without `--gpus-per-task` computes on the CPU.
- Whatever else sbatch should know it takes from its own variables, such as SBATCH_CONSTRAINT or
  SBATCH_MEM_PER_NODE (`man sbatch`, "input environment variables").
- Logs are in the run folder: slurm/logs/<job>_0_log.out and .err.
"""

from __future__ import annotations

import functools
import json
import os
import shlex
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.experiment import slurm_job, slurm_queue, store
from shared.experiment.cli import Options
from shared.experiment.errors import (
    BadInput,
    ExperimentError,
    Interrupted,
    MissingExtra,
    TaskFailed,
)
from shared.experiment.execute import Report, failure_sentence
from shared.experiment.pool import worker_environment
from shared.experiment.spec import Experiment, Task
from shared.experiment.store import RunFolder

if TYPE_CHECKING:
    from shared.experiment.loop import StopFlag

_ROOT = Path(__file__).parents[2]
_PROGRAMS = ("sbatch", "srun", "squeue", "sinfo", "scontrol")
_ARRAY_SIZE = 1000  # jobs in one array; Slurm's own default limit is 1001
_TRIES = 2  # submissions of a block that gets no further


# Submitting ---------------------------------------------------------------------------------------


def check_cluster(options: Options) -> None:
    """Refuse, in one sentence, what could not work.

    Raises:
        MissingExtra: submitit is not installed.
        BadInput: no Slurm on this machine, unknown partition, options that contradict each other.
        ExperimentError: Slurm does not answer.
    """
    _submitit()
    for program in _PROGRAMS:
        if shutil.which(program) is None:
            raise BadInput(
                f"Slurm's {program} is not on this machine; use --launch local, "
                "or start from a login node of the cluster."
            )
    if options.device == "gpu" and not options.gpus_per_task:
        raise BadInput("--device gpu on Slurm needs --gpus-per-task of at least 1.")
    names = slurm_queue.ask("sinfo", "--noheader", "--format=%R").split()
    for name in (options.partition or "").split(","):
        if name and name not in names:
            raise BadInput(
                f"There is no Slurm partition {name!r}; there are: {', '.join(sorted(set(names)))}."
            )


def sbatch_parameters(name: str, options: Options) -> dict[str, Any]:
    """What submitit is to ask of sbatch for each job."""
    # Saving may have to wait for the end of a chunk, but must not take a short limit's larger part.
    notice = min(120, 15 * options.minutes_per_task)
    on_gpu = options.gpus_per_task > 0
    variables = worker_environment(os.environ, on_gpu)
    wanted = {
        "job_name": name,
        "time": options.minutes_per_task,
        "nodes": 1,
        "ntasks_per_node": 1,
        "cpus_per_task": options.cpus_per_task,
        "gpus_per_node": options.gpus_per_task or None,  # one task on one node: the same, older
        "partition": options.partition,
        "account": options.account,
        "qos": options.qos,
        "wckey": None,  # submitit's own; clusters that check it would refuse the job
        "setup": [f"export {key}={shlex.quote(value)}" for key, value in variables.items()],
        # Since Slurm 22.05 a step no longer takes the job's cores by itself.
        "srun_args": [f"--cpus-per-task={options.cpus_per_task}"],
        "additional_parameters": {
            "chdir": str(_ROOT),
            "requeue": True,
            "signal": f"USR1@{notice}",
        },
    }
    return {key: value for key, value in wanted.items() if value is not None or key == "wckey"}


def submit(
    name: str, folder: RunFolder, blocks: Sequence[Task], options: Options
) -> dict[str, str]:
    """Submit a job for each block; job ids (`12_3`) by block path, also kept in slurm/jobs.json.

    Raises:
        ExperimentError: sbatch refused, with its reason.
    """
    submitit = _submitit()
    root = folder.root.resolve()
    jobs = read_jobs(folder)
    for start in range(0, len(blocks), _ARRAY_SIZE):
        part = blocks[start : start + _ARRAY_SIZE]
        for block in part:
            slurm_job.events_path(root, block.path).unlink(missing_ok=True)
        executor = submitit.SlurmExecutor(folder=root / "slurm" / "logs")
        executor.update_parameters(**sbatch_parameters(name, options))
        calls = [functools.partial(slurm_job.run_job, str(root), block.path) for block in part]
        try:
            with redirect_stderr(StringIO()):  # sbatch's words come as the error's text too
                submitted = executor.submit_array(calls)
        except (submitit.core.utils.FailedJobError, FileNotFoundError) as error:
            raise ExperimentError(
                f"Slurm refused the jobs: {slurm_queue.last_words(str(error))}."
            ) from error
        jobs |= {block.path: job.job_id for block, job in zip(part, submitted, strict=True)}
        store.write_json(_jobs_path(folder), {"jobs": jobs})
    return jobs


def read_jobs(folder: RunFolder) -> dict[str, str]:
    """The last job of each block that was ever submitted."""
    if not _jobs_path(folder).exists():
        return {}
    return dict(store.read_json(_jobs_path(folder))["jobs"])


def live_jobs(folder: RunFolder) -> dict[str, str]:
    """The jobs of this run that are queued or running now, by block path.

    Raises:
        ExperimentError: Slurm does not answer.
    """
    jobs = read_jobs(folder)
    states = slurm_queue.states() if jobs else {}
    return {path: job for path, job in jobs.items() if not slurm_queue.ended(states.get(job, ""))}


def refuse_while_jobs_live(folder: RunFolder) -> None:
    """Keep a local command out of a run on which Slurm jobs still work.

    Raises:
        BadInput: there are such jobs. Where Slurm does not answer nothing is known, nor refused.
    """
    living: dict[str, str] = {}
    with suppress(ExperimentError):
        living = live_jobs(folder)
    if living:
        ids = slurm_queue.ids(living.values())
        raise BadInput(
            f"Slurm jobs of this run are still queued or running ({ids}); collect them with "
            f"--launch slurm, or end them with `scancel {ids}`."
        )


def _jobs_path(folder: RunFolder) -> Path:
    return folder.root / "slurm" / "jobs.json"


def _submitit() -> Any:
    try:
        import submitit
    except ImportError as error:
        raise MissingExtra(
            "--launch slurm needs the package submitit: run `uv sync --extra slurm`."
        ) from error
    return submitit


# Waiting ------------------------------------------------------------------------------------------


@dataclass
class _Watched:
    """A block that is not finished, and what is known of its job.

    Attributes:
        heard: bytes of the job's events that were read. seconds: what a finished block took.
        failed: the sentence of its failure.
        ended: when its job was first seen to have left the queue, on the monotonic clock.
        tries: submissions since it last got further. size: of its metrics then, in bytes.
    """

    block: Task
    job: str
    size: int
    heard: int = 0
    seconds: float = 0.0
    failed: str = ""
    ended: float | None = None
    tries: int = 1


def launch(
    experiment: Experiment,
    config: Any,
    folder: RunFolder,
    blocks: Sequence[Task],
    options: Options,
    report: Report,
    stop: StopFlag,
    poll_seconds: float = 5.0,
    patience_seconds: float = 60.0,
) -> bool:
    """Run every block that is not finished as a Slurm job; run.json must be written already.

    Args:
        config: not used here: jobs read it from run.json.
        report: receives the jobs' events, and notes on the state of the queue.
        stop: set it to end the waiting; the jobs go on.
        patience_seconds: how long a result may take to show after its job has ended (network file
            systems are late).

    Returns:
        Whether all blocks are finished; with --no-wait this returns once jobs are submitted.

    Raises:
        BadInput, MissingExtra, ExperimentError: as `check_cluster` and `submit`.
        Interrupted: `stop` was set while waiting.
        TaskFailed: some blocks failed, each named with its sentence; all others are kept.
    """
    check_cluster(options)
    todo = [block for block in blocks if not folder.has_outcome(block)]
    living = live_jobs(folder)
    fresh = [block for block in todo if block.path not in living]
    jobs = submit(experiment.name, folder, fresh, options)
    if todo:
        text = f"{len(fresh)} jobs submitted, {len(todo) - len(fresh)} already there"
        report(slurm_queue.note(text))
    if not (todo and options.wait):
        return not todo
    watched = [_Watched(b, jobs[b.path], _metrics_size(folder, b)) for b in todo]

    def resubmit(lost: Sequence[_Watched]) -> dict[str, str]:
        return submit(experiment.name, folder, [watch.block for watch in lost], options)

    _wait(watched, folder, report, stop, resubmit, poll_seconds, patience_seconds)
    if failures := {watch.block.path: watch.failed for watch in watched if watch.failed}:
        raise TaskFailed(failure_sentence(failures, len(blocks)))
    return True


def _wait(
    watched: Sequence[_Watched],
    folder: RunFolder,
    report: Report,
    stop: StopFlag,
    resubmit: Callable[[Sequence[_Watched]], dict[str, str]],
    poll_seconds: float,
    patience_seconds: float,
) -> None:
    """Return when each block is finished or has failed."""
    status = slurm_queue.Status()
    waiting = list(watched)
    while True:
        _sleep(poll_seconds, stop)
        if stop.is_set():
            ids = slurm_queue.ids(watch.job for watch in waiting)
            raise Interrupted(
                f"Stopped waiting; the Slurm jobs {ids} go on (`scancel {ids}` would end them)."
            )
        for watch in list(waiting):
            _forward(watch, folder, report)
            if folder.has_outcome(watch.block):
                watch.failed = ""
                report({"event": "done", "task": watch.block.path, "seconds": watch.seconds})
                waiting.remove(watch)
            elif watch.failed:
                waiting.remove(watch)
        if not waiting:
            return
        try:
            states = slurm_queue.states()
        except ExperimentError:  # a controller that is away for a while
            continue
        status.show([states.get(watch.job, "") for watch in waiting], report)
        lost = [watch for watch in waiting if _is_lost(watch, states, patience_seconds)]
        again = [watch for watch in lost if _deserves_another(watch, folder, states, report)]
        if again:
            _submit_again(again, resubmit, report)


def _forward(watch: _Watched, folder: RunFolder, report: Report) -> None:
    """Pass on what the job has said since the last call, and remember how it ended."""
    try:
        with open(slurm_job.events_path(folder.root, watch.block.path), "rb") as file:
            file.seek(watch.heard)
            whole, newline, _ = file.read().rpartition(b"\n")
    except OSError:  # not there yet
        return
    watch.heard += len(whole) + len(newline)
    for line in whole.splitlines():
        try:
            event = json.loads(line)
        except ValueError:  # a job killed in mid-line, which the next one went on from
            continue
        if event["event"] == "done":  # what counts is that its result is there
            watch.seconds = event["seconds"]
            continue
        if event["event"] == "failed":
            watch.failed = event["text"]
        report(event)


def _is_lost(watch: _Watched, states: Mapping[str, str], patience_seconds: float) -> bool:
    """Whether the job left the queue so long ago that its result would be seen by now."""
    if not slurm_queue.ended(states.get(watch.job, "")):
        watch.ended = None
        return False
    watch.ended = watch.ended or time.monotonic()
    return time.monotonic() - watch.ended >= patience_seconds


def _deserves_another(
    watch: _Watched, folder: RunFolder, states: Mapping[str, str], report: Report
) -> bool:
    """Whether to submit a lost block again; if not, it has failed.

    As long as it gets further it may be submitted any number of times, else `_TRIES` times; never
    again in this command when someone cancelled it.
    """
    size = _metrics_size(folder, watch.block)
    if size > watch.size:
        watch.tries, watch.size = 0, size
    cause = slurm_queue.cause(watch.job, states.get(watch.job, ""))
    text = f"its Slurm job {watch.job} ended without a result ({cause})"
    path = watch.block.path
    if cause == "CANCELLED" or watch.tries >= _TRIES:
        watch.failed = f"{text}; its log is {log_path(folder, watch.job)}"
        report({"event": "failed", "task": path, "text": watch.failed})
        return False
    report({"event": "died", "task": path, "text": f"{text}; submitting it again"})
    return True


def _submit_again(
    lost: Sequence[_Watched],
    resubmit: Callable[[Sequence[_Watched]], dict[str, str]],
    report: Report,
) -> None:
    try:
        jobs = resubmit(lost)
    except ExperimentError as error:
        for watch in lost:
            watch.failed = str(error)
            report({"event": "failed", "task": watch.block.path, "text": watch.failed})
        return
    for watch in lost:
        watch.job, watch.heard, watch.ended = jobs[watch.block.path], 0, None
        watch.tries += 1


def log_path(folder: RunFolder, job: str) -> Path:
    """What the job wrote to standard error."""
    return folder.root / "slurm" / "logs" / f"{job}_0_log.err"


def _metrics_size(folder: RunFolder, block: Task) -> int:
    path = folder.task(block) / "metrics.jsonl"
    return path.stat().st_size if path.exists() else 0


def _sleep(seconds: float, stop: StopFlag) -> None:
    """Wait in short pieces, so that Ctrl-C is heard at once."""
    end = time.monotonic() + seconds
    while not stop.is_set() and (left := end - time.monotonic()) > 0:
        time.sleep(min(0.2, left))
