"""Atari games by ale-py's vector environment, in C++ threads; extra `atari`, ROMs included.

Preprocessing, the literature's standard (Machado et al. 2018 discuss it), in this order:

    4 frames a decision      the action is repeated, the rewards of the frames are summed
    maximum of the last two  pixel by pixel, because some games draw sprites every other frame
    grey, 84 x 84            uint8
    4 decisions stacked      the newest last
    no-ops                   1 to 30 of them start a game, drawn from the environment's seed
    fire                     pressed once at the start of games that wait for it
    lives                    losing one ends an episode for learning; the game goes on (`episodic`)
    rewards in [-1, 1]       clipped for learning; the score of the whole game is kept unclipped
    no sticky actions        an action is never repeated at random
    108,000 frames           then the game is cut off: a truncation

Steps are decisions, 4 frames each. A game that ended starts anew in the same step. Environment i is
seeded by `seed + i`, whatever the number of environments: given the actions, everything is
determined.

Deviation: with `episodic_life` this library starts a *new game* at every lost life. What is meant
in the literature, the end of an episode within a game that goes on, is its `life_loss_info`.

`layout` turns frames into blocks of 4 x 4 pixels: [84, 84, 4 frames] -> [21, 21, 64]. The first
convolution of the Nature network, 8 x 8 with stride 4, is then 2 x 2 with stride 1 on blocks: the
same numbers in another order, without gathering overlapping patches of pixels.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from papers.ppo_scaling.host_envs import Facts, HostEnvs, HostStep
from shared.experiment.errors import BadInput, MissingExtra

OBS_SHAPE = (21, 21, 64)
MAX_FRAMES = 108_000

# (random, human) scores, from DQN Zoo's atari_data.py.
ATARI_10: Mapping[str, tuple[float, float]] = {
    "amidar": (5.8, 1719.5),
    "battle_zone": (2360.0, 37187.5),
    "bowling": (23.1, 160.7),
    "double_dunk": (-18.6, -16.4),
    "frostbite": (65.2, 4334.7),
    "kung_fu_master": (258.5, 22736.3),
    "name_this_game": (2292.3, 8049.0),
    "phoenix": (761.4, 7242.6),
    "qbert": (163.9, 13455.0),
    "riverraid": (1338.5, 17118.0),
}
OTHER_SCORES: Mapping[str, tuple[float, float]] = {
    "breakout": (1.7, 30.5),
    "freeway": (0.0, 29.6),
    "gravitar": (173.0, 3351.4),
    "montezuma_revenge": (0.0, 4753.3),
    "pong": (-20.7, 14.6),
    "venture": (0.0, 1187.5),
}
HARD_EXPLORATION = ("freeway", "gravitar", "montezuma_revenge", "venture")


def human_normalised(game: str, score: Float[np.ndarray, "*b"] | float) -> Any:
    """(score - random) / (human - random): 0 plays at random, 1 as the human of Mnih et al. (2015).

    Raises:
        BadInput: no scores are known of this game.
    """
    random, human = reference_scores(game)
    return (score - random) / (human - random)


def reference_scores(game: str) -> tuple[float, float]:
    """Of random and of human play.

    Raises:
        BadInput: they are not known.
    """
    if not has_scores(game):
        known = ", ".join([*ATARI_10, *OTHER_SCORES])
        raise BadInput(f"No human score of {game} is listed; there are {known}.")
    return {**ATARI_10, **OTHER_SCORES}[game_name(game)]


def has_scores(game: str) -> bool:
    """Whether the scores of random and human play are listed."""
    return game_name(game) in {**ATARI_10, **OTHER_SCORES}


# Names --------------------------------------------------------------------------------------------


def game_name(name: str) -> str:
    """The library's name of a game: NameThisGame, name-this-game, ALE/NameThisGame-v5 are one.

    Raises:
        BadInput: no such game (near matches are named). MissingExtra: ale-py is not installed.
    """
    roms = _library()[1]
    games = {rom.replace("_", ""): rom for rom in roms.get_all_rom_ids()}
    bare = name.removeprefix("ALE/").partition("-v")[0].removesuffix("NoFrameskip")
    plain = "".join(c for c in bare.lower() if c.isalnum())
    if plain in games:
        return games[plain]
    near = [games[match] for match in difflib.get_close_matches(plain, games, n=3)]
    hint = f"did you mean {' or '.join(near)}?" if near else "pong, breakout and qbert, say, are."
    raise BadInput(f"{name!r} is no Atari game: {hint}")


def _library() -> tuple[Any, Any]:
    try:
        from ale_py import roms, vector_env
    except ImportError:
        raise MissingExtra("Atari needs the library ale-py: uv sync --extra atari.") from None
    return vector_env, roms


# The environments ---------------------------------------------------------------------------------


def layout(frames: UInt8[Array, "N 4 84 84"]) -> UInt8[Array, "N 21 21 64"]:
    """Blocks of 4 x 4 pixels in 4 frames as the channels of a 21 x 21 image."""
    blocks = frames.reshape(-1, 4, 21, 4, 21, 4)  # env, frame, row, y, column, x
    return jnp.transpose(blocks, (0, 2, 4, 3, 5, 1)).reshape(-1, *OBS_SHAPE)


class AtariEnvs:
    """N copies of a game (`HostEnvs`).

    Args:
        seed: environment i starts from `seed + i`.
        episodic: losing a life ends an episode for learning.
        autoreset: "same_step"; or "legacy_envpool_dummy", as EnvPool does it under CleanRL's PPO:
            a game that ended starts anew on the *next* step, whose transition (from the terminal
            frames, action ignored, reward 0, not ended) is learned from like a real one (CleanRL's
            issue 562).
        threads: of the library, for all environments together.
        max_frames: after which a game is cut off.

    Raises:
        BadInput: unknown game or autoreset, or fewer than one environment.
        MissingExtra: ale-py is not installed.
    """

    def __init__(
        self,
        game: str,
        n_envs: int,
        seed: int,
        *,
        episodic: bool = True,
        autoreset: str = "same_step",
        threads: int = 1,
        max_frames: int = MAX_FRAMES,
    ) -> None:
        modes = {"same_step": "SameStep", "legacy_envpool_dummy": "NextStep"}
        if n_envs < 1:
            raise BadInput(f"Atari needs at least 1 environment; got {n_envs}.")
        if autoreset not in modes:
            raise BadInput(f"autoreset must be {' or '.join(modes)}; got {autoreset!r}.")
        rom = game_name(game)
        self._seed = seed
        self._envs = _library()[0].AtariVectorEnv(
            rom,
            n_envs,
            num_threads=threads,
            autoreset_mode=modes[autoreset],
            max_num_frames_per_episode=max_frames,
            repeat_action_probability=0.0,
            life_loss_info=episodic,
            reward_clipping=False,
        )
        actions = int(self._envs.single_action_space.n)
        self.facts = Facts(rom, n_envs, (4, 84, 84), np.dtype(np.uint8), actions)
        self._frame = np.zeros(n_envs, np.int64)
        self._score = np.zeros(n_envs, np.float64)

    def reset(self) -> np.ndarray:
        """Start all games."""
        obs, info = self._envs.reset(seed=self._seed)
        self._frame = info["episode_frame_number"]
        self._score[:] = 0
        return obs

    def send(self, actions: np.ndarray) -> None:
        """Begin a step: the games go on in the library's threads."""
        self._envs.send(np.asarray(actions, np.int32))

    def recv(self) -> HostStep:
        """The step's outcome, once all games have taken it."""
        obs, rewards, terminated, truncated, info = self._envs.recv()
        truncated = truncated & ~terminated
        self._score += rewards
        # Every step takes a game on by at least a frame, except into a new game.
        over = info["episode_frame_number"] <= self._frame
        if self._envs.autoreset_mode.value == "NextStep":
            # There the new game starts one step later; a game has ended where its lives have.
            over = truncated | (terminated & (info["lives"] == 0))
        scores = np.where(over, self._score, 0.0)
        self._score[over] = 0
        self._frame = info["episode_frame_number"]
        return HostStep(
            obs=obs,
            rewards=np.clip(rewards, -1, 1).astype(np.float32),
            terminated=terminated,
            truncated=truncated,
            final_obs=info.get("final_obs", obs),
            over=over,
            scores=scores,
        )

    def close(self) -> None:
        """Nothing to do: the library's threads end with the object."""


def make(game: str, n_envs: int, seed: int, **options: Any) -> HostEnvs:
    """`AtariEnvs`, under the name that every suite has."""
    return AtariEnvs(game, n_envs, seed, **options)
