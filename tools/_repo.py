"""This repository as the tools see it: its root, its rooms, its commit, what it says of itself."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from shared.experiment.errors import BadInput, Damaged

ROOT = Path(__file__).resolve().parent.parent


def rooms(root: Path = ROOT) -> list[str]:
    """Names of the papers, sorted: every subpackage of `papers` with a `run.py`."""
    return sorted(path.parent.name for path in root.glob("papers/*/run.py"))


def room(paper: str, root: Path = ROOT) -> Path:
    """The folder of a paper. Raises BadInput with the nearest names."""
    if paper not in rooms(root):
        raise BadInput(f"There is no paper {paper!r} here{nearest(paper, rooms(root))}.")
    return root / "papers" / paper


def nearest(word: str, choices: Iterable[str]) -> str:
    """` (did you mean a or b?)` or, where nothing is near, ` (there is a, b, c)`."""
    choices = list(choices)
    close = get_close_matches(word, choices, n=3, cutoff=0.5)
    if close:
        return f" (did you mean {' or '.join(close)}?)"
    return f" (there is {', '.join(choices)})" if choices else ""


def git(*arguments: str, root: Path = ROOT) -> str | None:
    """What git prints, stripped; None where it fails (no git, no checkout, no commit yet)."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def commit(*paths: Path, root: Path = ROOT) -> str | None:
    """The checked-out commit, `+changes` appended where one of `paths` (default: any) differs."""
    head = git("rev-parse", "--verify", "HEAD", root=root)
    if head is None:
        return None
    changed = git("status", "--porcelain", "--", *map(str, paths), root=root)
    return f"{head}+changes" if changed else head


def citation_file(root: Path = ROOT) -> dict[str, str]:
    """The plain `key: value` lines of CITATION.cff, and `authors` joined by ` and `.

    Reads the small part of YAML that our own file uses; raises Damaged where that is not enough.
    """
    path = root / "CITATION.cff"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise Damaged(f"{path.name} cannot be read: {error.strerror}.") from error
    plain = re.findall(r'^([a-z-]+):[ \t]+"?(.*?)"?[ \t]*$', text, re.MULTILINE)
    authors = re.findall(r'^ +(?:- )?name:[ \t]+"?(.*?)"?[ \t]*$', text, re.MULTILINE)
    found = {**dict(plain), "authors": " and ".join(f"{{{name}}}" for name in authors)}
    for key in ("title", "version", "authors"):
        if not found.get(key):
            raise Damaged(f"{path.name} has no {key}.")
    return found
