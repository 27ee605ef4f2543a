"""Files that appear whole or not at all, and the folder that holds one run.

Every file is written beside its final place, flushed to the disk and renamed over it, so that a
kill at any instant leaves the old file or the new one, never half of one. Every read checks what it
reads. The layouts are documented in README.md of this folder.
"""

from __future__ import annotations

import errno
import io
import json
import math
import os
import re
import secrets
import shlex
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.experiment.errors import BadInput, Damaged, ExperimentError
from shared.experiment.spec import Outcome, Results, Task

if TYPE_CHECKING:
    import numpy as np

FORMAT = 1
"""Version of every JSON layout below; a file of another version is refused."""

_NATIVE_KINDS = "biufcSU"  # what npz holds without pickling
_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_LEFTOVER = re.compile(r"\..+\.tmp|\.tmp\w{6}")  # ours and those of safetensors


# Atomic writes ------------------------------------------------------------------------------------


@contextmanager
def explained(path: Path, doing: str = "write") -> Iterator[None]:
    """Turn the operating system's refusal at `path` into one sentence (ExperimentError)."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason += "; free some space, then resume the run"
        raise ExperimentError(
            f"Cannot {doing} {path.name} in folder {path.parent}: {reason}."
        ) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; what was written there then becomes `path` at once.

    On any error the temporary file is removed and `path` stays as it was.

    Raises:
        ExperimentError: disk full, folder not writable and the like.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            _flush_to_disk(temporary)
            os.replace(temporary, path)
            _flush_to_disk(path.parent)  # the new name itself
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    write_bytes(path, text.encode())


def write_json(path: Path, obj: Mapping[str, Any]) -> None:
    """Write `obj` with `"format": FORMAT` first; NaN and infinities become strings (README)."""
    write_text(path, _layout({"format": FORMAT, **obj}) + "\n")


def write_npz(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays by name, uncompressed; equal arrays give equal bytes.

    Raises:
        ValueError: an entry is not an array of numbers, booleans or text.
    """
    import numpy as np

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            array = np.asarray(arrays[name])
            if array.dtype.kind not in _NATIVE_KINDS:
                raise ValueError(
                    f"Array {name!r} has dtype {array.dtype}, which an npz file cannot hold; "
                    "use a NumPy number, boolean or text type."
                )
            # ZipInfo's default date is fixed, a clock would make the bytes differ.
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)  # pyright: ignore[reportArgumentType]
    write_bytes(path, buffer.getvalue())


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files that a killed process left in `folder` (one writer at a time)."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if _LEFTOVER.fullmatch(path.name):
            with suppress(OSError):
                path.unlink()


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# Checked reads ------------------------------------------------------------------------------------


def read_json(path: Path) -> dict[str, Any]:
    """The object in `path`.

    Raises:
        Damaged: missing, truncated, not JSON, not an object, or of another format version.
    """
    with _readable(path):
        obj = json.loads(path.read_bytes())
    if not isinstance(obj, dict):
        raise Damaged(f"{path} is damaged: it holds {type(obj).__name__}, not a JSON object.")
    if obj.get("format") != FORMAT:
        raise Damaged(
            f"{path} has format {obj.get('format')!r}; this version of the code reads {FORMAT}."
        )
    return obj


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays in `path`, all read and checked against their checksums.

    Raises:
        Damaged: missing, truncated or altered.
    """
    import numpy as np

    with _readable(path), zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}  # checks the CRCs
        return {
            name.removesuffix(".npy"): np.lib.format.read_array(io.BytesIO(entry))
            for name, entry in entries.items()
        }


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise Damaged(f"{path} is missing.") from error
    except OSError as error:
        raise Damaged(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise Damaged(f"{path} is damaged: {error}.") from error


# Numbers as JSON ----------------------------------------------------------------------------------


def plain_numbers(array: np.ndarray) -> Any:
    """`array` as (nested lists of) Python numbers that convert back to it bit for bit.

    32-bit floats get their shortest decimals (0.1, not 0.10000000149011612).
    """
    import numpy as np

    if array.dtype == np.float32:
        short = array.astype("U32").astype(np.float64)
        exact = (short.astype(np.float32) == array) | np.isnan(array)
        return np.where(exact, short, array.astype(np.float64)).tolist()
    if array.dtype.kind == "V" or (array.dtype.itemsize < 4 and array.dtype.kind == "f"):
        return array.astype(np.float64).tolist()  # bfloat16 and other narrow floats
    return array.tolist()


def encode_results(results: Results) -> dict[str, dict[str, Any]]:
    """Results as JSON values: {name: {"shape", "dtype", "data"}}, data flat in C order."""
    import numpy as np

    encoded = {}
    for name, value in results.items():
        array = np.asarray(value)
        if array.dtype.kind not in _NATIVE_KINDS:
            raise ValueError(f"Result {name!r} has dtype {array.dtype}; use numbers or text.")
        flat = np.ascontiguousarray(array).reshape(-1)
        if flat.dtype.kind == "c":  # real and imaginary parts in turn
            flat = flat.view(f"f{flat.itemsize // 2}")
        encoded[name] = {
            "shape": list(array.shape),
            "dtype": array.dtype.name if array.dtype.kind not in "SU" else array.dtype.str,
            "data": [_finite_or_name(number) for number in plain_numbers(flat)],
        }
    return encoded


def decode_results(obj: Mapping[str, Any], source: str = "The results") -> dict[str, np.ndarray]:
    """Inverse of `encode_results`, bit for bit; `source` names the file in the error.

    Raises:
        Damaged: an entry is not of that layout.
    """
    import numpy as np

    decoded = {}
    for name, entry in obj.items():
        try:
            dtype = np.dtype(entry["dtype"])
            data = entry["data"]
            if dtype.kind in "fc":
                data = [_NON_FINITE[x] if isinstance(x, str) else x for x in data]
                flat = np.array(data, np.dtype(f"f{dtype.itemsize // (1 + (dtype.kind == 'c'))}"))
                flat = flat.view(dtype)
            else:
                flat = np.array(data, dtype)
            decoded[name] = flat.reshape(entry["shape"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise Damaged(f"{source} are damaged at {name!r}: {error}.") from error
    return decoded


def _finite_or_name(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _layout(obj: Any, indent: int = 0) -> str:
    """JSON text with one key a line and each list of plain values on one line: short diffs."""
    if hasattr(obj, "tolist"):  # NumPy numbers and arrays
        obj = obj.tolist()
    margin = " " * (indent + 1)
    if isinstance(obj, Mapping) and obj:
        rows = [f"{json.dumps(str(k))}: {_layout(v, indent + 1)}" for k, v in obj.items()]
        return "{\n" + ",\n".join(margin + row for row in rows) + "\n" + " " * indent + "}"
    if isinstance(obj, list | tuple) and any(isinstance(x, Mapping | list | tuple) for x in obj):
        rows = [_layout(x, indent + 1) for x in obj]
        return "[\n" + ",\n".join(margin + row for row in rows) + "\n" + " " * indent + "]"
    if isinstance(obj, list | tuple):
        return "[" + ", ".join(_layout(x) for x in obj) + "]"
    if isinstance(obj, Path):
        obj = str(obj)
    return json.dumps(_finite_or_name(obj), allow_nan=False, ensure_ascii=False)


# The run folder -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class RunFolder:
    """Where one run keeps everything: `runs/<paper>/<UTC time>-<short id>/`."""

    root: Path

    @classmethod
    def create(cls, paper: str, out: Path | None = None, base: Path = Path("runs")) -> RunFolder:
        """A new folder below `base`, or `out`.

        Raises:
            BadInput: `out` already holds a run.
            ExperimentError: the folder cannot be made.
        """
        time = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        folder = cls(out or base / paper / f"{time}-{secrets.token_hex(2)}")
        if folder.run_json.exists() or (folder.root / "tasks").exists():
            raise BadInput(
                f"{folder.root} already holds a run; go on with it by "
                f"`--resume {shlex.quote(str(folder.root))}`, "
                "or name another folder."
            )
        with explained(folder.run_json):
            folder.root.mkdir(parents=True, exist_ok=True)
        return folder

    @classmethod
    def find(cls, paper: str, which: str, base: Path = Path("runs")) -> RunFolder:
        """The run in folder `which`, or with "latest" the youngest one below `base`/`paper`.

        Raises:
            BadInput: there is no such run.
        """
        if which != "latest":
            if not (Path(which) / "run.json").is_file():
                raise BadInput(f"There is no run in {which}: it has no run.json.")
            return cls(Path(which))
        runs = list((base / paper).glob("*/run.json"))
        if not runs:
            raise BadInput(f"There is no run of {paper} in {base / paper} to resume.")
        # Two runs of the same second are told apart by when they were last written.
        newest = max(runs, key=lambda run: (run.parent.name[:15], run.stat().st_mtime_ns))
        return cls(newest.parent)

    @property
    def run_json(self) -> Path:
        """What was run: configuration, provenance, device, state of the run."""
        return self.root / "run.json"

    @property
    def results_json(self) -> Path:
        """The results, encoded by `encode_results`."""
        return self.root / "results.json"

    @property
    def claims_json(self) -> Path:
        """The judged claims."""
        return self.root / "claims.json"

    @property
    def figures(self) -> Path:
        """Folder of the figures."""
        return self.root / "figures"

    @property
    def log(self) -> Path:
        """What worker processes printed."""
        return self.root / "run.log"

    def remove_leftovers(self) -> None:
        """Remove temporary files that a killed command left; nobody else may be writing here."""
        tasks = self.root / "tasks"
        for folder in (self.root, self.figures, tasks, *tasks.glob("**/")):
            remove_leftovers(folder)

    def task(self, task: Task) -> Path:
        """Folder of one block of a task."""
        return self.root / "tasks" / task.path

    def outcome_path(self, task: Task) -> Path:
        """Where the block's outcome is, once it is finished."""
        return self.task(task) / "result.npz"

    def has_outcome(self, task: Task) -> bool:
        """Whether the block is finished: its outcome is there and undamaged."""
        if not self.outcome_path(task).exists():
            return False
        try:
            read_npz(self.outcome_path(task))
        except Damaged:
            return False  # it will be computed anew
        return True

    def save_outcome(self, task: Task, outcome: Outcome) -> None:
        """Write the block's outcome, then drop its checkpoints, which nobody needs any more."""
        from shared.experiment import checkpoint  # it stands on this module

        write_npz(self.outcome_path(task), outcome)
        for folder in self.task(task).iterdir():
            if folder.is_dir():
                checkpoint.discard(folder)

    def load_outcome(self, task: Task) -> dict[str, np.ndarray]:
        """The block's outcome; Damaged if it is missing or altered."""
        return read_npz(self.outcome_path(task))
