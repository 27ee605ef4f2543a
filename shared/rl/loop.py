"""Training in pure-JAX environments: collecting and updating as one compiled program.

An environment is a pytree with two methods on one copy, `reset(key)` and `step(state, action,
key)`; see `Env`. N copies are stepped side by side. Each iteration of a `Plan` is a block of
environment steps, inserted into the replay, and a block of updates:

    setup = Setup(td3.learner(spec), Uniform(layout), Plan(envs=8, steps=4, updates=32, batch=64))

    def chunk(state):                                            # one seed
        return train(state, env, hyper, setup, iterations=100)

    state = jax.vmap(lambda key: init(key, env, setup))(seed_keys(seeds, "train"))
    state = jax.vmap(lambda state: warm_up(state, env, setup, steps=100))(state)
    state, metrics = over_seeds(chunk)(state)                    # shared.gpu

The draws of a step depend on the run's key and on the steps before, so a run may be split anywhere.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from shared.experiment.errors import BadInput
from shared.rl.pieces import Learner, Metrics
from shared.rl.replay import Batch, Layout, Store
from shared.rl.scan import updates

EnvStep = tuple[Any, Array, Array, Array, Array, Array]
Policy = Callable[[Array, Array], Array]  # (obs [N, o], key) -> actions [N, a] in [-1, 1]


@runtime_checkable
class Env(Protocol):
    """One copy of an environment; a pytree, whose arrays may differ from seed to seed."""

    def reset(self, key: Array) -> tuple[Any, Array]:
        """The state and observation of a new episode."""
        ...

    def step(self, state: Any, action: Array, key: Array) -> EnvStep:
        """(state, obs, reward, terminated, truncated, final_obs).

        Where the episode ended, state and obs are those of the next one. final_obs is the
        observation that this step led to, in any case. terminated and truncated are booleans.
        """
        ...


Reset = Callable[[Array], tuple[Any, Array]]
Advance = Callable[[Any, Array, Array], tuple[Any, Array, Array, Array, Array]]


def auto_reset(reset: Reset, advance: Advance) -> Callable[[Any, Array, Array], EnvStep]:
    """A `step` as `Env` wants it, from one that does not begin new episodes.

    advance: (state, action, key) -> (state, obs, reward, terminated, truncated).
    """

    def step(state: Any, action: Array, key: Array) -> EnvStep:
        k_step, k_reset = jax.random.split(key)
        after, final_obs, reward, terminated, truncated = advance(state, action, k_step)
        ended = terminated | truncated
        fresh = reset(k_reset)
        state, obs = jax.tree.map(
            lambda new, old: jnp.where(ended, new, old), fresh, (after, final_obs)
        )
        return state, obs, reward, terminated, truncated, final_obs

    return step


@dataclass(frozen=True)
class Plan:
    """One iteration: `steps` of each of `envs` copies, then `updates` on batches of `batch`."""

    envs: int = 1
    steps: int = 1
    updates: int = 1
    batch: int = 256

    def __post_init__(self) -> None:
        for name in ("envs", "steps", "batch"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name} of a plan is at least 1, not {getattr(self, name)}.")
        if self.updates < 0:
            raise BadInput(f"updates of a plan are at least 0, not {self.updates}.")

    @property
    def update_ratio(self) -> float:
        """Updates per environment step."""
        return self.updates / (self.envs * self.steps)


@dataclass(frozen=True)
class Setup:
    """What training consists of; static in compiled functions."""

    learner: Learner
    store: Store
    plan: Plan


class LoopState(NamedTuple):
    """All that the rest of a run depends on.

    Attributes:
        learner, buffer: of `Setup`. env, obs: of the running episodes, [envs, ...].
        time, returns: steps and rewards of the running episodes so far. key: of the run. steps:
            environment steps of each copy so far.
    """

    learner: Any
    buffer: Any
    env: Any
    obs: Float[Array, "envs o"]
    time: Int[Array, " envs"]
    returns: Float[Array, " envs"]
    key: Key[Array, ""]
    steps: Int[Array, ""]


def streams(key: Key[Array, ""]) -> tuple[Array, Array]:
    """The run's keys of collecting and of updating."""
    collecting, updating = jax.random.split(key)
    return collecting, updating


def init(key: Key[Array, ""], env: Env, setup: Setup) -> LoopState:
    """A run at its beginning: fresh networks, an empty replay, episodes just begun."""
    k_learner, k_env, k_run = jax.random.split(key, 3)
    envs = setup.plan.envs
    env_state, obs = jax.vmap(env.reset)(jax.random.split(k_env, envs))
    return LoopState(
        learner=setup.learner.init(k_learner),
        buffer=setup.store.make(),
        env=env_state,
        obs=obs,
        time=jnp.zeros(envs, jnp.int32),
        returns=jnp.zeros(envs, jnp.float32),
        key=k_run,
        steps=jnp.int32(0),
    )


def collect(
    state: LoopState, env: Env, policy: Policy, setup: Setup, steps: int
) -> tuple[LoopState, Metrics]:
    """`steps` of every copy, put into the replay.

    Metrics: `episodes` that ended, and `return_sum` of their undiscounted returns.
    """
    collecting, _ = streams(state.key)

    def step(carry: LoopState, _: None) -> tuple[LoopState, tuple[Batch, Metrics]]:
        k_policy, k_env = jax.random.split(jax.random.fold_in(collecting, carry.steps))
        action = policy(carry.obs, k_policy)
        keys = jax.random.split(k_env, action.shape[0])
        after, obs, reward, terminated, truncated, final = jax.vmap(env.step)(
            carry.env, action, keys
        )
        extras = known_extras(setup.store.layout, carry.time)
        mask = terminated.astype(jnp.float32)
        batch = Batch(carry.obs, action, final, reward, mask, extras)
        ended = terminated | truncated
        returns = carry.returns + reward
        counts = {
            "episodes": jnp.sum(ended.astype(jnp.float32)),
            "return_sum": jnp.sum(jnp.where(ended, returns, 0)),
        }
        carry = carry._replace(
            env=after,
            obs=obs,
            time=jnp.where(ended, 0, carry.time + 1),
            returns=jnp.where(ended, 0, returns),
            steps=carry.steps + 1,
        )
        return carry, (batch, counts)

    # The replay stays out of the loop over steps, which does not read it.
    bare, (batch, counts) = jax.lax.scan(step, state._replace(buffer=()), length=steps)
    batch = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), batch)
    buffer = setup.store.insert(state.buffer, batch)
    return bare._replace(buffer=buffer), {name: jnp.sum(x) for name, x in counts.items()}


def known_extras(layout: Layout, time: Any) -> dict[str, Any]:
    """The extras that a loop can fill in by itself: `time`."""
    names = [name for name, _ in layout.extras]
    if unknown := set(names) - {"time"}:
        raise BadInput(
            f"Loops know the extra 'time' only, not {sorted(unknown)[0]!r}; insert such "
            "transitions by a loop of your own."
        )
    return {"time": time} if names else {}


def random_policy(action: int) -> Policy:
    """Uniform actions in [-1, 1]."""

    def policy(obs: Array, key: Array) -> Array:
        return jax.random.uniform(key, (obs.shape[0], action), jnp.float32, -1.0, 1.0)

    return policy


def warm_up(state: LoopState, env: Env, setup: Setup, steps: int) -> LoopState:
    """`steps` of every copy with uniform actions, no updates."""
    return collect(state, env, random_policy(setup.store.layout.action), setup, steps)[0]


def iterate(state: LoopState, env: Env, hyper: Any, setup: Setup) -> tuple[LoopState, Metrics]:
    """One iteration of the plan. Metrics: those of `collect` and of the learner."""
    plan, learner = setup.plan, setup.learner

    def policy(obs: Array, key: Array) -> Array:
        return learner.explore(state.learner, obs, key, hyper)

    state, counts = collect(state, env, policy, setup, plan.steps)
    if not plan.updates:
        return state, counts
    inner, buffer, metrics = updates(
        state.learner, state.buffer, streams(state.key)[1], hyper,
        learner=learner, store=setup.store, n=plan.updates, batch=plan.batch,
    )  # fmt: skip
    return state._replace(learner=inner, buffer=buffer), metrics | counts


def train(
    state: LoopState, env: Env, hyper: Any, setup: Setup, iterations: int
) -> tuple[LoopState, Metrics]:
    """Iterations of the plan, one after another; not compiled by itself.

    Returns:
        The state; and means over the iterations of the learner's metrics, `episodes` that ended in
        all, and `episode_return`, the mean of their returns (0 if none ended).
    """
    if iterations < 1:
        raise BadInput(f"iterations are at least 1, not {iterations}.")

    def body(state: LoopState, _: None) -> tuple[LoopState, Metrics]:
        return iterate(state, env, hyper, setup)

    state, metrics = jax.lax.scan(body, state, length=iterations)
    episodes, total = (jnp.sum(metrics.pop(name)) for name in ("episodes", "return_sum"))
    means = {name: jnp.mean(x) for name, x in metrics.items()}
    return state, means | {
        "episodes": episodes,
        "episode_return": total / jnp.maximum(episodes, 1),
    }
