"""One training task: an agent on an asset at a frequency, evaluated as it learns."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from papers.superiority.agents import AgentSpec, agent, decision_laws
from papers.superiority.config import Config
from papers.superiority.env import OptionEnv
from papers.superiority.market import Market, market
from papers.superiority.method import CVaR, Mean
from papers.superiority.train import TrainState, evaluate, init_train, train_chunk
from shared.experiment.spec import Outcome, Run, Task
from shared.gpu.memory import over_seeds_fitted
from shared.gpu.seeds import seed_keys, stack


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


def train(config: Config, task: Task, run: Run) -> Outcome:
    """Train on all seeds of the task.

    Returns:
        `curve` [seed, evaluation]: mean undiscounted return of each evaluation; and, as means over
        the last `average_last` evaluations, [seed]: `score` (undiscounted), `discounted`,
        `heldout` (on the price law of the other years), `cvar` (at the level trained for, 1 where
        none). `laws` [seed, A, m]: the quantiles by which the final agent ranks its actions at
        t = 0, x = 1; `gap` [seed]: how far apart the two are, see `law_gap`.
    """
    spec = agent_spec(config, task)
    law = market(config, task.params["asset"])
    alpha = task.params.get("alpha", 1.0)
    chunk = functools.partial(_chunk, spec=spec, law=law, config=config, alpha=alpha)
    keys = seed_keys(task.seeds, "superiority")  # the same for every agent: runs are paired by seed
    env = _env(law.drift, law.volatility, config)
    start = stack([init_train(key, spec, env) for key in keys])
    state, history = run.loop(
        start,
        over_seeds_fitted(chunk),
        config.evaluations,
        unit="updates",
        per_chunk=config.updates_per_evaluation,
    )
    last = {name: history[name][-config.average_last :].mean(axis=0) for name in _SCORES}
    laws = np.asarray(jax.vmap(functools.partial(_initial_laws, spec=spec))(state))
    return {
        **last,
        "curve": np.moveaxis(history["score"], 0, -1),
        "laws": laws,
        "gap": np.asarray([law_gap(pair) for pair in laws]),
    }


_SCORES = ("score", "discounted", "heldout", "cvar")


def law_gap(laws: Float[np.ndarray, "A m"]) -> float:
    """W_1 between two actions' laws in units of the standard deviation of their mixture.

    0 where the laws agree, 2 for point masses at different places. Free of units, so that rescaled
    superiorities can be compared with laws of returns.
    """
    spread = float(np.std(laws))
    distance = float(np.mean(np.abs(np.sort(laws[0]) - np.sort(laws[1]))))
    return distance / spread if spread > 0 else 0.0


def _env(drift: float, volatility: float, config: Config) -> OptionEnv:
    return OptionEnv(jnp.float32(drift), jnp.float32(volatility), clock=config.clock)


def _chunk(
    state: TrainState, *, spec: AgentSpec, law: Market, config: Config, alpha: float
) -> tuple[TrainState, dict[str, Array]]:
    """Train up to the next evaluation, then evaluate the greedy policy."""
    env = _env(law.drift, law.volatility, config)
    state, metrics = train_chunk(state, spec, env, config.updates_per_evaluation)
    key = jax.random.fold_in(state.key, state.day + _EVALUATION)
    episodes = config.evaluation_episodes
    returns, discounted = evaluate(state.params, key, spec, env, episodes)
    other = _env(law.heldout_drift, law.heldout_volatility, config)
    heldout, _ = evaluate(state.params, key, spec, other, episodes)
    return state, metrics | {
        "score": returns.mean(),
        "discounted": discounted.mean(),
        "heldout": heldout.mean(),
        "cvar": CVaR(alpha)(returns),
    }


_EVALUATION = 1 << 30  # days of training stay below, so that no key is used twice


def _initial_laws(state: TrainState, *, spec: AgentSpec) -> Float[Array, "A m"]:
    at_start = jnp.array([1.0, 1.0], jnp.float32)  # x = 1 and all of the time left
    return decision_laws(state.params, at_start, spec)
