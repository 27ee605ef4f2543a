"""One training task: networks on a group's table, watched as they learn, taken apart at the end."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from papers.dihedral import circuit, method, pictures, rivals, topology
from papers.dihedral.circuit import View
from papers.dihedral.config import TRANSFORMERS, Config
from papers.dihedral.subject import Subject, chosen
from shared.experiment.spec import Outcome, Run, Task
from shared.gpu.seeds import seed_keys
from shared.groups import (
    CayleyTask,
    Hyper,
    ModelSpec,
    TrainSpec,
    TrainState,
    additive_parts,
    forward_grid,
    init_train,
    network_params,
    permuted_labels,
    readout,
    residual_logits,
    stacked_labels,
    train_chunk,
    train_masks,
)

Array = np.ndarray
BETTI_NETWORKS = 8  # of the headline case, whose clouds of contributions are measured


def model_spec(config: Config, arch: str, order: int) -> ModelSpec:
    """The network called `arch` in `config.ARCHITECTURES`.

    Deviation: the MLPs start from He's initialisation, as in the official code; the transformer
    from the shared one (variance 1/fan-in), which differs from the official in its unembedding.
    """
    wide = config.transformer_width if arch in TRANSFORMERS else config.width
    width = max(wide, config.widen * order)
    common: dict[str, Any] = {"order": order, "d_embed": config.features, "width": width}
    if arch == "transformer":
        return ModelSpec("attn", **common)
    if arch == "uniform":
        return ModelSpec("attn_uniform", **common)
    common |= {"out_bias": True, "init": "he"}
    if arch == "onehot":
        return ModelSpec("onehot_concat", **common)
    if arch == "shared":
        return ModelSpec("embed_concat", **common)
    return ModelSpec("embed_concat", **common, depth=int(arch[3:]), tie_embed=False)


def train_spec(config: Config, task: Task) -> TrainSpec:
    """The optimiser of a task.

    Deviation: transformers get the second moment of Zhong et al.'s recipe, .98, and a cosine. With
    .999 and a constant rate their loss spikes after it was small, and what was learned is lost.
    """
    steps, batch = task.params["steps"], config.batch or None
    if task.params["arch"] in TRANSFORMERS:
        return TrainSpec(steps, schedule="cosine", b2=0.98, batch=batch)
    return TrainSpec(steps, schedule="cooldown", b2=0.999, batch=batch)


def train(config: Config, task: Task, run: Run) -> Outcome:
    """Train the networks of all seeds of the task, and measure each.

    Returns:
        By name, seeds first: what `circuit.measures` says of the final network;
        `train_accuracy`, `test_accuracy`, `margin_min`, `first_perfect`, `spikes` at the end;
        `perfect`, whether both accuracies are 1; `history/...` [seed, look, ...]. With the task's
        `full`: controls and what the pictures show; without: counts only.
    """
    who = chosen(config, task.params["group"])
    spec = model_spec(config, task.params["arch"], who.group.order)
    tspec = train_spec(config, task)
    alpha = 1.0 if spec.arch == "attn" else None
    state = _start(config, task, who, spec, tspec)
    full = bool(task.params["full"]) and who.small
    untrained = []
    if full:
        before = [view(network_params(state.params, i), spec, alpha) for i in _rows(task)]
        untrained = [circuit.untrained(one, who) for one in before]

    def chunk(state: TrainState) -> tuple[TrainState, dict[str, Any]]:
        state, metrics = train_chunk(state, spec, tspec, config.log_every)
        return state, {**metrics, **movie(state, spec, who)}

    final, history = run.loop(
        state,
        chunk,
        task.params["steps"] // config.log_every,
        unit="steps",
        per_chunk=config.log_every,
    )
    rows = []
    for i, seed in zip(_rows(task), task.seeds, strict=True):
        params = network_params(final.params, i)
        if full:
            clouds = seed < config.first_seed + BETTI_NETWORKS if task.params["topology"] else None
            rows.append(untrained[i] | taken_apart(view(params, spec, alpha), who, seed, clouds))
        else:
            rows.append(counted(params, spec, alpha, who))
    found = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    for name in ("train_accuracy", "test_accuracy", "margin_min", "first_perfect", "spikes"):
        found[name] = np.asarray(history[name][-1], float)
    found["perfect"] = ((found["train_accuracy"] == 1) & (found["test_accuracy"] == 1)) * 1.0
    kept = ("train_accuracy", "test_accuracy", "margin_min", "weight_norm", *_MOVIE)
    for name in kept:
        if name in history:
            found[f"history/{name}"] = np.moveaxis(np.asarray(history[name], float), 0, 1)
    return found


def _rows(task: Task) -> range:
    return range(len(task.seeds))


def _start(
    config: Config, task: Task, who: Subject, spec: ModelSpec, tspec: TrainSpec
) -> TrainState:
    """A new initialisation and a new split for each seed; the same ones for every architecture."""
    data = CayleyTask(who.group, config.train_fraction)
    masks = train_masks(data, task.seeds)
    if task.params["labels"] == "permuted":
        labels = permuted_labels(data, task.seeds)
    else:
        labels = stacked_labels(data, len(task.seeds))
    hyper = Hyper(
        lr=task.params["learning_rate"],
        l2=task.params["l2"],
        alpha=1.0 if spec.arch == "attn" else 0.0,
    )
    return init_train(seed_keys(task.seeds, "dihedral"), spec, tspec, masks, labels, hyper)


# --- Looking at a network -------------------------------------------------------------------------


def view(params: Any, spec: ModelSpec, alpha: float | None) -> View:
    """A network's hidden layers on all pairs, in float64."""
    grid = _grid(spec)(params, alpha)
    pre = [np.asarray(layer, float) for layer in grid.pre]
    out, bias = (np.asarray(part, float) for part in readout(params, spec))
    rest = bias
    if spec.arch.startswith("attn"):
        rest = np.asarray(residual_logits(params, spec, alpha), float) + bias
    tables = None
    if spec.additive:
        left, right, shift = (np.asarray(part, float) for part in additive_parts(params, spec))
        tables = (left, right + shift)
    first_out = out
    if len(pre) > 1:
        hidden = params["blocks"][0]["hidden"] if "blocks" in params else params["hidden"]
        first_out = np.asarray(hidden[0]["W"], float)
    last = pre[-1] if len(pre) > 1 else pre[0]
    return View(pre[0], last, first_out, out, rest, tables)


@functools.lru_cache(maxsize=16)
def _grid(spec: ModelSpec) -> Callable[..., Any]:
    import jax

    return jax.jit(lambda params, alpha: forward_grid(params, spec, alpha))


def taken_apart(seen: View, who: Subject, seed: int, clouds: bool | None) -> dict[str, Array]:
    """All measures of one network; Betti numbers, those of single contributions with `clouds`."""
    found = circuit.measures(seen, who, seed) | rivals.scores(seen, who)
    found |= pictures.shown(seen, who)
    return found if clouds is None else found | topology.scores(seen, who, clouds)


def counted(params: Any, spec: ModelSpec, alpha: float | None, who: Subject) -> dict[str, Array]:
    """The number of representations and the sizes of the clusters, nothing else."""
    if spec.additive and spec.depth == 1:
        labels = _additive_labels(params, spec, who)
    else:
        labels = circuit.last_labels(view(params, spec, alpha), who)
    irrep = circuit.placed(labels, who)
    size = np.bincount(irrep[irrep >= 0], minlength=len(who.reps)).astype(float)
    return {
        "count": np.asarray(float((size[1:] > 0).sum())),
        "size": size,
        "last_share": np.asarray(_median(labels)),
    }


# --- Watching it learn ----------------------------------------------------------------------------

_MOVIE = ("count", "share", "mass")


def movie(state: TrainState, spec: ModelSpec, who: Subject) -> dict[str, Array]:
    """Of an additive first hidden layer: `count` of clusters, median `share` of energy.

    `mass` [seed, irrep] is how the labelled neurons divide among the irreps.
    """
    if not spec.additive:
        return {}
    rows = []
    for i in range(len(state.step)):
        labels = _additive_labels(network_params(state.params, i), spec, who)
        irrep = circuit.placed(labels, who)
        mass = np.bincount(irrep[irrep >= 0], minlength=len(who.reps)).astype(float)
        rows.append((float((mass > 0).sum()), _median(labels), mass / max(mass.sum(), 1)))
    return {
        name: np.array(column) for name, column in zip(_MOVIE, zip(*rows, strict=True), strict=True)
    }


def _median(labels: method.Labels) -> float:
    known = labels.irrep >= 0
    return float(np.median(labels.share[known])) if known.any() else 0.0


def _additive_labels(params: Any, spec: ModelSpec, who: Subject) -> method.Labels:
    """Without the grid: the peak of a sum of two tables is the sum of their peaks."""
    left, right, bias = (np.asarray(part, float) for part in additive_parts(params, spec))
    out = np.asarray(readout(params, spec)[0], float)
    if spec.depth > 1:
        hidden = params["blocks"][0]["hidden"] if "blocks" in params else params["hidden"]
        out = np.asarray(hidden[0]["W"], float)
    energies = method.table_energies(left, right, who.reps)
    peak = np.maximum(left.max(0) + right.max(0) + bias, 0)
    return method.label_neurons(energies, peak, circuit.as_functions(out, who), who.reps)
