"""The ring, the tree of sums, and the three ways to draw, against their definitions."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from shared.experiment.errors import BadInput
from shared.rl import sumtree
from shared.rl.replay import Batch, Geometric, Layout, Prioritised, Uniform, describe

LAYOUT = Layout(obs=2, action=1, capacity=8)
TIMED = Layout(obs=2, action=1, capacity=8, extras=(("time", 1), ("goal", 3)))
KEY = jax.random.key(0)


def transitions(first, n, extras=()):
    """Transition i has obs (i, -i), action i / 100, next_obs (i + 1, ...), reward 10 i."""
    i = np.arange(first, first + n, dtype=np.float32)
    columns = {"time": i % 5, "goal": np.stack([i, i, i], 1)}
    return Batch(
        obs=jnp.asarray(np.stack([i, -i], 1)),
        action=jnp.asarray(i[:, None] / 100),
        next_obs=jnp.asarray(np.stack([i + 1, -i - 1], 1)),
        reward=jnp.asarray(10 * i),
        terminated=jnp.asarray((i % 2).astype(np.float32)),
        extras={name: jnp.asarray(columns[name]) for name in extras},
    )


def filled(store, blocks, extras=()):
    buffer = store.make()
    for first, n in blocks:
        buffer = store.insert(buffer, transitions(first, n, extras))
    return buffer


# The ring -----------------------------------------------------------------------------------------


def test_rows_come_back_as_they_went_in():
    batch = transitions(3, 4, ("time", "goal"))
    rows = TIMED.pack(batch)
    assert rows.shape == (4, TIMED.width) == (4, 2 * 2 + 1 + 2 + 4)
    jax.tree.map(np.testing.assert_array_equal, TIMED.unpack(rows), batch)


def test_the_newest_transitions_stay():
    buffer = filled(Uniform(LAYOUT), [(0, 3), (3, 3), (6, 5), (11, 2)])  # wraps within a block
    assert int(buffer.inserted) == 13
    kept = sorted(LAYOUT.unpack(buffer.rows).obs[:, 0].tolist())
    assert kept == list(range(5, 13))


def test_a_block_as_large_as_the_ring():
    buffer = filled(Uniform(LAYOUT), [(0, 3), (3, 8)])
    assert sorted(LAYOUT.unpack(buffer.rows).obs[:, 0].tolist()) == list(range(3, 11))


def test_uniform_draws_what_is_there_and_keeps_rows_whole():
    store = Uniform(LAYOUT)
    buffer = filled(store, [(0, 5)])
    batch, index = store.sample(buffer, KEY, 4000)
    assert set(index.tolist()) == set(range(5))
    counts = np.bincount(index, minlength=5)
    assert np.abs(counts / 800 - 1).max() < 0.15  # 5 standard errors
    i = np.asarray(batch.obs[:, 0])
    np.testing.assert_array_equal(batch.reward, 10 * i)
    np.testing.assert_array_equal(batch.next_obs[:, 0], i + 1)
    np.testing.assert_array_equal(batch.terminated, i % 2)
    again, _ = store.sample(buffer, KEY, 4000)
    np.testing.assert_array_equal(again.obs, batch.obs)
    assert store.feedback(buffer, index, None) is buffer


def test_size_is_said_beforehand_and_refused():
    layout = Layout(obs=17, action=6, capacity=1_000_000)
    assert layout.nbytes == 4 * 42 * 1_000_000
    assert describe(Uniform(layout)) == "1,000,000 transitions of 42 numbers: 168 MB"
    with pytest.raises(
        BadInput, match=r"5 x .* 840 MB is more than the 500 MB allowed; .* 595,238"
    ):
        Uniform(layout).make(budget_bytes=500_000_000, copies=5)
    assert Uniform(LAYOUT).make(budget_bytes=LAYOUT.nbytes).rows.nbytes == LAYOUT.nbytes
    with pytest.raises(BadInput, match="A replay of 8 transitions of 7 numbers: "):
        Prioritised(LAYOUT).make(budget_bytes=LAYOUT.nbytes)
    buffer = Prioritised(LAYOUT).make()
    leaves = jax.tree.leaves((buffer.ring.rows, buffer.tree))
    assert sum(leaf.nbytes for leaf in leaves) == Prioritised(LAYOUT).nbytes


# The tree of sums ---------------------------------------------------------------------------------


def test_tree_sums():
    rng = np.random.default_rng(0)
    capacity = 128 * 130 + 7  # three levels
    assert len(sumtree.level_sizes(capacity)) == 3
    tree, plain = sumtree.make_tree(capacity), np.zeros(capacity)
    change = jax.jit(sumtree.set_weights)
    for _ in range(4):
        index = rng.integers(capacity, size=300)
        weight = rng.uniform(size=300).astype(np.float32)
        index[:2], weight[:2] = capacity - 1, (0.25, 0.75)  # twice: the larger one
        tree = change(tree, jnp.asarray(index, jnp.int32), jnp.asarray(weight))
        fresh = np.zeros(capacity)
        np.maximum.at(fresh, index, weight)
        plain[index] = fresh[index]
    np.testing.assert_allclose(tree[0][:capacity], plain)
    assert plain[-1] == 0.75
    for below, above in itertools.pairwise(tree):
        sums = np.asarray(below, np.float64).reshape(-1, 128).sum(1)
        np.testing.assert_allclose(above[: len(sums)], sums, rtol=1e-6)
        assert not above[len(sums) :].any()
    np.testing.assert_allclose(sumtree.total(tree), plain.sum(), rtol=1e-6)


def test_tree_draws_in_proportion():
    capacity = 300
    weights = np.zeros(capacity, np.float32)
    weights[[0, 127, 128, 255, 299]] = [1, 2, 3, 0.5, 4]
    tree = sumtree.set_weights(
        sumtree.make_tree(capacity), jnp.arange(capacity, dtype=jnp.int32), jnp.asarray(weights)
    )
    n = 40_000
    index = jax.jit(sumtree.draw_indices, static_argnums=2)(tree, KEY, n)
    counts = np.bincount(index, minlength=capacity)
    assert set(np.flatnonzero(counts)) == {0, 127, 128, 255, 299}
    expected = n * weights / weights.sum()
    assert (np.abs(counts - expected) <= 5 * np.sqrt(expected)).all()


def test_rounding_never_draws_a_weight_of_zero():
    weights = jnp.array([0, 1e-8, 0, 1, 0], jnp.float32)
    tree = sumtree.set_weights(sumtree.make_tree(5), jnp.arange(5, dtype=jnp.int32), weights)
    index = sumtree.draw_indices(tree, KEY, 20_000)
    assert set(index.tolist()) <= {1, 3}


# LAP ----------------------------------------------------------------------------------------------


def test_lap_against_the_definition():
    store = Prioritised(LAYOUT, alpha=0.4, least=1.0, renew=2)
    buffer = filled(store, [(0, 6)])
    np.testing.assert_allclose(buffer.tree[0][:8], [1, 1, 1, 1, 1, 1, 0, 0])
    index = jnp.array([0, 3, 5], jnp.int32)
    buffer = store.feedback(buffer, index, jnp.array([0.2, -9.0, 4.0], jnp.float32))
    weights = np.array([1, 1, 1, 9**0.4, 1, 4**0.4, 0, 0])
    np.testing.assert_allclose(buffer.tree[0][:8], weights, rtol=1e-6)
    np.testing.assert_allclose(buffer.most, 9**0.4, rtol=1e-6)
    # a new transition is as likely as the likeliest
    buffer = store.insert(buffer, transitions(6, 1))
    np.testing.assert_allclose(buffer.tree[0][6], 9**0.4, rtol=1e-6)
    # the second feedback renews the largest weight, which had gone down
    buffer = store.feedback(
        buffer, jnp.array([3, 6], jnp.int32), jnp.array([0.0, 0.0], jnp.float32)
    )
    np.testing.assert_allclose(buffer.most, 4**0.4, rtol=1e-6)
    n = 40_000
    _, index = store.sample(buffer, KEY, n)
    expected = n * np.array([1, 1, 1, 1, 1, 4**0.4, 1, 0])
    expected /= 6 + 4**0.4
    assert (np.abs(np.bincount(index, minlength=8) - expected) <= 5 * np.sqrt(expected)).all()


def test_lap_without_renewal_remembers_the_largest():
    store = Prioritised(LAYOUT, alpha=1.0, renew=0)
    buffer = filled(store, [(0, 4)])
    index = jnp.array([1], jnp.int32)
    for td in (7.0, 2.0, 1.0):
        buffer = store.feedback(buffer, index, jnp.array([td], jnp.float32))
    assert float(buffer.most) == 7 and float(buffer.tree[0][1]) == 1


# Geometric time -----------------------------------------------------------------------------------


def test_geometric_weights_follow_the_time_in_the_episode():
    store = Geometric(TIMED, gamma=0.5)
    buffer = filled(store, [(0, 6), (6, 4)], ("time", "goal"))  # rows 0, 1 hold transitions 8, 9
    time = np.array([8, 9, 2, 3, 4, 5, 6, 7]) % 5
    np.testing.assert_allclose(buffer.tree[0][:8], 0.5**time)
    n = 40_000
    batch, index = store.sample(buffer, KEY, n)
    expected = n * 0.5**time / (0.5**time).sum()
    assert (np.abs(np.bincount(index, minlength=8) - expected) <= 5 * np.sqrt(expected)).all()
    np.testing.assert_array_equal(batch.extras["time"], time[np.asarray(index)])
    np.testing.assert_array_equal(batch.extras["goal"][:, 1], batch.obs[:, 0])


def test_geometric_draws_are_the_discounted_occupancy():
    """Chain 0 -> 1 -> ...: a mean over draws is sum gamma^t f(s_t) / sum gamma^t."""
    layout = Layout(obs=2, action=1, capacity=5, extras=(("time", 1), ("goal", 3)))
    store = Geometric(layout, gamma=0.9)
    buffer = filled(store, [(0, 5)], ("time", "goal"))
    batch, _ = store.sample(buffer, KEY, 40_000)
    weights = 0.9 ** np.arange(5)
    np.testing.assert_allclose(
        batch.obs[:, 0].mean(), (weights * np.arange(5)).sum() / weights.sum(), atol=0.04
    )


# In a compiled loop, and bad input ----------------------------------------------------------------


def test_stores_work_in_a_scan_and_under_vmap():
    store = Prioritised(LAYOUT, renew=3)

    def run(key, buffer):
        def body(buffer, k):
            batch, index = store.sample(buffer, k, 4)
            return store.feedback(buffer, index, batch.reward), batch.reward

        return jax.lax.scan(body, buffer, jax.random.split(key, 5))

    keys = jax.random.split(KEY, 2)
    buffers = [filled(store, [(0, 6)]), filled(store, [(4, 3)])]
    together = jax.jit(jax.vmap(run))(
        keys, jax.tree.map(lambda *leaves: jnp.stack(leaves), *buffers)
    )
    for i in range(2):
        alone = jax.jit(run)(keys[i], buffers[i])
        jax.tree.map(
            lambda x, y, i=i: np.testing.assert_allclose(x, y[i], rtol=1e-6), alone, together
        )


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: Layout(0, 1, 1), "obs of a replay is at least 1, not 0"),
        (lambda: Layout(1, 1, 0), "capacity of a replay"),
        (lambda: Layout(1, 1, 1, (("x", 0),)), "extra 'x' of a replay"),
        (lambda: Layout(1, 1, 1, (("x", 1), ("x", 2))), "a name of its own"),
        (lambda: Prioritised(LAYOUT, alpha=1.5), r"lies in \[0, 1\], not 1.5"),
        (lambda: Prioritised(LAYOUT, least=0.0), "least of LAP is above 0"),
        (lambda: Prioritised(LAYOUT, renew=-1), "renew of LAP"),
        (lambda: Geometric(TIMED, gamma=0.0), r"lies in \(0, 1\], not 0.0"),
        (lambda: Geometric(LAYOUT), "need the extra"),
        (lambda: Uniform(LAYOUT).make(copies=0), "copies of a replay are at least 1"),
        (lambda: filled(Uniform(LAYOUT), [(0, 9)]), "1 to 8 transitions goes into"),
        (lambda: filled(Uniform(LAYOUT), [(0, 2)], ("time",)), r"extras of this replay are \[\]"),
        (
            lambda: Uniform(Layout(3, 1, 8)).insert(
                Uniform(Layout(3, 1, 8)).make(), transitions(0, 2)
            ),
            r"obs of 2 transitions has the shape \(2, 3\), not \(2, 2\)",
        ),
        (
            lambda: Prioritised(LAYOUT).feedback(
                Prioritised(LAYOUT).make(), jnp.zeros(1, jnp.int32), None
            ),
            "learner that reports td",
        ),
    ],
)
def test_bad_input(make, words):
    with pytest.raises(BadInput, match=words):
        make()


def test_same_layout_is_one_static_argument():
    calls = []

    @functools.partial(jax.jit, static_argnames="store")
    def count(buffer, store):
        calls.append(store)
        return buffer.inserted

    for _ in range(2):
        count(Uniform(LAYOUT).make(), Uniform(Layout(obs=2, action=1, capacity=8)))
    assert len(calls) == 1
