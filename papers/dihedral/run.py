"""`python -m papers.dihedral.run`: the paper's experiments, claims and figures."""

from papers.dihedral.claims import CLAIMS
from papers.dihedral.config import PRESETS
from papers.dihedral.experiment import collect, run_task, tasks
from papers.dihedral.figures import figures
from shared.experiment import Experiment, main

EXPERIMENT = Experiment(
    name="dihedral",
    title="Deep neural networks divide and conquer dihedral multiplication",
    entry="papers.dihedral.run:EXPERIMENT",
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
