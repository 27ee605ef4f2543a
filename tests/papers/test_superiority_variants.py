"""Whole days of training, and the identities between the agents that whole networks must keep."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from papers.superiority.agents import (
    Transition,
    acting_network,
    agent,
    batch_loss,
    greedy_actions,
    init_params,
    target_params,
)
from papers.superiority.env import ASSETS, OptionEnv
from papers.superiority.train import init_train, train_chunk

SMALL = dict(atoms=4, torso=(8, 8), batch_size=4)


def test_training_keeps_every_terminal_step_and_one_ordinary_step_a_day() -> None:
    """Through `train_chunk`: 2000 days at 10 Hz, mostly random actions, so many short episodes."""
    spec = agent("DSUP(1/2)", frequency=10, replay_capacity=30_000, epsilon_updates=10_000, **SMALL)
    env = OptionEnv(jnp.float32(ASSETS[0].drift), jnp.float32(ASSETS[0].volatility))
    state, metrics = train_chunk(init_train(jax.random.key(0), spec, env), spec, env, 2000)
    mask = np.asarray(state.replay.rows[: int(state.replay.inserted), 4])
    episodes = int(metrics["episodes"])
    assert episodes > 5000 and (mask == 0).sum() == episodes
    # Binomial: a standard deviation of .003 at about 10,000 ordinary steps.
    assert (mask == 1).sum() / (20_000 - episodes) == pytest.approx(0.1, abs=0.015)


@pytest.mark.parametrize(
    ("frequency", "first", "second", "same"),
    [
        (1, "DSUP(1/2)", "DSUP(1)", True),
        (1, "DSUP(1/2)", "DAU+DSUP(1/2)", True),
        (9, "DSUP(1)", "DAU+DSUP(1)", True),
        (9, "DSUP(1/2)", "DAU+DSUP(1/2)", False),
    ],
)
def test_variants_coincide_where_they_must(
    frequency: int, first: str, second: str, same: bool
) -> None:
    """At h = 1 the exponent and the shift do nothing; at q = 1 the shift does nothing."""
    obs = jax.random.normal(jax.random.key(2), (200, 2), jnp.float32)
    batch = Transition(obs, jnp.arange(200) % 2, obs[:, 0], jnp.ones(200, jnp.float32), obs)
    actions, gradients = [], []
    for name in (first, second):
        spec = agent(name, frequency=frequency, **SMALL)
        params = 3 * init_params(jax.random.key(1), spec)
        actions.append(greedy_actions(acting_network(params, spec), obs, spec))
        gradient, _ = jax.grad(batch_loss, has_aux=True)(
            params, target_params(params, spec), batch, spec
        )
        gradients.append(gradient)
    assert 0 < int(actions[0].sum()) < 200
    assert bool((actions[0] == actions[1]).all()) == same
    scale = float(jnp.abs(gradients[0]).max())
    assert np.allclose(*gradients, atol=1e-5 * scale) == same
