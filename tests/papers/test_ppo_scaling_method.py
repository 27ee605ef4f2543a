"""Batches, targets, losses and metrics by hand; the theory in closed form and by simulation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from papers.ppo_scaling import method, theory
from papers.ppo_scaling.method import BatchSpec, PPOBatch, gae, ppo_loss, q_lambda

# Batches ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "iterations", "steps"),
    [
        ((8, 128), 97_656, 1_562_496),
        ((128, 8), 97_656, 1_562_496),
        ((16, 128), 48_828, 781_248),
        ((64, 128), 12_207, 195_312),
        ((256, 128), 3_051, 48_816),
    ],
)
def test_iterations_and_gradient_steps(shape, iterations, steps):
    spec = BatchSpec(*shape)
    assert spec.iterations(100_000_000) == iterations
    assert spec.gradient_steps(100_000_000) == steps


def test_what_is_held():
    grown = {hold: BatchSpec(64, 128, hold=hold) for hold in ("num_minibatches", "minibatch_size")}
    assert grown["num_minibatches"].minibatch_size == 2048
    assert grown["minibatch_size"].minibatch_size == 256
    assert grown["minibatch_size"].minibatches == 32
    assert BatchSpec(8, 128, hold="minibatch_size") == BatchSpec(8, 128, hold="minibatch_size")
    card = BatchSpec(8, 128).card(1_000_000, episode_steps=256.0)
    for part in ("8 x 128 = 1024", "4 minibatches of 256", "976 iterations", "15,616 gradient",
                 "4.0 resets", "worth 12 independent"):  # fmt: skip
        assert part in card


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: BatchSpec(0, 8), "n_envs must be at least 1, got 0."),
        (lambda: BatchSpec(8, 0), "n_ro must be at least 1, got 0."),
        (lambda: BatchSpec(8, 8, epochs=0), "epochs must be at least 1, got 0."),
        (lambda: BatchSpec(3, 5), "4 minibatches must divide the batch of 3 x 5 = 15"),
        (lambda: BatchSpec(2, 2), "A minibatch of 1 transition has no standard deviation"),
        (lambda: BatchSpec(8, 128).iterations(1000), "A batch of 1024 transitions is more than"),
        (lambda: theory.iso_batch(12), "size must be a power of two, got 12."),
        (lambda: theory.vif(0, 0.5), "T must be at least 1, got 0."),
        (lambda: method.dormant(jnp.ones((2, 2))), "dormant needs one of eps and tau."),
        (lambda: method.singular_values(jnp.zeros((3, 5))), "need at least as many states, not 3."),
    ],
)
def test_bad_input(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


def test_a_minibatch_of_one_needs_plain_advantages():
    assert BatchSpec(2, 2, norm_adv=False).minibatch_size == 1


# Targets ------------------------------------------------------------------------------------------


def column(*values, dtype=jnp.float32):
    return jnp.asarray(values, dtype)[:, None]


R, V = column(1, 0, 2, 0, 1), column(0.5, 0.4, 0.3, 0.2, 0.1)
DONE, NEVER = column(0, 0, 1, 0, 0, dtype=bool), column(0, 0, 0, 0, 0, dtype=bool)
V_NEXT, LAST = column(0.4, 0.3, 0.2, 0.1, 0.6), jnp.array([0.6], jnp.float32)


def test_gae_by_hand():
    advantages, returns = gae(R, V, DONE, LAST, 0.99, 0.95)
    expected = [2.30284692, 1.49585, 1.7, 1.304107, 1.494]
    np.testing.assert_allclose(advantages[:, 0], expected, rtol=1e-6)
    np.testing.assert_allclose(returns, advantages + V)


def test_gae_limits():
    always = jnp.ones_like(DONE)
    np.testing.assert_allclose(gae(R, V, always, LAST, 0.99, 0.95)[0], R - V, rtol=1e-6)
    delta = R + 0.99 * V_NEXT - V
    np.testing.assert_allclose(gae(R, V, NEVER, LAST, 0.99, 0.0)[0], delta, rtol=1e-6)
    to_go = jnp.cumsum(R[::-1])[::-1][:, None] + 0.6 - V
    np.testing.assert_allclose(gae(R, V, NEVER, LAST, 1.0, 1.0)[0], to_go, rtol=1e-6)


def test_truncation_bootstraps_and_termination_does_not():
    """The third step ends an episode whose final state is worth 7; the next one starts at 0.2."""
    final_v = jnp.full_like(V, 7.0)
    cut, _ = gae(R, V, DONE, LAST, 0.99, 0.95, DONE, final_v)
    assert cut[2, 0] == pytest.approx(2 + 0.99 * 7 - 0.3, rel=1e-6)
    over, _ = gae(R, V, DONE, LAST, 0.99, 0.95, NEVER, final_v)
    assert over[2, 0] == pytest.approx(2 - 0.3, rel=1e-6)
    np.testing.assert_allclose(cut[3:], over[3:])
    np.testing.assert_allclose(over, gae(R, V, DONE, LAST, 0.99, 0.95)[0])


def test_q_lambda_by_hand():
    r, vmax = column(1, 0, 2, 0), column(0.5, 0.4, 0.3, 0.2)
    done = column(0, 0, 1, 0, dtype=bool)
    found = q_lambda(r, vmax, done, jnp.array([0.6]), 0.99, 0.65)
    np.testing.assert_allclose(found[:, 0], [2.03367633, 1.39095, 2, 0.594], rtol=1e-6)
    one_step = r + 0.99 * jnp.where(done, 0, column(0.4, 0.3, 0.2, 0.6))
    found = q_lambda(r, vmax, done, jnp.array([0.6]), 0.99, 0.0)
    np.testing.assert_allclose(found, one_step, rtol=1e-6)


# Losses -------------------------------------------------------------------------------------------


def made_up(seed=0, size=12, actions=3, dtype=np.float64):
    rng = np.random.default_rng(seed)
    logits = jnp.asarray(rng.normal(size=(size, actions)), dtype)
    taken = jnp.asarray(rng.integers(actions, size=size), jnp.int32)
    old = jax.nn.log_softmax(logits)[jnp.arange(size), taken]
    values, advantages, returns = (jnp.asarray(rng.normal(size=size), dtype) for _ in range(3))
    return logits, PPOBatch(taken, old, values, advantages, returns)


def naive_ppo(logits, v, batch, clip, vf, ent):
    """One transition after another."""
    logits, v = np.asarray(logits), np.asarray(v)
    a = np.asarray(batch.advantages)
    a = (a - a.mean()) / (a.std(ddof=1) + 1e-8)
    policy = value = entropy = 0.0
    for i in range(len(v)):
        p = np.exp(logits[i] - logits[i].max())
        p /= p.sum()
        ratio = p[batch.actions[i]] / np.exp(batch.log_probs[i])
        policy += max(-a[i] * ratio, -a[i] * min(max(ratio, 1 - clip), 1 + clip))
        old, target = float(batch.values[i]), float(batch.returns[i])
        near = old + min(max(v[i] - old, -clip), clip)
        value += 0.5 * max((v[i] - target) ** 2, (near - target) ** 2)
        entropy -= np.sum(p * np.log(p))
    return (policy - ent * entropy + vf * value) / len(v)


def test_loss_naively():
    with jax.enable_x64(True):
        logits, batch = made_up()
        moved = logits + jnp.asarray(np.random.default_rng(1).normal(size=logits.shape)) / 2
        v = batch.values + jnp.asarray(np.random.default_rng(2).normal(size=len(logits))) / 5
        found, aux = ppo_loss(moved, v, batch, 0.1, 0.5, 0.01)
        np.testing.assert_allclose(found, naive_ppo(moved, v, batch, 0.1, 0.5, 0.01), rtol=1e-7)
        assert 0 < aux.clip_fraction < 1 and aux.k3 > 0


def test_the_first_minibatch_is_the_policy_gradient():
    with jax.enable_x64(True):
        logits, batch = made_up()
        loss = functools.partial(ppo_loss, batch=batch, vf=0.0, ent=0.0)
        _, aux = loss(logits, batch.values)
        assert float(aux.clip_fraction) == 0 and abs(float(aux.k3)) < 1e-12
        gradient = jax.grad(lambda x: loss(x, batch.values)[0])(logits)
        normal = method.normalise(batch.advantages)

        def surrogate(x):
            log_pi = jax.nn.log_softmax(x)[jnp.arange(len(x)), batch.actions]
            return -(normal * log_pi).mean()

        np.testing.assert_allclose(gradient, jax.grad(surrogate)(logits), rtol=1e-7, atol=1e-12)


def test_gradients_against_finite_differences():
    with jax.enable_x64(True):
        logits, batch = made_up()
        loss = jax.jit(lambda x, v: ppo_loss(x, v, batch, 0.2, 0.5, 0.01)[0])
        rng = np.random.default_rng(3)
        x = logits + 0.05 * jnp.asarray(rng.normal(size=logits.shape))
        v = batch.values + 0.05
        steps = jnp.asarray(rng.normal(size=x.shape)), jnp.asarray(rng.normal(size=v.shape))
        gradients = jax.grad(loss, (0, 1))(x, v)
        slope = sum(float(jnp.sum(g * s)) for g, s in zip(gradients, steps, strict=True))
        ends = [float(loss(x + h * steps[0], v + h * steps[1])) for h in (1e-6, -1e-6)]
        assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(slope, rel=1e-4)


def test_pqn_loss():
    q = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    found = method.pqn_loss(q, jnp.array([0, 1], jnp.int32), jnp.array([2.0, 1.0]))
    assert found == pytest.approx((1 + 9) / 2)


def test_kl_estimates():
    log_ratio = np.array([0.1, -0.2, 0.3, -0.4, 0.5])
    logits = jnp.zeros((5, 2))
    batch = PPOBatch(
        jnp.zeros(5, jnp.int32), jnp.asarray(np.log(0.5) - log_ratio, jnp.float32),
        jnp.zeros(5), jnp.arange(5, dtype=jnp.float32), jnp.zeros(5),
    )  # fmt: skip
    _, aux = ppo_loss(logits, jnp.zeros(5), batch)
    assert aux.k1 == pytest.approx(-0.06, abs=1e-6)
    assert aux.k3 == pytest.approx(0.05856036, abs=1e-6)


# Metrics ------------------------------------------------------------------------------------------

SIGMA = np.array([10, 5, 1, 0.5, 0.2, 0.01])


def ranks(features):
    found = method.ranks(features)
    return [float(found[i]) for i in (0, 2, 1, 3)]


def test_ranks_by_hand():
    rng = np.random.default_rng(0)
    columns, _ = np.linalg.qr(rng.normal(size=(100, 6)))
    features = jnp.asarray(columns * SIGMA, jnp.float32)
    assert method.effective_rank(features) == pytest.approx(2.7161606, rel=1e-4)
    assert method.feature_rank(features) == 3
    assert method.srank(features) == 5
    assert method.count_rank(features) == 5
    assert method.numeric_rank(features) == 6
    assert method.feature_rank(features, thr=0.7) == 1 and method.srank(features, thr=0.6) == 2
    assert ranks(features) == pytest.approx([3, 5, 2.7161606, 5], rel=1e-4)


def test_ranks_of_known_matrices():
    np.testing.assert_allclose(ranks(jnp.eye(16)), [16] * 4, rtol=1e-5)
    one = jnp.outer(jnp.arange(1.0, 9), jnp.ones(4))
    np.testing.assert_allclose(ranks(one), [1] * 4, rtol=1e-3)
    assert ranks(jnp.zeros((4, 3))) == [0, 0, 0, 0]


def test_ranks_do_not_depend_on_coordinates():
    rng = np.random.default_rng(0)
    features = jnp.asarray(rng.normal(size=(40, 6)) * [9, 3, 1, 0.3, 0.1, 0.03], jnp.float32)
    rotation = jnp.asarray(np.linalg.qr(rng.normal(size=(6, 6)))[0], jnp.float32)
    np.testing.assert_allclose(ranks(features @ rotation), ranks(features), rtol=1e-4)
    np.testing.assert_allclose(ranks(0.01 * features)[:3], ranks(features)[:3], rtol=1e-4)
    assert ranks(0.01 * features)[3] < ranks(features)[3]


def test_dormant_units_by_hand():
    features = jnp.array([[0, 1e-6, 1, 2], [0, 2e-6, 3, 0], [0, 0, 2, 1]])
    assert method.dormant(features, eps=1e-5) == 0.5
    assert method.dormant(features, tau=0.025) == 0.5
    assert method.dead(features) == 0.25
    assert method.dormant(jnp.zeros((2, 3)), tau=0.025) == 1


def test_gradient_kurtosis_of_known_laws():
    rng = np.random.default_rng(0)
    size = 400_000
    for draws, logged, plain in (
        (rng.normal(size=size), 7, 3),
        (rng.laplace(size=size), 5.4, 6),
        (rng.uniform(-1, 1, size), 9, 1.8),
    ):
        g = {"w": jnp.asarray(draws, jnp.float32)}
        assert method.grad_kurtosis(g)[0] == pytest.approx(logged, rel=0.04)
        assert method.grad_kurtosis(g, log=False)[0] == pytest.approx(plain, rel=0.04)
    assert np.isnan(method.grad_kurtosis({"w": jnp.ones(5)})[0])
    assert method.grad_kurtosis({"w": jnp.array([0.0, 1.0, 2.0, 0.0])})[1] == 0.5


def test_policy_variance_and_ess_by_hand():
    probs = jnp.array([[0.9, 0.1], [0.5, 0.5], [0.1, 0.9]])
    assert method.policy_variance(probs) == pytest.approx(0.1066667, rel=1e-5)
    assert method.policy_variance(jnp.tile(probs[:1], (5, 1))) < 1e-12
    assert method.ess(jnp.zeros(7)) == pytest.approx(1)
    log_w = jnp.array([0.0, np.log(2), -np.log(2), 0.0], jnp.float32)
    assert method.ess(log_w) == pytest.approx(0.81, rel=1e-5)
    assert method.ess(log_w + 50) == pytest.approx(0.81, rel=1e-5)
    draws = jnp.asarray(0.5 * np.random.default_rng(0).normal(size=200_000), jnp.float32)
    assert method.ess(draws) == pytest.approx(np.exp(-0.25), rel=0.01)


def test_exact_kl_by_hand():
    old, new = jnp.log(jnp.array([[0.5, 0.5], [0.9, 0.1]])), jnp.log(jnp.array([[0.25, 0.75]] * 2))
    by_hand = [0.5 * np.log(2) + 0.5 * np.log(2 / 3), 0.9 * np.log(3.6) + 0.1 * np.log(0.1 / 0.75)]
    assert method.categorical_kl(old, new) == pytest.approx(np.mean(by_hand), rel=1e-5)
    assert method.categorical_kl(old + 3, old) == pytest.approx(0, abs=1e-6)


def test_norm_and_coverage_by_hand():
    assert method.weight_norm({"a": jnp.array([3.0]), "b": jnp.array([[4.0]])}) == 5
    points = jnp.array([[0.01, 0.01], [0.02, 0.03], [0.99, 1.0]])
    found = method.coverage(points, jnp.zeros(2), jnp.ones(2), 10)
    assert found == pytest.approx(2 / 100)


def test_unique_states_by_hand():
    boards = np.zeros((6, 3, 3, 2), bool)
    boards[1, 0, 0, 0] = boards[2, 0, 0, 1] = boards[3, 2, 2, 1] = boards[4, 0, 0, 0] = True
    assert method.unique_share(jnp.asarray(boards)) == pytest.approx(4 / 6)
    assert method.unique_share(jnp.zeros((5, 4), bool)) == pytest.approx(1 / 5)
    every = (np.arange(4096)[:, None] >> np.arange(12)) & 1
    assert method.unique_share(jnp.asarray(every, bool)) == 1


# Theory -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rho", "few", "many"), [(0.9, 58.202480, 165.548133), (0.99, 11.764006, 131.397973)]
)
def test_effective_batch_sizes(rho, few, many):
    assert theory.batch_ess(8, 128, rho) == pytest.approx(few, abs=1e-6)
    assert theory.batch_ess(128, 8, rho) == pytest.approx(many, abs=1e-6)
    diagonal = [theory.batch_ess(n, t, rho) for n, t in theory.iso_batch(1024)]
    assert len(diagonal) == 11 and (np.diff(diagonal) > 0).all()


def test_effective_batch_limits_and_simulation():
    assert theory.batch_ess(8, 128, 0.0) == 1024
    assert theory.batch_ess(8, 128, 1.0) == pytest.approx(8)
    key = np.random.default_rng(0)
    for n, t in ((4, 32), (32, 4)):
        means = theory.simulated_batch_means(key, n, t, 0.9, 20_000)
        assert 1 / means.var() == pytest.approx(theory.batch_ess(n, t, 0.9), rel=0.03)


def test_error_left_by_hand():
    left = functools.partial(theory.value_error_left, 0.99, 0.95)
    np.testing.assert_allclose([left(1), left(8), left(128)], [0.99, 0.934818, 0.831998], atol=1e-6)
    mean = theory.mean_value_error_left
    found = [mean(0.99, lam, T) for lam in (0.95, 1.0) for T in (8, 128)]
    np.testing.assert_allclose(found, [0.960722, 0.852679, 0.956034, 0.559774], atol=1e-6)


def test_error_left_by_gae():
    """A critic that is off by 2 everywhere, on a ring of five states with known values."""
    gamma, lam, T = 0.99, 0.95, 6
    r = np.array([1.0, -1.0, 2.0, 0.5, 0.0])
    ring = np.roll(np.eye(5), 1, axis=1)
    true = np.linalg.solve(np.eye(5) - gamma * ring, r)
    states = np.arange(T + 1) % 5
    off = jnp.asarray((true + 2)[states], jnp.float32)
    never = jnp.zeros((T, 1), bool)
    rewards = jnp.asarray(r[states[:-1]], jnp.float32)[:, None]
    _, returns = gae(rewards, off[:-1, None], never, off[-1:], gamma, lam)
    error = (np.asarray(returns)[:, 0] - true[states[:-1]]) / 2
    expected = [theory.value_error_left(gamma, lam, T - t) for t in range(T)]
    np.testing.assert_allclose(error, expected, atol=1e-4)
