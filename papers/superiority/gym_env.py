"""`env.OptionEnv` as a gymnasium environment, registered as `corroborate/OptionTrading-v0`.

    import gymnasium, papers.superiority.gym_env
    env = gymnasium.make("corroborate/OptionTrading-v0", asset_index=3, frequency=35)

The same numbers, step for step, as the pure functions with the same noise. An episode always ends
by termination (an exercise, maybe forced), never by truncation. `gymnasium.make_vec` gives a few
streams side by side; for thousands, vmap the pure functions instead.
"""

from functools import partial
from typing import Any

import gymnasium
import jax
import numpy as np
from jaxtyping import Array, Bool, Float
from numpy.typing import NDArray

from papers.superiority.env import TRAIN_SPAN, Clock, EnvState, OptionEnv, Scalar, asset
from shared.experiment.errors import BadInput

ENV_ID = "corroborate/OptionTrading-v0"
Observation = NDArray[np.float32]


Step = tuple[EnvState, Float[Array, "2"], Float[Array, ""], Bool[Array, ""]]


@partial(jax.jit, static_argnames="h")
def _step(env: OptionEnv, state: EnvState, action: Scalar, noise: Scalar, h: float) -> Step:
    state, reward, terminated = env.step(state, action, noise, h)
    return state, env.observe(state), reward, terminated


class OptionTradingEnv(gymnasium.Env[Observation, np.int64]):
    """One stream of option trading.

    Observation: f32[2] = [price, (T - t)/T], after a forced exercise down to -3h/T.
    Actions: 0 hold, 1 exercise. Reward: max(0, K - price) on exercise, else 0; not discounted.
    `info` holds the price, the clock and whether the last exercise was forced.

    Args:
        asset_index: 0 to 10, whose drift and volatility are used where these are not given.
        frequency: omega, decisions per day, a positive integer.
        clock: "official" or "calendar", see `env.OptionEnv`.
        train: resets at t ~ U(0, 0.98 T) instead of t = 0; `reset(options={"train": ...})`
            overrides it for one episode.
        drift, volatility: of the log price per day, of another asset.

    Raises:
        BadInput: an argument outside the ranges above.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - gymnasium's own convention

    def __init__(
        self,
        asset_index: int = 0,
        frequency: int = 1,
        clock: Clock = "official",
        train: bool = False,
        drift: float | None = None,
        volatility: float | None = None,
    ) -> None:
        if not isinstance(frequency, int) or frequency < 1:
            raise BadInput(f"frequency must be a positive integer, not {frequency!r}.")
        if volatility is not None and not 0 <= volatility < np.inf:
            raise BadInput(f"volatility must be finite and not negative, not {volatility}.")
        known = asset(asset_index)
        self.law = OptionEnv(
            np.float32(known.drift if drift is None else drift),
            np.float32(known.volatility if volatility is None else volatility),
            clock=clock,
        )
        self.h = 1.0 / frequency
        self.train = train
        self.state: EnvState | None = None
        low = np.array([0.0, -3.0 * self.h / self.law.horizon], np.float32)
        high = np.array([np.finfo(np.float32).max, 1.0], np.float32)
        self.observation_space = gymnasium.spaces.Box(low, high, dtype=np.float32)
        self.action_space = gymnasium.spaces.Discrete(2)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """A new episode at price 1; see the class for `options`."""
        super().reset(seed=seed)
        train = (options or {}).get("train", self.train)
        start = self.np_random.uniform(0, TRAIN_SPAN * self.law.horizon) if train else 0.0
        self.state = self.law.start_at(start)
        return np.asarray(self.law.observe(self.state)), self._info(forced=False)

    def step(
        self, action: int | np.integer
    ) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """One decision; raises gymnasium's ResetNeeded before a reset and after the end."""
        if self.state is None:
            raise gymnasium.error.ResetNeeded("Call reset() before step().")
        if not self.action_space.contains(action):
            raise BadInput(f"action must be 0 (hold) or 1 (exercise), not {action!r}.")
        forced = bool(self.law.forced(self.state, self.h))
        noise = self.np_random.standard_normal(dtype=np.float32)
        self.state, observation, reward, terminated = _step(
            self.law, self.state, int(action), noise, self.h
        )
        result = np.asarray(observation), float(reward), bool(terminated), False
        info = self._info(forced)
        if terminated:
            self.state = None
        return *result, info

    def _info(self, forced: bool) -> dict[str, Any]:
        assert self.state is not None
        return {
            "price": float(self.state.price),
            "clock": float(self.state.clock),
            "forced": forced,
        }


if ENV_ID not in gymnasium.registry:
    gymnasium.register(id=ENV_ID, entry_point="papers.superiority.gym_env:OptionTradingEnv")
