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
from jaxtyping import Array, Float, Key

from papers.ppo_scaling import envs, networks, train
from papers.ppo_scaling.config import Cell, Config, base_cells, cell_from
from papers.ppo_scaling.envs import Env
from papers.ppo_scaling.measure import measure, probe_states, projected
from papers.ppo_scaling.method import BatchSpec
from papers.ppo_scaling.networks import Net
from papers.ppo_scaling.train import Envs, Learner, LearnState, Rollout, TrainState
from shared.experiment.errors import BadInput
from shared.experiment.spec import Outcome, Run, Task
from shared.gpu.memory import over_seeds_fitted
from shared.gpu.seeds import seed_keys

PQN_LAMBDA, PQN_GRAD_NORM = 0.65, 10.0
FILM_FRAMES, FILM_EVERY = 6, 8
_EVALUATION, _FILM, _GRADIENT = 2**30, 2**30 + 2**29, 2**31
"""Numbers of streams; iterations of training stay below."""


class Agent(NamedTuple):
    """A game and a network on it: what acting, evaluating and filming are compiled for."""

    game: str
    algorithm: Literal["ppo", "pqn"]
    encoder: Literal["shared", "separate"]
    network: Literal["mlp", "minatar", "nature"]
    hidden: tuple[int, ...]
    episodes: int
    in_turn: bool


class Setting(NamedTuple):
    """What training is compiled for; everything else is data (`Hyper`)."""

    agent: Agent
    spec: BatchSpec
    stagger: int
    segment: int
    dummy: bool
    bootstrap_truncation: bool
    iterations_each: int


def setting(config: Config, game: str, cell: Cell) -> Setting:
    """The program of a cell on a game."""
    spec = BatchSpec(cell.n_envs, cell.n_ro, cell.epochs, cell.num_minibatches, cell.hold)
    each = max(1, spec.iterations(config.steps) // config.evaluations)
    network = config.network
    if network == "auto":
        network = "minatar" if config.suite == "minatar" else "mlp"
    image_on_cpu = config.suite == "minatar" and jax.default_backend() == "cpu"
    in_turn = config.seed_axis == "map" or (config.seed_axis == "auto" and image_on_cpu)
    if cell.algorithm == "rnd":
        raise BadInput(f"rnd is for suite atari; got {config.suite}.")
    agent = Agent(game, cell.algorithm, cell.encoder, network, config.hidden,
                  config.evaluation_episodes, in_turn)  # fmt: skip
    return Setting(agent, spec, cell.stagger, cell.segment, cell.dummy,
                   config.bootstrap_truncation, each)  # fmt: skip


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
        `final`, the mean of the last two points; `untrained`, the return before training. Of the
        two cells of C1, for pictures, `points` [seed, 512, 2], states of the last rollout in the
        plane, and `film` [seed, 6, h, w], frames of an episode (MinAtar: 0, or the channel and 1).
    """
    config: Config = run.config
    game, cell = task.params["game"], cell_from(task.params)
    made = setting(config, game, cell)
    programs, played = _programs(made), _played(made.agent)
    hp = hyper(config, cell, made.iterations_each * config.evaluations)
    keys = seed_keys(task.seeds, "ppo_scaling")
    start = _start(programs, played, keys, hp)
    untrained = np.asarray(played.score(start.learner, keys))
    probe = _probe(game)

    def chunk(state: TrainState) -> tuple[TrainState, dict[str, Array]]:
        state, logs = programs.train(state)
        score = played.score(state.learner, keys)
        found = played.measure(state.learner.params, programs.batch(state), keys, state.hp, probe)
        return state, logs | found | {"score": score}

    final, history = run.loop(
        start,
        chunk,
        config.evaluations,
        unit="iterations",
        per_chunk=made.iterations_each,
    )
    curves = {name: np.moveaxis(values, 0, -1) for name, values in history.items()}
    scores = curves.pop("score")
    outcome = {
        **curves,
        "curve": scores,
        "final": scores[:, -2:].mean(axis=1),
        "untrained": untrained,
    }
    if cell in base_cells(config):
        outcome["points"] = np.asarray(jax.vmap(projected)(final.last.obs))
        if final.envs.obs.ndim > 3:
            outcome["film"] = np.asarray(played.film(final.learner, keys))
    return outcome


def _start(
    programs: Programs, played: Played, keys: Key[Array, " seeds"], hp: train.Hyper
) -> TrainState:
    """What `train.make_ppo`'s init gives, over seeds, from programs that many cells share."""
    streams = jax.vmap(lambda key: jax.random.split(key, 3))(keys)
    hp = jax.tree.map(lambda x: jnp.broadcast_to(x, keys.shape), hp)
    learner = played.init(streams[:, 0])
    learner = learner._replace(epsilon=jnp.copy(hp.epsilon_first))  # buffers are donated once
    now = programs.envs(streams[:, 1])
    shapes = jax.eval_shape(programs.rollout, learner, now)
    last = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    return TrainState(learner, now, last, streams[:, 2], hp)


class Played(NamedTuple):
    """Compiled for an agent, each over stacked seeds; the shape of its batches does not matter."""

    init: Callable[[Key[Array, " seeds"]], LearnState]
    measure: Callable[..., dict[str, Array]]
    score: Callable[[LearnState, Key[Array, " seeds"]], Float[Array, " seeds"]]
    film: Callable[[LearnState, Key[Array, " seeds"]], Array]


class Programs(NamedTuple):
    """Compiled for a cell, each over stacked seeds."""

    envs: Callable[[Key[Array, " seeds"]], Envs]
    rollout: Callable[[LearnState, Envs], Rollout]
    train: Callable[[TrainState], tuple[TrainState, dict[str, Array]]]
    batch: Callable[[TrainState], Any]


def network(agent: Agent, env: Env) -> Net:
    """The network of an agent."""
    return networks.make(
        agent.network,
        env.obs_shape,
        env.n_actions,
        encoder=agent.encoder,
        algorithm=agent.algorithm,
        hidden=agent.hidden,
        activation="tanh" if env.name == "cartpole" else "relu",
    )


@functools.lru_cache(maxsize=8)
def _probe(game: str) -> Array:
    """The states on which all configurations are measured; by random actions, before training."""
    key = jax.random.key(0, impl="threefry2x32")
    return jax.jit(functools.partial(probe_states, envs.make(game)))(key)


@functools.lru_cache(maxsize=8)
def _played(agent: Agent) -> Played:
    """Compiled once in a process for all shapes of batches."""
    env = envs.make(agent.game)
    net = network(agent, env)
    learner = train.make_learner(agent.algorithm, net, BatchSpec(4, 4))

    def measured(
        params: Any, data: Any, key: Key[Array, ""], hp: train.Hyper, probe: Array
    ) -> dict[str, Array]:
        key = jax.random.fold_in(key, jnp.uint32(_GRADIENT))
        return measure(env, net, agent.algorithm, params, data, key, hp, probe)

    def over(params: Any, data: Any, keys: Any, hp: Any, probe: Array) -> dict[str, Array]:
        every = _every(agent)
        return every(lambda p, d, k, h: measured(p, d, k, h, probe))(params, data, keys, hp)

    def score(state: LearnState, key: Key[Array, ""]) -> Array:
        key = jax.random.fold_in(key, _EVALUATION)  # the same starts at every evaluation
        return train.evaluate(env, learner, state, key, agent.episodes).mean()

    def shown(state: LearnState, key: Key[Array, ""]) -> Array:
        return film(env, learner, state, jax.random.fold_in(key, _FILM))

    every = _every(agent)
    return Played(
        jax.jit(jax.vmap(learner.init)),
        jax.jit(over),
        jax.jit(every(score)),
        jax.jit(every(shown)),
    )


@functools.lru_cache(maxsize=4)
def _programs(made: Setting) -> Programs:
    """Compiled once in a process for all blocks and cells that differ in numbers and seeds only."""
    agent = made.agent
    plain = envs.make(agent.game)
    env = train.legacy_envpool_dummy(plain) if made.dummy else plain
    net = network(agent, plain)
    how: dict[str, Any] = {
        "bootstrap_truncation": made.bootstrap_truncation,
        "segment": made.segment or None,
    }
    learner = train.make_learner(agent.algorithm, net, made.spec, **how)
    how["algorithm"] = agent.algorithm

    batch = train.make_batch(agent.algorithm, net, made.bootstrap_truncation, made.segment or None)

    def worlds(key: Key[Array, ""]) -> Envs:
        return train.start_envs(env, key, made.spec.n_envs, made.stagger)

    def rollout(state: LearnState, now: Envs) -> Rollout:
        return train.collect(env, learner, state, now, made.spec.n_ro)[1]

    def chunk(state: TrainState) -> tuple[TrainState, dict[str, Array]]:
        _, update = train.make_ppo(env, net, made.spec, state.hp, **how)
        state, logs = jax.lax.scan(lambda s, _: update(s), state, None, made.iterations_each)
        sums = {name: logs.pop(name).sum() for name in ("return_sum", "episodes")}
        return state, {name: x.mean() for name, x in logs.items()} | sums

    def data(state: TrainState) -> Any:
        return batch(state.learner, state.last, state.envs.obs, state.hp)

    turn = jax.jit(_every(agent)(chunk), donate_argnums=0)
    return Programs(
        jax.jit(jax.vmap(worlds)),
        jax.vmap(rollout),
        turn if agent.in_turn else over_seeds_fitted(chunk),
        jax.jit(jax.vmap(data)),
    )


def _every(agent: Agent) -> Callable[..., Any]:
    """Seeds in turn, or side by side."""
    if not agent.in_turn:
        return jax.vmap
    return lambda f: lambda *xs: jax.lax.map(lambda x: f(*x), xs)


def film(env: Env, learner: Learner, state: LearnState, key: Key[Array, ""]) -> Array:
    """Frames of an episode, for a picture: [6, h, w], 0 or the topmost channel and one."""
    now = train.start_envs(env, key, 1)

    def step(carry: tuple[Any, Array], t: Array) -> tuple[tuple[Any, Array], Array]:
        world, obs = carry
        act, move = jax.random.split(jax.random.fold_in(now.keys[0], t))
        acted = learner.act(state, obs, act[None])
        new = jax.vmap(env.step)(world, acted.actions, move[None])
        return (new.state, new.obs), obs[0]

    times = jnp.arange(FILM_FRAMES * FILM_EVERY, dtype=jnp.uint32)
    _, frames = jax.lax.scan(step, (now.state, now.obs), times)
    shown = frames[::FILM_EVERY]
    order = jnp.arange(1, shown.shape[-1] + 1, dtype=jnp.int32)
    return jnp.max(shown.astype(jnp.int32) * order, axis=-1).astype(jnp.float32)
