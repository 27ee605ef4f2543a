"""The point mass: its physics by hand, its expert, its gymnasium face; the replay of episodes."""

import warnings

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from papers.sfm import replay as memory
from papers.sfm.gym_env import ENV_ID, PointMassEnv
from papers.sfm.pointmass import PointMass, PointState, rollout
from shared.experiment.errors import BadInput

ENV = PointMass()


def at(x, y, vx=0.0, vy=0.0):
    return PointState(jnp.float32([x, y]), jnp.float32([vx, vy]))


def test_a_step_by_hand():
    state, reward = ENV.step(at(0.3, 0.0, 1.0, 0.0), jnp.float32([1.0, -3.0]))
    # v += 0.05 (2 a - 0.5 v), the action cut off at -1; x += 0.05 v
    np.testing.assert_allclose(state.velocity, [1.075, -0.1], rtol=1e-6)
    np.testing.assert_allclose(state.position, [0.35375, -0.005], rtol=1e-5)
    distance = np.hypot(0.35375, -0.005) - 0.1
    np.testing.assert_allclose(reward, 0.1 ** (distance / 0.5) ** 2, rtol=1e-5)


def test_walls_stop_and_the_target_pays_one():
    state, _ = ENV.step(at(0.99, 0.0, 2.0, 0.5), jnp.float32([1.0, 0.0]))
    assert float(state.position[0]) == 1.0 and float(state.velocity[0]) == 0.0
    assert float(state.velocity[1]) != 0.0
    assert float(ENV.reward(jnp.float32([0.06, -0.06, 5, 5]))) == 1.0
    np.testing.assert_allclose(ENV.reward(jnp.float32([0.0, 0.6, 0, 0])), 0.1, rtol=1e-5)


def test_the_expert_reaches_the_target_and_stays():
    episode = jax.jit(lambda key: rollout(ENV, lambda obs, _: ENV.expert(obs), key))(
        jax.random.key(0)
    )
    assert episode.obs.shape == (201, 4) and episode.action.shape == (200, 2)
    assert np.all(np.abs(episode.action) <= 1)
    start = np.asarray(episode.obs[0])
    assert np.all(np.abs(start[:2] + 0.7) <= 0.05) and not np.any(start[2:])
    assert np.all(np.hypot(*np.asarray(episode.obs[-100:, :2]).T) < 0.05)
    assert float(episode.reward.mean()) > 0.9
    again = np.asarray(jax.vmap(ENV.reward)(episode.obs[1:]))
    np.testing.assert_allclose(episode.reward, again, rtol=1e-6)


def test_gymnasium_face():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # unbounded observations, said on purpose
        check_env(PointMassEnv(), skip_render_check=True)
    env = gymnasium.make(ENV_ID)
    obs, _ = env.reset(seed=1)
    state = PointState(jnp.asarray(obs[:2]), jnp.asarray(obs[2:]))
    step = jax.jit(ENV.step)
    rng = np.random.default_rng(0)
    for t in range(200):
        action = rng.uniform(-1, 1, 2).astype(np.float32)
        obs, reward, terminated, truncated, _ = env.step(action)
        state, expected = step(state, action)
        np.testing.assert_array_equal(obs, ENV.observe(state))
        assert reward == float(expected) and not terminated and truncated == (t == 199)
    raw = PointMassEnv()
    with pytest.raises(gymnasium.error.ResetNeeded):
        raw.step(np.zeros(2, np.float32))
    raw.reset()
    with pytest.raises(BadInput, match="two float32 numbers"):
        raw.step(np.full(2, 2, np.float32))


# --- Replay ---------------------------------------------------------------------------------------

LENGTH = 10


def filled(episodes, capacity=4):
    """Episode e holds states 100 e + t, actions -state, rewards 1000 + state."""
    replay = memory.empty(capacity, LENGTH, 1, 1)
    insert = jax.jit(memory.insert)
    for e in range(episodes):
        states = 100 * e + jnp.arange(LENGTH + 1, dtype=jnp.float32)
        one = memory.Episode(states[:, None], -states[:-1, None], 1000 + states[:-1])
        replay = insert(replay, one)
    return replay


@pytest.mark.parametrize("episodes", [1, 3, 6])
def test_batches_are_transitions_of_stored_episodes(episodes):
    replay = filled(episodes)
    batch = jax.tree.map(np.asarray, memory.sample(replay, jax.random.key(0), 2000))
    obs, goal = batch.obs[:, 0], batch.goal[:, 0]
    np.testing.assert_array_equal(batch.next_obs[:, 0], obs + 1)
    np.testing.assert_array_equal(batch.action[:, 0], -obs)
    np.testing.assert_array_equal(batch.reward, 1000 + obs)
    np.testing.assert_array_equal(goal // 100, obs // 100)
    assert np.all(goal > obs) and np.all(goal % 100 <= LENGTH)
    expected = {100 * e + t for e in range(max(0, episodes - 4), episodes) for t in range(LENGTH)}
    assert set(obs.astype(int)) == expected


def test_other_laws_of_sampling():
    replay = filled(6)
    key = jax.random.key(1)
    steps = np.asarray(memory.sample_discounted(replay, key, 4000, 0.5).obs)[:, 0] % 100
    np.testing.assert_allclose(np.mean(steps == 0), 0.5, atol=0.03)
    np.testing.assert_allclose(np.mean(steps == 1), 0.25, atol=0.03)
    assert set(np.asarray(memory.sample_initial(replay, key, 100))[:, 0]) == {200, 300, 400, 500}
    newest = np.asarray(memory.newest(replay, key, 200, last=2).obs)[:, 0]
    assert set(newest // 100) == {4, 5}
    assert memory.replay_bytes(4, LENGTH, 1, 1) == sum(
        leaf.nbytes for leaf in jax.tree.leaves(replay.episodes)
    )
