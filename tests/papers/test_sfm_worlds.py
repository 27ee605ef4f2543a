"""Episodes of all seeds' policies, in JAX and in MuJoCo; a hosted learner; worlds' bad input."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from papers.sfm import train
from papers.sfm.config import PRESETS
from papers.sfm.hosted import Hosted
from papers.sfm.pointmass import PointMass
from papers.sfm.train import Trial
from papers.sfm.trial import learner_of
from papers.sfm.worlds import MOMENTS, MujocoWorld, PointMassWorld, uniform, world
from shared.experiment.errors import BadInput

KEYS = jax.random.split(jax.random.key(0), 2)


def constant(params, obs, key):
    """A policy that always does what its parameters say."""
    return jnp.broadcast_to(params, (*obs.shape[:-1], params.shape[-1]))


def check_episodes(here, length):
    params = jnp.float32([[0.5], [-0.5]]) * jnp.ones((1, here.act_dim), jnp.float32)
    found = jax.tree.map(np.asarray, here.episodes(constant, params, KEYS, 3))
    assert found.obs.shape == (2, 3, length + 1, here.obs_dim)
    assert found.reward.shape == (2, 3, length)
    assert np.all(found.action[0] == 0.5) and np.all(found.action[1] == -0.5)
    assert len(np.unique(found.obs[:, :, 0, 0])) == 6  # every episode starts elsewhere
    other = here.episodes(constant, params[::-1], KEYS, 3)
    np.testing.assert_array_equal(other.obs[:, :, 0], found.obs[:, :, 0])
    random = np.asarray(here.episodes(uniform(here.act_dim), (), KEYS, 1).action)
    assert np.all(np.abs(random) <= 1) and len(np.unique(random)) > 0.9 * random.size


def test_episodes_of_the_point_mass():
    check_episodes(PointMassWorld(PointMass(length=20)), 20)
    first, second = (PointMassWorld().recorded(seed, 0) for seed in (0, 1))
    assert not np.array_equal(first.obs, second.obs)
    assert first.recorded_return > 170


def test_episodes_of_mujoco():
    here = world("pendulum_swingup")
    assert isinstance(here, MujocoWorld)
    check_episodes(here, 1000)
    film = here.film(constant, jnp.zeros((2, 1), jnp.float32), KEYS)
    assert film.shape[:2] == (2, len(MOMENTS)) and np.all(np.isfinite(film))
    assert not np.array_equal(film[0, 0], film[1, 0])


def test_a_task_without_demonstrations_says_how_to_get_some():
    with pytest.raises(BadInput, match="No demonstration of quadruped_jump lies here"):
        world("quadruped_jump").recorded(0, 0)


def test_a_hosted_learner_collects_learns_and_is_repeatable():
    here = MujocoWorld("pendulum_swingup", 3, 1)
    config = dataclasses.replace(
        PRESETS["smoke"], batch=8, hidden=8, feature_dim=4, feature_hidden=8
    )
    learner = learner_of(config, "sfm-td3", here.length)
    plan = train.Plan(1000, 1, None, capacity=3, evaluations=1)
    hosted = Hosted(
        learner, plan, here, 2, lambda kept, obs, key: train.exploit(learner, kept, obs)
    )
    demos = jnp.zeros((2, 1, 1001, 3), jnp.float32)

    def run():
        start = jax.jit(jax.vmap(lambda key: train.init(learner, plan, 3, 1, key)))(KEYS)
        return hosted.step(Trial(start, demos))

    (trial, metrics), (again, _) = run(), run()
    assert trial.train.episodes.tolist() == [2, 2] and trial.train.core.calls.tolist() == [1000] * 2
    assert metrics["curve"].shape == metrics["newest"].shape == (2,)
    first, second = (jax.tree.leaves(t.train.core.nets) for t in (trial, again))
    assert all(np.array_equal(x, y) for x, y in zip(first, second, strict=True))
    random, policy = (np.asarray(trial.train.replay.episodes.action[:, e]) for e in (0, 1))
    assert np.std(random) > 0.5 and np.abs(random).max() <= 1
    assert np.abs(np.diff(policy, axis=1)).mean() < np.abs(np.diff(random, axis=1)).mean()
