"""The configuration of the experiments, its four presets, and the cells that they consist of.

A cell is one way of running an algorithm (8x128, 128x8, 8x128 with 16 epochs, ...); every cell is
trained on every game with several seeds. Light on purpose: the command line reads it before
anything heavy is imported.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from shared.experiment.errors import BadInput, require

Suite = Literal["cartpole", "minatar", "atari", "procgen", "continuous"]
COMPILED_SUITES = ("cartpole", "minatar")
MINATAR = ("asterix", "breakout", "freeway", "seaquest", "space_invaders")
ATARI_10 = ("Amidar", "BattleZone", "Bowling", "DoubleDunk", "Frostbite", "KungFuMaster",
            "NameThisGame", "Phoenix", "Qbert", "Riverraid")  # fmt: skip
HARD_EXPLORATION = ("Freeway", "Gravitar", "MontezumaRevenge", "Venture")
SUITE_GAMES: dict[str, tuple[str, ...]] = {
    "cartpole": ("cartpole",),
    "minatar": ("breakout", "space_invaders", "asterix"),
    "atari": ATARI_10,
    "procgen": ("BigfishEasy-v0", "StarpilotEasy-v0"),
    "continuous": ("HalfCheetah-v4", "Humanoid-v4"),
}
# What a suite's literature uses where the configuration leaves it open.
SUITE_NUMBERS: dict[str, dict[str, float]] = {
    "cartpole": {"lr": 2.5e-4, "gamma": 0.99, "clip": 0.2, "ent": 0.01},
    "minatar": {"lr": 5e-4, "gamma": 0.99, "clip": 0.2, "ent": 0.01},
    "atari": {"lr": 2.5e-4, "gamma": 0.99, "clip": 0.1, "ent": 0.01},
    "procgen": {"lr": 5e-4, "gamma": 0.999, "clip": 0.2, "ent": 0.01},
    "continuous": {"lr": 2.6e-3, "gamma": 0.99, "clip": 0.2, "ent": 0.0},
}


@dataclass(frozen=True)
class Config:
    """One run of the paper: which games, which shapes of batches, how long, how many seeds.

    `paper` is the paper's value, or CleanRL's, on which it builds.
    """

    seeds: int = 5
    """Runs of the two cells that C1 compares, per game (paper: 5)."""
    side_seeds: int = 5
    """Runs of every other cell, per game; at most `seeds`."""
    first_seed: int = 0
    """The seeds are first_seed, first_seed + 1, ..."""
    suite: Suite = "minatar"
    """Where the games come from: cartpole, minatar, atari, procgen, continuous (paper: atari)."""
    games: tuple[str, ...] = ()
    """Games of the suite; none given: breakout, space_invaders and asterix, or the Atari-10."""
    side_games: int = 0
    """Cells but the two of C1 take only so many of the games; 0: all."""
    steps: int = 100_000_000
    """Environment steps (decisions) of a run (paper: 100 million)."""
    algorithm: Literal["ppo", "pqn"] = "ppo"
    """The algorithm of all cells but those of C6 (paper: PPO)."""
    encoder: Literal["shared", "separate"] = "shared"
    """Whether actor and critic share an encoder, but in the cells of C5 (paper: shared)."""
    network: Literal["auto", "mlp", "minatar", "nature"] = "auto"
    """mlp, minatar (a small convolution) or nature; auto: what the suite's literature uses."""
    hidden: tuple[int, ...] = (64, 64)
    """Widths of the network mlp."""
    n_envs: int = 8
    """Environments of the default cell (paper: 8)."""
    n_ro: int = 128
    """Steps of a rollout in the default cell (paper: 128)."""
    many_envs: int = 128
    """Environments of the cell that C1 compares it with, at the same batch (paper: 128)."""
    epochs: int = 4
    """Passes over a batch (paper: 4)."""
    num_minibatches: int = 4
    """Minibatches of a pass (paper: 4)."""
    hold: Literal["num_minibatches", "minibatch_size"] = "num_minibatches"
    """What stays as a batch grows: the number of minibatches, or their size (paper: not known)."""
    lr: float | None = None
    """Adam's first step size, falling linearly to 0; none: the suite's (Atari: 2.5e-4)."""
    gamma: float | None = None
    """Discount factor; none: the suite's (Atari: 0.99)."""
    lam: float = 0.95
    """Lambda of GAE (paper: 0.95); PQN's is 0.65."""
    clip: float | None = None
    """PPO's clipping, of ratios and values; none: the suite's (Atari: 0.1)."""
    ent: float | None = None
    """Weight of the entropy; none: the suite's (Atari: 0.01)."""
    bootstrap_truncation: bool = True
    """Whether the value after a truncation counts; CleanRL takes it for a termination."""
    diagonal: tuple[int, ...] = ()
    """Further numbers of environments at the same batch size (C1); powers of two."""
    growth: tuple[int, ...] = ()
    """Factors by which a batch grows, along either axis (C2; paper: 2, 4, ...)."""
    growth_holds: tuple[str, ...] = ("num_minibatches",)
    """What stays as it grows: num_minibatches, minibatch_size, or both."""
    epochs_grid: tuple[int, ...] = ()
    """Further numbers of epochs, for the default cell and the largest grown ones (C3; 8, 16)."""
    compare_separate: bool = False
    """Whether the two cells of C1 also run with the other kind of encoder (C5)."""
    compare_pqn: bool = False
    """Whether they also run with PQN (C6)."""
    lr_grid: tuple[float, ...] = ()
    """Factors of the step size with which they also run (C8; the paper's are not known)."""
    gamma_grid: tuple[float, ...] = ()
    """Discounts with which they also run (C8; the paper's are not known)."""
    controls: tuple[str, ...] = ()
    """cut: long rollouts cut into short ones. stagger: environments start out of phase. dummy: the
    extra transition of EnvPool's resets."""
    rnd_games: tuple[str, ...] = ()
    """Games of hard exploration with PPO and RND (C10, suite atari alone)."""
    atari_curve: str = ""
    """An Atari game that is also learned, once, to show that all of it works (`SANITY`)."""
    atari_curve_steps: int = 400_000
    """Decisions of that run."""
    evaluations: int = 50
    """Evaluations and measurements during a run, evenly spaced."""
    evaluation_episodes: int = 64
    """Fresh episodes of an evaluation (suites that run inside a program)."""
    seed_axis: Literal["auto", "vmap", "map"] = "auto"
    """Seeds of one block side by side or in turn; auto: in turn for MinAtar on a CPU."""

    def __post_init__(self) -> None:
        least_one = ("seeds", "side_seeds", "steps", "n_envs", "n_ro", "epochs", "num_minibatches",
                     "many_envs", "evaluations", "evaluation_episodes",
                     "atari_curve_steps")  # fmt: skip
        for name in least_one:
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("first_seed", "side_games"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "at least 0")
        for name in ("lr", "clip"):
            value = getattr(self, name)
            require(value is None or value > 0, name, value, "positive")
        for value in (self.gamma, self.lam, *self.gamma_grid):
            require(value is None or 0 <= value <= 1, "gamma and lam", value, "in [0, 1]")
        for value in (*self.growth, *self.epochs_grid, *self.diagonal):
            require(value >= 1, "diagonal, growth and epochs-grid", value, "at least 1")
        for value in self.growth_holds:
            allowed = ("num_minibatches", "minibatch_size")
            require(value in allowed, "growth-holds", value, " or ".join(allowed))
        for value in self.controls:
            allowed = ("cut", "stagger", "dummy")
            require(value in allowed, "controls", value, "cut, stagger or dummy")
        self._check_games()
        for n_envs in (self.many_envs, *self.diagonal):
            require(self.batch_size % n_envs == 0, "many-envs and diagonal", n_envs,
                     f"a divisor of the batch of {self.n_envs} x {self.n_ro}")  # fmt: skip

    def _check_games(self) -> None:
        require(self.suite in SUITE_GAMES, "suite", self.suite, ", ".join(SUITE_GAMES))
        known = {"cartpole": ("cartpole",), "minatar": MINATAR}.get(self.suite, ())
        for game in self.games if known else ():
            if (name := plain_name(game)) not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f" Did you mean {near[0]}?" if near else ""
                raise BadInput(
                    f"games of suite {self.suite} are {', '.join(known)}; got {game}.{hint}"
                )
        if self.rnd_games and self.suite != "atari":
            raise BadInput(f"rnd-games need suite atari; got {self.suite}.")

    @property
    def batch_size(self) -> int:
        """Transitions of an iteration of the default cell."""
        return self.n_envs * self.n_ro

    @property
    def all_games(self) -> tuple[str, ...]:
        """The games by the names of their libraries."""
        chosen = self.games or SUITE_GAMES[self.suite]
        return tuple(plain_name(g) for g in chosen) if self.suite in COMPILED_SUITES else chosen

    def number(self, name: str) -> float:
        """`lr`, `gamma`, `clip` or `ent`, the suite's where none is given."""
        value = getattr(self, name)
        return SUITE_NUMBERS[self.suite][name] if value is None else value


def plain_name(game: str) -> str:
    """SpaceInvaders, minatar-space_invaders, space-invaders -> space_invaders."""
    spaced = "".join(f"_{c.lower()}" if c.isupper() else c for c in game).strip("_")
    return spaced.replace("-", "_").removeprefix("minatar_").replace("__", "_")


# Cells --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """One way of running the algorithm: what claims compare.

    Attributes:
        stagger: random steps over which the environments' starts are spread; 0: all at once.
        segment: steps after which advantages are cut off; 0: at the rollout's end alone.
        dummy: with the extra transition that EnvPool's resets add.
    """

    n_envs: int
    n_ro: int
    epochs: int = 4
    num_minibatches: int = 4
    hold: Literal["num_minibatches", "minibatch_size"] = "num_minibatches"
    algorithm: Literal["ppo", "pqn", "rnd"] = "ppo"
    encoder: Literal["shared", "separate"] = "shared"
    lr: float = 5e-4
    gamma: float = 0.99
    stagger: int = 0
    segment: int = 0
    dummy: bool = False
    suffix: str = ""

    @property
    def name(self) -> str:
        """8x128, 8x128-epochs16, ...: the shape, then what differs from the default."""
        return f"{self.n_envs}x{self.n_ro}{self.suffix}"

    def changed(self, suffix: str, **changes: Any) -> Cell:
        """This cell with something else, and a name that says so."""
        return replace(self, suffix=self.suffix + suffix, **changes)


def base_cells(config: Config) -> tuple[Cell, Cell]:
    """The two cells that C1 compares: few environments, many environments."""
    few = Cell(config.n_envs, config.n_ro, config.epochs, config.num_minibatches, config.hold,
               config.algorithm, config.encoder, config.number("lr"),
               config.number("gamma"))  # fmt: skip
    return few, _at(few, config.many_envs, config.batch_size)


def _at(cell: Cell, n_envs: int, batch: int) -> Cell:
    return replace(cell, n_envs=n_envs, n_ro=batch // n_envs)


def cells(config: Config) -> list[tuple[Cell, int, tuple[str, ...]]]:
    """Every cell once, with its number of seeds and its games."""
    few, many = base_cells(config)
    side = min(config.seeds, config.side_seeds)
    some = config.all_games[: config.side_games or None]
    found = [(few, config.seeds, config.all_games), (many, config.seeds, config.all_games)]
    found += [(_at(few, n, config.batch_size), side, some) for n in config.diagonal]
    found += [(cell, side, some) for cell in _varied(config, few, many)]
    own = {"algorithm": "rnd", "lr": 1e-4, "gamma": 0.999}  # CleanRL's for RND
    rnd = few.changed("-rnd", **own), many.changed("-rnd", **own)
    found += [(cell, side, config.rnd_games) for cell in rnd if config.rnd_games]
    unique: dict[str, tuple[Cell, int, tuple[str, ...]]] = {}
    for cell, seeds, games in found:
        unique.setdefault(cell.name, (cell, seeds, games))
    return list(unique.values())


def _varied(config: Config, few: Cell, many: Cell) -> Iterator[Cell]:
    """Everything beside the diagonal."""
    for hold in config.growth_holds:
        suffix = "" if hold == config.hold else f"-{hold.replace('_', '-')}"
        for factor in config.growth:
            yield from (cell.changed(suffix, hold=hold) for cell in grown(config, factor))
    for epochs in config.epochs_grid:
        shapes = [few, many]
        if config.growth:
            shapes = [few, *grown(config, max(config.growth))]
        yield from (cell.changed(f"-epochs{epochs}", epochs=epochs) for cell in shapes)
    for cell in (few, many):
        if config.compare_separate:
            other = "separate" if config.encoder == "shared" else "shared"
            yield cell.changed(f"-{other}", encoder=other)
        if config.compare_pqn:
            yield cell.changed("-pqn", algorithm="pqn")
        for factor in config.lr_grid:
            yield cell.changed(f"-lr{factor:g}", lr=cell.lr * factor)
        for gamma in config.gamma_grid:
            yield cell.changed(f"-gamma{gamma:g}", gamma=gamma)
        if "dummy" in config.controls:
            yield cell.changed("-dummy", dummy=True)
    if "cut" in config.controls:
        yield few.changed("-cut", segment=many.n_ro)
    if "stagger" in config.controls:
        yield many.changed("-stagger", stagger=128)


def grown(config: Config, factor: int) -> tuple[Cell, Cell]:
    """The default cell with a batch `factor` times as large: more environments, longer rollouts."""
    few, _ = base_cells(config)
    more, longer = replace(few, n_envs=few.n_envs * factor), replace(few, n_ro=few.n_ro * factor)
    return more, longer


def cell_from(params: Any) -> Cell:
    """The cell that a task's parameters describe."""
    return Cell(**{field.name: params[field.name] for field in fields(Cell)})


PRESETS = {
    # Seconds: every code path that needs no extra, no conclusions.
    "smoke": Config(
        seeds=2,
        side_seeds=2,
        suite="cartpole",
        steps=4096,
        hidden=(16, 16),
        many_envs=64,
        compare_pqn=False,
        controls=(),
        evaluations=2,
        evaluation_episodes=8,
    ),
    # Two and a half minutes: the exact part whole, the metrics, a first look at returns.
    "quick": Config(
        seeds=5,
        side_seeds=2,
        games=("breakout", "space_invaders"),
        steps=262_144,
        network="mlp",
        evaluations=8,
    ),
    # The evidence kept in git.
    "cpu": Config(
        seeds=8,
        side_seeds=5,
        steps=1_048_576,
        network="mlp",
        side_games=1,
        diagonal=(1, 2, 4, 16, 32, 64, 256, 512, 1024),
        growth=(4,),
        growth_holds=("num_minibatches", "minibatch_size"),
        epochs_grid=(16,),
        compare_separate=True,
        compare_pqn=True,
        lr_grid=(0.5, 2.0),
        gamma_grid=(0.95, 0.995),
        controls=("cut", "stagger"),
        atari_curve="Pong",
        atari_curve_steps=1_000_000,
        evaluations=8,
    ),
    # The paper's own scale, for GPUs and weeks.
    "paper": Config(
        suite="atari",
        diagonal=(1, 2, 4, 16, 32, 64, 256, 512, 1024),
        growth=(2, 4, 8, 16),
        growth_holds=("num_minibatches", "minibatch_size"),
        epochs_grid=(8, 16),
        compare_separate=True,
        compare_pqn=True,
        lr_grid=(2.0, 4.0),
        gamma_grid=(0.9, 0.95, 0.995, 0.999),
        controls=("cut", "stagger", "dummy"),
        rnd_games=HARD_EXPLORATION,
    ),
}
