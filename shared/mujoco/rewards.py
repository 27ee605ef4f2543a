"""dm_control's soft indicator, on arrays.

`dm_control.utils.rewards.tolerance` already takes arrays; this is it, found without loading the
rest of dm_control, under a name that says which sigmoid, with nothing left to a default.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray
INF = float("inf")


def linear(x: Array, least: float, margin: float, at_margin: float) -> Array:
    """1 where x >= least; below, a line that falls to `at_margin` at x = least - margin.

    It goes on to 0, which it reaches at least - margin/(1 - at_margin).
    """
    return _tolerance(x, (least, INF), margin, "linear", at_margin)


def gaussian(x: Array, low: float, high: float, margin: float, at_margin: float = 0.1) -> Array:
    """1 for low <= x <= high; outside a bell that is `at_margin` at distance `margin`."""
    return _tolerance(x, (low, high), margin, "gaussian", at_margin)


def quadratic(x: Array, margin: float) -> Array:
    """1 - (x/margin)^2, not below 0."""
    return _tolerance(x, (0.0, 0.0), margin, "quadratic", 0.0)


def inside(x: Array, low: float, high: float) -> Array:
    """1 for low <= x <= high, else 0."""
    return np.where((low <= x) & (x <= high), 1.0, 0.0)


def _tolerance(
    x: Array, bounds: tuple[float, float], margin: float, sigmoid: str, at_margin: float
) -> Array:
    from dm_control.utils.rewards import tolerance

    return np.asarray(tolerance(x, bounds, margin, sigmoid, at_margin))
