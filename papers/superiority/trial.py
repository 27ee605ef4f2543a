"""One training task: an agent on an asset at a frequency, evaluated as it learns."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from papers.superiority.agents import AgentSpec, agent, decision_laws
from papers.superiority.config import Config
from papers.superiority.env import OptionEnv
from papers.superiority.market import market
from papers.superiority.method import CVaR, Mean
from papers.superiority.train import TrainState, evaluate, init_train, train_chunk
from shared.experiment.spec import Outcome, Run, Task
from shared.gpu.memory import over_seeds_fitted
from shared.gpu.seeds import seed_keys


def agent_spec(config: Config, task: Task) -> AgentSpec:
    """The agent of a task with the settings of its run."""
    alpha = task.params.get("alpha", 1.0)
    risk = Mean()
    if task.params["kind"] == "risk":
        risk = CVaR(alpha, exact=config.risk_weights == "exact", order=config.risk_order)
    return agent(
        task.params["agent"],
        frequency=task.params["omega"],
        risk=risk,
        kappa=config.kappa,
        atoms=config.atoms,
        discount=config.discount,
        learning_rate=config.learning_rate,
        batch_size=config.batch_size,
        replay_capacity=config.replay_capacity,
        target_period=config.target_period,
        epsilon_final=config.epsilon_final,
        epsilon_updates=config.epsilon_updates,
    )


class Trial(NamedTuple):
    """One seed's run: training state and the price law it trades on.

    The law is data, not part of the program, so that one program serves all assets.
    """

    train: TrainState
    env: OptionEnv


def train(config: Config, task: Task, run: Run) -> Outcome:
    """Train on all seeds of the task.

    Returns:
        `curve` [seed, evaluation]: mean undiscounted return of each evaluation; and, as means over
        the last `average_last` evaluations, [seed]: `score` (undiscounted), `discounted`, `cvar`
        (at the level trained for, 1 where none). Of the final agent, [seed]: `heldout`, its return
        on the price law of other years; `laws` [seed, A, m], the quantiles by which it ranks its
        actions at t = 0, x = 1; `gap`, how far apart the two are, see `law_gap`, and
        `untrained_gap`, the same before training.
    """
    law = market(config, task.params["asset"])
    env = OptionEnv(jnp.float32(law.drift), jnp.float32(law.volatility), clock=config.clock)
    programs = _programs(
        agent_spec(config, task),
        config.updates_per_evaluation,
        config.evaluation_episodes,
        task.params.get("alpha", 1.0),
    )

    def chunk(trial: Trial) -> tuple[Trial, dict[str, Array]]:
        trial, metrics = programs.train(trial)
        trial, scores = programs.evaluate(trial)
        return trial, metrics | scores

    # The keys are the same for every agent, so that runs are paired by seed.
    start = programs.start(seed_keys(task.seeds, "superiority"), env)
    untrained = np.asarray(programs.laws(start))
    final, history = run.loop(
        start,
        chunk,
        config.evaluations,
        unit="updates",
        per_chunk=config.updates_per_evaluation,
    )
    laws = np.asarray(programs.laws(final))
    seeds = len(task.seeds)
    other = replace(
        env,
        drift=jnp.full(seeds, law.heldout_drift, jnp.float32),
        volatility=jnp.full(seeds, law.heldout_volatility, jnp.float32),
    )
    _, elsewhere = programs.evaluate(final._replace(env=other))
    return {
        **{name: history[name][-config.average_last :].mean(axis=0) for name in _SCORES},
        "curve": np.moveaxis(history["score"], 0, -1),
        "heldout": np.asarray(elsewhere["score"]),
        "laws": laws,
        "gap": np.asarray([law_gap(pair) for pair in laws]),
        "untrained_gap": np.asarray([law_gap(pair) for pair in untrained]),
    }


# Deviation: means over the last evaluations; the official code reports a single, final one.
_SCORES = ("score", "discounted", "cvar")


Step = Callable[[Trial], tuple[Trial, dict[str, Array]]]


class Programs(NamedTuple):
    """The compiled programs of one kind of trial, each over stacked seeds."""

    start: Callable[[Key[Array, " seeds"], OptionEnv], Trial]
    train: Step
    evaluate: Step
    laws: Callable[[Trial], Float[Array, "seeds A m"]]


@functools.lru_cache(maxsize=8)
def _programs(spec: AgentSpec, updates: int, episodes: int, alpha: float) -> Programs:
    """Compiled once in a process for all blocks that differ in asset and seeds only."""

    def start(key: Key[Array, ""], env: OptionEnv) -> Trial:
        return Trial(init_train(key, spec, env), env)

    def train(trial: Trial) -> tuple[Trial, dict[str, Array]]:
        state, metrics = train_chunk(trial.train, spec, trial.env, updates)
        return Trial(state, trial.env), metrics

    def score(trial: Trial) -> tuple[Trial, dict[str, Array]]:
        state = trial.train
        key = jax.random.fold_in(state.key, state.day + _EVALUATION)
        returns, discounted = evaluate(state.params, key, spec, trial.env, episodes)
        # Deviation: exact weights here, whatever the agent was trained with; the official code
        # scores with the weights it trains with, which need not sum to one.
        cvar = CVaR(alpha)(returns)
        return trial, {"score": returns.mean(), "discounted": discounted.mean(), "cvar": cvar}

    def laws(trial: Trial) -> Float[Array, "A m"]:
        at_start = jnp.array([1.0, 1.0], jnp.float32)  # x = 1 and all of the time left
        return decision_laws(trial.train.params, at_start, spec)

    return Programs(
        jax.jit(jax.vmap(start, (0, None))),
        over_seeds_fitted(train),
        over_seeds_fitted(score),
        jax.jit(jax.vmap(laws)),
    )


_EVALUATION = 1 << 30  # days of training stay below, so that no key is used twice


def law_gap(laws: Float[np.ndarray, "A m"]) -> float:
    """W_1 between two actions' laws in units of the standard deviation of their mixture.

    0 where the laws agree, 2 for point masses at different places. Free of units, so that rescaled
    superiorities can be compared with laws of returns.
    """
    spread = float(np.std(laws))
    distance = float(np.mean(np.abs(np.sort(laws[0]) - np.sort(laws[1]))))
    return distance / spread if spread > 0 else 0.0
