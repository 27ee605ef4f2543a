"""The experiments as independent tasks, and how their outcomes become the paper's results.

    exact                    identities of finite processes: no training (C1, C2, C8)
    state_only, compute      what imitation reads (C4), what an update costs (C7)
    reference/...            a random policy and the expert, by the same measures
    imitate/...              every learner on every task (C3, C5)
    family/..., variant/...  SFM with other base features (C6), with one setting changed

Light on purpose: what is heavy is imported inside `run_task`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from papers.sfm.config import POINT_MASS, Config
from shared.experiment.spec import Outcome, Results, Run, Task

if TYPE_CHECKING:
    import numpy as np

WIDTHS = {
    POINT_MASS: (4, 2),
    "pendulum_swingup": (3, 1),
    "point_mass_easy": (4, 2),
    "reacher_easy": (6, 2),
    "cartpole_swingup": (5, 1),
} | {
    f"{body}_{verb}": widths
    for body, verbs, widths in (
        ("cheetah", ("run", "walk"), (17, 6)),
        ("walker", ("flip", "run", "stand", "walk"), (24, 6)),
        ("quadruped", ("jump", "run", "stand", "walk"), (78, 12)),
    )
    for verb in verbs
}
"""Numbers in an observation and in an action of each task."""

# Predicted cost on one core: seconds to start, then per update and million weights and samples.
START_SECONDS = 12.0
BASE_STEP = 0.06e-3
STEP_PER_PRODUCT = 2.2e-11  # seconds for each (batch x weight)


def tasks(config: Config) -> list[Task]:
    """Every task of a run, each with all its seeds."""
    if config.demo is not None:
        from papers.sfm.demos import load_demo

        load_demo(config.demo, *WIDTHS[config.tasks[0]])  # refused before anything starts
    found = [
        Task("exact", {"kind": "exact"}, cpu_seconds=4.0, gpu_seconds=4.0),
        Task("state_only", {"kind": "state_only"}, cpu_seconds=15.0, gpu_seconds=15.0),
        Task("compute", {"kind": "compute"}, cpu_seconds=4.0, gpu_seconds=4.0),
    ]
    for name in config.tasks:
        params = {"kind": "reference", "task": name}
        found.append(Task(f"reference/task={name}", params, config.seed_range, cpu_seconds=4.0))
        found += [_training(config, "imitate", name, learner) for learner in config.learners]
    for name in config.ablation_tasks:
        learner = config.ablation_learner
        for family in config.families:
            if not _is_main_run(config, name, family):
                found.append(_training(config, "family", name, learner, family=family))
        for change in config.variants:
            found.append(_training(config, "variant", name, learner, change=change))
    return found


def _is_main_run(config: Config, task: str, family: str) -> bool:
    """Whether the comparison of learners has this run of the comparison of families already."""
    run = task in config.tasks and config.ablation_learner in config.learners
    return run and family == config.features


def _training(config: Config, kind: str, task: str, learner: str, **more: str) -> Task:
    params = {"kind": kind, "task": task, "learner": learner, **more}
    parts = [kind, f"task={task}", f"learner={learner}"]
    parts += [f"{name}={value.replace('=', '-')}" for name, value in more.items()]
    hidden = 12 * config.hidden**2 * (2 if learner.endswith("td7") else 1)
    features = 12 * config.feature_hidden**2 if learner.startswith("sfm") else 0
    per_step = BASE_STEP + STEP_PER_PRODUCT * config.batch * (hidden + features)
    updates = config.steps if learner not in ("bc", "bco") else config.clone_steps
    seconds = START_SECONDS + updates * per_step
    # Memory is that of the replay, which is allocated at once, in float32, and of the program.
    memory = 300 + 4 * min(config.steps, config.replay_steps) * (sum(WIDTHS[task]) + 2) / 2**20
    return Task("/".join(parts), params, config.seed_range, seconds, memory_mb=memory)


def run_task(task: Task, run: Run) -> Outcome:
    """Do one task; a training task returns arrays with its seeds first."""
    config: Config = run.config
    kind = task.params["kind"]
    if kind == "exact":
        return _exact(config)
    if kind in ("state_only", "compute"):
        from papers.sfm import checks

        return getattr(checks, kind)(config)
    from papers.sfm.trial import imitate, reference

    if kind == "reference":
        return reference(config, task)
    if kind == "family":
        config = replace(config, features=task.params["family"])
    if kind == "variant":
        config = config.changed(task.params["change"])
    return imitate(config, task, run)


def _exact(config: Config) -> dict[str, np.ndarray]:
    """The paper's identities on one process with printed numbers and on many random ones."""
    import numpy as np

    from papers.sfm import oracle, tabular

    problems = range(config.problems)
    identity = tabular.identity_errors(problems)
    estimator = tabular.estimator_errors(problems)
    psi_E = oracle.expected_sf(tabular.EXAMPLE, tabular.EXAMPLE_EXPERT)
    _, losses = tabular.solve(tabular.EXAMPLE, tabular.EXAMPLE_LOGITS, psi_E, 2000)
    return {
        "identity/loss": identity["loss"].max(),
        "identity/reward": identity["reward"].max(),
        "estimator/discounted": estimator["discounted"].max(),
        "estimator/uniform": np.median(estimator["uniform"]),
        "estimator/errors": estimator["uniform"].ravel()[:300],
        "bound/random": tabular.bound_ratios(problems)[:, 0],
        "bound/worst": tabular.bound_ratios(problems)[:, 1],
        "fixed_point": np.asarray(tabular.fixed_point_gradient()),
        "descent": losses[:: len(losses) // 200],
        "descent_every": np.asarray(len(losses) // 200),
    }


def collect(config: Config, outcomes: Mapping[str, Outcome]) -> Results:
    """Join the outcomes into arrays [task, learner | family | change, seed, ...]."""
    import numpy as np

    results: dict[str, np.ndarray] = {
        name: np.asarray(getattr(config, name))
        for name in ("tasks", "learners", "families", "variants", "ablation_tasks", "features",
                     "ablation_learner", "steps")
    }  # fmt: skip
    results["seeds"] = np.asarray(config.seed_range)
    for part in ("exact", "state_only", "compute"):
        results |= {f"{part}/{name}": np.asarray(x) for name, x in outcomes[part].items()}
    arrays: dict[str, list[tuple[tuple[int, ...], np.ndarray]]] = {}
    for kind, place, task in _places(config):
        for name, values in outcomes[task.key].items():
            if name == "film":  # bodies differ in size: an array for each task, of one seed
                if kind == "reference" or (kind, task.params["learner"]) == (
                    "imitate",
                    _ours(config),
                ):
                    results[f"film/{task.params['task']}/{kind}"] = np.round(values[0], 4)
            elif not name.endswith("path"):
                arrays.setdefault(f"{kind}/{name}", []).append((place, np.asarray(values)))
            elif kind in ("imitate", "reference"):  # one seed, every fourth step, to draw
                arrays.setdefault(f"{kind}/{name}", []).append((place, np.asarray(values)[0, ::4]))
    return results | {name: _gathered(cells) for name, cells in arrays.items()}


def _places(config: Config) -> Iterator[tuple[str, tuple[int, ...], Task]]:
    """(kind, place, task) of all runs; a run that two comparisons share stands in both."""
    for task in tasks(config):
        place = _place(config, task)
        if place is not None:
            yield task.params["kind"], place, task
    for row, name in enumerate(config.ablation_tasks):
        for column, family in enumerate(config.families):
            if _is_main_run(config, name, family):
                main = _training(config, "imitate", name, config.ablation_learner)
                yield "family", (row, column), main


def _ours(config: Config) -> str:
    return "sfm-td7" if "sfm-td7" in config.learners else "sfm-td3"


def _place(config: Config, task: Task) -> tuple[int, ...] | None:
    """Where a task's outcome stands in the results: [task, learner | family | change]."""
    params = task.params
    columns = {
        "imitate": ("learner", config.tasks, config.learners),
        "family": ("family", config.ablation_tasks, config.families),
        "variant": ("change", config.ablation_tasks, config.variants),
    }
    if params["kind"] == "reference":
        return (config.tasks.index(params["task"]),)
    if params["kind"] not in columns:
        return None
    name, rows, values = columns[params["kind"]]
    return rows.index(params["task"]), values.index(params[name])


def _gathered(cells: list[tuple[tuple[int, ...], np.ndarray]]) -> np.ndarray:
    """One array of all cells; shorter curves are filled up with their last value."""
    import numpy as np

    size = tuple(int(n) for n in np.max([place for place, _ in cells], axis=0) + 1)
    longest = tuple(int(n) for n in np.max([values.shape for _, values in cells], axis=0))
    array = np.full((*size, *longest), np.nan)
    for place, values in cells:
        missing = [(0, want - got) for want, got in zip(longest, values.shape, strict=True)]
        array[place] = np.pad(values, missing, mode="edge")
    return np.round(array, 6)  # far below the Monte Carlo error; keeps files small
