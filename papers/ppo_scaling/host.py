"""PPO on environments of the host: an outer loop in Python around compiled acting and learning.

    collect   T steps of N environments: one compiled call chooses all actions of a group, and the
              environments take them in threads of their own meanwhile; one rollout is kept, in
              arrays made once, and nothing of the run's length
    learn     one compiled call: all epochs and minibatches (`train.Learner.learn`)
    measure   at `points` even intervals, on states that random actions reached before the run

`run_host_task(task, run)` does this for a task of the experiment, each (game, seed) a cell of its
own: whatever happens to one, such as a crash of its environments, those that are finished stay.

Killed and resumed. The state of Atari's vector environment cannot be saved. But it is determined by
its seed and the actions, and those can: a byte each. So a checkpoint holds the actions since the
games were started, and a resumed run first plays them again, without network or learning, and is
where it was: it ends bit for bit where the undisturbed one does. So that this never takes long,
games are started anew, with new seeds, after every `REPLAY_STEPS` decisions, in every run.
"""

from __future__ import annotations

import functools
import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from papers.ppo_scaling import atari, continuous, host_envs, host_learner, rnd, train
from papers.ppo_scaling.host_envs import Facts, HostEnvs
from papers.ppo_scaling.host_measures import Measures, categorical_log_probs, make_measures
from papers.ppo_scaling.host_networks import gaussian, pixels
from papers.ppo_scaling.host_spec import HostSpec, host_spec
from papers.ppo_scaling.host_world import Place, Programs, Rows, World, probe_states
from papers.ppo_scaling.train import Hyper, Learner, hyper
from shared.experiment.spec import Outcome, Run, Task
from shared.gpu.seeds import seed_keys

FILM_FRAMES, FILM_EVERY = 6, 8

# Programs -----------------------------------------------------------------------------------------


def make_learner(spec: HostSpec, facts: Facts) -> tuple[Learner, Measures]:
    """The algorithm on the network that fits these environments, and its measurements."""
    rows = host_learner.ROWS if jax.default_backend() == "cpu" else None
    if spec.suite == "continuous":
        net = gaussian(facts.obs_shape[0], facts.action_size, encoder=spec.encoder)
        learner, log_probs = continuous.make_learner(net, spec.batch), continuous.log_probs
    elif spec.algorithm == "rnd":
        net = rnd.network(spec.network, facts.n_actions)
        learner = rnd.make_learner(net, spec.batch, rows, spec.warmup)
        log_probs = categorical_log_probs
    else:
        shape = atari.OBS_SHAPE if spec.suite == "atari" else facts.obs_shape
        sizes = (spec.network, shape, facts.n_actions)
        kind: Any = {"encoder": spec.encoder, "algorithm": spec.algorithm}
        net = pixels(*sizes, **kind)
        learner = host_learner.make_learner(spec.algorithm, net, spec.batch, rows)
        # XLA's own convolutions are slow backwards, on CPUs; forwards they are the faster ones.
        acting = pixels(*sizes, **kind, convolution="conv")
        acting = train.make_learner(spec.algorithm, acting, spec.batch)
        learner = learner._replace(act=acting.act)
        log_probs = categorical_log_probs if spec.algorithm == "ppo" else None
    return learner, make_measures(net, learner, log_probs)


def programs(spec: HostSpec, facts: Facts) -> Programs:
    """Compile-on-first-call functions of a run, the same for all that differ in numbers alone."""
    plan = replace(spec, game="", steps=spec.batch.batch_size, points=1, lr=1.0, anneal=True,
                   gamma=1.0, lam=1.0, clip=1.0, vf=1.0, ent=1.0, max_grad_norm=1.0,
                   groups=1, autoreset="")  # fmt: skip
    return _programs(plan, replace(facts, game="", n_envs=1))


@functools.lru_cache(maxsize=4)
def _programs(spec: HostSpec, facts: Facts) -> Programs:
    learner, measure = make_learner(spec, facts)
    layout = atari.layout if spec.suite == "atari" else (lambda obs: obs)

    def act(state: Any, shown: Array, key: Array, step: Array, first: Array) -> Any:
        index = first + jnp.arange(shown.shape[0], dtype=jnp.uint32)
        # Environment i has a stream of its own, whatever the number of environments.
        streams = jax.vmap(jax.random.fold_in, (None, 0))(key, index)
        keys = jax.vmap(jax.random.fold_in, (0, None))(streams, step)
        obs = layout(shown)
        return obs, learner.act(state, obs, keys)

    def value(state: Any, shown: Array) -> Array:
        return learner.value(state, layout(shown))

    return Programs(learner, jax.jit(act), jax.jit(value), jax.jit(learner.learn), jax.jit(layout),
                    measure)  # fmt: skip


# The run ------------------------------------------------------------------------------------------


class HostState(NamedTuple):
    """Everything that determines the rest of a run.

    Attributes:
        learner: weights, optimiser, iterations done. key: of acting and learning.
        iteration: rollouts done. The others: see `Place`.
    """

    learner: Any
    key: Key[Array, ""]
    iteration: int
    game: int
    taken: int
    actions: np.ndarray
    seen: int

    @property
    def place(self) -> Place:
        """Of the environments."""
        return Place(self.game, self.taken, self.actions, self.seen)


@dataclass(frozen=True)
class Cell:
    """One (game, seed): `start` makes its first state, `chunk` goes on to the next measurement."""

    spec: HostSpec
    world: World
    programs: Programs
    hp: Hyper
    probe: Array
    log_shape: tuple[int, ...]
    log_dtype: np.dtype

    def start(self, key: Key[Array, ""]) -> HostState:
        """Weights before the first step, and games at their start."""
        weights, rest = jax.random.split(key)
        self.world.start(0)
        log = np.zeros(self.log_shape, self.log_dtype)
        learner = jax.jit(self.programs.learner.init)(weights)
        return HostState(learner, rest, 0, 0, 0, log, self.world.checksum())

    def chunk(self, state: HostState) -> tuple[HostState, dict[str, np.ndarray]]:
        """Iterations up to the next measurement, and the measurement."""
        self.world.go_to(state.place)
        state = state._replace(actions=state.actions.copy())
        end = next(done for done in self.spec.chunks if done > state.iteration)
        scores: list[float] = []
        rows, logs = None, {}
        while state.iteration < end:
            state, rows, logs = self.iterate(state)
            scores += rows.scores
        assert rows is not None
        key = jax.random.fold_in(state.key, 2)
        last = self.programs.layout(self.world.shown)
        found = self.programs.measure(state.learner, rows.rollout, last, key, self.hp, self.probe)
        numbers = {"games": float(len(scores)), "score_sum": float(sum(scores)),
                   "score_squares": float(sum(x * x for x in scores))}  # fmt: skip
        numbers |= {name: float(x) for name, x in {**logs, **found}.items()}
        state = state._replace(seen=self.world.checksum())
        return state, {name: np.array([x], np.float32) for name, x in numbers.items()}

    def iterate(self, state: HostState) -> tuple[HostState, Rows, dict[str, Array]]:
        """One rollout, and what is learned from it. Writes into `state.actions`."""
        game = state.iteration // self.spec.iterations_a_game
        if game != state.game:
            self.world.start(game)
            state = state._replace(game=game, taken=0)
        acting, learning = (jax.random.fold_in(state.key, i) for i in (0, 1))
        room = state.actions[state.taken : state.taken + self.spec.n_ro]
        step = state.iteration * self.spec.n_ro
        rows = self.world.collect(self.programs, state.learner, acting, step, room)
        key = jax.random.fold_in(learning, state.iteration)
        last = self.programs.layout(self.world.shown)
        learner, logs = self.programs.learn(state.learner, rows.rollout, last, key, self.hp)
        jax.block_until_ready(learner)  # the rollout's room is written again next
        taken = state.taken + self.spec.n_ro
        state = state._replace(learner=learner, iteration=state.iteration + 1, taken=taken)
        return state, rows, logs

    def film(self, state: HostState) -> np.ndarray:
        """Six frames of the first environment, eight decisions apart, at half the resolution."""
        self.world.go_to(state.place)
        key, frames = jax.random.fold_in(state.key, 3), []
        for step in range(FILM_FRAMES * FILM_EVERY):
            if step % FILM_EVERY == 0:
                newest = self.world.shown[0, -1].astype(np.float32)
                frames.append(newest.reshape(42, 2, 42, 2).mean(axis=(1, 3)).round())
            self.world.play(self.programs, state.learner, key, step)
        return np.stack(frames)


def make_cell(
    spec: HostSpec, seed: int, make: Callable[[int, int], HostEnvs] | None = None
) -> Cell:
    """The run of one seed; `make` replaces the suite's environments, for tests."""

    # On a CPU a worker process has one core; beside a GPU the games have all of them.
    threads = 1 if jax.default_backend() == "cpu" else (os.cpu_count() or 1) // spec.env_groups

    def of_suite(n_envs: int, first_seed: int) -> HostEnvs:
        options: dict[str, Any] = {}
        if spec.suite == "atari":
            options = {"autoreset": spec.autoreset, "threads": max(1, threads)}
        return host_envs.make(spec.suite, spec.game, n_envs, first_seed, **options)

    make = make or of_suite
    one = make(1, 0)
    facts = one.facts
    one.close()
    compiled = programs(spec, facts)
    iterations = float(spec.iterations if spec.anneal else "inf")
    hp = hyper(iterations, lr=spec.lr, gamma=spec.gamma, lam=spec.lam, clip=spec.clip, vf=spec.vf,
               ent=spec.ent, max_grad_norm=spec.max_grad_norm)  # fmt: skip
    # Seeds are far apart, so that no two environments of two runs share one.
    world = World(make, spec, (seed, zlib.crc32(spec.game.encode())))
    width = (facts.action_size,) if facts.action_size else ()
    room = (spec.iterations_a_game * spec.n_ro, spec.n_envs, *width)
    probe = probe_states(make, compiled.layout)
    return Cell(spec, world, compiled, hp, probe, room, facts.action_dtype)


def run_host_task(task: Task, run: Run) -> Outcome:
    """Train on the task's game with each of its seeds, one after the other.

    Returns:
        [seed, point] arrays: `curve`, the mean score of the games that ended since the last point
        (NaN where none did), `spread`, their standard deviation, `games`, how many did, and every
        measurement and log by its name;
        [seed]: `final`, the mean score of all games of the last fifth of the run (NaN if none
        ended), `hns`, the same normalised (NaN where human scores are not known); `steps` [seed,
        point], decisions so far; of Atari `film` [seed, 6, 42, 42], what its first environment
        shows as the run goes on.
    """
    spec = host_spec(task.params)
    found = []
    for seed in task.seeds or (0,):
        cell = make_cell(spec, seed)
        start = cell.start(seed_keys((seed,), f"ppo_scaling/{spec.suite}/{spec.game}")[0])
        state, history = run.loop(
            start,
            cell.chunk,
            len(spec.chunks),
            name=f"seed-{seed}",
            unit="points",
        )
        found.append(summary(spec, history))
        if spec.suite == "atari":
            found[-1]["film"] = cell.film(state)
        cell.world.close()
    return {name: np.stack([outcome[name] for outcome in found]) for name in found[0]}


def summary(spec: HostSpec, history: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outcome of one seed, see `run_host_task`."""
    by_name = {name: values[:, 0] for name, values in history.items()}
    sums, squares, games = by_name.pop("score_sum"), by_name.pop("score_squares"), by_name["games"]
    with np.errstate(invalid="ignore", divide="ignore"):
        curve = np.where(games > 0, sums / games, np.nan)
        spread = np.sqrt(np.maximum(squares / games - curve**2, 0))
        late = slice(-max(1, len(games) // 5), None)
        final = sums[late].sum() / games[late].sum()
    scored = spec.suite == "atari" and atari.has_scores(spec.game)
    hns = atari.human_normalised(spec.game, float(final)) if scored else np.nan
    steps = np.array(spec.chunks, np.float64) * spec.batch.batch_size
    result = {
        **by_name,
        "curve": curve,
        "spread": spread,
        "final": final,
        "hns": np.array(hns),
        "steps": steps,
    }
    return {name: np.asarray(value) for name, value in result.items()}
