"""Exact answers for option trading: the optimal-stopping value, its boundary, and fixed rules.

An episode of `env.OptionEnv` is a Bermudan put with K = x0 = 1 on a price with
d log x = mu dt + sigma dB. With h = 1/omega and N = horizon / h price moves,

    V_N(x) = (1 - x)^+                                          the forced exercise
    V_k(x) = max{ (1 - x)^+, gamma^h E[V_{k+1}(x e^{mu h + sigma sqrt(h) Z})] },   k < N,

so the pay-off is from the price before the move and can be had at every decision. `horizon` counts
days of *price motion*, which `horizon_days` gives for each clock of the environment.

Method: on a uniform grid of y = log x the expectation is a convolution with the Gaussian density,
and the trapezoid rule is exact to rounding for smooth V as soon as the spacing is below half of a
step's standard deviation. V is smooth but for a corner where the rule switches; the first terms of
the Euler-Maclaurin formula there (a jump and a kink between two nodes) are added to the two
neighbouring nodes, which leaves an error of third order in the spacing.
NumPy float64 throughout; with the default grid the optimum is good to about 1e-8 and the value of
a fixed rule, whose jumps are larger, to about 2e-6.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.experiment.errors import BadInput

Floats = NDArray[np.float64]
Real = float | int | np.floating | np.integer
Integer = int | np.integer
Boundary = NDArray[Any] | Real
ExerciseRule = Callable[[Floats, int], NDArray[np.bool_]]
Switch = tuple[int, float, float, float]  # node j, fraction theta, jump, kink (per unit of y)

PERIOD = 100  # T of the environment, in days of its clock
DEVIATIONS = 7.0  # the grid reaches this many standard deviations of the final log price
KERNEL_DEVIATIONS = 8.5
PARTS, ROUNDS = 32, 3  # where a rule switches is sought to 32^-3 of a grid cell


def horizon_moves(clock: str, frequency: Integer) -> int:
    """Price moves from the reset at t = 0 to the forced exercise, in the environment itself.

    50 omega on the official clock, which runs at double speed; 100 omega - 1 on the calendar clock,
    whose rule t >= T - h forces the exercise one step before T.
    """
    if clock not in ("official", "calendar"):
        raise BadInput(f"clock must be 'official' or 'calendar', not {clock!r}.")
    if frequency < 1 or frequency != int(frequency):
        raise BadInput(f"frequency must be a positive integer, not {frequency}.")
    frequency = int(frequency)
    return PERIOD // 2 * frequency if clock == "official" else PERIOD * frequency - 1


def horizon_days(clock: str, frequency: Integer) -> float:
    """Days of price motion of an episode from t = 0: the `horizon` that makes regrets exact."""
    return horizon_moves(clock, frequency) / int(frequency)


def optimal_stopping(
    drift: Real,
    volatility: Real,
    *,
    horizon: Real,
    frequency: Integer,
    gamma: Real,
    n_grid: int = 2000,
) -> tuple[float, Floats]:
    """Value of optimal exercise from x = 1, and the boundary that attains it.

    Args:
        drift, volatility: mu per day and sigma > 0 per square root of a day, of the log price.
        horizon: days of price motion before the forced exercise, a multiple of 1/frequency.
        frequency: omega, decisions per day.
        gamma: discount per day, in (0, 1].
        n_grid: nodes on the log-price grid; raised where they would not resolve one step.

    Returns:
        The value and the boundary, f64[N]: at move k it is optimal to exercise iff x <= b_k (0
        where it never is).

    Raises:
        BadInput: an argument outside these ranges.
    """
    grid = _Grid.make(drift, volatility, horizon, frequency, gamma, n_grid)
    boundary = np.zeros(grid.moves)

    def best(continuation: Floats, k: int) -> tuple[Floats, Iterable[Switch]]:
        # V is convex in x and the pay-off linear, so exercise is optimal on an interval from 0.
        gain = (continuation - grid.payoff)[: grid.centre + 1]
        exercised = np.flatnonzero(gain[:-1] <= 0)
        values = np.maximum(continuation, grid.payoff)
        if not exercised.size:
            return values, ()
        j = int(exercised[-1])
        slope, bend = gain[j + 1] - gain[j], gain[j + 1] - 2 * gain[j] + gain[max(j - 1, 0)]
        theta = -gain[j] / slope
        theta += theta * (1 - theta) * bend / (2 * slope)
        boundary[k] = math.exp(grid.y[j] + theta * grid.spacing)
        return values, [(j, theta, 0.0, slope / grid.spacing)]

    return _backward(grid, best), boundary


def policy_value(
    rule: Boundary | ExerciseRule,
    drift: Real,
    volatility: Real,
    *,
    horizon: Real,
    frequency: Integer,
    gamma: Real,
    n_grid: int = 2000,
) -> float:
    """Expected discounted pay-off of a fixed exercise rule from x = 1; arguments as above.

    Args:
        rule: a boundary (exercise at move k iff x <= b_k; a scalar, or one number per move), or a
            function of (prices f64[n], move k) that says where to exercise, such as a trained
            greedy policy. Zero is hold-to-the-end; infinity is exercise-now, which earns 0.
    """
    grid = _Grid.make(drift, volatility, horizon, frequency, gamma, n_grid)
    if callable(rule):
        exercise: ExerciseRule = rule
    else:
        boundary = _checked_boundary(rule, grid.moves)
        exercise = lambda x, k: x <= boundary[k]  # noqa: E731 - a rule, like the user's

    def follow(continuation: Floats, k: int) -> tuple[Floats, Iterable[Switch]]:
        stops = np.asarray(exercise(grid.x, k), bool)
        gain = continuation - grid.payoff
        cells = np.flatnonzero(stops[1:] != stops[:-1])
        thetas = _locate(lambda y: np.asarray(exercise(np.exp(y), k), bool), grid, cells, stops)
        switches = []
        for j, theta in zip(cells.tolist(), thetas.tolist(), strict=True):
            sign = 1.0 if stops[j] else -1.0
            jump = (1 - theta) * gain[j] + theta * gain[j + 1]
            kink = (gain[j + 1] - gain[j]) / grid.spacing
            switches.append((j, theta, sign * jump, sign * kink))
        if stops[grid.centre - 1 : grid.centre + 2].all():
            switches.append(grid.payoff_bend)
        return np.where(stops, grid.payoff, continuation), switches

    return _backward(grid, follow)


def hold_to_end(drift: Real, volatility: Real, *, horizon: Real, gamma: Real) -> float:
    """Discounted pay-off of never exercising early: gamma^T E[(1 - S)^+], S log-normal.

    = gamma^T {Phi(d) - exp(mu T + s²/2) Phi(d - s)} with s = sigma sqrt(T) and d = -mu T / s.
    """
    drift, volatility, gamma = _checked(drift, volatility, gamma)
    horizon = float(horizon)
    if not 0 < horizon < math.inf:
        raise BadInput(f"horizon must be a positive number of days, not {horizon}.")
    s = volatility * math.sqrt(horizon)
    d = -drift * horizon / s
    growth = math.exp(drift * horizon + s * s / 2)
    return gamma**horizon * (_normal_cdf(d) - growth * _normal_cdf(d - s))


def follow_boundary(
    boundary: Boundary,
    drift: Real,
    volatility: Real,
    *,
    horizon: Real,
    frequency: Integer,
    gamma: Real,
    episodes: int,
    seed: int,
) -> Floats:
    """Discounted pay-offs, f64[episodes], of simulated episodes that follow a boundary.

    A Monte Carlo check of the two functions above, with their arguments; shares no code with them.
    """
    drift, volatility, gamma = _checked(drift, volatility, gamma)
    moves, h = _count_moves(horizon, frequency), 1 / int(frequency)
    threshold = _checked_boundary(boundary, moves)
    rng = np.random.default_rng(seed)
    y = np.zeros(episodes)
    payoffs, running = np.zeros(episodes), np.arange(episodes)
    for k in range(moves + 1):
        x = np.exp(y)
        stops = x <= threshold[k] if k < moves else np.ones(len(x), bool)
        payoffs[running[stops]] = gamma ** (k * h) * np.maximum(1 - x[stops], 0)
        running, y = running[~stops], y[~stops]
        y = y + drift * h + volatility * math.sqrt(h) * rng.standard_normal(len(y))
    return payoffs


@dataclass(frozen=True)
class _Grid:
    """Nodes y with spacing `spacing`, x = e^y, y[centre] = 0; one step's discounted weights."""

    y: Floats
    x: Floats
    payoff: Floats
    spacing: float
    centre: int
    weights: Floats
    padding: Floats
    moves: int

    @classmethod
    def make(
        cls,
        drift: Real,
        volatility: Real,
        horizon: Real,
        frequency: Integer,
        gamma: Real,
        n_grid: int,
    ) -> "_Grid":
        drift, volatility, gamma = _checked(drift, volatility, gamma)
        if n_grid < 3:
            raise BadInput(f"n_grid must be at least 3, not {n_grid}.")
        moves, h = _count_moves(horizon, frequency), 1 / int(frequency)
        horizon = moves * h
        step = volatility * math.sqrt(h)
        reach = abs(drift) * horizon + DEVIATIONS * volatility * math.sqrt(horizon)
        centre = max((n_grid - 1) // 2, math.ceil(2 * reach / step))
        spacing = reach / centre
        # E[V(y + Y)] = sum_i w_i V(y + i spacing), Y ~ N(mu h, step²).
        width = math.ceil((abs(drift) * h + KERNEL_DEVIATIONS * step) / spacing)
        moved = np.arange(-width, width + 1, dtype=np.float64) * spacing
        weights = np.exp(-0.5 * ((moved - drift * h) / step) ** 2)
        weights *= gamma**h / weights.sum()
        y = np.arange(-centre - width, centre + width + 1, dtype=np.float64) * spacing
        payoff: Floats = np.maximum(1 - np.exp(y), 0)
        inner = slice(width, -width)
        return cls(
            y[inner], np.exp(y[inner]), payoff[inner], spacing, centre, weights, payoff, moves
        )

    @property
    def payoff_bend(self) -> Switch:
        """(1 - e^y)^+ changes its slope by 1 at y = 0."""
        return self.centre, 0.0, 0.0, 1.0

    def expectation(self, values: Floats) -> Floats:
        """gamma^h E[V_{k+1} | y_k = y] at every node; beyond the grid V is the pay-off."""
        padded = self.padding.copy()
        width = len(self.weights) // 2
        padded[width:-width] = values
        return np.correlate(padded, self.weights, mode="valid")


def _locate(
    exercise: Callable[[Floats], NDArray[np.bool_]],
    grid: _Grid,
    cells: NDArray[np.intp],
    stops: NDArray[np.bool_],
) -> Floats:
    """Where in its cell [y_j, y_{j+1}] the rule switches, as a fraction of the cell, f64[cells]."""
    left, width = np.zeros(len(cells)), 1.0
    for _ in range(ROUNDS if cells.size else 0):
        inside = left[:, None] + width * np.arange(1, PARTS) / PARTS
        choices = exercise((grid.y[cells, None] + inside * grid.spacing).ravel())
        same = choices.reshape(inside.shape) == stops[cells, None]
        width /= PARTS
        left += same.sum(axis=1) * width
    return left + width / 2


def _backward(
    grid: _Grid, decide: Callable[[Floats, int], tuple[Floats, Iterable[Switch]]]
) -> float:
    """V_0(1) of the rule that `decide` applies to the continuation value of each move."""
    values, switches = grid.payoff, [grid.payoff_bend]
    for k in reversed(range(grid.moves)):
        continuation = grid.expectation(_smoothed(values, switches, grid.spacing))
        values, switches = decide(continuation, k)
    return float(values[grid.centre])


def _smoothed(values: Floats, switches: Iterable[Switch], spacing: float) -> Floats:
    """Node values whose trapezoid sums account for the corners between the nodes.

    Euler-Maclaurin for F = H 1{y > c} + J (y - c)^+ at c = y_j + theta dy: the sum exceeds the
    integral of F g by -B_1(1 - theta) dy H g(c) - B_2(theta)/2 dy² (H g'(c) + J g(c)) + O(dy³).
    """
    values = values.copy()
    for j, theta, jump, kink in switches:
        second = (theta * theta - theta + 1 / 6) / 2
        mass = jump * (0.5 - theta) + kink * spacing * second
        values[j] += mass * (1 - theta) - jump * second
        values[j + 1] += mass * theta + jump * second
    return values


def _normal_cdf(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2))


def _checked(drift: Real, volatility: Real, gamma: Real) -> tuple[float, float, float]:
    drift, volatility, gamma = float(drift), float(volatility), float(gamma)
    if not math.isfinite(drift):
        raise BadInput(f"drift must be finite, not {drift}.")
    if not 0 < volatility < math.inf:
        raise BadInput(f"volatility must be positive and finite, not {volatility}.")
    if not 0 < gamma <= 1:
        raise BadInput(f"gamma must be above 0 and at most 1, not {gamma}.")
    return drift, volatility, gamma


def _count_moves(horizon: Real, frequency: Integer) -> int:
    if frequency < 1 or frequency != int(frequency):
        raise BadInput(f"frequency must be a positive integer, not {frequency}.")
    moves = round(horizon * frequency) if math.isfinite(horizon) else 0
    if moves < 1 or abs(moves - horizon * frequency) > 1e-6 * moves:
        raise BadInput(
            f"horizon must be a positive multiple of 1/frequency = 1/{frequency}, not {horizon}."
        )
    return moves


def _checked_boundary(boundary: Boundary, moves: int) -> Floats:
    prices = np.asarray(boundary, np.float64)
    if prices.shape not in ((), (moves,)) or not (prices >= 0).all():
        raise BadInput(
            f"A boundary is one price, or {moves} prices (one per move), none negative; "
            f"this one has shape {prices.shape}."
        )
    return np.broadcast_to(prices, (moves,))
