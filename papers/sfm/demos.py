"""Demonstrations: small npz files without pickle, checked when they are read.

A file holds `obs` f32[T, s] (required), and may hold `act` f32[T - 1, a], `reward` f32[T - 1] and,
as text or numbers, `task`, `return`, `source`, `mujoco`, and `physics` f64[k, n], MuJoCo's state at
a few moments, to draw the expert. Imitation reads `obs` alone. Shipped files
lie in `demos/`, each with a checksum here and a data card in `demos/README.md`.
"""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float

from shared.experiment.errors import BadInput, Damaged

Array = np.ndarray
FOLDER = Path(__file__).parent / "demos"
LEAST = 3  # states: the expert's sum replaces the last two by the critic
_TEXT = ("task", "source", "mujoco")


@dataclass(frozen=True)
class Demo:
    """One demonstration.

    Attributes:
        obs: states. act, reward: one fewer; None where the file has none or they are not finite.
        task, source, mujoco: what was recorded with it, empty if nothing was.
        recorded_return: sum of the task's rewards; NaN if not recorded.
        physics: MuJoCo's states at a few moments, to draw them; None if not recorded.
    """

    obs: Float[Array, "T s"]
    act: Float[Array, "L a"] | None = None
    reward: Float[Array, " L"] | None = None
    task: str = ""
    source: str = ""
    mujoco: str = ""
    recorded_return: float = field(default=float("nan"))
    physics: Float[Array, "k n"] | None = None

    def actions(self) -> Float[Array, "L a"]:
        """The expert's actions; ValueError where there are none."""
        if self.act is None:
            raise ValueError(
                "actions required: this demonstration has states only, from which "
                "behavioural cloning and IQ-Learn cannot learn."
            )
        return self.act


def save_demo(path: Path, demo: Demo) -> str:
    """Write a demonstration; returns its SHA-256."""
    arrays: dict[str, Array] = {"obs": np.asarray(demo.obs, np.float32)}
    for name in ("act", "reward"):
        if (values := getattr(demo, name)) is not None:
            arrays[name] = np.asarray(values, np.float32)
    if demo.physics is not None:
        arrays["physics"] = np.asarray(demo.physics, np.float64)
    arrays |= {name: np.asarray(getattr(demo, name)) for name in _TEXT if getattr(demo, name)}
    arrays["return"] = np.asarray(demo.recorded_return, np.float32)
    np.savez_compressed(path, allow_pickle=False, **arrays)
    return checksum(path)


def checksum(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load_demo(path: Path, obs_dim: int | None = None, act_dim: int | None = None) -> Demo:
    """Read and check a demonstration.

    Args:
        obs_dim, act_dim: widths of the environment that it is meant for.

    Raises:
        BadInput: no such file, not an npz file, wrong shape or width, too short, not finite.
    """
    arrays = _read(path)
    if "obs" not in arrays:
        raise BadInput(f"{path} has no array obs; it has {', '.join(sorted(arrays)) or 'none'}.")
    obs = check_states(arrays["obs"], obs_dim, str(path))
    steps = obs.shape[0] - 1
    act = _optional(arrays, "act", (steps, act_dim), path)
    reward = _optional(arrays, "reward", (steps,), path)
    text = {name: str(arrays[name]) for name in _TEXT if name in arrays}
    recorded = float(arrays["return"]) if "return" in arrays else float("nan")
    physics = arrays.get("physics")
    return Demo(obs, act, reward, recorded_return=recorded, physics=physics, **text)


def check_states(states: Array, obs_dim: int | None = None, name: str = "A demonstration") -> Array:
    """The states as float32, or BadInput with what is wrong with them."""
    if states.ndim != 2 or states.dtype.kind not in "fiu":
        raise BadInput(f"{name} needs states as numbers [T, width]; got shape {states.shape}.")
    if len(states) < LEAST:
        raise BadInput(f"{name} needs at least {LEAST} states; got {len(states)}.")
    if obs_dim is not None and states.shape[1] != obs_dim:
        raise BadInput(
            f"{name} has states of width {states.shape[1]}; the environment has width {obs_dim}."
        )
    wrong = int(np.sum(~np.isfinite(states)))
    if wrong:
        raise BadInput(f"{name} has {wrong} numbers among its states that are not finite.")
    return states.astype(np.float32)


def stack_states(demos: list[Demo]) -> Float[Array, "M T s"]:
    """The states of demonstrations of one length, which is all that imitation reads of them."""
    lengths = sorted({len(demo.obs) for demo in demos})
    if len(lengths) != 1:
        raise BadInput(f"All demonstrations need one length; got lengths {lengths}.")
    return np.stack([demo.obs for demo in demos])


def shipped(task: str) -> list[Path]:
    """The files of a task that lie here, checked against their checksums; maybe none."""
    found = []
    for name, digest in CHECKSUMS.items():
        if name.rsplit("-", 1)[0] == task:
            path = FOLDER / name
            if not path.is_file() or checksum(path) != digest:
                raise Damaged(f"The demonstration {path.name} is missing or was altered.")
            found.append(path)
    return found


CHECKSUMS = {
    "cartpole_swingup-0.npz": "ff820a63f6822722c1c15ae490d70828eb346207dd774b10d974e1e768bfcf84",
    "cartpole_swingup-1.npz": "799f59d9fb500e35d687a922e4e9c5dcf44ae8473a3d56ae96449399bc806ecd",
    "cartpole_swingup-2.npz": "ff7bf444ad1d20d65a9148ab92d928b3fe18584aa63c145305197cf9df5c6825",
}
"""File in `demos/` -> SHA-256."""


def _read(path: Path) -> dict[str, Array]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise BadInput(f"There is no demonstration {path}.") from None
    except (OSError, ValueError, AttributeError, TypeError, EOFError, zipfile.BadZipFile):
        raise BadInput(f"{path} is not an npz file of plain arrays.") from None


def _optional(
    arrays: dict[str, Array], name: str, shape: tuple[int | None, ...], path: Path
) -> Array | None:
    """An array that may be absent or not finite, both of which mean: not recorded."""
    if name not in arrays or arrays[name].dtype.kind not in "fiu":
        return None
    values = arrays[name].astype(np.float32)
    fits = values.ndim == len(shape) and all(
        want is None or got == want for got, want in zip(values.shape, shape, strict=False)
    )
    if not fits:
        wanted = ", ".join("any" if n is None else str(n) for n in shape)
        raise BadInput(f"{path}: {name} must have the shape [{wanted}]; got {values.shape}.")
    return values if np.all(np.isfinite(values)) else None
