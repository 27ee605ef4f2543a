"""Evidence: only of clean commits, and nothing in it that is one machine's or one user's."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import papers.__main__ as listing
from shared.experiment import evidence, provenance, store
from shared.experiment.errors import BadInput
from tests.shared.experiment import toy
from tests.shared.experiment.test_main import here, sentence


@pytest.fixture(autouse=True)
def no_compile_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORROBORATE_CACHE", "off")


def test_evidence_is_refused_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    described = {"time": "now", "commit": "abc", "dirty": True}
    monkeypatch.setattr(provenance, "describe", lambda _: described)
    assert here("smoke", "--publish", "--out", str(tmp_path / "run")) == 2
    assert "clean checkout" in sentence(capsys)
    assert not (tmp_path / "run").exists()


def test_evidence_of_a_clean_run_goes_into_the_paper(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    described = {"time": "now", "commit": "abc", "dirty": False, "command": []}
    monkeypatch.setattr(provenance, "describe", lambda _: described)
    rooms: list[Path] = []
    publish = evidence.publish

    def publish_here(folder: store.RunFolder, room: Path, preset: str) -> list[Path]:
        rooms.append(room)
        return publish(folder, tmp_path, preset)

    monkeypatch.setattr(evidence, "publish", publish_here)
    assert here("smoke", "--draw", "--publish", "--out", str(tmp_path / "run")) == 0
    assert rooms == [Path(toy.__file__).parent]
    assert f"published {tmp_path / 'results' / 'smoke.json'}" in capsys.readouterr().out
    assert dict(listing.evidence(tmp_path)) == {
        "smoke": "1 reproduced, 1 not attempted (commit abc)"
    }


@pytest.mark.parametrize(
    ("later", "words"),
    [
        ({"commit": "abc", "dirty": True}, "uncommitted changes"),
        ({"commit": "def", "dirty": False}, "another commit"),
    ],
)
def test_a_run_that_was_touched_by_other_code_is_no_evidence(
    later: dict[str, Any],
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clean = {"time": "now", "commit": "abc", "dirty": False}
    folder = tmp_path / "run"
    for now in (clean, {"time": "now", **later}):
        monkeypatch.setattr(provenance, "describe", lambda _, now=now: now)
        where = ["--resume", str(folder)] if folder.exists() else ["smoke", "--out", str(folder)]
        assert here(*where) == 0
    monkeypatch.setattr(provenance, "describe", lambda _: clean)
    before = (folder / "run.json").read_bytes()
    capsys.readouterr()
    assert here("--resume", str(folder), "--publish") == 2
    assert words in sentence(capsys) and (folder / "run.json").read_bytes() == before


@dataclass(frozen=True)
class _Data:
    files: tuple[Path | None, ...]


@pytest.mark.parametrize("path", [Path("/data/prices.csv"), Path("../prices.csv")])
def test_evidence_needs_no_file_of_one_machine(path: Path) -> None:
    clean = {"commit": "abc", "dirty": False}
    evidence.refuse_unless_repeatable(_Data((None, Path("papers/a/prices.csv"))), [clean])
    with pytest.raises(BadInput, match=r"prices\.csv is a file of this machine"):
        evidence.refuse_unless_repeatable(_Data((None, path)), [clean])


def test_evidence_holds_nothing_of_one_machine_or_user(tmp_path: Path) -> None:
    finished = tmp_path / "run"
    assert here("smoke", "--out", str(finished)) == 0
    run = store.read_json(finished / "run.json")
    run["provenance"] |= {"commit": "abc", "dirty": False}
    words = ["python", "-m", "papers.a.run", "cpu", "--out", str(tmp_path), "--seeds", "3"]
    words += ["--launch=slurm", "--partition", "p", "--no-wait", "--gpus_per_task", "1"]
    run["provenance"]["command"] = [*words, "--agents", "DSUP(1/2)", "--precision", "high"]
    run["options"]["account"] = "me"
    run["device"]["cache"] = str(tmp_path)
    store.write_json(finished / "run.json", run)
    (tmp_path / "results" / "cpu").mkdir(parents=True)
    (tmp_path / "results" / "cpu" / "former.png").touch()
    (written,) = evidence.publish(store.RunFolder(finished), tmp_path, "cpu")
    kept = store.read_json(written)["run"]
    assert kept["provenance"]["command"][3:] == (
        ["cpu", "--seeds", "3", "--agents", "DSUP(1/2)", "--precision", "high"]
    )
    assert kept["options"]["account"] is None and str(tmp_path) not in written.read_text()
    assert list((tmp_path / "results" / "cpu").iterdir()) == []
