"""Seeds side by side give what the one-by-one loop gives, whatever their number and devices."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from shared.gpu.seeds import layout, over_seeds, program, seed_keys, stack, unstack

CPUS = jax.devices("cpu")
TWO = CPUS[:2]


def walk(state):
    """Integers, a typed key and elementwise floats: nothing that XLA may re-order."""

    def move(state, _):
        key, step_key = jax.random.split(state["key"])
        x = jnp.tanh(state["x"]) + jax.random.normal(step_key, (3,))
        return {"key": key, "x": x, "n": state["n"] + 1}, x

    state, xs = jax.lax.scan(move, state, length=4)
    return state, {"x": xs[:, 0], "n": state["n"]}


def count(state):
    return {"n": state["n"] + 1}, {"n": state["n"]}


def states(n: int):
    """NumPy where possible: each operation on JAX arrays outside a jit compiles."""
    return {
        "key": seed_keys(range(n), "walk"),
        "x": np.arange(n, dtype=np.float32)[:, None] / 7 + np.zeros(3, np.float32),
        "n": 10 * np.arange(n, dtype=np.int32),
    }


def plain(tree):
    """Keys as their numbers, arrays as NumPy."""

    def array(x):
        typed = jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
        return np.asarray(jax.random.key_data(x) if typed else x)

    return jax.tree.map(array, tree)


def assert_same(a, b):
    jax.tree.map(np.testing.assert_array_equal, plain(a), plain(b))


@pytest.fixture(scope="module")
def one_by_one():
    """The reference: each seed alone, two calls of the jitted step."""
    step = jax.jit(walk)
    done = []
    for seed in range(4):
        first, metrics_1 = step(jax.tree.map(lambda x, seed=seed: x[seed], states(4)))
        last, metrics_2 = step(first)
        done.append(plain((last, metrics_1, metrics_2)))
    return done


# One device unbatched and batched; two devices with one seed each, filled up, with two seeds each.
@pytest.mark.parametrize(("n", "devices"), [(1, 1), (3, 1), (2, 2), (3, 2), (4, 2)])
def test_equals_the_loop_bit_for_bit(n, devices, one_by_one):
    run = over_seeds(walk, devices=TWO[:devices])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a donation that cannot be used warns
        state, metrics_1 = run(states(n))
        state, metrics_2 = run(state)
    expected = jax.tree.map(lambda *leaves: np.stack(leaves), *one_by_one[:n])
    assert_same((state, metrics_1, metrics_2), expected)


def test_products_agree_to_rounding():
    def step(w):
        w = jnp.tanh(w @ w)
        return w, {"sum": w.sum()}

    w = np.random.default_rng(0).normal(size=(3, 8, 8)).astype(np.float32)
    alone = [jax.jit(step)(w[i]) for i in range(3)]
    state, metrics = over_seeds(step, devices=TWO)(w)
    np.testing.assert_allclose(state, [s for s, _ in alone], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(metrics["sum"], [m["sum"] for _, m in alone], rtol=1e-5, atol=1e-5)


def test_state_is_split_over_the_devices_and_donated():
    run = over_seeds(count, devices=TWO)
    state, metrics = run({"n": np.zeros((4, 2), np.int32)})
    for leaf in (state["n"], metrics["n"]):
        assert leaf.sharding.device_set == set(TWO)
        assert {shard.data.shape[0] for shard in leaf.addressable_shards} == {2}
    run(state)
    assert state["n"].is_deleted()


def test_numpy_states_are_not_written_over():
    given = {"n": np.zeros((1, 2**16), np.int32)}  # large enough to be lent to XLA without a copy
    run = over_seeds(count, devices=TWO[:1])
    state, _ = run(run(given)[0])
    assert given["n"].max() == 0
    assert state["n"].min() == 2


def test_metrics_may_be_python_numbers_and_the_state_a_mere_key():
    def step(key):
        return jax.random.fold_in(key, 1), {"one": 1.0, "none": None}

    for n in (1, 2):
        keys, metrics = over_seeds(step, devices=TWO[:1])(seed_keys(range(n), "walk"))
        assert keys.shape == (n,)
        np.testing.assert_array_equal(metrics["one"], np.ones(n))


def test_one_seed_is_not_vmapped():
    def product(x):
        return x @ x, {}

    def text(n):
        shape = jax.ShapeDtypeStruct((n, 3, 3), np.float32)
        return program(product, layout(n, TWO[:1])).lower(shape).as_text()

    assert "batching_dims" not in text(1)
    assert "batching_dims" in text(2)


@pytest.mark.parametrize(
    ("seeds", "available", "used", "per_device", "padding"),
    [
        (1, 4, 1, 1, 0),
        (3, 4, 3, 1, 0),
        (4, 4, 4, 1, 0),
        (5, 4, 3, 2, 1),
        (8, 4, 4, 2, 0),
        (10, 4, 4, 3, 2),
        (7, 1, 1, 7, 0),
    ],
)
def test_layout_uses_no_more_devices_than_needed(seeds, available, used, per_device, padding):
    where = layout(seeds, [object()] * available)
    assert (len(where.devices), where.per_device, where.padding) == (used, per_device, padding)


def test_bad_states_are_refused_in_a_sentence():
    run = over_seeds(walk, devices=TWO)
    with pytest.raises(ValueError, match="seeds as its first axis; the shapes are"):
        run({"x": jnp.zeros((2, 3)), "n": jnp.zeros(3)})
    with pytest.raises(ValueError, match="seeds as its first axis"):
        run({"x": jnp.zeros(()), "n": jnp.zeros(())})
    with pytest.raises(ValueError, match="seeds as its first axis"):
        run({})
    with pytest.raises(ValueError, match="At least one seed"):
        run({"x": jnp.zeros((0, 3))})
    with pytest.raises(ValueError, match="At least one device"):
        layout(2, [])
    with pytest.raises(ValueError, match="At least one tree"):
        stack([])


def test_stack_and_unstack_are_inverse():
    stacked = states(3)
    trees = unstack(stacked)
    assert len(trees) == 3
    assert trees[2]["n"] == 20
    assert trees[2]["x"].shape == (3,)
    assert_same(stack(trees), stacked)


def test_stacked_python_numbers_are_typed_like_what_a_step_returns():
    numbers = stack([{"lr": 1.5, "n": 1}, {"lr": 2.5, "n": 2}])
    assert numbers["lr"].tolist() == [1.5, 2.5]
    assert not numbers["lr"].weak_type
    assert not numbers["n"].weak_type
