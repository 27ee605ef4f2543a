"""`python -m papers.icrl.run`: the paper's experiments, claims and figures."""

from papers.icrl.claims import CLAIMS
from papers.icrl.config import PRESETS
from papers.icrl.experiment import collect, run_task, tasks
from papers.icrl.figures import figures
from shared.experiment import Experiment, main

EXPERIMENT = Experiment(
    name="icrl",
    title="Simplifying Constraint Inference with Inverse Reinforcement Learning",
    entry="papers.icrl.run:EXPERIMENT",
    presets=PRESETS,
    tasks=tasks,
    run_task=run_task,
    collect=collect,
    claims=CLAIMS,
    figures=figures,
    seeds_per_task=5,  # tiny networks: seeds vmapped cost little more than one
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
