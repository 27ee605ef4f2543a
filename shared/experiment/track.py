"""Mirrors metrics to an experiment tracker; the run itself never depends on it.

Only Weights & Biases so far. It is imported when asked for, writes below the run folder, and stays
offline unless the user is logged in or has set WANDB_MODE.
"""

from __future__ import annotations

import netrc
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from shared.experiment.errors import MissingExtra


class NoTracker:
    """Tracks nothing."""

    def log(self, task: str, row: Mapping[str, Any]) -> None:
        """Ignore the row."""

    def finish(self) -> None:
        """Nothing to write out."""


def tracker(
    kind: Literal["none", "wandb"],
    folder: Path,
    paper: str,
    config: Mapping[str, Any],
    warn: Callable[[str], None],
    environment: Mapping[str, str] = os.environ,
) -> NoTracker | WandbTracker:
    """The tracker of that name, its files below `folder`.

    Args:
        folder: the run folder; its name becomes the name of the tracked run.
        paper: names the project, `corroborate-PAPER`.
        config: the configuration as JSON values.
        warn: is told once, in a sentence, if the tracker fails.

    Raises:
        MissingExtra: the tracker's package is not installed.
    """
    if kind == "none":
        return NoTracker()
    try:
        import wandb
    except ImportError as error:
        raise MissingExtra(
            "--track wandb needs the package wandb, which is not installed; run `uv sync`."
        ) from error
    return WandbTracker(wandb, folder, paper, config, wandb_mode(environment), warn)


def wandb_mode(environment: Mapping[str, str]) -> str:
    """Online only for a user who is logged in; WANDB_MODE decides where it is set."""
    if mode := environment.get("WANDB_MODE"):
        return mode
    return "online" if environment.get("WANDB_API_KEY") or _in_netrc(environment) else "offline"


def _in_netrc(environment: Mapping[str, str]) -> bool:
    default = Path(environment.get("HOME", "~")).expanduser() / ".netrc"
    path = Path(environment.get("NETRC", default))
    try:
        return netrc.netrc(path).authenticators("api.wandb.ai") is not None
    except (OSError, netrc.NetrcParseError):
        return False


class WandbTracker:
    """One tracked run per run folder; each task's metrics against its own counter.

    Whatever goes wrong in the tracker is said once; then it stays silent.
    """

    def __init__(
        self,
        wandb: Any,
        folder: Path,
        paper: str,
        config: Mapping[str, Any],
        mode: str,
        warn: Callable[[str], None],
    ) -> None:
        self._warn = warn
        self._run: Any = None
        self._counted: set[str] = set()
        try:
            self._run = wandb.init(
                project=f"corroborate-{paper}",
                name=folder.resolve().name,
                dir=str(folder),
                config=dict(config),
                mode=mode,
                settings=wandb.Settings(console="off", silent=True),
            )
        except Exception as error:
            self._give_up(error)

    def log(self, task: str, row: Mapping[str, Any]) -> None:
        """Log the row's numbers as `task/name`."""
        if self._run is None:
            return
        try:
            if task not in self._counted:
                self._counted.add(task)
                self._run.define_metric(f"{task}/*", step_metric=f"{task}/done")
            self._run.log({f"{task}/{name}": value for name, value in row.items()})
        except Exception as error:
            self._give_up(error)

    def finish(self) -> None:
        """Write out what is left."""
        if self._run is None:
            return
        try:
            self._run.finish()
        except Exception as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self._run = None
        self._warn(f"tracking stopped, the run goes on: {error}")
