"""The harness finds what it is there to find: faulty programs, pages and paths turn it red."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from shared.experiment.store import write_npz
from tests import harness, pages

# A run of 20 rows, each the hash of all before it, appended to a file that a resumed run reads.
PROGRAM = """
import hashlib, os, sys
from pathlib import Path

folder, faulty = Path(sys.argv[1]), sys.argv[2] == "faulty"
task = folder / "tasks" / "a"
task.mkdir(parents=True, exist_ok=True)
path = task / "metrics.jsonl"
rows = path.read_text().splitlines(keepends=True) if path.exists() else []
rows = [row for row in rows if row.endswith("\\n")]
rows = rows + rows[-1:] if faulty else rows  # the fault: a row is counted twice
for i in range(len(rows), 20):
    digest = "".join(rows).encode()
    for _ in range(20_000):
        digest = hashlib.sha256(digest).digest()
    rows.append(digest.hex() + "\\n")
    path.with_suffix(".tmp").write_text("".join(rows))
    os.replace(path.with_suffix(".tmp"), path)
(folder / "results.json").write_text("".join(rows))
"""


def chain(tmp_path: Path, kind: str) -> tuple[harness.Chain, Path]:
    """The program killed five times, and its undisturbed run."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)

    def command(folder: Path) -> list[str]:
        return [sys.executable, str(program), str(folder), kind]

    whole = tmp_path / "whole"
    assert harness.execute(command(whole)).code == 0
    assert harness.progress(whole) == 20
    return harness.kill_and_resume(command, command, tmp_path, 20, seed="a"), whole


def test_a_program_that_resumes_well_passes_five_kills(tmp_path: Path) -> None:
    chained, whole = chain(tmp_path, "right")
    assert len(chained.kills) == 5
    assert any(0 < kill < 20 for kill in chained.kills)
    assert [harness.differences(whole, folder) for folder in chained.folders] == [
        [] for _ in chained.folders
    ]


def test_a_program_that_repeats_a_row_on_resume_is_found(tmp_path: Path) -> None:
    chained, whole = chain(tmp_path, "faulty")
    wanted = ["results.json", "tasks/a/metrics.jsonl"]
    assert wanted in [harness.differences(whole, folder) for folder in chained.folders]


def test_a_program_that_fails_is_reported_with_its_output(tmp_path: Path) -> None:
    def command(_: Path) -> list[str]:
        return [sys.executable, "-c", "raise SystemExit('the disk is full')"]

    with pytest.raises(AssertionError, match="the disk is full"):
        harness.kill_and_resume(command, command, tmp_path, 5, seed="a")


def test_one_byte_or_one_missing_file_is_a_difference(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_npz(tmp_path / name / "tasks" / "t" / "result.npz", {"x": np.arange(3)})
        (tmp_path / name / "results.json").write_text("{}")
    a, b = tmp_path / "a", tmp_path / "b"
    assert harness.differences(a, b) == []
    write_npz(b / "tasks" / "t" / "result.npz", {"x": np.array([0, 1, 3])})
    (a / "results.json").unlink()
    assert harness.differences(a, b) == ["results.json", "tasks/t/result.npz"]
    assert "results.json is missing" in harness.incomplete(a)


def test_seeds_that_change_nothing_are_found(tmp_path: Path) -> None:
    tasks = tmp_path / "tasks"
    for seed in (0, 1):
        write_npz(tasks / "good" / f"seeds-{seed}-{seed}" / "result.npz", {"x": np.array([seed])})
        write_npz(tasks / "deaf" / f"seeds-{seed}-{seed}" / "result.npz", {"x": np.array([7])})
    write_npz(tasks / "both" / "seeds-0-1" / "result.npz", {"x": np.array([[1, 2], [1, 2]])})
    assert harness.seedless_tasks(tmp_path) == ["tasks/both", "tasks/deaf"]


def test_a_scrambled_interpreter_has_other_global_state_and_no_network(tmp_path: Path) -> None:
    code = (
        "import random, numpy, socket; print(random.random(), numpy.random.rand(), hash('a'))\n"
        "try: socket.create_connection(('192.0.2.1', 9), timeout=1)\n"
        "except RuntimeError as error: print(error)"
    )
    variables = harness.scrambled(tmp_path)
    first, again = (harness.python("-c", code, **variables).out for _ in range(2))
    assert first == again and "no network at run time" in first
    other = harness.python("-c", code, **harness.scrambled(tmp_path, seed=1)).out
    assert all(a != b for a, b in zip(first.split()[:3], other.split()[:3], strict=True))
    assert (tmp_path / "scrambled.txt").read_text() == "numpy\n" * 3


@pytest.mark.parametrize(
    ("code", "out", "err", "wrong"),
    [
        (2, "", "There is no option --x.\n", 0),
        (1, "", "There is no option --x.\n", 1),
        (2, "", "Traceback (most recent call last):\n  File\nValueError: x.\n", 2),
        (2, "", "", 1),
        (2, "usage: x", "error\n", 2),
    ],
)
def test_what_is_not_one_sentence_is_found(code: int, out: str, err: str, wrong: int) -> None:
    assert len(harness.not_one_sentence(harness.Finished(code, out, err, 0.0))) == wrong


def test_heavy_imports_are_found() -> None:
    done, heavy = harness.imported_by("json.tool", "--help")
    assert done.code == 0 and heavy == []
    assert harness.imported_by("scipy.__config__")[1] == ["scipy"]


def test_commands_of_a_page_are_found_and_checked() -> None:
    page = """Run `uv run python -m tools.cite superiority --claim C3`, then
    python -m tools.cherrypick superiority DEST \\
        --torch  # comment --ignored
    python -m tools.cite superiority --clam C3
    python -m papers.<name>.run --anything
    python -m papers.nowhere.run
    python -m tools.nothing | less --help
    python -m tools
    """
    found = pages.commands(page)
    assert [str(command) for command in found] == [
        "python -m tools.cite superiority --claim C3",
        "python -m tools.cherrypick superiority DEST --torch",
        "python -m tools.cite superiority --clam C3",
        "python -m papers.nowhere.run",
        "python -m tools.nothing",
        "python -m tools",
    ]
    wrong = [pages.wrong_in(command) for command in found]
    assert wrong[:2] == [[], []]
    assert [len(w) for w in wrong[2:]] == [1, 1, 1, 1]
    assert "no option --clam" in wrong[2][0]


def test_paths_of_a_machine_are_found() -> None:
    home = "/".join(("", "home", "jane", "x.py"))
    assert pages.machine_paths(f"see {home}:3") == [home]
    assert pages.machine_paths(str(harness.ROOT / "x"))[-1] == str(harness.ROOT)
    assert pages.machine_paths("https://example.org/home/a ./work/a ~/home/b runs/root/c") == []
