"""Training with environments on the host (MuJoCo): steps in NumPy, updates in one compiled block.

`HostEnv` is all that is asked of an environment: N copies stepped as one batch, and a state that
can be taken out and put back. Each block takes `Plan.steps` steps of all copies, inserts them into
the replay on the device, and runs `Plan.updates` updates:

    setup = Setup(sac.learner(spec), Uniform(layout), Plan(envs=8, steps=125, updates=1000))
    state = init(key, seeds, env, setup)
    state = warm_up(state, env, setup, steps=125)
    state, metrics = block(state, env, hyper, setup)      # as often as wanted

`HostState` is one pytree that determines the rest of the run: what `env` did meanwhile does not
matter, since every call puts the state back first. Learner and replay in it are donated, so go on
with the returned state.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from shared.experiment.errors import BadInput
from shared.rl.loop import Setup, known_extras, random_policy, streams
from shared.rl.pieces import Learner
from shared.rl.replay import Batch, Store
from shared.rl.scan import update_many

HostStep = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]
Act = Callable[[np.ndarray, int], np.ndarray]  # (obs, steps so far) -> actions
Numbers = dict[str, float]


@runtime_checkable
class HostEnv(Protocol):
    """N copies of an environment, stepped as one batch of NumPy arrays."""

    def reset(self, seeds: Sequence[int]) -> np.ndarray:
        """Begin an episode in each of the N copies, one seed each; observations [N, o].

        The seed of a copy also determines how its later episodes begin.
        """
        ...

    def step(self, actions: np.ndarray) -> HostStep:
        """Actions [N, a] in [-1, 1] -> obs, reward, terminated, truncated, final_obs.

        Copies whose episode ended begin the next one: obs [N, o] is where they go on. final_obs is
        where the step led, for every copy.
        """
        ...

    def get_state(self) -> Any:
        """A pytree of arrays that determines everything to come, random numbers included."""
        ...

    def set_state(self, state: Any) -> None:
        """Go on from such a state."""
        ...


class HostState(NamedTuple):
    """All that the rest of a run depends on; the fields of `loop.LoopState`.

    obs, time and returns are NumPy's, `steps` a Python number, `env` what `get_state` gave.
    """

    learner: Any
    buffer: Any
    env: Any
    obs: Float[np.ndarray, "envs o"]
    time: Int[np.ndarray, " envs"]
    returns: Float[np.ndarray, " envs"]
    key: Key[Array, ""]
    steps: int


def init(
    key: Key[Array, ""],
    seeds: Sequence[int],
    env: HostEnv,
    setup: Setup,
    budget_bytes: int | None = None,
) -> HostState:
    """A run at its beginning.

    Args:
        seeds: one per copy, of its episodes. budget_bytes: what the replay may take.
    """
    if len(seeds) != setup.plan.envs:
        raise BadInput(f"{setup.plan.envs} environments need as many seeds, not {len(seeds)}.")
    k_learner, k_run = jax.random.split(key)
    obs = np.asarray(env.reset(seeds), np.float32)
    if obs.shape != (len(seeds), setup.store.layout.obs):
        raise BadInput(
            f"The replay expects observations {(len(seeds), setup.store.layout.obs)}, the "
            f"environment gives {obs.shape}."
        )
    return HostState(
        learner=_init(k_learner, setup.learner),
        buffer=setup.store.make(budget_bytes),
        env=env.get_state(),
        obs=obs,
        time=np.zeros(len(seeds), np.int32),
        returns=np.zeros(len(seeds), np.float64),
        key=k_run,
        steps=0,
    )


def collect(
    state: HostState, env: HostEnv, act: Act, setup: Setup, steps: int
) -> tuple[HostState, Batch, Numbers]:
    """`steps` of every copy.

    Returns:
        The state, its replay as before; the transitions, [steps x N] in order of time; and
        `episodes` that ended with the mean `episode_return` of theirs (0 if none did).
    """
    if steps < 1:
        raise BadInput(f"A block has at least 1 step, not {steps}.")
    env.set_state(state.env)
    obs, time, returns = state.obs, state.time, state.returns
    block: list[Any] = []
    ended_returns: list[float] = []
    for t in range(state.steps, state.steps + steps):
        action = act(obs, t)
        after, reward, terminated, truncated, final = env.step(action)
        block.append((obs, action, final, reward, terminated, time))
        ended = terminated | truncated
        returns = returns + reward
        ended_returns.extend(returns[ended].tolist())
        returns, time = np.where(ended, 0.0, returns), np.where(ended, 0, time + 1)
        obs = np.asarray(after, np.float32)
    columns: list[Any] = [
        np.concatenate(column).astype(np.float32) for column in zip(*block, strict=True)
    ]
    batch = Batch(*columns[:5], extras=known_extras(setup.store.layout, columns[5]))
    state = state._replace(
        env=env.get_state(), obs=obs, time=time, returns=returns, steps=state.steps + steps
    )
    mean = float(np.mean(ended_returns)) if ended_returns else 0.0
    return state, batch, {"episodes": float(len(ended_returns)), "episode_return": mean}


def exploring(state: HostState, hyper: Any, learner: Learner) -> Act:
    """The learner's actions with its noise."""
    key = streams(state.key)[0]
    return lambda obs, t: np.asarray(_explore(state.learner, obs, key, np.int32(t), hyper, learner))


def random_actions(state: HostState, action: int) -> Act:
    """Uniform actions in [-1, 1]."""
    key = streams(state.key)[0]
    return lambda obs, t: np.asarray(_random(obs, key, np.int32(t), action))


def insert(state: HostState, batch: Batch, store: Store) -> HostState:
    """The state with these transitions in its replay."""
    return state._replace(buffer=_insert(state.buffer, batch, store))


def warm_up(state: HostState, env: HostEnv, setup: Setup, steps: int) -> HostState:
    """`steps` of every copy with uniform actions, no updates."""
    act = random_actions(state, setup.store.layout.action)
    state, batch, _ = collect(state, env, act, setup, steps)
    return insert(state, batch, setup.store)


def learn(state: HostState, hyper: Any, setup: Setup, n: int) -> tuple[HostState, Numbers]:
    """`n` updates in one compiled block (compiles once per n), and the learner's metrics."""
    cycle = len(setup.learner.cycle)
    if int(state.learner.step) % cycle:
        raise BadInput(f"Blocks begin where a cycle of {cycle} updates does; this state is within.")
    learner, buffer, metrics = update_many(
        state.learner, state.buffer, streams(state.key)[1], hyper,
        learner=setup.learner, store=setup.store, n=n, batch=setup.plan.batch,
    )  # fmt: skip
    found = {name: float(value) for name, value in jax.device_get(metrics).items()}
    return state._replace(learner=learner, buffer=buffer), found


def learn_about(
    state: HostState, hyper: Any, setup: Setup, n: int, unit: int
) -> tuple[HostState, Numbers, int]:
    """Blocks of `unit` updates, as many as `n` holds; the rest is returned, for the next time.

    For bursts of varying length, which would otherwise compile again and again.
    """
    metrics: list[Numbers] = []
    for _ in range(n // unit):
        state, found = learn(state, hyper, setup, unit)
        metrics.append(found)
    means = (
        {name: float(np.mean([m[name] for m in metrics])) for name in metrics[0]} if metrics else {}
    )
    return state, means, n % unit


def block(state: HostState, env: HostEnv, hyper: Any, setup: Setup) -> tuple[HostState, Numbers]:
    """One iteration of the plan: collect, insert, update."""
    act = exploring(state, hyper, setup.learner)
    state, batch, counts = collect(state, env, act, setup, setup.plan.steps)
    state = insert(state, batch, setup.store)
    if not setup.plan.updates:
        return state, counts
    state, metrics = learn(state, hyper, setup, setup.plan.updates)
    return state, metrics | counts


def evaluate(
    learner_state: Any, env: HostEnv, seeds: Sequence[int], learner: Learner, horizon: int
) -> Float[np.ndarray, " envs"]:
    """Undiscounted return of one episode of each copy, with the learner's actions without noise.

    `env` is one of its own, not the one that trains. horizon: steps after which to stop anyway.
    """
    obs = np.asarray(env.reset(seeds), np.float32)
    total, alive = np.zeros(len(seeds)), np.ones(len(seeds), bool)
    for _ in range(horizon):
        obs, reward, terminated, truncated, _ = env.step(
            np.asarray(_greedy(learner_state, np.asarray(obs, np.float32), learner))
        )
        total += np.where(alive, reward, 0)
        alive &= ~(terminated | truncated)
        if not alive.any():
            break
    return total


@partial(jax.jit, static_argnames="learner")
def _init(key: Array, learner: Learner) -> Any:
    return learner.init(key)


@partial(jax.jit, static_argnames="learner")
def _explore(state: Any, obs: Any, key: Array, t: Any, hyper: Any, learner: Learner) -> Array:
    return learner.explore(state, jnp.asarray(obs), jax.random.fold_in(key, t), hyper)


@partial(jax.jit, static_argnames="learner")
def _greedy(state: Any, obs: Any, learner: Learner) -> Array:
    return learner.act(state, jnp.asarray(obs))


@partial(jax.jit, static_argnames="action")
def _random(obs: Any, key: Array, t: Any, action: int) -> Array:
    return random_policy(action)(jnp.asarray(obs), jax.random.fold_in(key, t))


@partial(jax.jit, static_argnames="store", donate_argnames="buffer")
def _insert(buffer: Any, batch: Batch, store: Store) -> Any:
    return store.insert(buffer, batch)
