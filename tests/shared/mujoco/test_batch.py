"""Batches: seeds, threads, resuming, ends, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from shared.experiment.errors import BadInput, Diverged
from shared.mujoco import Batch, run_episodes, tasks
from shared.mujoco.batch import unit_to_box
from shared.mujoco.task import Task

EVERY_BODY = ["cheetah_run", "walker_flip", "quadruped_jump", "reacher_easy", "cartpole_swingup",
              "HalfCheetah-v5", "Ant-v5", "Walker2d-v5"]  # fmt: skip


def short(name: str, horizon: int) -> Task:
    return replace(tasks.get(name), horizon=horizon)


def actions_for(batch: Batch, steps: int, seed: int = 0) -> np.ndarray:
    """The same numbers for the first copies, however many there are."""
    streams = [np.random.default_rng([seed, copy]) for copy in range(batch.copies)]
    shape = (steps, batch.action_size)
    return np.stack([rng.uniform(batch.action_low, batch.action_high, shape) for rng in streams], 1)


def trace(batch: Batch, steps: int) -> list[np.ndarray]:
    """Everything seen: first observations, then what each step gave."""
    seen = [batch.reset()]
    for action in actions_for(batch, steps):
        step = batch.step(action)
        seen += [step.obs, step.next_obs, step.reward, step.terminated, step.truncated]
    return seen


@pytest.mark.parametrize("name", EVERY_BODY)
def test_neither_threads_nor_the_number_of_copies_matter(name: str) -> None:
    task = short(name, 12)
    alone = trace(Batch(task, 2, seed=4, threads=1), 30)
    together = trace(Batch(task, 5, seed=4, threads=3), 30)
    for few, many in zip(alone, together, strict=True):
        np.testing.assert_array_equal(few, many[:2])
    assert not np.array_equal(together[0][3], together[0][4])


def test_seeds_are_streams() -> None:
    first = Batch("pendulum_swingup", 3, seed=0).reset()
    again, other = (Batch("pendulum_swingup", 3, seed=s).reset() for s in (0, 1))
    np.testing.assert_array_equal(first, again)
    assert len(np.unique(np.concatenate([first, other])[:, 0])) == 6
    batch = Batch("pendulum_swingup", 2, seed=[7, 7])
    one, two = batch.reset()
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(batch.reset()[0], one)  # the next episode starts elsewhere
    batch.seed([7, 8])
    np.testing.assert_array_equal(batch.reset()[0], one)
    assert batch.episodes.tolist() == [1, 1]


@pytest.mark.parametrize("name", EVERY_BODY)
def test_resumed_from_its_state_a_batch_goes_on_bit_for_bit(name: str) -> None:
    task = short(name, 20)
    batch = Batch(task, 3, seed=1)
    batch.reset()
    actions = actions_for(batch, 60)
    for action in actions[:25]:
        batch.step(action)
    batch.reset(np.array([False, True, False]))  # episodes out of step with one another
    saved = batch.get_state()
    other = Batch(task, 3, seed=99)
    obs = other.set_state(saved)
    np.testing.assert_array_equal(obs, saved["obs"])
    for action in actions[25:]:
        ours, theirs = batch.step(action), other.step(action)
        for field in ("obs", "next_obs", "reward", "terminated", "truncated"):
            np.testing.assert_array_equal(getattr(ours, field), getattr(theirs, field))
    assert batch.episodes.tolist() == other.episodes.tolist()
    assert not np.array_equal(saved["physics"], batch.get_state()["physics"])


def test_truncation_is_not_termination_and_final_observations_are_kept() -> None:
    batch = Batch(short("point_mass_easy", 5), 2)
    batch.reset()
    batch.step(np.zeros((2, 2)))
    batch.reset(np.array([False, True]))  # now one step behind
    ends = []
    for _ in range(9):
        step = batch.step(np.full((2, 2), 0.5))
        ends.append(step.truncated.tolist())
        np.testing.assert_array_equal(step.obs[~step.done], step.next_obs[~step.done])
        for copy in np.flatnonzero(step.done):  # speed at the end, rest at the start
            assert step.next_obs[copy, 2:].min() > 0 and not step.obs[copy, 2:].any()
        assert not step.terminated.any() and (batch.steps[step.done] == 0).all()
    assert [t for t, (a, b) in enumerate(ends) if a] == [3, 8]
    assert [t for t, (a, b) in enumerate(ends) if b] == [4]


def test_a_pendulum_that_falls_is_terminated_and_not_truncated() -> None:
    batch = Batch("InvertedPendulum-v5", 2)
    batch.reset()
    for _ in range(100):
        step = batch.step(np.array([[3.0], [0.0]]))
        if step.terminated[0]:
            break
    assert step.terminated.tolist() == [True, False] and not step.truncated.any()
    assert step.reward.tolist() == [0.0, 1.0]
    assert abs(step.next_obs[0, 1]) > 0.2 > abs(step.obs[0, 1])


def test_both_may_hold_at_the_horizon() -> None:
    task = replace(short("point_mass_easy", 1), terminated=lambda state: np.ones(1, bool))
    batch = Batch(task, 1)
    batch.reset()
    step = batch.step(np.zeros((1, 2)))
    assert step.terminated[0] and step.truncated[0] and step.done[0]


def test_what_a_step_gave_is_the_callers() -> None:
    batch = Batch("point_mass_easy", 1)
    obs = batch.reset()
    kept = obs.copy()
    first = batch.step(np.ones((1, 2)))
    first_obs = first.next_obs.copy()
    batch.step(np.ones((1, 2)))
    np.testing.assert_array_equal(obs, kept)
    np.testing.assert_array_equal(first.next_obs, first_obs)


def test_tasks_can_report_more_and_read_only_what_they_name() -> None:
    base = tasks.get("point_mass_easy")
    task = replace(
        base, name="walled", keeps=("qpos",),
        extras=lambda state, action: {"moved": state.qpos - state.previous["qpos"]},
    )  # fmt: skip
    batch = Batch(task, 2)
    batch.reset()
    before = batch.state.qpos.copy()
    step = batch.step(np.ones((2, 2)))
    np.testing.assert_array_equal(step.extras["moved"], step.next_obs[:, :2] - before)
    nosy = replace(base, observe=lambda state: state.xmat[:, 0])
    with pytest.raises(AttributeError, match=r"does not read 'xmat': add it to its `reads`"):
        Batch(nosy, 1).reset()


def test_unit_actions_reach_the_box_exactly() -> None:
    low, high = np.array([-1.0, -0.8, -3.0]), np.array([1.0, 1.1, 3.0])
    ends = unit_to_box([[-1.0] * 3, [0.0] * 3, [1.0] * 3], low, high)
    np.testing.assert_array_equal(ends[[0, 2]], [low, high])
    np.testing.assert_allclose(ends[1], (low + high) / 2, atol=1e-15)
    value = np.float32(0.1)
    assert unit_to_box([value] * 3, low, high)[0] == value


def test_episodes_are_padded_and_masked() -> None:
    task = short("InvertedPendulum-v5", 60)

    def push(size: float, obs: np.ndarray) -> np.ndarray:
        return np.array([[0.0], [size]])

    run = run_episodes(task, partial(push, 3.0), 2, seed=0, keep_physics=True)
    assert run.terminated.tolist() == [False, True] or run.lengths[0] < 60
    longest = run.lengths.max()
    assert run.rewards.shape == (2, longest) and run.obs.shape == (2, longest + 1, 4)
    short_one = int(run.lengths[1])
    assert short_one < longest
    assert run.obs[1, short_one].any() and not run.obs[1, short_one + 1 :].any()
    assert not run.actions[1, short_one:].any() and not run.physics[1, short_one:].any()
    assert run.mask.sum() == run.lengths.sum()
    np.testing.assert_array_equal(run.returns[1], short_one - 1)  # 1 a step but the last
    np.testing.assert_array_equal(run.obs[:, 0], Batch(task, 2, seed=0).reset())


def test_unstable_physics_is_reported() -> None:
    batch = Batch("point_mass_easy", 2)
    batch.reset()
    batch.state.qvel[1] = 1e12
    with pytest.raises(Diverged, match=r"point_mass_easy became unstable in copy 1 at step 1 of"):
        batch.step(np.zeros((2, 2)))


def bad(what: str) -> None:
    batch = Batch("cheetah_run", 2)
    batch.reset()
    actions = np.zeros((2, 6))
    if what == "shape":
        actions = actions[:1]
    actions[0, 3] = {"nan": np.nan, "inf": np.inf, "outside": -1.5}.get(what, 0.0)
    batch.step(actions)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: Batch("walker_wlak", 1), r"no MuJoCo task 'walker_wlak'; did you mean walker_w"),
        (lambda: Batch("xyz", 1), r"no MuJoCo task 'xyz'; there are Ant-v5, .*, walker_walk\."),
        (lambda: Batch("cheetah_run", 0), r"copies must be an integer of at least 1; got 0\."),
        (lambda: Batch("cheetah_run", 2, threads=0), r"threads must be an integer of at least 1"),
        (lambda: Batch("cheetah_run", 2, seed=-1), r"seed must be one integer >= 0"),
        (lambda: Batch("cheetah_run", 2, seed=[1, 2, 3]), r"2 copies need 2 seeds; got \(3,\)"),
        (partial(bad, "shape"), r"have shape \(2, 6\); got \(1, 6\)\."),
        (partial(bad, "nan"), r"Action 3 of copy 0 of cheetah_run is not finite: nan"),
        (partial(bad, "inf"), r"is not finite: inf"),
        (partial(bad, "outside"), r"is outside \[-1, 1\]: -1\.5; scale or clip actions first\."),
        (
            lambda: Batch("cheetah_run", 2).set_state(Batch("cheetah_run", 3).get_state()),
            r"not one of 2 copies of cheetah_run: physics has shape \(3, ",
        ),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(call, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [({"horizon": 0}, "horizon of task"), ({"substeps": 0}, "substeps of task")],
)
def test_a_task_that_cannot_be_is_refused(change, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"{sentence} 'cheetah_run' must be at least 1; got 0"):
        replace(tasks.get("cheetah_run"), **change)
