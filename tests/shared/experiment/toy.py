"""A tiny complete paper: stochastic gradient descent on x² from x = 1, with knobs that break it.

Pure NumPy, so that a block takes milliseconds. What a seed does depends on nothing but the seed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from shared.experiment import BadInput, Claim, Estimate, Experiment, Run, Task, Verdict, main

Fault = Literal[
    "none", "kill", "kill-always", "orphan", "exit", "interrupt", "raise", "refuse", "nan"
]


@dataclass(frozen=True)
class Fate:
    """What goes wrong, and where."""

    fault: Fault = "none"
    """What goes wrong."""
    task: str = "sgd/noise=0.1"
    """Key of the task that it happens to."""
    seed: int = 1
    """First seed of the block that it happens to."""
    chunk: int = 3
    """Chunk before which it happens; only once, except for kill-always."""


@dataclass(frozen=True)
class Config:
    """The toy's configuration."""

    seeds: int = 3
    """Independent runs (paper: 10)."""
    chunks: int = 5
    """Chunks of one step each."""
    rate: float = 0.2
    """Step size (paper: 0.2)."""
    noises: tuple[float, ...] = (0.1, 1.0)
    """Standard deviations of the gradient noise."""
    draw: bool = False
    """Draw the figure."""
    fate: Fate = Fate()
    """What goes wrong."""

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1:
            raise ValueError(f"The step size must be between 0 and 1; got {self.rate}.")
        if self.seeds < 1:
            raise ValueError(f"There must be at least 1 seed; got {self.seeds}.")


PRESETS = {
    "smoke": Config(seeds=2, chunks=4),
    "quick": Config(),
    "cpu": Config(seeds=4, chunks=20),
    "paper": Config(seeds=10, chunks=100),
}


def tasks(config: Config) -> list[Task]:
    """One task per noise, the noisiest predicted longest, and a deterministic one."""
    sgd = [
        Task(f"sgd/noise={n}", {"noise": n}, tuple(range(config.seeds)), 1.0 + n, memory_mb=1.0)
        for n in config.noises
    ]
    return [*sgd, Task("exact", cpu_seconds=0.5)]


def run_task(task: Task, run: Run) -> dict[str, np.ndarray]:
    """Plain loop; the gradient noise of step t of seed s is drawn from (s, t)."""
    config: Config = run.config
    if task.key == "exact":
        return {"x": np.array((1 - 2 * config.rate) ** config.chunks)}
    noise: float = task.params["noise"]

    def step(state: dict[str, Any]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        t = int(state["t"])
        with open(run.folder / "visits", "a") as visits:
            print(t, file=visits)
        fail(config.fate, task, t, run.folder)
        draws = [np.random.default_rng([seed, t]).standard_normal() for seed in task.seeds]
        x = state["x"] - config.rate * (2 * state["x"] + noise * np.array(draws))
        loss = x**2
        if config.fate.fault == "nan" and strikes(config.fate, task, t):
            loss = loss * np.nan
        return {"x": x, "t": t + 1}, {"loss": loss}

    start = {"x": np.ones(len(task.seeds)), "t": 0}
    state, history = run.loop(start, step, config.chunks)
    return {"x": np.asarray(state["x"]), "loss": history["loss"].T}


def strikes(fate: Fate, task: Task, t: int) -> bool:
    """Whether fate's place is here."""
    return task.key == fate.task and fate.seed in task.seeds and t == fate.chunk


def fail(fate: Fate, task: Task, t: int, folder: Path) -> None:
    """Let what is fated happen."""
    if fate.fault in ("none", "nan") or not strikes(fate, task, t):
        return
    marker = folder / "struck"
    if marker.exists() and fate.fault != "kill-always":
        return
    marker.touch()
    os.write(1, b'{"event": "printed by a library"}\n')
    match fate.fault:
        case "kill" | "kill-always":
            os.kill(os.getpid(), signal.SIGKILL)
        case "orphan":
            os.kill(os.getppid(), signal.SIGKILL)
        case "exit":
            os._exit(7)
        case "interrupt":  # Ctrl-C reaches every process of the terminal's foreground group
            os.killpg(0, signal.SIGINT)
        case "raise":
            raise RuntimeError("a bug in the training code")
        case "refuse":
            raise BadInput("The price file has no column.")


def collect(config: Config, outcomes: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, Any]:
    """Losses by noise, shape [noises, seeds]."""
    return {
        "exact": outcomes["exact"]["x"],
        "x": np.stack([outcomes[f"sgd/noise={n}"]["x"] for n in config.noises]),
        "loss": np.stack([outcomes[f"sgd/noise={n}"]["loss"] for n in config.noises]),
        "draw": np.array(config.draw),
    }


def figures(results: Mapping[str, Any]) -> Sequence[tuple[str, Any]]:
    """The loss curves."""
    if not results["draw"]:
        return []
    from matplotlib.figure import Figure

    figure = Figure()
    figure.subplots().plot(results["loss"].mean(1).T)
    return [("loss", figure)]


def _final_loss(results: Mapping[str, Any]) -> list[Estimate]:
    final = results["loss"][0, :, -1]
    return [Estimate(final.mean(), final.min(), final.max(), n=len(final))]


def _small(estimates: Sequence[Estimate]) -> Verdict:
    return Verdict.REPRODUCED if estimates[0].value < 0.5 else Verdict.NOT_REPRODUCED


CLAIMS = (
    Claim("C1", "The loss falls.", "Fig. 1", "final loss", "below 0.5", _final_loss, _small),
    Claim("C2", "It is fast.", "Sec. 2", "-", "-", not_attempted="Nobody has a clock."),
)

EXPERIMENT = Experiment(
    name="toy",
    title="Gradient Descent on a Parabola",
    entry="tests.shared.experiment.toy:EXPERIMENT",
    presets=PRESETS,
    tasks=tasks,
    run_task=run_task,
    collect=collect,
    claims=CLAIMS,
    figures=figures,
)


def run_toy(*argv: str) -> subprocess.CompletedProcess[str]:
    """The toy's command in a process group of its own, as a terminal would start it."""
    return subprocess.run(
        [sys.executable, "-m", "tests.shared.experiment.toy", *argv],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=120,
        start_new_session=True,
    )


def lasting_files(folder: Path) -> dict[str, bytes]:
    """What two runs of one configuration must have in common, byte for byte."""
    names = ("result.npz", "metrics.jsonl", "results.json", "claims.json")
    files = [path for path in folder.rglob("*") if path.name in names]
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(files)}


if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
