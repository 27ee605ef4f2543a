"""How fast many margins are computed, beside one linear programme a policy in a loop.

The yardstick is `scipy.optimize.linprog` (HiGHS) once a policy: in one entry on the programme as
the definition has it (variables R-hat, V and t), in the other on our dual (3), the smallest form of
it that we know. Both sides are first checked to agree.
"""

from __future__ import annotations

import functools
from typing import Any

from shared.bench import Contest, Entry

POLICIES = 500
CHECKED = 25  # policies on which both sides are compared; the yardstick is slow
TIMED = 100  # policies a call of the yardstick
STATES, ACTIONS = 8, 3


def _problem(states: int, actions: int) -> tuple[Any, Any, Any]:
    import numpy as np

    from papers.reward_regret import env

    mdp, D = env.random_mdp(0, states, actions, 0.9), env.random_data(0, states, actions)
    return mdp, D, np.random.default_rng(0).integers(0, actions, (POLICIES, states))


def margins(states: int, actions: int, definition: bool) -> Contest:
    """All margins at once against a loop."""
    import numpy as np

    from papers.reward_regret import batched, method, oracle

    mdp, D, chosen = _problem(states, actions)
    eye = np.eye(actions)

    def one(row: Any) -> float:
        if definition:
            return oracle.margin_by_values(mdp, D, eye[row])
        on, none = method.support(mdp, eye[row]), None
        return method._margin(mdp, D, eye[row], on, 0.0, none).value

    ours = batched.policy_margins(mdp, D, chosen)
    theirs = [one(row) for row in chosen[:CHECKED]]
    assert np.abs(ours.value[:CHECKED] - theirs).max() < 1e-7
    assert np.abs(ours.value - ours.lower).max() < 1e-9

    def batch() -> float:
        for _ in range(20):
            batched.policy_margins(mdp, D, chosen)
        return 20.0 * POLICIES

    def loop() -> float:
        for row in chosen[:TIMED]:
            one(row)
        return float(TIMED)

    return Contest(batch, loop)


def many_mdps() -> Contest:
    """The margin Delta_L of 200 random MDPs at once against `method.safety_margin` in a loop."""
    import numpy as np

    from papers.reward_regret import batched, cases, method

    block = cases.cases(range(200), 4, 2)

    def ours() -> float:
        for _ in range(20):
            batched.safety_margins(block.mdps, block.D, 0.5, block.tables)
        return 20.0 * len(block.mdps)

    def theirs() -> float:
        for mdp, D in zip(block.mdps[:40], block.D, strict=False):
            method.safety_margin(mdp, D, 0.5)
        return 40.0

    found, _ = batched.safety_margins(block.mdps, block.D, 0.5, block.tables)
    single = [
        method.safety_margin(m, d, 0.5).value for m, d in zip(block.mdps, block.D, strict=True)
    ]
    assert np.abs(found.value - single).max() < 1e-9
    return Contest(ours, theirs)


_LOOP = "one linprog (HiGHS) a policy, {}, one core"
ENTRIES = (
    Entry(f"margins of {POLICIES} policies, {STATES} states, {ACTIONS} actions",
          _LOOP.format("as defined"), "policies", 5.0,
          functools.partial(margins, STATES, ACTIONS, True)),
    Entry(f"the same, {STATES} x {ACTIONS}, against our dual", _LOOP.format("our dual"), "policies",
          5.0, functools.partial(margins, STATES, ACTIONS, False)),
    Entry(f"margins of {POLICIES} policies, 20 states, 4 actions, against our dual",
          _LOOP.format("our dual"), "policies", 5.0, functools.partial(margins, 20, 4, False)),
    Entry("safety margins of 200 random MDPs", "safety_margin of one MDP after the other, one core",
          "MDPs", 5.0, many_mdps),
)  # fmt: skip
