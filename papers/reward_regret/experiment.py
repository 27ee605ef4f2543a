"""The experiments as independent tasks, and how their outcomes become results.

    exact              hand-made MDPs: closed forms, matrices, curves, thresholds (C1 to C8)
    random/<check>     the statements on random MDPs, one a seed (C1 to C8)
    sampled/<data>     rewards learned from samples, and certificates with confidence (C1)
    gym/<name>         FrozenLake, CliffWalking, Taxi: brackets of the safe error level

Light on purpose: what is heavy is imported inside `run_task`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from papers.reward_regret.config import Config
from shared.experiment.spec import Outcome, Results, Run, Task

if TYPE_CHECKING:
    import numpy as np

# Seconds of one core for one seed and one value of the parameter.
SECONDS = {"bounds": 5e-3, "milp": 8e-2, "support": 1e-3, "design": 1.8e-1, "matrix": 1e-1,
           "penalised": 7e-3, "rlhf": 1e-3, "errors": 3e-2, "expert": 1e-3,
           "boxed": 2e-2}  # fmt: skip
QUANTILES = 21
SAMPLED_LEVEL = 0.25
GYM_DATA = ("uniform", "random walk", "expert + 10 % uniform")


def values(config: Config, check: str) -> tuple[float, ...]:
    """The values of its parameter that a check is asked for."""
    return {
        "bounds": config.levels,
        "milp": (0.5,),
        "support": config.errors,
        "design": config.design_levels,
        "matrix": config.matrix_levels,
        "penalised": config.lams,
        "rlhf": config.lams,
        "errors": tuple(float(horizon) for horizon in config.horizons),
        "expert": config.weights,
        "boxed": config.matrix_levels,
    }[check]


def tasks(config: Config) -> list[Task]:
    """Every task of a run, each with all its seeds."""
    found = [Task("exact", {"kind": "exact"}, cpu_seconds=6.0)]
    seeds = tuple(range(config.first_seed, config.first_seed + config.seeds))
    for check, seconds in SECONDS.items():
        cost = seconds * len(values(config, check))
        if check == "errors" and max(config.horizons) > 4:
            cost += 0.5  # horizon 5: four million pairs of trajectories
        params = {"kind": "random", "check": check}
        found.append(Task(f"random/{check}", params, seeds, cpu_seconds=cost))
    draws = tuple(range(config.first_seed, config.first_seed + config.sampling_seeds))
    for data in config.data:
        params = {"kind": "sampled", "data": data}
        cost = 5e-3 * len(config.sizes)
        found.append(Task(f"sampled/{data}", params, draws, cpu_seconds=cost))
    for name in config.environments:
        params = {"kind": "gym", "name": name}
        found.append(Task(f"gym/{name.lower()}", params, cpu_seconds=_gym_seconds(config, name)))
    return found


def _gym_seconds(config: Config, name: str) -> float:
    exact = {"FrozenLake": (48, 3.0), "CliffWalking": (152, 25.0), "Taxi": (2406, 0.0)}
    cells, seconds = exact[name]
    return 2.0 + (seconds if cells <= config.gym_exact_cells else 0.0)


def run_task(task: Task, run: Run) -> Outcome:
    """Do one task; those with seeds return arrays with their seeds first."""
    config: Config = run.config
    kind = task.params["kind"]
    if kind == "exact":
        from papers.reward_regret import exact

        return exact.everything()
    if kind == "gym":
        return _gym(config, task.params["name"])
    if kind == "sampled":
        return _sampled(config, task, run)
    from papers.reward_regret import checks

    check = task.params["check"]
    ask = checks.prepare(check, task.seeds, config.fresh)
    return _one_by_one(run, ask, values(config, check), check)


def _one_by_one(
    run: Run, ask: Callable[[float], dict[str, np.ndarray]], asked: Sequence[float], name: str
) -> dict[str, np.ndarray]:
    """Ask for one value after the other, so that a killed run goes on; arrays [seed, value]."""
    import numpy as np

    def step(done: int) -> tuple[int, dict[str, np.ndarray]]:
        return done + 1, ask(asked[done])

    _, history = run.loop(0, step, len(asked), name=name, unit="values")
    return {key: np.moveaxis(array, 0, 1) for key, array in history.items()}


def _sampled(config: Config, task: Task, run: Run) -> Outcome:
    """Learned rewards, arrays [seed, size]; each size draws afresh."""
    import numpy as np

    from papers.reward_regret import env, method, sampling

    mdp = env.three_by_two()
    table = method.policy_table(mdp)
    D = {
        "uniform": env.uniform,
        "expert": lambda mdp: env.expert_mixture(mdp, 0.1),
        "design": lambda mdp: method.design_distribution(mdp, SAMPLED_LEVEL)[0],
    }[task.params["data"]](mdp)

    def ask(size: float) -> dict[str, np.ndarray]:
        rows = [
            sampling.learn(
                mdp, D, table, int(size), np.random.default_rng([seed, int(size), 10]),
                noise=config.noise, L=SAMPLED_LEVEL, delta=config.delta,
            )
            for seed in task.seeds
        ]  # fmt: skip
        return {name: np.array([getattr(row, name) for row in rows]) for name in rows[0]._fields}

    outcome = _one_by_one(run, ask, [float(size) for size in config.sizes], "sampled")
    exact = method.safety_margin(mdp, D, SAMPLED_LEVEL).value / mdp.range_R
    return outcome | {"exact": np.full(len(task.seeds), exact)}


def _gym(config: Config, name: str) -> Outcome:
    """For each kind of data: closed-form bound, bound by cells, exact level, level of a policy.

    What is not computed because of its size is NaN.
    """
    import numpy as np

    from papers.reward_regret import analysis, env, method

    mdp = env.from_gymnasium(name, config.gym_gamma).mdp
    env.validate(mdp, allow_ties=True)
    L, small = config.gym_level, mdp.R.size <= method.MAX_CELLS_MILP
    walk = method.visitation(mdp, np.full(mdp.R.shape, 1 / mdp.R.shape[1]))
    rows = []
    for D in (env.uniform(mdp), walk, env.expert_mixture(mdp, 0.1)):
        paper, tight = (f(mdp, D, L) for f in (method.paper_bound, method.tight_bound))
        cells = analysis.occupancy_bound(mdp, D, L) if small else np.nan
        worst = method.optimal_policy(mdp, -mdp.R)[0]
        upper = env.descend(mdp, D, L)[0] if small else method.policy_margin(mdp, D, worst).value
        exact = np.nan
        if mdp.R.size <= config.gym_exact_cells:
            exact = method.safety_margin(mdp, D, L, method="milp").value / mdp.range_R
        rows.append((paper, tight, cells, exact, upper / mdp.range_R))
    names = ("paper", "tight", "cells", "exact", "upper")
    columns = dict(zip(names, np.array(rows).T, strict=True))
    return {**columns, "shape": np.array(mdp.R.shape), "returns": np.array(method.j_bounds(mdp))}


def collect(config: Config, outcomes: Mapping[str, Outcome]) -> Results:
    """Exact parts as they are; checks as quantiles over seeds, [value, quantile]."""
    import numpy as np

    results: dict[str, Any] = {
        "seeds": np.asarray(config.seeds),
        "first_seed": np.asarray(config.first_seed),
        "quantiles": np.linspace(0, 1, QUANTILES),
        "data": np.asarray(config.data),
        "sizes": np.asarray(config.sizes),
        "environments": np.asarray(config.environments),
        "gym_data": np.asarray(GYM_DATA),
        "gym_level": np.asarray(config.gym_level),
        "gym_gamma": np.asarray(config.gym_gamma),
        "confidence": np.asarray(1 - config.delta),
    }
    for key, outcome in outcomes.items():
        part = key.split("/")[0]
        if part == "random":
            check = key.split("/")[1]
            results[f"{key}/values"] = np.asarray(values(config, check))
            for name, array in outcome.items():
                spread = np.quantile(array, results["quantiles"], axis=0)
                results[f"{key}/{name}"] = spread.T
        else:
            for name, array in outcome.items():
                exact = np.asarray(array)
                small = exact.astype(np.float32) if exact.size > 100 else exact
                results[f"{key}/{name}"] = small
    return results
