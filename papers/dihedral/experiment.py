"""The experiments as independent tasks, and how their outcomes become results.

    exact                     the network by hand, the bound on the number of irreps: no training
    net/group=.../arch=...    networks on a group's table, taken apart at the end
    permuted/...              the same with shuffled labels: the negative control
    grid/...                  number of representations by learning rate and L2

Light on purpose: what is heavy is imported inside `run_task`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from papers.dihedral.config import TRANSFORMERS, Config
from shared.experiment.spec import Outcome, Results, Run, Task

# Predicted cost on one core: to compile once, then per step and product, and to look at a network.
START_SECONDS = 6.0
STEP_SECONDS = 6e-11  # per |G|^2 (width |G|) of a step
LOOK_SECONDS = 2e-6  # per |G|^3, most of it for the subsets of clusters
MOST_DEEP = 5  # networks of an architecture other than mlp1, per n of the growth curve
BASE_MB = 450.0  # of a process that has its libraries loaded
COPIES = 12  # of such arrays at once, where a network is taken apart
DEPTH = {"mlp2": 1.5, "mlp3": 2.0, "transformer": 2.0}  # hidden layers, as the clock counts them


def tasks(config: Config) -> list[Task]:
    """Every task of a run, each with all its seeds."""
    found = [Task("exact", {"kind": "exact"}, cpu_seconds=5.0)]
    one = only(config)
    if one is not None:
        found.append(_net(config, one, "mlp1", topology=True))
        found += [_net(config, one, arch) for arch in config.architectures if arch != "mlp1"]
        return found + ([_net(config, one, "mlp1", labels="permuted")] if config.controls else [])
    head = f"D{config.headline}"
    found.append(_net(config, head, "mlp1", seeds=config.histogram_seeds, topology=True))
    found += [_net(config, head, arch) for arch in config.architectures if arch != "mlp1"]
    found += [_net(config, f"D{n}", "mlp1") for n in config.sizes if n != config.headline]
    found += [_net(config, f"D{n}", "onehot") for n in config.onehot_sizes
              if not (n == config.headline and "onehot" in config.architectures)]  # fmt: skip
    for arch in ("mlp2", "transformer"):
        if arch in config.architectures:
            found += [_net(config, f"D{n}", arch, seeds=min(config.seeds, MOST_DEEP), full=False)
                      for n in config.deep_sizes if n != config.headline]  # fmt: skip
    found += [_net(config, name, "mlp1") for name in config.groups]
    if config.controls:
        found.append(_net(config, head, "mlp1", labels="permuted"))
    for rate in config.grid_rates:
        for l2 in config.grid_l2:
            found.append(_grid(config, rate, l2))
    return found


def only(config: Config) -> str | None:
    """The one group of the run, if the user named one; a bad name or table is refused here."""
    if config.table is not None:
        from papers.dihedral.subject import read_table

        read_table(config.table)
        return "table"
    if config.group is not None:
        from papers.dihedral.subject import subject

        subject(config.group)
    return config.group


def order_of(config: Config, group: str) -> int:
    """Number of elements, by the name where that is quick."""
    if match := re.fullmatch(r"D(\d+)", group):
        return 2 * int(match[1])
    from papers.dihedral.subject import read_table
    from shared.groups import parse

    return read_table(config.table).order if config.table else parse(group).order


def recipe(config: Config, arch: str) -> tuple[int, float]:
    """Steps and learning rate of an architecture."""
    if arch in TRANSFORMERS:
        return config.transformer_steps, config.transformer_learning_rate
    if arch in ("mlp1", "onehot"):
        return config.steps, config.learning_rate
    return config.deep_steps, config.deep_learning_rate


def _net(
    config: Config,
    group: str,
    arch: str,
    *,
    labels: str = "table",
    seeds: int | None = None,
    topology: bool = False,
    full: bool = True,
) -> Task:
    steps, rate = recipe(config, arch)
    params = {
        "kind": "net" if labels == "table" else "permuted",
        "group": group,
        "arch": arch,
        "labels": labels,
        "steps": steps,
        "learning_rate": rate,
        "l2": config.transformer_l2 if arch in TRANSFORMERS else config.l2,
        "full": full,
        "topology": topology,
    }
    key = f"{params['kind']}/group={plain_name(group)}/arch={arch}"
    return _task(config, key, params, seeds or config.seeds)


def _grid(config: Config, rate: float, l2: float) -> Task:
    params = {
        "kind": "grid",
        "group": f"D{config.grid_n}",
        "arch": "mlp1",
        "labels": "table",
        "steps": config.steps,
        "learning_rate": rate,
        "l2": l2,
        "full": False,
    }
    key = f"grid/group=D{config.grid_n}/rate={rate:g}/l2={l2:g}"
    return _task(config, key, params, config.grid_seeds)


def _task(config: Config, key: str, params: dict[str, Any], seeds: int) -> Task:
    order = order_of(config, params["group"])
    wide = config.transformer_width if params["arch"] in TRANSFORMERS else config.width
    width = max(wide, config.widen * order)
    depth = DEPTH.get(params["arch"], 1.0)
    work = order**2 * width * (order + (depth - 1) * width)
    look = 0.3 + LOOK_SECONDS * order**3 if params["full"] else 0.1
    seconds = START_SECONDS / seeds + look + params["steps"] * work * STEP_SECONDS
    block = tuple(range(config.first_seed, config.first_seed + seeds))
    arrays = 1e-6 * 8 * order**2 * (width + order)  # a hidden layer and the logits, of all pairs
    return Task(key, params, block, seconds, memory_mb=BASE_MB / min(seeds, 8) + COPIES * arrays)


def plain_name(name: str) -> str:
    """A group's name as part of a path: SL(2,3) -> SL-2-3."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")


def run_task(task: Task, run: Run) -> Outcome:
    """Do one task; a training task returns arrays with its seeds first."""
    if task.params["kind"] == "exact":
        from papers.dihedral import exact

        return exact.by_hand() | exact.theorem(run.config.draws)
    from papers.dihedral.trial import train

    return train(run.config, task, run)


def collect(config: Config, outcomes: Mapping[str, Outcome]) -> Results:
    """Join the outcomes into small named results."""
    from papers.dihedral.gather import gather

    return gather(config, tasks(config), outcomes)
