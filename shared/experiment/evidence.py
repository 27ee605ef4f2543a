"""Evidence: what a finished run leaves in git, `papers/<name>/results/<preset>.json` and figures.

Evidence is written by runs alone, and only by runs that started from a clean commit, so that the
recorded commit and command reproduce it.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from shared.experiment import store
from shared.experiment.errors import BadInput


def refuse_unless_clean(provenance: dict[str, Any]) -> None:
    """Raise BadInput unless the run stands on a commit that holds all of its code."""
    if provenance["commit"] is None:
        raise BadInput("--publish needs a git checkout: evidence names the commit it came from.")
    if provenance["dirty"]:
        raise BadInput(
            "--publish needs a clean checkout: commit or stash your changes, so that the recorded "
            "commit reproduces the evidence."
        )


def publish(folder: store.RunFolder, room: Path, preset: str) -> list[Path]:
    """Copy a finished run's ledger, results and PNG figures into the paper's `results/`.

    Returns:
        The written paths: `results/<preset>.json` first, then `results/<preset>/*.png`.
    """
    run = store.read_json(folder.run_json)
    run["device"].pop("cache", None)  # a folder of this machine
    refuse_unless_clean(run["provenance"])
    commits = {run["provenance"]["commit"], *(r["commit"] for r in run.get("resumed", []))}
    if len(commits) > 1:
        raise BadInput("This run was resumed on another commit; evidence must come from one.")
    evidence = {
        "format": store.FORMAT,
        "run": run,
        "claims": store.read_json(folder.claims_json)["claims"],
        "results": store.read_json(folder.results_json)["results"],
    }
    target = room / "results" / f"{preset}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    store.write_json(target, evidence)
    pictures = room / "results" / preset
    shutil.rmtree(pictures, ignore_errors=True)
    pictures.mkdir()
    written = [target]
    for png in sorted(folder.figures.glob("*.png")):
        written.append(Path(shutil.copy(png, pictures / png.name)))
    return written
