"""`python -m papers.clock_pizza.run`: the paper's experiments, claims and figures."""

from papers.clock_pizza.claims import CLAIMS
from papers.clock_pizza.config import PRESETS
from papers.clock_pizza.experiment import collect, run_task, tasks
from papers.clock_pizza.figures import figures
from shared.experiment import Experiment, main

EXPERIMENT = Experiment(
    name="clock_pizza",
    title="On the Geometry and Topology of Representations: the Manifolds of Modular Addition",
    entry="papers.clock_pizza.run:EXPERIMENT",
    presets=PRESETS,
    tasks=tasks,
    run_task=run_task,
    collect=collect,
    claims=CLAIMS,
    figures=figures,
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
