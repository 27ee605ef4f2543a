"""Probe environments: so small that the right values and actions are known, each for one ability.

    name             a learner that fails it ...
    constant         cannot fit a number
    observed         does not use the observation
    delayed          does not bootstrap, or discounts wrongly
    action           does not improve its action
    observed_action  does not let its action depend on the observation
    truncated        takes a time limit for death: `constant` but for the kind of end

A probe is a table over two states, as data, so that one compiled program trains on all of them at
once: `jax.vmap` over `PROBES` stacked.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from shared.rl.loop import EnvStep, auto_reset

GO_ON, TERMINATE, TRUNCATE = 0, 1, 2


class Probe(NamedTuple):
    """States 0 and 1, one observation and one action; all arrays have a number per state.

    Attributes:
        obs: what is seen. start: probability that an episode begins there. following: next state.
        reward, curve, best: the reward is reward - curve (action - best)^2.
        end: how the step ends the episode: GO_ON, TERMINATE or TRUNCATE.
    """

    obs: Float[Array, " states"]
    start: Float[Array, " states"]
    following: Int[Array, " states"]
    reward: Float[Array, " states"]
    curve: Float[Array, " states"]
    best: Float[Array, " states"]
    end: Int[Array, " states"]

    def reset(self, key: Key[Array, ""]) -> tuple[Int[Array, ""], Float[Array, " 1"]]:
        """A state drawn from `start`."""
        second = jax.random.uniform(key, (), jnp.float32) < self.start[1]
        state = second.astype(jnp.int32)
        return state, self.obs[state][None]

    def step(
        self, state: Int[Array, ""], action: Float[Array, " 1"], key: Key[Array, ""]
    ) -> EnvStep:
        """See `loop.Env`."""
        return auto_reset(self.reset, self._advance)(state, action, key)

    def _advance(
        self, state: Array, action: Array, key: Array
    ) -> tuple[Array, Array, Array, Array, Array]:
        reward = self.reward[state] - self.curve[state] * (action[0] - self.best[state]) ** 2
        after, end = self.following[state], self.end[state]
        return after, self.obs[after][None], reward, end == TERMINATE, end == TRUNCATE


class Truth(NamedTuple):
    """What the best policy does and earns in each state.

    Attributes:
        value: discounted return. action: the best one. visited: whether the state is ever left.
        matters: whether the action does anything there.
    """

    value: Float[np.ndarray, " states"]
    action: Float[np.ndarray, " states"]
    visited: Bool[np.ndarray, " states"]
    matters: Bool[np.ndarray, " states"]


def truth(probe: Probe, gamma: float) -> Truth:
    """The exact answer, by iterating Bellman's equation."""
    table = jax.tree.map(np.asarray, probe)
    value = np.zeros(len(table.obs))
    for _ in range(10_000):
        value = table.reward + gamma * (table.end != TERMINATE) * value[table.following]
    visited = table.start > 0
    for state in range(len(table.obs)):
        if visited[state] and table.end[state] == GO_ON:
            visited[table.following[state]] = True
    return Truth(value, table.best, visited, visited & (table.curve > 0))


def _probe(
    obs: tuple[float, float],
    start: float,
    reward: tuple[float, float],
    best: tuple[float, float] | None = None,
    following: tuple[int, int] = (0, 1),
    end: tuple[int, int] = (TERMINATE, TERMINATE),
) -> Probe:
    def number(values: tuple[float, float]) -> Array:
        return jnp.asarray(np.array(values, np.float32))

    def whole(values: tuple[int, int]) -> Array:
        return jnp.asarray(np.array(values, np.int32))

    return Probe(
        obs=number(obs),
        start=number((1 - start, start)),
        following=whole(following),
        reward=number(reward),
        curve=number((0.0, 0.0) if best is None else (1.0, 1.0)),
        best=number(best or (0.0, 0.0)),
        end=whole(end),
    )


def probes() -> dict[str, Probe]:
    """All probes by name."""
    return {
        "constant": _probe((0.0, 0.0), 0.0, (1.0, 1.0)),
        "observed": _probe((-1.0, 1.0), 0.5, (-1.0, 1.0)),
        "delayed": _probe((-1.0, 1.0), 0.0, (0.0, 1.0), following=(1, 1), end=(GO_ON, TERMINATE)),
        "action": _probe((0.0, 0.0), 0.0, (1.0, 1.0), best=(0.5, 0.5)),
        "observed_action": _probe((-1.0, 1.0), 0.5, (0.0, 0.0), best=(0.5, -0.5)),
        "truncated": _probe((0.0, 0.0), 0.0, (1.0, 1.0), end=(TRUNCATE, TRUNCATE)),
    }
