"""Slurm, real: jobs that are told to leave come back and end with the same bytes."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.experiment import execute, slurm, slurm_job, slurm_queue
from shared.experiment.errors import BadInput, ExperimentError, Interrupted
from shared.experiment.loop import StopFlag
from shared.experiment.spec import Task
from shared.experiment.store import RunFolder
from tests.shared.experiment import slow, toy
from tests.shared.experiment.fake_slurm import ON_SLURM, fake_slurm, prepare, text, until

ROOT = Path(__file__).parents[3]


# A real Slurm -------------------------------------------------------------------------------------


def no_slurm() -> str:
    """Why the tests that need a running Slurm cannot run; empty when they can."""
    if not os.environ.get("SLURM_CONF"):
        return "no Slurm: SLURM_CONF is not set (export SLURM_CONF=$(.ci/slurm.sh) starts one)"
    if shutil.which("sinfo") is None:
        return "no Slurm: sinfo is not installed"
    try:
        slurm_queue.ask("sinfo", "--noheader")
    except ExperimentError as error:
        return str(error)
    return ""


@pytest.fixture
def cluster() -> Iterator[None]:
    """A running Slurm; what a failed test left in its queue is cancelled."""
    if reason := no_slurm():
        pytest.skip(reason)
    before = set(slurm_queue.states())
    yield
    states = slurm_queue.states()
    left = [j for j, state in states.items() if j not in before and not slurm_queue.ended(state)]
    if left:
        subprocess.run(["scancel", *left], check=False)


class Launch:
    """`slurm.launch` in a thread, with the events it reports."""

    def __init__(self, folder: RunFolder, blocks: list[Task], config: toy.Config) -> None:
        self.events: list[dict[str, Any]] = []
        self.stop = StopFlag()
        self.error: BaseException | None = None
        self.finished = False

        def run() -> None:
            try:
                self.finished = slurm.launch(
                    slow.EXPERIMENT,
                    config,
                    folder,
                    blocks,
                    dataclasses.replace(ON_SLURM, partition="debug", minutes_per_task=5),
                    self.events.append,
                    self.stop,
                    poll_seconds=0.1,
                    patience_seconds=2.0,
                )
            except BaseException as error:
                self.error = error

        self.thread = threading.Thread(target=run)
        self.thread.start()

    def until(self, condition: Callable[[], Any]) -> None:
        """Wait for `condition`, unless the launch has failed."""
        until(lambda: self.error is not None or condition())
        assert self.error is None, str(self.error)

    def of(self, block: Task, kind: str) -> list[dict[str, Any]]:
        """The events of one kind that a block's job reported."""
        return [e for e in list(self.events) if e["event"] == kind and e["task"] == block.path]

    def join(self) -> None:
        """Wait for the end; requeued jobs, which Slurm holds back for two minutes, start now."""

        def over() -> bool:
            for job, state in slurm_queue.states().items():
                if state == "PENDING BeginTime":
                    update = ["scontrol", "update", f"JobId={job}", "StartTime=now"]
                    subprocess.run(update, check=False)
            return not self.thread.is_alive()

        until(over, 90)


@pytest.mark.slurm
@pytest.mark.xdist_group("slurm")
def test_jobs_told_to_leave_are_requeued_and_end_with_the_bytes_of_an_undisturbed_run(
    tmp_path: Path, cluster: None
) -> None:
    killed_once = toy.Fate("kill", "sgd/noise=0.1", seed=2, chunk=3)
    config = toy.Config(seeds=3, chunks=400, noises=(0.1,), fate=killed_once)
    folder, blocks = prepare(tmp_path / "slurm", slow.EXPERIMENT, config)
    signalled, requeued, killed, _ = blocks
    (folder.root / "slow").touch()

    first = Launch(folder, blocks, config)
    try:
        first.until(lambda: first.of(signalled, "progress") and first.of(requeued, "progress"))
    finally:
        first.stop.set()  # Ctrl-C while waiting
        first.thread.join()
    jobs = slurm.read_jobs(folder)
    assert isinstance(first.error, Interrupted)
    assert "go on (`scancel" in str(first.error)
    assert set(slurm.live_jobs(folder)) >= {signalled.path, requeued.path}
    with pytest.raises(BadInput, match="still queued or running"):
        slurm.refuse_while_jobs_live(folder)

    second = Launch(folder, blocks, config)  # --resume
    try:
        subprocess.run(["scontrol", "requeue", jobs[requeued.path]], check=True)
        signal_it = ["scancel", "--signal=USR1", jobs[signalled.path]]
        with subprocess.Popen(signal_it, stderr=subprocess.DEVNULL) as scancel:
            try:
                second.until(lambda: second.of(signalled, "stopped"))
            finally:
                scancel.kill()  # some versions deliver, answer "try again", and would do so
        second.until(lambda: second.of(requeued, "stopped"))
    finally:
        (folder.root / "slow").unlink(missing_ok=True)
        second.join()
    assert second.error is None and second.finished
    assert "0 jobs submitted" in second.events[0]["text"]
    after = slurm.read_jobs(folder)
    assert {path for path in jobs if after[path] != jobs[path]} == {killed.path}
    assert "submitting it again" in second.of(killed, "died")[0]["text"]
    for block in (signalled, requeued):
        kinds = [e["event"] for e in second.events if e["task"] == block.path]
        again = kinds.index("stopped") + 1
        assert kinds[again] == "start" and kinds[-1] == "done"
        before, *_, last = second.of(block, "progress")
        assert 0 < before["fraction"] < last["fraction"] == 1
        resumed = [e for e in second.events if e["task"] == block.path][again + 1]
        assert resumed["event"] == "progress" and resumed["done"] >= before["done"]

    local, _ = prepare(tmp_path / "local", slow.EXPERIMENT, config)
    (local.task(killed) / "struck").parent.mkdir(parents=True)
    (local.task(killed) / "struck").touch()
    execute.execute(slow.EXPERIMENT, config, local, ON_SLURM, lambda _: None, StopFlag(), blocks)
    for block in blocks:
        for name in ("result.npz", "metrics.jsonl"):
            ours, theirs = folder.task(block) / name, local.task(block) / name
            assert ours.exists() == theirs.exists()
            assert not ours.exists() or ours.read_bytes() == theirs.read_bytes()


@pytest.mark.slurm
@pytest.mark.xdist_group("slurm")
def test_a_real_slurm_names_its_partitions_and_refuses_gpus_that_it_lacks(
    tmp_path: Path, cluster: None
) -> None:
    slurm.check_cluster(dataclasses.replace(ON_SLURM, partition="debug"))
    with pytest.raises(BadInput, match=r"^There is no Slurm partition 'gpus'; there are: debug\.$"):
        slurm.check_cluster(dataclasses.replace(ON_SLURM, partition="gpus"))
    folder, blocks = prepare(tmp_path / "run", toy.EXPERIMENT, toy.Config())
    options = dataclasses.replace(ON_SLURM, partition="debug", gpus_per_task=1)
    with pytest.raises(ExperimentError, match=r"^Slurm refused the jobs: .+\.$") as refusal:
        slurm.submit("toy", folder, blocks, options)
    assert "\n" not in str(refusal.value)
    assert slurm.read_jobs(folder) == {}


# The job ------------------------------------------------------------------------------------------


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand-ins for Slurm's programs."""
    return fake_slurm(tmp_path / "fake", monkeypatch)


def job_process(folder: RunFolder, path: str, **variables: str) -> subprocess.Popen[str]:
    """`slurm_job.run_job` in a process of its own."""
    code = "import sys; from shared.experiment import slurm_job; slurm_job.run_job(*sys.argv[1:])"
    command = [sys.executable, "-W", "error", "-c", code, str(folder.root), path]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, **variables}, **pipes)


@pytest.mark.parametrize(
    ("number", "state", "asked"),
    [
        (signal.SIGUSR1, "RUNNING", "requeue 12_3\n"),  # near its time limit
        (signal.SIGTERM, "COMPLETING", None),  # cancelled, or requeued by Slurm itself
    ],
)
def test_a_job_told_to_leave_saves_and_requeues_itself_unless_slurm_has_decided(
    fake: Path, tmp_path: Path, number: int, state: str, asked: str | None
) -> None:
    config = toy.Config(seeds=1, chunks=2000)
    folder, blocks = prepare(tmp_path / "run", slow.EXPERIMENT, config)
    (folder.root / "slow").touch()
    (fake / "queue").write_text(state)
    events = slurm_job.events_path(folder.root, blocks[0].path)
    array = {"SLURM_JOB_ID": "15", "SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "3"}
    with job_process(folder, blocks[0].path, **array) as job:
        try:
            until(lambda: job.poll() is not None or "progress" in text(events))
            job.send_signal(number)
            said, complaints = job.communicate(timeout=60)
        finally:
            job.kill()
    assert (job.returncode, complaints) == (1, "")
    assert said.startswith("Saved; ")
    assert '"stopped"' in text(events).splitlines()[-1]
    assert not folder.has_outcome(blocks[0])
    assert list((folder.task(blocks[0]) / "train").glob("*.safetensors"))
    assert (text(fake / "asked") or None) == asked


def test_a_job_that_cannot_begin_says_why(fake: Path, tmp_path: Path) -> None:
    folder, blocks = prepare(tmp_path / "run", toy.EXPERIMENT, toy.Config())
    folder.run_json.write_text("{")
    with job_process(folder, blocks[0].path, SLURM_JOB_ID="15") as job:
        job.communicate(timeout=60)
    (line,) = text(slurm_job.events_path(folder.root, blocks[0].path)).splitlines()
    assert job.returncode == 1 and '"failed"' in line and "run.json is damaged" in line
