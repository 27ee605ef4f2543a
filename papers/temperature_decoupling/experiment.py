"""The experiments as independent tasks, and how their outcomes become the paper's results.

    theorems              every theorem on M1 to M4 and on random MDPs (C1 to C15); the seeds of
                          this task are the MDPs' numbers, 0 to 3 for M1 to M4
    examples              T* and T*_tau on M4, errors on M2 (C10), bounds as curves, the exact grid
    projections           projections compared, estimates to an accuracy (C11)
    laws/...              the paper's estimates on M2, per precision and projection (C11, C12)
    learning/...          soft Q-learning on M1 and M2 (C6)
    grid                  a network on a grid with two goals

Light on purpose: what is heavy is imported inside `run_task`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from papers.temperature_decoupling.config import PRECISIONS, Config
from shared.experiment.spec import Outcome, Results, Run, Task

if TYPE_CHECKING:
    import numpy as np

EXAMPLES = 4
"""The first numbers belong to M1 to M4, see `theorems.numbered`."""

# Predicted seconds on one core.
MDP_SECONDS = 0.2
SWEEP_SECONDS = {"cramer": 0.1e-3, "mmd": 7e-3}
SAMPLE_SECONDS = 1.5e-6
UPDATE_SECONDS = 0.3e-3


def tasks(config: Config) -> list[Task]:
    """Every task of a run, each with all its seeds."""
    seeds = tuple(range(config.first_seed, config.first_seed + config.seeds))
    numbers = tuple(range(EXAMPLES + config.random_mdps))
    found = [
        Task("theorems", {"kind": "theorems"}, numbers, MDP_SECONDS),
        Task("examples", {"kind": "examples"}, cpu_seconds=4.0),
        Task("projections", {"kind": "projections"}, cpu_seconds=10.0),
    ]
    for precision in PRECISIONS:
        for projection in config.projections:
            count = 2 * config.sweeps * len(config.opt_taus)
            seconds = 3 + count * SWEEP_SECONDS[projection] * (0.6 if precision == "float32" else 1)
            params = {"kind": "laws", "precision": precision, "projection": projection}
            found.append(Task(_law_key(precision, projection), params, cpu_seconds=seconds))
    for name in ("m1", "m2"):
        seconds = 1 + config.q_steps * SAMPLE_SECONDS * len(config.q_taus)
        params = {"kind": "learning", "mdp": name}
        found.append(Task(f"learning/mdp={name}", params, seeds, seconds))
    updates = config.grid_copies * config.grid_steps
    found.append(Task("grid", {"kind": "grid"}, seeds, 3 + updates * UPDATE_SECONDS))
    return found


def _law_key(precision: str, projection: str) -> str:
    return f"laws/precision={precision}/projection={projection}"


def run_task(task: Task, run: Run) -> Outcome:
    """Do one task; those with seeds return arrays with the seeds first."""
    config: Config = run.config
    kind = task.params["kind"]
    if kind == "theorems":
        return _theorems(task, run)
    if kind == "laws":
        return _laws(config, task, run)
    if kind == "learning":
        from papers.temperature_decoupling import learning

        return learning.learn(config, task, run)
    if kind == "grid":
        from papers.temperature_decoupling import network

        return network.learn(config, task, run)
    return _fixed(kind, config)


def _fixed(kind: str, config: Config) -> Outcome:
    """The tasks without randomness and without a loop."""
    from papers.temperature_decoupling import laws, network, theorems

    if kind == "projections":
        parts = {
            "projection": laws.projection_errors(config.projection_atoms, config.mmd_alpha),
            "accuracy": laws.accuracies(config.accuracies),
        }
        return _arrays(
            {f"{part}/{k}": v for part, found in parts.items() for k, v in found.items()}
        )
    exact = {"grid/exact": network.exact_measures(config.grid_tau)}
    return _arrays({**laws.iterates(), **theorems.bound_curves(), **exact})


def _theorems(task: Task, run: Run) -> Outcome:
    """Every theorem on the MDPs of these numbers, a few at a time."""
    import numpy as np

    from papers.temperature_decoupling import theorems

    size = theorems.CHUNK
    blocks = [task.seeds[i : i + size] for i in range(0, len(task.seeds), size)]

    def step(done: int) -> tuple[int, dict[str, Any]]:
        numbers = blocks[done]
        found = theorems.decide(numbers)
        # The last block may be shorter; history is stacked, so it is filled up and cut below.
        fill = [min(i, len(numbers) - 1) for i in range(size)]
        return done + 1, {name: value[fill] for name, value in found.items()}

    _, history = run.loop(0, step, len(blocks), name="theorems", unit="MDPs", per_chunk=size)
    return {
        name: np.concatenate(list(values))[: len(task.seeds)] for name, values in history.items()
    }


def _laws(config: Config, task: Task, run: Run) -> Outcome:
    """The estimates at every temperature, one at a time."""
    import numpy as np

    from papers.temperature_decoupling import laws

    z = np.linspace(*config.support, config.atoms)

    def step(done: int) -> tuple[int, dict[str, Any]]:
        found = laws.estimate(
            config.opt_taus[done],
            z,
            task.params["projection"],
            config.mmd_alpha,
            config.sweeps,
            task.params["precision"],
        )
        return done + 1, found

    _, history = run.loop(0, step, len(config.opt_taus), name="estimates", unit="temperatures")
    return {**history, "z": z, "limits": laws.limit_laws(z)}


def _arrays(numbers: Mapping[str, Any]) -> dict[str, np.ndarray]:
    import numpy as np

    return {name: np.asarray(value) for name, value in numbers.items()}


# --- Results --------------------------------------------------------------------------------------

BANDS = ("distance", "linear/ratio", "erl/tv", "decoupled/tv", "decoupled/lost", "laws/w1",
         "laws/w2", "estimate/w1", "iterates/w1", "iterates/w2", "near/ratio")  # fmt: skip
"""Drawn with quantiles over the random MDPs."""
HISTOGRAMS = ("limits/tv", "estimate/apart", "tv/ratio", "sharp/ratio", "erl/excess", "narrow/loss",
              "unique/least", "contraction/ratio")  # fmt: skip
"""Kept for every random MDP."""


def collect(config: Config, outcomes: Mapping[str, Outcome]) -> Results:
    """Join the outcomes; of the random MDPs keep extremes, quantiles and a few whole columns."""
    import numpy as np

    from papers.temperature_decoupling import theorems, theorems_laws

    results: dict[str, np.ndarray] = {
        "opt_taus": np.asarray(config.opt_taus),
        "q_taus": np.asarray(config.q_taus),
        "projections": np.asarray(config.projections),
        "projection_atoms": np.asarray(config.projection_atoms),
        "accuracies": np.asarray(config.accuracies),
        "grid_tau": np.asarray(config.grid_tau),
        "sweeps": np.asarray(config.sweeps),
        "random/count": np.asarray(config.random_mdps),
        "taus": np.asarray(theorems.TAUS),
        "law_taus": np.asarray(theorems_laws.LAW_TAUS),
        "near_eps": np.asarray(theorems.ACCURACIES),
    }
    for name, value in outcomes["theorems"].items():
        results[f"examples/{name}"] = value[:EXAMPLES]
    results |= _summaries({k: value[EXAMPLES:] for k, value in outcomes["theorems"].items()})
    for name, value in outcomes["examples"].items():
        results[name] = _short(value) if name == "iterates/laws" else value
    results |= dict(outcomes["projections"])
    for precision in PRECISIONS:
        for projection in config.projections:
            found = outcomes[_law_key(precision, projection)]
            part = f"laws/{precision}/{projection}/"
            results |= {part + name: found[name] for name in ("policy", "mean", "w1")}
            results[part + "eta"] = _short(found["eta"])
            results |= {f"laws/{name}": _short(found[name]) for name in ("z", "limits")}
            results[f"laws/{projection}/apart"] = _between_precisions(outcomes, projection, found)
    for name in ("m1", "m2"):
        found = outcomes[f"learning/mdp={name}"]
        results |= {f"learning/{name}/{k}": _short(v) for k, v in found.items()}
    results |= {f"grid/{name}": _short(value) for name, value in outcomes["grid"].items()}
    return results


def _short(value: np.ndarray) -> np.ndarray:
    """Rounded far below what is shown, in single precision: a fifth of the file."""
    import numpy as np

    return np.round(value, 7).astype(np.float32)


def _summaries(found: Outcome) -> dict[str, np.ndarray]:
    """Extremes over the MDPs with the number of the worst, quantiles, whole columns."""
    import numpy as np

    results: dict[str, np.ndarray] = {}
    for name, values in found.items():
        results[f"random/max/{name}"] = np.asarray(values.max(0))
        results[f"random/min/{name}"] = np.asarray(values.min(0))
        results[f"random/worst/{name}"] = np.asarray(values.argmax(0) + EXAMPLES, np.int32)
    for name in BANDS:
        band = np.quantile(found[name], (0.05, 0.5, 0.95), axis=0)
        results[f"random/band/{name}"] = band.astype(np.float32)
    for name in HISTOGRAMS:
        results[f"random/all/{name}"] = np.round(found[name], 6).astype(np.float32)
    return results


def _between_precisions(
    outcomes: Mapping[str, Outcome], projection: str, found: Outcome
) -> np.ndarray:
    """W_1 between the float64 and float32 estimates, [temperature, choice]."""
    import numpy as np

    etas = [outcomes[_law_key(precision, projection)]["eta"] for precision in PRECISIONS]
    change = np.abs(np.cumsum(etas[0] - etas[1], -1))[..., :-1]
    return (change * np.diff(found["z"])).sum(-1)
