"""The experiments as independent tasks, and how their outcomes become the paper's results.

    exact                            effective sample sizes and errors left: no training (C11, C12)
    <suite>/game=<game>/cell=<name>  a cell trained on a game with several seeds (C1 to C10)
    atari_curve                      one Atari game, one seed: that all of it learns

Light on purpose: what is heavy is imported inside the functions.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from papers.ppo_scaling.config import COMPILED_SUITES, Cell, Config, base_cells, cells, grown
from shared.experiment.errors import MissingExtra
from shared.experiment.spec import Outcome, Results, Run, Task

if TYPE_CHECKING:
    import numpy as np

# Steps a second of one core: acting and the environment, and learning (an epoch), MLP of 64-64.
ACT_RATE = {"cartpole": 900_000.0, "minatar": 350_000.0}
LEARN_RATE = {"cartpole": 3_000_000.0, "minatar": 1_200_000.0}
CONVOLUTION_FACTOR = 5.0
FEW_ENVS_FACTOR = 2.0  # a step of a single environment costs that of so many side by side
START_SECONDS = 3.0  # a program compiles in ten, once for all seeds of a shape
LIBRARIES = {"minatar": ("pgx", "pgx_minatar"), "atari": ("ale_py",), "procgen": ("envpool",)}
"""What each extra brings that its suite imports."""


def tasks(config: Config) -> list[Task]:
    """Every task of a run, each with all its seeds.

    Raises:
        BadInput: a batch that cannot be, or a game that is not there.
        MissingExtra: a game's library is not installed.
    """
    planned = plan(config)
    suites = {config.suite} | ({"atari"} if config.atari_curve else set())
    missing = [extra for extra in sorted(suites & LIBRARIES.keys()) if not _installed(extra)]
    if missing:
        command = "uv sync " + " ".join(f"--extra {extra}" for extra in missing)
        raise MissingExtra(f"The games of {' and '.join(missing)} are not installed: {command}")
    return planned


def _installed(extra: str) -> bool:
    return all(importlib.util.find_spec(name) is not None for name in LIBRARIES[extra])


def plan(config: Config) -> list[Task]:
    """`tasks`, whether or not the games are installed."""
    found = [Task("exact", {"kind": "exact"}, cpu_seconds=5.0)]
    for cell, seeds, games in cells(config):
        _check_batch(config, cell)
        numbers = tuple(range(config.first_seed, config.first_seed + seeds))
        for game in games:
            params = {"kind": "train", "suite": config.suite, "game": game, "steps": config.steps}
            params |= asdict(cell) | _host_numbers(config)
            seconds = _seconds(config, cell, params)
            found.append(Task(_key(config, game, cell), params, numbers, seconds, memory_mb=600.0))
    if config.atari_curve:
        found.append(_atari_curve(config))
    return found


def _atari_curve(config: Config) -> Task:
    from papers.ppo_scaling.host_spec import SANITY, cpu_seconds

    own = {"kind": "atari_curve", "game": config.atari_curve, "steps": config.atari_curve_steps}
    params = {**SANITY, **own}
    seeds = (config.first_seed,)
    return Task("atari_curve", params, seeds, cpu_seconds(params), memory_mb=900.0)


def _key(config: Config, game: str, cell: Cell) -> str:
    plain = "".join(c if c.isalnum() or c in "._-" else "-" for c in game)
    return f"{config.suite}/game={plain}/cell={cell.name}"


def _host_numbers(config: Config) -> dict[str, object]:
    """What the loop on the host reads besides the cell; what is left open it knows itself."""
    given = {"clip": config.clip, "ent": config.ent, "points": config.evaluations}
    if config.network != "auto":
        given["network"] = config.network
    return {name: value for name, value in given.items() if value is not None}


def _check_batch(config: Config, cell: Cell) -> None:
    from papers.ppo_scaling.method import BatchSpec
    from shared.experiment.errors import BadInput

    try:
        spec = BatchSpec(cell.n_envs, cell.n_ro, cell.epochs, cell.num_minibatches, cell.hold)
        iterations = spec.iterations(config.steps)
    except ValueError as error:
        raise BadInput(f"Cell {cell.name}: {error}") from error
    if config.suite in COMPILED_SUITES and iterations < config.evaluations:
        raise BadInput(
            f"Cell {cell.name} has {iterations} iterations in {config.steps} steps, too few for "
            f"{config.evaluations} evaluations."
        )


def _seconds(config: Config, cell: Cell, params: Mapping[str, object]) -> float:
    """Predicted seconds of a core for one seed."""
    if config.suite not in COMPILED_SUITES:
        from papers.ppo_scaling.host_spec import cpu_seconds

        return cpu_seconds(params)
    act, learn = ACT_RATE[config.suite], LEARN_RATE[config.suite]
    if config.suite == "minatar" and config.network != "mlp":
        act, learn = act / CONVOLUTION_FACTOR, learn / CONVOLUTION_FACTOR
    alone = 1 + FEW_ENVS_FACTOR / cell.n_envs
    double = 1.8 if cell.encoder == "separate" else 1.0
    return START_SECONDS + config.steps * (alone / act + double * cell.epochs / learn)


def run_task(task: Task, run: Run) -> Outcome:
    """Do one task; a training task returns arrays with its seeds first."""
    if task.params["kind"] == "exact":
        from papers.ppo_scaling.exact import exact

        return exact()
    if task.params["suite"] in COMPILED_SUITES:
        from papers.ppo_scaling.trial import run_trial

        return run_trial(task, run)
    from papers.ppo_scaling.host import run_host_task

    return run_host_task(task, run)


def collect(config: Config, outcomes: Mapping[str, Outcome]) -> Results:
    """Results by name and cell, arrays [game, seed, ...]; see `analysis` for what is derived.

    final/<cell>, untrained/<cell>  mean return at the end, and before training
    curve/<cell>                    mean return at each evaluation
    metric/<name>/<cell>            a metric, mean of the last two measurements
    points/<cell>, film/<cell>      for pictures: the first game and seed
    cells/<role>                    names of the cells that play a part in a claim
    atari/<name>                    the one run on Atari, see `host.run_host_task`
    """
    import numpy as np

    from papers.ppo_scaling import analysis

    results: dict[str, np.ndarray] = {
        "suite": np.asarray(config.suite),
        "games": np.asarray(config.all_games),
        "steps": np.asarray(config.steps),
        "evaluations": np.asarray(config.evaluations),
        "growth": np.asarray(config.growth, np.int64),
        "epochs": np.asarray((config.epochs, *config.epochs_grid)),
        "lr": np.asarray([config.number("lr") * f for f in (1.0, *config.lr_grid)]),
        "gamma": np.asarray([config.number("gamma"), *config.gamma_grid]),
        "cards": np.asarray(_cards(config)),
    }
    results |= {f"exact/{name}": value for name, value in outcomes["exact"].items()}
    results |= {f"cells/{role}": np.asarray(names) for role, names in roles(config).items()}
    for cell, _, games in cells(config):
        runs = [outcomes[_key(config, game, cell)] for game in games]
        results |= _of_cell(cell.name, runs, pictures=cell in base_cells(config))
    if config.atari_curve and "atari_curve" in outcomes:
        results |= _of_atari(config, outcomes["atari_curve"])
    results |= analysis.derived(results)
    return {name: x for name, x in results.items() if not name.startswith("metric_curve/")}


def _of_atari(config: Config, run: Outcome) -> dict[str, np.ndarray]:
    import numpy as np

    from papers.ppo_scaling.atari import has_scores, reference_scores

    game = config.atari_curve
    kept = ("curve", "spread", "games", "steps", "final", "film", "entropy", "feature_rank",
            "dormant_eps1e-5", "weight_norm", "ess")  # fmt: skip
    found = {f"atari/{name}": _short(np.asarray(run[name][0], np.float64)) for name in kept}
    found["atari/game"] = np.asarray(game)
    known = reference_scores(game) if has_scores(game) else (np.nan, np.nan)
    found["atari/reference"] = np.asarray(known)
    return found


def _cards(config: Config) -> list[str]:
    """What each batch means for a run, in a line."""
    from papers.ppo_scaling.method import BatchSpec

    found = []
    for cell, _, _ in cells(config):
        spec = BatchSpec(cell.n_envs, cell.n_ro, cell.epochs, cell.num_minibatches, cell.hold)
        found.append(f"{cell.name}: {spec.card(config.steps)}")
    return found


def _of_cell(name: str, runs: list[Outcome], pictures: bool) -> dict[str, np.ndarray]:
    """A cell's outcomes on its games, stacked; rounded far below their spread."""
    import numpy as np

    found = {}
    for key in runs[0]:
        if key in ("points", "film", "frame"):
            if pictures:
                found[f"{key}/{name}"] = np.round(runs[0][key][0].astype(np.float64), 2)
            continue
        values = np.stack([np.asarray(run[key], np.float64) for run in runs])
        if key in ("final", "untrained", "curve"):
            found[f"{key}/{name}"] = np.round(values, 4)
        elif values.ndim == 3:
            late = values[..., values.shape[-1] // 2 :]  # step sizes, and with them ESS, end at 0
            found[f"metric/{key}/{name}"] = _short(late.mean(axis=-1))
            found[f"metric_curve/{key}/{name}"] = _short(values)
        elif key == "hns":
            found[f"{key}/{name}"] = values
    return found


def _short(values: np.ndarray) -> np.ndarray:
    """Four significant digits."""
    import numpy as np

    size = np.floor(np.log10(np.maximum(np.abs(values), 1e-30)))
    scale = 10.0 ** (3 - size)
    return np.where(values == 0, 0.0, np.round(values * scale) / scale)


def roles(config: Config) -> dict[str, list[str] | list[list[str]]]:
    """Names of cells by the part that they play; a role without cells is absent."""
    few, many = base_cells(config)
    names = {cell.name for cell, _, _ in cells(config)}
    numbers = sorted({few.n_envs, many.n_envs, *config.diagonal})
    found: dict[str, list[str] | list[list[str]]] = {
        "base": [few.name, many.name],
        "diagonal": [f"{n}x{config.batch_size // n}" for n in numbers],
    }
    for hold in config.growth_holds if config.growth else ():
        suffix = "" if hold == config.hold else f"-{hold.replace('_', '-')}"
        pairs = [grown(config, factor) for factor in config.growth]
        found[f"more/{hold}"] = [pair[0].name + suffix for pair in pairs]
        found[f"longer/{hold}"] = [pair[1].name + suffix for pair in pairs]
    shapes = [few, *grown(config, max(config.growth))] if config.growth else [few, many]
    if config.epochs_grid:
        found["epochs"] = [
            [cell.name + ("" if e == config.epochs else f"-epochs{e}") for cell in shapes]
            for e in (config.epochs, *config.epochs_grid)
        ]
    for role, suffixes in {
        "separate": ["-separate"],
        "shared": ["-shared"],
        "pqn": ["-pqn"],
        "rnd": ["-rnd"],
        "dummy": ["-dummy"],
        "lr": ["", *(f"-lr{f:g}" for f in config.lr_grid)],
        "gamma": ["", *(f"-gamma{g:g}" for g in config.gamma_grid)],
    }.items():
        pairs = [[few.name + s, many.name + s] for s in suffixes]
        grid = role in ("lr", "gamma")
        if len(pairs) > grid and all(name in names for pair in pairs for name in pair):
            found[role] = pairs if grid else pairs[0]
    controls = [few.name + "-cut", many.name + "-stagger"]
    if present := [name for name in controls if name in names]:
        found["controls"] = present
    return found
