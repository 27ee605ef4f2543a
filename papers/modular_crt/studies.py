"""Which networks each study trains, as data. Light: `--help` and the list of tasks read it.

main         every architecture at one n: neurons, fits, equivariance, noise (C1, C14 to C17)
scaling      MLP, pizza and clock over n (C6)
onehot       one-hot, embedded and deeper at n around 59 (C7); squares for ReLU, AdamW
depth        one-hot and embedded MLPs of 1, 2, ... hidden layers (C8)
width        MLPs of growing width (C9)
grid         step sizes x L2 coefficients x depths (C10, C11)
frequencies  many MLPs of few sizes: which frequencies are learned (C12, C13)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from papers.modular_crt.config import ARCHITECTURES, PAPER_MLP, PAPER_TRANSFORMER, Config

FULL_DATA_BELOW = 20
"""In the growth study smaller n train on all pairs, as the paper does for n = 7, 13 and 17."""


@dataclass(frozen=True)
class Network:
    """One setting: a network and how it is trained. Units and meanings as in `Config`."""

    architecture: str
    modulus: int
    depth: int
    width: int
    embed: int
    steps: int
    learning_rate: float
    l2: float
    fraction: float
    batch: int
    decay: float = 0.0

    @property
    def key(self) -> str:
        """A name for its task that no other setting has."""
        part = f"{self.architecture}/n={self.modulus}/depth={self.depth}/width={self.width}"
        size = f"embed={self.embed}/steps={self.steps}/batch={self.batch}"
        decay = f"_decay={self.decay:g}" if self.decay else ""
        return (
            f"{part}/{size}/lr={self.learning_rate:g}_l2={self.l2:g}_data={self.fraction:g}{decay}"
        )

    @property
    def cpu_seconds(self) -> float:
        """Predicted seconds of one core for one seed: its products, and measuring it afterwards."""
        n, m, d = self.modulus, self.width, self.embed
        pairs = min(self.batch, n * n) if self.batch else n * n
        per_pair = m * n + (self.depth - 1) * m * m
        if self.architecture in ("pizza", "clock") and self.depth > 1:
            per_pair = 2.5 * self.depth * (4 * d * d + 2 * d * m)  # token by token
        elif self.architecture == "clock":
            per_pair *= 2.2
        elif self.architecture == "pizza":
            per_pair *= 1.3
        update = 6 * pairs * per_pair / FLOPS + 3e-4
        return 0.1 + self.steps * update + 1e-6 * n**3


FLOPS = 1.7e11
"""Floating-point operations a second of one core in these products, about."""

Study = Mapping[Network, int]
"""Networks with the number of seeds of each."""


def studies(config: Config) -> dict[str, Study]:
    """Every study by name; one that the configuration leaves empty has no networks."""
    shallow = Network(
        "mlp", config.modulus, 1, config.width, config.embed, config.steps,
        config.learning_rate, config.l2, config.fraction, config.batch,
    )  # fmt: skip
    deep = replace(
        shallow,
        width=config.deep_width,
        steps=config.deep_steps,
        learning_rate=config.deep_learning_rate,
    )
    main = [replace(shallow, architecture=name) for name in config.architectures]
    width = [
        replace(shallow, modulus=config.width_modulus, width=m, batch=_batch(config, 0))
        for m in config.widths
    ]
    return {
        "main": dict.fromkeys(main, config.seeds),
        "scaling": dict.fromkeys(_scaling(config, shallow), config.scaling_seeds),
        "onehot": dict.fromkeys(_onehot(config, shallow, deep), config.onehot_seeds),
        "depth": dict.fromkeys(_depth(config, deep), config.seeds),
        "width": dict.fromkeys(width, config.seeds),
        "grid": dict.fromkeys(_grid(config, shallow, deep), config.grid_seeds),
        "frequencies": dict.fromkeys(_frequencies(config, shallow, deep), config.frequency_seeds),
    }


def networks(config: Config) -> dict[Network, int]:
    """All settings, each with the largest number of seeds that any study wants of it."""
    found: dict[Network, int] = {}
    for study in studies(config).values():
        for network, seeds in study.items():
            found[network] = max(seeds, found.get(network, 0))
    return found


def _batch(config: Config, n: int) -> int:
    """Batches of n (the paper's choice) where the run has batches at all."""
    return n if config.batch and n else config.batch


def _scaling(config: Config, base: Network) -> Iterable[Network]:
    for name in config.scaling_architectures:
        for n in config.scaling_moduli:
            if config.scaling_tuning == "paper":
                if (row := _table(name).get(n)) is not None:
                    yield _tuned(base, name, n, row)
                continue
            fraction = 1.0 if n < FULL_DATA_BELOW else config.fraction
            yield replace(
                base, architecture=name, modulus=n, fraction=fraction, batch=_batch(config, n)
            )


def _table(name: str) -> dict[int, tuple[float, int, float, int]]:
    return PAPER_TRANSFORMER if name in ("pizza", "clock") else PAPER_MLP


def _tuned(base: Network, name: str, n: int, row: tuple[float, int, float, int]) -> Network:
    rate, batch, l2, pairs = row
    transformer = name in ("pizza", "clock")
    return replace(
        base,
        architecture=name,
        modulus=n,
        width=4 * _power_of_two(n) if transformer else 8 * n,
        embed=_power_of_two(n) if transformer else base.embed,
        learning_rate=rate,
        l2=l2 / 2,  # the table's adds l2 w to the gradient
        batch=batch,
        fraction=pairs / n**2,
    )


def _power_of_two(n: int) -> int:
    """The smallest power of two above n: the transformers' dimension in the paper."""
    return 1 << n.bit_length()


def _onehot(config: Config, shallow: Network, deep: Network) -> Iterable[Network]:
    for n in config.onehot_moduli:
        yield replace(shallow, architecture="one-hot", modulus=n, batch=_batch(config, n))
        yield replace(shallow, modulus=n, batch=_batch(config, n))
        yield replace(deep, architecture="one-hot", modulus=n, depth=2, batch=_batch(config, n))
        yield replace(shallow, architecture="quadratic", modulus=n, batch=_batch(config, n))
        if config.decoupled_decay:
            yield replace(
                shallow, modulus=n, batch=_batch(config, n), decay=config.decoupled_decay, l2=0.0,
                learning_rate=config.decoupled_learning_rate,
            )  # fmt: skip


def _depth(config: Config, deep: Network) -> Iterable[Network]:
    n = config.depth_modulus
    for name in ("one-hot", "mlp"):
        for depth in config.depths:
            yield replace(deep, architecture=name, modulus=n, depth=depth, batch=_batch(config, n))


def _grid(config: Config, shallow: Network, deep: Network) -> Iterable[Network]:
    n = config.grid_modulus
    for name in config.grid_architectures:
        for depth in config.grid_depths:
            base = shallow if depth == 1 else deep
            for rate in config.grid_learning_rates:
                for l2 in config.grid_l2:
                    yield replace(
                        base, architecture=name, modulus=n, depth=depth, learning_rate=rate,
                        l2=l2, batch=_batch(config, n),
                    )  # fmt: skip


def _frequencies(config: Config, shallow: Network, deep: Network) -> Iterable[Network]:
    for n in config.frequency_moduli:
        for depth in config.frequency_depths if n % 2 == 0 else config.frequency_depths[:1]:
            base = shallow if depth == 1 else replace(deep, depth=depth)
            yield replace(base, modulus=n, batch=_batch(config, n))


def core_name(network: Network) -> str:
    """The architecture's name in `shared.groups`."""
    return ARCHITECTURES[network.architecture]
