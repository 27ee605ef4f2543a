"""The walled MuJoCo tasks against gymnasium's version 4 environments and the formulas."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import mujoco
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from papers.icrl import tasks
from papers.icrl.tasks import Wall, biased_reward, wall
from shared.experiment.errors import BadInput
from shared.mujoco import Batch, MujocoEnv

# observation, actions, horizon, seconds of a step
SHAPES = {
    "InvertedPendulumWall": (4, 1, 100, 0.04),
    "HalfCheetahWall": (18, 6, 1000, 0.05),
    "AntWall": (113, 8, 500, 0.05),
    "Walker2dWall": (18, 6, 500, 0.008),
    "SwimmerWall": (10, 2, 500, 0.04),
}
STEPS = 120


def version_4(name: str) -> Any:
    """The body in gymnasium's own hands, whose drawing code needs imageio."""
    pytest.importorskip("imageio", reason="gymnasium's MuJoCo environments need imageio")
    from gymnasium.envs.mujoco import (
        ant_v4,
        half_cheetah_v4,
        inverted_pendulum_v4,
        swimmer_v4,
        walker2d_v4,
    )

    whole = {"exclude_current_positions_from_observation": False}
    return {
        "InvertedPendulumWall": lambda: inverted_pendulum_v4.InvertedPendulumEnv(),
        "HalfCheetahWall": lambda: half_cheetah_v4.HalfCheetahEnv(**whole),
        "AntWall": lambda: ant_v4.AntEnv(
            use_contact_forces=True, terminate_when_unhealthy=False, **whole
        ),
        "Walker2dWall": lambda: walker2d_v4.Walker2dEnv(**whole),
        "SwimmerWall": lambda: swimmer_v4.SwimmerEnv(**whole),
    }[name]()


def expected(name: str, x_before: float, env: Any, action: np.ndarray) -> tuple[float, float]:
    """Reward and cost by the formulas, from one environment's state after the step."""
    x, y = env.data.qpos[:2]
    speed, effort = abs(x - x_before) / env.dt, float(action @ action)
    if name == "InvertedPendulumWall":
        reward = 1.0 if x <= -0.01 else 0.1 if x >= 0 else 0.1 - 90 * x
        return reward, float(x < -0.015)
    if name == "HalfCheetahWall":
        return speed - 0.1 * effort, float(x < -3)
    if name == "Walker2dWall":
        return speed + 1 - 1e-3 * effort, float(x < -3)
    if name == "SwimmerWall":
        return speed - 1e-4 * effort, float(x > 0.5)
    contact = np.clip(env.data.cfrc_ext, -1, 1)
    return np.hypot(x, y) + 1 - 0.5 * effort - 5e-4 * float((contact**2).sum()), float(x < -3)


def shifted(row: np.ndarray, x: float) -> np.ndarray:
    """An integration state moved along the first coordinate: time stands before qpos."""
    moved = row.copy()
    moved[1] = x
    return moved


@pytest.mark.parametrize("name", SHAPES)
def test_steps_are_gymnasiums_with_the_papers_rewards(name: str) -> None:
    """From starts on both sides of the wall, so that costs of both kinds are seen."""
    env, task = version_4(name), tasks.get(name)
    env.reset(seed=1)
    batch = Batch(task, 2)
    batch.reset()
    row = np.empty(mujoco.mj_stateSize(env.model, mujoco.mjtState.mjSTATE_INTEGRATION))
    mujoco.mj_getState(env.model, env.data, row, mujoco.mjtState.mjSTATE_INTEGRATION)
    barrier, costs = wall(task), []
    away = 0.002 if name == "InvertedPendulumWall" else 0.2  # m
    for side in (-away, away):
        saved = batch.get_state()
        start = shifted(row, barrier.at + side)
        saved["physics"][0] = start
        if "qpos" in saved["kept"]:
            saved["kept"]["qpos"][0, 0] = start[1]
        saved["steps"][:] = 0
        batch.set_state(saved)
        mujoco.mj_setState(env.model, env.data, start, mujoco.mjtState.mjSTATE_INTEGRATION)
        rng = np.random.default_rng(0)
        for _ in range(STEPS if side > 0 else 10):
            unit = rng.uniform(-1, 1, (2, batch.action_size))
            action, before = batch.from_unit(unit), float(env.data.qpos[0])
            step = batch.step(action)
            obs, _, fell, _, _ = env.step(action[0])
            reward, cost = expected(name, before, env, action[0])
            np.testing.assert_array_equal(step.next_obs[0], obs)
            np.testing.assert_allclose(step.reward[0], reward, rtol=0, atol=1e-12)
            assert step.extras["cost"][0] == cost and step.terminated[0] == fell
            assert step.next_obs[0, 0] == env.data.qpos[0]  # the wall's coordinate comes first
            costs.append(cost)
            if step.done[0]:
                break
    assert set(costs) == {0.0, 1.0}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_horizons_and_step_lengths(name: str) -> None:
    batch = Batch(tasks.get(name), 1)
    shape = (batch.reset().shape[1], batch.action_size, batch.task.horizon)
    assert (*shape, round(batch.state.dt, 12)) == SHAPES[name]
    largest = 3.0 if name == "InvertedPendulumWall" else 1.0
    assert (batch.action_high == largest).all() and (batch.action_low == -largest).all()


@pytest.mark.parametrize("name", ["HalfCheetahWall", "AntWall", "SwimmerWall"])
def test_without_a_fall_an_episode_is_truncated_at_its_horizon(name: str) -> None:
    task = replace(tasks.get(name), horizon=7)
    batch = Batch(task, 1)
    batch.reset()
    for time in range(1, 8):
        step = batch.step(np.zeros((1, batch.action_size)))
        assert step.truncated[0] == (time == 7) and not step.terminated[0]


def test_reward_of_the_biased_pendulum() -> None:
    x = np.array([-0.02, -0.015, -0.01, -0.0075, -0.005, -0.001, 0.0, 0.01])
    want = [1, 1, 1, 0.775, 0.55, 0.19, 0.1, 0.1]
    np.testing.assert_allclose(biased_reward(x), want, rtol=1e-12)


def test_on_the_wall_itself_nothing_is_broken() -> None:
    below, above = Wall(-0.015, "below"), Wall(0.5, "above")
    assert below.cost(np.array([-0.0151, -0.015, 0.0])).tolist() == [1, 0, 0]
    assert above.cost(np.array([0.4, 0.5, 0.5001])).tolist() == [0, 0, 1]


def test_a_cheetah_is_paid_for_either_direction() -> None:
    batch = Batch(tasks.get("HalfCheetahWall"), 2)
    batch.reset()
    saved = batch.get_state()
    saved["physics"][:, 1:] = 0.0
    qvel = 1 + batch.state.qpos.shape[1]
    saved["physics"][:, 2] = 3.0  # high above the ground
    saved["physics"][:, qvel] = [1.5, -1.5]
    saved["kept"]["qpos"][:] = 0.0
    batch.set_state(saved)
    step = batch.step(np.zeros((2, 6)))
    np.testing.assert_allclose(step.reward, 1.5, atol=0.05)
    np.testing.assert_allclose(step.next_obs[0, 0], -step.next_obs[1, 0], atol=0.01)


def test_an_ant_at_the_origin_that_touches_nothing_gets_one() -> None:
    batch = Batch(tasks.get("AntWall"), 1)
    batch.reset()
    saved = batch.get_state()
    saved["physics"][0, 1:3] = 0.0
    saved["physics"][0, 3] = 20.0
    saved["physics"][0, 16:] = 0.0  # at rest
    batch.set_state(saved)
    step = batch.step(np.zeros((1, 8)))
    distance = np.linalg.norm(step.next_obs[0, :2])  # its joints' limits push it a little
    assert distance < 0.01
    np.testing.assert_allclose(step.reward[0] - distance, 1.0, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["InvertedPendulumWall", "SwimmerWall"])
def test_one_copy_is_a_gymnasium_environment_that_reports_the_cost(name: str) -> None:
    env = MujocoEnv(tasks.get(name))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*(infinity|normalized|spec).*")  # advice, not errors
        check_env(env, skip_render_check=True)
    env.reset(seed=0)
    assert env.step(env.action_space.sample())[-1]["cost"] in (0.0, 1.0)


def test_unknown_names_get_one_sentence() -> None:
    with pytest.raises(BadInput, match=r"'SwimerWall'; did you mean SwimmerWall"):
        tasks.get("SwimerWall")
    with pytest.raises(BadInput, match=r"'q'; there are InvertedPendulumWall, .*SwimmerWall\."):
        tasks.get("q")
