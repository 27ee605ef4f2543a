"""From scores of single runs to what claims and figures need: shares of the optimum, intervals.

Returns of different assets live on different scales, so runs are compared by their share of the
optimum: the mean return divided by what optimal stopping earns at the same frequency and clock
(1 is optimal, exercising at once earns 0).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared import stats
from shared.experiment.spec import Estimate, Results

BOOTSTRAP: Mapping[str, Any] = {"seed": 0, "shared_seeds": True}
"""Seed k draws the same random numbers for every agent, asset and level."""


@dataclass(frozen=True)
class Duel:
    """Two agents under the same conditions: paired by asset and seed.

    Attributes:
        better: probability that a run of the first beats a run of the second.
        gap: mean difference, with the smallest one that these runs could have detected.
    """

    better: Estimate
    gap: Estimate


def shares(results: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`share/neutral` and `share/ablation`, like their scores; `share/hold` [asset, frequency];
    `share/curve` [frequency, agent, evaluation] of the median run.

    Also the IQM over runs with its interval, stratified by asset, last axis (value, low, high):
    `iqm/neutral` [frequency, agent, 3], `iqm/ablation` [change, agent, 3] with `iqm/published`
    [agent, 3] beside it, and `iqm/risk` [level, agent, 3], which is of the CVaR itself.
    """
    best = results["optimum/best"]
    found = {"share/hold": results["optimum/hold"] / best}
    if "neutral/score" in results:
        share = results["neutral/score"] / best[:, :, None, None]
        curve = results["neutral/curve"] / best[:, :, None, None, None]
        found |= {"share/neutral": share, "iqm/neutral": _intervals(share)}
        found["share/curve"] = np.median(curve, axis=(0, 3))
    if "ablation/score" in results:
        # An ablation may change the clock, and with it the optimum, so each task brings its own.
        share = results["ablation/score"] / results["ablation/best"]
        found |= {"share/ablation": share, "iqm/ablation": _intervals(share)}
        found |= _published(results, found)
    if "risk/cvar" in results:
        found["iqm/risk"] = _intervals(results["risk/cvar"])
    return found


def _published(
    results: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """`iqm/published` [agent, 3]: the ablations' agents and assets with nothing changed."""
    assets, agents = list(results["assets"]), [str(name) for name in results["agents"]]
    rows = [str(name) for name in results["ablation_agents"]]
    if not (set(results["ablation_assets"]) <= set(assets) and set(rows) <= set(agents)):
        return {}
    top = results["frequencies"].argmax()
    places = [assets.index(asset) for asset in results["ablation_assets"]]
    share = found["share/neutral"][places][:, [top]][:, :, [agents.index(name) for name in rows]]
    return {"iqm/published": _intervals(share)[0]}


def _intervals(scores: np.ndarray) -> np.ndarray:
    """[asset, column, agent, seed] -> IQM over runs [column, agent, (value, low, high)]."""
    _, columns, agents, _ = scores.shape
    cells = np.empty((columns, agents, 3))
    for column in range(columns):
        for row in range(agents):
            runs = scores[:, column, row].T  # [seed, asset]
            found = stats.bootstrap(runs, stats.iqm, **BOOTSTRAP)
            cells[column, row] = found.value, found.low, found.high
    return cells


def duel(results: Results, frequency: int, first: str, second: str) -> Duel:
    """Compare two agents' shares of the optimum at one frequency (an index)."""
    x, y = (runs(results, frequency, name) for name in (first, second))
    better = stats.probability_of_improvement(x, y, **BOOTSTRAP)
    paired = stats.paired_difference(x, y, **BOOTSTRAP)
    return Duel(
        better.to_estimate(f"P({first} > {second})", n=x.size),
        paired.interval.to_estimate(
            f"{first} - {second}", n=x.size, unit="of the optimum", detectable=paired.detectable
        ),
    )


def runs(results: Results, frequency: int, agent: str) -> np.ndarray:
    """Shares of the optimum of one agent at one frequency (an index), [seed, asset]."""
    return results["share/neutral"][:, frequency, agent_index(results, agent)].T


def agent_index(results: Results, agent: str) -> int:
    """Where an agent stands in the arrays of the risk-neutral comparison."""
    return [str(name) for name in results["agents"]].index(agent)


def change_with_frequency(results: Results, agent: str) -> Estimate:
    """Share of the optimum at the highest minus at the lowest frequency, paired by seed."""
    omegas = results["frequencies"]
    top, bottom = (runs(results, int(i), agent) for i in (omegas.argmax(), omegas.argmin()))
    paired = stats.paired_difference(top, bottom, **BOOTSTRAP)
    label = f"kept by {agent}, {omegas.min()} to {omegas.max()} a day"
    return paired.interval.to_estimate(label, n=top.size, unit="of the optimum")


def gap_between_actions(results: Results) -> list[Estimate]:
    """Distance between two actions' learned laws at the highest frequency, in this order:
    each agent's, their paired difference, and by how much training has changed each agent's.
    """
    top = int(results["frequencies"].argmax())
    names = ("DSUP(1/2)", "QR-DQN")
    rows = [agent_index(results, name) for name in names]
    ours, rival = (results["neutral/gap"][:, top, row].T for row in rows)
    before = [results["neutral/untrained_gap"][:, top, row].T for row in rows]
    found = [
        stats.bootstrap(gap, stats.mean, **BOOTSTRAP).to_estimate(name)
        for name, gap in zip(names, (ours, rival), strict=True)
    ]
    for label, x, y in (
        ("difference", ours, rival),
        ("DSUP(1/2), trained - untrained", ours, before[0]),
        ("QR-DQN, trained - untrained", rival, before[1]),
    ):
        paired = stats.paired_difference(x, y, **BOOTSTRAP)
        found.append(paired.interval.to_estimate(label, n=x.size, detectable=paired.detectable))
    return found


def risk_duels(results: Results) -> list[Estimate]:
    """Probability that DSUP(1/2) has the higher CVaR than QR-DQN: over all levels, then at each."""
    agents = [str(name) for name in results["risk_agents"]]
    pair = results["risk/cvar"][:, :, [agents.index("DSUP(1/2)"), agents.index("QR-DQN")]]
    assets, levels, _, seeds = pair.shape
    scores = np.moveaxis(pair, (2, 3), (0, 1))  # [agent, seed, asset, level]
    everywhere = scores.reshape(2, seeds, assets * levels)
    overall = stats.probability_of_improvement(*everywhere, **BOOTSTRAP)
    found = [overall.to_estimate("P(DSUP(1/2) > QR-DQN), all levels", n=everywhere[0].size)]
    for column, alpha in enumerate(results["risk_levels"]):
        at_level = scores[..., column]
        better = stats.probability_of_improvement(*at_level, **BOOTSTRAP)
        found.append(better.to_estimate(f"P(DSUP(1/2) > QR-DQN), α={alpha:g}", n=at_level[0].size))
    return found
