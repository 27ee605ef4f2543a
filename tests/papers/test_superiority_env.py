"""Option trading: the clocks, the pay-off, the law of the price, and its gymnasium face."""

import warnings

import gymnasium
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

from papers.superiority.env import ASSETS, EnvState, OptionEnv, asset
from papers.superiority.gym_env import ENV_ID, OptionTradingEnv
from papers.superiority.oracle import hold_to_end, horizon_moves
from shared.experiment.errors import BadInput

FREQUENCIES = (1, 5, 10, 15, 20, 25, 30, 35)


def env_of(index: int = 0, **options) -> OptionEnv:
    return OptionEnv(ASSETS[index].drift, ASSETS[index].volatility, **options)


@jax.jit
def moves_held(env: OptionEnv, start, h):
    """Price moves of an always-holding agent before its forced exercise."""

    def holds(carry):
        state, terminated = carry
        next_state, _, terminated = env.step(state, 0, jnp.float32(0.0), h)
        return next_state, terminated

    first = env.start_at(start), jnp.bool_(False)
    state, _ = jax.lax.while_loop(lambda c: ~c[1], holds, first)
    return state.moves - 1  # the move that goes with the exercise is not one


def test_assets():
    assert len(ASSETS) == 11
    assert [a.index for a in ASSETS] == list(range(11))
    assert ASSETS[0].drift == 0.00100887623 and ASSETS[10].volatility == 0.0111023904
    assert ASSETS[3].early_volatility == 0.0263398597
    assert all(a.volatility < a.early_volatility for a in ASSETS)
    assert asset(10) is ASSETS[10]
    for index in (-1, 11):
        with pytest.raises(BadInput, match=f"no asset {index}; the assets are 0 to 10"):
            asset(index)


@pytest.mark.parametrize("clock", ["official", "calendar"])
def test_forced_exercise_comes_after_exactly_the_stated_moves(clock):
    frequencies = np.array([*FREQUENCIES, 3, 7, 11, 49, 60, 97])
    hs = jnp.asarray(1.0 / frequencies, jnp.float32)
    held = jax.vmap(moves_held, (None, None, 0))(env_of(clock=clock), jnp.float32(0), hs)
    expected = 50 * frequencies if clock == "official" else 100 * frequencies - 1
    np.testing.assert_array_equal(held, expected)
    for frequency, moves in zip(frequencies, expected, strict=True):
        assert horizon_moves(clock, int(frequency)) == moves


@pytest.mark.parametrize("clock", ["official", "calendar"])
def test_moves_of_a_training_episode_follow_the_rule_from_any_start(clock):
    """First k with t0 + speed k h >= T - h, in exact arithmetic, for continuous t0."""
    starts = np.float32(np.random.default_rng(0).uniform(0, 98, 400))
    for frequency in (1, 10, 35):
        held = jax.vmap(moves_held, (None, 0, None))(
            env_of(clock=clock), jnp.asarray(starts), jnp.float32(1 / frequency)
        )
        speed = 2 if clock == "official" else 1
        exact = (100.0 - 1 / frequency - starts.astype(float)) * frequency / speed
        clear = np.abs(exact - np.round(exact)) > 1e-3 * frequency  # away from float32 ties
        assert clear.mean() > 0.9
        np.testing.assert_array_equal(np.asarray(held)[clear], np.ceil(exact)[clear])


def test_payoff_is_from_the_price_before_the_move():
    env = env_of(strike=1.0)
    at = env.start_at(3.0)._replace(price=jnp.float32(0.75))
    state, reward, terminated = env.step(at, 1, -2.0, 0.25)
    assert float(reward) == 0.25 and bool(terminated)
    assert float(state.price) == pytest.approx(
        0.75 * np.exp(ASSETS[0].drift * 0.25 - 2.0 * ASSETS[0].volatility * 0.5), rel=1e-6
    )
    state, reward, terminated = env.step(at, 0, -2.0, 0.25)
    assert float(reward) == 0.0 and not bool(terminated)
    assert float(state.clock) == 3.5 and int(state.moves) == 1
    _, reward, terminated = env.step(at._replace(price=jnp.float32(1.5)), 1, 0.0, 0.25)
    assert float(reward) == 0.0 and bool(terminated)


def test_forced_exercise_pays_whatever_the_action():
    env = env_of(clock="calendar")
    at = env.start_at(99.5)._replace(price=jnp.float32(0.9))
    for action in (0, 1):
        _, reward, terminated = env.step(at, action, 0.0, 0.5)
        assert float(reward) == pytest.approx(0.1) and bool(terminated)
    assert not bool(env.forced(env.start_at(99.4), 0.5))


def test_observation_and_reset():
    env = env_of()
    np.testing.assert_allclose(env.observe(env.start_at(25.0)), [1.0, 0.75])
    state = env.reset(jax.random.key(0), train=False)
    assert (float(state.price), float(state.clock)) == (1.0, 0.0)
    starts = jax.vmap(lambda k: env.reset(k, train=True))(jax.random.split(jax.random.key(1), 4000))
    clocks = np.sort(np.asarray(starts.clock))
    assert clocks[0] >= 0 and clocks[-1] < 98
    # Kolmogorov-Smirnov at level 1e-4: 2.23 / sqrt(n).
    assert np.abs(clocks / 98 - np.arange(4000) / 4000).max() < 2.23 / np.sqrt(4000)
    np.testing.assert_array_equal(starts.price, 1.0)


@pytest.mark.parametrize(
    ("clock", "days", "episodes"), [("official", 50.0, 100_000), ("calendar", 99.0, 20_000)]
)
def test_holding_to_the_end_pays_the_closed_form(clock, days, episodes):
    """Mean pay-off of always-holding episodes of asset 0: .020464 (official, discounted)."""
    env, gamma = env_of(clock=clock), 0.999
    steps = horizon_moves(clock, 1) + 1

    def scan(state: EnvState, key):
        noise = jax.random.normal(key, (episodes,))
        step = jax.vmap(env.step, (0, None, 0, None))
        state, reward, terminated = step(state, 0, noise, 1.0)
        return state, (reward.sum(), (reward**2).sum(), terminated)

    first = jax.vmap(lambda _: env.start_at(0.0))(jnp.arange(episodes))
    keys = jax.random.split(jax.random.key(2), steps)
    _, (total, squares, terminated) = jax.jit(lambda s, k: jax.lax.scan(scan, s, k))(first, keys)
    assert not bool(terminated[:-1].any()) and bool(terminated[-1].all())
    mean = float(total[-1]) / episodes * gamma**days
    error = np.sqrt(float(squares[-1]) / episodes) * gamma**days / np.sqrt(episodes)
    a = ASSETS[0]
    expected = hold_to_end(a.drift, a.volatility, horizon=days, gamma=gamma)
    assert abs(mean - expected) < 4 * error
    assert clock == "calendar" or expected == pytest.approx(0.020464, abs=5e-7)


def test_assets_and_streams_are_batched_by_vmap():
    drifts = jnp.array([a.drift for a in ASSETS])
    volatilities = jnp.array([a.volatility for a in ASSETS])
    envs = OptionEnv(drifts, volatilities, clock="calendar")
    states = jax.vmap(lambda e: e.start_at(0.0))(envs)
    states, _, _ = jax.vmap(lambda e, s: e.step(s, 0, 1.0, 0.25))(envs, states)
    np.testing.assert_allclose(
        states.price, np.exp(np.asarray(drifts) / 4 + np.asarray(volatilities) / 2), rtol=1e-6
    )
    assert envs.clock == "calendar" and len(jax.tree.leaves(envs)) == 2


@settings(max_examples=30, deadline=None)
@given(st.floats(0.25, 4.0), st.integers(1, 40), st.floats(-4, 4))
def test_two_half_steps_move_the_price_like_one(price, frequency, noise):
    """Log-normal moves compose: (h, h) with noises (z, z)/sqrt(2) is one move of 2h with z."""
    env, h = env_of(3), 1 / frequency
    at = env.start_at(0.0)._replace(price=jnp.float32(price))
    half = noise / np.sqrt(2)
    twice = env.step(env.step(at, 0, half, h)[0], 0, half, h)[0]
    np.testing.assert_allclose(twice.price, env.step(at, 0, noise, 2 * h)[0].price, rtol=2e-6)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"clock": "sundial"}, "clock must be 'official' or 'calendar', not 'sundial'"),
        ({"horizon": 0.0}, "horizon must be positive"),
        ({"x0": float("inf")}, "x0 must be positive and finite"),
    ],
)
def test_bad_env(options, sentence, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as outside of the tests
    with pytest.raises(BadInput, match=sentence):
        env_of(**options)


def test_gymnasium_checks_it_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for options in ({}, {"clock": "calendar", "frequency": 5, "train": True}):
            check_env(gymnasium.make(ENV_ID, **options).unwrapped)


@pytest.mark.parametrize("clock", ["official", "calendar"])
def test_gymnasium_equals_the_pure_functions(clock):
    wrapped = OptionTradingEnv(4, 3, clock)
    env, h = env_of(4, clock=clock), 1 / 3
    env = OptionEnv(jnp.float32(env.drift), jnp.float32(env.volatility), clock=clock)
    noises = np.random.default_rng(7).standard_normal(400, dtype=np.float32)
    observation, _ = wrapped.reset(seed=7)
    wrapped.np_random = np.random.default_rng(7)
    state, steps = env.reset(jax.random.key(0), train=False), 0
    np.testing.assert_array_equal(observation, env.observe(state))
    step = jax.jit(env.step, static_argnums=3)
    for noise in noises:
        observation, reward, terminated, truncated, info = wrapped.step(0)
        state, expected, ended = step(state, 0, noise, h)
        steps += 1
        np.testing.assert_allclose(observation, env.observe(state), rtol=1e-6)
        assert (reward, terminated, truncated) == (float(expected), bool(ended), False)
        assert info["forced"] == terminated
        if terminated:
            break
    assert steps - 1 == horizon_moves(clock, 3)
    with pytest.raises(gymnasium.error.ResetNeeded):
        wrapped.step(0)


def test_gymnasium_resets_and_vectorises():
    env = OptionTradingEnv(train=True)
    starts = [env.reset(seed=s)[1]["clock"] for s in range(5)]
    assert len(set(starts)) == 5 and all(0 <= t < 98 for t in starts)
    assert env.reset(seed=3)[1]["clock"] == starts[3]
    assert env.reset(seed=3, options={"train": False})[1]["clock"] == 0
    several = gymnasium.make_vec(ENV_ID, num_envs=3, frequency=2)
    observations, _ = several.reset(seed=0)
    observations, _, terminated, truncated, _ = several.step(np.array([0, 1, 0]))
    assert list(terminated) == [False, True, False] and not truncated.any()
    assert observations.shape == (3, 2)
    several.close()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"frequency": 0}, "frequency must be a positive integer, not 0"),
        ({"asset_index": 11}, "assets are 0 to 10"),
        ({"volatility": -1.0}, "volatility must be finite and not negative"),
    ],
)
def test_gymnasium_bad_arguments(options, sentence):
    with pytest.raises(BadInput, match=sentence):
        OptionTradingEnv(**options)


def test_gymnasium_refuses_an_unknown_action():
    env = OptionTradingEnv()
    env.reset(seed=0)
    with pytest.raises(BadInput, match="action must be 0"):
        env.step(2)
