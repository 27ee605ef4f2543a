"""Training on MuJoCo tasks: the environments step on the host, all seeds side by side in one batch.

The learner is that of `train.py`, its halves `learn` and `finish` compiled and mapped over seeds;
only `collect` and `evaluate` are replaced by steps of `shared.mujoco.Batch`, one copy a seed. Every
block begins with fresh episodes, whose starts come from (seed, epoch, block): an epoch's state is
the learners alone, so that a killed run resumes bit for bit.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from papers.icrl import envs, method, tasks, train
from papers.icrl.method import Mlp
from papers.icrl.train import Clock, Demos, Episodes, Knobs, Learner, Plan, Trial
from shared.experiment.errors import BadInput
from shared.mujoco import Batch

TRAIN, EVALUATE, FINAL = 0, 1, 2


def world(name: str) -> envs.Task:
    """A MuJoCo task as the learner sees it: sizes, horizon, wall; it steps on the host only."""
    task = tasks.get(name)
    batch, barrier = Batch(task, 1), tasks.wall(task)
    sizes = batch.observation_size, batch.action_size
    side = 1.0 if barrier.beyond == "below" else -1.0
    scale = float(batch.action_high[0])
    names = tuple(f"observation {i}" for i in range(sizes[0]))
    dt = float(batch.model(0).opt.timestep) * task.substeps
    wall = (0, barrier.at, side)
    return envs.Task(name, *sizes, task.horizon, dt, scale, wall, names, _no_reset, _no_step)


def _no_reset(key: Key[Array, ""]) -> envs.State:
    raise BadInput("A MuJoCo task does not reset inside a compiled program; use host.epoch.")


def _no_step(state: envs.State, act: Float[Array, " a"]) -> envs.Step:
    raise BadInput("A MuJoCo task does not step inside a compiled program; use host.epoch.")


def start_seeds(seeds: Sequence[int], *place: int) -> list[int]:
    """One seed of starts for each run, from its number and a place in the run."""
    made = [np.random.SeedSequence((seed, *place)).generate_state(1)[0] for seed in seeds]
    return [int(s) for s in made]


@jax.jit
def _act(
    actors: Mlp, obs: Float[Array, "seeds n o"], noise: Float[Array, "seeds n a"]
) -> Float[Array, "seeds n a"]:
    return jax.vmap(lambda actor, o, z: method.policy(actor, o, z)[0])(actors, obs, noise)


def collect(
    batch: Batch, plan: Plan, actors: Mlp | None, key: Key[Array, ""]
) -> Float[Array, "seeds rows row"]:
    """A horizon of steps of every seed by its stochastic policy, at random without actors."""
    task, seeds = plan.task, batch.copies
    shape = (task.horizon, seeds, 1, task.act_dim)
    noise = np.asarray(jax.random.normal(key, shape, jnp.float32))
    obs, rows = batch.reset().astype(np.float32), []
    for t in range(task.horizon):
        act = np.tanh(1.5 * noise[t]) if actors is None else _act(actors, obs[:, None], noise[t])
        act = np.asarray(act)[:, 0]
        step = batch.step(batch.from_unit(act.astype(np.float64)))
        after = step.next_obs.astype(np.float32)
        scalars = [x.astype(np.float32)[:, None] for x in
                   (step.reward, step.terminated, step.extras["cost"])]  # fmt: skip
        rows.append(np.concatenate([obs, act, after, *scalars], axis=1))
        obs = step.obs.astype(np.float32)
    return jnp.asarray(np.stack(rows, axis=1))


def evaluate(batch: Batch, plan: Plan, actors: Mlp, episodes: int) -> Episodes:
    """Whole episodes of every seed with the mode of its policy, seeds first; one copy an episode."""
    task, seeds = plan.task, batch.copies // episodes
    obs, alive = batch.reset(), np.ones(batch.copies, bool)
    steps: list[list[np.ndarray]] = []
    silent = np.zeros((seeds, episodes, task.act_dim), np.float32)
    for _ in range(task.horizon):
        seen = obs.astype(np.float32)
        act = np.asarray(_act(actors, seen.reshape(seeds, episodes, -1), silent))
        act = act.reshape(batch.copies, -1)
        step = batch.step(batch.from_unit(act.astype(np.float64)))
        steps.append([seen, act, step.reward.astype(np.float32),
                      step.extras["cost"].astype(np.float32), alive.copy()])  # fmt: skip
        alive &= ~step.done
        obs = step.obs
        if not alive.any():
            break
    while len(steps) < task.horizon:  # all ended early: the rest is masked
        steps.append([*steps[-1][:4], np.zeros(batch.copies, bool)])
    columns = (np.stack(c) for c in zip(*steps, strict=True))  # [T, seeds * episodes, ...]
    split = (np.moveaxis(c.reshape(len(c), seeds, episodes, *c.shape[2:]), 1, 0) for c in columns)
    return Episodes(*map(jnp.asarray, split))


_learn = functools.partial(jax.jit, static_argnames="plan")(
    lambda clock, learners, rows, knobs, plan, keys: jax.vmap(
        lambda learner, r, key: train.learn(clock, learner, r, knobs, plan, key)
    )(learners, rows, keys)
)
_finish = functools.partial(jax.jit, static_argnames="plan")(
    lambda clock, learners, episodes, knobs, demos, plan, keys: jax.vmap(
        lambda learner, seen, key: train.finish(
            clock, learner, seen, knobs, demos, plan, tuple(jax.random.split(key))
        )
    )(learners, episodes, keys)
)
