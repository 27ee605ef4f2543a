"""One task of an experiment: a learner on a control task, evaluated as it learns."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from papers.sfm import cloning, train
from papers.sfm.config import NEEDS_ACTIONS, Config
from papers.sfm.demos import Demo, stack_states
from papers.sfm.hosted import Hosted
from papers.sfm.inverse_q import GaussianNetworks, IQLearn, with_actions
from papers.sfm.matching import SFM, Demos
from papers.sfm.method import base_features
from papers.sfm.optimisers import TD3, Rates, optimiser
from papers.sfm.pointmass import PointMass
from papers.sfm.rewarded import Discriminated, TaskReward
from papers.sfm.train import Kept, Learner, Plan, TrainState, Trial
from papers.sfm.worlds import MujocoWorld, PointMassWorld, demonstrations, uniform, world
from shared.experiment.spec import Outcome, Run, Task
from shared.gpu.memory import over_seeds_fitted
from shared.gpu.seeds import seed_keys

Metrics = dict[str, Any]


def learner_of(config: Config, name: str, length: int = 200) -> Learner:
    """The learner of this name (`config.LEARNERS` but for cloning, or task-td3, task-td7)."""
    kind, _, rules = name.partition("-")
    if kind == "iq":
        rates = Rates(config.rate_td3, config.rate_td3, policy_delay=1)
        networks = GaussianNetworks(1, config.hidden)
        return IQLearn(TD3(networks, rates), config.gamma_td7, config.batch)
    rate = config.rate_td7 if rules == "td7" else config.rate_td3
    rates = Rates(rate, rate, config.encoder_rate)
    if kind == "sfm":
        return SFM(
            optimiser(rules, config.feature_dim, config.hidden, rates),
            base_features(config.features, config.feature_dim, config.feature_hidden),
            gamma=config.gamma_td7 if rules == "td7" else config.gamma_td3,
            batch=config.batch,
            feature_rate=getattr(config, f"feature_rate_{rules}"),
            estimator=config.estimator,
            debias=config.debias,
            fix=config.fix,
        )
    core = optimiser(rules, 1, config.hidden, rates)
    if kind == "task":
        return TaskReward(core, config.gamma_td7, config.batch)
    moves = config.steps // (length * config.discriminator_every) * config.discriminator_steps
    return Discriminated(
        core,
        config.gamma_td7,
        config.batch,
        pairs=kind == "gaifo",
        every=config.discriminator_every,
        steps=config.discriminator_steps,
        samples=config.discriminator_samples,
        decay_steps=max(1, moves),
        hidden=config.hidden,
    )


def plan_of(config: Config, learner: Learner, length: int) -> Plan:
    """The run's static numbers, in episodes of `length` steps."""
    return Plan(
        length=length,
        random_episodes=max(1, config.random_steps // length),
        relax_episodes=config.relax_steps // length if isinstance(learner, SFM) else None,
        noise=config.noise,
        capacity=max(1, min(config.replay_steps, config.steps) // length),
        evaluations=config.evaluation_episodes,
    )


def seen_states(demos: list[list[Demo]]) -> Float[Array, "seeds M T s"]:
    """The states that each seed sees."""
    return jnp.asarray(np.stack([stack_states(ours) for ours in demos]))


def seen_actions(demos: list[list[Demo]]) -> Float[Array, "seeds M L a"]:
    """The actions, for those who need them; ValueError where there are none."""
    return jnp.asarray(np.stack([[demo.actions() for demo in ours] for ours in demos]))


# --- Learners that interact -----------------------------------------------------------------------


def imitate(config: Config, task: Task, run: Run) -> Outcome:
    """Train on all seeds of the task.

    Returns:
        Arrays with the seeds first: `curve` [seed, evaluation], mean reward a step of the kept
        policy; `newest`, the same of the newest one; `gap`, its `train.occupancy_gap`; `score`,
        the mean of the last evaluations of `curve`; on the point mass `path` [seed, T, 2],
        positions in one episode of the final policy; elsewhere `film` [seed, moment, n],
        MuJoCo's states at a few moments of one.
    """
    name, here = task.params["learner"], world(task.params["task"])
    if name in ("bc", "bco"):
        return clone(config, task, run)
    learner = learner_of(config, name, here.length)
    plan = plan_of(config, learner, here.length)
    per_chunk = max(1, config.steps // (here.length * config.evaluations))
    demos = demonstrations(config, here.name, task.seeds)
    start = _start(learner, plan, here.obs_dim, here.act_dim)(seed_keys(task.seeds, f"sfm/{name}"))
    if name in NEEDS_ACTIONS:
        start = with_actions(start, seen_actions(demos))
    if isinstance(here, PointMassWorld):
        step = _compiled_step(learner, plan, here.env, per_chunk)
    else:
        step = _hosted_step(learner, plan, here.name, per_chunk)
    final, history = run.loop(
        Trial(start, seen_states(demos)),
        step,
        config.evaluations,
        per_chunk=per_chunk * here.length,
    )
    found = {key: np.moveaxis(history[key], 0, -1) for key in ("curve", "newest", "gap")}
    found["score"] = found["curve"][:, -config.average_last :].mean(axis=-1)
    return found | _shown(here, learner, final.train)


@functools.lru_cache(maxsize=4)
def _start(
    learner: Learner, plan: Plan, obs_dim: int, act_dim: int
) -> Callable[[Key[Array, " seeds"]], TrainState]:
    return jax.jit(jax.vmap(functools.partial(train.init, learner, plan, obs_dim, act_dim)))


@functools.lru_cache(maxsize=4)
def _compiled_step(
    learner: Learner, plan: Plan, env: PointMass, episodes: int
) -> Callable[[Trial], tuple[Trial, Metrics]]:
    """Episodes, updates and evaluation as one program; compiled once for all blocks of seeds."""

    def step(trial: Trial) -> tuple[Trial, Metrics]:
        state, metrics = train.chunk(learner, plan, env, trial.train, trial.demos, episodes)
        both = jax.tree.map(lambda *p: jnp.stack(p), state.kept, train.newest_policy(state))

        def measure(policy: Kept) -> Metrics:
            act = functools.partial(_exploit(learner), policy)
            key = train.evaluation_key(state)
            found = train.episodes_of(env, act, key, plan.evaluations)
            return train.measures(found, trial.demos)

        found = jax.vmap(measure)(both)
        metrics |= {name: values[0] for name, values in found.items()}
        return Trial(state, trial.demos), metrics | {"newest": found["curve"][1]}

    return over_seeds_fitted(step)


@functools.lru_cache(maxsize=4)
def _hosted_step(
    learner: Learner, plan: Plan, task: str, episodes: int
) -> Callable[[Trial], tuple[Trial, Metrics]]:
    here = world(task)
    assert isinstance(here, MujocoWorld)
    return Hosted(learner, plan, here, episodes, _exploit(learner)).step


@functools.lru_cache(maxsize=8)
def _exploit(learner: Learner) -> Callable[[Kept, Array, Array], Array]:
    """One function object for each learner, so that what is compiled for it is found again."""
    return lambda kept, obs, key: train.exploit(learner, kept, obs)


def _shown(
    here: PointMassWorld | MujocoWorld, learner: Learner, final: TrainState
) -> dict[str, np.ndarray]:
    keys = jax.vmap(train.evaluation_key)(final)
    if not isinstance(here, PointMassWorld):
        return {"film": here.film(_exploit(learner), final.kept, keys)}
    episodes = here.episodes(_exploit(learner), final.kept, keys, 1)
    return {"path": np.asarray(episodes.obs[:, 0, :, :2])}


# --- Learners that do not, and yardsticks ---------------------------------------------------------


class Cloning(NamedTuple):
    """What a cloning run goes by: states, and the actions to fit (guessed ones for BCO)."""

    key: Key[Array, ""]
    demos: Demos
    actions: Float[Array, "M L a"]
    random: train.Episode
    params: Any


def clone(config: Config, task: Task, run: Run) -> Outcome:
    """BC and BCO, as `imitate`; their curves have one point."""
    name, here = task.params["learner"], world(task.params["task"])
    demos = demonstrations(config, here.name, task.seeds)
    keys = jax.vmap(lambda key: jax.random.split(key, 3))(seed_keys(task.seeds, f"sfm/{name}"))
    number = max(1, config.random_steps // here.length) if name == "bco" else 1
    states = seen_states(demos)
    actions = jnp.zeros((*states.shape[:2], states.shape[2] - 1, here.act_dim), jnp.float32)
    if name in NEEDS_ACTIONS:
        actions = seen_actions(demos)
    random = here.episodes(uniform(here.act_dim), (), keys[:, 0], number)
    program = _cloning(name == "bco", config.clone_steps, config.hidden)
    params = program.blank(keys[:, 1], states, actions)
    start = Cloning(keys[:, 1], states, actions, random, params)
    final, _ = run.loop(start, program.fit, 1, per_chunk=config.clone_steps)
    episodes = here.episodes(_cloned, final.params, keys[:, 2], config.evaluation_episodes)
    found = jax.tree.map(np.asarray, jax.jit(jax.vmap(train.measures))(episodes, final.demos))
    curve, gap = found["curve"], found["gap"]
    outcome = {"curve": curve[:, None], "newest": curve[:, None], "gap": gap[:, None]}
    if isinstance(here, PointMassWorld):
        outcome["path"] = np.asarray(episodes.obs[:, 0, :, :2])
    return outcome | {"score": curve}


def _cloned(params: Any, obs: Array, key: Array) -> Array:
    return cloning.tanh_policy(params, obs)


class CloningProgram(NamedTuple):
    """Compiled over seeds: parameters of the right shapes, and the fit."""

    blank: Callable[..., Any]
    fit: Callable[[Cloning], tuple[Cloning, Metrics]]


@functools.lru_cache(maxsize=4)
def _cloning(guess: bool, steps: int, hidden: int) -> CloningProgram:
    fit = functools.partial(cloning.clone, steps=steps, hidden=hidden)

    def run(start: Cloning) -> tuple[Cloning, Metrics]:
        k_inverse, k_fit = jax.random.split(start.key)
        actions = start.actions.reshape(-1, start.actions.shape[-1])
        if guess:
            seen = start.random
            actions = cloning.guessed_actions(k_inverse, seen.obs, seen.action, start.demos, fit)
        states = start.demos[:, :-1].reshape(-1, start.demos.shape[-1])
        params, loss = fit(k_fit, states, actions)
        return start._replace(params=params), {"loss": loss}

    def blank(keys: Key[Array, " seeds"], states: Array, actions: Array) -> Any:
        shape = jax.eval_shape(fit, keys[0], states[0, 0], actions[0, 0])[0]
        return jax.tree.map(lambda leaf: jnp.zeros((len(keys), *leaf.shape), leaf.dtype), shape)

    return CloningProgram(blank, over_seeds_fitted(run))


def reference(config: Config, task: Task) -> Outcome:
    """What no learning gives, per seed: a random policy and the expert, by the same measures.

    The expert acts anew where it is at hand (point mass); elsewhere its demonstrations are scored.
    """
    here = world(task.params["task"])
    demos = demonstrations(config, here.name, task.seeds)
    states = seen_states(demos)
    keys = jax.vmap(jax.random.split)(seed_keys(task.seeds, "sfm/reference"))
    number = config.evaluation_episodes
    measure = jax.jit(jax.vmap(train.measures))
    random = here.episodes(uniform(here.act_dim), (), keys[:, 0], number)
    found = {"random": measure(random, states)}
    paths = {}
    if isinstance(here, PointMassWorld):
        expert = here.episodes(lambda _, obs, key: here.env.expert(obs), (), keys[:, 1], number)
        found["expert"] = measure(expert, states)
        both = {"random": random, "expert": expert}
        paths = {f"{k}/path": np.asarray(e.obs[:, 0, :, :2]) for k, e in both.items()}
    else:
        rewards = [[demo.reward for demo in ours] for ours in demos]
        scores = [np.mean([np.mean(r) for r in ours if r is not None]) for ours in rewards]
        found["expert"] = {"curve": np.asarray(scores), "gap": np.zeros(len(demos))}
        films = [ours[0].physics for ours in demos]
        if all(film is not None for film in films):
            paths = {"film": np.stack([film for film in films if film is not None])}
    named = {"curve": "score", "gap": "gap"}
    return paths | {
        f"{kind}/{named[name]}": np.asarray(values)
        for kind, measures in found.items()
        for name, values in measures.items()
    }
