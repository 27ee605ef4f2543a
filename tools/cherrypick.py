"""Take one paper's method into your own code, with its licence, its citation and a test.

    python -m tools.cherrypick superiority DEST          DEST/superiority.py and its test
    python -m tools.cherrypick superiority DEST --torch  DEST/superiority_torch.py and its test
    python -m tools.cherrypick superiority DEST --check  is it unchanged? is there a newer one?

Both files are then run from DEST by an interpreter that cannot see this repository: what you get is
all that you need, besides the packages that are printed at the end. --check ends with exit code 0
when the copy is unchanged and current, 1 otherwise.
"""

from __future__ import annotations

import ast
import hashlib
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

from shared.experiment import store
from shared.experiment.errors import BadInput, Damaged, ExperimentError, MissingExtra
from tools import _cli, _repo
from tools._alone import HIDDEN, run_alone

_END = f"# {' end of header ':-^80}"


@dataclass(frozen=True)
class Pick:
    """One method as it stands here, and where its copy goes.

    Attributes:
        paper: name of the paper. torch: the PyTorch version of the method.
        root: the repository. dest: the folder that gets the copy.
    """

    paper: str
    torch: bool
    root: Path
    dest: Path

    @property
    def source(self) -> Path:
        """The method here."""
        name = "method_torch" if self.torch else "method"
        return self.root / "papers" / self.paper / f"{name}.py"

    @property
    def test_source(self) -> Path:
        """The test here, which our own suite runs, too."""
        return self.root / "tests" / "papers" / "cherrypick" / f"test_{self.module}.py"

    @property
    def module(self) -> str:
        """Name of the copied module."""
        return f"{self.paper}_torch" if self.torch else self.paper

    @property
    def copy(self) -> Path:
        """The method there."""
        return self.dest / f"{self.module}.py"

    @property
    def test_copy(self) -> Path:
        """The test there."""
        return self.dest / f"test_{self.module}.py"


def pick(paper: str, dest: Path, torch: bool = False, root: Path = _repo.ROOT) -> Pick:
    """Look a method up. Raises BadInput where the paper, or its method for torch, is not here."""
    room = _repo.room(paper, root)
    found = Pick(paper, torch, root, dest)
    for path in (found.source, found.test_source):
        if not path.is_file():
            kind = "a PyTorch version" if torch else "a method to copy"
            raise BadInput(f"{room.name} has no {kind[2:]}: {path.relative_to(root)} is missing.")
    return found


# Copy ---------------------------------------------------------------------------------------------


def copy(item: Pick, force: bool = False) -> None:
    """Write the method and its test to `item.dest`.

    Raises:
        BadInput: DEST is a file, or holds a copy already and `force` is False; the method imports
            something of this repository. ExperimentError: DEST cannot be written. MissingExtra:
            PyTorch, without which the copy could not be tried, is not installed.
    """
    if item.torch and find_spec("torch") is None:
        raise MissingExtra(
            "Nothing was copied, since the PyTorch version could not be tried: add PyTorch with "
            "`uv sync --extra torch`."
        )
    if item.dest.exists() and not item.dest.is_dir():
        raise BadInput(f"{item.dest} is a file; name a folder.")
    there = [path for path in (item.copy, item.test_copy) if path.exists()]
    if there and not force:
        raise BadInput(
            f"{there[0]} exists already; --check compares it, --force overwrites it (and whatever "
            "you changed in it)."
        )
    method, test = _read(item.source), _read(item.test_source)
    inner = sorted(set(imports(method)) & {*HIDDEN, "."})
    if inner:
        raise BadInput(f"{item.source.name} of {item.paper} does not stand alone: {inner[0]}.")
    original = f"papers.{item.paper}.{item.source.stem}"
    if f"from {original} import" not in test:
        raise Damaged(f"{item.test_source.relative_to(item.root)} does not test {original}.")
    test = test.replace(original, item.module)
    store.write_text(item.copy, header(item, item.source, method) + method)
    store.write_text(item.test_copy, header(item, item.test_source, test) + test)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Damaged(f"{path} cannot be read: {error}.") from error


def header(item: Pick, source: Path, body: str) -> str:
    """Comment lines: origin, commit, how to update, licence and citation."""
    about = _repo.citation_file(item.root)
    commit = _repo.commit(source, root=item.root) or "none (not a git checkout with a commit)"
    flag = " --torch" if item.torch else ""
    address = about.get("url") or about.get("repository-code")
    licence = _read(item.root / "LICENSE").strip()
    bib = _read(item.root / "papers" / item.paper / "citation.bib").strip()
    text = "\n".join(
        [
            f"Copied from {about['title']} {about['version']}{f', {address}' if address else ''}",
            f"file:   {source.relative_to(item.root).as_posix()}",
            f"commit: {commit}",
            f"sha256: {_hash(body)}",
            "To see whether there is a newer one, in a clone of that repository:",
            f"    python -m tools.cherrypick {item.paper} THIS_FOLDER{flag} --check",
            f"and to take it: python -m tools.cherrypick {item.paper} THIS_FOLDER{flag} --force",
            "",
            "If you use it, please cite the paper:",
            *bib.splitlines(),
            "",
            *licence.splitlines(),
        ]
    )
    return "\n".join(f"# {line}".rstrip() for line in text.splitlines()) + f"\n{_END}\n"


def _hash(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()


def imports(source: str) -> list[str]:
    """Top-level packages that a module imports, sorted; `.` for a relative import."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("." if node.level else (node.module or "").split(".")[0])
    return sorted(found)


def requirements(source: str, root: Path = _repo.ROOT) -> list[str]:
    """What to `pip install` for a module, with the versions that this repository is tested with."""
    import tomllib

    with open(root / "pyproject.toml", "rb") as file:
        project = tomllib.load(file)["project"]
    listed = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    by_name = {re.split(r"[^\w.-]", line)[0].lower(): line for line in listed}
    owners = packages_distributions()
    needed = [name for name in imports(source) if name not in sys.stdlib_module_names]
    names = [name if name in by_name else owners.get(name, [name])[0].lower() for name in needed]
    return [by_name.get(name, name) for name in names]


# Prove and check ----------------------------------------------------------------------------------


def prove(item: Pick) -> str:
    """Run the copied test, and with it the copied method, with this repository out of sight.

    Returns:
        What the test printed. Raises ExperimentError with the reason when it failed.
    """
    try:
        return run_alone(item.test_copy)
    except RuntimeError as error:
        raise ExperimentError(
            f"{item.copy.name} was copied, but does not pass its test on its own: {error}."
        ) from error


def check(item: Pick) -> tuple[bool, bool]:
    """Whether the copied method is as it was copied, and whether it is still what is here.

    Raises:
        BadInput: there is no copy. Damaged: its header is gone.
    """
    if not item.copy.is_file():
        raise BadInput(f"There is no {item.copy.name} in {item.dest}.")
    head, end, body = _read(item.copy).partition(f"{_END}\n")
    stated = re.search(r"^# sha256: ([0-9a-f]{64})$", head, re.MULTILINE)
    if not end or stated is None:
        raise Damaged(f"{item.copy} has lost its header, so its origin cannot be checked.")
    return _hash(body) == stated[1], _hash(_read(item.source)) == stated[1]


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = _cli.parser("cherrypick", __doc__)
    parser.add_argument("paper", help="name of the paper, e.g. superiority")
    parser.add_argument("dest", metavar="DEST", help="folder that gets the copy; made if missing")
    parser.add_argument("--torch", action="store_true", help="the PyTorch version of the method")
    parser.add_argument("--force", action="store_true", help="overwrite an earlier copy")
    parser.add_argument(
        "--check", action="store_true", help="compare an earlier copy, copy nothing"
    )
    arguments = _cli.parse(parser, argv)
    item = pick(arguments.paper, Path(arguments.dest).expanduser().absolute(), arguments.torch)
    if arguments.check:
        unchanged, current = check(item)
        state = "as it was copied" if unchanged else "edited since it was copied"
        here = "the same method" if current else "another method now"
        print(f"{item.copy.name} is {state}; this repository has {here}.")
        return 0 if unchanged and current else 1
    copy(item, arguments.force)
    print(f"Copied {item.source.relative_to(item.root)} to {item.copy}")
    print(f"   and its test to {item.test_copy}")
    print(f"Proved: run from there, with this repository out of sight: {prove(item)}")
    needed = requirements(_read(item.source))
    install = " ".join(f"'{line}'" for line in needed)
    print(f"Needs: {f'pip install {install}' if needed else 'nothing but Python'}")
    return 0


if __name__ == "__main__":
    sys.exit(_cli.run(main))
