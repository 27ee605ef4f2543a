"""The record of origin is right inside git and outside, and names no machine or user."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from shared.experiment import provenance

REPOSITORY = Path(__file__).resolve().parents[3]


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    done = subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    for name in ("papers/a/method.py", "papers/a/results/quick.json", "README.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "all")
    return tmp_path


def test_commit_and_cleanness(repository: Path) -> None:
    clean = provenance.describe(["run", "quick"], repository)
    assert clean["commit"] == git(repository, "rev-parse", "HEAD") and clean["dirty"] is False
    for name in ("papers/a/results/quick.json", "papers/a/results/new/plot.png", "README.md"):
        (repository / name).parent.mkdir(exist_ok=True)
        (repository / name).write_text("2")
    (repository / "papers/a/README.md").write_text("new page")
    assert provenance.describe([], repository)["dirty"] is False, "evidence and pages are no code"


@pytest.mark.parametrize("name", ["papers/a/method.py", "papers/a/new.py", "results/x.py"])
def test_any_other_change_makes_it_dirty(repository: Path, name: str) -> None:
    (repository / name).parent.mkdir(exist_ok=True)
    (repository / name).write_text("2")
    assert provenance.describe([], repository)["dirty"] is True


def test_outside_git_and_without_a_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    record = provenance.describe([], tmp_path)
    assert record["commit"] is None and record["dirty"] is None
    git(tmp_path, "init", "-q")
    (tmp_path / "a.py").write_text("")
    record = provenance.describe([], tmp_path)
    assert record["commit"] is None and record["dirty"] is True
    monkeypatch.setenv("PATH", "")
    assert provenance.describe([], tmp_path)["commit"] is None


def test_what_is_recorded() -> None:
    record = json.loads(json.dumps(provenance.describe(["python", "-m", "papers.x.run"])))
    assert record["command"] == ["python", "-m", "papers.x.run"]
    assert record["time"].endswith("+00:00")
    assert record["python"] == platform.python_version()
    assert record["packages"]["numpy"] == np.__version__
    assert {"jax", "jaxlib", "optax", "equinox", "scipy"} <= set(record["packages"])
    assert record["cpu"] and 1 <= record["cores"] <= (os.cpu_count() or 1)
    assert platform.node() not in json.dumps(record).split()


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from shared.experiment import provenance, store, loop, checkpoint; "
        "provenance.describe([]); print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, check=True, capture_output=True, text=True
    )
    assert not {"jax", "numpy", "safetensors", "torch"} & set(done.stdout.split())
