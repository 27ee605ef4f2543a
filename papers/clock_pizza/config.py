"""The configuration of the modular-addition experiments, and its four presets.

Light on purpose: the command line reads it before anything heavy is imported.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from importlib.util import find_spec
from typing import Literal, NamedTuple

from shared.experiment.errors import require

ARCHITECTURES = ("concat", "add", "attention")
CONTROLS = ("untrained", "permuted")
ABLATIONS = ("width=512", "width=4096", "train_share=0.5", "l2=0,attention_l2=0,weight_decay=1")
ABLATED = ("width", "embedding", "train_share", "learning_rate", "attention_learning_rate", "l2",
           "attention_l2", "weight_decay")  # fmt: skip


class Variant(NamedTuple):
    """One kind of network: where the two embeddings meet, and how.

    Attributes:
        arch: concat, add or attention.
        alpha: weight of the learned attention; the rest is uniform. 0 for the others.
        depth: hidden layers of the (last) MLP.
    """

    arch: str
    alpha: float = 0.0
    depth: int = 1

    @property
    def name(self) -> str:
        """As figures call it: MLP-Add, Attention 0.25, MLP-Concat x2."""
        kind = {"concat": "MLP-Concat", "add": "MLP-Add"}.get(self.arch)
        name = kind or (f"Attention {self.alpha:g}" if self.alpha % 1 else
                        f"Attention {self.alpha:.1f}")  # fmt: skip
        return name if self.depth == 1 else f"{name} x{self.depth}"

    @property
    def key(self) -> str:
        """As part of a task's key."""
        alpha = f"/alpha={self.alpha:g}" if self.arch == "attention" else ""
        return f"arch={self.arch}{alpha}" + (f"/depth={self.depth}" if self.depth > 1 else "")


@dataclass(frozen=True)
class Config:
    """One run of the paper: exact statements, then networks of each architecture, analysed.

    `paper` is the paper's value where it is known; "sister paper" is McCracken et al. 2025, of the
    same authors on the same task, whose values stand in for unknown ones.
    """

    seeds: int = 176
    """Networks per architecture; each has its own weights and its own split (paper: 703 in all)."""
    first_seed: int = 0
    """The seeds are first_seed, first_seed + 1, ..."""
    modulus: int = 59
    """n: the networks add mod n (paper: 59)."""
    architectures: tuple[str, ...] = ARCHITECTURES
    """Of concat, add, attention (paper: these)."""
    alphas: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    """Attention rates of the attention networks, in [0, 1] (paper: 0 "uniform", 1 "learned")."""
    between_seeds: int = 48
    """Networks per attention rate strictly between 0 and 1."""
    embedding: int = 128
    """Width d of the embedding (paper: 128)."""
    width: int = 1024
    """Hidden neurons m (paper: not known; sister paper: 512 to 16384)."""
    heads: int = 4
    """Attention heads (Zhong et al.: 4)."""
    steps: int = 10_000
    """Full-batch gradient steps; every count is taken at the last one (paper: not known)."""
    frames: int = 20
    """How many times the circuit is looked at during training, evenly spaced."""
    train_share: float = 0.9
    """Share of the n x n ordered pairs that is trained on (sister paper: 0.9)."""
    learning_rate: float = 7.5e-4
    """Adam's step size for the MLPs (sister paper: 7.5e-4)."""
    l2: float = 1e-5
    """Coefficient of the squared weights in the loss for the MLPs (sister paper: 1e-5)."""
    attention_learning_rate: float = 5e-4
    """Adam's step size for attention (sister paper: 5e-4)."""
    attention_l2: float = 1e-4
    """Coefficient of the squared weights in the loss for attention (sister paper: 1e-4)."""
    weight_decay: float = 0.0
    """Decoupled weight decay (AdamW), beside the L2 in the loss (sister paper: 0)."""
    depths: tuple[int, ...] = (2, 3)
    """Numbers of hidden layers of the deeper MLPs, for topology layer by layer."""
    depth_seeds: int = 32
    """Networks per deeper architecture."""
    depth_width: int = 512
    """Hidden neurons per layer of the deeper networks."""
    controls: tuple[str, ...] = CONTROLS
    """Negative controls: networks untrained, or trained on permuted labels."""
    control_seeds: int = 8
    """Networks per negative control and architecture."""
    ablations: tuple[str, ...] = ABLATIONS
    """Settings changed, each as `field=value,field=value`: does the geometry depend on them?"""
    ablation_seeds: int = 16
    """Networks per ablation and architecture (MLPs and uniform attention)."""
    alive: float = 0.01
    """A neuron whose pre-activation never exceeds this is dead (sister paper: 0.01)."""
    major_share: float = 0.01
    """A cluster is major with at least 3 neurons and this share of the alive ones."""
    topology: Literal["auto", "on", "off"] = "auto"
    """Betti numbers need the extra `topology` (ripser or gudhi): auto does without it."""
    topology_neurons: int = 20
    """Smaller clusters are too small for topology."""
    topology_r2: float = 0.9
    """Clusters that simple neurons fit worse than this mean R^2 are too rough for topology."""
    topology_clusters: int = 3
    """Betti numbers are computed for so many of a network's largest clusters."""
    landmarks: int = 120
    """Points of a cluster that its Betti numbers are computed from."""
    kappa: float = 1.0
    """Concentration of the MMD kernel exp(kappa (cos + cos - 2)) (paper: kernel not known)."""
    permutations: int = 1000
    """Permutations of networks behind an MMD's p-value."""

    def __post_init__(self) -> None:
        for name in ("seeds", "embedding", "width", "heads", "steps", "frames", "depth_width",
                     "between_seeds", "depth_seeds", "control_seeds", "ablation_seeds",
                     "topology_neurons",
                     "permutations", "topology_clusters"):  # fmt: skip
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require(self.first_seed >= 0, "first-seed", self.first_seed, "at least 0")
        require(self.modulus >= 5, "modulus", self.modulus, "at least 5")
        require(self.landmarks >= 4, "landmarks", self.landmarks, "at least 4")
        require(len(self.architectures) > 0, "architectures", "none", "at least one")
        self._check_networks()
        for name in ("learning_rate", "attention_learning_rate", "kappa"):
            require(getattr(self, name) > 0, name, getattr(self, name), "positive")
        for name in ("l2", "attention_l2", "weight_decay", "alive", "major_share"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "at least 0")
        require(0 < self.train_share < 1, "train-share", self.train_share, "between 0 and 1")
        require(0 <= self.topology_r2 <= 1, "topology-r2", self.topology_r2, "in [0, 1]")
        allowed = f"a multiple of {self.frames} frames"
        require(self.steps % self.frames == 0, "steps", self.steps, allowed)
        for change in self.ablations:
            self.ablated(change)
        if self.topology == "on" and not topology_installed():
            raise ValueError(
                "topology on needs ripser or gudhi: uv sync --extra topology, or --topology off."
            )

    def _check_networks(self) -> None:
        for arch in self.architectures:
            require(arch in ARCHITECTURES, "architectures", arch, "of concat, add, attention")
        for alpha in self.alphas:
            require(0 <= alpha <= 1, "alphas", alpha, "in [0, 1]")
        if "attention" in self.architectures:
            require(len(self.alphas) > 0, "alphas", "none", "at least one value")
            allowed = f"a multiple of {self.heads} heads"
            require(self.embedding % self.heads == 0, "embedding", self.embedding, allowed)
        for control in self.controls:
            require(control in CONTROLS, "controls", control, "of untrained, permuted")
        for depth in self.depths:
            require(2 <= depth <= 4, "depths", depth, "in 2 ... 4")
        for name in ("architectures", "alphas", "controls", "depths", "ablations"):
            values = getattr(self, name)
            require(len(set(values)) == len(values), name, "a value twice", "without repetition")

    def ablated(self, change: str) -> Config:
        """This configuration with some fields changed: `width=512`, `l2=0,weight_decay=1`."""
        kinds = {field.name: float if field.type == "float" else int for field in fields(self)}
        parsed: dict[str, float] = {}
        for part in change.split(",") if change else ():
            name, _, value = part.partition("=")
            if name not in ABLATED:
                raise ValueError(f"ablations must change {', '.join(ABLATED)}; got {part!r}.")
            try:
                parsed[name] = kinds[name](value)
            except ValueError:
                raise ValueError(f"ablations: {value!r} is no value for {name}.") from None
        return replace(self, ablations=(), **parsed)  # pyright: ignore[reportArgumentType]

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The one-hidden-layer networks, in the order of figures."""
        found = [Variant(arch) for arch in ("concat", "add") if arch in self.architectures]
        if "attention" in self.architectures:
            found += [Variant("attention", alpha) for alpha in sorted(self.alphas)]
        return tuple(found)

    @property
    def deep_variants(self) -> tuple[Variant, ...]:
        """The deeper MLPs."""
        archs = [arch for arch in ("concat", "add") if arch in self.architectures]
        return tuple(Variant(arch, depth=depth) for depth in self.depths for arch in archs)

    @property
    def frame_steps(self) -> int:
        """Gradient steps between two looks at the circuit."""
        return self.steps // self.frames

    def networks(self, variant: Variant) -> int:
        """How many networks of a variant are trained."""
        if variant.depth > 1:
            return self.depth_seeds
        return self.between_seeds if 0 < variant.alpha < 1 else self.seeds

    @property
    def with_topology(self) -> bool:
        """Whether Betti numbers are computed."""
        return self.topology == "on" or (self.topology == "auto" and topology_installed())


def topology_installed() -> bool:
    """Whether a package for persistent homology is there."""
    return any(find_spec(name) is not None for name in ("ripser", "gudhi"))


PRESETS = {
    # Seconds: every code path, no conclusions.
    "smoke": Config(
        seeds=2,
        modulus=13,
        alphas=(1.0,),
        between_seeds=1,
        embedding=16,
        width=48,
        heads=2,
        steps=1500,
        frames=3,
        learning_rate=1e-2,
        l2=5e-4,
        attention_learning_rate=1e-2,
        attention_l2=5e-4,
        depths=(),
        controls=("untrained",),
        control_seeds=1,
        ablations=("train_share=0.8",),
        ablation_seeds=1,
        topology_neurons=4,
        topology_r2=0.5,
        topology_clusters=1,
        landmarks=40,
        permutations=100,
    ),
    # Three minutes: the four manifolds at a smaller modulus.
    "quick": Config(
        seeds=8,
        modulus=31,
        alphas=(0.0, 0.3, 0.6, 0.8, 1.0),
        between_seeds=4,
        embedding=48,
        width=160,
        steps=1500,
        frames=25,
        learning_rate=5e-3,
        l2=1e-4,
        attention_learning_rate=5e-3,
        depths=(),
        controls=("untrained",),
        control_seeds=3,
        ablations=(),
        topology_clusters=2,
    ),
    # Ten minutes on two cores, the evidence kept in git: the paper's modulus, fewer and smaller
    # networks, a larger step.
    "cpu": Config(
        seeds=18,
        alphas=(0.0, 0.25, 0.5, 0.7, 0.85, 1.0),
        between_seeds=8,
        embedding=64,
        width=256,
        steps=1500,
        frames=15,
        learning_rate=5e-3,
        l2=1e-4,
        attention_learning_rate=5e-3,
        depths=(2, 3),
        depth_seeds=3,
        depth_width=128,
        control_seeds=3,
        ablations=("width=96", "train_share=0.5", "l2=0,attention_l2=0,weight_decay=1"),
        ablation_seeds=3,
    ),
    # The paper's own scale, for a GPU.
    "paper": Config(),
}
