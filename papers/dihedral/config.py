"""The configuration of the dihedral experiments, and its four presets.

Light on purpose: the command line reads it before anything heavy is imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shared.experiment.errors import require

ARCHITECTURES = ("mlp1", "mlp2", "mlp3", "onehot", "shared", "transformer", "uniform")

TRANSFORMERS = ("transformer", "uniform")


@dataclass(frozen=True)
class Config:
    """Networks trained on Cayley tables, and what is read off them.

    The defaults are the small-machine recipe: full batches and a large learning rate. `paper` is
    the value in the official code where it differs.
    """

    seeds: int = 8
    """Networks per group and architecture (official code: 5; the histogram has its own number)."""
    first_seed: int = 0
    """The seeds are first_seed, first_seed + 1, ..."""
    group: str | None = None
    """Only this group instead of all of the below: D18, S4, A5, SL(2,3), Z4xZ9, D3xD3, ..."""
    table: Path | None = None
    """Only the group of this Cayley table: .npy, or text with a row a line; identity first."""
    headline: int = 18
    """n of the dihedral group that is looked at most closely (paper: 18)."""
    histogram_seeds: int = 64
    """Networks on that group, for the histogram of learned irreps (paper: 1000)."""
    sizes: tuple[int, ...] = (5, 7, 9, 12, 17, 24, 48)
    """n of the growth curve, beside the headline (paper: powers of two, 4 ... 512)."""
    onehot_sizes: tuple[int, ...] = (9, 12, 18, 24)
    """n on which a network without embeddings is trained, for contrast."""
    deep_sizes: tuple[int, ...] = (7, 12, 24)
    """n on which mlp2 and the transformer are trained too, where they are among `architectures`;
    at most five networks each, and only their representations are counted (paper: as `sizes`)."""
    architectures: tuple[str, ...] = ("mlp2", "mlp3", "transformer")
    """Compared with mlp1 on the headline group: mlp1, mlp2, mlp3, onehot, shared, transformer,
    uniform (paper: MLPs of one to three hidden layers, transformers)."""
    groups: tuple[str, ...] = ("S4", "SL(2,3)", "D3xD3", "A5")
    """Groups beyond the paper, for its conjecture that any finite group is learned like this."""
    controls: bool = True
    """Also train on permuted labels, the negative control."""
    features: int = 64
    """Width of the embeddings (official code: 128)."""
    width: int = 128
    """Neurons of a hidden layer (official code: 512 on D_18, 16 n in its growth curve)."""
    transformer_width: int = 128
    """The same in transformers (official code: 8 times the width of the embeddings)."""
    widen: int = 0
    """Neurons of a hidden layer per element of the group, where that is more than `width`."""
    steps: int = 3000
    """Gradient steps (official code: 3500 epochs of 58 batches)."""
    deep_steps: int = 6000
    """Gradient steps of the other architectures."""
    log_every: int = 100
    """Gradient steps between two looks at a network."""
    batch: int = 0
    """Pairs in a batch; 0 takes all of the training pairs (official code: n, or 2n)."""
    learning_rate: float = 5e-3
    """Adam's peak step size (official code: 5e-4 on D_18)."""
    transformer_steps: int = 6000
    """Gradient steps of transformers (official code: 1000 epochs of 57 batches)."""
    transformer_learning_rate: float = 3e-3
    """The same for transformers (official code: 1e-3)."""
    deep_learning_rate: float = 3e-3
    """The same for the other architectures."""
    l2: float = 2e-4
    """Coefficient of the sum of squares of all parameters in the loss (official code: 1e-4)."""
    transformer_l2: float = 1e-4
    """The same for transformers (official code: 1e-7)."""
    train_fraction: float = 0.8
    """Share of all ordered pairs trained on (official code: .81 on D_18; .9 or 1 elsewhere)."""
    grid_n: int = 9
    """n of the map of learning rates against L2 (paper: 18)."""
    grid_rates: tuple[float, ...] = (1e-3, 5e-3, 1e-2)
    """Learning rates of that map (official code: 1e-5 ... 2.5e-3)."""
    grid_l2: tuple[float, ...] = (5e-5, 2e-4, 4e-4, 8e-4)
    """L2 coefficients of that map (official code: 7.5e-6 ... 1e-3)."""
    grid_seeds: int = 3
    """Networks per point of that map (official code: 5)."""
    draws: int = 4000
    """Monte Carlo draws per point of the theorem's check."""

    def __post_init__(self) -> None:
        whole = ("seeds", "histogram_seeds", "features", "width", "steps", "deep_steps",
                 "transformer_width", "transformer_steps",
                 "log_every", "grid_seeds")  # fmt: skip
        for name in whole:
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("first_seed", "batch", "widen", "l2", "transformer_l2"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "at least 0")
        for n in (
            self.headline,
            *self.sizes,
            *self.onehot_sizes,
            *self.deep_sizes,
            self.grid_n,
        ):
            require(n >= 3, "headline, sizes, onehot-sizes, deep-sizes and grid-n", n,
                     "at least 3 (D_1 is Z_2 and D_2 is Z_2 x Z_2)")  # fmt: skip
        for name in self.architectures:
            require(name in ARCHITECTURES, "architectures", name, ", ".join(ARCHITECTURES))
        rates = (self.learning_rate, self.deep_learning_rate, self.transformer_learning_rate,
                 *self.grid_rates)  # fmt: skip
        for rate in rates:
            require(rate > 0, "learning rates", rate, "positive")
        for value in self.grid_l2:
            require(value >= 0, "grid-l2", value, "at least 0")
        fraction = self.train_fraction
        require(0 < fraction <= 1, "train-fraction", fraction, "in (0, 1]")
        require(self.draws >= 100, "draws", self.draws, "at least 100")
        for name in ("steps", "deep_steps", "transformer_steps"):
            require(getattr(self, name) % self.log_every == 0, name, getattr(self, name),
                     f"a multiple of log-every, {self.log_every}")  # fmt: skip
        if self.group is not None and self.table is not None:
            raise ValueError("group and table both name the one group to train on; give one.")


PRESETS = {
    # Seconds: every code path, no conclusions.
    "smoke": Config(
        seeds=2,
        headline=5,
        histogram_seeds=2,
        sizes=(),
        onehot_sizes=(),
        deep_sizes=(),
        architectures=("mlp2",),
        groups=(),
        controls=False,
        features=8,
        width=24,
        steps=300,
        deep_steps=100,
        transformer_steps=100,
        log_every=50,
        grid_n=5,
        grid_rates=(1e-2,),
        grid_l2=(1e-4,),
        grid_seeds=2,
        draws=100,
    ),
    # Three minutes: the headline, and a first look at everything else.
    "quick": Config(
        seeds=3,
        histogram_seeds=20,
        sizes=(5, 9, 12),
        onehot_sizes=(9,),
        deep_sizes=(),
        architectures=("mlp2", "transformer"),
        groups=("S4",),
        deep_steps=2000,
        transformer_steps=2000,
        grid_rates=(),
        grid_l2=(),
        draws=1000,
    ),
    # Ten minutes on two cores, the evidence kept in git.
    "cpu": Config(),
    # The official code's scale, for a GPU.
    "paper": Config(
        seeds=5,
        histogram_seeds=1000,
        sizes=(4, 8, 16, 32, 64, 128),
        onehot_sizes=(9, 12, 18, 24, 32),
        deep_sizes=(4, 8, 16, 32, 64, 128),
        architectures=("mlp2", "mlp3", "shared", "transformer", "uniform"),
        groups=("S4", "SL(2,3)", "D3xD3", "A5", "S5"),
        features=128,
        width=512,
        widen=8,
        steps=200_000,
        deep_steps=50_000,
        transformer_width=1024,
        transformer_steps=57_000,
        transformer_learning_rate=1e-3,
        log_every=1000,
        batch=36,
        learning_rate=5e-4,
        deep_learning_rate=5e-4,
        l2=1e-4,
        transformer_l2=1e-7,
        grid_n=18,
        grid_rates=(2.5e-3, 1e-3, 5e-4, 2.5e-4, 1e-4),
        grid_l2=(1e-3, 5e-4, 1e-4, 5e-5, 7.5e-6),
        grid_seeds=5,
        draws=20_000,
    ),
}
