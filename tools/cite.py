"""Cite a paper and this repository's measurement of one of its claims.

    python -m tools.cite superiority
    python -m tools.cite superiority --claim C3 --preset cpu

Prints BibTeX on stdout: the paper's own entry as it stands in `citation.bib`, an entry for this
implementation, and with --claim one for the measured value. What is not known is named in a comment
with the page to complete it from; nothing is guessed.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

from shared.experiment.errors import BadInput, Damaged
from shared.experiment.evidence import essential
from shared.experiment.ledger import estimate_text
from shared.experiment.spec import PRESET_NAMES, Verdict
from tools import _bibtex, _cli, _evidence, _repo

_UNDECIDED = (Verdict.NOT_RUN, Verdict.NOT_ATTEMPTED)


def cite(
    paper: str, claim: str | None = None, preset: str | None = None, root: Path = _repo.ROOT
) -> str:
    """All that a person needs to cite `paper`, and `claim` as measured by `preset` (None: best).

    Raises:
        BadInput: no such paper, claim, or evidence. Damaged: a file of ours cannot be read.
    """
    room = _repo.room(paper, root)
    try:
        bib = (room / "citation.bib").read_text(encoding="utf-8").strip()
        entry = _bibtex.parse_bib(bib)
    except OSError as error:
        raise Damaged(f"{room.name}/citation.bib cannot be read: {error.strerror}.") from error
    except Damaged as error:
        raise Damaged(f"{room.name}/citation.bib is damaged: {error}") from error
    parts = [_comment("The paper."), bib, *_gaps(entry)]
    parts += [_comment("This implementation."), *_software(paper, entry, root)]
    if claim is not None or preset is not None:
        preset, evidence = _choose(_evidence.load_all(room), paper, claim, preset)
        parts += _result(paper, claim, preset, evidence, root)
    return "\n".join(parts)


def _comment(text: str) -> str:
    """Lines that BibTeX skips: `%` is a comment to every BibTeX reader that we know."""
    return "\n".join(f"% {line}" for line in wrap(text, 96, break_on_hyphens=False))


def _gaps(entry: _bibtex.Entry) -> list[str]:
    """A comment that names the fields which are missing, and where to look them up."""
    gaps = _bibtex.missing(entry)
    if not gaps:
        return []
    where = _bibtex.pages(entry)
    look = f"complete them from {' or '.join(where)}" if where else "no page to look is known"
    return [_comment(f"Not known here: {', '.join(gaps)}; {look}.")]


def _software(paper: str, entry: _bibtex.Entry, root: Path) -> list[str]:
    about, commit = _repo.citation_file(root), _repo.commit(root=root)
    when = _repo.git("show", "-s", "--format=%cs", root=root) if commit else None
    clean = commit.removesuffix("+changes") if commit else None
    title = entry["fields"].get("title", paper)
    fields = {
        "title": f"{about['title']}: an implementation of {{{title}}}",
        "author": about["authors"],
        "year": (about.get("date-released") or when or "")[:4],
        "version": about["version"],
        "url": about.get("url") or about.get("repository-code") or "",
        "note": f"papers/{_bibtex.escape(paper)}" + (f", commit {clean}" if clean else ""),
    }
    gaps = []
    if clean is None:
        gaps.append("the commit and year (this is not a git checkout with a commit)")
    if not fields["url"]:
        gaps.append("the url of this repository (add the address that you cloned it from)")
    printed = [_bibtex.format_bib("misc", f"corroborate_{paper}", fields)]
    if gaps:
        printed.append(_comment(f"Not known here: {'; '.join(gaps)}."))
    if commit != clean:
        printed.append(_comment("The files differ from that commit: commit before you cite."))
    return printed


def _choose(
    found: Mapping[str, dict[str, Any]], paper: str, claim: str | None, preset: str | None
) -> tuple[str, dict[str, Any]]:
    """The preset asked for, else the largest one that decided the claim, else the largest."""
    if preset is not None and preset not in PRESET_NAMES:
        near = _repo.nearest(preset, PRESET_NAMES)
        raise BadInput(f"There is no preset {preset!r}{near}.")
    if not found or (preset is not None and preset not in found):
        command = f"uv run python -m papers.{paper}.run {preset or 'cpu'} --publish"
        has = f"; there is {', '.join(found)}" if found else ""
        raise BadInput(
            f"{paper} has no committed evidence of preset {preset or 'cpu'}{has} "
            f"(`{command}` makes it)."
        )
    if claim is not None:
        ids = list(dict.fromkeys(row["id"] for e in found.values() for row in e["claims"]))
        if claim not in ids:
            raise BadInput(f"{paper} has no claim {claim!r}{_repo.nearest(claim, ids)}.")
    for name, evidence in found.items():
        row = _evidence.claim_row(evidence, claim) if claim else None
        if preset is None and (claim is None or (row and row["verdict"] not in _UNDECIDED)):
            return name, evidence
    name = preset or next(iter(found))
    return name, found[name]


def _result(
    paper: str, claim: str | None, preset: str, evidence: Mapping[str, Any], root: Path
) -> list[str]:
    """The measured values: readable comments, then an entry whose note holds the same."""
    run = evidence["run"]
    rows = [row for row in evidence["claims"] if claim in (None, row["id"])]
    if not rows:
        raise BadInput(f"The {preset} evidence of {paper} does not hold claim {claim!r}.")
    origin = run["provenance"]
    commit = origin.get("commit") or "unknown"
    facts = f"preset {preset}, {_evidence.seeds(run['config'])}, commit {commit}"
    how = reproduce(paper, run)
    printed = [_comment("The measurement.")]
    for row in rows:
        printed.append(_comment(f"{row['id']}: {row['statement']} ({row['place']})"))
        printed += [_comment(f"  {line}") for line in _measured(row)]
    if origin.get("dirty"):
        printed.append(_comment("Warning: that run was made with uncommitted changes."))
    printed.append(_comment(f"Made at {facts}. To reproduce it, at that commit:"))
    printed.append(f"%     {how}")
    notes = "; ".join(f"{row['id']}: {', '.join(_measured(row))}" for row in rows)
    about = _repo.citation_file(root)
    fields = {
        "title": f"{about['title']}: {_bibtex.escape(_title(paper, claim, rows))}",
        "author": about["authors"],
        "year": str(origin.get("time", ""))[:4],
        "version": about["version"],
        "url": about.get("url") or about.get("repository-code") or "",
        "note": _bibtex.escape(f"{notes}; {facts}; {how}"),
    }
    key = f"corroborate_{paper}_{claim or preset}"
    return [*printed, _bibtex.format_bib("misc", key, fields)]


def _title(paper: str, claim: str | None, rows: Sequence[Mapping[str, Any]]) -> str:
    return f"{paper}, claim {claim}, {rows[0]['statement']}" if claim else f"{paper}, all claims"


def _measured(row: Mapping[str, Any]) -> list[str]:
    """Estimates with their intervals, the paper's number and the verdict, a string each."""
    lines = []
    for estimate in row["estimates"]:
        level = f", {100 * estimate['level']:g} % interval" if estimate["n"] is not None else ""
        lines.append(f"{estimate_text(estimate)}{level}")
    if row.get("paper_value"):
        lines.append(f"paper: {row['paper_value']}")
    reason = row.get("finding") or row.get("not_attempted")
    lines.append(f"verdict: {row['verdict']}" + (f" ({reason})" if reason else ""))
    return lines


def reproduce(paper: str, run: Mapping[str, Any]) -> str:
    """The command that makes this evidence again: as recorded, less what does not matter.

    Dropped are options that say where to and with how many hands (`--out`, `--workers`). A command
    with `--resume` does not hold the run's options, so the preset stands for it.
    """
    recorded = run["provenance"].get("command", [])
    words = shlex.split(recorded) if isinstance(recorded, str) else list(recorded)
    start = f"uv run python -m papers.{paper}.run"
    at = next(
        (i for i, word in enumerate(words) if word.endswith(("run.py", f"{paper}.run"))), None
    )
    if at is None or any(word.split("=")[0] == "--resume" for word in words):
        return f"{start} {run['preset']}"
    kept = essential(words[at + 1 :])
    if not kept or kept[0].startswith("-"):
        kept.insert(0, run["preset"])
    return shlex.join([*shlex.split(start), *kept])


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = _cli.parser("cite", __doc__)
    parser.add_argument("paper", help="name of the paper, e.g. superiority")
    parser.add_argument("--claim", metavar="C3", help="also cite what was measured for this claim")
    parser.add_argument(
        "--preset",
        metavar="cpu",
        help="the run to cite: smoke, quick, cpu or paper (default: the largest that decides it)",
    )
    arguments = _cli.parse(parser, argv)
    print(cite(arguments.paper, arguments.claim, arguments.preset))
    return 0


if __name__ == "__main__":
    sys.exit(_cli.run(main))
