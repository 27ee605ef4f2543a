"""TD7's checkpoints (Fujimoto et al. 2023, section 4.2) as a pure state machine.

The policy that is evaluated is not the newest but the best so far, judged by its *worst* return
over a few training episodes, during which it is not changed; the updates due wait until then:

    after each episode:   worst <- min(worst, return)
        worst < best          end early: do the waiting updates, keep the old checkpoint
        episodes == allowed   checkpoint this policy, best <- worst, do the waiting updates

`allowed` is `early` at first and `late` once `late_after` updates are done, when `best` is
multiplied by `relax` too, because a worst of one episode is easier to reach than one of twenty.
Returns are taken to be positive: for negative ones a `relax` above 1 makes the bar lower.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

from shared.experiment.errors import BadInput


@dataclass(frozen=True)
class Schedule:
    """The settings; the defaults are the paper's.

    Attributes:
        early, late: episodes that judge a policy before and after `late_after` updates.
        relax: factor of the best at the change.
    """

    early: int = 1
    late: int = 20
    late_after: int = 750_000
    relax: float = 0.9

    def __post_init__(self) -> None:
        for name in ("early", "late"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name} of a schedule is at least 1, not {getattr(self, name)}.")
        if self.late_after < 0:
            raise BadInput(f"late_after is at least 0 updates, not {self.late_after}.")


class Progress(NamedTuple):
    """Where the schedule stands.

    Attributes:
        episodes, waiting: that the present policy was judged by, and the environment steps they
            took, one update each. worst: its smallest return. best: that of the checkpoint.
        updates: done or asked for so far.
    """

    episodes: int = 0
    waiting: int = 0
    worst: float = math.inf
    best: float = -math.inf
    updates: int = 0


class Decision(NamedTuple):
    """What to do now: keep the present policy as the checkpoint (first), then so many updates."""

    checkpoint: bool
    updates: int


def on_episode(
    progress: Progress, episode_return: float, length: int, schedule: Schedule
) -> tuple[Progress, Decision]:
    """After a training episode: what to do, and where the schedule then stands."""
    if length < 1:
        raise BadInput(f"An episode has at least 1 step, not {length}.")
    allowed = schedule.early if progress.updates <= schedule.late_after else schedule.late
    episodes = progress.episodes + 1
    waiting = progress.waiting + length
    worst = min(progress.worst, episode_return)
    beaten = worst < progress.best
    if not beaten and episodes < allowed:
        return progress._replace(episodes=episodes, waiting=waiting, worst=worst), Decision(
            False, 0
        )
    best = progress.best if beaten else worst
    updates = progress.updates + waiting
    if progress.updates <= schedule.late_after < updates:
        best *= schedule.relax
    return Progress(best=best, updates=updates), Decision(not beaten, waiting)
