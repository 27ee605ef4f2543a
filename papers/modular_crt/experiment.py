"""The experiments as independent tasks, and how their outcomes become the paper's results.

    theory        remapping, approximate cosets, the margin theorem, hand-built networks (C2 to C5)
    net/...       networks of one setting, trained and measured; `studies` says who needs which

Light on purpose: what is heavy is imported inside `run_task`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from papers.modular_crt.config import Config
from papers.modular_crt.studies import Network, networks, studies
from papers.modular_crt.trial_names import CURVES
from shared.experiment.spec import Outcome, Results, Run, Task

if TYPE_CHECKING:
    import numpy as np

SCALARS = (
    "accuracy", "loss", "margin", "least_margin", "first_perfect", "alive", "r2", "r2_median",
    "second", "count", "count_any", "count_r2", "count_5pc", "count_half", "agree", "half_integer",
    "simple", "simple_loss", "both", "layer1_both", "first_share", "layer2_simple", "layer2_both",
    "tuned", "tuned_3pc", "tuned_10pc", "tuned_any", "without_tuned",
)  # fmt: skip
"""What is kept of every trained network. Of the counts of frequencies `count` is that of
major clusters; with any neuron, neurons of R^2 >= 0.5, 5 % of the neurons; half-way."""

PROBES = ("equivariance", "equivariance_best", "profile", "noise_accuracy", "noise_loss",
          "noise_one_accuracy", "noise_one_loss", "removal", "pc_peak", "pc_circular",
          "pc_lissajous_peak", "curves", "counts")  # fmt: skip
"""What is kept of the networks of the main study only."""

COMPILE_SECONDS = 4.0
"""Of one setting's program, about; settings that differ in rates only share one in a process."""

DRAWN = ("mlp", "pizza", "clock")
"""Architectures of which one neuron is kept as a picture."""


def tasks(config: Config) -> list[Task]:
    """Every task of a run, each with all its seeds."""
    found = [Task("theory", {"kind": "theory"}, cpu_seconds=8.0 + config.draws / 250)]
    main = studies(config)["main"]
    for network, seeds in networks(config).items():
        params = {"kind": "net", "network": asdict(network), "thorough": network in main}
        seconds = network.cpu_seconds + (3e-6 * network.modulus**3 if network in main else 0.0)
        seconds += COMPILE_SECONDS / min(seeds, 8)
        found.append(
            Task(
                f"net/{network.key}",
                params,
                tuple(range(config.first_seed, config.first_seed + seeds)),
                seconds,
                gpu_seconds=4.0 + seeds * seconds / 300,
                memory_mb=300.0 + network.modulus**2 * network.width * 40 / 2**20,
            )
        )
    return found


def run_task(task: Task, run: Run) -> Outcome:
    """Do one task; a training task returns arrays with its seeds first."""
    config: Config = run.config
    if task.params["kind"] == "theory":
        return _theory(config)
    from papers.modular_crt.trial import train

    return train(config, task, run)


def _theory(config: Config) -> dict[str, np.ndarray]:
    from papers.modular_crt import theory

    return {
        **theory.remapping(),
        **theory.cosets(),
        **theory.margin_theorem(config.theory_moduli, config.draws),
        **theory.margin_against_frequencies(config.modulus, 10, config.draws),
        **theory.corollary(config.theory_moduli, config.draws),
        **theory.hand_built(59),
    }


def collect(config: Config, outcomes: Mapping[str, Outcome]) -> Results:
    """Join the outcomes into columns over runs (networks x seeds).

    Returns:
        `network/<field>` [networks], a setting each. `run/network`, `run/seed` and `run/<scalar>`
        [runs]. `probe/<name>` [runs of the main study, ...] with `probe/run`. `study/<name>`
        [networks of it, 2]: which network, and how many of its seeds. `spectrum/...`: cluster
        sizes and R^2 by frequency, with `spectrum/run`. `example/<architecture>`: a neuron.
    """
    import numpy as np

    settings = list(networks(config))
    results: dict[str, np.ndarray] = dict(outcomes["theory"])
    for field in fields(Network):
        results[f"network/{field.name}"] = np.asarray([getattr(s, field.name) for s in settings])
    for name, study in studies(config).items():
        rows = [(settings.index(network), seeds) for network, seeds in study.items()]
        results[f"study/{name}"] = np.asarray(rows, int).reshape(-1, 2)
    results["config/noise"] = np.asarray(config.noise, float)
    results["config/snapshots"] = np.asarray(config.snapshots)
    rows = list(_rows(config, outcomes))
    results["run/network"] = np.asarray([settings.index(network) for network, _, _ in rows])
    results["run/seed"] = np.asarray([seed for _, seed, _ in rows])
    for name in SCALARS:
        results[f"run/{name}"] = _short([float(row[name]) for _, _, row in rows])
    return results | _probes(config, rows) | _spectra(config, rows) | _examples(config, outcomes)


Row = tuple[Network, int, dict[str, Any]]


def _rows(config: Config, outcomes: Mapping[str, Outcome]) -> Iterator[Row]:
    """Every run: its setting, its seed, its numbers."""
    for network, seeds in networks(config).items():
        outcome = outcomes[f"net/{network.key}"]
        for i in range(seeds):
            row = {name: values[i] for name, values in outcome.items()}
            middle = (config.snapshots + 1) // 2 - 1
            row["count_half"] = row["curves"][middle, CURVES.index("count")]
            yield network, config.first_seed + i, row


def _probes(config: Config, rows: list[Row]) -> dict[str, np.ndarray]:
    import numpy as np

    main = studies(config)["main"]
    kept = [i for i, (network, seed, _) in enumerate(rows)
            if network in main and seed < config.first_seed + config.seeds]  # fmt: skip
    probes = {f"probe/{name}": _short([rows[i][2][name] for i in kept]) for name in PROBES}
    return {"probe/run": np.asarray(kept, int), **probes}


def _spectra(config: Config, rows: list[Row]) -> dict[str, np.ndarray]:
    """Sizes and R^2 of clusters by frequency 1 ... floor(n/2), filled up with 0 for smaller n."""
    import numpy as np

    found = studies(config)
    wanted = [*found["frequencies"], *found["main"], *found["onehot"]]
    kept = [i for i, (network, _, _) in enumerate(rows) if network in wanted]
    width = max((len(rows[i][2]["sizes"]) for i in kept), default=0)
    sizes, r2 = np.zeros((len(kept), width), int), np.zeros((len(kept), width))
    for j, i in enumerate(kept):
        row = rows[i][2]
        sizes[j, : len(row["sizes"])] = row["sizes"]
        r2[j, : len(row["sizes"])] = row["cluster_r2"]
    return {"spectrum/run": np.asarray(kept, int), "spectrum/sizes": sizes,
            "spectrum/r2": np.round(r2, 3).astype(np.float32)}  # fmt: skip


def _examples(config: Config, outcomes: Mapping[str, Outcome]) -> dict[str, np.ndarray]:
    """Of each architecture the simplest neuron among all seeds, by its R^2, and its cluster."""
    import numpy as np

    found: dict[str, np.ndarray] = {}
    for network in studies(config)["main"]:
        if network.architecture not in DRAWN:
            continue
        outcome = outcomes[f"net/{network.key}"]
        moves = outcome["example_frequency"] > 1  # the others look the same when remapped
        best = int(np.argmax(outcome["example_r2"] + moves))
        found[f"example/{network.architecture}"] = outcome["example"][best].astype(int)
        found[f"example/{network.architecture}/logits"] = _short(outcome["example_logits"][best])
        frequency = outcome["example_frequency"][best]
        found[f"example/{network.architecture}/frequency"] = np.asarray(int(frequency))
    return found


def _short(values: Any) -> np.ndarray:
    """Single precision, four significant digits: far below the spread of runs, small in a file."""
    import numpy as np

    x = np.asarray(values, np.float64)
    size = np.where(np.isfinite(x) & (x != 0), np.abs(x), 1.0)
    unit = 10.0 ** (np.floor(np.log10(size)) - 3)
    return (np.round(x / unit) * unit).astype(np.float32)
