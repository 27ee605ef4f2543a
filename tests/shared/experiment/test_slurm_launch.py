"""Slurm without Slurm: options reach sbatch, jobs are adopted or replaced, failures are named."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.experiment import execute, slurm, slurm_job, slurm_queue
from shared.experiment.cli import Options
from shared.experiment.errors import (
    BadInput,
    ExperimentError,
    Interrupted,
    MissingExtra,
    TaskFailed,
)
from shared.experiment.loop import StopFlag
from shared.experiment.spec import Task
from shared.experiment.store import RunFolder
from tests.shared.experiment import toy
from tests.shared.experiment.fake_slurm import ON_SLURM, fake_slurm, prepare

ROOT = Path(__file__).parents[3]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand-ins for Slurm's programs."""
    return fake_slurm(tmp_path / "fake", monkeypatch)


def submissions(fake: Path) -> int:
    """How often sbatch took something."""
    log = fake / "submitted"
    return len(log.read_text().splitlines()) if log.exists() else 0


def launch(
    folder: RunFolder,
    blocks: list[Task],
    react: Callable[[dict[str, Any]], None] = lambda _: None,
    stop: StopFlag | None = None,
    **options: Any,
) -> bool:
    """`slurm.launch` without patience; `react` plays the cluster whenever an event is reported."""
    given = dataclasses.replace(ON_SLURM, **options)
    return slurm.launch(
        toy.EXPERIMENT, toy.Config(), folder, blocks, given, react, stop or StopFlag(), 0.0, 0.0
    )


def finish(folder: RunFolder, block: Task) -> None:
    execute.run_block(
        toy.EXPERIMENT, toy.Config(), block, folder, lambda _: None, StopFlag(), ON_SLURM
    )


@pytest.fixture
def run(tmp_path: Path) -> tuple[RunFolder, list[Task]]:
    """A run of two blocks."""
    folder, blocks = prepare(tmp_path / "run", toy.EXPERIMENT, toy.Config())
    return folder, blocks[:2]


def test_options_reach_sbatch(fake: Path, run: tuple[RunFolder, list[Task]]) -> None:
    folder, blocks = run
    options = Options(
        launch="slurm",
        partition="gpu",
        account="lab",
        qos="long",
        gpus_per_task=2,
        cpus_per_task=3,
        minutes_per_task=90,
    )
    jobs = slurm.submit("toy", folder, blocks, options)
    assert jobs == {blocks[0].path: "1_0", blocks[1].path: "1_1"} == slurm.read_jobs(folder)
    script = (fake / "script-1").read_text()
    for line in (
        "job-name=toy",
        "partition=gpu",
        "account=lab",
        "qos=long",
        "gpus-per-node=2",
        "cpus-per-task=3",
        "ntasks-per-node=1",
        "nodes=1",
        "time=90",
        "array=0-1%2",
        "signal=USR1@120",
        "open-mode=append",
        f"chdir={ROOT}",
    ):
        assert f"\n#SBATCH --{line}\n" in script
    assert "\n#SBATCH --requeue\n" in script
    assert "wckey" not in script
    command = next(line for line in script.splitlines() if line.startswith("srun "))
    assert "--cpus-per-task=3" in command
    assert f"{sys.executable} -u -m submitit.core._submit" in command
    assert f"\nexport PYTHONPATH={ROOT}" in script
    assert "JAX_PLATFORMS" not in script


def test_a_job_without_gpus_computes_on_one_cpu_thread_and_is_warned_within_a_short_limit(
    fake: Path, run: tuple[RunFolder, list[Task]]
) -> None:
    folder, blocks = run
    options = Options(launch="slurm", minutes_per_task=1)
    assert slurm.submit("toy", folder, blocks[:1], options) == {blocks[0].path: "1"}
    script = (fake / "script-1").read_text()
    assert "\nexport JAX_PLATFORMS=cpu\n" in script
    assert "\nexport OMP_NUM_THREADS=1\n" in script
    assert "\n#SBATCH --signal=USR1@15\n" in script
    assert not any(f"--{word}" in script for word in ("gpus", "array", "partition"))


@pytest.mark.parametrize(
    ("file", "options", "kind", "sentence"),
    [
        ("", {"partition": "gpus"}, BadInput, "no Slurm partition 'gpus'; there are: cpu, gpu."),
        ("", {"partition": "cpu,gpus"}, BadInput, "no Slurm partition 'gpus'"),
        ("", {"device": "gpu"}, BadInput, "--device gpu on Slurm needs --gpus-per-task"),
        (
            "down",
            {},
            ExperimentError,
            "Slurm does not answer: Unable to contact slurm controller (connect failure).",
        ),
        ("refuse", {}, ExperimentError, "Slurm refused the jobs: Invalid account specified."),
    ],
)
def test_what_cannot_work_is_one_sentence(
    fake: Path,
    run: tuple[RunFolder, list[Task]],
    capfd: pytest.CaptureFixture[str],
    file: str,
    options: dict[str, Any],
    kind: type[Exception],
    sentence: str,
) -> None:
    (fake / "down" if file == "down" else fake / "unused").write_text(
        "slurm_load_partitions: Unable to contact slurm controller (connect failure)\n"
    )
    if file == "refuse":
        (fake / "refuse").write_text(
            "sbatch: some advice\nsbatch: error: Batch job submission failed: "
            "Invalid account specified\n"
        )
    with pytest.raises(kind) as caught:
        launch(*run, **options)
    assert sentence in str(caught.value) and "\n" not in str(caught.value)
    assert submissions(fake) == 0
    assert capfd.readouterr() == ("", "")


def test_a_machine_without_slurm_is_told_what_else_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadInput, match="Slurm's sbatch is not on this machine; use --launch local"):
        slurm.check_cluster(ON_SLURM)


def test_without_submitit_the_command_that_adds_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(MissingExtra, match="run `uv sync --extra slurm`"):
        slurm.check_cluster(ON_SLURM)


def test_finished_blocks_are_collected_and_no_job_is_submitted_for_them(
    fake: Path, run: tuple[RunFolder, list[Task]]
) -> None:
    folder, blocks = run
    finish(folder, blocks[0])
    events: list[dict[str, Any]] = []

    def react(event: dict[str, Any]) -> None:
        events.append(event)
        finish(folder, blocks[1])

    assert launch(folder, blocks, react)
    assert [e["event"] for e in events] == ["note", "done"]
    assert events[1]["task"] == blocks[1].path
    assert launch(folder, blocks) and submissions(fake) == 1


def test_jobs_that_still_live_are_adopted_and_ended_ones_submitted_anew(
    fake: Path, run: tuple[RunFolder, list[Task]]
) -> None:
    folder, blocks = run
    assert not launch(folder, blocks, wait=False)
    (fake / "queue").write_text("1_0|RUNNING|None\n1_1|PENDING|Priority\n7|RUNNING|None\n")
    assert not launch(folder, blocks, wait=False)
    assert submissions(fake) == 1
    with pytest.raises(BadInput, match=r"\(1\); collect them .* `scancel 1`"):
        slurm.refuse_while_jobs_live(folder)
    (fake / "queue").write_text("1_0|COMPLETING|None\n1_1|TIMEOUT|TimeLimit\n")
    assert not launch(folder, blocks, wait=False)
    assert slurm.read_jobs(folder) == {blocks[0].path: "1_0", blocks[1].path: "2"}
    (fake / "queue").write_text("")
    slurm.refuse_while_jobs_live(folder)


def test_stopping_while_waiting_leaves_the_jobs_and_names_them(
    fake: Path, run: tuple[RunFolder, list[Task]]
) -> None:
    (fake / "queue").write_text("1_0|PENDING|Resources\n1_1|RUNNING|None\n")
    notes, stop = [], StopFlag()

    def react(event: dict[str, Any]) -> None:
        notes.append(event["text"])
        if len(notes) == 2:
            stop.set()

    with pytest.raises(Interrupted, match=r"the Slurm jobs 1 go on \(`scancel 1` would end them\)"):
        launch(*run, react, stop)
    assert notes == ["2 jobs submitted, 0 already there", "1 running, 1 waiting (Resources)"]
    assert not (fake / "asked").exists()


def test_a_job_that_ends_without_a_result_is_submitted_once_more_then_named(
    fake: Path, run: tuple[RunFolder, list[Task]]
) -> None:
    folder, blocks = run
    (fake / "queue").write_text("1_0|OUT_OF_MEMORY|x\n1_1|OUT_OF_MEMORY|x\n2|TIMEOUT|x\n")

    def react(event: dict[str, Any]) -> None:
        if not folder.has_outcome(blocks[1]):
            finish(folder, blocks[1])

    with pytest.raises(TaskFailed) as caught:
        launch(folder, blocks, react)
    assert submissions(fake) == 2
    log = slurm.log_path(folder, "2")
    assert str(caught.value) == (
        "1 of 2 tasks failed, the others are kept. "
        f"{blocks[0].path}: its Slurm job 2 ended without a result (TIMEOUT); its log is {log}."
    )


def test_a_block_that_gets_further_is_submitted_again_and_again(
    fake: Path, run: tuple[RunFolder, list[Task]]
) -> None:
    folder, blocks = run
    block, died = blocks[0], []

    def react(event: dict[str, Any]) -> None:
        if event["event"] != "died":
            return
        died.append(event["text"])
        if len(died) == 4:
            finish(folder, block)
        else:
            folder.task(block).mkdir(parents=True, exist_ok=True)
            with open(folder.task(block) / "metrics.jsonl", "a") as metrics:
                metrics.write("{}\n")

    assert launch(folder, [block], react)
    assert submissions(fake) == 5
    assert "(Slurm does not know any more how)" in died[0]


def test_a_cancelled_job_is_not_submitted_again(
    fake: Path, run: tuple[RunFolder, list[Task]]
) -> None:
    folder, blocks = run
    (fake / "queue").write_text("1|CANCELLED|None\n")
    with pytest.raises(TaskFailed, match=r"job 1 ended without a result \(CANCELLED\)"):
        launch(folder, blocks[:1])
    assert submissions(fake) == 1


def test_a_task_that_fails_in_its_job_is_named_and_the_others_are_kept(
    fake: Path, run: tuple[RunFolder, list[Task]]
) -> None:
    folder, blocks = run
    (fake / "queue").write_text("1_0|RUNNING|None\n1_1|RUNNING|None\n")
    path = slurm_job.events_path(folder.root, blocks[1].path)
    half = f'{{"event": "failed", "task": "{blocks[1].path}", '

    def react(event: dict[str, Any]) -> None:
        if not path.exists():
            path.parent.mkdir(parents=True)
            path.write_text(half)
        elif not folder.has_outcome(blocks[0]):
            finish(folder, blocks[0])
            torn = '{"event": "progr{"event": "start"}\n'  # a job was killed in mid-line
            path.write_text(torn + half + '"text": "Training diverged."}\n')

    with pytest.raises(TaskFailed, match=rf"1 of 2 .* {blocks[1].path}: Training diverged\.$"):
        launch(folder, blocks, react)
    assert folder.has_outcome(blocks[0])


def test_a_controller_that_is_away_is_waited_for(
    fake: Path, run: tuple[RunFolder, list[Task]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, blocks = run
    down, tries, states = fake / "down", [], slurm_queue.states
    (fake / "queue").write_text("1|RUNNING|None\n")

    def shaky() -> dict[str, str]:
        tries.append(1)
        if len(tries) < 4:
            down.write_text("slurm_load_jobs error: Unable to contact slurm controller")
        else:
            down.unlink(missing_ok=True)
            finish(folder, blocks[0])
        return states()

    monkeypatch.setattr(slurm_queue, "states", shaky)
    assert launch(folder, blocks[:1])
    assert len(tries) == 4 and submissions(fake) == 1


def test_the_state_of_the_queue_is_told_at_every_new_reason() -> None:
    told: list[str] = []
    status = slurm_queue.Status()
    for lines in (
        ["PENDING Priority"] * 3,
        ["PENDING Priority"] * 3,
        ["PENDING Priority", "PENDING Resources", "RUNNING None"],
        ["PENDING Priority", "RUNNING None", "RUNNING None"],  # only the numbers: too soon
        ["", "SUSPENDED None"],
        [],
    ):
        status.show(lines, lambda event: told.append(event["text"]))
    assert told == [
        "3 waiting (Priority)",
        "1 running, 1 waiting (Priority), 1 waiting (Resources)",
        "1 ended, 1 suspended",
    ]
