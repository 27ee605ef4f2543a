"""A group's table as a learning task: which of the n^2 products are shown, and which are kept back.

The network is asked for the product of an ordered pair (a, b). `split` says what is drawn:

    "ordered"     the ordered pairs, as the papers do. In an abelian group (a, b) and (b, a) have
                  the same answer but are separate items, so that most test pairs have their mirror
                  image in the training set: at 90 % training, nine in ten.
    "unordered"   the sets {a, b}, abelian groups only; a pair and its mirror image stay together.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Int32

from shared.experiment.errors import BadInput
from shared.groups.group import Group

Array = np.ndarray
SPLITS = ("ordered", "unordered")
_SPLIT, _SHUFFLE = 1, 2  # streams of randomness of a seed


@dataclass(frozen=True)
class CayleyTask:
    """The table of `group`, a share of it for training.

    Attributes:
        group: the group; inputs and answers are its indices.
        frac: share of the items that are trained on, in (0, 1]: the nearest whole number of them,
            so that `frac=k / n**2` is k pairs. With 1 nothing is kept back.
        split_seed: draws the split; below 2^32.
        split: what an item is, see above.
    """

    group: Group
    frac: float = 0.9
    split_seed: int = 0
    split: str = "ordered"

    def __post_init__(self) -> None:
        if not 0 < self.frac <= 1:
            raise BadInput(f"frac, the share that is trained on, lies in (0, 1], not {self.frac}.")
        if self.split not in SPLITS:
            raise BadInput(f"split is 'ordered' or 'unordered', not {self.split!r}.")
        if self.split == "unordered" and not self.group.is_abelian:
            raise BadInput(
                f"In {self.group.name} a b may differ from b a, so an unordered pair has no one "
                "answer; only abelian groups can be split by unordered pairs."
            )
        _check_seed(self.split_seed)
        if self.train_items == 0:
            raise BadInput(
                f"frac = {self.frac} of {self.items} pairs is none; at least one must be for "
                "training."
            )

    @property
    def order(self) -> int:
        """n, the number of elements, of classes, and of values of each input."""
        return self.group.order

    @property
    def inputs(self) -> Int32[Array, "pairs 2"]:
        """All ordered pairs, the second element fastest."""
        a, b = np.divmod(np.arange(self.order**2, dtype=np.int32), np.int32(self.order))
        return np.stack([a, b], axis=1)

    @property
    def labels(self) -> Int32[Array, "n n"]:
        """labels[a, b] is the index of a b."""
        return self.group.table

    @property
    def items(self) -> int:
        """How many items are split: n^2 ordered or n (n + 1) / 2 unordered pairs."""
        n = self.order
        return n * n if self.split == "ordered" else n * (n + 1) // 2

    @property
    def train_items(self) -> int:
        """How many of them are trained on."""
        return round(self.frac * self.items)

    @property
    def train_mask(self) -> Bool[Array, "n n"]:
        """True at the ordered pairs that are trained on: a uniformly random choice of the items."""
        n = self.order
        chosen = np.zeros(self.items, bool)
        chosen[_stream(self.split_seed, _SPLIT).permutation(self.items)[: self.train_items]] = True
        if self.split == "ordered":
            return chosen.reshape(n, n)
        mask = np.zeros((n, n), bool)
        mask[np.triu_indices(n)] = chosen
        return mask | mask.T


def train_masks(task: CayleyTask, seeds: Sequence[int]) -> Bool[Array, "seeds n n"]:
    """The training mask of each seed, which takes the place of the task's `split_seed`."""
    if len(seeds) == 0:
        raise BadInput("At least one seed is needed.")
    return np.stack([replace(task, split_seed=int(seed)).train_mask for seed in seeds])


def stacked_labels(task: CayleyTask, count: int) -> Int32[Array, "count n n"]:
    """The table, once for each of `count` networks."""
    if count < 1:
        raise BadInput(f"At least one network is needed, not {count}.")
    return np.repeat(task.labels[None], count, axis=0)


def permuted_labels(task: CayleyTask, seeds: Sequence[int]) -> Int32[Array, "seeds n n"]:
    """A negative control: the n^2 answers dealt to the pairs at random, anew for each seed.

    Every answer stays as frequent as it was; what is gone is the group.
    """
    if len(seeds) == 0:
        raise BadInput("At least one seed is needed.")
    for seed in seeds:
        _check_seed(seed)
    flat, shape = task.labels.reshape(-1), task.labels.shape
    return np.stack([_stream(int(s), _SHUFFLE).permutation(flat).reshape(shape) for s in seeds])


def _check_seed(seed: int) -> None:
    if not 0 <= seed < 2**32:
        raise BadInput(f"A seed must be at least 0 and below 2^32, not {seed}.")


def _stream(seed: int, stream: int) -> np.random.Generator:
    return np.random.default_rng([stream, seed])
