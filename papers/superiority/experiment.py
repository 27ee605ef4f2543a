"""The experiments as independent tasks, and how their outcomes become the paper's results.

    exact                 rates of collapse, rescalings, couplings, rankings: no training (C1-C7)
    optimum/...           what the best possible trader earns, per asset and frequency
    neutral/...           agents that maximise the mean return, at every frequency (C8, C9)
    risk/...              agents that maximise the return's CVaR, at one high frequency (C10)
    ablation/...          single settings changed, at the highest frequency: why C8 comes out so

Light on purpose: what is heavy is imported inside `run_task`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from papers.superiority.config import Config
from shared.experiment.spec import Outcome, Results, Run, Task

if TYPE_CHECKING:
    import numpy as np

LAW_AGENTS = ("DSUP(1/2)", "QR-DQN")
"""The agents whose learned laws are drawn."""

# Predicted cost on one core: seconds to start and evaluate, then per gradient step and per
# environment step. Selecting a tail (CVaR) at every decision takes about twice that again.
START_SECONDS = 3.0
STEP_SECONDS = {"DAU": (0.15e-3, 1e-6), "QR-DQN": (0.18e-3, 2e-6)}
DSUP_STEP_SECONDS = (0.22e-3, 2e-6)
CVAR_FACTOR = 3.0
# On a GPU, all seeds together; a guess from the number of kernels, never measured.
GPU_STEP_SECONDS = (1.5e-3, 0.09e-3)


def tasks(config: Config) -> list[Task]:
    """Every task of a run, each with all its seeds."""
    if config.prices is not None:
        from papers.superiority.market import market

        market(config, -1)  # a file that cannot be used is refused before anything starts
    found = [Task("exact", {"kind": "exact"}, cpu_seconds=4.0, gpu_seconds=4.0)]
    for asset in _assets(config, config.assets):
        params = {"kind": "optimum", "asset": asset}
        found.append(Task(f"optimum/{_place(asset)}", params, cpu_seconds=2.0, gpu_seconds=2.0))
        for omega in config.frequencies:
            for agent in config.agents:
                found.append(_training(config, "neutral", asset, omega, agent))
    omega = config.risk_frequency
    for asset in _assets(config, config.risk_assets):
        for alpha in config.risk_levels:
            for agent in config.risk_agents:
                found.append(_training(config, "risk", asset, omega, agent, alpha=alpha))
    omega = max(config.frequencies)
    for asset in _assets(config, config.ablation_assets):
        for change in config.ablations:
            for agent in config.ablation_agents:
                found.append(_training(config, "ablation", asset, omega, agent, change=change))
    return found


def _assets(config: Config, assets: tuple[int, ...]) -> tuple[int, ...]:
    """These assets; one without an index when the user brings prices."""
    return (-1,) if config.prices is not None else assets


def _training(config: Config, kind: str, asset: int, omega: int, agent: str, **more: Any) -> Task:
    params = {"kind": kind, "asset": asset, "omega": omega, "agent": agent, **more}
    parts = [kind, _place(asset), f"omega={omega}", f"agent={_plain(agent)}"]
    parts += [f"{name}={_plain(str(value))}" for name, value in more.items()]
    base, per_step = STEP_SECONDS.get(agent, DSUP_STEP_SECONDS)
    factor = CVAR_FACTOR if kind == "risk" else 1.0
    seconds = START_SECONDS + config.updates * (base + per_step * omega) * factor
    gpu = config.updates * (GPU_STEP_SECONDS[0] + GPU_STEP_SECONDS[1] * omega)
    seeds = tuple(range(config.first_seed, config.first_seed + config.seeds))
    return Task("/".join(parts), params, seeds, seconds, gpu_seconds=gpu, memory_mb=450.0)


def _place(asset: int) -> str:
    return "prices" if asset < 0 else f"asset={asset}"


def _plain(text: str) -> str:
    """An agent's or a change's name as part of a path: DAU+DSUP(1/2) -> dau-dsup-1-2."""
    lowered = "".join(c if c.isalnum() or c in "._" else "-" for c in text.lower())
    return lowered.strip("-")


def run_task(task: Task, run: Run) -> Outcome:
    """Do one task; a training task returns arrays with its seeds first."""
    config: Config = run.config
    kind = task.params["kind"]
    if kind == "exact":
        return _exact()
    if kind == "optimum":
        return _optima(config, task.params["asset"], config.frequencies)
    from papers.superiority.trial import train

    if kind != "ablation":
        return train(config, task, run)
    changed = config.ablated(task.params["change"])
    best = _optima(changed, task.params["asset"], (task.params["omega"],))["best"]
    return {**train(changed, task, run), "best": best.repeat(len(task.seeds))}


def _exact() -> dict[str, np.ndarray]:
    """The experiments that train nothing, each under a name of its own; under ten seconds."""
    import numpy as np

    from papers.superiority import rates, simulation

    parts = {
        "rates": rates.collapse_rates(),
        "rescaling": rates.rescalings(nodes=401),
        "cdr": rates.coupled_differences(nodes=401),
        "minimality": rates.minimality(),
        "four_actions": rates.four_actions(),
        "ranking": rates.ranking_errors(),
        "simulated": simulation.simulated_rates(),
    }
    return {
        f"{part}/{name}": np.asarray(value)
        for part, arrays in parts.items()
        for name, value in arrays.items()
    }


def _optima(config: Config, asset: int, frequencies: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Best and hold-to-end returns at each frequency, with and without discounting, [omega]."""
    import numpy as np

    from papers.superiority import oracle
    from papers.superiority.market import market

    law = market(config, asset)
    rows: dict[str, list[float]] = {}
    for omega in frequencies:
        days = oracle.horizon_days(config.clock, omega)
        for suffix, gamma in (("", 1.0), ("_discounted", config.discount)):
            best, _ = oracle.optimal_stopping(
                law.drift, law.volatility, horizon=days, frequency=omega, gamma=gamma
            )
            held = oracle.hold_to_end(law.drift, law.volatility, horizon=days, gamma=gamma)
            rows.setdefault("best" + suffix, []).append(best)
            rows.setdefault("hold" + suffix, []).append(held)
    price = {"drift": np.asarray(law.drift), "volatility": np.asarray(law.volatility)}
    return price | {name: np.asarray(values) for name, values in rows.items()}


def collect(config: Config, outcomes: Mapping[str, Outcome]) -> Results:
    """Join the outcomes into arrays over [asset, ..., seed]; absent cells are NaN."""
    import numpy as np

    from papers.superiority.analysis import shares

    assets = _assets(config, config.assets)
    results: dict[str, np.ndarray] = {
        "assets": np.asarray(assets),
        "frequencies": np.asarray(config.frequencies),
        "agents": np.asarray(config.agents),
        "risk_levels": np.asarray(config.risk_levels),
        "risk_agents": np.asarray(config.risk_agents),
        "law_agents": np.asarray(LAW_AGENTS),
        "risk_frequency": np.asarray(config.risk_frequency),
        "ablations": np.asarray(config.ablations),
        "ablation_assets": np.asarray(_assets(config, config.ablation_assets)),
        "ablation_agents": np.asarray(config.ablation_agents),
        "clock": np.asarray(config.clock),
        "updates": np.asarray(config.updates),
    }
    results |= {f"exact/{name}": value for name, value in outcomes["exact"].items()}
    optima = [outcomes[f"optimum/{_place(asset)}"] for asset in assets]
    for name in optima[0]:
        results[f"optimum/{name}"] = np.stack([optimum[name] for optimum in optima])
    grid = list(_grid(config))
    for kind in ("neutral", "risk", "ablation"):
        cells = [(index, task) for index, task in grid if task.params["kind"] == kind]
        results |= _gather(kind, cells, outcomes, config)
    return results | shares(results)


def _grid(config: Config) -> Iterator[tuple[tuple[int, int, int], Task]]:
    """Training tasks with their place: [asset, frequency | level | change, agent]."""
    axes: dict[str, tuple[str, tuple[int, ...], tuple[Any, ...], tuple[str, ...]]] = {
        "neutral": ("omega", config.assets, config.frequencies, config.agents),
        "risk": ("alpha", config.risk_assets, config.risk_levels, config.risk_agents),
        "ablation": ("change", config.ablation_assets, config.ablations, config.ablation_agents),
    }
    for task in tasks(config):
        if (kind := task.params["kind"]) in axes:
            column, assets, values, agents = axes[kind]
            place = (
                _assets(config, assets).index(task.params["asset"]),
                values.index(task.params[column]),
                agents.index(task.params["agent"]),
            )
            yield place, task


def _gather(
    kind: str,
    cells: list[tuple[tuple[int, int, int], Task]],
    outcomes: Mapping[str, Outcome],
    config: Config,
) -> dict[str, np.ndarray]:
    """Arrays [asset, column, agent, seed, ...] of one kind of training task."""
    import numpy as np

    arrays: dict[str, np.ndarray] = {}
    size = tuple(int(n) for n in np.max([index for index, _ in cells], axis=0) + 1) if cells else ()
    for index, task in cells:
        for name, values in outcomes[task.key].items():
            if name == "laws" and not _drawn(kind, index, task, config):
                continue
            shape = (*size, *values.shape)
            array = arrays.setdefault(f"{kind}/{name}", np.full(shape, np.nan))
            array[index] = np.round(
                values.astype(np.float64), 6
            )  # far below the Monte Carlo error; keeps files small
    laws = arrays.pop("neutral/laws", None)
    if laws is not None:
        rows = [config.agents.index(agent) for agent in LAW_AGENTS]
        arrays["laws"] = laws[0, config.frequencies.index(max(config.frequencies))][rows]
    return arrays


def _drawn(kind: str, index: tuple[int, int, int], task: Task, config: Config) -> bool:
    """Whether this task's learned laws are kept: the two agents of figure 5, one asset."""
    top = task.params["omega"] == max(config.frequencies)
    both = set(LAW_AGENTS) <= set(config.agents)
    return (
        kind == "neutral" and index[0] == 0 and top and both and task.params["agent"] in LAW_AGENTS
    )
