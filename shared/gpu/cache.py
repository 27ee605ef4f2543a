"""The persistent compile cache: one shared folder of finished programs, safe for many processes.

JAX writes an entry in place and never replaces it, so two processes that share a folder can read
each other's half-written entries, and one killed in mid-write leaves a stump for good. Therefore
each process compiles into a folder of its own that starts out with links to the shared entries;
when it ends (or calls `publish`), its new, complete entries are linked into the shared folder.

    <root>/jax/<jax, jaxlib, CPU type>/entries/            finished programs, shared
    <root>/jax/<jax, jaxlib, CPU type>/private/<host>-<pid>-.../   one process each

A program compiled for another CPU type could stop with an illegal instruction, or round
differently; hence the CPU's model, features and number of cores are part of the path.
"""

import atexit
import hashlib
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

LARGEST_BYTES = 4 * 2**30
ABANDONED_AFTER_SECONDS = 7 * 86400.0


def cache_root() -> Path | None:
    """$CORROBORATE_CACHE, else $XDG_CACHE_HOME/corroborate, else ~/.cache/corroborate.

    None when CORROBORATE_CACHE is `off` or empty: nothing is kept.
    """
    chosen = os.environ.get("CORROBORATE_CACHE")
    if chosen is not None:
        return None if chosen in ("", "off") else Path(chosen).expanduser().absolute()
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "corroborate"


def cpu_model() -> str:
    """The CPU's name as the system gives it, the architecture where it gives none."""
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


def machine_key() -> str:
    """12 hex digits that differ between machines whose CPU programs must not be exchanged."""
    info = _cpuinfo()
    # Where the features cannot be read, programs stay on the machine that compiled them.
    features = info.get("flags") or info.get("Features") or platform.node()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    facts = (platform.system(), platform.machine(), cpu_model(), features, str(cores))
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:12]


def shared_folder(root: Path) -> Path:
    """The folder of this JAX and this type of machine below `root`."""
    return root / "jax" / f"{version('jax')}-{version('jaxlib')}-{machine_key()}"


def open_private(shared: Path) -> Path:
    """A folder for this process alone, filled with links to the shared entries.

    It is published and removed when the process ends; those that killed processes left are
    removed here. Raises OSError where the folder cannot be written.
    """
    entries, private = shared / "entries", shared / "private"
    entries.mkdir(parents=True, exist_ok=True)
    private.mkdir(exist_ok=True)
    _remove_abandoned(private)
    mine = Path(tempfile.mkdtemp(prefix=f"{platform.node()}-{os.getpid()}-", dir=private))
    for entry in entries.iterdir():
        with suppress(FileNotFoundError):  # another process may be trimming
            _link(entry, mine / entry.name)
    atexit.register(_close, mine, os.getpid())
    return mine


def is_own(folder: str | None, shared: Path) -> bool:
    """Whether `folder` is what `open_private(shared)` made for this very process."""
    prefix = f"{platform.node()}-{os.getpid()}-"
    return (
        folder is not None
        and Path(folder).parent == shared / "private"
        and Path(folder).name.startswith(prefix)
        and Path(folder).is_dir()
    )


def publish(mine: Path) -> int:
    """Give the programs compiled by this process to the others; returns how many were new.

    Call it between tasks, not while another thread compiles.
    """
    entries = mine.parent.parent / "entries"
    new = 0
    for path in mine.glob("*-cache"):
        target = entries / path.name
        if not path.is_symlink() and not target.exists():
            with suppress(FileExistsError):  # another process published the same program
                _link(path, target, by_copy=True)
                new += 1
    if new:
        _trim(entries, LARGEST_BYTES)
    return new


def _close(mine: Path, owner: int) -> None:
    """At exit: publish and remove; a forked child, which inherits the call, does neither."""
    if os.getpid() == owner:
        with suppress(OSError):  # the cache is a convenience: a full disk must not fail a run
            publish(mine)
        shutil.rmtree(mine, ignore_errors=True)


def _link(source: Path, target: Path, by_copy: bool = False) -> None:
    """Let `target` appear whole: a hard link, or where there are none a symlink or a copy."""
    try:
        os.link(source, target)
    except (FileExistsError, FileNotFoundError):
        raise
    except OSError:
        if by_copy:
            beside = target.with_name(f".{target.name}.{os.getpid()}")
            shutil.copyfile(source, beside)
            os.replace(beside, target)
        else:
            target.symlink_to(source)


def _trim(entries: Path, largest_bytes: int) -> None:
    """Drop the oldest entries until the folder holds at most `largest_bytes`."""
    found = []
    for path in entries.iterdir():
        with suppress(FileNotFoundError):
            found.append((path.stat().st_mtime, path.stat().st_size, path))
    excess = sum(size for _, size, _ in found) - largest_bytes
    for _, size, path in sorted(found):
        if excess <= 0:
            return
        path.unlink(missing_ok=True)
        excess -= size


def _remove_abandoned(private: Path) -> None:
    """Remove folders whose process has died on this host, and very old ones of other hosts."""
    for folder in private.iterdir():
        with suppress(FileNotFoundError):
            old = time.time() - folder.stat().st_mtime > ABANDONED_AFTER_SECONDS
            host, _, rest = folder.name.partition(f"{platform.node()}-")
            local = host == "" and rest.split("-")[0].isdigit()
            if old or (local and not _alive(int(rest.split("-")[0]))):
                shutil.rmtree(folder, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _cpuinfo() -> dict[str, str]:
    """The first processor's block of /proc/cpuinfo; empty where there is none."""
    with suppress(OSError):
        return dict(_pairs(Path("/proc/cpuinfo").read_text().split("\n\n")[0]))
    return {}


def _pairs(block: str) -> Iterator[tuple[str, str]]:
    for line in block.splitlines():
        name, _, value = line.partition(":")
        yield name.strip(), value.strip()
