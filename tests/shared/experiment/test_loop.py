"""A loop that is killed, stopped, diverges or finds damage ends as promised."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from shared.experiment import checkpoint, loop, spec
from shared.experiment.errors import Damaged, Diverged, ExperimentError, Interrupted
from shared.experiment.spec import Task
from shared.experiment.store import RunFolder
from tests.shared.experiment import survivor

REPOSITORY = Path(__file__).resolve().parents[3]
TASK = Task("agent=a", seeds=(7, 8))


def make(
    root: Path, *, stop: loop.StopFlag | None = None, task: Task = TASK, **options: Any
) -> tuple[loop.TaskRun, list[dict[str, Any]]]:
    events: list[dict[str, Any]] = []
    stop = stop or loop.StopFlag()
    options.setdefault("checkpoint_chunks", 1)
    return loop.TaskRun({"lr": 1}, task, RunFolder(root), events.append, stop, **options), events


@jax.jit
def halve(x: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
    x = x * 0.5 + 0.1
    return x, {"x": x, "all": jnp.sum(x)}


START = jnp.array([1.0, 2.0])


def rows(run: loop.TaskRun) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.metrics_path.read_text().splitlines()]


# What a loop gives --------------------------------------------------------------------------------


def test_loop_is_a_plain_loop_with_records(tmp_path: Path) -> None:
    run, events = make(tmp_path)
    typed: spec.Run = run
    assert typed.config == {"lr": 1} and typed.folder == tmp_path / "tasks/agent=a/seeds-7-8"
    state, history = run.loop(START, halve, 3, unit="updates", per_chunk=100)
    x, expected = START, []
    for _ in range(3):
        x, metrics = halve(x)
        expected.append(metrics)
    np.testing.assert_array_equal(state, x)
    assert history["x"].shape == (3, 2) and history["x"].dtype == np.float32
    for name in ("x", "all"):
        np.testing.assert_array_equal(history[name], np.stack([e[name] for e in expected]))
    for i, row in enumerate(rows(run)):
        assert list(row) == ["loop", "chunk", "updates", "all", "x"]
        assert (row["loop"], row["chunk"], row["updates"]) == ("train", i + 1, 100 * (i + 1))
        assert np.array(row["x"], np.float32).tobytes() == history["x"][i].tobytes()
    assert [event["fraction"] for event in events] == [1 / 3, 2 / 3, 1.0]
    last = events[-1]
    assert (last["event"], last["task"]) == ("progress", TASK.path)
    assert (last["loop"], last["unit"], last["done"], last["total"]) == (
        *("train", "updates"),
        *(300, 300),
    )
    assert last["metrics"]["x"] == pytest.approx(float(np.mean(history["x"][-1])))


def test_no_chunks_give_the_state_back(tmp_path: Path) -> None:
    run, events = make(tmp_path)
    state, history = run.loop(START, halve, 0)
    assert state is START and history == {} and events == [] and rows(run) == []


def test_finished_loops_are_passed_at_once_and_a_new_one_goes_on(tmp_path: Path) -> None:
    def never(_: Any) -> Any:
        raise AssertionError("this loop was finished")

    run, _ = make(tmp_path)
    first, past = run.loop(START, halve, 4, name="first")
    text = run.metrics_path.read_bytes()
    again, events = make(tmp_path)
    state, history = again.loop(START * 0, never, 4, name="first")
    np.testing.assert_array_equal(state, first)
    assert {k: v.tobytes() for k, v in history.items()} == {k: v.tobytes() for k, v in past.items()}
    assert again.metrics_path.read_bytes() == text
    assert [event["fraction"] for event in events] == [1.0]
    again.loop(state, halve, 2, name="second")
    assert [row["loop"] for row in rows(again)] == ["first"] * 4 + ["second"] * 2


def test_checkpoints_are_as_rare_as_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[int] = []
    save = checkpoint.save
    monkeypatch.setattr(checkpoint, "save", lambda *a, **k: (saved.append(a[1]), save(*a, **k)))
    make(tmp_path / "a", checkpoint_chunks=4)[0].loop(START, halve, 9)
    assert saved == [4, 8, 9]
    saved.clear()
    now = [0.0]
    monkeypatch.setattr(loop.time, "monotonic", lambda: now[0])

    def slow(x: Any) -> Any:
        now[0] += 10.0
        return halve(x)

    run = make(tmp_path / "b", checkpoint_chunks=None, checkpoint_seconds=25.0)[0]
    run.loop(START, slow, 7)
    assert saved == [3, 6, 7]
    saved.clear()
    # A checkpoint that takes 2 s is not made every 10 s: it may take 5 % of the time.
    monkeypatch.setattr(
        checkpoint, "save", lambda *a: (saved.append(a[1]), now.__setitem__(0, now[0] + 2))
    )
    run = make(tmp_path / "c", checkpoint_chunks=None, checkpoint_seconds=5.0)[0]
    run.loop(START, slow, 10)
    assert saved == [1, 5, 9, 10]


def test_one_wait_for_the_device_in_a_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[Any] = []
    get = jax.device_get
    monkeypatch.setattr(jax, "device_get", lambda x: (fetched.append(x), get(x))[1])
    make(tmp_path, checkpoint_chunks=100)[0].loop(START, halve, 5)
    assert len(fetched) == 5 + 1, "one a chunk, one for the final checkpoint"


@pytest.mark.parametrize(
    ("name", "step", "words"),
    [
        ("a/b", halve, "Loop name 'a/b' must be a plain word"),
        ("x", lambda s: (s, {"chunk": 1.0}), "'chunk' of loop x must be real numbers under a name"),
        ("x", lambda s: (s, {"text": "a"}), "its dtype is <U1"),
        ("x", lambda s: (s, {"z": 1j}), "its dtype is complex128"),
    ],
)
def test_what_a_loop_refuses(tmp_path: Path, name: str, step: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make(tmp_path)[0].loop(START, step, 2, name=name)


def test_loops_need_names_of_their_own_and_steady_metrics(tmp_path: Path) -> None:
    run, _ = make(tmp_path)
    run.loop(START, halve, 1)
    with pytest.raises(ValueError, match=r"no other loop of .* has; taken: train"):
        run.loop(START, halve, 1)
    with pytest.raises(ValueError, match=r"returned metrics m int64\[2\] where .* m int64\[1\]"):
        run.loop(0, lambda n: (n + 1, {"m": np.zeros(n + 1, np.int64)}), 2, name="growing")


# Killed and resumed -------------------------------------------------------------------------------


def test_killed_anywhere_and_resumed_ends_bit_for_bit_the_same(tmp_path: Path) -> None:
    # Each life goes on from what the one before left: killed in a chunk; between writing and
    # renaming the arrays, then the JSON, of a checkpoint; before a row; in the second loop.
    killed = ["step:4", "rename:2", "row:2", "rename:3", "row:7"]
    lives = ["whole/never", *(f"cut/{instant}" for instant in killed), "cut/never"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.shared.experiment.survivor", str(tmp_path), *lives],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        timeout=300,
    )
    codes = [int(code) for code in done.stdout.split()]
    assert codes == [0, *[-signal.SIGKILL] * len(killed), 0]

    whole, cut = (RunFolder(tmp_path / name).task(survivor.TASK) for name in ("whole", "cut"))
    for name in ("result.npz", "metrics.jsonl"):  # state and history, and the record
        assert (whole / name).read_bytes() == (cut / name).read_bytes(), name
    assert len((whole / "metrics.jsonl").read_text().splitlines()) == 6 + 3
    assert len(RunFolder(tmp_path / "whole").load_outcome(survivor.TASK)) > 10


@pytest.mark.parametrize("keep", range(1, 6))
def test_metrics_are_cut_back_to_the_checkpoint(tmp_path: Path, keep: int) -> None:
    whole, _ = make(tmp_path / "whole")
    _, expected = whole.loop(START, halve, 6)

    def dies(x: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt  # nothing is saved any more
        return halve(x)

    left = keep
    cut, _ = make(tmp_path / "cut", checkpoint_chunks=2)
    with pytest.raises(KeyboardInterrupt):
        cut.loop(START, dies, 6)
    with open(cut.metrics_path, "ab") as file:
        file.write(b'{"loop": "tr')  # what a kill or a full disk may leave
    again, _ = make(tmp_path / "cut", checkpoint_chunks=2)
    _, history = again.loop(START, halve, 6)
    assert again.metrics_path.read_bytes() == whole.metrics_path.read_bytes()
    assert history["x"].tobytes() == expected["x"].tobytes()


def test_damaged_checkpoint_is_noted_and_the_one_before_is_used(tmp_path: Path) -> None:
    run, _ = make(tmp_path / "a")
    state, history = run.loop(START, halve, 4, per_chunk=10)
    newest = max((run.folder / "train").glob("*.safetensors"))
    newest.write_bytes(newest.read_bytes()[:-3])
    again, events = make(tmp_path / "a")
    state_again, history_again = again.loop(START, halve, 4, per_chunk=10)
    note = events[0]
    assert (note["event"], note["task"]) == ("note", TASK.path)
    assert newest.name in note["text"] and "Going on from 30 steps" in note["text"]
    np.testing.assert_array_equal(state, state_again)
    assert history["x"].tobytes() == history_again["x"].tobytes()


def test_checkpoint_of_a_longer_loop_is_refused(tmp_path: Path) -> None:
    make(tmp_path)[0].loop(START, halve, 4)
    with pytest.raises(Damaged, match="after 4 chunks, but this loop has 3"):
        make(tmp_path)[0].loop(START, halve, 3)


# Stopped ------------------------------------------------------------------------------------------


def test_stop_flag_saves_and_interrupts_and_the_run_goes_on_equal(tmp_path: Path) -> None:
    whole, _ = make(tmp_path / "whole")
    expected, _ = whole.loop(START, halve, 5)
    stop = loop.StopFlag()
    calls = 0

    def stopping(x: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            stop.set()
        return halve(x)

    run, _ = make(tmp_path / "cut", stop=stop, checkpoint_chunks=100)
    with pytest.raises(Interrupted, match=r"saved at 30 steps of 50 \(train\)") as raised:
        run.loop(START, stopping, 5, per_chunk=10)
    assert calls == 3 and raised.value.exit_code == 130
    saved = checkpoint.restore(run.folder / "train", START)
    assert saved is not None and saved.step == 3
    with pytest.raises(Interrupted, match="saved at 30 steps"):  # still asked to stop: no chunk
        make(tmp_path / "cut", stop=stop)[0].loop(START, stopping, 5, per_chunk=10)
    assert calls == 3
    resumed, _ = make(tmp_path / "cut")
    state, history = resumed.loop(START, halve, 5)
    np.testing.assert_array_equal(state, expected)
    assert len(history["x"]) == 5


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_signals_set_the_flag(number: signal.Signals) -> None:
    stop = loop.StopFlag()
    before = signal.getsignal(number)
    uninstall = loop.install_signal_handlers(stop)
    try:
        assert not stop.is_set()
        os.kill(os.getpid(), number)
        signal.sigtimedwait([], 0)  # any call lets Python run its handlers
        assert stop.is_set()
    finally:
        uninstall()
    assert signal.getsignal(number) == before


IMPATIENT = """
import hashlib, os, signal
from shared.experiment import loop

stop = loop.StopFlag()
loop.install_signal_handlers(stop, echo_seconds=0.0)
os.kill(os.getpid(), signal.SIGINT)
while not stop.is_set():
    pass
print("set", flush=True)
hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)  # one call of many minutes, like a long chunk
"""


def test_second_interrupt_ends_even_a_process_that_is_deep_in_a_call() -> None:
    command = [sys.executable, "-c", IMPATIENT]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == b"set\n"
            assert process.poll() is None, "the first interrupt does not end it"
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=30) == 130
        finally:
            process.kill()


ECHOED = """
import os, signal
from shared.experiment import loop

stop = loop.StopFlag()
uninstall = loop.install_signal_handlers(stop, echo_seconds=60.0)
os.kill(os.getpid(), signal.SIGINT)
while not stop.is_set():
    pass
os.kill(os.getpid(), signal.SIGINT)  # as `uv run` does with what the terminal already sent
uninstall()
print("saved", flush=True)
"""


def test_the_echo_of_an_interrupt_leaves_time_to_save() -> None:
    command = [sys.executable, "-c", ECHOED]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (0, "saved\n"), ended.stderr


# Failures -----------------------------------------------------------------------------------------


def test_nan_names_metric_place_and_seed_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    def breaks(state: Any) -> Any:
        n, x = state
        bad = jnp.array([0.0, jnp.nan if n == 4 else 0.0])
        return (n + 1, x + bad), {"fine": 1.0, "loss": x + bad}

    run, _ = make(tmp_path, checkpoint_chunks=3)
    with pytest.raises(Diverged) as raised:
        run.loop((0, START), breaks, 9, unit="updates", per_chunk=10)
    assert str(raised.value) == (
        "Training of agent=a/seeds-7-8 diverged: loss became NaN at 50 updates (seed 8); the last "
        "good checkpoint is at 30, try a smaller step size."
    )
    saved = checkpoint.restore(run.folder / "train", (0, START))
    assert saved is not None and saved.step == 3
    np.testing.assert_array_equal(saved.state[1], START)
    assert [row["chunk"] for row in rows(run)] == [1, 2, 3, 4]


def test_infinity_before_any_checkpoint(tmp_path: Path) -> None:
    run, _ = make(tmp_path, task=Task("exact"))
    with pytest.raises(Diverged, match=r"q became infinite at 1 steps; nothing was saved before"):
        run.loop(START, lambda s: (s, {"q": -np.inf}), 2)
    assert not (run.folder / "train").exists()


def test_full_disk_ends_the_loop_and_the_run_goes_on_from_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = make(tmp_path / "whole")
    expected, _ = whole.loop(START, halve, 6)
    fsync, left = os.fsync, 14

    def filling(descriptor: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    run, _ = make(tmp_path / "cut")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", filling)
        with pytest.raises(ExperimentError, match="No space left on device; free some space"):
            run.loop(START, halve, 6)
    again, events = make(tmp_path / "cut")
    state, _ = again.loop(START, halve, 6)
    assert events[0]["done"] > 1, "it did not start over"
    np.testing.assert_array_equal(state, expected)
    assert again.metrics_path.read_bytes() == whole.metrics_path.read_bytes()


def test_metrics_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "tasks").write_text("a file where a folder should be")
    with pytest.raises(ExperimentError, match=r"Cannot write metrics\.jsonl in folder"):
        make(tmp_path)[0].loop(START, halve, 1)
