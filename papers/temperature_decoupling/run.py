"""`python -m papers.temperature_decoupling.run`: the paper's experiments, claims and figures."""

from papers.temperature_decoupling.claims import CLAIMS
from papers.temperature_decoupling.config import PRESETS
from papers.temperature_decoupling.experiment import collect, run_task, tasks
from papers.temperature_decoupling.figures import figures
from shared.experiment import Experiment, main

EXPERIMENT = Experiment(
    name="temperature_decoupling",
    title="Convergence Theorems for Entropy-Regularized and Distributional Reinforcement Learning",
    entry="papers.temperature_decoupling.run:EXPERIMENT",
    presets=PRESETS,
    tasks=tasks,
    run_task=run_task,
    collect=collect,
    claims=CLAIMS,
    figures=figures,
    seeds_per_task=20,
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
