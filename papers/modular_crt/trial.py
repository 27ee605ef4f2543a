"""One training task: networks of one setting, trained together and measured one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Array

from papers.modular_crt.config import ALPHA, Config
from papers.modular_crt.measure import first_layer, measure, watch
from papers.modular_crt.studies import Network, core_name
from papers.modular_crt.trial_names import CURVES, PAIRS
from shared.experiment.spec import Outcome, Run, Task
from shared.gpu.seeds import seed_keys
from shared.groups.circuits import cluster_logits
from shared.groups.group import cyclic
from shared.groups.networks import ModelSpec, readout
from shared.groups.task import CayleyTask, stacked_labels, train_masks
from shared.groups.training import (
    Hyper,
    TrainSpec,
    TrainState,
    init_train,
    network_params,
    train_chunk,
)

EXAMPLE_LEVELS = 100  # pictures of neurons are kept in steps of 1/100 of their largest value


def model_spec(network: Network) -> ModelSpec:
    """The network in the core's terms; the depth of a transformer is its number of blocks."""
    transformer = network.architecture in ALPHA
    return ModelSpec(
        core_name(network),  # pyright: ignore[reportArgumentType]
        order=network.modulus,
        d_embed=network.embed,
        width=network.width,
        depth=1 if transformer else network.depth,
        blocks=network.depth if transformer else 1,
        act="quadratic" if network.architecture == "quadratic" else "relu",
    )


def alpha_of(network: Network) -> float:
    """Attention mix of a transformer; 0, which nothing reads, of an MLP."""
    return ALPHA.get(network.architecture, 0.0)


def initial_state(network: Network, seeds: Sequence[int]) -> tuple[TrainState, TrainSpec]:
    """Untrained networks, each seed with initial weights and a split of its own."""
    task = CayleyTask(cyclic(network.modulus), network.fraction)
    tspec = TrainSpec(network.steps, batch=network.batch or None)
    hyper = Hyper(
        lr=network.learning_rate, wd=network.decay, l2=network.l2, alpha=alpha_of(network)
    )
    keys = seed_keys(seeds, "modular_crt")
    masks, labels = train_masks(task, seeds), stacked_labels(task, len(seeds))
    return init_train(keys, model_spec(network), tspec, masks, labels, hyper), tspec


def train(config: Config, task: Task, run: Run) -> Outcome:
    """Train the networks of a task and measure each.

    Returns:
        Everything of `measure.measure`, [seed, ...], `first_perfect` (updates until the test
        accuracy was first 1, -1 for never), `curves` [seed, snapshot, of `CURVES`], and where the
        study asks for it `example_*`, a picture of one neuron (see `_example`).
    """
    network = Network(**task.params["network"])
    spec, alpha = model_spec(network), alpha_of(network)
    state, tspec = initial_state(network, task.seeds)
    steps = network.steps // config.snapshots

    def chunk(state: TrainState) -> tuple[TrainState, dict[str, Array]]:
        state, metrics = train_chunk(state, spec, tspec, steps)
        watched = [
            watch(network_params(state.params, i), spec, alpha) for i in range(len(task.seeds))
        ]
        named = {name: np.asarray([row[name] for row in watched]) for name in watched[0]}
        return state, {**metrics, **named}  # pyright: ignore[reportReturnType]

    state, history = run.loop(state, chunk, config.snapshots, unit="updates", per_chunk=steps)
    thorough = bool(task.params["thorough"])
    rows = []
    for i, seed in enumerate(task.seeds):
        params = network_params(state.params, i)
        row = measure(params, spec, network, alpha, config.noise if thorough else (), seed)
        if thorough:
            row |= _example(params, spec, alpha)
        rows.append(row)
    found = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    curves = np.stack([history[name] for name in CURVES], axis=-1)  # [snapshot, seed, curve]
    return {
        **found,
        "first_perfect": np.asarray(state.first_perfect, np.float64),
        "curves": np.moveaxis(curves, 1, 0).astype(np.float64),
    }


def _example(params: Any, spec: ModelSpec, alpha: float) -> dict[str, np.ndarray]:
    """The neuron with the largest variance among the simplest tenth: its picture and frequency.

    And the logits of its cluster at `PAIRS`, [pair, class], over their largest. Neurons of
    frequency 1, on which remapping does nothing, are taken only if there are no others.
    """
    from shared.groups.neurons import cyclic_neurons

    pre = first_layer(params, spec, alpha)
    neurons = cyclic_neurons(pre)
    moves = neurons.alive & (neurons.label > 1)
    pool = moves if moves.any() else neurons.alive if neurons.alive.any() else neurons.label >= 0
    fair = pool & (neurons.first >= np.quantile(neurons.first[pool], 0.9))
    best = int(np.argmax(np.where(fair, neurons.variance, -1.0)))
    additive = isinstance(pre, tuple)
    values = pre[0][:, best, None] + pre[1][:, best] if additive else pre[..., best]
    values = values / max(float(np.abs(values).max()), 1e-30)
    cluster = neurons.alive & (neurons.label == neurons.label[best])
    parts = cluster_logits(pre, np.asarray(readout(params, spec)[0], np.float64), cluster)
    parts = np.stack([parts[pair] for pair in PAIRS])
    return {
        "example_logits": parts / max(float(np.abs(parts).max()), 1e-30),
        "example": np.round(EXAMPLE_LEVELS * values),
        "example_frequency": np.asarray(float(neurons.label[best])),
        "example_r2": np.asarray(float(neurons.first[best])),
    }
