"""Batches equal dm_control: starts, observations, rewards and ends, step for step."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from shared.mujoco import Batch, tasks
from shared.mujoco.batch import draw_start, forward_without_actuation
from tests.shared.mujoco.reference import INTEGRATION, OWN, Suite

SUITE = [name for name in tasks.names() if name.islower()]
# Steps compared: whole episodes, shorter for a slow body whose episodes differ in nothing else.
STEPS = {f"quadruped_{task}": 150 for task in ("run", "stand", "jump")}
WIDTHS = {"cheetah": 17, "walker": 24, "quadruped": 78}
WIDTHS |= {"pendulum": 3, "point": 4, "reacher": 6, "cartpole": 5}
COPIES = 2


def started_as(batch: Batch, suites: list[Suite]) -> None:
    """Put the copies of a batch where dm_control's environments stand after their resets."""
    batch.reset()
    saved = batch.get_state()
    saved["physics"] = np.stack([suite.physics() for suite in suites])
    for name in saved["varies"]:
        saved["varies"][name] = np.stack([getattr(suite.model, name) for suite in suites])
    batch.set_state(saved)


@pytest.mark.parametrize("name", SUITE)
def test_from_the_same_start_and_actions_all_steps_are_the_same(name: str) -> None:
    suites = [Suite(name, seed) for seed in range(COPIES)]
    for suite in suites:
        suite.reset()
    batch = Batch(name, COPIES)
    started_as(batch, suites)
    assert batch.observation_size == WIDTHS[name.split("_")[0]]
    rng = np.random.default_rng(0)
    moved = []
    for time in range(STEPS.get(name, 1000)):
        unit = rng.uniform(-1, 1, (COPIES, batch.action_size))
        actions = batch.from_unit(np.sign(unit) if time % 7 == 0 else unit)  # corners, too
        step = batch.step(actions)
        for copy, suite in enumerate(suites):
            obs, reward, last = suite.step(actions[copy])
            if name.startswith("quadruped"):  # asinh of arrays of another length: last bits
                np.testing.assert_allclose(step.next_obs[copy], obs, rtol=1e-13, atol=1e-13)
            else:
                np.testing.assert_array_equal(step.next_obs[copy], obs)
            np.testing.assert_allclose(step.reward[copy], reward, rtol=0, atol=1e-12)
            assert step.truncated[copy] == last
            if not last:
                physics = batch.get_state()["physics"][copy]
                np.testing.assert_array_equal(physics, suite.physics())
        assert not step.terminated.any()
        moved.append(step.next_obs)
    assert len(np.unique(np.stack(moved)[:, :, 0])) > 10  # something moved


@pytest.mark.parametrize("name", SUITE)
def test_drawn_from_dm_controls_generator_starts_are_the_same_bits(name: str) -> None:
    suite, task = Suite(name, 3), tasks.get(name)
    assert suite.env._step_limit == task.horizon
    random = np.random.RandomState(3)
    model = Batch(task, 1).model(0)
    data = mujoco.MjData(model)
    for _ in range(3):
        obs = suite.reset()
        row = np.empty(mujoco.mj_stateSize(model, INTEGRATION))
        draw_start(task, model, data, random, row)
        forward_without_actuation(model, data)
        mujoco.mj_getState(model, data, row, INTEGRATION)
        np.testing.assert_array_equal(row, suite.physics())
        for field in task.varies:
            np.testing.assert_array_equal(getattr(model, field), getattr(suite.model, field))
    assert obs.any()


@pytest.mark.parametrize("name", ["walker_walk", "quadruped_run", "cartpole_balance"])
def test_first_observation_is_that_of_dm_controls_reset(name: str) -> None:
    """Sensors included that only the forward pass without actuation fills."""
    batch, suite = Batch(name, 2, seed=5), Suite(name)
    obs = batch.reset()
    suite.reset()
    with suite.env.physics.reset_context():
        row = batch.get_state()["physics"][1]
        mujoco.mj_setState(suite.model, suite.data, row, INTEGRATION)
    np.testing.assert_allclose(obs[1], _observe(suite), rtol=0, atol=1e-9)


def _observe(suite: Suite) -> np.ndarray:
    parts = suite.env.task.get_observation(suite.env.physics).values()
    return np.concatenate([np.ravel(part) for part in parts])


@pytest.mark.parametrize("name", ["cheetah_run", "walker_walk", "quadruped_walk", "quadruped_run"])
def test_models_are_dm_controls(name: str) -> None:
    ours, theirs = tasks.get(name).model(), Suite(name).model
    for field in ("body_mass", "body_inertia", "geom_size", "geom_pos", "geom_friction",
                  "dof_damping", "jnt_range", "actuator_gainprm", "actuator_ctrlrange",
                  "sensor_adr", "qpos0", "geom_solref"):  # fmt: skip
        np.testing.assert_array_equal(getattr(ours, field), getattr(theirs, field), err_msg=field)


def test_rewards_of_our_own_at_known_states() -> None:
    """cheetah_walk pays speed/2 up to 1; the suite's names exclude the paper's further tasks."""
    from shared.mujoco.rewards import gaussian, inside, linear, quadratic

    speeds = np.array([-1.0, 0.0, 1.0, 2.0, 3.0])
    np.testing.assert_allclose(linear(speeds, 2.0, 2.0, 0.0), [0, 0, 0.5, 1, 1])
    np.testing.assert_allclose(linear(np.array([0.25, -0.5]), 0.5, 0.5, 0.5), [0.75, 0.0])
    np.testing.assert_allclose(gaussian(np.array([0.6, 1.2]), 1.2, np.inf, 0.6), [0.1, 1.0])
    np.testing.assert_allclose(quadratic(np.array([-0.5, 0.0, 2.0]), 1.0), [0.75, 1.0, 0.0])
    np.testing.assert_array_equal(inside(np.array([0.9, 1.0, 1.1]), 0.0, 1.0), [1, 1, 0])
    assert set(OWN) < set(SUITE)
