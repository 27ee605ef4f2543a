"""One training task on environments that run inside the program: a cell on a game, with its seeds.

Deviation: a point of a learning curve is the mean return of fresh episodes, played to their ends by
the policy as it acts; CleanRL logs the episodes that end during training. With 1,024 environments
and 262,144 steps each takes 256 only, and whatever ended by then was short.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from papers.ppo_scaling import envs, networks, train
from papers.ppo_scaling.config import Cell, Config, cell_from
from papers.ppo_scaling.envs import Env
from papers.ppo_scaling.measure import measure, probe_states, projected
from papers.ppo_scaling.method import BatchSpec
from papers.ppo_scaling.networks import Net
from papers.ppo_scaling.train import Learner, TrainState
from shared.experiment.spec import Outcome, Run, Task
from shared.gpu.memory import over_seeds_fitted
from shared.gpu.seeds import seed_keys

PQN_LAMBDA, PQN_GRAD_NORM = 0.65, 10.0
FILM_FRAMES, FILM_EVERY = 6, 8
_EVALUATION, _FILM = 2**30, 2**30 + 2**29
"""Numbers of streams; iterations of training stay below."""


class Setting(NamedTuple):
    """What a program is compiled for; everything else is data (`Hyper`)."""

    game: str
    n_envs: int
    n_ro: int
    epochs: int
    num_minibatches: int
    hold: Literal["num_minibatches", "minibatch_size"]
    algorithm: Literal["ppo", "pqn"]
    encoder: Literal["shared", "separate"]
    stagger: int
    segment: int
    dummy: bool
    network: str
    hidden: tuple[int, ...]
    bootstrap_truncation: bool
    iterations_each: int
    episodes: int
    seed_axis: Literal["vmap", "map"]

    @property
    def spec(self) -> BatchSpec:
        """The shape of a batch."""
        return BatchSpec(self.n_envs, self.n_ro, self.epochs, self.num_minibatches, self.hold)


def setting(config: Config, game: str, cell: Cell) -> Setting:
    """The program of a cell on a game."""
    spec = BatchSpec(cell.n_envs, cell.n_ro, cell.epochs, cell.num_minibatches, cell.hold)
    each = max(1, spec.iterations(config.steps) // config.evaluations)
    network = config.network
    if network == "auto":
        network = "minatar" if config.suite == "minatar" else "mlp"
    axis = config.seed_axis
    if axis == "auto":
        image = config.suite == "minatar" and jax.default_backend() == "cpu"
        axis = "map" if image else "vmap"
    shape = (cell.n_envs, cell.n_ro, cell.epochs, cell.num_minibatches, cell.hold)
    how = (cell.algorithm, cell.encoder, cell.stagger, cell.segment, cell.dummy)
    return Setting(game, *shape, *how, network, config.hidden, config.bootstrap_truncation, each,
                   config.evaluation_episodes, axis)  # fmt: skip


def hyper(config: Config, cell: Cell, iterations: int) -> train.Hyper:
    """The numbers of a cell."""
    pqn = cell.algorithm == "pqn"
    return train.hyper(
        iterations,
        lr=cell.lr,
        gamma=cell.gamma,
        lam=PQN_LAMBDA if pqn else config.lam,
        clip=config.number("clip"),
        ent=config.number("ent"),
        max_grad_norm=PQN_GRAD_NORM if pqn else 0.5,
    )


def run_trial(task: Task, run: Run) -> Outcome:
    """Train a cell on a game with all seeds of the task.

    Returns:
        [seed, point]: `curve`, the mean return of each evaluation, and every measurement; [seed]:
        `final`, the mean of the last two points; `untrained`, the return before training. For
        pictures, `points` [seed, 512, 2], states of the last rollout in the plane, and `film`
        [seed, 6, h, w], frames of an episode (MinAtar: 0, or the channel and one).
    """
    config: Config = run.config
    game, cell = task.params["game"], cell_from(task.params)
    made = setting(config, game, cell)
    programs = _programs(made)
    hp = hyper(config, cell, made.iterations_each * config.evaluations)
    state = programs.start(seed_keys(task.seeds, "ppo_scaling"), hp)
    untrained = programs.score(state)
    probe = programs.probe(jax.random.key(0, impl="threefry2x32"))

    def chunk(state: TrainState) -> tuple[TrainState, dict[str, Array]]:
        state, logs = programs.train(state)
        return state, logs | programs.measure(state, probe) | {"score": programs.score(state)}

    final, history = run.loop(
        state,
        chunk,
        config.evaluations,
        unit="iterations",
        per_chunk=made.iterations_each,
    )
    curves = {name: np.moveaxis(values, 0, -1) for name, values in history.items()}
    scores = curves.pop("score")
    points, film = programs.picture(final)
    return {
        **curves,
        "curve": scores,
        "final": scores[:, -2:].mean(axis=1),
        "untrained": np.asarray(untrained),
        "points": np.asarray(points),
        "film": np.asarray(film),
    }


class Programs(NamedTuple):
    """Compiled, each over stacked seeds."""

    start: Callable[[Key[Array, " seeds"], train.Hyper], TrainState]
    train: Callable[[TrainState], tuple[TrainState, dict[str, Array]]]
    score: Callable[[TrainState], Array]
    probe: Callable[[Key[Array, ""]], Array]
    measure: Callable[[TrainState, Array], dict[str, Array]]
    picture: Callable[[TrainState], tuple[Array, Array]]


def network(made: Setting, env: Env) -> Net:
    """The network of a setting."""
    return networks.make(
        made.network,
        env.obs_shape,
        env.n_actions,
        encoder=made.encoder,
        algorithm=made.algorithm,
        hidden=made.hidden,
        activation="tanh" if env.name == "cartpole" else "relu",
    )


@functools.lru_cache(maxsize=4)
def _programs(made: Setting) -> Programs:
    """Compiled once in a process for all blocks and cells that differ in numbers and seeds only."""
    plain = envs.make(made.game)
    env = train.legacy_envpool_dummy(plain) if made.dummy else plain
    net = network(made, plain)
    segment = made.segment or None
    how: dict[str, Any] = {"bootstrap_truncation": made.bootstrap_truncation, "segment": segment}
    learner = train.make_learner(made.algorithm, net, made.spec, **how)

    def start(key: Key[Array, ""], hp: train.Hyper) -> TrainState:
        init, _ = train.make_ppo(env, net, made.spec, hp, algorithm=made.algorithm,
                                 stagger=made.stagger, **how)  # fmt: skip
        return init(key)

    def chunk(state: TrainState) -> tuple[TrainState, dict[str, Array]]:
        _, update = train.make_ppo(env, net, made.spec, state.hp, algorithm=made.algorithm, **how)
        state, logs = jax.lax.scan(lambda s, _: update(s), state, None, made.iterations_each)
        sums = {name: logs.pop(name).sum() for name in ("return_sum", "episodes")}
        return state, {name: x.mean() for name, x in logs.items()} | sums

    def score(state: TrainState) -> Array:
        key = jax.random.fold_in(state.key, _EVALUATION)  # the same starts at every evaluation
        return train.evaluate(plain, learner, state.learner, key, made.episodes).mean()

    def measured(state: TrainState, probe: Array) -> dict[str, Array]:
        return measure(plain, net, learner, state, probe)

    def picture(state: TrainState) -> tuple[Array, Array]:
        return projected(state.last.obs), film(plain, learner, state)

    every = (lambda f: lambda *xs: jax.lax.map(lambda x: f(*x), xs)) \
        if made.seed_axis == "map" else jax.vmap  # fmt: skip
    mapped = jax.jit(every(chunk), donate_argnums=0)
    return Programs(
        jax.jit(jax.vmap(start, (0, None))),
        mapped if made.seed_axis == "map" else over_seeds_fitted(chunk),
        jax.jit(every(score)),
        jax.jit(lambda key: probe_states(plain, key)),
        jax.jit(lambda state, probe: every(lambda s: measured(s, probe))(state)),
        jax.jit(jax.vmap(picture)),
    )


def film(env: Env, learner: Learner, state: TrainState) -> Array:
    """Frames of an episode of the agent, for a picture: [6, h, w] int8, or [6, d] as they are."""
    key = jax.random.fold_in(state.key, _FILM)
    now = train.start_envs(env, key, 1)

    def step(carry: tuple[Any, Array], t: Array) -> tuple[tuple[Any, Array], Array]:
        world, obs = carry
        act, move = jax.random.split(jax.random.fold_in(now.keys[0], t))
        acted = learner.act(state.learner, obs, act[None])
        new = jax.vmap(env.step)(world, acted.actions, move[None])
        return (new.state, new.obs), obs[0]

    times = jnp.arange(FILM_FRAMES * FILM_EVERY, dtype=jnp.uint32)
    _, frames = jax.lax.scan(step, (now.state, now.obs), times)
    shown = frames[::FILM_EVERY]
    if shown.ndim < 4:
        return shown.astype(jnp.float32)
    order = jnp.arange(1, shown.shape[-1] + 1, dtype=jnp.int32)
    return jnp.max(shown.astype(jnp.int32) * order, axis=-1).astype(jnp.float32)
