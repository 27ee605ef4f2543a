"""Learning against an independent loop, the first minibatch, truncation, seeds side by side."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from papers.ppo_scaling import claims, envs, measure, networks, train
from papers.ppo_scaling.method import BatchSpec, PPOBatch, gae, ppo_loss, pqn_loss, q_lambda
from papers.ppo_scaling.train import Rollout, hyper

SPEC = BatchSpec(4, 8, epochs=2, num_minibatches=2)


@functools.cache
def net(algorithm="ppo", encoder="shared"):
    return networks.make("mlp", (4,), 2, hidden=(8, 8), algorithm=algorithm, encoder=encoder)


def rollout(seed=0, T=8, N=4):
    rng = np.random.default_rng(seed)
    done = rng.random((T, N)) < 0.2
    cut = done & (rng.random((T, N)) < 0.5)

    def real(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    return Rollout(
        real(T, N, 4),
        jnp.asarray(rng.integers(2, size=(T, N)), jnp.int32),
        -jnp.abs(real(T, N)),
        real(T, N),
        real(T, N),
        jnp.asarray(done & ~cut),
        jnp.asarray(cut),
        real(T, N),
    ), real(N, 4)


# Learning -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["ppo", "pqn"])
def test_learning_is_an_independent_loop(algorithm):
    """Flattened, permuted, split and stepped by hand, with optax's own clipping and Adam."""
    apply = net(algorithm).apply
    learner = train.make_learner(algorithm, net(algorithm), SPEC)
    state = learner.init(jax.random.key(0))
    data, last_obs = rollout()
    hp = hyper(10, lr=1e-2, clip=0.2, lam=0.7, max_grad_norm=0.3)
    found, _ = jax.jit(learner.learn)(state, data, last_obs, jax.random.key(5), hp)

    last = apply(state.params, last_obs).value
    done = data.terminated | data.truncated
    if algorithm == "ppo":
        adv, ret = gae(
            data.rewards, data.values, done, last, 0.99, 0.7, data.truncated, data.final_values
        )
    else:
        bonus = 0.99 * jnp.where(data.truncated, data.final_values, 0.0)
        adv = ret = q_lambda(data.rewards + bonus, data.values, done, last, 0.99, 0.7)
    flat = [np.asarray(x).reshape(32, *x.shape[2:])
            for x in (data.obs, data.actions, data.log_probs, data.values, adv, ret)]  # fmt: skip

    def loss(params, rows):
        obs, actions, *rest = (jnp.asarray(x[rows]) for x in flat)
        heads = apply(params, obs)
        if algorithm == "pqn":
            return pqn_loss(heads.logits, actions, rest[-1])
        return ppo_loss(heads.logits, heads.value, PPOBatch(actions, *rest), 0.2, 0.5, 0.01)[0]

    with jax.numpy_dtype_promotion("standard"):
        adam = optax.chain(optax.clip_by_global_norm(0.3), optax.adam(1e-2, eps=1e-5))
        params, moments = state.params, adam.init(state.params)
        for key in jax.random.split(jax.random.key(5), 2):
            order = np.asarray(jax.random.permutation(key, 32))
            for rows in order.reshape(2, 16):
                updates, moments = adam.update(jax.grad(loss)(params, rows), moments)
                params = optax.apply_updates(params, updates)
    for a, b in zip(jax.tree.leaves(found.params), jax.tree.leaves(params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-5)
    assert int(found.iteration) == 1


def test_step_sizes_fall_to_zero():
    learner = train.make_learner("ppo", net(), SPEC)
    data, last_obs = rollout()
    start = learner.init(jax.random.key(0))
    moved = []
    learn = jax.jit(learner.learn)
    for iteration in (0, 5, 9, 10):
        state = start._replace(iteration=jnp.int32(iteration))
        new, _ = learn(state, data, last_obs, jax.random.key(1), hyper(10, lr=1e-4))
        pairs = zip(jax.tree.leaves(new.params), jax.tree.leaves(start.params), strict=True)
        moved.append(sum(float(jnp.abs(a - b).sum()) for a, b in pairs))
    np.testing.assert_allclose(np.array(moved) / moved[0], [1, 0.5, 0.1, 0], rtol=0.05, atol=1e-6)


def test_exploration_falls_to_its_end():
    hp = hyper(100, epsilon_share=0.1)
    found = [float(train.exploration(jnp.int32(i), hp)) for i in (0, 5, 10, 50)]
    np.testing.assert_allclose(found, [1, 0.505, 0.01, 0.01], rtol=1e-5)


def test_the_first_step_of_an_update_is_on_policy():
    """With one minibatch and one epoch the ratio is 1 exactly: nothing clipped, no divergence."""
    env = envs.cartpole()
    spec = BatchSpec(4, 8, epochs=1, num_minibatches=1)
    init, update = train.make_ppo(env, net(), spec, hyper(3, lr=1e-3))
    _, logs = jax.jit(update)(jax.jit(init)(jax.random.key(0)))
    assert float(logs["clip_fraction"]) == 0
    assert abs(float(logs["k1"])) < 1e-6 and abs(float(logs["k3"])) < 1e-6


def test_bootstrapping_after_truncation_is_a_switch():
    data, last_obs = rollout()
    hp = hyper(10)
    found = {}
    for on in (True, False):
        learner = train.make_learner("ppo", net(), SPEC, bootstrap_truncation=on)
        start, batch = learner.init(jax.random.key(0)), train.make_batch("ppo", net(), on)
        for shift in (0.0, 5.0):
            moved = data._replace(final_values=data.final_values + shift)
            _, found[on, shift] = batch(start, moved, last_obs, hp)
    cut = np.asarray(data.truncated).reshape(-1)
    gain = found[True, 5.0].returns - found[True, 0.0].returns
    np.testing.assert_allclose(gain[cut], 5 * 0.99, rtol=1e-4)
    np.testing.assert_array_equal(found[False, 0.0].returns, found[False, 5.0].returns)
    np.testing.assert_allclose(
        np.asarray(found[False, 0.0].returns)[cut],
        np.asarray(data.rewards).reshape(-1)[cut],
        rtol=1e-4,
    )


def test_segments_are_rollouts_of_their_own():
    """Cut into pieces of 4, targets are those of two rollouts of 4 steps, one after the other."""
    data, _last_obs = rollout()
    hp = hyper(10)
    last = jnp.arange(4, dtype=jnp.float32)
    _, whole = train._ppo_data(data, last, 4, hp)
    first = jax.tree.map(lambda x: x[:4], data)
    second = jax.tree.map(lambda x: x[4:], data)
    parts = [train._ppo_data(first, data.values[4], None, hp)[1],
             train._ppo_data(second, last, None, hp)[1]]  # fmt: skip
    for name in ("advantages", "returns", "values", "actions"):
        joined = np.concatenate([np.asarray(getattr(p, name)) for p in parts])
        np.testing.assert_allclose(getattr(whole, name), joined, rtol=1e-5)
    _, uncut = train._ppo_data(data, last, None, hp)
    assert not np.allclose(uncut.advantages, whole.advantages)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: train.make_learner("ppo", net(), SPEC, segment=3),
            "segments of 3 steps must divide",
        ),
    ],
)
def test_bad_input(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


# The loop -----------------------------------------------------------------------------------------


def three_updates(key, hp):
    init, update = train.make_ppo(envs.cartpole(), net(), SPEC, hp)
    return jax.lax.scan(lambda s, _: update(s), init(key), None, length=3)


@functools.cache
def together():
    keys = jax.random.split(jax.random.key(0), 2)
    rates = jax.tree.map(lambda x: jnp.stack([x, x]), hyper(3))._replace(
        lr=jnp.array([1e-3, 1e-2], jnp.float32)
    )
    return keys, rates, jax.jit(jax.vmap(three_updates))(keys, rates)


def test_seeds_and_step_sizes_side_by_side_are_separate_runs():
    keys, rates, (states, logs) = together()
    alone = jax.jit(three_updates)
    for i in range(2):
        state, log = alone(keys[i], jax.tree.map(lambda x, i=i: x[i], rates))
        pairs = zip(
            jax.tree.leaves(states.learner.params),
            jax.tree.leaves(state.learner.params),
            strict=True,
        )
        for many, one in pairs:
            np.testing.assert_allclose(many[i], one, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(logs["return_sum"][i], log["return_sum"])


def test_the_newest_rollout_is_kept():
    _, _, (states, _) = together()
    last = states.last
    assert last.obs.shape == (2, 8, 4, 4) and last.values.shape == (2, 8, 4)
    assert float(jnp.abs(last.log_probs).sum()) > 0
    assert np.asarray(states.learner.iteration).tolist() == [3, 3]


def test_episodes_of_an_evaluation_are_played_to_their_ends():
    """An agent that always steps on around a ring of 4 earns 1 in 4 of its 20 steps."""
    env = envs.ring(4, max_steps=20)
    body = networks.make("mlp", env.obs_shape, env.n_actions, hidden=(4,))
    learner = train.make_learner("ppo", body, SPEC)
    state = learner.init(jax.random.key(0))
    params = {**state.params, "actor": {**state.params["actor"], "b": jnp.array([-50.0, 50.0])}}
    run = jax.jit(lambda s, k: train.evaluate(env, learner, s, k, 6))
    returns = run(state._replace(params=params), jax.random.key(2))
    np.testing.assert_allclose(returns, 5.0)


def test_ppo_learns_cartpole():
    """From 20 steps towards the limit of 500, within 256,000 of training."""
    env = envs.cartpole()
    body = networks.make(
        "mlp", env.obs_shape, 2, hidden=(32, 32), activation="tanh", encoder="separate"
    )
    spec = BatchSpec(8, 128)
    init, update = train.make_ppo(env, body, spec, hyper(250, lr=1e-3, clip=0.2))
    learner = train.make_learner("ppo", body, spec)

    @jax.jit
    def trained(key):
        state, _ = jax.lax.scan(lambda s, _: update(s), init(key), None, length=250)
        return train.evaluate(env, learner, state.learner, key, 20)

    assert float(trained(jax.random.key(0)).mean()) > 450


# Measuring ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["ppo", "pqn"])
def test_every_metric_is_there_and_finite(algorithm):
    env = envs.cartpole()
    body = net(algorithm, "separate" if algorithm == "ppo" else "shared")
    init, update = train.make_ppo(env, body, SPEC, hyper(3), algorithm=algorithm)
    batch = train.make_batch(algorithm, body)
    probe = jax.jit(lambda k: measure.probe_states(env, k, 128))(jax.random.key(7))

    @jax.jit
    def measured(key):
        state, _ = update(init(key))
        data = batch(state.learner, state.last, state.envs.obs, state.hp)
        params = state.learner.params
        return measure.measure(env, body, algorithm, params, data, key, state.hp, probe)

    found = measured(jax.random.key(0))
    wanted = set(claims.EXPECTED)
    assert wanted - set(found) == (set() if algorithm == "ppo" else {"ess"})
    assert all(np.isfinite(float(x)) for x in found.values())
    assert 1 <= found["feature_rank"] <= 8 and 0 < found["coverage"] <= 1
    if algorithm == "ppo":
        assert 0 < found["ess"] <= 1 and found["kl_k3"] >= 0


def test_probe_states_are_spread_over_episodes():
    probe = np.asarray(measure.probe_states(envs.cartpole(), jax.random.key(0), 256))
    assert probe.shape == (256, 4)
    assert len(np.unique(probe, axis=0)) == 256 and np.abs(probe[:, 2]).max() > 0.1


def test_coverage_by_hand():
    grid = envs.grid()
    obs = jax.nn.one_hot(jnp.array([0, 1, 1, 2]), 25, dtype=jnp.float32)
    assert float(measure.visited(grid, obs)) == pytest.approx(0.75)
