"""Losses and gradients of TD3, SAC and its Lagrangian against naive ones; what a stage changes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from shared.experiment.errors import BadInput
from shared.rl import lagrangian, pieces, sac, td3
from shared.rl.networks import Critic, GaussianActor, TanhActor
from tests.shared.rl import naive
from tests.shared.rl.naive import compiled

KEY, NOISE = jax.random.key(3), jax.random.key(4)
BATCH = naive.batch(extras=("cost",))
B64 = naive.as64(BATCH)
TD3 = td3.Spec.of(3, 2, hidden=(8, 8))
SAC = sac.Spec.of(3, 2, hidden=(8, 8))
LAG = lagrangian.Spec.of(3, 2, hidden=(8, 8))


def moved(tree, seed=0):
    """A tree of the same shapes whose copies differ from what they copy."""
    leaves, structure = jax.tree.flatten(tree)
    rng = np.random.default_rng(seed)
    return structure.unflatten(
        [leaf + jnp.asarray(0.1 * rng.normal(size=leaf.shape), leaf.dtype) for leaf in leaves]
    )


def assert_same(x, y):
    jax.tree.map(np.testing.assert_array_equal, x, y)


def assert_close(x, y):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), x, y)


def differ(x, y):
    return any(not np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (x, y)), strict=True))


@pytest.fixture(scope="module")
def td3_state():
    state = compiled(td3.init, KEY, spec=TD3)
    actor, critic = (net._replace(target=moved(net.target)) for net in (state.actor, state.critic))
    return state._replace(actor=actor, critic=critic)


@pytest.fixture(scope="module")
def sac_state():
    state = compiled(sac.init, KEY, spec=SAC)
    log_alpha = pieces.trained(jnp.float32(-1.2))
    critic = state.critic._replace(target=moved(state.critic.target))
    return state._replace(critic=critic, log_alpha=log_alpha)


@pytest.fixture(scope="module")
def lag_state(sac_state):
    state = compiled(lagrangian.init, KEY, spec=LAG, multiplier=0.7)
    return state._replace(sac=sac_state, cost=state.cost._replace(target=moved(state.cost.target)))


# Pieces -------------------------------------------------------------------------------------------


def test_target_by_hand():
    signal = jnp.array([[1.0, 2.0], [1.0, 2.0]], jnp.float32)
    future = jnp.array([[10.0, 20.0], [10.0, 20.0]], jnp.float32)
    terminated = jnp.array([0.0, 1.0], jnp.float32)
    target = pieces.td_target(signal, future, terminated, 0.9)
    np.testing.assert_allclose(target, [[10, 20], [1, 2]])
    gradient = jax.grad(lambda v: jnp.sum(pieces.td_target(signal, v, terminated, 0.9)))(future)
    assert not gradient.any()


def test_losses_by_hand():
    q = jnp.array([[[1.0, 0.0]], [[3.0, 0.5]]], jnp.float32)  # [members, batch, d]
    target = jnp.array([[0.0, 1.0]], jnp.float32)
    # squares 1, 1 and 9, 0.25; means over d: 1 and 4.625
    np.testing.assert_allclose(pieces.square_loss(q, target), 5.625)
    # |errors| 1, 1 and 3, 0.5 -> 1, 1 and 3, 0.125
    np.testing.assert_allclose(pieces.lap_huber_loss(q, target), 1 + 3.125 / 2)
    np.testing.assert_allclose(pieces.td_error(q, target), [3.0])
    np.testing.assert_allclose(pieces.least(q), [[1.0, 0.0]])
    np.testing.assert_allclose(pieces.average(q), [[2.0, 0.25]])
    slope = jax.grad(lambda q: pieces.lap_huber_loss(q, target))(q)
    np.testing.assert_allclose(slope, [[[0.5, -0.5]], [[0.5, -0.25]]])


def test_adam_by_hand():
    net = pieces.lagged(jnp.float32(2.0))
    mean = square = 0.0
    x = 2.0
    for t in (1, 2, 3):
        net, value, rest = pieces.descend(net, lambda p: (p**2, "rest"), 0.1)
        np.testing.assert_allclose(value, x**2, rtol=1e-5)
        assert rest == "rest"
        mean, square = 0.9 * mean + 0.1 * 2 * x, 0.999 * square + 0.001 * (2 * x) ** 2
        x -= 0.1 * (mean / (1 - 0.9**t)) / (np.sqrt(square / (1 - 0.999**t)) + 1e-8)
        np.testing.assert_allclose(net.params, x, rtol=1e-5)
    assert float(net.target) == 2.0
    np.testing.assert_allclose(pieces.follow(net, 0.25).target, 2 + 0.25 * (x - 2), rtol=1e-5)
    np.testing.assert_allclose(pieces.follow(net, 1.0).target, net.params)


def test_target_noise_is_clipped_twice():
    action = jnp.broadcast_to(jnp.array([0.9, 0.0], jnp.float32), (4000, 2))
    noisy = pieces.target_noise(KEY, action, 0.2, 0.3)
    noise = naive.normal(KEY, (4000, 2))
    np.testing.assert_allclose(noisy, naive.smoothed(action, noise, 0.2, 0.3), atol=1e-6)
    assert noisy.max() == 1 and abs(float(noisy[:, 1].max()) - 0.3) < 1e-6


def test_stages_report_under_different_names():
    def stage(state, batch, key, hyper):
        return state, {"loss": jnp.float32(0)}

    with pytest.raises(BadInput, match="Two stages report 'loss'"):
        pieces.run_stages((stage, stage), (), BATCH, KEY, None)


# TD3 ----------------------------------------------------------------------------------------------

HYPER3 = td3.Hyper(gamma=0.9, tau=0.25, smoothing=0.4, smoothing_clip=0.3)


def test_td3_target_and_critic_gradient(td3_state):
    s = naive.as64((td3_state.actor.target, td3_state.critic.target))
    noise = naive.normal(NOISE, BATCH.action.shape)
    action = naive.smoothed(np.tanh(naive.mlp(s[0], B64.next_obs)), noise, 0.4, 0.3)
    future = np.minimum(*naive.critics(s[1], B64.next_obs, action))
    target = naive.backup(B64, future[:, 0], 0.9)[:, None]
    found = compiled(td3.critic_target, td3_state, BATCH, NOISE, HYPER3, spec=TD3)
    np.testing.assert_allclose(found, target, rtol=1e-4, atol=1e-5)

    def loss(params):
        q = naive.critics(params, B64.obs, B64.action)
        return sum(np.mean((one - target) ** 2) for one in q)

    after, metrics = compiled(td3.critic_stage, td3_state, BATCH, NOISE, HYPER3, spec=TD3)
    params = naive.as64(td3_state.critic.params)
    np.testing.assert_allclose(metrics["critic_loss"], loss(params), rtol=1e-4)
    naive.check_gradient(naive.first_gradient(after.critic), loss, params)
    errors = [np.abs(one - target)[:, 0] for one in naive.critics(params, B64.obs, B64.action)]
    np.testing.assert_allclose(metrics["td"], np.maximum(*errors), rtol=1e-3, atol=1e-5)


def test_td3_actor_gradient(td3_state):
    critic = naive.as64(td3_state.critic.params)

    def loss(params):
        action = np.tanh(naive.mlp(params, B64.obs))
        return -np.mean(naive.critics(critic, B64.obs, action)[0])

    after, metrics = compiled(td3.actor_stage, td3_state, BATCH, NOISE, HYPER3, spec=TD3)
    params = naive.as64(td3_state.actor.params)
    np.testing.assert_allclose(metrics["actor_loss"], loss(params), rtol=1e-4)
    naive.check_gradient(naive.first_gradient(after.actor), loss, params)


def test_td3_stages_change_what_they_should(td3_state):
    learner = td3.learner(TD3)
    assert [len(stages) for stages in learner.cycle] == [1, 3]
    first, _ = compiled(learner.cycle[0][0], td3_state, BATCH, NOISE, HYPER3)
    assert_same((first.actor, first.critic.target), (td3_state.actor, td3_state.critic.target))
    assert differ(first.critic.params, td3_state.critic.params) and int(first.step) == 1
    second, _ = compiled(td3.update, first, BATCH, NOISE, HYPER3, spec=TD3)
    assert int(second.step) == 2
    for before, after in ((first.actor, second.actor), (first.critic, second.critic)):
        mixed = jax.tree.map(lambda t, p: 0.75 * t + 0.25 * p, before.target, after.params)
        jax.tree.map(
            lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), after.target, mixed
        )


def test_td3_exploration(td3_state):
    obs = jnp.broadcast_to(BATCH.obs[:1], (5000, 3))
    explored = td3.explore(td3_state, obs, KEY, td3.Hyper(exploration=0.1), TD3)
    np.testing.assert_allclose(explored.std(0), 0.1, rtol=0.1)
    assert np.abs(explored).max() <= 1
    quiet = td3.explore(td3_state, obs, KEY, td3.Hyper(exploration=0.0), TD3)
    np.testing.assert_array_equal(quiet, td3.act(td3_state, obs, TD3))


def test_successor_features_need_only_another_target_and_objective():
    """Vector-valued critics with phi as the signal, and an actor that maximises w . psi_1."""
    spec = td3.Spec(TanhActor(3, 2, (8,)), Critic(3, 2, out=3, hidden=(8,)))
    w = jnp.array([1.0, -2.0, 0.5], jnp.float32)

    def target(state, batch, key, hyper, spec):
        action = spec.actor(state.actor.params, batch.next_obs)
        psi = pieces.average(spec.critic(state.critic.target, batch.next_obs, action))
        return pieces.td_target(jnp.sin(batch.obs), psi, batch.terminated, hyper.gamma)

    def objective(params, state, batch, key, hyper, spec):
        psi = spec.critic(state.critic.params, batch.obs, spec.actor(params, batch.obs))[0]
        return -jnp.mean(psi @ w), {"psi": jnp.mean(psi)}

    learner = td3.learner(spec, target, pieces.square_loss, objective)
    state = compiled(learner.init, KEY)
    after, metrics = jax.jit(pieces.run_stages, static_argnums=0)(
        learner.cycle[-1], state, BATCH, NOISE, HYPER3
    )
    assert metrics["td"].shape == (16,) and "psi" in metrics

    actor, critic, lag = naive.as64((state.actor.params, state.critic.params, state.critic.target))
    psi = np.mean(naive.critics(lag, B64.next_obs, np.tanh(naive.mlp(actor, B64.next_obs))), axis=0)
    y = np.sin(B64.obs) + 0.9 * (1 - B64.terminated)[:, None] * psi
    q = naive.critics(critic, B64.obs, B64.action)
    np.testing.assert_allclose(
        metrics["critic_loss"], sum(np.mean((one - y) ** 2) for one in q), rtol=1e-4
    )
    new = naive.as64(after.critic.params)

    def loss(params):
        action = np.tanh(naive.mlp(params, B64.obs))
        return -np.mean(naive.critics(new, B64.obs, action)[0] @ np.asarray(w, np.float64))

    naive.check_gradient(naive.first_gradient(after.actor), loss, actor)


# SAC ----------------------------------------------------------------------------------------------

HYPER = sac.Hyper(gamma=0.9, tau=0.25, alpha_lr=0.01)
ALPHA = np.exp(-1.2)


def next_sample(params):
    noise = naive.normal(NOISE, BATCH.action.shape)
    return naive.gaussian_sample(params, B64.next_obs, noise)


def test_sac_target_and_critic_gradient(sac_state):
    actor, lag, params = naive.as64(
        (sac_state.actor.params, sac_state.critic.target, sac_state.critic.params)
    )
    action, log_prob = next_sample(actor)
    future = np.minimum(*naive.critics(lag, B64.next_obs, action))[:, 0] - ALPHA * log_prob
    target = naive.backup(B64, future, 0.9)[:, None]
    found = compiled(sac.critic_target, sac_state, BATCH, NOISE, HYPER, spec=SAC)
    np.testing.assert_allclose(found, target, rtol=1e-4, atol=1e-4)

    def loss(params):
        return sum(
            np.mean((one - target) ** 2) for one in naive.critics(params, B64.obs, B64.action)
        )

    after, metrics = compiled(sac.critic_stage, sac_state, BATCH, NOISE, HYPER, spec=SAC)
    np.testing.assert_allclose(metrics["critic_loss"], loss(params), rtol=1e-4)
    naive.check_gradient(naive.first_gradient(after.critic), loss, params)


def test_sac_actor_and_temperature_gradients(sac_state):
    critic, params = naive.as64((sac_state.critic.params, sac_state.actor.params))
    noise = naive.normal(NOISE, BATCH.action.shape)

    def loss(params):
        action, log_prob = naive.gaussian_sample(params, B64.obs, noise)
        q = np.minimum(*naive.critics(critic, B64.obs, action))[:, 0]
        return np.mean(ALPHA * log_prob - q)

    after, metrics = compiled(sac.actor_stage, sac_state, BATCH, NOISE, HYPER, spec=SAC)
    np.testing.assert_allclose(metrics["actor_loss"], loss(params), rtol=1e-4)
    naive.check_gradient(naive.first_gradient(after.actor), loss, params)
    log_prob = naive.gaussian_sample(params, B64.obs, noise)[1].mean()
    np.testing.assert_allclose(metrics["log_prob"], log_prob, rtol=1e-4)
    # d/dlog_alpha of -log_alpha (log_prob + H), H = -2
    np.testing.assert_allclose(naive.first_gradient(after.log_alpha), -(log_prob - 2), rtol=1e-3)


def test_temperature_rises_when_the_policy_is_too_certain(sac_state):
    """log pi is about -1 here: too little for an entropy of 5, more than enough for one of -2."""
    certain = sac.Spec(SAC.actor, SAC.critic, target_entropy=5.0)
    for spec, up in ((certain, True), (SAC, False)):
        after, metrics = compiled(sac.actor_stage, sac_state, BATCH, NOISE, HYPER, spec=spec)
        assert (float(metrics["log_prob"]) + spec.entropy > 0) is up
        assert (float(after.alpha) > float(sac_state.alpha)) is up
    assert sac.Spec.of(3, 2).entropy == -2


def test_sac_update_does_all_in_order(sac_state):
    after, metrics = compiled(sac.update, sac_state, BATCH, KEY, HYPER, spec=SAC)
    k_critic, k_actor, _ = jax.random.split(KEY, 3)
    state, _ = compiled(sac.critic_stage, sac_state, BATCH, k_critic, HYPER, spec=SAC)
    state, _ = compiled(sac.actor_stage, state, BATCH, k_actor, HYPER, spec=SAC)
    mixed = jax.tree.map(lambda t, p: t + 0.25 * (p - t), state.critic.target, state.critic.params)
    assert_close(after, state._replace(critic=state.critic._replace(target=mixed)))
    np.testing.assert_allclose(metrics["alpha"], ALPHA, rtol=1e-6)
    assert int(after.step) == 1


# The Lagrangian -----------------------------------------------------------------------------------


@pytest.mark.parametrize("entropic", [False, True])
def test_cost_targets(lag_state, entropic):
    actor, lag = naive.as64((lag_state.sac.actor.params, lag_state.cost.target))
    action, log_prob = next_sample(actor)
    future = np.minimum(*naive.critics(lag, B64.next_obs, action))[:, 0]
    if entropic:
        future = future - ALPHA * log_prob
    expected = naive.backup(B64._replace(reward=B64.extras["cost"]), future, 0.9)[:, None]
    function = lagrangian.entropic_cost_target if entropic else lagrangian.cost_target
    found = compiled(
        function, lag_state, BATCH, NOISE, HYPER, spec=LAG, cost=lagrangian.recorded_cost
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_lagrangian_actor_gradient(lag_state):
    reward, cost, params = naive.as64(
        (lag_state.sac.critic.params, lag_state.cost.params, lag_state.sac.actor.params)
    )
    noise = naive.normal(NOISE, BATCH.action.shape)

    def loss(params):
        action, log_prob = naive.gaussian_sample(params, B64.obs, noise)
        q = np.minimum(*naive.critics(reward, B64.obs, action))[:, 0]
        c = np.minimum(*naive.critics(cost, B64.obs, action))[:, 0]
        return np.mean(ALPHA * log_prob - q + 0.7 * c)

    after, metrics = compiled(lagrangian.actor_stage, lag_state, BATCH, NOISE, HYPER, spec=LAG)
    np.testing.assert_allclose(metrics["actor_loss"], loss(params), rtol=1e-4)
    naive.check_gradient(naive.first_gradient(after.sac.actor), loss, params)


def test_without_multiplier_it_is_sac(lag_state):
    free = lag_state._replace(multiplier=jnp.float32(0))

    @jax.jit
    def both(state):
        plain, _ = sac.update(state.sac, BATCH, KEY, HYPER, SAC)
        return *lagrangian.update(state, BATCH, KEY, HYPER, LAG), plain

    after, metrics, plain = both(free)
    assert_close(after.sac, plain)
    assert differ(after.cost.params, free.cost.params) and int(after.step) == 1
    assert {"cost_critic_loss", "cost_value", "multiplier", "log_prob"} <= metrics.keys()


def test_multiplier_steps():
    assert float(lagrangian.ascend(jnp.float32(1), 3.0, 1.0, 0.1)) == pytest.approx(1.2)
    assert float(lagrangian.ascend(jnp.float32(0.1), 0.0, 5.0, 0.1)) == 0
    up = lagrangian.ascend_adam(pieces.trained(jnp.float32(1)), 3.0, 1.0, 0.1)
    np.testing.assert_allclose(up.params, 1.1, rtol=1e-5)  # Adam's first step is lr
    down = lagrangian.ascend_adam(pieces.trained(jnp.float32(0.05)), 0.0, 1.0, 0.1)
    assert float(down.params) == 0


# Bad input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: td3.Spec(TanhActor(3, 2), Critic(4, 2)), "have the same obs; these have 3 and 4"),
        (lambda: td3.Spec(TanhActor(3, 2), Critic(3, 1)), "same action; these have 2 and 1"),
        (lambda: td3.Spec(TanhActor(3, 2), Critic(3, 2), delay=0), "delay, the updates per actor"),
        (lambda: sac.Spec(GaussianActor(3, 2), Critic(3, 2), alpha=0.0), "alpha, the temperature"),
        (functools.partial(lagrangian.init, KEY, LAG, -1.0), "A multiplier is at least 0, not -1"),
    ],
)
def test_bad_input(make, words):
    with pytest.raises(BadInput, match=words):
        make()


def test_learners_are_the_same_object_for_the_same_arguments():
    assert td3.learner(TD3) is td3.learner(td3.Spec.of(3, 2, hidden=(8, 8)))
    assert sac.learner(SAC) is sac.learner(sac.Spec.of(3, 2, hidden=(8, 8)))
    assert sac.learner(SAC) is not sac.learner(sac.Spec.of(3, 2, hidden=(8, 9)))
