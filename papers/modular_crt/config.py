"""The configuration of the modular-addition experiments, and its four presets.

Light on purpose: the command line reads it before anything heavy is imported.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.experiment.errors import require

ARCHITECTURES = {
    "mlp": "embed_concat",
    "one-hot": "onehot_concat",
    "add": "embed_add",
    "pizza": "attn_uniform",
    "clock": "attn",
    "quadratic": "onehot_concat",
}
"""Our name of an architecture -> its name in `shared.groups`. The paper's MLP has an embedding.

`quadratic` is a one-hot MLP with squares in place of ReLU (Gromov, 2023), whose solution is known.
"""

MEASURED = tuple(name for name in ARCHITECTURES if name != "quadratic")
"""Those that a study can be asked for: what is measured of circuits presumes ReLU."""

ALPHA = {"pizza": 0.0, "clock": 1.0}
"""Share of softmax attention in the transformers (Zhong et al., 2023)."""


@dataclass(frozen=True)
class Config:
    """One run of the paper: exact checks and Monte Carlo, then networks trained modulo n.

    `paper` is the paper's value. A study is a set of networks; a network that several studies ask
    for is trained once.
    """

    seeds: int = 8
    """Networks per setting in the main study and the studies of depth and width."""
    first_seed: int = 0
    """The seeds are first_seed, first_seed + 1, ..."""
    modulus: int = 59
    """n of the main study (paper: 59)."""
    architectures: tuple[str, ...] = ("mlp", "pizza", "clock", "add", "one-hot")
    """Of the main study; mlp has embeddings, concatenated (paper: the first three)."""
    width: int = 256
    """Hidden neurons m of networks with one hidden layer (paper: 1024, or 8 n)."""
    embed: int = 64
    """Dimension of embeddings (paper: 128)."""
    steps: int = 1500
    """Updates of networks with one hidden layer; counts come after the last (paper: unknown)."""
    learning_rate: float = 5e-3
    """Adam's step size, which falls to 0 along a cosine (paper: 7.5e-4, or a table by n)."""
    l2: float = 1e-4
    """Coefficient of the sum of squares of all parameters in the loss (paper: half of 1e-5, or of a
    table's value, see `PAPER_MLP`)."""
    fraction: float = 0.9
    """Share of the n^2 pairs that is trained on (paper: 0.9 unless stated otherwise)."""
    batch: int = 0
    """Pairs in one update; 0 takes all that are trained on (paper: n, 200 or a table by n)."""
    snapshots: int = 15
    """Points of the learning curves."""
    scaling_moduli: tuple[int, ...] = (11, 15, 23, 21, 41, 39, 59, 67, 65)
    """n of the growth study, prime and composite (paper: 3 ... 4999)."""
    scaling_architectures: tuple[str, ...] = ("mlp", "pizza", "clock")
    """Architectures of the growth study (paper: these)."""
    scaling_seeds: int = 4
    """Networks per setting in the growth study."""
    scaling_tuning: str = "fixed"
    """`fixed`: the settings above at every n; `paper`: its table by n, with width 8 n."""
    onehot_moduli: tuple[int, ...] = (59, 66)
    """n of the comparison of one-hot, embedded and deeper (paper: 59 ... 66)."""
    onehot_seeds: int = 4
    """Networks per setting in that comparison (paper: not known)."""
    decoupled_decay: float = 1.0
    """Weight decay of AdamW, compared with the penalty in the loss there; 0 leaves it out."""
    decoupled_learning_rate: float = 1e-2
    """AdamW's step size."""
    depth_modulus: int = 31
    """n of the study of depth (paper: 59 and others)."""
    depths: tuple[int, ...] = (1, 2, 3)
    """Hidden layers in the study of depth (paper: 1 ... 4)."""
    deep_width: int = 192
    """Neurons a layer of deeper networks, and in the study of depth (paper: 1024)."""
    deep_steps: int = 1500
    """Updates of those networks."""
    deep_learning_rate: float = 3e-3
    """Adam's step size of those networks."""
    width_modulus: int = 31
    """n of the study of width (paper: 59)."""
    widths: tuple[int, ...] = (64, 256, 1024)
    """Widths of that study (paper: 512, 2048, 8192, 16384)."""
    grid_modulus: int = 23
    """n of the study of substitution (paper: 59)."""
    grid_architectures: tuple[str, ...] = ("mlp", "pizza", "clock")
    """Architectures of that study (paper: these)."""
    grid_depths: tuple[int, ...] = (1, 2)
    """Hidden layers of that study: of the MLP, and of the transformers' MLP (paper: 1 ... 4)."""
    grid_learning_rates: tuple[float, ...] = (1e-3, 3e-3, 1e-2)
    """Step sizes of that study (paper: ten from 2.5e-3 to 1e-5)."""
    grid_l2: tuple[float, ...] = (1e-5, 1e-4)
    """L2 coefficients of that study (paper: twenty from 1e-3 to 1e-8)."""
    grid_seeds: int = 2
    """Networks per cell of that study (paper: 10)."""
    frequency_moduli: tuple[int, ...] = (23, 21, 30)
    """n of the study of which frequencies are learned (paper: 89, 91 and 66)."""
    frequency_depths: tuple[int, ...] = (1, 2)
    """Hidden layers of that study, MLP, where n is even; else the first of them (paper: 1, 4)."""
    frequency_seeds: int = 32
    """Networks per setting of that study (paper: 100000, and 5000 for n = 66)."""
    noise: tuple[float, ...] = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4)
    """Sigma of the multiplicative noise exp(N(0, sigma)) on weights (paper: up to about 0.225)."""
    draws: int = 4000
    """Monte-Carlo draws of random frequencies per cell of the margin theorem."""
    theory_moduli: tuple[int, ...] = (59, 113, 251, 499, 997)
    """n of the margin theorem and its corollary."""

    def __post_init__(self) -> None:
        for name in ("seeds", "width", "embed", "steps", "snapshots", "scaling_seeds", "draws",
                     "onehot_seeds", "deep_width", "deep_steps", "grid_seeds",
                     "frequency_seeds"):  # fmt: skip
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require(self.first_seed >= 0, "first_seed", self.first_seed, "at least 0")
        require(self.batch >= 0, "batch", self.batch, "at least 1, or 0 for all pairs")
        for name in ("modulus", "depth_modulus", "width_modulus", "grid_modulus"):
            require(getattr(self, name) >= 5, name, getattr(self, name), "at least 5")
        for name in ("scaling_moduli", "onehot_moduli", "frequency_moduli", "theory_moduli"):
            for n in getattr(self, name):
                require(n >= 5, name, n, "at least 5 each")
        for width in self.widths:
            require(width >= 1, "widths", width, "at least 1 each")
        for name in ("depths", "grid_depths", "frequency_depths"):
            for depth in getattr(self, name):
                require(1 <= depth <= 4, name, depth, "from 1 to 4")
        for name in ("learning_rate", "deep_learning_rate", "decoupled_learning_rate"):
            require(getattr(self, name) > 0, name, getattr(self, name), "positive")
        for rate in self.grid_learning_rates:
            require(rate > 0, "grid_learning_rates", rate, "positive")
        for l2 in (self.l2, *self.grid_l2):
            require(l2 >= 0, "l2", l2, "at least 0")
        require(self.decoupled_decay >= 0, "decoupled_decay", self.decoupled_decay, "at least 0")
        for sigma in self.noise:
            require(sigma >= 0, "noise", sigma, "at least 0")
        require(0 < self.fraction <= 1, "fraction", self.fraction, "in (0, 1]")
        for name in ("architectures", "scaling_architectures", "grid_architectures"):
            for architecture in getattr(self, name):
                allowed = f"one of {', '.join(MEASURED)}"
                require(architecture in MEASURED, name, architecture, allowed)
        require(len(self.architectures) > 0, "architectures", "none", "at least one")
        tunings = "fixed or paper"
        require(
            self.scaling_tuning in ("fixed", "paper"),
            "scaling_tuning",
            self.scaling_tuning,
            tunings,
        )
        if {"pizza", "clock"} & {*self.architectures, *self.scaling_architectures,
                                 *self.grid_architectures}:  # fmt: skip
            allowed = "a multiple of 4 for transformers"
            require(self.embed % 4 == 0, "embed", self.embed, allowed)
        for name in ("steps", "deep_steps"):
            allowed = f"a multiple of {self.snapshots} snapshots"
            steps = getattr(self, name)
            require(steps % self.snapshots == 0, name, steps, allowed)


PAPER_MLP = {
    3: (1e-2, 3, 5e-3, 9),
    7: (1e-2, 7, 5e-3, 49),
    13: (9e-3, 13, 4e-3, 169),
    17: (9e-3, 17, 4e-3, 289),
    59: (8e-3, 59, 1e-3, 1770),
    64: (5e-3, 64, 5e-4, 2048),
    113: (4e-3, 113, 3e-4, 6780),
    128: (2e-3, 128, 2e-4, 13568),
    193: (3e-3, 193, 1e-4, 18914),
    256: (1e-3, 256, 1e-4, 34560),
    499: (5e-4, 499, 3e-5, 124750),
    997: (3e-4, 997, 1.5e-6, 498500),
    1999: (2.4e-4, 1999, 8e-7, 2398800),
    4999: (1e-4, 4999, 5e-7, 14997000),
}
"""The paper's growth study with MLPs (App. E): n -> (learning rate, batch, L2, training pairs).

Its L2 is read as Adam's `weight_decay`, L2 times w added to the gradient: half of it is `l2`, our
coefficient of the sum of squares. Read as that coefficient itself, weights vanish at n = 13 and 17.

Deviation: the row of n = 17 prints batch 1 and 169 pairs, which is the row above it; all 289 pairs
in batches of 17 are meant. Its step size and L2 are those of the row above, too.
"""

PAPER_TRANSFORMER = {
    7: (1e-3, 7, 1e-4, 49),
    17: (1e-3, 34, 1e-4, 289),
    59: (1e-3, 200, 1e-4, 1770),
    64: (1e-3, 64, 1e-4, 2458),
    97: (1e-3, 200, 1e-4, 4850),
    113: (1e-3, 500, 1e-4, 6780),
    128: (1e-3, 128, 1e-4, 9830),
    256: (1e-3, 256, 1e-4, 39322),
    303: (2e-4, 909, 2e-5, 45450),
    310: (1e-3, 310, 1e-4, 57660),
    720: (1e-4, 720, 1e-5, 309600),
    977: (1e-4, 4885, 1e-5, 488500),
    4013: (4e-5, 16052, 6e-6, 3691960),
}
"""The same with transformers (some of the paper's rows).

Deviation: the numbers of training pairs printed for n = 64, 128, 256, 310 are copies of another
table's first rows (two exceed nothing, one is 49); 60 % of n^2 is used there.
"""

PRESETS = {
    # Seconds: every code path, no conclusions.
    "smoke": Config(
        seeds=2,
        modulus=13,
        architectures=("mlp", "clock"),
        width=64,
        embed=32,
        steps=300,
        snapshots=3,
        learning_rate=1e-2,
        fraction=0.9,
        scaling_architectures=(),
        onehot_moduli=(),
        onehot_seeds=1,
        depths=(),
        widths=(),
        grid_architectures=(),
        frequency_moduli=(),
        deep_steps=300,
        noise=(0.0, 0.2),
        draws=200,
        theory_moduli=(59, 113, 251),
    ),
    # A minute or two: everything exact, and the headline with a few networks.
    "quick": Config(
        seeds=4,
        modulus=31,
        architectures=("mlp", "pizza", "clock", "one-hot"),
        steps=1000,
        snapshots=10,
        scaling_moduli=(11, 15, 23, 31, 45),
        scaling_architectures=("mlp",),
        scaling_seeds=4,
        onehot_moduli=(31,),
        depth_modulus=23,
        depths=(1, 2),
        deep_steps=1000,
        width_modulus=23,
        widths=(64, 256),
        grid_modulus=23,
        grid_architectures=("mlp", "pizza"),
        grid_depths=(1,),
        grid_seeds=1,
        frequency_moduli=(23, 22),
        frequency_depths=(1,),
        frequency_seeds=12,
        draws=2000,
    ),
    # About ten minutes on two cores, the evidence kept in git.
    "cpu": Config(),
    # The paper's own scale, for a GPU; n >= 1999 is out of reach of one device.
    "paper": Config(
        seeds=500,
        architectures=("mlp", "pizza", "clock"),
        width=1024,
        embed=128,
        learning_rate=7.5e-4,
        l2=1e-5 / 2,  # see PAPER_MLP
        steps=30_000,
        batch=59,
        scaling_moduli=(7, 13, 17, 59, 64, 113, 128, 193, 256, 499),
        scaling_seeds=128,
        scaling_tuning="paper",
        onehot_moduli=(59, 60, 61, 62, 63, 64, 65, 66),
        onehot_seeds=10,
        depth_modulus=59,
        depths=(1, 2, 3, 4),
        deep_width=1024,
        deep_steps=30_000,
        deep_learning_rate=7.5e-4,
        width_modulus=59,
        widths=(512, 2048, 8192, 16384),
        grid_modulus=59,
        grid_depths=(1, 2, 3, 4),
        grid_learning_rates=(
            2.5e-3, 1e-3, 7.5e-4, 5e-4, 2.5e-4, 1e-4, 7.5e-5, 5e-5, 2.5e-5, 1e-5,
        ),
        grid_l2=(1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8),
        grid_seeds=10,
        frequency_moduli=(91, 89, 66),
        frequency_depths=(1, 4),
        frequency_seeds=5000,
    ),
}  # fmt: skip
