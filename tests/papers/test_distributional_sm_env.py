"""Processes against gymnasium and by hand, data, truth, baselines, PyTorch, and saved models."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from papers.distributional_sm import baselines, method, method_torch, truth
from papers.distributional_sm.config import PRESETS
from papers.distributional_sm.data import collect_transitions, rollouts
from papers.distributional_sm.env import (
    DOWN,
    LEFT,
    PENDULUM,
    RIGHT,
    UP,
    WINDY,
    pendulum_energy,
    pendulum_state,
    pendulum_step,
    quadrants,
    windy_step,
)
from papers.distributional_sm.method import init_atoms, two_level_mmd2
from papers.distributional_sm.zero_shot import Model, evaluate, fit, load_model, rank, save_model

KEY = jax.random.key(0)

# Processes ----------------------------------------------------------------------------------------


def test_pendulum_is_gymnasiums():
    import gymnasium

    env = gymnasium.make("Pendulum-v1").unwrapped
    step = jax.jit(pendulum_step)
    rng = np.random.default_rng(0)
    for _ in range(30):
        theta, omega, torque = rng.uniform([-np.pi, -8, -3], [np.pi, 8, 3])
        env.reset(seed=0)
        env.state = np.array([theta, omega])  # pyright: ignore[reportAttributeAccessIssue]
        expected = env.step(np.array([torque]))[0]
        found = step(KEY, pendulum_state(theta, omega), jnp.float32(torque))
        np.testing.assert_allclose(found, expected, atol=2e-5)


def test_wind_blows_outward():
    move = jax.jit(windy_step)
    for action, direction in ((LEFT, [-1, 0]), (RIGHT, [1, 0]), (DOWN, [0, -1]), (UP, [0, 1])):
        origin = move(KEY, jnp.zeros(2), jnp.int32(action))
        np.testing.assert_array_equal(origin, direction)  # no wind on an axis
    keys = jax.random.split(KEY, 500)
    start = jnp.array([2.0, -3.0])
    ends = jax.vmap(lambda k: move(k, start, jnp.int32(UP)))(keys)
    wind = np.asarray(ends) - [2.0, -2.0]
    assert wind[:, 0].min() >= 0 and wind[:, 0].max() <= 0.25
    assert wind[:, 1].max() <= 0 and wind[:, 1].min() >= -0.25
    np.testing.assert_allclose(wind.mean(0), [0.125, -0.125], atol=0.01)
    corner = move(KEY, jnp.array([4.9, 4.9]), jnp.int32(UP))
    assert corner.max() <= 5


def test_windy_returns_by_hand():
    """From the origin: quadrants of 1 or 2 from the third state on, by a fair coin."""
    paths = np.asarray(rollouts(KEY, jnp.zeros((400, 2)), WINDY, "top", 200))
    rewards = np.asarray(quadrants(jnp.asarray(paths.reshape(-1, 2)))).reshape(400, 200)
    returns = rewards @ 0.95 ** np.arange(200)
    unit = (0.95**2 - 0.95**200) / 0.05
    assert unit == pytest.approx(18.0493, abs=1e-4)
    np.testing.assert_allclose(np.unique(returns.round(3)), [unit, 2 * unit], atol=1e-3)
    assert np.mean(returns > 20) == pytest.approx(0.5, abs=0.1)


def test_policies_whose_mean_and_tail_disagree():
    config = PRESETS["cpu"]
    top, gamble = (
        truth.simulated(config, "windy", p).returns[0, 0].astype(float) for p in ("top", "gamble")
    )
    assert gamble.mean() > top.mean() + 2
    assert np.sort(gamble)[:200].mean() < np.sort(top)[:200].mean() - 10


def test_the_controller_swings_up():
    paths = rollouts(KEY, jnp.tile(pendulum_state(np.pi, 0.0), (20, 1)), PENDULUM, "energy", 400)
    assert np.mean(np.asarray(paths)[:, -50:, 0] > 0.9) > 0.8
    assert jnp.isfinite(pendulum_energy(KEY, pendulum_state(0.0, 0.0)))


@pytest.mark.filterwarnings("ignore:.*recommend using a symmetric")  # torque, as gymnasium's own
@pytest.mark.parametrize("make", ["windy_gridworld", "pendulum"])
def test_gymnasium_environments(make):
    from gymnasium.utils.env_checker import check_env

    from papers.distributional_sm import gym_envs

    env = getattr(gym_envs, make)()
    check_env(env, skip_render_check=True)
    first, _ = env.reset(seed=3)
    assert np.array_equal(first, env.reset(seed=3)[0])
    for step in range(200):
        _, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        assert not terminated and truncated == (step == 199) and np.isfinite(reward)
    with pytest.raises(ValueError, match="lies outside"):
        env.reset(options={"state": np.full(first.shape, 99.0)})


def test_rewards_are_of_the_state_before_the_move():
    from papers.distributional_sm.gym_envs import windy_gridworld

    env = windy_gridworld()
    env.reset(seed=0)
    rewards = [env.step(action)[1] for action in (RIGHT, UP, UP)]
    assert rewards == [0, 0, 1]


def test_balance_falls_and_stays():
    from papers.distributional_sm.mujoco_task import balance, is_fallen

    place = balance()
    paths = place.simulate("weak", 0, 20, 60)
    fallen = is_fallen(paths)
    assert 0.2 < fallen[:, :, -1].mean() <= 1
    assert (np.diff(fallen.astype(int), axis=2) >= 0).all()
    run = paths[fallen[:, :, -1]][0]
    first = int(np.argmax(is_fallen(run)))
    np.testing.assert_array_equal(run[first:], np.tile(run[first], (60 - first, 1)))
    data = place.collect("weak", 0, 10, 40, 3)
    assert data.last.sum() > 0
    np.testing.assert_array_equal(np.asarray(data.last), is_fallen(np.asarray(data.obs)))


def test_batched_steps_are_mujocos_own():
    import mujoco

    from papers.distributional_sm import mujoco_task

    bindings: Any = mujoco  # compiled, without type stubs
    model, data = mujoco_task._model()
    start = np.array([0.1, 0.05, -0.2, 0.1])
    key = np.random.default_rng(5)
    paths = mujoco_task.roll_out(np.random.default_rng(5), start[None], 4)
    state = start
    for t in range(1, 4):
        control = state @ mujoco_task.GAINS + mujoco_task.NOISE * key.normal(size=1)
        data.qpos[:], data.qvel[:], data.ctrl[:] = state[:2], state[2:], np.clip(control, -3, 3)
        bindings.mj_step(model, data, nstep=mujoco_task.FRAME_SKIP)
        state = np.concatenate([data.qpos, data.qvel])
        np.testing.assert_allclose(paths[0, t], state, atol=1e-6)


def test_data_leaves_cuts_alone():
    data = collect_transitions(KEY, WINDY, "top", 5, 8, 3)
    assert data.obs.shape == (40, 2)
    np.testing.assert_array_equal(data.starts, [8 * e + i for e in range(5) for i in range(5)])
    with pytest.raises(ValueError, match=r"windy has no policy 'up'; it has top, gamble."):
        rollouts(KEY, jnp.zeros((1, 2)), WINDY, "up", 2)


# Truth --------------------------------------------------------------------------------------------


def test_w1_by_hand_and_by_scipy():
    from scipy.stats import wasserstein_distance

    rng = np.random.default_rng(0)
    predicted, real = np.sort(rng.normal(size=(2, 3, 5))), np.sort(rng.normal(size=(2, 3, 20)) + 1)
    expected = [[wasserstein_distance(p, r) for p, r in zip(*pair, strict=True)]
                for pair in zip(predicted, real, strict=True)]  # fmt: skip
    np.testing.assert_allclose(truth.w1(predicted, real), expected, rtol=1e-12)
    shuffled = jnp.asarray(predicted[..., ::-1], jnp.float32)
    found = truth.w1_jax(shuffled, jnp.asarray(real, jnp.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_cdf_distances_by_hand_and_by_scipy():
    from scipy.stats import cramervonmises_2samp, ks_2samp

    ks, cvm = truth.cdf_distances(np.array([[[0.0, 2.0]]]), np.array([[[1.0, 3.0]]]))
    assert ks[0, 0] == 0.5 and cvm[0, 0] == pytest.approx((0.25 + 0 + 0.25 + 0) / 4)
    rng = np.random.default_rng(0)
    predicted, real = np.sort(rng.normal(size=(1, 2, 7))), np.sort(rng.normal(size=(1, 2, 30)) + 1)
    ks, cvm = truth.cdf_distances(predicted, real)
    for reward in (0, 1):
        pair = predicted[0, reward], real[0, reward]
        largest: Any = ks_2samp(*pair)
        assert ks[0, reward] == pytest.approx(largest.statistic)
        squares: Any = cramervonmises_2samp(*pair)  # N M / (N + M) times the mean square
        assert cvm[0, reward] * 7 * 30 / 37 == pytest.approx(squares.statistic)


def test_floors():
    """An even law on [0, 1/2]: the best m equal atoms are 1 / (8 m) away, sampled ones further."""
    even = ((np.arange(5500) + 0.5) / 11000)[None, None]
    best = truth.quantised_floor(even, 11)
    assert best[0, 0] == pytest.approx(0.011364, abs=2e-5)
    assert truth.sampled_floor(even, 11)[0, 0] > 2 * best[0, 0]


# Baselines ----------------------------------------------------------------------------------------


def samples(seed, shift=0.0):
    places = np.arange(4)[:, None, None] / 2
    draws = np.random.default_rng(seed).normal(size=(4, 6, 2)) + places + shift
    return jnp.asarray(draws, jnp.float32)


def test_pairwise_loss_is_the_same():
    x, y = samples(0), samples(1, 0.5)
    np.testing.assert_allclose(
        baselines.pairwise_two_level_mmd2(x, y), two_level_mmd2(x, y), atol=1e-5
    )
    found, expected = (
        jax.grad(f)(x, y) for f in (two_level_mmd2, baselines.pairwise_two_level_mmd2)
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_memory_does_not_grow_with_all_pairs():
    from papers.distributional_sm.bench import memory

    ours, pair_by_pair = memory(12, 16, 4)
    assert ours < pair_by_pair / 4


def test_ensemble_compares_each_atom_with_its_own():
    x, y = samples(0), samples(1, 2.0)
    expected = np.diagonal(method.block_mmd2(x, y)).mean()
    np.testing.assert_allclose(baselines.ensemble_loss(x, y), expected, rtol=1e-4)
    swapped = baselines.ensemble_loss(x, y[::-1])
    assert abs(swapped - expected) > 1e-3
    np.testing.assert_allclose(two_level_mmd2(x, y[::-1]), two_level_mmd2(x, y), rtol=1e-4)


def test_an_ensemble_collapses_to_the_mean():
    """On a fair coin with gamma = 1/2 returns have the variance 1/12; the ensemble's have none."""
    model = fit(COIN, coin_flips(), 500, loss=baselines.ensemble_loss)
    for x in (0.0, 1.0):
        found = evaluate(model, np.array([x]), is_one)
        assert found.std**2 < 0.02
        assert found.mean == pytest.approx(x + 0.5, abs=0.15)


COIN = method.TrainerSpec(
    1, gamma=0.5, atoms=6, horizon=1, samples=16, batch=16, latent=2, hidden=(16, 16),
    learned_kernel=False, learning_rate=3e-3, ema=0.02,
)  # fmt: skip


def coin_flips():
    flips = np.random.default_rng(0).integers(0, 2, size=(2000, 1)).astype(np.float32)
    never = jnp.zeros(2000, bool)
    return method.transitions(jnp.asarray(flips), never, never, 1)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: fit(COIN, coin_flips(), 0), r"updates must be at least 1, got 0."),
        (
            lambda: fit(method.TrainerSpec(2), coin_flips(), 1),
            "have 1 numbers, obs_dim is 2",
        ),
        (lambda: fit(COIN, coin_flips(), 3, loss=lambda x, y: jnp.nan * x.sum()), "diverged"),
    ],
)
def test_what_cannot_be_fitted(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


def is_one(s):
    return jnp.where(s[:, 0] > 0.5, 1.0, 0.0).astype(s.dtype)


def test_per_pair_median_has_a_kernel_for_each_pair():
    x, y = samples(0), samples(1, 1.0)
    value = baselines.per_pair_median_loss(x, y)
    np.testing.assert_allclose(value, baselines.per_pair_median_loss(5 * x, 5 * y), rtol=1e-3)
    assert value > 0.01
    np.testing.assert_allclose(baselines.per_pair_median_loss(x, x), 0, atol=1e-6)


def test_a_one_step_model_is_rolled_out_from_its_source():
    spec = baselines.one_step_spec(method.TrainerSpec(2, atoms=5))
    assert (spec.atoms, spec.gamma, spec.horizon, spec.include_source) == (1, 0.0, 1, False)
    params = init_atoms(KEY, 1, 2, hidden=(4,))
    paths = baselines.roll_out(params, KEY, jnp.array([1.0, 2.0]), 3, 5)
    assert paths.shape == (3, 5, 2)
    np.testing.assert_array_equal(paths[:, 0], np.tile([1.0, 2.0], (3, 1)))
    assert np.ptp(paths[:, 1, 0]) > 0
    high = jnp.array([0.1, 9.0])
    bounded = baselines.roll_out(params, KEY, jnp.array([1.0, 2.0]), 3, 5, high - 0.1, high)
    np.testing.assert_array_equal(bounded[:, 1], jnp.clip(paths[:, 1], high - 0.1, high))


# PyTorch ------------------------------------------------------------------------------------------


def test_pytorch_is_equal():
    x, y = samples(0), samples(1, 0.5)
    tx, ty = (torch.tensor(np.asarray(a), requires_grad=True) for a in (x, y))
    for name in ("rq_kernel", "rbf"):
        inner, torch_inner = getattr(method, name), getattr(method_torch, name)
        np.testing.assert_allclose(
            method_torch.block_mmd2(tx, ty, torch_inner).detach(),
            method.block_mmd2(x, y, inner), atol=1e-5,
        )  # fmt: skip
        value, gradients = jax.value_and_grad(two_level_mmd2, (0, 1))(x, y, inner)
        loss = method_torch.two_level_mmd2(tx, ty, torch_inner)
        found = torch.autograd.grad(loss, (tx, ty))
        np.testing.assert_allclose(loss.detach(), value, atol=1e-5)
        for a, b in zip(found, gradients, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)


def test_pytorch_targets_are_equal():
    rng = np.random.default_rng(0)
    uniform, boot = rng.uniform(size=(3, 40)), rng.normal(size=(3, 40, 2))
    obs = rng.normal(size=(5, 2))
    for last in (None, 0, 2, 4):
        flags = np.arange(5) == last
        for include in (True, False):
            u, s, b = (np.asarray(a, np.float32) for a in (uniform, obs, boot))
            tu, ts, tl, tb = (torch.tensor(a) for a in (u, s, flags, b))
            ju, js, jl, jb = (jnp.asarray(a) for a in (u, s, flags, b))
            found = method_torch.targets_of(tu, ts, tl, tb, 0.8, include)
            expected = method.targets_of(ju, js, jl, jb, 0.8, include)
            np.testing.assert_array_equal(found, expected)


# Models in use ------------------------------------------------------------------------------------


def model(seed=0):
    return Model(init_atoms(jax.random.key(seed), 5, 2, latent=3, hidden=(8, 8)), 0.9, 2, "a note")


def test_a_saved_model_answers_as_before(tmp_path):
    save_model(model(), tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    assert (loaded.gamma, loaded.obs_dim, loaded.note) == (0.9, 2, "a note")
    answers = [evaluate(m, np.zeros(2), lambda s: s[:, 0], 200) for m in (model(), loaded)]
    np.testing.assert_array_equal(answers[0].returns, answers[1].returns)
    answer = answers[0]
    assert answer.returns.shape == (5,) and (np.diff(answer.returns) >= 0).all()
    assert answer.mean == pytest.approx(answer.returns.mean())
    assert answer.cvar(0.2) == pytest.approx(answer.returns[0])
    assert answer.cvar(1.0) == pytest.approx(answer.mean)
    assert answer.quantile(0.5) == answer.returns[2]
    assert answer.std > 0


def test_ranking():
    models = {"a": model(0), "b": model(1)}
    reward = lambda s: s[:, 0]  # noqa: E731
    values = {name: evaluate(m, np.ones(2), reward, 300).cvar(0.4) for name, m in models.items()}
    found = rank(models, np.ones(2), reward, 0.4, 300)
    assert [name for name, _ in found] == sorted(values, key=lambda name: -values[name])


def test_files_that_hold_no_model(tmp_path):
    from safetensors.numpy import save_file

    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"not a model")
    with pytest.raises(ValueError, match="is not a readable model file"):
        load_model(damaged)
    save_file({"w": np.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="holds no delta-model of this paper"):
        load_model(tmp_path / "other.safetensors")
    wrong = model()
    save_model(Model(wrong.atoms[:1] + wrong.atoms[2:], 0.9, 2), tmp_path / "gap.safetensors")
    assert load_model(tmp_path / "gap.safetensors").obs_dim == 2  # 8 -> 8 was left out: it fits
    save_model(Model(wrong.atoms[1:][::-1], 0.9, 2), tmp_path / "unfit.safetensors")
    with pytest.raises(ValueError, match="holds another architecture"):
        load_model(tmp_path / "unfit.safetensors")
    save_model(Model(wrong.atoms, 0.9, 3), tmp_path / "dim.safetensors")
    with pytest.raises(ValueError, match="generates 2 numbers, not the 3 of a state"):
        load_model(tmp_path / "dim.safetensors")


def test_bad_questions():
    with pytest.raises(ValueError, match=r"A state has the shape \(2,\), got \(3,\)."):
        evaluate(model(), np.zeros(3), lambda s: s[:, 0])
    with pytest.raises(ValueError, match="reward_fn must map states of shape"):
        evaluate(model(), np.zeros(2), lambda s: s)
    with pytest.raises(ValueError, match=r"samples must be at least 1, got 0."):
        evaluate(model(), np.zeros(2), lambda s: s[:, 0], 0)
