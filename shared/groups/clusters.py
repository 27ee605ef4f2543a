"""Clusters: the neurons of one frequency or irrep, and how their number depends on thresholds.

How many frequencies a network has learned is the number that depends most on thresholds in this
literature: with every neuron counted it explodes where training was short. So a count never comes
alone: `count_table` gives it under several filters at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from shared.experiment.errors import BadInput
from shared.groups.group import Group
from shared.groups.irreps import real_irreps
from shared.groups.neurons import Neurons

Array = np.ndarray
MIN_SIZE = 3  # neurons of a major cluster, at least ...
MIN_SHARE = 0.01  # ... and at least this share of the neurons that are kept


@dataclass(frozen=True, eq=False, repr=False)
class Clusters:
    """Kept neurons by label, the largest cluster first (of equal ones the lower label).

    Attributes:
        label: of each cluster. members: its neurons, ascending. size: how many.
        r2, second: means of `Neurons.first` and `.second` over the members.
        major: size >= max(min_size, min_share * kept).
        kept: number of neurons in all clusters together.
    """

    label: Int[Array, " k"]
    members: tuple[Int[Array, " _"], ...]
    r2: Float[Array, " k"]
    second: Float[Array, " k"]
    major: Bool[Array, " k"]
    kept: int

    def __len__(self) -> int:
        return len(self.label)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{x}: {s}" for x, s in zip(self.label, self.size, strict=True))
        return f"Clusters({{{sizes}}}, {self.major.sum()} major)"

    @property
    def size(self) -> Int[Array, " k"]:
        return np.array([len(members) for members in self.members], dtype=int)

    def only_major(self) -> "Clusters":
        """The major clusters alone; `kept` still counts the neurons of all."""
        k = np.flatnonzero(self.major)
        return Clusters(
            self.label[k], tuple(self.members[i] for i in k), self.r2[k], self.second[k],
            self.major[k], self.kept,
        )  # fmt: skip

    def names(self, group: Group) -> list[str]:
        """The irrep of each cluster by name: "f3" of Z_n, "2D_3" of D_n, ..."""
        irreps = real_irreps(group)
        return [irreps[label].name for label in self.label]


def find_clusters(
    neurons: Neurons,
    keep: Bool[Array, " m"] | None = None,
    *,
    min_size: int = MIN_SIZE,
    min_share: float = MIN_SHARE,
) -> Clusters:
    """Sort the neurons in `keep` by label.

    Args:
        keep: default `neurons.alive`; `neurons.alive & neurons.agree` asks in addition that both
            inputs carry the same irrep. Neurons with label 0 belong to no cluster.
    """
    inside = _kept(neurons, keep)
    labels, counts = np.unique(neurons.label[inside], return_counts=True)
    order = np.lexsort((labels, -counts))
    labels, counts = labels[order], counts[order]
    members = tuple(np.flatnonzero(inside & (neurons.label == label)) for label in labels)
    kept = int(inside.sum())
    return Clusters(
        label=labels,
        members=members,
        r2=np.array([neurons.first[j].mean() for j in members], dtype=float),
        second=np.array([neurons.second[j].mean() for j in members], dtype=float),
        major=counts >= max(min_size, min_share * kept),
        kept=kept,
    )


@dataclass(frozen=True, eq=False)
class CountTable:
    """Number of clusters under every pair of filters.

    Attributes:
        r2: a neuron counts from this R^2 (first order) on. shares: a cluster counts from this
            share of the neurons that count on; 0 for any neuron, otherwise never below min_size.
        counts: clusters. neurons: how many neurons pass the R^2 filter.
    """

    r2: tuple[float, ...]
    shares: tuple[float, ...]
    counts: Int[Array, "r2 shares"]
    neurons: Int[Array, " r2"]

    def at(self, r2: float, share: float) -> int:
        """The count at one pair of filters that the table has."""
        if r2 not in self.r2 or share not in self.shares:
            raise BadInput(f"The table has R^2 filters {self.r2} and shares {self.shares}.")
        return int(self.counts[self.r2.index(r2), self.shares.index(share)])


def count_table(
    neurons: Neurons,
    keep: Bool[Array, " m"] | None = None,
    *,
    r2: Sequence[float] = (0.0, 0.5, 0.9, 0.95),
    shares: Sequence[float] = (0.0, MIN_SHARE, 0.02, 0.05),
    min_size: int = MIN_SIZE,
) -> CountTable:
    """Count clusters under all combinations of an R^2 filter and a size filter.

    (0, 0.01) is the number of major clusters of `find_clusters`; (0, 0) counts every label that
    any kept neuron has.
    """
    inside = _kept(neurons, keep)
    counts = np.zeros((len(r2), len(shares)), int)
    passed = np.zeros(len(r2), int)
    for i, least in enumerate(r2):
        pure = inside & (neurons.first >= least)
        passed[i] = pure.sum()
        sizes = np.unique(neurons.label[pure], return_counts=True)[1]
        for j, share in enumerate(shares):
            floor = max(min_size, share * passed[i]) if share > 0 else 1
            counts[i, j] = (sizes >= floor).sum()
    return CountTable(tuple(map(float, r2)), tuple(map(float, shares)), counts, passed)


def _kept(neurons: Neurons, keep: Bool[Array, " m"] | None) -> Bool[Array, " m"]:
    inside = neurons.alive if keep is None else keep
    if inside.shape != neurons.label.shape:
        raise BadInput(
            f"`keep` says of each of the {len(neurons.label)} neurons whether it counts; "
            f"it has shape {list(inside.shape)}."
        )
    return inside & (neurons.label > 0)
