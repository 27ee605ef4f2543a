"""icrl's small tasks: rewards and walls by hand, gymnasium's checks, BiasedCartpole and MuJoCo."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from papers.icrl import envs, tasks
from papers.icrl.gym_env import IDS, ConstrainedEnv
from shared.mujoco import Batch

POINT, CARTPOLE = envs.TASKS["blocked_point"], envs.TASKS["biased_cartpole"]


def close(value, expected, **tolerances):
    np.testing.assert_allclose(
        np.asarray(value), expected, **{"rtol": 1e-5, "atol": 1e-6, **tolerances}
    )


def test_a_step_of_the_point_by_hand():
    state, reward, terminated = POINT.step(jnp.float32([0, 1, -0.4, 0]), jnp.float32([-1, 0.5]))
    close(state, [-0.45 * 0.05, 1 + 0.025 * 0.05, -0.45, 0.025])
    close(reward, 0.45 - 0.05 * 1.25)
    assert not bool(terminated)


def test_from_every_start_of_the_point_one_can_stop_before_the_wall():
    state = jnp.float32([envs.POINT_LOW[0], 0, envs.POINT_LOW[2], 0])
    for _ in range(100):
        state = POINT.step(state, jnp.float32([1, 0]))[0]
        assert not bool(POINT.violated(state))
    starts = jax.vmap(POINT.reset)(jax.random.split(jax.random.key(0), 500))
    assert np.all(starts >= jnp.float32(envs.POINT_LOW))
    assert np.all(starts <= jnp.float32(envs.POINT_HIGH))


@pytest.mark.parametrize(
    ("x", "reward"),
    [(-0.02, 1), (-0.015, 1), (-0.01, 1), (-0.0075, 0.775), (-0.005, 0.55), (-0.001, 0.19),
     (0, 0.1), (0.01, 0.1)],
)  # fmt: skip
def test_the_biased_reward(x, reward):  # V4
    close(envs.biased_reward(jnp.float32(x)), reward)


@pytest.mark.parametrize(
    ("task", "x", "broken"),
    [
        (CARTPOLE, -0.015, False),
        (CARTPOLE, -0.01501, True),
        (POINT, -1.0, False),
        (POINT, -1.001, True),
    ],
)
def test_the_wall_is_strict(task, x, broken):  # V4
    assert bool(task.violated(jnp.float32([x, 0, 0, 0]))) is broken


def test_the_pole_tips_over_and_keeps_its_energy_without_damping(monkeypatch):
    state = jnp.float32([0, 0.3, 0, 0])
    assert bool(CARTPOLE.step(state, jnp.zeros(1, jnp.float32))[2])
    monkeypatch.setattr(envs, "DAMPING", 0.0)
    mass, arm = envs.CART + envs.POLE, np.hypot(envs.COM_X, envs.COM_Z)

    def energy(state):
        _, theta, v, w = np.asarray(state, np.float64)
        along = envs.COM_Z * np.cos(theta) - envs.COM_X * np.sin(theta)
        height = envs.COM_Z * np.cos(theta) - envs.COM_X * np.sin(theta)
        kinetic = 0.5 * mass * v**2 + envs.POLE * along * v * w
        kinetic += 0.5 * (envs.INERTIA + envs.POLE * arm**2) * w**2
        return kinetic + envs.POLE * envs.GRAVITY * height

    start = energy(state)
    for _ in range(50):
        state = envs._runge_kutta(state, jnp.float32(0))
    assert abs(float(state[1])) > 1
    close(energy(state), start, rtol=2e-4)


def test_biased_cartpole_stays_near_mujocos_pendulum():
    """The same actions from the same start for 100 decisions, the pole held up by feedback."""
    batch, rng = Batch(tasks.get("InvertedPendulumWall"), 1, seed=0), np.random.default_rng(0)
    there = batch.reset()[0]
    step, state, worst = jax.jit(CARTPOLE.step), jnp.asarray(there, jnp.float32), np.zeros(4)
    moved = 0.0
    for _ in range(100):
        feedback = there @ [0.03, 1.5, 0.06, 0.25] + 0.01 * rng.normal()
        act = np.clip(np.array([feedback]), -1, 1)
        seen = batch.step(batch.from_unit(act[None]))
        there = seen.next_obs[0]
        state, _, fallen = step(state, jnp.asarray(act, jnp.float32))
        worst = np.maximum(worst, np.abs(np.asarray(state) - there))
        moved = max(moved, abs(float(there[0])))
        assert not bool(fallen)
    assert moved > 0.02  # enough to tell
    assert worst.max() < 1e-3, worst  # m, rad and their rates


@pytest.mark.parametrize("name", IDS)
@pytest.mark.filterwarnings("ignore:.*render_mode.*:UserWarning")
@pytest.mark.filterwarnings("ignore:.*infinity.*:UserWarning")
def test_gymnasium_accepts_it(name):
    check_env(gymnasium.make(name).unwrapped, skip_render_check=True)


def test_the_faces_step_like_the_functions_and_truncate():
    for name, task in envs.TASKS.items():
        env, rng = ConstrainedEnv(name), np.random.default_rng(0)
        obs, _ = env.reset(seed=1)
        state = jnp.asarray(obs)
        for t in range(1, task.horizon + 1):
            act = rng.uniform(-0.02, 0.02, task.act_dim).astype(np.float32)
            obs, reward, terminated, truncated, info = env.step(act)
            state, want, fell = task.step(state, jnp.asarray(act))
            close(obs, state, atol=1e-5)
            close(reward, want, atol=1e-4)
            assert terminated is bool(fell)
            assert info["cost"] == float(task.violated(state))
            assert truncated is (t == task.horizon)
            if terminated:
                break
        with pytest.raises(gymnasium.error.ResetNeeded):
            env.step(act)


def test_the_corridor_is_the_oracles():
    from papers.icrl.oracle import Corridor

    world = Corridor()
    for cell in range(envs.CELLS):
        for act in (0, 1):
            after, reward, broken = envs.corridor_step(jnp.int32(cell), jnp.int32(act))
            assert world.transition[cell, act, int(after)] == 1
            close(reward, world.reward[cell, act])
            assert bool(broken) is bool(world.forbidden[int(after)])
    env = gymnasium.make("corroborate/Corridor7-v0")
    env.reset(seed=0)
    ended = [env.step(1)[3] for _ in range(100)]
    assert ended == [False] * 99 + [True]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: envs.task("cheetah"), "blocked_point, biased_cartpole; got 'cheetah'"),
        (lambda: _started().step(np.float32([2, 0])), "in \\[-1, 1\\]"),
        (lambda: _started().step(np.float32([0])), "2 numbers"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def _started():
    env = ConstrainedEnv("blocked_point")
    env.reset(seed=0)
    return env
