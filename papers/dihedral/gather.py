"""Outcomes of all tasks -> the results that are kept: arrays by name, small enough for git.

    cases                      names "D18 mlp1" of all trained networks, by group and architecture
    case/<name>/<measure>      [networks, ...], see KEPT; every network, whether it learned or not
    headline                   name of the case that is looked at most closely
    head/...                   by irrep, by subset of clusters and over time, of the headline case
    show/...                   pictures of single networks
    sweep/..., onehot/...,     number of representations by n, of mlp1 and of the others;
    mlp2/..., transformer/...  NaN where a network did not learn or was not trained
    grid/...                   number of representations by learning rate and L2
    hand/..., theorem/...      of `exact.py`

Statistics of circuits are over networks with perfect test accuracy; `case/<name>/perfect` counts
the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from papers.dihedral.config import Config
from papers.dihedral.experiment import only
from papers.dihedral.method import step_size
from papers.dihedral.oracle import kind
from papers.dihedral.pictures import edges_of
from papers.dihedral.subject import Subject, chosen
from shared.experiment.spec import Outcome, Results, Task

Array = np.ndarray
KEPT = (
    "perfect", "train_accuracy", "test_accuracy", "margin_min", "first_perfect", "count",
    "count_2d", "first_agree", "first_share", "last_share", "last_others", "last_out_agree",
    "last_out_share", "arcs", "arcs_all", "proper_sets", "kernel_sets", "clusters_only", "ideal",
    "explained", "rest", "identity", "passed", "random", "untrained", "untrained_arcs",
    "untrained_share", "untrained_agree", "first_pure", "untrained_pure",
    "rival_composition", "rival_rank_one", "rival_coset",
    "rival_all_irreps",
)  # fmt: skip
BY_IRREP = ("size", "passes", "half", "correlation", "answer", "without", "alone")
MEAN_BY_CASE = ("correlation", "answer", "fit", "even_left", "even_right")
KEPT_NETWORKS = 12  # of the headline case, whose subsets of clusters are kept
SHOWN = ("show_irrep", "show_points", "show_spread")
SHOWN_OF_HEAD = (*SHOWN, "show_cloud", "show_neuron", "show_power", "show_pairs", "show_pca",
                 "show_ratio")  # fmt: skip


def gather(config: Config, tasks: Sequence[Task], outcomes: Mapping[str, Outcome]) -> Results:
    """Everything in the table above."""
    results: dict[str, Array] = dict(outcomes["exact"])
    nets = [task for task in tasks if task.params["kind"] in ("net", "permuted")]
    names = {task.key: case_name(task) for task in nets}
    head = nets[0]
    results["cases"] = np.asarray(list(names.values()))
    results["headline"] = np.asarray(names[head.key])
    results["steps"] = np.asarray(config.steps)
    results["train_fraction"] = np.asarray(config.train_fraction)
    for task in nets:
        results |= _case(f"case/{names[task.key]}", config, task, outcomes[task.key])
    results |= _headline(config, head, outcomes[head.key])
    for task in nets:
        group = task.params["group"]
        if task is not head and group in config.groups and "show/other/group" not in results:
            results |= _shown("show/other", config, task, outcomes[task.key], SHOWN)
    if only(config) is None:
        results |= _sweep("sweep", "mlp1", config, nets, outcomes)
        for arch in ("onehot", "mlp2", "transformer"):
            results |= _sweep(arch, arch, config, nets, outcomes)
        results |= _grid(config, tasks, outcomes)
    return {name: _rounded(name, value) for name, value in results.items()}


def case_name(task: Task) -> str:
    """ "D18 mlp1", and "D18 mlp1 permuted" for the control."""
    permuted = " permuted" if task.params["labels"] == "permuted" else ""
    return f"{task.params['group']} {task.params['arch']}{permuted}"


def _case(prefix: str, config: Config, task: Task, outcome: Outcome) -> dict[str, Array]:
    found = {f"{prefix}/{name}": outcome[name] for name in KEPT if name in outcome}
    who = chosen(config, task.params["group"])
    found[f"{prefix}/irreps"] = np.asarray(len(who.reps) - 1)
    found[f"{prefix}/order"] = np.asarray(who.group.order)
    wide = np.array([rho.dim > 1 for rho in who.reps])
    if "ablation" in outcome:
        found[f"{prefix}/ablation_error"] = ablation_error(outcome["ablation"])
        found[f"{prefix}/lone"] = _lone(outcome, wide)
    if "counts" in outcome and (outcome["perfect"] == 1).any():
        found[f"{prefix}/counts"] = outcome["counts"][outcome["perfect"] == 1].mean(0)
    for name in MEAN_BY_CASE:
        if name in outcome:
            found[f"{prefix}/{name}"] = _mean(outcome[name][:, wide])
    return found


def _mean(values: Array) -> Array:
    """Means over the last axis of what is there; 0 where nothing is."""
    known = np.isfinite(values)
    return np.where(known, values, 0).sum(-1) / np.maximum(known.sum(-1), 1)


def ablation_error(rows: Array) -> Array:
    """Mean |accuracy - predicted| over the subsets that leave out at most one cluster, [seed]."""
    kept = rows[..., 3]
    most = np.nan_to_num(kept).max(-1, keepdims=True)
    near = np.isfinite(kept) & (kept >= most - 1) & (kept > 0)
    error = np.where(near, np.abs(np.nan_to_num(rows[..., 1] - rows[..., 0])), 0)
    return error.sum(-1) / np.maximum(near.sum(-1), 1)


def _lone(outcome: Outcome, wide: Array) -> Array:
    """Accuracy modulo its kernel of each network's lone clusters of dimension above 1, the mean."""
    return _mean(outcome["alone"][:, wide])


# --- The headline case ----------------------------------------------------------------------------


def _headline(config: Config, task: Task, outcome: Outcome) -> dict[str, Array]:
    who = chosen(config, task.params["group"])
    kinds = [kind(name, who.n) if who.n else "other" for name in who.names]
    found = {
        "head/irreps": np.asarray(who.names),
        "head/kinds": np.asarray(kinds),
        "head/n": np.asarray(who.n or 0),
        "head/dims": np.asarray([rho.dim for rho in who.reps]),
        "head/perfect": outcome["perfect"],
        "head/margin": outcome["margin_min"],
    }
    found |= {f"head/{name}": outcome[name] for name in BY_IRREP if name in outcome}
    if "ablation" in outcome:
        good = outcome["ablation"][outcome["perfect"] == 1][:KEPT_NETWORKS]
        rows = good.reshape(-1, 4)
        found["head/ablation"] = rows[np.isfinite(rows[:, 0])]
    for name in ("betti", "betti_pairs"):
        if name in outcome:
            found[f"head/{name}"] = _betti(outcome, name)
    for name in ("test_accuracy", "count", "share"):
        found[f"head/history/{name}"] = outcome[f"history/{name}"]
    found["head/history/mass"] = outcome["history/mass"][0]
    found["head/log_every"] = np.asarray(config.log_every)
    return found | _shown("show/head", config, task, outcome, SHOWN_OF_HEAD)


def _betti(outcome: Outcome, name: str) -> Array:
    """[cluster, 4] of the networks that learned: whether a cycle of cosets, b0, b1, b2."""
    numbers = outcome[name][outcome["perfect"] == 1]
    half = outcome["half"][outcome["perfect"] == 1]
    there = np.isfinite(numbers).all(-1)
    return np.concatenate([half[there][:, None], numbers[there]], 1).astype(int)


def _shown(
    prefix: str, config: Config, task: Task, outcome: Outcome, names: Sequence[str]
) -> dict[str, Array]:
    """The pictures of the first network that learned and has a cluster in every slot.

    On D_n rather one whose first cluster steps by more than 1, so that remapping is to be seen,
    and whose cluster on cosets has a cycle of five or more.
    """
    if "show_irrep" not in outcome:
        return {}
    who = chosen(config, task.params["group"])
    first = [who.reps[int(i)].freq for i in outcome["show_irrep"][:, 0]]
    steps = np.array([freq is not None and freq > 1 for freq in first])
    wide = np.array([_period(int(i), who) >= 5 for i in outcome["show_irrep"][:, 1]])
    filled = (outcome["show_irrep"] >= 0).sum(1) + outcome["perfect"] * 10
    filled = filled + 0.5 * wide + 0.25 * steps
    best = int(filled.argmax())
    found = {f"{prefix}/{name[5:]}": outcome[name][best] for name in names}
    found[f"{prefix}/group"] = np.asarray(task.params["group"])
    found[f"{prefix}/names"] = np.asarray(who.names)
    found[f"{prefix}/seed"] = np.asarray(task.first_seed + best)
    found[f"{prefix}/edges"] = _edges(found[f"{prefix}/irrep"], who)
    return found


def _period(i: int, who: Subject) -> int:
    """n' of an irrep's cycle, 0 where it has none."""
    freq = who.reps[i].freq
    return 0 if i < 0 or freq is None or who.n is None else step_size(freq, who.n)[1]


def _edges(irreps: Array, who: Subject) -> Array:
    """[slot, edges, 2] of the graph to draw: x to its nearest x s; -1 beyond the last."""
    lists = [edges_of(int(i), who) if i >= 0 else np.zeros((0, 2), int) for i in irreps]
    longest = max((len(edges) for edges in lists), default=0)
    found = np.full((len(lists), longest, 2), -1)
    for row, edges in zip(found, lists, strict=True):
        row[: len(edges)] = edges
    return found


# --- Growth and the grid --------------------------------------------------------------------------


def _sweep(
    name: str, arch: str, config: Config, nets: Sequence[Task], outcomes: Mapping[str, Outcome]
) -> dict[str, Array]:
    """Counts [n, seed], NaN where a network did not learn; by threshold [n, live, share, size]."""
    rows = [task for task in nets if task.params["arch"] == arch and
            task.params["labels"] == "table" and task.params["group"][0] == "D"
            and task.params["group"][1:].isdigit()]  # fmt: skip
    if not rows:
        return {}
    rows.sort(key=lambda task: int(task.params["group"][1:]))
    size = (len(rows), config.seeds)
    found = {key: np.full(size, np.nan) for key in ("count", "count_2d", "first_perfect")}
    perfect = np.full(size, np.nan)
    sensitive = []
    for i, task in enumerate(rows):
        outcome = outcomes[task.key]
        learned = outcome["perfect"] == 1
        perfect[i, : min(len(learned), config.seeds)] = outcome["perfect"][: config.seeds]
        for key in found:
            if key in outcome:
                values = np.where(learned, outcome[key], np.nan)[: config.seeds]
                found[key][i, : len(values)] = values
        if "counts" in outcome:
            counts = outcome["counts"][learned]
            sensitive.append(counts.mean(0) if len(counts) else np.full((3, 3, 2), np.nan))
    columns = {"n": np.array([int(task.params["group"][1:]) for task in rows]), "perfect": perfect}
    columns |= found | ({"sensitivity": np.stack(sensitive)} if len(sensitive) == len(rows) else {})
    return {f"{name}/{key}": value for key, value in columns.items()}


def _grid(
    config: Config, tasks: Sequence[Task], outcomes: Mapping[str, Outcome]
) -> dict[str, Array]:
    if not (config.grid_rates and config.grid_l2):
        return {}
    shape = (len(config.grid_rates), len(config.grid_l2), config.grid_seeds)
    count, perfect = np.full(shape, np.nan), np.zeros(shape)
    for task in tasks:
        if task.params["kind"] == "grid":
            place = (config.grid_rates.index(task.params["learning_rate"]),
                     config.grid_l2.index(task.params["l2"]))  # fmt: skip
            count[place], perfect[place] = (outcomes[task.key][k] for k in ("count", "perfect"))
    return {
        "grid/rates": np.asarray(config.grid_rates),
        "grid/l2": np.asarray(config.grid_l2),
        "grid/count": count,
        "grid/perfect": perfect,
        "grid/n": np.asarray(config.grid_n),
    }


def _rounded(name: str, value: Array) -> Array:
    """Floats to five digits after the point, of pictures to three: far below what is seen."""
    value, digits = np.asarray(value), 3 if name.startswith(("show/", "head/history/")) else 5
    return np.asarray(np.round(value, digits) + 0.0) if value.dtype.kind == "f" else value
