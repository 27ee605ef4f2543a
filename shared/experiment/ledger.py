"""The claims ledger: what the paper states beside what this run measured.

A row of the ledger is the JSON form of a judged `Claim`; `claims.json` holds the list, the evidence
kept in git holds it too, and `tools` reads it back.
"""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from shared.experiment.spec import Claim, Estimate, Results, Verdict

_FELL_SHORT = (Verdict.PARTLY, Verdict.NOT_REPRODUCED)


def judge(claims: Sequence[Claim], results: Results) -> list[dict[str, Any]]:
    """The ledger rows of all claims, in order; a claim's own rule gives its verdict."""
    return [_row(claim, results) for claim in claims]


def _row(claim: Claim, results: Results) -> dict[str, Any]:
    estimates: Sequence[Estimate] = ()
    if claim.not_attempted:
        verdict = Verdict.NOT_ATTEMPTED
    else:
        measured = claim.measure(results)
        estimates = tuple(measured) if measured is not None else ()
        verdict = claim.judge(estimates) if estimates else Verdict.NOT_RUN
    return {
        "id": claim.id,
        "statement": claim.statement,
        "place": claim.place,
        "paper_value": claim.paper_value,
        "measured_as": claim.measured_as,
        "rule": claim.rule,
        "estimates": [_estimate(e) for e in estimates],
        "verdict": str(verdict),
        "finding": claim.finding if verdict in _FELL_SHORT else "",
        "not_attempted": claim.not_attempted,
    }


def _estimate(estimate: Estimate) -> dict[str, Any]:
    """An estimate as standard JSON: a number that is not finite becomes null."""
    fields = asdict(estimate)
    return {
        k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in fields.items()
    }


def fell_short(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Ids of the claims that this run decided and did not fully reproduce (for `--strict`)."""
    return [row["id"] for row in rows if row["verdict"] in _FELL_SHORT]


def number(value: float | None) -> str:
    """Three significant digits, plain where that is short: 0.5, 0.0267, 1.2e-05."""
    if value is None:
        return "n/a"
    if value == 0:
        return "0"
    return f"{value:.3g}" if 1e-4 <= abs(value) < 1e5 else f"{value:.2e}"


def estimate_text(estimate: Mapping[str, Any]) -> str:
    """`label 0.0244 [0.0231, 0.0257] (n=30)`; an exact number has no interval."""
    text = number(estimate["value"])
    if estimate["n"] is not None or estimate["low"] != estimate["high"]:
        text += f" [{number(estimate['low'])}, {number(estimate['high'])}]"
    if estimate["unit"]:
        text += f" {estimate['unit']}"
    notes = [f"n={estimate['n']}"] if estimate["n"] is not None else []
    if estimate["detectable"] is not None:
        notes.append(f"could detect {number(estimate['detectable'])}")
    if notes:
        text += f" ({', '.join(notes)})"
    return f"{estimate['label']}: {text}" if estimate["label"] else text


def counts(rows: Sequence[Mapping[str, Any]]) -> str:
    """`7 reproduced, 1 partly, 2 not reproduced`, in the order of the verdicts."""
    found = Counter(row["verdict"] for row in rows)
    return ", ".join(f"{found[v]} {v}" for v in Verdict if found[v])


def table(rows: Sequence[Mapping[str, Any]], width: int = 100) -> str:
    """The ledger for a terminal: a block a claim, wrapped to `width` columns."""
    blocks = [_block(row, width) for row in rows]
    return "\n".join([*blocks, "", f"Claims: {counts(rows)}."])


def _block(row: Mapping[str, Any], width: int) -> str:
    head = f"{row['id']:<4} [{row['verdict']}] "
    lines = textwrap.wrap(row["statement"], width, initial_indent=head, subsequent_indent=" " * 5)
    if row["paper_value"]:
        lines += textwrap.wrap(
            row["paper_value"], width, initial_indent="     paper: ", subsequent_indent=" " * 12
        )
    for estimate in row["estimates"]:
        lines += textwrap.wrap(
            estimate_text(estimate),
            width,
            initial_indent="     ours:  ",
            subsequent_indent=" " * 12,
        )
    for reason in (row["finding"], row["not_attempted"]):
        lines += textwrap.wrap(
            reason, width, initial_indent="     why:   ", subsequent_indent=" " * 12
        )
    return "\n".join(lines)
