"""The loop around a learner: an episode, then the updates that are due, then the next episode.

    episode      uniform actions at first, then the policy's plus Gaussian noise
    replay       the whole episode goes in
    schedule     SFM: `method.CheckpointSchedule`: how many updates, whether to keep the policy
                 others: as many updates as the episode had steps, the newest policy counts
    updates      in blocks, in one compiled loop

For one seed; vmap over seeds. On `PointMass` collecting is part of the compiled program (`chunk`);
other environments hand over an `Episode` that they have collected (`learn`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from papers.sfm import replay as memory
from papers.sfm.matching import Demos
from papers.sfm.method import CheckpointSchedule, Params, ScheduleState, expert_sf
from papers.sfm.optimisers import TD3, Core, Metrics
from papers.sfm.pointmass import PointMass, Policy, rollout
from papers.sfm.replay import Episode, Replay


@runtime_checkable
class Learner(Protocol):
    """SFM or one of the learners from a reward."""

    @property
    def optimiser(self) -> TD3: ...
    @property
    def gamma(self) -> float: ...
    def init(self, key: Key[Array, ""], obs_dim: int, act_dim: int) -> tuple[Core, Any]: ...
    def block(
        self, core: Core, own: Any, replay: Replay, demos: Demos, key: Key[Array, ""]
    ) -> tuple[Core, Any, Metrics]: ...
    def score(self, own: Any, trajectory: Float[Array, "T s"]) -> Float[Array, ""]: ...
    def after_episode(self, own: Any, replay: Replay, demos: Demos, key: Key[Array, ""]) -> Any: ...


@dataclass(frozen=True)
class Plan:
    """What is static about a run.

    Attributes:
        length: steps of an episode. random_episodes: before the first update.
        relax_episodes: episodes before a policy is tried for up to `max_episodes`; None: never, and
            the newest policy counts, as for learners without a score.
        noise: standard deviation of exploration. capacity: episodes kept for replay.
        evaluations: episodes of an evaluation.
    """

    length: int
    random_episodes: int
    relax_episodes: int | None
    max_episodes: int = 3
    noise: float = 0.1
    capacity: int = 1000
    evaluations: int = 10

    @property
    def schedule(self) -> CheckpointSchedule:
        """The train-and-keep schedule; without a score each policy is kept."""
        relax = 2**30 if self.relax_episodes is None else self.relax_episodes * self.length
        return CheckpointSchedule(
            self.length, self.random_episodes * self.length, relax, self.max_episodes
        )


class Kept(NamedTuple):
    """The policy that an evaluation takes: actor and the encoder it acts with."""

    actor: Params
    encoder: Params


class TrainState(NamedTuple):
    """All that the rest of one seed's run depends on.

    Attributes:
        core, own: the actor-critic, and what the algorithm trains beside it.
        episodes: done so far. key: the run's, never changed.
    """

    core: Core
    own: Any
    replay: Replay
    kept: Kept
    schedule: ScheduleState
    episodes: Int[Array, ""]
    key: Key[Array, ""]


class Trial(NamedTuple):
    """One seed's run: its state, and the demonstrations it imitates (data, not program)."""

    train: TrainState
    demos: Demos


def newest_policy(state: TrainState) -> Kept:
    """What the actor is now."""
    return Kept(state.core.nets.actor, state.core.slow.encoder)


def init(
    learner: Learner, plan: Plan, obs_dim: int, act_dim: int, key: Key[Array, ""]
) -> TrainState:
    """A run at its beginning."""
    k_init, k_run = jax.random.split(key)
    core, own = learner.init(k_init, obs_dim, act_dim)
    replay = memory.empty(plan.capacity, plan.length, obs_dim, act_dim)
    kept = jax.tree.map(jnp.copy, Kept(core.nets.actor, core.slow.encoder))
    schedule = plan.schedule.state
    return TrainState(core, own, replay, kept, schedule, jnp.int32(0), k_run)


def explore(
    learner: Learner, plan: Plan, state: TrainState, obs: Float[Array, "*B s"], key: Key[Array, ""]
) -> Float[Array, "*B a"]:
    """The action of data collection."""
    k_uniform, k_noise = jax.random.split(key)
    action = learner.optimiser.act(state.core, obs)
    noise = plan.noise * jax.random.normal(k_noise, action.shape, action.dtype)
    uniform = jax.random.uniform(k_uniform, action.shape, action.dtype, -1, 1)
    noisy = jnp.clip(action + noise, -1, 1)
    return jnp.where(state.episodes < plan.random_episodes, uniform, noisy)


def exploit(learner: Learner, kept: Kept, obs: Float[Array, "*B s"]) -> Float[Array, "*B a"]:
    """The deterministic action of a policy."""
    return learner.optimiser.networks.act(kept.actor, kept.encoder, obs)


def learn(
    learner: Learner, plan: Plan, state: TrainState, episode: Episode, demos: Demos
) -> tuple[TrainState, Metrics]:
    """Take in an episode and do the updates that are due after it."""
    k_own, k_updates = (jax.random.fold_in(state.key, s) for s in (_OWN, _UPDATE))
    replay = memory.insert(state.replay, episode)
    own = learner.after_episode(state.own, replay, demos, k_own)
    gap = learner.score(own, episode.obs)
    last_step = (state.episodes + 1) * plan.length - 1
    schedule, updates, keep = plan.schedule.advance(state.schedule, gap, last_step)
    current = newest_policy(state)
    kept = jax.tree.map(lambda new, old: jnp.where(keep, new, old), current, state.kept)

    def body(_: Any, carry: tuple[Core, Any, Metrics]) -> tuple[Core, Any, Metrics]:
        core, own, _ = carry
        return learner.block(core, own, replay, demos, k_updates)

    none = _no_metrics(learner, state.core, own, replay, demos, k_updates)
    blocks = updates // learner.optimiser.rates.policy_delay
    # Replay and demonstrations are read in the loop, not carried through it.
    core, own, metrics = jax.lax.fori_loop(0, blocks, body, (state.core, own, none))
    metrics |= {"episode_gap": gap, "episode_reward": jnp.mean(episode.reward)}
    metrics |= {"updates": updates.astype(jnp.float32)}
    state = TrainState(core, own, replay, kept, schedule, state.episodes + 1, state.key)
    return state, metrics


def _no_metrics(learner: Learner, core: Core, own: Any, *rest: Any) -> Metrics:
    shapes = jax.eval_shape(learner.block, core, own, *rest)[2]
    return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)


def collect(learner: Learner, plan: Plan, state: TrainState, env: PointMass) -> Episode:
    """One episode of data collection on the point mass."""
    return rollout(env, lambda obs, k: explore(learner, plan, state, obs, k), collection_key(state))


def chunk(
    learner: Learner, plan: Plan, env: PointMass, state: TrainState, demos: Demos, episodes: int
) -> tuple[TrainState, Metrics]:
    """So many episodes with their updates, in one program; metrics are those of the last."""

    def step(state: TrainState, _: None) -> tuple[TrainState, Metrics]:
        return learn(learner, plan, state, collect(learner, plan, state, env), demos)

    state, metrics = jax.lax.scan(step, state, None, length=episodes)
    metrics = {name: values[-1] for name, values in metrics.items()}
    return state, metrics


def collection_key(state: TrainState) -> Key[Array, ""]:
    """A stream of its own for each collected episode."""
    return jax.random.fold_in(jax.random.fold_in(state.key, _COLLECT), state.episodes)


def evaluation_key(state: TrainState) -> Key[Array, ""]:
    """A stream of its own for each evaluation."""
    return jax.random.fold_in(jax.random.fold_in(state.key, _EVALUATE), state.episodes)


# Streams of the run's key, all by fold_in: a split key could coincide with a folded one.
_OWN, _UPDATE, _COLLECT, _EVALUATE = range(4)


# --- What an evaluation measures ------------------------------------------------------------------


def episodes_of(env: PointMass, policy: Policy, key: Key[Array, ""], number: int) -> Episode:
    """Whole episodes of a policy, side by side."""
    return jax.vmap(lambda k: rollout(env, policy, k))(jax.random.split(key, number))


RULER_FEATURES, RULER_SCALE, RULER_GAMMA = 256, 0.5, 0.99


def ruler(states: Float[Array, "*B s"]) -> Float[Array, "*B 256"]:
    """Random Fourier features of a Gaussian kernel, length scale 0.5 in units of the observation.

    The same for all runs and trained on by none: a distance of their means approximates the maximum
    mean discrepancy (Rahimi and Recht, 2007).
    """
    k_direction, k_phase = jax.random.split(jax.random.key(7, impl="threefry2x32"))
    shape = (states.shape[-1], RULER_FEATURES)
    directions = jax.random.normal(k_direction, shape, jnp.float32) / RULER_SCALE
    phase = jax.random.uniform(k_phase, (RULER_FEATURES,), jnp.float32, 0, 2 * jnp.pi)
    return math.sqrt(2 / RULER_FEATURES) * jnp.cos(states @ directions + phase)


def occupancy_gap(
    demos: Demos, obs: Float[Array, "N L s"], gamma: float = RULER_GAMMA
) -> Float[Array, ""]:
    """Distance of the discounted occupancies of demonstrations and roll-outs, in [0, sqrt 2].

    (1 - gamma) |psi_E - psi_pi| in the features of `ruler`, from whole episodes alone.
    """

    def mean_sum(states: Array) -> Array:
        phi = ruler(states)
        total = jnp.mean(jax.vmap(lambda f: expert_sf(f, gamma))(phi), axis=0)
        return (1 - gamma) / (1 - gamma ** states.shape[1]) * total

    return jnp.linalg.norm(mean_sum(demos) - mean_sum(obs))


def measures(episodes: Episode, demos: Demos) -> Metrics:
    """`curve`, mean reward a step; `gap`, by the ruler that is the same for all learners."""
    gap = occupancy_gap(demos, episodes.obs)
    return {"curve": jnp.mean(episodes.reward), "gap": gap}
