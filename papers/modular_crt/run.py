"""`python -m papers.modular_crt.run`: the paper's experiments, claims and figures."""

from papers.modular_crt.claims import CLAIMS
from papers.modular_crt.config import PRESETS
from papers.modular_crt.experiment import collect, run_task, tasks
from papers.modular_crt.figures import figures
from shared.experiment import Experiment, main

EXPERIMENT = Experiment(
    name="modular_crt",
    title="Uncovering a Universal Abstract Algorithm for Modular Addition in Neural Networks",
    entry="papers.modular_crt.run:EXPERIMENT",
    presets=PRESETS,
    tasks=tasks,
    run_task=run_task,
    collect=collect,
    claims=CLAIMS,
    figures=figures,
    seeds_per_task=8,
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
