"""How a count grows with n: like ln n, or like n itself.

    count = intercept + slope ln n        `log`
    count = intercept + slope n           `linear`

Least squares, every network one point; AIC = N ln(SSE / N) + 2 k with k = 2 in both models, so
that their difference says by how much the data prefer one. Few values of n, or a narrow range of
them, cannot tell the two apart.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Real

from shared.experiment.errors import BadInput
from shared.stats import Interval

Array = np.ndarray


@dataclass(frozen=True)
class Line:
    """A straight line by least squares, with t intervals. r2 is NaN where all counts are equal."""

    intercept: Interval
    slope: Interval
    r2: float
    aic: float


@dataclass(frozen=True)
class Growth:
    """Both lines through the same counts. aic_difference: linear minus log, > 0 favours log."""

    log: Line
    linear: Line
    aic_difference: float


def fit_growth(
    ns: Real[Array, " points"], counts: Real[Array, " points"], level: float = 0.95
) -> Growth:
    """Fit counts against ln n and against n; one point per network.

    Raises:
        BadInput: fewer than three points, fewer than two different n, or an n below 1.
    """
    n, y = ns.astype(float), counts.astype(float)
    if len(n) < 3 or len(np.unique(n)) < 2:
        raise BadInput(
            f"A line with an interval needs three points at two values of n or more; got {len(n)} "
            f"at {len(np.unique(n))}."
        )
    if not (np.isfinite(n).all() and np.isfinite(y).all() and n.min() >= 1):
        raise BadInput("n is 1 or more, and all counts are finite.")
    if not 0 < level < 1:
        raise BadInput(f"The level of an interval lies between 0 and 1; got {level}.")
    log, linear = _line(np.log(n), y, level), _line(n, y, level)
    return Growth(log, linear, linear.aic - log.aic)


def _line(x: Real[Array, " points"], y: Real[Array, " points"], level: float) -> Line:
    from scipy.stats import linregress, t

    size = len(x)
    fit: Any = linregress(x, y)
    slope, intercept = float(fit.slope), float(fit.intercept)
    squares = float(((y - intercept - slope * x) ** 2).sum())
    whole = float(((y - y.mean()) ** 2).sum())
    # A perfect fit leaves rounding, or nothing, of which there is no logarithm.
    least = max(np.finfo(float).eps ** 2 * float((y**2).sum()), 1e-300)
    factor = float(t.ppf(0.5 + level / 2, size - 2))
    return Line(
        intercept=_around(intercept, factor * float(fit.intercept_stderr), level, size),
        slope=_around(slope, factor * float(fit.stderr), level, size),
        r2=1 - squares / whole if whole > 0 else float("nan"),
        aic=size * float(np.log(max(squares, least) / size)) + 4,
    )


def _around(value: float, half: float, level: float, size: int) -> Interval:
    return Interval(value, value - half, value + half, level, size)
