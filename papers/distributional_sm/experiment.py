"""The experiments as independent tasks, and how their outcomes become the paper's results.

    exact                       finite chains: identities, contraction, fractals (C1-C3, C10)
    truth/<process>/<policy>    Monte-Carlo returns, their own error, the floor of m equal atoms
    model/<process>/<policy>/delta, ensemble, one-step           (C4-C6)
    ablation/<process>/unchanged, <change>                       (C7-C9)

Light on purpose: what is heavy is imported inside `run_task`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from papers.distributional_sm.config import POLICIES, Config
from shared.experiment.spec import Outcome, Results, Run, Task

if TYPE_CHECKING:
    import numpy as np

# Predicted cost on one core: to start and evaluate, and of a gradient step per kernel evaluation,
# times numbers of a state and two, and per generated state and squared width.
START_SECONDS = 8.0
KERNEL_SECONDS, NETWORK_SECONDS = 1e-9, 1.2e-10
DIMENSIONS = {"windy": 2, "pendulum": 3, "balance": 4}
GPU_STEP_SECONDS = 8e-3  # at the paper's sizes, all seeds; a guess, never measured
QUANTILES = 100


def tasks(config: Config) -> list[Task]:
    """Every task of a run, each with all its seeds."""
    found = [Task("exact", {"kind": "exact"}, cpu_seconds=3 + 0.06 * config.chains)]
    for name in config.tasks:
        for place, policy in enumerate(POLICIES[name]):
            about = {"process": name, "policy": policy}
            found.append(
                Task(f"truth/{name}/{policy}", {"kind": "truth", **about}, cpu_seconds=6.0)
            )
            models = ("delta", *config.baselines) if place == 0 else ("delta",)
            found += [
                _training(config, f"model/{name}/{policy}/{model}", {**about, "model": model})
                for model in models
            ]
    for name in config.ablation_tasks:
        about = {"process": name, "policy": POLICIES[name][0], "model": "delta"}
        found += [
            _training(
                config.ablated(change), f"ablation/{name}/{change}", {**about, "change": change}
            )
            for change in (("unchanged", *config.ablations) if config.ablations else ())
        ]
    return found


def _training(config: Config, key: str, params: Mapping[str, Any]) -> Task:
    seeds = tuple(range(config.first_seed, config.first_seed + config.seeds))
    atoms = 1 if params["model"] == "one-step" else config.atoms
    states = config.batch_size * atoms * config.samples
    pairs = 3 * states * config.samples * (1 if params["model"] == "ensemble" else atoms)
    dims = DIMENSIONS[params["process"]] if config.kernel != "learned" else 8
    step = pairs * (2 + dims) * KERNEL_SECONDS + states * config.width**2 * NETWORK_SECONDS
    if config.kernel == "learned":
        step = 2 * step + 6 * states * config.width**2 * NETWORK_SECONDS
    seconds = START_SECONDS + config.updates * (step + 3e-4)
    gpu = config.updates * GPU_STEP_SECONDS
    return Task(key, {"kind": "train", **params}, seeds, seconds, gpu_seconds=gpu, memory_mb=600.0)


def run_task(task: Task, run: Run) -> Outcome:
    """Do one task; a training task returns arrays with its seeds first."""
    config: Config = run.config
    if task.params["kind"] == "exact":
        from papers.distributional_sm.exact import run_exact

        return run_exact(config.chains)
    if task.params["kind"] == "truth":
        return _truth(config, task.params["process"], task.params["policy"])
    from papers.distributional_sm.trial import train

    if "change" in task.params:
        config = config.ablated(task.params["change"])
    return train(config, task, run)


def _truth(config: Config, name: str, policy: str) -> dict[str, np.ndarray]:
    """What is known of a process's returns.

    `quantiles` [source, reward, 100] (midpoints); `mean`, `std` [source, reward]; `cvar`
    [source, reward, tau] and `cvar_error`, its standard error; `noise`: W1 to as many fresh runs;
    `mean_alone`: W1 of all mass at the mean, the best that a model of means can do;
    for every number m of atoms that is trained, `floor`: W1 of m sampled returns, and `quantised`:
    of the best m equal atoms [m, source, reward]; `range` [reward], of possible returns.
    """
    import numpy as np

    from papers.distributional_sm import truth
    from papers.distributional_sm.tabular import cvar

    real, widths = truth.simulated(config, name, policy)
    real = real.astype(np.float64)
    again = truth.simulated(config, name, policy, truth.TRUTH_SEED + 1).returns
    runs = real.shape[-1]
    folds = real[..., np.random.default_rng(1).permutation(runs)[: runs // 10 * 10]]
    folds = folds.reshape(*real.shape[:2], 10, -1)
    levels = config.risk_levels
    errors = [cvar(folds, tau).std(-1, ddof=1) / np.sqrt(10) for tau in levels]
    midpoints = (np.arange(QUANTILES) + 0.5) / QUANTILES
    return {
        "quantiles": np.moveaxis(np.quantile(real, midpoints, axis=-1), 0, -1).astype(np.float32),
        "mean": real.mean(-1),
        "mean_error": real.std(-1, ddof=1) / np.sqrt(runs),
        "std": real.std(-1),
        "cvar": np.stack([cvar(real, tau) for tau in levels], axis=-1),
        "cvar_error": np.stack(errors, axis=-1),
        "mean_alone": truth.w1(real.mean(-1, keepdims=True), real),
        "noise": truth.w1(again.astype(np.float64), real),
        "floor": np.stack([truth.sampled_floor(real, m) for m in config.atom_counts]),
        "quantised": np.stack([truth.quantised_floor(real, m) for m in config.atom_counts]),
        "range": widths,
    }


def collect(config: Config, outcomes: Mapping[str, Outcome]) -> Results:
    """All outcomes under `<task key>/<name>`, and what they were made with.

    Without what nobody looks at (returns of ablations, pictures but one), and what is only drawn
    rounded to 4 decimals, so that results stay small.
    """
    import numpy as np

    results: dict[str, np.ndarray] = {}
    for key, outcome in outcomes.items():
        for name, value in outcome.items():
            array = np.asarray(value)
            if name == "snapshot":  # one seed of the model itself is enough for a picture
                if not key.endswith("/windy/top/delta"):
                    continue
                array = array[0]
            if key.startswith("ablation") and name in ("returns", "ks", "cvm"):
                continue
            if name in ("snapshot", "returns", "quantiles", "fractal/triangle"):
                array = array.astype(np.float64).round(4)
            small = array.dtype == np.float64 and key.startswith(("model", "ablation"))
            results[f"{key}/{name}"] = array.astype(np.float32) if small else array
    results["updates"] = np.arange(1, config.evaluations + 1) * config.updates_per_evaluation
    results["risk_levels"] = np.asarray(config.risk_levels)
    results["gamma"] = np.asarray(config.gamma)
    results["atoms"] = np.asarray(config.atom_counts)
    return results
