"""The generated tables, on a small tree of invented papers."""

import json
from pathlib import Path
from typing import Any

import pytest

from shared.experiment import store
from shared.experiment.errors import BadInput, Damaged
from tools import _cli, report

PAGE = """# A paper

Text before.

<!-- ledger:begin -->
<!-- ledger:end -->

<!-- bench:begin -->
<!-- bench:end -->
Text after, with a \\1 backslash.
"""
FRONT = "# Front\n<!-- papers:begin -->\nold | table\n<!-- papers:end -->\nEnd.\n"
BIB = """@inproceedings{toy2024,
  title = {Gaps in {RL}},
  booktitle = {NeurIPS},
  year = 2024,
}
"""


def estimate(value: float, low: float | None, high: float | None, **changes: Any) -> dict[str, Any]:
    base = {"label": "", "unit": "", "n": 30, "level": 0.95, "detectable": None}
    return {"value": value, "low": low, "high": high, **base, **changes}


def claim(id: str, verdict: str, *estimates: dict[str, Any], **changes: Any) -> dict[str, Any]:
    base = {
        "id": id,
        "statement": f"Statement of {id}",
        "place": "Thm 3",
        "paper_value": "",
        "measured_as": "",
        "rule": "",
        "finding": "",
        "not_attempted": "",
    }
    return {**base, "verdict": verdict, "estimates": list(estimates), **changes}


def write_evidence(room: Path, preset: str, claims: list[dict[str, Any]], **origin: Any) -> None:
    provenance = {
        "time": "2026-11-22T10:00:00+00:00",
        "command": ["-m", f"papers.{room.name}.run", preset, "--seeds", "4", "--workers", "2"],
        "commit": "0123456789abcdef0123",
        "dirty": False,
        **origin,
    }
    run = {"paper": room.name, "preset": preset, "config": {"seeds": 4}, "provenance": provenance}
    evidence = {"run": run, "claims": claims, "results": {}}
    store.write_json(room / "results" / f"{preset}.json", evidence)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    room = tmp_path / "papers" / "toy"
    room.mkdir(parents=True)
    (room / "run.py").touch()
    (room / "citation.bib").write_text(BIB)
    (room / "README.md").write_text(PAGE)
    (tmp_path / "README.md").write_text(FRONT)
    return tmp_path


def page(root: Path) -> str:
    assert report.main([], root) == 0
    return (root / "papers" / "toy" / "README.md").read_text()


def row_of(text: str, start: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {start} |")]
    return [cell.strip() for cell in line.strip("|").replace(r"\|", "\0").split("|")]


def test_claims_table(root: Path) -> None:
    room = root / "papers" / "toy"
    exact = estimate(0.5, 0.5, 0.5, n=None, label="slope")
    noisy = estimate(0.0244, 0.0231, 0.0257, label="gap", unit="$", detectable=0.004)
    claims = [
        claim("C10", "not attempted", not_attempted="It needs a GPU."),
        claim("C2", "partly", exact, noisy, paper_value="1/2 | exact", finding="Few seeds."),
    ]
    write_evidence(room, "cpu", claims)
    text = page(root)
    assert row_of(text, "C2") == [
        "C2",
        "Statement of C2 (Thm 3)",
        "1/2 \0 exact",
        "slope: 0.5<br>gap: 0.0244 [0.0231, 0.0257] $ (n=30, could detect 0.004)",
        "**partly**<br>Few seeds.",
    ]
    assert row_of(text, "C10")[2:] == [
        "not known",
        "not measured",
        "**not attempted**<br>It needs a GPU.",
    ]
    assert text.index("| C2 |") < text.index("| C10 |")
    assert "1 partly, 1 not attempted. Brackets are 95 % intervals" in text


def test_the_source_of_the_numbers_is_named(root: Path) -> None:
    room = root / "papers" / "toy"
    write_evidence(room, "cpu", [claim("C1", "reproduced")])
    (room / "results" / "cpu").mkdir()
    (room / "results" / "cpu" / "returns.png").touch()
    text = page(root)
    assert "Preset `cpu`, seeds 0 to 3, commit `0123456789ab`, 2026-11-22." in text
    assert "`uv run python -m papers.toy.run cpu --seeds 4`" in text  # workers do not matter
    assert "[returns](results/cpu/returns.png)" in text
    assert "uncommitted" not in text
    write_evidence(room, "cpu", [claim("C1", "reproduced")], dirty=True, commit=None)
    assert "commit unknown" in page(root) and "uncommitted" in page(root)


def test_each_claim_from_the_largest_run_that_decided_it(root: Path) -> None:
    room = root / "papers" / "toy"
    quick = [claim("C1", "reproduced"), claim("C2", "reproduced"), claim("C3", "not attempted")]
    cpu = [claim("C1", "not reproduced"), claim("C2", "not run at this preset")]
    write_evidence(room, "quick", quick)
    assert "**reproduced** |" in page(root)  # the only evidence: no preset in the table
    write_evidence(room, "cpu", [*cpu, claim("C3", "not attempted")])
    text = page(root)
    assert row_of(text, "C1")[-1] == "**not reproduced** (cpu)"
    assert row_of(text, "C2")[-1] == "**reproduced** (quick)"
    assert row_of(text, "C3")[-1] == "**not attempted** (cpu)"
    assert "Preset `cpu`" in text and "Preset `quick`" in text


def test_unknown_bounds_are_shown_as_such(root: Path) -> None:
    write_evidence(
        root / "papers" / "toy", "cpu", [claim("C1", "partly", estimate(1.0, None, None, n=1))]
    )
    assert row_of(page(root), "C1")[3] == "1 [n/a, n/a] (n=1)"


def test_text_around_the_tables_stays(root: Path) -> None:
    write_evidence(root / "papers" / "toy", "cpu", [claim("C1", "reproduced")])
    before, after = PAGE.split("<!-- ledger:begin -->\n<!-- ledger:end -->")
    text = page(root)
    assert text.startswith(before) and text.endswith(after.split("<!-- bench:end -->")[1])


def test_front_page(root: Path) -> None:
    report.main([], root)
    front = (root / "README.md").read_text()
    assert "| [toy](papers/toy/README.md): Gaps in RL | NeurIPS, 2024 | no evidence yet |" in front
    assert front.startswith("# Front\n") and front.endswith("\nEnd.\n") and "old" not in front
    claims = [claim("C1", "reproduced"), claim("C2", "partly"), claim("C3", "reproduced")]
    write_evidence(root / "papers" / "toy", "quick", claims)
    report.main([], root)
    assert "| 2 reproduced, 1 partly |" in (root / "README.md").read_text()


def test_a_venue_that_is_not_known_is_not_guessed(root: Path) -> None:
    (root / "papers" / "toy" / "citation.bib").write_text("@misc{toy, title = {T}}")
    report.main([], root)
    assert "| [toy](papers/toy/README.md): T | not known |" in (root / "README.md").read_text()


def test_bench_table(root: Path) -> None:
    assert "No speed is measured yet; `uv run python -m tools.bench toy`" in page(root)
    rows = [
        {
            "name": "training, ω=1",
            "yardstick": "per-step loop",
            "ratio": 4.26,
            "low": 4.0,
            "high": 4.5,
            "floor": 3,
            "unit": "x",
        }
    ]
    bench = root / "papers" / "toy" / "results" / "bench.json"
    bench.parent.mkdir()
    origin = {"commit": "f" * 40, "cpu": "Some CPU", "cores": 2}
    bench.write_text(json.dumps({"rows": rows, "provenance": origin}))
    text = page(root)
    assert row_of(text, "training, ω=1")[1:] == ["per-step loop", "4.26 [4, 4.5] x", "3"]
    assert "commit `ffffffffffff`; Some CPU, 2 cores." in text
    bench.write_text(json.dumps({"rows": [{**rows[0], "floor": None, "low": None}]}))
    assert row_of(page(root), "training, ω=1")[2:] == ["4.26 [n/a, 4.5] x", "n/a"]


def test_check_names_what_is_stale_and_writes_nothing(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report.main(["--check"], root) == 1
    out = capsys.readouterr().out
    assert "README.md: its papers table is stale" in out
    assert "papers/toy/README.md: its ledger and bench table is stale" in out
    assert "uv run python -m tools.report" in out
    assert (root / "README.md").read_text() == FRONT

    assert report.main([], root) == 0
    capsys.readouterr()
    assert report.main(["--check"], root) == 0
    assert "current" in capsys.readouterr().out

    write_evidence(root / "papers" / "toy", "cpu", [claim("C1", "reproduced")])
    assert report.main(["--check"], root) == 1
    assert "papers/toy/README.md: its ledger table is stale" in capsys.readouterr().out


def test_writing_twice_changes_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_evidence(root / "papers" / "toy", "cpu", [claim("C1", "reproduced")])
    first = page(root)
    capsys.readouterr()
    assert page(root) == first
    assert capsys.readouterr().out == "All tables are current.\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a | b", r"a \| b"),
        ("h < 1 > 0", "h &lt; 1 &gt; 0"),
        ("a*b*c ~x~", r"a\*b\*c \~x\~"),
        ("`a*b < c` and d*e", r"`a*b < c` and d\*e"),
        ("a ` b < c", r"a \` b &lt; c"),
        ("two\nlines", "two lines"),
    ],
)
def test_text_in_a_cell_is_shown_as_it_is(text: str, shown: str) -> None:
    assert report.plain(text) == shown


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        ("# No markers\n", "needs the lines <!-- ledger:begin --> and <!-- ledger:end -->"),
        ("<!-- ledger:end -->\n<!-- ledger:begin -->\n", "in this order and once each"),
        ("<!-- ledger:begin -->\n<!-- ledger:end -->\n" * 2, "once each"),
        (None, "papers/toy/README.md cannot be read: No such file"),
    ],
)
def test_a_page_without_its_place_is_refused(root: Path, broken: str | None, sentence: str) -> None:
    path = root / "papers" / "toy" / "README.md"
    if broken is None:
        path.unlink()
    else:
        path.write_text(broken)
    with pytest.raises(BadInput, match=sentence):
        report.main([], root)
    assert (root / "README.md").read_text() == FRONT  # nothing is half done


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("results/cpu.json", '{"format": 1, "run"', "cpu.json is damaged"),
        ("results/cpu.json", '{"format": 1, "claims": [], "results": {}}', "has no run"),
        ("results/bench.json", "[]", "bench.json is damaged: it needs rows"),
        ("results/bench.json", '{"rows": [{"name": "x"}]}', "it needs rows with name, yardstick"),
        ("citation.bib", "nothing", "toy/citation.bib is damaged"),
    ],
)
def test_damaged_files_are_named(root: Path, file: str, content: str, sentence: str) -> None:
    path = root / "papers" / "toy" / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    with pytest.raises(Damaged, match=sentence):
        report.main(["--check"], root)


def test_an_unknown_option_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert _cli.run(report.main, ["--chek"]) == 2
    assert "--check" in capsys.readouterr().err
