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
from papers.sfm.config import NEEDS_ACTIONS, POINT_MASS, Config
from papers.sfm.demos import Demo, load_demo, stack_states
from papers.sfm.inverse_q import GaussianNetworks, IQLearn, with_actions
from papers.sfm.matching import SFM, Demos
from papers.sfm.method import base_features
from papers.sfm.optimisers import TD3, Rates, optimiser
from papers.sfm.pointmass import PointMass, rollout
from papers.sfm.rewarded import Discriminated, TaskReward
from papers.sfm.train import Learner, Plan, TrainState
from shared.experiment.errors import BadInput
from shared.experiment.spec import Outcome, Run, Task
from shared.gpu.memory import over_seeds_fitted
from shared.gpu.seeds import seed_keys

Keys = Key[Array, " seeds"]
Metrics = dict[str, Any]


class Trial(NamedTuple):
    """One seed's run: its state, and the demonstrations it imitates (data, not program)."""

    train: TrainState
    demos: Demos


def learner_of(config: Config, name: str) -> Learner:
    """The learner of this name (`config.LEARNERS` but for cloning, or task-td3, task-td7)."""
    kind, _, rules = name.partition("-")
    if kind == "iq":
        rates = Rates(config.rate_td3, config.rate_td3, policy_delay=1)
        return IQLearn(
            TD3(GaussianNetworks(1, config.hidden), rates), config.gamma_td7, config.batch
        )
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
    updates = config.steps // (PointMass().length * config.discriminator_every)
    return Discriminated(
        core,
        config.gamma_td7,
        config.batch,
        pairs=kind == "gaifo",
        every=config.discriminator_every,
        steps=config.discriminator_steps,
        samples=config.discriminator_samples,
        decay_steps=max(1, updates * config.discriminator_steps),
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


def demonstrations(config: Config, task: str, seeds: tuple[int, ...]) -> list[list[Demo]]:
    """For each seed the demonstrations that it sees: seed k begins with demonstration k."""
    if task != POINT_MASS:
        raise BadInput(f"tasks: {task} is not built in yet; {POINT_MASS} is.")
    env = PointMass()
    if config.demo is not None:
        demo = load_demo(config.demo, env.obs_dim, env.act_dim)
        return [[demo] * config.demos for _ in seeds]
    return [[_recorded(seed, i) for i in range(config.demos)] for seed in seeds]


def _recorded(seed: int, index: int) -> Demo:
    """An episode of the point mass's exact expert."""
    key = jax.random.fold_in(seed_keys((seed,), "sfm/demonstrations")[0], index)
    episode = _expert_episode(key)
    obs, act, reward = (np.asarray(x) for x in episode)
    total = float(reward.sum())
    return Demo(obs, act, reward, task=POINT_MASS, source="exact expert", recorded_return=total)


@jax.jit
def _expert_episode(key: Key[Array, ""]) -> train.Episode:
    env = PointMass()
    return rollout(env, lambda obs, _: env.expert(obs), key)


# --- Learners that interact -----------------------------------------------------------------------


def imitate(config: Config, task: Task, run: Run) -> Outcome:
    """Train on all seeds of the task.

    Returns:
        Arrays with the seeds first: `curve` [seed, evaluation], mean reward a step of the kept
        policy; `newest`, the same of the newest one; `gap`, its distance to the demonstration by
        `train.occupancy_gap`; `score`, the mean of the last evaluations of `curve`; `path`
        [seed, T, 2], positions of one episode of the final policy.
    """
    name, env = task.params["learner"], PointMass()
    if name in ("bc", "bco"):
        return clone(config, task, run)
    learner = learner_of(config, name)
    plan = plan_of(config, learner, env.length)
    per_chunk = max(1, config.steps // (env.length * config.evaluations))
    program = _program(learner, plan, env, per_chunk)
    demos = demonstrations(config, task.params["task"], task.seeds)
    start = program.start(seed_keys(task.seeds, f"sfm/{name}"))
    if name in NEEDS_ACTIONS:
        actions = np.stack([[demo.actions() for demo in ours] for ours in demos])
        start = with_actions(start, jnp.asarray(actions))
    states = jnp.asarray(np.stack([stack_states(ours) for ours in demos]))
    final, history = run.loop(
        Trial(start, states),
        program.step,
        config.evaluations,
        per_chunk=per_chunk * env.length,
    )
    return _outcome(config, history) | {"path": np.asarray(program.path(final))}


def _outcome(config: Config, history: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    names = ("curve", "newest", "gap")
    found = {name: np.moveaxis(history[name], 0, -1) for name in names}
    return found | {"score": found["curve"][:, -config.average_last :].mean(axis=-1)}


class Program(NamedTuple):
    """The compiled programs of one kind of trial, each over stacked seeds."""

    start: Callable[[Keys], TrainState]
    step: Callable[[Trial], tuple[Trial, Metrics]]
    path: Callable[[Trial], Float[Array, "seeds T 2"]]


@functools.lru_cache(maxsize=4)
def _program(learner: Learner, plan: Plan, env: PointMass, episodes: int) -> Program:
    """Compiled once in a process for all blocks of seeds."""

    def step(trial: Trial) -> tuple[Trial, Metrics]:
        state, metrics = train.chunk(learner, plan, env, trial.train, trial.demos, episodes)
        newest = train.Kept(state.core.nets.actor, state.core.slow.encoder)
        both = jax.tree.map(lambda *policies: jnp.stack(policies), state.kept, newest)

        def measure(policy: train.Kept) -> Metrics:
            episodes = train.episodes_of(
                env,
                lambda obs, _: train.exploit(learner, policy, obs),
                train.evaluation_key(state),
                plan.evaluations,
            )
            return train.measures(episodes, trial.demos)

        found = jax.vmap(measure)(both)
        metrics |= {name: values[0] for name, values in found.items()}
        return Trial(state, trial.demos), metrics | {"newest": found["curve"][1]}

    def path(trial: Trial) -> Float[Array, "T 2"]:
        kept, key = trial.train.kept, train.evaluation_key(trial.train)
        episode = rollout(env, lambda obs, _: train.exploit(learner, kept, obs), key)
        return episode.obs[:, :2]

    start = functools.partial(train.init, learner, plan, env.obs_dim, env.act_dim)
    return Program(jax.jit(jax.vmap(start)), over_seeds_fitted(step), jax.jit(jax.vmap(path)))


# --- Learners that do not, and yardsticks ---------------------------------------------------------


class Cloning(NamedTuple):
    """What a cloning run starts from; `actions` are the expert's, or zeros, which BCO replaces."""

    key: Key[Array, ""]
    demos: Demos
    actions: Float[Array, "M L a"]


def clone(config: Config, task: Task, run: Run) -> Outcome:
    """BC and BCO, as `imitate`; their curves have one point."""
    name, env = task.params["learner"], PointMass()
    demos = demonstrations(config, task.params["task"], task.seeds)
    states = np.stack([stack_states(ours) for ours in demos])
    seeds, number, length, _ = states.shape
    actions = np.zeros((seeds, number, length - 1, env.act_dim), np.float32)
    if name in NEEDS_ACTIONS:
        actions = np.stack([[demo.actions() for demo in ours] for ours in demos])
    program = _cloning(
        name == "bco", env, max(1, config.random_steps // env.length), config.clone_steps,
        config.hidden, config.evaluation_episodes,
    )  # fmt: skip
    keys = seed_keys(task.seeds, f"sfm/{name}")
    start = Cloning(keys, jnp.asarray(states), jnp.asarray(actions))
    _, history = run.loop(start, program, 1, per_chunk=config.clone_steps)
    found = {key: np.moveaxis(values, 0, -1) for key, values in history.items() if key != "path"}
    return found | {"score": found["curve"][:, -1], "path": history["path"][-1]}


@functools.lru_cache(maxsize=4)
def _cloning(
    guess: bool, env: PointMass, random: int, steps: int, hidden: int, evaluations: int
) -> Callable[[Cloning], tuple[Cloning, Metrics]]:
    fit = functools.partial(cloning.clone, steps=steps, hidden=hidden)

    def step(start: Cloning) -> tuple[Cloning, Metrics]:
        k_random, k_inverse, k_fit, k_evaluate = jax.random.split(start.key, 4)
        actions = start.actions.reshape(-1, env.act_dim)
        if guess:
            seen = train.episodes_of(env, uniform_policy(env.act_dim), k_random, random)
            actions = cloning.guessed_actions(k_inverse, seen.obs, seen.action, start.demos, fit)
        states = start.demos[:, :-1].reshape(-1, env.obs_dim)
        params, loss = fit(k_fit, states, actions)
        episodes = train.episodes_of(
            env, lambda obs, _: cloning.tanh_policy(params, obs), k_evaluate, evaluations
        )
        found = train.measures(episodes, start.demos)
        extra = {"loss": loss, "newest": found["curve"], "path": episodes.obs[0, :, :2]}
        return start, found | extra

    return over_seeds_fitted(step)


def uniform_policy(act_dim: int) -> train.Policy:
    """Uniform actions in [-1, 1]."""

    def act(obs: Array, key: Key[Array, ""]) -> Array:
        return jax.random.uniform(key, (act_dim,), obs.dtype, -1, 1)

    return act


def reference(config: Config, task: Task) -> Outcome:
    """What no learning gives, per seed: a random policy and the expert, by the same measures."""
    env = PointMass()
    demos = demonstrations(config, task.params["task"], task.seeds)
    states = jnp.asarray(np.stack([stack_states(ours) for ours in demos]))

    @jax.jit
    @jax.vmap
    def measure(key: Key[Array, ""], demos: Demos) -> Metrics:
        k_random, k_expert = jax.random.split(key)
        policies = {
            "random": (uniform_policy(env.act_dim), k_random),
            "expert": (lambda obs, _: env.expert(obs), k_expert),
        }
        found = {}
        for name, (policy, k) in policies.items():
            episodes = train.episodes_of(env, policy, k, config.evaluation_episodes)
            values = train.measures(episodes, demos)
            found |= {f"{name}/score": values["curve"], f"{name}/gap": values["gap"]}
            found[f"{name}/path"] = episodes.obs[0, :, :2]
        return found

    found = measure(seed_keys(task.seeds, "sfm/reference"), states)
    return {name: np.asarray(values) for name, values in found.items()}
