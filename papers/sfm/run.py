"""`python -m papers.sfm.run`: the paper's experiments, claims and figures."""

from papers.sfm.claims import CLAIMS
from papers.sfm.config import PRESETS
from papers.sfm.experiment import collect, run_task, tasks
from papers.sfm.figures import figures
from shared.experiment import Experiment, main

EXPERIMENT = Experiment(
    name="sfm",
    title="Non-Adversarial Inverse Reinforcement Learning via Successor Feature Matching",
    entry="papers.sfm.run:EXPERIMENT",
    presets=PRESETS,
    tasks=tasks,
    run_task=run_task,
    collect=collect,
    claims=CLAIMS,
    figures=figures,
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
