"""Training tasks: one variant on one task with all its seeds, and what is kept of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from papers.icrl import analysis, demos, method, offline, train, variants
from papers.icrl.config import Config
from papers.icrl.demos import Demonstrations
from papers.icrl.envs import Task as World
from papers.icrl.envs import task as world_named
from papers.icrl.train import Demos, Episodes
from shared.experiment.spec import Outcome, Run, Task
from shared.gpu.seeds import seed_keys

CHUNKS = 20  # at most, in a loop


def expert(config: Config, world: World) -> Demonstrations:
    """The demonstrations of a task: the user's for the first task, else those that ship."""
    if config.demos is not None and world.name == config.worlds[0]:
        return demos.load(str(config.demos), world, config.rescale_demos)
    return demos.shipped(world)


def as_arrays(found: Demonstrations) -> Demos:
    """For the device."""
    return Demos(jnp.asarray(found.obs), jnp.asarray(found.act))


def train_online(config: Config, task: Task, run: Run) -> Outcome:
    """Train a variant.

    Returns:
        [seed, epoch]: `curve_feasible`, `curve_violation`, `curve_gap`, `curve_lambda`; [seed]:
        `feasible` and `violation`, means of the last evaluations, `final_feasible` and
        `final_violation` of the last policy's own evaluation, and what `judge_cost` says of the
        cost, where one is learned.
    """
    world = world_named(task.params["world"])
    name = task.params["variant"]
    good = expert(config, world)
    if share := task.params.get("share"):
        good = demos.mixture(good, demos.shipped(world, "unconstrained"), share)
    plan = variants.compiled(name, config, world)
    changes = {k: task.params[k] for k in ("cost_lr", "multiplier_lr") if k in task.params}
    numbers = variants.numbers(name, config, **changes)
    keys = seed_keys(task.seeds, "icrl")
    chunk = max(1, config.epochs // CHUNKS)
    while config.epochs % chunk:
        chunk -= 1
    arrays = as_arrays(good)
    trial, history = run.loop(
        train.start(keys, plan, numbers.lam),
        lambda t: train.advance(t, numbers, arrays, plan, chunk),
        config.epochs // chunk,
        unit="steps",
        per_chunk=chunk * plan.steps,
    )
    curves = {k: np.concatenate(list(v), axis=1) for k, v in history.items()}
    kept = {k: curves[k] for k in ("feasible", "violation", "gap", "lambda") if k in curves}
    outcome = {f"curve_{k}": v for k, v in kept.items()}
    for k in ("feasible", "violation"):
        outcome[k] = curves[k][:, -config.average_last :].mean(axis=1)
    seen = train.final_episodes(
        trial, seed_keys(task.seeds, "icrl final"), plan, config.final_episodes
    )
    outcome |= final_scores(seen)
    if plan.objective != "known":
        outcome |= judge_cost(trial.learners.cost, plan, world, good)
    return outcome


def final_scores(seen: Episodes) -> dict[str, np.ndarray]:
    """Feasible return and violation rate of evaluation episodes, [seed]."""
    feasible, violated = jax.vmap(method.feasible_return)(seen.rew, seen.cost, seen.mask)
    return {
        "final_feasible": np.asarray(feasible.mean(axis=1)),
        "final_violation": np.asarray(violated.mean(axis=1, dtype=jnp.float32)),
    }


def judge_cost(
    costs: method.CostParams, plan: train.Plan, world: World, good: Demonstrations
) -> dict[str, np.ndarray]:
    """The learned costs, [seed, ...], beside the true wall.

    Reference steps are the expert's and those of an agent that never heard of the wall.

    Returns:
        `auc`: how well the cost ranks steps beyond the wall above the others; `profile`: its mean
        in bins of the constrained coordinate; `wall`: where that passes half of its far level, NaN
        as -1e3 where it does not; `map`: the cost over coordinate and velocity, all else 0.
    """
    reference = demos.join([good, demos.shipped(world, "unconstrained")])
    obs, act = jnp.asarray(reference.obs), jnp.asarray(reference.act)
    after = jax.vmap(world.step)(obs, act)[0]
    beyond, x = np.asarray(world.violated(after)), np.asarray(after)[:, world.wall[0]]
    place, speed = analysis.grid(world.name)
    edges = profile_edges(world)
    points = np.zeros((len(speed) * len(place), world.obs_dim), np.float32)
    points[:, world.wall[0]] = np.tile(place, len(speed))
    points[:, world.obs_dim // 2 + world.wall[0]] = np.repeat(speed, len(place))
    still = jnp.zeros((len(points), world.act_dim), jnp.float32)

    def both(cost: method.CostParams) -> tuple[jax.Array, jax.Array]:
        def of(o: jax.Array, a: jax.Array) -> jax.Array:
            return method.cost_apply(cost, o, a, plan.sac.cost_out, plan.sac.cost_clip)

        return of(obs, act), of(jnp.asarray(points), still)

    on_steps, on_grid = (np.asarray(v, np.float64) for v in jax.jit(jax.vmap(both))(costs))
    means = [analysis.profile(c, x, edges) for c in on_steps]
    walls = [analysis.recovered_wall(m, edges, world.wall[1]) for m in means]
    return {
        "auc": np.array([analysis.auc(c, beyond) for c in on_steps]),
        "profile": np.nan_to_num(np.stack(means), nan=-1e3),
        "wall": np.nan_to_num(np.array(walls), nan=-1e3),
        "map": on_grid.reshape(len(on_grid), len(speed), len(place)),
    }


def profile_edges(world: World) -> np.ndarray:
    """Bins of the constrained coordinate, as many for each task, one edge at the wall."""
    low, high = analysis.MAP_RANGES[world.name][0]
    width = (high - low) / analysis.PROFILE_BINS
    beyond = round((world.wall[1] - low) / width)
    return world.wall[1] + width * (np.arange(analysis.PROFILE_BINS + 1) - beyond)


def train_offline(config: Config, task: Task, run: Run) -> Outcome:
    """An offline agent, each seed on the replay buffer of an unconstrained agent of its own."""
    world, agent = world_named(task.params["world"]), task.params["agent"]
    arrays = as_arrays(expert(config, world))
    plan = variants.compiled("unconstrained", config, world)
    numbers = variants.numbers("unconstrained", config)
    keys = seed_keys(task.seeds, "icrl")
    epochs = min(config.epochs, 20)
    trial = train.start(keys, plan, numbers.lam)
    trial, _ = train.advance(trial, numbers, arrays, plan, epochs)
    filled = min(1 + epochs * plan.blocks, trial.learners.replay.shape[1] // plan.rows) * plan.rows
    data = trial.learners.replay[:, :filled]
    make: Mapping[str, Any] = {"world": world, "width": config.width}
    states = jax.vmap(lambda k: offline.init(k, **make))(seed_keys(task.seeds, "icrl offline"))
    chunks = 5 if config.offline_updates % 5 == 0 else 1

    def step(states: offline.Offline) -> tuple[offline.Offline, dict[str, jax.Array]]:
        states = offline.advance(
            states, data, arrays, world, agent, config.offline_updates // chunks
        )
        probe = offline.final_episodes(states, seed_keys(task.seeds, "icrl probe"), world, 10)
        found = final_scores(probe)
        return states, {k: jnp.asarray(v) for k, v in found.items()}

    states, _ = run.loop(
        states, step, chunks, unit="updates", per_chunk=config.offline_updates // chunks
    )
    seen = offline.final_episodes(
        states, seed_keys(task.seeds, "icrl final"), world, config.final_episodes
    )
    outcome = final_scores(seen)
    steps_beyond = data[:, :, -1].mean(axis=1)
    return {**outcome, "data_beyond": np.asarray(steps_beyond)}
