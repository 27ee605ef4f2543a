"""Beyond tables: a network's softmax policy on a grid with two goals and many optimal paths.

A small network of the cell's coordinates learns soft values by fitted iteration, at tau and at
sigma = tau^2; its softmax policies are judged exactly, beside the exact policies. The decoupled
one should keep both goals and all shortest paths; the standard one avoids a goal at which optimal
play deviates from the reference; acting at sigma itself turns the network's errors into choices.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Key, PyTree

from papers.temperature_decoupling import mdps, method, oracle
from papers.temperature_decoupling.config import Config
from shared.experiment.spec import Outcome, Run, Task
from shared.gpu import over_seeds, seed_keys

Table = Float[np.ndarray, "S A"]
PLAYERS = ("standard", "decoupled", "cold")
"""G_tau q_tau, G_tau q_sigma and G_sigma q_sigma, sigma = tau^2."""
HORIZON = 100
"""Steps of an episode that are looked at: an untrained network may never come to a goal."""
CHUNKS = 4


class Fit(NamedTuple):
    """Training of two networks, at tau and at sigma; every leaf has the two first."""

    params: PyTree
    adam: PyTree


def learn(config: Config, task: Task, run: Run) -> Outcome:
    """Train on all seeds.

    Returns:
        `measures` [seed, player, measure], see `measure`; `curve` [seed, chunk, player, measure];
        `error` [seed, 2], largest error of the values of both networks; `policy` [seed, player, 4]
        at the start.
    """
    chunks = min(CHUNKS, config.grid_copies)
    train = over_seeds(functools.partial(_fit, config, config.grid_copies // chunks))

    def chunk(state: Fit) -> tuple[Fit, dict[str, Any]]:
        state, values = train(state)
        rows = [[measure(pi) for pi in policies(q, config.grid_tau)] for q in np.asarray(values)]
        return state, {"measures": np.array(rows), "values": np.asarray(values)}

    start = jax.jit(jax.vmap(functools.partial(_start, config)))(seed_keys(task.seeds, "network"))
    per = config.grid_copies // chunks * config.grid_steps
    _, history = run.loop(start, chunk, chunks, unit="updates", per_chunk=per)
    values = history["values"][-1].astype(np.float64)
    taus = (config.grid_tau, config.grid_tau**2)
    exact = np.stack([_soft_values(tau) for tau in taus])
    players = [policies(q, config.grid_tau) for q in values]
    return {
        "measures": history["measures"][-1],
        "curve": np.moveaxis(history["measures"], 0, 1),
        "error": np.abs(values - exact).max((2, 3)),
        "policy": np.array([[pi[mdps.GRID_START] for pi in three] for three in players]),
    }


def exact_measures(tau: float) -> np.ndarray:
    """`measure` of the exact players, and then of the filtered reference, [4, measure]."""
    values = np.stack([_soft_values(tau), _soft_values(tau**2)])
    return np.array([measure(pi) for pi in (*policies(values, tau), _filtered())])


def policies(values: Float[np.ndarray, "2 S A"], tau: float) -> list[Table]:
    """The three players, from values learned at tau and at sigma = tau^2."""
    pi_ref = mdps.two_goals().pi_ref
    values = values.astype(np.float64)
    plays = ((values[0], tau), (values[1], tau), (values[1], tau**2))
    return [oracle.gibbs(q, pi_ref, play) for q, play in plays]


@functools.cache
def _soft_values(tau: float) -> Table:
    example = mdps.two_goals()
    with jax.enable_x64():
        return np.asarray(method.soft_vi(example.mdp, method.log_policy(example.pi_ref), tau, 400))


@functools.cache
def _filtered() -> Table:
    example = mdps.two_goals()
    with jax.enable_x64():
        log_ref = method.log_policy(example.pi_ref)
        return np.asarray(method.filtered_reference(example.mdp, log_ref))


def measure(pi: Table) -> list[float]:
    """What a policy does from the start, exactly.

    Returns:
        button: the share of episodes that end at the button. paths: the entropy of the path
        to a goal, in nats; both within HORIZON steps. value: its value over the optimal one.
        distance: mean total variation to pi^{ref,*} over the cells that pi^{ref,*} passes.
    """
    mdp, start = mdps.two_goals().mdp, mdps.GRID_START
    P = np.asarray(mdp.P)
    goals = [mdps.PARK, mdps.BUTTON]
    inner = np.setdiff1d(np.arange(len(P)), goals)
    along = np.einsum("xa,xay->xy", pi, P)
    place = int(np.searchsorted(inner, start))
    visits = _visits(along[np.ix_(inner, inner)], place)
    button = visits @ along[inner, mdps.BUTTON]
    logs = np.log(np.where(pi > 0, pi, 1))
    entropy = visits @ -(pi * logs).sum(1)[inner]
    best = oracle.policy_value(mdp, pi, _filtered())[start]
    value = oracle.policy_value(mdp, pi, pi)[start] / best
    wanted = _filtered()
    passed = np.einsum("xa,xay->xy", wanted, P)[np.ix_(inner, inner)]
    visits = _visits(passed, place)
    distance = (visits * oracle.tv(pi, wanted)[inner]).sum() / visits.sum()
    return [float(button), float(entropy), float(value), float(distance)]


def _visits(along: Float[np.ndarray, "n n"], start: int) -> Float[np.ndarray, " n"]:
    """Expected visits of each cell in the first HORIZON steps."""
    now = np.eye(len(along))[start]
    total = np.zeros(len(along))
    for _ in range(HORIZON):
        total, now = total + now, now @ along
    return total


# --- The network ----------------------------------------------------------------------------------


def _start(config: Config, key: Key[Array, ""]) -> Fit:
    params = jax.vmap(lambda k: _init(k, config.grid_width))(jax.random.split(key, 2))
    return Fit(params, jax.vmap(_adam(config).init)(params))


def _init(key: Key[Array, ""], width: int) -> PyTree:
    """Uniform weights of variance 1 / inputs, from one draw; no biases."""
    sizes = list(itertools.pairwise((2, width, width, 4)))
    ends = list(itertools.accumulate(i * o for i, o in sizes))
    draw = jax.random.uniform(key, (ends[-1],), jnp.float32, -1, 1)
    layers = []
    for (i, o), part in zip(sizes, jnp.split(draw, ends[:-1]), strict=True):
        weight = np.float32(np.sqrt(3 / i)) * part.reshape(i, o)
        layers.append((weight, jnp.zeros(o, jnp.float32)))
    return layers


def _network(params: PyTree) -> Float[Array, "S 4"]:
    """Values of all cells: two tanh layers of the coordinates in [-1, 1], output times 10."""
    axis = jnp.linspace(-1, 1, mdps.GRID, dtype=jnp.float32)
    x = jnp.stack(jnp.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    for weight, bias in params[:-1]:
        x = jnp.tanh(x @ weight + bias)
    weight, bias = params[-1]
    return 10 * (x @ weight + bias)


def _adam(config: Config) -> optax.GradientTransformation:
    decay = optax.cosine_decay_schedule(
        config.grid_learning_rate, config.grid_copies * config.grid_steps
    )
    return optax.adam(decay)


def _fit(config: Config, copies: int, state: Fit) -> tuple[Fit, Float[Array, "2 S 4"]]:
    """Fitted soft Bellman backups of one seed: each regresses on r + gamma P V_tau q, q held."""
    mdp = mdps.two_goals().mdp.astype(np.float32)
    log_ref = np.log(mdps.two_goals().pi_ref).astype(np.float32)
    taus = jnp.asarray([config.grid_tau, config.grid_tau**2], jnp.float32)
    optimiser = _adam(config)

    def update(carry: tuple, goal: Array) -> tuple:
        params, adam = carry
        gradient = jax.grad(lambda p: jnp.mean((_network(p) - goal) ** 2))(params)
        with jax.numpy_dtype_promotion("standard"):
            change, adam = optimiser.update(gradient, adam)
            return optax.apply_updates(params, change), adam

    def backup(one: Fit, tau: Array) -> Fit:
        value = method.soft_value(_network(one.params), log_ref, tau)
        goal = jnp.asarray(mdp.r) + np.float32(mdp.gamma) * method.expect(mdp.P, value)
        params, adam = jax.lax.fori_loop(
            0, config.grid_steps, lambda _, carry: update(carry, goal), (one.params, one.adam)
        )
        return Fit(params, adam)

    def body(_: Any, both: Fit) -> Fit:
        return jax.vmap(backup)(both, taus)

    state = jax.lax.fori_loop(0, copies, body, state)
    return state, jax.vmap(_network)(state.params)
