"""The claims ledger: rows as standard JSON, numbers as people read them."""

import json

import numpy as np
import pytest

from shared.experiment import ledger
from shared.experiment.spec import Claim, Estimate, Verdict

SAMPLED = Estimate(0.02444, 0.0231, 0.0257, "gain", "1/day", n=30, detectable=0.001)


def claim(verdict: Verdict, *estimates: Estimate) -> Claim:
    return Claim(
        *("C1", "It falls.", "Fig. 1", "loss", "below 1"),
        measure=lambda _: estimates or None,
        judge=lambda _: verdict,
        finding="Too few steps.",
    )


def test_numbers_that_are_not_finite_become_null() -> None:
    odd = Estimate(np.float64(0.5), np.float64(np.nan), float("inf"), n=3)
    (row,) = ledger.judge([claim(Verdict.PARTLY, odd)], {})
    (estimate,) = json.loads(json.dumps(row, allow_nan=False))["estimates"]
    assert [estimate[k] for k in ("value", "low", "high", "n")] == [0.5, None, None, 3]
    assert ledger.estimate_text(estimate) == "0.5 [n/a, n/a] (n=3)"


@pytest.mark.parametrize(
    ("verdict", "finding", "short"),
    [
        (Verdict.REPRODUCED, "", []),
        (Verdict.PARTLY, "Too few steps.", ["C1"]),
        (Verdict.NOT_REPRODUCED, "Too few steps.", ["C1"]),
    ],
)
def test_a_finding_stands_beside_a_claim_that_fell_short(
    verdict: Verdict, finding: str, short: list[str]
) -> None:
    rows = ledger.judge([claim(verdict, SAMPLED)], {})
    assert rows[0]["verdict"] == verdict and rows[0]["finding"] == finding
    assert ledger.fell_short(rows) == short


def test_a_claim_that_was_not_measured_has_no_verdict_of_its_rule() -> None:
    rows = ledger.judge([claim(Verdict.REPRODUCED)], {})
    assert rows[0]["verdict"] == "not run at this preset" and not ledger.fell_short(rows)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((None, "n/a"), (0.0, "0"), (0.5, "0.5"), (-0.026712, "-0.0267")),
        *((12345.0, "1.23e+04"), (1.2e-5, "1.20e-05"), (3.0, "3")),
    ],
)
def test_three_digits(value: float | None, text: str) -> None:
    assert ledger.number(value) == text


def test_the_table_is_wrapped_and_counted() -> None:
    (row,) = ledger.judge([claim(Verdict.PARTLY, SAMPLED, Estimate.exact(2))], {})
    assert ledger.table([row], width=60).splitlines() == [
        "C1   [partly] It falls.",
        "     ours:  gain: 0.0244 [0.0231, 0.0257] 1/day (n=30, could",
        "            detect 0.001)",
        "     ours:  2",
        "     why:   Too few steps.",
        "",
        "Claims: 1 partly.",
    ]
