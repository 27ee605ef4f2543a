"""What the pages promise: the commands that they show exist, and no path is one machine's own."""

from __future__ import annotations

import functools
import re
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from shared.experiment.spec import DEFAULT_PRESET, PRESET_NAMES
from tests import harness


@dataclass(frozen=True)
class Command:
    """A `python -m module words...` that a README shows."""

    module: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(("python -m", self.module, *self.words))


def commands(text: str) -> list[Command]:
    """The commands in a Markdown text; those with a placeholder for the module are left out."""
    joined = text.replace("\\\n", " ")
    found = re.findall(r"python3? -m ([\w.<>]+)([^\n`|;&#]*)", joined)
    return [
        Command(module.rstrip("."), tuple(re.sub(r"[\[\]()]", " ", rest).split()))
        for module, rest in found
        if "<" not in module
    ]


@functools.cache
def _help(module: str, preset: str | None) -> str:
    return harness.python("-m", module, *([preset] if preset else []), "--help").out


def wrong_in(command: Command) -> list[str]:
    """What does not exist of a command: its module, or an option that our module does not know."""
    try:
        spec = find_spec(command.module)
        if spec is not None and spec.submodule_search_locations is not None:
            spec = find_spec(f"{command.module}.__main__")
    except ModuleNotFoundError:
        spec = None
    if spec is None:
        return [f"`{command}`: there is no module {command.module}"]
    options = [word.split("=")[0].rstrip(".,:") for word in command.words if word.startswith("--")]
    if command.module.split(".")[0] not in ("papers", "shared", "tools"):
        return []
    preset = None
    if re.fullmatch(r"papers\.\w+\.run", command.module):
        preset = (
            command.words[0]
            if command.words and command.words[0] in PRESET_NAMES
            else DEFAULT_PRESET
        )
    return [
        f"`{command}`: there is no option {option}"
        for option in options
        if not re.search(rf"(?<![\w-]){option}(?![\w-])", _help(command.module, preset))
    ]


# The tree -----------------------------------------------------------------------------------------


def tracked() -> list[Path]:
    """Files that are or will be in git, ignored ones left out."""
    git = shutil.which("git")
    listing = ["ls-files", "--cached", "--others", "--exclude-standard"]
    done = harness.execute([git, *listing]) if git else None
    if done is None or done.code != 0:
        skip = {".venv", ".git", "__pycache__", "runs"}
        return [p for p in harness.ROOT.rglob("*") if p.is_file() and not skip & set(p.parts)]
    return [
        harness.ROOT / line for line in done.out.splitlines() if (harness.ROOT / line).is_file()
    ]


def machine_paths(text: str) -> list[str]:
    """Absolute paths in a text that exist on somebody's machine only."""
    homes = "|".join(("home", "root", "Users", "work"))
    found = re.findall(rf"(?<![\w.~/<{{}}$-])/(?:{homes})/[\w./-]+", text)
    return found + ([str(harness.ROOT)] if str(harness.ROOT) in text else [])
