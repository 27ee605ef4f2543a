"""The command as a person uses it: files, table, exit codes, sentences, Ctrl-C, kill and resume."""

import fcntl
import json
import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import papers.__main__ as listing
from shared.experiment import Experiment, main, slurm, store
from shared.experiment.record import load_experiment
from tests.shared.experiment import toy
from tests.shared.experiment.test_track import FakeRun, install

# `shared.experiment.main` is the function; its module is needed here too.
main_module = sys.modules["shared.experiment.main"]
STRUCK = "sgd/noise=0.1/seeds-1-1"


@pytest.fixture(autouse=True)
def no_compile_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORROBORATE_CACHE", "off")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("runs") / "undisturbed"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CORROBORATE_CACHE", "off")
        assert main(toy.EXPERIMENT, ["smoke", "--out", str(folder), "--workers", "0"]) == 0
    return toy.lasting_files(folder)


def here(*argv: str, experiment: Experiment = toy.EXPERIMENT) -> int:
    """The command in this process, its tasks too."""
    return main(experiment, [*argv, "--workers", "0"])


def sentence(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on standard error."""
    (line,) = capsys.readouterr().err.splitlines()
    return line


def status(folder: Path) -> str:
    return store.read_json(folder / "run.json")["status"]


# A run --------------------------------------------------------------------------------------------


def test_a_run_leaves_its_record_results_claims_and_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    assert here("smoke", "--seeds", "3", "--draw", "--svg", "--out", str(folder)) == 0
    text = capsys.readouterr().out
    assert text.startswith("Gradient Descent on a Parabola\n  paper toy, preset smoke, device cpu")
    assert "3 tasks, 7 seeded runs in 7 blocks, in this process" in text
    assert "C1   [reproduced] The loss falls." in text and "C2   [not attempted]" in text
    assert f"figure {folder / 'figures' / 'loss.png'}" in text
    assert (folder / "figures" / "loss.svg").exists()
    saved = store.read_json(folder / "run.json")
    assert saved["config"]["seeds"] == 3 and saved["config"]["chunks"] == 4
    assert saved["entry"] == "tests.shared.experiment.toy:EXPERIMENT"
    assert saved["provenance"]["command"][:4] == ["python", "-m", toy.__name__, "smoke"]
    assert saved["device"]["platform"] == "cpu" and saved["precision"] == "highest"
    assert saved["options"]["out"] is None and "cache" not in saved["device"]
    assert len(saved["tasks"]) == 7 and saved["tasks"][-1] == "exact"
    assert (saved["status"], saved["resumed"]) == ("done", [])
    results = store.read_json(folder / "results.json")
    assert (results["paper"], results["preset"]) == ("toy", "smoke")
    assert store.decode_results(results["results"])["x"].shape == (2, 3)
    claims = store.read_json(folder / "claims.json")["claims"]
    assert [row["id"] for row in claims] == ["C1", "C2"]


def test_without_a_folder_the_run_goes_below_runs_and_is_the_latest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: dict[str, bytes]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert here("smoke") == 0
    (folder,) = (tmp_path / "runs" / "toy").iterdir()
    assert toy.lasting_files(folder) == undisturbed
    assert here("smoke", "--resume", "latest", "--quiet") == 0
    assert toy.lasting_files(folder) == undisturbed
    assert len(store.read_json(folder / "run.json")["resumed"]) == 1


def test_a_claim_that_falls_short_is_an_error_only_under_strict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = ("smoke", "--rate", "0.001", "--out", str(tmp_path / "run"))
    assert here(*slow, "--strict") == 3
    assert "[not reproduced] The loss falls." in capsys.readouterr().out
    assert status(tmp_path / "run") == "done"
    assert here("--resume", str(tmp_path / "run")) == 3  # it was asked for when the run began
    assert here("--resume", str(tmp_path / "run"), "--no-strict") == 0


def test_quiet_shows_the_table_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert here("smoke", "--quiet", "--out", str(tmp_path / "run")) == 0
    assert capsys.readouterr().out.startswith("\nC1   [reproduced]")


# Sentences and exit codes -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (["--sedes", "3"], 2, "There is no option --sedes"),
        (["smoke", "--rate", "7"], 2, "The step size must be between 0 and 1; got 7.0."),
        (["--resume", "nowhere"], 2, "There is no run in nowhere"),
        (["--resume", "latest"], 2, "There is no run of toy in runs/toy"),
        (["smoke", "--out", "file/run"], 1, "file"),
        (["smoke", "--device", "gpu"], 2, "No GPU was found"),
    ],
)
def test_bad_arguments_are_one_sentence(
    argv: list[str],
    code: int,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    if "gpu" in argv:
        monkeypatch.setattr(
            "shared.gpu.devices.setup",
            lambda *_: (_ for _ in ()).throw(main_module.BadInput("No GPU was found.")),
        )
    assert here(*argv) == code
    assert words in sentence(capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.fixture
def finished(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert here("smoke", "--out", str(tmp_path / "run")) == 0
    capsys.readouterr()
    return tmp_path / "run"


def test_a_folder_that_holds_a_run_is_not_overwritten(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = toy.lasting_files(finished)
    assert here("smoke", "--out", str(finished)) == 2
    assert f"--resume {finished}" in sentence(capsys)
    assert toy.lasting_files(finished) == before


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (lambda text: text[: len(text) // 2], 1, "damaged"),
        (lambda text: text.replace('"format": 1', '"format": 99'), 1, "format 99"),
        (lambda text: text.replace('"seeds": 2', '"seed": 2'), 1, "field seeds is missing"),
        (lambda text: text.replace('"config"', '"konfig"'), 1, "lacks 'config'"),
        (lambda text: text.replace('"preset": "smoke"', '"preset": "x"'), 1, "preset 'x'"),
        (lambda text: text.replace('"paper": "toy"', '"paper": "other"'), 2, "a run of other"),
        (lambda text: text.replace("seeds-1-1", "seeds-7-7"), 2, "seeds-7-7"),
    ],
)
def test_an_unusable_record_is_named_and_nothing_is_lost(
    change: Any, code: int, words: str, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = finished / "run.json"
    damaged = change(record.read_text())
    record.write_text(damaged)
    before = toy.lasting_files(finished)
    assert here("--resume", str(finished)) == code
    said = sentence(capsys)
    assert words in said and ("run.json" in said or str(finished) in said)
    assert toy.lasting_files(finished) == before and record.read_text() == damaged


def test_options_that_a_resumed_run_cannot_take(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert here("--resume", str(finished), "--out", "x") == 2
    assert "leave out --out" in sentence(capsys)
    assert here("quick", "--resume", str(finished)) == 2
    assert "preset smoke, not quick" in sentence(capsys)


def test_two_commands_do_not_work_in_one_folder(
    finished: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(main_module, "_LOCK_SECONDS", 0.0)
    with open(finished / "lock") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert here("--resume", str(finished)) == 2
    assert "still working in" in sentence(capsys)
    assert here("--resume", str(finished)) == 0


def test_a_bug_is_one_sentence_and_a_traceback_on_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def collect(config: Any, outcomes: Any) -> Any:
        raise KeyError("lost")

    buggy = replace(toy.EXPERIMENT, collect=collect)
    folder = tmp_path / "run"
    assert here("smoke", "--out", str(folder), experiment=buggy) == 1
    assert sentence(capsys) == "internal error: KeyError: 'lost' (--debug shows where)"
    assert status(folder) == "failed"
    assert here("--resume", str(folder), "--debug", experiment=buggy) == 1
    assert "Traceback" in capsys.readouterr().err
    assert here("--resume", str(folder)) == 0


def test_an_error_of_the_system_in_a_run_is_not_blamed_on_the_lock(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def collect(config: Any, outcomes: Any) -> Any:
        raise OSError(5, "Input/output error")

    folder = tmp_path / "run"
    buggy = replace(toy.EXPERIMENT, collect=collect)
    assert here("smoke", "--out", str(folder), experiment=buggy) == 1
    assert "Input/output error" in (said := sentence(capsys)) and "lock" not in said


def test_a_value_given_twice_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    assert here("smoke", "--noises", "0.1", "0.1", "--out", str(folder)) == 2
    assert "Two tasks are called sgd/noise=0.1" in sentence(capsys)
    assert not folder.exists()


def test_temporary_files_of_a_killed_command_are_removed(finished: Path) -> None:
    block = finished / "tasks" / STRUCK
    for folder in (finished, block, finished / "figures"):
        (folder / ".result.npz.12-0123abcd.tmp").write_bytes(b"half")
    assert here("--resume", str(finished)) == 0
    assert list(finished.rglob("*.tmp")) == []


def test_a_failed_task_ends_with_the_command_that_tries_it_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], undisturbed: dict[str, bytes]
) -> None:
    folder = tmp_path / "run"
    assert here("smoke", "--out", str(folder), "--fate.fault", "refuse") == 1
    said = sentence(capsys)
    assert f"{STRUCK}: The price file has no column." in said
    assert said.endswith(f"uv run python -m {toy.__name__} --resume {folder}")
    assert status(folder) == "failed" and not (folder / "results.json").exists()
    assert here("--resume", str(folder)) == 0
    assert toy.lasting_files(folder) == undisturbed


# Tracking, clusters -------------------------------------------------------------------


def test_a_tracker_that_cannot_start_is_told_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(monkeypatch, RuntimeError("no space left"))
    assert here("smoke", "--out", str(tmp_path / "run"), "--track", "wandb") == 0
    assert "tracking stopped, the run goes on: no space left" in capsys.readouterr().out


@pytest.mark.parametrize("workers", ["0", "2"])
def test_metrics_are_mirrored_wherever_the_tasks_run(
    workers: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = FakeRun(broken=False)
    wandb = install(monkeypatch, run)
    argv = ["smoke", "--out", str(tmp_path / "run"), "--workers", workers, "--track", "wandb"]
    assert main(toy.EXPERIMENT, argv) == 0
    assert wandb.calls[0]["dir"] == str(tmp_path / "run")
    assert wandb.calls[0]["config"]["seeds"] == 2
    counts = [row[f"{STRUCK}/done"] for row in run.rows if f"{STRUCK}/done" in row]
    assert counts == [1, 2, 3, 4] and run.finished == 1
    rows = (tmp_path / "run" / "tasks" / STRUCK / "metrics.jsonl").read_text().splitlines()
    mirrored = [row[f"{STRUCK}/loss"] for row in run.rows if f"{STRUCK}/loss" in row]
    assert mirrored == [json.loads(row)["loss"][0] for row in rows]


def test_a_cluster_run_is_collected_later(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def launch(
        experiment: Any, config: Any, folder: Any, blocks: Any, options: Any, report: Any, stop: Any
    ) -> bool:
        asked.append([block.path for block in blocks])
        return False

    monkeypatch.setattr(slurm, "check_cluster", lambda options: None)
    monkeypatch.setattr(slurm, "launch", launch)
    folder = tmp_path / "run"
    argv = ["smoke", "--out", str(folder), "--launch", "slurm", "--no-wait", "--partition", "p"]
    assert here(*argv) == 0
    assert f"collect later: uv run python -m {toy.__name__} --resume {folder}" in (
        capsys.readouterr().out
    )
    assert status(folder) == "running" and not (folder / "results.json").exists()
    assert here("--resume", str(folder)) == 0
    assert [len(blocks) for blocks in asked] == [5, 5]
    assert here("--resume", str(folder), "--launch", "local") == 0
    assert status(folder) == "done"


# Ctrl-C and kill ----------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", ["0", "2"])
def test_ctrl_c_prints_the_command_that_ends_in_the_same_files(
    workers: str, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    folder = tmp_path / "a run"
    fate = ("--fate.fault", "interrupt", "--checkpoint-seconds", "0")
    stopped = toy.run_toy("smoke", "--out", str(folder), "--workers", workers, *fate)
    assert stopped.returncode == 130, stopped.stderr
    (said,) = stopped.stderr.splitlines()
    command = shlex.split(said.partition("Go on with: ")[2])
    assert command[:4] == ["uv", "run", "python", "-m"] and status(folder) == "interrupted"
    assert not (folder / "results.json").exists()
    resumed = load_experiment(toy.EXPERIMENT.entry)
    assert command[4] == toy.__name__ and here(*command[5:], experiment=resumed) == 0
    assert toy.lasting_files(folder) == undisturbed
    visits = (folder / "tasks" / STRUCK / "visits").read_text().split()
    assert visits.count("0") == 1  # it went on from where it was stopped


def test_ctrl_c_after_the_last_task_prints_the_command_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def collect(config: Any, outcomes: Any) -> Any:
        raise KeyboardInterrupt

    folder = tmp_path / "run"
    hasty = replace(toy.EXPERIMENT, collect=collect)
    assert here("smoke", "--out", str(folder), experiment=hasty) == 130
    assert sentence(capsys).startswith("Interrupted. Go on with: uv run python -m ")
    assert status(folder) == "interrupted"


@pytest.mark.parametrize(("fault", "workers"), [("kill", "0"), ("orphan", "2")])
def test_a_killed_command_is_resumed_to_the_same_files(
    fault: str, workers: str, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    """Workers whose parent was killed save and leave; the resumed run waits for them."""
    folder = tmp_path / "run"
    fate = ("--fate.fault", fault, "--checkpoint-seconds", "0")
    killed = toy.run_toy("smoke", "--out", str(folder), "--workers", workers, *fate)
    assert killed.returncode == -9 and status(folder) == "running"
    assert here("--resume", str(folder)) == 0
    assert toy.lasting_files(folder) == undisturbed


@pytest.mark.parametrize("command", ["--help", "smoke --workers 0 --out run"])
def test_output_that_nobody_reads_ends_quietly(command: str, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    code = "import sys; from tests.shared.experiment.toy import *; sys.exit(main(EXPERIMENT))"
    with open(writer, "wb") as closed:
        done = subprocess.run(
            [sys.executable, "-c", code, *command.split()],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(Path(toy.__file__).parents[3])},
            stdout=closed,
            stderr=subprocess.PIPE,
            timeout=60,
        )
    assert (done.returncode, done.stderr) == (1, b"")


# The list of papers -------------------------------------------------------------------------------


def test_the_list_names_bad_evidence_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    for name, text in {
        "quick": '{"format": 1, "claims": []}',
        "cpu": '{"format": 1, "cl',
        "smoke": '{"format": 1, "run": {"provenance": {"commit": "0123456789"}}, "claims": '
        '[{"verdict": "reproduced"}, {"verdict": "partly"}, {"verdict": "reproduced"}]}',
        "bench": '{"rows": []}',  # no claims: the speed figures of tools.bench
    }.items():
        (tmp_path / "results" / f"{name}.json").write_text(text)
    found = list(listing.evidence(tmp_path))
    assert [preset for preset, _ in found] == ["smoke", "quick", "cpu"]
    assert found[0][1] == "2 reproduced, 1 partly (commit 01234567)"
    assert "quick.json is damaged: no 'run'" in found[1][1]
    assert "cpu.json is damaged" in found[2][1]


def test_rooms_are_the_subpackages_that_can_be_run(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.py").touch()
    (tmp_path / "results").mkdir()
    assert listing.rooms(tmp_path) == ["a", "b"]
    assert listing.describe("nowhere", tmp_path)[0].startswith("nowhere: cannot be loaded")


def test_the_list_takes_no_arguments(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["papers", "--help"])
    assert listing.main() == 0
    monkeypatch.setattr(sys, "argv", ["papers", "x"])
    assert listing.main() == 2
    monkeypatch.setattr(sys, "argv", ["papers"])
    assert listing.main() == 0
