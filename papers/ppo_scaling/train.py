"""PPO and PQN: acting, learning from a rollout, and the loop around both in one compiled scan.

Learning does not know where its data come from. Whoever steps environments in a loop of their own
(Atari, Procgen) uses the same four functions as the scan:

    learner = make_learner("ppo", net, spec)           net from `networks`, spec a `BatchSpec`
    state   = learner.init(key)                        LearnState: weights, Adam, iterations done
    acted   = learner.act(state, obs, keys)            obs [N, ...], keys [N] -> actions, values
    value   = learner.value(state, obs)                [N], to bootstrap from
    state, logs = learner.learn(state, rollout, last_obs, key, hyper(...))
    grads   = learner.gradient(state, rollout, last_obs, key, hp)     of one minibatch, for metrics

`Rollout` is time first, [T, N]; `last_obs` [N, ...] are the observations after its last step.
`Hyper` holds numbers that may be traced, so that learning rates or discounts vmap. For environments
that are pure functions (`envs`), `make_ppo` closes the loop:

    init, update = make_ppo(env, net, spec, hp)        init(key) -> TrainState
    state, logs  = update(state)                       one iteration

Randomness: environment i draws from a stream of its own, whatever the number of environments.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, Key

from papers.ppo_scaling import envs
from papers.ppo_scaling.envs import Env
from papers.ppo_scaling.method import BatchSpec, PPOBatch, gae, ppo_loss, pqn_loss, q_lambda
from papers.ppo_scaling.networks import Net

Logs = dict[str, Array]
Algorithm = Literal["ppo", "pqn"]


class Hyper(NamedTuple):
    """Numbers that a run may trace.

    Attributes:
        lr: Adam's step size at the start; it falls linearly to 0 over `iterations` (infinite: it
            stays). gamma, lam: discount, and lambda of GAE or Q(lambda).
        clip, vf, ent: of PPO's loss. max_grad_norm: of the gradient's clipping.
        epsilon_first, epsilon_last, epsilon_share: PQN explores at random with a probability that
            falls linearly from the first to the last over that share of `iterations`.
    """

    lr: Float[Array, ""]
    gamma: Float[Array, ""]
    lam: Float[Array, ""]
    clip: Float[Array, ""]
    vf: Float[Array, ""]
    ent: Float[Array, ""]
    max_grad_norm: Float[Array, ""]
    iterations: Float[Array, ""]
    epsilon_first: Float[Array, ""]
    epsilon_last: Float[Array, ""]
    epsilon_share: Float[Array, ""]


def hyper(
    iterations: int | float,
    *,
    lr: float = 2.5e-4,
    gamma: float = 0.99,
    lam: float = 0.95,
    clip: float = 0.1,
    vf: float = 0.5,
    ent: float = 0.01,
    max_grad_norm: float = 0.5,
    epsilon_first: float = 1.0,
    epsilon_last: float = 0.01,
    epsilon_share: float = 0.1,
) -> Hyper:
    """`Hyper` as float32; defaults: CleanRL's PPO on Atari (PQN: lam 0.65, max_grad_norm 10)."""
    numbers = (lr, gamma, lam, clip, vf, ent, max_grad_norm, iterations,
               epsilon_first, epsilon_last, epsilon_share)  # fmt: skip
    return Hyper(*(jnp.asarray(x, jnp.float32) for x in numbers))


class LearnState(NamedTuple):
    """Weights, Adam's moments, iterations done, and the exploration rate of the next (PQN)."""

    params: Any
    opt_state: optax.OptState
    iteration: Int[Array, ""]
    epsilon: Float[Array, ""]


class Acted(NamedTuple):
    """What N environments are told, and what `learn` must remember of it."""

    actions: Int[Array, " N"]
    log_probs: Float[Array, " N"]
    values: Float[Array, " N"]


class Rollout(NamedTuple):
    """T steps of N environments, time first.

    Attributes:
        obs: what was acted on, [T, N, ...]. values: the critic's there (PQN: max_a Q).
        terminated, truncated: how the transition ended its episode, if it did.
        final_values: `learner.value` of the state that a truncated transition led to; anything
            elsewhere.
    """

    obs: Array
    actions: Int[Array, "T N"]
    log_probs: Float[Array, "T N"]
    values: Float[Array, "T N"]
    rewards: Float[Array, "T N"]
    terminated: Bool[Array, "T N"]
    truncated: Bool[Array, "T N"]
    final_values: Float[Array, "T N"]


class Learner(NamedTuple):
    """An algorithm on a network, as pure functions; see the top of this file."""

    init: Callable[[Key[Array, ""]], LearnState]
    act: Callable[[LearnState, Array, Key[Array, " N"]], Acted]
    value: Callable[[LearnState, Array], Float[Array, " N"]]
    learn: Callable[
        [LearnState, Rollout, Array, Key[Array, ""], Hyper], tuple[LearnState, dict[str, Array]]
    ]
    gradient: Callable[[LearnState, Rollout, Array, Key[Array, ""], Hyper], Any]


# Learning -----------------------------------------------------------------------------------------


def make_learner(
    algorithm: Algorithm,
    net: Net,
    spec: BatchSpec,
    *,
    bootstrap_truncation: bool = True,
    segment: int | None = None,
) -> Learner:
    """PPO or PQN.

    Args:
        bootstrap_truncation: the value after a truncation counts; False takes truncation for
            termination, as CleanRL does.
        segment: cut each rollout into pieces of so many steps, each bootstrapping at its end: long
            rollouts with the bias of short ones, to tell the two effects apart. None: whole.
    """
    if algorithm not in ("ppo", "pqn"):
        raise ValueError(f"algorithm must be ppo or pqn; got {algorithm!r}.")
    if segment is not None and (segment < 1 or spec.n_ro % segment):
        raise ValueError(f"segments of {segment} steps must divide rollouts of {spec.n_ro}.")
    batch = make_batch(algorithm, net, bootstrap_truncation, segment)
    loss = _OBJECTIVES[algorithm]
    act = _sample if algorithm == "ppo" else _epsilon_greedy

    def init(key: Key[Array, ""]) -> LearnState:
        params = net.init(key)
        epsilon = jnp.ones((), jnp.float32)
        return LearnState(params, optimiser().init(params), jnp.zeros((), jnp.int32), epsilon)

    def learn(
        state: LearnState, rollout: Rollout, last_obs: Array, key: Key[Array, ""], hp: Hyper
    ) -> tuple[LearnState, Logs]:
        data = batch(state, rollout, last_obs, hp)
        start = (state.params, state.opt_state)
        lr = hp.lr * jnp.maximum(0.0, 1 - state.iteration.astype(jnp.float32) / hp.iterations)

        def objective(params: Any, part: Any) -> tuple[Array, Logs]:
            return loss(net, params, part, spec.norm_adv, hp)

        (params, opt_state), logs = _epochs(objective, start, data, key, spec, lr, hp)
        iteration = state.iteration + 1
        return LearnState(params, opt_state, iteration, exploration(iteration, hp)), logs

    def gradient(
        state: LearnState, rollout: Rollout, last_obs: Array, key: Key[Array, ""], hp: Hyper
    ) -> Any:
        data = batch(state, rollout, last_obs, hp)
        return one_gradient(algorithm, net, state.params, data, key, hp, spec.norm_adv)

    return Learner(init, lambda s, o, k: act(net, s, o, k),
                   lambda s, o: net.apply(s.params, o).value, learn, gradient)  # fmt: skip


def make_batch(
    algorithm: Algorithm, net: Net, bootstrap_truncation: bool = True, segment: int | None = None
) -> Callable[[LearnState, Rollout, Array, Hyper], Any]:
    """(state, rollout, last_obs, hp) -> what the loss learns from, T N transitions in a row."""
    prepare = _ppo_data if algorithm == "ppo" else _pqn_data

    def batch(state: LearnState, rollout: Rollout, last_obs: Array, hp: Hyper) -> Any:
        last_values = net.apply(state.params, last_obs).value
        if not bootstrap_truncation:
            never = jnp.zeros_like(rollout.truncated)
            over = rollout.terminated | rollout.truncated
            rollout = rollout._replace(terminated=over, truncated=never)
        return prepare(rollout, last_values, segment, hp)

    return batch


def one_gradient(
    algorithm: Algorithm,
    net: Net,
    params: Any,
    data: Any,
    key: Key[Array, ""],
    hp: Hyper,
    norm_adv: bool = True,
) -> Any:
    """The loss's gradient on 256 transitions of a batch (all, where there are fewer)."""
    size = len(data[0])
    order = jax.random.permutation(key, size)[: min(256, size)]
    part = jax.tree.map(lambda x: x[order], data)
    return jax.grad(lambda p: _OBJECTIVES[algorithm](net, p, part, norm_adv, hp)[0])(params)


def optimiser() -> optax.GradientTransformation:
    """Adam's direction with eps 1e-5; gradients are clipped before, steps scaled after it."""
    return optax.scale_by_adam(eps=1e-5)


def exploration(iteration: Int[Array, ""], hp: Hyper) -> Float[Array, ""]:
    """Probability of a random action in PQN's next iteration."""
    done = iteration.astype(jnp.float32) / (hp.epsilon_share * hp.iterations)
    done = jnp.clip(done, 0.0, 1.0)
    return hp.epsilon_first + done * (hp.epsilon_last - hp.epsilon_first)


def _epochs(
    objective: Callable[[Any, Any], tuple[Array, Logs]],
    start: tuple[Any, optax.OptState],
    data: Any,
    key: Key[Array, ""],
    spec: BatchSpec,
    lr: Array,
    hp: Hyper,
) -> tuple[tuple[Any, optax.OptState], Logs]:
    """E passes over the batch, each in a fresh order, an Adam step for each minibatch."""

    def step(carry: tuple[Any, Any], index: Array) -> tuple[tuple[Any, Any], Logs]:
        params, opt_state = carry
        part = jax.tree.map(lambda x: x[index], data)
        (_, logs), grads = jax.value_and_grad(objective, has_aux=True)(params, part)
        norm = optax.tree.norm(grads)
        scale = jnp.minimum(1.0, hp.max_grad_norm / (norm + 1e-6))
        grads = jax.tree.map(lambda g: g * scale, grads)
        with jax.numpy_dtype_promotion("standard"):  # optax mixes its integer counter with floats
            updates, opt_state = optimiser().update(grads, opt_state)
        params = jax.tree.map(lambda p, u: p - lr * u, params, updates)
        return (params, opt_state), logs | {"grad_norm": norm}

    def epoch(carry: tuple[Any, Any], key: Array) -> tuple[tuple[Any, Any], Logs]:
        order = jax.random.permutation(key, spec.batch_size)
        return jax.lax.scan(step, carry, order.reshape(spec.minibatches, spec.minibatch_size))

    carry, logs = jax.lax.scan(epoch, start, jax.random.split(key, spec.epochs))
    return carry, {name: values.mean() for name, values in logs.items()}


def _ppo_data(
    rollout: Rollout, last_values: Array, segment: int | None, hp: Hyper
) -> tuple[Array, PPOBatch]:
    """The batch of T N transitions with its advantages."""
    cut, last = _segments(rollout, last_values, segment)
    done = cut.terminated | cut.truncated
    found = gae(cut.rewards, cut.values, done, last, hp.gamma, hp.lam,
                cut.truncated, cut.final_values)  # fmt: skip
    advantages, returns = (_joined(x, rollout.values.shape) for x in found)
    batch = PPOBatch(rollout.actions, rollout.log_probs, rollout.values, advantages, returns)
    return jax.tree.map(_flat, (rollout.obs, batch))


def _pqn_data(
    rollout: Rollout, last_values: Array, segment: int | None, hp: Hyper
) -> tuple[Array, Array, Array]:
    """The batch with its Q(lambda) targets; the value after a truncation joins the reward."""
    cut, last = _segments(rollout, last_values, segment)
    rewards = cut.rewards + hp.gamma * jnp.where(cut.truncated, cut.final_values, 0.0)
    done = cut.terminated | cut.truncated
    targets = q_lambda(rewards, cut.values, done, last, hp.gamma, hp.lam)
    targets = _joined(targets, rollout.values.shape)
    return _flat(rollout.obs), _flat(rollout.actions), _flat(targets)


def _segments(rollout: Rollout, last_values: Array, segment: int | None) -> tuple[Rollout, Array]:
    """Rewards and values of each piece as if it were a rollout of its own, [segment, pieces N]."""
    T, N = rollout.values.shape
    length = segment or T
    pieces = T // length

    def cut(x: Array) -> Array:
        return x.reshape(pieces, length, N).swapaxes(0, 1).reshape(length, pieces * N)

    # The observations are not cut: targets do not need them.
    parts = rollout._replace(obs=rollout.values)
    starts = rollout.values[::length]
    last = jnp.concatenate([starts[1:], last_values[None]]).reshape(-1)
    return jax.tree.map(cut, parts), last


def _joined(x: Array, shape: tuple[int, ...]) -> Array:
    """The inverse of the cut."""
    T, N = shape
    length = x.shape[0]
    return x.reshape(length, T // length, N).swapaxes(0, 1).reshape(T, N)


def _flat(x: Array) -> Array:
    return x.reshape(-1, *x.shape[2:])


def _ppo_objective(
    net: Net, params: Any, part: tuple[Array, PPOBatch], norm_adv: bool, hp: Hyper
) -> tuple[Array, Logs]:
    obs, batch = part
    heads = net.apply(params, obs)
    loss, aux = ppo_loss(heads.logits, heads.value, batch, hp.clip, hp.vf, hp.ent, norm_adv)
    return loss, dict(aux._asdict())


def _pqn_objective(
    net: Net, params: Any, part: tuple[Array, Array, Array], norm_adv: bool, hp: Hyper
) -> tuple[Array, Logs]:
    obs, actions, targets = part
    loss = pqn_loss(net.apply(params, obs).logits, actions, targets)
    return loss, {"value_loss": loss}


_OBJECTIVES: dict[str, Callable[..., tuple[Array, Logs]]] = {
    "ppo": _ppo_objective,
    "pqn": _pqn_objective,
}


def _sample(net: Net, state: LearnState, obs: Array, keys: Key[Array, " N"]) -> Acted:
    heads = net.apply(state.params, obs)
    actions = jax.vmap(jax.random.categorical)(keys, heads.logits).astype(jnp.int32)
    log_pi = jax.nn.log_softmax(heads.logits)
    taken = jnp.take_along_axis(log_pi, actions[:, None], axis=1)[:, 0]
    return Acted(actions, taken, heads.value)


def _epsilon_greedy(net: Net, state: LearnState, obs: Array, keys: Key[Array, " N"]) -> Acted:
    heads = net.apply(state.params, obs)
    n_actions = heads.logits.shape[1]

    def choose(key: Array, q: Array) -> Array:
        explore, which = jax.random.split(key)
        random = jax.random.randint(which, (), 0, n_actions)
        return jnp.where(jax.random.uniform(explore) < state.epsilon, random, q.argmax())

    actions = jax.vmap(choose)(keys, heads.logits).astype(jnp.int32)
    return Acted(actions, jnp.zeros_like(heads.value), heads.value)


# Collecting ---------------------------------------------------------------------------------------


class Envs(NamedTuple):
    """N environments in the midst of their episodes.

    Attributes:
        keys: each one's stream; steps: how many steps they all have taken.
        returns: rewards of the running episodes so far.
    """

    state: Any
    obs: Array
    keys: Key[Array, " N"]
    steps: Int[Array, ""]
    returns: Float[Array, " N"]


class TrainState(NamedTuple):
    """Everything that determines the rest of a run; `last` is the newest rollout, for metrics."""

    learner: LearnState
    envs: Envs
    last: Rollout
    key: Key[Array, ""]
    hp: Hyper


def start_envs(env: Env, key: Key[Array, ""], n_envs: int, stagger: int = 0) -> Envs:
    """N fresh environments; with `stagger`, number i has first taken i/N of so many random steps.

    Environments that start together are in the same phase of their episodes for a while, and short
    rollouts then see a slice of them only.
    """
    keys = envs.stream(key, n_envs)
    first = jax.vmap(lambda k: jax.random.fold_in(k, 2**31))(keys)
    state, obs = jax.vmap(env.reset)(first)
    done = Envs(state, obs, keys, jnp.zeros((), jnp.int32), jnp.zeros(n_envs, jnp.float32))
    if not stagger:
        return done

    def step(carry: tuple[Any, Array], t: Array) -> tuple[tuple[Any, Array], None]:
        def one(state: Any, obs: Array, key: Array, index: Array) -> tuple[Any, Array]:
            choose, move = jax.random.split(jax.random.fold_in(key, t + jnp.uint32(2**31 + 1)))
            action = jax.random.randint(choose, (), 0, env.n_actions)
            now = env.step(state, action, move)
            late = t * n_envs < index * stagger
            pick = lambda new, old: jnp.where(late, new, old)  # noqa: E731
            return jax.tree.map(pick, (now.state, now.obs), (state, obs))

        index = jnp.arange(n_envs, dtype=jnp.uint32)
        return jax.vmap(one)(*carry, keys, index), None

    times = jnp.arange(stagger, dtype=jnp.uint32)
    (state, obs), _ = jax.lax.scan(step, (state, obs), times)
    return done._replace(state=state, obs=obs)


def collect(
    env: Env, learner: Learner, state: LearnState, now: Envs, n_ro: int
) -> tuple[Envs, Rollout, Logs]:
    """`n_ro` steps of every environment with the policy as it is.

    Returns:
        Also the sum of the returns of episodes that ended, and how many did.
    """

    def step(now: Envs, _: None) -> tuple[Envs, tuple[Rollout, Array, Array]]:
        keys = jax.vmap(jax.random.fold_in, (0, None))(now.keys, now.steps.astype(jnp.uint32))
        pairs = jax.vmap(jax.random.split)(keys)
        acted = learner.act(state, now.obs, pairs[:, 0])
        new = jax.vmap(env.step)(now.state, acted.actions, pairs[:, 1])
        ended = new.terminated | new.truncated
        returns = now.returns + new.reward
        # Few steps truncate, and a forward pass for nothing costs as much as acting does.
        final_values = jax.lax.cond(
            new.truncated.any(), lambda: learner.value(state, new.final_obs),
            lambda: jnp.zeros_like(acted.values),
        )  # fmt: skip
        kept = Rollout(now.obs, acted.actions, acted.log_probs, acted.values, new.reward,
                       new.terminated, new.truncated, final_values)  # fmt: skip
        after = Envs(new.state, new.obs, now.keys, now.steps + 1, jnp.where(ended, 0.0, returns))
        return after, (kept, jnp.sum(jnp.where(ended, returns, 0.0)), ended.sum())

    now, (rollout, returns, episodes) = jax.lax.scan(step, now, None, length=n_ro)
    return now, rollout, {"return_sum": returns.sum(), "episodes": episodes.sum()}


def make_ppo(
    env: Env,
    net: Net,
    spec: BatchSpec,
    hp: Hyper,
    *,
    algorithm: Algorithm = "ppo",
    stagger: int = 0,
    bootstrap_truncation: bool = True,
    segment: int | None = None,
) -> tuple[Callable[[Key[Array, ""]], TrainState], Callable[[TrainState], tuple[TrainState, Logs]]]:
    """The whole algorithm on environments inside the program.

    Returns:
        init(key) -> state, and update(state) -> (state, logs), one iteration; both pure, so that
        they vmap over keys and over `state.hp`.
    """
    learner = make_learner(algorithm, net, spec, bootstrap_truncation=bootstrap_truncation,
                           segment=segment)  # fmt: skip

    def init(key: Key[Array, ""]) -> TrainState:
        weights, worlds, learning = jax.random.split(key, 3)
        state = learner.init(weights)._replace(epsilon=hp.epsilon_first)
        now = start_envs(env, worlds, spec.n_envs, stagger)
        shapes = jax.eval_shape(lambda s, n: collect(env, learner, s, n, spec.n_ro)[1], state, now)
        last = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        return TrainState(state, now, last, learning, hp)

    def update(state: TrainState) -> tuple[TrainState, Logs]:
        now, rollout, ended = collect(env, learner, state.learner, state.envs, spec.n_ro)
        key = jax.random.fold_in(state.key, state.learner.iteration)
        new, logs = learner.learn(state.learner, rollout, now.obs, key, state.hp)
        return TrainState(new, now, rollout, state.key, state.hp), logs | ended

    return init, update


def evaluate(
    env: Env, learner: Learner, state: LearnState, key: Key[Array, ""], episodes: int
) -> Float[Array, " episodes"]:
    """Undiscounted returns of fresh episodes, each played to its end by the policy as it acts.

    Returns of episodes that end *during* training favour short ones as long as environments have
    taken few steps each, the more the more environments there are; these do not.
    """
    now = start_envs(env, key, episodes)
    running = jnp.ones(episodes, bool)

    def more(carry: tuple[Envs, Array]) -> Array:
        return carry[1].any()

    def step(carry: tuple[Envs, Array]) -> tuple[Envs, Array]:
        now, running = carry
        keys = jax.vmap(jax.random.fold_in, (0, None))(now.keys, now.steps.astype(jnp.uint32))
        pairs = jax.vmap(jax.random.split)(keys)
        acted = learner.act(state, now.obs, pairs[:, 0])
        new = jax.vmap(env.step)(now.state, acted.actions, pairs[:, 1])
        returns = now.returns + jnp.where(running, new.reward, 0.0)
        running = running & ~(new.terminated | new.truncated)
        return Envs(new.state, new.obs, now.keys, now.steps + 1, returns), running

    return jax.lax.while_loop(more, step, (now, running))[0].returns


def legacy_envpool_dummy(env: Env) -> Env:
    """The same environment reset on the *next* step, with the transition that EnvPool then adds.

    After an end comes one more transition: from the terminal observation, the action ignored,
    reward 0, not ended. CleanRL's code for EnvPool learns from it (its issue 562). For comparison.
    """

    class Waiting(NamedTuple):
        inner: Any
        first_obs: Array
        over: Array

    def reset(key: Key[Array, ""]) -> tuple[Any, Array]:
        inner, obs = env.reset(key)
        return Waiting(inner, obs, jnp.zeros((), bool)), obs

    def step(state: Any, action: Array, key: Array) -> envs.Transition:
        new = env.step(state.inner, action, key)
        over = state.over
        pick = lambda dummy, real: jnp.where(over, dummy, real)  # noqa: E731
        inner = jax.tree.map(pick, state.inner, new.state)
        terminated, truncated = new.terminated & ~over, new.truncated & ~over
        obs = pick(state.first_obs, new.final_obs)
        waiting = Waiting(inner, pick(state.first_obs, new.obs), terminated | truncated)
        reward = pick(jnp.zeros_like(new.reward), new.reward)
        return envs.Transition(waiting, obs, reward, terminated, truncated, obs)

    return env._replace(reset=reset, step=step)


def parameters(params: Any) -> int:
    """How many numbers a network has."""
    return sum(math.prod(x.shape) for x in jax.tree.leaves(params))
