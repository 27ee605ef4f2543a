"""`tools.cherrypick`: what is copied works alone, says where it is from, and overwrites nothing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from shared.experiment.errors import BadInput, Damaged, ExperimentError, MissingExtra
from tools import _cli, _repo, cherrypick
from tools._alone import run_alone

METHOD = '''"""Doubling."""

from __future__ import annotations

import math


def double(x: float) -> float:
    """Twice x."""
    return math.fsum((x, x))
'''
TEST = """from papers.gaps.method import double

def test_double():
    assert double(2.0) == 4.0

if __name__ == "__main__":
    test_double()
    print("1 test passed")
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small repository with one paper, `gaps`; its licence and project files are ours."""
    root = tmp_path / "repository"
    room, beside = root / "papers" / "gaps", root / "tests" / "papers" / "cherrypick"
    room.mkdir(parents=True)
    beside.mkdir(parents=True)
    for name in ("LICENSE", "CITATION.cff", "pyproject.toml"):
        shutil.copy(_repo.ROOT / name, root / name)
    (room / "run.py").touch()
    (room / "citation.bib").write_text("@misc{gap, title = {On Gaps}}\n")
    (room / "method.py").write_text(METHOD)
    (beside / "test_gaps.py").write_text(TEST)
    return root


@pytest.fixture
def item(root: Path, tmp_path: Path) -> cherrypick.Pick:
    """The method of `gaps`, on its way to a folder that is not there yet."""
    return cherrypick.pick("gaps", tmp_path / "other" / "project", root=root)


def test_without_pytorch_nothing_is_copied_and_the_command_that_adds_it_is_named(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(root / "papers/gaps/method.py", root / "papers/gaps/method_torch.py")
    tests = root / "tests/papers/cherrypick"
    shutil.copy(tests / "test_gaps.py", tests / "test_gaps_torch.py")
    picked = cherrypick.pick("gaps", tmp_path / "project", torch=True, root=root)
    monkeypatch.setattr(cherrypick, "find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match="uv sync --extra torch"):
        cherrypick.copy(picked)
    assert not (tmp_path / "project").exists()


def test_the_copy_has_licence_citation_origin_and_the_method_unaltered(
    item: cherrypick.Pick,
) -> None:
    cherrypick.copy(item)
    text = item.copy.read_text()
    assert text.endswith(METHOD)
    for line in (
        "# file:   papers/gaps/method.py",
        "# commit: none (not a git checkout with a commit)",
        "# @misc{gap, title = {On Gaps}}",
        "# MIT License",
        "# The above copyright notice and this permission notice shall be included in all",
    ):
        assert line in text.splitlines()
    compile(text, "gaps.py", "exec")  # the future import still comes first
    assert "from gaps import double" in item.test_copy.read_text()
    assert cherrypick.prove(item) == "1 test passed"


def test_the_commit_is_recorded_and_a_changed_method_is_marked(item: cherrypick.Pick) -> None:
    git = ["git", "-C", str(item.root), "-c", "user.name=n", "-c", "user.email=e@example.org"]
    subprocess.run(["git", "init", "-q", str(item.root)], check=True)
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-qm", "all"], check=True)
    head = _repo.git("rev-parse", "HEAD", root=item.root)
    assert f"# commit: {head}\n" in cherrypick.header(item, item.source, METHOD)
    (item.root / "LICENSE").write_text("another file; the method is as committed")
    assert f"# commit: {head}\n" in cherrypick.header(item, item.source, METHOD)
    item.source.write_text(METHOD + "\n")
    assert f"# commit: {head}+changes\n" in cherrypick.header(item, item.source, METHOD)


def test_check_tells_edits_from_news(item: cherrypick.Pick) -> None:
    cherrypick.copy(item)
    assert cherrypick.check(item) == (True, True)
    item.source.write_text(METHOD.replace("Twice", "Two times"))
    assert cherrypick.check(item) == (True, False)
    item.copy.write_text(item.copy.read_text() + "\nx = 1\n")
    assert cherrypick.check(item) == (False, False)
    item.source.write_text(METHOD)
    assert cherrypick.check(item) == (False, True)
    item.copy.write_text(METHOD)
    with pytest.raises(Damaged, match="has lost its header"):
        cherrypick.check(item)


def test_nothing_is_overwritten_unasked(item: cherrypick.Pick) -> None:
    cherrypick.copy(item)
    item.copy.write_text("mine")
    with pytest.raises(BadInput, match=r"gaps\.py exists already; --check compares it, --force"):
        cherrypick.copy(item)
    assert item.copy.read_text() == "mine"
    cherrypick.copy(item, force=True)
    assert item.copy.read_text().endswith(METHOD)
    item.copy.unlink()  # the test alone is in the way, too
    with pytest.raises(BadInput, match=r"test_gaps\.py exists already"):
        cherrypick.copy(item)
    assert not item.copy.exists()


@pytest.mark.parametrize(
    "line", ["from shared.stats import iqm", "from .env import ENV", "import papers.gaps.env"]
)
def test_a_method_that_leans_on_this_repository_is_not_copied(
    item: cherrypick.Pick, line: str
) -> None:
    item.source.write_text(f"{METHOD}\n{line}\n")
    with pytest.raises(BadInput, match="does not stand alone"):
        cherrypick.copy(item)
    assert not item.dest.exists()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("__import__('importlib').import_module('shared.experiment')", "it imports shared"),
        ("assert double(1.0) == 3.0", "AssertionError"),
        ("raise SystemExit(3)", "it ended with exit code 3"),
    ],
)
def test_the_proof_fails_with_the_reason(item: cherrypick.Pick, line: str, reason: str) -> None:
    path = item.test_source
    path.write_text(TEST.replace("    print", f"    {line}\n    print"))
    cherrypick.copy(item)
    with pytest.raises(ExperimentError, match=reason) as failure:
        cherrypick.prove(item)
    assert "does not pass its test on its own" in str(failure.value)


def test_out_of_sight_means_whatever_the_path_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(_repo.ROOT))
    monkeypatch.chdir(_repo.ROOT)
    file = tmp_path / "sneaky.py"
    file.write_text(f"import sys\nsys.path.append({str(_repo.ROOT)!r})\nimport papers\n")
    with pytest.raises(RuntimeError, match="it imports papers"):
        run_alone(file)
    file.write_text("import os, sys\nprint(sys.flags.isolated, 'PYTHONPATH' in os.environ)\n")
    assert run_alone(file) == "1 False"


def test_bad_destinations_and_names(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(BadInput, match="is a file; name a folder"):
        cherrypick.copy(cherrypick.pick("gaps", file, root=root))
    with pytest.raises(ExperimentError, match=r"Cannot write .*Not a directory"):
        cherrypick.copy(cherrypick.pick("gaps", file / "below", root=root))
    with pytest.raises(BadInput, match=r"no paper 'gap' here \(did you mean gaps"):
        cherrypick.pick("gap", tmp_path, root=root)
    with pytest.raises(BadInput, match=r"no PyTorch version: papers/gaps/method_torch\.py"):
        cherrypick.pick("gaps", tmp_path, torch=True, root=root)
    with pytest.raises(BadInput, match=r"There is no gaps\.py in"):
        cherrypick.check(cherrypick.pick("gaps", tmp_path, root=root))


def test_requirements_are_those_of_the_project() -> None:
    source = "import math\nimport jax.numpy as jnp\nfrom torch import nn\nimport yaml_not_here\n"
    jax, torch, unknown = cherrypick.requirements(source)
    assert jax.startswith("jax>=") and torch.startswith("torch>=")
    assert unknown == "yaml_not_here"
    assert cherrypick.imports("from . import env") == ["."]


def test_the_command_line(
    item: cherrypick.Pick, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    find = cherrypick.pick
    monkeypatch.setattr(cherrypick, "pick", lambda *args: find(*args, root=item.root))
    argv = ["gaps", str(item.dest)]
    assert _cli.run(cherrypick.main, argv) == 0
    printed = capsys.readouterr().out
    assert "out of sight: 1 test passed" in printed
    assert "Needs: nothing but Python" in printed
    assert _cli.run(cherrypick.main, argv) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert _cli.run(cherrypick.main, [*argv, "--check"]) == 0
    item.source.write_text(METHOD + "\n")
    assert _cli.run(cherrypick.main, [*argv, "--check"]) == 1
    assert "another method now" in capsys.readouterr().out
    assert _cli.run(cherrypick.main, ["gaps"]) == 2
    assert "required: DEST" in capsys.readouterr().err
