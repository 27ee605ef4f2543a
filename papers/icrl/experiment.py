"""The experiments as independent tasks, and how their outcomes become the paper's results.

    exact                 the corridor of seven states: the reduction and its ascent (C1)
    main/...              every variant on every task (C2, C3, C4, C9)
    grid/...              SAC-ICRL over rates of cost and multiplier (C6)
    suboptimal/...        demonstrations mixed with an unconstrained agent's (C5)
    ablation/...          further variants on the first task (C8, and the code's quirks by name)
    offline/...           constraint inference without an environment (C7)

Light on purpose: what is heavy is imported inside `run_task`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from papers.icrl.config import Config
from shared.experiment.spec import Outcome, Results, Run, Task

if TYPE_CHECKING:
    import numpy as np

# Predicted seconds on one core: to compile, and per gradient step at width 64 and batch 128; with
# separate critics half as much again. Wider networks cost by the square of their width.
COMPILE_SECONDS, UPDATE_SECONDS = 12.0, 0.25e-3
GPU_UPDATE_SECONDS = 0.5e-3  # all seeds together; a guess from the number of kernels
KEPT_MAPS = ("IRL-Plus", "IRL-Base", "MECL")
EXACT_STEPS = (10, 100, 1000)


def tasks(config: Config) -> list[Task]:
    """Every task of a run, each with all its seeds."""
    if config.demos is not None:
        from papers.icrl.envs import task as world_named
        from papers.icrl.trial import expert

        expert(config, world_named(config.worlds[0]))  # refused before anything starts
    found = [Task("exact", {"kind": "exact"}, cpu_seconds=4.0, gpu_seconds=4.0)]
    first = config.worlds[0]
    for world in config.worlds:
        found += [_online(config, "main", world, name) for name in config.variants]
    found += [_online(config, "ablation", first, name) for name in config.ablations]
    for rate in config.grid_cost_lrs:
        for other in config.grid_multiplier_lrs:
            rates = {"cost_lr": rate, "multiplier_lr": other}
            found.append(_online(config, "grid", first, "SAC-ICRL", **rates))
    for share in config.suboptimal:
        for name in config.suboptimal_variants:
            found.append(_online(config, "suboptimal", first, name, share=share))
    for agent in config.offline:
        params = {"kind": "offline", "world": first, "agent": agent}
        seconds = COMPILE_SECONDS + 0.3e-3 * config.offline_updates
        found.append(_task(config, f"offline/{first}/agent={_plain(agent)}", params, seconds))
    return found


def _online(config: Config, kind: str, world: str, name: str, **more: float) -> Task:
    params = {"kind": kind, "world": world, "variant": name, **more}
    parts = [kind, world, f"variant={_plain(name)}", *(f"{k}={v:g}" for k, v in more.items())]
    updates = config.epochs * config.blocks * config.updates
    work = UPDATE_SECONDS * (0.3 + 0.7 * (config.width / 64) ** 2) * config.batch_size / 128
    heavier = 1.6 if name in ("IRL-Plus", "L2+SC", "SAC-ICRL", "MECL") else 1.0
    return _task(
        config, "/".join(parts), params, COMPILE_SECONDS / config.seeds + updates * work * heavier,
        updates * GPU_UPDATE_SECONDS,
    )  # fmt: skip


def _task(
    config: Config, key: str, params: dict[str, Any], seconds: float, gpu: float | None = None
) -> Task:
    seeds = tuple(range(config.first_seed, config.first_seed + config.seeds))
    memory = 300.0 + config.replay_capacity * 15 * 4 / 2**20
    return Task(key, params, seeds, seconds, gpu_seconds=gpu, memory_mb=memory)


def _plain(text: str) -> str:
    """A name as part of a path: L2+SC -> l2-sc."""
    lowered = "".join(c if c.isalnum() or c in "._" else "-" for c in text.lower())
    return "-".join(part for part in lowered.split("-") if part)


def run_task(task: Task, run: Run) -> Outcome:
    """Do one task; all but `exact` return arrays with the task's seeds first."""
    kind = task.params["kind"]
    if kind == "exact":
        return exact()
    from papers.icrl import trial

    train = trial.train_offline if kind == "offline" else trial.train_online
    return train(run.config, task, run)


def exact() -> dict[str, np.ndarray]:
    """The corridor: the reduction's largest error, exact ascents with and without a ceiling."""
    import numpy as np

    from papers.icrl import oracle

    world, rng = oracle.Corridor(), np.random.default_rng(0)
    errors, games = [], []
    for _ in range(50):
        c, lam = rng.uniform(0, 2, world.states), rng.uniform(0, 5)
        games.append(oracle.trilevel(world, c, lam))
        errors.append(games[-1] - oracle.bilevel(world, lam * c))
    target = oracle.occupancies(world, oracle.expert(world)).sum(axis=1)
    free = [oracle.ascend(world, steps) for steps in EXACT_STEPS]
    capped = [oracle.ascend(world, steps, ceiling=1.0) for steps in EXACT_STEPS]
    nominal, _ = oracle.soft_optimal(world, world.reward)
    return {
        "errors": np.array(errors),
        "games": np.array(games),
        "steps": np.array(EXACT_STEPS),
        "expert": target,
        "nominal": oracle.occupancies(world, nominal).sum(axis=1),
        "cost": np.stack([a.cost for a in free]),
        "occupancy": np.stack([a.occupancy for a in free]),
        "gap": np.array([a.gap for a in free]),
        "reward": np.array([a.reward for a in free]),
        "capped_gap": np.array([a.gap for a in capped]),
        "expert_reward": np.array(oracle.value(world, oracle.expert(world), world.reward)),
    }


def collect(config: Config, outcomes: Mapping[str, Outcome]) -> Results:
    """Join the outcomes into arrays [world, variant, seed, ...]; absent cells are -1000."""
    import numpy as np

    from papers.icrl.analysis import grid
    from papers.icrl.envs import task as world_named
    from papers.icrl.trial import expert, profile_edges

    results: dict[str, np.ndarray] = {
        "worlds": np.asarray(config.worlds),
        "variants": np.asarray(config.variants),
        "ablations": np.asarray(config.ablations),
        "offline": np.asarray(config.offline),
        "suboptimal": np.asarray(config.suboptimal),
        "suboptimal_variants": np.asarray(config.suboptimal_variants),
        "grid_cost_lrs": np.asarray(config.grid_cost_lrs),
        "grid_multiplier_lrs": np.asarray(config.grid_multiplier_lrs),
        "steps": np.arange(1, config.epochs + 1) * config.steps_per_epoch,
        "seeds": np.asarray(config.seeds),
    }
    results |= {f"exact/{name}": value for name, value in outcomes["exact"].items()}
    worlds = [world_named(name) for name in config.worlds]
    results["expert"] = np.array([expert(config, w).returns().mean() for w in worlds])
    results["walls"] = np.array([w.wall[1] for w in worlds])
    for world in worlds:
        results[f"edges/{world.name}"] = profile_edges(world)
        place, speed = grid(world.name)
        results |= {f"place/{world.name}": place, f"speed/{world.name}": speed}
    for kind in ("main", "ablation", "grid", "suboptimal", "offline"):
        results |= _gather(kind, config, outcomes)
    return results


def _gather(kind: str, config: Config, outcomes: Mapping[str, Outcome]) -> dict[str, np.ndarray]:
    import numpy as np

    found: dict[str, np.ndarray] = {}
    chosen = [t for t in tasks(config) if t.params["kind"] == kind]
    axes = _axes(kind, config)
    for task in chosen:
        index = tuple(values.index(task.params[name]) for name, values in axes.items())
        for name, values in outcomes[task.key].items():
            values = np.asarray(values, np.float64)
            if name == "map":
                if kind == "main" and task.params["variant"] in KEPT_MAPS:
                    label = f"map/{task.params['world']}/{task.params['variant']}"
                    found[label] = np.round(values.mean(axis=0), 3)
                continue
            if name.startswith("curve") and kind != "main":
                continue
            shape = (*(len(v) for v in axes.values()), *values.shape)
            array = found.setdefault(f"{kind}/{name}", np.full(shape, -1e3))
            array[index] = np.round(values, 4)
    return found


def _axes(kind: str, config: Config) -> dict[str, list[Any]]:
    """What the tasks of a kind differ in, in the order of the axes."""
    if kind == "main":
        return {"world": list(config.worlds), "variant": list(config.variants)}
    if kind == "ablation":
        return {"variant": list(config.ablations)}
    if kind == "grid":
        return {
            "cost_lr": list(config.grid_cost_lrs),
            "multiplier_lr": list(config.grid_multiplier_lrs),
        }
    if kind == "suboptimal":
        return {"share": list(config.suboptimal), "variant": list(config.suboptimal_variants)}
    return {"agent": list(config.offline)}
