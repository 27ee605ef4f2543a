"""Agents, training and evaluation of the superiority paper against plain step-by-step versions."""

from collections import deque

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from papers.superiority import method
from papers.superiority.agents import (
    AgentSpec,
    Transition,
    acting_network,
    agent,
    batch_loss,
    dau_value,
    decision_laws,
    dsup_eta,
    dsup_network,
    greedy_actions,
    init_params,
    network,
    qrdqn_network,
    target_params,
)
from papers.superiority.env import ASSETS, TRAIN_SPAN, OptionEnv
from papers.superiority.method import CVaR, Mean
from papers.superiority.train import (
    Adam,
    Replay,
    act,
    adam_step,
    draw,
    epsilon,
    evaluate,
    init_train,
    insert,
    learn,
    sample,
    train_chunk,
)
from papers.superiority.yardstick import check_equal
from shared.experiment.errors import BadInput

SMALL = dict(atoms=4, torso=(8, 8), value_net=(8, 8, 8), batch_size=4, replay_capacity=20,
             epsilon_updates=10, target_period=3)  # fmt: skip
ENV = OptionEnv(jnp.float32(ASSETS[0].drift), jnp.float32(ASSETS[0].volatility))


def small(name, frequency=3, **changes):
    return agent(name, frequency=frequency, **(SMALL | changes))


def wild(spec, seed=0):
    """A run whose network exercises in about half of the states around price 1."""
    state = init_train(jax.random.key(seed), spec, ENV)
    shape = (64, *state.params.shape)
    candidates = 3 * jax.random.normal(jax.random.key(seed + 99), shape, jnp.float32)
    greedy = jax.vmap(lambda p: greedy_actions(acting_network(p, spec), around_one(), spec))
    best = jnp.argmin(jnp.abs(greedy(candidates).mean(axis=1) - 0.5))
    params = candidates[best]
    return state._replace(params=params, target=target_params(0.5 * params, spec))


def around_one():
    return jax.random.uniform(jax.random.key(5), (200, 2), jnp.float32) * 0.8 + jnp.array([0.6, 0])


def day(state, spec, index=0):
    draws = draw(state.key, jnp.arange(index, index + 1), spec)
    return jax.tree.map(lambda x: x[0], draws)


# --- Agents ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parameters", "target"),
    [("DSUP(1/2)", 51_302, 20_500), ("QR-DQN", 30_600, 30_600), ("DAU", 44_139, 33_537)],
)
def test_networks_have_the_published_sizes(name, parameters, target):
    spec = agent(name)
    params = init_params(jax.random.key(0), spec)
    assert params.shape == (parameters,) and target_params(params, spec).shape == (target,)


def test_initialisation_is_lecun_normal_cut_off_and_unbiased():
    net = network(init_params(jax.random.key(1), agent("DSUP(1/2)")), agent("DSUP(1/2)"))
    for layers in net.values():
        for layer in layers:
            fan_in = layer.w.shape[0]
            assert not layer.b.any()
            assert jnp.abs(layer.w).max() <= 2 / 0.8796 / fan_in**0.5 + 1e-5
            if layer.w.size >= 10_000:
                assert jnp.std(layer.w) == pytest.approx(fan_in**-0.5, rel=0.02)
    shapes = {name: [layer.w.shape for layer in layers] for name, layers in net.items()}
    assert shapes == {"torso_1": [(2, 100), (100, 100)], "q": [(100, 2)], "psi": [(100, 200)],
                      "torso_2": [(2, 100), (100, 100)], "eta": [(100, 100)]}  # fmt: skip


def test_layers_share_the_torsos_that_they_should():
    spec = small("DSUP(1/2)")
    params, obs = init_params(jax.random.key(0), spec), jnp.array([0.9, 0.5])

    def reach(head):
        gradient = jax.grad(lambda p: jnp.sum(getattr(dsup_network(network(p, spec), obs), head)))
        layers = network(gradient(params), spec)
        return {name for name, stack in layers.items() if stack[0].w.any()}

    assert reach("q") == {"torso_1", "q"}
    assert reach("psi") == {"torso_1", "psi"}
    assert reach("eta") == {"torso_2", "eta"}


def test_hidden_units_leak():
    """By hand: one hidden unit, negative before its activation, so scaled by 0.01."""
    spec = AgentSpec("qrdqn", torso=(1,), atoms=1)
    params = jnp.array([-1.0, 2.0, -3.0, 10.0, 20.0, 0.5, 0.25])  # w 2x1, b; w 1x2, b
    value = 0.01 * (-1 * 1.5 + 2 * 0.25 - 3)
    laws = qrdqn_network(network(params, spec), jnp.array([1.5, 0.25]))
    np.testing.assert_allclose(laws[:, 0], [10 * value + 0.5, 20 * value + 0.25], rtol=1e-6)


def test_names_of_agents():
    assert agent("DSUP(1/2)") == AgentSpec("dsup", q=0.5)
    assert agent("DAU+DSUP(0.3)", frequency=35) == AgentSpec("dsup", 35, q=0.3, shift=True)
    assert agent("DSUP(1)").q == 1 and agent("DAU").kind == "dau"
    assert agent("QR-DQN", frequency=4).h == 0.25


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: agent("DQN"), "No agent 'DQN'"),
        (lambda: agent("DSUP(1/2)", frequency=0), "frequency must be a whole number"),
        (lambda: agent("DSUP(1/2)", frequency=2.5), "frequency"),
        (lambda: agent("DSUP(1/2)", kappa=-1.0), "kappa must be at least 0"),
        (lambda: agent("QR-DQN", atoms=0), "atoms"),
        (lambda: agent("QR-DQN", discount=0.0), "discount"),
        (lambda: agent("DAU", risk=CVaR(0.5)), "means only"),
        (lambda: AgentSpec("sarsa"), "kind"),
    ],
)
def test_bad_settings_are_refused(make, says):
    with pytest.raises((BadInput, TypeError), match=says):
        make()


@pytest.mark.parametrize("name", ["DSUP(1/2)", "DAU+DSUP(1/2)", "QR-DQN"])
def test_acting_by_mean_weights_is_acting_by_the_mean_of_the_law(name):
    spec = small(name)
    params = wild(spec).params
    obs = around_one()
    laws = jax.vmap(lambda o: decision_laws(params, o, spec))(obs)
    expected = jnp.argmax(laws.mean(axis=-1), axis=-1)
    found = greedy_actions(acting_network(params, spec), obs, spec)
    assert 20 < int(found.sum()) < 180
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", ["DSUP(1/2)", "QR-DQN", "DAU"])
def test_batch_loss_is_the_mean_over_transitions(name):
    spec = small(name)
    state = wild(spec)
    rng = np.random.default_rng(0)
    obs, next_obs = rng.uniform(size=(2, 5, 2)).astype(np.float32)
    batch = Transition(obs, np.array([0, 1, 1, 0, 1]), rng.uniform(size=5).astype(np.float32),
                       np.array([1, 0, 1, 1, 0], np.float32), next_obs)  # fmt: skip
    batch = jax.tree.map(lambda x: jnp.asarray(x, jnp.int32 if x.dtype == int else x.dtype), batch)
    loss, _ = batch_loss(state.params, state.target, batch, spec)
    net, target = network(state.params, spec), network(state.target, spec)
    setting = dict(h=spec.h, gamma=spec.discount)
    total = 0.0
    for o, *taken, n in zip(*batch, strict=True):
        if name == "DSUP(1/2)":
            one, _ = method.dsup_loss(*dsup_network(net, o), dsup_eta(target, n), *taken, q=0.5,
                                      kappa=1.0, shift=False, risk=Mean(), **setting)  # fmt: skip
        elif name == "QR-DQN":
            one, _ = method.qrdqn_loss(qrdqn_network(net, o), qrdqn_network(target, n), *taken,
                                       kappa=1.0, risk=Mean(), **setting)  # fmt: skip
        else:
            adv = decision_laws(state.params, o, spec)[:, 0]
            one, _ = method.dau_loss(
                adv, dau_value(net, o), dau_value(target, n), *taken, **setting
            )
        total += float(one) / 5
    assert loss == pytest.approx(total, rel=1e-5)
    to_target = jax.grad(batch_loss, 1, has_aux=True)(state.params, state.target, batch, spec)[0]
    assert not to_target.any()


def test_an_independent_loop_agrees():
    """Loss with all errors written out, optax and a numpy environment, on the same numbers."""
    check_equal(small("DSUP(1/2)"))


# --- Acting ---------------------------------------------------------------------------------------


def step_by_step(state, draws, spec, env):
    """One day the usual way: one network call and one environment step at a time."""
    values = jax.jit(lambda obs: spec.risk(decision_laws(state.params, obs, spec)))
    step, fresh = jax.jit(lambda s, a, z: env.step(s, a, z, spec.h)), jax.jit(env.start_at)
    eps = 0.0 if spec.kind == "dau" else float(epsilon(state.updates, spec))
    current, rows, greedies = state.env, [], []
    for k in range(spec.frequency):
        obs = env.observe(current)
        noise = state.noise if spec.kind == "dau" else 0
        greedy = int(jnp.argmax(values(obs) + noise))
        action = int(draws.action[k]) if draws.explore[k] < eps else greedy
        after, reward, terminated = step(current, action, draws.price[k])
        rows.append((obs, action, reward, 1.0 - float(terminated), env.observe(after)))
        greedies.append(greedy)
        current = fresh(draws.start[k] * TRAIN_SPAN * 100) if terminated else after
    return (
        current,
        [np.stack([np.asarray(x) for x in column]) for column in zip(*rows, strict=True)],
        greedies,
    )


@pytest.mark.parametrize("name", ["DSUP(1/2)", "QR-DQN", "DAU"])
def test_a_day_at_once_is_the_day_step_by_step(name):
    env = OptionEnv(jnp.float32(-0.01), jnp.float32(0.2))
    spec = small(name, frequency=9)
    state = wild(spec)._replace(updates=jnp.int32(7), noise=jnp.array([0.3, -0.2]))
    state = state._replace(env=env.start_at(97.0))  # close to a forced exercise
    once = jax.jit(lambda s, d: act(s, d, spec, env))
    taken, exercised, explored = set(), 0, 0
    for index in range(6):
        draws = day(state, spec, index)
        after, steps, greedy = once(state, draws)
        expected_after, expected, expected_greedy = step_by_step(state, draws, spec, env)
        assert greedy.tolist() == expected_greedy
        for found, wanted in zip(steps, expected, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(after.price, expected_after.price, rtol=1e-6)
        np.testing.assert_allclose(after.clock, expected_after.clock, rtol=1e-6)
        taken |= set(greedy.tolist())
        exercised += int((steps.mask == 0).sum())
        explored += int((steps.action != greedy).sum())
        state = state._replace(env=after)
    assert taken == {0, 1} and exercised > 3 and (explored > 0) == (name != "DAU")


def test_forced_exercise_is_stored_with_the_agents_own_action():
    spec = small("DAU", torso=(1,))
    state = init_train(jax.random.key(0), spec, ENV)
    state = state._replace(params=threshold(0.0, spec), env=ENV.start_at(99.9))  # never exercises
    low = state.env._replace(price=jnp.float32(0.75))
    after, steps, _ = act(state._replace(env=low), day(state, spec), spec, ENV)
    assert steps.action.tolist() == [0, 0, 0]
    assert steps.mask.tolist()[0] == 0 and steps.reward[0] == 0.25 and after.price != 0.75


def test_exploration_falls_linearly_per_gradient_step():
    spec = agent("DSUP(1/2)")
    rates = [float(epsilon(jnp.int32(n), spec)) for n in (0, 5000, 20_000, 90_000)]
    assert rates == pytest.approx([1.0, 0.755, 0.02, 0.02])


def test_draws_are_what_they_should_be():
    draws = draw(jax.random.key(0), jnp.arange(2000), agent("DSUP(1/2)", frequency=10))
    assert draws.price.shape == (2000, 10) and draws.batch.shape == (2000, 32)
    for name in ("start", "explore", "keep"):
        values = np.asarray(getattr(draws, name))
        assert values.min() > 0 and values.max() < 1
        assert values.mean() == pytest.approx(0.5, abs=0.01)
        assert values.std() == pytest.approx(12**-0.5, abs=0.01)
    assert np.std(draws.price) == pytest.approx(1, abs=0.02)
    assert np.mean(draws.price) == pytest.approx(0, abs=0.03)
    assert np.mean(np.asarray(draws.price) ** 4) == pytest.approx(3, abs=0.2)
    assert np.mean(draws.action) == pytest.approx(0.5, abs=0.02)
    pairs = np.corrcoef([np.ravel(x) for x in (draws.start, draws.explore, draws.keep)])
    assert np.abs(pairs - np.eye(3)).max() < 0.03


# --- Replay ---------------------------------------------------------------------------------------


def steps_of(values):
    values = jnp.asarray(values, jnp.float32)
    pairs = jnp.stack([values, -values], axis=1)
    return Transition(pairs, (values % 2).astype(jnp.int32), values, 0 * values, 2 * pairs)


def test_replay_is_a_queue_of_the_kept_transitions():
    replay, queue = Replay(jnp.zeros((7, 7)), jnp.int32(0)), deque(maxlen=7)
    rng, put = np.random.default_rng(0), jax.jit(insert)
    for start in range(0, 40, 5):
        keep = rng.random(5) < 0.6
        replay = put(replay, steps_of(range(start, start + 5)), jnp.asarray(keep))
        queue += [start + i for i in range(5) if keep[i]]
        newest = int(replay.inserted)
        stored = [float(replay.rows[i % 7, 3]) for i in range(newest - len(queue), newest)]
        assert stored == list(queue)
    words = jnp.arange(7, dtype=jnp.uint32) + 7 * 600
    batch = sample(replay, words)
    assert sorted(batch.reward.tolist()) == sorted(queue)
    expected = steps_of(batch.reward)
    for found, wanted in zip(batch, expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_only_filled_slots_are_sampled():
    replay = insert(
        Replay(jnp.zeros((100, 7)), jnp.int32(0)), steps_of([5, 6, 7]), jnp.ones(3, bool)
    )
    words = jax.random.bits(jax.random.key(0), (300,), jnp.uint32)
    rewards = sample(replay, words).reward
    counts = np.bincount(np.asarray(rewards, int), minlength=8)
    assert counts[:5].sum() == 0 and counts[5:].min() > 60


def test_replay_keeps_terminal_steps_and_one_ordinary_step_a_day():
    spec = small("DAU", frequency=10, torso=(1,), replay_capacity=50_000, learning_rate=1e-12,
                 noise_scale=0.0)  # fmt: skip
    state = init_train(jax.random.key(0), spec, ENV)._replace(params=threshold(0.0, spec))
    state, metrics = train_chunk(state, spec, ENV, 10_000)  # 100,000 steps of an agent that holds
    masks = np.asarray(state.replay.rows[: int(state.replay.inserted), 4])
    terminal = int(metrics["episodes"])
    assert terminal > 100 and (masks == 0).sum() == terminal
    assert (masks == 1).sum() / (100_000 - terminal) == pytest.approx(0.1, abs=0.003)


# --- Learning -------------------------------------------------------------------------------------


def test_adam_is_adam():
    rng, params = np.random.default_rng(0), jnp.linspace(-1, 1, 7)
    mine, adam, theirs = params, Adam(0 * params, 0 * params), params
    optimiser = optax.adam(0.05)
    state = optimiser.init(params)
    for count in range(1, 6):
        gradient = jnp.asarray(rng.normal(size=7).astype(np.float32))
        mine, adam = adam_step(mine, gradient, adam, jnp.int32(count), 0.05)
        with jax.numpy_dtype_promotion("standard"):
            step, state = optimiser.update(gradient, state)
        theirs = optax.apply_updates(theirs, step)
        np.testing.assert_allclose(mine, theirs, rtol=1e-5)


def test_learning_waits_for_data_and_copies_the_target_on_time():
    spec = small("DSUP(1/2)", learning_rate=0.01)
    state = wild(spec)
    advance = jax.jit(lambda s, d: learn(s, d, spec))
    idle = advance(state, day(state, spec))
    assert int(idle.updates) == 0
    for name in ("params", "target", "noise"):
        np.testing.assert_array_equal(getattr(idle, name), getattr(state, name))
    assert not idle.adam.mean.any() and not idle.adam.square.any()

    one = insert(state.replay, steps_of([0.5]), jnp.ones(1, bool))
    state, old_target = state._replace(replay=one), state.target
    for count in range(1, 7):
        before = state.params
        state = advance(state, day(state, spec, count))
        assert int(state.updates) == count and (state.params != before).any()
        if count % 3 == 0:
            old_target = target_params(state.params, spec)
        np.testing.assert_array_equal(state.target, old_target)


def test_noise_is_an_ornstein_uhlenbeck_step_per_gradient_step():
    spec = small("DAU", frequency=4)
    state = wild(spec)._replace(noise=jnp.array([1.0, -2.0]))
    state = state._replace(replay=insert(state.replay, steps_of([0.5]), jnp.ones(1, bool)))
    draws = day(state, spec)
    expected = np.array([1.0, -2.0]) * (1 - 0.75 / 4) + 0.5 * 0.5 * np.asarray(draws.noise)
    np.testing.assert_allclose(learn(state, draws, spec).noise, expected, rtol=1e-6)


# --- Whole runs -----------------------------------------------------------------------------------


def leaves(state):
    state = state._replace(key=jax.random.key_data(state.key))
    return [np.asarray(leaf) for leaf in jax.tree.leaves(state)]


def test_training_in_pieces_or_batches_of_seeds_is_the_same_training():
    spec = small("DAU+DSUP(1/2)")
    start = init_train(jax.random.key(3), spec, ENV)
    other = init_train(jax.random.key(4), spec, ENV)
    whole, metrics = train_chunk(start, spec, ENV, 12)
    pieces = start
    for _ in range(2):
        pieces, _ = train_chunk(pieces, spec, ENV, 6)
    for a, b in zip(leaves(whole), leaves(pieces), strict=True):
        np.testing.assert_array_equal(a, b)
    assert all(np.isfinite(value) for value in metrics.values())
    assert metrics["epsilon"] == pytest.approx(epsilon(whole.updates, spec))
    assert int(whole.day) == 12 and 0 < int(whole.updates) <= 12

    both = jax.tree.map(lambda a, b: jnp.stack([a, b]), start, other)
    several = jax.vmap(lambda s: train_chunk(s, spec, ENV, 12)[0])(both)
    first, second = (jax.tree.map(lambda x, i=i: x[i], several) for i in range(2))
    for a, b in zip(leaves(whole), leaves(first), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert (first.params != second.params).mean() > 0.9
    assert (first.replay.rows != second.replay.rows).any()


@pytest.mark.parametrize("name", ["DSUP(1/2)", "QR-DQN", "DAU"])
def test_agents_learn_a_problem_with_an_obvious_answer(name):
    """Strike 2, price 1, two days of rise or fall by 30 %: exercise at once, or hold to the end."""
    spec = small(name, frequency=2, learning_rate=0.01, replay_capacity=1000, batch_size=16,
                 epsilon_updates=200, target_period=20, kappa=0.1, torso=(16, 16))  # fmt: skip

    def solve(drift):
        env = OptionEnv(drift, jnp.float32(0.01), strike=2.0, horizon=4.0)
        state = init_train(jax.random.key(0), spec, env)
        state, _ = train_chunk(state, spec, env, 800)
        returns, _ = evaluate(state.params, jax.random.key(1), spec, env, 20)
        return returns.mean()

    rising, falling = jax.jit(jax.vmap(solve))(jnp.array([0.3, -0.3]))
    assert rising == pytest.approx(1.0, abs=0.05)  # holding to the end pays 2 - exp(0.6) = 0.18
    assert falling == pytest.approx(1.45, abs=0.05)  # 2 - exp(-0.6); exercising at once pays 1


# --- Evaluation -----------------------------------------------------------------------------------


def threshold(level, spec):
    """Weights of a DAU network with one hidden unit that exercises where the price is below."""
    rest = jnp.zeros_like(target_params(init_params(jax.random.key(0), spec), spec))
    return jnp.concatenate([jnp.array([1, 0, 0, 0, -1, 0, level], jnp.float32), rest])


@pytest.mark.parametrize("clock", ["official", "calendar"])
@pytest.mark.parametrize("frequency", [1, 4])
def test_evaluation_of_a_threshold_on_a_known_path(clock, frequency):
    spec = small("DAU", frequency=frequency, torso=(1,), discount=0.99)
    env = OptionEnv(jnp.float32(-0.01), jnp.float32(0.0), clock=clock)
    days = np.arange(101 * frequency) / frequency
    price = np.exp(-0.01 * days)
    last = 50 * frequency if clock == "official" else 100 * frequency - 1
    for level in (0.0, 0.953, 0.75):
        below = np.flatnonzero(price < level)
        stop = min(int(below[0]) if below.size else last, last)
        returns, discounted = evaluate(
            threshold(level, spec), jax.random.key(0), spec, env, episodes=3
        )
        np.testing.assert_allclose(returns, 1 - price[stop], rtol=1e-4)
        np.testing.assert_allclose(discounted, (1 - price[stop]) * 0.99 ** days[stop], rtol=1e-4)


def test_holding_to_the_end_pays_what_the_closed_form_says():
    spec = small("DAU", frequency=1, torso=(1,))
    _, discounted = evaluate(threshold(0.0, spec), jax.random.key(2), spec, ENV, episodes=20_000)
    error = float(discounted.std()) / 20_000**0.5
    assert abs(float(discounted.mean()) - 0.020464) < 4 * error < 0.002


def test_evaluation_is_the_step_by_step_rollout_in_law():
    """A random policy on a volatile price: same mean as plain episodes, from other noise."""
    env = OptionEnv(jnp.float32(-0.005), jnp.float32(0.05))
    spec = small("DAU", frequency=2, torso=(1,), discount=0.95)
    params, level = threshold(0.8, spec), 0.8

    def episode(key):
        def step(carry, k):
            state, done = carry
            stop = env.forced(state, 0.5) | (state.price < level)
            after, reward, _ = env.step(state, stop.astype(jnp.int32), jax.random.normal(k), 0.5)
            return (after, done | stop), jnp.where(done, 0, reward)

        keys = jax.random.split(key, 101)
        _, rewards = jax.lax.scan(step, (env.start_at(0.0), jnp.bool_(False)), keys)
        return rewards.sum(), (rewards * 0.95 ** (jnp.arange(101.0) / 2)).sum()

    plain = jax.jit(jax.vmap(episode))(jax.random.split(jax.random.key(1), 4000))
    ours = evaluate(params, jax.random.key(2), spec, env, 4000)
    assert not jnp.array_equal(ours[0], evaluate(params, jax.random.key(3), spec, env, 4000)[0])
    for a, b in zip(plain, ours, strict=True):
        error = np.hypot(np.std(a), np.std(b)) / 4000**0.5
        assert abs(float(a.mean()) - float(b.mean())) < 4 * error
