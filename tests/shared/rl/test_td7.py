"""TD7's encoder, targets, lags and checkpoints against naive ones and by hand."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from shared.experiment.errors import BadInput
from shared.rl import pieces, td7
from shared.rl.checkpoint import Decision, Progress, Schedule, on_episode
from shared.rl.encoders import EncodedActor, EncodedCritic, Encoder
from tests.shared.rl import naive
from tests.shared.rl.naive import compiled
from tests.shared.rl.test_learners import assert_same, differ, moved

KEY, NOISE = jax.random.key(3), jax.random.key(4)
BATCH = naive.batch()
B64 = naive.as64(BATCH)
SPEC = td7.Spec(Encoder(3, 2, 6, 5), EncodedActor(3, 2, 6, 5), EncodedCritic(3, 2, 1, 6, 5))
HYPER = td7.Hyper(gamma=0.9, copy_every=4, smoothing=0.4, smoothing_clip=0.3)


@pytest.fixture(scope="module")
def state():
    state = compiled(td7.init, KEY, spec=SPEC)
    encoder = state.encoder._replace(
        target=moved(state.encoder.target), target2=moved(state.encoder.target2, 1)
    )
    actor, critic = (net._replace(target=moved(net.target)) for net in (state.actor, state.critic))
    clip = td7.Range(jnp.float32(-0.05), jnp.float32(0.1))
    return state._replace(encoder=encoder, actor=actor, critic=critic, clip=clip)


def test_encoder_gradient_takes_the_next_embedding_as_given(state):
    params = naive.as64(state.encoder.params)
    ahead = naive.zs(params, B64.next_obs)

    def loss(params):
        guess = naive.zsa(params, naive.zs(params, B64.obs), B64.action)
        return np.mean((guess - ahead) ** 2)

    after, metrics = compiled(td7.encoder_stage, state, BATCH, NOISE, HYPER, spec=SPEC)
    np.testing.assert_allclose(metrics["encoder_loss"], loss(params), rtol=1e-4)
    naive.check_gradient(naive.first_gradient(after.encoder), loss, params)
    assert_same(after.encoder.target, state.encoder.target)


def test_target_and_critic_gradient(state):
    e1, e2, actor, lag, params = naive.as64(
        (
            state.encoder.target,
            state.encoder.target2,
            state.actor.target,
            state.critic.target,
            state.critic.params,
        )
    )
    noise = naive.normal(NOISE, BATCH.action.shape)
    action = naive.smoothed(naive.encoded_actor(actor, e2, B64.next_obs), noise, 0.4, 0.3)
    future = np.minimum(*naive.encoded_critics(lag, e2, B64.next_obs, action))[:, 0]
    assert (future < -0.05).any() and (future > 0.1).any()  # so the clip shows
    target = naive.backup(B64, np.clip(future, -0.05, 0.1), 0.9)[:, None]
    found = compiled(td7.critic_target, state, BATCH, NOISE, HYPER, spec=SPEC)
    np.testing.assert_allclose(found, target, rtol=1e-4, atol=1e-5)

    def loss(params):
        total = 0.0
        for q in naive.encoded_critics(params, e1, B64.obs, B64.action):
            size = np.abs(q - target)
            total += np.mean(np.where(size < 1, size**2 / 2, size))
        return total

    after, metrics = compiled(td7.critic_stage, state, BATCH, NOISE, HYPER, spec=SPEC)
    np.testing.assert_allclose(metrics["critic_loss"], loss(params), rtol=1e-4)
    naive.check_gradient(naive.first_gradient(after.critic), loss, params)
    np.testing.assert_allclose(after.seen, [target.min(), target.max()], rtol=1e-4)
    assert_same(after.clip, state.clip)


def test_actor_gradient_goes_through_the_embedding_of_the_action(state):
    e1, critic, params = naive.as64((state.encoder.target, state.critic.params, state.actor.params))

    def loss(params):
        action = naive.encoded_actor(params, e1, B64.obs)
        return -np.mean(naive.encoded_critics(critic, e1, B64.obs, action))

    after, metrics = compiled(td7.actor_stage, state, BATCH, NOISE, HYPER, spec=SPEC)
    np.testing.assert_allclose(metrics["actor_loss"], loss(params), rtol=1e-4)
    naive.check_gradient(naive.first_gradient(after.actor), loss, params)
    acted = naive.encoded_actor(params, e1, B64.obs)
    np.testing.assert_allclose(td7.act(state, BATCH.obs, SPEC), acted, rtol=1e-4, atol=1e-5)


def test_copies_lag_by_one_and_two():
    state = compiled(td7.init, KEY, spec=SPEC)
    learner, update = td7.learner(SPEC), jax.jit(pieces.run_stages, static_argnums=0)
    seen = [state]
    for i in range(8):
        state, _ = update(learner.cycle[i % 2], state, BATCH, KEY, HYPER)
        seen.append(state)
    assert_same(seen[3].critic.target, seen[0].critic.params)
    assert_same(seen[4].critic.target, seen[4].critic.params)
    assert_same(seen[4].actor.target, seen[4].actor.params)
    assert_same(seen[4].encoder.target, seen[4].encoder.params)
    assert_same(seen[4].encoder.target2, seen[0].encoder.params)
    assert_same(seen[7].encoder.target, seen[4].encoder.params)
    assert_same(seen[8].encoder.target2, seen[4].encoder.params)
    assert_same(seen[8].encoder.target, seen[8].encoder.params)
    # the range of clipping: nothing until the first copy, then that of all targets
    np.testing.assert_array_equal(seen[3].clip, [0, 0])
    assert_same(seen[4].clip, seen[4].seen)
    assert_same(seen[7].clip, seen[4].seen)
    # the actor moves in every second update
    moves = [differ(a.actor.params, b.actor.params) for a, b in itertools.pairwise(seen)]
    assert moves == [False, True] * 4


def test_widths_of_embeddings_must_agree():
    with pytest.raises(BadInput, match=r"one width of embeddings, not \[6, 7\]"):
        td7.Spec(Encoder(3, 2, 6), EncodedActor(3, 2, 7), EncodedCritic(3, 2, embedding=6))


# Checkpoints --------------------------------------------------------------------------------------


def play(schedule, episodes):
    """(checkpoint, updates, best) after each (return, length)."""
    progress, found = Progress(), []
    for value, length in episodes:
        progress, decision = on_episode(progress, float(value), length, schedule)
        found.append((decision.checkpoint, decision.updates, progress.best))
    return found


def test_checkpoints_by_hand():
    schedule = Schedule(early=1, late=3, late_after=30, relax=0.5)
    found = play(
        schedule,
        [
            (5, 10),  # better than nothing: checkpoint
            (4, 10),  # worse: no checkpoint, but learn
            (8, 10),  # better: checkpoint; 30 updates are not more than 30
            (6, 10),  # worse; the burst passes 30: best 8 -> 4, three episodes from now on
            (5, 10),
            (7, 10),
            (6, 10),  # three episodes, worst 5 >= 4: checkpoint
            (9, 10),
            (3, 4),  # worse than 5: at once
            (5, 10),
            (6, 10),
            (5, 10),  # as good as the best is good enough
        ],
    )
    assert found == [
        (True, 10, 5),
        (False, 10, 5),
        (True, 10, 8),
        (False, 10, 4),
        (False, 0, 4),
        (False, 0, 4),
        (True, 30, 5),
        (False, 0, 5),
        (False, 14, 5),
        (False, 0, 5),
        (False, 0, 5),
        (True, 30, 5),
    ]


def test_every_step_is_updated_on_once():
    rng = np.random.default_rng(0)
    episodes = [(float(rng.normal() + 3), int(rng.integers(1, 40))) for _ in range(300)]
    progress, done = Progress(), 0
    for i, (value, length) in enumerate(episodes):
        progress, decision = on_episode(progress, value, length, Schedule(late=5, late_after=500))
        done += decision.updates
        assert done == progress.updates
        assert done + progress.waiting == sum(length for _, length in episodes[: i + 1])
        assert progress.episodes < 5
    assert on_episode(Progress(), 1.0, 7, Schedule())[1] == Decision(True, 7)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: Schedule(early=0), "early of a schedule is at least 1"),
        (lambda: Schedule(late=0), "late of a schedule is at least 1"),
        (lambda: Schedule(late_after=-1), "late_after is at least 0"),
        (lambda: on_episode(Progress(), 1.0, 0, Schedule()), "An episode has at least 1 step"),
    ],
)
def test_bad_schedules(make, words):
    with pytest.raises(BadInput, match=words):
        make()
