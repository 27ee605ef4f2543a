"""Running the tasks: who runs what, results that do not depend on it, and every way to die."""

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.experiment import execute, pool, record, worker
from shared.experiment.cli import Options
from shared.experiment.errors import BadInput, ExperimentError, Interrupted, TaskFailed
from shared.experiment.loop import StopFlag
from shared.experiment.spec import Task
from shared.experiment.store import RunFolder
from tests.shared.experiment import toy

HERE = Options(workers=0, checkpoint_seconds=0.0)
TWO = Options(workers=2, checkpoint_seconds=0.0)
STRUCK = "sgd/noise=0.1/seeds-1-1"


@pytest.fixture(autouse=True)
def no_compile_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORROBORATE_CACHE", "off")


class Toy:
    """A run of the toy in a folder, its events kept."""

    def __init__(self, root: Path, options: Options, **fate: Any) -> None:
        self.folder = RunFolder(root)
        self.config = replace(toy.PRESETS["smoke"], fate=toy.Fate(**fate))
        self.options = options
        self.blocks = execute.plan(toy.tasks(self.config), 1, options, on_gpu=False)
        saved = record.Record("smoke", self.config, options, tuple(self.blocks))
        root.mkdir()
        record.write(self.folder, toy.EXPERIMENT, saved, {}, {})
        self.events: list[dict[str, Any]] = []
        self.stop = StopFlag()

    def run(self) -> None:
        execute.execute(
            toy.EXPERIMENT,
            self.config,
            self.folder,
            self.options,
            self.events.append,
            self.stop,
            self.blocks,
        )

    def outcomes(self) -> dict[str, Any]:
        return dict(execute.join_outcomes(self.blocks, self.folder))

    def visits(self, path: str = STRUCK) -> list[int]:
        text = (self.folder.root / "tasks" / path / "visits").read_text()
        return [int(line) for line in text.split()]

    def texts(self, kind: str) -> list[str]:
        return [e["text"] for e in self.events if e["event"] == kind]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toy]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CORROBORATE_CACHE", "off")
        run = Toy(tmp_path_factory.mktemp("runs") / "undisturbed", HERE)
        run.run()
        yield run


def same_outcomes(one: Toy, other: Toy) -> bool:
    a, b = one.outcomes(), other.outcomes()
    assert list(a) == list(b)
    return all(
        list(a[key]) == list(b[key])
        and all(a[key][name].tobytes() == b[key][name].tobytes() for name in a[key])
        for key in a
    )


# Planning -----------------------------------------------------------------------------------------


def test_seeds_are_grouped_by_option_by_device_and_by_paper() -> None:
    tasks = [Task("a", seeds=(0, 1, 2, 3, 4)), Task("b")]

    def sizes(options: Options, on_gpu: bool) -> list[int]:
        return [len(b.seeds) for b in execute.plan(tasks, 2, options, on_gpu)]

    assert sizes(Options(), False) == [2, 2, 1, 0]
    assert sizes(Options(), True) == [5, 0]
    assert sizes(Options(seeds_per_task=3), True) == [3, 2, 0]


def test_default_workers_are_the_cores_but_no_more_than_there_is_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    count = [
        execute.workers(Options(), 9, False),
        execute.workers(Options(), 3, False),
        execute.workers(Options(), 1, False),
        execute.workers(Options(), 9, True),
        execute.workers(Options(workers=2), 9, True),
        execute.workers(Options(workers=1), 9, False),
    ]
    # A single block gets a worker too, so that it computes as it would among others.
    assert count == [4, 3, 1, 0, 2, 0]


def test_predictions_by_hand() -> None:
    blocks = [
        Task("a", seeds=(0, 1), cpu_seconds=3.0, memory_mb=100.0),
        Task("b", cpu_seconds=5.0, memory_mb=50.0),
        Task("c", cpu_seconds=4.0, memory_mb=10.0),
    ]
    assert execute.predicted_seconds(blocks, 1, False) == 15.0
    assert execute.predicted_seconds(blocks, 2, False) == 9.0  # 6 | 5 + 4
    assert execute.predicted_seconds(blocks, 0, False) == 15.0
    assert execute.predicted_seconds([replace(b, gpu_seconds=2.0) for b in blocks], 1, True) == 6.0
    assert execute.predicted_memory(blocks, 0) == 200.0
    assert execute.predicted_memory(blocks, 2) == 250.0
    assert execute.predicted_memory([Task("a")], 2) is None


def test_blocks_are_found_again_by_their_path() -> None:
    tasks = [Task("a/x", {"p": 1}, seeds=(0, 1, 2)), Task("a")]
    for size in (None, 1, 2):
        for block in [b for task in tasks for b in task.blocks(size)]:
            assert record.block(tasks, block.path) == block
    for path in ("b", "a/x", "a/x/seeds-2-3", "a/x/seeds-2-1", "a/seeds-0-0"):
        with pytest.raises(BadInput, match=path):
            record.block(tasks, path)


def test_workers_compute_on_one_thread_and_find_this_code() -> None:
    environment = pool.worker_environment({"XLA_FLAGS": "--a", "PYTHONPATH": "x"}, on_gpu=False)
    assert environment["XLA_FLAGS"].startswith("--a ")
    assert "intra_op_parallelism_threads=1" in environment["XLA_FLAGS"]
    assert environment["OMP_NUM_THREADS"] == "1" and environment["JAX_PLATFORMS"] == "cpu"
    assert environment["PYTHONPATH"].split(os.pathsep) == [str(Path(__file__).parents[3]), "x"]
    assert "JAX_PLATFORMS" not in pool.worker_environment({}, on_gpu=True)


# In this process ----------------------------------------------------------------------------------


def test_longest_blocks_come_first_and_finished_ones_are_not_run_again(undisturbed: Toy) -> None:
    started = [e["task"] for e in undisturbed.events if e["event"] == "start"]
    assert started == [
        "sgd/noise=1.0/seeds-0-0",
        "sgd/noise=1.0/seeds-1-1",
        "sgd/noise=0.1/seeds-0-0",
        "sgd/noise=0.1/seeds-1-1",
        "exact",
    ]
    count = len(undisturbed.events)
    undisturbed.run()
    assert len(undisturbed.events) == count


def test_results_do_not_depend_on_how_seeds_are_grouped(undisturbed: Toy, tmp_path: Path) -> None:
    together = Toy(tmp_path / "together", replace(HERE, seeds_per_task=2))
    together.run()
    assert len(together.blocks) == 3
    assert same_outcomes(together, undisturbed)
    assert together.outcomes()["sgd/noise=1.0"]["loss"].shape == (2, 4)


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("raise", "internal error: RuntimeError: a bug in the training code"),
        ("refuse", "The price file has no column."),
        ("nan", "diverged"),
    ],
)
def test_a_failing_task_does_not_lose_the_others(
    fault: toy.Fault, text: str, undisturbed: Toy, tmp_path: Path
) -> None:
    run = Toy(tmp_path / "run", HERE, fault=fault)
    with pytest.raises(TaskFailed, match=f"^1 of 5 tasks failed, .* {STRUCK}: .*{text}") as caught:
        run.run()
    assert "\n" not in str(caught.value)
    assert [b.path for b in execute.missing(run.blocks, run.folder)] == [STRUCK]
    assert "Traceback" in run.folder.log.read_text()
    if fault == "nan":
        return
    run.run()  # what struck once does not strike again
    assert same_outcomes(run, undisturbed)
    assert run.visits().count(0) == 1  # it went on from its checkpoint


def test_a_stop_between_tasks_leaves_the_rest_for_later(undisturbed: Toy, tmp_path: Path) -> None:
    run = Toy(tmp_path / "run", HERE)
    run.stop.set()
    with pytest.raises(Interrupted):
        run.run()
    assert run.events == []
    run.stop = StopFlag()
    run.run()
    assert same_outcomes(run, undisturbed)


def test_a_damaged_outcome_is_computed_anew(tmp_path: Path, undisturbed: Toy) -> None:
    run = Toy(tmp_path / "run", HERE)
    run.run()
    path = run.folder.outcome_path(run.blocks[0])
    path.write_bytes(path.read_bytes()[:-30])
    run.run()
    assert same_outcomes(run, undisturbed)


def test_an_outcome_without_its_seeds_is_a_bug_that_is_named(tmp_path: Path) -> None:
    run = Toy(tmp_path / "run", HERE)
    broken = replace(toy.EXPERIMENT, run_task=lambda task, run: {"x": np.zeros(3)})
    with pytest.raises(ValueError, match=r"'x' of .*/seeds-0-0 has shape \(3,\).* the 1 seeds"):
        execute.run_block(
            broken, run.config, run.blocks[0], run.folder, lambda _: None, run.stop, HERE
        )
    assert not run.folder.has_outcome(run.blocks[0])


def test_a_task_finds_its_folder_made(tmp_path: Path) -> None:
    run = Toy(tmp_path / "run", HERE)

    def leave_a_note(task: Task, run: Any) -> dict[str, Any]:
        (run.folder / "note.txt").write_text("before any loop")
        return {"x": np.zeros(1)}

    noting = replace(toy.EXPERIMENT, run_task=leave_a_note)
    execute.run_block(noting, run.config, run.blocks[0], run.folder, lambda _: None, run.stop, HERE)
    assert (run.folder.task(run.blocks[0]) / "note.txt").exists()


def test_cluster_jobs_run_the_same_blocks(undisturbed: Toy, tmp_path: Path) -> None:
    run = Toy(tmp_path / "run", HERE, fault="refuse")
    paths = [block.path for block in run.blocks]
    with pytest.raises(TaskFailed, match="no column"):
        worker.run_paths(run.folder.root, paths, run.events.append, run.stop)
    stopped = StopFlag()
    stopped.set()
    with pytest.raises(Interrupted, match=STRUCK):
        worker.run_paths(run.folder.root, [STRUCK], run.events.append, stopped)
    worker.run_paths(run.folder.root, [STRUCK], run.events.append, run.stop)
    assert same_outcomes(run, undisturbed)


# In worker processes ------------------------------------------------------------------------------


def test_results_do_not_depend_on_workers_nor_on_one_that_is_killed(
    undisturbed: Toy, tmp_path: Path
) -> None:
    run = Toy(tmp_path / "run", TWO, fault="kill")
    run.run()
    assert same_outcomes(run, undisturbed)
    (died,) = [e for e in run.events if e["event"] == "died"]
    assert died["task"] == STRUCK and "signal 9 (SIGKILL" in died["text"]
    assert run.visits().count(0) == 1  # the fresh worker went on from the checkpoint
    metrics = [path.read_bytes() for path in sorted(run.folder.root.rglob("metrics.jsonl"))]
    expected = sorted(undisturbed.folder.root.rglob("metrics.jsonl"))
    assert metrics == [path.read_bytes() for path in expected]
    assert '"printed by a library"' in run.folder.log.read_text()
    assert sorted(e["task"] for e in run.events if e["event"] == "done") == sorted(
        block.path for block in run.blocks
    )


def test_a_block_that_kills_every_worker_is_given_up(tmp_path: Path) -> None:
    run = Toy(tmp_path / "run", TWO, fault="kill-always")
    with pytest.raises(TaskFailed, match=r"1 of 5 .*seeds-1-1: .* signal 9 .*out of memory\?"):
        run.run()
    assert [b.path for b in execute.missing(run.blocks, run.folder)] == [STRUCK]
    assert len(run.texts("died")) == 1


def test_a_task_that_raises_in_a_worker_does_not_lose_the_others(
    undisturbed: Toy, tmp_path: Path
) -> None:
    run = Toy(tmp_path / "run", TWO, fault="raise")
    with pytest.raises(TaskFailed, match=f"{STRUCK}: internal error: RuntimeError: a bug"):
        run.run()
    assert "a bug in the training code" in run.folder.log.read_text()
    run.options = HERE  # finished in this process, begun in another
    run.run()
    assert same_outcomes(run, undisturbed)


def test_workers_save_and_leave_when_asked_to_stop(undisturbed: Toy, tmp_path: Path) -> None:
    run = Toy(tmp_path / "run", TWO)

    def stop_at_first_progress(event: dict[str, Any]) -> None:
        run.events.append(event)
        if event["event"] == "progress":
            run.stop.set()

    with pytest.raises(Interrupted):
        execute.execute(
            toy.EXPERIMENT,
            run.config,
            run.folder,
            TWO,
            stop_at_first_progress,
            run.stop,
            run.blocks,
        )
    run.stop, run.options = StopFlag(), HERE
    run.run()
    assert same_outcomes(run, undisturbed)


def test_workers_that_cannot_start_end_the_run_with_their_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Toy(tmp_path / "run", TWO)
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho no such module >&2\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    with pytest.raises(ExperimentError, match="could not start: no such module"):
        run.run()
