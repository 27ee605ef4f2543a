"""`python -m papers.distributional_sm.run`: the paper's experiments, claims and figures."""

from papers.distributional_sm.claims import CLAIMS
from papers.distributional_sm.config import PRESETS
from papers.distributional_sm.experiment import collect, run_task, tasks
from papers.distributional_sm.figures import figures
from shared.experiment import Experiment, main

EXPERIMENT = Experiment(
    name="distributional_sm",
    title="A Distributional Analogue to the Successor Representation",
    entry="papers.distributional_sm.run:EXPERIMENT",
    presets=PRESETS,
    tasks=tasks,
    run_task=run_task,
    collect=collect,
    claims=CLAIMS,
    figures=figures,
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
