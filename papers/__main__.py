"""`python -m papers`: the papers, and what the evidence kept with each says of its claims."""

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from shared.experiment import ledger, store
from shared.experiment.errors import ExperimentError
from shared.experiment.spec import PRESET_NAMES

PAPERS = Path(__file__).parent


def rooms(folder: Path = PAPERS) -> list[str]:
    """Names of the papers: the subpackages that can be run."""
    return sorted(path.parent.name for path in folder.glob("*/run.py"))


def evidence(folder: Path) -> Iterator[tuple[str, str]]:
    """(preset, what its evidence says) for each evidence file of the paper in `folder`."""
    for preset in PRESET_NAMES:
        path = folder / "results" / f"{preset}.json"
        if not path.is_file():
            continue
        try:
            kept = store.read_json(path)
            commit = str(kept["run"]["provenance"]["commit"])[:8]
            yield preset, f"{ledger.counts(kept['claims'])} (commit {commit})"
        except (ExperimentError, KeyError, TypeError, AttributeError) as error:
            known = isinstance(error, ExperimentError)
            yield preset, str(error) if known else f"{path} is damaged: no {error}."


def describe(name: str, folder: Path) -> list[str]:
    """Title, state and command of one paper, as lines."""
    try:
        title = importlib.import_module(f"papers.{name}.run").EXPERIMENT.title
    except Exception as error:
        return [f"{name}: cannot be loaded: {type(error).__name__}: {error}"]
    states = [f"    {preset:<6} {text}" for preset, text in evidence(folder)]
    return [
        f"{name}: {title}",
        *(states or ["    no evidence yet"]),
        f"    uv run python -m papers.{name}.run",
    ]


def main() -> int:
    """Print the list."""
    if sys.argv[1:]:
        print(__doc__ if sys.argv[1:] in (["-h"], ["--help"]) else "It takes no arguments.")
        return 0 if sys.argv[1:] in (["-h"], ["--help"]) else 2
    try:
        for name in rooms():
            print("\n".join(describe(name, PAPERS / name)), flush=True)
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main())
