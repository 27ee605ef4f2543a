"""Soft Q-learning from samples on M1 and M2: what a learner sees of the two limits (figure 3.1).

At temperature tau a policy is as precise as the values are beside tau. M1 is deterministic, so its
values converge and the limits show; on M2 the lottery's noise remains.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Key, Shaped

from papers.temperature_decoupling import mdps, method, oracle
from papers.temperature_decoupling.config import Config
from shared.experiment.spec import Outcome, Run, Task
from shared.gpu import seed_keys

EXAMPLES = {"m1": mdps.tri_state, "m2": mdps.lottery}
CHUNKS = 5


class Learner(NamedTuple):
    """Tables of all seeds and temperatures [seed, temperature, S, A], NumPy; keys [seed]."""

    q: Shaped[np.ndarray, "seeds taus S A"]
    visits: Shaped[np.ndarray, "seeds taus S A"]
    key: Key[jax.Array, " seeds"]


def learn(config: Config, task: Task, run: Run) -> Outcome:
    """Learn at every tau (standard) and tau^2 (decoupled), and play both at tau.

    Returns:
        `policy` [seed, 2, tau, S]: probability of action 0, standard and decoupled; `tv`
        [seed, 2, tau]: sup over states of the total variation to the exact policy.
    """
    example = EXAMPLES[task.params["mdp"]]()
    plays = np.array(config.q_taus)
    taus = np.concatenate([plays, plays**2])
    steps = max(1, config.q_steps // CHUNKS)
    shape = (len(task.seeds), len(taus), *example.pi_ref.shape)
    advance = functools.partial(_advance, example, taus, steps, config.q_power)
    with jax.enable_x64():
        truth = np.stack(_exact(example.mdp, method.log_policy(example.pi_ref), plays))

    def chunk(state: Learner) -> tuple[Learner, dict[str, Any]]:
        state = advance(state)
        return state, {"tv": _errors(example, truth, state.q, plays)[1]}

    start = Learner(np.zeros(shape), np.zeros(shape), seed_keys(task.seeds, "soft q-learning"))
    final, _ = run.loop(start, chunk, CHUNKS, unit="samples", per_chunk=steps)
    policy, tv = _errors(example, truth, np.asarray(final.q), plays)
    return {"policy": policy[..., 0], "tv": tv}


def _advance(
    example: mdps.Example, taus: np.ndarray, steps: int, power: float, state: Learner
) -> Learner:
    with jax.enable_x64():
        log_ref = method.log_policy(example.pi_ref)
        new = _steps(method.QLearning(*state), example.mdp, log_ref, taus, steps, power)
        return Learner(np.asarray(new.q), np.asarray(new.visits), new.key)


@functools.partial(jax.jit, static_argnames=("steps", "power"))
def _steps(
    tables: method.QLearning, mdp: Any, log_ref: Any, taus: Any, steps: int, power: float
) -> method.QLearning:
    def one(table: method.QLearning, tau: Any) -> method.QLearning:
        return method.soft_q_steps(table, mdp, log_ref, tau, steps, power)

    # One sample path for all temperatures of a seed: they are compared on the same data.
    shared = method.QLearning(q=0, visits=0, key=None)  # pyright: ignore[reportArgumentType]
    temperatures = jax.vmap(one, in_axes=(shared, 0), out_axes=shared)
    return jax.vmap(temperatures, in_axes=(0, None))(tables, taus)


def _errors(
    example: mdps.Example, truth: np.ndarray, q: np.ndarray, plays: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Policies [seed, 2, tau, S, A] and their largest total variation to the exact ones."""
    halves = q.reshape(len(q), 2, len(plays), *q.shape[2:])
    players = [
        [[oracle.gibbs(table, example.pi_ref, tau) for table, tau in zip(half, plays, strict=True)]
         for half in one]
        for one in halves
    ]  # fmt: skip
    return np.array(players), oracle.tv(np.array(players), truth[None]).max(-1)


@jax.jit
def _exact(mdp: Any, log_ref: Any, taus: Any) -> tuple[Any, Any]:
    """The standard and the decoupled policy at each tau."""
    players = (method.optimal_policy, method.decoupled_policy)
    standard, decoupled = (jax.vmap(play, (None, None, 0))(mdp, log_ref, taus) for play in players)
    return standard, decoupled
