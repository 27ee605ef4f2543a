"""Write the tables of the READMEs from the evidence kept in git.

    python -m tools.report            rewrite what is stale
    python -m tools.report --check    only name what is stale (exit code 1)

Generated text stands between markers, alone on their lines: `<!-- ledger:begin -->` to
`<!-- ledger:end -->` (claims) and `<!-- bench:begin -->` to `<!-- bench:end -->` (speed) on a
paper's page, `<!-- papers:begin -->` to `<!-- papers:end -->` on the front page. Each claim is
shown with the largest run that decided it, as `tools.cite` does.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.experiment import ledger, store
from shared.experiment.errors import BadInput, Damaged
from shared.experiment.spec import Verdict
from tools import _bibtex, _cli, _evidence, _repo
from tools.cite import reproduce

COMMAND = "uv run python -m tools.report"
_UNDECIDED = (Verdict.NOT_RUN, Verdict.NOT_ATTEMPTED)
_BENCH_KEYS = ("name", "yardstick", "ratio", "low", "high", "floor", "unit")


@dataclass(frozen=True)
class Page:
    """A README as it is, and as the evidence says it should be."""

    path: Path
    old: str
    new: str
    stale: tuple[str, ...]


# Pages --------------------------------------------------------------------------------------------


def pages(root: Path = _repo.ROOT) -> list[Page]:
    """The front page and every paper's page.

    Raises:
        BadInput: a README or one of its markers is missing. Damaged: evidence cannot be read.
    """
    rooms = [root / "papers" / name for name in _repo.rooms(root)]
    papers = [_page(room / "README.md", _paper_blocks(room)) for room in rooms]
    return [_page(root / "README.md", {"papers": papers_table(rooms)}), *papers]


def _paper_blocks(room: Path) -> dict[str, str]:
    blocks = {"ledger": claims_table(room)}
    has_place = "<!-- bench:begin -->" in _read(room / "README.md")
    if has_place or (room / "results" / "bench.json").is_file():
        blocks["bench"] = bench_table(room)
    return blocks


def _page(path: Path, blocks: Mapping[str, str]) -> Page:
    old = new = _read(path)
    stale = []
    for name, text in blocks.items():
        replaced = _between_markers(path, new, name, text)
        if replaced != new:
            stale.append(name)
        new = replaced
    return Page(path, old, new, tuple(stale))


def _between_markers(path: Path, page: str, name: str, text: str) -> str:
    """The page with `text` between the markers of `name`."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    pattern = re.compile(
        rf"^{re.escape(begin)}[ \t]*\n(.*?)^{re.escape(end)}[ \t]*$", re.DOTALL | re.MULTILINE
    )
    if page.count(begin) != 1 or page.count(end) != 1 or not pattern.search(page):
        raise BadInput(
            f"{_name(path)} needs the lines {begin} and {end}, in this order and once each, "
            "where its table belongs."
        )
    return pattern.sub(lambda _: f"{begin}\n{text}\n{end}", page)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{_name(path)} cannot be read: {error.strerror}.") from error


def _name(path: Path) -> str:
    """A page as a person says it: `README.md`, `papers/superiority/README.md`."""
    parts = path.parts[-3:]
    return "/".join(parts) if parts[0] == "papers" else path.name


# Tables -------------------------------------------------------------------------------------------


def claims_table(room: Path) -> str:
    """Every claim with the paper's value, ours and the verdict; then where the evidence is from."""
    found = _evidence.load_all(room)
    if not found:
        command = f"uv run python -m papers.{room.name}.run cpu --publish"
        return f"No evidence is committed yet; `{command}` makes it."
    rows = best_rows(found)
    used = [preset for preset in found if any(preset == chosen for chosen, _ in rows)]
    head = ["", "Claim", "Paper", "Ours", "Verdict"]
    body = [_claim_cells(row, preset if len(used) > 1 else "") for preset, row in rows]
    counts = ledger.counts([row for _, row in rows])
    sources = [_source(room, preset, found[preset]) for preset in used]
    return "\n\n".join([_table(head, body), f"{counts}.{_levels(rows)}", *sources])


def best_rows(found: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """(preset, ledger row) of each claim: the largest run that decided it, else the largest.

    Args:
        found: evidence by preset, the largest preset first.
    """
    largest = next(iter(found))
    ids = dict.fromkeys(row["id"] for evidence in found.values() for row in evidence["claims"])
    rows = []
    for claim in sorted(ids, key=_number_in):
        having = {p: r for p, e in found.items() if (r := _evidence.claim_row(e, claim))}
        decided = [p for p, row in having.items() if row["verdict"] not in _UNDECIDED]
        preset = decided[0] if decided else largest if largest in having else next(iter(having))
        rows.append((preset, having[preset]))
    return rows


def _number_in(claim: str) -> tuple[int, str]:
    """C2 before C10."""
    number = re.search(r"\d+", claim)
    return (int(number[0]) if number else 0, claim)


def _claim_cells(row: Mapping[str, Any], preset: str) -> list[str]:
    ours = [plain(ledger.estimate_text(estimate)) for estimate in row["estimates"]]
    reason = row.get("finding") or row.get("not_attempted") or ""
    verdict = f"**{row['verdict']}**" + (f" ({preset})" if preset else "")
    return [
        row["id"],
        plain(row["statement"]) + (f" ({plain(row['place'])})" if row["place"] else ""),
        plain(row.get("paper_value") or "") or "not known",
        "<br>".join(ours) or "not measured",
        verdict + (f"<br>{plain(reason)}" if reason else ""),
    ]


def _levels(rows: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """What the brackets are: every level in use, exact numbers aside."""
    sampled = [e for _, row in rows for e in row["estimates"] if e["n"] is not None]
    levels = sorted({f"{100 * e['level']:g} %" for e in sampled})
    return f" Brackets are {' or '.join(levels)} intervals, n counts runs." if levels else ""


def _source(room: Path, preset: str, evidence: Mapping[str, Any]) -> str:
    """Preset, seeds, commit, machine, figures, and the command that reproduces the numbers."""
    run = evidence["run"]
    origin = run["provenance"]
    commit = origin.get("commit")
    facts = [
        f"Preset `{preset}`",
        _evidence.seeds(run["config"]),
        f"commit `{commit[:12]}`" if commit else "commit unknown",
        *([str(origin["time"])[:10]] if origin.get("time") else []),
    ]
    text = f"{', '.join(facts)}. Reproduce it with `{reproduce(room.name, run)}`."
    if origin.get("dirty"):
        text += " **That run was made with uncommitted changes.**"
    figures = sorted((room / "results" / preset).glob("*.png"))
    links = ", ".join(f"[{png.stem}](results/{preset}/{png.name})" for png in figures)
    return f"{text} Figures: {links}." if links else text


def papers_table(rooms: Sequence[Path]) -> str:
    """The papers with their venue and the verdicts on their claims."""
    if not rooms:
        return "No paper is here yet."
    return _table(["Paper", "Published in", "Claims"], [_paper_cells(room) for room in rooms])


def _paper_cells(room: Path) -> list[str]:
    try:
        fields = _bibtex.parse_bib(_read(room / "citation.bib"))["fields"]
    except Damaged as error:
        raise Damaged(f"papers/{room.name}/citation.bib is damaged: {error}") from error
    found = _evidence.load_all(room)
    title = fields.get("title", room.name).replace("{", "").replace("}", "")
    venue = fields.get("booktitle") or fields.get("journal") or ""
    verdicts = ledger.counts([row for _, row in best_rows(found)]) if found else "no evidence yet"
    return [
        f"[{room.name}](papers/{room.name}/README.md): {plain(title)}",
        ", ".join(part for part in (plain(venue), fields.get("year", "")) if part) or "not known",
        verdicts,
    ]


def bench_table(room: Path) -> str:
    """How fast, as a ratio to the yardstick measured in the same run."""
    path = room / "results" / "bench.json"
    command = f"uv run python -m tools.bench {room.name}"
    if not path.is_file():
        return f"No speed is measured yet; `{command}` does it."
    bench = _read_bench(path)
    body = []
    for row in bench["rows"]:
        names = ("ratio", "low", "high", "floor")
        numbers = (None if row[name] is None else float(row[name]) for name in names)
        ratio, low, high, floor = map(ledger.number, numbers)
        measured = f"{ratio} [{low}, {high}] {plain(row['unit'])}".strip()
        body.append([plain(row["name"]), plain(row["yardstick"]), measured, floor])
    origin = bench.get("provenance") or {}
    facts = [f"commit `{origin['commit'][:12]}`"] if origin.get("commit") else []
    facts += [f"{origin['cpu']}, {origin['cores']} cores"] if origin.get("cpu") else []
    table = _table(["What", "Yardstick", "Ratio, median [interval]", "Floor"], body)
    return f"{table}\n\nMeasured by `{command}`{''.join(f'; {fact}' for fact in facts)}."


def _read_bench(path: Path) -> dict[str, Any]:
    name = f"papers/{path.parent.parent.name}/results/bench.json"
    try:
        bench = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise Damaged(f"{name} is damaged: {error}.") from error
    rows = bench.get("rows") if isinstance(bench, dict) else None
    if not isinstance(rows, list) or any(key not in row for row in rows for key in _BENCH_KEYS):
        raise Damaged(f"{name} is damaged: it needs rows with {', '.join(_BENCH_KEYS)}.")
    return bench


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def plain(text: str) -> str:
    """Text for a cell of a Markdown table: shown as it is, but for `code`."""
    one_line = " ".join(text.split()).replace("|", r"\|")
    pieces = one_line.split("`")
    if len(pieces) % 2 == 0:  # a lone backtick starts no code
        pieces = [one_line.replace("`", r"\`")]
    specials = {"<": "&lt;", ">": "&gt;", "*": r"\*", "~": r"\~"}
    for i in range(0, len(pieces), 2):
        pieces[i] = "".join(specials.get(c, c) for c in pieces[i])
    return "`".join(pieces)


def main(argv: Sequence[str] | None = None, root: Path = _repo.ROOT) -> int:
    """The command line; returns the exit code."""
    parser = _cli.parser("report", __doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where stale")
    check = _cli.parse(parser, argv).check
    stale = [page for page in pages(root) if page.stale]
    for page in stale:
        tables = " and ".join(page.stale)
        if check:
            print(f"{_name(page.path)}: its {tables} table is stale; run `{COMMAND}`.")
        else:
            store.write_text(page.path, page.new)
            print(f"Wrote the {tables} table of {_name(page.path)}.")
    if not stale:
        print("All tables are current.")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(_cli.run(main))
