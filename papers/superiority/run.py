"""`python -m papers.superiority.run`: the paper's experiments, claims and figures."""

from papers.superiority.claims import CLAIMS
from papers.superiority.config import PRESETS
from papers.superiority.experiment import collect, run_task, tasks
from papers.superiority.figures import figures
from shared.experiment import Experiment, main

EXPERIMENT = Experiment(
    name="superiority",
    title="Action Gaps and Advantages in Continuous-Time Distributional Reinforcement Learning",
    entry="papers.superiority.run:EXPERIMENT",
    presets=PRESETS,
    tasks=tasks,
    run_task=run_task,
    collect=collect,
    claims=CLAIMS,
    figures=figures,
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
