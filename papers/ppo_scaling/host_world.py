"""The environments of a run on the host, wherever the run has to find them, and its rollouts.

While one group of environments plays in its threads, the next one's actions are computed. One
rollout is kept, in arrays that are made once.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from papers.ppo_scaling.host_envs import HostEnvs
from papers.ppo_scaling.host_measures import Measures
from papers.ppo_scaling.host_spec import HostSpec
from papers.ppo_scaling.train import Learner, Rollout
from shared.experiment.errors import Damaged

PROBE_STATES = 512


class Programs(NamedTuple):
    """A learner for these environments, compiled.

    Attributes:
        act: (learner state, what the environments show, stream, step, first environment) ->
            (observations as the network takes them, Acted).
        value: (learner state, what the environments show) -> values.
    """

    learner: Learner
    act: Callable[..., tuple[Array, Any]]
    value: Callable[..., Array]
    learn: Callable[..., Any]
    layout: Callable[[Any], Array]
    measure: Measures


class Place(NamedTuple):
    """Where the environments are: what a resumed run plays again.

    Attributes:
        game: how often they were started anew. taken: steps since then.
        actions: those steps, [room, N, ...]. seen: checksum of what they show now.
    """

    game: int
    taken: int
    actions: np.ndarray
    seen: int


class Rows(NamedTuple):
    """One rollout's room, and what ended in it."""

    rollout: Rollout
    scores: list[float]


class World:
    """The environments of one run in groups, wherever they have to be.

    Args:
        make: (n_envs, seed) -> environments.
        spec: the run. entropy: distinguishes its seeds from those of other runs.
    """

    def __init__(
        self, make: Callable[[int, int], HostEnvs], spec: HostSpec, entropy: tuple[int, ...]
    ) -> None:
        self._make, self._spec, self._entropy = make, spec, entropy
        self._size = spec.n_envs // spec.env_groups
        self._groups: list[HostEnvs] = []
        self._shown: list[np.ndarray] = []
        self._at = (-1, -1)
        self._rows: Rollout | None = None

    @property
    def shown(self) -> np.ndarray:
        """What all environments show now."""
        return np.concatenate(self._shown)

    def close(self) -> None:
        """Close the environments."""
        for group in self._groups:
            group.close()
        self._groups = []

    def start(self, game: int) -> None:
        """Start games anew, under seeds that belong to `game`."""
        self.close()
        seed = np.random.SeedSequence([*self._entropy, game]).generate_state(1)[0]
        first = int(seed) % (1 << 30)
        starts = range(first, first + self._spec.n_envs, self._size)
        self._groups = [self._make(self._size, start) for start in starts]
        self._shown = [group.reset() for group in self._groups]
        self._at = (game, 0)

    def go_to(self, place: Place) -> None:
        """Be there: at once if the environments are, else by playing its actions again.

        Raises:
            Damaged: they show something else than they did.
        """
        if self._at == (place.game, place.taken):
            return
        self.start(place.game)
        for actions in place.actions[: place.taken]:
            for index, group in enumerate(self._groups):
                group.send(self._of_group(actions, index))
            self._shown = [group.recv().obs for group in self._groups]
        self._at = (place.game, place.taken)
        if self.checksum() != place.seen:
            raise Damaged(
                f"Playing {place.taken} recorded steps of {self._spec.game} again led elsewhere "
                "than before: the environments' library is another than when the run began."
            )

    def checksum(self) -> int:
        """Of what the environments show."""
        return zlib.crc32(np.ascontiguousarray(self.shown).tobytes())

    def _of_group(self, x: np.ndarray, index: int) -> np.ndarray:
        return x[index * self._size : (index + 1) * self._size]

    def collect(
        self, programs: Programs, state: Any, key: Key[Array, ""], step: int, log: np.ndarray
    ) -> Rows:
        """T steps of all environments with the policy as it is.

        Args:
            step: how many steps each has taken in the whole run, for its stream.
            log: room for the actions, [T, N, ...].
        """
        rows, scores = self._room(programs, state, key), []
        for t in range(self._spec.n_ro):
            for index, group in enumerate(self._groups):
                if t > 0:
                    self._receive(programs, state, rows, t - 1, index, scores)
                first = np.uint32(index * self._size)
                shown = self._shown[index]
                obs, acted = programs.act(state, shown, key, np.uint32(step + t), first)
                actions = np.asarray(acted.actions)
                group.send(actions)  # from here on the games play in their threads
                there = slice(index * self._size, (index + 1) * self._size)
                log[t, there] = actions
                for name, value in (("obs", obs), *acted._asdict().items()):
                    getattr(rows, name)[t, there] = value
        for index in range(len(self._groups)):
            self._receive(programs, state, rows, self._spec.n_ro - 1, index, scores)
        self._at = (self._at[0], self._at[1] + self._spec.n_ro)
        return Rows(rows, scores)

    def play(self, programs: Programs, state: Any, key: Key[Array, ""], step: int) -> None:
        """One step of all environments that nothing remembers."""
        for index, group in enumerate(self._groups):
            first = np.uint32(index * self._size)
            _, acted = programs.act(state, self._shown[index], key, np.uint32(step), first)
            group.send(np.asarray(acted.actions))
        self._shown = [group.recv().obs for group in self._groups]
        self._at = (-1, -1)

    def _receive(
        self, programs: Programs, state: Any, rows: Rollout, t: int, index: int, scores: list[float]
    ) -> None:
        step = self._groups[index].recv()
        there = slice(index * self._size, (index + 1) * self._size)
        self._shown[index] = step.obs
        rows.rewards[t, there] = step.rewards
        rows.terminated[t, there] = step.terminated
        rows.truncated[t, there] = step.truncated
        if step.truncated.any():
            values = np.asarray(programs.value(state, step.final_obs))
            rows.final_values[t, there] = values
        scores.extend(step.scores[step.over].tolist())

    def _room(self, programs: Programs, state: Any, key: Key[Array, ""]) -> Rollout:
        """Arrays for a rollout, made once."""
        if self._rows is None:
            shape = (self._spec.n_ro, self._spec.n_envs)
            zero = np.uint32(0)
            shown = self._shown[0]
            obs, acted = jax.eval_shape(programs.act, state, shown, key, zero, zero)

            def room(x: Any) -> np.ndarray:
                return np.zeros((*shape, *x.shape[1:]), x.dtype)

            values, flags = room(acted.values), np.zeros(shape, bool)
            rewards = np.zeros(shape, np.float32)
            rooms: Any = (room(obs), room(acted.actions), room(acted.log_probs), values, rewards,
                          flags, flags.copy(), values.copy())  # fmt: skip
            self._rows = Rollout(*rooms)
        return self._rows


def probe_states(make: Callable[[int, int], HostEnvs], layout: Any, n: int = PROBE_STATES) -> Array:
    """The fixed states of all metrics: 8 environments under random actions, every fourth step."""
    envs, rng = make(8, 1 << 30), np.random.default_rng(0)
    facts, kept = envs.facts, []
    shown = envs.reset()
    while len(kept) * 8 < n:
        for _ in range(4):
            if facts.action_size:
                actions = rng.uniform(-1, 1, facts.action_shape).astype(np.float32)
            else:
                actions = rng.integers(facts.n_actions, size=8).astype(np.int32)
            envs.send(actions)
            shown = envs.recv().obs
        kept.append(np.asarray(layout(shown)))
    envs.close()
    return jnp.asarray(np.concatenate(kept)[:n])
