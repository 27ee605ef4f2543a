"""`python -m papers.ppo_scaling.run`: the paper's experiments, claims and figures."""

from papers.ppo_scaling.claims import CLAIMS
from papers.ppo_scaling.config import PRESETS
from papers.ppo_scaling.experiment import collect, run_task, tasks
from papers.ppo_scaling.figures import figures
from shared.experiment import Experiment, main

EXPERIMENT = Experiment(
    name="ppo_scaling",
    title="The Impact of On-Policy Parallelized Data Collection on Deep Reinforcement Learning "
    "Networks",
    entry="papers.ppo_scaling.run:EXPERIMENT",
    presets=PRESETS,
    tasks=tasks,
    run_task=run_task,
    collect=collect,
    claims=CLAIMS,
    figures=figures,
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
