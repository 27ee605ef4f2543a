"""Evidence: what a finished run leaves in git, `papers/<name>/results/<preset>.json` and figures.

Evidence is written by runs alone, and only by runs of clean commits, so that the recorded commit
and command reproduce it. What concerns one machine or one user is left out of it.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shared.experiment import record, store
from shared.experiment.cli import Options
from shared.experiment.errors import BadInput

_DECIDE = ("device", "precision", "seeds_per_task", "resume")
"""General options that a command must keep to give the same numbers, to the last bit."""


def refuse_unless_repeatable(config: Any, origins: Sequence[Mapping[str, Any]]) -> None:
    """Raise BadInput unless one commit holds all the code and files that this run stands on.

    Args:
        origins: `commit` and `dirty` of its start and of each resumption, the present one last.
    """
    now = origins[-1]
    if now["commit"] is None:
        raise BadInput("--publish needs a git checkout: evidence names the commit it came from.")
    if now["dirty"]:
        raise BadInput(
            "--publish needs a clean checkout: commit or stash your changes, so that the recorded "
            "commit reproduces the evidence."
        )
    if len({origin["commit"] for origin in origins}) > 1:
        raise BadInput("This run was resumed on another commit; evidence must come from one.")
    if any(origin.get("dirty") for origin in origins):
        raise BadInput(
            "A part of this run was made with uncommitted changes, which no commit reproduces; "
            "start a new run with --publish."
        )
    for path in _files(config):
        if path.is_absolute() or ".." in path.parts:
            raise BadInput(
                f"--publish needs a run that anybody can repeat: {path} is a file of this machine; "
                "leave it out, or put it into the repository."
            )


def publish(folder: store.RunFolder, room: Path, preset: str) -> list[Path]:
    """Copy a finished run's ledger, results and PNG figures into the paper's `results/`.

    Returns:
        The written paths: `results/<preset>.json` first, then `results/<preset>/*.png`.
    """
    refuse_unless_repeatable(None, record.origins(folder))
    evidence = {
        "format": store.FORMAT,
        "run": _anybodys(store.read_json(folder.run_json)),
        "claims": store.read_json(folder.claims_json)["claims"],
        "results": store.read_json(folder.results_json)["results"],
    }
    target, pictures = room / "results" / f"{preset}.json", room / "results" / preset
    store.write_json(target, evidence)
    written = [target]
    for png in sorted(folder.figures.glob("*.png")):
        written.append(pictures / png.name)
        store.write_bytes(written[-1], png.read_bytes())
    for former in set(pictures.glob("*.png")) - set(written):
        former.unlink()
    return written


def essential(words: Sequence[str]) -> list[str]:
    """A command line without the options that only say where, how and by how many hands."""
    values: dict[str, int] = {}  # how many values each of those options takes
    for name, kind in typing.get_type_hints(Options).items():
        flag = name.replace("_", "-")
        if name not in _DECIDE:
            values |= {f"--{flag}": 0, f"--no-{flag}": 0} if kind is bool else {f"--{flag}": 1}
    kept, skip = [], 0
    for word in words:
        name, equals, _ = word.partition("=")
        name = name.replace("_", "-") if name.startswith("--") else name
        if skip:
            skip -= 1
        elif name in values:
            skip = 0 if equals else values[name]
        else:
            kept.append(word)
    return kept


def _anybodys(run: dict[str, Any]) -> dict[str, Any]:
    """run.json without folders of this machine and names on its cluster."""
    device = {key: value for key, value in run["device"].items() if key != "cache"}
    options = {**run["options"], **dict.fromkeys(("partition", "account", "qos"))}
    origin = {**run["provenance"], "command": essential(run["provenance"]["command"])}
    return {**run, "device": device, "options": options, "provenance": origin}


def _files(value: Any) -> list[Path]:
    """Every path in a configuration."""
    if isinstance(value, Path):
        return [value]
    if dataclasses.is_dataclass(value):
        value = [getattr(value, field.name) for field in dataclasses.fields(value)]
    elif isinstance(value, Mapping):
        value = list(value.values())
    return [p for v in value for p in _files(v)] if isinstance(value, list | tuple) else []
