"""The group that a network is trained on, with all that the analysis asks of it."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from papers.dihedral.config import Config
from papers.dihedral.method import Irrep
from shared.experiment.errors import BadInput
from shared.groups import Group, from_table, parse, real_irreps

Array = np.ndarray
MOST = 200  # elements up to which the logits of all pairs are taken apart: |G|^3 numbers a cluster


@dataclass(frozen=True, eq=False)
class Subject:
    """A group and its real irreps in the form of `method.py`.

    Attributes:
        n: of D_n; None for any other group.
    """

    group: Group
    reps: tuple[Irrep, ...]
    n: int | None

    @property
    def table(self) -> Int[Array, "G G"]:
        return self.group.table

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(rho.name for rho in self.reps)

    @property
    def rotations(self) -> Bool[Array, " G"] | None:
        """Among which x^{-1} y a vertex looks for its neighbours; None for all."""
        return None if self.n is None else np.arange(2 * self.n) < self.n

    @property
    def convention(self) -> int | None:
        """The reflection s, whose edges no distance determines."""
        return self.n

    @property
    def least_share(self) -> float:
        """Share of its energy on the irrep from which a neuron is in a cluster.

        A small group with large irreps leaves little to miss: a random neuron on S_4 or SL(2,3)
        has about half of its energy on one irrep by chance, one on D_18 a fifth.
        """
        return 0.0 if self.n is not None else 0.9

    @property
    def small(self) -> bool:
        return self.group.order <= MOST


@functools.lru_cache(maxsize=64)
def subject(name: str) -> Subject:
    """The group of this name: D18, S4, A5, SL(2,3), D3xD3, ..."""
    return of_group(parse(name))


def of_group(group: Group) -> Subject:
    """Any group; the irreps of one without a closed form are found numerically."""
    reps = tuple(
        Irrep(rho.name, rho.dim, np.asarray(rho.mats, float), rho.frequency, rho.commutant)
        for rho in real_irreps(group)
    )
    return Subject(group, reps, group.order // 2 if group.family == "dihedral" else None)


def chosen(config: Config, name: str) -> Subject:
    """The subject of a task: a name, or "table" for the user's file."""
    return of_group(read_table(config.table)) if name == "table" and config.table else subject(name)


def read_table(path: Path) -> Group:
    """The group whose Cayley table stands in a file.

    Raises BadInput, with one sentence, for a file that cannot be read and for a table that is no
    group with identity 0; the sentence names the row or the triple at which it fails.
    """
    try:
        if path.suffix == ".npy":
            table = np.load(path, allow_pickle=False)
        else:
            text = path.read_text(encoding="utf-8").replace(",", " ")
            table = [[int(word) for word in line.split()] for line in text.splitlines() if line]
    except OSError as error:
        raise BadInput(f"The Cayley table {path} cannot be read: {error.strerror}.") from None
    except ValueError:
        raise BadInput(
            f"The Cayley table {path} must hold whole numbers, a row of the table a line."
        ) from None
    group = from_table(table, path.stem)
    if group.order < 3:
        raise BadInput(f"A group of order {group.order} leaves nothing to learn; 3 is the least.")
    return group
