"""Demonstrations: files that ship with this room, a user's own files, and sub-optimal mixtures.

Our layout is an `.npz` without pickles: `obs` f32[N, o], `act` f32[N, a] in [-1, 1], `rew` f32[N]
and `len` i32[episodes], episodes one after the other. Also read: the names of D4RL (`observations`,
`actions`, `rewards`, with `terminals` and `timeouts` for the ends) in `.npz` or `.hdf5`, a folder
with one `.npz` per episode, and `minari:<dataset>` where minari is installed.

Actions are the learner's, in [-1, 1], before an environment scales them. A file in the
environment's own units is refused, as its costs would be learned at the wrong place: `rescale`
divides by the task's `action_scale`. (The official code never checks; its replay holds [-1, 1].)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from papers.icrl.envs import Task
from shared.experiment.errors import BadInput, Damaged, MissingExtra

Array = np.ndarray
FOLDER = Path(__file__).parent / "demonstrations"
ALIASES = {
    "obs": ("obs", "observations"),
    "act": ("act", "actions"),
    "rew": ("rew", "rewards", "reward"),
}
TOLERANCE = 1e-4  # beyond the box, for actions that were rounded


@dataclass(frozen=True)
class Demonstrations:
    """Episodes of an expert, one after the other."""

    obs: Float[Array, "N o"]
    act: Float[Array, "N a"]
    rew: Float[Array, " N"]
    lengths: Int[Array, " episodes"]

    def returns(self) -> Float[Array, " episodes"]:
        """Undiscounted return of each episode."""
        starts = np.concatenate([[0], np.cumsum(self.lengths)[:-1]])
        return np.add.reduceat(self.rew, starts)

    def episodes(self, chosen: Int[Array, " k"]) -> Demonstrations:
        """These episodes, in this order."""
        ends = np.cumsum(self.lengths)
        rows = [np.arange(int(ends[i] - self.lengths[i]), int(ends[i])) for i in chosen]
        index = np.concatenate(rows)
        return Demonstrations(
            self.obs[index], self.act[index], self.rew[index], self.lengths[chosen]
        )


def shipped(task: Task, kind: str = "expert") -> Demonstrations:
    """Episodes that `experts.py` recorded: of the `expert`, or of an `unconstrained` agent.

    Raises:
        Damaged: the file is not what its data card says.
    """
    path = FOLDER / f"{task.name}_{kind}.npz"
    if not path.is_file():
        raise BadInput(
            f"No {kind} demonstrations of {task.name} ship with this room; give --demos FILE."
        )
    if sha256(path) != card(path)["sha256"]:
        raise Damaged(f"{path.name} differs from the hash in its data card; restore the file.")
    return load(str(path), task)


def card(path: Path) -> dict[str, Any]:
    """The data card beside a shipped file: how it was made, its returns and its hash."""
    return json.loads(path.with_suffix(".json").read_text())


def sha256(path: Path) -> str:
    """Hash of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def mixture(good: Demonstrations, bad: Demonstrations, share: float) -> Demonstrations:
    """As many episodes as `good` has, a `share` of them (rounded) from `bad`."""
    if not 0 <= share <= 1:
        raise BadInput(f"suboptimal must be a share in [0, 1]; got {share}.")
    n = len(good.lengths)
    worse = min(round(share * n), len(bad.lengths))
    a = good.episodes(np.arange(n - worse)) if worse < n else None
    parts = [a] if a is not None else []
    parts += [bad.episodes(np.arange(worse))] if worse else []
    return join(parts)


def join(parts: list[Demonstrations]) -> Demonstrations:
    """Several files as one."""
    columns = ("obs", "act", "rew", "lengths")
    return Demonstrations(*(np.concatenate([getattr(p, c) for p in parts]) for c in columns))


def save(path: Path, demos: Demonstrations) -> None:
    """Write our layout; equal demonstrations are equal bytes."""
    np.savez(path, obs=demos.obs, act=demos.act, rew=demos.rew, len=demos.lengths)


def load(source: str, task: Task, rescale: bool = False) -> Demonstrations:
    """Read and check demonstrations; see the module for what can be read.

    Raises:
        BadInput: missing or unreadable, no episode, wrong shapes, NaN, episodes longer than the
            horizon, or actions outside [-1, 1].
        MissingExtra: an optional package is needed.
    """
    if source.startswith("minari:"):
        parts = _minari(source.removeprefix("minari:"))
    else:
        path = Path(source)
        if not path.exists():
            raise BadInput(f"demos: there is no file or folder {source}.")
        files = sorted(path.glob("*.npz")) if path.is_dir() else [path]
        if not files:
            raise BadInput(f"demos: the folder {source} holds no .npz file.")
        parts = [_parse(_read(file), file.name) for file in files]
    scale = task.action_scale if rescale else 1.0
    found = join(parts)
    return check(
        Demonstrations(found.obs, found.act / np.float32(scale), found.rew, found.lengths), task
    )


def check(demos: Demonstrations, task: Task) -> Demonstrations:
    """The demonstrations, if they can be used on this task; else BadInput says why not."""
    name = task.name
    for what, got, want in (
        ("observations", demos.obs.shape[1], task.obs_dim),
        ("actions", demos.act.shape[1], task.act_dim),
    ):
        if got != want:
            raise BadInput(f"demos: {what} of {name} have {want} entries; the file's have {got}.")
    for what, values in (("obs", demos.obs), ("act", demos.act), ("rew", demos.rew)):
        if not np.all(np.isfinite(values)):
            raise BadInput(f"demos: {what} holds NaN or infinite values.")
    if demos.lengths.max() > task.horizon:
        raise BadInput(
            f"demos: an episode has {demos.lengths.max()} steps; {name} ends after {task.horizon}."
        )
    largest = float(np.abs(demos.act).max())
    if largest > 1 + TOLERANCE:
        raise BadInput(
            f"demos: actions reach {largest:.3g}, outside the box [-1, 1]; if they are in the "
            f"environment's units, --rescale-demos divides them by {task.action_scale:g}."
        )
    return demos


def _read(path: Path) -> Mapping[str, Any]:
    if path.suffix in (".hdf5", ".h5"):
        try:
            import h5py  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise MissingExtra("Reading HDF5 demonstrations needs: pip install h5py") from None
        with h5py.File(path) as file:
            return {name: np.asarray(file[name]) for name in file if hasattr(file[name], "shape")}
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (ValueError, OSError, EOFError) as error:
        raise BadInput(
            f"demos: {path.name} is no .npz archive of plain arrays (pickles are not read)."
        ) from error


def _parse(arrays: Mapping[str, Any], name: str) -> Demonstrations:
    """Our names or D4RL's."""
    columns = {}
    for column, names in ALIASES.items():
        found = [arrays[alias] for alias in names if alias in arrays]
        if not found and column != "rew":
            raise BadInput(f"demos: {name} lacks {' or '.join(names)}; it has {sorted(arrays)}.")
        columns[column] = np.asarray(found[0], np.float32) if found else None
    obs, act = columns["obs"], columns["act"]
    if obs.ndim != 2 or act.ndim != 2 or len(obs) != len(act) or len(obs) == 0:
        raise BadInput(
            f"demos: {name} needs observations [N, o] and actions [N, a] of the same N > 0; got "
            f"{obs.shape} and {act.shape}."
        )
    rew = columns["rew"]
    rew = np.zeros(len(obs), np.float32) if rew is None else rew.reshape(len(obs), -1).sum(axis=1)
    return Demonstrations(obs, act, rew, _lengths(arrays, len(obs), name))


def _lengths(arrays: Mapping[str, Any], n: int, name: str) -> Int[Array, " episodes"]:
    if "len" in arrays:
        lengths = np.atleast_1d(np.asarray(arrays["len"], np.int32))
        if lengths.sum() != n or (lengths < 1).any():
            raise BadInput(f"demos: the lengths in {name} sum to {lengths.sum()}, not to its {n}.")
        return lengths
    ends = np.zeros(n, bool)
    for column in ("terminals", "timeouts", "terminations", "truncations"):
        if column in arrays:
            ends |= np.asarray(arrays[column], bool).reshape(n)
    ends[-1] = True
    return np.diff(np.flatnonzero(ends), prepend=-1).astype(np.int32)


def _minari(dataset: str) -> list[Demonstrations]:
    try:
        import minari  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise MissingExtra("Reading Minari datasets needs: pip install minari") from None
    found = []
    for episode in minari.load_dataset(dataset).iterate_episodes():
        n = len(episode.actions)
        arrays: dict[str, Any] = {"obs": episode.observations[:n], "act": episode.actions}
        found.append(_parse({**arrays, "rew": episode.rewards}, dataset))
    return found
