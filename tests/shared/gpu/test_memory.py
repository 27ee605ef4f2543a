"""Seeds fitted to memory: the program's own numbers, sequential blocks, out-of-memory errors."""

import jax
import jax.monitoring
import jax.numpy as jnp
import numpy as np
import pytest

from shared.experiment.errors import ExperimentError
from shared.gpu import memory
from shared.gpu.memory import (
    Footprint,
    default_budget,
    footprint,
    is_out_of_memory,
    over_seeds_fitted,
    program_bytes,
)
from shared.gpu.seeds import layout, program, seed_keys

TWO = jax.devices("cpu")[:2]
ONE = TWO[:1]
ROW = 1000  # floats of one seed's state
SCRATCH = 200  # bytes that a compiler may want for one sum


def add(state):
    """4 ROW bytes in, the same 4 ROW bytes out (donated), and one number: their sum."""
    x = state["x"] + 1
    return {"x": x}, {"sum": x.sum()}


def initial(seeds: int):
    return {"x": np.arange(seeds, dtype=np.float32)[:, None] + np.zeros(ROW, np.float32)}


def assert_added(out, seeds: int, times: int = 1):
    state, metrics = out
    np.testing.assert_array_equal(state["x"], initial(seeds)["x"] + times)
    np.testing.assert_array_equal(metrics["sum"], ROW * (np.arange(seeds) + times))


@pytest.fixture
def blocks(monkeypatch):
    """The sizes of the blocks that run, in order."""
    sizes = []
    original = memory._run_block

    def run_block(programs, state, where):
        sizes.append(where.seeds)
        return original(programs, state, where)

    monkeypatch.setattr(memory, "_run_block", run_block)
    return sizes


def out_of_memory_above(seeds, monkeypatch):
    """Devices on which more than `seeds` at once cannot be allocated."""
    original = memory._run_block

    def run_block(programs, state, where):
        if where.per_device > seeds:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating.")
        return original(programs, state, where)

    monkeypatch.setattr(memory, "_run_block", run_block)


def test_bytes_of_a_program_by_hand():
    compiled = program(add, layout(3, ONE)).lower(jax.eval_shape(lambda: initial(3))).compile()
    # The state is donated, so it counts once; then three metrics, and scratch for three sums.
    by_hand = 3 * 4 * ROW + 3 * 4
    assert by_hand <= program_bytes(compiled) <= by_hand + 3 * SCRATCH


def test_footprint_is_the_line_through_one_and_two_seeds():
    line = footprint(add, initial(5), ONE[0])
    assert 4 * ROW <= line.per_seed <= 4 * ROW + SCRATCH
    assert line.fixed <= 100
    assert line.total(3) == line.fixed + 3 * line.per_seed


def test_most_seeds_by_hand():
    line = Footprint(fixed=100, per_seed=30)
    assert [line.most_seeds(b) for b in (0, 99, 129, 130, 160, 189, 190)] == [0, 0, 0, 1, 2, 2, 3]


def test_all_at_once_when_they_fit_compiling_one_program(blocks):
    compiled = []

    def listen(event: str, *_: object, **__: object) -> None:
        if event.endswith("backend_compile_duration"):
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    notes = []
    run = over_seeds_fitted(add, devices=ONE, budget_bytes=10**9, note=notes.append)
    start = jax.device_put(initial(5), ONE[0])
    compiled.clear()
    out = run(start)
    assert len(compiled) == 1  # asking a program for its memory does not compile it twice
    assert_added(run(out[0]), 5, times=2)
    assert len(compiled) == 1
    assert blocks == [5, 5]
    assert notes == []


def test_fake_budget_splits_into_blocks(blocks):
    notes = []
    budget = 2 * (4 * ROW + SCRATCH)  # two seeds, not three
    run = over_seeds_fitted(add, devices=ONE, budget_bytes=budget, note=notes.append)
    state, _ = run(initial(5))
    assert_added(run(state), 5, times=2)
    assert blocks == [2, 2, 1, 2, 2, 1]
    (note,) = notes
    assert note.startswith("5 seeds at once need")
    assert note.endswith("running 2 at a time.")


def test_fake_budget_counts_per_device(blocks):
    budget = 2 * (4 * ROW + SCRATCH)
    run = over_seeds_fitted(add, devices=TWO, budget_bytes=budget, note=lambda _: None)
    assert_added(run(initial(7)), 7)
    assert blocks == [4, 3]


def test_one_seed_over_the_budget_is_refused_in_a_sentence():
    run = over_seeds_fitted(add, devices=ONE, budget_bytes=ROW)
    with pytest.raises(ExperimentError, match=r"One seed needs .* may be used: choose a smaller"):
        run(initial(2))


def test_temporaries_that_do_not_grow_in_a_line_are_measured_again(monkeypatch):
    """The line promises 4 seeds; the program for 4 says that it needs too much, that for 2 fits."""
    told = {8: 1000, 1: 100, 2: 200, 4: 900}
    monkeypatch.setattr(memory, "_needed", lambda jitted, state, where: told[where.seeds])
    notes = []
    most = memory.fit_seeds(add, lambda _: None, initial(8), layout(8, ONE), 450, notes.append)
    assert most == 2


def test_out_of_memory_halves_and_keeps_the_state(monkeypatch, blocks):
    out_of_memory_above(2, monkeypatch)
    notes = []
    run = over_seeds_fitted(add, devices=ONE, budget_bytes=10**9, note=notes.append)
    state, _ = run(initial(7))  # 7 -> 4 -> 2
    assert_added(run(state), 7, times=2)
    assert blocks == [2, 2, 2, 1] * 2
    assert [note.rsplit(":", 1)[1] for note in notes] == [
        " running 4 at a time.",
        " running 2 at a time.",
    ]


def test_out_of_memory_later_on_keeps_the_state(monkeypatch, blocks):
    run = over_seeds_fitted(add, devices=ONE, budget_bytes=10**9, note=lambda _: None)
    state, _ = run(initial(4))
    out_of_memory_above(2, monkeypatch)
    assert_added(run(state), 4, times=2)
    assert blocks == [4, 2, 2]


def test_out_of_memory_inside_the_device_restores_the_donated_state():
    """The error comes while the program runs, when its argument is already given away."""
    calls = []

    def allocate(_):
        calls.append(len(calls))
        if len(calls) == 1:
            raise MemoryError("RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes.")
        return np.float32(1)

    def step(state):
        number = jax.ShapeDtypeStruct((), np.float32)
        one = jax.pure_callback(allocate, number, state["n"], vmap_method="sequential")
        return {"n": state["n"] + one, "key": state["key"]}, {"n": state["n"]}

    run = over_seeds_fitted(step, devices=ONE, budget_bytes=10**9, note=lambda _: None)
    keys = seed_keys(range(2), "memory")
    numbers = np.asarray(jax.random.key_data(keys))
    given = {"n": jnp.zeros(2), "key": keys}
    state, metrics = run(given)
    assert given["n"].is_deleted()
    assert state["n"].tolist() == [1, 1]
    assert metrics["n"].tolist() == [0, 0]
    np.testing.assert_array_equal(jax.random.key_data(state["key"]), numbers)


def test_a_state_lost_to_a_late_error_is_said_to_be_lost(monkeypatch):
    run = over_seeds_fitted(add, devices=ONE, budget_bytes=10**9, note=lambda _: None)
    state, _ = run(initial(2))

    def run_block(programs, state, where):
        jax.tree.map(lambda leaf: leaf.delete(), state)
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating.")

    monkeypatch.setattr(memory, "_run_block", run_block)
    with pytest.raises(ExperimentError, match="resume from the last checkpoint"):
        run(state)


def test_one_seed_out_of_memory_is_said_in_a_sentence(monkeypatch):
    out_of_memory_above(0, monkeypatch)
    run = over_seeds_fitted(add, devices=ONE, budget_bytes=10**9, note=lambda _: None)
    with pytest.raises(ExperimentError, match="One seed alone runs out of device memory"):
        run(initial(2))


def test_other_errors_pass_unchanged(monkeypatch):
    def run_block(programs, state, where):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")

    monkeypatch.setattr(memory, "_run_block", run_block)
    with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
        over_seeds_fitted(add, devices=ONE, budget_bytes=10**9)(initial(2))


def test_a_real_out_of_memory_error_is_recognised():
    with pytest.raises(jax.errors.JaxRuntimeError) as caught:  # 256 TiB
        jax.block_until_ready(jax.jit(lambda x: x + jnp.zeros(2**46, np.float32))(np.float32(1)))
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(ValueError("RESOURCE_EXHAUSTED"))


def test_default_budget_shares_the_machine_among_cpu_devices():
    assert default_budget(TWO) == pytest.approx(default_budget(ONE) / 2, abs=1)
    assert 2**28 < default_budget(ONE) < 2**50


class Accelerator:
    """A device that reports 100 bytes to its allocator."""

    platform = "gpu"

    def memory_stats(self):
        return {"bytes_limit": 100, "bytes_in_use": 60}


def test_default_budget_of_an_accelerator_ignores_what_is_in_use():
    assert default_budget([Accelerator()]) == 90
