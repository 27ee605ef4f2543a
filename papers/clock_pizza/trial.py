"""One training task: networks of one variant, trained, and every number about their circuits."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from papers.clock_pizza import circuits, method
from papers.clock_pizza.circuits import MANIFOLDS, Network, Row
from papers.clock_pizza.config import Config, Variant
from shared.experiment.spec import Outcome, Run, Task
from shared.gpu.seeds import seed_keys
from shared.groups.group import cyclic
from shared.groups.networks import (
    ModelSpec,
    Params,
    embedding_gradients,
    forward_grid,
    readout,
)
from shared.groups.task import CayleyTask, permuted_labels, stacked_labels, train_masks
from shared.groups.training import (
    Hyper,
    TrainSpec,
    TrainState,
    init_train,
    network_params,
    train_chunk,
)

Array = np.ndarray
TRIPLES = 100
"""Triples (a, b, c) behind a gradient symmetricity (Zhong et al.: 100)."""
MOVIE = ("test_accuracy", "train_accuracy", "test_loss", "clusters", "alive", "first", "second",
         "disc", "torus")  # fmt: skip
"""What is kept of every look at a circuit in training."""


def variant_of(task: Task) -> Variant:
    """The variant that a task trains."""
    p = task.params
    return Variant(str(p["arch"]), float(p["alpha"]), int(p["depth"]))


def model_spec(config: Config, variant: Variant) -> ModelSpec:
    """The network of a variant."""
    arch = {"concat": "embed_concat", "add": "embed_add"}.get(variant.arch)
    # Uniform attention is additive in its first layer, which is cheaper.
    arch = arch or ("attn" if variant.alpha > 0 else "attn_uniform")
    return ModelSpec(
        arch=arch,
        order=config.modulus,
        d_embed=config.embedding,
        width=config.width if variant.depth == 1 else config.depth_width,
        depth=variant.depth,
        heads=config.heads,
    )


def train(config: Config, task: Task, run: Run) -> Outcome:
    """Train all networks of the task and look into them; arrays with the seeds first.

    Returns:
        `movie_<name>` [seed, frame]; `perfect` (test accuracy 1 at the end), `first_perfect`
        (steps, -1 for never), `spikes`, [seed]; for one hidden layer what `look_inside` returns
        and `symmetricity`, for more what `look_inside_deep` does.
        The control "permuted" has answers that no circuit explains; "untrained" has no movie.
    """
    config, variant = config.ablated(task.params.get("change", "")), variant_of(task)
    spec, seeds = model_spec(config, variant), task.seeds
    start = _start(config, task, spec)
    if task.params.get("control", "") == "untrained":
        params, found = start.params, {}
    else:
        params, found = _trained(config, start, run, spec, variant.alpha)
    look = _look if variant.depth == 1 else look_inside_deep
    rows = [look(network_params(params, i), spec, variant.alpha, config) for i in range(len(seeds))]
    return found | {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _start(config: Config, task: Task, spec: ModelSpec) -> TrainState:
    """The networks before the first step, each with its own weights and its own split."""
    variant, seeds = variant_of(task), task.seeds
    attention = variant.arch == "attention"
    hyper = Hyper(
        lr=config.attention_learning_rate if attention else config.learning_rate,
        wd=config.weight_decay,
        l2=config.attention_l2 if attention else config.l2,
        alpha=variant.alpha,
    )
    data = CayleyTask(cyclic(config.modulus), config.train_share)
    shuffled = task.params.get("control", "") == "permuted"
    labels = permuted_labels(data, seeds) if shuffled else stacked_labels(data, len(seeds))
    # The keys depend on the seed alone, so that variants of one shape start from the same weights.
    keys, tspec = seed_keys(seeds, "clock_pizza"), TrainSpec(config.steps)
    return init_train(keys, spec, tspec, train_masks(data, seeds), labels, hyper)


def _trained(
    config: Config, start: TrainState, run: Run, spec: ModelSpec, alpha: float
) -> tuple[Params, dict[str, Array]]:
    tspec = TrainSpec(config.steps)

    def chunk(state: TrainState) -> tuple[TrainState, dict[str, Array]]:
        state, metrics = train_chunk(state, spec, tspec, config.frame_steps)
        frames = [circuits.frame(_first_pre(network_params(state.params, i), spec, alpha), config)
                  for i in range(len(state.step))]  # fmt: skip
        looked = {name: np.array([row[name] for row in frames]) for name in frames[0]}
        return state, {name: np.asarray(value) for name, value in metrics.items()} | looked

    state, history = run.loop(
        start, chunk, config.frames, unit="steps", per_chunk=config.frame_steps
    )
    found = {f"movie_{name}": np.moveaxis(history[name], 0, -1).astype(float) for name in MOVIE}
    last = {name: np.asarray(history[name][-1], float) for name in ("first_perfect", "spikes")}
    # A share of at most some thousand pairs, in float32: 1 to six digits is all of them.
    perfect = history["test_accuracy"][-1] > 1 - 1e-6
    return state.params, found | last | {"perfect": perfect.astype(float)}


# --- Inside one network ---------------------------------------------------------------------------


@functools.partial(jax.jit, static_argnames="spec")
def _grid(params: Params, spec: ModelSpec, alpha: Any) -> Any:
    return forward_grid(params, spec, alpha if spec.arch == "attn" else None)


def _first_pre(params: Params, spec: ModelSpec, alpha: float) -> Float[Array, "n n m"]:
    return np.asarray(_grid(params, spec, jnp.float32(alpha)).pre[0], np.float64)


def network(params: Params, spec: ModelSpec, alpha: float) -> Network:
    """The last hidden layer on all pairs, its linear readout and the logits."""
    grid = _grid(params, spec, jnp.float32(alpha))
    out, _ = readout(params, spec)
    arrays = (grid.pre[-1], out, grid.logits)
    return Network(*(np.asarray(array, np.float64) for array in arrays))


def symmetricity(params: Params, spec: ModelSpec, alpha: float) -> float:
    """Gradient symmetricity of a trained network: `method.gradient_symmetricity`, compiled once."""
    n = spec.order
    drawn = np.random.default_rng(0).choice(n**3, TRIPLES, replace=False)
    triples = np.stack(np.unravel_index(drawn, (n, n, n)), axis=1).astype(np.int32)
    left, right = _gradients(params, spec, jnp.asarray(triples), jnp.float32(alpha))
    left, right = np.asarray(left, np.float64), np.asarray(right, np.float64)
    size = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return float(np.mean(np.sum(left * right, axis=1)[size > 0] / size[size > 0]))


@functools.partial(jax.jit, static_argnames="spec")
def _gradients(params: Params, spec: ModelSpec, triples: Any, alpha: Any) -> Any:
    mix = alpha if spec.arch == "attn" else None
    return embedding_gradients(params, spec, triples, mix)


def _look(
    params: Params, spec: ModelSpec, alpha: float, config: Config
) -> dict[str, Float[Array, "..."]]:
    row = look_inside(network(params, spec, alpha), config)
    return row | {"symmetricity": np.asarray(symmetricity(params, spec, alpha))}


def look_inside(net: Network, config: Config) -> dict[str, Float[Array, "..."]]:
    """Everything about a network of one hidden layer.

    Returns:
        numbers of the whole network, see `circuits.summary`; `cluster_<name>` [n // 2], one row per
        major cluster, largest first, then NaN; `skipped`, how many of the clusters that topology
        looks at were too small or rough for it; heat map, profile, points and bars of the largest.
    """
    clusters = method.cluster_by_frequency(net.pre, config.alive)
    found = circuits.major(clusters, config.major_share)
    row: dict[str, Any] = circuits.summary(net, clusters, config)
    row |= circuits.activity(net, clusters, found)
    row |= circuits.random_cluster(net, clusters, found)
    rows = [circuits.describe_cluster(net, clusters, f) for f in found]
    row |= _topology(net, clusters, found, rows, config)
    row |= _table(rows, net.order // 2)
    row |= _example(net, clusters, found)
    return {name: np.asarray(value, np.float64) for name, value in row.items()}


def _topology(
    net: Network, clusters: method.Clusters, found: Sequence[int], rows: list[Row], config: Config
) -> dict[str, Any]:
    """Betti numbers into the rows of the largest clusters; bars of the first that is examined."""
    pairs, skipped = net.order**2, 0
    bars = {name: np.full((circuits.EXAMPLE_BARS, 3), np.nan) for name in ("pre", "logits")}
    for row in rows:
        row |= {
            f"{where}_{name}": np.nan for where in bars for name in ("b0", "b1", "b2", "stable")
        }
    looked = config.topology_clusters if config.with_topology else 0
    for f, row in zip(found[:looked], rows, strict=False):
        if circuits.too_small(int(row["size"]), row["r2"], config):
            skipped += 1
            continue
        members = clusters.members[f]
        own = method.cluster_logits(net.post, net.out, members)
        for where, x in (("pre", net.pre[..., members]), ("logits", own)):
            betti, diagrams = circuits.topology(x.reshape(pairs, -1), config)
            row |= {f"{where}_{name}": value for name, value in betti.items()}
            if not np.isfinite(bars[where]).any():
                bars[where] = circuits.longest_bars(diagrams)
    return {"skipped": skipped} | {f"bars_{where}": table for where, table in bars.items()}


def _table(rows: Sequence[Row], slots: int) -> dict[str, Float[Array, " slots"]]:
    """Rows as columns of `slots` entries; the names are those of any cluster, even without one."""
    table = {}
    for name in CLUSTER_COLUMNS:
        column = np.full(slots, np.nan)
        column[: len(rows)] = [row[name] for row in rows]
        table[f"cluster_{name}"] = column
    return table


CLUSTER_COLUMNS = (
    *("f", "size", "r2", "second", "rho", "hole", "pc2", "pc4"),
    *("pre_cka_disc", "pre_cka_torus", "pre_cka_circle", "pre_rsm_disc", "pre_rsm_torus"),
    *("logits_cka_disc", "logits_cka_torus", "logits_cka_circle", "logits_rsm_circle"),
    *("seen_share", "seen_directions", "seen_disc", "seen_circle"),
    *("shuffled_disc", "shuffled_torus"),
    *(f"{where}_{name}" for where in ("pre", "logits") for name in ("b0", "b1", "b2", "stable")),
)
"""What is known of each major cluster."""


def _example(
    net: Network, clusters: method.Clusters, found: Sequence[int]
) -> dict[str, Float[Array, "..."]]:
    if found:
        return circuits.example(net, clusters, found[0])
    points = min(circuits.EXAMPLE_POINTS, net.order**2)
    empty = {"example_sum": np.full(points, np.nan)}
    return empty | {f"example_{w}": np.full((points, 3), np.nan) for w in ("pre", "logits")}


DEEP_COLUMNS = ("f", "size", "r2", "second", *(f"cka_{kind}" for kind in MANIFOLDS),
                "b0", "b1", "b2", "stable")  # fmt: skip


def look_inside_deep(
    params: Params, spec: ModelSpec, alpha: float, config: Config
) -> dict[str, Float[Array, "..."]]:
    """Geometry and topology of the largest clusters of every hidden layer.

    A layer's clusters are those of its own pre-activations, by first and second order: deeper ones
    mix cos theta_a + cos theta_b with cos(theta_a + theta_b).

    Returns:
        `layer_<name>` [layer, topology_clusters], NaN where there is no such cluster.
    """
    grid = _grid(params, spec, jnp.float32(alpha))
    shape = (spec.depth, config.topology_clusters)
    table = {f"layer_{name}": np.full(shape, np.nan) for name in DEEP_COLUMNS}
    for layer, values in enumerate(grid.pre):
        pre = np.asarray(values, np.float64)
        clusters = method.cluster_by_frequency(pre, config.alive)
        found = circuits.major(clusters, config.major_share)[: config.topology_clusters]
        for place, f in enumerate(found):
            for name, value in _deep_row(pre, clusters, f, config).items():
                table[f"layer_{name}"][layer, place] = value
    return table


def _deep_row(pre: Float[Array, "n n m"], clusters: method.Clusters, f: int, config: Config) -> Row:
    n, members = len(pre), clusters.members[f]
    x = pre[..., members].reshape(n * n, -1)
    both = float(clusters.r2_order2[members].mean())
    first = float(clusters.r2[members].mean())
    row: Row = {"f": float(f), "size": float(len(members)), "r2": first, "second": both - first}
    row |= {f"cka_{kind}": method.linear_cka(x, method.reference(n, f, kind)) for kind in MANIFOLDS}
    if config.with_topology and not circuits.too_small(len(members), both, config):
        row |= circuits.topology(x, config)[0]
    return row
