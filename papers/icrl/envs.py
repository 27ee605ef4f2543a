"""Three small constrained tasks as pure JAX functions: train on them in seconds, seeds vmapped.

    task             horizon  dt    reward                                  terminates    forbidden
    BlockedPoint     100      .05   |v_x| - .05 |a|^2                       never         x < -1
    BiasedCartpole   100      .04   1 where x <= -.01, .1 where x >= 0,     |theta| > .2  x < -.015
                                    linear between
    Corridor-7       100      1     left 1, right 1/2                       never         cell 0

Rewards and constraints look at the state after the step. A horizon truncates, it does not
terminate. Actions lie in [-1, 1] everywhere, in demonstrations too: `action_scale` says what 1 is.
States are what agents observe. Batch with vmap; `gym_env.py` has the same tasks for gymnasium.

BlockedPoint is a mass in the plane that earns by speed along x, and starts near a wall to the left
that nothing marks. It starts at x in (-.5, 1.5) with v_x in (-.9, .9): always able to stop before
the wall, so that experts are seen on both sides of their turn, and so that it pays to run through
the wall about half of the time. (These start laws are ours.)

BiasedCartpole is the constrained InvertedPendulum in closed form, masses and inertia as in MuJoCo's
compiled model; `tests/papers/test_icrl_envs.py` states how far the two drift apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from shared.experiment.errors import BadInput

State = Float[Array, " o"]
Step = tuple[State, Float[Array, ""], Bool[Array, ""]]


@dataclass(frozen=True)
class Task:
    """A constrained task.

    Attributes:
        reset: key -> state. step: state, action in [-1, 1] -> state, reward, terminated.
        violated: state after a step -> whether the constraint is broken.
        wall: (index of the constrained coordinate, bound); broken below the bound.
        action_scale: what an action of 1 is in the task's own units.
        dt: seconds between two decisions. names: of the observation's entries, with units.
    """

    name: str
    obs_dim: int
    act_dim: int
    horizon: int
    dt: float
    action_scale: float
    wall: tuple[int, float]
    names: tuple[str, ...]
    reset: Callable[[Key[Array, ""]], State]
    step: Callable[[State, Float[Array, " a"]], Step]

    def violated(self, state: Float[Array, "*batch o"]) -> Bool[Array, "*batch"]:
        """Strictly beyond the wall."""
        return state[..., self.wall[0]] < self.wall[1]


# --- BlockedPoint ---------------------------------------------------------------------------------

POINT_DT = 0.05
POINT_LOW = (-0.5, -0.1, -0.9, -0.1)
POINT_HIGH = (1.5, 0.1, 0.9, 0.1)


def point_reset(key: Key[Array, ""]) -> State:
    """x, y, v_x, v_y uniform between POINT_LOW and POINT_HIGH."""
    low, high = jnp.float32(POINT_LOW), jnp.float32(POINT_HIGH)
    return jax.random.uniform(key, (4,), jnp.float32, low, high)


def point_step(state: State, act: Float[Array, " a"]) -> Step:
    """Velocity first, then position with the new velocity (semi-implicit Euler)."""
    act = jnp.clip(act, -1, 1)
    velocity = state[2:] + POINT_DT * act
    position = state[:2] + POINT_DT * velocity
    reward = jnp.abs(velocity[0]) - 0.05 * jnp.sum(act**2)
    return jnp.concatenate([position, velocity]), reward, jnp.bool_(False)


# --- BiasedCartpole -------------------------------------------------------------------------------

CART, POLE = 10.47197551, 5.01859164  # kg
COM_X, COM_Z = 0.0005, 0.30  # the pole's centre of mass in its own frame, m
INERTIA = 0.18874977  # of the pole about that centre, kg m^2
DAMPING = 1.0  # of slider and hinge
GEAR, LIMIT, GRAVITY = 100.0, 3.0, 9.81
SUBSTEP = 0.02  # s; two of them to a decision
TILT = 0.2  # rad


def biased_reward(x: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """1 up to x = -.01, .1 from x = 0, linear between."""
    return jnp.clip(0.1 - 90 * x, 0.1, 1.0)


def cartpole_reset(key: Key[Array, ""]) -> State:
    """x, theta and their velocities uniform in +-.01."""
    return jax.random.uniform(key, (4,), jnp.float32, -0.01, 0.01)


def cartpole_step(state: State, act: Float[Array, " a"]) -> Step:
    """Two Runge-Kutta steps of 20 ms with the force held."""
    force = GEAR * LIMIT * jnp.clip(act[0], -1, 1)
    for _ in range(2):
        state = _runge_kutta(state, force)
    terminated = (jnp.abs(state[1]) > TILT) | ~jnp.all(jnp.isfinite(state))
    return state, biased_reward(state[0]), terminated


def _runge_kutta(state: State, force: Float[Array, ""]) -> State:
    k1 = cartpole_derivative(state, force)
    k2 = cartpole_derivative(state + SUBSTEP / 2 * k1, force)
    k3 = cartpole_derivative(state + SUBSTEP / 2 * k2, force)
    k4 = cartpole_derivative(state + SUBSTEP * k3, force)
    return state + SUBSTEP / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def cartpole_derivative(state: State, force: Float[Array, ""]) -> State:
    """d/dt of (x, theta, x', theta') from Lagrange's equations.

    The pole's centre of mass stands at x + d cos + l sin, -d sin + l cos (d = COM_X, l = COM_Z).
    """
    _, theta, speed, spin = state
    sin, cos = jnp.sin(theta), jnp.cos(theta)
    along, across = COM_Z * cos - COM_X * sin, COM_X * cos + COM_Z * sin
    m11, m12 = CART + POLE, POLE * along
    m22 = INERTIA + POLE * (COM_X**2 + COM_Z**2)
    f1 = force - DAMPING * speed + POLE * across * spin**2
    f2 = POLE * GRAVITY * across - DAMPING * spin
    det = m11 * m22 - m12**2
    return jnp.stack([speed, spin, (m22 * f1 - m12 * f2) / det, (m11 * f2 - m12 * f1) / det])


# --- Corridor-7 -----------------------------------------------------------------------------------

CELLS, CORRIDOR_START, CORRIDOR_HORIZON = 7, 3, 100


def corridor_step(cell: Int[Array, ""], act: Int[Array, ""]) -> tuple[Int[Array, ""], Array, Array]:
    """Left (0) or right (1), reflecting at the ends; reward 1 or 1/2; whether this is cell 0."""
    after = jnp.clip(cell + 2 * act - 1, 0, CELLS - 1)
    return after, jnp.where(act == 0, jnp.float32(1), jnp.float32(0.5)), after == 0


TASKS = {
    "blocked_point": Task(
        "blocked_point", 4, 2, 100, POINT_DT, 1.0, (0, -1.0),
        ("x (m)", "y (m)", "v_x (m/s)", "v_y (m/s)"), point_reset, point_step,
    ),
    "biased_cartpole": Task(
        "biased_cartpole", 4, 1, 100, 2 * SUBSTEP, LIMIT, (0, -0.015),
        ("x (m)", "theta (rad)", "v (m/s)", "theta' (rad/s)"), cartpole_reset, cartpole_step,
    ),
}  # fmt: skip


def task(name: str) -> Task:
    """A task by its name; BadInput lists the names."""
    if name not in TASKS:
        raise BadInput(f"tasks must be among {', '.join(TASKS)}; got {name!r}.")
    return TASKS[name]
