"""Real Atari: names, scores, preprocessing, resets, and that the environments can be replayed."""

from __future__ import annotations

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from papers.ppo_scaling import atari, host_envs
from papers.ppo_scaling.networks import convolution_of_xla, patches_product
from shared import stats
from shared.experiment.errors import BadInput, MissingExtra

pytest.importorskip("ale_py", reason="needs the extra atari")


def play(envs: atari.AtariEnvs, steps: int, seed: int = 0) -> list[host_envs.HostStep]:
    """Random actions, the same for every environment of an index."""
    envs.reset()
    found = []
    for t in range(steps):
        rng = np.random.default_rng([seed, t])
        actions = rng.integers(envs.facts.n_actions, size=64)[: envs.facts.n_envs]
        envs.send(actions.astype(np.int32))
        found.append(envs.recv())
    return found


# Names and scores ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["NameThisGame", "name_this_game", "name-this-game", "ALE/NameThisGame-v5",
             "NameThisGameNoFrameskip-v4"]
)  # fmt: skip
def test_a_game_has_one_name(name: str) -> None:
    assert atari.game_name(name) == "name_this_game"


def test_unknown_games_are_refused_with_near_matches() -> None:
    with pytest.raises(BadInput, match=r"'Braekout' is no Atari game: did you mean breakout"):
        atari.game_name("Braekout")
    with pytest.raises(BadInput, match=r"is no Atari game: pong, breakout and qbert, say, are"):
        atari.AtariEnvs("xxxxxxxx", 1, 0)


def test_the_atari_10_are_games_with_scores() -> None:
    assert len(atari.ATARI_10) == 10
    for game in (*atari.ATARI_10, *atari.OTHER_SCORES):
        assert atari.game_name(game) == game
        random, human = {**atari.ATARI_10, **atari.OTHER_SCORES}[game]
        assert atari.human_normalised(game, random) == 0
        assert atari.human_normalised(game, human) == pytest.approx(1)


def test_human_normalised_scores_and_their_iqm() -> None:
    assert atari.human_normalised("Amidar", 862.65) == pytest.approx(0.5)
    scores = np.array([[0.1, 0.5, 1], [0.2, 2, 4], [0, 0.7, 0.9], [1.5, 0.3, 10]])
    assert float(stats.iqm(scores)) == pytest.approx(0.8166667, abs=1e-6)
    assert not atari.has_scores("tetris")
    with pytest.raises(BadInput, match="No human score of tetris"):
        atari.human_normalised("tetris", 1.0)


def test_bad_environments_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match="at least 1 environment; got 0"):
        atari.AtariEnvs("pong", 0, 0)
    with pytest.raises(BadInput, match="same_step or legacy_envpool_dummy; got 'next'"):
        atari.AtariEnvs("pong", 1, 0, autoreset="next")
    monkeypatch.setitem(sys.modules, "ale_py", None)
    with pytest.raises(MissingExtra, match=r"^Atari needs the library ale-py: uv sync"):
        host_envs.make("atari", "pong", 1, 0)


# Preprocessing ------------------------------------------------------------------------------------


def test_blocks_hold_every_pixel_once() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 4, 84, 84)).astype(np.uint8)
    blocks = np.asarray(atari.layout(jnp.asarray(frames)))
    assert blocks.shape == (2, *atari.OBS_SHAPE)
    for frame, row, column in ((0, 0, 0), (3, 83, 5), (2, 41, 82)):
        channel = ((row % 4) * 4 + column % 4) * 4 + frame
        expected = frames[:, frame, row, column]
        np.testing.assert_array_equal(blocks[:, row // 4, column // 4, channel], expected)


def test_a_convolution_on_blocks_is_the_convolution_on_pixels() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 4, 84, 84)).astype(np.uint8)
    weights = jax.random.normal(jax.random.key(0), (8, 8, 4, 3)) / 100  # y, x, frame, out
    bias = jnp.arange(3, dtype=jnp.float32)
    pixels = jnp.moveaxis(jnp.asarray(frames), 1, -1).astype(jnp.float32)
    flat = {"w": weights.reshape(-1, 3), "b": bias}
    reference = convolution_of_xla(flat, pixels, 8, 4)
    blocked = weights.reshape(2, 4, 2, 4, 4, 3).transpose(0, 2, 1, 3, 4, 5).reshape(-1, 3)
    obs = atari.layout(jnp.asarray(frames)).astype(jnp.float32)
    found = patches_product({"w": blocked, "b": bias}, obs, 2, 1)
    np.testing.assert_allclose(found, reference, rtol=1e-4, atol=1e-3)


def test_rewards_are_clipped_and_whole_games_scored() -> None:
    envs = atari.AtariEnvs("qbert", 2, 0)
    assert envs.facts == host_envs.Facts("qbert", 2, (4, 84, 84), np.dtype(np.uint8), 6)
    raw = atari.AtariEnvs("qbert", 2, 0, episodic=False)
    steps, whole = play(envs, 350), play(raw, 350)
    rewards = np.stack([step.rewards for step in steps])
    assert set(np.unique(rewards)) == {0, 1}
    assert steps[0].obs.dtype == np.uint8 and steps[0].obs.shape == (2, 4, 84, 84)
    over = np.stack([step.over for step in steps])
    scores = np.stack([step.scores for step in steps])
    lives_lost = np.stack([step.terminated for step in steps])
    assert over.any() and (scores[over] >= 25).all() and (scores[~over] == 0).all()
    assert (scores[over] % 25 == 0).all()
    # A lost life ends an episode, not a game: there are more ends than games, and the games are
    # those of a run in which lives do not count.
    assert lives_lost[over].all() and lives_lost.sum() >= 3 * over.sum()
    np.testing.assert_array_equal(over, np.stack([step.terminated for step in whole]))
    np.testing.assert_array_equal(scores, np.stack([step.scores for step in whole]))


def test_environments_are_determined_by_seed_and_actions() -> None:
    many = play(atari.AtariEnvs("breakout", 3, 5, threads=2), 60)
    one = play(atari.AtariEnvs("breakout", 1, 5), 60)
    other = play(atari.AtariEnvs("breakout", 1, 6), 60)
    for a, b in zip(many, one, strict=True):
        np.testing.assert_array_equal(a.obs[:1], b.obs)
        np.testing.assert_array_equal(a.terminated[:1], b.terminated)
    assert any((a.obs != b.obs).any() for a, b in zip(one, other, strict=True))


# Resets -------------------------------------------------------------------------------------------


def test_a_game_that_is_cut_off_starts_anew_in_the_same_step() -> None:
    steps = play(atari.AtariEnvs("pong", 1, 0, max_frames=120), 40)
    cut = [t for t, step in enumerate(steps) if step.truncated[0]]
    assert cut, "120 frames are 30 decisions at most"
    step = steps[cut[0]]
    assert not step.terminated[0] and step.over[0]
    assert (step.final_obs != step.obs).any()
    newest_is_old = (step.final_obs[0, :3] == steps[cut[0] - 1].obs[0, 1:]).all()
    assert newest_is_old, "the final stack goes on from the one before"


def test_the_legacy_reset_adds_a_transition_that_is_nobodys() -> None:
    same = play(atari.AtariEnvs("pong", 1, 0, max_frames=120), 40)
    late = play(atari.AtariEnvs("pong", 1, 0, max_frames=120, autoreset="legacy_envpool_dummy"), 40)
    t = next(t for t, step in enumerate(same) if step.truncated[0])
    assert late[t].truncated[0] and late[t].over[0]
    np.testing.assert_array_equal(late[t].obs, same[t].final_obs)
    dummy = late[t + 1]
    assert not dummy.terminated[0] and not dummy.truncated[0] and dummy.rewards[0] == 0
    np.testing.assert_array_equal(dummy.obs, same[t].obs)
