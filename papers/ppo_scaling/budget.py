"""`python -m papers.ppo_scaling.budget cpu`: what a preset's batches mean, before anything runs.

A line for each cell: batch, minibatches, iterations, gradient steps, what the batch is worth in
independent transitions. Then the steps and hours of the whole, and the smallest difference of
scores that its runs could find, from the spread of the runs in the published evidence.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from papers.ppo_scaling.config import PRESETS, Config, base_cells, cells
from papers.ppo_scaling.experiment import plan

EVIDENCE = Path(__file__).parent / "results" / "cpu.json"


def lines(config: Config) -> list[str]:
    """The budget of a configuration as text."""
    from papers.ppo_scaling.method import BatchSpec

    found = []
    for cell, seeds, games in cells(config):
        spec = BatchSpec(cell.n_envs, cell.n_ro, cell.epochs, cell.num_minibatches, cell.hold)
        runs = f"{len(games)} games x {seeds} seeds"
        found.append(f"{cell.name} ({runs}): {spec.card(config.steps)}")
    planned = plan(config)
    runs = sum(len(task.seeds) for task in planned)
    minutes = sum(task.cpu_seconds * max(1, len(task.seeds)) for task in planned) / 60
    time = f"{minutes:.0f} minutes" if minutes < 120 else f"{minutes / 60:,.0f} hours"
    found.append(f"{runs} runs of {config.steps:,} steps, about {time} of one CPU core")
    sd = spread(EVIDENCE)
    if sd is not None and config.seeds * len(config.all_games) > 1:
        from shared import stats

        n = config.seeds * len(config.all_games)
        least = stats.detectable_difference(sd, n)
        found.append(
            f"{n} runs of a cell find a true difference of {least:.2f} in four of five cases "
            f"(runs of the evidence spread by {sd:.2f})"
        )
    return found


def spread(evidence: Path) -> float | None:
    """Standard deviation of a score within its cell and game; None without evidence."""
    if not evidence.is_file():
        return None
    from papers.ppo_scaling import analysis
    from shared.experiment import store

    saved = store.decode_results(json.loads(evidence.read_text())["results"])
    few, many = (list(saved[f"score/{cell.name}"]) for cell in base_cells(PRESETS["cpu"]))
    return analysis.pooled_sd(few, many)


def main() -> None:
    """Print the budget of a preset."""
    parser = argparse.ArgumentParser(description="What the batches of a preset mean.")
    parser.add_argument("preset", nargs="?", default="quick", choices=list(PRESETS))
    print("\n".join(lines(PRESETS[parser.parse_args().preset])))


if __name__ == "__main__":
    main()
