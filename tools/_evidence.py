"""The evidence kept in git, `papers/<name>/results/<preset>.json`, read back and checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared.experiment import store
from shared.experiment.errors import Damaged
from shared.experiment.spec import PRESET_NAMES

_CLAIM_KEYS = ("id", "statement", "place", "estimates", "verdict")


def load(path: Path) -> dict[str, Any]:
    """One evidence file. Raises Damaged with a sentence that names it."""
    evidence = store.read_json(path)
    for key in ("run", "claims", "results"):
        if key not in evidence:
            raise Damaged(
                f"The evidence file {path.name} of {path.parent.parent.name} has no {key}."
            )
    for key in ("config", "preset", "provenance"):
        if key not in evidence["run"]:
            raise Damaged(
                f"The run in evidence file {path.name} of {path.parent.parent.name} has no {key}."
            )
    for row in evidence["claims"]:
        if any(key not in row for key in _CLAIM_KEYS):
            raise Damaged(
                f"A claim in {path.name} of {path.parent.parent.name} lacks one of "
                f"{', '.join(_CLAIM_KEYS)}."
            )
    return evidence


def load_all(room: Path) -> dict[str, dict[str, Any]]:
    """Evidence of a paper by preset, the largest preset first. Raises Damaged."""
    paths = {name: room / "results" / f"{name}.json" for name in reversed(PRESET_NAMES)}
    return {name: load(path) for name, path in paths.items() if path.is_file()}


def claim_row(evidence: Mapping[str, Any], claim: str) -> dict[str, Any] | None:
    """The ledger row of a claim, None where the evidence does not hold it."""
    return next((row for row in evidence["claims"] if row["id"] == claim), None)


def seeds(config: Mapping[str, Any]) -> str:
    """`seed 3` or `seeds 0 to 9`, as a run's configuration has them."""
    count, first = int(config["seeds"]), int(config.get("first_seed", 0))
    return f"seed {first}" if count == 1 else f"seeds {first} to {first + count - 1}"
