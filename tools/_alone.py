"""Run a file with this repository out of sight, to prove that it needs nothing of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HIDDEN = ("papers", "shared", "tools", "tests")
"""Our packages: none of them can be imported."""

_SCRIPT = """
import runpy, sys
from importlib.abc import MetaPathFinder

hidden, folder, file = sys.argv[1].split(","), sys.argv[2], sys.argv[3]

class Hide(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in hidden:
            raise ImportError(f"it imports {name}, which is a part of the repository it came from")

sys.meta_path.insert(0, Hide())
sys.path.insert(0, folder)
runpy.run_path(file, run_name="__main__")
seen = [name for name in sys.modules if name.split(".")[0] in hidden]
sys.exit(f"it has loaded {seen}" if seen else 0)
"""


def run_alone(file: Path, timeout: float = 300.0) -> str:
    """Run `file` in its own folder by a fresh isolated interpreter (`-I`: no PYTHONPATH, no cwd).

    Returns:
        What it printed.

    Raises:
        RuntimeError: it failed; the message is the last line that it wrote.
    """
    # JAX on the CPU: the proof should not take a GPU's memory from a run.
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "XLA_FLAGS"))}
    command = [sys.executable, "-I", "-c", _SCRIPT, ",".join(HIDDEN), str(file.parent), str(file)]
    try:
        done = subprocess.run(
            command,
            cwd=file.parent,
            env={**clean, "JAX_PLATFORMS": "cpu"},
            capture_output=True,
            text=True,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"it did not end within {timeout:.0f} s") from error
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise RuntimeError(lines[-1] if lines else f"it ended with exit code {done.returncode}")
    return done.stdout.strip()
