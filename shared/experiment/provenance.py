"""Where a result comes from: the command, the commit, the packages, the kind of machine.

Names neither the machine nor its user, so that the record can be kept in a public repository.
"""

import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from shared.experiment.execute import cores
from shared.gpu.cache import cpu_model

_REPOSITORY = Path(__file__).resolve().parents[2]
_PACKAGES = (
    *("jax", "jaxlib", "numpy", "scipy", "optax", "equinox", "gymnasium", "mujoco"),
    *("safetensors", "submitit"),
)
# Evidence and pages are written by runs and after them; they do not change what a run computes.
_NOT_CODE = (":(exclude,glob)papers/*/results/**", ":(exclude,glob)**/*.md")


def describe(command: Sequence[str], repository: Path = _REPOSITORY) -> dict[str, Any]:
    """What a run's record says of its origin, as JSON values.

    Args:
        command: the command line that started the run.
        repository: the folder whose commit is recorded.

    Returns:
        time (UTC, ISO 8601), command, commit (None outside git), dirty (whether code differs from
        the commit; None outside git), python, platform, cpu, cores (those this process may use),
        packages (name -> version; torch only where it is in use).
    """
    status = _git(repository, "status", "--porcelain", "--", ".", *_NOT_CODE)
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": list(command),
        "commit": _git(repository, "rev-parse", "--verify", "HEAD"),
        "dirty": None if status is None else bool(status),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": cpu_model(),
        "cores": cores(),
        "packages": _versions(),
    }


def _git(repository: Path, *arguments: str) -> str | None:
    """Output of a git command; None where there is no git, no repository or no commit."""
    try:
        done = subprocess.run(
            ["git", "-C", str(repository), *arguments],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _versions() -> dict[str, str]:
    names = [*_PACKAGES, *(["torch"] if "torch" in sys.modules else [])]
    versions = {}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
