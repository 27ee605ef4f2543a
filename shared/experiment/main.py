"""A paper's command, from the arguments to the exit code.

    argv -> configuration -> tasks -> outcomes -> results.json -> claims.json -> figures -> table

Exit codes: 0 done, 1 failed, 2 bad arguments, 3 a claim fell short under --strict, 130 interrupted.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.experiment import cli, execute, progress, record
from shared.experiment.cli import Options, Request
from shared.experiment.errors import BadInput, ExperimentError, Interrupted
from shared.experiment.record import Record
from shared.experiment.spec import Experiment, Task
from shared.experiment.store import RunFolder, encode_results, explained, write_json

if TYPE_CHECKING:
    from shared.experiment.loop import StopFlag

FELL_SHORT = 3
_LOCK_SECONDS = 60.0


def main(experiment: Experiment, argv: Sequence[str] | None = None) -> int:
    """Run `experiment` as the command line says; returns the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(experiment, cli.parse(experiment, argv))
    except SystemExit as done:  # --help
        return int(done.code or 0)
    except ExperimentError as error:
        _explain(str(error), argv)
        return error.exit_code
    except KeyboardInterrupt:
        _explain("Interrupted before anything was running.", argv)
        return Interrupted.exit_code
    except BrokenPipeError:  # whoever read our output has left: `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except Exception as error:
        _explain(f"internal error: {type(error).__name__}: {error} (--debug shows where)", argv)
        return 1


def _explain(sentence: str, argv: Sequence[str]) -> None:
    if "--debug" in argv:
        traceback.print_exc()
    print(sentence, file=sys.stderr)


# A run --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Job:
    """Everything that is settled before the first task starts."""

    experiment: Experiment
    folder: RunFolder
    saved: Record
    device: Mapping[str, Any]
    on_gpu: bool
    lock: tuple[int, ...]

    @property
    def options(self) -> Options:
        return self.saved.options


def _run(experiment: Experiment, request: Request) -> int:
    began = time.monotonic()
    with ExitStack() as stack:
        resuming = request.options.resume is not None
        job = (
            _resume(experiment, request, stack) if resuming else _start(experiment, request, stack)
        )
        status = "failed"
        try:
            complete = _execute(job)
            rows = _conclude(job, began) if complete else []
            status = "done" if complete else "running"
        except (Interrupted, KeyboardInterrupt) as error:
            status = "interrupted"
            command = record.resume_command(job.folder, experiment)
            raise Interrupted(f"{str(error) or 'Interrupted.'} Go on with: {command}") from error
        except ExperimentError as error:
            command = record.resume_command(job.folder, experiment)
            raise type(error)(f"{error} Run the rest with: {command}") from error
        finally:
            with suppress(ExperimentError):  # a full disk has been explained already
                record.update(job.folder, status)
        if job.options.publish and complete:
            _publish(job)
        from shared.experiment import ledger

        return FELL_SHORT if job.options.strict and ledger.fell_short(rows) else 0


def _start(experiment: Experiment, request: Request, stack: ExitStack) -> _Job:
    """A new run folder with its run.json."""
    from shared.experiment import evidence, provenance

    options = request.options
    described = provenance.describe(_command(experiment, request))
    if options.publish:
        evidence.refuse_unless_repeatable(request.config, [described])
    device, on_gpu = _device(options)
    tasks = experiment.tasks(request.config)
    blocks = execute.plan(tasks, experiment.seeds_per_task, options, on_gpu)
    assert request.preset is not None
    saved = Record(request.preset, request.config, options, tuple(blocks))
    folder = RunFolder.create(experiment.name, options.out)
    lock = stack.enter_context(_lock(folder))
    record.write(folder, experiment, saved, described, device)
    return _Job(experiment, folder, saved, device, on_gpu, lock)


def _resume(experiment: Experiment, request: Request, stack: ExitStack) -> _Job:
    """An earlier run, with the options given now."""
    from shared.experiment import evidence, provenance, slurm

    folder = RunFolder.find(experiment.name, request.options.resume or "")
    if request.options.out is not None:
        raise BadInput("A resumed run stays in its folder; leave out --out.")
    lock = stack.enter_context(_lock(folder))
    saved = record.read(folder, experiment)
    if request.preset not in (None, saved.preset):
        raise BadInput(f"{folder.root} was run with preset {saved.preset}, not {request.preset}.")
    saved = replace(saved, options=cli.resumed_options(request, saved.options))
    if saved.options.launch == "local":
        slurm.refuse_while_jobs_live(folder)
    if not (folder.root / "slurm").exists():  # its jobs may be writing
        folder.remove_leftovers()
    described = provenance.describe(_command(experiment, request))
    if saved.options.publish:
        origins = [*record.origins(folder), described]
        evidence.refuse_unless_repeatable(saved.config, origins)
    device, on_gpu = _device(saved.options)
    record.note_resumption(folder, saved.options, described)
    return _Job(experiment, folder, saved, device, on_gpu, lock)


def _command(experiment: Experiment, request: Request) -> list[str]:
    return ["python", "-m", experiment.entry.split(":")[0], *request.argv]


def _device(options: Options) -> tuple[Mapping[str, Any], bool]:
    """The device report, and whether the tasks run on a GPU; cluster jobs report for themselves."""
    if options.launch == "slurm":
        from shared.experiment import slurm

        slurm.check_cluster(options)
        on_gpu = options.gpus_per_task > 0 or options.device == "gpu"
        return {"platform": "gpu" if on_gpu else "cpu", "kind": "Slurm jobs"}, on_gpu
    device = execute.set_up_device(options)
    device.pop("cache", None)  # a path of this machine, of no use in a record
    return device, device["platform"] != "cpu"


@contextmanager
def _lock(folder: RunFolder) -> Iterator[tuple[int, ...]]:
    """Hold the run folder, so that no two commands work in it at once.

    Worker processes inherit the lock: it lasts until the last of them has gone, also when their
    parent was killed. Waits a while for those to leave.
    """
    try:
        import fcntl
    except ImportError:  # not on this system
        yield ()
        return
    path = folder.root / "lock"
    with explained(path):
        file = open(path, "a")  # noqa: SIM115 - closed below
    with file:
        descriptor = file.fileno()
        deadline = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise BadInput(
                        f"Another command is still working in {folder.root}; wait or stop it."
                    ) from None
                time.sleep(0.1)
            except OSError:  # a file system without locks
                break
        yield (descriptor,)


# Its parts ----------------------------------------------------------------------------------------


def _execute(job: _Job) -> bool:
    """Run what is missing; False if it was only submitted to a cluster."""
    from shared.experiment.loop import StopFlag, install_signal_handlers

    todo = execute.missing(job.saved.blocks, job.folder)
    if not todo:
        return True
    display = progress.choose(job.options.quiet)
    stop = StopFlag()
    restore_signals = install_signal_handlers(stop)
    try:
        display.start(_header(job, todo))
        with _reporting(job, display) as report:
            return _launch(job, todo, report, stop)
    finally:
        display.finish()
        restore_signals()


@contextmanager
def _reporting(job: _Job, display: progress.Lines | progress.Live) -> Iterator[execute.Report]:
    """Where events go: to the display, and their metrics to the tracker that was asked for."""
    from shared.experiment.track import tracker

    mirror = tracker(
        job.options.track,
        job.folder.root,
        job.experiment.name,
        cli.config_to_json(job.saved.config),
        lambda text: display.event({"event": "note", "task": "tracker", "text": text}),
    )

    def report(event: dict[str, Any]) -> None:
        display.event(event)
        if job.options.debug and "traceback" in event:
            print(event["traceback"], file=sys.stderr)
        if event["event"] == "progress":
            mirror.log(event["task"], {**event["metrics"], "done": event["done"]})

    try:
        yield report
    finally:
        mirror.finish()


def _launch(job: _Job, todo: Sequence[Task], report: execute.Report, stop: StopFlag) -> bool:
    """Run the blocks `todo` here or on the cluster; False if they were only submitted."""
    experiment, config, folder, options = job.experiment, job.saved.config, job.folder, job.options
    if options.launch == "local":
        execute.execute(
            experiment,
            config,
            folder,
            options,
            report,
            stop,
            job.saved.blocks,
            job.on_gpu,
            job.lock,
        )
        return True
    from shared.experiment import slurm

    finished = slurm.launch(experiment, config, folder, todo, options, report, stop)
    if not finished:
        print(f"collect later: {record.resume_command(folder, experiment)}")
    return finished


def _header(job: _Job, todo: Sequence[Task]) -> progress.Header:
    blocks, options = job.saved.blocks, job.options
    slots = execute.workers(options, len(todo), job.on_gpu)
    runs = sum(max(1, len(block.seeds)) for block in blocks)
    on_cluster = options.launch == "slurm"
    return progress.Header(
        title=job.experiment.title,
        paper=job.experiment.name,
        preset=job.saved.preset,
        device=f"{job.device['platform']} ({job.device['kind']})",
        precision=options.precision,
        tasks=len({block.key for block in blocks}),
        runs=runs,
        workers=slots,
        folder=str(job.folder.root),
        seconds=execute.predicted_seconds(todo, len(todo) if on_cluster else slots, job.on_gpu),
        memory_mb=execute.predicted_memory(todo, slots),
        work={block.path: execute.cost(block) for block in blocks},
        finished=frozenset(b.path for b in blocks) - frozenset(b.path for b in todo),
        where="on Slurm" if on_cluster else "",
    )


def _conclude(job: _Job, began: float) -> list[dict[str, Any]]:
    """Results, claims and figures of a complete run; returns the ledger's rows."""
    from shared.experiment import ledger

    experiment, folder = job.experiment, job.folder
    outcomes = execute.join_outcomes(job.saved.blocks, folder)
    results = experiment.collect(job.saved.config, outcomes)
    of = {"paper": experiment.name, "preset": job.saved.preset}
    write_json(folder.results_json, {**of, "results": encode_results(results)})
    rows = ledger.judge(experiment.claims, results)
    write_json(folder.claims_json, {**of, "claims": rows})
    figures = _figures(job, results)
    width = min(100, shutil.get_terminal_size().columns)
    print(f"\n{ledger.table(rows, width)}\n")
    for path in figures:
        print(f"figure {path}")
    print(f"results {folder.results_json}")
    print(f"finished in {progress.duration(time.monotonic() - began)}", flush=True)
    return rows


def _figures(job: _Job, results: Mapping[str, Any]) -> list[Path]:
    from shared import plotting

    folder = job.folder.figures
    with explained(folder):
        folder.mkdir(exist_ok=True)
    paths = []
    for stem, figure in job.experiment.figures(results):
        paths.append(plotting.save(figure, folder / stem, svg=job.options.svg)[0])
    return paths


def _publish(job: _Job) -> None:
    from shared.experiment import evidence

    spec = importlib.util.find_spec(job.experiment.entry.split(":")[0])
    assert spec is not None and spec.origin is not None
    for path in evidence.publish(job.folder, Path(spec.origin).parent, job.saved.preset):
        print(f"published {path}")
