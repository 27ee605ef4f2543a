"""What the figures have in common: a look per architecture, titles, steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from papers.modular_crt import analysis
from papers.modular_crt.config import ARCHITECTURES
from shared import plotting
from shared.experiment.spec import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure
else:
    from typing import Any as Figure

LOOKS = plotting.looks(*ARCHITECTURES)


def suptitle(fig: Figure, text: str) -> None:
    """A title over all panels, at the left like the panels' own."""
    fig.suptitle(text, x=0.01, ha="left", fontsize="medium")


def legend_note(results: Results, study: str) -> str:
    """How many networks a figure shows, and how many it leaves out."""
    runs = analysis.rows(results, study)
    good = int(analysis.solved(results, runs).sum())
    left_out = len(runs) - good
    more = f", {left_out} below 100 % left out" if left_out else ""
    return f"{good} networks that answer all pairs{more}"


def steps_of(results: Results, runs: Int[np.ndarray, " runs"], snapshots: int) -> np.ndarray:
    """The update of each snapshot of these runs, which share one length."""
    steps = int(results["network/steps"][results["run/network"][runs[0]]])
    return (np.arange(snapshots) + 1) * (steps / snapshots)
