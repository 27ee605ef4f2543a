"""Replay: the last C transitions on the device, one float32 row each, preallocated.

    layout = Layout(obs=17, action=6, capacity=1_000_000)
    store = Uniform(layout)
    print(describe(store))                  # 1,000,000 transitions of 42 numbers: 168 MB
    buffer = store.make(budget_bytes=2 * 10**9)
    buffer = store.insert(buffer, batch)    # over the oldest ones
    batch, index = store.sample(buffer, key, 256)

A *store* says how transitions are drawn: `Uniform`, `Prioritised` (LAP) or `Geometric`; it is
static in compiled functions, its *buffer* is a pytree of arrays. A buffer must hold a transition
before it is sampled. To keep a buffer in place, donate it to the function that changes it.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from shared.experiment.errors import BadInput
from shared.rl import sumtree


class Batch(NamedTuple):
    """Transitions, a batch axis first; NumPy arrays will do where they are inserted.

    Attributes:
        obs, action, next_obs: next_obs is the true next observation, also where the episode ended
            there; never that of the next episode. action: in [-1, 1].
        terminated: 1 where nothing follows next_obs; 0 where a time limit merely cut off.
        extras: further columns by name (`time`: steps since the episode began).
    """

    obs: Float[Array, "batch o"]
    action: Float[Array, "batch a"]
    next_obs: Float[Array, "batch o"]
    reward: Float[Array, " batch"]
    terminated: Float[Array, " batch"]
    extras: dict[str, Any]


@dataclass(frozen=True)
class Layout:
    """The columns of a row, and how many rows.

    Attributes:
        obs, action: their widths. capacity: rows.
        extras: further columns, (name, width) each; width 1 comes back without its axis.
    """

    obs: int
    action: int
    capacity: int
    extras: tuple[tuple[str, int], ...] = ()

    def __post_init__(self) -> None:
        sizes = {"obs": self.obs, "action": self.action, "capacity": self.capacity}
        for name, size in (sizes | {f"extra {n!r}": width for n, width in self.extras}).items():
            if size < 1:
                raise BadInput(f"{name} of a replay is at least 1, not {size}.")
        names = [name for name, _ in self.extras]
        if len(set(names)) < len(names):
            raise BadInput(f"Each extra of a replay has a name of its own, not {names}.")

    @property
    def width(self) -> int:
        """Numbers in a row."""
        return 2 * self.obs + self.action + 2 + sum(width for _, width in self.extras)

    @property
    def nbytes(self) -> int:
        """Bytes of all rows."""
        return 4 * self.capacity * self.width

    def pack(self, batch: Batch) -> Float[Array, "batch width"]:
        """Rows of a batch; a column that is missing, unknown or of another width is refused."""
        if batch.extras.keys() != dict(self.extras).keys():
            raise BadInput(
                f"The extras of this replay are {sorted(dict(self.extras))}, "
                f"the batch has {sorted(batch.extras)}."
            )
        n = batch.reward.shape[0]
        given: dict[str, tuple[Any, int]] = {
            "obs": (batch.obs, self.obs),
            "action": (batch.action, self.action),
            "next_obs": (batch.next_obs, self.obs),
            "reward": (batch.reward, 1),
            "terminated": (batch.terminated, 1),
        } | {name: (batch.extras[name], width) for name, width in self.extras}
        columns = []
        for name, (values, width) in given.items():
            if math.prod(values.shape) != n * width:
                raise BadInput(
                    f"{name} of {n} transitions has the shape {(n, width)}, not {values.shape}."
                )
            columns.append(jnp.asarray(values, jnp.float32).reshape(n, width))
        return jnp.concatenate(columns, axis=1)

    def unpack(self, rows: Float[Array, "batch width"]) -> Batch:
        """The inverse of `pack`."""
        widths = [self.obs, self.action, self.obs, 1, 1, *(width for _, width in self.extras)]
        parts = jnp.split(rows, np.cumsum(widths)[:-1], axis=1)
        obs, action, next_obs, reward, terminated, *extras = parts
        named = {
            name: part[:, 0] if width == 1 else part
            for (name, width), part in zip(self.extras, extras, strict=True)
        }
        return Batch(obs, action, next_obs, reward[:, 0], terminated[:, 0], named)


class Ring(NamedTuple):
    """The rows, and how many transitions were ever inserted."""

    rows: Float[Array, "capacity width"]
    inserted: Int[Array, ""]


@runtime_checkable
class Store(Protocol):
    """How transitions are kept and drawn; hashable."""

    @property
    def layout(self) -> Layout:
        """The columns."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes of a buffer."""
        ...

    def make(self, budget_bytes: int | None = None, copies: int = 1) -> Any:
        """An empty buffer; refused if `copies` (one per seed) exceed the budget."""
        ...

    def insert(self, buffer: Any, batch: Batch) -> Any:
        """The buffer with a block of transitions over the oldest ones."""
        ...

    def sample(self, buffer: Any, key: Array, n: int) -> tuple[Batch, Array]:
        """`n` transitions with replacement, and their rows."""
        ...

    def feedback(self, buffer: Any, index: Array, td: Array | None) -> Any:
        """The buffer, told the |TD| of the transitions that were drawn last."""
        ...


def megabytes(count: int) -> str:
    """Bytes as text: `168 MB`."""
    return f"{count / 1e6:.3g} MB" if count < 1e9 else f"{count / 1e9:.3g} GB"


def describe(store: Store, copies: int = 1) -> str:
    """The size of `copies` buffers in words."""
    rows = f"{store.layout.capacity:,} transitions of {store.layout.width} numbers"
    times = f"{copies} x " if copies > 1 else ""
    return f"{times}{rows}: {megabytes(copies * store.nbytes)}"


def check_budget(store: Store, budget_bytes: int | None, copies: int = 1) -> None:
    """Refuse buffers (one per seed) that together exceed a budget; None allows all."""
    if copies < 1:
        raise BadInput(f"copies of a replay are at least 1, not {copies}.")
    if budget_bytes is not None and copies * store.nbytes > budget_bytes:
        fits = budget_bytes * store.layout.capacity // (copies * store.nbytes)
        raise BadInput(
            f"A replay of {describe(store, copies)} is more than the {megabytes(budget_bytes)} "
            f"allowed; a capacity of {fits:,} would fit."
        )


def _make_ring(layout: Layout) -> Ring:
    return Ring(jnp.zeros((layout.capacity, layout.width), jnp.float32), jnp.int32(0))


def _insert(ring: Ring, batch: Batch, layout: Layout) -> tuple[Ring, Int[Array, " n"]]:
    rows = layout.pack(batch)
    n = rows.shape[0]
    if not 1 <= n <= layout.capacity:
        raise BadInput(
            f"A block of 1 to {layout.capacity} transitions goes into a replay of "
            f"{layout.capacity}, not {n}."
        )
    slots = (ring.inserted + jnp.arange(n, dtype=jnp.int32)) % layout.capacity
    filled = ring.rows.at[slots].set(rows, unique_indices=True)
    return Ring(filled, ring.inserted + n), slots


def filled(ring: Ring) -> Int[Array, ""]:
    """How many rows hold a transition."""
    return jnp.minimum(ring.inserted, ring.rows.shape[0])


@dataclass(frozen=True)
class Uniform:
    """Every transition is as likely as any other."""

    layout: Layout

    @property
    def nbytes(self) -> int:
        """Bytes of a buffer."""
        return self.layout.nbytes

    def make(self, budget_bytes: int | None = None, copies: int = 1) -> Ring:
        """See `Store`."""
        check_budget(self, budget_bytes, copies)
        return _make_ring(self.layout)

    def insert(self, buffer: Ring, batch: Batch) -> Ring:
        """See `Store`."""
        return _insert(buffer, batch, self.layout)[0]

    def sample(
        self, buffer: Ring, key: Key[Array, ""], n: int
    ) -> tuple[Batch, Int[Array, " batch"]]:
        """See `Store`."""
        index = jax.random.randint(key, (n,), 0, jnp.maximum(filled(buffer), 1))
        return self.layout.unpack(buffer.rows[index]), index

    def feedback(self, buffer: Ring, index: Array, td: Array | None) -> Ring:
        """Nothing depends on errors."""
        return buffer


class Weighted(NamedTuple):
    """A ring with a weight for every row.

    Attributes:
        most: weight that a new transition gets (LAP). draws: batches whose errors came back.
    """

    ring: Ring
    tree: sumtree.Tree
    most: Float[Array, ""]
    draws: Int[Array, ""]


def _make_weighted(layout: Layout) -> Weighted:
    tree = sumtree.make_tree(layout.capacity)
    return Weighted(_make_ring(layout), tree, jnp.float32(1), jnp.int32(0))


def _weighted_bytes(layout: Layout) -> int:
    return layout.nbytes + 4 * sum(sumtree.level_sizes(layout.capacity))


@dataclass(frozen=True)
class Prioritised:
    """LAP (Fujimoto et al. 2020): a transition's weight is max(|TD|, least)^alpha at its last draw.

    A new transition gets the largest weight so far, which is taken afresh from the buffer every
    `renew` batches (as TD7 does with its target networks; 0 for never).
    """

    layout: Layout
    alpha: float = 0.4
    least: float = 1.0
    renew: int = 250

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise BadInput(f"alpha of LAP lies in [0, 1], not {self.alpha}.")
        if not self.least > 0:
            raise BadInput(f"least of LAP is above 0, not {self.least}.")
        if self.renew < 0:
            raise BadInput(f"renew of LAP is at least 0 batches, not {self.renew}.")

    @property
    def nbytes(self) -> int:
        """Bytes of a buffer."""
        return _weighted_bytes(self.layout)

    def make(self, budget_bytes: int | None = None, copies: int = 1) -> Weighted:
        """See `Store`."""
        check_budget(self, budget_bytes, copies)
        return _make_weighted(self.layout)

    def insert(self, buffer: Weighted, batch: Batch) -> Weighted:
        """See `Store`."""
        ring, slots = _insert(buffer.ring, batch, self.layout)
        weights = jnp.broadcast_to(buffer.most, slots.shape)
        return buffer._replace(ring=ring, tree=sumtree.set_weights(buffer.tree, slots, weights))

    def sample(
        self, buffer: Weighted, key: Key[Array, ""], n: int
    ) -> tuple[Batch, Int[Array, " batch"]]:
        """See `Store`."""
        index = sumtree.draw_indices(buffer.tree, key, n)
        return self.layout.unpack(buffer.ring.rows[index]), index

    def feedback(
        self, buffer: Weighted, index: Int[Array, " batch"], td: Float[Array, " batch"] | None
    ) -> Weighted:
        """See `Store`; the learner's stages must report `td`, a number per transition."""
        if td is None:
            raise BadInput("A prioritised replay needs a learner that reports td.")
        weights = self.weight(td)
        tree = sumtree.set_weights(buffer.tree, index, weights)
        most = jnp.maximum(buffer.most, jnp.max(weights))
        draws = buffer.draws + 1
        if self.renew:
            due = draws % self.renew == 0
            most = jax.lax.cond(due, lambda: jnp.max(tree[0]), lambda: most)
        return buffer._replace(tree=tree, most=most, draws=draws)

    def weight(self, td: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
        """max(|TD|, least)^alpha."""
        return jnp.maximum(jnp.abs(td), self.least) ** self.alpha


@dataclass(frozen=True)
class Geometric:
    """Weights gamma^t, t the steps since the episode began (extra `time`).

    Draws thus follow the discounted occupancy of the behaviour that filled the buffer.
    """

    layout: Layout
    gamma: float = 0.99

    def __post_init__(self) -> None:
        if not 0 < self.gamma <= 1:
            raise BadInput(f"gamma of the weights gamma^t lies in (0, 1], not {self.gamma}.")
        if dict(self.layout.extras).get("time") != 1:
            raise BadInput('Weights gamma^t need the extra ("time", 1) in the replay\'s layout.')

    @property
    def nbytes(self) -> int:
        """Bytes of a buffer."""
        return _weighted_bytes(self.layout)

    def make(self, budget_bytes: int | None = None, copies: int = 1) -> Weighted:
        """See `Store`."""
        check_budget(self, budget_bytes, copies)
        return _make_weighted(self.layout)

    def insert(self, buffer: Weighted, batch: Batch) -> Weighted:
        """See `Store`."""
        ring, slots = _insert(buffer.ring, batch, self.layout)
        weights = self.gamma ** jnp.asarray(batch.extras["time"], jnp.float32)
        return buffer._replace(ring=ring, tree=sumtree.set_weights(buffer.tree, slots, weights))

    def sample(
        self, buffer: Weighted, key: Key[Array, ""], n: int
    ) -> tuple[Batch, Int[Array, " batch"]]:
        """See `Store`."""
        index = sumtree.draw_indices(buffer.tree, key, n)
        return self.layout.unpack(buffer.ring.rows[index]), index

    def feedback(self, buffer: Weighted, index: Array, td: Array | None) -> Weighted:
        """Nothing depends on errors."""
        return buffer
