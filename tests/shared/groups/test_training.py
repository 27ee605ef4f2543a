"""Losses and gradients against the plain network; the optimiser against optax; runs compared."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from shared.experiment.errors import BadInput
from shared.gpu.seeds import count_seeds, seed_keys
from shared.groups import training
from shared.groups.group import cyclic, dihedral
from shared.groups.loss import Sums, cross_entropy, grid_loss, grid_sums
from shared.groups.networks import ModelSpec, forward_pairs, init
from shared.groups.optimiser import Adam, Hyper, TrainSpec, adam_step, schedule
from shared.groups.task import CayleyTask, permuted_labels, stacked_labels, train_masks
from shared.groups.training import (
    evaluate,
    init_train,
    network_params,
    train_chunk,
    train_many,
    train_one,
)

TASK = CayleyTask(dihedral(3), 0.7)  # not abelian: a transposed table shows
N = TASK.order
SPECS = [
    ModelSpec("onehot_concat", N, width=8, out_bias=True),
    ModelSpec("embed_concat", N, 4, 8, depth=2),
    ModelSpec("embed_add", N, 4, 8, tie_embed=False, act="quadratic"),
    ModelSpec("attn_uniform", N, 4, 8, heads=2, out_bias=True),
    ModelSpec("attn", N, 4, 8, heads=2),
    ModelSpec("attn", N, 4, 8, heads=2, blocks=2, depth=2),
]
SPEC, TSPEC = ModelSpec("embed_concat", N, 8, 32), TrainSpec(200, warmup=5)


def start(seeds=(0, 1), spec=SPEC, tspec=TSPEC, hyper=Hyper(), task=TASK):  # noqa: B008
    masks, labels = train_masks(task, seeds), stacked_labels(task, len(seeds))
    return init_train(seed_keys(seeds, "network"), spec, tspec, masks, labels, hyper)


def leaves(tree):
    return jax.tree.leaves(tree)


def one_of(state, i=0):
    return jax.tree.map(lambda leaf: leaf[i], state)


def assert_close(x, y, rtol=1e-4, atol=1e-6):
    for a, b in zip(leaves(x), leaves(y), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


# Cross-entropy ------------------------------------------------------------------------------------


def test_cross_entropy_by_hand():
    logits = jnp.array([[1.0, 0.0], [0.0, 0.0], [0.0, 2.0]], jnp.float32)
    terms = cross_entropy(logits, jnp.array([0, 1], jnp.int32))
    loss = [math.log(1 + 2 * math.exp(-1)), math.log(2 + math.exp(2))]
    np.testing.assert_allclose(terms.loss, loss, rtol=1e-6)
    np.testing.assert_allclose(terms.margin, [1.0, -2.0])
    p = np.exp(logits) / np.exp(logits).sum(0)
    np.testing.assert_allclose(terms.gradient, p - np.eye(3)[:, :2], rtol=1e-6)


def test_cross_entropy_neither_underflows_nor_overflows():
    logits = np.zeros((59, 4), np.float32)
    logits[7] = [20, 60, -1000, 1000]
    terms = cross_entropy(jnp.asarray(logits), jnp.full(4, 7, jnp.int32))
    exact = [math.log1p(58 * math.exp(-20)), 58 * math.exp(-60), 1000 + math.log(58), 0]
    np.testing.assert_allclose(terms.loss, exact, rtol=1e-5)
    small = [58 * math.exp(-20) / (1 + 58 * math.exp(-20)), 58 * math.exp(-60), 1, 0]
    np.testing.assert_allclose(-terms.gradient[7], small, rtol=1e-5)
    np.testing.assert_allclose(terms.gradient.sum(0), np.zeros(4), atol=1e-6)
    plain = -jax.nn.log_softmax(jnp.asarray(logits), axis=0)[7]
    assert plain[1] == 0  # the trap


def test_cross_entropy_gradient_is_that_of_its_loss():
    rng = np.random.default_rng(0)
    logits = jnp.asarray(rng.normal(size=(5, 7)) * 3, jnp.float32)
    labels = jnp.asarray(rng.integers(5, size=7), jnp.int32)
    gradient = jax.grad(lambda z: jnp.sum(cross_entropy(z, labels).loss))(logits)
    np.testing.assert_allclose(cross_entropy(logits, labels).gradient, gradient, atol=1e-6)


# The whole table ----------------------------------------------------------------------------------


def plain_loss(params, spec, labels, mask, alpha):
    """The mean cross-entropy over the masked pairs, pair by pair, by jax.nn."""
    a, b = np.nonzero(mask)
    logits = forward_pairs(params, spec, np.stack([a, b], 1), alpha)
    picked = jax.nn.log_softmax(logits)[np.arange(len(a)), labels[a, b]]
    return -jnp.mean(picked)


@pytest.mark.parametrize("rows", [1, 4, 6])
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.arch}-{spec.blocks}")
def test_gradient_of_the_table_is_that_of_the_plain_network(spec, rows):
    alpha = jnp.float32(0.4) if spec.arch == "attn" else None
    params = jax.tree.map(
        lambda x: x + jnp.cos(jnp.arange(x.size, dtype=jnp.float32)).reshape(x.shape) / 4,
        init(jax.random.key(1), spec),
    )
    labels, mask = TASK.labels, TASK.train_mask
    gradient, sums = jax.jit(functools.partial(grid_loss, spec=spec, rows_per_block=rows))(
        params, labels=jnp.asarray(labels), mask=jnp.asarray(mask), alpha=alpha
    )
    loss, expected = jax.value_and_grad(plain_loss)(params, spec, labels, mask, alpha)
    scale = max(float(jnp.abs(leaf).max()) for leaf in leaves(expected))
    assert_close(gradient, expected, 1e-4, 1e-5 * scale)
    np.testing.assert_allclose(sums.train_loss, loss, rtol=1e-5)
    np.testing.assert_allclose(
        sums.test_loss, plain_loss(params, spec, labels, ~mask, alpha), rtol=1e-5
    )


def test_sums_against_numpy():
    params = init(jax.random.key(0), SPEC)
    pairs = np.stack(np.divmod(np.arange(N * N), N), 1).astype(np.int32)
    logits = np.asarray(forward_pairs(params, SPEC, pairs), np.float64)
    labels = TASK.labels.reshape(-1)
    right = logits[np.arange(N * N), labels]
    logits[np.arange(N * N), labels] = -np.inf
    margin = (right - logits.max(1)).reshape(N, N)
    mask = TASK.train_mask
    metrics = evaluate(params, SPEC, TASK.labels, mask)
    assert 0 < (margin > 0).sum() < N * N
    np.testing.assert_allclose(metrics["train_accuracy"], (margin > 0)[mask].mean(), rtol=1e-6)
    np.testing.assert_allclose(metrics["test_accuracy"], (margin > 0)[~mask].mean(), rtol=1e-6)
    np.testing.assert_allclose(metrics["margin_mean"], margin.mean(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(metrics["margin_min"], margin.min(), rtol=1e-4)
    labels, mask = jnp.asarray(TASK.labels), jnp.asarray(mask)
    one, padded = (grid_sums(params, SPEC, labels, mask, rows_per_block=rows) for rows in (6, 4))
    assert_close(one, padded, 1e-5)


def test_ties_are_not_right_answers():
    params = jax.tree.map(jnp.zeros_like, init(jax.random.key(0), SPEC))
    metrics = evaluate(params, SPEC, TASK.labels, TASK.train_mask)
    assert metrics["train_accuracy"] == 0 and metrics["margin_mean"] == 0
    np.testing.assert_allclose(metrics["test_loss"], math.log(N), rtol=1e-6)


# Optimiser ----------------------------------------------------------------------------------------

PARAMS = {"x": jnp.array([0.5, -2.0, 0.0], jnp.float32), "y": jnp.array([[3.0]], jnp.float32)}


def updates(hyper, tspec, gradients, params=PARAMS):
    zeros = jax.tree.map(jnp.zeros_like, params)
    adam, hyper = Adam(zeros, zeros), Hyper(*map(jnp.float32, hyper))
    for t, gradient in enumerate(gradients):
        params, adam = adam_step(params, gradient, adam, jnp.int32(t), hyper, tspec)
    return params


def random_gradients(count):
    rng = np.random.default_rng(0)
    return [
        jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape), jnp.float32), PARAMS)
        for _ in range(count)
    ]


@pytest.mark.parametrize("wd", [0.0, 0.7])
def test_decoupled_decay_is_optax_adamw(wd):
    tspec = TrainSpec(12, warmup=4, schedule="cosine")
    gradients = random_gradients(12)
    ours = updates(Hyper(0.1, wd, 0.0), tspec, gradients)
    with jax.numpy_dtype_promotion("standard"):
        adamw = optax.adamw(
            lambda t: 0.1 * schedule(t, tspec), b1=0.9, b2=0.98, eps=1e-8, weight_decay=wd
        )
        theirs, state = PARAMS, adamw.init(PARAMS)
        for gradient in gradients:
            step, state = adamw.update(gradient, state, theirs)
            theirs = optax.apply_updates(theirs, step)
    assert_close(ours, theirs, 1e-5)


def test_l2_is_adam_on_the_penalised_loss():
    tspec = TrainSpec(12, warmup=0, schedule="constant")
    gradients = random_gradients(12)
    ours = updates(Hyper(0.1, 0.0, 0.3), tspec, gradients)
    with jax.numpy_dtype_promotion("standard"):
        adam = optax.adam(0.1, b1=0.9, b2=0.98, eps=1e-8)
        theirs, state = PARAMS, adam.init(PARAMS)
        for gradient in gradients:
            penalty = jax.grad(lambda p: 0.3 * sum(jnp.sum(x**2) for x in leaves(p)))(theirs)
            total = jax.tree.map(jnp.add, gradient, penalty)
            step, state = adam.update(total, state, theirs)
            theirs = optax.apply_updates(theirs, step)
    assert_close(ours, theirs, 1e-5)


def test_the_two_decays_are_not_the_same():
    tspec = TrainSpec(5, warmup=0, schedule="constant")
    nothing = [jax.tree.map(jnp.zeros_like, PARAMS)]
    # Decoupled decay shrinks in proportion; Adam makes a full step of the penalty's sign.
    shrunk = updates(Hyper(0.1, 0.5, 0.0), tspec, nothing)
    np.testing.assert_allclose(shrunk["x"], 0.95 * PARAMS["x"], rtol=1e-6)
    stepped = updates(Hyper(0.1, 0.0, 0.5), tspec, nothing)
    np.testing.assert_allclose(stepped["x"], [0.4, -1.9, 0.0], rtol=1e-5)


@pytest.mark.parametrize(
    ("tspec", "factors"),
    [
        (TrainSpec(10, warmup=2, schedule="constant"), {0: 0.5, 1: 1, 2: 1, 9: 1, 30: 1}),
        (TrainSpec(10, warmup=2, schedule="cosine"), {0: 0.5, 1: 1, 2: 1, 6: 0.5, 10: 0, 30: 0}),
        (TrainSpec(10, warmup=0, schedule="cosine"), {0: 1, 5: 0.5, 10: 0}),
        (TrainSpec(20, warmup=4, schedule="cooldown", cooldown=0.2),
         {0: 0.25, 3: 1, 16: 1, 17: 0.75, 19: 0.25, 20: 0, 25: 0}),
    ],
)  # fmt: skip
def test_schedules_by_hand(tspec, factors):
    for t, factor in factors.items():
        np.testing.assert_allclose(schedule(jnp.int32(t), tspec), factor, atol=1e-6)


# Runs ---------------------------------------------------------------------------------------------


def test_a_run_learns_and_says_when():
    state = start()
    found = np.full(2, -1)
    for step in range(1, 201):
        state, metrics = train_chunk(state, SPEC, TSPEC, 1)
        found = np.where((found < 0) & (np.asarray(metrics["test_accuracy"]) == 1), step, found)
    assert all(np.isfinite(value).all() and value.shape == (2,) for value in metrics.values())
    np.testing.assert_array_equal(metrics["train_accuracy"], [1, 1])
    np.testing.assert_array_equal(state.step, [200, 200])
    np.testing.assert_array_equal(metrics["first_perfect"], found)
    np.testing.assert_allclose(metrics["lr_factor"], 0, atol=1e-6)
    norm = [np.sqrt(sum((leaf[i] ** 2).sum() for leaf in leaves(state.params))) for i in (0, 1)]
    np.testing.assert_allclose(metrics["weight_norm"], norm, rtol=1e-5)
    for i in (0, 1):
        params, mask = network_params(state.params, i), np.asarray(state.mask[i])
        for name, value in evaluate(params, SPEC, TASK.labels, mask).items():
            np.testing.assert_allclose(metrics[name][i], value, rtol=1e-4, atol=1e-6)
    whole, _ = train_chunk(start(), SPEC, TSPEC, 200)
    np.testing.assert_array_equal(whole.first_perfect, state.first_perfect)


def test_chunks_do_not_matter():
    whole, metrics = train_chunk(start(), SPEC, TSPEC, 10)
    state, _ = train_chunk(start(), SPEC, TSPEC, 4)
    state, last = train_chunk(state, SPEC, TSPEC, 6)
    for a, b in zip(leaves((whole, metrics)), leaves((state, last)), strict=True):
        assert a.dtype == b.dtype
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_array_equal(a, b)


HYPER = Hyper([5e-3, 1e-2, 2e-3], [0.0, 1.0, 0.0], [1e-4, 0.0, 1e-2], [0.0, 0.3, 1.0])


@pytest.mark.parametrize("spec", [SPEC, SPECS[4], SPECS[3]], ids=lambda spec: spec.arch)
def test_networks_do_not_depend_on_each_other(spec):
    seeds = (4, 5, 6)
    results = []
    for side_by_side in (False, True):
        state = start(seeds, spec, hyper=HYPER)
        results.append(train_chunk(state, spec, TSPEC, 50, side_by_side))
    assert_close(results[0][0].params, results[1][0].params)
    assert_close(results[0][1], results[1][1])
    for i, seed in enumerate(seeds):
        hyper = Hyper(*(values[i] for values in HYPER))
        alone, metrics = train_chunk(start((seed,), spec, hyper=hyper), spec, TSPEC, 50)
        assert_close(one_of(alone.params), one_of(results[0][0].params, i))
        assert_close(one_of(metrics), one_of(results[0][1], i))
    moved = [np.abs(a[0] - a[1]).max() for a in leaves(results[0][0].params)]
    assert min(moved) > 0  # other seeds, other networks


def test_one_network_is_the_same_by_itself():
    step = functools.partial(train_one, spec=SPEC, tspec=TSPEC, steps=10)
    alone, _ = jax.jit(step)(one_of(start(), 1))
    together, _ = train_chunk(start(), SPEC, TSPEC, 10)
    assert_close(alone.params, one_of(together.params, 1))
    assert count_seeds(start()) == 2  # every leaf has the networks first


def test_attention_without_its_mix_trains_as_the_uniform_one():
    attn, uniform = SPECS[4], ModelSpec("attn_uniform", N, 4, 8, heads=2)
    one, _ = train_chunk(start(spec=attn), attn, TSPEC, 30)
    two, _ = train_chunk(start(spec=uniform), uniform, TSPEC, 30)
    assert_close(one.params, two.params)


def test_each_update_follows_the_gradient_of_its_own_split_and_labels():
    labels = permuted_labels(TASK, [0, 1])
    masks = train_masks(TASK, [0, 1])
    state = init_train(seed_keys([0, 1], "network"), SPEC, TSPEC, masks, labels)
    before = jax.device_get(state.params)
    after, _ = train_chunk(state, SPEC, TSPEC, 1)
    for i in (0, 1):
        params = network_params(before, i)
        gradient = jax.grad(plain_loss)(params, SPEC, labels[i], masks[i], None)
        expected = updates(Hyper(), TSPEC, [gradient], params)
        assert_close(one_of(after.params, i), expected, 1e-3, 1e-5)


def test_without_test_pairs_metrics_are_those_of_the_training_set():
    state, metrics = train_chunk(start(task=CayleyTask(dihedral(3), 1.0)), SPEC, TSPEC, 10)
    np.testing.assert_allclose(metrics["test_loss"], metrics["train_loss"], rtol=1e-6)
    np.testing.assert_array_equal(metrics["test_accuracy"], metrics["train_accuracy"])
    assert np.asarray(state.mask).all()


def test_falls_from_full_training_accuracy_are_counted():
    state = one_of(start())
    train = int(state.mask.sum())
    test = N * N - train
    seen = []
    for step, (right, tested) in enumerate(
        [(train - 1, test - 1), (train, test - 1), (train, test), (train - 1, test),
         (train - 2, test - 1), (train, test), (0, 0)]
    ):  # fmt: skip
        zero = jnp.float32(0)
        sums = Sums(zero, zero, jnp.int32(right), jnp.int32(tested), zero, zero)
        state = training._noted(state._replace(step=jnp.int32(step)), sums)
        seen.append((int(state.first_perfect), bool(state.perfect), int(state.spikes)))
    assert seen == [(-1, False, 0), (-1, True, 0), (2, True, 0), (2, False, 1), (2, False, 1),
                    (2, True, 1), (2, False, 2)]  # fmt: skip


# Minibatches --------------------------------------------------------------------------------------


def test_minibatches_go_through_the_training_pairs_once_an_epoch(monkeypatch):
    tspec = TrainSpec(200, warmup=0, batch=6)
    state = one_of(start(tspec=tspec))
    train = {tuple(map(int, pair)) for pair in np.argwhere(state.mask)}
    assert len(train) == 25  # four batches of six, and one pair left out of each epoch
    drawn = []

    def record(params, spec, ab, labels, alpha):
        drawn.append(np.asarray(ab))
        np.testing.assert_array_equal(labels, TASK.labels[ab[:, 0], ab[:, 1]])
        return jax.tree.map(jnp.zeros_like, params)

    monkeypatch.setattr(training, "pairs_gradient", record)
    for _ in range(8):
        state = training._minibatch(state, SPEC, tspec)
    epochs = [[tuple(map(int, pair)) for ab in drawn[i : i + 4] for pair in ab] for i in (0, 4)]
    for epoch in epochs:
        assert len(set(epoch)) == 24 and set(epoch) <= train
    assert epochs[0] != epochs[1]


def test_minibatches_of_everything_are_the_full_batch():
    everything = TrainSpec(200, warmup=5, batch=25)
    some, metrics = train_chunk(start(tspec=everything), SPEC, everything, 20)
    full, expected = train_chunk(start(), SPEC, TSPEC, 20)
    assert_close(some.params, full.params, 1e-3, 1e-4)
    np.testing.assert_allclose(metrics["train_loss"], expected["train_loss"], rtol=1e-3)


def test_minibatches_learn_and_do_not_depend_on_chunks():
    tspec = TrainSpec(600, batch=8)
    whole, metrics = train_chunk(start(tspec=tspec), SPEC, tspec, 600)
    state, _ = train_chunk(start(tspec=tspec), SPEC, tspec, 10)
    state, _ = train_chunk(state, SPEC, tspec, 590)
    for a, b in zip(leaves(whole.params), leaves(state.params), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(metrics["train_accuracy"], [1, 1])


def test_minibatches_are_those_of_a_plain_loop():
    """Every epoch visits the training pairs in a new order; each update is optax's Adam."""
    tspec, l2 = TrainSpec(14, batch=8), Hyper().l2
    state = start(tspec=tspec)
    params, mask, key = one_of(state.params), np.asarray(state.mask[0]).ravel(), state.key[0]
    adam = optax.scale_by_adam(tspec.b1, tspec.b2, tspec.eps)
    memory, order = adam.init(params), np.empty(0)

    @jax.jit
    def gradient(params, ab, labels):
        def loss(params):
            logits = forward_pairs(params, SPEC, ab)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        return jax.tree.map(lambda g, p: g + 2 * l2 * p, jax.grad(loss)(params), params)

    for step in range(tspec.steps):
        epoch, place = divmod(step, mask.sum() // 8)
        if place == 0:
            draws = jax.random.uniform(jax.random.fold_in(key, epoch), (N * N,), jnp.float32)
            order = np.argsort(np.where(mask, draws, 2.0))
        pairs = order[8 * place : 8 * place + 8]
        ab = np.stack(np.divmod(pairs, N), axis=1).astype(np.int32)
        g = gradient(params, ab, TASK.labels[ab[:, 0], ab[:, 1]])
        with jax.numpy_dtype_promotion("standard"):
            update, memory = adam.update(g, memory)
        rate = jnp.float32(Hyper().lr) * schedule(jnp.int32(step), tspec)
        params = jax.tree.map(lambda p, u, rate=rate: p - rate * u, params, update)
    state, _ = train_chunk(state, SPEC, tspec, tspec.steps)
    assert_close(one_of(state.params), params, atol=1e-5)


# Many networks ------------------------------------------------------------------------------------


def test_train_many():
    result = train_many(SPEC, TSPEC, TASK, [3, 0], Hyper(lr=[5e-3, 1e-2]), log_every=80)
    assert result.params["E"].shape == (2, N, 8) and result.masks.shape == (2, N, N)
    np.testing.assert_array_equal(result.metrics["steps"], [80, 160, 200])
    assert result.metrics["test_loss"].shape == (2, 3)
    np.testing.assert_array_equal(result.first_perfect, result.metrics["first_perfect"][:, -1])
    assert result.wall_s > 0
    alone = train_many(SPEC, TSPEC, TASK, [0], Hyper(lr=1e-2), log_every=200)
    np.testing.assert_allclose(alone.params["U"][0], result.params["U"][1], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(alone.masks[0], result.masks[1])
    dealt = permuted_labels(TASK, [0])
    control = train_many(SPEC, TSPEC, TASK, [0], log_every=200, labels=dealt)
    assert control.metrics["test_accuracy"][0, -1] < 1


def test_memory_does_not_grow_with_the_number_of_networks():
    task = CayleyTask(cyclic(59))
    spec, tspec = ModelSpec("embed_concat", 59, 64, 256), TrainSpec(1500)

    def needs(count):
        state = jax.eval_shape(lambda: start((0,), spec, tspec, task=task))
        state = jax.tree.map(lambda x: jax.ShapeDtypeStruct((count, *x.shape[1:]), x.dtype), state)
        compiled = training._chunk.lower(state, spec, tspec, 100, False).compile()
        found = compiled.memory_analysis()
        return found.temp_size_in_bytes, found.argument_size_in_bytes

    (work_1, held_1), (work_64, held_64) = needs(1), needs(64)
    # Only the networks themselves, with their optimiser's state, are there 64 times.
    assert work_64 - work_1 <= 2 * (held_64 - held_1)
    assert work_64 + held_64 < 2**30


def test_the_yardstick_does_the_same():
    pytest.importorskip("torch")
    from shared.groups.yardstick import check_equal

    check_equal(7, 8, 16)


def test_the_yardsticks_first_layer_is_ours():
    pytest.importorskip("torch")
    from shared.groups import yardstick

    state, _ = yardstick._state(yardstick._spec(7, 8, 16), 20, seed=0)
    state = state._replace(params=state.params | {"b": state.params["b"] + 0.5})
    ours, theirs = yardstick.first_layers(state, yardstick._loop(state, 20))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


MASKS, LABELS = train_masks(TASK, [0, 1]), stacked_labels(TASK, 2)


def begin(masks=MASKS, labels=LABELS, tspec=TSPEC, hyper=Hyper()):  # noqa: B008
    return init_train(seed_keys([0, 1], "network"), SPEC, tspec, masks, labels, hyper)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: TrainSpec(0), "steps is at least 1, not 0"),
        (lambda: TrainSpec(10, warmup=10), "less than steps = 10, not 10"),
        (lambda: TrainSpec(10, warmup=-1), "at least 0 and less than steps = 10, not -1"),
        (lambda: TrainSpec(20, schedule="step"), "'step' is not known; allowed are cosine"),
        (lambda: TrainSpec(20, cooldown=0.0), r"lies in \(0, 1\], not 0.0"),
        (lambda: TrainSpec(20, b2=1.0), r"lie in \[0, 1\), not 0.9 and 1.0"),
        (lambda: TrainSpec(20, eps=0.0), "eps is above 0, not 0.0"),
        (lambda: TrainSpec(20, batch=0), "at least 1 pair, or None for all, not 0"),
        (lambda: begin(MASKS[:1]), r"masks of 2 networks .* \(2, 6, 6\), not \(1, 6, 6\)"),
        (lambda: begin(labels=LABELS[:, :5]), r"labels of 2 networks .*, not \(2, 5, 6\)"),
        (lambda: begin(labels=LABELS + np.int32(1)), r"Labels lie in 0\.\.5, not 1\.\.6"),
        (lambda: begin(MASKS & False), "needs 1 training pairs, and a mask has 0"),
        (lambda: begin(tspec=TrainSpec(20, batch=26)), "needs 26 training pairs, and .* has 25"),
        (lambda: begin(hyper=Hyper(lr=-1e-3)), "lr must be at least 0 and finite, not -0.001"),
        (lambda: begin(hyper=Hyper(wd=[0.0, np.inf])), "wd must be .* finite, not inf"),
        (lambda: begin(hyper=Hyper(l2=np.nan)), "l2 must be at least 0 and finite, not nan"),
        (lambda: begin(hyper=Hyper(alpha=[0.5, 1.5])), r"alpha must be in \[0, 1\], not 1.5"),
        (lambda: begin(hyper=Hyper(lr=[1e-3] * 3)), r"each of 2 networks, not \(3,\)"),
        (lambda: train_chunk(begin(), SPEC, TSPEC, 0), "a chunk is at least 1, not 0"),
        (lambda: train_many(SPEC, TSPEC, CayleyTask(cyclic(5)), [0]), "order 6, Z5 has order 5"),
        (lambda: train_many(SPEC, TSPEC, TASK, [0], log_every=0), "at least 1, not 0"),
    ],
)
def test_bad_input_is_explained(make, sentence):
    with pytest.raises(BadInput, match=sentence):
        make()
