"""Option trading: when to exercise an American put on a simulated price (the paper's experiments).

The price x follows d log x = mu dt + sigma dB (mu is a *log* drift: no -sigma²/2 term). At each
decision, every h = 1/omega days, the agent holds (action 0) or exercises (action 1):

    at clock t >= T - h the exercise is forced;
    exercise pays max(0, K - x), from the price before the move, and ends the episode;
    otherwise the reward is 0 and x <- x exp(mu h + sigma sqrt(h) N(0, 1)).

The two clocks, started at t = 0 and always holding:

    clock       advance per move   moves before the forced exercise   days of price motion
    official    2h                 50 omega                           50
    calendar    h                  100 omega - 1                      100 - h

Deviation: `official` is what the official environment does (it adds h to its clock twice), so it is
what the published curves show; `calendar` is the paper's intent, with the forced exercise where the
official code's second, stateless step function puts it: as soon as t + h >= T.

Everything is a pure function of one stream; batch with `jax.vmap`. The gymnasium environment of
the same law is in `gym_env.py`.
"""

import math
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int, Key, Shaped

from papers.superiority.assets import ASSETS, Asset, asset
from shared.experiment.errors import BadInput

__all__ = ["ASSETS", "EXERCISE", "HOLD", "Asset", "Clock", "EnvState", "OptionEnv", "asset"]

Clock = Literal["official", "calendar"]
Scalar = Shaped[ArrayLike, ""]
CLOCK_SPEED = {"official": 2, "calendar": 1}
HOLD, EXERCISE = 0, 1
TRAIN_SPAN = 0.98  # training episodes start at t ~ U(0, 0.98 T)
STATIC = {"static": True}


class EnvState(NamedTuple):
    """State of one stream.

    Attributes:
        price: x. clock: t, in days.
        start, moves: t at the reset and price moves since. The clock is computed from these two:
            a sum of thousands of float32 steps could shift the forced exercise by one.
    """

    price: Float[Array, ""]
    clock: Float[Array, ""]
    start: Float[Array, ""]
    moves: Int[Array, ""]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class OptionEnv:
    """The law of one asset; a pytree whose leaves are drift and volatility, the rest is static.

    Attributes:
        drift, volatility: mu and sigma of the log price, per day and per square root of a day:
            a float or f32 array each, so that a caller can vmap over assets.
        horizon: T, in days of the clock. strike: K. x0: the price at every reset.
        clock: "official" (advances 2h a move) or "calendar" (h); see the module's table.
    """

    drift: Any
    volatility: Any
    horizon: float | int = field(default=100.0, metadata=STATIC)
    strike: float | int = field(default=1.0, metadata=STATIC)
    x0: float | int = field(default=1.0, metadata=STATIC)
    clock: Clock = field(default="official", metadata=STATIC)

    def __post_init__(self) -> None:
        # Leaves are not looked at: JAX also builds this class around tracers and placeholders.
        if self.clock not in CLOCK_SPEED:
            raise BadInput(f"clock must be 'official' or 'calendar', not {self.clock!r}.")
        for name in ("horizon", "strike", "x0"):
            if not 0 < getattr(self, name) < math.inf:
                raise BadInput(f"{name} must be positive and finite, not {getattr(self, name)}.")

    def start_at(self, clock: Scalar) -> EnvState:
        """A stream at price x0 whose clock shows `clock` days."""
        clock = jnp.asarray(clock, jnp.float32)
        return EnvState(jnp.float32(self.x0), clock, clock, jnp.int32(0))

    def reset(self, key: Key[Array, ""], train: bool) -> EnvState:
        """A new episode at price x0: at t ~ U(0, 0.98 T) in training, else at t = 0."""
        if not train:
            return self.start_at(0.0)
        return self.start_at(jax.random.uniform(key, (), jnp.float32) * (TRAIN_SPAN * self.horizon))

    def forced(self, state: EnvState, h: Scalar) -> Bool[Array, ""]:
        """Whether the coming action is an exercise whatever the agent does: t >= T - h."""
        # On the calendar clock started at 0 both sides are equal at the last step; the slack, two
        # float32 roundings of T, is what the clock may be off there.
        slack = 2 * float(jnp.finfo(jnp.float32).eps) * self.horizon
        return state.clock >= (self.horizon - slack) - h

    def step(
        self,
        state: EnvState,
        action: Scalar,
        noise: Scalar,
        h: Scalar,
    ) -> tuple[EnvState, Float[Array, ""], Bool[Array, ""]]:
        """One decision of length h days.

        Args:
            state: before the decision, not terminated.
            action: 0 hold, 1 exercise.
            noise: a standard normal sample; explicit, so that a caller can draw in bulk.
            h: 1 / omega, in days; the same at every step of an episode.

        Returns:
            The next state, the reward and whether the episode terminated. There is no truncation:
            running out of time is a (forced) exercise. The state after a termination is only good
            for a bootstrap that is masked out: reset before the next step.
        """
        terminated = self.forced(state, h) | (action == EXERCISE)
        reward = jnp.where(terminated, jnp.maximum(self.strike - state.price, 0.0), 0.0)
        price = state.price * jnp.exp(self.drift * h + self.volatility * jnp.sqrt(h) * noise)
        moves = state.moves + 1
        clock = state.start + moves.astype(jnp.float32) * (CLOCK_SPEED[self.clock] * h)
        return EnvState(price, clock, state.start, moves), reward, terminated

    def observe(self, state: EnvState) -> Float[Array, "2"]:
        """What the agent sees: [x, (T - t) / T]."""
        return jnp.stack([state.price, (self.horizon - state.clock) / self.horizon])
