"""Constraint inference by hand: run `python` or `pytest` on this file."""

import jax
import jax.numpy as jnp
import numpy as np

from papers.icrl.method import (
    Batch,
    SACConfig,
    adam_init,
    corrected_reward,
    cost_apply,
    cost_init,
    cost_loss,
    cost_step,
    feasible_return,
    reset_last_layers,
    sac_init,
    sac_update,
)

KEY = jax.random.key(0)


def close(value, expected):
    """Equal to single precision."""
    np.testing.assert_allclose(np.asarray(value), expected, rtol=1e-5, atol=1e-6)


def test_feasible_return():
    rew = np.float32([1, 2, 3, 4])[:, None]
    cost, mask = np.float32([0, 0, 1, 0])[:, None], np.ones((4, 1), bool)
    found, violated = feasible_return(jnp.asarray(rew), jnp.asarray(cost), jnp.asarray(mask))
    close(found, [3])
    assert bool(violated[0])


def test_corrected_reward():
    close(corrected_reward(jnp.float32([1, 5]), jnp.float32([0, 2]), 1.5), [1, 2])


def test_the_cost_finds_a_wall():
    """The expert stays at x > 0, the learner goes everywhere: left must become dear."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (400, 1)).astype(np.float32)
    act = jnp.zeros((400, 1), jnp.float32)
    expert, learner = (jnp.asarray(np.abs(x)), act), (jnp.asarray(x), act)
    params = cost_init(KEY, 1, 1, (16, 16))
    close(cost_apply(params, *learner), np.zeros(400))
    adam = adam_init(params)

    @jax.jit
    def step(params, adam):
        gradient = jax.grad(lambda p: cost_loss(p, expert, learner)[0])(params)
        return cost_step(params, adam, gradient, 1e-2)

    for _ in range(200):
        params, adam = step(params, adam)
    cost = np.asarray(cost_apply(params, *learner))
    assert cost[x[:, 0] < -0.2].min() > cost[x[:, 0] > 0.2].max()


def test_an_update_and_a_reset_of_the_learner():
    cfg = SACConfig(hidden=(8, 8), separate_critics=True)
    state, rng = sac_init(KEY, 2, 1, cfg), np.random.default_rng(0)
    shapes = ((16, 2), (16, 1), (16,), (16, 2), (16,), (16,))
    batch = Batch(*(jnp.asarray(rng.uniform(0, 1, s).astype(np.float32)) for s in shapes))
    cost = cost_init(KEY, 2, 1)
    state, metrics = jax.jit(lambda s: sac_update(s, batch, cost, 1.0, cfg))(state)
    assert all(np.isfinite(v) for v in metrics.values())
    fresh = reset_last_layers(KEY, state)
    assert (np.asarray(fresh.actor[-1].w) != np.asarray(state.actor[-1].w)).all()
    close(fresh.actor[0].w, state.actor[0].w)


if __name__ == "__main__":
    tests = [test for name, test in sorted(globals().items()) if name.startswith("test_")]
    for test in tests:
        test()
    print(f"{len(tests)} tests passed")
