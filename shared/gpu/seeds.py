"""Many seeds of one training loop at once: vmapped on a device, sharded over several.

A paper writes its loop for one seed; the seeds are the first axis of everything around it:

    def chunk(state):                                   # one seed: state -> (state, metrics)
        return jax.lax.scan(update, state, length=1000)

    keys = seed_keys(task.seeds, "init")                # [seeds]
    state, metrics = over_seeds(chunk)(jax.vmap(init)(keys))

What a seed computes depends on its number only, never on the seeds beside it: bit for bit in
integer, elementwise and random arithmetic, up to rounding in products and sums, which XLA may order
differently in a batch.
"""

import functools
import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding
from jaxtyping import Key

State = TypeVar("State")
Metrics = TypeVar("Metrics")
Device: TypeAlias = Any  # jax.Device, which type checkers take for a variable
Step = Callable[[State], tuple[State, Metrics]]


@dataclass(frozen=True)
class Layout:
    """How `seeds` lie on `devices`: `per_device` on each, the last device filled up by repeating.

    Only as many devices are used as that takes: 5 seeds on 4 devices are 2 + 2 + 1 on three.
    """

    seeds: int
    per_device: int
    devices: tuple[Device, ...]

    @property
    def padding(self) -> int:
        """How many repeated seeds fill up the last device."""
        return self.per_device * len(self.devices) - self.seeds

    @property
    def mesh(self) -> Mesh:
        """The devices as a mesh with the one axis `seed`."""
        return Mesh(np.array(self.devices), ("seed",))

    @property
    def sharding(self) -> NamedSharding | SingleDeviceSharding:
        """Where the state rests between calls: split by seed, or whole on each device if padded."""
        if len(self.devices) == 1:
            return SingleDeviceSharding(self.devices[0])
        return NamedSharding(self.mesh, PartitionSpec(None if self.padding else "seed"))


def layout(seeds: int, devices: Sequence[Device] | None = None) -> Layout:
    """Spread `seeds` evenly over `devices` (None: all that this process has)."""
    if seeds < 1:
        raise ValueError(f"At least one seed is needed; got {seeds}.")
    available = tuple(jax.local_devices() if devices is None else devices)
    if not available:
        raise ValueError("At least one device is needed; got none.")
    per_device = math.ceil(seeds / len(available))
    return Layout(seeds, per_device, available[: math.ceil(seeds / per_device)])


def over_seeds(
    step: Step[State, Metrics], *, devices: Sequence[Device] | None = None
) -> Step[State, Metrics]:
    """The compiled `step` over states that are stacked on a leading seed axis.

    One seed is not vmapped (on a CPU the batch axis costs time); several are; several devices share
    the seeds evenly and exchange nothing. A number of seeds that the devices do not divide costs
    an exchange of the state per call, because the last device is filled up with repeated seeds.

    Args:
        step: one seed's state (a pytree of arrays and typed keys) -> (state, metrics).
        devices: None for all local devices of JAX's default platform.

    Returns:
        stacked state -> (stacked state, stacked metrics). The state passed in is donated: use the
        returned one. Compiles once per number of seeds.

    Raises:
        ValueError: the leaves of a state differ in their first axis.
    """

    @functools.cache
    def compiled(where: Layout) -> Any:
        return program(step, where)

    def run(state: State) -> tuple[State, Metrics]:
        where = layout(count_seeds(state), devices)
        return compiled(where)(jax.device_put(state, where.sharding))

    return run


def program(step: Step[State, Metrics], where: Layout) -> Any:
    """`step` over the seeds as `where` lays them out: a jitted function that donates its state.

    Its argument must rest as `where.sharding` says.
    """
    run = jax.vmap(step) if where.per_device > 1 else _without_axis(step)
    if len(where.devices) == 1:
        return jax.jit(run, donate_argnums=0)
    split = PartitionSpec("seed")
    # Nothing crosses the devices, so there is no replication to check (check_vma), and loops over
    # constants need no annotations.
    run = jax.shard_map(run, mesh=where.mesh, in_specs=split, out_specs=split, check_vma=False)
    if where.padding:
        run = _padded(run, where)
    return jax.jit(run, donate_argnums=0, out_shardings=where.sharding)


def count_seeds(state: Any) -> int:
    """The length of the first axis, which all leaves of a stacked state share."""
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(state)]
    lengths = {shape[0] if shape else None for shape in shapes}
    if len(lengths) != 1 or None in lengths:
        raise ValueError(
            "Every leaf of the state needs the seeds as its first axis; the shapes are "
            f"{sorted(set(shapes))}."
        )
    return shapes[0][0]


def stack(trees: Sequence[State]) -> State:
    """Trees of one structure as one tree, each leaf with a new first axis."""
    if not trees:
        raise ValueError("At least one tree is needed; got none.")

    def stacked(*leaves: Any) -> jax.Array:
        leaf = jnp.stack([jnp.asarray(x) for x in leaves])
        # Python numbers are weakly typed, what a step returns is not: it would compile twice.
        return jax.lax.convert_element_type(leaf, leaf.dtype)

    return jax.tree.map(stacked, *trees)


def unstack(tree: State) -> list[State]:
    """The inverse of `stack`."""
    return [jax.tree.map(lambda leaf, i=i: leaf[i], tree) for i in range(count_seeds(tree))]


def seed_keys(seeds: Sequence[int], stream: str) -> Key[jax.Array, " seeds"]:
    """One key per seed for the named stream of randomness (`init`, `environment`, ...).

    A key depends on its seed and on the stream's name alone, so neither the grouping of seeds nor
    a stream that is added later changes it.

    Raises:
        ValueError: a seed outside [0, 2^32).
    """
    wrong = [seed for seed in seeds if not 0 <= seed < 2**32]
    if wrong:
        raise ValueError(f"A seed must be at least 0 and below 2^32; got {wrong[0]}.")
    name = np.uint32(int.from_bytes(hashlib.sha256(stream.encode()).digest()[:4], "big"))

    def key(seed: jax.Array) -> jax.Array:
        # The generator is named, so that no configuration changes it.
        return jax.random.fold_in(jax.random.key(seed, impl="threefry2x32"), name)

    return jax.vmap(key)(jnp.asarray(np.array(seeds, np.uint32)))


def _without_axis(step: Step[State, Metrics]) -> Step[State, Metrics]:
    """`step` on a stack of exactly one state."""

    def run(state: State) -> tuple[State, Metrics]:
        out = step(jax.tree.map(lambda leaf: jnp.squeeze(leaf, 0), state))
        return jax.tree.map(lambda leaf: jnp.expand_dims(leaf, 0), out)

    return run


def _padded(run: Step[State, Metrics], where: Layout) -> Step[State, Metrics]:
    """`run` on states filled up to a multiple of the devices; what was added is dropped again."""
    fill = np.minimum(np.arange(where.seeds + where.padding), where.seeds - 1)

    def padded(state: State) -> tuple[State, Metrics]:
        out = run(jax.tree.map(lambda leaf: leaf[fill], state))
        return jax.tree.map(lambda leaf: leaf[: where.seeds], out)

    return padded
