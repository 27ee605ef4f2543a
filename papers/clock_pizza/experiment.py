"""The experiments as independent tasks, and how their outcomes become the paper's results.

    exact            ideal clusters and hand-built networks: no training (C1 to C4)
    net/...          networks of each architecture and attention rate, analysed (C4 to C14)
    deep/...         deeper MLPs, geometry and topology layer by layer (C10)
    control/...      networks untrained, or trained on permuted labels: no metric may see a disc
    ablation/...     single settings changed: width, training share, kind of regularisation

Light on purpose: what is heavy is imported inside `run_task`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from papers.clock_pizza.config import Config, Variant
from shared.experiment.spec import Outcome, Results, Run, Task

if TYPE_CHECKING:
    import numpy as np

# Predicted cost on one core: seconds a network's share of compiling takes, and per 10^9 operations
# of training (six for each of n n m n in an update).
START_SECONDS = 0.3
GIGA_SECONDS = {"concat": 0.0075, "add": 0.0075, "attention": 0.009}
LEARNED_ATTENTION = 1.7  # attention weights differ from pair to pair
FRAME_SECONDS = 0.06  # a look at the circuit in training, at n = 59 and width 256
ANALYSIS_SECONDS = 1.5  # the look at its end, most of it distances and persistence
# On a GPU, all networks together; a guess from the number of operations, never measured.
GPU_GIGA_SECONDS = 5e-5


def tasks(config: Config) -> list[Task]:
    """Every task of a run, each with all its seeds."""
    found = [Task("exact", {"kind": "exact"}, cpu_seconds=5.0, gpu_seconds=5.0)]
    for variant in config.variants:
        found.append(_training(config, "net", variant, config.networks(variant)))
    for variant in config.deep_variants:
        found.append(_training(config, "deep", variant, config.networks(variant)))
    for control in config.controls:
        for variant in cheap_variants(config):
            found.append(
                _training(config, "control", variant, config.control_seeds, control=control)
            )
    for change in config.ablations:
        for variant in cheap_variants(config):
            found.append(
                _training(config, "ablation", variant, config.ablation_seeds, change=change)
            )
    return found


def ablation_key(change: str, variant: Variant) -> str:
    """The key of an ablation's task; a comma has no place in a key."""
    return f"ablation/{change.replace(',', '/')}/{variant.key}"


def cheap_variants(config: Config) -> tuple[Variant, ...]:
    """What controls and ablations are made of: MLPs and uniform attention."""
    return tuple(v for v in config.variants if v.alpha == 0)


def _training(
    config: Config, kind: str, variant: Variant, seeds: int, control: str = "", change: str = ""
) -> Task:
    config = config.ablated(change)
    n, m = config.modulus, config.width if variant.depth == 1 else config.depth_width
    giga = 6e-9 * n * n * (m * n + (variant.depth - 1) * m * m)
    factor = LEARNED_ATTENTION if variant.alpha > 0 else 1.0
    steps = 0 if control == "untrained" else config.steps
    train = steps * giga * GIGA_SECONDS[variant.arch] * factor
    frames = FRAME_SECONDS * config.frames * n * n * m / (59**2 * 256)
    looks = ANALYSIS_SECONDS * (n / 59) ** 2 * variant.depth + (frames if steps else 0.0)
    params = {"kind": kind, "arch": variant.arch, "alpha": variant.alpha, "depth": variant.depth}
    where = f"{kind}/{control}/{variant.key}" if control else f"{kind}/{variant.key}"
    return Task(
        ablation_key(change, variant) if change else where,
        {**params, "control": control, "change": change},
        tuple(range(config.first_seed, config.first_seed + seeds)),
        START_SECONDS + train + looks,
        gpu_seconds=seeds * (steps * giga * GPU_GIGA_SECONDS + looks),
        memory_mb=600.0 + 4e-5 * n * n * m,
    )


def run_task(task: Task, run: Run) -> Outcome:
    """Do one task; a training task returns arrays with its seeds first."""
    config: Config = run.config
    if task.params["kind"] == "exact":
        return _exact(config)
    from papers.clock_pizza.trial import train

    return train(config, task, run)


def _exact(config: Config) -> dict[str, np.ndarray]:
    """The experiments that train nothing, each under a name of its own."""
    from papers.clock_pizza import exact

    n = config.modulus
    parts = {
        "theorem": exact.theorem(n),
        "coherence": exact.coherence(n),
        "ideal": exact.ideal_networks(n, config.with_topology, config.landmarks),
    }
    return {f"{part}/{name}": value for part, rows in parts.items() for name, value in rows.items()}


def collect(config: Config, outcomes: Mapping[str, Outcome]) -> Results:
    """Join the outcomes: per network, per cluster, and what claims and figures need of them."""
    from papers.clock_pizza import analysis

    results: dict[str, np.ndarray] = analysis.header(config)
    results |= {f"exact/{name}": value for name, value in outcomes["exact"].items()}
    nets = [outcomes[f"net/{v.key}"] for v in config.variants]
    results |= analysis.networks(nets)
    results |= analysis.clusters(nets)
    results |= analysis.alignment(nets, config)
    results |= analysis.pictures(nets, config)
    results |= analysis.movie(nets)
    if config.deep_variants:
        results |= analysis.deep([outcomes[f"deep/{v.key}"] for v in config.deep_variants])
    for control in config.controls:
        rows = [outcomes[f"control/{control}/{v.key}"] for v in cheap_variants(config)]
        results |= analysis.control(control, rows)
    if config.ablations:
        changed = [
            [outcomes[ablation_key(change, v)] for v in cheap_variants(config)]
            for change in config.ablations
        ]
        results |= analysis.ablations(changed)
    return results
