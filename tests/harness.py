"""What every paper is checked for, given its name: `tests/test_papers.py` applies it to each room.

The functions here run things and return what they saw; the tests say what must hold. A paper gets
all of it by having a `run.py`. One undisturbed smoke run of a paper is shared by its tests.
"""

from __future__ import annotations

import fcntl
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("jax", "torch", "scipy", "matplotlib", "wandb", "gymnasium", "mujoco", "dm_control")
"""Packages that `--help` must not import."""
SMOKE_BUDGET_SECONDS = 20.0
TIMEOUT = 600.0
"""Seconds after which a command is taken to hang."""
_POLL = 0.01


def papers() -> list[str]:
    """Names of all papers: the folders of `papers` with a run.py."""
    return sorted(path.parent.name for path in ROOT.glob("papers/*/run.py"))


# Running commands ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Finished:
    """A command that has ended: exit code, output, and wall seconds (to be reported only)."""

    code: int
    out: str
    err: str
    seconds: float

    def tail(self) -> str:
        """The end of its output, for a failing test's message."""
        return f"exit code {self.code}\n{self.out[-2000:]}\n{self.err[-4000:]}"


def environment(**changes: str) -> dict[str, str]:
    """Variables as a user has them: without what the test session sets for itself."""
    clean = {
        k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "PYTHONPATH", "MPLBACKEND")
    }
    clean = {k: v for k, v in clean.items() if not k.startswith("PYTEST_")}
    return {**clean, "WANDB_MODE": "offline", "COLUMNS": "200", "NO_COLOR": "1", **changes}


def execute(command: Sequence[str], **changes: str) -> Finished:
    """Run a command from the root of the repository to its end."""
    start = time.monotonic()
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment(**changes),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        stdin=subprocess.DEVNULL,
    )
    return Finished(done.returncode, done.stdout, done.stderr, time.monotonic() - start)


def python(*arguments: str, **changes: str) -> Finished:
    """`python arguments...` from the root of the repository."""
    return execute([sys.executable, *arguments], **changes)


def smoke(paper: str, folder: Path, *options: str) -> list[str]:
    """The command of a smoke run into `folder`: two workers, as many checkpoints as may be."""
    module = f"papers.{paper}.run"
    how = ("--workers", "2", "--checkpoint-seconds", "0", "--device", "cpu", "--quiet")
    return [sys.executable, "-m", module, "smoke", "--out", str(folder), *how, *options]


def resume(paper: str, folder: Path) -> list[str]:
    """The command that finishes the run in `folder`."""
    return [sys.executable, "-m", f"papers.{paper}.run", "--resume", str(folder), "--quiet"]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`; other processes that ask for it wait."""
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield  # closing the file gives the lock back


# Results of a run, as bytes -----------------------------------------------------------------------


def recorded(folder: Path) -> dict[str, bytes]:
    """Every file of a run that must not depend on when, where and how often it was interrupted."""
    paths = [folder / "results.json", folder / "claims.json"]
    paths += [*folder.glob("tasks/**/result.npz"), *folder.glob("tasks/**/metrics.jsonl")]
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(paths) if path.exists()
    }


def differences(folder: Path, other: Path) -> list[str]:
    """Names of the recorded files that are not byte for byte the same in both runs."""
    a, b = recorded(folder), recorded(other)
    return sorted(name for name in {*a, *b} if a.get(name) != b.get(name))


def incomplete(folder: Path) -> list[str]:
    """What a finished run should have and `folder` lacks, and temporary files left over."""
    wanted = ["run.json", "results.json", "claims.json"]
    lacking = [f"{name} is missing" for name in wanted if not (folder / name).is_file()]
    if not any(folder.glob("tasks/**/result.npz")):
        lacking.append("no task has a result")
    if not any((folder / "figures").glob("*.png")):
        lacking.append("there is no figure")
    return lacking + [f"{path.name} is left over" for path in folder.rglob(".*.tmp")]


# Kill and resume ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chain:
    """Runs that were killed and resumed.

    Attributes:
        kills: for each kill, how many marks of progress were on the disk when it struck.
        folders: the finished runs (several, where one ended before all kills were dealt).
    """

    kills: list[int]
    folders: list[Path]


def progress(folder: Path) -> int:
    """Marks of progress in a run folder: rows of metrics and finished tasks."""
    rows = 0
    for path in folder.glob("tasks/**/metrics.jsonl"):
        try:
            rows += path.read_bytes().count(b"\n")
        except FileNotFoundError:  # replaced this very moment
            continue
    return rows + len(list(folder.glob("tasks/**/result.npz")))


def kill_and_resume(
    start: Callable[[Path], list[str]],
    again: Callable[[Path], list[str]],
    base: Path,
    total: int,
    seed: str,
    kills: int = 5,
) -> Chain:
    """Run a command, SIGKILL its process group at random points, resume it, and so on.

    Every kill strikes after its process has made a random number of marks of progress (seeded; 1 to
    a `kills`-th of `total`) and a few random milliseconds, so anywhere between and inside writes.
    After the last kill the run is resumed to its end. A run that ends early is kept, and the
    remaining kills go to a further run.

    Args:
        start, again: the commands that start a run in a folder, and that resume it.
        base: folder for the runs. total: marks of progress of an undisturbed run.

    Raises:
        AssertionError: a command failed, or hangs.
    """
    rng = random.Random(seed)
    chain = Chain([], [])
    while len(chain.kills) < kills and len(chain.folders) < 2 * kills:
        folder = base / f"chain{len(chain.folders)}"
        command = start(folder)
        while True:
            left = kills - len(chain.kills)
            marks = rng.randint(1, max(1, total // kills)) if left else math.inf
            if not _killed(command, folder, marks, rng.uniform(0, 0.03)):
                break
            chain.kills.append(progress(folder))
            command = again(folder)
        chain.folders.append(folder)
    return chain


def _killed(command: Sequence[str], folder: Path, marks: float, delay: float) -> bool:
    """Start a command and kill it after so many marks; False where it came to its end before."""
    log = folder.with_suffix(".log")
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "w") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline, seen, made = time.monotonic() + TIMEOUT, progress(folder), 0
    try:
        while not _ended(process, _POLL):
            now = progress(folder)
            seen, made = now, made + max(0, now - seen)  # a resumed run first cuts rows back
            if made >= marks and not _ended(process, delay):
                return True  # `finally` kills
            if time.monotonic() > deadline:
                raise AssertionError(f"{command} hangs:\n{log.read_text()[-4000:]}")
        if process.returncode != 0:
            raise AssertionError(f"exit code {process.returncode}:\n{log.read_text()[-4000:]}")
        return False
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _ended(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Whether a process has ended, after at most so many seconds of waiting for it."""
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


# Global state and the network ---------------------------------------------------------------------

_SITECUSTOMIZE = '''
"""Every interpreter: global generators in an odd state, and nothing but this machine to talk to."""
import os, random, socket, sys
from importlib.machinery import PathFinder

random.seed(int(os.environ["SCRAMBLE_SEED"]))
connect = socket.socket.connect

def local_only(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6):
        if address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise RuntimeError(f"a run tried to reach {address}: no network at run time")
    return connect(self, address)

socket.socket.connect = local_only

class Scramble:
    @staticmethod
    def find_spec(name, path=None, target=None):
        spec = PathFinder.find_spec(name, path) if name in ("numpy", "torch") else None
        if spec is not None and spec.loader is not None:
            load, seed = spec.loader.exec_module, int(os.environ["SCRAMBLE_SEED"])
            def exec_module(module):
                load(module)
                module.random.seed(seed) if name == "numpy" else module.manual_seed(seed)
                with open(os.environ["SCRAMBLE_LOG"], "a") as log:
                    log.write(name + "\\n")
            spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Scramble)
'''


def scrambled(folder: Path, seed: int = 4711) -> dict[str, str]:
    """Variables for a command whose processes all start with scrambled global random state.

    Python's `random` and its string hashes, NumPy's and torch's global generators; connections that
    leave the machine fail. What was scrambled is noted in `folder`/scrambled.txt.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_text(_SITECUSTOMIZE)
    return {
        "PYTHONPATH": str(folder),
        "PYTHONHASHSEED": str(seed),
        "SCRAMBLE_SEED": str(seed),
        "SCRAMBLE_LOG": str(folder / "scrambled.txt"),
    }


def seedless_tasks(folder: Path) -> list[str]:
    """Tasks with several seeds in which every seed gave exactly the same outcome."""
    import numpy as np

    from shared.experiment.store import read_npz

    rows: dict[str, list[bytes]] = {}
    for path in sorted(folder.glob("tasks/**/seeds-*/result.npz")):
        outcome = read_npz(path)
        first, last = map(int, path.parent.name.removeprefix("seeds-").split("-"))
        for i in range(last - first + 1):
            parts = [np.ascontiguousarray(outcome[name][i]).tobytes() for name in sorted(outcome)]
            rows.setdefault(str(path.parent.parent.relative_to(folder)), []).append(b"".join(parts))
    return [task for task, seeds in rows.items() if len(set(seeds)) < len(seeds)]


# What a person types ------------------------------------------------------------------------------


def not_one_sentence(done: Finished, code: int = 2) -> list[str]:
    """What is wrong with a refusal; nothing where it is one sentence on stderr and exit `code`."""
    lines = done.err.strip().splitlines()
    found = [f"exit code {done.code} instead of {code}"] if done.code != code else []
    found += ["it shows a traceback"] if "Traceback" in done.err + done.out else []
    found += [f"stderr holds {len(lines)} lines: {done.err!r}"] if len(lines) != 1 else []
    found += ["it does not end like a sentence"] if lines and lines[-1][-1] not in ".)?" else []
    return found + ([f"stdout holds {done.out!r}"] if done.out.strip() else [])


_IMPORTS = """
import runpy, sys
module, heavy = sys.argv[1], sys.argv[2].split(",")
sys.argv = sys.argv[2:]
try:
    runpy.run_module(module, run_name="__main__", alter_sys=True)
except SystemExit as end:
    code = end.code or 0
else:
    code = 0
print("\\nHEAVY:", *[name for name in heavy if name in sys.modules])
sys.exit(code)
"""


def imported_by(module: str, *arguments: str) -> tuple[Finished, list[str]]:
    """Run `python -m module arguments` and name the heavy packages that it has imported."""
    done = python("-c", _IMPORTS, module, ",".join(HEAVY), *arguments)
    return done, done.out.rpartition("HEAVY:")[2].split()
