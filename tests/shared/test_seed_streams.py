"""A key depends on (seed, stream) and on nothing else."""

import hashlib
import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from shared.gpu.seeds import seed_keys


def numbers(seeds, stream):
    return np.asarray(jax.random.key_data(seed_keys(seeds, stream)))


# Written down once: a change would silently change every result of every paper.
FROZEN = [[12655956, 2336749057], [811904255, 2938801058], [1643939883, 4245380215]]


def test_values_are_frozen():
    assert numbers([0, 1, 2**32 - 1], "init").tolist() == FROZEN


def test_is_the_seed_folded_with_the_hash_of_the_name():
    name = int(hashlib.sha256(b"init").hexdigest()[:8], 16)
    expected = jax.random.fold_in(jax.random.key(7), name)
    np.testing.assert_array_equal(numbers([7], "init")[0], jax.random.key_data(expected))


def test_independent_of_the_grouping():
    together = numbers(range(6), "init")
    apart = np.concatenate([numbers([s], "init") for s in range(3)] + [numbers([3, 4, 5], "init")])
    np.testing.assert_array_equal(together, apart)


def test_independent_of_global_random_state_and_configuration():
    before = numbers([3, 4], "replay")
    np.random.seed(1)  # noqa: NPY002 - the global state is what is being disturbed
    random.seed(1)
    with jax.default_prng_impl("rbg"):
        np.testing.assert_array_equal(numbers([3, 4], "replay"), before)
        assert str(jax.random.key_impl(seed_keys([3], "replay"))) == "threefry2x32"


def test_all_seeds_and_streams_differ():
    streams = ["init", "environment", "exploration", "replay", "evaluation", "Init", "init "]
    keys = np.concatenate([numbers(range(50), stream) for stream in streams])
    assert len(np.unique(keys, axis=0)) == 50 * len(streams)


def test_streams_are_uncorrelated():
    draw = jax.vmap(lambda key: jax.random.normal(key, (2000,)))
    streams = (draw(seed_keys([0, 1], "init")), draw(seed_keys([0, 1], "environment")))
    correlation = np.corrcoef(np.asarray(jnp.concatenate(streams)))
    # 5 standard errors of a correlation of 2000 independent pairs
    assert np.abs(correlation - np.eye(4)).max() < 5 / np.sqrt(2000)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_impossible_seeds_are_refused(seed):
    with pytest.raises(ValueError, match=f"below 2\\^32; got {seed}"):
        seed_keys([0, seed], "init")
