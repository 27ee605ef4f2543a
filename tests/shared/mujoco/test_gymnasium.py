"""Batches equal gymnasium's version 5 environments, and the faces are what gymnasium expects."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import RecordEpisodeStatistics

from shared.experiment.errors import BadInput
from shared.mujoco import Batch, MujocoEnv, MujocoVectorEnv, tasks
from shared.mujoco.batch import draw_start

V5 = [name for name in tasks.names() if name.endswith("-v5")]


def reference(name: str) -> Any:
    """gymnasium's own environment, whose drawing code needs imageio even when nothing is drawn."""
    pytest.importorskip("imageio", reason="gymnasium's MuJoCo environments need imageio")
    module = __import__(f"gymnasium.envs.mujoco.{_snake(name)}", fromlist=["_"])
    return getattr(module, name.replace("-v5", "Env"))()


def _snake(name: str) -> str:
    words = "".join(f"_{c.lower()}" if c.isupper() else c for c in name.replace("-", "_"))
    return words.strip("_")


@pytest.mark.parametrize("name", V5)
def test_from_the_same_start_and_actions_all_steps_are_gymnasiums(name: str) -> None:
    env, batch = reference(name), Batch(name, 2)
    env.reset(seed=3)
    batch.reset()
    saved = batch.get_state()
    row = np.empty(saved["physics"].shape[1])
    mujoco.mj_getState(env.unwrapped.model, env.unwrapped.data, row,
                       mujoco.mjtState.mjSTATE_INTEGRATION)  # fmt: skip
    saved["physics"][1] = row
    saved["kept"] = {field: values.copy() for field, values in saved["kept"].items()}
    for field, values in saved["kept"].items():
        values[1] = getattr(env.unwrapped.data, field)
    batch.set_state(saved)
    rng = np.random.default_rng(0)
    for _ in range(300):
        action = rng.uniform(batch.action_low, batch.action_high, (2, batch.action_size))
        step = batch.step(action)
        obs, reward, terminated, _, _ = env.step(action[1])
        np.testing.assert_array_equal(step.next_obs[1], obs)
        np.testing.assert_allclose(step.reward[1], reward, rtol=0, atol=1e-12)
        assert step.terminated[1] == terminated
        if terminated:
            break


@pytest.mark.parametrize("name", V5)
def test_starts_have_gymnasiums_distribution(name: str) -> None:
    """Drawn from gymnasium's generator they are the same bits."""
    env, task = reference(name), tasks.get(name)
    obs, _ = env.reset(seed=11)
    model = task.model()
    data = mujoco.MjData(model)
    row = np.empty(mujoco.mj_stateSize(model, mujoco.mjtState.mjSTATE_INTEGRATION))
    draw_start(task, model, data, np.random.Generator(np.random.PCG64(11)), row)
    np.testing.assert_array_equal(data.qpos, env.unwrapped.data.qpos)
    np.testing.assert_array_equal(data.qvel, env.unwrapped.data.qvel)
    np.testing.assert_array_equal(Batch(name, 1).reset().shape[1:], obs.shape)


@pytest.mark.parametrize("name", V5)
def test_physics_is_that_of_raw_mujoco_calls(name: str) -> None:
    """mj_step, then mj_rnePostConstraint, on an mjData of our own: the same bits."""
    batch, task = Batch(name, 2), replace(tasks.get(name))
    batch.reset()
    model = task.model()
    data, saved = mujoco.MjData(model), batch.get_state()
    mujoco.mj_setState(model, data, saved["physics"][1], mujoco.mjtState.mjSTATE_INTEGRATION)
    rng = np.random.default_rng(1)
    for _ in range(100):
        action = rng.uniform(batch.action_low, batch.action_high, (2, batch.action_size))
        step = batch.step(action)
        data.ctrl[:] = action[1]
        mujoco.mj_step(model, data, nstep=task.substeps)
        mujoco.mj_rnePostConstraint(model, data)
        if step.done[1]:
            break
        np.testing.assert_array_equal(batch.state.qpos[1], data.qpos)
        np.testing.assert_array_equal(batch.state.qvel[1], data.qvel)
        if task.contact_forces:
            np.testing.assert_array_equal(batch.state.cfrc_ext[1], data.cfrc_ext)
            np.testing.assert_array_equal(batch.state.xpos[1], data.xpos)


# Faces -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pendulum_swingup", "walker_walk", "InvertedPendulum-v5"])
def test_one_copy_is_a_gymnasium_environment(name: str) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*(infinity|normalized|spec).*")  # advice, not errors
        check_env(MujocoEnv(name), skip_render_check=True)


def test_one_copy_is_the_first_of_a_batch() -> None:
    env, batch = MujocoEnv(replace(tasks.get("reacher_easy"), horizon=4)), Batch("reacher_easy", 2)
    obs, _ = env.reset(seed=5)
    batch.seed(5)
    np.testing.assert_array_equal(obs, batch.reset()[0])
    for ended in (False, False, False, True):
        action = np.array([0.3, -0.2], np.float32)
        obs, reward, terminated, truncated, _ = env.step(action)
        step = batch.step(np.tile(action, (2, 1)))
        np.testing.assert_array_equal(obs, step.next_obs[0])
        assert (reward, terminated, truncated) == (step.reward[0], False, ended)
    assert not np.array_equal(env.reset()[0], env.reset()[0])


def test_vector_environment_resets_in_the_step_and_keeps_final_observations() -> None:
    task = replace(tasks.get("point_mass_easy"), horizon=3,
                   extras=lambda state, action: {"cost": state.qpos[:, 0]})  # fmt: skip
    env = MujocoVectorEnv(task, num_envs=3, seed=2)
    assert env.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    obs, _ = env.reset(seed=9)
    assert obs.shape == env.observation_space.shape == (3, 4)
    assert env.action_space.shape == (3, 2) and obs in env.observation_space
    for _ in range(2):
        infos = env.step(np.ones((3, 2), np.float32))[-1]
        assert "final_obs" not in infos
    obs, _, terminated, truncated, infos = env.step(np.ones((3, 2), np.float32))
    assert truncated.all() and not terminated.any() and infos["_final_obs"].all()
    assert infos["final_obs"][:, 2:].min() > 0 and not obs[:, 2:].any()
    np.testing.assert_array_equal(infos["cost"], infos["final_obs"][:, 0])
    assert infos["_cost"].all()
    first, _ = env.reset(seed=9)
    other, _ = env.reset(options={"reset_mask": np.array([True, False, False])})
    assert not np.array_equal(first[0], other[0])
    np.testing.assert_array_equal(first[1:], other[1:])
    with pytest.raises(BadInput, match=r"reset_mask needs shape \(3,\); got \(2,\)"):
        env.reset(options={"reset_mask": np.array([True, False])})


def test_gymnasiums_own_wrapper_counts_our_episodes() -> None:
    env = RecordEpisodeStatistics(
        MujocoVectorEnv(replace(tasks.get("cartpole_balance"), horizon=4), num_envs=2)
    )
    env.reset(seed=0)
    total = np.zeros(2)
    for _ in range(4):
        _, reward, _, _, infos = env.step(np.zeros((2, 1), np.float32))
        total += reward
    assert infos["episode"]["l"].tolist() == [4, 4]
    np.testing.assert_allclose(infos["episode"]["r"], total)
    assert isinstance(env.env, gymnasium.vector.VectorEnv)
