"""Files appear whole or not at all; whatever happens to them later is noticed."""

import errno
import json
import math
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from shared.experiment import store
from shared.experiment.errors import BadInput, Damaged, ExperimentError
from shared.experiment.spec import Task

REPOSITORY = Path(__file__).resolve().parents[3]
DYING_WRITER = """
import os, signal, sys
from pathlib import Path
from shared.experiment import store

target, instant, death = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
def die(*_):
    if death == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(7)


setattr(os, instant, die)
store.write_text(target, "new" * 100_000)
"""


@pytest.mark.parametrize("death", ["kill", "exit"])
@pytest.mark.parametrize("instant", ["fsync", "replace"])
def test_death_between_write_and_rename_keeps_the_old_file(
    tmp_path: Path, instant: str, death: str
) -> None:
    target = tmp_path / "file.txt"
    store.write_text(target, "old")
    died = subprocess.run(
        [sys.executable, "-c", DYING_WRITER, str(target), instant, death],
        cwd=REPOSITORY,
        timeout=60,
    )
    assert died.returncode == (-signal.SIGKILL if death == "kill" else 7)
    assert target.read_text() == "old"
    leftover = [path for path in tmp_path.iterdir() if path != target]
    assert [path.suffix for path in leftover] == [".tmp"]
    store.remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == [target]


WRITERS: dict[str, Callable[[Path], None]] = {
    "text": lambda path: store.write_text(path, "x" * 100_000),
    "json": lambda path: store.write_json(path, {"x": "x" * 100_000}),
    "npz": lambda path: store.write_npz(path, {"x": np.zeros(20_000)}),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS.keys())
def test_disk_that_takes_no_more_is_one_sentence_and_leaves_no_trace(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    target = tmp_path / "file"
    store.write_text(target, "old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))  # the kernel refuses byte 10,001
    try:
        with pytest.raises(ExperimentError, match=r"write file in folder .*: File too large"):
            write(target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_full_disk_names_folder_and_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(ExperimentError) as raised:
        store.write_json(tmp_path / "run.json", {})
    assert str(tmp_path) in str(raised.value)
    assert "No space left on device; free some space" in str(raised.value)
    assert "Traceback" not in str(raised.value) and "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_made_or_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ExperimentError, match=r"Not a directory|File exists"):
        store.write_text(tmp_path / "file" / "below", "x")
    with pytest.raises(ExperimentError, match="Cannot write"):
        store.RunFolder.create("paper", tmp_path / "file" / "below")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "mkdir", refuse)
    with pytest.raises(ExperimentError, match="Read-only file system"):
        store.RunFolder.create("paper", base=tmp_path / "runs")


# JSON ---------------------------------------------------------------------------------------------


def test_json_is_standard_versioned_and_round_trips(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    obj = {"b": [1, 2.5, None, True], "a": {"c": [[1, 2], [3]], "d": [{"e": "é\n"}]}, "f": {}}
    store.write_json(path, obj)
    assert store.read_json(path) == {"format": store.FORMAT, **obj}
    assert list(json.loads(path.read_text())) == ["format", "b", "a", "f"]
    assert '"b": [1, 2.5, null, true]' in path.read_text(), "plain lists stay on one line"


def test_json_holds_numpy_numbers_paths_and_names_what_is_not_finite(tmp_path: Path) -> None:
    obj = {"n": np.int64(3), "x": [math.nan, math.inf, -math.inf], "p": Path("a/b"), "v": np.eye(2)}
    store.write_json(tmp_path / "a.json", obj)

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not standard JSON")

    read = json.loads((tmp_path / "a.json").read_text(), parse_constant=refuse)
    assert read["n"] == 3 and read["p"] == "a/b" and read["v"] == [[1.0, 0.0], [0.0, 1.0]]
    assert read["x"] == ["NaN", "Infinity", "-Infinity"]


def test_corrupted_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    store.write_json(path, {"config": {"seeds": 3}})
    whole = path.read_bytes()
    for damage in (b"", whole[:-4], b"\xff" + whole[1:], b"[1]", whole.replace(b"1", b"99", 1)):
        path.write_bytes(damage)
        with pytest.raises(Damaged, match=r"run\.json"):
            store.read_json(path)
    with pytest.raises(Damaged, match=r"gone\.json is missing"):
        store.read_json(tmp_path / "gone.json")
    with pytest.raises(Damaged, match="cannot be read: Is a directory"):
        store.read_json(tmp_path)


# npz ----------------------------------------------------------------------------------------------


def test_npz_round_trips_and_equal_arrays_give_equal_bytes(tmp_path: Path) -> None:
    arrays = {
        "curve": np.array([[0.1, np.nan], [-0.0, np.inf]], np.float32),
        "seeds": np.arange(3, dtype=np.uint64),
        "empty": np.zeros((0, 2)),
        "scalar": np.array(2.5),
        "names": np.array(["a", "bc"]),
        "z": np.array([1 + 2j]),
    }
    store.write_npz(tmp_path / "a.npz", arrays)
    store.write_npz(tmp_path / "b.npz", dict(reversed(arrays.items())))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    read = store.read_npz(tmp_path / "a.npz")
    assert set(read) == set(arrays)
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype and read[name].shape == array.shape
        assert read[name].tobytes() == array.tobytes()
    with np.load(tmp_path / "a.npz") as plain:  # an ordinary npz file to everybody else
        np.testing.assert_array_equal(plain["curve"], arrays["curve"])


def test_npz_refuses_what_it_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'x' has dtype object"):
        store.write_npz(tmp_path / "a.npz", {"x": np.array([None])})
    assert list(tmp_path.iterdir()) == []


def test_every_flipped_byte_of_an_npz_is_noticed_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "result.npz"
    original = {"x": np.arange(4, dtype=np.float32)}
    store.write_npz(path, original)
    whole = path.read_bytes()
    noticed = 0
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        try:
            read = store.read_npz(path)
        except Damaged as error:
            assert "result.npz" in str(error)
            noticed += 1
        else:
            assert read.keys() == original.keys() and (read["x"] == original["x"]).all()
    assert noticed > len(whole) // 2
    for length in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(Damaged):
            store.read_npz(path)


# Results ------------------------------------------------------------------------------------------


@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.float16, np.int64, np.uint64, np.bool_]),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
    )
)
def test_results_round_trip_bit_for_bit(array: np.ndarray) -> None:
    text = json.dumps(store.encode_results({"x": array}), allow_nan=False)
    back = store.decode_results(json.loads(text))["x"]
    assert back.dtype == array.dtype and back.shape == array.shape
    nan = np.isnan(array) if array.dtype.kind == "f" else np.zeros(array.shape, bool)
    assert np.where(nan, 0, array).astype(array.dtype).tobytes() == (
        np.where(nan, 0, back).astype(back.dtype).tobytes()
    )
    if array.dtype.kind == "f":
        np.testing.assert_array_equal(np.isnan(back), nan)


def test_results_layout_by_hand() -> None:
    results = {
        "gap": np.array([[0.1, np.nan]], np.float32),
        "z": np.array([1 - 2j, complex(np.inf, 0)], np.complex64),
        "agent": np.array(["dsup", "NaN"]),
        "n": 3,
    }
    encoded = store.encode_results(results)
    assert encoded["gap"] == {"shape": [1, 2], "dtype": "float32", "data": [0.1, "NaN"]}
    assert encoded["z"]["data"] == [1.0, -2.0, "Infinity", 0.0]
    assert encoded["n"] == {"shape": [], "dtype": "int64", "data": [3]}
    decoded = store.decode_results(encoded)
    np.testing.assert_array_equal(decoded["z"], results["z"])
    np.testing.assert_array_equal(decoded["agent"], results["agent"])
    assert decoded["gap"].dtype == np.float32 and decoded["n"] == 3


@pytest.mark.parametrize(
    "entry",
    [
        {"shape": [2], "dtype": "float32", "data": [1.0]},
        {"shape": [1], "dtype": "float32", "data": ["many"]},
        {"shape": [1], "dtype": "int32", "data": [2**40]},
        {"shape": [1], "dtype": "nothing", "data": [1]},
        {"shape": [1], "data": [1]},
        [1.0],
    ],
)
def test_damaged_results_are_named(entry: object) -> None:
    with pytest.raises(Damaged, match=r"results\.json are damaged at 'x'"):
        store.decode_results({"x": entry}, "results.json")


# The run folder -----------------------------------------------------------------------------------


def test_run_folder_is_new_found_again_and_never_shared(tmp_path: Path) -> None:
    first = store.RunFolder.create("paper", base=tmp_path)
    second = store.RunFolder.create("paper", base=tmp_path)
    assert first != second and first.root.parent == tmp_path / "paper"
    with pytest.raises(BadInput, match="no run of paper"):
        store.RunFolder.find("paper", "latest", tmp_path)
    store.write_json(first.run_json, {})
    store.write_json(second.run_json, {})
    os.utime(first.run_json, ns=(1, 1))
    assert store.RunFolder.find("paper", "latest", tmp_path) == second
    assert store.RunFolder.find("paper", str(first.root), tmp_path) == first
    with pytest.raises(BadInput, match=r"has no run\.json"):
        store.RunFolder.find("paper", str(tmp_path), tmp_path)
    with pytest.raises(BadInput, match=f"--resume {first.root}"):
        store.RunFolder.create("paper", first.root)


def test_outcomes_are_kept_and_damaged_ones_do_not_count(tmp_path: Path) -> None:
    folder = store.RunFolder.create("paper", tmp_path / "run")
    task = Task("agent=dsup/omega=35", seeds=(2, 3))
    assert folder.task(task) == tmp_path / "run/tasks/agent=dsup/omega=35/seeds-2-3"
    assert not folder.has_outcome(task)
    with pytest.raises(Damaged, match="missing"):
        folder.load_outcome(task)
    folder.save_outcome(task, {"returns": np.array([1.0, 2.0])})
    assert folder.has_outcome(task)
    np.testing.assert_array_equal(folder.load_outcome(task)["returns"], [1.0, 2.0])
    path = folder.outcome_path(task)
    path.write_bytes(path.read_bytes()[:-7])
    assert not folder.has_outcome(task)


def test_outcome_drops_checkpoints_but_no_neighbour(tmp_path: Path) -> None:
    folder = store.RunFolder.create("paper", tmp_path / "run")
    outer, inner = Task("a"), Task("a/b")
    folder.save_outcome(inner, {"x": np.ones(1)})
    train = folder.task(outer) / "train"
    for name in ("000000000003.json", "000000000003.safetensors", ".x.1-ab.tmp"):
        store.write_text(train / name, "")
    folder.save_outcome(outer, {"x": np.ones(1)})
    assert not train.exists()
    assert folder.has_outcome(inner) and folder.has_outcome(outer)
