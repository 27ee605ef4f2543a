"""Training on the pure-JAX tasks, compiled whole: collect, update, evaluate, step the cost.

The algorithm (one epoch; `Plan` names what is compiled in, `Knobs` what is data):

    blocks times:  roll the stochastic policy for a horizon in each stream; store
                   `updates` soft actor-critic steps on minibatches (method.sac_update)
                   tri-level games: one step of the multiplier
    evaluate with the mode of the policy; its transitions are the learner samples
    after the warm start: the cost's step(s) on as many expert as learner transitions
    policy reset, where asked for

The epoch maps over seeds with `vmap`; variants that differ in knobs share one compiled program.
Deviation: the official code rolls one whole episode, then updates as often as it was long; here a
block is a horizon of steps, with a reset inside it where the task terminates. Both are one update
per step and stream.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from papers.icrl import method
from papers.icrl.envs import Task
from papers.icrl.method import Adam, Batch, CostParams, Mlp, Pairs, SACConfig, SACState

Objective = Literal["irl", "trilevel", "mecl", "gacl", "known"]
"""Which cost step; `known` takes the true cost instead (experts, oracles, unconstrained)."""

LEAST_SAMPLES = 200


@dataclass(frozen=True)
class Plan:
    """What is compiled into the program.

    Attributes:
        blocks: collect-and-update rounds in an epoch. streams: environments side by side.
        updates: gradient steps in a block (the paper: one a step of one stream).
        evaluations: episodes of an evaluation.
        cost_batch: transitions of each side in a cost step. cost_steps: such steps in an epoch.
        samples: learner samples of the cost from the evaluation (paper) or the newest replay rows.
    """

    task: Task
    sac: SACConfig
    objective: Objective = "irl"
    blocks: int = 10
    streams: int = 1
    updates: int = 100
    batch_size: int = 128
    capacity: int = 100_000
    evaluations: int = 5
    cost_hidden: tuple[int, ...] = (64, 64)
    zero_last: bool = True
    batch_norm: bool = False
    cost_batch: int = 1000
    cost_steps: int = 1
    samples: Literal["evaluation", "replay"] = "evaluation"

    def __post_init__(self) -> None:
        unique = self.evaluations * self.task.horizon
        if self.samples == "evaluation" and self.objective != "known" and unique < LEAST_SAMPLES:
            warnings.warn(
                f"The cost learns from at most {unique} different steps of the learner in an "
                f"evaluation; below {LEAST_SAMPLES} they repeat often: evaluate more episodes.",
                stacklevel=2,
            )

    @property
    def rows(self) -> int:
        """Transitions of a block."""
        return self.streams * self.task.horizon

    @property
    def steps(self) -> int:
        """Environment steps of an epoch."""
        return self.blocks * self.rows


class Knobs(NamedTuple):
    """What may differ between seeds or variants without compiling anew.

    Attributes:
        beta: weight of the regulariser. lam: weight of the cost after `warm` epochs.
        multiplier_lr: above 0 trains the multiplier, from `lam` on.
        reset: 1 resets the policy's last layers after every epoch.
        delta: MECL's regulariser.
    """

    cost_lr: Float[Array, ""]
    beta: Float[Array, ""]
    lam: Float[Array, ""]
    multiplier_lr: Float[Array, ""]
    warm: Int[Array, ""]
    reset: Bool[Array, ""]
    delta: Float[Array, ""]


def knobs(
    cost_lr: float = 1e-3,
    beta: float = 0.1,
    lam: float = 1.0,
    multiplier_lr: float = 0.0,
    warm: int = 0,
    reset: bool = False,
    delta: float = 0.5,
) -> Knobs:
    """Knobs of Python numbers; ValueError for a negative beta or lambda."""
    method.check_weight(lam)
    if beta < 0:
        raise ValueError(f"beta must not be negative; got {beta}.")
    return Knobs(
        jnp.float32(cost_lr), jnp.float32(beta), jnp.float32(lam), jnp.float32(multiplier_lr),
        jnp.int32(warm), jnp.bool_(reset), jnp.float32(delta),
    )  # fmt: skip


class Clock(NamedTuple):
    """Counters that all seeds share."""

    epoch: Int[Array, ""]
    blocks: Int[Array, ""]


class Learner(NamedTuple):
    """One seed's state; with `Clock` it determines the rest of the run.

    Attributes:
        replay: transitions, packed in rows [obs, act, rew, next_obs, terminated, cost].
        env, time: states of the streams and steps since their resets.
        lam: the multiplier (IRL: unused).
    """

    sac: SACState
    cost: CostParams
    adam_cost: Adam
    lam: Float[Array, ""]
    adam_lam: Adam
    replay: Float[Array, "capacity row"]
    env: Float[Array, "streams o"]
    time: Int[Array, " streams"]
    key: Key[Array, ""]


class Demos(NamedTuple):
    """The expert's transitions."""

    obs: Float[Array, "N o"]
    act: Float[Array, "N a"]


class Episodes(NamedTuple):
    """Evaluation episodes; `mask` is False beyond an episode's end."""

    obs: Float[Array, "T N o"]
    act: Float[Array, "T N a"]
    rew: Float[Array, "T N"]
    cost: Float[Array, "T N"]
    mask: Bool[Array, "T N"]


def init(key: Key[Array, ""], plan: Plan, lam: Float[Array, ""]) -> Learner:
    """A fresh learner whose replay holds one block of random actions."""
    sac_key, cost_key, env_key, warm_key, key = jax.random.split(key, 5)
    task = plan.task
    sac = method.sac_init(sac_key, task.obs_dim, task.act_dim, plan.sac)
    cost = method.cost_init(
        cost_key, task.obs_dim, task.act_dim, plan.cost_hidden, plan.zero_last, plan.batch_norm
    )
    env = jax.vmap(task.reset)(jax.random.split(env_key, plan.streams))
    capacity = max(plan.capacity // plan.rows, 1) * plan.rows
    replay = jnp.zeros((capacity, 2 * task.obs_dim + task.act_dim + 3), jnp.float32)
    adam_cost, adam_lam = method.adam_init(cost), method.adam_init(lam)
    time = jnp.zeros(plan.streams, jnp.int32)
    learner = Learner(sac, cost, adam_cost, lam, adam_lam, replay, env, time, key)
    learner, rows = collect(learner, plan, warm_key, None)
    return learner._replace(replay=learner.replay.at[: plan.rows].set(rows))


def collect(
    learner: Learner, plan: Plan, key: Key[Array, ""], actor: Mlp | None
) -> tuple[Learner, Float[Array, "rows row"]]:
    """A horizon of steps in every stream by the stochastic policy; at random without an actor."""
    task = plan.task
    keys = jax.random.split(key, 2)
    shape = (task.horizon, plan.streams, task.act_dim)
    noise = jax.random.normal(keys[0], shape, jnp.float32)
    resets = jax.vmap(jax.vmap(task.reset))(jax.random.split(keys[1], (task.horizon, plan.streams)))

    def advance(carry: tuple, draws: tuple) -> tuple:
        obs, time = carry
        noise, fresh = draws
        act = jnp.tanh(noise * 1.5) if actor is None else method.policy(actor, obs, noise)[0]
        after, rew, terminated = jax.vmap(task.step)(obs, act)
        ended = terminated | (time + 1 >= task.horizon)
        columns = (rew, terminated.astype(jnp.float32), task.violated(after).astype(jnp.float32))
        row = pack(obs, act, columns[0], after, columns[1], columns[2])
        return (jnp.where(ended[:, None], fresh, after), jnp.where(ended, 0, time + 1)), row

    (env, time), rows = jax.lax.scan(advance, (learner.env, learner.time), (noise, resets))
    return learner._replace(env=env, time=time), rows.reshape(plan.rows, -1)


def pack(
    obs: Array, act: Array, rew: Array, next_obs: Array, terminated: Array, cost: Array
) -> Float[Array, "B row"]:
    """One row per transition: a minibatch is then a single gather."""
    scalars = [x[:, None] for x in (rew, terminated, cost)]
    return jnp.concatenate([obs, act, next_obs, *scalars], axis=1)


def unpack(rows: Float[Array, "B row"], obs_dim: int, act_dim: int) -> Batch:
    """The rows of `pack` as a batch."""
    obs, act, next_obs, rest = jnp.split(
        rows, (obs_dim, obs_dim + act_dim, 2 * obs_dim + act_dim), axis=1
    )
    return Batch(obs, act, rest[:, 0], next_obs, rest[:, 1], rest[:, 2])


def evaluate(actor: Mlp, plan: Plan, key: Key[Array, ""], episodes: int) -> Episodes:
    """Whole episodes with the mode of the policy."""
    return roll(plan.task, lambda obs, _: method.policy(actor, obs)[0], key, episodes)


def roll(
    task: Task, act: Callable[[Array, Array], Array], key: Key[Array, ""], episodes: int
) -> Episodes:
    """Whole episodes of any policy, `act(observations, standard normal noise)` -> actions."""
    keys = jax.random.split(key, 2)
    start = jax.vmap(task.reset)(jax.random.split(keys[0], episodes))
    noise = jax.random.normal(keys[1], (task.horizon, episodes, task.act_dim), jnp.float32)

    def advance(carry: tuple, noise: Array) -> tuple:
        obs, alive = carry
        action = act(obs, noise)
        after, rew, terminated = jax.vmap(task.step)(obs, action)
        cost = task.violated(after).astype(jnp.float32)
        step = Episodes(obs, action, rew, cost, alive)
        return (jnp.where(alive[:, None], after, obs), alive & ~terminated), step

    return jax.lax.scan(advance, (start, jnp.ones(episodes, bool)), noise)[1]


# --- The cost's step ------------------------------------------------------------------------------


def learner_samples(
    learner: Learner, episodes: Episodes, plan: Plan, blocks: Int[Array, ""], key: Key[Array, ""]
) -> Pairs:
    """`cost_batch` transitions of the learner, with replacement."""
    task = plan.task
    if plan.samples == "replay":
        newest = (blocks - 1) % (learner.replay.shape[0] // plan.rows) * plan.rows
        rows = jax.lax.dynamic_slice_in_dim(learner.replay, newest, plan.rows)
        chosen = jax.random.randint(key, (plan.cost_batch,), 0, plan.rows, jnp.int32)
        batch = unpack(rows[chosen], task.obs_dim, task.act_dim)
        return batch.obs, batch.act
    mask = episodes.mask.ravel()
    valid_first = jnp.argsort(~mask, stable=True)
    chosen = jax.random.randint(key, (plan.cost_batch,), 0, mask.sum(dtype=jnp.int32), jnp.int32)
    rows = valid_first[chosen]
    obs, act = (x.reshape(mask.shape[0], -1) for x in (episodes.obs, episodes.act))
    return obs[rows], act[rows]


def expert_samples(demos: Demos, plan: Plan, key: Key[Array, ""]) -> Pairs:
    """`cost_batch` transitions of the expert, with replacement."""
    rows = jax.random.randint(key, (plan.cost_batch,), 0, demos.obs.shape[0], jnp.int32)
    return demos.obs[rows], demos.act[rows]


def cost_gradient(
    cost: CostParams, expert: Pairs, learner: Pairs, w: Array, plan: Plan, knobs: Knobs
) -> tuple[CostParams, dict[str, Array]]:
    """Gradient and means of the plan's objective."""
    if plan.objective == "mecl":
        grad = jax.grad(method.mecl_loss, has_aux=True)
        return grad(cost, expert, learner, w, knobs.delta)
    if plan.objective == "gacl":
        return jax.grad(method.gacl_loss, has_aux=True)(cost, expert, learner)

    def loss(cost: CostParams) -> tuple[Array, dict[str, Array]]:
        # beta is data here: the regulariser is added by hand, checked where the knobs are made.
        if plan.objective == "trilevel":
            plain, aux = method.trilevel_loss(cost, expert, learner, 0.0)
            c = [1 - method.feasibility(cost, *side) for side in (expert, learner)]
            return plain + knobs.beta * jnp.mean(jnp.concatenate(c) ** 2), aux
        out = {"out": plan.sac.cost_out, "clip": plan.sac.cost_clip}
        plain, aux = method.cost_loss(cost, expert, learner, 0.0, "none", **out)
        c_e = method.cost_apply(cost, *expert, plan.sac.cost_out, plan.sac.cost_clip, True)
        return plain + knobs.beta * jnp.mean(c_e**2), aux

    return jax.grad(loss, has_aux=True)(cost)


def step_cost(
    learner: Learner, episodes: Episodes, demos: Demos, plan: Plan, knobs: Knobs, clock: Clock,
    key: Key[Array, ""],
) -> tuple[Learner, dict[str, Array]]:  # fmt: skip
    """`cost_steps` steps of the cost, none during the warm start."""
    before = learner.cost

    def one(carry: tuple, key: Array) -> tuple[Any, dict[str, Array]]:
        cost, adam, going = carry
        keys = jax.random.split(key)
        ours = learner_samples(learner, episodes, plan, clock.blocks, keys[0])
        expert = expert_samples(demos, plan, keys[1])
        w = jnp.ones(plan.cost_batch, jnp.float32)
        if plan.objective == "mecl":
            w, near = _mecl_weights(before, cost, ours, episodes)
            going = going & near
        gradient, aux = cost_gradient(cost, expert, ours, w, plan, knobs)
        moved = method.cost_step(cost, adam, gradient, knobs.cost_lr, (expert, ours))
        return (*_where(going, moved, (cost, adam)), going), aux

    start = (before, learner.adam_cost, clock.epoch >= knobs.warm)
    (cost, adam, _), aux = jax.lax.scan(one, start, jax.random.split(key, plan.cost_steps))
    aux = {name: x[-1] for name, x in aux.items()}
    return learner._replace(cost=cost, adam_cost=adam), aux


def _mecl_weights(
    old: CostParams, new: CostParams, ours: Pairs, episodes: Episodes
) -> tuple[Float[Array, " B"], Bool[Array, ""]]:
    """Weights of the sampled steps; whether the episodes' laws are still near (KL 10 and 2.5)."""
    mask = episodes.mask.T.ravel()  # episode after episode
    flat = [jnp.swapaxes(x, 0, 1).reshape(mask.shape[0], -1) for x in (episodes.obs, episodes.act)]
    # Steps beyond an episode's end count as unchanged.
    z = [jnp.where(mask, method.feasibility(p, *flat), 1) for p in (old, new)]
    lengths = jnp.full(episodes.mask.shape[1], episodes.mask.shape[0], jnp.int32)
    _, forward, backward = method.is_weights(z[0], z[1], lengths)
    pair = [method.feasibility(p, *ours) for p in (old, new)]
    one = jnp.asarray([ours[0].shape[0]], jnp.int32)
    return method.is_weights(pair[0], pair[1], one)[0], (forward <= 10) & (backward <= 2.5)


def _where(condition: Bool[Array, ""], yes: Any, no: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)


# --- One epoch ------------------------------------------------------------------------------------


def epoch(
    clock: Clock, learner: Learner, knobs: Knobs, demos: Demos, plan: Plan
) -> tuple[Learner, dict[str, Array]]:
    """One epoch of one seed; see the module. `clock` counts what was done before."""
    key = jax.random.fold_in(learner.key, clock.epoch)
    block_key, eval_key, cost_key, reset_key = jax.random.split(key, 4)

    def block(carry: tuple[Learner, Clock], key: Array) -> tuple[Any, dict[str, Array]]:
        learner, clock = carry
        learner, metrics = _block(clock, learner, knobs, plan, key)
        return (learner, clock._replace(blocks=clock.blocks + 1)), metrics

    keys = jax.random.split(block_key, plan.blocks)
    (learner, clock), metrics = jax.lax.scan(block, (learner, clock), keys)
    metrics = {name: x.mean() for name, x in metrics.items()}
    episodes = evaluate(learner.sac.actor, plan, eval_key, plan.evaluations)
    learner, more = finish(clock, learner, episodes, knobs, demos, plan, (cost_key, reset_key))
    return learner, metrics | more


def finish(
    clock: Clock, learner: Learner, episodes: Episodes, knobs: Knobs, demos: Demos, plan: Plan,
    keys: tuple[Key[Array, ""], Key[Array, ""]],
) -> tuple[Learner, dict[str, Array]]:  # fmt: skip
    """The end of an epoch: metrics of its evaluation, the cost's step, the policy's reset."""
    feasible, violated = method.feasible_return(episodes.rew, episodes.cost, episodes.mask)
    metrics = {
        "feasible": feasible.mean(),
        "violation": violated.mean(dtype=jnp.float32),
        "return": jnp.where(episodes.mask, episodes.rew, 0).sum(axis=0).mean(),
        "lambda": learner.lam,
        "samples": episodes.mask.sum(dtype=jnp.float32),
    }
    if plan.objective == "known":
        return learner, metrics
    learner, aux = step_cost(learner, episodes, demos, plan, knobs, clock, keys[0])
    parts = ("actor", "cost_critics" if plan.sac.separate_critics else "first_critic")
    fresh, sac = method.reset_last_layers(keys[1], learner.sac, parts), learner.sac
    actor, critics = _where(knobs.reset, (fresh.actor, fresh.critics), (sac.actor, sac.critics))
    return learner._replace(sac=sac._replace(actor=actor, critics=critics)), metrics | aux


def _block(
    clock: Clock, learner: Learner, knobs: Knobs, plan: Plan, key: Key[Array, ""]
) -> tuple[Learner, dict[str, Array]]:
    """Collect a block, then learn."""
    collect_key, batch_key = jax.random.split(key)
    learner, rows = collect(learner, plan, collect_key, learner.sac.actor)
    return learn(clock, learner, rows, knobs, plan, batch_key)


def learn(
    clock: Clock, learner: Learner, rows: Float[Array, "rows row"], knobs: Knobs, plan: Plan,
    key: Key[Array, ""],
) -> tuple[Learner, dict[str, Array]]:  # fmt: skip
    """Store a block's transitions, then update; `clock` counts the blocks before it."""
    task = plan.task
    room = learner.replay.shape[0] // plan.rows
    place = (clock.blocks % room) * plan.rows
    replay = jax.lax.dynamic_update_slice_in_dim(learner.replay, rows, place, 0)
    filled = jnp.minimum(clock.blocks + 1, room) * plan.rows
    lam = jnp.where(clock.epoch < knobs.warm, 0, learner.lam)
    cost = None if plan.objective == "known" else learner.cost

    def update(sac: SACState, chosen: Array) -> tuple[SACState, dict[str, Array]]:
        batch = unpack(replay[chosen], task.obs_dim, task.act_dim)
        return method.sac_update(sac, batch, cost, lam, plan.sac)

    shape = (plan.updates, plan.batch_size)
    chosen = jax.random.randint(key, shape, 0, filled, jnp.int32)
    sac, metrics = jax.lax.scan(update, learner.sac, chosen)
    learner = learner._replace(sac=sac, replay=replay)
    learner = _multiplier(learner, unpack(rows, task.obs_dim, task.act_dim), knobs, plan, clock)
    return learner, {name: x.mean() for name, x in metrics.items()}


def _multiplier(learner: Learner, batch: Batch, knobs: Knobs, plan: Plan, clock: Clock) -> Learner:
    """The third level: the multiplier follows the cost of an episode, where its rate is not 0."""
    cost = batch.cost
    if plan.objective != "known":
        cost = method.cost_apply(
            learner.cost, batch.obs, batch.act, plan.sac.cost_out, plan.sac.cost_clip
        )
    episode_cost = cost.sum() / plan.streams
    moved = method.multiplier_step(learner.lam, learner.adam_lam, episode_cost, knobs.multiplier_lr)
    live = (knobs.multiplier_lr > 0) & (clock.epoch >= knobs.warm)
    lam, adam = _where(live, moved, (learner.lam, learner.adam_lam))
    return learner._replace(lam=lam, adam_lam=adam)


# --- Programs over seeds --------------------------------------------------------------------------


class Trial(NamedTuple):
    """All seeds of a run: shared counters, stacked learners."""

    clock: Clock
    learners: Learner


@functools.partial(jax.jit, static_argnames="plan")
def start(keys: Key[Array, " seeds"], plan: Plan, lam: Float[Array, ""]) -> Trial:
    """Fresh learners for these keys."""
    learners = jax.vmap(lambda key: init(key, plan, lam))(keys)
    return Trial(Clock(jnp.int32(0), jnp.int32(1)), learners)


@functools.partial(jax.jit, static_argnames=("plan", "epochs"))
def advance(
    trial: Trial, knobs: Knobs, demos: Demos, plan: Plan, epochs: int
) -> tuple[Trial, dict[str, Float[Array, "seeds epochs"]]]:
    """`epochs` epochs of every seed, with each epoch's metrics."""

    def step(trial: Trial, _: None) -> tuple[Trial, dict[str, Array]]:
        clock, learners = trial
        learners, metrics = jax.vmap(epoch, in_axes=(None, 0, None, None, None))(
            clock, learners, knobs, demos, plan
        )
        return Trial(Clock(clock.epoch + 1, clock.blocks + plan.blocks), learners), metrics

    trial, metrics = jax.lax.scan(step, trial, None, length=epochs)
    return trial, {name: x.T for name, x in metrics.items()}


@functools.partial(jax.jit, static_argnames=("plan", "episodes"))
def final_episodes(trial: Trial, keys: Key[Array, " seeds"], plan: Plan, episodes: int) -> Episodes:
    """Evaluation episodes of every seed's final policy, seeds first."""
    return jax.vmap(lambda actor, key: evaluate(actor, plan, key, episodes))(
        trial.learners.sac.actor, keys
    )
