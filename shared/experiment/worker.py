"""A worker process: `python -m shared.experiment.worker RUN_DIR`.

It reads what to run from the run folder's run.json, then task paths as lines on standard input, and
writes events as JSON lines to standard output. Whatever libraries print goes to standard error,
which the parent sends to run.log. It leaves at the end of its input; when the input ends in the
middle of a block (the parent wants to stop, or is gone) it saves the block's state first.
"""

from __future__ import annotations

import faulthandler
import json
import os
import queue
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shared.experiment import record, store
from shared.experiment.errors import Damaged, Interrupted, TaskFailed
from shared.experiment.execute import Report, failure_sentence, set_up_device, try_block
from shared.experiment.loop import StopFlag, install_signal_handlers
from shared.experiment.spec import Experiment


def main(argv: Sequence[str]) -> int:
    """Serve blocks until standard input ends."""
    stop = StopFlag()
    install_signal_handlers(stop)
    faulthandler.enable()
    emit = _private_stdout(stop)
    folder = store.RunFolder(Path(argv[0]))
    experiment = _experiment(folder)
    saved = record.read(folder, experiment)
    set_up_device(saved.options)
    emit({"event": "ready"})
    wanted, busy = _read_ahead(stop)
    while (path := wanted.get()) is not None:
        busy.set()
        block = record.block(saved.blocks, path)
        try_block(experiment, saved.config, block, folder, emit, stop, saved.options)
        if stop.is_set():
            break
        busy.clear()
    return 0


def run_paths(run_dir: Path | str, paths: Sequence[str], report: Report, stop: StopFlag) -> None:
    """Run the blocks `paths` of the run in `run_dir` in this process, as a cluster job does.

    Args:
        report: receives the events.
        stop: set it, from a signal handler say, when the job must leave.

    Raises:
        Interrupted: asked to stop; the state is saved and the same call goes on from there.
        TaskFailed: a block failed; the remaining ones ran.
    """
    folder = store.RunFolder(Path(run_dir))
    experiment = _experiment(folder)
    saved = record.read(folder, experiment)
    set_up_device(saved.options)
    failures: dict[str, str] = {}

    def watch(event: dict[str, Any]) -> None:
        if event["event"] == "failed":
            failures[event["task"]] = event["text"]
        report(event)

    for block in (record.block(saved.blocks, path) for path in paths):
        try_block(experiment, saved.config, block, folder, watch, stop, saved.options)
        if stop.is_set() and not folder.has_outcome(block):
            raise Interrupted(f"Stopped as asked in {block.path}; its state is saved.")
    if failures:
        raise TaskFailed(failure_sentence(failures, len(paths)))


def _experiment(folder: store.RunFolder) -> Experiment:
    try:
        return record.load_experiment(str(store.read_json(folder.run_json)["entry"]))
    except (KeyError, ImportError, AttributeError) as error:
        raise Damaged(f"{folder.run_json} names no experiment of this code: {error}.") from error


def _private_stdout(stop: StopFlag) -> Report:
    """Events to what is standard output now; everything else that is printed to standard error."""
    stream = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)

    def emit(event: dict[str, Any]) -> None:
        if stream.closed:
            return
        try:
            stream.write(json.dumps(event).encode() + b"\n")
            stream.flush()
        except OSError:  # nobody listens any more
            stop.set()
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), stream.fileno())
            stream.close()

    return emit


def _read_ahead(stop: StopFlag) -> tuple[queue.SimpleQueue[str | None], threading.Event]:
    """Lines of standard input as they come, None at its end; its end in mid-block sets `stop`."""
    wanted: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    busy = threading.Event()

    def read() -> None:
        for line in sys.stdin:
            busy.set()
            wanted.put(line.strip())
        if busy.is_set():
            stop.set()
        wanted.put(None)

    threading.Thread(target=read, name="blocks", daemon=True).start()
    return wanted, busy


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
