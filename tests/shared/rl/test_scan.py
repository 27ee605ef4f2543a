"""A block of updates is the updates one by one; split, vmapped, and counted in operations."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from shared.experiment.errors import BadInput
from shared.gpu.seeds import seed_keys, stack
from shared.rl import sac, td3, yardstick
from shared.rl.flops import matmul_flops, matmul_rate
from shared.rl.pieces import run_stages
from shared.rl.replay import Layout, Prioritised
from shared.rl.scan import update_keys, update_many, updates

LAYOUT = Layout(3, 2, 64)
SPEC = td3.Spec.of(3, 2, hidden=(8, 8))
LEARNER, HYPER = td3.learner(SPEC), td3.Hyper(gamma=0.9, critic_lr=1e-2, actor_lr=1e-2)
STORE = Prioritised(LAYOUT, renew=3)
STATIC = {"learner": LEARNER, "store": STORE, "batch": 16}
KEY = jax.random.key(5)


def start(seed=0):
    buffer = STORE.insert(STORE.make(), yardstick.random_batch(LAYOUT, 50, seed))
    return LEARNER.init(jax.random.key(seed)), buffer


@functools.cache
def block_of_six():
    return update_many(*start(), KEY, HYPER, n=6, **STATIC)


def assert_close(x, y):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), x, y)


def test_block_is_its_updates_one_by_one():
    state, buffer = start()
    compiled = jax.jit(run_stages, static_argnums=0)
    losses, actor_losses = [], []
    for i in range(6):
        k_sample, k_update = update_keys(KEY, i)
        batch, index = STORE.sample(buffer, k_sample, 16)
        state, metrics = compiled(LEARNER.cycle[i % 2], state, batch, k_update, HYPER)
        buffer = STORE.feedback(buffer, index, metrics["td"])
        losses.append(float(metrics["critic_loss"]))
        actor_losses += [float(metrics["actor_loss"])] if "actor_loss" in metrics else []
    found_state, found_buffer, means = block_of_six()
    assert_close(found_state, state)
    assert_close(found_buffer, buffer)
    assert len(actor_losses) == 3 and int(found_state.step) == 6
    np.testing.assert_allclose(means["critic_loss"], np.mean(losses), rtol=1e-4)
    np.testing.assert_allclose(means["actor_loss"], np.mean(actor_losses), rtol=1e-4)
    assert "td" not in means


def test_split_anywhere_it_is_the_same_run():
    state, buffer = start()
    for _ in range(3):
        state, buffer, _ = update_many(state, buffer, KEY, HYPER, n=2, **STATIC)
    whole_state, whole_buffer, _ = block_of_six()
    assert_close((state, buffer), (whole_state, whole_buffer))


def test_another_key_is_another_run():
    state, _, _ = update_many(*start(), jax.random.key(6), HYPER, n=6, **STATIC)
    same = block_of_six()[0]
    assert np.abs(state.actor.params[0].w - same.actor.params[0].w).max() > 1e-3


def test_vmapped_seeds_are_single_runs():
    keys = seed_keys([0, 1, 2], "updates")
    starts = [start(seed) for seed in range(3)]
    run = jax.jit(jax.vmap(functools.partial(updates, n=6, **STATIC), (0, 0, 0, None)))
    states, _, metrics = run(*stack(starts), keys, HYPER)
    for i in range(3):
        alone, _, means = update_many(*start(i), keys[i], HYPER, n=6, **STATIC)
        jax.tree.map(
            lambda x, y, i=i: np.testing.assert_allclose(x, y[i], rtol=1e-3, atol=1e-5),
            (alone, means),
            (states, metrics),
        )


@pytest.mark.parametrize(
    "n, batch, words", [(0, 16, "cycles of 2"), (3, 16, "not 3"), (2, 0, "batch is")]
)
def test_bad_blocks(n, batch, words):
    with pytest.raises(BadInput, match=words):
        updates(*start(), KEY, HYPER, learner=LEARNER, store=STORE, n=n, batch=batch)


def test_prioritised_replay_wants_td():
    def stage(state, batch, key, hyper):
        return state._replace(step=state.step + 1), {}

    learner = LEARNER.__class__(LEARNER.init, ((stage,),), LEARNER.explore, LEARNER.act)
    with pytest.raises(BadInput, match="reports td"):
        updates(*start(), KEY, HYPER, learner=learner, store=STORE, n=1, batch=4)


# The yardstick and the floor ----------------------------------------------------------------------


def test_the_yardstick_learns_the_same_way():
    yardstick.check_equal(LEARNER, LAYOUT, HYPER, 16)
    contest = yardstick.contest(LEARNER, LAYOUT, HYPER, batch=16, n=4, store=STORE)
    assert contest.ours() == contest.yardstick() == 4
    assert contest.compile_seconds > 0


def test_staged_loop_follows_priorities():
    loop = yardstick.StagedLoop(LEARNER, LAYOUT, HYPER)
    loop.insert(yardstick.random_batch(LAYOUT, 40))
    loop.weights[:40] = 0
    loop.weights[7] = 1
    assert set(loop._draw(50, STORE)) == {7}
    loop.train(2, 16, STORE)
    assert int(loop.state.step) == 2 and loop.weights[7] >= 1


def test_operations_counted_by_hand():
    x, w = jnp.ones((5, 3), jnp.float32), jnp.ones((3, 4), jnp.float32)
    assert matmul_flops(lambda x, w: x @ w, x, w) == 2 * 5 * 3 * 4
    assert matmul_flops(jax.jit(lambda x, w: jnp.sin(x) @ w), x, w) == 120
    # the gradient with respect to w is one more product of this size
    assert matmul_flops(jax.grad(lambda w: jnp.sum((x @ w) ** 2)), w) == 240
    square = jnp.ones((3, 3), jnp.float32)
    assert (
        matmul_flops(lambda x: jax.lax.scan(lambda x, _: (x @ square, None), x, length=7)[0], x)
        == 7 * 2 * 5 * 9
    )
    assert (
        matmul_flops(lambda x: jax.lax.cond(x[0, 0] > 0, lambda x: x @ square, lambda x: x, x), x)
        == 90
    )
    pair = jnp.ones((2, 3, 4), jnp.float32)
    assert matmul_flops(jax.vmap(lambda w: x @ w), pair) == 240
    with pytest.raises(BadInput, match="while loop"):
        matmul_flops(
            lambda x: jax.lax.while_loop(lambda x: x[0, 0] < 9, lambda x: x @ square, x), x
        )


def test_operations_of_an_update():
    """SAC by hand: an MLP pass costs F; training it costs two more, less the unused input part."""
    spec = sac.Spec.of(3, 2, hidden=(8, 8))
    batch = jax.tree.map(jnp.asarray, yardstick.random_batch(LAYOUT, 10))
    state = sac.init(KEY, spec)
    found = matmul_flops(lambda s, b: sac.update(s, b, KEY, sac.Hyper(), spec), state, batch)
    n = 10
    critic, actor = 2 * 2 * n * (5 * 8 + 64 + 8), 2 * n * (3 * 8 + 64 + 8 * 4)
    input_critic, input_actor = 2 * 2 * n * 5 * 8, 2 * n * 3 * 8
    # target: actor and critics forward; critics forward, both backward products but the input's;
    # actor the same, through critics forward and backward to their input
    expected = (
        (actor + critic) + (3 * critic - input_critic) + (3 * actor - input_actor) + 2 * critic
    )
    assert found == expected


def test_rate_is_measured():
    assert matmul_rate(8, 8, 3) > 0
