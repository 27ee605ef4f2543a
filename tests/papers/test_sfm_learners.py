"""Networks, optimiser rules, learners: sizes, order of operations, seeds, and what is not read."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from papers.sfm import train
from papers.sfm.cloning import clone, guessed_actions, tanh_policy
from papers.sfm.config import PRESETS
from papers.sfm.inverse_q import GaussianNetworks
from papers.sfm.matching import ESTIMATORS, SFM
from papers.sfm.method import base_features, expert_sf
from papers.sfm.networks import TD3Networks, TD7Networks, parameter_count
from papers.sfm.optimisers import TD3, TD7, Rates, optimiser
from papers.sfm.replay import Batch, Episode
from papers.sfm.trial import learner_of

KEY = jax.random.key(5)


def shapes(function, *args):
    return jax.eval_shape(function, *args)


def test_parameter_counts_on_cheetah():
    """Those of the official classes, 17 observations and 6 actions."""
    td7 = shapes(lambda k: TD7Networks(128).init(k, 17, 6), KEY)
    td3 = shapes(lambda k: TD3Networks(128).init(k, 17, 6), KEY)
    phi = shapes(lambda k: base_features("fdm").init(k, 17, 6), KEY)
    assert [parameter_count(p) for p in td7] == [203_270, 603_392, 335_104]
    assert [parameter_count(p) for p in td3] == [71_942, 209_664, 0]
    assert parameter_count(phi) == 3_456_145


def batch_of(size=4):
    keys = jax.random.split(KEY, 4)
    obs, following, goal = (jax.random.normal(k, (size, 3), jnp.float32) for k in keys[:3])
    action = jax.random.uniform(keys[3], (size, 2), jnp.float32, -1, 1)
    return Batch(obs, action, following, jnp.ones(size, jnp.float32), goal)


@functools.cache
def core_of(name, copy_every=2):
    rates = Rates(copy_every=copy_every)
    rules = optimiser(name, 2, 4, rates)
    core = jax.jit(lambda key: rules.init(key, 3, 2))(KEY)
    other = jax.tree.map(lambda x: x + 0.1, core.nets)  # as if training had moved them
    return rules, core._replace(nets=other)


def equal(x, y):
    return all(np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (x, y)), strict=True))


def test_td7_copies_all_networks_every_so_often():
    rules, core = core_of("td7")
    assert isinstance(rules, TD7)
    before = core.slow
    seen = core.range._replace(seen_low=jnp.float32(-3), seen_high=jnp.float32(5))
    first = rules.follow(core._replace(range=seen), actor_updated=True)
    assert int(first.calls) == 1 and equal(first.slow, before)
    assert (float(first.range.low), float(first.range.high)) == (0, 0)
    second = rules.follow(first, actor_updated=False)
    assert equal(second.slow, core.nets) and equal(second.older, before.encoder)
    assert (float(second.range.low), float(second.range.high)) == (-3, 5)


def test_td3_follows_with_the_critics_and_only_after_the_actor():
    rules, core = core_of("td3")
    assert type(rules) is TD3
    assert equal(rules.follow(core, actor_updated=False).slow, core.slow)
    after = rules.follow(core, actor_updated=True)
    for slow, old, new in zip(
        *map(jax.tree.leaves, (after.slow.critic, core.slow.critic, core.nets.critic)), strict=True
    ):
        np.testing.assert_allclose(slow, 0.995 * old + 0.005 * new, rtol=1e-5, atol=1e-6)
    assert equal(after.slow.actor, core.slow.actor)


def without_smoothing(name):
    rules, core = core_of(name)
    return dataclasses.replace(rules, rates=dataclasses.replace(rules.rates, smoothing=0.0)), core


def test_which_networks_the_targets_come_from():
    batch = batch_of()
    rules, core = without_smoothing("td3")
    nets = rules.networks
    psi, clip = rules._bootstrap(core, batch.next_obs, KEY)
    action = nets.act(core.nets.actor, {}, batch.next_obs)  # the online actor
    np.testing.assert_allclose(psi, nets.evaluate(core.slow.critic, {}, batch.next_obs, action))
    assert clip is None
    rules, core = without_smoothing("td7")
    older = jax.tree.map(lambda x: x - 0.2, core.slow.encoder)
    core, nets = core._replace(older=older), rules.networks
    psi, clip = rules._bootstrap(core, batch.next_obs, KEY)
    action = nets.act(core.slow.actor, older, batch.next_obs)
    expected = nets.evaluate(core.slow.critic, older, batch.next_obs, action)
    np.testing.assert_allclose(psi, expected, rtol=1e-5)
    assert clip is not None and (float(clip[0]), float(clip[1])) == (0, 0)
    seen = rules._observe(core.range, jnp.float32([[-2, 7]]))
    assert (float(seen.seen_low), float(seen.seen_high)) == (-2, 7)


def test_smoothing_noise_is_cut_off_and_the_action_too():
    rules, _ = core_of("td3")
    action = jnp.full((4000, 1), 0.8, jnp.float32)
    moved = np.asarray(rules._smooth(action, KEY))
    assert moved.max() == 1.0 and abs(moved.min() - 0.3) < 1e-6
    inside = np.asarray(rules._smooth(0 * action, KEY))
    np.testing.assert_allclose(inside.std(), 0.2, rtol=0.1)


def tiny(name="sfm-td7", **changes) -> Any:
    config = dataclasses.replace(
        PRESETS["smoke"], batch=8, hidden=8, feature_dim=4, feature_hidden=8, **changes
    )
    return learner_of(config, name)


PLAN = train.Plan(length=20, random_episodes=1, relax_episodes=2, capacity=4, evaluations=2)
DEMO = np.random.default_rng(0).normal(size=(1, 21, 4)).astype(np.float32)


@functools.cache
def fresh():
    """A learner and its run at the beginning."""
    learner = tiny("sfm-td3")
    assert isinstance(learner, SFM)
    return learner, jax.jit(lambda key: train.init(learner, PLAN, 4, 2, key))(KEY)


@functools.cache
def short_run():
    """Two random episodes, twenty updates, for one seed; and the same over seeds."""
    learner = tiny("sfm-td3")

    def run(key, demos):
        state = train.init(learner, PLAN, 4, 2, key)

        def take(state, number):
            k_obs, k_action = jax.random.split(jax.random.fold_in(key, number))
            obs = jax.random.normal(k_obs, (21, 4), jnp.float32)
            action = jax.random.uniform(k_action, (20, 2), jnp.float32, -1, 1)
            episode = Episode(obs, action, obs[1:, 0])
            return train.learn(learner, PLAN, state, episode, demos)

        state, metrics = jax.lax.scan(take, state, jnp.arange(2))
        return state._replace(key=jnp.uint32(0)), metrics

    return jax.jit(run), jax.jit(jax.vmap(run, (0, None)))


def test_seeds_side_by_side_are_the_seeds_alone():
    alone, together = short_run()
    keys = jax.random.split(jax.random.key(1), 2)
    both, metrics = together(keys, jnp.asarray(DEMO))
    one, _ = alone(keys[1], jnp.asarray(DEMO))
    assert int(one.core.calls) == 20 and metrics["updates"].tolist() == [[0, 20], [0, 20]]
    for x, y in zip(jax.tree.leaves(both), jax.tree.leaves(one), strict=True):
        np.testing.assert_allclose(x[1], y, rtol=1e-5, atol=1e-5)
    other, _ = alone(keys[0], jnp.asarray(DEMO))
    assert not equal(one.core.nets, other.core.nets)
    assert not equal(one.kept.actor, one.core.nets.actor)  # kept before the updates


def test_another_demonstration_gives_another_policy():
    alone, _ = short_run()
    first, _ = alone(jax.random.key(1), jnp.asarray(DEMO))
    second, _ = alone(jax.random.key(1), jnp.asarray(DEMO + 1))
    assert not equal(first.core.nets.actor, second.core.nets.actor)
    # Base features know nothing of the expert, nor of the policy.
    assert equal(first.own.phi, second.own.phi)


def test_the_sum_of_the_expert_is_the_method_applied_to_its_states():
    learner, state = fresh()

    @jax.jit
    def one(demo):
        at = demo[-2:-1]
        action = learner.optimiser.act(state.core, at)
        tail = learner.optimiser.evaluate(state.core, at, action)[0, 0]
        return expert_sf(learner.features.encode(state.own.phi, demo), learner.gamma, tail)

    demos = jnp.asarray(np.concatenate([DEMO, DEMO - 1]))
    found = jax.jit(learner.expert_sum)(state.core, state.own.phi, demos)
    expected = np.mean([one(demo) for demo in demos], axis=0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_estimators_agree_where_there_is_nothing_to_tell_apart():
    """Episodes that stand still: every state is the first state, and V(s) is their value."""
    learner, state = fresh()
    still = Episode(
        jnp.full((4, 21, 4), 0.3), jnp.zeros((4, 20, 2), jnp.float32), jnp.zeros((4, 20))
    )
    replay = state.replay._replace(episodes=still, inserted=jnp.int32(4))
    states, actions = jnp.full((8, 4), 0.3), jnp.zeros((8, 2), jnp.float32)
    batch = Batch(states, actions, states, jnp.zeros(8), states)

    @jax.jit
    def estimates(core):
        actor = core.nets.actor
        return {n: e(learner, core, actor, batch, replay, KEY) for n, e in ESTIMATORS.items()}

    found = estimates(state.core)
    for value in found.values():
        np.testing.assert_allclose(value, found["initial"], rtol=1e-3, atol=1e-4)


def test_unknown_settings_are_refused():
    with pytest.raises(ValueError, match="optimiser must be one of td3, td7; got 'sgd'"):
        optimiser("sgd", 1, 4, Rates())
    with pytest.raises(ValueError, match="estimator must be one of official, discounted, initial"):
        dataclasses.replace(tiny(), estimator="best")


# --- Baselines ------------------------------------------------------------------------------------


def test_rewards_of_the_discriminators():
    for name, width in (("mm-td3", 3), ("gaifo-td3", 6)):
        learner = tiny(name)
        own = learner._init_own(KEY, 3)
        assert own.params[0]["w"].shape[0] == width
        batch = batch_of()
        inputs = batch.obs if width == 3 else jnp.concatenate([batch.obs, batch.next_obs], -1)
        np.testing.assert_allclose(learner.reward(own, batch), -learner._f(own.params, inputs))


def test_the_discriminator_learns_who_is_who_and_waits_its_turn():
    learner = dataclasses.replace(tiny("mm-td3"), every=2, steps=40, samples=64, rate=1e-2)
    own = learner._init_own(KEY, 4)
    episode = jnp.broadcast_to(jnp.float32([1, 1, 0, 0]), (21, 4))
    state = jax.eval_shape(lambda key: train.init(learner, PLAN, 4, 2, key), KEY)
    replay = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), state.replay)
    replay = replay._replace(
        episodes=replay.episodes._replace(obs=replay.episodes.obs + episode),
        inserted=jnp.int32(4),
    )
    demos = jnp.zeros((1, 21, 4), jnp.float32)
    step = jax.jit(learner.after_episode)
    once = step(own, replay, demos, KEY)
    assert equal(once.params, own.params)
    twice = step(once, replay, demos, KEY)
    expert, ours = (learner._f(twice.params, x) for x in (demos[0, :1], episode[:1]))
    assert float(ours[0] - expert[0]) > 0.3  # so that -f rewards the expert's states


def test_cloning_fits_and_guesses_actions():
    rng = np.random.default_rng(0)
    states = jnp.asarray(rng.normal(size=(200, 2)), jnp.float32)
    fit = functools.partial(clone, steps=600, batch=32, hidden=16, rate=3e-3)
    params, loss = jax.jit(fit)(KEY, states, jnp.tanh(states))
    assert float(loss) < 1e-2
    np.testing.assert_allclose(tanh_policy(params, states), jnp.tanh(states), atol=0.3)
    # A world in which s' = s + a / 10: the action is in the difference.
    action = jnp.asarray(rng.uniform(-0.9, 0.9, size=(30, 20, 2)), jnp.float32)
    moved = jnp.concatenate([jnp.zeros((30, 1, 2)), jnp.cumsum(action, axis=1) / 10], axis=1)
    demo = jnp.cumsum(jnp.full((1, 11, 2), 0.05, jnp.float32), axis=1)
    guessed = jax.jit(functools.partial(guessed_actions, fit=fit))(KEY, moved, action, demo)
    np.testing.assert_allclose(guessed, np.full((10, 2), 0.5), atol=0.2)


def test_the_soft_policy_has_the_density_that_it_says():
    nets = GaussianNetworks(1, 4)
    params = jax.jit(lambda key: nets.init(key, 3, 1))(KEY)
    state = jnp.float32([[0.1, -0.4, 0.7]])
    draws = jnp.tile(state, (50_000, 1))
    action, log_density = jax.jit(nets.draw)(params.actor, draws, KEY)
    # The mean of 1 / density over a cell is the cell's width, wherever actions fall densely.
    inverse = np.exp(-np.asarray(log_density))
    for low in np.percentile(action, [20, 40, 60]):
        inside = (np.asarray(action)[:, 0] >= low) & (np.asarray(action)[:, 0] < low + 0.05)
        np.testing.assert_allclose(np.mean(inverse * inside), 0.05, rtol=0.1)
