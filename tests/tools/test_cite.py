"""`tools.cite`: nothing guessed, everything that a reader needs to find and repeat a number."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from shared.experiment.errors import BadInput, Damaged
from tools import _bibtex, _cli, _repo
from tools.cite import cite, main, reproduce

BIB = """@inproceedings{doe2024gap,
  title     = {On {Gaps} and "Quotes"},
  author    = {Doe, Jane and M{\\"u}ller, Max},
  booktitle = "Proceedings of Something",
  year      = 2024,
  eprint    = {2401.00001}, archivePrefix = {arXiv}
}
"""
CFF = """cff-version: 1.2.0
title: Corroborate
authors:
  - name: The Corroborate developers
version: 0.1.0
"""


def claim(name: str, verdict: str, value: float | None = None) -> dict:
    estimate = {
        "value": value,
        "low": 0.01,
        "high": 0.03,
        "label": "gap",
        "unit": "",
        "n": 30,
        "level": 0.95,
        "detectable": None,
    }
    return {
        "id": name,
        "statement": "Gaps stay > 0 at 100 % of _all_ levels.",
        "place": "Section 4",
        "paper_value": "",
        "estimates": [] if value is None else [estimate],
        "verdict": verdict,
        "finding": "",
        "not_attempted": "",
    }


def write_evidence(room: Path, preset: str, claims: list[dict], **origin: object) -> None:
    command = ["python", "-m", "papers.gaps.run", preset, "--publish"]
    provenance = {"commit": "abc123", "dirty": False, "time": "2026-03-01T10:00:00+00:00"}
    run = {
        "preset": preset,
        "config": {"seeds": 10, "first_seed": 5},
        "provenance": {**provenance, "command": command, **origin},
    }
    (room / "results").mkdir(exist_ok=True)
    evidence = {"format": 1, "run": run, "claims": claims, "results": {}}
    (room / "results" / f"{preset}.json").write_text(json.dumps(evidence))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with one paper, `gaps`, and evidence of two presets."""
    room = tmp_path / "papers" / "gaps"
    room.mkdir(parents=True)
    (room / "run.py").touch()
    (room / "citation.bib").write_text(BIB)
    (tmp_path / "CITATION.cff").write_text(CFF)
    both = [claim("C1", "reproduced", 0.5), claim("C2", "not reproduced", 0.25)]
    write_evidence(room, "quick", both)
    cpu = [claim("C1", "reproduced", 0.02), claim("C2", "not run at this preset")]
    write_evidence(room, "cpu", cpu)
    return tmp_path


def entries(text: str) -> list[_bibtex.Entry]:
    """All BibTeX entries of a text whose every other line is a comment."""
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    return [_bibtex.parse_bib(part) for part in re.split(r"^(?=@)", body, flags=re.MULTILINE)[1:]]


# BibTeX -------------------------------------------------------------------------------------------


def test_bibtex_is_read_with_nested_braces_quotes_and_bare_numbers() -> None:
    entry = _bibtex.parse_bib("% a comment\n" + BIB)
    assert (entry["type"], entry["key"]) == ("inproceedings", "doe2024gap")
    assert entry["fields"] == {
        "title": 'On {Gaps} and "Quotes"',
        "author": 'Doe, Jane and M{\\"u}ller, Max',
        "booktitle": "Proceedings of Something",
        "year": "2024",
        "eprint": "2401.00001",
        "archiveprefix": "arXiv",
    }
    assert _bibtex.missing(entry) == ["editor", "volume", "pages", "publisher"]
    assert _bibtex.pages(entry) == ["https://arxiv.org/abs/2401.00001"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "holds no BibTeX entry"),
        ("@misc{key, title = {Open", "has no end"),
        ("@misc{key, title = {A}", "does not end with a closing brace"),
        ("@misc{key, title = ,}", "has no end"),
    ],
)
def test_damaged_bibtex_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(Damaged, match=sentence):
        _bibtex.parse_bib(text)


def test_what_is_written_is_read_back() -> None:
    fields = {"title": "A {B}", "note": _bibtex.escape("50 % of a_b > {c} & #1")}
    text = _bibtex.format_bib("misc", "key", {**fields, "empty": ""})
    assert _bibtex.parse_bib(text) == {"type": "misc", "key": "key", "fields": fields}
    assert fields["note"] == r"50 \% of a\_b \ensuremath{>} \{c\} \& \#1"


# Citing -------------------------------------------------------------------------------------------


def test_the_paper_is_verbatim_and_gaps_are_named(root: Path) -> None:
    text = cite("gaps", root=root)
    assert BIB.strip() in text
    comments = " ".join(line[2:] for line in text.splitlines() if line.startswith("%"))
    assert "Not known here: editor, volume, pages, publisher; complete them from" in comments
    assert "https://arxiv.org/abs/2401.00001" in comments
    assert "the commit and year (this is not a git checkout" in comments
    assert "the url of this repository" in comments
    software = entries(text)[1]
    assert software["key"] == "corroborate_gaps"
    assert software["fields"]["version"] == "0.1.0"
    assert software["fields"]["author"] == "{The Corroborate developers}"
    assert "year" not in software["fields"] and "url" not in software["fields"]


def test_commit_year_and_address_are_taken_from_where_they_stand(root: Path) -> None:
    (root / "CITATION.cff").write_text(CFF + "url: https://example.org/c\n")
    git = ["git", "-C", str(root), "-c", "user.name=n", "-c", "user.email=e@example.org"]
    when = {"GIT_COMMITTER_DATE": "2025-07-01T00:00:00Z", "GIT_CONFIG_GLOBAL": "/dev/null"}
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-qm", "all"], check=True, env=when, cwd=root)
    head = _repo.git("rev-parse", "HEAD", root=root)
    text = cite("gaps", root=root)
    software = entries(text)[1]["fields"]
    assert software["year"] == "2025"
    assert software["url"] == "https://example.org/c"
    assert head is not None and software["note"].endswith(f"commit {head}")
    assert "differ from that commit" not in text
    (root / "papers" / "gaps" / "run.py").write_text("changed = 1\n")
    assert "differ from that commit" in cite("gaps", root=root)


def test_a_claim_comes_with_value_interval_verdict_and_command(root: Path) -> None:
    text = cite("gaps", "C1", root=root)
    note = entries(text)[2]["fields"]["note"]
    for part in ("0.02 [0.01, 0.03]", r"95 \% interval", "n=30", "verdict: reproduced"):
        assert part in note
    for part in ("preset cpu", "seeds 5 to 14", "commit abc123"):
        assert part in note
    assert "uv run python -m papers.gaps.run cpu" in text
    assert "--publish" not in text
    assert entries(text)[2]["fields"]["year"] == "2026"


def test_the_largest_preset_that_decided_a_claim_is_cited_unless_one_is_named(root: Path) -> None:
    assert "preset quick" in cite("gaps", "C2", root=root)
    assert "verdict: not reproduced" in cite("gaps", "C2", root=root)
    named = cite("gaps", "C2", "cpu", root=root)
    assert "preset cpu" in named and "verdict: not run at this preset" in named


def test_a_preset_alone_cites_all_its_claims(root: Path) -> None:
    note = entries(cite("gaps", preset="quick", root=root))[2]["fields"]["note"]
    assert "C1: gap: 0.5 " in note and "C2: gap: 0.25 " in note


def test_a_run_with_uncommitted_changes_is_called_so(root: Path) -> None:
    write_evidence(root / "papers" / "gaps", "cpu", [claim("C1", "reproduced", 0.1)], dirty=True)
    assert "uncommitted changes" in cite("gaps", "C1", root=root)
    assert "uncommitted changes" not in cite("gaps", "C2", root=root)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("gap",), r"no paper 'gap' here \(did you mean gaps\?\)"),
        (("../gaps",), "no paper '../gaps'"),
        (("gaps", "c1"), r"no claim 'c1'.*C1"),
        (("gaps", "C1", "cpus"), r"no preset 'cpus' \(did you mean cpu\?\)"),
        (("gaps", "C1", "paper"), "no committed evidence of preset paper; there is cpu, quick"),
    ],
)
def test_what_is_not_there_is_refused(root: Path, arguments: tuple, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence) as refusal:
        cite(*arguments, root=root)
    assert "\n" not in str(refusal.value)


def test_damaged_files_are_named(root: Path) -> None:
    room = root / "papers" / "gaps"
    (room / "results" / "cpu.json").write_text('{"format": 1, "run": {}}')
    with pytest.raises(Damaged, match=r"cpu\.json of gaps has no claims"):
        cite("gaps", "C1", root=root)
    (room / "citation.bib").write_text("nothing")
    with pytest.raises(Damaged, match=r"gaps/citation\.bib is damaged"):
        cite("gaps", root=root)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["python", "-m", "papers.gaps.run", "cpu", "--publish", "--out", "x"], "cpu"),
        (["papers/gaps/run.py", "cpu", "--workers=2", "--seeds", "4"], "cpu --seeds 4"),
        (["python", "-m", "papers.gaps.run", "--seeds", "4"], "cpu --seeds 4"),
        (["python", "-m", "papers.gaps.run", "--resume", "latest"], "cpu"),
        (["python", "-m", "papers.gaps.run", "cpu", "--note", "a b"], "cpu --note 'a b'"),
        ([], "cpu"),
    ],
)
def test_the_command_keeps_what_changes_results(command: list[str], words: str) -> None:
    run = {"preset": "cpu", "provenance": {"command": command}}
    assert reproduce("gaps", run) == f"uv run python -m papers.gaps.run {words}"


def test_this_repository_can_be_cited(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["superiority"]) == 0
    paper, software, *_ = entries(capsys.readouterr().out)
    assert paper["key"] == "wiltzer2024action"
    assert "pages" not in paper["fields"]
    assert software["fields"]["author"] == "{The Corroborate developers}"


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["superiorty"], "did you mean superiority?"),
        (["superiority", "--clam", "C3"], "There is no option --clam (did you mean --claim"),
        ([], "required: paper"),
        (["superiority", "C3"], "There is one argument too many: 'C3'"),
    ],
)
def test_the_command_line_refuses_in_one_sentence(
    argv: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _cli.run(main, argv) == 2
    printed = capsys.readouterr()
    assert sentence in printed.err and printed.err.count("\n") == 1
    assert printed.out == ""


def test_help_shows_how_to_use_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    assert re.search(r"--claim C3 --preset cpu", capsys.readouterr().out)
