"""`python -m papers.reward_regret.run`: the paper's statements, checked exactly; its figures."""

from papers.reward_regret.claims import CLAIMS
from papers.reward_regret.config import PRESETS
from papers.reward_regret.experiment import collect, run_task, tasks
from papers.reward_regret.figures import figures
from shared.experiment import Experiment, main

EXPERIMENT = Experiment(
    name="reward_regret",
    title="The Perils of Optimizing Learned Reward Functions: Low Training Error Does Not "
    "Guarantee Low Regret",
    entry="papers.reward_regret.run:EXPERIMENT",
    presets=PRESETS,
    tasks=tasks,
    run_task=run_task,
    collect=collect,
    claims=CLAIMS,
    figures=figures,
    seeds_per_task=50,
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
