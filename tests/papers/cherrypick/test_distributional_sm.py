"""Delta-models by hand: run `python` or `pytest` on this file."""

import jax
import jax.numpy as jnp
import numpy as np

from papers.distributional_sm.method import (
    TrainerSpec,
    block_mmd2,
    imq,
    make_trainer,
    nstep_targets,
    return_atoms,
    rq_kernel,
    transitions,
    two_level_mmd2,
)


def line(*rows):
    """Samples of measures on the real line, [m, n, 1]."""
    return jnp.asarray(rows, jnp.float32)[..., None]


X, Y = line([0, 1], [3, 4]), line([0, 1], [10, 11])


def test_two_level_mmd():
    np.testing.assert_allclose(two_level_mmd2(X, Y), 0.158038999, atol=1e-6)
    np.testing.assert_allclose(two_level_mmd2(X, Y, bandwidth=1.0), 0.306566110, atol=1e-6)
    np.testing.assert_allclose(two_level_mmd2(X, X[::-1]), 0, atol=1e-6)  # order does not matter
    assert block_mmd2(X, Y)[0, 0] == 0  # negative before the clip
    np.testing.assert_allclose([rq_kernel(jnp.float32(0)), imq(jnp.float32(3))], [5, 0.5])


def test_gradient_against_finite_differences():
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        x, y = (jnp.asarray(rng.normal(size=(3, 8, 2)) + i) for i in (0, 2))
        step = 1e-6 * jnp.asarray(rng.normal(size=x.shape))
        gradient = jax.grad(two_level_mmd2)(x, y, bandwidth=0.7)
        ends = [float(two_level_mmd2(x + sign * step, y, bandwidth=0.7)) for sign in (1, -1)]
        np.testing.assert_allclose(jnp.sum(gradient * step), (ends[0] - ends[1]) / 2, rtol=1e-5)


def test_targets_are_geometric():
    obs = jnp.arange(4, dtype=jnp.float32)[:, None]
    boot = jnp.full((2, 20_000, 1), 9.0, jnp.float32)
    found = nstep_targets(jax.random.key(0), obs, jnp.zeros(4, bool), boot, 0.5)
    share = [np.mean(np.asarray(found) == value) for value in (0, 1, 2, 3, 9)]
    np.testing.assert_allclose(share, [0.5, 0.25, 0.125, 0, 0.125], atol=0.01)


def test_a_model_learns_the_law_of_a_coin():
    """Next state 0 or 1, whatever the present one, gamma = 1/2: how often 1 is seen varies."""
    spec = TrainerSpec(1, gamma=0.5, atoms=6, samples=16, horizon=1, latent=2, hidden=(16, 16),
                       learned_kernel=False, batch=16, learning_rate=3e-3, ema=0.02)  # fmt: skip
    init, step = make_trainer(spec)
    flips = np.random.default_rng(0).integers(0, 2, size=(2000, 1)).astype(np.float32)
    never = jnp.zeros(2000, bool)
    data = transitions(jnp.asarray(flips), never, never, spec.horizon)
    start = jax.jit(init)(jax.random.key(0))
    end = jax.jit(lambda s, d: jax.lax.scan(lambda s, _: step(s, d), s, length=1000)[0])(
        start, data
    )
    for x in (0.0, 1.0):
        before, after = (
            return_atoms(state.target, jax.random.key(1), jnp.array([x]), _is_one, 0.5)
            for state in (start, end)
        )
        assert abs(after.mean() - (x + 0.5)) < 0.15 < abs(before.mean() - (x + 0.5))
        assert 0.05 < after.var() < 0.12  # exactly 1/12; a mean occupancy has none


def _is_one(s):
    return jnp.where(s[:, 0] > 0.5, 1.0, 0.0).astype(s.dtype)


if __name__ == "__main__":
    tests = [test for name, test in sorted(globals().items()) if name.startswith("test_")]
    for test in tests:
        test()
    print(f"{len(tests)} tests passed")
