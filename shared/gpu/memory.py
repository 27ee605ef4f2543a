"""As many seeds at once as fit into the device's memory, the others after them.

A compiled program states what it will allocate (arguments, results, temporaries). If all seeds
together exceed the budget, the programs for one and for two seeds give a straight line, bytes =
fixed + seeds x per_seed, and from it the largest block that fits. Blocks run one after another
while the other seeds rest in the host's memory. Running out of memory all the same halves the
block and runs it again.
"""

import functools
import gc
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from shared.experiment.errors import ExperimentError
from shared.gpu.devices import memory_bytes
from shared.gpu.seeds import Device, Layout, Metrics, State, Step, count_seeds, layout, program

# The allocator fragments, and other programs of the process keep their constants.
USABLE_ON_ACCELERATOR = 0.9
USABLE_ON_CPU = 0.8
Programs = Callable[[Layout], Any]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Footprint:
    """Bytes that a block of seeds takes on one device: fixed + seeds x per_seed."""

    fixed: int
    per_seed: int

    def total(self, seeds: int) -> int:
        """Bytes of a block of `seeds`."""
        return self.fixed + seeds * self.per_seed

    def most_seeds(self, budget_bytes: int) -> int:
        """The largest block within the budget; 0 when not even one seed fits."""
        return max(0, (budget_bytes - self.fixed) // max(1, self.per_seed))


def over_seeds_fitted(
    step: Step[State, Metrics],
    *,
    devices: Sequence[Device] | None = None,
    budget_bytes: int | None = None,
    note: Callable[[str], None] = log.warning,
) -> Step[State, Metrics]:
    """`over_seeds`, in as many sequential blocks as the memory demands.

    Args:
        step: one seed's state -> (state, metrics); pure, as it runs again on the same state after
            running out of memory.
        devices: None for all local devices of JAX's default platform.
        budget_bytes: of one device; None for 90 % of what JAX's allocator may take on a GPU, and
            on CPUs for 80 % of the machine's memory, shared among the devices.
        note: told in a sentence when seeds are split into blocks.

    Returns:
        As from `over_seeds`, the state donated likewise. Where seeds are split, states and metrics
        rest in the host's memory between calls.

    Raises:
        ExperimentError: not even one seed fits; or a block that had fitted before ran out of memory
            and took its state along (so resume from the checkpoint, with fewer seeds at once).
    """
    programs = functools.cache(functools.partial(program, step))
    proven: set[Layout] = set()
    limits: dict[int, int] = {}  # seeds -> most seeds at once on a device

    def run(state: State) -> tuple[State, Metrics]:
        seeds = count_seeds(state)
        available = tuple(jax.local_devices() if devices is None else devices)
        whole = layout(seeds, available)
        if seeds not in limits:
            budget = default_budget(available) if budget_bytes is None else budget_bytes
            limits[seeds] = fit_seeds(step, programs, state, whole, budget, note)
        while True:
            split = limits[seeds] < whole.per_device
            state, spare = _secured(state, _host(available), split, whole in proven)
            try:
                if split:
                    return _in_blocks(programs, state, limits[seeds], available)
                done = _run_block(programs, state, whole)
                proven.add(whole)
                return done
            except jax.errors.JaxRuntimeError as error:
                if not is_out_of_memory(error):
                    raise
            state = _survivor(state, spare)
            limits[seeds] = _halved(min(limits[seeds], whole.per_device), note)
            gc.collect()  # the failed attempt's buffers, before the next needs their room

    return run


def fit_seeds(
    step: Step[State, Metrics],
    programs: Programs,
    state: State,
    whole: Layout,
    budget: int | None,
    note: Callable[[str], None],
) -> int:
    """Most seeds at once on each device, by what the programs say that they need.

    Args:
        programs: layout -> jitted program, kept for the run. whole: all seeds at once.
        budget: bytes of one device; None if unknown: all at once then.

    Raises:
        ExperimentError: one seed needs more than the budget.
    """
    if budget is None:
        return whole.per_device
    # The program for all seeds is needed anyway if it fits, and then no other is compiled.
    needed = _needed(programs(whole), state, whole)
    if needed <= budget:
        return whole.per_device
    line = footprint(step, state, whole.devices[0])
    most = min(line.most_seeds(budget), whole.per_device - 1)
    if most < 1:
        raise ExperimentError(
            f"One seed needs {_gib(line.total(1))} of device memory, and {_gib(budget)} may be "
            "used: choose a smaller network, batch or replay memory."
        )
    # Temporaries need not grow in a straight line; the program itself has the last word.
    while most > 1 and _needed(programs(_block(most, whole)), state, _block(most, whole)) > budget:
        most = math.ceil(most / 2)
    note(
        f"{whole.per_device} seeds at once need {_gib(needed)} on each device and {_gib(budget)} "
        f"may be used: running {most} at a time."
    )
    return most


def footprint(step: Step[State, Metrics], state: State, device: Device) -> Footprint:
    """The line through the bytes of the batched programs for one and for two seeds."""
    batched = jax.jit(jax.vmap(step), donate_argnums=0)
    one, two = (_needed(batched, state, Layout(n, n, (device,))) for n in (1, 2))
    per_seed = max(0, two - one)
    return Footprint(fixed=max(0, one - per_seed), per_seed=per_seed)


def program_bytes(compiled: Any) -> int:
    """Bytes a compiled program takes on each device while it runs; 0 if it does not say.

    Arguments + results + temporaries + code; a result that takes a donated argument's place counts
    once.
    """
    found = compiled.memory_analysis()
    if found is None:
        return 0
    return (
        found.argument_size_in_bytes
        + found.output_size_in_bytes
        - found.alias_size_in_bytes
        + found.temp_size_in_bytes
        + found.generated_code_size_in_bytes
    )


def default_budget(devices: Sequence[Device]) -> int | None:
    """Usable bytes of each of `devices`; None if unknown.

    Set by the machine, not by what is free just now, so that a resumed run forms the same blocks.
    """
    total = memory_bytes(devices[0])
    if total is None:
        return None
    if devices[0].platform == "cpu":
        return int(USABLE_ON_CPU * total / len(devices))
    return int(USABLE_ON_ACCELERATOR * total)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether XLA could not allocate."""
    return isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)


def _needed(jitted: Any, state: Any, where: Layout) -> int:
    """Bytes per device of `jitted` for as many seeds, of the kind in `state`, as `where` holds."""

    def abstract(leaf: Any) -> jax.ShapeDtypeStruct:
        shape = (where.seeds, *leaf.shape[1:])
        weak = getattr(leaf, "weak_type", False)
        return jax.ShapeDtypeStruct(shape, leaf.dtype, sharding=where.sharding, weak_type=weak)

    return program_bytes(jitted.lower(jax.tree.map(abstract, state)).compile())


def _block(most: int, whole: Layout) -> Layout:
    return layout(min(most * len(whole.devices), whole.seeds), whole.devices)


def _run_block(programs: Programs, state: Any, where: Layout) -> Any:
    # Waiting here brings an error of the device to light while its cause is still known.
    return jax.block_until_ready(programs(where)(jax.device_put(state, where.sharding)))


def _in_blocks(
    programs: Programs, state: Any, most: int, devices: tuple[Device, ...]
) -> tuple[Any, Any]:
    """Blocks of `most` seeds per device, one after another; results rest on the host."""
    seeds, size = count_seeds(state), most * len(devices)
    done = []
    for start in range(0, seeds, size):
        part = jax.tree.map(lambda leaf, i=start: leaf[i : i + size], state)
        out = _run_block(programs, part, layout(min(size, seeds - start), devices))
        done.append(jax.device_put(out, _host(devices)))
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *done)


def _host(devices: tuple[Device, ...]) -> Device:
    """The device in whose memory seeds wait for their turn: a CPU, if JAX has one."""
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        return devices[0]


def _secured(state: Any, host: Device, split: bool, proven: bool) -> tuple[Any, Any]:
    """The state to run, and what is left of it should that run out of memory.

    Blocks are slices, so a split state is its own spare; it moves to the host and frees the device.
    A state that runs whole is donated: a copy waits on the host until that program has run once.
    """

    def moved(leaf: Any) -> Any:
        if not isinstance(leaf, jax.Array) or leaf.devices() == {host}:
            return leaf
        rested = jax.block_until_ready(jax.device_put(leaf, host, may_alias=False))
        leaf.delete()
        return rested

    if split:
        state = jax.tree.map(moved, state)
        return state, state
    if proven:
        return state, state
    return state, jax.block_until_ready(jax.device_put(state, host, may_alias=False))


def _survivor(state: Any, spare: Any) -> Any:
    """The state to try again with, after freeing the one that failed."""
    if spare is state:
        if any(isinstance(x, jax.Array) and x.is_deleted() for x in jax.tree.leaves(state)):
            raise ExperimentError(
                "The device ran out of memory in a program that had fitted before: resume from the "
                "last checkpoint, with fewer seeds at once."
            )
        return state
    for leaf in jax.tree.leaves(state):
        if isinstance(leaf, jax.Array) and not leaf.is_deleted():
            leaf.delete()
    return spare


def _halved(most: int, note: Callable[[str], None]) -> int:
    if most == 1:
        raise ExperimentError(
            "One seed alone runs out of device memory: choose a smaller network, batch or replay "
            "memory."
        )
    half = math.ceil(most / 2)
    note(f"Out of device memory with {most} seeds at once: running {half} at a time.")
    return half


def _gib(count: int) -> str:
    return f"{count / 2**30:.3g} GiB"
